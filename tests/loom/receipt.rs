//! A receipt settles once, and fails when any channel or part of it does.

use flumen::memory::ReceiptPool;
use flumen::memory::receipt::{Outcome, Reached};
use loom::thread;

use crate::model;

#[test]
fn two_channels_answer() {
    for fails in [false, true] {
        model(move || {
            let receipts = ReceiptPool::new(1, Reached::Synced);
            let (receipt, slip) = receipts.take(2).unwrap();
            let other = slip.for_channel();
            let channel = thread::spawn(move || if fails { drop(other) } else { other.confirm() });
            slip.confirm();
            let early = receipts.poll();
            channel.join().unwrap();
            let late = receipts.poll();
            let outcome = if fails { Outcome::Failed } else { Outcome::Confirmed };
            assert_eq!(early.xor(late), Some((receipt, outcome)));
            assert!(receipts.take(1).is_some());
        });
    }
}

/// A part is split off in one thread while another channel answers in a second.
#[test]
fn parts_and_a_channel_answer() {
    model(|| {
        let receipts = ReceiptPool::new(1, Reached::Synced);
        let (receipt, slip) = receipts.take(2).unwrap();
        let other = slip.for_channel();
        let channel = thread::spawn(move || other.confirm());
        let part = slip.part();
        let lost = thread::spawn(move || drop(part));
        slip.confirm();
        channel.join().unwrap();
        lost.join().unwrap();
        assert_eq!(receipts.poll(), Some((receipt, Outcome::Failed)));
        assert_eq!(receipts.poll(), None);
    });
}
