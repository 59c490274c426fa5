//! From a configuration to a running agent, and back to rest.
//!
//! ```text
//! Config ──plan──▶ Plan ──build──▶ Assembly ──start──▶ Agent ──stop, drain──▶ Outcome
//!          pure           allocates            threads           the ledger
//! ```
//!
//! Promises: planning binds and creates nothing and tells every mistake at once; after `build`
//! nothing is allocated for a batch; a start that fails leaves nothing behind; a stop delivers
//! what was accepted, or counts it as lost{shutdown} when the drain's time is over.
//!
//! Reading order: [`mod@plan`] what a configuration means · `sections` one part's table · `links`
//! who reads and writes which channel · `listeners` who wants the same address · `exact` who keeps
//! datagrams · `cores` · [`budget`] the memory sum · [`report`] the plan as text · [`build`] ·
//! `outlet` a sink's
//! place · [`agent`] threads, and the wish to stop · [`change`] what another configuration would
//! change, and `exchange` sinks for others · `drain` · `account` what is counted at the end.

mod account;
mod acks;
pub mod agent;
pub mod budget;
pub mod build;
pub mod change;
mod control;
mod cores;
mod drain;
mod exact;
mod exchange;
mod groups;
mod headers;
mod links;
mod listeners;
mod outlet;
mod parts;
pub mod plan;
pub mod report;
mod sections;
#[cfg(test)]
mod tests;

pub use agent::{Agent, Outcome, Ready};
pub use build::{Assembly, Endpoint, Ground, OpenEndpoint, StartError};
pub use change::{Shape, Step};
pub use control::Control;
pub use cores::Machine;
pub use exchange::Change;
pub use outlet::Outlet;
pub use parts::Parts;
pub use plan::{Admin, Pages, Plan, plan};
