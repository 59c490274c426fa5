//! pcap and pcapng, block by block from any stream of bytes.
//!
//! Memory: one block, or one packet. A capture of several sections, of several interfaces with
//! links and clocks of their own, written in either order of bytes, is read like any other.

use std::io::{self, Read};

use super::packet::{Heard, heard};
use super::{
    BYTE_ORDER, INTERFACE, OPTION_OFFSET, OPTION_RESOLUTION, PACKET, PACKET_OBSOLETE, SECTION,
    SIMPLE_PACKET,
};

/// The longest block or packet that is believed: Wireshark's own limit is 256 KiB a packet.
const BLOCK_BYTES_MAX: usize = 16 << 20;
/// Of legacy files: microseconds, nanoseconds.
const MAGIC_US: u32 = 0xa1b2_c3d4;
const MAGIC_NS: u32 = 0xa1b2_3c4d;

#[derive(Debug, thiserror::Error)]
pub enum CaptureError {
    #[error("{0}")]
    Read(#[from] io::Error),
    #[error("it is no capture (pcap or pcapng)")]
    Foreign,
    #[error("it ends in the middle of a block, at byte {0}")]
    Cut(u64),
    #[error("damaged at byte {at}: {why}")]
    Damaged { at: u64, why: &'static str },
}

/// One captured packet.
#[derive(Clone, Copy, Debug)]
pub struct Packet<'a> {
    /// None: the capture does not say.
    pub at_ns: Option<i64>,
    pub link: u16,
    pub bytes: &'a [u8],
    /// Nothing of it was left out.
    pub whole: bool,
}

impl<'a> Packet<'a> {
    pub fn heard(&self) -> Heard<'a> {
        heard(self.link, self.bytes, self.whole)
    }
}

/// Whether a file begins as a capture does.
pub fn is_capture(head: &[u8]) -> bool {
    let Some(magic) = head.first_chunk().map(|magic| u32::from_le_bytes(*magic)) else {
        return false;
    };
    magic == SECTION
        || [MAGIC_US, MAGIC_NS].iter().any(|it| [*it, it.swap_bytes()].contains(&magic))
}

/// An interface's link type and clock.
#[derive(Clone, Copy, Debug)]
struct Interface {
    link: u16,
    /// Units of time in a second.
    per_second: u64,
    offset_seconds: i64,
}

pub struct Reader<R> {
    stream: R,
    /// How far it was read.
    at: u64,
    format: Format,
    big_endian: bool,
    interfaces: Vec<Interface>,
    block: Vec<u8>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Format {
    Legacy,
    Blocks,
}

/// Where a packet stands in the block that was read.
struct Place {
    at_ns: Option<i64>,
    link: u16,
    from: usize,
    to: usize,
    whole: bool,
}

impl<R: Read> Reader<R> {
    pub fn new(stream: R) -> Result<Self, CaptureError> {
        let (format, interfaces) = (Format::Blocks, Vec::new());
        let mut reader =
            Self { stream, at: 0, format, big_endian: false, interfaces, block: Vec::new() };
        if !reader.fill(4)? || !is_capture(&reader.block) {
            return Err(CaptureError::Foreign);
        }
        if reader.word(0) != SECTION {
            reader.legacy_header()?;
        } else {
            reader.section()?;
        }
        Ok(reader)
    }

    /// The next packet; None at the end.
    pub fn next_packet(&mut self) -> Result<Option<Packet<'_>>, CaptureError> {
        let place = match self.format {
            Format::Legacy => self.legacy_packet()?,
            Format::Blocks => loop {
                match self.next_block()? {
                    None => break None,
                    Some(kind) => {
                        if let Some(place) = self.packet_of(kind)? {
                            break Some(place);
                        }
                    }
                }
            },
        };
        Ok(place.map(|place| Packet {
            at_ns: place.at_ns,
            link: place.link,
            bytes: &self.block[place.from..place.to],
            whole: place.whole,
        }))
    }

    // ── the stream ──

    /// Reads so many bytes into the block; false at the very end.
    fn fill(&mut self, bytes: usize) -> Result<bool, CaptureError> {
        self.block.clear();
        self.read_on(bytes).map(|read| read > 0 || bytes == 0)
    }

    /// Appends so many bytes, or none at the end.
    fn read_on(&mut self, bytes: usize) -> Result<usize, CaptureError> {
        let read = self.stream.by_ref().take(bytes as u64).read_to_end(&mut self.block)?;
        self.at += read as u64;
        if read != bytes && read != 0 {
            return Err(CaptureError::Cut(self.at));
        }
        Ok(read)
    }

    /// The same where the end would be in the middle of something.
    fn read_whole(&mut self, bytes: usize) -> Result<(), CaptureError> {
        if self.read_on(bytes)? == bytes { Ok(()) } else { Err(CaptureError::Cut(self.at)) }
    }

    fn damaged<T>(&self, why: &'static str) -> Result<T, CaptureError> {
        Err(CaptureError::Damaged { at: self.at, why })
    }

    fn word(&self, at: usize) -> u32 {
        let mut word = [0; 4];
        word.copy_from_slice(&self.block[at..at + 4]);
        if self.big_endian { u32::from_be_bytes(word) } else { u32::from_le_bytes(word) }
    }

    fn half(&self, at: usize) -> u16 {
        let half = [self.block[at], self.block[at + 1]];
        if self.big_endian { u16::from_be_bytes(half) } else { u16::from_le_bytes(half) }
    }

    // ── pcap ──

    fn legacy_header(&mut self) -> Result<(), CaptureError> {
        self.big_endian = self.word(0) != MAGIC_US && self.word(0) != MAGIC_NS;
        let per_second = if self.word(0) == MAGIC_NS { 1_000_000_000 } else { 1_000_000 };
        self.read_whole(20)?;
        let link = self.word(20) as u16;
        self.interfaces.push(Interface { link, per_second, offset_seconds: 0 });
        self.format = Format::Legacy;
        Ok(())
    }

    fn legacy_packet(&mut self) -> Result<Option<Place>, CaptureError> {
        if !self.fill(16)? {
            return Ok(None);
        }
        let interface = self.interfaces[0];
        let units = u64::from(self.word(0)) * interface.per_second + u64::from(self.word(4));
        let (captured, original) = (self.word(8), self.word(12));
        let length = captured as usize;
        if length > BLOCK_BYTES_MAX {
            return self.damaged("a packet of more than 16 MiB");
        }
        self.read_whole(length)?;
        let at_ns = interface.time(units);
        let whole = captured >= original;
        Ok(Some(Place { at_ns, link: interface.link, from: 16, to: 16 + length, whole }))
    }

    // ── pcapng ──

    /// A section's header, of which the first four bytes are read: the order of bytes, and none of
    /// the interfaces of the section before.
    fn section(&mut self) -> Result<(), CaptureError> {
        self.read_whole(8)?;
        self.big_endian = false;
        if self.word(8) != BYTE_ORDER {
            self.big_endian = true;
            if self.word(8) != BYTE_ORDER {
                return self.damaged("a section in no known order of bytes");
            }
        }
        self.interfaces.clear();
        let length = self.length(28)?;
        self.read_whole(length - 12)
    }

    /// The length that a block says, if it may be true.
    fn length(&self, least: usize) -> Result<usize, CaptureError> {
        let length = self.word(4) as usize;
        if length < least || !length.is_multiple_of(4) || length > BLOCK_BYTES_MAX {
            return self.damaged("a block of an impossible length");
        }
        Ok(length)
    }

    /// Reads the next block, and says what it is.
    fn next_block(&mut self) -> Result<Option<u32>, CaptureError> {
        if !self.fill(4)? {
            return Ok(None);
        }
        let kind = self.word(0);
        if kind == SECTION {
            self.section()?;
            return Ok(Some(kind));
        }
        self.read_whole(4)?;
        let length = self.length(12)?;
        self.read_whole(length - 8)?;
        if self.word(length - 4) as usize != length {
            return self.damaged("a block that ends otherwise than it begins");
        }
        Ok(Some(kind))
    }

    fn packet_of(&mut self, kind: u32) -> Result<Option<Place>, CaptureError> {
        let end = self.block.len() - 4;
        let head = match kind {
            INTERFACE => return self.interface().map(|()| None),
            PACKET | PACKET_OBSOLETE => 28,
            SIMPLE_PACKET => 12,
            _ => return Ok(None),
        };
        if end < head {
            return self.damaged("a packet without its head");
        }
        let number = match kind {
            PACKET => self.word(8) as usize,
            PACKET_OBSOLETE => usize::from(self.half(8)),
            _ => 0,
        };
        let Some(interface) = self.interfaces.get(number).copied() else {
            return self.damaged("a packet of an interface that was not described");
        };
        let (at_ns, captured, original) = if kind == SIMPLE_PACKET {
            let original = self.word(8) as usize;
            (None, original.min(end - head), original)
        } else {
            let units = u64::from(self.word(12)) << 32 | u64::from(self.word(16));
            (interface.time(units), self.word(20) as usize, self.word(24) as usize)
        };
        if captured > end - head {
            return self.damaged("a packet longer than its block");
        }
        let whole = captured >= original;
        let link = interface.link;
        Ok(Some(Place { at_ns, link, from: head, to: head + captured, whole }))
    }

    fn interface(&mut self) -> Result<(), CaptureError> {
        let end = self.block.len() - 4;
        if end < 16 {
            return self.damaged("an interface without its head");
        }
        let link = self.half(8);
        let mut found = Interface { link, per_second: 1_000_000, offset_seconds: 0 };
        let mut at = 16;
        while at + 4 <= end {
            let (code, length) = (self.half(at), usize::from(self.half(at + 2)));
            let value = at + 4;
            if code == 0 || value + length > end {
                break;
            }
            if code == OPTION_RESOLUTION && length >= 1 {
                let Some(per_second) = per_second(self.block[value]) else {
                    return self.damaged("a clock finer than any");
                };
                found.per_second = per_second;
            } else if code == OPTION_OFFSET && length >= 8 {
                let (low, high) = (self.word(value), self.word(value + 4));
                let (low, high) = if self.big_endian { (high, low) } else { (low, high) };
                found.offset_seconds = (u64::from(high) << 32 | u64::from(low)) as i64;
            }
            at = value + length.next_multiple_of(4);
        }
        self.interfaces.push(found);
        Ok(())
    }
}

/// A power of ten, or with the highest bit of two.
fn per_second(code: u8) -> Option<u64> {
    match code & 0x80 {
        0 => 10_u64.checked_pow(u32::from(code)),
        _ => 1_u64.checked_shl(u32::from(code & 0x7f)),
    }
}

impl Interface {
    fn time(&self, units: u64) -> Option<i64> {
        let ns = u128::from(units) * 1_000_000_000 / u128::from(self.per_second);
        let offset = i128::from(self.offset_seconds) * 1_000_000_000;
        i64::try_from(i128::try_from(ns).ok()? + offset).ok()
    }
}

#[cfg(test)]
mod tests;
