//! The sink `http` against Python's http.server: what arrives, what is refused, and servers that
//! fail in every way.
//!
//! The server writes down each request before it answers. Its answers come from a plan, the last
//! of them for ever: `500`, `503/after=1`, `302/to=/other`, `200/sleep=2`, or `taste`: 400 for
//! whatever has `poison` in it, and 200 else.

use crate::dead_letters::{letters_of, message, of_kind};
use crate::forward::at_sinks;
use crate::harness::{Agent, place, until, written};
use crate::papers::Papers;
use crate::peers::{Running, peer};
use serde_json::Value;
use std::fs;
use std::io::Write;
use std::net::TcpStream;
use std::path::PathBuf;
use std::process::Command;
use tempfile::TempDir;

const SERVER: &str = r#"
import base64, gzip, http.server, json, ssl, sys, threading, time
at, record, plan, papers = sys.argv[1], sys.argv[2], sys.argv[3].split(), sys.argv[4:]
host, port = at.rsplit(":", 1)
lock = threading.Lock()

class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    wbufsize = 65536  # an answer goes in one piece

    def do_POST(self):
        packed = self.rfile.read(int(self.headers["Content-Length"]))
        gzipped = self.headers.get("Content-Encoding") == "gzip"
        body = gzip.decompress(packed) if gzipped else packed
        with lock:
            step = plan.pop(0) if len(plan) > 1 else plan[0]
        status, _, more = step.partition("/")
        if status == "taste":
            status = "400" if b"poison" in body else "200"
        told = {"status": int(status), "path": self.path, "bytes": len(packed),
                "headers": {name.lower(): value for name, value in self.headers.items()},
                "body": base64.b64encode(body).decode()}
        with lock, open(record, "a") as file:
            file.write(json.dumps(told) + "\n")
        what, _, value = more.partition("=")
        if what == "sleep":
            time.sleep(float(value))
        answer = b"" if status == "204" else b"that is what I think\n"
        self.send_response(int(status))
        self.send_header("Content-Length", str(len(answer)))
        if what == "after":
            self.send_header("Retry-After", value)
        if what == "to":
            self.send_header("Location", value)
        self.end_headers()
        self.wfile.write(answer)

    do_GET = do_POST

    def log_message(self, *_):
        pass

class Server(http.server.ThreadingHTTPServer):
    allow_reuse_address = True
    daemon_threads = True

    def handle_error(self, *_):
        pass  # who hangs up in the middle is expected here

server = Server((host, int(port)), Handler)
if papers:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(papers[0], papers[1])
    context.load_verify_locations(papers[2])
    context.verify_mode = ssl.CERT_REQUIRED
    server.socket = context.wrap_socket(server.socket, server_side=True,
                                        do_handshake_on_connect=False)
open(record, "a").close()
server.serve_forever()
"#;

/// A server that is killed when it is dropped, and what it wrote down.
pub(crate) struct Server {
    pub(crate) at: String,
    record: PathBuf,
    running: Option<Running>,
    program: PathBuf,
    _dir: TempDir,
}

pub(crate) struct Post {
    pub(crate) status: u64,
    path: String,
    bytes: u64,
    headers: Value,
    pub(crate) body: Vec<u8>,
}

impl Server {
    /// Not there yet. `host` is nobody else's.
    pub(crate) fn new(host: u8) -> Option<Self> {
        let (program, dir) = (peer("python3")?, TempDir::new().unwrap());
        let (at, record) = (place(host), dir.path().join("posts"));
        Some(Self { at, record, running: None, program, _dir: dir })
    }

    pub(crate) fn with(host: u8, plan: &str) -> Option<Self> {
        let mut server = Self::new(host)?;
        server.start(plan, &[]);
        Some(server)
    }

    pub(crate) fn start(&mut self, plan: &str, papers: &[PathBuf]) {
        let mut command = Command::new(&self.program);
        command.args(["-c", SERVER, &self.at]).arg(&self.record).arg(plan).args(papers);
        self.running = Some(Running::start(&mut command));
        assert!(until(|| self.record.exists()), "the server does not start");
    }

    pub(crate) fn posts(&self) -> Vec<Post> {
        let text = fs::read_to_string(&self.record).unwrap();
        // Its last line may be under way.
        let whole = text.rfind('\n').map_or(0, |end| end + 1);
        let post = |line: &str| {
            let post: Value = serde_json::from_str(line).expect("each line is JSON");
            Post {
                status: post["status"].as_u64().unwrap(),
                path: post["path"].as_str().unwrap().to_owned(),
                bytes: post["bytes"].as_u64().unwrap(),
                headers: post["headers"].clone(),
                body: base64(post["body"].as_str().unwrap()),
            }
        };
        text[..whole].lines().map(post).collect()
    }

    /// The lines of all that it has accepted.
    pub(crate) fn accepted(&self) -> Vec<String> {
        let posts = self.posts().into_iter().filter(|post| post.status == 200);
        let bodies: Vec<Vec<u8>> = posts.map(|post| post.body).collect();
        let text = String::from_utf8(bodies.concat()).expect("UTF-8");
        text.lines().map(str::to_owned).collect()
    }
}

fn base64(text: &str) -> Vec<u8> {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let value = |digit: u8| DIGITS.iter().position(|known| *known == digit).unwrap_or(0) as u32;
    let mut bytes = Vec::new();
    for group in text.as_bytes().chunks(4) {
        let bits = group.iter().fold(0, |bits, digit| bits << 6 | value(*digit));
        let padding = group.iter().filter(|digit| **digit == b'=').count();
        bytes.extend_from_slice(&bits.to_be_bytes()[1..4 - padding]);
    }
    bytes
}

const AGENT: &str = r#"
[sources.net]
type    = "tcp"
listen  = "tcp://127.0.0.1:0"

[sinks.web]
type         = "http"
backoff_max  = "100ms"
{timeout}
dead_letters = "{dir}/dead.ndjson"
"#;

fn agent(server: &Server, options: &str) -> Agent {
    let endpoint = match options.contains("endpoint") {
        true => String::new(),
        false => format!("endpoint = 'http://{}/events?from=test'\n", server.at),
    };
    Agent::start(&[&head(options), &endpoint, options].concat())
}

/// What stands before the options; nobody is too slow by accident.
fn head(options: &str) -> String {
    let timed = options.contains("request_timeout");
    AGENT.replace("{timeout}", if timed { "" } else { "request_timeout = \"60s\"" })
}

pub(crate) fn send(agent: &Agent, lines: &[String]) {
    let text = lines.join("\n") + "\n";
    TcpStream::connect(agent.tcp("net")).unwrap().write_all(text.as_bytes()).unwrap();
}

fn numbered(count: usize) -> Vec<String> {
    (0..count).map(|number| format!("<13>line {number:05} \u{e9}\t.")).collect()
}

#[test]
fn every_event_arrives_many_in_a_post() {
    let Some(server) = Server::with(60, "200") else { return };
    let options = "compression = 'gzip'\nevents_max = 700\n\
                   headers = { 'X-Api-Key' = 'secret' }\naccept = 'text/plain'";
    let agent = agent(&server, options);
    let lines = numbered(3000);
    send(&agent, &lines);
    let ledger = agent.wait_for(3000);
    assert_eq!((written(&ledger), at_sinks(&ledger, "errors")), (3000, 0), "{ledger:#}");
    agent.stop().well();
    assert_eq!(server.accepted(), lines);
    for post in server.posts() {
        let header = |name: &str| post.headers[name].as_str().unwrap_or("none").to_owned();
        assert_eq!(post.path, "/events?from=test");
        assert_eq!(header("x-api-key"), "secret");
        assert_eq!(header("accept"), "text/plain");
        assert_eq!(header("content-type"), "text/plain");
        assert_eq!(header("content-encoding"), "gzip");
        assert!(header("user-agent").starts_with("flumen/"));
        let events = post.body.iter().filter(|byte| **byte == b'\n').count();
        assert!((1..=700).contains(&events), "{events} in one");
        assert!(events < 100 || (post.bytes as usize) < post.body.len() / 2, "it is compressed");
    }
}

#[test]
fn a_poison_event_is_found_and_those_beside_it_arrive() {
    const COUNT: usize = 300;
    let Some(server) = Server::with(61, "taste") else { return };
    let agent = agent(&server, "attempts = 2");
    send(&agent, &(0..COUNT).map(message).collect::<Vec<_>>());
    let ledger = agent.wait("all is delivered or set aside", |ledger| {
        written(ledger) + at_sinks(ledger, "dead_lettered_events") == COUNT as u64
    });
    assert_eq!(at_sinks(&ledger, "dead_lettered_events"), COUNT as u64 / 10, "{ledger:#}");
    let ended = agent.stop().well();
    assert_eq!(server.accepted(), of_kind(COUNT, false), "in order, and none twice");
    let letters = letters_of(&ended.dir.path().join("dead.ndjson"));
    let poison = of_kind(COUNT, true);
    let originals: Vec<&str> =
        letters.iter().filter_map(|it| it["event.original"].as_str()).collect();
    assert_eq!(originals, poison);
    for letter in &letters {
        let reason = letter["error.message"].as_str().unwrap();
        assert!(reason.ends_with("answered 400 Bad Request: that is what I think"), "{reason}");
        assert_eq!(letter["dead_letter.attempts"], 2);
    }
    let alone = |text: &String| {
        let body = format!("{text}\n").into_bytes();
        server.posts().iter().filter(|post| post.body == body).count()
    };
    assert_eq!(alone(&poison[0]), 2, "it was tried twice, alone");
}

/// Whatever is no answer for the events is tried again: nothing is missing, nothing is double.
#[test]
fn failures_are_tried_again_and_redirects_are_not_followed() {
    let plan = "500 302/to=/elsewhere 401 503/after=1 429 200";
    let Some(server) = Server::with(62, plan) else { return };
    let agent = agent(&server, "");
    let lines = numbered(50);
    send(&agent, &lines);
    let ledger = agent.wait_for(50);
    assert_eq!((written(&ledger), at_sinks(&ledger, "errors")), (50, 5), "{ledger:#}");
    let log = agent.stop().well().log;
    assert_eq!(server.accepted(), lines);
    let posts = server.posts();
    assert!(posts.iter().all(|post| post.path == "/events?from=test"), "no redirect is followed");
    assert_eq!(posts.iter().filter(|post| post.status != 200).count(), 5);
    assert!(log.contains("answered 500 Internal Server Error"), "{log}");
}

#[test]
fn an_endpoint_that_is_not_there_yet_is_waited_for() {
    let Some(mut server) = Server::new(63) else { return };
    let agent = agent(&server, "");
    let lines = numbered(500);
    send(&agent, &lines);
    let ledger = agent.wait("it tries", |ledger| at_sinks(ledger, "errors") >= 2);
    assert_eq!(written(&ledger), 0, "{ledger:#}");
    let told = agent.wait_ready(503);
    assert!(told.contains("refused"), "{told}");
    server.start("204", &[]);
    let ledger = agent.wait_for(500);
    assert_eq!(written(&ledger), 500, "{ledger:#}");
    agent.wait_ready(200);
    agent.stop().well();
    let bodies: Vec<Vec<u8>> = server.posts().into_iter().map(|post| post.body).collect();
    assert_eq!(String::from_utf8(bodies.concat()).unwrap(), lines.join("\n") + "\n");
}

#[test]
fn an_endpoint_that_does_not_answer_is_left_and_asked_again() {
    let Some(server) = Server::with(64, "200/sleep=30 200") else { return };
    let agent = agent(&server, "request_timeout = '1s'");
    let lines = numbered(10);
    send(&agent, &lines);
    let ledger = agent.wait_for(10);
    assert_eq!(written(&ledger), 10, "{ledger:#}");
    // On a busy machine another one may be late, too.
    assert!(at_sinks(&ledger, "errors") >= 1, "{ledger:#}");
    let log = agent.stop().well().log;
    assert!(log.contains("timeout"), "{log}");
    // The first may have been read as well: who does not answer in time gets it twice.
    assert!(server.posts().len() >= 2);
    let mut accepted = server.accepted();
    accepted.sort();
    accepted.dedup();
    assert_eq!(accepted, lines);
}

#[test]
fn a_stop_waits_for_the_answer_that_is_under_way() {
    let Some(server) = Server::with(65, "200/sleep=1") else { return };
    let agent = agent(&server, "");
    let lines = numbered(20);
    send(&agent, &lines);
    assert!(until(|| !server.posts().is_empty()), "it is posted");
    agent.wait("all is received", |l| l["sources"][0]["received_events"] == 20);
    agent.stop().well();
    assert_eq!(server.accepted(), lines, "none twice");
}

/// What Flume's http source takes: an array of events with their headers.
#[test]
fn events_go_with_their_headers_as_flume_has_them() {
    let Some(server) = Server::with(66, "200") else { return };
    let options = format!("endpoint = 'http://{}/'\nformat = 'flume'\nencoder = 'body'", server.at);
    let syslog = head("").replace("\"tcp\"", "\"syslog\"");
    let agent = Agent::start(&[&syslog, options.as_str()].concat());
    let line = "<165>1 2003-10-11T22:14:15.003Z web01 su - - - \"quoted\" \u{e9}";
    send(&agent, &[line.to_owned(), line.replace("web01", "web02")]);
    agent.wait_for(2);
    agent.stop().well();
    let mut events = Vec::new();
    for post in server.posts() {
        assert_eq!(post.headers["content-type"], "application/json; charset=utf-8");
        let array: Vec<Value> = serde_json::from_slice(&post.body).expect("an array");
        events.extend(array);
    }
    assert_eq!(events.len(), 2);
    assert_eq!(events[1]["headers"]["host"], "web02");
    assert_eq!(events[0]["headers"]["Severity"], "5");
    assert_eq!(events[0]["headers"]["timestamp"], "1065910455003");
    assert_eq!(events[0]["body"], "su - - - \"quoted\" \u{e9}");
}

#[test]
fn over_tls_both_show_who_they_are() {
    let Some(mut server) = Server::new(67) else { return };
    let papers = Papers::new();
    let host = server.at.split(':').next().unwrap().to_owned();
    papers.issue(&papers.authority, "web", &[&host]);
    server.start("200", &["web.pem", "web.key", "ca.pem"].map(|name| papers.path(name)));
    let options = |who: &str| {
        let path = |name: &str| papers.path(name).display().to_string();
        format!(
            "endpoint = 'https://{}/'\ntls = {{ ca = '{}', certificate = '{}', key = '{}' }}",
            server.at,
            path("ca.pem"),
            path(&format!("{who}.pem")),
            path(&format!("{who}.key")),
        )
    };
    let lines = numbered(100);
    let stranger = agent(&server, &options("stranger"));
    send(&stranger, &lines);
    let ledger = stranger.wait("it is refused", |ledger| at_sinks(ledger, "errors") >= 1);
    assert_eq!((written(&ledger), server.posts().len()), (0, 0), "{}", stranger.log());
    drop(stranger);
    let agent = agent(&server, &options("sender"));
    send(&agent, &lines);
    let ledger = agent.wait_for(100);
    assert_eq!((written(&ledger), at_sinks(&ledger, "errors")), (100, 0), "{}", agent.log());
    agent.stop().well();
    assert_eq!(server.accepted(), lines);
}

/// Nobody waits for an answer that never comes: what it is about counts as lost.
#[test]
fn a_stop_does_not_wait_longer_than_the_drain_takes() {
    let Some(server) = Server::with(68, "200/sleep=3600") else { return };
    let patient = crate::harness::agent("64MiB", "drain = '300ms'");
    let endpoint = format!("endpoint = 'http://{}/'\n", server.at);
    let agent = Agent::start(&[&*patient, &head(""), &endpoint].concat());
    send(&agent, &numbered(20));
    assert!(until(|| !server.posts().is_empty()), "it is posted");
    agent.wait("all is received", |l| l["sources"][0]["received_events"] == 20);
    agent.signal(rustix::process::Signal::TERM);
    let ended = agent.ended();
    assert_eq!(ended.status.code(), Some(1), "{}", ended.log);
    assert!(ended.log.contains("the drain's time is over"), "{}", ended.log);
    assert_eq!(ended.lost("channel main shutdown"), 20, "{}", ended.log);
}
