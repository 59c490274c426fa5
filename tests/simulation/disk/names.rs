//! Directories: what programs see, and a journal for each directory of what is not durable yet.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use flumen::storage::{DirEntry, Disk, DiskFile, FileFacts, Space};

use super::SimDisk;
use super::faults::{Op, enospc};
use super::file::{Inode, SimFile};
use crate::random::Random;

/// The directory entry of a directory.
const DIRECTORY: u64 = 0;

#[derive(Default)]
pub(super) struct Names {
    seen: BTreeMap<PathBuf, u64>,
    durable: BTreeMap<PathBuf, u64>,
    journals: BTreeMap<PathBuf, Vec<Change>>,
}

#[derive(Clone)]
enum Change {
    Link(PathBuf, u64),
    Unlink(PathBuf),
    Rename(PathBuf, PathBuf),
}

impl Names {
    pub(super) fn inode(&self, path: &Path) -> Option<u64> {
        self.seen.get(path).copied().filter(|inode| *inode != DIRECTORY)
    }

    pub(super) fn files(&self) -> impl Iterator<Item = (&PathBuf, u64)> {
        let entries = self.seen.iter().map(|(path, inode)| (path, *inode));
        entries.filter(|(_, inode)| *inode != DIRECTORY)
    }

    /// Files that have a name, or had one that a power cut may bring back.
    pub(super) fn linked(&self) -> BTreeSet<u64> {
        let journals = self.journals.values().flatten().filter_map(|change| match change {
            Change::Link(_, inode) => Some(*inode),
            Change::Unlink(_) | Change::Rename(..) => None,
        });
        self.seen.values().chain(self.durable.values()).copied().chain(journals).collect()
    }

    fn is_directory(&self, path: &Path) -> bool {
        path == Path::new("/") || self.seen.get(path) == Some(&DIRECTORY)
    }

    fn change(&mut self, change: Change) {
        let parent = change.path().parent().expect("entries lie below the top").to_owned();
        change.apply(&mut self.seen);
        self.journals.entry(parent).or_default().push(change);
    }

    fn sync(&mut self, dir: &Path) {
        for change in self.journals.remove(dir).unwrap_or_default() {
            change.apply(&mut self.durable);
        }
    }

    /// An entry and all directories above it are durable, whatever is lost of the journals.
    pub(super) fn durable_for_sure(&self) -> BTreeSet<PathBuf> {
        let same = |path: &PathBuf| self.durable.get(path) == self.seen.get(path);
        let sure = |path: &&PathBuf| {
            let top = Path::new("/");
            path.ancestors().filter(|above| *above != top).all(|above| same(&above.to_owned()))
        };
        self.seen.keys().filter(sure).cloned().collect()
    }

    pub(super) fn lose_power(&mut self, random: &mut Random) {
        for changes in std::mem::take(&mut self.journals).into_values() {
            let kept = random.index(changes.len() + 1);
            changes[..kept].iter().for_each(|change| change.apply(&mut self.durable));
        }
        let durable = std::mem::take(&mut self.durable);
        for (path, inode) in durable {
            let parent = path.parent().expect("entries lie below the top");
            if parent == Path::new("/") || self.durable.contains_key(parent) {
                self.durable.insert(path, inode);
            }
        }
        self.seen.clone_from(&self.durable);
    }

    /// Removed by somebody else, who makes sure of it.
    pub(super) fn forget(&mut self, path: &Path) -> Option<u64> {
        self.sync(path.parent().expect("files lie below the top"));
        self.durable.remove(path);
        self.seen.remove(path)
    }

    pub(super) fn move_directory(&mut self, from: &Path, to: &Path) {
        let dirs: Vec<PathBuf> = self.journals.keys().cloned().collect();
        dirs.iter().filter(|dir| dir.starts_with(from)).for_each(|dir| self.sync(dir));
        self.sync(from.parent().expect("directories lie below the top"));
        for entries in [&mut self.seen, &mut self.durable] {
            let moved = std::mem::take(entries).into_iter().map(|(path, inode)| {
                let path = match path.strip_prefix(from) {
                    Ok(rest) if rest.as_os_str().is_empty() => to.to_owned(),
                    Ok(rest) => to.join(rest),
                    Err(_) => path,
                };
                (path, inode)
            });
            *entries = moved.collect();
        }
    }
}

impl Change {
    fn path(&self) -> &Path {
        match self {
            Self::Link(path, _) | Self::Unlink(path) | Self::Rename(path, _) => path,
        }
    }

    fn apply(&self, to: &mut BTreeMap<PathBuf, u64>) {
        match self {
            Self::Link(path, inode) => {
                to.insert(path.clone(), *inode);
            }
            Self::Unlink(path) => {
                to.remove(path);
            }
            Self::Rename(from, path) => {
                if let Some(inode) = to.remove(from) {
                    to.insert(path.clone(), inode);
                }
            }
        }
    }
}

fn error<T>(kind: io::ErrorKind) -> io::Result<T> {
    Err(kind.into())
}

impl SimDisk {
    fn open(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>> {
        let mut state = self.lock();
        self.may(&mut state, Op::Open)?;
        let Some(inode) = state.names.inode(path) else { return error(io::ErrorKind::NotFound) };
        Ok(Arc::new(SimFile::new(self, &mut state, inode)))
    }
}

impl Disk for SimDisk {
    fn create_new(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>> {
        let mut state = self.lock();
        self.may(&mut state, Op::Open)?;
        if !state.names.is_directory(path.parent().expect("a file lies somewhere")) {
            return error(io::ErrorKind::NotFound);
        }
        if state.names.seen.contains_key(path) {
            return error(io::ErrorKind::AlreadyExists);
        }
        if state.weather.full && state.random.once_in(2) {
            self.strike(&mut state, "full");
            return Err(enospc());
        }
        let inode = state.next_inode;
        state.next_inode += 1;
        state.inodes.insert(inode, Inode::new(self.now()));
        state.names.change(Change::Link(path.to_owned(), inode));
        let name = path.file_name().map(|name| name.to_string_lossy().into_owned());
        let name = name.filter(|name| !name.starts_with('.')).unwrap_or_default();
        self.trace.say(format!("  create i{inode} {name}"));
        Ok(Arc::new(SimFile::new(self, &mut state, inode)))
    }

    fn open_read(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>> {
        self.open(path)
    }

    fn open_write(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>> {
        self.open(path)
    }

    fn exists(&self, path: &Path) -> io::Result<bool> {
        let mut state = self.lock();
        self.may(&mut state, Op::List)?;
        Ok(state.names.seen.contains_key(path))
    }

    fn rename_no_replace(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut state = self.lock();
        self.may(&mut state, Op::Name)?;
        if !state.names.seen.contains_key(from) {
            return error(io::ErrorKind::NotFound);
        }
        if state.names.seen.contains_key(to) {
            return error(io::ErrorKind::AlreadyExists);
        }
        assert_eq!(from.parent(), to.parent(), "a rename stays in its directory");
        self.trace.say(format!("  rename {} {}", from.display(), to.display()));
        state.names.change(Change::Rename(from.to_owned(), to.to_owned()));
        Ok(())
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        let mut state = self.lock();
        self.may(&mut state, Op::Name)?;
        let Some(inode) = state.names.inode(path) else { return error(io::ErrorKind::NotFound) };
        state.names.change(Change::Unlink(path.to_owned()));
        let text = path.to_string_lossy();
        if !text.contains("/.") {
            self.trace.say(format!("  remove {text}"));
            if !text.ends_with(".open") {
                let bytes = state.inodes[&inode].cached.clone();
                state.removed.push((path.to_owned(), bytes));
            }
        }
        Ok(())
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        let mut state = self.lock();
        self.may(&mut state, Op::SyncDir)?;
        if !state.names.is_directory(dir) {
            return error(io::ErrorKind::NotFound);
        }
        self.trace.say(format!("  sync_dir {}", dir.display()));
        if !state.lies {
            state.names.sync(dir);
        }
        Ok(())
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<DirEntry>> {
        let mut state = self.lock();
        self.may(&mut state, Op::List)?;
        if !state.names.is_directory(dir) {
            return error(io::ErrorKind::NotFound);
        }
        let below = state.names.seen.iter().filter(|(path, _)| path.parent() == Some(dir));
        let entry = |(path, inode): (&PathBuf, &u64)| DirEntry {
            name: path.file_name().expect("entries have names").to_owned(),
            is_dir: *inode == DIRECTORY,
            is_link: false,
        };
        Ok(below.map(entry).collect())
    }

    fn facts(&self, path: &Path) -> io::Result<FileFacts> {
        let mut state = self.lock();
        self.may(&mut state, Op::List)?;
        match state.names.inode(path).map(|inode| &state.inodes[&inode]) {
            Some(file) => Ok(FileFacts {
                bytes: file.cached.len() as u64,
                modified: file.modified,
                is_dir: false,
            }),
            None if state.names.is_directory(path) => {
                Ok(FileFacts { bytes: 0, modified: self.now(), is_dir: true })
            }
            None => error(io::ErrorKind::NotFound),
        }
    }

    fn create_dir_all(&self, dir: &Path) -> io::Result<()> {
        let mut state = self.lock();
        self.may(&mut state, Op::Open)?;
        let mut missing: Vec<&Path> =
            dir.ancestors().take_while(|dir| !state.names.is_directory(dir)).collect();
        while let Some(dir) = missing.pop() {
            state.names.change(Change::Link(dir.to_owned(), DIRECTORY));
        }
        Ok(())
    }

    /// Few, so that sinks with a file a peer come above it.
    fn files_synced_singly_max(&self) -> usize {
        2
    }

    fn space(&self, _path: &Path) -> io::Result<Space> {
        let state = self.lock();
        let used: usize = state.names.files().map(|(_, id)| state.inodes[&id].cached.len()).sum();
        let total_bytes = 64 << 20;
        let free_bytes = if state.weather.full { 0 } else { total_bytes - used as u64 };
        Ok(Space { free_bytes, total_bytes })
    }
}
