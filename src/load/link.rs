//! A lane's socket: what it is connected to, and what all kinds of it have in common.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream, UdpSocket};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixDatagram;
use std::time::Duration;

use mio::event::Source;

use super::relp::Relp;
use super::secure::Secure;
use super::target::Place;
use super::{Target, Transport};
use crate::sys::udp_send;
use crate::wire::tls::client::Setup;

pub(super) enum Link {
    /// `group` datagrams are handed over as one buffer: more than one with GSO.
    Datagrams {
        socket: OwnedFd,
        group: usize,
    },
    Tcp(mio::net::TcpStream),
    Unix(mio::net::UnixStream),
    Tls(Box<Secure>),
    Relp(Box<Relp>),
    /// It failed, or is closed.
    Gone,
}

/// How to connect, for all links of a run.
pub(super) struct Ways<'a> {
    /// The length of every datagram.
    pub(super) gso: Option<u16>,
    /// For targets that speak TLS.
    pub(super) tls: Option<&'a Setup>,
    /// For targets that speak RELP.
    pub(super) window: u32,
}

const CONNECT: Duration = Duration::from_secs(5);
const UDP_QUEUE_BYTES: usize = 4 << 20;

impl Link {
    /// Connects and agrees on how to talk, non-blocking from then on.
    pub(super) fn connect(target: &Target, ways: &Ways<'_>) -> io::Result<Self> {
        let address = match (&target.place, target.transport) {
            (Place::Path(path), Transport::Unixgram) => {
                let socket = UnixDatagram::unbound()?;
                socket.connect(path)?;
                socket.set_nonblocking(true)?;
                return Ok(Self::Datagrams { socket: socket.into(), group: 1 });
            }
            (Place::Path(path), _) => {
                return Ok(Self::Unix(mio::net::UnixStream::connect(path)?));
            }
            (Place::Address(address), Transport::Udp) => return datagrams(*address, ways.gso),
            (Place::Address(address), _) => address,
        };
        let socket = TcpStream::connect_timeout(address, CONNECT)?;
        socket.set_nodelay(true)?;
        let link = if target.transport.is_secure() {
            let setup = ways.tls.ok_or_else(|| io::Error::other("no set-up for TLS"))?;
            Self::Tls(Box::new(Secure::connect(socket, setup, &target.host, CONNECT)?))
        } else {
            socket.set_nonblocking(true)?;
            Self::Tcp(mio::net::TcpStream::from_std(socket))
        };
        match target.transport {
            Transport::Relp | Transport::Relps => {
                Ok(Self::Relp(Box::new(Relp::open(link, ways.window)?)))
            }
            _ => Ok(link),
        }
    }

    /// What says when it may be read or written; datagram sockets do not.
    pub(super) fn source(&mut self) -> Option<&mut dyn Source> {
        match self {
            Self::Tcp(socket) => Some(socket),
            Self::Unix(socket) => Some(socket),
            Self::Tls(tls) => Some(&mut tls.socket),
            Self::Relp(relp) => relp.link.source(),
            Self::Datagrams { .. } | Self::Gone => None,
        }
    }

    /// Bytes into a stream.
    pub(super) fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Tcp(socket) => socket.write(bytes),
            Self::Unix(socket) => socket.write(bytes),
            Self::Tls(tls) => tls.write(bytes),
            Self::Relp(_) | Self::Datagrams { .. } | Self::Gone => {
                Err(ErrorKind::Unsupported.into())
            }
        }
    }

    /// Bytes from a stream, 0 at its end.
    pub(super) fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Tcp(socket) => socket.read(bytes),
            Self::Unix(socket) => socket.read(bytes),
            Self::Tls(tls) => tls.read(bytes),
            Self::Relp(_) | Self::Datagrams { .. } | Self::Gone => Ok(0),
        }
    }

    /// Whether the kernel has all that the link has taken.
    pub(super) fn is_pushed(&mut self) -> bool {
        match self {
            Self::Tls(tls) => tls.is_pushed(),
            Self::Relp(relp) => relp.is_pushed(),
            _ => true,
        }
    }

    /// Events that were sent and wait for their answer.
    pub(super) fn unanswered(&self) -> u64 {
        match self {
            Self::Relp(relp) => relp.unanswered(),
            _ => 0,
        }
    }

    /// All is agreed, and the peer may still say that it does not want us.
    pub(super) fn may_be_refused(&self) -> bool {
        matches!(self, Self::Tls(tls) if tls.may_be_refused())
    }

    /// Whether the peer has said so meanwhile.
    pub(super) fn refusal(&mut self) -> io::Result<()> {
        let hung_up = "it hung up when TLS was agreed: it may not want our certificate (--cert)";
        match self.read(&mut [0; 512]) {
            Ok(0) => Err(io::Error::other(hung_up)),
            Err(error) if error.raw_os_error().is_some() && !is_wait(&error) => {
                Err(io::Error::other(format!("{hung_up} ({error})")))
            }
            Err(error) if !is_wait(&error) => Err(error),
            _ => Ok(()),
        }
    }

    /// Says that nothing more will come. True: the peer's answer is worth waiting for.
    pub(super) fn finish(&mut self) -> io::Result<bool> {
        match self {
            Self::Tcp(socket) => socket.shutdown(Shutdown::Write)?,
            Self::Unix(socket) => socket.shutdown(Shutdown::Write)?,
            Self::Tls(tls) => tls.finish()?,
            Self::Relp(relp) => relp.finish()?,
            // A refusal shows with the next datagram, and the last one has none.
            Self::Datagrams { socket, .. } => {
                let refused = socket2::SockRef::from(&*socket).take_error()?;
                return refused.map_or(Ok(false), Err);
            }
            Self::Gone => return Ok(false),
        }
        Ok(true)
    }

    /// Reads away what the peer says; true when it has closed.
    pub(super) fn is_closed(&mut self) -> io::Result<bool> {
        match self {
            Self::Tls(tls) => tls.is_closed(),
            Self::Relp(relp) => Ok(relp.is_over()),
            Self::Datagrams { .. } | Self::Gone => Ok(true),
            stream => {
                let mut answer = [0; 4096];
                loop {
                    match stream.read(&mut answer) {
                        Ok(0) => return Ok(true),
                        Ok(_) => {}
                        Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(false),
                        Err(error) if error.kind() == ErrorKind::Interrupted => {}
                        Err(error) => return Err(error),
                    }
                }
            }
        }
    }
}

fn is_wait(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted)
}

fn datagrams(address: SocketAddr, gso: Option<u16>) -> io::Result<Link> {
    let any: SocketAddr =
        if address.is_ipv4() { ([0; 4], 0).into() } else { ([0u16; 8], 0).into() };
    let socket = UdpSocket::bind(any)?;
    socket.connect(address)?;
    socket.set_nonblocking(true)?;
    // A wish: the kernel gives what net.core.wmem_max allows.
    let _ = socket2::SockRef::from(&socket).set_send_buffer_size(UDP_QUEUE_BYTES);
    let group = match gso {
        None => 1,
        Some(bytes) => {
            udp_send::set_segment_bytes(socket.as_fd(), bytes)?;
            let fit = udp_send::MESSAGE_BYTES_MAX / usize::from(bytes);
            fit.clamp(1, udp_send::SEGMENTS_MAX)
        }
    };
    Ok(Link::Datagrams { socket: socket.into(), group })
}
