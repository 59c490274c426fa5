//! Blocks become files. This room knows bytes, names and disks; it never compresses.
//!
//! ```text
//!   block      one [header frame][data frame]; pure functions over bytes
//!   fields     what may stand behind a block's header; `meta`: times and peers of its events;
//!              `tokens`: which words it holds; `chain`: its hash and that of all before it;
//!              `seal`: what ends a chain, signed with a key (`seal_key`)
//!   segment    a run of blocks: scanned, sealed; its index in `index`, read by `index_reader`
//!   resync     the next whole block behind a damaged place
//!   catalog    NAME.log.zst.open → NAME.log.zst
//!   numbers    which number is next, without a listing at every open
//!   sync_round many dirty files at once
//!   current    symbolic links to what is newest
//!   durable_names  names outlive a power cut once their directories are synced
//!   retention  which finished segments go
//!   avro, lzop files in which nothing of ours can hide
//!   recovery   an `.open` file nobody holds: cut to the last whole block, indexed, sealed
//! ```
//!
//! Everything goes through [`Disk`] and [`DiskFile`], so that the simulator can bring its own disk:
//! one that tears writes, forgets what was not synced and fails on command. Both are object safe,
//! deterministic and free of OS types. `std::fs` is used in `os_disk` only.
//!
//! Promises: no file is opened for appending, every write says where (a failed append leaves the
//! length a number in the owner's memory); nothing finished is ever overwritten.

pub mod avro;
pub mod block;
pub mod catalog;
pub mod chain;
pub mod container;
pub mod current;
pub mod durable_names;
pub mod fields;
pub mod index;
pub mod index_reader;
pub mod lzop;
pub mod meta;
pub mod numbers;
pub mod os_disk;
pub mod recovery;
pub mod resync;
pub mod retention;
pub mod seal;
pub mod seal_key;
pub mod segment;
pub mod sync_round;
pub mod tokens;
#[cfg(test)]
pub(crate) mod watched_disk;

use std::ffi::OsString;
use std::io::{self, IoSlice};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::limits;
use crate::time::Wall;

pub use container::Container;
pub use durable_names::DurableNames;
pub use numbers::Numbers;
pub use os_disk::OsDisk;
pub use sync_round::{Volume, sync_files};

/// A file system. All paths are as the caller gives them; errors are those of the OS.
pub trait Disk: Send + Sync {
    /// Makes a file for reading and writing; `AlreadyExists` when the name is taken.
    fn create_new(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>>;
    /// The same for somebody who writes whole frames of 4 KiB from memory aligned to them, at
    /// multiples of them: past the page cache, where the file system can.
    fn create_direct(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>> {
        self.create_new(path)
    }
    fn open_read(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>>;
    /// For reading and writing; the file must exist.
    fn open_write(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>>;
    fn exists(&self, path: &Path) -> io::Result<bool>;
    /// Atomic; `AlreadyExists` when `to` is taken, and then nothing has changed.
    fn rename_no_replace(&self, from: &Path, to: &Path) -> io::Result<()>;
    fn remove(&self, path: &Path) -> io::Result<()>;
    /// Makes creations, renames and removals in `dir` outlive a power cut.
    fn sync_dir(&self, dir: &Path) -> io::Result<()>;
    /// Names in a directory, in no order. Cheap: no look at the files themselves.
    fn list(&self, dir: &Path) -> io::Result<Vec<DirEntry>>;
    fn facts(&self, path: &Path) -> io::Result<FileFacts>;
    /// What a path leads to, and which file that is; links are followed. A disk on which files have
    /// no names of their own knows none.
    fn find(&self, _path: &Path) -> io::Result<Found> {
        Err(io::ErrorKind::Unsupported.into())
    }
    /// Atomic: whoever looks finds the file of before, if there was one, or this one.
    fn rename_over(&self, _from: &Path, _to: &Path) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }
    /// Makes the directory and those above it; those that are there are fine.
    fn create_dir_all(&self, dir: &Path) -> io::Result<()>;
    fn space(&self, path: &Path) -> io::Result<Space>;

    /// Gives a file to somebody, and says who may do what with it. A disk that knows no owners does
    /// nothing.
    fn set_access(&self, _path: &Path, _access: &Access) -> io::Result<()> {
        Ok(())
    }

    /// Makes `link` a symbolic link to `target`, at one moment: whoever looks finds the link of
    /// before or this one. `AlreadyExists` when something that is no such link has the name, and
    /// then nothing has changed. A disk that knows no links does nothing.
    fn point(&self, _link: &Path, _target: &Path) -> io::Result<()> {
        Ok(())
    }

    /// Where a symbolic link leads; None when there is none of this name.
    fn points_at(&self, _link: &Path) -> io::Result<Option<PathBuf>> {
        Ok(None)
    }

    /// So many dirty files of a volume are synced one by one; more by one sync of the volume.
    fn files_synced_singly_max(&self) -> usize {
        limits::FILES_SYNCED_SINGLY_MAX
    }
}

/// Bytes that can be read at any place: a file, or a slice.
pub trait ReadAt {
    /// Reads up to `out.len()` bytes at `offset`; 0 at the end.
    fn read_at(&self, offset: u64, out: &mut [u8]) -> io::Result<usize>;
    fn bytes(&self) -> io::Result<u64>;
}

/// An open file. Methods take `&self`: a helper worker may sync while the owner writes on.
pub trait DiskFile: ReadAt + Send + Sync {
    /// Writes at `offset`, possibly less than asked for.
    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<usize>;
    /// Writes the parts one behind the other, possibly less than all.
    fn write_parts_at(&self, offset: u64, parts: &[IoSlice<'_>]) -> io::Result<usize> {
        match parts.iter().find(|part| !part.is_empty()) {
            Some(part) => self.write_at(offset, part),
            None => Ok(0),
        }
    }
    /// Sets room apart for so many bytes from `from` on, so that later writes find it; the length
    /// stays, and a `truncate` gives back what is behind it. Where the file system cannot, nothing
    /// is done.
    fn allocate(&self, _from: u64, _bytes: u64) -> io::Result<()> {
        Ok(())
    }
    fn sync_data(&self) -> io::Result<()>;
    /// Its volume, if syncing all of that is as safe as syncing the file: whatever fails is told.
    fn volume(&self) -> Option<Volume>;
    /// Makes the bytes of all files of the volume durable. An error may be about any of them. Says
    /// nothing of names.
    fn sync_volume(&self) -> io::Result<()>;
    /// After a good `sync_volume`: whether this file's own bytes got there. Someone else's sync of
    /// the volume may have met the failure.
    fn written_back(&self) -> io::Result<()>;
    fn truncate(&self, bytes: u64) -> io::Result<()>;
    /// Holds the file against recovery by others for as long as this open file lives.
    /// False when another open file holds it.
    fn try_lock_exclusive(&self) -> io::Result<bool>;
    /// Which file it is, whatever its name.
    fn id(&self) -> io::Result<FileId> {
        Err(io::ErrorKind::Unsupported.into())
    }
    /// Whether `path` still leads to this file: false after it was deleted, moved or replaced.
    fn linked(&self, path: &Path) -> io::Result<bool>;
}

/// Owner, group and permission bits of a file; what is not said stays as it is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Access {
    pub owner: Option<u32>,
    pub group: Option<u32>,
    pub mode: Option<u32>,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct DirEntry {
    pub name: OsString,
    pub is_dir: bool,
    pub is_link: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FileFacts {
    pub bytes: u64,
    pub modified: Wall,
    pub is_dir: bool,
}

/// A file's own name: it stays when the file is renamed, and goes to another when it is deleted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct FileId {
    pub device: u64,
    pub inode: u64,
}

/// What stands behind a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Found {
    pub id: FileId,
    pub bytes: u64,
    pub modified: Wall,
    /// Neither a directory nor a pipe nor a device.
    pub is_file: bool,
}

/// Room on the file system a path lies on; `free` is what an unprivileged process may use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Space {
    pub free_bytes: u64,
    pub total_bytes: u64,
}

impl<T: ReadAt + ?Sized> ReadAt for &T {
    fn read_at(&self, offset: u64, out: &mut [u8]) -> io::Result<usize> {
        (**self).read_at(offset, out)
    }

    fn bytes(&self) -> io::Result<u64> {
        (**self).bytes()
    }
}

impl ReadAt for Arc<dyn DiskFile> {
    fn read_at(&self, offset: u64, out: &mut [u8]) -> io::Result<usize> {
        (**self).read_at(offset, out)
    }

    fn bytes(&self) -> io::Result<u64> {
        (**self).bytes()
    }
}

impl ReadAt for [u8] {
    fn read_at(&self, offset: u64, out: &mut [u8]) -> io::Result<usize> {
        let rest = usize::try_from(offset).ok().and_then(|at| self.get(at..)).unwrap_or(&[]);
        let bytes = rest.len().min(out.len());
        out[..bytes].copy_from_slice(&rest[..bytes]);
        Ok(bytes)
    }

    fn bytes(&self) -> io::Result<u64> {
        Ok(self.len() as u64)
    }
}

/// A whole small file; an error when it has more than `bytes_max`.
pub fn read_file(disk: &dyn Disk, path: &Path, bytes_max: usize) -> io::Result<Vec<u8>> {
    let file = disk.open_read(path)?;
    let bytes = usize::try_from(file.bytes()?).unwrap_or(usize::MAX);
    if bytes > bytes_max {
        return Err(io::Error::other(format!("{bytes} bytes, and at most {bytes_max} are read")));
    }
    let mut contents = vec![0; bytes];
    let read = read_full_at(file.as_ref(), 0, &mut contents)?;
    contents.truncate(read);
    Ok(contents)
}

/// Reads until `out` is full or the file ends; says how many bytes there were.
pub fn read_full_at(file: &dyn ReadAt, offset: u64, out: &mut [u8]) -> io::Result<usize> {
    let mut read = 0;
    while read < out.len() {
        match file.read_at(offset + read as u64, &mut out[read..]) {
            Ok(0) => break,
            Ok(bytes) => read += bytes,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(read)
}

/// Writes all of `bytes` at `offset`. An error may leave part of it in the file: the caller keeps
/// its own idea of the length, truncates, and tries again with the same bytes.
pub fn write_all_at(file: &dyn DiskFile, offset: u64, bytes: &[u8]) -> io::Result<()> {
    let mut written = 0;
    while written < bytes.len() {
        match file.write_at(offset + written as u64, &bytes[written..]) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(more) => written += more,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Writes all parts, one behind the other, from `offset` on; an error may leave some of it there.
pub fn write_all_parts_at(
    file: &dyn DiskFile,
    mut offset: u64,
    mut parts: &mut [IoSlice<'_>],
) -> io::Result<()> {
    IoSlice::advance_slices(&mut parts, 0);
    while !parts.is_empty() {
        match file.write_parts_at(offset, parts) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(written) => {
                offset += written as u64;
                IoSlice::advance_slices(&mut parts, written);
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}
