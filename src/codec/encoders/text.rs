//! Times, strings and bytes as text, written without allocating.

use std::io::Write;

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
pub(super) fn escape(text: &[u8], out: &mut Vec<u8>) {
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
pub(super) fn base64(bytes: &[u8], out: &mut Vec<u8>) {
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
    use proptest::prelude::*;

    fn written(write: impl FnOnce(&mut Vec<u8>)) -> String {
        let mut out = Vec::new();
        write(&mut out);
        String::from_utf8(out).expect("UTF-8")
    }

    #[test]
    fn base64_of_every_rest() {
        for (bytes, text) in
            [(&b""[..], ""), (b"\xff", "/w=="), (b"\xff\xfe", "//4="), (b"\xff\0a", "/wBh")]
        {
            assert_eq!(written(|out| base64(bytes, out)), text);
        }
    }

    proptest! {
        #[test]
        fn any_text_and_time_come_back(
            text in ".*",
            at in -62_135_596_800_000_000_000i128..1 << 62,
        ) {
            let at = i64::try_from(at.max(i128::from(i64::MIN))).expect("clamped");
            let escaped = written(|out| escape(text.as_bytes(), out));
            let value: String = serde_json::from_str(&format!("\"{escaped}\"")).expect("JSON");
            prop_assert_eq!(value, text);
            let parsed: jiff::Timestamp = written(|out| time(at, out)).parse().expect("RFC 3339");
            prop_assert_eq!(parsed.as_nanosecond(), i128::from(at));
        }
    }
}
