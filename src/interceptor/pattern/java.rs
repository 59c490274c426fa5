//! Java's syntax where it means something else here: `\d`, `\w` and `\s` are ASCII, `\Q…\E` quotes,
//! `\p{Alpha}` and its kin are POSIX classes, `\h` and `\R` exist.

/// An expression in this program's syntax.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Translated {
    pub(super) text: String,
    /// It has possessive quantifiers, which elsewhere would pass for something else.
    pub(super) possessive: bool,
}

const BLANKS: &str = " \\t\\n\\x0B\\f\\r";
const HORIZONTAL: &str =
    " \\t\\u{A0}\\u{1680}\\u{180E}\\u{2000}-\\u{200A}\\u{202F}\\u{205F}\\u{3000}";
const VERTICAL: &str = "\\n\\x0B\\f\\r\\u{85}\\u{2028}\\u{2029}";
const WORD: &str = "A-Za-z0-9_";

/// Java's names of classes, and ours.
const CLASSES: [(&str, &str); 14] = [
    ("Lower", "lower"),
    ("Upper", "upper"),
    ("ASCII", "ascii"),
    ("Alpha", "alpha"),
    ("Digit", "digit"),
    ("Alnum", "alnum"),
    ("Punct", "punct"),
    ("Graph", "graph"),
    ("Print", "print"),
    ("Blank", "blank"),
    ("Cntrl", "cntrl"),
    ("XDigit", "xdigit"),
    ("Space", "space"),
    ("Word", "word"),
];

/// Translates an expression. What is wrong with it stays so, for the compiler to tell.
pub(super) fn translate(java: &str) -> Translated {
    let mut out = Out { text: String::with_capacity(java.len() + 16), depth: 0 };
    let (mut rest, mut possessive) = (java, false);
    while let Some(first) = rest.chars().next() {
        let behind = &rest[first.len_utf8()..];
        rest = match first {
            '\\' => out.escape(behind),
            '[' => {
                out.depth += 1;
                out.text.push('[');
                out.class_begins(behind)
            }
            ']' if out.depth > 0 => {
                out.depth -= 1;
                out.text.push(']');
                behind
            }
            // Set operations that Java does not have.
            '-' | '~' if out.depth > 0 && behind.starts_with(first) => {
                out.text.extend(['\\', first, '\\', first]);
                &behind[1..]
            }
            '*' | '+' | '?' | '}' if out.depth == 0 && behind.starts_with('+') => {
                possessive = true;
                out.text.extend([first, '+']);
                &behind[1..]
            }
            other => {
                out.text.push(other);
                behind
            }
        };
    }
    Translated { text: out.text, possessive }
}

struct Out {
    text: String,
    /// Brackets that are open.
    depth: usize,
}

impl Out {
    /// Behind an open bracket.
    fn class_begins<'a>(&mut self, mut rest: &'a str) -> &'a str {
        if let Some(behind) = rest.strip_prefix('^') {
            self.text.push('^');
            rest = behind;
        }
        rest
    }

    /// What stands behind a backslash; says what is left.
    fn escape<'a>(&mut self, rest: &'a str) -> &'a str {
        let Some(letter) = rest.chars().next() else {
            self.text.push('\\');
            return rest;
        };
        let behind = &rest[letter.len_utf8()..];
        match letter {
            'd' => self.set("0-9", false),
            'D' => self.set("0-9", true),
            'w' => self.set(WORD, false),
            'W' => self.set(WORD, true),
            's' => self.set(BLANKS, false),
            'S' => self.set(BLANKS, true),
            'h' => self.set(HORIZONTAL, false),
            'H' => self.set(HORIZONTAL, true),
            'v' => self.set(VERTICAL, false),
            'V' => self.set(VERTICAL, true),
            'R' => {
                self.text.push_str("(?:\\r\\n|");
                self.set(VERTICAL, false);
                self.text.push(')');
            }
            'e' => self.text.push_str("\\x1B"),
            'Q' => {
                let (quoted, behind) = behind.split_once("\\E").unwrap_or((behind, ""));
                self.text.push_str(&regex::escape(quoted));
                return behind;
            }
            '0' => return self.octal(behind),
            'c' => {
                let Some(control) = behind.chars().next().filter(char::is_ascii) else {
                    self.text.push_str("\\c");
                    return behind;
                };
                self.text.push_str(&format!("\\x{{{:x}}}", control as u8 ^ 0x40));
                return &behind[1..];
            }
            'p' | 'P' => return self.class(letter == 'P', behind),
            other => self.text.extend(['\\', other]),
        }
        behind
    }

    /// A set of characters, in a class or by itself.
    fn set(&mut self, ranges: &str, negated: bool) {
        let (open, close) = match (self.depth > 0, negated) {
            (true, false) => ("", ""),
            (_, true) => ("[^", "]"),
            (false, false) => ("[", "]"),
        };
        self.text.extend([open, ranges, close]);
    }

    fn octal<'a>(&mut self, rest: &'a str) -> &'a str {
        let digits = rest.bytes().take(3).take_while(|byte| (b'0'..=b'7').contains(byte)).count();
        // At most 0377.
        let digits = if digits == 3 && rest.as_bytes()[0] > b'3' { 2 } else { digits };
        let value = u32::from_str_radix(&rest[..digits], 8).unwrap_or(0);
        self.text.push_str(&format!("\\x{{{value:x}}}"));
        &rest[digits..]
    }

    /// `\p{Name}`: a POSIX class, or a property under its Unicode name.
    fn class<'a>(&mut self, negated: bool, rest: &'a str) -> &'a str {
        let letter = if negated { "\\P" } else { "\\p" };
        let Some((name, behind)) = rest.strip_prefix('{').and_then(|it| it.split_once('}')) else {
            self.text.push_str(letter);
            return rest;
        };
        match CLASSES.iter().find(|(java, _)| *java == name) {
            Some((_, posix)) => {
                let not = if negated { "^" } else { "" };
                self.text.push_str(&match self.depth {
                    0 => format!("[[:{not}{posix}:]]"),
                    _ => format!("[:{not}{posix}:]"),
                });
            }
            None => {
                let name = name.strip_prefix("Is").unwrap_or(name);
                self.text.push_str(&format!("{letter}{{{name}}}"));
            }
        }
        behind
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_differs_is_translated_and_the_rest_stays() {
        for (java, ours) in [
            (r"a.*b|c{2,3}?", r"a.*b|c{2,3}?"),
            (r"\d[\d\W]", r"[0-9][0-9[^A-Za-z0-9_]]"),
            (r"\Qa+[b\E+", r"a\+\[b+"),
            (r"\Qrest", r"rest"),
            (r"\p{Alpha}[\p{Digit}]\P{Upper}", r"[[:alpha:]][[:digit:]][[:^upper:]]"),
            (r"\p{IsLatin}\pL", r"\p{Latin}\pL"),
            (r"\0101\cA\e", r"\x{41}\x{1}\x1B"),
            (r"[a--z]", r"[a\-\-z]"),
            (r"\\d\.", r"\\d\."),
        ] {
            let expected = Translated { text: ours.to_owned(), possessive: false };
            assert_eq!(translate(java), expected, "{java}");
        }
        for java in ["a++", "a*+", "a?+", "a{2}+"] {
            assert_eq!(translate(java), Translated { text: java.to_owned(), possessive: true });
        }
        assert!(!translate("[+++]").possessive && !translate(r"\++").possessive);
    }
}
