//! When a block that somebody waits for goes: told by the writer, who knows of the syncs, to the
//! assembler, who makes the blocks.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::time::Mono;

#[derive(Debug, Default)]
pub(super) struct Tempo(AtomicU64);

impl Tempo {
    /// The next commit begins then, or has begun if that is past.
    pub(super) fn next(&self) -> Mono {
        // Relaxed: a time to look again, and nothing else hangs on it.
        Mono(self.0.load(Ordering::Relaxed))
    }

    pub(super) fn set(&self, next: Mono) {
        self.0.store(next.0, Ordering::Relaxed);
    }
}
