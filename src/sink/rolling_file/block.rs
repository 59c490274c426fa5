//! A finished block on its way to a file, and the press that makes it.

use std::path::Path;
use std::sync::Arc;

use super::level::Governor;
use crate::channel::{Amount, Parcel};
use crate::codec::encoders::Encoder;
use crate::codec::{Codec, Compressor};
use crate::memory::ReceiptSlip;
use crate::storage::Container;
use crate::storage::avro::{self, BLOCK_EXTRA_BYTES, Marker};
use crate::storage::block::{BlockFacts, HEADER_BYTES, header_frame_bytes, seal_block_with};
use crate::storage::chain::{self, CHAIN_FIELD_BYTES};
use crate::storage::tokens::{TOKENS_FIELD_BYTES_MAX, TokenSieve};
use crate::time::Wall;

/// Where a block belongs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Place {
    /// Path without codec suffix.
    pub(super) stem: Arc<Path>,
    /// Leads to the newest file of it.
    pub(super) link: Option<Arc<Path>>,
    /// When the path's time unit ends; after that the file is only waiting for stragglers.
    pub(super) until: Option<Wall>,
}

/// What a block holds.
pub(super) struct Contents {
    pub(super) place: Place,
    pub(super) events: u32,
    pub(super) event_bytes: u64,
    /// Of those, what no log of the channel has.
    pub(super) passing: Amount,
    pub(super) time_min: Wall,
    pub(super) time_max: Wall,
    pub(super) slips: Vec<ReceiptSlip>,
}

/// What a block is made in, and comes home: both empty, and with room.
#[derive(Default)]
pub(super) struct Blank {
    pub(super) bytes: Vec<u8>,
    pub(super) slips: Vec<ReceiptSlip>,
}

/// A finished block: appended whole or not at all, and retried as the same bytes.
pub(super) struct Block {
    /// Its bytes; or empty, a buffer on its way home, when they are a batch's own.
    pub(super) buffer: Vec<u8>,
    /// Plain text that stands in a batch as it is: written from there, without a copy.
    batch: Option<Parcel>,
    pub(super) contents: Contents,
}

impl Block {
    pub(super) fn bytes(&self) -> &[u8] {
        match &self.batch {
            Some(parcel) => parcel.batch.contiguous().expect("the press asked"),
            None => &self.buffer,
        }
    }

    /// The empty buffer and what was in the block; a batch goes home.
    pub(super) fn take_apart(mut self) -> (Vec<u8>, Contents) {
        self.buffer.clear();
        (self.buffer, self.contents)
    }
}

/// One thread's compressor.
pub(super) struct Press {
    container: Container,
    encoder_id: u8,
    compressor: Box<dyn Compressor>,
    /// Changes the compressor's level, if it is not fixed.
    governor: Option<Governor>,
    /// Of the next block's header, and how long they may be.
    pub(super) fields: Vec<u8>,
    fields_bytes_max: usize,
    /// Finds a block's words, if they are told; the field stands before the others, put together.
    sieve: Option<TokenSieve>,
    together: Vec<u8>,
    /// Hashes each block, for the chain.
    chained: bool,
    /// Blocks are Avro's, with this behind each.
    avro: Option<(Codec, Marker)>,
}

impl Press {
    pub(super) fn new(codec: Codec, level: i32, encoder_id: u8, fields_bytes_max: usize) -> Self {
        let (container, compressor) = (container_of(codec), codec.compressor(level));
        let (fields, together) = (Vec::with_capacity(fields_bytes_max), Vec::new());
        let (governor, sieve, chained) = (None, None, false);
        Self {
            container,
            encoder_id,
            compressor,
            governor,
            fields,
            fields_bytes_max,
            sieve,
            together,
            chained,
            avro: None,
        }
    }

    /// Tells of each block which words it holds.
    pub(super) fn with_tokens(mut self) -> Self {
        self.fields_bytes_max += TOKENS_FIELD_BYTES_MAX;
        self.together.reserve(self.fields_bytes_max);
        self.sieve = Some(TokenSieve::default());
        self
    }

    /// Its blocks are those of one of Avro's files, compressed inside.
    pub(super) fn with_avro(mut self, codec: Codec, marker: Marker) -> Self {
        self.container = Container::Plain;
        self.avro = Some((codec, marker));
        self
    }

    /// Compresses as hard as there is time for.
    pub(super) fn with_governor(mut self, governor: Governor) -> Self {
        self.governor = Some(governor);
        self
    }

    /// Tells of each block its hash.
    pub(super) fn with_chain(mut self) -> Self {
        self.fields_bytes_max += CHAIN_FIELD_BYTES;
        // The two take turns.
        self.fields.reserve(self.fields_bytes_max);
        self.together.reserve(self.fields_bytes_max);
        self.chained = true;
        self
    }

    /// A batch that is a block as it is: compressed into the empty buffer, or left where it stands.
    pub(super) fn press_batch(
        &mut self,
        parcel: Parcel,
        as_is: &dyn Encoder,
        buffer: Vec<u8>,
        contents: Contents,
    ) -> Block {
        let raw = as_is.as_is(&parcel.batch);
        let raw = raw.expect("the assembler asked the same of the same batch");
        let stands = parcel.batch.contiguous().is_some_and(|bytes| std::ptr::eq(bytes, raw));
        if self.container == Container::Plain && stands {
            return Block { buffer, batch: Some(parcel), contents };
        }
        self.press(raw, buffer, contents)
    }

    /// Compresses `raw` into the empty buffer.
    pub(super) fn press(&mut self, raw: &[u8], mut buffer: Vec<u8>, contents: Contents) -> Block {
        debug_assert!(buffer.is_empty());
        let facts = BlockFacts {
            container: self.container,
            encoder: self.encoder_id,
            event_count: contents.events,
            time_min: contents.time_min,
            time_max: contents.time_max,
        };
        // A library that cannot compress into a buffer of its own bound is broken: our failure.
        if let Some(sieve) = &mut self.sieve {
            let room = self.container.payload_bytes_max().saturating_sub(HEADER_BYTES);
            let taken = self.fields.len() + if self.chained { CHAIN_FIELD_BYTES } else { 0 };
            let room = room.saturating_sub(taken).min(TOKENS_FIELD_BYTES_MAX);
            sieve.sift(raw, room, &mut self.together);
            self.together.append(&mut self.fields);
            std::mem::swap(&mut self.fields, &mut self.together);
        }
        if self.chained {
            chain::put_room(&mut self.fields);
        }
        let (compressor, governor) = (&mut self.compressor, &mut self.governor);
        let mut compress = |raw: &[u8], out: &mut Vec<u8>| {
            let Some(governor) = governor else { return compressor.compress(raw, out) };
            let (done, level) = governor.watch(|| compressor.compress(raw, out));
            level.into_iter().for_each(|level| compressor.set_level(level));
            done
        };
        let done = match &self.avro {
            Some((codec, marker)) => avro::put_block(&mut buffer, contents.events, marker, |out| {
                let start = out.len();
                compress(raw, out).map(|()| codec.bare(out, start))
            }),
            None => seal_block_with(&mut buffer, &facts, &self.fields, raw, compress),
        };
        done.unwrap_or_else(|error| panic!("a block could not be compressed: {error}"));
        self.fields.clear();
        if self.chained {
            chain::link(&mut buffer);
        }
        Block { buffer, batch: None, contents }
    }

    /// The most bytes a block of `raw_bytes` can have.
    pub(super) fn bound(&self, raw_bytes: usize) -> usize {
        header_frame_bytes(self.container)
            + self.fields_bytes_max
            + self.compressor.bound(raw_bytes)
            + self.avro.map_or(0, |_| BLOCK_EXTRA_BYTES)
    }
}

pub(super) fn container_of(codec: Codec) -> Container {
    Container::from_wire_id(codec.wire_id()).expect("codec and container share their numbers")
}
