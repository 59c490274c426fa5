//! Chained files, whole, damaged, and forged by somebody who mends every checksum.

use std::ops::Range;
use std::sync::Arc;

use proptest::prelude::*;
use tempfile::TempDir;

use super::*;
use crate::codec::Codec;
use crate::storage::Container;
use crate::storage::block::{
    BlockFacts, HEADER_BYTES, decode_frame, decode_whole, seal_block_with, stamp,
};
use crate::storage::chain::{self, Hash};
use crate::storage::index::index_frames;
use crate::storage::seal::Sealer;
use crate::storage::seal_key::SigningKey;
use crate::storage::seal_key::tests::{OTHER, PRIVATE, PUBLIC};
use crate::time::Wall;

const CODECS: [Codec; 3] = [Codec::Zstd, Codec::Gzip, Codec::Lz4];
const TEXTS: [&str; 5] = ["one\ntwo\n", "three\n", "four\nfive\nsix\n", "seven\n", "eight\n"];
const ID: u64 = 0x1122_3344_5566_7788;

/// A chained file in pieces.
#[derive(Clone)]
struct Pieces {
    codec: Codec,
    blocks: Vec<Vec<u8>>,
}

impl Pieces {
    /// Sealed, with the key of `PRIVATE` if `signed`.
    fn new(codec: Codec, signed: bool) -> Self {
        let mut pieces = Self::unsealed(codec);
        pieces.seal(signed);
        pieces
    }

    fn unsealed(codec: Codec) -> Self {
        let blocks = TEXTS.iter().map(|text| block(codec, text)).collect();
        let mut pieces = Self { codec, blocks };
        let all = 0..pieces.blocks.len();
        pieces.rechain(all);
        pieces
    }

    fn seal(&mut self, signed: bool) {
        let key = signed.then(|| SigningKey::from_pem(PRIVATE.as_bytes()).unwrap());
        let mut empty = Vec::new();
        self.codec.compressor(1).compress(b"", &mut empty).unwrap();
        let sealer = Sealer { container: container(self.codec), empty, key: key.map(Arc::new) };
        let entries = self.entries();
        let last = self.value(self.blocks.len() - 1);
        self.blocks.push(sealer.block(ID, &entries, last));
    }

    /// The chain value that a block tells.
    fn value(&self, block: usize) -> Hash {
        let (frame, data) = self.blocks[block].split_at(frame_bytes(&self.blocks[block]));
        chain::read(frame, data).unwrap().expect("it is chained").value
    }

    /// Hashes these blocks anew, each behind the one before it.
    fn rechain(&mut self, blocks: Range<usize>) {
        for number in blocks {
            let before = if number == 0 { Hash::START } else { self.value(number - 1) };
            stamp(container(self.codec), &mut self.blocks[number], 0, 0);
            chain::link(&mut self.blocks[number]);
            chain::stamp(&mut self.blocks[number], ID, number as u64, &before);
        }
    }

    /// Numbers all blocks as they stand, and mends their checksums, but not their hashes.
    fn renumber(&mut self) {
        for (number, block) in self.blocks.iter_mut().enumerate() {
            stamp(container(self.codec), block, ID, number as u64);
        }
    }

    /// Another text of as many bytes in its place, every checksum mended, and no hash.
    fn alter(&mut self, number: usize) {
        let (header, fields) = decode_whole(&self.blocks[number]).unwrap();
        let raw = TEXTS[number].to_uppercase();
        let facts = BlockFacts {
            container: header.container,
            encoder: header.encoder,
            event_count: header.event_count,
            time_min: header.time_min,
            time_max: header.time_max,
        };
        let mut other = Vec::new();
        let mut compressor = self.codec.compressor(1);
        let compress = |raw: &[u8], out: &mut Vec<u8>| compressor.compress(raw, out);
        seal_block_with(&mut other, &facts, fields, raw.as_bytes(), compress).unwrap();
        stamp(header.container, &mut other, ID, number as u64);
        self.blocks[number] = other;
    }

    fn entries(&self) -> Vec<BlockEntry> {
        let mut at = 0;
        let entry = |block: &Vec<u8>| {
            let entry = BlockEntry::of_block(at, block).unwrap();
            at = entry.end_offset();
            entry
        };
        self.blocks.iter().map(entry).collect()
    }

    /// The whole file, with an index of its blocks as they are.
    fn file(&self) -> Vec<u8> {
        let mut file = self.blocks.concat();
        index_frames(container(self.codec), ID, &self.entries(), &mut file);
        file
    }

    fn offset(&self, block: usize) -> u64 {
        self.blocks[..block].iter().map(|block| block.len() as u64).sum()
    }
}

fn container(codec: Codec) -> Container {
    Container::from_wire_id(codec.wire_id()).unwrap()
}

fn frame_bytes(block: &[u8]) -> usize {
    decode_frame(block).unwrap().1
}

fn block(codec: Codec, text: &str) -> Vec<u8> {
    let mut fields = Vec::new();
    chain::put_room(&mut fields);
    block_with(codec, text, &fields)
}

fn block_with(codec: Codec, text: &str, fields: &[u8]) -> Vec<u8> {
    let facts = BlockFacts {
        container: container(codec),
        encoder: 0,
        event_count: text.lines().count() as u32,
        time_min: Wall(1000),
        time_max: Wall(2000),
    };
    let (mut out, mut compressor) = (Vec::new(), codec.compressor(1));
    let compress = |raw: &[u8], out: &mut Vec<u8>| compressor.compress(raw, out);
    seal_block_with(&mut out, &facts, fields, text.as_bytes(), compress).unwrap();
    out
}

/// A place for one file.
struct Bench {
    dir: TempDir,
    name: String,
}

/// What `verify` said: bad places as block, byte and why; how many were sealed and signed.
#[derive(Debug)]
struct Said {
    bad: Vec<(Option<u64>, Option<u64>, String)>,
    chained: serde_json::Value,
}

impl Bench {
    fn new(codec: Codec) -> Self {
        let name = format!("x.log{}", container(codec).suffix());
        Self { dir: tempfile::tempdir().unwrap(), name }
    }

    fn text(&self, file: &[u8], keys: &[&str], json: bool) -> (bool, String) {
        let path = self.dir.path().join(&self.name);
        std::fs::write(&path, file).unwrap();
        let keys = keys.iter().map(|pem| VerifyingKey::from_pem(pem.as_bytes()).unwrap());
        let args = VerifyArgs { paths: vec![path], key: Vec::new(), json };
        // On this thread: a crew a file would be thousands of threads.
        let (keys, mut out): (Vec<_>, _) = (keys.collect(), Vec::new());
        let (gathered, listed, work) = gather(&args, !keys.is_empty());
        let mut decoder = BlockDecoder::default();
        let results = work.map(|work| check(work, &mut decoder));
        let code = tell_all(json, keys, &gathered, &listed, results, &mut out).unwrap();
        (code == ExitCode::SUCCESS, String::from_utf8(out).unwrap())
    }

    fn said(&self, file: &[u8], keys: &[&str]) -> Said {
        let (well, text) = self.text(file, keys, true);
        let value: serde_json::Value = serde_json::from_str(&text).unwrap();
        let bad: Vec<_> = value["bad"].as_array().unwrap().iter().collect();
        let bad = bad.into_iter().map(|bad| {
            let why = bad["why"].as_str().unwrap().to_owned();
            (bad["block"].as_u64(), bad["at"].as_u64(), why)
        });
        let said = Said { bad: bad.collect(), chained: value["chained"].clone() };
        assert_eq!(said.bad.is_empty(), well, "{said:?}");
        said
    }

    /// The first place that is bad is this block, for this reason, whether a key is given or not.
    #[track_caller]
    fn names(&self, pieces: &Pieces, block: usize, why: &str) {
        for keys in [&[][..], &[PUBLIC]] {
            let said = self.said(&pieces.file(), keys);
            let place = (Some(block as u64), Some(pieces.offset(block)));
            let first = said.bad.first().expect("something is bad");
            assert!((first.0, first.1) == place && first.2.contains(why), "{place:?}: {said:?}");
        }
    }
}

#[test]
fn whole_files_are_well_and_it_is_said_who_signed_them() {
    for codec in CODECS {
        let bench = Bench::new(codec);
        let signed = Pieces::new(codec, true).file();
        let said = bench.said(&signed, &[OTHER, PUBLIC]);
        assert_eq!((said.bad.len(), &said.chained["signed"]), (0, &1.into()), "{said:?}");
        let said = bench.said(&signed, &[]);
        assert_eq!(
            (said.bad.len(), &said.chained["sealed"], &said.chained["signed"]),
            (0, &1.into(), &0.into())
        );
        let (_, text) = bench.text(&signed, &[PUBLIC], false);
        let expected = "chained: 1 files, 1 sealed (1 of them signed with the key), 0 not sealed, \
                        0 in progress\n1 files, 6 blocks, 8 events, 40 bytes: all is well\n";
        assert_eq!(text, expected);
        let of_nobody = Pieces::new(codec, false).file();
        assert!(bench.said(&of_nobody, &[]).bad.is_empty());
        assert_eq!(bench.said(&of_nobody, &[PUBLIC]).bad[0].2, "its seal is not signed");
        let other = &bench.said(&signed, &[OTHER]).bad[0].2;
        assert!(other.starts_with("its seal is signed with another key, sha256:"), "{other}");
    }
}

#[test]
fn the_first_block_that_was_altered_is_named() {
    for codec in CODECS {
        let bench = Bench::new(codec);
        let whole = Pieces::new(codec, true);
        for number in 0..TEXTS.len() {
            let mut other = whole.clone();
            other.alter(number);
            bench.names(&other, number, "does not match its BLAKE3 hash");
            // Its own hash made anew: what is behind it does not follow.
            other.rechain(number..number + 1);
            bench.names(&other, number + 1, "does not follow from the block before it");
            // All hashes made anew, but for those of the seal.
            other.rechain(number..TEXTS.len());
            bench.names(&other, TEXTS.len(), "does not follow from the block before it");
            other.rechain(number..TEXTS.len() + 1);
            bench.names(&other, TEXTS.len(), "the seal is of another file, of 5 blocks, 8 events");
            // And the seal, too, by one who has no key.
            other.blocks.pop();
            other.seal(false);
            assert!(bench.said(&other.file(), &[]).bad.is_empty());
            assert_eq!(bench.said(&other.file(), &[PUBLIC]).bad[0].2, "its seal is not signed");
        }
        // The old signature under the new hash.
        let mut forged = whole.clone();
        forged.alter(1);
        forged.rechain(1..5);
        let value = forged.value(4);
        let at = container(codec).lead_bytes() + HEADER_BYTES + 4 + 18;
        forged.blocks[5][at..at + 32].copy_from_slice(&value.0);
        forged.rechain(5..6);
        assert!(bench.said(&forged.file(), &[]).bad.is_empty());
        let why = &bench.said(&forged.file(), &[PUBLIC]).bad[0].2;
        assert!(why.starts_with("its seal's signature is not the key's"), "{why}");
    }
}

#[test]
fn blocks_removed_put_in_and_exchanged_are_named() {
    for codec in CODECS {
        let bench = Bench::new(codec);
        let whole = Pieces::new(codec, true);
        let mut removed = whole.clone();
        removed.blocks.remove(2);
        bench.names(&removed, 2, "it is block 3 and stands where 2 belongs");
        removed.renumber();
        bench.names(&removed, 2, "does not follow");
        let mut first = whole.clone();
        first.blocks.remove(0);
        bench.names(&first, 0, "it is block 1 and stands where 0 belongs");
        first.renumber();
        bench.names(&first, 0, "it is not the first block that was written");
        let mut exchanged = whole.clone();
        exchanged.blocks.swap(1, 2);
        bench.names(&exchanged, 1, "it is block 2 and stands where 1 belongs");
        exchanged.renumber();
        bench.names(&exchanged, 1, "does not follow");
        let mut doubled = whole.clone();
        doubled.blocks.insert(3, whole.blocks[2].clone());
        doubled.renumber();
        bench.names(&doubled, 3, "does not follow");
        let mut put_in = whole.clone();
        put_in.blocks.insert(1, block(codec, "never sent\n"));
        put_in.renumber();
        bench.names(&put_in, 1, "it was altered");
        put_in.rechain(1..2);
        bench.names(&put_in, 2, "does not follow");
        let mut bare = whole.clone();
        bare.blocks[4] = bare_block(codec, 4);
        bench.names(&bare, 4, "it has no hash, as the blocks before it have");
        let mut first_bare = whole.clone();
        first_bare.blocks[0] = bare_block(codec, 0);
        bench.names(&first_bare, 1, "it has a hash, and the blocks before it have none");
        let mut behind = whole.clone();
        behind.blocks.push(block(codec, "later\n"));
        behind.rechain(6..7);
        bench.names(&behind, 6, "it stands behind the seal");
        let mut other = whole.clone();
        let end = other.blocks[3].len();
        stamp(container(codec), &mut other.blocks[3][..end], ID + 1, 3);
        bench.names(&other, 3, "it is a block of another file");
    }
}

fn bare_block(codec: Codec, number: usize) -> Vec<u8> {
    let mut out = block_with(codec, TEXTS[number], &[]);
    stamp(container(codec), &mut out, ID, number as u64);
    out
}

/// Without the index a file is walked from block to block: what is named is the same.
#[test]
fn a_file_whose_index_is_of_other_blocks_is_walked() {
    for codec in CODECS {
        let bench = Bench::new(codec);
        let whole = Pieces::new(codec, true);
        let index = &whole.file()[whole.offset(6) as usize..];
        let mut removed = whole.clone();
        removed.blocks.remove(2);
        let said = bench.said(&[&removed.blocks.concat(), index].concat(), &[]);
        let first = &said.bad[0];
        assert_eq!((first.0, first.1), (Some(2), Some(removed.offset(2))), "{said:?}");
        assert!(first.2.contains("it is block 3 and stands where 2 belongs"), "{said:?}");
        assert_eq!(said.bad[1].1, Some(removed.offset(5)), "and the index: {said:?}");
    }
}

#[test]
fn a_seal_that_is_gone_is_missed_with_a_key() {
    for codec in CODECS {
        let mut bench = Bench::new(codec);
        let mut cut = Pieces::new(codec, true);
        while cut.blocks.len() > 1 {
            cut.blocks.pop();
            let (well, text) = bench.text(&cut.file(), &[], false);
            assert!(well && text.contains(": not sealed: the agent did not finish it\n"), "{text}");
            assert!(text.contains("0 sealed (signatures not checked, for want of --key), 1 not"));
            let said = bench.said(&cut.file(), &[PUBLIC]);
            assert!(said.bad[0].2.starts_with("not sealed: "), "{said:?}");
            assert_eq!(said.chained["unsealed"].as_array().unwrap().len(), 1);
        }
        bench.name.push_str(".open");
        let open = Pieces::unsealed(codec).blocks.concat();
        let said = bench.said(&open[..open.len() - 3], &[PUBLIC]);
        assert_eq!((said.bad.len(), &said.chained["in_progress"]), (0, &1.into()), "{said:?}");
    }
}

#[test]
fn with_a_key_every_file_must_be_sealed() {
    let bench = Bench::new(Codec::Zstd);
    let bare = vec![bare_block(Codec::Zstd, 0), bare_block(Codec::Zstd, 1)];
    let bare = Pieces { codec: Codec::Zstd, blocks: bare }.file();
    assert!(bench.said(&bare, &[]).bad.is_empty());
    let why = &bench.said(&bare, &[PUBLIC]).bad[0].2;
    assert_eq!(why, "not chained: nothing tells whether it was altered");
    for other in [&b""[..], &zstd::encode_all(&b"text\n"[..], 1).unwrap()] {
        assert!(bench.said(other, &[]).bad.is_empty());
        let why = &bench.said(other, &[PUBLIC]).bad[0].2;
        assert_eq!(why, "without blocks that tell whether it was altered");
    }
}

proptest! {
    /// Whichever byte is another: it is found, and in its block.
    #[test]
    fn any_byte_that_is_another_is_found(place in any::<prop::sample::Index>(), bit in 0..8_u32) {
        for codec in CODECS {
            let bench = Bench::new(codec);
            let pieces = Pieces::new(codec, true);
            let mut file = pieces.file();
            let at = place.index(file.len());
            file[at] ^= 1 << bit;
            let ends = pieces.entries().into_iter().map(|entry| entry.end_offset());
            let block = ends.clone().position(|end| end > at as u64);
            let offset = pieces.offset(block.unwrap_or(6));
            for keys in [&[][..], &[PUBLIC]] {
                let said = bench.said(&file, keys);
                let first = said.bad.first().expect("it is found");
                prop_assert_eq!((first.0, first.1), (block.map(|it| it as u64), Some(offset)),
                    "{} {} {:?}", codec, at, &said);
            }
        }
    }
}
