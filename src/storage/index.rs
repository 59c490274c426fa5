//! The index behind the last block of a sealed segment, in frames that stock tools skip.
//!
//! Payload of an index frame, little-endian (a part holds as many entries as its frame can carry):
//! ```text
//!    0  "FLMI"               4        32  entries, one a block:
//!    4  version, codec       1+1           offset 8, header frame bytes 4, stored bytes 4,
//!    6  entry bytes (48)     2             raw bytes 4, events 4, time min 8, time max 8,
//!    8  segment id           8             CRC32C raw 4, encoder 1, reserved 3
//!   16  first block          4         n  index bytes 4   of all index frames together
//!   20  blocks in this part  4       n+4  CRC32C 4        of the payload so far
//!   24  blocks in the file   4       n+8  "FLMI" 4        so that it is found from the end, too
//!   28  reserved             4
//! ```
//! Behind it, zstd files end in a seek table: the public format of zstd's contrib/seekable_format,
//! in which every frame before the table has an entry and skipped frames decompress to nothing.

use super::block::crc32c;
use super::container::{Container, skippable_lead};
use super::lzop;
use super::segment::BlockEntry;

pub(super) const INDEX_MAGIC: [u8; 4] = *b"FLMI";
pub(super) const INDEX_VERSION: u8 = 1;
pub(super) const INDEX_HEAD_BYTES: usize = 32;
pub(super) const INDEX_TAIL_BYTES: usize = 12;
pub const ENTRY_BYTES: usize = 48;
pub(super) const SEEK_TABLE_MAGIC: u32 = 0x184D_2A5E;
pub(super) const SEEK_FOOTER_MAGIC: u32 = 0x8F92_EAB1;
pub(super) const SEEK_FOOTER_BYTES: usize = 9;

/// Appends what seals a segment: the index, and for zstd the seek table; of lzop's files the end.
/// Nothing for plain text.
/// `blocks` are all blocks of the file, in order, without gaps.
pub fn index_frames(
    container: Container,
    segment_id: u64,
    blocks: &[BlockEntry],
    out: &mut Vec<u8>,
) {
    if container == Container::Lzo {
        out.extend_from_slice(&lzop::END);
    }
    if !container.headed() || blocks.is_empty() {
        return;
    }
    let room = container.payload_bytes_max() - INDEX_HEAD_BYTES - INDEX_TAIL_BYTES;
    let part_blocks = room / ENTRY_BYTES;
    let payload_bytes = |count: usize| INDEX_HEAD_BYTES + count * ENTRY_BYTES + INDEX_TAIL_BYTES;
    let parts = || blocks.chunks(part_blocks);
    let index_bytes: usize =
        parts().map(|part| container.frame_bytes(payload_bytes(part.len()))).sum();
    let index_bytes = u32::try_from(index_bytes).expect("an index is under 4 GiB");
    out.reserve(index_bytes as usize + seek_table_bytes(blocks.len()));
    for (number, part) in parts().enumerate() {
        let at = container.open_frame(payload_bytes(part.len()), out);
        let payload = &mut out[at..at + payload_bytes(part.len())];
        let mut pen = Pen { bytes: payload, at: 0 };
        pen.put(&INDEX_MAGIC);
        pen.put(&[INDEX_VERSION, container.wire_id()]);
        pen.put(&(ENTRY_BYTES as u16).to_le_bytes());
        pen.put(&segment_id.to_le_bytes());
        for count in [number * part_blocks, part.len(), blocks.len(), 0] {
            pen.put(&u32::try_from(count).expect("under 2^32 blocks").to_le_bytes());
        }
        part.iter().for_each(|block| put_entry(&mut pen, block));
        pen.put(&index_bytes.to_le_bytes());
        let crc = crc32c(&pen.bytes[..pen.at]);
        pen.put(&crc.to_le_bytes());
        pen.put(&INDEX_MAGIC);
        assert_eq!(pen.at, pen.bytes.len(), "the index part is filled exactly");
    }
    if container == Container::Zstd {
        seek_table(blocks, index_bytes, out);
    }
}

/// Writes fields one behind the other.
struct Pen<'a> {
    bytes: &'a mut [u8],
    at: usize,
}

impl Pen<'_> {
    fn put(&mut self, field: &[u8]) {
        self.bytes[self.at..self.at + field.len()].copy_from_slice(field);
        self.at += field.len();
    }
}

fn put_entry(pen: &mut Pen<'_>, block: &BlockEntry) {
    pen.put(&block.offset.to_le_bytes());
    for field in [block.header_bytes, block.stored_bytes, block.raw_bytes, block.event_count] {
        pen.put(&field.to_le_bytes());
    }
    pen.put(&block.time_min.0.to_le_bytes());
    pen.put(&block.time_max.0.to_le_bytes());
    pen.put(&block.crc_raw.to_le_bytes());
    pen.put(&[block.encoder, 0, 0, 0]);
}

fn seek_table_bytes(blocks: usize) -> usize {
    8 + (2 * blocks + 1) * 8 + SEEK_FOOTER_BYTES
}

/// The seek table of zstd's contrib/seekable_format: every frame in front of it has an entry of
/// stored and decompressed length; frames that are skipped decompress to nothing. No checksums.
fn seek_table(blocks: &[BlockEntry], index_bytes: u32, out: &mut Vec<u8>) {
    let frames = 2 * blocks.len() + 1;
    skippable_lead(SEEK_TABLE_MAGIC, (frames * 8 + SEEK_FOOTER_BYTES) as u32, out);
    let mut entry = |stored: u32, raw: u32| {
        out.extend_from_slice(&stored.to_le_bytes());
        out.extend_from_slice(&raw.to_le_bytes());
    };
    for block in blocks {
        entry(block.header_bytes, 0);
        entry(block.stored_bytes, block.raw_bytes);
    }
    entry(index_bytes, 0);
    out.extend_from_slice(&(frames as u32).to_le_bytes());
    out.push(0);
    out.extend_from_slice(&SEEK_FOOTER_MAGIC.to_le_bytes());
}

#[cfg(test)]
mod tests {
    use super::super::segment::tests::{TEXTS, segment};
    use super::super::segment::{Check, End, scan};
    use super::*;

    #[test]
    fn a_long_gzip_index_takes_several_members() {
        let texts = vec![&b"x\n"[..]; 3000];
        let mut file = segment(Container::Gzip, &texts);
        let open = scan(&&file[..], Check::Stored).unwrap();
        index_frames(Container::Gzip, 42, &open.blocks, &mut file);
        assert_eq!(scan(&&file[..], Check::Stored).unwrap().end, End::Sealed);
        let tail = &file[open.whole_bytes as usize..];
        let members = memchr::memmem::find_iter(tail, b"FLMI").count() / 2;
        assert_eq!(members, 3);
    }

    /// Reads the table as the public format says: footer last, entries in front of it.
    #[test]
    fn the_seek_table_reads_as_the_public_format_says() {
        let mut file = segment(Container::Zstd, &TEXTS);
        let open = scan(&&file[..], Check::Stored).unwrap();
        index_frames(Container::Zstd, 42, &open.blocks, &mut file);
        let word = |at: usize| u32::from_le_bytes(file[at..at + 4].try_into().unwrap());
        let end = file.len();
        assert_eq!((word(end - 4), file[end - 5]), (0x8F92_EAB1, 0));
        let frames = word(end - 9) as usize;
        let table = end - 9 - 8 * frames;
        assert_eq!((word(table - 8), word(table - 4) as usize), (0x184D_2A5E, 8 * frames + 9));
        let (mut stored, mut raw) = (0, Vec::new());
        for frame in 0..frames {
            let at = table + 8 * frame;
            let (bytes, length) = (word(at) as usize, word(at + 4) as usize);
            if length > 0 {
                raw.extend_from_slice(&file[stored..stored + bytes]);
            } else {
                assert_eq!(word(stored), 0x184D_2A5B, "frame {frame} is skipped");
            }
            stored += bytes;
        }
        assert_eq!(stored, table - 8, "the entries cover all frames before the table");
        assert_eq!(raw, TEXTS.concat());
    }
}
