//! Files of the encoder `avro_event`, read by Avro's own library: finished, while they are written,
//! and after a kill. And files of that library's, read by the source `spooldir`.

use crate::harness::{Agent, SYSLOG_TO_FILE, flumen, lines_of, paths, until, written};
use crate::peers::avro;
use flumen::codec::avro::Schema;
use flumen::storage::OsDisk;
use flumen::storage::avro::{EVENT_SCHEMA, head, put_block};
use flumen::storage::recovery::{Mode, Outcome, recover_file};
use serde_json::Value;
use std::io::Write;
use std::net::TcpStream;
use std::path::Path;
use std::process::Command;

/// Prints the schema's name, the codec, and each record as a line of JSON. A torn tail ends it.
const READER: &str = r#"
import json, sys
from avro.datafile import DataFileReader
from avro.io import DatumReader
reader = DataFileReader(open(sys.argv[1], "rb"), DatumReader())
print(json.dumps([json.loads(reader.schema)["name"], reader.codec]))
for record in reader:
    print(json.dumps([record["headers"], record["body"].decode("latin-1")]), flush=True)
"#;

/// What the library reads: the codec, the records, and whether it came to the end.
fn read(python: &Path, file: &Path) -> (String, Vec<(Value, String)>, bool) {
    let output = Command::new(python).args(["-c", READER]).arg(file).output().expect("it runs");
    let text = String::from_utf8(output.stdout).expect("JSON");
    let mut lines = text.lines().map(|line| serde_json::from_str::<Value>(line).expect("JSON"));
    let head = lines.next().unwrap_or_else(|| {
        panic!("{}: {}", file.display(), String::from_utf8_lossy(&output.stderr))
    });
    assert_eq!(head[0], "Event");
    let records = lines.map(|record| (record[0].clone(), record[1].as_str().unwrap().to_owned()));
    (head[1].as_str().unwrap().to_owned(), records.collect(), output.status.success())
}

fn configuration(codec: &str) -> String {
    let asked = format!("encoder = \"avro_event\"\ncodec   = {codec:?}");
    SYSLOG_TO_FILE.replace(r#"codec   = "zstd""#, &asked).replace("out.log", "out.avro")
}

fn send(agent: &Agent, numbers: std::ops::Range<u64>) {
    let mut stream = TcpStream::connect(agent.tcp("net")).expect("it listens");
    for number in numbers {
        let line = format!("<34>1 2003-10-11T22:14:15Z web su - - - number {number} \u{fc}\n");
        stream.write_all(line.as_bytes()).expect("it reads");
    }
}

fn body(number: u64) -> String {
    // As Latin-1, byte by byte.
    format!("su - - - number {number} \u{c3}\u{bc}")
}

#[test]
fn avros_own_library_reads_what_was_written() {
    let Some(python) = avro() else { return };
    for (codec, theirs) in [("none", "null"), ("gzip", "deflate"), ("zstd", "zstandard")] {
        let agent = Agent::start(&configuration(codec));
        send(&agent, 0..3000);
        agent.wait_for(3000);
        // While it is written it is a whole file, too.
        let open = paths(agent.dir.path(), ".open");
        let (_, records, whole) = read(&python, &open[0]);
        assert!(whole && records.len() == 3000, "{codec}: {} records", records.len());
        let ended = agent.stop().well();
        let (codec, records, whole) = read(&python, &ended.dir.path().join("out.avro"));
        assert!(whole && codec == theirs, "{codec}");
        assert_eq!(records.len(), 3000);
        for (number, (headers, text)) in (0..).zip(&records) {
            assert_eq!(*text, body(number));
            assert_eq!((&headers["host"], &headers["Severity"]), (&"web".into(), &"2".into()));
        }
    }
}

#[test]
fn what_a_kill_leaves_is_read_and_mended_to_the_last_whole_block() {
    let Some(python) = avro() else { return };
    let configuration = configuration("zstd");
    let agent = Agent::start(&configuration);
    send(&agent, 0..2000);
    agent.wait("something is written", |ledger| written(ledger) > 0);
    let dir = agent.kill();
    let open = paths(dir.path(), ".open").remove(0);
    let bytes = std::fs::read(&open).expect("readable");
    let (_, before, whole) = read(&python, &open);
    assert!(whole && !before.is_empty(), "what was appended is whole");

    // Cut anywhere: what is kept is a whole file, and no record is another one.
    let cut_at = |cut: usize| {
        let path = dir.path().join("cut.avro.open");
        std::fs::write(&path, &bytes[..cut]).expect("written");
        recover_file(&OsDisk, &path, Mode::Repair)
    };
    let mut kept = 0;
    for cut in (0..bytes.len()).step_by(bytes.len() / 12).chain([bytes.len() - 1]) {
        let recovered = cut_at(cut);
        match recovered.outcome {
            Outcome::Sealed(path) => {
                let (_, records, whole) = read(&python, &path);
                assert!(whole && Some(records.len() as u64) == recovered.events, "cut at {cut}");
                assert!(before.starts_with(&records) && recovered.cut_bytes > 0, "cut at {cut}");
                kept += 1;
                std::fs::remove_file(path).expect("removed");
            }
            Outcome::SetAside(path) => std::fs::remove_file(path).expect("removed"),
            Outcome::RemovedEmpty => {}
            other => panic!("cut at {cut}: {other:?}"),
        }
    }
    println!("{kept} cuts left records");

    let agent = Agent::start_in(dir, &configuration);
    send(&agent, 2000..2500);
    agent.wait_for(500);
    let ended = agent.stop().well();
    assert!(ended.log.contains("recovered"), "{}", ended.log);
    let (_, mended, whole) = read(&python, &ended.dir.path().join("out.avro"));
    assert!(whole && mended == before, "{} of {} records", mended.len(), before.len());
    let (_, after, whole) = read(&python, &ended.dir.path().join("out.avro.1"));
    assert!(whole && after.len() == 500, "{} records", after.len());
    assert_eq!(after[0].1, body(2000));
}

/// Writes a file of three records for each codec that the library has.
const WRITER: &str = r#"
import os, sys
import avro.schema
from avro.datafile import DataFileWriter
from avro.io import DatumWriter
schema = avro.schema.parse('{"type": "fixed", "name": "Line", "namespace": "a.b", "size": 8}')
for codec in ("null", "deflate", "bzip2", "zstandard"):
    with DataFileWriter(open(f"{sys.argv[1]}/.{codec}", "wb"), DatumWriter(), schema, codec) as out:
        for number in range(3000):
            out.append(f"line{number:04}".encode())
            if number % 1000 == 999:
                out.sync()
    os.rename(f"{sys.argv[1]}/.{codec}", f"{sys.argv[1]}/{codec}")
"#;

const SPOOLED: &str = r#"
[agent]
memory = "96MiB"
admin  = "127.0.0.1:0"
cores  = "none"

[sources.files]
type            = "spooldir"
spool_dir       = "{dir}/spool"
poll_delay      = "20ms"
deserializer    = "avro"
basename_header = true
channel         = "main"

[channels.main]
type = "memory"

[sinks.archive]
type    = "file"
channel = "main"
path    = "{dir}/out/%{basename}-%{flume.avro.schema.hash}.log"
codec   = "none"
"#;

#[test]
fn files_of_avros_own_library_are_events() {
    let Some(python) = avro() else { return };
    let dir = tempfile::tempdir().expect("a folder");
    let spool = dir.path().join("spool");
    std::fs::create_dir(&spool).expect("a folder in it");
    let wrote = Command::new(python).args(["-c", WRITER]).arg(&spool).output().expect("it runs");
    assert!(wrote.status.success(), "{}", String::from_utf8_lossy(&wrote.stderr));
    let agent = Agent::start_in(dir, SPOOLED);
    let all = ["null", "deflate", "bzip2", "zstandard"];
    let spool = agent.dir.path().join("spool");
    let done = || all.iter().all(|codec| spool.join(format!("{codec}.COMPLETED")).exists());
    assert!(until(done), "not all are put away\n{}", agent.log());
    let ended = agent.stop().well();
    let schema = r#"{"type":"fixed","size":8,"name":"a.b.Line"}"#;
    let hash = Schema::parse(schema).expect("a schema").fingerprint();
    for codec in all {
        let lines = lines_of(&ended.dir.path().join(format!("out/{codec}-{hash}.log")));
        let expected = (0..3000).map(|number| format!("line{number:04}"));
        assert!(lines.into_iter().eq(expected), "{codec}");
    }
}

/// What a command says, what it complains of, and whether it ended well.
fn say(arguments: &[&str], file: &Path) -> (String, String, bool) {
    let output = flumen().args(arguments).arg(file).output().expect("it runs");
    let text = |bytes| String::from_utf8(bytes).expect("UTF-8");
    (text(output.stdout), text(output.stderr), output.status.success())
}

#[test]
fn our_own_commands_read_them() {
    for codec in ["none", "gzip", "zstd"] {
        let agent = Agent::start(&configuration(codec));
        send(&agent, 0..3000);
        agent.wait_for(3000);
        let expected: String =
            (0..3000).map(|number| format!("su - - - number {number} \u{fc}\n")).collect();
        let open = paths(agent.dir.path(), ".open").remove(0);
        let read = say(&["cat"], &open);
        assert!(read == (expected.clone(), String::new(), true), "{codec}: {}", read.1);
        let ended = agent.stop().well();
        let file = ended.dir.path().join("out.avro");
        let read = say(&["cat"], &file);
        assert!(read == (expected.clone(), String::new(), true), "{codec}: {}", read.1);
        for (arguments, told) in [
            (&["grep", "--count", "number 29"][..], "111\n"),
            (&["grep", "--count", "--host", "web", "number 2999"], "1\n"),
            (&["grep", "number 2999"], "su - - - number 2999 \u{fc}\n"),
        ] {
            assert_eq!(say(arguments, &file), (told.to_owned(), String::new(), true), "{codec}");
        }
        let (json, _, _) = say(&["grep", "--json", "number 2999"], &file);
        let event: Value = serde_json::from_str(&json).expect("JSON");
        assert_eq!(event["message"], "su - - - number 2999 \u{fc}");
        assert_eq!(
            (&event["headers"]["host"], &event["headers"]["Severity"]),
            (&"web".into(), &"2".into())
        );
        assert!(say(&["verify"], &file).2, "{codec}");

        // What is cut or damaged is told; all other blocks are read.
        let bytes = std::fs::read(&file).expect("readable");
        let torn = ended.dir.path().join("torn.avro");
        std::fs::write(&torn, &bytes[..bytes.len() - 1]).expect("written");
        let (text, told, well) = say(&["cat"], &torn);
        assert!(expected.starts_with(&text) && text.len() < expected.len() && !well);
        assert!(told.contains("the file ends within a block"), "{told}");
        assert!(!say(&["verify"], &torn).2 && !say(&["grep", "number 0 "], &torn).1.is_empty());
    }
}

#[test]
fn our_own_commands_tell_what_is_damaged_and_read_on_behind_it() {
    let dir = tempfile::tempdir().expect("a folder");
    let marker = *b"0123456789abcdef";
    let mut file = head(EVENT_SCHEMA, "null", &marker);
    let mut places = vec![file.len()];
    for text in ["one", "two", "three"] {
        let put = |out: &mut Vec<u8>| {
            out.extend_from_slice(&[0, 2 * text.len() as u8]);
            out.extend_from_slice(text.as_bytes());
            Ok::<(), ()>(())
        };
        put_block(&mut file, 1, &marker, put).expect("appended");
        places.push(file.len());
    }
    let path = dir.path().join("three.avro");
    for (at, byte) in [(places[1] + 3, 0x7e), (places[2] - 1, b'?'), (places[1], 0xff)] {
        let mut damaged = file.clone();
        damaged[at] = byte;
        std::fs::write(&path, damaged).expect("written");
        let (text, told, well) = say(&["cat"], &path);
        // Without its own marker a block is known to end where the next one does.
        let lost = if byte == b'?' { "one\n" } else { "one\nthree\n" };
        assert_eq!((&*text, well), (lost, false), "{at}: {told}");
        let place = format!("1 places are left out, the first at byte {}", places[1]);
        assert!(told.contains(&place), "{told}");
    }
    std::fs::write(&path, &file).expect("written");
    let file = std::fs::File::open(&path).expect("it is there");
    let piped = flumen().args(["cat", "-"]).stdin(file).output().expect("it runs");
    let told = String::from_utf8_lossy(&piped.stderr);
    assert!(told.contains("not read from a pipe") && !piped.status.success(), "{told}");
    std::fs::write(&path, head("\"string\"", "null", &marker)).expect("written");
    let (_, told, well) = say(&["cat"], &path);
    assert!(told.contains("no events of headers and body") && !well, "{told}");
}
