//! `keep = { bytes, age, files, disk_free }`: which finished segments go, oldest first.
//!
//! Never an open file, never one set aside, never one that does not belong to the sink that asks.
//! Limits count finished files only: what is being written comes on top.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::catalog::{State, segment_name, walk};
use super::{Disk, FileFacts};
use crate::time::{Wall, duration_ns};

/// What a sink keeps; None keeps everything.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Keep {
    pub bytes: Option<u64>,
    /// By the time of the last write to a file.
    pub age: Option<Duration>,
    pub files: Option<u64>,
    pub disk_free: Option<DiskFree>,
}

/// How much room the file system shall have.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum DiskFree {
    Bytes(u64),
    /// Of the file system's size, 0 to 100.
    Percent(f64),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    Age,
    Files,
    Bytes,
    DiskFree,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Removed {
    pub path: PathBuf,
    pub bytes: u64,
    pub reason: Reason,
}

/// What a round of retention did. A file that could not be removed is named and tried again in the
/// next round; the limits are met with the others.
#[derive(Debug, Default)]
pub struct Retained {
    pub removed: Vec<Removed>,
    pub failed: Vec<(PathBuf, io::Error)>,
}

/// Removes what `keep` does not keep of the finished segments below `root` that `belongs` owns to.
pub fn retain(
    disk: &dyn Disk,
    root: &Path,
    belongs: &dyn Fn(&Path) -> bool,
    keep: &Keep,
    now: Wall,
) -> io::Result<Retained> {
    let mut retained = Retained::default();
    if *keep == Keep::default() {
        return Ok(retained);
    }
    let files = finished(disk, root, belongs)?;
    let mut excess = Excess::new(disk, root, keep, &files)?;
    for (path, facts) in files {
        let Some(reason) = excess.reason(keep, &facts, now) else {
            continue;
        };
        match disk.remove(&path) {
            Ok(()) => {
                excess.removed(facts.bytes);
                retained.removed.push(Removed { path, bytes: facts.bytes, reason });
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => excess.removed(facts.bytes),
            Err(error) => retained.failed.push((path, error)),
        }
    }
    Ok(retained)
}

/// Finished segments, oldest first; of the same age, by name.
fn finished(
    disk: &dyn Disk,
    root: &Path,
    belongs: &dyn Fn(&Path) -> bool,
) -> io::Result<Vec<(PathBuf, FileFacts)>> {
    let mut files = Vec::new();
    for path in walk(disk, root)? {
        if segment_name(&path)?.state != State::Finished || !belongs(&path) {
            continue;
        }
        match disk.facts(&path) {
            Ok(facts) => files.push((path, facts)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
    }
    files.sort_by(|(a, x), (b, y)| (x.modified, a).cmp(&(y.modified, b)));
    Ok(files)
}

/// How much is too much, counted down as files go.
struct Excess {
    bytes: u64,
    files: u64,
    /// Reckoned from one look at the disk: asking again after each removal would, when somebody
    /// else fills the disk, remove everything.
    missing_bytes: u64,
}

impl Excess {
    fn new(
        disk: &dyn Disk,
        root: &Path,
        keep: &Keep,
        files: &[(PathBuf, FileFacts)],
    ) -> io::Result<Self> {
        let stored: u64 = files.iter().map(|(_, facts)| facts.bytes).sum();
        let missing_bytes = match keep.disk_free {
            Some(wanted) if !files.is_empty() => {
                let space = disk.space(root)?;
                let wanted_bytes = match wanted {
                    DiskFree::Bytes(bytes) => bytes,
                    DiskFree::Percent(part) => (space.total_bytes as f64 * part / 100.0) as u64,
                };
                wanted_bytes.saturating_sub(space.free_bytes)
            }
            _ => 0,
        };
        Ok(Self {
            bytes: keep.bytes.map_or(0, |most| stored.saturating_sub(most)),
            files: keep.files.map_or(0, |most| (files.len() as u64).saturating_sub(most)),
            missing_bytes,
        })
    }

    fn reason(&self, keep: &Keep, facts: &FileFacts, now: Wall) -> Option<Reason> {
        let age_ns = u64::try_from(now.0.saturating_sub(facts.modified.0)).unwrap_or(0);
        if keep.age.is_some_and(|most| age_ns > duration_ns(most)) {
            Some(Reason::Age)
        } else if self.files > 0 {
            Some(Reason::Files)
        } else if self.bytes > 0 {
            Some(Reason::Bytes)
        } else if self.missing_bytes > 0 {
            Some(Reason::DiskFree)
        } else {
            None
        }
    }

    fn removed(&mut self, bytes: u64) {
        self.bytes = self.bytes.saturating_sub(bytes);
        self.files = self.files.saturating_sub(1);
        self.missing_bytes = self.missing_bytes.saturating_sub(bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storage::{OsDisk, write_all_at};

    /// Four finished files of 100 bytes, oldest first, one open, one bad, one of somebody else.
    fn archive() -> (tempfile::TempDir, Wall) {
        let dir = tempfile::tempdir().unwrap();
        let names = ["d.zst", "c.zst", "b.zst", "a.zst", "e.zst.open", "f.zst.bad", "other.txt"];
        let base = std::time::SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000);
        for (second, name) in names.iter().enumerate() {
            let path = dir.path().join(name);
            write_all_at(&*OsDisk.create_new(&path).unwrap(), 0, &[0; 100]).unwrap();
            let file = std::fs::File::options().write(true).open(&path).unwrap();
            file.set_modified(base + Duration::from_secs(second as u64)).unwrap();
        }
        (dir, Wall(1_000_010 * 1_000_000_000))
    }

    fn removed(keep: Keep) -> Vec<(String, Reason)> {
        let (dir, now) = archive();
        let belongs = |path: &Path| path.extension().is_some_and(|ending| ending != "txt");
        let done = retain(&OsDisk, dir.path(), &belongs, &keep, now).unwrap();
        assert!(done.failed.is_empty());
        for file in &done.removed {
            assert!(!file.path.exists());
        }
        let again = retain(&OsDisk, dir.path(), &belongs, &keep, now).unwrap();
        assert!(again.removed.is_empty(), "the second round has nothing to do");
        assert_eq!(walk(&OsDisk, dir.path()).unwrap().len() + done.removed.len(), 7);
        let name = |path: &Path| path.file_name().unwrap().to_str().unwrap().to_owned();
        done.removed.iter().map(|file| (name(&file.path), file.reason)).collect()
    }

    #[test]
    fn the_oldest_go_first_and_only_as_many_as_must() {
        assert_eq!(removed(Keep::default()), []);
        let keep = Keep { bytes: Some(250), ..Keep::default() };
        assert_eq!(
            removed(keep),
            [("d.zst".into(), Reason::Bytes), ("c.zst".into(), Reason::Bytes)]
        );
        let keep = Keep { files: Some(3), ..Keep::default() };
        assert_eq!(removed(keep), [("d.zst".into(), Reason::Files)]);
        let keep = Keep { age: Some(Duration::from_secs(9)), ..Keep::default() };
        assert_eq!(removed(keep), [("d.zst".into(), Reason::Age)]);
        let keep = Keep { bytes: Some(400), files: Some(4), ..Keep::default() };
        assert_eq!(removed(keep), []);
    }

    #[test]
    fn a_full_disk_takes_all_finished_files_but_nothing_else() {
        let (dir, now) = archive();
        let keep = Keep { disk_free: Some(DiskFree::Percent(100.0)), ..Keep::default() };
        let done = retain(&OsDisk, dir.path(), &|_| true, &keep, now).unwrap();
        assert_eq!(done.removed.len(), 5);
        let left = walk(&OsDisk, dir.path()).unwrap();
        assert_eq!(left, [dir.path().join("e.zst.open"), dir.path().join("f.zst.bad")]);
        let keep = Keep { disk_free: Some(DiskFree::Percent(0.0)), ..Keep::default() };
        let (dir, now) = archive();
        assert!(retain(&OsDisk, dir.path(), &|_| true, &keep, now).unwrap().removed.is_empty());
    }
}
