//! Which blocks a file has, so that they can be read in any order and by several threads.
//!
//! A sealed file says it in its index. Any other is walked header by header; behind a damaged place
//! the walk goes on at the next whole header of the same segment, and the gap is told. What has no
//! headers of ours is a stream, read from the front to its end.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::BlockView;
use super::chain::Linked;
use super::kind::{is_container, is_open, plain_name, sniff};
use crate::codec::{Codec, Decompressor, Encoding};
use crate::storage::block::{crc32c, decode_whole, header_frame_bytes};
use crate::storage::catalog::OPEN_SUFFIX;
use crate::storage::fields::{META, find};
use crate::storage::index_reader::read_index;
use crate::storage::meta::{Meta, MetaError};
use crate::storage::resync::{next_block, next_block_before};
use crate::storage::segment::{BlockEntry, Check, Damage, End, Scanner};
use crate::storage::{Container, Disk, DiskFile, read_full_at};

/// What a file is to who takes its blocks in any order.
#[derive(Debug)]
pub enum Layout {
    Blocks(Survey),
    /// Text, or a file of another program.
    Stream,
}

#[derive(Debug)]
pub struct Survey {
    pub codec: Codec,
    pub segment_id: u64,
    pub blocks: Vec<BlockEntry>,
    /// Places that hold no whole block, in order.
    pub gaps: Vec<Gap>,
    /// The index at the end was whole.
    pub sealed: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Gap {
    pub at: u64,
    pub bytes: u64,
    pub why: String,
    /// At the end of a file that somebody may still be writing: no fault.
    pub growing: bool,
}

impl fmt::Display for Gap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.bytes {
            0 => write!(f, "at byte {}: {}", self.at, self.why),
            bytes => write!(f, "{bytes} bytes at byte {} are left out: {}", self.at, self.why),
        }
    }
}

/// A file that begins like one of another program is ours all the same when a block of ours stands
/// this near to its front: only the first was damaged.
pub(super) const FRONT_BYTES: u64 = 4 << 20;

/// Opens a file; one in progress by its finished name when it has been sealed since it was listed.
pub fn open_file(disk: &dyn Disk, path: &Path) -> io::Result<(PathBuf, Arc<dyn DiskFile>)> {
    match disk.open_read(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound && is_open(path) => {
            let finished = path.with_extension("");
            debug_assert_eq!(OPEN_SUFFIX, ".open", "an extension");
            match disk.open_read(&finished) {
                Ok(file) => Ok((finished, file)),
                Err(_) => Err(error),
            }
        }
        outcome => outcome.map(|file| (path.to_owned(), file)),
    }
}

/// Finds a file's blocks without decoding any.
pub fn survey(path: &Path, file: &Arc<dyn DiskFile>) -> io::Result<Layout> {
    if let Some(index) = read_index(file)? {
        let codec = Codec::from_wire_id(index.container.wire_id())
            .expect("codec and storage use the same numbers");
        let (segment_id, blocks) = (index.segment_id, index.blocks);
        return Ok(Layout::Blocks(Survey {
            codec,
            segment_id,
            blocks,
            gaps: vec![],
            sealed: true,
        }));
    }
    walk(path, file)
}

fn walk(path: &Path, file: &Arc<dyn DiskFile>) -> io::Result<Layout> {
    let mut scanner = Scanner::new(Arc::clone(file), Check::Headers)?;
    while scanner.step()?.is_some() {}
    let scan = scanner.scan();
    let codec = scan.container.and_then(|container| Codec::from_wire_id(container.wire_id()));
    let mut found = Survey {
        codec: codec.unwrap_or(Codec::None),
        segment_id: scan.segment_id,
        blocks: scan.blocks.clone(),
        gaps: Vec::new(),
        sealed: scan.end == End::Sealed,
    };
    match scan.end {
        End::Sealed => {}
        End::Open if scan.file_bytes == 0 && plain_name(path) => return Ok(Layout::Stream),
        // A finished file of ours has an index; only its own last bytes can be missing.
        End::Open if !scan.blocks.is_empty() && !is_open(path) => {
            let why = "the index is missing".to_owned();
            found.gaps.push(Gap { at: scan.whole_bytes, bytes: 0, why, growing: false });
        }
        End::Open => {}
        End::Torn { at, why, .. } => go_on(path, file, at, &why.to_string(), &mut found)?,
        End::Foreign => {
            let mut head = [0; 512];
            let read = read_full_at(&**file, 0, &mut head)?;
            let other = sniff(&head[..read], path) != Codec::None;
            let ours = || Ok::<_, io::Error>(next_block_before(file, 0, FRONT_BYTES)?.is_some());
            if plain_name(path) || is_container(&head[..read]) || (other && !ours()?) {
                return Ok(Layout::Stream);
            }
            go_on(path, file, 0, "it does not begin as its name says", &mut found)?;
        }
    }
    if let End::Torn { why: Damage::Cut | Damage::Index, .. } = scan.end
        && let Some(last) = found.gaps.last_mut()
        && found.blocks.last().is_none_or(|block| block.offset < last.at)
    {
        last.growing = is_open(path);
    }
    Ok(Layout::Blocks(found))
}

/// Collects the whole blocks behind a damaged place, and the gaps between them.
fn go_on(
    path: &Path,
    file: &Arc<dyn DiskFile>,
    from: u64,
    why: &str,
    found: &mut Survey,
) -> io::Result<()> {
    let file_bytes = file.bytes()?;
    let mut known = !found.blocks.is_empty();
    let (mut at, mut search, mut why) = (from, from, why.to_owned());
    while at < file_bytes {
        let Some((entry, header)) = next_block(file, search)? else {
            found.gaps.push(Gap { at, bytes: file_bytes - at, why, growing: false });
            break;
        };
        if known && header.segment_id != found.segment_id {
            // A file within a file: its blocks are not ours.
            search = entry.data_offset();
            continue;
        }
        if !known {
            found.segment_id = header.segment_id;
            found.codec = Codec::from_wire_id(header.container.wire_id())
                .expect("codec and storage use the same numbers");
            known = true;
        }
        if entry.offset > at {
            found.gaps.push(Gap { at, bytes: entry.offset - at, why, growing: false });
        }
        why = "no whole block header".to_owned();
        at = entry.end_offset();
        search = at;
        found.blocks.push(entry);
    }
    debug_assert!(found.gaps.iter().all(|gap| gap.bytes > 0), "{}", path.display());
    Ok(())
}

/// Decodes blocks of any file, in any order. One a thread: it keeps its buffers and contexts.
#[derive(Default)]
pub struct BlockDecoder {
    decompressors: Vec<(Codec, Box<dyn Decompressor>)>,
    stored: Vec<u8>,
    raw: Vec<u8>,
    meta: Option<Meta>,
    linked: Option<Box<Linked>>,
}

impl BlockDecoder {
    /// The decoded bytes of a block, checked; or what is wrong with it. Errors are the disk's.
    pub fn decode(
        &mut self,
        file: &dyn DiskFile,
        codec: Codec,
        entry: &BlockEntry,
    ) -> io::Result<Result<&[u8], String>> {
        let stored_bytes = entry.stored_bytes as usize;
        if self.stored.len() < stored_bytes {
            self.stored.resize(stored_bytes, 0);
        }
        let stored = &mut self.stored[..stored_bytes];
        if read_full_at(file, entry.data_offset(), stored)? < stored_bytes {
            return Ok(Err("cut short".to_owned()));
        }
        let at = self.decompressors.iter().position(|(known, _)| *known == codec);
        let at = at.unwrap_or_else(|| {
            self.decompressors.push((codec, codec.decompressor()));
            self.decompressors.len() - 1
        });
        self.raw.clear();
        let outcome =
            self.decompressors[at].1.decompress(stored, entry.raw_bytes as usize, &mut self.raw);
        if let Err(error) = outcome {
            return Ok(Err(error.to_string()));
        }
        // The stored bytes' own checksum adds nothing: these are the bytes that were given.
        if crc32c(&self.raw) != entry.crc_raw {
            return Ok(Err("the decoded bytes do not match their checksum".to_owned()));
        }
        Ok(Ok(&self.raw))
    }

    /// As [`BlockDecoder::decode`], with what the header says of the block; of its events only with
    /// `meta`.
    pub fn view(
        &mut self,
        file: &dyn DiskFile,
        codec: Codec,
        entry: &BlockEntry,
        meta: bool,
    ) -> io::Result<Result<BlockView<'_>, String>> {
        self.meta = if meta { read_meta(file, entry)? } else { None };
        let times = Some((entry.time_min, entry.time_max));
        if let Err(why) = self.decode(file, codec, entry)? {
            return Ok(Err(why));
        }
        let view = BlockView::whole(&self.raw, encoding(entry), times);
        Ok(Ok(view.with_meta(self.meta.as_ref())))
    }

    /// As [`BlockDecoder::decode`], and the header too: whole, saying what is known of the block,
    /// and its checksum that of the stored bytes; and its hash, if it has one.
    pub fn verify(
        &mut self,
        file: &dyn DiskFile,
        codec: Codec,
        entry: &BlockEntry,
    ) -> io::Result<Result<&[u8], String>> {
        self.linked = None;
        let mut frame = vec![0; entry.header_bytes as usize];
        let read = read_full_at(file, entry.offset, &mut frame)?;
        let (header, fields) = match decode_whole(&frame[..read]) {
            Ok((header, fields))
                if BlockEntry::new(entry.offset, frame.len(), &header) == *entry =>
            {
                let meta = find(fields, META);
                if let Some(Err(error)) = meta.map(|it| Meta::decode(it, header.event_count))
                    && error == MetaError::Contradiction
                {
                    return Ok(Err(error.to_string()));
                }
                (header, fields)
            }
            Ok(_) => return Ok(Err("header and index say different things".to_owned())),
            Err(error) => return Ok(Err(error.to_string())),
        };
        if let Err(why) = self.decode(file, codec, entry)? {
            return Ok(Err(why));
        }
        let stored = &self.stored[..entry.stored_bytes as usize];
        if crc32c(stored) != header.crc_stored {
            return Ok(Err("the stored bytes do not match their checksum".to_owned()));
        }
        match Linked::read(&frame, fields, stored) {
            Ok(linked) => self.linked = linked.map(Box::new),
            Err(why) => return Ok(Err(why)),
        }
        Ok(Ok(&self.raw))
    }

    /// What the block that was verified last says of its file's chain, given away.
    pub fn linked(&mut self) -> Option<Linked> {
        self.linked.take().map(|linked| *linked)
    }

    /// The bytes of the last block, given away.
    pub fn take(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.raw)
    }
}

/// How the events of a block were encoded.
pub fn encoding(entry: &BlockEntry) -> Option<Encoding> {
    Encoding::from_wire_id(entry.encoder)
}

/// What a block's header says of its events; None when it says nothing, or not in order.
pub(super) fn read_meta(file: &dyn DiskFile, entry: &BlockEntry) -> io::Result<Option<Meta>> {
    let bytes = entry.header_bytes as usize;
    // The shortest header of any codec has no fields.
    if bytes <= header_frame_bytes(Container::Zstd) {
        return Ok(None);
    }
    let mut frame = vec![0; bytes];
    let read = read_full_at(file, entry.offset, &mut frame)?;
    let Ok((header, fields)) = decode_whole(&frame[..read]) else { return Ok(None) };
    let meta = find(fields, META).map(|field| Meta::decode(field, header.event_count));
    Ok(meta.and_then(Result::ok))
}
