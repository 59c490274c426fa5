//! `tls://` and `relps://`: whom the sink believes, who it is, and connections whose bytes are TLS.

use std::io::{self, ErrorKind, Read, Write};
use std::net::Shutdown;
use std::path::Path;
use std::sync::Arc;

use mio::net::TcpStream;

use super::stream::Conduit;
use crate::config::{OptionDoc, Section};
use crate::storage::{Disk, read_file};
use crate::wire::tls::client::{Options, Setup, Trust};
use crate::wire::tls::keeper::{Contents, Keeper};
use crate::wire::tls::peers::{PEERS_REMEDY, Peer, Peers};
use crate::wire::tls::session::{SCRATCH_BYTES, SESSION_BYTES_MAX, Session};
use crate::wire::tls::{
    About, FILE_BYTES_MAX, SetupError, VERSIONS_REMEDY, Versions, anchors, system_anchors,
};

pub(super) const TLS: OptionDoc = OptionDoc {
    name: "tls",
    default: Some(""),
    doc: "whom tls:// and relps:// targets are believed by, and our own certificate",
};

const fn row(name: &'static str, default: &'static str, doc: &'static str) -> OptionDoc {
    OptionDoc { name, default: Some(default), doc }
}

const DOCS: &[OptionDoc] = &[
    row("ca", "", "PEM file: the authorities that vouch for targets; this machine's by default"),
    row("peers", "", "names a certificate may have instead of the host's, or sha256: fingerprints"),
    row("certificate", "", "PEM file: our certificate, for targets that ask"),
    row("key", "", "PEM file: its private key"),
    row("versions", "1.2, 1.3", "which versions of TLS may be spoken"),
];

/// What a connection holds.
pub(super) const CONDUIT_BYTES: usize = SCRATCH_BYTES + SESSION_BYTES_MAX;

#[derive(Clone)]
pub(super) struct TlsOptions {
    ca: Option<String>,
    peers: Peers,
    identity: Option<(String, String)>,
    versions: Versions,
}

impl TlsOptions {
    pub(super) fn plan(section: &Section, secure: bool) -> Option<Self> {
        let tls = section.subsection(TLS.name, DOCS);
        let ca = tls.optional_text("ca");
        let peers = Peers::new(tls.each("peers", PEERS_REMEDY, Peer::listed));
        let identity = (tls.optional_text("certificate"), tls.optional_text("key"));
        if identity.0.is_some() != identity.1.is_some() {
            let missing = if identity.0.is_some() { "key" } else { "certificate" };
            let what = "a certificate and its key belong together";
            tls.fail_here(what, format!("add `{missing} = \"….pem\"`"));
        }
        let versions = tls.each("versions", VERSIONS_REMEDY, Versions::parse).into_iter().collect();
        if !secure {
            if section.explicit(TLS.name) {
                let remedy = "write \"tls://host:6514\" in `targets`, or leave it out";
                section.warn(TLS.name, "`tls` has no effect: no target speaks TLS", remedy);
            }
            return None;
        }
        Some(Self { ca, peers, identity: identity.0.zip(identity.1), versions })
    }

    /// Reads the files, and gives what looks after them.
    pub(super) fn setup(&self, disk: &Arc<dyn Disk>) -> Result<(Keeper<Setup>, Setup), SetupError> {
        let ca = self.ca.iter().map(|path| (About::Anchors, path.into()));
        let own = self.identity.iter().flat_map(|(certificate, key)| {
            [(About::Certificate, certificate.into()), (About::Key, key.into())]
        });
        let (peers, versions) = (self.peers.clone(), self.versions);
        let listed = peers.has_fingerprints() && !peers.has_names();
        let make = move |contents: &Contents| {
            let trust = match contents.of(About::Anchors) {
                Some(pem) => Trust::Anchors(anchors(pem)?),
                None if listed => Trust::Listed,
                None => Trust::Anchors(system_anchors()?),
            };
            let identity = contents.identity()?;
            Setup::new(Options { trust, peers: peers.clone(), identity, versions })
        };
        let disk = Arc::clone(disk);
        let read = move |path: &Path| read_file(disk.as_ref(), path, FILE_BYTES_MAX);
        Keeper::new(ca.chain(own).collect(), read, make)
    }

    /// Whether there is anything to look after.
    pub(super) fn has_files(&self) -> bool {
        self.ca.is_some() || self.identity.is_some()
    }
}

/// A connection whose bytes are TLS.
pub(super) struct TlsConduit {
    socket: Watched,
    session: Session,
    scratch: Vec<u8>,
}

/// A session does not tell when its socket takes nothing more: we must know, or we would count as
/// written what has gone nowhere.
struct Watched {
    socket: TcpStream,
    broken: Option<io::Error>,
}

impl Read for Watched {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        Read::read(&mut self.socket, into)
    }
}

impl Write for Watched {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        Write::write(&mut self.socket, bytes).inspect_err(|error| {
            if !matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) {
                self.broken = Some(error.kind().into());
            }
        })
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl TlsConduit {
    pub(super) fn new(socket: TcpStream, setup: &Setup, host: &str) -> io::Result<Self> {
        let session = setup.session(host).map_err(io::Error::other)?;
        let socket = Watched { socket, broken: None };
        Ok(Self { socket, session, scratch: vec![0; SCRATCH_BYTES] })
    }

    /// Sends what waits; an error when it can no longer be sent.
    fn push(&mut self) -> io::Result<()> {
        self.session.push(&mut self.socket);
        match self.socket.broken.take() {
            Some(error) => Err(error),
            None => Ok(()),
        }
    }
}

impl Conduit for TlsConduit {
    fn advance(&mut self) -> io::Result<bool> {
        self.session.advance(&mut self.socket, &mut self.scratch)
    }

    fn may_be_refused(&self) -> bool {
        self.session.may_be_refused()
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = self.session.write(&mut self.socket, bytes)?;
        match self.socket.broken.take() {
            Some(error) => Err(error),
            None => Ok(count),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        self.push()?;
        if self.session.is_pushed() { Ok(()) } else { Err(ErrorKind::WouldBlock.into()) }
    }

    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        self.session.read(&mut self.socket, &mut self.scratch, bytes)
    }

    fn finish(&mut self) -> io::Result<()> {
        self.session.close(&mut self.socket);
        if self.session.is_pushed() { self.socket.socket.shutdown(Shutdown::Write) } else { Ok(()) }
    }
}
