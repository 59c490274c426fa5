//! Lines that belong together: one event, one line in the file, also when nothing follows them.

use crate::harness::{Agent, sum, to_plain_file, written};
use std::io::Write;
use std::net::TcpStream;

const SOURCES: &str = r#"
[sources.quick]
type      = "tcp"
listen    = "tcp://127.0.0.1:0"
channel   = "main"
multiline = { start = '^\S', age = "50ms" }

[sources.slow]
type      = "tcp"
listen    = "tcp://127.0.0.1:0"
channel   = "main"
multiline = { start = '^\S', age = "10m" }
"#;

#[test]
fn groups_end_by_the_next_by_age_and_by_a_stop() {
    let agent = Agent::start(&to_plain_file(SOURCES));
    let (mut quick, mut slow) = (
        TcpStream::connect(agent.tcp("quick")).unwrap(),
        TcpStream::connect(agent.tcp("slow")).unwrap(),
    );
    const ROUNDS: u64 = 3000;
    for _ in 0..ROUNDS {
        slow.write_all(b"Error: no such row\n\tat load\n\tat main\n").unwrap();
    }
    quick.write_all(b"Error: late\n\tat the end\n").unwrap();
    // The connections stay open: one group ends by its age, the other's last by the stop.
    let ledger = agent.wait("what has ended is written", |ledger| written(ledger) == ROUNDS);
    assert_eq!(sum(&ledger["sources"], "received_events"), ROUNDS);
    let ended = agent.stop().well();
    let lines = ended.lines("all.log");
    let count = |line: &str| lines.iter().filter(|it| *it == line).count() as u64;
    assert_eq!(count("Error: no such row#012\tat load#012\tat main"), ROUNDS);
    assert_eq!(count("Error: late#012\tat the end"), 1);
    assert_eq!(lines.len() as u64, ROUNDS + 1);
}
