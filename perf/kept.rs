//! What a receiver left behind: events and bytes of every file in its output folder.

use flumen::archive::Reader;
use flumen::storage::os_disk::OsDisk;
use std::io;
use std::path::{Path, PathBuf};

#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Kept {
    pub(crate) events: u64,
    /// On the disk, and unpacked.
    pub(crate) stored_bytes: u64,
    pub(crate) raw_bytes: u64,
}

/// Reads the folder back: our files block by block, everybody's as whole standard streams.
pub(crate) fn read(folder: &Path) -> io::Result<Kept> {
    let mut kept = Kept::default();
    for path in files(folder)? {
        kept.stored_bytes += path.metadata()?.len();
        let mut reader = Reader::open(&OsDisk, &path).map_err(io::Error::other)?;
        while reader.next_block().map_err(io::Error::other)?.is_some() {}
        kept.events += reader.summary().events;
        kept.raw_bytes += reader.summary().raw_bytes;
    }
    Ok(kept)
}

pub(crate) fn files(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    let Ok(entries) = std::fs::read_dir(folder) else { return Ok(found) };
    for entry in entries {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            found.extend(files(&entry.path())?);
        } else {
            found.push(entry.path());
        }
    }
    found.sort();
    Ok(found)
}
