//! All files of the folder: which is being read, which have still to come through, and which are
//! put away.
//!
//! ```text
//!   folder ──look──▶ queue ──▶ current ──read to its end──▶ finishing ──came through──▶ put away
//!                      ▲          │ cannot be read             │ lost on its way
//!                      └──────────┴── former: goes on there ◀──┘
//! ```
//! The next file is begun while the last ones are still finishing. A file that changed while it
//! was read goes on where it was, or anew if something else stands there now; one that cannot be
//! read is tried again later; neither stops the others.

use std::collections::{HashSet, VecDeque};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use super::away::{self, Noted, Policy, Went};
use super::datums::Room;
use super::folder::{Folder, Order};
use super::reading::{self, Deserializer, Names, Reading};
use crate::event::Page;
use crate::memory::Outcome;
use crate::source::file_lines::Mark;
use crate::source::former::{Former, Head};
use crate::source::framing::Rules;
use crate::source::positions::Entry;
use crate::storage::{Disk, FileId, Found};
use crate::telemetry::SourceCounters;
use crate::telemetry::incident::Watch;
use crate::time::{Mono, Now};

/// What could not be read is tried again.
const RETRY: Duration = Duration::from_secs(10);
/// Read and not yet through: then no more are begun.
const FINISHING_MAX: usize = 1000;

/// What becomes of files, as somebody wrote it.
#[derive(Clone, Debug)]
pub(super) struct Settings {
    pub(super) folder: Folder,
    pub(super) policy: Policy,
    pub(super) deserializer: Deserializer,
    pub(super) names: Names,
    /// Of an Avro file, packed and unpacked.
    pub(super) block_bytes_max: usize,
}

pub(super) struct Reader {
    disk: Arc<dyn Disk>,
    settings: Settings,
    rules: Rules,
    watch: Watch,
    counters: Arc<SourceCounters>,
    queue: VecDeque<(PathBuf, Found)>,
    current: Option<Reading>,
    /// Where the current file has its block, if it is read in blocks.
    room: Room,
    finishing: Vec<Finishing>,
    /// Files of which a part was read, before a restart or before they could not be read on.
    formers: Vec<Former>,
    refused: Vec<(PathBuf, Mono)>,
    /// Files that changed while they were read, of which that was told.
    changed: HashSet<FileId>,
    noted: Noted,
    next_key: u64,
}

/// Read to its end.
struct Finishing {
    key: u64,
    path: PathBuf,
    found: Found,
    head: Head,
    end: Mark,
    confirmed: Mark,
}

/// What a visit came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Visit {
    /// There is nothing to read for now.
    Nothing,
    More,
    Full,
}

impl Reader {
    pub(super) fn new(
        disk: Arc<dyn Disk>,
        settings: Settings,
        rules: Rules,
        watch: Watch,
        counters: Arc<SourceCounters>,
        mut formers: Vec<Former>,
    ) -> Self {
        let next_key = formers.len() as u64;
        (1..).zip(&mut formers).for_each(|(key, former)| former.key = key);
        Self {
            disk,
            room: Room::new(settings.block_bytes_max),
            settings,
            rules,
            watch,
            counters,
            queue: VecDeque::new(),
            current: None,
            finishing: Vec::new(),
            formers,
            refused: Vec::new(),
            changed: HashSet::new(),
            noted: Noted::default(),
            next_key,
        }
    }

    fn key(&mut self) -> u64 {
        self.next_key += 1;
        self.next_key
    }

    /// Looks what there is, if nothing is known to be there. Younger files go first where somebody
    /// asked for that, so they are looked for while others wait.
    pub(super) fn look(&mut self, now: Now) {
        let patient = self.settings.folder.order != Order::Youngest && !self.queue.is_empty();
        if patient || self.current.is_some() {
            return;
        }
        self.refused.retain(|(_, until)| now.mono < *until);
        let (disk, folder) = (&*self.disk, &self.settings.folder);
        let (noted, notes) = (&mut self.noted, self.settings.policy == Policy::Note);
        noted.turn();
        let mut trouble = None;
        self.queue = folder.list(
            disk,
            |path, found| Ok(notes && noted.has(disk, folder, path, found)?),
            |it| trouble = Some(it),
        );
        if trouble.is_none() {
            // Whoever took a file away has it: what was read of it matters no more.
            let there: HashSet<u64> = self.queue.iter().map(|(_, found)| found.id.inode).collect();
            self.formers.retain(|former| there.contains(&former.id.inode));
            self.changed.retain(|id| there.contains(&id.inode));
        }
        let (finishing, refused) = (&self.finishing, &self.refused);
        self.queue.retain(|(path, found)| {
            finishing.iter().all(|it| it.found.id != found.id)
                && refused.iter().all(|(refused, _)| refused != path)
        });
        match trouble {
            Some(trouble) => self.fault(now, &trouble),
            None if self.refused.is_empty() => self.watch.recovered(now),
            None => {}
        }
    }

    fn fault(&mut self, now: Now, what: &str) {
        self.counters.errors.add(1);
        self.watch.fault(now, what);
    }

    /// Something was not as it should be, and is over.
    fn tell(&mut self, now: Now, what: &str) {
        self.counters.errors.add(1);
        self.watch.once(now, what);
    }

    /// Reads on. `note` hears how far which file has come.
    pub(super) fn visit(
        &mut self,
        page: &mut Page,
        now: Now,
        mut note: impl FnMut(u64, Mark),
    ) -> Visit {
        if self.current.is_none() && !self.begin(now) {
            return Visit::Nothing;
        }
        let Some(reading) = &mut self.current else { return Visit::More };
        let (before, events) = (reading.cursor.mark, page.event_count());
        let visit = reading.visit(page, &self.rules, now.wall, &self.settings, &mut self.room);
        let (key, mark) = (reading.key, reading.cursor.mark);
        // A piece of an event may come without moving the mark; when it is lost, that is known.
        if mark != before || page.event_count() != events {
            note(key, mark);
        }
        match visit {
            Ok(reading::Visit::More) => Visit::More,
            Ok(reading::Visit::Full) => Visit::Full,
            Ok(reading::Visit::Ended) => {
                self.finish();
                Visit::More
            }
            Err(error) => {
                let Some(reading) = self.current.take() else { return Visit::More };
                let path = reading.path.clone();
                // Others have their turn, and it goes on where it was.
                self.formers.push(reading.former());
                self.put_off(path, &error, now);
                Visit::More
            }
        }
    }

    /// Takes the next file in hand. False: there is none, or too many are finishing.
    fn begin(&mut self, now: Now) -> bool {
        if self.finishing.len() >= FINISHING_MAX {
            return false;
        }
        let Some((path, _)) = self.queue.pop_front() else { return false };
        let (key, formers) = (self.key(), &mut self.formers);
        let opened = Reading::open(&*self.disk, &path, &self.settings.names, key, |found| {
            let at = formers.iter().position(|former| former.id.inode == found.id.inode);
            at.map(|at| formers.swap_remove(at))
        });
        match opened {
            Ok(reading) => self.current = Some(reading),
            // Somebody has taken it away again.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => self.put_off(path, &error, now),
        }
        true
    }

    fn put_off(&mut self, path: PathBuf, error: &io::Error, now: Now) {
        self.fault(now, &format!("{}: {error}; it is tried again", path.display()));
        self.refused.push((path, now.mono.after(RETRY)));
    }

    fn finish(&mut self) {
        let Some(reading) = self.current.take() else { return };
        let Reading { key, path, found, cursor, head, confirmed, .. } = reading;
        self.finishing.push(Finishing { key, path, found, head, end: cursor.mark, confirmed });
    }

    /// How far a file has come for good, or that it is to be read again from there.
    pub(super) fn settle(&mut self, key: u64, mark: Mark, outcome: Outcome) {
        let fresh = self.key();
        if let Some(reading) = self.current.as_mut().filter(|reading| reading.key == key) {
            match outcome {
                Outcome::Confirmed => reading.confirmed = mark,
                Outcome::Failed => reading.go_back(fresh),
            }
            return;
        }
        if let Some(at) = self.finishing.iter().position(|it| it.key == key) {
            match outcome {
                Outcome::Confirmed => self.finishing[at].confirmed = mark,
                Outcome::Failed => {
                    // The folder still has it, and it goes on where it had come.
                    let lost = self.finishing.remove(at);
                    let read = lost.confirmed;
                    self.formers.push(Former { key: fresh, read, ..lost.former() });
                }
            }
        } else if let Some(former) = self.formers.iter_mut().find(|former| former.key == key) {
            match outcome {
                Outcome::Confirmed => former.confirmed = mark,
                Outcome::Failed => (former.read, former.key) = (former.confirmed, fresh),
            }
        }
    }

    /// Puts away what has come through.
    pub(super) fn put_away(&mut self, now: Now) {
        let through = |it: &Finishing| it.confirmed.offset == it.end.offset;
        let mut folders: Vec<PathBuf> = Vec::new();
        while let Some(at) = self.finishing.iter().position(through) {
            let done = self.finishing.remove(at);
            let folder = done.path.parent().unwrap_or_else(|| Path::new("/"));
            if !folders.iter().any(|known| known == folder) {
                folders.push(folder.to_owned());
            }
            if let Err(error) = self.complete(&done, now) {
                // Read to its end already, and only to be put away: the same as after a restart.
                let path = done.path.clone();
                self.formers.push(done.former());
                self.put_off(path, &error, now);
            }
        }
        for folder in folders {
            // Of what a power cut would undo, nothing is known any more: it would come twice.
            if let Err(error) = self.disk.sync_dir(&folder) {
                self.fault(now, &format!("{}: {error}", folder.display()));
            }
        }
    }

    fn complete(&mut self, done: &Finishing, now: Now) -> io::Result<()> {
        let path = &done.path;
        let found = match self.disk.find(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            found => found?,
        };
        if found.id != done.found.id {
            // Its name is another file's, which will be read in its turn.
            return Ok(());
        }
        if (found.bytes, found.modified) != (done.found.bytes, done.found.modified) {
            if self.changed.insert(found.id) {
                let told = "changed while it was read, and is read on: put files here whole";
                self.tell(now, &format!("{} {told}", path.display()));
            }
            self.formers.push(done.former());
            return Ok(());
        }
        let Settings { folder, policy, .. } = &self.settings;
        let went = away::put(&*self.disk, folder, *policy, path, &found)?;
        self.changed.remove(&found.id);
        if let Went::Aside(to) = went {
            let told = "has the name of a file that was read before, and is now";
            self.tell(now, &format!("{} {told} {}", path.display(), to.display()));
        }
        Ok(())
    }

    /// What is saved: files that are not put away.
    pub(super) fn entries(&self) -> impl Iterator<Item = Entry<'_>> {
        let current = self.current.iter().map(|it| (&it.found, &it.path, it.head, it.confirmed));
        let finishing = self.finishing.iter();
        let finishing = finishing.map(|it| (&it.found, &it.path, it.head, it.confirmed));
        let own = current.chain(finishing).map(|(found, path, head, mark)| Entry {
            id: found.id,
            path,
            head,
            mark,
        });
        let formers = self.formers.iter().map(|former| Entry {
            id: former.id,
            path: &former.path,
            head: former.head,
            mark: former.confirmed,
        });
        own.chain(formers).filter(|entry| entry.mark.offset > 0)
    }
}

impl Finishing {
    fn former(&self) -> Former {
        let (key, id, path) = (self.key, self.found.id, self.path.clone());
        Former { key, id, path, head: self.head, read: self.end, confirmed: self.confirmed }
    }
}
