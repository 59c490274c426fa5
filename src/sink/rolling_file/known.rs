//! What is known of the blocks of a file that is not finished: all of them while memory lasts.
//!
//! Until a block is synced its entry is needed to save it when the sync fails. Then only the index
//! behind the last block wants it, and the header in the file says the same: it may be forgotten,
//! and is read again when the file is finished. Ten thousand files with a block a second each would
//! have 1.7 GB of entries within an hour.

use std::borrow::Cow;
use std::io;

use crate::storage::segment::{BlockEntry, first_blocks};
use crate::storage::{Container, DiskFile};

pub(super) struct Known {
    count: u64,
    /// Of the last blocks, one each and without gaps.
    last: Vec<BlockEntry>,
}

impl Known {
    /// Adding so many allocates nothing.
    pub(super) fn new(expected: usize) -> Self {
        Self { count: 0, last: Vec::with_capacity(expected) }
    }

    /// Blocks of the file, whether remembered or not.
    pub(super) fn count(&self) -> u64 {
        self.count
    }

    /// Entries there is room for: what it costs in memory.
    pub(super) fn room(&self) -> usize {
        self.last.capacity()
    }

    /// The next one finds no room.
    pub(super) fn is_full(&self) -> bool {
        self.last.len() == self.last.capacity()
    }

    /// Twice as much, but no 48 KiB more at once.
    pub(super) fn reserve(&mut self) {
        self.last.reserve_exact(self.last.len().clamp(4, 1024));
    }

    pub(super) fn add(&mut self, entry: BlockEntry) {
        self.count += 1;
        self.last.push(entry);
    }

    /// The last one, whose block is not in the file after all.
    pub(super) fn take_back(&mut self) {
        self.count -= u64::from(self.last.pop().is_some());
    }

    pub(super) fn clear(&mut self) {
        *self = Self::new(0);
    }

    /// What is not wholly in front of this place: never forgotten, if that was synced.
    pub(super) fn behind(&self, synced_bytes: u64) -> &[BlockEntry] {
        &self.last[self.first_behind(synced_bytes)..]
    }

    /// The file is cut there.
    pub(super) fn cut(&mut self, synced_bytes: u64) {
        let first = self.first_behind(synced_bytes);
        self.count -= (self.last.len() - first) as u64;
        self.last.truncate(first);
    }

    /// What is synced, and room for more.
    pub(super) fn forget(&mut self, synced_bytes: u64) {
        if self.first_behind(synced_bytes) > 0 || self.last.is_empty() {
            self.last = self.behind(synced_bytes).to_vec();
        }
    }

    /// All of them, for the index.
    pub(super) fn all(
        &self,
        file: &dyn DiskFile,
        container: Container,
        segment_id: u64,
    ) -> io::Result<Cow<'_, [BlockEntry]>> {
        // Plain text has no headers to read, and no index.
        if self.last.len() as u64 == self.count || container == Container::Plain {
            return Ok(Cow::Borrowed(&self.last));
        }
        let forgotten = self.count - self.last.len() as u64;
        let mut all = first_blocks(file, segment_id, forgotten)?;
        all.extend_from_slice(&self.last);
        let gapless = all.windows(2).all(|pair| pair[0].end_offset() == pair[1].offset);
        if !gapless {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "its headers were changed"));
        }
        Ok(Cow::Owned(all))
    }

    fn first_behind(&self, synced_bytes: u64) -> usize {
        self.last.partition_point(|entry| entry.end_offset() <= synced_bytes)
    }
}
