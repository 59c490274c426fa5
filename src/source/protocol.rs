//! What a connection's bytes mean: a door sign for the reactor, which knows no protocol.
//!
//! To add one: a variant with its state, its arm in each match (the compiler names them), and
//! `Speech` in the row of its transports in `listen`. A protocol that answers keeps what it has to
//! say, and sends it by `Link::write` at the end of `visit`, which the reactor also calls whenever
//! the peer has room again.

use super::connection::{Desk, Stream, Visit};
use super::framing::Cut;
use super::link::Link;
use super::reactor::VISIT_BYTES;
use crate::event::Origin;

/// No read is for less.
const READ_BYTES_MIN: usize = 4 << 10;

/// Which protocol the connections of a listener speak.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Speech {
    /// Lines, and counted frames where the source takes them.
    Lines,
}

impl Speech {
    /// Whether it writes to the peer.
    pub fn answers(self) -> bool {
        match self {
            Self::Lines => false,
        }
    }

    pub fn begin(self) -> Protocol {
        match self {
            Self::Lines => Protocol::Lines(Stream::default()),
        }
    }
}

/// One connection's place in its protocol.
#[derive(Debug)]
pub enum Protocol {
    Lines(Stream),
}

impl Protocol {
    /// Reads until there is no more, `bound` bytes have come, or the page is full. `taken` grows
    /// by what was read. `ended`: the peer has said that no more comes, so it is read to its end.
    pub fn visit(
        &mut self,
        desk: &mut Desk<'_>,
        origin: Origin,
        link: &mut Link,
        bound: usize,
        ended: bool,
        taken: &mut usize,
    ) -> Visit {
        match self {
            Self::Lines(stream) => {
                let mut emptied = false;
                // A read may fill the page; who reads less a visit, reads less at once.
                let most = if bound < VISIT_BYTES { bound.max(READ_BYTES_MIN) } else { usize::MAX };
                stream.visit(desk, origin, bound, |into| {
                    if emptied && !ended {
                        return Err(std::io::ErrorKind::WouldBlock.into());
                    }
                    let room = into.len().min(most);
                    let into = &mut into[..room];
                    let count = link.read(into)?;
                    emptied = link.is_emptied(count, into.len());
                    *taken += count;
                    Ok(count)
                })
            }
        }
    }

    /// Bytes of the unfinished frame.
    pub fn carried(&self) -> usize {
        match self {
            Self::Lines(stream) => stream.carried(),
        }
    }

    /// Makes an event of what is carried. False: the page has no room.
    pub fn flush(&mut self, desk: &mut Desk<'_>, origin: Origin, why: Cut) -> bool {
        match self {
            Self::Lines(stream) => stream.flush(desk, origin, why),
        }
    }
}
