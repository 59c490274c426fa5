//! Peers that take little, break anywhere, or are not there.

mod acknowledged;
#[cfg(test)]
mod attempts;
#[cfg(test)]
mod dead_letters;
mod forwarding;
#[cfg(test)]
mod settling;

use std::io::{self, ErrorKind};
use std::net::UdpSocket as Receiver;
use std::sync::Arc;

use mio::net::UdpSocket;

use super::load::Load;
use super::stream::{Conduit, Sent};
use super::*;
use crate::channel::memory::MemoryChannel;
use crate::channel::{Channel, Inlet, Valve, WhenFull};
use crate::event::{EventHead, Marks, Origin};
use crate::memory::{Credit, Pool};
use crate::ring::Wake;
use crate::runtime::parker::Parker;
use crate::telemetry::{Incidents, Ledger, LostReason, Mark, SinkCounters};
use crate::time::{Mono, Now, Wall};

#[test]
fn rows_hold() {
    crate::config::check_docs(OPTIONS, "targets = 'relp://127.0.0.1:514'", |section| {
        plan(section);
    });
}

#[test]
fn mistakes_are_told() {
    for (body, what) in [
        ("framing = 'lf'", "`framing`"),
        ("format = 'json'", "as_received"),
        ("zone = 'Mars/Base'", "no time zone `Mars/Base`"),
        ("datagram_max = '100'", "below 480"),
        ("datagram_max = '64KiB'", "above 65507"),
        ("targets_mode = 'both'", "balance"),
        ("write_timeout = '2d'", "above 1d"),
        ("backoff_max = '0s'", "below 10ms"),
        ("attempts = 2", "no target refuses anything: only RELP answers (write \"relp://"),
        ("dead_letters = '/var/lib/letters/'", "is no name of a file"),
        ("dead_letters = '/var/lib/%Y.ndjson'", "it has no escapes"),
    ] {
        let section = Section::parse(&format!("targets = 'tcp://h:1'\n{body}"), OPTIONS);
        plan(&section);
        let told = section.diagnostics().lines().join("\n");
        assert!(told.contains(what), "{body}: {told}");
    }
}

#[test]
fn attempts_are_for_targets_that_answer() {
    for (targets, attempts) in [
        ("'relp://h:1'", Some("3")),
        ("['udp://h:1', 'relps://h:1']", Some("3")),
        ("'tcp://h:1'", None),
    ] {
        let section = Section::parse(&format!("targets = {targets}"), OPTIONS);
        plan(&section);
        assert!(section.diagnostics().lines().is_empty(), "{targets}");
        let shown = section.settings().into_iter().find(|setting| setting.key == ATTEMPTS);
        assert_eq!(shown.and_then(|it| it.value).as_deref(), attempts, "{targets}");
    }
    for (attempts, what) in [("0", "below 1"), ("1001", "above 1000"), ("'3'", "an integer")] {
        let body = format!("targets = 'relp://h:1'\nattempts = {attempts}");
        let section = Section::parse(&body, OPTIONS);
        plan(&section);
        let told = section.diagnostics().lines().join("\n");
        assert!(told.contains(what), "{attempts}: {told}");
    }
}

/// A channel with a way in, its ledger, and what a sink at it is built from.
struct Line {
    ledger: Arc<Ledger>,
    valve: Valve,
    context: SinkContext,
}

impl Line {
    fn new() -> Self {
        let mut builder = Ledger::builder("test");
        let counters = builder.channel("main").counters();
        let credit = Arc::new(Credit::new(8));
        let channel: Arc<dyn Channel> =
            Arc::new(MemoryChannel::new("main".into(), credit, counters));
        let inlet = builder.channel("main").inlet();
        let inlet =
            Inlet { channel: Arc::clone(&channel), when_full: WhenFull::Wait, counters: inlet };
        let waker: Arc<dyn Wake> = Parker::default().waker();
        let valve = Valve::new(Pool::new(8, 64 << 10), vec![inlet], &waker);
        let context = SinkContext {
            name: "next".to_owned(),
            channel,
            counters: vec![builder.sink("next", "main").worker()],
            dead_letters: None,
            incidents: Incidents::new(),
            disk: Arc::new(crate::storage::OsDisk),
            clock: Arc::new(crate::runtime::clock::SystemClock::default()),
            orders: Arc::new(crate::sink::Orders::default()),
            page_bytes: 64 << 10,
            event_bytes_max: 4 << 10,
            now: Now::default(),
        };
        Self { ledger: builder.build(), valve, context }
    }

    fn offer(&self, events: &[Vec<u8>], marks: Marks) {
        let mut page = self.valve.open().expect("a batch is free");
        let origin = page.push_origin(Origin::LOCAL).expect("room");
        for event in events {
            let head = EventHead { at: Wall(0), origin, pri: None, marks };
            page.append_event(event, head).expect("room");
        }
        self.valve.offer(page, None, Mono(0), Now::default());
    }

    fn load(&self, events: &[Vec<u8>], marks: Marks) -> Load {
        self.offer(events, marks);
        let parcel = self.context.channel.poll().expect("just offered");
        Load::new(parcel, Now::default(), self.counters())
    }

    fn counters(&self) -> &SinkCounters {
        &self.context.counters[0]
    }

    #[track_caller]
    fn adds_up(&self) {
        let snapshot = self.ledger.snapshot();
        assert!(snapshot.adds_up(), "{:?}", snapshot.balance());
    }
}

fn events(count: usize) -> Vec<Vec<u8>> {
    (0..count).map(|n| format!("<13>event {n} {}", "x".repeat(n % 40)).into_bytes()).collect()
}

fn framer(framing: Framing) -> Framer {
    Framer::new(framing, None, 4 << 10)
}

/// A peer that takes so many bytes a call, is full in between, and breaks after so many.
struct Faulty {
    got: Vec<u8>,
    step: usize,
    full: bool,
    breaks_after: usize,
}

impl Faulty {
    fn new(step: usize, breaks_after: usize) -> Self {
        Self { got: Vec::new(), step, full: false, breaks_after }
    }
}

impl Conduit for Faulty {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.got.len() == self.breaks_after {
            return Err(ErrorKind::ConnectionReset.into());
        }
        self.full = !self.full;
        if self.full {
            return Err(ErrorKind::WouldBlock.into());
        }
        let count = bytes.len().min(self.step).min(self.breaks_after - self.got.len());
        self.got.extend_from_slice(&bytes[..count]);
        Ok(count)
    }

    fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
        Err(ErrorKind::WouldBlock.into())
    }

    fn finish(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Sends a load through a peer until it is all there or the peer breaks.
fn send(load: &mut Load, framer: &mut Framer, peer: &mut Faulty) -> io::Result<()> {
    let mut writer = StreamWriter::new(0);
    writer.start(load, framer);
    while writer.write(load, framer, peer)? == Sent::Blocked {}
    Ok(())
}

fn framed(framing: Framing, events: &[Vec<u8>]) -> Vec<u8> {
    let frame = |event: &Vec<u8>| match framing {
        Framing::Newline => [event.as_slice(), b"\n"].concat(),
        Framing::Octet => [format!("{} ", event.len()).as_bytes(), event].concat(),
    };
    events.iter().flat_map(frame).collect()
}

#[test]
fn short_writes_change_nothing() {
    let events = events(300);
    for framing in [Framing::Newline, Framing::Octet] {
        // Control bytes in one event, and the batch is no longer sent as it stands.
        for marks in [Marks::NONE, Marks::CONTROL] {
            for step in [1, 7, 1000, usize::MAX] {
                let line = Line::new();
                let mut load = line.load(&events, marks);
                let mut peer = Faulty::new(step, usize::MAX);
                send(&mut load, &mut framer(framing), &mut peer).expect("it never breaks");
                assert!(peer.got == framed(framing, &events), "{framing:?} {step}");
                assert_eq!(load.tally.sent_bytes, peer.got.len() as u64);
                load.finish(line.counters(), &*line.context.channel, Now::default());
                assert_eq!(line.ledger.snapshot().sinks[0].written_events, 300);
                line.adds_up();
            }
        }
    }
}

#[test]
fn a_reset_at_any_byte_and_everything_is_sent_again_whole() {
    let events = events(20);
    for framing in [Framing::Newline, Framing::Octet] {
        let whole = framed(framing, &events);
        for marks in [Marks::NONE, Marks::CONTROL] {
            let line = Line::new();
            for cut in 0..whole.len() {
                let mut load = line.load(&events, marks);
                let mut first = Faulty::new(50, cut);
                let error = send(&mut load, &mut framer(framing), &mut first).expect_err("broken");
                assert_eq!(error.kind(), ErrorKind::ConnectionReset);
                assert_eq!(first.got, whole[..cut]);
                load.start_again();
                let mut second = Faulty::new(50, usize::MAX);
                send(&mut load, &mut framer(framing), &mut second).expect("it never breaks");
                assert!(second.got == whole, "{framing:?} cut at {cut}");
                assert_eq!(load.tally.sent_bytes, whole.len() as u64, "counted once");
                load.finish(line.counters(), &*line.context.channel, Now::default());
            }
            assert_eq!(line.ledger.snapshot().sinks[0].written_events, 20 * whole.len() as u64);
            line.adds_up();
        }
    }
}

// ── datagrams ──

fn socket_to(receiver: &Receiver) -> UdpSocket {
    let socket = UdpSocket::bind("127.0.0.1:0".parse().expect("an address")).expect("a socket");
    socket.connect(receiver.local_addr().expect("bound")).expect("connected");
    socket
}

fn received(receiver: &Receiver, count: usize) -> Vec<Vec<u8>> {
    receiver.set_read_timeout(Some(Duration::from_secs(20))).expect("a timeout");
    let mut bytes = [0; 5000];
    let mut read = || {
        let length = receiver.recv(&mut bytes).expect("it was sent");
        bytes[..length].to_vec()
    };
    let all = (0..count).map(|_| read()).collect();
    receiver.set_nonblocking(true).expect("a socket");
    assert!(receiver.recv(&mut bytes).is_err(), "nothing came twice");
    receiver.set_nonblocking(false).expect("a socket");
    all
}

fn at(ms: u64) -> Now {
    Now { mono: Mono(ms * 1_000_000), wall: Wall(0) }
}

#[test]
fn no_datagram_is_lost_while_nobody_listens() {
    let line = Line::new();
    let mut framer = framer(Framing::Newline);
    let mut writer = DatagramWriter::new(MESSAGE_BYTES_MAX, 0);
    let receiver = Receiver::bind("127.0.0.1:0").expect("a socket");
    let (socket, address) = (socket_to(&receiver), receiver.local_addr().expect("bound"));
    writer.connected(false);
    let first = events(200);
    let mut load = line.load(&first, Marks::NONE);
    let sent = writer.write(&mut load, &mut framer, &socket, at(0)).expect("somebody listens");
    assert_eq!(sent, datagram::Sent::All);
    assert_eq!(received(&receiver, 200), first);

    // In full flow, 64 a call: the refusal comes in the middle of a call, or behind the first.
    drop(receiver);
    for second in [events(200), events(1)] {
        let mut load = line.load(&second, Marks::NONE);
        writer.connected(false);
        for refused in [false, true, true] {
            if refused {
                writer.connected(true);
            }
            let error = writer.write(&mut load, &mut framer, &socket, at(0)).expect_err("refused");
            assert_eq!(error.kind(), ErrorKind::ConnectionRefused);
            assert_eq!(load.taken, 0, "all of it is still to be sent");
        }
        let receiver = Receiver::bind(address).expect("the port is free again");
        writer.connected(true);
        let sent = writer.write(&mut load, &mut framer, &socket, at(0)).expect("it listens");
        assert_eq!(sent, datagram::Sent::Later(at(50).mono), "one, and a while without refusal");
        assert!(writer.is_on_trial() && load.taken == 1);
        let sent = writer.write(&mut load, &mut framer, &socket, at(50)).expect("it listens");
        assert_eq!(sent, datagram::Sent::All);
        assert!(!writer.is_on_trial());
        assert_eq!(received(&receiver, second.len()), second);
    }
}

#[test]
fn a_refusal_in_full_flow_steps_back_to_what_was_refused() {
    let line = Line::new();
    let mut framer = framer(Framing::Newline);
    let mut writer = DatagramWriter::new(MESSAGE_BYTES_MAX, 0);
    let receiver = Receiver::bind("127.0.0.1:0").expect("a socket");
    let socket = socket_to(&receiver);
    writer.connected(false);
    let mut load = line.load(&events(100), Marks::NONE);
    writer.write(&mut load, &mut framer, &socket, at(0)).expect("somebody listens");
    drop(receiver);
    // Not `connected`: calls take 64 now.
    let mut load = line.load(&events(100), Marks::NONE);
    writer.write(&mut load, &mut framer, &socket, at(0)).expect_err("refused");
    assert_eq!(load.taken, 0);
}

#[test]
fn what_is_too_long_for_a_datagram_loses_its_end_and_is_counted() {
    let line = Line::new();
    let mut writer = DatagramWriter::new(480, 0);
    let receiver = Receiver::bind("127.0.0.1:0").expect("a socket");
    let socket = socket_to(&receiver);
    writer.connected(false);
    let events = [b"<13>short".to_vec(), vec![b'y'; 481], Vec::new(), vec![b'z'; 480]];
    let mut load = line.load(&events, Marks::NONE);
    writer.write(&mut load, &mut framer(Framing::Octet), &socket, at(0)).expect("it listens");
    let expected = [events[0].clone(), vec![b'y'; 480], Vec::new(), events[3].clone()];
    assert_eq!(received(&receiver, 4), expected);
    load.finish(line.counters(), &*line.context.channel, at(1));
    let sink = &line.ledger.snapshot().sinks[0];
    assert_eq!((sink.written_events, sink.marked.get(Mark::Truncated)), (4, 1));
    assert_eq!(sink.lost.get(LostReason::Refused), 0);
    line.adds_up();
}
