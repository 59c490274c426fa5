//! `sample`: one event of many.

use std::hash::RandomState;

use super::identity::{Identity, by};
use super::{Draft, Interceptor, InterceptorKind, InterceptorPlan, Tools};
use crate::config::OptionDoc;
use crate::event::HeaderNames;
use crate::syslog::parse::Fields;

pub(super) const KIND: InterceptorKind = InterceptorKind {
    name: "sample",
    aliases: &[],
    summary: "keeps one event of so many",
    options: &[
        OptionDoc { name: "one_in", default: Some("10"), doc: "of how many events one is kept" },
        by("all"),
    ],
    plan: |section| {
        let one_in = section.integer("one_in", 1..=1_000_000_000);
        let one_in = u64::try_from(one_in).expect("the range says so");
        Box::new(Plan { one_in, by: Identity::read(section.text("by")) })
    },
};

struct Plan {
    one_in: u64,
    by: Identity,
}

impl InterceptorPlan for Plan {
    fn build(&self, _tools: &Tools) -> Box<dyn Interceptor> {
        let (one_in, by) = (self.one_in, self.by.clone());
        Box::new(Sample { one_in, by, hashers: RandomState::new(), count: 0 })
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

/// Every so manieth; told apart by something, all events of one in so many of its values.
struct Sample {
    one_in: u64,
    by: Identity,
    hashers: RandomState,
    count: u64,
}

impl Interceptor for Sample {
    fn intercept(&mut self, draft: &mut Draft<'_>) -> bool {
        if self.by != Identity::All {
            return self.by.hash(draft, &self.hashers).is_multiple_of(self.one_in);
        }
        self.count = (self.count + 1) % self.one_in;
        self.count == 1 % self.one_in
    }
}
