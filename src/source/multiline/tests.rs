//! Joined lines against the same said simply, byte by byte, however the bytes arrive.

use super::*;
use crate::event::{HeaderMap, Names, Origin, Page};
use crate::source::carry::Carries;
use crate::source::connection::{Desk, Stream, Visit};
use crate::time::Wall;
use proptest::prelude::*;
use std::io::{self, Read};

const MAX: usize = 100;
const RULES: Rules = Rules { counted: false, zipped: false, event_bytes_max: MAX, want_pri: true };

type Text = (Vec<u8>, Marks, Option<u8>);

/// What happens to a stream.
#[derive(Clone, Debug)]
enum Step {
    Bytes(Vec<u8>),
    /// Nothing came for long enough.
    Age,
    /// Its memory is needed.
    Evict,
}

fn multiline(start: &str) -> Arc<Multiline> {
    Arc::new(Multiline { start: vec![Regex::new(start).unwrap()], age: Duration::from_secs(1) })
}

/// The events of a stream whose bytes come in writes of at most `write` and reads of `read` bytes.
fn joined(rules: &Arc<Multiline>, steps: &[Step], write: usize, read: usize) -> Vec<Text> {
    let mut carries = Carries::new(frame_bytes_max(MAX), 0);
    let mut stream = Stream::joined(rules);
    let mut texts = Vec::new();
    let mut page = Page::new(64 << 10);
    let mut act = |act: &mut dyn FnMut(&mut Desk<'_>) -> bool| {
        loop {
            let (rules, at) = (&RULES, Wall(1));
            let mut desk = Desk {
                page: &mut page,
                carries: &mut carries,
                rules,
                at,
                names: Names::NONE,
                labels: &HeaderMap::NONE,
                counter: None,
            };
            if act(&mut desk) {
                return;
            }
            take(&mut page, &mut texts);
        }
    };
    for step in steps {
        match step {
            Step::Bytes(bytes) => {
                for mut left in bytes.chunks(write) {
                    act(&mut |desk| {
                        let visit =
                            stream.visit(desk, Origin::LOCAL, usize::MAX, |into| {
                                match left.by_ref().take(read as u64).read(into)? {
                                    0 => Err(io::ErrorKind::WouldBlock.into()),
                                    count => Ok(count),
                                }
                            });
                        matches!(visit, Visit::Drained)
                    });
                }
            }
            Step::Age if stream.patience().is_none() => {}
            Step::Age => act(&mut |desk| stream.end_group(desk, Origin::LOCAL)),
            Step::Evict => act(&mut |desk| stream.flush(desk, Origin::LOCAL, Cut::Evicted)),
        }
    }
    act(&mut |desk| stream.flush(desk, Origin::LOCAL, Cut::End));
    take(&mut page, &mut texts);
    assert_eq!(carries.lent_bytes(), 0);
    texts
}

/// Takes the page's events, and gives an empty page back.
fn take(page: &mut Page, texts: &mut Vec<Text>) {
    let events = || page.events().map(|event| event.bytes);
    if let Some(bytes) = page.contiguous() {
        let lines: Vec<u8> = events().flat_map(|text| [text, b"\n"].concat()).collect();
        assert_eq!(bytes, lines, "contiguous is a promise");
        assert!(events().all(|text| !text.contains(&b'\n')), "`raw` has to look at what is joined");
    }
    texts.extend(page.events().map(|event| (event.bytes.to_vec(), event.marks, event.pri)));
    let serial = page.serial() + 1;
    page.clear(serial);
}

/// The same, said simply.
struct Simple<'a> {
    rules: &'a Multiline,
    lines: Vec<Vec<u8>>,
    /// Bytes that the lines came in, with all that ended them.
    came: usize,
    line: Vec<u8>,
    torn: bool,
    middle: bool,
    texts: Vec<Text>,
}

impl Simple<'_> {
    fn of(rules: &Multiline, steps: &[Step]) -> Vec<Text> {
        let (lines, line, texts) = Default::default();
        let mut it = Simple { rules, lines, came: 0, line, torn: false, middle: false, texts };
        for step in steps {
            match step {
                Step::Bytes(bytes) => bytes.iter().for_each(|byte| it.push(*byte)),
                Step::Age if it.lines.is_empty() => {}
                Step::Age => {
                    it.flush(it.torn);
                    it.torn = false;
                }
                Step::Evict if it.lines.is_empty() && it.line.is_empty() => {}
                Step::Evict => {
                    it.flush(true);
                    it.middle |= !it.line.is_empty() && it.pieces(it.line.len());
                    it.torn = true;
                }
            }
        }
        if !it.line.is_empty() {
            it.end_line(None);
        }
        it.flush(it.torn);
        it.texts
    }

    fn push(&mut self, byte: u8) {
        if [b'\n', 0].contains(&byte) {
            return self.end_line(Some(byte));
        }
        self.line.push(byte);
        if self.line.len() == MAX + 2 {
            self.end_by_long_line();
            self.middle = self.pieces(MAX);
        }
    }

    fn end_by_long_line(&mut self) {
        let starts = !self.middle && self.rules.starts(&self.line[..MAX]);
        self.flush(self.torn || !starts);
        self.torn = true;
    }

    /// So many bytes of the line go, in pieces.
    fn pieces(&mut self, bytes: usize) -> bool {
        let text: Vec<u8> = self.line.drain(..bytes).collect();
        for (index, piece) in text.chunks(MAX).enumerate() {
            let pri = parse_pri(piece).filter(|_| !self.middle && index == 0);
            self.texts.push((piece.to_vec(), Marks::SPLIT, pri));
        }
        true
    }

    fn end_line(&mut self, by: Option<u8>) {
        let came = self.line.len() + 1;
        if by == Some(b'\n') && self.line.ends_with(b"\r") {
            self.line.pop();
        }
        if self.middle || self.line.len() > MAX {
            if !self.middle {
                self.end_by_long_line();
            }
            self.pieces(self.line.len());
            self.middle = false;
            return;
        }
        let line = std::mem::take(&mut self.line);
        if self.rules.starts(&line) {
            self.flush(self.torn);
            self.torn = false;
        } else if !self.lines.is_empty() && self.came + line.len() > MAX {
            self.flush(true);
            self.torn = true;
        }
        if !(self.lines.is_empty() && line.is_empty()) {
            self.lines.push(line);
            self.came += came;
        }
    }

    fn flush(&mut self, split: bool) {
        while self.lines.last().is_some_and(Vec::is_empty) {
            self.lines.pop();
        }
        let text = std::mem::take(&mut self.lines).join(&b'\n');
        self.came = 0;
        if text.is_empty() {
            return;
        }
        let mut marks = if split { Marks::SPLIT } else { Marks::NONE };
        if text.contains(&b'\n') {
            marks = marks.with(Marks::CONTROL);
        }
        let pri = parse_pri(&text).filter(|_| !self.torn);
        self.texts.push((text, marks, pri));
    }
}

fn bytes(text: &str) -> Step {
    Step::Bytes(text.as_bytes().to_vec())
}

fn texts(found: &[Text]) -> Vec<(&str, bool)> {
    let found = found.iter();
    found.map(|it| (std::str::from_utf8(&it.0).unwrap(), it.1.contains(Marks::SPLIT))).collect()
}

#[test]
fn a_stack_trace_is_one_event() {
    let rules = multiline(r"^\d\d:\d\d |^<\d+>");
    let stream =
        "\tat a rest\n14:02 one\n14:03 no such row\r\n\tat load\n\n\tat main\n\n\n<13>14:04\n";
    let found = joined(&rules, &[bytes(stream)], 7, 5);
    let expected =
        ["\tat a rest", "14:02 one", "14:03 no such row\n\tat load\n\n\tat main", "<13>14:04"];
    assert_eq!(texts(&found), expected.map(|text| (text, false)));
    let joined: Vec<bool> = found.iter().map(|it| it.1 == Marks::CONTROL).collect();
    assert_eq!(joined, [false, false, true, false]);
    assert_eq!(found[3].2, Some(13));
}

#[test]
fn a_group_ends_by_age_and_what_comes_late_stands_alone() {
    let rules = multiline("^>");
    let steps =
        [bytes("> one\nmore\nha"), Step::Age, bytes("lf\nrest\n"), Step::Age, bytes("> two")];
    let found = joined(&rules, &steps, 99, 99);
    assert_eq!(texts(&found), ["> one\nmore", "half\nrest", "> two"].map(|text| (text, false)));
}

#[test]
fn what_outgrows_the_longest_event_ends_where_a_line_ends() {
    let rules = multiline("^>");
    let line = |byte: char| byte.to_string().repeat(40);
    let stream = format!("> a\n{}\n{}\n{}\n{}\n> b\n", line('b'), line('c'), line('d'), line('e'));
    let found = joined(&rules, &[bytes(&stream)], 9, 9);
    let expected = [
        (format!("> a\n{}\n{}", line('b'), line('c')), true),
        (format!("{}\n{}", line('d'), line('e')), true),
        ("> b".to_owned(), false),
    ];
    let expected: Vec<_> = expected.iter().map(|(text, split)| (text.as_str(), *split)).collect();
    assert_eq!(texts(&found), expected);
    let long = format!("> a\nb\n{}\nc\nd\n> e", "x".repeat(250));
    let found = joined(&rules, &[bytes(&long)], 9, 9);
    let lengths: Vec<(usize, bool)> =
        texts(&found).iter().map(|(text, split)| (text.len(), *split)).collect();
    assert_eq!(lengths, [(5, true), (100, true), (100, true), (50, true), (3, true), (3, false)]);
}

#[test]
fn the_row_is_read() {
    use crate::source::SOURCES;
    for (kind, rest) in [("stdin", ""), ("tcp", "listen = 'tcp://127.0.0.1:0'")] {
        for (row, told) in [
            ("{ start = '^a' }", None),
            ("{ start = ['^a', 'b$'], age = '5s' }", None),
            ("{}", Some("nothing begins an event in")),
            ("{ start = [] }", Some("nothing begins an event in")),
            ("{ age = '5s' }", Some("nothing begins an event in")),
            ("{ start = 'a(' }", Some("is no regular expression: unclosed group")),
            ("{ start = 'a', age = '0s' }", Some("0s is below 10ms")),
            ("{ start = 'a', end = 'b' }", Some("unknown key `end`")),
            ("'^a'", Some("expected a table")),
        ] {
            let kind = SOURCES.iter().find(|it| it.name == kind).unwrap();
            let section = Section::parse(&format!("{rest}\nmultiline = {row}"), kind.options);
            (kind.plan)(&section);
            section.finish();
            let lines = section.diagnostics().lines();
            match told {
                None => assert_eq!(lines, Vec::<String>::new(), "{row}"),
                Some(told) => {
                    assert!(lines.len() == 1 && lines[0].contains(told), "{row}: {lines:?}");
                }
            }
        }
    }
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let text = prop_oneof![
        4 => "> [a-c ]{0,9}\n".prop_map(String::into_bytes),
        4 => "[a-c >]{0,30}\n".prop_map(String::into_bytes),
        2 => "[a-c]{0,3}\r\n".prop_map(String::into_bytes),
        1 => "<1[0-9]>[a-c]{0,3}\0".prop_map(String::into_bytes),
        1 => "[>a]x{90,230}\r?\n".prop_map(String::into_bytes),
        1 => prop::collection::vec(prop::sample::select(&b"\r\n\0>x"[..]), 0..6),
    ];
    let texts = prop::collection::vec(text, 1..12).prop_map(|texts| Step::Bytes(texts.concat()));
    let step = prop_oneof![6 => texts, 1 => Just(Step::Age), 1 => Just(Step::Evict)];
    prop::collection::vec(step, 0..6)
}

proptest! {
    #[test]
    fn arrival_does_not_show(steps in steps(), write in 1..200_usize, read in 1..200_usize) {
        for rules in [multiline("^>"), multiline("a$"), multiline("^$|<"), multiline("b")] {
            let expected = Simple::of(&rules, &steps);
            prop_assert_eq!(&joined(&rules, &steps, usize::MAX, usize::MAX), &expected, "whole");
            prop_assert_eq!(&joined(&rules, &steps, 1, 1), &expected, "byte by byte");
            prop_assert_eq!(&joined(&rules, &steps, write, read), &expected, "{} {}", write, read);
        }
    }

    #[test]
    fn pages_do_not_show(steps in steps(), times in 1..2000_usize, write in 1..9000_usize) {
        let mut stream = Vec::new();
        for step in &steps {
            if let Step::Bytes(bytes) = step {
                stream.extend_from_slice(bytes);
            }
        }
        let steps = [Step::Bytes(stream.repeat(1 + times.min(200_000 / stream.len().max(1))))];
        let rules = multiline("^>");
        let expected = Simple::of(&rules, &steps);
        prop_assert!(joined(&rules, &steps, usize::MAX, usize::MAX) == expected);
        prop_assert!(joined(&rules, &steps, write, usize::MAX) == expected);
    }
}
