//! Many dirty files are synced together, and fail together.

use super::*;
use crate::storage::watched_disk::WatchedDisk;

/// A file for each peer, each with one event that is not synced yet.
fn dirty(peers: usize) -> (Stand, WatchedDisk) {
    dirty_with(peers, "sync = '1s'")
}

pub(super) fn dirty_with(peers: usize, options: &str) -> (Stand, WatchedDisk) {
    let disk = WatchedDisk::default();
    let options = format!("path = 'DIR/%{{peer}}.log'\nblock = {{ age = '100ms' }}\n{options}");
    let dir = tempfile::tempdir().expect("a directory");
    let mut stand = Stand::on(dir, Arc::new(disk.clone()), &options);
    let events: Vec<(String, String)> =
        (0..peers).map(|peer| (format!("10.0.0.{peer}"), format!("of {peer}"))).collect();
    let events: Vec<(&str, &str)> =
        events.iter().map(|(peer, text)| (peer.as_str(), text.as_str())).collect();
    stand.put(&events);
    stand.pass(Duration::from_millis(200));
    assert_eq!(stand.files().len(), peers);
    disk.calls("sync_dir");
    (stand, disk)
}

/// Directories that hold a name on the way to a file: its own, and all above it.
pub(super) fn dirs(stand: &Stand) -> usize {
    stand.dir.path().ancestors().count()
}

pub(super) fn finished(stand: &Stand) -> Vec<String> {
    stand.files().into_iter().filter(|name| name.ends_with(".zst")).collect()
}

#[test]
fn up_to_64_dirty_files_are_synced_one_by_one() {
    let (mut stand, disk) = dirty(64);
    stand.pass(Duration::from_secs(1));
    assert_eq!((disk.calls("sync_data"), disk.calls("sync_volume")), (64, 0));
    assert_eq!(stand.ledger.snapshot().sinks[0].synced_events, 64);
}

#[test]
fn above_64_one_sync_of_the_volume_does_and_the_names_are_synced_too() {
    let (mut stand, disk) = dirty(65);
    stand.pass(Duration::from_secs(1));
    assert_eq!((disk.calls("sync_data"), disk.calls("sync_volume")), (0, 1));
    assert_eq!(disk.calls("sync_dir"), dirs(&stand));
    assert_eq!(stand.ledger.snapshot().sinks[0].synced_events, 65);
    stand.pass(Duration::from_secs(2));
    assert_eq!((disk.calls("sync_data"), disk.calls("sync_volume")), (0, 0), "all is clean");
    stand.close();
    assert_eq!(finished(&stand).len(), 65);
    stand.adds_up();
}

/// Those that became dirty later come along, and have no round of their own.
#[test]
fn who_is_dirty_and_not_yet_due_joins_the_round() {
    let (mut stand, disk) = dirty(70);
    stand.pass(Duration::from_millis(600));
    stand.put(&[("10.0.1.1", "late")]);
    stand.pass(Duration::from_millis(100));
    assert_eq!((stand.files().len(), disk.calls("sync_volume")), (71, 0));
    stand.pass(Duration::from_millis(200));
    assert_eq!(disk.calls("sync_volume"), 1);
    assert_eq!(stand.ledger.snapshot().sinks[0].synced_events, 71);
    stand.pass(Duration::from_secs(2));
    assert_eq!((disk.calls("sync_data"), disk.calls("sync_volume")), (0, 0));
}

/// Nobody knows whose bytes were lost: all files are given up, what they hold is saved into others,
/// and nothing counts as synced.
#[test]
fn a_failed_sync_of_the_volume_is_one_of_each_file() {
    let (mut stand, disk) = dirty(70);
    disk.fail("sync_volume", Some(5));
    stand.pass(Duration::from_secs(1));
    disk.fail("sync_volume", None);
    let sink = stand.ledger.snapshot().sinks[0].clone();
    assert_eq!((sink.written_events, sink.synced_events, sink.errors), (70, 0, 70));
    let aside = stand.files().iter().filter(|name| name.ends_with(".zst.bad")).count();
    assert_eq!(aside, 70);
    stand.pass(Duration::from_secs(1));
    assert_eq!(stand.ledger.snapshot().sinks[0].synced_events, 70);
    stand.close();
    assert_eq!(finished(&stand).len(), 70);
    for (peer, name) in (0..70).map(|peer| (peer, format!("10.0.0.{peer}.log.1.zst"))) {
        assert_eq!(stand.read(&name), format!("of {peer}\n"));
    }
    stand.adds_up();
}

/// Behind a backlog blocks are not due at once: each would hold an event or two of each batch.
#[test]
fn a_sink_that_does_not_keep_up_makes_no_small_blocks() {
    let options = "path = 'DIR/%{peer}.log'\nblock = { age = '1s' }\nsync = '1h'";
    let mut stand = Stand::new(options);
    for _ in 0..6 {
        stand.put(&[("10.0.0.1", "one"), ("10.0.0.2", "two")]);
    }
    let written = |stand: &Stand| {
        let sink = &stand.ledger.snapshot().sinks[0];
        (sink.written_events, sink.written_batches)
    };
    stand.pass(Duration::from_secs(2));
    assert_eq!(written(&stand), (0, 0), "late, and others are behind it");
    stand.pass(Duration::from_secs(1));
    assert_eq!(written(&stand), (12, 2));
    // Late with none behind it: nothing is gained by waiting.
    stand.put(&[("10.0.0.1", "three")]);
    stand.pass(Duration::from_secs(2));
    assert_eq!(written(&stand), (13, 3));
    stand.close();
    stand.adds_up();
}

/// What waits when the sink is closed fills blocks as ever.
#[test]
fn draining_makes_no_small_blocks() {
    let options = "path = 'DIR/%{peer}.log'\nblock = { age = '1s' }\nsync = '1h'";
    let mut stand = Stand::new(options);
    for _ in 0..6 {
        stand.put(&[("10.0.0.1", "one"), ("10.0.0.2", "two")]);
    }
    stand.close();
    let sink = &stand.ledger.snapshot().sinks[0];
    assert_eq!((sink.written_events, sink.written_batches), (12, 2));
    stand.adds_up();
}
