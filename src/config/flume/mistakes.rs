//! Mistakes in a properties file, each with exactly what is said about it.

use proptest::prelude::*;

use super::around::Around;
use crate::config::document::Config;
use crate::config::mistakes::check_cases;

/// A good agent; lines of a case take the place of those with the same key.
const GOOD: &str = "\
a.sources = r
a.channels = c
a.sinks = k
a.sources.r.type = syslogtcp
a.sources.r.port = 5140
a.sources.r.channels = c
a.channels.c.type = memory
a.sinks.k.type = null
a.sinks.k.channel = c
";

fn around() -> Around {
    Around::fixed(&[("port", "5140")], &[("USER", "joe"), ("HOME", "/home/joe")])
}

fn told(text: &str) -> Vec<String> {
    let config = Config::parse_flume(text, &around());
    config.agent_names();
    config.diagnostics().lines()
}

fn key(line: &str) -> &str {
    line.split(['=', ':']).next().unwrap_or_default().trim()
}

/// What is told of lines behind a good agent: the first of them is line 10.
fn told_behind(lines: &str) -> Vec<String> {
    let given: Vec<&str> = lines.lines().map(key).collect();
    let kept = GOOD.lines().map(|line| if given.contains(&key(line)) { "" } else { line });
    let kept: Vec<&str> = kept.collect();
    told(&format!("{}\n{lines}\n", kept.join("\n")))
}

#[test]
fn a_good_agent_is_good() {
    assert_eq!(told(GOOD), Vec::<String>::new());
}

#[test]
fn mistakes_in_a_file_are_told_with_place_and_remedy() {
    check_cases(include_str!("mistakes_in_a_file.txt"), told);
}

#[test]
fn mistakes_in_a_part_are_told_with_place_and_remedy() {
    check_cases(include_str!("mistakes_in_a_part.txt"), told_behind);
}

proptest! {
    /// Whatever stands in the file: no panic, and a report that can be shown.
    #[test]
    fn arbitrary_text_is_survived(text in any::<String>()) {
        survive(&text);
    }

    #[test]
    fn broken_configurations_are_survived(
        pieces in prop::collection::vec(prop::sample::select(PIECES), 0..60)
    ) {
        survive(&pieces.concat());
        survive(&format!("{GOOD}{}", pieces.concat()));
    }
}

const PIECES: &[&str] = &[
    "a",
    "a.sources",
    "a.channels",
    "a.sinks",
    ".r",
    ".c",
    ".k",
    ".type",
    ".port",
    ".channel",
    "s",
    "=",
    " = ",
    ":",
    "\n",
    "\r\n",
    "\\\n",
    "\\",
    "\\u00",
    "e9",
    "\\ud83d",
    "#",
    "!",
    " ",
    "\t",
    "${",
    "}",
    "${r['",
    "']}",
    "env:USER",
    ":-",
    "file:/",
    "date:yy",
    "syslogtcp",
    "memory",
    "file_roll",
    "null",
    "netcat",
    ".sink.directory",
    "/l",
    ".keepFields",
    "all",
    "5140",
    "-1",
    "1e9",
    "true",
    "é",
    "日本",
    "\u{feff}",
    "\0",
    "flume.monitoring.type",
    "http",
    "a.configfilters",
    "env",
];

fn survive(text: &str) {
    let config = Config::parse_flume(text, &around());
    for name in config.agent_names() {
        config.agent(Some(&name));
    }
    let told = config.diagnostics().lines();
    assert_eq!(told.is_empty(), config.diagnostics().render(true).is_empty());
    config.to_toml();
}
