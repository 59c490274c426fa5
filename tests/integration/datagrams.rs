//! Datagrams kept as they came: every byte, when, from where and whereto.

use crate::harness::{Agent, flumen, refused, written};
use serde_json::Value;
use std::net::{SocketAddr, UdpSocket};
use std::path::Path;
use std::process::Stdio;
use std::time::SystemTime;
use tempfile::TempDir;

pub(crate) const CONFIGURATION: &str = r#"
[agent]
memory = "128MiB"
admin  = "127.0.0.1:0"
cores  = "none"

[sources.net]
type    = "udp"
{rows}

[sinks.file]
type    = "file"
path    = "{dir}/traffic.rec"
encoder = "datagram"
codec   = "{codec}"
block   = { age = "20ms" }
"#;

/// What a NetFlow exporter, a syslog sender and a scanner send: control bytes, line ends, nothing.
pub(crate) fn texts() -> Vec<Vec<u8>> {
    let mut texts: Vec<Vec<u8>> =
        [&b"\0\x05\0\x01\n\0"[..], b"", b"<34>su: failed\r\n", b"\n", b"\xff\xfe\0"]
            .map(<[u8]>::to_vec)
            .to_vec();
    texts.push((0..9000).map(|n| (n % 251) as u8).collect());
    texts.extend((0..200).map(|n: u32| n.to_be_bytes().repeat(1 + n as usize)));
    texts
}

pub(crate) fn stdout(args: &[&str], path: &Path) -> Vec<u8> {
    let output = flumen().args(args).arg(path).output().expect("it runs");
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && told.is_empty(), "{args:?}: {told}");
    output.stdout
}

fn objects(bytes: &[u8]) -> Vec<Value> {
    let lines = bytes.split_inclusive(|byte| *byte == b'\n');
    lines.map(|line| serde_json::from_slice(line).expect("JSON")).collect()
}

fn decode(text: &Value) -> Vec<u8> {
    let digit = |byte: u8| match byte {
        b'A'..=b'Z' => byte - b'A',
        b'a'..=b'z' => byte - b'a' + 26,
        b'0'..=b'9' => byte - b'0' + 52,
        b'+' => 62,
        _ => 63,
    };
    let text = text.as_str().expect("base64").trim_end_matches('=').as_bytes();
    let groups = text.chunks(4).flat_map(|group| {
        let bits = group.iter().fold(0u32, |bits, byte| bits << 6 | u32::from(digit(*byte)));
        let bits = bits << (6 * (4 - group.len()));
        bits.to_be_bytes()[1..group.len()].to_vec()
    });
    groups.collect()
}

/// Sends all texts to both addresses of the source, and says from where.
fn send_all(agent: &Agent, texts: &[Vec<u8>]) -> Vec<(SocketAddr, SocketAddr)> {
    let port = agent.udp("net").port();
    let mut ways = Vec::new();
    for (from, to) in [("127.0.0.1:0", "127.0.0.3"), ("[::1]:0", "::1")] {
        let to = SocketAddr::new(to.parse().expect("an address"), port);
        let socket = UdpSocket::bind(from).expect("a port");
        for text in texts {
            assert_eq!(socket.send_to(text, to).expect("it is sent"), text.len());
        }
        ways.push((socket.local_addr().expect("bound"), to));
    }
    ways
}

fn now_ns() -> i128 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).expect("after 1970");
    i128::try_from(since.as_nanos()).expect("in range")
}

fn time_ns(value: &Value) -> i128 {
    let time = value["time"].as_str().expect("a time");
    time.parse::<jiff::Timestamp>().expect("RFC 3339").as_nanosecond()
}

#[test]
fn datagrams_come_back_with_every_byte_their_time_and_addresses() {
    for (codec, rows) in
        [("zstd", "listen = 'udp://[::]:0'"), ("gzip", "listen = 'udp://[::]:0'\ngro = true")]
    {
        let rows = CONFIGURATION.replace("{rows}", rows).replace("{codec}", codec);
        let (texts, before) = (texts(), now_ns());
        let agent = Agent::start(&rows);
        let ways = send_all(&agent, &texts);
        agent.wait_for(2 * texts.len() as u64);
        let after = now_ns();
        let ended = agent.stop().well();
        let suffix = if codec == "zstd" { "zst" } else { "gz" };
        let file = ended.dir.path().join(format!("traffic.rec.{suffix}"));

        let all = objects(&stdout(&["cat", "--json"], &file));
        for (peer, local) in ways {
            let name = peer.to_string();
            let own: Vec<&Value> = all.iter().filter(|one| one["peer"] == name).collect();
            let bytes: Vec<Vec<u8>> = own.iter().map(|it| decode(&it["message_base64"])).collect();
            assert!(bytes == texts, "{codec} {name}: {} of {}", bytes.len(), texts.len());
            assert!(own.iter().all(|one| one["local"] == local.to_string()), "{:?}", own[0]);
            assert!(own.iter().all(|one| one["time_of"] == "event"));
            let times: Vec<i128> = own.iter().map(|one| time_ns(one)).collect();
            assert!(times.is_sorted() && times[0] >= before && times[texts.len() - 1] <= after);
            assert!(times.windows(2).filter(|pair| pair[0] < pair[1]).count() > 20, "{times:?}");
        }
        assert_eq!(all.len(), 2 * texts.len());
        read_back(&file, &texts);
    }
}

/// By every command that reads archives.
fn read_back(file: &Path, texts: &[Vec<u8>]) {
    let exact: Vec<u8> = texts.iter().flat_map(|text| [text, &b"\n"[..]].concat()).collect();
    let doubled = [&exact[..], &exact[..]].concat();
    assert!(stdout(&["cat"], file) == doubled);
    let pipe = std::fs::File::open(file).expect("it is there");
    let piped = flumen().args(["cat", "-"]).stdin(Stdio::from(pipe)).output().expect("it runs");
    assert!(piped.stdout == doubled, "from a pipe, too");
    assert!(
        stdout(&["tail", "-n", "2"], file) == {
            let last = &texts[texts.len() - 2..];
            last.iter().flat_map(|text| [text, &b"\n"[..]].concat()).collect::<Vec<u8>>()
        }
    );
    assert_eq!(stdout(&["grep", "-c", "failed"], file), b"2\n");
    assert_eq!(objects(&stdout(&["grep", "--json", "--host", "127.0.0.1", ""], file)).len(), 205);
    let verified = stdout(&["verify"], file);
    let said = String::from_utf8_lossy(&verified);
    assert!(said.contains("412 events") && said.contains("all is well"), "{said}");
    assert!(String::from_utf8_lossy(&stdout(&["inspect"], file)).contains("datagram"));
    let stats = objects(&stdout(&["stats", "--json"], file)).remove(0);
    assert_eq!(stats["events"], 412);
    let hosts = stats["hosts"].as_array().expect("hosts");
    assert!(hosts.iter().any(|host| host["host"] == "::1" && host["events"] == 205), "{hosts:?}");
}

#[test]
fn a_blast_is_audited_from_records_and_survives_a_kill() {
    let rows = "listen = 'udp://127.0.0.1:0'\nthreads = 2";
    let agent = Agent::start(&CONFIGURATION.replace("{rows}", rows).replace("{codec}", "lz4"));
    let target = format!("udp://{}", agent.udp("net"));
    let manifest = agent.dir.path().join("run.json");
    let mut blast = flumen();
    blast.args(["blast", &target, "--rate", "20k", "--count", "5000", "--manifest"]);
    assert!(blast.arg(&manifest).output().expect("it runs").status.success());
    agent.wait("all is written", |ledger| written(ledger) == 5000);
    let dir = agent.kill();
    let cut = flumen().arg("repair").arg(dir.path()).output().expect("it runs");
    assert!(cut.status.success(), "{cut:?}");
    let audit = flumen().args(["audit", "--manifest"]).arg(&manifest).arg(dir.path()).output();
    let audit = audit.expect("it runs");
    assert!(audit.status.success(), "{}", String::from_utf8_lossy(&audit.stdout));
}

#[test]
fn what_brings_no_datagrams_is_refused_before_it_starts() {
    for (rows, told) in [
        ("type = 'tcp'\nlisten = 'tcp://127.0.0.1:0'", "brings no datagrams with addresses"),
        (
            "type = 'syslog'\nlisten = ['udp://127.0.0.1:0', 'tcp://127.0.0.1:0']",
            "brings no datagrams with addresses",
        ),
        ("type = 'udp'\nlisten = 'udp://127.0.0.1:0'\nevent_max = '9000B'", "would be split"),
        ("type = 'stdin'", "it does not receive datagrams"),
    ] {
        let configuration = CONFIGURATION.replace("type    = \"udp\"\n{rows}", rows);
        let dir = TempDir::new().expect("a folder");
        let (code, said) = refused(&dir, &configuration.replace("{codec}", "zstd"));
        assert!(code == Some(2) && said.contains(told), "{rows}: {code:?} {said}");
    }
}
