//! What a connection reads from: the one place that knows sockets and what is wrapped around them.
//!
//! ```text
//!   Listener ──accept──▶ Link ──read──▶ Protocol (lines, …) ──▶ page
//!      tcp, tls, unix     tcp, tls, unix
//! ```
//! A link without a wrapping is read straight into the page: the reactor pays one predictable
//! branch a read(2), nothing an event. A link that must also write (a handshake, answers) says so
//! by its `interest`, and the reactor pushes what waits whenever the socket takes it again.
//!
//! To add one: a row in `listen::Transport`, a variant here, and its arm in each match below; the
//! compiler names them. To add a protocol above the bytes: a variant of `protocol::Protocol`.

use std::io::{self, Read, Write};
use std::net::SocketAddr;
use std::os::fd::{AsFd, BorrowedFd};

use mio::net::{TcpListener, TcpStream, UnixListener, UnixStream};
use mio::{Interest, Registry, Token};
use socket2::SockRef;

use super::tls::{TlsLink, TlsListener};
use crate::sys::credentials::{self, Credentials};
use crate::sys::receive_room;
use crate::sys::socket_file::SocketFile;

/// Where connections come in.
pub enum Listener {
    Tcp(TcpListener),
    /// With its file, unless the socket was passed on to us.
    Unix(UnixListener, Option<SocketFile>),
    Tls(TlsListener),
}

impl Listener {
    /// The next newcomer's link, and its address where it has one.
    pub fn accept(&self) -> io::Result<(Link, Option<SocketAddr>)> {
        match self {
            Self::Tcp(listener) => {
                let (socket, peer) = listener.accept()?;
                Ok((Link::Tcp(socket), Some(canonical(peer))))
            }
            Self::Unix(listener, _) => Ok((Link::Unix(listener.accept()?.0), None)),
            Self::Tls(listener) => {
                let (link, peer) = listener.accept()?;
                Ok((Link::Tls(Box::new(link)), Some(canonical(peer))))
            }
        }
    }

    pub fn register(&mut self, registry: &Registry, token: Token) -> io::Result<()> {
        match self {
            Self::Tcp(listener) => registry.register(listener, token, Interest::READABLE),
            Self::Unix(listener, _) => registry.register(listener, token, Interest::READABLE),
            Self::Tls(tls) => registry.register(&mut tls.socket, token, Interest::READABLE),
        }
    }
}

impl AsFd for Listener {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Self::Tcp(listener) => listener.as_fd(),
            Self::Unix(listener, _) => listener.as_fd(),
            Self::Tls(tls) => tls.socket.as_fd(),
        }
    }
}

/// A byte stream from one peer.
pub enum Link {
    Tcp(TcpStream),
    Unix(UnixStream),
    Tls(Box<TlsLink>),
}

impl Link {
    /// The socket below whatever is wrapped around it, as long as that has seen nothing.
    pub fn tcp(&mut self) -> Option<&mut TcpStream> {
        match self {
            Self::Tcp(socket) => Some(socket),
            Self::Tls(tls) => Some(&mut tls.socket),
            Self::Unix(_) => None,
        }
    }

    /// Whether what comes over a plain connection begins as TLS does (RFC 8446 5.1: a handshake
    /// record), looked at and left there; none as long as that is not known.
    pub fn begins_tls(&self) -> Option<bool> {
        let Self::Tcp(socket) = self else { return Some(false) };
        let mut front = [0; 3];
        match socket.peek(&mut front) {
            Ok(3) => Some(matches!(front, [0x16, 3, 0..=4])),
            Ok(1 | 2) if front[0] == 0x16 => None,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => None,
            Ok(_) | Err(_) => Some(false),
        }
    }

    /// Reads what is there; `WouldBlock` when nothing is, 0 at the peer's end.
    pub fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Tcp(socket) => socket.read(into),
            Self::Unix(socket) => socket.read(into),
            Self::Tls(tls) => tls.read(into),
        }
    }

    /// Whether a read that brought `count` bytes into room for `room` took all there was: what
    /// comes later rings again, so asking once more would be for nothing.
    pub fn is_emptied(&self, count: usize, room: usize) -> bool {
        match self {
            Self::Tcp(_) => count < room,
            // A read also ends where descriptors were passed with the bytes.
            Self::Unix(_) => false,
            Self::Tls(tls) => tls.session.is_emptied(),
        }
    }

    /// Sends to the peer what fits; `WouldBlock` when nothing does. Only for links whose
    /// `interest` is to write too: others are not told when there is room again.
    pub fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Tcp(socket) => socket.write(bytes),
            Self::Unix(socket) => socket.write(bytes),
            Self::Tls(tls) => tls.write(bytes),
        }
    }

    /// Sends what the link itself has to say and could not yet, before it is read.
    pub fn push(&mut self) -> io::Result<()> {
        match self {
            Self::Tcp(_) | Self::Unix(_) => Ok(()),
            Self::Tls(tls) => {
                tls.push();
                Ok(())
            }
        }
    }

    /// Bytes that have arrived and were not read: what a stop still reads.
    pub fn waiting_bytes(&self) -> usize {
        let (there, held) = match self {
            Self::Tcp(socket) => (rustix::io::ioctl_fionread(socket), 0),
            Self::Unix(socket) => (rustix::io::ioctl_fionread(socket), 0),
            Self::Tls(tls) => {
                (rustix::io::ioctl_fionread(&tls.socket), tls.session.waiting_bytes())
            }
        };
        usize::try_from(there.unwrap_or(0)).unwrap_or(usize::MAX).saturating_add(held)
    }

    /// `answers`: the protocol above writes too.
    pub fn register(&mut self, registry: &Registry, token: Token, answers: bool) -> io::Result<()> {
        let interest = if answers || self.writes() {
            Interest::READABLE | Interest::WRITABLE
        } else {
            Interest::READABLE
        };
        match self {
            Self::Tcp(socket) => {
                if answers {
                    // A reply goes when it is said: many are written with one call anyway.
                    let _ = socket.set_nodelay(true);
                }
                registry.register(socket, token, interest)
            }
            Self::Unix(socket) => registry.register(socket, token, interest),
            Self::Tls(tls) => {
                if answers {
                    let _ = tls.socket.set_nodelay(true);
                }
                registry.register(&mut tls.socket, token, interest)
            }
        }
    }

    /// Has the kernel say at once that what was read has come. It waits up to 40 ms for an answer
    /// to send it with, and so long a sender that gathers small writes (Nagle) sends nothing more.
    pub fn hasten(&self) {
        // It only makes things faster, so a refusal is none of our business.
        let _ = match self {
            Self::Tcp(socket) => SockRef::from(socket).set_tcp_quickack(true),
            Self::Tls(tls) => SockRef::from(&tls.socket).set_tcp_quickack(true),
            Self::Unix(_) => Ok(()),
        };
    }

    /// Has the kernel keep so much of what comes while nobody reads.
    pub fn widen(&self, bytes: usize) {
        // Without it reading costs more, and nothing else.
        let _ = match self {
            Self::Tcp(socket) => receive_room::widen(socket, bytes),
            Self::Tls(tls) => receive_room::widen(&tls.socket, bytes),
            Self::Unix(_) => Ok(()),
        };
    }

    /// Ends it for good, with a goodbye where there is one.
    pub fn deregister(&mut self, registry: &Registry) -> io::Result<()> {
        match self {
            Self::Tcp(socket) => registry.deregister(socket),
            Self::Unix(socket) => registry.deregister(socket),
            Self::Tls(tls) => {
                tls.close();
                registry.deregister(&mut tls.socket)
            }
        }
    }

    /// Whether the link itself has something to say to the peer.
    fn writes(&self) -> bool {
        match self {
            Self::Tcp(_) | Self::Unix(_) => false,
            Self::Tls(_) => true,
        }
    }

    /// Whether text may come: nothing is to be agreed upon first.
    pub fn is_settled(&self) -> bool {
        match self {
            Self::Tcp(_) | Self::Unix(_) => true,
            Self::Tls(tls) => tls.session.is_open(),
        }
    }

    /// Goes on with agreeing; what fails for good is an error.
    pub fn agree(&mut self) -> io::Result<()> {
        match self {
            Self::Tcp(_) | Self::Unix(_) => Ok(()),
            Self::Tls(tls) => tls.agree(),
        }
    }

    /// Whom the peer's certificate names; empty without one.
    pub fn name(&self) -> String {
        match self {
            Self::Tcp(_) | Self::Unix(_) => String::new(),
            Self::Tls(tls) => tls.name(),
        }
    }

    /// It ended, and its peer should have said so and did not: its last bytes may be missing.
    pub fn is_truncated(&self) -> bool {
        match self {
            Self::Tcp(_) | Self::Unix(_) => false,
            Self::Tls(tls) => tls.session.is_truncated(),
        }
    }

    /// The process at the other end, as the kernel knows it.
    pub fn credentials(&self) -> Option<Credentials> {
        match self {
            Self::Tcp(_) | Self::Tls(_) => None,
            Self::Unix(socket) => credentials::of_peer(socket.as_fd()).ok(),
        }
    }
}

/// IPv4 over an IPv6 socket is IPv4.
fn canonical(peer: SocketAddr) -> SocketAddr {
    SocketAddr::new(peer.ip().to_canonical(), peer.port())
}
