//! Properties files of Apache Flume's, run as they are. What the real Flume makes of the same files
//! is compared by `scripts/flume-compare`.

use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;

use serde_json::Value;

use crate::harness::{Agent, lines_of, paths, until};

const AGENT: &str = "\
flume.monitoring.type = http
flume.monitoring.port = 0
a1.sources = lines log
a1.channels = quick kept
a1.sinks = show store

a1.sources.lines.type = netcat
a1.sources.lines.bind = 127.0.0.1
a1.sources.lines.port = 0
a1.sources.lines.channels = quick

a1.sources.log.type = org.apache.flume.source.SyslogTcpSource
a1.sources.log.host = 127.0.0.1
a1.sources.log.port = 0
a1.sources.log.keepFields = timestamp
a1.sources.log.channels = kept

a1.channels.quick.type = memory
a1.channels.kept.type = file
a1.channels.kept.checkpointDir = {dir}/checkpoint
a1.channels.kept.dataDirs = {dir}/data

a1.sinks.show.type = logger
a1.sinks.show.channel = quick
a1.sinks.store.type = file_roll
a1.sinks.store.sink.directory = {dir}/out
a1.sinks.store.sink.pathManager.prefix = app-
a1.sinks.store.sink.pathManager.extension = log
a1.sinks.store.sink.rollInterval = 0
a1.sinks.store.channel = kept
";

fn drained(agent: &Agent, sink: &str) -> u64 {
    let (status, text) = agent.page("/metrics");
    assert_eq!(status, 200, "{text}");
    let all: Value = serde_json::from_str(&text).expect("Flume's JSON");
    let count = all[format!("SINK.{sink}")]["EventDrainSuccessCount"].as_str();
    count.expect("values are strings").parse().expect("a number")
}

#[test]
fn a_properties_file_runs_as_it_is() {
    let agent = Agent::start(AGENT);
    let mut lines = TcpStream::connect(agent.tcp("lines")).expect("listens");
    lines.write_all(b"hello world, and more\n").expect("sent");
    let mut answer = String::new();
    BufReader::new(&lines).read_line(&mut answer).expect("answered");
    assert_eq!(answer, "OK\n");
    let mut log = TcpStream::connect(agent.tcp("log")).expect("listens");
    let text = "<34>Oct 11 22:14:15 web01 su[7]: 'su root' failed\nno syslog\n";
    log.write_all(text.as_bytes()).expect("sent");
    drop((lines, log));
    assert!(until(|| drained(&agent, "show") == 1 && drained(&agent, "store") == 2));
    assert_eq!(agent.page("/ledger").0, 404, "the endpoint is Flume's");
    let ended = agent.stop().well();
    let dump = "Event: { headers:{} body: 68 65 6C 6C 6F 20 77 6F 72 6C 64 2C 20 61 6E 64 hello \
                world, and }";
    assert!(ended.log.contains(dump), "{}", ended.log);
    let files = paths(&ended.dir.path().join("out"), ".log");
    let [file] = files.as_slice() else { panic!("{files:?}") };
    let name = file.file_name().and_then(|name| name.to_str()).expect("UTF-8");
    let middle = name.strip_prefix("app-").and_then(|name| name.strip_suffix("-1.log"));
    let millis = middle.and_then(|millis| millis.parse::<u64>().ok());
    assert!(millis.is_some_and(|millis| millis > 1_700_000_000_000), "{name}");
    assert_eq!(lines_of(file), ["Oct 11 22:14:15 su[7]: 'su root' failed", "no syslog"]);
}

const CHANGING: &str = "\
flume.monitoring.type = http
flume.monitoring.port = 0
a1.sources = lines log
a1.channels = even other kept
a1.sinks = even other kept

a1.sources.lines.type = netcat
a1.sources.lines.bind = 127.0.0.1
a1.sources.lines.port = 0
a1.sources.lines.channels = even other
a1.sources.lines.interceptors = site only digit
a1.sources.lines.interceptors.site.type = static
a1.sources.lines.interceptors.site.key = site
a1.sources.lines.interceptors.site.value = east
a1.sources.lines.interceptors.only.type = regex_filter
a1.sources.lines.interceptors.only.regex = ^secret
a1.sources.lines.interceptors.only.excludeEvents = true
a1.sources.lines.interceptors.digit.type = regex_extractor
a1.sources.lines.interceptors.digit.regex = (\\\\d)$
a1.sources.lines.interceptors.digit.serializers = d
a1.sources.lines.interceptors.digit.serializers.d.name = digit
a1.sources.lines.selector.type = multiplexing
a1.sources.lines.selector.header = digit
a1.sources.lines.selector.mapping.2 = even
a1.sources.lines.selector.default = other

a1.sources.log.type = syslogtcp
a1.sources.log.host = 127.0.0.1
a1.sources.log.port = 0
a1.sources.log.channels = kept
a1.sources.log.interceptors = who
a1.sources.log.interceptors.who.type = search_replace
a1.sources.log.interceptors.who.searchPattern = ^(\\\\w+)
a1.sources.log.interceptors.who.replaceString = [$1]

a1.channels.even.type = memory
a1.channels.other.type = memory
a1.channels.kept.type = memory

a1.sinks.even.type = file_roll
a1.sinks.even.sink.directory = {dir}/even
a1.sinks.even.sink.serializer = header_and_text
a1.sinks.even.channel = even
a1.sinks.other.type = file_roll
a1.sinks.other.sink.directory = {dir}/other
a1.sinks.other.sink.serializer = header_and_text
a1.sinks.other.channel = other
a1.sinks.kept.type = file_roll
a1.sinks.kept.sink.directory = {dir}/kept
a1.sinks.kept.channel = kept
";

#[test]
fn interceptors_of_a_properties_file_mark_rewrite_and_refuse() {
    let agent = Agent::start(CHANGING);
    let mut lines = TcpStream::connect(agent.tcp("lines")).expect("listens");
    lines.write_all(b"line 1\nline 2\nsecret 2\nno digit\n").expect("sent");
    let mut answers = BufReader::new(&lines).lines();
    assert!((0..4).all(|_| answers.next().is_some_and(|it| it.is_ok_and(|it| it == "OK"))));
    let mut log = TcpStream::connect(agent.tcp("log")).expect("listens");
    let text = "<34>Oct 11 22:14:15 web01 su[7]: 'su root' failed\nno syslog\n";
    log.write_all(text.as_bytes()).expect("sent");
    drop((lines, log));
    let drained = |sink| drained(&agent, sink);
    let all = || drained("even") == 1 && drained("other") == 2 && drained("kept") == 2;
    assert!(until(all), "{} {} {}", drained("even"), drained("other"), drained("kept"));
    let ended = agent.stop().well();
    let written = |sink: &str| {
        let files = paths(&ended.dir.path().join(sink), "-1");
        let [file] = files.as_slice() else { panic!("{sink}: {files:?}") };
        lines_of(file)
    };
    assert_eq!(written("even"), ["{site=east, digit=2} line 2"]);
    assert_eq!(written("other"), ["{site=east, digit=1} line 1", "{site=east} no digit"]);
    assert_eq!(written("kept"), ["[su][7]: 'su root' failed", "[no] syslog"]);
}
