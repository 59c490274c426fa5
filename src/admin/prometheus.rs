//! `/metrics`: the ledger in Prometheus' text format 0.0.4, or in OpenMetrics 1.0 when asked.
//!
//! Written here and not by prometheus-client, which has OpenMetrics only: the two differ in a
//! counter's family name (`x_total` there, `x` here), in escaping of HELP and in the last line, and
//! a Prometheus that is given one for the other stores counters untyped. One table, two spellings.
//!
//! Every component has every series from the start, zeros too: a series that first appears with its
//! first loss has no increase for `rate()` to see. No timestamps, no exemplars.

use std::collections::HashSet;
use std::fmt::{Display, Write};

use crate::telemetry::Mark;
use crate::telemetry::histogram::HistogramTotals;
use crate::telemetry::snapshot::{ChannelTotals, SinkTotals, Snapshot, SourceTotals};

/// Which of the two spellings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// Prometheus text 0.0.4.
    Text,
    OpenMetrics,
}

impl Format {
    pub fn content_type(self) -> &'static str {
        match self {
            Self::Text => "text/plain; version=0.0.4; charset=utf-8",
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
        }
    }
}

/// The whole exposition.
pub fn exposition(snapshot: &Snapshot, format: Format) -> String {
    let mut out = Exposition { format, text: String::with_capacity(32 << 10) };
    let parts = Parts::new(snapshot);
    parts.at_sources(&mut out);
    parts.at_channels(&mut out);
    parts.at_sinks(&mut out);
    parts.shared(&mut out);
    parts.histograms(&mut out);
    if format == Format::OpenMetrics {
        out.text.push_str("# EOF\n");
    }
    out.text
}

/// The components, each with its labels already rendered.
struct Parts<'a> {
    sources: Vec<(String, &'a SourceTotals)>,
    channels: Vec<(String, &'a ChannelTotals)>,
    sinks: Vec<(String, &'a SinkTotals)>,
    pool: Option<(String, u64)>,
}

impl<'a> Parts<'a> {
    /// A component's label is its name. Where a source, a channel and a sink share a name, and so
    /// would share series, theirs are `source.NAME`, `channel.NAME`, `sink.NAME`.
    fn new(snapshot: &'a Snapshot) -> Self {
        let sources = snapshot.sources.iter().map(|part| part.name.as_str());
        let channels = snapshot.channels.iter().map(|part| part.name.as_str());
        let sinks = snapshot.sinks.iter().map(|part| part.name.as_str());
        let mut seen = HashSet::new();
        let names = sources.chain(channels).chain(sinks);
        let shared: HashSet<_> = names.filter(|name| !seen.insert(*name)).collect();
        let agent = escaped(&snapshot.agent, true);
        let labels = |kind: &str, name: &str| {
            let kind = if shared.contains(name) { format!("{kind}.") } else { String::new() };
            format!("agent=\"{agent}\",component=\"{kind}{}\"", escaped(name, true))
        };
        let sources = snapshot.sources.iter().map(|part| (labels("source", &part.name), part));
        let channels = snapshot.channels.iter().map(|part| (labels("channel", &part.name), part));
        let sinks = snapshot.sinks.iter().map(|part| (labels("sink", &part.name), part));
        Self {
            sources: sources.collect(),
            channels: channels.collect(),
            sinks: sinks.collect(),
            pool: snapshot.pool.map(|pool| (labels("pool", "pool"), pool.free)),
        }
    }

    fn at_sources(&self, out: &mut Exposition) {
        let mut counter = |name, help, count: fn(&SourceTotals) -> u64| {
            out.counter(
                name,
                help,
                self.sources.iter().map(|(labels, part)| (labels, count(part))),
            );
        };
        counter("flumen_received_events", "Events read, whatever became of them.", |part| {
            part.received_events
        });
        counter("flumen_received_bytes", "Bytes of the events read, without framing.", |part| {
            part.received_bytes
        });
        counter("flumen_routed_events", "Events offered to at least one channel.", |part| {
            part.routed_events
        });
        let help = "Connections closed that may not send, or did not begin as they must.";
        counter("flumen_refused_connections", help, |part| part.refused_connections);
        let help = "Reads that failed, and octet counts that do not match their messages.";
        counter("flumen_source_errors", help, |part| part.errors);
        let marks = self.sources.iter().flat_map(|(labels, part)| {
            part.marked.each().map(move |(mark, count)| (with(labels, "mark", mark.name()), count))
        });
        // All that a sink can do to an event is to send it without its end.
        let cut = self.sinks.iter().map(|(labels, part)| {
            let mark = Mark::Truncated;
            (with(labels, "mark", mark.name()), part.marked.get(mark))
        });
        let marks = marks.chain(cut);
        out.counter("flumen_marked_events", "Events kept and marked, by what was noticed.", marks);
        let unparsed = self.sources.iter().flat_map(|(labels, part)| {
            let each = part.unparsed.each();
            each.map(move |(why, count)| (with(labels, "reason", why.name()), count))
        });
        let help = "Events marked unparsed, by why; only where fields of messages are wanted.";
        out.counter("flumen_unparsed_events", help, unparsed);
    }

    fn at_channels(&self, out: &mut Exposition) {
        let each = || self.channels.iter().map(|(labels, part)| (labels, *part));
        let put = each().map(|(labels, part)| (labels, part.put_events));
        out.counter("flumen_channel_put_events", "Events offered to the channel.", put);
        let recovered = each().map(|(labels, part)| (labels, part.recovered_events));
        let help = "Events a durable channel held when it started.";
        out.counter("flumen_channel_recovered_events", help, recovered);
        let waiting = each().map(|(labels, part)| (labels, part.waiting_events));
        let help = "Events accepted and not yet appended: ring, disk, sinks' hands, open blocks.";
        out.gauge("flumen_channel_events", help, waiting);
        let waiting = each().map(|(labels, part)| (labels, part.waiting_bytes));
        out.gauge("flumen_channel_bytes", "Bytes of the events that wait.", waiting);
        let capacity = each().map(|(labels, part)| (labels, part.capacity_bytes));
        out.gauge("flumen_channel_capacity_bytes", "Bytes that may wait.", capacity);
    }

    fn at_sinks(&self, out: &mut Exposition) {
        let mut counter = |name, help, count: fn(&SinkTotals) -> u64| {
            out.counter(name, help, self.sinks.iter().map(|(labels, part)| (labels, count(part))));
        };
        counter("flumen_written_events", "Events appended; a retried one once.", |part| {
            part.written_events
        });
        counter("flumen_written_bytes", "Bytes of the events appended, as they came.", |part| {
            part.written_bytes
        });
        counter("flumen_stored_bytes", "Bytes stored or sent, encoded and compressed.", |part| {
            part.stored_bytes
        });
        counter("flumen_synced_events", "Events known to be on the disk.", |part| {
            part.synced_events
        });
        counter("flumen_dead_lettered_events", "Events set aside as undeliverable.", |part| {
            part.dead_lettered_events
        });
        counter("flumen_sink_errors", "Attempts to deliver that failed.", |part| part.errors);
        counter("flumen_sink_retries", "Attempts to deliver made again.", |part| part.retries);
    }

    /// Families that have series of several kinds of component.
    fn shared(&self, out: &mut Exposition) {
        let sources = self.sources.iter().map(|(labels, part)| (labels, part.filtered_events));
        let sinks = self.sinks.iter().map(|(labels, part)| (labels, part.filtered_events));
        let help = "Events an interceptor or a sink's filter refused on purpose.";
        out.counter("flumen_filtered_events", help, sources.chain(sinks));
        let sources = self.sources.iter().map(|(labels, part)| (labels, &part.lost));
        let channels = self.channels.iter().map(|(labels, part)| (labels, &part.lost));
        let sinks = self.sinks.iter().map(|(labels, part)| (labels, &part.lost));
        let lost = sources.chain(channels).chain(sinks).flat_map(|(labels, lost)| {
            lost.each().map(move |(reason, count)| (with(labels, "reason", reason.name()), count))
        });
        let help = "Events that are in no file, each in exactly one series, by why.";
        out.counter("flumen_lost_events", help, lost);
        let free = self.pool.iter().map(|(labels, free)| (labels, free));
        out.gauge("flumen_pool_batches_free", "Batches at home in the pool.", free);
    }

    /// The wait is the channel's, so it stands under its name; its sinks measured it.
    fn histograms(&self, out: &mut Exposition) {
        let waits = self.channels.iter().map(|(labels, channel)| {
            let mut wait = HistogramTotals::default();
            let sinks = self.sinks.iter().filter(|(_, sink)| sink.channel == channel.name);
            sinks.for_each(|(_, sink)| wait.add(&sink.channel_wait));
            (labels, wait)
        });
        let help = "From the offer of a batch to the moment a sink takes it.";
        out.histogram("flumen_channel_wait_seconds", help, waits);
        let writes = self.sinks.iter().map(|(labels, part)| (labels, part.write.clone()));
        out.histogram("flumen_write_seconds", "One append, retries included.", writes);
        let syncs = self.sinks.iter().map(|(labels, part)| (labels, part.sync.clone()));
        out.histogram("flumen_sync_seconds", "One fdatasync, asked to answered.", syncs);
    }
}

fn with(labels: &str, name: &str, value: &str) -> String {
    format!("{labels},{name}=\"{}\"", escaped(value, true))
}

/// Backslash and newline are escaped everywhere; quotes in label values and OpenMetrics' HELP.
fn escaped(text: &str, quotes: bool) -> String {
    let mut out = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '"' if quotes => out.push_str("\\\""),
            other => out.push(other),
        }
    }
    out
}

struct Exposition {
    format: Format,
    text: String,
}

impl Exposition {
    /// `family` without `_total`; both formats want it on the samples, only the text format on the
    /// family.
    fn counter(
        &mut self,
        family: &str,
        help: &str,
        samples: impl Iterator<Item = (impl Display, u64)>,
    ) {
        let total = if self.format == Format::Text { "_total" } else { "" };
        self.head(&format!("{family}{total}"), "counter", help);
        for (labels, count) in samples {
            self.sample(&format!("{family}_total"), labels, count);
        }
    }

    fn gauge(
        &mut self,
        family: &str,
        help: &str,
        samples: impl Iterator<Item = (impl Display, impl Display)>,
    ) {
        self.head(family, "gauge", help);
        for (labels, level) in samples {
            self.sample(family, labels, level);
        }
    }

    fn histogram(
        &mut self,
        family: &str,
        help: &str,
        samples: impl Iterator<Item = (impl Display, HistogramTotals)>,
    ) {
        self.head(family, "histogram", help);
        for (labels, totals) in samples {
            let bucket = format!("{family}_bucket");
            for (bound, at_or_below) in totals.cumulative() {
                // OpenMetrics wants bounds with a decimal point.
                let point = if bound.fract() == 0.0 { ".0" } else { "" };
                let labels = format!("{labels},le=\"{bound}{point}\"");
                self.sample(&bucket, labels, at_or_below);
            }
            self.sample(&bucket, format!("{labels},le=\"+Inf\""), totals.count());
            self.sample(&format!("{family}_sum"), &labels, totals.sum_seconds());
            self.sample(&format!("{family}_count"), &labels, totals.count());
        }
    }

    fn head(&mut self, family: &str, kind: &str, help: &str) {
        let help = escaped(help, self.format == Format::OpenMetrics);
        writeln!(self.text, "# HELP {family} {help}\n# TYPE {family} {kind}").expect("a String");
    }

    fn sample(&mut self, name: &str, labels: impl Display, value: impl Display) {
        writeln!(self.text, "{name}{{{labels}}} {value}").expect("a String takes everything");
    }
}

#[cfg(test)]
#[path = "prometheus_tests.rs"]
mod tests;
