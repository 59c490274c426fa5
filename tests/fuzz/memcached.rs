//! Any bytes may come from a client of memcached. As a test, recorded sessions and mutations of
//! them are replayed, the same ones each time; as a target of libFuzzer, it chooses:
//! `RUSTC_BOOTSTRAP=1 cargo fuzz run memcached --fuzz-dir tests/fuzz`.

#![cfg_attr(fuzzing, no_main)]

use flumen::wire::memcached::{Heard, KEY_BYTES_MAX, Session};

#[cfg(fuzzing)]
libfuzzer_sys::fuzz_target!(|bytes: &[u8]| check(bytes));

/// Short, so that mutations of short sessions meet the bound.
const VALUE_BYTES_MAX: usize = 64;

/// Panics when a promise is broken.
fn check(bytes: &[u8]) {
    let whole = heard(&[bytes], false);
    let (front, back) = bytes.split_at(bytes.len() / 2);
    // What is held is looked at again with each piece.
    let pieces = if bytes.len() < 400 { 1 } else { 97 };
    let single = bytes.chunks(pieces).collect::<Vec<_>>();
    for parts in [&[front, back][..], &single] {
        assert_eq!(heard(parts, false), whole, "{parts:?}");
    }
    // Nothing that comes of it may be more than what came of the whole.
    assert!(heard(&single, true).len() <= whole.len() + 1, "{bytes:?}");
}

/// What is made of it. `tight`: now and then nothing more can be held.
fn heard(parts: &[&[u8]], tight: bool) -> Vec<String> {
    let mut session = Session::new(VALUE_BYTES_MAX);
    let (mut told, mut held) = (Vec::new(), Vec::new());
    for (index, part) in parts.iter().enumerate() {
        held.extend_from_slice(part);
        loop {
            let (count, heard) = session.hear(&held);
            assert!(count <= held.len());
            match heard {
                Heard::More if count == 0 => break,
                Heard::Quit | Heard::Binary => return told,
                Heard::More => assert_eq!(count, held.len(), "it is passed over"),
                Heard::Store(store) => {
                    assert!(store.value.len() <= VALUE_BYTES_MAX);
                    assert!(!store.key.is_empty() && store.key.len() <= KEY_BYTES_MAX);
                    assert!(store.flags.iter().all(u8::is_ascii_digit));
                    told.push(format!("{store:?}"));
                }
                Heard::Silent => assert!(count > 0, "whoever is silent has said something"),
                Heard::Said(reply) | Heard::Refused(reply) => told.push(format!("{reply:?}")),
            }
            held.drain(..count);
        }
        assert!(held.len() <= Session::held_max(VALUE_BYTES_MAX), "{} bytes are held", held.len());
        if tight && index % 7 == 6 && !held.is_empty() {
            if !session.give_up(&held) {
                return told;
            }
            held.clear();
        }
    }
    told
}

#[cfg(not(fuzzing))]
mod replay {
    use super::check;
    use crate::replay::{corpus, mutations};

    const PIECES: [&[u8]; 16] = [
        b" ",
        b"\n",
        b"\r\n",
        b"0",
        b"-1",
        b"65",
        b"4294967295",
        b"\x80",
        b"noreply",
        b"set ",
        b"add ",
        b"cas ",
        b"get k\r\n",
        b"quit\r\n",
        b"set k 0 0 3\r\nabc\r\n",
        b"set k 0 0 65\r\n",
    ];

    fn sessions() -> Vec<Vec<u8>> {
        corpus("tests/fuzz/stores", 5)
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
