//! Flume's sources of files as ours.

use super::make::{Made, text};
use super::tree::Part;
use crate::config::value::Value;
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
        match kind {
            "avro" => {
                let what = "the deserializer `avro` is not built yet";
                let remedy = "take `LINE`, and write lines of JSON instead of Avro";
                part.fail(&key.value.span, what, remedy);
                part.ignore_below("deserializer.");
            }
            kind => made.put("deserializer", &key.value.span, text(kind)),
        }
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
