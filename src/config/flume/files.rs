//! Flume's sources of files as ours.

use super::around::Around;
use super::make::{Made, text};
use super::tree::Part;
use crate::config::suggest::nearest;
use crate::config::value::{Entry, Spanned, Table, Value};
use crate::limits;

const BYTES: &str = "bytes are kept as they come, whatever they mean";
const ROOM: &str = "a full channel is waited for, and wakes the source";

pub(super) fn spooldir(part: &Part) -> Made<'_> {
    let mut made = Made::new(part, "spooldir");
    if part.find("spoolDir").is_none() {
        part.missing("spoolDir", "the folder that files are put into");
    }
    for (theirs, ours) in [
        ("spoolDir", "spool_dir"),
        ("fileSuffix", "file_suffix"),
        ("trackerDir", "tracker_dir"),
        ("includePattern", "include_pattern"),
        ("ignorePattern", "ignore_pattern"),
    ] {
        made.text(theirs, ours);
    }
    word(&mut made, "deletePolicy", "delete_policy", &["never", "immediate"]);
    word(&mut made, "trackingPolicy", "tracking_policy", &["rename", "tracker_dir"]);
    word(&mut made, "consumeOrder", "consume_order", &["oldest", "youngest", "random"]);
    made.flag("recursiveDirectorySearch", "recursive_directory_search");
    if let Some(millis) = part.number("pollDelay") {
        made.put("poll_delay", &millis.span, text(&format!("{}ms", millis.value)));
    }
    header(&mut made, ["fileHeader", "file_header"], ["fileHeaderKey", "file_header_key"]);
    let keys = ["basenameHeaderKey", "basename_header_key"];
    header(&mut made, ["basenameHeader", "basename_header"], keys);
    deserializer(&mut made);
    part.without_effect(&[
        ("batchSize", "lines travel in batches of bytes"),
        ("maxBackoff", ROOM),
        ("inputCharset", BYTES),
        ("decodeErrorPolicy", BYTES),
        ("deserializer.outputCharset", BYTES),
        ("bufferMaxLineLength", "nor has it in Flume: `deserializer.maxLineLength` has"),
        ("bufferMaxLines", "nor has it in Flume"),
    ]);
    made
}

/// One of our own words, which Flume takes in any case.
fn word(made: &mut Made<'_>, theirs: &str, ours: &str, words: &[&'static str]) {
    let choices: Vec<(&str, &str)> = words.iter().map(|word| (*word, *word)).collect();
    if let (Some(word), Some(key)) = (made.part.choice(theirs, &choices), made.part.find(theirs)) {
        made.put(ours, &key.value.span, text(word));
    }
}

/// A header that is set when its flag is, and its name.
fn header(made: &mut Made<'_>, flag: [&str; 2], key: [&str; 2]) {
    let part = made.part;
    made.flag(flag[0], flag[1]);
    if part.flag(flag[0]).is_some_and(|flag| flag.value) {
        made.text(key[0], key[1]);
    } else {
        let why = format!("there is no such header without `{} = true`", flag[0]);
        part.without_effect(&[(key[0], why.as_str())]);
    }
}

fn deserializer(made: &mut Made<'_>) {
    let part = made.part;
    let kinds = [
        ("line", "line"),
        ("blob", "blob"),
        ("avro", "avro"),
        ("org.apache.flume.serialization.LineDeserializer$Builder", "line"),
        ("org.apache.flume.serialization.AvroEventDeserializer$Builder", "avro"),
        ("org.apache.flume.sink.solr.morphline.BlobDeserializer$Builder", "blob"),
    ];
    let kind = part.choice("deserializer", &kinds).unwrap_or("line");
    if let Some(key) = part.find("deserializer") {
        made.put("deserializer", &key.value.span, text(kind));
    }
    if kind == "avro" {
        word(made, "deserializer.schemaType", "schema_type", &["hash", "literal"]);
    } else {
        let why = "only the deserializer `AVRO` has a schema";
        part.without_effect(&[("deserializer.schemaType", why)]);
    }
    longest(made, "deserializer.maxLineLength", "max_line_length");
    longest(made, "deserializer.maxBlobLength", "max_blob_length");
}

/// How long an event may be: more than ours can be comes in pieces.
fn longest(made: &mut Made<'_>, theirs: &str, ours: &str) {
    let Some(length) = made.part.number(theirs) else { return };
    let most = limits::EVENT_BYTES_MAX as i64;
    if length.value > most {
        let what =
            format!("`{theirs}`: what is longer than 256 KiB comes in pieces marked `split`");
        made.part.diagnostics.note(length.span.clone(), what);
    }
    made.put(ours, &length.span, Value::Integer(length.value.min(most)));
}

pub(super) fn taildir(part: &Part) -> Made<'_> {
    let mut made = Made::new(part, "taildir");
    groups(&mut made);
    made.text("positionFile", "position_file");
    made.flag("skipToEnd", "skip_to_end");
    for (theirs, ours) in
        [("idleTimeout", "idle_timeout"), ("writePosInterval", "write_pos_interval")]
    {
        if let Some(millis) = part.number(theirs) {
            made.put(ours, &millis.span, text(&format!("{}ms", millis.value)));
        }
    }
    part.without_effect(&[
        ("batchSize", "lines travel in batches of bytes"),
        ("maxBatchCount", "files take turns, each 256 KiB"),
        ("backoffSleepIncrement", ROOM),
        ("maxBackoffSleep", ROOM),
        ("cachePatternMatching", "a directory is looked at when something in it changes"),
    ]);
    header(&mut made, ["fileHeader", "file_header"], ["fileHeaderKey", "file_header_key"]);
    made.flag("byteOffsetHeader", "byte_offset_header");
    labels(&mut made);
    made
}

/// Flume keeps positions below the home directory when it is not told where.
pub(super) fn position_file(made: &mut Made<'_>, around: &Around) {
    let part = made.part;
    if part.find("positionFile").is_some() {
        return;
    }
    match around.variable("HOME") {
        Some(home) => {
            let path = format!("{home}/.flume/taildir_position.json");
            made.imply("position_file", text(&path));
        }
        None => part.missing("positionFile", "where positions are kept; there is no $HOME"),
    }
}

/// `filegroups = f1 f2` and `filegroups.f1 = /var/log/app/.*`.
fn groups(made: &mut Made<'_>) {
    let part = made.part;
    let Some(list) = part.find("filegroups") else {
        part.missing("filegroups", "names of groups of files, each described by `filegroups.NAME`");
        part.ignore_below("filegroups.");
        return;
    };
    let mut entries = Vec::new();
    for name in list.words() {
        let key = format!("filegroups.{}", name.value);
        match part.text(&key) {
            Some(path) => {
                let value = Spanned::new(text(&path.value), path.span.clone());
                entries.push(Entry { key: name, value });
            }
            None => part.missing(&key, "a directory, and an expression for names of files in it"),
        }
    }
    if entries.is_empty() {
        return;
    }
    let header = list.value.span.clone();
    made.put("filegroups", &header, Value::Table(Table { entries, header: header.clone() }));
}

/// `headers.f1.site = berlin`: headers of a group, of which a name may have dots.
fn labels(made: &mut Made<'_>) {
    let part = made.part;
    let groups: Vec<String> = match part.find("filegroups") {
        Some(list) => list.words().into_iter().map(|name| name.value).collect(),
        None => Vec::new(),
    };
    let mut tables: Vec<Entry> = Vec::new();
    let mut place = part.place();
    for key in part.keys.iter().filter(|key| key.name.starts_with("headers.")) {
        let _ = part.find(&key.name.value);
        let (_, rest) = key.name.split_once('.').unwrap_or_default();
        let (group, name) = rest.split_once('.').unwrap_or((rest, ""));
        if name.is_empty() {
            let what = format!("`{}` names no header", key.name.value);
            let remedy = format!("write `headers.{group}.site = berlin`");
            part.fail(&key.name.span, what, remedy);
            continue;
        }
        if !groups.iter().any(|known| known == group) {
            let what =
                format!("`{group}` is not in `filegroups`, so `{}` is not used", key.name.value);
            let remedy = match nearest(group, groups.iter().map(String::as_str)) {
                Some(near) => format!("did you mean `headers.{near}.{name}`?"),
                None => "name it there, or take the line out".to_owned(),
            };
            part.diagnostics.warning(key.name.span.clone(), what, remedy);
            continue;
        }
        let entry = Entry {
            key: Spanned::new(name.to_owned(), key.name.span.clone()),
            value: Spanned::new(text(&key.value), key.value.span.clone()),
        };
        let known = tables.iter_mut().find(|table| table.key.value == group);
        match known.map(|table| &mut table.value.value) {
            Some(Value::Table(table)) => table.entries.push(entry),
            _ => {
                if tables.is_empty() {
                    place = key.name.span.clone();
                }
                let table = Table { entries: vec![entry], header: key.name.span.clone() };
                tables.push(Entry {
                    key: Spanned::new(group.to_owned(), key.name.span.clone()),
                    value: Spanned::new(Value::Table(table), key.name.span.clone()),
                });
            }
        }
    }
    if !tables.is_empty() {
        let table = Table { entries: tables, header: place.clone() };
        made.put("headers", &place, Value::Table(table));
    }
}
