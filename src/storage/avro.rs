//! Avro's object container files: what stands at their begin, and around each block.
//!
//! ```text
//!   "Obj" 1 │ metadata: map of bytes, avro.schema and avro.codec among them │ marker, 16 bytes
//!   events  │ bytes │ data, as avro.codec has it │ marker                      one for each block
//! ```
//! Numbers are Avro's longs. Nothing of ours can hide in such a file, and it needs no index: cut
//! behind any block it is a whole file. A block is whole when the marker stands where it says.

use std::io;

use super::{ReadAt, read_full_at};

pub const MARKER_BYTES: usize = 16;
pub type Marker = [u8; MARKER_BYTES];

/// What Flume's serializer `avro_event` writes.
pub const EVENT_SCHEMA: &str = concat!(
    r#"{"type":"record","name":"Event","fields":["#,
    r#"{"name":"headers","type":{"type":"map","values":"string"}},"#,
    r#"{"name":"body","type":"bytes"}]}"#
);

const MAGIC: [u8; 4] = *b"Obj\x01";
const SCHEMA: &[u8] = b"avro.schema";
const CODEC: &[u8] = b"avro.codec";
/// Of any long.
const LONG_BYTES_MAX: usize = 10;
/// Of the head of a block that is under 4 GiB, and has as few events.
pub const BLOCK_EXTRA_BYTES: usize = 2 * 5 + MARKER_BYTES;
/// The longest begin of a file that is looked at.
pub const HEAD_BYTES_MAX: usize = 1 << 20;
/// In front of a block's data.
pub const LEAD_BYTES_MAX: usize = 2 * LONG_BYTES_MAX;

/// What the begin of a file says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Head {
    /// Where the first block stands.
    pub bytes: u64,
    /// JSON, if it is what it should be.
    pub schema: Vec<u8>,
    /// Avro's name of it.
    pub codec: String,
    /// Behind each block.
    pub marker: Marker,
}

/// What stands in front of a block's data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lead {
    /// Of itself.
    pub bytes: usize,
    pub events: u64,
    pub data_bytes: u64,
}

/// Whether a file that begins so is one of Avro's, or may be.
pub fn begins(front: &[u8]) -> bool {
    front.starts_with(&MAGIC)
}

/// The begin of a file whose blocks are stored by this codec of Avro's.
pub fn head(schema: &str, codec: &str, marker: &Marker) -> Vec<u8> {
    let mut head = MAGIC.to_vec();
    put_long(2, &mut head);
    for part in [SCHEMA, schema.as_bytes(), CODEC, codec.as_bytes()] {
        put_long(part.len() as u64, &mut head);
        head.extend_from_slice(part);
    }
    put_long(0, &mut head);
    head.extend_from_slice(marker);
    head
}

/// Appends a block with the data that `put` appends; after an error `out` is as it was.
pub fn put_block<E>(
    out: &mut Vec<u8>,
    events: u32,
    marker: &Marker,
    put: impl FnOnce(&mut Vec<u8>) -> Result<(), E>,
) -> Result<(), E> {
    let start = out.len();
    put_long(u64::from(events), out);
    let length_at = out.len();
    // How long it is, is known when it is there.
    out.extend_from_slice(&[0; 5]);
    let data_at = out.len();
    if let Err(error) = put(out) {
        out.truncate(start);
        return Err(error);
    }
    let end = out.len();
    put_long((end - data_at) as u64, out);
    let digits = out.len() - end;
    assert!(digits <= 5, "a block is under 4 GiB");
    out.copy_within(end.., length_at);
    out.copy_within(data_at..end, length_at + digits);
    out.truncate(length_at + digits + (end - data_at));
    out.extend_from_slice(marker);
    Ok(())
}

/// What was found in a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Whole {
    /// In front of the first block.
    pub head_bytes: u64,
    pub blocks: u64,
    pub events: u64,
    /// Where the last whole block ends.
    pub bytes: u64,
    /// The marker stands behind that, too: what is there is more than one torn block.
    pub more: bool,
}

/// Walks from block to block. None: it is no such file.
pub fn whole_blocks(file: &dyn ReadAt) -> io::Result<Option<Whole>> {
    let file_bytes = file.bytes()?;
    let mut front = vec![0; HEAD_BYTES_MAX.min(usize::try_from(file_bytes).unwrap_or(usize::MAX))];
    let read = read_full_at(file, 0, &mut front)?;
    let Some(Head { bytes: head_bytes, marker, .. }) = parse_head(&front[..read]) else {
        return Ok(None);
    };
    let mut whole = Whole { head_bytes, blocks: 0, events: 0, bytes: head_bytes, more: false };
    let mut lead = [0; LEAD_BYTES_MAX];
    loop {
        let read = read_full_at(file, whole.bytes, &mut lead)?;
        let Some(Lead { bytes, events, data_bytes }) = parse_lead(&lead[..read]) else { break };
        let data_at = whole.bytes + bytes as u64;
        let end = data_at.checked_add(data_bytes).filter(|end| *end < file_bytes);
        let Some(end) = end else { break };
        let mut found = Marker::default();
        if read_full_at(file, end, &mut found)? < MARKER_BYTES || found != marker {
            break;
        }
        whole.blocks += 1;
        whole.events = whole.events.saturating_add(events);
        whole.bytes = end + MARKER_BYTES as u64;
    }
    whole.more = find_marker(file, whole.bytes, &marker)?.is_some();
    Ok(Some(whole))
}

/// Where the marker stands next.
pub fn find_marker(file: &dyn ReadAt, from: u64, marker: &Marker) -> io::Result<Option<u64>> {
    let mut buffer = Vec::new();
    let mut at = from;
    loop {
        // Where little is damaged it stands near.
        let bytes = (4 * buffer.len()).clamp(4 << 10, 256 << 10);
        buffer.resize(bytes, 0);
        let read = read_full_at(file, at, &mut buffer)?;
        if let Some(found) = memchr::memmem::find(&buffer[..read], marker) {
            return Ok(Some(at + found as u64));
        }
        if read < buffer.len() {
            return Ok(None);
        }
        at += (read - MARKER_BYTES) as u64;
    }
}

/// What these bytes say that a file begins with. None: it is no such file, or they are too few.
pub fn parse_head(bytes: &[u8]) -> Option<Head> {
    let mut rest = bytes.strip_prefix(&MAGIC)?;
    let (mut schema, mut codec) = (None, "null".to_owned());
    loop {
        let mut pairs = take_signed(&mut rest)?;
        if pairs == 0 {
            break;
        }
        if pairs < 0 {
            // With its size behind the count.
            take_long(&mut rest)?;
            pairs = pairs.checked_neg()?;
        }
        for _ in 0..pairs {
            let (key, value) = (take_bytes(&mut rest)?, take_bytes(&mut rest)?);
            match key {
                SCHEMA => schema = Some(value.to_vec()),
                CODEC => codec = String::from_utf8_lossy(value).into_owned(),
                _ => {}
            }
        }
    }
    let (marker, schema) = (*rest.first_chunk::<MARKER_BYTES>()?, schema?);
    let bytes = (bytes.len() - rest.len() + MARKER_BYTES) as u64;
    Some(Head { bytes, schema, codec, marker })
}

/// What these bytes say that a block begins with. None: that is none, or they are too few.
pub fn parse_lead(bytes: &[u8]) -> Option<Lead> {
    let mut rest = bytes;
    let (events, data_bytes) = (take_long(&mut rest)?, take_long(&mut rest)?);
    Some(Lead { bytes: bytes.len() - rest.len(), events, data_bytes })
}

fn take_bytes<'b>(rest: &mut &'b [u8]) -> Option<&'b [u8]> {
    let length = usize::try_from(take_long(rest)?).ok()?;
    let (bytes, behind) = rest.split_at_checked(length)?;
    *rest = behind;
    Some(bytes)
}

/// A long that is not negative: zigzag, seven bits a byte, the lowest first.
fn put_long(number: u64, out: &mut Vec<u8>) {
    let mut rest = number << 1;
    while rest > 0x7F {
        out.push(rest as u8 | 0x80);
        rest >>= 7;
    }
    out.push(rest as u8);
}

fn take_long(rest: &mut &[u8]) -> Option<u64> {
    take_signed(rest)?.try_into().ok()
}

fn take_signed(rest: &mut &[u8]) -> Option<i64> {
    let mut value = 0_u64;
    for (index, byte) in rest.iter().take(LONG_BYTES_MAX).enumerate() {
        value |= u64::from(byte & 0x7F) << (7 * index);
        if byte & 0x80 == 0 {
            *rest = &rest[index + 1..];
            return Some((value >> 1) as i64 ^ -((value & 1) as i64));
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    const MARK: Marker = *b"0123456789abcdef";

    fn block(events: u32, data: &[u8]) -> Vec<u8> {
        let mut out = b"before".to_vec();
        put_block(&mut out, events, &MARK, |out| {
            out.extend_from_slice(data);
            Ok::<(), ()>(())
        })
        .unwrap();
        assert!(out.len() <= 6 + data.len() + BLOCK_EXTRA_BYTES);
        out.split_off(6)
    }

    #[test]
    fn longs_are_avros() {
        for (number, bytes) in [
            (0, &b"\x00"[..]),
            (1, b"\x02"),
            (63, b"\x7e"),
            (64, b"\x80\x01"),
            (8192, b"\x80\x80\x01"),
        ] {
            let mut out = Vec::new();
            put_long(number, &mut out);
            assert_eq!(out, bytes);
            assert_eq!(take_long(&mut &out[..]), Some(number));
        }
        assert_eq!(take_signed(&mut &b"\x01"[..]), Some(-1));
        assert_eq!(take_long(&mut &b"\x01"[..]), None);
        assert_eq!(take_signed(&mut &[0xff_u8; 20][..]), None);
        assert_eq!(take_signed(&mut &b"\x80"[..]), None);
    }

    #[test]
    fn cut_at_every_byte_the_whole_blocks_are_found() {
        let data: [&[u8]; 3] = [b"one", &[b'x'; 300], b""];
        let mut file = head(EVENT_SCHEMA, "null", &MARK);
        let head_bytes = file.len();
        let mut ends = vec![head_bytes];
        for (number, data) in (1..).zip(data) {
            file.extend_from_slice(&block(number, data));
            ends.push(file.len());
        }
        for cut in 0..=file.len() {
            let found = whole_blocks(&&file[..cut]).unwrap();
            let Some(found) = found else {
                assert!(cut < head_bytes, "{cut}");
                continue;
            };
            let blocks = ends.iter().filter(|end| **end <= cut).count() - 1;
            assert_eq!((found.blocks, found.bytes), (blocks as u64, ends[blocks] as u64), "{cut}");
            assert_eq!(found.events, (1..=blocks as u64).sum::<u64>());
            assert!(!found.more && found.head_bytes == head_bytes as u64);
        }
        // A hole in the middle: what stands behind it is not one torn block.
        file[ends[1] + 3..ends[1] + 200].fill(0);
        file[ends[2] - 1] = 0;
        let found = whole_blocks(&&file[..]).unwrap().unwrap();
        assert_eq!((found.blocks, found.more), (1, true));
    }

    #[test]
    fn other_files_are_none() {
        for bytes in [&b""[..], b"Obj", b"Obj\x01", b"Obj\x01 is how this line begins\n", b"text\n"]
        {
            assert_eq!(whole_blocks(&bytes).unwrap(), None);
        }
        let mut file = MAGIC.to_vec();
        file.extend_from_slice(b"\x00");
        file.extend_from_slice(&MARK);
        assert_eq!(whole_blocks(&&file[..]).unwrap(), None, "a file without a schema");
    }
}
