//! What a captured packet carries, by its link type.

use std::net::{IpAddr, SocketAddr};

use etherparse::{EtherType, NetSlice, SlicedPacket, TransportSlice};

use super::LINK_RAW;

const LINK_NULL: u16 = 0;
const LINK_ETHERNET: u16 = 1;
/// Bare IP, as some systems number it in files of their own.
const LINK_RAW_BSD: u16 = 12;
const LINK_RAW_OPENBSD: u16 = 14;
const LINK_LOOP: u16 = 108;
const LINK_SLL: u16 = 113;
const LINK_IPV4: u16 = 228;
const LINK_IPV6: u16 = 229;
const LINK_SLL2: u16 = 276;
const SLL2_BYTES: usize = 20;

/// What was heard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Heard<'a> {
    Datagram {
        from: SocketAddr,
        to: SocketAddr,
        bytes: &'a [u8],
    },
    /// A segment of a TCP connection.
    Segment,
    /// A piece of an IP packet.
    Fragment,
    /// The capture holds only the front of it.
    Cut,
    /// Something else, or nothing that can be understood.
    Other,
}

pub(super) fn heard(link: u16, bytes: &[u8], whole: bool) -> Heard<'_> {
    let sliced = match link {
        LINK_ETHERNET => SlicedPacket::from_ethernet(bytes).ok(),
        LINK_RAW | LINK_RAW_BSD | LINK_RAW_OPENBSD | LINK_IPV4 | LINK_IPV6 => {
            SlicedPacket::from_ip(bytes).ok()
        }
        LINK_NULL | LINK_LOOP => {
            bytes.get(4..).and_then(|packet| SlicedPacket::from_ip(packet).ok())
        }
        LINK_SLL => SlicedPacket::from_linux_sll(bytes).ok(),
        LINK_SLL2 => bytes.get(SLL2_BYTES..).and_then(|packet| {
            let protocol = EtherType(u16::from_be_bytes([bytes[0], bytes[1]]));
            SlicedPacket::from_ether_type(protocol, packet).ok()
        }),
        _ => None,
    };
    let Some(sliced) = sliced else { return if whole { Heard::Other } else { Heard::Cut } };
    if sliced.is_ip_payload_fragmented() {
        return Heard::Fragment;
    }
    let (from, to): (IpAddr, IpAddr) = match &sliced.net {
        Some(NetSlice::Ipv4(ip)) => {
            (ip.header().source_addr().into(), ip.header().destination_addr().into())
        }
        Some(NetSlice::Ipv6(ip)) => {
            (ip.header().source_addr().into(), ip.header().destination_addr().into())
        }
        _ => return Heard::Other,
    };
    match sliced.transport {
        Some(TransportSlice::Udp(_)) if !whole => Heard::Cut,
        Some(TransportSlice::Udp(udp)) => Heard::Datagram {
            from: SocketAddr::new(from, udp.source_port()),
            to: SocketAddr::new(to, udp.destination_port()),
            bytes: udp.payload(),
        },
        Some(TransportSlice::Tcp(_)) => Heard::Segment,
        _ => Heard::Other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use etherparse::PacketBuilder;

    fn bare() -> Vec<u8> {
        let mut out = Vec::new();
        let packet = PacketBuilder::ipv4([10, 0, 0, 1], [10, 0, 0, 2], 9).udp(7, 2055);
        packet.write(&mut out, b"flow").unwrap();
        out
    }

    #[test]
    fn a_datagram_is_found_behind_every_kind_of_link() {
        let ethernet = [&[2; 12][..], &[8, 0], &bare()].concat();
        let vlan = [&[2; 12][..], &[0x81, 0, 0, 5, 8, 0], &bare()].concat();
        let padded = [&ethernet[..], &[0; 14]].concat();
        let sll = [&[0, 0, 0, 1, 0, 6][..], &[2; 6], &[0, 0, 8, 0], &bare()].concat();
        let sll2 = [&[8, 0][..], &[0; 18], &bare()].concat();
        let null = [&[2, 0, 0, 0][..], &bare()].concat();
        for (link, bytes) in [
            (LINK_ETHERNET, ethernet),
            (LINK_ETHERNET, vlan),
            (LINK_ETHERNET, padded),
            (LINK_SLL, sll),
            (LINK_SLL2, sll2),
            (LINK_NULL, null.clone()),
            (LINK_LOOP, null),
            (LINK_RAW, bare()),
            (LINK_RAW_BSD, bare()),
            (LINK_IPV4, bare()),
        ] {
            let (from, to) = ("10.0.0.1:7".parse().unwrap(), "10.0.0.2:2055".parse().unwrap());
            let expected = Heard::Datagram { from, to, bytes: b"flow" };
            assert_eq!(heard(link, &bytes, true), expected, "{link}");
            assert_eq!(heard(link, &bytes, false), Heard::Cut, "{link}");
            for cut in 0..bytes.len() {
                let _ = heard(link, &bytes[..cut], true);
            }
        }
        assert_eq!(heard(9999, &bare(), true), Heard::Other);
    }

    #[test]
    fn what_is_no_datagram_is_called_by_its_name() {
        let mut tcp = Vec::new();
        let packet = PacketBuilder::ipv4([10, 0, 0, 1], [10, 0, 0, 2], 9).tcp(7, 80, 1, 100);
        packet.write(&mut tcp, b"GET").unwrap();
        assert_eq!(heard(LINK_RAW, &tcp, true), Heard::Segment);
        let mut fragment = bare();
        fragment[6] = 0x20;
        assert_eq!(heard(LINK_RAW, &fragment, true), Heard::Fragment);
        let mut ping = Vec::new();
        let packet = PacketBuilder::ipv4([10, 0, 0, 1], [10, 0, 0, 2], 9);
        packet.icmpv4_echo_request(1, 1).write(&mut ping, b"").unwrap();
        assert_eq!(heard(LINK_RAW, &ping, true), Heard::Other);
    }
}
