//! What clients say, whole and byte by byte, and what is heard of it.

use super::*;

const VALUE_BYTES_MAX: usize = 16;

/// Everything that was heard, told.
fn hear(parts: &[&[u8]]) -> Vec<String> {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let mut session = Session::new(VALUE_BYTES_MAX);
    let (mut told, mut held) = (Vec::new(), Vec::new());
    for part in parts {
        held.extend_from_slice(part);
        loop {
            let (count, heard) = session.hear(&held);
            match heard {
                Heard::More if count == 0 => break,
                Heard::More | Heard::Silent => {}
                Heard::Store(Store { key, flags, exptime, value, quiet }) => {
                    let quiet = if quiet { " quiet" } else { "" };
                    let [key, flags, exptime, value] = [key, flags, exptime, value].map(text);
                    told.push(format!("{key} {flags} {exptime} {value:?}{quiet}"));
                }
                Heard::Said(reply) => told.push(reply.text().trim_end().to_owned()),
                Heard::Refused(reply) => told.push(format!("({})", reply.text().trim_end())),
                Heard::Quit | Heard::Binary => {
                    told.push(format!("{heard:?}"));
                    return told;
                }
            }
            held.drain(..count);
        }
        assert!(held.len() <= Session::held_max(VALUE_BYTES_MAX), "{} bytes", held.len());
    }
    told
}

#[track_caller]
fn expect(bytes: &[u8], told: &[&str]) {
    assert_eq!(hear(&[bytes]), told, "{}", String::from_utf8_lossy(bytes));
    let single: Vec<&[u8]> = bytes.chunks(1).collect();
    assert_eq!(hear(&single), told, "byte by byte: {}", String::from_utf8_lossy(bytes));
}

#[test]
fn what_is_stored_is_heard() {
    expect(
        b"set k 1 0 5\r\nhello\r\nadd other 4294967295 -1 0 noreply\r\n\r\nset n 0 60 3\na\nb\n",
        &[r#"k 1 0 "hello""#, r#"other 4294967295 -1 "" quiet"#, r#"n 0 60 "a\nb""#],
    );
    // A value may hold whatever ends a line.
    expect(b"set k 0 0 9\r\na\r\nget b\r\r\n", &[r#"k 0 0 "a\r\nget b\r""#]);
}

#[test]
fn nothing_is_there_to_be_asked_for() {
    for (line, told) in [
        ("get k", "END"),
        ("gets a b c", "END"),
        ("gat 0 k", "END"),
        ("delete k", "NOT_FOUND"),
        ("delete k 0", "NOT_FOUND"),
        ("incr k 1", "NOT_FOUND"),
        ("touch k 0", "NOT_FOUND"),
        ("flush_all", "OK"),
        ("flush_all 10", "OK"),
        ("verbosity 1", "OK"),
        ("stats", "END"),
        ("stats slabs", "END"),
        ("version", concat!("VERSION 1.4.0-flumen-", env!("CARGO_PKG_VERSION"))),
    ] {
        expect(format!("{line}\r\n").as_bytes(), &[told]);
        expect(format!("{line}\n").as_bytes(), &[told]);
    }
    expect(b"delete k noreply\r\nflush_all noreply\r\nincr k 1 noreply\r\nget k\r\n", &["END"]);
    expect(b"replace k 0 0 3\r\nget\r\n", &["NOT_STORED"]);
    expect(b"append k 0 0 3 noreply\r\nget\r\n", &["(NOT_STORED)"]);
    expect(b"cas k 0 0 3 77\r\nget\r\n", &["NOT_FOUND"]);
    expect(b"quit\r\nget k\r\n", &["Quit"]);
}

#[test]
fn what_is_wrong_is_told_and_the_next_command_is_heard() {
    let line = "CLIENT_ERROR bad command line format";
    let long = "k".repeat(KEY_BYTES_MAX + 1);
    for (wrong, told) in [
        ("", "ERROR"),
        ("   ", "ERROR"),
        ("set", "ERROR"),
        ("set k 0 0", "ERROR"),
        ("get", "ERROR"),
        ("delete", "ERROR"),
        ("quit now", "ERROR"),
        ("SET k 0 0 1", "ERROR"),
        ("mn", "ERROR"),
        ("mg k v", "ERROR"),
        ("incr k 1 2", line),
        ("set k 0 0 -1", "CLIENT_ERROR bad data chunk"),
        ("set k 0 0 2147483646", "CLIENT_ERROR bad data chunk"),
        ("set k 0 0 3\r\nabcdef", "CLIENT_ERROR bad data chunk"),
        ("set k x 0 3\r\nabc", line),
        ("set k 4294967296 0 3\r\nabc", line),
        ("set k 0 - 3\r\nabc", line),
        ("set k 0 0 3 noanswer\r\nabc", line),
        ("cas k 0 0 3\r\nabc", line),
        ("cas k 0 0 3 x\r\nabc", line),
        (&format!("set {long} 0 0 3\r\na\nb"), line),
        ("set k 0 0 17\r\n1234567890\n123456", "SERVER_ERROR object too large for cache"),
        ("append k 0 0 17\r\n1234567890\n123456", "SERVER_ERROR object too large for cache"),
        ("ms k 3 T0\r\na\nb", "CLIENT_ERROR no meta commands here: send set or add"),
        ("ms k S3", line),
    ] {
        expect(format!("{wrong}\r\nget k\r\n").as_bytes(), &[told, "END"]);
    }
    expect(
        b"set k 0 0 17 noreply\r\n12345678901234567\r\nget k\r\n",
        &["(SERVER_ERROR object too large for cache)", "END"],
    );
}

#[test]
fn a_line_that_is_too_long_is_passed_over() {
    let keys = " key".repeat(LINE_BYTES_MAX);
    expect(format!("get{keys}\r\nversion now\r\n").as_bytes(), &["END", "ERROR"]);
    let told = &["CLIENT_ERROR line too long", "END"];
    expect(format!("delete{keys}\r\nget k\r\n").as_bytes(), told);
    // The longest that is not.
    let key = "k".repeat(LINE_BYTES_MAX - "delete \r\n".len());
    expect(format!("delete {key}\r\n").as_bytes(), &["NOT_FOUND"]);
    expect(format!("delete {key}k\r\n").as_bytes(), &["CLIENT_ERROR line too long"]);
}

#[test]
fn the_binary_protocol_is_seen() {
    expect(&[0x80, 1, 0, 3], &["Binary"]);
    // Behind a command such a byte is one like any other.
    expect(b"get k\r\n\x80\r\n", &["END", "ERROR"]);
}

#[test]
fn a_value_that_cannot_be_held_is_passed_over() {
    for held in ["set k 0 0 5\r\n", "set k 0 0 5\r\nabc", "set k 0 0 5\r\nabcde\r"] {
        let mut session = Session::new(VALUE_BYTES_MAX);
        assert_eq!(session.hear(held.as_bytes()), (0, Heard::More), "{held:?}");
        assert!(session.give_up(held.as_bytes()));
        let rest = &"set k 0 0 5\r\nabcde\r\nget k\r\n"[held.len()..];
        let (count, heard) = session.hear(rest.as_bytes());
        assert_eq!(heard, Heard::Said(Reply::NoMemory));
        assert_eq!(&rest[count..], "get k\r\n");
    }
    let mut session = Session::new(VALUE_BYTES_MAX);
    assert!(!session.give_up(b"set k 0 0"));
}
