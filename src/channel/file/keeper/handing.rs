//! Batches go to the sinks in the order of their numbers, from memory or read back.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::answers::behind;
use super::{Keeper, Outstanding, Reading};
use crate::channel::Parcel;
use crate::channel::file::clerk::Seek;
use crate::channel::file::log::{Place, Written};
use crate::channel::file::scan::Step;
use crate::memory::{Lease, Receipt, ReceiptSlip};
use crate::time::Now;

impl Keeper {
    /// Hands over as many as are wanted; says whether it did something.
    pub(super) fn hand_over(&mut self, now: Now) -> bool {
        let mut any = false;
        if self.is_unread() {
            return false;
        }
        while self.shared.ready.len() < self.manner.ahead {
            let next = self.delivered.next_missing(self.state.behind.seq);
            let waits = next < self.log.put.seq;
            let again = self.state.again.front().map(|again| again.seq);
            if again.is_none() && !waits {
                break;
            }
            let wanted = again.unwrap_or(next);
            let idle = self.state.reading.is_none();
            let at = self.state.young.iter().position(|young| young.seq == wanted);
            let moved = match at {
                Some(at) if idle && again.is_some() => self.hand_again(at),
                Some(at) if idle => self.hand_young(at),
                _ => self.seek(wanted, again.is_some(), now),
            };
            if !moved {
                break;
            }
            any = true;
        }
        any
    }

    /// Whether `hand_over` would do something: asked before a sleep.
    pub(super) fn may_hand(&self, now: Now) -> bool {
        let next = self.delivered.next_missing(self.state.behind.seq);
        let again = !self.state.again.is_empty();
        let nothing = !again && next >= self.log.put.seq;
        if self.is_unread() || nothing || self.shared.ready.len() >= self.manner.ahead {
            return false;
        }
        let receipt = self.state.receipt.is_some() || self.receipts.has_free();
        let young = self.state.young.iter().find(|young| young.seq == next);
        match young {
            Some(young) if !again => receipt && self.may_stand_beside(young.seq),
            _ => {
                let idle = self.state.reading.is_none() && !self.rests(now);
                idle && receipt && self.pages.free() > 0
            }
        }
    }

    /// Sinks have only so much of the credit, and what is not synced yet is kept beside them, in
    /// so many pages at most.
    fn may_stand_beside(&self, seq: u64) -> bool {
        if self.shared.hands.load(Ordering::Relaxed) >= self.manner.hands_max {
            return false;
        }
        let handed = self.state.young.iter().filter(|young| young.handed).count();
        seq < self.log.synced || handed < self.manner.beside_max
    }

    fn hand_young(&mut self, at: usize) -> bool {
        let seq = self.state.young[at].seq;
        if !self.may_stand_beside(seq) {
            return false;
        }
        let Some((receipt, slip)) = self.take_receipt() else { return false };
        let young = &mut self.state.young[at];
        young.handed = true;
        let mut credit = young.credit.take();
        if let Some(hold) = &mut credit {
            self.shared.hands.fetch_add(1, Ordering::Relaxed);
            hold.hands = Some(Arc::clone(&self.shared.hands));
        }
        let parcel = Parcel {
            batch: young.batch.clone(),
            credit,
            slip: Some(slip),
            first_at: young.first_at,
            offered_at: young.offered_at,
            refusals: None,
        };
        let (events, bytes, mut put) = (young.events, young.bytes, young.before);
        let Written { place, record_bytes } = young.written;
        self.state.cursor = Some(Place { offset: place.offset + record_bytes, ..place });
        (put.seq, put.events, put.bytes) = (seq + 1, put.events + events, put.bytes + bytes);
        self.state.behind = put;
        if seq < self.log.synced {
            self.state.young.remove(at);
        }
        self.state.outstanding[receipt.index()] = Some(Outstanding { seq, events, bytes });
        self.shared.ready.offer(parcel);
        true
    }

    /// Memory still has what a sink gave up.
    fn hand_again(&mut self, at: usize) -> bool {
        let Some((receipt, slip)) = self.take_receipt() else { return false };
        let young = &self.state.young[at];
        let (seq, events, bytes) = (young.seq, young.events, young.bytes);
        self.state.outstanding[receipt.index()] = Some(Outstanding { seq, events, bytes });
        self.shared.ready.offer(Parcel {
            batch: young.batch.clone(),
            credit: None,
            slip: Some(slip),
            first_at: young.first_at,
            offered_at: young.offered_at,
            refusals: None,
        });
        self.state.again.pop_front();
        self.shared.owed.fetch_sub(1, Ordering::Release);
        true
    }

    fn take_receipt(&mut self) -> Option<(Receipt, ReceiptSlip)> {
        self.state.receipt.take().or_else(|| self.receipts.take(1))
    }

    /// Asks for a batch that only the disk has. False when it cannot be asked now.
    fn seek(&mut self, seq: u64, again: bool, now: Now) -> bool {
        if self.state.reading.is_some() || self.rests(now) {
            return false;
        }
        let sought = if again { seq } else { seq.max(self.state.sought) };
        let from = self.state.cursor.filter(|_| !again).map_or(0, |cursor| cursor.segment);
        let Some(segment) = self.log.segment_with(sought, from).cloned() else {
            return self.pass_missing(again);
        };
        if self.state.receipt.is_none() {
            self.state.receipt = self.receipts.take(1);
            if self.state.receipt.is_none() {
                return false;
            }
        }
        let Some(page) = self.pages.take() else { return false };
        let cursor = self.state.cursor.filter(|at| at.segment == segment.number && !again);
        let start = Place { segment: segment.number, offset: 0 };
        let place = cursor.unwrap_or(start);
        self.state.reading = Some(Reading { again, place, put: self.log.put });
        self.reader.ask(Seek {
            path: segment.path,
            place,
            limit: segment.bytes,
            log: self.log.id,
            seq: sought,
            upto: segment.end_seq,
            page,
        });
        true
    }

    /// No segment has it, nor anything behind it.
    fn pass_missing(&mut self, again: bool) -> bool {
        if again {
            self.give_up_again();
            return true;
        }
        let end = self.log.put;
        self.pass_gap(self.first_young().filter(|young| young.seq < end.seq).unwrap_or(end));
        true
    }

    /// A batch that was read back goes to the sinks.
    pub(super) fn hand_read(&mut self, step: &Step, page: Lease, reading: Reading, now: Now) {
        let (receipt, slip) = self.state.receipt.take().expect("taken before it was asked");
        let (seq, outline) = (step.head.seq, &step.head.outline);
        let (events, bytes) = (u64::from(outline.events), outline.event_bytes);
        self.state.outstanding[receipt.index()] = Some(Outstanding { seq, events, bytes });
        if !reading.again {
            self.state.behind = behind(step);
            self.state.cursor = Some(Place { segment: step.head.segment, offset: step.end() });
        }
        self.shared.ready.offer(Parcel {
            batch: page.seal(),
            credit: None,
            slip: Some(slip),
            first_at: now.mono,
            offered_at: now.mono,
            refusals: None,
        });
        if reading.again {
            self.state.again.pop_front();
            self.shared.owed.fetch_sub(1, Ordering::Release);
        }
    }
}
