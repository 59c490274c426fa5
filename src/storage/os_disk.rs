//! The real disk. Every append is a pwrite: no O_APPEND, no file position.
//!
//! `syncfs` stands for many fdatasync only where it tells of every failure: on ext4, XFS and Btrfs,
//! with Linux 5.17 or newer. Writes that failed are told since 5.8; a journal that could not be
//! committed was ignored until 5.17. Overlays, FUSE and network file systems pass on neither for
//! sure: there each file is synced.

use std::ffi::OsString;
use std::fs::{self, File, OpenOptions};
use std::io::{self, IoSlice};
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, LazyLock};

use super::catalog::no_file_name;
use super::sync_round::forbidden;
use super::{Access, DirEntry, Disk, DiskFile, FileFacts, FileId, Found, ReadAt, Space, Volume};
use crate::sys::ofd_lock;
use crate::sys::written_back::written_back;
use crate::time::Wall;

#[derive(Clone, Copy, Debug, Default)]
pub struct OsDisk;

struct OsFile(File);

/// File systems by their magic numbers (statfs(2)): ext2 to ext4, XFS, Btrfs.
const TELLING: [u64; 3] = [0xEF53, 0x5846_5342, 0x9123_683E];
/// The first kernel whose syncfs tells everything.
const TELLING_SINCE: (u32, u32) = (5, 17);

static KERNEL_TELLS: LazyLock<bool> = LazyLock::new(|| {
    let name = rustix::system::uname();
    tells(&name.release().to_string_lossy())
});

impl Disk for OsDisk {
    fn create_new(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>> {
        open(OpenOptions::new().read(true).write(true).create_new(true), path)
    }

    fn create_direct(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>> {
        let direct = libc::O_DIRECT;
        let mut options = OpenOptions::new();
        options.read(true).write(true).create_new(true);
        match open(options.clone().custom_flags(direct), path) {
            // tmpfs and some others have nothing but their cache. The file may be there already.
            Err(error) if error.raw_os_error() == Some(libc::EINVAL) => {
                let _ = fs::remove_file(path);
                open(&options, path)
            }
            outcome => outcome,
        }
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
                let kind = entry.file_type()?;
                let (is_dir, is_link) = (kind.is_dir(), kind.is_symlink());
                Ok(DirEntry { name: entry.file_name(), is_dir, is_link })
            })
            .collect()
    }

    fn facts(&self, path: &Path) -> io::Result<FileFacts> {
        let metadata = fs::metadata(path)?;
        let modified = metadata.mtime().saturating_mul(1_000_000_000) + metadata.mtime_nsec();
        let is_dir = metadata.is_dir();
        Ok(FileFacts { bytes: metadata.len(), modified: Wall(modified), is_dir })
    }

    fn find(&self, path: &Path) -> io::Result<Found> {
        let metadata = fs::metadata(path)?;
        let id = FileId { device: metadata.dev(), inode: metadata.ino() };
        let modified = metadata.mtime().saturating_mul(1_000_000_000) + metadata.mtime_nsec();
        let (bytes, is_file) = (metadata.len(), metadata.is_file());
        Ok(Found { id, bytes, modified: Wall(modified), is_file })
    }

    fn rename_over(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(from, to)
    }

    fn create_dir_all(&self, dir: &Path) -> io::Result<()> {
        fs::create_dir_all(or_here(dir))
    }

    fn set_access(&self, path: &Path, access: &Access) -> io::Result<()> {
        if access.owner.is_some() || access.group.is_some() {
            std::os::unix::fs::lchown(path, access.owner, access.group)?;
        }
        // Behind the owner: giving a file away takes some bits off it.
        match access.mode {
            Some(mode) => fs::set_permissions(path, fs::Permissions::from_mode(mode)),
            None => Ok(()),
        }
    }

    fn point(&self, link: &Path, target: &Path) -> io::Result<()> {
        let beside = beside(link)?;
        // A crash may have left one.
        match fs::remove_file(&beside) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => std::os::unix::fs::symlink(target, &beside)?,
        }
        let outcome = put_in_place(&beside, link);
        if outcome.is_err() {
            let _ = fs::remove_file(&beside);
        }
        outcome
    }

    fn points_at(&self, link: &Path) -> io::Result<Option<PathBuf>> {
        match fs::read_link(link) {
            Ok(target) => Ok(Some(target)),
            // EINVAL: there is something, but no link.
            Err(error) => match error.kind() {
                io::ErrorKind::NotFound | io::ErrorKind::InvalidInput => Ok(None),
                _ => Err(error),
            },
        }
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

    fn write_parts_at(&self, offset: u64, parts: &[IoSlice<'_>]) -> io::Result<usize> {
        Ok(rustix::io::pwritev(&self.0, parts, offset)?)
    }

    fn allocate(&self, from: u64, bytes: u64) -> io::Result<()> {
        use rustix::fs::{FallocateFlags, fallocate};
        use rustix::io::Errno;
        match fallocate(&self.0, FallocateFlags::KEEP_SIZE, from, bytes) {
            Err(Errno::OPNOTSUPP | Errno::NOSYS) => Ok(()),
            outcome => Ok(outcome?),
        }
    }

    fn sync_data(&self) -> io::Result<()> {
        self.0.sync_data()
    }

    fn volume(&self) -> Option<Volume> {
        let kind = rustix::fs::fstatfs(&self.0).ok()?.f_type as u64;
        let tells = *KERNEL_TELLS && TELLING.contains(&kind);
        if tells { Some(Volume(self.0.metadata().ok()?.dev())) } else { None }
    }

    fn sync_volume(&self) -> io::Result<()> {
        rustix::fs::syncfs(&self.0).map_err(io::Error::from)
    }

    fn written_back(&self) -> io::Result<()> {
        match written_back(&self.0) {
            Err(error) if forbidden(&error) => self.0.sync_data(),
            outcome => outcome,
        }
    }

    fn truncate(&self, bytes: u64) -> io::Result<()> {
        self.0.set_len(bytes)
    }

    fn try_lock_exclusive(&self) -> io::Result<bool> {
        ofd_lock::try_lock_exclusive(&self.0)
    }

    fn id(&self) -> io::Result<FileId> {
        let metadata = self.0.metadata()?;
        Ok(FileId { device: metadata.dev(), inode: metadata.ino() })
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

impl Drop for OsFile {
    /// Its lock goes with it, whatever child of ours is about to be another program.
    fn drop(&mut self) {
        let _ = ofd_lock::unlock(&self.0);
    }
}

/// A hidden name in the directory of a link, for the link that takes its place.
fn beside(link: &Path) -> io::Result<PathBuf> {
    let name = link.file_name().ok_or_else(|| no_file_name(link))?;
    let mut hidden = OsString::from(".");
    hidden.push(name);
    hidden.push(".new");
    Ok(link.with_file_name(hidden))
}

/// Gives the new link its name, if nobody or another link has it.
fn put_in_place(new: &Path, link: &Path) -> io::Result<()> {
    use rustix::fs::{CWD, RenameFlags, renameat_with};
    match renameat_with(CWD, new, CWD, link, RenameFlags::NOREPLACE) {
        Ok(()) => return Ok(()),
        Err(rustix::io::Errno::EXIST | rustix::io::Errno::INVAL | rustix::io::Errno::NOSYS) => {}
        Err(error) => return Err(error.into()),
    }
    let is_link = |path: &Path| Ok::<_, io::Error>(fs::symlink_metadata(path)?.is_symlink());
    match renameat_with(CWD, new, CWD, link, RenameFlags::EXCHANGE) {
        // What had the name is in our hands: a file that is no link gets it back.
        Ok(()) if is_link(new)? => fs::remove_file(new),
        Ok(()) => {
            renameat_with(CWD, new, CWD, link, RenameFlags::EXCHANGE)?;
            Err(io::ErrorKind::AlreadyExists.into())
        }
        // A file system without flags: looked at first, and then replaced.
        Err(_) => match is_link(link) {
            Ok(false) => Err(io::ErrorKind::AlreadyExists.into()),
            _ => fs::rename(new, link),
        },
    }
}

fn open(options: &OpenOptions, path: &Path) -> io::Result<Arc<dyn DiskFile>> {
    Ok(Arc::new(OsFile(options.open(path)?)))
}

/// Whether the kernel of this release is new enough: "6.1.0-18-amd64".
fn tells(release: &str) -> bool {
    let mut numbers = release.split(['.', '-']).map_while(|part| part.parse::<u32>().ok());
    let version = numbers.next().zip(numbers.next());
    version.is_some_and(|version| version >= TELLING_SINCE)
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
    fn an_old_kernel_or_one_that_says_nothing_syncs_each_file() {
        for release in ["5.17.0", "5.17-rc1", "6.1.0-18-amd64", "10.0", "6.18.44-custom"] {
            assert!(tells(release), "{release}");
        }
        for release in ["5.16.99", "4.4.0", "3.10.0-1160.el7.x86_64", "", "linux", "6"] {
            assert!(!tells(release), "{release}");
        }
    }

    #[test]
    fn a_volume_is_synced_and_its_files_know_it() {
        let dir = tempfile::tempdir().unwrap();
        let files = ["a", "b"].map(|name| OsDisk.create_new(&dir.path().join(name)).unwrap());
        for file in &files {
            write_all_at(&**file, 0, b"text").unwrap();
        }
        assert_eq!(files[0].volume(), files[1].volume());
        files[0].sync_volume().unwrap();
        files.iter().for_each(|file| file.written_back().unwrap());
        assert_eq!(OsDisk.open_read(Path::new("/proc/version")).unwrap().volume(), None);
    }

    #[test]
    fn a_file_that_is_dropped_is_locked_no_longer() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a");
        let file = OsFile(File::create(&path).unwrap());
        let _of_a_child = file.0.try_clone().unwrap();
        let other = OsDisk.open_write(&path).unwrap();
        assert!(file.try_lock_exclusive().unwrap() && !other.try_lock_exclusive().unwrap());
        drop(file);
        assert!(other.try_lock_exclusive().unwrap());
    }

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
