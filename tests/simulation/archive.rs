//! Reads what is on the simulated disk, block by block, and says whether each file is as promised.

use std::collections::{BTreeMap, HashMap};
use std::io::Read;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use flumen::codec::Codec;
use flumen::storage::Container;
use flumen::storage::block::crc32c;
use flumen::storage::catalog::{SegmentName, State};
use flumen::storage::lzop;
use flumen::storage::segment::{Check, End, scan, whole_blocks_after};

use crate::event::Id;
use crate::plan::SinkShape;

/// What may be wrong with a file that is still open.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Excuse {
    /// A torn tail at most.
    None,
    /// Power was cut, or a failed sync dropped bytes: holes, too.
    Holes,
    /// Even a finished file may have become unreadable.
    Forgotten,
}

pub(crate) struct FileView {
    pub(crate) path: PathBuf,
    pub(crate) sink: usize,
    pub(crate) state: State,
    pub(crate) ids: Rc<Vec<Id>>,
    /// Length and checksum.
    pub(crate) print: (usize, u32),
}

/// Decodes; remembers what it has decoded, for finished files stay the same.
#[derive(Default)]
pub(crate) struct Archivist {
    known: HashMap<(usize, u32, bool), Rc<Vec<Id>>>,
    /// Power was cut once: plain text has no checksums, so what was torn stays in it.
    pub(crate) holes_in_text: bool,
}

/// `/s1/…` and `/s1-moved/…` belong to sink 1.
fn sink_of(path: &Path) -> usize {
    let top = path.iter().nth(1).expect("below a root").to_string_lossy();
    let digits: String = top[1..].chars().take_while(char::is_ascii_digit).collect();
    digits.parse().expect("roots are numbered")
}

impl Archivist {
    pub(crate) fn look(
        &mut self,
        path: PathBuf,
        bytes: &[u8],
        sinks: &[SinkShape],
        excuse: Excuse,
    ) -> Result<FileView, String> {
        let name = SegmentName::parse(path.file_name().expect("a file has a name"));
        let sink = sink_of(&path);
        let print = (bytes.len(), crc32c(bytes));
        let key = (print.0, print.1, name.state == State::Finished);
        let ids = match self.known.get(&key) {
            Some(ids) => Rc::clone(ids),
            None => {
                let json = sinks[sink].json;
                // What was moved away is nobody's to recover.
                let ours = path.starts_with(&sinks[sink].root);
                let text = name.container == Container::Plain && self.holes_in_text;
                let excuse = if !ours || text { excuse.max(Excuse::Holes) } else { excuse };
                let ids = decode(bytes, name.container, name.state, json, excuse)
                    .map_err(|what| format!("{}: {what}", path.display()))?;
                let ids = Rc::new(ids);
                self.known.insert(key, Rc::clone(&ids));
                ids
            }
        };
        Ok(FileView { path, sink, state: name.state, ids, print })
    }
}

fn decode(
    bytes: &[u8],
    container: Container,
    state: State,
    json: bool,
    excuse: Excuse,
) -> Result<Vec<Id>, String> {
    // A file set aside is read as far as it goes.
    let lenient = excuse != Excuse::None || state == State::Bad;
    let mut ids = Vec::new();
    if container == Container::Plain {
        let whole = memchr::memrchr(b'\n', bytes).map_or(0, |at| at + 1);
        if whole < bytes.len() && state == State::Finished && excuse != Excuse::Forgotten {
            return Err("a finished text ends in the middle of a line".to_owned());
        }
        lines(&bytes[..whole], json, lenient, &mut ids)?;
        return Ok(ids);
    }
    if container == Container::Lzo {
        let text = of_lzop(bytes, state, excuse, lenient)?;
        lines(&text, json, false, &mut ids)?;
        return Ok(ids);
    }
    let found = scan(&bytes, Check::Stored).map_err(|error| error.to_string())?;
    match (state, found.end) {
        (State::Finished, End::Sealed) | (State::Bad, _) => {}
        (State::Finished, _) if excuse == Excuse::Forgotten => {}
        (State::Finished, end) => return Err(format!("finished, but not sealed: {end:?}")),
        (State::Open, End::Open | End::Sealed) => {}
        (State::Open, End::Torn { at, .. }) => {
            let behind = whole_blocks_after(&bytes, at).map_err(|error| error.to_string())?;
            if behind > 0 && !lenient {
                return Err(format!("{behind} whole blocks behind a torn one at {at}"));
            }
        }
        (State::Open, End::Foreign) if lenient => {}
        (State::Open, End::Foreign) => {
            // A front too short to tell is a torn tail.
            if bytes.len() > 16 {
                return Err("open, and not one of ours".to_owned());
            }
        }
    }
    let codec = Codec::from_wire_id(container.wire_id()).expect("the same numbers");
    let mut decompressor = codec.decompressor();
    let mut text = Vec::new();
    for block in &found.blocks {
        let frame = &bytes[block.data_offset() as usize..block.end_offset() as usize];
        let (begin, before) = (text.len(), ids.len());
        let mut raw = Vec::new();
        let done = decompressor.decompress(frame, block.raw_bytes as usize, &mut raw);
        done.map_err(|error| format!("block at {}: {error}", block.offset))?;
        text.extend_from_slice(&raw);
        lines(&text[begin..], json, false, &mut ids)?;
        if ids.len() - before != block.event_count as usize {
            return Err(format!("block at {}: {} events", block.offset, ids.len() - before));
        }
    }
    let check = state == State::Finished && excuse != Excuse::Forgotten;
    if check && stock(container, bytes)?.is_some_and(|stock| stock != text) {
        return Err("a stock decoder reads something else".to_owned());
    }
    Ok(ids)
}

/// What is in the whole blocks of a file of lzop's, none of which says how many events it has.
fn of_lzop(bytes: &[u8], state: State, excuse: Excuse, lenient: bool) -> Result<Vec<u8>, String> {
    let finished = state == State::Finished && excuse != Excuse::Forgotten;
    let found = lzop::whole_blocks(&bytes).map_err(|error| error.to_string())?;
    let Some(whole) = found else {
        return match lenient || state == State::Open && lzop::HEAD.starts_with(bytes) {
            _ if finished => Err("finished, and no file of lzop's".to_owned()),
            true => Ok(Vec::new()),
            false => Err("open, and not one of lzop's".to_owned()),
        };
    };
    if whole.more && !lenient {
        return Err(format!("whole blocks behind a torn one at {}", whole.bytes));
    }
    let (front, tail) = bytes.split_at(whole.bytes as usize);
    if finished && tail != lzop::END {
        return Err(format!("finished, and {} bytes are no end: {:?}", tail.len(), whole.why));
    }
    let mut text = Vec::new();
    let stream = Codec::Lzo.kind().stream;
    let read = stream(Box::new(front.chain(&lzop::END[..]))).read_to_end(&mut text);
    read.map_err(|error| format!("whole blocks that do not decode: {error}"))?;
    Ok(text)
}

/// The whole file by a decoder that knows nothing of us. The lz4 crate stops after one frame.
fn stock(container: Container, bytes: &[u8]) -> Result<Option<Vec<u8>>, String> {
    let mut text = Vec::new();
    let read = match container {
        Container::Zstd => zstd::stream::read::Decoder::new(bytes)
            .and_then(|mut decoder| decoder.read_to_end(&mut text)),
        Container::Gzip => flate2::read::MultiGzDecoder::new(bytes).read_to_end(&mut text),
        Container::Lz4 | Container::Lzo | Container::Plain => return Ok(None),
    };
    read.map_err(|error| format!("a stock decoder fails: {error}"))?;
    Ok(Some(text))
}

fn lines(text: &[u8], json: bool, lenient: bool, ids: &mut Vec<Id>) -> Result<(), String> {
    for line in text.split_inclusive(|byte| *byte == b'\n') {
        match Id::in_line(&line[..line.len() - 1], json) {
            Some(id) if line.ends_with(b"\n") => ids.push(id),
            _ if lenient => {}
            _ => {
                let line = String::from_utf8_lossy(&line[..line.len().min(200)]);
                return Err(format!("not a line of ours: {line:?}"));
            }
        }
    }
    Ok(())
}

/// Numbers of one connection only grow within a file.
pub(crate) fn in_order(file: &FileView) -> Result<(), String> {
    let mut last: BTreeMap<u32, Id> = BTreeMap::new();
    for &id in file.ids.iter() {
        if let Some(before) = last.insert(id.stream(), id)
            && before.number() >= id.number()
        {
            return Err(format!("{}: {id:?} behind {before:?}", file.path.display()));
        }
    }
    Ok(())
}
