//! Certificates and keys of a source, read from their files and read again when those change.
//!
//! A thread of its own looks once a second, so that a slow file system holds up nobody. New
//! contents are taken when two looks in a row have found them the same: the certificate and its key
//! are rarely replaced in one instant. Connections go on with what they began with. What cannot be
//! used is told once, and the old stays in effect.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::BuildError;
use crate::runtime::clock::{Clock, SystemClock};
use crate::runtime::thread;
use crate::storage::{OsDisk, read_file};
use crate::telemetry::incident::Watch;
use crate::time::Now;
use crate::wire::tls::peers::Peers;
use crate::wire::tls::server::{Clients, Options, Setup};
use crate::wire::tls::{self, About, FILE_BYTES_MAX, Identity, SetupError, Versions, certificate};

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

/// What they hold.
#[derive(Clone, PartialEq, Eq)]
struct Contents {
    certificate: Vec<u8>,
    key: Vec<u8>,
    client_ca: Option<Vec<u8>>,
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
        let (keeper, setup) = Keeper::new(files, watch).map_err(|(what, remedy)| BuildError {
            what: format!("{source}: tls: {what}"),
            remedy,
        })?;
        let (setup, over, ended) = (Mutex::new(setup), Mutex::new(false), Condvar::new());
        let shared = Arc::new(Shared { setup, over, ended });
        let theirs = Arc::clone(&shared);
        thread::spawn("tls.keys", move || look_after(keeper, &theirs)).map_err(|error| {
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

fn look_after(mut keeper: Keeper, shared: &Shared) {
    let clock = SystemClock::default();
    let mut over = locked(&shared.over);
    while !*over {
        over = shared.ended.wait_timeout(over, LOOK).unwrap_or_else(PoisonError::into_inner).0;
        if let Some(fresh) = keeper.look(clock.now()) {
            *locked(&shared.setup) = fresh;
        }
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Holders only move values in and out; a poisoned one is still right.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Compares what the files hold with what is in effect.
struct Keeper {
    files: Files,
    watch: Watch,
    held: Contents,
    /// Seen at the last look, and not in effect; and whether it was tried.
    seen: Option<(Contents, bool)>,
}

impl Keeper {
    fn new(files: Files, watch: Watch) -> Result<(Self, Setup), (String, String)> {
        let held = read_all(&files)?;
        let setup = make(&files, &held)?;
        Ok((Self { files, watch, held, seen: None }, setup))
    }

    /// What is to be in effect from now on, when that has changed.
    fn look(&mut self, now: Now) -> Option<Setup> {
        let found = match read_all(&self.files) {
            Ok(found) => found,
            Err((what, remedy)) => {
                self.complain(now, &what, &remedy);
                return None;
            }
        };
        if found == self.held {
            self.seen = None;
            self.watch.recovered(now);
            return None;
        }
        let settled = match &mut self.seen {
            Some((seen, true)) if *seen == found => return None,
            Some((seen, tried)) if *seen == found => {
                *tried = true;
                true
            }
            _ => false,
        };
        if !settled {
            self.seen = Some((found, false));
            return None;
        }
        match make(&self.files, &found) {
            Ok(setup) => {
                self.watch.recovered(now);
                let who = who(&found);
                tracing::info!("tls: new files are in effect: certificate of {who}");
                (self.held, self.seen) = (found, None);
                Some(setup)
            }
            Err((what, remedy)) => {
                self.complain(now, &what, &remedy);
                None
            }
        }
    }

    fn complain(&mut self, now: Now, what: &str, remedy: &str) {
        let text = format!("tls: the old certificate stays in effect: {what}: {remedy}");
        self.watch.fault(now, &text);
    }
}

fn who(contents: &Contents) -> String {
    Identity::from_pem(&contents.certificate, &contents.key)
        .map_or_else(|_| "nobody".to_owned(), |own| certificate::describe(own.certificate()))
}

fn read_all(files: &Files) -> Result<Contents, (String, String)> {
    let ca = files.client_ca.as_deref().map(read);
    Ok(Contents {
        certificate: read(&files.certificate)?,
        key: read(&files.key)?,
        client_ca: ca.transpose()?,
    })
}

fn read(path: &Path) -> Result<Vec<u8>, (String, String)> {
    read_file(&OsDisk, path, FILE_BYTES_MAX).map_err(|error| {
        let remedy = match error.kind() {
            io::ErrorKind::PermissionDenied => "let the user that flumen runs as read it",
            _ => "write where the PEM file is",
        };
        (format!("{}: {error}", path.display()), remedy.to_owned())
    })
}

fn make(files: &Files, contents: &Contents) -> Result<Setup, (String, String)> {
    let told = |error: SetupError| {
        let path = match error.about {
            About::Certificate => Some(&files.certificate),
            About::Key => Some(&files.key),
            About::Anchors => files.client_ca.as_ref(),
            About::Whole => None,
        };
        let what = match path {
            Some(path) => format!("{} {}", path.display(), error.what),
            None => error.what,
        };
        (what, error.remedy)
    };
    let identity = Identity::from_pem(&contents.certificate, &contents.key).map_err(told)?;
    let anchors = contents.client_ca.as_deref().map(tls::anchors).transpose().map_err(told)?;
    let (clients, peers, versions) = (files.clients, files.peers.clone(), files.versions);
    Setup::new(Options { identity, clients, anchors, peers, versions }).map_err(told)
}
