//! `flumen parse`: messages in, one a line; what they say out, one JSON object a line.

pub mod json;

use std::io::{self, BufRead, BufReader, BufWriter, Read, Write};
use std::process::ExitCode;

use self::json::write_object;
use super::Failure;
use super::output::{complain, finish};
use crate::runtime::clock::{Clock, SystemClock};
use crate::syslog::parse::{Arrival, Expect, Fields, Zone, parse};
use crate::time::Wall;

/// Shows what syslog messages say: one message a line in, one JSON object a line out
#[derive(Debug, clap::Args)]
#[command(after_help = "Example: logger --stderr --no-act hello 2>&1 | flumen parse | jq .\n\n\
    No line is ever left out: what is no syslog message comes out with \"format\":\"unparsed\",\n\
    the whole text as \"message\", and a \"reason\". With --format rfc5424 a message is held to\n\
    the letter of the RFC; auto also takes what senders really send.")]
pub struct ParseArgs {
    /// What the messages are
    #[arg(long, value_enum, default_value_t = FormatArg::Auto)]
    pub format: FormatArg,
    /// The receive time, which gives the year that RFC 3164 does not send [default: now]
    #[arg(long, value_name = "RFC3339")]
    pub now: Option<String>,
    /// The zone of times sent without one, by its IANA name [default: this machine's]
    #[arg(long, value_name = "IANA")]
    pub zone: Option<String>,
}

#[derive(Clone, Copy, Debug, clap::ValueEnum)]
pub enum FormatArg {
    Auto,
    Rfc3164,
    Rfc5424,
}

pub fn run(args: &ParseArgs) -> ExitCode {
    let arrival = match arrival(args) {
        Ok(arrival) => arrival,
        Err(complaint) => {
            complain(&format!("flumen parse: {complaint}\n"));
            return Failure::Usage.into();
        }
    };
    let expect = match args.format {
        FormatArg::Auto => Expect::Auto,
        FormatArg::Rfc3164 => Expect::Rfc3164,
        FormatArg::Rfc5424 => Expect::Rfc5424,
    };
    let out = BufWriter::with_capacity(64 << 10, io::stdout().lock());
    let outcome = convert(io::stdin().lock(), expect, arrival, out);
    finish("parse", outcome.map(|()| ExitCode::SUCCESS))
}

fn arrival(args: &ParseArgs) -> Result<Arrival, String> {
    let zone = match &args.zone {
        None => Zone::local(),
        Some(name) => Zone::named(name).ok_or_else(|| {
            format!("--zone: `{name}` is no zone; an IANA name is, such as Europe/Berlin or UTC")
        })?,
    };
    let now = match &args.now {
        None => SystemClock::default().now().wall,
        Some(text) => wall(text)
            .ok_or_else(|| format!("--now: `{text}` is no time; 2003-10-11T22:14:15Z is one"))?,
    };
    Ok(Arrival::new(now, zone))
}

fn wall(text: &str) -> Option<Wall> {
    let timestamp: jiff::Timestamp = text.parse().ok()?;
    i64::try_from(timestamp.as_nanosecond()).ok().map(Wall)
}

/// Each line of `input` as an object to `out`. A line ends at LF, and one CR before it is dropped;
/// every other byte is the message's.
fn convert(
    input: impl Read,
    expect: Expect,
    mut arrival: Arrival,
    mut out: impl Write,
) -> io::Result<()> {
    let mut input = BufReader::with_capacity(64 << 10, input);
    let mut line = Vec::new();
    while input.read_until(b'\n', &mut line)? > 0 {
        let message = line
            .strip_suffix(b"\n")
            .map_or(&line[..], |line| line.strip_suffix(b"\r").unwrap_or(line));
        let parsed = parse(message, expect, Fields::ALL);
        write_object(&parsed, message, &mut arrival, &mut out)?;
        line.clear();
        // Whoever types, or follows a file, sees each answer at once.
        if input.buffer().is_empty() {
            out.flush()?;
        }
    }
    out.flush()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn converted(input: &[u8]) -> Vec<serde_json::Value> {
        let mut out = Vec::new();
        let arrival = Arrival::new(Wall(1_781_524_800_000_000_000), Zone::utc());
        convert(input, Expect::Auto, arrival, &mut out).unwrap();
        let lines = out.strip_suffix(b"\n").unwrap_or(&out).split(|byte| *byte == b'\n');
        lines.map(|line| serde_json::from_slice(line).unwrap()).collect()
    }

    #[test]
    fn a_line_in_is_a_line_out() {
        let lines = converted(b"<13>Oct 11 22:14:15 h a: b\r\n\n\0\n<13>a[1]: last");
        let message = |index: usize| lines[index]["message"].as_str().unwrap();
        assert_eq!(lines.len(), 4);
        assert_eq!([message(0), message(1), message(2), message(3)], ["b", "", "\0", "last"]);
        assert_eq!(lines[1]["reason"], "empty");
        assert_eq!(lines[0]["timestamp"], "2026-10-11T22:14:15Z");
    }

    #[test]
    fn a_line_may_be_huge() {
        let mut input = b"<13>Oct 11 22:14:15 h a: ".to_vec();
        input.resize(3 << 20, b'x');
        let lines = converted(&input);
        assert_eq!(lines[0]["message"].as_str().unwrap().len(), (3 << 20) - 25);
    }

    #[test]
    fn zones_and_times_are_checked() {
        let args = |now: Option<&str>, zone: Option<&str>| ParseArgs {
            format: FormatArg::Auto,
            now: now.map(str::to_owned),
            zone: zone.map(str::to_owned),
        };
        assert!(arrival(&args(Some("2003-10-11T22:14:15+02:00"), Some("Asia/Tokyo"))).is_ok());
        assert!(arrival(&args(None, None)).is_ok());
        assert!(arrival(&args(None, Some("Asia/Tokio"))).unwrap_err().contains("Asia/Tokio"));
        assert!(arrival(&args(Some("today"), None)).unwrap_err().contains("today"));
    }
}
