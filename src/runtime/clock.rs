//! The only place where clocks are read.

use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime};

use crate::time::{Mono, Now, Wall, duration_ns};

pub trait Clock: Send + Sync {
    fn now(&self) -> Now;
}

/// The machine's clocks.
#[derive(Debug)]
pub struct SystemClock {
    start: Instant,
}

impl Default for SystemClock {
    fn default() -> Self {
        Self { start: Instant::now() }
    }
}

impl Clock for SystemClock {
    fn now(&self) -> Now {
        Now { mono: Mono(duration_ns(self.start.elapsed())), wall: wall_now() }
    }
}

/// How long the machine has run, without the time it was suspended: the clock that the kernel
/// stamps its log with.
pub fn uptime() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    Duration::try_from(time).unwrap_or_default()
}

fn wall_now() -> Wall {
    let nanos = match SystemTime::now().duration_since(SystemTime::UNIX_EPOCH) {
        Ok(since) => i64::try_from(since.as_nanos()).unwrap_or(i64::MAX),
        Err(before) => -i64::try_from(before.duration().as_nanos()).unwrap_or(i64::MAX),
    };
    Wall(nanos)
}

/// A clock that a test steps.
#[derive(Debug, Default)]
pub struct ManualClock {
    mono: AtomicU64,
    wall: AtomicI64,
}

impl ManualClock {
    pub fn at(wall: Wall) -> Self {
        Self { mono: AtomicU64::new(0), wall: AtomicI64::new(wall.0) }
    }

    pub fn advance(&self, duration: Duration) {
        let nanos = duration_ns(duration);
        self.mono.fetch_add(nanos, Ordering::Relaxed);
        self.wall.fetch_add(i64::try_from(nanos).unwrap_or(i64::MAX), Ordering::Relaxed);
    }

    /// Steps the wall clock only, as an administrator or NTP does.
    pub fn step_wall(&self, nanos: i64) {
        self.wall.fetch_add(nanos, Ordering::Relaxed);
    }
}

impl Clock for ManualClock {
    fn now(&self) -> Now {
        Now {
            mono: Mono(self.mono.load(Ordering::Relaxed)),
            wall: Wall(self.wall.load(Ordering::Relaxed)),
        }
    }
}
