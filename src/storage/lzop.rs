//! lzop's files: what stands at their begin, around each block, and at their end.
//!
//! ```text
//!   HEAD │ { raw u32 │ stored u32 │ CRC-32 raw │ CRC-32 stored │ data }* │ END
//! ```
//! Numbers are big-endian; a block that did not shrink has one checksum. Nothing of ours can hide
//! in such a file, and it needs no index. Its blocks are pieces of ours, each of whole lines, so a
//! file cut behind any of them, with the end behind it, is a whole file.

use std::io;

use crc_fast::{CrcAlgorithm, checksum};

use super::block::HeaderError;
use super::segment::Damage;
use super::{ReadAt, read_full_at};

/// What we write; `codec` says what it says, and that it is the same.
pub const HEAD: [u8; 38] =
    *b"\x89LZO\x00\r\n\x1a\n\x10\x40\x20\xa0\x09\x40\x01\x05\x03\x00\x03\x00\
    \x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x1e\xd3\x01\x66";
pub const END: [u8; 4] = [0; 4];

/// None of ours is longer.
const BLOCK_BYTES_MAX: u32 = 2 << 20;
const BLOCK_HEAD_BYTES_MAX: usize = 16;

/// What was found in a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Whole {
    pub blocks: u64,
    /// Where the last whole block ends.
    pub bytes: u64,
    /// What is wrong there; None: there is nothing, or an end, or the begin of one.
    pub why: Option<Damage>,
    /// Whole blocks stand behind that, too.
    pub more: bool,
}

/// The head of a block.
struct Head {
    bytes: usize,
    stored_bytes: usize,
    crc_stored: u32,
}

/// Walks from block to block, and checks what is stored. None: it does not begin as ours do.
pub fn whole_blocks(file: &dyn ReadAt) -> io::Result<Option<Whole>> {
    let mut head = [0; HEAD.len()];
    if read_full_at(file, 0, &mut head)? < HEAD.len() || head != HEAD {
        return Ok(None);
    }
    let mut whole = Whole { blocks: 0, bytes: HEAD.len() as u64, why: None, more: false };
    let mut block = Vec::new();
    loop {
        match block_at(file, whole.bytes, &mut block)? {
            Ok(0) => return Ok(Some(whole)),
            Ok(bytes) => {
                whole.blocks += 1;
                whole.bytes += bytes;
            }
            Err(why) => {
                whole.why = Some(why);
                whole.more = stands_behind(file, whole.bytes)?;
                return Ok(Some(whole));
            }
        }
    }
}

/// How long the whole block there is; 0: the file ends there, or its end mark stands there.
fn block_at(file: &dyn ReadAt, at: u64, block: &mut Vec<u8>) -> io::Result<Result<u64, Damage>> {
    let mut lead = [0; BLOCK_HEAD_BYTES_MAX];
    let read = read_full_at(file, at, &mut lead)?;
    if read <= END.len() && lead[..read] == END[..read] {
        return Ok(Ok(0));
    }
    let head = match Head::read(&lead[..read]) {
        Ok(head) => head,
        Err(why) => return Ok(Err(why)),
    };
    block.resize(head.bytes + head.stored_bytes, 0);
    if read_full_at(file, at, block)? < block.len() {
        return Ok(Err(Damage::Cut));
    }
    let sound = head.agrees(&block[head.bytes..]);
    Ok(if sound { Ok(block.len() as u64) } else { Err(Damage::Stored) })
}

impl Head {
    fn read(bytes: &[u8]) -> Result<Self, Damage> {
        let word = |at: usize| {
            let word = bytes.get(at..).and_then(|rest| rest.first_chunk());
            word.map(|word| u32::from_be_bytes(*word)).ok_or(Damage::Cut)
        };
        let (raw, stored) = (word(0)?, word(4)?);
        if stored == 0 || stored > raw || raw > BLOCK_BYTES_MAX {
            return Err(Damage::Header(HeaderError::Contradiction));
        }
        let (bytes, crc_at) = if stored < raw { (16, 12) } else { (12, 8) };
        Ok(Self { bytes, stored_bytes: stored as usize, crc_stored: word(crc_at)? })
    }

    fn agrees(&self, stored: &[u8]) -> bool {
        checksum(CrcAlgorithm::Crc32IsoHdlc, stored) as u32 == self.crc_stored
    }
}

/// Blocks have no mark to be found by: so wherever one could stand, its checksum decides. Lengths
/// of ours are no text, so that is seldom.
fn stands_behind(file: &dyn ReadAt, from: u64) -> io::Result<bool> {
    let room = BLOCK_HEAD_BYTES_MAX + BLOCK_BYTES_MAX as usize;
    let mut buffer = vec![0; 2 * room];
    let mut at = from + 1;
    loop {
        let read = read_full_at(file, at, &mut buffer)?;
        let ended = read < buffer.len();
        let starts = if ended { read } else { room };
        let stands = |start: usize| {
            let bytes = &buffer[start..read];
            Head::read(bytes).is_ok_and(|head| {
                let stored = bytes[head.bytes..].get(..head.stored_bytes);
                stored.is_some_and(|stored| head.agrees(stored))
            })
        };
        if (0..starts).any(stands) {
            return Ok(true);
        }
        if ended {
            return Ok(false);
        }
        at += starts as u64;
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// A block as its compressor would leave it: as good as any other to who looks at checksums.
    fn block(raw_bytes: u32, stored: &[u8]) -> Vec<u8> {
        let crc = checksum(CrcAlgorithm::Crc32IsoHdlc, stored) as u32;
        let stored_bytes = stored.len() as u32;
        let mut out = [raw_bytes, stored_bytes].map(u32::to_be_bytes).concat();
        if stored_bytes < raw_bytes {
            out.extend_from_slice(&7_u32.to_be_bytes());
        }
        out.extend_from_slice(&crc.to_be_bytes());
        out.extend_from_slice(stored);
        out
    }

    /// Three blocks, without an end; where the head ends, and each of them.
    pub(in crate::storage) fn file() -> (Vec<u8>, Vec<usize>) {
        let mut file = HEAD.to_vec();
        let mut ends = vec![file.len()];
        for block in [block(900, &[b'x'; 300]), block(3, b"abc"), block(5000, b"and more")] {
            file.extend_from_slice(&block);
            ends.push(file.len());
        }
        (file, ends)
    }

    #[test]
    fn cut_at_every_byte_the_whole_blocks_are_found() {
        let (mut file, ends) = file();
        file.extend_from_slice(&END);
        for cut in 0..=file.len() {
            let found = whole_blocks(&&file[..cut]).unwrap();
            let Some(found) = found else {
                assert!(cut < HEAD.len(), "{cut}");
                continue;
            };
            let blocks = ends.iter().filter(|end| **end <= cut).count() - 1;
            assert_eq!((found.blocks, found.bytes), (blocks as u64, ends[blocks] as u64), "{cut}");
            // Zeroes at the front of a length look like the begin of an end.
            let zeroes = file[ends[blocks]..cut].iter().all(|byte| *byte == 0);
            assert_eq!(found.why, (!zeroes).then_some(Damage::Cut), "{cut}");
            assert!(!found.more);
        }
    }

    #[test]
    fn what_stands_behind_a_damaged_block_is_told() {
        for (flip, blocks) in [(20, 0), (6, 0), (330, 1), (345, 2)] {
            let (mut file, ends) = file();
            file[HEAD.len() + flip] ^= 0x11;
            let found = whole_blocks(&&file[..]).unwrap().unwrap();
            assert_eq!((found.blocks, found.bytes), (blocks, ends[blocks as usize] as u64));
            assert_eq!((found.why.is_some(), found.more), (true, blocks < 2), "{flip}");
        }
        // A hole, far from what stands behind it.
        let (mut file, ends) = file();
        file.splice(ends[1]..ends[1], vec![0; 5 << 20]);
        let found = whole_blocks(&&file[..]).unwrap().unwrap();
        assert_eq!((found.blocks, found.more), (1, true));
    }

    #[test]
    fn other_files_are_none() {
        for bytes in [&b""[..], b"text\n", &HEAD[..37], &[0; 100]] {
            assert_eq!(whole_blocks(&bytes).unwrap(), None);
        }
    }
}
