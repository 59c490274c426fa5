//! SIGHUP with another configuration: sinks are replaced under way, no event and no connection is
//! lost, and what cannot be taken changes nothing.

use crate::harness::{Agent, nobody, paths, sum, until};
use rustix::process::Signal;
use std::collections::BTreeMap;
use std::io::Write;
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

const TAKEN: &str = "replaced, these are in effect: ";

const LINES_TO_A: &str = "[agent]\nmemory = '64MiB'\nadmin = '127.0.0.1:0'\ncores = 'none'\n\
    [sources.in]\ntype = 'tcp'\nlisten = 'tcp://127.0.0.1:0'\nchannel = 'main'\n\
    [channels.main]\ntype = 'memory'\n\
    [sinks.out]\ntype = 'file'\nchannel = 'main'\npath = '{dir}/a/out.log'\ncodec = 'none'\n\
    block = { age = '50ms' }\n";

/// The agent's configuration with these words for those, and a SIGHUP.
#[track_caller]
fn change(agent: &Agent, words: &str, others: &str) {
    let file = agent.dir.path().join("flumen.toml");
    let before = std::fs::read_to_string(&file).unwrap();
    let after = before.replace(words, others);
    assert_ne!(before, after, "no {words:?} in it");
    std::fs::write(&file, after).unwrap();
    agent.signal(Signal::HUP);
}

#[track_caller]
fn wait_taken(agent: &Agent, times: usize) {
    let taken = until(|| agent.log().matches(TAKEN).count() >= times);
    assert!(taken, "not taken {times} times:\n{}", agent.log());
}

#[test]
fn a_sink_is_replaced_and_connections_stay() {
    let agent = Agent::start(LINES_TO_A);
    let mut connection = TcpStream::connect(agent.tcp("in")).unwrap();
    connection.write_all(b"one\ntwo\n").unwrap();
    agent.wait_for(2);
    change(&agent, "/a/out.log", "/b/out.log");
    agent.wait_told(&format!("sinks.out {TAKEN}sinks.out.path"));
    connection.write_all(b"three\n").unwrap();
    agent.wait_for(3);
    change(
        &agent,
        "codec = 'none'",
        "codec = 'none'\nroll = { idle = '5m' }\nkeep = { files = 9 }",
    );
    agent.wait_told(&format!("{TAKEN}sinks.out.keep.files, sinks.out.roll.idle"));
    connection.write_all(b"four\n").unwrap();
    agent.wait_for(4);
    // Taken back, there is nothing that differs from what runs.
    agent.signal(Signal::HUP);
    agent.wait_told("the configuration is as it was");
    drop(connection);
    let ended = agent.stop().well();
    assert_eq!(ended.lines("a/out.log"), ["one", "two"]);
    assert_eq!(ended.lines("b/out.log"), ["three"]);
    assert_eq!(ended.lines("b/out.log.1"), ["four"]);
    assert_eq!(ended.received("in"), 4);
}

#[test]
fn what_cannot_be_built_or_takes_a_restart_changes_nothing() {
    let agent = Agent::start(LINES_TO_A);
    let send = |text: &[u8]| TcpStream::connect(agent.tcp("in")).unwrap().write_all(text).unwrap();
    send(b"one\n");
    agent.wait_for(1);
    // A file is no directory, whoever asks.
    change(&agent, "/a/out.log", "/flumen.toml/out.log");
    let told = agent.wait_told("sinks.out cannot be replaced, and the agent goes on as it is: ");
    assert!(told.contains("cannot write in"), "{told}");
    send(b"two\n");
    agent.wait_for(2);
    change(&agent, "/flumen.toml/out.log", "/b/out.log'\nthreads = 2 #");
    agent.wait_told("takes effect at a restart: sinks.out.path, sinks.out.threads (");
    agent.wait_told("sinks.out has another number of threads");
    send(b"three\n");
    agent.wait_for(3);
    change(&agent, "/b/out.log'\nthreads = 2 #", "/b/out.log'\npth = 2 #");
    agent.wait_told("the configuration has errors now");
    assert!(agent.log().contains("unknown key `pth`"), "{}", agent.log());
    send(b"four\n");
    agent.wait_for(4);
    let ended = agent.stop().well();
    let lines: Vec<String> = paths(&ended.dir.path().join("a"), "")
        .iter()
        .flat_map(|it| crate::harness::lines_of(it))
        .collect();
    let mut lines: Vec<&str> = lines.iter().map(String::as_str).collect();
    lines.sort_unstable();
    assert_eq!(lines, ["four", "one", "three", "two"]);
    assert!(!ended.dir.path().join("b").exists(), "nothing of it was taken");
}

const CONNECTIONS: usize = 3;
const ROUNDS: usize = 6;

/// Numbered lines until told to end; how many there were.
fn flow(to: SocketAddr, connection: usize, end: &AtomicBool) -> usize {
    let mut stream = TcpStream::connect(to).unwrap();
    let mut sent = 0;
    while !end.load(Ordering::Relaxed) {
        let lines: String = (sent..sent + 20).map(|it| format!("{connection} {it}\n")).collect();
        stream.write_all(lines.as_bytes()).unwrap();
        sent += 20;
        // Thousands a second are enough; the machine has others to serve.
        std::thread::sleep(std::time::Duration::from_millis(2));
    }
    sent
}

/// Sinks are replaced while lines flow, and each line of each connection is there once. Where one
/// sink writes one file after the other they are in order, too.
fn replaced_under_way(configuration: &str, in_order: bool) {
    let agent = Agent::start(configuration);
    let to = agent.tcp("in");
    let end = Arc::new(AtomicBool::new(false));
    let senders: Vec<_> = (0..CONNECTIONS)
        .map(|connection| {
            let end = Arc::clone(&end);
            std::thread::spawn(move || flow(to, connection, &end))
        })
        .collect();
    let mut seen = 0;
    for round in 0..ROUNDS {
        let ledger =
            agent.wait("more is written", |ledger| sum(&ledger["sinks"], "written_events") > seen);
        seen = sum(&ledger["sinks"], "written_events");
        let (from, to) = if round % 2 == 0 { ("/a/", "/b/") } else { ("/b/", "/a/") };
        change(&agent, from, to);
        wait_taken(&agent, round + 1);
    }
    end.store(true, Ordering::Relaxed);
    let sent: Vec<usize> = senders.into_iter().map(|sender| sender.join().unwrap()).collect();
    agent.wait_for(sent.iter().sum::<usize>() as u64);
    let ended = agent.stop().well();
    let mut found: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
    let mut files: Vec<_> = ["a", "b", "c"]
        .iter()
        .map(|name| ended.dir.path().join(name))
        .filter(|folder| folder.exists())
        .flat_map(|folder| paths(&folder, ""))
        .collect();
    // A file's first line tells when it was begun.
    let lines_of = |path: &std::path::PathBuf| crate::harness::lines_of(path);
    let mut texts: Vec<Vec<String>> = files.drain(..).map(|path| lines_of(&path)).collect();
    texts.retain(|lines| !lines.is_empty());
    for line in texts.iter().flatten() {
        let (connection, number) = line.split_once(' ').expect("two numbers");
        found.entry(connection.parse().unwrap()).or_default().push(number.parse().unwrap());
    }
    for (connection, sent) in sent.iter().enumerate() {
        let mut numbers = found.remove(&connection).unwrap_or_default();
        if in_order {
            // Within one file they come as they were sent.
            for lines in &texts {
                let own = format!("{connection} ");
                let of =
                    |line: &String| line.strip_prefix(&own).map(|it| it.parse::<usize>().unwrap());
                let numbers: Vec<usize> = lines.iter().filter_map(of).collect();
                assert!(numbers.windows(2).all(|pair| pair[0] + 1 == pair[1]), "{numbers:?}");
            }
        }
        numbers.sort_unstable();
        assert_eq!(numbers, (0..*sent).collect::<Vec<_>>(), "connection {connection}");
    }
}

#[test]
fn nothing_is_lost_or_doubled_under_way() {
    replaced_under_way(LINES_TO_A, true);
}

#[test]
fn nor_with_a_file_for_each_sender_and_threads() {
    let keyed = LINES_TO_A.replace("out.log'", "%{host}.log'\nthreads = 2");
    replaced_under_way(&keyed, true);
}

#[test]
fn nor_with_a_durable_channel_and_filters() {
    let durable = LINES_TO_A
        .replace("type = 'memory'", "type = 'file'\npath = '{dir}/log'")
        .replace("codec = 'none'", "codec = 'zstd'\nfilters = [{ drop = { text = 'nowhere' } }]");
    replaced_under_way(&durable, true);
}

/// The other sink of the channel stays, and takes what comes meanwhile.
#[test]
fn nor_beside_another_sink_of_the_channel() {
    let two = format!(
        "{LINES_TO_A}[sinks.more]\ntype = 'file'\nchannel = 'main'\npath = '{{dir}}/c/out.log'\n\
         codec = 'none'\nblock = {{ age = '50ms' }}\n"
    );
    replaced_under_way(&two, false);
}

/// A sink that cannot get rid of what it took is waited for, and a stop ends that in the drain's
/// time.
#[test]
fn a_stop_comes_between() {
    let target = nobody();
    let forward = format!(
        "[agent]\nmemory = '64MiB'\nadmin = '127.0.0.1:0'\ncores = 'none'\ndrain = '500ms'\n\
         [sources.in]\ntype = 'tcp'\nlisten = 'tcp://127.0.0.1:0'\n\
         [sinks.out]\ntype = 'syslog'\ntargets = ['tcp://{target}']\n"
    );
    let agent = Agent::start(&forward);
    TcpStream::connect(agent.tcp("in")).unwrap().write_all(b"one\n").unwrap();
    agent.wait("the sink fails", |ledger| sum(&ledger["sinks"], "errors") > 0);
    change(&agent, &target.to_string(), "127.0.0.1:9");
    agent.wait_told("rolling all files");
    let ended = agent.stop();
    // Whether the old one had taken the event already or not: nobody wanted it, and that is told.
    assert_eq!(ended.status.code(), Some(1), "{}", ended.log);
    assert!(ended.log.contains("adds up"), "{}", ended.log);
}
