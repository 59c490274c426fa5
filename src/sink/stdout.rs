//! The `stdout` sink: events as text to standard output, at once.
//!
//! The write may block while the reader of a pipe is away; that is this thread's business alone,
//! and the channel's credit carries the back-pressure to the sources.

use std::time::Duration;

use super::runner::{BatchSink, SinkRunner};
use super::{BuildError, Built, SinkContext, SinkKind, SinkPlan};
use crate::codec::encoders::{Encoder, Json, Line, Raw};
use crate::config::{OptionDoc, Section};
use crate::event::Page;
use crate::memory::MemoryLine;
use crate::syslog::parse::Fields;

pub const KIND: SinkKind = SinkKind {
    name: "stdout",
    aliases: &[],
    summary: "events as text to standard output",
    options: OPTIONS,
    plan,
};

const OPTIONS: &[OptionDoc] = &[
    OptionDoc { name: "encoder", default: Some("raw"), doc: "raw, line or json" },
    OptionDoc {
        name: "control",
        default: Some("escape"),
        doc: "control bytes of datagrams and counted frames: escape (#012) or keep",
    },
];

/// The text is written when so much is gathered.
const WRITE_BYTES: usize = 64 << 10;

#[derive(Clone, Copy)]
enum Choice {
    Raw,
    Line,
    Json,
}

struct Plan {
    choice: Choice,
    keep_control: bool,
}

struct Stdout {
    encoder: Box<dyn Encoder>,
    text: Vec<u8>,
    /// Bytes of `text` that are out.
    written: usize,
    /// Events of the batch at hand that are in `text` or out.
    taken: u32,
    stored: u64,
}

fn plan(section: &Section) -> Box<dyn SinkPlan> {
    let choices = [("raw", Choice::Raw), ("line", Choice::Line), ("json", Choice::Json)];
    let choice = section.choice("encoder", &choices);
    let keep_control = section.choice("control", &[("escape", false), ("keep", true)]);
    Box::new(Plan { choice, keep_control })
}

impl Plan {
    fn encoder(&self) -> Box<dyn Encoder> {
        let keep_control = self.keep_control;
        match self.choice {
            Choice::Raw => Box::new(Raw { keep_control }),
            Choice::Line => Box::new(Line { keep_control }),
            Choice::Json => Box::new(Json),
        }
    }
}

impl SinkPlan for Plan {
    fn threads(&self) -> usize {
        1
    }

    fn memory(&self, name: &str, event_bytes_max: usize) -> Vec<MemoryLine> {
        let bytes = WRITE_BYTES + self.encoder().bound(event_bytes_max);
        vec![MemoryLine::new(format!("sinks.{name}"), "text to write", bytes as u64)]
    }

    fn batch_age(&self) -> Duration {
        Duration::from_millis(10)
    }

    fn eager(&self) -> bool {
        true
    }

    fn wanted(&self) -> Fields {
        if matches!(self.choice, Choice::Json) { Fields::PRI } else { Fields::NONE }
    }

    fn place(&self) -> Option<String> {
        Some("standard output".to_owned())
    }

    fn build(&self, context: &SinkContext) -> Result<Built, BuildError> {
        let encoder = self.encoder();
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
            self.taken = self.encoder.encode_page(page, self.taken, &mut self.text, WRITE_BYTES);
        }
        self.taken = 0;
        Ok(std::mem::take(&mut self.stored))
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
