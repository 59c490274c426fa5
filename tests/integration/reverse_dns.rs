//! Names of senders, asked of a resolver of the test's own: in namespaces of its own it is the
//! machine's.

use crate::harness::{Agent, DEADLINE, agent, sum, written};
use crate::peers::{alone, peer, run};
use std::io::Write;
use std::net::{SocketAddr, UdpSocket};
use std::path::Path;
use std::process::Command;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::{Duration, Instant};

const SYSLOG_BY_HOST: &str = r#"
[sources.net]
type        = "syslog"
listen      = ["udp://127.0.0.1:0", "tcp://127.0.0.1:0"]
reverse_dns = true

[channels.main]
type = "memory"

[sinks.file]
type  = "file"
path  = "{dir}/%{host}.log"
codec = "none"
block = { age = "20ms" }
"#;

/// The machine's resolver asks us, and waits for 30 s when we say nothing.
fn own_resolver(dir: &Path) -> Receiver<String> {
    let mount = |text: &str, over: &str| {
        if Path::new(over).exists() {
            let file = dir.join(Path::new(over).file_name().expect("a file"));
            std::fs::write(&file, text).expect("written");
            run(Command::new("mount").arg("--bind").arg(&file).arg(over));
        }
    };
    mount("nameserver 127.0.0.1\noptions timeout:30 attempts:1\n", "/etc/resolv.conf");
    mount("hosts: files dns\n", "/etc/nsswitch.conf");
    mount("127.0.0.1 localhost\n127.0.0.9 by-file\n", "/etc/hosts");
    let socket = UdpSocket::bind("127.0.0.1:53").expect("a namespace of our own");
    let (said, asked) = channel();
    std::thread::spawn(move || answer(&socket, &said));
    asked
}

/// Pointers of 127.0.0.2 (a name) and 127.0.0.4 (no name at all); of 127.0.0.5 nothing is said, and
/// all others are not there.
fn answer(socket: &UdpSocket, said: &Sender<String>) {
    let mut query = [0; 512];
    while let Ok((length, from)) = socket.recv_from(&mut query) {
        let mut end = 12;
        let mut name = String::new();
        while query[end] > 0 {
            let label = &query[end + 1..=end + usize::from(query[end])];
            name += &String::from_utf8_lossy(label);
            name.push('.');
            end += 1 + label.len();
        }
        let pointer: &[u8] = match name.as_str() {
            "2.0.0.127.in-addr.arpa." => b"\x05Web-2\x07example\0",
            "4.0.0.127.in-addr.arpa." => b"\x06../../\x03etc\0",
            _ => b"",
        };
        // A response to the question as it stands, with its answer if there is one.
        let mut reply = query[..(end + 5).min(length)].to_vec();
        let found = !pointer.is_empty();
        reply[2..4].copy_from_slice(if found { b"\x81\x80" } else { b"\x81\x83" });
        reply[6..12].copy_from_slice(&[0, u8::from(found), 0, 0, 0, 0]);
        if found {
            reply.extend_from_slice(b"\xc0\x0c\x00\x0c\x00\x01\x00\x00\x00\x3c");
            reply.extend_from_slice(&(pointer.len() as u16).to_be_bytes());
            reply.extend_from_slice(pointer);
        }
        if !name.starts_with("5.") {
            socket.send_to(&reply, from).expect("it is sent");
        }
        let _ = said.send(name);
    }
}

/// Over a connection from 127.0.0.2.
fn say(to: SocketAddr, text: &[u8]) {
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None);
    let socket = socket.expect("a socket");
    let own: SocketAddr = "127.0.0.2:0".parse().expect("an address");
    socket.bind(&own.into()).expect("an address of lo");
    socket.connect(&to.into()).expect("connected");
    (&socket).write_all(text).expect("sent");
}

#[test]
fn senders_have_the_name_that_dns_has_of_them_and_nobody_waits_for_it() {
    let test = "reverse_dns::senders_have_the_name_that_dns_has_of_them_and_nobody_waits_for_it";
    if !alone(test, &["--net", "--mount"]) {
        return;
    }
    run(Command::new(peer("ip").expect("it made the namespace")).args(["link", "set", "lo", "up"]));
    let dir = tempfile::tempdir().expect("a folder");
    let asked = own_resolver(dir.path());
    let agent = Agent::start(&(agent("128MiB", "") + SYSLOG_BY_HOST));
    let mut sent = 0;
    let mut send = |from: &str, text: &str| {
        let socket = UdpSocket::bind((from, 0)).expect("an address of lo");
        let text = format!("{text} {sent}");
        socket.send_to(text.as_bytes(), agent.udp("net")).expect("it is sent");
        sent += 1;
        agent.wait("it is written", |ledger| written(ledger) == sent);
    };
    let there = |host: &str| agent.dir.path().join(format!("{host}.log.open")).exists();
    let began = Instant::now();
    let mut until = |from: &str, host: &str| {
        while !there(host) {
            assert!(began.elapsed() < Duration::from_secs(30), "{from} is never {host}");
            send(from, "nothing of a host in it");
        }
    };
    until("127.0.0.2", "web-2.example");
    assert!(there("127.0.0.2"), "the first event waited for nobody");
    let ask = || asked.recv_timeout(DEADLINE).expect("it was asked");
    assert_eq!(ask(), "2.0.0.127.in-addr.arpa.");
    assert!(asked.try_recv().is_err(), "once");
    until("127.0.0.9", "by-file");
    // Those without a good name keep their address, whenever the answer comes.
    for host in ["127.0.0.3", "127.0.0.4"] {
        send(host, "first");
        ask();
        for _ in 0..5 {
            send(host, "again");
        }
    }
    send("127.0.0.2", "<13>Oct 11 22:14:15 said app: its own");
    assert!(there("said"), "what a message says counts more");
    say(agent.tcp("net"), b"over a connection\n");
    // Nobody answers this question, and a stop does not wait for it.
    let silent = UdpSocket::bind("127.0.0.5:0").expect("an address of lo");
    silent.send_to(b"unheard", agent.udp("net")).expect("it is sent");
    while !ask().starts_with("5.") {}
    agent.wait("all is written", |ledger| {
        sum(&ledger["sources"], "received_events") == written(ledger) && written(ledger) > 15
    });
    let began = Instant::now();
    let ended = agent.stop().well();
    assert!(began.elapsed() < Duration::from_secs(20), "{:?}", began.elapsed());
    let mut files: Vec<String> = std::fs::read_dir(ended.dir.path())
        .expect("a folder")
        .map(|entry| entry.expect("a file").file_name().into_string().expect("UTF-8"))
        .filter(|name| name.ends_with(".log"))
        .collect();
    files.sort();
    let hosts = ["127.0.0.2", "127.0.0.3", "127.0.0.4", "127.0.0.5", "127.0.0.9"];
    let expected: Vec<String> = hosts
        .into_iter()
        .chain(["by-file", "said", "web-2.example"])
        .map(|host| format!("{host}.log"))
        .collect();
    assert_eq!(files, expected);
    let named = ended.lines("web-2.example.log");
    assert!(named.contains(&"over a connection".to_owned()), "{named:?}");
}
