//! The protocol over real sockets, the source stepped by hand and its slips answered by the test.

use std::collections::VecDeque;
use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::*;
use crate::event::Page;
use crate::memory::ReceiptSlip;
use crate::source::{Source, SourceContext, SourcePlan};
use crate::telemetry::Incidents;
use crate::time::{Mono, Now, Wall};

struct Rig {
    source: Box<dyn Source>,
    address: SocketAddr,
    page: Page,
    serial: u64,
    texts: Vec<String>,
    slips: VecDeque<ReceiptSlip>,
    /// Batches are confirmed as soon as they are offered.
    confirms: bool,
    finished: bool,
    start: Instant,
}

impl Rig {
    fn new(more: &str) -> Self {
        let section = Section::parse(&format!("listen = 'tcp://127.0.0.1:0'\n{more}"), OPTIONS);
        let plan = plan(&section);
        section.finish();
        assert!(!section.diagnostics().has_errors(), "{:?}", section.diagnostics().lines());
        let context = SourceContext {
            name: "net".to_owned(),
            want_pri: false,
            want_host: false,
            exact: false,
            want_headers: false,
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
            confirms: true,
            finished: false,
            start: Instant::now(),
        }
    }

    fn step(&mut self) {
        let elapsed = self.start.elapsed().as_nanos();
        let now = Now { mono: Mono(elapsed as u64), wall: Wall(elapsed as i64) };
        self.source.settle(now);
        let received = self.source.receive(&mut self.page, now);
        self.finished = received.finished;
        let texts = self.page.events().map(|it| String::from_utf8_lossy(it.bytes).into_owned());
        self.texts.extend(texts);
        self.slips.extend(self.source.slip());
        self.serial += 1;
        self.page.clear(self.serial);
        if self.confirms {
            self.slips.drain(..).for_each(ReceiptSlip::confirm);
        }
        if !received.more && !received.finished {
            self.source.wait(now, now.mono.after(Duration::from_millis(5)), true);
        }
    }

    fn until(&mut self, done: impl Fn(&Self) -> bool) {
        let began = Instant::now();
        while !done(self) {
            assert!(began.elapsed() < Duration::from_secs(20), "{:?}", self.texts);
            self.step();
        }
    }

    /// Writes, says that this was all, and reads what is answered until we close.
    fn talk(&mut self, text: &[u8]) -> String {
        let (address, text) = (self.address, text.to_vec());
        let peer = std::thread::spawn(move || {
            let mut peer = TcpStream::connect(address).unwrap();
            peer.write_all(&text).unwrap();
            peer.shutdown(Shutdown::Write).unwrap();
            let mut answers = String::new();
            peer.read_to_string(&mut answers).unwrap();
            answers
        });
        let began = Instant::now();
        while !peer.is_finished() {
            assert!(began.elapsed() < Duration::from_secs(20), "{:?}", self.texts);
            self.step();
        }
        peer.join().unwrap()
    }
}

#[test]
fn each_line_has_its_answer_also_the_empty_and_the_last() {
    let mut rig = Rig::new("");
    assert_eq!(rig.talk(b"one\ntwo\r\n\nlast"), "OK\nOK\nOK\nOK\n");
    assert_eq!(rig.texts, ["one", "two", "", "last"]);
    let mut silent = Rig::new("ack_every_event = false");
    assert_eq!(silent.talk(b"one\ntwo\n"), "");
    assert_eq!(silent.texts, ["one", "two"]);
}

#[test]
fn a_line_that_is_too_long_is_told_behind_the_answers_and_ends_it() {
    let mut rig = Rig::new("max_line_length = 6");
    let told = "FAILED: Event exceeds the maximum length (6 chars, including newline)\n";
    let text = [&b"12345\nab\n"[..], &[b'x'; 100_000], b"\nafter\n"].concat();
    assert_eq!(rig.talk(&text), format!("OK\nOK\n{told}"));
    assert_eq!(rig.texts, ["12345", "ab"]);
    assert_eq!(rig.talk(b"123456\n"), told);
    assert_eq!(rig.talk("\u{e9}\u{e9}\u{e9}\u{e9}\u{e9}\n".as_bytes()), "OK\n");
}

#[test]
fn an_answer_waits_for_its_mark_and_one_that_fails_says_so() {
    let mut rig = Rig::new("ack = 'written'");
    rig.confirms = false;
    let mut peer = TcpStream::connect(rig.address).unwrap();
    peer.set_nonblocking(true).unwrap();
    peer.write_all(b"one\ntwo\n").unwrap();
    rig.until(|rig| rig.texts.len() == 2);
    let mut answer = [0; 200];
    (0..5).for_each(|_| rig.step());
    assert!(peer.read(&mut answer).is_err(), "nothing is written yet");
    rig.slips.drain(..).for_each(ReceiptSlip::confirm);
    (0..5).for_each(|_| rig.step());
    peer.set_nonblocking(false).unwrap();
    assert_eq!(peer.read(&mut answer).unwrap(), 6);
    peer.write_all(b"three\n").unwrap();
    rig.until(|rig| rig.texts.len() == 3);
    rig.slips.clear();
    (0..5).for_each(|_| rig.step());
    let count = peer.read(&mut answer).unwrap();
    assert!(answer[..count].starts_with(b"FAILED: "), "{answer:?}");
}

#[test]
fn who_does_not_read_the_answers_is_not_read_and_holds_nobody_up() {
    let mut rig = Rig::new("");
    let mut deaf = TcpStream::connect(rig.address).unwrap();
    let text = b"\n".repeat(64 << 10);
    deaf.set_nonblocking(true).unwrap();
    let mut written = 0;
    // Its answers fill both sockets' buffers; then no more of it is taken.
    let mut idle = 0;
    while idle < 20 {
        let more = deaf.write(&text).unwrap_or(0);
        written += more;
        idle = if more == 0 { idle + 1 } else { 0 };
        rig.step();
        rig.texts.clear();
        assert!(written < 256 << 20, "it is read for ever");
    }
    assert_eq!(rig.talk(b"another\n"), "OK\n");
    // Whoever listens again goes on where it was.
    deaf.set_nonblocking(false).unwrap();
    let reader = std::thread::spawn(move || {
        deaf.shutdown(Shutdown::Write).unwrap();
        let mut answers = Vec::new();
        deaf.read_to_end(&mut answers).unwrap();
        answers.len()
    });
    let began = Instant::now();
    while !reader.is_finished() {
        assert!(began.elapsed() < Duration::from_secs(60));
        rig.step();
        rig.texts.clear();
    }
    assert_eq!(reader.join().unwrap(), 3 * written);
}

#[test]
fn a_stop_keeps_what_had_come_and_says_so() {
    let mut rig = Rig::new("");
    let mut peer = TcpStream::connect(rig.address).unwrap();
    peer.write_all(b"one\nhalf").unwrap();
    rig.until(|rig| rig.texts.len() == 1);
    rig.source.stop(Now { mono: Mono(0), wall: Wall(0) });
    rig.until(|rig| rig.finished);
    assert_eq!(rig.texts, ["one", "half"]);
    let mut answers = String::new();
    peer.read_to_string(&mut answers).unwrap();
    assert_eq!(answers, "OK\n");
}

#[test]
fn mistakes_are_told() {
    let told = |body: &str| {
        let section = Section::parse(&format!("listen = 'tcp://127.0.0.1:0'\n{body}"), OPTIONS);
        plan(&section);
        section.finish();
        section.diagnostics().lines().join("\n")
    };
    assert!(told("max_line_length = 1").contains("2"), "{}", told("max_line_length = 1"));
    assert!(told("max_line_length = 70000").contains("65536"));
    assert!(told("ack = 'written'\nack_every_event = false").contains("leave one of them out"));
    assert!(told("event_max = '64KiB'").contains("unknown key"));
}

#[test]
fn the_rows_are_what_is_asked_for() {
    crate::config::check_docs(OPTIONS, "listen = 'tcp://127.0.0.1:0'", |section| {
        plan(section);
    });
}
