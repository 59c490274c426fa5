//! `multiline`: lines that belong together are one event: a stack trace, a statement, a dump.
//!
//! ```text
//!   14:02:11 ERROR no such row ⏎ at load(Table.java:7) ⏎ at main(…) ⏎ 14:02:12 INFO …
//!   └──────────────── one event, its lines joined by LF ───────────┘ └ the next begins
//! ```
//! A line in which `start` is found begins an event; others are joined to the one before. It ends
//! at the next start, when nothing came for `age`, and with the stream. One that would outgrow
//! `event_max` ends before the line that no longer fits; it and all up to the next start are marked
//! SPLIT. A line longer than `event_max` stands by itself, in pieces. Blank lines inside are kept.
//!
//! The lines of a group stand side by side in the page as they came, so joining costs nothing but
//! the search; they wait in the stream's carry, as the front of a single line does. Of a group that
//! is open only its last, unfinished line is ever looked at again.

use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use memchr::{memchr, memchr2, memchr2_iter};
use regex::bytes::Regex;

use super::framing::{Cut, Rules};
use super::text::parse_pri;
use crate::config::{OptionDoc, Section};
use crate::event::{Marks, Records};
use crate::interceptor::regexes;
use crate::limits::u32_of;

pub const MULTILINE: OptionDoc = OptionDoc {
    name: "multiline",
    default: Some(""),
    doc: "join lines to events: { start = \"^\\\\S\" }; a line without it continues the last",
};

const DOCS: &[OptionDoc] = &[
    OptionDoc {
        name: "start",
        default: Some(""),
        doc: "regular expressions; a line in which one is found begins an event",
    },
    OptionDoc {
        name: "age",
        default: Some("1s"),
        doc: "an event ends when nothing came behind it for so long",
    },
];

/// Bytes that a group of the longest events waits for its rest with: its lines, and one more line
/// of which it is not known whether it belongs to them.
pub const fn frame_bytes_max(event_bytes_max: usize) -> usize {
    2 * event_bytes_max
}

/// What begins an event, valid once built.
#[derive(Clone, Debug)]
pub struct Multiline {
    start: Vec<Regex>,
    pub age: Duration,
}

impl Multiline {
    /// Reads the table; none without it.
    pub fn plan(section: &Section) -> Option<Self> {
        let table = section.subsection(MULTILINE.name, DOCS);
        if !section.explicit(MULTILINE.name) {
            return None;
        }
        let start = regexes(&table, "start");
        let ages = Duration::from_millis(10)..=Duration::from_secs(600);
        let age = table.duration_in("age", ages);
        if start.is_empty() && !section.diagnostics().has_errors() {
            let what = format!("nothing begins an event in {}", table.title());
            table.fail_here(what, "write which line does: `start = '^\\S'`");
        }
        Some(Self { start, age })
    }

    fn starts(&self, line: &[u8]) -> bool {
        self.start.iter().any(|start| start.is_match(line))
    }
}

/// A stream's open group: where in its unfinished bytes the last line begins.
#[derive(Debug)]
pub struct Group {
    rules: Arc<Multiline>,
    /// Bytes of whole lines, in front of the line that is still coming.
    lines: usize,
    /// It is the rest of one that was cut.
    torn: bool,
    /// The line that is coming is the rest of one of which pieces have gone.
    middle: bool,
}

/// The bytes being framed, and where their events go.
struct Framing<'a, 'page> {
    bytes: &'a mut [u8],
    rules: &'a Rules,
    records: &'a mut Records<'page>,
    /// Where the group begins, and its last line.
    at: usize,
    line: usize,
}

impl Group {
    pub fn new(rules: Arc<Multiline>) -> Self {
        Self { rules, lines: 0, torn: false, middle: false }
    }

    /// Whether whole lines wait for more.
    pub fn is_open(&self) -> bool {
        self.lines > 0
    }

    pub fn age(&self) -> Duration {
        self.rules.age
    }

    /// The unfinished bytes will come again from their beginning.
    pub fn rewind(&mut self) {
        self.lines = 0;
    }

    /// Frames `bytes[start..]`, of which the first `known` were looked at before; returns where the
    /// open group begins. With its records full it stops between two lines.
    pub fn frame(
        &mut self,
        bytes: &mut [u8],
        start: usize,
        known: usize,
        rules: &Rules,
        records: &mut Records<'_>,
    ) -> usize {
        let line = start + self.lines;
        let mut framing = Framing { bytes, rules, records, at: start, line };
        let mut seen = line.max(start + known);
        while !framing.records.is_full() {
            let Some(found) = memchr2(b'\n', 0, &framing.bytes[seen..]) else {
                self.shorten(&mut framing);
                break;
            };
            let (end, next) = (seen + found, seen + found + 1);
            let returned =
                framing.bytes[end] == b'\n' && framing.bytes[framing.line..end].ends_with(b"\r");
            self.take(&mut framing, end - usize::from(returned), next);
            seen = next;
        }
        self.lines = framing.line - framing.at;
        framing.at
    }

    /// Makes events of the unfinished bytes `bytes[start..]`, behind which one byte is free.
    pub fn cut(
        &mut self,
        bytes: &mut [u8],
        start: usize,
        why: Cut,
        rules: &Rules,
        records: &mut Records<'_>,
    ) {
        let end = bytes.len() - 1;
        bytes[end] = b'\n';
        let line = start + self.lines;
        let mut framing = Framing { bytes, rules, records, at: start, line };
        match why {
            Cut::End => {
                if line < end {
                    self.take(&mut framing, end, end);
                }
                framing.push_group(self.torn, false);
                (self.torn, self.middle) = (false, false);
            }
            Cut::Evicted => {
                framing.push_group(self.torn, true);
                framing.push_pieces(line..end, self.middle);
                (self.torn, self.middle) = (true, self.middle || line < end);
            }
        }
        framing.records.set_scattered();
        self.lines = 0;
    }

    /// The lines that wait become an event: nothing came for so long. They are `bytes[start..]`.
    pub fn end(
        &mut self,
        bytes: &mut [u8],
        start: usize,
        rules: &Rules,
        records: &mut Records<'_>,
    ) {
        let line = bytes.len();
        Framing { bytes, rules, records, at: start, line }.push_group(self.torn, false);
        (self.lines, self.torn) = (0, false);
    }

    /// Bytes of whole lines that wait.
    pub fn waiting_bytes(&self) -> usize {
        self.lines
    }

    /// Whether the unfinished bytes `carry` need to stand before `fresh` now. If not, `fresh` is
    /// taken for a part of the group.
    pub fn settles(&mut self, carry: &[u8], fresh: &[u8], rules: &Rules) -> bool {
        let long = |line: usize, end: usize| end - line >= rules.event_bytes_max + 2;
        let all = carry.len() + fresh.len();
        let mut lines = self.lines;
        for found in memchr2_iter(b'\n', 0, fresh) {
            let end = carry.len() + found;
            // A line that began before: only together can they be looked at.
            let Some(line) = lines.checked_sub(carry.len()) else { return true };
            let text = &fresh[line..found];
            let text =
                if fresh[found] == b'\n' { text.strip_suffix(b"\r").unwrap_or(text) } else { text };
            if self.rules.starts(text) || end > rules.event_bytes_max {
                return true;
            }
            lines = end + 1;
        }
        if long(lines, all) {
            return true;
        }
        self.lines = lines;
        false
    }

    /// A line has come: its text ends at `end`, the next one begins at `next`.
    fn take(&mut self, framing: &mut Framing<'_, '_>, end: usize, next: usize) {
        let longest = framing.rules.event_bytes_max;
        let (at, line) = (framing.at, framing.line);
        let text = &framing.bytes[line..end];
        if self.middle || text.len() > longest {
            let starts = !self.middle && self.rules.starts(&text[..longest]);
            framing.push_group(self.torn, !starts);
            framing.push_pieces(line..end, self.middle);
            framing.skip(next);
            (self.torn, self.middle) = (true, false);
            return;
        }
        if self.rules.starts(text) {
            framing.push_group(self.torn, false);
            (framing.at, self.torn) = (line, false);
        } else if at < line && end - at > longest {
            framing.push_group(self.torn, true);
            (framing.at, self.torn) = (line, true);
        }
        framing.line = next;
        if framing.at == line && line == end {
            // A blank line in front of everything.
            framing.skip(next);
        }
    }

    /// Of the line that is coming, what is longer than the longest event goes in pieces.
    fn shorten(&mut self, framing: &mut Framing<'_, '_>) {
        let longest = framing.rules.event_bytes_max;
        // One more may be the CR of a CR LF.
        while framing.bytes.len() - framing.line >= longest + 2 {
            let piece = framing.line..framing.line + longest;
            let starts = !self.middle && self.rules.starts(&framing.bytes[piece.clone()]);
            framing.push_group(self.torn, !starts);
            framing.push_pieces(piece.clone(), self.middle);
            framing.skip(piece.end);
            (self.torn, self.middle) = (true, true);
        }
    }
}

impl Framing<'_, '_> {
    /// What stood before is dealt with: the group begins here.
    fn skip(&mut self, to: usize) {
        self.records.set_scattered();
        (self.at, self.line) = (to, to);
    }

    /// The lines in front of the last one are an event. `torn`: it is the rest of one that was cut;
    /// `cut`: so is this one, here.
    fn push_group(&mut self, torn: bool, cut: bool) {
        let range = self.at..self.line;
        self.at = self.line;
        if range.is_empty() {
            return;
        }
        let Range { start, end } = self.join(range.clone());
        if end + 1 != range.end || self.bytes[end] != b'\n' {
            self.records.set_scattered();
        }
        if start == end {
            return;
        }
        let text = &self.bytes[start..end];
        let pri = if torn { None } else { self.pri(text) };
        let mut marks = if torn || cut { Marks::SPLIT } else { Marks::NONE };
        // A line by itself is kept as it came.
        if memchr(b'\n', text).is_some() {
            marks = marks.with(Marks::CONTROL);
            self.records.set_scattered();
        }
        self.records.push_marked(u32_of(start), u32_of(end - start), pri, marks);
    }

    /// Ends lines with LF and nothing else, and the text with the last line that is not blank.
    fn join(&mut self, lines: Range<usize>) -> Range<usize> {
        let Range { start, mut end } = lines;
        while end > start && [b'\n', 0].contains(&self.bytes[end - 1]) {
            end -= 1;
            if self.bytes[end] == b'\n' && end > start && self.bytes[end - 1] == b'\r' {
                end -= 1;
            }
        }
        let text = &mut self.bytes[start..end];
        let Some(first) = memchr2(b'\r', 0, text) else { return start..end };
        let mut write = first;
        for read in first..text.len() {
            match text[read] {
                b'\r' if text.get(read + 1) == Some(&b'\n') => continue,
                0 => text[write] = b'\n',
                byte => text[write] = byte,
            }
            write += 1;
        }
        if write < text.len() {
            self.records.set_scattered();
        }
        start..start + write
    }

    /// A line that is too long to be joined to anything.
    fn push_pieces(&mut self, text: Range<usize>, middle: bool) {
        for (index, piece) in
            self.bytes[text.clone()].chunks(self.rules.event_bytes_max).enumerate()
        {
            let pri = if middle || index > 0 { None } else { self.pri(piece) };
            let offset = text.start + index * self.rules.event_bytes_max;
            self.records.push_marked(u32_of(offset), u32_of(piece.len()), pri, Marks::SPLIT);
        }
        self.records.set_scattered();
    }

    fn pri(&self, text: &[u8]) -> Option<u8> {
        if self.rules.want_pri { parse_pri(text) } else { None }
    }
}

#[cfg(test)]
mod tests;
