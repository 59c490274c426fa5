//! How a header hides from the stock tools of each file format.
//!
//! ```text
//!   zstd, lz4   skippable frame   5b 2a 4d 18 | length u32 | payload
//!   gzip        empty member      1f 8b 08 04 | 0 u32 | 00 ff | XLEN u16 | "FL" LEN u16 payload
//!                                 | 03 00 (empty deflate) | crc32 0 | length 0
//!   none        nothing: plain text has no room to hide in, and lzop's files (`lzop`) have none
//! ```
//! A gzip header is a member of its own and not a field of the data member, so that all formats
//! have the same picture, [header frame][data frame], and a file cut between the two is still whole
//! to `gzip -dc`. The price is 20 bytes a block. (RFC 1952 2.3.1.1, zstd_compression_format.md)

/// The file format of a segment. Its number is the codec's number in block headers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Container {
    Plain,
    Gzip,
    Lz4,
    Zstd,
    Lzo,
}

pub const SKIPPABLE_MAGIC: u32 = 0x184D_2A5B;
/// First bytes of an empty gzip member with an extra field: magic, deflate, FEXTRA, no time, unix.
const GZIP_HEAD: [u8; 10] = [0x1f, 0x8b, 8, 4, 0, 0, 0, 0, 0, 0xff];
const GZIP_FIELD: [u8; 2] = *b"FL";
/// An empty deflate stream with its CRC-32 and length.
pub(super) const GZIP_TAIL: [u8; 10] = [3, 0, 0, 0, 0, 0, 0, 0, 0, 0];
const GZIP_LEAD_BYTES: usize = GZIP_HEAD.len() + 6;

/// Enough bytes to know a frame by: what [`Container::lead`] looks at.
pub const LEAD_BYTES_MAX: usize = GZIP_LEAD_BYTES;

/// The start of a header frame, as found in a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lead {
    pub lead_bytes: usize,
    pub payload_bytes: usize,
    /// Lead, payload and tail.
    pub frame_bytes: usize,
    pub gzip: bool,
}

impl Container {
    pub const ALL: [Self; 5] = [Self::Plain, Self::Gzip, Self::Lz4, Self::Zstd, Self::Lzo];

    /// Whether our headers stand in it.
    pub const fn headed(self) -> bool {
        match self {
            Self::Plain | Self::Lzo => false,
            Self::Gzip | Self::Lz4 | Self::Zstd => true,
        }
    }

    pub const fn wire_id(self) -> u8 {
        match self {
            Self::Plain => 0,
            Self::Gzip => 1,
            Self::Lz4 => 2,
            Self::Zstd => 3,
            Self::Lzo => 4,
        }
    }

    pub fn from_wire_id(id: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|container| container.wire_id() == id)
    }

    /// The end of a file name.
    pub const fn suffix(self) -> &'static str {
        match self {
            Self::Plain => "",
            Self::Gzip => ".gz",
            Self::Lz4 => ".lz4",
            Self::Zstd => ".zst",
            Self::Lzo => ".lzo",
        }
    }

    /// By the end of a finished file's name (`.open` taken off): anything unknown is plain text.
    pub fn from_name(name: &str) -> Self {
        Self::of_suffix(|suffix| name.ends_with(suffix))
    }

    /// The one whose suffix it is, or plain text.
    pub(super) fn of_suffix(mut is: impl FnMut(&str) -> bool) -> Self {
        let mut all = Self::ALL.into_iter().filter(|container| !container.suffix().is_empty());
        all.find(|container| is(container.suffix())).unwrap_or(Self::Plain)
    }

    /// Bytes in front of a payload.
    pub const fn lead_bytes(self) -> usize {
        match self {
            Self::Plain | Self::Lzo => 0,
            Self::Gzip => GZIP_LEAD_BYTES,
            Self::Lz4 | Self::Zstd => 8,
        }
    }

    /// Length of the frame that hides `payload_bytes`; 0 where nothing hides.
    pub const fn frame_bytes(self, payload_bytes: usize) -> usize {
        match self {
            Self::Plain | Self::Lzo => 0,
            Self::Gzip => GZIP_LEAD_BYTES + payload_bytes + GZIP_TAIL.len(),
            Self::Lz4 | Self::Zstd => 8 + payload_bytes,
        }
    }

    /// The longest payload one frame hides.
    pub const fn payload_bytes_max(self) -> usize {
        match self {
            Self::Plain | Self::Lzo => 0,
            // XLEN is a u16 and counts the subfield's own four bytes.
            Self::Gzip => u16::MAX as usize - 4,
            Self::Lz4 | Self::Zstd => 1 << 30,
        }
    }

    /// Appends the frame with room for a payload of zeroes; says where in `out` the payload lies.
    pub(super) fn open_frame(self, payload_bytes: usize, out: &mut Vec<u8>) -> usize {
        assert!(payload_bytes <= self.payload_bytes_max(), "a header frame holds {payload_bytes}");
        match self {
            Self::Plain | Self::Lzo => unreachable!("nothing hides there"),
            Self::Gzip => {
                out.extend_from_slice(&GZIP_HEAD);
                out.extend_from_slice(&(payload_bytes as u16 + 4).to_le_bytes());
                out.extend_from_slice(&GZIP_FIELD);
                out.extend_from_slice(&(payload_bytes as u16).to_le_bytes());
            }
            Self::Lz4 | Self::Zstd => skippable_lead(SKIPPABLE_MAGIC, payload_bytes as u32, out),
        }
        let at = out.len();
        out.resize(at + payload_bytes, 0);
        if self == Self::Gzip {
            out.extend_from_slice(&GZIP_TAIL);
        }
        at
    }

    /// Recognises one of our header frames by its first bytes; None when it is something else or
    /// too short to tell.
    pub fn lead(bytes: &[u8]) -> Option<Lead> {
        if bytes.starts_with(&GZIP_HEAD) {
            let field: &[u8; 6] = bytes.get(GZIP_HEAD.len()..)?.first_chunk()?;
            let extra_bytes = usize::from(u16::from_le_bytes([field[0], field[1]]));
            let payload_bytes = usize::from(u16::from_le_bytes([field[4], field[5]]));
            if field[2..4] != GZIP_FIELD || extra_bytes != payload_bytes + 4 {
                return None;
            }
            let frame_bytes = Self::Gzip.frame_bytes(payload_bytes);
            let lead_bytes = GZIP_LEAD_BYTES;
            return Some(Lead { lead_bytes, payload_bytes, frame_bytes, gzip: true });
        }
        let payload_bytes = skippable_bytes(SKIPPABLE_MAGIC, bytes)? as usize;
        let frame_bytes = 8 + payload_bytes;
        Some(Lead { lead_bytes: 8, payload_bytes, frame_bytes, gzip: false })
    }

    /// Whether `bytes` could be the beginning of one of our files that was cut early.
    pub fn may_begin(bytes: &[u8]) -> bool {
        let magic = SKIPPABLE_MAGIC.to_le_bytes();
        let short = |lead: &[u8]| bytes.len() < lead.len() && lead.starts_with(bytes);
        short(&magic) || short(&GZIP_HEAD) || Self::lead(bytes).is_some() || {
            let whole = bytes.starts_with(&magic) && bytes.len() < 8;
            whole || (bytes.starts_with(&GZIP_HEAD) && bytes.len() < GZIP_LEAD_BYTES)
        }
    }
}

/// Whether the bytes that close a header frame are what they must be (gzip only has some).
pub(super) fn tail_is_whole(lead: Lead, tail: &[u8]) -> bool {
    tail == if lead.gzip { &GZIP_TAIL[..] } else { &[] }
}

pub(super) fn skippable_lead(magic: u32, payload_bytes: u32, out: &mut Vec<u8>) {
    out.extend_from_slice(&magic.to_le_bytes());
    out.extend_from_slice(&payload_bytes.to_le_bytes());
}

/// Payload length of a skippable frame of this magic.
pub(super) fn skippable_bytes(magic: u32, bytes: &[u8]) -> Option<u32> {
    let head: &[u8; 8] = bytes.first_chunk()?;
    let (found, length) = head.split_at(4);
    let length = u32::from_le_bytes(length.try_into().expect("four of eight bytes"));
    (found == magic.to_le_bytes()).then_some(length)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_is_recognised_and_its_payload_found() {
        for container in [Container::Gzip, Container::Lz4, Container::Zstd] {
            let mut out = b"before".to_vec();
            let at = container.open_frame(68, &mut out);
            assert_eq!(out.len(), 6 + container.frame_bytes(68));
            let lead = Container::lead(&out[6..]).unwrap();
            assert_eq!(at, 6 + container.lead_bytes());
            assert_eq!((lead.lead_bytes, lead.payload_bytes), (container.lead_bytes(), 68));
            assert_eq!(lead.frame_bytes, out.len() - 6);
            assert!(tail_is_whole(lead, &out[at + 68..]));
            for cut in 0..lead.lead_bytes {
                assert!(Container::may_begin(&out[6..6 + cut]), "{container:?} {cut}");
            }
        }
    }

    #[test]
    fn other_files_are_not_ours() {
        let gzip = [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 3, 0x4b, 4, 0, 0, 0, 0, 0];
        for bytes in [&b"plain text, of some length"[..], &gzip, &[0x28, 0xb5, 0x2f, 0xfd, 4, 0]] {
            assert_eq!(Container::lead(bytes), None);
            assert!(!Container::may_begin(bytes));
        }
        assert_eq!(Container::from_name("x.log.3.zst"), Container::Zstd);
        assert_eq!(Container::from_name("x.log"), Container::Plain);
        assert_eq!(Container::from_name("x.log.lzo"), Container::Lzo);
    }
}
