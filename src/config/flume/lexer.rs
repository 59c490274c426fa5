//! The syntax of `java.util.Properties`, every key and value with its place.
//!
//! ```text
//! # a comment          ! another one
//! key = value          key: value          key value
//! key = a value that \
//!       goes on              (the blanks in front of it do not count)
//! tab = \t   snowman = \u2603   blank\ in\ a\ key = 1
//! ```
//! What Java drops in silence is told: an unknown escape (`\d` becomes `d`), a backslash that
//! joins a line which looks like a property of its own, a key that stands twice.

use std::collections::HashMap;

use crate::config::diagnostic::{Diagnostics, Problem, Span};
use crate::config::value::Spanned;

/// One `key = value`, without its escapes. The value is trimmed, as Flume does.
#[derive(Clone, Debug)]
pub(super) struct Property {
    pub(super) key: Spanned<String>,
    pub(super) value: Spanned<String>,
    /// The value stands in the file as it is: a place in it is a place in the file.
    pub(super) plain: bool,
}

/// Escapes that stand for what is behind the backslash and are often needed.
const PLAIN_ESCAPES: &str = "\\:=#! \"'";

/// All properties in the file's order; of a key that stands twice only the last, in its own place.
pub(super) fn read(diagnostics: &Diagnostics) -> Vec<Property> {
    let text = diagnostics.text();
    let mut lexer = Lexer { text: &text.text, at: 0, diagnostics };
    let mut properties: Vec<Option<Property>> = Vec::new();
    let mut places: HashMap<String, usize> = HashMap::new();
    while let Some(property) = lexer.property() {
        let before = places.insert(property.key.value.clone(), properties.len());
        if let Some(before) = before.and_then(|at| properties[at].take()) {
            let what = format!("`{}` stands twice, and the last counts", before.key);
            let problem = Problem::warning(what).at(property.key.span.clone(), "this one counts");
            let problem = problem.at(before.key.span, "has no effect");
            diagnostics.push(problem.remedy("keep one of the two"));
        }
        properties.push(Some(property));
    }
    properties.into_iter().flatten().collect()
}

struct Lexer<'t> {
    text: &'t str,
    at: usize,
    diagnostics: &'t Diagnostics,
}

/// What stands between two ends of a logical line.
struct Read {
    text: String,
    span: Span,
    plain: bool,
}

impl Lexer<'_> {
    fn peek(&self) -> Option<char> {
        self.text[self.at..].chars().next()
    }

    fn bump(&mut self) -> Option<char> {
        let letter = self.peek()?;
        self.at += letter.len_utf8();
        Some(letter)
    }

    fn property(&mut self) -> Option<Property> {
        loop {
            self.skip(|letter| is_blank(letter) || is_end(letter) || letter == '\u{feff}');
            match self.peek()? {
                '#' | '!' => self.skip(|letter| !is_end(letter)),
                _ => break,
            }
        }
        let start = self.at;
        let key = self.read(|letter| matches!(letter, '=' | ':') || is_blank(letter));
        self.skip_blanks();
        if matches!(self.peek(), Some('=' | ':')) {
            self.bump();
            self.skip_blanks();
        }
        let value = self.read(|_| false);
        let trimmed = value.text.trim();
        // An empty value is shown at its key.
        let span = if trimmed.is_empty() {
            start..key.span.end
        } else if value.plain {
            let front = value.text.len() - value.text.trim_start().len();
            value.span.start + front..value.span.start + front + trimmed.len()
        } else {
            value.span
        };
        let text = trimmed.to_owned();
        Some(Property {
            key: Spanned::new(key.text, key.span),
            value: Spanned::new(text, span),
            plain: value.plain,
        })
    }

    fn skip(&mut self, wanted: impl Fn(char) -> bool) {
        while self.peek().is_some_and(&wanted) {
            self.bump();
        }
    }

    /// Blanks, and the ends of lines that a backslash joins.
    fn skip_blanks(&mut self) {
        loop {
            self.skip(is_blank);
            if self.joined().is_none() {
                return;
            }
            self.join();
        }
    }

    /// The length of a backslash and the end of its line.
    fn joined(&self) -> Option<usize> {
        let rest = self.text[self.at..].strip_prefix('\\')?;
        ["\r\n", "\n", "\r"].iter().find(|end| rest.starts_with(**end)).map(|end| 1 + end.len())
    }

    /// Passes a backslash, the end of its line, and the blanks in front of the next.
    fn join(&mut self) {
        let backslash = self.at..self.at + 1;
        self.at += self.joined().unwrap_or(0);
        self.skip(is_blank);
        let rest = &self.text[self.at..];
        let line = rest.split(is_end).next().unwrap_or_default();
        if looks_like_a_property(line) {
            let what = "this `\\` joins the next line to the value, which looks like a property";
            let line = self.at..self.at + line.trim_end().len();
            let problem = Problem::warning(what).at(backslash, "").at(line, "part of the value");
            self.diagnostics.push(problem.remedy("leave the `\\` out, or write `\\\\` for one"));
        }
    }

    /// Up to the end of the logical line, or to what `ends` it.
    fn read(&mut self, ends: impl Fn(char) -> bool) -> Read {
        let start = self.at;
        let (mut text, mut plain) = (String::new(), true);
        let mut end = start;
        while let Some(letter) = self.peek() {
            if is_end(letter) || ends(letter) {
                break;
            }
            if letter != '\\' {
                self.bump();
                text.push(letter);
                end = self.at;
                continue;
            }
            plain = false;
            if self.joined().is_some() {
                self.join();
            } else {
                self.escape(&mut text);
                end = self.at;
            }
        }
        Read { text, span: start..end.max(start), plain }
    }

    /// A backslash and what it stands for.
    fn escape(&mut self, text: &mut String) {
        let start = self.at;
        self.bump();
        let Some(letter) = self.bump() else {
            let problem = Problem::warning("a `\\` at the end of the file stands for nothing");
            self.diagnostics.push(problem.at(start..self.at, "").remedy("write `\\\\` for one"));
            return;
        };
        match letter {
            't' => text.push('\t'),
            'n' => text.push('\n'),
            'r' => text.push('\r'),
            'f' => text.push('\u{c}'),
            'u' => self.unicode(start, text),
            other => {
                if !PLAIN_ESCAPES.contains(other) {
                    let what = format!("`\\{other}` is `{other}` in a properties file");
                    let remedy = format!("write `\\\\{other}` for a backslash, as in Java");
                    self.diagnostics.warning(start..self.at, what, remedy);
                }
                text.push(other);
            }
        }
    }

    /// Four digits behind `\u`; two of them in a row may be one letter (UTF-16).
    fn unicode(&mut self, start: usize, text: &mut String) {
        let Some(first) = self.digits() else {
            let problem = Problem::syntax("`\\u` needs four hexadecimal digits");
            let remedy = "write `\\u00e9` for é, or `\\\\u` for a backslash and a u";
            self.diagnostics.push(problem.at(start..self.at, "").remedy(remedy));
            return;
        };
        let mut units = vec![first];
        if (0xD800..0xDC00).contains(&first) && self.text[self.at..].starts_with("\\u") {
            self.at += 2;
            units.extend(self.digits());
        }
        match String::from_utf16(&units) {
            Ok(letters) => text.push_str(&letters),
            Err(_) => {
                let problem = Problem::syntax("half of a letter (a surrogate without its pair)");
                let remedy = "write both halves, as in `\\ud83d\\ude00`, or the letter itself";
                self.diagnostics.push(problem.at(start..self.at, "").remedy(remedy));
            }
        }
    }

    fn digits(&mut self) -> Option<u16> {
        let digits = self.text.get(self.at..self.at + 4)?;
        let plain = digits.bytes().all(|byte| byte.is_ascii_hexdigit());
        let unit = u16::from_str_radix(digits, 16).ok().filter(|_| plain)?;
        self.at += 4;
        Some(unit)
    }
}

fn is_blank(letter: char) -> bool {
    matches!(letter, ' ' | '\t' | '\u{c}')
}

fn is_end(letter: char) -> bool {
    matches!(letter, '\n' | '\r')
}

/// `a1.sources.r1.type = seq`, as nobody writes it inside of a value.
fn looks_like_a_property(line: &str) -> bool {
    let Some((key, _)) = line.split_once('=') else { return false };
    let key = key.trim();
    let word = |byte: u8| byte.is_ascii_alphanumeric() || b"_-.".contains(&byte);
    let rooms = [".sources", ".channels", ".sinks", ".sinkgroups", ".configfilters"];
    key.bytes().all(word) && rooms.iter().any(|room| key.contains(room))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pairs(text: &str) -> (Vec<(String, String)>, Vec<String>) {
        let diagnostics = Diagnostics::new("f.conf", text);
        let pairs = read(&diagnostics);
        let pairs = pairs.into_iter().map(|it| (it.key.value, it.value.value)).collect();
        (pairs, diagnostics.lines())
    }

    fn one(text: &str, key: &str, value: &str) {
        let (pairs, told) = pairs(text);
        assert_eq!(pairs, [(key.to_owned(), value.to_owned())], "{text:?}");
        assert_eq!(told, Vec::<String>::new(), "{text:?}");
    }

    #[test]
    fn keys_values_and_what_stands_between_them_are_javas() {
        for text in ["a=b", "a = b", "a:b", "a : b", "a b", "\ta\t=\tb", "  a \x0c b  ", "a=b\r\n"]
        {
            one(text, "a", "b");
        }
        one("a", "a", "");
        one("a=", "a", "");
        one("a = = b", "a", "= b");
        one("a==b", "a", "=b");
        one("a b=c", "a", "b=c");
        one("a:=b", "a", "=b");
        one("# c\n! d\n\n   # e\\\na = b # no comment", "a", "b # no comment");
        one("\u{feff}a = b", "a", "b");
        one("clé = été", "clé", "été");
    }

    #[test]
    fn lines_are_joined_by_an_odd_number_of_backslashes() {
        one("a = b \\\n    c", "a", "b c");
        one("a = b \\\r\n\t c\\\rd", "a", "b cd");
        one("a = b\\\n# no comment", "a", "b# no comment");
        one("a = b\\\n\n", "a", "b");
        assert_eq!(pairs("a = b\\\\\nc = d").0.len(), 2);
        one("a \\\n = \\\n b", "a", "b");
        one("a\\\nb = c", "ab", "c");
    }

    #[test]
    fn escapes_are_javas() {
        one("a = \\u00e9\\u2603 \\ud83d\\ude00", "a", "é☃ 😀");
        one("a\\ b\\=\\:c = d", "a b=:c", "d");
        one("a = x\\ty\\\\z\\#", "a", "x\ty\\z#");
        let (pairs, told) = pairs("a = ^(\\d+)\\.");
        assert_eq!(pairs[0].1, "^(d+).");
        assert_eq!(
            told,
            [
                "1:7: warning: `\\d` is `d` in a properties file (write `\\\\d` for a backslash, \
                 as in Java)",
                "1:11: warning: `\\.` is `.` in a properties file (write `\\\\.` for a backslash, \
                 as in Java)",
            ]
        );
    }

    #[test]
    fn places_are_those_of_the_file() {
        let text = "# x\n a.b = \u{e9} c d  \n";
        let diagnostics = Diagnostics::new("f.conf", text);
        let [property] = &read(&diagnostics)[..] else { panic!("one") };
        assert_eq!(&text[property.key.span.clone()], "a.b");
        assert_eq!(&text[property.value.span.clone()], "\u{e9} c d");
        let text = "a = b\\\n   c\nd = e";
        let diagnostics = Diagnostics::new("f.conf", text);
        assert_eq!(&text[read(&diagnostics)[0].value.span.clone()], "b\\\n   c");
    }
}
