//! Apache Flume's configuration files as ours: the same tables that TOML would have given, with
//! places that point into the properties.
//!
//! Promises: what a file says happens, or is told with its line and what to do. Nothing is accepted
//! in silence: what has no effect here is a note, what has none in Flume either a warning, and
//! what would have an effect that is not built is an error.
//!
//! Reading order: `lexer` the syntax · `fill` what is looked up, by `around` · `tree` agents
//! and components · `sources` (and `syslog`), `interceptors`, `channels`, `selector`, `sinks` one
//! component each, made with `make`; what is not there is in `refused` · `print` the tables as
//! TOML.

pub(super) mod around;
mod channels;
mod files;
mod fill;
mod groups;
mod http;
mod http_sink;
mod interceptors;
mod lexer;
mod make;
#[cfg(test)]
mod mistakes;
pub(super) mod print;
mod refused;
mod selector;
mod sinks;
mod sources;
mod syslog;
mod tree;

use self::around::Around;
use self::lexer::Property;
use self::syslog::Kept;
use self::tree::{Agent, CHANNELS, GROUPS, Part, SINKS, SOURCES};
use super::diagnostic::{Diagnostics, Problem, Span};
use super::document::{Dialect, Parsed, ROOMS};
use super::units::show_size;
use super::value::{Entry, Spanned, Table, Value};
use make::text;

/// An agent of ours has so much memory by itself; beyond its channels it wants the rest.
const MEMORY_BYTES: u64 = 512 << 20;
const BESIDE_BYTES: u64 = 192 << 20;
/// And with many sources and sinks so much for each of them.
const PART_BYTES: u64 = 16 << 20;

/// All agents of the file.
pub(super) fn read(diagnostics: &Diagnostics, around: &Around) -> Vec<Parsed> {
    let properties = lexer::read(diagnostics);
    let monitoring = Monitoring::read(&properties, around, diagnostics);
    let agents = tree::agents(&properties, around, diagnostics);
    let several = agents.len() > 1;
    agents.iter().map(|agent| parsed(agent, several, &monitoring, around)).collect()
}

/// The first line that only Flume's properties have: `agent.sources = r1 r2` or
/// `agent.sources.r1.type = x`, the value not in quotes.
pub(super) fn is_flume(text: &str) -> bool {
    text.lines().any(|line| is_property(line.trim_start_matches('\u{feff}').trim()))
}

fn is_property(line: &str) -> bool {
    let at = line.find(['=', ':', ' ', '\t']).unwrap_or(line.len());
    let (key, rest) = line.split_at(at);
    let value = rest.trim_start_matches(['=', ':', ' ', '\t']);
    let mut words = key.split('.');
    let agent = words.next().is_some_and(is_word);
    let rooms = ["sources", "channels", "sinks", "sinkgroups", "configfilters"];
    let room = words.next().is_some_and(|word| rooms.contains(&word));
    agent
        && room
        && words.all(is_word)
        && value.starts_with(|c: char| c.is_ascii_alphabetic() || matches!(c, '/' | '$' | '\\'))
        && !matches!(value, "true" | "false" | "inf" | "nan")
}

fn is_word(word: &str) -> bool {
    !word.is_empty() && word.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-')
}

fn parsed(agent: &Agent, several: bool, monitoring: &Monitoring, around: &Around) -> Parsed {
    let [sources, channels, sinks, groups] = &agent.rooms;
    let kept: Vec<(&Part, Option<Kept>)> =
        sources.iter().map(|source| (source, syslog::kept(source))).collect();
    let channel_rows: Vec<_> =
        channels.iter().filter_map(|part| channels::translate(part, around)).collect();
    let memory: u64 = channel_rows.iter().map(|(_, bytes)| bytes).sum();
    let mut rooms = <[Vec<(Spanned<String>, Table)>; ROOMS.len()]>::default();
    let source = |(part, kept): &(&Part, Option<Kept>)| sources::translate(part, *kept, around);
    rooms[SOURCES] = kept.iter().filter_map(source).collect();
    rooms[CHANNELS] = channel_rows.into_iter().map(|(row, _)| row).collect();
    let sink = |part| sinks::translate(part, &kept_before(part, &kept));
    rooms[SINKS] = sinks.iter().filter_map(sink).collect();
    rooms[GROUPS] = groups.iter().filter_map(groups::translate).collect();
    let span = agent.name.span.clone();
    let mut own = Table { entries: Vec::new(), header: span.clone() };
    let mut put = |key: &str, span: &Span, value: Value| {
        let key = Spanned::new(key.to_owned(), span.clone());
        own.entries.push(Entry { key, value: Spanned::new(value, span.clone()) });
    };
    if !several {
        put("name", &span, text(&agent.name));
    }
    let beside = BESIDE_BYTES.max(PART_BYTES * (sources.len() + sinks.len()) as u64);
    if memory + beside > MEMORY_BYTES {
        put("memory", &span, text(&show_size(memory + beside)));
    }
    for (key, value) in &monitoring.settings {
        put(key, &span, text(value));
    }
    let name = several.then(|| agent.name.clone());
    Parsed { name, agent: own, rooms, dialect: Dialect::Flume(agent.name.value.clone()) }
}

/// What the sources of a sink's channel keep of their messages.
fn kept_before(sink: &Part, sources: &[(&Part, Option<Kept>)]) -> Vec<Kept> {
    let Some(channel) = sink.keys.iter().find(|key| key.name.value == "channel") else {
        return Vec::new();
    };
    let writes = |source: &Part| {
        let channels = source.keys.iter().find(|key| key.name.value == "channels");
        channels.is_some_and(|key| key.words().contains(&channel.value))
    };
    sources.iter().filter(|(source, _)| writes(source)).filter_map(|(_, kept)| *kept).collect()
}

/// `flume.monitoring.*`, as `-D` or in the file, as keys of an agent.
struct Monitoring {
    settings: Vec<(&'static str, String)>,
}

impl Monitoring {
    fn read(properties: &[Property], around: &Around, diagnostics: &Diagnostics) -> Self {
        let lines = tree::monitoring(properties);
        let find = |key: &str| {
            let line =
                lines.iter().find(|line| line.key.value == format!("flume.monitoring.{key}"));
            // A flag of the command wins over a line.
            let flag = around.property(&format!("flume.monitoring.{key}"));
            match flag {
                Some(flag) => Some((flag.to_owned(), None)),
                None => line.map(|line| (line.value.value.clone(), Some(line.value.span.clone()))),
            }
        };
        let fail = |place: Option<Span>, what: String, remedy: &str| {
            let problem = Problem::error(what).remedy(remedy);
            diagnostics.push(match place {
                Some(place) => problem.at(place, ""),
                None => problem,
            });
        };
        for line in &lines {
            let key = line.key.trim_start_matches("flume.monitoring.");
            if !["type", "port"].contains(&key) {
                let what = format!("`{}` has no effect", line.key);
                diagnostics.warning(line.key.span.clone(), what, "there is `type` and `port`");
            }
        }
        let (port, place) = find("port").unwrap_or_else(|| ("41414".to_owned(), None));
        if port.parse::<u16>().is_err() {
            let what = format!("`flume.monitoring.port`: `{port}` is no port");
            fail(place, what, "a port is a number from 0 to 65535");
        }
        let address = || format!("0.0.0.0:{port}");
        let (kind, place) = find("type").unzip();
        let settings = match kind.map(|kind| kind.to_ascii_lowercase()).as_deref() {
            None => vec![("admin", "off".to_owned())],
            Some("http") => vec![("admin", address()), ("pages", "flume".to_owned())],
            Some("prometheus") => vec![("admin", address())],
            Some(other) => {
                let what = format!("the reporter `{other}` is not supported");
                let remedy = "write `http` for Flume's JSON, or `prometheus`, both at /metrics";
                fail(place.flatten(), what, remedy);
                Vec::new()
            }
        };
        Self { settings }
    }
}
