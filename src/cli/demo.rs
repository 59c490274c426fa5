//! `flumen demo`: the main job, self-contained: an agent, the generator, and the audit in one
//! process. Nothing is installed, nothing needs a privilege; ports and directory are its own.
//!
//! It passes when every event that was sent is in a file or counted as lost by the ledger, to the
//! event, and TCP lost none.

use std::io::{self, IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, mpsc};
use std::time::Duration;

use signal_hook::consts::{SIGINT, SIGTERM};

use super::blast::parse_rate;
use super::{Failure, output};
use crate::admin;
use crate::cli::configuration::around;
use crate::config::Config;
use crate::load::{self, Extent, Framing, Manifest, Rate, Target, Transport, Verdict};
use crate::runtime::thread;
use crate::source::Bound;
use crate::syslog::compose::{Format, SIZE_BYTES_DEFAULT, Shape};
use crate::telemetry::Ledger;
use crate::telemetry::snapshot::SinkTotals;
use crate::topology::{Agent, Control, Machine, Outcome, Parts, Ready, plan};
use crate::wire::relp::WINDOW_DEFAULT;

/// Runs the main job once, on loopback, and proves that nothing was lost unseen
#[derive(Debug, clap::Args)]
#[command(after_help = "Example: flumen demo --seconds 5 --rate max\n\n\
    Realistic syslog goes over UDP and TCP through an agent into compressed files, which are then\n\
    audited event by event. The last line is the verdict.")]
pub(super) struct DemoArgs {
    /// How long events are sent
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..=3600))]
    seconds: u64,
    /// Events a second over UDP and TCP together, or max
    #[arg(long, default_value = "200000", value_parser = parse_rate)]
    rate: Rate,
    /// Where the files go [default: a temporary directory]
    #[arg(long)]
    dir: Option<PathBuf>,
    /// Keep the files; without it they are removed, unless --dir says where
    #[arg(long)]
    keep: bool,
}

/// Streams over each transport.
const CONNECTIONS: u32 = 4;

/// What a run leaves to be judged.
struct Run {
    blast: load::Outcome,
    agent: Outcome,
    verdict: Verdict,
}

pub(super) fn run(args: &DemoArgs) -> ExitCode {
    let dir = args.dir.clone().unwrap_or_else(temporary);
    let kept = args.keep || args.dir.is_some();
    let result = perform(args, &dir);
    if !kept {
        // It is ours alone: its name was made for this run.
        let _ = std::fs::remove_dir_all(&dir);
    }
    match result {
        Ok(run) => {
            let passed = passes(&run);
            let kept = kept.then_some(dir.as_path());
            let code = output::print("demo", &report(&run, passed, kept));
            if passed { code } else { Failure::Failed.into() }
        }
        Err(why) => {
            output::complain(&format!("flumen demo: {why}\n"));
            Failure::Failed.into()
        }
    }
}

fn temporary() -> PathBuf {
    std::env::temp_dir().join(format!("flumen-demo-{:08x}", load::blast::fresh_run()))
}

fn perform(args: &DemoArgs, dir: &Path) -> Result<Run, String> {
    let log = dir.join("log");
    let config = configure(dir, &log)?;
    let control = Control::default();
    let stop = Arc::new(AtomicBool::new(false));
    for signal in [SIGINT, SIGTERM] {
        signal_hook::flag::register(signal, Arc::clone(&stop))
            .map_err(|error| error.to_string())?;
    }
    let agent = start(&config, &control)?;
    let (ready, ledger) = (agent.ready().clone(), Arc::clone(agent.ledger()));
    let (tell, told) = mpsc::channel();
    thread::spawn("agent", move || {
        // Whoever waits for it lives until it is told.
        let _ = tell.send(agent.join());
    })
    .map_err(|error| format!("no thread for the agent: {error}"))?;
    let plan = blast_plan(args, &ready)?;
    let live = Live::new(args.seconds);
    let blast = load::blast::run(&plan, &stop, &mut |sent| live.show(sent, &ledger));
    live.end();
    control.stop();
    let agent = told.recv().map_err(|_| "the agent ended in a panic".to_owned())?;
    let blast = blast.map_err(|error| error.to_string())?;
    let verdict = load::audit::run(&blast.manifest, &[log]).map_err(|error| error.to_string())?;
    Ok(Run { blast, agent, verdict })
}

/// Writes the configuration: it can be read, kept and used again.
fn configure(dir: &Path, log: &Path) -> Result<PathBuf, String> {
    std::fs::create_dir_all(log).map_err(|error| format!("{}: {error}", log.display()))?;
    let path = dir.join("flumen.toml");
    let text = format!(
        "[agent]\nname = \"demo\"\nmemory = \"256MiB\"\nadmin = \"127.0.0.1:0\"\n\n\
         [sources.net]\ntype = \"syslog\"\n\
         listen = [\"udp://127.0.0.1:0\", \"tcp://127.0.0.1:0\"]\n\n\
         [sinks.archive]\ntype = \"file\"\npath = {:?}\ncodec = \"zstd\"\n",
        log.join("demo.log").display().to_string(),
    );
    std::fs::write(&path, text).map_err(|error| format!("{}: {error}", path.display()))?;
    Ok(path)
}

fn start(config: &Path, control: &Control) -> Result<Agent, String> {
    let told = |diagnostics: &crate::config::Diagnostics| diagnostics.render(false);
    let config =
        Config::load(config, &around(Vec::new())).map_err(|diagnostics| told(&diagnostics))?;
    let agent = config.agent(None);
    let plan = agent.and_then(|agent| plan(&agent, &Parts::default(), &Machine::here()));
    let plan = plan.ok_or_else(|| told(config.diagnostics()))?;
    Agent::start(&plan, control, admin::endpoint::open)
        .map_err(|errors| errors.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))
}

fn blast_plan(args: &DemoArgs, ready: &Ready) -> Result<load::Plan, String> {
    let target = |at: &Bound| {
        let text = format!("{}://{}", at.transport, at.place);
        Target::parse(&text).map_err(|error| error.to_string())
    };
    let targets: Result<Vec<Target>, String> =
        ready.listeners.iter().map(|(_, at)| target(at)).collect();
    let run = load::blast::fresh_run();
    Ok(load::Plan {
        targets: targets?,
        connections: CONNECTIONS,
        rate: args.rate,
        extent: Extent::Time(Duration::from_secs(args.seconds)),
        shape: Shape {
            format: Format::Rfc3164,
            size_bytes: SIZE_BYTES_DEFAULT,
            equal: false,
            hosts: 200,
            seed: u64::from(run),
        },
        framing: Framing::Newline,
        gso: false,
        run,
        tls: None,
        window: WINDOW_DEFAULT,
    })
}

/// The line that moves, on a terminal only.
struct Live {
    terminal: bool,
    seconds: u64,
}

impl Live {
    fn new(seconds: u64) -> Self {
        Self { terminal: io::stderr().is_terminal(), seconds }
    }

    fn show(&self, sent: &load::Snapshot, ledger: &Ledger) {
        if !self.terminal {
            return;
        }
        let totals = ledger.snapshot();
        let sum = |of: fn(&SinkTotals) -> u64| totals.sinks.iter().map(of).sum();
        let (bytes, stored): (u64, u64) = (sum(|s| s.written_bytes), sum(|s| s.stored_bytes));
        let seconds = sent.passed.as_secs_f64().max(0.001);
        let line = format!(
            "\r{:5.1} of {} s   {} sent   {}/s   {:.1} MB/s   {} in files   {} lost   {}\x1b[K",
            seconds,
            self.seconds,
            grouped(sent.events),
            grouped((sent.events as f64 / seconds) as u64),
            sent.bytes as f64 / seconds / 1e6,
            grouped(sum(|s| s.written_events)),
            grouped(totals.lost_events()),
            ratio(bytes, stored),
        );
        output::complain(&line);
    }

    fn end(&self) {
        if self.terminal {
            let _ = io::stderr().write_all(b"\r\x1b[K");
        }
    }
}

/// Every event is in a file or counted, to the event, and TCP lost none.
fn passes(run: &Run) -> bool {
    run.agent.code == 0
        && run.agent.snapshot.adds_up()
        && run.verdict.passes(run.verdict.lost)
        && run.verdict.lost == run.agent.snapshot.lost_events()
        && lost_over(Transport::Tcp, &run.blast.manifest, &run.verdict) == 0
        && run.verdict.sent > 0
}

fn lost_over(transport: Transport, manifest: &Manifest, verdict: &Verdict) -> u64 {
    let over = |stream: u32| {
        let record = manifest.streams.iter().find(|record| record.stream == stream);
        record.is_some_and(|record| record.transport == transport)
    };
    verdict.gaps.iter().filter(|gap| over(gap.stream)).map(|gap| gap.lost).sum()
}

fn report(run: &Run, passed: bool, kept: Option<&Path>) -> String {
    let (manifest, verdict) = (&run.blast.manifest, &run.verdict);
    let over = |transport: Transport| -> u64 {
        let streams = manifest.streams.iter().filter(|stream| stream.transport == transport);
        streams.map(|stream| stream.sent).sum()
    };
    let seconds = run.blast.passed.as_secs_f64().max(0.001);
    let (tcp, udp) = (Transport::Tcp, Transport::Udp);
    let stored: u64 = run.agent.snapshot.sinks.iter().map(|sink| sink.stored_bytes).sum();
    let mut text = format!(
        "sent     {} events in {seconds:.1} s ({}/s): {} over TCP, {} over UDP\n\
         found    {} in {} {}, {} duplicated, {} corrupted, {} out of order\n\
         lost     {} over TCP, {} over UDP; the ledger counted {}\n\
         stored   {:.1} MB, {}\n",
        grouped(manifest.sent()),
        grouped((manifest.sent() as f64 / seconds) as u64),
        grouped(over(tcp)),
        grouped(over(udp)),
        grouped(verdict.found),
        verdict.files,
        if verdict.files == 1 { "file" } else { "files" },
        verdict.duplicated,
        verdict.corrupted,
        verdict.reordered,
        lost_over(tcp, manifest, verdict),
        grouped(lost_over(udp, manifest, verdict)),
        grouped(run.agent.snapshot.lost_events()),
        stored as f64 / 1e6,
        ratio(manifest.bytes(), stored),
    );
    if let Some(latency) = verdict.latency {
        let ms = |nanos: u64| nanos as f64 / 1e6;
        text.push_str(&format!(
            "latency  p50 {:.0} ms, p99 {:.0} ms, max {:.0} ms from due to the end of its block\n",
            ms(latency.p50),
            ms(latency.p99),
            ms(latency.max)
        ));
    }
    if let Some(dir) = kept {
        text.push_str(&format!("kept     {}\n", dir.display()));
    }
    text.push_str(if passed {
        "passed: every event is in a file or counted, and TCP lost none\n"
    } else {
        "FAILED: events are missing that nobody counted, or TCP lost some\n"
    });
    text
}

fn ratio(bytes: u64, stored: u64) -> String {
    match stored {
        0 => "nothing stored yet".to_owned(),
        stored => format!("{:.1} times smaller", bytes as f64 / stored as f64),
    }
}

/// 1234567 as 1,234,567.
fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn large_numbers_are_grouped() {
        for (number, text) in [(0, "0"), (999, "999"), (1000, "1,000"), (1234567, "1,234,567")] {
            assert_eq!(grouped(number), text);
        }
    }
}
