//! Any bytes may come from a RELP peer, on either side. As a test, recorded sessions and mutations
//! of them are replayed, the same ones each time; as a target of libFuzzer, it chooses:
//! `RUSTC_BOOTSTRAP=1 cargo fuzz run relp --fuzz-dir tests/fuzz`.

#![cfg_attr(fuzzing, no_main)]

use flumen::wire::relp::{Answer, Client, Heard, RelpError, Session};

#[cfg(fuzzing)]
libfuzzer_sys::fuzz_target!(|bytes: &[u8]| check(bytes));

/// Short, so that mutations of short sessions meet the bound.
const MESSAGE_BYTES_MAX: usize = 64;
const SENT: u32 = 6;

/// Panics when a promise is broken.
fn check(bytes: &[u8]) {
    let whole = as_server(&[bytes]);
    let answers = as_client(&[bytes]);
    let (front, back) = bytes.split_at(bytes.len() / 2);
    for parts in [&[front, back][..], &bytes.chunks(1).collect::<Vec<_>>()] {
        assert_eq!(as_server(parts), whole, "{parts:?}");
        assert_eq!(as_client(parts), answers, "{parts:?}");
    }
}

/// What a server makes of it: messages, its words, and the error that ended it.
fn as_server(parts: &[&[u8]]) -> (Vec<Vec<u8>>, Vec<u8>, Option<RelpError>) {
    let mut session = Session::new(MESSAGE_BYTES_MAX);
    let (mut texts, mut out, mut held) = (Vec::new(), Vec::new(), Vec::new());
    for part in parts {
        held.extend_from_slice(part);
        loop {
            let count = match session.hear(&held, &mut out) {
                Err(error) => return (texts, out, Some(error)),
                Ok((_, Heard::More)) => break,
                Ok((_, Heard::Close { .. })) => return (texts, out, None),
                Ok((count, Heard::Message { text, .. } | Heard::Piece { text, .. })) => {
                    assert!(text.len() <= MESSAGE_BYTES_MAX && session.is_open());
                    texts.push(text.to_vec());
                    count
                }
                Ok((count, Heard::Opened | Heard::Hint)) => count,
            };
            assert!(count > 0, "whoever says something has taken something");
            held.drain(..count);
        }
        assert!(held.len() <= session.held_max(), "{} bytes are held", held.len());
    }
    (texts, out, None)
}

/// What a client makes of it, who has sent a few messages: their answers, and how it ended.
fn as_client(parts: &[&[u8]]) -> (Vec<Answer>, bool, Option<RelpError>) {
    let mut client = Client::new(SENT);
    let (mut answers, mut out) = (Vec::new(), Vec::new());
    client.open(&mut out);
    client.hear(b"1 rsp 37 200 OK\nrelp_version=0\ncommands=syslog\n", |_| {}).expect("opened");
    (0..SENT).for_each(|_| client.send(b"text", &mut out));
    let mut error = None;
    for part in parts {
        error = client.hear(part, |answer| answers.push(answer)).err();
        if error.is_some() {
            break;
        }
    }
    assert_eq!(client.waiting() as usize + answers.len(), SENT as usize);
    (answers, client.is_away(), error)
}

#[cfg(not(fuzzing))]
mod replay {
    use super::check;
    use crate::replay::{corpus, mutations};

    const PIECES: [&[u8]; 14] = [
        b" ",
        b"\n",
        b"0",
        b"1",
        b"9",
        b"65",
        b"999999999",
        b"syslog",
        b"rsp",
        b"open",
        b"close",
        b"serverclose",
        b"2 rsp 6 200 OK\n",
        b"2 syslog 5 <13>a\n",
    ];

    fn sessions() -> Vec<Vec<u8>> {
        corpus("tests/fuzz/sessions", 7)
    }

    #[test]
    fn recorded_sessions_keep_every_promise() {
        sessions().iter().for_each(|session| check(session));
    }

    #[test]
    fn mutated_sessions_keep_every_promise() {
        mutations(&sessions(), &PIECES, 0x9E37_79B9_7F4A_7C15, 20_000, check);
    }
}
