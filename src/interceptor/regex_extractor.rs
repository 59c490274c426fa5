//! `regex_extractor`: the groups of the first match become headers.

use super::draft::{OF, Of};
use super::marks::header_name;
use super::pattern::{Groups, Pattern};
use super::time_pattern::TimePattern;
use super::{Draft, Interceptor, InterceptorKind, InterceptorPlan, Tools};
use crate::config::{OptionDoc, Section};
use crate::event::HeaderNames;
use crate::syslog::parse::Fields;

pub(super) const KIND: InterceptorKind = InterceptorKind {
    name: "regex_extractor",
    aliases: &["org.apache.flume.interceptor.RegexExtractorInterceptor$Builder"],
    summary: "groups of a regular expression's first match become headers",
    options: &[
        OptionDoc { name: "regex", default: None, doc: "an expression with a group a header" },
        OptionDoc {
            name: "serializers",
            default: None,
            doc: "the groups' headers, in order: [{ name = \"status\" }, { name = \"timestamp\", \
                  type = \"millis\", pattern = \"yyyy-MM-dd HH:mm\" }]",
        },
        OF,
    ],
    plan,
};

const SERIALIZER: &[OptionDoc] = &[
    OptionDoc { name: "name", default: None, doc: "the header's name" },
    OptionDoc {
        name: "type",
        default: Some("default"),
        doc: "default: as it stands there; millis: a time, as ms since 1970",
    },
    OptionDoc {
        name: "pattern",
        default: Some(""),
        doc: "how the time is written, as Joda-Time and Java do: yyyy-MM-dd'T'HH:mm:ss.SSSZ",
    },
];

const MILLIS: &str = "org.apache.flume.interceptor.RegexExtractorInterceptorMillisSerializer";
const PASS: &str = "org.apache.flume.interceptor.RegexExtractorInterceptorPassThroughSerializer";

#[derive(Clone)]
struct Extractor {
    regex: Option<Pattern>,
    serializers: Vec<Serializer>,
    of: Of,
}

#[derive(Clone)]
struct Serializer {
    name: String,
    time: Option<TimePattern>,
}

fn plan(section: &Section) -> Box<dyn InterceptorPlan> {
    let regex = Pattern::read(section, "regex");
    let tables = section.tables("serializers", SERIALIZER);
    let serializers: Vec<_> = tables.iter().map(Serializer::plan).collect();
    if section.usable("serializers") && serializers.is_empty() {
        let remedy = "write `serializers = [{ name = \"status\" }]`, one for each group";
        section.fail("serializers", "no serializer: nothing would be extracted", remedy);
    }
    if let Some(regex) = &regex
        && regex.groups() < serializers.len()
    {
        let (groups, names) = (regex.groups(), serializers.len());
        let what = format!("the expression has {groups} groups for {names} serializers");
        section.fail("regex", what, "put each part to extract in parentheses");
    }
    Box::new(Extractor { regex, serializers, of: Of::read(section) })
}

impl Serializer {
    fn plan(section: &Section) -> Self {
        let name = header_name(section, "name");
        let millis = section
            .choice("type", &[("default", false), ("millis", true), (MILLIS, true), (PASS, false)]);
        let pattern = section.optional_text("pattern");
        let time = match (millis, pattern) {
            (false, None) => None,
            (false, Some(_)) => {
                section.fail("pattern", "`pattern` is for times", "write `type = \"millis\"`");
                None
            }
            (true, None) => {
                let what = "`millis` needs the `pattern` that times are written in";
                section.fail_here(what, "write `pattern = \"yyyy-MM-dd HH:mm:ss\"`");
                None
            }
            (true, Some(text)) => match TimePattern::parse(&text) {
                Ok(pattern) => Some(pattern),
                Err(what) => {
                    let remedy = "y M d H m s S Z are year to zone; other letters in quotes: 'T'";
                    section.fail("pattern", format!("`pattern`: {what}"), remedy);
                    None
                }
            },
        };
        Self { name, time }
    }
}

impl InterceptorPlan for Extractor {
    fn build(&self, _tools: &Tools) -> Box<dyn Interceptor> {
        Box::new(Extracting { plan: self.clone(), groups: Groups::default(), value: Vec::new() })
    }

    fn sets(&self) -> HeaderNames {
        HeaderNames::of(self.serializers.iter().map(|serializer| serializer.name.as_str()))
    }

    fn wanted(&self) -> Fields {
        self.of.wanted()
    }

    fn only_marks(&self) -> bool {
        true
    }
}

struct Extracting {
    plan: Extractor,
    groups: Groups,
    value: Vec<u8>,
}

impl Interceptor for Extracting {
    fn intercept(&mut self, draft: &mut Draft<'_>) -> bool {
        let Extractor { regex, serializers, of } = &self.plan;
        let Some(regex) = regex else { return true };
        if !regex.find(draft.part(*of), 0, &mut self.groups) {
            return true;
        }
        for (number, serializer) in serializers.iter().enumerate() {
            // A group that took no part, or a time that is none, is no header and no fault.
            let Some((start, end)) = self.groups.span(number + 1) else { continue };
            let text = &draft.part(*of)[start..end];
            self.value.clear();
            match &serializer.time {
                None => self.value.extend_from_slice(text),
                Some(pattern) => {
                    let Some(millis) = pattern.millis(text, draft.at()) else { continue };
                    self.value.extend_from_slice(millis.to_string().as_bytes());
                }
            }
            draft.set_header(&serializer.name, &self.value);
        }
        true
    }
}
