//! The order in which the blocks of many files are read: by the times they were received.
//!
//! Blocks of one file stay in their order. Among files that which next has the earliest first time
//! goes first, so that blocks whose times do not overlap come in the order of time; of blocks that
//! do, the one that began earlier. Files that keep no times (plain text, files of others) come
//! before all others, in the order they were named.
//!
//! Memory: of each file its name and first time; its blocks only while its turn lasts. A file is
//! opened when its first time comes, and few are kept open whatever their number.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};
use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use super::kind::HEAD_BYTES;
use super::query::TimeRange;
use super::survey::{Gap, Layout, Survey, open_file, survey};
use crate::codec::Codec;
use crate::storage::block::glance;
use crate::storage::segment::BlockEntry;
use crate::storage::{Disk, DiskFile, read_full_at};
use crate::time::Wall;

/// A file of those that are read: its place among them, and its name.
#[derive(Clone, Debug)]
pub struct Subject {
    pub number: usize,
    pub path: Arc<PathBuf>,
}

/// One piece of work for a reader.
pub enum Job {
    Block {
        of: Subject,
        file: Arc<dyn DiskFile>,
        codec: Codec,
        entry: BlockEntry,
        /// Its number in the file.
        number: u64,
    },
    Stream {
        of: Subject,
        file: Arc<dyn DiskFile>,
    },
    /// Left out for their times; nothing to do.
    Skipped {
        blocks: u64,
        stored_bytes: u64,
    },
    /// A place without a whole block.
    Gap {
        of: Subject,
        gap: Gap,
    },
    /// Cannot be opened or read.
    Failed {
        of: Subject,
        error: io::Error,
    },
}

/// Files, block by block in the order of time. An iterator of jobs.
pub struct Ordered {
    disk: Arc<dyn Disk + Send + Sync>,
    range: TimeRange,
    paths: Vec<PathBuf>,
    heap: BinaryHeap<Reverse<(Wall, usize)>>,
    opened: BTreeMap<usize, Opened>,
    /// What comes before anything else.
    ready: Vec<Job>,
    looked_at: bool,
}

struct Opened {
    of: Subject,
    /// None: too many are open, it is opened anew for each block.
    file: Option<Arc<dyn DiskFile>>,
    codec: Codec,
    blocks: std::vec::IntoIter<(u64, BlockEntry)>,
    next: (u64, BlockEntry),
}

/// Files whose turns overlap are kept open up to this number: an ordinary limit is 1,024.
const OPEN_FILES_MAX: usize = 256;

impl Ordered {
    pub fn new(disk: Arc<dyn Disk + Send + Sync>, paths: Vec<PathBuf>, range: TimeRange) -> Self {
        let (heap, opened) = (BinaryHeap::new(), BTreeMap::new());
        Self { disk, range, paths, heap, opened, ready: Vec::new(), looked_at: false }
    }

    fn subject(&self, number: usize, path: PathBuf) -> Subject {
        Subject { number, path: Arc::new(path) }
    }

    /// When a file's first block was received; the very beginning when it has none to say it.
    fn first_time(&self, number: usize) -> Wall {
        let first = || -> io::Result<Option<Wall>> {
            let (_, file) = open_file(&*self.disk, &self.paths[number])?;
            let mut head = [0; HEAD_BYTES];
            let read = read_full_at(&*file, 0, &mut head)?;
            Ok(glance(&head[..read]).map(|header| header.time_min))
        };
        first().ok().flatten().unwrap_or(Wall::MIN)
    }

    /// Opens a file whose turn has come; its first block's time may be later than thought.
    fn open(&mut self, number: usize) {
        let path = self.paths[number].clone();
        let of = self.subject(number, path.clone());
        let found = open_file(&*self.disk, &path)
            .and_then(|(path, file)| Ok((survey(&path, &file)?, path, file)));
        let (found, of, file) = match found {
            Ok((Layout::Blocks(found), path, file)) => (found, self.subject(number, path), file),
            Ok((Layout::Stream, path, file)) => {
                let of = self.subject(number, path);
                return self.ready.push(Job::Stream { of, file });
            }
            Err(error) => return self.ready.push(Job::Failed { of, error }),
        };
        self.enter(found, of, file);
    }

    fn enter(&mut self, found: Survey, of: Subject, file: Arc<dyn DiskFile>) {
        let gaps = found.gaps.into_iter().filter(|gap| !gap.growing);
        self.ready.extend(gaps.map(|gap| Job::Gap { of: of.clone(), gap }));
        let (mut blocks, mut stored_bytes) = (0, 0);
        let mut numbered: Vec<(u64, BlockEntry)> = (0..).zip(found.blocks).collect();
        numbered.retain(|(_, entry)| {
            let meets = self.range.meets(entry.time_min, entry.time_max);
            blocks += u64::from(!meets);
            stored_bytes += if meets { 0 } else { u64::from(entry.stored_bytes) };
            meets
        });
        if blocks > 0 {
            self.ready.push(Job::Skipped { blocks, stored_bytes });
        }
        let mut blocks = numbered.into_iter();
        let Some(next) = blocks.next() else { return };
        self.heap.push(Reverse((next.1.time_min, of.number)));
        let number = of.number;
        let file = (self.opened.len() < OPEN_FILES_MAX).then_some(file);
        self.opened.insert(number, Opened { of, file, codec: found.codec, blocks, next });
    }

    fn block_of(&mut self, number: usize) -> Job {
        let opened = self.opened.get_mut(&number).expect("an opened file");
        let of = opened.of.clone();
        let file = match &opened.file {
            Some(file) => Ok(Arc::clone(file)),
            None => open_file(&*self.disk, &of.path).map(|(_, file)| file),
        };
        let file = match file {
            Ok(file) => file,
            Err(error) => {
                self.opened.remove(&number);
                return Job::Failed { of, error };
            }
        };
        let (codec, (block, entry)) = (opened.codec, opened.next);
        match opened.blocks.next() {
            Some(next) => {
                opened.next = next;
                self.heap.push(Reverse((next.1.time_min, number)));
            }
            None => drop(self.opened.remove(&number)),
        }
        Job::Block { of, file, codec, entry, number: block }
    }
}

impl Iterator for Ordered {
    type Item = Job;

    fn next(&mut self) -> Option<Job> {
        if !self.looked_at {
            self.looked_at = true;
            // Of one file there is no order to find.
            let single = self.paths.len() == 1;
            let time = |number| if single { Wall::MIN } else { self.first_time(number) };
            self.heap = (0..self.paths.len()).map(|n| Reverse((time(n), n))).collect();
        }
        loop {
            if !self.ready.is_empty() {
                return Some(self.ready.remove(0));
            }
            let Reverse((_, number)) = self.heap.pop()?;
            if self.opened.contains_key(&number) {
                return Some(self.block_of(number));
            }
            self.open(number);
        }
    }
}
