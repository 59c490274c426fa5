//! `spooldir`: files that are put into a folder whole, each read once and then put away.
//!
//! A file is put away (renamed, deleted, or noted) when its last line has come through to where it
//! should. How far files were read is kept in the tracker's folder, so that a kill in the middle
//! of one goes on there.

mod away;
mod datums;
mod folder;
mod reader;
mod reading;

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use regex::Regex;

use self::away::Policy;
use self::datums::SchemaHeader;
use self::folder::{Folder, Order, with};
use self::reader::{Reader, Settings, Visit};
use self::reading::{Deserializer, Names};
use super::file_lines::{self, Mark};
use super::framing::Rules;
use super::header_name::flagged;
use super::input::Input;
use super::milestones::{self, Milestones};
use super::positions::Positions;
use super::saving::Saving;
use super::{BuildError, Built, Received, Source, SourceContext, SourceKind, SourcePlan};
use crate::codec::avro::CONTEXT_BYTES_MAX;
use crate::config::{OptionDoc, Section};
use crate::event::{HeaderNames, Page};
use crate::limits;
use crate::memory::receipt::Reached;
use crate::memory::{MemoryLine, ReceiptSlip};
use crate::ring::Wake;
use crate::storage::{Disk, OsDisk};
use crate::time::{Mono, Now};

pub(super) const KIND: SourceKind = SourceKind {
    name: "spooldir",
    aliases: &[],
    summary: "files put into a folder, each read once and put away",
    options: OPTIONS,
    plan: |section| Box::new(Plan::read(section)),
};

const OPTIONS: &[OptionDoc] = &[
    OptionDoc { name: "spool_dir", default: None, doc: "the folder" },
    OptionDoc {
        name: "file_suffix",
        default: Some(".COMPLETED"),
        doc: "behind the name of a file that was read",
    },
    OptionDoc {
        name: "delete_policy",
        default: Some("never"),
        doc: "what becomes of a file that was read: never (it is renamed or noted) or immediate",
    },
    OptionDoc {
        name: "tracking_policy",
        default: Some("rename"),
        doc: "files that were read are renamed (rename), or keep their names and have a note in \
              tracker_dir (tracker_dir)",
    },
    OptionDoc {
        name: "tracker_dir",
        default: Some(".flumespool"),
        doc: "what was read is kept there; a path below spool_dir, or from the root",
    },
    OptionDoc {
        name: "include_pattern",
        default: Some("^.*$"),
        doc: "expression for the names of files that are read",
    },
    OptionDoc {
        name: "ignore_pattern",
        default: Some("^$"),
        doc: "expression for the names of files that are not, whatever the other says",
    },
    OptionDoc {
        name: "consume_order",
        default: Some("oldest"),
        doc: "which file is next: oldest, youngest or random",
    },
    OptionDoc {
        name: "recursive_directory_search",
        default: Some("false"),
        doc: "folders in the folder are searched too",
    },
    OptionDoc {
        name: "poll_delay",
        default: Some("500ms"),
        doc: "new files are looked for so often",
    },
    OptionDoc {
        name: "write_pos_interval",
        default: Some("1s"),
        doc: "how far files were read is saved so often",
    },
    OptionDoc {
        name: "deserializer",
        default: Some("line"),
        doc: "what an event is: a line, a whole file (blob), or a datum of a container file (avro)",
    },
    OptionDoc {
        name: "max_line_length",
        default: Some("2048"),
        doc: "bytes of a line; what is over it comes as further events",
    },
    OptionDoc { name: "max_blob_length", default: Some("256KiB"), doc: "the same of a blob" },
    OptionDoc {
        name: "schema_type",
        default: Some("hash"),
        doc: "what data of Avro's say of their schema: its fingerprint, as the header \
              flume.avro.schema.hash, or all of it (literal), as flume.avro.schema.literal",
    },
    OptionDoc {
        name: "max_block_length",
        default: Some("4MiB"),
        doc: "bytes of a block of Avro's, as it is stored and unpacked; both are held in memory",
    },
    OptionDoc {
        name: "file_header",
        default: Some("false"),
        doc: "events have the path of their file as a header",
    },
    OptionDoc { name: "file_header_key", default: Some("file"), doc: "its name" },
    OptionDoc {
        name: "basename_header",
        default: Some("false"),
        doc: "events have the name of their file as a header",
    },
    OptionDoc { name: "basename_header_key", default: Some("basename"), doc: "its name" },
    milestones::ACK,
];

struct Plan {
    settings: Settings,
    poll_delay: Duration,
    write_pos_interval: Duration,
    ack: Option<Reached>,
    event_bytes_max: usize,
}

impl Plan {
    fn read(section: &Section) -> Self {
        let events = limits::EVENT_BYTES_MIN as u64..=limits::EVENT_BYTES_MAX as u64;
        let times = Duration::from_millis(1)..=Duration::from_secs(1 << 32);
        let root = PathBuf::from(section.text("spool_dir"));
        if section.explicit("spool_dir") && !root.is_absolute() {
            let what = format!("\"{}\" does not begin at the root", root.display());
            section.fail("spool_dir", what, "write the whole path, such as \"/var/spool/flumen\"");
        }
        let suffix = section.text("file_suffix");
        if suffix.is_empty() || suffix.contains('/') {
            let what = format!("\"{suffix}\" does not tell what was read from what was not");
            section.fail("file_suffix", what, "write \".COMPLETED\"");
        }
        let kinds = [
            ("line", Deserializer::Line),
            ("blob", Deserializer::Blob),
            ("avro", Deserializer::Avro),
        ];
        let deserializer = section.choice("deserializer", &kinds);
        let line = section.size_in("max_line_length", events.clone()) as usize;
        let blob = section.size_in("max_blob_length", events) as usize;
        let orders =
            [("oldest", Order::Oldest), ("youngest", Order::Youngest), ("random", Order::Random)];
        let order = section.choice("consume_order", &orders);
        let folder = Folder {
            recursive: section.flag("recursive_directory_search"),
            include: pattern(section, "include_pattern"),
            ignore: pattern(section, "ignore_pattern"),
            suffix,
            tracker: root.join(section.text("tracker_dir")),
            order,
            root,
        };
        let schema = schema(section, deserializer);
        let names = Names {
            path: flagged(section, "file_header", "file_header_key"),
            basename: flagged(section, "basename_header", "basename_header_key"),
            schema,
        };
        let blocks = limits::AVRO_BLOCK_BYTES_MIN..=limits::AVRO_BLOCK_BYTES_MAX;
        let block_bytes_max = section.size_in("max_block_length", blocks) as usize;
        let policy = policy(section);
        Self {
            settings: Settings { folder, policy, deserializer, names, block_bytes_max },
            poll_delay: section.duration_in("poll_delay", times.clone()),
            write_pos_interval: section.duration_in("write_pos_interval", times),
            ack: milestones::plan(section),
            event_bytes_max: match deserializer {
                Deserializer::Line => line,
                Deserializer::Blob => blob,
                Deserializer::Avro => limits::EVENT_BYTES_MAX,
            },
        }
    }
}

/// Which header of the schema events have, if they are data of one.
fn schema(section: &Section, deserializer: Deserializer) -> Option<SchemaHeader> {
    let kinds = [("hash", SchemaHeader::Hash), ("literal", SchemaHeader::Literal)];
    let header = section.choice("schema_type", &kinds);
    if deserializer == Deserializer::Avro {
        return Some(header);
    }
    for key in ["schema_type", "max_block_length"].into_iter().filter(|key| section.explicit(key)) {
        let what = format!("`{key}` is about container files of Avro's, and they are not read");
        section.fail(key, what, "write deserializer = \"avro\", or leave it out");
    }
    None
}

fn policy(section: &Section) -> Policy {
    let track = section.choice("tracking_policy", &[("rename", false), ("tracker_dir", true)]);
    let delete = section.choice("delete_policy", &[("never", false), ("immediate", true)]);
    if delete && track {
        let what = "a file that is deleted at once needs no note";
        section.fail("tracking_policy", what, "leave out one of both");
    }
    match (delete, track) {
        (true, _) => Policy::Delete,
        (false, true) => Policy::Note,
        (false, false) => Policy::Rename,
    }
}

/// An expression for whole names, as Java's `matches`.
fn pattern(section: &Section, key: &'static str) -> Regex {
    let text = section.text(key);
    Regex::new(&format!("^(?:{text})$")).unwrap_or_else(|error| {
        let why = error.to_string();
        let why = why.lines().last().unwrap_or_default().trim_start_matches("error: ");
        let what = format!("\"{text}\" is no expression for file names: {why}");
        section.fail(key, what, "`.*` stands for any text: write '^.*\\.log$'");
        Regex::new("^$").expect("an expression")
    })
}

impl SourcePlan for Plan {
    fn threads(&self) -> usize {
        1
    }

    fn listeners(&self) -> Vec<String> {
        Vec::new()
    }

    fn memory(&self, name: &str) -> Vec<MemoryLine> {
        // A block as it is stored, unpacked, and what unpacks it.
        let bytes = 2 * self.settings.block_bytes_max + CONTEXT_BYTES_MAX;
        let line = || MemoryLine::new(format!("sources.{name}"), "a block of Avro's", bytes as u64);
        (self.settings.deserializer == Deserializer::Avro).then(line).into_iter().collect()
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
        let Names { path, basename, schema } = &self.settings.names;
        let files = [path.as_str(), basename].into_iter().filter(|name| !name.is_empty());
        HeaderNames::of(files.chain(schema.map(SchemaHeader::name)))
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
        let mut settings = self.settings.clone();
        let folder = &settings.folder;
        may_read(&*disk, folder, settings.policy).map_err(|error| {
            let what = format!("cannot use {}: {error}", folder.root.display());
            failed(what, "name a folder that is there, and may be read and written")
        })?;
        let path = folder.tracker.join("flumen_position.json");
        let (positions, formers) = Positions::open(&*disk, &path).map_err(|error| {
            let what = format!("cannot keep what was read in {}: {error}", path.display());
            failed(what, "let it write to spool_dir, or name another `tracker_dir`")
        })?;
        let input = Input::listening(None)
            .map_err(|error| failed(error.to_string(), "raise LimitNOFILE"))?;
        let mark = self.ack.unwrap_or(context.furthest);
        let rules = Rules {
            counted: false,
            event_bytes_max: self.event_bytes_max,
            want_pri: context.want_pri,
            zipped: false,
        };
        if !context.want_headers {
            settings.names = Names::default();
        }
        let watch = context.incidents.watch(&format!("source {}", context.name));
        let counters = Arc::clone(&context.counters[0]);
        let disk_of_reader = Arc::clone(&disk);
        let own = Arc::clone(&context.counters[0]);
        let saving = Saving::new(positions, disk, self.write_pos_interval, own);
        let spooldir = Spooldir {
            reader: Reader::new(disk_of_reader, settings, rules, watch, counters, formers),
            milestones: Milestones::new(mark, context.channels, input.waker()),
            input,
            saving,
            poll_delay: self.poll_delay,
            look_at: Mono(0),
            more: false,
        };
        Ok(Built { sources: vec![Box::new(spooldir)], bound: Vec::new() })
    }
}

/// Whether files can be read there, and put away.
fn may_read(disk: &dyn Disk, folder: &Folder, policy: Policy) -> io::Result<()> {
    disk.list(&folder.root)?;
    if policy != Policy::Note {
        let probe = with(&folder.root.join(".flumen"), "", ".probe");
        // Another one of us may be starting at the same moment, or was killed here.
        match disk.create_new(&probe) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            outcome => drop(outcome?),
        }
        match disk.remove(&probe) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    Ok(())
}

struct Spooldir {
    reader: Reader,
    milestones: Milestones<Mark>,
    /// Only its bell.
    input: Input,
    saving: Saving,
    poll_delay: Duration,
    /// When new files are looked for.
    look_at: Mono,
    more: bool,
}

impl Source for Spooldir {
    fn receive(&mut self, page: &mut Page, now: Now) -> Received {
        if let Some(last) = self.saving.wind_up(now, &self.milestones, self.reader.entries()) {
            return last;
        }
        let full = Received { full: true, more: true, finished: false };
        if !page.accepts_time(now.wall) {
            return full;
        }
        if now.mono >= self.look_at {
            self.look_at = now.mono.after(self.poll_delay);
            self.reader.look(now);
        }
        self.saving.save(now, self.reader.entries());
        self.more = false;
        if !self.milestones.ready() {
            return Received::default();
        }
        let milestones = &mut self.milestones;
        let visit = self.reader.visit(page, now, |key, mark| milestones.note(key, mark));
        self.more = visit != Visit::Nothing;
        Received { full: visit == Visit::Full, more: self.more, finished: false }
    }

    fn wait(&mut self, now: Now, until: Mono, open: bool) {
        if open && self.more {
            return;
        }
        let until = match open {
            false => until,
            true if self.saving.is_stopping() => until.min(self.saving.due(now)),
            true => until.min(self.look_at).min(self.saving.due(now)),
        };
        self.milestones.doze();
        if !self.milestones.has_settled() {
            self.input.wait(now, until, open);
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
        let reader = &mut self.reader;
        self.milestones.settle(|key, mark, outcome| reader.settle(key, mark, outcome));
        reader.put_away(now);
    }

    fn wanted(&self) -> Option<Reached> {
        // The last lines of the last file: when they are through it is put away.
        self.milestones.fresh().filter(|_| !self.more)
    }

    fn slip(&mut self) -> Option<ReceiptSlip> {
        self.milestones.slip()
    }
}

impl Drop for Spooldir {
    fn drop(&mut self) {
        self.saving.save_last(self.reader.entries());
    }
}

#[cfg(test)]
mod tests;
