//! `nc`: bare lines over TCP, bare datagrams over UDP.

use crate::harness::{Agent, lines_of};
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

[channels.main]
type = "memory"

[sinks.archive]
type    = "file"
channel = "main"
path    = "{dir}/out.log"
codec   = "none"
block   = { age = "50ms" }
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
    let agent = Agent::start(LINES_AND_DATAGRAMS);
    send(&nc, &["-N"], agent.tcp("lines"), b"one\ntwo\r\n\n\xffthree\nlast without newline");
    agent.wait_for(4);
    let ended = agent.stop().well();
    let bytes = std::fs::read(ended.dir.path().join("out.log")).expect("the archive");
    assert_eq!(bytes, b"one\ntwo\n\xffthree\nlast without newline\n");
}

/// One datagram is one event, whatever it holds.
#[test]
fn datagram_over_udp() {
    let Some(nc) = peer("nc") else { return };
    let agent = Agent::start(LINES_AND_DATAGRAMS);
    send(&nc, &["-u", "-q0"], agent.udp("datagrams"), b"two lines\nin one\n");
    agent.wait_for(1);
    let ended = agent.stop().well();
    assert_eq!(lines_of(&ended.dir.path().join("out.log")), ["two lines#012in one"]);
}
