//! Filters: an event goes through all of them, one behind the other, or it is filtered.
//!
//! ```toml
//! filters = [
//!     { keep = { severity = "..warning" } },                    # warning and worse
//!     { drop = { app = "cron", text = ["session opened", "session closed"] } },
//! ]
//! ```
//! `keep` lets pass what it matches and nothing else, `drop` what it does not match. Within one
//! all keys must match, and of a key's list any. What a message does not have matches nothing:
//! without a PRI it has no severity.
//!
//! Cost: all filters by severity and facility alone are one look into 192 bits, since an event goes
//! through all of them in whatever order; text is a vectored search; host and app are looked up in
//! what the source has parsed, or parsed here.

use memchr::memmem::Finder;
use regex::bytes::{Regex, RegexBuilder};

use crate::config::{OptionDoc, Section, listed, nearest};
use crate::event::{Event, HeaderNames};
use crate::syslog::names;
use crate::syslog::parse::{Expect, Fields, PRI_MAX, parse, pri_of};

/// The row of sources and sinks.
pub const FILTERS: OptionDoc = OptionDoc {
    name: "filters",
    default: Some(""),
    doc: "which events pass: [{ keep = { severity = \"..warning\" } }, { drop = { app = \"x\" } }]",
};

const FILTER: &[OptionDoc] = &[
    OptionDoc { name: "keep", default: Some(""), doc: "nothing else passes than what it matches" },
    OptionDoc { name: "drop", default: Some(""), doc: "what it matches does not pass" },
];

const fn row(name: &'static str, doc: &'static str) -> OptionDoc {
    OptionDoc { name, default: Some(""), doc }
}

const MATCH: &[OptionDoc] = &[
    row("facility", "names as \"auth\" or \"local4\", or numbers"),
    row(
        "severity",
        "names, or ranges: \"..warning\" is warning and worse, \"info..\" info and less",
    ),
    row("host", "names; * stands for anything"),
    row("app", "names of programs; * stands for anything"),
    row("text", "texts that stand in the message as it came"),
    row("regex", "regular expressions that match in the message as it came"),
    row("header", "headers and what stands in them: { site = \"b*\" }; * stands for anything"),
];

/// A compiled expression may take so much memory; what is larger is refused by name.
const REGEX_BYTES_MAX: usize = 1 << 20;

/// A list of filters; the empty one lets everything pass.
#[derive(Clone, Debug, Default)]
pub struct Filters {
    /// What the filters that look at nothing else let pass.
    pris: Option<Pris>,
    /// The others.
    rules: Vec<Rule>,
}

#[derive(Clone, Debug)]
struct Rule {
    keep: bool,
    condition: Condition,
}

#[derive(Clone, Debug, Default)]
struct Condition {
    pris: Option<Pris>,
    hosts: Vec<String>,
    apps: Vec<String>,
    texts: Vec<Finder<'static>>,
    regexes: Vec<Regex>,
    /// All of them must match.
    headers: Vec<(String, String)>,
}

/// A set of PRIs, and whether messages without one are in it: theirs is the number behind the last.
#[derive(Clone, Copy, Debug)]
struct Pris([u64; 4]);

const NO_PRI: u8 = PRI_MAX + 1;

impl Pris {
    fn new(mut wanted: impl FnMut(u8) -> bool) -> Self {
        let mut bits = [0; 4];
        for pri in (0..=NO_PRI).filter(|pri| wanted(*pri)) {
            bits[usize::from(pri / 64)] |= 1 << (pri % 64);
        }
        Self(bits)
    }

    #[inline]
    fn contains(&self, pri: u8) -> bool {
        self.0[usize::from(pri / 64)] >> (pri % 64) & 1 == 1
    }

    #[inline]
    fn contain(&self, event: &Event<'_>) -> bool {
        self.contains(event.pri.or_else(|| pri_of(event.bytes)).unwrap_or(NO_PRI))
    }
}

impl Filters {
    /// Reads `filters` of a source or a sink; what is wrong is told at its place.
    pub fn plan(section: &Section) -> Self {
        let (mut rules, mut plain) = (Vec::new(), Vec::new());
        for filter in section.tables(FILTERS.name, FILTER) {
            let given = ["keep", "drop"].map(|key| filter.explicit(key));
            match given {
                [true, true] => {
                    let remedy = "write them as two filters: `{ keep = … }, { drop = … }`";
                    filter.fail("drop", "a filter keeps or drops, and this one does both", remedy);
                }
                [false, false] => {
                    let remedy = "write `{ keep = { severity = \"..warning\" } }`";
                    filter.fail_here("a filter without `keep` or `drop` does nothing", remedy);
                }
                [keep, _] => {
                    let key = if keep { "keep" } else { "drop" };
                    let condition = Condition::plan(&filter.subsection(key, MATCH));
                    match condition.pris.filter(|_| !condition.looks_at_text()) {
                        Some(pris) => plain.push((keep, pris)),
                        None => rules.push(Rule { keep, condition }),
                    }
                }
            }
        }
        let all = |pri| plain.iter().all(|(keep, pris)| pris.contains(pri) == *keep);
        let pris = (!plain.is_empty()).then(|| Pris::new(all));
        Self { pris, rules }
    }

    pub fn is_empty(&self) -> bool {
        self.pris.is_none() && self.rules.is_empty()
    }

    /// The headers that they look for.
    pub fn headers(&self) -> HeaderNames {
        let names = self.rules.iter().flat_map(|rule| &rule.condition.headers);
        HeaderNames::of(names.map(|(name, _)| name))
    }

    /// Whether the event goes through all of them.
    #[inline]
    pub fn pass(&self, event: &Event<'_>) -> bool {
        self.pris.as_ref().is_none_or(|pris| pris.contain(event))
            // By value: an event that nobody has an address of is never put together.
            && (self.rules.is_empty() || self.pass_rules(*event))
    }

    fn pass_rules(&self, event: Event<'_>) -> bool {
        self.rules.iter().all(|rule| rule.condition.matches(&event) == rule.keep)
    }
}

impl Condition {
    fn plan(section: &Section) -> Self {
        if !MATCH.iter().any(|row| section.explicit(row.name)) {
            let what = format!("{} says nothing to match", section.title());
            section.fail_here(what, format!("it takes {}", listed(MATCH.iter().map(|it| it.name))));
        }
        let (facilities, severities) = (facilities(section), severities(section));
        let pris = (facilities.is_some() || severities.is_some()).then(|| {
            let holds = |set: &Option<u32>, value: u8| set.is_none_or(|set| set >> value & 1 == 1);
            Pris::new(|pri| {
                pri != NO_PRI && holds(&facilities, pri >> 3) && holds(&severities, pri & 7)
            })
        });
        let strings = |key| section.texts(key).into_iter().map(|text| text.value);
        let headers = section.table_of_texts("header").into_iter();
        let mut texts = Vec::new();
        for text in section.texts("text") {
            if text.is_empty() {
                section.fail_at(&text.span, "the empty text stands in everything", "leave it out");
            }
            texts.push(Finder::new(text.as_bytes()).into_owned());
        }
        Self {
            pris,
            hosts: strings("host").collect(),
            apps: strings("app").collect(),
            texts,
            regexes: regexes(section, "regex"),
            headers: headers.map(|(name, text)| (name.value, text.value)).collect(),
        }
    }

    fn looks_at_text(&self) -> bool {
        let lists = [self.hosts.len(), self.apps.len(), self.texts.len(), self.regexes.len()];
        lists.iter().any(|count| *count > 0) || !self.headers.is_empty()
    }

    fn matches(&self, event: &Event<'_>) -> bool {
        self.pris.is_none_or(|pris| pris.contain(event)) && self.matches_text(event)
    }

    fn matches_text(&self, event: &Event<'_>) -> bool {
        let message = |fields| parse(event.bytes, Expect::Auto, fields);
        let any = |names: &[String], name: Option<&[u8]>| {
            name.is_some_and(|name| names.iter().any(|it| like(it.as_bytes(), name)))
        };
        let host = || event.parsed().host().or_else(|| message(Fields::HOSTNAME).hostname);
        let app = || event.parsed().app().or_else(|| message(Fields::APP_NAME).app_name);
        let texts =
            || self.texts.is_empty() || self.texts.iter().any(|it| it.find(event.bytes).is_some());
        let regexes =
            || self.regexes.is_empty() || self.regexes.iter().any(|it| it.is_match(event.bytes));
        (self.hosts.is_empty() || any(&self.hosts, host()))
            && (self.apps.is_empty() || any(&self.apps, app()))
            && texts()
            && regexes()
            && self.headers.iter().all(|(name, pattern)| {
                event.headers().get(name).is_some_and(|value| like(pattern.as_bytes(), value))
            })
    }
}

/// `*` stands for anything; letters match in either case.
fn like(pattern: &[u8], name: &[u8]) -> bool {
    let Some(star) = pattern.iter().position(|byte| *byte == b'*') else {
        return pattern.eq_ignore_ascii_case(name);
    };
    let (front, behind) = (&pattern[..star], &pattern[star + 1..]);
    name.len() >= front.len()
        && name[..front.len()].eq_ignore_ascii_case(front)
        && (front.len()..=name.len()).any(|from| like(behind, &name[from..]))
}

/// The facilities named, one bit each; `None`: all.
fn facilities(section: &Section) -> Option<u32> {
    let mut set = 0;
    for text in section.texts("facility") {
        match names::facility_named(&text) {
            Some(facility) => set |= 1 << facility,
            None => {
                let what = format!("no facility is called \"{}\"", text.value.escape_debug());
                let remedy = suggestion(&text, names::FACILITIES.iter().copied());
                section.fail_at(&text.span, what, remedy);
            }
        }
    }
    section.explicit("facility").then_some(set)
}

fn severities(section: &Section) -> Option<u32> {
    let mut set = 0;
    for text in section.texts("severity") {
        let bound = |name: &str, open: u8| match name.trim() {
            "" => Some(open),
            name => names::severity_named(name),
        };
        let range = match text.split_once("..") {
            Some((from, to)) => bound(from, 0).zip(bound(to, 7)),
            None => names::severity_named(&text).map(|one| (one, one)),
        };
        match range {
            Some((from, to)) if from <= to => (from..=to).for_each(|one| set |= 1 << one),
            Some(_) => {
                let what = format!("\"{}\" holds no severity: emerg is 0", text.value);
                section.fail_at(&text.span, what, "write the worse one first: \"err..info\"");
            }
            None => {
                let what = format!("no severity is called \"{}\"", text.value.escape_debug());
                let remedy = suggestion(&text, names::SEVERITIES.iter().copied());
                section.fail_at(&text.span, what, remedy);
            }
        }
    }
    section.explicit("severity").then_some(set)
}

fn suggestion(text: &str, words: impl Iterator<Item = &'static str> + Clone) -> String {
    match nearest(text, words.clone()) {
        Some(word) => format!("did you mean `{word}`?"),
        None => format!("there is {}", listed(words)),
    }
}

/// A list of regular expressions; what is none is told at its place.
pub fn regexes(section: &Section, key: &'static str) -> Vec<Regex> {
    let mut regexes = Vec::new();
    for text in section.texts(key) {
        match RegexBuilder::new(&text).size_limit(REGEX_BYTES_MAX).build() {
            Ok(regex) => regexes.push(regex),
            Err(error) => {
                let why = error.to_string();
                let why = why.lines().last().unwrap_or_default().trim_start_matches("error: ");
                let what = format!("\"{}\" is no regular expression: {why}", text.value);
                section.fail_at(&text.span, what, "see docs.rs/regex for the syntax");
            }
        }
    }
    regexes
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::{Beside, EventHead, HeaderMap, Marks, Names, Origin, Page};
    use crate::time::Wall;

    const DOCS: &[OptionDoc] = &[FILTERS];

    fn plan(text: &str) -> Result<Filters, String> {
        let section = Section::parse(&format!("filters = {text}"), DOCS);
        let filters = Filters::plan(&section);
        section.finish();
        let told = section.diagnostics().lines();
        if told.is_empty() { Ok(filters) } else { Err(told.join("\n")) }
    }

    fn passes(filters: &Filters, bytes: &[u8]) -> bool {
        let (origin, marks, beside) = (Origin::LOCAL, Marks::NONE, Beside::NONE);
        filters.pass(&Event { bytes, at: Wall(0), origin, pri: None, marks, beside })
    }

    #[test]
    fn what_passes() {
        let old = "<86>Oct 11 22:14:15 web-7 sshd[42]: session opened";
        let new = "<165>1 2026-10-11T22:14:15Z db1 postgres 7 - - slow query";
        let odd = "what is this";
        for (filters, expected) in [
            ("[]", [true, true, true]),
            ("[{ keep = { severity = 'info' } }]", [true, false, false]),
            ("[{ keep = { severity = '..notice' } }]", [false, true, false]),
            ("[{ drop = { severity = 'notice..' } }]", [false, false, true]),
            ("[{ drop = { severity = ['6', 'err..warning'] } }]", [false, true, true]),
            ("[{ keep = { facility = ['authpriv', 'kern'] } }]", [true, false, false]),
            ("[{ drop = { facility = '20', severity = 'notice' } }]", [true, false, true]),
            ("[{ drop = { facility = '20', severity = 'info' } }]", [true, true, true]),
            ("[{ keep = { host = 'web-*' } }]", [true, false, false]),
            ("[{ keep = { host = ['DB1', 'x'] } }]", [false, true, false]),
            ("[{ drop = { app = '*post*s' } }]", [true, false, true]),
            ("[{ keep = { app = 'sshd' } }, { drop = { text = 'opened' } }]", [false; 3]),
            ("[{ keep = { text = ['query', 'this'] } }]", [false, true, true]),
            ("[{ drop = { regex = 's[el]+.w|opened$' } }]", [false, false, true]),
            ("{ drop = { regex = '(?i)WHAT' } }", [true, true, false]),
            // Several by PRI are one look, and what has none goes by them too.
            (
                "[{ keep = { severity = '..info' } }, { drop = { facility = '20' } }]",
                [true, false, false],
            ),
            (
                "[{ drop = { severity = 'info' } }, { drop = { facility = '20' } }]",
                [false, false, true],
            ),
            ("[{ drop = { severity = 'info' } }, { keep = { text = 'q' } }]", [false, true, false]),
        ] {
            let rules = plan(filters).unwrap_or_else(|told| panic!("{filters}: {told}"));
            let found = [old, new, odd].map(|text| passes(&rules, text.as_bytes()));
            assert_eq!(found, expected, "{filters}");
        }
    }

    #[test]
    fn headers_match_too() {
        let mut page = Page::new(crate::limits::BATCH_BYTES_MIN);
        let mut labels = HeaderMap::default();
        labels.set(b"site", b"Berlin").unwrap();
        labels.set(b"rack", b"7").unwrap();
        let head = |origin| EventHead { at: Wall(0), origin, pri: None, marks: Marks::NONE };
        let with = page.push_labelled_origin(Origin::LOCAL, Names::NONE, &labels).unwrap();
        page.append_event(b"one", head(with)).unwrap();
        let without = page.push_origin(Origin::LOCAL).unwrap();
        page.append_event(b"two", head(without)).unwrap();
        for (filters, expected) in [
            ("[{ keep = { header = { site = 'b*' } } }]", [true, false]),
            ("[{ drop = { header = { site = '*' } } }]", [false, true]),
            ("[{ keep = { header = { site = 'berlin', rack = '8' } } }]", [false, false]),
        ] {
            let filters = plan(filters).unwrap();
            assert_eq!(filters.headers().names[0], "site");
            let found: Vec<_> = page.events().map(|event| filters.pass(&event)).collect();
            assert_eq!(found, expected);
        }
    }

    #[test]
    fn stars_stand_for_anything() {
        for (pattern, name, expected) in [
            ("a", "A", true),
            ("a", "ab", false),
            ("*", "", true),
            ("a*", "a", true),
            ("*b", "ab", true),
            ("*b", "ba", false),
            ("a*c*e", "abcde", true),
            ("a*c*e", "abde", false),
            ("", "", true),
        ] {
            assert_eq!(like(pattern.as_bytes(), name.as_bytes()), expected, "{pattern} {name}");
        }
    }

    #[test]
    fn mistakes_are_told() {
        for (filters, what) in [
            ("5", "expected a list of tables"),
            ("[5]", "expected a list of tables"),
            ("[{}]", "a filter without `keep` or `drop` does nothing"),
            ("[{ keep = { app = 'a' }, drop = { app = 'b' } }]", "this one does both"),
            ("[{ keep = {} }]", "says nothing to match (it takes `facility`, `severity`"),
            ("[{ keep = { sevrity = 'info' } }]", "did you mean `severity`?"),
            ("[{ keeep = { app = 'x' } }]", "did you mean `keep`?"),
            ("[{ keep = { severity = 'warnin' } }]", "did you mean `warning`?"),
            ("[{ keep = { severity = 'info..err' } }]", "write the worse one first"),
            ("[{ keep = { facility = 'local9' } }]", "no facility is called \"local9\""),
            ("[{ keep = { facility = '24' } }]", "no facility is called \"24\""),
            ("[{ keep = { regex = 'a(' } }]", "is no regular expression: unclosed group"),
            ("[{ keep = { text = '' } }]", "stands in everything"),
        ] {
            let told = plan(filters).err().unwrap_or_else(|| panic!("{filters}: no mistake"));
            assert!(told.contains(what), "{filters}: {told}");
        }
    }
}
