//! What makes it walk: workers with a duty cycle, threads that drive them, clocks, helpers.
//!
//! A worker runs on its own pinned thread (`thread`), or is stepped by hand with a manual clock:
//! that is how `tests/simulation` gets determinism without async.

pub mod clock;
pub mod command;
pub mod helper;
pub mod parker;
pub mod thread;

use std::sync::Arc;

pub use crate::ring::Wake;
use crate::time::{Mono, Now};

/// Something with a duty cycle. It owns its state; what it shares are rings and counters.
pub trait Worker: Send {
    /// The thread's name: "sink.archive.0".
    fn name(&self) -> &str;

    /// One bounded piece of work; never blocks.
    fn work(&mut self, now: Now) -> Progress;

    /// Sleeps until there may be work, `until` at the latest; called after `Idle` only.
    fn wait(&mut self, now: Now, until: Mono);

    /// Nothing more will be asked of it: from now on `work` drains, and ends with `Done`.
    fn close(&mut self, now: Now);

    /// Ends a `wait` from another thread; a wake before the wait ends that wait at once.
    fn waker(&self) -> Arc<dyn Wake>;
}

/// What a duty cycle did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// Something: call again.
    Worked,
    /// Nothing; nothing by itself before `until` either.
    Idle { until: Mono },
    /// Drained after `close`, or nothing will ever come again.
    Done,
}

impl Progress {
    pub const IDLE: Self = Self::Idle { until: Mono::MAX };
}
