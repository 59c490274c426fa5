//! Flume's three sources of syslog as our one, and what they keep of a message's header.

use super::make::{Made, inline, text};
use super::refused;
use super::sources::{event_size, listen, listen_on};
use super::tree::Part;
use crate::config::diagnostic::Span;
use crate::config::value::{Spanned, Value};

pub(super) fn syslogtcp(part: &Part) -> Made<'_> {
    one_port(part, "tcp")
}

pub(super) fn syslogudp(part: &Part) -> Made<'_> {
    one_port(part, "udp")
}

fn one_port<'p>(part: &'p Part, transport: &str) -> Made<'p> {
    let mut made = Made::new(part, "syslog");
    listen(&mut made, transport, "host");
    syslog(&mut made);
    made
}

pub(super) fn multiport(part: &Part) -> Made<'_> {
    let mut made = Made::new(part, "syslog");
    listen_on(&mut made, "tcp", "host", "ports");
    syslog(&mut made);
    made.text("portHeader", "port_header");
    part.without_effect(&[
        ("readBufferBytes", "reads are as large as what has come"),
        ("readBufferSize", "reads are as large as what has come, and Flume reads readBufferBytes"),
        ("numProcessors", "one thread reads all ports; `threads` in TOML gives it more"),
        ("charset.default", "bytes are kept as they come, whatever they mean"),
    ]);
    part.ignore_below("charset.port.");
    made
}

/// What the three have in common behind their listeners.
fn syslog(made: &mut Made<'_>) {
    let part = made.part;
    event_size(made, "eventSize");
    part.without_effect(&[("batchSize", "batches are as large as what has come")]);
    made.text("clientIPHeader", "client_ip_header");
    made.text("clientHostnameHeader", "client_hostname_header");
    refused::tls(part);
    // Regular expressions of the old parser's, which no guide knows.
    part.refuse(&[
        ("format.regex", "leave it out: RFC 3164 and 5424 are told apart by themselves"),
        ("format.search", "leave it out"),
        ("format.replace", "leave it out"),
        ("format.dateFormat", "leave it out"),
    ]);
}

/// What a source of syslog keeps in front of the text, which is for a sink to write; none of
/// other sources, whose events any sink writes whole.
pub(super) fn kept(part: &Part) -> Option<Kept> {
    let kind = part.keys.iter().find(|key| key.name.value == "type")?;
    if !refused::word(&kind.value).contains("syslog") {
        return None;
    }
    let Some(key) = part.find("keepFields") else { return Some(Kept::NONE) };
    let value = key.value.to_ascii_lowercase();
    match value.as_str() {
        "none" => return Some(Kept::NONE),
        "all" => return Some(Kept::Whole),
        "true" | "false" => {
            let new = if value == "true" { "all" } else { "none" };
            let what = format!("`keepFields = {value}` is deprecated");
            part.diagnostics.warning(key.value.span.clone(), what, format!("write `{new}`"));
            return Some(if value == "true" { Kept::Whole } else { Kept::NONE });
        }
        _ => {}
    }
    let mut kept = [false; 4];
    let mut good = true;
    for word in key.words() {
        match FIELDS.iter().position(|name| word.eq_ignore_ascii_case(name)) {
            Some(field) => kept[field] = true,
            None => {
                good = false;
                let what = format!("`keepFields` has no `{}`", word.value);
                let remedy = "write `none`, `all`, or some of `priority version timestamp \
                              hostname`, divided by blanks";
                part.fail(&word.span, what, remedy);
            }
        }
    }
    good.then_some(Kept::Some(kept))
}

/// What may stand in front of the body.
const FIELDS: [&str; 4] = ["priority", "version", "timestamp", "hostname"];

/// What is left of a message: a text that sinks write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kept {
    /// All of it, as it came.
    Whole,
    Some([bool; 4]),
}

impl Kept {
    pub(super) const NONE: Self = Self::Some([false; 4]);

    /// The encoder that writes it, with the event's headers in front if asked for.
    /// The same as a record of Avro's.
    pub(super) fn avro(self, span: &Span) -> Value {
        let kept = match self {
            Self::Whole => [true; 4],
            Self::Some(kept) => kept,
        };
        if kept == [false; 4] {
            return text("avro_event");
        }
        let fields = FIELDS.iter().zip(kept).filter(|(_, kept)| *kept);
        let fields = fields.map(|(field, _)| Spanned::new(text(field), span.clone())).collect();
        inline(span, [("keep_fields", Value::List(fields)), ("avro_event", Value::Flag(true))])
    }

    pub(super) fn encoder(self, headers: bool, span: &Span) -> Value {
        let kept = match self {
            Self::Whole if headers => [true; 4],
            Self::Whole => return text("raw"),
            Self::Some(kept) => kept,
        };
        let fields = FIELDS.iter().zip(kept).filter(|(_, kept)| *kept);
        let fields = fields.map(|(field, _)| Spanned::new(text(field), span.clone()));
        let fields: Vec<Spanned<Value>> = fields.collect();
        match (fields.is_empty(), headers) {
            (true, false) => text("body"),
            (true, true) => text("header_and_text"),
            (false, false) => inline(span, [("keep_fields", Value::List(fields))]),
            (false, true) => {
                let fields = Value::List(fields);
                inline(span, [("keep_fields", fields), ("headers", Value::Flag(true))])
            }
        }
    }
}
