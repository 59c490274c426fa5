//! One file, block by block. At an end a reader may be asked again: an open file is followed so.

mod skip;

use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::kind::{HEAD_BYTES, is_open, plain_name, sniff};
use super::{ArchiveError, EventView};
use crate::codec::{Codec, Decompressor, Encoding};
use crate::storage::block::{BlockHeader, crc32c};
use crate::storage::segment::{BlockEntry, Check, End, Scanner};
use crate::storage::{Disk, DiskFile, read_full_at};
use crate::time::Wall;

/// Some decoded bytes of a file: a block, or as many lines of a stream as fit a piece.
#[derive(Clone, Copy, Debug)]
pub struct BlockView<'a> {
    /// Exactly as it was before compressing.
    pub bytes: &'a [u8],
    pub encoding: Option<Encoding>,
    pub times: Option<(Wall, Wall)>,
    /// False: the last line is still being written, or was cut.
    whole: bool,
}

/// How far a file was read, and why not further.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ending {
    /// There is more: the visitor stopped.
    Unread,
    Sealed,
    /// A segment in progress, or one that a crash left between two blocks.
    Open,
    /// Our own file, not whole from a place on.
    Torn {
        at: u64,
        bytes: u64,
        why: String,
    },
    /// A file without our headers, read to its end.
    Stream,
    /// A file without our headers whose decoder gave up.
    StreamTorn {
        why: String,
    },
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Summary {
    pub path: PathBuf,
    pub blocks: u64,
    /// Lines, as handed out or counted in blocks.
    pub events: u64,
    pub raw_bytes: u64,
    /// Blocks that were left out because their bytes are damaged, and what is wrong with the first.
    pub damaged_blocks: u64,
    pub first_damage: Option<String>,
    pub ending: Ending,
}

pub struct Reader {
    source: Source,
    summary: Summary,
    stored: Vec<u8>,
    raw: Vec<u8>,
}

enum Source {
    Blocks {
        file: Arc<dyn DiskFile>,
        scanner: Scanner<Arc<dyn DiskFile>>,
        decompressor: Option<Box<dyn Decompressor>>,
    },
    Stream {
        decoder: Box<dyn Read>,
        carry: Vec<u8>,
        plain: bool,
    },
}

/// How much of a stream is decoded at once.
const PIECE_BYTES: usize = 1 << 20;
/// A line of a foreign file longer than this is handed out in parts.
const LINE_BYTES_MAX: usize = 16 << 20;

impl<'a> BlockView<'a> {
    /// A block that ends with the end of a line.
    pub fn whole(bytes: &'a [u8], encoding: Option<Encoding>, times: Option<(Wall, Wall)>) -> Self {
        Self { bytes, encoding, times, whole: true }
    }

    /// The bytes without a last line that may be half.
    pub fn whole_lines(&self) -> &'a [u8] {
        let end = if self.whole { self.bytes.len() } else { self.last_line() };
        &self.bytes[..end]
    }

    fn last_line(&self) -> usize {
        memchr::memrchr(b'\n', self.bytes).map_or(0, |at| at + 1)
    }

    /// The events of the block, in order; a line without its LF counts unless it may be half.
    pub fn events(&self) -> impl Iterator<Item = EventView<'a>> + use<'a> {
        let (mut rest, whole) = (self.bytes, self.whole);
        let (encoding, block_times) = (self.encoding, self.times);
        std::iter::from_fn(move || {
            let line = match memchr::memchr(b'\n', rest) {
                Some(at) => {
                    let line = &rest[..at];
                    rest = &rest[at + 1..];
                    line
                }
                None if whole && !rest.is_empty() => std::mem::take(&mut rest),
                None => return None,
            };
            Some(EventView { line, encoding, block_times })
        })
    }
}

impl Reader {
    pub fn open(disk: &dyn Disk, path: &Path) -> Result<Self, ArchiveError> {
        let error = |source| ArchiveError { path: path.to_owned(), source };
        Self::of_file(path, disk.open_read(path).map_err(error)?)
    }

    /// As [`Reader::open`], of a file that is open already.
    pub fn of_file(path: &Path, file: Arc<dyn DiskFile>) -> Result<Self, ArchiveError> {
        let error = |source| ArchiveError { path: path.to_owned(), source };
        let scanner = Scanner::new(Arc::clone(&file), Check::Headers).map_err(error)?;
        Ok(Self::new(path, Source::Blocks { file, scanner, decompressor: None }))
    }

    /// Reads what can be read only once, from front to back: a pipe. Whatever it is, it is read as
    /// a stock tool would: block headers are skipped, and with them the times they tell.
    pub fn of_stream(path: &Path, mut stream: Box<dyn Read>) -> Result<Self, ArchiveError> {
        let mut head = Vec::new();
        let read = stream.by_ref().take(HEAD_BYTES as u64).read_to_end(&mut head);
        read.map_err(|source| ArchiveError { path: path.to_owned(), source })?;
        let codec = sniff(&head, path);
        let whole = io::Cursor::new(head).chain(stream);
        Ok(Self::new(path, Source::stream(codec, Box::new(whole))))
    }

    fn new(path: &Path, source: Source) -> Self {
        let summary = Summary {
            path: path.to_owned(),
            blocks: 0,
            events: 0,
            raw_bytes: 0,
            damaged_blocks: 0,
            first_damage: None,
            ending: Ending::Unread,
        };
        Self { source, summary, stored: Vec::new(), raw: Vec::new() }
    }

    pub fn summary(&self) -> &Summary {
        &self.summary
    }

    pub fn into_summary(self) -> Summary {
        self.summary
    }

    /// Whether there can be more later: nothing is appended to a sealed file.
    pub fn may_grow(&self) -> bool {
        match self.summary.ending {
            Ending::Unread | Ending::Open | Ending::Torn { .. } => true,
            Ending::Stream => matches!(self.source, Source::Stream { plain: true, .. }),
            Ending::Sealed | Ending::StreamTorn { .. } => false,
        }
    }

    /// The next block; None at the end, of which [`Reader::summary`] tells.
    pub fn next_block(&mut self) -> Result<Option<BlockView<'_>>, ArchiveError> {
        let found = self.advance();
        let found =
            found.map_err(|source| ArchiveError { path: self.summary.path.clone(), source })?;
        let Some((encoding, times, whole)) = found else { return Ok(None) };
        let bytes = &self.raw[..];
        self.summary.raw_bytes += bytes.len() as u64;
        self.summary.events += memchr::memchr_iter(b'\n', bytes).count() as u64;
        if whole && bytes.last().is_some_and(|last| *last != b'\n') {
            self.summary.events += 1;
        }
        Ok(Some(BlockView { bytes, encoding, times, whole }))
    }

    /// Fills `raw`; says how it is encoded, its times, and whether its last line is whole.
    fn advance(&mut self) -> io::Result<Option<Found>> {
        if let Source::Blocks { .. } = self.source
            && let Some(outcome) = self.advance_block()?
        {
            return Ok(outcome);
        }
        self.advance_stream()
    }

    /// None: the file is foreign, and the source has become a stream.
    fn advance_block(&mut self) -> io::Result<Option<Option<Found>>> {
        let Source::Blocks { file, scanner, decompressor } = &mut self.source else {
            return Ok(None);
        };
        while let Some((entry, header)) = scanner.step()? {
            let codec = Codec::from_wire_id(header.container.wire_id())
                .expect("codec and storage use the same numbers");
            let decompressor = decompressor.get_or_insert_with(|| codec.decompressor());
            let read = read_block(&**file, &entry, &mut self.stored)?;
            let decoded = read.then_some(()).ok_or_else(|| "cut short".to_owned());
            let decoded = decoded.and_then(|()| {
                decode(&mut **decompressor, &entry, &header, &self.stored, &mut self.raw)
            });
            match decoded {
                Ok(()) => {
                    self.summary.blocks += 1;
                    let encoding = Encoding::from_wire_id(header.encoder);
                    let times = Some((header.time_min, header.time_max));
                    return Ok(Some(Some((encoding, times, true))));
                }
                Err(why) => {
                    let (number, at) = (header.sequence, entry.offset);
                    let damage = || format!("block {number} at byte {at}: {why}");
                    self.summary.first_damage.get_or_insert_with(damage);
                    self.summary.damaged_blocks += 1;
                }
            }
        }
        let empty = scanner.scan().file_bytes == 0;
        self.summary.ending = match scanner.scan().end {
            End::Sealed => Ending::Sealed,
            End::Open if empty && plain_name(&self.summary.path) => return self.become_stream(),
            End::Open => Ending::Open,
            End::Torn { at, bytes, why } => Ending::Torn { at, bytes, why: why.to_string() },
            End::Foreign => return self.become_stream(),
        };
        Ok(Some(None))
    }

    /// What has no headers of ours is read from the front, unless it is not what its name says.
    fn become_stream(&mut self) -> io::Result<Option<Option<Found>>> {
        let Source::Blocks { file, .. } = &self.source else { return Ok(None) };
        let mut head = [0; HEAD_BYTES];
        let read = read_full_at(&**file, 0, &mut head)?;
        let codec = sniff(&head[..read], &self.summary.path);
        if codec == Codec::None && !plain_name(&self.summary.path) {
            let why = "it does not begin as its name says";
            self.summary.ending = Ending::StreamTorn { why: why.to_owned() };
            return Ok(Some(None));
        }
        let cursor = FileCursor { file: Arc::clone(file), at: 0 };
        self.source = Source::stream(codec, Box::new(cursor));
        Ok(None)
    }

    fn advance_stream(&mut self) -> io::Result<Option<Found>> {
        let Source::Stream { decoder, carry, plain } = &mut self.source else {
            unreachable!("blocks were handled before")
        };
        if let Ending::StreamTorn { .. } = self.summary.ending {
            return Ok(None);
        }
        let raw = &mut self.raw;
        raw.clear();
        raw.append(carry);
        let fresh = raw.len();
        let (ended, failure) = fill(&mut **decoder, raw);
        if ended {
            self.summary.ending = match failure {
                // Of plain text an error is the disk's; of a decoder it is the file's.
                Some(error) if *plain => return Err(error),
                Some(error) => Ending::StreamTorn { why: error.to_string() },
                None => Ending::Stream,
            };
        }
        let torn = matches!(self.summary.ending, Ending::StreamTorn { .. });
        let growing = *plain && plain_name(&self.summary.path) && is_open(&self.summary.path);
        let whole = ended && !torn && !growing;
        let piece = memchr::memrchr(b'\n', raw).map_or(0, |at| at + 1);
        let long = piece == 0 && raw.len() >= LINE_BYTES_MAX;
        if !whole && !torn && !long {
            carry.extend_from_slice(&raw[piece..]);
            raw.truncate(piece);
        }
        if raw.is_empty() && (ended || fresh == 0) {
            return Ok(None);
        }
        self.summary.blocks += 1;
        Ok(Some((None, None, whole || long)))
    }
}

impl Source {
    fn stream(codec: Codec, bytes: Box<dyn Read>) -> Self {
        let decoder = (codec.kind().stream)(bytes);
        Self::Stream { decoder, carry: Vec::new(), plain: codec == Codec::None }
    }
}

/// Encoding, times, and whether the last line is whole.
type Found = (Option<Encoding>, Option<(Wall, Wall)>, bool);

/// Decodes into `raw` until there is a piece with a whole line in it, or the end.
fn fill(decoder: &mut dyn Read, raw: &mut Vec<u8>) -> (bool, Option<io::Error>) {
    loop {
        let before = raw.len();
        match decoder.take(PIECE_BYTES as u64).read_to_end(raw) {
            Ok(0) => return (true, None),
            Ok(_) => {}
            // What was decoded before the error stays in `raw`.
            Err(error) => return (true, Some(error)),
        }
        let line = memchr::memrchr(b'\n', &raw[before..]).is_some();
        if line || raw.len() >= LINE_BYTES_MAX {
            return (false, None);
        }
    }
}

fn read_block(file: &dyn DiskFile, entry: &BlockEntry, stored: &mut Vec<u8>) -> io::Result<bool> {
    stored.resize(entry.stored_bytes as usize, 0);
    Ok(read_full_at(file, entry.data_offset(), stored)? == stored.len())
}

fn decode(
    decompressor: &mut dyn Decompressor,
    entry: &BlockEntry,
    header: &BlockHeader,
    stored: &[u8],
    raw: &mut Vec<u8>,
) -> Result<(), String> {
    if crc32c(stored) != header.crc_stored {
        return Err("the stored bytes do not match their checksum".to_owned());
    }
    raw.clear();
    decompressor
        .decompress(stored, entry.raw_bytes as usize, raw)
        .map_err(|error| error.to_string())?;
    if crc32c(raw) == header.crc_raw {
        Ok(())
    } else {
        Err("the decoded bytes do not match their checksum".to_owned())
    }
}

/// A file as a reader with a place of its own. After its end it reads what was appended since.
struct FileCursor {
    file: Arc<dyn DiskFile>,
    at: u64,
}

impl Read for FileCursor {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let read = self.file.read_at(self.at, out)?;
        self.at += read as u64;
        Ok(read)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::archive::{segments, visit};
    use crate::storage::block::{BlockFacts, seal_block, stamp};
    use crate::storage::index::index_frames;
    use crate::storage::recovery::{Mode, Outcome, Recovered, recover};
    use crate::storage::{Container, OsDisk};
    use proptest::prelude::*;
    use std::io::Write;
    use std::ops::ControlFlow;

    const CODECS: [Codec; 3] = [Codec::Gzip, Codec::Lz4, Codec::Zstd];
    const TEXTS: [&str; 3] = ["one\ntwo\n", "three\n", "four\nfive\nsix\n"];

    fn segment(codec: Codec, encoding: Encoding, sealed: bool) -> (Vec<u8>, Vec<BlockEntry>) {
        let container = Container::from_wire_id(codec.wire_id()).unwrap();
        let mut compressor = codec.compressor(1);
        let (mut file, mut entries) = (Vec::new(), Vec::new());
        for (sequence, text) in TEXTS.iter().enumerate() {
            let at = file.len();
            let (time_min, time_max) = (Wall(sequence as i64), Wall(sequence as i64 + 5));
            let encoder = encoding.wire_id();
            let event_count = text.lines().count() as u32;
            let facts = BlockFacts { container, encoder, event_count, time_min, time_max };
            let compress = |raw: &[u8], out: &mut Vec<u8>| compressor.compress(raw, out);
            seal_block(&mut file, &facts, text.as_bytes(), compress).unwrap();
            stamp(container, &mut file[at..], 9, sequence as u64);
            entries.push(BlockEntry::of_block(at as u64, &file[at..]).unwrap());
        }
        if sealed {
            index_frames(container, 9, &entries, &mut file);
        }
        (file, entries)
    }

    fn read(path: &Path) -> (Vec<String>, Summary) {
        let mut lines = Vec::new();
        let summary = visit(path, &mut |event| {
            lines.push(String::from_utf8(event.text().to_vec()).unwrap());
            ControlFlow::Continue(())
        });
        (lines, summary.unwrap())
    }

    fn put(dir: &tempfile::TempDir, name: &str, bytes: &[u8]) -> PathBuf {
        let path = dir.path().join(name);
        std::fs::write(&path, bytes).unwrap();
        path
    }

    fn all() -> Vec<&'static str> {
        TEXTS.iter().flat_map(|text| text.lines()).collect()
    }

    #[test]
    fn every_codec_reads_back_sealed_open_and_cut_at_any_byte() {
        let dir = tempfile::tempdir().unwrap();
        for codec in CODECS {
            let (file, entries) = segment(codec, Encoding::Raw, true);
            let (lines, summary) = read(&put(&dir, "x", &file));
            assert_eq!(
                (lines, summary.ending),
                (all().iter().map(|l| (*l).to_owned()).collect(), Ending::Sealed)
            );
            assert_eq!((summary.blocks, summary.events), (3, 6));
            let (file, _) = segment(codec, Encoding::Raw, false);
            for cut in 1..=file.len() {
                let blocks = entries.iter().filter(|e| e.end_offset() <= cut as u64).count();
                let expected = TEXTS[..blocks].concat();
                let (lines, summary) = read(&put(&dir, "x.open", &file[..cut]));
                assert_eq!(lines, expected.lines().collect::<Vec<_>>(), "{codec} cut at {cut}");
                assert!(matches!(summary.ending, Ending::Open | Ending::Torn { .. }));
            }
        }
    }

    #[test]
    fn a_damaged_block_costs_itself_and_is_named() {
        let dir = tempfile::tempdir().unwrap();
        for codec in CODECS {
            let (mut file, entries) = segment(codec, Encoding::Raw, true);
            file[entries[1].end_offset() as usize - 1] ^= 0x40;
            let (lines, summary) = read(&put(&dir, "x", &file));
            assert_eq!(lines, ["one", "two", "four", "five", "six"]);
            assert_eq!((summary.damaged_blocks, summary.ending), (1, Ending::Sealed));
            assert!(summary.first_damage.unwrap().starts_with("block 1 at byte "));
        }
    }

    #[test]
    fn files_of_stock_tools_are_streams_of_lines() {
        let dir = tempfile::tempdir().unwrap();
        let text = "a line of some length, and again\n".repeat(100_000) + "the last without LF";
        let zstd = zstd::stream::encode_all(text.as_bytes(), 3).unwrap();
        let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        gzip.write_all(text.as_bytes()).unwrap();
        let gzip = gzip.finish().unwrap();
        let mut lz4 = lz4_flex::frame::FrameEncoder::new(Vec::new());
        lz4.write_all(text.as_bytes()).unwrap();
        let lz4 = lz4.finish().unwrap();
        for file in [zstd, gzip, lz4, text.clone().into_bytes()] {
            let (lines, summary) = read(&put(&dir, "x", &file));
            assert_eq!(lines, text.lines().collect::<Vec<_>>());
            assert_eq!((summary.events, summary.ending), (100_001, Ending::Stream));
            assert_eq!(summary.raw_bytes, text.len() as u64);
            if file.len() < text.len() {
                let (lines, summary) = read(&put(&dir, "x", &file[..file.len() * 2 / 3]));
                assert!(matches!(summary.ending, Ending::StreamTorn { .. }));
                assert!(lines.iter().all(|line| *line == "a line of some length, and again"));
            }
        }
    }

    #[test]
    fn a_pipe_gives_what_the_file_gives() {
        for codec in CODECS {
            let (file, _) = segment(codec, Encoding::Raw, true);
            let stream = Box::new(io::Cursor::new(file));
            let mut reader = Reader::of_stream(Path::new("-"), stream).unwrap();
            let mut found = Vec::new();
            while let Some(block) = reader.next_block().unwrap() {
                found.extend_from_slice(block.bytes);
            }
            assert_eq!(found, TEXTS.concat().as_bytes(), "{codec}");
            assert_eq!(reader.summary().ending, Ending::Stream);
        }
    }

    #[test]
    fn a_file_whose_beginning_is_destroyed_is_no_text() {
        let dir = tempfile::tempdir().unwrap();
        for name in ["x.log.zst", "x.log.1.gz", "x.log.lz4.open"] {
            let (mut file, _) = segment(Codec::Zstd, Encoding::Raw, true);
            file[..4].copy_from_slice(b"oops");
            let (lines, summary) = read(&put(&dir, name, &file));
            assert_eq!((lines.len(), summary.events), (0, 0));
            assert!(matches!(summary.ending, Ending::StreamTorn { .. }), "{summary:?}");
        }
    }

    #[test]
    fn a_growing_file_is_followed_through_its_seal() {
        let dir = tempfile::tempdir().unwrap();
        let (file, entries) = segment(Codec::Zstd, Encoding::Raw, true);
        let path = put(&dir, "x.zst.open", b"");
        let mut reader = Reader::open(&OsDisk, &path).unwrap();
        let mut found = Vec::new();
        for end in (0..file.len()).step_by(7).chain([file.len()]) {
            std::fs::write(&path, &file[..end]).unwrap();
            while let Some(block) = reader.next_block().unwrap() {
                found.extend_from_slice(block.bytes);
            }
            let whole = entries.iter().filter(|e| e.end_offset() <= end as u64).count();
            assert_eq!(found, TEXTS[..whole].concat().as_bytes());
            assert_eq!(reader.may_grow(), end < file.len());
        }
        let plain = put(&dir, "y.log.open", b"one\ntw");
        let mut reader = Reader::open(&OsDisk, &plain).unwrap();
        assert_eq!(reader.next_block().unwrap().unwrap().bytes, b"one\n");
        assert!(reader.next_block().unwrap().is_none());
        std::fs::write(&plain, b"one\ntwo\nthr").unwrap();
        assert_eq!(reader.next_block().unwrap().unwrap().bytes, b"two\n");
        assert!(reader.may_grow());
        assert_eq!(segments(std::slice::from_ref(&plain)).unwrap(), [plain]);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(200))]
        /// Whatever is done to a file: no panic, no line that was not there, recovery rests.
        #[test]
        fn damage_of_any_kind_never_invents_an_event(
            codec in prop::sample::select(&CODECS[..]),
            sealed in any::<bool>(),
            flips in prop::collection::vec((4_usize..1200, any::<u8>()), 1..8),
            gap in (4_usize..1200, 0_usize..60),
        ) {
            let (mut file, _) = segment(codec, Encoding::Raw, sealed);
            for (at, bits) in flips {
                let at = at.min(file.len() - 1);
                file[at] ^= bits;
            }
            let from = gap.0.min(file.len());
            file.drain(from..(from + gap.1).min(file.len()));
            let dir = tempfile::tempdir().unwrap();
            let path = put(&dir, "x.log.zst.open", &file);
            let mut lines = Vec::new();
            let summary = visit(&path, &mut |event| {
                lines.push(event.line.to_vec());
                ControlFlow::Continue(())
            });
            let ours = !matches!(
                summary.unwrap().ending,
                Ending::Stream | Ending::StreamTorn { .. }
            );
            if ours {
                prop_assert!(lines.iter().all(|line| all().iter().any(|l| l.as_bytes() == line)));
            }
            let first = recover(&OsDisk, dir.path(), &|_| true, Mode::Repair).unwrap();
            let foreign = |one: &Recovered| matches!(one.outcome, Outcome::Foreign);
            let again = recover(&OsDisk, dir.path(), &|_| true, Mode::Repair).unwrap();
            prop_assert!(again.iter().all(foreign), "{first:?} {again:?}");
            prop_assert!(first.iter().all(|one| !matches!(one.outcome, Outcome::Failed(_))));
        }
    }

    #[test]
    fn blocks_tell_their_encoder_and_times() {
        let dir = tempfile::tempdir().unwrap();
        let (file, _) = segment(Codec::Lz4, Encoding::Line, true);
        let path = put(&dir, "x", &file);
        let mut seen = Vec::new();
        visit(&path, &mut |event| {
            seen.push((event.encoding, event.block_times));
            if seen.len() == 3 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        })
        .unwrap();
        let times = |min| Some((Wall(min), Wall(min + 5)));
        let line = Some(Encoding::Line);
        assert_eq!(seen, [(line, times(0)), (line, times(0)), (line, times(1))]);
    }
}
