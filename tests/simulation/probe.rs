//! A channel that notes what it accepted and passes everything on to the real one.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use flumen::channel::memory::MemoryChannel;
use flumen::channel::{Channel, Parcel};
use flumen::memory::Credit;
use flumen::ring::Bell;
use flumen::telemetry::{ChannelCounters, SinkCounters};

use crate::event::Id;

/// What one channel accepted, over all lives.
pub(crate) type Accepted = Arc<Mutex<BTreeSet<Id>>>;

pub(crate) struct Probe {
    pub(crate) inner: MemoryChannel,
    pub(crate) accepted: Accepted,
    /// What made room for something newer; that is no longer accepted.
    pub(crate) evicted: Accepted,
    /// Mutation: the next batch vanishes, and these counters say that it was written.
    pub(crate) swallow: AtomicBool,
    pub(crate) cooked: Arc<SinkCounters>,
}

impl Channel for Probe {
    fn name(&self) -> &str {
        self.inner.name()
    }

    fn credit(&self) -> &Arc<Credit> {
        self.inner.credit()
    }

    fn counters(&self) -> &ChannelCounters {
        self.inner.counters()
    }

    fn offer(&self, parcel: Parcel) {
        let mut accepted = self.accepted.lock().expect("one thread");
        for event in parcel.batch.events() {
            accepted.insert(Id::in_line(event.bytes, false).expect("a source sends our events"));
        }
        drop(accepted);
        if self.swallow.swap(false, Ordering::Relaxed) {
            let events = u64::from(parcel.batch.event_count());
            self.counters().gauge.leave(events, parcel.batch.event_bytes());
            self.cooked.written_events.add(events);
            return;
        }
        self.inner.offer(parcel);
    }

    fn poll(&self) -> Option<Parcel> {
        self.inner.poll()
    }

    fn evict(&self) -> Option<Parcel> {
        let parcel = self.inner.evict()?;
        let mut accepted = self.accepted.lock().expect("one thread");
        let mut evicted = self.evicted.lock().expect("one thread");
        for event in parcel.batch.events() {
            let id = Id::in_line(event.bytes, false).expect("it was put so");
            assert!(accepted.remove(&id) && evicted.insert(id), "{id:?} waited once");
        }
        Some(parcel)
    }

    fn is_empty(&self) -> bool {
        self.inner.is_empty()
    }

    fn bell(&self) -> &Bell {
        self.inner.bell()
    }
}
