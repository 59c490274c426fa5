//! `json`: one object a line.

use std::io::Write;

use super::Encoder;
use crate::codec::Encoding;
use crate::event::Event;

/// `{"time":"…","peer":"…","pri":13,"marks":["split"],"message":"…"}`: absent fields are left out;
/// a message that is not UTF-8 has `message_base64` instead.
#[derive(Clone, Copy, Debug, Default)]
pub struct Json;

/// Punctuation, names, time, the longest peer and all marks.
const FRAME_BYTES_MAX: usize = 256;

impl Encoder for Json {
    fn encoding(&self) -> Encoding {
        Encoding::Json
    }

    fn bound(&self, event_bytes: usize) -> usize {
        FRAME_BYTES_MAX + 6 * event_bytes
    }

    fn bound_event(&self, event: &Event<'_>) -> usize {
        let controls = event.bytes.iter().filter(|byte| **byte < 0x20).count();
        let quotes = event.bytes.iter().filter(|byte| matches!(byte, b'"' | b'\\')).count();
        let base64 = event.bytes.len() / 3 * 4 + 4;
        FRAME_BYTES_MAX + base64.max(event.bytes.len() + 5 * controls + quotes)
    }

    fn encode_event(&self, event: &Event<'_>, out: &mut Vec<u8>) {
        out.extend_from_slice(b"{\"time\":\"");
        time(event.at.0, out);
        out.push(b'"');
        if let Some(peer) = event.origin.peer {
            let _ = write!(out, ",\"peer\":\"{peer}\"");
        }
        if let Some(pri) = event.pri {
            let _ = write!(out, ",\"pri\":{pri}");
        }
        let mut marks = event.marks.counted();
        if let Some(first) = marks.next() {
            let _ = write!(out, ",\"marks\":[\"{}\"", first.name());
            for mark in marks {
                let _ = write!(out, ",\"{}\"", mark.name());
            }
            out.push(b']');
        }
        match std::str::from_utf8(event.bytes) {
            Ok(text) => {
                out.extend_from_slice(b",\"message\":\"");
                escape(text.as_bytes(), out);
            }
            Err(_) => {
                out.extend_from_slice(b",\"message_base64\":\"");
                base64(event.bytes, out);
            }
        }
        out.extend_from_slice(b"\"}\n");
    }
}

/// RFC 3339 in UTC with nanoseconds; civil date by Hinnant's algorithm, no allocation.
pub(in crate::codec) fn time(nanos: i64, out: &mut Vec<u8>) {
    let seconds = nanos.div_euclid(1_000_000_000);
    let fraction = nanos.rem_euclid(1_000_000_000);
    let (days, second) = (seconds.div_euclid(86_400), seconds.rem_euclid(86_400));
    let shifted = days + 719_468;
    let era = shifted.div_euclid(146_097);
    let day_of_era = shifted.rem_euclid(146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
    let _ = write!(
        out,
        "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{fraction:09}Z"
    );
}

/// JSON string escapes (RFC 8259 section 7); runs without any are copied whole.
fn escape(text: &[u8], out: &mut Vec<u8>) {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    let mut rest = text;
    while let Some(at) = rest.iter().position(|byte| matches!(byte, b'"' | b'\\' | 0..0x20)) {
        out.extend_from_slice(&rest[..at]);
        match rest[at] {
            b'"' => out.extend_from_slice(b"\\\""),
            b'\\' => out.extend_from_slice(b"\\\\"),
            b'\n' => out.extend_from_slice(b"\\n"),
            b'\r' => out.extend_from_slice(b"\\r"),
            b'\t' => out.extend_from_slice(b"\\t"),
            byte => {
                out.extend_from_slice(b"\\u00");
                out.push(HEX[usize::from(byte >> 4)]);
                out.push(HEX[usize::from(byte & 15)]);
            }
        }
        rest = &rest[at + 1..];
    }
    out.extend_from_slice(rest);
}

/// RFC 4648 section 4, with padding.
fn base64(bytes: &[u8], out: &mut Vec<u8>) {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    for group in bytes.chunks(3) {
        let byte = |index: usize| u32::from(group.get(index).copied().unwrap_or(0));
        let bits = byte(0) << 16 | byte(1) << 8 | byte(2);
        for position in 0..4 {
            let digit = DIGITS[(bits >> (18 - 6 * position)) as usize & 63];
            out.push(if position <= group.len() { digit } else { b'=' });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::{Marks, Origin, Parsed};
    use crate::time::Wall;
    use proptest::prelude::*;

    fn encode(bytes: &[u8], at: i64, marks: Marks) -> serde_json::Value {
        let peer = Some("[fe80::1%4294967295]:65535".parse().expect("address"));
        let origin = Origin::new(peer, 0);
        let event =
            Event { bytes, at: Wall(at), origin, pri: Some(191), marks, parsed: Parsed::NONE };
        let mut out = Vec::new();
        Json.encode_event(&event, &mut out);
        assert!(out.len() <= Json.bound(bytes.len()));
        assert_eq!(out.pop(), Some(b'\n'));
        assert!(!out.contains(&b'\n'));
        serde_json::from_slice(&out).expect("JSON")
    }

    #[test]
    fn every_field_stands_where_the_contract_says() {
        let marks = Marks::TRUNCATED.with(Marks::SPLIT).with(Marks::UNPARSED);
        let value = encode("grüß \"x\"\\\u{1}".as_bytes(), 1_065_910_455_003_000_001, marks);
        assert_eq!(value["time"], "2003-10-11T22:14:15.003000001Z");
        assert_eq!(value["peer"], "[fe80::1%4294967295]:65535");
        assert_eq!(value["pri"], 191);
        assert_eq!(value["marks"][1], "split");
        assert_eq!(value["message"], "grüß \"x\"\\\u{1}");
    }

    #[test]
    fn what_is_not_utf8_is_base64() {
        for (bytes, text) in [(&b"\xff"[..], "/w=="), (b"\xff\xfe", "//4="), (b"\xff\0a", "/wBh")] {
            let value = encode(bytes, 0, Marks::NONE);
            assert_eq!(value["message_base64"], text);
            assert!(value.get("message").is_none());
        }
    }

    proptest! {
        #[test]
        fn any_text_and_time_come_back(
            text in ".*",
            at in -62_135_596_800_000_000_000i128..1 << 62,
        ) {
            let at = i64::try_from(at.max(i128::from(i64::MIN))).expect("clamped");
            let value = encode(text.as_bytes(), at, Marks::NONE);
            prop_assert_eq!(value["message"].as_str(), Some(text.as_str()));
            let time = value["time"].as_str().expect("text");
            let parsed: jiff::Timestamp = time.parse().expect("RFC 3339");
            prop_assert_eq!(parsed.as_nanosecond(), i128::from(at));
        }
    }
}
