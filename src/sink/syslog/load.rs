//! A batch on its way to a peer: how far it has come, and what is to be counted when it is there.

use crate::channel::{Amount, Channel, Parcel};
use crate::event::{Event, Page, Since};
use crate::memory::ReceiptSlip;
use crate::memory::receipt::Reached;
use crate::telemetry::{LostReason, Mark, SinkCounters};
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
}

/// What happened to a batch's events so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Tally {
    /// Events that no peer will take in this form.
    pub(super) refused_events: u64,
    pub(super) refused_bytes: u64,
    /// Events that were sent without their end.
    pub(super) truncated_events: u64,
    /// Bytes on the wire.
    pub(super) sent_bytes: u64,
}

impl Tally {
    pub(super) fn refuse(&mut self, event: &Event<'_>) {
        self.refused_events += 1;
        self.refused_bytes += event.bytes.len() as u64;
    }
}

impl Load {
    pub(super) fn new(parcel: Parcel, now: Now, counters: &SinkCounters) -> Self {
        counters.channel_wait.record(now.mono.since(parcel.offered_at));
        let (taken, settled) = (0, 0);
        let (tally, settled_tally) = (Tally::default(), Tally::default());
        Self { parcel, began: now, taken, tally, settled, settled_tally }
    }

    pub(super) fn page(&self) -> &Page {
        &self.parcel.batch
    }

    /// All that is not settled, to whoever is next: the connection broke, and what of it arrived
    /// nobody knows.
    pub(super) fn start_again(&mut self) {
        self.taken = self.settled;
        self.tally = self.settled_tally;
    }

    /// The peer has the next event, or has said that it does not want it.
    pub(super) fn settle(&mut self, wanted: bool) {
        if !wanted {
            let event = self.parcel.batch.events().nth(self.settled as usize);
            event.iter().for_each(|event| self.settled_tally.refuse(event));
        }
        self.settled += 1;
    }

    pub(super) fn settled(&self) -> u32 {
        self.settled
    }

    /// Every event is settled: that is how they count.
    pub(super) fn conclude(&mut self) {
        let sent_bytes = self.tally.sent_bytes;
        self.tally = Tally { sent_bytes, ..self.settled_tally };
    }

    /// To another sink, without what the peer has said that it has.
    pub(super) fn give_back(self, channel: &dyn Channel, counters: &SinkCounters, now: Now) {
        let Self { mut parcel, settled, settled_tally, .. } = self;
        let passes = parcel.passes();
        if settled > 0 && settled_tally.refused_events == 0 {
            parcel.batch = match parcel.batch.unseal() {
                // Other channels read the batch, too: all of it is sent again.
                Err(shared) => shared,
                Ok(mut page) => {
                    let mut index = 0;
                    let removed = page.retain(&Since::START, |_| {
                        index += 1;
                        index > settled
                    });
                    counters.written_events.add(removed.events);
                    counters.written_bytes.add(removed.bytes);
                    let gone = Amount { events: removed.events, bytes: removed.bytes };
                    channel.leave(gone, gone.when(passes));
                    page.seal()
                }
            };
        }
        let kept = channel.give_back(parcel, now);
        assert!(kept.is_none(), "only a group is given back to");
    }

    /// It is sent: counted, its page goes home.
    pub(super) fn finish(self, counters: &SinkCounters, channel: &dyn Channel, now: Now) {
        let Self { mut parcel, began, tally, .. } = self;
        let all = Amount::of(&parcel.batch);
        let Amount { events, bytes } = all;
        counters.written_events.add(events - tally.refused_events);
        counters.written_bytes.add(bytes - tally.refused_bytes);
        counters.written_batches.add(1);
        counters.stored_bytes.add(tally.sent_bytes);
        counters.write.record(now.mono.since(began.mono));
        counters.lost.add(LostReason::Refused, tally.refused_events);
        counters.marked.add(Mark::Truncated, tally.truncated_events);
        channel.leave(all, all.when(parcel.passes()));
        let slip = parcel.slip.take().filter(reached_written);
        slip.into_iter().for_each(|slip| match tally.refused_events {
            0 => slip.confirm(),
            _ => slip.refuse(),
        });
    }
}

fn reached_written(slip: &ReceiptSlip) -> bool {
    slip.wanted() <= Reached::Written
}
