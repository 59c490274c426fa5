//! The HTTP endpoint: metrics, health, readiness, the ledger, incidents, a plain page.
//!
//! Promises: nothing here can slow the pipeline or a stop: it reads counters without locks, runs on
//! one unpinned thread, never blocks on a client, and holds a bounded number of connections.
//! Refuses: changing anything. GET and HEAD only.

pub mod flume;
pub mod pages;
pub mod prometheus;
