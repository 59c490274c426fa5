//! The sink's helper: it opens, syncs, seals, rescues and prunes, because those calls block.
//!
//! A segment has one owner at a time. While it is written the writer owns it and the clerk gets
//! only a handle to sync; to be sealed or rescued it is handed over whole.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use crate::memory::ReceiptSlip;
use crate::runtime::clock::Clock;
use crate::storage::block::{crc32c, decode_frame, stamp};
use crate::storage::retention::{Keep, retain};
use crate::storage::segment::{BlockEntry, seal};
use crate::storage::{Container, Disk, DiskFile, catalog, read_full_at, write_all_at};
use crate::time::Now;

use super::path::Template;

/// A segment in its writer's or the clerk's hands.
pub(super) struct Segment {
    pub(super) file: Arc<dyn DiskFile>,
    pub(super) open_path: Arc<Path>,
    pub(super) id: u64,
    /// Bytes appended: the truth about the file's length.
    pub(super) bytes: u64,
    pub(super) synced_bytes: u64,
    pub(super) entries: Vec<BlockEntry>,
}

/// What a sync would make durable.
#[derive(Default)]
pub(super) struct Unsynced {
    pub(super) events: u64,
    pub(super) slips: Vec<ReceiptSlip>,
}

pub(super) enum Question {
    /// Open the next segment of `stem`.
    Open { lane: usize, stem: Arc<Path> },
    /// Look whether the file is still there, and sync it if asked.
    Tend { lane: usize, file: Arc<dyn DiskFile>, path: Arc<Path>, bytes: u64, sync: bool },
    /// Index, sync, rename.
    Seal { segment: Segment, unsynced: Unsynced },
    /// A sync failed: save what the page cache still has into a new segment.
    Rescue { lane: usize, stem: Arc<Path>, segment: Segment },
    /// Remove what need not be kept.
    Retain,
}

pub(super) enum Answer {
    Opened { lane: usize, result: io::Result<Segment> },
    Tended(Tended),
    Sealed { segment: Segment, unsynced: Unsynced, result: io::Result<PathBuf> },
    Rescued { lane: usize, result: Result<Rescue, (Segment, io::Error)> },
    Retained { removed: usize, failed: Option<String> },
}

/// What came of tending an open segment.
pub(super) struct Tended {
    pub(super) lane: usize,
    /// The length when it was asked: what a good sync made durable.
    pub(super) bytes: u64,
    /// The file is still where it was opened.
    pub(super) linked: bool,
    pub(super) synced: Option<io::Result<()>>,
    pub(super) took: Duration,
}

/// What came of a rescue.
pub(super) struct Rescue {
    pub(super) segment: Segment,
    /// Events whose bytes the page cache no longer has.
    pub(super) lost_events: u64,
    /// How the old file ended.
    pub(super) note: String,
}

pub(super) struct Clerk {
    pub(super) disk: Arc<dyn Disk>,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) container: Container,
    pub(super) template: Arc<Template>,
    pub(super) keep: Keep,
    /// Opened so far: segment ids differ within a process by this and between processes by time.
    pub(super) opened: u64,
    /// Blocks a segment is expected to have, so that appending allocates nothing.
    pub(super) entries_expected: usize,
}

impl Clerk {
    pub(super) fn answer(&mut self, question: Question, now: Now) -> Answer {
        match question {
            Question::Open { lane, stem } => Answer::Opened { lane, result: self.open(&stem, now) },
            Question::Tend { lane, file, path, bytes, sync } => {
                let before = self.clock.now().mono;
                let synced = sync.then(|| file.sync_data());
                let took = self.clock.now().mono.since(before);
                // A directory that cannot be looked at is no proof that the file is gone.
                let linked = file.linked(&path).unwrap_or(true);
                Answer::Tended(Tended { lane, bytes, linked, synced, took })
            }
            Question::Seal { segment, unsynced } => {
                let result = self.seal(&segment);
                Answer::Sealed { segment, unsynced, result }
            }
            Question::Rescue { lane, stem, segment } => {
                Answer::Rescued { lane, result: self.rescue(&stem, segment, now) }
            }
            Question::Retain => self.retain(now),
        }
    }

    fn open(&mut self, stem: &Path, now: Now) -> io::Result<Segment> {
        let (path, file) = catalog::create_open(self.disk.as_ref(), stem, self.container)?;
        self.opened += 1;
        Ok(Segment {
            file,
            id: segment_id(&path, now, self.opened),
            open_path: Arc::from(path),
            bytes: 0,
            synced_bytes: 0,
            entries: Vec::with_capacity(self.entries_expected),
        })
    }

    fn seal(&self, segment: &Segment) -> io::Result<PathBuf> {
        seal(
            self.disk.as_ref(),
            segment.file.as_ref(),
            &segment.open_path,
            self.container,
            segment.id,
            &segment.entries,
            segment.bytes,
        )
    }

    /// Saves the unsynced blocks that can still be read into a new segment; the old file is cut at
    /// its synced mark and finished, or set aside. On error nothing has changed hands.
    fn rescue(
        &mut self,
        stem: &Path,
        mut old: Segment,
        now: Now,
    ) -> Result<Rescue, (Segment, io::Error)> {
        let first = old.entries.partition_point(|entry| entry.end_offset() <= old.synced_bytes);
        let mut new = match self.open(stem, now) {
            Ok(new) => new,
            Err(error) => return Err((old, error)),
        };
        let mut lost_events = 0;
        for entry in &old.entries[first..] {
            match self.move_block(&old, entry, &mut new) {
                Ok(true) => {}
                Ok(false) => lost_events += u64::from(entry.event_count),
                Err(error) => {
                    let _ = self.disk.remove(&new.open_path);
                    return Err((old, error));
                }
            }
        }
        old.entries.truncate(first);
        old.bytes = old.synced_bytes;
        let note = self.finish_old(&old);
        Ok(Rescue { segment: new, lost_events, note })
    }

    /// Copies one block; says whether its bytes were still good.
    fn move_block(&self, old: &Segment, entry: &BlockEntry, new: &mut Segment) -> io::Result<bool> {
        let length = usize::try_from(entry.end_offset() - entry.offset).expect("under 4 GiB");
        let mut bytes = vec![0; length];
        let read = read_full_at(&*old.file, entry.offset, &mut bytes).unwrap_or(0);
        if read != length || !self.whole(entry, &bytes) {
            return Ok(false);
        }
        stamp(self.container, &mut bytes, new.id, new.entries.len() as u64);
        write_all_at(new.file.as_ref(), new.bytes, &bytes)?;
        new.entries.push(BlockEntry { offset: new.bytes, ..*entry });
        new.bytes += bytes.len() as u64;
        Ok(true)
    }

    fn whole(&self, entry: &BlockEntry, bytes: &[u8]) -> bool {
        if self.container == Container::Plain {
            return crc32c(bytes) == entry.crc_raw;
        }
        decode_frame(bytes).is_ok_and(|(header, at)| crc32c(&bytes[at..]) == header.crc_stored)
    }

    fn finish_old(&self, old: &Segment) -> String {
        let path = old.open_path.display();
        if old.bytes > 0 {
            match self.seal(old) {
                Ok(name) => {
                    return format!("{path} was cut at its synced mark: {}", name.display());
                }
                Err(error) => tracing::warn!("{path}: cannot be finished: {error}"),
            }
        }
        match catalog::set_aside(self.disk.as_ref(), &old.open_path) {
            Ok(name) => format!("{path} was set aside as {}", name.display()),
            Err(error) => format!("{path} stays as it is, for it cannot be set aside: {error}"),
        }
    }

    fn retain(&self, now: Now) -> Answer {
        let owns = |path: &Path| self.template.owns(path, self.container);
        let root = self.template.root();
        match retain(self.disk.as_ref(), &root, &owns, &self.keep, now.wall) {
            Ok(done) => Answer::Retained {
                removed: done.removed.len(),
                failed: done
                    .failed
                    .first()
                    .map(|(path, error)| format!("{}: {error}", path.display())),
            },
            Err(error) => Answer::Retained { removed: 0, failed: Some(error.to_string()) },
        }
    }
}

/// A number that differs between segments: time, name and count, well mixed (splitmix64).
fn segment_id(path: &Path, now: Now, opened: u64) -> u64 {
    let name = crc32c(path.as_os_str().as_encoded_bytes());
    let mut mixed = (now.wall.0 as u64) ^ (u64::from(name) << 32) ^ opened.wrapping_mul(0x9E37);
    for factor in [0xBF58_476D_1CE4_E5B9, 0x94D0_49BB_1331_11EB] {
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(factor);
    }
    mixed ^ (mixed >> 31)
}
