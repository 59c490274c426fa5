//! What a batch is wrapped in when it does not stand in the log as it stood in memory.
//!
//! ```text
//!   bytes ── lz4 ──┐
//!                  ├──▶ payload ── AES-256-GCM or ChaCha20-Poly1305 ──▶ record
//!   slots ── lz4 ──┘                bound to the head in front of it
//! ```
//! Each half is packed by itself, so that it can be unpacked to where it belongs. A half that does
//! not shrink stands as it is: as many bytes as it unpacks to. Nonces are 96 random bits, so a key
//! is good for 2³² records (NIST SP 800-38D 8.3): more than a year of 100 a second.

use std::io;
use std::sync::Arc;

use lz4_flex::block::{
    CompressTable, compress_into_with_table, decompress_into, get_maximum_output_size,
};

use super::keys::{Keys, Locked};
use super::record::{Cipher, Codec, Damage, FRAME, HEAD_BYTES, Head, Kind};
use super::scan::ReadError;
use crate::event::Page;
use crate::limits::{self, usize_of};

/// How batches are to be stored.
#[derive(Clone)]
pub(super) struct Wrapping {
    pub(super) codec: Codec,
    pub(super) cipher: Cipher,
    pub(super) keys: Arc<Keys>,
}

impl Wrapping {
    pub(super) fn is_none(&self) -> bool {
        self.codec == Codec::None && self.cipher == Cipher::None
    }
}

/// Wraps one batch at a time.
pub(super) struct Wrapper {
    wrapping: Wrapping,
    packer: Option<Packer>,
    /// The payload in memory that is aligned to frames; none when nothing is wrapped.
    out: Option<Page>,
}

struct Packer {
    table: CompressTable,
    /// `lz4_flex` wants room for the worst case.
    scratch: Vec<u8>,
}

impl Wrapper {
    pub(super) fn new(wrapping: Wrapping) -> Self {
        let out = (!wrapping.is_none()).then(|| Page::new(limits::BATCH_BYTES_MAX));
        let packer = (wrapping.codec == Codec::Lz4).then(|| Packer {
            table: CompressTable::large(),
            scratch: vec![0; get_maximum_output_size(limits::BATCH_BYTES_MAX)],
        });
        Self { wrapping, packer, out }
    }

    /// Memory that wrapping takes.
    pub(super) fn memory_bytes(wrapping: (Codec, Cipher)) -> usize {
        let page = limits::BATCH_BYTES_MAX + limits::PAGE_HEADER_BYTES;
        match wrapping {
            (Codec::None, Cipher::None) => 0,
            (Codec::None, _) => 2 * page,
            (Codec::Lz4, _) => 3 * page,
        }
    }

    pub(super) fn is_none(&self) -> bool {
        self.out.is_none()
    }

    /// A state is not secret, but it tells which key its segment is written with, and proves it.
    pub(super) fn sign(&self, head: &mut Head) {
        if self.wrapping.cipher != Cipher::None {
            self.wrapping.keys.seal(self.wrapping.cipher, head, &mut []);
        }
    }

    /// The payload of a batch, and how its head tells it; `fill` completes the head before it is
    /// sealed. Behind the payload are zeroes to a whole frame.
    pub(super) fn wrap(&mut self, page: &Page, fill: impl FnOnce(Head) -> Head) -> (Head, &[u8]) {
        let out = self.out.as_mut().expect("asked only when something is wrapped").spare_mut();
        let (bytes, slots) = (page.used(), page.slot_image());
        let packer = &mut self.packer;
        let first = put(packer, bytes, out);
        let stored = first + put(packer, slots, &mut out[first..]);
        let mut head = fill(Head::wrapped(self.wrapping.codec, page.outline(), first, stored));
        if self.wrapping.cipher != Cipher::None {
            self.wrapping.keys.seal(self.wrapping.cipher, &mut head, &mut out[..stored]);
        }
        head.payload_crc = super::record::payload_crc(&out[..stored], &[]);
        let whole = stored.next_multiple_of(FRAME).min(out.len());
        out[stored..whole].fill(0);
        (head, &out[..whole])
    }
}

/// Puts a half where it belongs; says how many bytes it takes there.
fn put(packer: &mut Option<Packer>, raw: &[u8], out: &mut [u8]) -> usize {
    if let Some(Packer { table, scratch }) = packer {
        let room = get_maximum_output_size(raw.len());
        let packed = compress_into_with_table(raw, &mut scratch[..room], table);
        if let Ok(bytes) = packed.map(|bytes| &scratch[..bytes])
            && bytes.len() < raw.len()
        {
            out[..bytes.len()].copy_from_slice(bytes);
            return bytes.len();
        }
    }
    out[..raw.len()].copy_from_slice(raw);
    raw.len()
}

/// Unwraps what was read.
pub(super) struct Unwrapper {
    keys: Arc<Keys>,
    stored: Vec<u8>,
}

impl Unwrapper {
    pub(super) fn new(keys: Arc<Keys>) -> Self {
        Self { keys, stored: Vec::new() }
    }

    /// Room for a payload as it is stored.
    pub(super) fn stored_mut(&mut self, head: &Head) -> &mut [u8] {
        // Grows to the largest record and stays.
        self.stored.resize(usize_of(head.stored_bytes), 0);
        &mut self.stored
    }

    /// Unwraps what was read into `stored_mut` to the halves of a batch.
    pub(super) fn unwrap(
        &mut self,
        head: &Head,
        bytes: &mut [u8],
        slots: &mut [u8],
    ) -> Result<(), ReadError> {
        debug_assert!(head.kind == Kind::Batch);
        if head.cipher != Cipher::None {
            self.keys.open(head, &mut self.stored).map_err(locked)?;
        }
        let first = usize_of(head.slots_at - head.payload_at);
        let (packed_bytes, packed_slots) = self.stored.split_at(first);
        take(packed_bytes, bytes)?;
        Ok(take(packed_slots, slots)?)
    }
}

/// A key that is not there may come, so nothing is given up for it.
pub(super) fn locked(locked: Locked) -> ReadError {
    match locked {
        Locked::NoKey { .. } => ReadError::Io(io::Error::other(locked.to_string())),
        Locked::Refused(key) => ReadError::Damaged(Damage::Refused(key)),
    }
}

fn take(packed: &[u8], raw: &mut [u8]) -> Result<(), Damage> {
    if packed.len() == raw.len() {
        raw.copy_from_slice(packed);
        return Ok(());
    }
    match decompress_into(packed, raw) {
        Ok(bytes) if bytes == raw.len() => Ok(()),
        _ => Err(Damage::Packed),
    }
}

/// Where the payload of a wrapped batch stands: behind its head, or in frames of its own.
pub(super) fn stands_behind_head(stored: usize) -> bool {
    HEAD_BYTES + stored <= super::log::PACKED_BYTES_MAX
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::{EventHead, Marks, Origin};
    use crate::time::Wall;
    use proptest::prelude::*;

    fn page(texts: &[Vec<u8>]) -> Page {
        let mut page = Page::new(limits::BATCH_BYTES_MAX);
        page.clear(1);
        let origin = page.push_origin(Origin::LOCAL).expect("room");
        for (at, text) in (0..).zip(texts) {
            let head = EventHead { at: Wall(at), origin, pri: None, marks: Marks::NONE };
            page.append_event(text, head).expect("room");
        }
        page
    }

    fn keys() -> Arc<Keys> {
        Arc::new(Keys::parse("keys", &format!("3 {}", "0f".repeat(32))).expect("a key"))
    }

    proptest! {
        #[test]
        fn what_is_wrapped_comes_back(
            texts in prop::collection::vec(prop_oneof![
                prop::collection::vec(any::<u8>(), 0..200),
                (0usize..4000).prop_map(|bytes| vec![b'x'; bytes]),
            ], 0..60),
            codec in prop::sample::select(vec![Codec::None, Codec::Lz4]),
            cipher in prop::sample::select(
                vec![Cipher::None, Cipher::Aes256Gcm, Cipher::ChaCha20Poly1305]),
            strike in any::<prop::sample::Index>(),
        ) {
            prop_assume!(codec != Codec::None || cipher != Cipher::None);
            let page = page(&texts);
            let mut wrapper = Wrapper::new(Wrapping { codec, cipher, keys: keys() });
            let (head, payload) = wrapper.wrap(&page, |head| Head { seq: 7, ..head });
            prop_assert_eq!(Head::decode(&head.encode()), Ok(head));
            let stored = &payload[..usize_of(head.stored_bytes)];
            let outline = page.outline();
            let (mut bytes, mut slots) =
                (vec![0; usize_of(outline.tail)], vec![0; outline.slot_bytes()]);
            let mut unwrapper = Unwrapper::new(keys());
            unwrapper.stored_mut(&head).copy_from_slice(stored);
            prop_assert!(unwrapper.unwrap(&head, &mut bytes, &mut slots).is_ok());
            prop_assert_eq!((&bytes[..], &slots[..]), (page.used(), page.slot_image()));
            if cipher != Cipher::None && !stored.is_empty() {
                unwrapper.stored_mut(&head).copy_from_slice(stored);
                unwrapper.stored[strike.index(stored.len())] ^= 1;
                let refused = unwrapper.unwrap(&head, &mut bytes, &mut slots);
                let refused = matches!(refused, Err(ReadError::Damaged(Damage::Refused(3))));
                prop_assert!(refused);
            }
        }
    }

    #[test]
    fn text_that_repeats_takes_less_room() {
        let page = page(&vec![b"the same again and again".to_vec(); 500]);
        let wrapping = Wrapping { codec: Codec::Lz4, cipher: Cipher::None, keys: keys() };
        let mut wrapper = Wrapper::new(wrapping);
        let (head, _) = wrapper.wrap(&page, |head| head);
        assert!(usize_of(head.stored_bytes) < page.outline().body_bytes() / 4);
    }
}
