//! Senders that are set up for something else than what hears them: each time is counted, the peer
//! and what to do are named, and nobody else is hindered.

use crate::harness::{Agent, DEADLINE, to_plain_file, until};
use crate::papers::Papers;
use serde_json::Value;
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};

/// How TLS begins: a record of a handshake, and in it a ClientHello.
const HELLO: &[u8] = b"\x16\x03\x01\x00\x31\x01\x00\x00\x2d\x03\x03\n<13>not a message";

fn start(papers: &Papers) -> Agent {
    let here = papers.dir.path().display();
    Agent::start(&to_plain_file(&format!(
        "[sources.lines]\ntype = 'syslog'\nchannel = 'main'\nlisten = 'tcp://127.0.0.1:0'\n\
         [sources.relp]\ntype = 'syslog'\nchannel = 'main'\nlisten = 'relp://127.0.0.1:0'\n\
         [sources.tls]\ntype = 'syslog'\nchannel = 'main'\nlisten = 'tls://127.0.0.1:0'\n\
         tls = {{ certificate = '{here}/server.pem', key = '{here}/server.key' }}\n"
    )))
}

/// Says it, and waits until the other end closes if it is to.
fn say(to: SocketAddr, text: &[u8], closed: bool) -> SocketAddr {
    let mut stream = TcpStream::connect(to).expect("connected");
    let own = stream.local_addr().expect("connected");
    stream.write_all(text).expect("sent");
    if closed {
        until_closed(&mut stream);
    }
    own
}

/// What it answers until it closes the connection; a reset is an end, too.
#[track_caller]
fn until_closed(stream: &mut TcpStream) -> Vec<u8> {
    stream.set_read_timeout(Some(DEADLINE)).expect("a socket");
    let mut answers = Vec::new();
    if let Err(error) = stream.read_to_end(&mut answers) {
        let still_open = error.kind() == ErrorKind::WouldBlock;
        assert!(!still_open, "it is not closed: {}", answers.escape_ascii());
    }
    answers
}

fn count(ledger: &Value, source: &str, series: &str) -> u64 {
    let all = ledger["sources"].as_array().expect("a list");
    let own = all.iter().find(|it| it["name"] == source).expect("it is there");
    own[series].as_u64().expect("a count")
}

/// The agent's line that says so of this peer.
#[track_caller]
fn told(agent: &Agent, peer: SocketAddr, what: &str) {
    let peer = peer.to_string();
    let found = || agent.log().lines().any(|line| line.contains(&peer) && line.contains(what));
    assert!(until(found), "{peer}: {what}:\n{}", agent.log());
}

#[test]
fn tls_where_there_is_none_is_counted_and_named() {
    let agent = start(&Papers::new());
    let peer = say(agent.tcp("lines"), HELLO, false);
    told(&agent, peer, "it speaks TLS, and this listener does not");
    agent.wait("counted", |ledger| count(ledger, "lines", "errors") == 1);
    // RELP cannot read on behind it: both are told.
    let peer = say(agent.relp("relp"), HELLO, true);
    told(&agent, peer, "it speaks TLS, and this listener does not");
    told(&agent, peer, "RELP: a frame must begin with a transaction number");
    agent.wait("counted", |ledger| count(ledger, "relp", "errors") == 2);
    // The second time within a minute counts, and is not told again.
    say(agent.tcp("lines"), HELLO, false);
    agent.wait("counted", |ledger| count(ledger, "lines", "errors") == 2);
    say(agent.tcp("lines"), b"<13>a message\n", false);
    agent.wait("heard", |ledger| count(ledger, "lines", "received_events") == 9);
    let ended = agent.stop().well();
    assert!(ended.lines("all.log").contains(&"<13>a message".to_owned()));
    assert_eq!(ended.log.matches("it speaks TLS").count(), 2, "{}", ended.log);
}

#[test]
fn plain_text_where_tls_is_spoken_is_counted_and_named() {
    let papers = Papers::new();
    let agent = start(&papers);
    let peer = say(agent.tls("tls"), b"<13>hello in plain text\n", true);
    told(&agent, peer, "<13>hello in plain text");
    let ledger = agent.wait("refused", |it| count(it, "tls", "refused_connections") == 1);
    assert_eq!(count(&ledger, "tls", "received_events"), 0);
    agent.stop().well();
}

#[test]
fn breaches_of_relp_are_counted_and_named() {
    let agent = start(&Papers::new());
    let open = "1 open 30 relp_version=0\ncommands=syslog\n";
    let breaches = [
        ("2 syslog 4 good\n7 syslog 3 bad\n", "transaction 7 came where 3 was due"),
        ("2 syslog 5 abcdefgh\n", "does not end with a newline: its length is wrong"),
        ("2 frobnicate 1 x\n", "`frobnicate` is no command that is spoken here"),
    ];
    for (errors, (text, what)) in (1..).zip(breaches) {
        // A peer is named once a minute: each time another one.
        let from = SocketAddr::from(([127, 0, 0, errors as u8 + 1], 0));
        let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None);
        let socket = socket.expect("a socket");
        socket.bind(&from.into()).expect("an address of lo");
        socket.connect(&agent.relp("relp").into()).expect("connected");
        let mut stream = TcpStream::from(socket);
        let peer = stream.local_addr().expect("connected");
        stream.write_all(format!("{open}{text}").as_bytes()).expect("sent");
        let answers = until_closed(&mut stream);
        assert!(answers.starts_with(b"1 rsp "), "{}", answers.escape_ascii());
        told(&agent, peer, what);
        agent.wait("counted", |ledger| count(ledger, "relp", "errors") == errors);
    }
    let ended = agent.stop().well();
    assert_eq!(ended.lines("all.log"), ["good"]);
}
