//! `flumen grep` over files as they lie about: finished, open, torn, damaged, of other programs,
//! many; what it finds is what stock `grep` finds in the decoded text.

use crate::commands::{Said, flumen, kept, said};
use crate::harness::{Agent, SYSLOG_TO_FILE, paths, until, wait_child};
use crate::numbered::line;
use crate::peers::peer;
use flumen::codec::{COMPRESSORS, Codec};
use flumen::storage::Container;
use flumen::storage::block::{BlockFacts, seal_block_with, stamp};
use flumen::storage::index::index_frames;
use flumen::storage::segment::BlockEntry;
use flumen::time::Wall;
use rustix::process::Signal;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use tempfile::TempDir;

const HEADED: [Codec; 3] = [Codec::Zstd, Codec::Gzip, Codec::Lz4];
/// The first receive time of the first block: 2026-11-21T10:00:00Z; each block takes a minute.
const BEGIN: i64 = 1_795_255_200_000_000_000;
const MINUTE: i64 = 60_000_000_000;

pub(crate) struct Segment {
    pub(crate) bytes: Vec<u8>,
    pub(crate) blocks: Vec<BlockEntry>,
}

/// A segment of these texts, a block each, of which the first was received in minute `first`.
pub(crate) fn segment(codec: Codec, texts: &[String], first: i64, sealed: bool) -> Segment {
    segment_with(codec, texts, first, sealed, |_| Vec::new())
}

/// The same with these fields in the headers of blocks.
pub(crate) fn segment_with(
    codec: Codec,
    texts: &[String],
    first: i64,
    sealed: bool,
    fields: impl Fn(&str) -> Vec<u8>,
) -> Segment {
    let container = Container::from_wire_id(codec.wire_id()).unwrap();
    let mut compressor = codec.compressor(1);
    let (mut bytes, mut blocks) = (Vec::new(), Vec::new());
    for (sequence, text) in texts.iter().enumerate() {
        let at = bytes.len();
        let time_min = Wall(BEGIN + (first + sequence as i64) * MINUTE);
        let facts = BlockFacts {
            container,
            encoder: 0,
            event_count: text.lines().count() as u32,
            time_min,
            time_max: Wall(time_min.0 + MINUTE - 1),
        };
        let compress = |raw: &[u8], out: &mut Vec<u8>| compressor.compress(raw, out);
        seal_block_with(&mut bytes, &facts, &fields(text), text.as_bytes(), compress).unwrap();
        stamp(container, &mut bytes[at..], 77 + first as u64, sequence as u64);
        blocks.push(BlockEntry::of_block(at as u64, &bytes[at..]).unwrap());
    }
    if sealed {
        index_frames(container, 77 + first as u64, &blocks, &mut bytes);
    }
    Segment { bytes, blocks }
}

pub(crate) fn suffix(codec: Codec) -> &'static str {
    Container::from_wire_id(codec.wire_id()).unwrap().suffix()
}

/// Texts of blocks: lines that say their block and their number in it.
fn texts(blocks: usize) -> Vec<String> {
    let line = |block, number| match number % 7 {
        0 => format!("<34>Oct 11 22:14:15 web{} su[7]: block {block} failed {number}\n", block % 3),
        3 => String::from("\n"),
        _ => format!("<14>1 2026-11-21T10:00:00Z db{block} app - - - block {block} {number}\n"),
    };
    (0..blocks).map(|block| (0..200).map(|number| line(block, number)).collect()).collect()
}

pub(crate) struct Place {
    pub(crate) dir: TempDir,
}

impl Place {
    pub(crate) fn new() -> Self {
        Self { dir: TempDir::new().unwrap() }
    }

    pub(crate) fn put(&self, name: &str, bytes: &[u8]) -> PathBuf {
        let path = self.dir.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, bytes).unwrap();
        path
    }

    /// A command here; its words as they stand.
    pub(crate) fn flumen(&self, words: &[&str]) -> &mut Command {
        let mut command = flumen("");
        command.args(words).current_dir(self.dir.path());
        Box::leak(Box::new(command))
    }

    #[track_caller]
    fn grep(&self, arguments: &[&str]) -> Said {
        said(self.command(arguments))
    }

    fn command(&self, arguments: &[&str]) -> &mut Command {
        let mut command = flumen("grep");
        command.args(arguments).current_dir(self.dir.path());
        Box::leak(Box::new(command))
    }
}

fn stock(arguments: &[&str], text: &str) -> (String, Option<i32>) {
    let mut command = Command::new("grep");
    command.arg("-a").args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let mut input = child.stdin.take().unwrap();
    let text = text.to_owned();
    let writer = std::thread::spawn(move || drop(input.write_all(text.as_bytes())));
    let output = child.wait_with_output().unwrap();
    writer.join().unwrap();
    (String::from_utf8(output.stdout).unwrap(), output.status.code())
}

/// Whatever the codec and the threads, whatever is asked: what stock grep finds in the text.
#[test]
fn finds_what_grep_finds() {
    if peer("grep").is_none() {
        return;
    }
    let place = Place::new();
    let texts = texts(9);
    for codec in HEADED {
        let name =
            format!("{codec}/x.log{}", Container::from_wire_id(codec.wire_id()).unwrap().suffix());
        place.put(&name, &segment(codec, &texts, 0, true).bytes);
        place.put(
            &format!("open/{codec}/{}.open", &name[codec.to_string().len() + 1..]),
            &segment(codec, &texts, 0, false).bytes,
        );
    }
    let whole = texts.concat();
    place.put("none/x.log", whole.as_bytes());
    for arguments in [
        &["-F", "failed"][..],
        &["-F", "block 4 "],
        &["-F", "nowhere"],
        &["-F", "-i", "FAILED 1"],
        &["-E", "^<34>.*(failed 7|failed 14)$"],
        &["-E", "web[01].*fail"],
        &["-v", "-F", "block"],
        &["-E", "^$"],
        &["-c", "-F", "failed"],
        &["-o", "-E", "block [0-9]"],
        &["-c", "-v", "-E", "db[0-9]"],
        &["-A", "2", "-F", "failed 49"],
        &["-B", "3", "-F", "block 3 1"],
        &["-C", "1", "-F", "failed 196"],
        &["-C", "0", "-E", "failed 7$"],
        &["-F", ""],
    ] {
        let (expected, code) = stock(arguments, &whole);
        let ours: Vec<&str> = arguments.iter().copied().filter(|word| *word != "-E").collect();
        for folder in ["zstd", "gzip", "lz4", "none", "open/zstd", "open/gzip", "open/lz4"] {
            for threads in ["1", "3"] {
                let ours = [&ours[..], &[folder, "--threads", threads]].concat();
                let found = place.grep(&ours);
                assert_eq!(found.err, "", "{ours:?}");
                assert_eq!((&found.out, found.code), (&expected, code), "{ours:?}");
            }
        }
    }
}

#[test]
fn time_chooses_blocks_and_files_come_in_its_order() {
    let place = Place::new();
    let texts = |name: &str| -> Vec<String> { (0..4).map(|n| format!("{name}{n}\n")).collect() };
    place.put("b.log.zst", &segment(Codec::Zstd, &texts("b"), 0, true).bytes);
    place.put("a.log.gz", &segment(Codec::Gzip, &texts("a"), 2, true).bytes);
    place.put("c.log.lz4.open", &segment(Codec::Lz4, &texts("c"), 5, false).bytes);
    let all = place.grep(&["", "."]);
    assert_eq!(all.out, "b0\nb1\na0\nb2\na1\nb3\na2\na3\nc0\nc1\nc2\nc3\n");
    for (range, expected) in [
        (&["--since", "2026-11-21T10:05:00Z"][..], "a3\nc0\nc1\nc2\nc3\n"),
        (&["--until", "2026-11-21T10:02:00Z"], "b0\nb1\n"),
        (&["--since", "2026-11-21T10:02:30Z", "--until", "2026-11-21T10:02:31Z"], "a0\nb2\n"),
        (&["--since", "@1795255500", "--until", "@1795255560"], "a3\nc0\n"),
        (&["--since", "2026-11-21T12:00:00Z"], ""),
    ] {
        let found = place.grep(&[&["", "."], range].concat());
        assert_eq!((found.out.as_str(), found.err.as_str()), (expected, ""), "{range:?}");
        assert_eq!(found.code, Some(i32::from(expected.is_empty())));
    }
    let stats = place.grep(&["", ".", "--since", "2026-11-21T10:07:00Z", "--stats"]);
    assert!(stats.err.contains("2 blocks searched, 10 left out for their times"), "{}", stats.err);
    place.put("plain.log", b"p\n");
    let found = place.grep(&["", ".", "--since", "2026-11-21T10:08:00Z"]);
    assert_eq!((found.out.as_str(), found.code), ("p\nc3\n", Some(0)));
    assert!(found.err.contains("1 files keep no times and were searched whole"), "{}", found.err);
}

#[test]
fn hosts_severities_and_json() {
    let place = Place::new();
    place.put("x.log.zst", &segment(Codec::Zstd, &texts(3), 0, true).bytes);
    let lines = |arguments: &[&str]| place.grep(arguments).out.lines().count();
    assert_eq!(lines(&["", ".", "--host", "WEB1"]), 29);
    assert_eq!(lines(&["", ".", "--host", "web1", "--host", "db1"]), 29 + 142);
    assert_eq!(lines(&["9", ".", "--host", "web1", "--severity", "..err"]), 6);
    assert_eq!(lines(&["", ".", "--severity", "info"]), 3 * 142);
    assert_eq!(lines(&["-v", "failed", ".", "--severity", "crit"]), 0);
    let json = place.grep(&["-F", "block 2 failed 49", ".", "--json"]).out;
    let value: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!(value["message"], "<34>Oct 11 22:14:15 web2 su[7]: block 2 failed 49");
    assert_eq!(
        (&value["time"], &value["time_of"]),
        (&"2026-11-21T10:02:59.999999999Z".into(), &"block".into())
    );
    assert_eq!(value["file"], "./x.log.zst");
}

/// Each byte of a file in turn is damaged: every line found is one that was there, a block that is
/// not whole is named, and all others are found.
#[test]
fn damage_costs_no_more_than_its_block() {
    let place = Place::new();
    let texts: Vec<String> = (0..4).map(|n| format!("event {n}, the same words\n")).collect();
    for codec in HEADED {
        for sealed in [true, false] {
            let Segment { bytes, blocks } = segment(codec, &texts, 0, sealed);
            let suffix = Container::from_wire_id(codec.wire_id()).unwrap().suffix();
            let name = format!("x.log{suffix}{}", if sealed { "" } else { ".open" });
            let step = if sealed { 5 } else { 3 };
            for at in (0..bytes.len()).step_by(step) {
                let mut damaged = bytes.clone();
                damaged[at] ^= 0x55;
                place.put(&name, &damaged);
                let found = place.grep(&["-F", "the same", &name]);
                let hit = blocks.iter().position(|block| block.end_offset() > at as u64);
                let mut expected = texts.clone();
                // An index holds what a header does: with it only the data count.
                let data = hit.is_some_and(|hit| blocks[hit].data_offset() <= at as u64);
                if let Some(hit) = hit.filter(|_| data || !sealed) {
                    expected.remove(hit);
                }
                assert_eq!(found.out, expected.concat(), "{name} at {at}: {}", found.err);
                let lost = expected.len() < texts.len();
                let told = found.err.contains(" left out: ");
                assert_eq!((told, !found.err.is_empty()), (found.code == Some(2), told));
                // The last block of a file in progress may be one that is being written.
                let last = !sealed && hit == Some(3);
                assert!(told || !lost || last, "{name} at {at}: {}", found.err);
            }
        }
    }
}

#[test]
fn cut_files_are_read_to_the_cut_and_an_open_one_is_no_fault() {
    let place = Place::new();
    let texts: Vec<String> = (0..3).map(|n| format!("event {n}\n")).collect();
    for codec in HEADED {
        let Segment { bytes, blocks } = segment(codec, &texts, 0, true);
        let suffix = Container::from_wire_id(codec.wire_id()).unwrap().suffix();
        for cut in (1..bytes.len()).step_by(3) {
            let whole = blocks.iter().filter(|block| block.end_offset() <= cut as u64).count();
            let expected = texts[..whole].concat();
            let code = Some(i32::from(whole == 0));
            let open = format!("x.log{suffix}.open");
            place.put(&open, &bytes[..cut]);
            let found = place.grep(&["event", &open]);
            assert_eq!(
                (found.out.as_str(), found.err.as_str()),
                (&expected[..], ""),
                "{open} {cut}"
            );
            assert_eq!(found.code, code);
            let finished = format!("x.log{suffix}");
            place.put(&finished, &bytes[..cut]);
            let found = place.grep(&["event", &finished]);
            assert_eq!(
                (found.out.as_str(), found.code),
                (&expected[..], Some(2)),
                "{finished} {cut}"
            );
            assert!(found.err.contains(&finished), "{}", found.err);
        }
    }
}

#[test]
fn files_of_others_pipes_binary_bytes_and_long_lines() {
    let place = Place::new();
    let long = "y".repeat(3 << 20);
    let text = format!("one needle\n{long} needle\nbinary \u{1}\0 needle\nlast needle");
    let stored = [
        ("a.log", text.clone().into_bytes()),
        ("b.log.zst", zstd::encode_all(text.as_bytes(), 1).unwrap()),
        ("c.log.gz", gzip(text.as_bytes())),
    ];
    for (name, bytes) in stored {
        place.put(name, &bytes);
        let found = place.grep(&["needle", name]);
        assert_eq!((found.out, found.code), (format!("{text}\n"), Some(0)), "{name}");
        assert_eq!(place.grep(&["-c", "needle", name]).out, "4\n");
        let mut command = flumen("grep -F needle -");
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let mut input = child.stdin.take().unwrap();
        let writer = std::thread::spawn(move || input.write_all(&bytes).unwrap());
        let output = child.wait_with_output().unwrap();
        writer.join().unwrap();
        assert_eq!(output.stdout, format!("{text}\n").as_bytes(), "{name} through a pipe");
    }
    place.put("empty.log", b"");
    place.put("empty.log.zst", b"");
    place.put("junk.log.gz", b"\x1f\x8b\x08\0this is no gzip file at all");
    place.put("junk.log.zst", b"nor is this one, whatever its name says");
    let found = place.grep(&["needle", "empty.log", "empty.log.zst"]);
    assert_eq!((found.out.as_str(), found.err.as_str(), found.code), ("", "", Some(1)));
    let found =
        place.grep(&["-c", "needle", "junk.log.gz", "missing.log", "a.log", "junk.log.zst"]);
    assert_eq!((found.out.as_str(), found.code), ("4\n", Some(2)));
    assert_eq!(found.err.lines().count(), 3, "{}", found.err);
    let quiet = place.grep(&["-q", "needle", "missing.log", "a.log"]);
    assert_eq!((quiet.out.as_str(), quiet.code), ("", Some(0)));
}

fn gzip(text: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(text).unwrap();
    encoder.finish().unwrap()
}

/// More files than may be open at a time, by name and by directory, all of the same time.
#[test]
fn thousands_of_files() {
    let place = Place::new();
    let names: Vec<String> = (0..3000).map(|n| format!("d/{}/h{n:04}.log.zst", n % 10)).collect();
    for (number, name) in names.iter().enumerate() {
        let texts = [format!("host {number} one\n"), format!("host {number} two\n")];
        place.put(name, &segment(Codec::Zstd, &texts, 0, number % 2 == 0).bytes);
        if number % 2 == 1 {
            let path = place.dir.path().join(name);
            std::fs::rename(&path, format!("{}.open", path.display())).unwrap();
        }
    }
    let found = place.grep(&["-c", "", "d"]);
    assert_eq!((found.out.as_str(), found.err.as_str()), ("6000\n", ""));
    let sealed: Vec<&str> = names.iter().step_by(2).map(String::as_str).collect();
    let mut limited = Command::new("sh");
    limited.args(["-c", "ulimit -n 300; exec \"$@\"", "sh", env!("CARGO_BIN_EXE_flumen"), "grep"]);
    let found = said(limited.arg("two").args(&sealed).current_dir(place.dir.path()));
    assert_eq!((found.err.as_str(), found.out.lines().count()), ("", 1500));
    assert!(found.out.lines().next().unwrap().contains("host 0 two"), "in the order named");
}

#[test]
fn closed_pipes_and_signals_end_it() {
    let place = Place::new();
    let many: String = (0..400_000).map(|n| format!("line {n} of many\n")).collect();
    place.put("x.log.zst", &segment(Codec::Zstd, &vec![many; 8], 0, true).bytes);
    for arguments in [&["line", "."][..], &["line", ".", "--json"], &["-C1", "7 of", "."]] {
        let command = place.command(arguments);
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let mut some = [0; 1000];
        child.stdout.take().unwrap().read_exact(&mut some).unwrap();
        assert_eq!(wait_child(&mut child).and_then(|status| status.code()), Some(0));
        let mut err = String::new();
        child.stderr.take().unwrap().read_to_string(&mut err).unwrap();
        assert_eq!(err, "", "{arguments:?}");
    }
    // Not SIGINT: whoever runs us in the background may have it ignored, and so has the child then.
    let command = place.command(&["line", "."]);
    let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
    let id = rustix::process::Pid::from_child(&child);
    rustix::process::kill_process(id, Signal::TERM).unwrap();
    let status = wait_child(&mut child).expect("it ends");
    assert_eq!(std::os::unix::process::ExitStatusExt::signal(&status), Some(Signal::TERM.as_raw()));
}

/// While an agent writes and rolls, and after it was killed: nothing twice, nothing missing.
#[test]
fn finds_events_while_the_agent_writes() {
    for codec in COMPRESSORS.iter().map(|kind| kind.name) {
        let configuration = SYSLOG_TO_FILE.replace(r#""zstd""#, &format!("{codec:?}"));
        let agent = Agent::start(&configuration.replace("{dir}/out.log", "{dir}/logs/out.log"));
        let logs = agent.dir.path().join("logs");
        let mut sent = 0;
        for round in 0..4 {
            let lines: String = (sent..sent + 300).map(|n| line(0, n) + "\n").collect();
            sent += 300;
            TcpStream::connect(agent.tcp("net")).unwrap().write_all(lines.as_bytes()).unwrap();
            agent.wait_for(sent);
            let found = || said(flumen("grep -c").arg("").arg(&logs));
            assert!(until(|| found().out == format!("{sent}\n")), "{codec} {}", found().out);
            assert_eq!(found().err, "", "{codec} round {round}");
            if round % 2 == 0 {
                agent.signal(Signal::USR1);
                assert!(until(|| paths(&logs, ".open").is_empty()));
            }
        }
        let dir = agent.kill();
        let found = said(flumen("grep -c").arg("").arg(&logs));
        assert_eq!((found.out, found.err), (format!("{sent}\n"), String::new()), "{codec}");
        drop(dir);
    }
}

#[test]
fn mistakes_say_what_would_be_right() {
    let place = Place::new();
    place.put("x.log", b"text\n");
    for (arguments, hint) in [
        (&["a(", "x.log"][..], "-F takes it as text"),
        (&["a", "x.log", "--since", "yesterday"], "--since: \"yesterday\" is no moment"),
        (&["a", "x.log", "--since", "1h", "--until", "2h"], "is not before --until"),
        (&["a", "x.log", "--severity", "loud"], "severities are emerg"),
        (&["a", "x.log", "--severity", "info..err"], "\"err..info\""),
        (&["a"], "<PATH>"),
        (&["a", "x.log", "-A", "-1"], "'-1'"),
        (&["a", "x.log", "--threads", "0"], "1..=64"),
        (&["a", "x.log", "-o", "--json"], "cannot be used with"),
    ] {
        let wrong = place.grep(arguments);
        assert_eq!((wrong.code, wrong.out.as_str()), (Some(2), ""), "{arguments:?}");
        assert!(wrong.err.contains(hint), "{arguments:?}: {}", wrong.err);
    }
    assert_eq!(place.grep(&["-F", "--", "-e", "x.log"]).code, Some(1), "a pattern with a dash");
}

#[test]
fn kept_files_of_older_versions_are_searched() {
    for name in ["raw.log.zst", "raw.log.gz", "raw.log.lz4"] {
        let whole = said(flumen("cat").arg(kept(name))).out;
        assert_eq!(said(flumen("grep").arg("").arg(kept(name))).out, whole);
    }
}
