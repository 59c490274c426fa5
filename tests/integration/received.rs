//! What headers of blocks keep besides: `tokens`, the words of a block, and `keep_meta`, each
//! event's own time and peer, from a socket into a file and out again, whatever the codec, whether
//! one file or one a host.

use crate::commands::{flumen, said};
use crate::grep::{Place, segment_with, suffix};
use crate::harness::{Agent, SYSLOG_TO_FILE, until};
use flumen::codec::Codec;
use flumen::storage::tokens::TokenSieve;
use jiff::Timestamp;
use serde_json::Value;
use std::io::Write;
use std::net::{SocketAddr, TcpStream, UdpSocket};
use std::path::Path;

struct Told {
    time: Timestamp,
    peer: String,
    message: String,
}

fn json(command: &str, path: &Path) -> Vec<Told> {
    let found = said(flumen(command).arg("--json").arg(path));
    assert_eq!((found.code, found.err.as_str()), (Some(0), ""));
    let told = found.out.lines().map(|line| {
        let value: Value = serde_json::from_str(line).unwrap();
        assert_eq!(value["time_of"], "event", "{line}");
        let text = |key: &str| value[key].as_str().unwrap_or_default().to_owned();
        Told { time: text("time").parse().unwrap(), peer: text("peer"), message: text("message") }
    });
    told.collect()
}

fn config(codec: &str, path: &str) -> String {
    let whole = SYSLOG_TO_FILE.replace(r#""zstd""#, &format!("{codec:?}\nkeep_meta = true"));
    whole.replace("{dir}/out.log", &format!("{{dir}}/logs/{path}"))
}

/// Three senders by TCP and UDP, some of them at a time, with other times between.
fn send(agent: &Agent) -> Vec<(SocketAddr, String)> {
    let datagrams = UdpSocket::bind("127.0.0.1:0").unwrap();
    let mut streams = [agent.tcp("net"); 2].map(|address| TcpStream::connect(address).unwrap());
    let mut sent = Vec::new();
    for round in 0..4_u64 {
        for (number, stream) in streams.iter_mut().enumerate() {
            let from = stream.local_addr().unwrap();
            let lines: Vec<String> = (0..50)
                .map(|line| format!("<34>Oct 11 22:14:15 web{number} su: {round} {line} {from}"))
                .collect();
            stream.write_all((lines.join("\n") + "\n").as_bytes()).unwrap();
            sent.extend(lines.into_iter().map(|line| (from, line)));
        }
        let from = datagrams.local_addr().unwrap();
        for line in 0..20 {
            let line = format!("<34>Oct 11 22:14:15 web2 su: {round} {line} {from}");
            datagrams.send_to(line.as_bytes(), agent.udp("net")).unwrap();
            sent.push((from, line));
        }
        agent.wait_for(sent.len() as u64);
    }
    sent
}

#[test]
fn each_event_has_its_own_time_and_peer() {
    let cases = ["zstd", "gzip", "lz4"].map(|codec| (codec, "out.log"));
    for (codec, path) in cases.into_iter().chain([("zstd", "%{host}.log")]) {
        let agent = Agent::start(&config(codec, path));
        let sent = send(&agent);
        let logs = agent.dir.path().join("logs");
        let count = || said(flumen("grep -c").arg("").arg(&logs)).out;
        assert!(until(|| count() == "480\n"), "{codec}");
        let dir = agent.stop().well().dir;
        let logs = dir.path().join("logs");
        let told = json("cat", &logs);
        assert_eq!(told.len(), 480, "{codec}");
        for (from, line) in &sent {
            let found: Vec<&Told> = told.iter().filter(|it| it.message == *line).collect();
            assert_eq!(found.len(), 1, "{line}");
            assert_eq!(found[0].peer, from.to_string(), "{codec} {path}");
        }
        // Each round was accepted before the next was sent.
        let round = |n: usize| {
            let mark = format!("su: {n} ");
            let times = told.iter().filter(|it| it.message.contains(&mark)).map(|it| it.time);
            (times.clone().min().unwrap(), times.max().unwrap())
        };
        for n in 0..3 {
            assert!(round(n).1 < round(n + 1).0, "{codec} {path} {n}");
        }
        // Exactly the events of a round, though its blocks may hold others.
        let (since, until) = (round(1).0.to_string(), round(2).0.to_string());
        let arguments = ["grep", "", "logs", "--since", &since, "--until", &until];
        let place = Place { dir };
        for more in [&[][..], &["--json"]] {
            let found = said(place.flumen(&[&arguments[..], more].concat()));
            assert_eq!(found.code, Some(0));
            let other = found.out.lines().filter(|line| !line.contains("su: 1 ")).count();
            assert_eq!((other, found.out.lines().count()), (0, 120), "{codec} {since} {until}");
        }
        let stats = said(place.flumen(&["stats", "logs", "--since", &since, "--until", &until]));
        assert!(stats.out.starts_with("120 events, "), "{}", stats.out);
        let tail = json("tail -n 3", &place.dir.path().join("logs"));
        assert!(tail.iter().all(|it| it.message.contains("su: 3 ") && !it.peer.is_empty()));
        assert_eq!(said(place.flumen(&["verify", "logs"])).code, Some(0));
        let table = said(place.flumen(&["inspect", "logs"]));
        assert_eq!((table.code, table.err.as_str()), (Some(0), ""));
    }
}

/// Blocks without a word are passed over, those with it are not, whatever else their headers keep.
#[test]
fn grep_passes_over_blocks_without_the_word() {
    for (codec, path) in [("zstd", "out.log"), ("gzip", "out.log"), ("lz4", "%{host}.log")] {
        let told = config(codec, path).replace("keep_meta", "tokens = true\nkeep_meta");
        let agent = Agent::start(&told);
        let sent = send(&agent);
        let place = Place { dir: agent.stop().well().dir };
        let grep = |arguments: &[&str]| {
            let found = said(place.flumen(&[&["grep", "--stats"], arguments, &["logs"]].concat()));
            let skipped = found.err.contains("\n0 blocks searched");
            assert!(found.err.contains("blocks searched"), "{}", found.err);
            (found.out.lines().count(), skipped)
        };
        // A filter may take a word for one of its own, once in hundreds of times.
        let absent = (0..20).map(|n| grep(&["-w", &format!("needle{n}")]));
        let absent: Vec<_> = absent.collect();
        assert!(absent.iter().all(|(lines, _)| *lines == 0), "{codec} {path}: {absent:?}");
        let skipped = absent.iter().filter(|(_, skipped)| *skipped).count();
        assert!(skipped >= 10, "{codec} {path}: {absent:?}");
        assert_eq!(grep(&["needle"]), (0, false), "no whole word is asked for");
        assert_eq!(grep(&["-wi", "WEB1"]), (200, false));
        assert_eq!(grep(&[r"\bsu: 2 (7|8) "]), (6, false));
        assert_eq!(grep(&["-vw", "needle"]), (sent.len(), false));
        assert_eq!(said(place.flumen(&["verify", "logs"])).code, Some(0));
        let json = said(place.flumen(&["grep", "--json", "", "logs"]));
        assert!(json.out.lines().all(|line| line.contains(r#""time_of":"event""#)), "{codec}");
    }
}

/// Lines around an event may stand in a block that does not hold the word.
#[test]
fn lines_around_are_those_of_the_next_block_too() {
    let place = Place::new();
    let texts = ["one\ntwo\n", "a needle\n", "three\nfour\n", "five\n"].map(str::to_owned);
    let words = |text: &str| {
        let mut field = Vec::new();
        TokenSieve::default().sift(text.as_bytes(), 1 << 16, &mut field);
        field
    };
    for codec in [Codec::Zstd, Codec::Gzip, Codec::Lz4] {
        let name = format!("x.log{}", suffix(codec));
        place.put(&name, &segment_with(codec, &texts, 0, true, words).bytes);
        let said =
            |more: &str| said(place.flumen(&["grep", "--stats", "-w", more, "needle", &name]));
        let plain = said("-F");
        assert!(plain.err.contains("\n1 blocks searched"), "{}", plain.err);
        assert_eq!(said("-C1").out, "two\na needle\nthree\n", "{codec}");
        assert_eq!(said("-A3").out, "a needle\nthree\nfour\nfive\n", "{codec}");
    }
}
