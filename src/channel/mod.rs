//! Where batches wait between a source and a sink.
//!
//! Promises: `offer` cannot fail, because credit was taken before the batch was filled; order is
//! kept for each offering thread; what was offered is polled once, and its credit comes back when
//! the `Parcel` is dropped.

#[cfg(not(loom))]
pub mod file;
pub mod memory;
pub mod refusals;
#[cfg(not(loom))]
mod registry;
pub mod selector;
pub mod sieve;
pub mod tap;
pub mod valve;

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use crate::event::Page;
use crate::limits;
use crate::memory::{Credit, Lease, ReceiptSlip, Shared};
use crate::ring::{Bell, Seat, Wake};
use crate::telemetry::ChannelCounters;
use crate::time::{Mono, Now};

pub use refusals::{Refusal, Refusals};
#[cfg(not(loom))]
pub use registry::{
    BuildError, Built, CHANNELS, ChannelContext, ChannelKind, ChannelPlan, IMPLIED, implied,
};
pub use selector::{SELECTOR, Selector};
pub use sieve::Sieve;
pub use tap::Tap;
pub use valve::{Flow, Inlet, Valve, WhenFull};

/// One batch in one channel: dropped, its page goes home and its credit is given back.
pub struct Parcel {
    // The order of these two is the order of their drop: a source that sees credit finds a page.
    pub batch: Shared,
    /// None: the page is the channel's own, read back from a disk.
    credit: Option<CreditHold>,
    /// This channel's duty towards an acknowledging source.
    pub slip: Option<ReceiptSlip>,
    /// When the batch's first event came: block deadlines count from here.
    pub first_at: Mono,
    pub offered_at: Mono,
    /// What other sinks of a group said of its events.
    pub refusals: Option<Box<Refusals>>,
}

struct CreditHold {
    credit: Arc<Credit>,
    /// How many of them sinks have, if anybody counts.
    hands: Option<Arc<AtomicU32>>,
    /// It passes by its channel's log: only memory has it.
    passes: bool,
}

/// So many events, and their bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Amount {
    pub events: u64,
    pub bytes: u64,
}

impl Amount {
    pub fn of(page: &Page) -> Self {
        Self { events: u64::from(page.event_count()), bytes: page.event_bytes() }
    }

    pub fn add(&mut self, more: Self) {
        self.events += more.events;
        self.bytes += more.bytes;
    }

    /// All of it, or nothing.
    pub fn when(self, so: bool) -> Self {
        if so { self } else { Self::default() }
    }
}

impl Parcel {
    /// It passes by the log that its channel has: what of it leaves the channel is told apart.
    pub fn passes(&self) -> bool {
        self.credit.as_ref().is_some_and(|credit| credit.passes)
    }

    /// What other sinks said of one of its events.
    pub fn refusal(&self, index: u32) -> Option<&Refusal> {
        let said = &self.refusals.as_ref()?.said;
        said.get(limits::usize_of(index))?.as_ref()
    }
}

impl Drop for CreditHold {
    fn drop(&mut self) {
        if let Some(hands) = &self.hands {
            // Relaxed: a number; the bell that `give` rings orders it for whoever waits.
            hands.fetch_sub(1, Ordering::Relaxed);
        }
        self.credit.give();
    }
}

pub trait Channel: Send + Sync {
    fn name(&self) -> &str;
    fn credit(&self) -> &Arc<Credit>;
    fn counters(&self) -> &ChannelCounters;

    /// Adds a batch whose credit was taken.
    fn offer(&self, parcel: Parcel);

    fn poll(&self) -> Option<Parcel>;

    /// Nothing can be polled now: a snapshot.
    fn is_empty(&self) -> bool;

    /// Nothing will be polled any more, unless something is offered. A durable channel may be empty
    /// for a moment and still have much.
    fn is_drained(&self) -> bool {
        self.is_empty()
    }

    /// Gives up the batch that has waited longest, for a newer one; None: it gives up none.
    fn evict(&self) -> Option<Parcel> {
        None
    }

    /// So much of what was polled waits no more: written, or refused. Of that, `passing` is of
    /// parcels that pass.
    fn leave(&self, all: Amount, _passing: Amount) {
        self.counters().gauge.leave(all.events, all.bytes);
    }

    /// Throws away what nobody will poll. What that was is still in the gauge.
    fn discard(&self) {
        while self.poll().is_some() {}
    }

    /// Of the events and bytes that wait, those that will not be there any more after the process
    /// has ended.
    fn unkept(&self) -> (u64, u64) {
        let gauge = &self.counters().gauge;
        let some = |count: i64| u64::try_from(count).unwrap_or(0);
        (some(gauge.events()), some(gauge.bytes()))
    }

    /// It puts what it gets into a log of its own, whatever its sinks do.
    fn logs(&self) -> bool {
        false
    }

    /// It writes pages as they lie in memory: they must hold nothing of earlier fillings.
    fn keeps_frames(&self) -> bool {
        false
    }

    /// Rung at each offer.
    fn bell(&self) -> &Bell;

    // ── for sinks ──

    /// A seat for a thread that polls; before the start only.
    fn listen(&self, waker: Arc<dyn Wake>) -> Ear {
        Ear { channel: self.bell().join(waker), group: None }
    }

    /// Says "about to sleep"; look at `is_empty` once more afterwards.
    fn doze(&self, ear: Ear) {
        self.bell().doze(ear.channel);
    }

    fn rise(&self, ear: Ear) {
        self.bell().rise(ear.channel);
    }

    /// Who was rung for a batch that it cannot take now rings on.
    fn pass_on(&self) {
        self.bell().ring_one();
    }

    /// Before it polls a sink says what time it is.
    fn tick(&self, _now: Now) {}

    /// When it should look again though nobody rings.
    fn look_at(&self) -> Mono {
        Mono::MAX
    }

    /// A batch of which nothing was delivered, for another sink. None: it goes there. With no other
    /// it stays with who has it.
    fn give_back(&self, parcel: Parcel, _now: Now) -> Option<Parcel> {
        Some(parcel)
    }

    /// Another sink can be asked for what this one's next hop refuses of the batch.
    fn asks(&self, _parcel: &Parcel) -> bool {
        false
    }

    /// A batch of events that this sink's next hop refuses for ever, for another sink that `asks`
    /// knows of. None: they are its business.
    fn refuse(&self, parcel: Parcel, _now: Now) -> Option<Parcel> {
        Some(parcel)
    }

    /// A page like this one to take events out of; None: there is none free for that.
    fn copy(&self, _page: &Page) -> Option<Lease> {
        None
    }

    /// The sink delivers nothing any more, and what comes is better left to another one.
    fn failing(&self, _now: Now) {}

    /// It might again.
    fn working(&self) {}

    /// Another sink takes what this one does not.
    fn is_covered(&self) -> bool {
        false
    }
}

/// Where a sink's thread hears of batches.
#[derive(Clone, Copy, Debug)]
pub struct Ear {
    channel: Seat,
    /// In a group, of its turn.
    pub group: Option<Seat>,
}
