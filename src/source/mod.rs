//! Where bytes arrive.
//!
//! A `Source` is what one thread reads with; the runner owns the page, the valve and the counting.
//! A part plans itself from its section of the configuration (pure), then builds: all sockets of a
//! source are bound before the first one listens.

pub mod acks;
pub mod answering;
pub mod carry;
pub mod child;
pub mod complaints;
pub mod connection;
pub mod datagrams;
pub mod dialogue;
mod exec;
pub mod file_lines;
pub mod former;
pub mod framing;
pub mod gate;
mod generator;
pub mod handshakes;
pub mod header_name;
pub mod http;
pub mod inflate;
pub mod input;
pub mod intercepting;
pub mod interface;
mod journal;
pub mod keys;
mod kmsg;
pub mod link;
pub mod listen;
pub mod local;
pub mod made;
mod memcached;
pub mod milestones;
pub mod miscounts;
pub mod multiline;
mod nap;
mod netcat;
pub mod network;
pub mod parsing;
pub mod place;
pub mod port;
pub mod position;
pub mod positions;
pub mod preamble;
pub mod protocol;
pub mod reach;
pub mod reactor;
pub mod relp;
pub mod remarks;
pub mod restraint;
pub mod reverse;
pub mod routing;
pub mod runner;
pub mod saving;
pub mod sender_headers;
pub mod senders;
mod seq;
pub mod single;
mod spooldir;
mod stdin;
#[cfg(test)]
mod stepped;
pub mod storing;
mod stress;
mod syslog;
mod taildir;
mod tcp;
pub mod text;
pub mod tls;
mod udp;
pub mod unpack;
pub mod warden;
pub mod zones;

use std::sync::Arc;

use self::place::Place;
use self::zones::Zones;
use crate::config::{OptionDoc, Section};
use crate::event::{HeaderNames, Page};
use crate::memory::receipt::Reached;
use crate::memory::{MemoryLine, ReceiptSlip};
use crate::ring::Wake;
use crate::telemetry::SourceCounters;
use crate::time::{Mono, Now};

pub trait Source: Send {
    /// Reads what has arrived into `page`, until there is no more or no room. Never blocks.
    fn receive(&mut self, page: &mut Page, now: Now) -> Received;

    /// Sleeps until something may be read, `until`, or a wake. With the valve closed (`open` is
    /// false) only `until` and the wake end it, for nothing could be read.
    fn wait(&mut self, now: Now, until: Mono, open: bool);

    /// Ends a `wait`; a wake before the wait ends that wait at once.
    fn waker(&self) -> Arc<dyn Wake>;

    /// Accepts no more. `receive` reads what is there already, then says `finished`.
    fn stop(&mut self, now: Now);

    /// Tells senders what has reached its mark; asked first each turn, with the valve closed too.
    fn settle(&mut self, _now: Now) {}

    /// How far somebody waits for what was read into the page to come: it should go as soon as it
    /// may.
    fn wanted(&self) -> Option<Reached> {
        None
    }

    /// What is hung on the page that is being offered: a duty to tell how far it came.
    fn slip(&mut self) -> Option<ReceiptSlip> {
        None
    }
}

/// What one `receive` did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Received {
    /// The page has no room for more.
    pub full: bool,
    /// It stopped at the bound, not because there was no more.
    pub more: bool,
    /// Nothing will ever come again.
    pub finished: bool,
}

/// What the plan knows about the whole pipeline that a source must know.
#[derive(Clone, Debug)]
pub struct SourceContext {
    /// The source's name, `net`.
    pub name: String,
    /// Whether anybody asks for the PRI, or for anything behind it.
    pub want_pri: bool,
    /// A sink behind it keeps datagrams as they came: bytes, times, addresses.
    pub exact: bool,
    /// Whether anybody asks for the host.
    pub want_host: bool,
    /// Size of a page's body in bytes.
    pub page_bytes: usize,
    /// Whether anybody asks for headers: without it none need be stored.
    pub want_headers: bool,
    /// Channels that each of its events goes to.
    pub channels: usize,
    /// The furthest mark that is told of behind all of these.
    pub furthest: Reached,
    /// One set of counters a thread.
    pub counters: Vec<Arc<SourceCounters>>,
    pub incidents: Arc<crate::telemetry::Incidents>,
}

/// The sources of all threads, and where they listen.
pub struct Built {
    pub sources: Vec<Box<dyn Source>>,
    pub bound: Vec<Bound>,
}

/// A bound listener: port 0 in the configuration has become a number.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bound {
    /// `udp` or `tcp`.
    pub transport: &'static str,
    pub place: Place,
}

#[derive(Debug, thiserror::Error)]
#[error("{what}: {remedy}")]
pub struct BuildError {
    /// `sources.net cannot listen on tcp://0.0.0.0:514: permission denied`
    pub what: String,
    /// What to do about it.
    pub remedy: String,
}

/// A source's options, valid once built.
pub trait SourcePlan: Send {
    fn threads(&self) -> usize;

    /// What it binds, as configured: "udp://0.0.0.0:5514".
    fn listeners(&self) -> Vec<String>;

    /// Memory beside the pages: slots, carry.
    fn memory(&self, name: &str) -> Vec<MemoryLine>;

    /// The longest event.
    fn event_bytes_max(&self) -> usize;

    /// The smallest page that will do: empty, it takes at least one of whatever may arrive. Smaller
    /// ones are not made, however little memory there is.
    fn page_bytes_min(&self) -> usize;

    /// Its senders can wait: nothing is lost while it is not read.
    fn is_patient(&self) -> bool;

    /// What it receives are syslog messages, and in which zones their times are meant: then the
    /// runner reads the fields that sinks want. None: it takes any text, and fields are absent.
    fn zones(&self) -> Option<&Zones> {
        None
    }

    /// Whether all that it receives are whole datagrams with addresses; if not, what is in the way
    /// and what to do.
    fn is_exact(&self) -> Result<(), (&'static str, String, String)> {
        let what = "it does not receive datagrams".to_owned();
        Err(("type", what, "take `type = \"udp\"`".to_owned()))
    }

    /// The headers that it may set.
    fn headers(&self) -> HeaderNames {
        HeaderNames::default()
    }

    /// The mark that events must reach before their senders are told; none: they are never told.
    fn acknowledges(&self) -> Option<Reached> {
        None
    }

    /// Somebody has said which mark that is; else it is the furthest that there is.
    fn names_mark(&self) -> bool {
        true
    }

    /// Binds, then listens: one `Source` for each thread.
    fn build(&self, context: &SourceContext) -> Result<Built, BuildError>;
}

/// A row of the registry.
pub struct SourceKind {
    pub name: &'static str,
    pub aliases: &'static [&'static str],
    pub summary: &'static str,
    pub options: &'static [OptionDoc],
    /// Reads the section; what is wrong goes to its diagnostics.
    pub plan: fn(&Section) -> Box<dyn SourcePlan>,
}

/// Every source type, sorted by name.
pub const SOURCES: &[SourceKind] = &[
    exec::KIND,
    generator::KIND,
    http::KIND,
    journal::KIND,
    kmsg::KIND,
    memcached::KIND,
    netcat::KIND,
    seq::KIND,
    spooldir::KIND,
    stdin::KIND,
    stress::KIND,
    syslog::KIND,
    taildir::KIND,
    tcp::KIND,
    udp::KIND,
];
