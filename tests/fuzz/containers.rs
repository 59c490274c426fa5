//! Any bytes may lie as a container file of Avro's. A target of libFuzzer of its own, and as a test
//! mutations of files that Flumen wrote, the same ones each time:
//! `RUSTC_BOOTSTRAP=1 cargo fuzz run containers --fuzz-dir tests/fuzz`.
//!
//! Promises: no panic and no endless loop, whoever reads; the source `spooldir` and the archive's
//! reader have the same data of a file that is whole, and both say when it is not; what recovery
//! keeps of a file that was being written is whole; a schema is the same when its text is read
//! again.
//!
//! What does not begin as such a file becomes one: with a right begin and right marks around it, so
//! that schemas, packed blocks and data are reached by who cannot guess sixteen bytes.

#![cfg_attr(fuzzing, no_main)]

use flumen::archive::{Ending, Reader};
use flumen::codec::Codec;
use flumen::codec::avro::{Packing, Schema};
use flumen::config::Section;
use flumen::event::{Marks, Page};
use flumen::memory::ReceiptSlip;
use flumen::memory::receipt::Reached;
use flumen::source::{SOURCES, SourceContext};
use flumen::storage::OsDisk;
use flumen::storage::avro::{EVENT_SCHEMA, Head, Marker, begins, head, parse_head, put_block};
use flumen::storage::avro::{Whole, whole_blocks};
use flumen::storage::recovery::{Mode, Outcome, recover_file};
use flumen::telemetry::Incidents;
use flumen::time::{Mono, Now, Wall};
use std::path::Path;
use std::sync::Arc;

#[cfg(fuzzing)]
libfuzzer_sys::fuzz_target!(|bytes: &[u8]| drop(check(bytes)));

const MARKER: Marker = *b"sixteen of these";
/// Of data that take no place there may be a million in a few bytes: so many are enough.
const EVENTS_MAX: usize = 100_000;

/// What the source has made of a file.
struct Taken {
    data: Vec<u8>,
    events: usize,
    /// Some of them are pieces.
    split: bool,
    /// It came to the end, and put the file away.
    whole: bool,
    /// What it said about the file.
    told: String,
}

/// Keeps every promise about a file of these bytes; the data that the source has taken from it.
fn check(bytes: &[u8]) -> Option<Vec<u8>> {
    let file = if begins(bytes) { bytes.to_vec() } else { forged(bytes)? };
    let begin = parse_head(&file);
    let like_events = begin.as_ref().is_some_and(known_schema);
    let dir = tempfile::tempdir().expect("a folder");
    let path = dir.path().join("a.avro");
    std::fs::write(&path, &file).expect("written");
    let (read, ended) = read(&path);
    let taken = take(dir.path())?;
    let blocks = whole_blocks(&&file[..]).expect("memory can be read");
    assert_eq!(blocks.is_some(), begin.is_some());
    if taken.whole {
        let blocks = blocks.expect("it has a begin");
        assert_eq!((blocks.bytes, blocks.more), (file.len() as u64, false), "read to its end");
        assert!(taken.split || blocks.events == taken.events as u64, "{blocks:?}");
        assert!(taken.told.is_empty(), "{}", taken.told);
        if like_events {
            assert_eq!(ended, Ending::Stream, "the source has read it all");
            assert!(read == taken.data, "the archive and the source differ");
        }
    } else {
        let too_long = taken.told.contains("max_block_length");
        let why = (&ended, &taken.told);
        assert!(ended != Ending::Stream || too_long, "the archive has read it all: {why:?}");
        assert!(!taken.told.is_empty(), "it is left, and nothing is said");
    }
    recover(dir.path(), &file, blocks);
    Some(taken.data)
}

/// Whether the schema is one of events; it is the same when its text is read again.
fn known_schema(head: &Head) -> bool {
    let text = std::str::from_utf8(&head.schema).ok();
    let Some(schema) = text.and_then(|text| Schema::parse(text).ok()) else { return false };
    let again = Schema::parse(schema.text()).expect("it was one");
    assert!(again.is_like(&schema));
    assert_eq!((again.text(), again.fingerprint()), (schema.text(), schema.fingerprint()));
    schema.is_like(&Schema::parse(EVENT_SCHEMA).expect("it is one"))
}

/// All that the archive's reader finds, and how it ended.
fn read(path: &Path) -> (Vec<u8>, Ending) {
    let mut reader = Reader::open(&OsDisk, path).expect("it is there");
    let mut data = Vec::new();
    while let Some(block) = reader.next_block().expect("the disk works") {
        let events = block.events().count();
        assert!(events > 0, "a block without events is passed over");
        data.extend_from_slice(block.bytes);
    }
    (data, reader.summary().ending.clone())
}

/// What the source `spooldir` takes of the files in a folder. None: there is no end to it.
fn take(dir: &Path) -> Option<Taken> {
    let kind = SOURCES.iter().find(|kind| kind.name == "spooldir").expect("a source");
    let body = format!("spool_dir = '{}'\ndeserializer = 'avro'", dir.display());
    let section = Section::parse(&body, kind.options);
    let plan = (kind.plan)(&section);
    let incidents = Incidents::new();
    let context = SourceContext {
        name: "spool".to_owned(),
        want_pri: false,
        exact: false,
        want_host: false,
        page_bytes: 1 << 20,
        want_headers: true,
        channels: 1,
        furthest: Reached::Synced,
        counters: vec![Arc::default()],
        incidents: Arc::clone(&incidents),
    };
    let mut source = plan.build(&context).expect("the folder is there").sources.remove(0);
    let mut page = Page::new(context.page_bytes);
    let mut taken =
        Taken { data: Vec::new(), events: 0, split: false, whole: false, told: String::new() };
    let mut calm = 0;
    for turn in 1.. {
        page.clear(turn);
        let now = Now { mono: Mono(turn * 1_000_000_000), wall: Wall(1) };
        let received = source.receive(&mut page, now);
        for event in page.events() {
            assert!(event.headers().get("flume.avro.schema.hash").is_some());
            taken.data.extend_from_slice(event.bytes);
            taken.events += 1;
            taken.split |= event.marks.contains(Marks::SPLIT);
        }
        source.slip().into_iter().for_each(ReceiptSlip::confirm);
        source.settle(now);
        if taken.events > EVENTS_MAX {
            return None;
        }
        calm = if received.more { 0 } else { calm + 1 };
        // What is confirmed in one turn is put away in the next.
        if calm == 3 {
            break;
        }
        assert!(turn < 10_000, "it goes on for ever");
    }
    taken.whole = dir.join("a.avro.COMPLETED").exists();
    assert!(taken.whole != dir.join("a.avro").exists());
    taken.told = incidents.list().into_iter().map(|incident| incident.what + "\n").collect();
    Some(taken)
}

/// The same file while it is being written, and then nobody writes it.
fn recover(dir: &Path, file: &[u8], blocks: Option<Whole>) {
    let open = dir.join("b.avro.open");
    std::fs::write(&open, file).expect("written");
    let recovered = recover_file(&OsDisk, &open, Mode::Repair);
    match (recovered.outcome, blocks) {
        (Outcome::Sealed(name), Some(blocks)) => {
            let kept = std::fs::read(name).expect("it is there");
            assert!(file.starts_with(&kept) && kept.len() as u64 == blocks.bytes);
            let again = whole_blocks(&&kept[..]).expect("memory can be read");
            assert_eq!(again, Some(Whole { more: false, ..blocks }));
            assert_eq!(recovered.events, Some(blocks.events));
        }
        (Outcome::Failed(why), _) => panic!("{why}"),
        (outcome, Some(blocks)) => assert_eq!(blocks.blocks, 0, "{outcome:?}"),
        (_, None) => {}
    }
}

/// A file with a right begin and right markers: the first byte says of what, the second how many
/// data are in each of its blocks.
fn forged(bytes: &[u8]) -> Option<Vec<u8>> {
    let (&[choice, count], rest) = bytes.split_first_chunk()?;
    let (codec, _) = Packing::ALL[usize::from(choice & 7) % Packing::ALL.len()];
    let (schema, data) = if choice & 8 == 0 {
        (EVENT_SCHEMA, rest)
    } else {
        let mut parts = rest.splitn(2, |byte| *byte == 0);
        let (schema, data) = (parts.next()?, parts.next().unwrap_or_default());
        (std::str::from_utf8(schema).ok()?, data)
    };
    let mut file = head(schema, codec, &MARKER);
    let blocks = 1 + usize::from(choice >> 5 & 1);
    for _ in 0..blocks {
        let put = |out: &mut Vec<u8>| pack(codec, choice & 16 != 0, data, out);
        put_block(&mut file, u32::from(count), &MARKER, put).expect("they are few");
    }
    Some(file)
}

/// Appends the data as they are, or as a writer of this codec packs them, if we have one.
fn pack(name: &str, packed: bool, data: &[u8], out: &mut Vec<u8>) -> Result<(), String> {
    let ours = [Codec::Gzip, Codec::Zstd].into_iter().find(|it| it.avro_name() == Some(name));
    match ours.filter(|_| packed) {
        Some(codec) => {
            let start = out.len();
            codec.compressor(1).compress(data, out).map_err(|error| error.to_string())?;
            codec.bare(out, start);
        }
        None => out.extend_from_slice(data),
    }
    Ok(())
}

#[cfg(not(fuzzing))]
mod replay {
    use super::check;
    use crate::replay::{corpus, mutations};

    const FOLDER: &str = "tests/fuzz/containers";

    const PIECES: [&[u8]; 22] = [
        b"Obj\x01",
        b"\x16avro.schema",
        b"\x14avro.codec",
        b"\x08null",
        b"\x0edeflate",
        b"\x0csnappy",
        b"\x0abzip2",
        b"\x12zstandard",
        b"\0",
        b"\x01",
        b"\x02",
        b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01",
        b"\xfe\xff\xff\xff\x0f",
        b"sixteen of these",
        b"{\"type\":\"record\",\"name\":\"R\",\"fields\":[",
        b"{\"name\":\"r\",\"type\":\"R\"}",
        b"{\"type\":\"array\",\"items\":",
        b"{\"type\":\"fixed\",\"name\":\"F\",\"size\":",
        b"[\"null\",\"string\"]",
        b"\"null\"",
        b"]}",
        b"}",
    ];

    /// Files of Flumen's first, then what becomes one.
    #[test]
    fn container_files_keep_every_promise() {
        let taken: Vec<_> = corpus(FOLDER, 9).iter().map(|bytes| check(bytes)).collect();
        let some = taken.iter().flatten().filter(|data| !data.is_empty()).count();
        assert!(some >= 7, "{some} of {} have data", taken.len());
    }

    #[test]
    fn mutated_container_files_keep_every_promise() {
        let check = |bytes: &[u8]| drop(check(bytes));
        mutations(&corpus(FOLDER, 9), &PIECES, 0xA076_1D64_78BD_642F, 1500, check);
    }
}
