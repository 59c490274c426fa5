//! What becomes of a file that was read: it is renamed, deleted, or noted beside.
//!
//! Nothing that is there is ever overwritten: `NAME.COMPLETED`, then `NAME.1.COMPLETED`. A note
//! says which file it is about, so that another one of the same name is read in its turn; an empty
//! note is Flume's, and is about whatever has the name.

use std::collections::HashMap;
use std::io;
use std::path::{Path, PathBuf};

use super::folder::{Folder, with};
use crate::storage::{Disk, Found, read_file, write_all_at};
use crate::time::Wall;

/// Names that are tried when one is taken.
const NUMBERS_MAX: u32 = 10_000;
const NOTE_BYTES_MAX: usize = 4096;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Policy {
    Rename,
    Note,
    Delete,
}

/// What of a file tells that it is still the same.
type Facts = (u64, u64, Wall);

/// Files of which it is known that they were read, as they were seen last.
#[derive(Debug, Default)]
pub(super) struct Noted {
    known: HashMap<PathBuf, Facts>,
    seen: HashMap<PathBuf, Facts>,
}

/// What a file is called now.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Went {
    /// As it should be.
    Away,
    /// The name was taken: it has another one.
    Aside(PathBuf),
}

fn facts(found: &Found) -> Facts {
    (found.id.inode, found.bytes, found.modified)
}

fn note(found: &Found) -> String {
    let (inode, bytes, modified) = facts(found);
    format!("inode={inode} bytes={bytes} modified={}\n", modified.0)
}

impl Noted {
    /// A new look begins: who is not seen again is forgotten.
    pub(super) fn turn(&mut self) {
        self.known = std::mem::take(&mut self.seen);
    }

    /// Whether it is noted that this file was read.
    pub(super) fn has(
        &mut self,
        disk: &dyn Disk,
        folder: &Folder,
        path: &Path,
        found: &Found,
    ) -> io::Result<bool> {
        let facts = facts(found);
        let known = self.known.get(path) == Some(&facts);
        let has = known
            || match read_file(disk, &folder.note_of(path), NOTE_BYTES_MAX) {
                Ok(text) => text.is_empty() || text == note(found).as_bytes(),
                Err(error) if error.kind() == io::ErrorKind::NotFound => false,
                Err(error) => return Err(error),
            };
        if has {
            self.seen.insert(path.to_owned(), facts);
        }
        Ok(has)
    }
}

/// Puts a file away that was read to its end.
pub(super) fn put(
    disk: &dyn Disk,
    folder: &Folder,
    policy: Policy,
    path: &Path,
    found: &Found,
) -> io::Result<Went> {
    match policy {
        Policy::Delete => disk.remove(path).map(|()| Went::Away),
        Policy::Rename => rename(disk, path, &folder.suffix),
        Policy::Note => {
            let place = folder.note_of(path);
            let fresh = with(&place, "", ".new");
            disk.create_dir_all(place.parent().unwrap_or(&place))?;
            match disk.remove(&fresh) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
            // Without a sync: what a power cut leaves of it, if it is empty, says the same.
            let file = disk.create_new(&fresh)?;
            write_all_at(&*file, 0, note(found).as_bytes())?;
            disk.rename_over(&fresh, &place).map(|()| Went::Away)
        }
    }
}

fn rename(disk: &dyn Disk, path: &Path, suffix: &str) -> io::Result<Went> {
    for number in 0..NUMBERS_MAX {
        let text = if number == 0 { String::new() } else { format!(".{number}") };
        let to = with(path, &text, suffix);
        match disk.rename_no_replace(path, &to) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Ok(()) if number == 0 => return Ok(Went::Away),
            outcome => return outcome.map(|()| Went::Aside(to)),
        }
    }
    let what = format!("{NUMBERS_MAX} files of this name were read before and are still there");
    Err(io::Error::new(io::ErrorKind::AlreadyExists, what))
}
