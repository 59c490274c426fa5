//! Bad and odd input on the wire: every byte sent is an event, part of one, or counted.

use crate::harness::{Agent, SYSLOG_TO_FILE, from_environment, sum};
use serde_json::Value;
use std::io::{Read, Write};
use std::net::{TcpStream, UdpSocket};

/// Plain text, so that the archive is compared byte by byte.
fn start() -> Agent {
    Agent::start(&SYSLOG_TO_FILE.replace(r#""zstd""#, r#""none""#))
}

fn finish(agent: Agent) -> Vec<u8> {
    let ended = agent.stop().well();
    std::fs::read(ended.dir.path().join("out.log")).unwrap()
}

fn received(ledger: &Value) -> u64 {
    sum(&ledger["sources"], "received_events")
}

fn connections(ledger: &Value) -> u64 {
    sum(&ledger["sources"], "open_connections")
}

#[test]
fn datagrams_of_every_size() {
    let agent = start();
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let largest = vec![b'x'; 65_507];
    for bytes in [&b""[..], b"a", b"\n", b"tail\r\n", b"\0", b"in\0side", &largest] {
        socket.send_to(bytes, agent.udp("net")).unwrap();
    }
    agent.wait_for(7);
    let mut expected = b"\na\n\ntail\n\nin#000side\n".to_vec();
    expected.extend_from_slice(&largest);
    expected.push(b'\n');
    assert!(finish(agent) == expected, "seven datagrams, seven lines");
}

/// A count that is absurd, padded, negative or too long is no count: the text is a line.
#[test]
fn octet_counts_that_are_none() {
    let agent = start();
    let mut stream = TcpStream::connect(agent.tcp("net")).unwrap();
    let lines = [
        "99999999999999999999 <13>too long",
        "-5 <13>negative",
        "0 <13>nothing",
        "200 OK",
        "12<13>no space",
        "+3 <13>signed",
        "0011 <13>padded",
        "18446744073709551617 <13>one more than fits",
        "65537 <13>one more than event_max",
        "11  <13>two spaces",
        "1e1 <13>scientific",
        "11",
        " 11 <13>indented",
    ];
    let count = lines.len() as u64;
    stream.write_all((lines.join("\n") + "\n11 <13>a frame").as_bytes()).unwrap();
    drop(stream);
    agent.wait_for(count + 1);
    let text = String::from_utf8(finish(agent)).unwrap();
    assert_eq!(text.lines().collect::<Vec<_>>(), [&lines[..], &["<13>a frame"]].concat());
}

/// Frames as long as an event may be, and a peer that leaves in the middle of one.
#[test]
fn counted_frames_at_their_limits() {
    const EVENT_MAX: usize = 65_536;
    let agent = start();
    let frame = |bytes: usize| format!("<13>{}", "f".repeat(bytes - 4));
    let mut stream = TcpStream::connect(agent.tcp("net")).unwrap();
    for bytes in [4, 5, EVENT_MAX - 1, EVENT_MAX] {
        stream.write_all(format!("{bytes} {}", frame(bytes)).as_bytes()).unwrap();
    }
    stream.write_all(b"1000 <13>the peer leaves").unwrap();
    drop(stream);
    agent.wait_for(5);
    let text = String::from_utf8(finish(agent)).unwrap();
    let lines: Vec<&str> = text.lines().collect();
    for (line, bytes) in lines.iter().zip([4, 5, EVENT_MAX - 1, EVENT_MAX]) {
        assert!(*line == frame(bytes), "a frame of {bytes} bytes");
    }
    assert_eq!(lines[4], "<13>the peer leaves", "what came of it is kept");
}

/// The same bytes, cut at every place into two writes: always the same events.
#[test]
fn frames_split_at_every_byte() {
    let agent = start();
    let bytes = b"13 <13>one\ntwo\r\n<13>line\r\n9 <13>three\x0012 <13>and this";
    let whole = b"<13>one#012two\n<13>line\n<13>three\n<13>and this\n";
    for cut in 0..=bytes.len() {
        let mut stream = TcpStream::connect(agent.tcp("net")).unwrap();
        stream.set_nodelay(true).unwrap();
        stream.write_all(&bytes[..cut]).unwrap();
        // The first part is surely read on its own once the agent has seen the connection.
        agent.wait("the connection is open", |ledger| connections(ledger) == 1);
        stream.write_all(&bytes[cut..]).unwrap();
        drop(stream);
        agent.wait("the connection is closed", |ledger| connections(ledger) == 0);
    }
    let times = bytes.len() + 1;
    agent.wait_for(4 * times as u64);
    let archive = finish(agent);
    for (index, events) in archive.chunks(whole.len()).enumerate() {
        let events = String::from_utf8_lossy(events);
        assert_eq!(events, String::from_utf8_lossy(whole), "cut at {index}");
    }
    assert_eq!(archive.len(), whole.len() * times);
}

/// A line of 64 MiB without an end: split, marked, every byte kept, memory bounded, and others
/// are heard meanwhile. `scripts/hard-input` sends a gigabyte.
#[test]
fn a_line_without_an_end() {
    let mebibytes = from_environment("FLUMEN_LINE_MEBIBYTES", 64) as usize;
    let agent = start();
    let mut stream = TcpStream::connect(agent.tcp("net")).unwrap();
    let mut other = TcpStream::connect(agent.tcp("net")).unwrap();
    let piece = vec![b'y'; 1 << 20];
    for _ in 0..mebibytes {
        stream.write_all(&piece).unwrap();
        other.write_all(b"o\n").unwrap();
        assert!(agent.resident_bytes() <= (64 + 32) << 20, "{}", agent.resident_bytes());
    }
    drop((stream, other));
    let bytes = ((mebibytes << 20) + mebibytes) as u64;
    let ledger = agent.wait("all bytes are received", |ledger| {
        connections(ledger) == 0 && sum(&ledger["sources"], "received_bytes") == bytes
    });
    let pieces = received(&ledger) - mebibytes as u64;
    let split = ledger["sources"][0]["marked_events"]["split"].as_u64().unwrap();
    // Each piece but the last says that it goes on, or each says that it is one.
    assert!(split + 1 >= pieces && split <= pieces, "{split} of {pieces} pieces are marked");
    agent.wait_for(received(&ledger));
    let ended = agent.stop().well();
    let mut counts = [0; 256];
    // A gigabyte is where a file ends and the next begins.
    for name in ["out.log", "out.log.1"] {
        let Ok(archive) = std::fs::File::open(ended.dir.path().join(name)) else { continue };
        for byte in std::io::BufReader::with_capacity(1 << 20, archive).bytes() {
            counts[usize::from(byte.unwrap())] += 1;
        }
    }
    let [y, o, ends] = [b'y', b'o', b'\n'].map(|byte| counts[usize::from(byte)]);
    assert_eq!((y, o), (mebibytes << 20, mebibytes));
    assert_eq!(ends as u64, received(&ledger));
    assert_eq!(counts.iter().sum::<usize>(), y + o + ends, "and nothing else");
}

/// Bytes that are no text at all are kept; frames end at LF and NUL, whatever is between.
#[test]
fn binary_junk() {
    let agent = start();
    let junk: Vec<u8> = (0..=255_u8).cycle().take(256 * 40).collect();
    let mut stream = TcpStream::connect(agent.tcp("net")).unwrap();
    stream.write_all(&junk).unwrap();
    drop(stream);
    let frames: Vec<&[u8]> =
        junk.split(|&byte| byte == 0 || byte == b'\n').filter(|frame| !frame.is_empty()).collect();
    agent.wait_for(frames.len() as u64);
    let archive = finish(agent);
    let kept: Vec<&[u8]> = archive.split(|&byte| byte == b'\n').collect();
    assert_eq!(kept.len(), frames.len() + 1, "and an empty rest behind the last LF");
    for (kept, frame) in kept.iter().zip(&frames) {
        assert_eq!(kept, frame);
    }
}

/// One connection that says nothing, one in the middle of a line: others are served.
#[test]
fn half_open_connections_hold_nobody_up() {
    let agent = start();
    let _silent = TcpStream::connect(agent.tcp("net")).unwrap();
    let mut halfway = TcpStream::connect(agent.tcp("net")).unwrap();
    halfway.write_all(b"<13>half a li").unwrap();
    for count in 0..100 {
        let mut stream = TcpStream::connect(agent.tcp("net")).unwrap();
        stream.write_all(format!("<13>event {count}\n").as_bytes()).unwrap();
    }
    agent.wait_for(100);
    halfway.shutdown(std::net::Shutdown::Write).unwrap();
    agent.wait_for(101);
    let text = String::from_utf8(finish(agent)).unwrap();
    assert_eq!(text.lines().count(), 101);
    assert_eq!(text.lines().filter(|line| *line == "<13>half a li").count(), 1);
}
