//! `syslog`: any mix of UDP, TCP, TLS, RELP and Unix sockets; on streams of lines octet-counted
//! frames (RFC 6587 3.4.1) and lines are told apart frame by frame. What the messages say is read
//! when a sink wants it.

use super::SourceKind;
use super::acks;
use super::inflate;
use super::listen::Transport;
use super::local;
use super::multiline;
use super::network::{self, Network, TcpOptions, UdpOptions};
use super::zones::{self, Zones};
use crate::config::OptionDoc;

pub(super) const KIND: SourceKind = SourceKind {
    name: "syslog",
    aliases: &["syslogtcp", "syslogudp", "multiport_syslogtcp"],
    summary: "syslog over any mix of transports, in counted frames and lines",
    options: OPTIONS,
    plan: |section| {
        let (udp, tcp) = (UdpOptions::plan(section), TcpOptions::plan(section));
        let network = Network::plan(section, TRANSPORTS, true, udp, tcp).with_streams(section);
        let ack = acks::plan(section, network.has_acknowledging());
        let access = local::plan(section);
        Box::new(Network { zones: Some(Zones::plan(section)), ack, access, ..network })
    },
};

const TRANSPORTS: &[Transport] = &[
    Transport::UDP,
    Transport::TCP,
    Transport::TLS,
    Transport::RELP,
    Transport::RELPS,
    Transport::UNIX,
    Transport::UNIXGRAM,
    Transport::PASSED,
];

const OPTIONS: &[OptionDoc] = &network::joined::<{ network::count(LISTS) }>(LISTS);

const LISTS: &[&[OptionDoc]] = &[
    network::PLACE,
    &[network::EVENT_MAX, network::GRO, network::RECEIVE_BUFFER],
    network::CONNECTIONS,
    &[multiline::MULTILINE, inflate::COMPRESSION],
    network::WRAPPINGS,
    network::SENDERS,
    network::RATES,
    &[acks::ACK],
    local::SOCKET,
    &[zones::ZONE, zones::ZONES],
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
