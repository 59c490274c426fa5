//! Files of `codec = "lzo"`, read by lzop itself: finished, while they are written, and after a
//! kill; and lzop's own files, whatever it was asked for, read by us.

use crate::commands::{flumen, said};
use crate::harness::{Agent, SYSLOG_TO_FILE, lines_of, paths, written};
use crate::peers::{peer, texts};
use flumen::archive::{Ending, visit};
use flumen::storage::OsDisk;
use flumen::storage::recovery::{Mode, Outcome, recover_file};
use std::io::Write;
use std::net::TcpStream;
use std::ops::ControlFlow;
use std::path::Path;
use std::process::{Command, Output};

const COUNT: usize = 10_000;

/// Blocks that become several pieces.
fn configuration() -> String {
    let block = r#"block   = { age = "200ms" }"#;
    SYSLOG_TO_FILE.replace(r#""zstd""#, r#""lzo""#).replace(r#"block   = { age = "50ms" }"#, block)
}

/// Of many lengths, and the same on each run: 2 MB in all.
fn lines() -> Vec<String> {
    let long = |(number, text): (usize, String)| text.repeat(1 + number % 13);
    texts(COUNT).into_iter().enumerate().map(long).collect()
}

fn send(agent: &Agent, lines: &[String]) {
    let mut stream = TcpStream::connect(agent.tcp("net")).expect("it listens");
    stream.write_all((lines.join("\n") + "\n").as_bytes()).expect("sent");
}

fn lzop(tool: &Path, arguments: &[&str], file: &Path) -> Output {
    Command::new(tool).args(arguments).arg(file).output().expect("it runs")
}

/// lzop has nothing to say against it: its exit code tells of warnings, too.
#[track_caller]
fn sound(tool: &Path, file: &Path) {
    let output = lzop(tool, &["-t"], file);
    assert!(output.status.success(), "{}: {output:?}", file.display());
}

#[test]
fn lzop_reads_what_was_written() {
    let Some(tool) = peer("lzop") else { return };
    let agent = Agent::start(&configuration());
    let lines = lines();
    let half = lines[..COUNT / 2].join("\n") + "\n";
    send(&agent, &lines[..COUNT / 2]);
    agent.wait_for(COUNT as u64 / 2);

    // In progress: lzop misses the end, and has all that is before it; for us nothing is missing.
    let open = agent.dir.path().join("out.log.lzo.open");
    let input = std::fs::File::open(&open).unwrap();
    let torn = Command::new(&tool).arg("-dc").stdin(input).output().unwrap();
    assert!(!torn.status.success());
    assert_eq!(String::from_utf8(torn.stdout).unwrap(), half);
    let ours = |command: &str| {
        let told = said(flumen(command).args(command.starts_with("grep").then_some("")).arg(&open));
        assert_eq!((told.code, told.err.as_str()), (Some(0), ""), "{command}: {}", told.out);
        told.out
    };
    assert_eq!(ours("cat"), half);
    assert_eq!(ours("grep"), half);
    for command in ["grep -c", "inspect", "stats", "verify"] {
        assert!(ours(command).contains("5000"), "{command}: {}", ours(command));
    }

    send(&agent, &lines[COUNT / 2..]);
    agent.wait_for(COUNT as u64);
    let ended = agent.stop().well();
    let file = ended.dir.path().join("out.log.lzo");
    sound(&tool, &file);
    assert_eq!(lines_of(&file), lines, "lzop -dc");
    let copy = ended.dir.path().join("copy.lzo");
    std::fs::copy(&file, &copy).unwrap();
    let output = lzop(&tool, &["-d"], &copy);
    assert!(output.status.success() && output.stderr.is_empty(), "{output:?}");
    let text = std::fs::read_to_string(ended.dir.path().join("copy")).unwrap();
    assert_eq!(text, lines.join("\n") + "\n", "lzop -d");
    assert_eq!(said(flumen("cat").arg(&file)).out, text);
    let verified = said(flumen("verify").arg(&file));
    assert_eq!((verified.code, verified.err.as_str()), (Some(0), ""), "{}", verified.out);
    // A finished file that lost its end is no whole file, to neither.
    let bytes = std::fs::read(&file).unwrap();
    std::fs::write(&file, &bytes[..bytes.len() - 4]).unwrap();
    assert!(!lzop(&tool, &["-t"], &file).status.success());
    let cat = said(flumen("cat").arg(&file));
    assert_eq!((cat.code, cat.out), (Some(1), text));
    assert!(cat.err.contains("ends early or is damaged: the end mark is missing"), "{}", cat.err);
}

#[test]
fn what_a_kill_leaves_is_read_and_mended_to_the_last_whole_piece() {
    let Some(tool) = peer("lzop") else { return };
    let lines = lines();
    let agent = Agent::start(&configuration());
    send(&agent, &lines);
    agent.wait("something is written", |ledger| written(ledger) > 0);
    let dir = agent.kill();
    let open = paths(dir.path(), ".open").remove(0);
    let bytes = std::fs::read(&open).expect("readable");
    let cat = said(flumen("cat").arg(&open));
    assert_eq!((cat.code, cat.err.as_str()), (Some(0), ""));
    let before: Vec<&str> = cat.out.lines().collect();
    assert!(!before.is_empty() && lines.iter().zip(&before).all(|(sent, found)| sent == found));

    // Cut anywhere: what is kept is a whole file to lzop, of whole lines.
    let (mut kept, mut last) = (0, 0);
    for cut in (1..bytes.len()).step_by(bytes.len() / 40).chain([bytes.len() - 1]) {
        let path = dir.path().join("cut.log.lzo.open");
        std::fs::write(&path, &bytes[..cut]).expect("written");
        let told = recover_file(&OsDisk, &path, Mode::DryRun).to_string();
        let recovered = recover_file(&OsDisk, &path, Mode::Repair);
        assert_eq!(recovered.to_string(), told);
        match recovered.outcome {
            Outcome::Sealed(path) => {
                sound(&tool, &path);
                let found = lines_of(&path);
                assert!(found.len() >= last && found.len() <= before.len(), "cut at {cut}");
                assert!(found.iter().zip(&before).all(|(found, read)| found == read));
                assert_eq!(recovered.kept_bytes + recovered.cut_bytes, cut as u64, "{told}");
                (kept, last) = (kept + 1, found.len());
                std::fs::remove_file(path).expect("removed");
            }
            Outcome::SetAside(path) => std::fs::remove_file(path).expect("removed"),
            Outcome::RemovedEmpty => assert!(cut <= 38, "{cut}"),
            other => panic!("cut at {cut}: {other:?}"),
        }
    }
    assert!(kept > 0 && last > 0, "{kept} cuts left lines");

    let before: Vec<String> = before.into_iter().map(str::to_owned).collect();
    let agent = Agent::start_in(dir, &configuration());
    send(&agent, &lines[..10]);
    agent.wait_for(10);
    let ended = agent.stop().well();
    assert!(ended.log.contains("recovered"), "{}", ended.log);
    for (name, expected) in [("out.log.lzo", &before[..]), ("out.log.1.lzo", &lines[..10])] {
        sound(&tool, &ended.dir.path().join(name));
        assert_eq!(lines_of(&ended.dir.path().join(name)), expected, "{name}");
    }
}

/// Damage costs the file's rest to who reads it, is named, and `repair` keeps what is behind it.
#[test]
fn damage_is_told() {
    let agent = Agent::start(&configuration());
    let lines = lines();
    for part in lines.chunks(COUNT / 4) {
        let before = written(&agent.ledger());
        send(&agent, part);
        agent.wait_for(before + part.len() as u64);
    }
    let dir = agent.stop().well().dir;
    let file = dir.path().join("out.log.lzo");
    let mut bytes = std::fs::read(&file).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 0x20;
    std::fs::write(&file, &bytes).unwrap();
    for command in ["cat", "verify", "stats", "inspect"] {
        let told = said(flumen(command).arg(&file));
        let all = format!("{}{}", told.out, told.err);
        assert_eq!(told.code, Some(1), "{command}: {all}");
        assert!(all.contains("does not match its checksum") || all.contains("cannot be"), "{all}");
    }
    let open = dir.path().join("out.log.lzo.open");
    std::fs::rename(&file, &open).unwrap();
    let repaired = said(flumen("repair").arg(dir.path()));
    assert!(repaired.out.contains(" and copied to "), "{}", repaired.out);
    let kept = lines_of(&file);
    assert!(!kept.is_empty() && kept.len() < lines.len() && lines.starts_with(&kept));
    let aside = dir.path().join("out.log.lzo.bad");
    let whole = std::fs::metadata(&file).unwrap().len() - 4;
    assert_eq!(std::fs::read(aside).unwrap(), bytes[whole as usize..]);
}

/// The other way round: one member or two, with all of its checksums and with none.
#[test]
fn files_of_lzop_are_read() {
    let Some(tool) = peer("lzop") else { return };
    let dir = tempfile::tempdir().unwrap();
    let lines = lines();
    let [one, two] = ["one.log", "two.log"].map(|name| dir.path().join(name));
    std::fs::write(&one, lines[..7000].join("\n") + "\n").unwrap();
    std::fs::write(&two, lines[7000..].join("\n") + "\n").unwrap();
    for options in [&["-1"][..], &["-9"], &["-C"], &["-CC", "--crc32"], &["-F"], &["-P"]] {
        let output = Command::new(&tool).arg("-c").args(options).args([&one, &two]).output();
        let output = output.unwrap();
        assert!(output.status.success(), "{options:?}: {output:?}");
        let file = dir.path().join("theirs");
        std::fs::write(&file, &output.stdout).unwrap();
        let mut found = Vec::new();
        let mut keep = |event: &flumen::archive::EventView<'_>| {
            found.push(String::from_utf8(event.line.to_vec()).unwrap());
            ControlFlow::Continue(())
        };
        let summary = visit(&file, &mut keep).unwrap();
        assert_eq!(summary.ending, Ending::Stream, "{options:?}");
        assert!(found == lines, "{options:?}: {} lines", found.len());
    }
}

/// What has no place in such a file is refused by name; what has no effect is told.
#[test]
fn what_such_a_file_has_no_room_for_is_refused() {
    for (more, what) in [
        ("keep_meta = true", "no headers of ours to keep times and peers in"),
        ("tokens = true", "no headers of ours to keep words in"),
        ("chain = true", "no headers of ours to keep hashes in"),
        ("encoder = \"datagram\"", "no headers of ours to tell that records"),
        ("encoder = \"avro_event\"", "Avro has no codec `lzo`"),
        ("level = 3", "`level` has no effect on lzo"),
    ] {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("agent.toml");
        let text = configuration()
            .replace("{dir}", &dir.path().to_string_lossy())
            .replace("codec   =", &format!("{more}\ncodec   ="));
        std::fs::write(&file, text).unwrap();
        let told = said(flumen("check").arg(&file));
        let warned = more.starts_with("level");
        assert_eq!(told.code, Some(if warned { 0 } else { 2 }), "{more}: {}", told.err);
        let all = format!("{}{}", told.out, told.err);
        assert!(all.contains(what), "{more}: {all}");
    }
}
