//! The whole worker, stepped by hand, against sockets of this machine.

use std::io::{Read, Write as _};
use std::net::{TcpListener, TcpStream};

use super::acknowledged::{Relp, relp_target};
use super::*;
use crate::runtime::Progress;
use crate::runtime::clock::{Clock, SystemClock};

const SOON: Duration = Duration::from_secs(20);

pub(super) struct Sink {
    pub(super) line: Line,
    worker: Box<dyn Worker>,
    helpers: Vec<Box<dyn Worker>>,
    clock: SystemClock,
}

impl Sink {
    pub(super) fn new(body: &str) -> Self {
        let section = Section::parse(body, OPTIONS);
        let plan = plan(&section);
        assert!(!section.diagnostics().has_errors(), "{}", section.diagnostics().render(false));
        let line = Line::new();
        let mut built = plan.build(&line.context).expect("it builds");
        let worker = built.workers.pop().expect("one thread");
        Self { line, worker, helpers: built.helpers, clock: SystemClock::default() }
    }

    /// Works until the condition holds.
    #[track_caller]
    pub(super) fn until(&mut self, what: &str, mut condition: impl FnMut(&Line) -> bool) {
        let end = self.clock.now().mono.after(SOON);
        while !condition(&self.line) {
            self.step();
            assert!(self.clock.now().mono < end, "never: {what}");
        }
    }

    /// One turn of all workers, whatever time it is.
    pub(super) fn step_at(&mut self, now: Now) -> Progress {
        self.helpers.iter_mut().for_each(|helper| while helper.work(now) == Progress::Worked {});
        self.worker.work(now)
    }

    pub(super) fn close_at(&mut self, now: Now) {
        self.worker.close(now);
    }

    pub(super) fn step(&mut self) -> Progress {
        let now = self.clock.now();
        let progress = self.step_at(now);
        if let Progress::Idle { until } = progress {
            // What others do in this test is not always told to the worker.
            self.worker.wait(now, until.min(now.mono.after(Duration::from_millis(2))));
        }
        progress
    }

    /// Closes while the peer does what it has to, until that says it is done.
    #[track_caller]
    pub(super) fn worker_closes(mut self, mut peer: impl FnMut() -> bool) {
        let end = self.clock.now().mono.after(SOON);
        self.worker.close(self.clock.now());
        let mut done = false;
        while self.step() != Progress::Done {
            done |= peer();
            assert!(self.clock.now().mono < end, "it does not end");
        }
        assert!(done, "it ended before its peer had");
        self.line.adds_up();
    }

    #[track_caller]
    pub(super) fn close(mut self) -> Line {
        let end = self.clock.now().mono.after(SOON);
        self.worker.close(self.clock.now());
        while self.step() != Progress::Done {
            assert!(self.clock.now().mono < end, "it does not end");
        }
        self.line.adds_up();
        self.line
    }
}

/// A listener that takes what there is without waiting.
pub(super) struct Peer {
    pub(super) listener: TcpListener,
    pub(super) connections: Vec<TcpStream>,
    pub(super) got: Vec<u8>,
}

impl Peer {
    pub(super) fn new() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        listener.set_nonblocking(true).expect("a socket");
        Self { listener, connections: Vec::new(), got: Vec::new() }
    }

    pub(super) fn target(&self) -> String {
        format!("tcp://{}", self.listener.local_addr().expect("bound"))
    }

    pub(super) fn accept(&mut self) {
        while let Ok((socket, _)) = self.listener.accept() {
            socket.set_nonblocking(true).expect("a socket");
            self.connections.push(socket);
        }
    }

    pub(super) fn read(&mut self) -> usize {
        self.accept();
        let mut bytes = [0; 64 << 10];
        self.connections.retain_mut(|socket| {
            loop {
                match socket.read(&mut bytes) {
                    Ok(0) => return false,
                    Ok(count) => self.got.extend_from_slice(&bytes[..count]),
                    Err(error) => return error.kind() == ErrorKind::WouldBlock,
                }
            }
        });
        self.got.len()
    }
}

pub(super) fn written(line: &Line) -> u64 {
    line.ledger.snapshot().sinks[0].written_events
}

#[test]
fn batches_go_to_the_first_that_works_and_back_to_it() {
    let (mut first, mut second) = (Peer::new(), Peer::new());
    let mut sink = Sink::new(&format!(
        "targets = ['{}', '{}']\nbackoff_max = '10ms'",
        first.target(),
        second.target()
    ));
    let one = framed(Framing::Newline, &events(10));
    sink.line.offer(&events(10), Marks::NONE);
    sink.until("the first has it", |_| first.read() == one.len());
    second.accept();
    assert!(second.connections.is_empty(), "the second is not even connected");

    // The first goes away, its port with it.
    let address = first.listener.local_addr().expect("bound");
    drop(first);
    sink.until("that is noticed", |line| !line.context.incidents.list().is_empty());
    sink.line.offer(&events(10), Marks::NONE);
    sink.until("the second has it", |_| second.read() == one.len());
    assert_eq!(written(&sink.line), 20);

    let mut first = Peer {
        listener: TcpListener::bind(address).expect("the port is free again"),
        connections: Vec::new(),
        got: Vec::new(),
    };
    first.listener.set_nonblocking(true).expect("a socket");
    sink.until("the second is left", |_| {
        first.accept();
        second.read();
        !first.connections.is_empty() && second.connections.is_empty()
    });
    sink.line.offer(&events(10), Marks::NONE);
    sink.until("the first has it again", |_| first.read() == one.len());
    drop(first);
    let line = sink.close();
    assert_eq!((written(&line), line.ledger.snapshot().lost_events()), (30, 0));
}

#[test]
fn a_batch_cut_by_a_reset_goes_whole_to_the_next() {
    let (mut first, mut second) = (Peer::new(), Peer::new());
    let mut sink = Sink::new(&format!(
        "targets = ['{}', '{}']\nframing = 'octet'",
        first.target(),
        second.target()
    ));
    // More than the sockets of a peer that does not read can hold.
    let big: Vec<Vec<u8>> = (0..15).map(|n| [b'<', n, b'x'].repeat(1300)).collect();
    let mut offered = 0;
    sink.until("the first is full", |line| {
        if line.valve.may_open() {
            line.offer(&big, Marks::NONE);
            offered += 1;
        }
        first.accept();
        offered as u64 * 15 > written(line) + 100
    });
    let taken = written(&sink.line);
    // Unread bytes at the close make the kernel say reset.
    drop(first);
    let whole = framed(Framing::Octet, &big);
    let rest = offered * 15 - taken as usize;
    sink.until("the second has the rest", |_| second.read() == whole.len() * rest / 15);
    assert!(second.got.chunks(whole.len()).all(|batch| batch == whole), "whole batches");
    drop(second);
    let line = sink.close();
    assert_eq!(written(&line) as usize, offered * 15);
    let sink = &line.ledger.snapshot().sinks[0];
    assert!(sink.errors >= 1);
}

/// What a machine is known to have taken in datagrams stays taken when another goes on.
#[test]
fn what_went_out_in_datagrams_does_not_come_again_over_relp() {
    let address = Receiver::bind("127.0.0.1:0").and_then(|socket| socket.local_addr());
    let address = address.expect("a socket");
    let (mut peer, mut relp) = (Peer::new(), Relp::default());
    let mut sink = Sink::new(&format!(
        "targets = ['udp://{address}', '{}']\nbackoff_max = '10ms'",
        relp_target(&peer)
    ));
    let mut serve = |line: &Line, count: u64| {
        peer.accept();
        peer.connections.iter_mut().for_each(|socket| relp.serve(socket, usize::MAX, 200));
        written(line) == count
    };
    sink.line.offer(&events(3), Marks::NONE);
    sink.until("nobody listens, so the second has it", |line| serve(line, 3));
    let receiver = Receiver::bind(address).expect("the port is free again");
    receiver.set_nonblocking(true).expect("a socket");
    let clock = SystemClock::default();
    let back = clock.now().mono.after(Duration::from_millis(10));
    sink.until("the first is preferred again", |_| clock.now().mono > back);
    sink.line.offer(&events(200), Marks::NONE);
    let mut bytes = [0; 100];
    // One goes ahead, and the others do not follow at once.
    sink.until("the first has one", |_| receiver.recv(&mut bytes).is_ok());
    drop(receiver);
    sink.until("the second has the rest", |line| serve(line, 203));
    assert_eq!(relp.answered, [events(3), events(200).split_off(1)].concat());
    sink.line.adds_up();
}

#[test]
fn free_targets_share_the_batches() {
    let (mut first, mut second) = (Peer::new(), Peer::new());
    let mut sink = Sink::new(&format!(
        "targets = ['{}', '{}']\ntargets_mode = 'balance'",
        first.target(),
        second.target()
    ));
    sink.until("both are connected", |_| {
        first.accept();
        second.accept();
        first.connections.len() + second.connections.len() == 2
    });
    for _ in 0..6 {
        sink.line.offer(&events(10), Marks::NONE);
    }
    let one = framed(Framing::Newline, &events(10)).len();
    sink.until("all is there", |_| first.read() + second.read() == 6 * one);
    assert_eq!((first.got.len(), second.got.len()), (3 * one, 3 * one));
    // One that fails leaves all to the other.
    drop(second);
    sink.until("that is noticed", |line| !line.context.incidents.list().is_empty());
    assert!(sink.line.context.incidents.blocking().is_empty(), "the other goes on");
    sink.line.offer(&events(10), Marks::NONE);
    sink.line.offer(&events(10), Marks::NONE);
    sink.until("all is there", |_| first.read() == 5 * one);
    drop(first);
    assert_eq!(written(&sink.close()), 80);
}

#[test]
fn while_nobody_works_nothing_is_taken_and_it_is_told() {
    let closed = {
        let peer = Peer::new();
        peer.target()
    };
    let mut sink = Sink::new(&format!("targets = '{closed}'\nbackoff_max = '10ms'"));
    sink.line.offer(&events(10), Marks::NONE);
    sink.until("it is tried several times", |line| line.ledger.snapshot().sinks[0].retries > 3);
    let snapshot = sink.line.ledger.snapshot();
    assert_eq!(snapshot.channels[0].waiting_events, 10);
    assert!(!sink.line.context.channel.is_empty(), "it waits in the channel");
    let blocking = sink.line.context.incidents.blocking();
    assert!(blocking[0].starts_with(&format!("sink next {closed}: ")), "{blocking:?}");
}

#[test]
fn a_peer_that_takes_nothing_is_left() {
    let (mut stuck, mut second) = (Peer::new(), Peer::new());
    let mut sink = Sink::new(&format!(
        "targets = ['{}', '{}']\nwrite_timeout = '200ms'\nformat = 'rfc5424'",
        stuck.target(),
        second.target()
    ));
    let big: Vec<Vec<u8>> = (0..15).map(|_| vec![b'x'; 4000]).collect();
    sink.until("the second has something", |line| {
        if line.valve.may_open() {
            line.offer(&big, Marks::NONE);
        }
        stuck.accept();
        second.read() > 0
    });
    assert!(second.got.starts_with(b"4069 <13>1 ") || second.got.starts_with(b"<13>1 "));
    let list = sink.line.context.incidents.list();
    assert!(list[0].what.contains("write_timeout"), "{list:?}");
}

#[test]
fn what_the_peer_says_is_read_away_and_its_end_is_seen_before_the_next_batch() {
    let mut peer = Peer::new();
    let mut sink = Sink::new(&format!("targets = '{}'\nbackoff_max = '10ms'", peer.target()));
    sink.until("it is connected", |_| {
        peer.accept();
        peer.connections.len() == 1
    });
    peer.connections[0].write_all(b"welcome\n").expect("it listens");
    sink.until("a while", |_| peer.read() == 0 && peer.connections.len() == 1);
    peer.connections.clear();
    // The FIN is there, and not yet looked at, when the batch comes.
    sink.line.offer(&events(3), Marks::NONE);
    let one = framed(Framing::Newline, &events(3)).len();
    sink.until("nothing went into the old connection", |_| peer.read() == one);
    drop(peer);
    assert_eq!(written(&sink.close()), 3);
}

#[test]
fn names_are_looked_up_by_the_helper_and_again_when_it_fails() {
    let mut peer = Peer::new();
    let port = peer.listener.local_addr().expect("bound").port();
    let mut sink = Sink::new(&format!("targets = 'tcp://localhost:{port}'\nbackoff_max = '10ms'"));
    assert_eq!(sink.helpers.len(), 1);
    sink.line.offer(&events(3), Marks::NONE);
    let one = framed(Framing::Newline, &events(3)).len();
    sink.until("it is there", |_| peer.read() == one);
    drop(peer);
    sink.close();
    let mut lost = Sink::new("targets = 'tcp://no-such-host.invalid:1'\nbackoff_max = '10ms'");
    lost.until("it was asked twice", |line| line.ledger.snapshot().sinks[0].errors > 1);
}

#[test]
fn closing_sends_everything_first() {
    let mut peer = Peer::new();
    let mut sink = Sink::new(&format!("targets = '{}'", peer.target()));
    for _ in 0..5 {
        sink.line.offer(&events(100), Marks::NONE);
    }
    sink.worker.close(sink.clock.now());
    let end = sink.clock.now().mono.after(SOON);
    while sink.step() != Progress::Done {
        peer.read();
        assert!(sink.clock.now().mono < end, "it does not end");
    }
    assert!(peer.connections.is_empty(), "it waited for the peer to have read all");
    assert_eq!(peer.got.len(), 5 * framed(Framing::Newline, &events(100)).len());
    assert_eq!(written(&sink.line), 500);
    sink.line.adds_up();
}
