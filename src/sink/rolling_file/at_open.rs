//! Names that are known only when a file is opened, as Flume's `file_roll` gives them.
//!
//! `%[started]` is when the agent started, in milliseconds since 1970; `%[opened]` when the file
//! was opened, `20261121094500` in the sink's zone; `%[number]` counts the files whose names are
//! the same otherwise, from 1. A path is rendered with a mark for each, and the clerk puts in
//! what it is.

use std::borrow::Cow;
use std::ffi::OsString;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use jiff::tz::TimeZone;

use crate::time::Wall;

/// What is put in when a file is opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum AtOpen {
    Started,
    Opened,
    Number,
}

impl AtOpen {
    pub(super) const ALL: [(&'static str, Self); 3] =
        [("started", Self::Started), ("opened", Self::Opened), ("number", Self::Number)];

    pub(super) fn named(name: &str) -> Option<Self> {
        Self::ALL.iter().find(|(known, _)| *known == name).map(|(_, which)| *which)
    }

    /// What stands for it in a rendered path: no field and no name has such a byte.
    pub(super) const fn mark(self) -> u8 {
        self as u8 + 1
    }
}

/// One clerk's names.
pub(super) struct Names {
    started: Wall,
    zone: TimeZone,
    /// The last name without its number, and that.
    last: Vec<u8>,
    number: u64,
}

impl Names {
    pub(super) fn new(started: Wall, zone: TimeZone) -> Self {
        Self { started, zone, last: Vec::new(), number: 0 }
    }

    /// The stem of a file that is opened now.
    pub(super) fn name<'s>(&mut self, stem: &'s Path, now: Wall) -> Cow<'s, Path> {
        let bytes = stem.as_os_str().as_bytes();
        if !bytes.iter().any(|byte| is_mark(*byte)) {
            return Cow::Borrowed(stem);
        }
        let millis = (self.started.0 / 1_000_000).to_string();
        let timestamp =
            Timestamp::from_nanosecond(i128::from(now.0)).unwrap_or(Timestamp::UNIX_EPOCH);
        let opened = timestamp.to_zoned(self.zone.clone()).strftime("%Y%m%d%H%M%S").to_string();
        let bytes = put_in(bytes, AtOpen::Started, &millis);
        let bytes = put_in(&bytes, AtOpen::Opened, &opened);
        self.number = if bytes == self.last { self.number + 1 } else { 1 };
        let named = put_in(&bytes, AtOpen::Number, &self.number.to_string());
        self.last = bytes;
        Cow::Owned(PathBuf::from(OsString::from_vec(named)))
    }
}

/// The path as a person wrote it, for messages.
pub(super) fn shown(stem: &Path) -> String {
    let mut bytes = stem.as_os_str().as_bytes().to_vec();
    for (name, which) in AtOpen::ALL {
        bytes = put_in(&bytes, which, &format!("%[{name}]"));
    }
    Path::new(&OsString::from_vec(bytes)).display().to_string()
}

fn is_mark(byte: u8) -> bool {
    (1..=3).contains(&byte)
}

fn put_in(bytes: &[u8], which: AtOpen, text: &str) -> Vec<u8> {
    let mut out = Vec::with_capacity(bytes.len() + text.len());
    for byte in bytes {
        match *byte == which.mark() {
            true => out.extend_from_slice(text.as_bytes()),
            false => out.push(*byte),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_numbered_within_what_else_is_in_their_names() {
        // 2003-10-11 22:14:15.003 UTC
        let at = Wall(1_065_910_455_003_000_000);
        let second = |seconds: i64| Wall(at.0 + seconds * 1_000_000_000);
        let mut names = Names::new(at, TimeZone::UTC);
        let mut name = |stem: &str, now| names.name(Path::new(stem), now).display().to_string();
        assert_eq!(name("/l/a\u{1}-\u{3}.log", at), "/l/a1065910455003-1.log");
        assert_eq!(name("/l/a\u{1}-\u{3}.log", second(9)), "/l/a1065910455003-2.log");
        assert_eq!(name("/l/\u{2}-\u{3}", at), "/l/20031011221415-1");
        assert_eq!(name("/l/\u{2}-\u{3}", at), "/l/20031011221415-2");
        assert_eq!(name("/l/\u{2}-\u{3}", second(1)), "/l/20031011221416-1");
        assert_eq!(name("/l/plain", at), "/l/plain");
        assert_eq!(shown(Path::new("/l/\u{2}-\u{3}")), "/l/%[opened]-%[number]");
    }
}
