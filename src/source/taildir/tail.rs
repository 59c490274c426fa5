//! One file that is followed: what it is, how far it was read, and how far that has come for good.

use std::io;
use std::path::{Path, PathBuf};

use crate::event::{HeaderMap, OriginPlace};
use crate::source::file_lines::{Cursor, FRONT_BYTES, Mark, Shelf, Text, Took, fill};
use crate::source::former::{Former, Head, front};
use crate::source::unpack::{Content, Packing};
use crate::storage::{Disk, FileId, Found, ReadAt};
use crate::time::Mono;

/// Compared between a file and what may be its copy.
const COMPARED_BYTES: usize = 4096;

pub(super) struct Tail {
    /// Batches know it by this; what was read before it was begun anew has another.
    pub(super) key: u64,
    pub(super) id: FileId,
    pub(super) path: PathBuf,
    /// On the disk, when it was looked at last; and when that had changed.
    pub(super) bytes: u64,
    pub(super) changed: Mono,
    /// It may be a copy of another one, and is not read before that is known.
    pub(super) undecided: bool,
    /// None of the names that are followed leads to it any more.
    pub(super) missing: bool,
    pub(super) cursor: Cursor,
    pub(super) confirmed: Mark,
    pub(super) head: Head,
    content: Option<Content>,
    /// Headers of its events, which stand in a page once.
    labels: HeaderMap,
    place: OriginPlace,
    /// Bytes of the unfinished line at the end.
    pub(super) rest: usize,
    /// When something was read last.
    pub(super) heard: Mono,
    /// After a failure it is not read before.
    pub(super) retry: Mono,
}

/// What a visit to a file came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Visit {
    Nothing,
    Drained,
    More,
    Full,
    /// It is shorter than it was, or holds something else: from its begin, that is another file.
    Replaced,
}

impl Tail {
    pub(super) fn new(key: u64, path: &Path, labels: HeaderMap, found: &Found, now: Mono) -> Self {
        Self {
            key,
            id: found.id,
            path: path.to_owned(),
            bytes: found.bytes,
            changed: now,
            undecided: true,
            missing: false,
            cursor: Cursor::default(),
            confirmed: Mark::default(),
            head: Head::default(),
            content: None,
            labels,
            place: OriginPlace::default(),
            rest: 0,
            heard: now,
            retry: Mono(0),
        }
    }

    /// Opens it, unless it is open. Another file may have its name by now.
    pub(super) fn open(&mut self, disk: &dyn Disk) -> io::Result<&mut Content> {
        if self.content.is_none() {
            let file = disk.open_read(&self.path)?;
            if file.id()? != self.id {
                return Err(io::ErrorKind::NotFound.into());
            }
            self.content = Some(Content::new(file, Packing::of(&self.path)));
        }
        Ok(self.content.as_mut().expect("just opened"))
    }

    pub(super) fn is_open(&self) -> bool {
        self.content.is_some()
    }

    pub(super) fn close(&mut self) {
        self.content = None;
    }

    /// It is called otherwise now.
    pub(super) fn rename(&mut self, path: &Path, labels: HeaderMap) {
        path.clone_into(&mut self.path);
        (self.labels, self.place) = (labels, OriginPlace::default());
    }

    /// Nobody writes it any more, and all of it was read.
    pub(super) fn is_finished(&self) -> bool {
        self.content.as_ref().is_some_and(Content::is_finished)
    }

    /// It is shorter than what was read of it, or holds something else.
    pub(super) fn is_replaced(&mut self) -> io::Result<bool> {
        let Some(content) = &mut self.content else { return Ok(false) };
        let offset = self.cursor.mark.offset;
        if content.is_packed() || offset == 0 {
            return Ok(false);
        }
        Ok(content.file().bytes()? < offset || !self.cursor.mark.is_in(content)?)
    }

    /// What it says, read on from where it was.
    pub(super) fn visit(&mut self, shelf: &mut Shelf<'_>, bound: usize) -> io::Result<Visit> {
        let offset = self.cursor.mark.offset;
        if let Some(Content::Plain(file)) = &self.content
            && file.bytes()? == offset + self.rest as u64
        {
            return Ok(Visit::Nothing);
        }
        if self.is_replaced()? {
            return Ok(Visit::Replaced);
        }
        let Some(content) = &mut self.content else { return Ok(Visit::Nothing) };
        let mut shelf = own_shelf(shelf, &self.labels, &mut self.place);
        let took = match self.cursor.take(content, &mut shelf, bound) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(Visit::More),
            took => took?,
        };
        self.rest = if let Took::All(rest) = took { rest } else { 0 };
        let moved = self.cursor.mark.offset > offset;
        if moved && offset < FRONT_BYTES as u64 && !self.cursor.front.is_empty() {
            // Of what was read: by now something else may stand there.
            self.head = Head::of(&self.cursor.front);
        }
        Ok(match took {
            Took::Full => Visit::Full,
            Took::Bound => Visit::More,
            Took::All(_) if moved => Visit::Drained,
            Took::All(_) => Visit::Nothing,
        })
    }

    /// Makes an event of the unfinished line. False: the page has no room.
    pub(super) fn end(&mut self, shelf: &mut Shelf<'_>) -> io::Result<bool> {
        let Some(content) = &mut self.content else { return Ok(true) };
        let mut shelf = own_shelf(shelf, &self.labels, &mut self.place);
        let done = self.cursor.take_rest(content, &mut shelf)?;
        if done {
            self.rest = 0;
        }
        Ok(done)
    }

    /// Reads on from what is known to have come through.
    pub(super) fn go_back(&mut self, key: u64, retry: Mono) {
        (self.key, self.retry, self.rest) = (key, retry, 0);
        self.cursor = Cursor::at(self.confirmed);
    }

    /// It holds something else from now on: what it was stays behind.
    pub(super) fn begin_anew(&mut self, key: u64) -> Former {
        let former = self.former();
        self.key = key;
        (self.cursor, self.confirmed) = (Cursor::default(), Mark::default());
        (self.head, self.rest) = (Head::default(), 0);
        former
    }

    pub(super) fn former(&self) -> Former {
        Former {
            key: self.key,
            id: self.id,
            path: self.path.clone(),
            head: self.head,
            read: self.cursor.mark,
            confirmed: self.confirmed,
        }
    }

    /// It is that file: goes on where that was.
    pub(super) fn adopt(&mut self, former: Former) {
        self.key = former.key;
        (self.cursor, self.confirmed) = (Cursor::at(former.read), former.confirmed);
        self.undecided = false;
    }

    /// Whether the other file begins as this one does, as far as the shorter one goes, and is still
    /// there: then one may be a copy of the other.
    pub(super) fn is_like(&mut self, other: &mut Self, disk: &dyn Disk) -> io::Result<bool> {
        let own = front(self.open(disk)?)?;
        let others = front(other.open(disk)?)?;
        let common = own.len().min(others.len());
        if common == 0 || own[..common] != others[..common] {
            return Ok(false);
        }
        let (Some(a), Some(b)) = (&mut self.content, &mut other.content) else { return Ok(false) };
        if a.is_packed() || b.is_packed() {
            return Ok(true);
        }
        let common = a.file().bytes()?.min(b.file().bytes()?);
        let from = common.saturating_sub(COMPARED_BYTES as u64);
        let (mut left, mut right) = ([0; COMPARED_BYTES], [0; COMPARED_BYTES]);
        let length = usize::try_from(common - from).unwrap_or(COMPARED_BYTES);
        let count = fill(a, from, &mut left[..length])?;
        Ok(fill(b, from, &mut right[..length])? == count && left[..count] == right[..count])
    }

    /// The front, which is known from now on.
    pub(super) fn look(&mut self, disk: &dyn Disk) -> io::Result<Vec<u8>> {
        let front = front(self.open(disk)?)?;
        self.head = Head::of(&front);
        Ok(front)
    }

    /// Whether this former file is this one, by its inode or by what stands in it.
    pub(super) fn was(&mut self, former: &Former, front: &[u8]) -> io::Result<bool> {
        let (id, path) = (self.id, self.path.clone());
        let Some(content) = &mut self.content else { return Ok(false) };
        let text: &mut dyn Text = content;
        Ok(former.is(id, &path, front, text)? || former.is_in(front, text)?)
    }
}

/// Where events of a file with headers of its own go; of others all go to one place.
fn own_shelf<'a>(
    shelf: &'a mut Shelf<'_>,
    labels: &'a HeaderMap,
    place: &'a mut OriginPlace,
) -> Shelf<'a> {
    let common = labels.is_empty();
    Shelf {
        page: &mut *shelf.page,
        place: if common { &mut *shelf.place } else { place },
        labels: if common { shelf.labels } else { labels },
        rules: shelf.rules,
        at: shelf.at,
        offsets: shelf.offsets.as_deref_mut(),
    }
}
