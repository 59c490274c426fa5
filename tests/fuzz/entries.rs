//! Any bytes may stand where an entry of the journal, or a record of the kernel's log, is due. As a
//! test, entries and mutations of them are replayed, the same ones each time; as a target of
//! libFuzzer, it chooses: `RUSTC_BOOTSTRAP=1 cargo fuzz run entries --fuzz-dir tests/fuzz`.

#![cfg_attr(fuzzing, no_main)]

use flumen::wire::journal::{Reader, Wanted};
use flumen::wire::kmsg;

#[cfg(fuzzing)]
libfuzzer_sys::fuzz_target!(|bytes: &[u8]| check(bytes));

/// What is kept of a value, and of an entry.
const VALUE_BYTES_MAX: usize = 40;
const ENTRY_BYTES_MAX: usize = 60;

/// Values of the wanted fields, whether something was cut, whether it is broken.
type Entry = (Vec<Vec<Vec<u8>>>, bool, bool);

/// Panics when a promise is broken.
fn check(bytes: &[u8]) {
    let whole = entries(&[bytes]);
    let (front, back) = bytes.split_at(bytes.len() / 2);
    for parts in [&[front, back][..], &bytes.chunks(1).collect::<Vec<_>>()] {
        assert_eq!(entries(parts), whole, "{parts:?}");
    }
    for (values, _, _) in &whole {
        let all: Vec<&Vec<u8>> = values.iter().flatten().collect();
        assert!(all.iter().all(|value| value.len() <= VALUE_BYTES_MAX));
        assert!(all.iter().map(|value| value.len()).sum::<usize>() <= ENTRY_BYTES_MAX);
    }
    records(bytes);
}

fn entries(parts: &[&[u8]]) -> Vec<Entry> {
    let names = [&b"MESSAGE"[..], b"PRIORITY"];
    let wanted = names.map(|name| Wanted { name: name.into(), bytes_max: VALUE_BYTES_MAX });
    let mut reader = Reader::new(wanted.to_vec(), ENTRY_BYTES_MAX);
    let mut entries = Vec::new();
    let take = |reader: &mut Reader, entries: &mut Vec<Entry>| {
        if reader.is_complete() {
            let values = |index| reader.values(index).map(<[u8]>::to_vec).collect();
            let values = (0..names.len()).map(values).collect();
            entries.push((values, reader.is_cut(), reader.is_broken()));
            reader.clear();
        }
    };
    for part in parts {
        let mut left = *part;
        while !left.is_empty() {
            let taken = reader.feed(left);
            assert!(taken > 0, "it would never end");
            left = &left[taken..];
            take(&mut reader, &mut entries);
        }
    }
    reader.finish();
    take(&mut reader, &mut entries);
    entries
}

fn records(bytes: &[u8]) {
    let mut left = bytes;
    while !left.is_empty() {
        let length = kmsg::extent(left, true).expect("nothing more belongs to it");
        assert!((1..=left.len()).contains(&length));
        if let Some(sure) = kmsg::extent(left, false) {
            assert_eq!(sure, length, "more of it does not change what has ended");
        }
        let (record, rest) = left.split_at(length);
        if let Some(record) = kmsg::parse(record) {
            assert!(record.pri <= 191);
            let mut text = Vec::new();
            kmsg::unescape(record.text, &mut text);
            assert!(text.len() <= record.text.len());
            for (name, value) in record.dictionary() {
                assert!(!name.contains(&b'\n') && !value.contains(&b'\n'));
            }
        }
        left = rest;
    }
}

#[cfg(not(fuzzing))]
mod replay {
    use super::{check, entries};
    use crate::replay::{corpus, mutations};
    use flumen::wire::kmsg;

    const FOLDER: &str = "tests/fuzz/entries";

    const PIECES: [&[u8]; 16] = [
        b"MESSAGE=",
        b"MESSAGE\n",
        b"PRIORITY=6\n",
        b"\x05\0\0\0\0\0\0\0",
        b"\xff\xff\xff\xff\xff\xff\xff\xff",
        b"\0\0\0\0\0\0\0\0",
        b"\n",
        b"\n\n",
        b"=",
        b"6,339,5140900,-;",
        b"6,1,2,c;",
        b" SUBSYSTEM=acpi\n",
        b"\\x0a",
        b"\\x",
        b",",
        b"18446744073709551615",
    ];

    #[test]
    fn entries_keep_every_promise() {
        let corpus = corpus(FOLDER, 8);
        corpus.iter().for_each(|bytes| check(bytes));
        let whole = |bytes: &&Vec<u8>| entries(&[bytes]).iter().any(|(_, _, broken)| !broken);
        assert!(corpus.iter().filter(whole).count() >= 4);
        assert!(corpus.iter().filter(|bytes| kmsg::parse(bytes).is_some()).count() >= 3);
    }

    #[test]
    fn mutated_entries_keep_every_promise() {
        mutations(&corpus(FOLDER, 8), &PIECES, 0xA076_1D64_78BD_642F, 20_000, check);
    }
}
