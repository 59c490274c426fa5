//! Sending on: to a next flumen, which is killed and comes back, to rsyslogd and to syslog-ng.

use crate::harness::{Agent, agent, lines_of, place, sum, until, written};
use crate::peers::{Running, assert_texts, missing, rsyslogd, texts};
use serde_json::Value;
use std::collections::BTreeSet;
use std::io::Write;
use std::net::{SocketAddrV4, TcpStream, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::Command;
use tempfile::TempDir;

const SENDER: &str = r#"
[sources.net]
type    = "syslog"
listen  = ["udp://127.0.0.1:0", "tcp://127.0.0.1:0"]

[sinks.next]
type        = "syslog"
backoff_max = "200ms"
{options}
"#;

/// Plain text, as it came.
const RECEIVER: &str = r#"
[sources.net]
type    = "syslog"
listen  = ["udp://{at}", "tcp://{at}"]

[sinks.archive]
type    = "file"
path    = "{dir}/out.log"
codec   = "none"
block   = { age = "20ms" }
"#;

/// Whether every datagram that came to this address has been read.
fn nothing_waits(at: &str) -> bool {
    let at: SocketAddrV4 = at.parse().expect("a place of ours");
    // As the kernel prints it: the address's bytes as one number of the machine.
    let local = format!("{:08X}:{:04X}", u32::from_ne_bytes(at.ip().octets()), at.port());
    let table = std::fs::read_to_string("/proc/net/udp").expect("Linux");
    let row = table.lines().find(|row| row.split_whitespace().nth(1) == Some(&local));
    let queues = row.expect("it listens there").split_whitespace().nth(4).expect("two queues");
    queues.ends_with(":00000000")
}

fn receiver(dir: TempDir, at: &str) -> Agent {
    Agent::start_in(dir, &RECEIVER.replace("{at}", at))
}

pub(crate) fn sender(options: &str) -> Agent {
    Agent::start(&SENDER.replace("{options}", options))
}

fn numbered(from: usize, to: usize) -> Vec<u8> {
    (from..to)
        .flat_map(|n| format!("<13>Oct 11 22:14:15 h app: {n:07} ok\n").into_bytes())
        .collect()
}

/// The numbers in these files; every line is whole.
fn numbers(folder: &Path) -> BTreeSet<usize> {
    let files = crate::harness::paths(folder, ".log").into_iter();
    let lines = files.flat_map(|file| lines_of(&file));
    let number = |line: String| {
        let number = line.strip_prefix("<13>Oct 11 22:14:15 h app: ");
        let number = number.and_then(|rest| rest.strip_suffix(" ok")?.parse().ok());
        number.unwrap_or_else(|| panic!("not a whole event: {line:?}"))
    };
    lines.map(number).collect()
}

pub(crate) fn at_sinks(ledger: &Value, series: &str) -> u64 {
    sum(&ledger["sinks"], series)
}

#[test]
fn to_flumen_every_event_byte_by_byte() {
    for (host, options) in [
        (1, "targets = 'tcp://{at}'"),
        (2, "targets = 'tcp://{at}'\nframing = 'octet'"),
        (3, "targets = 'udp://{at}'"),
    ] {
        let at = place(host);
        let next = receiver(TempDir::new().unwrap(), &at);
        let agent = sender(&options.replace("{at}", &at));
        let mut stream = TcpStream::connect(agent.tcp("net")).unwrap();
        let lines: Vec<String> = (0..3000).map(|n| format!("<13>line {n} \u{e9}\t.")).collect();
        stream.write_all((lines.join("\n") + "\n").as_bytes()).unwrap();
        drop(stream);
        agent.wait_for(3000);
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        for datagram in [&b"<13>two\nlines"[..], b"no pri", b"7 <13>x"] {
            socket.send_to(datagram, agent.udp("net")).unwrap();
        }
        let ledger = agent.wait_for(3003);
        assert_eq!((written(&ledger), at_sinks(&ledger, "errors")), (3003, 0), "{options}");
        let ledger = next.wait_for(3003);
        assert_eq!(written(&ledger), 3003, "{options}");
        agent.stop().well();
        let got: BTreeSet<String> = next.stop().well().lines("out.log").into_iter().collect();
        // What a framing cannot carry gets the PRI that relays write; see the manual.
        let (no_pri, counted) = match host {
            1 => ("no pri", "<13>7 <13>x"),
            2 => ("<13>no pri", "<13>7 <13>x"),
            _ => ("no pri", "7 <13>x"),
        };
        let others = ["<13>two#012lines", no_pri, counted].map(str::to_owned);
        let expected: BTreeSet<String> = lines.into_iter().chain(others).collect();
        let differ: Vec<&String> = got.symmetric_difference(&expected).collect();
        assert!(differ.is_empty(), "{options}: {differ:?}");
    }
}

#[test]
fn to_flumen_in_one_format_with_the_first_senders_address() {
    let at = place(4);
    let last = receiver(TempDir::new().unwrap(), &at);
    let format = "format = 'rfc5424'\nzone = 'Europe/Berlin'\nframing = 'octet'";
    let second_at = place(5);
    let second = SENDER
        .replace("{options}", &format!("targets = 'tcp://{at}'\n{format}"))
        .replace("tcp://127.0.0.1:0", &format!("tcp://{second_at}"));
    let second = Agent::start(&second);
    let first = sender(&format!("targets = 'tcp://{second_at}'\n{format}"));
    let mut stream = TcpStream::connect(first.tcp("net")).unwrap();
    stream
        .write_all(b"<38>1 2026-10-11T22:14:15.003+09:00 h su 230 ID [a@1 b=\"c\"] text\n")
        .unwrap();
    stream.write_all(b"<38>Jan 11 22:14:15 h su[230]: text\nwhat?\n").unwrap();
    drop(stream);
    last.wait_for(3);
    first.stop().well();
    second.stop().well();
    let lines = last.stop().well().lines("out.log");
    // Two hops, and one origin: the first sender's.
    let origin = "[origin ip=\"127.0.0.1\"]";
    let kept =
        format!("<38>1 2026-10-11T22:14:15.003+09:00 h su 230 ID [a@1 b=\"c\"]{origin} text");
    assert_eq!(lines[0], kept);
    let year = lines[1].strip_prefix("<38>1 20").expect("a year was added");
    assert_eq!(&year[2..], format!("-01-11T22:14:15+01:00 h su 230 - {origin} text"));
    assert!(lines[2].starts_with("<13>1 20"), "{}", lines[2]);
    assert!(lines[2].ends_with(&format!("Z 127.0.0.1 - - - {origin} what?")), "{}", lines[2]);
}

/// SIGKILL for the receiver in mid-stream, and a new one in its place. What may be missing is what
/// the kernel had taken before the end was noticed, and the first receiver had not written: the
/// manual says so. Everything behind it is there, nothing is there in halves, and the sender's
/// ledger has no loss.
#[test]
fn to_a_flumen_that_is_killed_and_comes_back() {
    const COUNT: usize = 60_000;
    for (host, options) in [
        (6, "targets = 'tcp://{at}'"),
        (7, "targets = 'tcp://{at}'\nframing = 'octet'"),
        (8, "targets = 'udp://{at}'"),
    ] {
        let at = place(host);
        let next = receiver(TempDir::new().unwrap(), &at);
        let agent = sender(&options.replace("{at}", &at));
        let mut stream = TcpStream::connect(agent.tcp("net")).unwrap();
        stream.write_all(&numbered(0, COUNT / 3)).unwrap();
        let before = next.wait_for(COUNT as u64 / 6);
        let first_dir = next.kill();
        stream.write_all(&numbered(COUNT / 3, 2 * COUNT / 3)).unwrap();
        let ledger = agent.wait("the end is noticed", |ledger| at_sinks(ledger, "errors") > 0);
        let noticed = written(&ledger) as usize;
        let next = receiver(TempDir::new().unwrap(), &at);
        stream.write_all(&numbered(2 * COUNT / 3, COUNT)).unwrap();
        drop(stream);
        let ledger = agent.wait_for(COUNT as u64);
        assert_eq!(written(&ledger), COUNT as u64, "{options}");
        let ended = agent.stop().well();
        assert!(ended.log.contains("recovered after"), "told at both ends:\n{}", ended.log);
        // Whoever sends has ended: what still waits is in the receiver's sockets. What counts is
        // what it says in the end.
        next.wait("all is read", |ledger| {
            let connections = sum(&ledger["sources"], "open_connections");
            written(ledger) > 0 && connections == 0 && nothing_waits(&at)
        });
        let ended = next.stop().well();
        let (second_dir, kernel) = (&ended.dir, ended.lost("source net kernel"));
        // What the killed one had in its file counts; its tail may be torn in the middle of a line.
        let torn = first_dir.path().join("out.log.open");
        if torn.exists() {
            let text = std::fs::read_to_string(&torn).unwrap();
            let whole = text.rfind('\n').map_or(0, |end| end + 1);
            std::fs::write(first_dir.path().join("out.log"), &text[..whole]).unwrap();
        }
        let mut found = numbers(first_dir.path());
        assert!(found.len() as u64 >= written(&before), "{options}");
        let second = numbers(second_dir.path());
        assert!(second.len() <= ended.received("net"), "{}", ended.log);
        found.extend(&second);
        let lost: Vec<usize> = (0..COUNT).filter(|n| !found.contains(n)).collect();
        // A batch of datagrams is not begun again, and a receiver's full socket counts its own.
        let udp = options.contains("udp://");
        let from = if udp { 2 * COUNT / 3 } else { noticed };
        let late = lost.iter().filter(|n| **n >= from).count();
        assert!(late <= kernel, "{options}: {late} of {from}… lost, {kernel} by the kernel");
        println!("{options}: {} of {COUNT} lost, noticed at {noticed}", lost.len());
    }
}

#[test]
fn what_cannot_be_sent_before_the_drain_ends_is_counted() {
    let at = place(9);
    let text = SENDER.replace("{options}", &format!("targets = 'tcp://{at}'"));
    let agent = Agent::start(&(agent("64MiB", "drain = '300ms'") + &text));
    let mut stream = TcpStream::connect(agent.tcp("net")).unwrap();
    stream.write_all(&numbered(0, 1000)).unwrap();
    agent.wait("all has come", |ledger| sum(&ledger["sources"], "routed_events") == 1000);
    let told = agent.wait_ready(503);
    assert!(told.contains(&format!("sink next tcp://{at}: ")), "{told}");
    let ended = agent.stop();
    assert_eq!(ended.status.code(), Some(1), "{}", ended.log);
    assert!(ended.log.contains("adds up") && ended.log.contains("1000"), "{}", ended.log);
}

// ── others ──

pub(crate) fn syslog_ng() -> Option<PathBuf> {
    let named = std::env::var_os("FLUMEN_SYSLOG_NG").map(PathBuf::from);
    let path = named.unwrap_or_else(|| PathBuf::from("/usr/sbin/syslog-ng"));
    if path.is_file() { Some(path) } else { missing("syslog-ng") }
}

/// Waits until the peer has its UDP socket: what comes before is nobody's.
fn wait_bound(at: &str) {
    let at: std::net::SocketAddrV4 = at.parse().unwrap();
    let line = format!("{:08X}:{:04X} ", u32::from_ne_bytes(at.ip().octets()), at.port());
    let sockets = || std::fs::read_to_string("/proc/net/udp").unwrap();
    assert!(until(|| sockets().contains(&line)), "nobody listens on {at}");
}

/// Sends `texts` as lines through an agent to a peer that writes `{dir}/out`, and what it wrote.
fn through(texts: &[String], options: &str, at: &str, out: &Path, peer: Running) -> Vec<String> {
    if options.contains("udp://") {
        wait_bound(at);
    }
    let agent = sender(&options.replace("{at}", at));
    let mut stream = TcpStream::connect(agent.tcp("net")).unwrap();
    for text in texts {
        writeln!(stream, "<166>Oct 11 22:14:15 somehost app[42]: {text}").unwrap();
    }
    drop(stream);
    let ledger = agent.wait_for(texts.len() as u64);
    assert_eq!(written(&ledger), texts.len() as u64);
    agent.stop().well();
    let read = || std::fs::read_to_string(out).unwrap_or_default();
    let arrived = until(|| read().lines().count() >= texts.len());
    peer.finish();
    assert!(arrived, "{options}: {} of {} lines", read().lines().count(), texts.len());
    read().lines().map(str::to_owned).collect()
}

const RSYSLOG: &str = r#"
global(workDirectory="{dir}" net.enableDNS="off")
template(name="raw" type="string" string="%rawmsg%\n")
template(name="fields" type="string"
  string="%pri% %timereported:::date-rfc3339% %hostname% %app-name% %procid% {sd} %msg%\n")
module(load="{module}")
input(type="{module}" address="{address}" port="{port}")
action(type="omfile" file="{dir}/out" template="{template}")
"#;

fn to_rsyslog(host: u8, module: &str, template: &str, options: &str) -> Option<Vec<String>> {
    let program = rsyslogd()?;
    let dir = TempDir::new().unwrap();
    let at = place(host);
    let (address, port) = at.split_once(':').unwrap();
    let text = RSYSLOG
        .replace("{dir}", dir.path().to_str().unwrap())
        .replace("{module}", module)
        .replace("{template}", template)
        .replace("{sd}", "%structured-data%")
        .replace("{address}", address)
        .replace("{port}", port);
    let file = dir.path().join("rsyslog.conf");
    std::fs::write(&file, text).unwrap();
    let peer = Running::start(Command::new(program).args(["-n", "-iNONE", "-f"]).arg(&file));
    Some(through(&texts_for(options), options, &at, &dir.path().join("out"), peer))
}

const COUNT: usize = 500;
/// An ordinary receive buffer holds so many datagrams, however slow their reader is.
const DATAGRAMS: usize = 100;

fn texts_for(options: &str) -> Vec<String> {
    texts(if options.contains("udp://") { DATAGRAMS } else { COUNT })
}

const AS_SENT: &str = "<166>Oct 11 22:14:15 somehost app[42]: ";

#[test]
fn to_rsyslogd_as_received() {
    for (host, module, options) in [
        (10, "imtcp", "targets = 'tcp://{at}'"),
        (11, "imptcp", "targets = 'tcp://{at}'\nframing = 'octet'"),
        (12, "imudp", "targets = 'udp://{at}'"),
    ] {
        let Some(lines) = to_rsyslog(host, module, "raw", options) else { return };
        assert_texts(&lines, &texts_for(options));
        assert!(lines.iter().all(|line| line.starts_with(AS_SENT)), "{options}: {:?}", lines[0]);
    }
}

#[test]
fn to_rsyslogd_as_rfc5424() {
    for (host, module, options) in [
        (13, "imtcp", "targets = 'tcp://{at}'\nframing = 'octet'"),
        (14, "imudp", "targets = 'udp://{at}'"),
    ] {
        let options = format!("{options}\nformat = 'rfc5424'\nzone = 'UTC'");
        let Some(lines) = to_rsyslog(host, module, "fields", &options) else { return };
        assert_texts(&lines, &texts_for(&options));
        let fields = "-10-11T22:14:15Z somehost app 42 [origin ip=\"127.0.0.1\"] ";
        for line in &lines {
            let rest = line.strip_prefix("166 20").unwrap_or_else(|| panic!("{line}"));
            assert!(rest[2..].starts_with(fields), "{line}");
        }
    }
}

const SYSLOG_NG: &str = r#"@version: 3.38
options { stats-freq(0); use-dns(no); keep-hostname(yes); chain-hostnames(no);
          keep-timestamp(yes); time-zone("UTC"); };
source net { {source}; };
destination out { file("{dir}/out" template("{template}\n")); };
log { source(net); destination(out); };
"#;

fn to_syslog_ng(host: u8, source: &str, template: &str, options: &str) -> Option<Vec<String>> {
    let program = syslog_ng()?;
    let dir = TempDir::new().unwrap();
    let folder = dir.path();
    let at = place(host);
    let (address, port) = at.split_once(':').unwrap();
    let source = source.replace("{at}", &format!("ip(\"{address}\") port({port})"));
    let text = SYSLOG_NG
        .replace("{dir}", folder.to_str().unwrap())
        .replace("{source}", &source)
        .replace("{template}", template);
    let file = folder.join("syslog-ng.conf");
    std::fs::write(&file, text).unwrap();
    let mut command = Command::new(program);
    command.args(["-F", "--no-caps"]).arg("-f").arg(&file);
    for (flag, name) in [("-R", "persist"), ("-c", "control"), ("-p", "pid")] {
        command.arg(flag).arg(folder.join(name));
    }
    let peer = Running::start(&mut command);
    Some(through(&texts_for(options), options, &at, &folder.join("out"), peer))
}

#[test]
fn to_syslog_ng_in_both_formats() {
    let raw = "network({at} transport(\"tcp\") flags(no-parse))";
    let options = "targets = 'tcp://{at}'";
    let Some(lines) = to_syslog_ng(20, raw, "${MSG}", options) else { return };
    assert_texts(&lines, &texts(COUNT));
    assert!(lines.iter().all(|line| line.starts_with(AS_SENT)), "{:?}", lines[0]);

    let fields = "${ISODATE} ${HOST} ${PROGRAM} ${PID} ${SDATA} ${MSG}";
    for (host, transport, options) in [
        (21, "tcp", "targets = 'tcp://{at}'\nframing = 'octet'"),
        (22, "udp", "targets = 'udp://{at}'"),
    ] {
        let source = format!("syslog({{at}} transport(\"{transport}\"))");
        let options = format!("{options}\nformat = 'rfc5424'\nzone = 'UTC'");
        let lines = to_syslog_ng(host, &source, fields, &options).expect("it was there before");
        assert_texts(&lines, &texts_for(&options));
        let fields = "-10-11T22:14:15+00:00 somehost app 42 [origin ip=\"127.0.0.1\"] ";
        for line in &lines {
            assert!(line[4..].starts_with(fields), "{line}");
        }
    }
}
