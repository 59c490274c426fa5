//! The `memory` channel: the ring with credit. Fast, and gone when the process is.

use std::sync::Arc;

use super::{Channel, Parcel};
use crate::memory::Credit;
use crate::ring::{Bell, Ring};
use crate::telemetry::ChannelCounters;

pub struct MemoryChannel {
    name: String,
    ring: Ring<Parcel>,
    credit: Arc<Credit>,
    counters: Arc<ChannelCounters>,
}

impl MemoryChannel {
    pub fn new(name: String, credit: Arc<Credit>, counters: Arc<ChannelCounters>) -> Self {
        let ring = Ring::new(credit.total() as usize);
        Self { name, ring, credit, counters }
    }
}

impl Channel for MemoryChannel {
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
        self.ring.offer(parcel);
    }

    fn poll(&self) -> Option<Parcel> {
        self.ring.poll()
    }

    fn evict(&self) -> Option<Parcel> {
        self.ring.poll()
    }

    fn is_empty(&self) -> bool {
        self.ring.is_empty()
    }

    fn bell(&self) -> &Bell {
        self.ring.bell()
    }
}
