//! lzo: blocks of lzop's files, LZO1X inside, made by `lzokay`: slow, as the bench tells.
//!
//! ```text
//!   89 4c 5a 4f 00 0d 0a 1a 0a │ header, always the same         once, in front of all blocks
//!   raw u32 │ stored u32 │ CRC-32 raw │ CRC-32 stored │ data     a piece, or several, a block
//!   00 00 00 00                                                  once, behind all blocks
//! ```
//! Numbers are big-endian. A piece that does not shrink is stored as it is, with one checksum. It
//! has at most the 256 KiB that lzop itself makes, which every reader of the format takes, and ends
//! with a line; a longer line is a piece of its own. So wherever a file is cut, lines are whole.
//! A file is one member: of several, `lzop -d` would make as many files.

use lzokay::compress::{Dict, compress_no_alloc, compress_worst_size};

use super::crc32::crc32;
use super::lzo_stream::{LzoStream, Piece, Sums};
use crate::codec::{Around, Codec, CodecError, Compressor, CompressorKind, Decompressor};
use crate::limits::EVENT_BYTES_MAX;

pub const KIND: CompressorKind = CompressorKind {
    codec: Codec::Lzo,
    name: "lzo",
    aliases: &["lzop"],
    summary: "lzop's files, for readers of nothing else: slow to write",
    levels: None,
    level_default: 1,
    around: Around { front: &FRONT, end: &[0; 4] },
    build: |_| Box::new(Lzo { dict: Dict::new(), scratch: Vec::new() }),
    decompressor: || Box::new(Unlzo),
    stream: |file| Box::new(LzoStream::new(file)),
};

/// Magic; versions of lzop (1.04), of its library (2.10), and which one can read it (0.94);
/// LZO1X-1, level 5; flags: unix, CRC-32 of raw and of stored bytes; no mode, no time, no name, for
/// all of these are the file's; Adler-32 of what is behind the magic.
const FRONT: [u8; 38] = *b"\x89LZO\x00\r\n\x1a\n\x10\x40\x20\xa0\x09\x40\x01\x05\x03\x00\x03\x00\
    \x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x1e\xd3\x01\x66";

const PIECE_BYTES: usize = 256 << 10;
/// Of a line. JSON's escapes make six bytes of one.
const LINE_BYTES_MAX: usize = 2 << 20;
const _: () = assert!(LINE_BYTES_MAX >= 7 * EVENT_BYTES_MAX, "an event is in one piece");
/// Sizes and checksums in front of a piece.
const PIECE_HEAD_BYTES: usize = 16;

struct Lzo {
    dict: Box<Dict>,
    /// `lzokay` wants room for the worst case, and initialised.
    scratch: Vec<u8>,
}

struct Unlzo;

impl Lzo {
    fn piece(&mut self, raw: &[u8], out: &mut Vec<u8>) -> Result<(), lzokay::Error> {
        let room = compress_worst_size(raw.len());
        if self.scratch.len() < room {
            self.scratch.resize(room, 0);
        }
        let bytes = compress_no_alloc(raw, &mut self.scratch, &mut self.dict)?;
        let shrunk = bytes < raw.len();
        let data = if shrunk { &self.scratch[..bytes] } else { raw };
        out.extend_from_slice(&(raw.len() as u32).to_be_bytes());
        out.extend_from_slice(&(data.len() as u32).to_be_bytes());
        out.extend_from_slice(&crc32(raw).to_be_bytes());
        if shrunk {
            out.extend_from_slice(&crc32(data).to_be_bytes());
        }
        out.extend_from_slice(data);
        Ok(())
    }
}

impl Compressor for Lzo {
    fn compress(&mut self, block: &[u8], out: &mut Vec<u8>) -> Result<(), CodecError> {
        let kept = out.len();
        out.reserve(self.bound(block.len()));
        let mut rest = block;
        while !rest.is_empty() {
            let (raw, behind) = rest.split_at(piece_bytes(rest));
            self.piece(raw, out).map_err(|error| {
                out.truncate(kept);
                Codec::Lzo.compress_error(block, error)
            })?;
            rest = behind;
        }
        Ok(())
    }

    fn bound(&self, raw_bytes: usize) -> usize {
        // Two neighbours have more than one can have: else they were one.
        let pieces = 2 * (raw_bytes / PIECE_BYTES) + 1;
        raw_bytes + pieces * PIECE_HEAD_BYTES
    }

    fn context_bytes(&self) -> usize {
        // A long line may still come.
        let scratch = self.scratch.capacity().max(compress_worst_size(LINE_BYTES_MAX));
        size_of::<Dict>() + scratch
    }
}

/// How much of `text` is one piece: as many lines as fit, or one line that is longer.
fn piece_bytes(text: &[u8]) -> usize {
    let Some((front, behind)) = text.split_at_checked(PIECE_BYTES).filter(|it| !it.1.is_empty())
    else {
        return text.len();
    };
    let lines = memchr::memrchr(b'\n', front).map(|at| at + 1);
    let line = || memchr::memchr(b'\n', behind).map_or(text.len(), |at| PIECE_BYTES + at + 1);
    lines.unwrap_or_else(line).min(LINE_BYTES_MAX)
}

impl Decompressor for Unlzo {
    fn codec(&self) -> Codec {
        Codec::Lzo
    }

    fn expand(&mut self, frame: &[u8], raw_bytes: usize, out: &mut Vec<u8>) -> Result<(), String> {
        let kept = out.len();
        let mut rest = frame;
        while !rest.is_empty() {
            let piece = Piece::read(rest, Sums::CRC)?.ok_or("cut in a piece's head")?;
            if piece.raw_bytes > raw_bytes - (out.len() - kept) {
                return Err("it holds more".to_owned());
            }
            let (bytes, behind) = rest.split_at_checked(piece.bytes()).ok_or("cut")?;
            piece.expand(bytes, out)?;
            rest = behind;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read;

    #[test]
    fn pieces_end_with_lines() {
        let line = |bytes: usize| [vec![b'x'; bytes - 1], b"\n".to_vec()].concat();
        for (lines, expected) in [
            (vec![PIECE_BYTES], vec![PIECE_BYTES]),
            (vec![PIECE_BYTES - 5, 5, 1], vec![PIECE_BYTES, 1]),
            (vec![PIECE_BYTES - 5, 6, 1], vec![PIECE_BYTES - 5, 7]),
            (vec![PIECE_BYTES + 1, 1], vec![PIECE_BYTES + 1, 1]),
            (vec![3, 5 * PIECE_BYTES, 2], vec![3, 5 * PIECE_BYTES, 2]),
            (vec![9 * PIECE_BYTES], vec![LINE_BYTES_MAX, PIECE_BYTES]),
        ] {
            let text: Vec<u8> = lines.into_iter().flat_map(line).collect();
            let (mut rest, mut found) = (&text[..], Vec::new());
            while !rest.is_empty() {
                found.push(piece_bytes(rest));
                rest = &rest[found[found.len() - 1]..];
            }
            assert_eq!(found, expected);
            let bound = KIND.codec.compressor(1).bound(text.len());
            assert!(bound >= text.len() + found.len() * PIECE_HEAD_BYTES);
        }
    }

    #[test]
    fn every_byte_of_a_file_counts() {
        let mut file = FRONT.to_vec();
        let mut compressor = KIND.codec.compressor(1);
        let text = b"a line, and another line, and another line\n".repeat(9);
        for block in [&text[..], b"short\n"] {
            compressor.compress(block, &mut file).unwrap();
        }
        file.extend_from_slice(KIND.around.end);
        let read = |file: &[u8]| {
            let mut found = Vec::new();
            LzoStream::new(file).read_to_end(&mut found).map(|_| found)
        };
        assert_eq!(read(&file).unwrap(), [&text[..], b"short\n"].concat());
        for cut in 1..file.len() {
            let error = read(&file[..cut]).unwrap_err();
            assert_eq!(error.kind(), std::io::ErrorKind::UnexpectedEof, "cut at {cut}");
        }
        for bit in 0..file.len() * 8 {
            file[bit / 8] ^= 1 << (bit % 8);
            read(&file).unwrap_err();
            file[bit / 8] ^= 1 << (bit % 8);
        }
    }
}
