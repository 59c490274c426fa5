//! The protocol over real sockets.

use std::io::{Read, Write};
use std::net::Shutdown;

use super::*;
use crate::memory::ReceiptSlip;
use crate::source::stepped::Rig;
use crate::time::{Mono, Now, Wall};

#[test]
fn each_line_has_its_answer_also_the_empty_and_the_last() {
    let mut rig = Rig::new("netcat", "");
    assert_eq!(rig.talk(b"one\ntwo\r\n\nlast"), "OK\nOK\nOK\nOK\n");
    assert_eq!(rig.texts, ["one", "two", "", "last"]);
    let mut silent = Rig::new("netcat", "ack_every_event = false");
    assert_eq!(silent.talk(b"one\ntwo\n"), "");
    assert_eq!(silent.texts, ["one", "two"]);
}

#[test]
fn a_line_that_is_too_long_is_told_behind_the_answers_and_ends_it() {
    let mut rig = Rig::new("netcat", "max_line_length = 6");
    let told = "FAILED: Event exceeds the maximum length (6 chars, including newline)\n";
    let text = [&b"12345\nab\n"[..], &[b'x'; 100_000], b"\nafter\n"].concat();
    assert_eq!(rig.talk(&text), format!("OK\nOK\n{told}"));
    assert_eq!(rig.texts, ["12345", "ab"]);
    assert_eq!(rig.talk(b"123456\n"), told);
    assert_eq!(rig.talk("\u{e9}\u{e9}\u{e9}\u{e9}\u{e9}\n".as_bytes()), "OK\n");
}

/// A close with unread bytes would reset the connection.
#[test]
fn what_still_comes_until_it_is_told_is_thrown_away() {
    let mut rig = Rig::new("netcat", "max_line_length = 6");
    rig.confirms = false;
    let mut peer = rig.connect();
    peer.write_all(b"good\ntoo long\n").unwrap();
    rig.until(|rig| rig.texts.len() == 1);
    peer.write_all(b"more\n").unwrap();
    (0..5).for_each(|_| rig.step());
    rig.slips.drain(..).for_each(ReceiptSlip::confirm);
    let reader = std::thread::spawn(move || {
        let mut answers = String::new();
        peer.read_to_string(&mut answers).unwrap();
        answers
    });
    let told = "FAILED: Event exceeds the maximum length (6 chars, including newline)\n";
    assert_eq!(rig.join(reader), format!("OK\n{told}"));
    assert_eq!(rig.texts, ["good"]);
}

#[test]
fn an_answer_waits_for_its_mark_and_one_that_fails_says_so() {
    let mut rig = Rig::new("netcat", "ack = 'written'");
    rig.confirms = false;
    let mut peer = rig.connect();
    peer.set_nonblocking(true).unwrap();
    peer.write_all(b"one\ntwo\n").unwrap();
    rig.until(|rig| rig.texts.len() == 2);
    let mut answer = [0; 200];
    (0..5).for_each(|_| rig.step());
    assert!(peer.read(&mut answer).is_err(), "nothing is written yet");
    rig.slips.drain(..).for_each(ReceiptSlip::confirm);
    (0..5).for_each(|_| rig.step());
    peer.set_nonblocking(false).unwrap();
    assert_eq!(peer.read(&mut answer).unwrap(), 6);
    peer.write_all(b"three\n").unwrap();
    rig.until(|rig| rig.texts.len() == 3);
    rig.slips.clear();
    (0..5).for_each(|_| rig.step());
    let count = peer.read(&mut answer).unwrap();
    assert!(answer[..count].starts_with(b"FAILED: "), "{answer:?}");
}

#[test]
fn who_does_not_read_the_answers_is_not_read_and_holds_nobody_up() {
    let mut rig = Rig::new("netcat", "");
    let (mut deaf, written) = rig.deaf(&b"\n".repeat(64 << 10));
    assert_eq!(rig.talk(b"another\n"), "OK\n");
    // Whoever listens again goes on where it was.
    deaf.set_nonblocking(false).unwrap();
    let reader = std::thread::spawn(move || {
        deaf.shutdown(Shutdown::Write).unwrap();
        let mut answers = Vec::new();
        deaf.read_to_end(&mut answers).unwrap();
        answers.len()
    });
    assert_eq!(rig.join(reader), 3 * written);
}

#[test]
fn a_stop_keeps_what_had_come_and_says_so() {
    let mut rig = Rig::new("netcat", "");
    let mut peer = rig.connect();
    peer.write_all(b"one\nhalf").unwrap();
    rig.until(|rig| rig.texts.len() == 1);
    rig.source.stop(Now { mono: Mono(0), wall: Wall(0) });
    rig.until(|rig| rig.finished);
    assert_eq!(rig.texts, ["one", "half"]);
    let mut answers = String::new();
    peer.read_to_string(&mut answers).unwrap();
    assert_eq!(answers, "OK\n");
}

#[test]
fn mistakes_are_told() {
    let told = |body: &str| {
        let section = Section::parse(&format!("listen = 'tcp://127.0.0.1:0'\n{body}"), OPTIONS);
        plan(&section);
        section.finish();
        section.diagnostics().lines().join("\n")
    };
    assert!(told("max_line_length = 1").contains("2"), "{}", told("max_line_length = 1"));
    assert!(told("max_line_length = 70000").contains("65536"));
    assert!(told("ack = 'written'\nack_every_event = false").contains("leave one of them out"));
    assert!(told("event_max = '64KiB'").contains("unknown key"));
}

#[test]
fn the_rows_are_what_is_asked_for() {
    crate::config::check_docs(OPTIONS, "listen = 'tcp://127.0.0.1:0'", |section| {
        plan(section);
    });
}
