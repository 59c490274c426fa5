//! gzip: one member a block (RFC 1952), deflated by a context that is reset, never rebuilt.
//!
//! ```text
//! 1f 8b 08 00 | 00 00 00 00 | 00 ff | deflate ... | crc32 u32 | raw bytes u32
//! magic, no flags   no time    unix
//! ```
//! The block header is not in this member: `storage` writes it as an empty member of its own in
//! front (FEXTRA `FL`), so that all codecs have the same picture: header frame, data frame.

use std::io::BufReader;

use flate2::{Compress, Compression, Decompress, FlushCompress, FlushDecompress, Status};

use super::crc32::crc32;
use crate::codec::{Around, Codec, CodecError, Compressor, CompressorKind, Decompressor};

pub const KIND: CompressorKind = CompressorKind {
    codec: Codec::Gzip,
    name: "gzip",
    aliases: &["gz"],
    summary: "gzip members: read by everything",
    levels: Some(0..=9),
    level_default: 1,
    around: Around::NOTHING,
    build: |level| Box::new(Gzip { deflate: deflate(level), level }),
    decompressor: || Box::new(Gunzip(Decompress::new(false))),
    stream: |file| Box::new(flate2::bufread::MultiGzDecoder::new(BufReader::new(file))),
};

const HEADER: [u8; 10] = [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 0xff];
const TRAILER_BYTES: usize = 8;
/// What a deflate context of 32 KiB window and memory level 8 holds (zlib's own figure, 268 KB,
/// and zlib-rs's overhead).
const CONTEXT_BYTES: usize = 320 << 10;

struct Gzip {
    deflate: Compress,
    level: i32,
}

struct Gunzip(Decompress);

impl Compressor for Gzip {
    fn compress(&mut self, block: &[u8], out: &mut Vec<u8>) -> Result<(), CodecError> {
        let kept = out.len();
        out.reserve(self.bound(block.len()));
        out.extend_from_slice(&HEADER);
        self.deflate.reset();
        let outcome = self.deflate.compress_vec(block, out, FlushCompress::Finish);
        let why = match outcome {
            Ok(Status::StreamEnd) => {
                out.extend_from_slice(&crc32(block).to_le_bytes());
                // ISIZE is the length modulo 2^32 (RFC 1952, 2.3.1).
                out.extend_from_slice(&(block.len() as u32).to_le_bytes());
                return Ok(());
            }
            Ok(status) => format!("{status:?}"),
            Err(error) => error.to_string(),
        };
        out.truncate(kept);
        self.deflate = deflate(self.level);
        Err(Codec::Gzip.compress_error(block, why))
    }

    fn bound(&self, raw_bytes: usize) -> usize {
        // zlib's deflateBound for any parameters: 9/8 at worst for the fast level's fixed codes.
        HEADER.len() + TRAILER_BYTES + raw_bytes + raw_bytes.div_ceil(8) + 64
    }

    fn set_level(&mut self, level: i32) {
        if std::mem::replace(&mut self.level, level) != level {
            self.deflate = deflate(level);
        }
    }

    fn context_bytes(&self) -> usize {
        CONTEXT_BYTES
    }
}

impl Decompressor for Gunzip {
    fn codec(&self) -> Codec {
        Codec::Gzip
    }

    fn expand(&mut self, frame: &[u8], raw_bytes: usize, out: &mut Vec<u8>) -> Result<(), String> {
        let body = frame.strip_prefix(&HEADER).ok_or("not the header this program writes")?;
        let (deflated, trailer) =
            body.split_last_chunk::<TRAILER_BYTES>().ok_or("cut in the member")?;
        let kept = out.len();
        out.reserve_exact(raw_bytes + 1);
        self.0.reset(false);
        let status = self
            .0
            .decompress_vec(deflated, out, FlushDecompress::Finish)
            .map_err(|error| error.to_string())?;
        if status != Status::StreamEnd || self.0.total_in() != deflated.len() as u64 {
            return Err(format!(
                "the deflate stream does not end where the member does: {status:?}"
            ));
        }
        let raw = &out[kept..];
        let sum = (u64::from(raw.len() as u32) << 32) | u64::from(crc32(raw));
        if u64::from_le_bytes(*trailer) != sum {
            return Err("CRC-32 or length differ".to_owned());
        }
        Ok(())
    }
}

/// Leaves the deflate stream of the member that was appended behind `start`.
pub fn bare(out: &mut Vec<u8>, start: usize) {
    out.truncate(out.len() - TRAILER_BYTES);
    out.drain(start..start + HEADER.len());
}

fn deflate(level: i32) -> Compress {
    Compress::new(Compression::new(level.unsigned_abs()), false)
}
