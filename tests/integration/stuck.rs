//! A sink that takes nothing for a while, under full load: nobody loses, senders wait, memory
//! stays within the sum. `scripts/stuck-sink 60` does it for a minute.

use crate::harness::{Agent, LINES, TO_PIPE, agent, from_environment, sum};
use serde_json::Value;
use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

const MEMORY_BYTES: u64 = 48 << 20;
/// Code, stacks and allocator, beside `agent.memory`.
const BESIDE_BYTES: u64 = 32 << 20;

/// The sink is a pipe that nobody reads; the agent's section has these rows.
pub(crate) fn lines_to_stdout(rows: &str) -> String {
    [&agent("48MiB", rows), LINES, TO_PIPE].concat()
}

/// Sends numbered lines until told to stop, as fast as they are taken; says how many.
fn send(to: SocketAddr, connection: usize, stop: &AtomicBool) -> u64 {
    let mut stream = TcpStream::connect(to).unwrap();
    let mut count = 0;
    while !stop.load(Ordering::Relaxed) {
        let mut lines = String::new();
        for _ in 0..100 {
            lines.push_str(&format!("{connection} {count} {}\n", "x".repeat(170)));
            count += 1;
        }
        stream.write_all(lines.as_bytes()).unwrap();
    }
    count
}

#[test]
fn a_stuck_sink_loses_nothing() {
    const CONNECTIONS: usize = 3;
    let stuck = Duration::from_secs(from_environment("FLUMEN_STUCK_SECONDS", 2));
    let (agent, stdout) = Agent::start_piped(&lines_to_stdout(""));
    let to = agent.tcp("net");
    let stop = Arc::new(AtomicBool::new(false));
    let senders: Vec<_> = (0..CONNECTIONS)
        .map(|connection| {
            let stop = stop.clone();
            std::thread::spawn(move || send(to, connection, &stop))
        })
        .collect();

    // Full: what was received no longer grows while the senders still try.
    let look = |ledger: &Value| {
        let resident = agent.resident_bytes();
        assert!(resident <= MEMORY_BYTES + BESIDE_BYTES, "{resident} bytes resident");
        sum(&ledger["sources"], "received_events")
    };
    let received = agent.wait_still("events received", look);
    let full = Instant::now();
    while full.elapsed() < stuck {
        std::thread::sleep(Duration::from_millis(100));
        assert_eq!(look(&agent.ledger()), received, "there is room for none");
    }
    stop.store(true, Ordering::Relaxed);

    // The pipe is read again: every line of every connection comes, once and in order.
    let mut next = [0_u64; CONNECTIONS];
    let reader = std::thread::spawn(move || {
        for line in BufReader::new(stdout).lines() {
            let line = line.unwrap();
            let mut words = line.split(' ');
            let mut number = || words.next().unwrap().parse::<u64>().unwrap();
            let (connection, count) = (number() as usize, number());
            assert_eq!(count, next[connection], "of connection {connection}");
            next[connection] += 1;
        }
        next
    });
    let sent: Vec<u64> = senders.into_iter().map(|sender| sender.join().unwrap()).collect();
    let total: u64 = sent.iter().sum();
    println!("{total} events sent, {received} of them into the stuck agent");
    agent.wait_for(total);
    agent.stop().well();
    assert_eq!(reader.join().unwrap().to_vec(), sent);
}

/// A sender that waits for an `OK` behind each line has it while a pipe that nobody reads is full:
/// lines share the memory there is, however few come at a time.
#[test]
fn who_waits_for_each_answer_is_answered_before_a_stuck_sink() {
    const LINES: usize = 3000;
    let source = "[sources.net]\ntype = 'netcat'\nlisten = 'tcp://127.0.0.1:0'\nchannel = 'main'\n";
    let configuration = [&agent("48MiB", ""), source, TO_PIPE].concat();
    let (agent, stdout) = Agent::start_piped(&configuration);
    let mut stream = TcpStream::connect(agent.tcp("net")).unwrap();
    stream.set_nodelay(true).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    let mut answers = BufReader::new(stream.try_clone().unwrap());
    let line = |number: usize| match number {
        // More than a pipe holds.
        0..400 => format!("{number} {}\n", "x".repeat(400)),
        _ => format!("{number}\n"),
    };
    for number in 0..LINES {
        stream.write_all(line(number).as_bytes()).unwrap();
        let mut answer = String::new();
        answers.read_line(&mut answer).unwrap();
        assert_eq!(answer, "OK\n", "to line {number}");
    }
    let written = sum(&agent.ledger()["sinks"], "written_events");
    assert!(written < LINES as u64, "the sink is not stuck");
    let reader = std::thread::spawn(move || BufReader::new(stdout).lines().collect::<Vec<_>>());
    drop((stream, answers));
    agent.stop().well();
    let lines: Vec<String> = reader.join().unwrap().into_iter().map(Result::unwrap).collect();
    assert!(lines.iter().map(|line| format!("{line}\n")).eq((0..LINES).map(line)));
}
