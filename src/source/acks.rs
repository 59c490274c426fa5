//! Which messages wait for which batch, and which may be acknowledged now.
//!
//! ```text
//!   message ─note─▶ waiting: batch 7, connection 3, transactions 40..52
//!   batch   ─slip─▶ under way: 5 confirmed · 6 · 7        receipts settle in any order
//!   settle: everything that waits for batches in front of the first unsettled one
//! ```
//! A thread's batches are released in their order, and so are the messages of each connection. A
//! connection adds one entry to a batch however many messages it brought, for its transactions
//! follow each other. Receipts are fixed in number: without a free one nothing more is read that
//! would have to wait for it.

use std::collections::VecDeque;
use std::sync::Arc;

use crate::config::{OptionDoc, Section};
use crate::limits;
use crate::memory::receipt::Reached;
use crate::memory::{Outcome, Receipt, ReceiptPool, ReceiptSlip};
use crate::ring::{Seat, Wake};
use crate::wire::relp::Txnr;

pub const ACK: OptionDoc = OptionDoc {
    name: "ack",
    default: Some(""),
    doc: "relp:// senders are told that a message is kept when it is \"synced\" (on the disk: the \
          default), \"written\" (in the files) or \"received\" (in the channels)",
};

/// Reads `ack`, which is about listeners that acknowledge.
pub fn plan(section: &Section, any: bool) -> Option<Reached> {
    let marks = [
        ("synced", Reached::Synced),
        ("written", Reached::Written),
        ("received", Reached::Received),
    ];
    let mark = section.choice("ack", &marks);
    if !any && section.explicit("ack") && section.usable("listen") {
        let what = "`ack` is for listeners whose senders wait for it, and there is none";
        section.fail("ack", what, "listen on relp://, or leave `ack` out");
    }
    any.then_some(mark)
}

/// Whose messages they are: a place among the connections, and which of its tenants. Whoever has
/// the place next is somebody else.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Owner {
    pub index: usize,
    pub tenant: u64,
}

/// Messages of one connection that reached their mark, or never will.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settled {
    pub owner: Owner,
    pub first: Txnr,
    pub count: u32,
    pub outcome: Outcome,
}

pub struct Acks {
    receipts: Arc<ReceiptPool>,
    /// Each must confirm.
    channels: u32,
    seat: Seat,
    /// For the batch that is being filled; it stays for the next one if nothing wanted it.
    at_hand: Option<(Receipt, ReceiptSlip)>,
    wanted: bool,
    /// Batches that were offered, oldest first.
    under_way: VecDeque<(Receipt, Option<Outcome>)>,
    /// Number of the first one.
    oldest: u64,
    waiting: VecDeque<Waiting>,
}

#[derive(Clone, Copy, Debug)]
struct Waiting {
    batch: u64,
    owner: Owner,
    first: Txnr,
    count: u32,
}

impl Acks {
    pub fn new(receipts: Arc<ReceiptPool>, channels: usize, waker: Arc<dyn Wake>) -> Self {
        let seat = receipts.settled().bell().join(waker);
        Self {
            receipts,
            channels: limits::u32_of(channels),
            seat,
            at_hand: None,
            wanted: false,
            under_way: VecDeque::with_capacity(limits::RECEIPTS),
            oldest: 0,
            waiting: VecDeque::with_capacity(limits::RECEIPTS),
        }
    }

    /// What may be waiting at once.
    pub const fn memory_bytes() -> usize {
        limits::ACKS_WAITING_MAX * size_of::<Waiting>()
    }

    /// Whether messages may be taken into the batch that is being filled.
    pub fn ready(&mut self) -> bool {
        if self.at_hand.is_none() {
            self.at_hand = self.receipts.take(self.channels);
        }
        self.at_hand.is_some() && self.waiting.len() < limits::ACKS_WAITING_MAX
    }

    /// `count` messages from `first` on went into the batch that is being filled, or a part of a
    /// long one: then none. The caller was `ready`.
    pub fn note(&mut self, owner: Owner, first: Txnr, count: u32) {
        debug_assert!(self.at_hand.is_some(), "who is not ready takes nothing");
        self.wanted = true;
        let batch = self.oldest + self.under_way.len() as u64;
        match self.waiting.back_mut() {
            Some(last) if last.batch == batch && last.owner == owner => {
                debug_assert!(last.first.plus(last.count) == first, "they follow each other");
                last.count += count;
            }
            _ => self.waiting.push_back(Waiting { batch, owner, first, count }),
        }
    }

    /// How far somebody waits for the batch that is being filled to come.
    pub fn wanted(&self) -> Option<Reached> {
        self.wanted.then(|| self.receipts.wanted())
    }

    /// What is hung on the batch that is being offered, if somebody waits for it.
    pub fn slip(&mut self) -> Option<ReceiptSlip> {
        if !std::mem::take(&mut self.wanted) {
            return None;
        }
        let (receipt, slip) = self.at_hand.take().expect("noted when it was at hand");
        self.under_way.push_back((receipt, None));
        Some(slip)
    }

    /// The next messages that may be replied to, or never; in order.
    pub fn settle(&mut self) -> Option<Settled> {
        while let Some((receipt, outcome)) = self.receipts.poll() {
            let waits = |entry: &&mut (Receipt, Option<Outcome>)| *entry == &mut (receipt, None);
            let entry = self.under_way.iter_mut().find(waits);
            entry.expect("a receipt that was settled is under way").1 = Some(outcome);
        }
        while let Some((_, Some(outcome))) = self.under_way.front() {
            let outcome = *outcome;
            match self.waiting.front() {
                Some(waiting) if waiting.batch == self.oldest => {
                    let Waiting { owner, first, count, .. } = *waiting;
                    self.waiting.pop_front();
                    return Some(Settled { owner, first, count, outcome });
                }
                _ => {
                    self.under_way.pop_front();
                    self.oldest += 1;
                }
            }
        }
        None
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
    use crate::memory::receipt::Reached;

    struct Nobody;

    impl Wake for Nobody {
        fn wake(&self) {}
    }

    fn acks(receipts: usize) -> Acks {
        Acks::new(ReceiptPool::new(receipts, Reached::Synced), 1, Arc::new(Nobody))
    }

    fn owner(index: usize) -> Owner {
        Owner { index, tenant: 9 }
    }

    fn settled(acks: &mut Acks) -> Vec<(usize, u32, u32, Outcome)> {
        let next = || acks.settle();
        std::iter::from_fn(next)
            .map(|it| (it.owner.index, it.first.0, it.count, it.outcome))
            .collect()
    }

    #[test]
    fn messages_wait_for_their_batch_and_for_those_before() {
        let mut acks = acks(3);
        let mut slips = Vec::new();
        for batch in 0..3 {
            assert!(acks.ready());
            for message in 0..4 {
                acks.note(owner(batch % 2), Txnr(10 * batch as u32 + message), 1);
            }
            acks.note(owner(7), Txnr(1), 0);
            slips.push(acks.slip().expect("somebody waits"));
            assert!(acks.wanted().is_none() && acks.slip().is_none());
        }
        assert!(!acks.ready(), "all receipts are out");
        slips.remove(1).confirm();
        assert_eq!(settled(&mut acks), []);
        assert!(acks.ready(), "the receipt is free, though its messages wait");
        drop(slips.remove(0));
        let (confirmed, failed) = (Outcome::Confirmed, Outcome::Failed);
        let expected =
            [(0, 0, 4, failed), (7, 1, 0, failed), (1, 10, 4, confirmed), (7, 1, 0, confirmed)];
        assert_eq!(settled(&mut acks), expected);
        slips.remove(0).confirm();
        assert_eq!(settled(&mut acks), [(0, 20, 4, confirmed), (7, 1, 0, confirmed)]);
        assert_eq!((acks.oldest, acks.waiting.len(), acks.under_way.len()), (3, 0, 0));
    }

    #[test]
    fn a_receipt_that_nobody_wanted_stays_at_hand() {
        let mut acks = acks(1);
        assert!(acks.ready() && acks.slip().is_none() && acks.ready());
        acks.note(owner(0), Txnr(2), 1);
        acks.slip().expect("wanted now").confirm();
        assert!(acks.has_settled());
        assert_eq!(settled(&mut acks), [(0, 2, 1, Outcome::Confirmed)]);
    }

    #[test]
    fn who_shares_a_batch_has_an_entry_each() {
        let mut acks = acks(1);
        assert!(acks.ready());
        for round in 0..3 {
            for index in 0..2 {
                acks.note(owner(index), Txnr(2 + round), 1);
            }
        }
        acks.slip().expect("wanted").confirm();
        let all = settled(&mut acks);
        assert_eq!(all.iter().map(|it| it.2).sum::<u32>(), 6);
        let of_one: Vec<u32> = all.iter().filter(|it| it.0 == 1).map(|it| it.1).collect();
        assert_eq!(of_one, [2, 3, 4], "in order");
    }
}
