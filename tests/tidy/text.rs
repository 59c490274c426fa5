//! Rust text as the rules see it: the same bytes with comments and literals blanked, so that a
//! word in a string is no breach; which lines are test code; and every path, `use` trees expanded.
//!
//! This is a scanner, not a parser: it knows comments, literals, braces and `::`, and that is
//! enough. What it would get wrong (macros that build paths) nobody writes here.

use std::path::Path;

/// One file of Rust.
pub(crate) struct Source {
    /// Relative to the repository, with `/`.
    pub(crate) path: String,
    pub(crate) raw: String,
    /// `raw` with the inside of comments and literals replaced by spaces; same length, same lines.
    pub(crate) code: String,
    /// Byte ranges of `code` that are compiled for tests only.
    test_ranges: Vec<(usize, usize)>,
}

/// A path such as `std::fs::File`, one per leaf of a `use` tree.
pub(crate) struct CodePath {
    pub(crate) at: usize,
    pub(crate) segments: Vec<String>,
}

impl Source {
    pub(crate) fn new(path: &str, raw: &str) -> Self {
        let code = blank(raw);
        let everything = path.starts_with("tests/") || path.starts_with("benches/");
        let test_ranges = if everything { vec![(0, code.len())] } else { test_ranges(&code) };
        Self { path: path.to_owned(), raw: raw.to_owned(), code, test_ranges }
    }

    pub(crate) fn read(root: &Path, path: &str) -> Self {
        let raw = std::fs::read_to_string(root.join(path))
            .unwrap_or_else(|error| panic!("{path}: {error}"));
        Self::new(path, &raw)
    }

    /// The whole file is test code: its `mod` line in the parent stands under `#[cfg(test)]`.
    pub(crate) fn mark_as_test(&mut self) {
        self.test_ranges = vec![(0, self.code.len())];
    }

    pub(crate) fn is_test(&self, at: usize) -> bool {
        self.test_ranges.iter().any(|&(start, end)| (start..end).contains(&at))
    }

    pub(crate) fn line(&self, at: usize) -> usize {
        line_of(&self.code, at)
    }

    pub(crate) fn paths(&self) -> Vec<CodePath> {
        paths(&self.code)
    }

    /// Where `word` stands in the code, comments and literals left out.
    pub(crate) fn find(&self, word: &str) -> Vec<usize> {
        find_word(&self.code, word)
    }
}

/// Where `word` stands as a whole word: an end of it that is a letter touches no other letter.
pub(crate) fn find_word(text: &str, word: &str) -> Vec<usize> {
    let bytes = text.as_bytes();
    let joined = |inside: u8, outside: Option<&u8>| {
        is_word(inside) && outside.is_some_and(|&byte| is_word(byte))
    };
    let (first, last) = (word.as_bytes()[0], word.as_bytes()[word.len() - 1]);
    text.match_indices(word)
        .map(|(at, _)| at)
        .filter(|&at| !joined(first, at.checked_sub(1).and_then(|before| bytes.get(before))))
        .filter(|&at| !joined(last, bytes.get(at + word.len())))
        .collect()
}

/// The line, from 1, that byte `at` is on.
pub(crate) fn line_of(text: &str, at: usize) -> usize {
    text[..at].bytes().filter(|&byte| byte == b'\n').count() + 1
}

pub(crate) fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_'
}

/// Replaces the inside of comments, strings and character literals by spaces; newlines stay.
fn blank(raw: &str) -> String {
    let bytes = raw.as_bytes();
    let mut out = bytes.to_vec();
    let mut at = 0;
    while at < bytes.len() {
        let end = match bytes[at] {
            b'/' if bytes.get(at + 1) == Some(&b'/') => line_end(bytes, at),
            b'/' if bytes.get(at + 1) == Some(&b'*') => block_comment_end(bytes, at),
            b'"' => string_end(bytes, at),
            b'r' if raw_string_hashes(bytes, at).is_some() => raw_string_end(bytes, at),
            b'\'' => char_end(bytes, at),
            _ => at + 1,
        };
        if end > at + 1 {
            for byte in &mut out[at..end] {
                *byte = if *byte == b'\n' { b'\n' } else { b' ' };
            }
        }
        at = end;
    }
    String::from_utf8_lossy(&out).into_owned()
}

fn line_end(bytes: &[u8], at: usize) -> usize {
    bytes[at..].iter().position(|&byte| byte == b'\n').map_or(bytes.len(), |n| at + n)
}

fn block_comment_end(bytes: &[u8], start: usize) -> usize {
    let (mut at, mut depth) = (start, 0);
    while at + 1 < bytes.len() {
        match &bytes[at..at + 2] {
            b"/*" => (at, depth) = (at + 2, depth + 1),
            b"*/" => (at, depth) = (at + 2, depth - 1),
            _ => at += 1,
        }
        if depth == 0 {
            return at;
        }
    }
    bytes.len()
}

fn string_end(bytes: &[u8], start: usize) -> usize {
    let mut at = start + 1;
    while at < bytes.len() {
        match bytes[at] {
            b'\\' => at += 2,
            b'"' => return at + 1,
            _ => at += 1,
        }
    }
    bytes.len()
}

/// `r"`, `r#"`, `br##"`: how many `#`, when `at` is the `r` of a raw string.
fn raw_string_hashes(bytes: &[u8], at: usize) -> Option<usize> {
    let inside_word = at > 0 && is_word(bytes[at - 1]) && bytes[at - 1] != b'b';
    let hashes = bytes[at + 1..].iter().take_while(|&&byte| byte == b'#').count();
    (!inside_word && bytes.get(at + 1 + hashes) == Some(&b'"')).then_some(hashes)
}

fn raw_string_end(bytes: &[u8], start: usize) -> usize {
    let hashes = raw_string_hashes(bytes, start).expect("the caller saw a raw string");
    let shut: Vec<u8> = std::iter::once(b'"').chain(std::iter::repeat_n(b'#', hashes)).collect();
    let from = start + hashes + 2;
    let found = bytes[from..].windows(shut.len()).position(|window| window == shut);
    found.map_or(bytes.len(), |n| from + n + shut.len())
}

/// A quote opens a character literal or a lifetime; a lifetime has no second quote close by.
fn char_end(bytes: &[u8], start: usize) -> usize {
    if bytes.get(start + 1) == Some(&b'\\') {
        let shut = bytes[start + 3..].iter().position(|&byte| byte == b'\'');
        return shut.map_or(bytes.len(), |n| start + 3 + n + 1);
    }
    // One character of up to four bytes, then the quote.
    let width = bytes[start + 1..].iter().skip(1).take_while(|&&byte| byte & 0xC0 == 0x80).count();
    let shut = start + 2 + width;
    if bytes.get(shut) == Some(&b'\'') { shut + 1 } else { start + 1 }
}

/// Items under `#[cfg(test)]`, from the attribute to the item's `;` or closing brace.
fn test_ranges(code: &str) -> Vec<(usize, usize)> {
    let bytes = code.as_bytes();
    let mut ranges = Vec::new();
    for (start, attribute) in code.match_indices("#[cfg(") {
        let shut = matching(bytes, start + 1);
        let condition = &code[start + attribute.len()..shut];
        if condition == "test)" || condition.starts_with("all(test,") {
            ranges.push((start, item_end(bytes, shut + 1)));
        }
    }
    ranges
}

/// From behind an attribute to the end of the item it stands on.
fn item_end(bytes: &[u8], from: usize) -> usize {
    let mut at = from;
    while at < bytes.len() {
        match bytes[at] {
            b'{' => return matching(bytes, at) + 1,
            b'(' | b'[' => at = matching(bytes, at) + 1,
            b';' => return at + 1,
            _ => at += 1,
        }
    }
    bytes.len()
}

/// The index of the bracket that closes the one at `open`.
pub(crate) fn matching(bytes: &[u8], open: usize) -> usize {
    let mut depth = 0;
    for (at, byte) in bytes.iter().enumerate().skip(open) {
        match byte {
            b'(' | b'[' | b'{' => depth += 1,
            b')' | b']' | b'}' => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            return at;
        }
    }
    bytes.len() - 1
}

fn paths(code: &str) -> Vec<CodePath> {
    let bytes = code.as_bytes();
    let mut found = Vec::new();
    let mut at = 0;
    while at < bytes.len() {
        if is_word(bytes[at]) {
            at = tree(bytes, at, &[], &mut found);
        } else {
            at += 1;
        }
    }
    found
}

/// Reads one path or `use` tree at `start`, pushes its leaves, returns where it ends.
fn tree(bytes: &[u8], start: usize, prefix: &[String], found: &mut Vec<CodePath>) -> usize {
    let mut segments = prefix.to_vec();
    let mut at = start;
    loop {
        let end = bytes[at..].iter().position(|&b| !is_word(b)).map_or(bytes.len(), |n| at + n);
        let word = if end == at { &bytes[at..at + 1] } else { &bytes[at..end] };
        segments.push(String::from_utf8_lossy(word).into_owned());
        let after = end.max(at + 1);
        let Some(next) = after_colons(bytes, after) else {
            found.push(CodePath { at: start, segments });
            return after;
        };
        match bytes.get(next) {
            Some(b'{') => return group(bytes, next, &segments, found),
            Some(&byte) if is_word(byte) || byte == b'*' => at = next,
            _ => {
                found.push(CodePath { at: start, segments });
                return next;
            }
        }
    }
}

fn group(bytes: &[u8], open: usize, prefix: &[String], found: &mut Vec<CodePath>) -> usize {
    let shut = matching(bytes, open);
    let mut at = open + 1;
    while at < shut {
        at = match bytes[at] {
            // `a as b`: the alias is no path of its own.
            byte if is_word(byte) || byte == b'*' => {
                let end = tree(bytes, at, prefix, found);
                let rest = bytes[end..shut].iter().position(|&b| b == b',' || b == b'}');
                rest.map_or(shut, |n| end + n)
            }
            _ => at + 1,
        };
    }
    shut + 1
}

/// The index behind a `::` that follows `at`, spaces and line ends between them allowed.
fn after_colons(bytes: &[u8], at: usize) -> Option<usize> {
    let skip = |from: usize| {
        bytes[from..]
            .iter()
            .position(|b| !b.is_ascii_whitespace())
            .map_or(bytes.len(), |n| from + n)
    };
    let colon = skip(at);
    (bytes.get(colon) == Some(&b':') && bytes.get(colon + 1) == Some(&b':'))
        .then(|| skip(colon + 2))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blanks_comments_and_literals_only() {
        let raw =
            "let a = \"x // y\"; // z\nlet b = 'c'; let l: &'a str = r#\"\"q\"\"#;/* /* */ */c";
        let code = blank(raw);
        assert_eq!(code.len(), raw.len());
        assert!(!code.contains("//") && !code.contains('q') && !code.contains("/*"));
        assert!(code.contains("let b") && code.contains("&'a str") && code.ends_with('c'));
    }

    #[test]
    fn quote_characters_do_not_open_strings() {
        assert_eq!(blank("f('\"'); g('\\''); h(b'\\\\'); i"), "f(   ); g(    ); h(b    ); i");
        assert_eq!(blank("'ü'; x"), "    ; x");
    }

    #[test]
    fn test_items_are_known_by_their_attribute() {
        let raw = "fn a() {}\n#[cfg(test)]\n#[derive(X)]\nmod t {\n fn b() { c }\n}\nfn d() {}\n";
        let source = Source::new("src/x.rs", raw);
        assert!(!source.is_test(raw.find("fn a").unwrap()));
        assert!(source.is_test(raw.find("c }").unwrap()));
        assert!(!source.is_test(raw.find("fn d").unwrap()));
        let not = Source::new("src/x.rs", "#[cfg(not(test))]\nmod t { a }\n");
        assert!(!not.is_test(20));
    }

    #[test]
    fn use_trees_are_expanded() {
        let code = "use crate::{event::Page, sink::{self, runner as r},\n ring};\n\
                    let x = std::fs\n::read::<A>(b.c);";
        let all: Vec<String> = paths(code).iter().map(|p| p.segments.join("::")).collect();
        for expected in
            ["crate::event::Page", "crate::sink::self", "crate::sink::runner", "crate::ring"]
        {
            assert!(all.iter().any(|path| path == expected), "{expected} in {all:?}");
        }
        assert!(all.iter().any(|path| path == "std::fs::read"), "{all:?}");
        assert!(!all.iter().any(|path| path == "r"), "{all:?}");
    }

    #[test]
    fn words_are_whole_words() {
        let source = Source::new("src/x.rs", "unsafe_code unsafe { } not_unsafe x.unwrap()");
        assert_eq!(source.find("unsafe"), vec![12]);
        assert_eq!(source.find(".unwrap()").len(), 1);
    }
}
