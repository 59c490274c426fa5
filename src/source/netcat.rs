//! `netcat`: lines over TCP or TLS, each answered with `OK`, as Flume's netcat.
//!
//! Where Flume says `FAILED` and drops an event because its channel is full, this one waits: the
//! sender's `OK` comes later, and nothing is lost.

use super::SourceKind;
use super::acks;
use super::answering::{Answers, CHARACTER_BYTES_MAX};
use super::listen::Transport;
use super::network::{self, Network, TcpOptions, UdpOptions};
use super::preamble;
use super::tls::TlsOptions;
use crate::config::{OptionDoc, Section};
use crate::limits;

pub(super) const KIND: SourceKind = SourceKind {
    name: "netcat",
    aliases: &[],
    summary: "lines over TCP or TLS, each answered with OK, as Flume's netcat",
    options: OPTIONS,
    plan: |section| Box::new(plan(section)),
};

const OPTIONS: &[OptionDoc] = &network::joined::<{ network::count(LISTS) }>(LISTS);

const LISTS: &[&[OptionDoc]] = &network::answered(OWN, &[]);

const OWN: &[OptionDoc] = &[
    OptionDoc {
        name: "max_line_length",
        default: Some("512"),
        doc: "characters of a line, its newline among them; who sends a longer one is told and \
              disconnected",
    },
    OptionDoc {
        name: "ack_every_event",
        default: Some("true"),
        doc: "answer \"OK\" for each event",
    },
    OptionDoc {
        name: "ack",
        default: Some("received"),
        doc: "\"OK\" is said when the event is \"received\" (in the channels), \"written\" (in \
              the files) or \"synced\" (on the disk)",
    },
];

const LINE_CHARACTERS_MAX: usize = limits::EVENT_BYTES_MAX / CHARACTER_BYTES_MAX;

fn plan(section: &Section) -> Network {
    let characters = section.integer("max_line_length", 2..=LINE_CHARACTERS_MAX as i64) as usize;
    let every = section.flag("ack_every_event");
    let event_bytes_max = (characters * CHARACTER_BYTES_MAX).max(limits::EVENT_BYTES_MIN);
    let allowed = &[Transport::NETCAT, Transport::NETCAT_TLS];
    let tcp = TcpOptions::plan(section);
    let network = Network::plan_of(section, allowed, || event_bytes_max, UdpOptions::NONE, tcp);
    let mark = acks::plan(section, true);
    if !every && section.explicit("ack") {
        let what = "`ack` says when \"OK\" is answered, and `ack_every_event` is false";
        section.fail("ack", what, "leave one of them out");
    }
    Network {
        tls: TlsOptions::plan(section, &network.listens),
        proxied: preamble::plan(section, &network.listens),
        ack: mark.filter(|_| every),
        answers: Some(Answers { characters_max: characters, every }),
        ..network
    }
}

#[cfg(test)]
mod tests;
