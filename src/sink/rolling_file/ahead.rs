//! The keys of a few events at once, so that what they lead to is fetched at once.
//!
//! With ten thousand keys nearly everything an event touches is in no cache: its place in the
//! table, its slot, the key's text, the end of its block. One after the other those are waits of
//! 100 ns; of sixteen events together the processor has them under way at the same time.

use crate::event::Event;
use crate::sink::rolling_file::keys;
use crate::sink::rolling_file::path::Template;
use crate::time::Wall;

/// Events looked at together: as many as a core has loads under way.
pub(super) const AHEAD: usize = 16;

/// Room for the texts of keys from the start; a long value of structured data makes it grow once.
const TEXT_BYTES: usize = 4096;

/// The key of one event: its slice of time, and its text.
#[derive(Clone, Copy)]
pub(super) struct Key<'a> {
    pub(super) hash: u64,
    pub(super) slice: i64,
    pub(super) text: &'a [u8],
    /// Of the event.
    pub(super) at: Wall,
}

pub(super) struct Ahead {
    heads: Vec<Head>,
    texts: Vec<u8>,
    turn: usize,
}

struct Head {
    hash: u64,
    slice: i64,
    at: Wall,
    from: usize,
    to: usize,
}

impl Ahead {
    pub(super) fn new() -> Self {
        let (heads, texts) = (Vec::with_capacity(AHEAD), Vec::with_capacity(TEXT_BYTES));
        Self { heads, texts, turn: 0 }
    }

    /// Looks at these events, `AHEAD` at most.
    pub(super) fn look<'a>(
        &mut self,
        events: impl Iterator<Item = &'a Event<'a>>,
        template: &Template,
        slice_ns: Option<i64>,
        seed: u64,
    ) {
        self.heads.clear();
        self.texts.clear();
        for event in events {
            let at = template.time_of(event);
            let slice = slice_ns.map_or(0, |ns| at.0.div_euclid(ns));
            let from = self.texts.len();
            template.key_of(event, &mut self.texts);
            let to = self.texts.len();
            let hash = keys::hash(seed, slice, &self.texts[from..to]);
            self.heads.push(Head { hash, slice, at, from, to });
        }
    }

    /// The hashes of all that were looked at.
    #[inline]
    pub(super) fn hashes(&self) -> impl Iterator<Item = u64> {
        self.heads.iter().map(|head| head.hash)
    }

    #[inline]
    pub(super) fn turn_to(&mut self, index: usize) -> u64 {
        self.turn = index;
        self.heads[index].hash
    }

    /// The key turned to.
    #[inline]
    pub(super) fn key(&self) -> Key<'_> {
        let Head { hash, slice, at, from, to } = self.heads[self.turn];
        Key { hash, slice, text: &self.texts[from..to], at }
    }
}
