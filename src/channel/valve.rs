//! The one valve between a source thread and its channels: a free page AND credit of every channel
//! that waits. Accepted by all required channels or by none.
//!
//! A channel with `drop_newest` never closes the valve: it is asked for credit when the batch is
//! offered, and without it the batch is counted as put and lost there.

use std::sync::Arc;

use super::{Channel, CreditHold, Parcel};
use crate::limits;
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

/// How the fullest of the channels that wait stands: it is the one that will close the valve, and
/// whether the others move says nothing about it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Flow {
    /// Batches in it, and in the hands of its sinks.
    pub backlog: u32,
    /// Batches that have left it, ever.
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
        let mut lease = lease;
        if self.inlets.iter().any(|inlet| inlet.channel.keeps_frames()) {
            lease.wipe_edges();
        }
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
                credit: Some(CreditHold { credit: Arc::clone(credit), hands: None }),
                slip: later,
                first_at,
                offered_at: now.mono,
            });
            received.into_iter().for_each(ReceiptSlip::confirm);
        }
    }

    /// A slip for a batch of its own, to all channels, of what another slip is for.
    pub fn part_of(&self, slip: &ReceiptSlip) -> ReceiptSlip {
        slip.batch(limits::u32_of(self.inlets.len()))
    }

    /// Of what nothing is left for any channel.
    pub fn confirm(&self, slip: ReceiptSlip) {
        (1..self.inlets.len()).for_each(|_| slip.for_channel().confirm());
        slip.confirm();
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

    /// How the fullest channel stands: a snapshot.
    pub fn flow(&self) -> Flow {
        let waiting = self.inlets.iter().filter(|inlet| inlet.when_full == WhenFull::Wait);
        let flows = waiting.map(|inlet| {
            let credit = inlet.channel.credit();
            Flow { backlog: credit.total() - credit.free(), gone: credit.given() }
        });
        flows.max_by_key(|flow| flow.backlog).unwrap_or_default()
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

#[cfg(all(test, not(loom)))]
mod tests {
    use super::super::memory::MemoryChannel;
    use super::*;
    use crate::memory::Credit;
    use crate::telemetry::ChannelCounters;

    struct Nobody;

    impl Wake for Nobody {
        fn wake(&self) {}
    }

    #[test]
    fn a_channel_that_moves_says_nothing_of_one_that_does_not() {
        let channels: Vec<Arc<dyn Channel>> = ["stuck", "moving"]
            .map(|name| {
                let credit = Arc::new(Credit::new(8));
                let counters = Arc::<ChannelCounters>::default();
                Arc::new(MemoryChannel::new(name.to_owned(), credit, counters)) as Arc<dyn Channel>
            })
            .to_vec();
        let inlet = |channel: &Arc<dyn Channel>| Inlet {
            channel: Arc::clone(channel),
            when_full: WhenFull::Wait,
            counters: Arc::default(),
        };
        let waker: Arc<dyn Wake> = Arc::new(Nobody);
        let valve =
            Valve::new(Pool::new(8, 64 << 10), channels.iter().map(inlet).collect(), &waker);
        for batches in 1..=5 {
            let page = valve.open().expect("room");
            valve.offer(page, None, Mono(0), Now { mono: Mono(0), wall: crate::time::Wall(0) });
            drop(channels[1].poll().expect("offered"));
            assert_eq!(valve.flow(), Flow { backlog: batches, gone: 0 });
        }
    }
}
