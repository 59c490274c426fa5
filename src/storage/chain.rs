//! The optional header field `chain`: what a block is, and what stands before it, as two hashes.
//!
//! ```text
//!    0  version              1   1
//!    1  block hash          32   BLAKE3 of bytes 0 to 63 of the header, segment id and sequence
//!                                being 0, of the fields before this one, and of the data frame
//!   33  chain value         32   BLAKE3 of the chain value of the block before (of the first:
//!                                zeroes), segment id 8, sequence 8, and the block hash
//! ```
//! It is the last of the fields, so that it covers the others. The block hash is known when a block
//! is compressed, by whichever thread ([`link`]); the chain value when it is appended ([`stamp`]),
//! which costs a hash of 80 bytes.
//!
//! Whoever alters, removes, inserts or moves a block has to make all chain values behind it anew.
//! That he can, for there is nothing secret in them; but not the signature of the last (`seal`).

use std::fmt;

use super::block::{CRC_AT, HEADER_BYTES, ID_AT, SEQUENCE_AT};
use super::block::{frame_payload, parts_mut, place, put, renew_checksum, take};
use super::container::Container;
use super::fields::{CHAIN, last, put_field};

const VERSION: u8 = 1;
const BYTES: usize = 1 + 2 * HASH_BYTES;
const HASH_AT: usize = 1;
const VALUE_AT: usize = HASH_AT + HASH_BYTES;
const HASH_BYTES: usize = 32;
/// With its head.
pub const CHAIN_FIELD_BYTES: usize = 4 + BYTES;

/// A hash, or a chain value: that of a block and all before it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Hash(pub [u8; HASH_BYTES]);

/// What a block says of itself and of what stands before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Link {
    pub segment_id: u64,
    pub sequence: u64,
    pub hash: Hash,
    pub value: Hash,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ChainError {
    #[error("its hash is of version {0}; this program reads version {VERSION}")]
    Version(u8),
    #[error("the field with its hash contradicts itself")]
    Contradiction,
    #[error("it was altered: it does not match its BLAKE3 hash")]
    Altered,
}

impl Hash {
    /// In front of the first block.
    pub const START: Self = Self([0; HASH_BYTES]);
}

impl fmt::Display for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// Appends the field, for [`link`] and [`stamp`] to fill.
pub fn put_room(fields: &mut Vec<u8>) {
    put_field(fields, CHAIN, |out| {
        out.push(VERSION);
        out.resize(out.len() + 2 * HASH_BYTES, 0);
    });
}

/// Hashes a sealed block that has not been stamped, into its field.
pub fn link(block: &mut [u8]) {
    let (payload, data) = parts_mut(block);
    let field = payload.len() - BYTES;
    let (header, fields) = payload[..field - 4].split_at(HEADER_BYTES);
    let hash = block_hash(header, fields, data);
    put(payload, field + HASH_AT, hash.0);
    renew_checksum(payload);
}

/// As `block::stamp`, of a block that [`link`] has seen: its chain value, too, which is answered.
pub fn stamp(block: &mut [u8], segment_id: u64, sequence: u64, before: &Hash) -> Hash {
    let (payload, _) = parts_mut(block);
    let field = payload.len() - BYTES;
    debug_assert_eq!(payload[field], VERSION);
    place(payload, segment_id, sequence);
    let hash = Hash(take(payload, field + HASH_AT));
    let value = next(before, segment_id, sequence, &hash);
    put(payload, field + VALUE_AT, value.0);
    renew_checksum(payload);
    value
}

/// The chain value of a block that stands behind `before`.
pub fn next(before: &Hash, segment_id: u64, sequence: u64, hash: &Hash) -> Hash {
    let mut hasher = blake3::Hasher::new();
    hasher.update(&before.0);
    hasher.update(&segment_id.to_le_bytes());
    hasher.update(&sequence.to_le_bytes());
    hasher.update(&hash.0);
    Hash(*hasher.finalize().as_bytes())
}

/// What a block says, its header frame being whole, compared with its bytes; None when it has no
/// such field.
pub fn read(frame: &[u8], data: &[u8]) -> Result<Option<Link>, ChainError> {
    let lead = Container::lead(frame).ok_or(ChainError::Contradiction)?;
    let payload = frame_payload(lead, frame).map_err(|_| ChainError::Contradiction)?;
    let (header, fields) =
        payload.split_at_checked(HEADER_BYTES).ok_or(ChainError::Contradiction)?;
    let Some((before, CHAIN, field)) = last(fields) else {
        // Other fields may be of a kind that nobody here knows, but not this one.
        let there = super::fields::find(fields, CHAIN).is_some();
        return if there { Err(ChainError::Contradiction) } else { Ok(None) };
    };
    match field {
        [VERSION, ..] if field.len() == BYTES => {}
        [version, ..] if *version > VERSION => return Err(ChainError::Version(*version)),
        _ => return Err(ChainError::Contradiction),
    }
    let hash = Hash(take(field, HASH_AT));
    if block_hash(header, before, data) != hash {
        return Err(ChainError::Altered);
    }
    Ok(Some(Link {
        segment_id: u64::from_le_bytes(take(header, ID_AT)),
        sequence: u64::from_le_bytes(take(header, SEQUENCE_AT)),
        hash,
        value: Hash(take(field, VALUE_AT)),
    }))
}

/// Of what does not depend on where the block stands.
fn block_hash(header: &[u8], fields: &[u8], data: &[u8]) -> Hash {
    let mut fixed: [u8; CRC_AT] = take(header, 0);
    fixed[ID_AT..SEQUENCE_AT + 8].fill(0);
    let mut hasher = blake3::Hasher::new();
    hasher.update(&fixed).update(fields).update(data);
    Hash(*hasher.finalize().as_bytes())
}

#[cfg(test)]
mod tests {
    use super::super::block::{BlockFacts, decode_frame, seal_block_with};
    use super::super::fields::{META, find};
    use super::*;
    use crate::time::Wall;

    const HEADED: [Container; 3] = [Container::Gzip, Container::Lz4, Container::Zstd];

    fn block(container: Container, text: &[u8]) -> Vec<u8> {
        let (time_min, time_max) = (Wall(1), Wall(2));
        let facts = BlockFacts { container, encoder: 0, event_count: 1, time_min, time_max };
        let (mut fields, mut block) = (Vec::new(), Vec::new());
        put_field(&mut fields, META, |out| out.extend_from_slice(b"of whatever kind"));
        put_room(&mut fields);
        let copy = |raw: &[u8], out: &mut Vec<u8>| {
            out.extend_from_slice(raw);
            Ok::<(), ()>(())
        };
        seal_block_with(&mut block, &facts, &fields, text, copy).unwrap();
        link(&mut block);
        block
    }

    fn read_block(block: &[u8]) -> Result<Option<Link>, ChainError> {
        let (_, frame_bytes) = decode_frame(block).unwrap();
        read(&block[..frame_bytes], &block[frame_bytes..])
    }

    #[test]
    fn a_link_says_what_stands_before_it() {
        for container in HEADED {
            let (mut before, mut values) = (Hash::START, Vec::new());
            for sequence in 0..3 {
                let mut block = block(container, b"text");
                // Stamped again after a failure elsewhere, it is as if stamped once.
                stamp(&mut block, 7, 12, &Hash([9; 32]));
                let value = stamp(&mut block, 42, sequence, &before);
                let link = read_block(&block).unwrap().expect("a link");
                assert_eq!((link.segment_id, link.sequence, link.value), (42, sequence, value));
                assert_eq!(next(&before, 42, sequence, &link.hash), value);
                assert_eq!(find(&block[container.lead_bytes() + 68..], META).unwrap().len(), 16);
                values.push(value);
                before = value;
            }
            assert!(values[0] != values[1] && values[1] != values[2]);
        }
    }

    /// By the checksums that whoever altered it has mended.
    #[test]
    fn any_other_byte_of_a_block_is_another_hash() {
        for container in HEADED {
            let mut whole = block(container, b"some text of a block");
            stamp(&mut whole, 42, 3, &Hash::START);
            let link = read_block(&whole).unwrap().unwrap();
            let payload = container.lead_bytes()..container.lead_bytes() + HEADER_BYTES;
            let field = decode_frame(&whole).unwrap().1 - CHAIN_FIELD_BYTES;
            let field = if container == Container::Gzip { field - 10 } else { field };
            for at in payload.start + 40..whole.len() {
                let skipped = (payload.start + CRC_AT..payload.end).contains(&at)
                    || (payload.end..payload.end + 4).contains(&at)
                    || (field..field + CHAIN_FIELD_BYTES + 10).contains(&at);
                if skipped {
                    continue;
                }
                let mut other = whole.clone();
                other[at] ^= 4;
                renew_checksum(parts_mut(&mut other).0);
                assert_eq!(read_block(&other), Err(ChainError::Altered), "{container:?} {at}");
            }
            // Elsewhere it is the same block, with another chain value.
            let value = stamp(&mut whole, 42, 4, &Hash::START);
            assert_eq!(read_block(&whole).unwrap().unwrap().hash, link.hash);
            assert_ne!(value, link.value);
        }
    }

    #[test]
    fn a_field_that_is_newer_or_not_the_last_is_told() {
        let mut newer = block(Container::Zstd, b"text");
        let (payload, _) = parts_mut(&mut newer);
        let at = payload.len() - BYTES;
        payload[at] = 2;
        renew_checksum(payload);
        assert_eq!(read_block(&newer), Err(ChainError::Version(2)));
        let mut hidden = block(Container::Zstd, b"text");
        let (payload, _) = parts_mut(&mut hidden);
        // The field before ends one byte later, and takes the last one's front with it.
        payload[HEADER_BYTES + 2] += 1;
        renew_checksum(payload);
        assert_eq!(read_block(&hidden), Ok(None), "no field, for the lengths contradict");
        assert_eq!(Hash([0xA5; 32]).to_string(), "a5".repeat(32));
    }
}
