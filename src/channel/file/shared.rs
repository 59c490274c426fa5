//! What sources and sinks see of the channel: two rings, and the keeper between them.
//!
//! ```text
//!   offer ─┬─▶ offered ──▶ keeper ──▶ ready ──▶ poll
//!          └────────── spill ──────────▲
//! ```
//! A `spill` channel passes batches by its keeper as long as nothing else waits and sinks hold
//! less than a half of its credit. What one source offers stays in order: while anything of it is
//! with the keeper, all that follows goes there too.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU32, AtomicU64, Ordering};

use crate::channel::{Amount, Channel, Parcel};
use crate::memory::Credit;
use crate::ring::{Bell, Ring};
use crate::telemetry::ChannelCounters;

pub(super) struct Shared {
    name: String,
    /// On their way to the log; each holds credit, so the ring has room.
    pub(super) offered: Ring<Parcel>,
    /// For the sinks.
    pub(super) ready: Ring<Parcel>,
    /// Rung when a sink takes one.
    pub(super) polled: Bell,
    credit: Arc<Credit>,
    /// Batches in the sinks' hands, or ready for them, that hold credit.
    pub(super) hands: Arc<AtomicU32>,
    pub(super) counters: Arc<ChannelCounters>,
    /// The number behind the last batch that was offered.
    last: AtomicU64,
    /// The number behind the last batch that was handed over.
    pub(super) handed: AtomicU64,
    /// Batches that sinks gave up, and that are to be handed over again.
    pub(super) owed: AtomicU64,
    /// All sinks have ended.
    pub(super) unread: AtomicBool,
    /// The keeper has ended.
    pub(super) deserted: AtomicBool,
    /// Of a `spill` channel: how many batches may pass by the log, and how many are on that way or
    /// in the sinks' hands.
    direct_max: u32,
    direct: Arc<AtomicU32>,
    /// Offered, and neither in the log nor written by a sink: what a stop at once would lose.
    unkept_events: AtomicI64,
    unkept_bytes: AtomicI64,
}

impl Shared {
    /// `first`: the number of the next batch; `ahead`: how many wait for sinks at most, beside the
    /// `direct_max` that never see the log.
    pub(super) fn new(
        name: String,
        credit: Arc<Credit>,
        counters: Arc<ChannelCounters>,
        first: u64,
        ahead: usize,
        direct_max: u32,
    ) -> Self {
        Self {
            name,
            offered: Ring::new(credit.total() as usize),
            ready: Ring::new(ahead + 1 + credit.total() as usize),
            polled: Bell::default(),
            credit,
            hands: Arc::default(),
            counters,
            last: AtomicU64::new(first),
            handed: AtomicU64::new(0),
            owed: AtomicU64::new(0),
            unread: AtomicBool::new(false),
            deserted: AtomicBool::new(false),
            direct_max,
            direct: Arc::default(),
            unkept_events: AtomicI64::new(0),
            unkept_bytes: AtomicI64::new(0),
        }
    }

    /// Nothing is with the keeper.
    fn is_passed(&self) -> bool {
        // In this order: what is handed over is in the ring before it counts as such.
        let last = self.last.load(Ordering::Acquire);
        let handed = self.handed.load(Ordering::Acquire) >= last;
        handed && self.owed.load(Ordering::Acquire) == 0
    }

    fn may_pass(&self) -> bool {
        self.direct.load(Ordering::Relaxed) < self.direct_max
            && self.is_passed()
            && !self.unread.load(Ordering::Acquire)
    }

    fn give_keeper(&self, parcel: Parcel) {
        self.last.fetch_add(1, Ordering::AcqRel);
        self.offered.offer(parcel);
    }

    /// It is in the log, or a sink has it.
    pub(super) fn kept(&self, amount: Amount) {
        self.unkept_events.fetch_sub(amount.events as i64, Ordering::AcqRel);
        self.unkept_bytes.fetch_sub(amount.bytes as i64, Ordering::AcqRel);
    }
}

impl Channel for Shared {
    fn name(&self) -> &str {
        &self.name
    }

    fn credit(&self) -> &Arc<Credit> {
        &self.credit
    }

    fn counters(&self) -> &ChannelCounters {
        &self.counters
    }

    fn offer(&self, mut parcel: Parcel) {
        let amount = Amount::of(&parcel.batch);
        self.unkept_events.fetch_add(amount.events as i64, Ordering::AcqRel);
        self.unkept_bytes.fetch_add(amount.bytes as i64, Ordering::AcqRel);
        if !self.may_pass() {
            return self.give_keeper(parcel);
        }
        if let Some(credit) = &mut parcel.credit {
            self.direct.fetch_add(1, Ordering::Relaxed);
            credit.hands = Some(Arc::clone(&self.direct));
            credit.passes = true;
        }
        self.ready.offer(parcel);
    }

    fn leave(&self, all: Amount, passing: Amount) {
        self.counters.gauge.leave(all.events, all.bytes);
        if passing != Amount::default() {
            self.kept(passing);
        }
    }

    fn poll(&self) -> Option<Parcel> {
        let parcel = self.ready.poll()?;
        self.polled.ring();
        Some(parcel)
    }

    fn is_empty(&self) -> bool {
        self.ready.is_empty()
    }

    fn is_drained(&self) -> bool {
        self.is_passed() && self.ready.is_empty()
    }

    fn discard(&self) {
        // Nobody reads any more: what is dropped here must not be handed over again.
        self.unread.store(true, Ordering::Release);
        // As long as there is a keeper what was offered comes into the log.
        let kept = !self.deserted.load(Ordering::Acquire);
        while let Some(mut parcel) = self.ready.poll() {
            if kept && parcel.passes() {
                parcel.credit.iter_mut().for_each(|credit| credit.passes = false);
                self.give_keeper(parcel);
            }
        }
        while !kept && self.offered.poll().is_some() {}
    }

    fn unkept(&self) -> (u64, u64) {
        let load = |count: &AtomicI64| u64::try_from(count.load(Ordering::Acquire)).unwrap_or(0);
        (load(&self.unkept_events), load(&self.unkept_bytes))
    }

    fn logs(&self) -> bool {
        true
    }

    fn keeps_frames(&self) -> bool {
        true
    }

    fn bell(&self) -> &Bell {
        self.ready.bell()
    }
}
