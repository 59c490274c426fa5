//! When a segment is finished: by bytes, age, idleness, or because its time unit is over.
//!
//! Ten thousand files that were opened in the same second are not finished in the same second: each
//! path has its turn, within the last eighth of an age, an eighth beyond an idleness, or the
//! seconds behind a time unit. A path has the same turn every time.

use std::path::Path;
use std::time::Duration;

use crate::storage::block::crc32c;
use crate::time::{Mono, Now, Wall};

/// Stragglers of the last time unit may come so long after it.
const GRACE_NS: i64 = 10_000_000_000;
/// And the files of many paths are finished one after the other within so long.
const TURNS_NS: i64 = 20_000_000_000;
/// An age or idleness differs by up to this part of it between paths.
const TURNS_SHARE: u32 = 8;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct RollPolicy {
    /// Stored bytes; a block that would go beyond opens the next segment.
    pub(super) bytes: Option<u64>,
    pub(super) age: Option<Duration>,
    pub(super) idle: Option<Duration>,
}

impl RollPolicy {
    /// Whether a segment of `bytes` must be finished before `more` are appended.
    pub(super) fn full(&self, bytes: u64, more: usize) -> bool {
        self.bytes.is_some_and(|max| bytes > 0 && bytes + more as u64 > max)
    }

    pub(super) fn aged(&self, opened_at: Mono, turn: Turn, now: Now) -> bool {
        let early = |age: Duration| age - turn.of(age / TURNS_SHARE);
        self.age.is_some_and(|age| now.mono.since(opened_at) >= early(age))
    }

    pub(super) fn idle(&self, appended_at: Mono, turn: Turn, now: Now) -> bool {
        let late = |idle: Duration| idle.saturating_add(turn.of(idle / TURNS_SHARE));
        self.idle.is_some_and(|idle| now.mono.since(appended_at) >= late(idle))
    }

    pub(super) fn over(until: Option<Wall>, turn: Turn, now: Now) -> bool {
        let late = turn.of(Duration::from_nanos(TURNS_NS as u64)).as_nanos() as i64;
        until.is_some_and(|until| now.wall.0 >= until.0.saturating_add(GRACE_NS + late))
    }
}

/// Which of many files is finished first: a fraction of 2^16.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Turn(u16);

impl Turn {
    pub(super) fn of_path(path: &Path) -> Self {
        Self((crc32c(path.as_os_str().as_encoded_bytes()) >> 16) as u16)
    }

    fn of(self, whole: Duration) -> Duration {
        // First the division: years of nanoseconds times 2^16 are too many.
        whole / (1 << 16) * u32::from(self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_segment_never_grows_beyond_its_bytes_unless_one_block_does() {
        let policy = RollPolicy { bytes: Some(100), age: None, idle: None };
        assert!(!policy.full(0, 500));
        assert!(!policy.full(60, 40));
        assert!(policy.full(60, 41));
    }

    #[test]
    fn age_and_idle_are_reached_not_passed() {
        let second = Duration::from_secs(1);
        let policy = RollPolicy { bytes: None, age: Some(second), idle: Some(second) };
        let now = |nanos| Now { mono: Mono(nanos), wall: Wall(0) };
        let alone = Turn::default();
        assert!(!policy.aged(Mono(5), alone, now(1_000_000_004)));
        assert!(policy.aged(Mono(5), alone, now(1_000_000_005)));
        assert!(!policy.idle(Mono(5), alone, now(1_000_000_004)));
        assert!(policy.idle(Mono(5), alone, now(1_000_000_005)));
        let (until, over) = (Some(Wall(0)), |wall| Now { mono: Mono(0), wall: Wall(wall) });
        assert!(!RollPolicy::over(until, alone, over(GRACE_NS - 1)));
        assert!(RollPolicy::over(until, alone, over(GRACE_NS)));
    }

    #[test]
    fn ten_thousand_files_opened_together_are_finished_one_after_the_other() {
        let hour = Duration::from_secs(3600);
        let policy = RollPolicy { bytes: None, age: Some(hour), idle: Some(hour) };
        let turns: Vec<Turn> =
            (0..10_000).map(|n| Turn::of_path(Path::new(&format!("/l/host{n}.log")))).collect();
        let count = |wanted: &dyn Fn(Turn, Now) -> bool, from: u64, to: u64| -> Vec<usize> {
            let at = |second: u64| {
                let wall = Wall(second as i64 * 1_000_000_000);
                let now = Now { mono: Mono(second * 1_000_000_000), wall };
                turns.iter().filter(|turn| wanted(**turn, now)).count()
            };
            (from..=to).map(at).collect()
        };
        let spread = |counts: &[usize]| {
            assert_eq!((counts[0], counts[counts.len() - 1]), (0, turns.len()));
            counts.windows(2).map(|pair| pair[1] - pair[0]).max().unwrap()
        };
        let aged = |turn, now| policy.aged(Mono(0), turn, now);
        assert!(spread(&count(&aged, 3149, 3600)) <= 50);
        let idle = |turn, now| policy.idle(Mono(0), turn, now);
        assert!(spread(&count(&idle, 3599, 4050)) <= 50);
        let over = |turn, now| RollPolicy::over(Some(Wall(0)), turn, now);
        assert!(spread(&count(&over, 9, 30)) <= 700);
    }
}
