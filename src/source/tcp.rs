//! `tcp`: lines over TCP or TLS, each an event; nothing is taken for a counted frame.

use super::SourceKind;
use super::inflate;
use super::interface;
use super::listen::Transport;
use super::multiline;
use super::network::{self, Network, TcpOptions, UdpOptions};
use super::preamble;
use super::reverse;
use super::sender_headers;
use super::tls;
use super::warden;
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

const OPTIONS: &[OptionDoc] = &[
    network::LISTEN,
    interface::INTERFACE,
    network::THREADS,
    network::EVENT_MAX,
    network::CONNECTIONS_MAX,
    network::IDLE_TIMEOUT,
    network::KEEPALIVE,
    multiline::MULTILINE,
    inflate::COMPRESSION,
    tls::TLS,
    preamble::PROXY_PROTOCOL,
    preamble::PROXY_TIMEOUT,
    reverse::REVERSE_DNS,
    sender_headers::REMOTE_ADDRESS,
    sender_headers::CLIENT_IP,
    sender_headers::CLIENT_HOSTNAME,
    sender_headers::PORT,
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
        crate::config::check_docs(OPTIONS, "listen = 'tcp://127.0.0.1:0'", |section| {
            (KIND.plan)(section);
        });
    }
}
