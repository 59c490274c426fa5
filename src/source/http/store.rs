//! Memory for bodies on their way: one budget for all connections of a source.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// What is left of the budget, in bytes.
#[derive(Debug)]
pub(super) struct Store(AtomicUsize);

/// One request's part of it, given back when it is dropped.
#[derive(Debug)]
pub(super) struct Hold {
    store: Arc<Store>,
    bytes: usize,
}

impl Store {
    pub(super) fn new(bytes: usize) -> Arc<Self> {
        Arc::new(Self(AtomicUsize::new(bytes)))
    }

    pub(super) fn hold(self: &Arc<Self>) -> Hold {
        Hold { store: Arc::clone(self), bytes: 0 }
    }
}

impl Hold {
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Holds so many bytes, no more and no less. False: there are not as many, and all is as it
    /// was.
    pub(super) fn set(&mut self, bytes: usize) -> bool {
        // Only a number is kept here; what it stands for is each request's own.
        let free = &self.store.0;
        if bytes <= self.bytes {
            free.fetch_add(self.bytes - bytes, Ordering::Relaxed);
        } else {
            let more = bytes - self.bytes;
            let take = |free: usize| free.checked_sub(more);
            if free.fetch_update(Ordering::Relaxed, Ordering::Relaxed, take).is_err() {
                return false;
            }
        }
        self.bytes = bytes;
        true
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        self.set(0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_held_is_missing_until_it_is_dropped() {
        let store = Store::new(100);
        let (mut one, mut two) = (store.hold(), store.hold());
        assert!(one.set(60) && !two.set(41) && two.set(40) && !two.set(41));
        assert_eq!((one.bytes(), two.bytes()), (60, 40));
        assert!(one.set(50) && two.set(50));
        drop(one);
        assert!(two.set(100) && !store.hold().set(1));
        drop(two);
        assert!(store.hold().set(100));
    }
}
