//! Clients of memcached: pymemcache, and the tools of libmemcached.

use crate::harness::{Agent, DEADLINE, to_plain_file};
use crate::papers::Papers;
use crate::peers::{peer, pymemcache, run};
use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::Command;

const STORES: &str = r#"
[sources.stores]
type      = "memcached"
listen    = ["tcp://127.0.0.1:0", "tls://127.0.0.1:0", "unix://{dir}/cache.sock"]
tls       = { certificate = "{papers}/server.pem", key = "{papers}/server.key" }
event_max = "{event_max}"
ack       = "{ack}"
channel   = "main"
"#;

/// Ends with a word for each line that stands in the file when its store was answered.
const PROGRAM: &str = r#"
import ssl, sys
from pymemcache.client.base import Client
from pymemcache.exceptions import MemcacheServerError, MemcacheClientError
folder, port, tls_port = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
def there(text):
    return text in open(folder + "/all.log.open").read().splitlines()
one = Client(("127.0.0.1", port), default_noreply=False)
assert one.set("first", "1 of python")
assert there("{key=first} 1 of python")
assert one.add("second", b"2 of python", expire=60)
assert one.get("first") is None and one.get_many(["first", "second"]) == {}
assert one.set_many({"k%03d" % n: "%d of many" % n for n in range(500)}) == []
assert there("{key=k499} 499 of many")
assert one.replace("first", "x") is False and one.delete("first") is False
assert one.incr("first", 1) is None and one.touch("first") is False
assert one.cas("first", "x", b"7") is None
assert b"flumen" in one.version() and one.flush_all() and one.stats() == {}
try:
    one.set("large", "x" * 1025)
    sys.exit("it was taken")
except MemcacheServerError as error:
    assert "too large" in str(error), error
# Still in step.
assert one.set("third", "3 of python")
one.set("fourth", "4 of python", noreply=True)
one.quit()
trust = ssl.create_default_context(cafile=sys.argv[4])
over_tls = Client(("localhost", tls_port), tls_context=trust, default_noreply=False)
assert over_tls.set("fifth", "5 over TLS")
over_path = Client("unix:" + folder + "/cache.sock", default_noreply=False)
assert over_path.set("sixth", "6 by a path")
print("well")
"#;

fn start(papers: &Papers) -> Agent {
    start_with(papers, "1KiB", "synced")
}

fn start_with(papers: &Papers, event_max: &str, ack: &str) -> Agent {
    let papers = papers.dir.path().display().to_string();
    let text = STORES.replace("{papers}", &papers).replace("{event_max}", event_max);
    let text = to_plain_file(&text.replace("{ack}", ack));
    Agent::start(&(text + "encoder = \"header_and_text\"\n"))
}

/// What a client has been told is stored stands in the file; whatever it asks for is a miss.
#[test]
fn pymemcache_stores_events() {
    let Some(python) = pymemcache() else { return };
    let papers = Papers::new();
    let agent = start(&papers);
    let folder = agent.dir.path().to_owned();
    let ports = [agent.tcp("stores"), agent.tls("stores")].map(|to| to.port().to_string());
    let mut command = Command::new(python);
    command.args(["-c", PROGRAM]).arg(&folder).args(ports).arg(papers.path("ca.pem"));
    assert_eq!(run(&mut command), "well\n");
    agent.wait_for(506);
    let ended = agent.stop().well();
    let mut lines = ended.lines("all.log");
    let many = lines.drain(2..502).enumerate();
    for (number, line) in many {
        assert_eq!(line, format!("{{key=k{number:03}}} {number} of many"));
    }
    assert_eq!(
        lines,
        [
            "{key=first} 1 of python",
            "{key=second} 2 of python",
            "{key=third} 3 of python",
            "{key=fourth} 4 of python",
            "{key=fifth} 5 over TLS",
            "{key=sixth} 6 by a path",
        ]
    );
    assert!(ended.log.contains("object too large for cache"), "{}", ended.log);
}

/// A file each, with the name as key; and a file that is asked for is not there.
#[test]
fn memccp_sends_files() {
    let (Some(memccp), Some(memccat)) = (peer("memccp"), peer("memccat")) else { return };
    let papers = Papers::new();
    let agent = start(&papers);
    let servers = format!("--servers={}", agent.tcp("stores"));
    let files = tempfile::TempDir::new().expect("a folder");
    let texts = [("one.txt", "a text"), ("two.bin", "two\r\nlines\t\u{1}\n"), ("empty", "")];
    for (name, text) in texts {
        std::fs::write(files.path().join(name), text).expect("written");
        for way in ["--set", "--add"] {
            let mut command = Command::new(&memccp);
            run(command.args([way, &servers]).arg(files.path().join(name)));
        }
    }
    run(Command::new(Path::new(&memccp).with_file_name("memcping")).arg(&servers));
    let asked = Command::new(&memccat).args([&servers, "one.txt"]).output().expect("it runs");
    assert!(!asked.status.success() && asked.stdout.is_empty(), "{asked:?}");
    agent.wait_for(6);
    let lines = agent.stop().well().lines("all.log");
    let expected = ["{key=one.txt} a text", "{key=two.bin} two#015#012lines\t#001", "{key=empty} "];
    assert_eq!(lines, expected.map(|line| [line, line]).concat());
}

/// Stores on several connections, and nothing is said of them; what is answered comes in its place.
#[test]
fn a_flood_of_stores_without_answers_is_there_to_the_last_one() {
    const PEERS: usize = 4;
    const EACH: usize = 25_000;
    let papers = Papers::new();
    let agent = start(&papers);
    let at = agent.tcp("stores");
    let flood = move |peer: usize| {
        let store = |number: usize| {
            let value = format!("{number} {}", "x".repeat(number % 100));
            format!("set p{peer} 0 0 {} noreply\r\n{value}\r\n", value.len())
        };
        let mut text: String = (0..EACH).map(store).collect();
        // One byte too long for this source, and a question behind it.
        text += &format!("set last 0 0 1025 noreply\r\n{}\r\nget k\r\nquit\r\n", "x".repeat(1025));
        let mut stream = TcpStream::connect(at).expect("it listens");
        stream.set_read_timeout(Some(DEADLINE)).expect("a timeout");
        stream.write_all(text.as_bytes()).expect("it is read");
        let mut said = String::new();
        stream.read_to_string(&mut said).expect("it ends");
        said
    };
    let peers: Vec<_> = (0..PEERS).map(|peer| std::thread::spawn(move || flood(peer))).collect();
    for peer in peers {
        assert_eq!(peer.join().expect("it sends"), "END\r\n");
    }
    agent.wait_for((PEERS * EACH) as u64);
    let ended = agent.stop().well();
    assert_eq!(ended.received("stores"), PEERS * EACH);
    let mut next = BTreeMap::new();
    for line in ended.lines("all.log") {
        let (key, value) = line.split_once("} ").expect("a key and a value");
        let number: &mut usize = next.entry(key.to_owned()).or_default();
        assert_eq!(value, format!("{number} {}", "x".repeat(*number % 100)), "{key}");
        *number += 1;
    }
    assert_eq!(next.values().copied().collect::<Vec<_>>(), [EACH; PEERS]);
}

/// Who sends all of them before it reads an answer gets one for each.
#[test]
fn stores_in_one_go_are_all_answered() {
    const STORES: usize = 2_000;
    let papers = Papers::new();
    let agent = start(&papers);
    let store = |number: usize| {
        let value = format!("number {number}");
        format!("set k 0 0 {}\r\n{value}\r\n", value.len())
    };
    let text: String = (0..STORES).map(store).collect();
    let mut stream = TcpStream::connect(agent.tcp("stores")).expect("it listens");
    stream.set_read_timeout(Some(DEADLINE)).expect("a timeout");
    stream.write_all((text + "quit\r\n").as_bytes()).expect("it is read");
    let mut said = String::new();
    stream.read_to_string(&mut said).expect("it ends");
    assert_eq!(said, "STORED\r\n".repeat(STORES));
    let lines = agent.stop().well().lines("all.log");
    let expected = (0..STORES).map(|number| format!("{{key=k}} number {number}"));
    assert_eq!(lines, expected.collect::<Vec<_>>());
}

/// libmemcached's own load, waiting for answers and wanting none. (With `--buffer` it gives up when
/// an answer takes 50 ms, and fails an assertion of its own: see the test above for many at once.)
#[test]
fn memcslap_counts_as_we_do() {
    let Some(memccp) = peer("memccp") else { return };
    let papers = Papers::new();
    let agent = start_with(&papers, "64KiB", "received");
    let servers = format!("--servers={}", agent.tcp("stores"));
    let mut count = 0;
    for way in [&[][..], &["--noreply"], &["--non-blocking", "--tcp-nodelay"]] {
        let mut command = Command::new(memccp.with_file_name("memcslap"));
        command.args([&servers, "--test=set", "--concurrency=4", "--execute-number=2000"]);
        run(command.args(way));
        count += 4 * 2000;
        agent.wait_for(count);
    }
    let ended = agent.stop().well();
    assert_eq!(ended.received("stores") as u64, count, "{}", ended.log);
}
