//! Seeds that once failed, each with what it found. They stay for ever.

use crate::run::{Sabotage, run_as};

/// (seed, what it found), of plans in which nothing is dealt out
const FOUND: &[(u64, &str)] = &[
    (713, "an emptied file's name was removed from under its successor"),
    (50265, "a round of one sink lost another's bytes, who is told at its own next sync"),
    (3128, "one file's failed sync ended the incident of another that still blocked"),
    (51600, "a seal that failed just before the end was not tried again, its losses not counted"),
    (7050, "a failed sync took from a file that somebody had deleted what nobody could count"),
    (1147, "a failed sync took from a file set aside what an earlier life had counted as lost"),
];

#[test]
fn seeds_that_once_failed_hold() {
    for (seed, found) in FOUND {
        if let Err(what) = run_as(*seed, Sabotage::None, false) {
            panic!("again ({found}): {what}");
        }
    }
}
