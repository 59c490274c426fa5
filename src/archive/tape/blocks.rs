//! Events of archives: blocks decoded as their times come, and merged.

use std::path::PathBuf;
use std::sync::Arc;

use jiff::Timestamp;

use super::Findings;
use crate::archive::order::{Job, Ordered};
use crate::archive::query::TimeRange;
use crate::archive::survey::BlockDecoder;
use crate::archive::{BlockView, EventView, Reader};
use crate::storage::OsDisk;
use crate::time::Wall;

/// Blocks that are decoded at once. More files than that with overlapping times are merged only
/// nearly.
pub(super) const OPEN_MAX: usize = 64;

pub(super) struct Blocks {
    jobs: Ordered,
    next: Option<Job>,
    begun: bool,
    open: Vec<Open>,
    /// Those that were played, for their memory.
    spare: Vec<Open>,
    decoder: BlockDecoder,
}

/// One block's events in the order of their times.
#[derive(Default)]
struct Open {
    bytes: Vec<u8>,
    events: Vec<Entry>,
    next: usize,
}

#[derive(Clone, Copy)]
struct Entry {
    at: i64,
    start: usize,
    end: usize,
    /// The port that it was sent to.
    port: Option<u16>,
}

impl Blocks {
    pub(super) fn new(files: Vec<PathBuf>, range: TimeRange) -> Self {
        let jobs = Ordered::new(Arc::new(OsDisk), files, range);
        let (open, spare) = (Vec::new(), Vec::new());
        Self { jobs, next: None, begun: false, open, spare, decoder: BlockDecoder::default() }
    }

    /// One event more, or none when a block was opened instead. False: there are no more.
    pub(super) fn next(
        &mut self,
        findings: &mut Findings,
        push: &mut impl FnMut(i64, Option<u16>, &[u8], &mut Findings),
    ) -> bool {
        if !std::mem::replace(&mut self.begun, true) {
            self.next = self.jobs.next();
        }
        let earliest = self.open.iter().enumerate();
        let earliest = earliest.map(|(index, open)| (open.events[open.next].at, index)).min();
        let due = |job: &Job, at: i64| match job {
            Job::Block { entry, .. } => entry.time_min.0 <= at,
            _ => true,
        };
        if let Some(job) = &self.next
            && earliest.is_none_or(|(at, _)| due(job, at) && self.open.len() < OPEN_MAX)
        {
            let job = self.next.take().expect("it was just seen");
            self.next = self.jobs.next();
            self.enter(job, findings);
            return true;
        }
        let Some((_, index)) = earliest else { return false };
        let open = &mut self.open[index];
        let Entry { at, start, end, port } = open.events[open.next];
        push(at, port, &open.bytes[start..end], findings);
        open.next += 1;
        if open.next == open.events.len() {
            let done = self.open.swap_remove(index);
            if self.spare.len() < 4 {
                self.spare.push(done);
            }
        }
        true
    }

    fn enter(&mut self, job: Job, findings: &mut Findings) {
        match job {
            Job::Block { of, file, codec, entry, number } => {
                let told = match self.decoder.view(&*file, codec, &entry, true) {
                    Ok(Ok(view)) => {
                        let mut open = self.spare.pop().unwrap_or_default();
                        open.take(&view, findings);
                        if !open.events.is_empty() {
                            self.open.push(open);
                        }
                        return;
                    }
                    Ok(Err(why)) => format!("block {number} is left out: {why}"),
                    Err(error) => format!("block {number}: {error}"),
                };
                findings.trouble(format!("{}: {told}", of.path.display()));
            }
            Job::Stream { of, file } => match Reader::of_file(&of.path, file) {
                Ok(reader) => stream(reader, findings),
                Err(error) => findings.trouble(error.to_string()),
            },
            Job::Gap { of, gap } => {
                let (at, bytes, why) = (gap.at, gap.bytes, gap.why);
                findings.trouble(format!("{}: {bytes} bytes at {at}: {why}", of.path.display()));
            }
            Job::Failed { of, error } => {
                findings.trouble(format!("{}: {error}", of.path.display()));
            }
            Job::Skipped { .. } => {}
        }
    }
}

/// A file without times: its events are counted, and nobody knows when they were.
fn stream(mut reader: Reader, findings: &mut Findings) {
    loop {
        match reader.next_block() {
            Ok(Some(view)) => findings.untimed += view.event_count(),
            Ok(None) => return,
            Err(error) => return findings.trouble(error.to_string()),
        }
    }
}

impl Open {
    fn take(&mut self, view: &BlockView<'_>, findings: &mut Findings) {
        self.bytes.clear();
        self.events.clear();
        self.next = 0;
        let mut without = 0;
        for event in view.events() {
            let (own, start) = (self.append(&event), self.bytes.len());
            let (at, length, port) = own;
            without += u64::from(at.is_none());
            let at = at.unwrap_or(i64::MIN);
            self.events.push(Entry { at, start: start - length, end: start, port });
        }
        findings.block_timed += without;
        if without > 0 {
            self.spread(view.times.unwrap_or((Wall(0), Wall(0))));
        }
        self.events.sort_by_key(|entry| entry.at);
    }

    /// Copies an event's text: its own time if it has one, its length, its port.
    fn append(&mut self, event: &EventView<'_>) -> (Option<i64>, usize, Option<u16>) {
        if let Some(own) = &event.own {
            self.bytes.extend_from_slice(event.line);
            return (Some(own.at.0), event.line.len(), own.local.map(|local| local.port()));
        }
        let (fields, text) = event.fields();
        self.bytes.extend_from_slice(&text);
        let written = || {
            let time = fields.time.as_ref()?.parse::<Timestamp>().ok()?;
            i64::try_from(time.as_nanosecond()).ok()
        };
        let at = event.received.map(|it| it.at.0).or_else(written);
        (at, text.len(), None)
    }

    /// Events without a time of their own, evenly over the time of their block.
    fn spread(&mut self, (first, last): (Wall, Wall)) {
        let span = i128::from(last.0) - i128::from(first.0);
        let steps = (self.events.len() as i128 - 1).max(1);
        for (index, entry) in self.events.iter_mut().enumerate() {
            if entry.at == i64::MIN {
                let at = i128::from(first.0) + span * index as i128 / steps;
                entry.at = i64::try_from(at).unwrap_or(last.0);
            }
        }
    }
}
