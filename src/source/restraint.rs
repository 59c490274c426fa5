//! Not filling a channel for nothing: while its sink moves, a source whose senders can wait keeps
//! a short backlog.
//!
//! A sender that is faster than the sink would fill any channel and keep it full: every event then
//! waits behind half a gigabyte, and every page has left the caches before it comes round again
//! (measured: a quarter more CPU an event to plain files). It gains nothing by that, for the sink
//! sets the pace either way. So with a backlog in the channel it rests until half of that has left,
//! and then fills it up again: by the clock, judging by how fast it left the last time, so that
//! nobody pays for a wake-up a batch. A sink that stands still is another matter: then the channel
//! is there to be filled.
//!
//! UDP senders cannot wait, so a source with a UDP socket holds back never.

use std::time::Duration;

use crate::channel::Flow;
use crate::time::{Mono, Now};

/// A sink that took nothing for so long stands still.
const STILL: Duration = Duration::from_millis(100);

/// How long a rest is: at least what a timer is good for, at most what a latency may be.
const REST_MIN: Duration = Duration::from_micros(100);
const REST_MAX: Duration = Duration::from_millis(20);

/// When a source holds back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Backlog {
    /// With so many batches in a channel, until half of them have left.
    pub batches: u32,
    /// Source threads that share it. Each has its turn when all could have had one, also where the
    /// others are always the first to fill what has become free.
    pub threads: u32,
}

#[derive(Debug)]
pub(super) struct Restraint {
    backlog: Option<Backlog>,
    /// `gone` when it last changed, and when that was seen.
    seen: u64,
    moved_at: Mono,
    resting: Option<Rest>,
    /// What a batch took to leave, in the last rest.
    pace: Duration,
}

#[derive(Clone, Copy, Debug)]
struct Rest {
    since: Mono,
    /// `gone` when it began.
    gone: u64,
}

impl Restraint {
    pub(super) fn new(backlog: Option<Backlog>) -> Self {
        Self { backlog, seen: 0, moved_at: Mono(0), resting: None, pace: Duration::ZERO }
    }

    /// Whether the next batch is to wait, and until when.
    pub(super) fn holds(&mut self, now: Now, flow: Flow) -> Option<Mono> {
        let Backlog { batches, threads } = self.backlog?;
        if flow.gone != self.seen {
            (self.seen, self.moved_at) = (flow.gone, now.mono);
        }
        if self.resting.is_none() && flow.backlog < batches {
            return None;
        }
        let rest = *self.resting.get_or_insert(Rest { since: now.mono, gone: flow.gone });
        // Another channel may have become the fullest: then its count is another.
        let left = flow.gone.abs_diff(rest.gone);
        if left > 0 {
            let left = u32::try_from(left).unwrap_or(u32::MAX);
            self.pace = now.mono.since(rest.since) / left;
        }
        let half = batches / 2;
        let turn = u64::from(half.max(1)) * 2 * u64::from(threads);
        let still_at = self.moved_at.after(STILL);
        if flow.backlog <= half || left >= turn || now.mono >= still_at {
            self.resting = None;
            return None;
        }
        let rest = (self.pace * (flow.backlog - half)).clamp(REST_MIN, REST_MAX);
        Some(now.mono.after(rest).min(still_at))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::Wall;

    const SHARED: Backlog = Backlog { batches: 4, threads: 1 };

    fn at(ms: u64) -> Now {
        Now { mono: Mono(ms * 1_000_000), wall: Wall(0) }
    }

    fn flow(backlog: u32, gone: u64) -> Flow {
        Flow { backlog, gone }
    }

    #[test]
    fn a_short_backlog_and_no_limit_never_hold() {
        let mut restraint = Restraint::new(Some(SHARED));
        assert_eq!(restraint.holds(at(1000), flow(3, 9)), None);
        let mut never = Restraint::new(None);
        assert_eq!(never.holds(at(1000), flow(1 << 20, 9)), None);
    }

    #[test]
    fn it_rests_until_half_has_left_for_as_long_as_that_will_take() {
        let mut restraint = Restraint::new(Some(SHARED));
        assert_eq!(restraint.holds(at(1000), flow(3, 7)), None);
        assert_eq!(restraint.holds(at(1000), flow(4, 8)), Some(Mono(1_000_100_000)));
        // One left in 3 ms, and one more is to leave.
        assert_eq!(restraint.holds(at(1003), flow(3, 9)), Some(at(1006).mono));
        assert_eq!(restraint.holds(at(1006), flow(2, 10)), None);
        assert_eq!(restraint.holds(at(1006), flow(3, 10)), None, "up to the brim");
        assert_eq!(restraint.holds(at(1006), flow(4, 10)), Some(at(1012).mono));
    }

    #[test]
    fn a_sink_that_stands_still_lets_the_channel_fill() {
        let mut restraint = Restraint::new(Some(SHARED));
        assert_eq!(restraint.holds(at(1000), flow(3, 7)), None);
        assert!(restraint.holds(at(1000), flow(4, 7)).is_some());
        assert_eq!(restraint.holds(at(1099), flow(4, 7)), Some(Mono(1_099_100_000)));
        for backlog in 4..100 {
            assert_eq!(restraint.holds(at(1100), flow(backlog, 7)), None);
        }
        assert!(restraint.holds(at(1200), flow(100, 8)).is_some(), "it moves again");
    }

    #[test]
    fn whoever_is_never_first_has_a_turn_all_the_same() {
        let shared = Backlog { threads: 2, ..SHARED };
        let mut restraint = Restraint::new(Some(shared));
        let held = |gone: u64, restraint: &mut Restraint| {
            restraint.holds(at(1000 + gone), flow(4, gone)).is_some()
        };
        let turns = (1..=80).filter(|gone| !held(*gone, &mut restraint)).count();
        assert_eq!(turns, 80 / 9, "one for eight that leave, and one to begin a rest");
    }
}
