//! One reading of the ledger as plain numbers, and the equations that must hold between them.
//!
//! ```text
//! source    received           = filtered + lost (here, without kernel) + routed
//! channel   put + recovered    = waiting + written + filtered + dead-lettered + lost
//! ```
//!
//! A channel's `put` is everything offered to it; what a dropping channel then drops stands in its
//! own `lost{channel_full}`, so that an event for several channels is routed once whatever each of
//! them does. A channel's right side takes the sinks that drain it. `lost{kernel}` was never
//! received and stands outside.
//!
//! The equations are exact at rest. While batches are moving a reading may fall between two counts
//! of one batch: [`Ledger::settled`](super::ledger::Ledger::settled) looks again until it does not.

use std::fmt;

use super::counter::{LostReason, Mark, Unparsed};
use super::histogram::HistogramTotals;
use crate::time::Wall;

/// One reading of everything an agent counts.
#[derive(Clone, Debug, PartialEq)]
pub struct Snapshot {
    pub agent: String,
    pub started: Wall,
    pub sources: Vec<SourceTotals>,
    pub channels: Vec<ChannelTotals>,
    pub sinks: Vec<SinkTotals>,
    pub pool: Option<PoolTotals>,
}

/// Both sides of one equation with their numbers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Equation {
    /// `source net`, `channel main`.
    pub component: String,
    /// `received 7 = filtered 1 + lost 2 + routed 4`.
    pub text: String,
    pub left: i128,
    pub right: i128,
}

impl Equation {
    pub fn holds(&self) -> bool {
        self.left == self.right
    }
}

impl fmt::Display for Equation {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}: {}", self.component, self.text)?;
        match self.left - self.right {
            0 => Ok(()),
            off if off > 0 => write!(out, " (left is {off} more)"),
            off => write!(out, " (right is {} more)", -off),
        }
    }
}

macro_rules! labelled_totals {
    ($($totals:ident by $key:ident),*) => {$(
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
        pub struct $totals([u64; $key::COUNT]);

        impl $totals {
            pub fn get(&self, which: $key) -> u64 {
                self.0[which as usize]
            }

            pub fn total(&self) -> u64 {
                self.0.iter().sum()
            }

            /// Every label with its count, zeros too.
            pub fn each(&self) -> impl Iterator<Item = ($key, u64)> + '_ {
                $key::ALL.iter().map(|&which| (which, self.get(which)))
            }

            pub(super) fn add(&mut self, values: [u64; $key::COUNT]) {
                for (total, value) in self.0.iter_mut().zip(values) {
                    *total += value;
                }
            }
        }
    )*};
}

labelled_totals!(LostTotals by LostReason, MarkTotals by Mark, UnparsedTotals by Unparsed);

/// A source's counts, over its threads. Fields as in
/// [`SourceCounters`](super::counter::SourceCounters).
#[derive(Clone, Debug, Default, PartialEq)]
pub struct SourceTotals {
    pub name: String,
    pub received_events: u64,
    pub received_bytes: u64,
    pub filtered_events: u64,
    pub routed_events: u64,
    pub routed_batches: u64,
    pub lost: LostTotals,
    pub marked: MarkTotals,
    pub unparsed: UnparsedTotals,
    pub errors: u64,
    pub refused_connections: u64,
    pub open_connections: u64,
}

/// A channel's counts, over its inlets.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ChannelTotals {
    pub name: String,
    pub put_events: u64,
    pub put_bytes: u64,
    pub put_batches: u64,
    pub recovered_events: u64,
    pub waiting_events: i64,
    pub waiting_bytes: i64,
    pub capacity_bytes: u64,
    /// Lost in the channel itself; its sinks have their own.
    pub lost: LostTotals,
}

/// A sink's counts, over its threads.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct SinkTotals {
    pub name: String,
    pub channel: String,
    pub written_events: u64,
    pub written_bytes: u64,
    pub written_batches: u64,
    pub stored_bytes: u64,
    pub synced_events: u64,
    pub filtered_events: u64,
    pub dead_lettered_events: u64,
    pub lost: LostTotals,
    pub marked: MarkTotals,
    pub errors: u64,
    pub retries: u64,
    pub channel_wait: HistogramTotals,
    pub write: HistogramTotals,
    pub sync: HistogramTotals,
}

/// The pool's size and what is free of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PoolTotals {
    pub batches: u64,
    pub free: u64,
}

impl SourceTotals {
    pub(super) fn new(name: &str) -> Self {
        Self { name: name.to_owned(), ..Self::default() }
    }

    /// Received, and lost before it was routed.
    pub fn lost_here(&self) -> u64 {
        self.lost.total() - self.lost.get(LostReason::Kernel)
    }

    fn equation(&self) -> Equation {
        let (received, filtered) = (self.received_events, self.filtered_events);
        let (lost, routed) = (self.lost_here(), self.routed_events);
        Equation {
            component: format!("source {}", self.name),
            text: format!(
                "received {received} = filtered {filtered} + lost {lost} + routed {routed}"
            ),
            left: i128::from(received),
            right: sum([filtered, lost, routed]),
        }
    }
}

impl ChannelTotals {
    pub(super) fn new(name: &str) -> Self {
        Self { name: name.to_owned(), ..Self::default() }
    }

    /// `sinks`: those that drain this channel.
    fn equation(&self, sinks: &[&SinkTotals]) -> Equation {
        let total = |count: fn(&SinkTotals) -> u64| sinks.iter().map(|sink| count(sink)).sum();
        let (put, recovered, waiting) =
            (self.put_events, self.recovered_events, self.waiting_events);
        let written: u64 = total(|sink| sink.written_events);
        let filtered: u64 = total(|sink| sink.filtered_events);
        let dead: u64 = total(|sink| sink.dead_lettered_events);
        let lost = self.lost.total() + total(|sink| sink.lost.total());
        Equation {
            component: format!("channel {}", self.name),
            text: format!(
                "put {put} + recovered {recovered} = waiting {waiting} + written {written} + \
                 filtered {filtered} + dead-lettered {dead} + lost {lost}"
            ),
            left: sum([put, recovered]),
            right: i128::from(waiting) + sum([written, filtered, dead, lost]),
        }
    }
}

impl SinkTotals {
    pub(super) fn new(name: &str, channel: &str) -> Self {
        Self { name: name.to_owned(), channel: channel.to_owned(), ..Self::default() }
    }
}

impl Snapshot {
    /// Every equation, whether it holds or not: sources, then channels.
    pub fn balance(&self) -> Vec<Equation> {
        let channels = self
            .channels
            .iter()
            .map(|channel| channel.equation(&self.sinks_of(&channel.name).collect::<Vec<_>>()));
        self.sources.iter().map(SourceTotals::equation).chain(channels).collect()
    }

    /// Whether every equation holds. Meant for rest; see the head of this file.
    pub fn adds_up(&self) -> bool {
        self.balance().iter().all(Equation::holds)
    }

    /// Every event lost anywhere: each stands in exactly one series.
    pub fn lost_events(&self) -> u64 {
        let sources = self.sources.iter().map(|source| source.lost.total());
        let channels = self.channels.iter().map(|channel| channel.lost.total());
        let sinks = self.sinks.iter().map(|sink| sink.lost.total());
        sources.chain(channels).chain(sinks).sum()
    }

    pub fn sinks_of<'a>(&'a self, channel: &'a str) -> impl Iterator<Item = &'a SinkTotals> {
        self.sinks.iter().filter(move |sink| sink.channel == channel)
    }
}

fn sum<const N: usize>(terms: [u64; N]) -> i128 {
    terms.into_iter().map(i128::from).sum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::telemetry::ledger::Ledger;

    /// 100 events came: 3 filtered, 2 unrouted; 95 routed to both channels; `a` dropped 5 and has
    /// 10 waiting; `b` has two sinks and recovered 7.
    fn example() -> Snapshot {
        let mut builder = Ledger::builder("edge");
        let source = builder.source("net").worker();
        let (a, a_inlet) = (builder.channel("a").counters(), builder.channel("a").inlet());
        let (b, b_inlet) = (builder.channel("b").counters(), builder.channel("b").inlet());
        let archive = builder.sink("archive", "a").worker();
        let (left, right) =
            (builder.sink("left", "b").worker(), builder.sink("right", "b").worker());
        let ledger = builder.build();
        source.received_events.add(100);
        source.lost[LostReason::Kernel].add(50);
        source.lost[LostReason::Unrouted].add(2);
        source.filtered_events.add(3);
        source.routed_events.add(95);
        a_inlet.put_events.add(95);
        a_inlet.lost[LostReason::ChannelFull].add(5);
        a.gauge.enter(90, 900);
        archive.written_events.add(80);
        a.gauge.leave(80, 800);
        b_inlet.put_events.add(95);
        b.recovered_events.add(7);
        b.gauge.enter(102, 1);
        left.written_events.add(90);
        right.written_events.add(1);
        right.filtered_events.add(2);
        right.dead_lettered_events.add(4);
        right.lost[LostReason::Refused].add(3);
        b.lost[LostReason::Shutdown].add(2);
        b.gauge.leave(102, 1);
        ledger.snapshot()
    }

    #[test]
    fn the_equations_show_exact_numbers() {
        let snapshot = example();
        let texts: Vec<_> = snapshot.balance().iter().map(Equation::to_string).collect();
        assert_eq!(
            texts,
            [
                "source net: received 100 = filtered 3 + lost 2 + routed 95",
                "channel a: put 95 + recovered 0 = waiting 10 + written 80 + filtered 0 + \
                 dead-lettered 0 + lost 5",
                "channel b: put 95 + recovered 7 = waiting 0 + written 91 + filtered 2 + \
                 dead-lettered 4 + lost 5",
            ]
        );
        assert!(snapshot.adds_up());
        assert_eq!(snapshot.lost_events(), 50 + 2 + 5 + 3 + 2);
    }

    #[test]
    fn a_wrong_gauge_is_reported() {
        let mut snapshot = example();
        snapshot.channels[0].waiting_events -= 3;
        assert!(!snapshot.adds_up());
        let wrong: Vec<_> =
            snapshot.balance().into_iter().filter(|equation| !equation.holds()).collect();
        assert_eq!(wrong.len(), 1);
        assert_eq!((wrong[0].left, wrong[0].right), (95, 92));
        assert!(wrong[0].to_string().ends_with("+ lost 5 (left is 3 more)"));
    }

    #[test]
    fn an_event_counted_twice_is_reported() {
        let mut snapshot = example();
        snapshot.sinks[1].written_events += 1;
        let wrong = snapshot.balance().into_iter().find(|equation| !equation.holds());
        assert!(wrong.expect("channel b").to_string().ends_with("(right is 1 more)"));
    }

    #[test]
    fn an_event_lost_at_the_source_is_missed_when_not_counted() {
        let mut snapshot = example();
        snapshot.sources[0].routed_events -= 1;
        assert!(!snapshot.balance()[0].holds());
    }
}
