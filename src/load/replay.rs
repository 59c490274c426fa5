//! Recorded traffic again, with its own timing: from archives and captures to any receiver.
//!
//! ```text
//!   tape ──▶ winder (a thread) ──▶ full reels ──▶ player ──▶ outlet (a socket)
//!                    ▲──────────── empty reels ─────┘
//! ```
//! Event i is due at start + (its time - the first one's) / speed, whatever became of those before
//! it: who is late catches up, and the error is told. A few reels are on their way, whatever is
//! recorded.

mod outlet;
mod player;

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crossbeam::channel::{Receiver, RecvTimeoutError, Sender, bounded};
use hdrhistogram::Histogram;

use self::outlet::Outlet;
use self::player::Player;
use super::{Framing, Target, Transport};
use crate::archive::tape::{Choice, Findings, Reel, Tape};
use crate::runtime::thread::spawn;

/// How fast the recorded time passes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Speed {
    /// So many times as fast as it was.
    Times(f64),
    /// As fast as the receiver takes it.
    Max,
}

pub struct Plan {
    pub paths: Vec<PathBuf>,
    pub choice: Choice,
    pub target: Target,
    pub speed: Speed,
    /// How often it is played; none: until somebody stops it.
    pub passes: Option<u64>,
    /// On a stream.
    pub framing: Framing,
}

/// How it goes.
#[derive(Clone, Copy, Debug, Default)]
pub struct Progress {
    pub passed: Duration,
    pub events: u64,
    pub bytes: u64,
    pub late_max: Duration,
}

#[derive(Debug)]
pub struct Outcome {
    pub events: u64,
    pub bytes: u64,
    pub passed: Duration,
    /// By how much events left after they were due, ns; none at full speed.
    pub errors: Option<Histogram<u64>>,
    /// Datagrams that came to nobody, at the least.
    pub refused: u64,
    /// Events that no datagram holds.
    pub too_long: u64,
    /// Events with LF in them, which a receiver of lines takes for several.
    pub torn: u64,
    pub findings: Findings,
    pub stopped: bool,
    /// Why it ended early.
    pub failure: Option<String>,
}

#[derive(Debug, thiserror::Error)]
pub enum ReplayError {
    #[error("{0}")]
    Recording(String),
    #[error("{target}: {why}", target = target.text)]
    Target { target: Box<Target>, why: String },
    #[error("no thread: {0}")]
    Thread(io::Error),
}

/// Reels on their way: some thousand events ahead of the wire.
const REELS: usize = 6;
/// How late a stop may be noticed while nothing is played.
const NAP: Duration = Duration::from_millis(50);
/// How long a winder that was stopped may take to say what it found.
const FAREWELL: Duration = Duration::from_secs(1);

/// What the winder hands over.
enum Wound {
    Reel(Reel),
    /// The recording has ended once; the next reel begins it anew.
    Pass,
    /// It cannot be opened any more.
    Lost(String),
}

/// Plays a recording until its end, or until `stop` is set. `told` hears of it now and then.
pub fn run(
    plan: &Plan,
    stop: &Arc<AtomicBool>,
    told: &mut dyn FnMut(&Progress),
) -> Result<Outcome, ReplayError> {
    let tape = Tape::open(&plan.paths, plan.choice).map_err(ReplayError::Recording)?;
    let refused = |why: String| ReplayError::Target { target: Box::new(plan.target.clone()), why };
    if matches!(plan.target.transport, Transport::Tls | Transport::Relp | Transport::Relps) {
        let why = "a replay goes to udp, tcp, unix or unixgram: others have no time of their own";
        return Err(refused(why.to_owned()));
    }
    let outlet = Outlet::open(&plan.target, plan.framing);
    let outlet = outlet.map_err(|error| refused(error.to_string()))?;
    let (full, wound) = bounded(REELS);
    let (spent, empty) = bounded(REELS);
    (0..REELS).for_each(|_| drop(spent.try_send(Reel::default())));
    let (told_findings, findings) = bounded(1);
    let winder = Winder {
        paths: plan.paths.clone(),
        choice: plan.choice,
        passes: plan.passes,
        full,
        empty,
        stop: Arc::clone(stop),
    };
    spawn("replay.winder", move || {
        let found = winder.wind(tape);
        // Nobody listens any more when the player has gone.
        drop(told_findings.send(found));
    })
    .map_err(ReplayError::Thread)?;
    let mut player = Player::new(plan.speed, outlet, Arc::clone(stop));
    let mut failure = None;
    loop {
        let played = match wound.recv_timeout(NAP) {
            Ok(Wound::Reel(mut reel)) => {
                let played = player.play(&reel, told);
                reel.clear();
                drop(spent.try_send(reel));
                played.map_err(|error| error.to_string())
            }
            Ok(Wound::Pass) => {
                player.rewind();
                Ok(())
            }
            Ok(Wound::Lost(why)) => Err(why),
            // Somebody may wish to stop while nothing is found that is wanted.
            Err(RecvTimeoutError::Timeout) => Ok(()),
            Err(RecvTimeoutError::Disconnected) => break,
        };
        failure = played.err();
        if failure.is_some() || stop.load(Ordering::Relaxed) {
            break;
        }
    }
    // The winder may wait for a place or a reel.
    drop((wound, spent));
    let findings = findings.recv_timeout(FAREWELL).unwrap_or_default();
    Ok(player.finish(findings, failure))
}

/// Fills reels from the recording, over and over.
struct Winder {
    paths: Vec<PathBuf>,
    choice: Choice,
    passes: Option<u64>,
    full: Sender<Wound>,
    empty: Receiver<Reel>,
    stop: Arc<AtomicBool>,
}

impl Winder {
    /// Returns what was found in the first pass; later ones say the same again.
    fn wind(self, mut tape: Tape) -> Findings {
        let mut first = None;
        for pass in 1.. {
            let nothing = !self.once(&mut tape);
            let found = tape.findings();
            let first = first.get_or_insert_with(|| found.clone());
            let over = nothing || self.passes.is_some_and(|passes| pass >= passes);
            if over || self.stop.load(Ordering::Relaxed) || self.full.send(Wound::Pass).is_err() {
                return std::mem::take(first);
            }
            tape = match Tape::open(&self.paths, self.choice) {
                Ok(tape) => tape,
                Err(why) => {
                    drop(self.full.send(Wound::Lost(why)));
                    return std::mem::take(first);
                }
            };
        }
        Findings::default()
    }

    /// One pass; false when there was nothing, or nobody listens any more.
    fn once(&self, tape: &mut Tape) -> bool {
        let mut some = false;
        loop {
            let Ok(mut reel) = self.empty.recv() else { return false };
            let more = tape.fill(&mut reel);
            some |= !reel.is_empty();
            if self.full.send(Wound::Reel(reel)).is_err() {
                return false;
            }
            if !more {
                return some;
            }
        }
    }
}

#[cfg(test)]
mod tests;
