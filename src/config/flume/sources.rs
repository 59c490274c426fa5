//! Flume's sources as ours.

use super::around::Around;
use super::files;
use super::http::http;
use super::interceptors;
use super::make::{Made, text};
use super::refused::{self, NEVER_SOURCES};
use super::selector;
use super::syslog::{Kept, multiport, syslogtcp, syslogudp};
use super::tree::{Key, Part};
use crate::config::value::{Spanned, Table, Value};
use crate::limits;

type Make = fn(&Part) -> Made<'_>;

/// Flume's names, aliases without case and the last words of classes, and what becomes of them.
const KINDS: &[(&str, Make)] = &[
    ("exec", exec),
    ("execsource", exec),
    ("http", http),
    ("httpsource", http),
    ("multiport_syslogtcp", multiport),
    ("multiportsyslogtcpsource", multiport),
    ("netcat", netcat),
    ("netcatsource", netcat),
    ("netcatudp", netcatudp),
    ("netcatudpsource", netcatudp),
    ("seq", seq),
    ("sequencegeneratorsource", seq),
    ("spooldir", files::spooldir),
    ("spooldirectorysource", files::spooldir),
    ("stress", stress),
    ("stresssource", stress),
    ("syslogtcp", syslogtcp),
    ("syslogtcpsource", syslogtcp),
    ("syslogudp", syslogudp),
    ("syslogudpsource", syslogudp),
    ("taildir", files::taildir),
    ("taildirsource", files::taildir),
];

/// Types of ours that bear Flume's name and are still to come: the registry says so.
const LATER: &[(&str, &str)] = &[
    ("avro", "avro"),
    ("avrosource", "avro"),
    ("jms", "jms"),
    ("jmssource", "jms"),
    ("kafkasource", "kafka"),
    ("thrift", "thrift"),
    ("thriftsource", "thrift"),
];

/// `kept`: what a source of syslog keeps of each message.
pub(super) fn translate(
    part: &Part,
    kept: Option<Kept>,
    around: &Around,
) -> Option<(Spanned<String>, Table)> {
    let kind = refused::kind(part, "source", NEVER_SOURCES)?;
    let word = refused::word(&kind);
    let Some((_, make)) = KINDS.iter().find(|(name, _)| *name == word) else {
        let names = KINDS.iter().map(|(name, _)| *name).chain(LATER.iter().map(|(name, _)| *name));
        return refused::later(part, &kind, LATER, "source", names);
    };
    let mut made = make(part);
    if word.starts_with("taildir") {
        files::position_file(&mut made, around);
    }
    made.words("channels", "channels");
    let wrong = part.text("channel");
    if let Some(wrong) = &wrong {
        let what = format!("`{}.channel`: a source has `channels`", part.title);
        part.fail(&wrong.span, what, format!("write `{}.channels = {wrong}`", part.title));
    } else if part.find("channels").is_none() {
        part.missing("channels", "where its events go, several divided by blanks");
    }
    interceptors::translate(&mut made, kept);
    selector::translate(&mut made);
    part.finish();
    Some(made.table())
}

fn netcat(part: &Part) -> Made<'_> {
    let mut made = Made::new(part, "netcat");
    listen(&mut made, "tcp", "bind");
    made.number("max-line-length", "max_line_length");
    made.flag("ack-every-event", "ack_every_event");
    part.without_effect(&[("encoding", "bytes are kept as they come, whatever they mean")]);
    refused::tls(part);
    made
}

fn exec(part: &Part) -> Made<'_> {
    let mut made = Made::new(part, "exec");
    if part.find("command").is_none() {
        part.missing("command", "the program whose lines are events");
    }
    made.text("command", "command");
    made.text("shell", "shell");
    made.flag("restart", "restart");
    made.flag("logStdErr", "log_std_err");
    for (theirs, ours) in
        [("restartThrottle", "restart_throttle"), ("batchTimeout", "batch_timeout")]
    {
        if let Some(millis) = part.number(theirs) {
            made.put(ours, &millis.span, text(&format!("{}ms", millis.value)));
        }
    }
    part.without_effect(&[
        ("batchSize", "lines travel in batches of bytes, and wait for `batchTimeout` at most"),
        ("charset", "bytes are kept as they come, whatever they mean"),
    ]);
    made
}

fn netcatudp(part: &Part) -> Made<'_> {
    let mut made = Made::new(part, "udp");
    listen(&mut made, "udp", "bind");
    // The guide has one name for it, and Flume reads the other.
    let name = if part.find("remoteAddress").is_some() { "remoteAddress" } else { GUIDES };
    made.text(name, "remote_address_header");
    if name != GUIDES {
        part.without_effect(&[(GUIDES, "Flume reads `remoteAddress`, which stands here, too")]);
    }
    made
}

const GUIDES: &str = "remoteAddressHeader";

const BATCHES: &str = "events are made as fast as they are taken";

fn seq(part: &Part) -> Made<'_> {
    let mut made = Made::new(part, "seq");
    made.number("totalEvents", "total_events");
    part.without_effect(&[("batchSize", BATCHES)]);
    made
}

fn stress(part: &Part) -> Made<'_> {
    let mut made = Made::new(part, "stress");
    made.number("size", "size");
    // -1 stands for no bound.
    for (theirs, ours) in
        [("maxTotalEvents", "max_total_events"), ("maxSuccessfulEvents", "max_successful_events")]
    {
        if let Some(most) = part.number(theirs).filter(|most| most.value >= 0) {
            made.put(ours, &most.span, Value::Integer(most.value));
        }
    }
    made.number("maxEventsPerSecond", "max_events_per_second");
    part.without_effect(&[("batchSize", BATCHES)]);
    made
}

/// Where it listens; `0.0.0.0` when nothing is said, as Flume's do.
fn host(part: &Part, key: &str) -> String {
    let host = part.text(key).map_or_else(|| "0.0.0.0".to_owned(), |host| host.value);
    match host.contains(':') {
        true => format!("[{host}]"),
        false => host,
    }
}

pub(super) fn listen(made: &mut Made<'_>, transport: &str, host_key: &str) {
    listen_on(made, transport, host_key, "port");
}

/// On each of the ports that one key lists.
pub(super) fn listen_on(made: &mut Made<'_>, transport: &str, host_key: &str, ports_key: &str) {
    let host = host(made.part, host_key);
    let key = made.part.find(ports_key);
    if key.is_none() {
        made.part.missing(ports_key, "where to listen");
    }
    let ports: Vec<Spanned<String>> = key.map(Key::words).unwrap_or_default();
    let mut items = Vec::new();
    for port in &ports {
        if port.parse::<u16>().is_err() {
            let what = format!("`{}` is no port", port.value);
            let remedy = match port.starts_with('#') {
                true => "a comment needs a line of its own: here it is part of the value",
                false => "a port is a number from 0 to 65535",
            };
            made.part.fail(&port.span, what, remedy);
            if port.starts_with('#') {
                break;
            }
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
pub(super) fn event_size(made: &mut Made<'_>, key: &str) {
    let Some(size) = made.part.number(key) else { return };
    if size.value > limits::EVENT_BYTES_DEFAULT as i64 {
        made.put("event_max", &size.span, Value::Integer(size.value));
        return;
    }
    let kept = "events of up to 64 KiB are kept whole, and longer ones are split, none is cut";
    made.part.without_effect(&[(key, kept)]);
}
