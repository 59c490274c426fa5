//! A disk in memory that fails on command and forgets at a crash what was not synced.
//!
//! ```text
//!   names    what programs see │ what a power cut leaves: each directory's journal of creations,
//!            renames and removals is kept up to a random point, unless `sync_dir` came
//!   files    cached bytes      │ durable bytes, and of the changes not yet synced some, by sectors
//! ```
//! A failed sync keeps the dirty bytes, drops them (reads give old bytes or zeroes), or forgets
//! them: they read well, are clean, and a second sync says ok without making them durable.
//!
//! Threading: one lock; in simulation one thread. Locks on files belong to open handles.

mod faults;
mod file;
mod names;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use flumen::runtime::clock::{Clock, ManualClock};
use flumen::time::Wall;

use crate::random::Random;
use crate::trace::Trace;
pub(crate) use faults::{Weather, Wind};
use file::Inode;

/// What a crash is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Crash {
    /// `kill -9`: the page cache stays.
    Killed,
    /// Power is cut: only what is durable stays for sure.
    Power,
}

#[derive(Clone)]
pub(crate) struct SimDisk {
    state: Arc<Mutex<State>>,
    clock: Arc<ManualClock>,
    trace: Trace,
}

struct State {
    inodes: BTreeMap<u64, Inode>,
    next_inode: u64,
    next_handle: u64,
    names: names::Names,
    weather: Weather,
    random: Random,
    /// How often each kind of fault struck, and how many rounds of syncs there were.
    struck: BTreeMap<&'static str, u64>,
    /// Finished files the program itself removed.
    removed: Vec<(PathBuf, Vec<u8>)>,
    /// Files that were deleted under the program, and the names they had.
    deleted: BTreeMap<u64, PathBuf>,
    /// Operations until everything fails, as if the machine had stopped; then comes the crash.
    fuse: Option<u64>,
    /// The first operation that failed because of it.
    stopped_at: Option<&'static str>,
    read_bytes: u64,
    /// A deliberately broken disk: syncs say ok and do nothing.
    lies: bool,
}

impl SimDisk {
    pub(crate) fn new(random: Random, clock: Arc<ManualClock>, trace: Trace) -> Self {
        let state = State {
            inodes: BTreeMap::new(),
            next_inode: 1,
            next_handle: 1,
            names: names::Names::default(),
            weather: Weather::calm(),
            random,
            struck: BTreeMap::new(),
            removed: Vec::new(),
            deleted: BTreeMap::new(),
            fuse: None,
            stopped_at: None,
            read_bytes: 0,
            lies: false,
        };
        Self { state: Arc::new(Mutex::new(state)), clock, trace }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn set_weather(&self, weather: Weather) {
        self.trace.say(format!("weather {weather:?}"));
        self.lock().weather = weather;
    }

    pub(crate) fn lie_about_syncs(&self) {
        self.lock().lies = true;
    }

    /// After so many more operations all fail, until the next crash.
    pub(crate) fn light_fuse(&self, operations: u64) {
        self.trace.say(format!("the machine stops in {operations} operations"));
        self.lock().fuse = Some(operations);
    }

    /// The operation at which the machine stopped, until the crash.
    pub(crate) fn stopped_at(&self) -> Option<String> {
        self.lock().stopped_at.map(str::to_owned)
    }

    /// How much was read of all files.
    pub(crate) fn read_bytes(&self) -> u64 {
        self.lock().read_bytes
    }

    /// Faults of one kind so far.
    pub(crate) fn struck(&self, what: &str) -> u64 {
        self.lock().struck.get(what).copied().unwrap_or(0)
    }

    /// Whether a sync of the volume, asked for by one sink, has lost bytes of a file that another
    /// still writes, and that is told so only by its own next sync.
    pub(crate) fn owes_a_failure(&self) -> bool {
        let state = self.lock();
        let open = |path: &Path| path.extension().is_some_and(|end| end == "open");
        state.names.files().any(|(path, inode)| open(path) && state.inodes[&inode].failed)
    }

    /// Whether bytes of a file here, or below here, were lost by a failed sync of the volume that
    /// its writer has not been told of.
    pub(crate) fn owes_a_failure_at(&self, path: &Path) -> bool {
        let state = self.lock();
        state
            .names
            .files()
            .any(|(file, inode)| file.starts_with(path) && state.inodes[&inode].failed)
    }

    /// Everything that can be read now: path and bytes.
    pub(crate) fn files(&self) -> Vec<(PathBuf, Vec<u8>)> {
        let state = self.lock();
        let files = state.names.files();
        files.map(|(path, inode)| (path.clone(), state.inodes[&inode].cached.clone())).collect()
    }

    /// Names that a power cut now would leave for sure.
    pub(crate) fn durable_names(&self) -> BTreeSet<PathBuf> {
        self.lock().names.durable_for_sure()
    }

    /// Finished files that the program removed since the last call (retention).
    pub(crate) fn take_removed(&self) -> Vec<(PathBuf, Vec<u8>)> {
        std::mem::take(&mut self.lock().removed)
    }

    /// Files deleted under the program: what they hold now, while somebody still writes them.
    pub(crate) fn deleted(&self) -> Vec<(PathBuf, Vec<u8>)> {
        let state = self.lock();
        let bytes = |inode: &u64| state.inodes.get(inode).map(|file| file.cached.clone());
        let deleted = state.deleted.iter();
        deleted.filter_map(|(inode, path)| Some((path.clone(), bytes(inode)?))).collect()
    }

    /// Somebody deletes a file that is being written.
    pub(crate) fn delete_under(&self, path: &Path) {
        self.trace.say(format!("somebody deletes {}", path.display()));
        let mut state = self.lock();
        if let Some(inode) = state.names.forget(path) {
            state.deleted.insert(inode, path.to_owned());
        }
    }

    /// Somebody moves a directory that is being written in.
    pub(crate) fn move_under(&self, from: &Path, to: &Path) {
        self.trace.say(format!("somebody moves {} to {}", from.display(), to.display()));
        self.lock().names.move_directory(from, to);
    }

    /// A deliberately broken disk: one bit of a file turns over by itself.
    pub(crate) fn flip_a_bit(&self, path: &Path) {
        let mut state = self.lock();
        let Some(inode) = state.names.inode(path) else { return };
        let file = state.inodes.get_mut(&inode).expect("a name leads to a file");
        let middle = file.cached.len() / 2;
        if let Some(byte) = file.cached.get_mut(middle) {
            *byte ^= 1;
        }
    }

    /// What is left: the caller has dropped everything that had files open.
    pub(crate) fn crash(&self, crash: Crash) {
        self.trace.say(format!("crash {crash:?}"));
        let mut guard = self.lock();
        let state = &mut *guard;
        (state.fuse, state.stopped_at) = (None, None);
        state.deleted.clear();
        for file in state.inodes.values_mut() {
            file.holder = None;
            if crash == Crash::Power {
                file.lose_power(&mut state.random);
            }
        }
        if crash == Crash::Power {
            state.names.lose_power(&mut state.random);
        }
        let linked = state.names.linked();
        state.inodes.retain(|inode, _| linked.contains(inode));
    }

    fn now(&self) -> Wall {
        self.clock.now().wall
    }
}
