//! `kill -9` at random moments under load. `scripts/kill-nine 200` does it two hundred times.
//!
//! After each: every file decodes with the stock tool up to its torn tail, recovery seals what was
//! open and says what it cut, being killed itself does not disturb it, a second one finds nothing,
//! and no finished file is touched. At the end nothing is doubled, corrupted or out of order, and
//! of what came over TCP nothing is missing between the first line and the last.

use crate::harness::{Agent, SYSLOG_TO_FILE, from_environment, lines_of, paths, written};
use crate::numbered::{Senders, archive, number};
use crate::peers::peer;
use std::collections::{BTreeMap, HashMap};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;
use tempfile::TempDir;

/// Senders of one life of an agent: their numbers differ from those of every other life.
const TCP: usize = 2;
const UDP: usize = 1;
/// So many lives in one folder.
const LIVES: usize = 4;

/// Small files, so that a kill also hits rolling and sealing.
fn configuration(codec: &str) -> String {
    let small = "block = { bytes = \"64KiB\", age = \"50ms\" }\nroll = { bytes = \"256KiB\" }\n\
                 threads = 2\nsync = \"100ms\"\n";
    SYSLOG_TO_FILE
        .replace(r#"block   = { age = "50ms" }"#, small)
        .replace(r#""zstd""#, &format!("{codec:?}"))
}

type Files = BTreeMap<PathBuf, Vec<u8>>;

/// Every file of the sink below, with its bytes.
fn contents(folder: &Path) -> Files {
    let files = paths(folder, "").into_iter().filter(|path| name(path).contains("out.log"));
    files.map(|path| (path.clone(), std::fs::read(&path).unwrap())).collect()
}

fn name(path: &Path) -> String {
    path.file_name().unwrap().to_string_lossy().into_owned()
}

fn is_finished(path: &Path) -> bool {
    ![".open", ".bad"].iter().any(|suffix| name(path).ends_with(suffix))
}

/// What the stock tool gets out of a file that may be torn; its exit code does not matter.
fn decoded(codec: &str, bytes: &[u8]) -> Vec<u8> {
    if codec == "none" {
        return bytes.to_vec();
    }
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(bytes).unwrap();
    std::io::Seek::rewind(&mut file).unwrap();
    Command::new(tool(codec)).arg("-dc").stdin(file).output().unwrap().stdout
}

fn tool(codec: &str) -> &str {
    if codec == "lzo" { "lzop" } else { codec }
}

/// How an agent's folder is mended.
#[derive(Clone, Copy)]
enum Recovery {
    /// By the next start.
    Start,
    /// By hand.
    Repair,
    /// By hand, and the hand is killed after so long; then once more.
    KilledRepair(Duration),
}

fn repair(folder: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_flumen"));
    command.arg("repair").arg(folder).stdin(Stdio::null());
    command
}

/// Mends the folder; what was said about it.
fn recover(dir: TempDir, configuration: &str, how: Recovery) -> (TempDir, String) {
    match how {
        Recovery::Start => {
            let ended = Agent::start_in(dir, configuration).stop().well();
            (ended.dir, ended.log)
        }
        Recovery::Repair => {
            let output = repair(dir.path()).output().unwrap();
            let errors = String::from_utf8_lossy(&output.stderr);
            assert!(output.status.success(), "repair: {}\n{errors}", output.status);
            let text = String::from_utf8_lossy(&output.stdout).into_owned();
            (dir, text)
        }
        Recovery::KilledRepair(after) => {
            let mut child = repair(dir.path()).stdout(Stdio::null()).spawn().unwrap();
            std::thread::sleep(after);
            let _ = child.kill();
            child.wait().unwrap();
            recover(dir, configuration, Recovery::Repair)
        }
    }
}

/// Loaded, and killed after so long.
fn live(dir: TempDir, configuration: &str, life: usize, after: Duration) -> TempDir {
    let agent = Agent::start_in(dir, configuration);
    let first = life * (TCP + UDP);
    let tcp = Senders::tcp_from(agent.tcp("net"), first, TCP);
    let udp = Senders::udp_from(agent.udp("net"), first + TCP, UDP);
    agent.wait("something is written", |ledger| written(ledger) > 0);
    std::thread::sleep(after);
    let dir = agent.kill();
    tcp.stop();
    udp.stop();
    dir
}

/// What the kill left behind: nothing finished is other than it was, and everything decodes.
fn check_torn(before: &Files, torn: &Files) {
    for (path, bytes) in before {
        assert!(torn.get(path) == Some(bytes), "{} was finished", path.display());
    }
    for path in torn.keys().filter(|path| is_finished(path)) {
        lines_of(path);
    }
}

/// What recovery made of it, and what it says it did.
fn check_recovered(codec: &str, torn: &Files, recovered: &Files, said: Option<&str>) {
    for (path, bytes) in torn {
        if is_finished(path) {
            assert!(recovered.get(path) == Some(bytes), "{} was finished", path.display());
            continue;
        }
        if name(path).ends_with(".bad") {
            continue;
        }
        assert!(!recovered.contains_key(path), "{} is still open", path.display());
        let sealed = recovered.get(&path.with_extension(""));
        // The tool may get a little more out of a torn tail than whole blocks; never less.
        let (before, after) = (decoded(codec, bytes), sealed.map(|bytes| decoded(codec, bytes)));
        let after = after.unwrap_or_default();
        assert!(before.starts_with(&after), "{}: recovery invented bytes", path.display());
        let Some(said) = said else { continue };
        let line = said.lines().find(|line| line.contains(&name(path)));
        let line = line.unwrap_or_else(|| panic!("nothing about {}: {said}", path.display()));
        let words: Vec<&str> = line.split(' ').collect();
        let cut = words.windows(3).find(|words| words[1] == "bytes" && words[2] == "cut");
        let cut: usize = cut.map_or(0, |words| words[0].parse().unwrap());
        if cut > 0 {
            let whole = decoded(codec, &bytes[..bytes.len() - cut]);
            assert!(whole == after, "{cut} bytes are not what was cut: {line}");
        }
    }
    for path in recovered.keys().filter(|path| is_finished(path)) {
        lines_of(path);
    }
}

/// All lives of a folder: each sender's lines in order, once, and over TCP without a gap.
fn check_archive(folder: &Path) -> u64 {
    let mut next: HashMap<usize, u64> = HashMap::new();
    let lines = archive(folder);
    for line in &lines {
        let (sender, count) = number(line);
        let next = next.entry(sender).or_default();
        if sender % (TCP + UDP) < TCP {
            assert_eq!(count, *next, "the next line of sender {sender}");
        } else {
            assert!(count >= *next, "{count} came after {next} of sender {sender}");
        }
        *next = count + 1;
    }
    lines.len() as u64
}

fn kill_nine(codec: &str) {
    if codec != "none" && peer(tool(codec)).is_none() {
        return;
    }
    let configuration = configuration(codec);
    let kills = from_environment("FLUMEN_KILLS", 5);
    let mut dir = TempDir::new().unwrap();
    let (mut random, mut events) = (u64::from(std::process::id()) << 16 | 1, 0);
    for kill in 0..kills {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        let after = Duration::from_micros(random % 400_000);
        let recovery = match kill % 3 {
            0 => Recovery::Repair,
            1 => Recovery::Start,
            _ => Recovery::KilledRepair(Duration::from_micros(random >> 20 & 0x7FFF)),
        };
        let finished_before: Files =
            contents(dir.path()).into_iter().filter(|(path, _)| is_finished(path)).collect();
        dir = live(dir, &configuration, kill as usize % LIVES, after);
        let torn = contents(dir.path());
        check_torn(&finished_before, &torn);

        let said;
        (dir, said) = recover(dir, &configuration, recovery);
        let recovered = contents(dir.path());
        let said = (!matches!(recovery, Recovery::KilledRepair(_))).then_some(&*said);
        check_recovered(codec, &torn, &recovered, said);
        (dir, _) = recover(dir, &configuration, recovery);
        assert!(contents(dir.path()) == recovered, "a second recovery changed something");
        if kill % LIVES as u64 == LIVES as u64 - 1 || kill + 1 == kills {
            events += check_archive(dir.path());
            dir = TempDir::new().unwrap();
        }
    }
    println!("{codec}: {kills} kills, {events} events in the files");
}

#[test]
fn kill_nine_zstd() {
    kill_nine("zstd");
}

#[test]
fn kill_nine_gzip() {
    kill_nine("gzip");
}

#[test]
fn kill_nine_lz4() {
    kill_nine("lz4");
}

#[test]
#[cfg(feature = "lzo")]
fn kill_nine_lzo() {
    kill_nine("lzo");
}

#[test]
fn kill_nine_plain() {
    kill_nine("none");
}
