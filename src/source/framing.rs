//! Where one event ends and the next begins: pure functions over bytes, no I/O.
//!
//! ```text
//!   lines      text LF · text CR LF · text NUL         the delimiter stays where it is
//!   counted    12 SP <34>message text                  RFC 6587 3.4.1, told apart frame by frame
//!   datagram   text · text LF · text CR LF · text NUL
//! ```
//! A counted frame is digits (the first not `0`), a space and `<`, with a count within `event_max`;
//! anything else is a line, so `200 OK` is one. An empty line is no event. A longer line than
//! `event_max` becomes pieces, all of them marked SPLIT.
//!
//! Speed: newline-framed data costs one vectored search and one 16-byte store an event (8 ns for
//! 190 bytes). `memchr2` finds LF and NUL in one go: measured, it costs as much as a plain LF
//! search behind a separate look for NUL.

use std::ops::Range;

use memchr::{memchr2, memchr2_iter};

use super::text::{holds_control, parse_pri, trim};
use crate::event::{Marks, Records};
use crate::limits::u32_of;

/// What a stream's frames look like.
#[derive(Clone, Copy, Debug)]
pub struct Rules {
    /// Octet-counted frames among the lines (source `syslog`).
    pub counted: bool,
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

/// Frames `bytes[start..]`: pushes every whole frame and returns where the partial one begins and
/// what it is. `stage` says what stands at `start`; its first `known` bytes were looked at before.
pub fn frame(
    bytes: &mut [u8],
    start: usize,
    known: usize,
    stage: Stage,
    rules: &Rules,
    records: &mut Records<'_>,
) -> (usize, Stage) {
    let mut at = start;
    let mut seen = start + known;
    let mut middle = stage == Stage::Middle;
    if let Stage::Counted(rest) = stage {
        if bytes.len() - at < rest {
            return (at, stage);
        }
        push_counted(bytes, at..at + rest, Marks::SPLIT, rules, records);
        at += rest;
        seen = at;
    }
    loop {
        if rules.counted && !middle && bytes.get(at).is_some_and(|byte| is_count(*byte)) {
            match kind(&bytes[at..], rules) {
                Kind::Line => {}
                Kind::Undecided => return (at, Stage::Start),
                Kind::Counted { header, count } => {
                    if bytes.len() - at - header < count {
                        return (at, Stage::Start);
                    }
                    let body = at + header;
                    push_counted(bytes, body..body + count, Marks::NONE, rules, records);
                    at = body + count;
                    seen = at;
                    continue;
                }
            }
        }
        let run = lines(bytes, at, seen, middle, rules, records);
        (at, middle) = (run.at, run.middle);
        seen = at;
        match run.stop {
            Stop::Digit => {}
            Stop::Nul(end) => {
                // Raw files have one newline after each event, whatever it came with.
                bytes[end] = b'\n';
                push_line(bytes, at..end, middle, rules, records);
                (at, seen, middle) = (end + 1, end + 1, false);
            }
            Stop::End => break,
        }
    }
    // One byte more than the longest event may be the CR of a CR LF.
    while bytes.len() - at >= rules.event_bytes_max + 2 {
        push_pieces(bytes, at..at + rules.event_bytes_max, middle, rules, records);
        at += rules.event_bytes_max;
        middle = true;
    }
    (at, if middle { Stage::Middle } else { Stage::Start })
}

/// Makes events of the unfinished frame `bytes[start..end]`; `bytes[end]` is free for a newline.
/// Returns what follows.
pub fn cut(
    bytes: &mut [u8],
    start: usize,
    stage: Stage,
    why: Cut,
    rules: &Rules,
    records: &mut Records<'_>,
) -> Stage {
    let end = bytes.len() - 1;
    bytes[end] = b'\n';
    let (header, rest) = match (stage, kind(&bytes[start..end], rules)) {
        (Stage::Counted(rest), _) => (0, Some(rest)),
        (Stage::Start, Kind::Counted { header, count }) if rules.counted => (header, Some(count)),
        _ => (0, None),
    };
    let mut marks = match stage {
        Stage::Start if why == Cut::End => Marks::NONE,
        _ => Marks::SPLIT,
    };
    let Some(rest) = rest else {
        if end > start {
            let evicted = why == Cut::Evicted;
            let longest = rules.event_bytes_max;
            if stage == Stage::Start && !evicted && end - start <= longest {
                records.push(u32_of(start), u32_of(end - start), pri(&bytes[start..end], rules));
            } else {
                push_pieces(bytes, start..end, stage == Stage::Middle, rules, records);
            }
        }
        return if why == Cut::Evicted { Stage::Middle } else { Stage::Start };
    };
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
        let pri = if stage == Stage::Start { pri(&bytes[body..end], rules) } else { None };
        records.push_marked(u32_of(body), u32_of(end - body), pri, marks);
    }
    if why == Cut::Evicted { Stage::Counted(rest - (end - body)) } else { Stage::Start }
}

/// Whether the unfinished frame `carry` needs to stand before `fresh` now: because it ends there,
/// or has become too long, or what it is was not known. Looks at no byte of a carried line twice.
pub fn settles(carry: &[u8], stage: Stage, fresh: &[u8], rules: &Rules) -> bool {
    let bytes = carry.len() + fresh.len();
    let line = || memchr2(b'\n', 0, fresh).is_some() || bytes >= rules.event_bytes_max + 2;
    match stage {
        Stage::Counted(rest) => bytes >= rest,
        Stage::Start if rules.counted => match kind(carry, rules) {
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
    for found in memchr2_iter(b'\n', 0, &bytes[seen..]) {
        let end = seen + found;
        if bytes[end] == 0 {
            return Run { at, middle, stop: Stop::Nul(end) };
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

fn kind(bytes: &[u8], rules: &Rules) -> Kind {
    let mut count = 0_usize;
    for (index, &byte) in bytes.iter().enumerate() {
        match byte {
            b'0' if index == 0 => return Kind::Line,
            b'0'..=b'9' => count = count * 10 + usize::from(byte - b'0'),
            b' ' if index > 0 => {
                return match bytes.get(index + 1) {
                    Some(b'<') => Kind::Counted { header: index + 1, count },
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
mod tests {
    use super::*;
    use crate::event::{Origin, Page};
    use crate::limits::{BATCH_BYTES_MIN, usize_of};
    use crate::time::Wall;
    use proptest::prelude::*;

    type Text = (Vec<u8>, Marks);

    const LINES: Rules = Rules { counted: false, event_bytes_max: 64, want_pri: false };
    const SYSLOG: Rules = Rules { counted: true, ..LINES };

    /// Frames `parts` as a connection does, and ends the stream. True: contiguous.
    fn framed(parts: &[&[u8]], rules: &Rules) -> (Vec<Text>, bool) {
        let mut page = Page::new(BATCH_BYTES_MIN);
        let origin = page.push_origin(Origin::LOCAL).unwrap();
        let (at, mut held, mut stage) = (Wall(1), 0, Stage::Start);
        for part in parts {
            page.spare_mut()[held..held + part.len()].copy_from_slice(part);
            let start = usize_of(page.tail());
            let (bytes, mut records) = page.frame(u32_of(start + held + part.len()), at, origin);
            let end = bytes.len();
            let (partial, next) = frame(bytes, start, held, stage, rules, &mut records);
            let sums = records.finish();
            page.settle(sums, at, u32_of(partial));
            (held, stage) = (end - partial, next);
        }
        let start = usize_of(page.tail());
        if held > 0 {
            let (bytes, mut records) = page.frame(u32_of(start + held + 1), at, origin);
            cut(bytes, start, stage, Cut::End, rules, &mut records);
            let sums = records.finish();
            page.settle(sums, at, u32_of(start + held + 1));
        }
        let texts: Vec<Text> =
            page.events().map(|event| (event.bytes.to_vec(), event.marks)).collect();
        let joined: Vec<u8> =
            texts.iter().flat_map(|(text, _)| [&text[..], b"\n"].concat()).collect();
        if let Some(bytes) = page.contiguous() {
            assert_eq!(bytes, joined, "contiguous is a promise");
        }
        (texts, page.contiguous().is_some())
    }

    /// The same, said differently: one byte after the other from the front of the whole stream.
    fn reference(mut stream: &[u8], rules: &Rules) -> Vec<Text> {
        let mut texts = Vec::new();
        while !stream.is_empty() {
            if let Some((message, whole, rest)) = counted(stream, rules) {
                let mut text = message.to_vec();
                if whole && text.ends_with(b"\r\n") {
                    text.truncate(text.len() - 2);
                } else if whole && (text.ends_with(b"\n") || text.ends_with(b"\0")) {
                    text.pop();
                }
                let control = text.iter().any(|byte| byte.is_ascii_control() && *byte != 9);
                let mut marks = if whole { Marks::NONE } else { Marks::TRUNCATED };
                if control {
                    marks = marks.with(Marks::CONTROL);
                }
                if !text.is_empty() {
                    texts.push((text, marks));
                }
                stream = rest;
                continue;
            }
            let end = stream.iter().position(|byte| [b'\n', 0].contains(byte));
            let mut line = &stream[..end.unwrap_or(stream.len())];
            if end.is_some_and(|end| stream[end] == b'\n') {
                line = line.strip_suffix(b"\r").unwrap_or(line);
            }
            let split = line.len() > rules.event_bytes_max;
            let marks = if split { Marks::SPLIT } else { Marks::NONE };
            texts.extend(line.chunks(rules.event_bytes_max).map(|piece| (piece.to_vec(), marks)));
            stream = end.map_or(&[][..], |end| &stream[end + 1..]);
        }
        texts
    }

    fn counted<'a>(stream: &'a [u8], rules: &Rules) -> Option<(&'a [u8], bool, &'a [u8])> {
        let space = stream.iter().position(|byte| *byte == b' ').filter(|_| rules.counted)?;
        let digits = std::str::from_utf8(&stream[..space]).ok()?;
        let valid = !digits.is_empty()
            && !digits.starts_with('0')
            && digits.bytes().all(|byte| byte.is_ascii_digit());
        let count: usize = digits.parse().ok().filter(|_| valid)?;
        let body = &stream[space + 1..];
        if count > rules.event_bytes_max || body.first() != Some(&b'<') {
            return None;
        }
        let whole = count <= body.len();
        let (message, rest) = body.split_at(count.min(body.len()));
        Some((message, whole, rest))
    }

    fn plain(texts: &[&str]) -> Vec<Text> {
        texts.iter().map(|text| (text.as_bytes().to_vec(), Marks::NONE)).collect()
    }

    #[test]
    fn lines_end_at_lf_or_nul_and_stay_where_they_are() {
        let stream = b"<13>one\ntwo\0three\r\0 four";
        assert_eq!(
            framed(&[stream], &LINES),
            (plain(&["<13>one", "two", "three\r", " four"]), true)
        );
        assert_eq!(framed(&[b"one\r\n\n\0\r\ntwo\n"], &LINES), (plain(&["one", "two"]), false));
        assert_eq!(framed(&[b"\r\r\n"], &LINES).0, plain(&["\r"]));
    }

    #[test]
    fn counted_frames_are_told_from_lines_frame_by_frame() {
        let stream = b"7 <1>abc200 OK\n<2>line\n5 <3>\n\n8 <4>a\nb\r\n12 ";
        let mut expected = plain(&["<1>abc", "200 OK", "<2>line", "<3>", "<4>a\nb", "12 "]);
        // The count 7 takes a byte of what follows.
        expected[0].0 = b"<1>abc2".to_vec();
        expected[1].0 = b"00 OK".to_vec();
        // "5 <3>\n\n": the frame takes both newlines and drops one.
        expected[3].0 = b"<3>\n".to_vec();
        expected[3].1 = Marks::CONTROL;
        expected[4].1 = Marks::CONTROL;
        assert_eq!(framed(&[stream], &SYSLOG).0, expected);
        assert_eq!(framed(&[b"200 OK\n6 <1>a\n"], &LINES), (plain(&["200 OK", "6 <1>a"]), true));
    }

    #[test]
    fn absurd_counts_are_lines() {
        for line in [
            "0 <1>a",
            "007 <1>abcd",
            "-5 <1>a",
            "+5 <1>ab",
            "65 <1>a",
            "99999999999999999999 <1>a",
            "6  <1>a",
            "6 a<1>b",
            "6<1>abc",
            "6 ",
            "6",
            " 6 <1>abc",
            "6\t<1>abc",
        ] {
            let stream = format!("{line}\n");
            assert_eq!(framed(&[stream.as_bytes()], &SYSLOG).0, plain(&[line]), "{line}");
        }
        // The largest count there may be, and a frame its sender never ended.
        let largest = format!("64 <{}>", "x".repeat(62));
        assert_eq!(framed(&[largest.as_bytes()], &SYSLOG).0, plain(&[&largest[3..]]));
        let torn = framed(&[b"20 <1>abc"], &SYSLOG).0;
        assert_eq!(torn, [(b"<1>abc".to_vec(), Marks::TRUNCATED)]);
    }

    #[test]
    fn a_line_longer_than_the_longest_event_is_split_and_nothing_of_it_lost() {
        for length in [63, 64, 65, 127, 128, 129, 1000] {
            for ending in ["\n", "\r\n", "\0", ""] {
                let stream = ["y".repeat(length), ending.to_owned(), "z\n".to_owned()].concat();
                let (texts, _) = framed(&[stream.as_bytes()], &LINES);
                assert_eq!(texts, reference(stream.as_bytes(), &LINES), "{length} {ending:?}");
                let split = texts.iter().filter(|(_, marks)| *marks == Marks::SPLIT).count();
                let whole = length + if ending.is_empty() { 1 } else { 0 };
                assert_eq!(split, if whole > 64 { whole.div_ceil(64) } else { 0 });
            }
        }
    }

    #[test]
    fn evicted_frames_go_on_where_they_were_cut() {
        for (stream, rules) in
            [(&b"a long line\nb\n"[..], &LINES), (b"20 <13>counted message\n6 <1>abc", &SYSLOG)]
        {
            for cut_at in 4..stream.len() {
                let mut page = Page::new(BATCH_BYTES_MIN);
                let origin = page.push_origin(Origin::LOCAL).unwrap();
                let at = Wall(1);
                page.spare_mut()[..cut_at].copy_from_slice(&stream[..cut_at]);
                let (bytes, mut records) = page.frame(u32_of(cut_at), at, origin);
                let (partial, stage) = frame(bytes, 0, 0, Stage::Start, rules, &mut records);
                let sums = records.finish();
                page.settle(sums, at, u32_of(partial));
                let begun = &stream[partial..cut_at];
                if begun.is_empty() || rules.counted && kind(begun, rules) == Kind::Undecided {
                    continue;
                }
                let (bytes, mut records) = page.frame(u32_of(cut_at + 1), at, origin);
                let stage = cut(bytes, partial, stage, Cut::Evicted, rules, &mut records);
                let sums = records.finish();
                page.settle(sums, at, u32_of(cut_at + 1));
                let rest = &stream[cut_at..];
                page.spare_mut()[..rest.len()].copy_from_slice(rest);
                let start = cut_at + 1;
                let (bytes, mut records) = page.frame(u32_of(start + rest.len()), at, origin);
                let (end, stage) = frame(bytes, start, 0, stage, rules, &mut records);
                assert_eq!((end, stage), (start + rest.len(), Stage::Start));
                let sums = records.finish();
                page.settle(sums, at, u32_of(end));
                let texts: Vec<u8> = page.events().flat_map(|event| event.bytes.to_vec()).collect();
                let whole: Vec<u8> =
                    reference(stream, rules).into_iter().flat_map(|(text, _)| text).collect();
                assert_eq!(texts, whole, "cut at {cut_at}");
                assert!(page.events().any(|event| event.marks == Marks::SPLIT));
            }
        }
    }

    fn stream() -> impl Strategy<Value = Vec<u8>> {
        let text = "[ -~]{0,9}";
        let part = prop_oneof![
            6 => text.prop_map(|text| format!("<13>{text}\n").into_bytes()),
            6 => text.prop_map(|text| format!("{} <13>{text}", text.len() + 4).into_bytes()),
            2 => text.prop_map(|text| format!("{} <13>{text}\n", text.len() + 5).into_bytes()),
            2 => text.prop_map(|text| format!("{text}\r\n").into_bytes()),
            2 => text.prop_map(|text| format!("{text}\0").into_bytes()),
            1 => "[x\r]{50,150}\r?\n".prop_map(String::into_bytes),
            1 => "[0-9]{1,3} ?<?".prop_map(String::into_bytes),
            1 => prop::collection::vec(prop::sample::select(&b"\r\n\0 1<a\x7f\t"[..]), 0..6),
        ];
        prop::collection::vec(part, 0..8).prop_map(|parts| parts.concat())
    }

    proptest! {
        #[test]
        fn any_split_gives_the_same_events(stream in stream(), a in 0.0..1.0, b in 0.0..1.0) {
            for rules in [&LINES, &SYSLOG] {
                let expected = reference(&stream, rules);
                prop_assert_eq!(&framed(&[&stream], rules).0, &expected, "whole");
                let bytes: Vec<&[u8]> = stream.chunks(1).collect();
                prop_assert_eq!(&framed(&bytes, rules).0, &expected, "byte by byte");
                for at in 0..stream.len() {
                    let (front, back) = stream.split_at(at);
                    prop_assert_eq!(&framed(&[front, back], rules).0, &expected, "at {}", at);
                }
                let (a, b): (f64, f64) = (a, b);
                let place = |share: f64| (share * stream.len() as f64) as usize;
                let (low, high) = (place(a.min(b)), place(a.max(b)));
                let parts = [&stream[..low], &stream[low..high], &stream[high..]];
                prop_assert_eq!(&framed(&parts, rules).0, &expected, "{} {}", low, high);
            }
        }

        #[test]
        fn settles_says_when_the_carry_is_needed(stream in stream(), at in 0.0..1.0) {
            for rules in [&LINES, &SYSLOG] {
                let at = (at * stream.len() as f64) as usize;
                let (front, back) = stream.split_at(at);
                // Where the partial frame of the front begins.
                let mut page = Page::new(BATCH_BYTES_MIN);
                let origin = page.push_origin(Origin::LOCAL).unwrap();
                page.spare_mut()[..front.len()].copy_from_slice(front);
                let (bytes, mut records) = page.frame(u32_of(front.len()), Wall(1), origin);
                let (partial, stage) = frame(bytes, 0, 0, Stage::Start, rules, &mut records);
                let _ = records.finish();
                let carry = &front[partial..];
                if carry.is_empty() || settles(carry, stage, back, rules) {
                    continue;
                }
                // Not needed: then nothing was framed, and the same stays unfinished.
                let joined = [carry, back].concat();
                page.spare_mut()[..joined.len()].copy_from_slice(&joined);
                let (bytes, mut records) = page.frame(u32_of(joined.len()), Wall(1), origin);
                let after = frame(bytes, 0, 0, stage, rules, &mut records);
                prop_assert_eq!(after, (0, stage));
                prop_assert_eq!(records.finish(), crate::event::Sums::default());
            }
        }
    }
}
