//! Container files of Avro's, made here block by block, whole and damaged.

use super::*;
use crate::codec::avro::Schema;
use crate::storage::avro::{Marker, head, put_block};

const MARKER: Marker = *b"0123456789abcdef";
const AVRO: &str = "deserializer = 'avro'";
/// Each datum: its length and its text.
const STRING: &str = "\"string\"";

fn datum(text: &str) -> Vec<u8> {
    let mut rest = text.len() << 1;
    let mut out = Vec::new();
    while rest > 0x7F {
        out.push(rest as u8 | 0x80);
        rest >>= 7;
    }
    out.push(rest as u8);
    out.extend_from_slice(text.as_bytes());
    out
}

/// What an event of this text is, as the rig shows it.
fn body(text: &str) -> String {
    String::from_utf8_lossy(&datum(text)).into_owned()
}

fn block(texts: &[&str], pack: impl FnOnce(&[u8]) -> Vec<u8>) -> Vec<u8> {
    let data: Vec<u8> = texts.iter().flat_map(|text| datum(text)).collect();
    let (mut out, count) = (Vec::new(), texts.len() as u32);
    let put = |out: &mut Vec<u8>| {
        out.extend_from_slice(&pack(&data));
        Ok::<(), ()>(())
    };
    put_block(&mut out, count, &MARKER, put).unwrap();
    out
}

/// Blocks of these strings, as they are.
fn file(blocks: &[&[&str]]) -> Vec<u8> {
    let mut file = head(STRING, "null", &MARKER);
    blocks.iter().for_each(|texts| file.extend(block(texts, <[u8]>::to_vec)));
    file
}

#[test]
fn each_datum_is_an_event_and_says_its_schema() {
    let deflated = |data: &[u8]| {
        let fast = flate2::Compression::fast();
        let mut encoder = flate2::write::DeflateEncoder::new(Vec::new(), fast);
        encoder.write_all(data).unwrap();
        encoder.finish().unwrap()
    };
    let mut rig = Rig::new(AVRO);
    rig.put("a", file(&[&["one", "two"], &[], &["", "three"]]));
    let packed = [&head("{ \"type\": \"string\" }", "deflate", &MARKER)[..]];
    rig.put("b", [packed[0], &block(&["four"], deflated)].concat());
    rig.put("c", file(&[]));
    rig.put("d", "");
    rig.read(&["one", "two", "", "three", "four"].map(body).each_ref().map(String::as_str));
    rig.lie(&["a.COMPLETED", "b.COMPLETED", "c.COMPLETED", "d.COMPLETED"]);
    let hash = Schema::parse(STRING).unwrap().fingerprint();
    assert_eq!(rig.headers, vec![format!("flume.avro.schema.hash={hash}"); 5]);
    assert_eq!(rig.told(), "[]");

    let mut literal =
        Rig::new("deserializer = 'avro'\nschema_type = 'literal'\nfile_header = true");
    literal.put("b", [packed[0], &block(&["four"], deflated)].concat());
    literal.read(&[&body("four")]);
    let path = literal.dir.path().join("b");
    let both = format!("file={} flume.avro.schema.literal={{\"type\":\"string\"}}", path.display());
    assert_eq!(literal.headers, [both]);
}

#[test]
fn a_kill_in_the_middle_of_a_block_goes_on_at_the_next_datum() {
    let mut rig = Rig::new(AVRO);
    let long = "x".repeat(60_000);
    let texts: Vec<String> = (0..60).map(|n| format!("{n} {long}")).collect();
    let parts: Vec<Vec<&str>> =
        texts.chunks(30).map(|part| part.iter().map(String::as_str).collect()).collect();
    rig.put("a", file(&[&parts[0], &parts[1]]));
    let mut all = Vec::new();
    let mut places = Vec::new();
    while all.len() < 60 {
        // Until a page has come through, and that is saved.
        while rig.texts.is_empty() && !rig.dir.path().join("a.COMPLETED").exists() {
            rig.at += 1500;
            rig.step();
        }
        rig.at += 1500;
        rig.step();
        let before = all.len();
        all.append(&mut rig.texts);
        let saved = rig.dir.path().join(".flumespool/flumen_position.json");
        places.push(std::fs::read_to_string(saved).unwrap_or_default());
        rig.kill();
        assert!(all.len() > before, "{places:?}");
    }
    // Clean pages came through, so nothing comes twice.
    assert!(all.iter().eq(texts.iter().map(|text| body(text)).collect::<Vec<_>>().iter()));
    assert!(places.iter().any(|place| place.contains(";events=")), "{places:?}");
    rig.read(&[]);
    rig.lie(&["a.COMPLETED"]);
}

#[test]
fn what_was_lost_is_read_again_with_all_pieces_of_what_is_too_long() {
    let long = "y".repeat(limits::EVENT_BYTES_MAX + 5);
    let mut rig = Rig::new(AVRO);
    rig.put("a", file(&[&["one", &long, "two"]]));
    let whole = datum(&long);
    let (first, rest) = whole.split_at(limits::EVENT_BYTES_MAX);
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let expected = [body("one"), text(first), text(rest), body("two")];
    let expected = expected.each_ref().map(String::as_str);
    rig.confirms = false;
    rig.read(&expected);
    rig.slips.clear();
    rig.confirms = true;
    rig.read(&expected);
    rig.lie(&["a.COMPLETED"]);
}

/// It stays where it is, is told, and hinders no other.
#[track_caller]
fn refused(bytes: &[u8], before: &[&str], told: &str) {
    let mut rig = Rig::new("deserializer = 'avro'\nmax_block_length = '512KiB'");
    rig.put("a", bytes);
    rig.put("b", file(&[&["other"]]));
    let mut expected: Vec<String> = before.iter().map(|text| body(text)).collect();
    expected.push(body("other"));
    rig.read(&expected.iter().map(String::as_str).collect::<Vec<_>>());
    rig.lie(&["a", "b.COMPLETED"]);
    assert!(rig.told().contains(told), "{}", rig.told());
    assert!(rig.counters.errors.get() > 0);
    // And what was read of it is not read again, however often it is tried.
    rig.at += 20_000;
    rig.read(&[]);
    rig.kill();
    rig.read(&[]);
    rig.lie(&["a", "b.COMPLETED"]);
}

#[test]
fn what_is_damaged_is_left_and_told_behind_the_last_whole_block() {
    let whole = file(&[&["one"], &["two"]]);
    let begin = file(&[]).len();
    let first = file(&[&["one"]]).len();
    let changed = |at: usize, byte: u8| {
        let mut bytes = whole.clone();
        bytes[at] = byte;
        bytes
    };
    let with = |schema: &str, codec: &str, count: u32, data: &[u8]| {
        let mut out = head(schema, codec, &MARKER);
        let put = |out: &mut Vec<u8>| {
            out.extend_from_slice(data);
            Ok::<(), ()>(())
        };
        put_block(&mut out, count, &MARKER, put).unwrap();
        out
    };
    refused(b"one\ntwo\n", &[], "does not begin as a container file");
    refused(&whole[..begin - 1], &[], "its begin, with the schema, is not whole");
    refused(&changed(begin + 10, b'?'), &[], "not the marker");
    refused(&changed(whole.len() - 1, b'?'), &["one"], "not the marker");
    for cut in [first + 1, first + 4, whole.len() - 1] {
        refused(&whole[..cut], &["one"], "is not whole");
    }
    // The length of the first text: it is longer than its block, or shorter.
    refused(&changed(begin + 2, 100), &[], "datum 1 of 1: it ends in the middle of a datum");
    refused(&changed(begin + 2, 2), &[], "behind its 1 data are 2 bytes more");
    refused(&changed(first + 1, 0xff), &["one"], "is no");
    refused(&with("\"text\"", "null", 1, b"\x00"), &[], "its schema is none: `text` is no type");
    refused(&with("{", "null", 1, b"\x00"), &[], "its schema is none: it is no JSON");
    refused(&with(STRING, "lzo", 1, b"\x00"), &[], "its codec `lzo` is not one of null, deflate");
    refused(&with(STRING, "deflate", 1, b"noise"), &[], "cannot be unpacked");
    refused(&with(STRING, "null", 1, &[0; 600 << 10]), &[], "raise `max_block_length`");
    refused(&with("\"null\"", "null", u32::MAX, b""), &[], "data of no bytes");
    let bomb = zstd::stream::encode_all(&vec![0; 64 << 20][..], 1).unwrap();
    refused(&with(STRING, "zstandard", 1, &bomb), &[], "is larger when it is unpacked");
    let schema = format!("{{\"type\":\"string\",\"doc\":\"{}\"}}", "x".repeat(2 << 20));
    refused(&with(&schema, "null", 1, b"\x00"), &[], "longer than 1 MiB");
}

#[test]
fn a_long_schema_is_read_and_one_too_long_for_a_header_is_told() {
    let schema = format!("{{\"type\":\"string\",\"doc\":\"{}\"}}", "x".repeat(100_000));
    let bytes = [head(&schema, "null", &MARKER), block(&["one"], <[u8]>::to_vec)].concat();
    let mut rig = Rig::new(AVRO);
    rig.put("a", &bytes);
    rig.read(&[&body("one")]);
    let mut literal = Rig::new("deserializer = 'avro'\nschema_type = 'literal'");
    literal.put("a", &bytes);
    literal.read(&[]);
    assert!(literal.told().contains("schema_type = "), "{}", literal.told());
    literal.lie(&["a"]);
}

#[test]
fn a_place_of_another_deserializer_is_none() {
    let mut rig = Rig::new(AVRO);
    rig.source = None;
    rig.put("a", file(&[&["one", "two"]]));
    let path = rig.dir.path().join("a");
    let inode = std::os::unix::fs::MetadataExt::ino(&std::fs::metadata(&path).unwrap());
    let place = format!(r#"[{{"inode":{inode},"pos":20,"file":"{}"}}]"#, path.display());
    std::fs::write(rig.dir.path().join(".flumespool/flumen_position.json"), place).unwrap();
    rig.start();
    rig.read(&[&body("one"), &body("two")]);
    rig.lie(&["a.COMPLETED"]);
}

#[test]
fn a_file_that_is_compressed_as_a_whole_is_gone_on_with() {
    let gzip = |bytes: &[u8]| {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    };
    // Further in than one call unpacks, and each lead somewhere else in its pieces.
    let text = "z".repeat(999);
    let both = [&*text, "1"];
    let whole = file(&vec![&both[..]; 20_000]);
    let (front, back) = whole.split_at(whole.len() - 3000);
    let (front, back) = (gzip(front), gzip(back));
    let mut rig = Rig::new("deserializer = 'avro'\ninclude_pattern = '.*gz'");
    rig.put("a.gz", [&front[..], &back[..8]].concat());
    for _ in 0..3 {
        rig.at += 1000;
        while rig.step() {}
    }
    let before = std::mem::take(&mut rig.texts).len();
    assert!(before > 39_900, "{before}");
    rig.kill();
    rig.put("a.gz", [&front[..], &back].concat());
    for _ in 0..3 {
        rig.at += 1000;
        while rig.step() {}
    }
    assert_eq!(before + rig.texts.len(), 40_000);
    rig.lie(&["a.gz.COMPLETED"]);
}
