//! The protocol over real sockets.

use std::io::{Read, Write};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;

use super::*;
use crate::memory::ReceiptSlip;
use crate::source::place::Place;
use crate::source::stepped::Rig;
use crate::time::{Mono, Now, Wall};

fn rig(more: &str) -> Rig {
    Rig::new("memcached", more)
}

#[test]
fn stores_are_events_and_everything_is_answered_in_order() {
    let mut rig = rig("flags_header = 'f'\nexptime_header = 'e'");
    let said = rig.talk(
        b"version\r\nset a 1 0 3\r\none\r\nget a\r\nadd b 0 -1 5 noreply\r\ntwo\r\n\r\nbad\r\n\
          set c 0 60 0\r\n\r\nquit\r\nset d 0 0 1\r\nx\r\n",
    );
    let version = env!("CARGO_PKG_VERSION");
    let rest = "STORED\r\nEND\r\nERROR\r\nSTORED\r\n";
    assert_eq!(said, format!("VERSION 1.4.0-flumen-{version}\r\n{rest}"));
    assert_eq!(rig.texts, ["key=a f=1 e=0 one", "key=b f=0 e=-1 two", "key=c f=0 e=60 "]);
    assert_eq!(rig.counters.errors.get(), 1);
    let mut plain = self::rig("key_header = ''");
    assert_eq!(plain.talk(b"set a 1 0 3\r\none\r\n"), "STORED\r\n");
    assert_eq!(plain.texts, ["one"]);
}

#[test]
fn what_is_too_large_is_refused_and_the_next_one_taken() {
    let mut rig = rig("event_max = 64");
    let long = "x\r\n".repeat(100_000);
    let text = format!(
        "set a 0 0 {0}\r\n{long}\r\nset b 0 0 {0} noreply\r\n{long}\r\nset c 0 0 64\r\n{1}\r\n",
        long.len(),
        &long[..64]
    );
    let told = "SERVER_ERROR object too large for cache\r\nSTORED\r\n";
    assert_eq!(rig.talk(text.as_bytes()), told);
    assert_eq!(rig.texts, [format!("key=c {}", &long[..64])]);
    assert_eq!(rig.counters.errors.get(), 2);
}

#[test]
fn an_answer_waits_for_its_mark_and_those_behind_it_wait_too() {
    let mut rig = rig("ack = 'written'");
    rig.confirms = false;
    let mut peer = rig.connect();
    peer.set_nonblocking(true).unwrap();
    peer.write_all(b"get a\r\nset a 0 0 1\r\n1\r\nset b 0 0 1\r\n2\r\nget a\r\n").unwrap();
    rig.until(|rig| rig.texts.len() == 2);
    (0..5).for_each(|_| rig.step());
    let mut said = [0; 200];
    let count = peer.read(&mut said).unwrap();
    assert_eq!(&said[..count], b"END\r\n", "nothing is written yet");
    rig.slips.drain(..).for_each(ReceiptSlip::confirm);
    peer.write_all(b"set c 0 0 1\r\n3\r\nversion\r\n").unwrap();
    rig.until(|rig| rig.texts.len() == 3);
    rig.slips.clear();
    peer.shutdown(Shutdown::Write).unwrap();
    peer.set_nonblocking(false).unwrap();
    let peer = std::thread::spawn(move || {
        let mut said = String::new();
        peer.read_to_string(&mut said).map(|_| said)
    });
    let said = rig.join(peer).unwrap();
    let lost = "STORED\r\nSTORED\r\nEND\r\nSERVER_ERROR the event was lost behind this source\r\n";
    assert!(said.starts_with(&format!("{lost}VERSION")), "{said}");
}

#[test]
fn who_does_not_read_the_answers_is_not_read_and_holds_nobody_up() {
    let mut rig = rig("");
    // The worst that can be answered: each is a run of its own.
    let text = "set k 0 0 1\r\nx\r\nget k\r\nno\r\n".repeat(4096);
    let (mut deaf, written) = rig.deaf(text.as_bytes());
    assert_eq!(rig.talk(b"set k 0 0 0\r\n\r\n"), "STORED\r\n");
    // Whoever listens again goes on where it was.
    deaf.set_nonblocking(false).unwrap();
    let reader = std::thread::spawn(move || {
        deaf.shutdown(Shutdown::Write).unwrap();
        let mut answers = String::new();
        deaf.read_to_string(&mut answers).unwrap();
        answers
    });
    let answers = rig.join(reader);
    let rounds = answers.matches("STORED\r\nEND\r\nERROR\r\n").count();
    let each = "set k 0 0 1\r\nx\r\nget k\r\nno\r\n".len();
    assert_eq!(rounds, written / each, "{written} bytes");
    assert!(answers.len() - rounds * "STORED\r\nEND\r\nERROR\r\n".len() < 21);
}

#[test]
fn a_stop_keeps_what_had_come_and_says_so() {
    let mut rig = rig("");
    let mut peer = rig.connect();
    peer.write_all(b"set a 0 0 3\r\none\r\nset b 0 0 4\r\nhal").unwrap();
    rig.until(|rig| rig.texts.len() == 1);
    rig.source.stop(Now { mono: Mono(0), wall: Wall(0) });
    rig.until(|rig| rig.finished);
    assert_eq!(rig.texts, ["key=a one"], "what was not whole was not answered");
    let mut answers = String::new();
    peer.read_to_string(&mut answers).unwrap();
    assert_eq!(answers, "STORED\r\n");
}

/// One that comes in pieces waits in its connection's carry, with its line.
#[test]
fn the_longest_value_fits_with_the_longest_names() {
    let name = "n".repeat(NAME_BYTES_MAX);
    let names = format!("key_header = '{name}'\nflags_header = '{0}f'", &name[1..]);
    for event_max in [64, 65_536, 262_144] {
        let mut rig = rig(&format!("event_max = {event_max}\n{names}"));
        let (key, value) = ("k".repeat(250), "v".repeat(event_max));
        let text = format!("set {key} 4294967295 0 {event_max}\r\n{value}\r\n");
        let mut peer = rig.connect();
        peer.set_nonblocking(true).unwrap();
        let (mut sent, mut steps) = (0, 0);
        // Nearly all of it comes, and waits.
        while sent < text.len() - 1 || steps < 5 {
            sent += peer.write(&text.as_bytes()[sent..text.len() - 1]).unwrap_or(0);
            rig.step();
            steps += 1;
            assert!(steps < 100_000, "{sent} bytes were taken");
        }
        assert!(rig.texts.is_empty());
        peer.set_nonblocking(false).unwrap();
        let peer = std::thread::spawn(move || {
            peer.write_all(b"\n").unwrap();
            peer.shutdown(Shutdown::Write).unwrap();
            let mut answers = String::new();
            peer.read_to_string(&mut answers).unwrap();
            answers
        });
        assert_eq!(rig.join(peer), "STORED\r\n");
        assert_eq!(rig.texts, [format!("{name}={key} {}f=4294967295 {value}", &name[1..])]);
    }
}

/// A page is filled by stores as short as they can be, with headers as long.
#[test]
fn the_shortest_stores_fit_as_well() {
    let name = "n".repeat(NAME_BYTES_MAX - 1);
    let names =
        format!("key_header = '{name}k'\nflags_header = '{name}f'\nexptime_header = '{name}e'");
    let mut rig = rig(&names);
    let said = rig.talk("set k 0 0 0\n\n".repeat(40_000).as_bytes());
    assert_eq!(said, "STORED\r\n".repeat(40_000));
    assert_eq!(rig.texts.len(), 40_000);
}

#[test]
fn whoever_speaks_the_binary_protocol_is_told_of() {
    let mut rig = rig("");
    assert_eq!(rig.talk(&[0x80, 0, 0, 0, 0, 0, 0, 0]), "");
    assert_eq!((rig.counters.errors.get(), rig.texts.len()), (1, 0));
}

#[test]
fn it_listens_at_a_path_too() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("cache.sock");
    let mut rig = Rig::of("memcached", &format!("listen = 'unix://{}'", path.display()));
    assert_eq!(rig.place, Place::Path(path.clone()));
    let peer = std::thread::spawn(move || {
        let mut peer = UnixStream::connect(path).unwrap();
        peer.write_all(b"set a 0 0 3\r\none\r\n").unwrap();
        let mut answer = [0; 8];
        peer.read_exact(&mut answer).map(|()| answer)
    });
    assert_eq!(&rig.join(peer).unwrap(), b"STORED\r\n");
    assert_eq!(rig.texts, ["key=a one"]);
}

#[test]
fn mistakes_are_told() {
    let told = |body: &str| {
        let section = Section::parse(&format!("listen = 'tcp://127.0.0.1:0'\n{body}"), OPTIONS);
        plan(&section);
        section.finish();
        section.diagnostics().lines().join("\n")
    };
    let long = format!("key_header = '{}'", "k".repeat(NAME_BYTES_MAX + 1));
    assert!(told(&long).contains("64 bytes"), "{}", told(&long));
    let twice = "flags_header = 'key'";
    assert!(told(twice).contains("a name of its own"), "{}", told(twice));
    assert!(told("event_max = '1MiB'").contains("256KiB"), "{}", told("event_max = '1MiB'"));
    assert!(told("ack = 'stored'").contains("synced"), "{}", told("ack = 'stored'"));
    assert_eq!(told("key_header = ''"), "");
}

#[test]
fn the_rows_are_what_is_asked_for() {
    crate::config::check_docs(OPTIONS, "listen = 'tcp://127.0.0.1:0'", |section| {
        plan(section);
    });
}
