//! Segments written by earlier versions: kept for ever, read for ever.
//!
//! `v1/` was written by format version 1 as it was first released: three raw blocks of the lines
//! below, segment id 0x0102030405060708, receive times 1000 s to 1002 s after 1970, sealed. Files
//! here are never written anew; a new format version adds a folder. `datagrams` tells of its own.
//!
//! `chained/` are the same blocks, chained as they were first, and sealed with the key of
//! `seal.pub`.

mod datagrams;
mod log;

use flumen::archive::{Ending, visit};
use flumen::codec::Encoding;
use flumen::storage::segment::{Check, End, scan};
use flumen::storage::{Container, Disk, OsDisk};
use flumen::time::Wall;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::process::Command;

const LINES: [&str; 6] = [
    "<13>Oct 11 22:14:15 mymachine su: 'su root' failed for lonvick on /dev/pts/8",
    "<165>1 2003-08-24T05:14:15.000003-07:00 192.0.2.1 myproc 8710 - - %% It's time",
    "grüße",
    "",
    "a b c d e f g h a b c d e f g h a b c d e f g h a b c d e f g h a b c d e f g h",
    "the end",
];

fn file(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/compat").join(name)
}

fn check(name: &str, container: Container, raw_crcs: &[u32]) {
    let path = file(name);
    let file = OsDisk.open_read(&path).expect("kept for ever");
    let found = scan(&*file, Check::Stored).expect("it reads");
    assert_eq!((found.end, found.container), (End::Sealed, Some(container)), "{name}");
    assert_eq!((found.segment_id, found.event_count()), (0x0102_0304_0506_0708, 6), "{name}");
    let crcs: Vec<u32> = found.blocks.iter().map(|block| block.crc_raw).collect();
    assert_eq!(crcs, raw_crcs, "{name}");

    let mut lines = Vec::new();
    let summary = visit(&path, &mut |event| {
        let second = 1000 + lines.len() as i64 / 2;
        let times = (Wall(second * 1_000_000_000), Wall(second * 1_000_000_000 + 999));
        assert_eq!((event.encoding, event.block_times), (Some(Encoding::Raw), Some(times)));
        lines.push(String::from_utf8(event.text().into_owned()).expect("UTF-8"));
        ControlFlow::Continue(())
    });
    assert_eq!(summary.expect("it reads").ending, Ending::Sealed, "{name}");
    assert_eq!(lines, LINES, "{name}");
}

#[test]
fn version_1_is_read() {
    let crcs = [0x11ce_7667, 0x73cc_1def, 0xb6bd_9043];
    for (name, container) in [
        ("v1/raw.log.gz", Container::Gzip),
        ("v1/raw.log.lz4", Container::Lz4),
        ("v1/raw.log.zst", Container::Zstd),
    ] {
        check(name, container, &crcs);
    }
}

#[test]
fn chained_files_are_read_and_verified() {
    // The seal's block holds nothing.
    let crcs = [0x11ce_7667, 0x73cc_1def, 0xb6bd_9043, 0];
    for (name, container) in [
        ("chained/raw.log.gz", Container::Gzip),
        ("chained/raw.log.lz4", Container::Lz4),
        ("chained/raw.log.zst", Container::Zstd),
    ] {
        check(name, container, &crcs);
        let mut command = Command::new(env!("CARGO_BIN_EXE_flumen"));
        command.arg("verify").arg(file(name)).arg("--key").arg(file("chained/seal.pub"));
        let output = command.output().expect("it runs");
        let said = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success(), "{name}: {said}");
        assert!(said.starts_with("chained: 1 files, 1 sealed (1 of them signed"), "{name}: {said}");
    }
}
