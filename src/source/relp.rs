//! One RELP connection: messages into the page, replies when their batch has reached its mark.
//!
//! Bytes are read into the thread's scratch, so that a message is copied once, behind the events
//! that are there; a frame that has not come whole waits in the connection's carry. What is not
//! whole when the connection ends is no event: it is not acknowledged, so it comes again.
//!
//! Replies are kept as numbers until they are written, many with one call. A peer that does not
//! read its replies keeps its own waiting, and nobody else's.

use std::io;

use super::acks::{Acks, Owner};
use super::carry::{Carries, Carry};
use super::connection::{Desk, RESERVE_BYTES, Visit};
use super::http::Turn;
use super::link::Link;
use super::miscounts::Fault;
use super::text::{holds_control, parse_pri, trim};
use crate::event::{EventHead, HeaderMap, Marks, Origin, OriginPlace, Page};
use crate::wire::relp::{Heard, RelpError, Session, Txnr, acknowledge};

#[cfg(test)]
mod tests;

/// Read with one call.
pub(super) const READ_BYTES: usize = 64 << 10;
/// Replies written with one call, about as many as a window has.
const REPLIES_PER_WRITE: u32 = 512;
/// A page with less room for a read, and for what it may become, is full.
const READ_ROOM_MIN: usize = 16 << 10;

/// What the connections of a thread that are answered share.
pub struct Counter {
    pub acks: Acks,
    /// What a connection was closed for, until somebody tells it.
    pub fault: Option<Fault>,
    /// Where bytes are read to; between two visits it holds nothing.
    pub(super) scratch: Vec<u8>,
    /// Where an event's headers are put together.
    pub(super) headers: HeaderMap,
    /// For those who take requests.
    pub(super) turn: Turn,
}

#[derive(Debug)]
pub struct Relp {
    session: Session,
    owner: Owner,
    carry: Carry,
    place: OriginPlace,
    /// Messages heard and not settled, the oldest of which is the first after `replies`.
    owed: u32,
    /// The next messages to reply to.
    first: Txnr,
    replies: u32,
    /// Bytes on their way out.
    out: Vec<u8>,
    ending: Ending,
}

/// How far a connection is from its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ending {
    No,
    /// The peer said `close`: the reply to it stands behind all others.
    Closed(Txnr),
    /// The peer or we end it without that; what is owed is still said.
    Parting,
    /// Nothing more is said: what was not acknowledged comes again on another connection.
    Broken,
    /// Everything is said.
    Over,
}

/// The smallest page that holds the longest message and a read behind it.
pub const fn page_bytes_min(event_bytes_max: usize) -> usize {
    event_bytes_max + RESERVE_BYTES + READ_ROOM_MIN
}

/// For each byte read. The shortest frame that becomes an event, `1 syslog 1 x`, has 13 bytes and
/// takes two bytes and its slots.
fn room_per_byte(page: &Page) -> usize {
    2 + page.slot_bytes() / 13
}

/// Bytes of a thread's scratch.
fn scratch_bytes(event_bytes_max: usize) -> usize {
    Session::new(event_bytes_max).held_max() + READ_BYTES
}

impl Counter {
    /// Before a visit.
    pub(super) fn at(&mut self, turn: Turn) -> &mut Self {
        self.turn = turn;
        self
    }

    /// What a thread's counter may hold.
    pub fn memory_bytes(event_bytes_max: usize) -> usize {
        scratch_bytes(event_bytes_max) + Acks::memory_bytes()
    }

    pub fn new(acks: Acks, event_bytes_max: usize) -> Self {
        let scratch = vec![0; scratch_bytes(event_bytes_max)];
        let (headers, turn) = (HeaderMap::default(), Turn::default());
        Self { acks, fault: None, scratch, headers, turn }
    }
}

impl Relp {
    pub fn new(owner: Owner, event_bytes_max: usize) -> Self {
        Self {
            session: Session::new(event_bytes_max),
            owner,
            carry: Carry::default(),
            place: OriginPlace::default(),
            owed: 0,
            first: Txnr::FIRST,
            replies: 0,
            out: Vec::new(),
            ending: Ending::No,
        }
    }

    pub fn owner(&self) -> Owner {
        self.owner
    }

    /// Bytes of the unfinished frame.
    pub fn carried(&self) -> usize {
        self.carry.len()
    }

    /// Writes replies, then reads until there is no more, `bound` bytes have come, or the page is
    /// full. `ended`: the peer has said that no more comes.
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
        match self.ending {
            Ending::No => {}
            _ if self.is_over() => return Visit::Ended,
            _ => return Visit::Drained,
        }
        let visit = self.read(desk, origin, link, bound, ended, taken);
        match visit {
            Visit::Drained | Visit::Bound | Visit::Full | Visit::Starved => {
                // The reply to an `open`; a window may also be waiting for it. And the last word,
                // when nothing is owed: no peer would come back to hear that it was the last.
                match self.say(link) {
                    Ok(()) if self.is_over() => Visit::Ended,
                    Ok(()) => visit,
                    Err(error) => Visit::Failed(error),
                }
            }
            other => other,
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
        let counter = desk.counter.take().expect("who listens for RELP counts");
        let mut scratch = std::mem::take(&mut counter.scratch);
        let mut held = self.carry.len();
        scratch[..held].copy_from_slice(self.carry.bytes());
        let visit = loop {
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
            let longest = READ_BYTES.min((free - held - desk.reserve()) / room_per_byte(desk.page));
            let count = match link.read(&mut scratch[held..held + longest]) {
                Ok(0) => break Visit::Ended,
                Ok(count) => count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break Visit::Drained,
                Err(error) => break Visit::Failed(error),
            };
            *taken += count;
            let end = held + count;
            match self.hear(&scratch[..end], desk, origin, &mut counter.acks) {
                Ok(at) => {
                    scratch.copy_within(at..end, 0);
                    held = end - at;
                }
                Err(error) => {
                    counter.fault = Some(Fault::Relp(error));
                    held = 0;
                    self.ending = Ending::Parting;
                    break Visit::Drained;
                }
            }
            if self.ending != Ending::No {
                held = 0;
                break Visit::Drained;
            }
            if !ended && link.is_emptied(count, longest) {
                break Visit::Drained;
            }
        };
        if *taken > 0 {
            link.hasten();
        }
        self.keep(&scratch[..held], desk.carries);
        counter.scratch = scratch;
        desk.counter = Some(counter);
        visit
    }

    /// Takes what is whole; says where the rest begins.
    fn hear(
        &mut self,
        bytes: &[u8],
        desk: &mut Desk<'_>,
        origin: Origin,
        acks: &mut Acks,
    ) -> Result<usize, RelpError> {
        let mut at = 0;
        loop {
            let (count, heard) = self.session.hear(&bytes[at..], &mut self.out)?;
            at += count;
            match heard {
                Heard::Message { txnr, text } => {
                    let text = trim(text);
                    let pri = if desk.rules.want_pri { parse_pri(text) } else { None };
                    self.take(text, pri, Marks::NONE, desk, origin);
                    self.owe(txnr, 1, acks);
                }
                Heard::Piece { txnr, text, first, last } => {
                    self.piece(text, first, desk, origin);
                    self.owe(txnr, u32::from(last), acks);
                }
                Heard::Opened => self.first = Txnr::FIRST.next(),
                Heard::Hint => {}
                Heard::Close { txnr } => {
                    self.ending = Ending::Closed(txnr);
                    return Ok(at);
                }
                Heard::More => return Ok(at),
            }
        }
    }

    fn owe(&mut self, txnr: Txnr, count: u32, acks: &mut Acks) {
        self.owed += count;
        acks.note(self.owner, txnr, count);
    }

    /// Only the first piece has a PRI: that tells it from the others.
    fn piece(&mut self, text: &[u8], first: bool, desk: &mut Desk<'_>, origin: Origin) {
        let pri = if first && desk.rules.want_pri { parse_pri(text) } else { None };
        self.take(text, pri, Marks::SPLIT, desk, origin);
    }

    /// An empty message is no event, and is acknowledged like any other.
    fn take(
        &mut self,
        text: &[u8],
        pri: Option<u8>,
        marks: Marks,
        desk: &mut Desk<'_>,
        origin: Origin,
    ) {
        if text.is_empty() {
            return;
        }
        let control = if holds_control(text) { Marks::CONTROL } else { Marks::NONE };
        let marks = marks.with(control);
        let place = self.place.find_labelled(desk.page, origin, desk.names, desk.labels);
        let origin = place.expect("a visit keeps room for its origin");
        let head = EventHead { at: desk.at, origin, pri, marks };
        desk.page.append_event(text, head).expect("a read is bounded by the page's room");
    }

    /// Keeps the front of a frame until the rest comes.
    fn keep(&mut self, bytes: &[u8], carries: &mut Carries) {
        carries.release(&mut self.carry);
        if !bytes.is_empty() {
            carries.append(&mut self.carry, bytes);
        }
    }

    /// Lets go of an unfinished frame: the connection ends, or memory is needed. Either way it
    /// cannot go on.
    pub fn let_go(&mut self, carries: &mut Carries) {
        carries.release(&mut self.carry);
        if self.ending == Ending::No {
            self.ending = Ending::Parting;
        }
    }

    /// `count` messages from `first` on have reached their mark.
    pub fn settled(&mut self, count: u32) {
        self.owed -= count;
        self.replies += count;
    }

    /// Messages were lost on their way: nothing more is said.
    pub fn fail(&mut self) {
        self.ending = Ending::Broken;
    }

    /// Nothing more will be said, and nothing read.
    pub fn is_over(&self) -> bool {
        self.ending == Ending::Broken || self.ending == Ending::Over && self.out.is_empty()
    }

    /// Everything that may be said has been, but the peer does not take it.
    pub fn is_stuck(&self) -> bool {
        self.owed == 0 && !self.out.is_empty()
    }

    /// Whether the peer waits for an answer.
    pub fn is_owed(&self) -> bool {
        self.owed > 0 || self.replies > 0 || !self.out.is_empty()
    }

    /// Writes what may be said, as far as the link takes it.
    pub fn say(&mut self, link: &mut Link) -> io::Result<()> {
        if self.ending == Ending::Broken {
            return Ok(());
        }
        loop {
            if self.out.is_empty() && self.replies > 0 {
                let count = self.replies.min(REPLIES_PER_WRITE);
                acknowledge(self.first, count, &mut self.out);
                self.first = self.first.plus(count);
                self.replies -= count;
            }
            if self.out.is_empty() && self.owed == 0 {
                match self.ending {
                    Ending::Closed(txnr) => Session::part(txnr, &mut self.out),
                    Ending::Parting => Session::dismiss(&mut self.out),
                    Ending::No | Ending::Broken | Ending::Over => return Ok(()),
                }
                self.ending = Ending::Over;
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
}

/// Free bytes without which a page is full for a connection that holds `held` bytes.
pub(super) fn room(desk: &Desk<'_>, held: usize) -> usize {
    let read = held + desk.reserve() + READ_ROOM_MIN;
    read.max(desk.page.capacity() / 16)
}
