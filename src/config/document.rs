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
//! understood as far as it can be: after an error, planning goes on with the rest. Several files
//! are read as if they stood in one.

use std::ffi::OsStr;
use std::path::Path;

use super::diagnostic::{Diagnostics, Problem, Span};
use super::flume::{self, around::Around};
use super::gather::{self, Gathered};
use super::section::{OptionDoc, Section};
use super::suggest::{listed, nearest};
use super::tables;
use super::value::{Lookup, Spanned, Table};

/// Names stand in metrics, thread names and paths.
const NAME_BYTES_MAX: usize = 64;

/// The tables of an agent that hold components.
pub(super) const ROOMS: [&str; 4] = ["sources", "channels", "sinks", "groups"];

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
    /// Reads a file with what it includes, or every `*.toml` of a directory. `Err` when there is
    /// nothing to plan: no file, no text, another format. `Ok` may still hold errors: see
    /// [`Config::diagnostics`] when planning is through.
    pub fn load(path: &Path, around: &Around) -> Result<Self, Diagnostics> {
        let lookup = |name: &str| around.variable(name);
        if path.is_dir() {
            return gather::directory(path, &lookup).map(Self::read_gathered);
        }
        let diagnostics = gather::first(path)?;
        let named = path.extension() == Some(OsStr::new("properties"));
        Ok(match named || flume::is_flume(&diagnostics.text().text) {
            true => Self::read_flume(diagnostics, around),
            false => Self::read_gathered(gather::file(path, diagnostics, &lookup)),
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
        let path = Path::new(diagnostics.path()).to_owned();
        Self::read_gathered(gather::file(&path, diagnostics, lookup))
    }

    fn read_gathered(gathered: Gathered) -> Self {
        let Gathered { root, diagnostics } = gathered;
        let agents = tables::agents(root, &diagnostics);
        Self { diagnostics, agents }
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

pub(super) fn check_name(kind: &str, name: &str, span: Span, diagnostics: &Diagnostics) {
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
