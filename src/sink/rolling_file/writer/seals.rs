//! What the writer gives away to be finished, and when: gathered, so that many share their syncs.

use super::{RETRY, Writer};
use crate::memory::gate::exempt;
use crate::sink::rolling_file::clerk::{Question, Sealing, Segment, Unsynced};
use crate::sink::rolling_file::lane::{Lane, State};
use crate::time::Now;

/// This share of the files that may be open is finished at once when there are too many.
const SPARED_SHARE: usize = 32;

impl Writer {
    /// Sets the segment aside to be finished; the next block opens another.
    pub(super) fn roll(&mut self, id: usize) {
        let lane = self.lane(id);
        match std::mem::replace(&mut lane.state, State::Closed) {
            State::Open(mut open) => {
                lane.roll_ordered = false;
                let mut unsynced = open.asked;
                unsynced.absorb(&mut open.fresh);
                let (segment, again, last) = (open.segment, false, false);
                let doubted = segment.suspect;
                self.seals.push(Sealing { segment, unsynced, again, last, doubted });
            }
            other => lane.state = other,
        }
    }

    pub(super) fn seal_again(&mut self, now: Now) {
        if self.sealing_again == 0 {
            self.unsealed_retry_at = now.mono.after(RETRY);
            self.sealing_again = self.unsealed.len();
            let (again, last) = (true, self.closing);
            let unsealed = self.unsealed.drain(..);
            let sealing = |(segment, unsynced): (Segment, Unsynced)| {
                let doubted = segment.suspect;
                Sealing { segment, unsynced, again, last, doubted }
            };
            self.seals.extend(unsealed.map(sealing));
        }
    }

    /// Hands over what is to be finished. One round at a time: what comes meanwhile shares the
    /// next. Before other questions, so that files are not opened faster than they are finished.
    pub(super) fn seal_all(&mut self) {
        if self.seals.is_empty() || self.sealing {
            return;
        }
        self.sealing = true;
        let round = std::mem::take(&mut self.seals);
        self.backlog.push_front(Question::SealAll(round));
        self.ask_next();
    }

    /// So many blocks are known that no more may be: this lane waits for the sync under way, whose
    /// answer brings us back.
    pub(super) fn is_crowded(&mut self, id: usize) -> bool {
        if self.entries < self.rules.entries_max {
            return false;
        }
        exempt(|| self.spare_entries());
        self.entries >= self.rules.entries_max && self.lane(id).tending
    }

    /// Many blocks are known: those that are synced are forgotten. If many are not, because syncs
    /// are rare, one is asked for; and if they are not in time, the files that have most of them
    /// are finished.
    pub(super) fn spare_entries(&mut self) {
        let most = self.rules.entries_max;
        let mut entries = 0;
        for lane in self.lanes.iter_mut().flatten() {
            if let State::Open(open) = &mut lane.state {
                open.segment.blocks.forget(open.segment.synced_bytes);
                entries += open.segment.blocks.room();
            }
        }
        self.entries = entries;
        let file = |(id, lane): (usize, &Option<Lane>)| {
            let lane = lane.as_ref()?;
            let State::Open(open) = &lane.state else { return None };
            (!lane.tending && !open.held && open.is_dirty())
                .then_some((open.segment.blocks.room(), id))
        };
        let files = self.lanes.iter().enumerate().filter_map(file);
        if entries > most / 4 * 3 {
            let mut files: Vec<_> = files.collect();
            files.sort_unstable();
            while self.entries > most / 2
                && let Some((room, id)) = files.pop()
            {
                self.entries -= room;
                self.roll(id);
            }
        } else if entries > most / 4 {
            let files: Vec<_> = files.map(|(_, id)| id).collect();
            self.round_of(&files, true);
        }
        self.entries_next = (self.entries + most / 4).max(most / 2);
    }

    /// Too many files are open: those idle for longest are finished, a few at once, for all are
    /// looked at and a round of them costs little more than one.
    pub(super) fn spare_files(&mut self, newest: usize) {
        // Counted on the way up only; ten thousand lanes are not looked at for each that opens.
        self.open_at_most += 1;
        let most = self.rules.open_files_max;
        if self.open_at_most <= most {
            return;
        }
        let states = || self.lanes.iter().flatten().map(|lane| &lane.state);
        let rescuing = states().filter(|state| matches!(state, State::Rescuing { .. })).count();
        let count = states().filter(|state| matches!(state, State::Open(_))).count();
        self.open_at_most = count + rescuing;
        if count <= most {
            return;
        }
        let idle = |(id, lane): (usize, &Option<Lane>)| {
            let lane = lane.as_ref()?;
            let spare = matches!(&lane.state, State::Open(open) if !open.held);
            (spare && id != newest && !lane.tending && lane.parked.is_empty())
                .then_some((lane.appended_at, id))
        };
        let mut idle: Vec<_> = self.lanes.iter().enumerate().filter_map(idle).collect();
        let spared = (count - most + most / SPARED_SHARE).min(idle.len());
        if spared < idle.len() {
            idle.select_nth_unstable(spared);
        }
        idle.truncate(spared);
        idle.iter().for_each(|(_, id)| self.roll(*id));
        self.open_at_most -= spared;
    }
}
