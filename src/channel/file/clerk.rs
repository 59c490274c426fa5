//! The channel's helpers: one opens, syncs and removes, the other reads back. All of it blocks.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::log::{Place, Segment};
use super::recovery::aside;
use super::scan::{self, ReadError, Step, Wanted};
use super::wrap::Unwrapper;
use crate::event::Page;
use crate::memory::Lease;
use crate::storage::{Disk, DiskFile, DurableNames, catalog};
use crate::telemetry::LostReason;

// ── opening, syncing, removing ──

pub(super) enum Question {
    Open {
        number: u64,
        path: PathBuf,
    },
    /// The segment before the current one, if something in it is not synced yet, and the current.
    Sync {
        older: Option<Arc<dyn DiskFile>>,
        file: Arc<dyn DiskFile>,
        upto: u64,
    },
    Remove(Segment),
}

pub(super) enum Answer {
    Opened {
        number: u64,
        path: PathBuf,
        result: io::Result<Arc<dyn DiskFile>>,
    },
    /// Batches below `upto` are on the disk now.
    Synced {
        upto: u64,
        result: io::Result<()>,
    },
    Removed {
        segment: Segment,
        result: io::Result<()>,
    },
}

pub(super) struct Clerk {
    pub(super) disk: Arc<dyn Disk>,
    pub(super) names: Vec<DurableNames>,
    pub(super) segment_bytes: u64,
    /// So much of the volume stays free.
    pub(super) reserve_bytes: u64,
}

impl Clerk {
    pub(super) fn answer(&mut self, question: Question) -> Answer {
        match question {
            Question::Open { number, path } => {
                let result = self.open(&path);
                Answer::Opened { number, path, result }
            }
            Question::Sync { older, file, upto } => {
                let older = older.map_or(Ok(()), |older| older.sync_data());
                let result = older.and_then(|()| file.sync_data());
                Answer::Synced { upto, result }
            }
            Question::Remove(segment) => {
                let path = &segment.path;
                let result = match segment.damaged {
                    true => self.disk.rename_no_replace(path, &aside(path)),
                    false => self.disk.remove(path),
                };
                Answer::Removed { segment, result }
            }
        }
    }

    /// Its name is durable before anything is said to be in it.
    fn open(&mut self, path: &Path) -> io::Result<Arc<dyn DiskFile>> {
        let space = self.disk.space(catalog::directory(path))?;
        let wanted = self.segment_bytes.saturating_add(self.reserve_bytes);
        if space.free_bytes < wanted {
            let what = format!(
                "{} MiB are free, and the next segment wants {} MiB with the reserve",
                space.free_bytes >> 20,
                wanted >> 20
            );
            return Err(io::Error::new(io::ErrorKind::StorageFull, what));
        }
        let file = match self.disk.create_direct(path) {
            // Begun by an attempt that failed.
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                self.disk.remove(path)?;
                self.disk.create_direct(path)?
            }
            outcome => outcome?,
        };
        let made = file.allocate(0, self.segment_bytes).and_then(|()| {
            let mut names = self.names.iter_mut();
            names.try_for_each(|names| {
                names.changed(path);
                match path.starts_with(names.root()) {
                    true => names.sync(self.disk.as_ref(), path),
                    false => Ok(()),
                }
            })
        });
        if let Err(error) = made {
            let _ = self.disk.remove(path);
            return Err(error);
        }
        Ok(file)
    }
}

// ── reading back ──

/// The first batch from a place on whose number is at least `seq`.
pub(super) struct Seek {
    pub(super) path: Arc<Path>,
    pub(super) place: Place,
    /// The segment's length as far as it counts.
    pub(super) limit: u64,
    pub(super) log: u64,
    pub(super) seq: u64,
    /// Batches from this number on do not count where they stand here.
    pub(super) upto: u64,
    pub(super) page: Lease,
}

/// What came of it; the page comes home in any case.
pub(super) struct Sought {
    pub(super) page: Lease,
    pub(super) outcome: Outcome,
}

pub(super) enum Outcome {
    /// The page is filled.
    Batch(Step),
    /// This batch is not to be had.
    Damaged {
        step: Step,
        error: ReadError,
    },
    /// There is none up to the limit.
    Ended,
    Failed(io::Error),
}

pub(super) struct Reader {
    pub(super) disk: Arc<dyn Disk>,
    pub(super) open: Option<(Arc<Path>, Arc<dyn DiskFile>)>,
    pub(super) unwrapper: Unwrapper,
}

impl Reader {
    pub(super) fn answer(&mut self, mut seek: Seek) -> Sought {
        let outcome = match self.seek(&seek) {
            Ok(Some((file, step))) => match self.read(&*file, &step, &mut seek.page) {
                Ok(()) => Outcome::Batch(step),
                Err(ReadError::Io(error)) => Outcome::Failed(error),
                Err(error) => Outcome::Damaged { step, error },
            },
            Ok(None) => Outcome::Ended,
            Err(error) => {
                self.open = None;
                Outcome::Failed(error)
            }
        };
        Sought { page: seek.page, outcome }
    }

    fn read(&mut self, file: &dyn DiskFile, step: &Step, page: &mut Page) -> Result<(), ReadError> {
        scan::read_batch(file, step, page, &mut self.unwrapper)
    }

    fn seek(&mut self, seek: &Seek) -> io::Result<Option<(Arc<dyn DiskFile>, Step)>> {
        let file = match &self.open {
            Some((open, file)) if *open == seek.path => Arc::clone(file),
            _ => {
                let file = self.disk.open_read(&seek.path)?;
                self.open = Some((Arc::clone(&seek.path), Arc::clone(&file)));
                file
            }
        };
        let wanted = Wanted { log: Some(seek.log), segment: seek.place.segment };
        let mut offset = seek.place.offset;
        while let Some(step) = scan::next(&*file, offset, seek.limit, wanted)? {
            let batch = step.head.kind == super::record::Kind::Batch;
            if batch && step.head.seq >= seek.upto {
                return Ok(None);
            }
            if batch && step.head.seq >= seek.seq {
                return Ok(Some((file, step)));
            }
            offset = step.end();
        }
        Ok(None)
    }
}

/// Why events in a gap are lost: torn by a crash before they were synced, or damaged since.
pub(super) fn reason(synced: u64, seq: u64) -> LostReason {
    if seq >= synced { LostReason::Sync } else { LostReason::Corrupt }
}
