//! Codec `none`: the file is plain text, bytes as they are.

use crate::codec::{Around, Codec, CodecError, Compressor, CompressorKind, Decompressor};

pub const KIND: CompressorKind = CompressorKind {
    codec: Codec::None,
    name: "none",
    aliases: &["store", "plain"],
    summary: "plain text, no compression and no block headers",
    levels: None,
    level_default: 0,
    around: Around::NOTHING,
    build: |_| Box::new(Store),
    decompressor: || Box::new(Store),
    stream: |file| file,
};

struct Store;

impl Compressor for Store {
    fn compress(&mut self, block: &[u8], out: &mut Vec<u8>) -> Result<(), CodecError> {
        out.extend_from_slice(block);
        Ok(())
    }

    fn bound(&self, raw_bytes: usize) -> usize {
        raw_bytes
    }

    fn context_bytes(&self) -> usize {
        0
    }
}

impl Decompressor for Store {
    fn codec(&self) -> Codec {
        Codec::None
    }

    fn expand(&mut self, frame: &[u8], _: usize, out: &mut Vec<u8>) -> Result<(), String> {
        out.extend_from_slice(frame);
        Ok(())
    }
}
