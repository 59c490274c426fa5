//! Captures of packets, pcap and pcapng: what is on the wire, as tcpdump and Wireshark keep it.
//!
//! [`Writer`] writes datagrams as pcapng, with IP and UDP headers made anew; [`Reader`] reads both
//! formats in either order of bytes; [`Heard`] says what a packet carries.

mod packet;
mod read;
mod write;

pub use packet::Heard;
pub use read::{CaptureError, Packet, Reader, is_capture};
pub use write::{TooLong, Writer};

/// Numbers of the pcapng format, and of link types that tcpdump.org lists.
const SECTION: u32 = 0x0a0d_0d0a;
const INTERFACE: u32 = 1;
const PACKET_OBSOLETE: u32 = 2;
const SIMPLE_PACKET: u32 = 3;
const PACKET: u32 = 6;
const BYTE_ORDER: u32 = 0x1a2b_3c4d;
const OPTION_RESOLUTION: u16 = 9;
const OPTION_OFFSET: u16 = 14;
const LINK_RAW: u16 = 101;
