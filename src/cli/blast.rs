//! `flumen blast`: the load generator.

use std::io::{self, IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use clap::ValueEnum;

use super::interrupt;
use super::output::{complain, finish, tell};
use crate::load::{Extent, Framing, Outcome, Plan, Rate, Snapshot, Target, blast};
use crate::syslog::compose::{
    EQUAL_BYTES_MIN, Format, HOSTS_MAX, SIZE_BYTES_DEFAULT, SIZE_BYTES_MAX, SIZE_BYTES_MIN, Shape,
};
use crate::wire::relp::WINDOW_DEFAULT;
use crate::wire::tls::client::{Options, Setup, Trust};
use crate::wire::tls::{self, About, SetupError};

/// Sends stamped, realistic messages: a load generator whose events can be audited
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  \
    flumen blast udp://127.0.0.1:5514 tcp://127.0.0.1:5514 --rate 50k --seconds 10 \\\n    \
      --manifest run.json\n  \
    flumen blast tcp://127.0.0.1:5514 --connections 1000 --rate max --count 10M\n  \
    flumen audit --manifest run.json /var/log/flumen\n\n\
    An event is due at its place in the schedule, whatever became of those before it;\n\
    its stamp is that time. It counts as sent when the kernel has taken it, over relp:// and\n\
    relps:// when the receiver has acknowledged it. Ctrl-C stops and still writes the\n\
    manifest. Exits 1 when a connection fails, or nobody listens at a udp:// target.")]
pub struct BlastArgs {
    /// udp://host:port, or tcp, tls, relp, relps; unix:///path, unixgram:///path. Several share the
    /// rate evenly
    #[arg(required = true, value_name = "TARGET", value_parser = Target::parse)]
    pub targets: Vec<Target>,
    /// Events a second over all targets (10k, 1.5M), or max
    #[arg(long, default_value = "max", value_parser = parse_rate)]
    pub rate: Rate,
    /// Events over all targets (500k, 10M), then it ends
    #[arg(long, conflicts_with = "seconds", value_parser = parse_count)]
    pub count: Option<u64>,
    /// How long to send; without count and seconds it sends until it is stopped
    #[arg(long, value_parser = parse_seconds)]
    pub seconds: Option<f64>,
    /// Average bytes of a message, header and stamp included
    #[arg(long, value_name = "BYTES", default_value_t = SIZE_BYTES_DEFAULT)]
    #[arg(value_parser = clap::value_parser!(u32)
        .range(i64::from(SIZE_BYTES_MIN)..=i64::from(SIZE_BYTES_MAX)))]
    pub size: u32,
    /// Connections, or sockets for datagrams, to each target
    #[arg(long, value_name = "N", default_value_t = 1)]
    #[arg(value_parser = clap::value_parser!(u32).range(1..))]
    pub connections: u32,
    #[arg(long, value_enum, default_value = "rfc3164")]
    pub format: FormatName,
    /// On tcp, tls and unix: a line feed behind each message, or its length in front (RFC 6587)
    #[arg(long, value_enum, default_value = "newline")]
    pub framing: FramingName,
    /// How many host names the messages bear
    #[arg(long, value_name = "N", default_value_t = 100)]
    #[arg(value_parser = clap::value_parser!(u32).range(1..=i64::from(HOSTS_MAX)))]
    pub hosts: u32,
    /// UDP: messages of equal length, cut from long buffers by the kernel: several times faster
    #[arg(long)]
    pub gso: bool,
    /// The same seed gives the same messages
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
    /// TLS: who vouches for the receiver, a PEM file; otherwise this machine's authorities
    #[arg(long, value_name = "FILE", conflicts_with = "insecure")]
    pub ca: Option<PathBuf>,
    /// TLS: takes any certificate of the receiver
    #[arg(long)]
    pub insecure: bool,
    /// TLS: our own certificate, a PEM file, for receivers that ask
    #[arg(long, value_name = "FILE", requires = "key")]
    pub cert: Option<PathBuf>,
    /// TLS: its private key, a PEM file
    #[arg(long, value_name = "FILE", requires = "cert")]
    pub key: Option<PathBuf>,
    /// RELP: how many messages may wait for their answer
    #[arg(long, value_name = "N", default_value_t = WINDOW_DEFAULT)]
    #[arg(value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub window: u32,
    /// Where to write what was sent, as JSON
    #[arg(long, value_name = "FILE")]
    pub manifest: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum FormatName {
    Rfc3164,
    Rfc5424,
    Raw,
    // As firewalls, routers and switches of several vendors write it
    Vendors,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum FramingName {
    Newline,
    Octet,
}

/// Between two progress lines.
const LINE: Duration = Duration::from_secs(1);

pub fn run(args: &BlastArgs) -> ExitCode {
    let plan = match plan(args) {
        Ok(plan) => plan,
        Err(why) => {
            tell("blast", why);
            return ExitCode::from(2);
        }
    };
    // Found out before the run, not after it: a path that cannot be written.
    let fresh = match args.manifest.as_deref().map(make_sure).transpose() {
        Ok(fresh) => fresh.unwrap_or(false),
        Err(why) => {
            tell("blast", why);
            return ExitCode::from(2);
        }
    };
    let stop = interrupt::flag("blast");
    let mut line = ProgressLine::default();
    let outcome = blast::run(&plan, &stop, &mut |now| line.show(now));
    line.clear();
    match outcome {
        Ok(outcome) => finish("blast", conclude(args, &outcome)),
        Err(error) => {
            tell("blast", error);
            // An empty one would look like a run's.
            let empty = args.manifest.as_ref().filter(|_| fresh);
            empty.into_iter().for_each(|path| drop(std::fs::remove_file(path)));
            ExitCode::FAILURE
        }
    }
}

/// The file can be written. True: it was not there.
fn make_sure(path: &Path) -> Result<bool, String> {
    let told = |error: io::Error| format!("{}: {error}", path.display());
    match std::fs::File::create_new(path) {
        Ok(_) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            let opened = std::fs::OpenOptions::new().append(true).open(path);
            opened.map(|_| false).map_err(told)
        }
        Err(error) => Err(told(error)),
    }
}

fn plan(args: &BlastArgs) -> Result<Plan, String> {
    if args.gso && args.size < EQUAL_BYTES_MIN {
        return Err(format!("--gso needs --size {EQUAL_BYTES_MIN} or more: header and stamp"));
    }
    if args.gso && matches!(args.format, FormatName::Vendors) {
        return Err("--gso needs equal messages, and vendors' headers are none".to_owned());
    }
    let format = match args.format {
        FormatName::Rfc3164 => Format::Rfc3164,
        FormatName::Rfc5424 => Format::Rfc5424,
        FormatName::Raw => Format::Raw,
        FormatName::Vendors => Format::Vendors,
    };
    let extent = match (args.count, args.seconds) {
        (Some(count), _) => Extent::Count(count),
        (None, Some(seconds)) => Extent::Time(Duration::from_secs_f64(seconds)),
        (None, None) => Extent::Endless,
    };
    let (size_bytes, hosts, seed) = (args.size, args.hosts, args.seed);
    Ok(Plan {
        targets: args.targets.clone(),
        connections: args.connections,
        rate: args.rate,
        extent,
        shape: Shape { format, size_bytes, equal: args.gso, hosts, seed },
        framing: match args.framing {
            FramingName::Newline => Framing::Newline,
            FramingName::Octet => Framing::Octet,
        },
        gso: args.gso,
        run: blast::fresh_run(),
        tls: secure(args)?,
        window: args.window,
    })
}

/// The set-up of TLS, when a target wants it.
fn secure(args: &BlastArgs) -> Result<Option<Setup>, String> {
    if !args.targets.iter().any(|target| target.transport.is_secure()) {
        return Ok(None);
    }
    let read =
        |path: &Path| std::fs::read(path).map_err(|error| format!("{}: {error}", path.display()));
    let about = |path: &Path, error: SetupError| format!("{} {error}", path.display());
    let trust = match &args.ca {
        _ if args.insecure => Trust::Anybody,
        Some(path) => {
            Trust::Anchors(tls::anchors(&read(path)?).map_err(|error| about(path, error))?)
        }
        None => Trust::Anchors(tls::system_anchors().map_err(|error| error.to_string())?),
    };
    let identity = match (&args.cert, &args.key) {
        (Some(cert), Some(key)) => {
            Some(tls::Identity::from_pem(&read(cert)?, &read(key)?).map_err(|error| {
                about(if error.about == About::Key { key } else { cert }, error)
            })?)
        }
        _ => None,
    };
    let options = Options { trust, identity, ..Options::default() };
    Setup::new(options).map(Some).map_err(|error| error.to_string())
}

fn conclude(args: &BlastArgs, outcome: &Outcome) -> io::Result<ExitCode> {
    let mut failed = outcome.failures() > 0;
    if let Some(path) = &args.manifest
        && let Err(error) = std::fs::write(path, outcome.manifest.to_json())
    {
        tell("blast", format_args!("{}: {error}", path.display()));
        failed = true;
    }
    for record in &outcome.manifest.streams {
        if let Some(error) = &record.error {
            let (stream, target, sent) = (record.stream, &record.target, record.sent);
            let what = format_args!("stream {stream} to {target} ended after {sent} events");
            tell("blast", format_args!("{what}: {error}"));
        }
    }
    let mut out = io::stdout().lock();
    out.write_all(summary(outcome).as_bytes())?;
    out.flush()?;
    Ok(if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

fn summary(outcome: &Outcome) -> String {
    let (events, bytes) = (outcome.manifest.sent(), outcome.manifest.bytes());
    let seconds = outcome.passed.as_secs_f64();
    let megabytes = if seconds > 0.0 { bytes as f64 / seconds / 1e6 } else { 0.0 };
    let mut text = format!(
        "sent {events} events, {bytes} bytes in {seconds:.3} s over {} streams\n\
         rate {:.0} events/s, {megabytes:.1} MB/s",
        outcome.manifest.streams.len(),
        outcome.rate(),
    );
    match outcome.asked {
        Some(asked) => {
            let lag = outcome.lag_max.as_secs_f64() * 1e3;
            text.push_str(&format!("; asked {asked:.0} events/s\nlag  at most {lag:.3} ms\n"));
        }
        None => text.push('\n'),
    }
    let notes = [
        (outcome.behind, "events were due and could not be sent"),
        (outcome.refused, "UDP sends were refused and made again: does anybody listen?"),
        (outcome.manifest.refused(), "of those sent, at the least, came to nobody (UDP)"),
        (outcome.manifest.unanswered(), "more were sent and not acknowledged: they may be there"),
        (outcome.failures() as u64, "streams failed"),
    ];
    for (count, what) in notes.iter().filter(|(count, _)| *count > 0) {
        text.push_str(&format!("note {count} {what}\n"));
    }
    if outcome.stopped {
        text.push_str("note stopped before its end\n");
    }
    text
}

/// One line on a terminal, written over itself each second.
#[derive(Default)]
struct ProgressLine {
    last: Snapshot,
    shown: bool,
}

impl ProgressLine {
    fn show(&mut self, now: &Snapshot) {
        let passed = now.passed.saturating_sub(self.last.passed);
        if passed < LINE || !io::stderr().is_terminal() {
            return;
        }
        let rate = (now.events - self.last.events) as f64 / passed.as_secs_f64();
        let bytes = (now.bytes - self.last.bytes) as f64 / passed.as_secs_f64() / 1e6;
        let (seconds, events) = (now.passed.as_secs(), now.events);
        let lag = now.lag_max.as_secs_f64() * 1e3;
        complain(&format!(
            "\r\x1b[K{seconds:4} s  {events} events  {rate:.0}/s  {bytes:.1} MB/s  lag {lag:.1} ms"
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

pub(super) fn parse_rate(text: &str) -> Result<Rate, String> {
    if text == "max" {
        return Ok(Rate::Max);
    }
    match scaled(text) {
        Some(rate) if rate > 0.0 => Ok(Rate::PerSecond(rate)),
        _ => Err("events a second as 500, 10k or 1.5M, or max".to_owned()),
    }
}

fn parse_count(text: &str) -> Result<u64, String> {
    let count = scaled(text).filter(|count| count.fract() == 0.0 && *count < 1e18);
    count.map(|count| count as u64).ok_or_else(|| "a number as 500, 10k or 1.5M".to_owned())
}

fn parse_seconds(text: &str) -> Result<f64, String> {
    let text = text.strip_suffix('s').unwrap_or(text);
    let seconds = text.parse().ok().filter(|seconds| (0.001..1e9).contains(seconds));
    seconds.ok_or_else(|| "seconds as 10 or 0.5".to_owned())
}

/// A number with k, M or G behind it.
fn scaled(text: &str) -> Option<f64> {
    let (digits, factor) = match text.as_bytes().last()? {
        b'k' | b'K' => (&text[..text.len() - 1], 1e3),
        b'm' | b'M' => (&text[..text.len() - 1], 1e6),
        b'g' | b'G' => (&text[..text.len() - 1], 1e9),
        _ => (text, 1.0),
    };
    let plain = digits.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
    // Rounded to thousandths, so that 1.1k is 1100 and not a hair more.
    let number: f64 = plain.then(|| digits.parse().ok())??;
    Some((number * factor * 1e3).round() / 1e3)
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Whole {
        #[command(flatten)]
        args: BlastArgs,
    }

    fn parse(arguments: &str) -> Result<Plan, String> {
        let words = std::iter::once("blast").chain(arguments.split(' '));
        let whole = Whole::try_parse_from(words).map_err(|error| error.to_string())?;
        plan(&whole.args)
    }

    #[test]
    fn arguments_make_a_plan() {
        let plan = parse("udp://127.0.0.1:1 tcp://127.0.0.1:2 --rate 1.1k --count 10M").unwrap();
        assert_eq!(plan.targets.len(), 2);
        assert_eq!((plan.rate, plan.extent), (Rate::PerSecond(1100.0), Extent::Count(10_000_000)));
        let plan = parse("udp://127.0.0.1:1 --seconds 0.5 --gso --size 200").unwrap();
        assert_eq!((plan.rate, plan.extent), (Rate::Max, Extent::Time(Duration::from_millis(500))));
        assert!(plan.shape.equal && plan.gso && plan.shape.size_bytes == 200);
        assert_eq!(parse("udp://127.0.0.1:1").unwrap().extent, Extent::Endless);
    }

    #[test]
    fn mistakes_are_told() {
        for (arguments, what) in [
            ("dtls://h:1", "dtls:// comes later"),
            ("relp://127.0.0.1:1 --window 0", "--window"),
            ("udp://127.0.0.1:1 --gso --format vendors", "--gso needs equal messages"),
            ("127.0.0.1:1", "udp://host:port"),
            ("udp://127.0.0.1:1 --rate fast", "1.5M"),
            ("udp://127.0.0.1:1 --rate 0", "1.5M"),
            ("udp://127.0.0.1:1 --count 1.5", "10k"),
            ("udp://127.0.0.1:1 --count 1 --seconds 1", "cannot be used"),
            ("udp://127.0.0.1:1 --seconds 0", "seconds"),
            ("udp://127.0.0.1:1 --size 10", "64..=65507"),
            ("udp://127.0.0.1:1 --size 100 --gso", "--size 176"),
            ("udp://127.0.0.1:1 --connections 0", "connections"),
            ("udp://127.0.0.1:1 --format json", "rfc5424"),
        ] {
            let error = parse(arguments).unwrap_err();
            assert!(error.contains(what), "{arguments}: {error}");
        }
    }
}
