//! `kill -9` at random moments under load. `scripts/kill-nine 200` does it two hundred times.
//!
//! After each: every file decodes with the stock tool up to its torn tail, recovery at the next
//! start seals what was open, a second recovery finds nothing, and no finished file is touched.

use crate::harness::{Agent, SYSLOG_TO_FILE, from_environment, lines_of, paths};
use crate::peers::peer;
use std::collections::BTreeMap;
use std::io::Write;
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;
use tempfile::TempDir;

/// Small files, so that a kill also hits rolling and sealing.
fn configuration(codec: &str) -> String {
    let small = "block = { bytes = \"64KiB\", age = \"50ms\" }\nroll = { bytes = \"256KiB\" }\n";
    SYSLOG_TO_FILE
        .replace(r#"block   = { age = "50ms" }"#, small)
        .replace(r#""zstd""#, &format!("{codec:?}"))
}

/// Lines without an end, until the agent is gone.
fn flood(to: SocketAddr) {
    let Ok(mut stream) = TcpStream::connect(to) else { return };
    for count in 0_u64.. {
        let noise = count.wrapping_mul(0x9E37_79B9_7F4A_7C15);
        let line = format!("<13>Nov 21 14:00:00 host app: event {count} {noise:x} served\n");
        if stream.write_all(line.as_bytes()).is_err() {
            return;
        }
    }
}

/// Every file below, with its bytes.
fn contents(folder: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let files = paths(folder, "").into_iter().filter(|path| {
        let name = path.to_string_lossy().into_owned();
        name.contains("out.log")
    });
    files.map(|path| (path.clone(), std::fs::read(&path).unwrap())).collect()
}

fn is_finished(path: &Path) -> bool {
    !path.to_string_lossy().ends_with(".open") && !path.to_string_lossy().ends_with(".bad")
}

/// What the stock tool gets out of a file that may be torn; its exit code does not matter.
fn decoded(tool: &str, bytes: &[u8]) -> Vec<u8> {
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(bytes).unwrap();
    std::io::Seek::rewind(&mut file).unwrap();
    Command::new(tool).arg("-dc").stdin(file).output().unwrap().stdout
}

/// When, and what then.
#[derive(Clone, Copy)]
struct Kill {
    after: Duration,
    recovery: Recovery,
}

/// How an agent's folder is mended: by hand, or by the next start.
#[derive(Clone, Copy)]
enum Recovery {
    Repair,
    Start,
}

fn recover(dir: TempDir, configuration: &str, how: Recovery) -> TempDir {
    match how {
        Recovery::Start => Agent::start_in(dir, configuration).stop().well().dir,
        Recovery::Repair => {
            let flumen = env!("CARGO_BIN_EXE_flumen");
            let output = Command::new(flumen).arg("repair").arg(dir.path()).output().unwrap();
            let errors = String::from_utf8_lossy(&output.stderr);
            assert!(output.status.success(), "repair: {}\n{errors}", output.status);
            dir
        }
    }
}

/// One life of an agent: loaded, killed, looked at, recovered twice.
fn one_kill(dir: TempDir, configuration: &str, tool: &str, kill: Kill) -> TempDir {
    let finished_before: BTreeMap<PathBuf, Vec<u8>> = contents(dir.path());
    let agent = Agent::start_in(dir, configuration);
    let to = agent.tcp("net");
    let sender = std::thread::spawn(move || flood(to));
    agent.wait_for(1);
    std::thread::sleep(kill.after);
    let dir = agent.kill();
    sender.join().unwrap();

    let torn = contents(dir.path());
    for (path, bytes) in &finished_before {
        assert_eq!(torn.get(path), Some(bytes), "{} was finished", path.display());
    }
    for path in torn.keys().filter(|path| is_finished(path)) {
        lines_of(path);
    }

    let dir = recover(dir, configuration, kill.recovery);
    let recovered = contents(dir.path());
    for (path, bytes) in &torn {
        if is_finished(path) {
            assert_eq!(recovered.get(path), Some(bytes), "{} was finished", path.display());
        } else if path.to_string_lossy().ends_with(".open") {
            let sealed = path.with_extension("");
            let before = decoded(tool, bytes);
            let after = recovered.get(&sealed).map(|bytes| decoded(tool, bytes));
            assert!(!recovered.contains_key(path), "{} is still open", path.display());
            // The tool may get a little more out of a torn tail than whole blocks; never less.
            let after = after.unwrap_or_default();
            assert!(before.starts_with(&after), "{}: recovery invented bytes", path.display());
        }
    }
    for path in recovered.keys().filter(|path| is_finished(path)) {
        lines_of(path);
    }
    let dir = recover(dir, configuration, kill.recovery);
    assert!(contents(dir.path()) == recovered, "a second recovery changed something");
    dir
}

fn kill_nine(codec: &str, tool: &str) {
    if peer(tool).is_none() {
        return;
    }
    let kills = from_environment("FLUMEN_KILLS", 3);
    let mut dir = TempDir::new().unwrap();
    let mut random = u64::from(std::process::id()) << 16 | 1;
    for kill in 0..kills {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        let recovery = if kill % 2 == 0 { Recovery::Repair } else { Recovery::Start };
        let after = Duration::from_micros(random % 400_000);
        println!("{codec}: kill {kill} after {after:?}");
        dir = one_kill(dir, &configuration(codec), tool, Kill { after, recovery });
        if kill % 4 == 3 {
            dir = TempDir::new().unwrap();
        }
    }
}

#[test]
fn kill_nine_zstd() {
    kill_nine("zstd", "zstd");
}

#[test]
fn kill_nine_gzip() {
    kill_nine("gzip", "gzip");
}

#[test]
fn kill_nine_lz4() {
    kill_nine("lz4", "lz4");
}
