//! What stands in place of a match, in Java's syntax: `$1`, `${name}`, `\$`.

use super::{Groups, Pattern, next_char};

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(in super::super) struct Replacement {
    parts: Vec<Part>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    Literal(String),
    Group(usize),
}

impl Replacement {
    /// Reads a replacement for a pattern, whose groups it may name.
    pub(in super::super) fn parse(text: &str, of: Option<&Pattern>) -> Result<Self, String> {
        let (mut parts, mut literal, mut rest) = (Vec::new(), String::new(), text);
        while let Some(at) = rest.find(['\\', '$']) {
            literal.push_str(&rest[..at]);
            let behind = &rest[at + 1..];
            if rest.as_bytes()[at] == b'\\' {
                let Some(next) = behind.chars().next() else {
                    return Err("nothing stands behind the last \\".to_owned());
                };
                literal.push(next);
                rest = &behind[next.len_utf8()..];
                continue;
            }
            let (group, left) = group(behind, of)?;
            if !literal.is_empty() {
                parts.push(Part::Literal(std::mem::take(&mut literal)));
            }
            parts.push(Part::Group(group));
            rest = left;
        }
        literal.push_str(rest);
        if !literal.is_empty() {
            parts.push(Part::Literal(literal));
        }
        Ok(Self { parts })
    }

    /// Appends the text with every match replaced; false, and nothing, when there is none.
    pub(in super::super) fn replace_all(
        &self,
        pattern: &Pattern,
        text: &[u8],
        groups: &mut Groups,
        out: &mut Vec<u8>,
    ) -> bool {
        let (mut copied, mut from) = (0, 0);
        while from <= text.len()
            && pattern.find(text, from, groups)
            && let Some((start, end)) = groups.span(0)
        {
            out.extend_from_slice(&text[copied..start]);
            for part in &self.parts {
                match part {
                    Part::Literal(literal) => out.extend_from_slice(literal.as_bytes()),
                    Part::Group(group) => {
                        let (start, end) = groups.span(*group).unwrap_or((0, 0));
                        out.extend_from_slice(&text[start..end]);
                    }
                }
            }
            copied = end;
            // As Java goes on: behind an empty match with the next character.
            from = if end > start { end } else { next_char(text, end) };
        }
        if from == 0 {
            return false;
        }
        out.extend_from_slice(&text[copied..]);
        true
    }
}

/// The group that stands behind a dollar sign, and what is left.
fn group<'a>(rest: &'a str, of: Option<&Pattern>) -> Result<(usize, &'a str), String> {
    let groups = of.map_or(usize::MAX, Pattern::groups);
    if let Some((name, left)) = rest.strip_prefix('{').and_then(|it| it.split_once('}')) {
        let Some(pattern) = of else { return Ok((0, left)) };
        let found = pattern.group_named(name);
        return found
            .map(|group| (group, left))
            .ok_or_else(|| format!("no group is called `{name}`"));
    }
    let digit = |text: &str| text.chars().next().and_then(|first| first.to_digit(10));
    let Some(mut group) = digit(rest).map(|digit| digit as usize) else {
        return Err("`$` without a group".to_owned());
    };
    if group > groups {
        return Err(format!("there is no group {group}, the pattern has {groups}"));
    }
    let mut left = &rest[1..];
    // As many digits as make a group that is there.
    while let Some(next) = digit(left)
        && let Some(larger) = group.checked_mul(10).and_then(|it| it.checked_add(next as usize))
        && larger <= groups
    {
        group = larger;
        left = &left[1..];
    }
    Ok((group, left))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn replaced(search: &str, with: &str, text: &str) -> Result<String, String> {
        let pattern = Pattern::new(search, |text| text)?;
        let replacement = Replacement::parse(with, Some(&pattern))?;
        let (mut groups, mut out) = (Groups::default(), Vec::new());
        let any = replacement.replace_all(&pattern, text.as_bytes(), &mut groups, &mut out);
        assert!(any || out.is_empty());
        let text = if any { String::from_utf8(out).expect("UTF-8") } else { text.to_owned() };
        Ok(text)
    }

    /// Each as java.util.regex answers.
    #[test]
    fn as_java_replaces() {
        for (search, with, text, expected) in [
            ("b", "x", "abcb", "axcx"),
            ("(a)(b)", "$2$1a", "ab", "baa"),
            ("(a)", "$12", "a", "a2"),
            ("(?<n>a)", "${n}${n}", "a", "aa"),
            ("a", r"\$1\\", "a", r"$1\"),
            ("x*", "-", "abc", "-a-b-c-"),
            ("b*", "-", "abc", "-a--c-"),
            ("", "-", "\u{e9}a", "-\u{e9}-a-"),
            ("(a)|b", "[$1]", "ab", "[a][]"),
            ("^[A-Za-z0-9_]+", "", "word rest", " rest"),
            ("(\\w)\\1", "$1", "aabbc", "abc"),
            ("x", "y", "abc", "abc"),
        ] {
            assert_eq!(replaced(search, with, text).as_deref(), Ok(expected), "{search} {with}");
        }
    }

    #[test]
    fn what_java_refuses_is_refused_before_the_start() {
        for (with, told) in [
            ("$", "`$` without a group"),
            ("$x", "`$` without a group"),
            ("$2", "there is no group 2, the pattern has 1"),
            ("${n}", "no group is called `n`"),
            ("a\\", "nothing stands behind the last \\"),
        ] {
            assert_eq!(replaced("(a)", with, "a"), Err(told.to_owned()), "{with}");
        }
    }
}
