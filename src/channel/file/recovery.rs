//! Finding out, at the start, how a log was left: which batches wait, and where new ones go.
//!
//! Only the first record of each segment is read, and of the last one the heads of all, and what
//! stands behind the newest word on what was synced: however much waits, and however large segments
//! are, the first batch is on its way in a moment. Everything else is verified when it is read.
//! A new segment is begun whatever was left, so nothing that was written is ever written over.

use std::collections::VecDeque;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::delivered::Delivered;
use super::keys::Keys;
use super::log::{Log, Put, Segment, State, number_of};
use super::record::{Cipher, Damage, FRAME, HEAD_BYTES, Head, Kind};
use super::scan::{self, ReadError, Wanted};
use super::wrap::Wrapping;
use crate::storage::{Disk, DiskFile, read_full_at};

pub(super) const LOCK: &str = "lock";
pub(super) const BAD_SUFFIX: &str = ".bad";

/// A log as it was left, ours from now on.
pub(super) struct Found {
    pub(super) log: Log,
    pub(super) delivered: Delivered,
    /// Batches below were known to be on the disk: a gap there is no crash's.
    pub(super) synced: u64,
    /// Held as long as the channel lives.
    pub(super) locks: Vec<Arc<dyn DiskFile>>,
    pub(super) notes: Vec<String>,
}

/// Why a log cannot be used, and what to do.
#[derive(Debug, thiserror::Error)]
#[error("{what}: {remedy}")]
pub struct OpenError {
    pub what: String,
    pub remedy: String,
}

impl OpenError {
    pub(super) fn new(what: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { what: what.into(), remedy: remedy.into() }
    }

    pub(super) fn reading(path: &Path, error: &io::Error) -> Self {
        Self::new(
            format!("{} cannot be read: {error}", path.display()),
            "see that its disk is well",
        )
    }
}

/// One segment's file, before anything is known of it.
pub(super) struct Entry {
    pub(super) number: u64,
    pub(super) path: PathBuf,
}

/// Takes the directories and finds out how the log in them was left. `random` is the number that
/// it gets when there is none.
pub(super) fn open(
    disk: &dyn Disk,
    dirs: &[PathBuf],
    segment_bytes: u64,
    wrapping: Wrapping,
    random: u64,
) -> Result<Found, OpenError> {
    let mut locks = Vec::new();
    for dir in dirs {
        let prepared = disk.create_dir_all(dir).and_then(|()| sync_above(disk, dir));
        let lock = prepared.and_then(|()| lock(disk, dir)).map_err(|error| {
            let what = format!("{} cannot be used: {error}", dir.display());
            OpenError::new(what, "make it a directory that flumen may write in")
        })?;
        let taken = format!("{} is used by another process", dir.display());
        locks.push(lock.ok_or_else(|| {
            OpenError::new(taken, "stop that one first, or give this channel another `path`")
        })?);
    }
    let failed = |error: io::Error| {
        OpenError::new(format!("the log cannot be read: {error}"), "see that its disk is well")
    };
    let entries = list(disk, dirs)?;
    let mut notes = Vec::new();
    let survey = survey(disk, entries, &wrapping.keys, &mut notes)?;
    let left = last_of(disk, &survey, &mut notes).map_err(failed)?;
    let id = survey.id.unwrap_or(random);
    let mut segments: VecDeque<Segment> = survey.segments.into();
    if let Some(last) = segments.back_mut() {
        (last.bytes, last.end_seq) = (left.bytes, left.put.seq.max(last.first_seq));
    }
    cut_ends(&mut segments);
    if let Some(last) = segments.back() {
        // Written before a kill and not yet synced: it is relied upon from now on.
        disk.open_write(&last.path).and_then(|file| file.sync_data()).map_err(failed)?;
    }
    let log = Log::new(id, dirs.to_vec(), segments, left.put, segment_bytes, wrapping);
    Ok(Found { log, delivered: left.delivered, synced: left.synced, locks, notes })
}

/// Directories that were just made outlive a power cut, with all above them.
fn sync_above(disk: &dyn Disk, dir: &Path) -> io::Result<()> {
    for above in dir.ancestors().skip(1) {
        match disk.sync_dir(above) {
            // Somebody else's, and there before us.
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {}
            outcome => outcome?,
        }
    }
    Ok(())
}

/// What a segment has from the first batch of a later one on counts no more.
fn cut_ends(segments: &mut VecDeque<Segment>) {
    let mut end = u64::MAX;
    for segment in segments.iter_mut().rev() {
        segment.end_seq = segment.end_seq.min(end);
        end = end.min(segment.first_seq);
    }
}

fn lock(disk: &dyn Disk, dir: &Path) -> io::Result<Option<Arc<dyn DiskFile>>> {
    let path = dir.join(LOCK);
    let file = match disk.create_new(&path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => disk.open_write(&path)?,
        outcome => outcome?,
    };
    Ok(file.try_lock_exclusive()?.then_some(file))
}

/// All segments of these directories in order.
pub(super) fn list(disk: &dyn Disk, dirs: &[PathBuf]) -> Result<Vec<Entry>, OpenError> {
    let mut entries: Vec<Entry> = Vec::new();
    for dir in dirs {
        let names = disk.list(dir).map_err(|error| {
            let what = format!("{} cannot be looked at: {error}", dir.display());
            OpenError::new(what, "name a directory that flumen may read")
        })?;
        for entry in names {
            if let Some(number) = entry.name.to_str().and_then(number_of) {
                entries.push(Entry { number, path: dir.join(&entry.name) });
            }
        }
    }
    entries.sort_by_key(|entry| entry.number);
    if let Some(two) = entries.windows(2).find(|two| two[0].number == two[1].number) {
        let what = format!("{} and {}", two[0].path.display(), two[1].path.display());
        let remedy = "they are of two logs: give each channel directories of its own";
        return Err(OpenError::new(format!("{what} have the same number"), remedy));
    }
    Ok(entries)
}

/// What the first records say.
struct Survey {
    id: Option<u64>,
    segments: Vec<Segment>,
}

fn survey(
    disk: &dyn Disk,
    entries: Vec<Entry>,
    keys: &Keys,
    notes: &mut Vec<String>,
) -> Result<Survey, OpenError> {
    let mut survey = Survey { id: None, segments: Vec::new() };
    let last = entries.last().map(|entry| entry.number);
    for Entry { number, path } in entries {
        let first = first_record(disk, &path, number, survey.id).map_err(|error| {
            let what = format!("{}: {error}", path.display());
            let remedy = match error {
                ReadError::Damaged(Damage::Version(_)) => "run the newer version",
                _ => "see that its disk is well",
            };
            OpenError::new(what, remedy)
        })?;
        let Some((head, bytes)) = first else {
            notes.push(set_aside(disk, &path, last == Some(number)));
            continue;
        };
        if survey.id.is_some_and(|id| id != head.log) {
            let what = format!("{} is of another channel's log", path.display());
            return Err(OpenError::new(what, "move it away, or give this channel another `path`"));
        }
        if head.kind == Kind::State && head.cipher != Cipher::None {
            keys.open(&head, &mut []).map_err(|locked| {
                let remedy = "add the key that it was written with to the key file";
                OpenError::new(format!("{}: {locked}", path.display()), remedy)
            })?;
        }
        survey.id = Some(head.log);
        // A damaged beginning: what the first whole batch does not know of is a gap.
        let damaged = head.kind != Kind::State;
        survey.segments.push(Segment {
            number,
            path: Arc::from(path),
            first_seq: head.seq,
            end_seq: u64::MAX,
            events_before: head.events_before,
            bytes_before: head.bytes_before,
            bytes,
            damaged,
        });
    }
    Ok(survey)
}

/// The first record of a segment, and the file's length. None when it has no record at all.
fn first_record(
    disk: &dyn Disk,
    path: &Path,
    segment: u64,
    log: Option<u64>,
) -> Result<Option<(Head, u64)>, ReadError> {
    let file = disk.open_read(path)?;
    let bytes = file.bytes()?;
    let mut raw = [0; HEAD_BYTES];
    let read = read_full_at(&*file, 0, &mut raw)?;
    match Head::decode(&raw[..read]) {
        Ok(head) if head.segment == segment => return Ok(Some((head, bytes))),
        Err(Damage::Version(version)) => return Err(Damage::Version(version).into()),
        _ => {}
    }
    let step = scan::next(&*file, 0, bytes, Wanted { log, segment })?;
    Ok(step.map(|step| (step.head, bytes)))
}

/// A segment without any record: one that a crash kept from being begun, or foreign bytes.
fn set_aside(disk: &dyn Disk, path: &Path, last: bool) -> String {
    let blank = || -> io::Result<bool> {
        let mut raw = [0; FRAME];
        let read = read_full_at(&*disk.open_read(path)?, 0, &mut raw)?;
        Ok(raw[..read].iter().all(|byte| *byte == 0))
    };
    let name = path.display();
    if last && blank().unwrap_or(false) {
        return match disk.remove(path) {
            Ok(()) => format!("{name} was never begun, and is removed"),
            Err(error) => format!("{name} was never begun, and cannot be removed: {error}"),
        };
    }
    match disk.rename_no_replace(path, &aside(path)) {
        Ok(()) => format!("{name} holds nothing that can be read, and is set aside as .bad"),
        Err(error) => format!("{name} cannot be read, nor be set aside: {error}"),
    }
}

pub(super) fn aside(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(BAD_SUFFIX);
    PathBuf::from(name)
}

/// How the log ends.
struct Left {
    put: Put,
    bytes: u64,
    delivered: Delivered,
    synced: u64,
}

fn last_of(disk: &dyn Disk, survey: &Survey, notes: &mut Vec<String>) -> io::Result<Left> {
    let Some(first) = survey.segments.first() else {
        let delivered = Delivered::default();
        return Ok(Left { put: Put::default(), bytes: 0, delivered, synced: 0 });
    };
    let mut left: Option<Left> = None;
    for segment in survey.segments.iter().rev() {
        let end = walk(disk, segment, survey.id)?;
        let last = left.get_or_insert_with(|| Left {
            put: end.put,
            bytes: end.bytes,
            delivered: Delivered::default(),
            synced: 0,
        });
        // A number that an older segment knows of is taken, whatever became of the last one.
        if end.put.seq > last.put.seq {
            last.put = end.put;
        }
        if let Some((synced, delivered)) = end.state {
            (last.synced, last.delivered) = (synced, delivered);
            break;
        }
        notes.push(format!("{} does not say what was delivered", segment.path.display()));
    }
    let mut left = left.expect("there is a segment");
    if left.delivered.low() == 0 && left.delivered.totals() == (0, 0) {
        // Nobody knows, or nothing was: all that is there.
        let Segment { first_seq, events_before, bytes_before, .. } = *first;
        left.delivered = Delivered::below(first_seq, events_before, bytes_before);
    }
    Ok(left)
}

/// How a segment ends, and the newest state in it.
struct End {
    put: Put,
    bytes: u64,
    state: Option<(u64, Delivered)>,
}

fn walk(disk: &dyn Disk, segment: &Segment, log: Option<u64>) -> io::Result<End> {
    let file = disk.open_read(&segment.path)?;
    let wanted = Wanted { log, segment: segment.number };
    let put =
        Put { seq: segment.first_seq, events: segment.events_before, bytes: segment.bytes_before };
    let mut end = End { put, bytes: 0, state: None };
    // Batches that the newest state knows of and that are not there are lost; their numbers are
    // taken, for they may have been delivered.
    if let Some((at, State { synced, put, delivered })) = newest_state(&*file, segment, wanted)? {
        end.put = if put.seq > end.put.seq { put } else { end.put };
        end.bytes = at;
        end.state = Some((synced, delivered));
    }
    let mut offset = end.bytes;
    while let Some(step) = scan::next(&*file, offset, segment.bytes, wanted)? {
        offset = step.end();
        let (head, outline) = (&step.head, &step.head.outline);
        match head.kind {
            // What a crash has torn was promised to nobody; a state could not be read just now.
            Kind::State => continue,
            Kind::Batch => match scan::verify(&*file, &step) {
                Err(ReadError::Io(error)) => return Err(error),
                Err(ReadError::Damaged(_)) => continue,
                Ok(()) => {}
            },
        }
        if head.seq >= end.put.seq {
            end.put = Put {
                seq: head.seq + 1,
                events: head.events_before + u64::from(outline.events),
                bytes: head.bytes_before + outline.event_bytes,
            };
        }
        end.bytes = step.end();
    }
    Ok(end)
}

/// The last state of a segment that can be read, and where it ends; of batches only heads are read.
fn newest_state(
    file: &dyn DiskFile,
    segment: &Segment,
    wanted: Wanted,
) -> io::Result<Option<(u64, State)>> {
    let (mut states, mut offset) = (Vec::new(), 0);
    while let Some(step) = scan::next(file, offset, segment.bytes, wanted)? {
        offset = step.end();
        if step.head.kind == Kind::State {
            states.push(step);
        }
    }
    for step in states.iter().rev() {
        match scan::read_state(file, step) {
            Ok(state) => return Ok(Some((step.end(), state))),
            Err(ReadError::Io(error)) => return Err(error),
            Err(ReadError::Damaged(_)) => {}
        }
    }
    Ok(None)
}
