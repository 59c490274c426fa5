//! The source `http` with `curl` and Python as senders.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::Command;

use crate::harness::{Agent, DEADLINE, TO_PIPE, agent, sum, to_plain_file};
use crate::papers::Papers;
use crate::peers::{peer, run};

fn source(more: &str) -> String {
    to_plain_file(&format!(
        "[sources.web]\ntype = \"http\"\nlisten = [\"http://127.0.0.1:0\"]\n\
         channel = \"main\"\n{more}\n"
    ))
}

/// The status that curl is answered with, and the answer's text; it must come to an answer.
#[track_caller]
fn curl(url: &str, flags: &[&str]) -> Option<(u16, String)> {
    let mut command = Command::new(peer("curl")?);
    command.args(["--silent", "--show-error", "--max-time", "60", "--noproxy", "*"]);
    command.args(["--write-out", "\n%{http_code}"]).args(flags).arg(url);
    let text = run(&mut command);
    let (body, status) = text.rsplit_once('\n').expect("curl writes the status");
    Some((status.parse().expect("a status"), body.to_owned()))
}

#[track_caller]
fn posted(agent: &Agent, flags: &[&str]) -> Option<(u16, String)> {
    curl(&format!("http://{}/", agent.http("web")), flags)
}

#[test]
fn curl_posts_json_plain_chunked_and_gzip() {
    let agent = Agent::start(&source(""));
    let event = |text: &str| format!("[{{\"headers\":{{\"a\":\"1\"}},\"body\":\"{text}\"}}]");
    let Some((status, said)) = posted(&agent, &["--data-binary", &event("plain")]) else { return };
    assert_eq!((status, said.as_str()), (200, ""));
    let file = agent.dir.path().join("big.json");
    let many: Vec<String> = (0..50_000).map(|n| format!("{{\"body\":\"event {n}\"}}")).collect();
    std::fs::write(&file, format!("[{}]", many.join(","))).expect("written");
    // Over 1 MiB curl asks before it sends (Expect: 100-continue).
    let data = format!("@{}", file.display());
    assert_eq!(posted(&agent, &["--data-binary", &data]).expect("curl").0, 200);
    let chunked = ["-H", "Transfer-Encoding: chunked", "--data-binary", &event("chunked")];
    assert_eq!(posted(&agent, &chunked).expect("curl").0, 200);
    run(Command::new("gzip").arg(&file));
    let packed = format!("{data}.gz");
    let gzip = ["-H", "Content-Encoding: gzip", "--data-binary", &packed];
    assert_eq!(posted(&agent, &gzip).expect("curl").0, 200);
    let (status, said) = posted(&agent, &["--data-binary", "[{\"body\":\"x\"},]"]).expect("curl");
    assert!(status == 400 && said.contains("line 1 column 15"), "{status}: {said}");
    agent.wait_for(100_002);
    let ended = agent.stop().well();
    assert_eq!(ended.received("web"), 100_002);
    let lines = ended.lines("all.log");
    assert_eq!((lines[0].as_str(), lines[50_001].as_str()), ("plain", "chunked"));
    assert_eq!((lines[50_000].as_str(), lines[100_001].as_str()), ("event 49999", "event 49999"));
}

#[test]
fn curl_is_refused_what_is_too_long_also_when_it_is_packed() {
    let agent = Agent::start(&source("body_max = \"256KiB\"\nbodies_max = \"1MiB\""));
    let file = agent.dir.path().join("bomb");
    std::fs::write(&file, vec![b' '; 20 << 20]).expect("written");
    let data = format!("@{}", file.display());
    for flags in [&["--data-binary", data.as_str()][..], &["-T", data.as_str().trim_matches('@')]] {
        let Some((status, said)) = posted(&agent, flags) else { return };
        assert!(status == 413 && said.contains("body_max"), "{status}: {said}");
    }
    run(Command::new("gzip").arg("-9").arg(&file));
    let data = format!("{data}.gz");
    let flags = ["-H", "Content-Encoding: gzip", "--data-binary", &data];
    let (status, said) = posted(&agent, &flags).expect("curl");
    assert!(status == 413 && said.contains("body_max"), "{status}: {said}");
    let ledger = agent.wait("three refusals", |ledger| sum(&ledger["sources"], "errors") == 3);
    assert_eq!(sum(&ledger["sources"], "received_events"), 0);
    agent.stop().well();
}

#[test]
fn curl_uploads_files_over_tls() {
    let papers = Papers::new();
    let path = |name: &str| papers.path(name).display().to_string();
    let more = format!(
        "handler = \"blob\"\nmandatory_parameters = [\"name\"]\n\
         tls = {{ certificate = \"{}\", key = \"{}\" }}",
        path("server.pem"),
        path("server.key")
    );
    let agent = Agent::start(&source(&more).replace("http://", "https://"));
    let url = |query: &str| format!("https://{}/{query}", agent.https("web"));
    let file = path("blob.txt");
    std::fs::write(&file, "a whole\nfile\n").expect("written");
    let ca = path("ca.pem");
    let flags = ["--cacert", ca.as_str(), "-T", file.as_str()];
    let Some((status, _)) = curl(&url("blob.txt?name=blob.txt"), &flags) else { return };
    assert_eq!(status, 200);
    let (status, said) = curl(&url("blob.txt"), &flags).expect("curl");
    assert!(status == 400 && said.contains("`name` is mandatory"), "{status}: {said}");
    agent.wait_for(1);
    let ended = agent.stop().well();
    assert_eq!(ended.lines("all.log"), ["a whole#012file#012"]);
}

/// One connection for all requests (http.client), then one each (urllib).
const PYTHON: &str = r#"
import gzip, http.client, json, sys, urllib.error, urllib.request
host, port = sys.argv[1].split(":")
stay = http.client.HTTPConnection(host, int(port), timeout=60)
for n in range(50):
    body = json.dumps([{"headers": {"n": str(n)}, "body": f"stay {n} \u00e9"}])
    stay.request("POST", "/", body=body.encode(), headers={"Content-Type": "application/json"})
    answer = stay.getresponse()
    assert (answer.status, answer.read()) == (200, b""), answer.status
socket = stay.sock
stay.request("POST", "/", body=iter([b'[{"body":', b'"pieces"}]']), encode_chunked=True,
             headers={"Transfer-Encoding": "chunked"})
answer = stay.getresponse()
assert (answer.status, answer.read(), stay.sock) == (200, b"", socket), answer.status
stay.request("GET", "/")
answer = stay.getresponse()
assert answer.status == 405 and answer.headers["Allow"] == "POST, PUT", answer.status
for n in range(5):
    body = gzip.compress(json.dumps([{"body": f"one {n}"}]).encode())
    ask = urllib.request.Request(f"http://{host}:{port}/", body, {"Content-Encoding": "gzip"})
    with urllib.request.urlopen(ask, timeout=60) as answer:
        assert answer.status == 200
try:
    urllib.request.urlopen(f"http://{host}:{port}/", b"[{]", timeout=60)
    sys.exit("bad JSON was taken")
except urllib.error.HTTPError as error:
    assert error.code == 400 and b"line 1 column 3" in error.read(), error
"#;

#[test]
fn python_keeps_its_connection_or_makes_a_new_one() {
    let Some(python) = peer("python3") else { return };
    let agent = Agent::start(&source("ack = \"synced\""));
    run(Command::new(python).args(["-c", PYTHON, &agent.http("web").to_string()]));
    let ended = agent.stop().well();
    let stay = (0..50).map(|n| format!("stay {n} é")).chain(["pieces".to_owned()]);
    let expected: Vec<String> = stay.chain((0..5).map(|n| format!("one {n}"))).collect();
    assert_eq!(ended.lines("all.log"), expected, "what was answered is in the file");
}

/// A connection of our own, whose answers are read one by one.
struct Client(BufReader<TcpStream>);

impl Client {
    fn connect(to: SocketAddr) -> Self {
        let stream = TcpStream::connect(to).expect("it listens");
        stream.set_read_timeout(Some(DEADLINE)).expect("a timeout");
        Self(BufReader::new(stream))
    }

    fn send(&mut self, bytes: &[u8]) {
        self.0.get_mut().write_all(bytes).expect("it is read");
    }

    fn post(&mut self, body: &str) -> (u16, String) {
        self.send(&request(body));
        self.answer()
    }

    /// The status, and the fields in small letters.
    fn answer(&mut self) -> (u16, String) {
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            assert!(self.0.read_line(&mut head).expect("an answer") > 0, "it ended: {head}");
        }
        let fields = head.to_ascii_lowercase();
        let (_, length) = fields.split_once("content-length: ").expect("a length");
        let digits = length.split("\r\n").next().expect("some");
        let mut body = vec![0; digits.parse().expect("a number")];
        self.0.read_exact(&mut body).expect("the answer's body");
        let status = head.split(' ').nth(1).and_then(|status| status.parse().ok());
        (status.expect("a status"), fields)
    }
}

fn request(body: &str) -> Vec<u8> {
    let length = body.len();
    format!("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: {length}\r\n\r\n{body}").into_bytes()
}

const IMPATIENT: &str = r#"
[sources.web]
type         = "http"
listen       = ["http://127.0.0.1:0"]
handler      = "lines"
full_timeout = "200ms"
channel      = "main"
"#;

#[test]
fn a_full_channel_is_answered_with_503_and_what_was_taken_is_there_once() {
    const LINES: usize = 500;
    // The sink is a pipe that nobody reads, until somebody does.
    let text = [&agent("96MiB", ""), IMPATIENT, TO_PIPE].concat();
    let (agent, stdout) = Agent::start_piped(&text);
    let mut client = Client::connect(agent.http("web"));
    let body = |number: usize| -> String {
        let line = |line| format!("{number} {line} {}\n", "x".repeat(1000));
        (0..LINES).map(line).collect()
    };
    let mut taken = Vec::new();
    let mut number = 0;
    let fields = loop {
        let (status, fields) = client.post(&body(number));
        match status {
            200 => taken.push(number),
            503 => break fields,
            other => panic!("{other}: {fields}"),
        }
        number += 1;
        assert!(number < 1000, "half a gigabyte fits into no channel of this agent");
    };
    assert!(fields.contains("retry-after: 1\r\n"), "{fields}");
    assert_eq!(agent.page("/healthz").0, 200);
    // Somebody reads: soon there is room, and the same connection is told so.
    let reader = std::thread::spawn(move || {
        let lines = BufReader::new(stdout).lines();
        lines.map(|line| line.expect("UTF-8")).collect::<Vec<String>>()
    });
    let mut tries = 0;
    loop {
        number += 1;
        match client.post(&body(number)).0 {
            200 => break taken.push(number),
            503 => tries += 1,
            other => panic!("{other}"),
        }
        assert!(tries < 150, "never room again: {:#}", agent.ledger());
    }
    let ended = agent.stop().well();
    assert_eq!(ended.received("web"), taken.len() * LINES);
    let lines = reader.join().expect("it reads to the end");
    let front = |line: &String| line.rsplit_once(' ').expect("three words").0.to_owned();
    let found: Vec<String> = lines.iter().map(front).collect();
    let of = |number| (0..LINES).map(move |line| format!("{number} {line}"));
    assert!(found == taken.into_iter().flat_map(of).collect::<Vec<String>>(), "{}", found.len());
}

#[test]
fn requests_in_a_pipeline_are_answered_in_order_and_half_a_one_is_counted() {
    let agent = Agent::start(&source(""));
    let mut client = Client::connect(agent.http("web"));
    let body = |n: usize| format!("[{{\"body\":\"event {n}\"}}]");
    let many: Vec<u8> = (0..200).flat_map(|n| request(&body(n))).collect();
    client.send(&[&many[..], &request("no JSON"), &request(&body(200))].concat());
    for number in 0..202 {
        let expected = if number == 200 { 400 } else { 200 };
        assert_eq!(client.answer().0, expected, "{number}");
    }
    let half = request(&body(201));
    client.send(&half[..half.len() - 3]);
    drop(client);
    agent.wait("two errors", |ledger| sum(&ledger["sources"], "errors") == 2);
    let ended = agent.stop().well();
    let expected: Vec<String> = (0..=200).map(|n| format!("event {n}")).collect();
    assert_eq!(ended.lines("all.log"), expected);
    assert!(ended.log.contains("requests were refused"), "{}", ended.log);
}

#[test]
fn a_stop_answers_who_waits_and_refuses_half_a_request() {
    let agent = Agent::start(&source("ack = \"synced\""));
    let to = agent.http("web");
    let (mut idle, mut half, mut whole) =
        (Client::connect(to), Client::connect(to), Client::connect(to));
    let bytes = request("[{\"body\":\"half\"}]");
    half.send(&bytes[..bytes.len() - 1]);
    agent.wait("three connections", |ledger| sum(&ledger["sources"], "open_connections") == 3);
    whole.send(&request("[{\"body\":\"whole\"}]"));
    agent.wait("the whole one", |ledger| sum(&ledger["sources"], "received_events") == 1);
    let ended = agent.stop().well();
    assert_eq!(whole.answer().0, 200);
    let (status, fields) = half.answer();
    assert!(status == 503 && fields.contains("connection: close"), "{status}: {fields}");
    assert_eq!(idle.0.read(&mut [0; 10]).expect("closed in order"), 0);
    assert_eq!(ended.lines("all.log"), ["whole"]);
}
