//! Flume's sinks as ours.

use super::make::{Made, inline, text};
use super::refused::{self, NEVER_SINKS};
use super::syslog::Kept;
use super::tree::Part;
use crate::config::diagnostic::Span;
use crate::config::value::{Spanned, Table, Value};

const LATER: &[(&str, &str)] = &[
    ("avro", "avro"),
    ("avrosink", "avro"),
    ("elasticsearch", "elasticsearch"),
    ("elasticsearchsink", "elasticsearch"),
    ("hdfs", "hdfs"),
    ("hdfseventsink", "hdfs"),
    ("kafkasink", "kafka"),
    ("thrift", "thrift"),
    ("thriftsink", "thrift"),
];
const NAMES: [&str; 13] = [
    "null",
    "logger",
    "file_roll",
    "avro",
    "elasticsearch",
    "hdfs",
    "http",
    "kafkasink",
    "thrift",
    "httpsink",
    "nullsink",
    "loggersink",
    "rollingfilesink",
];

/// `kept`: what the sources of its channel keep of each message.
pub(super) fn translate(part: &Part, kept: &[Kept]) -> Option<(Spanned<String>, Table)> {
    let kind = refused::kind(part, "sink", NEVER_SINKS)?;
    let mut made = match refused::word(&kind).as_str() {
        "null" | "nullsink" => null(part),
        "logger" | "loggersink" => logger(part, kept),
        "file_roll" | "rollingfilesink" => file_roll(part, kept),
        "http" | "httpsink" => super::http_sink::http(part, kept),
        _ => return refused::later(part, &kind, LATER, "sink", NAMES.into_iter()),
    };
    made.text("channel", "channel");
    let wrong = part.text("channels");
    if let Some(wrong) = &wrong {
        let what = format!("`{}.channels`: a sink has one `channel`", part.title);
        part.fail(&wrong.span, what, format!("write `{}.channel = {wrong}`", part.title));
    } else if part.find("channel").is_none() {
        part.missing("channel", "where its events come from");
    }
    part.finish();
    Some(made.table())
}

pub(super) const BATCHES: &str = "batches are as large as what waits";

fn null(part: &Part) -> Made<'_> {
    let made = Made::new(part, "null");
    part.without_effect(&[
        ("batchSize", BATCHES),
        ("logEveryNEvents", "how much it took stands in `/metrics` and in the last log line"),
    ]);
    made
}

fn logger<'p>(part: &'p Part, kept: &[Kept]) -> Made<'p> {
    let mut made = Made::new(part, "logger");
    made.number("maxBytesToLog", "max_bytes");
    let span = part.place();
    encoder(&mut made, kept, false, &span);
    made
}

/// What is written of an event: its text behind the header, or more, as its sources say.
pub(super) fn encoder(made: &mut Made<'_>, kept: &[Kept], headers: bool, span: &Span) {
    let Some(first) = kept.first() else {
        if headers {
            made.put("encoder", span, text("header_and_text"));
        }
        return;
    };
    if kept.iter().any(|other| other != first) {
        let what = "its sources differ in `keepFields`, and a sink writes all events in one way";
        made.part.fail(span, what, "give each source a channel and a sink of its own");
    }
    made.put("encoder", span, first.encoder(headers, span));
}

fn file_roll<'p>(part: &'p Part, kept: &[Kept]) -> Made<'p> {
    let mut made = Made::new(part, "file");
    path(&mut made);
    serializer(&mut made, kept);
    // An event's bytes are what they are.
    made.imply("control", text("keep"));
    roll(&mut made);
    part.without_effect(&[("sink.batchSize", BATCHES), ("batchSize", BATCHES)]);
    made
}

/// `<prefix><when it began>-<number>[.extension]`.
fn path(made: &mut Made<'_>) {
    let part = made.part;
    let Some(directory) = part.text("sink.directory") else {
        part.missing("sink.directory", "where the files are written");
        return;
    };
    let by_time = part.choice(
        "sink.pathManager",
        &[
            ("default", false),
            ("rolltime", true),
            ("org.apache.flume.formatter.output.DefaultPathManager$Builder", false),
            ("org.apache.flume.formatter.output.RollTimePathManager$Builder", true),
        ],
    );
    let of = |key: &str| {
        let value = part.text(&format!("sink.pathManager.{key}"));
        value.map(|value| escaped(&value)).unwrap_or_default()
    };
    let (prefix, extension) = (of("prefix"), of("extension"));
    let dot = if extension.is_empty() { "" } else { "." };
    let began = if by_time.unwrap_or(false) { "%[opened]" } else { "%[started]" };
    let directory_text = escaped(directory.trim_end_matches('/'));
    let path = format!("{directory_text}/{prefix}{began}-%[number]{dot}{extension}");
    made.put("path", &directory.span, text(&path));
}

/// Escapes of paths are ours: file_roll has none.
fn escaped(text: &str) -> String {
    text.replace('%', "%%")
}

/// What `block.bytes` may be.
const BLOCK_BYTES: (i64, i64) = (4 << 10, 16 << 20);

/// Container files of Avro's, compressed inside.
fn avro(made: &mut Made<'_>, kept: &[Kept], span: &Span) {
    let part = made.part;
    if kept.iter().any(|other| Some(other) != kept.first()) {
        let what = "its sources differ in `keepFields`, and a sink writes all events in one way";
        part.fail(span, what, "give each source a channel and a sink of its own");
    }
    let first = kept.first().copied().unwrap_or(Kept::NONE);
    made.put("encoder", span, first.avro(span));
    let codecs = [("null", "none"), ("deflate", "gzip"), ("zstandard", "zstd")];
    let key = "sink.serializer.compressionCodec";
    match part.text(key) {
        None => made.imply("codec", text("none")),
        Some(named) => match codecs.iter().find(|(theirs, _)| *theirs == named.value) {
            Some((_, ours)) => made.put("codec", &named.span, text(ours)),
            None => {
                let what = format!("`{key}`: there is no codec `{}` here", named.value);
                part.fail(&named.span, what, "write `null`, `deflate` or `zstandard`");
            }
        },
    }
    if let Some(bytes) = part.number("sink.serializer.syncIntervalBytes") {
        let bounded = bytes.value.clamp(BLOCK_BYTES.0, BLOCK_BYTES.1);
        if bounded != bytes.value {
            let what = format!("a block of {} bytes is one of {bounded} here", bytes.value);
            let remedy = "write 4096 to 16777216, or leave it out";
            part.diagnostics.warning(bytes.span.clone(), what, remedy);
        }
        made.put("block", &bytes.span, inline(&bytes.span, [("bytes", Value::Integer(bounded))]));
    }
}

fn serializer(made: &mut Made<'_>, kept: &[Kept]) {
    let part = made.part;
    let kind = part.text("sink.serializer");
    let span = kind.as_ref().map_or_else(|| part.place(), |kind| kind.span.clone());
    let word = kind.as_ref().map_or_else(|| "text".to_owned(), |kind| refused::word(kind));
    let avro_event = matches!(word.as_str(), "avro_event" | "flumeeventavroeventserializer");
    if avro_event {
        return avro(made, kept, &span);
    }
    made.imply("codec", text("none"));
    match (word.as_str(), &kind) {
        ("text" | "bodytexteventserializer", _) => encoder(made, kept, false, &span),
        ("header_and_text" | "headerandbodytexteventserializer", _) => {
            encoder(made, kept, true, &span);
        }
        (_, kind) => {
            let shown = kind.as_ref().map_or("", |kind| kind.as_str());
            let what = format!("no serializer is called `{shown}`");
            part.fail(&span, what, "there is `text`, `header_and_text` and `avro_event`");
        }
    }
    if let Some(flag) = part.flag("sink.serializer.appendNewline")
        && !flag.value
    {
        let what = "events without a newline between them are not built";
        part.fail(&flag.span, what, "leave it out: each event is a line");
    }
}

/// No size bounds a file of Flume's, and 0 seconds are for ever.
fn roll(made: &mut Made<'_>) {
    let part = made.part;
    let interval = part.number("sink.rollInterval");
    let (seconds, span) = match &interval {
        Some(interval) => (interval.value, interval.span.clone()),
        None => (30, part.place()),
    };
    if seconds < 0 {
        part.fail(&span, "a file cannot end before it begins", "write seconds, or 0 for never");
    }
    let age = if seconds > 0 { format!("{seconds}s") } else { NEVER.to_owned() };
    let roll = [("bytes", text(ENDLESS)), ("age", text(&age)), ("idle", text(NEVER))];
    made.put("roll", &span, inline(&span, roll));
}

/// The most that `roll` takes.
const NEVER: &str = "366d";
const ENDLESS: &str = "1024TiB";
