//! `chain = true`: whatever a block went through before it stood in its file, it follows there from
//! the one before it, and the seal tells of exactly those blocks.

use super::*;
use crate::storage::block::decode_whole;
use crate::storage::chain::{Hash, next, read};
use crate::storage::fields::{SEAL, find};
use crate::storage::seal::Seal;
use crate::storage::segment::{Check, End, scan};
use crate::storage::watched_disk::WatchedDisk;

const EIO: Option<i32> = Some(5);
const OPTIONS: &str = "path = 'DIR/all.log'\nsync = '1s'\nblock = { age = '100ms' }\nchain = true";

/// Blocks and events of each finished file, whose chain is followed to its seal.
fn sealed(stand: &Stand) -> Vec<(u64, u64)> {
    let files = stand.files().into_iter().filter(|name| name.ends_with(".zst"));
    files.map(|name| follow(&stand.bytes(&name))).collect()
}

fn follow(file: &[u8]) -> (u64, u64) {
    let found = scan(&file, Check::Stored).expect("it reads");
    assert_eq!(found.end, End::Sealed);
    let (mut before, mut end) = (Hash::START, None);
    for (number, block) in found.blocks.iter().enumerate() {
        assert!(end.is_none(), "a block behind the seal");
        let (frame, data) = (block.offset as usize, block.data_offset() as usize);
        let data_end = block.end_offset() as usize;
        let link = read(&file[frame..data], &file[data..data_end]);
        let link = link.expect("its own hash").expect("it is chained");
        assert_eq!((link.segment_id, link.sequence), (found.segment_id, number as u64));
        assert_eq!(link.value, next(&before, link.segment_id, link.sequence, &link.hash));
        let (_, fields) = decode_whole(&file[frame..data]).expect("a header");
        if let Some(field) = find(fields, SEAL) {
            let seal = Seal::decode(field).expect("a seal");
            assert_eq!((seal.blocks, seal.value, block.event_count), (number as u64, before, 0));
            end = Some((seal.blocks, seal.events));
        }
        before = link.value;
    }
    let (blocks, events) = end.expect("a seal");
    assert_eq!(events, found.event_count());
    (blocks, events)
}

#[test]
fn a_file_ends_in_one_seal_also_when_finishing_it_failed_before() {
    let disk = WatchedDisk::default();
    let dir = tempfile::tempdir().expect("a directory");
    let mut stand = Stand::on(dir, Arc::new(disk.clone()), OPTIONS);
    for text in ["one", "two", "three"] {
        stand.put(&[("", text)]);
        stand.pass(Duration::from_millis(200));
    }
    disk.fail("rename", EIO);
    stand.orders.roll_all();
    stand.pass(Duration::from_secs(1));
    stand.put(&[("", "four"), ("", "five")]);
    stand.pass(Duration::from_secs(1));
    assert!(stand.files().iter().all(|name| name.ends_with(".open")), "{:?}", stand.files());
    disk.fail("rename", None);
    stand.pass(Duration::from_secs(1));
    stand.close();
    assert_eq!(sealed(&stand), [(1, 2), (3, 3)]);
    stand.adds_up();
}

/// A sync fails: what is not safe is saved into another file, and chained anew there.
#[test]
fn what_a_failed_sync_moved_is_chained_where_it_is() {
    let disk = WatchedDisk::default();
    let dir = tempfile::tempdir().expect("a directory");
    let mut stand = Stand::on(dir, Arc::new(disk.clone()), OPTIONS);
    stand.put(&[("", "safe")]);
    stand.pass(Duration::from_millis(200));
    stand.pass(Duration::from_secs(1));
    assert_eq!(stand.ledger.snapshot().sinks[0].synced_events, 1);
    for text in ["moved", "too"] {
        stand.put(&[("", text)]);
        stand.pass(Duration::from_millis(200));
    }
    // Nothing can be done with the file before the disk is well again: then it is cut and sealed.
    let calls = ["sync_data", "rename", "truncate"];
    calls.iter().for_each(|what| disk.fail(what, EIO));
    stand.pass(Duration::from_secs(1));
    calls.iter().for_each(|what| disk.fail(what, None));
    stand.pass(Duration::from_secs(1));
    stand.put(&[("", "later")]);
    stand.pass(Duration::from_millis(200));
    stand.close();
    let (files, sealed) = (stand.files(), sealed(&stand));
    let text: String = files.iter().map(|name| stand.read(name)).collect();
    let once = |it: &&str| text.matches(*it).count() == 1;
    assert!(files.len() < 10, "{} files of one rescue", files.len());
    assert!(["safe", "moved", "too", "later"].iter().all(once), "{files:?} {sealed:?} {text}");
    assert!(files.len() == 2 && sealed.contains(&(1, 1)), "{files:?} {sealed:?}");
    assert!(sealed.contains(&(3, 3)), "{files:?} {sealed:?}");
    stand.adds_up();
}
