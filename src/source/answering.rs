//! Lines, each answered: one connection of Flume's netcat protocol.
//!
//! ```text
//!   peer: text LF                 we: OK LF                    when the event has come far enough
//!   peer: a line that is too long we: FAILED: … LF             and the connection ends
//! ```
//! Answers are in the order of the lines, many with one write. A peer that does not read them is
//! not read either, so that what waits stays small. Bytes are read into the thread's scratch, as
//! RELP's are; what is not a whole line waits in the connection's carry.

use std::io;

use memchr::memchr;

use super::acks::{Acks, Owner};
use super::carry::{Carries, Carry};
use super::connection::{Desk, Visit};
use super::framing::Cut;
use super::link::Link;
use super::relp::{READ_BYTES, room};
use super::text::parse_pri;
use crate::event::{EventHead, Marks, Origin, OriginPlace, Page};
use crate::memory::Outcome;
use crate::wire::relp::Txnr;

/// Of a character in UTF-8.
pub const CHARACTER_BYTES_MAX: usize = 4;

/// Answers that wait at most: what has been read and not answered.
const OWED_MAX: u32 = 16 << 10;
/// Bytes behind a line that was too long which are read and thrown away: a close with unread bytes
/// resets the connection, and the peer would not hear why.
const DISCARDED_BYTES_MAX: usize = 1 << 20;

const OK: &[u8] = b"OK\n";
const LOST: &[u8] = b"FAILED: The event was lost behind this source, and that is counted\n";

/// How lines are answered.
#[derive(Clone, Copy, Debug)]
pub struct Answers {
    /// Of a line, its newline among them.
    pub characters_max: usize,
    /// Each event has its `OK`.
    pub every: bool,
}

#[derive(Debug)]
pub struct Answering {
    owner: Owner,
    answers: Answers,
    carry: Carry,
    /// A piece of the line in the carry has gone already.
    middle: bool,
    place: OriginPlace,
    /// Lines heard and not settled.
    owed: u32,
    /// The next line's number.
    next: Txnr,
    /// Bytes on their way out.
    out: Vec<u8>,
    /// Nothing more is read; it ends when everything is said.
    parting: Option<Parting>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Parting {
    /// By the peer, or by us when we stop.
    Ended,
    /// A line was too long, and that is not said yet.
    TooLong,
}

/// What stands at the front of some bytes.
enum Front {
    /// A line of so many bytes, without its newline.
    Line(usize),
    /// The beginning of a line.
    Partial,
    TooLong,
}

impl Answering {
    pub fn new(owner: Owner, answers: Answers) -> Self {
        Self {
            owner,
            answers,
            carry: Carry::default(),
            middle: false,
            place: OriginPlace::default(),
            owed: 0,
            next: Txnr::FIRST,
            out: Vec::new(),
            parting: None,
        }
    }

    pub fn owner(&self) -> Owner {
        self.owner
    }

    /// Bytes of the unfinished line.
    pub fn carried(&self) -> usize {
        self.carry.len()
    }

    /// Answers, then reads until there is no more, `bound` bytes have come, or the page is full.
    /// `ended`: the peer has said that no more comes.
    pub fn visit(
        &mut self,
        desk: &mut Desk<'_>,
        origin: Origin,
        link: &mut Link,
        bound: usize,
        ended: bool,
        taken: &mut usize,
    ) -> Visit {
        if let Err(error) = self.say(link) {
            return Visit::Failed(error);
        }
        if self.parting.is_some() {
            return if self.is_over() { Visit::Ended } else { Visit::Drained };
        }
        if !self.out.is_empty() {
            // It does not read what is said: the writable edge brings us back.
            return Visit::Drained;
        }
        let visit = self.read(desk, origin, link, bound, ended, taken);
        if *taken > 0 {
            link.hasten();
        }
        if matches!(visit, Visit::Ended) {
            self.parting.get_or_insert(Parting::Ended);
            self.middle = false;
        }
        match self.say(link) {
            _ if matches!(visit, Visit::Failed(_)) => visit,
            Err(error) => Visit::Failed(error),
            Ok(()) if self.is_over() => Visit::Ended,
            Ok(()) => visit,
        }
    }

    fn read(
        &mut self,
        desk: &mut Desk<'_>,
        origin: Origin,
        link: &mut Link,
        bound: usize,
        ended: bool,
        taken: &mut usize,
    ) -> Visit {
        let counter = desk.counter.take().expect("who answers counts");
        let mut scratch = std::mem::take(&mut counter.scratch);
        let mut held = self.carry.len();
        scratch[..held].copy_from_slice(self.carry.bytes());
        let visit = loop {
            if self.answers.every && (self.owed >= OWED_MAX || !counter.acks.ready()) {
                break Visit::Starved;
            }
            let free = desk.page.free_bytes();
            if free < room(desk, held) {
                break Visit::Full;
            }
            if *taken >= bound {
                break Visit::Bound;
            }
            let gap = free - held - desk.reserve();
            let longest = READ_BYTES.min(gap / room_per_byte(desk.page));
            let count = match link.read(&mut scratch[held..held + longest]) {
                Ok(0) => {
                    self.last(&scratch[..held], desk, origin, &mut counter.acks);
                    held = 0;
                    break Visit::Ended;
                }
                Ok(count) => count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break Visit::Drained,
                Err(error) => break Visit::Failed(error),
            };
            *taken += count;
            let end = held + count;
            let at = self.hear(&scratch[..end], held, desk, origin, &mut counter.acks);
            if self.parting.is_some() {
                held = 0;
                discard(link, &mut scratch);
                break Visit::Drained;
            }
            scratch.copy_within(at..end, 0);
            held = end - at;
            if !ended && link.is_emptied(count, longest) {
                break Visit::Drained;
            }
        };
        self.keep(&scratch[..held], desk.carries);
        counter.scratch = scratch;
        desk.counter = Some(counter);
        visit
    }

    /// Takes whole lines; says where the rest begins. The first `known` bytes hold no newline.
    fn hear(
        &mut self,
        bytes: &[u8],
        known: usize,
        desk: &mut Desk<'_>,
        origin: Origin,
        acks: &mut Acks,
    ) -> usize {
        let (mut at, mut known) = (0, known);
        loop {
            match front(&bytes[at..], known, self.answers.characters_max) {
                Front::Line(length) => {
                    let line = &bytes[at..at + length];
                    self.take(line.strip_suffix(b"\r").unwrap_or(line), Marks::NONE, desk, origin);
                    self.middle = false;
                    self.owe(acks);
                    (at, known) = (at + length + 1, 0);
                }
                Front::Partial => return at,
                Front::TooLong => {
                    tracing::warn!(
                        "{:?}: a line of more than {} characters; the connection is closed",
                        origin.peer,
                        self.answers.characters_max
                    );
                    self.parting = Some(Parting::TooLong);
                    return bytes.len();
                }
            }
        }
    }

    /// The peer has closed behind a line without a newline.
    fn last(&mut self, bytes: &[u8], desk: &mut Desk<'_>, origin: Origin, acks: &mut Acks) {
        if !bytes.is_empty() {
            self.take(bytes, Marks::NONE, desk, origin);
            self.owe(acks);
        }
    }

    fn owe(&mut self, acks: &mut Acks) {
        if self.answers.every {
            acks.note(self.owner, self.next, 1);
            self.next = self.next.next();
            self.owed += 1;
        }
    }

    fn take(&mut self, line: &[u8], marks: Marks, desk: &mut Desk<'_>, origin: Origin) {
        let marks = if self.middle { marks.with(Marks::SPLIT) } else { marks };
        let first = desk.rules.want_pri && !self.middle;
        let pri = if first { parse_pri(line) } else { None };
        let place = self.place.find_labelled(desk.page, origin, desk.names, desk.labels);
        let origin = place.expect("a visit keeps room for its origin");
        let head = EventHead { at: desk.at, origin, pri, marks };
        desk.page.append_event(line, head).expect("a read is bounded by the page's room");
    }

    fn keep(&mut self, bytes: &[u8], carries: &mut Carries) {
        carries.release(&mut self.carry);
        if !bytes.is_empty() {
            carries.append(&mut self.carry, bytes);
        }
    }

    /// Makes an event of what is carried: nothing more is read, or memory is needed. False: the
    /// page has no room.
    pub fn flush(&mut self, desk: &mut Desk<'_>, origin: Origin, why: Cut) -> bool {
        if !self.carry.is_empty() {
            if desk.page.free_bytes() < room(desk, self.carry.len()) {
                return false;
            }
            let mut carry = std::mem::take(&mut self.carry);
            let evicted = why == Cut::Evicted;
            let marks = if evicted { Marks::SPLIT } else { Marks::NONE };
            self.take(carry.bytes(), marks, desk, origin);
            self.middle = evicted;
            desk.carries.release(&mut carry);
        }
        if why == Cut::End {
            self.parting.get_or_insert(Parting::Ended);
        }
        true
    }

    /// `count` of its lines have come where they should, or never will.
    pub fn settled(&mut self, count: u32, outcome: Outcome) {
        self.owed -= count;
        let answer = if outcome == Outcome::Confirmed { OK } else { LOST };
        (0..count).for_each(|_| self.out.extend_from_slice(answer));
    }

    /// Nothing more will be said, and nothing read.
    pub fn is_over(&self) -> bool {
        self.parting == Some(Parting::Ended) && self.owed == 0 && self.out.is_empty()
    }

    /// Everything that may be said has been, but the peer does not take it.
    pub fn is_stuck(&self) -> bool {
        self.owed == 0 && !self.out.is_empty()
    }

    /// Whether the peer waits for an answer.
    pub fn is_owed(&self) -> bool {
        self.owed > 0 || !self.out.is_empty()
    }

    /// Writes what may be said, as far as the link takes it.
    pub fn say(&mut self, link: &mut Link) -> io::Result<()> {
        if self.owed == 0 && self.parting == Some(Parting::TooLong) {
            let most = self.answers.characters_max;
            let told = format!(
                "FAILED: Event exceeds the maximum length ({most} chars, including newline)\n"
            );
            self.out.extend_from_slice(told.as_bytes());
            self.parting = Some(Parting::Ended);
        }
        while !self.out.is_empty() {
            match link.write(&self.out) {
                Ok(count) => drop(self.out.drain(..count)),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

/// What stands at the front; the first `known` bytes hold no newline.
fn front(bytes: &[u8], known: usize, characters_max: usize) -> Front {
    let end = memchr(b'\n', &bytes[known..]).map(|at| known + at);
    // With the newline; of a partial line, the characters it has so far and one to come.
    let length = end.unwrap_or(bytes.len()) + 1;
    let too_long = length > characters_max && characters(&bytes[..length - 1]) + 1 > characters_max;
    match end {
        _ if too_long => Front::TooLong,
        Some(end) => Front::Line(end),
        None => Front::Partial,
    }
}

/// Bytes that do not continue a character: those of text that is not UTF-8 count too.
fn characters(text: &[u8]) -> usize {
    // A continuation follows something; more than three in a row are no UTF-8 and count.
    let (mut count, mut run) = (0, 0);
    for &byte in text {
        let continues = byte & 0xC0 == 0x80 && run < CHARACTER_BYTES_MAX - 1;
        run = if continues { run + 1 } else { 0 };
        count += usize::from(!continues);
    }
    count
}

/// Each byte read may be a line without text: a newline and its slot.
fn room_per_byte(page: &Page) -> usize {
    1 + page.slot_bytes()
}

fn discard(link: &mut Link, scratch: &mut [u8]) {
    let mut discarded = 0;
    while discarded < DISCARDED_BYTES_MAX {
        match link.read(scratch) {
            Ok(count) if count > 0 => discarded += count,
            _ => return,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn length(text: &str, most: usize) -> Option<usize> {
        match front(text.as_bytes(), 0, most) {
            Front::Line(length) => Some(length),
            Front::Partial => None,
            Front::TooLong => Some(usize::MAX),
        }
    }

    #[test]
    fn a_line_has_so_many_characters_with_its_newline() {
        let long = Some(usize::MAX);
        for (text, most, expected) in [
            ("abc\n", 4, Some(3)),
            ("abc\n", 3, long),
            ("abc", 4, None),
            ("abcd", 4, long),
            ("\n", 2, Some(0)),
            ("\u{e9}\u{e9}\u{e9}\n", 4, Some(6)),
            ("\u{1F600}\u{1F600}", 3, None),
            ("\u{1F600}\u{1F600}\n", 3, Some(8)),
            ("\u{1F600}\u{1F600}x\n", 3, long),
            ("ab\nmore that is longer than all", 3, Some(2)),
        ] {
            assert_eq!(length(text, most), expected, "{text:?} {most}");
        }
        // What is no UTF-8 at all is bounded in bytes too.
        assert_eq!(characters(&[0x80; 4000]), 1000);
    }
}
