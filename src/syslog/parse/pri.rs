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

/// The PRI in a message's first eight bytes, the first of them lowest: what `lead` says, without a
/// jump by the number of digits. That differs from message to message, so a processor guesses it
/// wrong every other time, which costs more than all of this.
#[inline(always)]
pub(super) fn at_front(front: u64) -> Option<u8> {
    const CLOSE: u32 = u32::from_le_bytes([b'>'; 4]);
    // Bytes 1 to 4: digits, and one of the last three is the bracket. A byte that differs from it
    // borrows from the byte above only if one below was equal, so the lowest flag is right.
    let word = (front >> 8) as u32;
    let differs = word ^ CLOSE;
    let flags = differs.wrapping_sub(0x0101_0101) & !differs & 0x8080_8080;
    let digits = flags.trailing_zeros() / 8;
    // Right-aligned, so that a missing digit is a nought: the lowest byte is worth hundreds.
    let aligned = (u64::from(word ^ 0x3030_3030) << (32 - 8 * digits)) as u32 >> 8;
    // No byte is above 9: with 0x76 added it would have its highest bit, if it has not by itself.
    let each = (aligned | aligned.wrapping_add(0x7676_7676)) & 0x8080_8080 == 0;
    // With at most 1 hundred the sum of all three stands in one byte, and nothing is carried there.
    let value = aligned.wrapping_mul(1 | 10 << 8 | 100 << 16) >> 16 & 0xff;
    let in_range = (aligned as u8 <= 1) & (value <= u32::from(PRI_MAX));
    let valid = (front as u8 == b'<') & (digits.wrapping_sub(1) < 3) & each & in_range;
    valid.then_some(value as u8)
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
    fn the_quick_way_says_the_same() {
        let pri = |text: &[u8]| match lead(text) {
            Lead::Pri { pri, .. } => Some(pri),
            _ => None,
        };
        // Every five bytes of those that stand for all others, behind any first byte.
        let bytes = b"0129/:;<>=?a \x00\x80\xb9\xff";
        let mut front = *b"<....abc";
        for number in 0..bytes.len().pow(4) {
            for place in 0..4 {
                front[1 + place] = bytes[number / bytes.len().pow(place as u32) % bytes.len()];
            }
            assert_eq!(at_front(u64::from_le_bytes(front)), pri(&front), "{front:?}");
        }
        for first in 0..=255 {
            front[..4].copy_from_slice(&[first, b'1', b'3', b'>']);
            assert_eq!(at_front(u64::from_le_bytes(front)), pri(&front), "{front:?}");
        }
        for number in 0..1000 {
            for text in [format!("<{number}>abcde"), format!("<{number:03}>abc")] {
                let front = text.as_bytes().first_chunk().expect("eight bytes");
                assert_eq!(at_front(u64::from_le_bytes(*front)), pri(front), "{text}");
            }
        }
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
