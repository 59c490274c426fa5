//! What a run gives: named numbers; of several runs the median and the spread.

use std::collections::BTreeMap;

/// In the order of the report's columns.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Key {
    Rate,
    Megabytes,
    Processor,
    User,
    System,
    Steady,
    Ratio,
    Found,
    Sent,
    Lost,
    Peak,
    P50,
    P99,
    P999,
    Max,
    Core,
}

impl Key {
    pub(crate) const ALL: [Self; 16] = [
        Self::Rate,
        Self::Megabytes,
        Self::Processor,
        Self::User,
        Self::System,
        Self::Steady,
        Self::Ratio,
        Self::Found,
        Self::Sent,
        Self::Lost,
        Self::Peak,
        Self::P50,
        Self::P99,
        Self::P999,
        Self::Max,
        Self::Core,
    ];

    /// In the raw numbers.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Rate => "events_per_second",
            Self::Megabytes => "megabytes_per_second",
            Self::Processor => "cpu_us_per_event",
            Self::User => "user_us_per_event",
            Self::System => "system_us_per_event",
            Self::Steady => "steady_cpu_us_per_event",
            Self::Ratio => "compression_ratio",
            Self::Found => "found_events",
            Self::Sent => "sent_events",
            Self::Lost => "lost_events",
            Self::Peak => "peak_resident_mib",
            Self::P50 => "p50_ms",
            Self::P99 => "p99_ms",
            Self::P999 => "p999_ms",
            Self::Max => "max_ms",
            Self::Core => "percent_of_a_core",
        }
    }

    /// At the head of a column.
    pub(crate) fn title(self) -> &'static str {
        match self {
            Self::Rate => "M events/s",
            Self::Megabytes => "MB/s",
            Self::Processor => "CPU µs/event",
            Self::User => "user",
            Self::System => "system",
            Self::Steady => "steady CPU µs/event",
            Self::Ratio => "ratio",
            Self::Found => "found",
            Self::Sent => "sent",
            Self::Lost => "lost",
            Self::Peak => "peak MiB",
            Self::P50 => "p50 ms",
            Self::P99 => "p99 ms",
            Self::P999 => "p99.9 ms",
            Self::Max => "max ms",
            Self::Core => "% of a core",
        }
    }

    pub(crate) fn show(self, value: f64) -> String {
        match self {
            Self::Rate if value < 1e5 => format!("{:.3}", value / 1e6),
            Self::Rate => format!("{:.2}", value / 1e6),
            Self::Megabytes | Self::Peak | Self::Found | Self::Sent | Self::Lost => {
                format!("{value:.0}")
            }
            Self::Ratio | Self::Core => format!("{value:.2}"),
            _ => format!("{value:.3}"),
        }
    }
}

/// The figures of one run.
pub(crate) type Figures = BTreeMap<Key, f64>;

/// Several numbers, summed up.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Spread {
    pub(crate) median: f64,
    pub(crate) least: f64,
    pub(crate) most: f64,
}

impl Spread {
    pub(crate) fn of(values: impl Iterator<Item = f64>) -> Option<Self> {
        let mut values: Vec<f64> = values.collect();
        values.sort_by(f64::total_cmp);
        let (least, most) = (*values.first()?, *values.last()?);
        let middle = values.len() / 2;
        let median = if values.len() % 2 == 1 {
            values[middle]
        } else {
            (values[middle - 1] + values[middle]) / 2.0
        };
        Some(Self { median, least, most })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_in_the_middle_and_the_spread_around_it() {
        let of = |values: &[f64]| Spread::of(values.iter().copied());
        assert_eq!(of(&[]), None);
        assert_eq!(of(&[3.0, 1.0, 9.0]), Some(Spread { median: 3.0, least: 1.0, most: 9.0 }));
        assert_eq!(of(&[4.0, 2.0]), Some(Spread { median: 3.0, least: 2.0, most: 4.0 }));
    }

    #[test]
    fn names_of_figures_are_distinct() {
        let mut names = Key::ALL.map(Key::name).to_vec();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), Key::ALL.len());
    }
}
