//! How Avro's blocks are compressed: unpacked whole, and never to more than was asked for.
//!
//! What follows a stream's end within its block is passed over: Avro's library for Python leaves
//! some bytes of a checksum there.

use crc_fast::CrcAlgorithm;
use flate2::{Decompress, FlushDecompress, Status};

/// What any of them holds beside the blocks: bzip2 the most, for its blocks of 900 KB.
pub const CONTEXT_BYTES_MAX: usize = 4 << 20;
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
        // One more, so that what is too much is seen.
        out.reserve_exact(bytes_max + 1);
        let ended = match packing {
            Packing::Null if stored.len() > bytes_max => return Err(NotUnpacked::Long),
            Packing::Null => {
                out.extend_from_slice(stored);
                true
            }
            Packing::Deflate => {
                let deflate = self.deflate.get_or_insert_with(|| Decompress::new(false));
                deflate.reset(false);
                let status = deflate.decompress_vec(stored, out, FlushDecompress::Finish);
                status.map_err(broken)? == Status::StreamEnd
            }
            Packing::Snappy => return unsnap(stored, bytes_max, out),
            Packing::Bzip2 => {
                let status = bzip2::Decompress::new(false).decompress_vec(stored, out);
                status.map_err(broken)? == bzip2::Status::StreamEnd
            }
            Packing::Zstandard => {
                let zstandard = match &mut self.zstandard {
                    Some(zstandard) => zstandard,
                    none => none.insert(zstd::bulk::Decompressor::new().map_err(broken)?),
                };
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

fn unsnap(stored: &[u8], bytes_max: usize, out: &mut Vec<u8>) -> Result<(), NotUnpacked> {
    let parts = stored.split_last_chunk::<SNAPPY_SUM_BYTES>();
    let (packed, sum) = parts.ok_or_else(|| broken("it ends too early"))?;
    let bytes = snap::raw::decompress_len(packed).map_err(broken)?;
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
