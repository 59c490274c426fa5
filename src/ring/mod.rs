//! The lock-free ring and its sleep/wake, generic over what waits; and the turnstile, which puts
//! back in order what several threads finished.
//!
//! Promises: `offer` never blocks and keeps the order of each offering thread; a worker that dozed
//! on a bell before it looked once more is woken by any ring that follows. Model-checked by
//! `tests/loom`.

mod bell;
mod queue;
mod turnstile;

pub use bell::{Bell, Seat, Wake};
pub use queue::Ring;
pub use turnstile::Turnstile;
