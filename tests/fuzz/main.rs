//! Any bytes may come as a message. As a test, the corpus and mutations of it are replayed, the
//! same ones each time; as a target of libFuzzer, it chooses:
//! `RUSTC_BOOTSTRAP=1 cargo fuzz run message --fuzz-dir tests/fuzz`.
//!
//! The corpus is every message of the conformance cases, and what a fuzzer found: `corpus/`.
//! What a RELP peer may send has a target of its own, `relp`, with the corpus `sessions/`; so has
//! what a client of memcached sends: `memcached`, with `stores/`; what stands in a file of Flume's:
//! `properties`, with `properties/`;
//! what stands for a PROXY header: `proxy`, with `headers/`; what the journal and the kernel's log
//! hold: `entries`; what lies as an archive: `archive`; what lies as a container file of Avro's:
//! `containers`, with `containers/`; what lies as a channel's log: `log`, with `logs/`; and the
//! names that become files: `paths`, with `names/`.

#![cfg_attr(fuzzing, no_main)]

mod check;

#[cfg(fuzzing)]
libfuzzer_sys::fuzz_target!(|bytes: &[u8]| check::message(bytes));

#[cfg(not(fuzzing))]
mod archive;
#[cfg(not(fuzzing))]
mod containers;
#[cfg(not(fuzzing))]
mod entries;
#[cfg(not(fuzzing))]
mod log;
#[cfg(not(fuzzing))]
mod memcached;
#[cfg(not(fuzzing))]
mod paths;
#[cfg(not(fuzzing))]
mod properties;
#[cfg(not(fuzzing))]
mod proxy;
#[cfg(not(fuzzing))]
mod relp;

#[cfg(not(fuzzing))]
mod replay {
    use std::path::{Path, PathBuf};

    use crate::check;

    /// What mutations splice in: the bytes that mean something, and whole pieces.
    const PIECES: [&[u8]; 30] = [
        b"<",
        b">",
        b"[",
        b"]",
        b"\"",
        b"\\",
        b"=",
        b":",
        b" ",
        b"-",
        b"\0",
        b"\xff",
        b"\t",
        b"%",
        b"1 ",
        b"- ",
        b"<13>",
        b"<191>1 ",
        b"Oct 11 22:14:15 ",
        b"2026-10-11T22:14:15.5+02:00 ",
        b"[x@1 a=\"1\"]",
        b"[a:\"b\";]",
        b"\xef\xbb\xbf",
        b"date=2026-04-29 time=1:2:3",
        b"CEF:0|",
        b"@cee:",
        b"Message forwarded from ",
        b"last message repeated ",
        b"1563249630.5 ",
        b" CEST",
    ];

    /// xorshift64*: the same mutations on every machine.
    pub(crate) struct Random(pub(crate) u64);

    impl Random {
        pub(crate) fn below(&mut self, bound: usize) -> usize {
            self.0 ^= self.0 >> 12;
            self.0 ^= self.0 << 25;
            self.0 ^= self.0 >> 27;
            (self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 33) as usize % bound
        }
    }

    pub(crate) fn files(folder: &str) -> Vec<PathBuf> {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder);
        let entries = std::fs::read_dir(&folder).unwrap();
        let mut files: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
        files.sort();
        files
    }

    /// The files of a corpus, which are no fewer than these.
    pub(crate) fn corpus(folder: &str, least: usize) -> Vec<Vec<u8>> {
        let files = files(folder);
        assert!(files.len() >= least, "{files:?}");
        files.iter().map(|file| std::fs::read(file).expect("it is there")).collect()
    }

    /// Messages of the cases, escapes as they stand: what they mean is tested elsewhere.
    fn messages() -> Vec<Vec<u8>> {
        let mut messages: Vec<Vec<u8>> = Vec::new();
        for file in files("tests/conformance/syslog") {
            let text = std::fs::read_to_string(file).unwrap();
            let lines = text.lines().filter_map(|line| line.split('\t').nth(2));
            messages.extend(lines.map(|message| message.as_bytes().to_vec()));
        }
        messages.extend(corpus("tests/fuzz/corpus", 1));
        assert!(messages.len() > 900, "{} messages found", messages.len());
        messages
    }

    pub(crate) fn mutate(
        message: &mut Vec<u8>,
        other: &[u8],
        pieces: &[&[u8]],
        random: &mut Random,
    ) {
        for _ in 0..=random.below(4) {
            let at = random.below(message.len() + 1);
            match random.below(6) {
                0 if at < message.len() => message[at] = random.below(256) as u8,
                1 if at < message.len() => drop(message.remove(at)),
                2 => message.truncate(at),
                3 if !other.is_empty() => {
                    let from = random.below(other.len());
                    message.truncate(at);
                    message.extend_from_slice(&other[from..]);
                }
                _ => {
                    let piece = pieces[random.below(pieces.len())];
                    message.splice(at..at, piece.iter().copied());
                }
            }
        }
    }

    /// Checks so many mutations of what is in the corpus.
    pub(crate) fn mutations(
        corpus: &[Vec<u8>],
        pieces: &[&[u8]],
        seed: u64,
        count: usize,
        check: fn(&[u8]),
    ) {
        let mut random = Random(seed);
        for _ in 0..count {
            let mut bytes = corpus[random.below(corpus.len())].clone();
            let other = &corpus[random.below(corpus.len())];
            mutate(&mut bytes, other, pieces, &mut random);
            check(&bytes);
        }
    }

    #[test]
    fn the_corpus_keeps_every_promise() {
        messages().iter().for_each(|message| check::message(message));
    }

    #[test]
    fn mutations_keep_every_promise() {
        mutations(&messages(), &PIECES, 0x9E37_79B9_7F4A_7C15, 60_000, check::message);
    }

    /// Every prefix of every message: fields that end nowhere.
    #[test]
    fn prefixes_keep_every_promise() {
        for message in messages().iter().filter(|message| message.len() < 300) {
            (0..message.len()).for_each(|length| check::message(&message[..length]));
        }
    }
}
