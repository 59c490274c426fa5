//! `byte_offset_header`: each event says where in its file it begins.
//!
//! Lines are framed in a page of our own, and copied from there with their place behind them: one
//! copy an event, which nobody pays who does not ask for it. When the page that is filled has no
//! more room the cursor stands at the first line that found none, which is read again.

use std::io::{self, Write};

use super::{Cursor, RESERVE_BYTES, Shelf, Text, Took, fill, longest, page_bytes_min};
use crate::event::{EventHead, HeaderMap, Origin, Page};
use crate::limits::{PAGE_HEADER_BYTES, u32_of, usize_of};
use crate::source::framing::{self, Cut, Framed, Stage};

/// What Flume calls it.
pub const HEADER: &str = "byteoffset";

/// Read at once, about a quarter of a batch.
const PAGE_BYTES: usize = 512 << 10;

/// Where lines wait for their place.
pub struct Offsets {
    page: Page,
    serial: u64,
    headers: HeaderMap,
    digits: Vec<u8>,
}

impl Offsets {
    pub fn memory_bytes(event_bytes_max: usize) -> usize {
        page_bytes_min(event_bytes_max).max(PAGE_BYTES).next_multiple_of(PAGE_HEADER_BYTES)
    }

    pub fn new(event_bytes_max: usize) -> Self {
        let page = Page::new(Self::memory_bytes(event_bytes_max));
        Self { page, serial: 0, headers: HeaderMap::default(), digits: Vec::with_capacity(20) }
    }

    /// As `Cursor::take`.
    pub(super) fn take(
        &mut self,
        cursor: &mut Cursor,
        text: &mut dyn Text,
        shelf: &mut Shelf<'_>,
        bound: usize,
    ) -> io::Result<Took> {
        let mut taken = 0;
        loop {
            let origin = self.clear();
            let longest = longest(&self.page, self.page.free_bytes() - RESERVE_BYTES).min(bound);
            let longest = longest.max(shelf.rules.event_bytes_max + 2);
            let start = usize_of(self.page.tail());
            let count = fill(text, cursor.mark.offset, &mut self.page.spare_mut()[..longest])?;
            let (bytes, mut records) = self.page.frame(u32_of(start + count), shelf.at, origin);
            records.keep(count / shelf.rules.event_bytes_max + 2);
            let framed = framing::frame(bytes, start, 0, cursor.stage, shelf.rules, &mut records);
            let full = records.is_full();
            let sums = records.finish();
            self.page.settle(sums, shelf.at, u32_of(framed.partial));
            let passed = framed.partial - start;
            if !self.put(cursor, shelf, start, framed) {
                return Ok(Took::Full);
            }
            taken += passed;
            if count < longest && !full {
                return Ok(Took::All(count - passed));
            }
            if taken >= bound {
                return Ok(Took::Bound);
            }
        }
    }

    /// As `Cursor::take_rest`.
    pub(super) fn take_rest(
        &mut self,
        cursor: &mut Cursor,
        text: &mut dyn Text,
        shelf: &mut Shelf<'_>,
    ) -> io::Result<bool> {
        let origin = self.clear();
        let longest = shelf.rules.event_bytes_max + 2;
        let start = usize_of(self.page.tail());
        let count = fill(text, cursor.mark.offset, &mut self.page.spare_mut()[..longest])?;
        if count == 0 {
            cursor.stage = Stage::Start;
            return Ok(true);
        }
        let end = u32_of(start + count + 1);
        let (bytes, mut records) = self.page.frame(end, shelf.at, origin);
        let framed = framing::cut(bytes, start, cursor.stage, Cut::End, shelf.rules, &mut records);
        let sums = records.finish();
        self.page.settle(sums, shelf.at, end);
        // The newline behind it does not stand in the file.
        Ok(self.put(cursor, shelf, start, Framed { partial: start + count, ..framed }))
    }

    fn clear(&mut self) -> crate::event::OriginIndex {
        self.serial += 1;
        self.page.clear(self.serial);
        self.page.push_origin(Origin::LOCAL).expect("an empty page has room")
    }

    /// Moves what was framed, and the cursor behind it. False: there was no room for all of it.
    fn put(
        &mut self,
        cursor: &mut Cursor,
        shelf: &mut Shelf<'_>,
        start: usize,
        framed: Framed,
    ) -> bool {
        let Self { page, headers, digits, .. } = self;
        let bytes = page.used();
        let from = cursor.mark.offset;
        for event in page.events() {
            let begin = event.bytes.as_ptr() as usize - bytes.as_ptr() as usize;
            digits.clear();
            let _ = write!(digits, "{}", from + (begin - start) as u64);
            let _ = headers.set(HEADER.as_bytes(), digits);
            let put = shelf.origin().and_then(|origin| {
                let head = EventHead { at: shelf.at, origin, pri: event.pri, marks: event.marks };
                shelf.page.append_headed(event.bytes, headers, head)
            });
            if put.is_err() {
                if begin > start {
                    cursor.pass(&bytes[start..begin]);
                    // A piece of a long line has no newline in front.
                    let whole = bytes[begin - 1] == b'\n';
                    cursor.stage = if whole { Stage::Start } else { Stage::Middle };
                }
                return false;
            }
        }
        cursor.pass(&bytes[start..framed.partial]);
        cursor.stage = framed.stage;
        true
    }
}
