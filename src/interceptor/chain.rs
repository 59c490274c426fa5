//! The interceptors of a source, one behind the other.
//!
//! ```toml
//! interceptors = [
//!     { type = "timestamp" },
//!     { type = "static", key = "datacenter", value = "NYC" },
//! ]
//! ```
//! Each gets what the one before left. What one refuses goes no further and is counted as filtered.

use std::sync::Arc;

use super::{Bench, Draft, INTERCEPTORS, Interceptor, InterceptorKind, InterceptorPlan, Tools};
use crate::config::{OptionDoc, Section, listed, nearest};
use crate::event::{Event, HeaderNames};
use crate::syslog::parse::Fields;

/// The row of sources.
pub const CHAIN: OptionDoc = OptionDoc {
    name: "interceptors",
    default: Some(""),
    doc: "what happens to events on their way, in order: [{ type = \"timestamp\" }, …]",
};

const TYPE: &[OptionDoc] =
    &[OptionDoc { name: "type", default: Some(""), doc: "which interceptor this is" }];

/// The interceptors of a source, as configured. The empty chain is nothing at all.
#[derive(Clone, Default)]
pub struct ChainPlan {
    steps: Vec<Arc<dyn InterceptorPlan>>,
}

impl ChainPlan {
    /// Reads `interceptors`; what is wrong is told at its place.
    pub fn plan(section: &Section) -> Self {
        let mut steps = Vec::new();
        for table in section.tables(CHAIN.name, TYPE) {
            if let Some(kind) = find(&table) {
                table.describe(kind.options);
                steps.push(Arc::from((kind.plan)(&table)));
            }
        }
        Self { steps }
    }

    pub fn is_empty(&self) -> bool {
        self.steps.is_empty()
    }

    /// The headers that it may set.
    pub fn sets(&self) -> HeaderNames {
        self.names(|step| step.sets())
    }

    /// The headers that it looks at.
    pub fn reads(&self) -> HeaderNames {
        self.names(|step| step.reads())
    }

    fn names(&self, of: impl Fn(&dyn InterceptorPlan) -> HeaderNames) -> HeaderNames {
        let mut names = HeaderNames::default();
        self.steps.iter().for_each(|step| names.add(of(&**step)));
        names
    }

    /// What it wants to know of each message.
    pub fn wanted(&self) -> Fields {
        self.steps.iter().fold(Fields::NONE, |all, step| all.union(step.wanted()))
    }

    /// What is left of it when nobody behind it reads headers: marking for nobody costs nothing.
    pub fn without_marks(mut self) -> Self {
        if self.reads().is_empty() {
            self.steps.retain(|step| !step.only_marks());
        }
        self
    }

    /// It refuses events and changes none.
    pub fn only_refuses(&self) -> bool {
        self.steps.iter().all(|step| step.only_refuses())
    }

    /// One for each thread of the source.
    pub fn build(&self, tools: &Tools) -> Chain {
        Chain { steps: self.steps.iter().map(|step| step.build(tools)).collect() }
    }
}

/// The row that `type` names; `None` is told.
fn find(table: &Section) -> Option<&'static InterceptorKind> {
    let names = || INTERCEPTORS.iter().map(|kind| kind.name);
    let there_is = format!("there is {}", listed(names()));
    let Some(wanted) = table.optional_text("type") else {
        if table.usable("type") {
            table.fail_here(format!("`type` is missing in {}", table.title()), there_is);
        }
        return None;
    };
    let named = |kind: &&InterceptorKind| {
        kind.name == wanted || kind.aliases.iter().any(|alias| *alias == wanted)
    };
    let found = INTERCEPTORS.iter().find(named);
    if found.is_none() {
        let remedy = match nearest(&wanted, names()) {
            Some(word) => format!("did you mean `{word}`?"),
            None => there_is,
        };
        table.fail("type", format!("no interceptor has the type `{wanted}`"), remedy);
    }
    found
}

/// One thread's interceptors.
#[derive(Default)]
pub struct Chain {
    steps: Vec<Box<dyn Interceptor>>,
}

impl Chain {
    pub fn is_empty(&self) -> bool {
        self.steps.is_empty()
    }

    /// Whether the event goes on; the draft then says as what.
    #[inline]
    pub fn pass(&mut self, draft: &mut Draft<'_>) -> bool {
        self.steps.iter_mut().all(|step| step.intercept(draft))
    }

    /// The same for a chain that only refuses.
    pub fn keeps(&mut self, event: &Event<'_>, bench: &mut Bench) -> bool {
        self.pass(&mut Draft::new(event, bench, usize::MAX))
    }
}
