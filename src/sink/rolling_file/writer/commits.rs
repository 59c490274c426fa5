//! Group commit: when somebody waits to hear that events are synced, the sync is due at once, but
//! so far from the last one that many share it.
//!
//! While a sync is under way what comes gathers for the next one, the open block too. After it
//! senders are told, and have a moment to send what they may send now: a sync that began at once
//! would miss it, and two half-filled windows would take turns, each waiting for two syncs. The
//! moment is over when as many events wait as had waited before (`tempo`), else by the clock.

use std::time::Duration;

use super::{APART, Writer};
use crate::memory::ReceiptSlip;
use crate::memory::gate::exempt;
use crate::sink::rolling_file::lane::State;
use crate::time::{Mono, Now};

/// For senders to use their windows, after they were told.
const PAUSE_MAX: Duration = Duration::from_millis(1);

impl Writer {
    /// Asks for the syncs that somebody waits for, when they are due.
    pub(super) fn commit(&mut self, now: Now) {
        if self.awaited.is_empty() || now.mono < self.ties.tempo.next() {
            return;
        }
        let mut awaited = std::mem::take(&mut self.awaited);
        awaited.retain(|id| self.may_commit(*id));
        if !awaited.is_empty() {
            match awaited[..] {
                [id] => self.sync(id, true),
                _ => self.round_of(&awaited, true),
            }
            // Until it is answered; blocks go by size and age meanwhile.
            self.ties.tempo.set(Mono::MAX);
            self.commit_at = now.mono;
        }
        awaited.clear();
        self.awaited = awaited;
    }

    /// Takes the lane off the list; says whether somebody waits for its sync, and it may be asked
    /// for.
    fn may_commit(&mut self, id: usize) -> bool {
        let Some(lane) = &mut self.lanes[id] else { return false };
        let State::Open(open) = &mut lane.state else { return false };
        open.awaited = false;
        // At the clerk's already: its answer brings us back.
        !lane.tending && open.fresh.slips.iter().any(ReceiptSlip::hurries)
    }

    /// A sync was answered: those who waited for so many events are told.
    pub(super) fn committed(&self, events: u64, took: Duration, now: Now) {
        let pause = (took / 4).min(PAUSE_MAX);
        let next = self.commit_at.after(APART).max(now.mono.after(pause));
        self.ties.tempo.told(events, next);
    }

    /// Lists the lane if somebody waits for what is in no sync of it yet.
    pub(super) fn want_commit(&mut self, id: usize) {
        if let Some(lane) = &mut self.lanes[id]
            && let State::Open(open) = &mut lane.state
            && open.fresh.slips.iter().any(ReceiptSlip::hurries)
            && !std::mem::replace(&mut open.awaited, true)
        {
            // As many as there are files, at some time.
            exempt(|| self.awaited.push(id));
        }
    }
}
