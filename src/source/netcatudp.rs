//! `netcatudp`: every datagram is an event, under the name that Flume has for it.
//!
//! Flume keeps a datagram's text up to its first newline and drops the rest; here all of it stays.

use super::SourceKind;
use super::interface;
use super::listen::Transport;
use super::network::{self, Network, TcpOptions, UdpOptions};
use super::warden;
use crate::config::OptionDoc;

pub(super) const KIND: SourceKind = SourceKind {
    name: "netcatudp",
    aliases: &[],
    summary: "datagrams, one event each, as Flume's netcatudp",
    options: OPTIONS,
    plan: |section| {
        section.later("remote_address_header", "needs headers of events");
        let udp = UdpOptions::plan(section);
        Box::new(Network::plan(section, &[Transport::UDP], false, udp, TcpOptions::NONE))
    },
};

const OPTIONS: &[OptionDoc] = &[
    network::LISTEN,
    interface::INTERFACE,
    network::THREADS,
    network::EVENT_MAX,
    network::GRO,
    network::RECEIVE_BUFFER,
    warden::ALLOW,
    warden::DENY,
    warden::RATE_LIMIT,
    warden::RATE_BURST,
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rows_are_what_is_asked_for() {
        crate::config::check_docs(OPTIONS, "listen = 'udp://127.0.0.1:0'", |section| {
            (KIND.plan)(section);
        });
    }
}
