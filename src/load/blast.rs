//! The load generator: stamped messages to many sockets, open loop, and an exact account of them.
//!
//! [`run`] connects everything first, then starts one sender a target (no more than there are
//! cores) and waits for them, calling back with sums. It returns when the extent is reached, when
//! `stop` is set, or when all connections have failed.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::Duration;

use super::chunk::{Chunk, Framing};
use super::lane::{Bench, Lane, Sums};
use super::link::{Link, Ways};
use super::manifest::{Manifest, VERSION};
use super::schedule::{Extent, Pace, Rate, share};
use super::sender::{Finished, Sender, Tally};
use super::{Target, Transport};
use crate::runtime::clock::{Clock, SystemClock};
use crate::runtime::thread::{cores, spawn};
use crate::syslog::compose::{Composer, Shape};
use crate::syslog::stamp::{SEQUENCE_MAX, STREAMS_MAX};
use crate::time::{Mono, duration_ns};
use crate::wire::tls::client::Setup;

#[derive(Clone, Debug)]
pub struct Plan {
    pub targets: Vec<Target>,
    /// Streams of each target: TCP connections, or UDP sockets.
    pub connections: u32,
    pub rate: Rate,
    pub extent: Extent,
    /// With `gso`, `shape.equal` must be set.
    pub shape: Shape,
    pub framing: Framing,
    /// UDP only: the kernel cuts datagrams of `shape.size_bytes`.
    pub gso: bool,
    pub run: u32,
    /// For tls:// and relps:// targets.
    pub tls: Option<Setup>,
    /// Messages that may wait for their answer over RELP.
    pub window: u32,
}

/// How a run is getting on.
#[derive(Clone, Copy, Debug, Default)]
pub struct Snapshot {
    pub passed: Duration,
    pub events: u64,
    pub bytes: u64,
    pub refused: u64,
    pub lag_max: Duration,
}

/// How a run went.
#[derive(Clone, Debug)]
pub struct Outcome {
    pub manifest: Manifest,
    /// From the first due event until the kernel took the last.
    pub passed: Duration,
    /// Events a second that were asked for.
    pub asked: Option<f64>,
    /// UDP sends that the kernel refused (nobody listens, no buffer) and that were made again.
    pub refused: u64,
    /// How late an event was sent at most; tells nothing at full speed.
    pub lag_max: Duration,
    /// Events that were due before the end and could not be sent.
    pub behind: u64,
    /// Somebody stopped it.
    pub stopped: bool,
}

#[derive(Debug, thiserror::Error)]
pub enum BlastError {
    #[error("cannot connect to {target}: {source}; does the receiver run, is the port right?")]
    Connect { target: String, source: io::Error },
    #[error("{target}: {connections} connections asked for, {source} after {made}; see ulimit -Hn")]
    Descriptors { target: String, connections: u32, made: usize, source: io::Error },
    #[error("--gso is for udp:// targets; {0} is none")]
    GsoTarget(String),
    #[error("{0} streams; no more than {STREAMS_MAX} fit a run")]
    Streams(u64),
    #[error("{0} events a stream; no more than {SEQUENCE_MAX} fit")]
    Events(u64),
    #[error("the sender cannot be started: {0}")]
    Start(#[from] io::Error),
    #[error("a sender failed: {0}")]
    Sender(String),
}

/// Composed at a time for one of a few streams; with thousands of them less, so that what they
/// hold back when their receivers are stuck stays within [`PENDING_BYTES_MAX`].
const CHUNK_BYTES_MAX: usize = 64 << 10;
const CHUNK_BYTES_MIN: usize = 2 << 10;
const PENDING_BYTES_MAX: usize = 16 << 20;
/// Between two calls of `progress`.
const REPORT: Duration = Duration::from_millis(100);
/// How long a receiver may look at our certificate.
const SETTLE: Duration = Duration::from_millis(500);
/// Time for the senders to start before the first event is due.
const HEAD_START: Duration = Duration::from_millis(2);

/// A run id that no other run is likely to have.
pub fn fresh_run() -> u32 {
    let mut bytes = [0; 4];
    let mut filled = 0;
    while filled < bytes.len() {
        match rustix::rand::getrandom(&mut bytes[filled..], rustix::rand::GetRandomFlags::empty()) {
            Ok(count) => filled += count,
            // No randomness: the time will do.
            Err(_) => return SystemClock::default().now().wall.0 as u32,
        }
    }
    u32::from_ne_bytes(bytes)
}

/// Runs the plan. `progress` is called about ten times a second, on the calling thread.
pub fn run(
    plan: &Plan,
    stop: &Arc<AtomicBool>,
    progress: &mut dyn FnMut(&Snapshot),
) -> Result<Outcome, BlastError> {
    check(plan)?;
    let lanes = connect_all(plan, stop)?;
    let clock = Arc::new(SystemClock::default());
    let start = clock.now().mono.after(HEAD_START);
    let (report, reports) = mpsc::channel();
    let mut tallies = Vec::new();
    for (number, lanes) in divide(plan, lanes).into_iter().enumerate() {
        let tally = Arc::new(Tally::default());
        tallies.push(Arc::clone(&tally));
        let bench = bench(plan, start, number, lanes.len());
        let sender = Sender::new(lanes, bench, Arc::clone(&clock), Arc::clone(stop), tally)?;
        let report = report.clone();
        spawn(&format!("blast.{number}"), move || {
            // The receiver lives until all senders are done; a failed send cannot matter.
            let _ = report.send(sender.run());
        })?;
    }
    drop(report);
    let mut finished: Vec<Finished> = Vec::new();
    loop {
        match reports.recv_timeout(REPORT) {
            Ok(outcome) => finished.push(outcome?),
            Err(RecvTimeoutError::Timeout) => {
                progress(&snapshot(&tallies, clock.now().mono.since(start)));
            }
            Err(RecvTimeoutError::Disconnected) => break,
        }
    }
    if finished.len() < tallies.len() {
        return Err(BlastError::Sender("its thread ended in a panic".to_owned()));
    }
    let last = finished.iter().map(|one| one.sent_at).max().unwrap_or(start);
    Ok(conclude(plan, finished, last.since(start), stop.load(Ordering::Relaxed)))
}

fn check(plan: &Plan) -> Result<(), BlastError> {
    let streams = plan.targets.len() as u64 * u64::from(plan.connections);
    if streams > u64::from(STREAMS_MAX) {
        return Err(BlastError::Streams(streams));
    }
    if let Extent::Count(count) = plan.extent
        && count.div_ceil(streams.max(1)) > SEQUENCE_MAX
    {
        return Err(BlastError::Events(count));
    }
    let other = plan.targets.iter().find(|target| target.transport != Transport::Udp);
    match other {
        Some(target) if plan.gso => Err(BlastError::GsoTarget(target.text.clone())),
        _ => Ok(()),
    }
}

/// One lane a stream; streams are numbered round the targets, so that shares are even.
fn connect_all(plan: &Plan, stop: &AtomicBool) -> Result<Vec<Lane>, BlastError> {
    raise_descriptors();
    let gso = plan.gso.then_some(plan.shape.size_bytes as u16);
    let ways = Ways { gso, tls: plan.tls.as_ref(), window: plan.window };
    let streams = plan.targets.len() as u64 * u64::from(plan.connections);
    let mut lanes = Vec::new();
    for stream in 0..streams {
        let target = &plan.targets[(stream % plan.targets.len() as u64) as usize];
        if stop.load(Ordering::Relaxed) {
            break;
        }
        let made = lanes.len();
        let link =
            Link::connect(target, &ways).map_err(|source| failure(plan, target, made, source))?;
        let limit = match plan.extent {
            Extent::Count(count) => share(count, stream, streams),
            Extent::Time(_) | Extent::Endless => SEQUENCE_MAX,
        };
        lanes.push(Lane::new(stream as u32, target, link, limit));
    }
    settle(plan, &mut lanes)?;
    Ok(lanes)
}

/// Gives receivers that asked for our certificate the time to refuse it: what is sent meanwhile
/// would count as sent.
fn settle(plan: &Plan, lanes: &mut [Lane]) -> Result<(), BlastError> {
    if !lanes.iter().any(|lane| lane.link.may_be_refused()) {
        return Ok(());
    }
    std::thread::sleep(SETTLE);
    let doubtful = lanes.iter_mut().filter(|lane| lane.link.may_be_refused());
    for lane in doubtful {
        let target = &plan.targets[lane.record.stream as usize % plan.targets.len()];
        lane.link.refusal().map_err(|source| failure(plan, target, 0, source))?;
    }
    Ok(())
}

fn failure(plan: &Plan, target: &Target, made: usize, source: io::Error) -> BlastError {
    let (target, connections) = (target.text.clone(), plan.connections);
    if source.raw_os_error() == Some(libc::EMFILE) {
        BlastError::Descriptors { target, connections, made, source }
    } else {
        BlastError::Connect { target, source }
    }
}

/// As many descriptors as this process may ever have; too few shows when connecting.
fn raise_descriptors() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
    let _ = setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum });
}

/// The lanes of each sender: a target's lanes stay together.
fn divide(plan: &Plan, lanes: Vec<Lane>) -> Vec<Vec<Lane>> {
    let cores = cores().len().max(1);
    let senders = plan.targets.len().clamp(1, cores);
    let mut parts: Vec<Vec<Lane>> = (0..senders).map(|_| Vec::new()).collect();
    for (place, lane) in lanes.into_iter().enumerate() {
        parts[place % plan.targets.len() % senders].push(lane);
    }
    parts.retain(|part| !part.is_empty());
    parts
}

fn bench(plan: &Plan, start: Mono, number: usize, lanes: usize) -> Bench {
    let streams = plan.targets.len() as u64 * u64::from(plan.connections);
    // Senders must not say the same things.
    let seed = plan.shape.seed.wrapping_add((number as u64) << 32);
    Bench {
        composer: Composer::new(Shape { seed, ..plan.shape }),
        chunk: Chunk::default(),
        framing: plan.framing,
        run: plan.run,
        pace: Pace::new(start, plan.rate, plan.extent, lanes as u64, streams),
        chunk_bytes: (PENDING_BYTES_MAX / lanes).clamp(CHUNK_BYTES_MIN, CHUNK_BYTES_MAX),
        composing: true,
        sums: Sums::default(),
    }
}

fn snapshot(tallies: &[Arc<Tally>], passed: Duration) -> Snapshot {
    let sum = |of: fn(&Tally) -> u64| tallies.iter().map(|tally| of(tally)).sum();
    let lag = tallies.iter().map(|tally| tally.lag_ns_max.load(Ordering::Relaxed)).max();
    Snapshot {
        passed,
        events: sum(|tally| tally.events.load(Ordering::Relaxed)),
        bytes: sum(|tally| tally.bytes.load(Ordering::Relaxed)),
        refused: sum(|tally| tally.refused.load(Ordering::Relaxed)),
        lag_max: Duration::from_nanos(lag.unwrap_or(0)),
    }
}

fn conclude(plan: &Plan, finished: Vec<Finished>, passed: Duration, stopped: bool) -> Outcome {
    let refused = finished.iter().map(|one| one.sums.refused).sum();
    let behind = finished.iter().map(|one| one.behind).sum();
    let lag_ns = finished.iter().map(|one| one.sums.lag_ns_max).max().unwrap_or(0);
    let lanes = finished.into_iter().flat_map(|one| one.lanes);
    let mut streams: Vec<_> = lanes.map(|lane| lane.record).collect();
    streams.sort_by_key(|record| record.stream);
    let manifest = Manifest {
        version: VERSION,
        run: plan.run,
        format: plan.shape.format.name().to_owned(),
        framing: plan.framing.name().to_owned(),
        seed: plan.shape.seed,
        size: plan.shape.size_bytes,
        hosts: plan.shape.hosts,
        streams,
    };
    let asked = match plan.rate {
        Rate::Max => None,
        Rate::PerSecond(rate) => Some(rate),
    };
    let lag_max = Duration::from_nanos(lag_ns);
    Outcome { manifest, passed, asked, refused, lag_max, behind, stopped }
}

impl Outcome {
    /// Events a second over the whole run.
    pub fn rate(&self) -> f64 {
        let seconds = duration_ns(self.passed) as f64 / 1e9;
        if seconds > 0.0 { self.manifest.sent() as f64 / seconds } else { 0.0 }
    }

    /// Streams that ended with an error.
    pub fn failures(&self) -> usize {
        self.manifest.streams.iter().filter(|record| record.error.is_some()).count()
    }
}

#[cfg(test)]
mod tests;
