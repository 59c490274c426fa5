//! `flumen parse` as people pipe things through it: nothing is lost on the way, each answer comes
//! at once, and a reader that goes away ends it quietly.

use crate::commands::{flumen, said};
use serde_json::Value;
use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Child, Command, Stdio};

fn started(arguments: &str) -> Child {
    let mut command: Command = flumen(arguments);
    let command = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command.spawn().unwrap()
}

/// The objects for `input`, which is written while they are read.
fn parsed(arguments: &str, input: &[u8]) -> Vec<Value> {
    let mut child = started(arguments);
    let mut stdin = child.stdin.take().unwrap();
    let mut out = String::new();
    std::thread::scope(|scope| {
        scope.spawn(move || stdin.write_all(input).unwrap());
        child.stdout.take().unwrap().read_to_string(&mut out).unwrap();
    });
    assert!(child.wait().unwrap().success());
    out.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn every_line_is_answered_whatever_its_bytes() {
    let mut input = Vec::new();
    let mut count = 0;
    for byte in (0..=255).filter(|byte| *byte != b'\n') {
        for line in [&[byte][..], &[b'<', b'1', b'3', b'>', byte], &[byte, byte, b'\r']] {
            input.extend_from_slice(line);
            input.push(b'\n');
            count += 1;
        }
    }
    input.extend_from_slice(b"\n\n<13>1 - h a - - - last, without a newline");
    let objects = parsed("parse", &input);
    assert_eq!(objects.len(), count + 3);
    assert_eq!(objects[count]["reason"], "empty");
    assert_eq!(objects[count + 2]["message"], "last, without a newline");
    assert_eq!(objects[1]["message"], "<13>\0");
}

#[test]
fn a_line_of_many_megabytes_is_one_message() {
    let mut input = b"<13>Oct 11 22:14:15 h a[1]: ".to_vec();
    let header = input.len();
    input.resize(header + (20 << 20), b'x');
    input.extend_from_slice(b"\n<13>Oct 11 22:14:16 h a[2]: y\n");
    let objects = parsed("parse --now 2026-06-15T12:00:00Z --zone UTC", &input);
    assert_eq!(objects.len(), 2);
    assert_eq!(objects[0]["message"].as_str().unwrap().len(), 20 << 20);
    assert_eq!(objects[1]["proc_id"], "2");
}

#[test]
fn options_say_when_and_where() {
    let line = b"<13>Jan  1 08:30:00 h a: x\n";
    let time = |arguments: &str| parsed(arguments, line)[0]["timestamp"].clone();
    let tokyo = "parse --now 2024-12-31T23:30:00Z --zone Asia/Tokyo";
    assert_eq!(time(tokyo), "2025-01-01T08:30:00+09:00");
    let berlin = "parse --format rfc3164 --now 2024-12-01T00:00:00+01:00 --zone Europe/Berlin";
    assert_eq!(time(berlin), "2025-01-01T08:30:00+01:00");
    let exact = parsed("parse --format rfc5424", line);
    assert_eq!(exact[0]["reason"], "bad_version");
}

/// Whoever types a line waits for its object and not for the end of the input.
#[test]
fn an_answer_does_not_wait_for_the_next_line() {
    let mut child = started("parse");
    let mut stdin = child.stdin.take().unwrap();
    let mut answers = BufReader::new(child.stdout.take().unwrap()).lines();
    for number in 0..3 {
        stdin.write_all(format!("<13>a[{number}]: x\n").as_bytes()).unwrap();
        let answer: Value = serde_json::from_str(&answers.next().unwrap().unwrap()).unwrap();
        assert_eq!(answer["proc_id"], number.to_string());
    }
    drop(stdin);
    assert!(answers.next().is_none());
    assert!(child.wait().unwrap().success());
}

#[test]
fn a_reader_that_has_gone_ends_it_quietly() {
    let mut child = started("parse");
    drop(child.stdout.take());
    let mut stdin = child.stdin.take().unwrap();
    // It ends in the midst of this, so that a write fails.
    let line = b"<13>Oct 11 22:14:15 h a: x\n".repeat(1000);
    while stdin.write_all(&line).is_ok() {}
    let mut err = String::new();
    child.stderr.take().unwrap().read_to_string(&mut err).unwrap();
    assert_eq!((child.wait().unwrap().code(), err.as_str()), (Some(0), ""));
}

#[test]
fn what_means_nothing_is_said_with_2() {
    let wrong = [
        ("parse --zone Europe/Nowhere", "Europe/Nowhere"),
        ("parse --now yesterday", "yesterday"),
        ("parse --format rfc9999", "rfc9999"),
        ("parse file.log", "file.log"),
    ];
    for (arguments, word) in wrong {
        let said = said(&mut flumen(arguments));
        assert_eq!(said.code, Some(2), "{arguments}");
        assert!(said.err.contains(word) && said.out.is_empty(), "{arguments}: {}", said.err);
    }
}
