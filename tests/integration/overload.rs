//! More datagrams than the agent can take: what was sent = what is in the file + what the ledger
//! says was lost, to the event; also when the agent is stopped in the middle of the flood.

use crate::harness::{Agent, Ended, sum};
use crate::peers::peer;
use std::net::{SocketAddr, UdpSocket};

/// A dear codec, little memory and a short queue: most of a flood finds no room.
const DATAGRAMS_TO_SLOW_FILE: &str = r#"
[agent]
memory = "48MiB"
admin  = "127.0.0.1:0"
cores  = "none"

[sources.flood]
type    = "udp"
listen  = ["udp://127.0.0.1:0"]
threads = 2
receive_buffer = "256KiB"
channel = "main"

[channels.main]
type      = "memory"
when_full = "wait"

[sinks.archive]
type    = "file"
channel = "main"
path    = "{dir}/out.log"
codec   = "zstd"
level   = 12
block   = { age = "50ms" }
"#;

const SENDERS: usize = 4;

/// Sends until `count` or until nobody is there; says how many reached the agent's socket.
///
/// On the loopback a datagram that finds no socket is answered before the next is sent: the first
/// error says that the one before it, and only that one, went nowhere.
fn flood(to: SocketAddr, sender: usize, count: u64) -> u64 {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.connect(to).unwrap();
    for sent in 0..count {
        let noise = sent.wrapping_mul(0x9E37_79B9_7F4A_7C15);
        let text = format!("sender {sender} event {sent} {noise:x} {:x}", noise.rotate_left(17));
        if socket.send(text.as_bytes()).is_err() {
            return sent - 1;
        }
    }
    count
}

fn start(to: SocketAddr, count: u64) -> Vec<std::thread::JoinHandle<u64>> {
    let sender = |sender| std::thread::spawn(move || flood(to, sender, count));
    (0..SENDERS).map(sender).collect()
}

fn sent(senders: Vec<std::thread::JoinHandle<u64>>) -> u64 {
    senders.into_iter().map(|sender| sender.join().unwrap()).sum()
}

/// A number behind a word of the closing ledger; none is zero.
fn closing(ended: &Ended, word: &str) -> u64 {
    let line = ended.log.lines().rev().find(|line| line.contains("ledger of")).unwrap();
    let behind = line.split(&format!("{word} ")).nth(1).unwrap_or("0");
    behind.split(|c: char| !c.is_ascii_digit()).next().unwrap().parse().unwrap()
}

#[track_caller]
fn check(ended: &Ended, sent: u64) {
    let (received, kernel) = (closing(ended, "received"), closing(ended, "flood kernel"));
    println!("{sent} sent = {received} received + {kernel} lost in the kernel");
    assert_eq!(sent, received + kernel, "{}", ended.log);
    assert_eq!(ended.lines("out.log.zst").len() as u64, received, "events in the file");
}

#[test]
fn what_was_sent_is_in_the_file_or_counted() {
    const COUNT: u64 = 50_000;
    if peer("zstd").is_none() {
        return;
    }
    let agent = Agent::start(DATAGRAMS_TO_SLOW_FILE);
    let senders = start(agent.udp("flood"), COUNT);
    assert_eq!(sent(senders), COUNT * SENDERS as u64);
    agent.wait("everything that was sent is accounted for", |ledger| {
        let received = sum(&ledger["sources"], "received_events");
        let kernel = ledger["sources"][0]["lost_events"]["kernel"].as_u64().unwrap();
        received + kernel == COUNT * SENDERS as u64
    });
    let ended = agent.stop().well();
    assert!(closing(&ended, "flood kernel") > 0, "the flood was no flood");
    check(&ended, COUNT * SENDERS as u64);
}

#[test]
fn stopped_in_the_middle_of_the_flood() {
    if peer("zstd").is_none() {
        return;
    }
    let agent = Agent::start(DATAGRAMS_TO_SLOW_FILE);
    let senders = start(agent.udp("flood"), u64::MAX);
    agent.wait("some are lost", |ledger| {
        ledger["sources"][0]["lost_events"]["kernel"].as_u64().unwrap() > 1_000
    });
    let ended = agent.stop().well();
    check(&ended, sent(senders));
}
