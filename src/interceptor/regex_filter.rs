//! `regex_filter`: keeps what an expression finds something in, or drops it.

use super::draft::{OF, Of};
use super::pattern::Pattern;
use super::{Draft, Interceptor, InterceptorKind, InterceptorPlan, Tools};
use crate::config::{OptionDoc, Section};
use crate::syslog::parse::Fields;

pub(super) const KIND: InterceptorKind = InterceptorKind {
    name: "regex_filter",
    aliases: &["org.apache.flume.interceptor.RegexFilteringInterceptor$Builder"],
    summary: "keeps or drops events by a regular expression",
    options: &[
        OptionDoc { name: "regex", default: Some(".*"), doc: "what is looked for in the text" },
        OptionDoc {
            name: "exclude_events",
            default: Some("false"),
            doc: "true: events in which it is found are dropped, the others kept",
        },
        OF,
    ],
    plan,
};

#[derive(Clone)]
struct RegexFilter {
    regex: Option<Pattern>,
    exclude: bool,
    of: Of,
}

fn plan(section: &Section) -> Box<dyn InterceptorPlan> {
    let regex = Pattern::read(section, "regex");
    let exclude = section.flag("exclude_events");
    Box::new(RegexFilter { regex, exclude, of: Of::read(section) })
}

impl InterceptorPlan for RegexFilter {
    fn build(&self, _tools: &Tools) -> Box<dyn Interceptor> {
        Box::new(self.clone())
    }

    fn wanted(&self) -> Fields {
        self.of.wanted()
    }

    fn only_refuses(&self) -> bool {
        true
    }
}

impl Interceptor for RegexFilter {
    fn intercept(&mut self, draft: &mut Draft<'_>) -> bool {
        let text = draft.part(self.of);
        self.regex.as_ref().is_none_or(|regex| regex.matches(text)) != self.exclude
    }
}
