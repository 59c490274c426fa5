//! Mistakes people make, each with exactly what is said about it.

use std::time::Duration;

use proptest::prelude::*;

use super::document::Config;
use super::section::{OptionDoc, Section, TextOrTable};

const AGENT: &[OptionDoc] = &[
    OptionDoc { name: "memory", default: Some("512MiB"), doc: "the budget" },
    OptionDoc { name: "drain", default: Some("20s"), doc: "how long a stop may take" },
];

const PART: &[OptionDoc] = &[
    OptionDoc { name: "type", default: None, doc: "which part this is" },
    OptionDoc { name: "listen", default: Some(""), doc: "addresses" },
    OptionDoc { name: "event_max", default: Some("64KiB"), doc: "longest event" },
    OptionDoc { name: "threads", default: Some("1"), doc: "workers" },
    OptionDoc { name: "gro", default: Some("false"), doc: "merge datagrams" },
    OptionDoc { name: "when_full", default: Some("wait"), doc: "what then" },
    OptionDoc { name: "idle", default: Some("10m"), doc: "silence allowed" },
    OptionDoc { name: "sync", default: Some("1s"), doc: "how often to sync" },
    OptionDoc { name: "rate", default: Some("max"), doc: "events a second" },
    OptionDoc { name: "encoder", default: Some("raw"), doc: "how an event is written" },
    OptionDoc { name: "roll", default: Some(""), doc: "when to roll" },
    OptionDoc { name: "free", default: Some(""), doc: "what to leave on the disk" },
];

const ROLL: &[OptionDoc] = &[
    OptionDoc { name: "bytes", default: Some("1GiB"), doc: "stored bytes" },
    OptionDoc { name: "age", default: Some(""), doc: "time since it was opened" },
];

const TEMPLATE: &[OptionDoc] =
    &[OptionDoc { name: "template", default: None, doc: "text with %{headers}" }];

/// Reads a part as a part does; the values do not matter here.
fn plan_part(section: &Section) {
    section.describe(PART);
    section.text("type");
    section.texts("listen");
    section.size_in("event_max", 64..=1 << 20);
    section.integer("threads", 1..=32);
    section.flag("gro");
    section.choice("when_full", &[("wait", 0), ("drop_newest", 1), ("drop_oldest", 2)]);
    section.duration_in("idle", Duration::from_secs(1)..=Duration::MAX);
    section.duration_or_choice("sync", Some, &[("block", None), ("never", None)]);
    section.rate("rate");
    section.optional_amount("free");
    if let TextOrTable::Table(table) = section.text_or_table("encoder", TEMPLATE) {
        table.text("template");
    }
    let roll = section.subsection("roll", ROLL);
    roll.size("bytes");
    roll.optional_duration("age");
    section.later("zone", "needs time zones");
    section.finish();
}

/// Plans an agent of `text` and returns what was wrong.
fn told(text: &str, wanted: Option<&str>) -> Vec<String> {
    let config = Config::parse(text);
    plan(&config, wanted);
    config.diagnostics().lines()
}

fn plan(config: &Config, wanted: Option<&str>) {
    let Some(agent) = config.agent(wanted) else { return };
    agent.agent.describe(AGENT);
    agent.agent.size("memory");
    agent.agent.duration("drain");
    agent.agent.finish();
    for part in agent.sources.iter().chain(&agent.channels).chain(&agent.sinks) {
        plan_part(&part.section);
    }
}

/// The cases of a text file: blocks between blank lines, each the lines a person wrote and,
/// indented, what is said about them.
pub(super) fn check_cases(cases: &str, tell: impl Fn(&str) -> Vec<String>) {
    let mut wrong = String::new();
    let mut count = 0;
    for case in cases.split("\n\n").map(|case| case.trim_matches('\n')) {
        let written: Vec<&str> = case.lines().filter(|line| !line.starts_with("    ")).collect();
        let written = written.join("\n");
        let told: String = tell(&written).iter().map(|line| format!("\n    {line}")).collect();
        if format!("{written}{told}") != case {
            wrong.push_str(&format!("\n{written}{told}\n"));
        }
        count += 1;
    }
    assert!(count > 20, "only {count} cases were found");
    assert!(wrong.is_empty(), "these are told otherwise now:\n{wrong}");
}

#[test]
fn mistakes_in_a_part_are_told_with_place_and_remedy() {
    check_cases(include_str!("mistakes_in_a_part.txt"), |lines| {
        let header = "[sources.net]\ntype = \"tcp\"\n";
        told(&format!("{header}{lines}\n"), None)
    });
}

#[test]
fn mistakes_in_a_file_are_told_with_place_and_remedy() {
    check_cases(include_str!("mistakes_in_a_file.txt"), |text| told(text, None));
}

#[test]
fn the_wrong_agent_is_told() {
    let two = "[agents.edge]\n[agents.core]\n";
    let missing = "no agent is called `egde` here (did you mean `edge`?)";
    assert_eq!(told(two, Some("egde")), [format!("1:1: {missing}")]);
    let missing = "no agent is called `x` here (there is `edge` or `core`)";
    assert_eq!(told(two, Some("x")), [format!("1:1: {missing}")]);
    let missing = "no agent is called `edge` here (there is `flumen`)";
    assert_eq!(told("[agent]\n", Some("edge")), [format!("1:1: {missing}")]);
    assert_eq!(told(two, Some("core")), Vec::<String>::new());
}

#[test]
fn nothing_is_no_configuration() {
    let missing = "1:1: this file describes no agent (add at least `[sources.NAME]` and \
                   `[sinks.NAME]`, each with a `type`)";
    for text in ["", "\n\n", "# only a comment", "\u{feff}"] {
        assert_eq!(told(text, None), [missing], "{text:?}");
    }
}

#[test]
fn a_good_file_is_taken_in_its_order() {
    let text = "[sinks.z]\ntype = 'file'\n[sources.b]\ntype = 'tcp'\n[sources.a]\ntype = 'udp'\n\
                [agent]\nname = 'edge'\n";
    let config = Config::parse(text);
    let agent = config.agent(None).expect("the only agent");
    assert_eq!(agent.name.value, "edge");
    assert_eq!(&text[agent.name.span], "'edge'");
    let names: Vec<&str> = agent.sources.iter().map(|part| part.name.as_str()).collect();
    assert_eq!(names, ["b", "a"]);
    assert_eq!(agent.sources[0].section.title(), "[sources.b]");
    assert_eq!(&text[agent.sources[0].section.header()], "[sources.b]");
    assert!(agent.channels.is_empty());
    assert_eq!(agent.sinks[0].name.value, "z");
    assert_eq!(told(text, None), Vec::<String>::new());
}

#[test]
fn one_of_several_agents_is_taken_by_name() {
    let text = "[agents.edge]\nmemory = '1GiB'\n[agents.edge.sources.x]\ntype = 'tcp'\n\
                [agents.core.sources.y]\ntype = 'udp'\n";
    let config = Config::parse(text);
    assert_eq!(config.agent_names(), ["edge", "core"]);
    let agent = config.agent(Some("edge")).expect("edge is there");
    agent.agent.describe(AGENT);
    assert_eq!(agent.agent.size("memory"), 1 << 30);
    assert_eq!(agent.sources[0].section.title(), "[agents.edge.sources.x]");
    assert_eq!(config.agent(Some("core")).expect("core is there").sources[0].name.value, "y");
    assert!(!config.diagnostics().has_errors());
}

#[test]
fn a_part_hears_nothing_of_the_stand_ins_it_was_given() {
    let section = Section::parse("listen = 5\nthreads = '4'\nevent_max = '1KiB'", PART);
    section.text("type");
    section.texts("listen");
    section.integer("threads", 1..=32);
    section.size("event_max");
    for key in ["type", "listen", "threads", "event_max"] {
        section.fail(key, format!("`{key}` is not to my taste"), "");
    }
    let lines = section.diagnostics().lines();
    assert_eq!(lines.len(), 4, "{lines:?}");
    assert_eq!(lines[3], "3:13: `event_max` is not to my taste");
    assert!(!section.usable("type") && section.usable("event_max"));
}

proptest! {
    /// Whatever stands in the file: no panic, and a report that can be shown.
    #[test]
    fn arbitrary_text_is_survived(text in any::<String>()) {
        survive(&text);
    }

    /// Text made of the pieces of configurations gets deeper.
    #[test]
    fn broken_configurations_are_survived(
        pieces in prop::collection::vec(prop::sample::select(PIECES), 0..60)
    ) {
        survive(&pieces.concat());
    }
}

const PIECES: &[&str] = &[
    "[",
    "]",
    "[[",
    "{",
    "}",
    "=",
    " = ",
    ".",
    ",",
    "\n",
    "\r\n",
    "\t",
    " ",
    "#",
    "\"",
    "'",
    "\"\"\"",
    "'''",
    "\\",
    "${",
    "}",
    "$${",
    "${A:-1}",
    "agent",
    "agents",
    "sources",
    "sinks",
    "channels",
    "groups",
    ".net",
    "type",
    "listen",
    "roll",
    "encoder",
    "idle",
    "threads",
    "gro",
    "event_max",
    "[sources.net]\n",
    "[agents.a.sinks.b]\n",
    "\"64KiB\"",
    "'1h30m'",
    "5%",
    "1",
    "-1",
    "0x",
    "1e9",
    "true",
    "nan",
    "1979-05-27",
    "é",
    "日本",
    "\u{feff}",
    "\0",
    "\u{202e}",
];

fn survive(text: &str) {
    let config = Config::parse(text);
    for name in config.agent_names() {
        plan(&config, Some(&name));
    }
    plan(&config, None);
    let told = config.diagnostics().lines();
    assert_eq!(told.is_empty(), config.diagnostics().render(true).is_empty());
}
