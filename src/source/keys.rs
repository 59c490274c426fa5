//! Certificates and keys of a source, read from their files and read again when those change.
//!
//! A thread of its own looks once a second (`wire::tls::keeper`), so that a slow file system holds
//! up nobody. Connections go on with what they began with. What cannot be used is told once, and
//! the old stays in effect.

use std::path::PathBuf;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::BuildError;
use crate::runtime::clock::{Clock, SystemClock};
use crate::runtime::thread;
use crate::storage::{OsDisk, read_file};
use crate::telemetry::incident::Watch;
use crate::time::Now;
use crate::wire::tls::keeper::{Contents, Keeper, Look};
use crate::wire::tls::peers::Peers;
use crate::wire::tls::server::{Clients, Options, Setup};
use crate::wire::tls::{self, About, FILE_BYTES_MAX, SetupError, Versions};

/// Between two looks at the files.
const LOOK: Duration = Duration::from_secs(1);

/// Where the files are, and what holds for all of their contents.
#[derive(Clone, Debug)]
pub struct Files {
    pub certificate: PathBuf,
    pub key: PathBuf,
    pub client_ca: Option<PathBuf>,
    pub clients: Clients,
    pub peers: Peers,
    pub versions: Versions,
}

/// A source's keys as its threads see them; the last that lets go ends the looking.
pub struct Keys {
    shared: Arc<Shared>,
}

struct Shared {
    setup: Mutex<Setup>,
    over: Mutex<bool>,
    ended: Condvar,
}

impl Keys {
    /// Reads the files, and begins to look after them. `source`: `sources.net`.
    pub fn load(source: &str, files: Files, watch: Watch) -> Result<Arc<Self>, BuildError> {
        let (keeper, setup) = keeper(files).map_err(|error| BuildError {
            what: format!("{source}: tls: {}", error.what),
            remedy: error.remedy,
        })?;
        let (setup, over, ended) = (Mutex::new(setup), Mutex::new(false), Condvar::new());
        let shared = Arc::new(Shared { setup, over, ended });
        let theirs = Arc::clone(&shared);
        thread::spawn("tls.keys", move || look_after(keeper, watch, &theirs)).map_err(|error| {
            let remedy = "raise the limit of threads (TasksMax, `ulimit -u`)".to_owned();
            BuildError {
                what: format!("{source}: no thread for its certificates: {error}"),
                remedy,
            }
        })?;
        Ok(Arc::new(Self { shared }))
    }

    /// What a newcomer is met with.
    pub fn setup(&self) -> Setup {
        locked(&self.shared.setup).clone()
    }
}

impl Drop for Keys {
    fn drop(&mut self) {
        *locked(&self.shared.over) = true;
        self.shared.ended.notify_all();
    }
}

fn look_after(mut keeper: Keeper<Setup>, mut watch: Watch, shared: &Shared) {
    let clock = SystemClock::default();
    let mut over = locked(&shared.over);
    while !*over {
        over = shared.ended.wait_timeout(over, LOOK).unwrap_or_else(PoisonError::into_inner).0;
        if let Some(fresh) = look(&mut keeper, &mut watch, clock.now()) {
            *locked(&shared.setup) = fresh;
        }
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Holders only move values in and out; a poisoned one is still right.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// One look; what is new, if anything is.
fn look(keeper: &mut Keeper<Setup>, watch: &mut Watch, now: Now) -> Option<Setup> {
    match keeper.look() {
        Look::Other => None,
        Look::Same => {
            watch.recovered(now);
            None
        }
        Look::Fresh(setup) => {
            watch.recovered(now);
            let who = keeper.who().unwrap_or_else(|| "nobody".to_owned());
            tracing::info!("tls: new files are in effect: certificate of {who}");
            Some(setup)
        }
        Look::Bad(error) => {
            watch.fault(now, &format!("tls: the old certificate stays in effect: {error}"));
            None
        }
    }
}

fn keeper(files: Files) -> Result<(Keeper<Setup>, Setup), SetupError> {
    let mut paths = vec![(About::Certificate, files.certificate), (About::Key, files.key)];
    paths.extend(files.client_ca.map(|path| (About::Anchors, path)));
    let (clients, peers, versions) = (files.clients, files.peers, files.versions);
    let make = move |contents: &Contents| {
        let identity = contents.identity()?.expect("there is a path for each of the two");
        let anchors = contents.of(About::Anchors).map(tls::anchors).transpose()?;
        Setup::new(Options { identity, clients, anchors, peers: peers.clone(), versions })
    };
    Keeper::new(paths, |path| read_file(&OsDisk, path, FILE_BYTES_MAX), make)
}
