//! `flumen channel`: what a durable channel holds, without the agent that owns it.

use std::io::{self, BufWriter, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use serde_json::json;

use super::Failure;
use super::output::{finish, tell, time_text};
use crate::channel::file::{Keys, LogReader, SegmentReport};
use crate::codec::encoders::{Encoder, Json, Raw};
use crate::config::units::show_size;
use crate::storage::OsDisk;

/// Looks into the log of a durable channel
#[derive(Debug, clap::Args)]
#[command(after_help = "Example: flumen channel stats /var/lib/flumen/main")]
pub struct ChannelArgs {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, clap::Subcommand)]
enum What {
    Verify(VerifyArgs),
    Export(ExportArgs),
    Stats(StatsArgs),
}

/// Reads every record and compares its checksums
#[derive(Debug, clap::Args)]
#[command(after_help = "Example: flumen channel verify /var/lib/flumen/main\n\n\
    Exits 1 when something is damaged. Bytes at the very end that no record claims are a write\n\
    under way, or torn by a crash: they are told, and no damage.")]
struct VerifyArgs {
    /// The log's directories, as the channel's `path` has them
    #[arg(required = true, value_name = "DIR")]
    dirs: Vec<PathBuf>,
    /// One JSON object a segment
    #[arg(long)]
    json: bool,
}

/// Writes the events that wait to standard output
#[derive(Debug, clap::Args)]
#[command(after_help = "Example: flumen channel export /var/lib/flumen/main > rescued.log\n\n\
    Nothing is taken out: the channel delivers them all the same.")]
struct ExportArgs {
    /// The log's directories, as the channel's `path` has them
    #[arg(required = true, value_name = "DIR")]
    dirs: Vec<PathBuf>,
    /// What was delivered and is still there, too
    #[arg(long)]
    all: bool,
    /// One JSON object an event, as the json encoder writes it
    #[arg(long)]
    json: bool,
    /// The key file of an encrypted log
    #[arg(long, value_name = "FILE")]
    keys: Option<PathBuf>,
}

/// Says how much waits, and how much room it takes
#[derive(Debug, clap::Args)]
#[command(after_help = "Example: flumen channel stats /var/lib/flumen/main")]
struct StatsArgs {
    /// The log's directories, as the channel's `path` has them
    #[arg(required = true, value_name = "DIR")]
    dirs: Vec<PathBuf>,
    /// One JSON object
    #[arg(long)]
    json: bool,
}

pub fn run(args: &ChannelArgs) -> ExitCode {
    let mut out = BufWriter::new(io::stdout().lock());
    let outcome = match &args.what {
        What::Verify(args) => with(&args.dirs, |log| verify(log, args.json, &mut out)),
        What::Export(args) => with(&args.dirs, |log| export(log, args, &mut out)),
        What::Stats(args) => with(&args.dirs, |log| stats(log, args.json, &mut out)),
    };
    finish("channel", outcome.and_then(|code| out.flush().map(|()| code)))
}

fn with(
    dirs: &[PathBuf],
    work: impl FnOnce(&LogReader) -> io::Result<ExitCode>,
) -> io::Result<ExitCode> {
    let log = match LogReader::open(&OsDisk, dirs) {
        Ok(log) => log,
        Err(error) => {
            tell("channel", error);
            return Ok(Failure::Usage.into());
        }
    };
    if log.is_empty() {
        let names: Vec<_> = dirs.iter().map(|dir| dir.display().to_string()).collect();
        tell(
            "channel",
            format_args!("no log is in {}: name the channel's `path`", names.join(", ")),
        );
        return Ok(Failure::Usage.into());
    }
    work(&log)
}

fn verify(log: &LogReader, as_json: bool, out: &mut impl Write) -> io::Result<ExitCode> {
    let mut damaged = false;
    log.verify(|report| {
        damaged |= !report.damage.is_empty();
        show(&report, as_json, out)
    })?;
    Ok(if damaged { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

fn show(report: &SegmentReport, as_json: bool, out: &mut impl Write) -> io::Result<()> {
    let SegmentReport { path, bytes, batches, events, waiting_events, damage, torn_bytes } = report;
    let path = path.display();
    if as_json {
        let damage: Vec<_> =
            damage.iter().map(|(at, what)| json!({ "offset": at, "what": what })).collect();
        let line = json!({
            "path": path.to_string(), "bytes": bytes, "batches": batches, "events": events,
            "waiting_events": waiting_events, "damage": damage, "torn_bytes": torn_bytes,
        });
        return writeln!(out, "{line}");
    }
    let state = if damage.is_empty() { "whole" } else { "DAMAGED" };
    writeln!(out, "{path}: {state}, {batches} batches, {events} events, {waiting_events} wait")?;
    for (at, what) in damage {
        writeln!(out, "  at byte {at}: {what}")?;
    }
    match torn_bytes {
        0 => Ok(()),
        bytes => writeln!(out, "  the last {bytes} bytes are no record: under way, or torn"),
    }
}

fn export(log: &LogReader, args: &ExportArgs, out: &mut impl Write) -> io::Result<ExitCode> {
    let encoder: Box<dyn Encoder> =
        if args.json { Box::new(Json) } else { Box::new(Raw { keep_control: false }) };
    let keys = match args.keys.as_deref().map(|path| Keys::read(&OsDisk, path)).transpose() {
        Ok(keys) => Arc::new(keys.unwrap_or_else(Keys::none)),
        Err(what) => {
            tell("channel", what);
            return Ok(Failure::Usage.into());
        }
    };
    let (mut text, mut failed) = (Vec::new(), false);
    log.export(
        args.all,
        keys,
        |page| {
            text.clear();
            encoder.encode_events(page, 0..page.event_count(), &mut text);
            out.write_all(&text)
        },
        |what| {
            tell("channel", what);
            failed = true;
        },
    )?;
    Ok(if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

fn stats(log: &LogReader, as_json: bool, out: &mut impl Write) -> io::Result<ExitCode> {
    let totals = log.totals();
    let oldest = totals.oldest.map(time_text);
    if as_json {
        let line = json!({
            "segments": totals.segments, "bytes": totals.bytes,
            "put_events": totals.put_events, "delivered_events": totals.delivered_events,
            "waiting_events": totals.waiting_events, "waiting_bytes": totals.waiting_bytes,
            "oldest": oldest,
        });
        writeln!(out, "{line}")?;
        return Ok(ExitCode::SUCCESS);
    }
    let rows = [
        ("segments", format!("{}, {}", totals.segments, show_size(totals.bytes))),
        ("put", format!("{} events since the log began", totals.put_events)),
        ("delivered", format!("{} events", totals.delivered_events)),
        ("waiting", format!("{} events, {} bytes", totals.waiting_events, totals.waiting_bytes)),
        ("oldest", oldest.unwrap_or_else(|| "nothing waits".to_owned())),
    ];
    rows.iter().try_for_each(|(name, value)| writeln!(out, "{name:<10} {value}"))?;
    Ok(ExitCode::SUCCESS)
}
