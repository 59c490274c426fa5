//! No socket: the blocks of an archive, decoded and searched on two threads; what holds the text is
//! counted by lines. No checksum, no order, no output, no damage.

use flumen::codec::Codec;
use flumen::storage::segment::{BlockEntry, Check, scan};
use flumen::storage::{Disk, OsDisk, read_full_at};
use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::scope;

const THREADS: usize = 2;

pub(crate) fn run(archive: Option<&Path>, needle: &str) -> io::Result<u64> {
    let path = archive.ok_or_else(|| io::Error::other("in what? --file PATH"))?;
    let file = OsDisk.open_read(path)?;
    let blocks = scan(&file, Check::Headers)?.blocks;
    let next = AtomicUsize::new(0);
    let search = || -> io::Result<u64> {
        let finder = memchr::memmem::Finder::new(needle);
        let mut decompressor = Codec::Zstd.decompressor();
        let (mut stored, mut raw, mut lines) = (Vec::new(), Vec::new(), 0);
        while let Some(block) = blocks.get(next.fetch_add(1, Ordering::Relaxed)) {
            let BlockEntry { stored_bytes, raw_bytes, .. } = *block;
            stored.resize(stored_bytes as usize, 0);
            read_full_at(&*file, block.data_offset(), &mut stored)?;
            raw.clear();
            let decoded = decompressor.decompress(&stored, raw_bytes as usize, &mut raw);
            decoded.map_err(io::Error::other)?;
            let mut from = 0;
            while let Some(at) = finder.find(&raw[from..]) {
                lines += 1;
                let end = memchr::memchr(b'\n', &raw[from + at..]);
                from = end.map_or(raw.len(), |end| from + at + end + 1);
            }
        }
        Ok(lines)
    };
    scope(|threads| {
        let all: Vec<_> = (0..THREADS).map(|_| threads.spawn(search)).collect();
        all.into_iter()
            .map(|one| one.join().map_err(|_| io::Error::other("a thread panicked"))?)
            .sum()
    })
}
