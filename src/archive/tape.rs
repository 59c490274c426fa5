//! Recorded events one after the other in the order of time, for whoever plays them again.
//!
//! ```text
//!   archives ──▶ blocks, merged ──┐
//!                                 ├──▶ reels: some hundred events with their times
//!   captures ──▶ packets, merged ─┘
//! ```
//! Of archives every event that keeps a time of its own has that one (datagrams, JSON, text with
//! `keep_meta`); others are spread evenly between the first and the last time of their block. Of
//! captures the payloads of UDP datagrams are taken, and all else is counted.
//!
//! Memory: a block for each file whose times overlap, up to `OPEN_MAX` of them; of a capture one
//! packet.

mod blocks;
mod captures;

use std::io;
use std::path::{Path, PathBuf};

use self::blocks::Blocks;
use self::captures::Captures;
use super::query::TimeRange;
use crate::time::Wall;

/// What of a recording is played.
#[derive(Clone, Copy, Debug)]
pub struct Choice {
    pub range: TimeRange,
    /// Only datagrams to this port.
    pub port: Option<u16>,
}

/// Some events in order, each with its time.
#[derive(Debug, Default)]
pub struct Reel {
    bytes: Vec<u8>,
    ends: Vec<(i64, usize)>,
}

/// What a recording turned out to be.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Findings {
    /// Events whose times are those of their blocks.
    pub block_timed: u64,
    /// Events of files that keep no times.
    pub untimed: u64,
    /// Events that lay behind a later one, and are played right after it.
    pub disordered: u64,
    /// Of captures: what was passed over.
    pub segments: u64,
    pub fragments: u64,
    pub cut: u64,
    pub others: u64,
    /// What could not be read.
    pub troubles: Vec<String>,
}

pub struct Tape {
    source: Source,
    choice: Choice,
    last: i64,
    findings: Findings,
}

enum Source {
    Blocks(Box<Blocks>),
    Captures(Captures),
}

/// A reel is full with so many bytes or events.
const REEL_BYTES: usize = 256 << 10;
const REEL_EVENTS: usize = 2048;
/// Troubles that are remembered; a thousand damaged blocks say the same.
const TROUBLES_MAX: usize = 20;

impl Reel {
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    pub fn clear(&mut self) {
        self.bytes.clear();
        self.ends.clear();
    }

    /// When event `index` was received.
    pub fn at(&self, index: usize) -> Wall {
        Wall(self.ends[index].0)
    }

    pub fn text(&self, index: usize) -> &[u8] {
        let start = index.checked_sub(1).map_or(0, |before| self.ends[before].1);
        &self.bytes[start..self.ends[index].1]
    }

    fn is_full(&self) -> bool {
        self.bytes.len() >= REEL_BYTES || self.ends.len() >= REEL_EVENTS
    }

    fn push(&mut self, at: i64, text: &[u8]) {
        self.bytes.extend_from_slice(text);
        self.ends.push((at, self.bytes.len()));
    }
}

impl Findings {
    fn trouble(&mut self, what: String) {
        if self.troubles.len() < TROUBLES_MAX {
            self.troubles.push(what);
        }
    }
}

impl Tape {
    /// Archives, captures or directories of archives; not both kinds at once.
    pub fn open(paths: &[PathBuf], choice: Choice) -> Result<Self, String> {
        let told = |path: &Path, error: io::Error| format!("{}: {error}", path.display());
        let (mut captures, mut archives) = (Vec::new(), Vec::new());
        for path in paths {
            match captures::looks_like_one(path).map_err(|error| told(path, error))? {
                true => captures.push(path.clone()),
                false => archives.push(path.clone()),
            }
        }
        let source = match (&captures[..], &archives[..]) {
            ([capture, ..], [archive, ..]) => {
                return Err(format!(
                    "{} is a capture and {} is none: play one kind at a time",
                    capture.display(),
                    archive.display()
                ));
            }
            ([], _) => {
                let files = super::segments(&archives).map_err(|error| error.to_string())?;
                Source::Blocks(Box::new(Blocks::new(files, choice.range)))
            }
            _ => Source::Captures(Captures::open(&captures)?),
        };
        Ok(Self { source, choice, last: i64::MIN, findings: Findings::default() })
    }

    pub fn findings(&self) -> &Findings {
        &self.findings
    }

    /// Adds events until the reel is full. False: there are no more.
    pub fn fill(&mut self, reel: &mut Reel) -> bool {
        while !reel.is_full() {
            let (last, choice) = (&mut self.last, self.choice);
            let mut push = |at: i64, port: Option<u16>, text: &[u8], findings: &mut Findings| {
                let here = choice.range.meets(Wall(at), Wall(at));
                if !here || choice.port.is_some_and(|wanted| port != Some(wanted)) {
                    return;
                }
                findings.disordered += u64::from(at < *last);
                *last = at.max(*last);
                reel.push(*last, text);
            };
            let more = match &mut self.source {
                Source::Blocks(blocks) => blocks.next(&mut self.findings, &mut push),
                Source::Captures(captures) => captures.next(&mut self.findings, &mut push),
            };
            if !more {
                return false;
            }
        }
        true
    }
}

#[cfg(test)]
mod tests;
