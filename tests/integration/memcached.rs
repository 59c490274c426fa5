//! Clients of memcached: pymemcache, and the tools of libmemcached.

use crate::harness::{Agent, to_plain_file};
use crate::papers::Papers;
use crate::peers::{peer, pymemcache, run};
use std::path::Path;
use std::process::Command;

const STORES: &str = r#"
[sources.stores]
type      = "memcached"
listen    = ["tcp://127.0.0.1:0", "tls://127.0.0.1:0", "unix://{dir}/cache.sock"]
tls       = { certificate = "{papers}/server.pem", key = "{papers}/server.key" }
event_max = "1KiB"
ack       = "synced"
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
    let papers = papers.dir.path().display().to_string();
    let text = to_plain_file(&STORES.replace("{papers}", &papers));
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
