//! The README is run: its configurations are checked, its commands executed in their order.

use crate::harness::{Agent, SYSLOG_TO_FILE, paths};
use crate::peers::peer;
use std::path::Path;
use std::process::Command;
use tempfile::TempDir;

const README: &str = include_str!("../../README.md");
const WHOLE_RUN: &str = include_str!("../../.ci/run");

/// The bodies of all fenced blocks of a language, in order.
fn blocks(language: &str) -> Vec<&'static str> {
    let open = format!("```{language}\n");
    README.split(&open).skip(1).map(|rest| rest.split("```").next().unwrap()).collect()
}

/// Commands of the newcomer are part of the whole run.
#[test]
fn cargo_commands_are_run_by_ci() {
    let commands: Vec<&str> = blocks("sh")
        .iter()
        .flat_map(|block| block.lines())
        .filter(|l| l.starts_with("cargo"))
        .collect();
    assert_eq!(commands, ["cargo run --release -- demo", "cargo test"]);
    for words in ["cargo run --locked --release -- demo", "cargo test --locked"] {
        assert!(WHOLE_RUN.contains(words), "{words}");
    }
}

#[test]
fn configurations_are_accepted() {
    let configurations = blocks("toml");
    assert_eq!(configurations.len(), 2);
    for configuration in configurations {
        let folder = TempDir::new().unwrap();
        std::fs::write(folder.path().join("flumen.toml"), configuration).unwrap();
        shell(folder.path(), "flumen check flumen.toml");
        assert!(paths(folder.path(), ".open").is_empty(), "check writes nothing");
    }
}

/// The shortest file has four lines, as the manual says.
#[test]
fn the_shortest_file_is_short() {
    assert_eq!(blocks("toml")[0].lines().count(), 4);
}

/// The tour, line by line, with ports that the kernel picks instead of 5514 and 41414.
#[test]
fn the_tour_works() {
    if peer("zstd").is_none() {
        return;
    }
    let tour: Vec<&str> = blocks("sh").into_iter().filter(|block| block.contains("logs")).collect();
    let [reading] = tour[..] else { panic!("one block reads the logs: {tour:?}") };
    let sending = blocks("sh").into_iter().find(|block| block.contains("flumen run")).unwrap();
    let configuration = blocks("toml")[1]
        .replace("127.0.0.1:5514", "127.0.0.1:0")
        .replace("127.0.0.1:41414", "127.0.0.1:0")
        .replace("logs/", "{dir}/logs/");

    let ["flumen check flumen.toml", "flumen run flumen.toml", blast] =
        sending.lines().collect::<Vec<_>>()[..]
    else {
        panic!("check, run and blast: {sending:?}");
    };
    let agent = Agent::start(&configuration);
    shell(agent.dir.path(), "flumen check flumen.toml");
    let blast = blast
        .replace("tcp://127.0.0.1:5514", &format!("tcp://{}", agent.tcp("net")))
        .replace("udp://127.0.0.1:5514", &format!("udp://{}", agent.udp("net")));
    shell(agent.dir.path(), &blast);
    let ended = agent.stop().well();
    for line in reading.lines() {
        let said = shell(ended.dir.path(), line);
        assert!(said.lines().count() >= 3, "{line} says only {said:?}");
    }
}

/// First cells of the table under a heading row, without their backticks.
fn table(heading: &str) -> Vec<String> {
    let rows = README.lines().skip_while(|line| !line.starts_with(heading)).skip(2);
    let rows = rows.take_while(|line| line.starts_with('|'));
    rows.map(|row| row.split('|').nth(1).unwrap().replace('`', "").trim().to_owned()).collect()
}

#[test]
fn pages_and_counters_are_there() {
    let agent = Agent::start(SYSLOG_TO_FILE);
    let pages = table("| path |");
    assert!(pages.len() >= 4, "{pages:?}");
    for path in pages {
        assert_eq!(agent.page(&path).0, 200, "{path}");
    }
    let metrics = agent.page("/metrics").1;
    let counters = table("| counter |").join(", ");
    let names: Vec<&str> = counters.split(", ").collect();
    assert!(names.len() >= 10, "{names:?}");
    for name in names {
        let (name, label) = name.trim_end_matches('}').split_once('{').unwrap_or((name, ""));
        let line = metrics.lines().find(|line| line.starts_with(&format!("{name}{{")));
        let line = line.unwrap_or_else(|| panic!("no {name} in\n{metrics}"));
        assert!(line.contains(label), "{name} has no label {label}");
    }
}

#[test]
fn commands_are_there() {
    let folder = TempDir::new().unwrap();
    let commands = table("| command |");
    let help = shell(folder.path(), "flumen --help");
    let listed = help.lines().skip_while(|line| *line != "Commands:").skip(1);
    let listed: Vec<&str> = listed
        .take_while(|line| !line.is_empty())
        .filter_map(|line| line.split_whitespace().next())
        .filter(|command| *command != "help")
        .collect();
    assert_eq!(commands, listed);
    for command in listed {
        let help = shell(folder.path(), &format!("flumen {command} --help"));
        assert!(help.contains("Example"), "{command} shows no example");
    }
}

/// A line as a user types it, `flumen` being the binary under test.
#[track_caller]
fn shell(folder: &Path, line: &str) -> String {
    let binary = Path::new(env!("CARGO_BIN_EXE_flumen"));
    let path = std::env::var("PATH").unwrap();
    let path = format!("{}:{path}", binary.parent().unwrap().display());
    let mut command = Command::new("sh");
    let output = command.arg("-c").arg(line).current_dir(folder).env("PATH", path).output();
    let output = output.unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{line}: {}\n{errors}", output.status);
    String::from_utf8_lossy(&output.stdout).into_owned()
}
