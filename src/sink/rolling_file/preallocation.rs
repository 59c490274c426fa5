//! Blocks of the file system set apart for what a file will be given next (fallocate(2)).
//!
//! An append to blocks that are there costs the kernel a third less than one for which it reserves
//! each page (ext4, blocks of 1 MiB, measured), and files lie in fewer pieces. Only files that have
//! grown get any, and no more than a quarter of their length: ten thousand small ones take nothing.
//! The length stays what it is, so readers see none of it, and what was not used is given back when
//! the file is finished or recovered, for either cuts it to its length.

use crate::storage::DiskFile;

/// A file gets some when it has so many bytes.
const FROM_BYTES: u64 = 16 << 20;
/// So much of its length at a time, and no more than this.
const SHARE: u64 = 4;
const MOST_BYTES: u64 = 64 << 20;

/// How far a file's blocks are set apart, or were asked for.
#[derive(Debug, Default)]
pub(super) struct Preallocation {
    end: u64,
}

impl Preallocation {
    /// Before `more` bytes are appended to a file of `bytes`, which is finished at `full`. That
    /// there is no room for so much, or no such call, is no failure: the append will see.
    pub(super) fn prepare(
        &mut self,
        file: &dyn DiskFile,
        bytes: u64,
        more: usize,
        full: Option<u64>,
    ) {
        if bytes < FROM_BYTES || bytes + more as u64 <= self.end {
            return;
        }
        let from = self.end.max(bytes);
        let most = full.map_or(u64::MAX, |full| full.saturating_sub(from));
        let share = (bytes / SHARE).min(MOST_BYTES).min(most);
        self.end = from + share.max(more as u64);
        if share > 0 {
            let _ = file.allocate(from, share);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::MetadataExt;

    use super::*;
    use crate::storage::watched_disk::WatchedDisk;
    use crate::storage::{Disk, OsDisk, write_all_at};

    const BLOCK: usize = 1 << 20;

    #[test]
    fn a_file_that_grows_asks_seldom_and_for_no_more_than_it_may_have() {
        let (dir, disk) = (tempfile::tempdir().unwrap(), WatchedDisk::default());
        let path = dir.path().join("file");
        let file = disk.create_new(&path).unwrap();
        // Whether there is room or not.
        disk.fail("allocate", Some(28));
        let (mut ahead, mut bytes) = (Preallocation::default(), 0);
        let full = 1 << 30;
        while bytes < full {
            ahead.prepare(&*file, bytes, BLOCK, Some(full));
            bytes += BLOCK as u64;
            assert!(bytes <= FROM_BYTES || bytes <= ahead.end && ahead.end <= full);
            assert!(ahead.end <= bytes + bytes / SHARE && ahead.end <= bytes + MOST_BYTES);
        }
        let asked = disk.calls("allocate");
        assert!((20..30).contains(&asked), "{asked} times");
    }

    #[test]
    fn the_length_stays_and_what_is_left_over_is_given_back() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("file");
        let file = OsDisk.create_new(&path).unwrap();
        file.truncate(FROM_BYTES).unwrap();
        let mut ahead = Preallocation::default();
        ahead.prepare(&*file, FROM_BYTES, BLOCK, None);
        assert_eq!(ahead.end, FROM_BYTES + FROM_BYTES / SHARE);
        write_all_at(&*file, FROM_BYTES, &[1; BLOCK]).unwrap();
        let length = FROM_BYTES + BLOCK as u64;
        file.sync_data().unwrap();
        let facts = fs::metadata(&path).unwrap();
        assert_eq!(facts.len(), length);
        // Some file systems cannot; then nothing is to be given back.
        let before = facts.blocks() * 512;
        file.truncate(length).unwrap();
        let after = fs::metadata(&path).unwrap().blocks() * 512;
        assert!(after <= before && after < 2 * BLOCK as u64, "{before} and then {after}");
    }
}
