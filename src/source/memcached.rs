//! `memcached`: values that clients of memcached store, over TCP, TLS or a Unix socket. Nothing is
//! kept, and every question is a miss.

use std::sync::Arc;

use super::SourceKind;
use super::acks;
use super::listen::Transport;
use super::local;
use super::network::{self, Network, TcpOptions, UdpOptions};
use super::preamble;
use super::storing::{NAME_BYTES_MAX, Names};
use super::tls::TlsOptions;
use crate::config::{OptionDoc, Section};

pub(super) const KIND: SourceKind = SourceKind {
    name: "memcached",
    aliases: &[],
    summary: "values that any client of memcached stores with set or add (text protocol)",
    options: OPTIONS,
    plan: |section| Box::new(plan(section)),
};

const TRANSPORTS: &[Transport] =
    &[Transport::MEMCACHED, Transport::MEMCACHED_TLS, Transport::MEMCACHED_UNIX];

const OPTIONS: &[OptionDoc] = &network::joined::<{ network::count(LISTS) }>(LISTS);

const LISTS: &[&[OptionDoc]] = &network::answered(OWN, local::SOCKET);

const OWN: &[OptionDoc] = &[
    OptionDoc {
        name: "event_max",
        default: Some("64KiB"),
        doc: "longest value; longer ones are refused, \"object too large for cache\"",
    },
    OptionDoc {
        name: "key_header",
        default: Some("key"),
        doc: "header of an event that holds its key; \"\": none",
    },
    OptionDoc {
        name: "flags_header",
        default: Some(""),
        doc: "header that holds the flags, by which clients tell how a value is encoded; unset: \
              none",
    },
    OptionDoc {
        name: "exptime_header",
        default: Some(""),
        doc: "header that holds the time of expiry as it was sent; unset: none",
    },
    OptionDoc {
        name: "ack",
        default: Some("received"),
        doc: "\"STORED\" is said when the event is \"received\" (in the channels), \"written\" \
              (in the files) or \"synced\" (on the disk)",
    },
];

fn plan(section: &Section) -> Network {
    let tcp = TcpOptions::plan(section);
    let network = Network::plan(section, TRANSPORTS, false, UdpOptions::NONE, tcp);
    Network {
        tls: TlsOptions::plan(section, &network.listens),
        proxied: preamble::plan(section, &network.listens),
        access: local::plan(section),
        ack: acks::plan(section, true),
        stores: Some(Arc::new(names(section))),
        ..network
    }
}

fn names(section: &Section) -> Names {
    let mut taken: Vec<String> = Vec::new();
    let mut name = |key: &'static str| {
        let name = section.text(key);
        if name.len() > NAME_BYTES_MAX {
            let what = format!("`{key}`: a name has at most {NAME_BYTES_MAX} bytes here");
            section.fail(key, what, "take a shorter one");
        } else if !name.is_empty() && taken.contains(&name) {
            let what = format!("`{key}`: another header is called \"{name}\", too");
            section.fail(key, what, "give each a name of its own");
        }
        taken.push(name.clone());
        name
    };
    let (key, flags, exptime) = (name("key_header"), name("flags_header"), name("exptime_header"));
    Names { key, flags, exptime }
}

#[cfg(test)]
mod tests;
