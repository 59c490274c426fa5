//! The deserializer `avro`: each datum of an Avro container file is an event, byte by byte as it
//! stands there, and has the schema's fingerprint or text as a header.
//!
//! ```text
//!   begin │ lead │ datum datum datum │ marker │ lead │ …      a place: a block, and data of it
//!                ^ block 1, 2 passed
//! ```
//! A block is read, unpacked and walked through before any datum of it is an event: what is damaged
//! gives none. The file is then left as it is, and told.

use std::fmt::Display;
use std::io;

use super::reading::Visit;
use crate::codec::avro::{NotUnpacked, Packing, Schema, Unpacker};
use crate::event::{EventHead, Marks};
use crate::source::file_lines::{Mark, Shelf, Text, fill};
use crate::storage::avro::{HEAD_BYTES_MAX, LEAD_BYTES_MAX, MARKER_BYTES, Marker};
use crate::storage::avro::{Head, Lead, begins, parse_head, parse_lead};

/// What is read of a file at first; few begin with more.
const HEAD_BYTES: usize = 4 << 10;

/// Which header says what the data are, and how.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum SchemaHeader {
    Hash,
    Literal,
}

impl SchemaHeader {
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Hash => "flume.avro.schema.hash",
            Self::Literal => "flume.avro.schema.literal",
        }
    }

    pub(super) fn value(self, schema: &Schema) -> String {
        match self {
            Self::Hash => schema.fingerprint(),
            Self::Literal => schema.text().to_owned(),
        }
    }
}

/// Where the block stands that is in hand. One for all files of a source, which come one by one.
pub(super) struct Room {
    stored: Vec<u8>,
    data: Vec<u8>,
    unpacker: Unpacker,
    bytes_max: usize,
}

impl Room {
    /// For blocks of so many bytes, packed and unpacked.
    pub(super) fn new(bytes_max: usize) -> Self {
        let (stored, data) = (Vec::new(), Vec::new());
        Self { stored, data, unpacker: Unpacker::default(), bytes_max }
    }
}

/// A container file.
pub(super) struct Datums {
    pub(super) schema: Schema,
    packing: Packing,
    marker: Marker,
    /// Where the first block stands.
    begin: Mark,
    block: Option<Block>,
}

/// The block in the room.
struct Block {
    from: Mark,
    /// The place behind it.
    behind: Mark,
    count: u64,
    passed: u64,
    /// Where the next datum begins, and how much of it are events already.
    at: usize,
    sent: usize,
}

impl Datums {
    /// Reads what the file begins with.
    pub(super) fn open(text: &mut dyn Text) -> io::Result<Self> {
        let mut front = Vec::new();
        let mut bytes = HEAD_BYTES;
        let head = loop {
            front.resize(bytes, 0);
            let read = fill(text, 0, &mut front)?;
            front.truncate(read);
            match parse_head(&front) {
                Some(head) => break head,
                None if !begins(&front) => {
                    let what = "it does not begin as a container file of Avro's: move it, or \
                                leave it out with `ignore_pattern`";
                    return Err(wrong(what));
                }
                None if read < bytes => {
                    return Err(cut("its begin, with the schema, is not whole".to_owned()));
                }
                None if bytes == HEAD_BYTES_MAX => {
                    return Err(wrong("its begin is damaged, or longer than 1 MiB"));
                }
                None => bytes = (4 * bytes).min(HEAD_BYTES_MAX),
            }
        };
        let Head { bytes, schema, codec, marker } = head;
        let begin = Mark::behind(bytes, &front[..bytes as usize]);
        let schema = std::str::from_utf8(&schema).map_err(|_| "it is no UTF-8".to_owned());
        let schema = schema.and_then(|text| Schema::parse(text).map_err(|error| error.to_string()));
        let schema = schema.map_err(|why| wrong(format!("its schema is none: {why}")))?;
        let Some(packing) = Packing::of(&codec) else {
            let known = Packing::ALL.map(|(name, _)| name).join(", ");
            return Err(wrong(format!("its codec `{codec}` is not one of {known}")));
        };
        Ok(Self { schema, packing, marker, begin, block: None })
    }

    /// Whether a block may begin there: it does behind a marker.
    pub(super) fn is_place(&self, offset: u64, text: &mut dyn Text) -> io::Result<bool> {
        let Some(from) = offset.checked_sub(MARKER_BYTES as u64) else { return Ok(offset == 0) };
        let mut found = Marker::default();
        Ok(fill(text, from, &mut found)? == MARKER_BYTES && found == self.marker)
    }

    /// What was read on has to be read again.
    pub(super) fn go_back(&mut self) {
        self.block = None;
    }

    /// Makes events of what stands behind `mark`, about `bound` bytes of them.
    pub(super) fn take(
        &mut self,
        mark: &mut Mark,
        text: &mut dyn Text,
        shelf: &mut Shelf<'_>,
        room: &mut Room,
        bound: usize,
    ) -> io::Result<Visit> {
        let mut taken = 0;
        while taken < bound {
            let from = if mark.offset == 0 { self.begin } else { *mark };
            let here =
                |block: &Block| (block.from.offset, block.passed) == (from.offset, from.events);
            if !self.block.as_ref().is_some_and(here) {
                if !self.load(from, text, room)? {
                    return Ok(Visit::Ended);
                }
                taken += room.stored.len();
            }
            let Some(block) = &mut self.block else { return Ok(Visit::Ended) };
            let has_room = block.put(&self.schema, &room.data, shelf, bound, &mut taken)?;
            *mark = block.place(*mark);
            if !has_room {
                return Ok(Visit::Full);
            }
        }
        Ok(Visit::More)
    }

    /// Reads the block that stands there, up to the datum that is next. False: there is none.
    fn load(&mut self, from: Mark, text: &mut dyn Text, room: &mut Room) -> io::Result<bool> {
        self.block = None;
        let at = from.offset;
        let Some(Lead { bytes, events, data_bytes }) = lead(at, text)? else { return Ok(false) };
        let fault = |why: &dyn Display| wrong(format!("the block at byte {at} is damaged: {why}"));
        let max = room.bytes_max;
        let long = |why: &dyn Display| {
            wrong(format!("the block at byte {at} {why}: raise `max_block_length`, which is {max}"))
        };
        if data_bytes > max as u64 {
            return Err(long(&format!("has {data_bytes} bytes")));
        }
        let (stored_bytes, data_at) = (data_bytes as usize, at + bytes as u64);
        room.stored.resize(stored_bytes + MARKER_BYTES, 0);
        if fill(text, data_at, &mut room.stored)? < room.stored.len() {
            return Err(cut(format!("the block at byte {at} is not whole")));
        }
        let behind = Mark::behind(data_at + room.stored.len() as u64, &room.stored);
        let (stored, marker) = room.stored.split_at(stored_bytes);
        if marker != self.marker {
            return Err(fault(&"behind it is not the marker of the file"));
        }
        let unpacked = room.unpacker.unpack(self.packing, stored, max, &mut room.data);
        match unpacked {
            Err(NotUnpacked::Long) => return Err(long(&"is larger when it is unpacked")),
            unpacked => unpacked.map_err(|error| fault(&error))?,
        }
        let next = self.schema.check(&room.data, events, from.events);
        let next = next.map_err(|why| fault(&why))?;
        let passed = from.events;
        self.block = Some(Block { from, behind, count: events, passed, at: next, sent: 0 });
        Ok(true)
    }
}

impl Block {
    /// The place of the next datum.
    fn place(&self, old: Mark) -> Mark {
        match self.passed {
            // Nothing of the file is an event yet.
            0 if old.offset == 0 && self.count > 0 => old,
            passed if passed == self.count => self.behind,
            passed => Mark { events: passed, ..self.from },
        }
    }

    /// Puts data on the shelf; of one that is too long for an event each piece. False: it is full.
    fn put(
        &mut self,
        schema: &Schema,
        data: &[u8],
        shelf: &mut Shelf<'_>,
        bound: usize,
        taken: &mut usize,
    ) -> io::Result<bool> {
        let longest = shelf.rules.event_bytes_max;
        while self.passed < self.count && *taken < bound {
            let end = schema.end_of(data, self.at).map_err(|why| wrong(why.to_string()))?;
            let from = self.at + self.sent;
            let piece = &data[from..end.min(from + longest)];
            let whole = self.sent == 0 && piece.len() == end - from;
            let marks = if whole { Marks::NONE } else { Marks::SPLIT }.with(Marks::CONTROL);
            if shelf.page.free_bytes() < piece.len() + shelf.reserve() {
                return Ok(false);
            }
            let origin = shelf.origin().expect("the reserve holds it");
            let head = EventHead { at: shelf.at, origin, pri: None, marks };
            if shelf.page.append_event(piece, head).is_err() {
                return Ok(false);
            }
            *taken += piece.len() + shelf.page.slot_bytes();
            self.sent += piece.len();
            if from + piece.len() == end {
                (self.at, self.sent, self.passed) = (end, 0, self.passed + 1);
            }
        }
        Ok(true)
    }
}

/// What stands in front of the block there. None: the file ends there.
fn lead(at: u64, text: &mut dyn Text) -> io::Result<Option<Lead>> {
    let mut lead = [0; LEAD_BYTES_MAX];
    let read = fill(text, at, &mut lead)?;
    match parse_lead(&lead[..read]) {
        _ if read == 0 => Ok(None),
        Some(lead) => Ok(Some(lead)),
        None if read < LEAD_BYTES_MAX => Err(cut(format!("the block at byte {at} is not whole"))),
        None => Err(wrong(format!("at byte {at} is no block: the file is damaged there"))),
    }
}

fn wrong(what: impl Into<String>) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what.into())
}

/// It may still be written.
fn cut(what: String) -> io::Error {
    io::Error::new(io::ErrorKind::UnexpectedEof, what)
}
