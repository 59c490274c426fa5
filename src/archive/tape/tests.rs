//! Archives and captures that are played.

use super::*;
use crate::codec::datagram::Record;
use crate::codec::{Codec, Encoding};
use crate::storage::Container;
use crate::storage::block::{BlockFacts, seal_block_with, stamp};
use crate::storage::meta::MetaCoder;
use crate::wire::capture::Writer;
use std::net::SocketAddr;
use tempfile::TempDir;

const ALL: Choice = Choice { range: TimeRange::ALL, port: None };

/// An open segment of these blocks: first and last time, and bytes.
fn archive(dir: &TempDir, name: &str, encoding: Encoding, blocks: &[(i64, i64, &[u8])]) -> PathBuf {
    archive_with(dir, name, encoding, blocks, &[])
}

fn archive_with(
    dir: &TempDir,
    name: &str,
    encoding: Encoding,
    blocks: &[(i64, i64, &[u8])],
    fields: &[u8],
) -> PathBuf {
    let (container, encoder) = (Container::Zstd, encoding.wire_id());
    let mut file = Vec::new();
    for (sequence, (first, last, raw)) in blocks.iter().enumerate() {
        let (at, time_min, time_max) = (file.len(), Wall(*first), Wall(*last));
        let event_count = memchr::memchr_iter(b'\n', raw).count() as u32;
        let facts = BlockFacts { container, encoder, event_count, time_min, time_max };
        let mut compressor = Codec::Zstd.compressor(1);
        let compress = |raw: &[u8], out: &mut Vec<u8>| compressor.compress(raw, out);
        seal_block_with(&mut file, &facts, fields, raw, compress).unwrap();
        stamp(container, &mut file[at..], 9, sequence as u64);
    }
    let path = dir.path().join(name);
    std::fs::write(&path, file).unwrap();
    path
}

fn address(text: &str) -> Option<SocketAddr> {
    Some(text.parse().unwrap())
}

fn datagrams(times: &[i64]) -> Vec<u8> {
    let mut out = Vec::new();
    for at in times {
        let local = address(if at % 2 == 0 { "10.0.0.1:2055" } else { "10.0.0.1:514" });
        let text = format!("at {at}\n");
        let bytes = text.as_bytes();
        Record { at: Wall(*at), peer: None, local, truncated: false, bytes }.write(&mut out);
    }
    out
}

fn capture(dir: &TempDir, name: &str, times: &[i64]) -> PathBuf {
    let (mut writer, mut out) = (Writer::default(), Vec::new());
    writer.begin(&mut out);
    for at in times {
        let to = address(if at % 2 == 0 { "10.0.0.1:2055" } else { "10.0.0.1:514" });
        let text = format!("at {at}\n");
        writer.datagram(*at, address("10.0.0.9:9"), to, text.as_bytes(), None, &mut out).unwrap();
    }
    let path = dir.path().join(name);
    std::fs::write(&path, out).unwrap();
    path
}

fn play(paths: &[PathBuf], choice: Choice) -> (Vec<(i64, String)>, Findings) {
    let mut tape = Tape::open(paths, choice).unwrap();
    let (mut reel, mut all) = (Reel::default(), Vec::new());
    loop {
        reel.clear();
        let more = tape.fill(&mut reel);
        let text = |index| String::from_utf8(reel.text(index).to_vec()).unwrap();
        all.extend((0..reel.len()).map(|index| (reel.at(index).0, text(index))));
        if !more {
            return (all, tape.findings().clone());
        }
    }
}

fn at(times: &[i64]) -> Vec<(i64, String)> {
    times.iter().map(|at| (*at, format!("at {at}\n"))).collect()
}

#[test]
fn datagrams_of_overlapping_blocks_and_files_come_in_the_order_of_their_times() {
    let dir = tempfile::tempdir().unwrap();
    let (one, two, three) = (datagrams(&[10, 30, 20]), datagrams(&[25, 60]), datagrams(&[15, 61]));
    let first =
        archive(&dir, "a.rec.zst.open", Encoding::Datagram, &[(10, 30, &one), (25, 60, &two)]);
    let second = archive(&dir, "b.rec.zst.open", Encoding::Datagram, &[(15, 61, &three)]);
    for paths in [vec![first, second], vec![dir.path().to_owned()]] {
        let (events, findings) = play(&paths, ALL);
        assert_eq!(events, at(&[10, 15, 20, 25, 30, 60, 61]));
        assert_eq!(findings, Findings::default());
    }
    let port = Choice { port: Some(2055), ..ALL };
    assert_eq!(play(&[dir.path().to_owned()], port).0, at(&[10, 20, 30, 60]));
    let range = TimeRange { since: Wall(20), until: Wall(60) };
    let (events, _) = play(&[dir.path().to_owned()], Choice { range, ..ALL });
    assert_eq!(events, at(&[20, 25, 30]));
}

#[test]
fn lines_are_spread_over_their_block_and_json_has_times_of_its_own() {
    let dir = tempfile::tempdir().unwrap();
    let lines = archive(&dir, "a.log.zst.open", Encoding::Raw, &[(100, 200, b"a\nb\nc\n")]);
    let (events, findings) = play(&[lines], ALL);
    assert_eq!(events, [(100, "a".into()), (150, "b".into()), (200, "c".into())]);
    assert_eq!(findings.block_timed, 3);
    let text = br#"{"event.created":"1970-01-01T00:00:00.000000007Z","message":"m"}
{"event.created":"1970-01-01T00:00:00.000000009Z","message":"n"}
"#;
    let json = archive(&dir, "a.json.zst.open", Encoding::Json, &[(5, 9, text)]);
    let (events, findings) = play(&[json], ALL);
    assert_eq!(events, [(7, "m".into()), (9, "n".into())]);
    assert_eq!(findings, Findings::default());
}

#[test]
fn lines_whose_times_are_kept_have_them() {
    let dir = tempfile::tempdir().unwrap();
    let (mut coder, mut fields) = (MetaCoder::default(), Vec::new());
    let times = [100, 300, 190];
    assert!(times.iter().all(|at| coder.push(Wall(*at), None)));
    coder.finish(&mut fields);
    let block: &[(i64, i64, &[u8])] = &[(100, 300, b"a\nb\nc\n")];
    let lines = archive_with(&dir, "a.log.zst.open", Encoding::Raw, block, &fields);
    let (events, findings) = play(std::slice::from_ref(&lines), ALL);
    assert_eq!(events, [(100, "a".into()), (190, "c".into()), (300, "b".into())]);
    assert_eq!(findings, Findings::default());
    let range = TimeRange { since: Wall(150), until: Wall(300) };
    assert_eq!(play(&[lines], Choice { range, ..ALL }).0, [(190, "c".into())]);
}

#[test]
fn more_files_than_are_merged_at_once_are_played_all_the_same() {
    let dir = tempfile::tempdir().unwrap();
    let count = blocks::OPEN_MAX as i64 + 30;
    for number in 0..count {
        let block = datagrams(&[number, 1000 + number]);
        let name = format!("{number:03}.rec.zst.open");
        archive(&dir, &name, Encoding::Datagram, &[(number, 1000 + number, &block)]);
    }
    let (events, findings) = play(&[dir.path().to_owned()], ALL);
    assert_eq!(events.len() as i64, 2 * count);
    assert!(events.is_sorted_by_key(|(at, _)| *at), "what comes too late follows at once");
    assert!(findings.disordered > 0 && findings.disordered < count as u64, "{findings:?}");
}

#[test]
fn captures_are_merged_and_what_is_no_datagram_is_counted() {
    let dir = tempfile::tempdir().unwrap();
    let first = capture(&dir, "a.pcapng", &[10, 30]);
    let second = capture(&dir, "b.pcapng", &[20, 40]);
    let (events, findings) = play(&[first.clone(), second], ALL);
    assert_eq!((events, findings), (at(&[10, 20, 30, 40]), Findings::default()));
    let whole = std::fs::read(&first).unwrap();
    let cut = dir.path().join("cut.pcapng");
    std::fs::write(&cut, &whole[..whole.len() - 3]).unwrap();
    let (events, findings) = play(&[cut], ALL);
    assert_eq!(events, at(&[10]));
    assert!(findings.troubles[0].contains("ends in the middle"), "{findings:?}");
}

#[test]
fn what_cannot_be_played_is_told() {
    let dir = tempfile::tempdir().unwrap();
    let block = datagrams(&[1]);
    let record = archive(&dir, "a.rec.zst.open", Encoding::Datagram, &[(1, 1, &block)]);
    let taken = capture(&dir, "a.pcap", &[10]);
    let error = |paths: &[PathBuf]| Tape::open(paths, ALL).err().expect("refused");
    assert!(error(&[record, taken]).contains("one kind at a time"));
    assert!(error(&[dir.path().join("missing")]).contains("missing"));
    let text = dir.path().join("plain.log");
    std::fs::write(&text, "a\nb\n").unwrap();
    let (events, findings) = play(&[text], ALL);
    assert_eq!((events.len(), findings.untimed), (0, 2));
}

#[test]
fn a_reel_is_bounded() {
    let dir = tempfile::tempdir().unwrap();
    let times: Vec<i64> = (0..5000).collect();
    let block = datagrams(&times);
    let record = archive(&dir, "a.rec.zst.open", Encoding::Datagram, &[(0, 4999, &block)]);
    let mut tape = Tape::open(&[record], ALL).unwrap();
    let mut reel = Reel::default();
    assert!(tape.fill(&mut reel));
    assert_eq!(reel.len(), REEL_EVENTS);
    assert_eq!((reel.at(7), reel.text(7)), (Wall(7), &b"at 7\n"[..]));
}
