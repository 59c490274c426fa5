//! Counts as tables, in a terminal with bars.

use std::io::{self, Write};

use jiff::Timestamp;
use jiff::tz::TimeZone;

use super::{Count, Counts};
use crate::syslog::names::SEVERITIES;

/// The widest bar; with name and numbers it fits eighty columns.
const BAR_COLUMNS: u64 = 28;
/// A longer name is cut.
const NAME_COLUMNS: usize = 24;

pub(super) fn write(
    counts: &Counts,
    hosts: usize,
    bars: bool,
    out: &mut impl Write,
) -> io::Result<()> {
    let all = &counts.all;
    writeln!(
        out,
        "{} events, {} bytes in {} blocks, {} hosts",
        all.events,
        all.bytes,
        counts.blocks,
        counts.hosts.len()
    )?;
    let hours = counts.hours.iter().map(|(hour, n)| (hour.map_or("no time".into(), local), *n));
    table("hour", &hours.collect::<Vec<_>>(), all, bars, out)?;
    let named = |at: usize| (*SEVERITIES.get(at).unwrap_or(&"none")).to_owned();
    let severities = (0..9).map(|at| (named(at), counts.severities[at]));
    let severities: Vec<_> = severities.filter(|(_, count)| count.events > 0).collect();
    table("severity", &severities, all, bars, out)?;
    let mut rows = counts.hosts_sorted();
    let more = rows.split_off(rows.len().min(hosts));
    if counts.no_host.events > 0 {
        rows.push(("(no host)".to_owned(), counts.no_host));
    }
    table("host", &rows, all, bars, out)?;
    if !more.is_empty() {
        let events: u64 = more.iter().map(|(_, count)| count.events).sum();
        writeln!(out, "and {} more with {events} events: --hosts N, or --json", more.len())?;
    }
    Ok(())
}

fn table(
    head: &str,
    rows: &[(String, Count)],
    all: &Count,
    bars: bool,
    out: &mut impl Write,
) -> io::Result<()> {
    writeln!(out, "\n{head:<NAME_COLUMNS$} {:>12} {:>6} {:>6}", "events", "bytes", "share")?;
    let most = rows.iter().map(|(_, count)| count.events).max().unwrap_or(0).max(1);
    for (name, count) in rows {
        let name: String = name.chars().take(NAME_COLUMNS).map(visible).collect();
        let share = count.events as f64 * 100.0 / all.events.max(1) as f64;
        write!(out, "{name:<NAME_COLUMNS$} {:>12} {:>6}", count.events, short(count.bytes))?;
        write!(out, " {share:>5.1}%")?;
        if bars {
            write!(out, " {}", bar(count.events, most))?;
        }
        writeln!(out)?;
    }
    Ok(())
}

/// Names come from the network: nothing in them may move the cursor.
fn visible(letter: char) -> char {
    if letter.is_control() { '?' } else { letter }
}

/// Eighths of a column are told apart.
fn bar(value: u64, most: u64) -> String {
    let eighths = (u128::from(value) * u128::from(BAR_COLUMNS) * 8 / u128::from(most)) as usize;
    let mut bar = "█".repeat(eighths / 8);
    bar.extend(['▏', '▎', '▍', '▌', '▋', '▊', '▉'].get((eighths % 8).wrapping_sub(1)));
    bar
}

/// Four digits at most, and a unit.
fn short(bytes: u64) -> String {
    let units = [("T", 1_000_000_000_000), ("G", 1_000_000_000), ("M", 1_000_000), ("K", 1000)];
    match units.iter().find(|(_, unit)| bytes >= *unit) {
        Some((name, unit)) if bytes / unit < 10 => {
            format!("{:.1}{name}", bytes as f64 / *unit as f64)
        }
        Some((name, unit)) => format!("{}{name}", bytes / unit),
        None => bytes.to_string(),
    }
}

fn local(hour: i64) -> String {
    let moment = Timestamp::from_second(hour).map(|at| at.to_zoned(TimeZone::system()));
    moment.map_or_else(|_| hour.to_string(), |at| at.strftime("%Y-%m-%d %H:%M %:z").to_string())
}

pub(super) fn utc(hour: i64) -> String {
    Timestamp::from_second(hour).map_or_else(|_| hour.to_string(), |at| at.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_short_and_bars_in_proportion() {
        for (bytes, text) in
            [(0, "0"), (999, "999"), (1500, "1.5K"), (15_000, "15K"), (2_000_000_000, "2.0G")]
        {
            assert_eq!(short(bytes), text);
        }
        assert_eq!(bar(0, 10), "");
        assert_eq!(bar(10, 10).chars().count(), BAR_COLUMNS as usize);
        assert_eq!(bar(1, 8 * BAR_COLUMNS), "▏");
        assert_eq!(visible('\u{1b}'), '?');
    }
}
