//! Credit: how many batches a channel may hold. With a free page it makes the one valve.
//!
//! A batch in a ring or in a sink's hands holds credit until it is given back. So one stuck channel
//! stops its own sources and nobody else's.

use crate::ring::Bell;
use crate::sync::{AtomicBool, AtomicU32, AtomicU64, Ordering};

pub struct Credit {
    free: AtomicU32,
    given: AtomicU64,
    total: u32,
    /// Nobody gets any for now, whatever is free.
    shut: AtomicBool,
    bell: Bell,
}

impl Credit {
    pub fn new(batches: u32) -> Self {
        let (free, given) = (AtomicU32::new(batches), AtomicU64::new(0));
        let shut = AtomicBool::new(false);
        Self { free, given, total: batches, shut, bell: Bell::default() }
    }

    /// Takes credit for one batch, if there is any.
    pub fn take(&self) -> bool {
        if self.shut.load(Ordering::Relaxed) {
            return false;
        }
        // Relaxed: credit is a number; the batches it stands for are ordered by pool and ring.
        self.free
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |free| free.checked_sub(1))
            .is_ok()
    }

    /// Gives back credit for one batch, used or not, and wakes the sources that wait for it: one
    /// of them may have found none while it was out for nothing.
    pub fn give(&self) {
        let before = self.free.fetch_add(1, Ordering::Relaxed);
        assert!(before < self.total, "credit given that was never taken");
        self.given.fetch_add(1, Ordering::Relaxed);
        self.bell.ring();
    }

    /// Gives none any more, until it does again: what is out comes back, and no more goes.
    pub fn shut(&self, shut: bool) {
        if self.shut.swap(shut, Ordering::Relaxed) && !shut {
            self.bell.ring();
        }
    }

    /// How often it was given back, ever.
    pub fn given(&self) -> u64 {
        self.given.load(Ordering::Relaxed)
    }

    /// How many batches may be taken now.
    pub fn free(&self) -> u32 {
        if self.shut.load(Ordering::Relaxed) { 0 } else { self.free.load(Ordering::Relaxed) }
    }

    pub fn total(&self) -> u32 {
        self.total
    }

    pub fn bell(&self) -> &Bell {
        &self.bell
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn no_more_than_the_total() {
        let credit = Credit::new(2);
        assert!(credit.take() && credit.take() && !credit.take());
        credit.give();
        credit.shut(true);
        assert!(!credit.take() && credit.free() == 0);
        credit.shut(false);
        assert!(credit.take() && !credit.take());
    }
}
