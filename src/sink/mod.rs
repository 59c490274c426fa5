//! Where batches leave.
//!
//! A part plans itself from its section of the configuration (pure), then builds its workers, one
//! a thread, which poll the channel themselves: taking a batch and its place in the order happen
//! together, so only the part knows how.

pub mod backoff;
pub mod dead_letters;
pub mod encoding;
pub mod group;
pub mod http;
pub mod leaving;
pub mod logger;
pub mod null;
pub mod rolling_file;
pub mod runner;
pub mod stdout;
pub mod syslog;

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use self::dead_letters::DeadLetters;
use crate::channel::Channel;
use crate::config::{OptionDoc, Section};
use crate::event::HeaderNames;
use crate::memory::MemoryLine;
use crate::memory::receipt::Reached;
use crate::runtime::Worker;
use crate::runtime::clock::Clock;
use crate::storage::Disk;
use crate::syslog::parse::Fields;
use crate::telemetry::{Incidents, SinkCounters};
use crate::time::Now;

/// While closing, a worker looks again after so long.
pub(crate) const CLOSING_LOOK: Duration = Duration::from_millis(5);

/// Orders from outside to all sinks.
#[derive(Debug, Default)]
pub struct Orders {
    rolls: AtomicU64,
}

impl Orders {
    /// SIGUSR1: every open file is rolled.
    pub fn roll_all(&self) {
        self.rolls.fetch_add(1, Ordering::Relaxed);
    }

    /// How often rolling was ordered; a sink compares it with what it saw last.
    pub fn rolls(&self) -> u64 {
        self.rolls.load(Ordering::Relaxed)
    }
}

/// What a sink is built from.
#[derive(Clone)]
pub struct SinkContext {
    /// The sink's name, `archive`.
    pub name: String,
    pub channel: Arc<dyn Channel>,
    /// One set a thread.
    pub counters: Vec<Arc<SinkCounters>>,
    pub incidents: Arc<Incidents>,
    pub disk: Arc<dyn Disk>,
    /// In a group, where what nobody takes is set aside; else the sink's own options say it.
    pub dead_letters: Option<Arc<DeadLetters>>,
    /// For measuring how long a write or a sync takes; `now` stays an argument.
    pub clock: Arc<dyn Clock>,
    pub orders: Arc<Orders>,
    /// Size of a page's body in bytes.
    pub page_bytes: usize,
    /// The longest event of any source that reaches this sink.
    pub event_bytes_max: usize,
    /// When the agent starts: recovery and segment names count from here.
    pub now: Now,
}

impl SinkContext {
    /// Where this sink sets aside, with its own options' file.
    pub fn letters(&self, own: Option<&Path>) -> Result<Option<Arc<DeadLetters>>, BuildError> {
        if self.dead_letters.is_some() {
            return Ok(self.dead_letters.clone());
        }
        let whose = format!("sinks.{}", self.name);
        own.map(|path| DeadLetters::open(path, &self.disk, &whose)).transpose()
    }
}

/// A sink's workers: those that write, and helpers that do their slow calls. Helpers are closed
/// after the writers are done.
pub struct Built {
    pub workers: Vec<Box<dyn Worker>>,
    pub helpers: Vec<Box<dyn Worker>>,
    /// What start-up recovery did, a line each.
    pub notes: Vec<String>,
}

#[derive(Debug, thiserror::Error)]
#[error("{what}: {remedy}")]
pub struct BuildError {
    /// `sinks.archive cannot write in /var/log/flumen: permission denied`
    pub what: String,
    /// What to do about it.
    pub remedy: String,
}

/// A sink's options, valid once built.
pub trait SinkPlan: Send + Sync {
    fn threads(&self) -> usize;

    /// Told what `agent.memory` is before anything that hangs on it is asked.
    fn take_share(&mut self, _agent_bytes: u64) {}

    /// Memory beside the pages: codec contexts, block buffers.
    fn memory(&self, name: &str, event_bytes_max: usize) -> Vec<MemoryLine>;

    /// Pages that may be in its hands after their credit was given back.
    fn pages_in_hand(&self) -> usize {
        0
    }

    /// How long a batch may wait to be filled for this sink's sake.
    fn batch_age(&self) -> Duration;

    /// Whether a partial batch is welcome as soon as the sink has nothing to do. A sink that
    /// gathers into blocks anyway gains nothing by it and pays a wake-up for each.
    fn eager(&self) -> bool {
        false
    }

    /// The finest unit of time that its path changes with.
    fn path_slice(&self) -> Option<Duration> {
        None
    }

    /// What its path and its encoder want to know of each message.
    fn wanted(&self) -> Fields {
        Fields::NONE
    }

    /// Headers that its options name or take, each with the key that does.
    fn headers(&self) -> Vec<(&'static str, HeaderNames)> {
        Vec::new()
    }

    /// Whether its options name fields that only a parsed message has.
    fn names_fields(&self) -> bool {
        false
    }

    /// Whether its next hop may refuse an event for what it is.
    fn refuses(&self) -> bool {
        false
    }

    /// Its own file for events that are refused.
    fn dead_letters(&self) -> Option<&Path> {
        None
    }

    /// Whether it keeps datagrams as they came, and so takes nothing else.
    fn keeps_datagrams(&self) -> bool {
        false
    }

    /// The furthest mark that it can confirm to a source that acknowledges, and why no further.
    fn confirms(&self) -> (Reached, &'static str) {
        (Reached::Received, "it does not tell what became of an event")
    }

    /// The place it writes to: no two sinks may share one.
    fn place(&self) -> Option<String> {
        None
    }

    fn build(&self, context: &SinkContext) -> Result<Built, BuildError>;
}

/// A row of the registry.
pub struct SinkKind {
    pub name: &'static str,
    pub aliases: &'static [&'static str],
    pub summary: &'static str,
    pub options: &'static [OptionDoc],
    /// Reads the section; what is wrong goes to its diagnostics.
    pub plan: fn(&Section) -> Box<dyn SinkPlan>,
}

/// Every sink type, sorted by name.
pub const SINKS: &[SinkKind] =
    &[rolling_file::KIND, http::KIND, logger::KIND, null::KIND, stdout::KIND, syslog::KIND];
