//! Somebody waits for a batch that goes to many files.

use super::*;
use crate::memory::receipt::{Outcome, Receipt, ReceiptPool};
use crate::storage::watched_disk::WatchedDisk;

const EIO: Option<i32> = Some(5);
/// Neither blocks nor syncs are due by themselves.
const LATE: &str = "path = 'DIR/%{peer}.log'\nsync = '1h'\nblock = { age = '1h' }";

fn sink(options: &str) -> (Stand, WatchedDisk) {
    let disk = WatchedDisk::default();
    let dir = tempfile::tempdir().expect("a directory");
    (Stand::on(dir, Arc::new(disk.clone()), options), disk)
}

/// An event from each of so many peers.
fn put(stand: &Stand, receipts: &Arc<ReceiptPool>, peers: usize) -> Receipt {
    let (receipt, slip) = receipts.take(1).expect("a receipt");
    let peers: Vec<String> = (0..peers).map(|peer| format!("10.0.0.{peer}")).collect();
    let events: Vec<(&str, &str)> = peers.iter().map(|peer| (peer.as_str(), "text")).collect();
    stand.put_for(&events, Some(slip));
    receipt
}

fn told(receipts: &ReceiptPool) -> Vec<(Receipt, Outcome)> {
    std::iter::from_fn(|| receipts.poll()).collect()
}

/// Opens the files: a commit for each few of them.
fn open_files(stand: &mut Stand, receipts: &Arc<ReceiptPool>, peers: usize) {
    let receipt = put(stand, receipts, peers);
    for _ in 0..50 {
        stand.pass(Duration::from_millis(10));
    }
    assert_eq!(told(receipts), [(receipt, Outcome::Confirmed)]);
}

#[test]
fn a_batch_is_confirmed_when_all_its_blocks_are_synced() {
    for threads in [1, 3] {
        for (peers, files_synced, volumes_synced) in [(1, 1, 0), (5, 5, 0), (70, 0, 1)] {
            let (mut stand, disk) = sink(&format!("{LATE}\nthreads = {threads}"));
            let receipts = ReceiptPool::new(4, Reached::Synced);
            open_files(&mut stand, &receipts, peers);
            let _ = (disk.calls("sync_data"), disk.calls("sync_volume"));
            let receipt = put(&stand, &receipts, peers);
            stand.settle();
            assert_eq!(told(&receipts), [(receipt, Outcome::Confirmed)]);
            if threads == 1 {
                let calls = (disk.calls("sync_data"), disk.calls("sync_volume"));
                assert_eq!(calls, (files_synced, volumes_synced), "{peers} peers");
            }
            assert_eq!(stand.ledger.snapshot().sinks[0].synced_events, 2 * peers as u64);
            stand.close();
            stand.adds_up();
        }
    }
}

/// One of five files cannot be synced: nobody is told until its events stand in another.
#[test]
fn the_last_part_confirms_and_not_the_first() {
    let (mut stand, disk) = sink(LATE);
    let receipts = ReceiptPool::new(4, Reached::Synced);
    for what in ["sync_data", "rename", "truncate"] {
        disk.fail_of(what, "10.0.0.3.log", EIO);
    }
    let receipt = put(&stand, &receipts, 5);
    stand.settle();
    stand.pass(Duration::from_millis(10));
    assert_eq!(told(&receipts), []);
    assert_eq!(stand.ledger.snapshot().sinks[0].synced_events, 4);
    for what in ["sync_data", "rename", "truncate"] {
        disk.fail(what, None);
    }
    stand.pass(Duration::from_secs(1));
    stand.pass(Duration::from_secs(1));
    assert_eq!(told(&receipts), [(receipt, Outcome::Confirmed)]);
    stand.close();
    stand.adds_up();
}

#[test]
fn what_is_written_is_confirmed_without_a_sync() {
    let (mut stand, disk) = sink(LATE);
    let receipts = ReceiptPool::new(4, Reached::Written);
    let receipt = put(&stand, &receipts, 5);
    stand.settle();
    assert_eq!(told(&receipts), [(receipt, Outcome::Confirmed)]);
    assert_eq!(disk.calls("sync_data") + disk.calls("sync_volume"), 0);
    stand.close();
    stand.adds_up();
}

/// With a block for each of them the batches of one commit share its syncs.
#[test]
fn batches_that_come_while_a_sync_is_under_way_share_the_next() {
    let (mut stand, disk) = sink(LATE);
    let receipts = ReceiptPool::new(8, Reached::Synced);
    open_files(&mut stand, &receipts, 3);
    disk.calls("sync_data");
    // Asked for, and not answered.
    put(&stand, &receipts, 3);
    stand.without_clerk(Duration::from_millis(10));
    for _ in 0..4 {
        put(&stand, &receipts, 3);
        stand.without_clerk(Duration::from_millis(10));
    }
    assert_eq!(told(&receipts), []);
    stand.pass(Duration::from_millis(10));
    stand.pass(Duration::from_millis(10));
    assert_eq!((told(&receipts).len(), disk.calls("sync_data")), (5, 6));
    stand.close();
    stand.adds_up();
}

/// A durable channel has what it waits for: it makes no block small and no sync early.
#[test]
fn who_has_a_copy_hurries_nobody() {
    let (mut stand, disk) = sink("path = 'DIR/%{peer}.log'\nsync = '10s'\nblock = { age = '2s' }");
    let receipts = ReceiptPool::patient(4, Reached::Synced);
    let receipt = put(&stand, &receipts, 5);
    let written = |stand: &Stand| stand.ledger.snapshot().sinks[0].written_events;
    stand.pass(Duration::from_secs(1));
    assert_eq!(written(&stand), 0);
    for _ in 0..3 {
        stand.pass(Duration::from_secs(1));
    }
    assert_eq!((written(&stand), disk.calls("sync_data")), (5, 0));
    assert_eq!(told(&receipts), []);
    for _ in 0..10 {
        stand.pass(Duration::from_secs(1));
    }
    assert_eq!(told(&receipts), [(receipt, Outcome::Confirmed)]);
    assert_eq!(disk.calls("sync_data"), 5);
    stand.close();
    stand.adds_up();
}
