//! When the log is synced, and what a failed sync costs: nothing but a second write.

use std::time::Duration;

use super::{Keeper, Young};
use crate::channel::file::clerk::Question;
use crate::channel::file::log::Put;
use crate::limits;
use crate::memory::ReceiptSlip;
use crate::memory::gate::exempt;
use crate::time::{Mono, Now};

/// What was delivered is written down so often at most, when nothing else is to be synced.
const STATE_EVERY: Duration = Duration::from_millis(100);
/// And with so much behind the last one: a start verifies no more than that, however large segments
/// are and however long the sinks are away.
const STATE_BYTES: u64 = 8 << 20;
const APART: Duration = Duration::from_nanos(limits::COMMIT_APART_NS);

impl Keeper {
    /// When the next sync is due, if nothing happens before.
    fn sync_due(&self) -> Mono {
        let state = &self.state;
        let every = self.manner.sync.unwrap_or(Duration::ZERO);
        let batches = match state.unsynced_at {
            Mono::MAX => Mono::MAX,
            _ if state.hurried || state.closing || state.older.is_some() => {
                state.last_sync.after(APART)
            }
            at => at.after(every).max(state.last_sync.after(APART)),
        };
        let states = match state.changed_at {
            // The last word: how far it was synced.
            _ if state.closing && state.synced_written != self.log.synced => state.last_sync,
            Mono::MAX => Mono::MAX,
            _ if state.closing => state.last_sync,
            at => at.after(STATE_EVERY),
        };
        batches.min(states)
    }

    /// When there is something to do that nobody rings for.
    pub(super) fn due(&self, now: Now) -> Mono {
        if self.rests(now) {
            return self.state.retry_at;
        }
        // What is asked of the clerk is answered with a ring.
        let asked = self.state.syncing || self.log.file.is_none() && self.state.opening;
        let sync = if asked { Mono::MAX } else { self.sync_due() };
        let finished = self.may_remove() && self.log.has_finished(&self.delivered);
        let remove = if finished { self.state.remove_at } else { Mono::MAX };
        sync.min(remove).max(now.mono)
    }

    pub(super) fn sync(&mut self, now: Now) {
        if self.state.syncing || now.mono < self.sync_due() || self.rests(now) {
            return;
        }
        let Some(file) = self.log.file.clone() else {
            // Only batches of an earlier life were delivered: they need a segment to say so in.
            self.ask_segment();
            return;
        };
        let news = self.state.synced_written != self.log.synced;
        let told = news && (self.state.closing || self.log.bytes_since_state() >= STATE_BYTES);
        if told || self.delivered.changes() != self.state.state_written {
            match self.log.append_state(&self.delivered) {
                Ok(true) => {
                    self.state.state_written = self.delivered.changes();
                    self.state.synced_written = self.log.synced;
                    // A segment that could not be made for it is no longer wanted.
                    self.state.unopened = false;
                }
                // Full: the next segment begins with it.
                Ok(false) => self.ask_segment(),
                Err(error) => self.fail(now, &format!("writing what was delivered: {error}")),
            }
            self.state.changed_at = Mono::MAX;
        }
        self.state.syncing = true;
        self.state.hurried = false;
        self.state.unsynced_at = Mono::MAX;
        self.state.last_sync = now.mono;
        self.state.state_asked = self.state.state_written;
        let older = self.state.older.clone();
        self.state.older_asked = older.is_some();
        self.state.rewrites_asked = self.state.rewrites;
        self.clerk.ask(Question::Sync { older, file, upto: self.log.put.seq });
    }

    /// Batches below `upto` are on the disk.
    pub(super) fn synced(&mut self, upto: u64) {
        if self.state.rewrites_asked != self.state.rewrites {
            // What it is about stands somewhere else by now.
            return;
        }
        self.log.synced = self.log.synced.max(upto);
        self.state.state_synced = self.state.state_asked;
        if self.state.older_asked {
            self.state.older = None;
        }
        let young = &mut self.state.young;
        for one in young.iter_mut().filter(|one| one.seq < upto) {
            one.slip.take().into_iter().for_each(ReceiptSlip::confirm);
        }
        young.retain(|one| one.seq >= upto || !one.handed);
    }

    /// Nobody knows what of the batches since the last good sync is on the disk: they are written
    /// again, to another segment.
    pub(super) fn unsynced(&mut self, now: Now, error: &std::io::Error) {
        self.fail(now, &format!("syncing: {error}"));
        self.state.older = None;
        self.state.unsynced_at = now.mono;
        self.log.file = None;
        self.ask_segment();
    }

    /// The number and sums behind the last batch that is known to be on the disk.
    fn sure(&self) -> Put {
        let first = self.state.young.iter().find(|young| young.seq >= self.log.synced);
        let Some(first) = first else { return self.log.put };
        let since = self.state.young.iter().filter(|young| young.seq >= first.seq);
        let (events, bytes) =
            since.fold((0, 0), |sum, young| (sum.0 + young.events, sum.1 + young.bytes));
        let put = self.log.put;
        Put { seq: first.seq, events: put.events - events, bytes: put.bytes - bytes }
    }

    /// A new segment is there: from now on it is written to.
    pub(super) fn begin(
        &mut self,
        number: u64,
        path: std::path::PathBuf,
        file: std::sync::Arc<dyn crate::storage::DiskFile>,
        now: Now,
    ) {
        let older = self.log.file.take();
        // Without a segment that is well, everything that may be lost is written again.
        let rewriting = older.is_none();
        let first = if rewriting { self.sure() } else { self.log.put };
        let begin = || self.log.begin(number, path.into(), file, first, &self.delivered);
        if let Err(error) = exempt(begin) {
            // Its beginning may stand on the disk, and then the older one's end counts no more.
            self.log.file = None;
            self.fail(now, &format!("beginning a segment: {error}"));
            return;
        }
        self.state.state_written = self.delivered.changes();
        self.state.synced_written = self.log.synced;
        self.state.changed_at = Mono::MAX;
        self.state.older = older;
        self.state.unsynced_at = self.state.unsynced_at.min(now.mono);
        if rewriting {
            self.state.rewrites += 1;
            self.write_again(now);
        }
    }

    fn write_again(&mut self, now: Now) {
        let from = self.log.put.seq;
        let mut young = std::mem::take(&mut self.state.young);
        let mut failed = None;
        for one in young.iter_mut().filter(|one| one.seq >= from) {
            match self.log.append(&one.batch) {
                Ok(written) => one.written = written,
                Err(error) => {
                    failed = Some(error);
                    break;
                }
            }
        }
        let last = young.back().map_or(from, |one: &Young| one.seq + 1);
        self.state.young = young;
        if let Some(error) = failed {
            // This segment is no better: the next one gets all of them.
            let (events, bytes) = self.beyond(self.log.put.seq);
            let put = &mut self.log.put;
            *put = Put { seq: last, events: put.events + events, bytes: put.bytes + bytes };
            self.log.file = None;
            self.fail(now, &format!("writing again: {error}"));
        }
    }

    /// Events and bytes of the young batches from a number on.
    fn beyond(&self, seq: u64) -> (u64, u64) {
        let rest = self.state.young.iter().filter(|young| young.seq >= seq);
        rest.fold((0, 0), |sum, young| (sum.0 + young.events, sum.1 + young.bytes))
    }
}
