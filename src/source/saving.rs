//! Positions of a source that reads files, saved now and then; and how such a source stops: it
//! reads no more, and waits until what it has read has come through, for then it is noted so.

use std::sync::Arc;
use std::time::Duration;

use super::Received;
use super::file_lines::Mark;
use super::milestones::Milestones;
use super::positions::{Entry, Positions};
use crate::storage::Disk;
use crate::telemetry::SourceCounters;
use crate::time::{Mono, Now};

/// When we stop, what is under way has so long to come through; what does not comes again.
const LAST: Duration = Duration::from_secs(5);
/// And is looked for so often.
const NAP: Duration = Duration::from_millis(10);

pub struct Saving {
    positions: Positions,
    disk: Arc<dyn Disk>,
    interval: Duration,
    counters: Arc<SourceCounters>,
    save_at: Mono,
    stopped: Option<Mono>,
    finished: bool,
}

impl Saving {
    /// Into these positions, each `interval`.
    pub fn new(
        positions: Positions,
        disk: Arc<dyn Disk>,
        interval: Duration,
        counters: Arc<SourceCounters>,
    ) -> Self {
        let save_at = Mono(0);
        Self { positions, disk, interval, counters, save_at, stopped: None, finished: false }
    }

    /// Writes what has come through, when that is due.
    pub fn save<'a>(&mut self, now: Now, entries: impl Iterator<Item = Entry<'a>>) {
        if now.mono < self.save_at {
            return;
        }
        self.save_at = now.mono.after(self.interval);
        if let Err(error) = self.positions.save(&*self.disk, entries) {
            self.counters.errors.add(1);
            tracing::warn!(
                "positions cannot be saved, and what is read now may come again: {error}"
            );
        }
    }

    /// What was not read stands in its file, and is read next time.
    pub fn stop(&mut self, now: Now) {
        self.stopped.get_or_insert(now.mono);
    }

    pub fn is_stopping(&self) -> bool {
        self.stopped.is_some()
    }

    /// While stopping: whether everything has come through by now, or has had its time; then it is
    /// saved. None: it does not stop.
    pub fn wind_up<'a>(
        &mut self,
        now: Now,
        milestones: &Milestones<Mark>,
        entries: impl Iterator<Item = Entry<'a>>,
    ) -> Option<Received> {
        let stopped = self.stopped?;
        let over = now.mono >= stopped.after(LAST);
        let through = milestones.is_idle() || over && milestones.fresh().is_none();
        if through && !self.finished {
            self.save_at = Mono(0);
            self.save(now, entries);
            self.finished = true;
        }
        Some(Received { finished: self.finished, ..Received::default() })
    }

    /// When it has something to do though nothing happens.
    pub fn due(&self, now: Now) -> Mono {
        if self.is_stopping() { now.mono.after(NAP) } else { self.save_at }
    }

    /// The last words of a source that is ended in the middle of its work: what has come through by
    /// then is known.
    pub fn save_last<'a>(&mut self, entries: impl Iterator<Item = Entry<'a>>) {
        let _ = self.positions.save(&*self.disk, entries);
    }
}
