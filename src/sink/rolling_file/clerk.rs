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
use crate::storage::segment::{BlockEntry, write_index};
use crate::storage::{
    Access, Container, Disk, DiskFile, DurableNames, Numbers, Volume, catalog, read_full_at,
    sync_files, write_all_at,
};
use crate::time::{Mono, Now};

use super::on_seal::Finished;
use super::path::Template;

/// A segment in its writer's or the clerk's hands.
pub(super) struct Segment {
    pub(super) file: Arc<dyn DiskFile>,
    pub(super) open_path: Arc<Path>,
    pub(super) volume: Option<Volume>,
    pub(super) id: u64,
    /// Bytes appended: the truth about the file's length.
    pub(super) bytes: u64,
    pub(super) synced_bytes: u64,
    pub(super) entries: Vec<BlockEntry>,
    pub(super) stem: Arc<Path>,
    /// A sync failed: another one may say ok about bytes that never reach the disk.
    pub(super) suspect: bool,
    /// A rescue left it: what stands behind its length stands in another file, too, or nowhere.
    pub(super) left: bool,
    /// Renamed already, and under this name.
    pub(super) finished: Option<PathBuf>,
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
    Tend { tending: Tending, sync: bool },
    /// Sync all of these, together if they are many.
    TendAll(Vec<Tending>),
    /// Index, sync, rename; `again` when that failed before.
    Seal { segment: Segment, unsynced: Unsynced, again: bool },
    /// A sync failed: save what the page cache still has into a new segment.
    Rescue { lane: usize, stem: Arc<Path>, segment: Segment },
    /// Remove what need not be kept.
    Retain,
}

pub(super) enum Answer {
    Opened {
        lane: usize,
        result: io::Result<Segment>,
    },
    Tended(Tended),
    /// `round` is what was asked with, empty.
    TendedAll {
        tended: Vec<Tended>,
        round: Vec<Tending>,
    },
    /// `lost_events`: of those unsynced, because a sync failed and they could not be read again.
    Sealed {
        segment: Segment,
        unsynced: Unsynced,
        again: bool,
        lost_events: u64,
        result: io::Result<()>,
        leftovers: Vec<Segment>,
    },
    Rescued {
        lane: usize,
        result: Result<Rescue, Box<Unrescued>>,
        leftovers: Vec<Segment>,
    },
    Retained {
        removed: usize,
        failed: Option<String>,
    },
}

/// A handle of a segment that stays its writer's.
pub(super) struct Tending {
    pub(super) lane: usize,
    pub(super) file: Arc<dyn DiskFile>,
    pub(super) path: Arc<Path>,
    pub(super) volume: Option<Volume>,
    /// The length: what a good sync makes durable.
    pub(super) bytes: u64,
}

/// What came of tending an open segment.
pub(super) struct Tended {
    pub(super) lane: usize,
    /// The length when it was asked: what a good sync made durable.
    pub(super) bytes: u64,
    /// The file is still where it was opened.
    pub(super) linked: bool,
    pub(super) synced: Option<io::Result<()>>,
    /// The bytes are durable, but not the name by which they are found.
    pub(super) unnamed: Option<io::Error>,
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

/// A rescue to be tried again: nothing has changed hands.
pub(super) struct Unrescued {
    pub(super) segment: Segment,
    pub(super) error: io::Error,
}

pub(super) struct Clerk {
    pub(super) disk: Arc<dyn Disk>,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) container: Container,
    pub(super) template: Arc<Template>,
    pub(super) keep: Keep,
    /// Whose the files are.
    pub(super) access: Access,
    /// Told of each file that is finished.
    pub(super) finished: Option<Finished>,
    /// Which numbers are taken.
    pub(super) numbers: Numbers,
    /// Which names a power cut would leave.
    pub(super) names: DurableNames,
    /// Files of the present rescue that could neither be finished, set aside nor cut, to be tried
    /// again: their blocks are found twice meanwhile.
    pub(super) leftovers: Vec<Segment>,
    /// Opened so far: segment ids differ within a process by this and between processes by time.
    pub(super) opened: u64,
    /// Blocks a segment is expected to have, so that appending allocates nothing.
    pub(super) entries_expected: usize,
}

impl Segment {
    /// Deleted or moved away, another of our files may have got its name by now: not to be renamed
    /// or removed in its place.
    fn has_its_name(&self) -> io::Result<()> {
        if self.file.linked(&self.open_path)? {
            Ok(())
        } else {
            Err(io::ErrorKind::NotFound.into())
        }
    }
}

impl Clerk {
    pub(super) fn answer(&mut self, question: Question, now: Now) -> Answer {
        match question {
            Question::Open { lane, stem } => Answer::Opened { lane, result: self.open(&stem, now) },
            Question::Tend { tending, sync } => {
                let before = self.clock.now().mono;
                let synced = sync.then(|| tending.file.sync_data());
                Answer::Tended(self.tended(&tending, synced, before))
            }
            Question::TendAll(mut round) => {
                let before = self.clock.now().mono;
                let file = |tending: &Tending| (Arc::clone(&tending.file), tending.volume);
                let files: Vec<_> = round.iter().map(file).collect();
                let outcomes = sync_files(&files, self.disk.files_synced_singly_max());
                let all = round.iter().zip(outcomes);
                let tended = all.map(|(one, synced)| self.tended(one, Some(synced), before));
                let tended = tended.collect();
                round.clear();
                Answer::TendedAll { tended, round }
            }
            Question::Seal { segment, unsynced, again } => {
                let (segment, lost_events, result) = self.finish(segment, now);
                let leftovers = std::mem::take(&mut self.leftovers);
                Answer::Sealed { segment, unsynced, again, lost_events, result, leftovers }
            }
            Question::Rescue { lane, stem, segment } => {
                let result = self.rescue(&stem, segment, now);
                let leftovers = std::mem::take(&mut self.leftovers);
                Answer::Rescued { lane, result, leftovers }
            }
            Question::Retain => self.retain(now),
        }
    }

    /// The bytes were synced, or not; now their name, and a look whether it is still there.
    fn tended(
        &mut self,
        tending: &Tending,
        synced: Option<io::Result<()>>,
        before: Mono,
    ) -> Tended {
        let Tending { lane, file, path, bytes, .. } = tending;
        let unnamed = match synced {
            Some(Ok(())) => self.sync_name(path).err(),
            _ => None,
        };
        let took = self.clock.now().mono.since(before);
        // A directory that cannot be looked at is no proof that the file is gone.
        let linked = file.linked(path).unwrap_or(true);
        Tended { lane: *lane, bytes: *bytes, linked, synced, unnamed, took }
    }

    fn open(&mut self, stem: &Path, now: Now) -> io::Result<Segment> {
        let (path, file) = self.numbers.create_open(self.disk.as_ref(), stem)?;
        self.names.changed(&path);
        if self.access != Access::default()
            && let Err(error) = self.disk.set_access(&path, &self.access)
        {
            // It was tried at the start: events are worth more than who may read them.
            tracing::warn!("{}: owner, group or mode: {error}", path.display());
        }
        self.opened += 1;
        Ok(Segment {
            volume: file.volume(),
            file,
            id: segment_id(&path, now, self.opened),
            open_path: Arc::from(path),
            stem: Arc::from(stem),
            suspect: false,
            left: false,
            finished: None,
            bytes: 0,
            synced_bytes: 0,
            entries: Vec::with_capacity(self.entries_expected),
        })
    }

    fn sync_name(&mut self, path: &Path) -> io::Result<()> {
        match self.names.sync(self.disk.as_ref(), path) {
            // Moved away under us: told by `linked`.
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            outcome => outcome,
        }
    }

    /// Seals. What a failed sync left in doubt goes to a new segment, which is sealed instead.
    fn finish(&mut self, mut segment: Segment, now: Now) -> (Segment, u64, io::Result<()>) {
        let mut lost_events = 0;
        if segment.left {
            let settled = self.finish_old(&mut segment);
            return (segment, 0, settled.map(|note| tracing::info!("{note}")));
        }
        if segment.suspect {
            let stem = Arc::clone(&segment.stem);
            match self.rescue(&stem, segment, now) {
                Ok(rescue) => (segment, lost_events) = (rescue.segment, rescue.lost_events),
                Err(unrescued) => return (unrescued.segment, 0, Err(unrescued.error)),
            }
        }
        let result = match segment.bytes {
            0 => self.remove(&segment),
            _ => self.seal(&mut segment),
        };
        (segment, lost_events, result)
    }

    /// Index, sync, rename, sync of the name. After an error it may be asked again, unless the
    /// segment has become suspect.
    fn seal(&mut self, segment: &mut Segment) -> io::Result<()> {
        let disk = Arc::clone(&self.disk);
        let finished = match segment.finished.take() {
            Some(finished) => finished,
            None => {
                let (file, blocks) = (segment.file.as_ref(), &segment.entries);
                write_index(file, self.container, segment.id, blocks, segment.bytes)?;
                if let Err(error) = file.sync_data() {
                    segment.suspect = true;
                    return Err(error);
                }
                segment.has_its_name()?;
                let finished = catalog::rename_finished(disk.as_ref(), &segment.open_path)?;
                self.names.changed(&finished);
                self.finished.iter().for_each(|it| it.tell(&finished));
                finished
            }
        };
        segment.synced_bytes = segment.bytes;
        let finished = segment.finished.insert(finished);
        self.names.sync(disk.as_ref(), finished)
    }

    /// Saves the unsynced blocks that can still be read into a new segment; the old file is cut at
    /// its synced mark and finished, or set aside. On error nothing has changed hands.
    fn rescue(
        &mut self,
        stem: &Path,
        mut old: Segment,
        now: Now,
    ) -> Result<Rescue, Box<Unrescued>> {
        let first = old.entries.partition_point(|entry| entry.end_offset() <= old.synced_bytes);
        let mut new = match self.open(stem, now) {
            Ok(new) => new,
            Err(error) => return Err(Box::new(Unrescued { segment: old, error })),
        };
        let mut lost_events = 0;
        for entry in &old.entries[first..] {
            match self.move_block(&old, entry, &mut new) {
                Ok(true) => {}
                Ok(false) => lost_events += u64::from(entry.event_count),
                Err(error) => {
                    // What was copied must not be found twice.
                    let cut = new.file.truncate(0);
                    if self.remove(&new).is_err() && cut.is_err() {
                        new.entries.clear();
                        (new.bytes, new.left) = (0, true);
                        self.leftovers.push(new);
                    }
                    return Err(Box::new(Unrescued { segment: old, error }));
                }
            }
        }
        old.entries.truncate(first);
        old.bytes = old.synced_bytes;
        let note = self.finish_old(&mut old).unwrap_or_else(|error| {
            let path = old.open_path.display();
            let note = format!("{path} stays as it is, and is tried again: {error}");
            old.left = true;
            self.leftovers.push(old);
            note
        });
        Ok(Rescue { segment: new, lost_events, note })
    }

    fn remove(&self, segment: &Segment) -> io::Result<()> {
        segment.has_its_name()?;
        self.disk.remove(&segment.open_path)
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

    /// Says how it ended. On error its blocks can still be found in it.
    fn finish_old(&mut self, old: &mut Segment) -> io::Result<String> {
        let path = Arc::clone(&old.open_path);
        let path = path.display();
        if old.bytes > 0 {
            match self.seal(old) {
                Ok(()) => return Ok(format!("{path} was cut at its synced mark and finished")),
                // It has its name, which a power cut may take back: no harm.
                Err(_) if old.finished.is_some() => return Ok(format!("{path} was finished")),
                Err(error) => tracing::warn!("{path}: cannot be finished: {error}"),
            }
        }
        let aside = old.has_its_name();
        let aside = aside.and_then(|()| catalog::set_aside(self.disk.as_ref(), &old.open_path));
        match aside {
            Ok(name) => Ok(format!("{path} was set aside as {}", name.display())),
            // The next start finds it: not with blocks that now stand in another file.
            Err(error) => match old.file.truncate(old.bytes) {
                Ok(()) => Ok(format!("{path} is cut, for it cannot be set aside: {error}")),
                Err(_) => Err(error),
            },
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
