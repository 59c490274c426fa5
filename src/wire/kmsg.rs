//! Records of the kernel log as `/dev/kmsg` gives them (Linux, Documentation/ABI/testing/dev-kmsg).
//!
//! ```text
//!   6,339,5140900,-;NET: Registered protocol family 10 LF
//!    SUBSYSTEM=acpi LF                                          continuation lines: its dictionary
//!   │ │   │      └ `-`, or `c` and `+`: pieces of one line
//!   │ │   └ microseconds since the kernel started
//!   │ └ sequence number: a gap says how many were overwritten before they were read
//!   └ facility times eight plus severity
//! ```
//! Bytes that do not print, and the backslash, stand as `\x0a`. The device gives one record a read;
//! a file holds one behind the other.

use memchr::memchr;

/// The device refuses to give a record to a smaller buffer than the longest (1024 and its prefix).
pub const RECORD_BYTES_MAX: usize = 8192;

/// Whether a record is a line of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Piece {
    Whole,
    /// More of the same line may follow.
    First,
    /// More of the line before.
    More,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Record<'a> {
    /// Facility times eight plus severity, 0 to 191.
    pub pri: u8,
    pub sequence: u64,
    pub micros: u64,
    pub piece: Piece,
    /// Still escaped.
    pub text: &'a [u8],
    /// Lines of ` NAME=value`, still escaped.
    dictionary: &'a [u8],
}

impl<'a> Record<'a> {
    /// Name and escaped value.
    pub fn dictionary(&self) -> impl Iterator<Item = (&'a [u8], &'a [u8])> {
        self.dictionary.split(|byte| *byte == b'\n').filter_map(|line| {
            let line = line.strip_prefix(b" ")?;
            let at = memchr(b'=', line)?;
            Some((&line[..at], &line[at + 1..]))
        })
    }
}

/// Bytes of the first record in `bytes`, its continuation lines included. `None`: it may not have
/// ended yet. `last`: nothing belongs to it that does not stand here.
pub fn extent(bytes: &[u8], last: bool) -> Option<usize> {
    let mut end = 0;
    loop {
        match memchr(b'\n', &bytes[end..]) {
            None if last && end < bytes.len() => return Some(bytes.len()),
            None => return None,
            Some(found) => end += found + 1,
        }
        match bytes.get(end) {
            Some(b' ') => {}
            None if !last => return None,
            _ => return Some(end),
        }
    }
}

/// A record of `extent`. `None`: it is none.
pub fn parse(bytes: &[u8]) -> Option<Record<'_>> {
    let end = memchr(b'\n', bytes).unwrap_or(bytes.len());
    let (line, dictionary) = bytes.split_at(end);
    let at = memchr(b';', line)?;
    let mut prefix = line[..at].split(|byte| *byte == b',');
    let pri = number(prefix.next()?)?;
    let sequence = number(prefix.next()?)?;
    let micros = number(prefix.next()?)?;
    // Kernels before 3.5 had no flags, later ones may have more fields.
    let piece = match prefix.next() {
        Some(b"c") => Piece::First,
        Some(b"+") => Piece::More,
        _ => Piece::Whole,
    };
    let pri = u8::try_from(pri).ok().filter(|pri| *pri <= 191)?;
    Some(Record { pri, sequence, micros, piece, text: &line[at + 1..], dictionary })
}

fn number(digits: &[u8]) -> Option<u64> {
    if digits.is_empty() || digits.len() > 20 {
        return None;
    }
    digits.iter().try_fold(0_u64, |value, &byte| {
        let digit = byte.checked_sub(b'0').filter(|digit| *digit < 10)?;
        value.checked_mul(10)?.checked_add(u64::from(digit))
    })
}

/// Appends a text with its escapes undone.
pub fn unescape(text: &[u8], out: &mut Vec<u8>) {
    let mut rest = text;
    while let Some(at) = memchr(b'\\', rest) {
        out.extend_from_slice(&rest[..at]);
        rest = &rest[at..];
        let byte = match rest {
            [b'\\', b'x', high, low, ..] => hex(*high).zip(hex(*low)),
            _ => None,
        };
        match byte {
            Some((high, low)) => {
                out.push(high << 4 | low);
                rest = &rest[4..];
            }
            None => {
                out.push(b'\\');
                rest = &rest[1..];
            }
        }
    }
    out.extend_from_slice(rest);
}

fn hex(digit: u8) -> Option<u8> {
    let value = char::from(digit).to_digit(16)?;
    u8::try_from(value).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Text, value of the dictionary's first line.
    fn pieces(record: &Record<'_>) -> (Vec<u8>, Vec<u8>) {
        let (mut text, mut value) = (Vec::new(), Vec::new());
        unescape(record.text, &mut text);
        if let Some((_, found)) = record.dictionary().next() {
            unescape(found, &mut value);
        }
        (text, value)
    }

    #[test]
    fn records_are_told_apart_with_what_belongs_to_them() {
        let stream: &[u8] =
            b"6,1,10,-;one\n SUBSYSTEM=acpi\n DEVICE=+acpi:x\n30,2,11,c,caller=T1;a\n";
        let end = extent(stream, false).unwrap();
        let record = parse(&stream[..end]).unwrap();
        assert_eq!((record.pri, record.sequence, record.micros), (6, 1, 10));
        assert_eq!((record.text, record.piece), (&b"one"[..], Piece::Whole));
        let dictionary: Vec<_> = record.dictionary().collect();
        let expected = [(&b"SUBSYSTEM"[..], &b"acpi"[..]), (b"DEVICE", b"+acpi:x")];
        assert_eq!(dictionary, expected);
        // Behind the last line more of its dictionary might come.
        assert_eq!(extent(&stream[end..], false), None);
        let rest = &stream[end..];
        assert_eq!(extent(rest, true), Some(rest.len()));
        let second = parse(rest).unwrap();
        assert_eq!((second.pri, second.piece, second.text), (30, Piece::First, &b"a"[..]));
        assert_eq!(second.dictionary().count(), 0);
    }

    #[test]
    fn escapes_are_undone_and_what_is_none_stays() {
        for (escaped, text) in [
            (&br"a\x0ab"[..], &b"a\nb"[..]),
            (br"\x5c\x5C", br"\\"),
            (br"\xff", b"\xff"),
            (br"\n \x4 \xzz \", br"\n \x4 \xzz \"),
            (b"", b""),
        ] {
            let mut out = Vec::new();
            unescape(escaped, &mut out);
            assert_eq!(out, text, "{}", escaped.escape_ascii());
        }
    }

    #[test]
    fn what_is_no_record_is_told() {
        for line in ["", ";", "6;x", "6,1;x", "6,1,10 x", "a,1,10,-;x", "192,1,10,-;x", "6,,10,-;x"]
        {
            assert_eq!(parse(line.as_bytes()), None, "{line}");
        }
        assert!(parse(b"6,1,99999999999999999999,-;x").is_none());
        assert_eq!(parse(b"0,0,0;x").unwrap().text, b"x");
    }

    proptest! {
        #[test]
        fn what_a_kernel_writes_is_read(
            pri in 0_u8..=191, sequence: u64, micros: u64,
            text in prop::collection::vec(any::<u8>(), 0..80),
            value in prop::collection::vec(any::<u8>(), 0..40),
        ) {
            let escape = |bytes: &[u8]| -> String {
                let printed = |&byte: &u8| match byte {
                    b' '..=b'[' | b']'..=b'~' => char::from(byte).to_string(),
                    other => format!("\\x{other:02x}"),
                };
                bytes.iter().map(printed).collect()
            };
            let (line, entry) = (escape(&text), escape(&value));
            let stream = format!("{pri},{sequence},{micros},-;{line}\n KEY={entry}\n");
            prop_assert_eq!(extent(stream.as_bytes(), true), Some(stream.len()));
            let record = parse(stream.as_bytes()).unwrap();
            let fields = (record.pri, record.sequence, record.micros);
            prop_assert_eq!(fields, (pri, sequence, micros));
            prop_assert_eq!(pieces(&record), (text, value));
        }

        #[test]
        fn any_bytes_are_survived(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            if let Some(end) = extent(&bytes, true) {
                prop_assert!(end > 0);
                if let Some(record) = parse(&bytes[..end]) {
                    pieces(&record);
                }
            } else {
                prop_assert!(bytes.is_empty());
            }
        }
    }
}
