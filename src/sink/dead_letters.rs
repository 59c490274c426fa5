//! Where a sink sets aside what the next hop refuses for what it is: lines at the end of a file.
//!
//! ```text
//!   sink ──refused for ever──▶ one line each ──append, sync──▶ dead.ndjson
//! ```
//! Promises: a letter counts as set aside when it is synced, and with it the file's name; its event
//! leaves the channel only then; a file that cannot be written holds the sink, and nothing is lost.
//! The file is opened for each batch of letters, so that it may be moved away or deleted at any
//! time, and is locked while it is written, so that several sinks, and processes, may share it.
//! Letters are rare: whoever writes them waits for the disk.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::BuildError;
use crate::config::{OptionDoc, Section};
use crate::storage::{Disk, DiskFile, DurableNames, catalog, write_all_at};

pub const DEAD_LETTERS: OptionDoc = OptionDoc {
    name: "dead_letters",
    default: Some(""),
    doc: "file for events that the next hop refuses for what they are; else they are lost{refused}",
};

/// How the section's file is called, if there is to be one.
pub fn plan(section: &Section) -> Option<PathBuf> {
    let path = section.optional_text(DEAD_LETTERS.name)?;
    let remedy = "write a file's name, \"/var/lib/flumen/dead.ndjson\"";
    if path.is_empty() || path.ends_with('/') {
        section.fail(DEAD_LETTERS.name, format!("\"{path}\" is no name of a file"), remedy);
        return None;
    }
    if path.contains('%') {
        let what = format!("`{path}`: there is one file of dead letters, and it has no escapes");
        section.fail(DEAD_LETTERS.name, what, remedy);
        return None;
    }
    Some(PathBuf::from(path))
}

/// The file, as all threads of a sink share it.
pub struct DeadLetters {
    path: PathBuf,
    disk: Arc<dyn Disk>,
    /// One writes at a time. Which directories keep the file's name.
    names: Mutex<DurableNames>,
}

impl DeadLetters {
    /// Makes sure that letters can be written; `whose` they are, `sinks.next`.
    pub fn open(path: &Path, disk: &Arc<dyn Disk>, whose: &str) -> Result<Arc<Self>, BuildError> {
        let (path, disk) = (path.to_path_buf(), Arc::clone(disk));
        let names = DurableNames::below(catalog::directory(&path).to_path_buf());
        let letters = Self { path, disk, names: Mutex::new(names) };
        let opened = letters.file(&mut letters.names()).map(drop);
        match opened {
            Ok(()) => Ok(Arc::new(letters)),
            Err(error) => Err(BuildError {
                what: format!(
                    "{whose} cannot write its dead letters to {}: {error}",
                    letters.path.display()
                ),
                remedy: "name another file, or leave `dead_letters` out".to_owned(),
            }),
        }
    }

    /// Appends whole lines and waits until they are synced. After an error none of them is there,
    /// unless the machine fails in this moment.
    pub fn keep(&self, lines: &[u8]) -> io::Result<()> {
        self.append(lines, &mut self.names()).map_err(|error| {
            let path = self.path.display();
            io::Error::new(
                error.kind(),
                format!("dead letters cannot be set aside: {path}: {error}"),
            )
        })
    }

    /// Whoever panicked with it has left it as it may be.
    fn names(&self) -> MutexGuard<'_, DurableNames> {
        self.names.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn append(&self, lines: &[u8], names: &mut DurableNames) -> io::Result<()> {
        let file = self.file(names)?;
        if !file.try_lock_exclusive()? {
            return Err(io::Error::other("somebody else is writing it"));
        }
        let end = file.bytes()?;
        let mut last = *b"\n";
        if end > 0 {
            file.read_at(end - 1, &mut last)?;
        }
        // A line that was torn by a crash stays, and is not the beginning of ours.
        let outcome = match last {
            [b'\n'] => write_all_at(file.as_ref(), end, lines),
            _ => write_all_at(file.as_ref(), end, &[b"\n", lines].concat()),
        };
        let outcome = outcome.and_then(|()| file.sync_data());
        let outcome = outcome.and_then(|()| names.sync(&*self.disk, &self.path));
        if outcome.is_err() {
            // What cannot be cut off, either, is told twice: better than never.
            let _ = file.truncate(end);
        }
        outcome
    }

    fn file(&self, names: &mut DurableNames) -> io::Result<Arc<dyn DiskFile>> {
        let directory = catalog::directory(&self.path);
        loop {
            match self.disk.open_write(&self.path) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                found => return found,
            }
            self.disk.create_dir_all(directory)?;
            match self.disk.create_new(&self.path) {
                // Another one was quicker.
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                made => {
                    names.changed(&self.path);
                    return made;
                }
            }
        }
    }
}
