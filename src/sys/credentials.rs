//! Who is at the other end of a Unix socket: what the kernel says, not what the peer writes.
#![expect(unsafe_code, reason = "no dependency of ours reads them without assuming a process id")]

use std::io;
use std::mem;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::ptr;

/// A process, as the kernel knows it. A process id is 0 when it lies in another namespace.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Credentials {
    pub pid: u32,
    pub uid: u32,
    pub gid: u32,
}

impl Credentials {
    pub(super) fn of(raw: libc::ucred) -> Self {
        Self { pid: u32::try_from(raw.pid).unwrap_or(0), uid: raw.uid, gid: raw.gid }
    }
}

/// Who connected a stream: the process as it was then.
pub fn of_peer(socket: BorrowedFd<'_>) -> io::Result<Credentials> {
    let mut raw = libc::ucred { pid: 0, uid: 0, gid: 0 };
    let mut length = mem::size_of_val(&raw) as libc::socklen_t;
    // SAFETY: `raw` is `length` bytes of plain integers and outlives the call.
    let result = unsafe {
        libc::getsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_PEERCRED,
            ptr::from_mut(&mut raw).cast(),
            &raw mut length,
        )
    };
    if result == 0 { Ok(Credentials::of(raw)) } else { Err(io::Error::last_os_error()) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::fd::AsFd;
    use std::os::unix::net::UnixStream;

    #[test]
    fn the_peer_is_whom_the_kernel_names() {
        let (one, _other) = UnixStream::pair().unwrap();
        let us = of_peer(one.as_fd()).unwrap();
        assert_eq!(us.pid, std::process::id());
        assert_eq!(us.uid, rustix::process::getuid().as_raw());
        assert_eq!(us.gid, rustix::process::getgid().as_raw());
    }
}
