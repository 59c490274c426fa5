//! One job of a search: a block or a stream, decoded, searched, and what was found made ready to be
//! written. Runs on the threads of the crew.

use std::path::Path;

use crate::archive::crew::Out;
use crate::archive::order::{Job, Subject};
use crate::archive::query::{Query, Span};
use crate::archive::survey::{BlockDecoder, encoding};
use crate::archive::{BlockView, Ending, EventView, Reader, Summary};
use crate::cli::event_json::json_line;
use crate::cli::gather::Work;
use crate::cli::output::time_text;
use crate::cli::pipe::open_pipe;
use crate::codec::Encoding;
use crate::storage::DiskFile;
use crate::storage::segment::BlockEntry;
use crate::storage::tokens::may_hold;
use crate::time::Wall;

/// How what was found is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shape {
    /// Events as they are stored.
    Lines,
    Json,
    /// Only the parts that match, one a line.
    Parts,
    /// Nothing but how many.
    Count,
    /// Whole blocks, for lines around the events.
    Around,
}

/// What came of a part of a job, in the order of the events.
#[derive(Default)]
pub(super) struct Piece {
    pub(super) of: Option<Subject>,
    /// Ready to be written; or, for lines around events, the lines of a block.
    pub(super) text: Vec<u8>,
    /// Where the events are, for lines around them only.
    pub(super) spans: Vec<Span>,
    pub(super) times: Option<(Wall, Wall)>,
    pub(super) encoding: Option<Encoding>,
    pub(super) selected: u64,
    pub(super) blocks: u64,
    pub(super) skipped_blocks: u64,
    pub(super) raw_bytes: u64,
    pub(super) stored_bytes: u64,
    pub(super) stream: bool,
    pub(super) trouble: Option<Trouble>,
}

/// Something that could not be read.
pub(super) struct Trouble {
    pub(super) text: String,
    /// The file is not there.
    pub(super) missing: bool,
}

pub(super) struct Searcher {
    query: Query,
    shape: Shape,
    decoder: BlockDecoder,
    spans: Vec<Span>,
}

impl Searcher {
    pub(super) fn new(query: &Query, shape: Shape) -> Self {
        let decoder = BlockDecoder::default();
        Self { query: query.clone(), shape, decoder, spans: Vec::new() }
    }

    pub(super) fn search(&mut self, work: Work, out: &Out<Piece>) {
        match work {
            Work::Pipe { of } => {
                let reader = open_pipe(&of.path);
                self.stream(of, reader.map_err(|error| error.to_string()), out);
            }
            Work::File(Job::Stream { of, file }) => {
                let reader = Reader::of_file(&of.path, file);
                self.stream(of, reader.map_err(|error| error.to_string()), out);
            }
            Work::File(Job::Block { file, entry, .. }) if self.passes_over(&*file, &entry) => {
                out.put(Piece { skipped_blocks: 1, ..Piece::default() });
            }
            Work::File(Job::Block { of, file, codec, entry, number }) => {
                let cut = self.query.range.cuts(entry.time_min, entry.time_max);
                let meta = cut || self.shape == Shape::Json;
                let piece = match self.decoder.view(&*file, codec, &entry, meta) {
                    Ok(Ok(view)) => {
                        let mut piece = found(&self.query, self.shape, &of, &view, &mut self.spans);
                        piece.stored_bytes = u64::from(entry.stored_bytes);
                        // The block itself goes along, and with it no copy.
                        if self.shape == Shape::Around {
                            piece.text = self.decoder.take();
                        }
                        piece
                    }
                    Ok(Err(why)) => bad(
                        of,
                        format!("block {number} at byte {} is left out: {why}", entry.offset),
                    ),
                    Err(error) => bad(of, format!("block {number}: {error}")),
                };
                out.put(piece);
            }
            Work::File(Job::Skipped { blocks, .. }) => {
                out.put(Piece { skipped_blocks: blocks, ..Piece::default() });
            }
            Work::File(Job::Gap { of, gap }) => {
                out.put(bad(of, gap.to_string()));
            }
            Work::File(Job::Failed { of, error }) => {
                let missing = error.kind() == std::io::ErrorKind::NotFound;
                let mut piece = bad(of, error.to_string());
                if let Some(trouble) = &mut piece.trouble {
                    trouble.missing = missing;
                }
                out.put(piece);
            }
        }
    }

    /// By the words that the block holds. What cannot be read is told when it is decoded.
    fn passes_over(&self, file: &dyn DiskFile, entry: &BlockEntry) -> bool {
        // Heads of records stand beside the words of datagrams; and lines around an event may be
        // those of the next block.
        let alone = self.shape != Shape::Around && encoding(entry) != Some(Encoding::Datagram);
        let needs = self.query.needs();
        alone && !needs.is_empty() && !may_hold(&file, entry, needs).unwrap_or(true)
    }

    fn stream(&mut self, of: Subject, reader: Result<Reader, String>, out: &Out<Piece>) {
        let mut reader = match reader {
            Ok(reader) => reader,
            Err(error) => {
                out.put(bad_text(of, error));
                return;
            }
        };
        loop {
            match reader.next_block() {
                Ok(Some(view)) => {
                    let mut piece = found(&self.query, self.shape, &of, &view, &mut self.spans);
                    if self.shape == Shape::Around {
                        piece.text = view.whole_lines().to_vec();
                    }
                    piece.stream = true;
                    if !out.put(piece) {
                        return;
                    }
                }
                Ok(None) => break,
                Err(error) => {
                    out.put(bad_text(of, error.to_string()));
                    return;
                }
            }
        }
        if let Some(text) = ending(reader.summary()) {
            out.put(bad(of, text));
        }
    }
}

/// What is wrong with how a stream ended.
fn ending(summary: &Summary) -> Option<String> {
    match &summary.ending {
        Ending::StreamTorn { why } => Some(format!("it ends early or is damaged: {why}")),
        Ending::Torn { at, bytes, why } => {
            Some(format!("the last {bytes} bytes, from {at} on: {why}"))
        }
        _ => None,
    }
}

fn bad(of: Subject, what: String) -> Piece {
    let text = format!("{}: {what}", of.path.display());
    bad_text(of, text)
}

fn bad_text(of: Subject, text: String) -> Piece {
    let trouble = Some(Trouble { text, missing: false });
    Piece { of: Some(of), trouble, ..Piece::default() }
}

/// Searches one block and makes what was found ready.
fn found(
    query: &Query,
    shape: Shape,
    of: &Subject,
    view: &BlockView<'_>,
    spans: &mut Vec<Span>,
) -> Piece {
    if shape == Shape::Around && view.has_records() {
        let what = "it holds records, not lines, and -A, -B and -C show lines around a line";
        return bad(of.clone(), what.to_owned());
    }
    query.select(view, spans);
    let mut piece = Piece {
        of: Some(of.clone()),
        selected: spans.len() as u64,
        times: view.times,
        encoding: view.encoding,
        blocks: 1,
        raw_bytes: view.bytes.len() as u64,
        ..Piece::default()
    };
    let text = view.whole_lines();
    match shape {
        Shape::Count => {}
        Shape::Around => piece.spans.clone_from(spans),
        Shape::Lines => lines(text, spans, &mut piece.text),
        Shape::Parts => {
            for span in spans.iter() {
                let line = &text[span.start..span.end];
                for part in query.pattern.parts(line) {
                    piece.text.extend_from_slice(&line[part]);
                    piece.text.push(b'\n');
                }
            }
        }
        Shape::Json => {
            let times = view.times.map(|(_, last)| time_text(last));
            for event in view.picked(spans) {
                json(&of.path, &event, times.as_deref(), &mut piece.text);
            }
        }
    }
    piece
}

/// Lines that stand one behind the other are copied at once.
fn lines(text: &[u8], spans: &[Span], out: &mut Vec<u8>) {
    let mut rest = spans;
    while let Some(first) = rest.first() {
        let run = rest.windows(2).take_while(|pair| pair[0].end + 1 == pair[1].start).count();
        let end = rest[run].end;
        out.extend_from_slice(&text[first.start..end]);
        out.push(b'\n');
        rest = &rest[run + 1..];
    }
}

fn json(path: &Path, event: &EventView<'_>, time: Option<&str>, out: &mut Vec<u8>) {
    let written = json_line(&path.to_string_lossy(), time, event, out);
    written.expect("a vector takes everything");
}
