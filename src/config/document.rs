//! The structure of a configuration file: which tables stand where, and whose they are.
//!
//! ```text
//! one agent                  several agents
//! [agent]                    [agents.NAME]
//! [sources.NAME]             [agents.NAME.sources.NAME]
//! [channels.NAME]            [agents.NAME.channels.NAME]
//! [sinks.NAME]               [agents.NAME.sinks.NAME]
//! [groups.NAME]              [agents.NAME.groups.NAME]
//! ```
//!
//! Every table but the agent's own belongs to a part, which reads it as a [`Section`]. The file is
//! understood as far as it can be: after an error, planning goes on with the rest.

use std::ffi::OsStr;
use std::path::Path;

use super::diagnostic::{Diagnostics, Problem, Span};
use super::file;
use super::flume::{self, around::Around};
use super::section::{OptionDoc, Section};
use super::suggest::{listed, nearest};
use super::value::{self, Entry, Lookup, Spanned, Table, Value};

/// Names stand in metrics, thread names and paths.
const NAME_BYTES_MAX: usize = 64;

/// The tables of an agent that hold components.
pub(super) const ROOMS: [&str; 4] = ["sources", "channels", "sinks", "groups"];
/// Tables of parts that are not built yet.
const LATER: [(&str, &str); 1] = [("interceptors", "interceptors")];

const AGENT_NAME: &[OptionDoc] = &[OptionDoc {
    name: "name",
    default: Some("flumen"),
    doc: "the agent's name in metrics and logs",
}];

/// A configuration file, read and taken apart; no part has looked at its keys yet.
pub struct Config {
    diagnostics: Diagnostics,
    agents: Vec<Parsed>,
}

/// One agent of the file, its components in the file's order.
pub struct AgentConfig {
    pub name: Spanned<String>,
    /// `[agent]` or `[agents.NAME]`; `name` is read already.
    pub agent: Section,
    pub sources: Vec<Component>,
    pub channels: Vec<Component>,
    pub sinks: Vec<Component>,
    pub groups: Vec<Component>,
}

/// A named table: `[sources.net]`.
#[derive(Clone)]
pub struct Component {
    pub name: Spanned<String>,
    pub section: Section,
}

pub(super) struct Parsed {
    /// From the header `[agents.NAME]`; of a single agent its own section says it.
    pub(super) name: Option<Spanned<String>>,
    pub(super) agent: Table,
    pub(super) rooms: [Vec<(Spanned<String>, Table)>; ROOMS.len()],
    pub(super) dialect: Dialect,
}

/// In whose words tables are called.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Dialect {
    /// `[sources.net]`.
    Toml,
    /// `a1.sources.net`, with the name of the agent.
    Flume(String),
}

impl Parsed {
    /// Of the agent itself.
    fn title(&self) -> String {
        match (&self.dialect, &self.name) {
            (Dialect::Flume(agent), _) => agent.clone(),
            (Dialect::Toml, Some(name)) => format!("[agents.{name}]"),
            (Dialect::Toml, None) => "[agent]".to_owned(),
        }
    }

    /// Of one of its components.
    fn title_of(&self, room: &str, name: &str) -> String {
        match (&self.dialect, &self.name) {
            (Dialect::Flume(agent), _) if room == "groups" => format!("{agent}.sinkgroups.{name}"),
            (Dialect::Flume(agent), _) => format!("{agent}.{room}.{name}"),
            (Dialect::Toml, Some(agent)) => format!("[agents.{agent}.{room}.{name}]"),
            (Dialect::Toml, None) => format!("[{room}.{name}]"),
        }
    }
}

impl Config {
    /// Reads a file. `Err` when there is nothing to plan: no file, no text, another format. `Ok`
    /// may still hold errors: see [`Config::diagnostics`] when planning is through.
    pub fn load(path: &Path, around: &Around) -> Result<Self, Diagnostics> {
        let diagnostics = file::read(path)?;
        let named = path.extension() == Some(OsStr::new("properties"));
        Ok(match named || flume::is_flume(diagnostics.text()) {
            true => Self::read_flume(diagnostics, around),
            false => Self::read(diagnostics, &|name| around.variable(name)),
        })
    }

    /// A Flume configuration from its text, for tests.
    pub fn parse_flume(text: &str, around: &Around) -> Self {
        Self::read_flume(Diagnostics::new("flume.conf", text), around)
    }

    fn read_flume(diagnostics: Diagnostics, around: &Around) -> Self {
        let agents = flume::read(&diagnostics, around);
        for parsed in &agents {
            let parts = ROOMS.iter().zip(&parsed.rooms);
            let names = parts.flat_map(|(room, parts)| parts.iter().map(|it| (*room, &it.0)));
            for (room, name) in names {
                check_name(room.trim_end_matches('s'), name, name.span.clone(), &diagnostics);
            }
            if let Some(name) = &parsed.name {
                check_name("agent", name, name.span.clone(), &diagnostics);
            }
        }
        Self { diagnostics, agents }
    }

    /// Whether it was written for Apache Flume.
    pub fn is_flume(&self) -> bool {
        self.agents.iter().any(|parsed| parsed.dialect != Dialect::Toml)
    }

    /// The same as TOML.
    pub fn to_toml(&self) -> String {
        flume::print::toml(&self.agents)
    }

    /// A configuration from its text, for tests; no environment variable is set.
    pub fn parse(text: &str) -> Self {
        Self::read(Diagnostics::new("test.toml", text), &|_| None)
    }

    pub(super) fn read(diagnostics: Diagnostics, lookup: Lookup<'_>) -> Self {
        let root = value::parse(lookup, &diagnostics);
        let mut reader = Reader { diagnostics: diagnostics.clone(), agents: Vec::new() };
        reader.root(root);
        Self { diagnostics, agents: reader.agents }
    }

    pub fn diagnostics(&self) -> &Diagnostics {
        &self.diagnostics
    }

    /// The agents' names, in the file's order.
    pub fn agent_names(&self) -> Vec<String> {
        self.agents.iter().map(|parsed| self.open(parsed).name.value).collect()
    }

    /// The agent called `wanted`, or the only one. `None` is told in the diagnostics.
    pub fn agent(&self, wanted: Option<&str>) -> Option<AgentConfig> {
        let names = self.agent_names();
        let index = match (wanted, names.len()) {
            // An agent that could not be understood has been told.
            (_, 0) if self.diagnostics.has_errors() => return None,
            (_, 0) => {
                let what = "this file describes no agent";
                let remedy = "add at least `[sources.NAME]` and `[sinks.NAME]`, each with a `type`";
                self.diagnostics.push(Problem::missing(what).at(0..0, "").remedy(remedy));
                return None;
            }
            (None, 1) => 0,
            (None, _) => {
                let what = format!("this file describes {} agents", names.len());
                let names = listed(names.iter().map(String::as_str));
                let remedy = format!("choose one with `--agent`: {names}");
                let mut problem = Problem::error(what).remedy(remedy);
                for parsed in &self.agents {
                    problem = problem.at(parsed.agent.header.clone(), "");
                }
                self.diagnostics.push(problem);
                return None;
            }
            (Some(wanted), _) => {
                let Some(index) = names.iter().position(|name| name == wanted) else {
                    let what = format!("no agent is called `{wanted}` here");
                    let remedy = match nearest(wanted, names.iter().map(String::as_str)) {
                        Some(name) => format!("did you mean `{name}`?"),
                        None => format!("there is {}", listed(names.iter().map(String::as_str))),
                    };
                    self.diagnostics.push(Problem::error(what).remedy(remedy));
                    return None;
                };
                index
            }
        };
        Some(self.open(&self.agents[index]))
    }

    fn open(&self, parsed: &Parsed) -> AgentConfig {
        let agent = Section::new(parsed.title(), parsed.agent.clone(), self.diagnostics.clone());
        let name = parsed.name.clone().unwrap_or_else(|| {
            agent.describe(AGENT_NAME);
            let name = agent.text("name");
            if agent.usable("name") {
                check_name("agent", &name, agent.span("name"), &self.diagnostics);
            }
            Spanned::new(name, agent.span("name"))
        });
        let components = |room: usize| {
            let components = parsed.rooms[room].iter().map(|(name, table)| {
                let title = parsed.title_of(ROOMS[room], name);
                let section = Section::new(title, table.clone(), self.diagnostics.clone());
                Component { name: name.clone(), section }
            });
            components.collect()
        };
        AgentConfig {
            name,
            agent,
            sources: components(0),
            channels: components(1),
            sinks: components(2),
            groups: components(3),
        }
    }
}

fn check_name(kind: &str, name: &str, span: Span, diagnostics: &Diagnostics) {
    let plain = name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-');
    let what = if name.is_empty() {
        format!("the {kind} has an empty name")
    } else if !plain {
        format!("`{}` is no name for the {kind}", name.escape_debug())
    } else if name.len() > NAME_BYTES_MAX {
        format!("this name of the {kind} has {} bytes", name.len())
    } else {
        return;
    };
    let remedy = format!("names are letters, digits, `_` and `-`, at most {NAME_BYTES_MAX} bytes");
    diagnostics.error(span, what, remedy);
}

/// Takes the root table apart.
struct Reader {
    diagnostics: Diagnostics,
    agents: Vec<Parsed>,
}

impl Reader {
    fn root(&mut self, root: Table) {
        let several = root.find("agents").map(|entry| entry.key.span.clone());
        let mut single = Parsed {
            name: None,
            agent: Table::default(),
            rooms: Default::default(),
            dialect: Dialect::Toml,
        };
        let mut used = false;
        for entry in root.entries {
            let key = entry.key.value.as_str();
            let room = ROOMS.iter().position(|room| *room == key);
            if key == "agents" {
                self.agents(entry);
                continue;
            }
            if let (Some(span), true) = (&several, key == "agent" || room.is_some()) {
                let what = format!("`{key}` stands beside `agents`, so it is nobody's");
                let problem = Problem::error(what).at(entry.key.span.clone(), "");
                let problem = problem.at(span.clone(), "several agents from here");
                self.diagnostics.push(problem.remedy(format!("write `[agents.NAME.{key}…]`")));
                continue;
            }
            if let Some(room) = room {
                used = true;
                single.rooms[room] = self.room(ROOMS[room], "", entry);
            } else if key == "agent" {
                used = true;
                if let Some(table) = self.table_of(entry, "`[agent]`") {
                    single.agent = table;
                }
            } else if !self.later(&entry) {
                self.unknown(&entry);
            }
        }
        if used {
            self.agents.push(single);
        }
    }

    /// `[agents.NAME]` and what is below.
    fn agents(&mut self, entry: Entry) {
        let Some(table) = self.table_of(entry, "`[agents.NAME]`") else { return };
        for entry in table.entries {
            let name = entry.key.clone();
            check_name("agent", &name, name.span.clone(), &self.diagnostics);
            let Some(mut agent) = self.table_of(entry, &format!("`[agents.{name}]`")) else {
                continue;
            };
            let mut rooms = <[Vec<_>; ROOMS.len()]>::default();
            let mut own = Vec::new();
            for entry in std::mem::take(&mut agent.entries) {
                if self.later(&entry) {
                    continue;
                }
                let key = entry.key.value.as_str();
                let is_table = matches!(entry.value.value, Value::Table(_));
                if let Some(room) = ROOMS.iter().position(|room| *room == key) {
                    rooms[room] = self.room(ROOMS[room], &format!("agents.{name}."), entry);
                } else if key == "name" {
                    let what = format!("the agent's name is `{name}` already");
                    let span = entry.key.span.clone();
                    self.diagnostics.error(span, what, "leave `name` out of `[agents.NAME]`");
                } else if let (Some(room), true) = (nearest(key, ROOMS), is_table) {
                    let what = format!("unknown table `{key}` in [agents.{name}]");
                    let remedy = format!("did you mean `[agents.{name}.{room}…]`?");
                    self.diagnostics.error(entry.key.span.clone(), what, remedy);
                } else {
                    own.push(entry);
                }
            }
            agent.entries = own;
            self.agents.push(Parsed { name: Some(name), agent, rooms, dialect: Dialect::Toml });
        }
    }

    /// `[sources]`: every entry is a table with a name.
    fn room(&self, room: &str, prefix: &str, entry: Entry) -> Vec<(Spanned<String>, Table)> {
        let kind = room.trim_end_matches('s');
        let shape = format!("`[{prefix}{room}.NAME]`");
        let Some(table) = self.table_of(entry, &shape) else { return Vec::new() };
        let mut components = Vec::new();
        for entry in table.entries {
            let name = entry.key.clone();
            if !matches!(entry.value.value, Value::Table(_) | Value::List(_)) {
                let what = format!("`{name}` stands in `[{prefix}{room}]` itself");
                let remedy = format!("give the {kind} a name: {shape}");
                self.diagnostics.error(name.span.clone(), what, remedy);
                continue;
            }
            check_name(kind, &name, name.span.clone(), &self.diagnostics);
            if let Some(table) = self.table_of(entry, &format!("`[{prefix}{room}.{name}]`")) {
                components.push((name, table));
            }
        }
        components
    }

    /// The table an entry is; anything else is told, `shape` being what would be right.
    fn table_of(&self, entry: Entry, shape: &str) -> Option<Table> {
        let found = match entry.value.value {
            Value::Table(table) => return Some(table),
            Value::List(_) => "a list of tables, `[[…]]`",
            ref other => other.type_name(),
        };
        let what = format!("`{}`: expected a table, found {found}", entry.key.value);
        self.diagnostics.error(entry.value.span, what, format!("write {shape}"));
        None
    }

    fn later(&self, entry: &Entry) -> bool {
        let Some((key, parts)) = LATER.iter().find(|(key, _)| *key == entry.key.value) else {
            return false;
        };
        let what = format!("`{key}`: {parts} are not built yet");
        self.diagnostics.error(entry.key.span.clone(), what, "leave it out for now");
        true
    }

    fn unknown(&self, entry: &Entry) {
        let key = &entry.key.value;
        let tables = ["agent", "sources", "channels", "sinks", "groups", "agents"];
        let is_table = matches!(entry.value.value, Value::Table(_) | Value::List(_));
        let what = match is_table {
            true => format!("unknown table `{key}`"),
            false => format!("`{key}` stands outside of every table"),
        };
        let remedy = match nearest(key, tables) {
            Some(table) => {
                format!("did you mean `[{table}{}]`?", if table == "agent" { "" } else { ".NAME" })
            }
            None if is_table => format!("a file has {}", listed(tables)),
            None => "keys of the agent itself belong under `[agent]`".to_owned(),
        };
        self.diagnostics.error(entry.key.span.clone(), what, remedy);
    }
}
