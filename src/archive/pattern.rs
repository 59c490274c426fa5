//! What is looked for: a text or a regular expression, found in many lines at once.
//!
//! A whole block is searched, and only around a hit are the ends of its line found. For no match to
//! run over the end of a line, an expression is rewritten first: no class in it holds LF, `^` and
//! `$` are the ends of a line, and a literal LF matches nothing. Then searching all lines at once
//! finds exactly what searching each of them would.

use std::ops::Range;

use super::words::{self, Needs};
use crate::storage::tokens::Word;
use memchr::memmem::Finder;
use regex::bytes::{Regex, RegexBuilder};
use regex_syntax::ParserBuilder;
use regex_syntax::hir::{self, Class, Hir, HirKind, Literal, Look};

/// A compiled pattern. A clone for each thread: they then share nothing that is written to.
#[derive(Clone, Debug)]
pub struct Pattern {
    search: Search,
    needs: Needs,
}

#[derive(Clone, Debug)]
enum Search {
    /// The empty pattern: every line.
    Everything,
    Literal(Box<Finder<'static>>),
    Expression(Regex),
}

/// How a pattern is to be read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Reading {
    /// As text, not as an expression.
    pub fixed: bool,
    pub ignore_case: bool,
    /// Nothing of a word stands beside a match.
    pub word: bool,
}

#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct PatternError(String);

/// A compiled expression may take so much memory; what is larger is refused.
const REGEX_BYTES_MAX: usize = 64 << 20;

impl Pattern {
    /// Several patterns stand on lines of their own; each of them may match.
    pub fn new(text: &str, reading: Reading) -> Result<Self, PatternError> {
        let simple = !text.contains('\n') && !reading.ignore_case && !reading.word;
        if text.is_empty() {
            return Ok(Self { search: Search::Everything, needs: Needs::new() });
        }
        if simple && (reading.fixed || regex::escape(text) == text) {
            let finder = Box::new(Finder::new(text.as_bytes()).into_owned());
            let needs = words::needs(&Hir::literal(text.as_bytes()));
            return Ok(Self { search: Search::Literal(finder), needs });
        }
        let hir = within_a_line(text, reading)?;
        let (expression, needs) = (hir.to_string(), words::needs(&hir));
        let regex = RegexBuilder::new(&expression).size_limit(REGEX_BYTES_MAX).build();
        let regex = regex.map_err(|error| PatternError(error.to_string()))?;
        Ok(Self { search: Search::Expression(regex), needs })
    }

    /// Words of which every line that matches holds all of one list; empty when none is certain.
    pub fn needs(&self) -> &[Vec<Word>] {
        &self.needs
    }

    /// A place in the first line at or behind `from` that matches, `from` being the beginning of a
    /// line; the place of its LF is a place in it. Possibly `text.len()`, where no line is.
    pub fn place(&self, text: &[u8], from: usize) -> Option<usize> {
        match &self.search {
            Search::Everything => Some(from),
            Search::Literal(finder) => finder.find(&text[from..]).map(|at| from + at),
            Search::Expression(regex) => regex.shortest_match_at(text, from),
        }
    }

    /// The empty pattern, which matches every line.
    pub fn is_everything(&self) -> bool {
        matches!(self.search, Search::Everything)
    }

    /// Whether one line matches.
    pub fn matches(&self, line: &[u8]) -> bool {
        self.place(line, 0).is_some()
    }

    /// The parts of a line that match and are not empty, in order.
    pub fn parts<'a>(&'a self, line: &'a [u8]) -> Box<dyn Iterator<Item = Range<usize>> + 'a> {
        match &self.search {
            Search::Everything => Box::new(std::iter::empty()),
            Search::Literal(finder) => {
                let length = finder.needle().len();
                Box::new(finder.find_iter(line).map(move |at| at..at + length))
            }
            Search::Expression(regex) => {
                let found = regex.find_iter(line).map(|found| found.range());
                Box::new(found.filter(|range| !range.is_empty()))
            }
        }
    }
}

/// One expression for all of them, of which no match holds LF.
fn within_a_line(text: &str, reading: Reading) -> Result<Hir, PatternError> {
    let mut parser = ParserBuilder::new();
    parser.utf8(false).case_insensitive(reading.ignore_case);
    let mut parts = Vec::new();
    for line in text.split('\n') {
        let line = if reading.fixed { regex::escape(line) } else { line.to_owned() };
        let parsed = parser.build().parse(&line);
        let part = without_lf(&parsed.map_err(|error| PatternError(error.to_string()))?);
        let [begins, ends] = [Look::WordStartHalfUnicode, Look::WordEndHalfUnicode].map(Hir::look);
        parts.push(if reading.word { Hir::concat(vec![begins, part, ends]) } else { part });
    }
    Ok(Hir::alternation(parts))
}

fn without_lf(hir: &Hir) -> Hir {
    match hir.kind() {
        HirKind::Empty => Hir::empty(),
        HirKind::Literal(Literal(bytes)) if bytes.contains(&b'\n') => Hir::fail(),
        HirKind::Literal(Literal(bytes)) => Hir::literal(bytes.clone()),
        HirKind::Class(Class::Unicode(class)) => {
            let mut class = class.clone();
            class.difference(&hir::ClassUnicode::new([hir::ClassUnicodeRange::new('\n', '\n')]));
            Hir::class(Class::Unicode(class))
        }
        HirKind::Class(Class::Bytes(class)) => {
            let mut class = class.clone();
            class.difference(&hir::ClassBytes::new([hir::ClassBytesRange::new(b'\n', b'\n')]));
            Hir::class(Class::Bytes(class))
        }
        HirKind::Look(Look::Start) => Hir::look(Look::StartLF),
        HirKind::Look(Look::End) => Hir::look(Look::EndLF),
        HirKind::Look(look) => Hir::look(*look),
        HirKind::Repetition(repetition) => {
            Hir::repetition(repetition.with(without_lf(&repetition.sub)))
        }
        HirKind::Capture(capture) => without_lf(&capture.sub),
        HirKind::Concat(parts) => Hir::concat(parts.iter().map(without_lf).collect()),
        HirKind::Alternation(parts) => Hir::alternation(parts.iter().map(without_lf).collect()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn pattern(text: &str, fixed: bool, ignore_case: bool) -> Pattern {
        Pattern::new(text, Reading { fixed, ignore_case, word: false }).unwrap()
    }

    /// Numbers of the lines that match, found as a block is searched.
    fn found(pattern: &Pattern, text: &[u8]) -> Vec<usize> {
        let (mut from, mut lines) = (0, Vec::new());
        while let Some(place) = pattern.place(text, from).filter(|place| *place < text.len()) {
            lines.push(text[..place].iter().filter(|byte| **byte == b'\n').count());
            from = match memchr::memchr(b'\n', &text[place..]) {
                Some(at) => place + at + 1,
                None => break,
            };
            if from == text.len() {
                break;
            }
        }
        lines
    }

    #[test]
    fn no_match_runs_over_the_end_of_a_line() {
        let text = b"alpha one\n\nbeta two \xff\ngamma\n";
        for (expression, lines) in [
            ("a", vec![0, 2, 3]),
            ("^beta", vec![2]),
            ("one$", vec![0]),
            (r"\Aalpha|\Agamma\z", vec![0, 3]),
            ("one[^x]*beta", vec![]),
            (r"one\s+beta", vec![]),
            (r"one\nbeta", vec![]),
            ("(?s)one.*two", vec![]),
            ("^$", vec![1]),
            (r"^\W*$", vec![1]),
            ("x*", vec![0, 1, 2, 3]),
            (r"(?-u)\xff", vec![2]),
            (r"two .$", vec![]),
            ("one\ntwo", vec![0, 2]),
            ("(alpha) (one)", vec![0]),
            ("a{2}|m{2}", vec![3]),
            (r"\bone\b", vec![0]),
        ] {
            assert_eq!(found(&pattern(expression, false, false), text), lines, "{expression}");
        }
    }

    #[test]
    fn texts_are_taken_as_they_are() {
        let text = b"a.c\nabc\nA.C\n";
        assert_eq!(found(&pattern("a.c", true, false), text), [0]);
        assert_eq!(found(&pattern("a.c", true, true), text), [0, 2]);
        assert_eq!(found(&pattern("a.c", false, false), text), [0, 1]);
        assert_eq!(found(&pattern("(\nbc", true, false), text), [1]);
        assert_eq!(found(&pattern("", true, false), text), [0, 1, 2]);
        let error = Pattern::new("a(", Reading::default()).unwrap_err();
        assert!(error.to_string().contains("unclosed group"), "{error}");
    }

    #[test]
    fn parts_of_a_line() {
        let parts = |expression: &str, line: &str| -> Vec<Range<usize>> {
            pattern(expression, false, false).parts(line.as_bytes()).collect()
        };
        assert_eq!(parts("ab", "abcab"), [0..2, 3..5]);
        assert_eq!(parts("b*", "abba"), [Range { start: 1, end: 3 }]);
        assert!(parts("", "abba").is_empty());
    }

    proptest! {
        /// All lines at once, or each alone with the expression as it was written: the same.
        #[test]
        fn a_block_is_searched_as_its_lines_are(
            expression in r"([ab.]|\^|\$|\[\^a\]|\(a\|b\)|\\s|\\b|\\W|x\*|a\+\?|(a|b)\{1,2\}){1,5}",
            lines in prop::collection::vec("[ab x]{0,6}", 1..6),
            fixed: bool,
            ignore_case: bool,
        ) {
            let text = lines.join("\n") + "\n";
            let written = if fixed { regex::escape(&expression) } else { expression.clone() };
            let Ok(plain) = regex::bytes::RegexBuilder::new(&written)
                .case_insensitive(ignore_case)
                .build() else { return Ok(()) };
            let expected: Vec<usize> = lines
                .iter()
                .enumerate()
                .filter(|(_, line)| plain.is_match(line.as_bytes()))
                .map(|(number, _)| number)
                .collect();
            let pattern = pattern(&expression, fixed, ignore_case);
            prop_assert_eq!(found(&pattern, text.as_bytes()), expected, "{}", expression);
            for line in &lines {
                prop_assert_eq!(pattern.matches(line.as_bytes()), plain.is_match(line.as_bytes()));
            }
        }
    }
}
