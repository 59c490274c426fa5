//! What a disk does to an agent: full, read-only, its files deleted, its folders moved away. The
//! agent goes on, says it once in the log and on `/readyz`, TCP senders wait and datagrams are
//! counted, and it resumes by itself; nothing is written twice and no half block is left.

use crate::harness::{Agent, SYSLOG_TO_FILE, lines_of, paths, sum, until, written};
use crate::numbered::{
    Senders, archive, assert_all, assert_ordered, assert_rising, assert_unbroken, line, number,
};
use crate::peers::{able, peer};
use crate::small_disk::Disk;
use std::io::Write;
use std::net::{SocketAddr, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Stdio};
use tempfile::TempDir;

/// A channel that is full soon, and files on the small disk.
fn on_disk(codec: &str, more: &str) -> String {
    SYSLOG_TO_FILE
        .replace(r#"type = "memory""#, "type = \"memory\"\ncapacity = \"4MiB\"")
        .replace("{dir}", "{disk}")
        .replace(r#""zstd""#, &format!("{codec:?}\n{more}"))
}

/// Waits until `/readyz` says it for this reason, and everything stands still.
#[track_caller]
fn wait_blocked(agent: &Agent, reason: &str) {
    let blocked = until(|| {
        let (status, body) = agent.page("/readyz");
        status == 503 && body.contains("sink archive") && body.contains(reason)
    });
    assert!(blocked, "never blocked by {reason}: {:?}\n{}", agent.page("/readyz"), agent.log());
}

/// One line when it began, one when it was over.
#[track_caller]
fn assert_told(log: &str, reason: &str, times: usize) {
    let began = log.lines().filter(|line| line.contains("ERROR") && line.contains(reason));
    let over = log.lines().filter(|line| line.contains("recovered after") && line.contains(reason));
    assert_eq!((began.count(), over.count()), (times, times), "{log}");
}

/// The agent takes nothing more: what it has received no longer grows.
#[track_caller]
fn wait_stalled(agent: &Agent) -> u64 {
    agent.wait_still("events received", |ledger| sum(&ledger["sources"], "received_events"))
}

/// Full, more room, full again, and room enough: senders wait each time and every line is there.
fn disk_full(codec: &str, more: &str) {
    let Some(disk) = Disk::of("4m") else { return };
    let agent = disk.start(&on_disk(codec, more));
    let senders = Senders::tcp(agent.tcp("net"), 3);
    let mut received = 0;
    for size in ["size=12m", "size=400m"] {
        wait_blocked(&agent, "No space left on device");
        let now = wait_stalled(&agent);
        assert!(now > received, "it went on between");
        received = now;
        // No half block is left behind: what is there decodes without an error.
        for open in paths(&disk.path(), ".open") {
            assert_whole(&open, codec);
        }
        let before = written(&agent.ledger());
        assert!(disk.remount(size));
        agent.wait("there is room", |ledger| written(ledger) > before);
    }
    agent.wait_ready(200);
    let enough = received + 50_000;
    agent.wait("it goes on", |ledger| written(ledger) > enough);
    let sent = senders.stop();
    agent.wait_for(sent.iter().sum());
    let ended = agent.stop().well();
    // Full again within seconds is the same incident; on a slow machine it takes longer.
    let times = if ended.log.matches("ERROR").count() == 2 { 2 } else { 1 };
    assert_told(&ended.log, "No space left on device", times);
    assert!(paths(&disk.path(), ".open").is_empty() && paths(&disk.path(), ".bad").is_empty());
    assert_all(&archive(&disk.path()), &sent);
}

/// The stock tool reads a file that is still open to its end, without an error.
#[track_caller]
fn assert_whole(open: &Path, codec: &str) {
    let bytes = std::fs::read(open).unwrap();
    if bytes.is_empty() {
        return;
    }
    let suffix = match codec {
        "zstd" => "zst",
        "gzip" => "gz",
        other => other,
    };
    let mut copy = tempfile::Builder::new().suffix(&format!(".{suffix}")).tempfile().unwrap();
    copy.write_all(&bytes).unwrap();
    // Files before it may have been rolled: it begins anywhere.
    assert_unbroken(&lines_of(copy.path()), 3);
}

#[test]
fn a_full_disk_zstd() {
    if peer("zstd").is_some() {
        disk_full("zstd", "");
    }
}

/// Files that roll often: the index of a file finds no room either.
#[test]
fn a_full_disk_and_small_files() {
    if peer("zstd").is_some() {
        disk_full("zstd", "roll = { bytes = \"300KiB\" }\nthreads = 2");
    }
}

#[test]
fn a_full_disk_gzip_synced_by_the_block() {
    if peer("gzip").is_some() {
        disk_full("gzip", "sync = \"block\"");
    }
}

#[test]
fn a_full_disk_plain() {
    disk_full("none", "roll = { bytes = \"1MiB\" }");
}

/// Datagrams do not wait: they are counted, by the kernel or by the channel.
fn disk_full_datagrams(when_full: &str, reason: &str) {
    let Some(disk) = Disk::of("4m") else { return };
    let full = format!("capacity = \"4MiB\"\nwhen_full = {when_full:?}");
    let configuration = on_disk("none", "")
        .replace(r#"capacity = "4MiB""#, &full)
        .replace("[sources.net]", "[sources.net]\nreceive_buffer = \"256KiB\"");
    let agent = disk.start(&configuration);
    let senders = Senders::udp(agent.udp("net"), 2);
    wait_blocked(&agent, "No space left on device");
    let place = if reason == "kernel" { "sources" } else { "channels" };
    let lost =
        |ledger: &serde_json::Value| ledger[place][0]["lost_events"][reason].as_u64().unwrap();
    agent.wait("some are lost", |ledger| lost(ledger) > 10_000);
    let before = written(&agent.ledger());
    assert!(disk.remount("size=1g"));
    agent.wait_ready(200);
    agent.wait("it goes on", |ledger| written(ledger) > before + 10_000);
    let sent: u64 = senders.stop().iter().sum();
    let ledger = agent.wait("all is accounted for", |ledger| {
        written(ledger) + ledger["lost_events"].as_u64().unwrap() == sent
    });
    let ended = agent.stop().well();
    assert_told(&ended.log, "No space left on device", 1);
    let lost = ledger["lost_events"].as_u64().unwrap();
    assert_eq!(assert_rising(&archive(&disk.path()), 2) + lost, sent);
}

#[test]
fn a_full_disk_and_datagrams_that_wait() {
    disk_full_datagrams("wait", "kernel");
}

#[test]
fn a_full_disk_and_datagrams_that_are_dropped() {
    disk_full_datagrams("drop_newest", "channel_full");
}

fn send(to: SocketAddr, numbers: std::ops::Range<u64>) {
    let lines: String = numbers.map(|number| line(0, number) + "\n").collect();
    TcpStream::connect(to).unwrap().write_all(lines.as_bytes()).unwrap();
}

#[test]
fn a_disk_that_becomes_read_only() {
    let Some(disk) = Disk::of("64m") else { return };
    let agent = disk.start(&on_disk("none", "roll = { idle = \"1s\" }"));
    send(agent.tcp("net"), 0..10);
    agent.wait_for(10);
    // A disk with files open for writing cannot be made read-only: the agent finishes its own.
    let finished = || paths(&disk.path(), ".open").is_empty();
    assert!(until(finished) && until(|| disk.remount("ro")));
    send(agent.tcp("net"), 10..20);
    wait_blocked(&agent, "Read-only file system");
    assert_eq!(written(&agent.ledger()), 10);
    assert!(disk.remount("rw"));
    agent.wait_for(20);
    agent.wait_ready(200);
    let ended = agent.stop().well();
    assert_told(&ended.log, "Read-only file system", 1);
    assert_all(&archive(&disk.path()), &[20]);
}

/// The folder may no longer be written while a file is rolled; root would not notice.
#[test]
fn a_folder_that_becomes_read_only() {
    let caps = "-dac_override,-dac_read_search";
    let flags = ["--bounding-set", caps, "--inh-caps", caps];
    let root = rustix::process::geteuid().is_root();
    let Some(around) = able("setpriv", if root { &flags[..] } else { &[] }) else { return };
    let configuration = on_disk("none", "").replace("{disk}/out.log", "{dir}/logs/out.log");
    let agent = Agent::start_through(around, TempDir::new().unwrap(), &configuration);
    let logs = agent.dir.path().join("logs");
    send(agent.tcp("net"), 0..10);
    agent.wait_for(10);

    // The open file can still be written and synced; it cannot be renamed, nor another begun.
    std::fs::set_permissions(&logs, PermissionsExt::from_mode(0o555)).unwrap();
    agent.signal(rustix::process::Signal::USR1);
    send(agent.tcp("net"), 10..20);
    wait_blocked(&agent, "ermission denied");
    assert_eq!(agent.ledger()["adds_up"], true);
    std::fs::set_permissions(&logs, PermissionsExt::from_mode(0o755)).unwrap();
    agent.wait_for(20);
    agent.wait_ready(200);
    let ended = agent.stop().well();
    let mut lines = archive(ended.dir.path());
    lines.sort_by_key(|line| number(line));
    assert_all(&lines, &[20]);
}

/// Nobody but we hold it down: the limit of file sizes does what a quota does.
#[test]
fn a_limit_of_file_sizes() {
    let limit = |agent: &Agent, bytes: &str| {
        let id = agent.id().to_string();
        let mut command = Command::new("prlimit");
        command.args(["--pid", &id, &format!("--fsize={bytes}:unlimited")]);
        assert!(command.status().expect("util-linux has prlimit").success());
    };
    let configuration = on_disk("none", "").replace("{disk}", "{dir}");
    let agent = Agent::start(&configuration);
    limit(&agent, "1000000");
    let senders = Senders::tcp(agent.tcp("net"), 3);
    wait_blocked(&agent, "File too large");
    wait_stalled(&agent);
    let open = paths(agent.dir.path(), ".open");
    assert_whole(&open[0], "none");
    limit(&agent, "unlimited");
    agent.wait_ready(200);
    let sent = senders.stop();
    agent.wait_for(sent.iter().sum());
    let ended = agent.stop().well();
    assert_told(&ended.log, "File too large", 1);
    assert_all(&archive(ended.dir.path()), &sent);
}

/// Whatever is synced, and when: within seconds the agent sees that its file is gone.
#[test]
fn a_file_that_is_deleted() {
    for sync in ["1s", "block", "never", "1h"] {
        let more = format!("sync = {sync:?}");
        let agent = Agent::start(&on_disk("none", &more).replace("{disk}", "{dir}"));
        send(agent.tcp("net"), 0..10);
        agent.wait_for(10);
        std::fs::remove_file(agent.dir.path().join("out.log.open")).unwrap();
        if sync == "block" {
            // It has nothing to look after until the next block, which it cannot know to be gone.
            send(agent.tcp("net"), 10..20);
            agent.wait_for(20);
        }
        let seen = until(|| agent.log().contains("deleted or moved away"));
        assert!(seen, "sync = {sync}: {}", agent.log());
        let before = written(&agent.ledger());
        send(agent.tcp("net"), 20..30);
        agent.wait_for(before + 10);
        assert_eq!(agent.page("/readyz").0, 200);
        let ended = agent.stop().well();
        let lines: Vec<String> = (20..30).map(|number| line(0, number)).collect();
        assert_eq!(archive(ended.dir.path()), lines, "sync = {sync}");
        assert_eq!(ended.log.matches("deleted or moved away").count(), 1, "{}", ended.log);
    }
}

#[test]
fn a_folder_that_is_moved_away() {
    let configuration = on_disk("none", "").replace("{disk}/out.log", "{dir}/logs/out.log");
    let agent = Agent::start(&configuration);
    let (logs, moved) = (agent.dir.path().join("logs"), agent.dir.path().join("moved"));
    let senders = Senders::tcp(agent.tcp("net"), 3);
    agent.wait("something is written", |ledger| written(ledger) > 10_000);
    std::fs::rename(&logs, &moved).unwrap();
    let new_file = || logs.join("out.log.open").exists();
    assert!(until(new_file), "{}", agent.log());
    let before = written(&agent.ledger());
    agent.wait("it goes on", |ledger| written(ledger) > before + 10_000);
    let sent = senders.stop();
    agent.wait_for(sent.iter().sum());
    assert_eq!(agent.page("/readyz").0, 200);
    let ended = agent.stop();
    assert!(ended.status.success(), "{}", ended.log);
    // What went away is whole, and repaired where it is.
    let mut repair = Command::new(env!("CARGO_BIN_EXE_flumen"));
    let done = repair.arg("repair").arg(&moved).stdout(Stdio::null()).stderr(Stdio::null());
    assert!(done.status().unwrap().success());
    let lines = [lines_of(&moved.join("out.log")), lines_of(&logs.join("out.log"))].concat();
    assert_all(&lines, &sent);
}

/// Where the folder was stands a file: nothing can be opened until somebody clears it away.
#[test]
fn a_folder_that_becomes_a_file() {
    let more = "roll = { idle = \"1s\" }";
    let configuration = on_disk("none", more).replace("{disk}/out.log", "{dir}/logs/out.log");
    let agent = Agent::start(&configuration);
    let logs = agent.dir.path().join("logs");
    send(agent.tcp("net"), 0..10);
    agent.wait_for(10);
    assert!(until(|| paths(&logs, ".open").is_empty()));
    std::fs::rename(&logs, agent.dir.path().join("moved")).unwrap();
    std::fs::write(&logs, "in the way").unwrap();
    send(agent.tcp("net"), 10..20);
    wait_blocked(&agent, "logs");
    std::fs::remove_file(&logs).unwrap();
    agent.wait_for(20);
    agent.wait_ready(200);
    let ended = agent.stop().well();
    let moved = lines_of(&ended.dir.path().join("moved/out.log"));
    let lines = [moved, lines_of(&ended.dir.path().join("logs/out.log"))].concat();
    assert_all(&lines, &[20]);
}

/// Stopped while the disk is full: what did not get out is counted, and the exit says it.
#[test]
fn stopped_with_a_full_disk() {
    let Some(disk) = Disk::of("4m") else { return };
    let agent = disk.start(&on_disk("none", "").replace("[agent]", "[agent]\ndrain = \"1s\""));
    let senders = Senders::tcp(agent.tcp("net"), 3);
    wait_blocked(&agent, "No space left on device");
    wait_stalled(&agent);
    let ended = agent.stop();
    senders.stop();
    assert_eq!(ended.status.code(), Some(1), "{}", ended.log);
    assert!(ended.log.contains("adds up") && ended.log.contains("shutdown"), "{}", ended.log);
    let out = |line: &str| -> u64 {
        let behind = line.split("+ written ").nth(1).unwrap();
        behind.split(' ').next().unwrap().parse().unwrap()
    };
    let line = ended.log.lines().rev().find(|line| line.contains("ledger of")).unwrap();
    // The file could not be finished, but what is counted as written is in it, and no more.
    let files = [paths(&disk.path(), ".open"), paths(&disk.path(), ".log")].concat();
    let lines: Vec<String> = files.iter().flat_map(|file| lines_of(file)).collect();
    assert_eq!(assert_ordered(&lines, 3).iter().sum::<u64>(), out(line), "{line}");
}
