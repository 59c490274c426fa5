//! When a block that somebody waits for goes: told by the writer, who knows of the syncs, to the
//! assembler, who makes the blocks.
//!
//! Two things end the wait. A time; and before it, that as many events wait again as senders may
//! send without an answer: nothing more would come. How many that is, the last answer shows: those
//! who were told of then, and those that waited already.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::limits;
use crate::time::Mono;

/// Relaxed throughout: times and counts to look at again, and nothing else hangs on them.
#[derive(Debug)]
pub(super) struct Tempo {
    next: AtomicU64,
    /// Events in the open block.
    waiting: AtomicU64,
    /// So many events need not wait for `next`.
    enough: AtomicU64,
}

impl Default for Tempo {
    fn default() -> Self {
        let enough = AtomicU64::new(u64::MAX);
        Self { next: AtomicU64::default(), waiting: AtomicU64::default(), enough }
    }
}

impl Tempo {
    /// The next commit begins then, or has begun if that is past.
    pub(super) fn next(&self) -> Mono {
        Mono(self.next.load(Ordering::Relaxed))
    }

    pub(super) fn set(&self, next: Mono) {
        self.next.store(next.0, Ordering::Relaxed);
    }

    /// Senders were told of `events`, and may send as many.
    pub(super) fn told(&self, events: u64, next: Mono) {
        let enough = events + self.waiting.load(Ordering::Relaxed);
        self.enough.store(enough.max(limits::COMMIT_EVENTS_MIN), Ordering::Relaxed);
        self.set(next);
    }

    /// So many events wait in the open block.
    pub(super) fn wait(&self, events: u32) {
        self.waiting.store(u64::from(events), Ordering::Relaxed);
    }

    /// Nothing more is to be expected, and no commit is under way.
    pub(super) fn is_enough(&self, events: u32) -> bool {
        u64::from(events) >= self.enough.load(Ordering::Relaxed) && self.next() < Mono::MAX
    }

    /// The next commit need not wait; one that is under way stays.
    pub(super) fn hasten(&self, now: Mono) {
        let next = self.next();
        if next < Mono::MAX {
            let (next, now) = (next.0, now.0.min(next.0));
            // Somebody else has just set it: then that counts.
            let _ = self.next.compare_exchange(next, now, Ordering::Relaxed, Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_many_as_were_outstanding_are_enough() {
        let tempo = Tempo::default();
        assert!(!tempo.is_enough(u32::MAX), "nothing is known yet");
        tempo.wait(28);
        tempo.told(100, Mono(5000));
        assert!(!tempo.is_enough(127) && tempo.is_enough(128));
        tempo.hasten(Mono(3000));
        assert_eq!(tempo.next(), Mono(3000));
        tempo.hasten(Mono(9000));
        assert_eq!(tempo.next(), Mono(3000), "it is not put off");
        tempo.set(Mono::MAX);
        tempo.hasten(Mono(9000));
        assert!(!tempo.is_enough(128) && tempo.next() == Mono::MAX, "a commit is under way");
        tempo.told(1, Mono(9000));
        assert!(!tempo.is_enough(29), "a few are no block");
    }
}
