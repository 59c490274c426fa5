//! Sends each event when it is due.

use std::io;
use std::num::NonZeroU64;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use hdrhistogram::Histogram;

use super::outlet::Outlet;
use super::{Outcome, Progress, Speed};
use crate::archive::tape::{Findings, Reel};
use crate::runtime::clock::{Clock, SystemClock};
use crate::time::{Mono, Wall, duration_ns};

/// The longest sleep: how late a stop may be noticed.
const NAP: Duration = Duration::from_millis(50);
/// Between the beginning and the first event: everybody is awake then.
const LEAD: Duration = Duration::from_millis(5);
/// Events of one call, so that the clock is read often enough.
const TURN: usize = 64;
/// What is later is told as this: an hour.
const LATE_NS_MAX: u64 = 3_600_000_000_000;
/// A sleep is rounded up to this by the kernel; by default to 50 µs.
const TIMER_SLACK_NS: NonZeroU64 = NonZeroU64::MIN;

pub(super) struct Player {
    clock: SystemClock,
    speed: Speed,
    outlet: Outlet,
    stop: Arc<AtomicBool>,
    begun: Mono,
    /// When the first event of this pass was recorded, and when it is due.
    first: Option<(Wall, Mono)>,
    events: u64,
    bytes: u64,
    errors: Histogram<u64>,
}

impl Player {
    pub(super) fn new(speed: Speed, outlet: Outlet, stop: Arc<AtomicBool>) -> Self {
        // A wish: without it an event leaves some 50 µs later.
        let _ = rustix::thread::set_current_timer_slack(Some(TIMER_SLACK_NS));
        let clock = SystemClock::default();
        let begun = clock.now().mono;
        let errors = Histogram::new_with_bounds(1, LATE_NS_MAX, 3).expect("bounds in order");
        let (first, events, bytes) = (None, 0, 0);
        Self { clock, speed, outlet, stop, begun, first, events, bytes, errors }
    }

    /// The next event begins another pass.
    pub(super) fn rewind(&mut self) {
        self.first = None;
    }

    /// Plays all events of a reel, or until the stop.
    pub(super) fn play(&mut self, reel: &Reel, told: &mut dyn FnMut(&Progress)) -> io::Result<()> {
        let mut index = 0;
        while index < reel.len() && !self.stop.load(Ordering::Relaxed) {
            let now = self.clock.now().mono;
            let due = self.due(reel.at(index), now);
            if due > now {
                told(&self.progress(now));
                // What telling took is not slept once more.
                std::thread::sleep(due.since(self.clock.now().mono).min(NAP));
                continue;
            }
            let most = reel.len().min(index + TURN);
            let ready = (index + 1..most).take_while(|next| self.due(reel.at(*next), now) <= now);
            let to = index + 1 + ready.count();
            let sent = self.outlet.send(reel, index, to, &self.stop)?;
            let after = self.clock.now().mono;
            for one in index..index + sent.taken {
                if let Speed::Times(_) = self.speed {
                    let late = duration_ns(after.since(self.due(reel.at(one), after)));
                    self.errors.saturating_record(late);
                }
                self.bytes += reel.text(one).len() as u64;
            }
            self.events += (sent.taken - sent.left_out) as u64;
            index += sent.taken;
            told(&self.progress(after));
        }
        Ok(())
    }

    /// When an event is to leave.
    fn due(&mut self, at: Wall, now: Mono) -> Mono {
        let Speed::Times(speed) = self.speed else { return now };
        let (first, begin) = *self.first.get_or_insert_with(|| (at, now.after(LEAD)));
        due(begin, first, at, speed)
    }

    fn progress(&self, now: Mono) -> Progress {
        Progress {
            passed: now.since(self.begun),
            events: self.events,
            bytes: self.bytes,
            late_max: Duration::from_nanos(self.errors.max()),
        }
    }

    pub(super) fn finish(mut self, findings: Findings, failure: Option<String>) -> Outcome {
        let passed = self.clock.now().mono.since(self.begun);
        let finished = self.outlet.finish().map_err(|error| error.to_string());
        let failure = failure.or_else(|| finished.err());
        Outcome {
            events: self.events,
            bytes: self.bytes,
            passed,
            errors: matches!(self.speed, Speed::Times(_)).then_some(self.errors),
            refused: self.outlet.refused,
            too_long: self.outlet.too_long,
            torn: self.outlet.torn,
            findings,
            stopped: self.stop.load(Ordering::Relaxed),
            failure,
        }
    }
}

fn due(begin: Mono, first: Wall, at: Wall, speed: f64) -> Mono {
    let since = at.0.saturating_sub(first.0).max(0);
    // Exact at 1x, whatever the distance: a double holds 104 days of nanoseconds.
    let since = if speed == 1.0 { since as u64 } else { (since as f64 / speed) as u64 };
    Mono(begin.0.saturating_add(since))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_are_due_at_their_distance_whatever_the_speed() {
        let (begin, first) = (Mono(1000), Wall(1_700_000_000_000_000_000));
        let at = |ns: i64| Wall(first.0 + ns);
        assert_eq!(due(begin, first, first, 1.0), begin);
        assert_eq!(due(begin, first, at(-5), 1.0), begin);
        let year = 366 * 86_400 * 1_000_000_000;
        assert_eq!(due(begin, first, at(year + 1), 1.0), Mono(1000 + year as u64 + 1));
        assert_eq!(due(begin, first, at(1_000), 10.0), Mono(1100));
        assert_eq!(due(begin, first, at(1_000), 0.5), Mono(3000));
        assert_eq!(due(begin, Wall::MIN, Wall::MAX, 1.0), Mono(1000 + i64::MAX as u64));
    }
}
