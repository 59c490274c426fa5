//! One connection of memcached's text protocol: values into the page, `STORED` when their batch has
//! reached its mark.
//!
//! Answers go out in the order of the commands, so what can be said at once waits behind what
//! cannot. They are kept as runs of one kind until they are written, many with one call. A peer
//! that does not read them is not read either. Bytes are read into the thread's scratch, as RELP's
//! are; what is not a whole command waits in the connection's carry.

use std::collections::VecDeque;
use std::io;

use super::acks::Owner;
use super::carry::{Carries, Carry};
use super::connection::{Desk, Visit};
use super::framing::Cut;
use super::link::Link;
use super::miscounts::Fault;
use super::relp::{Counter, READ_BYTES, room};
use super::text::{holds_control, parse_pri, trim};
use crate::event::{EventHead, HeaderMap, Marks, Origin, OriginPlace, Page};
use crate::memory::Outcome;
use crate::wire::memcached::{Heard, Reply, Session, Store};
use crate::wire::relp::Txnr;

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
    owner: Owner,
    names: std::sync::Arc<Names>,
    carry: Carry,
    place: OriginPlace,
    /// In the order of the commands; none: it waits for its batch.
    answers: VecDeque<(Option<Reply>, u32)>,
    /// Stores heard and not settled.
    owed: u32,
    /// The next store's number.
    next: Txnr,
    /// Bytes on their way out.
    out: Vec<u8>,
    /// Nothing more is read; it ends when everything is said.
    parting: bool,
}

impl Storing {
    pub fn new(owner: Owner, event_bytes_max: usize, names: std::sync::Arc<Names>) -> Self {
        Self {
            session: Session::new(event_bytes_max),
            owner,
            names,
            carry: Carry::default(),
            place: OriginPlace::default(),
            answers: VecDeque::new(),
            owed: 0,
            next: Txnr::FIRST,
            out: Vec::new(),
            parting: false,
        }
    }

    pub fn owner(&self) -> Owner {
        self.owner
    }

    /// Bytes of the unfinished command.
    pub fn carried(&self) -> usize {
        self.carry.len()
    }

    /// Answers, then reads until there is no more, `bound` bytes have come, or the page is full.
    /// `ended`: the peer has said that no more comes.
    pub fn visit(
        &mut self,
        desk: &mut Desk<'_>,
        origin: Origin,
        link: &mut Link,
        bound: usize,
        ended: bool,
        taken: &mut usize,
    ) -> Visit {
        if let Err(error) = self.say(link) {
            return Visit::Failed(error);
        }
        if self.parting {
            return if self.is_over() { Visit::Ended } else { Visit::Drained };
        }
        if !self.out.is_empty() {
            // It does not read what is said: the writable edge brings us back.
            return Visit::Drained;
        }
        let visit = self.read(desk, origin, link, bound, ended, taken);
        if *taken > 0 {
            link.hasten();
        }
        self.parting |= matches!(visit, Visit::Ended);
        match self.say(link) {
            _ if matches!(visit, Visit::Failed(_)) => visit,
            Err(error) => Visit::Failed(error),
            Ok(()) if self.is_over() => Visit::Ended,
            Ok(()) => visit,
        }
    }

    fn read(
        &mut self,
        desk: &mut Desk<'_>,
        origin: Origin,
        link: &mut Link,
        bound: usize,
        ended: bool,
        taken: &mut usize,
    ) -> Visit {
        let counter = desk.counter.take().expect("who answers counts");
        let mut scratch = std::mem::take(&mut counter.scratch);
        let mut held = self.carry.len();
        scratch[..held].copy_from_slice(self.carry.bytes());
        let visit = loop {
            if self.owed >= OWED_MAX || self.answers.len() >= RUNS_MAX / 2 {
                // What waits for nothing is said now, and the rest when a batch settles.
                break if self.owed == 0 { Visit::Bound } else { Visit::Starved };
            }
            if !counter.acks.ready() {
                break Visit::Starved;
            }
            let free = desk.page.free_bytes();
            if free < room(desk, held) {
                break Visit::Full;
            }
            if *taken >= bound {
                break Visit::Bound;
            }
            let gap = free - held - desk.reserve();
            let runs = RUN_BYTES_MIN * (RUNS_MAX - self.answers.len());
            let longest = READ_BYTES.min(gap / self.room_per_byte(desk.page)).min(runs);
            let longest = longest.min(scratch.len() - held);
            let count = match link.read(&mut scratch[held..held + longest]) {
                Ok(0) => {
                    // What is not whole was not answered, and is no event.
                    held = 0;
                    break Visit::Ended;
                }
                Ok(count) => count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break Visit::Drained,
                Err(error) => break Visit::Failed(error),
            };
            *taken += count;
            let end = held + count;
            let at = self.hear(&scratch[..end], desk, origin, counter);
            scratch.copy_within(at..end, 0);
            held = end - at;
            if self.parting {
                held = 0;
                break Visit::Drained;
            }
            if !ended && link.is_emptied(count, longest) {
                break Visit::Drained;
            }
        };
        self.keep(&scratch[..held], desk.carries);
        counter.scratch = scratch;
        desk.counter = Some(counter);
        visit
    }

    /// Takes whole commands; says where the rest begins.
    fn hear(
        &mut self,
        bytes: &[u8],
        desk: &mut Desk<'_>,
        origin: Origin,
        counter: &mut Counter,
    ) -> usize {
        let mut at = 0;
        loop {
            let (count, heard) = self.session.hear(&bytes[at..]);
            at += count;
            match heard {
                Heard::More => return at,
                Heard::Silent => {}
                Heard::Store(store) => {
                    self.take(&store, desk, origin, &mut counter.headers);
                    if !store.quiet {
                        counter.acks.note(self.owner, self.next, 1);
                        self.next = self.next.next();
                        self.owed += 1;
                        self.answer(None);
                    }
                }
                Heard::Said(reply) => {
                    Fault::note(&mut counter.fault, reply);
                    self.answer(Some(reply));
                }
                Heard::Refused(reply) => Fault::note(&mut counter.fault, reply),
                Heard::Quit => {
                    self.parting = true;
                    return at;
                }
                Heard::Binary => {
                    counter.fault = Some(Fault::Binary);
                    self.parting = true;
                    return at;
                }
            }
        }
    }

    fn take(
        &mut self,
        store: &Store<'_>,
        desk: &mut Desk<'_>,
        origin: Origin,
        headers: &mut HeaderMap,
    ) {
        let text = trim(store.value);
        let pri = if desk.rules.want_pri { parse_pri(text) } else { None };
        let marks = if holds_control(text) { Marks::CONTROL } else { Marks::NONE };
        self.names.set(store, headers);
        let place = self.place.find_labelled(desk.page, origin, desk.names, desk.labels);
        let origin = place.expect("a visit keeps room for its origin");
        let head = EventHead { at: desk.at, origin, pri, marks };
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

    fn keep(&mut self, bytes: &[u8], carries: &mut Carries) {
        carries.release(&mut self.carry);
        if !bytes.is_empty() {
            carries.append(&mut self.carry, bytes);
        }
    }

    /// Lets go of the unfinished command: the connection ends, or memory is needed.
    pub fn let_go(&mut self, carries: &mut Carries, why: Cut) {
        if why == Cut::End {
            self.parting = true;
        } else if !self.carry.is_empty() && !self.session.give_up(self.carry.bytes()) {
            self.answer(Some(Reply::NoMemory));
            self.parting = true;
        }
        carries.release(&mut self.carry);
    }

    /// `count` of its stores have come where they should, or never will.
    pub fn settled(&mut self, count: u32, outcome: Outcome) {
        let reply = if outcome == Outcome::Confirmed { Reply::Stored } else { Reply::Lost };
        self.owed -= count;
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

    /// Nothing more will be said, and nothing read.
    pub fn is_over(&self) -> bool {
        self.parting && self.answers.is_empty() && self.out.is_empty()
    }

    /// Everything that may be said has been, but the peer does not take it.
    pub fn is_stuck(&self) -> bool {
        self.owed == 0 && !self.out.is_empty()
    }

    /// Whether the peer waits for an answer.
    pub fn is_owed(&self) -> bool {
        !self.answers.is_empty() || !self.out.is_empty()
    }

    /// Writes what may be said, as far as the link takes it.
    pub fn say(&mut self, link: &mut Link) -> io::Result<()> {
        loop {
            if self.out.is_empty() {
                self.word();
            }
            if self.out.is_empty() {
                return Ok(());
            }
            match link.write(&self.out) {
                Ok(count) => drop(self.out.drain(..count)),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error),
            }
        }
    }

    /// The next portion of what is to be said.
    fn word(&mut self) {
        while let Some((Some(reply), count)) = self.answers.front_mut() {
            let text = reply.text().as_bytes();
            while *count > 0 && self.out.len() < SAID_BYTES {
                self.out.extend_from_slice(text);
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
