//! `rate_limit`: no more events a second than allowed; the others are refused.
//!
//! A bucket of tokens for each that is told apart, in a table of fixed size: one that has no place
//! of its own shares the bucket of another, and so gets less and never more.

use std::hash::RandomState;

use super::identity::{Identity, by};
use super::{Draft, Interceptor, InterceptorKind, InterceptorPlan, Tools};
use crate::config::OptionDoc;
use crate::config::units::Rate;
use crate::event::HeaderNames;
use crate::syslog::parse::Fields;

pub(super) const KIND: InterceptorKind = InterceptorKind {
    name: "rate_limit",
    aliases: &[],
    summary: "refuses what comes faster than allowed",
    options: &[
        OptionDoc { name: "rate", default: None, doc: "events a second, for each thread" },
        OptionDoc {
            name: "burst",
            default: Some(""),
            doc: "so many may come at once; what a second allows by default",
        },
        by("all"),
    ],
    plan: |section| {
        let rate = match section.rate("rate") {
            Rate::PerSecond(rate) => rate,
            Rate::Max => u64::MAX,
        };
        let burst = section.optional_integer("burst", 1..=1_000_000_000);
        let burst = burst.and_then(|burst| u64::try_from(burst).ok()).unwrap_or(rate);
        let by = Identity::read(section.text("by"));
        Box::new(Plan { rate: rate as f64, burst: burst as f64, by })
    },
};

const BUCKETS: usize = 4096;

struct Plan {
    rate: f64,
    burst: f64,
    by: Identity,
}

impl InterceptorPlan for Plan {
    fn build(&self, _tools: &Tools) -> Box<dyn Interceptor> {
        let buckets = if self.by == Identity::All { 1 } else { BUCKETS };
        Box::new(RateLimit {
            rate: self.rate,
            burst: self.burst,
            by: self.by.clone(),
            hashers: RandomState::new(),
            buckets: vec![Bucket { tokens: self.burst, at: i64::MIN }; buckets],
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

#[derive(Clone, Copy)]
struct Bucket {
    tokens: f64,
    /// When it was filled up last, in receive time.
    at: i64,
}

struct RateLimit {
    rate: f64,
    burst: f64,
    by: Identity,
    hashers: RandomState,
    buckets: Vec<Bucket>,
}

impl Interceptor for RateLimit {
    fn intercept(&mut self, draft: &mut Draft<'_>) -> bool {
        let hash = match self.by {
            Identity::All => 0,
            _ => self.by.hash(draft, &self.hashers),
        };
        let index = hash % self.buckets.len() as u64;
        let bucket = &mut self.buckets[usize::try_from(index).expect("less than a length")];
        let now = draft.at().0;
        // A clock that steps back fills nothing.
        let seconds = now.saturating_sub(bucket.at).max(0) as f64 / 1e9;
        bucket.tokens = (bucket.tokens + seconds * self.rate).min(self.burst);
        bucket.at = now;
        let allowed = bucket.tokens >= 1.0;
        if allowed {
            bucket.tokens -= 1.0;
        }
        allowed
    }
}
