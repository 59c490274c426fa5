//! A lane: one stream of events over one socket.
//!
//! A lane composes into its sender's chunk and writes it; what the kernel does not take now stays
//! with the lane. An event counts as sent when the kernel has taken its last byte, over RELP when
//! the receiver has acknowledged it, and sequence numbers that were sent are always 0 to
//! `sent` - 1: a datagram that was refused is offered again.

use std::io::{self, ErrorKind};
use std::os::fd::AsFd;

use super::chunk::{Chunk, Framing, Taken};
use super::link::Link;
use super::manifest::StreamRecord;
use super::relp::Heard;
use super::schedule::Pace;
use super::{Target, Transport};
use crate::sys::udp_send;
use crate::syslog::compose::Composer;
use crate::syslog::stamp::Stamp;
use crate::time::{Mono, Now, Wall, duration_ns};

pub(super) struct Lane {
    pub(super) record: StreamRecord,
    pub(super) link: Link,
    /// Its place in its sender's round.
    index: u64,
    /// Events it will send, if nobody stops it.
    pub(super) limit: u64,
    /// The next sequence number to compose.
    next: u64,
    /// Composed, not yet taken; from before the chunk that is composed next.
    pending: Option<Chunk>,
    /// In the sender's queue.
    pub(super) queued: bool,
    /// The socket is full; it says when it is not.
    pub(super) blocked: bool,
}

/// What all lanes of a sender share.
pub(super) struct Bench {
    pub(super) composer: Composer,
    pub(super) chunk: Chunk,
    pub(super) framing: Framing,
    pub(super) run: u32,
    pub(super) pace: Pace,
    /// Bytes composed at a time for a stream.
    pub(super) chunk_bytes: usize,
    /// False: only what is pending is still sent.
    pub(super) composing: bool,
    pub(super) sums: Sums,
}

/// What a sender did, all lanes together.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Sums {
    pub(super) events: u64,
    pub(super) bytes: u64,
    /// Datagrams that were refused and offered again.
    pub(super) refused: u64,
    pub(super) lag_ns_max: u64,
}

/// How a lane stands after its turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Turn {
    /// There may be more to send.
    More,
    /// Nothing is due.
    Idle,
    /// A full TCP socket: it will tell.
    Blocked,
    /// A full UDP queue: nobody tells, try again a little later.
    Later,
    Failed,
}

/// Datagrams are composed by so many calls' worth.
const UDP_CHUNK_EVENTS: usize = 512;
/// A refusal belongs to an earlier datagram and the next try mostly succeeds; this many in one
/// turn means that it does not.
const REFUSALS_MAX: usize = 4 * udp_send::MESSAGES_MAX;

impl Lane {
    pub(super) fn new(stream: u32, target: &Target, link: Link, limit: u64) -> Self {
        let record = StreamRecord {
            stream,
            target: target.text.clone(),
            transport: target.transport,
            sent: 0,
            bytes: 0,
            first: None,
            last: None,
            cut: false,
            unanswered: 0,
            refused: 0,
            error: None,
        };
        let (queued, blocked) = (false, false);
        Self { record, link, index: 0, limit, next: 0, pending: None, queued, blocked }
    }

    pub(super) fn set_index(&mut self, index: u64) {
        self.index = index;
    }

    pub(super) fn is_pending(&mut self) -> bool {
        self.pending.is_some() || !self.link.is_pushed() || self.link.unanswered() > 0
    }

    /// Everything was composed, or can no longer be.
    pub(super) fn is_spent(&self) -> bool {
        self.next >= self.limit || matches!(self.link, Link::Gone)
    }

    /// Events of this lane that were due at `now` and not sent.
    pub(super) fn behind(&self, pace: &Pace, now: Mono) -> u64 {
        if !pace.is_paced() {
            return 0;
        }
        let due = pace.lane_due(pace.due(now), self.index).min(self.limit);
        due.saturating_sub(self.record.sent)
    }

    /// Sends what is pending, or composes what is due and sends that: one chunk.
    pub(super) fn turn(&mut self, now: Now, bench: &mut Bench) -> Turn {
        let fresh = self.pending.is_none();
        let mut chunk = self.pending.take().unwrap_or_else(|| {
            let mut chunk = std::mem::take(&mut bench.chunk);
            self.compose(now, bench, &mut chunk);
            chunk
        });
        let answers = matches!(self.link, Link::Relp(_));
        let turn = if chunk.is_empty() && !answers {
            if self.link.is_pushed() { Turn::Idle } else { Turn::Blocked }
        } else {
            let sent = match answers {
                true => self.exchange(now, bench, &mut chunk),
                false => self.send(now, bench, &mut chunk),
            };
            match sent {
                Ok(turn) => turn,
                Err(error) => {
                    self.record.cut = chunk.is_cut();
                    self.fail(&error);
                    Turn::Failed
                }
            }
        };
        let keep = !chunk.is_empty() && turn != Turn::Failed;
        if fresh {
            self.pending = keep.then(|| chunk.split_rest());
            bench.chunk = chunk;
        } else {
            self.pending = keep.then_some(chunk);
        }
        turn
    }

    fn compose(&mut self, now: Now, bench: &mut Bench, chunk: &mut Chunk) {
        chunk.clear();
        if !bench.composing || matches!(self.link, Link::Gone) {
            return;
        }
        let pace = bench.pace;
        let until = pace.lane_due(pace.due(now.mono), self.index).min(self.limit);
        let (framing, events_max, bytes_max) = match self.link {
            Link::Datagrams { group, .. } => (None, UDP_CHUNK_EVENTS.max(group), usize::MAX),
            Link::Relp(_) => (None, usize::MAX, bench.chunk_bytes),
            _ => (Some(bench.framing), usize::MAX, bench.chunk_bytes),
        };
        while self.next < until && chunk.events() < events_max && chunk.used_bytes() < bytes_max {
            let due = pace.lane_at(self.next, self.index, now.mono);
            let (stream, sequence) = (self.record.stream, self.next);
            let stamp = Stamp { run: bench.run, stream, sequence, at: wall_of(due, now) };
            chunk.push(&mut bench.composer, framing, stamp, due);
            self.next += 1;
        }
    }

    /// Over RELP: sends what the window takes, and hears what was acknowledged.
    fn exchange(&mut self, now: Now, bench: &mut Bench, chunk: &mut Chunk) -> io::Result<Turn> {
        let Link::Relp(relp) = &mut self.link else { return Ok(Turn::Failed) };
        let (mut heard, begun) = (Heard::default(), !chunk.is_empty());
        let outcome = relp.exchange(chunk, &mut heard);
        let waits = !relp.is_pushed() || (relp.unanswered() > 0 && !bench.composing);
        self.account(now, bench, heard.bytes, heard.taken);
        outcome?;
        Ok(match chunk.is_empty() {
            false => Turn::Blocked,
            true if begun => Turn::More,
            true if waits => Turn::Blocked,
            true => Turn::Idle,
        })
    }

    fn send(&mut self, now: Now, bench: &mut Bench, chunk: &mut Chunk) -> io::Result<Turn> {
        let mut refusals = 0;
        while !chunk.is_empty() {
            let outcome = match &mut self.link {
                Link::Datagrams { socket, group, .. } => {
                    udp_send::send(socket.as_fd(), chunk.rest(), chunk.ends(*group)).map(|sent| {
                        let before = chunk.rest().len();
                        let taken = chunk.take_events((sent * *group).min(chunk.left()));
                        (before - chunk.rest().len(), taken)
                    })
                }
                Link::Gone => return Ok(Turn::Failed),
                stream => stream.write(chunk.rest()).map(|n| (n, chunk.take_bytes(n))),
            };
            let refused = match outcome {
                Ok((bytes, taken)) => {
                    self.account(now, bench, bytes, taken);
                    continue;
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(error) => error,
            };
            let datagrams = matches!(self.link, Link::Datagrams { .. });
            let udp = self.record.transport == Transport::Udp;
            let no_room = refused.raw_os_error() == Some(libc::ENOBUFS);
            match refused.kind() {
                ErrorKind::WouldBlock if datagrams => return Ok(Turn::Later),
                ErrorKind::WouldBlock => return Ok(Turn::Blocked),
                ErrorKind::ConnectionRefused if udp => {
                    // The one before it, which the kernel had taken, came to nobody.
                    self.record.refused += 1;
                    bench.sums.refused += 1;
                    refusals += 1;
                    if refusals == REFUSALS_MAX {
                        return Ok(Turn::Later);
                    }
                }
                _ if datagrams && no_room => {
                    bench.sums.refused += 1;
                    return Ok(Turn::Later);
                }
                _ => return Err(refused),
            }
        }
        Ok(Turn::More)
    }

    fn account(&mut self, now: Now, bench: &mut Bench, bytes: usize, taken: Taken) {
        self.record.bytes += bytes as u64;
        bench.sums.bytes += bytes as u64;
        if taken.events == 0 {
            return;
        }
        self.record.sent += taken.events;
        bench.sums.events += taken.events;
        self.record.first.get_or_insert_with(|| wall_of(taken.first_due, now).0);
        self.record.last = Some(wall_of(taken.last_due, now).0);
        let lag_ns = duration_ns(now.mono.since(taken.first_due));
        bench.sums.lag_ns_max = bench.sums.lag_ns_max.max(lag_ns);
    }

    fn fail(&mut self, error: &io::Error) {
        self.record.error.get_or_insert_with(|| error.to_string());
        self.record.unanswered = self.link.unanswered();
        self.link = Link::Gone;
    }

    /// Gives up what is pending: the connection ends here.
    pub(super) fn give_up(&mut self) {
        if let Some(chunk) = self.pending.take() {
            self.record.cut = chunk.is_cut();
        }
        self.record.unanswered += self.link.unanswered();
    }

    /// Says that nothing more will come. True: the peer's answer is worth waiting for.
    pub(super) fn finish(&mut self) -> bool {
        match self.link.finish() {
            Ok(answers) => answers,
            Err(error) => {
                if matches!(self.link, Link::Datagrams { .. }) {
                    self.record.refused += 1;
                }
                self.fail_at_the_end(&error);
                false
            }
        }
    }

    /// Reads away what the peer says; true when it has closed. A reset shows here: bytes that the
    /// kernel took have not all arrived.
    pub(super) fn is_closed(&mut self) -> bool {
        match self.link.is_closed() {
            Ok(closed) => closed,
            Err(error) => {
                self.fail_at_the_end(&error);
                true
            }
        }
    }

    /// What was not answered is counted already.
    fn fail_at_the_end(&mut self, error: &io::Error) {
        self.record.error.get_or_insert_with(|| error.to_string());
        self.link = Link::Gone;
    }
}

/// The wall clock's time at a monotonic time not far from now.
fn wall_of(at: Mono, now: Now) -> Wall {
    Wall(now.wall.0 - (now.mono.0.cast_signed() - at.0.cast_signed()))
}
