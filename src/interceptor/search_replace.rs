//! `search_replace`: every match of an expression becomes another text.

use super::draft::{OF, Of};
use super::pattern::{Groups, Pattern, Replacement};
use super::{Draft, Interceptor, InterceptorKind, InterceptorPlan, Tools};
use crate::config::{OptionDoc, Section};
use crate::syslog::parse::Fields;

pub(super) const KIND: InterceptorKind = InterceptorKind {
    name: "search_replace",
    aliases: &["org.apache.flume.interceptor.SearchAndReplaceInterceptor$Builder"],
    summary: "rewrites what a regular expression finds in the text",
    options: &[
        OptionDoc { name: "search_pattern", default: None, doc: "what is looked for in the text" },
        OptionDoc {
            name: "replace_string",
            default: Some(""),
            doc: "what stands there then; $1 or $${name} are groups, \\$ is a dollar sign",
        },
        OptionDoc {
            name: "charset",
            default: Some("UTF-8"),
            doc: "accepted for Flume's sake: bytes that do not match stay as they are",
        },
        OF,
    ],
    plan,
};

#[derive(Clone)]
struct SearchReplace {
    search: Option<Pattern>,
    replacement: Replacement,
    of: Of,
}

fn plan(section: &Section) -> Box<dyn InterceptorPlan> {
    let search = Pattern::read(section, "search_pattern");
    let text = section.text("replace_string");
    let replacement = Replacement::parse(&text, search.as_ref());
    let replacement = replacement.unwrap_or_else(|what| {
        let remedy = "write \\$ for a dollar sign, $1 or $${name} for a group of the pattern";
        section.fail("replace_string", format!("`replace_string`: {what}"), remedy);
        Replacement::default()
    });
    let charset = section.text("charset");
    let ascii = ["UTF-8", "UTF8", "US-ASCII", "ASCII", "ISO-8859-1", "LATIN1"];
    if section.usable("charset") && !ascii.contains(&charset.to_ascii_uppercase().as_str()) {
        let what = format!("`charset`: \"{charset}\" is not known here");
        section.fail("charset", what, "write \"UTF-8\": texts are taken as they come");
    }
    Box::new(SearchReplace { search, replacement, of: Of::read(section) })
}

impl InterceptorPlan for SearchReplace {
    fn build(&self, _tools: &Tools) -> Box<dyn Interceptor> {
        Box::new(Replacing { plan: self.clone(), groups: Groups::default() })
    }

    fn wanted(&self) -> Fields {
        self.of.wanted()
    }
}

struct Replacing {
    plan: SearchReplace,
    groups: Groups,
}

impl Interceptor for Replacing {
    fn intercept(&mut self, draft: &mut Draft<'_>) -> bool {
        let (SearchReplace { search, replacement, of }, groups) = (&self.plan, &mut self.groups);
        if let Some(search) = search {
            draft.rewrite_part(*of, |text, out| replacement.replace_all(search, text, groups, out));
        }
        true
    }
}
