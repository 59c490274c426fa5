//! Names of segments, and which of them may go.
//!
//! ```text
//!   NAME.log.zst.open   in progress          NAME.log.1.zst.open
//!   NAME.log.zst        finished             NAME.log.1.zst      NAME.log.2.zst …
//!   NAME.log.zst.bad    set aside: no whole block, or what stood behind a damaged one
//! ```
//! The stem is `NAME.log` with its directory. The number is chosen at open (`numbers`), one above
//! the highest there is, finished or not; at the end it is checked again, by a rename that never
//! replaces.

use std::ffi::{OsStr, OsString};
use std::io;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use super::{Container, DirEntry, Disk};

pub const OPEN_SUFFIX: &str = ".open";
pub const BAD_SUFFIX: &str = ".bad";

/// What a name says of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    Open,
    Finished,
    Bad,
}

/// Parts of a segment's name. Ambiguous for plain text, where any `x.7` may be stem or number.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SegmentName {
    pub stem: OsString,
    pub number: u32,
    pub container: Container,
    pub state: State,
}

impl SegmentName {
    /// Takes a file name apart; a stem alone has number 0.
    pub fn parse(name: &OsStr) -> Self {
        let mut rest = name.as_bytes();
        let state = if let Some(left) = rest.strip_suffix(OPEN_SUFFIX.as_bytes()) {
            rest = left;
            State::Open
        } else if let Some(left) = rest.strip_suffix(BAD_SUFFIX.as_bytes()) {
            rest = left;
            State::Bad
        } else {
            State::Finished
        };
        let container = Container::of_suffix(|suffix| rest.ends_with(suffix.as_bytes()));
        rest = &rest[..rest.len() - container.suffix().len()];
        let (stem, number) = split_number(rest).unwrap_or((rest, 0));
        Self { stem: OsString::from_vec(stem.to_vec()), number, container, state }
    }

    pub fn file_name(&self) -> OsString {
        let mut name = self.stem.clone();
        if self.number > 0 {
            name.push(format!(".{}", self.number));
        }
        name.push(self.container.suffix());
        name.push(match self.state {
            State::Open => OPEN_SUFFIX,
            State::Finished => "",
            State::Bad => BAD_SUFFIX,
        });
        name
    }
}

/// `NAME.log.12` → (`NAME.log`, 12). Numbers as this program writes them: no leading zero.
fn split_number(name: &[u8]) -> Option<(&[u8], u32)> {
    let dot = memchr::memrchr(b'.', name)?;
    let digits = std::str::from_utf8(&name[dot + 1..]).ok()?;
    let plain = !digits.starts_with('0') && digits.bytes().all(|byte| byte.is_ascii_digit());
    if !plain || dot == 0 {
        return None;
    }
    Some((&name[..dot], digits.parse().ok()?))
}

/// One above the highest number `stem` has among `names`; 0 when there is none.
pub fn next_number<'a>(
    names: impl Iterator<Item = &'a OsStr>,
    stem: &OsStr,
    container: Container,
) -> io::Result<u32> {
    let highest = names
        .filter(|name| name.as_bytes().starts_with(stem.as_bytes()))
        .filter_map(|name| number_of(name, stem, container))
        .max();
    let next = highest.map_or(Some(0), |number| number.checked_add(1));
    next.ok_or_else(|| io::Error::other("the highest segment number is taken"))
}

/// The number of `name` if it is a segment of exactly this stem and container.
fn number_of(name: &OsStr, stem: &OsStr, container: Container) -> Option<u32> {
    numbers_of(name, container).find(|(found, _)| *found == stem).map(|(_, number)| number)
}

/// Stem and number of `name`, if it is a segment of this container: `NAME.log.7` is the seventh of
/// `NAME.log` or the first of `NAME.log.7`.
pub(super) fn numbers_of(
    name: &OsStr,
    container: Container,
) -> impl Iterator<Item = (&OsStr, u32)> {
    let bytes = name.as_bytes();
    let bytes = [OPEN_SUFFIX, BAD_SUFFIX]
        .into_iter()
        .find_map(|suffix| bytes.strip_suffix(suffix.as_bytes()))
        .unwrap_or(bytes);
    let stem = bytes.strip_suffix(container.suffix().as_bytes());
    let numbered = stem.and_then(split_number);
    let both = [stem.map(|stem| (stem, 0)), numbered];
    both.into_iter().flatten().map(|(stem, number)| (OsStr::from_bytes(stem), number))
}

/// Gives an open segment its finished name; the next free number when that is taken. The caller has
/// synced the file. The directory is synced here.
pub fn finish(disk: &dyn Disk, open: &Path) -> io::Result<PathBuf> {
    let finished = rename_finished(disk, open)?;
    disk.sync_dir(directory(&finished))?;
    Ok(finished)
}

/// Only renames: the caller syncs the directory, and may try that again.
pub fn rename_finished(disk: &dyn Disk, open: &Path) -> io::Result<PathBuf> {
    rename_to(disk, open, State::Finished)
}

/// Sets a file aside as `.bad`.
pub fn set_aside(disk: &dyn Disk, path: &Path) -> io::Result<PathBuf> {
    let aside = rename_to(disk, path, State::Bad)?;
    disk.sync_dir(directory(&aside))?;
    Ok(aside)
}

fn rename_to(disk: &dyn Disk, from: &Path, state: State) -> io::Result<PathBuf> {
    let mut name = segment_name(from)?;
    name.state = state;
    loop {
        let to = directory(from).join(name.file_name());
        match disk.rename_no_replace(from, &to) {
            Ok(()) => return Ok(to),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                name.number = free_number(disk, from, &name)?;
            }
            Err(error) => return Err(error),
        }
    }
}

/// A name of this state that is not taken, to be created by the caller: for what recovery cuts off.
pub(super) fn free_name(disk: &dyn Disk, path: &Path, state: State) -> io::Result<PathBuf> {
    let mut name = segment_name(path)?;
    name.state = state;
    let first = directory(path).join(name.file_name());
    if !disk.exists(&first)? {
        return Ok(first);
    }
    name.number = free_number(disk, path, &name)?;
    Ok(directory(path).join(name.file_name()))
}

fn free_number(disk: &dyn Disk, path: &Path, name: &SegmentName) -> io::Result<u32> {
    let entries = disk.list(directory(path))?;
    let names = entries.iter().map(|entry| entry.name.as_os_str());
    next_number(names, &name.stem, name.container)
}

pub(super) fn segment_name(path: &Path) -> io::Result<SegmentName> {
    path.file_name().map(SegmentName::parse).ok_or_else(|| no_file_name(path))
}

/// The directory a file lies in; "" means the working directory and is what `Disk` takes it for.
pub fn directory(path: &Path) -> &Path {
    path.parent().unwrap_or_else(|| Path::new(""))
}

pub(super) fn no_file_name(path: &Path) -> io::Error {
    let text = format!("{}: not a file name", path.display());
    io::Error::new(io::ErrorKind::InvalidInput, text)
}

/// All files below `root`, without dotfiles, dot directories and symbolic links, sorted by path. A
/// root that does not exist has none.
pub fn walk(disk: &dyn Disk, root: &Path) -> io::Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    let mut dirs = vec![root.to_owned()];
    while let Some(dir) = dirs.pop() {
        let entries = match disk.list(&dir) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(error) => return Err(error),
        };
        let hidden = |entry: &&DirEntry| entry.name.as_bytes().starts_with(b".");
        // A link leads to what is found by its own name, or lies elsewhere.
        for entry in entries.iter().filter(|entry| !hidden(entry) && !entry.is_link) {
            let path = dir.join(&entry.name);
            if entry.is_dir { dirs.push(path) } else { files.push(path) }
        }
    }
    files.sort();
    Ok(files)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storage::OsDisk;

    fn touch(path: &Path) {
        OsDisk.create_new(path).unwrap();
    }

    fn name(path: &Path) -> &str {
        path.file_name().unwrap().to_str().unwrap()
    }

    #[test]
    fn the_number_is_one_above_the_highest_of_this_stem_and_container() {
        let names = ["web.log.7.zst", "web.log.x.9.zst", "web.log.08.zst", "web.log.9.gz", "web"];
        let bad = [&names[..], &["web.log.12.zst.bad", "web.log.zst.open"]].concat();
        let next = |names: &[&str], stem: &str, container| {
            let names: Vec<&OsStr> = names.iter().map(OsStr::new).collect();
            next_number(names.into_iter(), OsStr::new(stem), container).unwrap()
        };
        assert_eq!(next(&names, "web.log", Container::Zstd), 8);
        assert_eq!(next(&bad, "web.log", Container::Zstd), 13);
        assert_eq!(next(&names, "web.log.7", Container::Zstd), 1);
        assert_eq!(next(&names, "web.log", Container::Gzip), 10);
        assert_eq!(next(&names, "web.log", Container::Plain), 0);
        assert_eq!(next(&["web.log.4294967295.zst"; 0], "web.log", Container::Zstd), 0);
        let last = [OsStr::new("web.log.4294967295.zst")].into_iter();
        assert!(next_number(last, OsStr::new("web.log"), Container::Zstd).is_err());
    }

    #[test]
    fn nothing_finished_is_ever_overwritten() {
        let dir = tempfile::tempdir().unwrap();
        for (open, taken, becomes) in [
            ("x.log.zst.open", "x.log.zst", "x.log.1.zst"),
            ("y.log.3.gz.open", "y.log.3.gz", "y.log.4.gz"),
            ("z.log.open", "z.log", "z.log.1"),
        ] {
            touch(&dir.path().join(open));
            touch(&dir.path().join(taken));
            let to = finish(&OsDisk, &dir.path().join(open)).unwrap();
            assert_eq!(name(&to), becomes);
        }
    }

    #[test]
    fn a_name_comes_apart_and_together() {
        for text in [
            "a.zst",
            "a.1.zst",
            "a.log.2.gz.open",
            "a.log",
            "a.log.7",
            "a.3.lz4.bad",
            "a.log.4.lzo",
        ] {
            let parsed = SegmentName::parse(OsStr::new(text));
            assert_eq!(parsed.file_name(), OsStr::new(text));
            assert_eq!(parsed.stem.as_bytes()[0], b'a');
        }
        let parsed = SegmentName::parse(OsStr::new("a.log.7"));
        assert_eq!((parsed.number, parsed.container), (7, Container::Plain));
    }

    #[test]
    fn a_walk_is_sorted_and_leaves_dotfiles_out() {
        let dir = tempfile::tempdir().unwrap();
        OsDisk.create_dir_all(&dir.path().join("b/c")).unwrap();
        OsDisk.create_dir_all(&dir.path().join(".git")).unwrap();
        for file in ["b/c/2", "b/1", "a", ".hidden", ".git/x"] {
            touch(&dir.path().join(file));
        }
        let found = walk(&OsDisk, dir.path()).unwrap();
        let expected: Vec<_> = ["a", "b/1", "b/c/2"].iter().map(|f| dir.path().join(f)).collect();
        assert_eq!(found, expected);
        assert!(walk(&OsDisk, &dir.path().join("missing")).unwrap().is_empty());
    }
}
