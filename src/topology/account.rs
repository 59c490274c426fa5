//! What is counted when all is at rest: what still waits is lost, and then the ledger adds up.

use super::agent::{Crew, Outcome, Station};
use super::drain::Drained;
use crate::telemetry::{LostReason, SourceCounters};

pub(super) struct Ending {
    pub(super) drained: Drained,
    /// A reader of ours went away, as `head` does: nobody is to blame for what it did not want.
    pub(super) quiet: bool,
}

pub(super) fn close(crew: &mut Crew, ending: Ending) -> Outcome {
    crew.reap();
    let stations = || {
        let sources = crew.sources.iter().map(|(station, _)| station);
        sources.chain(crew.sinks.iter().map(|(station, _)| station)).chain(&crew.helpers)
    };
    let hung = !stations().all(Station::is_over);
    let forced = ending.drained == Drained::Forced;
    if forced || crew.failed {
        // Only then a source may have been dropped with events it had read and not yet offered. In
        // any other case a difference is our mistake, and must show.
        crew.sources.iter().for_each(|(_, counters)| count_unrouted(counters));
    }
    let lost: u64 = crew.channels.iter().map(|channel| count_waiting(channel.counters())).sum();
    let snapshot = crew.handles.ledger.snapshot();
    let delivered = lost == 0 || ending.quiet;
    let well = delivered && !forced && !hung && !crew.failed && snapshot.adds_up();
    Outcome { code: u8::from(!well), snapshot, hung }
}

/// Counts what a dropped source had read and not offered.
fn count_unrouted(counters: &SourceCounters) {
    let lost_here: u64 =
        counters.lost.values().iter().sum::<u64>() - counters.lost[LostReason::Kernel].get();
    let out = counters.routed_events.get() + counters.filtered_events.get() + lost_here;
    let rest = counters.received_events.get().saturating_sub(out);
    counters.lost.add(LostReason::Shutdown, rest);
}

/// Counts what still waits as lost; returns how many events that are.
fn count_waiting(counters: &crate::telemetry::ChannelCounters) -> u64 {
    let (events, bytes) = (counters.gauge.events(), counters.gauge.bytes());
    let events = u64::try_from(events).unwrap_or(0);
    counters.lost.add(LostReason::Shutdown, events);
    counters.gauge.leave(events, u64::try_from(bytes).unwrap_or(0));
    events
}
