//! Group commit: when somebody waits to hear that events are synced, the sync is due at once, but
//! so far from the last one that many share it.
//!
//! While a sync is under way what comes gathers for the next one, the open block too. After it
//! senders are told, and have a moment to send what they may send now: a sync that began at once
//! would miss it, and two half-filled windows would take turns, each waiting for two syncs.

use std::time::Duration;

use super::{APART, Writer};
use crate::memory::ReceiptSlip;
use crate::sink::rolling_file::lane::State;
use crate::time::{Mono, Now};

/// For senders to use their windows, after they were told.
const PAUSE_MAX: Duration = Duration::from_millis(1);

impl Writer {
    /// Asks for the syncs that somebody waits for, when they are due.
    pub(super) fn commit(&mut self, now: Now) {
        if !self.commit_wanted || now.mono < self.ties.tempo.next() {
            return;
        }
        self.commit_wanted = false;
        let mut asked = false;
        for id in 0..self.lanes.len() {
            let Some(lane) = &self.lanes[id] else { continue };
            let State::Open(open) = &lane.state else { continue };
            // At the clerk's already: its answer brings us back.
            if !lane.tending && open.fresh.slips.iter().any(ReceiptSlip::hurries) {
                self.sync(id, true);
                asked = true;
            }
        }
        if asked {
            // Until it is answered; blocks go by size and age meanwhile.
            self.ties.tempo.set(Mono::MAX);
            self.commit_at = now.mono;
        }
    }

    /// A sync was answered: those who waited for it are told.
    pub(super) fn committed(&self, took: Duration, now: Now) {
        let pause = (took / 4).min(PAUSE_MAX);
        let next = self.commit_at.after(APART).max(now.mono.after(pause));
        self.ties.tempo.set(next);
    }

    /// Somebody waits for what the sync that was just answered did not cover.
    pub(super) fn want_commit(&mut self, id: usize) {
        if let Some(lane) = &self.lanes[id]
            && let State::Open(open) = &lane.state
        {
            self.commit_wanted |= open.fresh.slips.iter().any(ReceiptSlip::hurries);
        }
    }
}
