//! Lines, each answered: one connection of Flume's netcat protocol.
//!
//! ```text
//!   peer: text LF                 we: OK LF                    when the event has come far enough
//!   peer: a line that is too long we: FAILED: … LF             and the connection ends
//! ```
//! Answers are in the order of the lines. A peer that does not read them is not read either, so
//! that what waits stays small.

use memchr::memchr;

use super::acks::{Acks, Owner};
use super::connection::{Desk, Visit};
use super::dialogue::{Counter, Dialogue, Hearing, Slate, fitting, room};
use super::framing::Cut;
use super::text::parse_pri;
use crate::event::{Marks, Origin, Page};
use crate::memory::Outcome;

/// Of a character in UTF-8.
pub const CHARACTER_BYTES_MAX: usize = 4;

/// Answers that wait at most: what has been read and not answered.
const OWED_MAX: u32 = 16 << 10;

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
    slate: Slate,
    answers: Answers,
    /// A piece of the line in the carry has gone already.
    middle: bool,
    /// Nothing more is read; it ends when everything is said.
    parting: Option<Parting>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Parting {
    /// By the peer, or by us when we stop.
    Ended,
    /// A line was too long, and that is not said yet.
    TooLong,
    /// It is on its way.
    Told,
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
        Self { slate: Slate::new(owner), answers, middle: false, parting: None }
    }

    fn owe(&mut self, lines: u32, acks: &mut Acks) {
        if self.answers.every && lines > 0 {
            self.slate.owe(lines, acks);
        }
    }

    fn take(&mut self, line: &[u8], marks: Marks, desk: &mut Desk<'_>, origin: Origin) {
        let marks = if self.middle { marks.with(Marks::SPLIT) } else { marks };
        let first = desk.rules.want_pri && !self.middle;
        let pri = if first { parse_pri(line) } else { None };
        self.slate.put(line, pri, marks, desk, origin);
        self.middle = false;
    }
}

impl Dialogue for Answering {
    fn slate(&self) -> &Slate {
        &self.slate
    }

    fn slate_mut(&mut self) -> &mut Slate {
        &mut self.slate
    }

    fn longest(&self, desk: &Desk<'_>, counter: &mut Counter, held: usize) -> Result<usize, Visit> {
        if self.answers.every && (self.slate.owed >= OWED_MAX || !counter.acks.ready()) {
            return Err(Visit::Starved);
        }
        fitting(desk, held, room_per_byte(desk.page))
    }

    fn hear(&mut self, bytes: &[u8], mut known: usize, hearing: &mut Hearing<'_, '_>) -> usize {
        let (mut at, mut lines) = (0, 0);
        let rest = loop {
            match front(&bytes[at..], known, self.answers.characters_max) {
                Front::Line(length) => {
                    let line = &bytes[at..at + length];
                    let line = line.strip_suffix(b"\r").unwrap_or(line);
                    self.take(line, Marks::NONE, hearing.desk, hearing.origin);
                    lines += 1;
                    (at, known) = (at + length + 1, 0);
                }
                Front::Partial => break at,
                Front::TooLong => {
                    tracing::warn!(
                        "{:?}: a line of more than {} characters; the connection is closed",
                        hearing.origin.peer,
                        self.answers.characters_max
                    );
                    self.parting = Some(Parting::TooLong);
                    break bytes.len();
                }
            }
        };
        self.owe(lines, &mut hearing.counter.acks);
        rest
    }

    /// A line without a newline is a line at the end.
    fn end(&mut self, rest: &[u8], hearing: &mut Hearing<'_, '_>) {
        if !rest.is_empty() {
            self.take(rest, Marks::NONE, hearing.desk, hearing.origin);
            self.owe(1, &mut hearing.counter.acks);
        }
        self.parting.get_or_insert(Parting::Ended);
    }

    /// Makes an event of what is carried.
    fn flush(&mut self, desk: &mut Desk<'_>, origin: Origin, why: Cut) -> bool {
        if !self.slate.carry.is_empty() {
            if desk.page.free_bytes() < room(desk, self.slate.carry.len()) {
                return false;
            }
            let mut carry = std::mem::take(&mut self.slate.carry);
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

    fn settled(&mut self, count: u32, outcome: Outcome) {
        self.slate.owed -= count;
        let answer = if outcome == Outcome::Confirmed { OK } else { LOST };
        (0..count).for_each(|_| self.slate.out.extend_from_slice(answer));
    }

    fn listens(&self) -> bool {
        self.parting.is_none() && self.slate.out.is_empty()
    }

    fn is_over(&self) -> bool {
        let told = self.parting.is_some_and(|parting| parting != Parting::TooLong);
        told && !self.is_owed()
    }

    fn discards(&self) -> bool {
        self.parting == Some(Parting::Told)
    }

    fn word(&mut self) {
        if self.slate.owed == 0 && self.parting == Some(Parting::TooLong) {
            let most = self.answers.characters_max;
            let told = format!(
                "FAILED: Event exceeds the maximum length ({most} chars, including newline)\n"
            );
            self.slate.out.extend_from_slice(told.as_bytes());
            self.parting = Some(Parting::Told);
        }
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
