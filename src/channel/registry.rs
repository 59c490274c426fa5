//! Which channels there are, how they are planned from their sections, and built.

use std::sync::Arc;

use super::memory::MemoryChannel;
use super::{Channel, WhenFull, file};
use crate::config::{OptionDoc, Section};
use crate::memory::receipt::Reached;
use crate::memory::{Credit, MemoryLine};
use crate::runtime::Worker;
use crate::storage::Disk;
use crate::telemetry::{ChannelCounters, Incidents};

/// A row of the registry.
pub struct ChannelKind {
    pub name: &'static str,
    pub aliases: &'static [&'static str],
    pub summary: &'static str,
    pub options: &'static [OptionDoc],
    /// Reads the section; what is wrong goes to its diagnostics.
    pub plan: fn(&Section) -> Box<dyn ChannelPlan>,
}

/// A channel's options, valid once built.
pub trait ChannelPlan: Send {
    fn when_full(&self) -> WhenFull;

    /// Memory that its batches may take; an equal share of what there is when it says nothing.
    fn memory_bytes(&self) -> Option<u64>;

    /// What it may hold; as much as the memory it has when it says nothing.
    fn capacity_bytes(&self) -> Option<u64> {
        None
    }

    /// The key that says how much memory it may take.
    fn memory_key(&self) -> &'static str;

    /// Batches that are in its hands without credit.
    fn pages_in_hand(&self) -> usize {
        0
    }

    /// Memory beside the batches, with so many threads of sinks behind it.
    fn memory(&self, _name: &str, _sink_threads: usize) -> Vec<MemoryLine> {
        Vec::new()
    }

    /// All that it accepts outlives the process: it confirms `written` and `synced` itself.
    fn is_durable(&self) -> bool {
        false
    }

    /// It may hold events of an earlier process, which had another configuration.
    fn recovers(&self) -> bool {
        self.is_durable()
    }

    /// The directories it works in: no two channels may share one.
    fn places(&self) -> Vec<String> {
        Vec::new()
    }

    fn build(&self, context: ChannelContext) -> Result<Built, BuildError>;
}

/// What a channel is built from.
pub struct ChannelContext {
    /// The channel's name, `main`.
    pub name: String,
    pub credit: Arc<Credit>,
    pub counters: Arc<ChannelCounters>,
    pub incidents: Arc<Incidents>,
    pub disk: Arc<dyn Disk>,
    /// Threads of all sinks that poll it.
    pub sink_threads: usize,
    /// The furthest mark that all of its sinks confirm.
    pub confirmed: Reached,
    /// A number that nobody outside can guess.
    pub random: u64,
}

/// A channel and the workers it needs: keepers are closed after the sinks, helpers after them.
pub struct Built {
    pub channel: Arc<dyn Channel>,
    pub keepers: Vec<Box<dyn Worker>>,
    pub helpers: Vec<Box<dyn Worker>>,
    /// What start-up recovery did, a line each.
    pub notes: Vec<String>,
}

#[derive(Debug, thiserror::Error)]
#[error("{what}: {remedy}")]
pub struct BuildError {
    /// `channels.main: /var/lib/flumen is used by another process`
    pub what: String,
    /// What to do about it.
    pub remedy: String,
}

/// Every channel type, sorted by name.
pub const CHANNELS: &[ChannelKind] = &[file::KIND, MEMORY, file::SPILL];

/// The row that channels which may drop have in common.
pub(crate) const WHEN_FULL: OptionDoc = OptionDoc {
    name: "when_full",
    default: Some("wait"),
    doc: "wait: TCP senders wait and a UDP socket is not read; \
          drop_newest: read, discard and count as channel_full; \
          drop_oldest: the batch that waited longest goes instead, of memory channels only",
};

/// What `when_full` says.
pub(crate) fn when_full(section: &Section) -> WhenFull {
    let choices = [
        ("wait", WhenFull::Wait),
        ("drop_newest", WhenFull::DropNewest),
        ("drop_oldest", WhenFull::DropOldest),
    ];
    section.choice(WHEN_FULL.name, &choices)
}

/// The same of a channel that keeps what it took.
pub(crate) fn when_full_durable(section: &Section) -> WhenFull {
    let chosen = when_full(section);
    if chosen != WhenFull::DropOldest {
        return chosen;
    }
    let what = "`when_full`: \"drop_oldest\" is of memory channels: this one keeps what it took";
    section.fail(WHEN_FULL.name, what, "write \"wait\" or \"drop_newest\"");
    WhenFull::Wait
}

// ── memory ──

const MEMORY: ChannelKind = ChannelKind {
    name: "memory",
    aliases: &[],
    summary: "batches wait in memory, in order; lost if the process is killed",
    options: MEMORY_OPTIONS,
    plan: plan_memory,
};

const MEMORY_OPTIONS: &[OptionDoc] = &[
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

fn plan_memory(section: &Section) -> Box<dyn ChannelPlan> {
    let capacity_bytes = section.optional_size("capacity");
    Box::new(MemoryPlan { when_full: when_full(section), capacity_bytes })
}

/// The type of the channel of a configuration that names none.
pub const IMPLIED: &str = MEMORY.name;

/// And its plan.
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
