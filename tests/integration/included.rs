//! A configuration of several files: `include` and directories, as `check` shows and `run` does it.

use crate::commands::{flumen, said};
use crate::harness::Agent;
use std::io::Write;
use std::net::TcpStream;
use std::path::Path;
use std::process::Command;
use tempfile::TempDir;

const SOURCE: &str = "[sources.in]\ntype = 'tcp'\nlisten = 'tcp://127.0.0.1:0'\n";
const SINK: &str = "[sinks.out]\ntype = 'file'\npath = '{dir}/logs/out.log'\ncodec = 'none'\n";

fn put(folder: &Path, name: &str, text: &str) {
    let path = folder.join(name);
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    let text = text.replace("{dir}", folder.to_str().unwrap());
    std::fs::write(path, text).unwrap();
}

/// flumen.toml with the agent, what it includes for the rest, and what is no configuration.
fn included() -> TempDir {
    let dir = TempDir::new().unwrap();
    put(dir.path(), "flumen.toml", "include = 'conf.d/*.toml'\n[agent]\nmemory = '64MiB'\n");
    put(dir.path(), "conf.d/20-out.toml", SINK);
    put(dir.path(), "conf.d/10-in.toml", SOURCE);
    put(dir.path(), "conf.d/10-in.toml~", "[[[");
    put(dir.path(), "conf.d/.#20-out.toml", "[[[");
    dir
}

#[test]
fn check_says_which_files_it_read() {
    let dir = included();
    let checked = said(flumen("check flumen.toml").current_dir(dir.path()));
    assert_eq!(checked.code, Some(0), "{}", checked.err);
    let files = "read, in this order\n  flumen.toml\n  conf.d/10-in.toml\n  conf.d/20-out.toml\n\n\
                 agent flumen: ";
    assert!(checked.out.starts_with(files), "{}", checked.out);
    let note = "conf.d/.#20-out.toml is not read: hidden files and copies are passed over";
    assert!(checked.err.contains(note) && !checked.err.contains("error"), "{}", checked.err);
    // The same files as a directory; its one agent is what the file's is.
    let folder = said(flumen("check conf.d").current_dir(dir.path()));
    assert_eq!(folder.code, Some(0), "{}", folder.err);
    let files = "read, in this order\n  conf.d/10-in.toml\n  conf.d/20-out.toml\n\nagent flumen: ";
    assert!(folder.out.starts_with(files), "{}", folder.out);
    assert!(folder.err.contains(note), "{}", folder.err);
}

#[test]
fn the_merged_whole_is_one_configuration_that_means_the_same() {
    let dir = included();
    let whole = said(flumen("check flumen.toml --to-toml").current_dir(dir.path()));
    assert_eq!(whole.code, Some(0), "{}", whole.err);
    assert!(
        whole.out.starts_with("[agent]\nmemory = \"64MiB\"\n\n[sources.in]\n"),
        "{}",
        whole.out
    );
    put(dir.path(), "whole.toml", &whole.out);
    let plan_of = |file: &str| {
        let checked = said(flumen(&format!("check {file}")).current_dir(dir.path()));
        assert_eq!(checked.code, Some(0), "{}", checked.err);
        let at = checked.out.find("agent flumen").expect("a plan");
        checked.out[at..].to_owned()
    };
    assert_eq!(plan_of("whole.toml"), plan_of("flumen.toml"));
}

#[test]
fn a_mistake_is_told_in_its_file_and_line() {
    let dir = included();
    put(dir.path(), "conf.d/20-out.toml", &format!("{SINK}kodec = 'zstd'\n"));
    put(dir.path(), "conf.d/30-more.toml", &format!("\n{SINK}"));
    for command in ["check flumen.toml", "run flumen.toml"] {
        let said = said(flumen(command).current_dir(dir.path()));
        assert_eq!((said.code, said.out.as_str()), (Some(2), ""), "{}", said.err);
        let wanted = [
            "error: unknown key `kodec` in [sinks.out]\n --> conf.d/20-out.toml:5:1\n",
            "error: [sinks.out] stands in two files\n --> conf.d/30-more.toml:2:8\n",
            "::: conf.d/20-out.toml:1:8\n",
            "first here",
            "= help: keep one of the two, or give one sink another name",
            "flumen.toml (4 files): 2 errors",
        ];
        let mut rest = said.err.as_str();
        for words in wanted {
            let at = rest.find(words).unwrap_or_else(|| panic!("no {words:?} in\n{}", said.err));
            rest = &rest[at + words.len()..];
        }
    }
    assert!(!dir.path().join("logs").exists(), "it left something behind");
}

/// Lines go through an agent whose configuration is the folder that flumen.toml lies in.
#[test]
fn a_directory_runs() {
    let dir = TempDir::new().unwrap();
    put(dir.path(), "50-in.toml", SOURCE);
    put(dir.path(), "60-out.toml", SINK);
    put(dir.path(), "README", "no configuration");
    // $0 flumen, $1 run, $2 the file.
    let mut shell = Command::new("sh");
    shell.arg("-c").arg("exec \"$0\" \"$1\" \"$(dirname \"$2\")\"");
    let agent = "[agent]\nmemory = '64MiB'\nadmin = '127.0.0.1:0'\ncores = 'none'\n";
    let agent = Agent::start_through(shell, dir, agent);
    TcpStream::connect(agent.tcp("in")).unwrap().write_all(b"one\ntwo\n").unwrap();
    agent.wait_for(2);
    assert_eq!(agent.stop().well().lines("logs/out.log"), ["one", "two"]);
}
