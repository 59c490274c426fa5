//! How a batch leaves a sink that delivers it event by event: what was delivered, what was refused
//! for ever, and what another sink must deliver.

use crate::channel::{Amount, Channel, Parcel};
use crate::event::Since;
use crate::memory::ReceiptSlip;
use crate::memory::receipt::Reached;
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

/// To another sink, without its first events, which are delivered, if that is possible: where other
/// channels read the batch, too, all of it is delivered again.
pub fn give_back(
    mut parcel: Parcel,
    delivered: u32,
    counters: &SinkCounters,
    channel: &dyn Channel,
    now: Now,
) {
    let passes = parcel.passes();
    if delivered > 0 {
        parcel.batch = match parcel.batch.unseal() {
            Err(shared) => shared,
            Ok(mut page) => {
                let mut index = 0;
                let removed = page.retain(&Since::START, |_| {
                    index += 1;
                    index > delivered
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
