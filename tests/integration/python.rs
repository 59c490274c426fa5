//! Python's logging.handlers.SysLogHandler: messages end with NUL, on TCP that is the frame's end.

use crate::harness::{Agent, SYSLOG_TO_FILE};
use crate::peers::{peer, run};
use std::process::Command;

/// Three records: plain, one with a newline inside, one that is not ASCII.
const PROGRAM: &str = r#"
import logging, logging.handlers, socket, sys
port, kind = int(sys.argv[1]), getattr(socket, sys.argv[2])
handler = logging.handlers.SysLogHandler(("127.0.0.1", port), "local4", kind)
handler.ident = "app: "
log = logging.getLogger("flumen")
log.addHandler(handler)
log.warning("first")
log.error("second\nline")
log.critical("dritte Zeile: grün")
handler.close()
"#;

fn through_python(kind: &str, count: u64) -> Option<Vec<String>> {
    let python = peer("python3")?;
    peer("zstd")?;
    let agent = Agent::start(SYSLOG_TO_FILE);
    let to = if kind == "SOCK_DGRAM" { agent.udp("net") } else { agent.tcp("net") };
    run(Command::new(python).args(["-c", PROGRAM, &to.port().to_string(), kind]));
    agent.wait_for(count);
    Some(agent.stop().well().lines("out.log.zst"))
}

/// On TCP a frame ends at NUL or LF: the newline inside a message splits it.
#[test]
fn syslog_handler_tcp() {
    let Some(events) = through_python("SOCK_STREAM", 4) else { return };
    let expected = ["<164>app: first", "<163>app: second", "line", "<162>app: dritte Zeile: grün"];
    assert_eq!(events, expected);
}

/// A datagram is one event: its last NUL is dropped, the newline inside is written as `#012`.
#[test]
fn syslog_handler_udp() {
    let Some(events) = through_python("SOCK_DGRAM", 3) else { return };
    let expected = ["<164>app: first", "<163>app: second#012line", "<162>app: dritte Zeile: grün"];
    assert_eq!(events, expected);
}
