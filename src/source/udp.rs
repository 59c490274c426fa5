//! `udp`: every datagram is an event. Flume calls it `netcatudp`, and keeps of each only the text
//! up to its first newline; here all of it stays.

use super::SourceKind;
use super::listen::Transport;
use super::network::{self, Network, TcpOptions, UdpOptions};
use crate::config::OptionDoc;

pub(super) const KIND: SourceKind = SourceKind {
    name: "udp",
    aliases: &["netcatudp"],
    summary: "datagrams, one event each; what the kernel drops is counted exactly",
    options: OPTIONS,
    plan: |section| {
        let udp = UdpOptions::plan(section);
        Box::new(Network::plan(section, &[Transport::UDP], false, udp, TcpOptions::NONE))
    },
};

const OPTIONS: &[OptionDoc] = &network::joined::<{ network::count(LISTS) }>(LISTS);

const LISTS: &[&[OptionDoc]] = &[
    network::PLACE,
    &[network::EVENT_MAX, network::GRO, network::RECEIVE_BUFFER],
    network::SENDERS,
    network::RATES,
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
