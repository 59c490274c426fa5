//! The `stdout` sink: events as text to standard output, at once.
//!
//! The write may block while the reader of a pipe is away; that is this thread's business alone,
//! and the channel's credit carries the back-pressure to the sources.

use std::time::Duration;

use super::encoding::{self, SharedEncoder};
use super::runner::{BatchSink, SinkRunner};
use super::{BuildError, Built, SinkContext, SinkKind, SinkPlan};
use crate::config::{OptionDoc, Section};
use crate::event::{HeaderNames, Page};
use crate::memory::MemoryLine;
use crate::memory::receipt::Reached;
use crate::syslog::parse::Fields;

pub const KIND: SinkKind = SinkKind {
    name: "stdout",
    aliases: &[],
    summary: "events as text to standard output",
    options: OPTIONS,
    plan,
};

const OPTIONS: &[OptionDoc] = &[encoding::ENCODER, encoding::CONTROL];

/// The text is written when so much is gathered.
const WRITE_BYTES: usize = 64 << 10;

struct Plan {
    encoder: SharedEncoder,
}

struct Stdout {
    encoder: SharedEncoder,
    text: Vec<u8>,
    /// Bytes of `text` that are out.
    written: usize,
    /// Events of the batch at hand that are in `text` or out.
    taken: u32,
    stored: u64,
}

fn plan(section: &Section) -> Box<dyn SinkPlan> {
    Box::new(Plan { encoder: encoding::plan(section) })
}

impl SinkPlan for Plan {
    fn threads(&self) -> usize {
        1
    }

    fn memory(&self, name: &str, event_bytes_max: usize) -> Vec<MemoryLine> {
        let bytes = WRITE_BYTES + self.encoder.bound(event_bytes_max);
        vec![MemoryLine::new(format!("sinks.{name}"), "text to write", bytes as u64)]
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

    fn headers(&self) -> Vec<(&'static str, HeaderNames)> {
        vec![("encoder", self.encoder.headers())]
    }

    fn names_fields(&self) -> bool {
        self.encoder.names_fields()
    }

    fn place(&self) -> Option<String> {
        Some("standard output".to_owned())
    }

    fn build(&self, context: &SinkContext) -> Result<Built, BuildError> {
        let encoder = SharedEncoder::clone(&self.encoder);
        let text = Vec::with_capacity(WRITE_BYTES + encoder.bound(context.event_bytes_max));
        let sink = Stdout { encoder, text, written: 0, taken: 0, stored: 0 };
        let workers = vec![Box::new(SinkRunner::new(context, 0, sink)) as _];
        Ok(Built { workers, helpers: Vec::new(), notes: Vec::new() })
    }
}

impl BatchSink for Stdout {
    fn write(&mut self, page: &Page) -> std::io::Result<u64> {
        loop {
            while self.written < self.text.len() {
                self.written +=
                    rustix::io::write(rustix::stdio::stdout(), &self.text[self.written..])?;
            }
            self.stored += self.text.len() as u64;
            self.text.clear();
            self.written = 0;
            if self.taken == page.event_count() {
                break;
            }
            self.taken = self.encoder.encode_until(page, self.taken, &mut self.text, WRITE_BYTES);
        }
        self.taken = 0;
        Ok(std::mem::take(&mut self.stored))
    }

    fn forget(&mut self) {
        self.text.clear();
        (self.written, self.taken, self.stored) = (0, 0, 0);
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
}
