//! One file, block by block, whatever was done to it.

use super::*;
use crate::archive::{segments, visit};
use crate::storage::block::{BlockFacts, seal_block, stamp};
use crate::storage::index::index_frames;
use crate::storage::recovery::{Mode, Outcome, Recovered, recover};
use crate::storage::{Container, OsDisk};
use proptest::prelude::*;
use std::io::Write;
use std::ops::ControlFlow;

const CODECS: [Codec; 3] = [Codec::Gzip, Codec::Lz4, Codec::Zstd];
const TEXTS: [&str; 3] = ["one\ntwo\n", "three\n", "four\nfive\nsix\n"];

fn segment(codec: Codec, encoding: Encoding, sealed: bool) -> (Vec<u8>, Vec<BlockEntry>) {
    let container = Container::from_wire_id(codec.wire_id()).unwrap();
    let mut compressor = codec.compressor(1);
    let (mut file, mut entries) = (Vec::new(), Vec::new());
    for (sequence, text) in TEXTS.iter().enumerate() {
        let at = file.len();
        let (time_min, time_max) = (Wall(sequence as i64), Wall(sequence as i64 + 5));
        let encoder = encoding.wire_id();
        let event_count = text.lines().count() as u32;
        let facts = BlockFacts { container, encoder, event_count, time_min, time_max };
        let compress = |raw: &[u8], out: &mut Vec<u8>| compressor.compress(raw, out);
        seal_block(&mut file, &facts, text.as_bytes(), compress).unwrap();
        stamp(container, &mut file[at..], 9, sequence as u64);
        entries.push(BlockEntry::of_block(at as u64, &file[at..]).unwrap());
    }
    if sealed {
        index_frames(container, 9, &entries, &mut file);
    }
    (file, entries)
}

fn read(path: &Path) -> (Vec<String>, Summary) {
    let mut lines = Vec::new();
    let summary = visit(path, &mut |event| {
        lines.push(String::from_utf8(event.text().to_vec()).unwrap());
        ControlFlow::Continue(())
    });
    (lines, summary.unwrap())
}

fn put(dir: &tempfile::TempDir, name: &str, bytes: &[u8]) -> PathBuf {
    let path = dir.path().join(name);
    std::fs::write(&path, bytes).unwrap();
    path
}

fn all() -> Vec<&'static str> {
    TEXTS.iter().flat_map(|text| text.lines()).collect()
}

#[test]
fn every_codec_reads_back_sealed_open_and_cut_at_any_byte() {
    let dir = tempfile::tempdir().unwrap();
    for codec in CODECS {
        let (file, entries) = segment(codec, Encoding::Raw, true);
        let (lines, summary) = read(&put(&dir, "x", &file));
        assert_eq!(
            (lines, summary.ending),
            (all().iter().map(|l| (*l).to_owned()).collect(), Ending::Sealed)
        );
        assert_eq!((summary.blocks, summary.events), (3, 6));
        let (file, _) = segment(codec, Encoding::Raw, false);
        for cut in 1..=file.len() {
            let blocks = entries.iter().filter(|e| e.end_offset() <= cut as u64).count();
            let expected = TEXTS[..blocks].concat();
            let (lines, summary) = read(&put(&dir, "x.open", &file[..cut]));
            assert_eq!(lines, expected.lines().collect::<Vec<_>>(), "{codec} cut at {cut}");
            assert!(matches!(summary.ending, Ending::Open | Ending::Torn { .. }));
        }
    }
}

#[test]
fn a_damaged_block_costs_itself_and_is_named() {
    let dir = tempfile::tempdir().unwrap();
    for codec in CODECS {
        let (mut file, entries) = segment(codec, Encoding::Raw, true);
        file[entries[1].end_offset() as usize - 1] ^= 0x40;
        let (lines, summary) = read(&put(&dir, "x", &file));
        assert_eq!(lines, ["one", "two", "four", "five", "six"]);
        assert_eq!((summary.damaged_blocks, summary.ending), (1, Ending::Sealed));
        assert!(summary.first_damage.unwrap().starts_with("block 1 at byte "));
    }
}

#[test]
fn files_of_stock_tools_are_streams_of_lines() {
    let dir = tempfile::tempdir().unwrap();
    let text = "a line of some length, and again\n".repeat(100_000) + "the last without LF";
    let zstd = zstd::stream::encode_all(text.as_bytes(), 3).unwrap();
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gzip.write_all(text.as_bytes()).unwrap();
    let gzip = gzip.finish().unwrap();
    let mut lz4 = lz4_flex::frame::FrameEncoder::new(Vec::new());
    lz4.write_all(text.as_bytes()).unwrap();
    let lz4 = lz4.finish().unwrap();
    for file in [zstd, gzip, lz4, text.clone().into_bytes()] {
        let (lines, summary) = read(&put(&dir, "x", &file));
        assert_eq!(lines, text.lines().collect::<Vec<_>>());
        assert_eq!((summary.events, summary.ending), (100_001, Ending::Stream));
        assert_eq!(summary.raw_bytes, text.len() as u64);
        if file.len() < text.len() {
            let (lines, summary) = read(&put(&dir, "x", &file[..file.len() * 2 / 3]));
            assert!(matches!(summary.ending, Ending::StreamTorn { .. }));
            assert!(lines.iter().all(|line| *line == "a line of some length, and again"));
        }
    }
}

#[cfg(not(feature = "lzo"))]
#[test]
fn files_of_an_absent_codec_are_refused_by_name() {
    use crate::storage::lzop::{END, HEAD};
    let dir = tempfile::tempdir().unwrap();
    for name in ["x.log.lzo", "x.log.lzo.open", "x"] {
        let (lines, summary) = read(&put(&dir, name, &[&HEAD[..], &END].concat()));
        let Ending::StreamTorn { why } = summary.ending else { panic!("{summary:?}") };
        assert!(lines.is_empty() && why.contains("built without its feature `lzo`"), "{why}");
    }
}

/// Growing, finished, and cut: only a file in progress may lack its end.
#[cfg(feature = "lzo")]
#[test]
fn a_file_of_lzop_is_read_on_as_it_grows() {
    let dir = tempfile::tempdir().unwrap();
    let (mut file, mut ends) = (Codec::Lzo.kind().around.front.to_vec(), Vec::new());
    let mut compressor = Codec::Lzo.compressor(1);
    for text in TEXTS {
        compressor.compress(text.repeat(9).as_bytes(), &mut file).unwrap();
        ends.push(file.len());
    }
    file.extend_from_slice(Codec::Lzo.kind().around.end);
    let expected = |whole: usize| TEXTS[..whole].iter().map(|text| text.repeat(9)).collect();
    let path = put(&dir, "x.log.lzo.open", b"");
    let mut reader = Reader::open(&OsDisk, &path).unwrap();
    let mut found = Vec::new();
    for end in [0].into_iter().chain(Codec::Lzo.kind().around.front.len()..=file.len()) {
        std::fs::write(&path, &file[..end]).unwrap();
        while let Some(block) = reader.next_block().unwrap() {
            found.extend_from_slice(block.whole_lines());
        }
        let whole = ends.iter().filter(|it| **it <= end).count();
        let expected: String = expected(whole);
        assert_eq!(found, expected.as_bytes(), "{end}");
        assert_eq!(reader.may_grow(), end < file.len(), "{end}");
        let finished = put(&dir, "y.log.lzo", &file[..end]);
        let (lines, summary) = read(&finished);
        assert_eq!(lines, expected.lines().collect::<Vec<_>>());
        let torn = matches!(summary.ending, Ending::StreamTorn { .. });
        assert_eq!(torn, (1..file.len()).contains(&end), "{end} {summary:?}");
    }
    assert_eq!(reader.summary().ending, Ending::Stream);
}

#[test]
fn a_pipe_gives_what_the_file_gives() {
    for codec in CODECS {
        let (file, _) = segment(codec, Encoding::Raw, true);
        let stream = Box::new(io::Cursor::new(file));
        let mut reader = Reader::of_stream(Path::new("-"), stream).unwrap();
        let mut found = Vec::new();
        while let Some(block) = reader.next_block().unwrap() {
            found.extend_from_slice(block.bytes);
        }
        assert_eq!(found, TEXTS.concat().as_bytes(), "{codec}");
        assert_eq!(reader.summary().ending, Ending::Stream);
    }
}

#[test]
fn a_file_whose_beginning_is_destroyed_is_no_text() {
    let dir = tempfile::tempdir().unwrap();
    for name in ["x.log.zst", "x.log.1.gz", "x.log.lz4.open"] {
        let (mut file, entries) = segment(Codec::Zstd, Encoding::Raw, false);
        file[..4].copy_from_slice(b"oops");
        let (lines, summary) = read(&put(&dir, name, &file));
        assert_eq!(lines, ["three", "four", "five", "six"]);
        assert_eq!(summary.damaged_blocks, 1, "{summary:?}");
        let (lines, summary) = read(&put(&dir, name, &file[..entries[1].offset as usize]));
        assert_eq!((lines.len(), summary.events), (0, 0));
        assert!(matches!(summary.ending, Ending::StreamTorn { .. }), "{summary:?}");
    }
}

/// Open: the block whose header is destroyed is missed, and named. Sealed: the index knows it.
#[test]
fn behind_a_destroyed_header_reading_goes_on() {
    let dir = tempfile::tempdir().unwrap();
    for (codec, at) in CODECS.into_iter().flat_map(|codec| [(codec, 0), (codec, 1), (codec, 2)]) {
        for sealed in [false, true] {
            let (mut file, entries) = segment(codec, Encoding::Raw, sealed);
            let entry = entries[at];
            file[entry.offset as usize + 30] ^= 1;
            let (lines, summary) = read(&put(&dir, "x.log.zst.open", &file));
            let left = (0..3).filter(|block| sealed || *block != at);
            let expected: String = left.map(|block| TEXTS[block]).collect();
            assert_eq!(lines, expected.lines().collect::<Vec<_>>(), "{codec} {at} {sealed}");
            if at == 2 && !sealed {
                assert!(matches!(summary.ending, Ending::Torn { .. }), "{summary:?}");
                continue;
            }
            assert_eq!(summary.ending, if sealed { Ending::Sealed } else { Ending::Open });
            assert_eq!(summary.damaged_blocks, 1);
            let named = format!("at byte {}", entry.offset);
            assert!(summary.first_damage.as_ref().unwrap().contains(&named), "{summary:?}");
        }
    }
}

#[test]
fn a_growing_file_is_followed_behind_a_destroyed_header() {
    let dir = tempfile::tempdir().unwrap();
    for sealed in [false, true] {
        let (mut file, entries) = segment(Codec::Lz4, Encoding::Raw, sealed);
        file[entries[0].offset as usize + 30] ^= 1;
        let path = put(&dir, "x.lz4.open", b"");
        let mut reader = Reader::open(&OsDisk, &path).unwrap();
        let mut found = Vec::new();
        for end in (0..file.len()).step_by(7).chain([file.len()]) {
            std::fs::write(&path, &file[..end]).unwrap();
            while let Some(block) = reader.next_block().unwrap() {
                found.extend_from_slice(block.bytes);
            }
            assert!(reader.may_grow() || end == file.len());
        }
        assert_eq!(String::from_utf8(found).unwrap(), TEXTS[1..].concat());
        assert_eq!(reader.summary().damaged_blocks, 1, "{:?}", reader.summary());
        let mut reader = Reader::open(&OsDisk, &path).unwrap();
        let end = entries[2].end_offset();
        assert_eq!(reader.skip().unwrap(), end);
        assert!(reader.next_block().unwrap().is_none());
    }
}

#[test]
fn a_growing_file_is_followed_through_its_seal() {
    let dir = tempfile::tempdir().unwrap();
    let (file, entries) = segment(Codec::Zstd, Encoding::Raw, true);
    let path = put(&dir, "x.zst.open", b"");
    let mut reader = Reader::open(&OsDisk, &path).unwrap();
    let mut found = Vec::new();
    for end in (0..file.len()).step_by(7).chain([file.len()]) {
        std::fs::write(&path, &file[..end]).unwrap();
        while let Some(block) = reader.next_block().unwrap() {
            found.extend_from_slice(block.bytes);
        }
        let whole = entries.iter().filter(|e| e.end_offset() <= end as u64).count();
        assert_eq!(found, TEXTS[..whole].concat().as_bytes());
        assert_eq!(reader.may_grow(), end < file.len());
    }
    let plain = put(&dir, "y.log.open", b"one\ntw");
    let mut reader = Reader::open(&OsDisk, &plain).unwrap();
    assert_eq!(reader.next_block().unwrap().unwrap().bytes, b"one\n");
    assert!(reader.next_block().unwrap().is_none());
    std::fs::write(&plain, b"one\ntwo\nthr").unwrap();
    assert_eq!(reader.next_block().unwrap().unwrap().bytes, b"two\n");
    assert!(reader.may_grow());
    assert_eq!(segments(std::slice::from_ref(&plain)).unwrap(), [plain]);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]
    /// Whatever is done to a file: no panic, no line that was not there, recovery rests.
    #[test]
    fn damage_of_any_kind_never_invents_an_event(
        codec in prop::sample::select(&CODECS[..]),
        sealed in any::<bool>(),
        flips in prop::collection::vec((4_usize..1200, any::<u8>()), 1..8),
        gap in (4_usize..1200, 0_usize..60),
    ) {
        let (mut file, _) = segment(codec, Encoding::Raw, sealed);
        for (at, bits) in flips {
            let at = at.min(file.len() - 1);
            file[at] ^= bits;
        }
        let from = gap.0.min(file.len());
        file.drain(from..(from + gap.1).min(file.len()));
        let dir = tempfile::tempdir().unwrap();
        let path = put(&dir, "x.log.zst.open", &file);
        let mut lines = Vec::new();
        let summary = visit(&path, &mut |event| {
            lines.push(event.line.to_vec());
            ControlFlow::Continue(())
        });
        let ours = !matches!(
            summary.unwrap().ending,
            Ending::Stream | Ending::StreamTorn { .. }
        );
        if ours {
            prop_assert!(lines.iter().all(|line| all().iter().any(|l| l.as_bytes() == line)));
        }
        let first = recover(&OsDisk, dir.path(), &|_| true, Mode::Repair).unwrap();
        let foreign = |one: &Recovered| matches!(one.outcome, Outcome::Foreign);
        let again = recover(&OsDisk, dir.path(), &|_| true, Mode::Repair).unwrap();
        prop_assert!(again.iter().all(foreign), "{first:?} {again:?}");
        prop_assert!(first.iter().all(|one| !matches!(one.outcome, Outcome::Failed(_))));
    }
}

#[test]
fn blocks_tell_their_encoder_and_times() {
    let dir = tempfile::tempdir().unwrap();
    let (file, _) = segment(Codec::Lz4, Encoding::Line, true);
    let path = put(&dir, "x", &file);
    let mut seen = Vec::new();
    visit(&path, &mut |event| {
        seen.push((event.encoding, event.block_times));
        if seen.len() == 3 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    })
    .unwrap();
    let times = |min| Some((Wall(min), Wall(min + 5)));
    let line = Some(Encoding::Line);
    assert_eq!(seen, [(line, times(0)), (line, times(0)), (line, times(1))]);
}
