//! The 16-byte records that grow down from the end of a page.
//!
//! ```text
//!  EVENT   0        4        8        12      14   15   16
//!          │ offset │ length │ delta  │ origin│ pri│ tag │     delta: ns after the page's base
//!  ORIGIN  │ 15 of 30 bytes of the origin          │ tag │     two slots, front and back, and
//!          │ 15 of up to 255 bytes of its name     │ tag │     so many as its names need
//!  FIELDS  │ see `parsed`                          │ tag │     none, one or two behind an EVENT
//! ```
//! `tag`: bits 0-4 marks, bit 5 headers behind the text, bits 6-7 kind.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6};

use bytemuck::{Pod, Zeroable};

use crate::sys::credentials::Credentials;

/// PRI of an event nobody asked for, or that has none.
pub(super) const PRI_NONE: u8 = 255;

const KIND_MASK: u8 = 0b1100_0000;
/// A Unix socket's peer, among the families of addresses.
const FAMILY_PROCESS: u8 = 1;
/// A block of headers stands behind the event's LF.
pub(super) const HEADED: u8 = 0b0010_0000;
pub(super) const KIND_EVENT: u8 = 0;
pub(super) const KIND_ORIGIN: u8 = 0b0100_0000;
pub(super) const KIND_FIELDS: u8 = 0b1000_0000;

/// Of an origin or its name in one slot.
pub(super) const PART_BYTES: usize = 15;
/// Among the bytes of an origin: what [`Behind`] says.
const NAME_BYTES_AT: usize = 25;
const LOCAL_AND_HOST_AT: usize = 26;
/// Where its labels begin in the page, and one more, in 24 bits; 0: it has none.
const LABELS_AT: usize = 27;
const _: () = assert!(crate::limits::BATCH_BYTES_MAX < 1 << 24);
/// Of a name, what an origin's slots hold.
pub(super) const NAME_BYTES_MAX: usize = u8::MAX as usize;
const _: () = assert!(NAME_BYTES_MAX.div_ceil(PART_BYTES) << 1 <= u8::MAX as usize);

#[repr(C, align(16))]
#[derive(Clone, Copy, Debug, Pod, Zeroable)]
pub(super) struct Slot {
    pub(super) offset: u32,
    pub(super) length: u32,
    pub(super) delta: u32,
    pub(super) origin: u16,
    pub(super) pri: u8,
    pub(super) tag: u8,
}

const _: () = assert!(size_of::<Slot>() == 16);

impl Slot {
    pub(super) fn kind(&self) -> u8 {
        self.tag & KIND_MASK
    }

    /// Up to 15 bytes of an origin or its name.
    pub(super) fn of_origin(part: &[u8]) -> Self {
        let mut raw = [0u8; 16];
        raw[..part.len()].copy_from_slice(part);
        raw[15] = KIND_ORIGIN;
        bytemuck::cast(raw)
    }

    pub(super) fn origin_bytes(&self) -> &[u8] {
        &bytemuck::bytes_of(self)[..PART_BYTES]
    }
}

/// Where events came from: shared by all events of one connection or sender in a page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Origin {
    /// The sender's address; none for sources without a network peer.
    pub peer: Option<SocketAddr>,
    /// Which of the source's listeners took it.
    pub listener: u16,
    /// The sending process, as the kernel names it; of Unix sockets only, which have no address.
    pub credentials: Option<Credentials>,
}

/// An origin's place in one filling of one page (see `Page::serial`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OriginIndex(pub(super) u16);

impl Origin {
    pub const LOCAL: Self = Self { peer: None, listener: 0, credentials: None };

    pub const fn new(peer: Option<SocketAddr>, listener: u16) -> Self {
        Self { peer, listener, credentials: None }
    }

    /// Bytes: 0-15 address, 16-17 port, 18-19 listener, 20 family (0 none, 4, 6, or 1: a process,
    /// whose ids are 0-3 pid, 4-7 uid, 8-11 gid), 21-24 scope id, 25 bytes of the name behind it,
    /// 26 in bit 0 whether behind that stand two more slots with the address that it was sent to,
    /// above it how many slots behind those hold what its sender's host is called, with zeros at
    /// the end, 27-29 where its labels begin, and one more.
    pub(super) fn to_slots(self, behind: Behind) -> [Slot; 2] {
        let mut bytes = [0u8; 30];
        if let Some(peer) = self.peer {
            match peer {
                SocketAddr::V4(v4) => bytes[..4].copy_from_slice(&v4.ip().octets()),
                SocketAddr::V6(v6) => {
                    bytes[..16].copy_from_slice(&v6.ip().octets());
                    bytes[21..25].copy_from_slice(&v6.scope_id().to_le_bytes());
                }
            }
            bytes[16..18].copy_from_slice(&peer.port().to_le_bytes());
            bytes[20] = if peer.is_ipv4() { 4 } else { 6 };
        } else if let Some(Credentials { pid, uid, gid }) = self.credentials {
            for (id, place) in [pid, uid, gid].into_iter().zip(bytes.chunks_mut(4)) {
                place.copy_from_slice(&id.to_le_bytes());
            }
            bytes[20] = FAMILY_PROCESS;
        }
        bytes[18..20].copy_from_slice(&self.listener.to_le_bytes());
        bytes[NAME_BYTES_AT] = behind.name_bytes;
        bytes[LOCAL_AND_HOST_AT] = u8::from(behind.local) | behind.host_slots << 1;
        let labels = behind.labels.map_or(0, |at| at + 1).to_le_bytes();
        bytes[LABELS_AT..].copy_from_slice(&labels[..3]);
        [Slot::of_origin(&bytes[..15]), Slot::of_origin(&bytes[15..])]
    }

    pub(super) fn from_slots(front: Slot, back: Slot) -> Self {
        debug_assert!(front.kind() == KIND_ORIGIN && back.kind() == KIND_ORIGIN);
        let mut bytes = [0u8; 30];
        bytes[..PART_BYTES].copy_from_slice(front.origin_bytes());
        bytes[PART_BYTES..].copy_from_slice(back.origin_bytes());
        let port = u16::from_le_bytes([bytes[16], bytes[17]]);
        let listener = u16::from_le_bytes([bytes[18], bytes[19]]);
        let mut address = [0u8; 16];
        address.copy_from_slice(&bytes[..16]);
        let id = |at: usize| {
            let mut id = [0; 4];
            id.copy_from_slice(&bytes[at..at + 4]);
            u32::from_le_bytes(id)
        };
        let process = bytes[20] == FAMILY_PROCESS;
        let credentials = process.then(|| Credentials { pid: id(0), uid: id(4), gid: id(8) });
        let peer = match bytes[20] {
            4 => {
                let v4 = Ipv4Addr::new(address[0], address[1], address[2], address[3]);
                Some(SocketAddr::new(IpAddr::V4(v4), port))
            }
            6 => {
                let scope = u32::from_le_bytes([bytes[21], bytes[22], bytes[23], bytes[24]]);
                let v6 = Ipv6Addr::from(address);
                Some(SocketAddr::V6(SocketAddrV6::new(v6, port, 0, scope)))
            }
            _ => None,
        };
        Self { peer, listener, credentials }
    }
}

/// What an origin's back slot says of what stands behind it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Behind {
    pub(super) name_bytes: u8,
    pub(super) local: bool,
    pub(super) host_slots: u8,
    /// Where the labels begin in the page.
    pub(super) labels: Option<u32>,
}

impl Behind {
    pub(super) const NONE: Self = Self { name_bytes: 0, local: false, host_slots: 0, labels: None };

    #[inline]
    pub(super) fn of(back: &Slot) -> Self {
        let bytes = &back.origin_bytes()[NAME_BYTES_AT - PART_BYTES..];
        let labels = u32::from_le_bytes([bytes[2], bytes[3], bytes[4], 0]);
        Self {
            name_bytes: bytes[0],
            local: bytes[1] & 1 > 0,
            host_slots: bytes[1] >> 1,
            labels: labels.checked_sub(1),
        }
    }

    pub(super) fn name_slots(&self) -> usize {
        usize::from(self.name_bytes).div_ceil(PART_BYTES)
    }

    /// In front of the host's name.
    pub(super) fn front_slots(&self) -> usize {
        self.name_slots() + 2 * usize::from(self.local)
    }

    pub(super) fn slots(&self) -> usize {
        self.front_slots() + usize::from(self.host_slots)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_origin_comes_back_as_it_was() {
        for peer in ["127.0.0.1:514", "[fe80::1%7]:65535", "[::1]:1"] {
            let origin = Origin::new(Some(peer.parse().expect("address")), 513);
            let [front, back] = origin.to_slots(Behind::NONE);
            assert_eq!(Origin::from_slots(front, back), origin);
        }
        let credentials = Some(Credentials { pid: 4_000_000, uid: u32::MAX, gid: 7 });
        for origin in [Origin::LOCAL, Origin { credentials, ..Origin::new(None, 9) }] {
            let [front, back] = origin.to_slots(Behind::NONE);
            assert_eq!(Origin::from_slots(front, back), origin);
        }
    }
}
