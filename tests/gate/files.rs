//! What an open file holds of memory, counted by the allocator: no more than the sum says that
//! `check` prints.

use flumen::memory::gate::held_bytes;
use flumen::sink::SINKS;
use flumen::sink::rolling_file::OPEN_FILE_BYTES;
use flumen::storage::segment::BlockEntry;

use super::{Line, generated};

/// So few that every machine's limit of descriptors has them.
const FILES: u32 = 600;

/// Bytes held when a file of each of so many hosts is open.
fn held(hosts: u32) -> i64 {
    let dir = tempfile::tempdir().expect("a folder");
    // About as long as what a path is reckoned with.
    let folder = dir.path().join("f".repeat(60));
    let sink = format!(
        "type = 'file'\npath = '{}/%{{host}}.log'\ncodec = 'zstd'\nopen_files = {FILES}\n\
         block = {{ age = '50ms' }}",
        folder.display()
    );
    let text = generated(&sink).replace("rate = 'max'", &format!("rate = 'max'\nhosts = {hosts}"));
    let before = held_bytes();
    let mut line = Line::build(&text, SINKS);
    let files = || std::fs::read_dir(&folder).expect("a folder").count();
    let mut steps = 0;
    while files() < hosts as usize {
        line.step();
        steps += 1;
        assert!(steps < 10_000, "{} files of {hosts}", files());
    }
    held_bytes() - before
}

#[test]
fn an_open_file_costs_no_more_than_the_sum_says() {
    let each = (held(FILES) - held(1)) / i64::from(FILES - 1);
    // The first entries of its index stand in a line of their own.
    let index = 4 * size_of::<BlockEntry>() as i64;
    let (own, most) = (each - index, OPEN_FILE_BYTES as i64);
    println!("an open file: {own} bytes held, {most} in the sum");
    assert!(own <= most, "{own} bytes a file, {most} in the sum");
    // What is reckoned too high takes batches from the pool.
    assert!(own >= most / 3, "{own} bytes a file, {most} in the sum");
}
