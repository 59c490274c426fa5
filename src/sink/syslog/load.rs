//! A batch on its way to a peer: how far it has come, and what is to be counted when it is there.

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
    /// Events that are with the peer's kernel, or in our own buffer on their way there.
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
    bytes: u32,
    why: Why,
}

impl Refused {
    fn refusal(&self, sink: &str) -> Refusal {
        Refusal { sink: sink.to_owned(), attempts: 1, reason: self.why.to_string() }
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
    pub(super) fn refuse(&mut self, index: u32, event: &Event<'_>, why: Why) {
        let bytes = u32_of(event.bytes.len());
        exempt(|| self.refused.push(Refused { index, bytes, why }));
    }

    /// Events from this one on are tried once more.
    pub(super) fn forget_from(&mut self, index: u32) {
        self.refused.retain(|refused| refused.index < index);
    }

    pub(super) fn refused_events(&self) -> u64 {
        self.refused.len() as u64
    }

    /// What is left to others when so many events are settled.
    fn rest(&self, settled: u32, sink: &str) -> Rest {
        let refusal = |refused: &Refused| (refused.index, refused.refusal(sink));
        let refused = exempt(|| self.refused.iter().map(refusal).collect());
        let Self { truncated_events, sent_bytes, .. } = *self;
        Rest { settled, refused, truncated_events, sent_bytes, failed: false }
    }

    fn refused_bytes(&self) -> u64 {
        self.refused.iter().map(|refused| u64::from(refused.bytes)).sum()
    }
}

impl Load {
    pub(super) fn new(parcel: Parcel, now: Now, counters: &SinkCounters) -> Self {
        counters.channel_wait.record(now.mono.since(parcel.offered_at));
        let (taken, settled) = (0, 0);
        let (tally, settled_tally) = (Tally::default(), Tally::default());
        let (sent, set_aside) = (false, false);
        Self { parcel, began: now, taken, tally, settled, settled_tally, sent, set_aside }
    }

    pub(super) fn page(&self) -> &Page {
        &self.parcel.batch
    }

    /// All that is not settled, to whoever is next: the connection broke, and what of it arrived
    /// nobody knows.
    pub(super) fn start_again(&mut self) {
        if !self.sent {
            self.taken = self.settled;
            self.tally = exempt(|| self.settled_tally.clone());
        }
    }

    /// The peer has the next event, or has said that it does not want it.
    pub(super) fn settle(&mut self, refused: Option<Why>) {
        if let Some(why) = refused {
            let index = self.settled;
            let event = self.parcel.batch.events().nth(index as usize);
            event.iter().for_each(|event| self.settled_tally.refuse(index, event, why));
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
        let settled = self.parcel.batch.event_count();
        let rest = self.tally.rest(settled, place.sink);
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
        if self.settled_tally.refused.is_empty() {
            leaving::give_back(self.parcel, self.settled, counters, channel, now);
            return None;
        }
        let rest = self.settled_tally.rest(self.settled, place.sink);
        self.leave(&Rest { failed: true, ..rest }, channel, counters, now)
    }

    /// It is sent: counted, its page goes home.
    pub(super) fn finish(self, counters: &SinkCounters, channel: &dyn Channel, now: Now) {
        let Self { parcel, began, tally, set_aside, .. } = self;
        let (events, bytes) = (tally.refused_events(), tally.refused_bytes());
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
    pub(super) letters: Option<&'a DeadLetters>,
}
