//! More blocks than are known at once: the finished files have their indexes all the same.

use super::*;
use crate::sink::rolling_file::ENTRIES_MAX;
use crate::storage::segment::{Check, End, scan};
use crate::storage::watched_disk::WatchedDisk;

const EIO: Option<i32> = Some(5);
const HALF: usize = ENTRIES_MAX / 2;

/// One file, and a block for each event.
fn sink(sync: &str) -> (Stand, WatchedDisk) {
    let disk = WatchedDisk::default();
    let options = format!("path = 'DIR/x.log'\nsync = '{sync}'\nblock = {{ age = '10ms' }}\n");
    let dir = tempfile::tempdir().expect("a directory");
    let options = options + "roll = { age = '10h' }";
    (Stand::on(dir, Arc::new(disk.clone()), &options), disk)
}

fn put(stand: &mut Stand, events: std::ops::Range<usize>) {
    for number in events {
        stand.put(&[("10.0.0.1", &format!("text {number}"))]);
        stand.pass(Duration::from_millis(10));
    }
}

/// Files and blocks: each file is finished, whole, and has the index that its blocks ask for.
#[track_caller]
fn finished(stand: &mut Stand, events: usize) -> (usize, usize) {
    stand.close();
    stand.adds_up();
    let files = stand.files();
    let mut blocks = 0;
    let mut text = String::new();
    // `x.log.zst`, `x.log.1.zst`: by age.
    let number = |name: &str| name.split('.').nth(2).and_then(|part| part.parse::<u32>().ok());
    let mut ordered: Vec<&String> = files.iter().collect();
    ordered.sort_by_key(|name| number(name).map_or(0, |number| number + 1));
    for name in ordered {
        let file = OsDisk.open_read(&stand.dir.path().join(name)).expect("a file");
        let found = scan(&*file, Check::Stored).expect("it can be read");
        assert_eq!(found.end, End::Sealed, "{name}");
        blocks += found.blocks.len();
        text += &stand.read(name);
    }
    assert_eq!(text, (0..events).map(|number| format!("text {number}\n")).collect::<String>());
    (files.len(), blocks)
}

#[test]
fn what_is_forgotten_is_read_again_for_the_index() {
    for (events, read_again) in [(HALF / 2, false), (HALF + 100, true)] {
        let (mut stand, disk) = sink("100ms");
        put(&mut stand, 0..events);
        disk.calls("read");
        assert_eq!(finished(&mut stand, events), (1, events));
        assert_eq!(disk.calls("read") > 0, read_again);
    }
}

/// An entry that is not synced may be needed to save its block.
#[test]
fn what_is_not_synced_is_synced_first() {
    let (mut stand, disk) = sink("1h");
    put(&mut stand, 0..HALF);
    assert_eq!((disk.calls("sync_data"), disk.calls("sync_volume")), (0, 0));
    put(&mut stand, HALF..2 * HALF);
    let syncs = disk.calls("sync_data") + disk.calls("sync_volume");
    assert!((1..5).contains(&syncs), "{syncs}");
    assert_eq!(finished(&mut stand, 2 * HALF), (1, 2 * HALF));
}

/// Then nothing could be forgotten, and no other file be begun.
#[test]
fn while_a_sync_hangs_the_sink_waits() {
    let (mut stand, _disk) = sink("1h");
    put(&mut stand, 0..1);
    let mut next = 1;
    while stand.pool.free() > PAGES / 2 {
        stand.put(&[("10.0.0.1", &format!("text {next}"))]);
        stand.without_clerk(Duration::from_millis(10));
        next += 1;
    }
    let written = stand.ledger.snapshot().sinks[0].written_events as usize;
    assert!((HALF..=ENTRIES_MAX).contains(&written), "{written} of {next}");
    put(&mut stand, next..2 * ENTRIES_MAX);
    // What came since that sync was asked for is too much to wait for another: it is finished.
    assert_eq!(finished(&mut stand, 2 * ENTRIES_MAX), (2, 2 * ENTRIES_MAX));
}

#[test]
fn what_was_not_forgotten_is_saved_when_its_sync_fails() {
    let (mut stand, disk) = sink("100ms");
    put(&mut stand, 0..HALF + 100);
    disk.fail("sync_data", EIO);
    put(&mut stand, HALF + 100..HALF + 101);
    stand.pass(Duration::from_millis(200));
    disk.fail("sync_data", None);
    stand.pass(Duration::from_secs(1));
    put(&mut stand, HALF + 101..HALF + 110);
    assert_eq!(finished(&mut stand, HALF + 110), (2, HALF + 110));
}

/// A header that was changed under us is no reason to write an index that is wrong: the file stays
/// open, and the next start sees to it.
#[test]
fn what_cannot_be_read_again_is_left_to_the_next_start() {
    let (mut stand, disk) = sink("100ms");
    put(&mut stand, 0..HALF + 100);
    disk.fail("read", EIO);
    stand.close();
    stand.adds_up();
    assert_eq!(stand.files(), ["x.log.zst.open"]);
    let dir = std::mem::replace(&mut stand.dir, tempfile::tempdir().expect("a directory"));
    drop(stand);
    let mut stand = Stand::over(dir, "path = 'DIR/x.log'");
    assert_eq!(finished(&mut stand, HALF + 100), (1, HALF + 100));
}
