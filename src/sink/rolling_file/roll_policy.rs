//! When a segment is finished: by bytes, age, idleness, or because its time unit is over.

use std::time::Duration;

use crate::time::{Mono, Now, Wall};

/// Stragglers of the last time unit may come so long after it.
const GRACE_NS: i64 = 10_000_000_000;

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

    pub(super) fn aged(&self, opened_at: Mono, now: Now) -> bool {
        self.age.is_some_and(|age| now.mono.since(opened_at) >= age)
    }

    pub(super) fn idle(&self, appended_at: Mono, now: Now) -> bool {
        self.idle.is_some_and(|idle| now.mono.since(appended_at) >= idle)
    }

    pub(super) fn over(until: Option<Wall>, now: Now) -> bool {
        until.is_some_and(|until| now.wall.0 >= until.0.saturating_add(GRACE_NS))
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
        assert!(!policy.aged(Mono(5), now(1_000_000_004)));
        assert!(policy.aged(Mono(5), now(1_000_000_005)));
        assert!(policy.idle(Mono(5), now(1_000_000_005)));
        let until = Some(Wall(0));
        assert!(!RollPolicy::over(until, Now { mono: Mono(0), wall: Wall(GRACE_NS - 1) }));
        assert!(RollPolicy::over(until, Now { mono: Mono(0), wall: Wall(GRACE_NS) }));
    }
}
