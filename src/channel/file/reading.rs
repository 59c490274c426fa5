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
    /// Some channel has been here, though it may have nothing yet.
    begun: bool,
}

/// So often the directories are looked at when segments go meanwhile.
const LOOKS_MAX: usize = 100;

/// One segment.
struct Part {
    path: PathBuf,
    file: Arc<dyn DiskFile>,
    /// Everything that can be found in it.
    steps: Vec<Step>,
    bytes: u64,
    end_seq: u64,
}

/// A segment that can be read whatever becomes of its name.
struct Opened {
    entry: Entry,
    file: Arc<dyn DiskFile>,
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
        let (mut parts, mut log) = (Vec::new(), None);
        for Opened { entry, file } in open_all(disk, || recovery::list(disk, dirs))? {
            let Entry { number, path } = entry;
            let read = || -> io::Result<Part> {
                let bytes = file.bytes()?;
                let wanted = Wanted { log, segment: number };
                let (mut steps, mut offset) = (Vec::new(), 0);
                while let Some(step) = scan::next(&*file, offset, bytes, wanted)? {
                    offset = step.end();
                    steps.push(step);
                }
                Ok(Part { path: path.clone(), file, steps, bytes, end_seq: u64::MAX })
            };
            let part = read().map_err(|error| OpenError::reading(&path, &error))?;
            log = log.or_else(|| part.steps.first().map(|step| step.head.log));
            parts.push(part);
        }
        let lock = |dir: &PathBuf| disk.exists(&dir.join(recovery::LOCK)).unwrap_or(false);
        let begun = dirs.iter().any(lock);
        let (delivered, put) = (Delivered::default(), Put::default());
        let mut reader = Self { parts, delivered, synced: 0, put, begun };
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

    /// No channel has ever been here. One that is about to write its first batch has no segment.
    pub fn is_empty(&self) -> bool {
        self.parts.is_empty() && !self.begun
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

/// Opens all segments that are there at one time: what goes after that can still be read. One that
/// went between the look at the directory and at the file was delivered, and newer ones say so:
/// perhaps ones that were begun since, so the directory is looked at once more.
fn open_all(
    disk: &dyn Disk,
    mut list: impl FnMut() -> Result<Vec<Entry>, OpenError>,
) -> Result<Vec<Opened>, OpenError> {
    for looks in 1.. {
        let (mut open, mut gone) = (Vec::new(), false);
        for entry in list()? {
            match disk.open_read(&entry.path) {
                Ok(file) => open.push(Opened { entry, file }),
                Err(error) if error.kind() == io::ErrorKind::NotFound => gone = true,
                Err(error) => return Err(OpenError::reading(&entry.path, &error)),
            }
        }
        if !gone || looks == LOOKS_MAX {
            return Ok(open);
        }
    }
    unreachable!("the last look is enough")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::channel::file::log::name_of;
    use crate::storage::OsDisk;

    #[test]
    fn what_goes_meanwhile_is_looked_for_again() {
        let dir = tempfile::tempdir().unwrap();
        let entry = |number| Entry { number, path: dir.path().join(name_of(number)) };
        for number in [8, 9] {
            std::fs::write(entry(number).path, "").unwrap();
        }
        let mut looks = 0;
        let list = || {
            looks += 1;
            // Segment 7 was there when its name was read; when it is opened 8 has taken its place.
            Ok(if looks == 1 { vec![entry(7)] } else { vec![entry(8), entry(9)] })
        };
        let open = open_all(&OsDisk, list).unwrap();
        let numbers: Vec<u64> = open.iter().map(|one| one.entry.number).collect();
        assert_eq!((looks, numbers), (2, vec![8, 9]));
        // However fast they go, it ends.
        assert!(open_all(&OsDisk, || Ok(vec![entry(7)])).unwrap().is_empty());
    }

    #[test]
    fn a_log_that_nothing_was_written_to_is_a_log() {
        let dir = tempfile::tempdir().unwrap();
        let open = || LogReader::open(&OsDisk, &[dir.path().to_owned()]).unwrap();
        assert!(open().is_empty());
        std::fs::write(dir.path().join(recovery::LOCK), "").unwrap();
        assert!(!open().is_empty());
        assert_eq!(open().totals(), LogTotals::default());
    }
}
