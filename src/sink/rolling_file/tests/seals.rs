//! Many files are finished together; what fails for one, fails for it alone.

use super::rounds::{dirs, dirty_with, finished};
use super::*;
use crate::storage::watched_disk::WatchedDisk;

const SYNCED_LATE: &str = "sync = '1h'\nroll = { age = '1h' }";
const EIO: Option<i32> = Some(5);
const ENOSPC: Option<i32> = Some(28);

/// Syncs of files, of volumes, of directories, and renames since last asked.
fn calls(disk: &WatchedDisk) -> [usize; 4] {
    ["sync_data", "sync_volume", "sync_dir", "rename"].map(|what| disk.calls(what))
}

fn roll(stand: &mut Stand) {
    stand.orders.roll_all();
    stand.pass(Duration::from_millis(200));
}

/// Each peer's event stands in one file that counts, finished, and the books agree.
fn all_is_well(stand: &mut Stand, peers: usize) {
    stand.close();
    stand.adds_up();
    assert_eq!(stand.incidents.blocking(), [""; 0]);
    assert_eq!(finished(stand).len(), peers);
    for peer in 0..peers {
        let of_peer = |name: &String| name.starts_with(&format!("10.0.0.{peer}.log"));
        let names: Vec<String> = finished(stand).into_iter().filter(of_peer).collect();
        assert_eq!(names.len(), 1, "{names:?}");
        assert_eq!(stand.read(&names[0]), format!("of {peer}\n"));
    }
    let sink = &stand.ledger.snapshot().sinks[0];
    assert_eq!((sink.written_events, sink.synced_events), (peers as u64, peers as u64));
}

#[test]
fn whatever_finishes_many_files_at_once_they_share_their_syncs() {
    let (mut stand, disk) = dirty_with(70, SYNCED_LATE);
    stand.close();
    assert_eq!(calls(&disk), [0, 1, dirs(&stand), 70], "closing");
    all_is_well(&mut stand, 70);
    let (mut stand, disk) = dirty_with(70, SYNCED_LATE);
    roll(&mut stand);
    assert_eq!(calls(&disk), [0, 1, dirs(&stand), 70], "an order");
    all_is_well(&mut stand, 70);
    let (mut stand, disk) = dirty_with(70, SYNCED_LATE);
    stand.pass(Duration::from_secs(3600));
    assert_eq!(calls(&disk), [0, 1, dirs(&stand), 70], "age");
    all_is_well(&mut stand, 70);
}

#[test]
fn few_are_synced_one_by_one_and_their_directory_once() {
    let (mut stand, disk) = dirty_with(64, SYNCED_LATE);
    roll(&mut stand);
    assert_eq!(calls(&disk), [64, 0, dirs(&stand), 64]);
    all_is_well(&mut stand, 64);
}

/// No more files are open than may be, but for those that are being finished; the idle go first.
#[test]
fn files_that_make_room_are_finished_in_rounds() {
    let (mut stand, disk) = dirty_with(200, "sync = '1h'\nopen_files = 96");
    let [each, volumes, _, renames] = calls(&disk);
    assert!(finished(&stand).len() >= 104 && finished(&stand).len() <= 107);
    assert_eq!(renames, finished(&stand).len());
    assert!(each + volumes <= renames && disk.calls("sync_dir") < renames);
    assert!(finished(&stand).contains(&"10.0.0.0.log.zst".to_owned()));
    assert!(!finished(&stand).contains(&"10.0.0.199.log.zst".to_owned()));
    all_is_well(&mut stand, 200);
}

#[test]
fn a_failed_sync_makes_all_of_the_round_suspect_and_each_event_is_saved_once() {
    let (mut stand, disk) = dirty_with(70, SYNCED_LATE);
    disk.fail("sync_volume", EIO);
    roll(&mut stand);
    assert_eq!((finished(&stand).len(), stand.incidents.blocking().len()), (0, 1));
    assert_eq!(stand.ledger.snapshot().sinks[0].synced_events, 0);
    disk.fail("sync_volume", None);
    stand.pass(Duration::from_secs(1));
    assert_eq!(stand.incidents.blocking(), [""; 0]);
    // Nothing of a file that was never synced may be believed: it is set aside.
    assert_eq!(stand.files().iter().filter(|name| name.ends_with(".zst.bad")).count(), 70);
    all_is_well(&mut stand, 70);
}

/// The volume is well, but of one file another sync has met the failure.
#[test]
fn one_file_whose_bytes_were_lost_is_suspect_alone() {
    let (mut stand, disk) = dirty_with(70, SYNCED_LATE);
    disk.fail_of("written_back", "10.0.0.7.log", EIO);
    roll(&mut stand);
    assert_eq!((finished(&stand).len(), stand.incidents.blocking().len()), (69, 1));
    disk.fail("written_back", None);
    stand.pass(Duration::from_secs(1));
    assert_eq!(stand.files().iter().filter(|name| name.ends_with(".zst.bad")).count(), 1);
    all_is_well(&mut stand, 70);
}

#[test]
fn without_room_for_one_index_the_others_are_finished() {
    let (mut stand, disk) = dirty_with(70, SYNCED_LATE);
    disk.fail_of("write", "10.0.0.7.log", ENOSPC);
    roll(&mut stand);
    assert_eq!((finished(&stand).len(), stand.incidents.blocking().len()), (69, 1));
    // The incident goes on while it is tried again and others come and go.
    stand.put(&[("10.0.0.99", "another")]);
    stand.pass(Duration::from_millis(200));
    stand.pass(Duration::from_secs(1));
    let list = stand.incidents.list();
    assert_eq!(list.iter().filter(|incident| incident.blocks).count(), 1, "{list:?}");
    disk.fail("write", None);
    stand.pass(Duration::from_secs(1));
    assert_eq!(stand.incidents.blocking(), [""; 0]);
    assert_eq!(finished(&stand).len(), 70);
    stand.close();
    assert_eq!(stand.ledger.snapshot().sinks[0].synced_events, 71);
    stand.adds_up();
}

#[test]
fn a_failed_rename_leaves_one_open_until_it_can_be_renamed() {
    let (mut stand, disk) = dirty_with(70, SYNCED_LATE);
    disk.fail_of("rename", "10.0.0.7.log", EIO);
    roll(&mut stand);
    assert_eq!((finished(&stand).len(), stand.incidents.blocking().len()), (69, 1));
    disk.fail("rename", None);
    stand.pass(Duration::from_secs(1));
    assert_eq!(stand.files().len(), 70);
    all_is_well(&mut stand, 70);
}

/// The answer comes when it is already closing: what was lost is found out and counted.
#[test]
fn a_sync_that_failed_just_before_the_end_is_looked_into() {
    let (mut stand, disk) = dirty_with(70, SYNCED_LATE);
    disk.fail("sync_volume", EIO);
    stand.orders.roll_all();
    stand.without_clerk(Duration::from_millis(200));
    let now = stand.clock.now();
    stand.helpers.iter_mut().for_each(|helper| while helper.work(now) == Progress::Worked {});
    disk.fail("sync_volume", None);
    all_is_well(&mut stand, 70);
    assert_eq!(stand.files().iter().filter(|name| name.ends_with(".zst.bad")).count(), 70);
}

/// The last try after another failure is the first that a sync is about.
#[test]
fn a_sync_that_fails_at_the_last_try_is_looked_into() {
    let (mut stand, disk) = dirty_with(70, SYNCED_LATE);
    disk.fail("write", ENOSPC);
    roll(&mut stand);
    disk.fail("write", None);
    disk.fail("sync_volume", EIO);
    let now = stand.clock.now();
    stand.workers.iter_mut().for_each(|worker| worker.close(now));
    // It closes, and the next try is the last.
    stand.settle();
    stand.pass(Duration::from_secs(1));
    disk.fail("sync_volume", None);
    all_is_well(&mut stand, 70);
    assert_eq!(stand.files().iter().filter(|name| name.ends_with(".zst.bad")).count(), 70);
}

/// A disk that fails for good ends no wait: the next start finishes what is left.
#[test]
fn closing_does_not_wait_for_a_disk_that_never_mends() {
    let (mut stand, disk) = dirty_with(70, SYNCED_LATE);
    disk.fail("rename", EIO);
    stand.close();
    assert_eq!(finished(&stand).len(), 0);
    assert_eq!(stand.files().len(), 70);
    stand.adds_up();
}

/// They have their names; only the directory is synced again.
#[test]
fn a_directory_that_cannot_be_synced_is_synced_again() {
    let (mut stand, disk) = dirty_with(70, SYNCED_LATE);
    disk.fail("sync_dir", EIO);
    roll(&mut stand);
    assert_eq!(finished(&stand).len(), 70);
    assert_eq!(stand.ledger.snapshot().sinks[0].synced_events, 0);
    disk.fail("sync_dir", None);
    calls(&disk);
    stand.pass(Duration::from_secs(1));
    assert_eq!(calls(&disk), [0, 0, dirs(&stand), 0]);
    all_is_well(&mut stand, 70);
}

#[test]
fn one_file_that_was_removed_under_us_is_told_and_the_others_are_finished() {
    let (mut stand, _disk) = dirty_with(70, SYNCED_LATE);
    let path = stand.dir.path().join("10.0.0.7.log.zst.open");
    OsDisk.remove(&path).expect("removed");
    // Another file has its name by now: neither renamed nor removed in its place.
    let another = OsDisk.create_new(&path).expect("created");
    roll(&mut stand);
    assert_eq!((finished(&stand).len(), stand.incidents.blocking().len()), (69, 0));
    let sink = stand.ledger.snapshot().sinks[0].clone();
    assert_eq!((sink.errors, sink.synced_events), (1, 69));
    stand.close();
    assert!(another.linked(&path).expect("looked"));
    stand.adds_up();
}
