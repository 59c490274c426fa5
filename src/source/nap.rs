//! When waking for every arrival is wasteful: a short sleep first, and then read what has gathered.
//!
//! Falling asleep and being woken costs a thread 2 to 10 µs, more on a virtual machine: at 100,000
//! arrivals a second that is more than all the rest. As a network card holds its interrupts back
//! (ethtool's adaptive-rx), a source that was woken in quick succession naps before it waits again.
//! Now and then it waits without a nap, to see whether it is still worth it; and when nothing came
//! during a nap it is not. A slow stream is never delayed, a fast one by less than half a
//! millisecond; an idle source sleeps until it is woken.

use std::time::Duration;

use crate::time::{Mono, Now};

/// Arrivals gather for so long. The kernel adds its timer slack, 50 µs. A receive buffer of 1 MiB
/// holds what a million datagrams a second bring in that time.
const NAP: Duration = Duration::from_micros(250);

/// Waits that follow one another closer than this are worth a nap: it spares two of three wakes.
const CLOSE: Duration = Duration::from_micros(80);

/// So many close waits in a row begin a run of naps, and so many naps are in a run.
const PATIENCE: u32 = 8;
const RUN: u32 = 120;

/// Whether to nap, by when the waits began.
#[derive(Debug, Default)]
pub(super) struct Naps {
    waited: Mono,
    close: u32,
    left: u32,
}

impl Naps {
    /// A wait begins now: how long to nap before it.
    pub(super) fn before_wait(&mut self, now: Now) -> Option<Duration> {
        let since = now.mono.since(self.waited);
        self.waited = now.mono;
        if self.left > 0 {
            // The wait behind the last nap had to wait long: the stream has become slow.
            self.left = if since > 2 * NAP { 0 } else { self.left - 1 };
        } else {
            self.close = if since < CLOSE { self.close + 1 } else { 0 };
            if self.close == PATIENCE {
                (self.close, self.left) = (0, RUN);
            }
        }
        (self.left > 0).then_some(NAP)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::Wall;

    /// Naps in so many waits, each the given time after the one before.
    fn naps(naps: &mut Naps, clock: &mut u64, waits: u32, apart_us: u64) -> u32 {
        let nap = |_: &u32| {
            *clock += apart_us * 1000;
            naps.before_wait(Now { mono: Mono(*clock), wall: Wall(0) }).is_some()
        };
        (0..waits).filter(nap).count() as u32
    }

    #[test]
    fn a_slow_stream_is_never_delayed() {
        let (mut state, mut clock) = (Naps::default(), 0);
        assert_eq!(naps(&mut state, &mut clock, 10_000, 100), 0);
        // Bursts that end before it is worth it.
        for _ in 0..100 {
            assert_eq!(naps(&mut state, &mut clock, PATIENCE - 1, 10), 0);
            assert_eq!(naps(&mut state, &mut clock, 1, 5000), 0);
        }
    }

    #[test]
    fn a_fast_one_is_gathered_and_now_and_then_looked_at() {
        let (mut state, mut clock) = (Naps::default(), 0);
        assert_eq!(naps(&mut state, &mut clock, PATIENCE - 1, 10), 0);
        assert_eq!(naps(&mut state, &mut clock, RUN, 10), RUN);
        assert_eq!(naps(&mut state, &mut clock, PATIENCE, 10), 0, "it looks again");
        assert_eq!(naps(&mut state, &mut clock, 1, 10), 1);
    }

    #[test]
    fn a_stream_that_becomes_slow_ends_the_run() {
        let (mut state, mut clock) = (Naps::default(), 0);
        naps(&mut state, &mut clock, PATIENCE, 10);
        assert_eq!(naps(&mut state, &mut clock, 10, 300), 10);
        assert_eq!(naps(&mut state, &mut clock, 10, 600), 0);
    }
}
