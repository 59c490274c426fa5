//! The load generator, its manifest, and the audit of an archive against it.
//!
//! - [`blast`] sends stamped messages over any transport at rates that do not lie, and says exactly
//!   what the kernel took, or over RELP the receiver: the [`Manifest`].
//! - [`replay`] sends what was recorded, with its own timing.
//! - [`audit`] reads files back and says what of it is there, lost, doubled, out of order or
//!   damaged, and how long it took.
//!
//! All are library calls: `flumen blast`, `replay`, `audit`, `demo` and the tests use them.
//!
//! ```text
//!   targets ──▶ lanes (one a stream) ──▶ senders (a thread a target, up to the cores)
//!                  │                        schedule: when event i is due
//!   manifest ◀── records                    chunk: composed, framed, not yet taken
//! ```

pub mod audit;
pub mod blast;
mod chunk;
mod lane;
mod link;
pub mod manifest;
mod relp;
pub mod replay;
mod schedule;
mod secure;
mod sender;
mod target;

pub use audit::Verdict;
pub use blast::{BlastError, Outcome, Plan, Snapshot};
pub use chunk::Framing;
pub use manifest::{Manifest, StreamRecord};
pub use schedule::{Extent, Rate};
pub use target::{Target, TargetError, Transport};
