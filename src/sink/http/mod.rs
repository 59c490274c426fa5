//! The `http` sink: events as POSTs to an endpoint, many in one.
//!
//! ```text
//!   channel ──batch──▶ poster ──composer──▶ body ──client──▶ endpoint
//!                        ▲                                      │ meaning
//!                        └── delivered · retry · refused ◀──────┘
//! ```
//! Promises: an event counts as written when the answer to its POST says so, 2XX unless `answers`
//! says otherwise; a POST without such an answer is sent again, so an event may come twice and is
//! never missing; what is refused for what it is goes to the dead letters after `attempts`, alone,
//! and what stood beside it is delivered.

mod body;
mod client;
mod meaning;
mod options;
mod poster;

#[cfg(test)]
mod tests;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use self::body::Composer;
use self::client::Client;
use self::options::{OPTIONS, Options};
use self::poster::{Parts, Poster};
use super::backoff::{Backoff, seed};
use super::dead_letters::DEAD_LETTERS;
use super::{BuildError, Built, SinkContext, SinkKind, SinkPlan};
use crate::event::HeaderNames;
use crate::memory::MemoryLine;
use crate::memory::receipt::Reached;
use crate::runtime::Worker;
use crate::syslog::parse::Fields;

pub const KIND: SinkKind = SinkKind {
    name: "http",
    aliases: &[],
    summary: "events as POSTs to an http:// or https:// endpoint, many in one",
    options: OPTIONS,
    plan: |section| Box::new(Options::plan(section)),
};

impl SinkPlan for Options {
    fn threads(&self) -> usize {
        self.threads
    }

    fn confirms(&self) -> (Reached, &'static str) {
        (Reached::Written, "the endpoint has what it answers for, and no disk is known of")
    }

    fn memory(&self, name: &str, event_bytes_max: usize) -> Vec<MemoryLine> {
        let bytes = self.threads * self.post_bytes(event_bytes_max);
        let what = format!("POSTs under way, {} threads", self.threads);
        vec![MemoryLine::new(format!("sinks.{name}"), what, bytes as u64)]
    }

    fn batch_age(&self) -> Duration {
        Duration::from_millis(10)
    }

    fn eager(&self) -> bool {
        true
    }

    fn wanted(&self) -> Fields {
        self.fields()
    }

    fn headers(&self) -> Vec<(&'static str, HeaderNames)> {
        let mut read = vec![("encoder", self.recipe.encoder.headers())];
        if self.sends_headers() {
            read.push(("format", HeaderNames::ALL));
        }
        // A dead letter tells all that is known of its event.
        read.extend(self.dead_letters.iter().map(|_| (DEAD_LETTERS.name, HeaderNames::ALL)));
        read
    }

    fn refuses(&self) -> bool {
        true
    }

    fn dead_letters(&self) -> Option<&Path> {
        self.dead_letters.as_deref()
    }

    fn names_fields(&self) -> bool {
        self.recipe.encoder.names_fields()
    }

    fn build(&self, context: &SinkContext) -> Result<Built, BuildError> {
        let tls = self.secure(context)?;
        let letters = context.letters(self.dead_letters.as_deref())?;
        let mut built = Built { workers: Vec::new(), helpers: Vec::new(), notes: Vec::new() };
        for thread in 0..self.threads {
            let parts = Parts {
                name: format!("sink.{}.{thread}", context.name),
                sink: context.name.clone(),
                client: Client::new(self.request(), tls.clone()),
                composer: Composer::new(self.recipe.clone()),
                meanings: self.meanings.clone(),
                events_max: self.events_max,
                attempts: self.attempts,
                dead_letters: letters.clone(),
                channel: Arc::clone(&context.channel),
                counters: Arc::clone(&context.counters[thread]),
                watch: context.incidents.watch(&format!("sink {}", context.name)),
                backoff: Backoff::new(self.backoff_max, seed()),
                clock: Arc::clone(&context.clock),
            };
            built.workers.push(Box::new(Poster::new(parts)) as Box<dyn Worker>);
        }
        Ok(built)
    }
}
