//! What the writer does with the clerk's answers.

use std::io;

use super::{LOOK, RETAIN_SHARE, RETRY, Writer};
use crate::memory::ReceiptSlip;
use crate::sink::rolling_file::clerk::{
    Answer, Question, Rescue, Sealed, Sealing, Segment, Tended, Unrescued, Unsynced,
};
use crate::sink::rolling_file::lane::{Open, State};
use crate::telemetry::LostReason;
use crate::time::Now;

impl Writer {
    pub(super) fn answered(&mut self, answer: Answer, now: Now) {
        match answer {
            Answer::Opened { lane, result: Ok(segment) } => self.opened(lane, segment, now),
            Answer::Opened { lane, result: Err(error) } => {
                self.lane(lane).state = State::Closed;
                self.fail(lane, now, &error);
            }
            Answer::Tended(tended) => self.tended(tended, now),
            Answer::TendedAll { tended, round } => {
                self.round = round;
                tended.into_iter().for_each(|tended| self.tended(tended, now));
            }
            Answer::SealedAll { sealed, leftovers } => {
                self.keep(leftovers, now);
                self.sealed_all(sealed, now);
            }
            Answer::Rescued { lane, result, leftovers } => {
                self.keep(leftovers, now);
                self.rescued(lane, result, now);
            }
            Answer::Retained { removed, failed, took } => {
                self.retain_from = now.mono.after(took * RETAIN_SHARE);
                self.retain_at = self.retain_at.max(self.retain_from);
                if removed > 0 {
                    tracing::info!("{}: retention removed {removed} files", self.ties.name);
                }
                if let Some(failed) = failed {
                    tracing::warn!("{}: retention could not remove {failed}", self.ties.name);
                }
            }
        }
    }

    fn opened(&mut self, id: usize, segment: Segment, now: Now) {
        self.entries += segment.blocks.room();
        let lane = self.lane(id);
        lane.state = State::Open(Box::new(Open::new(segment, now.mono)));
        lane.appended_at = now.mono;
        self.recover(id, now);
        self.flush(id, now);
        self.spare_files(id);
    }

    fn tended(&mut self, tended: Tended, now: Now) {
        let Tended { lane: id, bytes, linked, synced, unnamed, took } = tended;
        if synced.is_some() {
            let told = match &self.lane(id).state {
                State::Open(open) => open.asked.events,
                _ => 0,
            };
            self.committed(told, took, now);
        }
        let lane = self.lane(id);
        lane.tending = false;
        let State::Open(open) = &mut lane.state else {
            return self.remove_if_empty(id);
        };
        open.looked_at = now.mono;
        if synced.is_some() || !open.is_dirty() {
            open.synced_at = now.mono;
        }
        match (synced, unnamed) {
            (Some(Ok(())), Some(error)) => {
                // A directory may be synced again: nothing of it was dropped.
                open.asked.absorb(&mut open.fresh);
                open.fresh = std::mem::take(&mut open.asked);
                let path = open.segment.open_path.display();
                let what = format!("{path}: its directory cannot be synced: {error}");
                self.ties.tempo.set(now.mono.after(RETRY));
                self.ties.counters.errors.add(1);
                self.ties.watch.fault(now, &what);
            }
            (Some(Ok(())), None) => {
                open.segment.synced_bytes = open.segment.synced_bytes.max(bytes);
                let held = std::mem::take(&mut open.held);
                let mut done = std::mem::take(&mut open.asked);
                self.ties.counters.sync.record(took);
                if held && let Some(block) = self.lane(id).parked.pop_front() {
                    self.book(id, block, now);
                    let State::Open(open) = &mut self.lane(id).state else { return };
                    done.absorb(&mut open.fresh);
                }
                self.confirm(&mut done);
                if let State::Open(open) = &mut self.lane(id).state {
                    // Empty, but with room for the next ones.
                    open.asked = done;
                }
                // A sync says nothing of an append that failed meanwhile, and is tried again.
                self.breathe(now);
            }
            (Some(Err(error)), _) => return self.sync_failed(id, now, &error),
            // A block came while the clerk only looked: it is synced before anything else.
            (None, _) if open.held => return self.sync(id, true),
            (None, _) => {}
        }
        self.want_commit(id);
        if !linked {
            self.unlinked(id, now);
        }
        self.flush(id, now);
    }

    /// Trap: after a failed fsync the pages may be gone. The segment is done with.
    fn sync_failed(&mut self, id: usize, now: Now, error: &io::Error) {
        self.ties.counters.errors.add(1);
        let lane = self.lanes[id].as_mut().expect("the caller's lane exists");
        let State::Open(mut open) = std::mem::replace(&mut lane.state, State::Closed) else {
            return;
        };
        if open.held {
            // Still first of those that wait: it goes into the next segment as the same bytes.
            open.segment.blocks.take_back();
        }
        open.asked.absorb(&mut open.fresh);
        // Counted twice, it would be told that too many are known, and have the new file synced at
        // once: on a disk that fails each time, without end.
        self.entries = self.entries.saturating_sub(open.segment.blocks.room());
        let what = format!("{}: sync failed: {error}", open.segment.open_path.display());
        lane.state =
            State::Rescuing { unsynced: open.asked, segment: Some(Box::new(open.segment)) };
        self.ties.watch.fault(now, &what);
        self.rescue(id);
    }

    pub(super) fn rescue(&mut self, id: usize) {
        let lane = self.lane(id);
        let State::Rescuing { segment, .. } = &mut lane.state else { return };
        if let Some(segment) = segment.take() {
            self.ask(Question::Rescue { lane: id, segment: *segment });
        }
    }

    fn rescued(&mut self, id: usize, result: Result<Rescue, Box<Unrescued>>, now: Now) {
        let lane = self.lane(id);
        let State::Rescuing { mut unsynced, .. } =
            std::mem::replace(&mut lane.state, State::Closed)
        else {
            return;
        };
        match result {
            Ok(rescue) => {
                tracing::warn!("{}", rescue.note);
                self.entries += rescue.segment.blocks.room();
                let mut open = Box::new(Open::new(rescue.segment, now.mono));
                self.lose(&mut unsynced, rescue.lost_events);
                open.fresh = unsynced;
                self.lane(id).state = State::Open(open);
                self.want_commit(id);
                self.recover(id, now);
                self.flush(id, now);
            }
            Err(unrescued) => {
                let Unrescued { segment, error } = *unrescued;
                lane.state = State::Rescuing { unsynced, segment: Some(Box::new(segment)) };
                self.fail(id, now, &error);
            }
        }
    }

    /// What a rescue left is finished like any other segment, as soon as the disk lets it be.
    fn keep(&mut self, leftovers: Vec<Segment>, now: Now) {
        for segment in leftovers {
            let what = "cannot be finished, set aside or cut: its blocks are found twice";
            self.ties.counters.errors.add(1);
            self.ties.watch.blocked(now, &format!("{} {what}", segment.open_path.display()));
            self.unsealed_retry_at = now.mono.after(RETRY);
            self.unsealed.push((segment, Unsynced::default()));
        }
    }

    /// A failed sync lost events that were counted as written.
    fn lose(&self, unsynced: &mut Unsynced, lost_events: u64) {
        if lost_events == 0 {
            return;
        }
        let counters = &self.ties.counters;
        counters.written_events.take_back(lost_events);
        counters.lost.add(LostReason::Sync, lost_events);
        unsynced.events = unsynced.events.saturating_sub(lost_events);
        // Dropped slips fail their receipts: what may be lost is not acknowledged.
        unsynced.slips.clear();
    }

    /// The file was deleted or moved away: what is in it is where it is; go on in a new one.
    fn unlinked(&mut self, id: usize, now: Now) {
        let lane = self.lanes[id].as_mut().expect("the caller's lane exists");
        // A block that is held is not counted as written yet: it goes into the new file.
        let State::Open(open) = std::mem::replace(&mut lane.state, State::Closed) else {
            return;
        };
        let path = open.segment.open_path.display();
        let what = format!("{path} was deleted or moved away; a new file is begun");
        self.ties.counters.errors.add(1);
        self.ties.watch.once(now, &what);
        // Its slips are dropped: nobody can say whether those events are still somewhere.
    }

    fn sealed_all(&mut self, mut sealed: Vec<Sealed>, now: Now) {
        self.sealing = false;
        self.sealing_again -= sealed.iter().filter(|one| one.sealing.again).count();
        // Failures first: else the incident would end with the first that is well, and begin anew.
        sealed.sort_by_key(|one| one.result.is_ok());
        for Sealed { sealing, lost_events, result } in sealed {
            let Sealing { segment, mut unsynced, last, doubted, .. } = sealing;
            self.lose(&mut unsynced, lost_events);
            // Not at the sync's first failure: what it lost would be counted by nobody.
            let last = last && (doubted || !segment.suspect);
            self.sealed(segment, unsynced, result, last, now);
        }
    }

    fn sealed(
        &mut self,
        segment: Segment,
        mut unsynced: Unsynced,
        result: io::Result<()>,
        last: bool,
        now: Now,
    ) {
        let path = segment.open_path.display();
        match result {
            Ok(()) => {
                self.confirm(&mut unsynced);
                self.breathe(now);
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let what = format!("{path} was deleted or moved away before it was finished");
                self.ties.counters.errors.add(1);
                self.ties.watch.once(now, &what);
                self.breathe(now);
            }
            Err(error) if last => {
                self.ties.counters.errors.add(1);
                tracing::warn!("{path} cannot be finished ({error}); the next start will do it");
            }
            Err(error) => {
                self.ties.counters.errors.add(1);
                self.ties.watch.blocked(now, &format!("{path} cannot be finished: {error}"));
                self.unsealed_retry_at = now.mono.after(RETRY);
                self.unsealed.push((segment, unsynced));
            }
        }
        if self.rules.retain {
            let soon = now.mono.after(LOOK).max(self.retain_from);
            self.retain_at = self.retain_at.min(soon);
        }
    }

    fn confirm(&self, unsynced: &mut Unsynced) {
        self.ties.counters.synced_events.add(std::mem::take(&mut unsynced.events));
        unsynced.slips.drain(..).for_each(ReceiptSlip::confirm);
    }
}
