//! Every other way of writing a time in front of a message: a year before or behind, fractions,
//! AM and PM, zones by name or offset, slashes, weekdays, the epoch.

use super::scan;
use super::time::{Offset, Rigour, Time, clock, iso, month, offset};
use super::zone::abbreviation;

/// The time at `from`, and where it ends, zone and year included.
pub(super) fn any(bytes: &[u8], from: usize) -> Option<(Time<'_>, usize)> {
    let from = weekday(bytes, from).unwrap_or(from);
    let (mut time, end) = match bytes.get(from)? {
        b'0'..=b'9' => digits_first(bytes, from)?,
        _ => month_first(bytes, from)?,
    };
    let end = after(bytes, end, &mut time);
    let ends = matches!(bytes.get(end), None | Some(b' ' | b'\t' | b':' | b';' | b',' | b']'));
    (ends && time.is_real()).then_some((time, end))
}

/// Reads what may follow the seconds: AM or PM, a zone, a year that did not come before. Returns
/// where it ends. The time stays where it is: to move it right behind its writing stalls.
#[inline(always)]
pub(super) fn after<'a>(bytes: &'a [u8], from: usize, time: &mut Time<'a>) -> usize {
    // Most messages go on with a host name in lower case, and are done here.
    match bytes.get(from..) {
        Some([b' ', next, ..]) if next.is_ascii_lowercase() || *next == b' ' => from,
        _ => trailers(bytes, from, time),
    }
}

fn trailers<'a>(bytes: &'a [u8], from: usize, time: &mut Time<'a>) -> usize {
    let mut at = from;
    for _ in 0..4 {
        let blank = usize::from(bytes.get(at) == Some(&b' '));
        let next = at + blank;
        if blank == 1
            && let Some(hour) = half_day(bytes, next, time.hour)
        {
            (time.hour, at) = (hour, next + 2);
        } else if let Some((offset, end)) = zone(bytes, next, blank == 1)
            && is_news(time.offset, offset)
        {
            (time.offset, at) = (offset, end);
        } else if blank == 1
            && time.year.is_none()
            && let Some((year, end)) = year(bytes, next)
        {
            (time.year, at) = (Some(year), end);
        } else {
            break;
        }
    }
    at
}

/// Whether a zone says more than the one before: `CET +01:00` says which `CET`.
fn is_news(before: Offset<'_>, offset: Offset<'_>) -> bool {
    match before {
        Offset::Unsent => true,
        Offset::Named(_) => matches!(offset, Offset::Sent { .. }),
        Offset::Zulu | Offset::Sent { .. } => false,
    }
}

/// The hour on a clock of 24, where `AM` or `PM` stands.
fn half_day(bytes: &[u8], at: usize, hour: u8) -> Option<u8> {
    if !(1..=12).contains(&hour) || !ends_word(bytes, at + 2) {
        return None;
    }
    match bytes.get(at..at + 2)? {
        b"AM" | b"am" => Some(hour % 12),
        b"PM" | b"pm" => Some(hour % 12 + 12),
        _ => None,
    }
}

/// Whether a word ends here: a colon does so only before a blank, or an IPv6 host had a year.
fn ends_word(bytes: &[u8], at: usize) -> bool {
    match bytes.get(at..) {
        None | Some([] | [b' ' | b'\t' | b';' | b',', ..]) => true,
        Some([b':', next @ ..]) => matches!(next, [] | [b' ', ..]),
        Some(_) => false,
    }
}

/// A zone: `Z` and `+02:00` right behind the seconds, `+0200`, `CEST`, `UTC+2`, `TZ-6` behind a
/// blank too.
fn zone(bytes: &[u8], at: usize, apart: bool) -> Option<(Offset<'_>, usize)> {
    if let Some((offset, end)) = offset(bytes, at, Rigour::Loose)
        && ends_word(bytes, end)
        && (!apart || (end - at >= 5 && offset != Offset::Zulu))
    {
        return Some((offset, end));
    }
    let end = at + bytes.get(at..)?.iter().take_while(|byte| byte.is_ascii_uppercase()).count();
    let name = &bytes[at..end];
    if !apart || !(2..=5).contains(&name.len()) {
        return None;
    }
    match bytes.get(end) {
        Some(b'+' | b'-') if matches!(name, b"UTC" | b"GMT" | b"TZ") => {
            let (offset, end) = hours(bytes, end)?;
            ends_word(bytes, end).then_some((offset, end))
        }
        // A router's zone may have any name; what follows tells it from a host.
        Some(b':') if bytes.get(end + 1..end + 3) == Some(b" %") => {
            Some((Offset::Named(name), end))
        }
        _ if ends_word(bytes, end) && abbreviation(name).is_some() => {
            Some((Offset::Named(name), end))
        }
        _ => None,
    }
}

/// `+2`, `-11`, `+05:30`.
fn hours(bytes: &[u8], at: usize) -> Option<(Offset<'_>, usize)> {
    if let Some((offset, end)) = offset(bytes, at, Rigour::Loose) {
        return Some((offset, end));
    }
    let (hours, end) = scan::number(bytes, at + 1, 1)?;
    let minus = bytes[at] == b'-';
    Some((Offset::Sent { minus, minutes: hours as u16 * 60 }, end))
}

/// Four digits that can be a year, a word of their own.
fn year(bytes: &[u8], at: usize) -> Option<(u16, usize)> {
    let (year, end) = scan::number(bytes, at, 4)?;
    let is_year = end == at + 4 && (1970..2200).contains(&year) && ends_word(bytes, end);
    is_year.then_some((year as u16, end))
}

fn weekday(bytes: &[u8], from: usize) -> Option<usize> {
    const DAYS: [&[u8; 3]; 7] = [b"mon", b"tue", b"wed", b"thu", b"fri", b"sat", b"sun"];
    let word = bytes.get(from..)?.first_chunk::<3>()?.map(|byte| byte | 0x20);
    let comma = usize::from(bytes.get(from + 3) == Some(&b','));
    let is_day = DAYS.contains(&&word) && bytes.get(from + 3 + comma) == Some(&b' ');
    is_day.then(|| scan::skip_blanks(bytes, from + 3 + comma))
}

/// `Oct 11 22:14:15`, `Oct 11 2003 22:14:15`, `Oct 11, 2003 …`, `oct/11/2003 …`, `oct/11 …`.
fn month_first(bytes: &[u8], from: usize) -> Option<(Time<'_>, usize)> {
    let name = bytes.get(from..)?.first_chunk::<3>()?;
    let month = month(name[0], name[1], name[2])?;
    let slash = bytes.get(from + 3) == Some(&b'/');
    let at = if slash { from + 4 } else { blanks(bytes, from + 3)? };
    let (day, at) = scan::number(bytes, at, 2)?;
    if slash && bytes.get(at) == Some(&b'/') {
        let (year, at) = year(bytes, at + 1)?;
        return timed(bytes, blanks(bytes, at)?, Some(year), month, day);
    }
    let comma = usize::from(bytes.get(at) == Some(&b','));
    let at = blanks(bytes, at + comma)?;
    match year(bytes, at) {
        Some((year, end)) => timed(bytes, blanks(bytes, end)?, Some(year), month, day),
        None => timed(bytes, at, None, month, day),
    }
}

/// `2003-10-11T22:14:15Z`, `2003/10/11 22:14:15`, `2003 Oct 11 22:14:15`, `11 Oct 2003 22:14:15`,
/// `11 Oct 22:14:15`, `11/Oct/2003:22:14:15`.
fn digits_first(bytes: &[u8], from: usize) -> Option<(Time<'_>, usize)> {
    if let Some(found) = iso(bytes, from, Rigour::Loose) {
        return Some(found);
    }
    let (first, at) = scan::number(bytes, from, 4)?;
    if at == from + 4 {
        let year = first as u16;
        if bytes.get(at) == Some(&b'/') {
            let (month, at) = scan::number(bytes, at + 1, 2)?;
            let (day, at) = scan::number(bytes, slash(bytes, at)?, 2)?;
            return timed(bytes, blanks(bytes, at)?, Some(year), u8::try_from(month).ok()?, day);
        }
        let at = blanks(bytes, at)?;
        let (mut time, end) = month_first(bytes, at)?;
        return time.year.is_none().then(|| {
            time.year = Some(year);
            (time, end)
        });
    }
    if let Some(found) = american(bytes, from) {
        return Some(found);
    }
    let slashed = bytes.get(at) == Some(&b'/');
    let at = if slashed { at + 1 } else { blanks(bytes, at)? };
    let name = bytes.get(at..)?.first_chunk::<3>()?;
    let month = month(name[0], name[1], name[2])?;
    if slashed {
        let (year, at) = scan::number(bytes, slash(bytes, at + 3)?, 4)?;
        let joined = matches!(bytes.get(at), Some(b':' | b' '));
        return joined.then(|| timed(bytes, at + 1, Some(year as u16), month, first))?;
    }
    let at = blanks(bytes, at + 3)?;
    match year(bytes, at) {
        Some((year, end)) => timed(bytes, blanks(bytes, end)?, Some(year), month, first),
        None => timed(bytes, at, None, month, first),
    }
}

/// `10/11/2026:22:14:15`, month first, as NetScaler writes it: the colon tells it from others.
fn american(bytes: &[u8], from: usize) -> Option<(Time<'_>, usize)> {
    let (month, at) = scan::number(bytes, from, 2)?;
    let (day, at) = scan::number(bytes, slash(bytes, at)?, 2)?;
    let (year, at) = scan::number(bytes, slash(bytes, at)?, 4)?;
    let is_it = bytes.get(at) == Some(&b':') && (1970..2200).contains(&year);
    is_it.then(|| timed(bytes, at + 1, Some(year as u16), month as u8, day))?
}

fn slash(bytes: &[u8], at: usize) -> Option<usize> {
    (bytes.get(at) == Some(&b'/')).then_some(at + 1)
}

/// At least one blank at `from`; where they end.
fn blanks(bytes: &[u8], from: usize) -> Option<usize> {
    let end = scan::skip_blanks(bytes, from);
    (end > from).then_some(end)
}

fn timed(
    bytes: &[u8],
    at: usize,
    year: Option<u16>,
    month: u8,
    day: u32,
) -> Option<(Time<'_>, usize)> {
    let ([hour, minute, second], fraction, end) = clock(bytes, at)?;
    let offset = Offset::Unsent;
    let time = Time { year, month, day: day as u8, hour, minute, second, fraction, offset };
    (day < 32 && time.is_real()).then_some((time, end))
}

/// Seconds since 1970 and a fraction, `1697062455.123`, as a time in UTC.
pub(super) fn epoch(bytes: &[u8], from: usize) -> Option<(Time<'_>, usize)> {
    let dot = scan::digits_end(bytes, from);
    if dot - from != 10 || bytes.get(dot) != Some(&b'.') {
        return None;
    }
    let digits = std::str::from_utf8(&bytes[from..dot]).ok()?;
    let seconds: i64 = digits.parse().ok()?;
    let (fraction, end) = super::time::fraction(bytes, dot + 1);
    let civil = jiff::Timestamp::from_second(seconds).ok()?;
    let civil = jiff::tz::TimeZone::UTC.to_datetime(civil);
    let time = Time {
        year: Some(civil.year().unsigned_abs()),
        month: civil.month().unsigned_abs(),
        day: civil.day().unsigned_abs(),
        hour: civil.hour().unsigned_abs(),
        minute: civil.minute().unsigned_abs(),
        second: civil.second().unsigned_abs(),
        fraction,
        offset: Offset::Zulu,
    };
    Some((time, end))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::syslog::parse::{Arrival, Zone};
    use crate::time::Wall;

    /// What is found, resolved in June 2026 in UTC, and what is left of the text.
    fn found(text: &str) -> Option<(String, &str)> {
        let (time, end) = any(text.as_bytes(), 0)?;
        let mut arrival = Arrival::new(Wall(1_781_524_800_000_000_000), Zone::utc());
        Some((arrival.resolve(&time).to_string(), &text[end..]))
    }

    #[test]
    fn one_time_in_many_coats() {
        for text in [
            "Oct 11 22:14:15 h",
            "oct 11 2026 22:14:15 h",
            "Oct 11, 2026 22:14:15 h",
            "Oct  11  22:14:15 h",
            "OCT 11 10:14:15 PM h",
            "Oct 11 22:14:15 2026 h",
            "Sun Oct 11 22:14:15 2026 h",
            "Sun, 11 Oct 2026 22:14:15 h",
            "11 Oct 22:14:15 h",
            "2026 Oct 11 22:14:15 h",
            "2026/10/11 22:14:15 h",
            "2026-10-11 22:14:15 h",
            "2026-10-11T22:14:15 h",
            "oct/11/2026 22:14:15 h",
            "oct/11 22:14:15 h",
            "11/Oct/2026:22:14:15 h",
            "10/11/2026:22:14:15 GMT h",
            "Oct 11 22:14:15. h",
            "Oct 11 22:14:15 UTC h",
            "Oct 11 22:14:15 GMT 2026 h",
            "Oct 11 22:14:15Z h",
        ] {
            let wanted = ("2026-10-11T22:14:15Z".to_owned(), " h");
            assert_eq!(found(text), Some(wanted), "{text}");
        }
    }

    #[test]
    fn fractions_and_zones() {
        let is = |text: &str, time: &str| {
            assert_eq!(found(text), Some((time.to_owned(), " h")), "{text}");
        };
        is("Oct 11 22:14:15.123 h", "2026-10-11T22:14:15.123Z");
        is("Oct 11 22:14:15,123456 h", "2026-10-11T22:14:15.123456Z");
        is("Oct 11 22:14:15 +0200 h", "2026-10-11T22:14:15+02:00");
        is("Oct 11 22:14:15 -05:30 h", "2026-10-11T22:14:15-05:30");
        is("Oct 11 22:14:15+02:00 h", "2026-10-11T22:14:15+02:00");
        is("Oct 11 22:14:15 CEST h", "2026-10-11T22:14:15+02:00");
        is("Aug 24 05:34:00 CST 1987 h", "1987-08-24T05:34:00-06:00");
        is("Aug 24 05:34:00 1987 CST h", "1987-08-24T05:34:00-06:00");
        is("1990 Oct 22 10:52:01 TZ-6 h", "1990-10-22T10:52:01-06:00");
        is("Oct 11 22:14:15 UTC+2 h", "2026-10-11T22:14:15+02:00");
        is("Oct 11 22:14:15 GMT-05:30 h", "2026-10-11T22:14:15-05:30");
        is("Oct 11 12:14:15 AM h", "2026-10-11T00:14:15Z");
        is("Oct 11 12:14:15.5 PM EST h", "2026-10-11T12:14:15.5-05:00");
        is("2026 Oct 11 22:14:15 CET +02:00 h", "2026-10-11T22:14:15+02:00");
        is("2026-10-11 22:14:15,003 CET h", "2026-10-11T22:14:15.003+01:00");
    }

    #[test]
    fn hosts_are_no_zones() {
        let left = |text: &'static str| found(text).unwrap().1;
        assert_eq!(left("Oct 11 22:14:15 MAIL su: x"), " MAIL su: x");
        assert_eq!(left("Oct 11 22:14:15 Z su: x"), " Z su: x");
        assert_eq!(left("Oct 11 22:14:15 2999 su: x"), " 2999 su: x");
        assert_eq!(left("Oct 11 22:14:15 20265 su: x"), " 20265 su: x");
        assert_eq!(left("Oct 11 22:14:15 2001:db8::1 su: x"), " 2001:db8::1 su: x");
        assert_eq!(left("Oct 11 22:14:15 2001:: su: x"), " 2001:: su: x");
        assert_eq!(left("Oct 11 22:14:15 -- MARK --"), " -- MARK --");
        assert_eq!(left("Oct 11 22:14:15 AEXT: %SYS-5-X: y"), ": %SYS-5-X: y");
        assert_eq!(left("Oct 11 22:14:15"), "");
    }

    #[test]
    fn no_times() {
        for text in [
            "",
            "Oct",
            "Oct 11",
            "Oct 32 22:14:15 h",
            "Okt 11 22:14:15 h",
            "Oct 11 25:14:15 h",
            "Oct 11 22:14:15x h",
            "2026 22:14:15",
            "Sun",
            "11/10/2026 22:14:15",
            "oct/11/26 1:2:3",
            "Feb 30 2026 22:14:15 h",
            "Feb 29 2026 22:14:15 h",
        ] {
            assert_eq!(found(text), None, "{text}");
        }
    }

    #[test]
    fn the_epoch() {
        let (time, end) = epoch(b"1563249630.774247467 h", 0).unwrap();
        assert_eq!((time.year, time.month, time.day, time.hour), (Some(2019), 7, 16, 4));
        assert_eq!((time.fraction, end), (&b"774247467"[..], 20));
        assert_eq!(epoch(b"156324963.5 h", 0), None);
        assert_eq!(epoch(b"1563249630 h", 0), None);
    }
}
