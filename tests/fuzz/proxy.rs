//! Any bytes may come where a PROXY header is due. As a test, headers and mutations of them are
//! replayed, the same ones each time; as a target of libFuzzer, it chooses:
//! `RUSTC_BOOTSTRAP=1 cargo fuzz run proxy --fuzz-dir tests/fuzz`.

#![cfg_attr(fuzzing, no_main)]

use flumen::wire::proxy::Header;

#[cfg(fuzzing)]
libfuzzer_sys::fuzz_target!(|bytes: &[u8]| check(bytes));

/// The longest header that is taken: 16 bytes and 4 KiB.
const HEADER_BYTES_MAX: usize = 16 + 4096;

/// Panics when a promise is broken.
fn check(bytes: &[u8]) {
    let whole = Header::hear_parts([bytes]);
    let (front, back) = bytes.split_at(bytes.len() / 2);
    assert_eq!(Header::hear_parts([front, back]), whole, "{bytes:?}");
    assert_eq!(Header::hear_parts(bytes.chunks(1)), whole, "{bytes:?}");
    match whole {
        Ok((taken, Some(_))) => {
            assert!((15..=HEADER_BYTES_MAX).contains(&taken), "{taken} bytes");
            // What follows has no part in it.
            assert_eq!(Header::hear_parts([&bytes[..taken]]), whole);
            assert_eq!(Header::hear_parts([&bytes[..taken - 1]]), Ok((taken - 1, None)));
        }
        Ok((taken, None)) => assert!(taken == bytes.len() && taken < HEADER_BYTES_MAX),
        Err(_) => {}
    }
}

#[cfg(not(fuzzing))]
mod replay {
    use super::check;
    use crate::replay::{corpus, mutations};
    use flumen::wire::proxy::Header;

    const PIECES: [&[u8]; 12] = [
        b"PROXY ",
        b"UNKNOWN",
        b"TCP4 ",
        b"TCP6 ",
        b"192.0.2.7 ",
        b"::1 ",
        b" 65535",
        b"\r\n",
        b"\r\n\r\n\0\r\nQUIT\n",
        b"\x21\x11\x00\x0c",
        b"\x20\x00\x00\x00",
        b"\x21\x21\x10\x00",
    ];

    fn headers() -> Vec<Vec<u8>> {
        corpus("tests/fuzz/headers", 8)
    }

    #[test]
    fn headers_keep_every_promise() {
        let headers = headers();
        headers.iter().for_each(|header| check(header));
        let good = headers
            .iter()
            .filter(|header| matches!(Header::hear_parts([&header[..]]), Ok((_, Some(_)))));
        assert!(good.count() >= 6);
    }

    #[test]
    fn mutated_headers_keep_every_promise() {
        mutations(&headers(), &PIECES, 0xD1B5_4A32_D192_ED03, 20_000, check);
    }
}
