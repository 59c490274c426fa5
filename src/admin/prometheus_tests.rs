//! The exposition read back by a small strict parser: what a Prometheus would refuse, or silently
//! take for something else, fails here.

use std::collections::{BTreeMap, HashSet};

use super::*;
use crate::telemetry::{Ledger, LostReason, Mark};

type Labels = BTreeMap<String, String>;

/// Families with their type, and samples by name and labels.
struct Parsed {
    families: BTreeMap<String, String>,
    samples: BTreeMap<(String, Labels), f64>,
}

impl Parsed {
    fn value(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        let labels = labels.iter().map(|(name, value)| (name.to_string(), value.to_string()));
        let key = (name.to_owned(), labels.collect());
        *self.samples.get(&key).unwrap_or_else(|| panic!("no {key:?}"))
    }
}

fn parse(text: &str, format: Format) -> Parsed {
    assert!(text.ends_with('\n') && !text.contains("\n\n") && !text.contains('\r'));
    let text = match format {
        Format::OpenMetrics => text.strip_suffix("# EOF\n").expect("the last line is # EOF"),
        Format::Text => text,
    };
    assert!(!text.contains("# EOF"));
    let mut parsed = Parsed { families: BTreeMap::new(), samples: BTreeMap::new() };
    let mut lines = text.lines().peekable();
    while let Some(line) = lines.next() {
        let help = line.strip_prefix("# HELP ").expect("a family starts with its HELP");
        let (family, help) = help.split_once(' ').expect("HELP has a text");
        assert!(is_name(family) && !help.is_empty());
        let kind = lines.next().and_then(|line| line.strip_prefix("# TYPE "));
        let (named, kind) = kind.expect("TYPE follows HELP").split_once(' ').expect("a type");
        assert_eq!(named, family);
        let before = parsed.families.insert(family.to_owned(), kind.to_owned());
        assert!(before.is_none(), "{family} stands twice");
        while let Some(line) = lines.next_if(|line| !line.starts_with('#')) {
            let (name, labels, value) = sample(line);
            let suffix = name.strip_prefix(family).expect("samples stand under their family");
            let allowed: &[&str] = match (kind, format) {
                ("counter", Format::Text) | ("gauge", _) => &[""],
                ("counter", Format::OpenMetrics) => &["_total"],
                ("histogram", _) => &["_bucket", "_sum", "_count"],
                _ => panic!("unknown type {kind}"),
            };
            assert!(allowed.contains(&suffix), "{name} in the {kind} {family}");
            let wanted = if name.ends_with("_total") { value >= 0.0 } else { true };
            assert!(wanted, "a counter is not negative");
            let before = parsed.samples.insert((name.clone(), labels), value);
            assert!(before.is_none(), "{line} stands twice");
        }
    }
    parsed
}

fn is_name(name: &str) -> bool {
    let rest = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    name.bytes().all(rest) && !name.starts_with(|first: char| first.is_ascii_digit())
}

/// `name{a="b",c="d"} value`, nothing before, between or after.
fn sample(line: &str) -> (String, Labels, f64) {
    let (name, mut rest) = line.split_once('{').expect("every sample has labels");
    assert!(is_name(name), "{name}");
    let mut labels = Labels::new();
    loop {
        let (label, after) = rest.split_once("=\"").expect("a label");
        assert!(is_name(label), "{label}");
        let (value, after) = quoted(after);
        assert!(labels.insert(label.to_owned(), value).is_none(), "{label} twice in {line}");
        match after.split_at(1) {
            (",", after) => rest = after,
            ("}", after) => {
                let value = after.strip_prefix(' ').expect("one space");
                return (name.to_owned(), labels, value.parse().expect("a number, no timestamp"));
            }
            other => panic!("{other:?} after a label of {line}"),
        }
    }
}

fn quoted(text: &str) -> (String, &str) {
    let mut value = String::new();
    let mut characters = text.char_indices();
    while let Some((index, character)) = characters.next() {
        match character {
            '"' => return (value, &text[index + 1..]),
            '\\' => value.push(match characters.next().expect("an escaped character").1 {
                'n' => '\n',
                other @ ('\\' | '"') => other,
                other => panic!("\\{other} is no escape"),
            }),
            other => value.push(other),
        }
    }
    panic!("no closing quote in {text}")
}

fn example(agent: &str, names: [&str; 3]) -> Snapshot {
    let [source, channel, sink] = names;
    let mut builder = Ledger::builder(agent);
    let counters = [builder.source(source).worker(), builder.source(source).worker()];
    let inlet = builder.channel(channel).inlet();
    let gauge = builder.channel(channel).counters();
    let archive = builder.sink(sink, channel).worker();
    builder.pool(8, || 5);
    let ledger = builder.build();
    counters[0].received_events.add(60);
    counters[1].received_events.add(40);
    counters[0].lost[LostReason::Kernel].add(9);
    counters[1].marked[Mark::Truncated].add(2);
    inlet.put_events.add(100);
    gauge.gauge.enter(100, 19_000);
    gauge.capacity_bytes.set(1 << 20);
    archive.written_events.add(3);
    archive.lost[LostReason::Sync].add(4);
    archive.channel_wait.record_ns(15_000);
    archive.write.record_ns(2_000_000_000);
    archive.write.record_ns(200_000_000_000);
    ledger.snapshot()
}

const NAMES: [&str; 3] = ["net", "main", "archive"];

#[test]
fn both_formats_are_well_formed_and_say_the_same() {
    let snapshot = example("edge", NAMES);
    let text = parse(&exposition(&snapshot, Format::Text), Format::Text);
    let open = parse(&exposition(&snapshot, Format::OpenMetrics), Format::OpenMetrics);
    assert_eq!(text.samples, open.samples);
    assert_eq!(text.families["flumen_received_events_total"], "counter");
    assert_eq!(open.families["flumen_received_events"], "counter");
    assert!(!open.families.contains_key("flumen_received_events_total"));
}

#[test]
fn every_name_of_the_contract_is_there() {
    let parsed = parse(&exposition(&example("edge", NAMES), Format::Text), Format::Text);
    let counters = [
        "flumen_received_events_total",
        "flumen_received_bytes_total",
        "flumen_filtered_events_total",
        "flumen_routed_events_total",
        "flumen_refused_connections_total",
        "flumen_source_errors_total",
        "flumen_lost_events_total",
        "flumen_marked_events_total",
        "flumen_unparsed_events_total",
        "flumen_channel_put_events_total",
        "flumen_channel_recovered_events_total",
        "flumen_written_events_total",
        "flumen_written_bytes_total",
        "flumen_stored_bytes_total",
        "flumen_synced_events_total",
        "flumen_dead_lettered_events_total",
        "flumen_sink_errors_total",
        "flumen_sink_retries_total",
    ];
    let gauges = [
        "flumen_channel_events",
        "flumen_channel_bytes",
        "flumen_channel_capacity_bytes",
        "flumen_pool_batches_free",
    ];
    let histograms = ["flumen_channel_wait_seconds", "flumen_write_seconds", "flumen_sync_seconds"];
    for (names, kind) in
        [(&counters[..], "counter"), (&gauges, "gauge"), (&histograms, "histogram")]
    {
        for name in names {
            assert_eq!(parsed.families.get(*name).map(String::as_str), Some(kind), "{name}");
        }
    }
    assert_eq!(parsed.families.len(), counters.len() + gauges.len() + histograms.len());
}

#[test]
fn samples_are_exact_and_zeros_are_there() {
    let parsed = parse(&exposition(&example("edge", NAMES), Format::Text), Format::Text);
    let net = [("agent", "edge"), ("component", "net")];
    let main = [("agent", "edge"), ("component", "main")];
    let archive = [("agent", "edge"), ("component", "archive")];
    let and = |labels: [(&'static str, &'static str); 2], name, value| {
        [labels[0], labels[1], (name, value)]
    };
    assert_eq!(parsed.value("flumen_received_events_total", &net), 100.0);
    assert_eq!(parsed.value("flumen_channel_events", &main), 100.0);
    assert_eq!(parsed.value("flumen_channel_capacity_bytes", &main), 1_048_576.0);
    assert_eq!(parsed.value("flumen_pool_batches_free", &[net[0], ("component", "pool")]), 5.0);
    let lost = "flumen_lost_events_total";
    assert_eq!(parsed.value(lost, &and(net, "reason", "kernel")), 9.0);
    assert_eq!(parsed.value(lost, &and(archive, "reason", "sync")), 4.0);
    for reason in LostReason::ALL {
        assert_eq!(parsed.value(lost, &and(main, "reason", reason.name())), 0.0);
    }
    let marked = "flumen_marked_events_total";
    assert_eq!(parsed.value(marked, &and(net, "mark", "truncated")), 2.0);
    assert_eq!(parsed.value(marked, &and(net, "mark", "unparsed")), 0.0);
    let write = "flumen_write_seconds_bucket";
    assert_eq!(parsed.value(write, &and(archive, "le", "1.0")), 0.0);
    assert_eq!(parsed.value(write, &and(archive, "le", "2.0")), 1.0);
    assert_eq!(parsed.value(write, &and(archive, "le", "100.0")), 1.0);
    assert_eq!(parsed.value(write, &and(archive, "le", "+Inf")), 2.0);
    assert_eq!(parsed.value("flumen_write_seconds_count", &archive), 2.0);
    assert_eq!(parsed.value("flumen_write_seconds_sum", &archive), 202.0);
    let wait = "flumen_channel_wait_seconds_bucket";
    assert_eq!(parsed.value(wait, &and(main, "le", "0.00001")), 0.0);
    assert_eq!(parsed.value(wait, &and(main, "le", "0.00002")), 1.0);
}

#[test]
fn strange_names_are_escaped() {
    let agent = "a\\b\"c\nd";
    let parsed = parse(&exposition(&example(agent, NAMES), Format::Text), Format::Text);
    let labels = [("agent", agent), ("component", "net")];
    assert_eq!(parsed.value("flumen_received_events_total", &labels), 100.0);
}

#[test]
fn parts_of_one_name_do_not_share_series() {
    let names = ["main", "main", "archive"];
    let parsed = parse(&exposition(&example("edge", names), Format::Text), Format::Text);
    let components: HashSet<_> =
        parsed.samples.keys().map(|(_, labels)| labels["component"].as_str()).collect();
    assert_eq!(components, HashSet::from(["source.main", "channel.main", "archive", "pool"]));
}
