//! When each event is due. Pure arithmetic: event i at start + i × interval, whatever happened to
//! those before it (open loop). So a late sender shows as lag and as latency, never as a lower rate
//! (no coordinated omission), and no queue of owed events is needed.
//!
//! Events of a sender go round its lanes: event i is number i / lanes of lane i mod lanes.

use std::time::Duration;

use crate::time::{Mono, duration_ns};

#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Rate {
    /// As fast as the receivers take it; an event is due when it is composed.
    Max,
    /// Events a second over all streams together.
    PerSecond(f64),
}

/// How much to send over all streams together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Extent {
    Count(u64),
    Time(Duration),
    /// Until somebody stops it.
    Endless,
}

/// The schedule of one sender.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pace {
    start: Mono,
    end: Option<Mono>,
    /// Between two events of this sender; None: as fast as possible.
    interval_ns: Option<f64>,
    lanes: u64,
}

impl Pace {
    /// Of a sender that drives `lanes` of `streams` streams.
    pub(super) fn new(start: Mono, rate: Rate, extent: Extent, lanes: u64, streams: u64) -> Self {
        let interval_ns = match rate {
            Rate::Max => None,
            Rate::PerSecond(rate) => Some(1e9 / rate * streams as f64 / lanes as f64),
        };
        let end = match extent {
            Extent::Time(time) => Some(start.after(time)),
            Extent::Count(_) | Extent::Endless => None,
        };
        Self { start, end, interval_ns, lanes }
    }

    pub(super) fn is_paced(&self) -> bool {
        self.interval_ns.is_some()
    }

    pub(super) fn is_over(&self, now: Mono) -> bool {
        self.end.is_some_and(|end| now >= end)
    }

    /// The end, and nothing due before it may be sent any more.
    pub(super) fn is_past(&self, now: Mono, grace: Duration) -> bool {
        self.end.is_some_and(|end| now >= end.after(grace))
    }

    /// How many events are due at `now`. At the end those due before it stay due; at full speed
    /// nothing is due after the end.
    pub(super) fn due(&self, now: Mono) -> u64 {
        match self.interval_ns {
            None if self.is_over(now) => 0,
            None => u64::MAX,
            Some(interval) => {
                let last = self.end.map_or(now, |end| now.min(Mono(end.0 - 1)));
                if last < self.start {
                    return 0;
                }
                let passed = duration_ns(last.since(self.start)) as f64;
                (passed / interval) as u64 + 1
            }
        }
    }

    /// When event `index` of the sender is due.
    pub(super) fn at(&self, index: u64, now: Mono) -> Mono {
        match self.interval_ns {
            None => now,
            Some(interval) => Mono(self.start.0 + (index as f64 * interval) as u64),
        }
    }

    /// When event `sequence` of a lane is due.
    pub(super) fn lane_at(&self, sequence: u64, lane: u64, now: Mono) -> Mono {
        if self.is_paced() { self.at(sequence * self.lanes + lane, now) } else { now }
    }

    /// How many of the `due` events are a lane's.
    pub(super) fn lane_due(&self, due: u64, lane: u64) -> u64 {
        if self.is_paced() { (due + self.lanes - 1 - lane) / self.lanes } else { due }
    }
}

/// A stream's share of `count` events: the first streams get one more when it does not divide.
pub(super) fn share(count: u64, stream: u64, streams: u64) -> u64 {
    count / streams + u64::from(stream < count % streams)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Mono = Mono(1_000_000_000);

    #[test]
    fn events_are_due_at_even_distances() {
        let pace = Pace::new(SECOND, Rate::PerSecond(1000.0), Extent::Endless, 3, 3);
        assert_eq!(pace.due(Mono(0)), 0);
        for index in 0..5000 {
            let at = pace.at(index, Mono(0));
            assert_eq!(at, Mono(SECOND.0 + index * 1_000_000));
            assert_eq!(pace.due(at), index + 1, "due exactly when it is due");
            assert_eq!(pace.due(Mono(at.0 - 1)), index, "and not before");
        }
        let lanes: u64 = (0..3).map(|lane| pace.lane_due(5000, lane)).sum();
        assert_eq!(lanes, 5000);
        assert_eq!([0, 1, 2].map(|lane| pace.lane_due(4, lane)), [2, 1, 1]);
        assert_eq!(pace.lane_at(1, 0, Mono(0)), pace.at(3, Mono(0)));
    }

    #[test]
    fn a_time_limit_gives_a_number_of_events() {
        let time = Extent::Time(Duration::from_secs(2));
        let pace = Pace::new(SECOND, Rate::PerSecond(1000.0), time, 1, 1);
        assert_eq!(pace.due(Mono(u64::MAX)), 2000);
        assert!(pace.is_over(Mono(3 * SECOND.0)) && !pace.is_over(Mono(3 * SECOND.0 - 1)));
        assert!(!pace.is_past(Mono(3 * SECOND.0), Duration::from_nanos(1)));
        assert!(pace.is_past(Mono(3 * SECOND.0 + 1), Duration::from_nanos(1)));
        let fast = Pace::new(SECOND, Rate::Max, time, 1, 1);
        assert_eq!((fast.due(SECOND), fast.due(Mono(3 * SECOND.0))), (u64::MAX, 0));
    }

    #[test]
    fn a_sender_has_its_part_of_the_rate() {
        let pace = Pace::new(Mono(0), Rate::PerSecond(1000.0), Extent::Endless, 1, 4);
        assert_eq!(pace.due(Mono(SECOND.0 - 1)), 250);
    }

    #[test]
    fn shares_add_up() {
        for (count, streams) in [(0, 3), (10, 3), (2, 5), (1_000_001, 10_000)] {
            let shares: Vec<u64> = (0..streams).map(|one| share(count, one, streams)).collect();
            assert_eq!(shares.iter().sum::<u64>(), count);
            assert!(shares.is_sorted_by(|a, b| a >= b) && shares[0] - shares.last().unwrap() <= 1);
        }
    }
}
