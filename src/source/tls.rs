//! `tls://`: the options, and a TCP connection whose bytes are TLS.
//!
//! All sessions of a worker share one buffer for what sockets bring (`wire::tls::session`); its
//! lock is never contended, and is there because a worker may be moved to its thread.

use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use mio::net::{TcpListener, TcpStream};

use super::keys::{Files, Keys};
use super::listen::Listen;
use super::protocol::Speech;
use crate::config::{OptionDoc, Section};
use crate::memory::gate::exempt;
use crate::wire::tls::peers::{PEERS_REMEDY, Peer, Peers};
use crate::wire::tls::server::{Clients, Setup};
use crate::wire::tls::session::{SCRATCH_BYTES, Session};
use crate::wire::tls::{VERSIONS_REMEDY, Versions};

pub const TLS: OptionDoc = OptionDoc {
    name: "tls",
    default: Some(""),
    doc: "certificate, key and who is welcome at tls:// listeners",
};

const fn row(name: &'static str, default: &'static str, doc: &'static str) -> OptionDoc {
    OptionDoc { name, default: Some(default), doc }
}

const DOCS: &[OptionDoc] = &[
    row("certificate", "", "PEM file: our certificate, then those between it and its authority"),
    row("key", "", "PEM file: the certificate's private key"),
    row("clients", "none", "whether senders must show a certificate: none, optional, required"),
    row("client_ca", "", "PEM file: the authorities that vouch for senders"),
    row("peers", "", "names or sha256: fingerprints that are welcome; empty: all vouched for"),
    row("versions", "", "\"1.2\" and \"1.3\"; both by default"),
    row("handshake_timeout", "10s", "a sender that has not agreed by then is closed"),
    row("connections_max", "1000", "open TLS connections; each has 48 KiB in the memory sum"),
];

/// What `tls://` listeners need, valid once built.
#[derive(Clone, Debug)]
pub struct TlsOptions {
    pub files: Files,
    pub handshake_timeout: Duration,
    pub connections_max: usize,
}

impl TlsOptions {
    /// Reads the table; none without a `tls://` listener.
    pub fn plan(section: &Section, listens: &[Listen]) -> Option<Self> {
        let tls = section.subsection("tls", DOCS);
        if !listens.iter().any(|listen| listen.transport.secure) {
            if section.explicit("tls") {
                let http = listens.iter().any(|it| it.transport.speech() == Speech::Http);
                let example = if http { "https://0.0.0.0:8443" } else { "tls://0.0.0.0:6514" };
                let what = "nothing listens for TLS";
                section.warn("tls", what, format!("add \"{example}\" to `listen`"));
            }
            return None;
        }
        if !section.explicit("tls") {
            let remedy = "write `tls = { certificate = \"….pem\", key = \"….pem\" }`";
            let secure = listens.iter().find(|listen| listen.transport.secure);
            let scheme = secure.map_or("tls", |listen| listen.transport.name);
            section.fail("listen", format!("{scheme}:// needs a certificate"), remedy);
            return None;
        }
        let path = |key: &'static str| {
            let text = tls.optional_text(key);
            text.map(PathBuf::from)
        };
        let needed = |key: &'static str| {
            path(key).unwrap_or_else(|| {
                if tls.usable(key) && !tls.explicit(key) {
                    let what = format!("`{key}` is missing in {}", tls.title());
                    tls.fail_here(what, format!("write where the PEM file is: `{key} = \"…\"`"));
                }
                PathBuf::new()
            })
        };
        let (certificate, key) = (needed("certificate"), needed("key"));
        let words = [
            ("none", Clients::None),
            ("optional", Clients::Optional),
            ("required", Clients::Required),
        ];
        let clients = tls.choice("clients", &words);
        let (client_ca, peers) =
            (path("client_ca"), Peers::new(tls.each("peers", PEERS_REMEDY, Peer::listed)));
        check(&tls, clients, client_ca.is_some(), &peers);
        let versions = tls.each("versions", VERSIONS_REMEDY, Versions::parse).into_iter().collect();
        let times = Duration::from_millis(100)..=Duration::from_secs(600);
        Some(Self {
            files: Files { certificate, key, client_ca, clients, peers, versions },
            handshake_timeout: tls.duration_in("handshake_timeout", times),
            connections_max: tls.integer("connections_max", 1..=1_000_000) as usize,
        })
    }
}

/// What does not fit together.
fn check(tls: &Section, clients: Clients, has_ca: bool, peers: &Peers) {
    if clients == Clients::None {
        for (key, given) in [("peers", !peers.is_empty()), ("client_ca", has_ca)] {
            if given {
                let what = format!("`{key}` has no effect: senders are not asked for certificates");
                tls.fail(key, what, "add `clients = \"required\"`, or leave it out");
            }
        }
    } else if !has_ca && (peers.is_empty() || peers.has_names()) {
        let what = "nobody vouches for senders' certificates";
        let remedy = "add `client_ca = \"….pem\"`, or list fingerprints in `peers`";
        tls.fail("clients", what, remedy);
    }
}

/// What a worker's sessions share.
#[derive(Clone)]
pub struct Worker {
    keys: Arc<Keys>,
    scratch: Arc<Mutex<Box<[u8]>>>,
}

impl Worker {
    /// Bytes that each has.
    pub const BYTES: usize = SCRATCH_BYTES;

    pub fn new(keys: Arc<Keys>) -> Self {
        Self { keys, scratch: Arc::new(Mutex::new(vec![0; SCRATCH_BYTES].into())) }
    }
}

/// A TCP listener of which every connection begins with a handshake.
pub struct TlsListener {
    pub socket: TcpListener,
    worker: Worker,
}

impl TlsListener {
    pub fn new(socket: TcpListener, worker: Worker) -> Self {
        Self { socket, worker }
    }

    pub fn accept(&self) -> io::Result<(TlsLink, SocketAddr)> {
        let (socket, peer) = self.socket.accept()?;
        let setup = self.worker.keys.setup();
        let session = setup.session();
        let scratch = Arc::clone(&self.worker.scratch);
        Ok((TlsLink { socket, session, setup, scratch }, peer))
    }
}

pub struct TlsLink {
    pub socket: TcpStream,
    pub session: Session,
    setup: Setup,
    scratch: Arc<Mutex<Box<[u8]>>>,
}

impl TlsLink {
    pub fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let mut scratch = locked(&self.scratch);
        // The session keeps no buffer between records, and rustls makes some of its own.
        exempt(|| self.session.read(&mut self.socket, &mut scratch, into))
    }

    /// Goes on with the handshake.
    pub fn agree(&mut self) -> io::Result<()> {
        let mut scratch = locked(&self.scratch);
        match self.session.advance(&mut self.socket, &mut scratch) {
            // It has said nothing and hung up, which the next read says, too.
            Err(error) if error.kind() == ErrorKind::UnexpectedEof => Ok(()),
            outcome => outcome.map(|_| ()),
        }
    }

    /// Whom the peer's certificate names.
    pub fn name(&self) -> String {
        self.session.peer_certificate().map(|shown| self.setup.name_of(shown)).unwrap_or_default()
    }

    pub fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.session.write(&mut self.socket, bytes)
    }

    pub fn push(&mut self) {
        self.session.push(&mut self.socket);
    }

    /// Says goodbye as far as the socket takes it.
    pub fn close(&mut self) {
        self.session.close(&mut self.socket);
    }
}

fn locked(scratch: &Mutex<Box<[u8]>>) -> MutexGuard<'_, Box<[u8]>> {
    // It has no meaning between uses.
    scratch.lock().unwrap_or_else(PoisonError::into_inner)
}
