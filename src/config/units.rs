//! Sizes, times, rates and shares as people write them, and back again.
//!
//! ```text
//! size   512 · 64KB (1000) · 64KiB (1024) · 1.5GiB     any case, a space before the unit is fine
//! time   250ms · 20s · 1h · 30d · 1h30m                always with a unit; largest unit first
//! rate   max · 5000 · 5000/s · 10k · 1.5M/s            events a second
//! share  5% · 0.5%
//! ```
//!
//! Promises: `size(&show_size(n)) == n` and so on for every value; sums are exact (no floats but in
//! a share); text that is refused says what would be right.

use std::fmt::Write as _;
use std::time::Duration;

/// Why a text is not a value, and what would be.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{what}: {remedy}")]
pub struct UnitError {
    pub what: String,
    pub remedy: String,
}

/// How fast: events a second, or as fast as it goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rate {
    Max,
    PerSecond(u64),
}

/// A share of something, in percent, or an absolute size.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Amount {
    Bytes(u64),
    Percent(f64),
}

pub(super) const SIZE_REMEDY: &str = "a size looks like \"64KiB\" (1024), \"64KB\" (1000) or 512";
pub(super) const TIME_REMEDY: &str = "a time looks like \"250ms\", \"20s\", \"1h30m\" or \"30d\"";
pub(super) const RATE_REMEDY: &str = "a rate looks like 5000, \"10k/s\", \"1.5M/s\" or \"max\"";
const SHARE_REMEDY: &str = "a share looks like \"5%\", from 0% to 100%";

const SIZE_UNITS: &[(&str, u64)] = &[
    ("TiB", 1 << 40),
    ("GiB", 1 << 30),
    ("MiB", 1 << 20),
    ("KiB", 1 << 10),
    ("TB", 1_000_000_000_000),
    ("GB", 1_000_000_000),
    ("MB", 1_000_000),
    ("KB", 1000),
    ("B", 1),
];

const TIME_UNITS: &[(&str, u64)] = &[
    ("d", 86_400_000_000_000),
    ("h", 3_600_000_000_000),
    ("m", 60_000_000_000),
    ("s", 1_000_000_000),
    ("ms", 1_000_000),
    ("us", 1000),
    ("ns", 1),
];

/// Bytes.
pub fn size(text: &str) -> Result<u64, UnitError> {
    let (number, unit) = split_number(text);
    if number.is_empty() {
        return refuse(text, "is not a size", SIZE_REMEDY);
    }
    let scale = if unit.is_empty() {
        1
    } else {
        match SIZE_UNITS.iter().find(|(name, _)| name.eq_ignore_ascii_case(unit)) {
            Some((_, scale)) => *scale,
            None => return Err(unknown_size_unit(text, number, unit)),
        }
    };
    match scaled(number, scale) {
        Ok(bytes) => Ok(bytes),
        Err(Misfit::NotANumber) => refuse(text, "is not a size", SIZE_REMEDY),
        Err(Misfit::NotWhole) => refuse(text, "is not a whole number of bytes", SIZE_REMEDY),
        Err(Misfit::TooLarge) => refuse(text, "is more bytes than 64 bits hold", SIZE_REMEDY),
    }
}

fn unknown_size_unit(text: &str, number: &str, unit: &str) -> UnitError {
    let what = format!("\"{text}\" has the unknown unit `{unit}`");
    let remedy = match unit.to_ascii_uppercase().as_str() {
        letter @ ("K" | "M" | "G" | "T") => {
            format!("write \"{number}{letter}iB\" (1024) or \"{number}{letter}B\" (1000)")
        }
        _ => "size units are B, KB, MB, GB, TB (1000) and KiB, MiB, GiB, TiB (1024)".to_owned(),
    };
    UnitError { what, remedy }
}

/// The shortest exact way to write `bytes`: `64KiB`, `64KB`, `512`.
pub fn show_size(bytes: u64) -> String {
    let unit = SIZE_UNITS.iter().find(|(_, scale)| *scale > 1 && bytes.is_multiple_of(*scale));
    match unit {
        Some((name, scale)) if bytes > 0 => format!("{}{name}", bytes / scale),
        _ => bytes.to_string(),
    }
}

/// A length of time, at most about 584 years (64 bits of nanoseconds).
pub fn duration(text: &str) -> Result<Duration, UnitError> {
    let mut rest = text.trim();
    if rest.is_empty() {
        return refuse(text, "is not a time", TIME_REMEDY);
    }
    let mut total_ns: u64 = 0;
    let mut scale_before = u64::MAX;
    while !rest.is_empty() {
        let (number, tail) = split_number(rest);
        let unit_bytes = tail.find(|c: char| !c.is_alphabetic()).unwrap_or(tail.len());
        let (unit, after) = tail.split_at(unit_bytes);
        rest = after.trim_start();
        if number.is_empty() {
            return refuse(text, "is not a time", TIME_REMEDY);
        }
        if unit.is_empty() {
            let remedy = format!("write \"{number}s\" for seconds or \"{number}ms\"");
            return refuse(text, "is a time without a unit", &remedy);
        }
        let Some((_, scale)) = TIME_UNITS.iter().find(|(name, _)| *name == unit) else {
            let what = format!("has the unknown unit `{unit}`");
            return refuse(text, &what, "time units are d, h, m, s, ms, us and ns");
        };
        if *scale >= scale_before {
            return refuse(text, "is out of order", "write the largest unit first: \"1h30m\"");
        }
        scale_before = *scale;
        total_ns = match scaled(number, *scale) {
            Ok(part) => match total_ns.checked_add(part) {
                Some(sum) => sum,
                None => return refuse(text, "is longer than 584 years", TIME_REMEDY),
            },
            Err(Misfit::NotANumber) => return refuse(text, "is not a time", TIME_REMEDY),
            Err(Misfit::NotWhole) => {
                return refuse(text, "is finer than a nanosecond", TIME_REMEDY);
            }
            Err(Misfit::TooLarge) => {
                return refuse(text, "is longer than 584 years", TIME_REMEDY);
            }
        };
    }
    Ok(Duration::from_nanos(total_ns))
}

/// `1h30m`, `250ms`, `0s`: whole parts, largest unit first.
pub fn show_duration(duration: Duration) -> String {
    let mut rest_ns = u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
    let mut text = String::new();
    for (name, scale) in TIME_UNITS {
        if rest_ns >= *scale {
            write!(text, "{}{name}", rest_ns / scale).expect("a String takes every write");
            rest_ns %= scale;
        }
    }
    if text.is_empty() { "0s".to_owned() } else { text }
}

/// Events a second.
pub fn rate(text: &str) -> Result<Rate, UnitError> {
    let trimmed = text.trim();
    if trimmed == "max" {
        return Ok(Rate::Max);
    }
    let (number, unit) = split_number(trimmed.strip_suffix("/s").unwrap_or(trimmed));
    let scale = match unit {
        "" => 1,
        "k" | "K" => 1000,
        "M" => 1_000_000,
        _ => return refuse(text, "is not a rate", RATE_REMEDY),
    };
    match scaled(number, scale) {
        Ok(0) => refuse(text, "would send nothing", RATE_REMEDY),
        Ok(events) => Ok(Rate::PerSecond(events)),
        Err(Misfit::NotANumber) => refuse(text, "is not a rate", RATE_REMEDY),
        Err(Misfit::NotWhole) => refuse(text, "is not a whole number of events", RATE_REMEDY),
        Err(Misfit::TooLarge) => refuse(text, "is more than 64 bits hold", RATE_REMEDY),
    }
}

pub fn show_rate(rate: Rate) -> String {
    match rate {
        Rate::Max => "max".to_owned(),
        Rate::PerSecond(events) => format!("{events}/s"),
    }
}

/// A share in percent, 0 to 100.
pub fn percent(text: &str) -> Result<f64, UnitError> {
    let Some(number) = text.trim().strip_suffix('%') else {
        return refuse(text, "is not a share", SHARE_REMEDY);
    };
    let number = number.trim_end();
    let plain = !number.is_empty() && number.bytes().all(|b| b.is_ascii_digit() || b == b'.');
    match number.parse::<f64>() {
        Ok(share) if plain && share <= 100.0 => Ok(share),
        Ok(_) if plain => refuse(text, "is more than all of it", SHARE_REMEDY),
        _ => refuse(text, "is not a share", SHARE_REMEDY),
    }
}

/// A size or a share: `10GiB` or `5%`.
pub fn amount(text: &str) -> Result<Amount, UnitError> {
    if text.trim_end().ends_with('%') {
        return percent(text).map(Amount::Percent);
    }
    size(text).map(Amount::Bytes).map_err(|error| UnitError {
        what: error.what,
        remedy: format!("{}, or a share such as \"5%\"", error.remedy),
    })
}

pub fn show_amount(amount: Amount) -> String {
    match amount {
        Amount::Bytes(bytes) => show_size(bytes),
        Amount::Percent(share) => format!("{share}%"),
    }
}

fn refuse<T>(text: &str, why: &str, remedy: &str) -> Result<T, UnitError> {
    Err(UnitError { what: format!("\"{text}\" {why}"), remedy: remedy.to_owned() })
}

/// Splits the leading digits and dots from what follows, blanks in between dropped.
fn split_number(text: &str) -> (&str, &str) {
    let text = text.trim();
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, rest) = text.split_at(end);
    (number, rest.trim_start())
}

enum Misfit {
    NotANumber,
    NotWhole,
    TooLarge,
}

/// `number * scale` for a decimal such as `1.5`, exactly.
fn scaled(number: &str, scale: u64) -> Result<u64, Misfit> {
    let (whole, fraction) = number.split_once('.').unwrap_or((number, "0"));
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    if !digits(whole) || !digits(fraction) {
        return Err(Misfit::NotANumber);
    }
    let fraction = fraction.trim_end_matches('0');
    if fraction.len() > 18 {
        return Err(Misfit::NotWhole);
    }
    let whole: u64 = whole.parse().map_err(|_| Misfit::TooLarge)?;
    let tenth = 10_u128.pow(u32::try_from(fraction.len()).expect("at most 18"));
    let parts: u128 = if fraction.is_empty() { 0 } else { fraction.parse().expect("18 digits") };
    let below = parts * u128::from(scale);
    if !below.is_multiple_of(tenth) {
        return Err(Misfit::NotWhole);
    }
    let total = u128::from(whole) * u128::from(scale) + below / tenth;
    u64::try_from(total).map_err(|_| Misfit::TooLarge)
}

/// `N` bytes as hexadecimal digits, two each and nothing else.
pub fn hex<const N: usize>(digits: &str) -> Option<[u8; N]> {
    let (pairs, rest) = digits.as_bytes().as_chunks::<2>();
    if pairs.len() != N || !rest.is_empty() {
        return None;
    }
    let digit = |byte: u8| char::from(byte).to_digit(16);
    let mut bytes = [0; N];
    for (byte, [high, low]) in bytes.iter_mut().zip(pairs) {
        *byte = (digit(*high)? << 4 | digit(*low)?) as u8;
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn sizes_as_people_write_them() {
        for (text, bytes) in [
            ("0", 0),
            ("512", 512),
            ("1B", 1),
            ("64KB", 64_000),
            ("64KiB", 65_536),
            ("64kib", 65_536),
            ("10 MiB", 10 << 20),
            (" 1GiB ", 1 << 30),
            ("1.5GiB", 3 << 29),
            ("0.5KB", 500),
            ("2TB", 2_000_000_000_000),
            ("18446744073709551615", u64::MAX),
            ("1.50000000000000000000MB", 1_500_000),
        ] {
            assert_eq!(size(text), Ok(bytes), "{text}");
        }
    }

    #[test]
    fn sizes_that_are_none() {
        for text in [
            "",
            " ",
            "KiB",
            "-1",
            "+1",
            "1,5KB",
            "1..5KB",
            ".5KB",
            "5.KB",
            "1e3",
            "0x10",
            "1_000",
            "1KiBs",
            "1KiB 2",
            "1KiB1KiB",
            "16777216TiB",
            "18446744073709551616",
            "0.1",
            "0.0001KB",
            "٣KB",
            "1K",
            "1 k i b",
            "1\0",
        ] {
            assert!(size(text).is_err(), "{text:?} is {:?}", size(text));
        }
    }

    #[test]
    fn times_as_people_write_them() {
        for (text, ns) in [
            ("0s", 0),
            ("250ms", 250_000_000),
            ("1h", 3_600_000_000_000),
            ("1h30m", 5_400_000_000_000),
            ("1h 30m", 5_400_000_000_000),
            ("30d", 2_592_000_000_000_000),
            ("1.5s", 1_500_000_000),
            ("1d1h1m1s1ms1us1ns", 90_061_001_001_001),
            ("90s", 90_000_000_000),
            ("1 s", 1_000_000_000),
        ] {
            assert_eq!(duration(text), Ok(Duration::from_nanos(ns)), "{text}");
        }
    }

    #[test]
    fn times_that_are_none() {
        for text in [
            "",
            " ",
            "1",
            "s",
            "1 0",
            "1h30",
            "30m1h",
            "1h1h",
            "-1s",
            "1.s",
            ".5s",
            "1S",
            "1min",
            "1w",
            "1h-1m",
            "213504d",
            "18446744073710s",
            "0.1ns",
            "1s,",
            "é",
            "1é",
            "1m é",
        ] {
            assert!(duration(text).is_err(), "{text:?} is {:?}", duration(text));
        }
    }

    #[test]
    fn rates_and_shares() {
        for (text, expected) in [
            ("max", Some(Rate::Max)),
            ("5000", Some(Rate::PerSecond(5000))),
            ("5000/s", Some(Rate::PerSecond(5000))),
            ("10k/s", Some(Rate::PerSecond(10_000))),
            ("1.5M", Some(Rate::PerSecond(1_500_000))),
            ("0", None),
            ("0.5", None),
            ("5000/m", None),
            ("fast", None),
            ("", None),
            ("/s", None),
        ] {
            assert_eq!(rate(text).ok(), expected, "{text}");
        }
        for (text, expected) in [
            ("5%", Some(5.0)),
            ("0.5 %", Some(0.5)),
            ("0%", Some(0.0)),
            ("100%", Some(100.0)),
            ("100.1%", None),
            ("-1%", None),
            ("5", None),
            ("%", None),
            (".%", None),
            ("nan%", None),
            ("inf%", None),
            ("1e1%", None),
        ] {
            assert_eq!(percent(text).ok(), expected, "{text}");
        }
        assert_eq!(amount("5%"), Ok(Amount::Percent(5.0)));
        assert_eq!(amount("5KiB"), Ok(Amount::Bytes(5120)));
    }

    #[test]
    fn values_are_shown_short() {
        for (bytes, text) in [
            (0, "0"),
            (1, "1"),
            (512, "512"),
            (1000, "1KB"),
            (1024, "1KiB"),
            (65_536, "64KiB"),
            (1 << 30, "1GiB"),
            (1_500_000, "1500KB"),
            (1025, "1025"),
        ] {
            assert_eq!(show_size(bytes), text);
        }
        for (ns, text) in [
            (0, "0s"),
            (1_000_000_000, "1s"),
            (5_400_000_000_000, "1h30m"),
            (250_000_000, "250ms"),
            (86_400_000_000_000, "1d"),
            (1_000_000_001, "1s1ns"),
        ] {
            assert_eq!(show_duration(Duration::from_nanos(ns)), text);
        }
    }

    proptest! {
        #[test]
        fn what_is_shown_reads_back(
            bytes in any::<u64>(),
            ns in any::<u64>(),
            share in 0..=1000_u32,
        ) {
            prop_assert_eq!(size(&show_size(bytes)), Ok(bytes));
            let time = Duration::from_nanos(ns);
            prop_assert_eq!(duration(&show_duration(time)), Ok(time));
            let events = Rate::PerSecond(bytes.max(1));
            prop_assert_eq!(rate(&show_rate(events)), Ok(events));
            let part = Amount::Percent(f64::from(share) / 10.0);
            prop_assert_eq!(amount(&show_amount(part)), Ok(part));
        }

        #[test]
        fn round_values_read_back(count in 0..5000_u64, unit in prop::sample::select(SIZE_UNITS)) {
            let bytes = count * unit.1;
            prop_assert_eq!(size(&format!("{count}{}", unit.0)), Ok(bytes));
            prop_assert_eq!(size(&show_size(bytes)), Ok(bytes));
        }

        #[test]
        fn no_text_is_too_odd(text in any::<String>(), odd in "[0-9.]{0,24} ?[a-zA-Z%/]{0,4}") {
            for text in [text, odd] {
                let _ = (size(&text), duration(&text), rate(&text), amount(&text));
            }
        }
    }
}
