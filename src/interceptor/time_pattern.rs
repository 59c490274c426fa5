//! Times in the patterns of Joda-Time and Java: `yyyy-MM-dd'T'HH:mm:ss.SSSZ`.
//!
//! A time without a zone is meant in the zone of this machine, one without a year in the year of
//! the receive time, or the one before if it would lie more than a month ahead.

use jiff::civil::{Date, DateTime, Time};
use jiff::fmt::strtime::BrokenDownTime;
use jiff::tz::TimeZone;
use jiff::{Timestamp, ToSpan};

use crate::time::Wall;

#[derive(Clone, Debug)]
pub(super) struct TimePattern {
    /// In strptime's letters.
    format: String,
    zone: TimeZone,
}

impl TimePattern {
    pub(super) fn parse(pattern: &str) -> Result<Self, String> {
        if pattern.trim().is_empty() {
            return Err("an empty pattern matches no time".to_owned());
        }
        let mut format = String::new();
        let mut rest = pattern;
        while let Some(first) = rest.chars().next() {
            let run = rest.chars().take_while(|letter| *letter == first).count();
            match first {
                '\'' => {
                    rest = quoted(&rest[1..], &mut format)?;
                    continue;
                }
                letter if letter.is_ascii_alphabetic() => {
                    format.push_str(field(letter, run)?);
                    rest = &rest[run..];
                    continue;
                }
                '%' => format.push_str("%%"),
                other => format.push(other),
            }
            rest = &rest[first.len_utf8()..];
        }
        Ok(Self { format, zone: TimeZone::system() })
    }

    /// The time that a text says, in ms since 1970.
    pub(super) fn millis(&self, text: &[u8], received: Wall) -> Option<i64> {
        let text = std::str::from_utf8(text).ok()?;
        let parts = BrokenDownTime::parse(&self.format, text).ok()?;
        let received = Timestamp::from_nanosecond(i128::from(received.0)).ok()?;
        let zone = match (parts.offset(), parts.iana_time_zone()) {
            (Some(offset), _) => TimeZone::fixed(offset),
            (None, Some(name)) => TimeZone::get(name).ok()?,
            (None, None) => self.zone.clone(),
        };
        let now = received.to_zoned(zone.clone()).datetime();
        let time = Time::new(
            parts.hour().unwrap_or(0),
            parts.minute().unwrap_or(0),
            parts.second().unwrap_or(0),
            parts.subsec_nanosecond().unwrap_or(0),
        );
        let at = |date: Date| Some(DateTime::from_parts(date, time.clone().ok()?));
        let instant = |civil: DateTime| Some(civil.to_zoned(zone.clone()).ok()?.timestamp());
        let instant = match (parts.year(), parts.month(), parts.day_of_year()) {
            (Some(_), _, Some(_)) => instant(at(parts.to_date().ok()?)?)?,
            (Some(year), month, None) => {
                let date = Date::new(year, month.unwrap_or(1), parts.day().unwrap_or(1));
                instant(at(date.ok()?)?)?
            }
            (None, Some(month), _) => {
                let day = parts.day().unwrap_or(1);
                let in_year = |year| instant(at(Date::new(year, month, day).ok()?)?);
                let limit = received.checked_add((31 * 24).hours()).ok()?;
                let here = in_year(now.year()).filter(|time| *time <= limit);
                // Feb 29 goes to the last leap year.
                here.or_else(|| (1..=8).find_map(|ago| in_year(now.year() - ago)))?
            }
            (None, None, _) => instant(at(Date::new(1970, 1, 1).ok()?)?)?,
        };
        Some(instant.as_millisecond())
    }
}

/// Text between quotes; two quotes are one. Says what is left.
fn quoted<'a>(rest: &'a str, format: &mut String) -> Result<&'a str, String> {
    if let Some(behind) = rest.strip_prefix('\'') {
        format.push('\'');
        return Ok(behind);
    }
    let mut rest = rest;
    loop {
        let Some((text, behind)) = rest.split_once('\'') else {
            return Err("a quote is not closed".to_owned());
        };
        format.push_str(&text.replace('%', "%%"));
        let Some(more) = behind.strip_prefix('\'') else { return Ok(behind) };
        format.push('\'');
        rest = more;
    }
}

fn field(letter: char, run: usize) -> Result<&'static str, String> {
    Ok(match (letter, run) {
        ('y' | 'Y' | 'u', 2) => "%y",
        ('y' | 'Y' | 'u', _) => "%Y",
        ('M', 1 | 2) => "%m",
        ('M', 3) => "%b",
        ('M', _) => "%B",
        ('d', _) => "%d",
        ('D', _) => "%j",
        ('H' | 'k', _) => "%H",
        ('h' | 'K', _) => "%I",
        ('m', _) => "%M",
        ('s', _) => "%S",
        ('S', _) => "%f",
        ('a', _) => "%p",
        ('E', 1..=3) => "%a",
        ('E', _) => "%A",
        ('Z', 1) => "%z",
        ('Z', 2) => "%:z",
        ('Z', _) => "%Q",
        ('X', _) => "%:z",
        _ => return Err(format!("`{}` is not known here", letter.to_string().repeat(run))),
    })
}

/// Without a zone of its own machine, for tests.
#[cfg(test)]
impl TimePattern {
    fn in_utc(self) -> Self {
        Self { zone: TimeZone::UTC, ..self }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_as_they_are_written() {
        // 2024-01-10T00:00:00Z.
        let received = Wall(1_704_844_800_000_000_000);
        for (pattern, text, millis) in [
            ("yyyy-MM-dd HH:mm", "2012-10-17 14:34", Some(1_350_484_440_000)),
            ("yyyy-MM-dd'T'HH:mm:ss.SSSZ", "2012-10-17T14:34:44.338+0200", Some(1_350_477_284_338)),
            ("yyyy-MM-dd'T'HH:mm:ssZZ", "2012-10-17T14:34:44-01:30", Some(1_350_489_884_000)),
            ("dd/MMM/yyyy:HH:mm:ss Z", "17/Oct/2012:14:34:44 +0000", Some(1_350_484_484_000)),
            ("yy-MM-dd", "12-10-17", Some(1_350_432_000_000)),
            ("h:mm a", "2:30 PM", Some(52_200_000)),
            ("HH 'o''clock'", "03 o'clock", Some(10_800_000)),
            // No year: the receive time's, or the one before.
            ("MMM d HH:mm:ss", "Jan 5 00:00:00", Some(1_704_412_800_000)),
            ("MMM d HH:mm:ss", "Dec 31 00:00:00", Some(1_703_980_800_000)),
            ("yyyy-MM-dd", "2012-13-17", None),
            ("yyyy-MM-dd", "today", None),
        ] {
            let pattern = TimePattern::parse(pattern).expect(pattern).in_utc();
            assert_eq!(pattern.millis(text.as_bytes(), received), millis, "{pattern:?} {text}");
        }
        assert_eq!(TimePattern::parse("HH").expect("HH").millis(b"\xff", received), None);
    }

    #[test]
    fn what_is_no_pattern() {
        for (pattern, told) in [
            ("yyyy-QQ", "`QQ` is not known here"),
            ("yyyy'T", "a quote is not closed"),
            (" ", "an empty pattern matches no time"),
        ] {
            assert_eq!(TimePattern::parse(pattern).expect_err(pattern), told);
        }
    }
}
