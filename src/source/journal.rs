//! `journal`: what systemd's journal holds and gets, read from `journalctl -o export -f`, or from a
//! file or pipe in that format. Each entry is an RFC 5424 message.
//!
//! journalctl is the one stable face of the journal's files, and costs us no library. If it ends it
//! is started again behind the last entry. The position is kept in a file, if one is named.

mod entry;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use super::child::{self, Child};
use super::datagrams;
use super::framing::Rules;
use super::input::Input;
use super::network::EVENT_MAX;
use super::position::Position;
use super::zones::Zones;
use super::{BuildError, Built, Received, Source, SourceContext, SourceKind, SourcePlan};
use crate::config::{OptionDoc, Section};
use crate::event::{EventHead, Full, Marks, Names, Origin, OriginPlace, Page};
use crate::limits;
use crate::memory::MemoryLine;
use crate::ring::Wake;
use crate::storage::OsDisk;
use crate::sys::readable;
use crate::syslog::write::is_name;
use crate::telemetry::SourceCounters;
use crate::telemetry::incident::Watch;
use crate::time::{Mono, Now};

use self::entry::Entries;

pub(super) const KIND: SourceKind = SourceKind {
    name: "journal",
    aliases: &["journald"],
    summary: "systemd's journal, by journalctl; each entry as an RFC 5424 message",
    options: OPTIONS,
    plan: |section| Box::new(Plan::read(section)),
};

const OPTIONS: &[OptionDoc] = &[
    OptionDoc {
        name: "path",
        default: Some(""),
        doc: "a file or pipe in the export format instead of journalctl; its end is the end",
    },
    OptionDoc { name: "command", default: Some("journalctl"), doc: "the program that is run" },
    OptionDoc {
        name: "arguments",
        default: Some(""),
        doc: "more arguments for it, such as \"_TRANSPORT=kernel\" or \"--merge\"",
    },
    OptionDoc {
        name: "from",
        default: Some("now"),
        doc: "where to begin without a position: now, boot (the present one), all",
    },
    OptionDoc {
        name: "position",
        default: Some(""),
        doc: "file that keeps how far was read, so that a restart goes on there",
    },
    OptionDoc {
        name: "fields",
        default: Some("_SYSTEMD_UNIT, _UID"),
        doc: "journal fields to keep as structured data",
    },
    EVENT_MAX,
];

/// Bytes of one `receive`, a quarter of a batch: then the clock is read again.
const VISIT_BYTES: usize = 256 << 10;
/// One read.
const READ_BYTES: usize = 64 << 10;

/// journalctl is started again after so long; twice as long each time it brings nothing.
const RETRY_MIN: Duration = Duration::from_secs(1);
const RETRY_MAX: Duration = Duration::from_secs(60);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum From {
    Now,
    Boot,
    All,
}

struct Plan {
    /// Of the times it writes.
    zones: Zones,
    path: Option<PathBuf>,
    program: Program,
    position: Option<PathBuf>,
    fields: Vec<String>,
    event_bytes_max: usize,
}

#[derive(Clone)]
struct Program {
    name: String,
    arguments: Vec<String>,
    from: From,
}

impl Plan {
    fn read(section: &Section) -> Self {
        let events = limits::EVENT_BYTES_MIN as u64..=limits::EVENT_BYTES_MAX as u64;
        let mut fields = Vec::new();
        for field in section.texts("fields") {
            if is_name(field.as_bytes()) && fields.len() < entry::FIELDS_MAX {
                fields.push(field.value);
                continue;
            }
            let what = format!("`fields`: \"{}\" cannot be kept", field.value);
            let remedy = "name at most 32 fields, each with at most 32 letters, digits and `_`, \
                          such as \"_SYSTEMD_UNIT\"";
            section.fail_at(&field.span, what, remedy);
        }
        let path = section.optional_text("path").map(PathBuf::from);
        let program = Program {
            name: section.text("command"),
            arguments: section.texts("arguments").into_iter().map(|text| text.value).collect(),
            from: section
                .choice("from", &[("now", From::Now), ("boot", From::Boot), ("all", From::All)]),
        };
        let position = section.optional_text("position").map(PathBuf::from);
        if path.is_some() {
            for key in ["command", "arguments", "from", "position"] {
                if section.explicit(key) {
                    let what = format!("`{key}` is for journalctl, and `path` reads a file");
                    section.fail(key, what, "leave one of them out");
                }
            }
        }
        let event_bytes_max = section.size_in("event_max", events) as usize;
        let zones = Zones::utc();
        Self { zones, path, program, position, fields, event_bytes_max }
    }
}

impl Program {
    /// Starts it behind `cursor`, or where the configuration says.
    fn start(&self, cursor: Option<&[u8]>) -> std::io::Result<(Child, std::os::fd::OwnedFd)> {
        let mut arguments: Vec<String> = ["--output=export", "--follow", "--quiet"]
            .map(str::to_owned)
            .into_iter()
            .chain(self.arguments.iter().cloned())
            .collect();
        let begin: &[&str] = match (cursor, self.from) {
            (Some(_), _) | (None, From::All) => &["--lines=all"],
            (None, From::Now) => &["--lines=0"],
            (None, From::Boot) => &["--boot", "--lines=all"],
        };
        arguments.extend(begin.iter().map(|&text| text.to_owned()));
        if let Some(cursor) = cursor {
            arguments.push(format!("--after-cursor={}", String::from_utf8_lossy(cursor)));
        }
        child::start(&self.name, &arguments)
    }
}

impl SourcePlan for Plan {
    fn threads(&self) -> usize {
        1
    }

    fn listeners(&self) -> Vec<String> {
        Vec::new()
    }

    fn memory(&self, name: &str) -> Vec<MemoryLine> {
        let bytes = READ_BYTES + entry::ENTRY_BYTES_MAX + entry::EVENT_BYTES_MAX;
        vec![MemoryLine::new(format!("sources.{name}"), "an entry", bytes as u64)]
    }

    fn event_bytes_max(&self) -> usize {
        self.event_bytes_max
    }

    fn page_bytes_min(&self) -> usize {
        datagrams::page_bytes_for(entry::EVENT_BYTES_MAX, self.event_bytes_max)
    }

    fn is_patient(&self) -> bool {
        true
    }

    fn zones(&self) -> Option<&Zones> {
        Some(&self.zones)
    }

    fn build(&self, context: &SourceContext) -> Result<Built, BuildError> {
        assert!(self.page_bytes_min() <= context.page_bytes, "the plan sizes the pages");
        let name = &context.name;
        let fail = |what: String, remedy: &str| BuildError {
            what: format!("sources.{name} {what}"),
            remedy: remedy.to_owned(),
        };
        let (mut position, mut cursor) = (None, None);
        if let Some(path) = &self.position {
            let (opened, saved) = Position::open(&OsDisk, path).map_err(|error| {
                let what = format!("cannot keep its position in {}: {error}", path.display());
                fail(what, "name a file of its own, in a folder that may be written")
            })?;
            (position, cursor) = (Some(opened), saved);
        }
        let (child, output) = match &self.path {
            Some(path) => (
                None,
                self.open(path).map_err(|error| {
                    let what = format!("cannot read {}: {error}", path.display());
                    fail(what, "name a file or pipe in the format of `journalctl -o export`")
                })?,
            ),
            None => {
                let started = self.program.start(cursor.as_deref()).map_err(|error| {
                    let what = format!("cannot run {}: {error}", self.program.name);
                    fail(what, "install systemd's journalctl, or name it with `command`")
                })?;
                (Some(started.0), started.1)
            }
        };
        let input =
            Input::new(output).map_err(|error| fail(error.to_string(), "raise LimitNOFILE"))?;
        let rules = Rules {
            zipped: false,
            counted: true,
            event_bytes_max: self.event_bytes_max,
            want_pri: context.want_pri,
        };
        let watch = context.incidents.watch(&format!("source {name}"));
        let journal = Journal {
            program: self.path.is_none().then(|| self.program.clone()),
            child,
            input,
            buffer: vec![0; READ_BYTES],
            filled: 0..0,
            entries: Entries::new(&self.fields),
            text: Vec::with_capacity(entry::EVENT_BYTES_MAX),
            cursor: cursor.unwrap_or_default(),
            position,
            position_due: Mono::MAX,
            place: OriginPlace::default(),
            rules,
            counters: Arc::clone(&context.counters[0]),
            watch,
            retry: Mono::MAX,
            retry_after: RETRY_MIN,
            allowance: None,
            finished: false,
        };
        Ok(Built { sources: vec![Box::new(journal)], bound: Vec::new() })
    }
}

impl Plan {
    fn open(&self, path: &Path) -> std::io::Result<std::os::fd::OwnedFd> {
        Ok(readable::open(path)?.descriptor)
    }
}

struct Journal {
    /// None: a file is read.
    program: Option<Program>,
    child: Option<Child>,
    input: Input,
    buffer: Vec<u8>,
    /// What of the buffer is still to be taken.
    filled: std::ops::Range<usize>,
    entries: Entries,
    text: Vec<u8>,
    /// Of the last entry that is in a page.
    cursor: Vec<u8>,
    position: Option<Position>,
    position_due: Mono,
    /// Our origin in the page of this serial.
    place: OriginPlace,
    rules: Rules,
    counters: Arc<SourceCounters>,
    watch: Watch,
    /// When journalctl is started again.
    retry: Mono,
    retry_after: Duration,
    /// After `stop`: bytes that had come by then.
    allowance: Option<usize>,
    finished: bool,
}

impl Journal {
    /// Moves what was read into the page, entry by entry.
    fn unload(&mut self, page: &mut Page, now: Now) -> Result<(), Full> {
        loop {
            if self.entries.reader.is_complete() {
                self.append(page, now)?;
            }
            if self.filled.is_empty() {
                return Ok(());
            }
            self.filled.start += self.entries.reader.feed(&self.buffer[self.filled.clone()]);
        }
    }

    fn append(&mut self, page: &mut Page, now: Now) -> Result<(), Full> {
        let origin = self.place.find(page, Origin::LOCAL, Names::NONE)?;
        self.text.clear();
        self.entries.compose(&mut self.text);
        let reader = &self.entries.reader;
        let mut marks = if reader.is_cut() { Marks::TRUNCATED } else { Marks::NONE };
        if reader.is_broken() {
            marks = marks.with(Marks::UNPARSED);
        }
        let head = EventHead { at: now.wall, origin, pri: None, marks };
        datagrams::append(page, &self.text, head, &self.rules)?;
        if let Some(cursor) = self.entries.cursor() {
            self.cursor.clear();
            self.cursor.extend_from_slice(cursor);
            if let Some(position) = &mut self.position {
                position.reach(cursor);
                self.position_due = self.position_due.min(now.mono);
            }
        }
        self.entries.reader.clear();
        self.retry_after = RETRY_MIN;
        self.watch.recovered(now);
        Ok(())
    }

    /// The output has ended: a file's end is ours, journalctl is started again.
    fn end(&mut self, now: Now, error: Option<std::io::Error>) {
        self.input.replace(None);
        if let Some(error) = &error {
            tracing::warn!("the journal cannot be read on: {error}");
            self.counters.errors.add(1);
        }
        match &mut self.child {
            None => self.finish(),
            Some(child) => {
                let (how, _) = child.end();
                self.child = None;
                if self.allowance.is_none() {
                    self.fail(now, &how);
                }
            }
        }
    }

    /// Nothing more will be read. What journalctl had begun comes again next time, whole.
    fn finish(&mut self) {
        if self.program.is_none() {
            self.entries.reader.finish();
        }
        self.finished = true;
    }

    fn fail(&mut self, now: Now, how: &str) {
        let name = self.program.as_ref().map_or("", |program| &program.name);
        self.watch.fault(now, &format!("{name}: {how}; it is started again"));
        self.counters.errors.add(1);
        self.retry = now.mono.after(self.retry_after);
        self.retry_after = (self.retry_after * 2).min(RETRY_MAX);
    }

    fn restart(&mut self, now: Now) {
        self.retry = Mono::MAX;
        let Some(program) = &self.program else { return };
        let cursor = (!self.cursor.is_empty()).then_some(&self.cursor[..]);
        // An entry that was begun comes again, whole.
        self.entries.reader.clear();
        self.filled = 0..0;
        match program.start(cursor) {
            Ok((child, output)) => {
                self.child = Some(child);
                self.input.replace(Some(output));
            }
            Err(error) => self.fail(now, &error.to_string()),
        }
    }

    fn save(&mut self, now: Now) {
        let Some(position) = &mut self.position else { return };
        let saved = if self.finished {
            position.finish().map(|()| Mono::MAX)
        } else if now.mono >= self.position_due {
            position.tick(now)
        } else {
            return;
        };
        self.position_due = saved.unwrap_or_else(|error| {
            self.counters.errors.add(1);
            tracing::warn!("the journal's position cannot be saved: {error}");
            now.mono.after(RETRY_MAX)
        });
    }

    fn read(&mut self) -> std::io::Result<usize> {
        let longest = self.buffer.len().min(self.allowance.unwrap_or(usize::MAX));
        if longest == 0 {
            return Err(std::io::ErrorKind::WouldBlock.into());
        }
        let count = self.input.read(&mut self.buffer[..longest])?;
        self.allowance = self.allowance.map(|allowance| allowance - count);
        self.filled = 0..count;
        Ok(count)
    }
}

impl Source for Journal {
    fn receive(&mut self, page: &mut Page, now: Now) -> Received {
        let full = Received { full: true, more: true, finished: false };
        if !page.accepts_time(now.wall) {
            return full;
        }
        if now.mono >= self.retry && self.allowance.is_none() {
            self.restart(now);
        }
        let mut taken = 0;
        let more = loop {
            if self.unload(page, now).is_err() {
                return full;
            }
            if self.finished || taken >= VISIT_BYTES {
                break !self.finished;
            }
            match self.read() {
                Ok(0) => self.end(now, None),
                Ok(count) => taken += count,
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {
                    if self.allowance.is_none() {
                        break false;
                    }
                    self.finish();
                }
                Err(error) => self.end(now, Some(error)),
            }
        };
        if let Some(child) = &mut self.child {
            child.listen();
        }
        self.save(now);
        Received { full: false, more, finished: self.finished }
    }

    fn wait(&mut self, now: Now, until: Mono, open: bool) {
        let until = if open { until.min(self.retry).min(self.position_due) } else { until };
        self.input.wait(now, until, open);
    }

    fn waker(&self) -> Arc<dyn Wake> {
        self.input.waker()
    }

    fn stop(&mut self, _now: Now) {
        // What stands in the pipe has been sent. Of a file, nobody waits for the rest.
        let there = self.input.waiting_bytes().min(limits::PIPE_BYTES_MAX);
        self.allowance.get_or_insert_with(|| usize::try_from(there).unwrap_or(0));
    }
}

#[cfg(test)]
mod tests;
