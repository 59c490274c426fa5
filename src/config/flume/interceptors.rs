//! A source's interceptors as ours: `interceptors = i1 i2`, and the keys below `interceptors.i1`.
//!
//! Expressions look at an event's body, which for Flume is what its source has left of a message.
//! Ours have the whole message: `of = "body"` says that they look behind its host name, unless the
//! source keeps all of it (`keepFields = all`).

use super::make::{Made, text};
use super::refused;
use super::syslog::Kept;
use super::tree::Part;
use crate::config::suggest::{listed, nearest};
use crate::config::value::{Spanned, Table, Value};

/// What a source of syslog keeps of each message; none of other sources.
type Make = fn(&Part, Option<Kept>) -> Option<Made<'_>>;

/// Flume's alias, the last word of the class without `$Builder`, and what becomes of it.
const KINDS: &[(&str, &str, Make)] = &[
    ("host", "hostinterceptor", host),
    ("regex_extractor", "regexextractorinterceptor", regex_extractor),
    ("regex_filter", "regexfilteringinterceptor", regex_filter),
    ("remove_header", "removeheaderinterceptor", remove_header),
    ("search_replace", "searchandreplaceinterceptor", search_replace),
    ("static", "staticinterceptor", fixed),
    ("timestamp", "timestampinterceptor", timestamp),
    // In Flume by its class alone.
    ("uuid", "uuidinterceptor", uuid),
];

const MILLIS: &str = "org.apache.flume.interceptor.RegexExtractorInterceptorMillisSerializer";

/// What a syslog message says itself, under Flume's names.
const SAID: [&str; 6] = ["Facility", "Severity", "host", "priority", "timestamp", "version"];

pub(super) fn translate(made: &mut Made<'_>, kept: Option<Kept>) {
    let part = made.part;
    let list = part.find("interceptors");
    let names = list.map(|list| list.words()).unwrap_or_default();
    let mut chain = Vec::new();
    for own in part.parts_below("interceptors", &names) {
        if let Some(table) = interceptor(&own, kept) {
            chain.push(Spanned::new(Value::Table(table), own.place()));
        }
    }
    if let Some(list) = list.filter(|_| !chain.is_empty()) {
        made.put("interceptors", &list.value.span, Value::List(chain));
    }
}

/// None: there is none, which has been told.
fn interceptor(part: &Part, kept: Option<Kept>) -> Option<Table> {
    let Some(kind) = part.text("type") else {
        part.missing("type", "which interceptor this is");
        part.ignore_rest();
        return None;
    };
    let word = refused::word(&kind);
    let named = |(alias, class, _): &&(&str, &str, Make)| *alias == word || *class == word;
    let Some((_, _, make)) = KINDS.iter().find(named) else {
        part.ignore_rest();
        unknown(part, &kind, &word);
        return None;
    };
    let made = make(part, kept);
    part.finish();
    made.map(|made| made.table().1)
}

fn unknown(part: &Part, kind: &Spanned<String>, word: &str) {
    if kind.is_empty() {
        // What should have filled it in has been told.
        return;
    }
    if ["morphline", "morphlineinterceptor"].contains(&word) {
        let what = "the interceptor type `morphline` of Flume is not supported";
        let remedy = "take `regex_extractor`, `search_replace` and `regex_filter`; what only a \
                      morphline can do is for a program behind the files";
        part.fail(&kind.span, what, remedy);
        return;
    }
    let names = || KINDS.iter().map(|(alias, _, _)| *alias);
    let remedy = match nearest(word, names()) {
        _ if kind.contains('.') => {
            "a class of your own cannot be loaded: there is no Java here".to_owned()
        }
        Some(near) => format!("did you mean `{near}`?"),
        None => format!("there is {}", listed(names())),
    };
    part.fail(&kind.span, format!("no interceptor has the type `{}`", kind.value), remedy);
}

fn timestamp(part: &Part, _: Option<Kept>) -> Option<Made<'_>> {
    let mut made = Made::new(part, "timestamp");
    made.text("headerName", "header_name");
    made.flag("preserveExisting", "preserve_existing");
    Some(made)
}

fn host(part: &Part, _: Option<Kept>) -> Option<Made<'_>> {
    let mut made = Made::new(part, "host");
    made.text("hostHeader", "host_header");
    made.flag("useIP", "use_ip");
    made.flag("preserveExisting", "preserve_existing");
    Some(made)
}

fn fixed(part: &Part, _: Option<Kept>) -> Option<Made<'_>> {
    let mut made = Made::new(part, "static");
    made.text("key", "key");
    made.text("value", "value");
    made.flag("preserveExisting", "preserve_existing");
    Some(made)
}

fn uuid(part: &Part, _: Option<Kept>) -> Option<Made<'_>> {
    let mut made = Made::new(part, "uuid");
    made.text("headerName", "header_name");
    made.flag("preserveExisting", "preserve_existing");
    made.text("prefix", "prefix");
    Some(made)
}

fn remove_header(part: &Part, kept: Option<Kept>) -> Option<Made<'_>> {
    let mut made = Made::new(part, "remove_header");
    made.text("withName", "with_name");
    made.text("fromList", "from_list");
    made.text("fromListSeparator", "from_list_separator");
    made.text("matching", "matching");
    let keys = || ["withName", "fromList", "matching"].into_iter().filter_map(|key| part.find(key));
    if keys().next().is_none() {
        let what = format!("{} removes nothing, nor does it in Flume", part.title);
        let remedy = "write `withName`, `fromList` or `matching`";
        part.diagnostics.warning(part.place(), what, remedy);
        return None;
    }
    let said = |name: &&str| keys().any(|key| key.value.split([',', ' ']).any(|it| it == *name));
    for name in SAID.iter().filter(|name| kept.is_some() && said(name)) {
        let what = format!("`{name}` is what the message says, and can be read all the same");
        let remedy = "headers that were set are removed: write of a message what you want, by an \
                      `encoder` in TOML";
        part.diagnostics.warning(part.place(), what, remedy);
    }
    Some(made)
}

fn search_replace(part: &Part, kept: Option<Kept>) -> Option<Made<'_>> {
    if part.find("searchPattern").is_none() {
        part.missing("searchPattern", "the expression that is looked for");
        part.ignore_rest();
        return None;
    }
    let mut made = Made::new(part, "search_replace");
    made.text("searchPattern", "search_pattern");
    made.text("replaceString", "replace_string");
    made.text("charset", "charset");
    looks_at(&mut made, kept);
    Some(made)
}

fn regex_filter(part: &Part, kept: Option<Kept>) -> Option<Made<'_>> {
    let mut made = Made::new(part, "regex_filter");
    made.text("regex", "regex");
    made.flag("excludeEvents", "exclude_events");
    looks_at(&mut made, kept);
    Some(made)
}

fn regex_extractor(part: &Part, kept: Option<Kept>) -> Option<Made<'_>> {
    let mut made = Made::new(part, "regex_extractor");
    if part.find("regex").is_none() {
        part.missing("regex", "an expression with a group for each serializer");
        part.ignore_rest();
        return None;
    }
    made.text("regex", "regex");
    let Some(list) = part.find("serializers") else {
        part.missing("serializers", "names, one for each group of the expression");
        part.ignore_rest();
        return None;
    };
    let names = list.words();
    let parts = part.parts_below("serializers", &names);
    let listed = parts.len();
    let made_of = |own: &Part| Some(Spanned::new(Value::Table(serializer(own)?), own.place()));
    let tables: Vec<_> = parts.iter().filter_map(made_of).collect();
    if listed < names.len() || tables.len() < listed {
        // Groups and names would not go together.
        part.ignore_rest();
        return None;
    }
    made.put("serializers", &list.value.span, Value::List(tables));
    looks_at(&mut made, kept);
    Some(made)
}

/// A header for one group; none when something is wrong, which has been told.
fn serializer(part: &Part) -> Option<Table> {
    let kind = part.text("type");
    let word = kind.as_ref().map_or_else(|| "default".to_owned(), |kind| refused::word(kind));
    let mut made = Made::bare(part);
    made.text("name", "name");
    match (word.as_str(), &kind) {
        ("default" | "regexextractorinterceptorpassthroughserializer", _) => {}
        ("regexextractorinterceptormillisserializer", _) => {
            let span = kind.map_or_else(|| part.place(), |kind| kind.span);
            made.put("type", &span, text("millis"));
            if part.find("pattern").is_none() {
                part.missing("pattern", "how the time is written: `yyyy-MM-dd HH:mm:ss`");
                return None;
            }
            made.text("pattern", "pattern");
        }
        (_, kind) => {
            let what = format!("no serializer has the type `{}`", kind.as_ref()?.value);
            let remedy = format!(
                "there is `default` and `{MILLIS}`; a class of your own cannot be loaded: there is \
                 no Java here"
            );
            part.fail(&kind.as_ref()?.span, what, remedy);
            return None;
        }
    }
    if part.find("name").is_none() {
        part.missing("name", "the header that the group becomes");
        return None;
    }
    part.finish();
    Some(made.table().1)
}

/// What an expression looks at: as much of a message as the source's `keepFields` leaves.
fn looks_at(made: &mut Made<'_>, kept: Option<Kept>) {
    let Some(Kept::Some(fields)) = kept else { return };
    made.imply("of", text("body"));
    if fields.contains(&true) {
        let what = "the expression looks behind the host name; in Flume it looks at the fields in \
                    front of it, too, that `keepFields` keeps";
        let remedy = "write `keepFields = none` or `all`, if the expression begins with `^` or is \
                      about these fields";
        made.part.diagnostics.warning(made.part.place(), what, remedy);
    }
}
