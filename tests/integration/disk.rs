//! The disk is full, read only, or taken away under us: the agent keeps running, says so on
//! `/readyz` and in one log line, its senders wait, and it goes on by itself. Nothing twice, no
//! half block.

use crate::harness::{Agent, SYSLOG_TO_FILE, lines_of, paths};
use crate::peers::{able, peer, texts};
use std::io::Write;
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use tempfile::TempDir;

fn send(agent: &Agent, texts: &[String]) {
    let mut stream = TcpStream::connect(agent.tcp("net")).unwrap();
    stream.write_all((texts.join("\n") + "\n").as_bytes()).unwrap();
}

/// Lines of the log in which a sink complains; one incident is one line.
fn complaints(log: &str) -> Vec<&str> {
    let complains = |line: &&str| line.contains("ERROR sink") || line.contains("WARN sink");
    log.lines().filter(complains).collect()
}

/// Below `folder`, in the order in which the files were written.
fn all_lines(folder: &Path) -> Vec<String> {
    let files = paths(folder, "").into_iter().filter(|path| path.to_string_lossy().contains("log"));
    files.flat_map(|path| lines_of(&path)).collect()
}

/// A file system of 8 MiB that is all but full.
#[test]
fn a_full_disk() {
    const COUNT: usize = 100_000;
    let Some(mut around) = able("unshare", &["--map-root-user", "--mount"]) else { return };
    let dir = TempDir::new().unwrap();
    let small = dir.path().join("small");
    std::fs::create_dir(&small).unwrap();
    let script = "mount -t tmpfs -o size=8m tmpfs \"$0\" && exec \"$@\"";
    around.args(["sh", "-c", script]).arg(&small);
    let configuration = SYSLOG_TO_FILE
        .replace("{dir}/out.log", "{dir}/small/out.log")
        .replace(r#""zstd""#, r#""none""#);
    let agent = Agent::start_through(around, dir, &configuration);
    // Kept open, the file system outlives the process that mounted it.
    let mounted = std::fs::File::open(agent.inside(&small)).unwrap();
    let filler = agent.inside(&small).join("filler");
    std::fs::write(&filler, vec![0; 6 << 20]).unwrap();

    let texts = texts(COUNT);
    send(&agent, &texts);
    let said = agent.wait_ready(503);
    assert!(said.contains("space"), "{said:?}");
    let log = agent.log();
    assert_eq!(complaints(&log).len(), 1, "one line for one incident:\n{log}");
    let ledger = agent.ledger();
    assert_eq!(ledger["adds_up"], true, "{ledger:#}");
    assert!(ledger["channels"][0]["waiting_events"].as_u64().unwrap() > 0);

    std::fs::remove_file(&filler).unwrap();
    agent.wait_for(COUNT as u64);
    agent.wait_ready(200);
    agent.stop().well();
    let root = std::os::fd::AsRawFd::as_raw_fd(&mounted);
    let files = format!("/proc/self/fd/{root}/");
    assert_eq!(paths(Path::new(&files), "").len(), 1, "one file, and nothing beside it");
    assert!(all_lines(Path::new(&files)) == texts, "every event, once, in order");
}

/// The folder may no longer be written while a file is rolled; root would not notice.
#[test]
fn a_read_only_folder() {
    let caps = "-dac_override,-dac_read_search";
    let flags = ["--bounding-set", caps, "--inh-caps", caps];
    let root = rustix::process::geteuid().is_root();
    let flags = if root { &flags[..] } else { &[] };
    let Some(around) = able("setpriv", flags).filter(|_| peer("zstd").is_some()) else { return };
    let dir = TempDir::new().unwrap();
    let logs = dir.path().join("logs");
    let configuration = SYSLOG_TO_FILE.replace("{dir}/out.log", "{dir}/logs/out.log");
    let agent = Agent::start_through(around, dir, &configuration);
    let texts = texts(3000);
    send(&agent, &texts[..1000]);
    agent.wait_for(1000);

    // The open file can still be written and synced; it cannot be renamed, nor another begun.
    std::fs::set_permissions(&logs, PermissionsExt::from_mode(0o555)).unwrap();
    agent.signal(rustix::process::Signal::USR1);
    send(&agent, &texts[1000..2000]);
    let said = agent.wait_ready(503);
    assert!(said.contains("ermission denied"), "{said:?}");
    assert_eq!(agent.ledger()["adds_up"], true);

    std::fs::set_permissions(&logs, PermissionsExt::from_mode(0o755)).unwrap();
    agent.wait_for(2000);
    agent.wait_ready(200);
    send(&agent, &texts[2000..]);
    agent.wait_for(3000);
    let ended = agent.stop().well();
    let mut lines = all_lines(&ended.dir.path().join("logs"));
    lines.sort();
    assert!(lines == texts, "every event, once");
}

/// A folder that cannot be written is refused at the start, with what to do about it.
#[test]
fn a_folder_that_cannot_be_made() {
    let dir = TempDir::new().unwrap();
    std::fs::write(dir.path().join("logs"), "a file, not a folder").unwrap();
    let configuration = SYSLOG_TO_FILE
        .replace("{dir}/out.log", "{dir}/logs/out.log")
        .replace("{dir}", dir.path().to_str().unwrap());
    let file = dir.path().join("flumen.toml");
    std::fs::write(&file, configuration).unwrap();
    let output = std::process::Command::new(env!("CARGO_BIN_EXE_flumen"))
        .arg("run")
        .arg(&file)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{said}");
    assert!(said.contains("logs") && said.contains("archive"), "{said}");
}

/// The folder is renamed away: what stands in its file stays there, a new one is begun.
#[test]
fn a_folder_moved_away() {
    let agent = Agent::start(&SYSLOG_TO_FILE.replace("{dir}/out.log", "{dir}/logs/out.log"));
    let texts = texts(2000);
    send(&agent, &texts[..1000]);
    agent.wait_for(1000);
    let (logs, moved) = (agent.dir.path().join("logs"), agent.dir.path().join("moved"));
    std::fs::rename(&logs, &moved).unwrap();
    let mut late = Vec::new();
    agent.wait("a new file is begun", |_| {
        late.push(format!("after the move {}", late.len()));
        send(&agent, &late[late.len() - 1..]);
        logs.join("out.log.zst.open").exists()
    });
    send(&agent, &texts[1000..]);
    agent.wait_for((2000 + late.len()) as u64);
    // What was moved away is its owner's now, `.open` and all.
    let ended = agent.stop();
    assert!(ended.status.success(), "{}", ended.log);
    std::fs::rename(moved.join("out.log.zst.open"), moved.join("out.log.zst")).unwrap();
    let mut lines = lines_of(&moved.join("out.log.zst"));
    assert!(lines.len() >= 1000, "what was written before the move is where it was moved");
    lines.extend(lines_of(&ended.dir.path().join("logs/out.log.zst")));
    let expected = [&texts[..1000], &late, &texts[1000..]].concat();
    assert!(lines == expected, "every event, once, in order");
}

/// The open file is deleted: what was in it is gone with it, all that comes later is kept.
#[test]
fn a_file_deleted() {
    let agent = Agent::start(SYSLOG_TO_FILE);
    let texts = texts(1000);
    send(&agent, &texts);
    agent.wait_for(1000);
    let open = agent.dir.path().join("out.log.zst.open");
    std::fs::remove_file(&open).unwrap();
    agent.wait("the deletion is noticed", |_| {
        send(&agent, &texts[..1]);
        open.exists()
    });
    agent.wait("everything is written", |ledger| ledger["channels"][0]["waiting_events"] == 0);
    let before = agent.ledger()["sources"][0]["received_events"].as_u64().unwrap();
    send(&agent, &texts);
    agent.wait_for(before + 1000);
    let log = agent.log();
    assert_eq!(complaints(&log).len(), 1, "one line for one incident:\n{log}");
    let lines = agent.stop().well().lines("out.log.zst");
    assert!(lines.ends_with(&texts), "the later events, once, in order");
}
