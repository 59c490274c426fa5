//! A program's output: `tail -F` over a rotation, which is what it is used for most.

use crate::harness::{Agent, lines_of, to_plain_file};
use std::io::Write;
use std::path::Path;
use tempfile::TempDir;

const TAIL: &str = r#"
[sources.tail]
type    = "exec"
command = "tail -n +1 -F {dir}/app.log"
channel = "main"
"#;

fn append(path: &Path, numbers: std::ops::Range<u32>) {
    let file = std::fs::File::options().create(true).append(true).open(path);
    let mut file = file.expect("the log");
    let lines: String = numbers.map(|number| format!("line {number}\n")).collect();
    file.write_all(lines.as_bytes()).expect("the log takes lines");
}

/// Processes that name this folder in their command.
fn running_with(dir: &Path) -> Vec<String> {
    let own = dir.to_string_lossy().into_owned();
    let all = std::fs::read_dir("/proc").expect("proc").flatten();
    let commands = all.filter_map(|entry| std::fs::read(entry.path().join("cmdline")).ok());
    let texts = commands.map(|bytes| String::from_utf8_lossy(&bytes).replace('\0', " "));
    texts.filter(|text| text.contains(&own) && text.starts_with("tail ")).collect()
}

#[test]
fn tail_follows_a_log_over_its_rotation_and_ends_with_us() {
    let dir = TempDir::new().expect("a folder");
    let log = dir.path().join("app.log");
    append(&log, 0..1000);
    let agent = Agent::start_in(dir, &to_plain_file(TAIL));
    agent.wait_for(1000);
    assert_eq!(running_with(agent.dir.path()).len(), 1);
    std::fs::rename(&log, agent.dir.path().join("app.log.1")).expect("rotated");
    append(&log, 1000..2000);
    agent.wait_for(2000);
    let ended = agent.stop().well();
    assert_eq!(running_with(ended.dir.path()), [""; 0]);
    let lines = lines_of(&ended.dir.path().join("all.log"));
    assert!(lines.into_iter().eq((0..2000).map(|number| format!("line {number}"))));
}
