//! `flumen stats`: events and bytes of archives by host, severity and hour.

mod chart;

use std::collections::BTreeMap;
use std::io::{self, BufWriter, IsTerminal, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use rustix::termios::tcgetwinsize;
use serde_json::{Value, json};

use super::gather::{Gathered, Work};
use super::instant::instant;
use super::output::{finish, tell};
use super::pipe::open_pipe;
use crate::archive::crew::{Out, in_order, threads_default};
use crate::archive::order::{Job, Subject};
use crate::archive::query::{TimeRange, host, severity};
use crate::archive::survey::BlockDecoder;
use crate::archive::{ArchiveError, BlockView, Ending, Reader};
use crate::runtime::clock::{Clock, SystemClock};
use crate::syslog::names::SEVERITIES;
use crate::time::Wall;

/// Counts events and bytes by host, severity and hour
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  \
    flumen stats /var/log/flumen --since 1d\n  \
    flumen stats /var/log/flumen --json | jq '.hosts[0]'\n\n\
    Hosts and severities are those the messages name; a datagram without a syslog header counts\n\
    for its sender. The hour, in local time, is an event's own where the file keeps that, else\n\
    that of the last receive time of its block. In a terminal counts are drawn as bars.")]
pub struct StatsArgs {
    /// Files, directories to walk, or - for standard input
    #[arg(required = true, value_name = "PATH")]
    pub paths: Vec<PathBuf>,
    /// One JSON object, with all hosts and hours
    #[arg(long)]
    pub json: bool,
    /// Blocks received at or after this moment
    #[arg(long, value_name = "T")]
    pub since: Option<String>,
    /// Blocks received before this moment
    #[arg(long, value_name = "T")]
    pub until: Option<String>,
    /// So many hosts are shown, those with the most events
    #[arg(long, value_name = "N", default_value_t = 20)]
    pub hosts: usize,
}

/// Hosts that are told apart: a sender that makes up names must not eat the memory.
const HOSTS_MAX: usize = 100_000;
/// The host of events beyond that.
const OTHERS: &[u8] = b"(others)";
const COLUMNS_DEFAULT: usize = 80;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Count {
    events: u64,
    bytes: u64,
}

/// What was counted: of a block, or of all of them.
#[derive(Debug, Default)]
struct Counts {
    all: Count,
    blocks: u64,
    hosts: BTreeMap<Vec<u8>, Count>,
    no_host: Count,
    /// The last one: events without a severity.
    severities: [Count; 9],
    /// By seconds since 1970 of the hour's beginning; None: no time.
    hours: BTreeMap<Option<i64>, Count>,
}

/// What a job gives.
struct Part {
    of: Option<Subject>,
    counts: Counts,
    /// What could not be read, and whether the file is not there.
    trouble: Option<(String, bool)>,
}

pub fn run(args: &StatsArgs) -> ExitCode {
    let now = SystemClock::default().now().wall;
    let moment = |text: &Option<String>, otherwise: Wall| {
        text.as_ref().map_or(Ok(otherwise), |text| instant(text, now))
    };
    let range = moment(&args.since, Wall::MIN)
        .and_then(|since| Ok(TimeRange { since, until: moment(&args.until, Wall::MAX)? }));
    let range = match range {
        Ok(range) => range,
        Err(error) => {
            tell("stats", error);
            return ExitCode::from(2);
        }
    };
    let mut out = BufWriter::new(io::stdout().lock());
    let outcome = stats(args, range, terminal_columns(), &mut out);
    finish("stats", outcome.and_then(|code| out.flush().map(|()| code)))
}

/// None: standard output is no terminal.
fn terminal_columns() -> Option<usize> {
    let out = io::stdout();
    if !out.is_terminal() {
        return None;
    }
    // A terminal that does not know says 0.
    let told = tcgetwinsize(&out).map_or(0, |size| usize::from(size.ws_col));
    Some(if told == 0 { COLUMNS_DEFAULT } else { told })
}

fn stats(
    args: &StatsArgs,
    range: TimeRange,
    columns: Option<usize>,
    out: &mut impl Write,
) -> io::Result<ExitCode> {
    let mut gathered = Gathered::new("stats", &args.paths);
    let mut failed = gathered.failed;
    let parts = in_order(threads_default(), gathered.work(range), || {
        let mut decoder = BlockDecoder::default();
        move |work, out: &Out<Part>| count(work, range, &mut decoder, out)
    })?;
    let mut total = Counts::default();
    for part in parts {
        total.add(part.counts);
        if let Some((text, missing)) = part.trouble {
            if missing && part.of.as_ref().is_some_and(|of| gathered.may_be_gone(of)) {
                continue;
            }
            tell("stats", text);
            failed = true;
        }
    }
    if args.json {
        writeln!(out, "{}", total.json())?;
    } else {
        chart::write(&total, args.hosts, columns, out)?;
    }
    Ok(if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

fn count(work: Work, range: TimeRange, decoder: &mut BlockDecoder, out: &Out<Part>) {
    let bad = |of: Subject, what: String, missing: bool| {
        let text = format!("{}: {what}", of.path.display());
        Part { of: Some(of), counts: Counts::default(), trouble: Some((text, missing)) }
    };
    let part = match work {
        Work::Pipe { of } => {
            let reader = open_pipe(&of.path);
            return stream(of, reader, out);
        }
        Work::File(Job::Stream { of, file }) => {
            let reader = Reader::of_file(&of.path, file);
            return stream(of, reader, out);
        }
        Work::File(Job::Block { of, file, codec, entry, number }) => {
            match decoder.view(&*file, codec, &entry, true) {
                Ok(Ok(view)) => Part { of: None, counts: Counts::of(&view, range), trouble: None },
                Ok(Err(why)) => bad(of, format!("block {number} is left out: {why}"), false),
                Err(error) => bad(of, format!("block {number}: {error}"), false),
            }
        }
        Work::File(Job::Skipped { .. }) => return,
        Work::File(Job::Gap { of, gap }) => {
            bad(of, format!("{} bytes at byte {}: {}", gap.bytes, gap.at, gap.why), false)
        }
        Work::File(Job::Failed { of, error }) => {
            let missing = error.kind() == io::ErrorKind::NotFound;
            bad(of, error.to_string(), missing)
        }
    };
    out.put(part);
}

fn stream(of: Subject, reader: Result<Reader, ArchiveError>, out: &Out<Part>) {
    let trouble = |text: String| {
        let trouble = Some((text, false));
        out.put(Part { of: Some(of.clone()), counts: Counts::default(), trouble });
    };
    let mut reader = match reader {
        Ok(reader) => reader,
        Err(error) => return trouble(error.to_string()),
    };
    loop {
        match reader.next_block() {
            Ok(Some(view)) => {
                let counts = Counts::of(&view, TimeRange::ALL);
                if !out.put(Part { of: None, counts, trouble: None }) {
                    return;
                }
            }
            Ok(None) => break,
            Err(error) => return trouble(error.to_string()),
        }
    }
    if let Ending::StreamTorn { why } = &reader.summary().ending {
        trouble(format!("{}: it ends early or is damaged: {why}", of.path.display()));
    }
}

impl Count {
    fn add(&mut self, other: Self) {
        self.events += other.events;
        self.bytes += other.bytes;
    }
}

impl Counts {
    /// Of events that keep their times only those in the range.
    fn of(view: &BlockView<'_>, range: TimeRange) -> Self {
        let mut counts = Self { blocks: 1, ..Self::default() };
        let hour = |at: Wall| at.seconds().div_euclid(3600) * 3600;
        let block_hour = view.times.map(|(_, last)| hour(last));
        for event in view.events() {
            let received = || event.received.map(|received| received.at);
            let own = event.own.map(|own| own.at).or_else(received);
            if own.is_some_and(|at| !range.holds(at)) {
                continue;
            }
            let one = Count { events: 1, bytes: event.line.len() as u64 };
            counts.all.add(one);
            let severity = severity(&event).map_or(8, usize::from);
            counts.severities[severity].add(one);
            match host(&event) {
                Some(host) => counts.host(&host, one),
                None => counts.no_host.add(one),
            }
            counts.hours.entry(own.map(hour).or(block_hour)).or_default().add(one);
        }
        counts
    }

    fn host(&mut self, host: &[u8], one: Count) {
        if let Some(count) = self.hosts.get_mut(host) {
            return count.add(one);
        }
        let name = if self.hosts.len() < HOSTS_MAX { host } else { OTHERS };
        self.hosts.entry(name.to_vec()).or_default().add(one);
    }

    fn add(&mut self, other: Self) {
        self.all.add(other.all);
        self.blocks += other.blocks;
        self.no_host.add(other.no_host);
        for (host, count) in other.hosts {
            self.host(&host, count);
        }
        for (own, more) in self.severities.iter_mut().zip(other.severities) {
            own.add(more);
        }
        for (hour, count) in other.hours {
            self.hours.entry(hour).or_default().add(count);
        }
    }

    /// Most events first; of as many by name.
    fn hosts_sorted(&self) -> Vec<(String, Count)> {
        let name = |host: &[u8]| String::from_utf8_lossy(host).into_owned();
        let mut hosts: Vec<_> = self.hosts.iter().map(|(host, n)| (name(host), *n)).collect();
        hosts.sort_by(|a, b| b.1.events.cmp(&a.1.events).then_with(|| a.0.cmp(&b.0)));
        hosts
    }

    fn json(&self) -> Value {
        let counted = |name: &str, value: Value, count: &Count| {
            let mut row = json!({ "events": count.events, "bytes": count.bytes });
            row[name] = value;
            row
        };
        let hosts = self.hosts_sorted();
        let hosts = hosts.iter().map(|(host, count)| counted("host", json!(host), count));
        let severities = (0..9).filter(|at| self.severities[*at].events > 0).map(|at| {
            let name = SEVERITIES.get(at).map_or(Value::Null, |name| json!(name));
            counted("severity", name, &self.severities[at])
        });
        let hours = self.hours.iter().map(|(hour, count)| {
            let hour = hour.map_or(Value::Null, |hour| json!(chart::utc(hour)));
            counted("hour", hour, count)
        });
        json!({
            "events": self.all.events,
            "bytes": self.all.bytes,
            "blocks": self.blocks,
            "without_host": self.no_host.events,
            "hosts": hosts.collect::<Vec<_>>(),
            "severities": severities.collect::<Vec<_>>(),
            "hours": hours.collect::<Vec<_>>(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counts(text: &str, last: Option<i64>) -> Counts {
        let times = last.map(|last| (Wall(0), Wall(last * 1_000_000_000)));
        Counts::of(&BlockView::whole(text.as_bytes(), None, times), TimeRange::ALL)
    }

    fn shown(counts: &Counts, hosts: usize, columns: Option<usize>) -> String {
        let mut out = Vec::new();
        chart::write(counts, hosts, columns, &mut out).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn events_are_counted_by_host_severity_and_hour() {
        let mut total = counts(
            "<34>Oct 11 22:14:15 web su: a\n<34>Oct 11 22:14:15 web su: bb\nno header\n",
            Some(7300),
        );
        total.add(counts("<38>Oct 11 22:14:15 db su: c\n", Some(7199)));
        total.add(counts("<38>Oct 11 22:14:15 db su: c\n", None));
        let json = total.json();
        assert_eq!((&json["events"], &json["bytes"]), (&json!(5), &json!(29 + 30 + 9 + 28 + 28)));
        assert_eq!(
            json["hosts"],
            json!([
                { "host": "db", "events": 2, "bytes": 56 },
                { "host": "web", "events": 2, "bytes": 59 },
            ])
        );
        assert_eq!(
            json["severities"],
            json!([
                { "severity": "crit", "events": 2, "bytes": 59 },
                { "severity": "info", "events": 2, "bytes": 56 },
                { "severity": null, "events": 1, "bytes": 9 },
            ])
        );
        assert_eq!(
            json["hours"],
            json!([
                { "hour": null, "events": 1, "bytes": 28 },
                { "hour": "1970-01-01T01:00:00Z", "events": 1, "bytes": 28 },
                { "hour": "1970-01-01T02:00:00Z", "events": 3, "bytes": 68 },
            ])
        );
        assert_eq!(json["without_host"], 1);
    }

    #[test]
    fn bars_are_for_terminals_and_hosts_are_cut_off() {
        let text: String =
            (0..30).map(|n| format!("<34>Oct 11 22:14:15 h{n:02} su\n").repeat(n + 1)).collect();
        let total = counts(&text, Some(7300));
        let plain = shown(&total, 3, None);
        assert!(plain.contains("h29") && !plain.contains("h26") && !plain.contains('█'), "{plain}");
        assert!(plain.contains("and 27 more"), "{plain}");
        for columns in [80, 200] {
            let bars = shown(&total, 3, Some(columns));
            assert!(bars.contains('█'), "{bars}");
            assert!(bars.lines().all(|line| line.chars().count() <= columns), "{bars}");
        }
    }

    #[test]
    fn made_up_hosts_do_not_eat_the_memory() {
        let mut counts = Counts::default();
        let one = Count { events: 1, bytes: 1 };
        (0..HOSTS_MAX + 10).for_each(|n| counts.host(format!("{n}").as_bytes(), one));
        assert_eq!(counts.hosts.len(), HOSTS_MAX + 1);
        assert_eq!(counts.hosts[OTHERS].events, 10);
    }
}
