//! Captures as others write them.

use super::*;
use crate::wire::capture::{LINK_RAW, Writer};
use proptest::prelude::*;

fn put(out: &mut Vec<u8>, big: bool, words: &[u32]) {
    for word in words {
        out.extend_from_slice(&if big { word.to_be_bytes() } else { word.to_le_bytes() });
    }
}

/// A block of whole words.
fn block(out: &mut Vec<u8>, big: bool, kind: u32, body: &[u32]) {
    let length = 12 + 4 * body.len() as u32;
    put(out, big, &[kind, length]);
    put(out, big, body);
    put(out, big, &[length]);
}

fn halves(big: bool, first: u16, second: u16) -> u32 {
    let (first, second) = (u32::from(first), u32::from(second));
    if big { first << 16 | second } else { second << 16 | first }
}

/// A byte and three of padding.
fn byte(big: bool, byte: u8) -> u32 {
    if big { u32::from(byte) << 24 } else { u32::from(byte) }
}

fn all(file: &[u8]) -> Vec<(Option<i64>, u16, Vec<u8>, bool)> {
    let mut reader = Reader::new(file).unwrap();
    let mut found = Vec::new();
    while let Some(packet) = reader.next_packet().unwrap() {
        found.push((packet.at_ns, packet.link, packet.bytes.to_vec(), packet.whole));
    }
    found
}

#[test]
fn legacy_captures_in_both_orders_and_resolutions() {
    for big in [false, true] {
        for (magic, fraction) in [(MAGIC_US, 123_456), (MAGIC_NS, 123_456_000)] {
            let mut file = Vec::new();
            put(&mut file, big, &[magic, halves(big, 2, 4), 0, 0, 65_535, 1]);
            assert!(is_capture(&file));
            put(&mut file, big, &[1_700_000_000, fraction, 3, 3]);
            file.extend_from_slice(b"abc");
            put(&mut file, big, &[4_000_000_000, 0, 0, 9]);
            let at = 1_700_000_000_123_456_000;
            assert_eq!(
                all(&file),
                [
                    (Some(at), 1, b"abc".to_vec(), true),
                    (Some(4_000_000_000_000_000_000), 1, vec![], false)
                ]
            );
            for cut in 24..file.len() {
                let mut reader = Reader::new(&file[..cut]).unwrap();
                while let Ok(Some(_)) = reader.next_packet() {}
            }
        }
    }
}

#[test]
fn sections_and_interfaces_each_have_an_order_a_link_and_a_clock() {
    let mut file = Vec::new();
    for big in [false, true] {
        block(&mut file, big, SECTION, &[BYTE_ORDER, halves(big, 1, 0), !0, !0]);
        // A block that nobody knows.
        block(&mut file, big, 0x0bad_0bad, &[1, 2, 3]);
        block(&mut file, big, INTERFACE, &[halves(big, LINK_RAW, 0), 0]);
        let resolution = [halves(big, 9, 1), byte(big, 0x8a)];
        let offset = halves(big, 14, 8);
        let seconds = if big { [0, 100] } else { [100, 0] };
        let fine = [&[halves(big, 1, 0), 0][..], &resolution, &[offset], &seconds, &[0]].concat();
        block(&mut file, big, INTERFACE, &fine);
        // 5 µs after the first second by the first clock, half a second by the other's 1/1024.
        block(&mut file, big, PACKET, &[0, 0, 1_000_005, 4, 4, 7]);
        block(&mut file, big, PACKET, &[1, 0, 512, 2, 60, 7]);
        block(&mut file, big, PACKET_OBSOLETE, &[halves(big, 1, 0), 0, 1024, 4, 4, 7]);
        block(&mut file, big, SIMPLE_PACKET, &[4, 7]);
    }
    let seven = [7_u32.to_le_bytes().to_vec(), 7_u32.to_be_bytes().to_vec()];
    let expected = seven.iter().flat_map(|seven| {
        [
            (Some(1_000_005_000), LINK_RAW, seven.clone(), true),
            (Some(100_500_000_000), 1, seven[..2].to_vec(), false),
            (Some(101_000_000_000), 1, seven.clone(), true),
            (None, LINK_RAW, seven.clone(), true),
        ]
    });
    assert_eq!(all(&file), expected.collect::<Vec<_>>());
}

#[test]
fn what_is_no_capture_or_is_damaged_is_told() {
    for foreign in [&b""[..], b"ab", b"<34>Oct 11", &[0x1f, 0x8b, 8, 0]] {
        assert!(matches!(Reader::new(foreign), Err(CaptureError::Foreign | CaptureError::Cut(_))));
    }
    let mut good = Vec::new();
    let mut writer = Writer::default();
    writer.begin(&mut good);
    let begun = good.len();
    writer.datagram(1, None, None, b"abcd", None, &mut good).unwrap();
    for (at, with, told) in [
        (begun + 4, 13, "impossible length"),
        (begun + 8, 1, "not described"),
        (begun + 20, 200, "longer than its block"),
        (good.len() - 4, 1, "ends otherwise"),
    ] {
        let mut bad = good.clone();
        bad[at] = with;
        let mut reader = Reader::new(&bad[..]).unwrap();
        let error = reader.next_packet().unwrap_err().to_string();
        assert!(error.contains(told), "{at}: {error}");
    }
    let mut reader = Reader::new(&good[..good.len() - 1]).unwrap();
    assert!(matches!(reader.next_packet(), Err(CaptureError::Cut(_))));
}

proptest! {
    #[test]
    fn any_bytes_behind_a_header_are_read_without_fault(
        bytes in prop::collection::vec(any::<u8>(), 0..300),
        legacy in any::<bool>(),
        flip in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..4),
    ) {
        let mut file = Vec::new();
        if legacy {
            put(&mut file, false, &[MAGIC_US, halves(false, 2, 4), 0, 0, 65_535, 1]);
        } else {
            let mut writer = Writer::default();
            writer.begin(&mut file);
            writer.datagram(1, None, None, b"abcd", None, &mut file).unwrap();
            for (at, byte) in flip {
                let at = at.index(file.len());
                file[at] = byte;
            }
        }
        file.extend_from_slice(&bytes);
        if let Ok(mut reader) = Reader::new(&file[..]) {
            while let Ok(Some(packet)) = reader.next_packet() {
                packet.heard();
            }
        }
    }
}
