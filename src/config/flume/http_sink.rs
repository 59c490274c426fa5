//! Flume's sink `http` as ours: one event a POST, and what each answer means.
//!
//! ```text
//!   rollback.CODE   true: the event stays in the channel    retry
//!                   false: it leaves it                     delivered after 2XX, else refused
//!   backoff.CODE, incrementMetrics.CODE                     a note: see below
//! ```
//! Flume's defaults are for every answer, 200 as well: without `rollback.200 = false` it sends an
//! event that was accepted for ever. Here 2XX is delivered unless the file says it is not.

use super::make::{Made, text};
use super::sinks::{BATCHES, encoder};
use super::syslog::Kept;
use super::tree::Part;
use crate::config::diagnostic::Span;
use crate::config::units::show_duration;
use crate::config::value::{Entry, Spanned, Table, Value};
use std::time::Duration;

/// What the configuration may say of one answer.
const ABOUT: [&str; 3] = ["rollback", "backoff", "incrementMetrics"];

pub(super) fn http<'p>(part: &'p Part, kept: &[Kept]) -> Made<'p> {
    let mut made = Made::new(part, "http");
    match part.text("endpoint") {
        Some(endpoint) => made.put("endpoint", &endpoint.span, text(&endpoint)),
        None => part.missing("endpoint", "where its events go"),
    }
    made.imply("format", text("single"));
    // An event's bytes are what they are.
    made.imply("control", text("keep"));
    let span = part.place();
    encoder(&mut made, kept, false, &span);
    header(&mut made, "contentTypeHeader", "content_type");
    header(&mut made, "acceptHeader", "accept");
    timeout(&mut made, "connectTimeout", "connect_timeout");
    timeout(&mut made, "requestTimeout", "request_timeout");
    answers(&mut made);
    part.without_effect(&[
        ("defaultBackoff", "what is tried again waits a little longer each time"),
        ("defaultIncrementMetrics", "what an endpoint has taken is counted, and nothing else is"),
        ("batchSize", BATCHES),
    ]);
    made
}

/// `text/plain` unless it is said.
fn header(made: &mut Made<'_>, theirs: &str, ours: &str) {
    match made.part.text(theirs) {
        Some(value) => made.put(ours, &value.span, text(&value)),
        None => made.imply(ours, text("text/plain")),
    }
}

fn timeout(made: &mut Made<'_>, theirs: &str, ours: &str) {
    let Some(millis) = made.part.number(theirs) else { return };
    if millis.value <= 0 {
        let what = format!("`{theirs}`: nothing is waited for without an end");
        made.part.fail(&millis.span, what, "write milliseconds, 5000 for instance");
        return;
    }
    let time = Duration::from_millis(u64::try_from(millis.value).unwrap_or(0));
    made.put(ours, &millis.span, text(&show_duration(time)));
}

/// `rollback.200 = false`, `rollback.4XX = true`, and `defaultRollback` for all others.
fn answers(made: &mut Made<'_>) {
    let part = made.part;
    let mut entries: Vec<Entry> = Vec::new();
    let mut say = |code: &str, stays: bool, span: &Span| {
        let meaning = match (stays, code.starts_with('2')) {
            (true, _) => "retry",
            (false, true) => "delivered",
            (false, false) => "refused",
        };
        let key = Spanned::new(code.to_owned(), span.clone());
        entries.push(Entry { key, value: Spanned::new(text(meaning), span.clone()) });
    };
    let mut classes = Vec::new();
    for key in &part.keys {
        let Some((about, code)) = key.name.split_once('.') else { continue };
        if !ABOUT.contains(&about) {
            continue;
        }
        let Some(flag) = part.flag(&key.name) else { continue };
        let known = code.to_ascii_uppercase();
        let is_class = matches!(known.as_str(), "2XX" | "3XX" | "4XX" | "5XX");
        if !is_class && !code.parse::<u16>().is_ok_and(|code| (200..=599).contains(&code)) {
            let what =
                format!("`{}`: no answer ends a POST with the code `{code}`", key.name.value);
            part.fail(&key.name.span, what, "write 200 to 599, or 2XX to 5XX");
        } else if about == "rollback" {
            say(&known, flag.value, &flag.span);
            classes.push(known);
        } else {
            part.without_effect(&[(&key.name, note(about))]);
        }
    }
    // 2XX is delivered by itself.
    let stays = part.flag("defaultRollback");
    let span = stays.as_ref().map_or_else(|| part.place(), |flag| flag.span.clone());
    for class in ["3XX", "4XX", "5XX"] {
        if !classes.iter().any(|known| known == class) {
            say(class, stays.as_ref().is_none_or(|flag| flag.value), &span);
        }
    }
    let table = Table { entries, header: part.place() };
    made.put("answers", &part.place(), Value::Table(table));
}

fn note(about: &str) -> &'static str {
    match about {
        "backoff" => "what is tried again waits a little longer each time",
        _ => "what an endpoint has taken is counted, and nothing else is",
    }
}
