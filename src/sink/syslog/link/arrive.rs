//! From the first try until batches may be sent: names, connecting, agreeing on how to talk, and
//! the time in which a peer that has agreed may yet refuse us.

use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use std::time::Duration;

use mio::net::{TcpStream, UdpSocket};
use mio::{Interest, Registry, Token};
use socket2::{SockRef, TcpKeepalive};

use super::super::tls::TlsConduit;
use super::{Conduit, Kit, Link, Place, State, Wire, Writer, drain};
use crate::memory::gate::exempt;

/// Silence after which the kernel asks whether the peer is still there, how often and how many
/// times: an idle connection to a machine that is gone is found after 90 s.
const KEEPALIVE: Duration = Duration::from_secs(60);
const KEEPALIVE_EVERY: Duration = Duration::from_secs(10);
const KEEPALIVE_PROBES: u32 = 3;

/// How long a peer that has asked for our certificate has for saying that it does not want us; or
/// as long as connecting took, if that is longer: one way there, its judgement, one way back. TLS
/// gives no better sign: the tickets of TLS 1.3 are sent by some libraries before their program has
/// looked at the certificate.
const SETTLE: Duration = Duration::from_millis(500);

const HUNG_UP: &str = "it hung up when TLS was agreed: it may not want our certificate \
                       (tls.certificate); its own log may say why";

impl Link {
    pub(super) fn begin(&mut self, kit: &Kit<'_>) {
        match (&self.target.place, kit.desk) {
            // With several addresses each has its turn before the name is looked up again.
            (Place::Name(name), Some(desk)) if self.turn >= self.addresses.len() => {
                exempt(|| desk.ask((self.index, name.clone())));
                self.turn = 0;
                self.state = State::Asking;
            }
            _ => self.connect(kit),
        }
    }

    pub(super) fn connect(&mut self, kit: &Kit<'_>) {
        let address = self.addresses[self.turn % self.addresses.len()];
        self.turn += 1;
        let token = Token(self.index + 1);
        (self.readable, self.writable) = (false, false);
        let begun = exempt(|| {
            if self.target.is_datagram() {
                let socket = datagram_socket(address, kit.registry, token)?;
                return Ok(State::Up { wire: Wire::Datagrams(socket), since: kit.now.mono });
            }
            let mut socket = TcpStream::connect(address)?;
            kit.registry.register(&mut socket, token, Interest::READABLE | Interest::WRITABLE)?;
            Ok(State::Connecting { socket, since: kit.now.mono })
        });
        match begun {
            Ok(state) => self.state = state,
            Err(error) => return self.fail(&error, kit),
        }
        if let (State::Up { .. }, Writer::Datagrams(writer)) = (&self.state, &mut self.writer) {
            writer.connected(self.failed);
            self.writable = true;
        }
    }

    pub(super) fn finish_connecting(&mut self, late: bool, kit: &Kit<'_>) -> bool {
        let State::Connecting { socket, .. } = &self.state else { return false };
        let outcome = match socket.take_error() {
            Ok(Some(error)) | Err(error) => Err(error),
            Ok(None) => match socket.peer_addr() {
                Ok(_) => Ok(()),
                Err(_) if !late => return false,
                Err(_) => Err(io::Error::new(ErrorKind::TimedOut, "no answer to connecting")),
            },
        };
        if let Err(error) = outcome {
            self.fail(&error, kit);
            return true;
        }
        let State::Connecting { socket, since } = std::mem::replace(&mut self.state, State::Rest)
        else {
            return false;
        };
        tune(&socket);
        let host = self.target.host();
        let conduit = exempt(|| -> io::Result<Box<dyn Conduit>> {
            match kit.tls.filter(|_| self.target.is_secure()) {
                Some(tls) => Ok(Box::new(TlsConduit::new(socket, &tls.setup(), &host)?)),
                None => Ok(Box::new(socket)),
            }
        });
        match conduit {
            Ok(conduit) => self.state = State::Agreeing { conduit, since },
            Err(error) => {
                self.fail(&error, kit);
                return true;
            }
        }
        if let Writer::Relp(writer) = &mut self.writer {
            writer.connected();
        }
        self.agree(late, kit);
        true
    }

    /// TLS and RELP have things to say before the first event.
    pub(super) fn agree(&mut self, late: bool, kit: &Kit<'_>) -> bool {
        let State::Agreeing { conduit, .. } = &mut self.state else { return false };
        let agreed = exempt(|| match (conduit.advance(), &mut self.writer) {
            (Ok(true), Writer::Relp(writer)) => writer.advance(conduit.as_mut()),
            (agreed, _) => agreed,
        });
        match agreed {
            Ok(true) => {}
            Ok(false) if !late => return false,
            Ok(false) => {
                let what = "it does not agree on how to talk: is it the right port?";
                self.fail(&io::Error::new(ErrorKind::TimedOut, what), kit);
                return true;
            }
            Err(error) => {
                self.fail(&error, kit);
                return true;
            }
        }
        let state = std::mem::replace(&mut self.state, State::Rest);
        let State::Agreeing { conduit, since } = state else { return false };
        // RELP's peer has answered, and with that accepted us.
        if conduit.may_be_refused() && !self.target.is_relp() {
            let took = kit.now.mono.since(since);
            self.state = State::Settling { conduit, until: kit.now.mono.after(SETTLE.max(took)) };
            return true;
        }
        self.arrived(conduit, kit);
        true
    }

    /// Waits for a refusal that comes when all seems agreed, with nothing sent that it could cost.
    pub(super) fn settle(&mut self, kit: &Kit<'_>) -> bool {
        let State::Settling { conduit, until } = &mut self.state else { return false };
        let over = kit.now.mono >= *until;
        self.readable = false;
        let refusal = match exempt(|| drain(conduit.as_mut())) {
            Ok(true) if !over => return false,
            Ok(true) => None,
            Ok(false) => Some(io::Error::other(HUNG_UP)),
            // TLS has words for it; the kernel's say only that it is gone.
            Err(error) if error.raw_os_error().is_some() => {
                Some(io::Error::other(format!("{HUNG_UP} ({error})")))
            }
            Err(error) => Some(error),
        };
        if let Some(error) = refusal {
            self.fail(&error, kit);
            return true;
        }
        let state = std::mem::replace(&mut self.state, State::Rest);
        let State::Settling { conduit, .. } = state else { return false };
        self.arrived(conduit, kit);
        true
    }

    /// From now on it is given batches.
    fn arrived(&mut self, conduit: Box<dyn Conduit>, kit: &Kit<'_>) {
        self.state = State::Up { wire: Wire::Stream(conduit), since: kit.now.mono };
        self.writable = true;
        self.works(kit.now);
    }
}

fn datagram_socket(
    address: SocketAddr,
    registry: &Registry,
    token: Token,
) -> io::Result<UdpSocket> {
    let any: SocketAddr =
        if address.is_ipv4() { ([0; 4], 0).into() } else { ([0_u16; 8], 0).into() };
    let mut socket = UdpSocket::bind(any)?;
    socket.connect(address)?;
    // A wish: the kernel gives what net.core.wmem_max allows.
    let _ = SockRef::from(&socket).set_send_buffer_size(SEND_BUFFER_BYTES);
    registry.register(&mut socket, token, Interest::WRITABLE)?;
    Ok(socket)
}

const SEND_BUFFER_BYTES: usize = 4 << 20;

/// Wishes, all of them: a socket works without.
fn tune(socket: &TcpStream) {
    let _ = socket.set_nodelay(true);
    let keepalive = TcpKeepalive::new()
        .with_time(KEEPALIVE)
        .with_interval(KEEPALIVE_EVERY)
        .with_retries(KEEPALIVE_PROBES);
    let _ = SockRef::from(socket).set_tcp_keepalive(&keepalive);
}
