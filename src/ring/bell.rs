//! Sleep and wake without a syscall while everybody is awake.
//!
//! A sleeper sets its bit, looks once more, and only then sleeps; whoever publishes something reads
//! the bits afterwards. Both sides put a full fence between their store and their load (Dekker), so
//! at least one of them sees the other: either the sleeper finds the work, or the ringer finds the
//! bit.
//!
//! Threading: any thread rings; one seat belongs to one worker. Fast path: a fence and a load.
//! Slow path (somebody sleeps): a lock that nobody holds for longer than a wake.

use crate::limits;
use crate::sync::{Arc, AtomicU64, Mutex, Ordering, fence};

/// Ends the sleep of one worker: an eventfd, a thread parker, or a flag in a test.
pub trait Wake: Send + Sync {
    fn wake(&self);
}

pub struct Bell {
    /// Bit n: the worker in seat n sleeps or is about to.
    asleep: AtomicU64,
    sleepers: Mutex<Vec<Arc<dyn Wake>>>,
}

/// A worker's place at a bell.
#[derive(Clone, Copy, Debug)]
pub struct Seat(u32);

impl Default for Bell {
    fn default() -> Self {
        Self { asleep: AtomicU64::new(0), sleepers: Mutex::new(Vec::new()) }
    }
}

impl Bell {
    /// Takes a seat; before start only.
    pub fn join(&self, sleeper: Arc<dyn Wake>) -> Seat {
        let mut sleepers = self.sleepers.lock().expect("no holder of this lock panics");
        assert!(sleepers.len() < limits::SLEEPERS_MAX, "plan bounds the threads at one bell");
        sleepers.push(sleeper);
        Seat(limits::u32_of(sleepers.len() - 1))
    }

    /// Says "about to sleep". The caller must look once more for work before it does.
    pub fn doze(&self, seat: Seat) {
        self.asleep.fetch_or(1 << seat.0, Ordering::Relaxed);
        // Pairs with the fence in `ring`: our bit before our second look.
        fence(Ordering::SeqCst);
    }

    /// Says "awake again", whoever woke it.
    pub fn rise(&self, seat: Seat) {
        self.asleep.fetch_and(!(1 << seat.0), Ordering::Relaxed);
    }

    /// Wakes every sleeper. Call after publishing what they wait for.
    pub fn ring(&self) {
        // Pairs with the fence in `doze`: what was published before the bits are read.
        fence(Ordering::SeqCst);
        if self.asleep.load(Ordering::Relaxed) != 0 {
            self.wake(u64::MAX);
        }
    }

    /// Wakes one sleeper: enough when what was published is one thing that one worker takes, and
    /// that worker looks again before it sleeps.
    pub fn ring_one(&self) {
        // Pairs with the fence in `doze`, as in `ring`.
        fence(Ordering::SeqCst);
        let bits = self.asleep.load(Ordering::Relaxed);
        if bits != 0 {
            self.wake(bits & bits.wrapping_neg());
        }
    }

    /// Whether anybody sleeps: a hint, out of date when read.
    pub fn has_sleepers(&self) -> bool {
        self.asleep.load(Ordering::Relaxed) != 0
    }

    #[cold]
    fn wake(&self, mask: u64) {
        let taken = self.asleep.fetch_and(!mask, Ordering::Relaxed) & mask;
        let sleepers = self.sleepers.lock().expect("no holder of this lock panics");
        for (seat, sleeper) in sleepers.iter().enumerate() {
            if taken & (1 << seat) != 0 {
                sleeper.wake();
            }
        }
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use std::sync::atomic::AtomicUsize;

    #[derive(Default)]
    struct Count(AtomicUsize);

    impl Wake for Count {
        fn wake(&self) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    #[test]
    fn only_sleepers_are_woken_and_once() {
        let bell = Bell::default();
        let counts: Vec<Arc<Count>> = (0..3).map(|_| Arc::default()).collect();
        let seats: Vec<Seat> =
            counts.iter().map(|count| bell.join(Arc::clone(count) as Arc<dyn Wake>)).collect();
        bell.ring();
        bell.doze(seats[0]);
        bell.doze(seats[2]);
        bell.ring_one();
        bell.ring();
        bell.ring();
        bell.doze(seats[1]);
        bell.rise(seats[1]);
        bell.ring();
        let woken: Vec<usize> =
            counts.iter().map(|count| count.0.load(Ordering::Relaxed)).collect();
        assert_eq!(woken, [1, 0, 1]);
    }
}
