//! Connections whose peers wait for an answer: the loop that they share.
//!
//! ```text
//!   Link ──read──▶ scratch ──hear──▶ page, and on the slate what is owed for it
//!        ◀─write──── out ◀───word─── what may be said ◀──settled── its batch has reached its mark
//! ```
//! A protocol is a [`Dialogue`]: it says how much may be read (`longest`), what bytes mean (`hear`)
//! and what there is to say (`word`). Bytes are read into the thread's scratch, so that an event is
//! copied once, behind those that are there; what is not whole waits in the connection's carry.
//! Answers are written many with one call. A peer that does not read them keeps its own waiting,
//! and nobody else's.
//!
//! Threading: all of it is one worker's. A visit is one virtual call; below it the loop is compiled
//! for each protocol, so that an event has none.

use std::fmt::Debug;
use std::io;

use super::acks::{Acks, Owner};
use super::carry::{Carries, Carry};
use super::connection::{Desk, RESERVE_BYTES, Visit};
use super::framing::Cut;
use super::http::{Refused, Turn};
use super::link::Link;
use super::miscounts::Fault;
use crate::event::{EventHead, HeaderMap, Marks, Origin, OriginIndex, OriginPlace};
use crate::memory::Outcome;
use crate::time::Mono;
use crate::wire::relp::{Session, Txnr};

/// Read with one call.
pub(super) const READ_BYTES: usize = 64 << 10;
/// A page with less room for a read, and for what it may become, is full.
const READ_ROOM_MIN: usize = 16 << 10;
/// Bytes behind the last word that are read and thrown away: a close with unread bytes resets the
/// connection, and the peer might not hear it.
const DISCARDED_BYTES_MAX: usize = 1 << 20;

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

/// What a visit may read.
pub struct Reading<'a> {
    pub link: &'a mut Link,
    /// It ends when so many bytes have come.
    pub bound: usize,
    /// The peer has said that no more comes, so it is read to its end.
    pub ended: bool,
    /// What came.
    pub taken: usize,
}

/// Who is heard, and where what it says goes to.
pub struct Hearing<'a, 'd> {
    pub desk: &'a mut Desk<'d>,
    pub origin: Origin,
    pub counter: &'a mut Counter,
}

/// What every connection keeps that is answered.
#[derive(Debug)]
pub struct Slate {
    owner: Owner,
    /// What is not whole.
    pub(super) carry: Carry,
    pub(super) place: OriginPlace,
    /// Heard and not settled.
    pub(super) owed: u32,
    /// The number of the next one.
    next: Txnr,
    /// Bytes on their way out.
    pub(super) out: Vec<u8>,
}

/// One connection's place in a protocol that answers.
pub trait Dialogue: Debug + Send {
    fn slate(&self) -> &Slate;
    fn slate_mut(&mut self) -> &mut Slate;

    // ── what a protocol says ──

    /// How many bytes may be read behind those that are held; or why none.
    fn longest(&self, desk: &Desk<'_>, counter: &mut Counter, held: usize) -> Result<usize, Visit>;

    /// Takes what is whole; says where the rest begins. The first `known` bytes were heard before,
    /// and nothing whole was in them.
    fn hear(&mut self, bytes: &[u8], known: usize, hearing: &mut Hearing<'_, '_>) -> usize;

    /// The peer says no more, and this was left.
    fn end(&mut self, rest: &[u8], hearing: &mut Hearing<'_, '_>);

    /// Puts the next portion of what may be said into `out`, where nothing is.
    fn word(&mut self);

    /// `count` of those that are owed have come where they should, or never will.
    fn settled(&mut self, count: u32, outcome: Outcome);

    /// Nothing more is read, or memory is needed: lets go of what is not whole. False: it is an
    /// event, and the page has no room.
    fn flush(&mut self, desk: &mut Desk<'_>, origin: Origin, why: Cut) -> bool;

    /// It is to be read.
    fn listens(&self) -> bool;

    /// Nothing more will be said, and nothing read.
    fn is_over(&self) -> bool;

    /// Whether the peer waits for an answer.
    fn is_owed(&self) -> bool {
        self.slate().owed > 0 || !self.slate().out.is_empty()
    }

    /// What still comes is thrown away when the last word is said.
    fn discards(&self) -> bool {
        false
    }

    /// Whether what is carried has to be heard once more; asked once.
    fn resumes(&mut self) -> bool {
        false
    }

    /// Requests that were refused since this was asked last.
    fn take_refused(&mut self) -> Option<Refused> {
        None
    }

    /// Tells its peer that it sends too much; others are not read for a while.
    fn refuses(&self) -> bool {
        false
    }

    /// When it has to be visited though nothing comes.
    fn alarm(&self) -> Mono {
        Mono::MAX
    }

    /// What a visit does between two words. None: there is more to do when that is said.
    fn go_on(&mut self, hearing: &mut Hearing<'_, '_>, reading: &mut Reading<'_>) -> Option<Visit> {
        // If it does not read what is said, the writable edge brings us back.
        Some(if self.listens() { self.read(hearing, reading) } else { Visit::Drained })
    }

    // ── what they share ──

    /// Answers, then reads until there is no more, `bound` bytes have come, or the page is full.
    fn visit(&mut self, desk: &mut Desk<'_>, origin: Origin, reading: &mut Reading<'_>) -> Visit {
        let counter = desk.counter.take().expect("who answers counts");
        let mut hearing = Hearing { desk: &mut *desk, origin, counter: &mut *counter };
        let visit = loop {
            if let Err(error) = self.say(reading.link) {
                break Visit::Failed(error);
            }
            if let Some(visit) = self.go_on(&mut hearing, reading) {
                break visit;
            }
        };
        desk.counter = Some(counter);
        if reading.taken > 0 {
            reading.link.hasten();
        }
        if matches!(visit, Visit::Failed(_)) {
            return visit;
        }
        // Also the last word, when nothing is owed: no peer would come back to hear it.
        match self.say(reading.link) {
            Err(error) => Visit::Failed(error),
            Ok(()) if self.is_over() => Visit::Ended,
            Ok(()) => visit,
        }
    }

    /// Reads and hears.
    fn read(&mut self, hearing: &mut Hearing<'_, '_>, reading: &mut Reading<'_>) -> Visit {
        let mut scratch = std::mem::take(&mut hearing.counter.scratch);
        let mut held = self.slate().carry.len();
        scratch[..held].copy_from_slice(self.slate().carry.bytes());
        let mut known = if self.resumes() { 0 } else { held };
        let mut emptied = false;
        let visit = loop {
            if known < held {
                let at = self.hear(&scratch[..held], known, hearing);
                scratch.copy_within(at..held, 0);
                held -= at;
                known = held;
            }
            if emptied || !self.listens() {
                break Visit::Drained;
            }
            let longest = match self.longest(hearing.desk, hearing.counter, held) {
                Ok(longest) => longest.min(scratch.len() - held),
                Err(visit) => break visit,
            };
            if reading.taken >= reading.bound {
                break Visit::Bound;
            }
            match reading.link.read(&mut scratch[held..held + longest]) {
                Ok(0) => {
                    self.end(&scratch[..held], hearing);
                    held = 0;
                    break Visit::Ended;
                }
                Ok(count) => {
                    reading.taken += count;
                    held += count;
                    emptied = !reading.ended && reading.link.is_emptied(count, longest);
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break Visit::Drained,
                Err(error) => break Visit::Failed(error),
            }
        };
        self.slate_mut().keep(&scratch[..held], hearing.desk.carries);
        hearing.counter.scratch = scratch;
        visit
    }

    /// Writes what may be said, as far as the link takes it.
    fn say(&mut self, link: &mut Link) -> io::Result<()> {
        let mut said = false;
        loop {
            if self.slate().out.is_empty() {
                self.word();
            }
            let out = &mut self.slate_mut().out;
            if out.is_empty() {
                break;
            }
            said = true;
            match link.write(out) {
                Ok(count) => drop(out.drain(..count)),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error),
            }
        }
        if said && self.discards() {
            discard(link);
        }
        Ok(())
    }

    /// Says what is left to say. False: the connection may be closed.
    fn lingers(&mut self, link: &mut Link) -> bool {
        self.say(link).is_ok() && !self.is_over()
    }

    fn owner(&self) -> Owner {
        self.slate().owner
    }

    /// Bytes of what is not whole.
    fn carried(&self) -> usize {
        self.slate().carry.len()
    }

    /// Everything that may be said has been, but the peer does not take it.
    fn is_stuck(&self) -> bool {
        self.slate().owed == 0 && !self.slate().out.is_empty()
    }
}

impl Slate {
    pub fn new(owner: Owner) -> Self {
        Self {
            owner,
            carry: Carry::default(),
            place: OriginPlace::default(),
            owed: 0,
            next: Txnr::FIRST,
            out: Vec::new(),
        }
    }

    /// So many were heard; none: a part of one.
    pub fn owe(&mut self, count: u32, acks: &mut Acks) {
        acks.note(self.owner, self.next, count);
        self.next = self.next.plus(count);
        self.owed += count;
    }

    /// Keeps what is not whole until the rest comes.
    pub fn keep(&mut self, bytes: &[u8], carries: &mut Carries) {
        carries.release(&mut self.carry);
        if !bytes.is_empty() {
            carries.append(&mut self.carry, bytes);
        }
    }

    /// Who sent it, in the page that is being filled.
    #[inline]
    pub fn origin(&mut self, desk: &mut Desk<'_>, origin: Origin) -> OriginIndex {
        let place = self.place.find_labelled(desk.page, origin, desk.names, desk.labels);
        place.expect("a visit keeps room for its origin")
    }

    /// Makes an event, for which there is room.
    #[inline]
    pub fn put(
        &mut self,
        text: &[u8],
        pri: Option<u8>,
        marks: Marks,
        desk: &mut Desk<'_>,
        origin: Origin,
    ) {
        let head = EventHead { at: desk.at, origin: self.origin(desk, origin), pri, marks };
        desk.page.append_event(text, head).expect("a read is bounded by the page's room");
    }
}

impl Counter {
    pub fn new(acks: Acks, event_bytes_max: usize) -> Self {
        let scratch = vec![0; scratch_bytes(event_bytes_max)];
        let (headers, turn) = (HeaderMap::default(), Turn::default());
        Self { acks, fault: None, scratch, headers, turn }
    }

    /// Before a visit.
    pub(super) fn at(&mut self, turn: Turn) -> &mut Self {
        self.turn = turn;
        self
    }

    /// What a thread's counter may hold.
    pub fn memory_bytes(event_bytes_max: usize) -> usize {
        scratch_bytes(event_bytes_max) + Acks::memory_bytes()
    }
}

/// Bytes of a thread's scratch: RELP's frames are the longest of what waits to be whole.
fn scratch_bytes(event_bytes_max: usize) -> usize {
    Session::new(event_bytes_max).held_max() + READ_BYTES
}

/// The smallest page that holds the longest event and a read behind it.
pub const fn page_bytes_min(event_bytes_max: usize) -> usize {
    event_bytes_max + RESERVE_BYTES + READ_ROOM_MIN
}

/// Free bytes without which a page is full for a connection that holds `held` bytes.
pub(super) fn room(desk: &Desk<'_>, held: usize) -> usize {
    let read = held + desk.reserve() + READ_ROOM_MIN;
    read.max(desk.page.capacity() / 16)
}

/// How many bytes may be read behind those that are held, if each takes so much of the page.
pub(super) fn fitting(desk: &Desk<'_>, held: usize, room_per_byte: usize) -> Result<usize, Visit> {
    let free = desk.page.free_bytes();
    if free < room(desk, held) {
        return Err(Visit::Full);
    }
    Ok(READ_BYTES.min((free - held - desk.reserve()) / room_per_byte))
}

/// Throws away what is there.
fn discard(link: &mut Link) {
    let (mut scratch, mut left) = ([0; 4096], DISCARDED_BYTES_MAX);
    while left > 0 {
        match link.read(&mut scratch) {
            Ok(count) if count > 0 => left = left.saturating_sub(count),
            _ => return,
        }
    }
}
