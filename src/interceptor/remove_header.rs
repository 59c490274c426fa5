//! `remove_header`: headers by name, from a list, or by an expression that matches the whole name.

use super::pattern::Pattern;
use super::{Draft, Interceptor, InterceptorKind, InterceptorPlan, Tools};
use crate::config::{OptionDoc, Section};

pub(super) const KIND: InterceptorKind = InterceptorKind {
    name: "remove_header",
    aliases: &["org.apache.flume.interceptor.RemoveHeaderInterceptor$Builder"],
    summary: "headers are taken away",
    options: &[
        OptionDoc { name: "with_name", default: Some(""), doc: "the header of this name" },
        OptionDoc { name: "from_list", default: Some(""), doc: "names in a list" },
        OptionDoc {
            name: "from_list_separator",
            default: Some("\\s*,\\s*"),
            doc: "what stands between names of a list that is one string: an expression",
        },
        OptionDoc {
            name: "matching",
            default: Some(""),
            doc: "names that this matches as a whole",
        },
    ],
    plan,
};

#[derive(Clone)]
struct Removal {
    names: Vec<String>,
    matching: Option<Pattern>,
}

fn plan(section: &Section) -> Box<dyn InterceptorPlan> {
    let mut names: Vec<String> = section.optional_text("with_name").into_iter().collect();
    let separator = Pattern::read(section, "from_list_separator");
    for text in section.texts("from_list") {
        match &separator {
            Some(separator) => names.extend(separator.split(&text)),
            None => names.push(text.value),
        }
    }
    names.retain(|name| !name.is_empty());
    let matching = Pattern::read_whole(section, "matching");
    if names.is_empty() && matching.is_none() && section.usable("matching") {
        let what = format!("{} removes nothing", section.title());
        section.fail_here(what, "write `with_name`, `from_list` or `matching`");
    }
    Box::new(Removal { names, matching })
}

impl InterceptorPlan for Removal {
    fn build(&self, _tools: &Tools) -> Box<dyn Interceptor> {
        Box::new(self.clone())
    }

    fn only_marks(&self) -> bool {
        true
    }
}

impl Interceptor for Removal {
    fn intercept(&mut self, draft: &mut Draft<'_>) -> bool {
        draft.retain_headers(|name, _| {
            !self.names.iter().any(|own| own.as_bytes() == name)
                && !self.matching.as_ref().is_some_and(|it| it.matches(name))
        });
        true
    }
}
