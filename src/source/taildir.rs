//! `taildir`: files that grow, by directory and expression, followed over rotations and restarts.
//!
//! Lines are read as they are written (inotify wakes us; names are looked at once a second in any
//! case). How far each file was read is saved only of what has come through to where it should, so
//! that a kill loses nothing; what was under way then comes again.

mod follower;
mod groups;
mod labels;
mod tail;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use self::follower::Follower;
use self::groups::Group;
use self::labels::Labels;
use super::file_lines::offsets::Offsets;
use super::file_lines::{self, Mark, Shelf};
use super::framing::Rules;
use super::input::Input;
use super::milestones::{self, Milestones};
use super::network::EVENT_MAX;
use super::positions::Positions;
use super::saving::Saving;
use super::{BuildError, Built, Received, Source, SourceContext, SourceKind, SourcePlan};
use crate::config::{OptionDoc, Section};
use crate::event::{HeaderMap, HeaderNames, OriginPlace, Page};
use crate::limits;
use crate::memory::receipt::Reached;
use crate::memory::{MemoryLine, ReceiptSlip};
use crate::ring::Wake;
use crate::storage::{Disk, OsDisk};
use crate::sys::directories;
use crate::telemetry::SourceCounters;
use crate::telemetry::incident::Watch;
use crate::time::{Mono, Now};

pub(super) const KIND: SourceKind = SourceKind {
    name: "taildir",
    aliases: &[],
    summary: "files that grow, followed over rotations and restarts",
    options: OPTIONS,
    plan: |section| Box::new(Plan::read(section)),
};

const OPTIONS: &[OptionDoc] = &[
    groups::FILEGROUPS,
    OptionDoc {
        name: "position_file",
        default: None,
        doc: "keeps how far each file was read; Flume's own is read",
    },
    OptionDoc {
        name: "skip_to_end",
        default: Some("false"),
        doc: "of files without a position, what stands in them at the start is not read",
    },
    OptionDoc {
        name: "idle_timeout",
        default: Some("2m"),
        doc: "after so long without a new line a file is closed until it grows, and what stands \
              behind its last newline is an event",
    },
    OptionDoc {
        name: "write_pos_interval",
        default: Some("3s"),
        doc: "positions are saved so often",
    },
    labels::HEADERS,
    labels::FILE_HEADER,
    labels::FILE_HEADER_KEY,
    labels::BYTE_OFFSET_HEADER,
    milestones::ACK,
    EVENT_MAX,
];

/// Names are looked at so often, whether or not anything was heard.
const LOOK: Duration = Duration::from_secs(1);
/// Where nothing can be heard, files are looked at so often.
const POLL: Duration = Duration::from_millis(250);
/// Writes that follow each other closer are read together.
const NAP: Duration = Duration::from_millis(10);

struct Plan {
    groups: Vec<Group>,
    labels: Labels,
    position_file: PathBuf,
    skip_to_end: bool,
    idle_timeout: Duration,
    write_pos_interval: Duration,
    ack: Option<Reached>,
    event_bytes_max: usize,
}

impl Plan {
    fn read(section: &Section) -> Self {
        let events = limits::EVENT_BYTES_MIN as u64..=limits::EVENT_BYTES_MAX as u64;
        let times = Duration::from_millis(1)..=Duration::from_secs(1 << 32);
        let groups = groups::plan(section);
        let names: Vec<String> = groups.iter().map(|group| group.name.clone()).collect();
        Self {
            groups,
            labels: Labels::plan(section, &names),
            position_file: PathBuf::from(section.text("position_file")),
            skip_to_end: section.flag("skip_to_end"),
            idle_timeout: section.duration_in("idle_timeout", times.clone()),
            write_pos_interval: section.duration_in("write_pos_interval", times),
            ack: milestones::plan(section),
            event_bytes_max: section.size_in("event_max", events) as usize,
        }
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
        let bytes = Offsets::memory_bytes(self.event_bytes_max) as u64;
        let line = || MemoryLine::new(format!("sources.{name}"), "lines and offsets", bytes);
        self.labels.offsets.then(line).into_iter().collect()
    }

    fn event_bytes_max(&self) -> usize {
        self.event_bytes_max
    }

    fn page_bytes_min(&self) -> usize {
        let headers = if self.headers().is_empty() { 0 } else { limits::HEADERS_BYTES_MAX };
        file_lines::page_bytes_min(self.event_bytes_max) + headers
    }

    fn is_patient(&self) -> bool {
        true
    }

    fn headers(&self) -> HeaderNames {
        self.labels.names()
    }

    fn acknowledges(&self) -> Option<Reached> {
        // What is not asked for is what there is, and needs no check.
        Some(self.ack.unwrap_or(Reached::Received))
    }

    fn names_mark(&self) -> bool {
        self.ack.is_some()
    }

    fn build(&self, context: &SourceContext) -> Result<Built, BuildError> {
        assert!(self.page_bytes_min() <= context.page_bytes, "the plan sizes the pages");
        let failed = |what: String, remedy: &str| BuildError {
            what: format!("sources.{} {what}", context.name),
            remedy: remedy.to_owned(),
        };
        let disk: Arc<dyn Disk> = Arc::new(OsDisk);
        let path = &self.position_file;
        let (positions, saved) = Positions::open(&*disk, path).map_err(|error| {
            let what = format!("cannot keep positions in {}: {error}", path.display());
            failed(what, "name a file of its own, in a folder that may be written")
        })?;
        let watcher = directories::watcher().inspect_err(|error| {
            tracing::warn!(
                "source {}: files are looked at four times a second, for nothing can be heard of \
                 them: {error} (sysctl fs.inotify.max_user_instances)",
                context.name
            );
        });
        let watcher = watcher.ok();
        let input = Input::listening(watcher)
            .map_err(|error| failed(error.to_string(), "raise LimitNOFILE"))?;
        let mark = self.ack.unwrap_or(context.furthest);
        let labels = if context.want_headers { self.labels.clone() } else { Labels::default() };
        let offsets = labels.offsets.then(|| Offsets::new(self.event_bytes_max));
        let own = Arc::clone(&context.counters[0]);
        let saving = Saving::new(positions, Arc::clone(&disk), self.write_pos_interval, own);
        let taildir = Taildir {
            follower: Follower::new(
                disk,
                self.groups.clone(),
                labels,
                self.skip_to_end,
                self.idle_timeout,
                saved,
            ),
            milestones: Milestones::new(mark, context.channels, input.waker()),
            input,
            saving,
            place: OriginPlace::default(),
            offsets,
            rules: Rules {
                counted: false,
                event_bytes_max: self.event_bytes_max,
                want_pri: context.want_pri,
                zipped: false,
            },
            counters: Arc::clone(&context.counters[0]),
            watch: context.incidents.watch(&format!("source {}", context.name)),
            look_at: Mono(0),
            visited: Mono(0),
            more: false,
        };
        Ok(Built { sources: vec![Box::new(taildir)], bound: Vec::new() })
    }
}

struct Taildir {
    follower: Follower,
    milestones: Milestones<Mark>,
    /// Readable when something has happened in a directory.
    input: Input,
    saving: Saving,
    /// Of all events whose files have no headers of their own.
    place: OriginPlace,
    offsets: Option<Offsets>,
    rules: Rules,
    counters: Arc<SourceCounters>,
    watch: Watch,
    /// When names are looked at next.
    look_at: Mono,
    visited: Mono,
    more: bool,
}

impl Taildir {
    /// Takes note of what has come and gone.
    fn look(&mut self, now: Now) {
        let heard = self.input.descriptor().is_some_and(directories::hear);
        if !heard && now.mono < self.look_at {
            return;
        }
        self.look_at = now.mono.after(LOOK);
        self.follower.look(now);
        if let Some(watcher) = self.input.descriptor() {
            for group in &self.follower.groups {
                // One that is not there yet is found by looking; one that came back is new.
                let _ = directories::watch(watcher, &group.directory);
            }
        }
    }

    fn tell_troubles(&mut self, now: Now) {
        match self.follower.troubles.first() {
            Some(trouble) => {
                if !self.watch.is_open() {
                    self.counters.errors.add(1);
                }
                self.watch.fault(now, trouble);
            }
            None => self.watch.recovered(now),
        }
    }
}

impl Source for Taildir {
    fn receive(&mut self, page: &mut Page, now: Now) -> Received {
        if let Some(last) = self.saving.wind_up(now, &self.milestones, self.follower.entries()) {
            return last;
        }
        let full = Received { full: true, more: true, finished: false };
        if !page.accepts_time(now.wall) {
            return full;
        }
        self.look(now);
        self.saving.save(now, self.follower.entries());
        (self.visited, self.more) = (now.mono, false);
        if !self.milestones.ready() {
            return Received::default();
        }
        let (place, rules, milestones) = (&mut self.place, &self.rules, &mut self.milestones);
        let labels = &HeaderMap::NONE;
        let offsets = self.offsets.as_mut();
        let mut shelf = Shelf { page, place, labels, rules, at: now.wall, offsets };
        let mut note = |key, mark| milestones.note(key, mark);
        let mut round = self.follower.read(&mut shelf, now, &mut note);
        if !round.full && !self.follower.sweep(&mut shelf, now, &mut note) {
            round.full = true;
        }
        if round.look {
            self.look_at = Mono(0);
        }
        self.tell_troubles(now);
        self.more = round.more;
        Received { full: round.full, more: round.more, finished: false }
    }

    fn wait(&mut self, now: Now, until: Mono, open: bool) {
        if open && self.more {
            return;
        }
        let hears = self.input.descriptor().is_some();
        let until = match open {
            false => until,
            true if self.saving.is_stopping() => until.min(self.saving.due(now)),
            true if hears => until.min(self.look_at).min(self.saving.due(now)),
            true => until.min(now.mono.after(POLL)),
        };
        self.milestones.doze();
        if !self.milestones.has_settled() {
            // What is written meanwhile is read together.
            let gather = until.min(self.visited.after(NAP));
            let rung = open && self.input.wait_beside(None, now, gather, false);
            if !rung {
                self.input.wait(now, until, open);
            }
        }
        self.milestones.rise();
    }

    fn waker(&self) -> Arc<dyn Wake> {
        self.input.waker()
    }

    fn stop(&mut self, now: Now) {
        self.saving.stop(now);
    }

    fn settle(&mut self, now: Now) {
        let follower = &mut self.follower;
        self.milestones.settle(|key, mark, outcome| follower.settle(key, mark, outcome, now));
    }

    fn wanted(&self) -> Option<Reached> {
        self.milestones.fresh().filter(|_| self.saving.is_stopping())
    }

    fn slip(&mut self) -> Option<ReceiptSlip> {
        self.milestones.slip()
    }
}

impl Drop for Taildir {
    fn drop(&mut self) {
        self.saving.save_last(self.follower.entries());
    }
}

#[cfg(test)]
mod tests;
