//! The sink's helper: it opens, syncs, seals, rescues and prunes, because those calls block.
//!
//! A segment has one owner at a time. While it is written the writer owns it and the clerk gets
//! only a handle to sync; to be sealed or rescued it is handed over whole.

mod rescues;
mod seals;

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use crate::memory::ReceiptSlip;
use crate::runtime::clock::Clock;
use crate::storage::block::crc32c;
use crate::storage::retention::{Keep, retain};
use crate::storage::seal::Sealer;
use crate::storage::{
    Access, Container, Disk, DiskFile, DurableNames, Numbers, Volume, current, sync_files,
    write_all_at,
};
use crate::time::{Mono, Now};

use super::at_open::Names;
use super::block::Place;
use super::known::Known;
use super::on_seal::Finished;
use super::path::Template;
use super::preallocation::Preallocation;

/// A segment in its writer's or the clerk's hands.
pub(super) struct Segment {
    pub(super) file: Arc<dyn DiskFile>,
    pub(super) open_path: Arc<Path>,
    pub(super) volume: Option<Volume>,
    pub(super) id: u64,
    /// In front of the first block.
    pub(super) head_bytes: u64,
    /// Bytes appended: the truth about the file's length.
    pub(super) bytes: u64,
    pub(super) synced_bytes: u64,
    pub(super) ahead: Preallocation,
    pub(super) blocks: Known,
    pub(super) place: Place,
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
    /// Open the next segment there.
    Open { lane: usize, place: Place },
    /// Look whether the file is still there, and sync it if asked.
    Tend { tending: Tending, sync: bool },
    /// The same for all of these; syncs are shared if they are many.
    TendAll { round: Vec<Tending>, sync: bool },
    /// Index, sync, rename all of these, together.
    SealAll(Vec<Sealing>),
    /// A sync failed: save what the page cache still has into a new segment.
    Rescue { lane: usize, segment: Segment },
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
    SealedAll {
        sealed: Vec<Sealed>,
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
        took: Duration,
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

/// A segment to be finished.
pub(super) struct Sealing {
    pub(super) segment: Segment,
    pub(super) unsynced: Unsynced,
    /// That failed before.
    pub(super) again: bool,
    /// It failed before and we are closing: if it fails now, the next start will do it.
    pub(super) last: bool,
    /// It was suspect when it was handed over: of what its sync lost, nothing more is learnt.
    pub(super) doubted: bool,
}

/// What came of it.
pub(super) struct Sealed {
    pub(super) sealing: Sealing,
    /// Of those unsynced, because a sync failed and they could not be read again.
    pub(super) lost_events: u64,
    pub(super) result: io::Result<()>,
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
    /// Each file begins with it.
    pub(super) head: Vec<u8>,
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
    /// Blocks are chained, and this ends each file's chain.
    pub(super) sealer: Option<Arc<Sealer>>,
    /// What their files are called when they are opened.
    pub(super) at_open: Names,
    /// Files of the present rescue that could neither be finished, set aside nor cut, to be tried
    /// again: their blocks are found twice meanwhile.
    pub(super) leftovers: Vec<Segment>,
    /// Opened so far: segment ids differ within a process by this and between processes by time.
    pub(super) opened: u64,
    /// Blocks a segment is expected to have, so that appending allocates nothing.
    pub(super) entries_expected: usize,
}

impl Clerk {
    pub(super) fn answer(&mut self, question: Question, now: Now) -> Answer {
        match question {
            Question::Open { lane, place } => {
                Answer::Opened { lane, result: self.open(&place, now) }
            }
            Question::Tend { tending, sync } => {
                let before = self.clock.now().mono;
                let synced = sync.then(|| tending.file.sync_data());
                Answer::Tended(self.tended(&tending, synced, before))
            }
            Question::TendAll { mut round, sync } => {
                let before = self.clock.now().mono;
                let file = |tending: &Tending| (Arc::clone(&tending.file), tending.volume);
                let files: Vec<_> = round.iter().filter(|_| sync).map(file).collect();
                let outcomes = sync_files(&files, self.disk.files_synced_singly_max());
                let outcomes =
                    outcomes.into_iter().map(Some).chain(std::iter::repeat_with(|| None));
                let all = round.iter().zip(outcomes);
                let tended = all.map(|(one, synced)| self.tended(one, synced, before)).collect();
                round.clear();
                Answer::TendedAll { tended, round }
            }
            Question::SealAll(round) => {
                let sealed = self.seal_all(round, now);
                let leftovers = std::mem::take(&mut self.leftovers);
                Answer::SealedAll { sealed, leftovers }
            }
            Question::Rescue { lane, segment } => {
                let result = self.rescue(segment, now);
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

    fn open(&mut self, place: &Place, now: Now) -> io::Result<Segment> {
        let named = self.at_open.name(&place.stem, now.wall);
        let (path, file) = self.numbers.create_open(self.disk.as_ref(), &named)?;
        self.names.changed(&path);
        if self.access != Access::default()
            && let Err(error) = self.disk.set_access(&path, &self.access)
        {
            // It was tried at the start: events are worth more than who may read them.
            tracing::warn!("{}: owner, group or mode: {error}", path.display());
        }
        if let Err(error) = write_all_at(file.as_ref(), 0, &self.head) {
            // The next attempt makes another.
            let _ = self.disk.remove(&path);
            return Err(error);
        }
        if let Some(link) = &place.link {
            told(link, current::lead_to(self.disk.as_ref(), link, &path));
        }
        self.opened += 1;
        Ok(Segment {
            volume: file.volume(),
            file,
            id: segment_id(&path, now, self.opened),
            open_path: Arc::from(path),
            place: place.clone(),
            suspect: false,
            left: false,
            finished: None,
            head_bytes: self.head.len() as u64,
            bytes: self.head.len() as u64,
            synced_bytes: 0,
            ahead: Preallocation::default(),
            blocks: Known::new(self.entries_expected, self.sealer.is_some()),
        })
    }

    fn sync_name(&mut self, path: &Path) -> io::Result<()> {
        match self.names.sync(self.disk.as_ref(), path) {
            // Moved away under us: told by `linked`.
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            outcome => outcome,
        }
    }

    fn retain(&self, now: Now) -> Answer {
        let owns = |path: &Path| self.template.owns(path, self.container);
        let root = self.template.root();
        let before = self.clock.now().mono;
        let done = retain(self.disk.as_ref(), &root, &owns, &self.keep, now.wall);
        let took = self.clock.now().mono.since(before);
        match done {
            Ok(done) => Answer::Retained {
                took,
                removed: done.removed.len(),
                failed: done
                    .failed
                    .first()
                    .map(|(path, error)| format!("{}: {error}", path.display())),
            },
            Err(error) => Answer::Retained { removed: 0, failed: Some(error.to_string()), took },
        }
    }
}

/// A link is a help to people: events are worth more.
fn told(link: &Path, outcome: io::Result<()>) {
    match outcome {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            let link = link.display();
            tracing::warn!("current: {link} is taken by something that is no symbolic link");
        }
        Err(error) => tracing::warn!("current: {}: {error}", link.display()),
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
