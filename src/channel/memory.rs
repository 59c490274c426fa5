//! The `memory` channel: the ring with credit. Fast, and gone when the process is.

use std::sync::Arc;

use super::{Channel, ChannelKind, Parcel};
use crate::config::OptionDoc;
use crate::memory::Credit;
use crate::ring::{Bell, Ring};
use crate::telemetry::ChannelCounters;

pub const KIND: ChannelKind = ChannelKind {
    name: "memory",
    aliases: &[],
    summary: "batches wait in memory, in order; lost if the process is killed",
    options: OPTIONS,
};

pub const OPTIONS: &[OptionDoc] = &[
    OptionDoc {
        name: "capacity",
        default: Some(""),
        doc: "how much this channel may hold; an equal share of agent.memory by default",
    },
    OptionDoc {
        name: "when_full",
        default: Some("wait"),
        doc: "wait: TCP senders wait and a UDP socket is not read; \
              drop_newest: read, discard and count as channel_full",
    },
];

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

    fn is_empty(&self) -> bool {
        self.ring.is_empty()
    }

    fn bell(&self) -> &Bell {
        self.ring.bell()
    }
}
