//! A log as somebody sees it who only looks: `flumen channel`. Nothing is locked, nothing changed;
//! the channel may be at work meanwhile.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use super::delivered::Delivered;
use super::keys::Keys;
use super::log::{Put, State};
use super::record::Kind;
use super::recovery::{self, Entry, OpenError};
use super::scan::{self, ReadError, Step, Wanted};
use super::wrap::Unwrapper;
use crate::event::Page;
use crate::limits;
use crate::storage::{Disk, DiskFile};
use crate::time::Wall;

/// A log in its directories.
pub struct LogReader {
    parts: Vec<Part>,
    delivered: Delivered,
    /// Batches below were synced when the newest state was written.
    synced: u64,
    put: Put,
}

/// One segment.
struct Part {
    path: PathBuf,
    file: Arc<dyn DiskFile>,
    /// Everything that can be found in it.
    steps: Vec<Step>,
    bytes: u64,
    end_seq: u64,
}

/// What stands in a segment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SegmentReport {
    pub path: PathBuf,
    pub bytes: u64,
    pub batches: u64,
    pub events: u64,
    /// Of those, what is not delivered yet.
    pub waiting_events: u64,
    /// What is damaged: where, and how.
    pub damage: Vec<(u64, String)>,
    /// Bytes at its end that no record claims: a write under way, or torn by a crash.
    pub torn_bytes: u64,
}

/// Sums over a log.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LogTotals {
    pub segments: u64,
    pub bytes: u64,
    /// Put since the log began.
    pub put_events: u64,
    pub delivered_events: u64,
    pub waiting_events: u64,
    pub waiting_bytes: u64,
    /// When the first of those that wait was received.
    pub oldest: Option<Wall>,
}

impl LogReader {
    /// Finds out what there is; contents are not read.
    pub fn open(disk: &dyn Disk, dirs: &[PathBuf]) -> Result<Self, OpenError> {
        let mut parts = Vec::new();
        let mut log = None;
        for Entry { number, path } in recovery::list(disk, dirs)? {
            let read = || -> io::Result<Part> {
                let file = disk.open_read(&path)?;
                let bytes = file.bytes()?;
                let wanted = Wanted { log, segment: number };
                let (mut steps, mut offset) = (Vec::new(), 0);
                while let Some(step) = scan::next(&*file, offset, bytes, wanted)? {
                    offset = step.end();
                    steps.push(step);
                }
                Ok(Part { path: path.clone(), file, steps, bytes, end_seq: u64::MAX })
            };
            let part = match read() {
                Ok(part) => part,
                // Delivered meanwhile, and removed.
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                Err(error) => return Err(OpenError::reading(&path, &error)),
            };
            log = log.or_else(|| part.steps.first().map(|step| step.head.log));
            parts.push(part);
        }
        let mut reader =
            Self { parts, delivered: Delivered::default(), synced: 0, put: Put::default() };
        reader.find_state();
        Ok(reader)
    }

    /// What the newest state says, and where segments end.
    fn find_state(&mut self) {
        let mut end = u64::MAX;
        for part in self.parts.iter_mut().rev() {
            part.end_seq = end;
            end = end.min(part.steps.first().map_or(u64::MAX, |step| step.head.seq));
        }
        let states = self.parts.iter().rev().flat_map(|part| {
            let states = part.steps.iter().rev().filter(|step| step.head.kind == Kind::State);
            states.filter_map(|step| scan::read_state(&*part.file, step).ok())
        });
        if let Some(State { synced, put, delivered }) = states.into_iter().next() {
            (self.synced, self.put, self.delivered) = (synced, put, delivered);
        }
        let last = self.parts.iter().flat_map(|part| &part.steps);
        for step in last.filter(|step| step.head.kind == Kind::Batch) {
            let (head, outline) = (&step.head, &step.head.outline);
            if head.seq >= self.put.seq {
                self.put = Put {
                    seq: head.seq + 1,
                    events: head.events_before + u64::from(outline.events),
                    bytes: head.bytes_before + outline.event_bytes,
                };
            }
        }
    }

    pub fn is_empty(&self) -> bool {
        self.parts.is_empty()
    }

    /// The batches of a segment that count, in order.
    fn batches<'a>(&'a self, part: &'a Part) -> impl Iterator<Item = &'a Step> {
        let counts =
            move |step: &&Step| step.head.kind == Kind::Batch && step.head.seq < part.end_seq;
        part.steps.iter().filter(counts)
    }

    pub fn totals(&self) -> LogTotals {
        let (done, done_bytes) = self.delivered.totals();
        let waits = |step: &&Step| !self.delivered.contains(step.head.seq);
        let mut first = self.parts.iter().flat_map(|part| self.batches(part).filter(waits));
        LogTotals {
            segments: self.parts.len() as u64,
            bytes: self.parts.iter().map(|part| part.bytes).sum(),
            put_events: self.put.events,
            delivered_events: done,
            waiting_events: self.put.events.saturating_sub(done),
            waiting_bytes: self.put.bytes.saturating_sub(done_bytes),
            oldest: first.next().map(|step| step.head.outline.time_min),
        }
    }

    /// Looks at every byte.
    pub fn verify(&self, mut told: impl FnMut(SegmentReport) -> io::Result<()>) -> io::Result<()> {
        for (index, part) in self.parts.iter().enumerate() {
            let mut report = SegmentReport {
                path: part.path.clone(),
                bytes: part.bytes,
                ..SegmentReport::default()
            };
            let last = index + 1 == self.parts.len();
            let mut end = 0;
            for step in &part.steps {
                if step.skipped_bytes > 0 {
                    let what = format!("{} bytes hold no record", step.skipped_bytes);
                    report.damage.push((step.offset - step.skipped_bytes, what));
                }
                end = step.end();
                match scan::verify(&*part.file, step) {
                    Ok(()) => {}
                    Err(ReadError::Io(error)) => return Err(error),
                    Err(ReadError::Damaged(damage)) => {
                        let (seq, kind) = (step.head.seq, step.head.kind);
                        let unsynced = kind == Kind::Batch && last && seq >= self.synced;
                        let torn = if unsynced { ", and it was never synced" } else { "" };
                        let what = match kind {
                            Kind::Batch => format!("batch {seq}: {damage}{torn}"),
                            Kind::State => format!("a state: {damage}"),
                        };
                        report.damage.push((step.offset, what));
                    }
                }
            }
            report.torn_bytes = part.bytes.saturating_sub(end);
            for step in self.batches(part) {
                let events = u64::from(step.head.outline.events);
                report.batches += 1;
                report.events += events;
                let waits = !self.delivered.contains(step.head.seq);
                report.waiting_events += if waits { events } else { 0 };
            }
            told(report)?;
        }
        Ok(())
    }

    /// Hands out every batch that waits, or all that are still there, in order. What cannot be read
    /// is told, and the rest goes on.
    pub fn export(
        &self,
        all: bool,
        keys: Arc<Keys>,
        mut batch: impl FnMut(&Page) -> io::Result<()>,
        mut failed: impl FnMut(String),
    ) -> io::Result<()> {
        let mut page = Page::new(limits::BATCH_BYTES_MAX);
        let mut unwrapper = Unwrapper::new(keys);
        for part in &self.parts {
            for step in self.batches(part) {
                if !all && self.delivered.contains(step.head.seq) {
                    continue;
                }
                match scan::read_batch(&*part.file, step, &mut page, &mut unwrapper) {
                    Ok(()) => batch(&page)?,
                    Err(error) => {
                        let (path, offset) = (part.path.display(), step.offset);
                        let events = step.head.outline.events;
                        failed(format!("{path} at byte {offset}: {events} events: {error}"));
                    }
                }
            }
        }
        Ok(())
    }
}
