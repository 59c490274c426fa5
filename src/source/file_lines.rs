//! Lines of a file into a page, in place, and where the first one stands that is not there yet.
//!
//! A file can be read again, so nothing is carried: of a line that has not come whole the front is
//! read once more when the rest is there. The place is always one between two events.

pub mod offsets;

use std::io;

use self::offsets::Offsets;
use super::framing::{self, Cut, Rules, Stage};
use crate::event::{
    Full, HeaderMap, Names, ORIGIN_BYTES_MAX, Origin, OriginIndex, OriginPlace, Page,
};
use crate::limits::{u32_of, usize_of};
use crate::time::Wall;

/// Bytes beside those that are read: an origin, the pieces of a long line, alignment.
const RESERVE_BYTES: usize = 1024 + ORIGIN_BYTES_MAX;
/// What is taken for a line's length before any is known.
const LINE_BYTES: usize = 100;
/// Of what was read last, so many bytes tell one file from another.
const LAST_BYTES: usize = 256;
/// And so many of its front.
pub const FRONT_BYTES: usize = 1024;

/// Bytes that can be read at any place, though going back may be dear.
pub trait Text {
    /// Reads up to `into.len()` bytes at `offset`; 0 at the end.
    fn read_at(&mut self, offset: u64, into: &mut [u8]) -> io::Result<usize>;
}

/// A place in a file, and a checksum of the bytes in front of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Mark {
    pub offset: u64,
    pub last_bytes: u32,
    pub last_crc: u32,
    /// Events behind the offset that were passed, of a file that is read in blocks.
    pub events: u64,
}

/// Where the next event begins.
#[derive(Clone, Debug, Default)]
pub struct Cursor {
    pub mark: Mark,
    pub stage: Stage,
    /// The first bytes, if all was read from the begin on.
    pub front: Vec<u8>,
}

/// What a visit left behind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Took {
    /// All whole lines; so many bytes of an unfinished one stand behind them.
    All(usize),
    /// There may be more: it stopped at the bound.
    Bound,
    /// There may be more, but the page has no room.
    Full,
}

/// Where the events go.
pub struct Shelf<'a> {
    pub page: &'a mut Page,
    /// Of all events with these labels: of the file, when there are any.
    pub place: &'a mut OriginPlace,
    /// Headers that its events share.
    pub labels: &'a HeaderMap,
    pub rules: &'a Rules,
    pub at: Wall,
    /// Each event says where it begins.
    pub offsets: Option<&'a mut Offsets>,
}

impl Shelf<'_> {
    pub fn origin(&mut self) -> Result<OriginIndex, Full> {
        self.place.find_labelled(self.page, Origin::LOCAL, Names::NONE, self.labels)
    }

    /// Bytes beside those that are read.
    pub fn reserve(&self) -> usize {
        RESERVE_BYTES + self.labels.bytes()
    }
}

/// The smallest page that takes the longest line.
pub const fn page_bytes_min(event_bytes_max: usize) -> usize {
    2 * (event_bytes_max + RESERVE_BYTES)
}

impl Cursor {
    pub fn at(mark: Mark) -> Self {
        Self { mark, stage: Stage::Start, front: Vec::new() }
    }

    /// Takes whole lines until there are no more, `bound` bytes are taken, or the page is full.
    pub fn take(
        &mut self,
        text: &mut dyn Text,
        shelf: &mut Shelf<'_>,
        bound: usize,
    ) -> io::Result<Took> {
        if let Some(offsets) = shelf.offsets.take() {
            let took = offsets.take(self, text, shelf, bound);
            shelf.offsets = Some(offsets);
            return took;
        }
        let mut taken = 0;
        loop {
            let free = shelf.page.free_bytes();
            let reserve = shelf.reserve();
            let longest = longest(shelf.page, free.saturating_sub(reserve)).min(bound);
            let longest = longest.max(shelf.rules.event_bytes_max + 2);
            if free < longest + reserve {
                return Ok(Took::Full);
            }
            let origin = shelf.origin().expect("the reserve holds it");
            let count = fill(text, self.mark.offset, &mut shelf.page.spare_mut()[..longest])?;
            let start = usize_of(shelf.page.tail());
            let end = start + count;
            let (bytes, mut records) = shelf.page.frame(u32_of(end), shelf.at, origin);
            records.keep(count / shelf.rules.event_bytes_max + 2);
            let framed = framing::frame(bytes, start, 0, self.stage, shelf.rules, &mut records);
            let full = records.is_full();
            self.pass(&bytes[start..framed.partial]);
            self.stage = framed.stage;
            let sums = records.finish();
            shelf.page.settle(sums, shelf.at, u32_of(framed.partial));
            taken += framed.partial - start;
            if full {
                return Ok(Took::Full);
            }
            if count < longest {
                return Ok(Took::All(end - framed.partial));
            }
            if taken >= bound {
                return Ok(Took::Bound);
            }
        }
    }

    /// Makes an event of the unfinished line at the end. False: the page has no room.
    pub fn take_rest(&mut self, text: &mut dyn Text, shelf: &mut Shelf<'_>) -> io::Result<bool> {
        if let Some(offsets) = shelf.offsets.take() {
            let done = offsets.take_rest(self, text, shelf);
            shelf.offsets = Some(offsets);
            return done;
        }
        let longest = shelf.rules.event_bytes_max + 2;
        if shelf.page.free_bytes() < longest + shelf.reserve() {
            return Ok(false);
        }
        let origin = shelf.origin().expect("the reserve holds it");
        let count = fill(text, self.mark.offset, &mut shelf.page.spare_mut()[..longest])?;
        if count == 0 {
            self.stage = Stage::Start;
            return Ok(true);
        }
        let start = usize_of(shelf.page.tail());
        self.pass(&shelf.page.spare_mut()[..count]);
        // With a newline, which the page has behind each event.
        let end = u32_of(start + count + 1);
        let (bytes, mut records) = shelf.page.frame(end, shelf.at, origin);
        let framed = framing::cut(bytes, start, self.stage, Cut::End, shelf.rules, &mut records);
        self.stage = framed.stage;
        let sums = records.finish();
        shelf.page.settle(sums, shelf.at, end);
        Ok(true)
    }

    /// Goes on behind these bytes.
    pub fn pass(&mut self, bytes: &[u8]) {
        if bytes.is_empty() {
            return;
        }
        if self.front.len() as u64 == self.mark.offset {
            let more = bytes.len().min(FRONT_BYTES - self.front.len());
            self.front.extend_from_slice(&bytes[..more]);
        }
        self.mark = Mark::behind(self.mark.offset + bytes.len() as u64, bytes);
    }
}

impl Mark {
    /// The place at `offset`, which these bytes stand in front of.
    pub fn behind(offset: u64, bytes: &[u8]) -> Self {
        let last = &bytes[bytes.len().saturating_sub(LAST_BYTES)..];
        Self { offset, last_bytes: u32_of(last.len()), last_crc: crc(last), events: 0 }
    }

    /// Whether this text has what stood in front of the place.
    pub fn is_in(&self, text: &mut dyn Text) -> io::Result<bool> {
        let mut last = [0; LAST_BYTES];
        let last = &mut last[..usize_of(self.last_bytes).min(LAST_BYTES)];
        let Some(from) = self.offset.checked_sub(last.len() as u64) else { return Ok(false) };
        if last.is_empty() {
            // Nothing to compare: at least it reaches so far.
            let before = self.offset.saturating_sub(1);
            return Ok(self.offset == 0 || text.read_at(before, &mut [0])? == 1);
        }
        Ok(fill(text, from, last)? == last.len() && crc(last) == self.last_crc)
    }
}

/// Of a few bytes. NUL ends a line as LF does, and in a page it is one: both are the same here.
pub fn crc(bytes: &[u8]) -> u32 {
    let mut same = [0; FRONT_BYTES];
    let same = &mut same[..bytes.len()];
    for (to, from) in same.iter_mut().zip(bytes) {
        *to = if *from == 0 { b'\n' } else { *from };
    }
    crc_fast::crc32_iscsi(same)
}

/// Reads until `into` is full or the text ends.
pub fn fill(text: &mut dyn Text, offset: u64, into: &mut [u8]) -> io::Result<usize> {
    let mut count = 0;
    while count < into.len() {
        match text.read_at(offset + count as u64, &mut into[count..]) {
            Ok(0) => break,
            Ok(more) => count += more,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(count)
}

/// How much to read so that bytes and slots meet at the end, by how long lines were.
fn longest(page: &Page, gap: usize) -> usize {
    let average = match page.event_count() {
        0 => LINE_BYTES,
        count => page.event_bytes() as usize / usize_of(count) + 1,
    };
    gap / (average + page.slot_bytes()) * average
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::Marks;
    use proptest::prelude::*;

    impl Text for Vec<u8> {
        fn read_at(&mut self, offset: u64, into: &mut [u8]) -> io::Result<usize> {
            crate::storage::ReadAt::read_at(&self[..], offset, into)
        }
    }

    /// All events, over as many pages as it takes; the text comes in parts.
    fn read_all(parts: &[Vec<u8>], longest: usize, bound: usize) -> Vec<(Vec<u8>, Marks)> {
        let places = read_with(parts, longest, bound, None);
        places.into_iter().map(|(text, marks, _)| (text, marks)).collect()
    }

    /// The same, with what is said of where each begins.
    fn read_with(
        parts: &[Vec<u8>],
        longest: usize,
        bound: usize,
        mut offsets: Option<Offsets>,
    ) -> Vec<(Vec<u8>, Marks, Option<usize>)> {
        let rules =
            Rules { counted: false, event_bytes_max: longest, want_pri: false, zipped: false };
        let (mut text, mut cursor, mut events) = (Vec::new(), Cursor::default(), Vec::new());
        let mut place = OriginPlace::default();
        let mut page = Page::new(64 << 10);
        let mut serial = 1;
        page.clear(serial);
        let mut next = |page: &mut Page| {
            events.extend(page.events().map(|event| {
                let told = event.headers().get(offsets::HEADER);
                let told = told.map(|told| std::str::from_utf8(told).unwrap().parse().unwrap());
                (event.bytes.to_vec(), event.marks, told)
            }));
            serial += 1;
            page.clear(serial);
        };
        for part in parts {
            text.extend_from_slice(part);
            loop {
                let (place, rules) = (&mut place, &rules);
                let (page, labels) = (&mut page, &HeaderMap::NONE);
                let offsets = offsets.as_mut();
                let mut shelf = Shelf { page, place, labels, rules, at: Wall(1), offsets };
                match cursor.take(&mut text, &mut shelf, bound).unwrap() {
                    Took::All(_) => break,
                    Took::Bound => {}
                    Took::Full => next(page),
                }
            }
            assert!(cursor.mark.is_in(&mut text).unwrap());
        }
        loop {
            let (place, rules) = (&mut place, &rules);
            let (page, labels) = (&mut page, &HeaderMap::NONE);
            let offsets = offsets.as_mut();
            let mut shelf = Shelf { page, place, labels, rules, at: Wall(1), offsets };
            if cursor.take_rest(&mut text, &mut shelf).unwrap() {
                break;
            }
            next(page);
        }
        next(&mut page);
        assert_eq!(cursor.mark.offset, text.len() as u64);
        events
    }

    #[test]
    fn lines_of_any_length_fill_pages_and_none_is_missing() {
        let line = |n: usize| vec![b'a' + (n % 26) as u8; [0, 3, 190, 1, 2000][n / 7 % 5]];
        let text: Vec<u8> = (0..30_000).flat_map(|n| [&line(n)[..], b"\n"].concat()).collect();
        let expected: Vec<_> = (0..30_000).map(line).filter(|line| !line.is_empty()).collect();
        for bound in [1, 5000, usize::MAX] {
            let texts = read_all(std::slice::from_ref(&text), 4096, bound);
            assert!(
                texts.into_iter().map(|(text, _)| text).eq(expected.iter().cloned()),
                "{bound}"
            );
        }
    }

    #[test]
    fn an_unfinished_line_waits_and_a_long_one_comes_in_pieces() {
        let parts = [&b"one\ntw"[..], b"o\nthr", b"ee"].map(<[u8]>::to_vec);
        let texts: Vec<_> = read_all(&parts, 4096, 999).into_iter().map(|(text, _)| text).collect();
        assert_eq!(texts, [&b"one"[..], b"two", b"three"]);
        let long = [vec![b'x'; 250], b"\nshort\n".to_vec()];
        let lengths: Vec<_> = read_all(&long, 100, 999)
            .iter()
            .map(|(text, marks)| (text.len(), *marks == Marks::SPLIT))
            .collect();
        assert_eq!(lengths, [(100, true), (100, true), (50, true), (5, false)]);
    }

    #[test]
    fn each_line_says_where_it_begins_however_pages_fill() {
        let line = |n: usize| vec![b'a' + (n % 26) as u8; [0, 3, 190, 1, 6000][n / 7 % 5]];
        let ends = [&b"\n"[..], b"\r\n", b"\n\n"];
        let mut text: Vec<u8> =
            (0..20_000).flat_map(|n| [&line(n)[..], ends[n % 3]].concat()).collect();
        text.extend_from_slice(&[b'z'; 5000]);
        for bound in [1, 5000, usize::MAX] {
            let parts = [std::slice::from_ref(&text), &[b"and more\n".to_vec()]].concat();
            let plain = read_all(&parts, 4096, bound);
            let told = read_with(&parts, 4096, bound, Some(Offsets::new(4096)));
            let all = parts.concat();
            let (mut last, mut count) = (None, 0);
            for ((text, marks, at), expected) in told.iter().zip(&plain) {
                let at = at.unwrap();
                assert_eq!(&all[at..at + text.len()], text, "at {at}, bound {bound}");
                assert!((text, marks) == (&expected.0, &expected.1), "at {at}, bound {bound}");
                assert!(last < Some(at));
                (last, count) = (Some(at), count + 1);
            }
            assert!(count == plain.len() && count == told.len(), "{count}, bound {bound}");
        }
    }

    #[test]
    fn a_mark_knows_its_file() {
        let mut text = b"some text\nmore\n".to_vec();
        let mut cursor = Cursor::default();
        cursor.pass(b"some ");
        cursor.pass(b"text\n");
        assert_eq!(cursor.front, b"some text\n");
        assert!(cursor.mark.is_in(&mut text).unwrap());
        // Framing makes a newline of what ended the line.
        assert!(cursor.mark.is_in(&mut b"some text\0".to_vec()).unwrap());
        assert!(!cursor.mark.is_in(&mut b"some Text\nmore\n".to_vec()).unwrap());
        assert!(!cursor.mark.is_in(&mut b"some".to_vec()).unwrap());
        let bare = Mark { offset: 10, ..Mark::default() };
        assert!(bare.is_in(&mut text).unwrap() && !bare.is_in(&mut b"123456789".to_vec()).unwrap());
    }

    proptest! {
        #[test]
        fn parts_and_bounds_do_not_show(
            parts in prop::collection::vec((prop::sample::select(vec![
                "abc\n", "\n", "x", "\r\n", "a line that is longer than others\n", "\n\n",
            ]), 1_usize..60), 0..40),
            bound in 1_usize..3000,
        ) {
            let parts: Vec<Vec<u8>> =
                parts.into_iter().map(|(text, times)| text.repeat(times).into_bytes()).collect();
            let whole = read_all(&[parts.concat()], 100, usize::MAX);
            let lines: Vec<u8> = parts.concat().into_iter().filter(|it| *it != b'\r').collect();
            let texts: Vec<u8> = whole.iter().flat_map(|(text, _)| text.clone()).collect();
            let all: Vec<u8> = lines.into_iter().filter(|byte| *byte != b'\n').collect();
            prop_assert_eq!(texts, all);
            let _ = read_all(&parts, 100, bound);
        }
    }
}
