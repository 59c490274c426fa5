//! The time a message carries, as it was sent: civil fields, the digits of its fraction, and what
//! it says of its zone. Nothing is resolved here; see `zone`.
//!
//! - `iso`: `2003-10-11T22:14:15.003Z` (RFC 3339 as RFC 5424 narrows it, and looser)
//! - `bsd`: `Oct 11 22:14:15` (RFC 3164, 4.1.2) at its usual sixteen bytes; every other way of
//!   writing a time is in `dates`

use super::scan;

/// A time as sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Time<'a> {
    /// `None`: RFC 3164 sends no year.
    pub year: Option<u16>,
    pub month: u8,
    pub day: u8,
    pub hour: u8,
    pub minute: u8,
    /// 60 is a leap second.
    pub second: u8,
    /// The digits behind the seconds, as sent; empty when none were.
    pub fraction: &'a [u8],
    pub offset: Offset<'a>,
}

/// What a message says of its zone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Offset<'a> {
    /// Nothing: the zone is the listener's or the peer's.
    Unsent,
    /// `Z`.
    Zulu,
    /// `+02:00`; `minus` keeps `-00:00` apart from `+00:00`.
    Sent { minus: bool, minutes: u16 },
    /// `CEST`: an abbreviation that `zone` knows.
    Named(&'a [u8]),
}

/// How exactly a time is held to RFC 5424, 6.2.3.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Rigour {
    /// As the RFC says, but for fractions up to nanoseconds.
    Exact,
    /// Also a blank for `T`, a comma before the fraction, second 60, `+0200`, and no offset.
    Loose,
}

pub(super) const FRACTION_DIGITS_MAX: usize = 9;

impl Time<'_> {
    /// Whether the calendar has this time.
    #[inline(always)]
    pub(super) fn is_real(&self) -> bool {
        // A day that some year has is real while the year is unknown.
        let year = self.year.unwrap_or(2000);
        (1..=12).contains(&self.month)
            && self.day >= 1
            && self.day <= days_in(year, self.month)
            && self.hour < 24
            && self.minute < 60
            && self.second <= 60
    }
}

pub(super) fn is_leap(year: u16) -> bool {
    year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400))
}

#[inline(always)]
pub(super) fn days_in(year: u16, month: u8) -> u8 {
    // Thirty or thirty-one by parity, turning over at August.
    if month == 2 { 28 + u8::from(is_leap(year)) } else { 30 + ((month ^ (month >> 3)) & 1) }
}

/// Two digits; with anything else the result is at least 100.
#[inline(always)]
fn two(tens: u8, ones: u8) -> u8 {
    let (tens, ones) = (tens.wrapping_sub(b'0'), ones.wrapping_sub(b'0'));
    if (tens > 9) | (ones > 9) { 255 } else { tens * 10 + ones }
}

/// Eight characters against a pattern in which `0` stands for any digit: in each byte, ten times
/// the digit there and the digit behind it. All at once, since every message has a time.
#[inline(always)]
fn pairs(characters: &[u8], pattern: &[u8; 8]) -> Option<[u8; 8]> {
    const HIGH: u64 = 0x8080_8080_8080_8080;
    let word = u64::from_le_bytes(*characters.first_chunk::<8>()?);
    let digits = word ^ u64::from_le_bytes(*pattern);
    // What is no digit, or no such separator, has become more than nine, or more than nought.
    let separators = separator_mask(pattern);
    let above_nine = digits.wrapping_add(0x7676_7676_7676_7676) | digits;
    if (above_nine & HIGH) | (digits & separators) != 0 {
        return None;
    }
    Some((digits.wrapping_mul(10).wrapping_add(digits >> 8)).to_le_bytes())
}

/// All bits of the bytes in which the pattern has no digit.
#[inline(always)]
const fn separator_mask(pattern: &[u8; 8]) -> u64 {
    let mut mask = [0; 8];
    let mut index = 0;
    while index < 8 {
        if pattern[index] != b'0' {
            mask[index] = 0xFF;
        }
        index += 1;
    }
    u64::from_le_bytes(mask)
}

/// An ISO time at `from`, and where it ends.
#[inline(always)]
pub(super) fn iso(bytes: &[u8], from: usize, rigour: Rigour) -> Option<(Time<'_>, usize)> {
    let b = bytes.get(from..)?.first_chunk::<19>()?;
    let loose = rigour == Rigour::Loose;
    let [century, _, year, _, _, month, _, _] = pairs(b, b"0000-00-")?;
    let [hour, _, _, minute, _, _, second, _] = pairs(&b[11..], b"00:00:00")?;
    if b[10] != b'T' && !(loose && b[10] == b' ') {
        return None;
    }
    let mut time = Time {
        year: Some(u16::from(century) * 100 + u16::from(year)),
        month,
        day: two(b[8], b[9]),
        hour,
        minute,
        second,
        fraction: &[],
        offset: Offset::Unsent,
    };
    if !time.is_real() || (time.second == 60 && !loose) {
        return None;
    }
    let mut at = from + 19;
    match bytes.get(at) {
        Some(b'.') => (time.fraction, at) = fraction(bytes, at + 1),
        Some(b',') if loose => (time.fraction, at) = fraction(bytes, at + 1),
        _ => {}
    }
    if at != from + 19 && time.fraction.is_empty() && !loose {
        return None;
    }
    match offset(bytes, at, rigour) {
        Some((offset, end)) => (time.offset, at) = (offset, end),
        None if loose => {}
        None => return None,
    }
    Some((time, at))
}

/// The digits at `from`, and where they end.
#[inline(always)]
pub(super) fn fraction(bytes: &[u8], from: usize) -> (&[u8], usize) {
    let mut end = from;
    while bytes.get(end).is_some_and(u8::is_ascii_digit) {
        end += 1;
    }
    (&bytes[from..end], end)
}

/// `Z`, `+02:00`; loosely also `+0200` and `+02`.
#[inline(always)]
pub(super) fn offset(bytes: &[u8], from: usize, rigour: Rigour) -> Option<(Offset<'_>, usize)> {
    let minus = match bytes.get(from)? {
        b'Z' => return Some((Offset::Zulu, from + 1)),
        b'+' => false,
        b'-' => true,
        _ => return None,
    };
    let rest = &bytes[from + 1..];
    let (hours, minutes, end) = match *rest {
        [a, b, b':', c, d, ..] => (two(a, b), two(c, d), from + 6),
        [a, b, c, d, ..] if rigour == Rigour::Loose && c.is_ascii_digit() => {
            (two(a, b), two(c, d), from + 5)
        }
        [a, b, ..] if rigour == Rigour::Loose => (two(a, b), 0, from + 3),
        _ => return None,
    };
    let ended = !bytes.get(end).is_some_and(u8::is_ascii_alphanumeric);
    let minutes_of_day = u16::from(hours) * 60 + u16::from(minutes);
    (hours < 24 && minutes < 60 && ended)
        .then_some((Offset::Sent { minus, minutes: minutes_of_day }, end))
}

/// `Oct 11 22:14:15` exactly, day padded with a blank or a nought; fifteen bytes.
#[inline(always)]
pub(super) fn bsd(bytes: &[u8], from: usize) -> Option<Time<'static>> {
    let b = bytes.get(from..)?.first_chunk::<15>()?;
    let [hour, _, _, minute, _, _, second, _] = pairs(&b[7..], b"00:00:00")?;
    if (b[3] != b' ') | (b[6] != b' ') {
        return None;
    }
    let time = Time {
        year: None,
        month: month(b[0], b[1], b[2])?,
        day: two(if b[4] == b' ' { b'0' } else { b[4] }, b[5]),
        hour,
        minute,
        second,
        fraction: &[],
        offset: Offset::Unsent,
    };
    time.is_real().then_some(time)
}

/// A month by its three letters, in any case.
#[inline(always)]
pub(super) fn month(a: u8, b: u8, c: u8) -> Option<u8> {
    let word = |letters: &[u8; 3]| u32::from_be_bytes([0, letters[0], letters[1], letters[2]]);
    let month = match word(&[a | 0x20, b | 0x20, c | 0x20]) {
        JAN => 1,
        FEB => 2,
        MAR => 3,
        APR => 4,
        MAY => 5,
        JUN => 6,
        JUL => 7,
        AUG => 8,
        SEP => 9,
        OCT => 10,
        NOV => 11,
        DEC => 12,
        _ => return None,
    };
    Some(month)
}

const fn letters(name: &[u8; 3]) -> u32 {
    u32::from_be_bytes([0, name[0], name[1], name[2]])
}
const JAN: u32 = letters(b"jan");
const FEB: u32 = letters(b"feb");
const MAR: u32 = letters(b"mar");
const APR: u32 = letters(b"apr");
const MAY: u32 = letters(b"may");
const JUN: u32 = letters(b"jun");
const JUL: u32 = letters(b"jul");
const AUG: u32 = letters(b"aug");
const SEP: u32 = letters(b"sep");
const OCT: u32 = letters(b"oct");
const NOV: u32 = letters(b"nov");
const DEC: u32 = letters(b"dec");

/// `22:14:15` and its fraction: hour, minute, second, digits, end. One digit of the hour will do.
pub(super) fn clock(bytes: &[u8], from: usize) -> Option<([u8; 3], &[u8], usize)> {
    let (hour, colon) = scan::number(bytes, from, 2)?;
    let rest = bytes.get(colon..)?.first_chunk::<6>()?;
    if rest[0] != b':' || rest[3] != b':' {
        return None;
    }
    let (minute, second) = (two(rest[1], rest[2]), two(rest[4], rest[5]));
    if hour > 23 || minute > 59 || second > 60 {
        return None;
    }
    let mut end = colon + 6;
    let mut digits: &[u8] = &[];
    // A dot without digits is still part of the time: some routers send `02:00:00.`.
    if matches!(bytes.get(end), Some(b'.' | b',')) {
        (digits, end) = fraction(bytes, end + 1);
    }
    Some(([hour as u8, minute, second], digits, end))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn months_have_their_days() {
        let days: Vec<u8> = (1..=12).map(|month| days_in(2023, month)).collect();
        assert_eq!(days, [31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31]);
        assert_eq!(days_in(2024, 2), 29);
        assert!(is_leap(2000) && !is_leap(1900) && !is_leap(2100));
    }

    fn exact(text: &str) -> Option<(Time<'_>, usize)> {
        iso(text.as_bytes(), 0, Rigour::Exact)
    }

    #[test]
    fn rfc_5424_times_are_taken_exactly() {
        let (time, end) = exact("2003-10-11T22:14:15.003Z x").unwrap();
        assert_eq!((time.year, time.month, time.day), (Some(2003), 10, 11));
        assert_eq!((time.hour, time.minute, time.second), (22, 14, 15));
        assert_eq!((time.fraction, time.offset, end), (&b"003"[..], Offset::Zulu, 24));
        let (time, _) = exact("2003-08-24T05:14:15.000003-07:00").unwrap();
        assert_eq!(time.offset, Offset::Sent { minus: true, minutes: 420 });
        for refused in [
            "2003-10-11t22:14:15Z",
            "2003-10-11T22:14:15z",
            "2003-10-11 22:14:15Z",
            "2003-10-11T22:14:15",
            "2003-10-11T22:14:15.Z",
            "2003-10-11T22:14:60Z",
            "2003-10-11T24:14:15Z",
            "2003-09-31T22:14:15Z",
            "2003-02-29T22:14:15Z",
            "2003-10-11T22:14:15+0200",
            "2003-10-11T22:14:15-24:00",
            "2003-10-11T22:14:15+07:60",
            "2003-10-11T22:14:15+07:000",
            "2003-1-11T22:14:15Z",
        ] {
            assert_eq!(exact(refused), None, "{refused}");
        }
    }

    #[test]
    fn loose_times_keep_what_was_sent() {
        let loose = |text: &'static str| iso(text.as_bytes(), 0, Rigour::Loose).unwrap();
        assert_eq!(loose("2003-10-11 22:14:15,5 h").0.fraction, b"5");
        assert_eq!(loose("2003-10-11T22:14:15 h").1, 19);
        let (time, end) = loose("2003-10-11T22:14:15-0330 h");
        assert_eq!((time.offset, end), (Offset::Sent { minus: true, minutes: 210 }, 24));
        assert_eq!(loose("2003-10-11T22:14:15+02 h").1, 22);
        assert_eq!(loose("2003-10-11T23:59:60Z").0.second, 60);
    }

    #[test]
    fn traditional_times() {
        let time = bsd(b"Oct 11 22:14:15", 0).unwrap();
        assert_eq!((time.year, time.month, time.day, time.second), (None, 10, 11, 15));
        assert_eq!(bsd(b"FEB  9 02:03:04", 0).unwrap().day, 9);
        assert_eq!(bsd(b"feb 09 02:03:04", 0).unwrap().month, 2);
        assert!(bsd(b"Feb 29 02:03:04", 0).is_some(), "some year has it");
        for refused in ["Feb 30 02:03:04", "Oct 00 02:03:04", "Okt 11 22:14:15", "Oct 1"] {
            assert_eq!(bsd(refused.as_bytes(), 0), None, "{refused}");
        }
    }

    #[test]
    fn clocks_with_and_without_fractions() {
        assert_eq!(clock(b"9:08:07,25 x", 0), Some(([9, 8, 7], &b"25"[..], 10)));
        assert_eq!(clock(b"02:00:00. x", 0), Some(([2, 0, 0], &b""[..], 9)));
        assert_eq!(clock(b"24:00:00", 0), None);
        assert_eq!(clock(b"12:00", 0), None);
    }
}
