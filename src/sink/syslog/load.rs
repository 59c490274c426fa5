//! A batch on its way to a peer: how far it has come, and what is to be counted when it is there.
//!
//! ```text
//!   1000 events ──▶ 997 accepted, 3 refused ──pause──▶ 3 ──▶ 1 accepted, 2 refused ──pause──▶ 2 …
//! ```
//! What a peer that answers has refused goes out again when all of the batch has its answer, and
//! alone; so often at most, and then it is refused for ever. All that is tried at a time has been
//! refused equally often, so one number says it, whatever connections break meanwhile.

use std::fmt;
use std::io;

use crate::channel::{Amount, Channel, Parcel, Refusal};
use crate::event::{Event, Page};
use crate::limits::u32_of;
use crate::memory::gate::exempt;
use crate::sink::dead_letters::DeadLetters;
use crate::sink::leaving::{self, Fate, Rest};
use crate::telemetry::SinkCounters;
use crate::time::Now;

pub(super) struct Load {
    parcel: Parcel,
    /// Its first attempt.
    began: Now,
    /// The places of what was refused and is tried once more; empty while all of it is tried.
    again: Vec<u32>,
    /// Events of those that are with the peer's kernel, or in our own buffer on their way there.
    pub(super) taken: u32,
    pub(super) tally: Tally,
    /// Of those, what will not be sent again whatever happens: the peer has said so.
    settled: u32,
    settled_tally: Tally,
    /// The peer has all of it that it will have.
    sent: bool,
    /// What was refused is with the dead letters.
    set_aside: bool,
}

/// What happened to a batch's events so far.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Tally {
    /// How often what is tried now was refused before.
    earlier: u32,
    /// Events that no peer will take in this form, in their order.
    refused: Vec<Refused>,
    /// Events that were sent without their end.
    pub(super) truncated_events: u64,
    /// Bytes on the wire.
    pub(super) sent_bytes: u64,
}

/// One of them, by its place in the batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Refused {
    index: u32,
    attempts: u32,
    why: Why,
}

impl Refused {
    fn refusal(&self, sink: &str) -> Refusal {
        let (sink, reason) = (sink.to_owned(), self.why.to_string());
        Refusal { sink, attempts: self.attempts, reason }
    }

    /// The peer may think better of it; what cannot be sent stays so.
    fn is_tried_again(&self, attempts: u32) -> bool {
        matches!(self.why, Why::Answer(_)) && self.attempts < attempts
    }
}

/// Why nobody will ever take an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Why {
    /// A peer that acknowledges has said so.
    Answer(u16),
    TooLong,
    Empty,
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Answer(code) => write!(f, "the next hop answered {code}"),
            Self::TooLong => f.write_str("longer than a datagram of this socket and route"),
            Self::Empty => f.write_str("empty: no framing of a stream can carry it"),
        }
    }
}

impl Tally {
    pub(super) fn refuse(&mut self, index: u32, why: Why) {
        let refused = Refused { index, attempts: self.earlier + 1, why };
        let place = self.refused.partition_point(|other| other.index < index);
        exempt(|| self.refused.insert(place, refused));
    }

    /// What this attempt has said of events from this one on is open again.
    fn forget_from(&mut self, index: u32) {
        let earlier = self.earlier;
        self.refused.retain(|refused| refused.index < index || refused.attempts <= earlier);
    }

    pub(super) fn refused_events(&self) -> u64 {
        self.refused.len() as u64
    }

    /// What is left to others when so many events are settled, but for those that still `wait`.
    fn rest(&self, settled: u32, wait: &[u32], place: &Place<'_>) -> Rest {
        let refusal = |refused: &Refused| {
            let is_over = !refused.is_tried_again(place.attempts);
            (refused.index, is_over.then(|| refused.refusal(place.sink)))
        };
        let refused = self.refused.iter().map(refusal);
        let all = refused.chain(wait.iter().map(|index| (*index, None)));
        let mut left: Vec<_> = exempt(|| all.collect());
        left.sort_unstable_by_key(|(index, _)| *index);
        let Self { truncated_events, sent_bytes, .. } = *self;
        Rest { settled, left, truncated_events, sent_bytes, failed: false }
    }

    fn refused_bytes(&self, page: &Page) -> u64 {
        let mut refused = self.refused.iter().map(|refused| refused.index).peekable();
        let of = |(event, index): (Event<'_>, u32)| {
            refused.next_if_eq(&index).map_or(0, |_| event.bytes.len() as u64)
        };
        if self.refused.is_empty() { 0 } else { page.events().zip(0..).map(of).sum() }
    }
}

impl Load {
    pub(super) fn new(parcel: Parcel, now: Now, counters: &SinkCounters) -> Self {
        counters.channel_wait.record(now.mono.since(parcel.offered_at));
        let (taken, settled) = (0, 0);
        let (tally, settled_tally) = (Tally::default(), Tally::default());
        let (again, sent, set_aside) = (Vec::new(), false, false);
        Self { parcel, began: now, again, taken, tally, settled, settled_tally, sent, set_aside }
    }

    pub(super) fn page(&self) -> &Page {
        &self.parcel.batch
    }

    /// All of it is tried, and not what was refused alone.
    pub(super) fn is_whole(&self) -> bool {
        self.again.is_empty()
    }

    /// Events that are tried.
    pub(super) fn count(&self) -> u32 {
        if self.is_whole() { self.page().event_count() } else { u32_of(self.again.len()) }
    }

    /// Events that are tried, without the first so many of them, with their places in the batch.
    pub(super) fn events(&self, from: u32) -> impl Iterator<Item = (Event<'_>, u32)> {
        let whole = self.is_whole();
        let mut wanted = self.again.iter().skip(from as usize).peekable();
        let first = wanted.peek().map_or(from, |index| **index);
        let events = self.page().events().zip(0..).skip(first as usize);
        events.filter(move |(_, index)| whole || wanted.next_if_eq(&index).is_some())
    }

    /// The place in the batch of one of them.
    pub(super) fn index(&self, of: u32) -> u32 {
        if self.is_whole() { of } else { self.again[of as usize] }
    }

    /// So many of them are taken, not more, as it turned out.
    pub(super) fn step_back(&mut self, taken: u32) {
        if taken < self.taken {
            self.tally.forget_from(self.index(taken));
        }
        self.taken = taken;
    }

    /// All that is not settled, to whoever is next: the connection broke, and what of it arrived
    /// nobody knows.
    pub(super) fn start_again(&mut self) {
        if !self.sent {
            self.taken = self.settled;
            self.tally = exempt(|| self.settled_tally.clone());
        }
    }

    /// What is taken is known to have come: that much is not sent again, whoever is next.
    pub(super) fn settle_taken(&mut self) {
        if !self.sent {
            self.settled = self.taken;
            self.settled_tally = exempt(|| self.tally.clone());
        }
    }

    /// The peer has the next event, or has said that it does not want it.
    pub(super) fn settle(&mut self, refused: Option<Why>) {
        if let Some(why) = refused {
            self.settled_tally.refuse(self.index(self.settled), why);
        }
        self.settled += 1;
    }

    pub(super) fn settled(&self) -> u32 {
        self.settled
    }

    /// Every event is settled: that is how they count.
    pub(super) fn conclude(&mut self) {
        let sent_bytes = self.tally.sent_bytes;
        self.tally = Tally { sent_bytes, ..std::mem::take(&mut self.settled_tally) };
    }

    /// All of it has its answer: what the peer refused is tried next, and nothing else, if any of
    /// it may be tried once more. Why it was refused.
    pub(super) fn try_again(&mut self, attempts: u32) -> Option<Why> {
        let is_next = |refused: &Refused| refused.is_tried_again(attempts);
        let why = self.tally.refused.iter().find(|it| is_next(it)).filter(|_| !self.sent)?.why;
        let next = self.tally.refused.iter().filter(|it| is_next(it));
        self.again = exempt(|| next.map(|refused| refused.index).collect());
        self.tally.refused.retain(|refused| !is_next(refused));
        self.tally.earlier += 1;
        self.settled_tally = exempt(|| self.tally.clone());
        (self.taken, self.settled) = (0, 0);
        Some(why)
    }

    /// Nothing of it is to be sent any more, whatever becomes of the connection.
    pub(super) fn is_sent(&self) -> bool {
        self.sent
    }

    /// It is sent: what the peer refused goes to the dead letters, if there are any. After an error
    /// it is asked for again.
    pub(super) fn set_aside(&mut self, place: &Place<'_>, now: Now) -> io::Result<()> {
        self.sent = true;
        let Some(letters) = place.letters.filter(|_| !self.tally.refused.is_empty()) else {
            return Ok(());
        };
        let refusal = |refused: &Refused| {
            let earlier = self.parcel.refusal(refused.index);
            (refused.index, refused.refusal(place.sink).after(earlier))
        };
        let refused = self.tally.refused.iter().map(refusal);
        exempt(|| leaving::set_aside(letters, &self.parcel.batch, refused, now))?;
        self.set_aside = true;
        Ok(())
    }

    /// It is sent, and another sink can be asked for what of it was refused.
    pub(super) fn is_asked_on(&self, channel: &dyn Channel) -> bool {
        !self.tally.refused.is_empty() && !self.set_aside && channel.asks(&self.parcel)
    }

    /// It is sent: what of it was refused is another sink's. Back when no page is free for that.
    pub(super) fn hand_on(
        mut self,
        place: &Place<'_>,
        channel: &dyn Channel,
        counters: &SinkCounters,
        now: Now,
    ) -> Option<Self> {
        self.sent = true;
        let rest = self.tally.rest(self.page().event_count(), &[], place);
        self.leave(&rest, channel, counters, now)
    }

    fn leave(
        self,
        rest: &Rest,
        channel: &dyn Channel,
        counters: &SinkCounters,
        now: Now,
    ) -> Option<Self> {
        let left = exempt(|| leaving::hand_on(self.parcel, rest, counters, channel, now));
        left.err().map(|parcel| Self { parcel, ..self })
    }

    /// To another sink, without what the peer has said that it has. Back when it must stay: it is
    /// sent, and its dead letters are not written; or no page is free.
    pub(super) fn give_back(
        self,
        place: &Place<'_>,
        channel: &dyn Channel,
        counters: &SinkCounters,
        now: Now,
    ) -> Option<Self> {
        if self.sent {
            let goes = self.is_asked_on(channel);
            return if goes { self.hand_on(place, channel, counters, now) } else { Some(self) };
        }
        if self.is_whole() && self.settled_tally == Tally::default() {
            leaving::give_back(self.parcel, self.settled, counters, channel, now);
            return None;
        }
        let settled = if self.is_whole() { self.settled } else { self.page().event_count() };
        let wait = self.again.get(self.settled as usize..).unwrap_or_default();
        let rest = self.settled_tally.rest(settled, wait, place);
        self.leave(&Rest { failed: true, ..rest }, channel, counters, now)
    }

    /// It is sent: counted, its page goes home.
    pub(super) fn finish(self, counters: &SinkCounters, channel: &dyn Channel, now: Now) {
        let Self { parcel, began, tally, set_aside, .. } = self;
        let (events, bytes) = (tally.refused_events(), tally.refused_bytes(&parcel.batch));
        let fate = Fate {
            refused: Amount { events, bytes },
            set_aside,
            truncated_events: tally.truncated_events,
            sent_bytes: tally.sent_bytes,
        };
        leaving::finish(parcel, fate, began, counters, channel, now);
    }
}

/// Where dead letters go, and whose they are.
#[derive(Clone, Copy)]
pub(super) struct Place<'a> {
    pub(super) sink: &'a str,
    /// How often an event is tried that is refused.
    pub(super) attempts: u32,
    pub(super) letters: Option<&'a DeadLetters>,
}
