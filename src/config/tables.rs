//! The root tables of a configuration taken apart: whose table each is, and one agent out of what
//! stands in several files.
//!
//! The rule for several files: as if they stood in one. A part stands in one of them; keys of
//! `[agent]` may stand in any, each in one. What stands twice is told with both places, never
//! overridden in silence.

use super::diagnostic::{Diagnostics, Problem, Span};
use super::document::{Dialect, Parsed, ROOMS, check_name};
use super::suggest::{listed, nearest};
use super::value::{Entry, Spanned, Table, Value};

/// Tables of parts that are not built yet.
const LATER: [(&str, &str); 1] = [("interceptors", "interceptors")];

type Rooms = [Vec<(Spanned<String>, Table)>; ROOMS.len()];

/// The agents of a root table, in which the same table may stand from several files.
pub(super) fn agents(root: Table, diagnostics: &Diagnostics) -> Vec<Parsed> {
    let mut reader = Reader { diagnostics: diagnostics.clone(), agents: Vec::new() };
    reader.root(root);
    reader.agents
}

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
                self.room(&mut single.rooms, room, "", entry);
            } else if key == "agent" {
                used = true;
                if let Some(table) = self.table_of(entry, "`[agent]`") {
                    self.merge(&mut single.agent, table, "[agent]");
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
            let title = format!("[agents.{name}]");
            let mut own = Vec::new();
            let mut rooms = Rooms::default();
            let before = self.agents.iter().position(|it| it.name.as_ref() == Some(&name));
            if let Some(before) = before {
                rooms = std::mem::take(&mut self.agents[before].rooms);
            }
            for entry in std::mem::take(&mut agent.entries) {
                if self.later(&entry) {
                    continue;
                }
                let key = entry.key.value.as_str();
                let is_table = matches!(entry.value.value, Value::Table(_));
                if let Some(room) = ROOMS.iter().position(|room| *room == key) {
                    self.room(&mut rooms, room, &format!("agents.{name}."), entry);
                } else if key == "name" {
                    let what = format!("the agent's name is `{name}` already");
                    let span = entry.key.span.clone();
                    self.diagnostics.error(span, what, "leave `name` out of `[agents.NAME]`");
                } else if let (Some(room), true) = (nearest(key, ROOMS), is_table) {
                    let what = format!("unknown table `{key}` in {title}");
                    let remedy = format!("did you mean `[agents.{name}.{room}…]`?");
                    self.diagnostics.error(entry.key.span.clone(), what, remedy);
                } else {
                    own.push(entry);
                }
            }
            agent.entries = own;
            match before {
                Some(before) => {
                    let mut first = std::mem::take(&mut self.agents[before].agent);
                    self.merge(&mut first, agent, &title);
                    self.agents[before].agent = first;
                    self.agents[before].rooms = rooms;
                }
                None => {
                    let name = Some(name);
                    self.agents.push(Parsed { name, agent, rooms, dialect: Dialect::Toml });
                }
            }
        }
    }

    /// The keys of another file's table of this agent.
    fn merge(&self, first: &mut Table, more: Table, title: &str) {
        if first.entries.is_empty() {
            *first = more;
            return;
        }
        for entry in more.entries {
            match first.find(&entry.key.value) {
                Some(before) => {
                    let what = format!("`{}` of {title} stands in two files", entry.key.value);
                    self.twice(what, &entry.key.span, &before.key.span, "keep one of the two");
                }
                None => first.entries.push(entry),
            }
        }
    }

    fn twice(&self, what: String, span: &Span, before: &Span, remedy: &str) {
        let problem = Problem::error(what).at(span.clone(), "");
        self.diagnostics.push(problem.at(before.clone(), "first here").remedy(remedy));
    }

    /// `[sources]`: every entry is a table with a name.
    fn room(&self, rooms: &mut Rooms, index: usize, prefix: &str, entry: Entry) {
        let room = ROOMS[index];
        let kind = room.trim_end_matches('s');
        let shape = format!("`[{prefix}{room}.NAME]`");
        let Some(table) = self.table_of(entry, &shape) else { return };
        for entry in table.entries {
            let name = entry.key.clone();
            if !matches!(entry.value.value, Value::Table(_) | Value::List(_)) {
                let what = format!("`{name}` stands in `[{prefix}{room}]` itself");
                let remedy = format!("give the {kind} a name: {shape}");
                self.diagnostics.error(name.span.clone(), what, remedy);
                continue;
            }
            let title = format!("[{prefix}{room}.{name}]");
            check_name(kind, &name, name.span.clone(), &self.diagnostics);
            let Some(table) = self.table_of(entry, &format!("`{title}`")) else { continue };
            match rooms[index].iter().find(|(before, _)| *before == name) {
                Some((before, _)) => {
                    let remedy = format!("keep one of the two, or give one {kind} another name");
                    let what = format!("{title} stands in two files");
                    self.twice(what, &name.span, &before.span, &remedy);
                }
                None => rooms[index].push((name, table)),
            }
        }
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
            None if nearest(key, ["include"]).is_some() => "did you mean `include`?".to_owned(),
            None => "keys of the agent itself belong under `[agent]`".to_owned(),
        };
        self.diagnostics.error(entry.key.span.clone(), what, remedy);
    }
}
