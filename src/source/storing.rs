//! One connection of memcached's text protocol: values into the page, `STORED` when their batch has
//! reached its mark.
//!
//! Answers go out in the order of the commands, so what can be said at once waits behind what
//! cannot. They are kept as runs of one kind until they are written. A peer that does not read them
//! is not read either.

use std::collections::VecDeque;

use super::acks::Owner;
use super::carry::Carries;
use super::connection::{Desk, Visit};
use super::dialogue::{Counter, Dialogue, Hearing, Slate, fitting};
use super::framing::Cut;
use super::miscounts::Fault;
use super::text::{holds_control, parse_pri, trim};
use crate::event::{EventHead, HeaderMap, Marks, Origin, Page};
use crate::memory::Outcome;
use crate::wire::memcached::{Heard, Reply, Session, Store};

/// Answers that wait at most: what has been heard and not answered.
const OWED_MAX: u32 = 16 << 10;
/// Runs of them: 64 KiB for a peer that mixes its commands as badly as it can.
const RUNS_MAX: usize = 8 << 10;
/// Bytes that bring a run, at least: `\n` and `get k\n` take turns.
const RUN_BYTES_MIN: usize = 3;
/// Answers are written in portions of about so many bytes.
const SAID_BYTES: usize = 4 << 10;
/// The shortest store: `set k 0 0 0\n\n`.
const STORE_BYTES_MIN: usize = 13;
/// The longest name of a header.
pub const NAME_BYTES_MAX: usize = 64;
/// In front of all headers of an event, and of each.
const BLOCK_BYTES: usize = 4;
const ENTRY_BYTES: usize = 6;

/// What of a store becomes headers, by these names; an empty one: it does not.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Names {
    pub key: String,
    pub flags: String,
    pub exptime: String,
}

impl Names {
    pub fn all(&self) -> impl Iterator<Item = &str> {
        [&self.key, &self.flags, &self.exptime]
            .into_iter()
            .map(String::as_str)
            .filter(|name| !name.is_empty())
    }

    /// Bytes beside the values that the headers of one event take.
    fn bytes(&self) -> usize {
        let entries: usize = self.all().map(|name| ENTRY_BYTES + name.len()).sum();
        if entries == 0 { 0 } else { BLOCK_BYTES + entries }
    }

    fn set(&self, store: &Store<'_>, headers: &mut HeaderMap) {
        let pairs =
            [(&self.key, store.key), (&self.flags, store.flags), (&self.exptime, store.exptime)];
        headers.clear();
        for (name, value) in pairs.into_iter().filter(|(name, _)| !name.is_empty()) {
            headers.set(name.as_bytes(), value).expect("a line is short, and so are the names");
        }
    }
}

#[derive(Debug)]
pub struct Storing {
    session: Session,
    slate: Slate,
    names: std::sync::Arc<Names>,
    /// In the order of the commands; none: it waits for its batch.
    answers: VecDeque<(Option<Reply>, u32)>,
    /// Nothing more is read; it ends when everything is said.
    parting: bool,
}

impl Storing {
    pub fn new(owner: Owner, event_bytes_max: usize, names: std::sync::Arc<Names>) -> Self {
        Self {
            session: Session::new(event_bytes_max),
            slate: Slate::new(owner),
            names,
            answers: VecDeque::new(),
            parting: false,
        }
    }

    fn take(&mut self, store: &Store<'_>, hearing: &mut Hearing<'_, '_>) {
        let Hearing { desk, origin, counter: Counter { headers, .. } } = hearing;
        let text = trim(store.value);
        let pri = if desk.rules.want_pri { parse_pri(text) } else { None };
        let marks = if holds_control(text) { Marks::CONTROL } else { Marks::NONE };
        self.names.set(store, headers);
        let head = EventHead { at: desk.at, origin: self.slate.origin(desk, *origin), pri, marks };
        let appended = desk.page.append_headed(text, headers, head);
        appended.expect("a read is bounded by the page's room");
    }

    fn answer(&mut self, reply: Option<Reply>) {
        match self.answers.back_mut() {
            Some((last, count)) if *last == reply => *count += 1,
            _ => self.answers.push_back((reply, 1)),
        }
    }

    /// Each byte read may be a part of stores without text: a newline, a slot, names of headers.
    fn room_per_byte(&self, page: &Page) -> usize {
        2 + (page.slot_bytes() + self.names.bytes()).div_ceil(STORE_BYTES_MIN)
    }

    /// Lets go of the unfinished command: the connection ends, or memory is needed.
    fn let_go(&mut self, carries: &mut Carries, why: Cut) {
        let carried = self.slate.carry.bytes();
        if why == Cut::End {
            self.parting = true;
        } else if !carried.is_empty() && !self.session.give_up(carried) {
            self.answer(Some(Reply::NoMemory));
            self.parting = true;
        }
        self.slate.keep(&[], carries);
    }

    /// The first `count` of a run that waits have this answer now.
    fn resolve(&mut self, index: usize, count: u32, reply: Reply) {
        let before = index.checked_sub(1).and_then(|before| self.answers.get_mut(before));
        let joined = match before {
            Some((last, many)) if *last == Some(reply) => {
                *many += count;
                true
            }
            _ => false,
        };
        let run = &mut self.answers[index];
        run.1 -= count;
        match (run.1, joined) {
            (0, true) => drop(self.answers.remove(index)),
            (0, false) => *run = (Some(reply), count),
            (_, true) => {}
            (_, false) => self.answers.insert(index, (Some(reply), count)),
        }
    }
}

impl Dialogue for Storing {
    fn slate(&self) -> &Slate {
        &self.slate
    }

    fn slate_mut(&mut self) -> &mut Slate {
        &mut self.slate
    }

    fn longest(&self, desk: &Desk<'_>, counter: &mut Counter, held: usize) -> Result<usize, Visit> {
        if self.slate.owed >= OWED_MAX || self.answers.len() >= RUNS_MAX / 2 {
            // What waits for nothing is said now, and the rest when a batch settles.
            return Err(if self.slate.owed == 0 { Visit::Bound } else { Visit::Starved });
        }
        if !counter.acks.ready() {
            return Err(Visit::Starved);
        }
        let runs = RUN_BYTES_MIN * (RUNS_MAX - self.answers.len());
        Ok(fitting(desk, held, self.room_per_byte(desk.page))?.min(runs))
    }

    fn hear(&mut self, bytes: &[u8], _: usize, hearing: &mut Hearing<'_, '_>) -> usize {
        let (mut at, mut owed) = (0, 0);
        let rest = loop {
            let (count, heard) = self.session.hear(&bytes[at..]);
            at += count;
            match heard {
                Heard::More => break at,
                Heard::Silent => {}
                Heard::Store(store) => {
                    self.take(&store, hearing);
                    if !store.quiet {
                        owed += 1;
                        self.answer(None);
                    }
                }
                Heard::Said(reply) => {
                    Fault::note(&mut hearing.counter.fault, reply);
                    self.answer(Some(reply));
                }
                Heard::Refused(reply) => Fault::note(&mut hearing.counter.fault, reply),
                Heard::Quit => {
                    self.parting = true;
                    break bytes.len();
                }
                Heard::Binary => {
                    hearing.counter.fault = Some(Fault::Binary);
                    self.parting = true;
                    break bytes.len();
                }
            }
        };
        if owed > 0 {
            self.slate.owe(owed, &mut hearing.counter.acks);
        }
        rest
    }

    /// What is not whole was not answered, and is no event.
    fn end(&mut self, _: &[u8], _: &mut Hearing<'_, '_>) {
        self.parting = true;
    }

    fn flush(&mut self, desk: &mut Desk<'_>, _: Origin, why: Cut) -> bool {
        self.let_go(desk.carries, why);
        true
    }

    fn settled(&mut self, count: u32, outcome: Outcome) {
        let reply = if outcome == Outcome::Confirmed { Reply::Stored } else { Reply::Lost };
        self.slate.owed -= count;
        let mut left = count;
        let mut index = 0;
        while left > 0 {
            let (answer, many) = self.answers[index];
            if answer.is_some() {
                index += 1;
                continue;
            }
            let now = left.min(many);
            left -= now;
            self.resolve(index, now, reply);
        }
    }

    fn listens(&self) -> bool {
        !self.parting && self.slate.out.is_empty()
    }

    fn is_over(&self) -> bool {
        self.parting && self.answers.is_empty() && self.slate.out.is_empty()
    }

    fn is_owed(&self) -> bool {
        !self.answers.is_empty() || !self.slate.out.is_empty()
    }

    fn word(&mut self) {
        let out = &mut self.slate.out;
        while let Some((Some(reply), count)) = self.answers.front_mut() {
            let text = reply.text().as_bytes();
            while *count > 0 && out.len() < SAID_BYTES {
                out.extend_from_slice(text);
                *count -= 1;
            }
            if *count > 0 {
                return;
            }
            self.answers.pop_front();
        }
    }
}

#[cfg(test)]
mod tests;
