//! Seeds that once failed, each with what it found. They stay for ever, and so does the manner in
//! which their plans were drawn: `Dealing` says which.

use crate::dealing::Dealing;
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

/// The same, of plans that deal out, but not by headers what somebody waits for.
const FOUND_DEALT: &[(u64, &str)] = &[
    (
        1004,
        "a sync that failed at a stop's last try, behind another failure, was counted by nobody",
    ),
    (1328, "a rest was over before a sink of a group had counted what it had to give up"),
];

/// The same, of plans that refuse some, and write files of lzop's.
const FOUND_REFUSED: &[(u64, &str)] = &[
    (233, "a power cut took the file of dead letters: its folder's own name was never synced"),
    (700_064, "a group was blocked for ever by letters that another sink had taken as events"),
];

fn hold(seeds: &[(u64, &str)], dealing: Dealing) {
    for (seed, found) in seeds {
        if let Err(what) = run_as(*seed, Sabotage::None, dealing) {
            panic!("again ({found}): {what}");
        }
    }
}

#[test]
fn seeds_that_once_failed_hold() {
    hold(FOUND, Dealing::Nothing);
    hold(FOUND_DEALT, Dealing::Unanswered);
    // Without lzo a sink or other of these has another codec.
    hold(FOUND_REFUSED, Dealing::All);
}
