//! RELP over real sockets, the source stepped by hand and its slips answered by the test.

use std::collections::VecDeque;
use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::config::Section;
use crate::event::Page;
use crate::limits::RECEIPTS;
use crate::memory::ReceiptSlip;
use crate::source::{Received, SOURCES, Source, SourceContext};
use crate::telemetry::Incidents;
use crate::time::{Mono, Now, Wall};

const OPEN: &str = "1 open 30 relp_version=0\ncommands=syslog\n";
const SOON: Duration = Duration::from_secs(20);

/// A source of one thread, and the batches it was made to offer.
struct Rig {
    source: Box<dyn Source>,
    address: SocketAddr,
    page: Page,
    serial: u64,
    texts: Vec<String>,
    slips: VecDeque<ReceiptSlip>,
    received: Received,
    start: Instant,
}

impl Rig {
    fn new(more: &str) -> Self {
        let kind = SOURCES.iter().find(|row| row.name == "syslog").unwrap();
        let section =
            Section::parse(&format!("listen = 'relp://127.0.0.1:0'\n{more}"), kind.options);
        let plan = (kind.plan)(&section);
        section.finish();
        assert!(!section.diagnostics().has_errors(), "{:?}", section.diagnostics().lines());
        let context = SourceContext {
            name: "net".to_owned(),
            want_pri: false,
            exact: false,
            want_headers: false,
            want_host: false,
            page_bytes: 1 << 20,
            channels: 1,
            furthest: crate::memory::receipt::Reached::Synced,
            counters: vec![Arc::default()],
            incidents: Incidents::new(),
        };
        let mut built = plan.build(&context).unwrap();
        let mut page = Page::new(1 << 20);
        page.clear(1);
        Self {
            source: built.sources.remove(0),
            address: built.bound[0].place.internet().unwrap(),
            page,
            serial: 1,
            texts: Vec::new(),
            slips: VecDeque::new(),
            received: Received::default(),
            start: Instant::now(),
        }
    }

    fn now(&self) -> Now {
        let elapsed = self.start.elapsed().as_nanos();
        Now { mono: Mono(elapsed as u64), wall: Wall(elapsed as i64) }
    }

    /// One turn, as the runner does it; a batch somebody waits for is offered at once.
    fn step(&mut self) {
        let now = self.now();
        self.source.settle(now);
        self.received = self.source.receive(&mut self.page, now);
        if self.source.wanted().is_some() || self.received.full {
            self.slips.extend(self.source.slip());
            let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
            self.texts.extend(self.page.events().map(|event| text(event.bytes)));
            self.serial += 1;
            self.page.clear(self.serial);
        }
    }

    #[track_caller]
    fn until(&mut self, done: impl Fn(&Self) -> bool) {
        let began = Instant::now();
        while !done(self) {
            assert!(began.elapsed() < SOON, "{:?}", self.texts);
            self.step();
            let now = self.now();
            self.source.wait(now, now.mono.after(Duration::from_millis(5)), true);
        }
    }

    /// Steps until the peer has read this, and nothing else.
    #[track_caller]
    fn replies(&mut self, peer: &mut Peer, expected: &str) {
        let began = Instant::now();
        while peer.heard.len() < expected.len() && !peer.ended {
            assert!(began.elapsed() < SOON, "{:?}", peer.heard);
            self.step();
            peer.read();
        }
        // What should not come has time to.
        (0..5).for_each(|_| self.step());
        peer.read();
        assert_eq!(std::mem::take(&mut peer.heard), expected);
    }
}

struct Peer {
    socket: TcpStream,
    heard: String,
    ended: bool,
}

impl Peer {
    /// Connected, and its session open.
    fn new(rig: &mut Rig) -> Self {
        Self::behind(rig, "")
    }

    /// The same with this in front of it.
    fn behind(rig: &mut Rig, header: &str) -> Self {
        let socket = TcpStream::connect(rig.address).unwrap();
        socket.set_nonblocking(true).unwrap();
        let mut peer = Self { socket, heard: String::new(), ended: false };
        peer.say(header);
        peer.say(OPEN);
        let began = Instant::now();
        while !peer.heard.ends_with("commands=syslog\n") {
            assert!(began.elapsed() < SOON, "{}", peer.heard);
            rig.step();
            peer.read();
        }
        assert!(peer.heard.starts_with("1 rsp "), "{}", peer.heard);
        peer.heard.clear();
        peer
    }

    fn say(&mut self, text: &str) {
        self.socket.write_all(text.as_bytes()).unwrap();
    }

    fn read(&mut self) {
        let mut buffer = [0; 4096];
        loop {
            match self.socket.read(&mut buffer) {
                Ok(0) => return self.ended = true,
                Ok(count) => {
                    self.heard.push_str(std::str::from_utf8(&buffer[..count]).unwrap());
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => return,
                Err(_) => return self.ended = true,
            }
        }
    }
}

fn message(txnr: u32, text: &str) -> String {
    format!("{txnr} syslog {} {text}\n", text.len())
}

#[test]
fn a_reply_comes_when_its_batch_has_reached_its_mark() {
    let mut rig = Rig::new("");
    let mut peer = Peer::new(&mut rig);
    peer.say(&(message(2, "<13>one") + &message(3, "<13>two\n")));
    rig.until(|rig| rig.texts.len() == 2);
    peer.say(&message(4, "<13>three"));
    rig.until(|rig| rig.texts.len() == 3);
    assert_eq!(rig.texts, ["<13>one", "<13>two", "<13>three"]);
    rig.replies(&mut peer, "");
    // The later batch is there first; it waits for the other.
    let last = rig.slips.pop_back().unwrap();
    last.confirm();
    rig.replies(&mut peer, "");
    rig.slips.drain(..).for_each(ReceiptSlip::confirm);
    rig.replies(&mut peer, "2 rsp 6 200 OK\n3 rsp 6 200 OK\n4 rsp 6 200 OK\n");
    peer.say(&(message(5, "<13>four") + "6 close 0\n"));
    rig.until(|rig| rig.texts.len() == 4);
    rig.replies(&mut peer, "");
    rig.slips.drain(..).for_each(ReceiptSlip::confirm);
    rig.replies(&mut peer, "5 rsp 6 200 OK\n6 rsp 0\n0 serverclose 0\n");
    assert!(peer.ended);
}

#[test]
fn a_session_may_begin_behind_a_proxy_header() {
    let mut rig = Rig::new("proxy_protocol = 'on'");
    let mut peer = Peer::behind(&mut rig, "PROXY TCP4 192.0.2.7 198.51.100.1 51234 2514\r\n");
    peer.say(&message(2, "<13>one"));
    rig.until(|rig| rig.texts.len() == 1);
    rig.slips.drain(..).for_each(ReceiptSlip::confirm);
    rig.replies(&mut peer, "2 rsp 6 200 OK\n");
}

#[test]
fn what_is_lost_is_never_acknowledged_and_ends_the_connection() {
    let mut rig = Rig::new("");
    let (mut first, mut other) = (Peer::new(&mut rig), Peer::new(&mut rig));
    first.say(&message(2, "kept"));
    rig.until(|rig| rig.texts.len() == 1);
    first.say(&message(3, "lost"));
    rig.until(|rig| rig.texts.len() == 2);
    first.say(&message(4, "kept, but behind what was lost"));
    rig.until(|rig| rig.texts.len() == 3);
    other.say(&message(2, "elsewhere"));
    rig.until(|rig| rig.texts.len() == 4);
    drop(rig.slips.remove(1));
    rig.slips.drain(..).for_each(ReceiptSlip::confirm);
    rig.replies(&mut other, "2 rsp 6 200 OK\n");
    first.read();
    // The batch before the lost one may have been told of; nothing behind it.
    assert!(["", "2 rsp 6 200 OK\n"].contains(&first.heard.as_str()), "{}", first.heard);
    rig.until(|_| true);
    let began = Instant::now();
    while !first.ended && began.elapsed() < SOON {
        rig.step();
        first.read();
    }
    assert!(first.ended && !other.ended);
}

#[test]
fn without_a_free_receipt_nothing_is_read() {
    let mut rig = Rig::new("");
    let mut peer = Peer::new(&mut rig);
    for number in 0..RECEIPTS as u32 {
        peer.say(&message(2 + number, "x"));
        rig.until(|rig| rig.texts.len() == number as usize + 1);
    }
    peer.say(&message(2 + RECEIPTS as u32, "one too many"));
    (0..20).for_each(|_| rig.step());
    assert_eq!(rig.texts.len(), RECEIPTS);
    rig.slips.pop_front().unwrap().confirm();
    rig.until(|rig| rig.texts.len() == RECEIPTS + 1);
    rig.replies(&mut peer, "2 rsp 6 200 OK\n");
}

#[test]
fn who_does_not_read_replies_keeps_nobody_waiting() {
    let mut rig = Rig::new("");
    let (mut deaf, mut good) = (Peer::new(&mut rig), Peer::new(&mut rig));
    // A socket with small buffers, whose replies fill them long before they are all said.
    let size = 64 << 10;
    socket2::SockRef::from(&deaf.socket).set_recv_buffer_size(size).unwrap();
    let count = 400_000;
    let mut said = 0;
    let mut backlog = Vec::new();
    while said < count || !backlog.is_empty() {
        if backlog.is_empty() {
            let part = said..count.min(said + 1000);
            backlog = part.clone().flat_map(|n| message(2 + n, "x").into_bytes()).collect();
            said = part.end;
        }
        match deaf.socket.write(&backlog) {
            Ok(sent) => drop(backlog.drain(..sent)),
            Err(error) => assert_eq!(error.kind(), ErrorKind::WouldBlock),
        }
        rig.step();
        rig.slips.drain(..).for_each(ReceiptSlip::confirm);
    }
    rig.until(|rig| rig.texts.len() == count as usize);
    good.say(&message(2, "hello"));
    rig.until(|rig| rig.texts.len() == count as usize + 1);
    rig.slips.drain(..).for_each(ReceiptSlip::confirm);
    rig.replies(&mut good, "2 rsp 6 200 OK\n");
    // And when it reads at last, every reply is there, in order.
    let mut heard = 0;
    let began = Instant::now();
    while heard < count as usize {
        assert!(began.elapsed() < SOON, "{heard} replies");
        rig.step();
        deaf.read();
        let whole = deaf.heard.rfind('\n').map_or(0, |at| at + 1);
        for line in deaf.heard[..whole].lines() {
            assert_eq!(line, format!("{} rsp 6 200 OK", 2 + heard));
            heard += 1;
        }
        deaf.heard.drain(..whole);
    }
}

#[test]
fn a_stop_reads_what_is_there_and_says_what_it_owes() {
    let mut rig = Rig::new("");
    let mut peer = Peer::new(&mut rig);
    peer.say(&(message(2, "one") + "3 syslog 99 unfinished"));
    rig.until(|rig| rig.texts.len() == 1);
    let now = rig.now();
    rig.source.stop(now);
    (0..5).for_each(|_| rig.step());
    assert!(!rig.received.finished, "a reply is owed");
    rig.slips.drain(..).for_each(ReceiptSlip::confirm);
    rig.replies(&mut peer, "2 rsp 6 200 OK\n0 serverclose 0\n");
    rig.until(|rig| rig.received.finished);
    assert_eq!(rig.texts, ["one"]);
}

#[test]
fn long_and_empty_messages_are_one_transaction_each() {
    let mut rig = Rig::new("event_max = 64");
    let mut peer = Peer::new(&mut rig);
    peer.say("2 syslog 0\n");
    rig.until(|rig| rig.slips.len() == 1);
    peer.say(&(message(3, &"x".repeat(130)) + &message(4, "\n")));
    peer.socket.shutdown(Shutdown::Write).unwrap();
    rig.until(|rig| rig.texts.len() == 3);
    assert_eq!(rig.texts.iter().map(String::len).collect::<Vec<_>>(), [64, 64, 2]);
    rig.slips.drain(..).for_each(ReceiptSlip::confirm);
    let expected = "2 rsp 6 200 OK\n3 rsp 6 200 OK\n4 rsp 6 200 OK\n0 serverclose 0\n";
    rig.replies(&mut peer, expected);
    assert!(peer.ended, "it said that no more comes");
}

#[test]
fn whoever_breaks_the_protocol_hears_of_what_was_good_before() {
    let mut rig = Rig::new("");
    let mut peer = Peer::new(&mut rig);
    peer.say(&(message(2, "good") + &message(7, "out of order")));
    rig.until(|rig| rig.texts.len() == 1);
    rig.slips.drain(..).for_each(ReceiptSlip::confirm);
    rig.replies(&mut peer, "2 rsp 6 200 OK\n0 serverclose 0\n");
    assert!(peer.ended);
}
