//! What the helpers say.

use std::sync::atomic::Ordering;

use super::{Keeper, Outstanding, RETRY, Reading};
use crate::channel::file::clerk::{Answer, Outcome, Sought, reason};
use crate::channel::file::log::{Place, Put};
use crate::channel::file::scan::Step;
use crate::memory::Lease;
use crate::telemetry::LostReason;
use crate::time::{Mono, Now};

impl Keeper {
    pub(super) fn take_answers(&mut self, now: Now) -> bool {
        let mut any = false;
        while let Some(answer) = self.clerk.poll() {
            any = true;
            match answer {
                Answer::Opened { number, path, result } => {
                    self.state.opening = false;
                    match result {
                        Ok(file) => {
                            self.state.unopened = false;
                            self.state.retry_at = Mono::default();
                            self.begin(number, path, file, now);
                        }
                        Err(error) => {
                            self.state.unopened = true;
                            let what = format!("{} cannot be made: {error}", path.display());
                            self.fail(now, &what);
                        }
                    }
                }
                Answer::Synced { upto, result } => {
                    self.state.syncing = false;
                    match result {
                        Ok(()) => {
                            self.synced(upto);
                            self.breathe(now);
                        }
                        Err(error) => self.unsynced(now, &error),
                    }
                }
                Answer::Removed { segment, result } => {
                    self.state.removing -= 1;
                    match result {
                        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                            let name = segment.path.display();
                            let what = format!("{name} cannot be removed: {error}");
                            self.watches.removing.fault(now, &what);
                            self.state.remove_at = now.mono.after(RETRY);
                            self.log.put_back(segment);
                        }
                        _ => self.watches.removing.recovered(now),
                    }
                }
            }
        }
        while let Some(sought) = self.reader.poll() {
            any = true;
            self.take_sought(sought, now);
        }
        any
    }

    /// What was written is on the disk: all is well, if nothing waits for room.
    fn breathe(&mut self, now: Now) {
        let open = self.log.file.is_some() && !self.state.unopened;
        if open && self.state.held.is_none() {
            self.watches.writing.recovered(now);
        }
    }

    fn take_sought(&mut self, sought: Sought, now: Now) {
        let reading = self.state.reading.take().expect("it was asked");
        let Sought { page, outcome } = sought;
        if !matches!(outcome, Outcome::Failed(_)) {
            self.watches.reading.recovered(now);
        }
        match outcome {
            Outcome::Failed(error) => {
                self.watches.reading.blocked(now, &format!("reading back: {error}"));
                self.state.retry_at = now.mono.after(RETRY);
            }
            Outcome::Batch(step) if reading.again => {
                if self.state.again.front().is_some_and(|again| again.seq == step.head.seq) {
                    self.hand_read(&step, page, reading, now);
                } else {
                    self.give_up_again();
                }
            }
            _ if reading.again => self.give_up_again(),
            Outcome::Batch(step) => self.found(&step, page, reading, now),
            Outcome::Damaged { step, error } => {
                let what = format!("batch {} cannot be read: {error}", step.head.seq);
                self.watches.reading.once(now, &what);
                // What it cost is told by the next one that can be read.
                self.state.sought = step.head.seq + 1;
                self.state.cursor = Some(Place { segment: step.head.segment, offset: step.end() });
            }
            Outcome::Ended => self.look_behind(reading),
        }
    }

    /// A batch at or behind the one that was looked for.
    fn found(&mut self, step: &Step, page: Lease, reading: Reading, now: Now) {
        let seq = step.head.seq;
        if self.delivered.contains(seq) {
            // Done in an earlier life. Inside a range of those nothing can be counted.
            self.state.sought = self.delivered.next_missing(seq);
            return;
        }
        let young = self.first_young().filter(|young| young.seq <= seq);
        self.pass_gap(young.unwrap_or_else(|| before(step)));
        if young.is_some() {
            // Memory has what comes next.
            return;
        }
        self.hand_read(step, page, reading, now);
    }

    /// In front of the first batch in memory that waits.
    pub(super) fn first_young(&self) -> Option<Put> {
        self.state.young.iter().find(|young| !young.handed).map(|young| young.before)
    }

    /// Nothing more in the segment that was read: on to the next one, or to the end.
    fn look_behind(&mut self, reading: Reading) {
        let mut behind = self.log.segments.iter();
        let behind =
            behind.find(|it| it.number > reading.place.segment && it.end_seq > it.first_seq);
        if let Some(behind) = behind {
            self.state.cursor = Some(Place { segment: behind.number, offset: 0 });
            return;
        }
        let end = reading.put;
        let young = self.first_young().filter(|young| young.seq < end.seq);
        self.pass_gap(young.unwrap_or(end));
    }

    /// Everything from the last batch handed over up to here is not to be had, but for what was
    /// delivered before: it is lost, and counted. `to` is in front of one that is not delivered.
    pub(super) fn pass_gap(&mut self, to: Put) {
        let behind = self.state.behind;
        let gap = behind.seq..to.seq;
        if self.delivered.covers(&gap) {
            return;
        }
        let done = self.earlier.within(&gap);
        let events = to.events.saturating_sub(behind.events).saturating_sub(done.0);
        let bytes = to.bytes.saturating_sub(behind.bytes).saturating_sub(done.1);
        let first = self.delivered.next_missing(behind.seq);
        let reason = reason(self.trusted, first);
        let counters = &self.shared.counters;
        counters.lost.add(reason, events);
        counters.gauge.leave(events, bytes);
        if reason == LostReason::Corrupt {
            self.log.mark_damaged(first..to.seq);
        }
        self.delivered.close_gap(gap, events, bytes);
        self.state.changed_at = self.state.changed_at.min(self.state.last_sync);
        self.state.behind = to;
        let last = to.seq - 1;
        tracing::warn!("{}: {events} events of the batches {first} to {last} are lost", self.name);
    }

    /// What a sink gave up is not to be had any more.
    pub(super) fn give_up_again(&mut self) {
        let Some(lost) = self.state.again.pop_front() else { return };
        let Outstanding { seq, events, bytes } = lost;
        self.shared.counters.lost.add(LostReason::Corrupt, events);
        self.shared.counters.gauge.leave(events, bytes);
        self.delivered.add(seq, events, bytes);
        self.state.changed_at = self.state.changed_at.min(self.state.last_sync);
        self.shared.owed.fetch_sub(1, Ordering::Release);
        tracing::warn!("{}: the {events} events of batch {seq} are lost", self.name);
    }
}

/// In front of a batch.
fn before(step: &Step) -> Put {
    let head = &step.head;
    Put { seq: head.seq, events: head.events_before, bytes: head.bytes_before }
}

/// Behind a batch.
pub(super) fn behind(step: &Step) -> Put {
    let outline = &step.head.outline;
    Put {
        seq: step.head.seq + 1,
        events: step.head.events_before + u64::from(outline.events),
        bytes: step.head.bytes_before + outline.event_bytes,
    }
}
