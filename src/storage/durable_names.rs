//! A name outlives a power cut once its directory was synced, and so do the directories above it.
//!
//! `fdatasync` makes a file's bytes durable, not its name: a file whose directory was never synced
//! may be gone as a whole, with everything that was said to be safe in it. Each entry between the
//! top of the file system and a file is made durable here, once; many files in one directory cost
//! one sync. Above a root nothing changes but that it is made, perhaps with all above it.

use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};

use super::{Disk, catalog};

/// More are forgotten and synced again: a path with times in it has new directories for ever. As
/// many as have a sink's keys each one of its own, 4 MiB with long names.
const KNOWN_MAX: usize = 1 << 15;

/// What one owner knows of the directories of its files.
#[derive(Debug)]
pub struct DurableNames {
    root: PathBuf,
    /// Directories of which nothing was changed since they were synced.
    known: BTreeSet<PathBuf>,
}

impl DurableNames {
    pub fn below(root: PathBuf) -> Self {
        Self { root, known: BTreeSet::new() }
    }

    /// The directory below which it knows names.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// `path` was created or renamed, perhaps with directories above it, up to the root.
    pub fn changed(&mut self, path: &Path) {
        let inside = chain(path).take_while(|dir| dir.starts_with(&self.root));
        for dir in inside.chain(self.root.parent()) {
            self.known.remove(dir);
        }
    }

    /// Makes the name of `path` durable, unless it is known to be.
    pub fn sync(&mut self, disk: &dyn Disk, path: &Path) -> io::Result<()> {
        if self.known.len() > KNOWN_MAX {
            self.known.clear();
        }
        for dir in chain(path) {
            if self.known.contains(dir) {
                continue;
            }
            match disk.sync_dir(dir) {
                // Somebody else's, and there before us.
                Err(error) if !dir.starts_with(&self.root) && may_not(&error) => {}
                outcome => outcome?,
            }
            self.known.insert(dir.to_owned());
        }
        Ok(())
    }
}

/// We may make files below it, but not look into it; or it is of a kind that cannot be synced.
fn may_not(error: &io::Error) -> bool {
    use io::ErrorKind::{InvalidInput, PermissionDenied, ReadOnlyFilesystem};
    matches!(error.kind(), InvalidInput | PermissionDenied | ReadOnlyFilesystem)
}

/// The file's directory and all above it.
fn chain(path: &Path) -> impl Iterator<Item = &Path> {
    catalog::directory(path).ancestors()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storage::watched_disk::WatchedDisk;

    fn names(root: &str) -> (DurableNames, WatchedDisk) {
        (DurableNames::below(PathBuf::from(root)), WatchedDisk::default())
    }

    #[test]
    fn every_directory_is_synced_once_and_again_when_a_name_in_it_changed() {
        let (mut names, disk) = names("/v/l/a");
        let sync = |names: &mut DurableNames, path: &str| {
            names.sync(&disk, Path::new(path)).unwrap();
            disk.calls("sync_dir")
        };
        // c, b, a, l, v, and the top.
        assert_eq!(sync(&mut names, "/v/l/a/b/c/x.log"), 6);
        assert_eq!(sync(&mut names, "/v/l/a/b/c/y.log"), 0);
        assert_eq!(sync(&mut names, "/v/l/a/d/y.log"), 1);
        // The root may have been made anew: it, what is below it, and what holds its name.
        names.changed(Path::new("/v/l/a/d/z.log"));
        assert_eq!(sync(&mut names, "/v/l/a/d/z.log"), 3);
    }

    #[test]
    fn what_lies_in_the_working_directory_needs_no_more_than_that() {
        for (root, path, count) in [(".", "./x.log", 2), ("", "x.log", 1)] {
            let (mut names, disk) = names(root);
            names.sync(&disk, Path::new(path)).unwrap();
            assert_eq!(disk.calls("sync_dir"), count, "{path}");
        }
    }

    #[test]
    fn what_is_not_ours_may_keep_us_out_and_nothing_else_may_fail() {
        const EACCES: Option<i32> = Some(13);
        const EIO: Option<i32> = Some(5);
        let (mut names, disk) = names("/v/l");
        disk.fail("sync_dir", EACCES);
        assert!(names.sync(&disk, Path::new("/v/l/x.log")).is_err(), "our own");
        // All of it lies outside.
        names.sync(&disk, Path::new("/v/x")).unwrap();
        assert_eq!(names.known.len(), 2);
        names.known.clear();
        disk.fail("sync_dir", EIO);
        assert!(names.sync(&disk, Path::new("/v/x")).is_err());
    }
}
