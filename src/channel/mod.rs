//! Where batches wait between a source and a sink.
//!
//! Promises: `offer` cannot fail, because credit was taken before the batch was filled; order is
//! kept for each offering thread; what was offered is polled once, and its credit comes back when
//! the `Parcel` is dropped.

pub mod memory;
pub mod sieve;
pub mod valve;

use std::sync::Arc;

use crate::memory::{Credit, ReceiptSlip, Shared};
use crate::ring::Bell;
use crate::telemetry::ChannelCounters;
use crate::time::Mono;

pub use memory::KIND as MEMORY;
pub use sieve::Sieve;
pub use valve::{Flow, Inlet, Valve, WhenFull};

/// One batch in one channel: dropped, its page goes home and its credit is given back.
pub struct Parcel {
    // The order of these two is the order of their drop: a source that sees credit finds a page.
    pub batch: Shared,
    _credit: CreditHold,
    /// This channel's duty towards an acknowledging source.
    pub slip: Option<ReceiptSlip>,
    /// When the batch's first event came: block deadlines count from here.
    pub first_at: Mono,
    pub offered_at: Mono,
}

struct CreditHold(Arc<Credit>);

impl Drop for CreditHold {
    fn drop(&mut self) {
        self.0.give();
    }
}

pub trait Channel: Send + Sync {
    fn name(&self) -> &str;
    fn credit(&self) -> &Arc<Credit>;
    fn counters(&self) -> &ChannelCounters;

    /// Adds a batch whose credit was taken.
    fn offer(&self, parcel: Parcel);

    fn poll(&self) -> Option<Parcel>;

    /// A snapshot.
    fn is_empty(&self) -> bool;

    /// Rung at each offer; sinks take their seats here.
    fn bell(&self) -> &Bell;
}

/// A row of the registry.
pub struct ChannelKind {
    pub name: &'static str,
    pub aliases: &'static [&'static str],
    pub summary: &'static str,
    pub options: &'static [crate::config::OptionDoc],
}

/// Every channel type, sorted by name.
pub const CHANNELS: &[ChannelKind] = &[MEMORY];
