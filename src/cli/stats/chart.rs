//! Counts as tables; in a terminal with bars, as wide as it is.

use std::io::{self, Write};

use jiff::Timestamp;
use jiff::tz::TimeZone;
use unicode_width::UnicodeWidthChar;

use super::{Count, Counts};
use crate::syslog::names::SEVERITIES;

/// The columns of numbers, each with a blank before it.
const NUMBER_COLUMNS: usize = 13 + 7 + 7;
/// Names have at least this, so that tables look alike, and more where one of them needs it.
const NAME_COLUMNS: usize = 24;
/// Of a terminal so narrow that nothing else helps.
const NAME_COLUMNS_MIN: usize = 8;
/// What bars get before names do; without that many there are none.
const BAR_COLUMNS_MIN: usize = 10;
/// Longer ones are no easier to compare.
const BAR_COLUMNS_MAX: usize = 100;

/// The tables; bars for a terminal of so many columns.
pub(super) fn write(
    counts: &Counts,
    hosts: usize,
    columns: Option<usize>,
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
    let hours = hours.collect::<Vec<_>>();
    let named = |at: usize| (*SEVERITIES.get(at).unwrap_or(&"none")).to_owned();
    let severities = (0..9).map(|at| (named(at), counts.severities[at]));
    let severities: Vec<_> = severities.filter(|(_, count)| count.events > 0).collect();
    let mut rows = counts.hosts_sorted();
    let more = rows.split_off(rows.len().min(hosts));
    if counts.no_host.events > 0 {
        rows.push(("(no host)".to_owned(), counts.no_host));
    }
    rows.iter_mut().for_each(|(name, _)| *name = name.chars().map(visible).collect());
    let longest = rows.iter().map(|(name, _)| columns_of(name)).max().unwrap_or(0);
    let layout = Layout::new(longest, columns);
    for (head, rows) in [("hour", &hours), ("severity", &severities), ("host", &rows)] {
        layout.table(head, rows, all, out)?;
    }
    if !more.is_empty() {
        let events: u64 = more.iter().map(|(_, count)| count.events).sum();
        writeln!(out, "and {} more with {events} events: --hosts N, or --json", more.len())?;
    }
    Ok(())
}

/// How wide what is; the same in all tables.
struct Layout {
    name: usize,
    /// 0: no bars.
    bar: usize,
}

impl Layout {
    fn new(longest: usize, columns: Option<usize>) -> Self {
        let Some(columns) = columns else {
            // Whoever reads a pipe wants the names as they are.
            return Self { name: longest.max(NAME_COLUMNS), bar: 0 };
        };
        let room = columns.saturating_sub(NUMBER_COLUMNS);
        let least = NAME_COLUMNS.min(room.max(NAME_COLUMNS_MIN));
        let most = room.saturating_sub(1 + BAR_COLUMNS_MIN).max(least);
        let name = longest.clamp(least, most);
        let bar = room.saturating_sub(name + 1).min(BAR_COLUMNS_MAX);
        Self { name, bar: if bar < BAR_COLUMNS_MIN { 0 } else { bar } }
    }

    fn table(
        &self,
        head: &str,
        rows: &[(String, Count)],
        all: &Count,
        out: &mut impl Write,
    ) -> io::Result<()> {
        let width = self.name;
        writeln!(out, "\n{head:<width$} {:>12} {:>6} {:>6}", "events", "bytes", "share")?;
        let most = rows.iter().map(|(_, count)| count.events).max().unwrap_or(0).max(1);
        for (name, count) in rows {
            let name = fitted(name, width);
            let share = count.events as f64 * 100.0 / all.events.max(1) as f64;
            write!(out, "{name} {:>12} {:>6} {share:>5.1}%", count.events, short(count.bytes))?;
            let bar = bar(count.events, most, self.bar);
            if !bar.is_empty() {
                write!(out, " {bar}")?;
            }
            writeln!(out)?;
        }
        Ok(())
    }
}

/// Names come from the network: nothing in them may move the cursor.
fn visible(letter: char) -> char {
    if letter.width().is_none_or(|columns| columns == 0) { '?' } else { letter }
}

fn columns_of(name: &str) -> usize {
    name.chars().map(|letter| letter.width().unwrap_or(0)).sum()
}

/// A name in exactly so many columns; of one that is too long the front.
fn fitted(name: &str, columns: usize) -> String {
    let long = columns_of(name) > columns;
    let room = if long { columns - 1 } else { columns };
    let (mut fitted, mut taken) = (String::new(), 0);
    for letter in name.chars() {
        let width = letter.width().unwrap_or(0);
        if taken + width > room {
            break;
        }
        fitted.push(letter);
        taken += width;
    }
    if long {
        fitted.push('…');
        taken += 1;
    }
    fitted.extend(std::iter::repeat_n(' ', columns - taken));
    fitted
}

/// Eighths of a column are told apart.
fn bar(value: u64, most: u64, columns: usize) -> String {
    let eighths = (u128::from(value) * columns as u128 * 8 / u128::from(most)) as usize;
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
        assert_eq!(bar(0, 10, 28), "");
        assert_eq!(bar(10, 10, 28).chars().count(), 28);
        assert_eq!(bar(1, 8 * 28, 28), "▏");
        assert_eq!(bar(5, 10, 0), "");
        assert_eq!(['\u{1b}', '\u{200B}', '\u{301}', 'ä'].map(visible), ['?', '?', '?', 'ä']);
    }

    #[test]
    fn names_fit_their_columns() {
        for (name, columns, shown) in [
            ("web", 5, "web  "),
            ("web01", 5, "web01"),
            ("web012", 5, "web0…"),
            ("東京の店", 8, "東京の店"),
            ("東京の店", 6, "東京… "),
            ("東京の店", 7, "東京の…"),
        ] {
            assert_eq!(fitted(name, columns), shown);
        }
    }

    #[test]
    fn names_and_bars_share_the_columns() {
        let of = |longest, columns| {
            let Layout { name, bar } = Layout::new(longest, columns);
            assert!(columns.is_none_or(|all| bar == 0 || name + NUMBER_COLUMNS + 1 + bar <= all));
            (name, bar)
        };
        assert_eq!(of(7, None), (24, 0));
        assert_eq!(of(90, None), (90, 0));
        assert_eq!(of(7, Some(80)), (24, 28));
        assert_eq!(of(39, Some(80)), (39, 13), "an IPv6 address");
        assert_eq!(of(90, Some(80)), (42, 10));
        assert_eq!(of(90, Some(200)), (90, 82));
        assert_eq!(of(7, Some(200)), (24, 100));
        assert_eq!(of(7, Some(61)), (24, 0), "too narrow for bars");
        assert_eq!(of(30, Some(40)), (13, 0));
        assert_eq!(of(30, Some(3)), (8, 0));
    }
}
