//! One agent's sink `http` posts to another agent's source `http`.

use crate::forward::at_sinks;
use crate::harness::{Agent, Ended, paths, place, sum, to_plain_file, written};
use crate::papers::Papers;
use std::collections::BTreeMap;
use std::io::Write;
use std::net::TcpStream;
use std::path::Path;

const COUNT: usize = 3000;

fn sender(source: &str, sink: &str) -> Agent {
    Agent::start(&format!(
        "[sources.net]\ntype = '{source}'\nlisten = 'tcp://127.0.0.1:0'\n\
         [sinks.web]\ntype = 'http'\nbackoff_max = '100ms'\nrequest_timeout = '60s'\n{sink}\n"
    ))
}

fn source(listen: &str, more: &str) -> String {
    to_plain_file(&format!(
        "[sources.web]\ntype = 'http'\nlisten = '{listen}'\nchannel = 'main'\n{more}\n"
    ))
}

fn send(agent: &Agent, lines: impl Iterator<Item = String>) {
    let text: String = lines.map(|line| line + "\n").collect();
    TcpStream::connect(agent.tcp("net")).unwrap().write_all(text.as_bytes()).unwrap();
}

/// Both have the same count, and neither complains.
#[track_caller]
fn end(from: Agent, to: Agent, count: usize) -> Ended {
    let ledger = from.wait_for(count as u64);
    assert_eq!((written(&ledger), at_sinks(&ledger, "errors")), (count as u64, 0), "{ledger:#}");
    let ledger = to.wait_for(count as u64);
    assert_eq!(sum(&ledger["sources"], "errors"), 0, "{ledger:#}");
    from.stop().well();
    let ended = to.stop().well();
    assert_eq!(ended.received("web"), count);
    ended
}

#[test]
fn lists_packed_over_tls_bring_their_headers() {
    let papers = Papers::new();
    let path = |name: &str| papers.path(name).display().to_string();
    let tls = format!(
        "ack = 'synced'\ntls = {{ certificate = '{}', key = '{}', clients = 'required', \
         client_ca = '{}' }}\n",
        path("server.pem"),
        path("server.key"),
        path("ca.pem")
    );
    let to = Agent::start(&(source("https://127.0.0.1:0", &tls) + "encoder = 'header_and_text'\n"));
    let sink = format!(
        "endpoint = 'https://{}/'\nformat = 'flume'\nencoder = 'body'\ncompression = 'gzip'\n\
         events_max = 70\ntls = {{ ca = '{}', certificate = '{}', key = '{}' }}",
        to.https("web"),
        path("ca.pem"),
        path("sender.pem"),
        path("sender.key")
    );
    let from = sender("syslog", &sink);
    let text = |number| format!("app - - - \"{number:05}\" \u{e9}\t\\ .");
    let message = |number| format!("<165>1 2003-10-11T22:14:15.003Z web01 {}", text(number));
    send(&from, (0..COUNT).map(message));
    let lines = end(from, to, COUNT).lines("all.log");
    for (number, line) in lines.iter().enumerate() {
        let (headers, body) = line.split_once("} ").expect("headers and a text");
        assert_eq!(body, text(number));
        for header in ["host=web01", "Severity=5", "Facility=20", "timestamp=1065910455003"] {
            assert!(headers.contains(header), "{header}: {headers}");
        }
    }
}

#[test]
fn lines_in_small_posts_come_in_their_order() {
    for more in ["", "compression = 'gzip'\n"] {
        let to = Agent::start(&source("http://127.0.0.1:0", "handler = 'lines'\npath = '/in'"));
        let sink = format!("endpoint = 'http://{}/in'\nevents_max = 7\n{more}", to.http("web"));
        let from = sender("tcp", &sink);
        let line = |number: usize| format!("{number:05} {}", "x".repeat(number % 200));
        send(&from, (0..COUNT).map(line));
        assert_eq!(end(from, to, COUNT).lines("all.log"), (0..COUNT).map(line).collect::<Vec<_>>());
    }
}

/// What is too long for the source comes in shorter posts, and nothing is set aside.
#[test]
fn a_post_that_is_too_long_is_sent_in_halves() {
    let small = "handler = 'lines'\nbody_max = '4KiB'\nbodies_max = '1MiB'";
    let to = Agent::start(&source("http://127.0.0.1:0", small));
    let sink = format!("endpoint = 'http://{}/'\ncompression = 'gzip'", to.http("web"));
    let from = sender("tcp", &sink);
    let line = |number: usize| format!("{number:05} {}", "x".repeat(1000));
    send(&from, (0..200).map(line));
    let ledger = from.wait_for(200);
    assert_eq!(written(&ledger), 200, "{ledger:#}");
    assert!(at_sinks(&ledger, "errors") > 0, "{ledger:#}");
    from.stop().well();
    let ended = to.stop().well();
    assert_eq!(ended.lines("all.log"), (0..200).map(line).collect::<Vec<_>>());
}

/// How often each number is in the files of all lives; of each file the last line may be torn.
fn found(folder: &Path) -> BTreeMap<usize, usize> {
    let mut found = BTreeMap::new();
    for file in paths(folder, "").iter().filter(|path| path.to_string_lossy().contains("all.log")) {
        let text = std::fs::read_to_string(file).unwrap();
        let whole = text.rfind('\n').map_or(0, |end| end + 1);
        for line in text[..whole].lines() {
            let number = line.strip_prefix("number ").and_then(|number| number.parse().ok());
            *found.entry(number.unwrap_or_else(|| panic!("changed: {line:?}"))).or_default() += 1;
        }
    }
    found
}

/// Events of a POST, and how often the source is killed.
const POST: usize = 50;
const LIVES: usize = 3;

/// 200 said that it is on the disk: what the sender counts as written survives a SIGKILL.
#[test]
fn a_source_that_is_killed_has_what_it_answered_for() {
    let at = place(71);
    let receiver = source(&format!("http://{at}"), "ack = 'synced'");
    let mut to = Agent::start(&receiver);
    let from =
        sender("tcp", &format!("endpoint = 'http://{at}/'\nformat = 'flume'\nevents_max = {POST}"));
    let mut feed = TcpStream::connect(from.tcp("net")).unwrap();
    let mut sent = 0;
    for life in 0..LIVES {
        let before = written(&from.ledger());
        let text: String =
            (sent..sent + COUNT).map(|number| format!("number {number}\n")).collect();
        feed.write_all(text.as_bytes()).unwrap();
        sent += COUNT;
        from.wait("some is written", |ledger| written(ledger) > before + 2 * POST as u64);
        let dir = to.kill();
        // Nobody listens: what counts as written now can be nowhere else.
        let (told, there) = (written(&from.ledger()) as usize, found(dir.path()));
        let missing: Vec<usize> = (0..told).filter(|number| !there.contains_key(number)).collect();
        assert!(missing.is_empty(), "life {life}: of {told} are missing {missing:?}");
        to = Agent::start_in(dir, &receiver);
    }
    drop(feed);
    let ledger = from.wait("all is written", |ledger| written(ledger) == sent as u64);
    assert_eq!(at_sinks(&ledger, "dead_lettered_events"), 0, "{ledger:#}");
    from.stop().well();
    let there = found(to.stop().well().dir.path());
    assert!(there.keys().copied().eq(0..sent), "{} of {sent} are there", there.len());
    let doubled: usize = there.values().map(|times| times - 1).sum();
    assert!(doubled <= LIVES * POST, "{doubled} came twice: more than a post in each life");
}
