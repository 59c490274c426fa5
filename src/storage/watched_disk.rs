//! For tests: the real disk, its calls counted, some of them failing on command.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use super::{DirEntry, Disk, DiskFile, FileFacts, OsDisk, ReadAt, Space, Volume};

#[derive(Clone, Default)]
pub(crate) struct WatchedDisk {
    calls: Arc<Mutex<BTreeMap<&'static str, Call>>>,
}

#[derive(Default)]
struct Call {
    count: usize,
    errno: Option<i32>,
    /// Only files with this in their name.
    of: String,
}

struct WatchedFile {
    file: Arc<dyn DiskFile>,
    /// As it was when it was opened.
    path: PathBuf,
    disk: WatchedDisk,
}

impl WatchedDisk {
    /// How often it was called since last asked.
    pub(crate) fn calls(&self, what: &'static str) -> usize {
        let mut calls = self.calls.lock().unwrap();
        std::mem::take(&mut calls.entry(what).or_default().count)
    }

    /// From now on it fails with this error, or no more.
    pub(crate) fn fail(&self, what: &'static str, errno: Option<i32>) {
        self.fail_of(what, "", errno);
    }

    /// The same for files with `of` in their name.
    pub(crate) fn fail_of(&self, what: &'static str, of: &str, errno: Option<i32>) {
        let mut calls = self.calls.lock().unwrap();
        let call = calls.entry(what).or_default();
        (call.errno, call.of) = (errno, of.to_owned());
    }

    fn called(&self, what: &'static str, path: &Path) -> io::Result<()> {
        let mut calls = self.calls.lock().unwrap();
        let call = calls.entry(what).or_default();
        call.count += 1;
        let hit = path.to_string_lossy().contains(&call.of);
        call.errno.filter(|_| hit).map_or(Ok(()), |no| Err(io::Error::from_raw_os_error(no)))
    }

    fn watch(&self, file: Arc<dyn DiskFile>, path: &Path) -> Arc<dyn DiskFile> {
        Arc::new(WatchedFile { file, path: path.to_owned(), disk: self.clone() })
    }
}

impl Disk for WatchedDisk {
    fn create_new(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>> {
        Ok(self.watch(OsDisk.create_new(path)?, path))
    }

    fn open_read(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>> {
        Ok(self.watch(OsDisk.open_read(path)?, path))
    }

    fn open_write(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>> {
        Ok(self.watch(OsDisk.open_write(path)?, path))
    }

    fn exists(&self, path: &Path) -> io::Result<bool> {
        OsDisk.exists(path)
    }

    fn rename_no_replace(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.called("rename", from)?;
        OsDisk.rename_no_replace(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        OsDisk.remove(path)
    }

    /// Counted, not done: tests make thousands.
    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        self.called("sync_dir", dir)
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<DirEntry>> {
        self.called("list", dir)?;
        OsDisk.list(dir)
    }

    fn facts(&self, path: &Path) -> io::Result<FileFacts> {
        OsDisk.facts(path)
    }

    fn create_dir_all(&self, dir: &Path) -> io::Result<()> {
        OsDisk.create_dir_all(dir)
    }

    fn point(&self, link: &Path, target: &Path) -> io::Result<()> {
        OsDisk.point(link, target)
    }

    fn points_at(&self, link: &Path) -> io::Result<Option<PathBuf>> {
        OsDisk.points_at(link)
    }

    fn space(&self, path: &Path) -> io::Result<Space> {
        OsDisk.space(path)
    }
}

impl ReadAt for WatchedFile {
    fn read_at(&self, offset: u64, out: &mut [u8]) -> io::Result<usize> {
        self.disk.called("read", &self.path)?;
        self.file.read_at(offset, out)
    }

    fn bytes(&self) -> io::Result<u64> {
        self.file.bytes()
    }
}

impl DiskFile for WatchedFile {
    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<usize> {
        self.disk.called("write", &self.path)?;
        self.file.write_at(offset, bytes)
    }

    fn allocate(&self, from: u64, bytes: u64) -> io::Result<()> {
        self.disk.called("allocate", &self.path)?;
        self.file.allocate(from, bytes)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.disk.called("sync_data", &self.path)
    }

    /// Whatever the temporary directory lies on.
    fn volume(&self) -> Option<Volume> {
        Some(Volume(1))
    }

    fn sync_volume(&self) -> io::Result<()> {
        self.disk.called("sync_volume", &self.path)
    }

    fn written_back(&self) -> io::Result<()> {
        self.disk.called("written_back", &self.path)
    }

    fn truncate(&self, bytes: u64) -> io::Result<()> {
        self.disk.called("truncate", &self.path)?;
        self.file.truncate(bytes)
    }

    fn try_lock_exclusive(&self) -> io::Result<bool> {
        self.file.try_lock_exclusive()
    }

    fn linked(&self, path: &Path) -> io::Result<bool> {
        self.file.linked(path)
    }
}
