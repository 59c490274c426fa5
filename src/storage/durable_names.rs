//! A name outlives a power cut once its directory was synced, and so do the directories above it.
//!
//! `fdatasync` makes a file's bytes durable, not its name: a file whose directory was never synced
//! may be gone as a whole, with everything that was said to be safe in it. Each entry between a
//! root and a file is made durable here, once; many files in one directory cost one sync.

use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};

use super::{Disk, catalog};

/// More are forgotten and synced again: a path with times in it has new directories for ever. As
/// many as have a sink's keys each one of its own, 4 MiB with long names.
const KNOWN_MAX: usize = 1 << 15;

/// What one owner knows of the directories from its root down.
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

    /// `path` was created or renamed, perhaps with directories above it.
    pub fn changed(&mut self, path: &Path) {
        for dir in chain(&self.root, path) {
            self.known.remove(dir);
        }
    }

    /// Makes the name of `path` durable, unless it is known to be.
    pub fn sync(&mut self, disk: &dyn Disk, path: &Path) -> io::Result<()> {
        if self.known.len() > KNOWN_MAX {
            self.known.clear();
        }
        let above_root = self.root.parent();
        for dir in chain(&self.root, path) {
            if self.known.contains(dir) {
                continue;
            }
            match disk.sync_dir(dir) {
                // The root itself may lie where we may make files but not look.
                Err(error)
                    if error.kind() == io::ErrorKind::PermissionDenied
                        && above_root == Some(dir) => {}
                outcome => outcome?,
            }
            self.known.insert(dir.to_owned());
        }
        Ok(())
    }
}

/// The file's directory and those above it, up to the one that holds the root's name.
fn chain<'a>(root: &'a Path, path: &'a Path) -> impl Iterator<Item = &'a Path> {
    let above_root = root.parent().into_iter();
    let inside = catalog::directory(path).ancestors().take_while(move |dir| dir.starts_with(root));
    inside.chain(above_root)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_chain_goes_from_the_file_to_above_the_root() {
        let dirs: Vec<&Path> = chain(Path::new("/l/a"), Path::new("/l/a/b/c/x.log")).collect();
        assert_eq!(dirs, ["/l/a/b/c", "/l/a/b", "/l/a", "/l"].map(Path::new));
        let dirs: Vec<&Path> = chain(Path::new("."), Path::new("./x.log")).collect();
        assert_eq!(dirs, [".", ""].map(Path::new));
    }
}
