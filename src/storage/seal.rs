//! The optional header field `seal`: how many blocks a file has, signed.
//!
//! A seal stands in a block of its own, the last one, which holds no events: so whoever reads
//! blocks, or frames of a stock format, reads it as one with nothing in it.
//!
//! ```text
//!    0  version              1   1
//!    1  signature            1   0 none, 1 Ed25519
//!    2  blocks               8   before this one
//!   10  events               8   in all of them
//!   18  chain value         32   of the last of them
//!   50  key                 32   SHA-256 of the public key (its SubjectPublicKeyInfo), or zeroes
//!   82  signature           64   or zeroes
//! ```
//! Signed are the 14 bytes `flumen seal 1` and LF, the segment id (8 bytes), and bytes 2 to 81.

use std::sync::Arc;

use super::block::{BlockFacts, put, seal_block_with, take};
use super::chain::{self, CHAIN_FIELD_BYTES, Hash};
use super::container::Container;
use super::fields::{SEAL, put_field};
use super::seal_key::{Fingerprint, SIGNATURE_BYTES, SigningKey, VerifyingKey};
use super::segment::BlockEntry;
use crate::time::Wall;

const VERSION: u8 = 1;
const NONE: u8 = 0;
const ED25519: u8 = 1;
const FACTS_AT: usize = 2;
const KEY_AT: usize = 50;
const SIGNATURE_AT: usize = 82;
const BYTES: usize = SIGNATURE_AT + SIGNATURE_BYTES;
const SUBJECT: &[u8; 14] = b"flumen seal 1\n";
const MESSAGE_BYTES: usize = SUBJECT.len() + 8 + SIGNATURE_AT - FACTS_AT;
/// Both fields of the block, with their heads.
const FIELDS_BYTES: usize = 4 + BYTES + CHAIN_FIELD_BYTES;

/// What a seal says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seal {
    pub blocks: u64,
    pub events: u64,
    pub value: Hash,
    /// Whose signature it is, and the signature; None: nobody's.
    signed: Option<(Fingerprint, [u8; SIGNATURE_BYTES])>,
}

/// What makes seals.
pub struct Sealer {
    pub container: Container,
    /// A data frame that decodes to nothing.
    pub empty: Vec<u8>,
    pub key: Option<Arc<SigningKey>>,
}

impl Sealer {
    /// The block that ends a file of these blocks, whose last chain value this is. Made again, it
    /// is the same: so a failure to write it needs no memory of it.
    pub fn block(&self, segment_id: u64, blocks: &[BlockEntry], value: Hash) -> Vec<u8> {
        let events = blocks.iter().map(|block| u64::from(block.event_count)).sum();
        let mut seal = Seal { blocks: blocks.len() as u64, events, value, signed: None };
        if let Some(key) = &self.key {
            let signer = key.fingerprint();
            let message = seal.message(segment_id, &signer);
            seal.signed = Some((signer, key.sign(&message)));
        }
        let mut fields = Vec::with_capacity(FIELDS_BYTES);
        put_field(&mut fields, SEAL, |out| seal.encode(out));
        chain::put_room(&mut fields);
        // Within the file's times, so that a search by time meets nothing new.
        let last = blocks.iter().map(|block| block.time_max).max().unwrap_or(Wall(0));
        let facts = BlockFacts {
            container: self.container,
            encoder: blocks.last().map_or(0, |block| block.encoder),
            event_count: 0,
            time_min: last,
            time_max: last,
        };
        let mut block = Vec::new();
        let copy = |_: &[u8], out: &mut Vec<u8>| {
            out.extend_from_slice(&self.empty);
            Ok::<(), std::convert::Infallible>(())
        };
        let Ok(()) = seal_block_with(&mut block, &facts, &fields, b"", copy);
        chain::link(&mut block);
        chain::stamp(&mut block, segment_id, blocks.len() as u64, &value);
        block
    }
}

impl Seal {
    /// None when it is none that this program knows.
    pub fn decode(field: &[u8]) -> Option<Self> {
        let known = field.len() == BYTES && field[0] == VERSION;
        let signed = match *field.get(1)? {
            _ if !known => return None,
            NONE => None,
            ED25519 => Some((Fingerprint(take(field, KEY_AT)), take(field, SIGNATURE_AT))),
            _ => return None,
        };
        Some(Self {
            blocks: u64::from_le_bytes(take(field, FACTS_AT)),
            events: u64::from_le_bytes(take(field, FACTS_AT + 8)),
            value: Hash(take(field, FACTS_AT + 16)),
            signed,
        })
    }

    fn encode(&self, out: &mut Vec<u8>) {
        let mut field = [0; BYTES];
        field[..2].copy_from_slice(&[VERSION, NONE]);
        put(&mut field, FACTS_AT, self.facts());
        if let Some((signer, signature)) = &self.signed {
            field[1] = ED25519;
            put(&mut field, KEY_AT, signer.0);
            put(&mut field, SIGNATURE_AT, *signature);
        }
        out.extend_from_slice(&field);
    }

    /// Which key it was signed with.
    pub fn signer(&self) -> Option<Fingerprint> {
        self.signed.as_ref().map(|(signer, _)| *signer)
    }

    /// Whether the key signed this, of this file.
    pub fn is_signed_by(&self, key: &VerifyingKey, segment_id: u64) -> bool {
        self.signed.as_ref().is_some_and(|(signer, signature)| {
            *signer == key.fingerprint() && key.verify(&self.message(segment_id, signer), signature)
        })
    }

    fn facts(&self) -> [u8; KEY_AT - FACTS_AT] {
        let mut facts = [0; KEY_AT - FACTS_AT];
        put(&mut facts, 0, self.blocks.to_le_bytes());
        put(&mut facts, 8, self.events.to_le_bytes());
        put(&mut facts, 16, self.value.0);
        facts
    }

    fn message(&self, segment_id: u64, signer: &Fingerprint) -> [u8; MESSAGE_BYTES] {
        let mut message = [0; MESSAGE_BYTES];
        put(&mut message, 0, *SUBJECT);
        put(&mut message, SUBJECT.len(), segment_id.to_le_bytes());
        put(&mut message, SUBJECT.len() + 8, self.facts());
        put(&mut message, MESSAGE_BYTES - 32, signer.0);
        message
    }
}

#[cfg(test)]
mod tests {
    use super::super::block::{HEADER_BYTES, decode_whole};
    use super::super::fields::find;
    use super::super::index::index_frames;
    use super::super::seal_key::tests::{PRIVATE, PUBLIC};
    use super::super::segment::tests::{TEXTS, segment};
    use super::super::segment::{Check, End, scan};
    use super::*;

    fn sealer(container: Container, key: Option<SigningKey>) -> Sealer {
        Sealer { container, empty: b"nothing".to_vec(), key: key.map(Arc::new) }
    }

    #[test]
    fn a_seal_is_the_last_block_and_says_what_is_before_it() {
        let public = VerifyingKey::from_pem(PUBLIC.as_bytes()).unwrap();
        for container in [Container::Gzip, Container::Lz4, Container::Zstd] {
            let mut file = segment(container, &TEXTS);
            let mut blocks = scan(&&file[..], Check::Stored).unwrap().blocks;
            let value = Hash([7; 32]);
            let key = || SigningKey::from_pem(PRIVATE.as_bytes()).unwrap();
            let block = sealer(container, Some(key())).block(42, &blocks, value);
            assert_eq!(block, sealer(container, Some(key())).block(42, &blocks, value));
            let (header, fields) = decode_whole(&block).unwrap();
            assert_eq!((header.event_count, header.raw_bytes, header.sequence), (0, 0, 3));
            assert_eq!((header.time_min, header.time_max), (Wall(12), Wall(12)));
            assert_eq!(fields.len(), FIELDS_BYTES);
            let seal = Seal::decode(find(fields, SEAL).unwrap()).unwrap();
            assert_eq!((seal.blocks, seal.events, seal.value), (3, 6, value));
            assert!(seal.is_signed_by(&public, 42) && !seal.is_signed_by(&public, 43));
            for change in [
                |seal: &mut Seal| seal.blocks += 1,
                |seal: &mut Seal| seal.events -= 1,
                |seal: &mut Seal| seal.value.0[31] ^= 1,
                |seal: &mut Seal| seal.signed.as_mut().unwrap().1[63] ^= 1,
                |seal: &mut Seal| seal.signed.as_mut().unwrap().0.0[0] ^= 1,
            ] {
                let mut other = seal.clone();
                change(&mut other);
                assert!(!other.is_signed_by(&public, 42), "{other:?}");
            }
            blocks.push(BlockEntry::of_block(file.len() as u64, &block).unwrap());
            file.extend_from_slice(&block);
            index_frames(container, 42, &blocks, &mut file);
            let found = scan(&&file[..], Check::Stored).unwrap();
            assert_eq!((found.end, found.blocks), (End::Sealed, blocks));
        }
    }

    #[test]
    fn a_seal_of_nobody_and_one_that_is_not_known() {
        let blocks = scan(&&segment(Container::Zstd, &TEXTS)[..], Check::Stored).unwrap().blocks;
        let block = sealer(Container::Zstd, None).block(42, &blocks, Hash::START);
        let at = Container::Zstd.lead_bytes() + HEADER_BYTES + 4;
        let mut field = block[at..at + BYTES].to_vec();
        let seal = Seal::decode(&field).unwrap();
        assert_eq!(seal.signer(), None);
        let public = VerifyingKey::from_pem(PUBLIC.as_bytes()).unwrap();
        assert!(!seal.is_signed_by(&public, 42));
        assert_eq!(Seal::decode(&field[1..]), None);
        assert_eq!(Seal::decode(&[]), None);
        field[1] = 2;
        assert_eq!(Seal::decode(&field), None);
    }
}
