//! The `null` sink: counts and forgets. For measuring what stands before it.

use std::time::Duration;

use super::runner::{BatchSink, SinkRunner};
use super::{BuildError, Built, SinkContext, SinkKind, SinkPlan};
use crate::config::{OptionDoc, Section};
use crate::event::Page;
use crate::limits;
use crate::memory::MemoryLine;
use crate::memory::receipt::Reached;
use crate::runtime::Worker;

pub const KIND: SinkKind = SinkKind {
    name: "null",
    aliases: &[],
    summary: "counts events and forgets them",
    options: OPTIONS,
    plan,
};

const OPTIONS: &[OptionDoc] =
    &[OptionDoc { name: "threads", default: Some("1"), doc: "worker threads" }];

struct Plan {
    threads: usize,
}

struct Null;

fn plan(section: &Section) -> Box<dyn SinkPlan> {
    let threads = section.integer("threads", 1..=limits::THREADS_MAX as i64);
    Box::new(Plan { threads: usize::try_from(threads).unwrap_or(1) })
}

impl SinkPlan for Plan {
    fn threads(&self) -> usize {
        self.threads
    }

    fn memory(&self, _name: &str, _event_bytes_max: usize) -> Vec<MemoryLine> {
        Vec::new()
    }

    fn batch_age(&self) -> Duration {
        Duration::from_secs(1)
    }

    fn eager(&self) -> bool {
        true
    }

    fn confirms(&self) -> (Reached, &'static str) {
        (Reached::Written, "it has no disk")
    }

    fn build(&self, context: &SinkContext) -> Result<Built, BuildError> {
        let worker = |thread| Box::new(SinkRunner::new(context, thread, Null)) as Box<dyn Worker>;
        let workers = (0..self.threads).map(worker).collect();
        Ok(Built { workers, helpers: Vec::new(), notes: Vec::new() })
    }
}

impl BatchSink for Null {
    fn write(&mut self, _page: &Page) -> std::io::Result<u64> {
        Ok(0)
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
