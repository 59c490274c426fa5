//! A bounded queue for many producers and consumers, with a bell for its consumers.
//!
//! Sized by the plan to hold everything that can exist, so `offer` cannot fail. What travels is a
//! batch, so crossbeam's array queue (25 ns a hand-over) is never the bottleneck.

use super::Bell;

#[cfg(not(loom))]
type Queue<T> = crossbeam::queue::ArrayQueue<T>;
#[cfg(loom)]
type Queue<T> = model::Queue<T>;

pub struct Ring<T> {
    queue: Queue<T>,
    bell: Bell,
}

impl<T> Ring<T> {
    pub fn new(slots: usize) -> Self {
        Self { queue: Queue::new(slots.max(1)), bell: Bell::default() }
    }

    /// Adds `item` and wakes one sleeping consumer.
    pub fn offer(&self, item: T) {
        if self.queue.push(item).is_err() {
            panic!("a ring holds everything that can exist: the plan's sum is wrong");
        }
        self.bell.ring_one();
    }

    pub fn poll(&self) -> Option<T> {
        self.queue.pop()
    }

    /// A snapshot.
    pub fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }

    /// A snapshot.
    pub fn len(&self) -> usize {
        self.queue.len()
    }

    pub fn capacity(&self) -> usize {
        self.queue.capacity()
    }

    /// Rung once an offer; consumers take their seats here.
    pub fn bell(&self) -> &Bell {
        &self.bell
    }
}

/// Loom cannot look into crossbeam's queue: under it a simple locked one stands in.
#[cfg(loom)]
mod model {
    use crate::sync::Mutex;
    use std::collections::VecDeque;

    pub(super) struct Queue<T>(Mutex<VecDeque<T>>, usize);

    impl<T> Queue<T> {
        pub(super) fn new(slots: usize) -> Self {
            Self(Mutex::new(VecDeque::new()), slots)
        }

        pub(super) fn push(&self, item: T) -> Result<(), T> {
            let mut queue = self.0.lock().expect("model");
            if queue.len() == self.1 {
                return Err(item);
            }
            queue.push_back(item);
            Ok(())
        }

        pub(super) fn pop(&self) -> Option<T> {
            self.0.lock().expect("model").pop_front()
        }

        pub(super) fn is_empty(&self) -> bool {
            self.len() == 0
        }

        pub(super) fn len(&self) -> usize {
            self.0.lock().expect("model").len()
        }

        pub(super) fn capacity(&self) -> usize {
            self.1
        }
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn first_in_first_out() {
        let ring = Ring::new(4);
        (0..4).for_each(|item| ring.offer(item));
        assert_eq!(ring.len(), 4);
        assert_eq!(
            (0..5).map(|_| ring.poll()).collect::<Vec<_>>(),
            [Some(0), Some(1), Some(2), Some(3), None]
        );
    }

    #[test]
    #[should_panic(expected = "the plan's sum is wrong")]
    fn an_overfull_ring_is_a_bug() {
        let ring = Ring::new(1);
        ring.offer(1);
        ring.offer(2);
    }
}
