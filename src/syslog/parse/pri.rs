//! `<PRI>`: facility times eight plus severity, 0 to 191 (RFC 3164, 4.1.1; RFC 5424, 6.2.1).

use super::scan;

pub const PRI_MAX: u8 = 191;

/// How a message begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Lead {
    /// `<34>`; `plain` is false for `<034>`, which RFC 5424 forbids.
    Pri { pri: u8, plain: bool, end: usize },
    /// `<192>`, `<>`, `<abc>`, `<12`: what stands between the brackets is no PRI. `end` lies
    /// behind the closing bracket when the brackets hold digits or nothing.
    Broken { end: Option<usize> },
    /// No bracket at the start.
    Missing,
}

/// Longer numbers in brackets are no attempt at a PRI.
const BROKEN_DIGITS_MAX: usize = 10;

#[inline(always)]
pub(super) fn lead(bytes: &[u8]) -> Lead {
    match *bytes {
        [b'<', a, b'>', ..] if a.is_ascii_digit() => {
            Lead::Pri { pri: a - b'0', plain: true, end: 3 }
        }
        [b'<', a, b, b'>', ..] if a.is_ascii_digit() && b.is_ascii_digit() => {
            Lead::Pri { pri: (a - b'0') * 10 + (b - b'0'), plain: a != b'0', end: 4 }
        }
        [b'<', a, b, c, b'>', ..] if [a, b, c].iter().all(u8::is_ascii_digit) => {
            let digit = |byte: u8| u16::from(byte - b'0');
            match u8::try_from(digit(a) * 100 + digit(b) * 10 + digit(c)) {
                Ok(pri) if pri <= PRI_MAX => Lead::Pri { pri, plain: a != b'0', end: 5 },
                _ => Lead::Broken { end: Some(5) },
            }
        }
        [b'<', ..] => broken(bytes),
        _ => Lead::Missing,
    }
}

#[cold]
fn broken(bytes: &[u8]) -> Lead {
    let close = scan::digits_end(bytes, 1);
    let closed = bytes.get(close) == Some(&b'>') && close <= 1 + BROKEN_DIGITS_MAX;
    Lead::Broken { end: closed.then_some(close + 1) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_valid_pri() {
        for pri in 0..=PRI_MAX {
            let text = format!("<{pri}>x");
            let end = text.len() - 1;
            assert_eq!(lead(text.as_bytes()), Lead::Pri { pri, plain: true, end });
        }
        assert_eq!(lead(b"<013>"), Lead::Pri { pri: 13, plain: false, end: 5 });
        assert_eq!(lead(b"<00>"), Lead::Pri { pri: 0, plain: false, end: 4 });
    }

    #[test]
    fn what_is_none() {
        assert_eq!(lead(b""), Lead::Missing);
        assert_eq!(lead(b"13>x"), Lead::Missing);
        assert_eq!(lead(b"<192>x"), Lead::Broken { end: Some(5) });
        assert_eq!(lead(b"<999>x"), Lead::Broken { end: Some(5) });
        assert_eq!(lead(b"<1234>x"), Lead::Broken { end: Some(6) });
        assert_eq!(lead(b"<>x"), Lead::Broken { end: Some(2) });
        for open in
            [&b"<"[..], b"<1", b"<13", b"<134", b"<13 >", b"<1a>", b"<-1>", b"<11111111111>"]
        {
            assert_eq!(lead(open), Lead::Broken { end: None }, "{open:?}");
        }
    }
}
