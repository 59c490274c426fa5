//! zstd: one frame a block, content size in its header, compressed in one shot.
//!
//! The context is reused. zstd_safe poisons a context after any error; rather than to trust a
//! reset after one, the context is made anew, which costs an allocation on a path that never runs
//! unless memory or the caller's promise is broken.

use std::io::{Cursor, Read};

use zstd_safe::{CCtx, CParameter, DCtx, ParamSwitch, ResetDirective};

use crate::codec::{Around, Codec, CodecError, Compressor, CompressorKind, Decompressor};

pub const KIND: CompressorKind = CompressorKind {
    codec: Codec::Zstd,
    name: "zstd",
    aliases: &["zst", "zstandard"],
    summary: "zstd frames: the best ratio for its speed",
    levels: Some(-7..=19),
    level_default: 1,
    around: Around::NOTHING,
    build: |level| Box::new(Zstd { context: context(level), level }),
    decompressor: || Box::new(Unzstd(DCtx::create())),
    stream: |file| match zstd::stream::read::Decoder::new(file) {
        Ok(decoder) => Box::new(decoder),
        Err(error) => Box::new(Failed(Some(error))),
    },
};

struct Zstd {
    context: CCtx<'static>,
    level: i32,
}

struct Unzstd(DCtx<'static>);

/// A reader that could not be built: says why at the first read.
struct Failed(Option<std::io::Error>);

impl Compressor for Zstd {
    fn compress(&mut self, block: &[u8], out: &mut Vec<u8>) -> Result<(), CodecError> {
        let kept = out.len();
        out.reserve(zstd_safe::compress_bound(block.len()));
        let mut cursor = Cursor::new(&mut *out);
        cursor.set_position(kept as u64);
        let outcome = self
            .context
            .reset(ResetDirective::SessionOnly)
            .and_then(|_| self.context.compress2(&mut cursor, block));
        match outcome {
            Ok(_) => Ok(()),
            Err(code) => {
                out.truncate(kept);
                self.context = context(self.level);
                Err(Codec::Zstd.compress_error(block, zstd_safe::get_error_name(code)))
            }
        }
    }

    fn bound(&self, raw_bytes: usize) -> usize {
        zstd_safe::compress_bound(raw_bytes)
    }

    fn set_level(&mut self, level: i32) {
        self.level = level;
        if level_parameters(level).into_iter().any(|it| self.context.set_parameter(it).is_err()) {
            self.context = context(level);
        }
    }

    fn context_bytes(&self) -> usize {
        self.context.sizeof()
    }
}

impl Decompressor for Unzstd {
    fn codec(&self) -> Codec {
        Codec::Zstd
    }

    fn expand(&mut self, frame: &[u8], raw_bytes: usize, out: &mut Vec<u8>) -> Result<(), String> {
        // One byte more than promised, so that a frame that holds more is found out. A second frame
        // or trailing bytes are found out by the first frame's own length.
        out.reserve_exact(raw_bytes + 1);
        let why = match zstd_safe::find_frame_compressed_size(frame) {
            Ok(bytes) if bytes == frame.len() => {
                let mut cursor = Cursor::new(&mut *out);
                cursor.set_position(cursor.get_ref().len() as u64);
                match self.0.decompress(&mut cursor, frame) {
                    Ok(_) => return Ok(()),
                    Err(code) => zstd_safe::get_error_name(code),
                }
            }
            Ok(_) => "bytes after the frame",
            Err(code) => zstd_safe::get_error_name(code),
        };
        self.0 = DCtx::create();
        Err(why.to_owned())
    }
}

impl Read for Failed {
    fn read(&mut self, _: &mut [u8]) -> std::io::Result<usize> {
        self.0.take().map_or(Ok(0), Err)
    }
}

fn context(level: i32) -> CCtx<'static> {
    let mut context = CCtx::create();
    // The block header carries CRC32C of both sides; a second checksum only costs time.
    let frame = [CParameter::ContentSizeFlag(true), CParameter::ChecksumFlag(false)];
    for parameter in level_parameters(level).into_iter().chain(frame) {
        context.set_parameter(parameter).expect("levels are clamped to the row's range");
    }
    context
}

/// What a level comes to; 0 and `Auto` are the level's own.
///
/// Level 1 of zstd looks back 512 KiB, keeps 16 Ki places and looks at every other byte. With half
/// the window zstd compares without branches; with twice the places it may look at every third
/// byte: together 6 to 15 % less time for 0.6 to 4 % more bytes of logs. A target length is the
/// stride of the strategy `fast`, and would by itself leave literals uncompressed.
fn level_parameters(level: i32) -> [CParameter; 5] {
    let (window_log, hash_log, stride, literals) = match level {
        1 => (18, 15, 2, ParamSwitch::Enable),
        _ => (0, 0, 0, ParamSwitch::Auto),
    };
    [
        CParameter::CompressionLevel(level),
        CParameter::WindowLog(window_log),
        CParameter::HashLog(hash_log),
        CParameter::TargetLength(stride),
        CParameter::LiteralCompressionMode(literals),
    ]
}
