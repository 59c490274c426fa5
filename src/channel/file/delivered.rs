//! Which batches need not be delivered any more: everything below a line, and ranges above it.
//!
//! Sinks finish batches out of order, so what is done is a set. It is small: there are no more
//! ranges than batches in the sinks' hands. Each range knows how many events and bytes it holds, so
//! that what a damaged place cost can be told exactly.

use std::ops::Range;

use super::record::COUNT_MAX;

/// Batches by number, with what they held.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Span {
    pub(super) from: u64,
    /// Behind the last one.
    pub(super) to: u64,
    pub(super) events: u64,
    pub(super) bytes: u64,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Delivered {
    /// Every batch below is done; its `from` is 0.
    base: Span,
    /// What is done above, in order, not touching each other.
    above: Vec<Span>,
    changes: u64,
}

const SPAN_BYTES: usize = 32;

impl Delivered {
    /// Everything below `seq` is done, so many events and bytes.
    pub(super) fn below(seq: u64, events: u64, bytes: u64) -> Self {
        let base = Span { from: 0, to: seq, events, bytes };
        Self { base, above: Vec::new(), changes: 0 }
    }

    /// Makes room for so many ranges, so that marking allocates nothing.
    pub(super) fn reserve(&mut self, ranges: usize) {
        self.above.reserve(ranges);
    }

    /// Events and bytes below the line.
    pub(super) fn base(&self) -> Span {
        self.base
    }

    /// The first batch that is not done.
    pub(super) fn low(&self) -> u64 {
        self.base.to
    }

    /// How often it changed: a state that was written with this number is up to date.
    pub(super) fn changes(&self) -> u64 {
        self.changes
    }

    /// Events and bytes of all that is done.
    pub(super) fn totals(&self) -> (u64, u64) {
        let all = std::iter::once(&self.base).chain(&self.above);
        all.fold((0, 0), |sum, span| (sum.0 + span.events, sum.1 + span.bytes))
    }

    /// The first batch from `seq` on that is not done.
    pub(super) fn next_missing(&self, seq: u64) -> u64 {
        let seq = seq.max(self.base.to);
        let at = self.above.partition_point(|span| span.to <= seq);
        match self.above.get(at) {
            Some(span) if span.from <= seq => span.to,
            _ => seq,
        }
    }

    /// Whether every batch in the range is done.
    pub(super) fn covers(&self, range: &Range<u64>) -> bool {
        range.is_empty() || self.next_missing(range.start) >= range.end
    }

    pub(super) fn contains(&self, seq: u64) -> bool {
        self.next_missing(seq) != seq
    }

    /// Events and bytes of what is done in a range that cuts no span.
    pub(super) fn within(&self, range: &Range<u64>) -> (u64, u64) {
        let inside = |span: &&Span| span.from >= range.start && span.to <= range.end;
        let spans = self.above.iter().filter(inside);
        spans.fold((0, 0), |sum, span| (sum.0 + span.events, sum.1 + span.bytes))
    }

    /// One batch is done. False when it was before.
    pub(super) fn add(&mut self, seq: u64, events: u64, bytes: u64) -> bool {
        if self.contains(seq) {
            return false;
        }
        self.join(Span { from: seq, to: seq + 1, events, bytes });
        true
    }

    /// Everything in a range is done now; `events` and `bytes` are of what was not done before.
    pub(super) fn close_gap(&mut self, range: Range<u64>, mut events: u64, mut bytes: u64) {
        loop {
            let from = self.next_missing(range.start);
            if from >= range.end {
                return;
            }
            let next = self.above.iter().find(|span| span.from > from);
            let to = next.map_or(range.end, |span| span.from.min(range.end));
            self.join(Span { from, to, events, bytes });
            (events, bytes) = (0, 0);
        }
    }

    fn join(&mut self, span: Span) {
        self.changes += 1;
        let at = self.above.partition_point(|other| other.from < span.from);
        self.above.insert(at, span);
        if at + 1 < self.above.len() && self.above[at].to == self.above[at + 1].from {
            let next = self.above.remove(at + 1);
            self.above[at].absorb(&next);
        }
        if at > 0 && self.above[at - 1].to == self.above[at].from {
            let next = self.above.remove(at);
            self.above[at - 1].absorb(&next);
        }
        if self.above[0].from <= self.base.to {
            let first = self.above.remove(0);
            self.base.absorb(&first);
        }
    }

    pub(super) fn encoded_bytes(&self) -> usize {
        (1 + self.above.len()) * SPAN_BYTES
    }

    /// The base, then the ranges: 4 × u64 each.
    pub(super) fn encode(&self, mut out: &mut [u8]) {
        for span in std::iter::once(&self.base).chain(&self.above) {
            for value in [span.from, span.to, span.events, span.bytes] {
                let (own, rest) = out.split_at_mut(8);
                own.copy_from_slice(&value.to_le_bytes());
                out = rest;
            }
        }
    }

    /// None when the ranges are not in order, or hold more than any log.
    pub(super) fn decode(raw: &[u8]) -> Option<Self> {
        let (spans, rest) = raw.as_chunks::<SPAN_BYTES>();
        let long = |raw: &[u8; SPAN_BYTES], at: usize| {
            u64::from_le_bytes(*raw[8 * at..].first_chunk().expect("32 bytes hold 4 × 8"))
        };
        let span = |raw: &[u8; SPAN_BYTES]| Span {
            from: long(raw, 0),
            to: long(raw, 1),
            events: long(raw, 2),
            bytes: long(raw, 3),
        };
        let mut spans = spans.iter().map(span);
        let base = spans.next()?;
        let above: Vec<Span> = spans.collect();
        let (mut front, mut events, mut bytes) = (base.to, base.events, base.bytes);
        for span in &above {
            if span.from <= front || span.to <= span.from {
                return None;
            }
            front = span.to;
            events = events.checked_add(span.events)?;
            bytes = bytes.checked_add(span.bytes)?;
        }
        if [front, events, bytes].iter().any(|count| *count > COUNT_MAX) {
            return None;
        }
        (rest.is_empty() && base.from == 0).then_some(Self { base, above, changes: 0 })
    }
}

impl Span {
    fn absorb(&mut self, next: &Self) {
        self.to = next.to;
        self.events += next.events;
        self.bytes += next.bytes;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    proptest! {
        /// Against a plain set of numbers; every number is worth itself in events.
        #[test]
        fn it_is_a_set(numbers in prop::collection::vec(0u64..60, 0..80)) {
            let (mut delivered, mut plain) = (Delivered::default(), BTreeSet::new());
            for number in numbers {
                prop_assert_eq!(delivered.add(number, number, 2 * number), plain.insert(number));
                let missing = |from: u64| (from..).find(|it| !plain.contains(it)).unwrap();
                prop_assert_eq!(delivered.low(), missing(0));
                for from in 0..62 {
                    prop_assert_eq!(delivered.next_missing(from), missing(from));
                    let covered = (from..from + 3).all(|it| plain.contains(&it));
                    prop_assert_eq!(delivered.covers(&(from..from + 3)), covered);
                }
                let sum: u64 = plain.iter().sum();
                prop_assert_eq!(delivered.totals(), (sum, 2 * sum));
                let mut raw = vec![0; delivered.encoded_bytes()];
                delivered.encode(&mut raw);
                let again = Delivered::decode(&raw).unwrap();
                prop_assert_eq!(again.totals(), delivered.totals());
                prop_assert_eq!(again.low(), delivered.low());
            }
        }
    }

    #[test]
    fn a_gap_is_closed_with_what_was_done_in_it() {
        let mut delivered = Delivered::default();
        delivered.add(0, 10, 100);
        delivered.add(3, 1, 5);
        delivered.add(7, 2, 6);
        assert_eq!(delivered.within(&(1..6)), (1, 5));
        delivered.close_gap(1..6, 20, 50);
        assert_eq!((delivered.low(), delivered.totals()), (6, (33, 161)));
        assert_eq!(delivered.next_missing(0), 6);
        assert_eq!(delivered.next_missing(7), 8);
        delivered.close_gap(5..10, 1, 1);
        assert_eq!((delivered.low(), delivered.totals()), (10, (34, 162)));
    }

    #[test]
    fn ranges_out_of_order_are_refused() {
        let mut delivered = Delivered::default();
        assert!([5, 9].map(|seq| delivered.add(seq, 1, 1)) == [true, true]);
        let mut raw = vec![0; delivered.encoded_bytes()];
        delivered.encode(&mut raw);
        assert!(Delivered::decode(&raw).is_some());
        raw.swap(32, 64);
        assert!(Delivered::decode(&raw).is_none());
        assert!(Delivered::decode(&raw[..40]).is_none());
        assert!(Delivered::decode(&[]).is_none());
    }
}
