//! Where batches wait between a source and a sink.
//!
//! Promises: `offer` cannot fail, because credit was taken before the batch was filled; order is
//! kept for each offering thread; what was offered is polled once, and its credit comes back when
//! the `Parcel` is dropped.

pub mod file;
pub mod memory;
pub mod sieve;
pub mod valve;

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use crate::config::{OptionDoc, Section};
use crate::memory::receipt::Reached;
use crate::memory::{Credit, MemoryLine, ReceiptSlip, Shared};
use crate::ring::Bell;
use crate::runtime::Worker;
use crate::storage::Disk;
use crate::telemetry::{ChannelCounters, Incidents};
use crate::time::Mono;

pub use file::KIND as FILE;
pub use memory::KIND as MEMORY;
pub use sieve::Sieve;
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
}

struct CreditHold {
    credit: Arc<Credit>,
    /// How many of them sinks have, if anybody counts.
    hands: Option<Arc<AtomicU32>>,
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

    /// It writes pages as they lie in memory: they must hold nothing of earlier fillings.
    fn keeps_frames(&self) -> bool {
        false
    }

    /// Rung at each offer; sinks take their seats here.
    fn bell(&self) -> &Bell;
}

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

    /// The key that says so.
    fn memory_key(&self) -> &'static str;

    /// Batches that are in its hands without credit.
    fn pages_in_hand(&self) -> usize {
        0
    }

    /// Memory beside the batches, with so many threads of sinks behind it.
    fn memory(&self, _name: &str, _sink_threads: usize) -> Vec<MemoryLine> {
        Vec::new()
    }

    /// What it holds outlives the process: it confirms `written` and `synced` itself.
    fn is_durable(&self) -> bool {
        false
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
pub const CHANNELS: &[ChannelKind] = &[FILE, MEMORY];

/// The row that channels which may drop have in common.
pub(crate) const WHEN_FULL: OptionDoc = OptionDoc {
    name: "when_full",
    default: Some("wait"),
    doc: "wait: TCP senders wait and a UDP socket is not read; \
          drop_newest: read, discard and count as channel_full",
};

/// What `when_full` says.
pub(crate) fn when_full(section: &Section) -> WhenFull {
    if section.optional_text("when_full").as_deref() == Some("drop_oldest") {
        let what = "`when_full`: \"drop_oldest\" is not built yet";
        section.fail("when_full", what, "write \"wait\" or \"drop_newest\"");
        return WhenFull::Wait;
    }
    if !section.usable("when_full") {
        return WhenFull::Wait;
    }
    let choices = [("wait", WhenFull::Wait), ("drop_newest", WhenFull::DropNewest)];
    section.choice("when_full", &choices)
}
