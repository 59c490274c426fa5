//! The plan as text: what `check` prints.

use std::collections::BTreeMap;
use std::fmt::Write;

use super::acks;
use super::cores::show;
use super::plan::{self, Pages, Plan};
use crate::channel::WhenFull;
use crate::config::Setting;
use crate::config::units::show_size;
use crate::sink::group::Course;

/// Threads and cores, the flow, the memory sum, and every key in effect. Ends with a newline.
pub fn text(plan: &Plan) -> String {
    let mut text = String::new();
    head(plan, &mut text);
    sources(plan, &mut text);
    channels(plan, &mut text);
    sinks(plan, &mut text);
    groups(plan, &mut text);
    memory(plan, &mut text);
    settings(plan, &mut text);
    text
}

macro_rules! line {
    ($text:expr, $($argument:tt)*) => {
        writeln!($text, $($argument)*).expect("a String takes everything")
    };
}

fn head(plan: &Plan, text: &mut String) {
    let threads = plan.sources.iter().map(|source| source.cores.len()).sum::<usize>()
        + plan.sinks.iter().map(|sink| sink.cores.len()).sum::<usize>();
    let sources = plan.sources.iter().flat_map(|source| &source.cores);
    let pinned = sources.chain(plan.sinks.iter().flat_map(|sink| &sink.cores));
    let cores = match show(&pinned.flatten().copied().collect::<Vec<_>>()).as_str() {
        "" => "not pinned".to_owned(),
        cores => format!("on cores {cores}"),
    };
    let drain = plan::show_drain(plan);
    line!(text, "agent {}: {threads} worker threads {cores}, drain {drain}", plan.name);
    match (plan.admin.address.as_str(), plan.admin.pages) {
        ("off", _) => line!(text, "admin endpoint: off"),
        (address, Pages::Flumen) => line!(text, "admin endpoint: http://{address}"),
        (address, Pages::Flume) => line!(text, "admin endpoint as Flume's: http://{address}"),
    }
}

fn sources(plan: &Plan, text: &mut String) {
    line!(text, "\nsources");
    for source in &plan.sources {
        let channels: Vec<&str> =
            source.channels.iter().map(|channel| plan.channels[*channel].name.as_str()).collect();
        let threads = threads(&source.cores);
        let channels = channels.join(", ");
        line!(text, "  {} ({}): {threads} → {channels}", source.name, source.kind);
        for listener in source.plan.listeners() {
            line!(text, "    listens on {listener}");
        }
        if let Some(acknowledges) = acks::show(source.plan.as_ref()) {
            line!(text, "    {acknowledges}");
        }
    }
}

fn channels(plan: &Plan, text: &mut String) {
    line!(text, "\nchannels");
    for (index, channel) in plan.channels.iter().enumerate() {
        let writers = plan.sources.iter().filter(|source| source.channels.contains(&index));
        let writers: Vec<&str> = writers.map(|source| source.name.as_str()).collect();
        let readers = plan.sinks.iter().filter(|sink| sink.channel == index);
        let readers: Vec<&str> = readers.map(|sink| sink.name.as_str()).collect();
        let (writers, readers) = (writers.join(", "), readers.join(", "));
        let implied = if channel.implied { ", implied" } else { "" };
        line!(text, "  {} ({}{implied}): {writers} → {readers}", channel.name, channel.kind);
        let size = plan.budget.page_bytes as u64;
        let capacity = show_size(u64::from(channel.credit) * size);
        for place in channel.plan.places() {
            line!(text, "    keeps its log in {place}");
        }
        let full = match channel.plan.when_full() {
            WhenFull::Wait => "senders wait",
            WhenFull::DropNewest | WhenFull::Optional => "the newest is dropped and counted",
            WhenFull::DropOldest => "the oldest is dropped and counted",
        };
        let (credit, size) = (channel.credit, show_size(size));
        line!(text, "    holds {capacity}: {credit} batches of {size}; when full {full}");
    }
}

fn sinks(plan: &Plan, text: &mut String) {
    line!(text, "\nsinks");
    for sink in &plan.sinks {
        let (channel, threads) = (&plan.channels[sink.channel].name, threads(&sink.cores));
        line!(text, "  {} ({}): {channel} → {threads}", sink.name, sink.kind);
        if let Some(place) = sink.plan.place() {
            line!(text, "    writes to {place}");
        }
    }
}

fn groups(plan: &Plan, text: &mut String) {
    if !plan.groups.is_empty() {
        line!(text, "\ngroups");
    }
    for group in &plan.groups {
        let names: Vec<&str> =
            group.sinks.iter().map(|sink| plan.sinks[*sink].name.as_str()).collect();
        let (between, how) = match group.plan.course {
            Course::Failover => (", then ", "the first that works gets everything"),
            Course::RoundRobin => (", ", "by turns, passing over who is busy"),
            Course::Random => (", ", "any of them, passing over who is busy"),
            Course::LeastWaiting => (", ", "the one with the least to do"),
        };
        line!(text, "  {}: {}: {how}", group.name, names.join(between));
    }
}

/// `2 threads on cores 0, 1`.
fn threads(cores: &[Option<usize>]) -> String {
    let count = match cores.len() {
        1 => "1 thread".to_owned(),
        count => format!("{count} threads"),
    };
    let pinned: Vec<String> = cores.iter().flatten().map(usize::to_string).collect();
    match pinned.len() {
        0 => format!("{count}, not pinned"),
        1 => format!("{count} on core {}", pinned[0]),
        _ => format!("{count} on cores {}", pinned.join(", ")),
    }
}

fn memory(plan: &Plan, text: &mut String) {
    line!(text, "\nmemory {}", show_size(plan.budget.memory_bytes));
    for part in &plan.budget.lines {
        line!(text, "  {}", plan::show_line(part));
    }
    let rest = plan.budget.memory_bytes.saturating_sub(plan.budget.bytes());
    let rest = crate::memory::MemoryLine::new("", "not used", rest);
    line!(text, "  {}", plan::show_line(&rest));
}

/// A configuration that says everything: what was left out is marked.
fn settings(plan: &Plan, text: &mut String) {
    line!(text, "\nsettings");
    for (title, settings) in tables(plan) {
        line!(text, "  [{title}]");
        for setting in settings {
            let Setting { key, value, explicit, .. } = setting;
            match (value, explicit) {
                (Some(value), true) => line!(text, "  {key} = {value}"),
                (Some(value), false) => line!(text, "  {key} = {value}  # default"),
                (None, _) => line!(text, "  # {key} is not set"),
            }
        }
    }
}

/// All settings by the titles of their tables: `agent`, `sources.net`.
fn tables(plan: &Plan) -> Vec<(String, &[Setting])> {
    let mut tables = vec![("agent".to_owned(), plan.settings.as_slice())];
    let part = |kind: &str, name: &str| format!("{kind}.{name}");
    let sources = plan.sources.iter();
    tables.extend(sources.map(|it| (part("sources", &it.name), it.settings.as_slice())));
    let channels = plan.channels.iter().filter(|channel| !channel.implied);
    tables.extend(channels.map(|it| (part("channels", &it.name), it.settings.as_slice())));
    let sinks = plan.sinks.iter();
    tables.extend(sinks.map(|it| (part("sinks", &it.name), it.settings.as_slice())));
    let groups = plan.groups.iter();
    tables.extend(groups.map(|it| (part("groups", &it.name), it.settings.as_slice())));
    tables
}

/// Each setting by its whole name, `sources.net.listen`, and its value where it has one: to be
/// compared, for of what is not shown only a number stands there.
pub fn values(plan: &Plan) -> BTreeMap<String, Option<String>> {
    let all = |(title, settings): (String, &[Setting])| -> Vec<_> {
        let one = |it: &Setting| {
            let secret = it.secret.map_or_else(String::new, |secret| format!(" {secret:x}"));
            let value = it.value.as_ref().map(|value| format!("{value}{secret}"));
            (format!("{title}.{}", it.key), value)
        };
        settings.iter().map(one).collect()
    };
    tables(plan).into_iter().flat_map(all).collect()
}
