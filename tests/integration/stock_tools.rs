//! Stock `zstd`, `gzip` and `lz4` read segments as the library writes them: finished, open between
//! two blocks, and what recovery makes of a file cut anywhere.

use crate::peers::peer;
use flumen::codec::Codec;
use flumen::storage::block::{BlockFacts, seal_block, stamp};
use flumen::storage::recovery::{Mode, Outcome, recover_file};
use flumen::storage::segment::BlockEntry;
use flumen::storage::{Container, OsDisk, index::index_frames};
use flumen::time::Wall;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

const SEGMENT: u64 = 0x0123_4567_89ab_cdef;

struct Segment {
    container: Container,
    bytes: Vec<u8>,
    entries: Vec<BlockEntry>,
}

fn block_text(number: usize) -> Vec<u8> {
    let line = |n| format!("<134>host app[{n}]: block {number}, request served in {n} ms\n");
    // The third block does not compress: lz4 stores it, the others have their own way.
    let noise = |n: u64| (n.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 56) as u8;
    match number {
        2 => (0..3000).map(noise).filter(|byte| *byte != b'\n').chain([b'\n']).collect(),
        _ => (0..200 + 50 * number).flat_map(|n| line(n).into_bytes()).collect(),
    }
}

fn segment(codec: Codec, blocks: usize) -> Segment {
    let container = Container::from_wire_id(codec.wire_id()).expect("one number for both");
    let mut compressor = codec.compressor(1);
    let (mut bytes, mut entries) = (Vec::new(), Vec::new());
    for number in 0..blocks {
        let (text, at) = (block_text(number), bytes.len());
        let event_count = text.iter().filter(|byte| **byte == b'\n').count() as u32;
        let (time_min, time_max) = (Wall(1), Wall(2));
        let facts = BlockFacts { container, encoder: 0, event_count, time_min, time_max };
        let compress = |raw: &[u8], out: &mut Vec<u8>| compressor.compress(raw, out);
        seal_block(&mut bytes, &facts, &text, compress).expect("it compresses");
        stamp(container, &mut bytes[at..], SEGMENT, number as u64);
        entries.push(BlockEntry::of_block(at as u64, &bytes[at..]).expect("a block"));
    }
    Segment { container, bytes, entries }
}

/// What the tool makes of a file, and whether it was content.
fn decoded(tool: &Path, file: &Path) -> (Vec<u8>, bool) {
    let input = File::open(file).expect("the file is there");
    let mut command = Command::new(tool);
    command.arg("-dc").stdin(input).stderr(Stdio::null());
    let output = command.output().expect("the tool runs");
    (output.stdout, output.status.success())
}

fn put(dir: &tempfile::TempDir, name: &str, bytes: &[u8]) -> PathBuf {
    let path = dir.path().join(name);
    std::fs::write(&path, bytes).expect("written");
    path
}

fn check(codec: Codec, tool: &str) {
    let Some(tool) = peer(tool) else { return };
    let dir = tempfile::tempdir().expect("a directory");
    let mut found = segment(codec, 4);
    let texts: Vec<_> = (0..4).map(block_text).collect();
    let open = found.bytes.clone();
    for (number, entry) in found.entries.iter().enumerate() {
        let ends = [entry.end_offset() as usize, found.entries[number].data_offset() as usize];
        let whole = put(&dir, "open", &open[..ends[0]]);
        assert_eq!(decoded(&tool, &whole), (texts[..=number].concat(), true), "block {number}");
        let headed = put(&dir, "headed", &open[..ends[1]]);
        let (text, _) = decoded(&tool, &headed);
        assert_eq!(text, texts[..number].concat(), "cut behind header {number}");
    }
    index_frames(found.container, SEGMENT, &found.entries, &mut found.bytes);
    let sealed = put(&dir, "sealed", &found.bytes);
    assert_eq!(decoded(&tool, &sealed), (texts.concat(), true), "a finished file");

    let suffix = found.container.suffix();
    for cut in (1..open.len()).step_by(open.len() / 40) {
        let path = put(&dir, &format!("cut.log{suffix}.open"), &open[..cut]);
        let kept = found.entries.iter().filter(|e| e.end_offset() <= cut as u64).count();
        let outcome = recover_file(&OsDisk, &path, Mode::Repair).outcome;
        match outcome {
            Outcome::Sealed(path) => {
                assert_eq!(decoded(&tool, &path), (texts[..kept].concat(), true), "cut at {cut}");
                std::fs::remove_file(path).expect("removed");
            }
            Outcome::SetAside(path) => {
                assert_eq!(kept, 0);
                std::fs::remove_file(path).expect("removed");
            }
            other => panic!("cut at {cut}: {other:?}"),
        }
    }
}

#[test]
fn stock_zstd_reads_segments() {
    check(Codec::Zstd, "zstd");
}

#[test]
fn stock_gzip_reads_segments() {
    check(Codec::Gzip, "gzip");
}

#[test]
fn stock_lz4_reads_segments() {
    check(Codec::Lz4, "lz4");
}

/// The other way round: what the tools write, with their own options, is read as lines.
#[test]
fn files_of_stock_tools_are_read() {
    let dir = tempfile::tempdir().expect("a directory");
    let text: Vec<u8> = (0..4).filter(|n| *n != 2).flat_map(block_text).collect();
    let plain = put(&dir, "plain", &text);
    let cases: [(&str, &[&str]); 6] = [
        ("zstd", &["-c", "-19", "--check"]),
        ("gzip", &["-c", "-9"]),
        ("lz4", &["-c", "-9", "-B4", "-BD"]),
        ("lz4", &["-c", "-BX", "--no-frame-crc"]),
        ("lz4", &["-c", "--content-size"]),
        ("cat", &[]),
    ];
    for (tool, options) in cases {
        let Some(program) = peer(tool) else { continue };
        let input = File::open(&plain).expect("the file is there");
        let output = Command::new(program).args(options).stdin(input).output().expect("it runs");
        assert!(output.status.success(), "{tool} {options:?}");
        let path = put(&dir, "theirs", &output.stdout);
        let mut lines = Vec::new();
        let mut keep = |event: &flumen::archive::EventView<'_>| {
            lines.extend_from_slice(event.line);
            lines.push(b'\n');
            std::ops::ControlFlow::Continue(())
        };
        let summary = flumen::archive::visit(&path, &mut keep).expect("it reads");
        assert_eq!(summary.ending, flumen::archive::Ending::Stream, "{tool} {options:?}");
        assert!(lines == text, "{tool} {options:?}: {} of {} bytes", lines.len(), text.len());
    }
}
