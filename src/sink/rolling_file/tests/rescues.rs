//! What a failed sync left behind: saved elsewhere, and then found once.

use super::*;
use crate::storage::watched_disk::WatchedDisk;

const EIO: Option<i32> = Some(5);

/// A file per peer; the first one has an event the disk was not asked to keep yet, perhaps behind
/// one that is safe.
fn unsynced(behind: bool) -> (Stand, WatchedDisk) {
    let disk = WatchedDisk::default();
    let options = "path = 'DIR/%{peer}.log'\nsync = '1s'\nblock = { age = '100ms' }";
    let dir = tempfile::tempdir().expect("a directory");
    let mut stand = Stand::on(dir, Arc::new(disk.clone()), options);
    if behind {
        stand.put(&[("10.0.0.1", "safe")]);
        stand.pass(Duration::from_millis(200));
        stand.pass(Duration::from_secs(1));
        assert_eq!(stand.ledger.snapshot().sinks[0].synced_events, 1);
    }
    stand.put(&[("10.0.0.1", "moved")]);
    stand.pass(Duration::from_millis(200));
    (stand, disk)
}

/// Syncs once, in vain; nothing can be renamed or cut meanwhile.
fn fail_a_sync(stand: &mut Stand, disk: &WatchedDisk) {
    for what in ["rename", "truncate", "sync_data"] {
        disk.fail(what, EIO);
    }
    stand.pass(Duration::from_secs(1));
    disk.fail("sync_data", None);
    stand.pass(Duration::from_millis(100));
}

/// The sync was asked for while all was well: that it succeeds says nothing of a disk that is full.
#[test]
fn a_sync_that_goes_well_does_not_end_another_fault() {
    let disk = WatchedDisk::default();
    let options = "path = 'DIR/out.log'\nsync = '1s'\nblock = { age = '100ms' }";
    let dir = tempfile::tempdir().expect("a directory");
    let mut stand = Stand::on(dir, Arc::new(disk.clone()), options);
    stand.put(&[("", "one")]);
    stand.pass(Duration::from_millis(200));
    stand.without_clerk(Duration::from_secs(1));
    disk.fail("write", Some(28));
    stand.put(&[("", "two")]);
    stand.without_clerk(Duration::from_millis(200));
    assert_eq!(stand.incidents.blocking().len(), 1, "{:?}", stand.incidents.list());
    let synced = |stand: &Stand| stand.ledger.snapshot().sinks[0].synced_events;
    assert_eq!(synced(&stand), 0, "the clerk has it in hand");
    stand.pass(Duration::from_millis(1));
    assert_eq!(synced(&stand), 1);
    assert_eq!(stand.incidents.blocking().len(), 1, "{:?}", stand.incidents.list());
    disk.fail("write", None);
    stand.pass(Duration::from_millis(500));
    assert_eq!(stand.incidents.blocking(), [""; 0]);
    assert_eq!(stand.incidents.list().len(), 1);
    stand.close();
    assert_eq!(stand.read("out.log.zst"), "one\ntwo\n");
    stand.adds_up();
}

/// How many of the files that count hold this text: whatever is not set aside, as far as it reads.
fn found(stand: &Stand, text: &str) -> usize {
    let files = stand.files().into_iter().filter(|name| !name.ends_with(".bad"));
    files.filter(|name| stand.readable(name).contains(text)).count()
}

#[test]
fn a_rescued_file_that_nothing_can_be_done_about_is_tried_again() {
    for (healed, behind) in [("rename", false), ("truncate", false), ("truncate", true)] {
        let (mut stand, disk) = unsynced(behind);
        fail_a_sync(&mut stand, &disk);
        // An index that cannot be cut behind may have been written over it.
        assert!(behind || found(&stand, "moved") == 2, "{:?}", stand.files());
        // Others write and sync, and the clerk has the file in hand: still nothing is mended.
        for _ in 0..3 {
            stand.put(&[("10.0.0.2", "another")]);
            stand.without_clerk(Duration::from_millis(400));
            assert_eq!(stand.incidents.blocking().len(), 1, "{:?}", stand.incidents.list());
            stand.pass(Duration::from_millis(1));
            assert_eq!(stand.incidents.blocking().len(), 1, "{:?}", stand.incidents.list());
        }
        let list = stand.incidents.list();
        assert_eq!(list.iter().filter(|incident| incident.blocks).count(), 1, "{list:?}");
        disk.fail(healed, None);
        stand.pass(Duration::from_secs(1));
        assert_eq!(stand.incidents.blocking(), [""; 0]);
        let once = (usize::from(behind), 1);
        assert_eq!((found(&stand, "safe"), found(&stand, "moved")), once, "by {healed}");
        disk.fail("rename", None);
        disk.fail("truncate", None);
        stand.close();
        assert_eq!((found(&stand, "safe"), found(&stand, "moved")), once, "by {healed}");
        stand.adds_up();
    }
}

/// While nothing can be synced, renamed or cut, the disk is asked again as time goes by, and not
/// as often as it answers: each time is a file more.
#[test]
fn a_disk_whose_syncs_keep_failing_does_not_make_files_without_end() {
    let disk = WatchedDisk::default();
    let dir = tempfile::tempdir().expect("a directory");
    let options = "path = 'DIR/all.log'\nsync = '1s'\nblock = { age = '100ms' }";
    let mut stand = Stand::on(dir, Arc::new(disk.clone()), options);
    stand.put(&[("", "moved")]);
    stand.pass(Duration::from_millis(200));
    for what in ["rename", "truncate", "sync_data"] {
        disk.fail(what, EIO);
    }
    for seconds in 1..5 {
        stand.pass(Duration::from_secs(1));
        assert!(stand.files().len() <= 2 + 5 * seconds, "{} in {seconds} s", stand.files().len());
    }
    for what in ["rename", "truncate", "sync_data"] {
        disk.fail(what, None);
    }
    stand.pass(Duration::from_secs(1));
    stand.close();
    assert_eq!(found(&stand, "moved"), 1, "{:?}", stand.files());
    stand.adds_up();
}
