//! Bytes become smaller, and large again. Sans-I/O: slices in, vectors out.
//!
//! A compressor turns one block into ONE standalone frame (zstd, lz4) or member (gzip) that any
//! stock tool decodes; a file of such frames is a valid file at every moment. Only lzop's files
//! have a front and an end of their own ([`Around`]). What else stands before and after a frame
//! (headers, index) is the business of `storage`, which never decodes anything.
//! The two rooms meet in a number, the [`Codec::wire_id`], and are joined only by their users.
//!
//! Promises of a [`Compressor`]: appends to `out` and touches nothing before; on error `out` is as
//! it was; allocates nothing once it has seen the largest block, if `out` has room for `bound`.

pub mod avro;
pub mod compressors;
pub mod datagram;
pub mod encoders;
pub mod field;

use std::fmt;
use std::io::Read;
use std::ops::RangeInclusive;

use compressors::{gzip, lz4, lzo, store, zstd};

/// How the bytes of a block are stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Codec {
    None,
    Gzip,
    Lz4,
    Zstd,
    Lzo,
}

/// How events became the bytes of a block: the encoder's number in the block header.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Encoding {
    /// An event's bytes as they came, and LF.
    Raw,
    /// The traditional line without `<PRI>`, and LF.
    Line,
    /// One JSON object a line; the text is `message`, or `message_base64` when it is not UTF-8.
    Json,
    /// Whatever the template says, one line an event.
    Template,
    /// Datagrams as they came, each with its time and addresses: see [`datagram`].
    Datagram,
    /// Records of Avro's, headers and body: see `encoders`.
    Avro,
}

/// Turns blocks into frames. One per worker: it owns its context and reuses it.
pub trait Compressor: Send {
    /// Appends one frame that decodes alone to `block`.
    fn compress(&mut self, block: &[u8], out: &mut Vec<u8>) -> Result<(), CodecError>;
    /// The most bytes `compress` appends for a block of `raw_bytes`.
    fn bound(&self, raw_bytes: usize) -> usize;
    /// From the next block on, as if it had been built so; within the row's range. What has no
    /// levels passes it over.
    fn set_level(&mut self, _level: i32) {}
    /// Bytes the context holds now: measured by [`context_bytes`] for the memory sum.
    fn context_bytes(&self) -> usize;
}

/// Turns one frame back. Refuses anything that is not exactly one frame of `raw_bytes`.
pub trait Decompressor: Send {
    fn codec(&self) -> Codec;

    /// Appends what the frame holds, or says why it is none; then whatever it has appended goes,
    /// and so it does when it is not `raw_bytes`, of which nobody else has to make sure.
    fn expand(&mut self, frame: &[u8], raw_bytes: usize, out: &mut Vec<u8>) -> Result<(), String>;

    /// After an error `out` is as it was.
    fn decompress(
        &mut self,
        frame: &[u8],
        raw_bytes: usize,
        out: &mut Vec<u8>,
    ) -> Result<(), CodecError> {
        let kept = out.len();
        let why = match self.expand(frame, raw_bytes, out) {
            Ok(()) if out.len() - kept == raw_bytes => return Ok(()),
            Ok(()) => format!("it holds {}", out.len() - kept),
            Err(why) => why,
        };
        out.truncate(kept);
        Err(CodecError::Decompress { codec: self.codec(), raw_bytes, why })
    }
}

/// A row of the registry: everything the rest of the program knows of a codec.
pub struct CompressorKind {
    pub codec: Codec,
    pub name: &'static str,
    pub aliases: &'static [&'static str],
    pub summary: &'static str,
    /// None: a level is accepted and has no effect.
    pub levels: Option<RangeInclusive<i32>>,
    pub level_default: i32,
    pub around: Around,
    pub build: fn(level: i32) -> Box<dyn Compressor>,
    pub decompressor: fn() -> Box<dyn Decompressor>,
    /// Decodes a whole standard file of this codec: all its frames, skipping what is skippable.
    pub stream: for<'a> fn(Box<dyn Read + 'a>) -> Box<dyn Read + 'a>,
}

/// What a file has besides its frames, when those alone are none.
#[derive(Clone, Copy, Debug)]
pub struct Around {
    pub front: &'static [u8],
    pub end: &'static [u8],
}

impl Around {
    pub const NOTHING: Self = Self { front: &[], end: &[] };
}

/// Every codec of this build, sorted by name.
pub static COMPRESSORS: &[CompressorKind] = &[
    gzip::KIND,
    lz4::KIND,
    #[cfg(feature = "lzo")]
    lzo::KIND,
    store::KIND,
    zstd::KIND,
];

/// Those that a build without their feature knows by name only.
static ABSENT: &[CompressorKind] = &[
    #[cfg(not(feature = "lzo"))]
    lzo::KIND,
];

#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum CodecError {
    #[error("{codec}: cannot compress a block of {raw_bytes} bytes: {why}")]
    Compress { codec: Codec, raw_bytes: usize, why: String },
    #[error("{codec}: not a whole frame of {raw_bytes} bytes: {why}")]
    Decompress { codec: Codec, raw_bytes: usize, why: String },
}

impl Codec {
    /// The codec's number in block headers. Never reused, never renumbered.
    pub const fn wire_id(self) -> u8 {
        match self {
            Self::None => 0,
            Self::Gzip => 1,
            Self::Lz4 => 2,
            Self::Zstd => 3,
            Self::Lzo => 4,
        }
    }

    pub fn from_wire_id(id: u8) -> Option<Self> {
        COMPRESSORS.iter().map(|kind| kind.codec).find(|codec| codec.wire_id() == id)
    }

    /// What Avro calls it inside of its files; none: it has no such codec.
    pub const fn avro_name(self) -> Option<&'static str> {
        match self {
            Self::None => Some("null"),
            Self::Gzip => Some("deflate"),
            Self::Zstd => Some("zstandard"),
            Self::Lz4 | Self::Lzo => None,
        }
    }

    /// Makes what a compressor has appended behind `start` what Avro stores: deflate goes bare.
    pub fn bare(self, out: &mut Vec<u8>, start: usize) {
        if self == Self::Gzip {
            gzip::bare(out, start);
        }
    }

    /// Finds a codec by the name or alias a configuration uses.
    pub fn from_name(name: &str) -> Option<Self> {
        named(COMPRESSORS, name).map(|kind| kind.codec)
    }

    /// The cargo feature that this build lacks for the codec of this name.
    pub fn feature_missing(name: &str) -> Option<&'static str> {
        named(ABSENT, name).map(|kind| kind.name)
    }

    pub fn kind(self) -> &'static CompressorKind {
        let mut all = COMPRESSORS.iter().chain(ABSENT);
        all.find(|kind| kind.codec == self).expect("every codec has a row in one of them")
    }

    /// A compressor at `level`, brought into the codec's range.
    pub fn compressor(self, level: i32) -> Box<dyn Compressor> {
        let kind = self.kind();
        let level = match &kind.levels {
            Some(range) => level.clamp(*range.start(), *range.end()),
            None => kind.level_default,
        };
        (kind.build)(level)
    }

    pub fn decompressor(self) -> Box<dyn Decompressor> {
        (self.kind().decompressor)()
    }

    fn compress_error(self, block: &[u8], why: impl fmt::Display) -> CodecError {
        CodecError::Compress { codec: self, raw_bytes: block.len(), why: why.to_string() }
    }
}

impl fmt::Display for Codec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.kind().name)
    }
}

impl Encoding {
    pub const fn wire_id(self) -> u8 {
        match self {
            Self::Raw => 0,
            Self::Line => 1,
            Self::Json => 2,
            Self::Template => 3,
            Self::Datagram => 4,
            Self::Avro => 5,
        }
    }

    pub fn from_wire_id(id: u8) -> Option<Self> {
        [Self::Raw, Self::Line, Self::Json, Self::Template, Self::Datagram, Self::Avro]
            .into_iter()
            .find(|encoding| encoding.wire_id() == id)
    }

    pub const fn name(self) -> &'static str {
        match self {
            Self::Raw => "raw",
            Self::Line => "line",
            Self::Json => "json",
            Self::Template => "template",
            Self::Datagram => "datagram",
            Self::Avro => "avro_event",
        }
    }
}

fn named(kinds: &'static [CompressorKind], name: &str) -> Option<&'static CompressorKind> {
    kinds.iter().find(|kind| kind.name == name || kind.aliases.contains(&name))
}

/// What one compressor holds for blocks of `block_bytes`: built, used once and asked, because the
/// libraries' own estimates are off by the tables they add later. For the plan's memory sum.
pub fn context_bytes(codec: Codec, level: i32, block_bytes: usize) -> usize {
    let mut compressor = codec.compressor(level);
    let block: Vec<u8> = (0..block_bytes).map(|at| (at % 251) as u8).collect();
    let mut out = Vec::with_capacity(compressor.bound(block_bytes));
    match compressor.compress(&block, &mut out) {
        Ok(()) | Err(_) => compressor.context_bytes(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn round_trip(codec: Codec, level: i32, blocks: &[Vec<u8>]) {
        let mut compressor = codec.compressor(level);
        let mut decompressor = codec.decompressor();
        let kind = codec.kind();
        let mut file = kind.around.front.to_vec();
        for block in blocks {
            let mut frame = b"before".to_vec();
            compressor.compress(block, &mut frame).unwrap();
            assert_eq!(&frame[..6], b"before");
            assert!(frame.len() - 6 <= compressor.bound(block.len()), "{codec} {}", block.len());
            let mut raw = b"x".to_vec();
            decompressor.decompress(&frame[6..], block.len(), &mut raw).unwrap();
            assert_eq!(&raw[1..], &block[..]);
            file.extend_from_slice(&frame[6..]);
        }
        let mut whole = Vec::new();
        file.extend_from_slice(kind.around.end);
        (kind.stream)(Box::new(&file[..])).read_to_end(&mut whole).unwrap();
        assert_eq!(whole, blocks.concat());
    }

    /// Bytes nothing can compress, the same on each run.
    fn noise(bytes: usize) -> Vec<u8> {
        let mut state = 0x9E37_79B9_7F4A_7C15_u64;
        let step = |_| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            (state >> 32) as u8
        };
        (0..bytes).map(step).collect()
    }

    #[test]
    fn every_codec_gives_its_blocks_back_and_stays_within_its_bound() {
        let text = b"<13>Oct 11 22:14:15 mymachine su: 'su root' failed\n".repeat(20_000);
        let blocks =
            [vec![], b"\n".to_vec(), text, noise(70_000), noise(5 << 20), vec![0; 1 << 20]];
        for kind in COMPRESSORS {
            round_trip(kind.codec, kind.level_default, &blocks);
        }
    }

    #[test]
    fn a_frame_that_is_cut_changed_or_followed_by_more_is_refused() {
        let block = b"one line and another line and another\n".repeat(50);
        for kind in COMPRESSORS.iter().filter(|kind| kind.codec != Codec::None) {
            let mut frame = Vec::new();
            kind.codec.compressor(1).compress(&block, &mut frame).unwrap();
            let mut decompressor = kind.codec.decompressor();
            let mut out = b"kept".to_vec();
            for cut in 0..frame.len() {
                decompressor.decompress(&frame[..cut], block.len(), &mut out).unwrap_err();
            }
            let longer = [&frame[..], b"\0"].concat();
            decompressor.decompress(&longer, block.len(), &mut out).unwrap_err();
            decompressor.decompress(&frame, block.len() - 1, &mut out).unwrap_err();
            decompressor.decompress(&frame, block.len() + 1, &mut out).unwrap_err();
            assert_eq!(out, b"kept", "{}: an error leaves `out` as it was", kind.name);
            decompressor.decompress(&frame, block.len(), &mut out).unwrap();
            assert_eq!(&out[4..], &block[..]);
        }
    }

    #[test]
    fn a_level_that_changes_is_the_next_blocks() {
        let line = |n: usize| format!("<13>Oct 11 22:14:15 host su: session {} of {n}\n", n * n);
        let block: Vec<u8> = (0..20_000).flat_map(|n| line(n).into_bytes()).collect();
        for kind in COMPRESSORS {
            let bytes = |compressor: &mut Box<dyn Compressor>| {
                let mut out = Vec::new();
                compressor.compress(&block, &mut out).unwrap();
                out
            };
            let mut changing = kind.codec.compressor(1);
            for level in [1, 6, 2, 1] {
                changing.set_level(level);
                let fixed = bytes(&mut kind.codec.compressor(level));
                assert_eq!(bytes(&mut changing), fixed, "{} {level}", kind.name);
            }
        }
    }

    #[test]
    fn compressing_into_a_reserved_vector_does_not_move_it() {
        let block = noise(1 << 20);
        for kind in COMPRESSORS {
            let mut compressor = kind.codec.compressor(kind.level_default);
            let mut out = Vec::with_capacity(compressor.bound(block.len()));
            let place = out.as_ptr();
            for _ in 0..3 {
                out.clear();
                compressor.compress(&block, &mut out).unwrap();
            }
            assert_eq!(out.as_ptr(), place, "{}", kind.name);
        }
    }

    #[test]
    fn the_registry_is_sorted_and_its_numbers_are_distinct() {
        assert!(COMPRESSORS.is_sorted_by_key(|kind| kind.name));
        let ids: Vec<_> = COMPRESSORS.iter().map(|kind| kind.codec.wire_id()).collect();
        let known = [1, 2, 4, 0, 3];
        let lzo = cfg!(feature = "lzo");
        let expected: Vec<u8> = known.into_iter().filter(|id| *id != 4 || lzo).collect();
        assert_eq!(ids, expected);
        assert_eq!(Codec::feature_missing("lzop"), (!lzo).then_some("lzo"));
        assert_eq!(Codec::from_name("gz"), Some(Codec::Gzip));
        assert_eq!(Codec::from_name("brotli"), None);
        assert_eq!(Codec::from_wire_id(5), None);
        assert!(context_bytes(Codec::Zstd, 1, 1 << 20) > 100_000);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]
        #[test]
        fn any_blocks_come_back(
            blocks in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..300), 1..5),
            level in -3..7,
        ) {
            for kind in COMPRESSORS {
                round_trip(kind.codec, level, &blocks);
            }
        }
    }
}
