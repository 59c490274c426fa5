//! How a batch leaves a sink that delivers it event by event: what was delivered, what was refused
//! for ever, and what another sink must deliver or be asked.

use std::io;

use super::dead_letters::DeadLetters;
use crate::channel::{Amount, Channel, Parcel, Refusal, Refusals};
use crate::codec::encoders::DeadLetter;
use crate::event::{Page, Removed, Since};
use crate::limits::usize_of;
use crate::memory::receipt::Reached;
use crate::memory::{Lease, ReceiptSlip, Shared};
use crate::telemetry::{LostReason, Mark, SinkCounters};
use crate::time::Now;

/// What became of a batch's events, as it is counted.
#[derive(Clone, Copy, Debug, Default)]
pub struct Fate {
    /// Events that nobody will take, and their bytes.
    pub refused: Amount,
    /// They are with the dead letters.
    pub set_aside: bool,
    /// Events that were delivered without their end.
    pub truncated_events: u64,
    /// Bytes on the wire.
    pub sent_bytes: u64,
}

/// Sets aside events of a batch, by their places in it, in order, with why; waits until they are
/// synced. After an error none is.
pub fn set_aside(
    letters: &DeadLetters,
    page: &Page,
    refused: impl Iterator<Item = (u32, Refusal)>,
    now: Now,
) -> io::Result<()> {
    let mut lines = Vec::new();
    let mut events = page.events().zip(0..);
    for (wanted, Refusal { sink, attempts, reason }) in refused {
        let found = events.find(|(_, index)| *index == wanted);
        let letter = DeadLetter { sink: &sink, reason: &reason, attempts, at: now.wall };
        found.iter().for_each(|(event, _)| letter.write(event, &mut lines));
    }
    letters.keep(&lines)
}

/// All of it is delivered, or refused for ever: it is counted, and its page goes home. `began` is
/// its first attempt.
pub fn finish(
    mut parcel: Parcel,
    fate: Fate,
    began: Now,
    counters: &SinkCounters,
    channel: &dyn Channel,
    now: Now,
) {
    let all = Amount::of(&parcel.batch);
    counters.written_events.add(all.events - fate.refused.events);
    counters.written_bytes.add(all.bytes - fate.refused.bytes);
    counters.written_batches.add(1);
    counters.stored_bytes.add(fate.sent_bytes);
    counters.write.record(now.mono.since(began.mono));
    counters.marked.add(Mark::Truncated, fate.truncated_events);
    if fate.set_aside {
        counters.dead_lettered_events.add(fate.refused.events);
    } else {
        counters.lost.add(LostReason::Refused, fate.refused.events);
    }
    channel.leave(all, all.when(parcel.passes()));
    let reached = |slip: &ReceiptSlip| slip.wanted() <= Reached::Written;
    // What is with the dead letters is safe, and need not be sent to us again.
    let safe = fate.refused.events == 0 || fate.set_aside;
    let slip = parcel.slip.take().filter(reached);
    slip.into_iter().for_each(|slip| if safe { slip.confirm() } else { slip.refuse() });
}

/// What this sink leaves of a batch to the others of its group.
#[derive(Clone, Debug, Default)]
pub struct Rest {
    /// Events from here on were not tried to the end.
    pub settled: u32,
    /// Of those before, what is left, in order: refused, or to be tried once more; the others are
    /// delivered.
    pub left: Vec<(u32, Option<Refusal>)>,
    pub truncated_events: u64,
    pub sent_bytes: u64,
    /// Its next hop is away; else it goes on.
    pub failed: bool,
}

/// To another sink: what was refused, and what was not tried. What is delivered is counted and
/// leaves. Back as it is when other channels read the batch, and no page is free for a copy.
pub fn hand_on(
    mut parcel: Parcel,
    rest: &Rest,
    counters: &SinkCounters,
    channel: &dyn Channel,
    now: Now,
) -> Result<(), Parcel> {
    let passes = parcel.passes();
    let mut page = match own(parcel.batch, channel) {
        Ok(page) => page,
        Err(shared) => {
            parcel.batch = shared;
            return Err(parcel);
        }
    };
    let mut earlier = parcel.refusals.take().map_or_else(Refusals::default, |it| *it);
    let (mut said, mut index) = (Vec::new(), 0);
    let mut left = rest.left.iter().peekable();
    let removed = page.retain(&Since::START, |_| {
        let before = earlier.said.get(usize_of(index)).and_then(Option::as_ref);
        let own = left.next_if(|(place, _)| *place == index);
        let is_left = own.is_some() || index >= rest.settled;
        if is_left {
            let own = own.and_then(|(_, refusal)| Some(refusal.clone()?.after(before)));
            said.push(own.or_else(|| before.cloned()));
        }
        index += 1;
        is_left
    });
    parcel.batch = page.seal();
    earlier.said = said;
    parcel.refusals = worth_keeping(earlier);
    deliver(removed, passes, counters, channel);
    counters.stored_bytes.add(rest.sent_bytes);
    counters.marked.add(Mark::Truncated, rest.truncated_events);
    let kept = match rest.failed {
        true => channel.give_back(parcel, now),
        false => channel.refuse(parcel, now),
    };
    assert!(kept.is_none(), "only a group is handed on to");
    Ok(())
}

/// To another sink, without its first events, which are delivered, if that is possible: where other
/// channels read the batch, too, and no page is free for a copy, all of it is delivered again.
pub fn give_back(
    mut parcel: Parcel,
    delivered: u32,
    counters: &SinkCounters,
    channel: &dyn Channel,
    now: Now,
) {
    let passes = parcel.passes();
    if delivered > 0 {
        parcel.batch = match own(parcel.batch, channel) {
            Err(shared) => shared,
            Ok(mut page) => {
                let mut index = 0;
                let removed = page.retain(&Since::START, |_| {
                    index += 1;
                    index > delivered
                });
                parcel.refusals = parcel.refusals.take().and_then(|mut refusals| {
                    refusals.said.drain(..usize_of(delivered));
                    worth_keeping(*refusals)
                });
                deliver(removed, passes, counters, channel);
                page.seal()
            }
        };
    }
    let kept = channel.give_back(parcel, now);
    assert!(kept.is_none(), "only a group is given back to");
}

/// What was said of events that are gone is forgotten: the others are as if nothing had been.
fn worth_keeping(refusals: Refusals) -> Option<Box<Refusals>> {
    refusals.said.iter().any(Option::is_some).then(|| Box::new(refusals))
}

/// A page to take events out of.
fn own(batch: Shared, channel: &dyn Channel) -> Result<Lease, Shared> {
    batch.unseal().or_else(|shared| channel.copy(&shared).ok_or(shared))
}

fn deliver(removed: Removed, passes: bool, counters: &SinkCounters, channel: &dyn Channel) {
    counters.written_events.add(removed.events);
    counters.written_bytes.add(removed.bytes);
    let gone = Amount { events: removed.events, bytes: removed.bytes };
    channel.leave(gone, gone.when(passes));
}
