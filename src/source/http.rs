//! `http`: events by POST, as Flume's HTTP source takes them, over HTTP/1.1 in plain or TLS.
//!
//! A request is taken whole or not at all, and answered with 200 when all of its events have come
//! far enough (`ack`). While the channels are full it is refused with 503 and `Retry-After`.
//!
//! Refuses: HTTP/2, upgrades.

pub mod bodies;
mod query;
mod receiving;
mod request;
mod store;
mod talk;

use std::sync::Arc;
use std::time::Duration;

use self::bodies::Shape;
use self::store::Store;
pub use self::talk::{HELD_BYTES_MAX, Talk, Turn};
use super::SourceKind;
use super::acks;
use super::listen::Transport;
use super::network::{self, Network, TcpOptions, UdpOptions};
use super::preamble;
use super::tls::TlsOptions;
use super::warden;
use crate::config::{OptionDoc, Section};
use crate::event::HeaderNames;
use crate::limits;
use crate::memory::MemoryLine;
use crate::wire::http::Refusal;

pub(super) const KIND: SourceKind = SourceKind {
    name: "http",
    aliases: &[],
    summary: "events by HTTP POST, as Flume's HTTP source: JSON, lines or blobs",
    options: OPTIONS,
    plan: |section| Box::new(plan(section)),
};

const OPTIONS: &[OptionDoc] = &network::joined::<{ network::count(LISTS) }>(LISTS);

const LISTS: &[&[OptionDoc]] = &[network::PLACE, OWN, network::WRAPPINGS, network::SENDERS, RATES];

const RATES: &[OptionDoc] = &[
    OptionDoc {
        name: "rate_limit",
        default: Some("max"),
        doc: "events a second of each peer: a request beyond is refused with 429",
    },
    warden::RATE_BURST,
];

const OWN: &[OptionDoc] = &[
    OptionDoc {
        name: "handler",
        default: Some("json"),
        doc: "what a body is: \"json\", Flume's list of events; \"lines\", an event each; or a \
              \"blob\", one event",
    },
    OptionDoc {
        name: "path",
        default: Some(""),
        doc: "where events are taken: \"/events\"; unset: everywhere",
    },
    OptionDoc {
        name: "mandatory_parameters",
        default: Some(""),
        doc: "of a blob, whose parameters (`?name=value`) become headers: which must be there",
    },
    network::EVENT_MAX,
    OptionDoc {
        name: "body_max",
        default: Some("4MiB"),
        doc: "longest body, also after gzip; a longer one is refused with 413",
    },
    OptionDoc {
        name: "bodies_max",
        default: Some("32MiB"),
        doc: "memory for all bodies on their way; without room a request is refused with 503",
    },
    OptionDoc {
        name: "full_timeout",
        default: Some("3s"),
        doc: "a request waits so long for room in the channels, then it is refused with 503",
    },
    OptionDoc {
        name: "request_timeout",
        default: Some("60s"),
        doc: "a request must be whole so long after its first byte",
    },
    OptionDoc {
        name: "ack",
        default: Some("received"),
        doc: "200 is answered when events are \"received\" (in the channels), \"written\" (in the \
              files) or \"synced\" (on the disk)",
    },
    network::CONNECTIONS_MAX,
    OptionDoc {
        name: "idle_timeout",
        default: Some("60s"),
        doc: "close connections that were silent for so long; 0s: never",
    },
    network::KEEPALIVE,
];

/// The longest body that may be allowed.
const BODY_BYTES_MAX: u64 = 1 << 30;

/// What its connections go by.
#[derive(Clone, Debug)]
pub struct Rules {
    shape: Shape,
    path: Option<String>,
    mandatory: Vec<String>,
    body_max: usize,
    bodies_max: u64,
    store: Arc<Store>,
    full_timeout: Duration,
    request_timeout: Duration,
    want_headers: bool,
}

/// Why a request was not taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused {
    pub status: u16,
    pub why: String,
    pub times: u64,
    retry_after: Option<u64>,
}

impl Refused {
    fn new(status: u16, why: impl Into<String>) -> Self {
        Self { status, why: why.into(), times: 1, retry_after: None }
    }

    /// It may be tried again in so many seconds.
    fn again(self, seconds: u64) -> Self {
        Self { retry_after: Some(seconds), ..self }
    }

    fn no_memory() -> Self {
        request::NO_MEMORY.into()
    }
}

impl From<Refusal> for Refused {
    fn from(refusal: Refusal) -> Self {
        let refused = Self::new(refusal.status, refusal.reason);
        if refusal.status == 503 { refused.again(1) } else { refused }
    }
}

impl Rules {
    fn plan(section: &Section) -> Self {
        let shapes = [("json", Shape::Json), ("lines", Shape::Lines), ("blob", Shape::Blob)];
        let shape = section.choice("handler", &shapes);
        let path = section.optional_text("path").filter(|path| !path.is_empty());
        if path.as_ref().is_some_and(|path| !path.starts_with('/') || path.contains('?')) {
            let what = "`path` begins with `/` and has no `?`";
            section.fail("path", what, "write `path = \"/events\"`");
        }
        let mandatory = section.texts("mandatory_parameters");
        if shape != Shape::Blob && section.explicit("mandatory_parameters") {
            let what = "`mandatory_parameters` are asked for with a blob";
            section.fail(
                "mandatory_parameters",
                what,
                "write `handler = \"blob\"`, or leave it out",
            );
        }
        let body_max = section.size_in("body_max", 1024..=BODY_BYTES_MAX);
        let bodies_max = section.size_in("bodies_max", 4096..=BODY_BYTES_MAX * 64);
        let least = body_max * bodies_per_body(shape);
        if bodies_max < least {
            let what = format!(
                "`bodies_max` is {bodies_max} bytes, and to read a body of `body_max` takes {least}"
            );
            let key = if section.explicit("bodies_max") { "bodies_max" } else { "body_max" };
            section.fail(key, what, format!("write `bodies_max = {least}` or more"));
        }
        let times = Duration::from_millis(1)..=Duration::from_secs(24 * 3600);
        Self {
            shape,
            path,
            mandatory: mandatory.into_iter().map(|name| name.value).collect(),
            body_max: usize::try_from(body_max).unwrap_or(usize::MAX),
            bodies_max,
            store: Store::new(usize::try_from(bodies_max).unwrap_or(usize::MAX)),
            full_timeout: section.duration_in("full_timeout", Duration::ZERO..=*times.end()),
            request_timeout: section.duration_in("request_timeout", times),
            want_headers: true,
        }
    }

    /// For connections behind which nobody may want headers.
    pub(super) fn with_headers(&self, want_headers: bool) -> Arc<Self> {
        Arc::new(Self { want_headers, ..self.clone() })
    }

    /// The headers that its events may have.
    pub(super) fn headers(&self) -> HeaderNames {
        if self.shape == Shape::Lines { HeaderNames::default() } else { HeaderNames::ALL }
    }

    pub(super) fn memory(&self, part: &str) -> MemoryLine {
        MemoryLine::new(part, "bodies on their way".to_owned(), self.bodies_max)
    }
}

/// To read a body takes so many times its length: itself twice, as gzip and without it, or what is
/// made of JSON.
fn bodies_per_body(shape: Shape) -> u64 {
    if shape == Shape::Json { 4 } else { 2 }
}

/// What a connection takes beside what its bytes are held in.
pub(super) const TALK_BYTES: u64 = 512;
const _: () = assert!(size_of::<Talk>() <= TALK_BYTES as usize);

/// The smallest page that holds the longest event with its headers.
pub(super) const fn page_bytes_min(event_bytes_max: usize) -> usize {
    super::dialogue::page_bytes_min(event_bytes_max) + limits::HEADERS_BYTES_MAX
}

fn plan(section: &Section) -> Network {
    let allowed = &[Transport::HTTP, Transport::HTTPS];
    let tcp = TcpOptions::plan(section);
    let network = Network::plan(section, allowed, false, UdpOptions::NONE, tcp);
    Network {
        tls: TlsOptions::plan(section, &network.listens),
        proxied: preamble::plan(section, &network.listens),
        ack: acks::plan(section, true),
        http: Some(Rules::plan(section)),
        ..network
    }
}

#[cfg(test)]
mod tests;
