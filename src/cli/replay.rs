//! `flumen replay`: recorded traffic again, with its own timing.

use std::io::{self, IsTerminal, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use super::blast::FramingName;
use super::instant::instant;
use super::interrupt;
use super::output::{complain, finish, tell};
use super::pipe::is_pipe;
use crate::archive::query::TimeRange;
use crate::archive::tape::{Choice, Findings};
use crate::load::replay::{self, Outcome, Plan, Progress, ReplayError, Speed};
use crate::load::{Framing, Target};
use crate::runtime::clock::{Clock, SystemClock};
use crate::time::Wall;

/// Sends recorded traffic again, with its own timing
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  \
    flumen replay /var/log/flows --to udp://127.0.0.1:2055\n  \
    flumen replay monday.pcapng --port 514 --to udp://127.0.0.1:5514 --speed 10x\n  \
    flumen replay /var/log/flumen --since 1h --to tcp://127.0.0.1:5514 --speed max\n\n\
    Of archives written with encoder = \"datagram\" or keep_meta and of captures every event has\n\
    its own time; of others, events are spread over that of their block. Of captures the payloads\n\
    of UDP datagrams are sent; TCP segments are counted and passed over. All events leave from\n\
    one socket of this machine. Ctrl-C stops and still tells what was sent.")]
pub struct ReplayArgs {
    /// Archive files, directories of them, or captures (pcap, pcapng)
    #[arg(required = true, value_name = "PATH")]
    pub paths: Vec<PathBuf>,
    /// udp://host:port or tcp://host:port; unix:///path, unixgram:///path
    #[arg(long, value_name = "TARGET", value_parser = Target::parse)]
    pub to: Target,
    /// 1x as it was recorded, 10x, 0.5x, or max
    #[arg(long, default_value = "1x", value_parser = parse_speed)]
    pub speed: Speed,
    /// How often it is played; 0: until it is stopped
    #[arg(long = "loop", value_name = "N", default_value_t = 1)]
    pub passes: u64,
    /// Only datagrams that were sent to this port
    #[arg(long)]
    pub port: Option<u16>,
    /// Received at or after this moment
    #[arg(long, value_name = "T")]
    pub since: Option<String>,
    /// Received before this moment
    #[arg(long, value_name = "T")]
    pub until: Option<String>,
    /// On tcp and unix: a line feed behind each event, or its length in front (RFC 6587)
    #[arg(long, value_enum, default_value = "newline")]
    pub framing: FramingName,
    /// One JSON object instead of text
    #[arg(long)]
    pub json: bool,
}

/// Before the first progress line, and between two.
const PROGRESS_AFTER: Duration = Duration::from_secs(2);
const LINE: Duration = Duration::from_secs(1);

fn parse_speed(text: &str) -> Result<Speed, String> {
    if text == "max" {
        return Ok(Speed::Max);
    }
    let number = text.strip_suffix('x').unwrap_or(text).parse::<f64>().ok();
    let number = number.filter(|number| number.is_finite() && *number > 0.0);
    number.map(Speed::Times).ok_or_else(|| "write 1x, 10x, 0.5x or max".to_owned())
}

pub fn run(args: &ReplayArgs) -> ExitCode {
    let plan = match plan(args) {
        Ok(plan) => plan,
        Err(why) => {
            tell("replay", why);
            return ExitCode::from(2);
        }
    };
    let stop = interrupt::flag("replay");
    let mut line = ProgressLine::new();
    let outcome = replay::run(&plan, &stop, &mut |now| line.show(now));
    line.clear();
    match outcome {
        Ok(outcome) => finish("replay", conclude(args, &outcome)),
        Err(error) => {
            tell("replay", &error);
            match error {
                ReplayError::Recording(_) => ExitCode::from(2),
                ReplayError::Target { .. } | ReplayError::Thread(_) => ExitCode::FAILURE,
            }
        }
    }
}

fn plan(args: &ReplayArgs) -> Result<Plan, String> {
    if let Some(path) = args.paths.iter().find(|path| is_pipe(path)) {
        return Err(format!("{} can be read only once: name a file", path.display()));
    }
    let now = SystemClock::default().now().wall;
    let moment = |text: &Option<String>, otherwise: Wall| {
        text.as_ref().map_or(Ok(otherwise), |text| instant(text, now))
    };
    let range = TimeRange {
        since: moment(&args.since, Wall::MIN)?,
        until: moment(&args.until, Wall::MAX)?,
    };
    Ok(Plan {
        paths: args.paths.clone(),
        choice: Choice { range, port: args.port },
        target: args.to.clone(),
        speed: args.speed,
        passes: (args.passes > 0).then_some(args.passes),
        framing: match args.framing {
            FramingName::Newline => Framing::Newline,
            FramingName::Octet => Framing::Octet,
        },
    })
}

fn conclude(args: &ReplayArgs, outcome: &Outcome) -> io::Result<ExitCode> {
    let failed = is_failure(outcome);
    for trouble in &outcome.findings.troubles {
        tell("replay", trouble);
    }
    if let Some(why) = &outcome.failure {
        let sent = outcome.events;
        tell("replay", format_args!("{}: it ended after {sent} events: {why}", args.to.text));
    }
    if outcome.findings.untimed > 0 {
        let what = "events of files that keep no times are left out: flumen cat writes them";
        tell("replay", format_args!("{} {what}", outcome.findings.untimed));
    } else if outcome.events == 0 && outcome.failure.is_none() && !outcome.stopped {
        tell("replay", "nothing was sent: there is no event that is wanted");
    }
    let mut out = io::stdout().lock();
    let text = if args.json { json(outcome) } else { summary(outcome) };
    out.write_all(text.as_bytes())?;
    out.flush()?;
    Ok(if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

/// Something was not sent that should have been, or nothing at all.
fn is_failure(outcome: &Outcome) -> bool {
    let findings = &outcome.findings;
    outcome.failure.is_some()
        || !findings.troubles.is_empty()
        || findings.untimed > 0
        || (outcome.events == 0 && !outcome.stopped)
}

fn milliseconds(ns: u64) -> f64 {
    ns as f64 / 1e6
}

fn per_second(count: u64, passed: Duration) -> f64 {
    let seconds = passed.as_secs_f64();
    if seconds > 0.0 { count as f64 / seconds } else { 0.0 }
}

fn summary(outcome: &Outcome) -> String {
    let (events, bytes, passed) = (outcome.events, outcome.bytes, outcome.passed);
    let mut text = format!(
        "sent {events} events, {bytes} bytes in {:.3} s\nrate {:.0} events/s, {:.1} MB/s\n",
        passed.as_secs_f64(),
        per_second(events, passed),
        per_second(bytes, passed) / 1e6,
    );
    if let Some(errors) = outcome.errors.as_ref().filter(|errors| !errors.is_empty()) {
        let at = |part: f64| milliseconds(errors.value_at_quantile(part));
        text.push_str(&format!(
            "late p50 {:.3} ms, p99 {:.3} ms, max {:.3} ms\n",
            at(0.5),
            at(0.99),
            milliseconds(errors.max())
        ));
    }
    for (count, what) in notes(outcome) {
        text.push_str(&format!("note {count} {what}\n"));
    }
    if outcome.stopped {
        text.push_str("note stopped before its end\n");
    }
    text
}

/// What is worth saying, as often as it was.
fn notes(outcome: &Outcome) -> impl Iterator<Item = (u64, &'static str)> {
    let Findings { block_timed, disordered, segments, fragments, cut, others, .. } =
        outcome.findings;
    let all = [
        (block_timed, "events keep no time of their own: spread over that of their block"),
        (disordered, "events were recorded out of order, and follow at once"),
        (outcome.refused, "at the least came to nobody (UDP): does anybody listen?"),
        (outcome.too_long, "are longer than a datagram can be, and left out"),
        (outcome.torn, "hold a line feed: a receiver of lines sees more events (--framing octet)"),
        (segments, "TCP segments were passed over: only UDP payloads are sent"),
        (fragments, "IP fragments were passed over"),
        (cut, "packets were cut when they were captured (snaplen), and passed over"),
        (others, "other packets were passed over"),
    ];
    all.into_iter().filter(|(count, _)| *count > 0)
}

fn json(outcome: &Outcome) -> String {
    let errors = outcome.errors.as_ref().filter(|errors| !errors.is_empty());
    let late = errors.map(|errors| {
        let at = |part: f64| errors.value_at_quantile(part);
        serde_json::json!({ "p50_ns": at(0.5), "p99_ns": at(0.99), "max_ns": errors.max() })
    });
    let notes: Vec<_> = notes(outcome).map(|(count, what)| format!("{count} {what}")).collect();
    let object = serde_json::json!({
        "events": outcome.events,
        "bytes": outcome.bytes,
        "seconds": outcome.passed.as_secs_f64(),
        "late": late,
        "refused": outcome.refused,
        "stopped": outcome.stopped,
        "notes": notes,
    });
    format!("{object}\n")
}

/// One line on a terminal, written over itself each second.
struct ProgressLine {
    terminal: bool,
    last: Progress,
    shown: bool,
}

impl ProgressLine {
    fn new() -> Self {
        let terminal = io::stderr().is_terminal();
        Self { terminal, last: Progress::default(), shown: false }
    }

    fn show(&mut self, now: &Progress) {
        let passed = now.passed.saturating_sub(self.last.passed);
        if !self.terminal || passed < LINE || now.passed < PROGRESS_AFTER {
            return;
        }
        let rate = per_second(now.events - self.last.events, passed);
        let bytes = per_second(now.bytes - self.last.bytes, passed) / 1e6;
        let (seconds, events) = (now.passed.as_secs(), now.events);
        let late = now.late_max.as_secs_f64() * 1e3;
        complain(&format!(
            "\r\x1b[K{seconds:4} s  {events} events  {rate:.0}/s  {bytes:.1} MB/s  \
             late at most {late:.1} ms"
        ));
        self.last = *now;
        self.shown = true;
    }

    fn clear(&self) {
        if self.shown {
            complain("\r\x1b[K");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use hdrhistogram::Histogram;

    fn outcome() -> Outcome {
        let mut errors = Histogram::new(3).unwrap();
        errors.record(10_000).unwrap();
        Outcome {
            events: 10,
            bytes: 1900,
            passed: Duration::from_secs(2),
            errors: Some(errors),
            refused: 0,
            too_long: 0,
            torn: 0,
            findings: Findings::default(),
            stopped: false,
            failure: None,
        }
    }

    #[test]
    fn a_speed_is_a_factor_or_max() {
        for (text, speed) in [
            ("1x", Speed::Times(1.0)),
            ("10x", Speed::Times(10.0)),
            ("0.5x", Speed::Times(0.5)),
            ("3", Speed::Times(3.0)),
            ("max", Speed::Max),
        ] {
            assert_eq!(parse_speed(text), Ok(speed));
        }
        for text in ["", "x", "0x", "-1x", "fast", "infx", "nan"] {
            assert!(parse_speed(text).is_err(), "{text}");
        }
    }

    #[test]
    fn the_summary_says_what_was_sent_how_late_and_what_was_not() {
        let text = summary(&outcome());
        assert!(text.starts_with("sent 10 events, 1900 bytes in 2.000 s\nrate 5 events/s"));
        assert!(text.contains("late p50 0.010 ms, p99 0.010 ms, max 0.010 ms"), "{text}");
        assert!(!text.contains("note"));
        let findings = Findings { segments: 3, cut: 1, ..Findings::default() };
        let noted = Outcome { findings, refused: 2, stopped: true, errors: None, ..outcome() };
        let text = summary(&noted);
        for told in ["note 3 TCP segments", "note 1 packets were cut", "note 2 at the least"] {
            assert!(text.contains(told), "{text}");
        }
        assert!(text.ends_with("note stopped before its end\n") && !text.contains("late"));
        let value: serde_json::Value = serde_json::from_str(&json(&noted)).unwrap();
        assert_eq!((&value["events"], &value["late"]), (&10.into(), &serde_json::Value::Null));
    }

    #[test]
    fn nothing_sent_and_half_sent_are_failures() {
        assert!(!is_failure(&outcome()));
        assert!(is_failure(&Outcome { events: 0, ..outcome() }));
        assert!(!is_failure(&Outcome { events: 0, stopped: true, ..outcome() }));
        assert!(is_failure(&Outcome { failure: Some("gone".into()), ..outcome() }));
        let findings = Findings { untimed: 1, ..Findings::default() };
        assert!(is_failure(&Outcome { findings, ..outcome() }));
    }
}
