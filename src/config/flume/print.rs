//! Tables as the TOML that gives them: what `flumen check --to-toml` prints.

use std::fmt::Write;

use crate::config::document::{Parsed, ROOMS};
use crate::config::value::{Entry, Table, Value, shown_key as key};

/// The agents as one file.
pub(in crate::config) fn toml(agents: &[Parsed]) -> String {
    let mut text = String::new();
    for agent in agents {
        let prefix = match &agent.name {
            Some(name) => format!("agents.{}", key(name)),
            None => String::new(),
        };
        let below = |room: &str| match prefix.as_str() {
            "" => room.to_owned(),
            prefix => format!("{prefix}.{room}"),
        };
        let own = if prefix.is_empty() { "agent" } else { prefix.as_str() };
        table(&mut text, own, &agent.agent);
        for (room, parts) in ROOMS.iter().zip(&agent.rooms) {
            for (name, part) in parts {
                table(&mut text, &format!("{}.{}", below(room), key(name)), part);
            }
        }
    }
    text
}

fn table(text: &mut String, title: &str, table: &Table) {
    if !text.is_empty() {
        text.push('\n');
    }
    writeln!(text, "[{title}]").expect("a String takes everything");
    for Entry { key: name, value } in &table.entries {
        let line = writeln!(text, "{} = {}", key(name), shown(&value.value));
        line.expect("a String takes everything");
    }
}

/// A `${` that is text must not be looked up again. Tables of a list stand in lines of their own.
fn shown(value: &Value) -> String {
    let text = match value {
        Value::List(items) if items.iter().any(|item| matches!(item.value, Value::Table(_))) => {
            let lines = items.iter().map(|item| format!("    {},\n", item.value.shown()));
            format!("[\n{}]", lines.collect::<String>())
        }
        value => value.shown(),
    };
    text.replace("${", "$${")
}
