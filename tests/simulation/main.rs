//! The whole pipeline, stepped by hand: simulated sources under real runners, real pool, channels
//! and file sinks with their clerks, a manual clock, and a disk that fails in every way we know.
//!
//! A seed decides everything: the plan (sources, channels, sinks, options), who gets a turn, how
//! time passes, what fails and when the machine stops. Lives end by close, kill or power cut, and
//! the next one recovers. Checked: ledger exact between any two steps; pages and credit home;
//! order per connection and file; each event once, in the channels that are its own, be it in a
//! file, at a next hop that refuses some, or a dead letter, or counted as lost there; what was
//! synced survives; files valid at any instant and finished ones for ever; recovery idempotent;
//! the sink resumes by itself.
//!
//! ```text
//!   FLUMEN_SEED=42 cargo test --test simulation one_seed -- --nocapture     replays a seed
//!   FLUMEN_TRACE=1 …                                                        with all it did
//!   FLUMEN_SEEDS=5000 cargo test --release --test simulation seeds_hold     runs many
//! ```

mod archive;
mod dealing;
mod disk;
mod event;
mod hop;
mod life;
mod log;
mod model;
mod mutation;
mod oracle;
mod plan;
mod probe;
mod raised;
mod random;
mod regression;
mod run;
mod source;
mod trace;

use run::{Report, Sabotage, run};

/// As many as fit into some twenty seconds of a debug build on one core.
const SEEDS_DEFAULT: u64 = 250;
const FAILURES_SHOWN: usize = 3;

fn setting(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().expect("a number"))
}

#[test]
fn seeds_hold() {
    let first = setting("FLUMEN_FIRST").unwrap_or(0);
    let count = setting("FLUMEN_SEEDS").unwrap_or(SEEDS_DEFAULT);
    let mut total = Report::default();
    let mut failures = Vec::new();
    for seed in first..first + count {
        match run(seed, Sabotage::None) {
            Ok(report) => {
                total.events += report.events;
                total.lives += report.lives;
                total.crashes += report.crashes;
                total.faults += report.faults;
                total.rounds += report.rounds;
                total.evicted += report.evicted;
                total.unrouted += report.unrouted;
                total.failovers += report.failovers;
                total.answered += report.answered;
                total.lzo += report.lzo;
                total.taken += report.taken;
                total.letters += report.letters;
            }
            Err(what) => failures.push((seed, what)),
        }
    }
    println!("{count} seeds: {total:?}");
    if !failures.is_empty() {
        let seeds: Vec<u64> = failures.iter().map(|(seed, _)| *seed).collect();
        failures.iter().take(FAILURES_SHOWN).for_each(|(_, what)| eprintln!("{what}"));
        let firsts = failures.iter().map(|(_, what)| what.lines().next().unwrap_or_default());
        eprintln!("{}", firsts.collect::<Vec<_>>().join("\n"));
        panic!("{} of {count} seeds failed: {seeds:?}", seeds.len());
    }
    let Report { crashes, faults, rounds, evicted, unrouted, failovers, answered, .. } = total;
    let Report { taken, letters, .. } = total;
    let all = [crashes, faults, rounds, evicted, unrouted, failovers, answered, taken, letters];
    assert!(all.iter().all(|count| *count > 0), "{total:?}");
    assert_eq!(total.lzo > 0, cfg!(feature = "lzo"), "{total:?}");
}

#[test]
fn one_seed() {
    let seed = setting("FLUMEN_SEED").unwrap_or(1);
    match run(seed, Sabotage::None) {
        Ok(report) => println!("seed {seed}: {report:?}"),
        Err(what) => panic!("{what}"),
    }
}

/// A run is its seed: the same steps, the same bytes.
#[test]
fn a_seed_does_the_same_twice() {
    for seed in 0..12 {
        assert_eq!(run(seed, Sabotage::None), run(seed, Sabotage::None), "seed {seed}");
    }
}
