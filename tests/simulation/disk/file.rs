//! A file's bytes, twice: as programs read them, and as a power cut would leave them.

use std::io;
use std::path::Path;

use flumen::storage::{DiskFile, ReadAt, Volume};
use flumen::time::Wall;

use super::faults::{Op, Wind, eio, enospc};
use super::{SimDisk, State};
use crate::random::Random;

/// What a disk writes whole or not at all.
const SECTOR: usize = 512;

pub(super) struct Inode {
    pub(super) cached: Vec<u8>,
    durable: Vec<u8>,
    /// Not yet synced, in order.
    changes: Vec<Change>,
    /// A sync of the volume failed, and nobody has told this file yet.
    pub(super) failed: bool,
    /// The open handle that has it locked.
    pub(super) holder: Option<u64>,
    pub(super) modified: Wall,
}

#[derive(Clone)]
enum Change {
    Write { at: usize, bytes: Vec<u8> },
    Length(usize),
}

pub(super) struct SimFile {
    disk: SimDisk,
    inode: u64,
    handle: u64,
}

impl Inode {
    pub(super) fn new(modified: Wall) -> Self {
        let (cached, durable, changes) = (vec![], vec![], vec![]);
        Self { cached, durable, changes, failed: false, holder: None, modified }
    }

    fn change(&mut self, change: Change) {
        change.apply(&mut self.cached);
        self.changes.push(change);
    }

    fn sync(&mut self) {
        for change in self.changes.drain(..) {
            change.apply(&mut self.durable);
        }
    }

    fn fail_sync(&mut self, wind: Wind, random: &mut Random) {
        if wind == Wind::Keep {
            return;
        }
        self.durable = self.half_written(random);
        self.changes.clear();
        if wind == Wind::Drop {
            // What stood there before, or zeroes, as far as the file reaches.
            let length = self.cached.len();
            self.cached.clone_from(&self.durable);
            self.cached.resize(length, 0);
        }
    }

    pub(super) fn lose_power(&mut self, random: &mut Random) {
        self.durable = self.half_written(random);
        self.changes.clear();
        self.cached.clone_from(&self.durable);
    }

    fn told(&mut self) -> io::Result<()> {
        if std::mem::take(&mut self.failed) { Err(eio()) } else { Ok(()) }
    }

    /// What the disk may have when syncing did not come to its end: each sector as some of the
    /// changes had made it, each from the first to a random one; the length likewise.
    fn half_written(&self, random: &mut Random) -> Vec<u8> {
        let changes = self.changes.len();
        let upto = |random: &mut Random| match random.below(4) {
            0 => 0,
            1 => random.index(changes + 1),
            _ => changes,
        };
        let (mut reach, mut length, mut lengths) =
            (self.durable.len(), self.durable.len(), vec![self.durable.len()]);
        for change in &self.changes {
            length = match change {
                Change::Length(length) => *length,
                Change::Write { at, bytes } => length.max(at + bytes.len()),
            };
            reach = reach.max(length);
            lengths.push(length);
        }
        let sectors: Vec<usize> = (0..=reach / SECTOR).map(|_| upto(random)).collect();
        let mut bytes = self.durable.clone();
        bytes.resize(reach, 0);
        for (number, change) in self.changes.iter().enumerate() {
            match change {
                Change::Write { at, bytes: new } => {
                    for (place, byte) in (*at..).zip(new) {
                        if number < sectors[place / SECTOR] {
                            bytes[place] = *byte;
                        }
                    }
                }
                Change::Length(length) => {
                    for (place, byte) in bytes.iter_mut().enumerate().skip(*length) {
                        if number < sectors[place / SECTOR] {
                            *byte = 0;
                        }
                    }
                }
            }
        }
        bytes.truncate(lengths[upto(random)]);
        bytes
    }
}

impl Change {
    fn apply(&self, to: &mut Vec<u8>) {
        match self {
            Self::Length(length) => to.resize(*length, 0),
            Self::Write { bytes, .. } if bytes.is_empty() => {}
            Self::Write { at, bytes } => {
                let end = at + bytes.len();
                if to.len() < end {
                    to.resize(end, 0);
                }
                to[*at..end].copy_from_slice(bytes);
            }
        }
    }
}

impl SimFile {
    pub(super) fn new(disk: &SimDisk, state: &mut State, inode: u64) -> Self {
        state.next_handle += 1;
        // What failed before it was opened is not told to it.
        state.inodes.get_mut(&inode).expect("a name leads to a file").failed = false;
        Self { disk: disk.clone(), inode, handle: state.next_handle }
    }

    fn with<T>(
        &self,
        op: Option<Op>,
        work: impl FnOnce(&mut State, &mut Inode) -> io::Result<T>,
    ) -> io::Result<T> {
        let mut state = self.disk.lock();
        if let Some(op) = op {
            self.disk.may(&mut state, op)?;
        }
        let mut inode = state.inodes.remove(&self.inode).expect("open handles end before a crash");
        let outcome = work(&mut state, &mut inode);
        state.inodes.insert(self.inode, inode);
        outcome
    }
}

impl ReadAt for SimFile {
    fn read_at(&self, offset: u64, out: &mut [u8]) -> io::Result<usize> {
        self.with(Some(Op::Read), |state, inode| {
            let read = inode.cached.read_at(offset, out)?;
            state.read_bytes += read as u64;
            Ok(read)
        })
    }

    fn bytes(&self) -> io::Result<u64> {
        self.with(None, |_, inode| Ok(inode.cached.len() as u64))
    }
}

impl DiskFile for SimFile {
    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<usize> {
        let now = self.disk.now();
        self.with(None, |state, inode| {
            let at = usize::try_from(offset).expect("simulated files are small");
            let stops = state.fuse == Some(0) && state.stopped_at.is_none();
            if let Err(error) = self.disk.may(state, Op::Write) {
                if stops {
                    // Some of it was there when the machine stopped.
                    let length = state.random.index(bytes.len() + 1);
                    inode.change(Change::Write { at, bytes: bytes[..length].to_vec() });
                }
                return Err(error);
            }
            let mut length = bytes.len();
            let short = state.weather.short;
            if length > 1 && short > 0 && state.random.once_in(short) {
                length = 1 + state.random.index(length - 1);
            }
            if state.weather.full {
                // Room up to where the file ends, and a little more now and then.
                let spare = if state.random.once_in(3) { state.random.index(2000) } else { 0 };
                length = length.min((inode.cached.len() + spare).saturating_sub(at));
            }
            if length == 0 {
                self.disk.strike(state, "full");
                return Err(enospc());
            }
            let trace = &self.disk.trace;
            trace.say(format!("  write i{} {at}+{length} of {}", self.inode, bytes.len()));
            inode.modified = now;
            inode.change(Change::Write { at, bytes: bytes[..length].to_vec() });
            Ok(length)
        })
    }

    fn sync_data(&self) -> io::Result<()> {
        self.with(None, |state, inode| {
            let outcome = inode.told().and_then(|()| self.disk.may(state, Op::Sync));
            self.disk.trace.say(format!("  sync i{} {}", self.inode, outcome.is_ok()));
            match &outcome {
                Ok(()) if !state.lies => inode.sync(),
                Ok(()) => {}
                Err(_) => inode.fail_sync(state.weather.wind, &mut state.random),
            }
            outcome
        })
    }

    fn volume(&self) -> Option<Volume> {
        Some(Volume(1))
    }

    /// All files; when it fails, of each that is dirty some bytes may be lost, and each is told.
    fn sync_volume(&self) -> io::Result<()> {
        let mut guard = self.disk.lock();
        let state = &mut *guard;
        *state.struck.entry("round").or_default() += 1;
        let outcome = self.disk.may(state, Op::Sync);
        self.disk.trace.say(format!("  sync_volume {}", outcome.is_ok()));
        let dirty = state.inodes.iter_mut().filter(|(_, inode)| !inode.changes.is_empty());
        for (number, inode) in dirty {
            // What the disk took from a file that somebody deleted cannot be told from what went
            // with the file: nothing is taken there.
            let wind = match state.deleted.contains_key(number) {
                true => Wind::Keep,
                false => state.weather.wind,
            };
            match &outcome {
                Ok(()) if !state.lies => inode.sync(),
                Ok(()) => {}
                Err(_) => {
                    inode.failed = true;
                    inode.fail_sync(wind, &mut state.random);
                }
            }
        }
        outcome
    }

    fn written_back(&self) -> io::Result<()> {
        self.with(None, |_, inode| inode.told())
    }

    fn truncate(&self, bytes: u64) -> io::Result<()> {
        self.with(Some(Op::Truncate), |_, inode| {
            let length = usize::try_from(bytes).expect("simulated files are small");
            if inode.cached.len() != length {
                self.disk.trace.say(format!("  truncate i{} {length}", self.inode));
                inode.change(Change::Length(length));
            }
            Ok(())
        })
    }

    fn try_lock_exclusive(&self) -> io::Result<bool> {
        self.with(None, |_, inode| match inode.holder {
            Some(holder) => Ok(holder == self.handle),
            None => {
                inode.holder = Some(self.handle);
                Ok(true)
            }
        })
    }

    fn linked(&self, path: &Path) -> io::Result<bool> {
        let mut state = self.disk.lock();
        self.disk.may(&mut state, Op::Read)?;
        Ok(state.names.inode(path) == Some(self.inode))
    }
}

impl Drop for SimFile {
    fn drop(&mut self) {
        let mut state = self.disk.lock();
        if let Some(inode) = state.inodes.get_mut(&self.inode)
            && inode.holder == Some(self.handle)
        {
            inode.holder = None;
        }
    }
}
