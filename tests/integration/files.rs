//! Stock tools read what we write: finished files whole, open ones while they grow.

use crate::harness::{Agent, SYSLOG_TO_FILE, lines_of, paths};
use crate::peers::{peer, texts};
use std::io::Write;
use std::net::TcpStream;

const COUNT: usize = 2000;

fn send(agent: &Agent, texts: &[String]) {
    let mut stream = TcpStream::connect(agent.tcp("net")).expect("it listens");
    stream.write_all((texts.join("\n") + "\n").as_bytes()).expect("sent");
}

/// Two halves, so that the file has more than one block; read while open and when finished.
fn check(codec: &str, more: &str, suffix: &str, tool: &str) {
    if peer(tool).is_none() {
        return;
    }
    let agent = Agent::start(&SYSLOG_TO_FILE.replace(r#""zstd""#, &format!("{codec:?}{more}")));
    let texts = texts(COUNT);
    send(&agent, &texts[..COUNT / 2]);
    agent.wait_for(COUNT as u64 / 2);

    // `.open` hides the codec from the tools; a copy under the finished name is what they like.
    let open = agent.dir.path().join(format!("out.log{suffix}.open"));
    let copy = agent.dir.path().join(format!("copy.log{suffix}"));
    std::fs::copy(&open, &copy).expect("the open file is there");
    assert_eq!(lines_of(&copy), texts[..COUNT / 2], "an open {codec} file");
    std::fs::remove_file(&copy).expect("removed");

    send(&agent, &texts[COUNT / 2..]);
    agent.wait_for(COUNT as u64);
    let ended = agent.stop().well();
    let name = format!("out.log{suffix}");
    assert_eq!(ended.lines(&name), texts, "a finished {codec} file");
    let all = paths(ended.dir.path(), "");
    let logs: Vec<_> = all.iter().filter(|path| path.to_string_lossy().contains(".log")).collect();
    assert_eq!(logs, [&ended.dir.path().join(name)], "nothing else lies there");
}

#[test]
fn zstd_reads_zstd() {
    check("zstd", "", ".zst", "zstd");
}

#[test]
fn gzip_reads_gzip() {
    check("gzip", "", ".gz", "gzip");
}

#[test]
fn lz4_reads_lz4() {
    check("lz4", "", ".lz4", "lz4");
}

#[test]
fn anything_reads_plain_text() {
    check("none", "", "", "cat");
}

#[test]
fn they_read_what_is_as_small_as_time_allows() {
    check("zstd", "\nlevel = \"adapt\"", ".zst", "zstd");
    check("gzip", "\nlevel = \"adapt\"", ".gz", "gzip");
}
