//! The options that network sources share.

use crate::config::OptionDoc;

pub const LISTEN: OptionDoc = OptionDoc {
    name: "listen",
    default: None,
    doc: "addresses to listen on, as transport://address:port",
};
pub const THREADS: OptionDoc = OptionDoc {
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
pub const IDLE_TIMEOUT: OptionDoc = OptionDoc {
    name: "idle_timeout",
    default: Some(""),
    doc: "close connections that were silent for so long; unset: never, devices may be quiet",
};
pub const KEEPALIVE: OptionDoc = OptionDoc {
    name: "keepalive",
    default: Some("5m"),
    doc: "probe connections that were silent for so long, to find peers that vanished; 0s: never",
};
