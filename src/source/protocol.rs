//! What a connection's bytes mean: a door sign for the reactor, which knows no protocol.
//!
//! To add one that answers: a [`Dialogue`], its `Speech` with an arm in `begin`, and that in the
//! row of its transports in `listen`. What it has to say goes out at the end of `visit`, which the
//! reactor also calls whenever the peer has room again.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use super::acks::Owner;
use super::answering::{Answering, Answers};
use super::connection::{Desk, Stream, Visit};
use super::dialogue::{Dialogue, Reading};
use super::framing::{Cut, Rules};
use super::http::{self, Refused, Talk};
use super::inflate::Inflate;
use super::link::Link;
use super::multiline::Multiline;
use super::reactor::VISIT_BYTES;
use super::relp::Relp;
use super::single::{Expander, Frames};
use super::storing::{Names, Storing};
use crate::event::Origin;
use crate::memory::Outcome;
use crate::time::Mono;

/// No read is for less.
const READ_BYTES_MIN: usize = 4 << 10;

/// Which protocol the connections of a listener speak.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Speech {
    /// Lines, and counted frames where the source takes them.
    Lines,
    Relp,
    /// Lines, each of which is answered.
    Answered,
    /// memcached's text protocol.
    Stores,
    Http,
}

/// What is particular about a source's lines.
#[derive(Clone, Debug, Default)]
pub struct Manner {
    /// Some of them belong together.
    pub multiline: Option<Arc<Multiline>>,
    /// They, or some of their messages, come compressed.
    pub packing: Option<Packing>,
    /// They are answered like this.
    pub answers: Option<Answers>,
    /// What of a store becomes headers.
    pub stores: Arc<Names>,
    /// Its requests are taken by these.
    pub http: Option<Arc<http::Rules>>,
}

/// How lines are compressed.
#[derive(Clone, Debug)]
pub enum Packing {
    Streams,
    Single(Expander),
}

impl Speech {
    /// Whether it writes to the peer.
    pub fn answers(self) -> bool {
        match self {
            Self::Lines => false,
            Self::Relp | Self::Answered | Self::Stores | Self::Http => true,
        }
    }

    pub fn begin(self, owner: Owner, rules: &Rules, manner: &Manner) -> Protocol {
        match self {
            Self::Lines => {
                let multiline = manner.multiline.as_ref();
                let stream = multiline.map_or_else(Stream::default, Stream::joined);
                let packed = manner.packing.as_ref().map(|packing| match packing {
                    Packing::Streams => Packed::Stream(Box::default()),
                    Packing::Single(expander) => {
                        let frames = Frames::new(expander.clone(), rules.event_bytes_max);
                        Packed::Single(Box::new(frames))
                    }
                });
                Protocol::Lines(stream, packed)
            }
            Self::Relp => Protocol::Answered(Box::new(Relp::new(owner, rules.event_bytes_max))),
            Self::Answered => {
                let answers = manner.answers.expect("who answers says how");
                Protocol::Answered(Box::new(Answering::new(owner, answers)))
            }
            Self::Stores => {
                let names = Arc::clone(&manner.stores);
                Protocol::Answered(Box::new(Storing::new(owner, rules.event_bytes_max, names)))
            }
            Self::Http => {
                let rules = manner.http.clone().expect("who takes requests has rules");
                Protocol::Answered(Box::new(Talk::new(owner, rules)))
            }
        }
    }
}

/// One connection's place in its protocol.
#[derive(Debug)]
pub enum Protocol {
    /// With what expands them, where they come compressed.
    Lines(Stream, Option<Packed>),
    Answered(Box<dyn Dialogue>),
}

/// What expands what a connection brings.
#[derive(Debug)]
pub enum Packed {
    Stream(Box<Inflate>),
    Single(Box<Frames>),
}

impl Packed {
    fn read(&mut self, link: &mut Link, into: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Stream(inflate) => inflate.read(link, into),
            Self::Single(frames) => frames.read(into, |input| link.read(input)),
        }
    }

    fn take_told(&mut self) -> usize {
        match self {
            Self::Stream(inflate) => inflate.take_told(),
            Self::Single(frames) => frames.take_told(),
        }
    }

    fn untold_bytes(&self) -> usize {
        match self {
            Self::Stream(inflate) => inflate.untold_bytes(),
            Self::Single(frames) => frames.untold_bytes(),
        }
    }
}

impl Protocol {
    /// Reads until there is no more, `bound` bytes have come, or the page is full.
    pub fn visit(
        &mut self,
        desk: &mut Desk<'_>,
        origin: Origin,
        reading: &mut Reading<'_>,
    ) -> Visit {
        let (stream, packed) = match self {
            Self::Lines(stream, packed) => (stream, packed),
            Self::Answered(dialogue) => return dialogue.visit(desk, origin, reading),
        };
        let Reading { link, bound, ended, taken } = reading;
        let mut emptied = false;
        // A read may fill the page; who reads less a visit, reads less at once.
        let most = if *bound < VISIT_BYTES { (*bound).max(READ_BYTES_MIN) } else { usize::MAX };
        let visit = stream.visit(desk, origin, *bound, |into| {
            if emptied && !*ended {
                return Err(io::ErrorKind::WouldBlock.into());
            }
            let room = into.len().min(most);
            let into = &mut into[..room];
            if let Some(packed) = packed {
                return packed.read(link, into);
            }
            let count = link.read(into)?;
            emptied = link.is_emptied(count, into.len());
            *taken += count;
            Ok(count)
        });
        *taken += packed.as_mut().map_or(0, Packed::take_told);
        visit
    }

    /// Bytes that came, and will be told of when they are expanded.
    pub fn untold_bytes(&self) -> usize {
        match self {
            Self::Lines(_, packed) => packed.as_ref().map_or(0, Packed::untold_bytes),
            Self::Answered(_) => 0,
        }
    }

    /// Bytes of the unfinished frame.
    pub fn carried(&self) -> usize {
        match self {
            Self::Lines(stream, _) => stream.carried(),
            Self::Answered(dialogue) => dialogue.carried(),
        }
    }

    /// Makes an event of what is carried. False: the page has no room.
    pub fn flush(&mut self, desk: &mut Desk<'_>, origin: Origin, why: Cut) -> bool {
        match self {
            Self::Lines(stream, Some(Packed::Single(frames))) if why == Cut::End => {
                if !frames.end() {
                    return stream.flush(desk, origin, why);
                }
                // A frame that is not whole is kept as it is.
                let rest = |into: &mut [u8]| frames.read(into, |_| Ok(0));
                !matches!(stream.visit(desk, origin, usize::MAX, rest), Visit::Full)
            }
            Self::Lines(stream, _) => stream.flush(desk, origin, why),
            Self::Answered(dialogue) => dialogue.flush(desk, origin, why),
        }
    }

    /// How long lines that wait to be joined may wait for more; none: there are none.
    pub fn patience(&self) -> Option<Duration> {
        match self {
            Self::Lines(stream, _) => stream.patience(),
            Self::Answered(_) => None,
        }
    }

    /// Nothing more came in time. False: the page has no room.
    pub fn end_group(&mut self, desk: &mut Desk<'_>, origin: Origin) -> bool {
        match self {
            Self::Lines(stream, _) => stream.end_group(desk, origin),
            Self::Answered(_) => true,
        }
    }

    /// Texts that had lost their octet count since this was asked last.
    pub fn take_astray(&mut self) -> u32 {
        match self {
            Self::Lines(stream, _) => stream.take_astray(),
            Self::Answered(_) => 0,
        }
    }

    /// Requests that were refused since this was asked last.
    pub fn take_refused(&mut self) -> Option<Refused> {
        match self {
            Self::Lines(..) => None,
            Self::Answered(dialogue) => dialogue.take_refused(),
        }
    }

    /// Tells its peer that it sends too much; others are not read for a while.
    pub fn refuses(&self) -> bool {
        match self {
            Self::Lines(..) => false,
            Self::Answered(dialogue) => dialogue.refuses(),
        }
    }

    /// When it has to be visited though nothing comes.
    pub fn alarm(&self) -> Mono {
        match self {
            Self::Lines(..) => Mono::MAX,
            Self::Answered(dialogue) => dialogue.alarm(),
        }
    }

    /// Says what is left to say. False: the connection may be closed.
    pub fn lingers(&mut self, link: &mut Link) -> bool {
        match self {
            Self::Lines(..) => false,
            Self::Answered(dialogue) => dialogue.lingers(link),
        }
    }

    /// Everything may be said, but the peer does not take it.
    pub fn is_stuck(&self) -> bool {
        match self {
            Self::Lines(..) => false,
            Self::Answered(dialogue) => dialogue.is_stuck(),
        }
    }

    /// The peer waits for an answer.
    pub fn is_owed(&self) -> bool {
        match self {
            Self::Lines(..) => false,
            Self::Answered(dialogue) => dialogue.is_owed(),
        }
    }

    /// `count` messages of this owner have settled. None: he has gone, and nobody waits for it.
    pub fn settled(&mut self, owner: Owner, count: u32, outcome: Outcome) -> Option<()> {
        match self {
            Self::Answered(dialogue) if dialogue.owner() == owner => {
                dialogue.settled(count, outcome);
                Some(())
            }
            _ => None,
        }
    }
}
