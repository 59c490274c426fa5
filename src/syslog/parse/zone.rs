//! From a time as sent to an instant: the year that was not sent, the zone that was not sent.
//!
//! - **Year**: the receive time's, seen in the zone. December received in January is the year
//!   before, January received in December the year after. February 29 goes to the nearest leap
//!   year at or before.
//! - **Zone**: an offset that was sent counts. An abbreviation counts as the given zone means it
//!   (`CST` is China's under `Asia/Shanghai`), else as [`abbreviation`] says. Nothing sent: the
//!   given zone.
//! - **Summer time**: a civil time that occurs twice is the first of the two; one that is skipped
//!   has the offset that held before the clocks went forward. So the civil time is always kept as
//!   sent, and the same text under the same zone is always the same instant.
//!
//! Offsets are cached between two changes of a zone: a look-up is two comparisons.

use std::fmt::{self, Write};

use jiff::civil::DateTime;
use jiff::tz::{AmbiguousOffset, TimeZone};

use super::time::{Offset, Time, is_leap};
use crate::time::Wall;

/// A zone and the offset it had where it was last asked. One per worker: asking moves the cache.
#[derive(Clone, Debug)]
pub struct Zone {
    zone: TimeZone,
    /// Civil seconds from which and up to which `offset` is the only answer.
    from: i64,
    until: i64,
    offset_seconds: i32,
}

impl Zone {
    /// An IANA name; `None` when there is no such zone.
    pub fn named(name: &str) -> Option<Self> {
        TimeZone::get(name).ok().map(Self::of)
    }

    pub fn utc() -> Self {
        Self::of(TimeZone::UTC)
    }

    /// The zone this machine is set to.
    pub fn local() -> Self {
        Self::of(TimeZone::system())
    }

    fn of(zone: TimeZone) -> Self {
        Self { zone, from: 0, until: 0, offset_seconds: 0 }
    }

    /// Seconds east of UTC at a civil time, given in seconds since 1970 as if it were UTC.
    #[inline]
    pub fn offset_at(&mut self, civil_seconds: i64) -> i32 {
        if (self.from..self.until).contains(&civil_seconds) {
            return self.offset_seconds;
        }
        self.look_up(civil_seconds)
    }

    #[cold]
    fn look_up(&mut self, civil_seconds: i64) -> i32 {
        let Some(civil) = civil(civil_seconds) else { return 0 };
        match self.zone.to_ambiguous_timestamp(civil).offset() {
            AmbiguousOffset::Unambiguous { offset } => {
                self.offset_seconds = offset.seconds();
                (self.from, self.until) =
                    self.unchanged_around(civil_seconds - i64::from(offset.seconds()));
                self.offset_seconds
            }
            AmbiguousOffset::Gap { before, .. } | AmbiguousOffset::Fold { before, .. } => {
                before.seconds()
            }
        }
    }

    /// The civil seconds around an instant in which its offset is certain: a day away from the
    /// changes on either side, which no gap or fold reaches.
    fn unchanged_around(&self, instant: i64) -> (i64, i64) {
        const DAY: i64 = 86_400;
        let Ok(at) = jiff::Timestamp::from_second(instant) else { return (0, 0) };
        let last =
            self.zone.preceding(at).next().map_or(i64::MIN / 4, |t| t.timestamp().as_second());
        let next =
            self.zone.following(at).next().map_or(i64::MAX / 4, |t| t.timestamp().as_second());
        let offset = i64::from(self.offset_seconds);
        let (from, until) = (last + offset + DAY, next + offset - DAY);
        let civil_seconds = instant + offset;
        // Within a day of a change: this answer is certain for this second only.
        if (from..until).contains(&civil_seconds) { (from, until) } else { (0, 0) }
    }

    /// Seconds east of UTC if the zone itself used `name` around that civil time.
    fn offset_named(&self, name: &[u8], civil_seconds: i64) -> Option<i32> {
        let civil = civil(civil_seconds)?;
        let (first, second) = match self.zone.to_ambiguous_timestamp(civil).offset() {
            AmbiguousOffset::Unambiguous { offset } => (offset, offset),
            AmbiguousOffset::Gap { before, after } | AmbiguousOffset::Fold { before, after } => {
                (before, after)
            }
        };
        [first, second].into_iter().find_map(|offset| {
            let instant = offset.to_timestamp(civil).ok()?;
            let info = self.zone.to_offset_info(instant);
            let is_it = info.offset() == offset
                && info.abbreviation().as_bytes().eq_ignore_ascii_case(name);
            is_it.then(|| offset.seconds())
        })
    }
}

fn civil(seconds: i64) -> Option<DateTime> {
    let timestamp = jiff::Timestamp::from_second(seconds).ok()?;
    Some(TimeZone::UTC.to_datetime(timestamp))
}

/// What is known of a message when it arrives: the year and month of the receive time in the zone,
/// and the zone. Made once a batch.
#[derive(Clone, Debug)]
pub struct Arrival {
    pub zone: Zone,
    year: u16,
    month: u8,
}

impl Arrival {
    pub fn new(received: Wall, zone: Zone) -> Self {
        let mut arrival = Self { zone, year: 1970, month: 1 };
        arrival.turn_to(received);
        arrival
    }

    pub fn turn_to(&mut self, received: Wall) {
        let instant =
            jiff::Timestamp::from_second(received.seconds()).unwrap_or(jiff::Timestamp::UNIX_EPOCH);
        let civil = self.zone.zone.to_datetime(instant);
        self.year = civil.year().clamp(1, 9998).unsigned_abs();
        self.month = civil.month().unsigned_abs();
    }

    /// The year of a month and day that came without one.
    #[inline]
    pub fn year_of(&self, month: u8, day: u8) -> u16 {
        let year = match (month, self.month) {
            (12, 1) => self.year - 1,
            (1, 12) => self.year + 1,
            _ => self.year,
        };
        if month == 2 && day == 29 { leap_year_to(year) } else { year }
    }

    /// The time with year and offset.
    #[inline]
    pub fn resolve<'a>(&mut self, time: &Time<'a>) -> Moment<'a> {
        let year = time.year.unwrap_or_else(|| self.year_of(time.month, time.day));
        let civil_seconds = civil_seconds(year, time);
        let (offset_seconds, shape) = match time.offset {
            Offset::Zulu => (0, Shape::Zulu),
            Offset::Sent { minus, minutes } => {
                let seconds = i32::from(minutes) * 60;
                (if minus { -seconds } else { seconds }, Shape::Sent { minus })
            }
            Offset::Unsent => (self.zone.offset_at(civil_seconds), Shape::Found),
            Offset::Named(name) => (self.named(name, civil_seconds), Shape::Found),
        };
        Moment { time: *time, year, civil_seconds, offset_seconds, shape }
    }

    #[cold]
    fn named(&mut self, name: &[u8], civil_seconds: i64) -> i32 {
        let own = self.zone.offset_named(name, civil_seconds);
        own.or_else(|| abbreviation(name).map(|minutes| i32::from(minutes) * 60))
            .unwrap_or_else(|| self.zone.offset_at(civil_seconds))
    }
}

fn leap_year_to(year: u16) -> u16 {
    (0..8).map(|back| year.saturating_sub(back)).find(|&year| is_leap(year)).unwrap_or(year)
}

/// Seconds since 1970 as if the civil time were UTC; days as in Hinnant's `days_from_civil`.
#[inline]
fn civil_seconds(year: u16, time: &Time<'_>) -> i64 {
    let (month, day) = (i64::from(time.month), i64::from(time.day));
    let year = i64::from(year) - i64::from(month <= 2);
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    let days = era * 146_097 + day_of_era - 719_468;
    days * 86_400
        + i64::from(time.hour) * 3600
        + i64::from(time.minute) * 60
        + i64::from(time.second)
}

/// A resolved time. Shown in RFC 3339 with the offset and the fraction that were sent.
#[derive(Clone, Copy, Debug)]
pub struct Moment<'a> {
    time: Time<'a>,
    year: u16,
    civil_seconds: i64,
    offset_seconds: i32,
    shape: Shape,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Shape {
    Zulu,
    Sent {
        minus: bool,
    },
    /// By the zone: nought shows as `Z`.
    Found,
}

impl Moment<'_> {
    /// Nanoseconds since 1970; digits behind the ninth do not count. Saturates in 1677 and 2262.
    pub fn wall(&self) -> Wall {
        let seconds = self.civil_seconds - i64::from(self.offset_seconds);
        let mut nanos = 0i64;
        for place in 0..9 {
            let digit = self.time.fraction.get(place).map_or(0, |digit| digit - b'0');
            nanos = nanos * 10 + i64::from(digit);
        }
        Wall(seconds.saturating_mul(1_000_000_000).saturating_add(nanos))
    }
}

impl fmt::Display for Moment<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Time { month, day, hour, minute, second, fraction, .. } = self.time;
        let year = self.year;
        write!(f, "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}")?;
        if !fraction.is_empty() {
            f.write_char('.')?;
            fraction.iter().try_for_each(|&digit| f.write_char(char::from(digit)))?;
        }
        // RFC 3339 has no seconds in offsets; zones had them only before time was standardised.
        let minutes = self.offset_seconds.unsigned_abs() / 60;
        let minus = match self.shape {
            Shape::Zulu => return f.write_char('Z'),
            Shape::Found if self.offset_seconds == 0 => return f.write_char('Z'),
            Shape::Found => self.offset_seconds < 0,
            Shape::Sent { minus } => minus,
        };
        let sign = if minus { '-' } else { '+' };
        write!(f, "{sign}{:02}:{:02}", minutes / 60, minutes % 60)
    }
}

/// Minutes east of UTC of an abbreviation, where the given zone does not know it. Ambiguous ones
/// stand for what syslog senders mostly mean: RFC 822's American ones, then Europe's, then others.
pub fn abbreviation(name: &[u8]) -> Option<i16> {
    ABBREVIATIONS
        .binary_search_by(|(known, _)| known.as_bytes().cmp(name))
        .ok()
        .map(|index| ABBREVIATIONS[index].1)
}

#[rustfmt::skip]
const ABBREVIATIONS: &[(&str, i16)] = &[
    ("ACDT", 630), ("ACST", 570), ("ADT", -180), ("AEDT", 660), ("AEST", 600), ("AKDT", -480),
    ("AKST", -540), ("AST", -240), ("AWST", 480), ("BRT", -180), ("BST", 60), ("CAT", 120),
    ("CDT", -300), ("CEST", 120), ("CET", 60), ("CST", -360), ("EAT", 180), ("EDT", -240),
    ("EEST", 180), ("EET", 120), ("EST", -300), ("GMT", 0), ("HKT", 480), ("HST", -600),
    ("IDT", 180), ("IST", 330), ("JST", 540), ("KST", 540), ("MDT", -360), ("MEST", 120),
    ("MET", 60), ("MSK", 180), ("MST", -420), ("MYT", 480), ("NDT", -150), ("NST", -210),
    ("NZDT", 780), ("NZST", 720), ("PDT", -420), ("PHT", 480), ("PKT", 300), ("PST", -480),
    ("SAST", 120), ("SGT", 480), ("UCT", 0), ("UTC", 0), ("WAT", 60), ("WEST", 60), ("WET", 0),
    ("WIB", 420),
];

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::syslog::parse::time::{Rigour, bsd, iso};

    /// 2026-06-15T12:00:00Z unless a test says otherwise.
    fn arrival(received: &str, zone: &str) -> Arrival {
        let at: jiff::Timestamp = received.parse().unwrap();
        Arrival::new(Wall(at.as_second() * 1_000_000_000), Zone::named(zone).unwrap())
    }

    fn traditional(text: &str, received: &str, zone: &str) -> String {
        arrival(received, zone).resolve(&bsd(text.as_bytes(), 0).unwrap()).to_string()
    }

    fn sent(text: &str, zone: &str) -> String {
        let (time, _) = iso(text.as_bytes(), 0, Rigour::Loose).unwrap();
        arrival("2026-06-15T12:00:00Z", zone).resolve(&time).to_string()
    }

    #[test]
    fn the_year_is_that_of_the_receive_time() {
        let year = |text: &str, received: &str| traditional(text, received, "UTC")[..4].to_owned();
        assert_eq!(year("Oct 11 22:14:15", "2026-06-15T12:00:00Z"), "2026");
        assert_eq!(year("Dec 31 23:59:59", "2026-01-01T00:00:05Z"), "2025");
        assert_eq!(year("Dec 31 23:59:59", "2026-02-01T00:00:05Z"), "2026");
        assert_eq!(year("Jan  1 00:00:05", "2025-12-31T23:59:50Z"), "2026");
        assert_eq!(year("Jan  1 00:00:05", "2025-11-30T23:59:50Z"), "2025");
        assert_eq!(year("Feb 29 12:00:00", "2026-06-15T12:00:00Z"), "2024");
        assert_eq!(year("Feb 29 12:00:00", "2024-03-01T12:00:00Z"), "2024");
        assert_eq!(year("Feb 29 12:00:00", "2103-03-01T12:00:00Z"), "2096");
    }

    #[test]
    fn the_year_turns_in_the_zone() {
        let text = traditional("Jan  1 08:30:00", "2024-12-31T23:30:00Z", "Asia/Tokyo");
        assert_eq!(text, "2025-01-01T08:30:00+09:00");
        let text = traditional("Dec 31 19:30:00", "2025-01-01T00:30:00Z", "America/New_York");
        assert_eq!(text, "2024-12-31T19:30:00-05:00");
    }

    #[test]
    fn gaps_and_overlaps_are_defined() {
        let berlin = |text: &str| sent(text, "Europe/Berlin");
        assert_eq!(berlin("2025-03-30T01:59:59"), "2025-03-30T01:59:59+01:00");
        assert_eq!(berlin("2025-03-30T02:30:00"), "2025-03-30T02:30:00+01:00", "skipped");
        assert_eq!(berlin("2025-03-30T03:00:00"), "2025-03-30T03:00:00+02:00");
        assert_eq!(berlin("2025-10-26T01:59:59"), "2025-10-26T01:59:59+02:00");
        assert_eq!(berlin("2025-10-26T02:30:00"), "2025-10-26T02:30:00+02:00", "the first");
        assert_eq!(berlin("2025-10-26T03:00:00"), "2025-10-26T03:00:00+01:00");
        assert_eq!(sent("2025-10-05T02:15:00", "Australia/Lord_Howe"), "2025-10-05T02:15:00+10:30");
    }

    #[test]
    fn what_was_sent_stays() {
        let berlin = |text: &str| sent(text, "Europe/Berlin");
        assert_eq!(berlin("2003-10-11T22:14:15.003Z"), "2003-10-11T22:14:15.003Z");
        assert_eq!(berlin("2003-10-11T22:14:15+00:00"), "2003-10-11T22:14:15+00:00");
        assert_eq!(berlin("2003-10-11T22:14:15-00:00"), "2003-10-11T22:14:15-00:00");
        assert_eq!(berlin("2003-10-11T22:14:15.10-0330"), "2003-10-11T22:14:15.10-03:30");
        assert_eq!(sent("2003-10-11T22:14:15", "UTC"), "2003-10-11T22:14:15Z");
        assert_eq!(sent("2003-01-11T22:14:15", "Europe/London"), "2003-01-11T22:14:15Z");
    }

    #[test]
    fn abbreviations_mean_what_the_zone_means() {
        let named = |name: &'static str, zone: &str| {
            let time = Time {
                offset: Offset::Named(name.as_bytes()),
                ..bsd(b"Jan 11 22:14:15", 0).unwrap()
            };
            arrival("2026-06-15T12:00:00Z", zone).resolve(&time).to_string()
        };
        assert_eq!(named("CST", "UTC"), "2026-01-11T22:14:15-06:00");
        assert_eq!(named("CST", "Asia/Shanghai"), "2026-01-11T22:14:15+08:00");
        assert_eq!(named("UTC", "Asia/Shanghai"), "2026-01-11T22:14:15Z");
        assert_eq!(named("XYZ", "Asia/Shanghai"), "2026-01-11T22:14:15+08:00");
        assert!(ABBREVIATIONS.is_sorted());
    }

    #[test]
    fn instants() {
        let wall = |text: &str| {
            let (time, _) = iso(text.as_bytes(), 0, Rigour::Loose).unwrap();
            arrival("2026-06-15T12:00:00Z", "UTC").resolve(&time).wall().0
        };
        assert_eq!(wall("2003-10-11T22:14:15.003Z"), 1_065_910_455_003_000_000);
        assert_eq!(wall("1969-12-31T23:59:59.999999999Z"), -1);
        assert_eq!(wall("2003-10-11T22:14:15.0000000019+01:00"), 1_065_906_855_000_000_001);
        assert_eq!(wall("9999-10-11T22:14:15Z"), i64::MAX);
    }

    proptest! {
        /// The cache answers what the zone answers.
        #[test]
        fn cached_offsets_are_the_zones(
            seconds in proptest::collection::vec(-2_000_000_000i64..4_000_000_000, 1..40),
            which in 0usize..5,
        ) {
            let names =
                ["Europe/Berlin", "America/New_York", "Asia/Tokyo", "Australia/Lord_Howe", "UTC"];
            let mut zone = Zone::named(names[which]).unwrap();
            for base in seconds {
                for near in [0, 3600, 86_400, 7_000_000] {
                    let mut fresh = Zone::named(names[which]).unwrap();
                    prop_assert_eq!(zone.offset_at(base + near), fresh.look_up(base + near));
                }
            }
        }

        /// Our days are the calendar's.
        #[test]
        fn civil_seconds_agree_with_jiff(seconds in -60_000_000_000i64..250_000_000_000) {
            let civil = civil(seconds).unwrap();
            let text = format!("{}", civil.strftime("%Y-%m-%dT%H:%M:%SZ"));
            let (time, _) = iso(text.as_bytes(), 0, Rigour::Exact).unwrap();
            prop_assert_eq!(civil_seconds(time.year.unwrap(), &time), seconds);
        }
    }
}
