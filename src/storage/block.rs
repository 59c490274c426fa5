//! The block: a header frame that stock tools skip, then one data frame they decode.
//!
//! Payload of the header frame, little-endian:
//! ```text
//!    0  "FLMB"              4   magic
//!    4  version             1   1
//!    5  codec               1   0 none, 1 gzip, 2 lz4, 3 zstd
//!    6  encoder             1   0 raw, 1 line, 2 json, 3 template
//!    7  reserved            1   0
//!    8  segment id          8   the same in all blocks of a file
//!   16  sequence            8   0, 1, 2 … in each segment
//!   24  event count         4
//!   28  raw bytes           4   of the decoded data frame
//!   32  stored bytes        4   of the data frame
//!   36  optional bytes      4   length of the optional fields behind this header
//!   40  time min            8   receive times, ns since 1970
//!   48  time max            8
//!   56  CRC32C raw          4
//!   60  CRC32C stored       4   lets recovery check without decompressing
//!   64  CRC32C header       4   of bytes 0..64 and of the optional fields
//!   68  optional fields         { kind u16, length u16, bytes }*: see `fields`
//! ```
//! Segment id and sequence are known when a block is appended, not when it is compressed (blocks
//! are compressed in parallel, and a failed append may be retried into another segment):
//! [`seal_block`] leaves them zero, [`stamp`] patches them into the same bytes.
//!
//! Codecs `none` and `lzo` have no headers: blocks are what the compressor makes, and stamping does
//! nothing.

use crc_fast::{CrcAlgorithm, Digest};

use super::container::{Container, Lead, tail_is_whole};
use crate::limits::BLOCK_RAW_BYTES_MAX;
use crate::time::Wall;

pub const MAGIC: [u8; 4] = *b"FLMB";
pub const VERSION: u8 = 1;
/// The header without optional fields.
pub const HEADER_BYTES: usize = 68;
pub(super) const ID_AT: usize = 8;
pub(super) const SEQUENCE_AT: usize = 16;
pub(super) const CRC_AT: usize = 64;

/// One block's header, as stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BlockHeader {
    pub container: Container,
    /// The encoder's number; see `codec::Encoding`.
    pub encoder: u8,
    pub segment_id: u64,
    pub sequence: u64,
    pub event_count: u32,
    pub raw_bytes: u32,
    pub stored_bytes: u32,
    pub optional_bytes: u32,
    pub time_min: Wall,
    pub time_max: Wall,
    pub crc_raw: u32,
    pub crc_stored: u32,
}

/// What the sink knows of a block before it is compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BlockFacts {
    pub container: Container,
    pub encoder: u8,
    pub event_count: u32,
    pub time_min: Wall,
    pub time_max: Wall,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HeaderError {
    #[error("cut inside the block header")]
    Short,
    #[error("no block header")]
    Magic,
    #[error("a block of format version {0}; this program reads version {VERSION}")]
    Version(u8),
    #[error("the block header does not match its checksum")]
    Checksum,
    #[error("the block header contradicts itself")]
    Contradiction,
}

/// Bytes in front of the data frame: what [`seal_block`] appends besides the compressor's frame.
pub const fn header_frame_bytes(container: Container) -> usize {
    container.frame_bytes(HEADER_BYTES)
}

/// Appends one block to `out`: room for the header, the frame `compress` appends, then the header.
///
/// On error `out` is as it was. Allocates only when `out` lacks room for
/// [`header_frame_bytes`] and the compressor's bound.
pub fn seal_block<E>(
    out: &mut Vec<u8>,
    facts: &BlockFacts,
    raw: &[u8],
    compress: impl FnOnce(&[u8], &mut Vec<u8>) -> Result<(), E>,
) -> Result<(), E> {
    seal_block_with(out, facts, &[], raw, compress)
}

/// As [`seal_block`], with optional fields behind the header. They are left out where there is
/// none.
pub fn seal_block_with<E>(
    out: &mut Vec<u8>,
    facts: &BlockFacts,
    fields: &[u8],
    raw: &[u8],
    compress: impl FnOnce(&[u8], &mut Vec<u8>) -> Result<(), E>,
) -> Result<(), E> {
    let start = out.len();
    if !facts.container.headed() {
        return compress(raw, out).inspect_err(|_| out.truncate(start));
    }
    assert!(raw.len() <= BLOCK_RAW_BYTES_MAX, "a block of {} bytes", raw.len());
    let payload_at = facts.container.open_frame(HEADER_BYTES + fields.len(), out);
    out[payload_at + HEADER_BYTES..][..fields.len()].copy_from_slice(fields);
    let data_at = out.len();
    if let Err(error) = compress(raw, out) {
        out.truncate(start);
        return Err(error);
    }
    assert!(out.len() > data_at, "a compressor appends a frame, also of nothing");
    let header = BlockHeader {
        container: facts.container,
        encoder: facts.encoder,
        segment_id: 0,
        sequence: 0,
        event_count: facts.event_count,
        raw_bytes: u32::try_from(raw.len()).expect("a block is under 4 GiB"),
        stored_bytes: u32::try_from(out.len() - data_at).expect("a block is under 4 GiB"),
        optional_bytes: u32::try_from(fields.len()).expect("a container holds less"),
        time_min: facts.time_min,
        time_max: facts.time_max,
        crc_raw: crc32c(raw),
        crc_stored: crc32c(&out[data_at..]),
    };
    header.encode(&mut out[payload_at..][..HEADER_BYTES + fields.len()]);
    Ok(())
}

/// Writes segment id and sequence into a sealed block and renews its header's checksum. Costs some
/// tens of nanoseconds: the data frame is not looked at.
pub fn stamp(container: Container, block: &mut [u8], segment_id: u64, sequence: u64) {
    if !container.headed() {
        return;
    }
    let (payload, _) = parts_mut(block);
    place(payload, segment_id, sequence);
    renew_checksum(payload);
}

/// Patches segment id and sequence, and leaves the checksum.
pub(super) fn place(payload: &mut [u8], segment_id: u64, sequence: u64) {
    debug_assert_eq!(payload[..4], MAGIC);
    put(payload, ID_AT, segment_id.to_le_bytes());
    put(payload, SEQUENCE_AT, sequence.to_le_bytes());
}

/// The payload of the header frame that a sealed block begins with, and the data frame behind it.
pub(super) fn parts_mut(block: &mut [u8]) -> (&mut [u8], &[u8]) {
    let lead = Container::lead(block).expect("a sealed block begins with its header frame");
    let (frame, data) = block.split_at_mut(lead.frame_bytes);
    (&mut frame[lead.lead_bytes..lead.lead_bytes + lead.payload_bytes], data)
}

/// After a change of the payload.
pub(super) fn renew_checksum(payload: &mut [u8]) {
    put(payload, CRC_AT, header_crc(payload).to_le_bytes());
}

/// The whole header frame at the start of `bytes`: the header, and how long the frame is.
pub fn decode_frame(bytes: &[u8]) -> Result<(BlockHeader, usize), HeaderError> {
    let (header, fields) = decode_whole(bytes)?;
    Ok((header, header.container.frame_bytes(HEADER_BYTES + fields.len())))
}

/// The whole header frame at the start of `bytes`: the header, and the fields behind it.
pub fn decode_whole(bytes: &[u8]) -> Result<(BlockHeader, &[u8]), HeaderError> {
    let Some(lead) = Container::lead(bytes) else {
        let cut = Container::may_begin(bytes);
        return Err(if cut { HeaderError::Short } else { HeaderError::Magic });
    };
    let payload = frame_payload(lead, bytes)?;
    let header = BlockHeader::decode(payload)?;
    if (header.container == Container::Gzip) != lead.gzip {
        return Err(HeaderError::Contradiction);
    }
    Ok((header, &payload[HEADER_BYTES..]))
}

/// What the front of a header frame says, that may be longer than `bytes` and is then not checked:
/// enough to guess by, not to believe.
pub fn glance(bytes: &[u8]) -> Option<BlockHeader> {
    match decode_frame(bytes) {
        Ok((header, _)) => Some(header),
        Err(HeaderError::Short) => {
            let lead = Container::lead(bytes)?;
            let payload = bytes.get(lead.lead_bytes..)?.get(..HEADER_BYTES)?;
            let header = BlockHeader::read(payload).filter(|_| payload.starts_with(&MAGIC))?;
            let gzip = header.container == Container::Gzip;
            let sane = header.container.headed() && gzip == lead.gzip;
            (payload[4] == VERSION && sane).then_some(header)
        }
        Err(_) => None,
    }
}

/// The payload of a header frame whose tail is in order.
pub(super) fn frame_payload(lead: Lead, bytes: &[u8]) -> Result<&[u8], HeaderError> {
    let frame = bytes.get(..lead.frame_bytes).ok_or(HeaderError::Short)?;
    let (payload, tail) = frame[lead.lead_bytes..].split_at(lead.payload_bytes);
    if tail_is_whole(lead, tail) { Ok(payload) } else { Err(HeaderError::Checksum) }
}

impl BlockHeader {
    /// Writes the fixed fields and the checksum of them and of what is behind them in `payload`.
    pub fn encode(&self, payload: &mut [u8]) {
        payload[..4].copy_from_slice(&MAGIC);
        payload[4..8].copy_from_slice(&[VERSION, self.container.wire_id(), self.encoder, 0]);
        put(payload, 8, self.segment_id.to_le_bytes());
        put(payload, 16, self.sequence.to_le_bytes());
        put(payload, 24, self.event_count.to_le_bytes());
        put(payload, 28, self.raw_bytes.to_le_bytes());
        put(payload, 32, self.stored_bytes.to_le_bytes());
        put(payload, 36, self.optional_bytes.to_le_bytes());
        put(payload, 40, self.time_min.0.to_le_bytes());
        put(payload, 48, self.time_max.0.to_le_bytes());
        put(payload, 56, self.crc_raw.to_le_bytes());
        put(payload, 60, self.crc_stored.to_le_bytes());
        put(payload, CRC_AT, header_crc(payload).to_le_bytes());
    }

    pub fn decode(payload: &[u8]) -> Result<Self, HeaderError> {
        if !payload.starts_with(&MAGIC) {
            return Err(HeaderError::Magic);
        }
        if payload.len() < HEADER_BYTES {
            return Err(HeaderError::Short);
        }
        // The checksum first: a flipped version byte is damage, not a newer program.
        if header_crc(payload).to_le_bytes() != payload[CRC_AT..HEADER_BYTES] {
            return Err(HeaderError::Checksum);
        }
        if payload[4] != VERSION {
            return Err(HeaderError::Version(payload[4]));
        }
        let header = Self::read(payload).ok_or(HeaderError::Contradiction)?;
        let whole = payload.len() == HEADER_BYTES + header.optional_bytes as usize;
        let sane = whole
            && header.stored_bytes > 0
            && header.raw_bytes as usize <= BLOCK_RAW_BYTES_MAX
            && header.container.headed();
        if sane { Ok(header) } else { Err(HeaderError::Contradiction) }
    }

    /// The fixed fields, unchecked.
    fn read(payload: &[u8]) -> Option<Self> {
        Some(Self {
            container: Container::from_wire_id(payload[5])?,
            encoder: payload[6],
            segment_id: u64::from_le_bytes(take(payload, 8)),
            sequence: u64::from_le_bytes(take(payload, 16)),
            event_count: u32::from_le_bytes(take(payload, 24)),
            raw_bytes: u32::from_le_bytes(take(payload, 28)),
            stored_bytes: u32::from_le_bytes(take(payload, 32)),
            optional_bytes: u32::from_le_bytes(take(payload, 36)),
            time_min: Wall(i64::from_le_bytes(take(payload, 40))),
            time_max: Wall(i64::from_le_bytes(take(payload, 48))),
            crc_raw: u32::from_le_bytes(take(payload, 56)),
            crc_stored: u32::from_le_bytes(take(payload, 60)),
        })
    }
}

/// CRC-32C (Castagnoli): the polynomial with an instruction on every server.
pub fn crc32c(bytes: &[u8]) -> u32 {
    crc_fast::checksum(CrcAlgorithm::Crc32Iscsi, bytes) as u32
}

/// Of everything in the payload but the checksum itself.
fn header_crc(payload: &[u8]) -> u32 {
    if payload.len() == HEADER_BYTES {
        return crc32c(&payload[..CRC_AT]);
    }
    let mut digest = Digest::new(CrcAlgorithm::Crc32Iscsi);
    digest.update(&payload[..CRC_AT]);
    digest.update(&payload[HEADER_BYTES..]);
    digest.finalize() as u32
}

pub(super) fn put<const N: usize>(bytes: &mut [u8], at: usize, value: [u8; N]) {
    bytes[at..at + N].copy_from_slice(&value);
}

/// Callers have checked the length.
pub(super) fn take<const N: usize>(bytes: &[u8], at: usize) -> [u8; N] {
    bytes[at..at + N].try_into().expect("a slice of N bytes")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn facts(container: Container) -> BlockFacts {
        let (time_min, time_max) = (Wall(-5), Wall(1_700_000_000_000_000_000));
        BlockFacts { container, encoder: 2, event_count: 3, time_min, time_max }
    }

    fn copy(raw: &[u8], out: &mut Vec<u8>) -> Result<(), ()> {
        out.extend_from_slice(raw);
        Ok(())
    }

    #[test]
    fn a_sealed_block_says_what_it_holds_and_a_stamp_changes_only_its_place() {
        for container in [Container::Gzip, Container::Lz4, Container::Zstd] {
            let mut out = b"earlier".to_vec();
            seal_block(&mut out, &facts(container), b"abc", copy).unwrap();
            let block = &mut out[7..];
            let (first, frame_bytes) = decode_frame(block).unwrap();
            assert_eq!(frame_bytes, header_frame_bytes(container));
            assert_eq!(&block[frame_bytes..], b"abc");
            assert_eq!((first.raw_bytes, first.stored_bytes, first.event_count), (3, 3, 3));
            assert_eq!((first.crc_raw, first.crc_stored), (0x364B_3FB7, 0x364B_3FB7));
            stamp(container, block, 7, 9);
            let (second, _) = decode_frame(block).unwrap();
            assert_eq!(second, BlockHeader { segment_id: 7, sequence: 9, ..first });
        }
    }

    #[test]
    fn every_bit_of_a_header_frame_counts() {
        for container in [Container::Gzip, Container::Zstd] {
            let mut out = Vec::new();
            seal_block(&mut out, &facts(container), b"abc", copy).unwrap();
            out.truncate(header_frame_bytes(container));
            for bit in 0..out.len() * 8 {
                out[bit / 8] ^= 1 << (bit % 8);
                decode_frame(&out).unwrap_err();
                out[bit / 8] ^= 1 << (bit % 8);
            }
            for cut in 0..out.len() {
                assert_eq!(decode_frame(&out[..cut]), Err(HeaderError::Short), "cut at {cut}");
            }
            decode_frame(&out).unwrap();
        }
    }

    #[test]
    fn optional_fields_are_skipped_and_covered_by_the_checksum() {
        let mut sealed = Vec::new();
        seal_block(&mut sealed, &facts(Container::Zstd), b"abc", copy).unwrap();
        let (header, _) = decode_frame(&sealed).unwrap();
        let mut payload = vec![0; HEADER_BYTES + 9];
        payload[HEADER_BYTES..].copy_from_slice(b"something");
        BlockHeader { optional_bytes: 9, ..header }.encode(&mut payload);
        assert_eq!(BlockHeader::decode(&payload).unwrap().optional_bytes, 9);
        payload[HEADER_BYTES + 3] ^= 1;
        assert_eq!(BlockHeader::decode(&payload), Err(HeaderError::Checksum));
    }

    #[test]
    fn a_long_header_is_known_by_its_front() {
        for container in [Container::Gzip, Container::Lz4, Container::Zstd] {
            let mut out = Vec::new();
            seal_block_with(&mut out, &facts(container), &[7; 3000], b"abc", copy).unwrap();
            let (header, bytes) = decode_frame(&out).unwrap();
            assert_eq!((bytes, &out[bytes..]), (container.frame_bytes(3068), &b"abc"[..]));
            assert_eq!(decode_whole(&out).unwrap().1, [7; 3000]);
            assert_eq!((glance(&out), glance(&out[..512])), (Some(header), Some(header)));
            out[container.lead_bytes()] ^= 1;
            assert_eq!(glance(&out[..512]), None);
        }
        assert_eq!(glance(b"some text that is long enough to be a header of ours, and more"), None);
    }

    #[test]
    fn a_failed_compressor_leaves_nothing_and_plain_text_has_no_header() {
        let mut out = b"kept".to_vec();
        seal_block(&mut out, &facts(Container::Zstd), b"abc", |_, out| {
            out.push(1);
            Err(())
        })
        .unwrap_err();
        assert_eq!(out, b"kept");
        seal_block(&mut out, &facts(Container::Plain), b"abc\n", copy).unwrap();
        stamp(Container::Plain, &mut out, 1, 1);
        assert_eq!(out, b"keptabc\n");
    }
}
