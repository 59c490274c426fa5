//! The typed getters of a [`Section`]: which TOML types each takes, how it reads them, how it shows
//! the value in effect. All end in `scalar` but lists and tables.

use std::ops::RangeInclusive;
use std::time::Duration;

use super::section::{Given, Section, quoted};
use super::suggest::{listed, nearest};
use super::units::{self, Amount, Rate, UnitError};
use super::value::{Entry, Spanned, Value};

/// Strings by name, in the order in which they stand.
pub(super) type Texts = Vec<(Spanned<String>, Spanned<String>)>;

impl Section {
    // ---- texts --------------------------------------------------------------------------------

    pub fn text(&self, key: &'static str) -> String {
        self.optional_text(key).unwrap_or_default()
    }

    /// `None` when unset.
    pub fn optional_text(&self, key: &'static str) -> Option<String> {
        self.scalar(key, &Scalar::TEXT, |text| Ok(text.to_owned()), |text| quoted(text))
    }

    /// The text of the file that it names. What cannot be read is told, with this remedy.
    pub fn optional_file(&self, key: &'static str, remedy: &str) -> Option<String> {
        let path = self.optional_text(key)?;
        let text = std::fs::read_to_string(&path);
        text.map_err(|error| self.fail(key, format!("`{key}`: {path}: {error}"), remedy)).ok()
    }

    /// One of a few words: `section.choice("when_full", &[("wait", Wait), ("drop_newest", Drop)])`.
    pub fn choice<T: Copy>(&self, key: &'static str, choices: &[(&'static str, T)]) -> T {
        let (_, first) = choices.first().expect("a choice has words to choose from");
        let fallback = self.default_of(key, |text| find_choice(text, choices).ok());
        self.scalar(key, &Scalar::WORD, |text| find_choice(text, choices), |(word, _)| quoted(word))
            .or(fallback)
            .map_or(*first, |(_, choice)| choice)
    }

    /// What each string of a list means. One that means nothing is an error where it stands:
    /// `"…" is no such thing`, of which `read` says the second half.
    pub fn each<T>(
        &self,
        key: &'static str,
        remedy: &str,
        read: impl Fn(&str) -> Result<T, String>,
    ) -> Vec<T> {
        let meant = |text: Spanned<String>| match read(&text.value) {
            Ok(meant) => Some(meant),
            Err(why) => {
                let what = format!("\"{}\" {why}", text.value.escape_debug());
                self.fail_at(&text.span, what, remedy);
                None
            }
        };
        self.texts(key).into_iter().filter_map(meant).collect()
    }

    /// A list of strings; one string alone is a list of one.
    pub fn texts(&self, key: &'static str) -> Vec<Spanned<String>> {
        let mut texts = Vec::new();
        let mut explicit = true;
        match self.given(key) {
            Given::Missing => return texts,
            Given::Unset => explicit = false,
            Given::Default(default) => {
                explicit = false;
                let words = default.split(',').map(str::trim).filter(|word| !word.is_empty());
                texts.extend(words.map(|word| Spanned::new(word.to_owned(), self.header())));
            }
            Given::Entry(entry) => {
                let remedy = format!("write `{key} = [\"…\", \"…\"]`");
                texts = self.strings(key, &entry.value, &remedy);
            }
        }
        self.keep(key, Some(shown_list(&texts)), explicit);
        texts
    }

    /// The strings of a list, or one alone.
    fn strings(
        &self,
        key: &'static str,
        value: &Spanned<Value>,
        remedy: &str,
    ) -> Vec<Spanned<String>> {
        let items = match &value.value {
            Value::List(items) => items.as_slice(),
            _ => std::slice::from_ref(value),
        };
        let mut texts = Vec::with_capacity(items.len());
        for item in items {
            match &item.value {
                Value::Text { text, .. } => {
                    texts.push(Spanned::new(text.clone(), item.span.clone()));
                }
                _ => self.wrong_type(key, item, "a list of strings", remedy),
            }
        }
        texts
    }

    /// A table of which the keys are free: each with the string it stands for.
    pub fn table_of_texts(&self, key: &'static str) -> Vec<(Spanned<String>, Spanned<String>)> {
        self.texts_shown(key, quoted)
    }

    /// The same with strings that nobody is shown, because some of them are secrets.
    pub fn table_of_secrets(&self, key: &'static str) -> Vec<(Spanned<String>, Spanned<String>)> {
        let texts = self.texts_shown(key, |_| quoted("…"));
        let whole: Vec<(&str, &str)> =
            texts.iter().map(|(name, text)| (name.as_str(), text.as_str())).collect();
        self.keep_secret(key, &whole);
        texts
    }

    fn texts_shown(
        &self,
        key: &'static str,
        shown: impl Fn(&str) -> String,
    ) -> Vec<(Spanned<String>, Spanned<String>)> {
        let remedy = format!("write `{key} = {{ \"…\" = \"…\" }}`");
        let read = |value: &Spanned<Value>| match &value.value {
            Value::Text { text, .. } => Some(Spanned::new(text.clone(), value.span.clone())),
            _ => {
                self.wrong_type(key, value, "a string", &remedy);
                None
            }
        };
        self.free_table(key, &remedy, read, |text| shown(text))
    }

    /// A table of which the keys are free: each with a list of strings, or one alone.
    pub fn table_of_lists(
        &self,
        key: &'static str,
    ) -> Vec<(Spanned<String>, Vec<Spanned<String>>)> {
        let remedy = format!("write `{key} = {{ \"…\" = [\"…\"] }}`");
        let read = |value: &Spanned<Value>| Some(self.strings(key, value, &remedy));
        self.free_table(key, &remedy, read, |texts| shown_list(texts))
    }

    /// A table of tables, of which all keys are free: each with the strings by name.
    pub fn table_of_tables(&self, key: &'static str) -> Vec<(Spanned<String>, Texts)> {
        let remedy = format!("write `{key} = {{ \"…\" = {{ \"…\" = \"…\" }} }}`");
        let text = |entry: &Entry| match &entry.value.value {
            Value::Text { text, .. } => {
                let value = Spanned::new(text.clone(), entry.value.span.clone());
                Some((entry.key.clone(), value))
            }
            _ => {
                self.wrong_type(key, &entry.value, "a string", &remedy);
                None
            }
        };
        let read = |value: &Spanned<Value>| match &value.value {
            Value::Table(table) => Some(table.entries.iter().filter_map(text).collect()),
            _ => {
                self.wrong_type(key, value, "a table", &remedy);
                None
            }
        };
        let shown = |texts: &Texts| {
            let pairs =
                texts.iter().map(|(name, text)| format!("{} = {}", quoted(name), quoted(text)));
            format!("{{ {} }}", pairs.collect::<Vec<_>>().join(", "))
        };
        self.free_table(key, &remedy, read, shown)
    }

    fn free_table<T>(
        &self,
        key: &'static str,
        remedy: &str,
        read: impl Fn(&Spanned<Value>) -> Option<T>,
        shown: impl Fn(&T) -> String,
    ) -> Vec<(Spanned<String>, T)> {
        let Given::Entry(entry) = self.given(key) else {
            self.keep(key, None, false);
            return Vec::new();
        };
        let Value::Table(table) = &entry.value.value else {
            self.wrong_type(key, &entry.value, "a table", remedy);
            return Vec::new();
        };
        let read = |entry: &Entry| Some((entry.key.clone(), read(&entry.value)?));
        let entries: Vec<(Spanned<String>, T)> = table.entries.iter().filter_map(read).collect();
        let pair =
            |(key, value): &(Spanned<String>, T)| format!("{} = {}", quoted(key), shown(value));
        let pairs: Vec<String> = entries.iter().map(pair).collect();
        self.keep(key, Some(format!("{{ {} }}", pairs.join(", "))), true);
        entries
    }

    // ---- numbers ------------------------------------------------------------------------------

    /// Bytes.
    pub fn size(&self, key: &'static str) -> u64 {
        self.size_in(key, 0..=u64::MAX)
    }

    pub fn size_in(&self, key: &'static str, range: RangeInclusive<u64>) -> u64 {
        let fallback = self.default_of(key, |text| units::size(text).ok());
        self.optional_size_in(key, range.clone()).or(fallback).unwrap_or_else(|| *range.start())
    }

    pub fn optional_size(&self, key: &'static str) -> Option<u64> {
        self.optional_size_in(key, 0..=u64::MAX)
    }

    pub fn optional_size_in(&self, key: &'static str, range: RangeInclusive<u64>) -> Option<u64> {
        let parse = |text: &str| within(units::size(text)?, &range, u64::MAX, units::show_size);
        self.scalar(key, &Scalar::SIZE, parse, |bytes| quoted(&units::show_size(*bytes)))
    }

    pub fn duration(&self, key: &'static str) -> Duration {
        self.duration_in(key, Duration::ZERO..=Duration::MAX)
    }

    pub fn duration_in(&self, key: &'static str, range: RangeInclusive<Duration>) -> Duration {
        let fallback = self.default_of(key, |text| units::duration(text).ok());
        self.optional_duration_in(key, range.clone()).or(fallback).unwrap_or_else(|| *range.start())
    }

    pub fn optional_duration(&self, key: &'static str) -> Option<Duration> {
        self.optional_duration_in(key, Duration::ZERO..=Duration::MAX)
    }

    pub fn optional_duration_in(
        &self,
        key: &'static str,
        range: RangeInclusive<Duration>,
    ) -> Option<Duration> {
        let parse = |text: &str| {
            within(units::duration(text)?, &range, Duration::MAX, units::show_duration)
        };
        self.scalar(key, &Scalar::TIME, parse, |time| quoted(&units::show_duration(*time)))
    }

    /// A time or one of a few words: `sync = "1s" | "block" | "never"`.
    pub fn duration_or_choice<T: Copy>(
        &self,
        key: &'static str,
        time: impl Fn(Duration) -> T,
        choices: &[(&'static str, T)],
    ) -> T {
        let parse = |text: &str| time_or_choice(text, &time, choices);
        let fallback = self.default_of(key, |text| parse(text).ok());
        self.scalar(key, &Scalar::TIME, parse, |(shown, _)| quoted(shown))
            .or(fallback)
            .map_or_else(|| time(Duration::ZERO), |(_, value)| value)
    }

    pub fn integer(&self, key: &'static str, range: RangeInclusive<i64>) -> i64 {
        let fallback = self.default_of(key, |text| text.parse().ok());
        self.optional_integer(key, range.clone()).or(fallback).unwrap_or_else(|| *range.start())
    }

    pub fn optional_integer(&self, key: &'static str, range: RangeInclusive<i64>) -> Option<i64> {
        let parse = |text: &str| {
            let number = text.parse::<i64>().map_err(|_| UnitError {
                what: format!("\"{text}\" is not an integer"),
                remedy: format!("from {} to {}", range.start(), range.end()),
            })?;
            within(number, &range, i64::MAX, |number| number.to_string())
        };
        self.scalar(key, &Scalar::INTEGER, parse, i64::to_string)
    }

    /// A number or one of a few words: `level = 3 | "adapt"`.
    pub fn optional_integer_or_choice<T: Copy>(
        &self,
        key: &'static str,
        range: RangeInclusive<i64>,
        number: impl Fn(i64) -> T,
        choices: &[(&'static str, T)],
    ) -> Option<T> {
        let words = || listed(choices.iter().map(|(word, _)| *word)).replace('`', "\"");
        let parse = |text: &str| match (text.parse::<i64>(), find_choice(text, choices)) {
            (Ok(parsed), _) => {
                let parsed = within(parsed, &range, i64::MAX, |number| number.to_string());
                let or = |error: UnitError| format!("{}, or {}", error.remedy, words());
                parsed
                    .map(|parsed| (parsed.to_string(), number(parsed)))
                    .map_err(|error| UnitError { what: error.what.clone(), remedy: or(error) })
            }
            (Err(_), Ok((word, value))) => Ok((quoted(word), value)),
            (Err(_), Err(_)) => Err(UnitError {
                what: format!("\"{text}\" is neither a number nor a word that is known"),
                remedy: format!("from {} to {}, or {}", range.start(), range.end(), words()),
            }),
        };
        let shown = |(shown, _): &(String, T)| shown.clone();
        self.scalar(key, &Scalar::NUMBER_OR_WORD, parse, shown).map(|(_, value)| value)
    }

    pub fn flag(&self, key: &'static str) -> bool {
        let parse = |text: &str| match text {
            "true" => Ok(true),
            "false" => Ok(false),
            _ => Err(UnitError {
                what: format!("\"{text}\" is neither true nor false"),
                remedy: "write `true` or `false`".to_owned(),
            }),
        };
        let fallback = self.default_of(key, |text| parse(text).ok());
        self.scalar(key, &Scalar::FLAG, parse, bool::to_string).or(fallback).unwrap_or_default()
    }

    /// Events a second; an integer, `"10k/s"` or `"max"`.
    pub fn rate(&self, key: &'static str) -> Rate {
        let fallback = self.default_of(key, |text| units::rate(text).ok());
        self.scalar(key, &Scalar::RATE, units::rate, |rate| quoted(&units::show_rate(*rate)))
            .or(fallback)
            .unwrap_or(Rate::PerSecond(1))
    }

    /// A size or a share in percent.
    pub fn optional_amount(&self, key: &'static str) -> Option<Amount> {
        let show = |amount: &Amount| quoted(&units::show_amount(*amount));
        self.scalar(key, &Scalar::AMOUNT, units::amount, show)
    }

    // ---- how they read -----------------------------------------------------------------------

    /// The row's default, read; `None` when there is none.
    pub(super) fn default_of<T>(&self, key: &str, read: impl Fn(&str) -> Option<T>) -> Option<T> {
        self.row(key).default.filter(|text| !text.is_empty()).and_then(read)
    }

    /// Reads one value as text through `parse`; `None` when unset, missing or refused (and told).
    fn scalar<T>(
        &self,
        key: &'static str,
        scalar: &Scalar,
        parse: impl Fn(&str) -> Result<T, UnitError>,
        show: impl Fn(&T) -> String,
    ) -> Option<T> {
        let entry = match self.given(key) {
            Given::Missing => return None,
            Given::Unset => {
                self.keep(key, None, false);
                return None;
            }
            Given::Default(default) => {
                let value = parse(default).unwrap_or_else(|error| {
                    panic!("the default of `{key}` in {}: {error}", self.title())
                });
                self.keep(key, Some(show(&value)), false);
                return Some(value);
            }
            Given::Entry(entry) => entry,
        };
        let Some(text) = scalar.text_of(&entry.value.value) else {
            // What the parser would say of nothing is what would be right.
            let right = parse("").err().map_or_else(String::new, |error| error.remedy);
            let remedy = scalar.remedy(&entry.value.value, right);
            self.wrong_type(key, &entry.value, scalar.expected, &remedy);
            return None;
        };
        match parse(&text) {
            Ok(value) => {
                self.keep(key, Some(show(&value)), true);
                Some(value)
            }
            Err(error) => {
                let what = match entry.value.value {
                    Value::Text { .. } => error.what,
                    _ => error.what.replace(&format!("\"{text}\""), &text),
                };
                let what = format!("`{key}`: {what}");
                self.unreadable(key, entry.value.span.clone(), what, &error.remedy);
                None
            }
        }
    }
}

/// Which TOML types a getter takes, and how it calls what it wanted.
struct Scalar {
    expected: &'static str,
    strings: bool,
    integers: bool,
    flags: bool,
}

impl Scalar {
    const TEXT: Self = Self { expected: "a string", strings: true, integers: false, flags: false };
    const WORD: Self = Self { expected: "a word", ..Self::TEXT };
    const TIME: Self = Self { expected: "a time", ..Self::TEXT };
    const SIZE: Self = Self { expected: "a size", integers: true, ..Self::TEXT };
    const RATE: Self = Self { expected: "a rate", integers: true, ..Self::TEXT };
    const AMOUNT: Self = Self { expected: "a size or a share", integers: true, ..Self::TEXT };
    const INTEGER: Self =
        Self { expected: "an integer", strings: false, integers: true, flags: false };
    const NUMBER_OR_WORD: Self =
        Self { expected: "an integer or a word", strings: true, integers: true, flags: false };
    const FLAG: Self =
        Self { expected: "true or false", strings: false, integers: false, flags: true };

    /// What to write instead of a value of the wrong type.
    fn remedy(&self, found: &Value, right: String) -> String {
        match found {
            Value::Integer(number) if self.expected == "a time" && *number >= 0 => {
                format!("write \"{number}s\" for seconds; {right}")
            }
            Value::Text { .. } => format!("without quotes; {right}"),
            _ if right.is_empty() => "put it in double quotes".to_owned(),
            _ => right,
        }
    }

    /// The value as the text to parse, when its type will do.
    fn text_of(&self, value: &Value) -> Option<String> {
        match value {
            // A variable can only come as a string: `threads = "${THREADS}"` is the number.
            Value::Text { text, filled } if self.strings || *filled => Some(text.clone()),
            Value::Integer(number) if self.integers => Some(number.to_string()),
            Value::Flag(flag) if self.flags => Some(flag.to_string()),
            _ => None,
        }
    }
}

/// `value` if the range holds it; a range that ends at `open` has no upper end worth naming.
fn within<T: PartialOrd + Copy>(
    value: T,
    range: &RangeInclusive<T>,
    open: T,
    show: impl Fn(T) -> String,
) -> Result<T, UnitError> {
    if range.contains(&value) {
        return Ok(value);
    }
    let (low, high) = (*range.start(), *range.end());
    let (side, limit) = if value < low { ("below", low) } else { ("above", high) };
    Err(UnitError {
        what: format!("{} is {side} {}", show(value), show(limit)),
        remedy: if high == open {
            format!("at least {}", show(low))
        } else {
            format!("from {} to {}", show(low), show(high))
        },
    })
}

fn find_choice<T: Copy>(
    text: &str,
    choices: &[(&'static str, T)],
) -> Result<(&'static str, T), UnitError> {
    let words = || choices.iter().map(|(word, _)| *word);
    choices.iter().find(|(word, _)| *word == text).copied().ok_or_else(|| UnitError {
        what: format!("\"{text}\" is not known"),
        remedy: match nearest(text, words()) {
            Some(word) => format!("did you mean \"{word}\"?"),
            None => format!("write {}", listed(words()).replace('`', "\"")),
        },
    })
}

fn time_or_choice<T: Copy>(
    text: &str,
    time: impl Fn(Duration) -> T,
    choices: &[(&'static str, T)],
) -> Result<(String, T), UnitError> {
    if let Ok((word, value)) = find_choice(text, choices) {
        return Ok((word.to_owned(), value));
    }
    match units::duration(text) {
        Ok(duration) => Ok((units::show_duration(duration), time(duration))),
        Err(error) => {
            let words = listed(choices.iter().map(|(word, _)| *word)).replace('`', "\"");
            Err(UnitError { remedy: format!("{}, or {words}", error.remedy), ..error })
        }
    }
}

fn shown_list(texts: &[Spanned<String>]) -> String {
    let words: Vec<String> = texts.iter().map(|text| quoted(text)).collect();
    format!("[{}]", words.join(", "))
}
