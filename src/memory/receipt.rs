//! Receipts: what an acknowledging source waits for.
//!
//! A source that acknowledges takes a receipt, hangs its slip on a batch, and polls for receipts
//! that are settled. Each required channel confirms once, when the events have reached the mark
//! asked for: `Received` (in the ring), `Written` (the append returned) or `Synced` (fdatasync
//! returned). Filtered events count as confirmed; lost or dropped ones fail the receipt, and a
//! failed receipt is never acknowledged. No free receipt = stop reading.
//!
//! Slips outlive batches: a sink keeps a block's slips until its sync answers.

use crate::limits;
use crate::ring::Ring;
use crate::sync::{Arc, AtomicBool, AtomicU32, Ordering};

/// How far events must have come before they are acknowledged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Reached {
    Received,
    Written,
    Synced,
}

impl Reached {
    pub const fn name(self) -> &'static str {
        match self {
            Self::Received => "received",
            Self::Written => "written",
            Self::Synced => "synced",
        }
    }
}

/// How a receipt ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    Confirmed,
    Failed,
}

/// A receipt's number, which the source keeps beside what it will acknowledge.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Receipt(u32);

impl Receipt {
    /// Below the number of receipts: for a table beside the pool.
    pub fn index(self) -> usize {
        limits::usize_of(self.0)
    }
}

pub struct ReceiptPool {
    states: Box<[State]>,
    free: Ring<u32>,
    settled: Ring<(Receipt, Outcome)>,
    wanted: Reached,
    /// Whoever waits can wait: nothing is hurried for these receipts.
    patient: bool,
}

struct State {
    waiting: AtomicU32,
    failed: AtomicBool,
}

/// One channel's duty towards one receipt. Dropped without `confirm`, it fails the receipt.
pub struct ReceiptSlip {
    pool: Arc<ReceiptPool>,
    receipt: Receipt,
    answered: bool,
}

impl ReceiptPool {
    pub fn new(receipts: usize, wanted: Reached) -> Arc<Self> {
        Self::make(receipts, wanted, false)
    }

    /// Receipts that hurry nobody: of a durable channel, which has what it waits for.
    pub fn patient(receipts: usize, wanted: Reached) -> Arc<Self> {
        Self::make(receipts, wanted, true)
    }

    fn make(receipts: usize, wanted: Reached, patient: bool) -> Arc<Self> {
        let free = Ring::new(receipts);
        (0..limits::u32_of(receipts)).for_each(|index| free.offer(index));
        let state = || State { waiting: AtomicU32::new(0), failed: AtomicBool::new(false) };
        let states = (0..receipts).map(|_| state()).collect();
        Arc::new(Self { states, free, settled: Ring::new(receipts), wanted, patient })
    }

    /// A receipt that `channels` channels must confirm, and its first slip.
    pub fn take(self: &Arc<Self>, channels: u32) -> Option<(Receipt, ReceiptSlip)> {
        assert!(channels > 0, "nobody would ever confirm");
        let index = self.free.poll()?;
        let state = &self.states[limits::usize_of(index)];
        state.failed.store(false, Ordering::Relaxed);
        state.waiting.store(channels, Ordering::Relaxed);
        let receipt = Receipt(index);
        Some((receipt, ReceiptSlip { pool: Arc::clone(self), receipt, answered: false }))
    }

    /// How far events must come.
    pub fn wanted(&self) -> Reached {
        self.wanted
    }

    /// Whether `take` would find one: a snapshot.
    pub fn has_free(&self) -> bool {
        !self.free.is_empty()
    }

    /// A settled receipt; its number is free again.
    pub fn poll(&self) -> Option<(Receipt, Outcome)> {
        let (receipt, outcome) = self.settled.poll()?;
        self.free.offer(receipt.0);
        Some((receipt, outcome))
    }

    /// The ring of settled receipts; the source takes its seat at its bell.
    pub fn settled(&self) -> &Ring<(Receipt, Outcome)> {
        &self.settled
    }

    fn answer(&self, receipt: Receipt, outcome: Outcome) {
        let state = &self.states[limits::usize_of(receipt.0)];
        if outcome == Outcome::Failed {
            state.failed.store(true, Ordering::Relaxed);
        }
        // AcqRel: the last to answer sees every other channel's `failed`.
        if state.waiting.fetch_sub(1, Ordering::AcqRel) == 1 {
            let failed = state.failed.load(Ordering::Relaxed);
            let outcome = if failed { Outcome::Failed } else { Outcome::Confirmed };
            self.settled.offer((receipt, outcome));
        }
    }
}

impl ReceiptSlip {
    /// The slip of another required channel for the same receipt.
    pub fn for_channel(&self) -> Self {
        Self { pool: Arc::clone(&self.pool), receipt: self.receipt, answered: false }
    }

    /// A slip for a part of this channel's events: all parts must confirm. Parts may end in files
    /// that are synced at different times, or one of them be lost.
    pub fn part(&self) -> Self {
        // Relaxed: our own slip still counts, so the receipt cannot be settled meanwhile.
        self.pool.states[limits::usize_of(self.receipt.0)].waiting.fetch_add(1, Ordering::Relaxed);
        self.for_channel()
    }

    /// A slip for a batch of its own, which so many channels get: one for each of them, as with
    /// `ReceiptPool::take`.
    pub fn batch(&self, channels: u32) -> Self {
        // Relaxed: as in `part`.
        let state = &self.pool.states[limits::usize_of(self.receipt.0)];
        state.waiting.fetch_add(channels, Ordering::Relaxed);
        self.for_channel()
    }

    pub fn wanted(&self) -> Reached {
        self.pool.wanted
    }

    /// Somebody waits for it who has no other copy: blocks and syncs are due at once.
    pub fn hurries(&self) -> bool {
        !self.pool.patient
    }

    /// Some of these events will never be where they were to be, and that has been counted. Who
    /// waits for an acknowledgement does not get it; a durable channel need not keep them.
    pub fn refuse(mut self) {
        self.answered = true;
        let outcome = if self.pool.patient { Outcome::Confirmed } else { Outcome::Failed };
        self.pool.answer(self.receipt, outcome);
    }

    /// This channel's events have reached the mark asked for.
    pub fn confirm(mut self) {
        self.answered = true;
        self.pool.answer(self.receipt, Outcome::Confirmed);
    }
}

impl Drop for ReceiptSlip {
    fn drop(&mut self) {
        if !self.answered {
            self.pool.answer(self.receipt, Outcome::Failed);
        }
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn every_channel_must_confirm() {
        let pool = ReceiptPool::new(1, Reached::Synced);
        let (receipt, slip) = pool.take(2).expect("one free");
        let other = slip.for_channel();
        assert!(pool.take(1).is_none());
        slip.confirm();
        assert_eq!(pool.poll(), None);
        other.confirm();
        assert_eq!(pool.poll(), Some((receipt, Outcome::Confirmed)));
        assert!(pool.take(1).is_some());
    }

    #[test]
    fn every_part_must_confirm() {
        let pool = ReceiptPool::new(1, Reached::Synced);
        for lost in [false, true] {
            let (receipt, slip) = pool.take(1).expect("one free");
            let part = slip.part();
            slip.confirm();
            assert_eq!(pool.poll(), None);
            if lost {
                drop(part)
            } else {
                part.confirm()
            }
            let outcome = if lost { Outcome::Failed } else { Outcome::Confirmed };
            assert_eq!(pool.poll(), Some((receipt, outcome)));
        }
    }

    #[test]
    fn every_batch_must_be_confirmed_by_every_channel() {
        let pool = ReceiptPool::new(1, Reached::Synced);
        let (receipt, slip) = pool.take(2).expect("one free");
        let first = slip.batch(2);
        first.for_channel().confirm();
        slip.for_channel().confirm();
        slip.confirm();
        assert_eq!(pool.poll(), None);
        first.confirm();
        assert_eq!(pool.poll(), Some((receipt, Outcome::Confirmed)));
    }

    #[test]
    fn a_lost_slip_fails_the_receipt() {
        let pool = ReceiptPool::new(4, Reached::Written);
        let (receipt, slip) = pool.take(2).expect("four free");
        let other = slip.for_channel();
        drop(other);
        slip.confirm();
        assert_eq!(pool.poll(), Some((receipt, Outcome::Failed)));
    }
}
