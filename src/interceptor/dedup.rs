//! `dedup`: what was there a moment ago does not pass again.
//!
//! A table of fixed size: of what has no place in it any more a repetition passes.

use std::hash::RandomState;
use std::time::Duration;

use super::identity::{Identity, by};
use super::{Draft, Interceptor, InterceptorKind, InterceptorPlan, Tools};
use crate::config::OptionDoc;
use crate::event::HeaderNames;
use crate::syslog::parse::Fields;
use crate::time::duration_ns;

pub(super) const KIND: InterceptorKind = InterceptorKind {
    name: "dedup",
    aliases: &[],
    summary: "refuses repetitions within a time",
    options: &[
        OptionDoc {
            name: "window",
            default: Some("10s"),
            doc: "so long after an event the same one is a repetition",
        },
        by("message"),
    ],
    plan: |section| {
        let day = Duration::from_secs(24 * 3600);
        let window = section.duration_in("window", Duration::from_millis(1)..=day);
        let window_ns = i64::try_from(duration_ns(window)).expect("a day fits");
        Box::new(Plan { window_ns, by: Identity::read(section.text("by")) })
    },
};

/// Sets of four; 16,384 texts, 256 KiB.
const SETS: usize = 4096;
const WAYS: usize = 4;

struct Plan {
    window_ns: i64,
    by: Identity,
}

impl InterceptorPlan for Plan {
    fn build(&self, _tools: &Tools) -> Box<dyn Interceptor> {
        Box::new(Dedup {
            window_ns: self.window_ns,
            by: self.by.clone(),
            hashers: RandomState::new(),
            seen: vec![[(0, i64::MIN); WAYS]; SETS],
        })
    }

    fn reads(&self) -> HeaderNames {
        self.by.reads()
    }

    fn wanted(&self) -> Fields {
        self.by.wanted()
    }

    fn only_refuses(&self) -> bool {
        true
    }
}

struct Dedup {
    window_ns: i64,
    by: Identity,
    hashers: RandomState,
    /// The hash of a text, and when it passed.
    seen: Vec<[(u64, i64); WAYS]>,
}

impl Interceptor for Dedup {
    fn intercept(&mut self, draft: &mut Draft<'_>) -> bool {
        let hash = self.by.hash(draft, &self.hashers);
        let now = draft.at().0;
        let index = usize::try_from(hash % SETS as u64).expect("less than a length");
        let set = &mut self.seen[index];
        if let Some((_, at)) = set.iter_mut().find(|(seen, at)| *seen == hash && *at != i64::MIN) {
            // From the one that passed, so that a steady stream is heard once in a window.
            let repeated = now.saturating_sub(*at) < self.window_ns;
            if !repeated {
                *at = now;
            }
            return !repeated;
        }
        let oldest = set.iter_mut().min_by_key(|(_, at)| *at).expect("a set has ways");
        *oldest = (hash, now);
        true
    }
}
