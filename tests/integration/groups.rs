//! Sinks in groups: one that is killed and comes back, and two that share the work.

use crate::harness::{Agent, lines_in, lines_of, paths, place, plain_sink, until};
use serde_json::Value;
use std::collections::BTreeMap;
use std::io::Write;
use std::net::TcpStream;
use std::path::Path;
use tempfile::TempDir;

const RECEIVER: &str = r#"
[sources.net]
type   = "syslog"
listen = "relp://{at}"

[sinks.archive]
type  = "file"
path  = "{dir}/out.log"
codec = "none"
block = { age = "20ms" }
"#;

const NEXT: &str = r#"
[sinks.next]
type        = "syslog"
channel     = "main"
targets     = "relp://{at}"
window      = 200
backoff_max = "100ms"
"#;

const FAILOVER: &str = r#"
[groups.out]
type        = "failover"
sinks       = ["next", "spare"]
penalty_max = "100ms"
"#;

fn send(to: &mut TcpStream, from: usize, count: usize) -> usize {
    let line = |number| format!("<13>Oct 11 22:14:15 h app: {number:07} ok\n");
    let text: String = (from..from + count).map(line).collect();
    to.write_all(text.as_bytes()).expect("the agent reads");
    from + count
}

pub(crate) fn written_by(ledger: &Value, sink: &str) -> u64 {
    let sinks = ledger["sinks"].as_array().expect("a list");
    let sink = sinks.iter().find(|it| it["name"] == sink).expect("it is there");
    sink["written_events"].as_u64().expect("a count")
}

/// How often each number is in files of that kind; a torn last line does not count.
fn found(folder: &Path, suffix: &str, found: &mut BTreeMap<usize, usize>) {
    for file in paths(folder, suffix) {
        let text = std::fs::read_to_string(file).expect("text");
        let whole = text.rfind('\n').map_or(0, |end| end + 1);
        for line in text[..whole].lines() {
            let number = line.strip_prefix("<13>Oct 11 22:14:15 h app: ");
            let number = number.and_then(|rest| rest.strip_suffix(" ok")?.parse().ok());
            *found.entry(number.unwrap_or_else(|| panic!("changed: {line:?}"))).or_default() += 1;
        }
    }
}

#[test]
fn the_spare_has_what_the_killed_one_cannot_take_until_it_is_back() {
    let at = place(70);
    let receiver = || Agent::start(&RECEIVER.replace("{at}", &at));
    let next = receiver();
    let text = [&lines_in(), &NEXT.replace("{at}", &at), &plain_sink("spare"), FAILOVER].concat();
    let agent = Agent::start(&text);
    let mut stream = TcpStream::connect(agent.tcp("net")).expect("it listens");
    let mut sent = send(&mut stream, 0, 1000);
    let ledger = agent.wait("the first has it", |ledger| written_by(ledger, "next") == 1000);
    assert_eq!(written_by(&ledger, "spare"), 0, "the first works:\n{ledger:#}");
    let first_life = next.kill();
    sent = send(&mut stream, sent, 20_000);
    agent.wait("the spare has the rest", |ledger| {
        written_by(ledger, "next") + written_by(ledger, "spare") == sent as u64
    });
    let next = receiver();
    let before = written_by(&agent.ledger(), "next");
    let back = until(|| {
        sent = send(&mut stream, sent, 100);
        written_by(&agent.ledger(), "next") > before
    });
    assert!(back, "it never fails back:\n{:#}\n{}", agent.ledger(), agent.log());
    drop(stream);
    agent.wait("all is delivered", |ledger| {
        written_by(ledger, "next") + written_by(ledger, "spare") == sent as u64
    });
    let ended = agent.stop().well();
    assert!(ended.log.contains("group out: spare has the events"), "{}", ended.log);
    assert!(ended.log.contains("group out: next has the events"), "{}", ended.log);
    let second_life = next.stop().well().dir;
    let mut seen = BTreeMap::new();
    found(first_life.path(), ".log.open", &mut seen);
    found(second_life.path(), ".log", &mut seen);
    found(ended.dir.path(), ".log", &mut seen);
    let missing: Vec<usize> = (0..sent).filter(|number| !seen.contains_key(number)).collect();
    assert!(missing.is_empty(), "{} of {sent} are missing: {missing:?}", missing.len());
    let doubled: usize = seen.values().map(|times| times - 1).sum();
    assert!(doubled <= 200, "{doubled} are double, and 200 could be without an answer");
}

const BALANCE: &str = r#"
[groups.both]
type   = "load_balance"
sinks  = ["left", "right"]
policy = "{policy}"
"#;

fn balance(policy: &str) -> String {
    let (left, right) = (plain_sink("left"), plain_sink("right"));
    [&lines_in(), &left, &right, &BALANCE.replace("{policy}", policy)].map(String::as_str).concat()
}

#[test]
fn sinks_that_share_the_work_have_each_event_once() {
    for policy in ["round_robin", "random", "least_waiting"] {
        let agent = Agent::start(&balance(policy));
        let mut stream = TcpStream::connect(agent.tcp("net")).expect("it listens");
        let mut sent = 0;
        let both = until(|| {
            sent = send(&mut stream, sent, 5000);
            let ledger = agent.ledger();
            written_by(&ledger, "left") > 0 && written_by(&ledger, "right") > 0
        });
        assert!(both, "{policy}: one has it all:\n{:#}", agent.ledger());
        drop(stream);
        let ledger = agent.wait_for(sent as u64);
        let counts = ["left", "right"].map(|sink| written_by(&ledger, sink));
        let ended = agent.stop().well();
        let mut seen = BTreeMap::new();
        found(ended.dir.path(), ".log", &mut seen);
        assert_eq!(seen.len(), sent, "{policy}");
        assert!(seen.values().all(|times| *times == 1), "{policy}");
        for (name, count) in [("left.log", counts[0]), ("right.log", counts[1])] {
            let lines = lines_of(&ended.dir.path().join(name)).len();
            assert_eq!(lines as u64, count, "{policy}: {name}");
        }
        println!("{policy}: {counts:?} of {sent}");
    }
}

/// A sink that cannot even begin is left out, and told.
#[test]
fn a_group_begins_without_a_sink_that_cannot() {
    let dir = TempDir::new().expect("a folder");
    std::fs::write(dir.path().join("left.log"), "in the way").expect("written");
    let text = balance("round_robin").replace("{dir}/left.log", "{dir}/left.log/below.log");
    let agent = Agent::start_in(dir, &text);
    let mut stream = TcpStream::connect(agent.tcp("net")).expect("it listens");
    send(&mut stream, 0, 1000);
    drop(stream);
    agent.wait("all is at the other", |ledger| written_by(ledger, "right") == 1000);
    let ended = agent.stop().well();
    assert!(ended.log.contains("its group goes on without it"), "{}", ended.log);
}
