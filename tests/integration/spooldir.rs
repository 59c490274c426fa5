//! Files that are put into a folder, while we are killed in the middle of them.

use crate::harness::{Agent, Ended, agent, lines_of, paths, until};
use flumen::storage::avro::{head, put_block};
use socket2::{Domain, Socket, Type};
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use tempfile::TempDir;

const SPOOL: &str = r#"
[sources.files]
type               = "spooldir"
spool_dir          = "{dir}/spool"
poll_delay         = "20ms"
write_pos_interval = "5ms"
basename_header    = true
channel            = "main"

[channels.main]
type = "memory"

[sinks.archive]
type    = "file"
channel = "main"
path    = "{dir}/out/of-%{basename}.log"
codec   = "none"
block   = { age = "10ms" }
sync    = "10ms"
"#;

fn spool() -> String {
    agent("96MiB", "") + SPOOL
}

/// The same, and everything to a next hop, without which nothing counts as done.
const AND_NEXT: &str = r#"
[channels.slow]
type = "memory"

[sinks.next]
type    = "syslog"
channel = "slow"
targets = "tcp://{next}"
"#;

/// A next hop that reads a few megabytes of a connection and no more, until it is open: then all.
struct NextHop {
    address: SocketAddr,
    open: Arc<AtomicBool>,
}

impl NextHop {
    const BYTES: u64 = 4 << 20;

    fn start() -> Self {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
        // Beside what it reads, little is under way.
        socket.set_recv_buffer_size(64 << 10).expect("a size");
        let any = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        socket.bind(&any.into()).expect("a port is free");
        socket.listen(16).expect("it listens");
        let listener = TcpListener::from(socket);
        let address = listener.local_addr().expect("bound");
        let open = Arc::new(AtomicBool::new(false));
        let is_open = Arc::clone(&open);
        std::thread::spawn(move || {
            let mut held = Vec::new();
            for stream in listener.incoming().map_while(Result::ok) {
                let bytes = if is_open.load(Ordering::Acquire) { u64::MAX } else { Self::BYTES };
                let _ = std::io::copy(&mut (&stream).take(bytes), &mut std::io::sink());
                held.push(stream);
            }
        });
        Self { address, open }
    }
}

/// Of each line, its newline among them.
const LINE_BYTES: u64 = 100;

fn line(number: u64) -> String {
    format!("{number:09} {:x<89}", "")
}

fn text(lines: std::ops::Range<u64>) -> String {
    lines.map(|number| line(number) + "\n").collect()
}

/// A folder with a folder for files in it.
fn folder() -> TempDir {
    let dir = TempDir::new().expect("a folder");
    std::fs::create_dir(dir.path().join("spool")).expect("a folder in it");
    dir
}

/// As it should be done: written elsewhere, and moved there whole.
fn put(dir: &Path, name: &str, text: &[u8]) {
    let beside = dir.join(name);
    std::fs::write(&beside, text).expect("written");
    std::fs::rename(beside, dir.join("spool").join(name)).expect("moved");
}

/// How far this file was read, as far as that is saved.
fn saved(dir: &Path, name: &str) -> u64 {
    let file = dir.join("spool/.flumespool/flumen_position.json");
    let Ok(text) = std::fs::read(file) else { return 0 };
    let rows: serde_json::Value = serde_json::from_slice(&text).expect("always whole");
    let path = dir.join("spool").join(name);
    let rows = rows.as_array().expect("a list");
    let row = rows.iter().find(|row| row["file"].as_str().map(Path::new) == Some(&path));
    row.map_or(0, |row| row["pos"].as_u64().expect("a number"))
}

fn completed(dir: &Path, name: &str) -> bool {
    dir.join("spool").join(format!("{name}.COMPLETED")).exists()
}

#[track_caller]
fn wait_completed(agent: &Agent, name: &str) {
    let dir = agent.dir.path();
    assert!(until(|| completed(dir, name)), "{name} is not put away\n{}", agent.log());
}

/// Numbers of the lines that came of one file, over all lives of the agent.
fn numbers(dir: &Path, name: &str) -> Vec<u64> {
    let files: Vec<PathBuf> = paths(&dir.join("out"), "");
    let of_it = files.iter().filter(|path| {
        let own = path.file_name().and_then(|own| own.to_str()).expect("UTF-8");
        own.starts_with(&format!("of-{name}.log"))
    });
    let lines = of_it.flat_map(|path| lines_of(path));
    lines
        .map(|text| {
            let number = text[..9].parse().unwrap_or_else(|_| panic!("a torn line: {text}"));
            assert_eq!(text, line(number), "a torn line");
            number
        })
        .collect()
}

/// Killed in the middle of a file again and again: nothing is missing, and what lies before the
/// place that was saved never comes again. A next hop that reads no more keeps it in the middle.
/// `passed` says how many lines lie before that place.
fn kill_in_the_middle(more: &str, bytes: &[u8], lines: u64, passed: impl Fn(&Path) -> u64) {
    const KILLS: usize = 3;
    let mut dir = folder();
    let next = NextHop::start();
    let and_next = AND_NEXT.replace("{next}", &next.address.to_string());
    let spool =
        spool().replace("\"main\"\n\n[channels", "[\"main\", \"slow\"]\n\n[channels") + &and_next;
    let spool = spool.replace("channel            = [", &format!("{more}\nchannels           = ["));
    put(dir.path(), "file", bytes);
    let mut places = Vec::new();
    for _ in 0..KILLS {
        let before = passed(dir.path());
        let agent = Agent::start_in(dir, &spool);
        let own = agent.dir.path().to_owned();
        let moved = until(|| passed(&own) > before);
        assert!(moved, "nothing is read behind {before}\n{}", agent.log());
        dir = agent.kill();
        let place = passed(dir.path());
        assert!(place < lines && !completed(dir.path(), "file"), "{place}: it is done");
        places.push(place);
    }
    next.open.store(true, Ordering::Release);
    let agent = Agent::start_in(dir, &spool);
    wait_completed(&agent, "file");
    let Ended { dir, .. } = agent.stop().well();
    let safe = places[0];
    let mut all = numbers(dir.path(), "file");
    all.sort_unstable();
    let twice = all.windows(2).find(|pair| pair[0] == pair[1] && pair[0] < safe);
    assert_eq!(twice, None, "{places:?}");
    let count = all.len();
    all.dedup();
    let missing = (0..lines).find(|number| all.binary_search(number).is_err());
    assert_eq!((missing, all.len() as u64), (None, lines), "{places:?} {count}");
}

#[test]
fn a_kill_in_the_middle_of_a_file_goes_on_at_the_saved_place() {
    const LINES: u64 = 400_000;
    let passed = |dir: &Path| saved(dir, "file") / LINE_BYTES;
    kill_in_the_middle("", text(0..LINES).as_bytes(), LINES, passed);
}

/// The same of a container file: the place is a block, and so many data of it.
#[test]
fn a_kill_in_the_middle_of_a_container_file_goes_on_at_the_next_datum() {
    const BLOCKS: u64 = 40;
    const EACH: u64 = 10_000;
    let schema = r#"{"type":"fixed","name":"Line","size":99}"#;
    let marker = *b"0123456789abcdef";
    let mut file = head(schema, "null", &marker);
    let begin = file.len() as u64;
    for block in 0..BLOCKS {
        let lines: String = (block * EACH..(block + 1) * EACH).map(line).collect();
        let put = |out: &mut Vec<u8>| {
            out.extend_from_slice(lines.as_bytes());
            Ok::<(), ()>(())
        };
        put_block(&mut file, EACH as u32, &marker, put).expect("appended");
    }
    let block_bytes = (file.len() as u64 - begin) / BLOCKS;
    let seen_within = AtomicBool::new(false);
    let passed = |dir: &Path| {
        let Some(blocks) = saved(dir, "file").checked_sub(begin) else { return 0 };
        let position = dir.join("spool/.flumespool/flumen_position.json");
        let text = std::fs::read_to_string(position).expect("it was there");
        let data = text.split(";events=").nth(1).map_or(0, |rest| {
            seen_within.store(true, Ordering::Relaxed);
            let digits = rest.find(|char: char| !char.is_ascii_digit()).expect("a quote");
            rest[..digits].parse::<u64>().expect("a number")
        });
        assert_eq!(blocks % block_bytes, 0, "a block begins there");
        blocks / block_bytes * EACH + data
    };
    kill_in_the_middle("deserializer = \"avro\"", &file, BLOCKS * EACH, passed);
    assert!(seen_within.into_inner(), "every place was between two blocks");
}

/// A compressed file that is not whole is read as far as it goes. What comes later, after a kill,
/// goes on there: each line once.
#[test]
fn a_file_that_is_not_whole_is_gone_on_with_after_a_kill() {
    const HALF: u64 = 10_000;
    let dir = folder();
    let gzip = |lines: std::ops::Range<u64>| {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(text(lines).as_bytes()).expect("compressed");
        encoder.finish().expect("compressed")
    };
    let (first, second) = (gzip(0..HALF), gzip(HALF..2 * HALF));
    let (begun, rest) = second.split_at(8);
    put(dir.path(), "a.gz", &[&first, begun].concat());
    let zstd = zstd::stream::encode_all(text(0..500).as_bytes(), 1).expect("compressed");
    put(dir.path(), "b.zst", &zstd);
    put(dir.path(), "c", text(0..500).as_bytes());
    let agent = Agent::start_in(dir, &spool());
    // It stops nobody.
    wait_completed(&agent, "b.zst");
    wait_completed(&agent, "c");
    let own = agent.dir.path().to_owned();
    agent.wait("what there is of it", |_| saved(&own, "a.gz") == HALF * LINE_BYTES);
    let (_, incidents) = agent.page("/incidents");
    assert!(incidents.contains("a.gz") && incidents.contains("ends too early"), "{incidents}");
    let dir = agent.kill();
    let file = std::fs::File::options().append(true).open(dir.path().join("spool/a.gz"));
    file.expect("it is there").write_all(rest).expect("the rest");
    let agent = Agent::start_in(dir, &spool());
    wait_completed(&agent, "a.gz");
    let Ended { dir, .. } = agent.stop().well();
    assert!(numbers(dir.path(), "a.gz").into_iter().eq(0..2 * HALF));
    assert!(numbers(dir.path(), "b.zst").into_iter().eq(0..500));
    assert!(numbers(dir.path(), "c").into_iter().eq(0..500));
}

/// What would end Flume's source for good: it is told, counted, and nothing is lost.
#[test]
fn a_name_used_twice_is_told_and_read() {
    let agent = Agent::start_in(folder(), &spool());
    let dir = agent.dir.path().to_owned();
    put(&dir, "a", text(0..10).as_bytes());
    wait_completed(&agent, "a");
    put(&dir, "a", text(10..20).as_bytes());
    let told = || agent.page("/incidents").1.contains("the name of a file that was read before");
    assert!(until(told), "{}\n{}", agent.page("/incidents").1, agent.log());
    assert!(dir.join("spool/a.1.COMPLETED").exists());
    let Ended { dir, log, .. } = agent.stop().well();
    assert!(numbers(dir.path(), "a").into_iter().eq(0..20), "{log}");
}
