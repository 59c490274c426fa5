//! What the writer asks to be synced: a file, or when many are dirty a round of all of them.

use std::sync::Arc;

use super::Writer;
use crate::memory::gate::exempt;
use crate::sink::rolling_file::clerk::{Question, Tending};
use crate::sink::rolling_file::lane::{Lane, State};

impl Writer {
    /// Has the clerk look whether the file is still there, and sync it if `sync`.
    pub(super) fn sync(&mut self, id: usize, sync: bool) {
        if let Some(tending) = self.tending(id, sync) {
            self.ask(Question::Tend { tending, sync });
        }
    }

    /// A handle of the lane's segment for the clerk, unless there is one there already.
    fn tending(&mut self, id: usize, sync: bool) -> Option<Tending> {
        let lane = self.lanes[id].as_mut().expect("the caller's lane exists");
        let State::Open(open) = &mut lane.state else { return None };
        if std::mem::replace(&mut lane.tending, true) {
            return None;
        }
        if sync {
            open.asked.absorb(&mut open.fresh);
        }
        Some(Tending {
            lane: id,
            file: Arc::clone(&open.segment.file),
            path: Arc::clone(&open.segment.open_path),
            volume: open.segment.volume,
            bytes: open.segment.bytes,
        })
    }

    /// The syncs that are due: one by one, or many together. Then who is dirty but not due comes
    /// along: it costs no more, and spares it a round of its own.
    pub(super) fn sync_due(&mut self) {
        let mut due = std::mem::take(&mut self.due);
        if due.len() <= self.rules.synced_singly_max {
            due.drain(..).for_each(|id| self.sync(id, true));
        } else {
            due.clear();
            let joins = |lane: &Option<Lane>| match lane.as_ref().map(|lane| &lane.state) {
                Some(State::Open(open)) => !open.held && open.joins_a_round(),
                _ => false,
            };
            due.extend((0..self.lanes.len()).filter(|id| joins(&self.lanes[*id])));
            self.round_of(&due, true);
            due.clear();
        }
        self.due = due;
    }

    /// The looks that are due: few one by one, many in one question.
    pub(super) fn look_due(&mut self) {
        let mut looks = std::mem::take(&mut self.looks);
        if looks.len() <= self.rules.synced_singly_max {
            looks.drain(..).for_each(|id| self.sync(id, false));
        } else {
            self.round_of(&looks, false);
            looks.clear();
        }
        self.looks = looks;
    }

    /// One question about all of these that are not at the clerk's.
    pub(super) fn round_of(&mut self, lanes: &[usize], sync: bool) {
        let mut round = std::mem::take(&mut self.round);
        // Allocates while files grow more, or when the last round is still at the clerk's.
        exempt(|| lanes.iter().for_each(|id| round.extend(self.tending(*id, sync))));
        self.ask(Question::TendAll { round, sync });
    }
}
