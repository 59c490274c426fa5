//! Headers: names and values beside an event's text, as Flume's events have them.
//!
//! ```text
//!  text LF │ length u32 │ entry │ entry │ …       an event's own, behind its text
//!          │ length u32 │ entry │ entry │ …       labels: shared by all events of an origin
//!  entry:  │ name bytes u16 │ value bytes u32 │ name │ value │
//! ```
//! An event's own go before its origin's labels. Events without any cost nothing: a flag in the
//! slot says that a block follows, and it is looked at when somebody asks for a header.

use super::Event;
use super::page::Name;
use super::parsed::Form;
use crate::limits::{self, HEADERS_BYTES_MAX};
use crate::time::Wall;
use std::io::Write;

/// Bytes in front of an entry's name.
const ENTRY_HEAD_BYTES: usize = 6;
/// Bytes in front of a block's entries.
pub(super) const BLOCK_HEAD_BYTES: usize = 4;
/// Flume's name for the event's time, in ms since 1970.
pub const TIMESTAMP: &str = "timestamp";

/// Headers that are being put together. Names are unique; the buffer is used again.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HeaderMap {
    bytes: Vec<u8>,
}

/// More than `HEADERS_BYTES_MAX`, or a name that is empty or longer than 65,535 bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Oversized;

impl HeaderMap {
    pub const NONE: Self = Self { bytes: Vec::new() };

    pub fn clear(&mut self) {
        self.bytes.clear();
    }

    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// Bytes that they take.
    pub fn bytes(&self) -> usize {
        self.bytes.len()
    }

    pub fn get(&self, name: &[u8]) -> Option<&[u8]> {
        self.iter().find(|(own, _)| *own == name).map(|(_, value)| value)
    }

    pub fn iter(&self) -> Entries<'_> {
        Entries { bytes: &self.bytes }
    }

    /// Sets a header, in place of one of that name. What would be too much is not set.
    pub fn set(&mut self, name: &[u8], value: &[u8]) -> Result<(), Oversized> {
        let old = self.iter().find(|(own, _)| *own == name);
        let old = old.map_or(0, |(name, value)| ENTRY_HEAD_BYTES + name.len() + value.len());
        let bytes = self.bytes.len() - old + ENTRY_HEAD_BYTES + name.len() + value.len();
        let name_bytes = u16::try_from(name.len()).ok().filter(|bytes| *bytes > 0);
        let (Some(name_bytes), true) = (name_bytes, bytes <= HEADERS_BYTES_MAX) else {
            return Err(Oversized);
        };
        if old > 0 {
            self.remove(name);
        }
        self.bytes.extend_from_slice(&name_bytes.to_le_bytes());
        self.bytes.extend_from_slice(&limits::u32_of(value.len()).to_le_bytes());
        self.bytes.extend_from_slice(name);
        self.bytes.extend_from_slice(value);
        Ok(())
    }

    pub fn remove(&mut self, name: &[u8]) {
        self.retain(|own, _| own != name);
    }

    /// Keeps those of which it says so.
    pub fn retain(&mut self, mut keep: impl FnMut(&[u8], &[u8]) -> bool) {
        let (mut read, mut write) = (0, 0);
        while let Some((name, value)) = (Entries { bytes: &self.bytes[read..] }).next() {
            let bytes = ENTRY_HEAD_BYTES + name.len() + value.len();
            if keep(name, value) {
                self.bytes.copy_within(read..read + bytes, write);
                write += bytes;
            }
            read += bytes;
        }
        self.bytes.truncate(write);
    }

    /// Becomes what is stored there.
    pub fn load(&mut self, entries: &[u8]) {
        self.bytes.clear();
        self.bytes.extend_from_slice(entries);
    }

    /// The entries as they are stored.
    pub fn entries(&self) -> &[u8] {
        &self.bytes
    }

    /// Becomes what an event has: its own, and its origin's labels.
    pub fn copy_from(&mut self, headers: &Headers<'_>) {
        self.bytes.clear();
        self.bytes.extend_from_slice(headers.own());
        for (name, value) in (Entries { bytes: headers.labels() }) {
            if self.get(name).is_none() {
                // Own headers and labels together were small enough when they were put there.
                let _ = self.set(name, value);
            }
        }
    }
}

/// Names and values, one behind the other. Ends at what is no entry.
#[derive(Clone, Copy, Debug)]
pub struct Entries<'a> {
    bytes: &'a [u8],
}

impl<'a> Iterator for Entries<'a> {
    type Item = (&'a [u8], &'a [u8]);

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        let (head, rest) = self.bytes.split_first_chunk::<ENTRY_HEAD_BYTES>()?;
        let name = usize::from(u16::from_le_bytes([head[0], head[1]]));
        let value = limits::usize_of(u32::from_le_bytes([head[2], head[3], head[4], head[5]]));
        let (name, rest) = rest.split_at_checked(name)?;
        let (value, rest) = rest.split_at_checked(value)?;
        self.bytes = rest;
        Some((name, value))
    }
}

/// An event's headers as a reader of its page sees them.
#[derive(Clone, Copy)]
pub struct Headers<'page> {
    /// The page's bytes in use; empty when none of its events has headers.
    page: &'page [u8],
    /// Where its own block begins, if it has one.
    block: u32,
    headed: bool,
    origin: Name<'page>,
}

impl<'page> Headers<'page> {
    pub const NONE: Self = Self { page: &[], block: 0, headed: false, origin: Name::NONE };

    #[inline]
    pub(super) fn new(page: &'page [u8], block: u32, headed: bool, origin: Name<'page>) -> Self {
        Self { page, block, headed, origin }
    }

    /// Whether there may be some: when not, nobody need ask for one.
    #[inline]
    pub fn any(&self) -> bool {
        !self.page.is_empty()
    }

    pub fn get(&self, name: &str) -> Option<&'page [u8]> {
        if !self.any() {
            return None;
        }
        self.iter().find(|(own, _)| *own == name.as_bytes()).map(|(_, value)| value)
    }

    /// All of them, each name once.
    pub fn iter(&self) -> impl Iterator<Item = (&'page [u8], &'page [u8])> + use<'page> {
        let own = Entries { bytes: self.own() };
        let before = own;
        let labels = Entries { bytes: self.labels() };
        own.chain(labels.filter(move |(name, _)| !before.any_named(name)))
    }

    /// Bytes that they take.
    pub fn bytes(&self) -> usize {
        if self.any() { self.own().len() + self.labels().len() } else { 0 }
    }

    pub(super) fn own(&self) -> &'page [u8] {
        if self.headed { block(self.page, self.block).unwrap_or_default() } else { &[] }
    }

    pub(super) fn labels(&self) -> &'page [u8] {
        match self.origin.labels_at() {
            Some(at) if self.any() => block(self.page, at).unwrap_or_default(),
            _ => &[],
        }
    }
}

impl Entries<'_> {
    fn any_named(mut self, name: &[u8]) -> bool {
        self.any(|(own, _)| own == name)
    }
}

/// The entries of the block at `at`, when it lies within the page.
pub(super) fn block(page: &[u8], at: u32) -> Option<&[u8]> {
    let (head, rest) = page.get(limits::usize_of(at)..)?.split_first_chunk::<BLOCK_HEAD_BYTES>()?;
    rest.get(..limits::usize_of(u32::from_le_bytes(*head)))
}

impl std::fmt::Debug for Headers<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let text = String::from_utf8_lossy;
        f.debug_map().entries(self.iter().map(|(name, value)| (text(name), text(value)))).finish()
    }
}

impl Event<'_> {
    /// When it happened: its header `timestamp`, else the time its message carries, else when it
    /// was received.
    #[inline]
    pub fn time(&self) -> Wall {
        if self.has_headers()
            && let Some(time) = self.headers().get(TIMESTAMP).and_then(millis)
        {
            return time;
        }
        self.parsed().time().unwrap_or(self.at)
    }

    /// The bytes of its text and its headers: what encoders reckon with.
    #[inline]
    pub fn bytes_with_headers(&self) -> usize {
        self.bytes.len() + self.headers().bytes()
    }

    /// Appends the header of that name: one that was set, else what a message says under one of
    /// the names that Flume gives its parts. False when there is none.
    pub fn append_header(&self, name: &str, out: &mut Vec<u8>) -> bool {
        if let Some(value) = self.headers().get(name) {
            out.extend_from_slice(value);
            return true;
        }
        self.append_told(name, out)
    }

    /// What a message says under Flume's names.
    pub fn append_told(&self, name: &str, out: &mut Vec<u8>) -> bool {
        let number = |number: Option<i64>, out: &mut Vec<u8>| {
            number.is_some_and(|number| write!(out, "{number}").is_ok())
        };
        let pri = self.pri.map(i64::from);
        match name {
            TIMESTAMP => number(self.parsed().time().map(|time| time.0.div_euclid(1_000_000)), out),
            "host" => {
                let host = self.parsed().host();
                out.extend_from_slice(host.unwrap_or_default());
                host.is_some()
            }
            "Facility" => number(pri.map(|pri| pri >> 3), out),
            "Severity" => number(pri.map(|pri| pri & 7), out),
            "priority" | "Priority" => number(pri, out),
            "version" | "Version" => {
                number((self.parsed().form() == Form::Rfc5424).then_some(1), out)
            }
            _ => false,
        }
    }

    /// Every header, those that were set before what the message says under Flume's names.
    /// `scratch` is a buffer for the latter.
    pub fn each_header(&self, scratch: &mut Vec<u8>, mut visit: impl FnMut(&[u8], &[u8])) {
        self.headers().iter().for_each(|(name, value)| visit(name, value));
        for name in TOLD {
            scratch.clear();
            if self.headers().get(name).is_none() && self.append_told(name, scratch) {
                visit(name.as_bytes(), scratch);
            }
        }
    }
}

/// Under which names Flume's syslog sources say what a message says.
pub const TOLD: [&str; 6] = [TIMESTAMP, "host", "Facility", "Severity", "priority", "version"];

/// Which headers somebody reads, or may set.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HeaderNames {
    /// Whatever there is.
    pub all: bool,
    pub names: Vec<String>,
}

impl HeaderNames {
    pub const ALL: Self = Self { all: true, names: Vec::new() };

    pub fn of(names: impl IntoIterator<Item = impl Into<String>>) -> Self {
        Self { all: false, names: names.into_iter().map(Into::into).collect() }
    }

    pub fn is_empty(&self) -> bool {
        !self.all && self.names.is_empty()
    }

    pub fn contains(&self, name: &str) -> bool {
        self.all || self.names.iter().any(|own| own == name)
    }

    pub fn add(&mut self, more: Self) {
        self.all |= more.all;
        self.names.extend(more.names);
    }
}

/// Milliseconds since 1970, as Flume writes them.
pub fn millis(text: &[u8]) -> Option<Wall> {
    let text = std::str::from_utf8(text).ok()?;
    text.trim().parse::<i64>().ok()?.checked_mul(1_000_000).map(Wall)
}
