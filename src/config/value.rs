//! What a configuration file says, before anybody asks what it means: tables in file order, every
//! key and value with its place, `${VAR}` already filled in.
//!
//! Substitution happens in string values only, after parsing, so that a variable's text can never
//! turn into syntax: `${VAR}`, `${VAR:-default}` (used when VAR is unset or empty), `$${` for a
//! literal `${`. A lone `$` is a lone `$`.

use std::fmt;
use std::num::{IntErrorKind, ParseIntError};
use std::ops::Deref;

use toml::de::{DeTable, DeValue};

use super::diagnostic::{Diagnostics, Problem, Span};
use super::syntax;
use super::texts::Text;

/// A value and where it stands.
#[derive(Clone, Debug)]
pub struct Spanned<T> {
    pub value: T,
    pub span: Span,
}

impl<T> Spanned<T> {
    pub fn new(value: T, span: Span) -> Self {
        Self { value, span }
    }
}

impl<T> Deref for Spanned<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.value
    }
}

impl<T: PartialEq> PartialEq for Spanned<T> {
    fn eq(&self, other: &Self) -> bool {
        self.value == other.value
    }
}

impl<T: fmt::Display> fmt::Display for Spanned<T> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.value.fmt(formatter)
    }
}

#[derive(Clone, Debug)]
pub(super) enum Value {
    /// `filled`: a variable was put in, so `"${THREADS}"` may stand for a number or a flag.
    Text {
        text: String,
        filled: bool,
    },
    Integer(i64),
    Flag(bool),
    List(Vec<Spanned<Self>>),
    Table(Table),
    /// Floats and dates, which no key of ours takes, by the name of their type.
    Other(&'static str),
}

impl Value {
    /// As TOML writes it, on one line.
    pub(super) fn shown(&self) -> String {
        match self {
            Self::Text { text, .. } => toml::Value::String(text.clone()).to_string(),
            Self::Integer(number) => number.to_string(),
            Self::Flag(flag) => flag.to_string(),
            Self::List(items) => {
                let items: Vec<String> = items.iter().map(|item| item.value.shown()).collect();
                format!("[{}]", items.join(", "))
            }
            Self::Table(table) => {
                let entries = table.entries.iter();
                let entry =
                    |it: &Entry| format!("{} = {}", shown_key(&it.key), it.value.value.shown());
                format!("{{ {} }}", entries.map(entry).collect::<Vec<_>>().join(", "))
            }
            Self::Other(name) => (*name).to_owned(),
        }
    }

    /// For "found …".
    pub(super) fn type_name(&self) -> &'static str {
        match self {
            Self::Text { .. } => "a string",
            Self::Integer(_) => "an integer",
            Self::Flag(_) => "a boolean",
            Self::List(_) => "an array",
            Self::Table(_) => "a table",
            Self::Other(name) => name,
        }
    }
}

/// A key as TOML takes it.
pub(super) fn shown_key(name: &str) -> String {
    let bare = |byte: u8| byte.is_ascii_alphanumeric() || b"_-".contains(&byte);
    match !name.is_empty() && name.bytes().all(bare) {
        true => name.to_owned(),
        false => toml::Value::String(name.to_owned()).to_string(),
    }
}

#[derive(Clone, Debug, Default)]
pub(super) struct Table {
    pub(super) entries: Vec<Entry>,
    /// The header line `[a.b]`, the braces of an inline table, or the key that implied it.
    pub(super) header: Span,
}

#[derive(Clone, Debug)]
pub(super) struct Entry {
    pub(super) key: Spanned<String>,
    pub(super) value: Spanned<Value>,
}

impl Table {
    pub(super) fn find(&self, key: &str) -> Option<&Entry> {
        self.entries.iter().find(|entry| entry.key.value == key)
    }
}

/// How a variable is looked up; the process environment, or a table in tests.
pub(super) type Lookup<'l> = &'l dyn Fn(&str) -> Option<String>;

/// Parses a text; every syntax error becomes a problem, and what could be understood in spite of
/// them is returned.
pub(super) fn parse(lookup: Lookup<'_>, text: &Text, diagnostics: &Diagnostics) -> Table {
    let (root, errors) = DeTable::parse_recoverable(&text.text);
    for error in errors {
        let span = error.span().unwrap_or_default();
        let problem = syntax::explain(error.message(), span, &text.text);
        diagnostics.push(problem.moved(text.base));
    }
    Reading { text, lookup, diagnostics }.table(root.get_ref(), text.place(&(0..0)))
}

/// Copies what was parsed, variables filled in; unset ones become problems.
struct Reading<'r> {
    text: &'r Text,
    lookup: Lookup<'r>,
    diagnostics: &'r Diagnostics,
}

impl Reading<'_> {
    /// In file order.
    fn table(&self, parsed: &DeTable<'_>, header: Span) -> Table {
        let mut entries: Vec<Entry> = parsed
            .iter()
            // After a syntax error a value may stand nowhere: there is nothing to read.
            .filter(|(key, inner)| {
                let below_a_header = inner.get_ref().is_table() || inner.get_ref().is_array();
                below_a_header || inner.span().start > key.span().start
            })
            .map(|(key, inner)| {
                let header = header_span(inner.span(), key.span(), &self.text.text);
                let header = self.text.place(&header);
                let name = key.get_ref().clone().into_owned();
                Entry {
                    key: Spanned::new(name, self.text.place(&key.span())),
                    value: Spanned::new(self.value(inner.get_ref(), &header), header),
                }
            })
            .collect();
        // The parser sorts by name; a person reads from the top.
        entries.sort_by_key(|entry| entry.key.span.start);
        Table { entries, header }
    }

    /// `place` is among all texts, as all that comes out of here.
    fn value(&self, parsed: &DeValue<'_>, place: &Span) -> Value {
        match parsed {
            DeValue::String(text) => {
                let (text, filled) = fill(text, place, self.lookup, self.diagnostics);
                Value::Text { text, filled }
            }
            DeValue::Integer(integer) => {
                let number = i64::from_str_radix(integer.as_str(), integer.radix());
                number.map_or_else(
                    |error| {
                        self.diagnostics.push(no_integer(&error).at(place.clone(), ""));
                        Value::Integer(0)
                    },
                    Value::Integer,
                )
            }
            DeValue::Boolean(flag) => Value::Flag(*flag),
            DeValue::Array(items) => {
                let item = |item: &toml::Spanned<DeValue<'_>>| {
                    let place = self.text.place(&item.span());
                    Spanned::new(self.value(item.get_ref(), &place), place)
                };
                Value::List(items.iter().map(item).collect())
            }
            DeValue::Table(inner) => Value::Table(self.table(inner, place.clone())),
            DeValue::Float(_) => Value::Other("a float"),
            DeValue::Datetime(_) => Value::Other("a date"),
        }
    }
}

/// After a broken header the parser's span of a table may run over many lines: the key will do.
fn header_span(value: Span, key: Span, text: &str) -> Span {
    let is_header = value.start < key.start;
    let lines = text.get(value.clone()).is_some_and(|text| text.contains('\n'));
    if is_header && lines { key } else { value }
}

fn no_integer(error: &ParseIntError) -> Problem {
    match error.kind() {
        IntErrorKind::PosOverflow | IntErrorKind::NegOverflow => {
            Problem::unformed("this integer does not fit in 64 bits")
                .remedy("integers go from -9223372036854775808 to 9223372036854775807")
        }
        _ => Problem::unformed("this integer has no digits").remedy("write it out, as in 0x1F"),
    }
}

/// `text` with its variables filled in, and whether there were any.
fn fill(text: &str, span: &Span, lookup: Lookup<'_>, diagnostics: &Diagnostics) -> (String, bool) {
    let mut filled = false;
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find("${") {
        if rest[..at].ends_with('$') {
            out.push_str(&rest[..at - 1]);
            out.push_str("${");
            rest = &rest[at + 2..];
            continue;
        }
        out.push_str(&rest[..at]);
        let Some(length) = rest[at..].find('}') else {
            let what = "`${` without its `}`";
            let remedy = "write `${NAME}`, or `$${` for a literal `${`";
            diagnostics.push(Problem::unformed(what).at(span.clone(), "").remedy(remedy));
            return (out, filled);
        };
        let inside = &rest[at + 2..at + length];
        let (name, default) = match inside.split_once(":-") {
            Some((name, default)) => (name, Some(default)),
            None => (inside, None),
        };
        out.push_str(&variable(name, default, span, lookup, diagnostics));
        filled = true;
        rest = &rest[at + length + 1..];
    }
    out.push_str(rest);
    (out, filled)
}

fn variable(
    name: &str,
    default: Option<&str>,
    span: &Span,
    lookup: Lookup<'_>,
    diagnostics: &Diagnostics,
) -> String {
    let unreadable = |what: String, remedy: String| {
        diagnostics.push(Problem::unformed(what).at(span.clone(), "").remedy(remedy));
    };
    let plain = name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
    if name.is_empty() || !plain || name.starts_with(|c: char| c.is_ascii_digit()) {
        let what = format!("`${{{name}}}` does not name an environment variable");
        let remedy = "write `${NAME}` or `${NAME:-default}`, or `$${` for a literal `${`";
        unreadable(what, remedy.to_owned());
        return String::new();
    }
    match (lookup(name), default) {
        (Some(text), None) => text,
        (Some(text), Some(_)) if !text.is_empty() => text,
        (_, Some(default)) => default.to_owned(),
        (None, None) => {
            let what = format!("the environment variable `{name}` is not set");
            unreadable(what, format!("set it, or give a default: `${{{name}:-default}}`"));
            String::new()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `value` as a string in a file, where PORT is 5514, EMPTY is empty and QUOTE breaks out.
    fn filled(value: &str) -> Result<String, Vec<String>> {
        let text = format!("a = '''{value}'''");
        let diagnostics = Diagnostics::new("f.toml", text.as_str());
        let lookup = |name: &str| match name {
            "PORT" => Some("5514".to_owned()),
            "EMPTY" => Some(String::new()),
            "QUOTE" => Some("'''\n${PORT}".to_owned()),
            _ => None,
        };
        let table = parse(&lookup, &diagnostics.text(), &diagnostics);
        match &table.find("a").expect("a is there").value.value {
            Value::Text { text, .. } if !diagnostics.has_errors() => Ok(text.clone()),
            _ => Err(diagnostics.lines()),
        }
    }

    #[test]
    fn variables_are_filled_in_after_parsing() {
        for (value, expected) in [
            ("tcp://[::]:${PORT}", "tcp://[::]:5514"),
            ("${PORT}${PORT}", "55145514"),
            ("${PORT:-1}", "5514"),
            ("${NONE:-1}", "1"),
            ("${NONE:-}", ""),
            ("${EMPTY}", ""),
            ("${EMPTY:-1}", "1"),
            ("${NONE:-a:-b}", "a:-b"),
            ("$${PORT}", "${PORT}"),
            ("$$${PORT}", "$${PORT}"),
            ("$PORT $ %{host}", "$PORT $ %{host}"),
            ("${QUOTE}", "'''\n${PORT}"),
        ] {
            assert_eq!(filled(value).as_deref(), Ok(expected), "{value}");
        }
    }

    #[test]
    fn variables_that_are_not_set_are_each_told() {
        let told = filled("${A} ${B}").expect_err("neither is set");
        assert_eq!(told.len(), 2, "{told:?}");
        assert!(told[0].starts_with("1:5: the environment variable `A` is not set"), "{told:?}");
    }

    #[test]
    fn keys_come_in_the_order_of_the_file() {
        let diagnostics = Diagnostics::new("f.toml", "b = 1\na.z = 2\n[c]\nx = 1\n[a.y]\n");
        let table = parse(&|_| None, &diagnostics.text(), &diagnostics);
        let keys: Vec<&str> = table.entries.iter().map(|entry| entry.key.as_str()).collect();
        assert_eq!(keys, ["b", "a", "c"]);
        assert_eq!(diagnostics.lines(), Vec::<String>::new());
    }
}
