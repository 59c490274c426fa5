//! `seq`: 0, 1, 2, … as decimal text, as fast as they are taken; Flume's sequence generator.

use super::SourceKind;
use super::made::{Body, Made};
use crate::config::OptionDoc;

pub(super) const KIND: SourceKind = SourceKind {
    name: "seq",
    aliases: &[],
    summary: "numbers from 0 on, as Flume's seq",
    options: OPTIONS,
    plan: |section| {
        let count = section.optional_integer("total_events", 1..=i64::MAX);
        Box::new(Made {
            body: Body::Number,
            count: count.map(|count| count as u64),
            per_second: None,
            batch: section.integer("batch_size", 1..=1_000_000) as u64,
        })
    },
};

const OPTIONS: &[OptionDoc] = &[
    OptionDoc {
        name: "total_events",
        default: Some(""),
        doc: "so many, and then it is finished; unset: for ever",
    },
    OptionDoc { name: "batch_size", default: Some("1000"), doc: "made at once" },
];

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
