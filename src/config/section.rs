//! A table of the configuration as the part it belongs to reads it.
//!
//! A part describes its keys in rows of [`OptionDoc`]; a getter reads the value given or the
//! default of the row, so a default stands in one place. Getters never fail: what is wrong is
//! pushed into the [`Diagnostics`], and a harmless value (the default, the low end of the range,
//! nothing) returned, so that planning goes on and finds the next mistake.
//!
//! Each getter also records what it gave out: [`Section::settings`] is the configuration in effect.
//!
//! A `Section` is a handle: clones share the table, the record and the diagnostics.

use std::cell::RefCell;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::rc::Rc;

use super::diagnostic::{Diagnostics, Problem, Span};
use super::suggest::{listed, nearest};
use super::value::{self, Entry, Spanned, Table, Value};

/// One key of a part: its name, its default as text, and what it does, in a sentence.
///
/// `default`: `None` = must be given; `Some("")` = may be left out, and is then unset (a text is
/// empty, a list has no items, a subsection has its own defaults); anything else is read by the
/// getter exactly as if the user had written it (without TOML's quotes).
#[derive(Clone, Copy, Debug)]
pub struct OptionDoc {
    pub name: &'static str,
    pub default: Option<&'static str>,
    pub doc: &'static str,
}

/// One key as it is in effect; `value` is TOML text, `None` when unset.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Setting {
    /// Dotted below a subsection: `roll.bytes`.
    pub key: String,
    pub value: Option<String>,
    /// Of a value that is not shown: another number for another value.
    pub secret: Option<u64>,
    /// The user wrote it; otherwise it is the default.
    pub explicit: bool,
}

/// What `text_or_table` found.
pub enum TextOrTable {
    Text(Spanned<String>),
    Table(Section),
}

#[derive(Clone)]
pub struct Section {
    inner: Rc<Inner>,
}

struct Inner {
    /// As the user would write it: `[sinks.archive]`, `roll` of [sinks.archive].
    title: String,
    table: Table,
    docs: RefCell<Vec<&'static [OptionDoc]>>,
    /// Keys of parts that do not exist yet: refused with their own words by `later`.
    refused: RefCell<Vec<&'static str>>,
    /// Keys that are missing or could not be read: told once, whatever the part finds.
    unusable: RefCell<Vec<&'static str>>,
    record: RefCell<Vec<Record>>,
    diagnostics: Diagnostics,
}

enum Record {
    Setting(Setting),
    Below(&'static str, Section),
    /// One of a list of tables, which is a setting as a whole.
    Listed(Section),
}

/// What stands behind a key.
pub(super) enum Given<'s> {
    Entry(&'s Entry),
    Default(&'static str),
    /// Left out, and that is fine.
    Unset,
    /// Left out, and that has been told.
    Missing,
}

impl Section {
    pub(super) fn new(title: String, table: Table, diagnostics: Diagnostics) -> Self {
        let inner = Inner {
            title,
            table,
            docs: RefCell::default(),
            refused: RefCell::default(),
            unusable: RefCell::default(),
            record: RefCell::default(),
            diagnostics,
        };
        Self { inner: Rc::new(inner) }
    }

    /// A section from the text of a table's body, for a part's own tests; variables are not set.
    pub fn parse(text: &str, docs: &'static [OptionDoc]) -> Self {
        let diagnostics = Diagnostics::new("test.toml", text);
        let table = value::parse(&|_| None, &diagnostics.text(), &diagnostics);
        let section = Self::new("[test]".to_owned(), table, diagnostics);
        section.describe(docs);
        section
    }

    /// Adds rows: the runner's common keys and the part's own may come from two slices.
    pub fn describe(&self, docs: &'static [OptionDoc]) {
        self.inner.docs.borrow_mut().push(docs);
    }

    /// How messages call this table: `[sources.net]`.
    pub fn title(&self) -> &str {
        &self.inner.title
    }

    pub fn diagnostics(&self) -> &Diagnostics {
        &self.inner.diagnostics
    }

    /// Whether the user wrote this key.
    pub fn explicit(&self, key: &str) -> bool {
        self.inner.table.find(key).is_some()
    }

    /// Where the value of `key` stands; the header when the default is in effect.
    pub fn span(&self, key: &str) -> Span {
        self.inner.table.find(key).map_or_else(|| self.header(), |entry| entry.value.span.clone())
    }

    /// Where the table begins: `[sources.net]`.
    pub fn header(&self) -> Span {
        self.inner.table.header.clone()
    }

    // ---- tables -------------------------------------------------------------------------------

    /// The table below `key`, inline or with its own header; empty when left out, so that its
    /// rows' defaults are in effect.
    pub fn subsection(&self, key: &'static str, docs: &'static [OptionDoc]) -> Self {
        let table = match self.given(key) {
            Given::Entry(Entry { value, .. }) => match &value.value {
                Value::Table(table) => table.clone(),
                _ => {
                    self.wrong_type(key, value, "a table", &example(key, docs));
                    self.empty()
                }
            },
            _ => self.empty(),
        };
        self.below(key, table, docs)
    }

    /// A list of tables with these rows; one table alone is a list of one.
    pub fn tables(&self, key: &'static str, docs: &'static [OptionDoc]) -> Vec<Self> {
        let Given::Entry(Entry { value, .. }) = self.given(key) else {
            self.keep(key, None, false);
            return Vec::new();
        };
        let items = match &value.value {
            Value::List(items) => items.as_slice(),
            _ => std::slice::from_ref(value),
        };
        let mut sections = Vec::new();
        for item in items {
            let Value::Table(table) = &item.value else {
                let remedy = format!("write `{key} = [{{ … }}, {{ … }}]`");
                self.wrong_type(key, item, "a list of tables", &remedy);
                continue;
            };
            let title = format!("`{key}` of {}", self.inner.title);
            let section = Self::new(title, table.clone(), self.inner.diagnostics.clone());
            section.describe(docs);
            self.inner.record.borrow_mut().push(Record::Listed(section.clone()));
            sections.push(section);
        }
        self.keep(key, Some(value.value.shown()), true);
        sections
    }

    /// A string, or a table with these rows: `encoder = "raw"`, `encoder = { template = "…" }`.
    pub fn text_or_table(&self, key: &'static str, docs: &'static [OptionDoc]) -> TextOrTable {
        let (text, span, explicit) = match self.given(key) {
            Given::Entry(Entry { value, .. }) => match &value.value {
                Value::Text { text, .. } => (text.clone(), value.span.clone(), true),
                Value::Table(table) => {
                    return TextOrTable::Table(self.below(key, table.clone(), docs));
                }
                _ => {
                    let expected = "a string or a table";
                    self.wrong_type(key, value, expected, &example(key, docs));
                    let default = self.default_of(key, |text| Some(text.to_owned()));
                    (default.unwrap_or_default(), value.span.clone(), true)
                }
            },
            Given::Default(default) => (default.to_owned(), self.header(), false),
            Given::Unset | Given::Missing => (String::new(), self.header(), false),
        };
        self.keep(key, Some(quoted(&text)), explicit);
        TextOrTable::Text(Spanned::new(text, span))
    }

    fn empty(&self) -> Table {
        Table { entries: Vec::new(), header: self.header() }
    }

    fn below(&self, key: &'static str, table: Table, docs: &'static [OptionDoc]) -> Self {
        let title = format!("`{key}` of {}", self.inner.title);
        let section = Self::new(title, table, self.inner.diagnostics.clone());
        section.describe(docs);
        self.inner.record.borrow_mut().push(Record::Below(key, section.clone()));
        section
    }

    // ---- problems -----------------------------------------------------------------------------

    /// An error at the value of `key` (at the header when it is the default). Nothing when the
    /// value was missing or unreadable: that has been told, and this is about its stand-in.
    pub fn fail(&self, key: &str, what: impl Into<String>, remedy: impl Into<String>) {
        if self.usable(key) {
            self.inner.diagnostics.error(self.span(key), what, remedy);
        }
    }

    /// Whether what the getter gave out for `key` is the user's value or a default, no stand-in.
    pub fn usable(&self, key: &str) -> bool {
        !self.inner.unusable.borrow().contains(&key)
    }

    /// An error at the table's header.
    pub fn fail_here(&self, what: impl Into<String>, remedy: impl Into<String>) {
        self.inner.diagnostics.error(self.header(), what, remedy);
    }

    /// An error at a place kept from before, such as one string of a list.
    pub fn fail_at(&self, span: &Span, what: impl Into<String>, remedy: impl Into<String>) {
        self.inner.diagnostics.error(span.clone(), what, remedy);
    }

    /// A warning at the value of `key`.
    pub fn warn(&self, key: &str, what: impl Into<String>, remedy: impl Into<String>) {
        if !self.usable(key) {
            return;
        }
        self.inner.diagnostics.warning(self.span(key), what, remedy);
    }

    /// Refuses, by name, a key whose part is not built yet: `later("gro", "needs GRO support")`.
    pub fn later(&self, key: &'static str, why: &str) {
        self.inner.refused.borrow_mut().push(key);
        if let Some(entry) = self.inner.table.find(key) {
            let what = format!("`{key}` {why}, which is not built yet");
            self.inner.diagnostics.error(entry.key.span.clone(), what, "leave it out for now");
        }
    }

    /// Refuses the keys nobody described, here and in every subsection. Once, after planning.
    pub fn finish(&self) {
        let docs = self.inner.docs.borrow();
        let refused = self.inner.refused.borrow();
        let known: Vec<&str> = docs.iter().copied().flatten().map(|doc| doc.name).collect();
        for Entry { key, .. } in &self.inner.table.entries {
            if known.contains(&key.as_str()) || refused.contains(&key.as_str()) {
                continue;
            }
            let remedy = match nearest(key, known.iter().copied()) {
                Some(word) => format!("did you mean `{word}`?"),
                None if key.value == "include" => {
                    "`include` stands above the first table of a file".to_owned()
                }
                None if known.is_empty() => "it takes no keys".to_owned(),
                None => format!("it takes {}", listed(known.iter().copied())),
            };
            let what = format!("unknown key `{}` in {}", key.value, self.inner.title);
            self.inner.diagnostics.error(key.span.clone(), what, remedy);
        }
        for record in self.inner.record.borrow().iter() {
            if let Record::Below(_, section) | Record::Listed(section) = record {
                section.finish();
            }
        }
    }

    /// Every key that was asked for, in that order, with the value in effect.
    pub fn settings(&self) -> Vec<Setting> {
        let mut settings = Vec::new();
        for record in self.inner.record.borrow().iter() {
            match record {
                Record::Setting(setting) => settings.push(setting.clone()),
                Record::Listed(_) => {}
                Record::Below(key, section) => {
                    settings.extend(section.settings().into_iter().map(|setting| Setting {
                        key: format!("{key}.{}", setting.key),
                        ..setting
                    }));
                }
            }
        }
        settings
    }

    // ---- how a getter reads -------------------------------------------------------------------

    pub(super) fn row(&self, key: &str) -> &'static OptionDoc {
        let docs = self.inner.docs.borrow();
        let row = docs.iter().copied().flatten().find(|doc| doc.name == key);
        row.unwrap_or_else(|| panic!("{} asks for `{key}`, which has no row", self.inner.title))
    }

    pub(super) fn given(&self, key: &'static str) -> Given<'_> {
        let row = self.row(key);
        if let Some(entry) = self.inner.table.find(key) {
            return Given::Entry(entry);
        }
        match row.default {
            Some("") => Given::Unset,
            Some(default) => Given::Default(default),
            None => {
                let what = format!("`{key}` is missing in {}", self.inner.title);
                let problem = Problem::missing(what).at(self.header(), "");
                self.inner.diagnostics.push(problem.remedy(format!("`{key}`: {}", row.doc)));
                self.inner.unusable.borrow_mut().push(key);
                Given::Missing
            }
        }
    }

    pub(super) fn wrong_type(
        &self,
        key: &'static str,
        at: &Spanned<Value>,
        expected: &str,
        remedy: &str,
    ) {
        let what = format!("`{key}`: expected {expected}, found {}", at.value.type_name());
        self.unreadable(key, at.span.clone(), what, remedy);
    }

    /// The value of `key` is of no use; what the part says of its stand-in is not told.
    pub(super) fn unreadable(&self, key: &'static str, span: Span, what: String, remedy: &str) {
        self.inner.unusable.borrow_mut().push(key);
        self.inner.diagnostics.push(Problem::unreadable(what).at(span, "").remedy(remedy));
    }

    pub(super) fn keep(&self, key: &str, value: Option<String>, explicit: bool) {
        let mut record = self.inner.record.borrow_mut();
        let setting = Setting { key: key.to_owned(), value, secret: None, explicit };
        let before = record.iter_mut().find_map(|record| match record {
            Record::Setting(before) if before.key == key => Some(before),
            _ => None,
        });
        match before {
            Some(before) => *before = setting,
            None => record.push(Record::Setting(setting)),
        }
    }

    /// What was kept of the key shows less than there is.
    pub(super) fn keep_secret(&self, key: &str, whole: &impl Hash) {
        let mut hasher = DefaultHasher::new();
        whole.hash(&mut hasher);
        for record in self.inner.record.borrow_mut().iter_mut() {
            if let Record::Setting(setting) = record
                && setting.key == key
            {
                setting.secret = Some(hasher.finish());
            }
        }
    }
}

/// A string as TOML writes it.
pub(super) fn quoted(text: &str) -> String {
    toml::Value::String(text.to_owned()).to_string()
}

fn example(key: &str, docs: &[OptionDoc]) -> String {
    match docs.first() {
        Some(doc) => format!("write `{key} = {{ {} = … }}`", doc.name),
        None => format!("write `{key} = {{}}`"),
    }
}

/// Proves a part's rows, for its tests: `body` gives the required keys; `plan` reads the section as
/// the part does. Every default must parse, every row be asked for, and nothing be wrong.
///
/// # Panics
/// When a row does not hold.
pub fn check_docs(docs: &'static [OptionDoc], body: &str, plan: impl FnOnce(&Section)) {
    let section = Section::parse(body, docs);
    plan(&section);
    section.finish();
    assert!(!section.diagnostics().has_errors(), "{}", section.diagnostics().render(false));
    let record = section.inner.record.borrow();
    for (index, row) in docs.iter().enumerate() {
        let asked = record.iter().any(|record| match record {
            Record::Setting(setting) => setting.key == row.name,
            Record::Below(key, _) => *key == row.name,
            Record::Listed(_) => false,
        });
        assert!(asked, "nobody asks for `{}`", row.name);
        assert!(!row.doc.is_empty(), "`{}` has no doc", row.name);
        let twice = docs[..index].iter().any(|other| other.name == row.name);
        assert!(!twice, "`{}` has two rows", row.name);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const ROLL: &[OptionDoc] = &[
        OptionDoc { name: "bytes", default: Some("1GiB"), doc: "stored bytes" },
        OptionDoc { name: "age", default: Some(""), doc: "since the file was opened" },
    ];

    const DOCS: &[OptionDoc] = &[
        OptionDoc { name: "listen", default: None, doc: "where to listen" },
        OptionDoc { name: "event_max", default: Some("64KiB"), doc: "longest event" },
        OptionDoc { name: "threads", default: Some("1"), doc: "worker threads" },
        OptionDoc { name: "gro", default: Some("false"), doc: "merge datagrams" },
        OptionDoc { name: "when_full", default: Some("wait"), doc: "what then" },
        OptionDoc { name: "sync", default: Some("1s"), doc: "fdatasync" },
        OptionDoc { name: "idle", default: Some(""), doc: "idle time" },
        OptionDoc { name: "roll", default: Some(""), doc: "when to roll" },
    ];

    #[derive(Clone, Copy, Debug, PartialEq)]
    enum Sync {
        Every(Duration),
        Block,
    }

    #[derive(Debug, PartialEq)]
    struct Options {
        listen: Vec<String>,
        event_max: u64,
        threads: i64,
        gro: bool,
        when_full: u8,
        sync: Sync,
        idle: Option<Duration>,
        roll: (u64, Option<Duration>),
    }

    fn plan(section: &Section) -> Options {
        let roll = section.subsection("roll", ROLL);
        Options {
            listen: section.texts("listen").into_iter().map(|text| text.value).collect(),
            event_max: section.size_in("event_max", 64..=16 << 20),
            threads: section.integer("threads", 1..=64),
            gro: section.flag("gro"),
            when_full: section.choice("when_full", &[("wait", 0), ("drop_newest", 1)]),
            sync: section.duration_or_choice("sync", Sync::Every, &[("block", Sync::Block)]),
            idle: section.optional_duration("idle"),
            roll: (roll.size("bytes"), roll.optional_duration("age")),
        }
    }

    #[test]
    fn defaults_come_from_the_rows() {
        check_docs(DOCS, "listen = \"udp://[::]:5514\"", |section| {
            let expected = Options {
                listen: vec!["udp://[::]:5514".to_owned()],
                event_max: 65536,
                threads: 1,
                gro: false,
                when_full: 0,
                sync: Sync::Every(Duration::from_secs(1)),
                idle: None,
                roll: (1 << 30, None),
            };
            assert_eq!(plan(section), expected);
        });
    }

    #[test]
    fn what_is_written_wins_and_is_shown_as_toml() {
        let body = "listen = ['a', 'b']\nevent_max = 4096\nthreads = 0x10\ngro = true\n\
                    when_full = 'drop_newest'\nsync = 'block'\nidle = '90s'\n\
                    roll = { age = '1h' }\n";
        let section = Section::parse(body, DOCS);
        let options = plan(&section);
        section.finish();
        assert_eq!(section.diagnostics().lines(), Vec::<String>::new());
        assert_eq!(options.event_max, 4096);
        assert_eq!(options.threads, 16);
        assert_eq!(options.sync, Sync::Block);
        assert_eq!(options.roll, (1 << 30, Some(Duration::from_secs(3600))));
        let shown: Vec<String> = section
            .settings()
            .into_iter()
            .map(|setting| {
                let mark = if setting.explicit { "" } else { " # default" };
                format!("{} = {}{mark}", setting.key, setting.value.unwrap_or_default())
            })
            .collect();
        assert_eq!(
            shown,
            [
                "roll.bytes = \"1GiB\" # default",
                "roll.age = \"1h\"",
                "listen = [\"a\", \"b\"]",
                "event_max = \"4KiB\"",
                "threads = 16",
                "gro = true",
                "when_full = \"drop_newest\"",
                "sync = \"block\"",
                "idle = \"1m30s\"",
            ]
        );
    }
}
