//! rsyslogd sending with omrelp, told only what is on the disk.
//!
//! Killed in mid-stream, again and again, and started on the same folder and port: what rsyslogd
//! was told is kept it has forgotten, and everything else it sends again. So at the end every line
//! is there, and no more lines are double than its window holds at each kill, and its batch.

use crate::harness::{Agent, Ended, flumen, from_environment, paths, sum, until_nearer, written};
use crate::peers::{Running, assert_texts, peer, rsyslogd, run, texts, write_lines};
use std::collections::BTreeMap;
use std::io::Write;
use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tempfile::TempDir;

const COUNT: usize = 20_000;
/// librelp's.
const WINDOW: u64 = 128;
/// When a session breaks, rsyslogd hands the whole batch of its queue over again, acknowledged or
/// not: a small one, so that it does not hide what we do.
const BATCH: u64 = 8;

const TO_FILE: &str = r#"
[sources.net]
type    = "syslog"
listen  = "relp://{listen}"

[sinks.archive]
type    = "file"
path    = "{dir}/{path}"
codec   = "zstd"
"#;

/// rsyslogd follows `{dir}/texts` and sends each line; it never gives up.
const SEND: &str = r#"
global(workDirectory="{dir}" net.enableDNS="off")
main_queue(queue.type="LinkedList" queue.dequeueBatchSize="8")
module(load="imfile")
module(load="omrelp")
input(type="imfile" File="{dir}/texts" Tag="flumen-test:" Severity="info" Facility="local4")
action(type="omrelp" target="127.0.0.1" port="{port}" timeout="5"
       action.resumeRetryCount="-1" action.resumeInterval="1")
"#;

/// Ten hosts, by the last digit of the text.
const HOSTS: &str = r#"
template(name="hosts" type="string"
         string="<%pri%>%timereported% host%msg:R,ERE,1,BLANK:([0-9])$--end% %syslogtag%%msg%")
"#;

const ONE_FILE: &str = "out.log";
const FILE_A_HOST: &str = "out/%{host}.log";

fn start(dir: TempDir, listen: SocketAddr, path: &str) -> Agent {
    Agent::start_in(dir, &TO_FILE.replace("{listen}", &listen.to_string()).replace("{path}", path))
}

fn sender(rsyslogd: &Path, folder: &Path, to: SocketAddr, path: &str) -> Running {
    let text = match path {
        ONE_FILE => SEND.to_owned(),
        _ => HOSTS.to_owned() + &SEND.replace("port=", "template=\"hosts\" port="),
    };
    let configuration = text
        .replace("{dir}", folder.to_str().expect("UTF-8"))
        .replace("{port}", &to.port().to_string());
    let file = folder.join("rsyslog.conf");
    std::fs::write(&file, configuration).expect("written");
    Running::start(Command::new(rsyslogd).args(["-n", "-iNONE", "-f"]).arg(&file))
}

fn synced(ledger: &serde_json::Value) -> u64 {
    sum(&ledger["sinks"], "synced_events")
}

#[test]
fn omrelp_to_zstd() {
    let Some(rsyslogd) = rsyslogd() else { return };
    let Some(_) = peer("zstd") else { return };
    let any = SocketAddr::from(([127, 0, 0, 1], 0));
    let agent = start(TempDir::new().expect("a folder"), any, ONE_FILE);
    let folder = TempDir::new().expect("a folder");
    let texts = texts(COUNT);
    write_lines(&folder.path().join("texts"), &texts);
    let sender = sender(&rsyslogd, folder.path(), agent.relp("net"), ONE_FILE);
    let ledger = agent.wait("all is synced", |ledger| synced(ledger) == COUNT as u64);
    assert_eq!((sum(&ledger["sources"], "received_events"), written(&ledger)), (20_000, 20_000));
    // It is told so at once, and has nothing left to send when it ends.
    sender.finish();
    let ended = agent.stop().well();
    assert_texts(&ended.lines("out.log.zst"), &texts);
}

/// The load generator waits for its answers: what it says was sent is synced when it ends.
#[test]
fn blast_counts_what_is_synced() {
    let any = SocketAddr::from(([127, 0, 0, 1], 0));
    let agent = start(TempDir::new().expect("a folder"), any, ONE_FILE);
    let manifest = agent.dir.path().join("sent.json");
    let mut blast = flumen();
    blast.arg("blast").arg(format!("relp://{}", agent.relp("net")));
    blast.args(["--count", "20k", "--connections", "2", "--window", "1000"]);
    let said = run(blast.arg("--manifest").arg(&manifest));
    assert!(said.starts_with("sent 20000 events") && !said.contains("note"), "{said}");
    assert_eq!(synced(&agent.ledger()), COUNT as u64);
    let ended = agent.stop().well();
    run(flumen().args(["audit", "--manifest"]).arg(&manifest).arg(ended.dir.path()));
}

/// Appends numbered lines until it is told to stop; then says how many there are.
fn write_on(path: &Path, stop: &Arc<AtomicBool>) -> std::thread::JoinHandle<u64> {
    let mut file = std::fs::File::create(path).expect("created");
    let stop = Arc::clone(stop);
    std::thread::spawn(move || {
        let mut next = 0;
        while !stop.load(Ordering::Relaxed) {
            let lines: String = (next..next + 200)
                .map(|n| format!("a line of some length, number {n}\n"))
                .collect();
            file.write_all(lines.as_bytes()).expect("written");
            next += 200;
            // Thousands a second are enough: some disks take their time for each acknowledgement.
            std::thread::sleep(Duration::from_millis(30));
        }
        writeln!(file, "a line of some length, number {next}").expect("written");
        next + 1
    })
}

/// How often each number is in the archive.
fn found(folder: &Path) -> BTreeMap<u64, u64> {
    let files = paths(folder, "").into_iter();
    let files = files.filter(|path| path.to_string_lossy().contains("/out"));
    let output = flumen().arg("cat").args(files).output().expect("it runs");
    let text = String::from_utf8(output.stdout).expect("UTF-8");
    let mut found = BTreeMap::new();
    for line in text.lines() {
        let number = line.rsplit(' ').next().and_then(|word| word.parse().ok());
        *found.entry(number.unwrap_or_else(|| panic!("{line:?}"))).or_default() += 1;
    }
    found
}

#[test]
fn killed_in_mid_stream() {
    killed(ONE_FILE);
}

/// A batch goes to ten files, and is acknowledged when it is in all of them.
#[test]
fn killed_in_mid_stream_with_a_file_a_host() {
    let Some(ended) = killed(FILE_A_HOST) else { return };
    let hosts = std::fs::read_dir(ended.dir.path().join("out")).expect("it is there");
    let name = |entry: std::io::Result<std::fs::DirEntry>| entry.expect("an entry").file_name();
    let hosts: Vec<String> = hosts.map(|it| name(it).into_string().expect("UTF-8")).collect();
    for digit in 0..10 {
        assert!(hosts.iter().any(|name| name.starts_with(&format!("host{digit}."))), "{hosts:?}");
    }
}

fn killed(path: &str) -> Option<Ended> {
    let rsyslogd = rsyslogd()?;
    let kills = from_environment("FLUMEN_KILLS", 3);
    let mut agent = start(TempDir::new().expect("a folder"), ([127, 0, 0, 1], 0).into(), path);
    let to = agent.relp("net");
    let folder = TempDir::new().expect("a folder");
    let stop = Arc::new(AtomicBool::new(false));
    let writer = write_on(&folder.path().join("texts"), &stop);
    let sender = sender(&rsyslogd, folder.path(), to, path);
    for kill in 0..kills {
        agent.wait("something is synced", |ledger| synced(ledger) > 0);
        std::thread::sleep(Duration::from_millis(kill * 37 % 200));
        agent = start(agent.kill(), to, path);
    }
    stop.store(true, Ordering::Relaxed);
    let count = writer.join().expect("it writes");
    let all = until_nearer(|| {
        let found = found(agent.dir.path());
        (found.contains_key(&(count - 1)), found.len() as u64)
    });
    assert!(all, "the last line has not arrived: {}", agent.log());
    sender.finish();
    let ended = agent.stop().well();
    let found = found(ended.dir.path());
    let missing: Vec<u64> = (0..count).filter(|number| !found.contains_key(number)).collect();
    assert!(missing.is_empty(), "{} of {count} are missing: {missing:?}", missing.len());
    let doubled: u64 = found.values().map(|times| times - 1).sum();
    println!("{kills} kills, {count} lines, {doubled} of them double");
    let most = kills * (WINDOW + BATCH);
    assert!(doubled <= most, "{doubled} are double after {kills} kills");
    Some(ended)
}
