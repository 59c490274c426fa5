//! One RELP connection: messages into the page, replies when their batch has reached its mark.
//!
//! What is not whole when the connection ends is no event: it is not acknowledged, so it comes
//! again. Replies are kept as numbers until they are written.

use super::acks::Owner;
use super::connection::{Desk, Visit};
use super::dialogue::{Counter, Dialogue, Hearing, Slate, fitting};
use super::framing::Cut;
use super::miscounts::Fault;
use super::text::{holds_control, parse_pri, trim};
use crate::event::{Marks, Origin, Page};
use crate::memory::Outcome;
use crate::wire::relp::{Heard, RelpError, Session, Txnr, acknowledge};

#[cfg(test)]
mod tests;

/// Replies written with one call, about as many as a window has.
const REPLIES_PER_WRITE: u32 = 512;

#[derive(Debug)]
pub struct Relp {
    session: Session,
    slate: Slate,
    /// The next messages to reply to; those that are owed come behind them.
    first: Txnr,
    replies: u32,
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

/// For each byte read. The shortest frame that becomes an event, `1 syslog 1 x`, has 13 bytes and
/// takes two bytes and its slots.
fn room_per_byte(page: &Page) -> usize {
    2 + page.slot_bytes() / 13
}

impl Relp {
    pub fn new(owner: Owner, event_bytes_max: usize) -> Self {
        Self {
            session: Session::new(event_bytes_max),
            slate: Slate::new(owner),
            first: Txnr::FIRST,
            replies: 0,
            ending: Ending::No,
        }
    }

    /// Takes what is whole, and notes what is owed for it; says where the rest begins.
    fn take_whole(
        &mut self,
        bytes: &[u8],
        hearing: &mut Hearing<'_, '_>,
    ) -> Result<usize, RelpError> {
        let Hearing { desk, origin, counter } = hearing;
        let (mut at, mut owed) = (0, None);
        let rest = loop {
            let (count, heard) = match self.session.hear(&bytes[at..], &mut self.slate.out) {
                Ok(heard) => heard,
                Err(error) => break Err(error),
            };
            at += count;
            match heard {
                Heard::Message { text, .. } => {
                    self.take(trim(text), true, Marks::NONE, desk, *origin);
                    owed = Some(owed.unwrap_or(0) + 1);
                }
                Heard::Piece { text, first, last, .. } => {
                    // Only the first piece has a PRI: that tells it from the others.
                    self.take(text, first, Marks::SPLIT, desk, *origin);
                    owed = Some(owed.unwrap_or(0) + u32::from(last));
                }
                Heard::Opened => self.first = Txnr::FIRST.next(),
                Heard::Hint => {}
                Heard::Close { txnr } => {
                    self.ending = Ending::Closed(txnr);
                    break Ok(bytes.len());
                }
                Heard::More => break Ok(at),
            }
        };
        if let Some(count) = owed {
            self.slate.owe(count, &mut counter.acks);
        }
        rest
    }

    /// An empty message is no event, and is acknowledged like any other.
    fn take(
        &mut self,
        text: &[u8],
        first: bool,
        marks: Marks,
        desk: &mut Desk<'_>,
        origin: Origin,
    ) {
        if text.is_empty() {
            return;
        }
        let pri = if first && desk.rules.want_pri { parse_pri(text) } else { None };
        let control = if holds_control(text) { Marks::CONTROL } else { Marks::NONE };
        self.slate.put(text, pri, marks.with(control), desk, origin);
    }
}

impl Dialogue for Relp {
    fn slate(&self) -> &Slate {
        &self.slate
    }

    fn slate_mut(&mut self) -> &mut Slate {
        &mut self.slate
    }

    fn longest(&self, desk: &Desk<'_>, counter: &mut Counter, held: usize) -> Result<usize, Visit> {
        if !counter.acks.ready() {
            return Err(Visit::Starved);
        }
        fitting(desk, held, room_per_byte(desk.page))
    }

    fn hear(&mut self, bytes: &[u8], _: usize, hearing: &mut Hearing<'_, '_>) -> usize {
        self.take_whole(bytes, hearing).unwrap_or_else(|error| {
            hearing.counter.fault = Some(Fault::Relp(error));
            self.ending = Ending::Parting;
            bytes.len()
        })
    }

    fn end(&mut self, _: &[u8], _: &mut Hearing<'_, '_>) {}

    /// Lets go of an unfinished frame: without it, it cannot go on.
    fn flush(&mut self, desk: &mut Desk<'_>, _: Origin, _: Cut) -> bool {
        self.slate.keep(&[], desk.carries);
        if self.ending == Ending::No {
            self.ending = Ending::Parting;
        }
        true
    }

    /// Messages that were lost on their way end it: nothing more is said.
    fn settled(&mut self, count: u32, outcome: Outcome) {
        match outcome {
            Outcome::Confirmed => {
                self.slate.owed -= count;
                self.replies += count;
            }
            Outcome::Failed => {
                self.ending = Ending::Broken;
                self.slate.out.clear();
            }
        }
    }

    fn listens(&self) -> bool {
        self.ending == Ending::No
    }

    fn is_over(&self) -> bool {
        self.ending == Ending::Broken || self.ending == Ending::Over && self.slate.out.is_empty()
    }

    fn is_owed(&self) -> bool {
        self.slate.owed > 0 || self.replies > 0 || !self.slate.out.is_empty()
    }

    fn word(&mut self) {
        let out = &mut self.slate.out;
        if self.ending == Ending::Broken {
            return;
        }
        if self.replies > 0 {
            let count = self.replies.min(REPLIES_PER_WRITE);
            acknowledge(self.first, count, out);
            self.first = self.first.plus(count);
            self.replies -= count;
        } else if self.slate.owed == 0 {
            match self.ending {
                Ending::Closed(txnr) => Session::part(txnr, out),
                Ending::Parting => Session::dismiss(out),
                Ending::No | Ending::Broken | Ending::Over => return,
            }
            self.ending = Ending::Over;
        }
    }
}
