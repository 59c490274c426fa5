//! The durable channel: what was accepted is delivered, by the next agent if need be.

use crate::harness::{
    Agent, DEADLINE, Down, Ended, LINES, RELP_SYNCED, agent, flumen, lines_of, nobody, paths,
    refused, sum,
};
use rustix::process::Signal;
use serde_json::Value;
use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Command, Output};
use tempfile::TempDir;

const COUNT: usize = 20_000;

const LOG: &str = r#"
[channels.main]
type     = "file"
path     = "{dir}/log"
capacity = "24MiB"
segment  = "2MiB"
memory   = "{memory}"
reserve  = "0"
"#;

/// From this source into a log with so much memory, and to this sink; so long a stop waits for it.
fn through_log(source: &str, memory: &str, drain: &str, sink: &str) -> String {
    let agent = agent("64MiB", &format!("drain = \"{drain}\""));
    let log = LOG.replace("{memory}", memory);
    [&agent, source, &log, "[sinks.out]\nchannel = \"main\"\n", sink].concat()
}

/// Lines to a next hop, which is down.
fn to(next: SocketAddr, memory: &str) -> String {
    let sink = format!("type = \"syslog\"\ntargets = [\"tcp://{next}\"]\n");
    through_log(LINES, memory, "300ms", &sink)
}

fn to_nobody(memory: &str) -> String {
    to(nobody(), memory)
}

fn to_file() -> String {
    let sink = "type = \"file\"\npath = \"{dir}/out.log\"\ncodec = \"zstd\"\n";
    through_log(LINES, "16MiB", "20s", sink)
}

fn line(number: usize) -> String {
    format!("line {number} of a message that is about as long as most of them are, {number:08}")
}

fn send(to: SocketAddr, lines: std::ops::Range<usize>) {
    let text: String = lines.map(|number| line(number) + "\n").collect();
    TcpStream::connect(to).unwrap().write_all(text.as_bytes()).unwrap();
}

fn put(ledger: &Value) -> u64 {
    sum(&ledger["channels"], "put_events")
}

fn channel(what: &str, dir: &TempDir, more: &[&str]) -> Output {
    let mut command = flumen();
    command.args(["channel", what]).args(more).arg(dir.path().join("log"));
    command.output().expect("it runs")
}

fn waiting(dir: &TempDir) -> u64 {
    let output = channel("stats", dir, &["--json"]);
    let stats = serde_json::from_slice(&output.stdout);
    let stats: Value = stats.unwrap_or_else(|error| panic!("{error}: {output:?}"));
    stats["waiting_events"].as_u64().expect("a count")
}

/// Everything is in the file, in order, and nothing waits any more.
#[track_caller]
fn delivered(ended: &Ended, count: usize) {
    let lines = ended.lines("out.log.zst");
    assert_eq!(lines.len(), count);
    // Of a sender that was cut off the last line may be the front of one.
    let same = |(number, text): (usize, &String)| {
        *text == line(number) || number + 1 == count && line(number).starts_with(text)
    };
    let other = lines.iter().enumerate().find(|it| !same(*it));
    assert_eq!(other, None, "in the place of another");
    assert_eq!(waiting(&ended.dir), 0);
}

#[test]
fn what_a_stopped_agent_leaves_the_next_one_delivers() {
    // Little memory: most of it is read back.
    for memory in ["2MiB", "16MiB"] {
        let agent = Agent::start(&to_nobody(memory));
        send(agent.tcp("net"), 0..COUNT);
        agent.wait("all is put", |ledger| put(ledger) == COUNT as u64);
        let ended = agent.stop().well();
        let said = format!("{COUNT} events stay in durable channels");
        assert!(ended.log.contains(&said), "{}", ended.log);
        assert_eq!(waiting(&ended.dir), COUNT as u64);
        let exported = String::from_utf8(channel("export", &ended.dir, &[]).stdout).unwrap();
        assert!(exported.lines().enumerate().all(|(number, text)| text == line(number)));
        assert_eq!(exported.lines().count(), COUNT);
        let agent = Agent::start_in(ended.dir, &to_file());
        let ledger = agent.wait_for(COUNT as u64);
        assert_eq!(sum(&ledger["channels"], "recovered_events"), COUNT as u64);
        send(agent.tcp("net"), COUNT..COUNT + 100);
        agent.wait_for(COUNT as u64 + 100);
        delivered(&agent.stop().well(), COUNT + 100);
    }
}

#[test]
fn killed_it_keeps_what_it_had_written() {
    let mut agent = Agent::start(&to_nobody("4MiB"));
    for life in 0..3 {
        let from = life * 3000;
        send(agent.tcp("net"), from..from + 3000);
        // Some of it may still be on its way to the log when the kill comes: it is asked what is.
        agent.wait("all is put", |ledger| put(ledger) == 3000);
        let all = |agent: &Agent| waiting(&agent.dir) == (from + 3000) as u64;
        assert!(crate::harness::until(|| all(&agent)), "it is written");
        let configuration = if life < 2 { to_nobody("4MiB") } else { to_file() };
        agent = Agent::start_in(agent.kill(), &configuration);
    }
    agent.wait_for(9000);
    delivered(&agent.stop().well(), 9000);
}

#[test]
fn a_full_log_makes_senders_wait_and_loses_nothing() {
    let agent = Agent::start(&to_nobody("2MiB"));
    let to = agent.tcp("net");
    // More than the log may take: 400,000 lines are 34 MB.
    let sender = std::thread::spawn(move || {
        let mut stream = TcpStream::connect(to).unwrap();
        let mut sent = 0;
        for first in (0..400_000).step_by(1000) {
            let text: String = (first..first + 1000).map(|number| line(number) + "\n").collect();
            match stream.write_all(text.as_bytes()) {
                Ok(()) => sent = first + 1000,
                Err(_) => break,
            }
        }
        sent
    });
    agent.wait_still("events put to the channel", put);
    let bytes: u64 = paths(&agent.dir.path().join("log"), "")
        .iter()
        .map(|path| std::fs::metadata(path).unwrap().len())
        .sum();
    assert!(bytes <= 24 << 20, "{bytes} bytes are more than its capacity");
    let ended = agent.stop();
    assert!(ended.status.success(), "{}", ended.log);
    let sent = sender.join().unwrap();
    let kept = waiting(&ended.dir) as usize;
    assert!(sent < 400_000 && kept >= 100_000, "{sent} sent, {kept} kept");
    let agent = Agent::start_in(ended.dir, &to_file());
    agent.wait_for(kept as u64);
    delivered(&agent.stop().well(), kept);
}

/// As on another machine: another path, other inodes, other times.
#[test]
fn a_log_that_was_copied_elsewhere_goes_on_there() {
    let agent = Agent::start(&to_nobody("2MiB"));
    send(agent.tcp("net"), 0..COUNT);
    agent.wait("all is put", |ledger| put(ledger) == COUNT as u64);
    let ended = agent.stop().well();
    let elsewhere = TempDir::new().unwrap();
    std::fs::create_dir(elsewhere.path().join("log")).unwrap();
    for path in paths(&ended.dir.path().join("log"), "") {
        let copy = elsewhere.path().join("log").join(path.file_name().unwrap());
        std::fs::copy(&path, copy).unwrap();
    }
    drop(ended);
    assert_eq!(waiting(&elsewhere), COUNT as u64);
    let agent = Agent::start_in(elsewhere, &to_file());
    agent.wait_for(COUNT as u64);
    delivered(&agent.stop().well(), COUNT);
}

/// A log may be full by events, too: senders wait, and nothing is lost.
#[test]
fn a_log_that_is_full_of_events_makes_senders_wait() {
    const EVENTS_MAX: usize = 20_000;
    let full = format!("capacity_events = {EVENTS_MAX}\nsegment  =");
    let agent = Agent::start(&to_nobody("2MiB").replace("segment  =", &full));
    let to = agent.tcp("net");
    let sender = std::thread::spawn(move || {
        let mut stream = TcpStream::connect(to).unwrap();
        // What the socket takes is not yet accepted: more than any socket takes.
        let sent = (0..200).take_while(|part| {
            let lines = part * 1000..(part + 1) * 1000;
            let text: String = lines.map(|number| line(number) + "\n").collect();
            stream.write_all(text.as_bytes()).is_ok()
        });
        sent.count()
    });
    agent.wait_still("events put to the channel", put);
    let logged = waiting(&agent.dir) as usize;
    assert!(logged > 0 && logged <= EVENTS_MAX, "{logged} are in the log");
    // What was on its way in memory is kept as well.
    let accepted = put(&agent.ledger()) as usize;
    let ended = agent.stop();
    assert!(ended.status.success(), "{}", ended.log);
    assert!(sender.join().unwrap() < 200, "all of it was taken");
    let kept = waiting(&ended.dir) as usize;
    assert!(kept >= accepted && accepted > EVENTS_MAX, "{kept} of {accepted} were kept");
    let agent = Agent::start_in(ended.dir, &to_file());
    agent.wait_for(kept as u64);
    delivered(&agent.stop().well(), kept);
}

#[test]
fn a_directory_belongs_to_one_process() {
    let agent = Agent::start(&to_file());
    let log = agent.dir.path().join("log");
    let other = TempDir::new().unwrap();
    let configuration = to_file().replace("{dir}/log", log.to_str().unwrap());
    let (code, said) = refused(&other, &configuration);
    assert_eq!(code, Some(2), "{said}");
    assert!(said.contains("is used by another process"), "{said}");
    agent.stop().well();
}

#[test]
fn a_damaged_record_costs_itself_and_is_counted() {
    let agent = Agent::start(&to_nobody("4MiB"));
    send(agent.tcp("net"), 0..COUNT);
    agent.wait("all is put", |ledger| put(ledger) == COUNT as u64);
    let ended = agent.stop().well();
    assert_eq!(channel("verify", &ended.dir, &[]).status.code(), Some(0));
    let segments = paths(&ended.dir.path().join("log"), "0");
    let segment = segments.first().expect("a segment");
    let mut bytes = std::fs::read(segment).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 0x10;
    std::fs::write(segment, bytes).unwrap();
    let verified = channel("verify", &ended.dir, &[]);
    assert_eq!(verified.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&verified.stdout).contains("checksum"), "{verified:?}");
    let agent = Agent::start_in(ended.dir, &to_file());
    let ledger = agent.wait_for(COUNT as u64);
    let lost = ledger["lost_events"].as_u64().unwrap();
    assert!(lost > 0 && lost < COUNT as u64, "{lost}");
    let ended = agent.stop();
    assert!(ended.log.contains("adds up"), "{}", ended.log);
    let lines = lines_of(&ended.dir.path().join("out.log.zst"));
    assert_eq!(lines.len() as u64, COUNT as u64 - lost);
    let aside = paths(&ended.dir.path().join("log"), ".bad");
    assert_eq!(aside.len(), 1, "set aside, not removed");
}

#[test]
fn what_is_no_log_is_named() {
    let dir = TempDir::new().unwrap();
    std::fs::create_dir(dir.path().join("log")).unwrap();
    for what in ["verify", "stats", "export"] {
        let output = channel(what, &dir, &[]);
        assert_eq!(output.status.code(), Some(2));
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(said.contains("no log is in"), "{said}");
    }
}

/// An agent that has nothing yet has no segment either.
#[test]
fn a_log_that_is_not_begun_is_empty() {
    let agent = Agent::start(&to_nobody("4MiB"));
    assert_eq!(waiting(&agent.dir), 0);
    for what in ["verify", "export"] {
        let output = channel(what, &agent.dir, &[]);
        assert_eq!((output.status.code(), output.stdout.len()), (Some(0), 0), "{output:?}");
    }
    agent.stop().well();
}

/// A second signal stops at once; what was written stays.
#[test]
fn stopped_at_once_it_keeps_what_was_written() {
    let agent = Agent::start(&to_nobody("4MiB").replace("300ms", "1h"));
    send(agent.tcp("net"), 0..COUNT);
    agent.wait("all is put", |ledger| put(ledger) == COUNT as u64);
    let log = |dir: &Path| Command::new("ls").arg(dir.join("log")).output().unwrap();
    assert!(!log(agent.dir.path()).stdout.is_empty());
    agent.signal(Signal::TERM);
    agent.wait_told("stopping");
    agent.signal(Signal::TERM);
    let ended = agent.ended();
    assert!(ended.log.contains("adds up"), "{}", ended.log);
    assert_eq!(waiting(&ended.dir), COUNT as u64);
}

/// A file for each of seven hosts behind the log; blocks and syncs as late as the test says.
fn to_hosts(age: &str, sync: &str) -> String {
    let sources = LINES.replace("\"tcp\"", "\"syslog\"") + RELP_SYNCED;
    let sink =
        "type = \"file\"\npath = \"{dir}/hosts/%{host}.log\"\ncodec = \"none\"\nthreads = 2\n";
    let late = format!("block = {{ age = \"{age}\" }}\nsync = \"{sync}\"\n");
    through_log(&sources, "4MiB", "20s", &[sink, &late].concat()).replace("64MiB", "128MiB")
}

fn message(number: usize) -> String {
    format!("<13>Oct 11 22:14:15 host{} app: {}", number % 7, line(number))
}

fn send_of_hosts(to: SocketAddr, messages: std::ops::Range<usize>) {
    let text: String = messages.map(|number| message(number) + "\n").collect();
    TcpStream::connect(to).unwrap().write_all(text.as_bytes()).unwrap();
}

/// One message over RELP. When it is answered the log is synced, and all is noted in it that was
/// known to be delivered before.
fn send_synced(to: SocketAddr, number: usize) {
    let mut stream = TcpStream::connect(to).unwrap();
    stream.set_read_timeout(Some(DEADLINE)).unwrap();
    let message = message(number);
    for (turn, data) in ["open relp_version=0\ncommands=syslog", &format!("syslog {message}")]
        .into_iter()
        .enumerate()
    {
        let (command, data) = data.split_once(' ').unwrap();
        writeln!(stream, "{} {command} {} {data}", turn + 1, data.len()).unwrap();
    }
    let mut answers = BufReader::new(stream).lines().map(Result::unwrap);
    assert!(answers.any(|answer| answer == "2 rsp 6 200 OK"), "it is acknowledged");
}

/// Where a batch's events go to many files it is delivered when all of them are synced: what is
/// in open blocks, or written and not synced, the next agent delivers again.
#[test]
fn a_batch_for_many_files_is_delivered_when_all_of_them_are_synced() {
    const EACH: usize = 2000;
    // Killed with all of it in open blocks: nothing is in a file.
    let agent = Agent::start(&to_hosts("8s", "1h"));
    send_of_hosts(agent.tcp("net"), 0..EACH);
    agent.wait("all is put", |ledger| put(ledger) == EACH as u64);
    assert!(crate::harness::until(|| waiting(&agent.dir) == EACH as u64), "it is in the log");
    // And with all of it written.
    let agent = Agent::start_in(agent.kill(), &to_hosts("50ms", "1h"));
    send_of_hosts(agent.tcp("net"), EACH..2 * EACH);
    agent.wait_for(2 * EACH as u64);
    send_synced(agent.relp("relp"), 2 * EACH);
    let again = 2 * EACH + 1;
    agent.wait_for(again as u64);
    assert_eq!(waiting(&agent.dir), again as u64, "written and not synced");
    let agent = Agent::start_in(agent.kill(), &to_hosts("50ms", "50ms"));
    send_of_hosts(agent.tcp("net"), again..3 * EACH);
    agent.wait("all is synced", |ledger| sum(&ledger["sinks"], "synced_events") >= 3 * EACH as u64);
    assert!(crate::harness::until(|| waiting(&agent.dir) == 0), "{}", waiting(&agent.dir));
    // Killed after that, nothing comes twice that was delivered.
    let agent = Agent::start_in(agent.kill(), &to_hosts("50ms", "50ms"));
    let ended = agent.stop().well();
    let mut found = vec![0; 3 * EACH];
    for path in paths(&ended.dir.path().join("hosts"), "") {
        for text in lines_of(&path) {
            let (_, number) = text.rsplit_once(' ').expect("a number at the end");
            let number: usize = number.parse().expect("a number");
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            assert!(name.starts_with(&format!("host{}.", number % 7)), "{text} is in {name}");
            found[number] += 1;
        }
    }
    let twice = 0..again;
    assert!(twice.clone().all(|number| found[number] >= 2), "again when it was not synced");
    assert!((twice.end..3 * EACH).all(|number| found[number] == 1), "never when it was");
}

#[test]
fn an_encrypted_log_is_read_with_its_keys_and_with_none_else() {
    let dir = TempDir::new().unwrap();
    let key = |number: u32, byte: &str| format!("{number} {}\n", byte.repeat(32));
    std::fs::write(dir.path().join("keys"), key(1, "a1")).unwrap();
    let secretly = |configuration: String| {
        let table = "codec = \"lz4\"\nencryption = { keys = \"{dir}/keys\" }\n\n[sinks.out]";
        configuration.replace("[sinks.out]", table)
    };
    let agent = Agent::start_in(dir, &secretly(to_nobody("2MiB")));
    send(agent.tcp("net"), 0..COUNT);
    agent.wait("all is put", |ledger| put(ledger) == COUNT as u64);
    let dir = agent.stop().well().dir;
    let segments = paths(&dir.path().join("log"), "");
    let contents: Vec<u8> = segments.iter().flat_map(|path| std::fs::read(path).unwrap()).collect();
    assert!(contents.len() < COUNT * line(0).len() / 2, "it is compressed");
    assert!(memchr::memmem::find(&contents, b"message").is_none(), "it is encrypted");

    let refuses = |what: &str| {
        let (code, said) = refused(&dir, &secretly(to_file()));
        assert_eq!(code, Some(2), "{said}");
        assert!(said.contains(what), "{said}");
    };
    let file = dir.path().join("keys");
    std::fs::write(&file, key(2, "b2")).unwrap();
    refuses("is encrypted with key 1, which");
    std::fs::write(&file, key(1, "c3")).unwrap();
    refuses("cannot be decrypted with key 1");
    std::fs::write(&file, "1 abc\n").unwrap();
    refuses("line 1: a key is 64 hexadecimal digits");
    std::fs::remove_file(&file).unwrap();
    refuses("cannot be read");
    let (code, said) = refused(&dir, &to_file());
    assert_eq!(code, Some(2), "{said}");
    assert!(said.contains("and no key file is given"), "{said}");

    // A new key for what comes, the old one for what is there.
    std::fs::write(&file, key(1, "a1") + &key(2, "b2")).unwrap();
    let exported = channel("export", &dir, &["--keys", file.to_str().unwrap()]);
    let exported = String::from_utf8(exported.stdout).unwrap();
    assert!(exported.lines().enumerate().all(|(number, text)| text == line(number)));
    assert_eq!(exported.lines().count(), COUNT);
    let without = channel("export", &dir, &[]);
    assert_eq!((without.status.code(), without.stdout.len()), (Some(1), 0));
    let agent = Agent::start_in(dir, &secretly(to_file()));
    send(agent.tcp("net"), COUNT..COUNT + 100);
    agent.wait_for(COUNT as u64 + 100);
    delivered(&agent.stop().well(), COUNT + 100);
}

/// Memory first: a sink that keeps up never sees the log, one that does not fills it, and what was
/// sent stays in order. A stop at once brings what memory has into the log.
#[test]
fn a_spill_channel_takes_to_the_disk_what_memory_cannot_hold() {
    let spill =
        |configuration: String| configuration.replace("\"file\"\npath     =", "\"spill\"\npath =");
    let agent = Agent::start(&spill(to_file()));
    send(agent.tcp("net"), 0..1000);
    agent.wait_for(1000);
    let log = agent.dir.path().join("log");
    let bytes = |dir: &Path| -> u64 {
        paths(dir, "").iter().map(|path| std::fs::metadata(path).unwrap().len()).sum()
    };
    assert_eq!(bytes(&log), 0, "nothing went to the disk");
    assert_eq!(agent.stop().well().lines("out.log.zst").len(), 1000);

    // Nobody takes anything: 60 batches of 64 KiB, more than the memory it has.
    let agent = Agent::start(&spill(to_nobody("2MiB")));
    let count = 3 * COUNT;
    send(agent.tcp("net"), 0..count);
    agent.wait("all is put", |ledger| put(ledger) == count as u64);
    let logged = |agent: &Agent| waiting(&agent.dir);
    assert!(crate::harness::until(|| logged(&agent) > 0), "the rest is in the log");
    assert!(logged(&agent) < count as u64, "the first is in memory");
    let ended = agent.stop().well();
    assert_eq!(waiting(&ended.dir), count as u64, "all of it is kept");
    let agent = Agent::start_in(ended.dir, &spill(to_file()));
    agent.wait_for(count as u64);
    let ended = agent.stop().well();
    let mut lines = ended.lines("out.log.zst");
    // Memory's part was older than the log's, and came behind it.
    lines.sort_by_key(|text| text[5..].split(' ').next().unwrap().parse::<usize>().unwrap());
    assert_eq!(lines.len(), count);
    assert!(lines.iter().enumerate().all(|(number, text)| *text == line(number)));
    assert_eq!(waiting(&ended.dir), 0);

    // A sink that comes back takes memory's part first, and then the log's.
    let next = Down::new();
    let agent = Agent::start(&spill(to(next.address, "2MiB")));
    send(agent.tcp("net"), 0..count);
    agent.wait("all is put", |ledger| put(ledger) == count as u64);
    let (stream, _) = next.up().accept().unwrap();
    let mut seen = 0;
    for text in BufReader::new(stream).lines().take(count) {
        let text = text.unwrap();
        assert!(text.ends_with(&line(seen)), "{seen}: {text}");
        seen += 1;
    }
    assert_eq!(seen, count);
    agent.wait_for(count as u64);
    agent.stop().well();
}
