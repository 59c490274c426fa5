//! The ledger as people and programs read it: one line, a table, JSON.

use std::fmt::Write;

use serde_json::{Map, Value, json};

use super::snapshot::{ChannelTotals, Equation, LostTotals, SinkTotals, Snapshot, SourceTotals};

/// The last line of a run: whether it adds up, every equation, and what was lost.
pub fn line(snapshot: &Snapshot) -> String {
    let mut line = format!("ledger of {} {}", snapshot.agent, verdict(snapshot));
    for equation in snapshot.balance() {
        write!(line, "; {equation}").expect("a String takes everything");
    }
    let lost = snapshot.lost_events();
    write!(line, "; lost {lost}").expect("a String takes everything");
    if lost > 0 {
        let parts: Vec<_> = lost_parts(snapshot).iter().map(|part| part.join(" ")).collect();
        write!(line, " ({})", parts.join(", ")).expect("a String takes everything");
    }
    line
}

fn verdict(snapshot: &Snapshot) -> &'static str {
    if snapshot.adds_up() { "adds up" } else { "DOES NOT ADD UP" }
}

/// Component, reason and count of every loss that happened.
fn lost_parts(snapshot: &Snapshot) -> Vec<[String; 3]> {
    let sources = snapshot.sources.iter().map(|part| ("source", &part.name, &part.lost));
    let channels = snapshot.channels.iter().map(|part| ("channel", &part.name, &part.lost));
    let sinks = snapshot.sinks.iter().map(|part| ("sink", &part.name, &part.lost));
    let parts = sources.chain(channels).chain(sinks).flat_map(|(kind, name, lost)| {
        lost.each().filter(|(_, count)| *count > 0).map(move |(reason, count)| {
            [format!("{kind} {name}"), reason.name().to_owned(), count.to_string()]
        })
    });
    parts.collect()
}

/// The whole ledger, aligned for a terminal. Ends with a newline.
pub fn table(snapshot: &Snapshot) -> String {
    let mut sources = Columns::new(["source", "received", "bytes", "filtered", "lost", "routed"]);
    for part in &snapshot.sources {
        let counts = [part.received_events, part.received_bytes, part.filtered_events];
        sources.row(&part.name, counts.into_iter().chain([part.lost_here(), part.routed_events]));
    }
    let mut channels = Columns::new(["channel", "put", "recovered", "waiting", "lost"]);
    for part in &snapshot.channels {
        let waiting = part.waiting_events.to_string();
        let counts = [part.put_events.to_string(), part.recovered_events.to_string(), waiting];
        channels.row(&part.name, counts.into_iter().chain([part.lost.total().to_string()]));
    }
    let header = ["sink", "written", "bytes", "stored", "synced", "filtered", "dead", "lost"];
    let mut sinks = Columns::new(header.into_iter().chain(["errors", "retries"]));
    for part in &snapshot.sinks {
        let written = [part.written_events, part.written_bytes, part.stored_bytes];
        let after = [part.synced_events, part.filtered_events, part.dead_lettered_events];
        let trouble = [part.lost.total(), part.errors, part.retries];
        sinks.row(&part.name, written.into_iter().chain(after).chain(trouble));
    }
    let mut lost = Columns::new(["lost at", "reason", "events"]);
    lost.rows.extend(lost_parts(snapshot).into_iter().map(Vec::from));
    let mut text = format!("ledger of {}: {}\n", snapshot.agent, verdict(snapshot));
    for columns in [sources, channels, sinks, lost] {
        columns.write(&mut text);
    }
    for equation in snapshot.balance().iter().filter(|equation| !equation.holds()) {
        writeln!(text, "  wrong: {equation}").expect("a String takes everything");
    }
    text
}

/// A table of which the first column is text and the others are numbers.
struct Columns {
    rows: Vec<Vec<String>>,
}

impl Columns {
    fn new<'a>(header: impl IntoIterator<Item = &'a str>) -> Self {
        Self { rows: vec![header.into_iter().map(str::to_owned).collect()] }
    }

    fn row<T: ToString>(&mut self, name: &str, counts: impl IntoIterator<Item = T>) {
        let counts = counts.into_iter().map(|count| count.to_string());
        self.rows.push([name.to_owned()].into_iter().chain(counts).collect());
    }

    /// Writes nothing when there is only the header.
    fn write(&self, text: &mut String) {
        if self.rows.len() < 2 {
            return;
        }
        let cells = |column: usize| self.rows.iter().map(move |row| row[column].chars().count());
        let widths: Vec<_> =
            (0..self.rows[0].len()).map(|column| cells(column).max().unwrap_or(0)).collect();
        for row in &self.rows {
            write!(text, "  {:<width$}", row[0], width = widths[0]).expect("a String");
            for (cell, width) in row.iter().zip(&widths).skip(1) {
                write!(text, "  {cell:>width$}").expect("a String takes everything");
            }
            text.push('\n');
        }
    }
}

/// The whole ledger for `/ledger`.
pub fn json(snapshot: &Snapshot) -> Value {
    json!({
        "agent": snapshot.agent,
        "adds_up": snapshot.adds_up(),
        "lost_events": snapshot.lost_events(),
        "equations": snapshot.balance().iter().map(equation_json).collect::<Vec<_>>(),
        "sources": snapshot.sources.iter().map(source_json).collect::<Vec<_>>(),
        "channels": snapshot.channels.iter().map(channel_json).collect::<Vec<_>>(),
        "sinks": snapshot.sinks.iter().map(sink_json).collect::<Vec<_>>(),
        "pool": snapshot.pool.map(|pool| json!({ "batches": pool.batches, "free": pool.free })),
    })
}

fn equation_json(equation: &Equation) -> Value {
    json!({
        "component": equation.component,
        "text": equation.text,
        "left": saturated(equation.left),
        "right": saturated(equation.right),
        "holds": equation.holds(),
    })
}

fn saturated(value: i128) -> i64 {
    i64::try_from(value).unwrap_or(if value < 0 { i64::MIN } else { i64::MAX })
}

fn source_json(part: &SourceTotals) -> Value {
    json!({
        "name": part.name,
        "received_events": part.received_events,
        "received_bytes": part.received_bytes,
        "filtered_events": part.filtered_events,
        "routed_events": part.routed_events,
        "lost_events": lost_json(&part.lost),
        "marked_events": labelled(part.marked.each().map(|(mark, count)| (mark.name(), count))),
        "unparsed_events": labelled(part.unparsed.each().map(|(why, count)| (why.name(), count))),
        "errors": part.errors,
        "refused_connections": part.refused_connections,
        "open_connections": part.open_connections,
    })
}

fn channel_json(part: &ChannelTotals) -> Value {
    json!({
        "name": part.name,
        "put_events": part.put_events,
        "put_bytes": part.put_bytes,
        "recovered_events": part.recovered_events,
        "waiting_events": part.waiting_events,
        "waiting_bytes": part.waiting_bytes,
        "capacity_bytes": part.capacity_bytes,
        "lost_events": lost_json(&part.lost),
    })
}

fn sink_json(part: &SinkTotals) -> Value {
    json!({
        "name": part.name,
        "channel": part.channel,
        "written_events": part.written_events,
        "written_bytes": part.written_bytes,
        "stored_bytes": part.stored_bytes,
        "synced_events": part.synced_events,
        "filtered_events": part.filtered_events,
        "dead_lettered_events": part.dead_lettered_events,
        "lost_events": lost_json(&part.lost),
        "marked_events": labelled(part.marked.each().map(|(mark, count)| (mark.name(), count))),
        "errors": part.errors,
        "retries": part.retries,
    })
}

fn lost_json(lost: &LostTotals) -> Value {
    labelled(lost.each().map(|(reason, count)| (reason.name(), count)))
}

/// An object of every label with its count, zeros too.
fn labelled(counts: impl Iterator<Item = (&'static str, u64)>) -> Value {
    let counts = counts.map(|(name, count)| (name.to_owned(), Value::from(count)));
    Value::Object(counts.collect::<Map<_, _>>())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::telemetry::counter::LostReason;
    use crate::telemetry::ledger::Ledger;

    fn example() -> Snapshot {
        let mut builder = Ledger::builder("edge");
        let source = builder.source("net").worker();
        let inlet = builder.channel("main").inlet();
        let gauge = builder.channel("main").counters();
        let sink = builder.sink("archive", "main").worker();
        builder.pool(4, || 4);
        let ledger = builder.build();
        source.received_events.add(1000);
        source.received_bytes.add(190_000);
        source.lost[LostReason::Kernel].add(12);
        source.routed_events.add(1000);
        inlet.put_events.add(1000);
        gauge.gauge.enter(1000, 190_000);
        gauge.gauge.leave(997, 189_430);
        sink.written_events.add(997);
        sink.stored_bytes.add(19_000);
        ledger.snapshot()
    }

    #[test]
    fn the_line_says_everything_once() {
        assert_eq!(
            line(&example()),
            "ledger of edge adds up; source net: received 1000 = filtered 0 + lost 0 + routed \
             1000; channel main: put 1000 + recovered 0 = waiting 3 + written 997 + filtered 0 + \
             dead-lettered 0 + lost 0; lost 12 (source net kernel 12)"
        );
    }

    #[test]
    fn the_table_is_aligned() {
        let expected = "\
ledger of edge: adds up
  source  received   bytes  filtered  lost  routed
  net         1000  190000         0     0    1000
  channel   put  recovered  waiting  lost
  main     1000          0        3     0
  sink     written  bytes  stored  synced  filtered  dead  lost  errors  retries
  archive      997      0   19000       0         0     0     0       0        0
  lost at     reason  events
  source net  kernel      12
";
        assert_eq!(table(&example()), expected);
    }

    #[test]
    fn what_does_not_add_up_is_said_everywhere() {
        let mut snapshot = example();
        snapshot.channels[0].waiting_events = -1;
        assert!(line(&snapshot).starts_with("ledger of edge DOES NOT ADD UP; "));
        assert!(table(&snapshot).ends_with("lost 0 (left is 4 more)\n"));
        let json = json(&snapshot);
        assert_eq!(json["adds_up"], false);
        assert_eq!(json["equations"][0]["holds"], true);
        assert_eq!(json["equations"][1]["left"], 1000);
        assert_eq!(json["equations"][1]["right"], 996);
        assert_eq!(json["channels"][0]["waiting_events"], -1);
    }

    #[test]
    fn json_has_every_series() {
        let json = json(&example());
        assert_eq!(json["sources"][0]["lost_events"]["kernel"], 12);
        assert_eq!(json["sinks"][0]["lost_events"].as_object().map(Map::len), Some(9));
        assert_eq!(json["sinks"][0]["written_events"], 997);
        assert_eq!(json["pool"]["free"], 4);
        assert_eq!(json["lost_events"], 12);
    }
}
