//! One file, block by block. At an end a reader may be asked again: an open file is followed so.

mod beyond;
mod container;
mod skip;
#[cfg(test)]
mod tests;

use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use self::beyond::Beyond;
use self::container::Container;
use super::kind::{HEAD_BYTES, has_records, is_container, is_open, plain_name, sniff};
use super::survey::{FRONT_BYTES, read_meta};
use super::{ArchiveError, EventView};
use crate::codec::datagram::{Record, whole_bytes};
use crate::codec::{Codec, Decompressor, Encoding};
use crate::storage::block::{BlockHeader, crc32c};
use crate::storage::meta::{Meta, Received};
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
    /// Times and peers of its events, if it keeps them.
    pub meta: Option<&'a Meta>,
    /// How many events of the block stand before `bytes`.
    pub(super) from: u32,
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
    /// Blocks and other places that were left out because their bytes are damaged, and what is
    /// wrong with the first.
    pub damaged_blocks: u64,
    pub first_damage: Option<String>,
    pub ending: Ending,
}

pub struct Reader {
    source: Source,
    summary: Summary,
    stored: Vec<u8>,
    raw: Vec<u8>,
    meta: Option<Meta>,
}

enum Source {
    /// While it is being exchanged.
    Gone,
    Blocks {
        file: Arc<dyn DiskFile>,
        scanner: Scanner<Arc<dyn DiskFile>>,
        decompressor: Option<Box<dyn Decompressor>>,
    },
    /// What is behind a damaged place.
    Beyond(Beyond),
    /// Avro's.
    Container(Box<Container>),
    Stream {
        decoder: Box<dyn Read>,
        carry: Vec<u8>,
        codec: Codec,
        /// Its front says that it holds records of datagrams.
        records: bool,
    },
}

/// How much of a stream is decoded at once.
const PIECE_BYTES: usize = 1 << 20;
/// A line of a foreign file longer than this is handed out in parts.
const LINE_BYTES_MAX: usize = 16 << 20;

impl<'a> BlockView<'a> {
    /// A block that ends with the end of a line.
    pub fn whole(bytes: &'a [u8], encoding: Option<Encoding>, times: Option<(Wall, Wall)>) -> Self {
        Self { bytes, encoding, times, meta: None, from: 0, whole: true }
    }

    /// With what the block says of each event, unless its lines are not its events: one that kept
    /// its control characters may hold LF of its own.
    pub fn with_meta(mut self, meta: Option<&'a Meta>) -> Self {
        if meta.is_none() || self.has_records() {
            return self;
        }
        let lines = memchr::memchr_iter(b'\n', self.bytes).count() as u64;
        let open = self.bytes.last().is_some_and(|last| *last != b'\n');
        self.meta = meta.filter(|meta| lines + u64::from(open) == u64::from(meta.events()));
        self
    }

    /// What is known of the event of this number among those of `bytes`.
    pub fn received(&self, event: u32) -> Option<Received> {
        self.meta?.of(self.from + event)
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
        let records = self.has_records();
        let (meta, mut number) = (self.meta, self.from);
        std::iter::from_fn(move || {
            if records {
                let (event, length) = EventView::read(rest, encoding, block_times)?;
                rest = &rest[length..];
                return Some(event);
            }
            let line = match memchr::memchr(b'\n', rest) {
                Some(at) => {
                    let line = &rest[..at];
                    rest = &rest[at + 1..];
                    line
                }
                None if whole && !rest.is_empty() => std::mem::take(&mut rest),
                None => return None,
            };
            let received = meta.and_then(|meta| meta.of(number));
            number = number.wrapping_add(1);
            Some(EventView { received, ..EventView::of_line(line, encoding, block_times) })
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
        let (codec, records) = (sniff(&head, path), has_records(&head));
        let container = is_container(&head);
        let whole = io::Cursor::new(head).chain(stream);
        let mut source = Source::stream(codec, Box::new(whole));
        if let Source::Stream { records: of, .. } = &mut source {
            *of = records;
        }
        let mut reader = Self::new(path, source);
        if container {
            let why =
                "a container file of Avro's is not read from a pipe: name the file".to_owned();
            reader.summary.ending = Ending::StreamTorn { why };
        }
        Ok(reader)
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
        Self { source, summary, stored: Vec::new(), raw: Vec::new(), meta: None }
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
            Ending::Stream => matches!(self.source, Source::Stream { codec: Codec::None, .. }),
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
        let view = BlockView { whole, ..BlockView::whole(bytes, encoding, times) };
        self.summary.events += if view.has_records() {
            view.event_count()
        } else {
            let open = whole && bytes.last().is_some_and(|last| *last != b'\n');
            memchr::memchr_iter(b'\n', bytes).count() as u64 + u64::from(open)
        };
        Ok(Some(view.with_meta(self.meta.as_ref())))
    }

    /// Fills `raw`; says how it is encoded, its times, and whether its last line is whole.
    fn advance(&mut self) -> io::Result<Option<Found>> {
        if let Source::Blocks { .. } = self.source
            && let Some(outcome) = self.advance_block()?
        {
            return Ok(outcome);
        }
        match &self.source {
            Source::Beyond(_) => self.advance_beyond(),
            Source::Container(_) => self.advance_container(),
            Source::Blocks { .. } => Ok(None),
            _ => self.advance_stream(),
        }
    }

    /// None: the source has become another: a stream, or what is behind a damaged place.
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
                    self.meta = read_meta(&**file, &entry)?;
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
            End::Torn { at, bytes, why } => {
                let why = why.to_string();
                if self.look_beyond(at, u64::MAX, &why)? {
                    return Ok(None);
                }
                Ending::Torn { at, bytes, why }
            }
            End::Foreign => return self.become_stream(),
        };
        Ok(Some(None))
    }

    /// What has no headers of ours is read from the front, unless it is not what its name says.
    fn become_stream(&mut self) -> io::Result<Option<Option<Found>>> {
        let Source::Blocks { file, .. } = &self.source else { return Ok(None) };
        let mut head = [0; HEAD_BYTES];
        let read = read_full_at(&**file, 0, &mut head)?;
        if is_container(&head[..read]) {
            return self.become_container();
        }
        let codec = sniff(&head[..read], &self.summary.path);
        let plain = plain_name(&self.summary.path);
        let why = "it does not begin as its name says";
        if !plain && self.look_beyond(0, FRONT_BYTES, why)? {
            return Ok(None);
        }
        if codec == Codec::None && !plain {
            self.summary.ending = Ending::StreamTorn { why: why.to_owned() };
            return Ok(Some(None));
        }
        let Source::Blocks { file, .. } = &self.source else { return Ok(None) };
        let cursor = FileCursor { file: Arc::clone(file), at: 0 };
        self.source = Source::stream(codec, Box::new(cursor));
        Ok(None)
    }

    fn advance_stream(&mut self) -> io::Result<Option<Found>> {
        let Source::Stream { decoder, carry, codec, records } = &mut self.source else {
            unreachable!("others were handled before")
        };
        let plain = *codec == Codec::None;
        if let Ending::StreamTorn { .. } = self.summary.ending {
            return Ok(None);
        }
        self.meta = None;
        let raw = &mut self.raw;
        raw.clear();
        raw.append(carry);
        let fresh = raw.len();
        let (ended, failure) = fill(&mut **decoder, raw, *records);
        if ended {
            self.summary.ending = match failure {
                // Of plain text an error is the disk's; of a decoder it is the file's.
                Some(error) if plain => return Err(error),
                Some(error) if cut_while_open(*codec, &self.summary.path, &error) => Ending::Open,
                Some(error) => Ending::StreamTorn { why: error.to_string() },
                None => Ending::Stream,
            };
        }
        let torn = matches!(self.summary.ending, Ending::StreamTorn { .. });
        let growing = plain && plain_name(&self.summary.path) && is_open(&self.summary.path);
        let open = self.summary.ending == Ending::Open;
        let whole = ended && !torn && !growing && !open;
        let piece = match memchr::memrchr(b'\n', raw) {
            _ if *records => whole_bytes(raw),
            end => end.map_or(0, |at| at + 1),
        };
        let long = piece == 0 && raw.len() >= LINE_BYTES_MAX;
        if !whole && !torn && !long {
            carry.extend_from_slice(&raw[piece..]);
            raw.truncate(piece);
        }
        if raw.is_empty() && (ended || fresh == 0) {
            return Ok(None);
        }
        self.summary.blocks += 1;
        let encoding = records.then_some(Encoding::Datagram);
        Ok(Some((encoding, None, whole || long)))
    }
}

impl Source {
    fn stream(codec: Codec, bytes: Box<dyn Read>) -> Self {
        let decoder = (codec.kind().stream)(bytes);
        Self::Stream { decoder, carry: Vec::new(), codec, records: false }
    }
}

/// Only of lzop's files an early end is told from damage, and can be read on from.
fn cut_while_open(codec: Codec, path: &Path, error: &io::Error) -> bool {
    codec == Codec::Lzo && is_open(path) && error.kind() == io::ErrorKind::UnexpectedEof
}

/// Encoding, times, and whether the last line is whole.
type Found = (Option<Encoding>, Option<(Wall, Wall)>, bool);

/// Decodes into `raw` until there is a piece with a whole line in it, or the end.
fn fill(decoder: &mut dyn Read, raw: &mut Vec<u8>, records: bool) -> (bool, Option<io::Error>) {
    loop {
        let before = raw.len();
        match decoder.take(PIECE_BYTES as u64).read_to_end(raw) {
            Ok(0) => return (true, None),
            Ok(_) => {}
            // What was decoded before the error stays in `raw`.
            Err(error) => return (true, Some(error)),
        }
        let whole = match records {
            true => Record::read(raw).is_some(),
            false => memchr::memrchr(b'\n', &raw[before..]).is_some(),
        };
        if whole || raw.len() >= LINE_BYTES_MAX {
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
