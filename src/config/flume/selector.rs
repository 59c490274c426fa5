//! A source's selector as ours: which of its channels an event takes.

use super::make::{Made, text};
use super::refused;
use super::tree::{Key, Part};
use crate::config::diagnostic::Span;
use crate::config::value::{Entry, Spanned, Table, Value};

const PREFIX: &str = "selector.";

pub(super) fn translate(made: &mut Made<'_>) {
    let part = made.part;
    let keys = || part.keys.iter().filter(|key| key.name.value.starts_with(PREFIX));
    let Some(first) = keys().next() else { return };
    let place = first.name.span.clone();
    let kind = part.text("selector.type");
    let (word, place) = match &kind {
        Some(kind) => (refused::word(kind), kind.span.clone()),
        None => ("replicating".to_owned(), place),
    };
    let mut own = Own { part, entries: Vec::new() };
    match word.as_str() {
        "replicating" | "replicatingchannelselector" => {
            own.put("type", &place, text("replicating"));
            own.words("selector.optional", "optional");
            if own.entries.len() == 1 {
                // That each channel gets every event needs no word.
                return;
            }
        }
        "multiplexing" | "multiplexingchannelselector" => {
            own.put("type", &place, text("multiplexing"));
            own.text("selector.header", "header");
            own.by_value("selector.mapping.", "mapping", &place);
            own.by_value("selector.optional.", "optional", &place);
            own.words("selector.default", "default");
        }
        "load_balancing" | "loadbalancingchannelselector" => {
            own.put("type", &place, text("load_balancing"));
            let policies = [("round_robin", "round_robin"), ("random", "random")];
            if let (Some(policy), Some(key)) =
                (part.choice("selector.policy", &policies), part.find("selector.policy"))
            {
                own.put("policy", &key.value.span, text(policy));
            }
        }
        _ => {
            let shown = kind.as_ref().map_or("", |kind| kind.as_str());
            let what = format!("no selector has the type `{shown}`");
            let remedy = "there is `replicating`, `multiplexing` and `load_balancing`; a class of \
                          your own cannot be loaded: there is no Java here";
            part.fail(&place, what, remedy);
            part.ignore_below(PREFIX);
            return;
        }
    }
    let table = Table { entries: own.entries, header: place.clone() };
    made.put("selector", &place, Value::Table(table));
}

/// The table in the making.
struct Own<'p> {
    part: &'p Part,
    entries: Vec<Entry>,
}

impl Own<'_> {
    fn put(&mut self, key: &str, span: &Span, value: Value) {
        self.entries.push(entry(key, span, span, value));
    }

    fn text(&mut self, theirs: &str, ours: &str) {
        if let Some(value) = self.part.text(theirs) {
            self.put(ours, &value.span, text(&value.value));
        }
    }

    fn words(&mut self, theirs: &str, ours: &str) {
        if let Some(key) = self.part.find(theirs) {
            self.put(ours, &key.value.span, words(key));
        }
    }

    /// `selector.mapping.CZ = c1` as a table of the values.
    fn by_value(&mut self, prefix: &str, ours: &str, place: &Span) {
        let mut values = Vec::new();
        for key in &self.part.keys {
            let Some(value) = key.name.strip_prefix(prefix) else { continue };
            // It is asked for by its name.
            self.part.find(&key.name);
            values.push(entry(value, &key.name.span, &key.value.span, words(key)));
        }
        if !values.is_empty() {
            let table = Table { entries: values, header: place.clone() };
            self.put(ours, place, Value::Table(table));
        }
    }
}

fn entry(key: &str, key_span: &Span, span: &Span, value: Value) -> Entry {
    let key = Spanned::new(key.to_owned(), key_span.clone());
    Entry { key, value: Spanned::new(value, span.clone()) }
}

/// The words of a key as a list.
fn words(key: &Key) -> Value {
    let words = key.words().into_iter();
    Value::List(words.map(|word| Spanned::new(text(&word.value), word.span)).collect())
}
