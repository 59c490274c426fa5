//! Datagrams as they came: records of the `datagram` encoder, one behind the other.
//!
//! ```text
//!   0  record bytes u32     all of it, this field included
//!   4  version u8           1
//!   5  family u8            4, 6, or 0: no addresses are known
//!   6  flags u8             bit 0: the kernel gave only the front of it; readers ignore others
//!   7  head bytes u8        where the datagram begins: 28, 56, or 20 with family 0
//!   8  time i64             when the kernel had it, ns since 1970
//!  16  source port u16   18  destination port u16
//!  20  source address    24  destination address                       family 4: 4 bytes each
//!  20  source address    36  destination address   52  scope id u32    family 6: 16 bytes each
//!  ..  the datagram, possibly none
//! ```
//! All numbers are little-endian, addresses stand as on the wire. A longer head is read by what is
//! known of it; a change of meaning is a new version. An address that is not known is all zeros.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6};

use crate::limits::{u32_of, usize_of};
use crate::time::Wall;

const VERSION: u8 = 1;
const FLAG_TRUNCATED: u8 = 1;
const FIXED_BYTES: usize = 20;
const HEAD_BYTES_4: usize = FIXED_BYTES + 2 * 4;
const HEAD_BYTES_6: usize = FIXED_BYTES + 2 * 16 + 4;
/// What a record has beside the datagram, at most.
pub const HEAD_BYTES_MAX: usize = HEAD_BYTES_6;

/// One datagram.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Record<'a> {
    pub at: Wall,
    /// Who sent it.
    pub peer: Option<SocketAddr>,
    /// The address and port that it was sent to.
    pub local: Option<SocketAddr>,
    /// Only the front of it is here.
    pub truncated: bool,
    pub bytes: &'a [u8],
}

impl<'a> Record<'a> {
    pub fn write(&self, out: &mut Vec<u8>) {
        let v6 = |address: Option<SocketAddr>| address.is_some_and(|it| it.is_ipv6());
        let (family, head) = match (self.peer, self.local) {
            (None, None) => (0, FIXED_BYTES),
            (peer, local) if v6(peer) || v6(local) => (6, HEAD_BYTES_6),
            _ => (4, HEAD_BYTES_4),
        };
        let flags = if self.truncated { FLAG_TRUNCATED } else { 0 };
        out.extend_from_slice(&u32_of(head + self.bytes.len()).to_le_bytes());
        out.extend_from_slice(&[VERSION, family, flags, head as u8]);
        out.extend_from_slice(&self.at.0.to_le_bytes());
        for address in [self.peer, self.local] {
            out.extend_from_slice(&address.map_or(0, |it| it.port()).to_le_bytes());
        }
        for address in [self.peer, self.local] {
            match (family, address.map(|it| it.ip())) {
                (0, _) => {}
                (4, Some(IpAddr::V4(ip))) => out.extend_from_slice(&ip.octets()),
                (4, _) => out.extend_from_slice(&[0; 4]),
                (_, Some(IpAddr::V6(ip))) => out.extend_from_slice(&ip.octets()),
                (_, Some(IpAddr::V4(ip))) => out.extend_from_slice(&ip.to_ipv6_mapped().octets()),
                (_, None) => out.extend_from_slice(&[0; 16]),
            }
        }
        if family == 6 {
            let scope = match (self.peer, self.local) {
                (Some(SocketAddr::V6(one)), _) | (None, Some(SocketAddr::V6(one))) => {
                    one.scope_id()
                }
                _ => 0,
            };
            out.extend_from_slice(&scope.to_le_bytes());
        }
        out.extend_from_slice(self.bytes);
    }

    /// The first record of these bytes and its length; None when they begin with no whole one.
    pub fn read(bytes: &'a [u8]) -> Option<(Self, usize)> {
        let fixed: &[u8; FIXED_BYTES] = bytes.first_chunk()?;
        let length = usize_of(u32::from_le_bytes([fixed[0], fixed[1], fixed[2], fixed[3]]));
        let (version, family, flags, head) = (fixed[4], fixed[5], fixed[6], usize::from(fixed[7]));
        let known = match family {
            0 => FIXED_BYTES,
            4 => HEAD_BYTES_4,
            6 => HEAD_BYTES_6,
            _ => return None,
        };
        if version != VERSION || head < known || length < head || length > bytes.len() {
            return None;
        }
        let mut time = [0; 8];
        time.copy_from_slice(&fixed[8..16]);
        let [peer, local] = addresses(family, &bytes[16..known]);
        let at = Wall(i64::from_le_bytes(time));
        let truncated = flags & FLAG_TRUNCATED != 0;
        Some((Self { at, peer, local, truncated, bytes: &bytes[head..length] }, length))
    }
}

/// Source and destination, from the ports on.
fn addresses(family: u8, bytes: &[u8]) -> [Option<SocketAddr>; 2] {
    let port = |at: usize| u16::from_le_bytes([bytes[at], bytes[at + 2 - 1]]);
    let found = match family {
        4 => [4, 8].map(|at| {
            IpAddr::from(Ipv4Addr::new(bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]))
        }),
        6 => [4, 20].map(|at| {
            let mut octets = [0; 16];
            octets.copy_from_slice(&bytes[at..at + 16]);
            IpAddr::from(Ipv6Addr::from(octets))
        }),
        _ => return [None, None],
    };
    let scope = |ip: Ipv6Addr| match bytes.get(36..40) {
        Some(scope) if ip.is_unicast_link_local() => {
            u32::from_le_bytes([scope[0], scope[1], scope[2], scope[3]])
        }
        _ => 0,
    };
    let of = |ip: IpAddr, port: u16| match ip.to_canonical() {
        ip if ip.is_unspecified() && port == 0 => None,
        IpAddr::V4(ip) => Some(SocketAddr::new(ip.into(), port)),
        IpAddr::V6(ip) => Some(SocketAddrV6::new(ip, port, 0, scope(ip)).into()),
    };
    [of(found[0], port(0)), of(found[1], port(2))]
}

/// The whole records in front, each with where its datagram begins.
pub fn records(bytes: &[u8]) -> impl Iterator<Item = (usize, Record<'_>)> {
    let mut at = 0;
    std::iter::from_fn(move || {
        let (record, length) = Record::read(&bytes[at..])?;
        at += length;
        Some((at - record.bytes.len(), record))
    })
}

/// The length of the whole records in front.
pub fn whole_bytes(bytes: &[u8]) -> usize {
    records(bytes).last().map_or(0, |(at, record)| at + record.bytes.len())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn record(bytes: &[u8]) -> Record<'_> {
        let peer = Some("192.0.2.9:40000".parse().unwrap());
        let local = Some("198.51.100.1:2055".parse().unwrap());
        Record { at: Wall(1_700_000_000_123_456_789), peer, local, truncated: false, bytes }
    }

    #[test]
    fn the_bytes_are_those_that_are_documented() {
        let mut out = Vec::new();
        record(b"hi").write(&mut out);
        let head = [30, 0, 0, 0, 1, 4, 0, 28];
        assert_eq!(out[..8], head);
        assert_eq!(out[8..16], 1_700_000_000_123_456_789_i64.to_le_bytes());
        let rest = [0x40, 0x9c, 0x07, 0x08, 192, 0, 2, 9, 198, 51, 100, 1, b'h', b'i'];
        assert_eq!(out[16..], rest);
    }

    #[test]
    fn every_family_comes_back_and_a_scope_with_it() {
        let address = |text: &str| Some(text.parse::<SocketAddr>().unwrap());
        for (peer, local) in [
            (None, None),
            (address("10.0.0.1:1"), None),
            (None, address("10.0.0.1:65535")),
            (address("[fe80::1%7]:5"), address("[2001:db8::1]:6343")),
            (address("[fe80::1%7]:5"), address("[fe80::2%7]:6343")),
            (address("[2001:db8::9]:5"), None),
            (address("10.0.0.1:1"), address("[2001:db8::1]:6343")),
        ] {
            for truncated in [false, true] {
                let written = Record { peer, local, truncated, ..record(b"") };
                let mut out = Vec::new();
                written.write(&mut out);
                assert!(out.len() <= HEAD_BYTES_MAX);
                assert_eq!(Record::read(&out), Some((written, out.len())));
            }
        }
    }

    #[test]
    fn a_longer_head_is_read_and_what_is_no_record_is_refused() {
        let mut out = Vec::new();
        record(b"xy").write(&mut out);
        let mut longer = out.clone();
        longer.splice(28..28, [9; 4]);
        (longer[0], longer[7]) = (34, 32);
        assert_eq!(Record::read(&longer), Some((record(b"xy"), 34)));
        for (at, byte) in [(0, 27), (0, 31), (3, 1), (4, 2), (5, 5), (5, 6), (7, 27), (7, 31)] {
            let mut wrong = out.clone();
            wrong[at] = byte;
            assert_eq!(Record::read(&wrong), None, "{byte} at {at}");
        }
        (0..out.len()).for_each(|cut| assert_eq!(Record::read(&out[..cut]), None));
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_without_fault(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            prop_assert!(whole_bytes(&bytes) <= bytes.len());
        }

        #[test]
        fn many_come_back_in_order(
            texts in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..60), 0..20),
            cut in 0usize..50,
        ) {
            let mut out = Vec::new();
            texts.iter().for_each(|text| record(text).write(&mut out));
            let read: Vec<_> = records(&out).map(|(_, record)| record.bytes.to_vec()).collect();
            prop_assert_eq!(&read, &texts);
            prop_assert_eq!(whole_bytes(&out), out.len());
            let rest = &out[..out.len().saturating_sub(cut)];
            let whole = whole_bytes(rest);
            prop_assert!(records(rest).count() <= texts.len());
            prop_assert_eq!(records(&out[..whole]).count(), records(rest).count());
        }
    }
}
