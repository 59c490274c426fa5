//! Any bytes may come as an archive file. A target of libFuzzer of its own, and as a test mutations
//! of the files of `tests/compat`, the same ones each time:
//! `RUSTC_BOOTSTRAP=1 cargo fuzz run archive --fuzz-dir tests/fuzz`.
//!
//! Promises: no panic; a file's blocks are found whichever way it is read; a block that decodes is
//! one its checksum knows; front to back and block by block give the same events while nothing is
//! damaged; what a signed chain vouches for is what was signed.

#![cfg_attr(fuzzing, no_main)]

use flumen::archive::chain::{End, Follower};
use flumen::archive::order::{Job, Ordered};
use flumen::archive::query::TimeRange;
use flumen::archive::survey::BlockDecoder;
use flumen::archive::{Ending, Reader};
use flumen::storage::OsDisk;
use flumen::storage::index_reader::read_index;
use flumen::storage::segment::{Check, scan};
use std::path::Path;
use std::sync::Arc;

#[cfg(fuzzing)]
libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let Some((first, bytes)) = bytes.split_first() else { return };
    let name = ["x.log.zst", "x.log.gz", "x.log.lz4", "x.log.zst.open"][usize::from(first % 4)];
    let path = std::env::temp_dir().join(format!("{}-{name}", std::process::id()));
    std::fs::write(&path, bytes).unwrap();
    archive(&path, bytes);
});

/// Keeps every promise about a file that holds these bytes; the decoded text of its blocks.
pub(crate) fn archive(path: &Path, bytes: &[u8]) -> Vec<u8> {
    if let Some(index) = read_index(&bytes).unwrap() {
        let end = index.blocks.last().map_or(0, |block| block.end_offset());
        assert!(end <= bytes.len() as u64, "an index beyond its file");
    }
    let found = scan(&bytes, Check::Stored).unwrap();
    assert!(found.whole_bytes <= bytes.len() as u64);

    let mut decoder = BlockDecoder::default();
    let (mut text, mut faults, mut streams) = (Vec::new(), 0, 0);
    for job in Ordered::new(Arc::new(OsDisk), vec![path.to_owned()], TimeRange::ALL) {
        match job {
            Job::Block { file, codec, entry, .. } => {
                let verified = decoder.verify(&*file, codec, &entry).unwrap().is_ok();
                match decoder.view(&*file, codec, &entry, true).unwrap() {
                    Ok(view) => {
                        // Of every event, or of none.
                        let told = view.events().filter(|event| event.received.is_some()).count();
                        assert!(told == 0 || told == view.events().count(), "{told}");
                        text.extend_from_slice(view.bytes);
                    }
                    Err(_) => {
                        assert!(!verified, "verified, and cannot be decoded");
                        faults += 1;
                    }
                }
            }
            Job::Stream { .. } => streams += 1,
            Job::Gap { gap, .. } => {
                assert!(gap.at + gap.bytes <= bytes.len() as u64);
                faults += 1;
            }
            Job::Failed { error, .. } => panic!("{error}"),
            Job::Skipped { .. } => panic!("nothing was asked to be skipped"),
        }
    }
    let mut reader = Reader::open(&OsDisk, path).unwrap();
    let mut whole = Vec::new();
    while let Some(block) = reader.next_block().unwrap() {
        whole.extend_from_slice(block.bytes);
    }
    let ended = matches!(reader.summary().ending, Ending::Sealed | Ending::Open);
    if ended && streams == 0 && faults == 0 && reader.summary().damaged_blocks == 0 {
        assert_eq!(text, whole, "front to back, and block by block");
    }
    text
}

/// The end of a file's chain, if there is one and every block follows from the one before it.
pub(crate) fn vouched(path: &Path) -> Option<End> {
    let (mut decoder, mut chain) = (BlockDecoder::default(), Follower::default());
    for job in Ordered::new(Arc::new(OsDisk), vec![path.to_owned()], TimeRange::ALL) {
        let Job::Block { file, codec, entry, .. } = job else { return None };
        decoder.verify(&*file, codec, &entry).unwrap().ok()?;
        if chain.block(&entry, decoder.linked()).is_some() {
            return None;
        }
    }
    Some(chain.end()).filter(|end| matches!(end, End::Sealed { .. }))
}

#[cfg(not(fuzzing))]
mod replay {
    use super::{archive, vouched};
    use crate::replay::{Random, files, mutate};
    use flumen::archive::chain::End;
    use flumen::codec::Codec;
    use flumen::storage::block::{BlockFacts, seal_block_with, stamp};
    use flumen::storage::chain::{self, Hash};
    use flumen::storage::index::index_frames;
    use flumen::storage::meta::MetaCoder;
    use flumen::storage::seal::Sealer;
    use flumen::storage::seal_key::SigningKey;
    use flumen::storage::segment::{BlockEntry, Check, scan};
    use flumen::time::Wall;
    use std::path::{Path, PathBuf};
    use std::sync::Arc;

    /// What stands in files of ours: magics, lengths, the index.
    const PIECES: [&[u8]; 10] = [
        b"FLMB",
        b"FLMI",
        b"\x5b\x2a\x4d\x18",
        b"\x5e\x2a\x4d\x18",
        b"\x28\xb5\x2f\xfd",
        b"\x04\x22\x4d\x18",
        b"\x1f\x8b\x08\x04\0\0\0\0\0\xff",
        b"\0\0\0\0",
        b"\xff\xff\xff\xff",
        b"\n",
    ];

    /// Made with `openssl genpkey -algorithm ed25519` for this test.
    const KEY: &str = "-----BEGIN PRIVATE KEY-----\n\
        MC4CAQAwBQYDK2VwBCIEIOsFhelLH7udTbW9egFL7uk35mFPX6nrgwbQxo6/PFum\n\
        -----END PRIVATE KEY-----\n";

    fn key() -> SigningKey {
        SigningKey::from_pem(KEY.as_bytes()).unwrap()
    }

    /// The same file, whose headers keep times and peers; chained and sealed if asked.
    fn with_meta(file: &[u8], chained: bool) -> Vec<u8> {
        let found = scan(&file, Check::Stored).unwrap();
        let container = found.container.unwrap();
        let (mut out, mut blocks, mut value) = (Vec::new(), Vec::new(), Hash::START);
        for (number, block) in (0_u64..).zip(&found.blocks) {
            let (mut coder, mut fields) = (MetaCoder::default(), Vec::new());
            for event in 0..block.event_count {
                let peer = format!("10.0.0.{}:{}", event % 3, 500 + event);
                assert!(coder.push(Wall(i64::from(event) * 12_345), Some(peer.parse().unwrap())));
            }
            coder.finish(&mut fields);
            if chained {
                chain::put_room(&mut fields);
            }
            let facts = BlockFacts {
                container,
                encoder: block.encoder,
                event_count: block.event_count,
                time_min: block.time_min,
                time_max: block.time_max,
            };
            let stored = &file[block.data_offset() as usize..block.end_offset() as usize];
            let codec = Codec::from_wire_id(container.wire_id()).unwrap();
            let mut raw = Vec::new();
            let raw_bytes = block.raw_bytes as usize;
            codec.decompressor().decompress(stored, raw_bytes, &mut raw).unwrap();
            let at = out.len();
            let copy = |_: &[u8], out: &mut Vec<u8>| {
                out.extend_from_slice(stored);
                Ok::<(), ()>(())
            };
            seal_block_with(&mut out, &facts, &fields, &raw, copy).unwrap();
            stamp(container, &mut out[at..], 7, number);
            if chained {
                chain::link(&mut out[at..]);
                value = chain::stamp(&mut out[at..], 7, number, &value);
            }
            blocks.push(BlockEntry::of_block(at as u64, &out[at..]).unwrap());
        }
        if chained {
            let mut empty = Vec::new();
            let codec = Codec::from_wire_id(container.wire_id()).unwrap();
            codec.compressor(1).compress(b"", &mut empty).unwrap();
            let key = Some(Arc::new(key()));
            let seal = Sealer { container, empty, key }.block(7, &blocks, value);
            blocks.push(BlockEntry::of_block(out.len() as u64, &seal).unwrap());
            out.extend_from_slice(&seal);
        }
        index_frames(container, 7, &blocks, &mut out);
        out
    }

    #[test]
    fn mutated_files_keep_every_promise() {
        let dir = tempfile::tempdir().unwrap();
        let mut kept: Vec<(PathBuf, Vec<u8>)> = files("tests/compat/v1")
            .into_iter()
            .filter(|file| file.file_name().unwrap().to_string_lossy().starts_with("raw.log."))
            .map(|file| (file.clone(), std::fs::read(file).unwrap()))
            .collect();
        assert_eq!(kept.len(), 3);
        let told = |chained| {
            move |(path, file): &(PathBuf, Vec<u8>)| (path.clone(), with_meta(file, chained))
        };
        let told: Vec<_> =
            [false, true].into_iter().flat_map(|it| kept.iter().map(told(it))).collect();
        kept.extend(told);
        let public = key().public();
        let signed = |path: &Path| match vouched(path) {
            Some(End::Sealed { seal, segment_id }) => seal.is_signed_by(&public, segment_id),
            _ => false,
        };
        let whole: Vec<Vec<u8>> = kept.iter().map(|(path, bytes)| archive(path, bytes)).collect();
        assert!(whole.iter().all(|text| *text == whole[0] && text.len() == 253));
        let mut random = Random(0x0DDB_1A5E_5BAD_5EED);
        let (chained, mut vouched_for) = (6, 0);
        for round in 0..6000 {
            let number = random.below(kept.len());
            let (file, bytes) = &kept[number];
            let mut bytes = bytes.clone();
            let other = &kept[random.below(kept.len())].1;
            mutate(&mut bytes, other, &PIECES, &mut random);
            let name = file.file_name().unwrap().to_str().unwrap();
            let open = if round % 2 == 0 { ".open" } else { "" };
            let path = dir.path().join(format!("{name}{open}"));
            std::fs::write(&path, &bytes).unwrap();
            let text = archive(&path, &bytes);
            if number >= chained && signed(&path) {
                assert_eq!(text, whole[0], "signed, and another");
                vouched_for += 1;
            }
            for line in text.split(|byte| *byte == b'\n') {
                let known = whole[0].split(|byte| *byte == b'\n').any(|it| it == line);
                assert!(known, "an event that nobody sent: {line:?}");
            }
        }
        // Some mutations hit only the index, or nothing.
        assert!(vouched_for > 0, "nothing was signed");
    }
}
