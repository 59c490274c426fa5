//! The harness: how fast, at what cost, against whom. Started by `perf/run`.
//!
//! A case is `<source>_to_<sink>`; its parties take turns, A B C, then C B A, so that what drifts
//! on the machine drifts for all of them; a ratio is taken within a turn, and of the ratios the
//! median and the spread are told. All get the same bytes from the same sender.
//!
//! - [`cases`]: the table: what is sent, who takes it, what must be reached
//! - [`party`]: how the agent, the limit programs and the peers are configured and started
//! - [`reading`]: one search of an archive
//! - [`text`], [`send`], [`requests`]: what is sent, and the senders
//! - [`receiver`], [`measure`], [`acknowledged`], [`answered`], [`latency`], [`standing`], [`hop`],
//!   [`kept`]: one run of one party
//! - [`figures`], [`turns`]: what runs give; all runs of a case
//! - [`machine`], [`report`], [`chart`]: what is written down

mod acknowledged;
mod answered;
mod cases;
mod chart;
mod figures;
mod hop;
mod kept;
mod latency;
mod machine;
mod measure;
mod party;
mod reading;
mod receiver;
mod report;
mod requests;
mod send;
mod standing;
mod text;
mod touched;
mod turns;

use cases::{CASES, Case};
use clap::Parser;
use figures::Key;
use measure::Bench;
use std::io;
use std::path::PathBuf;
use std::process::ExitCode;
use text::Text;
use turns::Results;

#[derive(Parser)]
#[command(name = "perf/run", about = "Measures flumen against limit programs and peers")]
struct Arguments {
    /// Cases to run; all of them when none is named
    case: Vec<String>,
    /// Only say which cases there are
    #[arg(long)]
    list: bool,
    /// How often each party has its turn
    #[arg(long, default_value_t = 5)]
    pairs: usize,
    /// Events of a run
    #[arg(long, default_value_t = 3_000_000)]
    events: u64,
    /// How long latency, idleness and a stuck sink are watched
    #[arg(long, default_value_t = 20)]
    seconds: u64,
    /// Tries whether everything works: one turn, few events, no figures to keep
    #[arg(long)]
    short: bool,
    /// Where the results go; perf/results/<date>-<machine> otherwise
    #[arg(long)]
    output: Option<PathBuf>,
    /// Bring README.md's table up to date with these results
    #[arg(long)]
    readme: bool,
}

/// Lines a second for latency when `tcp_to_zstd` is not among the cases.
const HALF_LOAD: f64 = 500_000.0;

/// Enough for a thousand connections a party with room to spare, and for 10,000 idle ones.
const FILES: u64 = 20_100;

fn main() -> ExitCode {
    let mut arguments = Arguments::parse();
    if arguments.list {
        for case in CASES {
            println!("{:18} {}", case.name, case.what);
        }
        return ExitCode::SUCCESS;
    }
    if arguments.short {
        (arguments.pairs, arguments.seconds) = (1, 2);
        arguments.events = arguments.events.min(100_000);
    }
    match run(&arguments) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("perf: {error}");
            ExitCode::FAILURE
        }
    }
}

/// The named cases, or all.
fn chosen(names: &[String]) -> io::Result<Vec<&'static Case>> {
    for name in names {
        if !CASES.iter().any(|case| case.name == name) {
            return Err(io::Error::other(format!("there is no case {name}: see perf/run --list")));
        }
    }
    let wanted = |case: &&Case| names.is_empty() || names.iter().any(|name| name == case.name);
    Ok(CASES.iter().filter(wanted).collect())
}

/// True when every run kept what it had to keep.
fn run(arguments: &Arguments) -> io::Result<bool> {
    let cases = chosen(&arguments.case)?;
    raise_file_limit();
    let scratch = tempfile::tempdir()?;
    let lines = Text::lines();
    let text = scratch.path().join("lines");
    std::fs::write(&text, lines.bytes())?;
    let mut bench = Bench {
        events: arguments.events,
        seconds: arguments.seconds,
        lines,
        datagrams: Text::datagrams(),
        equal: Text::equal_datagrams(),
        text,
        highest_rate: None,
        half_load: HALF_LOAD,
        archive: None,
    };
    let mut results = Vec::new();
    for case in cases {
        let result = turns::run(&mut bench, case, arguments.pairs)?;
        if case.name == "tcp_to_zstd"
            && let Some(rate) = result.spread("flumen", Key::Rate)
        {
            bench.half_load = rate.median / 2.0;
        }
        results.push(result);
    }
    let complete = results.iter().all(Results::is_complete);
    let output = match (&arguments.output, arguments.short) {
        (Some(output), _) => output.clone(),
        (None, true) => scratch.path().join("results"),
        (None, false) => report::folder(),
    };
    let machine = machine::describe();
    report::write(&output, &machine, &bench, &results)?;
    chart::write(&output, &results)?;
    if arguments.readme {
        report::refresh_readme(&machine, &results)?;
    }
    println!("{}", report::verdicts(&results));
    if arguments.short {
        println!("perf: {} cases work, complete: {complete}", results.len());
    } else {
        println!("perf: written to {}", output.display());
    }
    Ok(complete)
}

/// As many open files as the machine lets us; the receivers inherit it.
fn raise_file_limit() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    let wanted = limit.maximum.map_or(FILES, |most| most.min(FILES));
    if limit.current.is_some_and(|now| now < wanted) {
        let raised = Rlimit { current: Some(wanted), maximum: limit.maximum };
        if let Err(error) = setrlimit(Resource::Nofile, raised) {
            eprintln!("perf: {wanted} open files: {error}");
        }
    }
}
