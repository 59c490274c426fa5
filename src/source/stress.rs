//! `stress`: events of one size, all the same, to load what stands behind; Flume's StressSource.
//!
//! Flume's drops what its channel does not take and counts on. Here an event is made when there is
//! room for it, so those that were made and those that were accepted are as many.

use super::SourceKind;
use super::made::{Body, Made};
use crate::config::OptionDoc;

pub(super) const KIND: SourceKind = SourceKind {
    name: "stress",
    aliases: &[],
    summary: "equal events as fast as they are taken, as Flume's StressSource",
    options: OPTIONS,
    plan: |section| {
        let total = section.optional_integer("max_total_events", 1..=i64::MAX);
        let successful = section.optional_integer("max_successful_events", 1..=i64::MAX);
        let count = [total, successful].into_iter().flatten().min();
        let rate = section.integer("max_events_per_second", 0..=1_000_000_000) as u64;
        Box::new(Made {
            body: Body::Filled(FILLING, section.size_in("size", 0..=SIZE_BYTES_MAX) as usize),
            count: count.map(|count| count as u64),
            per_second: (rate > 0).then_some(rate),
            batch: section.integer("batch_size", 1..=1_000_000) as u64,
        })
    },
};

const OPTIONS: &[OptionDoc] = &[
    OptionDoc { name: "size", default: Some("500"), doc: "bytes of an event, each 0x7F" },
    OptionDoc {
        name: "max_total_events",
        default: Some(""),
        doc: "so many, and then it is finished; unset: for ever",
    },
    OptionDoc {
        name: "max_successful_events",
        default: Some(""),
        doc: "the same, for all of its events are accepted",
    },
    OptionDoc {
        name: "max_events_per_second",
        default: Some("0"),
        doc: "events a second; 0: as many as are taken",
    },
    OptionDoc { name: "batch_size", default: Some("1000"), doc: "made at once" },
];

/// As Flume fills them.
const FILLING: u8 = 0x7F;
/// Fits the smallest page.
const SIZE_BYTES_MAX: u64 = 32 << 10;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rows_are_what_is_asked_for() {
        crate::config::check_docs(OPTIONS, "", |section| {
            (KIND.plan)(section);
        });
    }
}
