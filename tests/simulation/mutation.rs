//! The checkers bite: each deliberate wrong is noticed within a few seeds.

use crate::run::{Sabotage, run};

const SEEDS: u64 = 60;

fn noticed(sabotage: Sabotage, by: &[&str]) {
    for seed in 0..SEEDS {
        let Err(what) = run(seed, sabotage) else { continue };
        let line = what.lines().next().unwrap_or_default();
        assert!(by.iter().any(|by| line.contains(by)), "{sabotage:?} was noticed by: {line}");
        return;
    }
    panic!("{sabotage:?} went unnoticed for {SEEDS} seeds");
}

#[test]
fn a_disk_that_only_says_it_synced() {
    noticed(
        Sabotage::LyingDisk,
        &["were synced", "confirmed as synced", "gone", "changed", "finished"],
    );
}

#[test]
fn a_count_that_is_off_by_one() {
    noticed(Sabotage::CountOffByOne, &["(left is 1 more)"]);
}

#[test]
fn a_batch_that_vanishes_while_the_books_agree() {
    noticed(Sabotage::SwallowedBatch, &["events are missing"]);
}

#[test]
fn an_event_sent_twice() {
    noticed(Sabotage::DoubledEvent, &["stands in", "behind"]);
}

#[test]
fn events_in_the_wrong_order() {
    noticed(Sabotage::SwappedEvents, &["behind"]);
}

#[test]
fn a_bit_that_turns_over_in_a_file() {
    let told = ["finished", "block", "not a line", "cut", "missing", "were there", "decoder"];
    noticed(Sabotage::FlippedBit, &told);
}

#[test]
fn an_event_in_a_channel_that_is_not_its_own() {
    let told = ["none of its events", "put to c", "no channel", "never came", "was confirmed"];
    noticed(Sabotage::StrayEvents, &told);
}

#[test]
fn a_page_that_somebody_keeps() {
    noticed(Sabotage::KeptPage, &["pages home", "never ended", "no rest"]);
}
