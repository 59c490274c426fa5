//! How hard a thread compresses: always the same, or as hard as there is time for.
//!
//! What is looked at is the share of a thread's time that it compresses. While that is small a
//! better level comes next, before it is large a faster one, and where nothing else would be done
//! any more the fastest at once. What a disk holds up is no reason for a faster level, on the
//! contrary: so only the compressing counts, and not how full the channel is.

use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::Duration;

use crate::codec::Codec;
use crate::runtime::clock::Clock;
use crate::time::Mono;

/// `level`
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Level {
    Fixed(i32),
    Adapt,
}

/// zstd and gzip alike: 1 is as fast as the rest of the way, and beyond 6 a block costs a multiple
/// for a few per cent.
const ADAPTED: RangeInclusive<i32> = 1..=6;

/// The shares are looked at so often.
const WINDOW: Duration = Duration::from_millis(100);
/// In per cent of the time. A level costs at most twice the one before it, so that a step down is
/// not undone by the next look.
const BETTER_BELOW: u128 = 30;
const FASTER_ABOVE: u128 = 60;
const FASTEST_ABOVE: u128 = 90;

impl Level {
    /// What a thread begins with.
    pub(super) fn first(self) -> i32 {
        match self {
            Self::Fixed(level) => level,
            Self::Adapt => *ADAPTED.start(),
        }
    }

    /// The most that a context of any of its levels holds.
    pub(super) fn context_bytes(self, codec: Codec, block_bytes: usize) -> usize {
        let levels = match self {
            Self::Fixed(level) => level..=level,
            Self::Adapt => ADAPTED,
        };
        let bytes = levels.map(|level| crate::codec::context_bytes(codec, level, block_bytes));
        bytes.max().unwrap_or_default()
    }
}

/// One thread's choice of a level, block by block.
pub(super) struct Governor {
    clock: Arc<dyn Clock>,
    level: i32,
    /// Since then time was looked at, and so much of it was compressing.
    since: Mono,
    busy: Duration,
}

impl Governor {
    pub(super) fn new(clock: Arc<dyn Clock>) -> Self {
        let since = clock.now().mono;
        Self { clock, level: Level::Adapt.first(), since, busy: Duration::ZERO }
    }

    /// Does a block's work; says so when the next block has another level.
    pub(super) fn watch<R>(&mut self, work: impl FnOnce() -> R) -> (R, Option<i32>) {
        let began = self.clock.now().mono;
        let done = work();
        let ended = self.clock.now().mono;
        (done, self.worked(began, ended))
    }

    fn worked(&mut self, began: Mono, ended: Mono) -> Option<i32> {
        self.busy += ended.since(began);
        let passed = ended.since(self.since);
        if passed < WINDOW {
            return None;
        }
        let share = self.busy.as_nanos() * 100 / passed.as_nanos();
        (self.since, self.busy) = (ended, Duration::ZERO);
        let level = match share {
            share if share > FASTEST_ABOVE => *ADAPTED.start(),
            share if share > FASTER_ABOVE => self.level - 1,
            share if share < BETTER_BELOW => self.level + 1,
            _ => self.level,
        };
        let level = level.clamp(*ADAPTED.start(), *ADAPTED.end());
        (level != std::mem::replace(&mut self.level, level)).then_some(level)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runtime::clock::SystemClock;

    const MS: u64 = 1_000_000;

    fn governor() -> Governor {
        Governor { since: Mono(0), ..Governor::new(Arc::new(SystemClock::default())) }
    }

    /// Blocks of so many milliseconds each, one every ten, for a second; the level after it.
    fn second(governor: &mut Governor, from: u64, busy: u64) -> i32 {
        for block in 0..100 {
            let began = (from * 1000 + block * 10) * MS;
            governor.worked(Mono(began), Mono(began + busy * MS));
        }
        governor.level
    }

    #[test]
    fn a_thread_with_time_compresses_better_and_one_without_at_the_fastest_at_once() {
        let mut governor = governor();
        assert_eq!(governor.level, 1);
        assert_eq!(second(&mut governor, 0, 1), 6, "a tenth of its time");
        assert_eq!(second(&mut governor, 1, 4), 6, "two fifths: it stays");
        governor.since = Mono(2000 * MS);
        assert_eq!(governor.worked(Mono(2000 * MS), Mono(2120 * MS)), Some(1), "nothing else");
        assert_eq!(governor.worked(Mono(2120 * MS), Mono(2240 * MS)), None, "it is the fastest");
    }

    #[test]
    fn a_thread_with_little_time_left_takes_one_step_at_a_time() {
        let mut governor = governor();
        second(&mut governor, 0, 1);
        for (at, level) in [(1100, 5), (1200, 4), (1300, 3), (1400, 2), (1500, 1), (1600, 1)] {
            governor.since = Mono((at - 100) * MS);
            governor.worked(Mono((at - 70) * MS), Mono(at * MS));
            assert_eq!(governor.level, level, "{at} ms");
        }
    }

    #[test]
    fn a_long_silence_is_one_look() {
        let mut governor = governor();
        assert_eq!(governor.worked(Mono(3_600_000 * MS), Mono(3_600_010 * MS)), Some(2));
        assert_eq!(governor.worked(Mono(3_600_020 * MS), Mono(3_600_030 * MS)), None);
    }

    #[test]
    fn the_context_of_the_highest_level_is_planned() {
        let bytes = |level: Level| level.context_bytes(Codec::Zstd, 1 << 20);
        assert!(bytes(Level::Adapt) > bytes(Level::Fixed(1)));
        assert_eq!(bytes(Level::Adapt), (1..=6).map(|n| bytes(Level::Fixed(n))).max().unwrap());
    }
}
