//! Datagrams: from the kernel into slots, from the slots into the page, and an exact account of
//! those that never came.
//!
//! One ring of slots serves all UDP sockets of a worker. When the page is full in the middle of the
//! slots, the rest stays there and comes first into the next page.
//!
//! Stopping loses nothing unseen, also in the middle of a flood. A filter that refuses everything
//! is attached; what was queued is read, and the kernel counts what the filter refused. Then the
//! socket is connected to itself: from now on no datagram of anybody else finds it, and senders are
//! told. Only then, when those under way have come to rest, the kernel's drop counter is read for
//! the last time; between reading it on an open socket and closing that, more would be dropped
//! uncounted. So sent = received + lost{kernel} holds to the event. With GRO the kernel counts one
//! drop for each merged packet: then it is a lower bound.

use std::io;
use std::net::SocketAddr;
use std::os::fd::AsFd;
use std::sync::Arc;
use std::time::Duration;

use super::framing::Rules;
use super::port::Port;
use super::reverse::Reverse;
use super::sender_headers::Teller;
use super::senders::Senders;
use super::single::Expander;
use super::text::{holds_control, parse_pri, trim};
use super::warden::Warden;
use crate::event::{EventHead, Full, HeaderMap, Marks, ORIGIN_BYTES_MAX, Origin, Page};
use crate::limits;
use crate::sys::udp_receive::{ReceiveRing, SLOT_BYTES};
use crate::telemetry::{LostReason, SourceCounters};
use crate::time::{Mono, Now, Wall};

/// Datagrams a system call may bring.
pub const SLOTS: usize = 64;

/// System calls in one visit: 1024 datagrams, about a millisecond, until others have their turn.
const CALLS_PER_VISIT: usize = 16;

/// The kernel's drop counter is read at most so often.
const DROPS_EVERY: Duration = Duration::from_millis(100);

/// Packets that were under way when a socket was changed (filtered, connected) are queued or
/// counted after this.
const QUIET: Duration = Duration::from_millis(5);

/// The kernel's times of several sockets come in no order: how far one may lie before the first of
/// its page. A page's times span 4 s.
const EARLIER_NS: i64 = 1_000_000_000;

/// What a piece of a datagram takes of a page beside its bytes at most: a newline, its slot, and
/// those of its fields.
const PIECE_BYTES: usize = 1 + 3 * 16;

const _: () = assert!(page_bytes_min(limits::EVENT_BYTES_MIN) <= limits::BATCH_BYTES_DEFAULT);

/// What a visit left behind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Visit {
    Drained,
    Bound,
    Full,
}

/// What a datagram may need beside its text.
#[derive(Clone, Copy, Default)]
pub struct Aids<'a> {
    /// Some come compressed.
    pub expander: Option<&'a Expander>,
    /// Their senders' names are wanted.
    pub reverse: Option<&'a Reverse>,
    /// Headers say who they are.
    pub teller: Option<&'a Teller>,
}

impl Aids<'_> {
    fn tell(&self, origin: Origin, now: Now, labels: &mut HeaderMap) -> Option<Arc<str>> {
        let host = self.reverse.and_then(|reverse| reverse.of(origin.peer, now.mono));
        if let Some(teller) = self.teller {
            teller.tell(origin, host.as_deref(), labels);
        }
        host
    }
}

/// All UDP sockets of one worker.
pub struct Datagrams {
    sockets: Vec<Receiver>,
    ring: ReceiveRing,
    /// The next datagram to unload: socket, slot, and how many of the slot are done.
    waiting: Option<(usize, usize, usize)>,
    senders: Senders,
    /// Bytes, times and addresses are kept as they came.
    exact: bool,
    counters: Arc<SourceCounters>,
    /// When to read the drop counters again; never, while nothing comes.
    drops_due: Mono,
    drops_read: Mono,
    /// After `stop`: from then on an empty queue stays empty.
    quiet_at: Option<Mono>,
    /// The sockets are connected to themselves: nothing reaches them, so nothing is dropped.
    deaf: bool,
}

pub struct Receiver {
    socket: Port,
    listener: u16,
    /// What it is bound to, of UDP.
    bound: Option<SocketAddr>,
    /// The kernel's counter as we saw it last; it wraps.
    drops: u32,
    /// When its queue was last seen empty.
    drained_at: Option<Mono>,
}

impl Receiver {
    pub fn new(socket: Port, listener: u16) -> Self {
        // What was dropped before it was ours is not our loss.
        let before = if socket.is_kept() { socket.drops() } else { Ok(0) };
        let (drops, bound) = (before.unwrap_or(0), socket.internet());
        Self { socket, listener, bound, drops, drained_at: None }
    }

    pub fn socket_mut(&mut self) -> &mut Port {
        &mut self.socket
    }
}

impl Datagrams {
    pub fn new(sockets: Vec<Receiver>, counters: Arc<SourceCounters>) -> Self {
        // Without a socket the slots are a formality.
        let (slots, bytes) = if sockets.is_empty() { (1, 1) } else { (SLOTS, SLOT_BYTES) };
        Self::with_ring(sockets, ReceiveRing::new(slots, bytes), counters)
    }

    fn with_ring(sockets: Vec<Receiver>, ring: ReceiveRing, counters: Arc<SourceCounters>) -> Self {
        Self {
            sockets,
            ring,
            waiting: None,
            senders: Senders::default(),
            exact: false,
            counters,
            drops_due: Mono::MAX,
            drops_read: Mono(0),
            quiet_at: None,
            deaf: false,
        }
    }

    /// Datagrams are kept as they came: all bytes, the kernel's times, and where each was sent to.
    /// Their sockets tell the last two.
    pub fn exact(mut self, exact: bool) -> Self {
        self.exact = exact;
        self
    }

    pub fn memory_bytes() -> usize {
        ReceiveRing::memory_bytes(SLOTS, SLOT_BYTES)
    }

    pub fn sockets(&mut self) -> impl Iterator<Item = &mut Receiver> {
        self.sockets.iter_mut()
    }

    pub fn len(&self) -> usize {
        self.sockets.len()
    }

    pub fn is_empty(&self) -> bool {
        self.sockets.is_empty()
    }

    /// Reads from one socket until there is no more, the bound, or a full page.
    pub fn visit(
        &mut self,
        index: usize,
        page: &mut Page,
        now: Now,
        rules: &Rules,
        warden: &mut Warden,
        aids: Aids<'_>,
    ) -> Visit {
        if self.unload(page, now, rules, warden, aids).is_err() {
            return Visit::Full;
        }
        self.drops_due = self.drops_due.min(self.drops_read.after(DROPS_EVERY));
        for _ in 0..CALLS_PER_VISIT {
            let receiver = &mut self.sockets[index];
            // Fewer datagrams than slots: the queue was empty, and what comes later rings again.
            // While stopping it is asked until it says so.
            let emptied = match self.ring.receive(receiver.socket.as_fd()) {
                Ok(count) => {
                    receiver.drained_at = None;
                    count < self.ring.slots() && self.quiet_at.is_none()
                }
                Err(error) => {
                    if error.kind() != io::ErrorKind::WouldBlock {
                        // Such as an ICMP answer to nothing we sent: it is taken off the socket by
                        // being told, and says nothing about what comes next.
                        self.counters.errors.add(1);
                        continue;
                    }
                    receiver.drained_at = Some(now.mono);
                    return Visit::Drained;
                }
            };
            self.waiting = Some((index, 0, 0));
            if self.unload(page, now, rules, warden, aids).is_err() {
                return Visit::Full;
            }
            if emptied {
                return Visit::Drained;
            }
        }
        Visit::Bound
    }

    /// Moves what stands in the slots into the page.
    fn unload(
        &mut self,
        page: &mut Page,
        now: Now,
        rules: &Rules,
        warden: &mut Warden,
        aids: Aids<'_>,
    ) -> Result<(), Full> {
        let Some((socket, mut slot, mut done)) = self.waiting else { return Ok(()) };
        let Receiver { listener, bound, .. } = self.sockets[socket];
        if self.exact && page.is_empty() {
            page.allow_earlier(EARLIER_NS);
        }
        while slot < self.ring.count() {
            let filled = self.ring.slot(slot);
            let origin =
                Origin { credentials: filled.credentials, ..Origin::new(filled.peer, listener) };
            let marks = if filled.truncated { Marks::TRUNCATED } else { Marks::NONE };
            let address = filled.peer.map(|peer| peer.ip());
            let (senders, counters, guarded) =
                (&mut self.senders, &self.counters, !warden.is_idle());
            let (exact, at) = (self.exact, filled.at_ns.map_or(now.wall, Wall));
            let local = bound.filter(|_| exact).map(|bound| {
                SocketAddr::new(filled.local.unwrap_or_else(|| bound.ip()), bound.port())
            });
            let mut unloaded = || {
                for text in filled.datagrams().skip(done) {
                    if guarded && let Some(why) = warden.datagram(address, now) {
                        // It was received, though no page holds it.
                        counters.received_events.add(1);
                        counters.received_bytes.add(trim(text).len() as u64);
                        counters.lost.add(why, 1);
                        done += 1;
                        continue;
                    }
                    let mut place = || {
                        let told = |labels: &mut _| aids.tell(origin, now, labels);
                        let origin = senders.find(page, (origin, local), told)?;
                        let head = EventHead { at, origin, pri: None, marks };
                        match aids.expander {
                            _ if exact => append_exactly(page, text, head, rules),
                            None => append(page, text, head, rules),
                            Some(expander) => {
                                expand(expander, page, text, filled.peer, head, rules)
                            }
                        }
                    };
                    if let Err(full) = place() {
                        warden.give_back(address);
                        return Err(full);
                    }
                    done += 1;
                }
                Ok(())
            };
            if let Err(full) = unloaded() {
                self.waiting = Some((socket, slot, done));
                return Err(full);
            }
            (slot, done) = (slot + 1, 0);
        }
        self.waiting = None;
        Ok(())
    }

    /// Datagrams that stand in the slots and in no page yet.
    pub fn is_waiting(&self) -> bool {
        self.waiting.is_some()
    }

    /// When `count_drops` wants to be called.
    pub fn drops_due(&self) -> Mono {
        self.drops_due
    }

    /// When, after `stop`, the queues are to be read for the last time.
    pub fn quiet_at(&self) -> Mono {
        self.quiet_at.unwrap_or(Mono::MAX)
    }

    /// Counts what the kernel has dropped, if it is time to look.
    pub fn count_drops(&mut self, now: Now) {
        if now.mono >= self.drops_due {
            self.read_drops();
            self.drops_read = now.mono;
            self.drops_due = Mono::MAX;
        }
    }

    /// The same for a socket that is not being read: then every packet may be a dropped one.
    pub fn watch_drops(&mut self) {
        if !self.sockets.is_empty() {
            self.drops_due = self.drops_due.min(self.drops_read.after(DROPS_EVERY));
        }
    }

    fn read_drops(&mut self) {
        for receiver in &mut self.sockets {
            let Ok(drops) = receiver.socket.drops() else { continue };
            let fresh = drops.wrapping_sub(receiver.drops);
            receiver.drops = drops;
            if fresh > 0 {
                self.counters.lost.add(LostReason::Kernel, u64::from(fresh));
            }
        }
    }

    /// Lets nothing more in; what is queued is still read.
    pub fn stop(&mut self, now: Now) {
        for receiver in &mut self.sockets {
            if let Err(error) = receiver.socket.refuse() {
                tracing::warn!("a socket could not be shut before it is drained: {error}");
            }
        }
        self.quiet_at = Some(now.mono.after(QUIET));
    }

    /// Whether, after `stop`, the last datagram is in a page. Then the sockets are closed and the
    /// last drops counted. Asked again and again: it goes from filtered to deaf to closed.
    pub fn finish(&mut self) -> bool {
        let Some(quiet_at) = self.quiet_at else { return false };
        if self.sockets.is_empty() {
            return true;
        }
        // Seen empty when it is quiet: no wake will come for what a race let in. What lies in one
        // that others keep is theirs.
        let empty = |receiver: &Receiver| {
            receiver.socket.is_kept() || receiver.drained_at.is_some_and(|at| at >= quiet_at)
        };
        if self.is_waiting() || !self.sockets.iter().all(empty) {
            return false;
        }
        if !self.deaf {
            self.deaf = true;
            for receiver in &self.sockets {
                if let Err(error) = receiver.socket.deafen() {
                    tracing::warn!("the last drops of a socket may go uncounted: {error}");
                }
            }
            let latest = self.sockets.iter().filter_map(|receiver| receiver.drained_at).max();
            self.quiet_at = latest.map(|at| at.after(QUIET));
            return false;
        }
        self.read_drops();
        self.sockets.clear();
        self.quiet_at = Some(Mono::MAX);
        self.drops_due = Mono::MAX;
        true
    }
}

impl Drop for Datagrams {
    /// Whoever stops us in a hurry still gets the count of what was dropped until now.
    fn drop(&mut self) {
        self.read_drops();
    }
}

/// The smallest page that takes the longest datagram whole, however many pieces it is split into:
/// one that found no room in an empty page would wait for ever, and all others behind it.
pub const fn page_bytes_min(event_bytes_max: usize) -> usize {
    page_bytes_for(SLOT_BYTES, event_bytes_max)
}

/// The same for whole texts of another length.
pub const fn page_bytes_for(text_bytes_max: usize, event_bytes_max: usize) -> usize {
    ORIGIN_BYTES_MAX + text_bytes_max + text_bytes_max.div_ceil(event_bytes_max) * PIECE_BYTES
}

/// One datagram as an event with every byte. A plan that asks for it has no shorter `event_max`.
fn append_exactly(
    page: &mut Page,
    bytes: &[u8],
    head: EventHead,
    rules: &Rules,
) -> Result<(), Full> {
    let control = if holds_control(bytes) { Marks::CONTROL } else { Marks::NONE };
    let pri = if rules.want_pri { parse_pri(bytes) } else { None };
    page.append_event(bytes, EventHead { pri, marks: head.marks.with(control), ..head })
}

/// One datagram as an event, or as several when it is longer than the longest: all or none of it.
pub fn append(page: &mut Page, text: &[u8], head: EventHead, rules: &Rules) -> Result<(), Full> {
    let text = trim(text);
    let control = if holds_control(text) { Marks::CONTROL } else { Marks::NONE };
    let pri = if rules.want_pri { parse_pri(text) } else { None };
    let marks = head.marks.with(control);
    if text.len() <= rules.event_bytes_max {
        return page.append_event(text, EventHead { pri, marks, ..head });
    }
    let pieces = text.len().div_ceil(rules.event_bytes_max);
    if page.free_bytes() < text.len() + pieces * PIECE_BYTES {
        return Err(Full);
    }
    for (index, piece) in text.chunks(rules.event_bytes_max).enumerate() {
        let pri = if index == 0 { pri } else { None };
        let marks = marks.with(Marks::SPLIT);
        page.append_event(piece, EventHead { pri, marks, ..head })?;
    }
    Ok(())
}

/// The same of one that may be compressed; what cannot be expanded is marked.
fn expand(
    expander: &Expander,
    page: &mut Page,
    text: &[u8],
    peer: Option<SocketAddr>,
    head: EventHead,
    rules: &Rules,
) -> Result<(), Full> {
    expander.datagram(text, peer, |text, good| {
        let marks = if good { head.marks } else { head.marks.with(Marks::UNPARSED) };
        append(page, text, EventHead { marks, ..head }, rules)
    })
}

#[cfg(test)]
mod tests;
