//! How Avro's blocks are compressed: unpacked whole, and never to more than was asked for. Memory
//! is touched only as far as there are bytes for it: what may come is a thousand times what does.
//!
//! What follows a stream's end within its block is passed over: Avro's library for Python leaves
//! some bytes of a checksum there.

use crc_fast::CrcAlgorithm;
use flate2::{Decompress, FlushDecompress, Status};

/// What any of them holds beside the blocks: bzip2 the most, for its blocks of 900 KB.
pub const CONTEXT_BYTES_MAX: usize = 4 << 20;
/// Unpacked at first; then as much again as there is.
const STEP_BYTES: usize = 64 << 10;
/// More than a byte of snappy's ever stands for: three say a copy of 64.
const SNAPPY_RATIO_MAX: usize = 32;
/// Behind snappy's bytes stands a CRC-32 of what they stand for, the highest byte first.
const SNAPPY_SUM_BYTES: usize = 4;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Packing {
    Null,
    Deflate,
    Snappy,
    Bzip2,
    Zstandard,
}

impl Packing {
    pub const ALL: [(&'static str, Self); 5] = [
        ("null", Self::Null),
        ("deflate", Self::Deflate),
        ("snappy", Self::Snappy),
        ("bzip2", Self::Bzip2),
        ("zstandard", Self::Zstandard),
    ];

    /// By Avro's name of it.
    pub fn of(name: &str) -> Option<Self> {
        Self::ALL.iter().find(|(known, _)| *known == name).map(|(_, packing)| *packing)
    }
}

/// Why a block cannot be unpacked.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotUnpacked {
    #[error("it is larger than that when it is unpacked")]
    Long,
    #[error("it cannot be unpacked: {0}")]
    Broken(String),
}

/// Contexts are made when they are needed first, and kept.
#[derive(Default)]
pub struct Unpacker {
    deflate: Option<Decompress>,
    zstandard: Option<zstd::bulk::Decompressor<'static>>,
}

impl Unpacker {
    /// Puts what a block stands for into `out`, which has `bytes_max` at most then.
    pub fn unpack(
        &mut self,
        packing: Packing,
        stored: &[u8],
        bytes_max: usize,
        out: &mut Vec<u8>,
    ) -> Result<(), NotUnpacked> {
        out.clear();
        let ended = match packing {
            Packing::Null if stored.len() > bytes_max => return Err(NotUnpacked::Long),
            Packing::Null => {
                out.extend_from_slice(stored);
                true
            }
            Packing::Deflate => {
                let deflate = self.deflate.get_or_insert_with(|| Decompress::new(false));
                deflate.reset(false);
                by_steps(bytes_max, out, |into| {
                    let (read, made) = (deflate.total_in(), deflate.total_out());
                    let rest = &stored[read as usize..];
                    let status = deflate.decompress(rest, into, FlushDecompress::None);
                    let ended = status.map_err(broken)? == Status::StreamEnd;
                    Ok(((deflate.total_out() - made) as usize, ended))
                })?
            }
            Packing::Snappy => return unsnap(stored, bytes_max, out),
            Packing::Bzip2 => {
                let mut bzip2 = bzip2::Decompress::new(false);
                by_steps(bytes_max, out, |into| {
                    let (read, made) = (bzip2.total_in(), bzip2.total_out());
                    let status = bzip2.decompress(&stored[read as usize..], into);
                    let ended = status.map_err(broken)? == bzip2::Status::StreamEnd;
                    Ok(((bzip2.total_out() - made) as usize, ended))
                })?
            }
            Packing::Zstandard => {
                let zstandard = match &mut self.zstandard {
                    Some(zstandard) => zstandard,
                    none => none.insert(zstd::bulk::Decompressor::new().map_err(broken)?),
                };
                // One more, so that what is too much is seen. It is not touched before it is used.
                out.reserve_exact(bytes_max + 1);
                match zstandard.decompress_to_buffer(stored, out) {
                    Ok(_) => true,
                    // The library says it only in words.
                    Err(error) if error.to_string().contains("buffer is too small") => {
                        return Err(NotUnpacked::Long);
                    }
                    Err(error) => return Err(broken(error)),
                }
            }
        };
        if out.len() > bytes_max {
            return Err(NotUnpacked::Long);
        }
        if ended { Ok(()) } else { Err(broken("it ends too early")) }
    }
}

/// Unpacks until a step says that it was the last, or makes nothing. It is told how much may come,
/// and says how much did. What is too much is left longer than it may be. Says whether it ended.
fn by_steps(
    bytes_max: usize,
    out: &mut Vec<u8>,
    mut step: impl FnMut(&mut [u8]) -> Result<(usize, bool), NotUnpacked>,
) -> Result<bool, NotUnpacked> {
    while out.len() <= bytes_max {
        let at = out.len();
        // One more than may come, so that what is too much is seen.
        let end = (at + at.max(STEP_BYTES)).min(bytes_max + 1);
        out.reserve_exact(end - at);
        out.resize(end, 0);
        let (made, ended) = step(&mut out[at..])?;
        out.truncate(at + made);
        if ended || made == 0 {
            return Ok(ended);
        }
    }
    Ok(false)
}

fn unsnap(stored: &[u8], bytes_max: usize, out: &mut Vec<u8>) -> Result<(), NotUnpacked> {
    let parts = stored.split_last_chunk::<SNAPPY_SUM_BYTES>();
    let (packed, sum) = parts.ok_or_else(|| broken("it ends too early"))?;
    let bytes = snap::raw::decompress_len(packed).map_err(broken)?;
    if bytes / SNAPPY_RATIO_MAX > packed.len() {
        return Err(broken("it says that it is longer than it can be"));
    }
    if bytes > bytes_max {
        return Err(NotUnpacked::Long);
    }
    out.resize(bytes, 0);
    snap::raw::Decoder::new().decompress(packed, out).map_err(broken)?;
    // The 32-bit CRCs of crc-fast come in the low half of a u64.
    let found = crc_fast::checksum(CrcAlgorithm::Crc32IsoHdlc, out) as u32;
    if found == u32::from_be_bytes(*sum) { Ok(()) } else { Err(broken("its CRC-32 is another")) }
}

fn broken(why: impl ToString) -> NotUnpacked {
    NotUnpacked::Broken(why.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    fn pack(packing: Packing, text: &[u8]) -> Vec<u8> {
        match packing {
            Packing::Null => text.to_vec(),
            Packing::Deflate => {
                let fast = flate2::Compression::fast();
                let mut encoder = flate2::write::DeflateEncoder::new(Vec::new(), fast);
                encoder.write_all(text).unwrap();
                encoder.finish().unwrap()
            }
            Packing::Snappy => {
                let sum = crc_fast::checksum(CrcAlgorithm::Crc32IsoHdlc, text) as u32;
                let mut packed = snap::raw::Encoder::new().compress_vec(text).unwrap();
                packed.extend_from_slice(&sum.to_be_bytes());
                packed
            }
            Packing::Bzip2 => {
                let fast = bzip2::Compression::fast();
                let mut encoder = bzip2::write::BzEncoder::new(Vec::new(), fast);
                encoder.write_all(text).unwrap();
                encoder.finish().unwrap()
            }
            Packing::Zstandard => zstd::stream::encode_all(text, 1).unwrap(),
        }
    }

    #[test]
    fn blocks_come_back_and_not_one_byte_too_many() {
        let long = b"one and another\n".repeat(20_000);
        let (mut unpacker, mut out) = (Unpacker::default(), Vec::new());
        for (name, packing) in Packing::ALL {
            assert_eq!(Packing::of(name), Some(packing));
            for text in [&b""[..], b"x", &long] {
                let packed = pack(packing, text);
                unpacker.unpack(packing, &packed, text.len(), &mut out).unwrap();
                assert!(out == text, "{name}");
                if let Some(less) = text.len().checked_sub(1) {
                    let told = unpacker.unpack(packing, &packed, less, &mut out);
                    assert_eq!(told, Err(NotUnpacked::Long), "{name} {less}");
                }
                unpacker.unpack(packing, &packed, 1 << 20, &mut out).unwrap();
                assert!(out == text, "{name}");
            }
        }
        assert_eq!(Packing::of("lzo"), None);
    }

    /// The flate library zeroes whatever it may write to: 256 MiB for each block of an archive.
    #[test]
    fn what_may_come_is_not_touched_before_it_does() {
        let text = b"one and another\n".repeat(100);
        for (name, packing) in Packing::ALL {
            let (mut unpacker, mut out) = (Unpacker::default(), Vec::new());
            unpacker.unpack(packing, &pack(packing, &text), 256 << 20, &mut out).unwrap();
            assert!(out == text, "{name}");
            if packing != Packing::Zstandard {
                assert!(out.capacity() <= 2 * STEP_BYTES, "{name}: {}", out.capacity());
            }
        }
        let (mut unpacker, mut out) = (Unpacker::default(), Vec::new());
        let told = unpacker.unpack(Packing::Snappy, b"\xff\xff\x7fxsums", 256 << 20, &mut out);
        assert!(matches!(told, Err(NotUnpacked::Broken(why)) if why.contains("longer")));
        assert_eq!(out.capacity(), 0);
    }

    #[test]
    fn what_is_cut_or_damaged_is_told_and_what_follows_an_end_is_not() {
        let text = b"one and another and one more\n".repeat(50);
        let (mut unpacker, mut out) = (Unpacker::default(), Vec::new());
        for (name, packing) in Packing::ALL.into_iter().skip(1) {
            let packed = pack(packing, &text);
            for cut in 1..packed.len() {
                let told = unpacker.unpack(packing, &packed[..cut], 1 << 20, &mut out);
                assert!(matches!(told, Err(NotUnpacked::Broken(_))), "{name} {cut}: {told:?}");
            }
            let noise: Vec<u8> = (0..200).map(|n: u32| ((n * n) >> 3) as u8).collect();
            let told = unpacker.unpack(packing, &noise, 1 << 20, &mut out);
            assert!(told.is_err(), "{name}");
        }
        let python = [&pack(Packing::Deflate, &text)[..], b"abc"].concat();
        unpacker.unpack(Packing::Deflate, &python, 1 << 20, &mut out).unwrap();
        assert!(out == text);
    }
}
