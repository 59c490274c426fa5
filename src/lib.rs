//! flumen: logs and traffic in, compressed rolling files out, every event accounted for.
//!
//! ```text
//!     source ──full──▶ channel ──full──▶ sink ──▶ codec ──▶ storage
//!        ▲                                 │
//!        └───────────── empty ─────────────┘          (memory::pool)
//! ```
//!
//! **Words** (one meaning each): *event*, one log line or datagram with its headers · *batch*, what
//! travels: one page of memory holding many events · *receipt*, what an acknowledging source waits
//! for · *block*, a compressed unit that decodes alone · *segment*, one output file · *room*, a
//! folder of the spine · *worker*, something with a duty cycle · *agent*, one configured pipeline ·
//! *ledger*, the counts that must add up · *incident*, a fault from detection to recovery.
//!
//! **Verbs**, one a room: receive → intercept → route → offer/poll → write → encode, compress →
//! append, sync, seal. Pool: take/give. Life cycle: plan → build → start → work → drain → close.
//!
//! Which room may know which is a table in `tests/tidy`; any other `use crate::` fails the suite.
//!
//! Under `cfg(loom)` only the rooms that `tests/loom` checks are there, and what they stand on.

#[cfg(not(loom))]
pub mod admin;
#[cfg(not(loom))]
pub mod archive;
pub mod channel;
#[cfg(not(loom))]
pub mod cli;
#[cfg(not(loom))]
pub mod codec;
pub mod config;
pub mod event;
#[cfg(not(loom))]
pub mod interceptor;
pub mod limits;
#[cfg(not(loom))]
pub mod load;
#[cfg(not(loom))]
pub mod manual;
pub mod memory;
pub mod ring;
#[cfg(not(loom))]
pub mod runtime;
#[cfg(not(loom))]
pub mod sink;
#[cfg(not(loom))]
pub mod source;
#[cfg(not(loom))]
pub mod storage;
pub mod sync;
pub mod sys;
#[cfg(not(loom))]
pub mod syslog;
pub mod telemetry;
pub mod time;
#[cfg(not(loom))]
pub mod topology;
#[cfg(not(loom))]
pub mod wire;
