//! What sources and sinks see of the channel: two rings, and the keeper between them.

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
    /// Offered and not yet in the log: what a stop at once would lose.
    unwritten_events: AtomicI64,
    unwritten_bytes: AtomicI64,
}

impl Shared {
    /// `first`: the number of the next batch; `ahead`: how many wait for sinks at most.
    pub(super) fn new(
        name: String,
        credit: Arc<Credit>,
        counters: Arc<ChannelCounters>,
        first: u64,
        ahead: usize,
    ) -> Self {
        Self {
            name,
            offered: Ring::new(credit.total() as usize),
            ready: Ring::new(ahead + 1),
            polled: Bell::default(),
            credit,
            hands: Arc::default(),
            counters,
            last: AtomicU64::new(first),
            handed: AtomicU64::new(0),
            owed: AtomicU64::new(0),
            unread: AtomicBool::new(false),
            deserted: AtomicBool::new(false),
            unwritten_events: AtomicI64::new(0),
            unwritten_bytes: AtomicI64::new(0),
        }
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

    fn offer(&self, parcel: Parcel) {
        let (events, bytes) = (parcel.batch.event_count(), parcel.batch.event_bytes());
        self.unwritten_events.fetch_add(i64::from(events), Ordering::AcqRel);
        self.unwritten_bytes.fetch_add(bytes as i64, Ordering::AcqRel);
        self.last.fetch_add(1, Ordering::AcqRel);
        self.offered.offer(parcel);
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
        // In this order: what is handed over is in the ring before it counts as such.
        let last = self.last.load(Ordering::Acquire);
        let handed = self.handed.load(Ordering::Acquire) >= last;
        handed && self.owed.load(Ordering::Acquire) == 0 && self.ready.is_empty()
    }

    fn discard(&self) {
        // Nobody reads any more: what is dropped here must not be handed over again.
        self.unread.store(true, Ordering::Release);
        while self.ready.poll().is_some() {}
        // As long as there is a keeper what was offered comes into the log.
        if self.deserted.load(Ordering::Acquire) {
            while self.offered.poll().is_some() {}
        }
    }

    fn unkept(&self) -> (u64, u64) {
        let some = |count: &AtomicI64| u64::try_from(count.load(Ordering::Acquire)).unwrap_or(0);
        (some(&self.unwritten_events), some(&self.unwritten_bytes))
    }

    fn keeps_frames(&self) -> bool {
        true
    }

    fn bell(&self) -> &Bell {
        self.ready.bell()
    }
}
