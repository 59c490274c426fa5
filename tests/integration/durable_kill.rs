//! `kill -9` at random moments under load, several sources and sinks at a channel on the disk.
//! `scripts/kill-nine 200` does it two hundred times.
//!
//! A RELP sender writes down what it was told is synced: none of that may be missing at the end.
//! Lines over TCP are numbered: kill or not, what the log has taken from a connection is its
//! beginning without a gap; of `spill`, whose memory a kill takes, only what nobody was told of may
//! be missing. Twice may come what had not been marked as delivered when the kill came; what a life
//! delivers that ends well comes once.
//!
//! Each folder has a channel of its own manner, plain, compressed, encrypted, with a new key in
//! each life.

use crate::harness::{
    Agent, LINES, RELP_SYNCED, agent, flumen, from_environment, lines_of, sum, write_configuration,
};
use crate::numbered::{Senders, line, number};
use serde_json::Value;
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;
use tempfile::TempDir;

/// So many lives in one folder, the last of which ends well.
const LIVES: u64 = 5;
/// TCP connections to each of the two sources, in each life.
const CONNECTIONS: usize = 2;

const LOG_TO_FILES: &str = r#"
[channels.main]
{manner}
path     = ["{dir}/log-a", "{dir}/log-b"]
capacity = "64MiB"
segment  = "2MiB"
memory   = "4MiB"
reserve  = "0"

[sinks.packed]
type    = "file"
channel = "main"
path    = "{dir}/packed/out.log"
codec   = "zstd"
block   = { bytes = "64KiB", age = "50ms" }
roll    = { bytes = "1MiB" }
sync    = "100ms"

[sinks.plain]
type    = "file"
channel = "main"
path    = "{dir}/plain/out.log"
codec   = "none"
roll    = { bytes = "4MiB" }
sync    = "block"
"#;

/// A source that acknowledges and two that do not.
fn configuration(manner: &str) -> String {
    let one = LINES.replace("sources.net", "sources.one");
    let two = LINES.replace("sources.net", "sources.two") + "threads = 2\n";
    let log = LOG_TO_FILES.replace("{manner}", manner);
    [&agent("64MiB", "drain = \"60s\""), RELP_SYNCED, &one, &two, &log].concat()
}

/// How the channel is: each folder has the next one.
const MANNERS: [&str; 6] = [
    r#"type = "file""#,
    "type = \"spill\"\ncodec = \"lz4\"",
    "type = \"file\"\nsync = \"batch\"\ncodec = \"lz4\"\nencryption = { keys = \"{dir}/keys\" }",
    "type = \"spill\"\nsync = \"batch\"\nencryption = { keys = \"{dir}/keys\" }",
    "type = \"file\"\nencryption = { keys = \"{dir}/keys\", cipher = \"chacha20-poly1305\" }",
    r#"type = "spill""#,
];

/// One more key: this life writes with it, and reads with those before.
fn add_key(dir: &TempDir, life: u64) {
    let path = dir.path().join("keys");
    let mut keys = std::fs::read_to_string(&path).unwrap_or_default();
    keys.push_str(&format!("{} {}\n", life + 1, format!("{:02x}", 0xA0 + life).repeat(32)));
    std::fs::write(path, keys).expect("a file");
}

/// What waits in the log of an agent that was killed.
fn waiting(dir: &TempDir) -> u64 {
    let mut command = flumen();
    command.args(["channel", "stats", "--json"]);
    let output = command.args(["log-a", "log-b"].map(|log| dir.path().join(log))).output();
    let output = output.expect("it runs");
    let stats: Value = serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|error| panic!("{error}: {output:?}"));
    stats["waiting_events"].as_u64().expect("a count")
}

/// `flumen blast` over RELP until it is stopped, or hung up on; it writes down what it was told.
fn blast(agent: &Agent, manifest: &Path) -> Child {
    let mut command = flumen();
    command.arg("blast").arg(format!("relp://{}", agent.relp("relp")));
    command.args(["--connections", "2", "--window", "1000", "--rate", "20k", "--manifest"]);
    command.arg(manifest).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command.spawn().expect("the binary starts")
}

fn random(state: &mut u64, below: u64) -> u64 {
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    *state % below
}

/// One life under load; killed after so long, or stopped well. What the last one sent over TCP.
fn live(
    dir: TempDir,
    configuration: &str,
    life: u64,
    killed_after: Option<Duration>,
) -> (TempDir, Vec<u64>) {
    let manifest = manifest(&dir, life);
    add_key(&dir, life);
    let agent = Agent::start_in(dir, configuration);
    let mut blast = blast(&agent, &manifest);
    let first = life as usize * 2 * CONNECTIONS;
    let one = Senders::tcp_from(agent.tcp("one"), first, CONNECTIONS);
    let two = Senders::tcp_from(agent.tcp("two"), first + CONNECTIONS, CONNECTIONS);
    let received = |ledger: &Value| {
        let sources = ledger["sources"].as_array().expect("a list");
        sources.iter().all(|source| source["received_events"].as_u64() > Some(500))
    };
    agent.wait("every source has something", received);
    let stop = |senders: [Senders; 2]| senders.into_iter().flat_map(Senders::stop).collect();
    let Some(after) = killed_after else {
        let sent = stop([one, two]);
        let id = i32::try_from(blast.id()).expect("a process id");
        let id = rustix::process::Pid::from_raw(id).expect("not zero");
        rustix::process::kill_process(id, rustix::process::Signal::INT).expect("it runs");
        assert!(blast.wait().expect("our own child").success(), "everything was acknowledged");
        let drained = |ledger: &Value| sum(&ledger["channels"], "waiting_events") == 0;
        agent.wait("nothing waits any more", drained);
        return (agent.stop().well().dir, sent);
    };
    std::thread::sleep(after);
    let dir = agent.kill();
    let sent = stop([one, two]);
    blast.wait().expect("our own child");
    (dir, sent)
}

fn manifest(dir: &TempDir, life: u64) -> PathBuf {
    dir.path().join(format!("sent-{life}.json"))
}

/// Starts, and is killed on its way.
fn killed_at_start(dir: &TempDir, configuration: &str, after: Duration) {
    let file = write_configuration(dir, configuration);
    let mut command = flumen();
    command.arg("run").arg(file).stdin(Stdio::null()).stderr(Stdio::null());
    let mut child = command.spawn().expect("the binary starts");
    std::thread::sleep(after);
    child.kill().expect("it runs");
    child.wait().expect("our own child");
}

/// What was acknowledged in a life is there: how many events, and how many of them twice.
fn audit(dir: &TempDir, life: u64) -> (u64, u64) {
    let mut command = flumen();
    command.args(["audit", "--json", "--manifest"]).arg(manifest(dir, life));
    command.args(["packed", "plain"].map(|name| dir.path().join(name)));
    let output = command.output().expect("it runs");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    let verdict: Value =
        serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{said}"));
    for count in ["lost", "corrupted", "unreadable", "unsent"] {
        assert_eq!(verdict[count], 0, "{count} of life {life}: {verdict:#}");
    }
    let count = |name: &str| verdict[name].as_u64().expect("a count");
    assert_eq!(count("found"), count("sent"), "{verdict:#}");
    (count("found"), count("duplicated"))
}

/// Of each connection its beginning, without a gap; of those that were left to end, all they sent,
/// once. How many lines, and how many of them more than once.
///
/// What only memory had when the kill came makes gaps in what is not `whole`.
fn check_lines(dir: &TempDir, last: u64, sent: &[u64], whole: bool) -> (u64, u64) {
    let mut seen: HashMap<usize, Vec<u8>> = HashMap::new();
    let (mut lines, mut doubled) = (0, 0);
    for folder in ["packed", "plain"] {
        for path in crate::harness::paths(&dir.path().join(folder), "") {
            if path.extension().is_some_and(|suffix| suffix == "bad") {
                let torn = folder == "packed" && is_torn(&path);
                assert!(torn, "{} was set aside, and is whole", path.display());
                continue;
            }
            for text in lines_of(&path).iter().filter(|text| is_numbered(text)) {
                let (sender, count) = number(text);
                let counts = seen.entry(sender).or_default();
                let at = usize::try_from(count).expect("a small number");
                counts.resize(counts.len().max(at + 1), 0);
                doubled += u64::from(counts[at] > 0);
                counts[at] = counts[at].saturating_add(1);
                lines += 1;
            }
        }
    }
    let first = last as usize * 2 * CONNECTIONS;
    for (sender, counts) in seen.iter().filter(|(sender, _)| whole || **sender >= first) {
        let gap = counts.iter().position(|times| *times == 0);
        assert_eq!(gap, None, "a line of sender {sender} is missing, of {}", counts.len());
    }
    for (at, count) in sent.iter().enumerate() {
        let counts = seen.get(&(first + at)).map_or(&[][..], Vec::as_slice);
        assert_eq!(counts.len() as u64, *count, "sender {at} of the last life");
        assert!(counts.iter().all(|times| *times == 1), "doubled without a crash");
    }
    (lines, doubled)
}

/// A kill came while the first block of this file was written: nobody was told of it.
fn is_torn(path: &Path) -> bool {
    let mut zstd = Command::new("zstd");
    zstd.args(["--test", "--quiet"]).stdin(std::fs::File::open(path).expect("a file"));
    !zstd.stderr(Stdio::null()).status().expect("zstd runs").success()
}

fn is_numbered(text: &str) -> bool {
    let noise = text.rsplit(' ').next().unwrap_or_default();
    noise.len() == line(0, 0).rsplit(' ').next().map_or(0, str::len)
}

#[test]
fn killed_again_and_again_it_keeps_what_it_promised() {
    let kills = from_environment("FLUMEN_KILLS", 4);
    let mut state = u64::from(std::process::id()) << 16 | 1;
    let (mut acknowledged, mut doubled, mut lines, mut killed, mut waited) = (0, 0, 0, 0, 0);
    // Few kills are of any manner, many of all.
    let mut folder = random(&mut state, MANNERS.len() as u64) as usize;
    while killed < kills {
        let manner = MANNERS[folder % MANNERS.len()];
        let configuration = configuration(manner);
        let mut dir = TempDir::new().expect("a folder");
        let last = (LIVES - 1).min(kills - killed);
        for life in 0..last {
            let after = Duration::from_micros(random(&mut state, 400_000));
            (dir, _) = live(dir, &configuration, life, Some(after));
            waited += waiting(&dir);
            if random(&mut state, 3) == 0 {
                let after = Duration::from_micros(random(&mut state, 60_000));
                killed_at_start(&dir, &configuration, after);
            }
        }
        let sent;
        (dir, sent) = live(dir, &configuration, last, None);
        for life in 0..=last {
            let (found, twice) = audit(&dir, life);
            assert!(life < last || (found > 0 && twice == 0), "{twice} doubled without a crash");
            (acknowledged, doubled) = (acknowledged + found, doubled + twice);
        }
        let whole = !manner.contains("spill");
        let (count, twice) = check_lines(&dir, last, &sent, whole);
        (lines, doubled) = (lines + count, doubled + twice);
        (killed, folder) = (killed + last, folder + 1);
        println!(
            "{killed} kills: {acknowledged} acknowledged events and {lines} lines over TCP, none \
             missing; {waited} waited in logs, {doubled} came more than once ({})",
            manner.replace('\n', ", ")
        );
    }
}
