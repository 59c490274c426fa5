//! Which files lie in the folder and are to be read, and in which order.

use std::collections::VecDeque;
use std::hash::{BuildHasher, RandomState};
use std::io;
use std::path::{Path, PathBuf};

use regex::Regex;

use crate::storage::{Disk, Found};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Order {
    Oldest,
    Youngest,
    Random,
}

#[derive(Clone, Debug)]
pub(super) struct Folder {
    pub(super) root: PathBuf,
    pub(super) recursive: bool,
    pub(super) include: Regex,
    pub(super) ignore: Regex,
    /// Behind the names of files that were read.
    pub(super) suffix: String,
    /// Notes of what was read; its files are no files of the folder.
    pub(super) tracker: PathBuf,
    pub(super) order: Order,
}

impl Folder {
    /// All files that are to be read, in their order; `is_read` knows of some that they were. What
    /// cannot be listed is told.
    pub(super) fn list(
        &self,
        disk: &dyn Disk,
        mut is_read: impl FnMut(&Path, &Found) -> io::Result<bool>,
        mut trouble: impl FnMut(String),
    ) -> VecDeque<(PathBuf, Found)> {
        let (mut files, mut folders) = (Vec::new(), vec![self.root.clone()]);
        while let Some(folder) = folders.pop() {
            let entries = match disk.list(&folder) {
                Ok(entries) => entries,
                Err(error) => {
                    trouble(format!("{}: {error}", folder.display()));
                    continue;
                }
            };
            for entry in entries {
                let name = entry.name.to_string_lossy();
                let path = folder.join(&entry.name);
                if name.starts_with('.') || path == self.tracker {
                    continue;
                }
                if entry.is_dir {
                    if self.recursive {
                        folders.push(path);
                    }
                    continue;
                }
                if !self.wants(&name) {
                    continue;
                }
                let found = disk.find(&path).and_then(|found| {
                    let wanted = found.is_file && !is_read(&path, &found)?;
                    Ok(wanted.then_some(found))
                });
                match found {
                    Ok(found) => files.extend(found.map(|found| (path, found))),
                    // Somebody was faster.
                    Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                    Err(error) => trouble(format!("{}: {error}", path.display())),
                }
            }
        }
        self.sort(&mut files);
        files.into()
    }

    fn wants(&self, name: &str) -> bool {
        let done = name.ends_with(&self.suffix);
        !done && self.include.is_match(name) && !self.ignore.is_match(name)
    }

    fn sort(&self, files: &mut [(PathBuf, Found)]) {
        files.sort_by(|(a, of_a), (b, of_b)| (of_a.modified, a).cmp(&(of_b.modified, b)));
        match self.order {
            Order::Oldest => {}
            Order::Youngest => files.reverse(),
            Order::Random => {
                let chance = RandomState::new();
                files.sort_by_cached_key(|(path, _)| chance.hash_one(path));
            }
        }
    }

    /// Where it is noted that this file was read.
    pub(super) fn note_of(&self, path: &Path) -> PathBuf {
        let below = path.strip_prefix(&self.root).unwrap_or(path);
        with(&self.tracker.join(below), "", &self.suffix)
    }
}

/// `NAME.1.COMPLETED`
pub(super) fn with(path: &Path, number: &str, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(number);
    name.push(suffix);
    name.into()
}
