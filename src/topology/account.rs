//! What is counted when all is at rest: what still waits is lost, and then the ledger adds up.

use super::agent::{Crew, Outcome, Station};
use super::drain::Drained;
use crate::channel::Channel;
use crate::telemetry::{LostReason, SourceCounters};

pub(super) struct Ending {
    pub(super) drained: Drained,
    /// A reader of ours went away, as `head` does: nobody is to blame for what it did not want.
    pub(super) quiet: bool,
}

pub(super) fn close(crew: &mut Crew, ending: Ending) -> Outcome {
    crew.reap();
    crew.handles.incidents.close();
    let stations = || {
        let sources = crew.sources.iter().map(|(station, _)| station);
        let sinks = crew.sinks.iter().map(|(station, _)| station);
        sources.chain(sinks).chain(&crew.keepers).chain(&crew.helpers)
    };
    let hung = !stations().all(Station::is_over);
    let forced = ending.drained == Drained::Forced;
    if forced || crew.failed {
        // Only then a source may have been dropped with events it had read and not yet offered. In
        // any other case a difference is our mistake, and must show.
        crew.sources.iter().for_each(|(_, counters)| count_unrouted(counters));
    }
    let lost: u64 = crew.channels.iter().map(|channel| count_waiting(channel.as_ref())).sum();
    let snapshot = crew.handles.ledger.snapshot();
    let delivered = lost == 0 || ending.quiet;
    // What a durable channel keeps is not late: the next start delivers it.
    let kept: i64 = snapshot.channels.iter().map(|channel| channel.waiting_events).sum();
    if kept > 0 {
        tracing::info!("{kept} events stay in durable channels for the next start");
    }
    let late = forced && kept <= 0;
    let well = delivered && !late && !hung && !crew.failed && snapshot.adds_up();
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

/// Counts what waits and will not outlive us as lost; returns how many events that are.
fn count_waiting(channel: &dyn Channel) -> u64 {
    let (events, bytes) = channel.unkept();
    let counters = channel.counters();
    counters.lost.add(LostReason::Shutdown, events);
    counters.gauge.leave(events, bytes);
    events
}
