//! The options of `file` and `spill`, and what they must be.

use std::path::PathBuf;
use std::time::Duration;

use super::record::{Cipher, Codec};
use crate::channel::WhenFull;
use crate::channel::registry::{WHEN_FULL, when_full_durable};
use crate::config::{OptionDoc, Section};

pub const OPTIONS: &[OptionDoc] = &[
    OptionDoc {
        name: "path",
        default: Some(""),
        doc: "the log's directory, or several on different disks, which take turns",
    },
    OptionDoc { name: "capacity", default: Some("10GiB"), doc: "bytes that the log may take" },
    OptionDoc {
        name: "capacity_events",
        default: Some(""),
        doc: "how many events may wait, but for those on their way at a stop; unbounded by default",
    },
    OptionDoc {
        name: "memory",
        default: Some(""),
        doc: "memory for its batches; an equal share of agent.memory by default",
    },
    OptionDoc {
        name: "sync",
        default: Some("10ms"),
        doc: "fdatasync at least so often, or \"batch\": each batch, as many together as come",
    },
    OptionDoc {
        name: "segment",
        default: Some("64MiB"),
        doc: "bytes of one file of the log, set apart when it is made",
    },
    OptionDoc {
        name: "reserve",
        default: Some("256MiB"),
        doc: "bytes that stay free on the disk: with less, senders wait and delivery goes on",
    },
    OptionDoc {
        name: "codec",
        default: Some("none"),
        doc: "none, or lz4: less to write, for about 0.2 µs an event",
    },
    OptionDoc {
        name: "encryption",
        default: Some(""),
        doc: "a table: the file with the `keys`, and the `cipher`; without it nothing is encrypted",
    },
    WHEN_FULL,
];

const ENCRYPTION: &[OptionDoc] = &[
    OptionDoc {
        name: "keys",
        default: Some(""),
        doc: "a file with a key a line: its number, and 64 hexadecimal digits; the last one is \
              written with",
    },
    OptionDoc {
        name: "cipher",
        default: Some("aes-256-gcm"),
        doc: "aes-256-gcm, or chacha20-poly1305 where the processor has no AES",
    },
];

/// A segment holds at least a few of the largest batches.
const SEGMENT_BYTES_MIN: u64 = 2 << 20;
const SEGMENT_BYTES_MAX: u64 = 4 << 30;
const SYNC_MAX: Duration = Duration::from_secs(60);
/// Segments that fit the capacity, at least: one that is written, and others to be delivered.
const SEGMENTS_MIN: u64 = 3;
/// What they say, valid once built.
pub(super) struct Options {
    /// Memory first: only what does not fit there goes to the log.
    pub(super) spill: bool,
    pub(super) when_full: WhenFull,
    pub(super) paths: Vec<PathBuf>,
    pub(super) capacity_bytes: u64,
    pub(super) capacity_events: u64,
    pub(super) memory_bytes: Option<u64>,
    pub(super) sync: Option<Duration>,
    pub(super) segment_bytes: u64,
    pub(super) reserve_bytes: u64,
    pub(super) codec: Codec,
    pub(super) encryption: Option<(PathBuf, Cipher)>,
}

impl Options {
    /// Reads the section; what is wrong goes to its diagnostics.
    pub(super) fn read(section: &Section, spill: bool) -> Self {
        let paths: Vec<PathBuf> =
            section.texts("path").iter().map(|text| PathBuf::from(&text.value)).collect();
        if paths.is_empty() && section.usable("path") {
            let what = format!("{} has no `path`: a log needs a directory", section.title());
            section.fail_here(what, "write `path = \"/var/lib/flumen/main\"`");
        }
        for (index, path) in section.texts("path").iter().enumerate() {
            if path.is_empty() {
                section.fail_at(&path.span, "an empty path is no directory", "name a directory");
            }
            let nested =
                |other: &PathBuf| other.starts_with(&**path) || paths[index].starts_with(other);
            if paths[..index].iter().any(nested) {
                let what = "one directory of a log lies in another";
                section.fail_at(&path.span, what, "name directories side by side");
            }
        }
        let capacity_bytes = section.size("capacity");
        let segment_bytes = section.size_in("segment", SEGMENT_BYTES_MIN..=SEGMENT_BYTES_MAX);
        let least = SEGMENTS_MIN * segment_bytes;
        if capacity_bytes < least && section.usable("capacity") && section.usable("segment") {
            let what = format!("`capacity` holds less than {SEGMENTS_MIN} segments");
            let remedy = format!(
                "at least {}, or a smaller `segment`",
                crate::config::units::show_size(least)
            );
            section.fail("capacity", what, remedy);
        }
        let events = section.optional_integer("capacity_events", 1..=i64::MAX);
        Self {
            spill,
            when_full: when_full_durable(section),
            paths,
            capacity_bytes,
            capacity_events: events.map_or(u64::MAX, i64::unsigned_abs),
            memory_bytes: section.optional_size("memory"),
            sync: sync(section),
            segment_bytes,
            reserve_bytes: section.size("reserve"),
            codec: section.choice("codec", &[("none", Codec::None), ("lz4", Codec::Lz4)]),
            encryption: encryption(section),
        }
    }
}

/// The key file, and the cipher.
fn encryption(section: &Section) -> Option<(PathBuf, Cipher)> {
    if !section.explicit("encryption") {
        return None;
    }
    let table = section.subsection("encryption", ENCRYPTION);
    let ciphers =
        [("aes-256-gcm", Cipher::Aes256Gcm), ("chacha20-poly1305", Cipher::ChaCha20Poly1305)];
    let cipher = table.choice("cipher", &ciphers);
    let keys = table.optional_text("keys").filter(|keys| !keys.is_empty());
    if keys.is_none() && table.usable("keys") {
        let what = format!("`keys` is missing in {}", table.title());
        table.fail_here(what, "write where the key file is: `keys = \"/etc/flumen/keys\"`");
    }
    table.finish();
    Some((PathBuf::from(keys?), cipher))
}

/// How long a batch may wait for its sync; none: it does not.
fn sync(section: &Section) -> Option<Duration> {
    let sync = section.duration_or_choice("sync", Some, &[("batch", None)]);
    if sync.is_some_and(|every| every > SYNC_MAX) {
        section.fail("sync", "`sync` is more than a minute", "write \"10ms\", or \"1s\"");
    }
    sync
}
