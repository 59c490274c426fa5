//! The index of a sealed segment, read from the file's end: three short reads and the index itself,
//! whatever the length of the file. Nothing of it is believed before its checksums match and its
//! entries cover the file from the first byte to the index without a gap.
//!
//! None is no verdict: an open, torn or foreign file has no index, and is walked block by block.

use std::io;

use super::block::{crc32c, frame_payload, take};
use super::container::{Container, GZIP_TAIL, skippable_bytes};
use super::index::{
    ENTRY_BYTES, INDEX_HEAD_BYTES, INDEX_MAGIC, INDEX_TAIL_BYTES, INDEX_VERSION, SEEK_FOOTER_BYTES,
    SEEK_FOOTER_MAGIC, SEEK_TABLE_MAGIC,
};
use super::segment::BlockEntry;
use super::{ReadAt, read_full_at};
use crate::limits::BLOCK_RAW_BYTES_MAX;
use crate::time::Wall;

/// What a sealed file says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Index {
    pub container: Container,
    pub segment_id: u64,
    pub blocks: Vec<BlockEntry>,
}

/// None when the file has no whole index.
pub fn read_index(file: &dyn ReadAt) -> io::Result<Option<Index>> {
    let file_bytes = file.bytes()?;
    let Some((container, index_end)) = find_end(file, file_bytes)? else { return Ok(None) };
    let mut tail = [0; INDEX_TAIL_BYTES];
    let tail_at = index_end - tail_of(container).len() as u64 - INDEX_TAIL_BYTES as u64;
    if read_full_at(file, tail_at, &mut tail)? < tail.len() || tail[8..] != INDEX_MAGIC {
        return Ok(None);
    }
    let index_bytes = u64::from(u32::from_le_bytes(take(&tail, 0)));
    // An entry is shorter than the block it is about: a damaged length must not make us read much.
    let Some(index_at) = index_end.checked_sub(index_bytes) else { return Ok(None) };
    if index_bytes > index_at.saturating_add(1 << 10) {
        return Ok(None);
    }
    let mut bytes = vec![0; index_bytes as usize];
    if read_full_at(file, index_at, &mut bytes)? < bytes.len() {
        return Ok(None);
    }
    Ok(parse(container, &bytes).filter(|index| covers(&index.blocks, index_at)))
}

const fn tail_of(container: Container) -> &'static [u8] {
    match container {
        Container::Gzip => &GZIP_TAIL,
        _ => &[],
    }
}

/// What stands last in the file, and where the frames of an index would end.
fn find_end(file: &dyn ReadAt, file_bytes: u64) -> io::Result<Option<(Container, u64)>> {
    let mut last = [0; 12];
    let least = (GZIP_TAIL.len() + INDEX_HEAD_BYTES + INDEX_TAIL_BYTES) as u64;
    if file_bytes < least || read_full_at(file, file_bytes - 12, &mut last)? < last.len() {
        return Ok(None);
    }
    if last[8..] == INDEX_MAGIC {
        return Ok(Some((Container::Lz4, file_bytes)));
    }
    if last[2..] == GZIP_TAIL {
        return Ok(Some((Container::Gzip, file_bytes)));
    }
    if last[8..] != SEEK_FOOTER_MAGIC.to_le_bytes() {
        return Ok(None);
    }
    let table_bytes = u64::from(u32::from_le_bytes(take(&last, 3))) * 8 + SEEK_FOOTER_BYTES as u64;
    let Some(index_end) = file_bytes.checked_sub(table_bytes + 8).filter(|end| *end > least) else {
        return Ok(None);
    };
    let mut lead = [0; 8];
    read_full_at(file, index_end, &mut lead)?;
    let length = skippable_bytes(SEEK_TABLE_MAGIC, &lead).map(u64::from);
    Ok((length == Some(table_bytes)).then_some((Container::Zstd, index_end)))
}

/// All parts of an index, whole and in order.
fn parse(container: Container, bytes: &[u8]) -> Option<Index> {
    let mut rest = bytes;
    let (mut blocks, mut segment_id, mut total) = (Vec::new(), None, 0);
    while !rest.is_empty() {
        let lead = Container::lead(rest).filter(|lead| lead.frame_bytes <= rest.len())?;
        let payload = frame_payload(lead, rest).ok()?;
        rest = &rest[lead.frame_bytes..];
        let body = payload.len().checked_sub(INDEX_TAIL_BYTES)?;
        let (entries, tail) = payload.split_at(body);
        let whole = entries.len() >= INDEX_HEAD_BYTES
            && entries[..4] == INDEX_MAGIC
            && entries[4..6] == [INDEX_VERSION, container.wire_id()]
            && u16::from_le_bytes(take(entries, 6)) as usize == ENTRY_BYTES
            && u32::from_le_bytes(take(tail, 0)) as usize == bytes.len()
            && crc32c(&payload[..body + 4]).to_le_bytes() == tail[4..8];
        let id = whole.then(|| u64::from_le_bytes(take(entries, 8)))?;
        let [first, count, all] =
            [16, 20, 24].map(|at| u32::from_le_bytes(take(entries, at)) as usize);
        let in_order = *segment_id.get_or_insert(id) == id && first == blocks.len();
        total = all;
        let entries = &entries[INDEX_HEAD_BYTES..];
        if !in_order || entries.len() != count * ENTRY_BYTES {
            return None;
        }
        blocks.extend(entries.chunks_exact(ENTRY_BYTES).map(entry));
    }
    (blocks.len() == total).then_some(Index { container, segment_id: segment_id?, blocks })
}

fn entry(bytes: &[u8]) -> BlockEntry {
    let word = |at: usize| u32::from_le_bytes(take(bytes, at));
    BlockEntry {
        offset: u64::from_le_bytes(take(bytes, 0)),
        header_bytes: word(8),
        stored_bytes: word(12),
        raw_bytes: word(16),
        event_count: word(20),
        time_min: Wall(i64::from_le_bytes(take(bytes, 24))),
        time_max: Wall(i64::from_le_bytes(take(bytes, 32))),
        crc_raw: word(40),
        encoder: bytes[44],
    }
}

/// Blocks stand one behind the other from the file's beginning to its index.
fn covers(blocks: &[BlockEntry], index_at: u64) -> bool {
    let mut at = 0;
    let in_place = blocks.iter().all(|block| {
        let here = block.offset == at && block.raw_bytes as usize <= BLOCK_RAW_BYTES_MAX;
        at = block.end_offset();
        here
    });
    in_place && at == index_at
}

#[cfg(test)]
mod tests {
    use super::super::index::index_frames;
    use super::super::segment::tests::{TEXTS, segment};
    use super::super::segment::{Check, scan};
    use super::*;

    fn sealed(container: Container, texts: &[&[u8]]) -> (Vec<u8>, Vec<BlockEntry>) {
        let mut file = segment(container, texts);
        let blocks = scan(&&file[..], Check::Stored).unwrap().blocks;
        index_frames(container, 42, &blocks, &mut file);
        (file, blocks)
    }

    #[test]
    fn what_a_seal_wrote_is_read_from_the_end() {
        for container in [Container::Gzip, Container::Lz4, Container::Zstd] {
            for texts in [&TEXTS[..], &[&b"x\n"[..]; 3000]] {
                let (file, blocks) = sealed(container, texts);
                let expected = Index { container, segment_id: 42, blocks };
                assert_eq!(read_index(&&file[..]).unwrap(), Some(expected), "{container:?}");
            }
        }
    }

    #[test]
    fn no_index_is_believed_that_is_cut_changed_or_of_other_blocks() {
        for container in [Container::Gzip, Container::Lz4, Container::Zstd] {
            let (mut file, blocks) = sealed(container, &TEXTS);
            let index_at = blocks[2].end_offset() as usize;
            for cut in 0..file.len() {
                assert_eq!(read_index(&&file[..cut]).unwrap(), None, "{container:?} {cut}");
            }
            // Of zstd's seek table only the footer and the length are looked at.
            let end = match container {
                Container::Zstd => file.len() - 8 - 7 * 8 - SEEK_FOOTER_BYTES,
                _ => file.len(),
            };
            for at in index_at..end {
                file[at] ^= 1;
                assert_eq!(read_index(&&file[..]).unwrap(), None, "{container:?} at {at}");
                file[at] ^= 1;
            }
            file.remove(0);
            assert_eq!(read_index(&&file[..]).unwrap(), None, "the blocks are elsewhere");
        }
    }
}
