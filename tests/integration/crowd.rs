//! Many connections: ten thousand at once, a thousand that hardly speak, those that come and go,
//! those that vanish, and more than there are descriptors for.

use crate::harness::{Agent, DEADLINE, SYSLOG_TO_FILE, from_environment, sum, until, written};
use crate::numbered::{archive, assert_all, assert_ordered, line};
use crate::peers::{able, missing, peer};
use serde_json::Value;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// Of `agent.memory`, and what may be beside it.
const MEMORY_MAX: u64 = (64 + 32) << 20;

fn plain() -> String {
    SYSLOG_TO_FILE.replace(r#""zstd""#, r#""none""#)
}

fn connections(ledger: &Value) -> u64 {
    sum(&ledger["sources"], "open_connections")
}

#[track_caller]
fn assert_memory(agent: &Agent) {
    let resident = agent.resident_bytes();
    assert!(resident <= MEMORY_MAX, "{} MiB resident", resident >> 20);
}

fn blast(to: SocketAddr, manifest: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_flumen"));
    command.args(["blast", &format!("tcp://{to}"), "--manifest"]).arg(manifest).args(arguments);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
    command
}

/// What was sent and what is in the folder are the same events.
#[track_caller]
fn audit(manifest: &Path, folder: &Path) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_flumen"));
    let output = command.args(["audit", "--manifest"]).arg(manifest).arg(folder).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{text}{}", String::from_utf8_lossy(&output.stderr));
}

/// The senders have a process of their own, or the descriptors would not do.
#[test]
fn ten_thousand_connections_at_once() {
    const COUNT: u64 = 10_000;
    let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile);
    if limit.maximum.is_some_and(|files| files < COUNT / 3 * 4 + 200) {
        missing("a limit of 13600 open files (ulimit -n)");
        return;
    }
    let agent = Agent::start(SYSLOG_TO_FILE);
    let manifest = agent.dir.path().join("sent.json");
    let arguments = ["--connections", "10000", "--rate", "50k", "--count", "200k"];
    let mut sender = blast(agent.tcp("net"), &manifest, &arguments).spawn().unwrap();
    let mut most = 0;
    let ended = until(|| {
        most = most.max(connections(&agent.ledger()));
        assert_memory(&agent);
        sender.try_wait().unwrap().is_some()
    });
    let _ = sender.kill();
    let status = sender.wait().unwrap();
    let mut text = String::new();
    sender.stderr.take().unwrap().read_to_string(&mut text).unwrap();
    assert!(ended && status.success(), "{status}: {text}");
    assert_eq!(most, COUNT, "at once");
    agent.wait_for(200_000);
    agent.wait("everybody has gone", |ledger| connections(ledger) == 0);
    let ended = agent.stop().well();
    audit(&manifest, ended.dir.path());
}

/// An event a second from each of a thousand: batches do not pile up, and none waits for long.
/// `scripts/hard-input` does it for a minute.
#[test]
fn a_thousand_that_hardly_speak() {
    const CONNECTIONS: usize = 1000;
    let seconds = from_environment("FLUMEN_TRICKLE_SECONDS", 4);
    let agent = Agent::start(&plain());
    let to = agent.tcp("net");
    let mut streams: Vec<_> = (0..CONNECTIONS).map(|_| TcpStream::connect(to).unwrap()).collect();
    agent.wait("all are there", |ledger| connections(ledger) == CONNECTIONS as u64);
    let batches = agent.ledger()["pool"]["batches"].as_u64().unwrap();
    let (mut sent, mut in_use) = (vec![0; CONNECTIONS], 0);
    let started = Instant::now();
    // In a second each has its turn once.
    for turn in 0..seconds as usize * CONNECTIONS {
        let sender = turn % CONNECTIONS;
        streams[sender].write_all((line(sender, sent[sender]) + "\n").as_bytes()).unwrap();
        sent[sender] += 1;
        if turn % 100 == 99 {
            let due = Duration::from_millis(turn as u64 + 1);
            std::thread::sleep(due.saturating_sub(started.elapsed()));
            let free = agent.ledger()["pool"]["free"].as_u64().unwrap();
            in_use = in_use.max(batches - free);
            assert_memory(&agent);
        }
    }
    // Nothing more comes that could push the last ones out: their block's age does.
    let last = Instant::now();
    agent.wait_for(sent.iter().sum());
    assert!(last.elapsed() < DEADLINE / 3, "the last waited {:?}", last.elapsed());
    println!(
        "{} events in {:?}, {in_use} of {batches} batches in use",
        sum_of(&sent),
        last - started
    );
    assert!(in_use <= 8, "{in_use} of {batches} batches were in use");
    let ended = agent.stop().well();
    assert_all(&archive(ended.dir.path()), &sent);
}

fn sum_of(sent: &[u64]) -> u64 {
    sent.iter().sum()
}

/// Twenty bytes a line at full rate: the records of a batch weigh more than its bytes.
#[test]
fn short_lines_at_full_rate() {
    let agent = Agent::start(SYSLOG_TO_FILE);
    let mut stream = TcpStream::connect(agent.tcp("net")).unwrap();
    const COUNT: u64 = 500_000;
    for first in (0..COUNT).step_by(10_000) {
        let lines: String = (first..first + 10_000).map(|n| format!("{n:019}\n")).collect();
        stream.write_all(lines.as_bytes()).unwrap();
        assert_memory(&agent);
    }
    drop(stream);
    agent.wait_for(COUNT);
    let ended = agent.stop().well();
    let lines = ended.lines("out.log.zst");
    assert!(lines.iter().enumerate().all(|(n, line)| line.parse() == Ok(n)), "in order");
    assert_eq!(lines.len() as u64, COUNT);
}

fn descriptors(agent: &Agent) -> usize {
    std::fs::read_dir(format!("/proc/{}/fd", agent.id())).unwrap().count()
}

#[test]
fn connections_that_come_and_go() {
    const SENDERS: usize = 4;
    const TIMES: u64 = 500;
    let agent = Agent::start(&plain());
    let to = agent.tcp("net");
    let come_and_go = |sender: usize| {
        for time in 0..TIMES {
            let mut stream = TcpStream::connect(to).unwrap();
            // Nothing, one line, three, and one without its newline.
            let text = match time % 4 {
                0 => String::new(),
                1 => line(sender, time) + "\n",
                2 => (0..3).map(|_| line(sender, time) + "\n").collect(),
                _ => line(sender, time),
            };
            stream.write_all(text.as_bytes()).unwrap();
        }
    };
    let before = descriptors(&agent);
    std::thread::scope(|scope| {
        for sender in 0..SENDERS {
            scope.spawn(move || come_and_go(sender));
        }
    });
    let expected = SENDERS as u64 * TIMES / 4 * 5;
    agent.wait_for(expected);
    agent.wait("everybody has gone", |ledger| connections(ledger) == 0);
    // The file it has opened, and a client of the admin endpoint.
    assert!(descriptors(&agent) <= before + 4, "{before} before, {} now", descriptors(&agent));
    let ended = agent.stop().well();
    let mut lines = ended.lines("out.log");
    let mut sent: Vec<String> = (0..SENDERS)
        .flat_map(|sender| (0..TIMES).map(move |time| (sender, time)))
        .flat_map(|(sender, time)| vec![line(sender, time); [0, 1, 3, 1][time as usize % 4]])
        .collect();
    lines.sort();
    sent.sort();
    assert!(lines == sent, "every line of every connection");
}

/// Half a line, then neither a FIN nor a reset: what a peer leaves behind that loses its power.
const VANISH: &str = r#"
import socket, sys
TCP_REPAIR = 19
s = socket.create_connection(("127.0.0.1", int(sys.argv[1])))
s.sendall(b"whole\nhalf a li")
sys.stdin.read()
s.setsockopt(socket.IPPROTO_TCP, TCP_REPAIR, 1)
s.close()
"#;

#[test]
fn senders_that_vanish() {
    let Some(python) = peer("python3") else { return };
    if !rustix::process::geteuid().is_root() {
        missing("root, to close a connection silently");
        return;
    }
    let configuration = plain().replace("[sources.net]", "[sources.net]\nkeepalive = \"1s\"");
    let agent = Agent::start(&configuration);
    let port = agent.tcp("net").port().to_string();
    let mut senders: Vec<_> = (0..3)
        .map(|_| {
            let mut command = Command::new(&python);
            command.args(["-c", VANISH, &port]).stdin(Stdio::piped()).spawn().unwrap()
        })
        .collect();
    agent.wait("they are there", |ledger| connections(ledger) == 3 && written(ledger) == 3);
    for sender in &mut senders {
        drop(sender.stdin.take());
        assert!(sender.wait().unwrap().success());
    }
    agent.wait("they are found to be gone", |ledger| connections(ledger) == 0);
    agent.wait_for(6);
    let mut lines = agent.stop().well().lines("out.log");
    lines.sort();
    assert_eq!(lines, ["half a li", "half a li", "half a li", "whole", "whole", "whole"]);
}

#[test]
fn silent_connections_are_closed_when_asked_for() {
    let configuration = plain().replace("[sources.net]", "[sources.net]\nidle_timeout = \"1s\"");
    let agent = Agent::start(&configuration);
    let mut stream = TcpStream::connect(agent.tcp("net")).unwrap();
    stream.write_all(b"whole\nhalf a li").unwrap();
    stream.set_read_timeout(Some(DEADLINE)).unwrap();
    assert_eq!(stream.read(&mut [0; 1]).unwrap(), 0, "the agent hangs up");
    agent.wait_for(2);
    assert_eq!(agent.stop().well().lines("out.log"), ["whole", "half a li"]);
}

/// Processor time over a second in which nothing should happen, in hundredths.
fn ticks_in_a_second(agent: &Agent) -> u64 {
    let before = agent.processor_ticks();
    std::thread::sleep(Duration::from_secs(1));
    agent.processor_ticks() - before
}

/// More connections than places: those who came later wait, and are served when others leave.
#[test]
fn more_connections_than_places() {
    let configuration = plain().replace("[sources.net]", "[sources.net]\nconnections_max = 10");
    let agent = Agent::start(&configuration);
    let to = agent.tcp("net");
    let mut streams: Vec<_> = (0..30).map(|_| TcpStream::connect(to).unwrap()).collect();
    for (sender, stream) in streams.iter_mut().enumerate() {
        stream.write_all((line(sender, 0) + "\n").as_bytes()).unwrap();
    }
    agent.wait("ten are served", |ledger| connections(ledger) == 10 && written(ledger) == 10);
    let ticks = ticks_in_a_second(&agent);
    assert!(ticks < 30, "it spins: {ticks} hundredths of a second");
    assert_eq!(written(&agent.ledger()), 10);
    agent.wait_told("connections_max");
    streams.drain(..20);
    agent.wait_for(30);
    drop(streams);
    let ended = agent.stop().well();
    let mut lines = ended.lines("out.log");
    lines.sort_by_key(|line| crate::numbered::number(line));
    assert_eq!(assert_ordered(&lines, 30), [1; 30]);
}

/// The limit of open files is far below connections_max: there are fewer places, those who have one
/// are served, and a sink can open its file and an operator see the endpoint.
#[test]
fn a_low_limit_of_open_files() {
    let Some(around) = able("prlimit", &["--nofile=64:64"]) else { return };
    let agent = Agent::start_through(around, TempDir::new().unwrap(), &plain());
    agent.wait_told("16 connections at most");
    let to = agent.tcp("net");
    let mut streams: Vec<_> = (0..40).map(|_| TcpStream::connect(to).unwrap()).collect();
    for (sender, stream) in streams.iter_mut().enumerate() {
        stream.write_all((line(sender, 0) + "\n").as_bytes()).unwrap();
    }
    agent.wait("who has a place is written", |ledger| written(ledger) == 16);
    assert_eq!(agent.page("/readyz"), (200, "ready\n".to_owned()));
    drop(streams);
    agent.wait_for(40);
    assert_eq!(agent.stop().well().lines("out.log").len(), 40);
}

/// Descriptors run out while it runs: newcomers are turned away at once, the listener does not
/// spin, those who are there are served; and when there are descriptors again, all goes on.
#[test]
fn out_of_descriptors() {
    if peer("prlimit").is_none() {
        return;
    }
    let agent = Agent::start(&plain());
    let before = descriptors(&agent);
    let limit = |files: usize| {
        let mut command = Command::new("prlimit");
        command.args(["--pid", &agent.id().to_string(), &format!("--nofile={files}:")]);
        assert!(command.status().unwrap().success());
    };
    let to = agent.tcp("net");
    let mut served = TcpStream::connect(to).unwrap();
    served.write_all((line(0, 0) + "\n").as_bytes()).unwrap();
    agent.wait_for(1);
    // The sender and the file, and our own connections to the endpoint have gone.
    let settled = || agent.open_requests() == 0 && descriptors(&agent) == before + 2;
    assert!(until(settled), "{before} before, {} now", descriptors(&agent));
    limit(lowest_free(&agent));
    for _ in 0..20 {
        let mut refused = TcpStream::connect(to).unwrap();
        refused.set_read_timeout(Some(DEADLINE)).unwrap();
        assert!(matches!(refused.read(&mut [0; 1]), Ok(0) | Err(_)), "turned away");
    }
    agent.wait_told("ulimit -n");
    let ticks = ticks_in_a_second(&agent);
    assert!(ticks < 30, "it spins: {ticks} hundredths of a second");
    served.write_all((line(0, 1) + "\n").as_bytes()).unwrap();
    let open = agent.dir.path().join("out.log.open");
    let written_too = until(|| std::fs::read_to_string(&open).unwrap().lines().count() == 2);
    assert!(written_too, "{}", agent.log());
    limit(1024);
    let mut newcomer = TcpStream::connect(to).unwrap();
    newcomer.write_all((line(1, 0) + "\n").as_bytes()).unwrap();
    agent.wait_for(3);
    assert_eq!(agent.page("/readyz"), (200, "ready\n".to_owned()));
    let told = agent.log().matches("refused").count();
    assert!(told <= 2, "once when it began, once when it was over:\n{}", agent.log());
    drop((served, newcomer));
    let lines = agent.stop().well().lines("out.log");
    assert_eq!(lines, [line(0, 0), line(0, 1), line(1, 0)]);
}

/// The lowest descriptor that the agent does not use: with this as its limit it gets no more.
fn lowest_free(agent: &Agent) -> usize {
    let folder = std::fs::read_dir(format!("/proc/{}/fd", agent.id())).unwrap();
    let used: Vec<usize> =
        folder.map(|entry| entry.unwrap().file_name().to_string_lossy().parse().unwrap()).collect();
    (0..).find(|number| !used.contains(number)).unwrap()
}
