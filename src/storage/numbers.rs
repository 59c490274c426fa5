//! Which number a stem's next segment gets, without listing its directory at every open.
//!
//! A directory is listed once; from then on the highest number of each stem in it is remembered.
//! The memory is a guess, never the truth: a name is taken by a creation that fails when somebody
//! has it, and only after a look that the number before is still there and that no finished or bad
//! file has the new one. When the guess is wrong (somebody added, moved or deleted files) the
//! directory is listed anew.
//!
//! ```text
//!   remembered 7:   web.log.7.zst is there?   web.log.8.zst, .bad are not?   create 8, exclusively
//!                   no: list                  taken: list                    taken: list
//! ```
//! So numbers are one above the highest, but for a stem to which somebody else adds higher ones:
//! what is free below them is used first. Nothing is overwritten either way.
//!
//! Bounded: more than `REMEMBERED_MAX` stems are forgotten, and a directory that alone has more is
//! listed for each stem at its first open.

use std::collections::hash_map::DefaultHasher;
use std::collections::{HashMap, HashSet};
use std::ffi::OsStr;
use std::hash::{BuildHasherDefault, Hash, Hasher};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::catalog::{SegmentName, State, directory, next_number, no_file_name, numbers_of};
use super::{Container, Disk, DiskFile};

/// Stems remembered, at 16 bytes each and what a hash table adds: 2 MiB and a bit.
const REMEMBERED_MAX: usize = 1 << 16;

/// Another process may create the same name, or its recovery may remove our file while it is empty
/// and not yet held: then the next number, a few times.
const ATTEMPTS_MAX: usize = 16;

/// No random seed: in simulation a run repeats byte for byte.
type FixedState = BuildHasherDefault<DefaultHasher>;

/// What one owner remembers of its directories.
#[derive(Debug)]
pub struct Numbers {
    container: Container,
    /// The highest number of a stem, by the hash of its path. Two stems with one hash would cost
    /// listings and no more.
    highest: HashMap<u64, u32, FixedState>,
    /// Directories, by hash, whose stems were all remembered: one not found there has no files.
    whole: HashSet<u64, FixedState>,
    remembered_max: usize,
}

/// A path taken apart.
#[derive(Clone, Copy)]
struct Stem<'a> {
    dir: &'a Path,
    name: &'a OsStr,
}

impl Numbers {
    pub fn new(container: Container) -> Self {
        let (highest, whole) = (HashMap::default(), HashSet::default());
        Self { container, highest, whole, remembered_max: REMEMBERED_MAX }
    }

    /// Opens the next segment of `stem`: missing directories are made, the file is created and
    /// held.
    pub fn create_open(
        &mut self,
        disk: &dyn Disk,
        stem: &Path,
    ) -> io::Result<(PathBuf, Arc<dyn DiskFile>)> {
        let name = stem.file_name().ok_or_else(|| no_file_name(stem))?;
        let parts = Stem { dir: directory(stem), name };
        disk.create_dir_all(parts.dir)?;
        if self.highest.len() + self.whole.len() > self.remembered_max {
            self.highest.clear();
            self.whole.clear();
        }
        for _ in 0..ATTEMPTS_MAX {
            let number = match self.guess(disk, parts)? {
                Some(number) => number,
                None => self.look(disk, parts)?,
            };
            let path = parts.path(number, self.container, State::Open);
            let file = match disk.create_new(&path) {
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                    self.forget(parts);
                    continue;
                }
                outcome => outcome?,
            };
            if file.try_lock_exclusive()? && file.linked(&path)? {
                self.remember(parts.dir, path.file_name().unwrap_or_default());
                self.highest.insert(parts.hash(), number);
                return Ok((path, file));
            }
            self.forget(parts);
        }
        let path = stem.display();
        Err(io::Error::other(format!("{path}: another process takes every name we create")))
    }

    /// The next number by what is remembered, if that still fits what is there.
    fn guess(&self, disk: &dyn Disk, stem: Stem<'_>) -> io::Result<Option<u32>> {
        let there = |number, state| disk.exists(&stem.path(number, self.container, state));
        let number = match self.highest.get(&stem.hash()) {
            Some(highest) => {
                let last = *highest;
                // Deleted or moved away, perhaps with all before it: numbers begin anew.
                if !there(last, State::Finished)?
                    && !there(last, State::Open)?
                    && !there(last, State::Bad)?
                {
                    return Ok(None);
                }
                last.checked_add(1)
            }
            None => self.whole.contains(&hash(stem.dir)).then_some(0),
        };
        match number {
            Some(number) if !there(number, State::Finished)? && !there(number, State::Bad)? => {
                Ok(Some(number))
            }
            _ => Ok(None),
        }
    }

    /// The next number by what lies in the directory, all of which is remembered if it fits.
    fn look(&mut self, disk: &dyn Disk, stem: Stem<'_>) -> io::Result<u32> {
        let entries = match disk.list(stem.dir) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
            Err(error) => return Err(error),
        };
        let names = || entries.iter().map(|entry| entry.name.as_os_str());
        let next = next_number(names(), stem.name, self.container)?;
        let dir = hash(stem.dir);
        if entries.len() <= self.remembered_max {
            names().for_each(|name| self.remember(stem.dir, name));
            self.whole.insert(dir);
        } else {
            self.whole.remove(&dir);
        }
        Ok(next)
    }

    /// A file, under each stem it may be of.
    fn remember(&mut self, dir: &Path, file: &OsStr) {
        for (name, number) in numbers_of(file, self.container) {
            let highest = self.highest.entry(Stem { dir, name }.hash()).or_insert(number);
            *highest = number.max(*highest);
        }
    }

    fn forget(&mut self, stem: Stem<'_>) {
        self.highest.remove(&stem.hash());
        self.whole.remove(&hash(stem.dir));
    }
}

impl Stem<'_> {
    fn path(self, number: u32, container: Container, state: State) -> PathBuf {
        let name = SegmentName { stem: self.name.to_owned(), number, container, state };
        self.dir.join(name.file_name())
    }

    fn hash(self) -> u64 {
        hash((self.dir, self.name))
    }
}

fn hash(value: impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    value.hash(&mut hasher);
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use super::super::watched_disk::WatchedDisk;
    use super::super::{OsDisk, catalog};
    use super::*;

    /// Opens, and perhaps finishes, the next of `stem`: its name.
    fn next(numbers: &mut Numbers, disk: &dyn Disk, stem: &Path, finish: bool) -> String {
        let (mut path, _) = numbers.create_open(disk, stem).unwrap();
        if finish {
            path = catalog::finish(disk, &path).unwrap();
        }
        path.file_name().unwrap().to_str().unwrap().to_owned()
    }

    fn touch(path: &Path) {
        OsDisk.create_new(path).unwrap();
    }

    #[test]
    fn the_suffix_stays_last_and_the_file_is_held() {
        let dir = tempfile::tempdir().unwrap();
        let stem = dir.path().join("a/b/web.log");
        let mut numbers = Numbers::new(Container::Zstd);
        let (path, held) = numbers.create_open(&OsDisk, &stem).unwrap();
        assert_eq!(path, stem.with_file_name("web.log.zst.open"));
        assert!(!OsDisk.open_write(&path).unwrap().try_lock_exclusive().unwrap());
        let (second, _held) = numbers.create_open(&OsDisk, &stem).unwrap();
        assert_eq!(second, stem.with_file_name("web.log.1.zst.open"));
        drop(held);
        let mut plain = Numbers::new(Container::Plain);
        assert_eq!(next(&mut plain, &OsDisk, &stem, true), "web.log");
        assert_eq!(next(&mut plain, &OsDisk, &stem, false), "web.log.1.open");
    }

    #[test]
    fn thousands_of_files_in_a_directory_cost_one_listing() {
        let dir = tempfile::tempdir().unwrap();
        let disk = WatchedDisk::default();
        // What an earlier life left: only the third of one stem.
        touch(&dir.path().join("10.0.0.9.2.zst"));
        let mut numbers = Numbers::new(Container::Zstd);
        for round in 0..2000 {
            let suffix = if round == 0 { String::new() } else { format!(".{round}") };
            let name = next(&mut numbers, &disk, &dir.path().join("all.log"), true);
            assert_eq!(name, format!("all.log{suffix}.zst"));
        }
        for peer in 0..2000 {
            let stem = format!("10.0.{}.{}", peer / 250, peer % 250);
            let name = next(&mut numbers, &disk, &dir.path().join(&stem), peer % 2 == 0);
            let number = if stem == "10.0.0.9" { ".3" } else { "" };
            let open = if peer % 2 == 0 { "" } else { ".open" };
            assert_eq!(name, format!("{stem}{number}.zst{open}"));
        }
        assert_eq!(disk.calls("list"), 1);
    }

    #[test]
    fn what_others_add_or_delete_is_seen() {
        let dir = tempfile::tempdir().unwrap();
        let disk = WatchedDisk::default();
        let stem = dir.path().join("sub/x.log");
        let mut numbers = Numbers::new(Container::Zstd);
        let opens = |numbers: &mut Numbers| {
            let name = next(numbers, &disk, &stem, true);
            (name, disk.calls("list"))
        };
        let named = |name: &str, lists| (name.to_owned(), lists);
        assert_eq!(opens(&mut numbers), named("x.log.zst", 1));
        for taken in ["x.log.1.zst", "x.log.3.zst.bad", "x.log.5.zst.open"] {
            touch(&stem.with_file_name(taken));
        }
        assert_eq!(opens(&mut numbers), named("x.log.6.zst", 1));
        touch(&stem.with_file_name("x.log.7.zst.open"));
        assert_eq!(opens(&mut numbers), named("x.log.8.zst", 1));
        assert_eq!(opens(&mut numbers), named("x.log.9.zst", 0));
        OsDisk.remove(&stem.with_file_name("x.log.zst")).unwrap();
        assert_eq!(opens(&mut numbers), named("x.log.10.zst", 0));
        OsDisk.remove(&stem.with_file_name("x.log.10.zst")).unwrap();
        assert_eq!(opens(&mut numbers), named("x.log.10.zst", 1));
        std::fs::rename(dir.path().join("sub"), dir.path().join("moved")).unwrap();
        assert_eq!(opens(&mut numbers), named("x.log.zst", 1));
        // Another directory in its place.
        std::fs::remove_dir_all(dir.path().join("sub")).unwrap();
        std::fs::rename(dir.path().join("moved"), dir.path().join("sub")).unwrap();
        assert_eq!(opens(&mut numbers), named("x.log.11.zst", 1));
    }

    /// Who lists every time and who remembers give the same numbers, with little memory too.
    #[test]
    fn what_is_remembered_gives_what_a_listing_gives() {
        for remembered_max in [0, 3, 40, REMEMBERED_MAX] {
            let dir = tempfile::tempdir().unwrap();
            let mut numbers = Numbers { remembered_max, ..Numbers::new(Container::Gzip) };
            let mut random = 7_u64;
            for _ in 0..600 {
                random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                let draw = random >> 33;
                let stem = ["a", "a.1", "a.1.2", "d/b"][draw as usize % 4];
                let stem = dir.path().join(stem);
                let mut all = catalog::walk(&OsDisk, dir.path()).unwrap();
                if draw.is_multiple_of(5) && !all.is_empty() {
                    OsDisk.remove(&all.swap_remove(draw as usize / 7 % all.len())).unwrap();
                    continue;
                }
                let names = all.iter().filter(|path| path.parent() == stem.parent());
                let names = names.map(|path| path.file_name().unwrap());
                let name = stem.file_name().unwrap();
                let number = next_number(names, name, Container::Gzip).unwrap();
                let (path, file) = numbers.create_open(&OsDisk, &stem).unwrap();
                drop(file);
                let parts = Stem { dir: stem.parent().unwrap(), name };
                assert_eq!(path, parts.path(number, Container::Gzip, State::Open));
                match draw % 3 {
                    0 => drop(catalog::finish(&OsDisk, &path).unwrap()),
                    1 => drop(catalog::set_aside(&OsDisk, &path).unwrap()),
                    _ => {}
                }
            }
        }
    }
}
