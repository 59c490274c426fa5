//! What is known of the events of an open block, each in front of its event's bytes until the block
//! goes: its time, its peer, and how many bytes follow.

use crate::limits::{META_BYTES_MAX, usize_of};
use crate::storage::meta::{MetaCoder, Received, put_peer, take_peer};
use crate::time::Wall;

/// Of one event, at most.
pub(super) const RECORD_BYTES_MAX: usize = 8 + 4 + 23;
/// Events of a block whatever they are, the last of 36 bytes each: they fit the block's header.
pub(super) const RECORDS_MAX: u32 = (META_BYTES_MAX / 37) as u32;

/// Appends a record; the event's bytes come behind it, [`ended`] says how many.
pub(super) fn begin(out: &mut Vec<u8>, event: Received) {
    out.extend_from_slice(&event.at.0.to_le_bytes());
    out.extend_from_slice(&[0; 4]);
    put_peer(out, event.peer);
}

/// The record at the start of `encoded` is followed by all that is behind its `record_bytes`.
pub(super) fn ended(encoded: &mut [u8], record_bytes: usize) {
    let bytes = u32::try_from(encoded.len() - record_bytes).expect("an event is under 4 GiB");
    encoded[8..12].copy_from_slice(&bytes.to_le_bytes());
}

/// Takes the records out of a block's bytes and tells the coder of them.
pub(super) fn take_out(raw: &mut Vec<u8>, coder: &mut MetaCoder) {
    let (mut from, mut to) = (0, 0);
    while from < raw.len() {
        let (time, rest) = raw[from..].split_first_chunk().expect("a record begins here");
        let (bytes, rest) = rest.split_first_chunk().expect("a record has a length");
        let (at, bytes) = (Wall(i64::from_le_bytes(*time)), usize_of(u32::from_le_bytes(*bytes)));
        let (peer, rest) = take_peer(rest).expect("a record has a peer, or says it has none");
        let start = raw.len() - rest.len();
        assert!(coder.push(at, peer), "a block has at most {RECORDS_MAX} events");
        raw.copy_within(start..start + bytes, to);
        (from, to) = (start + bytes, to + bytes);
    }
    raw.truncate(to);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storage::fields::{META, find};
    use crate::storage::meta::Meta;

    #[test]
    fn records_are_taken_out_and_the_widest_of_them_fit_a_header() {
        let mut raw = Vec::new();
        let event = |number: u32| Received {
            at: Wall(if number.is_multiple_of(2) { i64::MIN } else { i64::MAX }),
            peer: Some(format!("[fe80::{number:x}%9]:{number}").parse().unwrap()),
        };
        for number in 0..RECORDS_MAX {
            let mut encoded = Vec::new();
            begin(&mut encoded, event(number));
            let record_bytes = encoded.len();
            assert!(record_bytes <= RECORD_BYTES_MAX);
            encoded.extend_from_slice(format!("{number}\n").as_bytes());
            ended(&mut encoded, record_bytes);
            raw.extend_from_slice(&encoded);
        }
        let (mut coder, mut fields) = (MetaCoder::default(), Vec::new());
        take_out(&mut raw, &mut coder);
        coder.finish(&mut fields);
        let expected: String = (0..RECORDS_MAX).map(|number| format!("{number}\n")).collect();
        assert_eq!(String::from_utf8(raw).unwrap(), expected);
        let meta = Meta::decode(find(&fields, META).unwrap(), RECORDS_MAX).unwrap();
        assert!((0..RECORDS_MAX).all(|number| meta.of(number) == Some(event(number))));
    }
}
