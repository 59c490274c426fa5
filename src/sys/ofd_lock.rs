//! Open file description locks (fcntl F_OFD_SETLK), which std and rustix do not offer.
//!
//! They belong to the open file, not to the process: two opens in one process exclude each other,
//! closing another descriptor of the file releases nothing, and they go when the process dies.
#![expect(unsafe_code, reason = "F_OFD_SETLK is in no safe wrapper among our dependencies")]

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;

/// Takes the write lock of the whole file; false when another open file holds a lock.
pub fn try_lock_exclusive(file: &File) -> io::Result<bool> {
    match set(file, libc::F_WRLCK) {
        Ok(()) => Ok(true),
        Err(error) => match error.raw_os_error() {
            Some(libc::EAGAIN | libc::EACCES) => Ok(false),
            _ => Err(error),
        },
    }
}

/// Gives the lock back, if there is one. To close the file does so only when no copy of its
/// descriptor is left, and a child has one between its fork and its exec.
pub fn unlock(file: &File) -> io::Result<()> {
    set(file, libc::F_UNLCK)
}

fn set(file: &File, kind: libc::c_int) -> io::Result<()> {
    // SAFETY: flock is a plain C struct of integers; all zeroes is a valid value.
    let mut lock: libc::flock = unsafe { std::mem::zeroed() };
    // Start and length zero: from the beginning to the end, wherever that will be.
    lock.l_type = kind as libc::c_short;
    lock.l_whence = libc::SEEK_SET as libc::c_short;
    // SAFETY: the descriptor is open for as long as `file` is borrowed, and `lock` outlives the
    // call, which only reads it (and needs l_pid to be zero, as it is).
    let outcome = unsafe { libc::fcntl(file.as_raw_fd(), libc::F_OFD_SETLK, &raw const lock) };
    if outcome == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_open_of_a_locked_file_gets_no_lock_until_the_first_gives_it_back() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x");
        let first = File::create(&path).unwrap();
        let second = File::options().write(true).open(&path).unwrap();
        unlock(&first).unwrap();
        assert!(try_lock_exclusive(&first).unwrap(), "there was nothing to give back");
        assert!(!try_lock_exclusive(&second).unwrap());
        drop(File::open(&path).unwrap());
        assert!(!try_lock_exclusive(&second).unwrap(), "another descriptor's close frees nothing");
        unlock(&second).unwrap();
        assert!(!try_lock_exclusive(&second).unwrap(), "it was not its lock");
        let _copy = first.try_clone().unwrap();
        unlock(&first).unwrap();
        assert!(try_lock_exclusive(&second).unwrap(), "though a copy of the descriptor is left");
    }
}
