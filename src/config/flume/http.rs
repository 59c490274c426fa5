//! Flume's HTTP source as ours.

use super::make::{Made, text};
use super::refused;
use super::sources::listen;
use super::tree::Part;
use crate::config::value::{Spanned, Value};
use crate::limits;

/// Flume's handlers, by alias and by class, and what a body is taken for.
const HANDLERS: &[(&str, &str)] = &[
    ("json", "json"),
    ("blob", "blob"),
    ("org.apache.flume.source.http.JSONHandler", "json"),
    ("org.apache.flume.source.http.BLOBHandler", "blob"),
    ("org.apache.flume.sink.solr.morphline.BlobHandler", "blob"),
];

/// Where Flume has no limit, or one that nobody has chosen.
const BLOB_BYTES: i64 = 16 << 20;

/// Setters of Jetty's, by prefix.
const JETTYS: &[&str] =
    &["QueuedThreadPool.", "HttpConfiguration.", "ServerConnector.", "SslContextFactory."];

pub(super) fn http(part: &Part) -> Made<'_> {
    let mut made = Made::new(part, "http");
    listen(&mut made, "http", "bind");
    let handler = part.choice("handler", HANDLERS);
    if let (Some(handler), Some(key)) = (handler, part.find("handler")) {
        made.put("handler", &key.value.span, text(handler));
    }
    match handler {
        Some("blob") => {
            mandatory(&mut made);
            blob_size(&mut made);
        }
        // One that is not here has been told, and what it would be set to says no more.
        None if part.find("handler").is_some() => part.ignore_below("handler."),
        _ => part.without_effect_below("handler.", "lists of JSON are read in one way"),
    }
    for prefix in JETTYS {
        part.without_effect_below(prefix, "there is no Jetty here, and no pool of threads");
    }
    refused::tls_by(part, &["ssl", "enableSSL"], "https");
    made
}

/// Divided by commas, as nowhere else.
fn mandatory(made: &mut Made<'_>) {
    let Some(key) = made.part.find("handler.mandatoryParameters") else { return };
    let span = key.value.span.clone();
    let names = key.value.split(',').map(str::trim).filter(|name| !name.is_empty());
    let items: Vec<_> = names.map(|name| Spanned::new(text(name), span.clone())).collect();
    made.put("mandatory_parameters", &span, Value::List(items));
}

/// A blob may be a file: what is longer than an event can be comes in pieces.
fn blob_size(made: &mut Made<'_>) {
    let part = made.part;
    let length = part.number("handler.maxBlobLength");
    let handler = part.find("handler").map(|key| key.value.span.clone());
    let span = length.as_ref().map(|length| length.span.clone()).or(handler);
    let span = span.unwrap_or_else(|| part.place());
    let length = length.map_or(BLOB_BYTES, |length| length.value);
    let most = limits::EVENT_BYTES_MAX as i64;
    let what = format!(
        "a blob that is longer than 256 KiB comes in pieces marked `split`, and one that is longer \
         than {length} bytes is refused (413)"
    );
    part.diagnostics.note(span.clone(), what);
    made.put("event_max", &span, Value::Integer(most));
    made.put("body_max", &span, Value::Integer(length));
    made.put("bodies_max", &span, Value::Integer(length.saturating_mul(4)));
}
