//! How long to stay away from a peer that failed: twice as long each time, and never as long as
//! others do, so that a thousand senders do not come back in the same moment.

use std::time::Duration;

use crate::time::{Mono, Now};

/// After the first failure.
const FIRST: Duration = Duration::from_millis(100);

#[derive(Clone, Debug)]
pub struct Backoff {
    longest: Duration,
    next: Duration,
    random: u64,
}

impl Backoff {
    /// `seed` must differ from sender to sender.
    pub fn new(longest: Duration, seed: u64) -> Self {
        Self { longest, next: FIRST.min(longest), random: seed | 1 }
    }

    /// When to try again: between half the time and all of it.
    pub fn until(&mut self, now: Now) -> Mono {
        let whole = self.next;
        self.next = (whole * 2).min(self.longest);
        // xorshift64: good enough to be different.
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        let share = (self.random >> 40) as u32;
        let jitter = (whole / 2).mul_f64(f64::from(share) / f64::from(1 << 24));
        now.mono.after(whole / 2 + jitter)
    }

    /// It worked: the next failure is a first one, if it lasted longer than we stayed away. A peer
    /// that accepts and hangs up at once is no better than one that refuses.
    pub fn worked_for(&mut self, lasted: Duration) {
        if lasted > self.next {
            self.next = FIRST.min(self.longest);
        }
    }

    /// From now on never longer than this.
    pub fn hurry(&mut self, longest: Duration) {
        self.longest = self.longest.min(longest);
        self.next = self.next.min(self.longest);
    }
}

/// Something that differs from sender to sender.
pub fn seed() -> u64 {
    let mut bytes = [0; 8];
    // Without randomness all senders come back together: no reason not to start.
    let flags = rustix::rand::GetRandomFlags::NONBLOCK;
    let _ = rustix::rand::getrandom(&mut bytes[..], flags);
    u64::from_ne_bytes(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn waits(backoff: &mut Backoff, count: usize) -> Vec<Duration> {
        let now = Now::default();
        (0..count).map(|_| backoff.until(now).since(now.mono)).collect()
    }

    #[test]
    fn it_doubles_up_to_its_longest_with_jitter() {
        let longest = Duration::from_secs(1);
        let mut seen = Vec::new();
        for seed in 0..50 {
            let waits = waits(&mut Backoff::new(longest, seed * 77), 8);
            for (index, wait) in waits.iter().enumerate() {
                let whole = (FIRST * 2_u32.pow(index as u32)).min(longest);
                assert!((whole / 2..=whole).contains(wait), "{index}: {wait:?}");
            }
            seen.push(waits[5]);
        }
        seen.sort_unstable();
        seen.dedup();
        assert!(seen.len() > 20, "senders part");
    }

    #[test]
    fn only_what_lasted_counts_as_working() {
        let mut backoff = Backoff::new(Duration::from_secs(30), 5);
        waits(&mut backoff, 6);
        backoff.worked_for(Duration::from_millis(1));
        assert!(waits(&mut backoff, 1)[0] > FIRST);
        backoff.worked_for(Duration::from_secs(60));
        assert!(waits(&mut backoff, 1)[0] <= FIRST);
        waits(&mut backoff, 9);
        backoff.hurry(Duration::from_secs(1));
        assert!(waits(&mut backoff, 1)[0] <= Duration::from_secs(1));
    }
}
