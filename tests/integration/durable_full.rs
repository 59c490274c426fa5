//! The disk of a durable channel is full while its sinks are down: `scripts/disk-full 60` keeps it
//! so for a minute. Senders wait, nothing that was accepted is lost, and nothing is accepted that
//! finds no room. Then the sink is up: delivery goes on though the disk has no room, and makes
//! some; and when there is room for all, everything flows again.

use crate::harness::{
    Agent, Down, LINES, RELP_SYNCED, agent, flumen, from_environment, paths, sum, until_nearer,
};
use crate::numbered::{Senders, assert_all};
use crate::small_disk::Disk;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

const CONNECTIONS: usize = 2;

const LOG_TO_NEXT: &str = r#"
[channels.main]
type     = "file"
path     = "{disk}/log"
capacity = "1GiB"
segment  = "2MiB"
memory   = "4MiB"
reserve  = "{reserve}"

[sinks.next]
type        = "syslog"
channel     = "main"
targets     = "tcp://{next}"
backoff_max = "500ms"
"#;

/// The next hop is up: everything that comes over one connection is written to the file.
fn receive(next: Down, file: PathBuf) -> JoinHandle<()> {
    let listener = next.up();
    std::thread::spawn(move || {
        let mut file = File::create(file).expect("a file");
        let (mut stream, _) = listener.accept().expect("the agent tries again");
        std::io::copy(&mut stream, &mut file).expect("until it hangs up");
    })
}

/// `flumen blast` over RELP until it is stopped; it writes down what was acknowledged.
fn blast(agent: &Agent, manifest: &Path) -> Child {
    let mut command = flumen();
    command.arg("blast").arg(format!("relp://{}", agent.relp("relp")));
    command.args(["--window", "200", "--manifest"]).arg(manifest);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command.spawn().expect("the binary starts")
}

fn put(ledger: &Value) -> u64 {
    sum(&ledger["channels"], "put_events")
}

/// How often the channel has met a disk that it cannot write to.
fn tries(agent: &Agent) -> u64 {
    let told: Value = serde_json::from_str(&agent.page("/incidents").1).expect("JSON");
    let list = told["incidents"].as_array().expect("a list");
    let own = list.iter().filter(|one| one["component"] == "channel main");
    own.map(|one| one["times"].as_u64().expect("a count")).sum()
}

/// Takes all the room that is left on the disk.
fn fill(path: &Path) {
    let mut file = File::create(path).expect("a name is to be had");
    while file.write_all(&[0; 4096]).is_ok() {}
}

fn full_disk(reserve: &str) {
    let Some(disk) = Disk::of("24m") else { return };
    let next = Down::new();
    let own = LOG_TO_NEXT.replace("{reserve}", reserve);
    let own = own.replace("{next}", &next.address.to_string());
    let configuration = [&agent("64MiB", "drain = \"60s\""), RELP_SYNCED, LINES, &own].concat();
    let started = Instant::now();
    let agent = disk.start(&configuration);
    let manifest = agent.dir.path().join("sent.json");
    let mut blast = blast(&agent, &manifest);
    let senders = Senders::tcp(agent.tcp("net"), CONNECTIONS);

    // Full: whatever the reserve left is taken by somebody else, too.
    let said = agent.wait_ready(503);
    assert!(said.contains("channel main") || said.contains("sink next"), "{said}");
    let accepted = agent.wait_still("events put to the channel", put);
    let filler = disk.path().join("filler");
    fill(&filler);
    // It tries in vain, again and again; a script wants it to do so for longer.
    let full = Duration::from_secs(from_environment("FLUMEN_FULL_SECONDS", 0));
    let (began, before) = (Instant::now(), tries(&agent));
    agent.wait("it tries to write", |ledger| {
        assert_eq!(put(ledger), accepted, "accepted, and there is no room");
        tries(&agent) >= before + 5
    });
    while began.elapsed() < full {
        std::thread::sleep(Duration::from_millis(100));
        assert_eq!(put(&agent.ledger()), accepted, "accepted, and there is no room");
    }
    assert!(agent.page("/readyz").1.contains("channel main"), "{:?}", agent.page("/readyz"));
    assert!(blast.try_wait().expect("our own child").is_none(), "its sender was turned away");
    let ledger = agent.ledger();
    assert_eq!((sum(&ledger["sinks"], "written_events"), lost(&ledger)), (0, 0));

    // The sink is up, and the disk is as full as before.
    let received = agent.dir.path().join("received.log");
    let receiver = receive(next, received.clone());
    agent.wait("what was accepted is delivered", |ledger| {
        sum(&ledger["sinks"], "written_events") >= accepted
    });
    // Room for everybody.
    std::fs::remove_file(&filler).expect("it is ours");
    agent.wait("it accepts again", |ledger| put(ledger) > accepted + 20_000);
    agent.wait_ready(200);
    let id = i32::try_from(blast.id()).ok().and_then(Pid::from_raw).expect("a process id");
    kill_process(id, Signal::INT).expect("it runs");
    let sent = senders.stop();
    assert!(blast.wait().expect("our own child").success(), "everything was acknowledged");
    let lines: u64 = sent.iter().sum();
    let drained = until_nearer(|| {
        let waiting = sum(&agent.ledger()["channels"], "waiting_events");
        let taken = source_events(&agent, "net");
        (waiting == 0 && taken >= lines, waiting + taken)
    });
    assert!(drained, "it does not drain: {:#}", agent.ledger());
    assert_eq!(lost(&agent.ledger()), 0);
    let ended = agent.stop().well();
    receiver.join().expect("the agent has hung up");

    assert_received(&received, &manifest, &sent);
    // Not at each try, nor for each segment that finds room: between two are ten calm seconds.
    let told = ended.log.lines().filter(|line| line.contains("ERROR channel main")).count() as u64;
    let most = 1 + started.elapsed().as_secs() / 10;
    assert!((1..=most).contains(&told), "told {told} times:\n{}", ended.log);
    let over = ended.log.lines().filter(|line| line.contains("channel main: recovered after"));
    assert_eq!(over.count() as u64, told, "{}", ended.log);
    assert!(paths(&disk.path(), ".bad").is_empty(), "{}", ended.log);
}

/// Acknowledged or taken from a connection: there, once.
#[track_caller]
fn assert_received(received: &Path, manifest: &Path, sent: &[u64]) {
    let mut audit = flumen();
    let output = audit.args(["audit", "--manifest"]).args([manifest, received]).output();
    let output = output.expect("it runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
    let text = String::from_utf8(std::fs::read(received).expect("a file")).expect("UTF-8");
    let own = |text: &&str| text.rsplit(' ').next().is_some_and(|noise| noise.len() == 128);
    let lines: Vec<String> = text.lines().filter(own).map(str::to_owned).collect();
    assert_all(&lines, sent);
}

fn lost(ledger: &Value) -> u64 {
    ledger["lost_events"].as_u64().expect("a count")
}

fn source_events(agent: &Agent, name: &str) -> u64 {
    let ledger = agent.ledger();
    let sources = ledger["sources"].as_array().expect("a list");
    let own = sources.iter().filter(|source| source["name"] == name);
    own.map(|source| source["received_events"].as_u64().expect("a count")).sum()
}

#[test]
fn a_full_disk_refuses_what_it_has_no_room_for() {
    full_disk("0");
}

#[test]
fn a_reserve_keeps_some_of_it_for_others() {
    full_disk("4MiB");
}
