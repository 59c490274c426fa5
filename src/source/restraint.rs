//! Not filling a channel for nothing: while its sink moves, a source whose senders can wait keeps
//! a short backlog.
//!
//! A sender that is faster than the sink would fill any channel and keep it full: every event then
//! waits behind half a gigabyte, and every page has left the caches before it comes round again
//! (measured: a quarter more CPU an event to plain files). It gains nothing by that, for the sink
//! sets the pace either way. So above the backlog one batch goes in for two that come out, whoever
//! brings it. A sink that stands still is another matter: then the channel is there to be filled.
//!
//! UDP senders cannot wait, so a source with a UDP socket holds back never.

use std::time::Duration;

use crate::channel::Flow;
use crate::time::{Mono, Now};

/// A sink that took nothing for so long stands still.
const STILL: Duration = Duration::from_millis(100);

/// When a source holds back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Backlog {
    /// Above so many batches in a channel.
    pub batches: u32,
    /// Until so many more have left it: two, times the source threads that share it.
    pub out_for_one: u64,
}

#[derive(Debug)]
pub(super) struct Restraint {
    backlog: Option<Backlog>,
    /// `gone` when the last batch went in, when it last changed, and when that was seen.
    entered: u64,
    seen: u64,
    moved_at: Mono,
}

impl Restraint {
    pub(super) fn new(backlog: Option<Backlog>) -> Self {
        Self { backlog, entered: 0, seen: 0, moved_at: Mono(0) }
    }

    /// Whether the next batch is to wait, and until when if nothing moves.
    pub(super) fn holds(&mut self, now: Now, flow: Flow) -> Option<Mono> {
        let backlog = self.backlog?;
        if flow.gone != self.seen {
            (self.seen, self.moved_at) = (flow.gone, now.mono);
        }
        let still_at = self.moved_at.after(STILL);
        let short = flow.backlog < backlog.batches;
        // Another channel may have become the fullest: then its count is another.
        let left = flow.gone.abs_diff(self.entered);
        if short || left >= backlog.out_for_one || now.mono >= still_at {
            self.entered = flow.gone;
            return None;
        }
        Some(still_at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::Wall;

    fn at(ms: u64) -> Now {
        Now { mono: Mono(ms * 1_000_000), wall: Wall(0) }
    }

    fn restraint() -> Restraint {
        Restraint::new(Some(Backlog { batches: 4, out_for_one: 2 }))
    }

    fn flow(backlog: u32, gone: u64) -> Flow {
        Flow { backlog, gone }
    }

    #[test]
    fn a_short_backlog_and_no_limit_never_hold() {
        let mut restraint = restraint();
        assert_eq!(restraint.holds(at(1000), flow(3, 9)), None);
        let mut never = Restraint::new(None);
        assert_eq!(never.holds(at(1000), flow(1 << 20, 9)), None);
    }

    #[test]
    fn above_it_one_goes_in_for_two_that_come_out() {
        let mut restraint = restraint();
        assert_eq!(restraint.holds(at(1000), flow(3, 7)), None);
        assert_eq!(restraint.holds(at(1000), flow(4, 7)), Some(at(1100).mono));
        assert_eq!(restraint.holds(at(1001), flow(5, 8)), Some(at(1101).mono));
        assert_eq!(restraint.holds(at(1002), flow(5, 9)), None);
        assert_eq!(restraint.holds(at(1002), flow(5, 9)), Some(at(1102).mono));
        assert_eq!(restraint.holds(at(1003), flow(3, 10)), None);
    }

    #[test]
    fn a_sink_that_stands_still_lets_the_channel_fill() {
        let mut restraint = restraint();
        assert_eq!(restraint.holds(at(1000), flow(3, 7)), None);
        assert_eq!(restraint.holds(at(1000), flow(4, 7)), Some(at(1100).mono));
        assert_eq!(restraint.holds(at(1099), flow(4, 7)), Some(at(1100).mono));
        for backlog in 4..100 {
            assert_eq!(restraint.holds(at(1100), flow(backlog, 7)), None);
        }
        assert!(restraint.holds(at(1200), flow(100, 8)).is_some(), "it moves again");
    }

    #[test]
    fn many_that_share_a_channel_bring_no_more_than_one() {
        let share = Backlog { batches: 4, out_for_one: 2 * 3 };
        let mut sources: Vec<_> = (0..3).map(|_| Restraint::new(Some(share))).collect();
        let (mut entered, mut backlog) = (0, 100_u32);
        sources.iter_mut().for_each(|source| assert_eq!(source.holds(at(1000), flow(3, 0)), None));
        for gone in 1..=60 {
            backlog -= 1;
            for source in &mut sources {
                if source.holds(at(1000 + gone), flow(backlog, gone)).is_none() {
                    (entered, backlog) = (entered + 1, backlog + 1);
                }
            }
        }
        assert_eq!(entered, 30);
    }
}
