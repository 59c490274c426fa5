//! Files that grow, while logrotate turns them and we are killed.

use crate::harness::{Agent, lines_of, paths};
use crate::peers::logrotate;
use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::process::Command;
use tempfile::TempDir;

const FOLLOW: &str = r#"
[sources.files]
type          = "taildir"
filegroups    = { app = '{dir}/app\.log.*' }
position_file = "{dir}/state/position.json"
write_pos_interval = "20ms"

[sinks.archive]
type    = "file"
path    = "{dir}/out/all.log"
codec   = "none"
block   = { age = "20ms" }
sync    = "20ms"
"#;

/// A writer as programs are: it holds its file open, and opens it again when it is told.
struct Writer {
    file: File,
    next: u32,
}

impl Writer {
    fn open(path: &Path) -> File {
        File::options().create(true).append(true).open(path).expect("the log")
    }

    fn new(path: &Path) -> Self {
        Self { file: Self::open(path), next: 0 }
    }

    fn write(&mut self, count: u32) {
        let numbers = self.next..self.next + count;
        let lines: String = numbers.map(|number| format!("line {number} of the log\n")).collect();
        self.file.write_all(lines.as_bytes()).expect("the log takes lines");
        self.next += count;
    }
}

/// Turns the log once.
fn turn(program: &Path, dir: &Path, options: &str) {
    let own = dir.join("logrotate.conf");
    let text = format!(
        "\"{}\" {{\n rotate 50\n nocreate\n missingok\n {options}\n}}\n",
        dir.join("app.log").display()
    );
    std::fs::write(&own, text).expect("the configuration");
    let mut command = Command::new(program);
    command.arg("--force").arg("--state").arg(dir.join("logrotate.state")).arg(&own);
    let output = command.output().expect("it starts");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

/// All numbers, in no order.
fn numbers(dir: &Path) -> Vec<u32> {
    let files = paths(&dir.join("out"), "");
    let lines = files.iter().flat_map(|path| lines_of(path));
    let number = |line: String| {
        let number = line.strip_prefix("line ").and_then(|it| it.strip_suffix(" of the log"));
        number.and_then(|it| it.parse().ok()).unwrap_or_else(|| panic!("a torn line: {line}"))
    };
    let mut numbers: Vec<u32> = lines.map(number).collect();
    numbers.sort_unstable();
    numbers
}

#[track_caller]
fn each_once(dir: &Path, count: u32) {
    let found = numbers(dir);
    let twice: Vec<u32> = found.windows(2).filter(|it| it[0] == it[1]).map(|it| it[0]).collect();
    let mut distinct = found;
    distinct.dedup();
    let missing = (0..count).filter(|number| distinct.binary_search(number).is_err());
    let missing: Vec<u32> = missing.collect();
    let ends = |all: &[u32]| (all.len(), all.first().copied(), all.last().copied());
    assert!(
        twice.is_empty() && missing.is_empty(),
        "twice {:?}, missing {:?}",
        ends(&twice),
        ends(&missing)
    );
}

/// Renamed, compressed a round later, the writer late: each line once.
#[test]
fn logrotate_renames_and_compresses() {
    let Some(program) = logrotate() else { return };
    let agent = Agent::start(FOLLOW);
    let dir = agent.dir.path().to_owned();
    let mut writer = Writer::new(&dir.join("app.log"));
    for round in 0..6 {
        writer.write(1000);
        if round % 2 == 0 {
            agent.wait_for(u64::from(writer.next));
        }
        turn(&program, &dir, "compress\n delaycompress");
        // It still has the file that is called otherwise now.
        writer.write(500);
        writer.file = Writer::open(&dir.join("app.log"));
    }
    agent.wait_for(u64::from(writer.next));
    assert!(dir.join("app.log.2.gz").exists());
    let ended = agent.stop().well();
    each_once(ended.dir.path(), writer.next);
}

/// Copied and truncated: each line once, also those of which only the copy tells.
#[test]
fn logrotate_copies_and_truncates() {
    let Some(program) = logrotate() else { return };
    let agent = Agent::start(FOLLOW);
    let dir = agent.dir.path().to_owned();
    let mut writer = Writer::new(&dir.join("app.log"));
    for _ in 0..6 {
        writer.write(1000);
        turn(&program, &dir, "copytruncate");
    }
    writer.write(1000);
    agent.wait_for(u64::from(writer.next));
    let ended = agent.stop().well();
    each_once(ended.dir.path(), writer.next);
}

/// Killed again and again while a log is written and turned: nothing is missing, and what comes
/// twice is what was under way.
#[test]
fn kills_and_rotations_lose_nothing() {
    let Some(program) = logrotate() else { return };
    let mut dir = TempDir::new().expect("a folder");
    let mut writer = Writer::new(&dir.path().join("app.log"));
    for round in 0..6_u32 {
        let agent = Agent::start_in(dir, FOLLOW);
        for _ in 0..20 {
            writer.write(500);
        }
        if round % 2 == 0 {
            // Everything has come through, and that is known.
            let log = agent.dir.path().join("app.log");
            let bytes = log.metadata().expect("the log").len();
            let row = format!(r#""file":"{}","inode":"#, log.display());
            let position = agent.dir.path().join("state/position.json");
            let saved = || std::fs::read_to_string(&position).unwrap_or_default();
            let pos = format!(r#""pos":{bytes}}}"#);
            let known = |line: &str| line.contains(&row) && line.contains(&pos);
            agent.wait("its position", |_| saved().lines().any(known));
        }
        if round % 2 == 1 {
            turn(&program, agent.dir.path(), "");
            writer.write(500);
            writer.file = Writer::open(&agent.dir.path().join("app.log"));
        }
        dir = agent.kill();
        // While nobody looks, too.
        if round == 2 {
            turn(&program, dir.path(), "");
            writer.file = Writer::open(&dir.path().join("app.log"));
        }
        writer.write(100);
    }
    let agent = Agent::start_in(dir, FOLLOW);
    let path = agent.dir.path().to_owned();
    let last = format!("line {} of the log", writer.next - 1);
    agent.wait("the last line", |_| {
        let out = paths(&path.join("out"), "");
        out.iter().any(|path| lines_of(path).contains(&last))
    });
    let ended = agent.stop().well();
    let mut numbers = numbers(&path);
    let all = numbers.len();
    numbers.dedup();
    assert!(numbers.iter().copied().eq(0..writer.next), "of {}: {}", writer.next, numbers.len());
    assert!(all < 2 * numbers.len(), "{all} lines for {}", numbers.len());
    // Started once more, nothing comes again.
    let agent = Agent::start_in(ended.dir, FOLLOW);
    agent.wait_ready(200);
    let ended = agent.stop().well();
    assert_eq!(self::numbers(ended.dir.path()).len(), all);
}
