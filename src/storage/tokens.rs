//! The optional header field `tokens`: which words a block holds, so that a search for one that is
//! not among them passes the block over without decoding it.
//!
//! A word is a run of `[0-9A-Za-z_]`, its letters made small; every other byte is between words.
//!
//! ```text
//!    0  version              1   1
//!    1  bits of a word       1   7
//!    2  lines                2   a power of two
//!    4  CRC32C               4   of the four bytes before
//!    8  lines             64 × n   480 bits and the CRC32C of their 60 bytes
//! ```
//! A blocked Bloom filter: all bits of a word are in one line, so that one short read answers, and
//! the line's own checksum makes the answer one to rely on: a damaged line holds every word.
//!
//! A filter begins with 512 lines and is folded in half while few enough of its bits are set. A
//! block with too many words for it has none, nor has one with `ſ` or `K` (the Kelvin sign), which
//! in a search that ignores case are an s and a k: those blocks are always searched.

use std::io;

use super::block::{HEADER_BYTES, MAGIC, crc32c};
use super::container::Container;
use super::fields::{TOKENS, put_field};
use super::segment::BlockEntry;
use super::{ReadAt, read_full_at};

const VERSION: u8 = 1;
const FRONT_BYTES: usize = 8;
const LINE_BYTES: usize = 64;
const LINE_BITS: u64 = 480;
const BITS_OF_A_WORD: u64 = 7;
const LINES_MAX: usize = 512;
/// Folded while no more than this share of the bits is set: 0.4⁷ of other words seem to be there.
const FULL_PERCENT: usize = 40;
/// Beyond this a filter answers next to nothing.
const USELESS_PERCENT: usize = 80;
/// Field head, front and lines.
pub const TOKENS_FIELD_BYTES_MAX: usize = 4 + FRONT_BYTES + LINES_MAX * LINE_BYTES;

/// A word's hash. The same in every version of this program.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Word(u64);

/// Of each byte: the small letter, digit or underscore that it is; 0 between words; 1 and 2 where
/// `ſ` or `K` may begin.
const KINDS: [u8; 256] = kinds();
const LONG_S: u8 = 1;
const KELVIN: u8 = 2;

const fn kinds() -> [u8; 256] {
    let mut kinds = [0; 256];
    let mut byte = 0;
    while byte < 128 {
        let it = byte as u8;
        if it.is_ascii_alphanumeric() || it == b'_' {
            kinds[byte] = it.to_ascii_lowercase();
        }
        byte += 1;
    }
    kinds[0xC5] = LONG_S;
    kinds[0xE2] = KELVIN;
    kinds
}

/// Whether a byte stands in words.
pub fn in_words(byte: u8) -> bool {
    KINDS[usize::from(byte)] > KELVIN
}

const EMPTY: u64 = 0xCBF2_9CE4_8422_2325;

#[inline]
fn step(hash: u64, small: u8) -> u64 {
    (hash ^ u64::from(small)).wrapping_mul(0x9E37_79B9_7F4A_7C15).rotate_left(29)
}

impl Word {
    /// Of the bytes of one word, in either case.
    pub fn new(word: &[u8]) -> Self {
        debug_assert!(word.iter().all(|byte| in_words(*byte)));
        let hash = |hash, byte: &u8| step(hash, KINDS[usize::from(*byte)]);
        Self::mixed(word.iter().fold(EMPTY, hash))
    }

    #[inline]
    fn mixed(hash: u64) -> Self {
        let mixed = (hash ^ hash >> 32).wrapping_mul(0xD6E8_FEB8_6659_FD93);
        Self(mixed ^ mixed >> 29)
    }

    #[inline]
    fn line(self, lines: usize) -> usize {
        (self.0 >> 48) as usize & (lines - 1)
    }

    #[inline]
    fn bits(self) -> impl Iterator<Item = (usize, u64)> {
        let (first, apart) = (self.0 & 0xFF_FFFF, self.0 >> 24 & 0xFF_FFFF | 1);
        (0..BITS_OF_A_WORD).map(move |number| {
            let bit = (first + number * apart) % LINE_BITS;
            ((bit / 64) as usize, 1 << (bit % 64))
        })
    }
}

/// Makes filters. Used again, it allocates nothing.
pub struct TokenSieve {
    lines: Vec<[u64; 8]>,
}

impl Default for TokenSieve {
    fn default() -> Self {
        Self { lines: vec![[0; 8]; LINES_MAX] }
    }
}

impl TokenSieve {
    pub const BYTES: usize = LINES_MAX * LINE_BYTES;

    /// Appends the field of a block of these bytes, of at most `room` bytes; or nothing.
    pub fn sift(&mut self, raw: &[u8], room: usize, out: &mut Vec<u8>) {
        self.lines.fill([0; 8]);
        if !self.take(raw) {
            return;
        }
        let mut lines = LINES_MAX;
        let field_bytes = |lines: usize| 4 + FRONT_BYTES + lines * LINE_BYTES;
        while lines > 1 {
            let full =
                self.set_if_folded(lines / 2) * 100 > lines / 2 * LINE_BITS as usize * FULL_PERCENT;
            if full && field_bytes(lines) <= room {
                break;
            }
            lines /= 2;
            let (lower, upper) = self.lines.split_at_mut(lines);
            for (lower, upper) in lower.iter_mut().zip(upper) {
                lower.iter_mut().zip(upper).for_each(|(low, high)| *low |= *high);
            }
        }
        let set: usize = self.lines[..lines].iter().flatten().map(ones).sum();
        let useless = set * 100 > lines * LINE_BITS as usize * USELESS_PERCENT;
        if useless || field_bytes(lines) > room {
            return;
        }
        put_field(out, TOKENS, |out| {
            let start = out.len();
            out.extend_from_slice(&[VERSION, BITS_OF_A_WORD as u8]);
            out.extend_from_slice(&(lines as u16).to_le_bytes());
            let crc = crc32c(&out[start..]);
            out.extend_from_slice(&crc.to_le_bytes());
            for line in &self.lines[..lines] {
                let at = out.len();
                line.iter().for_each(|word| out.extend_from_slice(&word.to_le_bytes()));
                let crc = crc32c(&out[at..at + LINE_BYTES - 4]);
                out[at + LINE_BYTES - 4..].copy_from_slice(&crc.to_le_bytes());
            }
        });
    }

    fn set_if_folded(&self, lines: usize) -> usize {
        let (lower, rest) = self.lines.split_at(lines);
        let pairs = lower.iter().flatten().zip(rest[..lines].iter().flatten());
        pairs.map(|(low, high)| ones(&(low | high))).sum()
    }

    /// False: these bytes can have no filter.
    fn take(&mut self, raw: &[u8]) -> bool {
        let mut hash = EMPTY;
        for (at, byte) in raw.iter().enumerate() {
            let kind = KINDS[usize::from(*byte)];
            if kind > KELVIN {
                hash = step(hash, kind);
                continue;
            }
            if hash != EMPTY {
                self.put(Word::mixed(hash));
                hash = EMPTY;
            }
            let strange = match kind {
                LONG_S => raw[at..].starts_with("ſ".as_bytes()),
                KELVIN => raw[at..].starts_with("\u{212A}".as_bytes()),
                _ => false,
            };
            if strange {
                return false;
            }
        }
        if hash != EMPTY {
            self.put(Word::mixed(hash));
        }
        true
    }

    #[inline]
    fn put(&mut self, word: Word) {
        let line = &mut self.lines[word.line(LINES_MAX)];
        word.bits().for_each(|(at, bit)| line[at] |= bit);
    }
}

fn ones(word: &u64) -> usize {
    word.count_ones() as usize
}

/// Whether a block may hold all words of one of these lists. Reads two short pieces of its header;
/// what is damaged, newer or not there may hold everything.
pub fn may_hold(file: &dyn ReadAt, entry: &BlockEntry, any_of: &[Vec<Word>]) -> io::Result<bool> {
    let mut head = [0; 16 + HEADER_BYTES + 4 + FRONT_BYTES];
    let read = read_full_at(file, entry.offset, &mut head)?;
    let Some((lines_at, lines)) = front(&head[..read]) else { return Ok(true) };
    let lines_at = entry.offset + lines_at as u64;
    if lines_at + (lines * LINE_BYTES) as u64 > entry.data_offset() {
        return Ok(true);
    }
    for all_of in any_of {
        let mut may = true;
        for word in all_of {
            may = may && holds(file, lines_at, lines, *word)?;
        }
        if may {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Where the lines of the filter begin, which is the first field if there is one, and how many.
fn front(head: &[u8]) -> Option<(usize, usize)> {
    let lead = Container::lead(head)?;
    let payload = head.get(lead.lead_bytes..)?;
    let field = payload.get(HEADER_BYTES..)?;
    let (kind, front) = (field.get(..2)?, field.get(4..4 + FRONT_BYTES)?);
    let ours = payload.starts_with(&MAGIC)
        && kind == TOKENS.to_le_bytes()
        && crc32c(&front[..4]).to_le_bytes() == front[4..]
        && front[..2] == [VERSION, BITS_OF_A_WORD as u8];
    let lines = usize::from(u16::from_le_bytes([front[2], front[3]]));
    let lines_at = lead.lead_bytes + HEADER_BYTES + 4 + FRONT_BYTES;
    (ours && lines.is_power_of_two()).then_some((lines_at, lines))
}

fn holds(file: &dyn ReadAt, lines_at: u64, lines: usize, word: Word) -> io::Result<bool> {
    let mut line = [0; LINE_BYTES];
    let at = lines_at + (word.line(lines) * LINE_BYTES) as u64;
    let read = read_full_at(file, at, &mut line)?;
    let (bits, crc) = line.split_at(LINE_BYTES - 4);
    if read < LINE_BYTES || crc32c(bits).to_le_bytes() != crc {
        return Ok(true);
    }
    let set = |(at, bit): (usize, u64)| {
        bits[8 * at + bit.trailing_zeros() as usize / 8] >> (bit.trailing_zeros() % 8) & 1 == 1
    };
    Ok(word.bits().all(set))
}

#[cfg(test)]
mod tests {
    use super::super::block::{BlockFacts, seal_block_with};
    use super::*;
    use crate::time::Wall;
    use proptest::prelude::*;

    fn block(container: Container, raw: &[u8], room: usize) -> (Vec<u8>, BlockEntry) {
        let mut fields = Vec::new();
        TokenSieve::default().sift(raw, room, &mut fields);
        assert!(fields.len() <= room);
        let (time_min, time_max) = (Wall(0), Wall(0));
        let facts = BlockFacts { container, encoder: 0, event_count: 1, time_min, time_max };
        let mut file = b"before".to_vec();
        seal_block_with(&mut file, &facts, &fields, raw, |raw, out| {
            out.extend_from_slice(raw);
            Ok::<(), ()>(())
        })
        .unwrap();
        let entry = BlockEntry::of_block(6, &file[6..]).unwrap();
        (file, entry)
    }

    fn may(file: &[u8], entry: &BlockEntry, words: &[&str]) -> bool {
        let words = words.iter().map(|word| Word::new(word.as_bytes())).collect();
        may_hold(&file, entry, &[words]).unwrap()
    }

    #[test]
    fn words_that_are_there_are_found_and_few_others() {
        let text: String = (0..5500)
            .map(|n| {
                format!("<14>Oct 11 22:14:15 web{} Sshd[{n}]: id=\u{e4}x{n}y 10.0.{n}\n", n % 9)
            })
            .collect();
        for container in [Container::Gzip, Container::Lz4, Container::Zstd] {
            let (file, entry) = block(container, text.as_bytes(), TOKENS_FIELD_BYTES_MAX);
            assert!((4 << 10..40 << 10).contains(&entry.header_bytes), "{}", entry.header_bytes);
            for word in ["sshd", "SSHD", "web7", "x4711y", "14", "id"] {
                assert!(may(&file, &entry, &[word]), "{word}");
            }
            assert!(may(&file, &entry, &["oct", "x1y"]));
            assert!(!may(&file, &entry, &["oct", "needle"]));
            let others = (0..5000).filter(|n| may(&file, &entry, &[&format!("needle{n}")]));
            assert!(others.count() < 50, "one in a hundred");
        }
    }

    #[test]
    fn a_damaged_filter_holds_everything() {
        let (mut file, entry) = block(Container::Zstd, b"one two three\n", 1 << 16);
        assert!(!may(&file, &entry, &["four"]));
        for at in 6 + 8 + HEADER_BYTES..entry.data_offset() as usize {
            file[at] ^= 1 << (at % 8);
            assert!(may(&file, &entry, &["one"]) || at < 6 + 8 + HEADER_BYTES, "{at}");
            file[at] ^= 1 << (at % 8);
        }
        for (text, room) in [("K\u{212A}\n", 1 << 16), ("a ſ\n", 1 << 16), ("one\n", 40)] {
            let (file, entry) = block(Container::Zstd, text.as_bytes(), room);
            assert!(may(&file, &entry, &["four"]), "{text}");
        }
        let many: String = (0..400_000).map(|n| format!("{n:x} ")).collect();
        let (file, entry) = block(Container::Zstd, many.as_bytes(), 1 << 16);
        assert_eq!(entry.header_bytes as usize, 8 + HEADER_BYTES, "too many words for a filter");
        assert!(may(&file, &entry, &["four"]));
    }

    proptest! {
        #[test]
        fn no_word_of_a_block_is_missed(raw in prop::collection::vec(any::<u8>(), 1..3000),
            room in 0_usize..2000) {
            let (file, entry) = block(Container::Gzip, &raw, room);
            for word in raw.split(|byte| !in_words(*byte)).filter(|word| !word.is_empty()) {
                prop_assert!(may(&file, &entry, &[std::str::from_utf8(word).unwrap()]));
            }
        }
    }
}
