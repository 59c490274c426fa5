//! Finishing segments: many in one round share their syncs.
//!
//! ```text
//!   index … index    each behind its blocks, and behind the seal if they are chained
//!   one sync         of each file, or when they are many of their volume (`sync_round`)
//!   rename … rename  only of those whose sync was well
//!   sync of names    each directory once
//! ```
//! Whatever fails, fails for the segments that it is about, as if each were finished alone: one
//! without room for its index stays open; one whose sync failed is suspect, and its blocks are
//! saved into another when it is tried again.

use std::io;
use std::sync::Arc;

use super::{Clerk, Sealed, Sealing, Segment, told};
use crate::storage::segment::{BlockEntry, write_index};
use crate::storage::{catalog, current, sync_files, write_all_at};
use crate::time::Now;

impl Segment {
    /// Of its blocks.
    pub(in super::super) fn stored_bytes(&self) -> u64 {
        self.bytes.saturating_sub(self.head_bytes)
    }

    /// Deleted or moved away, another of our files may have got its name by now: not to be renamed
    /// or removed in its place.
    pub(super) fn has_its_name(&self) -> io::Result<()> {
        if self.file.linked(&self.open_path)? {
            Ok(())
        } else {
            Err(io::ErrorKind::NotFound.into())
        }
    }
}

impl Clerk {
    /// Finishes all. What a failed sync left in doubt goes to a new segment, which is sealed
    /// instead.
    pub(super) fn seal_all(&mut self, round: Vec<Sealing>, now: Now) -> Vec<Sealed> {
        let prepared = round.into_iter().map(|sealing| self.prepare(sealing, now));
        let (mut sealed, prepared): (Vec<Sealed>, Vec<bool>) = prepared.unzip();
        let ready = sealed.iter_mut().zip(prepared).filter(|(_, ready)| *ready);
        let (mut segments, results): (Vec<_>, Vec<_>) =
            ready.map(|(one, _)| (&mut one.sealing.segment, &mut one.result)).unzip();
        for (result, outcome) in results.into_iter().zip(self.seal(&mut segments)) {
            *result = outcome;
        }
        sealed
    }

    /// All that is done for one segment alone; says whether it is to be sealed then.
    fn prepare(&mut self, mut sealing: Sealing, now: Now) -> (Sealed, bool) {
        let over = |sealing, lost_events, result| (Sealed { sealing, lost_events, result }, false);
        if sealing.segment.left {
            let settled = self.finish_old(&mut sealing.segment);
            return over(sealing, 0, settled.map(|note| tracing::info!("{note}")));
        }
        let mut lost_events = 0;
        if sealing.segment.suspect {
            let Sealing { segment, unsynced, again, last, doubted } = sealing;
            match self.rescue(segment, now) {
                Ok(rescue) => {
                    lost_events = rescue.lost_events;
                    let segment = rescue.segment;
                    sealing = Sealing { segment, unsynced, again, last, doubted };
                }
                Err(unrescued) => {
                    let segment = unrescued.segment;
                    let sealing = Sealing { segment, unsynced, again, last, doubted };
                    return over(sealing, 0, Err(unrescued.error));
                }
            }
        }
        if sealing.segment.bytes <= sealing.segment.head_bytes {
            let removed = self.remove(&sealing.segment);
            return over(sealing, lost_events, removed);
        }
        (Sealed { sealing, lost_events, result: Ok(()) }, true)
    }

    /// Index, sync, rename, sync of the names: each step for all before the next one. Says what
    /// came of each segment. After an error it may be asked again, unless the segment has become
    /// suspect.
    pub(super) fn seal(&mut self, segments: &mut [&mut Segment]) -> Vec<io::Result<()>> {
        let mut results: Vec<_> = segments.iter().map(|segment| self.index(segment)).collect();
        self.sync_indexed(segments, &mut results);
        for (segment, result) in well(segments, &mut results) {
            *result = self.rename(segment);
        }
        // Not before all have their names: so a directory is synced once.
        for (segment, result) in well(segments, &mut results) {
            let finished = segment.finished.as_ref().expect("it has just been renamed");
            *result = self.names.sync(self.disk.as_ref(), finished);
        }
        results
    }

    fn index(&self, segment: &Segment) -> io::Result<()> {
        if segment.finished.is_some() {
            return Ok(());
        }
        let file = segment.file.as_ref();
        let blocks = segment.blocks.all(file, self.container, segment.id)?;
        let Some((sealer, value)) = self.sealer.as_ref().zip(segment.blocks.value()) else {
            return write_index(file, self.container, segment.id, &blocks, segment.bytes);
        };
        // No block of the segment's: it is made anew when this fails, and goes to no other file.
        let seal = sealer.block(segment.id, &blocks, value);
        let entry = BlockEntry::of_block(segment.bytes, &seal).map_err(io::Error::other)?;
        let mut blocks = blocks.into_owned();
        blocks.push(entry);
        write_all_at(file, segment.bytes, &seal)?;
        write_index(file, self.container, segment.id, &blocks, entry.end_offset())
    }

    fn sync_indexed(&self, segments: &mut [&mut Segment], results: &mut [io::Result<()>]) {
        let indexed = well(segments, results).filter(|(segment, _)| segment.finished.is_none());
        let indexed: Vec<_> = indexed.collect();
        let file = |segment: &Segment| (Arc::clone(&segment.file), segment.volume);
        let files: Vec<_> = indexed.iter().map(|(segment, _)| file(segment)).collect();
        let outcomes = sync_files(&files, self.disk.files_synced_singly_max());
        for ((segment, result), outcome) in indexed.into_iter().zip(outcomes) {
            segment.suspect |= outcome.is_err();
            *result = outcome;
        }
    }

    fn rename(&mut self, segment: &mut Segment) -> io::Result<()> {
        if segment.finished.is_none() {
            segment.has_its_name()?;
            let finished = catalog::rename_finished(self.disk.as_ref(), &segment.open_path)?;
            self.names.changed(&finished);
            if let Some(link) = &segment.place.link {
                let open = &segment.open_path;
                told(link, current::follow(self.disk.as_ref(), link, open, &finished));
            }
            self.finished.iter().for_each(|it| it.tell(&finished));
            segment.finished = Some(finished);
        }
        segment.synced_bytes = segment.bytes;
        Ok(())
    }

    pub(super) fn remove(&self, segment: &Segment) -> io::Result<()> {
        segment.has_its_name()?;
        self.disk.remove(&segment.open_path)
    }
}

/// Those of which nothing has failed so far.
fn well<'a, 'b>(
    segments: &'a mut [&'b mut Segment],
    results: &'a mut [io::Result<()>],
) -> impl Iterator<Item = (&'a mut &'b mut Segment, &'a mut io::Result<()>)> {
    segments.iter_mut().zip(results).filter(|(_, result)| result.is_ok())
}
