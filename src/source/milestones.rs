//! How far in which file events have come, told by the batches they travel in.
//!
//! ```text
//!   lines  ─note─▶ fresh: file 3 up to 4096          the batch that is being filled
//!   batch  ─slip─▶ under way: 5 · 6 confirmed · 7     receipts settle in any order
//!   settle: batches in front of the first unsettled one, in their order
//! ```
//! A position that was settled is one behind which nothing is missing. Nobody is hurried: the file
//! is still there, so blocks and syncs come when they are due.

use std::collections::VecDeque;
use std::sync::Arc;

use crate::config::{OptionDoc, Section};
use crate::limits;
use crate::memory::receipt::Reached;
use crate::memory::{Outcome, Receipt, ReceiptPool, ReceiptSlip};
use crate::ring::{Seat, Wake};

pub const ACK: OptionDoc = OptionDoc {
    name: "ack",
    default: Some(""),
    doc: "positions are kept of what is \"synced\" (on the disk), \"written\" or \"received\" (in \
          the channels); unset: the furthest of these that all sinks tell of",
};

/// Reads `ack`.
pub fn plan(section: &Section) -> Option<Reached> {
    let marks = [
        ("synced", Reached::Synced),
        ("written", Reached::Written),
        ("received", Reached::Received),
    ];
    let mark = section.choice("ack", &marks);
    section.explicit("ack").then_some(mark)
}

/// `P`: a place in a file.
pub struct Milestones<P> {
    receipts: Arc<ReceiptPool>,
    channels: u32,
    seat: Seat,
    /// For the batch that is being filled; it stays for the next one if nothing wants it.
    at_hand: Option<(Receipt, ReceiptSlip)>,
    /// Files of which there are events in that batch, and how far those reach.
    fresh: Vec<(u64, P)>,
    under_way: VecDeque<Batch<P>>,
    /// Lists that came home.
    spare: Vec<Vec<(u64, P)>>,
}

struct Batch<P> {
    receipt: Receipt,
    outcome: Option<Outcome>,
    places: Vec<(u64, P)>,
}

impl<P: Copy> Milestones<P> {
    pub fn new(mark: Reached, channels: usize, waker: Arc<dyn Wake>) -> Self {
        let receipts = ReceiptPool::patient(limits::RECEIPTS, mark);
        let seat = receipts.settled().bell().join(waker);
        Self {
            receipts,
            channels: limits::u32_of(channels),
            seat,
            at_hand: None,
            fresh: Vec::new(),
            under_way: VecDeque::with_capacity(limits::RECEIPTS),
            spare: Vec::new(),
        }
    }

    /// Whether events may be taken into the batch that is being filled.
    pub fn ready(&mut self) -> bool {
        if self.at_hand.is_none() {
            self.at_hand = self.receipts.take(self.channels);
        }
        self.at_hand.is_some()
    }

    /// Events of this file up to there are in the batch. The caller was `ready`.
    pub fn note(&mut self, file: u64, place: P) {
        debug_assert!(self.at_hand.is_some(), "who is not ready takes nothing");
        match self.fresh.iter_mut().find(|(of, _)| *of == file) {
            Some((_, last)) => *last = place,
            None => self.fresh.push((file, place)),
        }
    }

    /// How far the events of the batch that is being filled must come, if it has any.
    pub fn fresh(&self) -> Option<Reached> {
        (!self.fresh.is_empty()).then(|| self.receipts.wanted())
    }

    /// Everything that was noted has settled.
    pub fn is_idle(&self) -> bool {
        self.fresh.is_empty() && self.under_way.is_empty()
    }

    /// What is hung on the batch that is being offered, if it has events.
    pub fn slip(&mut self) -> Option<ReceiptSlip> {
        if self.fresh.is_empty() {
            return None;
        }
        let (receipt, slip) = self.at_hand.take().expect("noted when it was at hand");
        let places = std::mem::replace(&mut self.fresh, self.spare.pop().unwrap_or_default());
        self.under_way.push_back(Batch { receipt, outcome: None, places });
        Some(slip)
    }

    /// Tells each file how far it has come for good, or that what it brought was lost.
    pub fn settle(&mut self, mut tell: impl FnMut(u64, P, Outcome)) {
        while let Some((receipt, outcome)) = self.receipts.poll() {
            let mut open = self.under_way.iter_mut().filter(|batch| batch.outcome.is_none());
            let batch = open.find(|batch| batch.receipt == receipt);
            batch.expect("a receipt that was settled is under way").outcome = Some(outcome);
        }
        while let Some(Batch { outcome: Some(outcome), .. }) = self.under_way.front() {
            let outcome = *outcome;
            let Some(mut batch) = self.under_way.pop_front() else { return };
            batch.places.drain(..).for_each(|(file, place)| tell(file, place, outcome));
            self.spare.push(batch.places);
        }
    }

    /// Says "about to sleep"; look at `has_settled` once more afterwards.
    pub fn doze(&self) {
        self.receipts.settled().bell().doze(self.seat);
    }

    pub fn rise(&self) {
        self.receipts.settled().bell().rise(self.seat);
    }

    pub fn has_settled(&self) -> bool {
        !self.receipts.settled().is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Nobody;

    impl Wake for Nobody {
        fn wake(&self) {}
    }

    #[test]
    fn places_settle_in_order_and_a_lost_batch_says_so() {
        let mut milestones = Milestones::new(Reached::Written, 1, Arc::new(Nobody));
        let mut slips = VecDeque::new();
        for batch in 0..4_u32 {
            assert!(milestones.ready());
            milestones.note(1, 10 * batch);
            milestones.note(2, 10 * batch + 1);
            milestones.note(1, 10 * batch + 2);
            slips.push_back(milestones.slip().unwrap());
            assert!(milestones.slip().is_none());
        }
        let told = |milestones: &mut Milestones<u32>| {
            let mut told = Vec::new();
            milestones.settle(|file, place, outcome| told.push((file, place, outcome)));
            told
        };
        let (confirmed, failed) = (Outcome::Confirmed, Outcome::Failed);
        slips.remove(1).unwrap().confirm();
        assert_eq!(told(&mut milestones), []);
        slips.pop_front().unwrap().confirm();
        let expected =
            [(1, 2, confirmed), (2, 1, confirmed), (1, 12, confirmed), (2, 11, confirmed)];
        assert_eq!(told(&mut milestones), expected);
        drop(slips.pop_front());
        assert_eq!(told(&mut milestones), [(1, 22, failed), (2, 21, failed)]);
        // What a sink will never take, and has counted, is dealt with.
        slips.pop_front().unwrap().refuse();
        assert_eq!(told(&mut milestones), [(1, 32, confirmed), (2, 31, confirmed)]);
        assert!(milestones.is_idle());
    }

    #[test]
    fn without_a_free_receipt_nothing_is_ready() {
        let mut milestones = Milestones::new(Reached::Written, 1, Arc::new(Nobody));
        let mut slips = Vec::new();
        while milestones.ready() {
            milestones.note(0, 0);
            slips.push(milestones.slip().unwrap());
        }
        assert_eq!(slips.len(), limits::RECEIPTS);
        slips.pop().unwrap().confirm();
        assert!(!milestones.ready());
        milestones.settle(|_, _, _| {});
        assert!(milestones.ready());
    }
}
