//! `syslog`: any mix of UDP and TCP listeners; on TCP octet-counted frames (RFC 6587 3.4.1) and
//! lines are told apart frame by frame. What the messages say is read when a sink wants it.

use super::SourceKind;
use super::listen::Transport;
use super::network::{self, Network, TcpOptions, UdpOptions};
use super::zones::{self, Zones};
use crate::config::OptionDoc;

pub(super) const KIND: SourceKind = SourceKind {
    name: "syslog",
    aliases: &["syslogtcp", "syslogudp", "multiport_syslogtcp"],
    summary: "syslog over any mix of udp:// and tcp:// listeners, counted frames and lines",
    options: OPTIONS,
    plan: |section| {
        let (udp, tcp) = (UdpOptions::plan(section), TcpOptions::plan(section));
        let network = Network::plan(section, &[Transport::UDP, Transport::TCP], true, udp, tcp);
        Box::new(Network { zones: Some(Zones::plan(section)), ..network })
    },
};

const OPTIONS: &[OptionDoc] = &[
    network::LISTEN,
    network::THREADS,
    network::EVENT_MAX,
    network::GRO,
    network::RECEIVE_BUFFER,
    network::CONNECTIONS_MAX,
    network::IDLE_TIMEOUT,
    network::KEEPALIVE,
    zones::ZONE,
    zones::ZONES,
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
