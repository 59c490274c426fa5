//! An event as the peer gets it: as it came or written anew, and framed for a stream.
//!
//! - `newline`: the message and LF. Control bytes of events that came in datagrams or counted
//!   frames are written as `#ooo`, as the `raw` encoder does, so that one line is one event.
//! - `octet` (RFC 6587, 3.4.1): the length, a blank, the message; every byte as it came. A message
//!   that does not begin with `<` gets the PRI that RFC 3164 4.3.3 tells a relay to write: without
//!   it no receiver could tell the frame from a line.

use std::io::Write as _;

use super::load::{Tally, Why};
use super::rewrite::{self, Rewriter};
use crate::codec::encoders::{Encoder, Raw};
use crate::event::{Event, Page};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Framing {
    Newline,
    Octet,
}

/// RFC 3164, 4.3.3.
const PRI_OF_RELAYS: &[u8] = b"<13>";
const COUNT_BYTES_MAX: usize = 12;

/// What every peer of a sink gets its events by.
#[derive(Clone)]
pub(super) struct Framer {
    framing: Framing,
    rewriter: Option<Rewriter>,
    scratch: Vec<u8>,
}

/// The longest frame of an event.
pub(super) fn bound(event_bytes: usize, rewritten: bool) -> usize {
    let message = if rewritten { rewrite::bound(event_bytes) } else { event_bytes };
    // Each byte may become `#ooo`.
    4 * message + PRI_OF_RELAYS.len() + COUNT_BYTES_MAX
}

impl Framer {
    pub(super) fn new(framing: Framing, rewriter: Option<Rewriter>, event_bytes: usize) -> Self {
        let scratch = if rewriter.is_some() { rewrite::bound(event_bytes) } else { 0 };
        Self { framing, rewriter, scratch: Vec::with_capacity(scratch) }
    }

    /// The events to come were received around then.
    pub(super) fn turn_to(&mut self, page: &Page) {
        if let Some(rewriter) = &mut self.rewriter {
            rewriter.turn_to(page.time_max());
        }
    }

    /// Bytes that can be sent as they stand in the page.
    pub(super) fn as_is<'page>(&self, page: &'page Page) -> Option<&'page [u8]> {
        let lines = self.framing == Framing::Newline && self.rewriter.is_none();
        let bytes = page.contiguous().filter(|_| lines)?;
        page.events().all(|event| is_line(event.bytes)).then_some(bytes)
    }

    /// Appends frames until `limit` bytes are there; how many events were taken. Each comes with
    /// its place in the batch.
    pub(super) fn fill<'e>(
        &mut self,
        events: impl Iterator<Item = (Event<'e>, u32)>,
        tally: &mut Tally,
        limit: usize,
        out: &mut Vec<u8>,
    ) -> u32 {
        let mut count = 0;
        for (event, index) in events {
            if out.len() >= limit {
                break;
            }
            count += 1;
            if event.bytes.is_empty() && self.rewriter.is_none() {
                // No stream framing has an empty message: receivers see nothing at all.
                tally.refuse(index, Why::Empty);
            } else {
                self.frame(&event, out);
            }
        }
        count
    }

    fn frame(&mut self, event: &Event<'_>, out: &mut Vec<u8>) {
        let mut event = *event;
        if let Some(rewriter) = &mut self.rewriter {
            self.scratch.clear();
            rewriter.write(&event, &mut self.scratch);
            event.bytes = &self.scratch;
        }
        match self.framing {
            Framing::Newline => {
                if looks_counted(event.bytes) {
                    out.extend_from_slice(PRI_OF_RELAYS);
                }
                Raw::default().encode_event(&event, out);
            }
            Framing::Octet => {
                let pri = if event.bytes.first() == Some(&b'<') { &[] } else { PRI_OF_RELAYS };
                let count = pri.len() + event.bytes.len();
                write!(out, "{count} ").expect("a Vec takes every write");
                out.extend_from_slice(pri);
                out.extend_from_slice(event.bytes);
            }
        }
    }

    /// The message for a datagram: where it stands, or written anew to the end of `out`.
    pub(super) fn datagram<'e>(
        &mut self,
        event: &Event<'e>,
        out: &mut Vec<u8>,
    ) -> Option<&'e [u8]> {
        match &mut self.rewriter {
            None => Some(event.bytes),
            Some(rewriter) => {
                rewriter.write(event, out);
                None
            }
        }
    }
}

/// It is one line to every receiver.
fn is_line(bytes: &[u8]) -> bool {
    bytes.first().is_some_and(|first| !first.is_ascii_digit()) || {
        !bytes.is_empty() && !looks_counted(bytes)
    }
}

/// A receiver that takes both framings would take this line for a counted frame.
fn looks_counted(bytes: &[u8]) -> bool {
    let digits = bytes.iter().take_while(|byte| byte.is_ascii_digit()).count();
    digits > 0 && bytes[digits..].starts_with(b" <")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::{EventHead, Marks, Origin};
    use crate::limits;
    use crate::time::Wall;

    fn page(events: &[(&[u8], Marks)]) -> Page {
        let mut page = Page::new(limits::BATCH_BYTES_MIN);
        let origin = page.push_origin(Origin::LOCAL).expect("room");
        for (bytes, marks) in events {
            let head = EventHead { at: Wall(1), origin, pri: None, marks: *marks };
            page.append_event(bytes, head).expect("room");
        }
        page
    }

    fn filled(framing: Framing, events: &[(&[u8], Marks)]) -> (Vec<u8>, u64) {
        let page = page(events);
        let (mut out, mut tally) = (Vec::new(), Tally::default());
        let mut framer = Framer::new(framing, None, 100);
        let mut taken = 0;
        // One event at a time, and the same comes out.
        while taken < page.event_count() {
            let events = page.events().zip(0..).skip(taken as usize);
            taken += framer.fill(events, &mut tally, out.len() + 1, &mut out);
        }
        if let Some(bytes) = framer.as_is(&page) {
            assert_eq!(bytes, out, "sent as it stands, it is the same");
        }
        (out, tally.refused_events())
    }

    #[test]
    fn lines() {
        let plain = Marks::NONE;
        let (out, refused) = filled(
            Framing::Newline,
            &[
                (b"<13>one", plain),
                (b"two\nlines\0", Marks::CONTROL),
                (b"", plain),
                (b"12 <13>no frame", plain),
                (b"200 OK", plain),
            ],
        );
        let expected = b"<13>one\ntwo#012lines#000\n<13>12 <13>no frame\n200 OK\n";
        assert_eq!((out.as_slice(), refused), (&expected[..], 1));
        let framer = Framer::new(Framing::Newline, None, 100);
        for (event, as_is) in [("<13>x", true), ("x", true), ("9 <x", false), ("9 x", true)] {
            let page = page(&[(event.as_bytes(), plain)]);
            assert_eq!(framer.as_is(&page).is_some(), as_is, "{event}");
        }
        assert!(framer.as_is(&page(&[(b"", plain)])).is_none());
    }

    #[test]
    fn counted_frames_keep_every_byte() {
        let (out, refused) = filled(
            Framing::Octet,
            &[(b"<13>one\n\0\x01", Marks::CONTROL), (b"", Marks::NONE), (b"two", Marks::NONE)],
        );
        assert_eq!((out.as_slice(), refused), (&b"10 <13>one\n\0\x017 <13>two"[..], 1));
    }
}
