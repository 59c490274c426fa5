//! One file that is being read: where it goes on, and what its events are.

use std::io;
use std::path::{Path, PathBuf};

use super::datums::{Datums, Room, SchemaHeader};
use super::reader::Settings;
use crate::event::{EventHead, HeaderMap, Marks, OriginPlace, Page};
use crate::limits::{HEADERS_BYTES_MAX, u32_of};
use crate::source::file_lines::{Cursor, Mark, Shelf, Took, fill};
use crate::source::former::{Former, Head, front};
use crate::source::framing::Rules;
use crate::source::unpack::{Content, Packing};
use crate::storage::{Disk, Found};
use crate::time::Wall;

/// Bytes of one visit, a quarter of a batch.
const VISIT_BYTES: usize = 256 << 10;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Deserializer {
    Line,
    /// A whole file, or as much of it as an event may have.
    Blob,
    /// A datum of an Avro container file.
    Avro,
}

/// Under which names events say which file they are from, and what data they are; nobody asks when
/// they are empty.
#[derive(Clone, Debug, Default)]
pub(super) struct Names {
    pub(super) path: String,
    pub(super) basename: String,
    pub(super) schema: Option<SchemaHeader>,
}

/// What a visit came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Visit {
    More,
    Full,
    /// The file was read to its end.
    Ended,
}

pub(super) struct Reading {
    /// Batches know it by this.
    pub(super) key: u64,
    /// And by this, when it is not what was read in part.
    fresh: u64,
    pub(super) path: PathBuf,
    /// What it was when it was begun.
    pub(super) found: Found,
    pub(super) head: Head,
    pub(super) cursor: Cursor,
    pub(super) confirmed: Mark,
    content: Content,
    /// What is known of a file of this inode: whether it is this one is not known yet.
    former: Option<Former>,
    front: Vec<u8>,
    /// Of a container file, when it is read as that.
    datums: Option<Datums>,
    labels: HeaderMap,
    place: OriginPlace,
}

impl Names {
    fn labels(&self, path: &Path) -> HeaderMap {
        let mut labels = HeaderMap::default();
        let basename = path.file_name().unwrap_or_default();
        for (name, value) in [(&self.path, path.as_os_str()), (&self.basename, basename)] {
            if !name.is_empty() {
                // A path and a name that the plan took are small enough.
                let _ = labels.set(name.as_bytes(), value.as_encoded_bytes());
            }
        }
        labels
    }
}

impl Reading {
    pub(super) fn open(
        disk: &dyn Disk,
        path: &Path,
        names: &Names,
        fresh: u64,
        former: impl FnOnce(&Found) -> Option<Former>,
    ) -> io::Result<Self> {
        let found = disk.find(path)?;
        let file = disk.open_read(path)?;
        if file.id()? != found.id {
            return Err(io::ErrorKind::NotFound.into());
        }
        let mut content = Content::new(file, Packing::of(path));
        let front = front(&mut content)?;
        let former = former(&found);
        Ok(Self {
            key: former.as_ref().map_or(fresh, |former| former.key),
            fresh,
            path: path.to_owned(),
            found,
            head: former.as_ref().map_or_else(|| Head::of(&front), |former| former.head),
            cursor: Cursor::default(),
            confirmed: former.as_ref().map(|former| former.confirmed).unwrap_or_default(),
            content,
            former,
            front,
            datums: None,
            labels: names.labels(path),
            place: OriginPlace::default(),
        })
    }

    /// Reads on; at its end it says so once.
    pub(super) fn visit(
        &mut self,
        page: &mut Page,
        rules: &Rules,
        at: Wall,
        settings: &Settings,
        room: &mut Room,
    ) -> io::Result<Visit> {
        if settings.deserializer == Deserializer::Avro && self.datums.is_none() {
            if self.front.is_empty() {
                return self.whole().map(|()| Visit::Ended);
            }
            self.open_datums(settings.names.schema)?;
        }
        let (mut place, labels) = (self.place, std::mem::take(&mut self.labels));
        let mut shelf =
            Shelf { page, place: &mut place, labels: &labels, rules, at, offsets: None };
        let visit = self.decide().and_then(|()| match settings.deserializer {
            Deserializer::Line => self.lines(&mut shelf),
            Deserializer::Blob => self.blob(&mut shelf),
            Deserializer::Avro => self.datums(&mut shelf, room),
        });
        (self.place, self.labels) = (place, labels);
        match visit {
            // It is a long way to where it goes on, and the next visit goes on with that.
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(Visit::More),
            visit => visit,
        }
    }

    fn open_datums(&mut self, header: Option<SchemaHeader>) -> io::Result<()> {
        let datums = Datums::open(&mut self.content)?;
        if let Some(header) = header {
            let value = header.value(&datums.schema);
            self.labels.set(header.name().as_bytes(), value.as_bytes()).map_err(|_| {
                let what = format!(
                    "its schema has {} bytes, and all headers of an event have room for \
                     {HEADERS_BYTES_MAX}: take `schema_type = \"hash\"`",
                    value.len()
                );
                io::Error::new(io::ErrorKind::InvalidData, what)
            })?;
        }
        self.datums = Some(datums);
        Ok(())
    }

    /// Finds out where it goes on.
    fn decide(&mut self) -> io::Result<()> {
        let Some(former) = &self.former else { return Ok(()) };
        let mut same = former.is(self.found.id, &self.path, &self.front, &mut self.content)?;
        if let (true, Some(datums)) = (same, &self.datums) {
            // Another deserializer may have read it before.
            same = datums.is_place(former.read.offset, &mut self.content)?;
        }
        if same {
            self.cursor = Cursor::at(former.read);
        } else {
            (self.key, self.confirmed) = (self.fresh, Mark::default());
        }
        self.head = Head::of(&self.front);
        self.former = None;
        Ok(())
    }

    fn lines(&mut self, shelf: &mut Shelf<'_>) -> io::Result<Visit> {
        match self.cursor.take(&mut self.content, shelf, VISIT_BYTES)? {
            Took::Full => Ok(Visit::Full),
            Took::Bound => Ok(Visit::More),
            Took::All(_) => {
                self.whole()?;
                if !self.cursor.take_rest(&mut self.content, shelf)? {
                    return Ok(Visit::Full);
                }
                // Of a long rest there may be more.
                Ok(if self.ends_behind(0)? { Visit::Ended } else { Visit::More })
            }
        }
    }

    /// As much as an event may have.
    fn blob(&mut self, shelf: &mut Shelf<'_>) -> io::Result<Visit> {
        let longest = shelf.rules.event_bytes_max;
        if shelf.page.free_bytes() < longest + shelf.reserve() {
            return Ok(Visit::Full);
        }
        let origin = shelf.origin().expect("the reserve holds it");
        let from = self.cursor.mark.offset;
        let count = fill(&mut self.content, from, &mut shelf.page.spare_mut()[..longest])?;
        if count < longest {
            self.whole()?;
        }
        if count == 0 {
            return Ok(Visit::Ended);
        }
        let split = from > 0 || count == longest && !self.ends_behind(count)?;
        let marks = if split { Marks::SPLIT } else { Marks::NONE }.with(Marks::CONTROL);
        self.cursor.pass(&shelf.page.spare_mut()[..count]);
        let (offset, length) = (shelf.page.tail(), u32_of(count));
        shelf.page.spare_mut()[count] = b'\n';
        shelf.page.advance(count + 1);
        shelf.page.set_scattered();
        let head = EventHead { at: shelf.at, origin, pri: None, marks };
        shelf.page.push_event(offset, length, head).expect("the reserve holds its slot");
        Ok(Visit::More)
    }

    fn datums(&mut self, shelf: &mut Shelf<'_>, room: &mut Room) -> io::Result<Visit> {
        let Some(datums) = &mut self.datums else { return Ok(Visit::Ended) };
        let (mark, content) = (&mut self.cursor.mark, &mut self.content);
        let visit = datums.take(mark, content, shelf, room, VISIT_BYTES)?;
        if visit == Visit::Ended {
            self.whole()?;
        }
        Ok(visit)
    }

    fn ends_behind(&mut self, count: usize) -> io::Result<bool> {
        let behind = self.cursor.mark.offset + count as u64;
        Ok(fill(&mut self.content, behind, &mut [0])? == 0)
    }

    /// Packed files come to an end of their own, or are not whole.
    fn whole(&self) -> io::Result<()> {
        if self.content.is_packed() && !self.content.is_finished() {
            let what = "it is compressed and ends too early";
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, what));
        }
        Ok(())
    }

    /// Reads on from what has come through.
    pub(super) fn go_back(&mut self, key: u64) {
        self.key = key;
        if let Some(datums) = &mut self.datums {
            datums.go_back();
        }
        match &mut self.former {
            Some(former) => former.read = self.confirmed,
            None => self.cursor = Cursor::at(self.confirmed),
        }
    }

    /// What is known of it from now on.
    pub(super) fn former(self) -> Former {
        let Self { key, found, path, head, cursor, confirmed, .. } = self;
        let read = self.former.map_or(cursor.mark, |former| former.read);
        Former { key, id: found.id, path, head, read, confirmed }
    }
}
