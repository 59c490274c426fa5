//! Reads any file of lzop's, ours or not: one member or several, with any of its checksums, which
//! are verified. Filters, which nobody uses, are refused.
//!
//! At an early end it fails, and can be asked again: a file that grows is read on, piece by piece.

use std::io::{self, ErrorKind, Read};

use super::crc32::crc32;

const MAGIC: [u8; 9] = *b"\x89LZO\x00\r\n\x1a\n";
/// lzop's own limit.
const PIECE_BYTES_MAX: u32 = 64 << 20;
/// Nobody writes any.
const EXTRA_BYTES_MAX: usize = 1 << 20;

const ADLER_RAW: u32 = 0x0001;
const ADLER_STORED: u32 = 0x0002;
const EXTRA: u32 = 0x0040;
const CRC_RAW: u32 = 0x0100;
const CRC_STORED: u32 = 0x0200;
const FILTER: u32 = 0x0800;
const HEADER_CRC: u32 = 0x1000;
const RESERVED: u32 = 0x000F_C000;

/// The part of the header that is always there, behind the magic: up to the length of the name.
const FIXED_BYTES: usize = 25;

/// A checksum of bytes.
type Sum = fn(&[u8]) -> u32;

/// Which checksums stand in front of a piece, in this order.
#[derive(Clone, Copy)]
pub(super) struct Sums {
    adler_raw: bool,
    crc_raw: bool,
    adler_stored: bool,
    crc_stored: bool,
}

/// The head of one piece.
pub(super) struct Piece {
    sums: Sums,
    head_bytes: usize,
    stored_bytes: usize,
    pub(super) raw_bytes: usize,
}

pub(super) struct LzoStream<R> {
    file: R,
    /// What was read of the next header or piece.
    read: Vec<u8>,
    /// Of the member that is being read; None: between two.
    member: Option<Sums>,
    raw: Vec<u8>,
    handed: usize,
}

impl Sums {
    /// What we write.
    pub(super) const CRC: Self =
        Self { adler_raw: false, crc_raw: true, adler_stored: false, crc_stored: true };

    fn of_flags(flags: u32) -> Self {
        Self {
            adler_raw: flags & ADLER_RAW != 0,
            crc_raw: flags & CRC_RAW != 0,
            adler_stored: flags & ADLER_STORED != 0,
            crc_stored: flags & CRC_STORED != 0,
        }
    }

    /// Each with what it is of.
    fn of(self, raw: bool) -> impl Iterator<Item = Sum> {
        let (adler, crc) = match raw {
            true => (self.adler_raw, self.crc_raw),
            false => (self.adler_stored, self.crc_stored),
        };
        let both = [adler.then_some(adler32 as Sum), crc.then_some(crc32 as Sum)];
        both.into_iter().flatten()
    }
}

impl Piece {
    /// None: `bytes` end within it. It is not checked whether they end behind it.
    pub(super) fn read(bytes: &[u8], sums: Sums) -> Result<Option<Self>, &'static str> {
        let (Some(raw), Some(stored)) = (word(bytes, 0), word(bytes, 4)) else { return Ok(None) };
        if raw == 0 || raw > PIECE_BYTES_MAX || stored == 0 || stored > raw {
            return Err("lengths of a block that cannot be");
        }
        let (raw_bytes, stored_bytes) = (raw as usize, stored as usize);
        let of_stored = sums.of(false).count();
        let sums_count = sums.of(true).count() + if stored < raw { of_stored } else { 0 };
        let head_bytes = 8 + 4 * sums_count;
        Ok((bytes.len() >= head_bytes).then_some(Self {
            sums,
            head_bytes,
            stored_bytes,
            raw_bytes,
        }))
    }

    pub(super) fn bytes(&self) -> usize {
        self.head_bytes + self.stored_bytes
    }

    /// Appends what is in it; `bytes` are all of it.
    pub(super) fn expand(&self, bytes: &[u8], out: &mut Vec<u8>) -> Result<(), &'static str> {
        let (head, stored) = bytes.split_at(self.head_bytes);
        let mut told = head[8..].chunks_exact(4).map(|sum| word(sum, 0));
        let mut agree = |raw: bool, bytes: &[u8]| {
            self.sums.of(raw).all(|sum| told.next() == Some(Some(sum(bytes))))
        };
        let shrunk = self.stored_bytes < self.raw_bytes;
        let from = out.len();
        if !shrunk {
            out.extend_from_slice(stored);
        } else {
            out.resize(from + self.raw_bytes, 0);
            let expanded = lzokay::decompress::decompress(stored, &mut out[from..]);
            if expanded.ok() != Some(self.raw_bytes) {
                out.truncate(from);
                return Err("a block that cannot be decoded");
            }
        }
        if agree(true, &out[from..]) && (!shrunk || agree(false, stored)) {
            return Ok(());
        }
        out.truncate(from);
        Err("a block that does not match its checksum")
    }
}

impl<R: Read> LzoStream<R> {
    pub(super) const fn new(file: R) -> Self {
        Self { file, read: Vec::new(), member: None, raw: Vec::new(), handed: 0 }
    }

    /// Makes `raw[handed..]` non-empty; false at a clean end of the file.
    fn fill(&mut self) -> io::Result<bool> {
        loop {
            let Some(sums) = self.member else {
                if !self.need(1)? {
                    return Ok(false);
                }
                self.member = Some(self.header()?);
                self.read.clear();
                continue;
            };
            self.want(4)?;
            if self.read[..4] == [0; 4] {
                self.member = None;
            } else {
                self.piece(sums)?;
            }
            self.read.clear();
            if self.handed < self.raw.len() {
                return Ok(true);
            }
        }
    }

    fn piece(&mut self, sums: Sums) -> io::Result<()> {
        let piece = loop {
            match Piece::read(&self.read, sums).map_err(bad)? {
                Some(piece) => break piece,
                None => self.want(self.read.len() + 4)?,
            }
        };
        self.want(piece.bytes())?;
        self.raw.clear();
        self.handed = 0;
        piece.expand(&self.read, &mut self.raw).map_err(bad)
    }

    fn header(&mut self) -> io::Result<Sums> {
        let from = MAGIC.len();
        self.want(from)?;
        if self.read[..from] != MAGIC {
            return Err(bad("what stands there is no file of lzop's"));
        }
        self.want(from + FIXED_BYTES)?;
        let half = |at: usize| u16::from_be_bytes([self.read[at], self.read[at + 1]]);
        if !(0x0940..0x2000).contains(&half(from)) || half(from + 4) > 0x1040 {
            return Err(bad("a file of another version of lzop"));
        }
        if !(1..=3).contains(&self.read[from + 6]) {
            return Err(bad("a file of lzop's that is not of LZO1X"));
        }
        let flags = word(&self.read, from + 8).expect("it was read");
        if flags & (FILTER | RESERVED) != 0 {
            return Err(bad("a file of lzop's with a filter, or with what nobody knows"));
        }
        let sum: Sum = if flags & HEADER_CRC != 0 { crc32 } else { adler32 };
        let end = from + FIXED_BYTES + usize::from(self.read[from + FIXED_BYTES - 1]);
        self.summed(from, end, sum)?;
        if flags & EXTRA != 0 {
            let from = end + 4;
            self.want(from + 4)?;
            let bytes = word(&self.read, from).expect("it was read") as usize;
            if bytes > EXTRA_BYTES_MAX {
                return Err(bad("a header of lzop's that is damaged"));
            }
            self.summed(from, from + 4 + bytes, sum)?;
        }
        Ok(Sums::of_flags(flags))
    }

    /// What is read from there to there has its checksum behind it.
    fn summed(&mut self, from: usize, end: usize, sum: Sum) -> io::Result<()> {
        self.want(end + 4)?;
        match word(&self.read, end) == Some(sum(&self.read[from..end])) {
            true => Ok(()),
            false => Err(bad("a header of lzop's that is damaged")),
        }
    }

    /// Reads until there are so many bytes; false at the end of the file.
    fn need(&mut self, bytes: usize) -> io::Result<bool> {
        let missing = bytes.saturating_sub(self.read.len()) as u64;
        (&mut self.file).take(missing).read_to_end(&mut self.read)?;
        Ok(self.read.len() >= bytes)
    }

    fn want(&mut self, bytes: usize) -> io::Result<()> {
        if self.need(bytes)? {
            return Ok(());
        }
        let what = match &self.read[..] {
            [] => "the end mark is missing",
            _ => "it is cut in the middle of a block, or of its header",
        };
        Err(io::Error::new(ErrorKind::UnexpectedEof, what))
    }
}

impl<R: Read> Read for LzoStream<R> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        if self.handed == self.raw.len() && !self.fill()? {
            return Ok(0);
        }
        let bytes = (self.raw.len() - self.handed).min(out.len());
        out[..bytes].copy_from_slice(&self.raw[self.handed..][..bytes]);
        self.handed += bytes;
        Ok(bytes)
    }
}

fn adler32(bytes: &[u8]) -> u32 {
    adler2::adler32_slice(bytes)
}

fn word(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..)?.first_chunk().map(|word| u32::from_be_bytes(*word))
}

fn bad(why: &'static str) -> io::Error {
    io::Error::new(ErrorKind::InvalidData, why)
}
