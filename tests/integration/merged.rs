//! Datagrams that the kernel merges and cuts: whatever way they travelled, each is an event again.

use crate::harness::{Agent, SYSLOG_TO_FILE, sum};
use flumen::sys::udp_send;
use std::net::UdpSocket;
use std::os::fd::AsFd;

/// Datagrams of a run, told apart: `length` bytes each, the last of them `last`.
fn run(round: usize, count: usize, length: usize, last: usize) -> Vec<String> {
    let text = |index: usize| {
        let length = if index + 1 == count { last } else { length };
        let text = format!("<13>round {round} datagram {index} of {count} ");
        text.chars().chain("abcdefghij".chars().cycle()).take(length).collect()
    };
    (0..count).map(text).collect()
}

/// Long buffers cut by the kernel into equal datagrams, with a shorter one at the end; between them
/// ordinary ones of any length, the empty and the longest among them; all from one sender, so that
/// the order is known. With GRO the kernel merges what it can, without it merges nothing.
fn check(gro: bool) {
    let more = format!("[sources.net]\ngro = {gro}");
    let plain = SYSLOG_TO_FILE.replace(r#""zstd""#, r#""none""#).replace("[sources.net]", &more);
    let agent = Agent::start(&plain);
    let cut = UdpSocket::bind("127.0.0.1:0").unwrap();
    cut.connect(agent.udp("net")).unwrap();
    let whole = cut.try_clone().unwrap();
    let mut expected = Vec::new();
    for (round, (count, length, last)) in [
        (64, 100, 40),
        (50, 1000, 1000),
        (64, 60, 60),
        (2, 1400, 41),
        (45, 1450, 50),
        (64, 1, 1),
        (7, 9000, 8999),
    ]
    .into_iter()
    .enumerate()
    {
        let texts = run(round, count, length, last);
        udp_send::set_segment_bytes(cut.as_fd(), u16::try_from(length).unwrap()).unwrap();
        cut.send(texts.concat().as_bytes()).unwrap();
        expected.extend(texts);
        udp_send::set_segment_bytes(cut.as_fd(), 0).unwrap();
        let longest = run(round, 1, 0, 65_507).concat();
        for text in ["", "one", "", "a longer one", "three", "three", "three", &longest, ""] {
            whole.send(text.as_bytes()).unwrap();
            expected.push(text.to_owned());
        }
        // No more at once than the smallest receive buffer holds.
        agent.wait_for(expected.len() as u64);
    }
    let ledger = agent.ledger();
    let bytes: usize = expected.iter().map(String::len).sum();
    assert_eq!(sum(&ledger["sources"], "received_bytes"), bytes as u64);
    assert_eq!(ledger["lost_events"], 0);
    let marked = ledger["sources"][0]["marked_events"].as_object().unwrap();
    assert!(marked.values().all(|count| *count == 0), "{marked:?}");
    let ended = agent.stop().well();
    let lines = ended.lines("out.log");
    for (index, (line, text)) in lines.iter().zip(&expected).enumerate() {
        assert!(line == text, "event {index} is {line:.80?}, expected {text:.80?}");
    }
    assert_eq!(lines.len(), expected.len());
}

#[test]
fn merged_datagrams_become_the_events_they_were() {
    check(true);
}

#[test]
fn the_same_without_merging() {
    check(false);
}

/// Many senders whose datagrams are merged at the same time, over two sockets of the agent: each
/// datagram once, and in the order of its sender.
#[test]
fn merged_datagrams_of_many_senders() {
    const ROUNDS: usize = 20;
    const RUN: usize = 64;
    let plain = SYSLOG_TO_FILE
        .replace(r#""zstd""#, r#""none""#)
        .replace("[sources.net]", "[sources.net]\ngro = true\nthreads = 2");
    let agent = Agent::start(&plain);
    let senders: Vec<UdpSocket> = (0..8).map(|_| UdpSocket::bind("127.0.0.1:0").unwrap()).collect();
    let text = |sender: usize, number: usize| format!("<13>{sender} {number:06} of a flow");
    for sender in &senders {
        sender.connect(agent.udp("net")).unwrap();
        let bytes = text(0, 0).len() as u16;
        udp_send::set_segment_bytes(sender.as_fd(), bytes).unwrap();
    }
    for round in 0..ROUNDS {
        for (index, sender) in senders.iter().enumerate() {
            let numbers = round * RUN..(round + 1) * RUN;
            let run: String = numbers.map(|number| text(index, number)).collect();
            sender.send(run.as_bytes()).unwrap();
        }
        agent.wait_for(((round + 1) * RUN * senders.len()) as u64);
    }
    let ledger = agent.ledger();
    assert_eq!(ledger["lost_events"], 0);
    let lines = agent.stop().well().lines("out.log");
    let mut next = vec![0; senders.len()];
    for line in &lines {
        let sender: usize = line[4..5].parse().unwrap();
        assert_eq!(*line, text(sender, next[sender]));
        next[sender] += 1;
    }
    assert_eq!(next, vec![ROUNDS * RUN; senders.len()]);
}

/// A datagram in the smallest pieces, from little memory: pages are as small as they may be, and
/// the longest still fits one.
#[test]
fn the_longest_datagram_in_the_smallest_pieces() {
    let plain = SYSLOG_TO_FILE
        .replace(r#""zstd""#, r#""none""#)
        .replace("[sources.net]", "[sources.net]\nevent_max = \"64B\"")
        .replace("type = \"memory\"", "type = \"memory\"\ncapacity = \"512KiB\"");
    let agent = Agent::start(&plain);
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let mut pieces = Vec::new();
    for round in 0..5 {
        let longest = run(round, 1, 0, 65_507).concat();
        socket.send_to(longest.as_bytes(), agent.udp("net")).unwrap();
        pieces.extend(
            longest.as_bytes().chunks(64).map(|it| String::from_utf8_lossy(it).into_owned()),
        );
        agent.wait_for(pieces.len() as u64);
    }
    let split = agent.ledger()["sources"][0]["marked_events"]["split"].as_u64();
    assert_eq!(split, Some(pieces.len() as u64));
    assert_eq!(agent.stop().well().lines("out.log"), pieces);
}
