//! Filters at a source and at a sink: what passes is in the file, what does not is counted.

use crate::harness::{Agent, agent, sum, written};
use std::io::Write;
use std::net::{TcpStream, UdpSocket};

/// Two sinks that see the same batches, each with its own idea of them.
const SYSLOG_TO_TWO: &str = r#"
[sources.net]
type     = "syslog"
listen   = ["udp://127.0.0.1:0", "tcp://127.0.0.1:0"]
channels = ["bad", "web"]
filters  = [{ drop = { app = "cron", text = "session" } }]

[channels.bad]
type = "memory"

[channels.web]
type = "memory"

[sinks.bad]
type    = "file"
channel = "bad"
path    = "{dir}/bad.log"
codec   = "none"
block   = { age = "20ms" }
filters = [{ keep = { severity = "..warning" } }, { drop = { regex = "disk \\d+ is fine" } }]

[sinks.web]
type    = "file"
channel = "web"
path    = "{dir}/web.log"
codec   = "zstd"
block   = { age = "20ms" }
filters = [{ keep = { host = "web-*" } }]
"#;

#[test]
fn each_sink_has_what_passes_and_the_rest_is_counted() {
    let agent = Agent::start(&(agent("128MiB", "") + SYSLOG_TO_TWO));
    let mut stream = TcpStream::connect(agent.tcp("net")).unwrap();
    let kinds = [
        "<12>Oct 11 22:14:15 web-1 app: trouble",
        "<14>Oct 11 22:14:15 web-2 app: all is well",
        "<12>Oct 11 22:14:15 db-1 app: disk 7 is fine",
        "<12>1 2026-10-11T22:14:15Z db-2 app - - - disk failed",
        "<78>Oct 11 22:14:15 web-1 cron[1]: session opened",
        "<78>Oct 11 22:14:15 web-1 cron[1]: CMD (run)",
    ];
    const ROUNDS: usize = 2000;
    for _ in 0..ROUNDS {
        stream.write_all((kinds.join("\n") + "\n").as_bytes()).unwrap();
    }
    drop(stream);
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.send_to(b"<11>Oct 11 22:14:15 web-3 app: by datagram", agent.udp("net")).unwrap();
    let rounds = ROUNDS as u64;
    let ledger = agent.wait("all is accounted for", |ledger| {
        sum(&ledger["sources"], "received_events") == 6 * rounds + 1
            && written(ledger) + sum(&ledger["sinks"], "filtered_events") == 2 * (5 * rounds + 1)
    });
    assert_eq!(sum(&ledger["sources"], "filtered_events"), rounds);
    assert_eq!(sum(&ledger["sources"], "routed_events"), 5 * rounds + 1);
    assert_eq!(ledger["lost_events"], 0);
    let ended = agent.stop().well();
    let count = |lines: &[String], line: &str| lines.iter().filter(|it| *it == line).count();
    let (bad, web) = (ended.lines("bad.log"), ended.lines("web.log.zst"));
    assert_eq!((count(&bad, kinds[0]), count(&bad, kinds[3])), (ROUNDS, ROUNDS));
    assert_eq!(bad.len(), 2 * ROUNDS + 1);
    for kind in [kinds[0], kinds[1], kinds[5]] {
        assert_eq!(count(&web, kind), ROUNDS, "{kind}");
    }
    assert_eq!(web.len(), 3 * ROUNDS + 1);
}
