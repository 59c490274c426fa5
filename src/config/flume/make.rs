//! A component's table as the TOML would have given it, each value at its place in the properties.

use super::tree::{Key, Part};
use crate::config::diagnostic::{Problem, Span};
use crate::config::value::{Entry, Spanned, Table, Value};

/// A table in the making.
pub(super) struct Made<'p> {
    pub(super) part: &'p Part,
    entries: Vec<Entry>,
}

impl<'p> Made<'p> {
    /// Begins with the `type`, which stands where Flume's stood.
    pub(super) fn new(part: &'p Part, kind: &str) -> Self {
        let mut made = Self { part, entries: Vec::new() };
        let span = part.text("type").map_or_else(|| part.place(), |kind| kind.span);
        made.put("type", &span, text(kind));
        made
    }

    /// Of what has no type of its own.
    pub(super) fn bare(part: &'p Part) -> Self {
        Self { part, entries: Vec::new() }
    }

    /// A key of ours with the place of the value it comes from.
    pub(super) fn put(&mut self, key: &str, span: &Span, value: Value) {
        let key = Spanned::new(key.to_owned(), span.clone());
        self.entries.push(Entry { key, value: Spanned::new(value, span.clone()) });
    }

    /// A key of ours that follows from the component itself.
    pub(super) fn imply(&mut self, key: &str, value: Value) {
        let span = self.part.place();
        self.put(key, &span, value);
    }

    /// A text of theirs under a name of ours.
    pub(super) fn text(&mut self, theirs: &str, ours: &str) {
        if let Some(value) = self.part.text(theirs) {
            self.put(ours, &value.span, text(&value.value));
        }
    }

    /// The list of words of one key.
    pub(super) fn words(&mut self, theirs: &str, ours: &str) {
        if let Some(key) = self.part.find(theirs) {
            let items = key.words().into_iter().map(|word| {
                let Spanned { value, span } = word;
                Spanned::new(text(&value), span)
            });
            let list = Value::List(items.collect());
            self.put(ours, &key.value.span, list);
        }
    }

    pub(super) fn number(&mut self, theirs: &str, ours: &str) {
        if let Some(value) = self.part.number(theirs) {
            self.put(ours, &value.span, Value::Integer(value.value));
        }
    }

    pub(super) fn flag(&mut self, theirs: &str, ours: &str) {
        if let Some(value) = self.part.flag(theirs) {
            self.put(ours, &value.span, Value::Flag(value.value));
        }
    }

    pub(super) fn table(self) -> (Spanned<String>, Table) {
        let table = Table { entries: self.entries, header: self.part.place() };
        (self.part.name.clone(), table)
    }
}

/// A table inside of another one.
pub(super) fn inline<const N: usize>(span: &Span, entries: [(&str, Value); N]) -> Value {
    let entry = |(key, value): (&str, Value)| Entry {
        key: Spanned::new(key.to_owned(), span.clone()),
        value: Spanned::new(value, span.clone()),
    };
    Value::Table(Table { entries: entries.map(entry).into(), header: span.clone() })
}

pub(super) fn text(text: &str) -> Value {
    Value::Text { text: text.to_owned(), filled: false }
}

impl Part {
    pub(super) fn number(&self, name: &str) -> Option<Spanned<i64>> {
        let key = self.find(name)?;
        let Ok(number) = key.value.parse() else {
            self.unreadable(key, "a whole number");
            return None;
        };
        Some(Spanned::new(number, key.value.span.clone()))
    }

    pub(super) fn flag(&self, name: &str) -> Option<Spanned<bool>> {
        let key = self.find(name)?;
        let flag = match key.value.to_ascii_lowercase().as_str() {
            "true" => true,
            "false" => false,
            _ => {
                self.unreadable(key, "`true` or `false`");
                return None;
            }
        };
        Some(Spanned::new(flag, key.value.span.clone()))
    }

    /// One of a few words, in any case.
    pub(super) fn choice<T: Copy>(&self, name: &str, choices: &[(&str, T)]) -> Option<T> {
        let key = self.find(name)?;
        let found = choices.iter().find(|(word, _)| key.value.eq_ignore_ascii_case(word));
        if found.is_none() {
            let aliases = choices.iter().filter(|(word, _)| !word.contains('.'));
            let words: Vec<String> = aliases.map(|(word, _)| format!("`{word}`")).collect();
            self.unreadable(key, &words.join(" or "));
        }
        found.map(|(_, choice)| *choice)
    }

    fn unreadable(&self, key: &Key, expected: &str) {
        let Key { name, value, .. } = key;
        let what = format!("`{name}`: expected {expected}, found `{}`", value.value);
        let remedy = match value.contains(['#', '!']) {
            true => "a comment needs a line of its own: here it is part of the value",
            false => "",
        };
        self.diagnostics.push(Problem::unreadable(what).at(value.span.clone(), "").remedy(remedy));
    }
}
