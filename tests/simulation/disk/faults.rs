//! What goes wrong, how often, and with which error.

use std::io;

use super::{SimDisk, State};
use crate::random::Random;

/// How likely each operation fails: once in so many, 0 is never.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Weather {
    pub(crate) full: bool,
    pub(crate) write: u64,
    pub(crate) short: u64,
    pub(crate) sync: u64,
    pub(crate) name: u64,
    pub(crate) open: u64,
    pub(crate) list: u64,
    pub(crate) read: u64,
    pub(crate) truncate: u64,
    pub(crate) sync_dir: u64,
    /// What becomes of dirty bytes whose sync failed.
    pub(crate) wind: Wind,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Wind {
    /// They stay dirty; another sync may do.
    #[default]
    Keep,
    /// Some reach the disk; the others are gone, and reads say so.
    Drop,
    /// Some reach the disk; the others read well until the power is cut.
    Forget,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Op {
    Write,
    Sync,
    Name,
    Open,
    List,
    Read,
    Truncate,
    SyncDir,
}

impl Weather {
    pub(crate) fn calm() -> Self {
        Self::default()
    }

    /// One of many: a full disk, a failing one, one whose syncs fail, or a bit of all.
    pub(crate) fn random(random: &mut Random) -> Self {
        let wind = *random.pick(&[Wind::Keep, Wind::Drop, Wind::Forget]);
        let often = |random: &mut Random| [0, 2, 5, 20][random.index(4)];
        match random.below(8) {
            0 => Self::calm(),
            1 => Self { short: 3, ..Self::calm() },
            2 => Self { full: true, ..Self::calm() },
            3 => Self { sync: 2, wind, ..Self::calm() },
            4 => Self { sync: 6, write: 6, wind, ..Self::calm() },
            5 => Self { name: 2, open: 3, list: 4, sync_dir: 3, ..Self::calm() },
            6 => Self { write: 1, sync: 1, name: 1, open: 1, list: 1, wind, ..Self::calm() },
            _ => Self {
                full: random.once_in(4),
                write: often(random),
                short: often(random),
                sync: often(random),
                name: often(random),
                open: often(random),
                list: often(random),
                read: often(random),
                truncate: often(random),
                sync_dir: often(random),
                wind,
            },
        }
    }

    fn rate(&self, op: Op) -> u64 {
        match op {
            Op::Write => self.write,
            Op::Sync => self.sync,
            Op::Name => self.name,
            Op::Open => self.open,
            Op::List => self.list,
            Op::Read => self.read,
            Op::Truncate => self.truncate,
            Op::SyncDir => self.sync_dir,
        }
    }
}

impl SimDisk {
    /// Fails as the weather has it.
    pub(super) fn may(&self, state: &mut State, op: Op) -> io::Result<()> {
        if let Some(left) = &mut state.fuse {
            if *left == 0 {
                state.stopped_at.get_or_insert_with(|| name_of(op));
                return Err(eio());
            }
            *left -= 1;
        }
        let rate = state.weather.rate(op);
        if rate > 0 && state.random.once_in(rate) {
            self.strike(state, name_of(op));
            return Err(eio());
        }
        Ok(())
    }

    pub(super) fn strike(&self, state: &mut State, what: &'static str) {
        self.trace.say(format!("  fault {what}"));
        *state.struck.entry(what).or_default() += 1;
    }
}

fn name_of(op: Op) -> &'static str {
    match op {
        Op::Write => "write",
        Op::Sync => "sync",
        Op::Name => "name",
        Op::Open => "open",
        Op::List => "list",
        Op::Read => "read",
        Op::Truncate => "truncate",
        Op::SyncDir => "sync_dir",
    }
}

/// EIO and ENOSPC as the kernel numbers them.
pub(super) fn eio() -> io::Error {
    io::Error::from_raw_os_error(5)
}

pub(super) fn enospc() -> io::Error {
    io::Error::from_raw_os_error(28)
}
