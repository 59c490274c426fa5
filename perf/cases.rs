//! The table of cases, `<source>_to_<sink>`: what is sent, who takes it, and what must be reached.

use crate::figures::Key;
use crate::party::{Party, Program, Sender, party};
use crate::receiver::Transport;
use crate::requests::Dialect;
use crate::send::Stream;

pub(crate) struct Case {
    pub(crate) name: &'static str,
    pub(crate) what: &'static str,
    pub(crate) load: Load,
    /// `zstd lz4 gzip none` to a file, `datagram` with zstd, `null`, `stdout`, or `syslog` to a
    /// next hop.
    pub(crate) sink: &'static str,
    /// The first is the agent; goals compare it with the others.
    pub(crate) parties: &'static [Party],
    pub(crate) goals: &'static [Goal],
}

#[derive(Clone, Copy, Debug)]
pub(crate) enum Load {
    Lines(Stream),
    /// The same over TLS, as the two ends agree: 1.3.
    Secure(Stream),
    /// One RELP session that waits for its answers: `flumen blast`, or as the party says.
    Acknowledged,
    /// Requests of many lines over a few connections, each answered when its events are taken.
    Answered(Dialect),
    /// Datagrams, as fast as the kernel takes them without a rate a second.
    Flood {
        segments: bool,
        rate: Option<f64>,
    },
    /// Datagrams at four fifths of the highest rate that the case's limit program holds.
    Paced,
    /// Lines at a rate, `None` being half of what `tcp_to_zstd` reached; what is measured is when
    /// they can be read.
    Latency {
        events_per_second: Option<u64>,
    },
    /// Nothing is sent: an archive is searched.
    Read,
    /// Nothing is sent.
    Idle,
    /// Lines as fast as they are taken, and nobody reads the sink's output.
    Stuck,
}

impl Case {
    pub(crate) fn transport(&self) -> Transport {
        match self.load {
            Load::Flood { .. } | Load::Paced => Transport::Udp,
            _ => Transport::Tcp,
        }
    }
}

/// What the agent's figure must be, alone or as a multiple of another party's.
pub(crate) struct Goal {
    pub(crate) figure: Key,
    pub(crate) bound: Bound,
    pub(crate) of: Option<&'static str>,
}

#[derive(Clone, Copy, Debug)]
pub(crate) enum Bound {
    AtMost(f64),
    AtLeast(f64),
    /// The difference to another party's, not the multiple.
    MoreAtMost(f64),
}

/// As much as an unprivileged process gets on many machines; the same for everybody.
pub(crate) const RECEIVE_BUFFER_BYTES: usize = 4 << 20;
/// `agent.memory` in every case; resident it may be 32 MiB more.
pub(crate) const MEMORY_MIB: u64 = 256;
pub(crate) const RESIDENT: Goal = alone(Key::Peak, Bound::AtMost((MEMORY_MIB + 32) as f64));

const ONE: Stream = Stream { connections: 1, write_bytes: 256 << 10, rate: None };
const MANY: Stream = Stream { connections: 1000, write_bytes: 8 << 10, rate: None };
const SMALL: Stream = Stream { connections: 1000, write_bytes: 0, rate: None };
/// Leaves four fifths of a core to better levels.
const SLOW: Stream = Stream { rate: Some(100_000), ..ONE };

const FLUMEN: Party = party("flumen", Program::Flumen);
const TCP: Party = party("limit", Program::Limit("tcp", ""));
const TCP_SYNCED: Party = party("limit synced", Program::Limit("tcp", "--synced"));
/// The same lines with nothing around them.
const BARE: Party = TCP.stream(ONE);
const CROWD: Party = party("limit", Program::Limit("crowd", ""));
const UDP: Party = party("limit", Program::Limit("udp", ""));
const UDP_GRO: Party = party("limit", Program::Limit("udp", "--gro"));
const WRITE: Party = party("output alone", Program::Limit("memory", ""));
/// librelp's window; a larger one is a setting of the sender.
const WINDOW: u32 = 128;
const RSYSLOG: Party = party("rsyslog", Program::Rsyslog);
const SYSLOG_NG: Party = party("syslog-ng", Program::SyslogNg);
const OTELCOL: Party = party("otelcol", Program::Otelcol);

const SYSLOGTCP: &str = "type = syslogtcp\nperf.sources.net.host = 127.0.0.1\n\
                         perf.sources.net.port = {port}\nperf.sources.net.eventSize = 65536";
const MULTIPORT: &str = "type = multiport_syslogtcp\nperf.sources.net.host = 127.0.0.1\n\
                         perf.sources.net.ports = {port}\nperf.sources.net.eventSize = 65536\n\
                         perf.sources.net.batchSize = 1000";
const NETCAT: &str = "type = netcat\nperf.sources.net.bind = 127.0.0.1\n\
                      perf.sources.net.port = {port}\nperf.sources.net.max-line-length = 65536\n\
                      perf.sources.net.ack-every-event = false";
const HTTP: &str = "type = http\nperf.sources.net.bind = 127.0.0.1\n\
                    perf.sources.net.port = {port}";

const fn at_most(figure: Key, factor: f64, of: &'static str) -> Goal {
    Goal { figure, bound: Bound::AtMost(factor), of: Some(of) }
}

const fn at_least(figure: Key, factor: f64, of: &'static str) -> Goal {
    Goal { figure, bound: Bound::AtLeast(factor), of: Some(of) }
}

const fn alone(figure: Key, bound: Bound) -> Goal {
    Goal { figure, bound, of: None }
}

const HALF_OF_RSYSLOG: Goal = at_most(Key::Processor, 0.5, "rsyslog");
macro_rules! for_flume {
    ($name:literal, $source:expr, $load:expr) => {
        Case {
            name: $name,
            what: "one properties file for both: the source, a memory channel, file_roll",
            load: $load,
            sink: "none",
            parties: &[
                party("flumen", Program::FlumenForFlume($source)),
                party("flume", Program::Flume($source)).share(5),
            ],
            goals: TWENTIETH_OF_FLUME,
        }
    };
}
/// Also between two rests: a Java's start is not counted against it.
const TWENTIETH_OF_FLUME: &[Goal] =
    &[at_most(Key::Steady, 0.05, "flume"), at_most(Key::Processor, 0.05, "flume")];
const NOTHING_LOST: Goal = alone(Key::Lost, Bound::AtMost(0.0));

/// Rare, as what is looked for mostly is.
macro_rules! needle {
    () => {
        "Failed password for invalid user oracle from 10.10."
    };
}
macro_rules! expression {
    () => {
        "invalid user (oracle|jenkins) from 10[0-9.]+ port 4[0-9]+ "
    };
}
const FLUMEN_TEXT: Program =
    Program::Shell(concat!("{flumen} grep -F '", needle!(), "' {archive}"));
const FLUMEN_EXPRESSION: Program =
    Program::Shell(concat!("{flumen} grep '", expression!(), "' {archive}"));
pub(crate) const MINUTE: &str = "one minute";

pub(crate) const CASES: &[Case] = &[
    Case {
        name: "tcp_to_zstd",
        what: "one connection, the whole pipeline, zstd level 1 files",
        load: Load::Lines(ONE),
        sink: "zstd",
        parties: &[FLUMEN.times(4), TCP.times(4), WRITE.times(4), RSYSLOG.times(4)],
        goals: &[
            at_most(Key::Steady, 1.0, "limit"),
            at_most(Key::Processor, 1.0 / 6.0, "rsyslog"),
            at_least(Key::Rate, 4.0, "rsyslog"),
            alone(Key::Processor, Bound::AtMost(4.1 / 12.0)),
        ],
    },
    Case {
        name: "tcp_to_zstd_adapted",
        what: "the same as fast as it goes, with the level that there is time for",
        load: Load::Lines(ONE),
        sink: "zstd",
        parties: &[FLUMEN.times(4).level("'adapt'"), party("level 1", Program::Flumen).times(4)],
        goals: &[at_least(Key::Rate, 1.0, "level 1")],
    },
    Case {
        name: "slow_tcp_to_zstd_adapted",
        what: "100,000 lines a second, with the level that there is time for",
        load: Load::Lines(SLOW),
        sink: "zstd",
        parties: &[
            FLUMEN.share(5).level("'adapt'"),
            party("level 6", Program::Flumen).share(5).level("6"),
            party("level 1", Program::Flumen).share(5),
        ],
        goals: &[at_least(Key::Ratio, 0.9, "level 6")],
    },
    Case {
        name: "tcp_to_lz4",
        what: "one connection, lz4 files",
        load: Load::Lines(ONE),
        sink: "lz4",
        parties: &[FLUMEN, TCP, WRITE],
        goals: &[at_most(Key::Steady, 1.05, "limit")],
    },
    Case {
        name: "tcp_to_gzip",
        what: "one connection, gzip level 1 files",
        load: Load::Lines(ONE),
        sink: "gzip",
        parties: &[FLUMEN, TCP, WRITE, RSYSLOG],
        goals: &[
            at_most(Key::Steady, 1.05, "limit"),
            at_most(Key::Processor, 1.0 / 3.0, "rsyslog"),
        ],
    },
    Case {
        name: "tcp_to_none",
        what: "one connection, plain files",
        load: Load::Lines(ONE),
        sink: "none",
        parties: &[
            FLUMEN.times(4),
            TCP.times(4),
            TCP_SYNCED.times(4),
            WRITE.times(4),
            RSYSLOG,
            SYSLOG_NG,
            OTELCOL,
        ],
        goals: &[at_most(Key::Steady, 1.05, "limit"), at_most(Key::Steady, 1.05, "limit synced")],
    },
    for_flume!("syslogtcp_to_file_roll", SYSLOGTCP, Load::Lines(ONE)),
    for_flume!("multiport_to_file_roll", MULTIPORT, Load::Lines(ONE)),
    for_flume!("netcat_to_file_roll", NETCAT, Load::Lines(ONE)),
    for_flume!("http_to_file_roll", HTTP, Load::Answered(Dialect::Lists)),
    Case {
        name: "tcp_to_null",
        what: "one connection, nothing written: reading and finding newlines",
        load: Load::Lines(ONE),
        sink: "null",
        parties: &[FLUMEN, TCP],
        goals: &[],
    },
    Case {
        name: "tls_to_null",
        what: "one TLS connection, nothing written: decrypting and finding newlines",
        load: Load::Secure(ONE),
        sink: "null",
        parties: &[FLUMEN, party("limit", Program::Limit("tls", ""))],
        goals: &[at_most(Key::Steady, 1.3, "limit")],
    },
    Case {
        name: "tcp_to_syslog",
        what: "one connection, sent on over TCP to a receiver that reads",
        load: Load::Lines(ONE),
        sink: "syslog",
        parties: &[FLUMEN, RSYSLOG],
        goals: &[HALF_OF_RSYSLOG, at_least(Key::Rate, 1.0, "rsyslog"), NOTHING_LOST],
    },
    Case {
        name: "relp_to_zstd",
        what: "one RELP session, acknowledged when synced, against a sync for each window of text",
        load: Load::Acknowledged,
        sink: "zstd",
        parties: &[
            party("flumen", Program::Flumen).share(10).window(WINDOW),
            party("window 5,000", Program::Flumen).share(10).window(5000),
            party("from omrelp", Program::Flumen).share(10).sender(Sender::Omrelp),
            party("sync alone", Program::Limit("sync", "")).share(10).window(WINDOW),
            party("rsyslog", Program::Rsyslog).share(10).window(WINDOW),
        ],
        goals: &[alone(Key::Rate, Bound::AtLeast(50e3))],
    },
    Case {
        name: "http_to_zstd",
        what: "POSTs of 512 lines, each answered, against the same lines over TCP",
        load: Load::Answered(Dialect::Lines),
        sink: "zstd",
        parties: &[FLUMEN, party("lists of JSON", Program::Flumen).dialect(Dialect::Lists), BARE],
        goals: &[at_most(Key::Steady, 1.3, "limit")],
    },
    Case {
        name: "memcached_to_zstd",
        what: "512 stores a write, each answered, against the same lines over TCP",
        load: Load::Answered(Dialect::Stores),
        sink: "zstd",
        parties: &[FLUMEN, BARE],
        goals: &[at_most(Key::Steady, 1.4, "limit")],
    },
    Case {
        name: "durable_tcp_to_zstd",
        what: "one connection through a channel on the disk, synced every 10 ms, to zstd files",
        load: Load::Lines(ONE),
        sink: "zstd",
        parties: &[FLUMEN.durable(), party("memory", Program::Flumen)],
        goals: &[
            alone(Key::Rate, Bound::AtLeast(1e6)),
            alone(Key::Megabytes, Bound::AtLeast(200.0)),
            Goal { figure: Key::Steady, bound: Bound::MoreAtMost(0.25), of: Some("memory") },
        ],
    },
    Case {
        name: "durable_tcp_to_none",
        what: "one connection through a channel on the disk to plain files",
        load: Load::Lines(ONE),
        sink: "none",
        parties: &[
            FLUMEN.durable(),
            party("flume multiport", Program::Flume(MULTIPORT)).share(10).durable(),
        ],
        goals: &[
            at_most(Key::Steady, 1.0 / 20.0, "flume multiport"),
            at_least(Key::Rate, 15.0, "flume multiport"),
        ],
    },
    Case {
        name: "many_tcp_to_zstd",
        what: "1,000 connections, 8 KiB a visit",
        load: Load::Lines(MANY),
        sink: "zstd",
        parties: &[FLUMEN, CROWD, party("one connection", Program::Flumen).stream(ONE)],
        goals: &[at_most(Key::Steady, 1.5, "one connection")],
    },
    Case {
        name: "small_tcp_to_zstd",
        what: "1,000 connections, one event a write",
        load: Load::Lines(SMALL),
        sink: "zstd",
        parties: &[FLUMEN.share(4), CROWD.share(4)],
        goals: &[at_most(Key::Steady, 1.25, "limit")],
    },
    Case {
        name: "tcp_to_zstd_by_host",
        what: "a file for each of 100 hosts, parsed, against one file that nobody parses for",
        load: Load::Lines(ONE),
        sink: "zstd",
        parties: &[
            party("100 hosts", Program::Flumen).hosts(100),
            party("one host", Program::Flumen).hosts(1),
            party("one file", Program::Flumen),
        ],
        goals: &[at_most(Key::Steady, 2.0, "one file"), alone(Key::Steady, Bound::AtMost(0.8))],
    },
    Case {
        name: "tcp_to_zstd_by_many_hosts",
        what: "a file for each of 10,000 hosts, against 100",
        load: Load::Lines(ONE),
        sink: "zstd",
        parties: &[
            party("10,000 hosts", Program::Flumen).hosts(10_000),
            party("100 hosts", Program::Flumen).hosts(100),
        ],
        goals: &[at_most(Key::Steady, 2.0, "100 hosts")],
    },
    Case {
        name: "idle_tcp_to_zstd",
        what: "one connection, and 10,000 that say nothing, against it without them",
        load: Load::Lines(ONE),
        sink: "zstd",
        parties: &[
            party("10,000 idle", Program::Flumen).idle(10_000),
            party("none idle", Program::Flumen),
        ],
        goals: &[at_most(Key::Steady, 1.03, "none idle")],
    },
    Case {
        name: "udp_to_zstd",
        what: "datagrams at 80 % of what the limit program holds without loss",
        load: Load::Paced,
        sink: "zstd",
        parties: &[FLUMEN, UDP, RSYSLOG],
        goals: &[at_most(Key::Steady, 1.25, "limit"), HALF_OF_RSYSLOG, NOTHING_LOST],
    },
    Case {
        name: "udp_to_datagram",
        what: "the same kept as they came, with the kernel's times and both addresses",
        load: Load::Paced,
        sink: "datagram",
        parties: &[FLUMEN, UDP],
        goals: &[alone(Key::Lost, Bound::AtMost(0.0))],
    },
    Case {
        name: "udp_to_null",
        what: "a flood of datagrams, nothing written",
        load: Load::Flood { segments: false, rate: None },
        sink: "null",
        parties: &[FLUMEN, UDP],
        goals: &[],
    },
    Case {
        name: "udp_gro_to_null",
        what: "a flood of equal datagrams that the kernel merges, nothing written",
        load: Load::Flood { segments: true, rate: None },
        sink: "null",
        parties: &[FLUMEN, UDP_GRO],
        goals: &[alone(Key::Rate, Bound::AtLeast(5e6))],
    },
    Case {
        name: "udp_gro_to_zstd",
        what: "3.3 million equal datagrams a second that the kernel merges, zstd level 1 files",
        load: Load::Flood { segments: true, rate: Some(3.3e6) },
        sink: "zstd",
        parties: &[party("flumen", Program::Flumen).sink_threads(2), UDP_GRO],
        goals: &[alone(Key::Rate, Bound::AtLeast(3e6))],
    },
    Case {
        name: "latency_to_file",
        what: "received to readable in the zstd file, at half load; block.age is 1 s",
        load: Load::Latency { events_per_second: None },
        sink: "zstd",
        parties: &[FLUMEN],
        goals: &[alone(Key::P99, Bound::AtMost(1020.0)), alone(Key::Lost, Bound::AtMost(0.0))],
    },
    Case {
        name: "latency_to_quiet_file",
        what: "the same when little comes: 100 lines a second",
        load: Load::Latency { events_per_second: Some(100) },
        sink: "zstd",
        parties: &[FLUMEN],
        goals: &[alone(Key::P99, Bound::AtMost(1020.0)), alone(Key::Lost, Bound::AtMost(0.0))],
    },
    Case {
        name: "latency_to_stdout",
        what: "received to readable from the pipe, at low load",
        load: Load::Latency { events_per_second: Some(2_000) },
        sink: "stdout",
        parties: &[FLUMEN],
        goals: &[alone(Key::P99, Bound::AtMost(1.0)), alone(Key::Lost, Bound::AtMost(0.0))],
    },
    Case {
        name: "idle_to_zstd",
        what: "an agent that is sent nothing",
        load: Load::Idle,
        sink: "zstd",
        parties: &[FLUMEN],
        goals: &[alone(Key::Core, Bound::AtMost(0.5))],
    },
    Case {
        name: "tcp_to_stuck",
        what: "a sink that takes nothing, at full load",
        load: Load::Stuck,
        sink: "stdout",
        parties: &[FLUMEN],
        goals: &[],
    },
    Case {
        name: "zstd_to_grep",
        what: "a text looked for in an archive of one day",
        load: Load::Read,
        sink: "zstd",
        parties: &[
            party("flumen", FLUMEN_TEXT),
            party(
                "limit",
                Program::Shell(concat!(
                    "{limit} search count --needle '",
                    needle!(),
                    "' --file {archive}"
                )),
            ),
            party(
                "zstd | grep",
                Program::Shell(concat!("zstd -dc {archive} | grep -F '", needle!(), "'")),
            ),
            party("zstdgrep", Program::Shell(concat!("zstdgrep -F '", needle!(), "' {archive}"))),
        ],
        goals: &[
            at_least(Key::Rate, 0.85, "limit"),
            at_least(Key::Rate, 2.2, "zstd | grep"),
            at_least(Key::Rate, 2.2, "zstdgrep"),
        ],
    },
    Case {
        name: "zstd_to_grep_expression",
        what: "an expression looked for in an archive of one day",
        load: Load::Read,
        sink: "zstd",
        parties: &[
            party("flumen", FLUMEN_EXPRESSION),
            party(
                "zstd | rg",
                Program::Shell(concat!("zstd -dc {archive} | rg -a '", expression!(), "'")),
            ),
        ],
        goals: &[at_least(Key::Rate, 2.0, "zstd | rg")],
    },
    Case {
        name: "zstd_to_grep_minute",
        what: "one minute of an archive of one day, against all of it",
        load: Load::Read,
        sink: "zstd",
        parties: &[
            party(
                MINUTE,
                Program::Shell(concat!(
                    "{flumen} grep -F '",
                    needle!(),
                    "' {archive} --since 2026-11-21T12:00:00Z --until 2026-11-21T12:01:00Z"
                )),
            ),
            party("the day", FLUMEN_TEXT),
        ],
        goals: &[at_least(Key::Rate, 50.0, "the day")],
    },
];
