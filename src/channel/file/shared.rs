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

use crate::channel::{Channel, Parcel};
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
    /// What the log has to deliver.
    pub(super) logged_events: AtomicU64,
    pub(super) logged_bytes: AtomicU64,
    /// Offered and not yet in the log: what a stop at once would lose.
    unwritten_events: AtomicI64,
    unwritten_bytes: AtomicI64,
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
            logged_events: AtomicU64::new(0),
            logged_bytes: AtomicU64::new(0),
            unwritten_events: AtomicI64::new(0),
            unwritten_bytes: AtomicI64::new(0),
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

    fn is_direct(&self, parcel: &Parcel) -> bool {
        let hold = parcel.credit.as_ref().and_then(|credit| credit.hands.as_ref());
        hold.is_some_and(|hands| Arc::ptr_eq(hands, &self.direct))
    }

    fn give_keeper(&self, parcel: Parcel) {
        let (events, bytes) = (parcel.batch.event_count(), parcel.batch.event_bytes());
        self.unwritten_events.fetch_add(i64::from(events), Ordering::AcqRel);
        self.unwritten_bytes.fetch_add(bytes as i64, Ordering::AcqRel);
        self.last.fetch_add(1, Ordering::AcqRel);
        self.offered.offer(parcel);
    }

    /// A batch is in the log.
    pub(super) fn written(&self, events: u64, bytes: u64) {
        self.unwritten_events.fetch_sub(events as i64, Ordering::AcqRel);
        self.unwritten_bytes.fetch_sub(bytes as i64, Ordering::AcqRel);
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
        if !self.may_pass() {
            return self.give_keeper(parcel);
        }
        if let Some(credit) = &mut parcel.credit {
            self.direct.fetch_add(1, Ordering::Relaxed);
            credit.hands = Some(Arc::clone(&self.direct));
        }
        self.ready.offer(parcel);
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
        while let Some(parcel) = self.ready.poll() {
            if kept && self.is_direct(&parcel) {
                self.give_keeper(parcel);
            }
        }
        while !kept && self.offered.poll().is_some() {}
    }

    fn unkept(&self) -> (u64, u64) {
        let some = |count: i64| u64::try_from(count).unwrap_or(0);
        if self.direct_max > 0 {
            // What sinks had of batches that passed by the log: all that waits, but for the log's.
            let (gauge, order) = (&self.counters.gauge, Ordering::Acquire);
            let rest = |all: i64, logged: &AtomicU64| some(all - logged.load(order) as i64);
            return (
                rest(gauge.events(), &self.logged_events),
                rest(gauge.bytes(), &self.logged_bytes),
            );
        }
        let load = |count: &AtomicI64| some(count.load(Ordering::Acquire));
        (load(&self.unwritten_events), load(&self.unwritten_bytes))
    }

    fn keeps_frames(&self) -> bool {
        true
    }

    fn bell(&self) -> &Bell {
        self.ready.bell()
    }
}
