//! The `syslog` sink: events to the next hop, over TCP, UDP, TLS or RELP.
//!
//! ```text
//!   channel ──batch──▶ forwarder ──▶ link tcp://a   StreamWriter   frames, bounded buffer
//!                          │    ──▶ link relp://c  RelpWriter      window, acknowledged
//!                          │    ──▶ link udp://b   DatagramWriter  64 a call, from the page
//!                          └─ names ─▶ helper
//! ```
//! Promises: an event counts as written when the kernel has taken it, over RELP when the peer has
//! acknowledged it; a batch that was cut by a
//! failing connection is sent again, whole, to whoever works next; nothing blocks; while no target
//! works nothing is taken from the channel; what a peer refuses is sent again `attempts` times in
//! all, and no other event with it. TCP says nothing of what the peer has read: see the
//! manual, "Sending on".

mod datagram;
mod forwarder;
mod frame;
mod link;
mod load;
mod relp;
mod renewal;
mod rewrite;
mod stream;
mod target;
mod tls;

#[cfg(test)]
mod tests;

use std::net::{SocketAddr, ToSocketAddrs};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use jiff::tz::TimeZone;

use self::datagram::DatagramWriter;
use self::forwarder::{Forwarder, Mode, Parts};
use self::frame::{Framer, Framing};
use self::link::{Answer, Limits, Link, Question, Writer};
use self::relp::RelpWriter;
use self::renewal::{Current, Renewal};
use self::rewrite::{Form, Rewriter};
use self::stream::{StreamWriter, TEXT_BYTES};
use self::target::{Place, Target};
use self::tls::TlsOptions;
use super::backoff::{Backoff, seed};
use super::dead_letters::{self, DEAD_LETTERS};
use super::{BuildError, Built, SinkContext, SinkKind, SinkPlan};
use crate::config::{OptionDoc, Section};
use crate::event::HeaderNames;
use crate::limits;
use crate::memory::MemoryLine;
use crate::memory::receipt::Reached;
use crate::runtime::Worker;
use crate::runtime::helper::{Desk, Helper};
use crate::sys::udp_send::{MESSAGE_BYTES_MAX, MESSAGES_MAX};
use crate::syslog::parse::Zone;

pub const KIND: SinkKind = SinkKind {
    name: "syslog",
    aliases: &[],
    summary: "events to the next hop, over tcp://, udp://, tls:// or relp://",
    options: OPTIONS,
    plan: |section| Box::new(plan(section)),
};

const OPTIONS: &[OptionDoc] = &[
    OptionDoc {
        name: "targets",
        default: None,
        doc: "where to: tcp://host:port, or udp, tls, relp, relps; one, or several in order",
    },
    OptionDoc {
        name: "targets_mode",
        default: Some("failover"),
        doc: "failover: the first target that works gets all; balance: whoever is free, by batches",
    },
    OptionDoc {
        name: "framing",
        default: Some("newline"),
        doc: "on tcp and tls, newline: a line feed behind each message; octet: its length before",
    },
    tls::TLS,
    OptionDoc {
        name: "window",
        default: Some("1000"),
        doc: "on relp://, how many messages may wait for their answer",
    },
    OptionDoc {
        name: ATTEMPTS,
        default: Some("3"),
        doc: "on relp://, how often an event that is refused is tried before it is set aside",
    },
    OptionDoc {
        name: "format",
        default: Some("as_received"),
        doc: "as_received: every byte as it came; rfc5424 or rfc3164: written anew in that format",
    },
    OptionDoc {
        name: "zone",
        default: Some("local"),
        doc: "time zone of times sent without one, for format; an IANA name or local",
    },
    OptionDoc {
        name: "datagram_max",
        default: Some("65507"),
        doc: "on udp://, longer messages lose their end and are marked truncated",
    },
    OptionDoc { name: "connect_timeout", default: Some("5s"), doc: "how long connecting may take" },
    OptionDoc {
        name: "write_timeout",
        default: Some("60s"),
        doc: "a peer that takes nothing for so long is left; 0s: it is waited for",
    },
    OptionDoc {
        name: "backoff_max",
        default: Some("30s"),
        doc: "the longest time between two tries to reach a target",
    },
    DEAD_LETTERS,
    OptionDoc {
        name: "threads",
        default: Some("1"),
        doc: "worker threads, each with its own connections; order holds in each",
    },
];

const ATTEMPTS: &str = "attempts";

#[derive(Clone)]
struct Options {
    targets: Vec<Target>,
    mode: Mode,
    framing: Framing,
    form: Option<Form>,
    zone: String,
    datagram_bytes_max: usize,
    limits: Limits,
    tls: Option<TlsOptions>,
    window: u32,
    attempts: u32,
    backoff_max: Duration,
    dead_letters: Option<PathBuf>,
    threads: usize,
}

/// A datagram that every IPv4 host takes holds 548 bytes of message (RFC 5426, 3.2: 480).
const DATAGRAM_BYTES_MIN: u64 = 480;

fn plan(section: &Section) -> Options {
    let targets = target::plan(section);
    let mode =
        section.choice("targets_mode", &[("failover", Mode::Failover), ("balance", Mode::Balance)]);
    let framing =
        section.choice("framing", &[("newline", Framing::Newline), ("octet", Framing::Octet)]);
    let forms =
        [("as_received", None), ("rfc5424", Some(Form::Rfc5424)), ("rfc3164", Some(Form::Rfc3164))];
    let form = section.choice("format", &forms);
    let zone = section.text("zone");
    if section.usable("zone") && zones(&zone).is_none() {
        let remedy = "write \"local\", \"UTC\" or an IANA name such as \"Europe/Berlin\"";
        section.fail("zone", format!("no time zone `{zone}`"), remedy);
    }
    let longest = Duration::from_secs(3600);
    let times = Duration::from_millis(10)..=longest;
    let datagram = section.size_in("datagram_max", DATAGRAM_BYTES_MIN..=MESSAGE_BYTES_MAX as u64);
    let write = section.duration_in("write_timeout", Duration::ZERO..=24 * longest);
    let limits = Limits {
        connect: section.duration_in("connect_timeout", times.clone()),
        write: if write.is_zero() { Duration::MAX } else { write },
    };
    let secure = targets.iter().any(Target::is_secure);
    let window = section.integer("window", 1..=1_000_000);
    let threads = section.integer("threads", 1..=limits::THREADS_MAX as i64);
    Options {
        mode,
        framing,
        form,
        zone,
        datagram_bytes_max: usize::try_from(datagram).unwrap_or(MESSAGE_BYTES_MAX),
        limits,
        tls: TlsOptions::plan(section, secure),
        window: u32::try_from(window).unwrap_or(1),
        attempts: attempts(section, &targets),
        backoff_max: section.duration_in("backoff_max", times),
        dead_letters: dead_letters::plan(section),
        threads: usize::try_from(threads).unwrap_or(1),
        targets,
    }
}

fn attempts(section: &Section, targets: &[Target]) -> u32 {
    if targets.is_empty() || targets.iter().any(Target::is_relp) {
        return u32::try_from(section.integer(ATTEMPTS, 1..=1000)).unwrap_or(1);
    }
    if section.explicit(ATTEMPTS) {
        let remedy = "write \"relp://host:2514\" in `targets`, or leave it out";
        section.fail(ATTEMPTS, "no target refuses anything: only RELP answers", remedy);
    }
    1
}

/// The zone as a parser and as a writer know it.
fn zones(name: &str) -> Option<(Zone, TimeZone)> {
    if name == "local" {
        return Some((Zone::local(), TimeZone::system()));
    }
    Zone::named(name).zip(TimeZone::get(name).ok())
}

impl Options {
    /// What a link gathers before it is sent.
    fn text_bytes(&self, target: &Target, event_bytes: usize) -> usize {
        match (target.is_datagram(), self.form) {
            (true, None) => 0,
            (true, Some(_)) => MESSAGES_MAX * rewrite::bound(event_bytes),
            (false, form) => TEXT_BYTES + frame::bound(event_bytes, form.is_some()),
        }
    }

    fn framer(&self, event_bytes: usize) -> Framer {
        let rewriter = self.form.map(|form| {
            let (zone, same) = zones(&self.zone).expect("the plan has looked it up");
            Rewriter::new(form, zone, same)
        });
        Framer::new(self.framing, rewriter, event_bytes)
    }

    fn link(&self, context: &SinkContext, index: usize, seed: u64) -> Link {
        let target = self.targets[index].clone();
        let text_bytes = self.text_bytes(&target, context.event_bytes_max);
        let writer = if target.is_datagram() {
            Writer::Datagrams(DatagramWriter::new(self.datagram_bytes_max, text_bytes))
        } else if target.is_relp() {
            Writer::Relp(RelpWriter::new(self.window, text_bytes))
        } else {
            Writer::Stream(StreamWriter::new(text_bytes))
        };
        let watch = context.incidents.watch(&format!("sink {} {target}", context.name));
        Link::new(index, target, writer, Backoff::new(self.backoff_max, seed), watch)
    }
}

impl SinkPlan for Options {
    fn threads(&self) -> usize {
        self.threads
    }

    fn confirms(&self) -> (Reached, &'static str) {
        (Reached::Written, "the next hop has what it sends, and no disk is known of")
    }

    fn memory(&self, name: &str, event_bytes_max: usize) -> Vec<MemoryLine> {
        let text = |target| self.text_bytes(target, event_bytes_max);
        let texts: usize = self.targets.iter().map(text).sum();
        let scratch = self.form.map_or(0, |_| rewrite::bound(event_bytes_max));
        let secure = self.targets.iter().filter(|target| target.is_secure()).count();
        let bytes = self.threads * (texts + scratch + secure * tls::CONDUIT_BYTES);
        let (targets, threads) = (self.targets.len(), self.threads);
        let what = format!("text to send, {targets} targets × {threads} threads");
        vec![MemoryLine::new(format!("sinks.{name}"), what, bytes as u64)]
    }

    /// A dead letter tells all that is known of its event.
    fn headers(&self) -> Vec<(&'static str, HeaderNames)> {
        let letters = self.dead_letters.iter();
        letters.map(|_| (DEAD_LETTERS.name, HeaderNames::ALL)).collect()
    }

    fn refuses(&self) -> bool {
        true
    }

    fn dead_letters(&self) -> Option<&Path> {
        self.dead_letters.as_deref()
    }

    fn batch_age(&self) -> Duration {
        Duration::from_millis(10)
    }

    fn eager(&self) -> bool {
        true
    }

    fn build(&self, context: &SinkContext) -> Result<Built, BuildError> {
        let mut built = Built { workers: Vec::new(), helpers: Vec::new(), notes: Vec::new() };
        let tls = self.secure(context, &mut built)?;
        let letters = context.letters(self.dead_letters.as_deref())?;
        for thread in 0..self.threads {
            let desk = self.desk(context, thread, &mut built);
            let links = 0..self.targets.len();
            let parts = Parts {
                name: format!("sink.{}.{thread}", context.name),
                sink: context.name.clone(),
                dead_letters: letters.clone(),
                attempts: self.attempts,
                mode: self.mode,
                links: links.map(|index| self.link(context, index, seed())).collect(),
                framer: self.framer(context.event_bytes_max),
                limits: self.limits,
                tls: tls.clone(),
                channel: Arc::clone(&context.channel),
                counters: Arc::clone(&context.counters[thread]),
            };
            let forwarder = Forwarder::new(parts, desk).map_err(|error| BuildError {
                what: format!("sinks.{} cannot wait for sockets: {error}", context.name),
                remedy: "raise the limit of open files (ulimit -n)".to_owned(),
            })?;
            built.workers.push(Box::new(forwarder) as Box<dyn Worker>);
        }
        Ok(built)
    }
}

impl Options {
    /// What connections over TLS begin with, and who keeps that up to date.
    fn secure(
        &self,
        context: &SinkContext,
        built: &mut Built,
    ) -> Result<Option<Current>, BuildError> {
        let Some(tls) = &self.tls else { return Ok(None) };
        let (keeper, setup) = tls.setup(&context.disk).map_err(|error| BuildError {
            what: format!("sinks.{} cannot speak TLS: {}", context.name, error.what),
            remedy: error.remedy,
        })?;
        let current = Current::new(setup);
        if tls.has_files() {
            let watch = context.incidents.watch(&format!("sink {}", context.name));
            let name = format!("tls.{}", context.name);
            let renewal = Renewal::new(name, keeper, current.clone(), watch);
            built.helpers.push(Box::new(renewal));
        }
        Ok(Some(current))
    }

    /// Looking a name up blocks: a helper does it.
    fn desk(
        &self,
        context: &SinkContext,
        thread: usize,
        built: &mut Built,
    ) -> Option<Desk<Question, Answer>> {
        let is_name = |target: &&Target| matches!(target.place, Place::Name(_));
        let names = self.targets.iter().filter(is_name).count();
        if names == 0 {
            return None;
        }
        let name = format!("names.{}.{thread}", context.name);
        let look_up = |(index, name): Question, _| -> Answer {
            (index, name.to_socket_addrs().map(|found| found.collect::<Vec<SocketAddr>>()))
        };
        let (helper, desk) = Helper::new(name, names, look_up);
        built.helpers.push(Box::new(helper));
        Some(desk)
    }
}
