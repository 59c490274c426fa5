//! Requests over real sockets, the source stepped by hand and its slips answered by the test. Time
//! passes when the test says so.

use std::collections::VecDeque;
use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::time::Instant;

use flate2::write::GzEncoder;
use proptest::prelude::*;

use super::*;
use crate::event::Page;
use crate::memory::ReceiptSlip;
use crate::source::{Source, SourceContext, SourcePlan};
use crate::telemetry::{Incidents, SourceCounters};
use crate::time::{Mono, Now, Wall};

pub(super) fn rules(more: &str) -> Rules {
    planned(more).http.expect("it was planned")
}

fn planned(more: &str) -> Network {
    let section = Section::parse(&format!("listen = 'http://127.0.0.1:0'\n{more}"), OPTIONS);
    let plan = plan(&section);
    section.finish();
    assert!(!section.diagnostics().has_errors(), "{:?}", section.diagnostics().lines());
    plan
}

struct Rig {
    source: Box<dyn Source>,
    address: SocketAddr,
    counters: Arc<SourceCounters>,
    page: Page,
    serial: u64,
    /// Headers and text of each event.
    events: Vec<String>,
    slips: VecDeque<ReceiptSlip>,
    confirms: bool,
    /// The channels are full.
    shut: bool,
    finished: bool,
    start: Instant,
    ahead: Duration,
}

impl Rig {
    fn new(more: &str) -> Self {
        Self::with_pages(more, 1 << 20)
    }

    fn with_pages(more: &str, page_bytes: usize) -> Self {
        let plan = planned(more);
        let counters: Arc<SourceCounters> = Arc::default();
        let context = SourceContext {
            name: "web".to_owned(),
            want_pri: false,
            want_host: false,
            exact: false,
            want_headers: true,
            page_bytes,
            channels: 1,
            furthest: crate::memory::receipt::Reached::Synced,
            counters: vec![Arc::clone(&counters)],
            incidents: Incidents::new(),
        };
        let mut built = plan.build(&context).unwrap();
        let mut page = Page::new(page_bytes);
        page.clear(1);
        Self {
            source: built.sources.remove(0),
            address: built.bound[0].place.internet().unwrap(),
            counters,
            page,
            serial: 1,
            events: Vec::new(),
            slips: VecDeque::new(),
            confirms: true,
            shut: false,
            finished: false,
            start: Instant::now(),
            ahead: Duration::ZERO,
        }
    }

    fn now(&self) -> Now {
        let elapsed = (self.start.elapsed() + self.ahead).as_nanos();
        Now { mono: Mono(elapsed as u64), wall: Wall(elapsed as i64) }
    }

    fn step(&mut self) {
        let now = self.now();
        self.source.settle(now);
        let soon = now.mono.after(Duration::from_millis(5));
        if self.shut {
            self.source.wait(now, soon, false);
            return;
        }
        let received = self.source.receive(&mut self.page, now);
        self.finished = received.finished;
        let lossy = String::from_utf8_lossy;
        self.events.extend(self.page.events().map(|event| {
            let pair = |(name, value)| format!("{}={} ", lossy(name), lossy(value));
            let headers: String = event.headers().iter().map(pair).collect();
            format!("{headers}{}", lossy(event.bytes))
        }));
        self.slips.extend(self.source.slip());
        self.serial += 1;
        self.page.clear(self.serial);
        if self.confirms {
            self.slips.drain(..).for_each(ReceiptSlip::confirm);
        }
        if !received.more && !received.finished {
            self.source.wait(now, soon, true);
        }
    }

    fn until(&mut self, what: &str, mut done: impl FnMut(&Self) -> bool) {
        let began = Instant::now();
        while !done(self) {
            assert!(began.elapsed() < Duration::from_secs(60), "{what}: {:?}", self.events);
            self.step();
        }
    }

    fn connect(&self) -> TcpStream {
        let peer = TcpStream::connect(self.address).unwrap();
        peer.set_nonblocking(true).unwrap();
        peer
    }

    /// Steps until so many answers have come; their statuses, and all that was said.
    fn answers(&mut self, peer: &mut TcpStream, count: usize) -> (Vec<u16>, String) {
        let mut said = Vec::new();
        self.until("answers", |_| {
            let mut part = [0; 4096];
            while let Ok(count) = peer.read(&mut part)
                && count > 0
            {
                said.extend_from_slice(&part[..count]);
            }
            statuses(&String::from_utf8_lossy(&said)).len() >= count
        });
        let said = String::from_utf8(said).unwrap();
        (statuses(&said), said)
    }

    /// Sends all of this in the background, and steps until we close; what was answered.
    fn talk(&mut self, text: &[u8]) -> String {
        let (address, text) = (self.address, text.to_vec());
        let peer = std::thread::spawn(move || {
            let mut peer = TcpStream::connect(address).unwrap();
            let mut reader = peer.try_clone().unwrap();
            let said = std::thread::spawn(move || {
                let mut said = Vec::new();
                reader.read_to_end(&mut said).unwrap();
                String::from_utf8(said).unwrap()
            });
            peer.write_all(&text).unwrap();
            peer.shutdown(Shutdown::Write).unwrap();
            said.join().unwrap()
        });
        self.until("a whole talk", |_| peer.is_finished());
        peer.join().unwrap()
    }

    fn errors(&self) -> u64 {
        self.counters.errors.get()
    }
}

/// The smallest that the plan asks for, in whole frames.
fn page_bytes() -> usize {
    planned("").page_bytes_min().next_multiple_of(4096)
}

fn statuses(said: &str) -> Vec<u16> {
    let lines = said.split("HTTP/1.1 ").skip(1);
    lines.map(|line| line[..3].parse().unwrap()).filter(|status| *status != 100).collect()
}

fn post(body: &str) -> Vec<u8> {
    posted("", body.as_bytes())
}

fn posted(fields: &str, body: &[u8]) -> Vec<u8> {
    let head =
        format!("POST /x HTTP/1.1\r\nHost: h\r\n{fields}Content-Length: {}\r\n\r\n", body.len());
    [head.as_bytes(), body].concat()
}

fn chunked(fields: &str, body: &[u8], size: usize) -> Vec<u8> {
    let head = format!("POST /x HTTP/1.1\r\nHost: h\r\n{fields}Transfer-Encoding: chunked\r\n\r\n");
    let mut out = head.into_bytes();
    for part in body.chunks(size) {
        out.extend_from_slice(format!("{:x};x=y\r\n", part.len()).as_bytes());
        out.extend_from_slice(part);
        out.extend_from_slice(b"\r\n");
    }
    out.extend_from_slice(b"0\r\nTrailer: t\r\n\r\n");
    out
}

fn gzip(body: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), flate2::Compression::best());
    encoder.write_all(body).unwrap();
    encoder.finish().unwrap()
}

#[test]
fn requests_of_all_kinds_on_one_connection_are_events_and_answers_in_order() {
    let mut rig = Rig::new("");
    let mut peer = rig.connect();
    let body = br#"[{"headers":{"k":"v"},"body":"packed"}]"#;
    let all = [
        post(r#"[{"headers":{"a":"1"},"body":"one"},{"body":"two"}]"#),
        chunked("Content-Type: application/json\r\n", br#"[{"body":"chunks"}]"#, 3),
        posted("Content-Encoding: gzip\r\n", &gzip(body)),
        chunked("Content-Encoding: x-gzip\r\n", &gzip(body), 7),
        post("[]"),
        post("[{}]"),
    ];
    peer.write_all(&all.concat()).unwrap();
    let (statuses, said) = rig.answers(&mut peer, 6);
    assert_eq!(statuses, [200; 6], "{said}");
    assert!(said.contains("Connection: keep-alive") && !said.contains("close"), "{said}");
    assert_eq!(rig.events, ["a=1 one", "two", "chunks", "k=v packed", "k=v packed", ""]);
    peer.write_all(&posted("Connection: close\r\n", b"[{\"body\":\"last\"}]")).unwrap();
    assert_eq!(rig.answers(&mut peer, 1).0, [200]);
    rig.until("the end", |rig| rig.counters.open_connections.get() == 0);
    assert_eq!(rig.errors(), 0);
}

#[test]
fn what_is_wrong_is_refused_with_its_reason_and_nothing_is_taken() {
    let mut rig = Rig::new("body_max = '1KiB'\nbodies_max = '8KiB'\npath = '/x'");
    let bomb = gzip(&vec![b' '; 5 << 20]);
    for (request, status, why) in [
        (post("[{\"body\":\"good\"},\n {bad}]"), 400, "line 2 column 3"),
        (post(""), 400, "line 1 column 0"),
        (post("{}"), 400, "no list of events"),
        (post(&"x".repeat(1025)), 413, "body_max"),
        (chunked("", &[b' '; 1025], 100), 413, "body_max"),
        (posted("Content-Encoding: gzip\r\n", &gzip(&[b' '; 1025])), 413, "body_max"),
        (posted("Content-Encoding: gzip\r\n", &bomb[..1024]), 413, "body_max"),
        (posted("Content-Encoding: gzip\r\n", b"no gzip"), 400, "no gzip"),
        (posted("Content-Encoding: br\r\n", b"[]"), 415, "gzip"),
        (posted("Content-Type: text/json; charset=utf-16\r\n", b"[]"), 415, "UTF-8"),
        (posted("Expect: 200-ok\r\n", b"[]"), 417, "100-continue"),
        (b"GET /x HTTP/1.1\r\nHost: h\r\n\r\n".to_vec(), 405, "Allow: POST, PUT"),
        (b"GET /x HTTP/1.1\r\nHost: h\r\n\r\n".to_vec(), 405, "curl --data-binary"),
        (b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\n\r\n[]".to_vec(), 404, "path"),
        (b"POST /x HTTP/1.1\r\nHost: h\r\n\r\n".to_vec(), 411, "Content-Length"),
        (b"POST /x HTTP/1.1\r\nContent-Length: 2\r\n\r\n[]".to_vec(), 400, "Host"),
        (b"hello\r\n\r\n".to_vec(), 400, "HTTP/1.1"),
        ([&b"POST /x HTTP/1.1\r\nX: "[..], &[b'x'; 20_000]].concat(), 431, "16 KiB"),
    ] {
        let before = rig.errors();
        // Behind what leaves no doubt where it ends, more may come.
        let said = rig.talk(&request);
        assert_eq!(statuses(&said), [status], "{said}");
        assert!(said.contains(why), "{said}");
        assert_eq!(rig.errors(), before + 1, "{said}");
    }
    assert_eq!(rig.events, [""; 0]);
    // So it does behind HEAD, whose answer has no body that could be taken for the next one.
    let head = b"HEAD /x HTTP/1.1\r\nHost: h\r\n\r\n".to_vec();
    let said = rig.talk(&[head, posted("Connection: close\r\n", b"[]")].concat());
    assert_eq!(statuses(&said), [405, 200]);
    assert!(!said.contains("POST or PUT") && said.contains("\r\n\r\nHTTP/1.1 200"), "{said}");
    // After a body that was read whole the connection goes on.
    let two = [post("bad"), posted("Connection: close\r\n", b"[{\"body\":\"good\"}]")];
    assert_eq!(statuses(&rig.talk(&two.concat())), [400, 200]);
    assert_eq!(rig.events, ["good"]);
}

#[test]
fn a_long_body_that_is_refused_at_once_can_be_sent_to_its_end() {
    let mut rig = Rig::new("");
    let said = rig.talk(&post(&"x".repeat(20 << 20)));
    assert_eq!(statuses(&said), [413]);
    assert!(said.contains("Connection: close"), "{said}");
}

#[test]
fn who_asks_may_send_its_body() {
    let mut rig = Rig::new("body_max = '1KiB'");
    let mut peer = rig.connect();
    let head = "POST / HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\nContent-Length: ";
    peer.write_all(format!("{head}15\r\n\r\n").as_bytes()).unwrap();
    let mut said = Vec::new();
    rig.until("100", |_| {
        let mut part = [0; 100];
        let count = peer.read(&mut part).unwrap_or(0);
        said.extend_from_slice(&part[..count]);
        said.ends_with(b"HTTP/1.1 100 Continue\r\n\r\n")
    });
    peer.write_all(b"[{\"body\":\"ok\"}]").unwrap_or(());
    assert_eq!(rig.answers(&mut peer, 1).0, [200]);
    let mut peer = rig.connect();
    peer.write_all(format!("{head}5000\r\n\r\n").as_bytes()).unwrap();
    let (statuses, said) = rig.answers(&mut peer, 1);
    assert!(statuses == [413] && !said.contains("100 Continue"), "{said}");
}

#[test]
fn lines_and_blobs_are_events_and_long_ones_come_in_pieces() {
    let mut rig = Rig::new("handler = 'lines'\nevent_max = 64");
    let long = "y".repeat(100);
    let body = format!("one\r\n\n{{\"a\":1}}\n{long}\nlast");
    assert_eq!(statuses(&rig.talk(&post(&body))), [200]);
    assert_eq!(rig.events, ["one", "{\"a\":1}", &long[..64], &long[64..], "last"]);
    let mut rig = Rig::new("handler = 'blob'\nmandatory_parameters = ['name']");
    let blob = b"PUT /up?name=a%20b&x=1 HTTP/1.1\r\nHost: h\r\nContent-Length: 4\r\n\r\na\nb\n";
    assert_eq!(statuses(&rig.talk(blob)), [200]);
    assert_eq!(rig.events, ["name=a b x=1 a\nb\n"]);
    let said = rig.talk(&post("blob"));
    assert!(statuses(&said) == [400] && said.contains("`name` is mandatory"), "{said}");
}

#[test]
fn a_request_goes_over_many_pages_and_is_answered_behind_the_last() {
    let mut rig = Rig::with_pages("handler = 'lines'", page_bytes());
    rig.confirms = false;
    let lines: Vec<String> = (0..20_000).map(|n| format!("line {n}")).collect();
    let mut peer = rig.connect();
    peer.write_all(&post(&lines.join("\n"))).unwrap_or(());
    rig.until("events", |rig| rig.events.len() == lines.len());
    assert!(rig.events == lines && rig.slips.len() > 1, "{}", rig.slips.len());
    while rig.slips.len() > 1 {
        rig.slips.pop_back().expect("some").confirm();
        (0..3).for_each(|_| rig.step());
        assert!(peer.read(&mut [0; 10]).is_err(), "not all are where they should be");
    }
    rig.confirms = true;
    assert_eq!(rig.answers(&mut peer, 1).0, [200]);
}

#[test]
fn an_answer_waits_for_the_mark_and_a_loss_is_told() {
    let mut rig = Rig::new("ack = 'synced'");
    rig.confirms = false;
    let mut peer = rig.connect();
    peer.write_all(&[post("[{\"body\":\"one\"}]"), post("[{\"body\":\"two\"}]")].concat()).unwrap();
    rig.until("the first", |rig| !rig.slips.is_empty());
    (0..5).for_each(|_| rig.step());
    assert!(peer.read(&mut [0; 10]).is_err(), "nothing is synced yet");
    assert_eq!(rig.events, ["one"], "the next one waits for it");
    rig.slips.drain(..).for_each(ReceiptSlip::confirm);
    rig.until("the second", |rig| !rig.slips.is_empty());
    // Let go of, and never confirmed.
    rig.slips.clear();
    assert_eq!(rig.answers(&mut peer, 2).0, [200, 500]);
}

#[test]
fn full_channels_are_told_and_when_they_drain_all_is_well() {
    let mut rig = Rig::new("full_timeout = '3s'");
    rig.shut = true;
    let mut peer = rig.connect();
    peer.write_all(&post("[{\"body\":\"refused\"}]")).unwrap();
    (0..20).for_each(|_| rig.step());
    assert!(peer.read(&mut [0; 10]).is_err(), "it waits for a while");
    rig.ahead += Duration::from_secs(4);
    let (statuses, said) = rig.answers(&mut peer, 1);
    assert_eq!(statuses, [503]);
    assert!(said.contains("Retry-After: 3\r\n") && said.contains("keep-alive"), "{said}");
    peer.write_all(&post("[{\"body\":\"waits\"}]")).unwrap();
    (0..20).for_each(|_| rig.step());
    rig.shut = false;
    assert_eq!(rig.answers(&mut peer, 1).0, [200]);
    assert_eq!((rig.events.clone(), rig.errors()), (vec!["waits".to_owned()], 1));
}

#[test]
fn one_that_is_taken_in_part_is_never_refused() {
    let mut rig = Rig::with_pages("handler = 'lines'", page_bytes());
    let lines: Vec<String> = (0..20_000).map(|n| format!("line {n}")).collect();
    let mut peer = rig.connect();
    peer.write_all(&post(&lines.join("\n"))).unwrap_or(());
    rig.until("some", |rig| !rig.events.is_empty());
    assert!(rig.events.len() < lines.len());
    rig.shut = true;
    rig.ahead += Duration::from_secs(100);
    (0..20).for_each(|_| rig.step());
    assert!(peer.read(&mut [0; 10]).is_err());
    rig.shut = false;
    assert_eq!(rig.answers(&mut peer, 1).0, [200]);
    assert!(rig.events == lines);
}

#[test]
fn bodies_have_a_memory_of_their_own() {
    let mut rig = Rig::new("body_max = '1KiB'\nbodies_max = '4KiB'");
    let half = |rig: &Rig| {
        let mut peer = rig.connect();
        let request = post(&" ".repeat(1000));
        peer.write_all(&request[..request.len() - 1]).unwrap();
        peer
    };
    let mut peers: Vec<TcpStream> = (0..4).map(|_| half(&rig)).collect();
    rig.until("connections", |rig| rig.counters.open_connections.get() == 4);
    (0..20).for_each(|_| rig.step());
    let mut late = half(&rig);
    let (statuses, said) = rig.answers(&mut late, 1);
    assert!(statuses == [503] && said.contains("Retry-After: 1"), "{said}");
    peers.clear();
    rig.until("they are gone", |rig| rig.counters.open_connections.get() <= 1);
    let said = rig.talk(&posted("Connection: close\r\n", b"[{\"body\":\"room again\"}]"));
    assert_eq!(self::statuses(&said), [200], "{said}");
    assert_eq!(rig.errors(), 5, "one without room, four that ended in the middle");
}

#[test]
fn half_a_request_is_no_event_and_is_counted() {
    let mut rig = Rig::new("");
    let whole = post("[{\"body\":\"half\"}]");
    for (end, count) in [(10, 1), (whole.len() - 1, 2)] {
        assert_eq!(rig.talk(&whole[..end]), "");
        assert_eq!((rig.errors(), rig.events.len()), (count, 0));
    }
}

#[test]
fn who_dribbles_is_told_and_who_is_silent_is_closed() {
    let mut rig = Rig::new("request_timeout = '10s'\nidle_timeout = '20s'");
    for text in [&b"POST / HT"[..], &post("[{\"body\":\"half\"}]")[..60]] {
        let mut peer = rig.connect();
        peer.write_all(text).unwrap();
        (0..20).for_each(|_| rig.step());
        rig.ahead += Duration::from_secs(6);
        peer.write_all(b"T").unwrap();
        (0..20).for_each(|_| rig.step());
        assert!(peer.read(&mut [0; 10]).is_err());
        rig.ahead += Duration::from_secs(6);
        let (statuses, said) = rig.answers(&mut peer, 1);
        assert!(statuses == [408] && said.contains("request_timeout"), "{said}");
        rig.ahead += Duration::from_secs(4);
        rig.until("it is closed", |rig| rig.counters.open_connections.get() == 0);
    }
    let mut peer = rig.connect();
    peer.write_all(&post("[]")).unwrap();
    assert_eq!(rig.answers(&mut peer, 1).0, [200]);
    rig.ahead += Duration::from_secs(21);
    rig.until("it is closed", |rig| rig.counters.open_connections.get() == 0);
    assert_eq!(rig.errors(), 2);
}

#[test]
fn a_stop_answers_what_is_whole_and_refuses_what_is_not() {
    let mut rig = Rig::new("ack = 'written'");
    rig.confirms = false;
    let mut peers: Vec<TcpStream> = (0..3).map(|_| rig.connect()).collect();
    let whole = post("[{\"body\":\"whole\"}]");
    peers[0].write_all(&whole).unwrap();
    peers[1].write_all(&whole[..whole.len() - 1]).unwrap();
    rig.until("all", |rig| rig.counters.open_connections.get() == 3 && rig.events.len() == 1);
    (0..20).for_each(|_| rig.step());
    rig.source.stop(rig.now());
    let (statuses, said) = rig.answers(&mut peers[1], 1);
    assert!(statuses == [503] && said.contains("the agent stops"), "{said}");
    assert!(!rig.finished, "somebody waits for an answer");
    rig.slips.drain(..).for_each(ReceiptSlip::confirm);
    let (statuses, said) = rig.answers(&mut peers[0], 1);
    assert!(statuses == [200] && said.contains("Connection: close"), "{said}");
    rig.until("the end", |rig| rig.finished);
    assert!(matches!(peers[2].read(&mut [0; 10]), Ok(0)), "it had said nothing");
}

#[test]
fn a_peer_with_a_limit_is_told_when_to_come_again() {
    let mut rig = Rig::new("rate_limit = '1/s'\nrate_burst = 2");
    let mut peer = rig.connect();
    peer.write_all(&post("[{},{},{},{}]")).unwrap();
    assert_eq!(rig.answers(&mut peer, 1).0, [200]);
    peer.write_all(&post("[{}]")).unwrap();
    let (statuses, said) = rig.answers(&mut peer, 1);
    assert!(statuses == [429] && said.contains("Retry-After: "), "{said}");
    rig.ahead += Duration::from_secs(5);
    let mut peer = rig.connect();
    peer.write_all(&post("[{}]")).unwrap();
    assert_eq!(rig.answers(&mut peer, 1).0, [200]);
}

#[test]
fn mistakes_are_told() {
    for (body, told) in [
        ("handler = 'xml'", "write \"json\""),
        ("path = 'events'", "begins with `/`"),
        ("path = '/a?b'", "begins with `/`"),
        ("mandatory_parameters = ['a']", "asked for with a blob"),
        ("body_max = '20MiB'", "write `bodies_max = 83886080`"),
        ("bodies_max = '8MiB'", "write `bodies_max = 16777216`"),
        ("body_max = 10", "below"),
        ("request_timeout = '0s'", "below"),
        ("ack = 'soon'", "synced"),
        ("listen = 'tcp://127.0.0.1:0'", "it takes http:// and https://"),
        ("tls = { certificate = 'a', key = 'b' }", "https"),
    ] {
        let listen = if body.starts_with("listen") { "" } else { "listen = 'http://[::]:0'\n" };
        let section = Section::parse(&format!("{listen}{body}"), OPTIONS);
        (KIND.plan)(&section);
        section.finish();
        let lines = section.diagnostics().lines();
        assert!(lines.len() == 1 && lines[0].contains(told), "{body}: {lines:?}");
    }
}

#[test]
fn the_rows_are_what_is_asked_for() {
    crate::config::check_docs(OPTIONS, "listen = 'http://127.0.0.1:0'", |section| {
        (KIND.plan)(section);
    });
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    /// However the bytes of some requests come, they give the same events and answers.
    #[test]
    fn writes_do_not_show(
        requests in prop::collection::vec(prop::sample::select(vec![
            post("[{\"body\":\"one\"}]"),
            post("[{\"body\":\"two\",\"headers\":{\"h\":\"2\"}},{\"body\":\"three\"}]"),
            chunked("", b"[{\"body\":\"four\"}]", 5),
            posted("Content-Encoding: gzip\r\n", &gzip(b"[{\"body\":\"five\"}]")),
            post("bad"),
        ]), 1..6),
        size in 1_usize..200,
    ) {
        let bytes = requests.concat();
        let mut whole = Rig::new("");
        let said = whole.talk(&bytes);
        let mut parts = Rig::new("");
        let mut peer = parts.connect();
        for part in bytes.chunks(size) {
            peer.write_all(part).unwrap();
            parts.step();
        }
        let (answers, _) = parts.answers(&mut peer, requests.len());
        prop_assert_eq!(answers, statuses(&said));
        prop_assert_eq!(parts.events, whole.events);
    }
}
