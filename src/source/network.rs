//! The options that the network sources share, and how a source is built from them.
//!
//! `tcp`, `udp` and `syslog` are three sets of rows over these mechanics: they differ in which
//! listeners they take and whether counted frames stand among the lines.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use mio::net::{TcpListener, UdpSocket};
use std::os::fd::AsFd;

use super::carry::Carries;
use super::connection;
use super::datagrams::{self, Datagrams, Receiver};
use super::framing::Rules;
use super::gate::{Gate, Places};
use super::listen::{self, BoundSocket, Listen, Transport};
use super::reactor::{Parts, Reactor};
use super::{BuildError, Built, Source, SourceContext, SourcePlan};
use crate::config::{OptionDoc, Section};
use crate::limits;
use crate::memory::MemoryLine;
use crate::sys::udp_receive;

/// An idle connection: its own record, and its place in poll and ready list, rounded up.
const CONNECTION_BYTES: u64 = 256;

/// Unfinished lines of all connections of a worker, at least.
const CARRY_BYTES: usize = 4 << 20;

pub const LISTEN: OptionDoc = OptionDoc {
    name: "listen",
    default: None,
    doc: "addresses to listen on, as transport://address:port",
};
pub const THREADS: OptionDoc = OptionDoc {
    name: "threads",
    default: Some("1"),
    doc: "receiving threads; each has its own socket on every port (SO_REUSEPORT)",
};
pub const EVENT_MAX: OptionDoc = OptionDoc {
    name: "event_max",
    default: Some("64KiB"),
    doc: "longest event; longer ones are split and marked, never lost",
};
pub const GRO: OptionDoc = OptionDoc {
    name: "gro",
    default: Some("false"),
    doc: "let the kernel merge datagrams of equal length: far faster, but its losses become a \
          lower bound",
};
// 32 MiB hold about 80 ms of a million small datagrams a second: each costs the kernel some 768
// bytes, and it allows twice what is asked for.
pub const RECEIVE_BUFFER: OptionDoc = OptionDoc {
    name: "receive_buffer",
    default: Some("32MiB"),
    doc: "kernel buffer of each UDP socket; without CAP_NET_ADMIN at most net.core.rmem_max",
};
pub const CONNECTIONS_MAX: OptionDoc = OptionDoc {
    name: "connections_max",
    default: Some("10000"),
    doc: "open connections; further ones wait until one closes",
};
pub const IDLE_TIMEOUT: OptionDoc = OptionDoc {
    name: "idle_timeout",
    default: Some(""),
    doc: "close connections that were silent for so long; unset: never, devices may be quiet",
};
pub const KEEPALIVE: OptionDoc = OptionDoc {
    name: "keepalive",
    default: Some("5m"),
    doc: "probe connections that were silent for so long, to find peers that vanished; 0s: never",
};

/// Descriptors that connections leave to files, the endpoint and the libraries: a quarter of what
/// is allowed, and never less than an idle agent holds. Without any a sink could not open its next
/// file, and everybody who is connected would wait for it.
const FILES_BESIDE_MIN: u64 = 48;
const CONNECTIONS_MIN: u64 = 8;

/// What a network source does, valid once built.
#[derive(Clone, Debug)]
pub struct Network {
    pub listens: Vec<Listen>,
    pub threads: usize,
    pub event_bytes_max: usize,
    /// Counted frames may stand among the lines.
    pub counted: bool,
    pub udp: UdpOptions,
    pub tcp: TcpOptions,
}

#[derive(Clone, Copy, Debug)]
pub struct UdpOptions {
    pub gro: bool,
    pub receive_buffer: usize,
}

#[derive(Clone, Copy, Debug)]
pub struct TcpOptions {
    pub connections_max: usize,
    pub idle_timeout: Option<Duration>,
    pub keepalive: Option<Duration>,
}

impl UdpOptions {
    /// For a source without datagrams.
    pub const NONE: Self = Self { gro: false, receive_buffer: 0 };

    pub fn plan(section: &Section) -> Self {
        let receive_buffer = section.size_in("receive_buffer", 4096..=1 << 30) as usize;
        Self { gro: section.flag("gro"), receive_buffer }
    }
}

impl TcpOptions {
    /// For a source without connections.
    pub const NONE: Self = Self { connections_max: 0, idle_timeout: None, keepalive: None };

    pub fn plan(section: &Section) -> Self {
        let some = |time: Duration| (!time.is_zero()).then_some(time);
        let keepalive =
            section.duration_in("keepalive", Duration::ZERO..=Duration::from_secs(32_767));
        Self {
            connections_max: section.integer("connections_max", 1..=1_000_000) as usize,
            idle_timeout: section.optional_duration("idle_timeout").and_then(some),
            keepalive: some(keepalive).map(|time| time.max(Duration::from_secs(1))),
        }
    }
}

impl Network {
    /// Reads the keys all three have, and joins them with what the caller has read.
    pub fn plan(
        section: &Section,
        allowed: &[Transport],
        counted: bool,
        udp: UdpOptions,
        tcp: TcpOptions,
    ) -> Self {
        let events = limits::EVENT_BYTES_MIN as u64..=limits::EVENT_BYTES_MAX as u64;
        Self {
            listens: listen::plan(section, allowed),
            threads: section.integer("threads", 1..=limits::THREADS_MAX as i64) as usize,
            event_bytes_max: section.size_in("event_max", events) as usize,
            counted,
            udp,
            tcp,
        }
    }

    fn has(&self, transport: Transport) -> bool {
        self.listens.iter().any(|listen| listen.transport == transport)
    }

    fn carry_budget(&self) -> usize {
        if !self.has(Transport::Tcp) {
            return 0;
        }
        // Every connection may be in the middle of a short line at once.
        let least = Carries::budget(self.event_bytes_max, 0) + self.tcp.connections_max * 256;
        least.max(CARRY_BYTES)
    }

    fn worker(
        &self,
        context: &SourceContext,
        thread: usize,
        sockets: Vec<BoundSocket>,
        places: &Arc<Places>,
    ) -> Result<Box<dyn Source>, BuildError> {
        let counters = Arc::clone(&context.counters[thread]);
        let mut gates = Vec::new();
        let mut receivers = Vec::new();
        for bound in sockets {
            let (listener, listen) = (bound.listener, bound.listen);
            let refused = |error: io::Error| listen::refused(&context.name, &listen, &error);
            if listen.transport == Transport::Udp {
                let socket = UdpSocket::from_std(bound.socket.into());
                self.prepare(context, &listen, &socket, thread).map_err(refused)?;
                receivers.push(Receiver::new(socket, listener));
            } else {
                let watch = || context.incidents.watch(&format!("source {}", context.name));
                let socket = TcpListener::from_std(bound.socket.into());
                let watches = [watch(), watch()];
                let gate = Gate::new(socket, listener, Arc::clone(places), watches);
                gates.push(gate.map_err(refused)?);
            }
        }
        let parts = Parts {
            gates,
            datagrams: Datagrams::new(receivers, Arc::clone(&counters)),
            carries: Carries::new(self.event_bytes_max, self.carry_budget()),
            rules: Rules {
                counted: self.counted,
                event_bytes_max: self.event_bytes_max,
                want_pri: context.want_pri,
            },
            places: Arc::clone(places),
            idle_timeout: self.tcp.idle_timeout,
            counters,
        };
        let reactor = Reactor::new(parts).map_err(|error| BuildError {
            what: format!("sources.{}: epoll: {error}", context.name),
            remedy: "raise the limit of open files (LimitNOFILE, `ulimit -n`)".to_owned(),
        })?;
        Ok(Box::new(reactor))
    }

    /// Buffer and GRO of a UDP socket; says when the kernel gives less than was asked for.
    fn prepare(
        &self,
        context: &SourceContext,
        listen: &Listen,
        socket: &UdpSocket,
        thread: usize,
    ) -> io::Result<()> {
        let asked = self.udp.receive_buffer;
        let real = udp_receive::set_receive_buffer(socket.as_fd(), asked)?;
        if real < asked && thread == 0 {
            let name = &context.name;
            tracing::warn!(
                "source {name}: {listen} has a receive buffer of {real} bytes, {asked} were asked \
                 for: run `sysctl net.core.rmem_max={asked}` or grant CAP_NET_ADMIN"
            );
        }
        if self.udp.gro { udp_receive::set_gro(socket.as_fd()) } else { Ok(()) }
    }
}

impl SourcePlan for Network {
    fn threads(&self) -> usize {
        self.threads
    }

    fn listeners(&self) -> Vec<String> {
        self.listens.iter().map(Listen::to_string).collect()
    }

    fn memory(&self, name: &str) -> Vec<MemoryLine> {
        let part = format!("sources.{name}");
        let threads = self.threads as u64;
        let mut lines = Vec::new();
        if self.has(Transport::Udp) {
            let what = format!("datagram slots × {threads} threads");
            let bytes = Datagrams::memory_bytes() as u64 * threads;
            lines.push(MemoryLine::new(&part, what, bytes));
        }
        if self.has(Transport::Tcp) {
            let what = format!("unfinished lines × {threads} threads");
            lines.push(MemoryLine::new(&part, what, self.carry_budget() as u64 * threads));
            let connections = self.tcp.connections_max as u64;
            let what = format!("{connections} connections");
            lines.push(MemoryLine::new(&part, what, connections * CONNECTION_BYTES));
        }
        lines
    }

    fn event_bytes_max(&self) -> usize {
        self.event_bytes_max
    }

    fn page_bytes_min(&self) -> usize {
        let least = [
            (Transport::Udp, datagrams::page_bytes_min(self.event_bytes_max)),
            (Transport::Tcp, connection::page_bytes_min(self.event_bytes_max)),
        ];
        let ours = least.into_iter().filter(|(transport, _)| self.has(*transport));
        ours.map(|(_, bytes)| bytes).max().unwrap_or(0)
    }

    fn build(&self, context: &SourceContext) -> Result<Built, BuildError> {
        assert!(self.page_bytes_min() <= context.page_bytes, "the plan sizes the pages");
        let files = listen::raise_file_limit();
        let (wanted, places) = (self.tcp.connections_max, places_with(files));
        if self.has(Transport::Tcp) && places < wanted {
            let name = &context.name;
            tracing::warn!(
                "source {name}: {files} open files are allowed, so {places} connections at most \
                 instead of {wanted} (connections_max): raise LimitNOFILE (systemd) or `ulimit -n`"
            );
        }
        let all = listen::bind(&context.name, &self.listens, self.threads)?;
        for bound in all.iter().flatten().filter(|b| b.listen.transport == Transport::Tcp) {
            listen::open(&context.name, bound, self.tcp.keepalive)?;
        }
        let bound = all.first().map(|sockets| listen::bound_addresses(sockets));
        let places = Places::new(places.min(wanted));
        let workers = all.into_iter().enumerate();
        let sources = workers
            .map(|(thread, sockets)| self.worker(context, thread, sockets, &places))
            .collect::<Result<Vec<_>, _>>()?;
        Ok(Built { sources, bound: bound.unwrap_or_default() })
    }
}

/// Connections for which so many open files leave room.
fn places_with(files: u64) -> usize {
    let beside = FILES_BESIDE_MIN.max(files / 4);
    usize::try_from(files.saturating_sub(beside).max(CONNECTIONS_MIN)).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::Page;
    use crate::source::{SOURCES, Source};
    use crate::telemetry::{Incidents, LostReason, SourceCounters};
    use crate::time::{Mono, Now, Wall};
    use std::io::Write;
    use std::net::{SocketAddr, TcpStream};
    use std::time::Instant;

    #[test]
    fn connections_leave_descriptors_to_others() {
        let places = [10, 64, 256, 1024, 20_000].map(places_with);
        assert_eq!(places, [8, 16, 192, 768, 15_000]);
    }

    /// A source of one or more threads, its pages, and a clock that a test may push on.
    struct Rig {
        sources: Vec<Box<dyn Source>>,
        pages: Vec<Page>,
        addresses: Vec<SocketAddr>,
        counters: Vec<Arc<SourceCounters>>,
        incidents: Arc<Incidents>,
        start: Instant,
        ahead: Duration,
    }

    fn rig(kind: &str, body: &str) -> Rig {
        let kind = SOURCES.iter().find(|row| row.name == kind).unwrap();
        let section = Section::parse(body, kind.options);
        let plan = (kind.plan)(&section);
        section.finish();
        assert!(!section.diagnostics().has_errors(), "{:?}", section.diagnostics().lines());
        let counters: Vec<Arc<SourceCounters>> =
            (0..plan.threads()).map(|_| Arc::default()).collect();
        let incidents = Incidents::new();
        let context = SourceContext {
            name: "net".to_owned(),
            want_pri: false,
            page_bytes: 1 << 20,
            counters: counters.clone(),
            incidents: incidents.clone(),
        };
        let built = plan.build(&context).unwrap();
        assert_eq!(built.bound.len(), plan.listeners().len());
        Rig {
            pages: built.sources.iter().map(|_| Page::new(1 << 20)).collect(),
            sources: built.sources,
            addresses: built.bound.iter().map(|bound| bound.address).collect(),
            counters,
            incidents,
            start: Instant::now(),
            ahead: Duration::ZERO,
        }
    }

    impl Rig {
        fn now(&self) -> Now {
            // Only the monotonic clock is pushed on: a page's own times span four seconds.
            let elapsed = self.start.elapsed();
            let mono = (elapsed + self.ahead).as_nanos();
            Now { mono: Mono(mono as u64), wall: Wall(elapsed.as_nanos() as i64) }
        }

        /// Receives and waits until `done` says so.
        fn until(&mut self, done: impl Fn(&Self) -> bool) {
            let began = Instant::now();
            while !done(self) {
                assert!(began.elapsed() < Duration::from_secs(20), "{:?}", self.pages);
                for index in 0..self.sources.len() {
                    let now = self.now();
                    let until = now.mono.after(Duration::from_millis(20));
                    let received = self.sources[index].receive(&mut self.pages[index], now);
                    assert!(!received.full);
                    self.sources[index].wait(now, until, true);
                }
            }
        }

        fn count(&self) -> u32 {
            self.pages.iter().map(Page::event_count).sum()
        }

        fn open(&self) -> u64 {
            self.counters.iter().map(|counters| counters.open_connections.get()).sum()
        }

        fn connect(&self) -> TcpStream {
            TcpStream::connect(self.addresses[0]).unwrap()
        }

        /// Stops, and receives until finished.
        fn stop(&mut self) {
            for index in 0..self.sources.len() {
                let now = self.now();
                self.sources[index].stop(now);
                let began = Instant::now();
                loop {
                    let now = self.now();
                    if self.sources[index].receive(&mut self.pages[index], now).finished {
                        break;
                    }
                    assert!(began.elapsed() < Duration::from_secs(20), "it never finished");
                    self.sources[index].wait(now, Mono::MAX, true);
                }
            }
        }

        fn texts(&self) -> Vec<String> {
            let events = self.pages.iter().flat_map(Page::events);
            let mut texts: Vec<String> =
                events.map(|event| String::from_utf8_lossy(event.bytes).into_owned()).collect();
            texts.sort();
            texts
        }
    }

    #[test]
    fn both_framings_and_both_transports_arrive_with_their_origin() {
        let listen = "listen = ['tcp://127.0.0.1:0', 'udp://127.0.0.1:0', 'tcp://[::1]:0']";
        let mut rig = rig("syslog", listen);
        let mut first = rig.connect();
        let mut second = TcpStream::connect(rig.addresses[2]).unwrap();
        let udp = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        first.write_all(b"<13>a\n7 <13>bcdlast").unwrap();
        second.write_all(b"<14>e\r\n").unwrap();
        udp.send_to(b"<15>f\n", rig.addresses[1]).unwrap();
        rig.until(|rig| rig.count() == 4);
        drop(first);
        rig.until(|rig| rig.count() == 5 && rig.open() == 1);
        assert_eq!(rig.texts(), ["<13>a", "<13>bcd", "<14>e", "<15>f", "last"]);
        let second = second.local_addr().unwrap();
        for event in rig.pages[0].events() {
            let listener = match event.bytes {
                b"<14>e" => 2,
                b"<15>f" => 1,
                _ => 0,
            };
            assert_eq!(event.origin.listener, listener);
            assert_eq!(event.origin.peer == Some(second), listener == 2);
        }
    }

    #[test]
    fn a_sender_at_full_rate_starves_nobody() {
        let mut rig = rig("tcp", "listen = 'tcp://127.0.0.1:0'");
        let mut greedy = rig.connect();
        greedy.set_nonblocking(true).unwrap();
        let others: Vec<TcpStream> = (0..50).map(|_| rig.connect()).collect();
        rig.until(|rig| rig.open() == 51);
        let line = [b'x'; 999];
        let lines = [&line[..], b"\n"].concat().repeat(4000);
        // As much as the kernel takes: more than one visit may read.
        let mut sent = 0;
        while let Ok(count) = greedy.write(&lines[sent % 1000..]) {
            sent += count;
        }
        assert!(sent > 512 << 10, "{sent}");
        others.iter().for_each(|mut other| other.write_all(b"mine\n").unwrap());
        let now = rig.now();
        let mut page = Page::new(1 << 20);
        rig.sources[0].receive(&mut page, now);
        let mine = page.events().filter(|event| event.bytes == b"mine").count();
        assert_eq!(mine, 50);
        assert!(page.event_bytes() < 400 << 10, "{}", page.event_bytes());
        // And the greedy one is read to its end, visit by visit.
        let (mut count, mut serial) = (page.event_count(), 1);
        while count < sent as u32 / 1000 + 50 {
            serial += 1;
            page.clear(serial);
            let now = rig.now();
            rig.sources[0].receive(&mut page, now);
            count += page.event_count();
        }
    }

    #[test]
    fn no_more_connections_than_the_maximum_and_the_others_wait() {
        let mut rig = rig("tcp", "listen = 'tcp://127.0.0.1:0'\nconnections_max = 2");
        let mut three: Vec<TcpStream> = (0..3).map(|_| rig.connect()).collect();
        for (index, connection) in three.iter_mut().enumerate() {
            connection.write_all(format!("from {index}\n").as_bytes()).unwrap();
        }
        rig.until(|rig| rig.count() == 2 && !rig.incidents.list().is_empty());
        assert_eq!((rig.open(), rig.texts().len()), (2, 2));
        three.remove(0);
        rig.until(|rig| rig.count() == 3 && rig.incidents.list()[0].ended.is_some());
        assert_eq!(rig.texts(), ["from 0", "from 1", "from 2"]);
        let incidents = rig.incidents.list();
        assert!(incidents.len() == 1 && incidents[0].ended.is_some(), "{incidents:?}");
    }

    #[test]
    fn stopping_reads_what_has_come_also_from_those_not_yet_accepted() {
        let mut rig = rig("tcp", "listen = 'tcp://127.0.0.1:0'");
        let mut known = rig.connect();
        rig.until(|rig| rig.open() == 1);
        let mut unknown = rig.connect();
        known.write_all(b"known\nhalf").unwrap();
        unknown.write_all(b"unknown\n").unwrap();
        rig.stop();
        assert_eq!(rig.texts(), ["half", "known", "unknown"]);
        assert_eq!(rig.open(), 0);
        assert!(TcpStream::connect(rig.addresses[0]).is_err());
    }

    #[test]
    fn threads_share_the_datagrams_and_every_one_is_accounted_for() {
        let mut rig = rig("udp", "listen = 'udp://127.0.0.1:0'\nthreads = 2");
        let senders: Vec<_> =
            (0..32).map(|_| std::net::UdpSocket::bind("127.0.0.1:0").unwrap()).collect();
        for round in 0..10 {
            for sender in &senders {
                sender.send_to(format!("{round}").as_bytes(), rig.addresses[0]).unwrap();
            }
        }
        rig.until(|rig| rig.count() == 320);
        assert!(rig.pages.iter().all(|page| page.event_count() > 0), "one socket gets nothing");
        rig.stop();
        let lost: u64 = rig.counters.iter().map(|c| c.lost[LostReason::Kernel].get()).sum();
        assert_eq!((rig.count(), lost), (320, 0));
    }

    #[test]
    fn silent_connections_are_closed_when_asked_for() {
        let mut rig = rig("tcp", "listen = 'tcp://127.0.0.1:0'\nidle_timeout = '1h'");
        let mut silent = rig.connect();
        silent.write_all(b"whole\nunfinished").unwrap();
        rig.until(|rig| rig.count() == 1);
        rig.ahead = Duration::from_secs(3599);
        let mut busy = rig.connect();
        busy.write_all(b"busy\n").unwrap();
        rig.until(|rig| rig.count() == 2 && rig.open() == 2);
        rig.ahead = Duration::from_secs(3602);
        rig.until(|rig| rig.open() == 1);
        assert_eq!(rig.texts(), ["busy", "unfinished", "whole"]);
    }

    #[test]
    fn a_ring_ends_any_wait_and_data_only_an_open_one() {
        let mut rig = rig("tcp", "listen = 'tcp://127.0.0.1:0'");
        let mut connection = rig.connect();
        rig.until(|rig| rig.open() == 1);
        let waker = rig.sources[0].waker();
        for open in [true, false] {
            let now = rig.now();
            rig.sources[0].receive(&mut rig.pages[0], now);
            waker.wake();
            rig.sources[0].wait(now, Mono::MAX, open);
        }
        // A ring that was heard while looking for readiness is not forgotten.
        waker.wake();
        let now = rig.now();
        rig.sources[0].receive(&mut rig.pages[0], now);
        rig.sources[0].wait(now, Mono::MAX, false);

        connection.write_all(b"data\n").unwrap();
        let (began, now) = (Instant::now(), rig.now());
        rig.sources[0].wait(now, now.mono.after(Duration::from_millis(30)), false);
        assert!(began.elapsed() >= Duration::from_millis(29));
        rig.sources[0].wait(now, Mono::MAX, true);
        rig.until(|rig| rig.count() == 1);
    }

    #[test]
    fn more_unfinished_lines_than_memory_are_split_and_nothing_of_them_lost() {
        let body = "listen = 'tcp://127.0.0.1:0'\nevent_max = '256KiB'";
        let mut rig = rig("tcp", body);
        // 60 lines of 100,000 bytes are more than the budget of some 4.4 MiB.
        let mut senders: Vec<TcpStream> = (0..60).map(|_| rig.connect()).collect();
        let (mut bytes, mut split) = (0, 0);
        let mut step = |rig: &mut Rig| {
            let now = rig.now();
            let mut page = Page::new(1 << 20);
            rig.sources[0].receive(&mut page, now);
            bytes += page.event_bytes();
            split += page.mark_counts()[crate::event::Mark::Split as usize];
        };
        for sender in &mut senders {
            sender.set_nonblocking(true).unwrap();
            let text = vec![b'y'; 100_000];
            let mut sent = 0;
            while sent < text.len() {
                match sender.write(&text[sent..]) {
                    Ok(count) => sent += count,
                    Err(_) => step(&mut rig),
                }
            }
            step(&mut rig);
        }
        drop(senders);
        let began = Instant::now();
        while rig.open() > 0 {
            assert!(began.elapsed() < Duration::from_secs(20));
            step(&mut rig);
        }
        assert_eq!(bytes, 6_000_000);
        assert!((1..=240).contains(&split), "{split}");
    }
}
