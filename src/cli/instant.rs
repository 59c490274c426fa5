//! Moments as people write them: `2026-11-21T10:00:00Z`, `2026-11-21 10:00`, `10:00`, `1h` (ago).

use jiff::civil::{Date, DateTime, Time};
use jiff::tz::TimeZone;
use jiff::{Timestamp, Zoned};

use crate::config::units;
use crate::time::Wall;

const FORMS: &str = "a moment looks like \"2026-11-21T10:00:00Z\", \"2026-11-21 10:00\" or \
                     \"2026-11-21\" (local time), \"10:00\" (today), \"90m\" (ago), \
                     \"@1795255200\" (seconds since 1970) or \"now\"";

/// What a text means at the time `now`, in the machine's zone.
pub(super) fn instant(text: &str, now: Wall) -> Result<Wall, String> {
    in_zone(text.trim(), now, TimeZone::system())
}

fn in_zone(text: &str, now: Wall, zone: TimeZone) -> Result<Wall, String> {
    let refused = || format!("\"{text}\" is no moment: {FORMS}");
    if text == "now" {
        return Ok(now);
    }
    if let Some(seconds) = text.strip_prefix('@') {
        let seconds: i64 = seconds.parse().map_err(|_| refused())?;
        return seconds.checked_mul(1_000_000_000).map(Wall).ok_or_else(refused);
    }
    if let Ok(ago) = units::duration(text.strip_suffix(" ago").unwrap_or(text)) {
        let ago = i64::try_from(ago.as_nanos()).map_err(|_| refused())?;
        return Ok(Wall(now.0.saturating_sub(ago)));
    }
    if let Ok(moment) = text.parse::<Timestamp>() {
        return wall(moment).ok_or_else(refused);
    }
    let local = text
        .parse::<DateTime>()
        .or_else(|_| text.parse::<Date>().map(DateTime::from))
        .or_else(|_| {
            let today = Timestamp::from_nanosecond(i128::from(now.0))?;
            let today = Zoned::new(today, zone.clone()).date();
            text.parse::<Time>().map(|time| today.to_datetime(time))
        });
    let local = local.and_then(|local| local.to_zoned(zone));
    local.ok().and_then(|moment| wall(moment.timestamp())).ok_or_else(refused)
}

fn wall(moment: Timestamp) -> Option<Wall> {
    i64::try_from(moment.as_nanosecond()).ok().map(Wall)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 2026-11-21T16:00:00Z.
    const NOW: Wall = Wall(1_795_276_800_000_000_000);

    fn at(text: &str) -> Result<String, String> {
        let zone = TimeZone::get("Europe/Berlin").unwrap();
        in_zone(text, NOW, zone).map(super::super::output::time_text)
    }

    #[test]
    fn every_form_of_a_moment() {
        for (text, moment) in [
            ("now", "2026-11-21T16:00:00Z"),
            ("1h", "2026-11-21T15:00:00Z"),
            ("1h30m", "2026-11-21T14:30:00Z"),
            ("2d ago", "2026-11-19T16:00:00Z"),
            ("@1700000000", "2023-11-14T22:13:20Z"),
            ("2026-11-21T10:00:00Z", "2026-11-21T10:00:00Z"),
            ("2026-11-21T10:00:00.5+05:30", "2026-11-21T04:30:00.5Z"),
            ("2026-11-21T10:00:00", "2026-11-21T09:00:00Z"),
            ("2026-07-21 10:00", "2026-07-21T08:00:00Z"),
            ("2026-11-21", "2026-11-20T23:00:00Z"),
            ("10:00", "2026-11-21T09:00:00Z"),
            ("10:00:30", "2026-11-21T09:00:30Z"),
        ] {
            assert_eq!(at(text).as_deref(), Ok(moment), "{text}");
        }
    }

    #[test]
    fn what_is_no_moment_is_refused_with_what_would_be() {
        for text in
            ["", "yesterday", "1", "@", "@9999999999999999999", "2026-13-01", "25:00", "-1h"]
        {
            let error = at(text).unwrap_err();
            assert!(error.contains("is no moment: a moment looks like"), "{text}: {error}");
        }
    }
}
