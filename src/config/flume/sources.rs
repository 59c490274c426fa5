//! Flume's sources as ours.

use super::make::{Made, inline, text};
use super::refused::{self, NEVER_SOURCES};
use super::tree::{Key, Part};
use crate::config::diagnostic::Span;
use crate::config::value::{Spanned, Table, Value};
use crate::limits;

/// Flume's names, aliases without case and the last words of classes, and what becomes of them.
const KINDS: &[(&str, fn(&Part) -> Made<'_>)] = &[
    ("multiport_syslogtcp", multiport),
    ("multiportsyslogtcpsource", multiport),
    ("syslogtcp", syslogtcp),
    ("syslogtcpsource", syslogtcp),
    ("syslogudp", syslogudp),
    ("syslogudpsource", syslogudp),
];

/// Types of ours that bear Flume's name and are still to come: the registry says so.
const LATER: &[(&str, &str)] = &[
    ("avro", "avro"),
    ("avrosource", "avro"),
    ("exec", "exec"),
    ("execsource", "exec"),
    ("http", "http"),
    ("httpsource", "http"),
    ("jms", "jms"),
    ("jmssource", "jms"),
    ("kafkasource", "kafka"),
    ("netcat", "netcat"),
    ("netcatsource", "netcat"),
    ("netcatudp", "netcatudp"),
    ("netcatudpsource", "netcatudp"),
    ("seq", "seq"),
    ("sequencegeneratorsource", "seq"),
    ("spooldir", "spooldir"),
    ("spooldirectorysource", "spooldir"),
    ("stress", "stress"),
    ("stresssource", "stress"),
    ("taildir", "taildir"),
    ("taildirsource", "taildir"),
    ("thrift", "thrift"),
    ("thriftsource", "thrift"),
];

pub(super) fn translate(part: &Part) -> Option<(Spanned<String>, Table)> {
    let kind = refused::kind(part, "source", NEVER_SOURCES)?;
    let word = refused::word(&kind);
    let Some((_, make)) = KINDS.iter().find(|(name, _)| *name == word) else {
        let names = KINDS.iter().map(|(name, _)| *name).chain(LATER.iter().map(|(name, _)| *name));
        return refused::later(part, &kind, LATER, "source", names);
    };
    let mut made = make(part);
    made.words("channels", "channels");
    if part.find("channels").is_none() {
        match part.text("channel") {
            Some(wrong) => part.fail(
                &wrong.span,
                format!("`{}.channel`: a source has `channels`", part.title),
                format!("write `{}.channels = {}`", part.title, wrong.value),
            ),
            None => part.missing("channels", "where its events go, several divided by blanks"),
        }
    }
    refused::interceptors(part);
    part.finish();
    Some(made.table())
}

fn syslogtcp(part: &Part) -> Made<'_> {
    let mut made = Made::new(part, "syslog");
    let host = host(part, "host");
    let key = part.find("port");
    if key.is_none() {
        part.missing("port", "the port to listen on");
    }
    let ports: Vec<Spanned<String>> = key.map(Key::words).unwrap_or_default();
    listen(&mut made, "tcp", &host, &ports);
    syslog(&mut made);
    made
}

fn syslogudp(part: &Part) -> Made<'_> {
    let mut made = Made::new(part, "syslog");
    let host = host(part, "host");
    let key = part.find("port");
    if key.is_none() {
        part.missing("port", "the port to listen on");
    }
    let ports: Vec<Spanned<String>> = key.map(Key::words).unwrap_or_default();
    listen(&mut made, "udp", &host, &ports);
    syslog(&mut made);
    made
}

fn multiport(part: &Part) -> Made<'_> {
    let mut made = Made::new(part, "syslog");
    let host = host(part, "host");
    let key = part.find("ports");
    if key.is_none() {
        part.missing("ports", "the ports to listen on, divided by blanks");
    }
    let ports: Vec<Spanned<String>> = key.map(Key::words).unwrap_or_default();
    listen(&mut made, "tcp", &host, &ports);
    syslog(&mut made);
    part.without_effect(&[
        ("batchSize", "batches are as large as what has come"),
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
    part.refuse(&[
        ("portHeader", "leave it out: events have no headers of their own yet"),
        ("clientIPHeader", "leave it out, and write `%{peer}` for the sender's address in TOML"),
        ("clientHostnameHeader", "leave it out: nobody asks the DNS for each connection"),
    ]);
    refused::tls(part);
    // Regular expressions of the old parser's, which no guide knows.
    part.refuse(&[
        ("format.regex", "leave it out: RFC 3164 and 5424 are told apart by themselves"),
        ("format.search", "leave it out"),
        ("format.replace", "leave it out"),
        ("format.dateFormat", "leave it out"),
    ]);
}

/// Where it listens; `0.0.0.0` when nothing is said, as Flume's do.
fn host(part: &Part, key: &str) -> String {
    let host = part.text(key).map_or_else(|| "0.0.0.0".to_owned(), |host| host.value);
    match host.contains(':') {
        true => format!("[{host}]"),
        false => host,
    }
}

fn listen(made: &mut Made<'_>, transport: &str, host: &str, ports: &[Spanned<String>]) {
    let mut items = Vec::new();
    for port in ports {
        if port.parse::<u16>().is_err() {
            let what = format!("`{}` is no port", port.value);
            made.part.fail(&port.span, what, "a port is a number from 0 to 65535");
            continue;
        }
        let address = text(&format!("{transport}://{host}:{}", port.value));
        items.push(Spanned::new(address, port.span.clone()));
    }
    let span = ports.first().map_or_else(|| made.part.place(), |port| port.span.clone());
    // A list that would be empty has been told: it must not look like a source without one.
    if !items.is_empty() {
        made.put("listen", &span, Value::List(items));
    } else {
        made.put("listen", &span, text(&format!("{transport}://{host}:0")));
    }
}

/// The longest event: ours is not shorter than it is by itself.
fn event_size(made: &mut Made<'_>, key: &str) {
    let Some(size) = made.part.number(key) else { return };
    if size.value > limits::EVENT_BYTES_DEFAULT as i64 {
        made.put("event_max", &size.span, Value::Integer(size.value));
        return;
    }
    let kept = "events of up to 64 KiB are kept whole, and longer ones are split, none is cut";
    made.part.without_effect(&[(key, kept)]);
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
                let remedy =
                    "write `none`, `all`, or some of `priority version timestamp hostname`";
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

    /// The encoder that writes it.
    pub(super) fn encoder(self, span: &Span) -> Value {
        let Self::Some(kept) = self else { return text("raw") };
        let fields = FIELDS.iter().zip(kept).filter(|(_, kept)| *kept);
        let fields = fields.map(|(field, _)| Spanned::new(text(field), span.clone()));
        let fields: Vec<Spanned<Value>> = fields.collect();
        match fields.is_empty() {
            true => text("body"),
            false => inline(span, [("keep_fields", Value::List(fields))]),
        }
    }
}
