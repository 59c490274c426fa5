//! After a failed sync: what the page cache still has goes into a new segment.
//!
//! The kernel tells a failed sync once; another one may say that all is well with bytes that never
//! reached the disk. So the file is done with at its synced mark: what stands behind it is read
//! back, checked, and appended to another file, and then taken off here, lest it be found twice.

use std::io;
use std::sync::Arc;

use super::{Clerk, Rescue, Segment, Unrescued};
use crate::storage::block::{crc32c, decode_frame};
use crate::storage::segment::BlockEntry;
use crate::storage::{catalog, read_full_at, write_all_at};
use crate::time::Now;

impl Clerk {
    /// Saves the unsynced blocks that can still be read into a new segment; the old file is cut at
    /// its synced mark and finished, or set aside. On error nothing has changed hands.
    pub(super) fn rescue(&mut self, mut old: Segment, now: Now) -> Result<Rescue, Box<Unrescued>> {
        let mut new = match self.open(&old.place.clone(), now) {
            Ok(new) => new,
            Err(error) => return Err(Box::new(Unrescued { segment: old, error })),
        };
        let mut lost_events = 0;
        for entry in old.blocks.behind(old.synced_bytes) {
            match self.move_block(&old, entry, &mut new) {
                Ok(true) => {}
                Ok(false) => lost_events += u64::from(entry.event_count),
                Err(error) => {
                    // What was copied must not be found twice.
                    let cut = new.file.truncate(0);
                    if self.remove(&new).is_err() && cut.is_err() {
                        new.blocks.clear();
                        (new.bytes, new.left) = (0, true);
                        self.leftovers.push(new);
                    }
                    return Err(Box::new(Unrescued { segment: old, error }));
                }
            }
        }
        old.blocks.cut(old.synced_bytes);
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

    /// Copies one block; says whether its bytes were still good.
    fn move_block(&self, old: &Segment, entry: &BlockEntry, new: &mut Segment) -> io::Result<bool> {
        let length = usize::try_from(entry.end_offset() - entry.offset).expect("under 4 GiB");
        let mut bytes = vec![0; length];
        let read = read_full_at(&*old.file, entry.offset, &mut bytes).unwrap_or(0);
        if read != length || !self.whole(entry, &bytes) {
            return Ok(false);
        }
        let value = new.blocks.stamp(self.container, &mut bytes, new.id);
        write_all_at(new.file.as_ref(), new.bytes, &bytes)?;
        new.blocks.add(BlockEntry { offset: new.bytes, ..*entry }, value);
        new.bytes += bytes.len() as u64;
        Ok(true)
    }

    fn whole(&self, entry: &BlockEntry, bytes: &[u8]) -> bool {
        if !self.container.headed() {
            return crc32c(bytes) == entry.crc_raw;
        }
        decode_frame(bytes).is_ok_and(|(header, at)| crc32c(&bytes[at..]) == header.crc_stored)
    }

    /// Says how it ended. On error its blocks can still be found in it.
    pub(super) fn finish_old(&mut self, old: &mut Segment) -> io::Result<String> {
        let path = Arc::clone(&old.open_path);
        let path = path.display();
        if old.bytes > old.head_bytes {
            match self.seal(&mut [old]).pop().expect("one is asked about") {
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
}
