//! A socket that datagrams come in by, and how it is shut without losing count.
//!
//! A UDP socket gets a filter that refuses everything, and is then connected to itself: see
//! `datagrams`. A Unix socket is shut for reading: what is queued is still read, and senders are
//! told. A socket that was passed on to us is only left alone: whoever passed it keeps it, and what
//! still lies in it is the next one's.

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, Shutdown, SocketAddr};
use std::os::fd::{AsFd, BorrowedFd};

use mio::net::{UdpSocket, UnixDatagram};
use mio::{Interest, Registry, Token};
use socket2::{SockFilter, SockRef};

use crate::sys::socket_file::SocketFile;
use crate::sys::udp_receive;

#[derive(Debug)]
pub struct Port {
    socket: Socket,
    kept: bool,
    /// Goes when we do.
    _file: Option<SocketFile>,
}

#[derive(Debug)]
enum Socket {
    Udp(UdpSocket),
    Unix(UnixDatagram),
}

impl Port {
    /// `kept`: it was passed on to us, and somebody else keeps it open.
    pub fn udp(socket: UdpSocket, kept: bool) -> Self {
        Self { socket: Socket::Udp(socket), kept, _file: None }
    }

    /// Without a file it was passed on to us.
    pub fn unix(socket: UnixDatagram, file: Option<SocketFile>) -> Self {
        let kept = file.is_none();
        Self { socket: Socket::Unix(socket), kept, _file: file }
    }

    pub fn is_kept(&self) -> bool {
        self.kept
    }

    /// The address it is bound to; none of a Unix socket.
    pub fn internet(&self) -> Option<SocketAddr> {
        match &self.socket {
            Socket::Udp(socket) => socket.local_addr().ok(),
            Socket::Unix(_) => None,
        }
    }

    pub fn register(&mut self, registry: &Registry, token: Token) -> io::Result<()> {
        match &mut self.socket {
            Socket::Udp(socket) => registry.register(socket, token, Interest::READABLE),
            Socket::Unix(socket) => registry.register(socket, token, Interest::READABLE),
        }
    }

    /// What the kernel dropped here, modulo 2^32. On a Unix socket it drops nothing: senders wait.
    pub fn drops(&self) -> io::Result<u32> {
        udp_receive::drops(self.as_fd())
    }

    /// Lets nothing more in, and still counts what comes; what is queued can be read.
    pub fn refuse(&self) -> io::Result<()> {
        match &self.socket {
            _ if self.kept => Ok(()),
            Socket::Udp(socket) => {
                // "Return 0 bytes of the packet": drop it.
                let refuse = [SockFilter::new(libc::BPF_RET as u16, 0, 0, 0)];
                SockRef::from(socket).attach_filter(&refuse)
            }
            Socket::Unix(socket) => socket.shutdown(Shutdown::Read),
        }
    }

    /// From now on nobody finds it any more.
    pub fn deafen(&self) -> io::Result<()> {
        match &self.socket {
            Socket::Udp(socket) if !self.kept => deafen(socket),
            _ => Ok(()),
        }
    }
}

impl AsFd for Port {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match &self.socket {
            Socket::Udp(socket) => socket.as_fd(),
            Socket::Unix(socket) => socket.as_fd(),
        }
    }
}

/// Connects a socket to itself: a datagram of anybody else no longer finds it.
fn deafen(socket: &UdpSocket) -> io::Result<()> {
    let mut own = socket.local_addr()?;
    if own.ip().is_unspecified() {
        own.set_ip(match own {
            SocketAddr::V4(_) => Ipv4Addr::LOCALHOST.into(),
            SocketAddr::V6(_) => Ipv6Addr::LOCALHOST.into(),
        });
    }
    socket.connect(own)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::socket_file::Access;

    #[test]
    fn a_deaf_socket_hears_nobody_whatever_it_was_bound_to() {
        for (bound, sender) in
            [("0.0.0.0:0", "127.0.0.1:0"), ("[::]:0", "127.0.0.1:0"), ("[::1]:0", "[::1]:0")]
        {
            // A machine without IPv6 has nothing to prove there.
            let Ok(receiver) = std::net::UdpSocket::bind(bound) else { continue };
            let sender = std::net::UdpSocket::bind(sender).unwrap();
            let to = (sender.local_addr().unwrap().ip(), receiver.local_addr().unwrap().port());
            sender.connect(to).unwrap();
            receiver.set_nonblocking(true).unwrap();
            let receiver = UdpSocket::from_std(receiver);
            sender.send(b"heard").unwrap();
            deafen(&receiver).unwrap();
            sender.send(b"not heard").unwrap();
            assert!(sender.send(b"").is_err(), "{bound}: the sender is told");
            let mut into = [0; 16];
            assert_eq!(receiver.recv(&mut into).unwrap(), 5, "{bound}");
            assert!(receiver.recv(&mut into).is_err(), "{bound}");
            assert_eq!(udp_receive::drops(receiver.as_fd()).unwrap(), 0);
        }
    }
    #[test]
    fn a_unix_socket_that_is_shut_gives_what_it_had_and_tells_senders() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log");
        let sender = std::os::unix::net::UnixDatagram::unbound().unwrap();
        for kept in [false, true] {
            let socket = UnixDatagram::bind(&path).unwrap();
            let file = SocketFile::adopt(&path, Access::default()).unwrap();
            let (file, left) = if kept { (None, Some(file)) } else { (Some(file), None) };
            let port = Port::unix(socket, file);
            sender.connect(&path).unwrap();
            sender.send(b"before").unwrap();
            port.refuse().unwrap();
            port.deafen().unwrap();
            assert_eq!(sender.send(b"after").is_ok(), kept);
            let Socket::Unix(socket) = &port.socket else { unreachable!() };
            let mut into = [0; 16];
            assert_eq!(socket.recv(&mut into).unwrap(), 6);
            assert_eq!(socket.recv(&mut into).is_ok(), kept);
            assert_eq!(port.drops().unwrap(), 0);
            drop((port, left));
            assert!(!path.exists());
        }
    }
}
