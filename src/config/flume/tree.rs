//! Properties by agent and component: what is listed, what is described, and what fits neither.
//!
//! ```text
//! a1.sources            = r1 r2          the list: who is not in it does not exist
//! a1.sources.r1.type    = syslogtcp      a component and its keys
//! flume.monitoring.type = http           nobody's: as `-Dflume.monitoring.type=http`
//! ```

use std::cell::RefCell;
use std::collections::HashSet;

use super::around::Around;
use super::fill::{Filler, Filter, FilterKind};
use super::lexer::Property;
use crate::config::diagnostic::{Diagnostics, Problem, Span};
use crate::config::suggest::{listed, nearest};
use crate::config::value::Spanned;

pub(super) const SOURCES: usize = 0;
pub(super) const CHANNELS: usize = 1;
pub(super) const SINKS: usize = 2;
pub(super) const GROUPS: usize = 3;
const FILTERS: usize = 4;
const ROOMS: [&str; 5] = ["sources", "channels", "sinks", "sinkgroups", "configfilters"];

/// One agent of the file.
pub(super) struct Agent {
    pub(super) name: Spanned<String>,
    /// Sources, channels, sinks and groups that are listed and described, in the list's order.
    pub(super) rooms: [Vec<Part>; 4],
}

/// A component: its keys with everything filled in, and which of them somebody asked for.
pub(super) struct Part {
    /// `a1.sources.r1`.
    pub(super) title: String,
    pub(super) name: Spanned<String>,
    pub(super) keys: Vec<Key>,
    pub(super) asked: RefCell<Vec<String>>,
    pub(super) diagnostics: Diagnostics,
}

/// One key of a component, without what stands in front of it.
#[derive(Clone, Debug)]
pub(super) struct Key {
    pub(super) name: Spanned<String>,
    pub(super) value: Spanned<String>,
    /// A place in the value is a place in the file.
    pub(super) plain: bool,
}

impl Key {
    /// The key as one of the component whose keys begin so.
    fn below(&self, prefix: &str) -> Option<Self> {
        let rest = self.name.strip_prefix(prefix)?;
        let span = self.name.span.clone();
        // An escape in it, and places in the name are none in the file.
        let plain = span.len() == self.name.len() && !rest.is_empty();
        let span = if plain { span.end - rest.len()..span.end } else { span };
        Some(Self { name: Spanned::new(rest.to_owned(), span), ..self.clone() })
    }

    /// The words of a list, each in its place.
    pub(super) fn words(&self) -> Vec<Spanned<String>> {
        let text = self.value.as_str();
        let offset = |word: &str| word.as_ptr() as usize - text.as_ptr() as usize;
        let place = |word: &str| match self.plain {
            true => {
                let start = self.value.span.start + offset(word);
                start..start + word.len()
            }
            false => self.value.span.clone(),
        };
        text.split_whitespace().map(|word| Spanned::new(word.to_owned(), place(word))).collect()
    }
}

/// Keys of no agent: `flume.monitoring.type`.
pub(super) fn monitoring(properties: &[Property]) -> Vec<&Property> {
    properties.iter().filter(|it| it.key.starts_with("flume.monitoring.")).collect()
}

/// The agents in the order in which they first appear.
pub(super) fn agents(
    properties: &[Property],
    around: &Around,
    diagnostics: &Diagnostics,
) -> Vec<Agent> {
    let mut names: Vec<Spanned<String>> = Vec::new();
    let ours = |it: &&Property| !it.key.starts_with("flume.monitoring.");
    let relevant: Vec<&Property> = properties.iter().filter(ours).collect();
    let (mut kept, referred) = (Vec::new(), referred(properties));
    for property in relevant {
        let key = property.key.as_str();
        let mut words = key.splitn(3, '.');
        let (agent, room) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
        if referred.contains(key) && !ROOMS.contains(&room) {
            continue;
        }
        if property.value.is_empty() {
            let what = format!("`{key}` has no value and no effect");
            let remedy = "write one after the `=`, or take the line out";
            diagnostics.warning(property.value.span.clone(), what, remedy);
            continue;
        }
        if !ROOMS.contains(&room) || agent.is_empty() {
            stray(property, agent, room, diagnostics);
            continue;
        }
        if !names.iter().any(|name| name.value == agent) {
            let start = property.key.span.start;
            let span = if is_plain(property) {
                start..start + agent.len()
            } else {
                property.key.span.clone()
            };
            names.push(Spanned::new(agent.to_owned(), span));
        }
        kept.push(property);
    }
    let agent = |name: Spanned<String>| {
        let reader = Reader { name, kept: &kept, properties, around, diagnostics };
        reader.agent()
    };
    names.into_iter().map(agent).collect()
}

/// What values say `${key}` or `${key:-default}` of: variables of the file's own.
fn referred(properties: &[Property]) -> HashSet<&str> {
    let values = properties.iter().flat_map(|property| property.value.split("${").skip(1));
    values.filter_map(referred_name).collect()
}

/// What stands behind `${`, up to a default or the end.
fn referred_name(rest: &str) -> Option<&str> {
    rest.split('}').next()?.split(":-").next()
}

/// The key stands in the file as it is, without escapes.
fn is_plain(property: &Property) -> bool {
    property.key.span.len() == property.key.value.len()
}

/// A key of no room, which Flume's log mentions.
fn stray(property: &Property, agent: &str, room: &str, diagnostics: &Diagnostics) {
    let key = property.key.as_str();
    let (what, remedy) = match (room, nearest(room, ROOMS)) {
        _ if room.is_empty() || ROOMS.contains(&agent) => (
            format!("`{key}` belongs to no agent and has no effect"),
            "keys begin with the agent's name: `a1.sources.r1.type = syslogtcp`".to_owned(),
        ),
        (room, Some(near)) => {
            let what = format!("an agent has no `{room}`: this has no effect");
            (what, format!("did you mean `{agent}.{near}`?"))
        }
        (room, None) => {
            let what = format!("an agent has no `{room}`: this has no effect");
            (what, format!("an agent has {}", listed(ROOMS)))
        }
    };
    diagnostics.warning(property.key.span.clone(), what, remedy);
}

struct Reader<'r> {
    name: Spanned<String>,
    kept: &'r [&'r Property],
    properties: &'r [Property],
    around: &'r Around,
    diagnostics: &'r Diagnostics,
}

impl Reader<'_> {
    fn agent(&self) -> Agent {
        let filters = self.filters();
        let filler = self.filler(filters);
        let rooms = [SOURCES, CHANNELS, SINKS, GROUPS].map(|room| self.room(room, &filler));
        Agent { name: self.name.clone(), rooms }
    }

    fn filler(&self, filters: Vec<Filter>) -> Filler<'_> {
        let (around, properties) = (self.around, self.properties);
        Filler { around, properties, filters, diagnostics: self.diagnostics }
    }

    /// What the config filters are; their own values know lookups only.
    fn filters(&self) -> Vec<Filter> {
        let filler = self.filler(Vec::new());
        let parts = self.room(FILTERS, &filler);
        let filters: Vec<Filter> = parts.iter().map(filter).collect();
        parts.iter().for_each(Part::finish);
        filters
    }

    fn room(&self, room: usize, filler: &Filler<'_>) -> Vec<Part> {
        let list = format!("{}.{}", self.name.value, ROOMS[room]);
        let below = format!("{list}.");
        let listed = self.kept.iter().find(|property| property.key.value == list);
        let listed: Vec<Spanned<String>> =
            listed.map(|property| self.key(property, &list, filler).words()).unwrap_or_default();
        let mut parts: Vec<Part> = Vec::new();
        for name in listed {
            if parts.iter().any(|part| part.name == name) {
                let what = format!("`{list}` lists `{name}` twice");
                self.diagnostics.warning(name.span, what, "leave one out");
                continue;
            }
            let title = format!("{below}{name}");
            let (keys, asked) = (Vec::new(), RefCell::default());
            parts.push(Part { title, name, keys, asked, diagnostics: self.diagnostics.clone() });
        }
        let mut unlisted: Vec<String> = Vec::new();
        for property in self.kept {
            let Some(rest) = property.key.strip_prefix(&below) else { continue };
            let (name, key) = rest.split_once('.').unwrap_or((rest, ""));
            if let Some(part) = parts.iter_mut().find(|part| part.name.value == name) {
                part.keys.push(self.key(property, &format!("{below}{name}."), filler));
            } else if !unlisted.iter().any(|known| known == name) {
                unlisted.push(name.to_owned());
                let names: Vec<&str> = parts.iter().map(|part| part.name.as_str()).collect();
                self.unlisted(property, name, key, &list, &names);
            }
        }
        for part in parts.iter().filter(|part| part.keys.is_empty()) {
            let what = format!("`{}` is listed and nowhere described", part.name);
            let remedy = format!("add `{}.type = …`, or take it out of the list", part.title);
            self.diagnostics.error(part.name.span.clone(), what, remedy);
        }
        parts.retain(|part| !part.keys.is_empty());
        parts
    }

    /// Flume leaves out in silence what no list names.
    fn unlisted(&self, property: &Property, name: &str, key: &str, list: &str, names: &[&str]) {
        let span = property.key.span.clone();
        if key.is_empty() {
            let what = format!("`{}` sets no key of `{name}`", property.key);
            let remedy = format!("write `{}.type = …`", property.key);
            self.diagnostics.error(span, what, remedy);
            return;
        }
        let what = format!("`{name}` is not in `{list}`, so it is not used");
        let remedy = match nearest(name, names.iter().copied()) {
            Some(near) => format!("did you mean `{near}`?"),
            None => format!("name it there, or take out all keys of `{list}.{name}`"),
        };
        self.diagnostics.warning(span, what, remedy);
    }

    fn key(&self, property: &Property, prefix: &str, filler: &Filler<'_>) -> Key {
        let (text, filled) = filler.fill(&property.value);
        let key = &property.key;
        let rest = key.value.get(prefix.len()..).unwrap_or_default();
        let span = match is_plain(property) && !rest.is_empty() {
            true => key.span.end - rest.len()..key.span.end,
            false => key.span.clone(),
        };
        Key {
            name: Spanned::new(rest.to_owned(), span),
            value: Spanned::new(text, property.value.span.clone()),
            plain: property.plain && !filled,
        }
    }
}

fn filter(part: &Part) -> Filter {
    let name = part.name.value.clone();
    let Some(kind) = part.text("type") else {
        part.missing("type", "env or external");
        return Filter { name, kind: FilterKind::None };
    };
    let class = kind.rsplit('.').next().unwrap_or_default().to_ascii_lowercase();
    let kind = match class.trim_end_matches("configfilter") {
        "env" | "environmentvariable" => FilterKind::Env,
        "external" | "externalprocess" => {
            part.without_effect(&[("charset", "what the command writes is UTF-8")]);
            match part.text("command") {
                Some(command) => FilterKind::Command(command.value),
                None => {
                    part.missing("command", "the program that is asked, the key its last argument");
                    FilterKind::None
                }
            }
        }
        "hadoop" | "hadoopcredentialstore" => {
            let what = "the config filter `hadoop` is not supported: there is no Hadoop here";
            part.fail(&kind.span, what, "take `env`, or `external` with a command");
            part.ignore_rest();
            FilterKind::None
        }
        _ => {
            let what = format!("no config filter has the type `{kind}`");
            part.fail(&kind.span, what, "there is `env` and `external`");
            part.ignore_rest();
            FilterKind::None
        }
    };
    Filter { name, kind }
}

impl Part {
    pub(super) fn find(&self, name: &str) -> Option<&Key> {
        self.asked.borrow_mut().push(name.to_owned());
        self.keys.iter().find(|key| key.name.value == name)
    }

    /// The value of a key.
    pub(super) fn text(&self, name: &str) -> Option<Spanned<String>> {
        self.find(name).map(|key| key.value.clone())
    }

    /// Where the component is: its `type`, or the first of its keys.
    pub(super) fn place(&self) -> Span {
        let kind = self.keys.iter().find(|key| key.name.value == "type");
        let key = kind.or_else(|| self.keys.first());
        key.map_or_else(|| self.name.span.clone(), |key| key.name.span.clone())
    }

    pub(super) fn fail(&self, span: &Span, what: impl Into<String>, remedy: impl Into<String>) {
        self.diagnostics.error(span.clone(), what, remedy);
    }

    pub(super) fn missing(&self, key: &str, doc: &str) {
        let what = format!("`{}.{key}` is missing", self.title);
        let problem = Problem::missing(what).at(self.place(), "");
        self.diagnostics.push(problem.remedy(format!("`{key}`: {doc}")));
    }

    /// Keys that are right in Flume and do nothing here, each with the reason.
    pub(super) fn without_effect(&self, keys: &[(&str, &str)]) {
        for (name, why) in keys {
            if let Some(key) = self.find(name) {
                let what = format!("`{name}` has no effect: {why}");
                self.diagnostics.note(key.name.span.clone(), what);
            }
        }
    }

    /// The same of all keys that begin like this.
    pub(super) fn without_effect_below(&self, prefix: &str, why: &str) {
        for key in self.keys.iter().filter(|key| key.name.starts_with(prefix)) {
            let what = format!("`{}` has no effect: {why}", key.name);
            self.diagnostics.note(key.name.span.clone(), what);
        }
        self.ignore_below(prefix);
    }

    /// Keys that mean something in Flume which is not here.
    pub(super) fn refuse(&self, keys: &[(&str, &str)]) {
        for (name, remedy) in keys {
            if let Some(key) = self.find(name) {
                let what = format!("`{name}` is not built yet");
                self.fail(&key.name.span, what, *remedy);
            }
        }
    }

    /// The components of this one that `list` names, described by the keys below it. Told is who
    /// is named and not described, or described and not named.
    pub(super) fn parts_below(&self, list: &str, names: &[Spanned<String>]) -> Vec<Self> {
        let below = format!("{list}.");
        let mut parts = Vec::new();
        for name in names {
            let (title, prefix) =
                (format!("{}.{below}{name}", self.title), format!("{below}{name}."));
            let keys: Vec<Key> = self.keys.iter().filter_map(|key| key.below(&prefix)).collect();
            self.ignore_below(&prefix);
            if keys.is_empty() {
                let what = format!("`{name}` is listed and nowhere described");
                let remedy = format!("add `{title}.type = …`, or take it out of the list");
                self.fail(&name.span, what, remedy);
                continue;
            }
            let (asked, diagnostics) = (RefCell::default(), self.diagnostics.clone());
            parts.push(Self { title, name: name.clone(), keys, asked, diagnostics });
        }
        let mut told: Vec<&str> = Vec::new();
        for key in &self.keys {
            let Some(rest) = key.name.strip_prefix(&below) else { continue };
            let owned = names.iter().any(|name| {
                let key = rest.strip_prefix(name.as_str());
                key.is_some_and(|key| key.is_empty() || key.starts_with('.'))
            });
            let name = rest.split('.').next().unwrap_or_default();
            if owned || told.contains(&name) {
                continue;
            }
            told.push(name);
            let what = format!("`{name}` is not in `{}.{list}`, so it is not used", self.title);
            let remedy = match nearest(name, names.iter().map(|name| name.as_str())) {
                Some(near) => format!("did you mean `{near}`?"),
                None => format!("name it there, or take out all keys of `{below}{name}`"),
            };
            self.diagnostics.warning(key.name.span.clone(), what, remedy);
        }
        self.ignore_below(&below);
        parts
    }

    /// Everything below `prefix` has been seen to.
    pub(super) fn ignore_below(&self, prefix: &str) {
        let below = self.keys.iter().filter(|key| key.name.starts_with(prefix));
        self.asked.borrow_mut().extend(below.map(|key| key.name.value.clone()));
    }

    pub(super) fn ignore_rest(&self) {
        self.ignore_below("");
    }

    /// Tells the keys that nobody asked for: Flume passes over them in silence.
    pub(super) fn finish(&self) {
        let asked = self.asked.borrow();
        for Key { name, .. } in &self.keys {
            if asked.contains(&name.value) {
                continue;
            }
            let what = format!("unknown key `{name}` in {}: it has no effect", self.title);
            let known = asked.iter().map(String::as_str).chain(KNOWN.iter().copied());
            let remedy = match nearest(name, known) {
                Some(near) if near != name.as_str() => format!("did you mean `{near}`?"),
                _ => "Flume passes over it in silence, too: take it out".to_owned(),
            };
            self.diagnostics.warning(name.span.clone(), what, remedy);
        }
    }
}

/// Keys that every component of a room may have.
const KNOWN: &[&str] = &["type", "channel", "channels", "interceptors", "selector.type"];
