//! Signals: a stop that delivers, a stop that cannot, a second one that does not wait, a roll, and
//! a reload that is still to come.

use crate::harness::{Agent, Ended, SYSLOG_TO_FILE, paths};
use rustix::process::Signal;
use std::io::{Read, Write};
use std::net::TcpStream;

/// Lines into a pipe that nobody reads: the sink's thread hangs in write(2).
const INTO_A_PIPE: &str = r#"
[agent]
memory = "16MiB"
admin  = "127.0.0.1:0"
cores  = "none"
drain  = "{drain}"

[sources.lines]
type    = "tcp"
listen  = "tcp://127.0.0.1:0"

[sinks.out]
type    = "stdout"
"#;

/// Sends until the agent takes no more; what was received then stands still.
fn fill(agent: &Agent) -> TcpStream {
    let mut peer = TcpStream::connect(agent.tcp("lines")).expect("it listens");
    peer.set_nonblocking(true).expect("a socket");
    let line = [b'x'; 99].as_slice().iter().chain(b"\n").copied().collect::<Vec<u8>>();
    let text = line.repeat(1000);
    let mut received = 0;
    agent.wait("it takes no more", |ledger| {
        while peer.write(&text).is_ok() {}
        let before = std::mem::replace(
            &mut received,
            ledger["sources"][0]["received_events"].as_u64().expect("a count"),
        );
        received > 0 && received == before && ledger["pool"]["free"] == 0
    });
    peer
}

/// It failed, and the last line of its log accounts for every event.
#[track_caller]
fn lost_but_counted(ended: Ended) {
    assert_eq!(ended.status.code(), Some(1), "{}", ended.log);
    let last = ended.log.lines().last().expect("a log");
    assert!(last.contains("adds up") && last.contains("shutdown"), "{last}");
}

#[test]
fn a_drain_that_cannot_end_ends_at_its_deadline() {
    let (agent, _pipe) = Agent::start_piped(&INTO_A_PIPE.replace("{drain}", "300ms"));
    let _peer = fill(&agent);
    agent.signal(Signal::TERM);
    lost_but_counted(agent.ended());
}

#[test]
fn a_second_signal_does_not_wait() {
    let (agent, _pipe) = Agent::start_piped(&INTO_A_PIPE.replace("{drain}", "1h"));
    let _peer = fill(&agent);
    agent.signal(Signal::INT);
    agent.wait("draining", |_| agent.page("/readyz").1.contains("draining"));
    agent.signal(Signal::TERM);
    lost_but_counted(agent.ended());
}

#[test]
fn a_pipe_that_closes_ends_quietly() {
    let (agent, mut pipe) = Agent::start_piped(&INTO_A_PIPE.replace("{drain}", "1h"));
    let _peer = fill(&agent);
    pipe.read_exact(&mut [0; 100]).expect("a line");
    drop(pipe);
    let ended = agent.ended();
    assert_eq!(ended.status.code(), Some(0), "{}", ended.log);
    let complaints = ["ERROR", "panicked", "Broken pipe"];
    assert!(!complaints.iter().any(|word| ended.log.contains(word)), "{}", ended.log);
}

#[test]
fn a_roll_finishes_the_files_and_a_hangup_changes_nothing() {
    let agent = Agent::start(SYSLOG_TO_FILE);
    let mut peer = TcpStream::connect(agent.tcp("net")).expect("it listens");
    let mut send = |text: &str, count| {
        peer.write_all(text.as_bytes()).expect("sent");
        agent.wait_for(count);
    };
    send("<13>one\n", 1);
    agent.signal(Signal::HUP);
    agent.wait("a warning", |_| agent.log().contains("reload is not built yet"));
    agent.signal(Signal::USR1);
    agent.wait("a finished file", |_| paths(agent.dir.path(), ".zst").len() == 1);
    send("<13>two\n", 2);
    let ended = agent.stop().well();
    assert_eq!(ended.lines("out.log.zst"), ["<13>one"]);
    assert_eq!(ended.lines("out.log.1.zst"), ["<13>two"]);
}

/// An address in use is told in one line, before anything is ready.
#[test]
fn a_port_in_use_ends_the_start() {
    let agent = Agent::start(SYSLOG_TO_FILE);
    let taken = agent.tcp("net").to_string();
    let dir = tempfile::TempDir::new().expect("a folder");
    let file = dir.path().join("flumen.toml");
    let text = SYSLOG_TO_FILE
        .replace("{dir}", dir.path().to_str().expect("UTF-8"))
        .replace("tcp://127.0.0.1:0", &format!("tcp://{taken}"));
    std::fs::write(&file, text).expect("written");
    let output = std::process::Command::new(env!("CARGO_BIN_EXE_flumen"))
        .arg("run")
        .arg(&file)
        .output()
        .expect("the binary starts");
    let told = String::from_utf8(output.stderr).expect("UTF-8");
    assert_eq!(output.status.code(), Some(2), "{told}");
    assert!(told.contains(&taken) && told.contains("in use"), "{told}");
    assert!(!told.contains("is ready"), "{told}");
    agent.stop().well();
}
