//! What is known of the blocks of a file that is not finished: all of them while memory lasts.
//!
//! Until a block is synced its entry is needed to save it when the sync fails. Then only the index
//! behind the last block wants it, and the header in the file says the same: it may be forgotten,
//! and is read again when the file is finished. Ten thousand files with a block a second each would
//! have 1.7 GB of entries within an hour.

use std::borrow::Cow;
use std::io;

use crate::storage::block::stamp;
use crate::storage::chain::{self, Hash};
use crate::storage::segment::{BlockEntry, first_blocks};
use crate::storage::{Container, DiskFile};

pub(super) struct Known {
    count: u64,
    /// Of the last blocks, one each and without gaps.
    last: Vec<BlockEntry>,
    /// Of blocks that are chained.
    chain: Option<Box<Chain>>,
}

/// Chain values are never read again from the file, which somebody may have altered meanwhile.
struct Chain {
    /// Of the last block that was forgotten.
    forgotten: Hash,
    /// Of those remembered.
    last: Vec<Hash>,
}

impl Known {
    /// Adding so many allocates nothing.
    pub(super) fn new(expected: usize, chained: bool) -> Self {
        let (count, last) = (0, Vec::with_capacity(expected));
        let values = || Chain { forgotten: Hash::START, last: Vec::with_capacity(expected) };
        Self { count, last, chain: chained.then(|| Box::new(values())) }
    }

    /// Makes a sealed block the file's next one. The chain value is for [`Known::add`].
    pub(super) fn stamp(&self, container: Container, block: &mut [u8], segment_id: u64) -> Hash {
        match self.value() {
            Some(before) => chain::stamp(block, segment_id, self.count, &before),
            None => {
                stamp(container, block, segment_id, self.count);
                Hash::START
            }
        }
    }

    /// The chain value of the last block, if blocks are chained.
    pub(super) fn value(&self) -> Option<Hash> {
        self.chain.as_ref().map(|chain| *chain.last.last().unwrap_or(&chain.forgotten))
    }

    /// Blocks of the file, whether remembered or not.
    #[cfg(test)]
    pub(super) fn count(&self) -> u64 {
        self.count
    }

    /// Entries there is room for: what it costs in memory.
    pub(super) fn room(&self) -> usize {
        self.last.capacity()
    }

    /// The next one finds no room.
    pub(super) fn is_full(&self) -> bool {
        let values = |chain: &Chain| chain.last.len() == chain.last.capacity();
        self.last.len() == self.last.capacity() || self.chain.as_deref().is_some_and(values)
    }

    /// Twice as much, but no 48 KiB more at once.
    pub(super) fn reserve(&mut self) {
        let more = self.last.len().clamp(4, 1024);
        self.last.reserve_exact(more);
        self.chain.iter_mut().for_each(|chain| chain.last.reserve_exact(more));
    }

    pub(super) fn add(&mut self, entry: BlockEntry, value: Hash) {
        self.count += 1;
        self.last.push(entry);
        self.chain.iter_mut().for_each(|chain| chain.last.push(value));
    }

    /// The last one, whose block is not in the file after all.
    pub(super) fn take_back(&mut self) {
        self.count -= u64::from(self.last.pop().is_some());
        if let Some(chain) = &mut self.chain {
            chain.last.pop();
        }
    }

    pub(super) fn clear(&mut self) {
        *self = Self::new(0, self.chain.is_some());
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
        self.chain.iter_mut().for_each(|chain| chain.last.truncate(first));
    }

    /// What is synced, and room for more.
    pub(super) fn forget(&mut self, synced_bytes: u64) {
        let first = self.first_behind(synced_bytes);
        if first > 0 || self.last.is_empty() {
            self.last = self.last[first..].to_vec();
            if let Some(chain) = &mut self.chain {
                chain.forgotten = *chain.last[..first].last().unwrap_or(&chain.forgotten);
                chain.last = chain.last[first..].to_vec();
            }
        }
    }

    /// All of them, for the index.
    pub(super) fn all(
        &self,
        file: &dyn DiskFile,
        container: Container,
        segment_id: u64,
    ) -> io::Result<Cow<'_, [BlockEntry]>> {
        // Without headers to read there is no index either.
        if self.last.len() as u64 == self.count || !container.headed() {
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::Wall;

    /// A block of ten bytes, and a chain value that tells its number.
    fn block(number: u8) -> (BlockEntry, Hash) {
        let entry = BlockEntry {
            offset: 10 * u64::from(number),
            time_min: Wall(0),
            time_max: Wall(0),
            header_bytes: 4,
            stored_bytes: 6,
            raw_bytes: 6,
            event_count: 1,
            crc_raw: 0,
            encoder: 0,
        };
        (entry, Hash([number + 1; 32]))
    }

    #[test]
    fn what_is_forgotten_taken_back_or_cut_leaves_the_value_of_the_last_block() {
        let mut known = Known::new(0, true);
        let value = |known: &Known| known.value().expect("chained").0[0];
        assert_eq!(known.value(), Some(Hash::START));
        known.forget(0);
        for number in 0..10 {
            if known.is_full() {
                known.reserve();
            }
            let (entry, hash) = block(number);
            known.add(entry, hash);
            assert_eq!(value(&known), number + 1);
        }
        known.take_back();
        assert_eq!((known.count(), value(&known)), (9, 9));
        known.forget(35);
        assert_eq!((known.count(), known.behind(0).len(), value(&known)), (9, 6, 9));
        known.cut(71);
        assert_eq!((known.count(), known.behind(0).len(), value(&known)), (7, 4, 7));
        known.forget(70);
        assert_eq!((known.count(), known.behind(0).len(), value(&known)), (7, 0, 7));
        known.cut(70);
        assert_eq!(value(&known), 7);
        known.forget(70);
        assert_eq!(value(&known), 7);
        known.clear();
        assert_eq!((known.count(), known.value()), (0, Some(Hash::START)));
        assert_eq!(Known::new(3, false).value(), None);
    }
}
