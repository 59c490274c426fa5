//! One thread's network source: listeners, connections and UDP sockets on one mio poll.
//!
//! Readiness is edge-triggered: an event only puts its owner on the ready list, and the owner stays
//! on it until nothing is left: a read or accept said WouldBlock, or brought less than it had room
//! for. The list is visited in turn, each visit bounded, so that one sender at full rate starves
//! nobody; whoever meets a full page comes first in the next one.
//!
//! The doorbell is a poll of its own, nested in the other: with the valve closed a worker sleeps at
//! the doorbell alone, and arriving data does not wake it.

mod attend;
mod clock;
mod groups;
mod introduce;
mod newcomers;
mod replies;
mod rest;

use std::collections::VecDeque;
use std::io;
use std::os::fd::AsRawFd;
use std::sync::Arc;
use std::time::Duration;

use mio::unix::SourceFd;
use mio::{Events, Interest, Poll, Token, Waker};

use self::clock::Attention;
use self::introduce::names;
use super::acks::Acks;
use super::carry::Carries;
use super::connection::{Desk, Visit};
use super::datagrams::{self, Aids, Datagrams};
use super::dialogue::{Counter, Reading};
use super::framing::{Cut, Rules};
use super::gate::{Gate, Places};
use super::handshakes::Handshakes;
use super::http::Turn;
use super::inflate::Inflations;
use super::link::Link;
use super::miscounts::Miscounts;
use super::nap::Naps;
use super::preamble::{Preamble, Preambles};
use super::protocol::{Manner, Protocol};
use super::reverse::Reverse;
use super::sender_headers::Teller;
use super::warden::{self, Warden};
use super::{Received, Source};
use crate::event::{HeaderMap, Origin, Page};
use crate::memory::receipt::Reached;
use crate::memory::{ReceiptPool, ReceiptSlip};
use crate::ring::Wake;
use crate::telemetry::SourceCounters;
use crate::time::{Mono, Now};

/// Bytes of one connection until others have their turn: a quarter of a batch.
pub const VISIT_BYTES: usize = 256 << 10;

/// The same when there is a limit: what it goes over that by, at most.
const LIMITED_VISIT_BYTES: usize = 16 << 10;

/// Events taken from the kernel with one call; the rest comes with the next.
const EVENTS: usize = 1024;

/// Silent connections are looked for so often at most.
const SWEEP: Duration = Duration::from_secs(1);

const DOORBELL: Token = Token(0);
const GATES: usize = 1;

/// What a reactor is made of; everything is bound, and listens.
pub struct Parts {
    pub gates: Vec<Gate>,
    pub datagrams: Datagrams,
    pub carries: Carries,
    pub rules: Rules,
    pub manner: Manner,
    pub inflations: Inflations,
    pub reverse: Option<Reverse>,
    /// Headers say who sent an event.
    pub teller: Option<Teller>,
    pub idle_timeout: Option<Duration>,
    pub handshakes: Handshakes,
    pub preambles: Preambles,
    pub warden: warden::Rules,
    pub counters: Arc<SourceCounters>,
    /// For a source that acknowledges, and how many channels must confirm.
    pub receipts: Option<(Arc<ReceiptPool>, usize)>,
}

pub struct Reactor {
    poll: Poll,
    doorbell: Poll,
    waker: Arc<Bell>,
    events: Events,
    /// Somebody rang while we looked for readiness: the next wait ends at once.
    rung: bool,
    /// `wait` has just asked the kernel, so `receive` need not.
    polled: bool,
    naps: Naps,
    /// Closed ones are none; a token never changes its meaning.
    gates: Vec<Option<Gate>>,
    datagrams: Datagrams,
    connections: Vec<Option<Connection>>,
    vacant: Vec<usize>,
    /// Tokens of those that may have something, each once, and which are on it: by token.
    ready: VecDeque<usize>,
    listed: Vec<bool>,
    /// When to ask again at gates that could not accept.
    retry: Mono,
    sweep: Mono,
    attention: Attention,
    carries: Carries,
    rules: Rules,
    manner: Manner,
    inflations: Inflations,
    reverse: Option<Reverse>,
    teller: Option<Teller>,
    /// When the first group of lines may have waited for long enough.
    ripe: Mono,
    idle_timeout: Option<Duration>,
    handshakes: Handshakes,
    preambles: Preambles,
    warden: Warden,
    miscounts: Miscounts,
    /// When the first of those that were paused is read again.
    resume: Mono,
    counters: Arc<SourceCounters>,
    counter: Option<Counter>,
    /// Connections that are not read for want of a receipt.
    starved: Vec<usize>,
    /// Connections that have room in the kernel for being fast.
    fast: usize,
    /// Connections that have something new to say.
    told: Vec<usize>,
    /// Connections so far: whoever has a place, nobody had before.
    tenants: u64,
    /// Some of them send requests, which are answered while the valve is closed too.
    attends: bool,
    /// It was closed when we last waited.
    shut: bool,
    blank: Option<Page>,
    /// Who waits for it to open; on the ready list by `listed`.
    stuck: Vec<usize>,
    /// When the first connection is to be visited though nothing comes.
    alarm: Mono,
    stopping: bool,
}

struct Connection {
    link: Link,
    /// What it has to say first.
    preamble: Option<Box<Preamble>>,
    /// Its place is one of these.
    places: Arc<Places>,
    protocol: Protocol,
    origin: Origin,
    /// Whom its peer's certificate names.
    name: String,
    /// What its peer's address is called.
    host: Option<Arc<str>>,
    /// Headers that all of its events have.
    labels: HeaderMap,
    /// Its first bytes have been looked at.
    begun: bool,
    /// By the clock of `Attention`.
    heard: Mono,
    /// It is not read before: its peer has sent too much.
    paused: Mono,
    /// The peer has said that no more comes: its end is to be read behind the last bytes.
    ended: bool,
    /// While stopping: bytes that were there, and are still to be read.
    allowance: Option<usize>,
    /// It waits for a free receipt.
    starved: bool,
    /// Room in the kernel that it was given for being fast, in bytes.
    room: usize,
}

struct Bell(Waker);

impl Wake for Bell {
    fn wake(&self) {
        // It fails only without memory for an eventfd's count, which is one number.
        let _ = self.0.wake();
    }
}

enum After {
    Rest,
    Again,
    Full,
}

impl Reactor {
    pub fn new(parts: Parts) -> io::Result<Self> {
        let poll = Poll::new()?;
        let doorbell = Poll::new()?;
        let waker = Arc::new(Bell(Waker::new(doorbell.registry(), DOORBELL)?));
        let bell = doorbell.as_raw_fd();
        poll.registry().register(&mut SourceFd(&bell), DOORBELL, Interest::READABLE)?;
        let Parts { mut gates, mut datagrams, carries, rules, handshakes, preambles, .. } = parts;
        let mut token = GATES;
        for gate in &mut gates {
            gate.listener_mut().register(poll.registry(), Token(token))?;
            token += 1;
        }
        for receiver in datagrams.sockets() {
            receiver.socket_mut().register(poll.registry(), Token(token))?;
            token += 1;
        }
        let attends = parts.manner.http.is_some();
        let counter = parts.receipts.map(|(receipts, channels)| {
            let waker = Arc::clone(&waker) as Arc<dyn Wake>;
            Counter::new(Acks::new(receipts, channels, waker), rules.event_bytes_max)
        });
        Ok(Self {
            poll,
            doorbell,
            waker,
            events: Events::with_capacity(EVENTS),
            rung: false,
            polled: false,
            naps: Naps::default(),
            gates: gates.into_iter().map(Some).collect(),
            datagrams,
            connections: Vec::new(),
            vacant: Vec::new(),
            ready: (GATES..token).collect(),
            listed: vec![true; token],
            retry: Mono::MAX,
            sweep: Mono(0),
            attention: Attention::default(),
            carries,
            rules,
            manner: parts.manner,
            inflations: parts.inflations,
            reverse: parts.reverse,
            teller: parts.teller,
            ripe: Mono::MAX,
            idle_timeout: parts.idle_timeout,
            handshakes,
            preambles,
            warden: Warden::new(parts.warden),
            miscounts: Miscounts::default(),
            resume: Mono::MAX,
            counters: parts.counters,
            counter,
            starved: Vec::new(),
            fast: 0,
            told: Vec::new(),
            tenants: 0,
            attends,
            shut: false,
            blank: None,
            stuck: Vec::new(),
            alarm: Mono::MAX,
            stopping: false,
        })
    }

    // ── readiness ──

    /// Asks the kernel who is ready, and puts them on the list.
    fn look(&mut self, timeout: Option<Duration>) {
        if let Err(error) = self.poll.poll(&mut self.events, timeout) {
            assert!(error.kind() == io::ErrorKind::Interrupted, "epoll_wait: {error}");
            return;
        }
        let mut rung = false;
        for event in &self.events {
            match event.token() {
                DOORBELL => rung = true,
                Token(token) => {
                    let base = self.listed.len() - self.connections.len();
                    if event.is_read_closed() || event.is_error() {
                        let index = token.checked_sub(base);
                        let connection = index.and_then(|index| self.connections[index].as_mut());
                        connection.into_iter().for_each(|connection| connection.ended = true);
                    }
                    list(&mut self.ready, &mut self.listed, token);
                }
            }
        }
        if rung {
            self.answer(Some(Duration::ZERO));
            self.rung = true;
        }
    }

    /// Waits at the doorbell, and takes the rings that have been.
    fn answer(&mut self, timeout: Option<Duration>) {
        if let Err(error) = self.doorbell.poll(&mut self.events, timeout) {
            assert!(error.kind() == io::ErrorKind::Interrupted, "epoll_wait: {error}");
        }
    }

    /// The first connection's token: behind the doorbell, the gates and the UDP sockets.
    fn base(&self) -> usize {
        self.listed.len() - self.connections.len()
    }

    /// When something is due though nothing arrives.
    fn due(&self) -> Mono {
        let sweep = if self.patience().is_some() { self.sweep } else { Mono::MAX };
        let datagrams = self.datagrams.drops_due().min(self.datagrams.quiet_at());
        datagrams.min(self.retry).min(sweep).min(self.resume).min(self.ripe).min(self.alarm)
    }

    // ── visits ──

    fn visit(&mut self, token: usize, page: &mut Page, now: Now) -> After {
        let (gates, base) = (GATES + self.gates.len(), self.base());
        if token < gates {
            return self.enter(token - GATES, now);
        }
        if token < base {
            if self.datagrams.is_empty() {
                return After::Rest;
            }
            let (expander, reverse) = (self.inflations.expander(), self.reverse.as_ref());
            let aids = Aids { expander, reverse, teller: self.teller.as_ref() };
            let (warden, rules) = (&mut self.warden, &self.rules);
            let visit = self.datagrams.visit(token - gates, page, now, rules, warden, aids);
            self.inflations.kept(None, &self.counters, now);
            return match visit {
                datagrams::Visit::Drained => After::Rest,
                datagrams::Visit::Bound => After::Again,
                datagrams::Visit::Full => After::Full,
            };
        }
        let index = token - base;
        if self.connections[index].is_none() {
            return After::Rest;
        }
        if self.carries.is_tight() && !self.evict(page, now) {
            return After::Full;
        }
        if let Some(after) = self.introduce(index, now) {
            return after;
        }
        self.greet(index, now);
        self.read(index, page, now)
    }

    fn read(&mut self, index: usize, page: &mut Page, now: Now) -> After {
        let Some(connection) = &mut self.connections[index] else { return After::Rest };
        let peer = connection.origin.peer.map(|peer| peer.ip());
        let held = if self.stopping { None } else { self.warden.holds(peer, now) };
        if let Some(until) = held.filter(|_| !connection.protocol.refuses()) {
            connection.paused = until;
            self.resume = self.resume.min(until);
            return After::Rest;
        }
        let most = if self.warden.limits() { LIMITED_VISIT_BYTES } else { VISIT_BYTES };
        let bound = connection.bound(self.stopping).min(most);
        let before = page.event_count();
        let (rules, carries, counter) = (&self.rules, &mut self.carries, self.counter.as_mut());
        let limited = held.map(|until| until.since(now.mono));
        let counter =
            counter.map(|counter| counter.at(Turn { now: now.mono, shut: self.shut, limited }));
        let agreed = connection.agree();
        let Connection { link, protocol, origin, name, host, labels, ended, room, .. } = connection;
        let names = names(name, host);
        let mut desk = Desk { page, carries, rules, at: now.wall, names, labels, counter };
        let agreed = agreed.and_then(|()| link.push());
        let mut reading = Reading { link, bound, ended: *ended, taken: 0 };
        let visit = match agreed {
            Ok(()) => protocol.visit(&mut desk, *origin, &mut reading),
            Err(error) => Visit::Failed(error),
        };
        let taken = reading.taken;
        if taken > 0 {
            connection.heard = self.attention.at(now);
        }
        rest::widen(link, room, taken, &mut self.fast);
        let ripe = protocol.patience().map_or(Mono::MAX, |age| now.mono.after(age));
        self.ripe = self.ripe.min(ripe);
        self.alarm = self.alarm.min(protocol.alarm());
        self.miscounts.ask(protocol, *origin, &self.counters, now);
        self.inflations.kept(Some(*origin), &self.counters, now);
        if let Some(fault) = desk.counter.as_mut().and_then(|counter| counter.fault.take()) {
            self.miscounts.tell_fault(&fault, *origin, &self.counters, now);
        }
        self.warden.charge(peer, desk.page.event_count() - before, now);
        let left = connection.allowance.map(|allowance| allowance.saturating_sub(taken));
        connection.allowance = left;
        match visit {
            Visit::Full => return After::Full,
            Visit::Bound if left != Some(0) => return After::Again,
            Visit::Drained if !self.stopping => return After::Rest,
            Visit::Starved => {
                if !std::mem::replace(&mut connection.starved, true) {
                    self.starved.push(index);
                }
                return After::Rest;
            }
            Visit::Failed(error) => {
                self.counters.errors.add(1);
                self.handshakes.failed(connection.origin, &error, &self.counters, now);
                self.inflations.failed(connection.origin, &error, now);
            }
            Visit::Ended if connection.link.is_truncated() => self.counters.errors.add(1),
            Visit::Drained | Visit::Bound | Visit::Ended => {}
        }
        let origin = connection.origin;
        if !connection.protocol.flush(&mut desk, origin, Cut::End) {
            return After::Full;
        }
        self.miscounts.ask(&mut connection.protocol, origin, &self.counters, now);
        self.part(index);
        After::Rest
    }

    fn close(&mut self, index: usize) {
        let Some(mut connection) = self.connections[index].take() else { return };
        // Closing would do it too, unless somebody holds a copy of the descriptor.
        let _ = connection.link.deregister(self.poll.registry());
        connection.places.give();
        self.fast -= usize::from(connection.room > 0);
        drop(connection);
        self.vacant.push(index);
        self.gates.iter_mut().flatten().for_each(Gate::replenish);
        if self.retry != Mono::MAX {
            self.retry = Mono(0);
        }
        self.count_open();
    }

    /// Connections that are open.
    fn open(&self) -> usize {
        self.connections.len() - self.vacant.len()
    }

    fn count_open(&self) {
        self.counters.open_connections.set(self.open() as u64);
    }

    /// While stopping: whether everybody who had come has been read.
    fn drained(&mut self) -> bool {
        let waiting = self.gates.iter().any(Option::is_some) || self.open() > 0;
        self.ready.is_empty() && !waiting && self.datagrams.finish()
    }
}

impl Source for Reactor {
    fn receive(&mut self, page: &mut Page, now: Now) -> Received {
        if !page.accepts_time(now.wall) {
            return Received { full: true, more: true, finished: false };
        }
        if !self.polled {
            self.look(Some(Duration::ZERO));
        }
        self.polled = false;
        self.unstick();
        self.attention.returns(now);
        self.tick(now);
        if self.stopping {
            let sockets = GATES + self.gates.len();
            for token in sockets..self.base() {
                list(&mut self.ready, &mut self.listed, token);
            }
        }
        let mut full = !self.end_groups(page, now) || !self.sweep(page, now);
        // One round: who is ready now has one visit each.
        for _ in 0..self.ready.len() {
            let Some(token) = self.ready.pop_front() else { break };
            match self.visit(token, page, now) {
                After::Rest => self.listed[token] = false,
                After::Again => self.ready.push_back(token),
                After::Full => {
                    self.ready.push_front(token);
                    full = true;
                    break;
                }
            }
        }
        let finished = self.stopping && !full && self.drained();
        Received { full, more: !self.ready.is_empty(), finished }
    }

    fn wait(&mut self, now: Now, until: Mono, open: bool) {
        self.shut = !open;
        // Requests are read all the same, as with a page.
        let open = open || self.attends;
        if !open {
            self.attention.leaves(now);
        }
        if std::mem::take(&mut self.rung) || open && !self.ready.is_empty() {
            return;
        }
        self.counter.iter().for_each(|counter| counter.acks.doze());
        if !self.counter.iter().any(|counter| counter.acks.has_settled()) {
            self.sleep(now, until, open);
        }
        self.counter.iter().for_each(|counter| counter.acks.rise());
    }

    fn waker(&self) -> Arc<dyn Wake> {
        Arc::clone(&self.waker) as Arc<dyn Wake>
    }

    fn settle(&mut self, now: Now) {
        self.tell_settled();
        self.attend(now);
    }

    fn wanted(&self) -> Option<Reached> {
        self.counter.as_ref().and_then(|counter| counter.acks.wanted())
    }

    fn slip(&mut self) -> Option<ReceiptSlip> {
        self.counter.as_mut().and_then(|counter| counter.acks.slip())
    }

    fn stop(&mut self, now: Now) {
        if self.stopping {
            return;
        }
        self.stopping = true;
        self.datagrams.stop(now);
        for token in GATES..self.listed.len() {
            list(&mut self.ready, &mut self.listed, token);
        }
    }
}

fn list(ready: &mut VecDeque<usize>, listed: &mut [bool], token: usize) {
    if !std::mem::replace(&mut listed[token], true) {
        ready.push_back(token);
    }
}

fn timeout(now: Now, until: Mono) -> Option<Duration> {
    (until != Mono::MAX).then(|| until.since(now.mono))
}
