//! The server stepped by hand: real sockets, a clock that only the test moves.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};

use super::*;
use crate::admin::bind;
use crate::runtime::clock::SystemClock;
use crate::runtime::thread::Post;
use crate::telemetry::{Incidents, Ledger, Phase, Readiness};
use crate::time::Wall;

const GET: &[u8] = b"GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n";
/// A real wait for the peer's kernel, far above what loopback needs.
const GUARD: Duration = Duration::from_secs(10);

struct Harness {
    server: Server,
    address: SocketAddr,
    now: Now,
}

struct Peer {
    stream: TcpStream,
    received: Vec<u8>,
    closed: bool,
}

impl Harness {
    fn new() -> Self {
        let mut builder = Ledger::builder("edge");
        builder.source("net").worker();
        builder.sink("archive", "main").worker();
        let incidents = Incidents::new();
        let readiness = Arc::new(Readiness::new(incidents.clone()));
        readiness.enter(Phase::Running);
        let board = Board { ledger: builder.build(), incidents, readiness };
        let bound = bind("127.0.0.1:0").expect("a free port").expect("not off");
        let address = bound.address();
        let server = Server::new("admin", bound, Site::Flumen, board).expect("poll");
        Self { server, address, now: Now { mono: Mono(1), wall: Wall(1) } }
    }

    fn connect(&self) -> Peer {
        let stream = TcpStream::connect(self.address).expect("backlog has room");
        stream.set_nonblocking(true).expect("a socket");
        Peer { stream, received: Vec::new(), closed: false }
    }

    fn pass(&mut self, duration: Duration) {
        self.now.mono = self.now.mono.after(duration);
    }

    /// Works until nothing is left to do at once.
    fn settle(&mut self) -> Progress {
        loop {
            match self.server.work(self.now) {
                Progress::Worked => {}
                other => return other,
            }
        }
    }

    /// Works, with the clock at rest, until `done`; the poll sleeps for what the kernel still owes.
    fn until(&mut self, peer: &mut Peer, done: impl Fn(&Peer) -> bool) {
        let begun = std::time::Instant::now();
        loop {
            self.settle();
            peer.receive();
            if done(peer) {
                return;
            }
            assert!(begun.elapsed() < GUARD, "still waiting; received {:?}", peer.text());
            let soon = self.now.mono.after(Duration::from_millis(5));
            self.server.wait(self.now, soon);
        }
    }

    fn open_clients(&self) -> usize {
        self.server.clients().count()
    }
}

impl Peer {
    fn send(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).expect("the socket's buffer has room");
    }

    fn receive(&mut self) {
        let mut buffer = [0; 4096];
        while !self.closed {
            match self.stream.read(&mut buffer) {
                Ok(0) => self.closed = true,
                Ok(count) => self.received.extend_from_slice(&buffer[..count]),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return,
                Err(error) => panic!("an answer must not be lost to a reset: {error}"),
            }
        }
    }

    fn text(&self) -> String {
        String::from_utf8_lossy(&self.received).into_owned()
    }

    fn statuses(&self) -> Vec<u16> {
        let text = self.text();
        let parts = text.split("HTTP/1.1 ").skip(1);
        parts.map(|part| part[..3].parse().expect("a status")).collect()
    }
}

fn answered(count: usize) -> impl Fn(&Peer) -> bool {
    move |peer| peer.statuses().len() == count && peer.text().contains("\r\n\r\n")
}

#[test]
fn a_connection_serves_one_request_after_the_other() {
    let mut harness = Harness::new();
    let mut peer = harness.connect();
    for count in 1..=3 {
        peer.send(GET);
        harness.until(&mut peer, |peer| peer.text().matches("ok\n").count() == count);
        harness.pass(Duration::from_secs(60));
    }
    assert_eq!(peer.statuses(), [200; 3]);
    harness.pass(Duration::from_secs(16));
    harness.until(&mut peer, |peer| peer.closed);
    assert_eq!(harness.open_clients(), 0, "idle for 76 seconds");
}

#[test]
fn pipelined_requests_are_answered_in_order() {
    let mut harness = Harness::new();
    let mut peer = harness.connect();
    let mut all = Vec::new();
    for index in 0..100 {
        let path = if index % 2 == 0 { "/healthz" } else { "/nowhere" };
        write!(all, "GET {path} HTTP/1.1\r\nHost: a\r\n\r\n").expect("a Vec");
    }
    all.extend_from_slice(b"GET /readyz HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
    all.extend_from_slice(GET);
    peer.send(&all);
    harness.until(&mut peer, |peer| peer.closed);
    let mut expected = [200, 404].repeat(50);
    expected.push(200);
    assert_eq!(peer.statuses(), expected, "and nothing after Connection: close");
}

#[test]
fn a_request_may_come_byte_by_byte() {
    let mut harness = Harness::new();
    let mut peer = harness.connect();
    peer.stream.set_nodelay(true).expect("a socket");
    for byte in GET {
        peer.send(std::slice::from_ref(byte));
        harness.settle();
    }
    harness.until(&mut peer, answered(1));
    assert_eq!(peer.statuses(), [200]);
}

#[test]
fn a_slow_request_is_told_so_and_blocks_nobody() {
    let mut harness = Harness::new();
    let mut slow = harness.connect();
    slow.send(b"GET /metrics HTTP/1.1\r\nHo");
    let mut silent = harness.connect();
    let mut quick = harness.connect();
    quick.send(GET);
    harness.until(&mut quick, answered(1));
    assert_eq!((quick.statuses(), harness.open_clients()), (vec![200], 3));
    harness.pass(Duration::from_millis(4_999));
    harness.settle();
    assert_eq!(harness.open_clients(), 3);
    harness.pass(Duration::from_millis(1));
    harness.until(&mut slow, |peer| peer.closed);
    harness.until(&mut silent, |peer| peer.closed);
    assert_eq!((slow.statuses(), silent.statuses()), (vec![408], vec![]));
}

#[test]
fn a_client_that_does_not_read_is_closed() {
    let mut harness = Harness::new();
    let mut peer = harness.connect();
    // Answers of many scrapes fill every socket buffer in between.
    let scrape = b"GET /metrics HTTP/1.1\r\nHost: a\r\n\r\n".repeat(400);
    let begun = std::time::Instant::now();
    while !harness.server.clients().any(|client| client.is_answering() && !client.writable) {
        assert!(begun.elapsed() < GUARD, "the buffers never filled");
        let _ = peer.stream.write(&scrape);
        harness.settle();
    }
    harness.pass(Duration::from_secs(5));
    harness.settle();
    assert_eq!(harness.open_clients(), 0);
}

#[test]
fn refusals_reach_a_client_that_is_still_sending() {
    let long = [b"GET / HTTP/1.1\r\nX: ".to_vec(), vec![b'x'; 40_000]].concat();
    let post = b"POST /metrics HTTP/1.1\r\nHost: a\r\nContent-Length: 9000\r\n\r\n".to_vec();
    let post = [post, vec![b'z'; 9_000]].concat();
    for (bytes, status) in [
        (long.as_slice(), 431),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03 TLS", 400),
        (b"\0\0\0\0\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\n\r\n", 400),
        (b"GET / HTTP/3.7\r\nHost: a\r\n\r\n", 400),
        (post.as_slice(), 405),
    ] {
        let mut harness = Harness::new();
        let mut peer = harness.connect();
        peer.send(bytes);
        harness.until(&mut peer, |peer| peer.closed);
        assert_eq!(peer.statuses(), [status]);
        drop(peer);
        let mut other = harness.connect();
        other.send(GET);
        harness.until(&mut other, answered(1));
        assert_eq!(harness.open_clients(), 1, "the refused one is gone");
    }
}

#[test]
fn head_has_no_body() {
    let mut harness = Harness::new();
    let mut peer = harness.connect();
    peer.send(b"HEAD /healthz HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
    harness.until(&mut peer, |peer| peer.closed);
    assert!(peer.text().contains("\r\nContent-Length: 3\r\n"), "{}", peer.text());
    assert!(peer.text().ends_with("\r\n\r\n"), "{}", peer.text());
}

#[test]
fn half_open_connections_are_answered_and_closed() {
    let mut harness = Harness::new();
    let mut asked = harness.connect();
    asked.send(GET);
    asked.stream.shutdown(Shutdown::Write).expect("connected");
    harness.until(&mut asked, |peer| peer.closed);
    assert_eq!(asked.statuses(), [200], "as nc asks");
    let mut half = harness.connect();
    half.send(&GET[..10]);
    half.stream.shutdown(Shutdown::Write).expect("connected");
    harness.until(&mut half, |peer| peer.closed);
    assert!(half.received.is_empty());
    assert_eq!(harness.open_clients(), 0);
}

#[test]
fn a_new_client_gets_in_however_many_are_silent() {
    let mut harness = Harness::new();
    let mut silent = Vec::new();
    for _ in 0..2 * ADMIN_CONNECTIONS_MAX {
        silent.push(harness.connect());
        harness.pass(Duration::from_nanos(1));
        harness.server.wait(harness.now, harness.now.mono.after(Duration::from_secs(1)));
        harness.settle();
        assert!(harness.open_clients() <= ADMIN_CONNECTIONS_MAX);
    }
    let mut peer = harness.connect();
    peer.send(GET);
    harness.until(&mut peer, answered(1));
    assert_eq!(peer.statuses(), [200]);
    assert_eq!(harness.open_clients(), ADMIN_CONNECTIONS_MAX);
    harness.until(&mut silent[0], |peer| peer.closed);
}

#[test]
fn closing_waits_for_an_answer_on_its_way_but_not_long() {
    let mut harness = Harness::new();
    let idle = harness.connect();
    harness.server.close(harness.now);
    assert_eq!(harness.settle(), Progress::Done, "an idle client holds nothing up");
    assert!(TcpStream::connect(harness.address).is_err(), "nobody listens");
    drop(idle);

    let mut harness = Harness::new();
    let mut peer = harness.connect();
    let scrape = b"GET /metrics HTTP/1.1\r\nHost: a\r\n\r\n".repeat(400);
    let begun = std::time::Instant::now();
    while !harness.server.clients().any(|client| client.is_answering() && !client.writable) {
        assert!(begun.elapsed() < GUARD, "the buffers never filled");
        let _ = peer.stream.write(&scrape);
        harness.settle();
    }
    harness.server.close(harness.now);
    let by = harness.now.mono.after(CLOSE_PATIENCE);
    assert_eq!(harness.settle(), Progress::Idle { until: by });
    harness.pass(CLOSE_PATIENCE);
    assert_eq!(harness.settle(), Progress::Done);
    assert_eq!(harness.open_clients(), 0);
}

#[test]
fn a_waker_ends_a_wait_without_a_deadline() {
    let mut harness = Harness::new();
    assert_eq!(harness.settle(), Progress::IDLE);
    harness.server.waker().wake();
    harness.server.wait(harness.now, Mono::MAX);
}

#[test]
fn on_its_own_thread_it_serves_and_stops() {
    let Harness { server, address, .. } = Harness::new();
    let clock = Arc::new(SystemClock::default());
    let post = Post::start(Box::new(server), None, clock).expect("a thread");
    let mut stream = TcpStream::connect(address).expect("listening");
    stream.set_read_timeout(Some(GUARD)).expect("a socket");
    stream.write_all(b"GET /ledger HTTP/1.0\r\n\r\n").expect("sent");
    let mut text = String::new();
    stream.read_to_string(&mut text).expect("closed after the answer, as 1.0 asks");
    assert!(text.contains("\"agent\": \"edge\""), "{text}");
    // An idle client keeps its connection open over the stop; that nothing waits for it is seen
    // where the clock is stepped.
    let _idle = TcpStream::connect(address).expect("listening");
    post.close();
    post.join().expect("no panic");
}
