//! All files that are followed: which there are, which is which after a rotation, and whose turn
//! it is.
//!
//! ```text
//!   renamed            the same inode: read on under its new name
//!   truncated          what it was is a former file; the rest is read from its begin
//!   copied             begins like another one: not read before it is clear what it is. When the
//!                      other one is truncated or gone, the copy goes on where that was
//!   compressed         the same, seen through the compression
//!   deleted            read to its end
//! ```
//! A file that stays like another one for `HELD` is a file of its own, and read from its begin:
//! twice is better than never.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use super::groups::Group;
use super::labels::Labels;
use super::tail::{Tail, Visit};
use crate::memory::Outcome;
use crate::source::file_lines::{Cursor, Mark, Shelf};
use crate::source::former::Former;
use crate::source::positions::Entry;
use crate::storage::{Disk, FileId, Found};
use crate::time::Now;

/// A copy is held back so long after it has changed last.
const HELD: Duration = Duration::from_secs(10);
/// Files that are gone are remembered, so many.
const FORMERS_MAX: usize = 1000;
/// After a failure a file is read again.
const RETRY: Duration = Duration::from_secs(1);
/// Bytes of one file until others have their turn, a quarter of a batch.
const VISIT_BYTES: usize = 256 << 10;

pub(super) struct Follower {
    pub(super) disk: Arc<dyn Disk>,
    pub(super) groups: Vec<Group>,
    labels: Labels,
    pub(super) skip_to_end: bool,
    pub(super) idle_timeout: Duration,
    pub(super) tails: Vec<Tail>,
    /// Newest last.
    formers: VecDeque<Former>,
    next_key: u64,
    /// The first look has been.
    begun: bool,
    /// Whose turn it is.
    turn: usize,
    /// Names that could not be read when they were looked at last, and why.
    pub(super) troubles: Vec<String>,
}

/// A file by its own name, and the group that it is of.
struct Seen {
    path: PathBuf,
    found: Found,
    group: usize,
}

/// What a round came to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Round {
    pub(super) full: bool,
    pub(super) more: bool,
    /// Some file was replaced: names are to be looked at.
    pub(super) look: bool,
}

impl Follower {
    pub(super) fn new(
        disk: Arc<dyn Disk>,
        groups: Vec<Group>,
        labels: Labels,
        skip_to_end: bool,
        idle_timeout: Duration,
        saved: Vec<Former>,
    ) -> Self {
        let mut next_key = 0;
        let keyed = saved.into_iter().map(|former| {
            next_key += 1;
            Former { key: next_key, ..former }
        });
        let formers = keyed.collect();
        Self {
            disk,
            groups,
            labels,
            skip_to_end,
            idle_timeout,
            tails: Vec::new(),
            formers,
            next_key: next_key + 1,
            begun: false,
            turn: 0,
            troubles: Vec::new(),
        }
    }

    fn key(&mut self) -> u64 {
        self.next_key += 1;
        self.next_key
    }

    fn remember(&mut self, former: Former) {
        if former.read.offset > 0 {
            self.formers.push_back(former);
        }
        while self.formers.len() > FORMERS_MAX {
            self.formers.pop_front();
        }
    }

    /// Another file stands there now: what it was stays known.
    fn replace(&mut self, index: usize) {
        let key = self.key();
        let former = self.tails[index].begin_anew(key);
        self.remember(former);
    }

    /// Looks at all names: what came, went, or is called otherwise.
    pub(super) fn look(&mut self, now: Now) {
        self.troubles.clear();
        let (seen, blind) = self.names();
        let mut known = BTreeSet::new();
        for tail in &mut self.tails {
            match seen.get(&tail.id) {
                Some(Seen { path, found, group }) => {
                    known.insert(tail.id);
                    tail.missing = false;
                    if tail.path != *path {
                        tail.rename(path, self.labels.of(*group, path));
                    }
                    if tail.bytes != found.bytes {
                        (tail.bytes, tail.changed) = (found.bytes, now.mono);
                    }
                }
                None => tail.missing |= !blind.iter().any(|dir| tail.path.starts_with(dir)),
            }
        }
        let mut fresh: Vec<&Seen> =
            seen.values().filter(|seen| !known.contains(&seen.found.id)).collect();
        fresh.sort_by_key(|seen| (seen.found.modified, seen.path.clone()));
        for Seen { path, found, group } in fresh {
            let key = self.key();
            let labels = self.labels.of(*group, path);
            self.tails.push(Tail::new(key, path, labels, found, now.mono));
        }
        self.reopen();
        // First, so that copies find what was read of them.
        self.find_replaced();
        self.decide_all(now);
        self.begun = true;
    }

    /// Files by their own names, and the directories that could not be listed.
    fn names(&mut self) -> (BTreeMap<FileId, Seen>, Vec<PathBuf>) {
        let (mut seen, mut blind) = (BTreeMap::new(), Vec::new());
        for (number, group) in self.groups.iter().enumerate() {
            let entries = match self.disk.list(&group.directory) {
                Ok(entries) => entries,
                Err(error) => {
                    self.troubles.push(format!("{}: {error}", group.directory.display()));
                    if error.kind() != io::ErrorKind::NotFound {
                        blind.push(group.directory.clone());
                    }
                    continue;
                }
            };
            for entry in entries.iter().filter(|entry| !entry.is_dir) {
                let wanted = entry.name.to_str().is_some_and(|name| group.has(name));
                // What was renamed while nobody looked is read to its end, whatever its name is.
                if !wanted && (self.begun || self.formers.is_empty()) {
                    continue;
                }
                let path = group.directory.join(&entry.name);
                match self.disk.find(&path) {
                    Ok(found) if found.is_file && (wanted || self.has_saved(found)) => {
                        seen.entry(found.id).or_insert(Seen { path, found, group: number });
                    }
                    Ok(_) => {}
                    Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                    Err(error) if wanted => {
                        self.troubles.push(format!("{}: {error}", path.display()));
                    }
                    Err(_) => {}
                }
            }
        }
        (seen, blind)
    }

    fn has_saved(&self, found: Found) -> bool {
        let unread = |it: &Former| it.read.last_bytes > 0 && it.read.offset < found.bytes;
        self.formers.iter().any(|it| it.id == found.id && unread(it))
    }

    /// Files that were closed for being idle and have grown are opened again.
    fn reopen(&mut self) {
        for tail in self.tails.iter_mut().filter(|tail| !tail.missing && !tail.is_open()) {
            if tail.undecided || tail.bytes == tail.cursor.mark.offset {
                continue;
            }
            if let Err(error) = tail.open(&*self.disk) {
                self.troubles.push(format!("{}: {error}", tail.path.display()));
            }
        }
    }

    fn decide_all(&mut self, now: Now) {
        let mut index = 0;
        while index < self.tails.len() {
            if self.tails[index].undecided {
                let count = self.tails.len();
                if let Err(error) = self.decide(index, now)
                    && !matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::NotFound)
                {
                    self.troubles.push(format!("{}: {error}", self.tails[index].path.display()));
                }
                if self.tails.len() < count {
                    // It took the place of another one, which stood somewhere in front or behind.
                    index = 0;
                    continue;
                }
            }
            index += 1;
        }
        self.tails.retain(|tail| !(tail.undecided && tail.missing));
    }

    /// What a file is that nobody knew.
    fn decide(&mut self, index: usize, now: Now) -> io::Result<()> {
        let disk = Arc::clone(&self.disk);
        let tail = &mut self.tails[index];
        let front = tail.look(&*disk)?;
        if front.is_empty() && tail.bytes == 0 {
            return Ok(());
        }
        for at in (0..self.formers.len()).rev() {
            if tail.was(&self.formers[at], &front)? {
                let former = self.formers.remove(at).expect("it is there");
                tail.adopt(former);
                return Ok(());
            }
        }
        if !self.begun && self.skip_to_end {
            let tail = &mut self.tails[index];
            let offset = tail.bytes;
            if !tail.open(&*disk)?.is_packed() {
                let mark = Mark { offset, ..Mark::default() };
                (tail.cursor, tail.confirmed, tail.undecided) = (Cursor::at(mark), mark, false);
                return Ok(());
            }
        }
        if self.is_copy(index, now)? {
            return Ok(());
        }
        // While we compared, the other one may have been truncated: then that is its copy.
        if self.find_replaced() {
            return self.decide(index, now);
        }
        self.tails[index].undecided = false;
        Ok(())
    }

    /// Files that have become others since they were read: says whether there were any.
    fn find_replaced(&mut self) -> bool {
        let mut any = false;
        for index in 0..self.tails.len() {
            if self.tails[index].is_replaced().unwrap_or(false) {
                self.replace(index);
                any = true;
            }
        }
        any
    }

    /// Whether it may be a copy of another one. If that is gone, it goes on where that was.
    fn is_copy(&mut self, index: usize, now: Now) -> io::Result<bool> {
        let disk = Arc::clone(&self.disk);
        let mut tail = self.tails.remove(index);
        let (mut like, mut heir, mut failed) = (false, None, None);
        for (at, other) in self.tails.iter_mut().enumerate().filter(|(_, it)| !it.undecided) {
            match tail.is_like(other, &*disk) {
                Ok(false) => continue,
                Ok(true) => like = true,
                // The other one may be gone, which is no trouble of this one.
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                Err(error) => {
                    failed = Some(error);
                    break;
                }
            }
            let former = other.former();
            if other.missing && other.rest == 0 {
                let front = tail.look(&*disk)?;
                if tail.was(&former, &front)? {
                    heir = Some((at, former));
                    break;
                }
            }
        }
        if let Some((at, former)) = heir {
            tail.adopt(former);
            self.tails[at] = tail;
            return Ok(true);
        }
        let held = like && now.mono < tail.changed.after(HELD);
        self.tails.insert(index, tail);
        failed.map_or(Ok(held), Err)
    }

    /// One visit to each file that may have something. `note` hears how far each has come.
    pub(super) fn read(
        &mut self,
        shelf: &mut Shelf<'_>,
        now: Now,
        mut note: impl FnMut(u64, Mark),
    ) -> Round {
        let mut round = Round::default();
        let count = self.tails.len();
        for step in 0..count {
            let index = (self.turn + step) % count;
            let tail = &mut self.tails[index];
            if tail.undecided || now.mono < tail.retry {
                continue;
            }
            let before = (tail.cursor.mark, shelf.page.event_count());
            let visit = tail.visit(shelf, VISIT_BYTES);
            if shelf.page.event_count() > before.1 || tail.cursor.mark != before.0 {
                tail.heard = now.mono;
                note(tail.key, tail.cursor.mark);
            }
            match visit {
                Ok(Visit::Nothing | Visit::Drained) => {}
                Ok(Visit::More) => round.more = true,
                Ok(Visit::Full) => {
                    self.turn = index;
                    return Round { full: true, more: true, ..round };
                }
                Ok(Visit::Replaced) => {
                    self.replace(index);
                    (round.look, round.more) = (true, true);
                }
                Err(error) => {
                    tail.retry = now.mono.after(RETRY);
                    self.troubles.push(format!("{}: {error}", tail.path.display()));
                }
            }
        }
        self.turn = 0;
        round
    }

    /// Ends the last lines of files that were silent for long, and closes those. False: the page
    /// has no room.
    pub(super) fn sweep(
        &mut self,
        shelf: &mut Shelf<'_>,
        now: Now,
        mut note: impl FnMut(u64, Mark),
    ) -> bool {
        let mut gone = Vec::new();
        for (index, tail) in self.tails.iter_mut().enumerate() {
            let idle = now.mono >= tail.heard.max(tail.changed).after(self.idle_timeout);
            let over = tail.is_finished() && !tail.undecided;
            if tail.undecided || !(idle || over) {
                continue;
            }
            if tail.is_open() {
                match tail.end(shelf) {
                    Ok(true) => note(tail.key, tail.cursor.mark),
                    Ok(false) => return false,
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => continue,
                    Err(error) => {
                        self.troubles.push(format!("{}: {error}", tail.path.display()));
                    }
                }
                if over && !idle {
                    // It stays open, to be known when its like comes.
                    continue;
                }
                tail.close();
            }
            if tail.missing {
                gone.push(index);
            }
        }
        for index in gone.into_iter().rev() {
            let former = self.tails.remove(index).former();
            self.remember(former);
        }
        true
    }

    /// What was read of a file up to there has come through, or was lost and is read again.
    pub(super) fn settle(&mut self, key: u64, mark: Mark, outcome: Outcome, now: Now) {
        let fresh = self.key();
        if let Some(tail) = self.tails.iter_mut().find(|tail| tail.key == key) {
            match outcome {
                Outcome::Confirmed => tail.confirmed = mark,
                Outcome::Failed => tail.go_back(fresh, now.mono.after(RETRY)),
            }
        } else if let Some(former) = self.formers.iter_mut().find(|former| former.key == key) {
            match outcome {
                Outcome::Confirmed => former.confirmed = mark,
                Outcome::Failed => (former.read, former.key) = (former.confirmed, fresh),
            }
        }
    }

    /// What is saved: files that are followed, and those that may come back.
    pub(super) fn entries(&self) -> impl Iterator<Item = Entry<'_>> {
        let tails = self.tails.iter().filter(|tail| !tail.undecided).map(|tail| Entry {
            id: tail.id,
            path: &tail.path,
            head: tail.head,
            mark: tail.confirmed,
        });
        let formers = self.formers.iter().map(|former| Entry {
            id: former.id,
            path: &former.path,
            head: former.head,
            mark: former.confirmed,
        });
        tails.chain(formers)
    }
}
