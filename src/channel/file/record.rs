//! Records: what a segment of the channel's log is made of. Pure functions over bytes.
//!
//! ```text
//!   ┌────────────┬──────────────────┬───────────────┐
//!   │ head 256 B │ bytes of a batch │ slots         │   everything in frames of 4 KiB:
//!   └────────────┴──────────────────┴───────────────┘   a record begins and ends with one
//!   spread: the batch's own frames follow the head's frame, so that they can be written from
//!   where they lie; packed: bytes and slots stand right behind the head (small batches, states);
//!   wrapped: compressed or encrypted (`wrap`), as one payload.
//!
//!   head, little-endian
//!     0 magic "FLMR"   4 version u8   5 kind u8 (1 batch, 2 state)   6 codec u8   7 contiguous u8
//!     8 log u64       16 segment u64  24 seq u64         32 events before u64  40 bytes before u64
//!    48 record bytes u32   52 payload at u32   56 slots at u32   60 stored bytes u32
//!    64 tail u32   68 slots u32   72 stride u8   73 cipher u8   76 events u32   80 event bytes u64
//!    88 base i64   96 time min i64   104 time max i64   112 marks 4 × u32
//!   128 key u32   132 nonce 12 B   144 tag 16 B   248 CRC32C of the payload   252 of the head
//! ```
//! `log` is a random number of the whole channel, so that nothing an event may contain can be taken
//! for a record; `seq` counts batches. `events before` and `bytes before` count what was put before
//! this record since the log began: the difference over a gap is what the gap cost.

use super::wrap::stands_behind_head;
use crate::event::{Mark, Outline};
use crate::storage::block::crc32c;
use crate::time::Wall;

/// Records begin and end with whole frames of this size.
pub const FRAME: usize = 4096;
pub const HEAD_BYTES: usize = 256;
pub const MAGIC: &[u8; 4] = b"FLMR";
pub const VERSION: u8 = 1;
/// No log comes so far: whatever says more is damaged, and sums of two never overflow.
pub const COUNT_MAX: u64 = 1 << 60;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// One batch.
    Batch,
    /// What was delivered so far: the first record of every segment, and more of them later.
    State,
}

/// What the halves of a batch are compressed with.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Codec {
    #[default]
    None,
    /// A raw block each, without a frame.
    Lz4,
}

/// What the payload is encrypted with (RFC 5116).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Cipher {
    #[default]
    None,
    Aes256Gcm,
    ChaCha20Poly1305,
}

pub const NONCE_BYTES: usize = 12;
pub const TAG_BYTES: usize = 16;
/// The head up to here is bound to the payload by the tag that stands here.
const TAG_AT: usize = 144;

/// Everything a record says of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Head {
    pub kind: Kind,
    pub codec: Codec,
    /// The channel's random number.
    pub log: u64,
    /// Number of the segment it was written to.
    pub segment: u64,
    /// Number of the batch; of a state, the number of the next batch.
    pub seq: u64,
    pub events_before: u64,
    pub bytes_before: u64,
    /// All of it, in whole frames.
    pub record_bytes: u32,
    /// Where the payload begins, counted from the head.
    pub payload_at: u32,
    /// Where the slots begin.
    pub slots_at: u32,
    /// Of a payload that is wrapped; of a state, its length.
    pub stored_bytes: u32,
    pub outline: Outline,
    pub cipher: Cipher,
    /// Which key it is encrypted with; 0: none.
    pub key: u32,
    pub nonce: [u8; NONCE_BYTES],
    pub tag: [u8; TAG_BYTES],
    /// Of the payload as it is stored.
    pub payload_crc: u32,
}

/// Why bytes are no record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Damage {
    #[error("no record begins there")]
    NoRecord,
    #[error("the record's head has a wrong checksum")]
    Head,
    #[error("the record was written by version {0}, and this program knows version {VERSION}")]
    Version(u8),
    #[error("the record's head contradicts itself")]
    Contradiction,
    #[error("the record's content has a wrong checksum")]
    Payload,
    #[error("the record's content cannot be decrypted with key {0}: it was altered")]
    Refused(u32),
    #[error("the record's content cannot be decompressed")]
    Packed,
    #[error("the record is cut off")]
    Cut,
}

impl Head {
    /// A head that says how a batch is written from where it lies.
    pub fn spread(outline: Outline, frames: (usize, usize)) -> Self {
        let record_bytes = FRAME + frames.0 + frames.1;
        let slots_at = record_bytes - outline.slot_bytes();
        Self {
            record_bytes: bytes_of(record_bytes),
            payload_at: bytes_of(FRAME),
            slots_at: bytes_of(slots_at),
            ..Self::empty(Kind::Batch, outline)
        }
    }

    /// A head whose payload stands right behind it: of a batch, the slots behind the bytes.
    pub fn packed(kind: Kind, outline: Outline, payload_bytes: usize) -> Self {
        Self {
            record_bytes: bytes_of((HEAD_BYTES + payload_bytes).next_multiple_of(FRAME)),
            payload_at: bytes_of(HEAD_BYTES),
            slots_at: bytes_of(HEAD_BYTES) + outline.tail,
            stored_bytes: bytes_of(payload_bytes),
            ..Self::empty(kind, outline)
        }
    }

    /// The head of a batch that is wrapped: `first` bytes are of its text, of `stored` in all.
    pub fn wrapped(codec: Codec, outline: Outline, first: usize, stored: usize) -> Self {
        let payload_at = if stands_behind_head(stored) { HEAD_BYTES } else { FRAME };
        Self {
            codec,
            record_bytes: bytes_of((payload_at + stored).next_multiple_of(FRAME)),
            payload_at: bytes_of(payload_at),
            slots_at: bytes_of(payload_at + first),
            stored_bytes: bytes_of(stored),
            ..Self::empty(Kind::Batch, outline)
        }
    }

    fn empty(kind: Kind, outline: Outline) -> Self {
        Self {
            kind,
            codec: Codec::None,
            log: 0,
            segment: 0,
            seq: 0,
            events_before: 0,
            bytes_before: 0,
            record_bytes: 0,
            payload_at: 0,
            slots_at: 0,
            stored_bytes: 0,
            outline,
            cipher: Cipher::None,
            key: 0,
            nonce: [0; NONCE_BYTES],
            tag: [0; TAG_BYTES],
            payload_crc: 0,
        }
    }

    /// Bytes and slots stand in the record as they stood in memory.
    pub fn is_plain(&self) -> bool {
        self.codec == Codec::None && self.cipher == Cipher::None
    }

    /// What encryption binds to the payload: all that the head says up to the tag.
    pub fn bound(&self) -> [u8; TAG_AT] {
        *self.encode().first_chunk().expect("the head is longer")
    }

    pub fn encode(&self) -> [u8; HEAD_BYTES] {
        let mut raw = [0; HEAD_BYTES];
        let mut put = |at: usize, bytes: &[u8]| raw[at..at + bytes.len()].copy_from_slice(bytes);
        let outline = &self.outline;
        put(0, MAGIC);
        let kind = match self.kind {
            Kind::Batch => 1,
            Kind::State => 2,
        };
        put(4, &[VERSION, kind, u8::from(self.codec == Codec::Lz4), outline.contiguous.into()]);
        let longs = [self.log, self.segment, self.seq, self.events_before, self.bytes_before];
        (8..).step_by(8).zip(longs).for_each(|(at, value)| put(at, &value.to_le_bytes()));
        let words = [
            self.record_bytes,
            self.payload_at,
            self.slots_at,
            self.stored_bytes,
            outline.tail,
            outline.slots,
            u32::from(outline.stride),
            outline.events,
        ];
        (48..).step_by(4).zip(words).for_each(|(at, value)| put(at, &value.to_le_bytes()));
        put(80, &outline.event_bytes.to_le_bytes());
        let times = [outline.base, outline.time_min, outline.time_max];
        (88..).step_by(8).zip(times).for_each(|(at, time)| put(at, &time.0.to_le_bytes()));
        let marks = (112..).step_by(4).zip(outline.marks);
        marks.for_each(|(at, count)| put(at, &count.to_le_bytes()));
        let cipher = match self.cipher {
            Cipher::None => 0,
            Cipher::Aes256Gcm => 1,
            Cipher::ChaCha20Poly1305 => 2,
        };
        put(73, &[cipher]);
        put(128, &self.key.to_le_bytes());
        put(132, &self.nonce);
        put(TAG_AT, &self.tag);
        put(248, &self.payload_crc.to_le_bytes());
        let crc = crc32c(&raw[..252]);
        raw[252..].copy_from_slice(&crc.to_le_bytes());
        raw
    }

    /// Reads a head, which is then sound in itself: everything it names lies inside its record.
    pub fn decode(raw: &[u8]) -> Result<Self, Damage> {
        let Some(raw) = raw.first_chunk::<HEAD_BYTES>() else { return Err(Damage::Cut) };
        if !raw.starts_with(MAGIC) {
            return Err(Damage::NoRecord);
        }
        if u32_at(raw, 252) != crc32c(&raw[..252]) {
            return Err(Damage::Head);
        }
        if raw[4] != VERSION {
            return Err(Damage::Version(raw[4]));
        }
        let kind = match raw[5] {
            1 => Kind::Batch,
            2 => Kind::State,
            _ => return Err(Damage::Contradiction),
        };
        let codec = match raw[6] {
            0 => Codec::None,
            1 => Codec::Lz4,
            _ => return Err(Damage::Contradiction),
        };
        let cipher = match raw[73] {
            0 => Cipher::None,
            1 => Cipher::Aes256Gcm,
            2 => Cipher::ChaCha20Poly1305,
            _ => return Err(Damage::Contradiction),
        };
        let mut marks = [0; Mark::COUNT];
        (112..).step_by(4).zip(&mut marks).for_each(|(at, mark)| *mark = u32_at(raw, at));
        let outline = Outline {
            tail: u32_at(raw, 64),
            slots: u32_at(raw, 68),
            stride: raw[72],
            contiguous: raw[7] == 1,
            events: u32_at(raw, 76),
            event_bytes: u64_at(raw, 80),
            base: Wall(u64_at(raw, 88) as i64),
            time_min: Wall(u64_at(raw, 96) as i64),
            time_max: Wall(u64_at(raw, 104) as i64),
            marks,
        };
        let head = Self {
            kind,
            codec,
            log: u64_at(raw, 8),
            segment: u64_at(raw, 16),
            seq: u64_at(raw, 24),
            events_before: u64_at(raw, 32),
            bytes_before: u64_at(raw, 40),
            record_bytes: u32_at(raw, 48),
            payload_at: u32_at(raw, 52),
            slots_at: u32_at(raw, 56),
            stored_bytes: u32_at(raw, 60),
            outline,
            cipher,
            key: u32_at(raw, 128),
            nonce: *raw[132..].first_chunk().expect("124 bytes hold 12"),
            tag: *raw[TAG_AT..].first_chunk().expect("112 bytes hold 16"),
            payload_crc: u32_at(raw, 248),
        };
        if head.is_sound() { Ok(head) } else { Err(Damage::Contradiction) }
    }

    fn is_sound(&self) -> bool {
        let record = u64::from(self.record_bytes);
        let payload = u64::from(self.payload_at);
        let end = payload + u64::from(self.stored_bytes);
        let slots = u64::from(self.slots_at);
        let (tail, slot_bytes) = (u64::from(self.outline.tail), self.outline.slot_bytes() as u64);
        let halves = match self.kind {
            Kind::State => true,
            // No half is longer than what it unpacks to.
            Kind::Batch if !self.is_plain() => {
                (payload..=payload + tail).contains(&slots)
                    && (slots..=slots + slot_bytes).contains(&end)
            }
            Kind::Batch => payload + tail <= slots && slots + slot_bytes <= record,
        };
        let counts = [self.seq, self.events_before, self.bytes_before, self.outline.event_bytes];
        record.is_multiple_of(FRAME as u64)
            && counts.iter().all(|count| *count <= COUNT_MAX)
            && self.record_bytes <= RECORD_BYTES_MAX
            && self.outline.body_bytes() <= crate::limits::BATCH_BYTES_MAX
            && payload >= HEAD_BYTES as u64
            && end <= record
            && halves
    }
}

/// No record is longer: a head, the largest batch, and what whole frames add.
pub const RECORD_BYTES_MAX: u32 = (crate::limits::BATCH_BYTES_MAX + 4 * FRAME) as u32;

/// CRC32C over the two halves of a payload.
pub fn payload_crc(bytes: &[u8], slots: &[u8]) -> u32 {
    let mut digest = crc_fast::Digest::new(crc_fast::CrcAlgorithm::Crc32Iscsi);
    digest.update(bytes);
    digest.update(slots);
    digest.finalize() as u32
}

fn bytes_of(count: usize) -> u32 {
    crate::limits::u32_of(count)
}

fn u32_at(raw: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(*raw[at..].first_chunk().expect("the head has it"))
}

fn u64_at(raw: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(*raw[at..].first_chunk().expect("the head has it"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn head() -> Head {
        let outline = Outline {
            tail: 5000,
            slots: 7,
            stride: 1,
            contiguous: true,
            events: 5,
            event_bytes: 4995,
            base: Wall(-3),
            time_min: Wall(-3),
            time_max: Wall(9),
            marks: [1, 2, 3, 4],
        };
        Head {
            log: 1,
            segment: 2,
            seq: 3,
            events_before: 4,
            bytes_before: 5,
            cipher: Cipher::ChaCha20Poly1305,
            codec: Codec::None,
            key: 6,
            nonce: [7; NONCE_BYTES],
            tag: [9; TAG_BYTES],
            payload_crc: 8,
            ..Head::wrapped(Codec::None, outline, 5000, 5000 + 7 * 16)
        }
    }

    #[test]
    fn a_head_comes_back_as_it_was() {
        assert_eq!(Head::decode(&head().encode()), Ok(head()));
        let packed = Head::packed(Kind::State, Outline::default(), 77);
        assert_eq!(Head::decode(&packed.encode()), Ok(packed));
        assert_eq!(packed.record_bytes as usize, FRAME);
        let spread = Head::spread(head().outline, (8192, 4096));
        assert_eq!(Head::decode(&spread.encode()), Ok(spread));
        let wrapped = Head::wrapped(Codec::Lz4, head().outline, 70, 75);
        assert_eq!(Head::decode(&wrapped.encode()), Ok(wrapped));
    }

    #[test]
    fn a_newer_version_is_named_and_nothing_else_is_a_record() {
        let mut raw = head().encode();
        raw[4] = 9;
        let crc = crc32c(&raw[..252]);
        raw[252..].copy_from_slice(&crc.to_le_bytes());
        assert_eq!(Head::decode(&raw), Err(Damage::Version(9)));
        assert_eq!(Head::decode(&[0; 256]), Err(Damage::NoRecord));
        assert_eq!(Head::decode(&raw[..255]), Err(Damage::Cut));
    }

    proptest! {
        /// One flipped bit anywhere is noticed.
        #[test]
        fn a_flipped_bit_is_noticed(bit in 0usize..256 * 8) {
            let mut raw = head().encode();
            raw[bit / 8] ^= 1 << (bit % 8);
            prop_assert!(Head::decode(&raw).is_err());
        }

        /// A forged head with a right checksum names nothing outside its record.
        #[test]
        fn a_forged_head_is_sound_or_refused(words in prop::collection::vec(any::<u32>(), 6)) {
            let mut raw = head().encode();
            for (at, word) in [48, 52, 56, 60, 64, 68].into_iter().zip(words) {
                raw[at..at + 4].copy_from_slice(&(word % 20_000).to_le_bytes());
            }
            let crc = crc32c(&raw[..252]);
            raw[252..].copy_from_slice(&crc.to_le_bytes());
            if let Ok(head) = Head::decode(&raw) {
                prop_assert!(head.payload_at + head.stored_bytes <= head.record_bytes);
            }
        }
    }
}
