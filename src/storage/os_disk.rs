//! The real disk. Every append is a pwrite: no O_APPEND, no file position.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::Path;
use std::sync::Arc;

use super::{DirEntry, Disk, DiskFile, FileFacts, ReadAt, Space};
use crate::sys::ofd_lock;
use crate::time::Wall;

#[derive(Clone, Copy, Debug, Default)]
pub struct OsDisk;

struct OsFile(File);

impl Disk for OsDisk {
    fn create_new(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>> {
        open(OpenOptions::new().read(true).write(true).create_new(true), path)
    }

    fn open_read(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>> {
        open(OpenOptions::new().read(true), path)
    }

    fn open_write(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>> {
        open(OpenOptions::new().read(true).write(true), path)
    }

    fn exists(&self, path: &Path) -> io::Result<bool> {
        match fs::symlink_metadata(path) {
            Ok(_) => Ok(true),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(error),
        }
    }

    fn rename_no_replace(&self, from: &Path, to: &Path) -> io::Result<()> {
        use rustix::fs::{CWD, RenameFlags, renameat_with};
        match renameat_with(CWD, from, CWD, to, RenameFlags::NOREPLACE) {
            // Some network and overlay file systems know no flags. A link never replaces either.
            Err(rustix::io::Errno::INVAL | rustix::io::Errno::NOSYS) => {
                fs::hard_link(from, to)?;
                fs::remove_file(from)
            }
            outcome => outcome.map_err(io::Error::from),
        }
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        fs::remove_file(path)
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        File::open(or_here(dir))?.sync_all()
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<DirEntry>> {
        fs::read_dir(or_here(dir))?
            .map(|entry| {
                let entry = entry?;
                Ok(DirEntry { name: entry.file_name(), is_dir: entry.file_type()?.is_dir() })
            })
            .collect()
    }

    fn facts(&self, path: &Path) -> io::Result<FileFacts> {
        let metadata = fs::metadata(path)?;
        let modified = metadata.mtime().saturating_mul(1_000_000_000) + metadata.mtime_nsec();
        let is_dir = metadata.is_dir();
        Ok(FileFacts { bytes: metadata.len(), modified: Wall(modified), is_dir })
    }

    fn create_dir_all(&self, dir: &Path) -> io::Result<()> {
        fs::create_dir_all(or_here(dir))
    }

    fn space(&self, path: &Path) -> io::Result<Space> {
        let found = rustix::fs::statvfs(or_here(path))?;
        let block_bytes = found.f_frsize;
        Ok(Space {
            free_bytes: found.f_bavail.saturating_mul(block_bytes),
            total_bytes: found.f_blocks.saturating_mul(block_bytes),
        })
    }
}

impl ReadAt for OsFile {
    fn read_at(&self, offset: u64, out: &mut [u8]) -> io::Result<usize> {
        self.0.read_at(out, offset)
    }

    fn bytes(&self) -> io::Result<u64> {
        Ok(self.0.metadata()?.len())
    }
}

impl DiskFile for OsFile {
    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<usize> {
        self.0.write_at(bytes, offset)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.0.sync_data()
    }

    fn truncate(&self, bytes: u64) -> io::Result<()> {
        self.0.set_len(bytes)
    }

    fn try_lock_exclusive(&self) -> io::Result<bool> {
        ofd_lock::try_lock_exclusive(&self.0)
    }

    fn linked(&self, path: &Path) -> io::Result<bool> {
        let ours = self.0.metadata()?;
        match fs::symlink_metadata(path) {
            Ok(there) => Ok(there.dev() == ours.dev() && there.ino() == ours.ino()),
            Err(error) => match error.kind() {
                io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => Ok(false),
                _ => Err(error),
            },
        }
    }
}

fn open(options: &OpenOptions, path: &Path) -> io::Result<Arc<dyn DiskFile>> {
    Ok(Arc::new(OsFile(options.open(path)?)))
}

/// The directory of a bare file name is "", by which the OS finds nothing.
fn or_here(dir: &Path) -> &Path {
    if dir.as_os_str().is_empty() { Path::new(".") } else { dir }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storage::{read_full_at, write_all_at};

    #[test]
    fn writes_say_where_and_a_moved_file_is_noticed() {
        let dir = tempfile::tempdir().unwrap();
        let (a, b) = (dir.path().join("a"), dir.path().join("b"));
        let file = OsDisk.create_new(&a).unwrap();
        assert!(OsDisk.create_new(&a).is_err());
        write_all_at(&*file, 0, b"hello world").unwrap();
        write_all_at(&*file, 6, b"flume").unwrap();
        file.truncate(10).unwrap();
        let mut out = [0; 20];
        assert_eq!(read_full_at(&*file, 0, &mut out).unwrap(), 10);
        assert_eq!(&out[..10], b"hello flum");
        assert!(file.linked(&a).unwrap());
        OsDisk.create_new(&b).unwrap();
        let taken = OsDisk.rename_no_replace(&a, &b).unwrap_err();
        assert_eq!(taken.kind(), io::ErrorKind::AlreadyExists);
        assert!(file.linked(&a).unwrap() && !file.linked(&b).unwrap());
        OsDisk.remove(&b).unwrap();
        OsDisk.rename_no_replace(&a, &b).unwrap();
        assert!(!file.linked(&a).unwrap() && file.linked(&b).unwrap());
        OsDisk.sync_dir(dir.path()).unwrap();
        assert_eq!(OsDisk.list(dir.path()).unwrap().len(), 1);
        assert_eq!(OsDisk.facts(&b).unwrap().bytes, 10);
        let space = OsDisk.space(dir.path()).unwrap();
        assert!(space.free_bytes > 0 && space.free_bytes <= space.total_bytes);
    }
}
