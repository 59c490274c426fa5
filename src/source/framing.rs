//! Where one event ends and the next begins: pure functions over bytes, no I/O.
//!
//! ```text
//!   lines      text LF · text CR LF · text NUL         the delimiter stays where it is
//!   counted    12 SP <34>message text                  RFC 6587 3.4.1, told apart frame by frame
//!   datagram   text · text LF · text CR LF · text NUL
//! ```
//! A counted frame is digits (the first not `0`), a space and `<`, with a count within `event_max`;
//! anything else is a line, so `200 OK` is one. An empty line is no event. A longer line than
//! `event_max` becomes pieces, all of them marked SPLIT. What follows a counted frame without being
//! one has lost its count, and ends at the next header (`astray`).
//!
//! Speed: newline-framed data costs one vectored search (`ends`) and one 16-byte store an event.

mod astray;
mod ends;

use std::ops::Range;

use memchr::memchr2;

use self::ends::Ends;
use super::single;
use super::text::{holds_control, parse_pri, trim};
use crate::event::{Marks, Records};
use crate::limits::u32_of;

/// What a stream's frames look like.
#[derive(Clone, Copy, Debug)]
pub struct Rules {
    /// Octet-counted frames among the lines (source `syslog`).
    pub counted: bool,
    /// Counted frames may begin with `z`: messages that are compressed, and could not be expanded.
    pub zipped: bool,
    /// The longest event.
    pub event_bytes_max: usize,
    /// Somebody asks for the PRI.
    pub want_pri: bool,
}

/// What the bytes after the last whole frame are the beginning of.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Stage {
    /// A frame.
    #[default]
    Start,
    /// More of a line of which pieces have gone already.
    Middle,
    /// More of a counted frame of which pieces have gone already: so many bytes are still to come.
    Counted(usize),
    /// A frame behind a counted one, so many lines ago: a header is expected.
    After(u8),
    /// More of a text behind a counted frame, of which pieces have gone already; and whether it has
    /// been counted as one that lost its count.
    Astray(u8, bool),
}

impl Stage {
    /// What comes is the front of something.
    fn begins(self) -> bool {
        matches!(self, Self::Start | Self::After(_))
    }
}

/// What a run of framing came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Framed {
    /// Where the partial frame begins.
    pub partial: usize,
    /// What it is the beginning of.
    pub stage: Stage,
    /// Texts that had lost their count: the peer's errors.
    pub astray: u32,
}

impl Framed {
    /// Everything in front of `partial` is framed, and no count was wrong.
    pub fn whole(partial: usize) -> Self {
        Self { partial, stage: Stage::Start, astray: 0 }
    }
}

/// Why an unfinished frame becomes an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cut {
    /// Nothing more will come.
    End,
    /// Its memory is needed; the rest will follow as another piece. Not for a frame so short that
    /// what it is cannot be told.
    Evicted,
}

/// What a frame's first bytes say it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Line,
    /// `header` bytes (digits and space), then `count` bytes of message.
    Counted {
        header: usize,
        count: usize,
    },
    /// Too few bytes to tell.
    Undecided,
}

/// Frames `bytes[start..]`: pushes every whole frame. `stage` says what stands at `start`; its
/// first `known` bytes were looked at before. With its records full it stops between two frames.
pub fn frame(
    bytes: &mut [u8],
    start: usize,
    known: usize,
    mut stage: Stage,
    rules: &Rules,
    records: &mut Records<'_>,
) -> Framed {
    let mut at = start;
    let mut seen = start + known;
    let mut astray = 0;
    if let Stage::Counted(rest) = stage {
        if bytes.len() - at < rest {
            return Framed { partial: at, stage, astray };
        }
        push_counted(bytes, at..at + rest, Marks::SPLIT, rules, records);
        at += rest;
        (seen, stage) = (at, Stage::After(0));
    }
    loop {
        if records.is_full() {
            return Framed { partial: at, stage, astray };
        }
        if rules.counted && stage.begins() && bytes.get(at).is_some_and(|byte| is_count(*byte)) {
            match kind(&bytes[at..], rules) {
                Kind::Line => {}
                Kind::Undecided => return Framed { partial: at, stage, astray },
                Kind::Counted { header, count } => {
                    if bytes.len() - at - header < count {
                        return Framed { partial: at, stage, astray };
                    }
                    let body = at + header;
                    push_counted(bytes, body..body + count, Marks::NONE, rules, records);
                    at = body + count;
                    (seen, stage) = (at, Stage::After(0));
                    continue;
                }
            }
        }
        if let Stage::After(_) | Stage::Astray(..) = stage {
            let Some(end) = astray::end(bytes, at, seen, rules) else { break };
            (at, stage) = astray::push(bytes, at, end, stage, &mut astray, rules, records);
            seen = at;
            continue;
        }
        let run = lines(bytes, at, seen, stage == Stage::Middle, rules, records);
        (at, seen) = (run.at, run.at);
        stage = if run.middle { Stage::Middle } else { Stage::Start };
        match run.stop {
            Stop::Digit | Stop::Full => {}
            Stop::Nul(end) => {
                // Raw files have one newline after each event, whatever it came with.
                bytes[end] = b'\n';
                push_line(bytes, at..end, run.middle, rules, records);
                (at, seen, stage) = (end + 1, end + 1, Stage::Start);
            }
            Stop::End => break,
        }
    }
    while bytes.len() - at >= rules.event_bytes_max + extra(stage) {
        let piece = at..at + rules.event_bytes_max;
        at = piece.end;
        let lost = astray::is_lost(&bytes[piece.clone()], stage);
        astray += u32::from(lost);
        push_pieces(bytes, piece, !stage.begins(), rules, records);
        stage = in_pieces(stage, lost);
    }
    Framed { partial: at, stage, astray }
}

/// Bytes behind the longest event without which it is not known to be longer: one more may be the
/// CR of a CR LF, and the front of a header may stand at the end.
fn extra(stage: Stage) -> usize {
    match stage {
        Stage::After(_) | Stage::Astray(..) => astray::HEADER_BYTES_MAX,
        Stage::Start | Stage::Middle | Stage::Counted(_) => 2,
    }
}

/// The stage when a piece has gone and more is to come. `lost`: it has just been counted.
fn in_pieces(stage: Stage, lost: bool) -> Stage {
    match stage {
        Stage::After(lines) => Stage::Astray(lines, lost),
        Stage::Astray(..) => stage,
        Stage::Start | Stage::Middle | Stage::Counted(_) => Stage::Middle,
    }
}

/// Makes events of the unfinished frame `bytes[start..end]`; `bytes[end]` is free for a newline.
/// Says what follows; nothing is left.
pub fn cut(
    bytes: &mut [u8],
    start: usize,
    stage: Stage,
    why: Cut,
    rules: &Rules,
    records: &mut Records<'_>,
) -> Framed {
    let end = bytes.len() - 1;
    bytes[end] = b'\n';
    let begins = stage.begins();
    let (header, rest) = match (stage, kind(&bytes[start..end], rules)) {
        (Stage::Counted(rest), _) => (0, Some(rest)),
        (_, Kind::Counted { header, count }) if rules.counted && begins => (header, Some(count)),
        _ => (0, None),
    };
    let evicted = why == Cut::Evicted;
    let framed = |stage, astray| Framed { partial: end + 1, stage, astray };
    let Some(rest) = rest else {
        let text = start..end;
        let lost = end > start && astray::is_lost(&bytes[text.clone()], stage);
        if begins && !lost && !evicted && text.len() <= rules.event_bytes_max {
            push_line(bytes, text, false, rules, records);
        } else if end > start {
            push_pieces(bytes, text, !begins, rules, records);
        }
        return framed(
            if evicted { in_pieces(stage, lost) } else { Stage::Start },
            u32::from(lost),
        );
    };
    let mut marks = if begins && !evicted { Marks::NONE } else { Marks::SPLIT };
    let body = start + header;
    if why == Cut::End {
        // The count promised more.
        marks = marks.with(Marks::TRUNCATED);
    }
    records.set_scattered();
    if end > body {
        if holds_control(&bytes[body..end]) {
            marks = marks.with(Marks::CONTROL);
        }
        if begins {
            marks = marks.with(unread(&bytes[body..end], rules));
        }
        let pri = if begins { pri(&bytes[body..end], rules) } else { None };
        records.push_marked(u32_of(body), u32_of(end - body), pri, marks);
    }
    framed(if evicted { Stage::Counted(rest - (end - body)) } else { Stage::Start }, 0)
}

/// Whether the unfinished frame `carry` needs to stand before `fresh` now: because it ends there,
/// or has become too long, or what it is was not known. Looks at no byte of a carried line twice.
pub fn settles(carry: &[u8], stage: Stage, fresh: &[u8], rules: &Rules) -> bool {
    let bytes = carry.len() + fresh.len();
    let line = || match stage {
        Stage::After(_) | Stage::Astray(..) => astray::ends(carry, fresh, rules),
        Stage::Start | Stage::Middle | Stage::Counted(_) => memchr2(b'\n', 0, fresh).is_some(),
    };
    let line = || line() || bytes >= rules.event_bytes_max + extra(stage);
    match stage {
        Stage::Counted(rest) => bytes >= rest,
        Stage::Start | Stage::After(_) if rules.counted => match kind(carry, rules) {
            Kind::Undecided => true,
            Kind::Counted { header, count } => bytes >= header + count,
            Kind::Line => line(),
        },
        _ => line(),
    }
}

/// How a run of lines ended.
enum Stop {
    /// No more delimiters.
    End,
    /// A frame begins with a digit.
    Digit,
    /// No more slots.
    Full,
    /// A NUL ends the frame.
    Nul(usize),
}

struct Run {
    at: usize,
    middle: bool,
    stop: Stop,
}

/// The hot loop: lines that end in LF, from `at` on; no delimiter stands before `seen`.
#[inline]
fn lines(
    bytes: &[u8],
    at: usize,
    seen: usize,
    middle: bool,
    rules: &Rules,
    records: &mut Records<'_>,
) -> Run {
    let (mut at, mut middle) = (at, middle);
    for found in Ends::of(&bytes[seen..]) {
        let end = seen + found;
        match bytes[end] {
            b'\n' => {}
            0 => return Run { at, middle, stop: Stop::Nul(end) },
            _ => continue,
        }
        let length = end - at;
        let plain = length > 0 && length <= rules.event_bytes_max && bytes[end - 1] != b'\r';
        if plain && !middle {
            records.push(at as u32, length as u32, pri(&bytes[at..end], rules));
        } else {
            let returned = length > 0 && bytes[end - 1] == b'\r';
            if returned {
                records.set_scattered();
            }
            push_line(bytes, at..end - usize::from(returned), middle, rules, records);
            middle = false;
        }
        at = end + 1;
        if records.is_full() {
            return Run { at, middle, stop: Stop::Full };
        }
        if rules.counted && bytes.get(at).is_some_and(|byte| is_count(*byte)) {
            return Run { at, middle, stop: Stop::Digit };
        }
    }
    Run { at, middle, stop: Stop::End }
}

/// A line that is not plain: empty, with a CR, too long, or the last piece of one.
#[cold]
fn push_line(
    bytes: &[u8],
    text: Range<usize>,
    middle: bool,
    rules: &Rules,
    records: &mut Records<'_>,
) {
    if text.is_empty() {
        records.set_scattered();
    } else if middle || text.len() > rules.event_bytes_max {
        push_pieces(bytes, text, middle, rules, records);
    } else {
        records.push(u32_of(text.start), u32_of(text.len()), pri(&bytes[text], rules));
    }
}

/// A text in pieces of the longest event, all of them marked.
fn push_pieces(
    bytes: &[u8],
    text: Range<usize>,
    middle: bool,
    rules: &Rules,
    records: &mut Records<'_>,
) {
    for (index, piece) in bytes[text.clone()].chunks(rules.event_bytes_max).enumerate() {
        let pri = if middle || index > 0 { None } else { pri(piece, rules) };
        let offset = text.start + index * rules.event_bytes_max;
        records.push_marked(u32_of(offset), u32_of(piece.len()), pri, Marks::SPLIT);
    }
    records.set_scattered();
}

/// A counted frame's message, less one trailing delimiter.
fn push_counted(
    bytes: &[u8],
    message: Range<usize>,
    marks: Marks,
    rules: &Rules,
    records: &mut Records<'_>,
) {
    let text = trim(&bytes[message.clone()]);
    records.set_scattered();
    if text.is_empty() {
        return;
    }
    let pri = if marks == Marks::NONE { pri(text, rules) } else { None };
    let marks = if marks == Marks::NONE { unread(text, rules) } else { marks };
    let marks = if holds_control(text) { marks.with(Marks::CONTROL) } else { marks };
    records.push_marked(u32_of(message.start), u32_of(text.len()), pri, marks);
}

#[inline]
fn pri(text: &[u8], rules: &Rules) -> Option<u8> {
    if rules.want_pri { parse_pri(text) } else { None }
}

/// A frame that begins with this byte may be a counted one.
#[inline]
fn is_count(byte: u8) -> bool {
    byte.wrapping_sub(b'1') < 9
}

/// The header of the counted frame that begins here, its message perhaps compressed: bytes of the
/// header and of the message. `Some(None)`: it is a line; none: too few bytes to tell.
pub fn count(bytes: &[u8], event_bytes_max: usize) -> Option<Option<(usize, usize)>> {
    let rules = Rules { counted: true, zipped: true, event_bytes_max, want_pri: false };
    match kind(bytes, &rules) {
        Kind::Line => Some(None),
        Kind::Counted { header, count } => Some(Some((header, count))),
        Kind::Undecided => None,
    }
}

/// Nobody can read a message that could not be expanded.
fn unread(text: &[u8], rules: &Rules) -> Marks {
    let packed = rules.zipped && text.first() == Some(&single::MARK);
    if packed { Marks::UNPARSED } else { Marks::NONE }
}

fn kind(bytes: &[u8], rules: &Rules) -> Kind {
    let mut count = 0_usize;
    for (index, &byte) in bytes.iter().enumerate() {
        match byte {
            b'0' if index == 0 => return Kind::Line,
            b'0'..=b'9' => count = count * 10 + usize::from(byte - b'0'),
            b' ' if index > 0 => {
                return match bytes.get(index + 1) {
                    Some(b'<') => Kind::Counted { header: index + 1, count },
                    Some(&single::MARK) if rules.zipped => {
                        Kind::Counted { header: index + 1, count }
                    }
                    Some(_) => Kind::Line,
                    None => Kind::Undecided,
                };
            }
            _ => return Kind::Line,
        }
        if count > rules.event_bytes_max {
            return Kind::Line;
        }
    }
    Kind::Undecided
}

#[cfg(test)]
mod tests;
