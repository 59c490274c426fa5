//! `[groups.NAME]`: which sinks are in it, and who is asked first.

use super::{Course, Penalty};
use crate::config::{OptionDoc, Section, Spanned};
use crate::sink::dead_letters;
use std::path::PathBuf;
use std::time::Duration;

/// The rows of a group.
pub const GROUP: &[OptionDoc] = &[
    OptionDoc {
        name: "type",
        default: None,
        doc: "failover: the first sink that works gets everything; load_balance: all of them work",
    },
    OptionDoc {
        name: "sinks",
        default: None,
        doc: "sinks of one channel; with failover the first is preferred, then the second",
    },
    OptionDoc {
        name: "penalty_max",
        default: Some("30s"),
        doc: "a sink that fails rests for a second, then two, four … so long at most",
    },
    OptionDoc {
        name: dead_letters::DEAD_LETTERS.name,
        default: Some(""),
        doc: "file for events that each sink refuses; by default that of the last to refuse them",
    },
];

const BALANCE: &[OptionDoc] = &[
    OptionDoc {
        name: "policy",
        default: Some("round_robin"),
        doc: "whose turn it is: round_robin, random or least_waiting; a busy one is passed over",
    },
    OptionDoc {
        name: "backoff",
        default: Some("true"),
        doc: "whether a rest grows from failure to failure; else it is a second each time",
    },
];

const PENALTY_MIN: Duration = Duration::from_millis(10);
const PENALTY_MAX: Duration = Duration::from_secs(24 * 3600);

/// A group as its section has it: the names of sinks are still only words.
#[derive(Clone, Debug)]
pub struct GroupPlan {
    pub course: Course,
    pub penalty: Penalty,
    pub sinks: Vec<Spanned<String>>,
    pub dead_letters: Option<PathBuf>,
}

#[derive(Clone, Copy)]
enum Kind {
    Failover,
    LoadBalance,
}

impl GroupPlan {
    /// Reads the section; what is wrong goes to its diagnostics.
    pub fn plan(section: &Section) -> Self {
        section.describe(GROUP);
        let kinds = [("failover", Kind::Failover), ("load_balance", Kind::LoadBalance)];
        let kind = section.choice("type", &kinds);
        let sinks = section.texts("sinks");
        let max = section.duration_in("penalty_max", PENALTY_MIN..=PENALTY_MAX);
        let (course, grows) = match kind {
            Kind::Failover => (Course::Failover, true),
            Kind::LoadBalance => {
                section.describe(BALANCE);
                let policies = [
                    ("round_robin", Course::RoundRobin),
                    ("random", Course::Random),
                    ("least_waiting", Course::LeastWaiting),
                ];
                (section.choice("policy", &policies), section.flag("backoff"))
            }
        };
        if sinks.len() < 2 && section.usable("sinks") {
            let what = format!("{} names fewer than two sinks", section.title());
            section.fail("sinks", what, "name another one, or take the group out");
        }
        let dead_letters = dead_letters::plan(section);
        section.finish();
        Self { course, penalty: Penalty { max, grows }, sinks, dead_letters }
    }
}
