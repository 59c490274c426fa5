//! The `memory` channel: the ring with credit. Fast, and gone when the process is.

use std::sync::Arc;

use super::{
    BuildError, Built, Channel, ChannelContext, ChannelKind, ChannelPlan, Parcel, WHEN_FULL,
    WhenFull, when_full,
};
use crate::config::{OptionDoc, Section};
use crate::memory::Credit;
use crate::ring::{Bell, Ring};
use crate::telemetry::ChannelCounters;

pub const KIND: ChannelKind = ChannelKind {
    name: "memory",
    aliases: &[],
    summary: "batches wait in memory, in order; lost if the process is killed",
    options: OPTIONS,
    plan,
};

pub const OPTIONS: &[OptionDoc] = &[
    OptionDoc {
        name: "capacity",
        default: Some(""),
        doc: "how much this channel may hold; an equal share of agent.memory by default",
    },
    WHEN_FULL,
];

struct MemoryPlan {
    when_full: WhenFull,
    capacity_bytes: Option<u64>,
}

fn plan(section: &Section) -> Box<dyn ChannelPlan> {
    let capacity_bytes = section.optional_size("capacity");
    Box::new(MemoryPlan { when_full: when_full(section), capacity_bytes })
}

/// The channel of a configuration that names none.
pub fn implied() -> Box<dyn ChannelPlan> {
    Box::new(MemoryPlan { when_full: WhenFull::Wait, capacity_bytes: None })
}

impl ChannelPlan for MemoryPlan {
    fn when_full(&self) -> WhenFull {
        self.when_full
    }

    fn memory_bytes(&self) -> Option<u64> {
        self.capacity_bytes
    }

    fn memory_key(&self) -> &'static str {
        "capacity"
    }

    fn build(&self, context: ChannelContext) -> Result<Built, BuildError> {
        let ChannelContext { name, credit, counters, .. } = context;
        let channel = Arc::new(MemoryChannel::new(name, credit, counters));
        Ok(Built { channel, keepers: Vec::new(), helpers: Vec::new(), notes: Vec::new() })
    }
}

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
