//! The one valve between a source thread and its channels: a free page AND credit of every channel
//! that waits. Accepted by all required channels or by none.
//!
//! A channel with `drop_newest` never closes the valve: it is asked for credit when the batch is
//! offered, and without it the batch is counted as put and lost there.

use std::sync::Arc;

use super::{Channel, CreditHold, Parcel};
use crate::memory::receipt::Reached;
use crate::memory::{Lease, Pool, ReceiptSlip};
use crate::ring::{Bell, Seat, Wake};
use crate::telemetry::{InletCounters, LostReason};
use crate::time::{Mono, Now};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WhenFull {
    Wait,
    DropNewest,
}

/// One source thread's way into one channel.
pub struct Inlet {
    pub channel: Arc<dyn Channel>,
    pub when_full: WhenFull,
    pub counters: Arc<InletCounters>,
}

/// How the channels that wait stand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Flow {
    /// Batches in the fullest, and in the hands of its sinks.
    pub backlog: u32,
    /// Batches that have left them, ever.
    pub gone: u64,
}

pub struct Valve {
    pool: Arc<Pool>,
    inlets: Vec<Inlet>,
    /// The waking side of the source thread, at the pool's bell and at each waiting channel's.
    pool_seat: Seat,
    seats: Vec<Option<Seat>>,
}

impl Valve {
    pub fn new(pool: Arc<Pool>, inlets: Vec<Inlet>, waker: &Arc<dyn Wake>) -> Self {
        let pool_seat = pool.bell().join(Arc::clone(waker));
        let seat = |inlet: &Inlet| {
            let waits = inlet.when_full == WhenFull::Wait;
            waits.then(|| inlet.channel.credit().bell().join(Arc::clone(waker)))
        };
        let seats = inlets.iter().map(seat).collect();
        Self { pool, inlets, pool_seat, seats }
    }

    /// A page to fill, with credit of every channel that waits; or nothing at all.
    pub fn open(&self) -> Option<Lease> {
        // Looked at before anything is taken: what is taken for nothing wakes others when it is
        // given back, and two who lack the same channel would wake each other for ever.
        if !self.may_open() {
            return None;
        }
        for (index, inlet) in self.inlets.iter().enumerate() {
            if inlet.when_full == WhenFull::Wait && !inlet.channel.credit().take() {
                self.give(index);
                return None;
            }
        }
        let lease = self.pool.take();
        if lease.is_none() {
            self.give(self.inlets.len());
        }
        lease
    }

    /// Hands the batch to every channel.
    pub fn offer(&self, lease: Lease, mut slip: Option<ReceiptSlip>, first_at: Mono, now: Now) {
        let batch = lease.seal();
        let events = u64::from(batch.event_count());
        let bytes = batch.event_bytes();
        let last = self.inlets.len() - 1;
        for (index, inlet) in self.inlets.iter().enumerate() {
            let own = if index == last {
                slip.take()
            } else {
                slip.as_ref().map(ReceiptSlip::for_channel)
            };
            inlet.counters.put_batches.add(1);
            inlet.counters.put_bytes.add(bytes);
            let credit = inlet.channel.credit();
            if inlet.when_full == WhenFull::DropNewest && !credit.take() {
                inlet.counters.lost.add(LostReason::ChannelFull, events);
                inlet.counters.put_events.add(events);
                continue;
            }
            inlet.channel.counters().gauge.enter(events, bytes);
            inlet.counters.put_events.add(events);
            let (received, later) = match own {
                Some(slip) if slip.wanted() == Reached::Received => (Some(slip), None),
                other => (None, other),
            };
            inlet.channel.offer(Parcel {
                batch: batch.clone(),
                _credit: CreditHold(Arc::clone(credit)),
                slip: later,
                first_at,
                offered_at: now.mono,
            });
            received.into_iter().for_each(ReceiptSlip::confirm);
        }
    }

    /// Gives back the page and the credit of a filling that found nothing.
    pub fn give_back(&self, lease: Lease) {
        drop(lease);
        self.give(self.inlets.len());
    }

    /// Whether `open` might succeed: a snapshot.
    pub fn may_open(&self) -> bool {
        let waiting = |inlet: &&Inlet| inlet.when_full == WhenFull::Wait;
        self.pool.free() > 0
            && self.inlets.iter().filter(waiting).all(|inlet| inlet.channel.credit().free() > 0)
    }

    /// How the channels that wait stand: a snapshot.
    pub fn flow(&self) -> Flow {
        let waiting = self.inlets.iter().filter(|inlet| inlet.when_full == WhenFull::Wait);
        waiting.fold(Flow { backlog: 0, gone: 0 }, |flow, inlet| {
            let credit = inlet.channel.credit();
            let backlog = flow.backlog.max(credit.total() - credit.free());
            Flow { backlog, gone: flow.gone + credit.given() }
        })
    }

    /// Every ring is empty: nobody has work waiting.
    pub fn drained(&self) -> bool {
        self.inlets.iter().all(|inlet| inlet.channel.is_empty())
    }

    /// Some consumer sleeps: what is offered now is taken at once.
    pub fn awaited(&self) -> bool {
        self.inlets.iter().any(|inlet| inlet.channel.bell().has_sleepers())
    }

    /// Says "about to sleep" at every bell; look at `may_open` once more afterwards.
    pub fn doze(&self) {
        self.bells().for_each(|(bell, seat)| bell.doze(seat));
    }

    pub fn rise(&self) {
        self.bells().for_each(|(bell, seat)| bell.rise(seat));
    }

    fn bells(&self) -> impl Iterator<Item = (&Bell, Seat)> {
        let channels = self.inlets.iter().zip(&self.seats);
        let credits = channels
            .filter_map(|(inlet, seat)| seat.map(|seat| (inlet.channel.credit().bell(), seat)));
        std::iter::once((self.pool.bell(), self.pool_seat)).chain(credits)
    }

    /// Credit of the first `inlets` goes back.
    fn give(&self, inlets: usize) {
        for inlet in &self.inlets[..inlets] {
            if inlet.when_full == WhenFull::Wait {
                inlet.channel.credit().give();
            }
        }
    }
}
