//! Many dirty files made durable together.
//!
//! A fdatasync each costs a flush of the disk each; one sync of the volume (the file system) costs
//! one, and writes whatever else is dirty there. So few files are synced one by one, many by one
//! sync of their volume.
//!
//! Failures: a volume whose sync failed counts for each of its files like a failed fdatasync, for
//! nobody can tell whose bytes were lost. When it is well, each file is asked for a failure of its
//! own: another sync of the volume may have met it and told somebody else.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;

use super::DiskFile;

/// A file system, as its files name it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Volume(pub u64);

/// Makes the bytes of all files durable; says of each, in order, whether they are. Files of one
/// volume are synced one by one as long as they are no more than `singly_max`.
pub fn sync_files(
    files: &[(Arc<dyn DiskFile>, Option<Volume>)],
    singly_max: usize,
) -> Vec<io::Result<()>> {
    let mut counts = BTreeMap::new();
    for volume in files.iter().filter_map(|(_, volume)| *volume) {
        *counts.entry(volume).or_insert(0) += 1;
    }
    let mut whole: BTreeMap<Volume, io::Result<()>> = BTreeMap::new();
    for (file, volume) in files {
        let Some(volume) = volume else { continue };
        if counts[volume] > singly_max && !whole.contains_key(volume) {
            whole.insert(*volume, file.sync_volume());
        }
    }
    let outcome = |(file, volume): &(Arc<dyn DiskFile>, Option<Volume>)| {
        match volume.and_then(|volume| whole.get(&volume)) {
            Some(Ok(())) => file.written_back(),
            Some(Err(error)) if !forbidden(error) => {
                // Told now: it would spoil the next sync of the file, of what is well in it.
                let _ = file.written_back();
                Err(same(error))
            }
            _ => file.sync_data(),
        }
    };
    files.iter().map(outcome).collect()
}

/// The call is not there for us: then nothing was tried, and nothing failed.
pub(super) fn forbidden(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::Unsupported | io::ErrorKind::PermissionDenied)
}

fn same(error: &io::Error) -> io::Error {
    match error.raw_os_error() {
        Some(number) => io::Error::from_raw_os_error(number),
        None => io::Error::new(error.kind(), error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::super::watched_disk::WatchedDisk;
    use super::super::{Disk, write_all_at};
    use super::*;

    /// So many files of each volume.
    fn files(disk: &WatchedDisk, each: &[(Option<Volume>, usize)]) -> Vec<Dirty> {
        let dir = tempfile::tempdir().unwrap();
        let volumes = each.iter().flat_map(|(volume, count)| std::iter::repeat_n(*volume, *count));
        let file = |(number, volume): (usize, Option<Volume>)| {
            let file = disk.create_new(&dir.path().join(number.to_string())).unwrap();
            write_all_at(file.as_ref(), 0, b"text").unwrap();
            (file, volume)
        };
        volumes.enumerate().map(file).collect()
    }

    type Dirty = (Arc<dyn DiskFile>, Option<Volume>);
    const HERE: Option<Volume> = Some(Volume(1));
    const THERE: Option<Volume> = Some(Volume(2));

    #[test]
    fn few_are_synced_one_by_one_and_many_by_their_volume() {
        for (each, files_synced, volumes_synced) in [
            (vec![(HERE, 4)], 4, 0),
            (vec![(HERE, 5)], 0, 1),
            (vec![(HERE, 5), (THERE, 4), (None, 9)], 13, 1),
            (vec![(HERE, 9), (THERE, 9)], 0, 2),
        ] {
            let disk = WatchedDisk::default();
            let outcomes = sync_files(&files(&disk, &each), 4);
            assert!(outcomes.iter().all(Result::is_ok));
            assert_eq!(outcomes.len(), each.iter().map(|(_, count)| count).sum::<usize>());
            let calls = (disk.calls("sync_data"), disk.calls("sync_volume"));
            assert_eq!(calls, (files_synced, volumes_synced), "{each:?}");
        }
    }

    #[test]
    fn a_volume_that_fails_counts_for_each_of_its_files_and_for_no_other() {
        let disk = WatchedDisk::default();
        let files = files(&disk, &[(HERE, 5), (THERE, 3)]);
        disk.fail("sync_volume", Some(5));
        let outcomes = sync_files(&files, 4);
        let failed: Vec<bool> = outcomes.iter().map(Result::is_err).collect();
        assert_eq!(failed, [true, true, true, true, true, false, false, false]);
        assert_eq!(outcomes[4].as_ref().unwrap_err().raw_os_error(), Some(5));
    }

    #[test]
    fn a_file_whose_own_bytes_were_lost_is_told_after_a_good_sync_of_the_volume() {
        let disk = WatchedDisk::default();
        let files = files(&disk, &[(HERE, 5)]);
        disk.fail("written_back", Some(5));
        assert!(sync_files(&files, 4).iter().all(Result::is_err));
    }

    /// EPERM: a container's filter.
    #[test]
    fn without_leave_to_sync_volumes_each_file_is_synced() {
        let disk = WatchedDisk::default();
        let files = files(&disk, &[(HERE, 5)]);
        disk.fail("sync_volume", Some(1));
        assert!(sync_files(&files, 4).iter().all(Result::is_ok));
        assert_eq!(disk.calls("sync_data"), 5);
    }
}
