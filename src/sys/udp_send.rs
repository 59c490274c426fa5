//! Many datagrams with one system call: sendmmsg, and UDP_SEGMENT (GSO) to let the kernel or the
//! card cut one long buffer into equal datagrams.
//!
//! Here because std, mio and socket2 know neither. The socket is connected, so no addresses are
//! passed; the headers live on the stack of one call, so nothing outlives it.
#![expect(unsafe_code, reason = "system calls that std, mio and socket2 do not offer")]

use std::io;
use std::mem;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::ptr;

use super::socket_option::set_int;

/// Datagrams (with GSO: buffers) of one call. More gains nothing and makes the turn long.
pub const MESSAGES_MAX: usize = 64;

/// Segments of one buffer: `UDP_MAX_SEGMENTS` of kernels before 6.9.
pub const SEGMENTS_MAX: usize = 64;

/// What one buffer may hold: the payload of an IPv4 datagram.
pub const MESSAGE_BYTES_MAX: usize = 65_507;

/// Sends the pieces of `bytes` that end at `ends`, one after the other, to the peer the socket is
/// connected to; at most [`MESSAGES_MAX`] of them. Returns how many the kernel took, from the
/// first on; an error means that it took none. Never blocks when the socket does not.
pub fn send(
    socket: BorrowedFd<'_>,
    bytes: &[u8],
    ends: impl Iterator<Item = usize>,
) -> io::Result<usize> {
    let mut start = 0;
    let pieces = ends.map(|end| {
        // A slice, so that an end out of bounds panics here and is never read by the kernel.
        let piece = &bytes[start..end];
        start = end;
        piece
    });
    send_pieces(socket, pieces)
}

/// The same for pieces that stand anywhere.
pub fn send_pieces<'a>(
    socket: BorrowedFd<'_>,
    texts: impl Iterator<Item = &'a [u8]>,
) -> io::Result<usize> {
    let mut pieces = [libc::iovec { iov_base: ptr::null_mut(), iov_len: 0 }; MESSAGES_MAX];
    // SAFETY: mmsghdr is a C struct of integers and pointers, for which all zeros are valid.
    let mut headers: [libc::mmsghdr; MESSAGES_MAX] = unsafe { mem::zeroed() };
    let mut count = 0;
    for piece in texts.take(MESSAGES_MAX) {
        pieces[count].iov_base = piece.as_ptr().cast_mut().cast();
        pieces[count].iov_len = piece.len();
        headers[count].msg_hdr.msg_iov = &raw mut pieces[count];
        headers[count].msg_hdr.msg_iovlen = 1;
        count += 1;
    }
    if count == 0 {
        return Ok(0);
    }
    let flags = libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL;
    // SAFETY: `headers` holds `count` headers, each pointing to one element of `pieces`, which
    // points into bytes borrowed for 'a; all three live until the call returns, and sendmmsg
    // writes msg_len only.
    let sent = unsafe {
        libc::sendmmsg(socket.as_raw_fd(), headers.as_mut_ptr(), count as u32, flags as _)
    };
    usize::try_from(sent).map_err(|_| io::Error::last_os_error())
}

/// From now on the kernel cuts every buffer sent on the socket into datagrams of `bytes`; only the
/// last of a buffer may be shorter.
pub fn set_segment_bytes(socket: BorrowedFd<'_>, bytes: u16) -> io::Result<()> {
    set_int(socket, libc::SOL_UDP, libc::UDP_SEGMENT, libc::c_int::from(bytes))
}

#[cfg(test)]
mod tests {
    use std::net::UdpSocket;
    use std::os::fd::AsFd;
    use std::time::Duration;

    use super::*;

    fn pair() -> (UdpSocket, UdpSocket) {
        let receiver = UdpSocket::bind("127.0.0.1:0").unwrap();
        receiver.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        let sender = UdpSocket::bind("127.0.0.1:0").unwrap();
        sender.connect(receiver.local_addr().unwrap()).unwrap();
        (sender, receiver)
    }

    fn receive(socket: &UdpSocket) -> Vec<u8> {
        let mut datagram = [0; 2000];
        let length = socket.recv(&mut datagram).unwrap();
        datagram[..length].to_vec()
    }

    #[test]
    fn pieces_arrive_as_datagrams_in_order() {
        let (sender, receiver) = pair();
        let taken = send(sender.as_fd(), b"onetwothree", [3, 6, 6, 11].into_iter()).unwrap();
        assert_eq!(taken, 4, "an empty datagram is one, too");
        for text in [&b"one"[..], b"two", b"", b"three"] {
            assert_eq!(receive(&receiver), text);
        }
        assert_eq!(send(sender.as_fd(), b"", std::iter::empty()).unwrap(), 0);
    }

    #[test]
    fn a_call_sends_no_more_than_its_maximum() {
        let (sender, receiver) = pair();
        let taken = send(sender.as_fd(), &[b'x'; 100], 1..=100).unwrap();
        assert!((1..=MESSAGES_MAX).contains(&taken));
        for _ in 0..taken {
            assert_eq!(receive(&receiver), b"x");
        }
    }

    #[test]
    fn the_kernel_cuts_segments() {
        let (sender, receiver) = pair();
        set_segment_bytes(sender.as_fd(), 4).unwrap();
        assert_eq!(send(sender.as_fd(), b"aaaabbbbcc", [8, 10].into_iter()).unwrap(), 2);
        for text in [&b"aaaa"[..], b"bbbb", b"cc"] {
            assert_eq!(receive(&receiver), text);
        }
    }

    #[test]
    fn nobody_there_is_an_error_and_nothing_was_taken() {
        let (sender, receiver) = pair();
        drop(receiver);
        assert_eq!(send(sender.as_fd(), b"x", [1].into_iter()).unwrap(), 1, "the kernel took it");
        let error = send(sender.as_fd(), b"x", [1].into_iter()).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::ConnectionRefused);
    }
}
