//! The gate: in steady state a batch allocates nothing, from its source to its file.
//!
//! A whole agent is built and its workers stepped by hand, with a clock of ours, past a warm-up;
//! then whatever a worker allocates is counted, by a global allocator that counts. Named exemptions
//! (opening, rolling, failing) run inside `exempt` and are printed. Helpers do slow calls for
//! others and may allocate.

mod files;
mod log;
mod sessions;

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream, UdpSocket};
use std::sync::Arc;
use std::time::Duration;

use flumen::channel::CHANNELS;
use flumen::config::Config;
use flumen::event::Page;
use flumen::memory::gate::{Allocations, Gated, allocations};
use flumen::runtime::clock::{Clock, ManualClock};
use flumen::runtime::{Progress, Worker};
use flumen::sink::runner::{BatchSink, SinkRunner};
use flumen::sink::{self, SINKS, SinkContext, SinkKind, SinkPlan};
use flumen::source::SOURCES;
use flumen::storage::OsDisk;
use flumen::syslog::parse::{Arrival, Expect, Fields, Zone, parse};
use flumen::time::Wall;
use flumen::topology::build::{self, no_endpoint};
use flumen::topology::{Assembly, Ground, Machine, Parts, plan};

#[global_allocator]
static ALLOCATOR: Gated<std::alloc::System> = Gated(std::alloc::System);

const WARM_UP_BATCHES: u64 = 200;
const BATCHES: u64 = 1000;
/// Small batches: a thousand of them are soon written.
const PAGE_BYTES: usize = 128 << 10;

/// An agent stepped by hand.
struct Line {
    clock: Arc<ManualClock>,
    assembly: Assembly,
    spent: Allocations,
    /// Sources, and sinks, get a turn in so many steps.
    sources_every: u64,
    sinks_every: u64,
    steps: u64,
}

impl Line {
    fn build(text: &str, sinks: &'static [SinkKind]) -> Self {
        let config = Config::parse(text);
        let parts = Parts { sources: SOURCES, channels: CHANNELS, sinks };
        let agent = config.agent(None).expect("one agent");
        let plan = plan(&agent, &parts, &Machine::default());
        let mut plan = plan.unwrap_or_else(|| panic!("{}", config.diagnostics().render(false)));
        plan.budget.page_bytes = PAGE_BYTES;
        let clock = Arc::new(ManualClock::at(Wall(1_700_000_000_000_000_000)));
        let ground = Ground { disk: Arc::new(OsDisk), clock: Arc::clone(&clock) as Arc<dyn Clock> };
        let assembly = build::build(&plan, &ground, no_endpoint).expect("builds");
        Self {
            clock,
            assembly,
            spent: Allocations::default(),
            sources_every: 1,
            sinks_every: 1,
            steps: 0,
        }
    }

    /// Every worker once; a millisecond goes by.
    fn step(&mut self) {
        let before = allocations();
        self.steps += 1;
        let turn = self.steps.is_multiple_of(self.sources_every);
        let sources = self.assembly.sources.iter_mut().filter(|_| turn).map(|it| &mut it.worker);
        let turn = self.steps.is_multiple_of(self.sinks_every);
        let sinks = self.assembly.sinks.iter_mut().filter(|_| turn).map(|it| &mut it.worker);
        for worker in sources.chain(&mut self.assembly.keepers).chain(sinks) {
            let now = self.clock.now();
            if let Progress::Idle { .. } = worker.work(now) {
                // Without sleeping: sources learn here what has arrived.
                worker.wait(now, now.mono);
            }
        }
        let after = allocations();
        self.spent.counted += after.counted - before.counted;
        self.spent.exempted += after.exempted - before.exempted;
        for helper in &mut self.assembly.helpers {
            while helper.work(self.clock.now()) == Progress::Worked {}
        }
        self.clock.advance(Duration::from_millis(1));
    }

    fn batches(&self) -> u64 {
        self.assembly.handles.ledger.snapshot().sources[0].routed_batches
    }

    /// What `BATCHES` batches allocate after a warm-up, `feed` before every step.
    fn measure(&mut self, feed: impl FnMut()) -> Allocations {
        self.measure_of([WARM_UP_BATCHES, BATCHES], feed)
    }

    /// The same with other numbers: of batches to warm up, and to be measured.
    fn measure_of(&mut self, rounds: [u64; 2], mut feed: impl FnMut()) -> Allocations {
        for batches in rounds {
            self.spent = Allocations::default();
            let until = self.batches() + batches;
            let mut steps = 0;
            while self.batches() < until {
                feed();
                self.step();
                steps += 1;
                assert!(steps < 100 * batches, "nothing moves: {:?}", self.batches());
            }
        }
        let ledger = self.assembly.handles.ledger.snapshot();
        assert!(ledger.sinks[0].written_events > 0, "it came out");
        self.spent
    }

    fn address(&self) -> SocketAddr {
        self.assembly.bound[0].1.place.internet().expect("an address")
    }
}

#[track_caller]
fn nothing(what: &str, spent: Allocations) {
    println!("{what}: {} allocations exempted", spent.exempted);
    assert_eq!(spent.counted, 0, "{what} allocates in steady state");
}

/// A generator at full speed into this sink.
fn generated(sink: &str) -> String {
    format!(
        "[agent]\nmemory = '64MiB'\nadmin = 'off'\n[sources.in]\ntype = 'generator'\n\
         rate = 'max'\n[sinks.out]\n{sink}\n"
    )
}

#[test]
fn a_batch_into_nothing_allocates_nothing() {
    let spent = Line::build(&generated("type = 'null'"), SINKS).measure(|| {});
    nothing("generator to null", spent);
}

#[test]
fn a_batch_that_is_sifted_allocates_nothing() {
    let text = generated("type = 'null'\nfilters = [{ drop = { facility = 'auth' } }]").replace(
        "rate = 'max'",
        "rate = 'max'\nfilters = [{ keep = { severity = '..info' } }, { drop = { text = 'x1' } }]",
    );
    nothing("filters at both ends", Line::build(&text, SINKS).measure(|| {}));
}

#[test]
fn a_batch_that_is_dealt_out_allocates_nothing() {
    let ways = [
        "{ type = 'multiplexing', header = 'severity', mapping = { info = 'a', err = ['a', 'b'] }, \
         default = 'b' }",
        "{ type = 'load_balancing', policy = 'random' }",
    ];
    for way in ways {
        let text = generated("type = 'null'\nchannel = 'a'").replace(
            "rate = 'max'",
            &format!("rate = 'max'\nchannels = ['a', 'b']\nselector = {way}"),
        ) + "[sinks.other]\ntype = 'null'\nchannel = 'b'\n\
             [channels.a]\ntype = 'memory'\n[channels.b]\ntype = 'memory'\n";
        nothing(way, Line::build(&text, SINKS).measure(|| {}));
    }
}

#[test]
fn a_batch_whose_turn_it_is_allocates_nothing() {
    for group in ["failover", "load_balance", "load_balance'\npolicy = 'least_waiting"] {
        let text = generated("type = 'null'\nchannel = 'a'")
            .replace("rate = 'max'", "rate = 'max'\nchannel = 'a'")
            + "[sinks.other]\ntype = 'null'\nchannel = 'a'\n[channels.a]\ntype = 'memory'\n\
             [groups.both]\nsinks = ['out', 'other']\n"
            + &format!("type = '{group}'\n");
        nothing(group, Line::build(&text, SINKS).measure(|| {}));
    }
}

#[test]
fn a_batch_into_a_file_allocates_nothing() {
    let cases = [
        "codec = 'zstd'",
        "codec = 'zstd'\nthreads = 2",
        "codec = 'zstd'\nencoder = 'json'",
        "codec = 'zstd'\nblock = { bytes = '1MiB', age = '10ms' }",
        "codec = 'gzip'",
        "codec = 'lz4'",
        "codec = 'none'",
        "codec = 'zstd'\nthreads = 2\nchain = true",
        "codec = 'none'\nencoder = 'line'",
        "codec = 'none'\nencoder = { template = '%{host} %{sd:meta:sequenceId} %{message}' }",
    ];
    for case in cases {
        let dir = tempfile::tempdir().expect("a folder");
        let path = dir.path().join("out.log");
        let block = if case.contains("block") { "" } else { "block = { bytes = '64KiB' }" };
        let sink = format!("type = 'file'\npath = '{}'\n{case}\n{block}", path.display());
        let spent = Line::build(&generated(&sink), SINKS).measure(|| {});
        nothing(&case.replace('\n', ", "), spent);
    }
}

/// To a next hop that reads as fast as it can, in every way an event may be sent on.
#[test]
fn a_batch_to_the_next_hop_allocates_nothing() {
    let streams = ["", "framing = 'octet'", "format = 'rfc5424'", "format = 'rfc3164'"];
    for case in streams {
        let peer = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
        peer.set_nonblocking(true).expect("a socket");
        let to = peer.local_addr().expect("bound");
        let sink = format!("type = 'syslog'\ntargets = 'tcp://{to}'\n{case}");
        let mut connection = None;
        let mut bytes = vec![0; 1 << 20];
        let spent = Line::build(&generated(&sink), SINKS).measure(|| {
            if connection.is_none() {
                connection = peer.accept().ok().map(|(socket, _)| socket);
                connection.iter().for_each(|it| it.set_nonblocking(true).expect("a socket"));
            }
            while connection.as_mut().is_some_and(|it| it.read(&mut bytes).is_ok()) {}
        });
        nothing(&format!("tcp {case}"), spent);
    }
    for case in ["", "format = 'rfc5424'"] {
        let peer = UdpSocket::bind("127.0.0.1:0").expect("a socket");
        peer.set_nonblocking(true).expect("a socket");
        let to = peer.local_addr().expect("bound");
        let sink = format!("type = 'syslog'\ntargets = 'udp://{to}'\n{case}");
        let mut bytes = vec![0; 1 << 16];
        let mut line = Line::build(&generated(&sink), SINKS);
        let spent = line.measure(|| while peer.recv(&mut bytes).is_ok() {});
        nothing(&format!("udp {case}"), spent);
    }
}

/// Datagrams from several addresses of this machine, a file for each. Blocks come and go; the keys
/// and what was rendered for them stay.
#[test]
fn a_batch_into_a_file_of_its_peer_allocates_nothing() {
    const PEERS: u8 = 8;
    for path in ["%{peer}.log", "%Y-%m-%d/%{peer}"] {
        let dir = tempfile::tempdir().expect("a folder");
        let path = dir.path().join(path);
        let sink = format!(
            "type = 'file'\npath = '{}'\ncodec = 'zstd'\nblock = {{ age = '50ms' }}",
            path.display()
        );
        let text = listening("udp", "udp://127.0.0.1:0").replace("type = 'null'", &sink);
        let mut line = Line::build(&text, SINKS);
        let peers: Vec<UdpSocket> = (1..=PEERS)
            .map(|last| {
                let peer = UdpSocket::bind((Ipv4Addr::new(127, 0, 0, last), 0));
                let peer = peer.expect("all of 127/8 is this machine");
                peer.connect(line.address()).expect("an address");
                peer
            })
            .collect();
        let spent = line.measure(|| {
            for peer in peers.iter().cycle().take(64) {
                peer.send(&[b'x'; 1000]).expect("sent");
            }
        });
        nothing("a file a peer", spent);
        // What is left: a file's list of its blocks doubles now and then.
        assert!(spent.exempted <= 6 * u64::from(PEERS), "{spent:?}");
    }
}

/// What messages say, read at the source and written into paths at the sink.
#[test]
fn a_batch_into_a_file_of_its_host_allocates_nothing() {
    for path in ["%{host}.log", "%Y/%{facility}/%{host}.log", "%{sd:meta:sequenceId}%{app}.log"] {
        for threads in [1, 2] {
            let dir = tempfile::tempdir().expect("a folder");
            let path = dir.path().join(path);
            let sink = format!(
                "type = 'file'\npath = '{}'\ncodec = 'zstd'\nthreads = {threads}\n\
                 block = {{ age = '50ms' }}",
                path.display()
            );
            let text = generated(&sink).replace("rate = 'max'", "rate = 'max'\nhosts = 20");
            let spent = Line::build(&text, SINKS).measure(|| {});
            nothing("a file a host", spent);
            assert!(spent.exempted <= 2000, "{spent:?}");
        }
    }
}

/// What is acknowledged when it is written or synced: each batch has a slip, and where a file is
/// a host's own each block has parts of several.
#[test]
fn a_batch_that_somebody_waits_for_allocates_nothing() {
    for ack in ["written", "synced"] {
        for path in ["out.log", "%{host}.log"] {
            let dir = tempfile::tempdir().expect("a folder");
            let path = dir.path().join(path);
            let sink = format!("type = 'file'\npath = '{}'\ncodec = 'zstd'", path.display());
            let listen = format!("relp://127.0.0.1:0'\nack = '{ack}");
            let text = listening("syslog", &listen).replace("type = 'null'", &sink);
            let mut line = Line::build(&text, SINKS);
            let mut peer = RelpPeer::new(line.address());
            // Fewer: each is synced, and some disks take their time. How many batches wait for one
            // sync is the disk's affair, and what lists them grows to the most there were: what
            // each batch allocates is seen in every round.
            let mut spent = line.measure_of([WARM_UP_BATCHES, 100], || peer.go_on());
            for _ in 0..5 {
                if spent.counted > 0 {
                    spent = line.measure_of([0, 100], || peer.go_on());
                }
            }
            nothing(&format!("relp, {ack}, {}", path.display()), spent);
            assert!(peer.told > 100 && spent.exempted < 100, "{} told, {spent:?}", peer.told);
        }
    }
}

/// Sends with a window as senders do: so many messages beyond those it was told of.
struct RelpPeer {
    stream: TcpStream,
    open: bool,
    sent: u64,
    told: u64,
    replies: Vec<u8>,
}

impl RelpPeer {
    const WINDOW: u64 = 128;

    fn new(address: SocketAddr) -> Self {
        let mut stream = TcpStream::connect(address).expect("it listens");
        let offers = "relp_version=0\nrelp_software=gate\ncommands=syslog";
        stream.write_all(format!("1 open {} {offers}\n", offers.len()).as_bytes()).expect("sent");
        stream.set_nonblocking(true).expect("a socket");
        Self { stream, open: false, sent: 0, told: 0, replies: Vec::new() }
    }

    fn go_on(&mut self) {
        let mut bytes = [0; 4096];
        while let Ok(count) = self.stream.read(&mut bytes) {
            assert!(count > 0, "the session was closed");
            self.replies.extend_from_slice(&bytes[..count]);
        }
        // Whole replies; the one to `open` is three lines.
        while let Some(end) = memchr::memchr(b'\n', &self.replies) {
            let line: Vec<u8> = self.replies.drain(..=end).collect();
            match line {
                line if line.ends_with(b" rsp 6 200 OK\n") => self.told += 1,
                line if line.starts_with(b"commands=") => self.open = true,
                line => assert!(!line.ends_with(b" 500\n"), "{}", line.escape_ascii()),
            }
        }
        while self.open && self.sent < self.told + Self::WINDOW {
            let message = format!("<13>Feb  5 17:32:18 host{} app: some text", self.sent % 4);
            let frame = format!("{} syslog {} {message}\n", self.sent + 2, message.len());
            self.stream.write_all(frame.as_bytes()).expect("a window has room in the socket");
            self.sent += 1;
        }
    }
}

/// A listener of this source into nothing.
fn listening(kind: &str, listen: &str) -> String {
    format!(
        "[agent]\nmemory = '64MiB'\nadmin = 'off'\n\
         [sources.in]\ntype = '{kind}'\nevent_max = '8KiB'\nlisten = '{listen}'\n\
         [sinks.out]\ntype = 'null'\n"
    )
}

#[test]
fn a_batch_from_a_connection_allocates_nothing() {
    for kind in ["tcp", "syslog"] {
        let mut line = Line::build(&listening(kind, "tcp://127.0.0.1:0"), SINKS);
        let mut peer = TcpStream::connect(line.address()).expect("it listens");
        peer.set_nonblocking(true).expect("a socket");
        let text = "<13>Feb  5 17:32:18 host app[42]: some text and more of it\n".repeat(2000);
        let mut sent = 0;
        let spent = line.measure(|| {
            // As much as the socket takes, cut anywhere; every byte once, in order.
            while let Ok(count) = peer.write(&text.as_bytes()[sent..]) {
                sent = (sent + count) % text.len();
            }
        });
        nothing(&format!("{kind} over TCP"), spent);
    }
}

#[test]
fn a_batch_of_datagrams_allocates_nothing() {
    for kind in ["udp", "syslog"] {
        let mut line = Line::build(&listening(kind, "udp://127.0.0.1:0"), SINKS);
        let peer = UdpSocket::bind("127.0.0.1:0").expect("a socket");
        peer.connect(line.address()).expect("an address");
        let text = "<13>Feb  5 17:32:18 host app[42]: ".to_owned() + &"x".repeat(1000);
        let spent = line.measure(|| {
            for _ in 0..64 {
                peer.send(text.as_bytes()).expect("sent");
            }
        });
        nothing(&format!("{kind} over UDP"), spent);
    }
}

// ---- the gate notices --------------------------------------------------------------------------

/// A sink that allocates once a batch.
struct Leaky;

struct LeakyPlan;

const LEAKY: &[SinkKind] = &[SinkKind {
    name: "leaky",
    aliases: &[],
    summary: "allocates once a batch",
    options: &[],
    plan: |_| Box::new(LeakyPlan),
}];

impl SinkPlan for LeakyPlan {
    fn threads(&self) -> usize {
        1
    }

    fn memory(&self, _: &str, _: usize) -> Vec<flumen::memory::MemoryLine> {
        Vec::new()
    }

    fn batch_age(&self) -> Duration {
        Duration::from_secs(1)
    }

    fn build(&self, context: &SinkContext) -> Result<sink::Built, sink::BuildError> {
        let worker: Box<dyn Worker> = Box::new(SinkRunner::new(context, 0, Leaky));
        Ok(sink::Built { workers: vec![worker], helpers: Vec::new(), notes: Vec::new() })
    }
}

impl BatchSink for Leaky {
    fn write(&mut self, page: &Page) -> std::io::Result<u64> {
        let copy = std::hint::black_box(page.used().to_vec());
        Ok(copy.len() as u64)
    }
}

#[test]
fn one_allocation_a_batch_is_noticed() {
    let spent = Line::build(&generated("type = 'leaky'"), LEAKY).measure(|| {});
    // The sink may be some batches behind the source.
    assert!((BATCHES - 64..=BATCHES + 64).contains(&spent.counted), "{spent:?}");
}

/// Every message of the conformance cases, in every format, its time and its data walked through.
#[test]
fn a_message_taken_apart_allocates_nothing() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/conformance/syslog");
    let files = std::fs::read_dir(folder).unwrap();
    let text = files.map(|file| std::fs::read_to_string(file.unwrap().path()).unwrap());
    let text = text.collect::<Vec<_>>().concat();
    let messages: Vec<&str> = text.lines().filter_map(|line| line.split('\t').nth(2)).collect();
    assert!(messages.len() > 900, "{} messages", messages.len());
    let zone = Zone::named("Europe/Berlin").unwrap();
    let mut arrival = Arrival::new(Wall(1_781_524_800_000_000_000), zone);
    let before = allocations();
    let mut params = 0;
    for message in &messages {
        for expect in [Expect::Auto, Expect::Rfc3164, Expect::Rfc5424] {
            let message = parse(message.as_bytes(), expect, Fields::ALL);
            std::hint::black_box(message.time.map(|time| arrival.resolve(&time).wall()));
            std::hint::black_box(message.body());
            params += message.data.elements().flat_map(|element| element.params()).count();
        }
    }
    assert!(params > 100, "{params} parameters");
    assert_eq!(allocations().counted, before.counted);
}
