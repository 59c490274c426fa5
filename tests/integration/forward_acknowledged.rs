//! Sending on over RELP to rsyslogd's imrelp, which is killed in mid-stream and comes back.
//!
//! This rsyslogd writes each message before it answers: its queue is `Direct`, and its file is
//! flushed with every message. So what we count as written must stand in its file, whenever it
//! dies.

use crate::forward::{at_sinks, sender};
use crate::harness::{from_environment, paths, place, sum, until, written};
use crate::peers::{Running, rsyslogd};
use std::collections::BTreeMap;
use std::io::Write;
use std::net::TcpStream;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tempfile::TempDir;

/// How many may wait for their answer, and so come twice after a kill.
const WINDOW: u64 = 200;

const RSYSLOG: &str = r#"
global(workDirectory="{dir}" net.enableDNS="off")
main_queue(queue.type="Direct")
template(name="raw" type="string" string="%rawmsg%\n")
module(load="imrelp")
input(type="imrelp" address="{address}" port="{port}")
action(type="omfile" file="{dir}/{life}.log" template="raw")
"#;

/// Writes into a file of its own in each life.
fn start(program: &Path, folder: &Path, at: &str, life: u64) -> Running {
    let (address, port) = at.split_once(':').unwrap();
    let text = RSYSLOG
        .replace("{dir}", folder.to_str().unwrap())
        .replace("{address}", address)
        .replace("{port}", port)
        .replace("{life}", &life.to_string());
    let file = folder.join("rsyslog.conf");
    std::fs::write(&file, text).unwrap();
    Running::start(Command::new(program).args(["-n", "-iNONE", "-f"]).arg(&file))
}

/// Feeds numbered messages until it is told to stop; then says how many there were.
fn feed(mut to: TcpStream, stop: &Arc<AtomicBool>) -> std::thread::JoinHandle<u64> {
    let stop = Arc::clone(stop);
    std::thread::spawn(move || {
        let mut next = 0;
        while !stop.load(Ordering::Relaxed) {
            let messages: String = (next..next + 100)
                .map(|n| format!("<13>Oct 11 22:14:15 h app: number {n:08} ok\n"))
                .collect();
            to.write_all(messages.as_bytes()).expect("the agent reads");
            next += 100;
            std::thread::sleep(Duration::from_millis(5));
        }
        next
    })
}

/// How often each number is there; of each file the last line may be torn, and no other.
fn found(folder: &Path) -> BTreeMap<u64, u64> {
    let mut found = BTreeMap::new();
    for file in paths(folder, ".log") {
        let text = std::fs::read_to_string(file).unwrap();
        let whole = text.rfind('\n').map_or(0, |end| end + 1);
        for line in text[..whole].lines() {
            let number = line.strip_prefix("<13>Oct 11 22:14:15 h app: number ");
            let number = number.and_then(|rest| rest.strip_suffix(" ok")?.parse().ok());
            *found.entry(number.unwrap_or_else(|| panic!("changed: {line:?}"))).or_default() += 1;
        }
    }
    found
}

/// The first `count` of them are there.
#[track_caller]
fn assert_found(found: &BTreeMap<u64, u64>, count: u64, when: &str) {
    let missing: Vec<u64> = (0..count).filter(|number| !found.contains_key(number)).collect();
    assert!(missing.is_empty(), "{when}: {} of {count} are missing: {missing:?}", missing.len());
}

#[test]
fn imrelp_killed_in_mid_stream() {
    let Some(program) = rsyslogd() else { return };
    let kills = from_environment("FLUMEN_KILLS", 3);
    let (at, dir) = (place(30), TempDir::new().unwrap());
    let mut peer = start(&program, dir.path(), &at, 0);
    let agent = sender(&format!("targets = 'relp://{at}'\nwindow = {WINDOW}"));
    let stop = Arc::new(AtomicBool::new(false));
    let feeder = feed(TcpStream::connect(agent.tcp("net")).unwrap(), &stop);
    for life in 1..=kills {
        let before = agent.ledger();
        agent.wait("more is written", |ledger| written(ledger) > written(&before) + 1000);
        // Every other time it stands still first, so that a whole window has no answer.
        if life % 2 == 1 {
            peer.pause();
            agent.wait("more has come than is answered", |ledger| {
                sum(&ledger["sources"], "received_events") > written(ledger) + 2 * WINDOW
            });
        }
        let errors = at_sinks(&agent.ledger(), "errors");
        peer.kill();
        let ledger = agent.wait("the end is noticed", |l| at_sinks(l, "errors") > errors);
        // Nobody has come in its place: what counts as delivered can be nowhere else.
        assert_found(&found(dir.path()), written(&ledger), "when it was killed");
        peer = start(&program, dir.path(), &at, life);
    }
    stop.store(true, Ordering::Relaxed);
    let count = feeder.join().expect("it feeds");
    let ledger = agent.wait_for(count);
    assert_eq!(written(&ledger), count, "{ledger:#}");
    assert_eq!(sum(&ledger["sinks"], "dead_lettered_events"), 0, "{ledger:#}");
    assert!(until(|| found(dir.path()).contains_key(&(count - 1))), "the last has not arrived");
    agent.stop().well();
    peer.finish();
    let found = found(dir.path());
    assert_found(&found, count, "at the end");
    let doubled: u64 = found.values().map(|times| times - 1).sum();
    println!("{kills} kills, {count} messages, {doubled} of them double");
    assert!(doubled <= kills * WINDOW, "{doubled} are double after {kills} kills");
}
