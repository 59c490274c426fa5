//! Events that a next hop refuses for a time, or for ever: those are set aside once, whatever the
//! disk does, and not again after a restart.

use crate::forward::at_sinks;
use crate::harness::{Agent, LINES, agent, sum, until, written};
use crate::small_disk::Disk;
use serde_json::Value;
use std::fs;
use std::io::{BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::sync::{Arc, Mutex};

const LOG_TO_NEXT: &str = r#"
[channels.main]
type    = "file"
path    = "{dir}/log"
reserve = "0"

[sinks.next]
type         = "syslog"
channel      = "main"
targets      = "relp://{next}"
dead_letters = "{letters}"
backoff_max  = "100ms"
"#;

/// A RELP receiver that refuses whatever has `poison` in it, and twice what is `unripe`; it keeps
/// the rest.
pub(crate) struct Taster {
    pub(crate) address: SocketAddr,
    shelf: Arc<Mutex<Shelf>>,
}

#[derive(Default)]
struct Shelf {
    taken: Vec<String>,
    refused: Vec<String>,
}

impl Shelf {
    fn judge(&mut self, text: String) -> &'static str {
        let noes = self.refused.iter().filter(|other| **other == text).count();
        let is_refused = text.contains("poison") || text.contains("unripe") && noes < 2;
        if is_refused { &mut self.refused } else { &mut self.taken }.push(text);
        if is_refused { "500 not this one" } else { "200 OK" }
    }
}

impl Taster {
    pub(crate) fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let (address, shelf) = (listener.local_addr().expect("bound"), Arc::default());
        let shared = Arc::clone(&shelf);
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let shelf = Arc::clone(&shared);
                // It ends with its connection.
                std::thread::spawn(move || taste(&stream.expect("a connection"), &shelf));
            }
        });
        Self { address, shelf }
    }

    pub(crate) fn taken(&self) -> Vec<String> {
        self.shelf.lock().unwrap().taken.clone()
    }

    pub(crate) fn refused(&self) -> Vec<String> {
        self.shelf.lock().unwrap().refused.clone()
    }
}

/// `NUMBER COMMAND LENGTH[ DATA]\n`, one after the other, until the connection ends.
fn taste(stream: &TcpStream, shelf: &Mutex<Shelf>) -> Option<()> {
    let mut from = BufReader::new(stream);
    loop {
        let (number, command) = (word(&mut from)?, word(&mut from)?);
        let length = word(&mut from)?;
        let mut data = vec![0; length.trim_end().parse().ok()?];
        if length.ends_with(' ') {
            from.read_exact(&mut data).ok()?;
            from.read_exact(&mut [0]).ok()?;
        }
        let text = String::from_utf8(data).ok()?;
        let answer = match command.trim_end() {
            "open" => "200 OK\nrelp_version=0\ncommands=syslog",
            "syslog" => shelf.lock().unwrap().judge(text),
            _ => return None,
        };
        let reply = format!("{}rsp {} {answer}\n", number, answer.len());
        (&*stream).write_all(reply.as_bytes()).ok()?;
    }
}

/// Up to a blank or the end of a line, and that.
fn word(from: &mut impl Read) -> Option<String> {
    let mut bytes = Vec::new();
    while !matches!(bytes.last(), Some(b' ' | b'\n')) {
        let mut byte = [0];
        from.read_exact(&mut byte).ok()?;
        bytes.extend(byte);
    }
    String::from_utf8(bytes).ok()
}

fn configuration(next: SocketAddr, letters: &str) -> String {
    let log = LOG_TO_NEXT.replace("{next}", &next.to_string()).replace("{letters}", letters);
    [&agent("64MiB", ""), LINES, &log].concat()
}

fn send(agent: &Agent, messages: impl Iterator<Item = String>) {
    let text: String = messages.map(|message| message + "\n").collect();
    TcpStream::connect(agent.tcp("net")).unwrap().write_all(text.as_bytes()).unwrap();
}

/// Each tenth is poison.
pub(crate) fn message(number: usize) -> String {
    let what = if number % 10 == 9 { "poison" } else { "food" };
    format!("<13>Oct 11 22:14:15 h app: {what} {number:06}")
}

pub(crate) fn letters_of(file: &Path) -> Vec<Value> {
    let text = fs::read_to_string(file).unwrap();
    text.lines().map(|line| serde_json::from_str(line).expect("each line is JSON")).collect()
}

/// The events in the letters, in their order.
#[track_caller]
fn letters(file: &Path) -> Vec<String> {
    let original = |letter: &Value| {
        assert_eq!(letter["error.message"], "the next hop answered 500");
        assert_eq!(letter["dead_letter.attempts"], 3, "the default");
        letter["event.original"].as_str().expect("text").to_owned()
    };
    letters_of(file).iter().map(original).collect()
}

pub(crate) fn of_kind(count: usize, poison: bool) -> Vec<String> {
    (0..count).filter(|number| (number % 10 == 9) == poison).map(message).collect()
}

#[test]
fn what_is_refused_is_set_aside_once_and_not_again_after_a_restart() {
    const COUNT: usize = 2000;
    let taster = Taster::start();
    let text = configuration(taster.address, "{dir}/letters/dead.ndjson");
    let agent = Agent::start(&text);
    send(&agent, (0..COUNT).map(message));
    let ledger = agent.wait("all is delivered or set aside", |ledger| {
        written(ledger) + at_sinks(ledger, "dead_lettered_events") == COUNT as u64
    });
    assert_eq!(at_sinks(&ledger, "dead_lettered_events"), COUNT as u64 / 10, "{ledger:#}");
    let metrics = agent.page("/metrics").1;
    let series = metrics.lines().find(|it| it.starts_with("flumen_dead_lettered_events_total{"));
    assert!(series.is_some_and(|line| line.ends_with(" 200")), "{series:?}");
    let ended = agent.stop().well();
    let file = ended.dir.path().join("letters/dead.ndjson");
    assert_eq!(letters(&file), of_kind(COUNT, true));
    assert_eq!(taster.taken(), of_kind(COUNT, false));
    assert_eq!(taster.refused().len(), 3 * COUNT / 10);
    // The file was moved away, and is begun anew.
    fs::rename(&file, ended.dir.path().join("seen.ndjson")).unwrap();
    let agent = Agent::start_in(ended.dir, &text);
    send(&agent, std::iter::once("poison at last".to_owned()));
    let ledger = agent.wait("it is set aside", |l| at_sinks(l, "dead_lettered_events") == 1);
    assert_eq!(sum(&ledger["channels"], "recovered_events"), 0, "{ledger:#}");
    agent.stop().well();
    assert_eq!(taster.taken().len(), COUNT - COUNT / 10, "nothing came twice");
}

/// Through a log, whose order it is but for what is sent again.
#[test]
fn what_is_refused_for_a_time_arrives_once_and_is_no_dead_letter() {
    const COUNT: usize = 500;
    let taster = Taster::start();
    let text = configuration(taster.address, "{dir}/dead.ndjson");
    let agent = Agent::start(&text);
    let of = |number: usize| match number % 50 {
        7 => format!("<13>Oct 11 22:14:15 h app: unripe {number:06}"),
        _ => format!("<13>Oct 11 22:14:15 h app: food {number:06}"),
    };
    send(&agent, (0..COUNT).map(of));
    let ledger = agent.wait("all is delivered", |ledger| written(ledger) == COUNT as u64);
    assert_eq!(at_sinks(&ledger, "dead_lettered_events"), 0, "{ledger:#}");
    assert_eq!(ledger["lost_events"], 0, "{ledger:#}");
    assert!(at_sinks(&ledger, "retries") >= 2, "{ledger:#}");
    let ended = agent.stop().well();
    assert_eq!(letters_of(&ended.dir.path().join("dead.ndjson")), Vec::<Value>::new());
    let ripe = |text: &String| !text.contains("unripe");
    let (food, late): (Vec<_>, Vec<_>) = taster.taken().into_iter().partition(ripe);
    let (sent_food, unripe): (Vec<_>, Vec<_>) = (0..COUNT).map(of).partition(ripe);
    assert_eq!((food, &late), (sent_food, &unripe), "once each, and in order");
    let mut refused = taster.refused();
    refused.sort();
    let mut twice = [unripe.clone(), unripe].concat();
    twice.sort();
    assert_eq!(refused, twice);
}

#[test]
fn a_full_disk_holds_the_sink_until_there_is_room() {
    const COUNT: usize = 1000;
    let Some(disk) = Disk::of("64k") else { return };
    let taster = Taster::start();
    let agent = disk.start(&configuration(taster.address, "{disk}/dead.ndjson"));
    // To the brim, but for the letters' name.
    let filler = disk.path().join("filler");
    let filled = fs::write(&filler, vec![b'x'; 1 << 20]);
    assert!(filled.is_err(), "a small disk");
    send(&agent, (0..COUNT).map(message));
    let told = agent.wait_ready(503);
    assert!(told.contains("dead letters cannot be set aside"), "{told}");
    let ledger = agent.wait("it tries again", |ledger| at_sinks(ledger, "errors") >= 3);
    assert_eq!(at_sinks(&ledger, "dead_lettered_events"), 0, "{ledger:#}");
    let file = disk.path().join("dead.ndjson");
    assert_eq!(fs::metadata(&file).unwrap().len(), 0, "no halves");
    fs::remove_file(&filler).unwrap();
    assert!(disk.remount("size=1m"), "there is room again");
    let ledger = agent.wait("all is delivered or set aside", |ledger| {
        written(ledger) + at_sinks(ledger, "dead_lettered_events") == COUNT as u64
    });
    assert_eq!(at_sinks(&ledger, "dead_lettered_events"), COUNT as u64 / 10, "{ledger:#}");
    agent.wait_ready(200);
    agent.stop().well();
    assert_eq!(letters(&file), of_kind(COUNT, true));
    assert!(until(|| taster.taken() == of_kind(COUNT, false)), "nothing came twice");
}
