//! What happened, in numbers and in words: counters, the ledger that must add up, live histograms,
//! incidents, and the log.
//!
//! Promises: counting costs a worker a few plain stores a batch; reading never stops a worker and
//! takes no lock a worker takes; everything is built before the start and held in `Arc`s.
//! Refuses: knowing any other room. Parts are known by name, gauges of other rooms by a closure.
//!
//! Reading order: [`counter`] what a thread counts · [`histogram`] · [`ledger`] all of them, by
//! component · [`snapshot`] one reading of it, and the equations · [`report`] it as text ·
//! [`incident`] faults, from detection to recovery · [`readiness`] · [`log`].

pub mod counter;
pub mod histogram;
pub mod incident;
pub mod ledger;
pub mod log;
pub mod readiness;
pub mod report;
pub mod snapshot;

pub use counter::{
    ChannelCounters, ChannelGauge, Counter, InletCounters, Level, LostReason, Mark, SinkCounters,
    SourceCounters, Unparsed,
};
pub use histogram::Histogram;
pub use incident::{Incident, Incidents, Watch};
pub use ledger::{Ledger, LedgerBuilder};
pub use readiness::{Phase, Readiness};
pub use snapshot::{Equation, Snapshot};
