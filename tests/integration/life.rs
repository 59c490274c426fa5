//! How an agent begins and ends: what it refuses, what a signal does, and that nothing it has read
//! is left behind.

use crate::harness::{
    Agent, DEADLINE, Ended, SYSLOG_TO_FILE, paths, refused, sum, until, write_configuration,
    written,
};
use crate::stuck::lines_to_stdout;
use rustix::process::Signal;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::process::{ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};
use tempfile::TempDir;

fn plain() -> String {
    SYSLOG_TO_FILE.replace(r#""zstd""#, r#""none""#)
}

fn send(to: SocketAddr, lines: std::ops::Range<usize>) {
    let text: String = lines.map(|number| format!("line {number}\n")).collect();
    TcpStream::connect(to).unwrap().write_all(text.as_bytes()).unwrap();
}

fn expected(lines: std::ops::Range<usize>) -> Vec<String> {
    lines.map(|number| format!("line {number}")).collect()
}

#[test]
fn an_interrupt_drains() {
    let agent = Agent::start(&plain());
    send(agent.tcp("net"), 0..10_000);
    // What the kernel has of a connection that the agent knows is read, though it is told to stop.
    agent.wait("something is received", |ledger| sum(&ledger["sources"], "received_events") > 0);
    agent.signal(Signal::INT);
    let ended = agent.ended().well();
    assert_eq!(ended.lines("out.log"), expected(0..10_000));
}

/// Lines numbered for each connection, until the agent hangs up.
fn flood(to: SocketAddr, connection: usize) {
    let mut stream = TcpStream::connect(to).unwrap();
    for first in (0_u64..).step_by(50) {
        let lines = (first..first + 50).map(|number| format!("{connection} {number} and more\n"));
        if stream.write_all(lines.collect::<String>().as_bytes()).is_err() {
            return;
        }
    }
}

#[test]
fn stopped_while_senders_send() {
    const CONNECTIONS: usize = 4;
    let agent = Agent::start(&plain());
    let to = agent.tcp("net");
    let senders: Vec<_> = (0..CONNECTIONS)
        .map(|connection| std::thread::spawn(move || flood(to, connection)))
        .collect();
    agent.wait("everybody is heard", |ledger| {
        let connections = sum(&ledger["sources"], "open_connections");
        connections == CONNECTIONS as u64 && written(ledger) > 10_000
    });
    let ended = agent.stop().well();
    senders.into_iter().for_each(|sender| sender.join().unwrap());
    let lines = ended.lines("out.log");
    assert!(ended.log.contains(&format!("routed {}", lines.len())), "{}", ended.log);
    let mut next = [0; CONNECTIONS];
    for line in &lines {
        let (connection, rest) = line.split_at(1);
        let connection: usize = connection.parse().unwrap();
        let whole = format!(" {} and more", next[connection]);
        // The last line of each may be cut where the agent stopped reading.
        assert!(whole.starts_with(rest), "{line:?}, expected {whole:?}");
        next[connection] += 1;
        if whole != rest {
            next[connection] = usize::MAX - 1;
        }
    }
}

/// An agent whose sink takes nothing, filled until it takes no more; how much that is.
fn stuck(configuration: &str) -> (Agent, ChildStdout, std::thread::JoinHandle<()>, u64) {
    let (agent, stdout) = Agent::start_piped(configuration);
    let to = agent.tcp("net");
    let sender = std::thread::spawn(move || flood(to, 0));
    let full =
        agent.wait_still("events received", |ledger| sum(&ledger["sources"], "received_events"));
    (agent, stdout, sender, full)
}

/// It ended badly and says so; every event is out or lost{shutdown}.
fn check_forced(ended: &Ended, stdout: &mut impl Read, received_before: u64) {
    assert_eq!(ended.status.code(), Some(1), "{}", ended.log);
    assert!(ended.log.contains("adds up"), "{}", ended.log);
    let mut text = Vec::new();
    stdout.read_to_end(&mut text).unwrap();
    let line = ended.log.lines().rev().find(|line| line.contains("ledger of")).unwrap();
    let number = |behind: &str| -> u64 {
        let rest = line.split(behind).nth(1).unwrap_or_else(|| panic!("{behind} in {line}"));
        rest.split(|c: char| !c.is_ascii_digit()).next().unwrap().parse().unwrap()
    };
    let (received, lost) = (number("received "), number("; lost "));
    assert!(received >= received_before && lost > 0, "{line}");
    assert!(line.contains("shutdown"), "{line}");
    // A batch that was being written when time was over is lost as a whole, and a part of it out.
    let out = text.iter().filter(|&&byte| byte == b'\n').count() as u64;
    assert!(out + lost >= received && out <= received, "{out} lines came out: {line}");
}

#[test]
fn a_second_signal_stops_at_once() {
    let (agent, mut stdout, sender, received) = stuck(&lines_to_stdout(""));
    agent.signal(Signal::TERM);
    agent.wait_told("stopping: delivering");
    let (status, body) = agent.page("/readyz");
    assert_eq!((status, body.contains("draining")), (503, true), "{body}");
    let asked = Instant::now();
    agent.signal(Signal::TERM);
    let ended = agent.ended();
    assert!(asked.elapsed() < Duration::from_secs(10), "it took {:?}", asked.elapsed());
    sender.join().unwrap();
    check_forced(&ended, &mut stdout, received);
}

#[test]
fn a_drain_ends_at_its_deadline() {
    let (agent, mut stdout, sender, received) = stuck(&lines_to_stdout("drain = \"1s\""));
    let asked = Instant::now();
    let ended = agent.stop();
    let took = asked.elapsed();
    assert!(took >= Duration::from_secs(1) && took < Duration::from_secs(10), "it took {took:?}");
    sender.join().unwrap();
    check_forced(&ended, &mut stdout, received);
}

#[test]
fn a_hangup_rolls_all_files_and_says_what_a_restart_would_change() {
    let agent = Agent::start(&plain());
    let file = agent.dir.path().join("flumen.toml");
    let before = std::fs::read_to_string(&file).unwrap();
    let changed = before.replace("50ms", "70ms");
    let wrong = before.replace("50ms", "soon");
    for (round, (text, said)) in [
        (&before, "all files are rolled; the configuration is as it was"),
        (&changed, "takes effect at a restart: sinks.archive.block"),
        (&wrong, "a restart would fail"),
    ]
    .into_iter()
    .enumerate()
    {
        std::fs::write(&file, text).unwrap();
        send(agent.tcp("net"), round * 10..round * 10 + 10);
        agent.wait_for(round as u64 * 10 + 10);
        agent.signal(Signal::HUP);
        agent.wait_told(said);
        let rolled = || paths(agent.dir.path(), ".open").is_empty();
        assert!(until(rolled), "{:?}", paths(agent.dir.path(), ""));
    }
    // What is wrong is told as `check` tells it.
    agent.wait_told("soon");
    let ended = agent.stop().well();
    for (name, lines) in [("out.log", 0..10), ("out.log.1", 10..20), ("out.log.2", 20..30)] {
        assert_eq!(ended.lines(name), expected(lines), "{name}");
    }
}

#[test]
fn a_signal_rolls_all_files() {
    let agent = Agent::start(&plain());
    for round in 0..3 {
        send(agent.tcp("net"), round * 10..round * 10 + 10);
        agent.wait_for(round as u64 * 10 + 10);
        agent.signal(Signal::USR1);
        let rolled = || paths(agent.dir.path(), ".open").is_empty();
        assert!(until(rolled), "{:?}", paths(agent.dir.path(), ""));
    }
    let ended = agent.stop().well();
    for (name, lines) in [("out.log", 0..10), ("out.log.1", 10..20), ("out.log.2", 20..30)] {
        assert_eq!(ended.lines(name), expected(lines), "{name}");
    }
}

#[test]
fn a_port_in_use_is_said() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let tcp = taken.local_addr().unwrap().to_string();
    let taken = UdpSocket::bind("127.0.0.1:0").unwrap();
    let udp = taken.local_addr().unwrap().to_string();
    let cases = [
        (plain().replace("tcp://127.0.0.1:0", &format!("tcp://{tcp}")), &tcp),
        (plain().replace("udp://127.0.0.1:0", &format!("udp://{udp}")), &udp),
        (plain().replace(r#"admin  = "127.0.0.1:0""#, &format!("admin = {tcp:?}")), &tcp),
    ];
    for (configuration, address) in cases {
        let dir = TempDir::new().unwrap();
        let (code, text) = refused(&dir, &configuration);
        assert_eq!(code, Some(2), "{text}");
        assert!(text.contains(address.as_str()), "{text}");
        assert!(text.contains("in use") && !text.contains("is ready"), "{text}");
        assert!(["ss -", "another"].iter().any(|remedy| text.contains(remedy)), "{text}");
        assert!(paths(dir.path(), ".open").is_empty(), "it left a file behind");
    }
}

/// A file stands where the folder should be: nobody can write there, not even root.
#[test]
fn a_folder_that_cannot_be_written_is_said() {
    let dir = TempDir::new().unwrap();
    std::fs::write(dir.path().join("file"), "").unwrap();
    for path in ["file/sub/out.log", "file/out.log"] {
        let (code, text) = refused(&dir, &plain().replace("out.log", path));
        assert_eq!(code, Some(2), "{text}");
        assert!(text.contains("sinks.archive") && text.contains("file"), "{text}");
    }
    let (code, text) = refused(&dir, &plain().replace("{dir}/out.log", "/proc/flumen/out.log"));
    assert_eq!(code, Some(2), "{text}");
}

#[test]
fn a_reader_that_goes_ends_it_quietly() {
    let (agent, stdout) = Agent::start_piped(&lines_to_stdout(""));
    let to = agent.tcp("net");
    let sender = std::thread::spawn(move || flood(to, 0));
    let mut first = String::new();
    let mut reader = BufReader::new(stdout);
    reader.read_line(&mut first).unwrap();
    assert_eq!(first, "0 0 and more\n");
    drop(reader);
    let ended = agent.ended();
    sender.join().unwrap();
    assert!(ended.status.success(), "{}\n{}", ended.status, ended.log);
    assert!(ended.log.contains("adds up"), "{}", ended.log);
    let complaints = ["ERROR", "panicked", "Broken pipe"];
    assert!(!complaints.iter().any(|word| ended.log.contains(word)), "{}", ended.log);
}

/// Nobody reads the log any more: the agent goes on, and does not die of saying something.
#[test]
fn a_log_that_nobody_reads() {
    let dir = TempDir::new().unwrap();
    let file = dir.path().join("flumen.toml");
    std::fs::write(&file, plain().replace("{dir}", dir.path().to_str().unwrap())).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_flumen"));
    command.arg("run").arg(&file).stdin(Stdio::null()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let mut log = BufReader::new(child.stderr.take().unwrap());
    let mut line = String::new();
    while !line.contains(" is ready ") {
        line.clear();
        assert!(log.read_line(&mut line).unwrap() > 0, "it ended before it was ready");
    }
    drop(log);
    let id = rustix::process::Pid::from_child(&child);
    rustix::process::kill_process(id, Signal::USR1).unwrap();
    let to = line.split("net=tcp://").nth(1).unwrap().split(' ').next().unwrap();
    send(to.parse().unwrap(), 0..10);
    let written = until(|| {
        let open = std::fs::read_to_string(dir.path().join("out.log.open"));
        open.is_ok_and(|text| text.lines().count() == 10)
    });
    rustix::process::kill_process(id, Signal::TERM).unwrap();
    let status = crate::harness::wait_child(&mut child);
    let _ = child.kill();
    assert!(written, "ten lines in the file");
    assert!(status.is_some_and(|status| status.success()), "{status:?}");
}

const STDIN_TO_FILE: &str = r#"
[sources.input]
type    = "stdin"

[sinks.archive]
type    = "file"
path    = "{dir}/out.log"
codec   = "none"
"#;

fn read_input(input: Stdio) -> Agent {
    let mut command = Command::new(env!("CARGO_BIN_EXE_flumen"));
    command.stdin(input).stdout(Stdio::null());
    Agent::start_as(command, TempDir::new().unwrap(), STDIN_TO_FILE).0
}

#[test]
fn an_input_file_is_read_to_its_end() {
    let lines = expected(0..200_000);
    let mut file = tempfile::tempfile().unwrap();
    // The last line has no newline.
    file.write_all(lines.join("\n").as_bytes()).unwrap();
    std::io::Seek::rewind(&mut file).unwrap();
    let ended = read_input(file.into()).ended().well();
    assert!(ended.lines("out.log") == lines, "every line, in order");
}

#[test]
fn an_input_pipe_is_read_to_its_end() {
    let (reader, mut writer) = std::io::pipe().unwrap();
    let agent = read_input(reader.into());
    for lines in expected(0..100_000).chunks(1000) {
        writer.write_all((lines.join("\n") + "\n").as_bytes()).unwrap();
    }
    agent.wait("what came so far is written", |ledger| written(ledger) > 0);
    drop(writer);
    let ended = agent.ended().well();
    assert!(ended.lines("out.log") == expected(0..100_000), "every line, in order");
}

/// Scripts wait for the line that says it is ready, and read the ledger that closes the run: both
/// come at every level, in their places, and nothing at all when nothing is wanted.
#[test]
fn what_is_said_at_every_level() {
    let dir = TempDir::new().unwrap();
    let file = write_configuration(&dir, STDIN_TO_FILE);
    let run = |level: &str| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_flumen"));
        let (level, format) = level.split_once(" as ").unwrap_or((level, ""));
        command.env("FLUMEN_LOG", level).env("FLUMEN_LOG_FORMAT", format);
        command.arg("run").arg(&file).stdin(Stdio::null());
        let output = command.output().unwrap();
        (output.status.code(), String::from_utf8(output.stderr).unwrap())
    };
    for level in ["", "debug", "info", "warn", "error", "flumen::source=trace"] {
        let (code, log) = run(level);
        let line = |words: &str| log.lines().position(|line| line.contains(words));
        let (ready, ledger) = (line(" is ready "), line("ledger of flumen"));
        assert_eq!(code, Some(0), "{level}: {log}");
        assert!(ready.is_some() && ready < ledger, "{level}: {log}");
        assert_eq!(ledger, log.lines().count().checked_sub(1), "{level}: {log}");
        if ["warn", "error"].contains(&level) {
            assert_eq!(log.lines().count(), 2, "{level}: {log}");
        }
    }
    assert_eq!(run("off"), (Some(0), String::new()));
    let (code, log) = run("loud=very");
    assert_eq!(code, Some(2), "{log}");
    assert!(log.contains("FLUMEN_LOG=loud=very") && log.contains("error, warn, info"), "{log}");
    let (code, log) = run("info as json");
    let mut objects =
        log.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap());
    let says = |words| move |line: &serde_json::Value| line["message"].to_string().contains(words);
    assert_eq!(objects.clone().filter(says(" is ready ")).count(), 1, "{log}");
    assert!(objects.next_back().is_some_and(|line| says("ledger of flumen")(&line)), "{log}");
    assert_eq!(code, Some(0));
    let (code, log) = run("info as xml");
    assert!(code == Some(2) && log.contains("FLUMEN_LOG_FORMAT=xml"), "{log}");
}

/// Two agents with the same path: neither touches what the other writes.
#[test]
fn two_agents_on_one_path() {
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("shared.log");
    let configuration = plain().replace("{dir}/out.log", path.to_str().unwrap());
    let one = Agent::start(&configuration);
    send(one.tcp("net"), 0..10);
    one.wait_for(10);
    let two = Agent::start(&configuration);
    send(two.tcp("net"), 10..20);
    two.wait_for(10);
    send(one.tcp("net"), 20..30);
    one.wait_for(20);
    two.stop().well();
    one.stop().well();
    let files = paths(dir.path(), "");
    let mut lines: Vec<String> =
        files.iter().flat_map(|file| crate::harness::lines_of(file)).collect();
    lines.sort_by_key(|line| line[5..].parse::<usize>().unwrap());
    assert_eq!(lines, expected(0..30), "{files:?}");
    assert_eq!(files.len(), 2, "{files:?}");
}

/// A connection that says nothing, one that has sent half a line: a stop waits for neither.
#[test]
fn silent_connections_do_not_delay_the_end() {
    let agent = Agent::start(&plain());
    let _silent = TcpStream::connect(agent.tcp("net")).unwrap();
    let mut half = TcpStream::connect(agent.tcp("net")).unwrap();
    half.write_all(b"line 0\nhalf a li").unwrap();
    agent.wait("both are there", |ledger| {
        sum(&ledger["sources"], "open_connections") == 2 && written(ledger) == 1
    });
    let asked = Instant::now();
    let ended = agent.stop().well();
    assert!(asked.elapsed() < DEADLINE / 3, "it took {:?}", asked.elapsed());
    assert_eq!(ended.lines("out.log"), ["line 0", "half a li"]);
}
