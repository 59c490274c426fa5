//! What happened, in numbers and in words: counters, the ledger that must add up, live histograms,
//! incidents, and the log.
//!
//! Promises: counting costs a worker a few plain stores a batch; reading never stops a worker and
//! takes no lock a worker takes; everything is built before the start and held in `Arc`s.
//! Refuses: knowing any other room. Parts are known by name, gauges of other rooms by a closure.
//!
//! Reading order: [`counter`] what a thread counts · [`histogram`] · [`ledger`] all of them, by
//! component · [`snapshot`] one reading of it, and the equations · [`report`] it as text.

pub mod counter;
pub mod histogram;
pub mod ledger;
pub mod snapshot;

pub use counter::{
    ChannelCounters, ChannelGauge, Counter, InletCounters, Level, LostReason, Mark, SinkCounters,
    SourceCounters,
};
pub use histogram::Histogram;
pub use ledger::{Ledger, LedgerBuilder};
pub use snapshot::{Equation, Snapshot};
