//! Datagrams as pcapng: one interface of bare IP packets, times in nanoseconds.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use etherparse::PacketBuilder;

use super::{BYTE_ORDER, INTERFACE, LINK_RAW, OPTION_RESOLUTION, PACKET, SECTION};

const OPTION_END: u16 = 0;
const OPTION_COMMENT: u16 = 1;
const OPTION_NAME: u16 = 2;
const OPTION_APPLICATION: u16 = 4;
/// 10^-9 seconds.
const RESOLUTION_NS: u8 = 9;
/// Of headers that we make; it says nothing about the way the datagram came.
const HOPS: u8 = 64;

/// No IP packet holds it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TooLong;

/// Appends to vectors; the caller writes them on.
#[derive(Default)]
pub struct Writer {
    packet: Vec<u8>,
}

impl Writer {
    /// What a capture begins with.
    pub fn begin(&self, out: &mut Vec<u8>) {
        block(SECTION, out, |out| {
            out.extend_from_slice(&BYTE_ORDER.to_le_bytes());
            out.extend_from_slice(&[1, 0, 0, 0]);
            // The length of the section: not known.
            out.extend_from_slice(&(-1_i64).to_le_bytes());
            let application = concat!("flumen ", env!("CARGO_PKG_VERSION"));
            option(OPTION_APPLICATION, application.as_bytes(), out);
            option(OPTION_END, &[], out);
        });
        block(INTERFACE, out, |out| {
            out.extend_from_slice(&LINK_RAW.to_le_bytes());
            out.extend_from_slice(&[0; 2]);
            // Packets are not cut.
            out.extend_from_slice(&[0; 4]);
            option(OPTION_NAME, b"flumen", out);
            option(OPTION_RESOLUTION, &[RESOLUTION_NS], out);
            option(OPTION_END, &[], out);
        });
    }

    /// One datagram. Addresses that are not known are zeros; IPv4 beside IPv6 is mapped.
    pub fn datagram(
        &mut self,
        at_ns: i64,
        from: Option<SocketAddr>,
        to: Option<SocketAddr>,
        bytes: &[u8],
        comment: Option<&str>,
        out: &mut Vec<u8>,
    ) -> Result<(), TooLong> {
        self.packet.clear();
        let ports = [from, to].map(|address| address.map_or(0, |it| it.port()));
        let written = match (ip(from), ip(to)) {
            (IpAddr::V4(from), IpAddr::V4(to)) if bytes.len() <= 65_507 => {
                PacketBuilder::ipv4(from.octets(), to.octets(), HOPS)
                    .udp(ports[0], ports[1])
                    .write(&mut self.packet, bytes)
            }
            (IpAddr::V4(_), IpAddr::V4(_)) => return Err(TooLong),
            (from, to) => PacketBuilder::ipv6(six(from, to), six(to, from), HOPS)
                .udp(ports[0], ports[1])
                .write(&mut self.packet, bytes),
        };
        written.map_err(|_| TooLong)?;
        let packet = &self.packet;
        // Before 1970 there is no time in this format.
        let at = u64::try_from(at_ns).unwrap_or(0);
        block(PACKET, out, |out| {
            let length = u32::try_from(packet.len()).expect("an IP packet is below 64 KiB");
            for field in [0, (at >> 32) as u32, at as u32, length, length] {
                out.extend_from_slice(&field.to_le_bytes());
            }
            padded(packet, out);
            if let Some(comment) = comment {
                option(OPTION_COMMENT, comment.as_bytes(), out);
                option(OPTION_END, &[], out);
            }
        });
        Ok(())
    }
}

fn ip(address: Option<SocketAddr>) -> IpAddr {
    address.map_or_else(|| Ipv4Addr::UNSPECIFIED.into(), |address| address.ip())
}

/// An address beside one of IPv6.
fn six(ip: IpAddr, beside: IpAddr) -> [u8; 16] {
    match ip {
        IpAddr::V6(ip) => ip.octets(),
        IpAddr::V4(ip) if ip.is_unspecified() && beside.is_ipv6() => Ipv6Addr::UNSPECIFIED.octets(),
        IpAddr::V4(ip) => ip.to_ipv6_mapped().octets(),
    }
}

fn block(kind: u32, out: &mut Vec<u8>, body: impl FnOnce(&mut Vec<u8>)) {
    let start = out.len();
    out.extend_from_slice(&kind.to_le_bytes());
    out.extend_from_slice(&[0; 4]);
    body(out);
    let length = u32::try_from(out.len() + 4 - start).expect("a block is small").to_le_bytes();
    out[start + 4..start + 8].copy_from_slice(&length);
    out.extend_from_slice(&length);
}

fn option(code: u16, value: &[u8], out: &mut Vec<u8>) {
    let length = u16::try_from(value.len()).expect("our options are short");
    out.extend_from_slice(&code.to_le_bytes());
    out.extend_from_slice(&length.to_le_bytes());
    padded(value, out);
}

/// Filled up to a multiple of four.
fn padded(bytes: &[u8], out: &mut Vec<u8>) {
    out.extend_from_slice(bytes);
    let rest = bytes.len().next_multiple_of(4) - bytes.len();
    out.extend_from_slice(&[0; 3][..rest]);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::capture::{Heard, Reader};

    fn address(text: &str) -> Option<SocketAddr> {
        Some(text.parse().unwrap())
    }

    /// The sum of a header's 16-bit words is all ones when its checksum is right (RFC 1071).
    fn sum(parts: &[&[u8]]) -> u16 {
        let words = parts.iter().flat_map(|part| part.chunks(2));
        let sum: u32 = words
            .map(|word| u32::from(word[0]) << 8 | word.get(1).map_or(0, |byte| u32::from(*byte)))
            .sum();
        let folded = (sum & 0xffff) + (sum >> 16);
        ((folded & 0xffff) + (folded >> 16)) as u16
    }

    #[test]
    fn what_is_written_is_read_with_time_addresses_and_bytes() {
        let long = vec![7; 65_507];
        let cases: [(Option<SocketAddr>, Option<SocketAddr>, &[u8]); 7] = [
            (address("192.0.2.9:40000"), address("198.51.100.1:2055"), b"\0\x05odd"),
            (address("192.0.2.9:1"), address("198.51.100.1:65535"), b""),
            (address("[2001:db8::1]:9"), address("[ff02::1]:6343"), b"six"),
            (address("192.0.2.9:1"), address("[2001:db8::2]:2"), b"mixed"),
            (None, address("[2001:db8::2]:2"), b"unknown"),
            (None, None, b"nothing is known"),
            (address("192.0.2.9:1"), address("192.0.2.8:1"), &long),
        ];
        let mut writer = Writer::default();
        let mut file = Vec::new();
        writer.begin(&mut file);
        for (index, (from, to, bytes)) in cases.iter().enumerate() {
            let at = 1_700_000_000_123_456_789 + index as i64;
            let comment = (index % 2 == 0).then_some("only the front");
            writer.datagram(at, *from, *to, bytes, comment, &mut file).unwrap();
            assert_eq!(file.len() % 4, 0);
        }
        let longer = vec![0; 65_508];
        assert_eq!(writer.datagram(0, None, None, &longer, None, &mut file), Err(TooLong));
        let v6 = address("[::1]:1");
        assert_eq!(writer.datagram(0, v6, v6, &[0; 65_528], None, &mut file), Err(TooLong));

        let mut reader = Reader::new(&file[..]).unwrap();
        for (index, (from, to, bytes)) in cases.iter().enumerate() {
            let packet = reader.next_packet().unwrap().expect("one more");
            assert_eq!(packet.at_ns, Some(1_700_000_000_123_456_789 + index as i64));
            let Heard::Datagram { from: source, to: destination, bytes: heard } = packet.heard()
            else {
                panic!("{index}: {:?}", packet.heard())
            };
            assert!(heard == *bytes);
            assert_eq!(source.port(), from.map_or(0, |it| it.port()));
            assert_eq!(destination.ip().to_canonical(), ip(*to).to_canonical());
            assert_eq!(Some(source).filter(|_| from.is_some()), canonical(source, *from));
        }
        assert!(reader.next_packet().unwrap().is_none());
    }

    fn canonical(source: SocketAddr, from: Option<SocketAddr>) -> Option<SocketAddr> {
        from.map(|from| if source.is_ipv6() && from.is_ipv4() { source } else { from })
    }

    #[test]
    fn checksums_are_right() {
        let mut writer = Writer::default();
        for bytes in [&b""[..], b"odd", b"even"] {
            let (from, to) = (address("192.0.2.9:40000"), address("198.51.100.1:2055"));
            writer.datagram(0, from, to, bytes, None, &mut Vec::new()).unwrap();
            let (ip, udp) = writer.packet.split_at(20);
            assert_eq!(sum(&[ip]), 0xffff);
            let length = (udp.len() as u16).to_be_bytes();
            assert_eq!(sum(&[&ip[12..20], &[0, 17], &length, udp]), 0xffff);
            let (from, to) = (address("[2001:db8::1]:9"), address("[2001:db8::2]:10"));
            writer.datagram(0, from, to, bytes, None, &mut Vec::new()).unwrap();
            let (ip, udp) = writer.packet.split_at(40);
            let length = (udp.len() as u16).to_be_bytes();
            assert_eq!(sum(&[&ip[8..40], &length, &[0, 17], udp]), 0xffff);
        }
    }
}
