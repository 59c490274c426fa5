//! The options that network sources share, and the lists in which they stand together.

use super::super::{interface, preamble, reverse, sender_headers, tls, warden};
use crate::config::OptionDoc;

/// Where they listen.
pub const PLACE: &[OptionDoc] = &[LISTEN, interface::INTERFACE, THREADS];

/// How long connections may live.
pub const CONNECTIONS: &[OptionDoc] = &[CONNECTIONS_MAX, IDLE_TIMEOUT, KEEPALIVE];

/// What stands around and in front of a connection's bytes.
pub const WRAPPINGS: &[OptionDoc] = &[tls::TLS, preamble::PROXY_PROTOCOL, preamble::PROXY_TIMEOUT];

/// Who sends, and who may.
pub const SENDERS: &[OptionDoc] = &[
    reverse::REVERSE_DNS,
    sender_headers::REMOTE_ADDRESS,
    sender_headers::CLIENT_IP,
    sender_headers::CLIENT_HOSTNAME,
    sender_headers::PORT,
    warden::ALLOW,
    warden::DENY,
];

/// How much of it.
pub const RATES: &[OptionDoc] = &[warden::RATE_LIMIT, warden::RATE_BURST];

/// How many options these lists have.
pub const fn count(mut lists: &[&[OptionDoc]]) -> usize {
    let mut count = 0;
    while let [list, rest @ ..] = lists {
        (count, lists) = (count + list.len(), rest);
    }
    count
}

/// Of a source whose connections are answered, line by line or command by command: its own, and
/// what comes last.
pub const fn answered(
    own: &'static [OptionDoc],
    last: &'static [OptionDoc],
) -> [&'static [OptionDoc]; 7] {
    [PLACE, own, CONNECTIONS, WRAPPINGS, SENDERS, RATES, last]
}

/// One list of these lists.
pub const fn joined<const COUNT: usize>(mut lists: &[&[OptionDoc]]) -> [OptionDoc; COUNT] {
    let mut all = [LISTEN; COUNT];
    let mut at = 0;
    while let [list, rest @ ..] = lists {
        let mut list = *list;
        while let [option, others @ ..] = list {
            all[at] = *option;
            (at, list) = (at + 1, others);
        }
        lists = rest;
    }
    all
}

const LISTEN: OptionDoc = OptionDoc {
    name: "listen",
    default: None,
    doc: "addresses to listen on, as transport://address:port",
};
const THREADS: OptionDoc = OptionDoc {
    name: "threads",
    default: Some("1"),
    doc: "receiving threads; each has its own socket on every port (SO_REUSEPORT)",
};
pub const EVENT_MAX: OptionDoc = OptionDoc {
    name: "event_max",
    default: Some("64KiB"),
    doc: "longest event; longer ones are split and marked, never lost",
};
pub const GRO: OptionDoc = OptionDoc {
    name: "gro",
    default: Some("false"),
    doc: "let the kernel merge datagrams of equal length: far faster, but its losses become a \
          lower bound",
};
// 32 MiB hold about 80 ms of a million small datagrams a second: each costs the kernel some 768
// bytes, and it allows twice what is asked for.
pub const RECEIVE_BUFFER: OptionDoc = OptionDoc {
    name: "receive_buffer",
    default: Some("32MiB"),
    doc: "kernel buffer of each UDP socket; without CAP_NET_ADMIN at most net.core.rmem_max",
};
pub const CONNECTIONS_MAX: OptionDoc = OptionDoc {
    name: "connections_max",
    default: Some("10000"),
    doc: "open connections; further ones wait until one closes",
};
const IDLE_TIMEOUT: OptionDoc = OptionDoc {
    name: "idle_timeout",
    default: Some(""),
    doc: "close connections that were silent for so long; unset: never, devices may be quiet",
};
pub const KEEPALIVE: OptionDoc = OptionDoc {
    name: "keepalive",
    default: Some("5m"),
    doc: "probe connections that were silent for so long, to find peers that vanished; 0s: never",
};
