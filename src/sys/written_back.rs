//! Whether a file's bytes reached the disk, asked without making the disk flush.
//!
//! `syncfs` writes every file of a file system and tells one outcome. The kernel also notes a
//! failed write with the file it happened to, and tells it once to each open descriptor. fdatasync
//! would tell it too, and flush the disk's cache for each of ten thousand files.
#![expect(unsafe_code, reason = "sync_file_range is in no safe wrapper among our dependencies")]

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;

/// Waits for writes that are under way (after a `syncfs` there are none of what was dirty before),
/// starts none, and returns a failure that this descriptor has not been told yet.
pub fn written_back(file: &File) -> io::Result<()> {
    // Length zero: to the end of the file.
    // SAFETY: the descriptor is open for as long as `file` is borrowed; the other arguments are
    // numbers.
    let outcome =
        unsafe { libc::sync_file_range(file.as_raw_fd(), 0, 0, libc::SYNC_FILE_RANGE_WAIT_BEFORE) };
    if outcome == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    #[test]
    fn a_file_is_written_back_and_a_pipe_is_none() {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(b"some").unwrap();
        file.sync_data().unwrap();
        written_back(&file).unwrap();
        let (reader, _writer) = std::io::pipe().unwrap();
        let pipe = File::from(std::os::fd::OwnedFd::from(reader));
        assert!(written_back(&pipe).is_err());
    }
}
