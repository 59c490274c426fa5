//! `kmsg`: the kernel's log, from `/dev/kmsg` or a file in its format; each record is an RFC 5424
//! message.
//!
//! The kernel keeps its log in a ring and numbers the records: those that were overwritten before
//! they were read are known by the gap, and counted as lost to it. Pieces of one line are joined
//! as long as they come in one go.

use std::io::Write;
use std::ops::Range;
use std::path::PathBuf;
use std::sync::Arc;

use super::datagrams;
use super::framing::Rules;
use super::input::Input;
use super::network::EVENT_MAX;
use super::position::Position;
use super::zones::Zones;
use super::{BuildError, Built, Received, Source, SourceContext, SourceKind, SourcePlan};
use crate::config::OptionDoc;
use crate::event::{EventHead, Full, Marks, Names, Origin, OriginPlace, Page};
use crate::limits;
use crate::memory::MemoryLine;
use crate::ring::Wake;
use crate::runtime::clock;
use crate::storage::{Disk, OsDisk, read_full_at};
use crate::sys::readable;
use crate::syslog::write::{self, Element, Header, is_name};
use crate::telemetry::{LostReason, SourceCounters};
use crate::time::{Mono, Now, duration_ns};
use crate::wire::kmsg::{self, Piece, RECORD_BYTES_MAX, Record};

pub(super) const KIND: SourceKind = SourceKind {
    name: "kmsg",
    aliases: &[],
    summary: "the kernel's log from /dev/kmsg; overwritten records are counted as lost",
    options: OPTIONS,
    plan: |section| {
        let events = limits::EVENT_BYTES_MIN as u64..=limits::EVENT_BYTES_MAX as u64;
        Box::new(Plan {
            zones: Zones::utc(),
            path: PathBuf::from(section.text("path")),
            from: section.choice("from", &[("now", From::Now), ("boot", From::Boot)]),
            position: section.optional_text("position").map(PathBuf::from),
            event_bytes_max: section.size_in("event_max", events) as usize,
        })
    },
};

const OPTIONS: &[OptionDoc] = &[
    OptionDoc {
        name: "path",
        default: Some("/dev/kmsg"),
        doc: "the device, or a file or pipe in its format, whose end is the end",
    },
    OptionDoc {
        name: "from",
        default: Some("now"),
        doc: "where to begin without a position: now, or boot: all that the kernel still holds",
    },
    OptionDoc {
        name: "position",
        default: Some(""),
        doc: "file that keeps how far was read, so that a restart goes on there",
    },
    EVENT_MAX,
];

const ELEMENT: &str = "kernel@32473";

/// Bytes of one `receive`, a quarter of a batch: then the clock is read again.
const VISIT_BYTES: usize = 256 << 10;
const BUFFER_BYTES: usize = 2 * RECORD_BYTES_MAX;

/// A line that pieces are added to ends here.
const LINE_BYTES_MAX: usize = 32 << 10;
/// A record's dictionary may be all escapes, and a line be begun by one.
const TEXT_BYTES_MAX: usize = write::HEADER_BYTES_MAX + 4 * BUFFER_BYTES + LINE_BYTES_MAX;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum From {
    Now,
    Boot,
}

struct Plan {
    /// Of the times it writes.
    zones: Zones,
    path: PathBuf,
    from: From,
    position: Option<PathBuf>,
    event_bytes_max: usize,
}

impl SourcePlan for Plan {
    fn threads(&self) -> usize {
        1
    }

    fn listeners(&self) -> Vec<String> {
        Vec::new()
    }

    fn memory(&self, name: &str) -> Vec<MemoryLine> {
        let bytes = (BUFFER_BYTES + TEXT_BYTES_MAX) as u64;
        vec![MemoryLine::new(format!("sources.{name}"), "a record", bytes)]
    }

    fn event_bytes_max(&self) -> usize {
        self.event_bytes_max
    }

    fn page_bytes_min(&self) -> usize {
        datagrams::page_bytes_for(TEXT_BYTES_MAX, self.event_bytes_max)
    }

    /// The kernel does not wait, but what it overwrites is counted and no reason to hurry: its
    /// ring holds minutes.
    fn is_patient(&self) -> bool {
        true
    }

    fn zones(&self) -> Option<&Zones> {
        Some(&self.zones)
    }

    fn build(&self, context: &SourceContext) -> Result<Built, BuildError> {
        assert!(self.page_bytes_min() <= context.page_bytes, "the plan sizes the pages");
        let fail = |what: String, remedy: &str| BuildError {
            what: format!("sources.{} {what}", context.name),
            remedy: remedy.to_owned(),
        };
        let cannot_read = |error: std::io::Error| {
            let what = format!("cannot read {}: {error}", self.path.display());
            let remedy = "run as root, or grant CAP_SYSLOG (systemd: \
                          AmbientCapabilities=CAP_SYSLOG and group adm)";
            fail(what, remedy)
        };
        let opened = readable::open(&self.path).map_err(cannot_read)?;
        let (mut position, mut behind) = (None, None);
        if let Some(path) = &self.position {
            let (kept, saved) = Position::open(&OsDisk, path).map_err(|error| {
                let what = format!("cannot keep its position in {}: {error}", path.display());
                fail(what, "name a file of its own, in a folder that may be written")
            })?;
            position = Some(kept);
            behind = saved.as_deref().and_then(|saved| behind_in(saved, &boot_id()));
        }
        if opened.is_device && behind.is_none() && self.from == From::Now {
            opened.skip_to_end().map_err(cannot_read)?;
        }
        let is_device = opened.is_device;
        let input = Input::new(opened.descriptor).map_err(cannot_read)?;
        let rules = Rules {
            zipped: false,
            counted: true,
            event_bytes_max: self.event_bytes_max,
            want_pri: context.want_pri,
        };
        let hostname = rustix::system::uname().nodename().to_bytes().to_vec();
        let desk = Desk { hostname, boot_id: boot_id(), is_device, behind, position };
        let source = Kmsg::new(input, desk, rules, Arc::clone(&context.counters[0]));
        Ok(Built { sources: vec![Box::new(source)], bound: Vec::new() })
    }
}

/// Which start of the kernel this is: sequence numbers begin anew with each.
fn boot_id() -> String {
    let mut id = [0; 64];
    let path = std::path::Path::new("/proc/sys/kernel/random/boot_id");
    let read = OsDisk.open_read(path).and_then(|file| read_full_at(&*file, 0, &mut id));
    String::from_utf8_lossy(&id[..read.unwrap_or(0)]).trim().to_owned()
}

/// The next sequence number of a saved `boot_id number`, if it is of this start.
fn behind_in(saved: &[u8], boot_id: &str) -> Option<u64> {
    let (boot, sequence) = std::str::from_utf8(saved).ok()?.split_once(' ')?;
    let sequence: u64 = sequence.parse().ok()?;
    (boot == boot_id).then(|| sequence.saturating_add(1))
}

/// What is known when reading begins.
struct Desk {
    hostname: Vec<u8>,
    boot_id: String,
    is_device: bool,
    /// The first record that was not read yet, by the saved position.
    behind: Option<u64>,
    position: Option<Position>,
}

struct Kmsg {
    input: Input,
    desk: Desk,
    buffer: Vec<u8>,
    filled: Range<usize>,
    /// The record that is expected next.
    expected: Option<u64>,
    /// A composed line that is in no page yet, and whether more of it may come.
    line: Vec<u8>,
    scratch: Vec<u8>,
    marks: Marks,
    joining: bool,
    sequence: u64,
    rules: Rules,
    counters: Arc<SourceCounters>,
    position_due: Mono,
    place: OriginPlace,
    ended: bool,
    stopping: bool,
}

impl Kmsg {
    fn new(input: Input, desk: Desk, rules: Rules, counters: Arc<SourceCounters>) -> Self {
        Self {
            input,
            expected: desk.behind,
            desk,
            buffer: vec![0; BUFFER_BYTES],
            filled: 0..0,
            line: Vec::with_capacity(TEXT_BYTES_MAX),
            scratch: Vec::with_capacity(BUFFER_BYTES),
            marks: Marks::NONE,
            joining: false,
            sequence: 0,
            rules,
            counters,
            position_due: Mono::MAX,
            place: OriginPlace::default(),
            ended: false,
            stopping: false,
        }
    }

    /// Moves what was read into the page. `boot_micros`: when the kernel's clock stood at zero.
    fn unload(&mut self, page: &mut Page, now: Now, boot_micros: i64) -> Result<(), Full> {
        loop {
            if !self.joining {
                self.append(page, now)?;
            }
            let last = self.desk.is_device || self.ended || self.filled.len() == self.buffer.len();
            let bytes = &self.buffer[self.filled.clone()];
            let Some(extent) = kmsg::extent(bytes, last) else { return Ok(()) };
            let record = kmsg::parse(&bytes[..extent]);
            let more = record.is_some_and(|record| record.piece == Piece::More);
            let room = self.line.len() + extent <= LINE_BYTES_MAX;
            if !(more && self.joining && room) {
                self.append(page, now)?;
            }
            let taken = self.filled.start..self.filled.start + extent;
            self.filled.start = taken.end;
            self.take(taken, boot_micros);
        }
    }

    /// Takes a record over: into a line of its own, or onto the one that is being joined.
    fn take(&mut self, extent: Range<usize>, boot_micros: i64) {
        let bytes = &self.buffer[extent];
        let Some(record) = kmsg::parse(bytes) else {
            // Whatever it is, it is kept.
            let text = bytes.trim_ascii_end();
            self.line.extend_from_slice(text);
            (self.marks, self.joining) = (Marks::UNPARSED, false);
            return;
        };
        if self.desk.behind.is_some_and(|behind| record.sequence < behind) {
            return;
        }
        if let Some(expected) = self.expected
            && record.sequence > expected
        {
            self.counters.lost.add(LostReason::Kernel, record.sequence - expected);
        }
        self.expected = Some(record.sequence.saturating_add(1));
        self.sequence = record.sequence;
        self.joining = record.piece != Piece::Whole;
        if self.line.is_empty() {
            let micros = i64::try_from(record.micros).unwrap_or(i64::MAX);
            let micros = boot_micros.saturating_add(micros);
            // A file may be of another start of the kernel, or of another machine's.
            let micros = self.desk.is_device.then_some(micros);
            let out = (&mut self.line, &mut self.scratch);
            compose(out, &record, micros, &self.desk.hostname);
        }
        kmsg::unescape(record.text, &mut self.line);
    }

    /// The line goes into the page.
    fn append(&mut self, page: &mut Page, now: Now) -> Result<(), Full> {
        if self.line.is_empty() {
            return Ok(());
        }
        let origin = self.place.find(page, Origin::LOCAL, Names::NONE)?;
        let head = EventHead { at: now.wall, origin, pri: None, marks: self.marks };
        datagrams::append(page, &self.line, head, &self.rules)?;
        self.line.clear();
        (self.marks, self.joining) = (Marks::NONE, false);
        if let Some(position) = &mut self.desk.position {
            self.scratch.clear();
            let _ = write!(self.scratch, "{} {}", self.desk.boot_id, self.sequence);
            position.reach(&self.scratch);
            self.position_due = self.position_due.min(now.mono);
        }
        Ok(())
    }

    /// Reads more behind what is there. `Ok(false)`: there is no more for now.
    fn read(&mut self) -> bool {
        self.buffer.copy_within(self.filled.clone(), 0);
        self.filled = 0..self.filled.len();
        loop {
            match self.input.read(&mut self.buffer[self.filled.end..]) {
                Ok(0) => self.ended = true,
                Ok(count) => {
                    self.filled.end += count;
                    return true;
                }
                // Overwritten before it was read: the next read goes on behind the gap, which the
                // next record's number tells.
                Err(error) if error.raw_os_error() == Some(libc::EPIPE) => continue,
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => continue,
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {}
                Err(error) => {
                    tracing::warn!("the kernel's log cannot be read on: {error}");
                    self.counters.errors.add(1);
                    self.ended = true;
                }
            }
            return false;
        }
    }

    fn save(&mut self, now: Now, finished: bool) {
        let Some(position) = &mut self.desk.position else { return };
        let saved = if finished {
            position.finish().map(|()| Mono::MAX)
        } else if now.mono >= self.position_due {
            position.tick(now)
        } else {
            return;
        };
        self.position_due = saved.unwrap_or_else(|error| {
            self.counters.errors.add(1);
            tracing::warn!("the position in the kernel's log cannot be saved: {error}");
            now.mono.after(std::time::Duration::from_secs(60))
        });
    }
}

/// Header and data of a line; its text follows.
fn compose(
    (out, scratch): (&mut Vec<u8>, &mut Vec<u8>),
    record: &Record<'_>,
    micros: Option<i64>,
    hostname: &[u8],
) {
    // What programs write into the device bears their facility; it is the kernel's log all the
    // same.
    let header =
        Header { pri: record.pri, micros, hostname, app_name: b"kernel", ..Header::default() };
    write::header(out, &header);
    let mut element = Element::begin(out, ELEMENT);
    for (name, number) in [("sequence", record.sequence), ("micros", record.micros)] {
        scratch.clear();
        // Writing to memory cannot fail.
        let _ = write!(scratch, "{number}");
        element.param(name.as_bytes(), scratch);
    }
    for (name, escaped) in record.dictionary().filter(|(name, _)| is_name(name)) {
        scratch.clear();
        kmsg::unescape(escaped, scratch);
        element.param(name, scratch);
    }
    element.end();
    out.push(b' ');
}

impl Source for Kmsg {
    fn receive(&mut self, page: &mut Page, now: Now) -> Received {
        let full = Received { full: true, more: true, finished: false };
        if !page.accepts_time(now.wall) {
            return full;
        }
        let uptime = i64::try_from(duration_ns(clock::uptime())).unwrap_or(0);
        let boot_micros = (now.wall.0 - uptime) / 1000;
        let (mut taken, mut drained) = (0, false);
        while !drained {
            if self.unload(page, now, boot_micros).is_err() {
                return full;
            }
            if taken >= VISIT_BYTES {
                break;
            }
            let before = self.filled.len();
            drained = !self.read();
            taken += self.filled.len() - before;
        }
        let finished = drained && (self.ended || self.stopping);
        self.ended |= finished;
        // Whether more of a line will follow is not known: it goes as it is.
        if drained
            && (self.unload(page, now, boot_micros).is_err() || self.append(page, now).is_err())
        {
            return full;
        }
        self.save(now, finished);
        Received { full: false, more: !drained, finished }
    }

    fn wait(&mut self, now: Now, until: Mono, open: bool) {
        let until = if open { until.min(self.position_due) } else { until };
        self.input.wait(now, until, open);
    }

    fn waker(&self) -> Arc<dyn Wake> {
        self.input.waker()
    }

    fn stop(&mut self, _now: Now) {
        self.stopping = true;
    }
}

#[cfg(test)]
mod tests;
