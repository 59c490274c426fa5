//! Behind a damaged place reading goes on at the next whole block, as a survey of the file finds
//! it: by the index of a sealed file, header by header in any other.
//!
//! The unfinished end of a growing file is no such place: nothing whole stands behind it.

use std::io;
use std::sync::Arc;

use super::{Ending, Found, Reader, Source};
use crate::archive::survey::{BlockDecoder, Gap, Layout, encoding, read_meta, survey};
use crate::codec::Codec;
use crate::storage::DiskFile;
use crate::storage::index_reader::read_index;
use crate::storage::resync::next_block_before;
use crate::storage::segment::BlockEntry;

/// Blocks that are read one by one, each where it stands.
pub(super) struct Beyond {
    file: Arc<dyn DiskFile>,
    codec: Codec,
    blocks: std::vec::IntoIter<BlockEntry>,
    /// Where the last block that was taken ends; all before it has been read or told.
    at: u64,
    /// The file's length when it was surveyed.
    file_bytes: u64,
    ending: Ending,
    decoder: BlockDecoder,
}

impl Reader {
    /// What stands at `at` is no whole block, or the file begins with none: whether others follow.
    /// up to about `to`. Then that is the source from now on.
    pub(super) fn look_beyond(&mut self, at: u64, to: u64, why: &str) -> io::Result<bool> {
        let Source::Blocks { file, .. } = &self.source else { return Ok(false) };
        let file = Arc::clone(file);
        if next_block_before(&*file, at, to)?.is_none() && read_index(&*file)?.is_none() {
            return Ok(false);
        }
        let decoder = BlockDecoder::default();
        let (codec, blocks, ending) = (Codec::None, Vec::new().into_iter(), Ending::Unread);
        let mut beyond = Beyond { file, codec, blocks, at, file_bytes: 0, ending, decoder };
        let gaps = self.survey(&mut beyond)?;
        if beyond.blocks.len() == 0 {
            return Ok(false);
        }
        // The index knows the blocks whose headers are destroyed, too: no gap, and damage.
        let told = gaps.is_empty().then(|| format!("at byte {at}: {why}"));
        told.into_iter().chain(gaps.iter().map(Gap::to_string)).for_each(|what| self.damaged(what));
        self.source = Source::Beyond(beyond);
        Ok(true)
    }

    /// Finds the blocks from `at` on. Says which gaps lie before the last of them.
    fn survey(&self, beyond: &mut Beyond) -> io::Result<Vec<Gap>> {
        let at = beyond.at;
        beyond.file_bytes = beyond.file.bytes()?;
        let Layout::Blocks(mut found) = survey(&self.summary.path, &beyond.file)? else {
            return Ok(Vec::new());
        };
        found.blocks.retain(|block| block.offset >= at);
        found.gaps.retain(|gap| gap.at >= at);
        let last = found.blocks.last().map_or(at, BlockEntry::end_offset);
        beyond.ending = match found.gaps.pop_if(|gap| gap.at >= last) {
            Some(Gap { at, bytes, why, .. }) => Ending::Torn { at, bytes, why },
            None if found.sealed => Ending::Sealed,
            None => Ending::Open,
        };
        beyond.codec = found.codec;
        beyond.blocks = found.blocks.into_iter();
        Ok(found.gaps)
    }

    pub(super) fn damaged(&mut self, what: String) {
        self.summary.first_damage.get_or_insert(what);
        self.summary.damaged_blocks += 1;
    }

    /// The next block there.
    pub(super) fn advance_beyond(&mut self) -> io::Result<Option<Found>> {
        while let Some(entry) = self.next_beyond()? {
            let Source::Beyond(beyond) = &mut self.source else { return Ok(None) };
            match beyond.decoder.decode(&*beyond.file, beyond.codec, &entry)? {
                Ok(_) => {
                    self.raw = beyond.decoder.take();
                    self.meta = read_meta(&*beyond.file, &entry)?;
                    self.summary.blocks += 1;
                    let times = Some((entry.time_min, entry.time_max));
                    return Ok(Some((encoding(&entry), times, true)));
                }
                Err(why) => self.damaged(format!("the block at byte {}: {why}", entry.offset)),
            }
        }
        Ok(None)
    }

    /// Passes over the blocks there; says where they end.
    pub(super) fn skip_beyond(&mut self) -> io::Result<u64> {
        while self.next_beyond()?.is_some() {}
        let Source::Beyond(beyond) = &self.source else { return Ok(0) };
        Ok(beyond.at)
    }

    /// The next block's place; a file that has grown is surveyed anew.
    fn next_beyond(&mut self) -> io::Result<Option<BlockEntry>> {
        let Source::Beyond(beyond) = &mut self.source else { return Ok(None) };
        if let Some(entry) = beyond.blocks.next() {
            beyond.at = entry.end_offset();
            return Ok(Some(entry));
        }
        self.summary.ending = beyond.ending.clone();
        if beyond.file.bytes()? == beyond.file_bytes {
            return Ok(None);
        }
        let Source::Beyond(mut beyond) = std::mem::replace(&mut self.source, Source::Gone) else {
            return Ok(None);
        };
        let gaps = self.survey(&mut beyond);
        let next = beyond.blocks.next();
        beyond.at = next.map_or(beyond.at, |entry| entry.end_offset());
        self.summary.ending = beyond.ending.clone();
        self.source = Source::Beyond(beyond);
        gaps?.iter().for_each(|gap| self.damaged(gap.to_string()));
        Ok(next)
    }
}
