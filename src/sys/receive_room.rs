//! Room in the kernel for what a TCP peer sends while nobody reads.
//!
//! The kernel begins with 128 KiB and gives a connection more as its reader takes more in one round
//! trip. A reader that reads much and then rests takes little in a round trip of a loopback or a
//! rack, so its room stays a few reads large. SO_RCVBUF would end the adjusting, and is cut to
//! rmem_max, often 208 KiB. SO_RCVLOWAT brings room for as much as it asks for (Linux 4.18, commit
//! 03f45c883c6f), up to half of tcp_rmem's largest, and leaves the rest to be adjusted; so it is
//! set, and taken back at once.

use std::io;
use std::os::fd::AsFd;

use super::socket_option::set_int;

/// Room for so many bytes at least, or for as many as the system lets anybody have.
pub fn widen(socket: impl AsFd, bytes: usize) -> io::Result<()> {
    wake_at(&socket, libc::c_int::try_from(bytes).unwrap_or(libc::c_int::MAX))?;
    // Whatever has come meanwhile rings now.
    wake_at(&socket, 1)
}

fn wake_at(socket: &impl AsFd, bytes: libc::c_int) -> io::Result<()> {
    set_int(socket.as_fd(), libc::SOL_SOCKET, libc::SO_RCVLOWAT, bytes)
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::{TcpListener, TcpStream};

    use socket2::SockRef;

    use super::*;

    #[test]
    fn a_stream_gets_more_room_and_rings_at_the_first_byte() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut sender = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (mut socket, _) = listener.accept().unwrap();
        let room = || SockRef::from(&socket).recv_buffer_size().unwrap();
        let before = room();
        widen(&socket, 1 << 20).unwrap();
        assert!(room() >= before.max(1 << 20), "{before}, then {}", room());
        // More than anybody may have is as much as there is.
        widen(&socket, usize::MAX).unwrap();
        sender.write_all(b"x").unwrap();
        let mut byte = [0];
        socket.read_exact(&mut byte).unwrap();
        assert_eq!(byte, *b"x");
        let file = tempfile::tempfile().unwrap();
        let error = widen(&file, 1).unwrap_err();
        assert_eq!(error.raw_os_error(), Some(libc::ENOTSOCK));
    }
}
