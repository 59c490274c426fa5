//! Every properties file in `flume` is planned as the text beside it says, notes among it, and the
//! TOML that it becomes means the same. They are our own, in the shape of the examples of Flume's
//! guide: what a part can be told, and how files of that kind look.
//!
//! After a change that is meant: `BLESS=1 cargo test --test conformance`, then read the difference.

use std::path::{Path, PathBuf};
use std::process::Command;

use flumen::config::{Around, Config};
use flumen::topology::{Machine, Parts, plan, report};

use crate::config::compare;

fn around() -> Around {
    Around::fixed(&[("port", "5140")], &[("HOME", "/home/flume"), ("ZONE", "east")])
}

/// Every agent's plan on a machine of four cores.
pub(crate) fn plans(config: &Config) -> Vec<String> {
    let machine = Machine { cores: vec![0, 1, 2, 3] };
    let agents = config.agent_names();
    let agents = agents.iter().filter_map(|name| config.agent(Some(name)));
    let plans = agents.filter_map(|agent| plan(&agent, &Parts::default(), &machine));
    plans.map(|plan| report::text(&plan)).collect()
}

fn files() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/conformance/flume");
    let entries = std::fs::read_dir(folder).expect("the folder is there");
    let paths = entries.map(|entry| entry.expect("readable").path());
    let mut files: Vec<PathBuf> =
        paths.filter(|path| path.extension().is_some_and(|suffix| suffix == "conf")).collect();
    files.sort();
    assert!(files.len() >= 17, "{} configurations found", files.len());
    files
}

#[test]
fn examples_are_planned_and_their_toml_means_the_same() {
    let mut wrong = Vec::new();
    for file in files() {
        let text = std::fs::read_to_string(&file).expect("readable");
        let config = Config::parse_flume(&text, &around());
        let planned = plans(&config);
        let told = config.diagnostics().render(false);
        assert!(!config.diagnostics().has_errors(), "{}:\n{told}", file.display());
        assert_eq!(planned.len(), config.agent_names().len(), "{}", file.display());
        let toml = config.to_toml();
        let again = Config::parse(&toml);
        let planned_again = plans(&again);
        let told_again = again.diagnostics().render(false);
        assert_eq!(told_again, "", "{}:\n{toml}", file.display());
        assert_eq!(planned_again, planned, "{}:\n{toml}", file.display());
        // Settings are in the TOML: of the plans the flow is of interest.
        // How much a channel holds follows from the memory of all parts, and is not of Flume.
        let flow = |plan: &String| {
            let flow = plan.split("\nmemory ").next().unwrap_or_default();
            let lines = flow.lines().filter(|line| !line.starts_with("    holds "));
            lines.map(|line| format!("{line}\n")).collect::<String>()
        };
        let flows: Vec<String> = planned.iter().map(flow).collect();
        let found = format!("{told}\n{toml}\n{}", flows.join("\n"));
        wrong.extend(compare(&file.with_extension("txt"), &found));
    }
    assert!(wrong.is_empty(), "{} differ\n\n{}", wrong.len(), wrong.join("\n\n"));
}

/// The command, as somebody who changes over uses it.
#[test]
fn a_properties_file_becomes_toml_by_the_command() {
    let dir = tempfile::tempdir().expect("a folder");
    let conf = dir.path().join("flume.conf");
    let text = "a1.sources = r\na1.channels = c\na1.sinks = k\na1.sources.r.type = netcat\n\
                a1.sources.r.bind = ${sys:bind}\na1.sources.r.port = 0\n\
                a1.sources.r.channels = c\na1.channels.c.type = memory\n\
                a1.channels.c.transactionCapacity = 100\na1.sinks.k.type = null\n\
                a1.sinks.k.channel = c\n";
    std::fs::write(&conf, text).expect("written");
    let run = |arguments: &[&str]| {
        let output = Command::new(env!("CARGO_BIN_EXE_flumen")).args(arguments).output();
        let output = output.expect("the binary starts");
        let text = |bytes| String::from_utf8(bytes).expect("UTF-8");
        (output.status.code(), text(output.stdout), text(output.stderr))
    };
    let conf = conf.to_str().expect("UTF-8");
    let (code, out, err) = run(&["check", conf]);
    assert_eq!((code, out.as_str()), (Some(2), ""));
    assert!(err.contains("nobody said `-Dbind=…`") && err.contains("flume.conf:5:21"), "{err}");
    let (code, toml, err) = run(&["check", conf, "--to-toml", "-Dbind=127.0.0.1", "-n", "a1"]);
    assert_eq!(code, Some(0), "{err}");
    assert!(err.contains("note: `transactionCapacity` has no effect"), "{err}");
    let converted = dir.path().join("flumen.toml");
    std::fs::write(&converted, &toml).expect("written");
    let (code, plan, err) = run(&["check", converted.to_str().expect("UTF-8")]);
    assert_eq!((code, err.as_str()), (Some(0), ""));
    let (_, planned, _) = run(&["check", conf, "-Dbind=127.0.0.1"]);
    assert_eq!(plan, planned);
    let (code, _, err) = run(&["check", conf, "-Dbind=h", "--agent", "a2"]);
    assert_eq!(code, Some(2));
    assert!(err.contains("no agent is called `a2` here"), "{err}");
}
