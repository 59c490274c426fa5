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
use super::lane::{Bench, Lane, Sums, connect};
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
    /// For tls:// targets.
    pub tls: Option<Setup>,
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
    let stream = plan.targets.iter().find(|target| target.transport != Transport::Udp);
    match stream {
        Some(target) if plan.gso => Err(BlastError::GsoTarget(target.text.clone())),
        _ => Ok(()),
    }
}

/// One lane a stream; streams are numbered round the targets, so that shares are even.
fn connect_all(plan: &Plan, stop: &AtomicBool) -> Result<Vec<Lane>, BlastError> {
    raise_descriptors();
    let gso = plan.gso.then_some(plan.shape.size_bytes as u16);
    let streams = plan.targets.len() as u64 * u64::from(plan.connections);
    let mut lanes = Vec::new();
    for stream in 0..streams {
        let target = &plan.targets[(stream % plan.targets.len() as u64) as usize];
        if stop.load(Ordering::Relaxed) {
            break;
        }
        let made = lanes.len();
        let tls = plan.tls.as_ref();
        let link =
            connect(target, gso, tls).map_err(|source| failure(plan, target, made, source))?;
        let limit = match plan.extent {
            Extent::Count(count) => share(count, stream, streams),
            Extent::Time(_) | Extent::Endless => SEQUENCE_MAX,
        };
        lanes.push(Lane::new(stream as u32, target, link, limit));
    }
    Ok(lanes)
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
mod tests {
    use std::io::Read;
    use std::net::{TcpListener, TcpStream, UdpSocket};
    use std::thread::JoinHandle;

    use super::*;
    use crate::load::audit::Auditor;
    use crate::load::{StreamRecord, Verdict};
    use crate::syslog::stamp::{self, Reading};

    fn plan(targets: &[String], extent: Extent) -> Plan {
        Plan {
            targets: targets.iter().map(|text| Target::parse(text).unwrap()).collect(),
            connections: 1,
            rate: Rate::Max,
            extent,
            shape: Shape::default(),
            framing: Framing::Newline,
            gso: false,
            run: 9,
            tls: None,
        }
    }

    fn go(plan: &Plan) -> Outcome {
        run(plan, &Arc::default(), &mut |_| ()).unwrap()
    }

    /// Takes `count` connections and reads each to its end.
    fn receiver(count: usize) -> (String, JoinHandle<Vec<Vec<u8>>>) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let target = format!("tcp://{}", listener.local_addr().unwrap());
        let thread = std::thread::spawn(move || {
            let accepted: Vec<_> = (0..count).map(|_| listener.accept().unwrap().0).collect();
            let readers = accepted.into_iter().map(|socket| std::thread::spawn(|| read(socket)));
            readers.collect::<Vec<_>>().into_iter().map(|one| one.join().unwrap()).collect()
        });
        (target, thread)
    }

    fn read(mut socket: TcpStream) -> Vec<u8> {
        let mut bytes = Vec::new();
        socket.read_to_end(&mut bytes).unwrap();
        bytes
    }

    fn frames(framing: Framing, bytes: &[u8]) -> Vec<&[u8]> {
        let mut rest = bytes;
        let mut frames = Vec::new();
        while !rest.is_empty() {
            let (start, end, next) = match framing {
                Framing::Newline => {
                    let end = rest.iter().position(|byte| *byte == b'\n').unwrap();
                    (0, end, end + 1)
                }
                Framing::Octet => {
                    let blank = rest.iter().position(|byte| *byte == b' ').unwrap();
                    let count = std::str::from_utf8(&rest[..blank]).unwrap();
                    let end = blank + 1 + count.parse::<usize>().unwrap();
                    (blank + 1, end, end)
                }
            };
            frames.push(&rest[start..end]);
            rest = &rest[next..];
        }
        frames
    }

    fn verdict<'a>(outcome: &Outcome, events: impl Iterator<Item = &'a [u8]>) -> Verdict {
        let mut auditor = Auditor::new(&outcome.manifest);
        events.for_each(|event| auditor.event(event, None));
        auditor.conclude()
    }

    #[test]
    fn tcp_receivers_get_exactly_what_the_manifest_says() {
        for framing in [Framing::Newline, Framing::Octet] {
            let (one, first) = receiver(3);
            let (two, second) = receiver(3);
            let plan = Plan { connections: 3, framing, ..plan(&[one, two], Extent::Count(20_003)) };
            let outcome = go(&plan);
            assert_eq!((outcome.manifest.sent(), outcome.failures()), (20_003, 0));
            let received = [first.join().unwrap(), second.join().unwrap()].concat();
            let bytes: usize = received.iter().map(Vec::len).sum();
            assert_eq!(outcome.manifest.bytes(), bytes as u64);
            let shares: Vec<u64> = outcome.manifest.streams.iter().map(|one| one.sent).collect();
            assert_eq!(shares, [3334, 3334, 3334, 3334, 3334, 3333]);
            let events = received.iter().flat_map(|bytes| frames(framing, bytes));
            let verdict = verdict(&outcome, events);
            assert!(verdict.passes(0) && verdict.foreign == 0, "{verdict:?}");
            assert_eq!(verdict.reordered, 0);
        }
    }

    /// So few that a socket's default queue holds them all.
    const DATAGRAMS: u64 = 100;

    fn datagrams(socket: &UdpSocket) -> Vec<Vec<u8>> {
        socket.set_nonblocking(true).unwrap();
        let mut datagram = [0; 2000];
        let receive = || socket.recv(&mut datagram).ok().map(|length| datagram[..length].to_vec());
        std::iter::from_fn(receive).collect()
    }

    fn udp() -> (UdpSocket, String) {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        let target = format!("udp://{}", socket.local_addr().unwrap());
        (socket, target)
    }

    #[test]
    fn udp_receivers_get_exactly_what_the_manifest_says() {
        for gso in [false, true] {
            let (socket, target) = udp();
            let shape = Shape { equal: gso, ..Shape::default() };
            let plan =
                Plan { connections: 3, gso, shape, ..plan(&[target], Extent::Count(DATAGRAMS)) };
            let outcome = go(&plan);
            assert_eq!((outcome.manifest.sent(), outcome.failures()), (DATAGRAMS, 0));
            let received = datagrams(&socket);
            let bytes: usize = received.iter().map(Vec::len).sum();
            assert_eq!((outcome.manifest.bytes(), outcome.refused), (bytes as u64, 0));
            assert!(!gso || received.iter().all(|one| one.len() == 190));
            let verdict = verdict(&outcome, received.iter().map(Vec::as_slice));
            assert!(verdict.passes(0) && verdict.foreign == 0, "{verdict:?}");
        }
    }

    #[test]
    fn stamps_are_the_times_at_which_events_were_due() {
        let (socket, target) = udp();
        let rate = Rate::PerSecond(1000.0);
        let outcome =
            go(&Plan { connections: 2, rate, ..plan(&[target], Extent::Count(DATAGRAMS)) });
        assert!(outcome.passed >= Duration::from_millis(DATAGRAMS - 1), "{:?}", outcome.passed);
        let stamps = datagrams(&socket).into_iter().map(|one| match stamp::read(&one) {
            Reading::Whole(stamp) => (stamp.sequence * 2 + u64::from(stamp.stream), stamp.at.0),
            other => panic!("{other:?}"),
        });
        let mut stamps: Vec<_> = stamps.collect();
        stamps.sort_unstable();
        let start = stamps[0].1;
        for (number, at) in stamps {
            // The wall clock may be slewed meanwhile, by half a millisecond a second at most.
            let wrong = (at - start - number as i64 * 1_000_000).abs();
            assert!(wrong < 1_000_000, "event {number} is {wrong} ns off its time");
        }
        let first = outcome.manifest.streams.iter().filter_map(|stream| stream.first).min();
        assert_eq!(first, Some(start));
    }

    #[test]
    fn nobody_listening_is_told() {
        let (socket, target) = udp();
        drop(socket);
        let outcome = go(&plan(&[target], Extent::Count(1000)));
        assert_eq!(outcome.manifest.sent(), 1000, "the kernel took them all");
        assert!(outcome.refused > 0);
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let target = format!("tcp://{}", listener.local_addr().unwrap());
        drop(listener);
        let error = run(&plan(&[target], Extent::Count(1)), &Arc::default(), &mut |_| ());
        assert!(matches!(error, Err(BlastError::Connect { .. })));
    }

    #[test]
    fn a_stuck_receiver_neither_holds_up_the_stop_nor_blurs_the_count() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let target = format!("tcp://{}", listener.local_addr().unwrap());
        let plan = plan(&[target], Extent::Endless);
        let stop = Arc::new(AtomicBool::new(false));
        let (mut before, mut still) = (0, 0);
        let outcome = run(&plan, &stop, &mut |now| {
            still = if now.events > 0 && now.events == before { still + 1 } else { 0 };
            before = now.events;
            stop.store(still >= 3, Ordering::Relaxed);
        });
        let outcome = outcome.unwrap();
        let record: &StreamRecord = &outcome.manifest.streams[0];
        assert!(outcome.stopped && record.sent > 0 && record.error.is_none());
        let bytes = read(listener.accept().unwrap().0);
        assert_eq!(bytes.len() as u64, record.bytes);
        let whole = bytes.iter().filter(|byte| **byte == b'\n').count() as u64;
        assert_eq!(whole, record.sent);
        assert_eq!(record.cut, bytes.last() != Some(&b'\n'));
    }

    #[test]
    fn a_reset_ends_its_stream_only_and_is_told() {
        let (healthy, thread) = receiver(1);
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let target = format!("tcp://{}", listener.local_addr().unwrap());
        let reset = std::thread::spawn(move || {
            let (mut socket, _) = listener.accept().unwrap();
            socket.read_exact(&mut [0; 1000]).unwrap();
            // Closing with unread bytes resets the connection.
        });
        let outcome = go(&plan(&[healthy, target], Extent::Count(200_000)));
        reset.join().unwrap();
        assert_eq!(outcome.failures(), 1);
        let streams = &outcome.manifest.streams;
        assert!(streams[1].error.is_some() && streams[1].sent <= 100_000);
        assert_eq!((streams[0].sent, &streams[0].error), (100_000, &None));
        let received = thread.join().unwrap();
        assert_eq!(frames(Framing::Newline, &received[0]).len(), 100_000);
    }

    #[test]
    fn many_connections_get_their_fair_share() {
        let (target, thread) = receiver(200);
        let time = Extent::Time(Duration::from_millis(200));
        let rate = Rate::PerSecond(50_000.0);
        let outcome = go(&Plan { connections: 200, rate, ..plan(&[target], time) });
        assert!(outcome.manifest.streams.iter().all(|stream| stream.sent == 50));
        assert_eq!((outcome.manifest.sent(), outcome.behind), (10_000, 0));
        let received = thread.join().unwrap();
        let events = received.iter().flat_map(|bytes| frames(Framing::Newline, bytes));
        assert!(verdict(&outcome, events).passes(0));
    }

    #[test]
    fn what_cannot_be_done_is_refused() {
        let udp = "udp://127.0.0.1:9".to_owned();
        let tcp = "tcp://127.0.0.1:9".to_owned();
        let base = plan(&[udp, tcp.clone()], Extent::Endless);
        let refused = |plan: Plan| check(&plan).unwrap_err().to_string();
        assert!(refused(Plan { gso: true, ..base.clone() }).ends_with(&format!("{tcp} is none")));
        assert!(refused(Plan { connections: STREAMS_MAX, ..base.clone() }).contains("streams"));
        let many = Extent::Count(u64::MAX);
        assert!(refused(Plan { extent: many, ..base }).contains("events a stream"));
    }
}
