//! `compression = { mode = "single" }`: messages that come compressed one by one, as rsyslog's
//! omfwd sends them (compression.mode="single").
//!
//! ```text
//!   datagram        z ‹zlib›             where another begins with <
//!   counted frame   14 z ‹zlib›          the count is that of the compressed bytes
//! ```
//! A sender compresses the messages that become shorter by it, so both kinds come side by side. In
//! a stream a compressed frame is replaced by the one that it stands for, before lines and frames
//! are told apart: what follows knows nothing of it. A message expands to `event_max` at most.
//! What expands to more, or not at all, is kept as it came, marked `unparsed` and counted.

use std::io;
use std::net::SocketAddr;
use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use flate2::{Decompress, FlushDecompress, Status};

use super::framing;
use crate::event::Full;

/// What a message that is compressed begins with.
pub const MARK: u8 = b'z';
/// RFC 3164 4.3.3: what a relay puts before a message that has no PRI. A counted frame has one.
const PRI: &[u8] = b"<13>";

const READ_BYTES: usize = 8 << 10;
/// Digits and a space.
const HEADER_BYTES: usize = 16;
/// The window and the tables of inflate.
const STATE_BYTES: usize = 48 << 10;

/// Why a message cannot be expanded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    #[error("a message that begins with `z` is not compressed (zlib), or is damaged")]
    Broken,
    #[error("a compressed message is longer than `event_max` when expanded")]
    Long,
}

/// What expands messages: one worker's, for all its sockets.
#[derive(Clone, Debug)]
pub struct Expander(Arc<Mutex<Inner>>);

#[derive(Debug)]
struct Inner {
    inflate: Decompress,
    event_bytes_max: usize,
    out: Box<[u8]>,
    /// Where in `out` a frame stands, and which: it may be given in several reads.
    held: Range<usize>,
    serial: u64,
    faults: u64,
    last: Option<(Fault, Option<SocketAddr>)>,
}

impl Expander {
    pub fn new(event_bytes_max: usize) -> Self {
        // The byte too many tells that it is.
        let out = vec![0; HEADER_BYTES + PRI.len() + event_bytes_max + 1].into();
        Self(Arc::new(Mutex::new(Inner {
            inflate: Decompress::new(true),
            event_bytes_max,
            out,
            held: 0..0,
            serial: 0,
            faults: 0,
            last: None,
        })))
    }

    pub const fn memory_bytes(event_bytes_max: usize) -> usize {
        HEADER_BYTES + PRI.len() + event_bytes_max + STATE_BYTES
    }

    /// Hands `place` what the datagram says; or its own bytes and false, when that is not known.
    pub fn datagram(
        &self,
        text: &[u8],
        peer: Option<SocketAddr>,
        place: impl FnOnce(&[u8], bool) -> Result<(), Full>,
    ) -> Result<(), Full> {
        if text.first() != Some(&MARK) {
            return place(text, true);
        }
        let mut inner = self.lock();
        match inner.expand(text) {
            Ok(found) => place(&inner.out[found], true),
            Err(fault) => {
                // Without room it comes again.
                place(text, false)?;
                inner.note(fault, peer);
                Ok(())
            }
        }
    }

    /// Messages that were kept as they came since this was asked last, and what the last one's
    /// fault is; its sender, if it was a datagram.
    pub fn take_faults(&self) -> Option<(u64, Fault, Option<SocketAddr>)> {
        let mut inner = self.lock();
        let (fault, peer) = inner.last.take()?;
        Some((std::mem::take(&mut inner.faults), fault, peer))
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    /// Expands what follows the mark; says where in `out` it stands.
    fn expand(&mut self, text: &[u8]) -> Result<Range<usize>, Fault> {
        let (body, from) = (&text[1..], HEADER_BYTES + PRI.len());
        self.serial += 1;
        self.inflate.reset(true);
        let status = self.inflate.decompress(body, &mut self.out[from..], FlushDecompress::Finish);
        let (taken, came) = (self.inflate.total_in(), self.inflate.total_out() as usize);
        if from + came == self.out.len() {
            return Err(Fault::Long);
        }
        let whole = matches!(status, Ok(Status::StreamEnd)) && taken == body.len() as u64;
        if whole { Ok(from..from + came) } else { Err(Fault::Broken) }
    }

    /// The same as a counted frame with its header; of an empty text it is empty.
    fn frame(&mut self, text: &[u8]) -> Result<(), Fault> {
        self.held = self.expand(text)?;
        if self.held.is_empty() {
            return Ok(());
        }
        if self.out[self.held.start] != b'<' {
            self.put(PRI);
        }
        let count = self.held.len();
        if count > self.event_bytes_max {
            return Err(Fault::Long);
        }
        self.put(b" ");
        let mut left = count;
        while left > 0 {
            self.put(&[b'0' + (left % 10) as u8]);
            left /= 10;
        }
        Ok(())
    }

    /// Puts this before what is held.
    fn put(&mut self, front: &[u8]) {
        let end = self.held.start;
        self.held.start -= front.len();
        self.out[self.held.start..end].copy_from_slice(front);
    }

    fn note(&mut self, fault: Fault, peer: Option<SocketAddr>) {
        self.faults += 1;
        self.last = Some((fault, peer));
    }
}

/// One connection's: what came of its stream and is still to be given.
#[derive(Debug)]
pub struct Frames {
    expander: Expander,
    event_bytes_max: usize,
    input: Box<[u8]>,
    from: usize,
    to: usize,
    place: Place,
    /// Of the compressed frame at `from`: how much has been given, and whether the expander still
    /// has it.
    given: usize,
    serial: u64,
    /// Nothing can be given without more input.
    starves: bool,
    /// No more input comes: what is there is given as it is.
    ended: bool,
    /// Bytes that came, of which nobody was told.
    untold: usize,
}

/// What stands at the front of the input.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    Start,
    /// A line, up to its delimiter.
    Line,
    /// So many bytes of a counted frame.
    Body(usize),
}

impl Frames {
    pub fn new(expander: Expander, event_bytes_max: usize) -> Self {
        Self {
            expander,
            event_bytes_max,
            input: vec![0; Self::memory_bytes(event_bytes_max)].into(),
            from: 0,
            to: 0,
            place: Place::Start,
            given: 0,
            serial: 0,
            starves: true,
            ended: false,
            untold: 0,
        }
    }

    /// The longest frame, and a read behind it.
    pub const fn memory_bytes(event_bytes_max: usize) -> usize {
        HEADER_BYTES + event_bytes_max + READ_BYTES
    }

    /// Reads what there is room for; `WouldBlock` when nothing is there, 0 at the peer's end.
    pub fn read(
        &mut self,
        into: &mut [u8],
        mut more: impl FnMut(&mut [u8]) -> io::Result<usize>,
    ) -> io::Result<usize> {
        loop {
            let count = self.give(into);
            if count > 0 {
                return Ok(count);
            }
            if self.ended {
                return Ok(0);
            }
            self.input.copy_within(self.from..self.to, 0);
            (self.from, self.to) = (0, self.to - self.from);
            let count = more(&mut self.input[self.to..])?;
            self.to += count;
            self.untold += count;
            self.ended = count == 0;
        }
    }

    /// What is left is given as it is: no more comes. Says whether there is anything.
    pub fn end(&mut self) -> bool {
        self.ended = true;
        self.from < self.to
    }

    fn give(&mut self, into: &mut [u8]) -> usize {
        let mut at = 0;
        self.starves = false;
        while at < into.len() && !self.starves {
            let front = &self.input[self.from..self.to];
            let room = front.len().min(into.len() - at);
            let count = match self.place {
                _ if front.is_empty() => 0,
                Place::Start => {
                    at += self.begin(&mut into[at..]);
                    continue;
                }
                Place::Body(left) => {
                    let count = left.min(room);
                    self.place =
                        if count < left { Place::Body(left - count) } else { Place::Start };
                    count
                }
                Place::Line => match memchr::memchr2(b'\n', 0, &front[..room]) {
                    Some(end) => {
                        self.place = Place::Start;
                        end + 1
                    }
                    None => room,
                },
            };
            into[at..at + count].copy_from_slice(&front[..count]);
            self.from += count;
            self.starves = count == 0;
            at += count;
        }
        at
    }

    /// At the front of a frame: what it is, and of a compressed one what fits.
    fn begin(&mut self, into: &mut [u8]) -> usize {
        let front = &self.input[self.from..self.to];
        let Some(head) = framing::count(front, self.event_bytes_max) else {
            // Too few bytes to tell.
            self.starves = !self.ended;
            self.place = if self.ended { Place::Line } else { Place::Start };
            return 0;
        };
        let Some((header, count)) = head else {
            self.place = Place::Line;
            return 0;
        };
        if front[header] != MARK {
            self.place = Place::Body(header + count);
            return 0;
        }
        if front.len() < header + count {
            self.starves = !self.ended;
            self.place = if self.ended { Place::Body(header + count) } else { Place::Start };
            return 0;
        }
        let expander = self.expander.clone();
        let mut inner = expander.lock();
        let text = &front[header..header + count];
        // In several reads it is expanded again only if somebody else was there in between.
        if self.given == 0 || inner.serial != self.serial {
            if let Err(fault) = inner.frame(text) {
                inner.note(fault, None);
                self.place = Place::Body(header + count);
                return 0;
            }
            self.serial = inner.serial;
        }
        let rest = &inner.out[inner.held.clone()][self.given..];
        let room = rest.len().min(into.len());
        into[..room].copy_from_slice(&rest[..room]);
        self.given += room;
        if self.given == inner.held.len() {
            self.from += header + count;
            self.given = 0;
        }
        room
    }

    pub fn untold_bytes(&self) -> usize {
        self.untold
    }

    /// Bytes that came since this was asked last. The last one is told when nothing more can be
    /// given of them.
    pub fn take_told(&mut self) -> usize {
        let pending = !self.starves && self.from < self.to;
        let kept = usize::from(pending).min(self.untold);
        std::mem::replace(&mut self.untold, kept) - kept
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use flate2::Compression;
    use flate2::write::ZlibEncoder;
    use proptest::prelude::*;
    use std::io::{Read, Write};

    const MAX: usize = 2000;

    fn packed(text: &[u8]) -> Vec<u8> {
        let mut encoder = ZlibEncoder::new(vec![MARK], Compression::default());
        encoder.write_all(text).unwrap();
        encoder.finish().unwrap()
    }

    fn framed(message: &[u8]) -> Vec<u8> {
        [message.len().to_string().as_bytes(), b" ", message].concat()
    }

    /// What comes of this stream in pieces of `part`, by reads of `room`; how many were kept.
    fn unpack(bytes: &[u8], part: usize, room: usize) -> (Vec<u8>, u64) {
        let expander = Expander::new(MAX);
        let mut frames = Frames::new(expander.clone(), MAX);
        let (mut left, mut out, mut into, mut told) = (bytes, Vec::new(), vec![0; room], 0);
        loop {
            let read = |input: &mut [u8]| left.by_ref().take(part as u64).read(input);
            let count = frames.read(&mut into, read).unwrap();
            told += frames.take_told();
            out.extend_from_slice(&into[..count]);
            if count == 0 {
                assert_eq!(told, bytes.len());
                return (out, expander.take_faults().map_or(0, |it| it.0));
            }
        }
    }

    fn said(expander: &Expander, datagram: &[u8]) -> (Vec<u8>, bool) {
        let mut said = None;
        let keep = |text: &[u8], good| {
            said = Some((text.to_vec(), good));
            Ok(())
        };
        expander.datagram(datagram, None, keep).unwrap();
        said.unwrap()
    }

    #[test]
    fn datagrams_are_expanded_as_far_as_an_event_may_be_long() {
        let expander = Expander::new(MAX);
        for text in [&b"<13>hello"[..], b"", b"no PRI", &[b'<'; MAX], b"z"] {
            assert_eq!(said(&expander, &packed(text)), (text.to_vec(), true));
        }
        assert_eq!(said(&expander, b"<13>plain"), (b"<13>plain".to_vec(), true));
        assert_eq!(expander.take_faults(), None);
        let (long, whole) = (packed(&[b'<'; MAX + 1]), packed(b"<13>hello"));
        let bomb = packed(&vec![b'<'; 10 << 20]);
        for (bad, fault) in [
            (&long[..], Fault::Long),
            (&bomb, Fault::Long),
            (&whole[..whole.len() - 1], Fault::Broken),
            (&[&whole[..], b"x"].concat(), Fault::Broken),
            (b"z", Fault::Broken),
            (b"zebra", Fault::Broken),
        ] {
            assert_eq!(said(&expander, bad), (bad.to_vec(), false));
            assert_eq!(expander.take_faults(), Some((1, fault, None)));
        }
        let refused = expander.datagram(b"zebra", None, |_, _| Err(Full));
        assert_eq!((refused, expander.take_faults()), (Err(Full), None), "it comes again");
    }

    #[test]
    fn frames_are_replaced_and_everything_else_stays() {
        let good = [packed(b"<13>one"), packed(b"two"), packed(b"")].map(|it| framed(&it));
        let stream =
            [b"<1>line\n", &good[0][..], &good[1], b"8 <2>three", &good[2], b"200 OK\nzoo"];
        let (text, kept) = unpack(&stream.concat(), 99, 99);
        let expected = "<1>line\n7 <13>one7 <13>two8 <2>three200 OK\nzoo";
        assert_eq!((String::from_utf8(text).unwrap().as_str(), kept), (expected, 0));
        let longest = packed(&[b'x'; MAX - 3]);
        for bad in [&packed(&[b'<'; MAX + 1])[..], &longest, b"zebra"] {
            let stream = [&framed(bad)[..], &good[0]].concat();
            let expected = [&framed(bad)[..], b"7 <13>one"].concat();
            assert_eq!(unpack(&stream, 99, 99), (expected, 1));
        }
    }

    proptest! {
        #[test]
        fn any_pieces_and_any_room_give_the_same(
            texts in prop::collection::vec(("(<[0-9]{1,3}>)?[a-z \n]{0,80}", 0..4_u8), 1..12),
            part in 1..200_usize,
            room in 1..200_usize,
            cut in 0.0..1.0,
        ) {
            let (mut stream, mut ends, mut plain, mut plains) = (vec![], vec![], vec![], vec![]);
            for (text, kind) in &texts {
                let text = text.as_bytes();
                let with_pri = match text {
                    [b'<', ..] => text.to_vec(),
                    _ => [PRI, text].concat(),
                };
                match kind {
                    0 => {
                        // A line that no count begins.
                        let line = [&b"<"[..], text, b"\n"].concat();
                        stream.extend_from_slice(&line);
                        plain.extend_from_slice(&line);
                    }
                    1 => {
                        stream.extend_from_slice(&framed(&with_pri));
                        plain.extend_from_slice(&framed(&with_pri));
                    }
                    _ if text.is_empty() => stream.extend_from_slice(&framed(&packed(text))),
                    _ => {
                        stream.extend_from_slice(&framed(&packed(text)));
                        plain.extend_from_slice(&framed(&with_pri));
                    }
                }
                ends.push(stream.len());
                plains.push(plain.len());
            }
            prop_assert_eq!(unpack(&stream, part, room), (plain.clone(), 0));
            // A stream that ends in the middle: nothing of it is missing.
            let end = (cut * stream.len() as f64) as usize;
            let whole = ends.iter().take_while(|it| **it <= end).count();
            let (given, taken) = match whole {
                0 => (0, 0),
                _ => (plains[whole - 1], ends[whole - 1]),
            };
            let (front, kept) = unpack(&stream[..end], part, room);
            prop_assert_eq!(kept, 0);
            let rest = if front.len() >= given { &front[given..] } else { &[] };
            prop_assert_eq!(rest, &stream[taken..end]);
        }
    }
}
