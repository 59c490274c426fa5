//! The HTTP endpoint: metrics, health, readiness, the ledger, incidents, a plain page.
//!
//! Promises: nothing here can slow the pipeline or a stop. It reads counters without locks, is one
//! unpinned worker, never blocks on a client, and holds a bounded number of bounded connections.
//! Refuses: changing anything. GET and HEAD only.
//!
//! Reading order: [`address`] where it listens · [`server`] the worker · [`client`] one connection
//! · [`pages`] what each path answers · [`prometheus`] and [`flume`] two of the answers.

pub mod address;
pub mod client;
pub mod endpoint;
pub mod flume;
pub mod pages;
pub mod prometheus;
pub mod server;

pub use address::{BindError, Bound, bind};
pub use pages::{Board, Site};
pub use server::Server;
