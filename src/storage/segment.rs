//! The segment: a run of blocks, and when it is sealed an index behind them.
//!
//! ```text
//!   [header][data] [header][data] …  open: ends with a whole block, or with a torn one
//!   … [index]                        sealed: lz4, gzip (several empty members when it is long)
//!   … [index] [seek table]           sealed: zstd, in the public seekable format
//! ```
//! The index (`index`) repeats what the headers say: a scan knows a sealed file by building the
//! index anew and comparing.

use std::io;
use std::path::{Path, PathBuf};

use super::block::{BlockHeader, HeaderError, decode_frame};
use super::container::{Container, LEAD_BYTES_MAX};
use super::index::{INDEX_MAGIC, index_frames};
use super::{Disk, DiskFile, ReadAt, catalog, read_full_at, resync, write_all_at};
use crate::limits::BLOCK_HEADER_BYTES_MAX;
use crate::time::Wall;

/// What a writer keeps of each block of an open segment, and what the index stores.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BlockEntry {
    /// Where the header frame begins.
    pub offset: u64,
    pub time_min: Wall,
    pub time_max: Wall,
    pub header_bytes: u32,
    pub stored_bytes: u32,
    pub raw_bytes: u32,
    pub event_count: u32,
    pub crc_raw: u32,
    pub encoder: u8,
}

/// 1 GiB of 16 KiB blocks is 65,536 entries: 3 MiB at this size.
const _: () = assert!(size_of::<BlockEntry>() <= 48);

/// How much of each block a scan looks at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Check {
    /// Headers only: a jump from block to block.
    Headers,
    /// The stored bytes against their checksum, too. Nothing is decompressed.
    Stored,
}

/// How a segment ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// A whole index, and nothing behind it.
    Sealed,
    /// After a whole block, without an index. An empty file is open, too.
    Open,
    /// From `at` on, `bytes` bytes are not a whole block.
    Torn { at: u64, bytes: u64, why: Damage },
    /// Not one of our files: it does not begin with a block header.
    Foreign,
}

/// What is wrong at the place where a scan stops.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Damage {
    #[error("the block is cut short")]
    Cut,
    #[error("{0}")]
    Header(HeaderError),
    #[error("the stored bytes do not match their checksum")]
    Stored,
    #[error("block {found} stands where block {expected} belongs")]
    Sequence { expected: u64, found: u64 },
    #[error("a block of another segment or codec")]
    OtherSegment,
    #[error("the index is not whole")]
    Index,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Scan {
    /// None when there is no block to tell by.
    pub container: Option<Container>,
    pub segment_id: u64,
    pub blocks: Vec<BlockEntry>,
    /// Length of the run of whole blocks: where an index goes, where recovery cuts.
    pub whole_bytes: u64,
    pub file_bytes: u64,
    pub end: End,
}

/// Walks a file block by block. After an end it may be asked again: a growing file is followed.
pub struct Scanner<F> {
    file: F,
    check: Check,
    scan: Scan,
    buffer: Vec<u8>,
}

/// Long enough that a checksum pass reads in large pieces, small enough to stay in the cache.
const BUFFER_BYTES: usize = 256 << 10;

/// Scans to the end. Errors are the disk's; damage is a result.
pub fn scan(file: &dyn ReadAt, check: Check) -> io::Result<Scan> {
    let mut scanner = Scanner::new(file, check)?;
    while scanner.step()?.is_some() {}
    Ok(scanner.scan)
}

impl BlockEntry {
    pub fn new(offset: u64, header_bytes: usize, header: &BlockHeader) -> Self {
        Self {
            offset,
            time_min: header.time_min,
            time_max: header.time_max,
            header_bytes: u32::try_from(header_bytes).expect("a header frame is short"),
            stored_bytes: header.stored_bytes,
            raw_bytes: header.raw_bytes,
            event_count: header.event_count,
            crc_raw: header.crc_raw,
            encoder: header.encoder,
        }
    }

    /// The entry of a sealed block about to be appended at `offset`.
    pub fn of_block(offset: u64, block: &[u8]) -> Result<Self, HeaderError> {
        let (header, header_bytes) = decode_frame(block)?;
        Ok(Self::new(offset, header_bytes, &header))
    }

    pub fn data_offset(&self) -> u64 {
        self.offset + u64::from(self.header_bytes)
    }

    pub fn end_offset(&self) -> u64 {
        self.data_offset() + u64::from(self.stored_bytes)
    }
}

impl Scan {
    pub fn event_count(&self) -> u64 {
        self.blocks.iter().map(|block| u64::from(block.event_count)).sum()
    }
}

impl<F: ReadAt> Scanner<F> {
    pub fn new(file: F, check: Check) -> io::Result<Self> {
        let scan = Scan {
            container: None,
            segment_id: 0,
            blocks: Vec::new(),
            whole_bytes: 0,
            file_bytes: file.bytes()?,
            end: End::Open,
        };
        Ok(Self { file, check, scan, buffer: Vec::new() })
    }

    /// What was found so far; `end` holds once `step` has given None.
    pub fn scan(&self) -> &Scan {
        &self.scan
    }

    /// The next whole block; None at the end, which is then in [`Scan::end`].
    pub fn step(&mut self) -> io::Result<Option<(BlockEntry, BlockHeader)>> {
        self.scan.file_bytes = self.file.bytes()?;
        let at = self.scan.whole_bytes;
        let rest = self.scan.file_bytes.saturating_sub(at);
        if rest == 0 {
            self.scan.end = End::Open;
            return Ok(None);
        }
        match self.block_at(at, rest)? {
            Ok((entry, header)) => {
                self.scan.container = Some(header.container);
                self.scan.segment_id = header.segment_id;
                self.scan.whole_bytes = entry.end_offset();
                self.scan.blocks.push(entry);
                Ok(Some((entry, header)))
            }
            Err(end) => {
                self.scan.end = end;
                Ok(None)
            }
        }
    }

    fn block_at(
        &mut self,
        at: u64,
        rest: u64,
    ) -> io::Result<Result<(BlockEntry, BlockHeader), End>> {
        let torn = |why| Ok(Err(End::Torn { at, bytes: rest, why }));
        let lead_bytes = self.read(at, LEAD_BYTES_MAX)?;
        let Some(lead) = Container::lead(&self.buffer[..lead_bytes]) else {
            let head = &self.buffer[..lead_bytes];
            if Container::may_begin(head) {
                return torn(Damage::Cut);
            }
            // A crash may leave a hole of zeroes where bytes were never written back.
            if self.scan.blocks.is_empty() && at == 0 && !head.iter().all(|byte| *byte == 0) {
                return Ok(Err(End::Foreign));
            }
            return torn(Damage::Header(HeaderError::Magic));
        };
        // A length from a damaged header must not make us read the whole file into memory.
        if lead.frame_bytes as u64 > rest {
            return torn(Damage::Cut);
        }
        let head_bytes = self.read(at, lead.frame_bytes.min(BUFFER_BYTES))?;
        let payload = &self.buffer[lead.lead_bytes.min(head_bytes)..head_bytes];
        if payload.starts_with(&INDEX_MAGIC) && !self.scan.blocks.is_empty() {
            let whole = self.index_is_whole(at, rest)?;
            return if whole { Ok(Err(End::Sealed)) } else { torn(Damage::Index) };
        }
        if lead.frame_bytes > BLOCK_HEADER_BYTES_MAX {
            return torn(Damage::Header(HeaderError::Contradiction));
        }
        let head_bytes = self.read(at, lead.frame_bytes)?;
        let (header, header_bytes) = match decode_frame(&self.buffer[..head_bytes]) {
            Ok(found) => found,
            Err(HeaderError::Magic) if at == 0 => return Ok(Err(End::Foreign)),
            Err(error) => return torn(Damage::Header(error)),
        };
        if let Some(why) = self.out_of_place(&header) {
            return torn(why);
        }
        let entry = BlockEntry::new(at, header_bytes, &header);
        if entry.end_offset() > at + rest {
            return torn(Damage::Cut);
        }
        if self.check == Check::Stored && self.stored_crc(&entry)? != header.crc_stored {
            return torn(Damage::Stored);
        }
        Ok(Ok((entry, header)))
    }

    fn out_of_place(&self, header: &BlockHeader) -> Option<Damage> {
        let expected = self.scan.blocks.len() as u64;
        if let Some(container) = self.scan.container
            && (container != header.container || self.scan.segment_id != header.segment_id)
        {
            return Some(Damage::OtherSegment);
        }
        let found = header.sequence;
        (found != expected).then_some(Damage::Sequence { expected, found })
    }

    fn stored_crc(&mut self, entry: &BlockEntry) -> io::Result<u32> {
        let mut digest = crc_fast::Digest::new(crc_fast::CrcAlgorithm::Crc32Iscsi);
        let (mut at, end) = (entry.data_offset(), entry.end_offset());
        while at < end {
            let read = self.read(at, (end - at).min(BUFFER_BYTES as u64) as usize)?;
            if read == 0 {
                break;
            }
            digest.update(&self.buffer[..read]);
            at += read as u64;
        }
        Ok(digest.finalize() as u32)
    }

    fn index_is_whole(&mut self, at: u64, rest: u64) -> io::Result<bool> {
        let container = self.scan.container.expect("there are blocks");
        let mut expected = Vec::new();
        index_frames(container, self.scan.segment_id, &self.scan.blocks, &mut expected);
        if expected.len() as u64 != rest {
            return Ok(false);
        }
        let read = self.read(at, expected.len())?;
        Ok(self.buffer[..read] == expected)
    }

    fn read(&mut self, at: u64, bytes: usize) -> io::Result<usize> {
        if self.buffer.len() < bytes {
            self.buffer.resize(bytes.max(BUFFER_BYTES), 0);
        }
        read_full_at(&self.file, at, &mut self.buffer[..bytes])
    }
}

/// Makes an open segment a finished one: index behind the last whole block, synced, renamed, the
/// directory synced. Says the finished name. Whatever fails may be asked again with the same
/// arguments; the file stays open and whole until then.
pub fn seal(
    disk: &dyn Disk,
    file: &dyn DiskFile,
    open: &Path,
    container: Container,
    segment_id: u64,
    blocks: &[BlockEntry],
    whole_bytes: u64,
) -> io::Result<PathBuf> {
    write_index(file, container, segment_id, blocks, whole_bytes)?;
    file.sync_data()?;
    catalog::finish(disk, open)
}

/// The first step of sealing: nothing but the index stands behind the last whole block.
pub fn write_index(
    file: &dyn DiskFile,
    container: Container,
    segment_id: u64,
    blocks: &[BlockEntry],
    whole_bytes: u64,
) -> io::Result<()> {
    let mut index = Vec::new();
    index_frames(container, segment_id, blocks, &mut index);
    write_all_at(file, whole_bytes, &index)?;
    file.truncate(whole_bytes + index.len() as u64)
}

/// What the headers say of a segment's first blocks.
pub fn first_blocks(file: &dyn ReadAt, segment_id: u64, count: u64) -> io::Result<Vec<BlockEntry>> {
    let mut scanner = Scanner::new(file, Check::Headers)?;
    while (scanner.scan.blocks.len() as u64) < count {
        let found = scanner.step()?;
        if found.is_none_or(|(_, header)| header.segment_id != segment_id) {
            let what = format!("block {} cannot be read again", scanner.scan.blocks.len());
            return Err(io::Error::new(io::ErrorKind::InvalidData, what));
        }
    }
    Ok(scanner.scan.blocks)
}

/// Counts whole blocks behind `from`: what cutting there would cost.
pub fn whole_blocks_after(file: &dyn ReadAt, from: u64) -> io::Result<u64> {
    let (mut at, mut found) = (from, 0);
    let mut scanner = Scanner::new(file, Check::Stored)?;
    while let Some((entry, header)) = resync::next_block(file, at)? {
        let whole = scanner.stored_crc(&entry)? == header.crc_stored;
        found += u64::from(whole);
        at = if whole { entry.end_offset() } else { entry.data_offset() };
    }
    Ok(found)
}

#[cfg(test)]
pub(super) mod tests {
    use super::super::block::{BlockFacts, HEADER_BYTES, seal_block, stamp};
    use super::super::container::{SKIPPABLE_MAGIC, skippable_lead};
    use super::*;

    /// A segment whose "compressor" copies: this room knows nothing of real ones.
    pub(in crate::storage) fn segment(container: Container, texts: &[&[u8]]) -> Vec<u8> {
        let mut file = Vec::new();
        for (sequence, text) in texts.iter().enumerate() {
            let at = file.len();
            let facts = BlockFacts {
                container,
                encoder: 0,
                event_count: text.iter().filter(|byte| **byte == b'\n').count() as u32,
                time_min: Wall(sequence as i64),
                time_max: Wall(sequence as i64 + 10),
            };
            seal_block(&mut file, &facts, text, |raw, out| {
                out.extend_from_slice(raw);
                Ok::<(), ()>(())
            })
            .unwrap();
            stamp(container, &mut file[at..], 42, sequence as u64);
        }
        file
    }

    const HEADED: [Container; 3] = [Container::Gzip, Container::Lz4, Container::Zstd];
    pub(in crate::storage) const TEXTS: [&[u8]; 3] =
        [b"one\ntwo\n", b"three\n", b"four\nfive\nsix\n"];

    #[test]
    fn cut_at_every_byte_exactly_the_whole_blocks_are_found() {
        for container in HEADED {
            let file = segment(container, &TEXTS);
            let whole = scan(&&file[..], Check::Stored).unwrap();
            assert_eq!((whole.blocks.len(), whole.end), (3, End::Open));
            assert_eq!((whole.event_count(), whole.segment_id), (6, 42));
            for cut in 0..file.len() {
                let ends = whole.blocks.iter().map(BlockEntry::end_offset);
                let kept: Vec<u64> = ends.filter(|end| *end <= cut as u64).collect();
                let found = scan(&&file[..cut], Check::Stored).unwrap();
                let at = kept.last().copied().unwrap_or(0);
                assert_eq!((found.blocks.len(), found.whole_bytes), (kept.len(), at));
                let torn = cut as u64 - at;
                match found.end {
                    End::Open => assert_eq!(torn, 0),
                    End::Torn { at: place, bytes, .. } => assert_eq!((place, bytes), (at, torn)),
                    other => panic!("{container:?} cut at {cut}: {other:?}"),
                }
            }
        }
    }

    #[test]
    fn every_flipped_bit_is_found_in_its_block() {
        for container in HEADED {
            let mut file = segment(container, &TEXTS);
            let whole = scan(&&file[..], Check::Stored).unwrap();
            for bit in 0..file.len() * 8 {
                file[bit / 8] ^= 1 << (bit % 8);
                let found = scan(&&file[..], Check::Stored).unwrap();
                let block = whole.blocks.iter().position(|b| b.end_offset() > bit as u64 / 8);
                assert_eq!(Some(found.blocks.len()), block, "{container:?} bit {bit}");
                assert!(matches!(found.end, End::Torn { .. } | End::Foreign));
                file[bit / 8] ^= 1 << (bit % 8);
            }
        }
    }

    #[test]
    fn an_index_seals_and_any_change_of_it_unseals() {
        for container in HEADED {
            let mut file = segment(container, &TEXTS);
            let open = scan(&&file[..], Check::Stored).unwrap();
            index_frames(container, 42, &open.blocks, &mut file);
            let sealed = scan(&&file[..], Check::Headers).unwrap();
            assert_eq!((sealed.end, &sealed.blocks), (End::Sealed, &open.blocks));
            for at in open.whole_bytes as usize..file.len() {
                file[at] ^= 1;
                let found = scan(&&file[..], Check::Headers).unwrap();
                assert_eq!(found.blocks, open.blocks);
                assert!(matches!(found.end, End::Torn { .. }), "{at} {:?}", found.end);
                file[at] ^= 1;
                let cut = scan(&&file[..at], Check::Headers).unwrap();
                assert_eq!(cut.blocks, open.blocks);
                assert_ne!(cut.end, End::Sealed);
            }
            file.push(0);
            let end = scan(&&file[..], Check::Headers).unwrap().end;
            assert!(matches!(end, End::Torn { why: Damage::Index, .. }));
        }
    }

    #[test]
    fn a_header_with_more_optional_fields_than_a_buffer_holds_is_read() {
        let mut payload = vec![7; HEADER_BYTES + 400_000];
        let (header, _) = decode_frame(&segment(Container::Zstd, &TEXTS[..1])).unwrap();
        BlockHeader { optional_bytes: 400_000, ..header }.encode(&mut payload);
        let mut file = vec![];
        skippable_lead(SKIPPABLE_MAGIC, payload.len() as u32, &mut file);
        file.extend_from_slice(&payload);
        file.extend_from_slice(TEXTS[0]);
        let found = scan(&&file[..], Check::Stored).unwrap();
        assert_eq!((found.blocks.len(), found.end), (1, End::Open));
        file[200_000] ^= 1;
        let end = scan(&&file[..], Check::Stored).unwrap().end;
        assert!(matches!(end, End::Torn { at: 0, .. }));
    }

    #[test]
    fn blocks_out_of_place_and_other_files_are_named() {
        let file = segment(Container::Zstd, &TEXTS);
        let first = scan(&&file[..], Check::Stored).unwrap().blocks[0];
        let doubled = [&file[..first.end_offset() as usize], &file[..]].concat();
        let end = scan(&&doubled[..], Check::Stored).unwrap().end;
        let why = Damage::Sequence { expected: 1, found: 0 };
        assert!(matches!(end, End::Torn { why: found, .. } if found == why), "{end:?}");
        for foreign in [&b"text\n"[..], &[0x28, 0xb5, 0x2f, 0xfd, 1], b"[2M\x18\x04\0\0\0data"] {
            assert_eq!(scan(&foreign, Check::Stored).unwrap().end, End::Foreign);
        }
        assert_eq!(scan(&&b"[*M\x18\0\0\0\x7f"[..], Check::Stored).unwrap().blocks, []);
        let hole = [0_u8; 500];
        assert!(matches!(scan(&&hole[..], Check::Stored).unwrap().end, End::Torn { at: 0, .. }));
        let mut damaged = segment(Container::Lz4, &TEXTS);
        damaged[80] ^= 1;
        assert_eq!(whole_blocks_after(&&damaged[..], 0).unwrap(), 2);
    }
}
