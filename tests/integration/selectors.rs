//! Which channels a source's events take, and what a full one costs: every event is in the files
//! it belongs to, or counted.

use crate::harness::{Agent, sum};
use serde_json::Value;
use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::ChildStdout;

/// Three files behind as many channels.
fn three_files(selector: &str) -> String {
    let mut text = format!(
        "[agent]\nmemory = \"128MiB\"\nadmin = \"127.0.0.1:0\"\ncores = \"none\"\n\
         [sources.net]\ntype = \"tcp\"\nlisten = \"tcp://127.0.0.1:0\"\n\
         channels = [\"a\", \"b\", \"c\"]\n\
         interceptors = [{{ type = \"regex_extractor\", regex = \"^([A-Z]+) \", \
         serializers = [{{ name = \"state\" }}] }}]\n{selector}\n"
    );
    for name in ["a", "b", "c"] {
        text += &format!(
            "[channels.{name}]\ntype = \"memory\"\n[sinks.{name}]\ntype = \"file\"\n\
             channel = \"{name}\"\npath = \"{{dir}}/{name}.log\"\ncodec = \"none\"\n\
             block = {{ age = \"20ms\" }}\n"
        );
    }
    text
}

/// Sends the lines `WORD number`, the words in turn.
fn send(to: SocketAddr, words: &[&str], count: usize, pad: usize) {
    let mut stream = TcpStream::connect(to).expect("it listens");
    let pad = "x".repeat(pad);
    let mut text = String::new();
    for number in 0..count {
        text += &format!("{} {number:06} {pad}\n", words[number % words.len()]);
        if text.len() > 64 << 10 {
            stream.write_all(text.as_bytes()).expect("taken");
            text.clear();
        }
    }
    stream.write_all(text.as_bytes()).expect("taken");
}

fn number(line: &str) -> usize {
    let word = line.split(' ').nth(1).unwrap_or_else(|| panic!("half a line: {line}"));
    word.parse().unwrap_or_else(|_| panic!("no number: {line}"))
}

fn numbers(lines: &[String]) -> Vec<usize> {
    lines.iter().map(|line| number(line)).collect()
}

/// The numbers of lines that begin with one of these words.
fn every(words: &[&str], of: &[&str], count: usize) -> Vec<usize> {
    (0..count).filter(|number| of.contains(&words[number % words.len()])).collect()
}

fn received(ledger: &Value) -> u64 {
    sum(&ledger["sources"], "received_events")
}

/// Lost at the components of that kind for that reason.
fn lost(ledger: &Value, kind: &str, reason: &str) -> u64 {
    let components = ledger[kind].as_array().expect("a list");
    components.iter().map(|it| it["lost_events"][reason].as_u64().expect("a count")).sum()
}

const WORDS: [&str; 4] = ["CZ", "US", "DE", "XX"];
const COUNT: usize = 8000;

#[test]
fn events_go_where_their_header_says() {
    let selector = "selector = { type = \"multiplexing\", header = \"state\", default = \"c\", \
                    mapping = { CZ = \"a\", US = [\"a\", \"b\"] }, optional = { DE = \"b\" } }";
    let agent = Agent::start(&three_files(selector));
    send(agent.tcp("net"), &WORDS, COUNT, 40);
    // CZ once, US twice, DE with the default and beside it, XX by default.
    let ledger = agent.wait_for((COUNT / 4 * 6) as u64);
    assert_eq!(sum(&ledger["sources"], "routed_events"), COUNT as u64, "{ledger:#}");
    assert_eq!(ledger["lost_events"], 0, "{ledger:#}");
    let ended = agent.stop().well();
    let found = ["a.log", "b.log", "c.log"].map(|name| numbers(&ended.lines(name)));
    let expected = [["CZ", "US"], ["US", "DE"], ["DE", "XX"]];
    assert_eq!(found, expected.map(|of| every(&WORDS, &of, COUNT)));
}

#[test]
fn what_nothing_is_mapped_to_is_counted() {
    let selector = "selector = { type = \"multiplexing\", header = \"state\", \
                    mapping = { CZ = \"a\", US = \"b\", DE = \"c\" } }";
    let agent = Agent::start(&three_files(selector));
    send(agent.tcp("net"), &WORDS, COUNT, 40);
    let quarter = (COUNT / 4) as u64;
    let ledger = agent.wait("all is accounted for", |ledger| {
        received(ledger) == COUNT as u64 && sum(&ledger["sinks"], "written_events") == 3 * quarter
    });
    assert_eq!(sum(&ledger["sources"], "routed_events"), 3 * quarter, "{ledger:#}");
    assert_eq!(lost(&ledger, "sources", "unrouted"), quarter, "{ledger:#}");
    agent.stop().well();
}

#[test]
fn balanced_events_are_in_one_channel_each() {
    let agent = Agent::start(&three_files("selector = { type = \"load_balancing\" }"));
    const COUNT: usize = 40_000;
    send(agent.tcp("net"), &["AA"], COUNT, 400);
    let ledger = agent.wait_for(COUNT as u64);
    assert_eq!(sum(&ledger["channels"], "put_events"), COUNT as u64, "{ledger:#}");
    let ended = agent.stop().well();
    let found = ["a.log", "b.log", "c.log"].map(|name| numbers(&ended.lines(name)));
    assert!(found.iter().all(|numbers| !numbers.is_empty()), "16 MB are more than three batches");
    let all: Vec<usize> = found.into_iter().flatten().collect();
    assert_eq!(all.len(), COUNT);
    assert_eq!(all.into_iter().collect::<BTreeSet<_>>(), (0..COUNT).collect());
}

/// A pipe that nobody reads behind a small channel, and a file behind another one.
fn with_a_pipe(source: &str, channel: &str) -> String {
    format!(
        "[agent]\nmemory = \"64MiB\"\nadmin = \"127.0.0.1:0\"\ncores = \"none\"\n\
         [sources.net]\ntype = \"tcp\"\nlisten = \"tcp://127.0.0.1:0\"\n{source}\n\
         [channels.side]\ntype = \"memory\"\ncapacity = \"8MiB\"\n{channel}\n\
         [sinks.pipe]\ntype = \"stdout\"\nchannel = \"side\"\n"
    )
}

/// Reads the pipe to its end, which is the agent's.
fn read(pipe: ChildStdout) -> std::thread::JoinHandle<Vec<usize>> {
    let lines = move || {
        let lines = BufReader::new(pipe).lines();
        lines.map(|line| number(&line.expect("text"))).collect()
    };
    std::thread::spawn(lines)
}

const FLOOD: usize = 60_000;
const FLOOD_PAD: usize = 500;

#[test]
fn nobody_waits_for_an_optional_channel_and_what_it_lost_is_counted() {
    let source = "channels = [\"main\", \"side\"]\nselector = { optional = \"side\" }\n\
                  [channels.main]\ntype = \"memory\"\n[sinks.file]\ntype = \"file\"\n\
                  channel = \"main\"\npath = \"{dir}/main.log\"\ncodec = \"none\"";
    let (agent, pipe) = Agent::start_piped(&with_a_pipe(source, ""));
    send(agent.tcp("net"), &["AA"], FLOOD, FLOOD_PAD);
    let ledger = agent.wait("all is in the file", |ledger| {
        let of_file = ledger["sinks"].as_array().and_then(|sinks| {
            sinks.iter().find(|sink| sink["name"] == "file")?["written_events"].as_u64()
        });
        of_file == Some(FLOOD as u64)
    });
    let dropped = lost(&ledger, "channels", "channel_full");
    assert!(dropped > 0, "30 MB fit in 8 MiB?\n{ledger:#}");
    assert_eq!(sum(&ledger["channels"], "put_events"), 2 * FLOOD as u64, "{ledger:#}");
    let reader = read(pipe);
    let ended = agent.stop().well();
    let seen = reader.join().expect("it does not panic");
    assert_eq!(seen.len() as u64 + dropped, FLOOD as u64);
    assert!(seen.is_sorted(), "in order");
    assert_eq!(numbers(&ended.lines("main.log")), (0..FLOOD).collect::<Vec<_>>());
}

#[test]
fn the_oldest_makes_room_for_the_newest() {
    let channel = "when_full = \"drop_oldest\"";
    let (agent, pipe) = Agent::start_piped(&with_a_pipe("channel = \"side\"", channel));
    send(agent.tcp("net"), &["AA"], FLOOD, FLOOD_PAD);
    let ledger = agent.wait("all is received", |ledger| received(ledger) == FLOOD as u64);
    let dropped = lost(&ledger, "channels", "channel_full");
    assert!(dropped > 0, "30 MB fit in 8 MiB?\n{ledger:#}");
    let reader = read(pipe);
    agent.stop().well();
    let seen = reader.join().expect("it does not panic");
    assert_eq!(seen.len() as u64 + dropped, FLOOD as u64);
    assert!(seen.is_sorted(), "in order");
    assert_eq!(seen.last(), Some(&(FLOOD - 1)), "the newest is kept");
}
