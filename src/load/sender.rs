//! A sender: one thread that drives many lanes fairly, each as its schedule says.
//!
//! Lanes that have something due wait in a queue; each gets one chunk a turn. A full TCP socket
//! leaves the queue until the kernel says that it has room; all waiting is bounded, so that a stuck
//! receiver never holds up the stop.

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use mio::{Events, Interest, Poll, Token};

use super::lane::{Bench, Lane, Sums, Turn};
use crate::runtime::clock::{Clock, SystemClock};
use crate::time::{Mono, Now};

/// Sums as others may read them while the sender runs. One writer, so plain stores do.
#[derive(Debug, Default)]
pub(super) struct Tally {
    pub(super) events: AtomicU64,
    pub(super) bytes: AtomicU64,
    pub(super) refused: AtomicU64,
    pub(super) lag_ns_max: AtomicU64,
}

impl Tally {
    fn publish(&self, sums: &Sums) {
        self.events.store(sums.events, Ordering::Relaxed);
        self.bytes.store(sums.bytes, Ordering::Relaxed);
        self.refused.store(sums.refused, Ordering::Relaxed);
        self.lag_ns_max.store(sums.lag_ns_max, Ordering::Relaxed);
    }
}

pub(super) struct Sender {
    lanes: Vec<Lane>,
    bench: Bench,
    poll: Poll,
    events: Events,
    ready: VecDeque<usize>,
    /// UDP lanes whose queue was full.
    later: Vec<usize>,
    blocked: usize,
    /// The next event of the round whose lane has not been queued for it.
    cursor: u64,
    clock: Arc<SystemClock>,
    stop: Arc<AtomicBool>,
    tally: Arc<Tally>,
}

/// What is left when a sender is done.
pub(super) struct Finished {
    pub(super) lanes: Vec<Lane>,
    pub(super) sums: Sums,
    /// Due, and not sent.
    pub(super) behind: u64,
    /// When the kernel took the last event.
    pub(super) sent_at: Mono,
}

/// Between two looks at the schedule. Sent up to this much late is the price of batches.
const TICK: Duration = Duration::from_micros(250);
/// The longest sleep: how late a stop may be noticed.
const NAP: Duration = Duration::from_millis(50);
/// How long what is composed may take to leave after a stop, and after the time is up.
const FLUSH_STOPPED: Duration = Duration::from_secs(1);
const FLUSH_OVER: Duration = Duration::from_secs(5);
/// How long after its time a run may still catch up with what was due; the rest is behind.
const LATE: Duration = Duration::from_secs(1);
/// How long to wait for receivers to read the rest and close.
const GOODBYE: Duration = Duration::from_secs(2);
/// Turns between two looks at the sockets that were full.
const TURNS_PER_POLL: usize = 64;

impl Sender {
    pub(super) fn new(
        mut lanes: Vec<Lane>,
        bench: Bench,
        clock: Arc<SystemClock>,
        stop: Arc<AtomicBool>,
        tally: Arc<Tally>,
    ) -> io::Result<Self> {
        let poll = Poll::new()?;
        for (index, lane) in lanes.iter_mut().enumerate() {
            lane.set_index(index as u64);
            if let Some(source) = lane.link.source() {
                let both = Interest::READABLE | Interest::WRITABLE;
                poll.registry().register(source, Token(index), both)?;
            }
        }
        Ok(Self {
            ready: VecDeque::with_capacity(lanes.len()),
            lanes,
            bench,
            poll,
            events: Events::with_capacity(1024),
            later: Vec::new(),
            blocked: 0,
            cursor: 0,
            clock,
            stop,
            tally,
        })
    }

    pub(super) fn run(mut self) -> io::Result<Finished> {
        let ended = self.send_all()?;
        for lane in &mut self.lanes {
            lane.give_up();
        }
        let pace = self.bench.pace;
        let behind = self.lanes.iter().map(|lane| lane.behind(&pace, ended)).sum();
        let sent_at = self.clock.now().mono;
        self.say_goodbye()?;
        self.tally.publish(&self.bench.sums);
        Ok(Finished { lanes: self.lanes, sums: self.bench.sums, behind, sent_at })
    }

    /// Sends until the extent is reached or somebody stops it; when it stopped composing.
    fn send_all(&mut self) -> io::Result<Mono> {
        let mut spent = self.lanes.iter().filter(|lane| lane.is_spent()).count();
        loop {
            let now = self.clock.now();
            if self.stop.load(Ordering::Relaxed) {
                return self.flush(now, Some(FLUSH_STOPPED));
            }
            self.queue_due(now.mono);
            let pace = self.bench.pace;
            let idle = pace.is_over(now.mono) && self.ready.is_empty();
            if idle || pace.is_past(now.mono, LATE) {
                return self.flush(now, Some(FLUSH_OVER));
            }
            self.take_turns(&mut spent);
            if spent == self.lanes.len() {
                return self.flush(now, None);
            }
            self.tally.publish(&self.bench.sums);
            self.rest(now)?;
        }
    }

    /// Gives turns to the lanes in the queue, a bounded number of them.
    fn take_turns(&mut self, spent: &mut usize) {
        for _ in 0..TURNS_PER_POLL {
            let Some(index) = self.ready.pop_front() else { break };
            // Read each turn: a turn at full speed takes long, and stamps must be true.
            let now = self.clock.now();
            let lane = &mut self.lanes[index];
            lane.queued = false;
            let was_spent = lane.is_spent();
            let turn = lane.turn(now, &mut self.bench);
            *spent += usize::from(lane.is_spent() && !was_spent);
            match turn {
                Turn::More => self.queue(index),
                Turn::Idle | Turn::Failed => {}
                Turn::Blocked => {
                    lane.blocked = true;
                    self.blocked += 1;
                }
                Turn::Later => self.later.push(index),
            }
        }
    }

    /// Queues the lanes of which an event became due since the last call.
    fn queue_due(&mut self, now: Mono) {
        let due = self.bench.pace.due(now);
        let lanes = self.lanes.len() as u64;
        let fresh = due.saturating_sub(self.cursor).min(lanes);
        for event in self.cursor..self.cursor + fresh {
            self.queue((event % lanes) as usize);
        }
        if self.bench.pace.is_paced() {
            self.cursor = self.cursor.max(due);
        } else {
            // At full speed each lane is queued once and goes back by itself.
            self.cursor = u64::MAX;
        }
    }

    fn queue(&mut self, index: usize) {
        let lane = &mut self.lanes[index];
        if !lane.queued && !lane.blocked {
            lane.queued = true;
            self.ready.push_back(index);
        }
    }

    /// Sleeps until something is due, a full socket has room, or a while has passed.
    fn rest(&mut self, now: Now) -> io::Result<()> {
        let mut pause = Duration::ZERO;
        if self.ready.is_empty() {
            let pace = &self.bench.pace;
            let due = if pace.is_paced() { pace.at(self.cursor, now.mono) } else { Mono::MAX };
            pause = due.since(self.clock.now().mono).clamp(TICK, NAP);
            if !self.later.is_empty() {
                pause = TICK;
            }
        }
        if self.blocked > 0 {
            self.poll(pause)?;
        } else if !pause.is_zero() {
            std::thread::sleep(pause);
        }
        for index in std::mem::take(&mut self.later) {
            self.queue(index);
        }
        Ok(())
    }

    fn poll(&mut self, pause: Duration) -> io::Result<()> {
        match self.poll.poll(&mut self.events, Some(pause)) {
            Err(error) if error.kind() != io::ErrorKind::Interrupted => return Err(error),
            _ => {}
        }
        for event in &self.events {
            let index = event.token().0;
            let lane = &mut self.lanes[index];
            // Answers make room, too.
            let ready = event.is_writable() || event.is_readable() || event.is_error();
            if lane.blocked && ready {
                lane.blocked = false;
                self.blocked -= 1;
                lane.queued = true;
                self.ready.push_back(index);
            }
        }
        Ok(())
    }

    /// Sends what is composed and nothing more, for `time` at most (or until a stop); returns when
    /// composing ended.
    fn flush(&mut self, ended: Now, time: Option<Duration>) -> io::Result<Mono> {
        self.bench.composing = false;
        let mut until = time.map_or(Mono::MAX, |time| ended.mono.after(time));
        let mut spent = 0;
        for index in 0..self.lanes.len() {
            if self.lanes[index].is_pending() {
                self.queue(index);
            }
        }
        while self.lanes.iter_mut().any(Lane::is_pending) {
            let now = self.clock.now();
            if self.stop.load(Ordering::Relaxed) {
                until = until.min(now.mono.after(FLUSH_STOPPED));
            }
            if now.mono >= until {
                break;
            }
            self.take_turns(&mut spent);
            self.tally.publish(&self.bench.sums);
            if self.ready.is_empty() {
                self.rest_briefly()?;
            }
        }
        Ok(ended.mono)
    }

    fn rest_briefly(&mut self) -> io::Result<()> {
        if self.later.is_empty() {
            return self.poll(NAP);
        }
        std::thread::sleep(TICK);
        for index in std::mem::take(&mut self.later) {
            self.queue(index);
        }
        self.poll(Duration::ZERO)
    }

    /// Half-closes all connections and waits a while for the receivers to close theirs: a reset
    /// after the last write is seen only so.
    fn say_goodbye(&mut self) -> io::Result<()> {
        let mut open: Vec<bool> = self.lanes.iter_mut().map(Lane::finish).collect();
        let until = self.clock.now().mono.after(GOODBYE);
        loop {
            for (index, open) in open.iter_mut().enumerate() {
                *open = *open && !self.lanes[index].is_closed();
            }
            let late = self.clock.now().mono >= until;
            if late || !open.contains(&true) {
                return Ok(());
            }
            match self.poll.poll(&mut self.events, Some(NAP)) {
                Err(error) if error.kind() != io::ErrorKind::Interrupted => return Err(error),
                _ => {}
            }
        }
    }
}
