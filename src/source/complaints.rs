//! Faults of peers, told once a minute: a sender that is set up wrongly tries again for ever.
//!
//! Each kind has its own minute, so that one peer's trouble does not hide another's. The first is
//! told at once; those that follow are counted, and told in sum with the last of them. The counter
//! beside them counts every one.

use std::time::Duration;

use crate::telemetry::incident::Watch;
use crate::time::{Mono, Now};

/// Between two messages of a kind.
const QUIET: Duration = Duration::from_secs(60);

pub struct Complaints<const KINDS: usize> {
    watch: Watch,
    kinds: [Kind; KINDS],
}

#[derive(Clone, Default)]
struct Kind {
    /// When it may be told again; never told: at once.
    next: Mono,
    /// Not told: how many, and the last of them.
    quiet: u64,
    last: String,
}

impl<const KINDS: usize> Complaints<KINDS> {
    pub fn new(watch: Watch) -> Self {
        Self { watch, kinds: std::array::from_fn(|_| Kind::default()) }
    }

    /// One more of this kind.
    pub fn tell(&mut self, kind: usize, now: Now, what: String) {
        let entry = &mut self.kinds[kind];
        if now.mono >= entry.next && entry.quiet == 0 {
            entry.next = now.mono.after(QUIET);
            self.watch.once(now, &what);
        } else {
            entry.quiet += 1;
            entry.last = what;
        }
    }

    /// Tells in sum what was kept quiet, when its minute is over.
    pub fn tick(&mut self, now: Now) {
        for entry in &mut self.kinds {
            if entry.quiet > 0 && now.mono >= entry.next {
                entry.next = now.mono.after(QUIET);
                let (count, last) = (entry.quiet, std::mem::take(&mut entry.last));
                entry.quiet = 0;
                let what = match count {
                    1 => last,
                    _ => format!("{count} more like this within the last minute: {last}"),
                };
                self.watch.once(now, &what);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::telemetry::Incidents;
    use crate::time::Wall;

    #[test]
    fn the_first_of_each_kind_is_told_at_once_and_the_others_in_sum() {
        let incidents = Incidents::new();
        let mut complaints = Complaints::<2>::new(incidents.watch("source net"));
        let at = |seconds: u64| Now { mono: Mono(seconds * 1_000_000_000), wall: Wall(0) };
        let told =
            || incidents.list().into_iter().map(|incident| incident.what).collect::<Vec<String>>();
        complaints.tell(0, at(5), "a".to_owned());
        complaints.tell(1, at(6), "b".to_owned());
        for second in 7..64 {
            complaints.tell(0, at(second), format!("a{second}"));
            complaints.tick(at(second));
        }
        assert_eq!(told(), ["a", "b"]);
        complaints.tick(at(65));
        complaints.tick(at(66));
        assert_eq!(told()[2..], ["57 more like this within the last minute: a63"]);
        complaints.tell(0, at(70), "again".to_owned());
        complaints.tick(at(200));
        complaints.tell(0, at(300), "much later".to_owned());
        assert_eq!(told()[3..], ["again", "much later"]);
    }
}
