//! `nc`: bare lines over TCP, bare datagrams over UDP.

use crate::harness::{Agent, lines_of, to_plain_file};
use crate::peers::peer;
use std::io::Write;
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Command, Stdio};

const LINES_AND_DATAGRAMS: &str = r#"
[sources.lines]
type    = "tcp"
listen  = ["tcp://127.0.0.1:0"]
channel = "main"

[sources.datagrams]
type    = "udp"
listen  = ["udp://127.0.0.1:0"]
channel = "main"
"#;

fn send(nc: &Path, flags: &[&str], to: SocketAddr, bytes: &[u8]) {
    let mut child = Command::new(nc)
        .args(flags)
        .args(["127.0.0.1", &to.port().to_string()])
        .stdin(Stdio::piped())
        .spawn()
        .expect("nc starts");
    child.stdin.take().expect("piped").write_all(bytes).expect("nc reads");
    assert!(child.wait().expect("our own child").success());
}

/// CRLF loses its CR, an empty line is no event, and the last line needs no newline.
#[test]
fn lines_over_tcp() {
    let Some(nc) = peer("nc") else { return };
    let agent = Agent::start(&to_plain_file(LINES_AND_DATAGRAMS));
    send(&nc, &["-N"], agent.tcp("lines"), b"one\ntwo\r\n\n\xffthree\nlast without newline");
    agent.wait_for(4);
    let ended = agent.stop().well();
    let bytes = std::fs::read(ended.dir.path().join("all.log")).expect("the archive");
    assert_eq!(bytes, b"one\ntwo\n\xffthree\nlast without newline\n");
}

/// One datagram is one event, whatever it holds.
#[test]
fn datagram_over_udp() {
    let Some(nc) = peer("nc") else { return };
    let agent = Agent::start(&to_plain_file(LINES_AND_DATAGRAMS));
    send(&nc, &["-u", "-q0"], agent.udp("datagrams"), b"two lines\nin one\n");
    agent.wait_for(1);
    let ended = agent.stop().well();
    assert_eq!(lines_of(&ended.dir.path().join("all.log")), ["two lines#012in one"]);
}

const ANSWERED: &str = r#"
[sources.answered]
type    = "netcat"
listen  = ["tcp://127.0.0.1:0"]
ack     = "written"
channel = "main"
"#;

/// Flume's netcat: an `OK` for each line, in the file by then; a long line is told and ends it.
#[test]
fn answered_lines() {
    let Some(nc) = peer("nc") else { return };
    let agent = Agent::start(&to_plain_file(ANSWERED));
    let port = agent.tcp("answered").port().to_string();
    let talk = |bytes: &[u8]| {
        let mut child = Command::new(&nc)
            .args(["-N", "127.0.0.1", &port])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("nc starts");
        child.stdin.take().expect("piped").write_all(bytes).expect("nc reads");
        let output = child.wait_with_output().expect("our own child");
        String::from_utf8(output.stdout).expect("text")
    };
    let out = agent.dir.path().join("all.log.open");
    assert_eq!(talk(b"one\ntwo\nthree\n"), "OK\nOK\nOK\n");
    assert_eq!(std::fs::read_to_string(&out).expect("the file"), "one\ntwo\nthree\n");
    let long = [&b"four\n"[..], &[b'x'; 512], b"\nfive\n"].concat();
    let told = "FAILED: Event exceeds the maximum length (512 chars, including newline)\n";
    assert_eq!(talk(&long), format!("OK\n{told}"));
    let ended = agent.stop().well();
    assert_eq!(lines_of(&ended.dir.path().join("all.log")), ["one", "two", "three", "four"]);
}

/// A source that counts to a million ends the agent, and each number is there once.
#[test]
fn numbers_to_a_million() {
    let dir = tempfile::TempDir::new().expect("a folder");
    let text = format!(
        "[agent]\nadmin = '127.0.0.1:0'\n\
         [sources.r1]\ntype = 'seq'\ntotal_events = 1000000\nchannel = 'c1'\n\
         [channels.c1]\ntype = 'memory'\n\
         [sinks.k1]\ntype = 'file'\nchannel = 'c1'\ncodec = 'none'\npath = '{}/out.log'\n",
        dir.path().display()
    );
    let file = dir.path().join("flumen.toml");
    std::fs::write(&file, text).expect("the configuration");
    let status = Command::new(env!("CARGO_BIN_EXE_flumen")).arg("run").arg(&file).status();
    assert!(status.expect("it runs").success());
    let out = std::fs::read_to_string(dir.path().join("out.log")).expect("the archive");
    assert!(out.lines().eq((0..1_000_000).map(|number: u32| number.to_string())));
}
