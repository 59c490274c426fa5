//! What is counted out at the start and comes home.
//!
//! - `pool`: a bounded stack of pages, last home, first out, so that under normal load only a few
//!   are in play and stay in the cache.
//! - `credit`: how much of the pool a channel may hold.
//! - `receipt`: what an acknowledging source waits for; receipts outlive batches.
//! - `budget`: the memory sum, line by line.
//! - `gate`: counts allocations after start.

pub mod budget;
pub mod credit;
pub mod gate;
pub mod pool;
pub mod receipt;

pub use budget::{Budget, MemoryLine};
pub use credit::Credit;
pub use pool::{Lease, Pool, Shared};
pub use receipt::{Outcome, Receipt, ReceiptPool, ReceiptSlip};
