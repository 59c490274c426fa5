//! util-linux `logger`: every transport, framing and message format it knows.

use crate::harness::{Agent, SYSLOG_TO_FILE};
use crate::peers::{assert_texts, peer, run, texts, write_lines};
use std::process::Command;

const COUNT: usize = 50;

/// Sends a file of texts through `logger` with these flags; returns the events of the archive.
fn through_logger(flags: &[&str]) -> Option<(Vec<String>, Vec<String>)> {
    let logger = peer("logger")?;
    peer("zstd")?;
    let agent = Agent::start(SYSLOG_TO_FILE);
    let texts = texts(COUNT);
    let file = agent.dir.path().join("texts");
    write_lines(&file, &texts);
    let to = if flags.contains(&"--udp") { agent.udp("net") } else { agent.tcp("net") };
    let port = to.port().to_string();
    let server = ["--server", "127.0.0.1", "--port", &port, "--tag", "flumen-test"];
    let mut command = Command::new(logger);
    run(command.args(server).args(flags).args(["--priority", "local4.info", "--file"]).arg(file));
    agent.wait_for(COUNT as u64);
    let ended = agent.stop().well();
    Some((ended.lines("out.log.zst"), texts))
}

/// RFC 3164 and 5424 begin with the PRI of local4.info: 20 × 8 + 6.
fn check(flags: &[&str]) {
    let Some((events, texts)) = through_logger(flags) else { return };
    assert_texts(&events, &texts);
    let head = if flags.contains(&"--rfc5424") { "<166>1 " } else { "<166>" };
    for event in &events {
        assert!(event.starts_with(head) && event.contains("flumen-test"), "{event:?}");
    }
}

#[test]
fn udp_rfc3164() {
    check(&["--udp", "--rfc3164"]);
}

#[test]
fn udp_rfc5424() {
    check(&["--udp", "--rfc5424"]);
}

#[test]
fn tcp_rfc3164() {
    check(&["--tcp", "--rfc3164"]);
}

#[test]
fn tcp_rfc5424() {
    check(&["--tcp", "--rfc5424"]);
}

#[test]
fn tcp_octet_count_rfc3164() {
    check(&["--tcp", "--octet-count", "--rfc3164"]);
}

#[test]
fn tcp_octet_count_rfc5424() {
    check(&["--tcp", "--octet-count", "--rfc5424"]);
}
