//! An RFC 5424 message for what has come as fields: journal entries, kernel records.
//!
//! ```text
//! <30>1 2026-11-21T09:38:05.123456Z host sshd 712 - [id@0 name="value"] text
//! ```
//! Promises: what is written parses back as what was given. Header words keep their printable
//! ASCII bytes, anything else in them becomes `_` and too long ones are cut; values are escaped;
//! the text is any bytes.

use std::io::Write;

/// Longest header words (RFC 5424 6).
const HOSTNAME_BYTES: usize = 255;
const APP_NAME_BYTES: usize = 48;
const PROC_ID_BYTES: usize = 128;
const MSG_ID_BYTES: usize = 32;
/// Names of elements and parameters (SD-NAME).
pub const NAME_BYTES_MAX: usize = 32;

/// What stands in front of structured data; empty words are NIL.
#[derive(Clone, Copy, Debug, Default)]
pub struct Header<'a> {
    pub pri: u8,
    /// Microseconds since 1970, UTC.
    pub micros: Option<i64>,
    pub hostname: &'a [u8],
    pub app_name: &'a [u8],
    pub proc_id: &'a [u8],
    pub msg_id: &'a [u8],
}

const YEAR_0_MICROS: i64 = -62_167_219_200_000_000;

/// Bytes a header can take: PRI, version, time, four words, blanks.
pub const HEADER_BYTES_MAX: usize =
    5 + 2 + 33 + HOSTNAME_BYTES + APP_NAME_BYTES + PROC_ID_BYTES + MSG_ID_BYTES + 6;

/// Writes the header and the blank behind it: structured data or `-` follows.
pub fn header(out: &mut Vec<u8>, header: &Header<'_>) {
    // Writing to memory cannot fail.
    let _ = write!(out, "<{}>1 ", header.pri.min(191));
    // Years have four digits.
    let micros = header.micros.filter(|micros| *micros >= YEAR_0_MICROS);
    match micros.and_then(|micros| jiff::Timestamp::from_microsecond(micros).ok()) {
        Some(time) => {
            let _ = write!(out, "{time:.6}");
        }
        None => out.push(b'-'),
    }
    let words = [
        (header.hostname, HOSTNAME_BYTES),
        (header.app_name, APP_NAME_BYTES),
        (header.proc_id, PROC_ID_BYTES),
        (header.msg_id, MSG_ID_BYTES),
    ];
    for (word, longest) in words {
        out.push(b' ');
        let word = &word[..word.len().min(longest)];
        if word.is_empty() {
            out.push(b'-');
        }
        out.extend(word.iter().map(|&byte| if byte.is_ascii_graphic() { byte } else { b'_' }));
    }
    out.push(b' ');
}

/// One element: `[id`, its parameters, `]`.
pub struct Element<'a> {
    out: &'a mut Vec<u8>,
}

impl<'a> Element<'a> {
    /// `id` is a valid name.
    pub fn begin(out: &'a mut Vec<u8>, id: &str) -> Self {
        debug_assert!(is_name(id.as_bytes()), "{id}");
        out.push(b'[');
        out.extend_from_slice(id.as_bytes());
        Self { out }
    }

    /// `name` is a valid name; the value is any bytes.
    pub fn param(&mut self, name: &[u8], value: &[u8]) {
        debug_assert!(is_name(name), "{}", name.escape_ascii());
        self.out.push(b' ');
        self.out.extend_from_slice(name);
        self.out.extend_from_slice(b"=\"");
        for &byte in value {
            if matches!(byte, b'"' | b'\\' | b']') {
                self.out.push(b'\\');
            }
            self.out.push(byte);
        }
        self.out.push(b'"');
    }

    pub fn end(self) {
        self.out.push(b']');
    }
}

/// SD-NAME: 1 to 32 printable ASCII bytes without `=`, `]`, `"`.
pub fn is_name(name: &[u8]) -> bool {
    (1..=NAME_BYTES_MAX).contains(&name.len())
        && name.iter().all(|byte| byte.is_ascii_graphic() && !b"=]\"".contains(byte))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::syslog::parse::{self, Expect, Fields, Format};
    use proptest::prelude::*;

    fn parsed(text: &[u8]) -> parse::Message<'_> {
        parse::parse(text, Expect::Rfc5424, Fields::ALL)
    }

    #[test]
    fn a_message_stands_as_the_rfc_says() {
        let mut out = Vec::new();
        let micros = Some(1_763_717_885_123_400);
        header(&mut out, &Header { pri: 30, micros, app_name: b"my app", ..Header::default() });
        let mut element = Element::begin(&mut out, "a@1");
        element.param(b"b", b"c\"]\\");
        element.end();
        let expected = br#"<30>1 2025-11-21T09:38:05.123400Z - my_app - - [a@1 b="c\"\]\\"]"#;
        assert_eq!(out.escape_ascii().to_string(), expected.escape_ascii().to_string());
    }

    proptest! {
        #[test]
        fn what_is_written_parses_back(
            pri in 0_u8..=191,
            micros in prop::option::of(-62_135_596_800_000_000_i64..=253_402_207_200_000_000),
            words in prop::collection::vec("[!-~]{0,32}", 4),
            value in prop::collection::vec(any::<u8>(), 0..40),
            text in "[ -~]{1,40}",
        ) {
            let mut out = Vec::new();
            let [hostname, app_name, proc_id, msg_id] =
                [0, 1, 2, 3].map(|index: usize| words[index].as_bytes());
            header(&mut out, &Header { pri, micros, hostname, app_name, proc_id, msg_id });
            prop_assert!(out.len() <= HEADER_BYTES_MAX);
            // Any bytes but those that are no UTF-8: the RFC wants it in values.
            let value = String::from_utf8_lossy(&value).into_owned();
            let mut element = Element::begin(&mut out, "x@1");
            element.param(b"v", value.as_bytes());
            element.end();
            out.push(b' ');
            out.extend_from_slice(text.as_bytes());
            let message = parsed(&out);
            prop_assert_eq!(message.format, Format::Rfc5424, "{}", out.escape_ascii());
            for (found, given) in [
                (message.hostname, hostname),
                (message.app_name, app_name),
                (message.proc_id, proc_id),
                (message.msg_id, msg_id),
            ] {
                let given = if given == b"-" { b"" } else { given };
                prop_assert_eq!(found.unwrap_or_default(), given);
            }
            prop_assert_eq!(message.message, Some(text.as_bytes()));
        }
    }
}
