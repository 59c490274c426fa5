//! The `file` channel: batches wait in a log on disk. What was accepted is delivered, also after a
//! crash. And `spill`, which has the same log for what its memory cannot hold.
//!
//! ```text
//!   record     the bytes: a head and a batch, or what was delivered; wrap, keys: compressed,
//!              encrypted
//!   log        segments in one or several directories, appended to
//!   scan       from record to record, over what is damaged
//!   recovery   how a log was left; one process has it at a time
//!   delivered  the set of batches that are done
//!   keeper     the worker; clerk: its helpers; shared: what sources and sinks see
//! ```
//! Promises: a batch is confirmed to its source (`synced`) when fdatasync has returned, and is
//! delivered at least once; twice only after a crash, and only what was not yet marked as done.
//! Order is the order of offering. A damaged record costs itself, counted in events and bytes; its
//! segment is set aside, not removed. Segments go when all they hold is delivered, whatever older
//! ones wait for. A full disk stops what comes in, never what goes out.

mod clerk;
mod delivered;
mod keeper;
mod keys;
mod log;
mod options;
mod reading;
pub mod record;
mod recovery;
mod scan;
mod shared;
mod wrap;

use std::sync::Arc;

use super::WhenFull;
use super::registry::{BuildError, Built, ChannelContext, ChannelKind, ChannelPlan};
use crate::config::Section;
use crate::limits;
use crate::memory::{MemoryLine, Pool, ReceiptPool};
use crate::runtime::Worker;
use crate::runtime::helper::Helper;
use crate::runtime::parker::Parker;
use crate::storage::{Disk, DurableNames};
use clerk::{Clerk, Reader};
use keeper::{Course, Keeper, Manner, Seats, Watches};
use options::Options;
use record::Cipher;
use shared::Shared;
use wrap::{Unwrapper, Wrapper, Wrapping};

pub use keys::Keys;
pub use options::OPTIONS;
pub use reading::{LogReader, LogTotals, SegmentReport};
pub use recovery::OpenError;

pub const KIND: ChannelKind = ChannelKind {
    name: "file",
    aliases: &[],
    summary: "batches wait in a log on disk; what was accepted outlives a crash",
    options: OPTIONS,
    plan,
};

pub const SPILL: ChannelKind = ChannelKind {
    name: "spill",
    aliases: &["spillablememory"],
    summary: "batches wait in memory, and in a log on disk when there are too many",
    options: OPTIONS,
    plan: plan_spill,
};

/// Batches that sinks may have and have not confirmed: a second's worth of small ones.
const RECEIPTS: usize = 4096;
/// Batches handed over before their sync: two syncs' worth at full speed.
const BESIDE: usize = 8;
/// A receipt with its place in the rings, and what is known of its batch.
const RECEIPT_BYTES: usize = 128;

fn plan(section: &Section) -> Box<dyn ChannelPlan> {
    Box::new(Options::read(section, false))
}

fn plan_spill(section: &Section) -> Box<dyn ChannelPlan> {
    Box::new(Options::read(section, true))
}

impl ChannelPlan for Options {
    fn when_full(&self) -> WhenFull {
        self.when_full
    }

    fn memory_bytes(&self) -> Option<u64> {
        self.memory_bytes
    }

    fn capacity_bytes(&self) -> Option<u64> {
        Some(self.capacity_bytes)
    }

    fn memory_key(&self) -> &'static str {
        "memory"
    }

    fn pages_in_hand(&self) -> usize {
        BESIDE
    }

    fn memory(&self, name: &str, sink_threads: usize) -> Vec<MemoryLine> {
        let pages = read_pages(sink_threads);
        let line = |what: String, bytes: usize| {
            MemoryLine::new(format!("channels.{name}"), what, bytes as u64)
        };
        let page = limits::BATCH_BYTES_MAX + limits::PAGE_HEADER_BYTES;
        let receipts = RECEIPTS * RECEIPT_BYTES + log::STATE_ROOM as usize;
        let cipher = self.encryption.as_ref().map_or(Cipher::None, |(_, cipher)| *cipher);
        let wrapping = Wrapper::memory_bytes((self.codec, cipher));
        let mut lines = vec![
            line(format!("{pages} batches of 1MiB to read back"), pages * page),
            line(format!("{RECEIPTS} receipts, and what was delivered"), receipts),
        ];
        if wrapping > 0 {
            lines.push(line("compressing and encrypting".to_owned(), wrapping));
        }
        lines
    }

    fn is_durable(&self) -> bool {
        !self.spill
    }

    fn recovers(&self) -> bool {
        true
    }

    fn places(&self) -> Vec<String> {
        self.paths.iter().map(|path| path.display().to_string()).collect()
    }

    fn build(&self, context: ChannelContext) -> Result<Built, BuildError> {
        let failed = |error: OpenError| BuildError {
            what: format!("channels.{}: {}", context.name, error.what),
            remedy: error.remedy,
        };
        let wrapping = self.wrapping(&*context.disk).map_err(failed)?;
        let keys = Arc::clone(&wrapping.keys);
        let (paths, segment_bytes) = (&self.paths, self.segment_bytes);
        let found = recovery::open(&*context.disk, paths, segment_bytes, wrapping, context.random);
        let found = found.map_err(failed)?;
        Ok(self.assemble(context, found, keys))
    }
}

/// Room for all batches that may be on their way; no more than half of the log.
fn margin(credit: usize, capacity_bytes: u64) -> u64 {
    let most = credit as u64 * u64::from(record::RECORD_BYTES_MAX);
    most.min(capacity_bytes / 2)
}

/// Pages to read back into: two, and one for each thread that may hold one.
fn read_pages(sink_threads: usize) -> usize {
    2 + sink_threads
}

impl Options {
    /// Reads the key file.
    fn wrapping(&self, disk: &dyn Disk) -> Result<Wrapping, OpenError> {
        let codec = self.codec;
        let Some((path, cipher)) = &self.encryption else {
            return Ok(Wrapping { codec, cipher: Cipher::None, keys: Arc::new(Keys::none()) });
        };
        let keys = Keys::read(disk, path).map_err(|what| {
            OpenError::new(what, "a line is a number and what `openssl rand -hex 32` prints")
        })?;
        Ok(Wrapping { codec, cipher: *cipher, keys: Arc::new(keys) })
    }

    fn assemble(
        &self,
        context: ChannelContext,
        mut found: recovery::Found,
        keys: Arc<Keys>,
    ) -> Built {
        let ChannelContext { name, credit, counters, incidents, disk, .. } = context;
        let (put, done) = (found.log.put, found.delivered.totals());
        let waiting = (put.events.saturating_sub(done.0), put.bytes.saturating_sub(done.1));
        counters.recovered_events.add(waiting.0);
        counters.gauge.enter(waiting.0, waiting.1);
        if waiting.0 > 0 {
            let what = format!("{} events wait in the log from before", waiting.0);
            found.notes.push(what);
        }
        let ahead = 2 * context.sink_threads + 2;
        let total = credit.total() as usize;
        let direct_max = if self.spill { limits::u32_of(total / 2) } else { 0 };
        // The rest is for what goes through the log: it must flow while the first half waits.
        let share = total - limits::usize_of(direct_max);
        let shared = Shared::new(name.clone(), credit, counters, put.seq, ahead, direct_max);
        let shared = Arc::new(shared);
        let names = self.paths.iter().map(|path| DurableNames::below(path.clone())).collect();
        let mut own = Clerk {
            disk: Arc::clone(&disk),
            names,
            segment_bytes: self.segment_bytes,
            reserve_bytes: self.reserve_bytes,
        };
        let title = |part: &str| format!("channel.{name}{part}");
        // One segment, one sync, and a few removals at a time.
        let (clerk, desk) = Helper::new(title(".disk"), 8, move |question, _| own.answer(question));
        let mut own = Reader { disk, open: None, unwrapper: Unwrapper::new(keys) };
        let (reader, pages) = Helper::new(title(".read"), 2, move |seek, _| own.answer(seek));
        let pool = Pool::new(read_pages(context.sink_threads), limits::BATCH_BYTES_MAX);
        let receipts = ReceiptPool::patient(RECEIPTS, context.confirmed);
        let parker = Parker::default();
        let seats = Seats::take(&parker, &shared, &receipts, &pool, &desk, &pages);
        found.delivered.reserve(RECEIPTS);
        let state = Course::new(&found.delivered, total, RECEIPTS);
        let keeper = Keeper {
            name: title(""),
            shared: Arc::clone(&shared),
            manner: Manner {
                sync: self.sync,
                capacity_bytes: self.capacity_bytes,
                margin_bytes: margin(total, self.capacity_bytes),
                capacity_events: self.capacity_events,
                ahead,
                kept_max: share / 4,
                hands_max: limits::u32_of((share / 2).max(1)),
                beside_max: BESIDE,
            },
            earlier: found.delivered.clone(),
            delivered: found.delivered,
            trusted: found.synced,
            log: found.log,
            clerk: desk,
            reader: pages,
            receipts,
            pages: pool,
            watches: Watches::new(&incidents, &name),
            parker,
            seats,
            state,
            _locks: found.locks,
        };
        let helpers: Vec<Box<dyn Worker>> = vec![Box::new(clerk), Box::new(reader)];
        Built { channel: shared, keepers: vec![Box::new(keeper)], helpers, notes: found.notes }
    }
}
