//! One run of one party: started, warmed up, brought to rest, loaded, brought to rest, ended,
//! and what it left behind counted.
//!
//! ```text
//!   start ── warm-up ── rest ─┬─ load ── rest ─┬─ end        whole life: CPU by wait4
//!                             A                B             steady: CPU from A to B
//! ```
//! Between A and B stand no start, no first touch of memory, no drain: what an event costs while
//! it goes on. Both figures are given. The rate counts from the first byte after A to the moment
//! when all but a hundredth of the work up to B was done.

use crate::cases::{Case, Load, RECEIVE_BUFFER_BYTES};
use crate::figures::{Figures, Key};
use crate::hop::Hop;
use crate::kept::{self, Kept};
use crate::party::{Party, Place, Program};
use crate::reading::{self, Archive};
use crate::receiver::{Receiver, Transport, Usage, free_port};
use crate::send::{Connections, Datagrams, Stream};
use crate::text::Text;
use crate::{acknowledged, answered, latency, standing, touched};
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// What all runs share.
pub(crate) struct Bench {
    /// Events of a run, before a party's share.
    pub(crate) events: u64,
    /// How long cases last that are measured in time.
    pub(crate) seconds: u64,
    pub(crate) lines: Text,
    pub(crate) datagrams: Text,
    pub(crate) equal: Text,
    /// `lines` as a file.
    pub(crate) text: PathBuf,
    /// Datagrams a second that the limit program held; found when first asked for.
    pub(crate) highest_rate: Option<f64>,
    /// Lines a second: half of what the agent took from one connection, once that is known.
    pub(crate) half_load: f64,
    /// What is searched; written when first asked for.
    pub(crate) archive: Option<Archive>,
}

/// Of a line and what is written of it, generously.
const LINE_BYTES: u64 = 400;

/// Datagrams of the warm-up, and their gentle rate: none of them is lost.
const WARM_DATAGRAMS: u64 = 20_000;
const WARM_RATE: f64 = 40_000.0;

pub(crate) fn run(bench: &mut Bench, case: &Case, party: &Party) -> io::Result<Figures> {
    let dir = tempfile::Builder::new().prefix("flumen-perf-").tempdir()?;
    touch(bench, case, party);
    match case.load {
        Load::Lines(_) if matches!(party.program, Program::Limit("memory", _)) => {
            output_alone(bench, case, party, dir.path())
        }
        Load::Lines(_) if case.sink == "syslog" => {
            let hop = Hop::listen()?;
            lines(bench, case, party, dir.path(), Some(hop))
        }
        Load::Acknowledged if matches!(party.program, Program::Limit("sync", _)) => {
            output_alone(bench, case, party, dir.path())
        }
        Load::Acknowledged => acknowledged::run(bench, case, party, dir.path()),
        Load::Answered(_) if matches!(party.program, Program::Limit(..)) => {
            lines(bench, case, party, dir.path(), None)
        }
        Load::Answered(dialect) => {
            let dialect = party.dialect.unwrap_or(dialect);
            answered::run(bench, case, party, dialect, dir.path())
        }
        Load::Lines(_) | Load::Secure(_) => lines(bench, case, party, dir.path(), None),
        Load::Flood { segments, rate } => {
            // Merged ones are over in no time.
            let events = bench.events * if segments { 5 } else { 1 };
            Ok(datagrams(bench, case, party, dir.path(), Flow { segments, rate, events })?.0)
        }
        Load::Paced => {
            let rate = highest_rate(bench, case)? * 0.8;
            let flow = Flow { segments: false, rate: Some(rate), events: bench.events };
            Ok(datagrams(bench, case, party, dir.path(), flow)?.0)
        }
        Load::Latency { events_per_second } => {
            let rate = events_per_second.map_or(bench.half_load, |rate| rate as f64);
            latency::run(bench, case, party, dir.path(), rate)
        }
        Load::Read => reading::run(bench, case, party, dir.path()),
        Load::Idle => standing::idle(bench, case, party, dir.path()),
        Load::Stuck => standing::stuck(bench, case, party, dir.path()),
    }
}

/// Before a turn, and again right before what is measured, if plain text is to fill the page cache:
/// two seconds after it was given back, memory is the host's again.
pub(crate) fn touch(bench: &Bench, case: &Case, party: &Party) {
    if case.sink == "none" {
        touched::touch(party.events(bench.events) * LINE_BYTES);
    }
}

/// What a party is told, with a port of its own.
pub(crate) fn place<'a>(bench: &'a Bench, case: &'a Case, dir: &'a Path) -> io::Result<Place<'a>> {
    let transport = case.transport();
    let (name, source) = match (transport, case.load) {
        (_, Load::Secure(_)) => ("tls", ""),
        (_, Load::Acknowledged) => ("relp", ""),
        (Transport::Tcp, _) => ("tcp", "connections_max = 10100"),
        (Transport::Udp, Load::Flood { segments: true, .. }) => {
            ("udp", "receive_buffer = \"4MiB\"\ngro = true")
        }
        (Transport::Udp, _) => ("udp", "receive_buffer = \"4MiB\""),
    };
    const { assert!(RECEIVE_BUFFER_BYTES == 4 << 20, "as the lines above say") };
    Ok(Place {
        dir,
        port: free_port(transport)?,
        next: 0,
        sink: case.sink,
        transport: name,
        agent: "",
        source,
        text: &bench.text,
        archive: bench
            .archive
            .as_ref()
            .map_or_else(|| Path::new("ARCHIVE"), |archive| &archive.path),
        events: bench.events,
    })
}

/// Ends by itself when its connections have closed.
fn ends_alone(party: &Party) -> bool {
    matches!(party.program, Program::Limit("tcp" | "tls" | "crowd" | "memory" | "sync", _))
}

fn lines(
    bench: &Bench,
    case: &Case,
    party: &Party,
    dir: &Path,
    hop: Option<Hop>,
) -> io::Result<Figures> {
    let stream = match case.load {
        Load::Lines(stream) | Load::Secure(stream) => Some(stream),
        _ => None,
    };
    let stream = party.stream.or(stream);
    let stream = stream.ok_or_else(|| io::Error::other("its load is no lines"))?;
    let mut place = place(bench, case, dir)?;
    place.next = hop.as_ref().map_or(0, |hop| hop.port);
    let mut receiver = Receiver::start(&mut party.command(&place)?, dir)?;
    receiver.wait_listening(Transport::Tcp, place.port)?;
    let silent = Stream { connections: party.idle, write_bytes: 0, rate: None };
    let text = party.hosts.map(Text::of_hosts);
    let text = text.as_ref().unwrap_or(&bench.lines);
    let silent = Connections::open(text, place.port, silent)?;
    let mut sender = Connections::open(text, place.port, stream)?;
    if matches!(case.load, Load::Secure(_)) {
        sender.secure()?;
    }

    let events = party.events(bench.events);
    let warm = events / 5;
    sender.send(warm)?;
    let before = receiver.settle()?.processor();
    touch(bench, case, party);
    let began = Instant::now();
    sender.send(events - warm)?;
    let rest = receiver.settle()?;
    let peak = receiver.peak_bytes()?;
    drop((sender, silent));
    let log = receiver.log().to_owned();
    let usage = end(receiver, party)?;

    let kept = match hop {
        Some(hop) => Kept { events: hop.finish()?, ..Kept::default() },
        None => received(case, party, dir, &log)?,
    };
    let part = Part {
        events: events - warm,
        processor: rest.processor() - before,
        took: rest.done(before) - began,
    };
    let mut figures = sum_up(kept, usage, part, peak);
    let bytes = text.bytes_of(events) as f64 / events as f64;
    figures.insert(Key::Megabytes, figures[&Key::Rate] * bytes / 1e6);
    figures.insert(Key::Sent, events as f64);
    figures.insert(Key::Lost, events as f64 - kept.events as f64);
    Ok(figures)
}

/// Before a peer is told to end: longer than the timers after which it writes its last buffer.
/// rsyslog, told at once, leaves a part of it unwritten and the gzip file torn.
const PEER_REST: Duration = Duration::from_secs(2);

/// Ends the party; what it used.
pub(crate) fn end(receiver: Receiver, party: &Party) -> io::Result<Usage> {
    if !party.is_ours() {
        std::thread::sleep(PEER_REST);
    }
    receiver.stop(!ends_alone(party))
}

/// The limit program that reads nothing from anywhere: its whole life is the measurement.
fn output_alone(bench: &Bench, case: &Case, party: &Party, dir: &Path) -> io::Result<Figures> {
    let place = place(bench, case, dir)?;
    let began = Instant::now();
    let receiver = Receiver::start(&mut party.command(&place)?, dir)?;
    let rest = receiver.settle()?;
    let log = receiver.log().to_owned();
    let usage = end(receiver, party)?;
    let kept = received(case, party, dir, &log)?;
    let (processor, events) = (usage.user + usage.system, party.events(bench.events));
    let part = Part { events, processor, took: rest.done(Duration::ZERO) - began };
    let mut figures = sum_up(kept, usage, part, 0);
    figures.remove(&Key::Peak);
    figures.insert(
        Key::Megabytes,
        figures[&Key::Rate] * kept.raw_bytes as f64 / 1e6 / kept.events.max(1) as f64,
    );
    figures.insert(Key::Sent, events as f64);
    figures.insert(Key::Lost, events as f64 - kept.events as f64);
    Ok(figures)
}

struct Flow {
    segments: bool,
    rate: Option<f64>,
    events: u64,
}

/// The figures, and how many datagrams of the load were lost.
fn datagrams(
    bench: &Bench,
    case: &Case,
    party: &Party,
    dir: &Path,
    flow: Flow,
) -> io::Result<(Figures, u64)> {
    let place = place(bench, case, dir)?;
    let mut receiver = Receiver::start(&mut party.command(&place)?, dir)?;
    receiver.wait_listening(Transport::Udp, place.port)?;
    let text = if flow.segments { &bench.equal } else { &bench.datagrams };
    let mut sender = Datagrams::open(text, place.port, flow.segments)?;

    let warm = sender.send(WARM_DATAGRAMS.min(flow.events / 5), Some(WARM_RATE))?;
    let before = receiver.settle()?.processor();
    let began = Instant::now();
    let sent = sender.send(flow.events - warm, flow.rate)?;
    let rest = receiver.settle()?;
    let peak = receiver.peak_bytes()?;
    let log = receiver.log().to_owned();
    let usage = end(receiver, party)?;

    let kept = received(case, party, dir, &log)?;
    let events = kept.events.saturating_sub(warm);
    let part =
        Part { events, processor: rest.processor() - before, took: rest.done(before) - began };
    let mut figures = sum_up(kept, usage, part, peak);
    let lost = (warm + sent).saturating_sub(kept.events);
    let bytes = text.bytes().len() as f64 / text.messages() as f64;
    figures.insert(Key::Megabytes, figures[&Key::Rate] * bytes / 1e6);
    figures.insert(Key::Sent, (warm + sent) as f64);
    figures.insert(Key::Lost, lost as f64);
    Ok((figures, lost))
}

/// Of the asked rate: with less the sender, or the receiver, has fallen behind.
const KEPT_PACE: f64 = 0.85;

/// The highest rate that is kept and at which the case's limit program loses nothing, found once:
/// up by halves until it loses, then between the last two.
fn highest_rate(bench: &mut Bench, case: &Case) -> io::Result<f64> {
    if let Some(rate) = bench.highest_rate {
        return Ok(rate);
    }
    let limit = case.parties.iter().find(|party| matches!(party.program, Program::Limit(..)));
    let limit = limit.expect("a paced case has a limit program");
    let holds = |rate: f64| -> io::Result<bool> {
        let dir = tempfile::Builder::new().prefix("flumen-perf-").tempdir()?;
        // Half a second, or less when the whole run is short.
        let events = ((rate / 2.0) as u64).min(bench.events);
        let flow = Flow { segments: false, rate: Some(rate), events };
        let (figures, lost) = datagrams(bench, case, limit, dir.path(), flow)?;
        // A sender that cannot keep the pace proves nothing about the receiver.
        Ok(lost == 0 && figures[&Key::Rate] >= KEPT_PACE * rate)
    };
    let (mut good, mut bad) = (50_000.0, 75_000.0);
    while bad < 10e6 && holds(bad)? {
        (good, bad) = (bad, bad * 1.5);
    }
    for _ in 0..3 {
        let middle = f64::midpoint(good, bad);
        if holds(middle)? { good = middle } else { bad = middle }
    }
    bench.highest_rate = Some(good);
    Ok(good)
}

/// The steady part of a run.
pub(crate) struct Part {
    pub(crate) events: u64,
    pub(crate) processor: Duration,
    pub(crate) took: Duration,
}

pub(crate) fn sum_up(kept: Kept, usage: Usage, part: Part, peak_bytes: u64) -> Figures {
    let each = |time: Duration, events: u64| time.as_secs_f64() * 1e6 / events.max(1) as f64;
    let mut figures = Figures::from([
        (Key::Rate, part.events as f64 / part.took.as_secs_f64().max(1e-9)),
        (Key::Processor, each(usage.user + usage.system, kept.events)),
        (Key::User, each(usage.user, kept.events)),
        (Key::System, each(usage.system, kept.events)),
        (Key::Steady, each(part.processor, part.events)),
        (Key::Peak, peak_bytes as f64 / (1 << 20) as f64),
    ]);
    if kept.stored_bytes > 0 {
        figures.insert(Key::Ratio, kept.raw_bytes as f64 / kept.stored_bytes as f64);
    }
    figures
}

/// What arrived: read back from the files, or, where nothing is written, as the party says.
fn received(case: &Case, party: &Party, dir: &Path, log: &Path) -> io::Result<Kept> {
    if case.sink != "null" {
        return kept::read(&dir.join("out"));
    }
    let (said, before) = match party.program {
        Program::Limit(..) => (std::fs::read_to_string(dir.join("stdout"))?, ""),
        _ => (std::fs::read_to_string(log)?, "received "),
    };
    let number = |line: &str| {
        let (_, rest) = if before.is_empty() { ("", line) } else { line.split_once(before)? };
        rest.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok()
    };
    let events = said.lines().rev().find_map(number);
    let events = events.ok_or_else(|| io::Error::other("it does not say what it received"))?;
    Ok(Kept { events, ..Kept::default() })
}
