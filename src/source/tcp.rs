//! `tcp`: lines over TCP or TLS, each an event; nothing is taken for a counted frame.

use super::SourceKind;
use super::inflate;
use super::listen::Transport;
use super::multiline;
use super::network::{self, Network, TcpOptions, UdpOptions};
use crate::config::OptionDoc;

pub(super) const KIND: SourceKind = SourceKind {
    name: "tcp",
    aliases: &[],
    summary: "lines over TCP or TLS, ended by LF, CR LF or NUL",
    options: OPTIONS,
    plan: |section| {
        let tcp = TcpOptions::plan(section);
        let allowed = &[Transport::TCP, Transport::TLS];
        let network = Network::plan(section, allowed, false, UdpOptions::NONE, tcp);
        Box::new(network.with_streams(section))
    },
};

const OPTIONS: &[OptionDoc] = &network::joined::<{ network::count(LISTS) }>(LISTS);

const LISTS: &[&[OptionDoc]] = &[
    network::PLACE,
    &[network::EVENT_MAX],
    network::CONNECTIONS,
    &[multiline::MULTILINE, inflate::COMPRESSION],
    network::WRAPPINGS,
    network::SENDERS,
    network::RATES,
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rows_are_what_is_asked_for() {
        crate::config::check_docs(OPTIONS, "listen = 'tcp://127.0.0.1:0'", |section| {
            (KIND.plan)(section);
        });
    }
}
