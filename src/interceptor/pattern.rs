//! Java's regular expressions, for configurations that were written for Flume.
//!
//! An expression is translated (`java`) and goes to `regex`, in linear time, where that can do it;
//! look-around, back-references and possessive quantifiers go to `fancy-regex`, which gives up on
//! a text after a bounded number of steps: that is no match. It looks at texts that are UTF-8 only;
//! `regex` looks at any bytes.

mod java;
mod replacement;

use fancy_regex::Regex as Backtracking;
use regex::bytes::{CaptureLocations, Regex, RegexBuilder};

use crate::config::Section;

pub(super) use replacement::Replacement;

/// A compiled expression may take so much memory; what is larger is refused by name.
const REGEX_BYTES_MAX: usize = 1 << 20;
/// Steps after which a backtracking search gives up on a text: some tens of milliseconds.
const STEPS_MAX: usize = 1_000_000;

#[derive(Clone, Debug)]
pub(super) enum Pattern {
    Linear(Regex),
    Backtracking(Box<Backtracking>),
}

/// The groups of a match, the whole match first. Used again for each search.
#[derive(Debug, Default)]
pub(super) struct Groups {
    locations: Option<CaptureLocations>,
    spans: Vec<Option<(usize, usize)>>,
}

impl Groups {
    /// Where a group matched.
    pub(super) fn span(&self, group: usize) -> Option<(usize, usize)> {
        self.spans.get(group).copied().flatten()
    }
}

impl Pattern {
    /// Reads an expression; what is none is told, and so is one that must be there and is not.
    pub(super) fn read(section: &Section, key: &'static str) -> Option<Self> {
        Self::read_as(section, key, |text| text)
    }

    /// One that must match all of a text.
    pub(super) fn read_whole(section: &Section, key: &'static str) -> Option<Self> {
        Self::read_as(section, key, |text| format!("\\A(?:{text})\\z"))
    }

    fn read_as(
        section: &Section,
        key: &'static str,
        wrap: impl Fn(String) -> String,
    ) -> Option<Self> {
        let text = section.optional_text(key)?;
        match Self::new(&text, wrap) {
            Ok(pattern) => Some(pattern),
            Err(why) => {
                let shown = text.escape_debug();
                let what = format!("`{key}`: \"{shown}\" is no regular expression: {why}");
                section.fail(key, what, "see docs.rs/regex for the syntax; Java's is translated");
                None
            }
        }
    }

    fn new(text: &str, wrap: impl Fn(String) -> String) -> Result<Self, String> {
        let java::Translated { text, possessive } = java::translate(text);
        let text = wrap(text);
        let linear = RegexBuilder::new(&text).size_limit(REGEX_BYTES_MAX).build();
        let why = match linear {
            Ok(regex) if !possessive => return Ok(Self::Linear(regex)),
            Ok(_) => String::new(),
            Err(error) => {
                let why = error.to_string();
                let why = why.lines().last().unwrap_or_default().trim();
                why.trim_start_matches("error: ").to_owned()
            }
        };
        let mut builder = fancy_regex::RegexBuilder::new(&text);
        builder.backtrack_limit(STEPS_MAX).delegate_size_limit(REGEX_BYTES_MAX);
        let built = builder.build().map(|regex| Self::Backtracking(Box::new(regex)));
        // What the first cannot do at all the other knows more about.
        let beyond = why.contains("not supported");
        built.map_err(|error| if beyond { error.to_string() } else { why })
    }

    /// Groups beside the whole match.
    pub(super) fn groups(&self) -> usize {
        match self {
            Self::Linear(regex) => regex.captures_len() - 1,
            Self::Backtracking(regex) => regex.captures_len() - 1,
        }
    }

    /// The number of the group of that name.
    pub(super) fn group_named(&self, name: &str) -> Option<usize> {
        match self {
            Self::Linear(regex) => regex.capture_names().position(|own| own == Some(name)),
            Self::Backtracking(regex) => regex.capture_names().position(|own| own == Some(name)),
        }
    }

    /// Whether it is found anywhere.
    pub(super) fn matches(&self, text: &[u8]) -> bool {
        match self {
            Self::Linear(regex) => regex.is_match(text),
            Self::Backtracking(regex) => {
                std::str::from_utf8(text).is_ok_and(|text| regex.is_match(text).unwrap_or(false))
            }
        }
    }

    /// Finds the first match at `from` or behind it.
    pub(super) fn find(&self, text: &[u8], from: usize, groups: &mut Groups) -> bool {
        groups.spans.clear();
        match self {
            Self::Linear(regex) => {
                let locations = groups.locations.get_or_insert_with(|| regex.capture_locations());
                if regex.captures_read_at(locations, text, from).is_none() {
                    return false;
                }
                groups.spans.extend((0..locations.len()).map(|group| locations.get(group)));
            }
            Self::Backtracking(regex) => {
                let found = std::str::from_utf8(text).ok();
                let found = found.and_then(|text| regex.captures_from_pos(text, from).ok()?);
                let Some(found) = found else { return false };
                let span = |group| found.get(group).map(|it| (it.start(), it.end()));
                groups.spans.extend((0..found.len()).map(span));
            }
        }
        true
    }

    /// What stands between its matches.
    pub(super) fn split(&self, text: &str) -> Vec<String> {
        let (mut pieces, mut from, mut groups) = (Vec::new(), 0, Groups::default());
        let mut search = 0;
        while self.find(text.as_bytes(), search, &mut groups)
            && let Some((start, end)) = groups.span(0)
        {
            if end > start {
                pieces.push(text[from..start].to_owned());
                from = end;
            }
            search = if end > start { end } else { next_char(text.as_bytes(), end) };
            if search > text.len() {
                break;
            }
        }
        pieces.push(text[from..].to_owned());
        pieces
    }
}

/// Where the character behind `at` begins; one behind the end at the end.
fn next_char(text: &[u8], at: usize) -> usize {
    let tail = |byte: &u8| *byte & 0b1100_0000 == 0b1000_0000;
    let behind = text.get(at + 1..).unwrap_or_default();
    at + 1 + behind.iter().take(3).take_while(|byte| tail(byte)).count()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pattern(text: &str) -> Pattern {
        Pattern::new(text, |text| text).unwrap_or_else(|why| panic!("{text}: {why}"))
    }

    #[test]
    fn what_can_be_linear_is() {
        for (text, linear) in [
            (r"a\d+(?<name>x)", true),
            (r"\Qa.b\E|[\w.-]+@\p{Alpha}", true),
            (r"(\w)\1", false),
            (r"foo(?=bar)", false),
            (r"a++b", false),
            (r"x\Z", false),
        ] {
            assert_eq!(matches!(pattern(text), Pattern::Linear(_)), linear, "{text}");
        }
    }

    #[test]
    fn matches_as_java_would() {
        for (text, yes, no) in [
            (r"^\d+$", "12", "\u{0661}"),
            (r"^\w+$", "a_1", "\u{e9}"),
            (r"^[\d.]+$", "1.2", "a"),
            (r"^[^\s]+$", "a\u{a0}b", "a b"),
            (r"^\QA.B\E$", "A.B", "AxB"),
            (r"^\p{Upper}\p{Punct}$", "A!", "a!"),
            (r"(\w)\1", "aa", "ab"),
            (r"^(?!.*secret).*$", "open", "a secret"),
            (r"^a++a$", "b", "aaa"),
            (r"^\x41\u0042\t$", "AB\t", "AB"),
            (r"^[a-z&&[^bc]]+$", "ad", "ab"),
        ] {
            let pattern = pattern(text);
            assert!(text == r"^a++a$" || pattern.matches(yes.as_bytes()), "{text} {yes}");
            assert!(!pattern.matches(no.as_bytes()), "{text} {no}");
        }
        assert!(pattern("b").matches(b"\xffb"), "any bytes");
        assert!(!pattern("b(?=c)").matches(b"\xffbc"), "UTF-8 only");
        // Exponential for a backtracker: it gives up, and that is no match.
        assert!(!pattern(r"^(a|aa)+\1$(?=x)").matches(&[b'a'; 64]));
    }

    /// Java's would be found before a last line end, too.
    #[test]
    fn a_dollar_is_the_end_alone_and_a_line_end_can_be_taken_along() {
        for (text, both) in [("a$", r"a\R?$"), (r"(a)\1$", r"(a)\1\R?$")] {
            assert!(pattern(text).matches(b"aa"));
            for end in ["\n", "\r\n", "\r"] {
                let line = format!("aa{end}");
                assert!(!pattern(text).matches(line.as_bytes()), "{text} {end:?}");
                assert!(pattern(both).matches(line.as_bytes()), "{both} {end:?}");
            }
        }
    }

    #[test]
    fn splits_as_java_does() {
        assert_eq!(pattern(r"\s*,\s*").split("a ,b,  c"), ["a", "b", "c"]);
        assert_eq!(pattern(r"\s*").split("ab c"), ["ab", "c"]);
        assert_eq!(pattern(",").split(""), [""]);
    }
}
