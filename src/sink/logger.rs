//! The `logger` sink: each event a line of the log, as Flume's prints it. For trying things out.
//!
//! ```text
//! Event: { headers:{} body: 68 65 6C 6C 6F                                  hello }
//! ```
//! The first bytes of the body in hexadecimal and in ASCII, sixteen a line, a dot for what cannot
//! be printed.

use std::fmt::Write;
use std::io;
use std::time::Duration;

use super::encoding::{self, SharedEncoder};
use super::runner::{BatchSink, SinkRunner};
use super::{BuildError, Built, SinkContext, SinkKind, SinkPlan};
use crate::config::{OptionDoc, Section};
use crate::event::Page;
use crate::memory::MemoryLine;
use crate::memory::gate::exempt;
use crate::memory::receipt::Reached;
use crate::syslog::parse::Fields;

pub const KIND: SinkKind = SinkKind {
    name: "logger",
    aliases: &[],
    summary: "events in the log, as Flume's logger prints them",
    options: OPTIONS,
    plan,
};

const OPTIONS: &[OptionDoc] = &[
    OptionDoc {
        name: "max_bytes",
        default: Some("16"),
        doc: "bytes of each event that are printed",
    },
    encoding::ENCODER,
    encoding::CONTROL,
];

/// Bytes a line.
const ROW: usize = 16;
/// A line of the log is no place for more.
const MAX_BYTES_MAX: i64 = 4096;

struct Plan {
    max_bytes: usize,
    encoder: SharedEncoder,
}

struct Logger {
    max_bytes: usize,
    encoder: SharedEncoder,
    body: Vec<u8>,
    line: String,
}

fn plan(section: &Section) -> Box<dyn SinkPlan> {
    let max_bytes = section.integer("max_bytes", 1..=MAX_BYTES_MAX);
    let max_bytes = usize::try_from(max_bytes).unwrap_or(ROW);
    Box::new(Plan { max_bytes, encoder: encoding::plan(section) })
}

impl SinkPlan for Plan {
    fn threads(&self) -> usize {
        1
    }

    fn memory(&self, name: &str, event_bytes_max: usize) -> Vec<MemoryLine> {
        let bytes = self.encoder.bound(event_bytes_max) + line_bytes(self.max_bytes);
        vec![MemoryLine::new(format!("sinks.{name}"), "a line to log", bytes as u64)]
    }

    fn batch_age(&self) -> Duration {
        Duration::from_millis(10)
    }

    fn eager(&self) -> bool {
        true
    }

    fn confirms(&self) -> (Reached, &'static str) {
        (Reached::Written, "it has no disk")
    }

    fn wanted(&self) -> Fields {
        self.encoder.wanted()
    }

    fn names_fields(&self) -> bool {
        self.encoder.names_fields()
    }

    fn build(&self, context: &SinkContext) -> Result<Built, BuildError> {
        let encoder = SharedEncoder::clone(&self.encoder);
        let body = Vec::with_capacity(encoder.bound(context.event_bytes_max));
        let line = String::with_capacity(line_bytes(self.max_bytes));
        let sink = Logger { max_bytes: self.max_bytes, encoder, body, line };
        let workers = vec![Box::new(SinkRunner::new(context, 0, sink)) as _];
        Ok(Built { workers, helpers: Vec::new(), notes: Vec::new() })
    }
}

impl BatchSink for Logger {
    fn write(&mut self, page: &Page) -> io::Result<u64> {
        let mut stored = 0;
        for event in page.events() {
            self.body.clear();
            self.encoder.encode_event(&event, &mut self.body);
            let body = self.body.strip_suffix(b"\n").unwrap_or(&self.body);
            self.line.clear();
            dump(&body[..body.len().min(self.max_bytes)], &mut self.line);
            stored += self.line.len() as u64;
            let line = self.line.as_str();
            // The log's own machinery allocates; whoever logs each event does not want speed.
            exempt(|| tracing::info!("Event: {{ headers:{{}} body:{line} }}"));
        }
        Ok(stored)
    }
}

/// Bytes that a dump of so many may take.
fn line_bytes(bytes: usize) -> usize {
    bytes.div_ceil(ROW) * (8 + 1 + 4 * ROW + 1)
}

/// Rows of sixteen bytes: from the second on each begins with its offset.
fn dump(body: &[u8], out: &mut String) {
    const DIGITS: &[u8; 16] = b"0123456789ABCDEF";
    for (index, row) in body.chunks(ROW).enumerate() {
        if index > 0 {
            // Within its capacity; writing to memory cannot fail.
            let _ = write!(out, "\n{:08X}", index * ROW);
        }
        out.push(' ');
        for place in 0..ROW {
            match row.get(place) {
                Some(byte) => {
                    out.push(char::from(DIGITS[usize::from(byte >> 4)]));
                    out.push(char::from(DIGITS[usize::from(byte & 15)]));
                    out.push(' ');
                }
                None => out.push_str("   "),
            }
        }
        for byte in row {
            let plain = (b' '..0x7f).contains(byte);
            out.push(if plain { char::from(*byte) } else { '.' });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_hold() {
        crate::config::check_docs(OPTIONS, "", |section| {
            plan(section);
        });
    }

    #[test]
    fn a_dump_is_flumes() {
        let dumped = |body: &[u8]| {
            let mut out = String::new();
            dump(body, &mut out);
            assert!(out.len() <= line_bytes(body.len()));
            out
        };
        let wanted = " 68 65 6C 6C 6F 0D                               hello.";
        assert_eq!(dumped(b"hello\r"), wanted);
        assert_eq!(
            dumped(b"0123456789abcdef\xff~"),
            " 30 31 32 33 34 35 36 37 38 39 61 62 63 64 65 66 0123456789abcdef\n\
             00000010 FF 7E                                           .~"
        );
        assert_eq!(dumped(b""), "");
    }
}
