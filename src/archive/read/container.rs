//! Container files of Avro's with events in them, as the encoder `avro_event` writes them: blocks
//! of records, headers and body. A damaged block is left out, and reading goes on behind the next
//! marker.

use std::io;
use std::sync::Arc;

use super::{Ending, Found, Reader, Source};
use crate::archive::kind::is_open;
use crate::codec::Encoding;
use crate::codec::avro::{Packing, Schema, Unpacker};
use crate::limits;
use crate::storage::avro::{
    EVENT_SCHEMA, HEAD_BYTES_MAX, LEAD_BYTES_MAX, Lead, MARKER_BYTES, Marker, find_marker,
    parse_head, parse_lead,
};
use crate::storage::{DiskFile, read_full_at};

pub(super) struct Container {
    file: Arc<dyn DiskFile>,
    schema: Schema,
    packing: Packing,
    marker: Marker,
    unpacker: Unpacker,
    /// Where the next block begins.
    pub(super) at: u64,
    /// Places that were left out, and the first of them.
    damaged: u64,
    first_damage: String,
}

/// What stands at the next place.
enum Step {
    Block {
        events: u64,
        end: u64,
    },
    End,
    /// The file ends within a block.
    Torn,
    /// Somewhere here something else stands than it should.
    Damaged(String),
}

impl Container {
    /// None: it is such a file, but not with events in it that can be read; why.
    pub(super) fn open(file: Arc<dyn DiskFile>) -> io::Result<Result<Self, String>> {
        let mut front = vec![0; HEAD_BYTES_MAX];
        let read = read_full_at(&*file, 0, &mut front)?;
        let Some(head) = parse_head(&front[..read]) else {
            return Ok(Err("its begin, with the schema, is cut or damaged".to_owned()));
        };
        let text = String::from_utf8_lossy(&head.schema);
        let schema = match Schema::parse(&text) {
            Ok(schema) => schema,
            Err(why) => return Ok(Err(format!("its schema is none: {why}"))),
        };
        let events = Schema::parse(EVENT_SCHEMA).expect("it is one");
        // What Flume calls its record does not matter, nor how fields are described.
        if !schema.is_like(&events) {
            let what = "its records are no events of headers and body: read it with Avro's tools";
            return Ok(Err(what.to_owned()));
        }
        let Some(packing) = Packing::of(&head.codec) else {
            return Ok(Err(format!("its codec `{}` is not known", head.codec)));
        };
        let (marker, at, unpacker) = (head.marker, head.bytes, Unpacker::default());
        let (damaged, first_damage) = (0, String::new());
        Ok(Ok(Self { file, schema, packing, marker, unpacker, at, damaged, first_damage }))
    }

    /// Notes what is wrong at the place, and goes on behind the next marker. False: there is none.
    fn pass_over(&mut self, why: &str) -> io::Result<bool> {
        if self.damaged == 0 {
            self.first_damage = format!("at byte {}: {why}", self.at);
        }
        self.damaged += 1;
        let found = find_marker(&*self.file, self.at, &self.marker)?;
        self.at = found.map_or(self.at, |marker| marker + MARKER_BYTES as u64);
        Ok(found.is_some())
    }

    fn ending(&self, whole: Ending) -> Ending {
        match self.damaged {
            0 => whole,
            count => {
                let why = format!("{count} places are left out, the first {}", self.first_damage);
                Ending::StreamTorn { why }
            }
        }
    }

    fn step(&mut self, stored: &mut Vec<u8>, raw: &mut Vec<u8>) -> io::Result<Step> {
        let mut lead = [0; LEAD_BYTES_MAX];
        let read = read_full_at(&*self.file, self.at, &mut lead)?;
        let Lead { bytes, events, data_bytes } = match parse_lead(&lead[..read]) {
            _ if read == 0 => return Ok(Step::End),
            Some(lead) => lead,
            None if read < LEAD_BYTES_MAX => return Ok(Step::Torn),
            None => return Ok(Step::Damaged("no block begins there".to_owned())),
        };
        let data_at = self.at + bytes as u64;
        let file_bytes = self.file.bytes()?;
        let end = data_at.saturating_add(data_bytes).saturating_add(MARKER_BYTES as u64);
        if end > file_bytes {
            return Ok(Step::Torn);
        }
        let bytes_max = limits::AVRO_BLOCK_BYTES_MAX;
        if data_bytes > bytes_max {
            return Ok(Step::Damaged(format!("a block says it has {data_bytes} bytes")));
        }
        stored.resize(data_bytes as usize + MARKER_BYTES, 0);
        if read_full_at(&*self.file, data_at, stored)? < stored.len() {
            return Ok(Step::Torn);
        }
        let (data, marker) = stored.split_at(data_bytes as usize);
        if marker != self.marker {
            return Ok(Step::Damaged("behind the block is not the marker of the file".to_owned()));
        }
        let unpacked = self.unpacker.unpack(self.packing, data, bytes_max as usize, raw);
        let unpacked = unpacked.map_err(|why| why.to_string());
        match unpacked.and_then(|()| self.schema.check(raw, events, 0)) {
            Ok(_) => Ok(Step::Block { events, end }),
            Err(why) => Ok(Step::Damaged(why)),
        }
    }
}

impl Reader {
    /// The file turned out to be a container.
    pub(super) fn become_container(&mut self) -> io::Result<Option<Option<Found>>> {
        let Source::Blocks { file, .. } = &self.source else { return Ok(None) };
        match Container::open(Arc::clone(file))? {
            Ok(container) => {
                self.source = Source::Container(Box::new(container));
                Ok(None)
            }
            Err(why) => {
                self.summary.ending = Ending::StreamTorn { why };
                Ok(Some(None))
            }
        }
    }

    /// The next block there.
    pub(super) fn advance_container(&mut self) -> io::Result<Option<Found>> {
        self.meta = None;
        let Source::Container(container) = &mut self.source else { return Ok(None) };
        let is_open = is_open(&self.summary.path);
        let whole = loop {
            let why = match container.step(&mut self.stored, &mut self.raw)? {
                Step::Block { events: 0, end } => {
                    container.at = end;
                    continue;
                }
                Step::Block { end, .. } => {
                    container.at = end;
                    self.summary.blocks += 1;
                    return Ok(Some((Some(Encoding::Avro), None, true)));
                }
                Step::End | Step::Torn if is_open => break Ending::Open,
                Step::End => break Ending::Stream,
                Step::Torn => "the file ends within a block".to_owned(),
                Step::Damaged(why) => why,
            };
            if !container.pass_over(&why)? {
                break Ending::Stream;
            }
        };
        self.summary.ending = container.ending(whole);
        Ok(None)
    }
}
