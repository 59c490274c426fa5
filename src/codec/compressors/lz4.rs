//! lz4: one standard frame a block, written around `lz4_flex`'s raw block coder.
//!
//! ```text
//! 04 22 4d 18 | FLG | BD | content size u64 | HC | { size u32 | data }* | 00 00 00 00
//! magic         ^ version 1, independent blocks, content size, no checksums
//! ```
//! HC is the second byte of xxh32 over FLG to content size. A block that does not shrink is stored
//! and its size carries the top bit. Our own frame saves `FrameEncoder`'s copy of the input and its
//! habit to pick the block size by the first write. (lz4_Frame_format.md 1.6.4)

use lz4_flex::block::{CompressTable, compress_into_with_table, get_maximum_output_size};
use twox_hash::XxHash32;

use super::lz4_stream::Lz4Stream;
use crate::codec::{Around, Codec, CodecError, Compressor, CompressorKind, Decompressor};

pub const KIND: CompressorKind = CompressorKind {
    codec: Codec::Lz4,
    name: "lz4",
    aliases: &[],
    summary: "lz4 frames: the fastest to write and to read",
    levels: None,
    level_default: 1,
    around: Around::NOTHING,
    build: |_| Box::new(Lz4 { table: CompressTable::large(), scratch: Vec::new() }),
    decompressor: || Box::new(Unlz4),
    stream: |file| Box::new(Lz4Stream::new(file)),
};

pub(super) const MAGIC: u32 = 0x184D_2204;
/// Top bit of a block size: the block is stored.
pub(super) const STORED: u32 = 1 << 31;
pub(super) const BLOCK_BYTES_MAX: usize = 4 << 20;

const HEADER_BYTES: usize = 15;
/// Version 01, independent blocks, content size present.
const FLAGS: u8 = 0b0110_1000;
const END_MARK: [u8; 4] = [0; 4];

struct Lz4 {
    /// The large kind at once: the small one would be exchanged at the first big block.
    table: CompressTable,
    /// `lz4_flex` writes to initialised memory only; copying a fifth of the block out of a scratch
    /// that stays initialised is cheaper than zeroing the whole bound in `out` each time.
    scratch: Vec<u8>,
}

struct Unlz4;

impl Compressor for Lz4 {
    fn compress(&mut self, block: &[u8], out: &mut Vec<u8>) -> Result<(), CodecError> {
        let kept = out.len();
        out.reserve(self.bound(block.len()));
        out.extend_from_slice(&header(block.len() as u64));
        for part in block.chunks(BLOCK_BYTES_MAX) {
            let room = get_maximum_output_size(part.len());
            if self.scratch.len() < room {
                self.scratch.resize(room, 0);
            }
            let bytes = compress_into_with_table(part, &mut self.scratch, &mut self.table)
                .map_err(|error| {
                    out.truncate(kept);
                    Codec::Lz4.compress_error(block, error)
                })?;
            let (size, data) = if bytes < part.len() {
                (bytes as u32, &self.scratch[..bytes])
            } else {
                (part.len() as u32 | STORED, part)
            };
            out.extend_from_slice(&size.to_le_bytes());
            out.extend_from_slice(data);
        }
        out.extend_from_slice(&END_MARK);
        Ok(())
    }

    fn bound(&self, raw_bytes: usize) -> usize {
        // Stored at worst: four bytes a block on top of the data.
        let blocks = raw_bytes.div_ceil(BLOCK_BYTES_MAX);
        HEADER_BYTES + raw_bytes + 4 * blocks + END_MARK.len()
    }

    fn context_bytes(&self) -> usize {
        self.scratch.capacity() + (16 << 10)
    }
}

impl Decompressor for Unlz4 {
    fn codec(&self) -> Codec {
        Codec::Lz4
    }

    fn expand(&mut self, frame: &[u8], raw_bytes: usize, out: &mut Vec<u8>) -> Result<(), String> {
        expand(frame, raw_bytes, out)
    }
}

fn header(content_bytes: u64) -> [u8; HEADER_BYTES] {
    let mut header = [0; HEADER_BYTES];
    header[..4].copy_from_slice(&MAGIC.to_le_bytes());
    header[4] = FLAGS;
    header[5] = block_class(content_bytes) << 4;
    header[6..14].copy_from_slice(&content_bytes.to_le_bytes());
    header[14] = header_check(&header[4..14]);
    header
}

/// The second byte of xxh32 of the descriptor.
pub(super) fn header_check(descriptor: &[u8]) -> u8 {
    (XxHash32::oneshot(0, descriptor) >> 8) as u8
}

/// The smallest of the four block size classes (64 KiB, 256 KiB, 1 MiB, 4 MiB) that holds the
/// content: readers allocate what it says.
fn block_class(content_bytes: u64) -> u8 {
    match content_bytes {
        0..=0x1_0000 => 4,
        0x1_0001..=0x4_0000 => 5,
        0x4_0001..=0x10_0000 => 6,
        _ => 7,
    }
}

/// Takes one of our own frames apart, nothing before it and nothing behind it.
fn expand(frame: &[u8], raw_bytes: usize, out: &mut Vec<u8>) -> Result<(), String> {
    let (head, mut rest) = frame.split_first_chunk::<HEADER_BYTES>().ok_or("cut in the header")?;
    if *head != header(raw_bytes as u64) {
        return Err("not the frame header of such a block".to_owned());
    }
    let mut at = out.len();
    out.resize(at + raw_bytes, 0);
    loop {
        let (size, tail) = rest.split_first_chunk::<4>().ok_or("no end mark")?;
        let size = u32::from_le_bytes(*size);
        if size == 0 {
            rest = tail;
            break;
        }
        let bytes = (size & !STORED) as usize;
        let data = tail.get(..bytes).ok_or("cut in a block")?;
        rest = &tail[bytes..];
        let part_end = (at + BLOCK_BYTES_MAX).min(out.len());
        let part = &mut out[at..part_end];
        if size & STORED != 0 {
            part.get_mut(..bytes).ok_or("holds more")?.copy_from_slice(data);
            at += bytes;
        } else {
            at += lz4_flex::block::decompress_into(data, part).map_err(|e| e.to_string())?;
        }
    }
    if at != out.len() {
        return Err(format!("{} bytes are missing", out.len() - at));
    }
    if rest.is_empty() { Ok(()) } else { Err("bytes after the frame".to_owned()) }
}
