//! How hard a thread compresses: always the same, or as hard as there is time for.
//!
//! What is looked at is the share of a thread's time that it compresses. While that stays small a
//! better level comes next, before it is large a faster one, and where nothing else would be done
//! any more the fastest at once: a thread that goes from block to block without a pause does not
//! wait for the next look. Three looks must find time to spare before there is any: between two
//! rushes there are two that see mostly a silence, and the next rush shall not begin with a better
//! level. What a disk holds up is no reason for a faster level, on the contrary: so only the
//! compressing counts, and not how full the channel is.

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
/// A thread that has done nothing else for so long has no time to spare: at level 6 some three
/// blocks of a mebibyte.
const UNBROKEN_MAX: Duration = Duration::from_millis(30);
/// In per cent of the time. A level costs at most twice the one before it, so that a step down is
/// not undone by the next look.
const BETTER_BELOW: u128 = 30;
const FASTER_ABOVE: u128 = 60;
const FASTEST_ABOVE: u128 = 90;
/// Looks in a row that must find time to spare before there is any.
const SPARE_LOOKS: u32 = 3;

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
    /// So many looks in a row have found time to spare.
    spare: u32,
    /// When the first of the blocks without a pause between them was done, and when the last.
    unbroken: Mono,
    ended: Mono,
}

impl Governor {
    pub(super) fn new(clock: Arc<dyn Clock>) -> Self {
        Self::at(clock.now().mono, clock)
    }

    fn at(now: Mono, clock: Arc<dyn Clock>) -> Self {
        Self {
            clock,
            level: Level::Adapt.first(),
            since: now,
            busy: Duration::ZERO,
            spare: 0,
            unbroken: now,
            ended: now,
        }
    }

    /// Does a block's work; says so when the next block has another level.
    pub(super) fn watch<R>(&mut self, work: impl FnOnce() -> R) -> (R, Option<i32>) {
        let began = self.clock.now().mono;
        let done = work();
        let ended = self.clock.now().mono;
        (done, self.worked(began, ended))
    }

    fn worked(&mut self, began: Mono, ended: Mono) -> Option<i32> {
        let took = ended.since(began);
        if began.since(self.ended) > took / 10 {
            self.unbroken = ended;
        }
        self.ended = ended;
        self.busy += took;
        let passed = ended.since(self.since);
        let level = if ended.since(self.unbroken) >= UNBROKEN_MAX {
            self.spare = 0;
            *ADAPTED.start()
        } else if passed < WINDOW {
            return None;
        } else {
            self.by_share(self.busy.as_nanos() * 100 / passed.as_nanos())
        };
        if passed >= WINDOW {
            (self.since, self.busy) = (ended, Duration::ZERO);
        }
        (level != std::mem::replace(&mut self.level, level)).then_some(level)
    }

    fn by_share(&mut self, share: u128) -> i32 {
        self.spare = if share < BETTER_BELOW { self.spare.saturating_add(1) } else { 0 };
        let level = match share {
            share if share > FASTEST_ABOVE => *ADAPTED.start(),
            share if share > FASTER_ABOVE => self.level - 1,
            _ if self.spare >= SPARE_LOOKS => self.level + 1,
            _ => self.level,
        };
        level.clamp(*ADAPTED.start(), *ADAPTED.end())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runtime::clock::SystemClock;

    const MS: u64 = 1_000_000;

    fn governor() -> Governor {
        Governor::at(Mono(0), Arc::new(SystemClock::default()))
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
    fn blocks_without_a_pause_do_not_wait_for_the_next_look() {
        let mut governor = governor();
        second(&mut governor, 0, 1);
        governor.worked(Mono(1000 * MS), Mono(1001 * MS));
        let blocks = (0..4).map(|n| (1010 + n * 12, 1021 + n * 12));
        let levels: Vec<_> =
            blocks.map(|(from, to)| governor.worked(Mono(from * MS), Mono(to * MS))).collect();
        assert_eq!(levels, [None, None, None, Some(1)]);
    }

    #[test]
    fn one_block_that_takes_long_is_no_hurry() {
        let mut governor = governor();
        second(&mut governor, 0, 1);
        assert_eq!(governor.worked(Mono(2000 * MS), Mono(2090 * MS)), None);
        assert_eq!(governor.level, 6);
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
    fn a_rush_behind_a_silence_finds_the_fastest_level() {
        let mut governor = governor();
        let rush =
            |from: u64| (0..12).map(move |block| (from + block * 10, from + block * 10 + 10));
        // Each time its last block comes by age, and then nothing until the next one.
        let blocks = (0..3).flat_map(|second| {
            rush(second * 1000).chain([(second * 1000 + 330, second * 1000 + 331)])
        });
        for (from, to) in blocks {
            assert_eq!(governor.worked(Mono(from * MS), Mono(to * MS)), None, "{from} ms");
        }
        assert_eq!(governor.level, 1);
    }

    #[test]
    fn a_long_silence_is_one_look_and_neither_one_nor_two_are_enough() {
        let mut governor = governor();
        let mut block = |at: u64| governor.worked(Mono(at * MS), Mono((at + 10) * MS));
        assert_eq!(block(3_600_000), None);
        assert_eq!(block(3_600_050), None, "no look yet");
        assert_eq!(block(3_600_100), None);
        assert_eq!(block(3_600_200), Some(2));
        assert_eq!(block(3_600_300), Some(3), "from now on each look");
    }

    #[test]
    fn the_context_of_the_highest_level_is_planned() {
        let bytes = |level: Level| level.context_bytes(Codec::Zstd, 1 << 20);
        assert!(bytes(Level::Adapt) > bytes(Level::Fixed(1)));
        assert_eq!(bytes(Level::Adapt), (1..=6).map(|n| bytes(Level::Fixed(n))).max().unwrap());
    }
}
