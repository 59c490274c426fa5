//! Each command where it meets the world: a reader that has gone, a full device, files that are
//! missing, foreign or damaged, words that mean nothing; and what it answers with its exit code.

use crate::harness::{DEADLINE, nobody};
use std::io::{Read, Write};
use std::net::UdpSocket;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::time::Instant;
use tempfile::TempDir;

/// Six events in three blocks.
const KEPT: [&str; 3] = ["raw.log.zst", "raw.log.gz", "raw.log.lz4"];

pub(crate) fn kept(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/compat/v1").join(name)
}

pub(crate) fn flumen(arguments: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_flumen"));
    command.args(arguments.split_whitespace()).stdin(Stdio::null());
    command
}

pub(crate) struct Said {
    pub(crate) code: Option<i32>,
    pub(crate) out: String,
    pub(crate) err: String,
}

#[track_caller]
pub(crate) fn said(command: &mut Command) -> Said {
    let output = command.output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    let (out, err) = (text(output.stdout), text(output.stderr));
    assert!(!err.contains("panicked"), "{err}");
    Said { code: output.status.code(), out, err }
}

/// A pipe whose reader has gone before anything is written to it.
fn closed_pipe() -> Stdio {
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    writer.into()
}

fn full_device() -> Stdio {
    std::fs::OpenOptions::new().write(true).open("/dev/full").unwrap().into()
}

/// What commands read: archives, a configuration, a manifest of which nothing was found.
struct Place {
    dir: TempDir,
}

impl Place {
    fn new() -> Self {
        let place = Self { dir: TempDir::new().unwrap() };
        for name in KEPT {
            std::fs::create_dir_all(place.path("kept")).unwrap();
            std::fs::copy(kept(name), place.path("kept").join(name)).unwrap();
        }
        place.put("x.toml", b"[sources.in]\ntype = 'stdin'\n[sinks.out]\ntype = 'null'\n");
        place.put("torn.log.open", b"one\ntw");
        let target = UdpSocket::bind("127.0.0.1:0").unwrap();
        let manifest = place.path("sent.json");
        let to = format!("blast udp://{} --count 5 --manifest", target.local_addr().unwrap());
        assert_eq!(said(flumen(&to).arg(&manifest)).code, Some(0));
        place
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn put(&self, name: &str, bytes: &[u8]) {
        std::fs::write(self.path(name), bytes).unwrap();
    }

    fn flumen(&self, arguments: &str) -> Command {
        let mut command = flumen(arguments);
        command.current_dir(self.dir.path());
        command
    }
}

/// Every command that writes to standard output, and its exit code when all is well with that.
const WRITERS: [(&str, i32); 18] = [
    ("--help", 0),
    ("--version", 0),
    ("cat --help", 0),
    ("grep --help", 0),
    ("cat kept", 0),
    ("cat kept --json", 0),
    ("cat --follow kept/raw.log.zst", 0),
    ("grep e kept --json", 0),
    ("inspect kept", 0),
    ("inspect kept --json", 0),
    ("repair --dry-run .", 0),
    ("stats kept", 0),
    ("tail kept", 0),
    ("verify kept", 0),
    ("verify kept --json", 0),
    ("check x.toml", 0),
    ("audit --manifest sent.json kept", 1),
    ("blast udp://127.0.0.1:9 --count 0", 0),
];

#[test]
fn a_reader_that_has_gone_ends_every_command_quietly() {
    let place = Place::new();
    for (arguments, code) in WRITERS {
        let open = said(&mut place.flumen(arguments));
        assert_eq!((open.code, open.err.as_str()), (Some(code), ""), "{arguments}");
        assert!(!open.out.is_empty(), "{arguments}");
        let closed = said(place.flumen(arguments).stdout(closed_pipe()));
        assert_eq!((closed.code, closed.err.as_str()), (Some(0), ""), "{arguments}");
    }
}

#[test]
fn a_full_device_is_told() {
    let place = Place::new();
    for (arguments, _) in WRITERS {
        let full = said(place.flumen(arguments).stdout(full_device()));
        // Of a search 1 says that nothing was found.
        let code = if arguments.starts_with("grep e") { 2 } else { 1 };
        assert_eq!(full.code, Some(code), "{arguments}: {}", full.err);
        let told = "standard output: No space left on device";
        assert!(full.err.contains(told) && full.err.lines().count() == 1, "{}", full.err);
    }
}

/// Complaints that nobody can read change nothing.
#[test]
fn nobody_hears_the_complaints() {
    let place = Place::new();
    place.put("sent.txt", b"no manifest");
    let blast = format!("blast tcp://{} --count 1", nobody());
    for (arguments, code) in [
        ("cat missing", 1),
        ("cat missing --follow", 1),
        ("inspect missing", 1),
        ("repair missing", 2),
        ("check missing", 2),
        ("run missing", 2),
        ("audit --manifest missing kept", 2),
        ("audit --manifest sent.json missing", 1),
        (&*blast, 1),
        ("blast udp://127.0.0.1:9 --gso --size 100", 2),
        ("cat --no-such-flag", 2),
    ] {
        for deaf in [closed_pipe(), full_device()] {
            let status = place.flumen(arguments).stdout(Stdio::null()).stderr(deaf).status();
            assert_eq!(status.unwrap().code(), Some(code), "{arguments}");
        }
    }
}

/// A pipe holds 64 KiB; the rest is not wanted any more.
#[test]
fn a_reader_that_goes_after_the_first_line() {
    let place = Place::new();
    let lines: String = (0..200_000).map(|n| format!("line {n} of a long file\n")).collect();
    place.put("long.log", lines.as_bytes());
    let many: Vec<_> = (0..600).map(|_| place.path("kept/raw.log.zst")).collect();
    let mut inspect = place.flumen("inspect");
    inspect.args(&many);
    for mut command in
        [place.flumen("cat long.log"), place.flumen("cat --json - long.log"), inspect]
    {
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let mut some = [0; 100];
        child.stdout.take().unwrap().read_exact(&mut some).unwrap();
        let output = child.wait_with_output().unwrap();
        let err = String::from_utf8(output.stderr).unwrap();
        assert_eq!((output.status.code(), err.as_str()), (Some(0), ""), "{command:?}");
    }
}

/// What is there is shown, whatever else was asked for; the exit code says that something is not.
#[test]
fn one_file_that_cannot_be_read_stops_no_other() {
    let place = Place::new();
    let whole = said(&mut place.flumen("cat kept/raw.log.zst kept/raw.log.gz"));
    let holes = "kept/raw.log.zst missing kept/raw.log.gz";
    let found = said(&mut place.flumen(&format!("cat {holes}")));
    assert_eq!((found.code, &found.out), (Some(1), &whole.out));
    assert!(found.err.contains("missing: No such file") && found.err.lines().count() == 1);
    let found = said(&mut place.flumen(&format!("inspect {holes}")));
    assert_eq!((found.code, found.out.matches(", sealed\n").count()), (Some(1), 2));
    let found = said(&mut place.flumen("repair missing kept/raw.log.gz torn.log.open nowhere"));
    assert_eq!((found.code, found.err.lines().count()), (Some(2), 3), "{}", found.err);
    assert!(place.path("torn.log.open").exists(), "a mistake in the words: nothing is done");
}

/// Damage in every place of a finished file: the events that are whole come out, and it is said.
#[test]
fn damaged_files_are_read_as_far_as_they_are_whole() {
    let place = Place::new();
    for name in KEPT {
        let bytes = std::fs::read(kept(name)).unwrap();
        let all = said(flumen("cat").arg(kept(name))).out;
        for at in (0..bytes.len()).step_by(7) {
            let mut damaged = bytes.clone();
            damaged[at] ^= 0x55;
            place.put(name, &damaged);
            let found = said(&mut place.flumen(&format!("cat {name}")));
            let lines = found.out.lines().all(|line| all.lines().any(|it| it == line));
            assert!(lines, "{name} damaged at {at} gives {:?}", found.out);
            let whole = found.out == all;
            assert!(whole || found.code == Some(1), "{name} at {at}: {:?}", found.code);
            assert_eq!(found.code == Some(1), !found.err.is_empty(), "{name} at {at}");
            let shown = said(&mut place.flumen(&format!("inspect {name}")));
            assert!(whole || shown.code == Some(1), "{name} at {at}: {}", shown.out);
        }
    }
}

#[test]
fn files_of_others_and_files_that_are_none() {
    let place = Place::new();
    let junk: Vec<u8> =
        (0..4000_u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
    place.put("empty.log", b"");
    place.put("text.log", b"one\ntwo\nand a half");
    for name in ["junk.zst", "junk.gz", "junk.lz4", "junk.log.zst.open"] {
        place.put(name, &junk);
    }
    for (arguments, code, out) in [
        ("cat empty.log", 0, ""),
        ("cat text.log", 0, "one\ntwo\nand a half"),
        ("cat junk.zst", 1, ""),
        ("cat junk.gz", 1, ""),
        ("cat junk.lz4", 1, ""),
        ("cat junk.log.zst.open", 1, ""),
    ] {
        let found = said(&mut place.flumen(arguments));
        assert_eq!((found.code, found.out.as_str()), (Some(code), out), "{arguments}");
        assert_eq!(found.err.is_empty(), code == 0, "{arguments}: {}", found.err);
        let shown = said(&mut place.flumen(&arguments.replace("cat", "inspect")));
        assert_eq!(shown.code, Some(code), "{arguments}: {}", shown.out);
    }
    let left = said(&mut place.flumen("repair junk.log.zst.open"));
    assert_eq!(left.code, Some(0), "{}", left.err);
    assert!(left.out.contains("not a file of this program; left alone"), "{}", left.out);
    assert_eq!(std::fs::read(place.path("junk.log.zst.open")).unwrap(), junk);
    let found = said(&mut place.flumen("audit --manifest sent.json junk.zst text.log"));
    assert_eq!(found.code, Some(1));
    assert!(found.out.contains("unreadable") && found.out.contains("foreign"), "{}", found.out);
}

/// A cut file in progress is no fault, a cut finished file is one; `repair` finishes the first.
#[test]
fn cut_files_and_their_repair() {
    let place = Place::new();
    for name in KEPT {
        let bytes = std::fs::read(kept(name)).unwrap();
        let cut = &bytes[..bytes.len() / 2];
        let open = format!("{name}.open");
        place.put(name, cut);
        place.put(&open, cut);
        let finished = said(&mut place.flumen(&format!("cat {name}")));
        let unfinished = said(&mut place.flumen(&format!("cat {open}")));
        assert_eq!((finished.code, unfinished.code), (Some(1), Some(0)));
        assert_eq!(finished.out, unfinished.out);
        assert!(!finished.out.is_empty());
        assert!(finished.err.contains("cut short") && unfinished.err.contains("cut short"));
        let inspect = |name: &str| said(&mut place.flumen(&format!("inspect {name}")));
        assert_eq!((inspect(name).code, inspect(&open).code), (Some(1), Some(0)));
        std::fs::remove_file(place.path(name)).unwrap();
        let dry = said(&mut place.flumen(&format!("repair --dry-run {open}")));
        assert!(dry.code == Some(0) && dry.out.starts_with("would: "), "{}", dry.out);
        assert!(!place.path(name).exists());
        let done = said(&mut place.flumen(&format!("repair {open}")));
        assert_eq!((done.code, done.out.as_str()), (Some(0), &dry.out["would: ".len()..]));
        let repaired = said(&mut place.flumen(&format!("cat {name}")));
        assert_eq!((repaired.code, repaired.err.as_str()), (Some(0), ""));
        assert_eq!((&repaired.out, inspect(name).code), (&finished.out, Some(0)));
    }
    let nothing = said(&mut place.flumen("repair kept"));
    assert_eq!(
        (nothing.code, nothing.out.as_str()),
        (Some(0), "nothing to repair: no .open file\n")
    );
}

/// Standard input, and pipes by a name.
#[test]
fn a_dash_is_standard_input() {
    for name in KEPT {
        let whole = said(flumen("cat").arg(kept(name))).out;
        let open = || std::fs::File::open(kept(name)).unwrap();
        for dash in ["-", "/dev/stdin"] {
            assert_eq!(said(flumen("cat").arg(dash).stdin(open())).out, whole, "{dash} < {name}");
            let (found, status) =
                piped(flumen("cat").arg(dash), &std::fs::read(kept(name)).unwrap());
            assert_eq!((found, status.code()), (whole.clone(), Some(0)), "… | cat {dash}");
        }
    }
    let (found, _) = piped(&mut flumen("cat - --json"), b"a line\n");
    assert_eq!(found, "{\"message\":\"a line\",\"file\":\"-\"}\n");
    let cut = std::fs::read(kept(KEPT[0])).unwrap();
    let (_, status) = piped(&mut flumen("cat -"), &cut[..300]);
    assert_eq!(status.code(), Some(1), "a stream that is cut short");
    assert_eq!(said(&mut flumen("cat --follow -")).code, Some(2));
}

fn piped(command: &mut Command, bytes: &[u8]) -> (String, ExitStatus) {
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut child = command.spawn().unwrap();
    child.stdin.take().unwrap().write_all(bytes).unwrap();
    let output = child.wait_with_output().unwrap();
    (String::from_utf8(output.stdout).unwrap(), output.status)
}

#[test]
fn words_that_mean_nothing_are_usage() {
    for (arguments, hint) in [
        ("", "Usage: flumen <COMMAND>"),
        ("cta file", "unrecognized subcommand 'cta'"),
        ("cat", "<PATH>"),
        ("cat --jsn file", "--json"),
        ("cat --follow=yes file", "--follow"),
        ("inspect", "<PATH>"),
        ("repair --dryrun x.open", "--dry-run"),
        ("check", "<CONFIG>"),
        ("check a.toml b.toml", "unexpected argument 'b.toml'"),
        ("run", "<CONFIG>"),
        ("run --agent", "--agent"),
        ("audit file", "--manifest"),
        ("audit --manifest m.json", "<PATH>"),
        ("audit --manifest m.json file --allow-loss -1", "'-1'"),
        ("audit --manifest m.json file --allow-loss some", "invalid digit"),
        ("blast", "<TARGET>"),
        ("blast udp://127.0.0.1:9 --rate fast", "1.5M"),
        ("demo --seconds 0", "1..=3600"),
        ("demo now", "unexpected argument 'now'"),
    ] {
        let wrong = said(&mut flumen(arguments));
        assert_eq!((wrong.code, wrong.out.as_str()), (Some(2), ""), "{arguments}");
        assert!(wrong.err.contains(hint), "{arguments}: {}", wrong.err);
    }
}

/// Each help names its own arguments, and its example is one of its own.
#[test]
fn every_help_has_an_example_of_its_own() {
    for command in [
        "run", "check", "demo", "blast", "audit", "cat", "grep", "inspect", "repair", "stats",
        "tail", "verify",
    ] {
        let help = said(&mut flumen(&format!("{command} --help")));
        assert_eq!((help.code, help.err.as_str()), (Some(0), ""));
        let (_, example) = help.out.split_once("Example").unwrap();
        assert!(example.contains(&format!("flumen {command} ")), "{command}: {example}");
        let short = said(&mut flumen(&format!("{command} -h")));
        assert_eq!((short.code, &short.out), (Some(0), &help.out), "-h and --help say the same");
        assert_eq!(said(&mut flumen(&format!("help {command}"))).out, help.out);
        assert!(help.out.lines().all(|line| line.chars().count() <= 100), "{}", help.out);
    }
    let version = said(&mut flumen("--version"));
    assert_eq!(version.out, format!("flumen {}\n", env!("CARGO_PKG_VERSION")));
}

/// A generator that is stopped still writes its manifest; a second signal ends it at once.
#[test]
fn a_blast_that_is_stopped_writes_its_manifest() {
    let place = Place::new();
    let target = UdpSocket::bind("127.0.0.1:0").unwrap();
    let to = format!("blast udp://{} --rate 100 --manifest m.json", target.local_addr().unwrap());
    let mut child = place.flumen(&to).stdout(Stdio::piped()).spawn().unwrap();
    target.set_read_timeout(Some(DEADLINE)).unwrap();
    target.recv(&mut [0; 2000]).unwrap();
    let id = rustix::process::Pid::from_child(&child);
    rustix::process::kill_process(id, rustix::process::Signal::INT).unwrap();
    let asked = Instant::now();
    let status = child.wait().unwrap();
    assert_eq!((status.code(), status.signal()), (Some(0), None));
    assert!(asked.elapsed() < DEADLINE / 3, "{:?}", asked.elapsed());
    let manifest = std::fs::read_to_string(place.path("m.json")).unwrap();
    assert!(manifest.contains("\"sent\""), "{manifest}");
}
