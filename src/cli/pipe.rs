//! Paths that can be read only once: standard input, FIFOs, devices.

use std::io;
use std::os::unix::fs::FileTypeExt;
use std::path::Path;

use crate::archive::{ArchiveError, Reader};

/// Standard input, as most commands call it.
const STDIN: &str = "-";

/// Standard input, or what can be read as little twice: no place in it can be gone back to.
pub(super) fn is_pipe(path: &Path) -> bool {
    let kind = std::fs::metadata(path).map(|facts| facts.file_type());
    path == Path::new(STDIN)
        || kind.is_ok_and(|kind| kind.is_fifo() || kind.is_char_device() || kind.is_socket())
}

pub(super) fn open_pipe(path: &Path) -> Result<Reader, ArchiveError> {
    if path == Path::new(STDIN) {
        return Reader::of_stream(path, Box::new(io::stdin()));
    }
    let file = std::fs::File::open(path);
    let file = file.map_err(|source| ArchiveError { path: path.to_owned(), source })?;
    Reader::of_stream(path, Box::new(file))
}
