//! One byte stream and its unfinished frame: reading into the page, in place.
//!
//! ```text
//!   page  │ events … │ hole, as long as the carry │ fresh bytes of this read │ gap ──▶
//!                    ^ tail
//! ```
//! A line that a read did not finish waits in the connection's carry. The next read leaves a hole
//! of its length in front, so that only fresh bytes are searched; the carry is copied into the hole
//! when its frame ends, and grows otherwise: a line that comes byte by byte costs what it costs
//! otherwise, not its square. Within one visit the unfinished frame simply stays where it is.
//!
//! A read asks for as much as fits if frames are as long as they were lately (`reach`), and never
//! for less than what fits whatever arrives: frames of one byte take 2 bytes and a slot of 16, so
//! a ninth of the gap; with fields beside the events it is less.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use super::carry::{Carries, Carry, FRAME_EXTRA_BYTES};
use super::dialogue::Counter;
use super::framing::{self, Cut, Framed, Rules, Stage};
use super::multiline::{Group, Multiline, frame_bytes_max};
use crate::event::{HeaderMap, Names, ORIGIN_BYTES_MAX, Origin, OriginIndex, OriginPlace, Page};
use crate::limits::{self, u32_of, usize_of};
use crate::time::Wall;

/// Bytes and slots a visit may need beside its fresh bytes: an origin, the pieces of one line that
/// had been carried, a newline, alignment.
pub const RESERVE_BYTES: usize = 1024 + ORIGIN_BYTES_MAX;

/// A page with less room for a read, and for what it may become, is full: 4 KiB without fields.
const READ_ROOM_MIN: usize = 9 * (4 << 10);

/// What a visit left behind.
#[derive(Debug)]
pub enum Visit {
    /// All that was there has been read.
    Drained,
    /// There may be more: it stopped at the bound.
    Bound,
    /// There may be more, but the page has no room.
    Full,
    /// There may be more, but nobody could tell when it may be acknowledged: no receipt is free.
    Starved,
    /// The peer has closed, and the last line is an event.
    Ended,
    /// The stream failed, and the last line is an event.
    Failed(io::Error),
}

/// A stream's place in its framing, and its origin in the page being filled.
#[derive(Debug, Default)]
pub struct Stream {
    carry: Carry,
    stage: Stage,
    /// Of a stream whose lines are joined: then that frames it, and `stage` stays at its start.
    group: Option<Box<Group>>,
    /// Texts that had lost their octet count, not yet told.
    astray: u32,
    /// The rest of a read waits, and comes before what the socket has.
    ahead: bool,
    place: OriginPlace,
}

/// What all streams of a worker share in one `receive`.
pub struct Desk<'a> {
    pub page: &'a mut Page,
    pub carries: &'a mut Carries,
    pub rules: &'a Rules,
    pub at: Wall,
    /// What the stream's sender is called.
    pub names: Names<'a>,
    /// Headers that say who that is.
    pub labels: &'a HeaderMap,
    /// For those who acknowledge.
    pub counter: Option<&'a mut Counter>,
}

impl Desk<'_> {
    /// Bytes and slots beside those that are read.
    pub fn reserve(&self) -> usize {
        RESERVE_BYTES + self.labels.bytes()
    }
}

impl Stream {
    /// One whose lines are joined.
    pub fn joined(multiline: &Arc<Multiline>) -> Self {
        Self { group: Some(Box::new(Group::new(Arc::clone(multiline)))), ..Self::default() }
    }

    /// Reads until there is no more, `bound` bytes have come, or the page is full. `carries` must
    /// not be tight. `read` may return fewer bytes than asked for; only `WouldBlock` or 0 end it.
    pub fn visit(
        &mut self,
        desk: &mut Desk<'_>,
        origin: Origin,
        bound: usize,
        mut read: impl FnMut(&mut [u8]) -> io::Result<usize>,
    ) -> Visit {
        let mut held = self.carry.len();
        let mut standing = false;
        let mut taken = 0;
        let visit = loop {
            let free = desk.page.free_bytes();
            if free < room(desk, held) {
                break Visit::Full;
            }
            if taken >= bound && !self.ahead {
                break Visit::Bound;
            }
            self.introduce(desk, origin);
            let (longest, kept) = self.longest(desk, free - held - desk.reserve());
            let spare = desk.page.spare_mut();
            let count = if self.ahead {
                let count = desk.carries.reach.take(&mut spare[held..held + longest]);
                self.ahead = desk.carries.reach.is_waiting();
                count
            } else {
                match read(&mut spare[held..held + longest]) {
                    Ok(0) => break Visit::Ended,
                    Ok(count) => {
                        taken += count;
                        count
                    }
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                        break Visit::Drained;
                    }
                    Err(error) => break Visit::Failed(error),
                }
            };
            if held > 0 && !standing {
                let (hole, fresh) = spare[..held + count].split_at_mut(held);
                if !self.settles(fresh, desk.rules) {
                    desk.carries.append(&mut self.carry, fresh);
                    held += count;
                    continue;
                }
                hole.copy_from_slice(self.carry.bytes());
                self.carry.clear();
            }
            held = self.frame(desk, origin, held, count, kept);
            standing = true;
            if self.ahead && kept > 0 {
                break Visit::Full;
            }
        };
        self.leave(desk, origin, held, standing, &visit);
        visit
    }

    fn settles(&mut self, fresh: &[u8], rules: &Rules) -> bool {
        let carry = self.carry.bytes();
        match &mut self.group {
            None => framing::settles(carry, self.stage, fresh, rules),
            Some(group) => group.settles(carry, fresh, rules),
        }
    }

    /// How many of the bytes in `gap` to read, and slots to keep while they are framed.
    fn longest(&self, desk: &Desk<'_>, gap: usize) -> (usize, usize) {
        let surely = gap / room_per_byte(desk.page);
        let reach = desk.carries.reach.of(desk.page, gap, desk.rules.event_bytes_max);
        reach.filter(|(longest, _)| *longest > surely).unwrap_or((surely, 0))
    }

    /// Texts that had lost their octet count since this was asked last.
    pub fn take_astray(&mut self) -> u32 {
        std::mem::take(&mut self.astray)
    }

    fn note(&mut self, framed: Framed) {
        self.stage = framed.stage;
        self.astray += framed.astray;
    }

    /// Bytes of the unfinished frame.
    pub fn carried(&self) -> usize {
        self.carry.len()
    }

    /// Makes an event of what is carried: the stream is closed by us, or memory is needed. False:
    /// the page has no room.
    pub fn flush(&mut self, desk: &mut Desk<'_>, origin: Origin, why: Cut) -> bool {
        let nothing = |_: &mut [u8]| Err(io::ErrorKind::WouldBlock.into());
        if self.ahead && matches!(self.visit(desk, origin, 0, nothing), Visit::Full) {
            return false;
        }
        let held = self.carry.len();
        if held > 0 {
            if desk.page.free_bytes() < held + desk.reserve() {
                return false;
            }
            self.introduce(desk, origin);
            desk.page.spare_mut()[..held].copy_from_slice(self.carry.bytes());
            self.cut(desk, origin, held, why);
        }
        desk.carries.release(&mut self.carry);
        true
    }

    /// How long its open group may wait for more; none: there is none.
    pub fn patience(&self) -> Option<Duration> {
        self.group.as_ref().filter(|group| group.is_open()).map(|group| group.age())
    }

    /// Nothing came behind the open group for long enough: it is an event. False: the page has no
    /// room.
    pub fn end_group(&mut self, desk: &mut Desk<'_>, origin: Origin) -> bool {
        let Some(lines) = self.group.as_ref().map(|group| group.waiting_bytes()) else {
            return true;
        };
        if desk.page.free_bytes() < lines + desk.reserve() {
            return false;
        }
        let index = self.origin(desk, origin);
        desk.page.spare_mut()[..lines].copy_from_slice(&self.carry.bytes()[..lines]);
        let start = usize_of(desk.page.tail());
        let end = u32_of(start + lines);
        let (bytes, mut records) = desk.page.frame(end, desk.at, index);
        self.group.iter_mut().for_each(|it| it.end(bytes, start, desk.rules, &mut records));
        let sums = records.finish();
        desk.page.settle(sums, desk.at, end);
        self.carry.forget(lines);
        if self.carry.is_empty() {
            desk.carries.release(&mut self.carry);
        }
        true
    }

    /// Frames `held` unfinished and `count` fresh bytes at the tail; returns how many are
    /// unfinished now, and stand at the tail. With `kept` slots set apart they may run out before:
    /// then the rest waits, and we are ahead.
    fn frame(
        &mut self,
        desk: &mut Desk<'_>,
        origin: Origin,
        held: usize,
        count: usize,
        kept: usize,
    ) -> usize {
        let index = self.origin(desk, origin);
        let start = usize_of(desk.page.tail());
        let end = start + held + count;
        let (bytes, mut records) = desk.page.frame(u32_of(end), desk.at, index);
        records.keep(kept);
        let framed = match &mut self.group {
            None => framing::frame(bytes, start, held, self.stage, desk.rules, &mut records),
            Some(group) => Framed::whole(group.frame(bytes, start, held, desk.rules, &mut records)),
        };
        let partial = framed.partial;
        self.note(framed);
        let full = kept > 0 && records.is_full() && partial < end;
        if full {
            self.group.iter_mut().for_each(|group| group.rewind());
            desk.carries.reach.leave(&bytes[partial..]);
            self.ahead = true;
        }
        let sums = records.finish();
        desk.page.settle(sums, desk.at, u32_of(partial));
        desk.carries.reach.learn(desk.page);
        if full { 0 } else { end - partial }
    }

    /// Makes events of the `held` unfinished bytes that stand at the tail.
    fn cut(&mut self, desk: &mut Desk<'_>, origin: Origin, held: usize, why: Cut) {
        let index = self.origin(desk, origin);
        let start = usize_of(desk.page.tail());
        let end = u32_of(start + held + 1);
        let (bytes, mut records) = desk.page.frame(end, desk.at, index);
        match &mut self.group {
            None => {
                let framed = framing::cut(bytes, start, self.stage, why, desk.rules, &mut records);
                self.note(framed);
            }
            Some(group) => group.cut(bytes, start, why, desk.rules, &mut records),
        }
        let sums = records.finish();
        desk.page.settle(sums, desk.at, end);
    }

    /// Ends a visit: the unfinished frame goes to the carry, or at the stream's end into an event.
    fn leave(
        &mut self,
        desk: &mut Desk<'_>,
        origin: Origin,
        held: usize,
        standing: bool,
        visit: &Visit,
    ) {
        if matches!(visit, Visit::Ended | Visit::Failed(_)) {
            if held > 0 {
                if !standing {
                    desk.page.spare_mut()[..held].copy_from_slice(self.carry.bytes());
                }
                self.cut(desk, origin, held, Cut::End);
            }
            desk.carries.release(&mut self.carry);
        } else if standing && held > 0 {
            // From the right size, or one long line would keep a large buffer busy for ever.
            desk.carries.release(&mut self.carry);
            desk.carries.append(&mut self.carry, &desk.page.spare_mut()[..held]);
        } else if held == 0 {
            desk.carries.release(&mut self.carry);
        }
    }

    /// Headers stand in front of the bytes that have them: before those are read.
    fn introduce(&mut self, desk: &mut Desk<'_>, origin: Origin) {
        if !desk.labels.is_empty() {
            self.origin(desk, origin);
        }
    }

    fn origin(&mut self, desk: &mut Desk<'_>, origin: Origin) -> OriginIndex {
        let place = self.place.find_labelled(desk.page, origin, desk.names, desk.labels);
        place.expect("a visit keeps room for its origin")
    }
}

const _: () = assert!(
    page_bytes_min(frame_bytes_max(limits::EVENT_BYTES_MAX)) <= limits::BATCH_BYTES_DEFAULT
);

/// The smallest page that holds the longest frame, a read behind it, and what that may become.
pub const fn page_bytes_min(event_bytes_max: usize) -> usize {
    event_bytes_max + FRAME_EXTRA_BYTES + RESERVE_BYTES + READ_ROOM_MIN
}

/// For each byte read: half of the slots and of the two bytes of the shortest frame.
fn room_per_byte(page: &Page) -> usize {
    1 + page.slot_bytes() / 2
}

/// Free bytes without which a page is full for a stream that carries `held` bytes.
fn room(desk: &Desk<'_>, held: usize) -> usize {
    let read = held + desk.reserve() + READ_ROOM_MIN;
    // A page with less than a sixteenth left makes for short reads: better a fresh one.
    read.max(desk.page.capacity() / 16)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::Marks;
    use proptest::prelude::*;
    use std::collections::VecDeque;

    const RULES: Rules =
        Rules { counted: true, zipped: false, event_bytes_max: 4096, want_pri: true };
    const PAGE_BYTES: usize = 64 << 10;

    type Text = (Vec<u8>, Marks);

    /// A peer whose writes arrive as they were made; then it closes.
    struct Peer(VecDeque<Vec<u8>>);

    impl Peer {
        fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
            let Some(front) = self.0.front_mut() else { return Ok(0) };
            if front.is_empty() {
                self.0.pop_front();
                return Err(io::ErrorKind::WouldBlock.into());
            }
            let count = front.len().min(into.len());
            into[..count].copy_from_slice(&front[..count]);
            front.drain(..count);
            Ok(count)
        }
    }

    /// All events of a stream, over as many pages as it takes.
    fn read_all(peer: &mut Peer, rules: &Rules, bound: usize) -> Vec<Text> {
        let mut carries = Carries::new(rules.event_bytes_max, 0);
        let mut stream = Stream::default();
        let mut texts = Vec::new();
        for serial in 1.. {
            let mut page = Page::new(PAGE_BYTES);
            page.clear(serial);
            let ended = loop {
                let mut desk = Desk {
                    page: &mut page,
                    carries: &mut carries,
                    rules,
                    at: Wall(1),
                    names: Names::NONE,
                    labels: &HeaderMap::NONE,
                    counter: None,
                };
                match stream.visit(&mut desk, Origin::LOCAL, bound, |into| peer.read(into)) {
                    Visit::Drained | Visit::Bound => {}
                    Visit::Full => break false,
                    Visit::Ended => break true,
                    Visit::Starved => panic!("nobody acknowledges lines"),
                    Visit::Failed(error) => panic!("{error}"),
                }
            };
            texts.extend(page.events().map(|event| (event.bytes.to_vec(), event.marks)));
            if ended {
                break;
            }
        }
        assert_eq!(carries.lent_bytes(), 0);
        texts
    }

    fn lines(count: usize) -> Vec<u8> {
        (0..count).flat_map(|n| format!("<13>line {n}\n").into_bytes()).collect()
    }

    #[test]
    fn pages_fill_and_every_line_comes_once() {
        let stream = lines(20_000);
        let expected: Vec<Text> = stream
            .split(|byte| *byte == b'\n')
            .filter(|line| !line.is_empty())
            .map(|line| (line.to_vec(), Marks::NONE))
            .collect();
        for size in [1, 7, 1000, 100_000] {
            for bound in [1, 5000, usize::MAX] {
                let parts: VecDeque<Vec<u8>> = stream.chunks(size).map(<[u8]>::to_vec).collect();
                let texts = read_all(&mut Peer(parts), &RULES, bound);
                assert_eq!(texts.len(), 20_000);
                assert!(texts == expected, "writes of {size}, bound {bound}");
            }
        }
    }

    #[test]
    fn the_shortest_frames_never_outgrow_their_room() {
        let texts = read_all(&mut Peer([b"x\n".repeat(50_000)].into()), &RULES, usize::MAX);
        assert_eq!(texts.len(), 50_000);
        let texts = read_all(&mut Peer([b"1 <".repeat(50_000)].into()), &RULES, usize::MAX);
        assert_eq!(texts.len(), 50_000);
    }

    #[test]
    fn frames_shorter_than_before_wait_and_come_first() {
        // Long lines make reads long; then the slots run out in the middle of one.
        let long = vec![b'l'; 2000];
        let line =
            |n: usize| if n < 60 { long.clone() } else { vec![b'a' + (n % 26) as u8; n % 3] };
        let stream: Vec<u8> = (0..90_000).flat_map(|n| [&line(n)[..], b"\n"].concat()).collect();
        let expected: Vec<_> = (0..90_000).map(line).filter(|line| !line.is_empty()).collect();
        let texts = read_all(&mut Peer([stream].into()), &RULES, usize::MAX);
        let texts: Vec<_> = texts.into_iter().map(|(text, _)| text).collect();
        assert!(texts == expected, "{} of {}", texts.len(), expected.len());
    }

    #[test]
    fn while_a_rest_waits_others_read_what_surely_fits_and_closing_keeps_it() {
        let mut carries = Carries::new(RULES.event_bytes_max, 0);
        let (mut first, mut second) = (Stream::default(), Stream::default());
        let mut short = Peer([b"x\n".repeat(30_000)].into());
        let mut other = Peer([b"yy\n".repeat(3000)].into());
        let mut events = 0;
        let (mut waited, mut closed) = (false, false);
        for serial in 1..200 {
            let mut page = Page::new(PAGE_BYTES);
            page.clear(serial);
            let (rules, at) = (&RULES, Wall(1));
            let mut desk = Desk {
                page: &mut page,
                carries: &mut carries,
                rules,
                at,
                names: Names::NONE,
                labels: &HeaderMap::NONE,
                counter: None,
            };
            if !waited {
                let visit = first.visit(&mut desk, Origin::LOCAL, usize::MAX, |i| short.read(i));
                assert!(matches!(visit, Visit::Full));
                waited = true;
                assert!(first.ahead);
            } else if !closed {
                second.visit(&mut desk, Origin::LOCAL, 1000, |into| other.read(into));
                // No more is read of the first, and what had been read is not lost.
                closed = first.flush(&mut desk, Origin::LOCAL, Cut::End);
            } else {
                let visit = second.visit(&mut desk, Origin::LOCAL, 1000, |i| other.read(i));
                if matches!(visit, Visit::Ended) {
                    events += page.event_count();
                    break;
                }
            }
            events += page.event_count();
        }
        let unread = short.0.iter().map(Vec::len).sum::<usize>() / 2;
        assert!(unread > 0 && closed);
        assert_eq!(events as usize, 30_000 - unread + 3000);
    }

    #[test]
    fn a_long_line_byte_by_byte_is_not_searched_again_and_again() {
        // 4096 bytes in single writes: each is looked at once, so this is quick; and whole.
        let line = vec![b'y'; 4096];
        let parts = line.chunks(1).chain([&b"\n"[..]]).map(<[u8]>::to_vec).collect();
        assert_eq!(read_all(&mut Peer(parts), &RULES, 1), [(line, Marks::NONE)]);
    }

    #[test]
    fn a_line_without_end_comes_in_pieces_and_memory_stays() {
        let rules = Rules { event_bytes_max: 1000, ..RULES };
        let texts = read_all(&mut Peer(vec![vec![b'z'; 997]; 1000].into()), &rules, 2000);
        let bytes: usize = texts.iter().map(|(text, _)| text.len()).sum();
        assert_eq!((bytes, texts.len()), (997_000, 997));
        assert!(texts.iter().all(|(text, marks)| text.len() == 1000 && *marks == Marks::SPLIT));
    }

    #[test]
    fn the_last_line_is_an_event_also_when_the_peer_resets() {
        let mut carries = Carries::new(RULES.event_bytes_max, 0);
        let mut page = Page::new(PAGE_BYTES);
        let mut stream = Stream::default();
        let mut desk = Desk {
            page: &mut page,
            carries: &mut carries,
            rules: &RULES,
            at: Wall(1),
            names: Names::NONE,
            labels: &HeaderMap::NONE,
            counter: None,
        };
        let mut reads = VecDeque::from([
            Ok(&b"<13>one\n<14>tw"[..]),
            Err(io::ErrorKind::WouldBlock),
            Ok(b"o"),
            Err(io::ErrorKind::Interrupted),
            Err(io::ErrorKind::ConnectionReset),
        ]);
        let mut read = |into: &mut [u8]| {
            let text = reads.pop_front().unwrap()?;
            into[..text.len()].copy_from_slice(text);
            Ok(text.len())
        };
        let origin = Origin::new(Some("[::1]:5".parse().unwrap()), 3);
        assert!(matches!(stream.visit(&mut desk, origin, 9999, &mut read), Visit::Drained));
        assert_eq!(stream.carried(), 6);
        let Visit::Failed(error) = stream.visit(&mut desk, origin, 9999, &mut read) else {
            panic!("the reset was not told");
        };
        assert_eq!(error.kind(), io::ErrorKind::ConnectionReset);
        let events: Vec<_> =
            page.events().map(|event| (event.bytes, event.pri, event.origin)).collect();
        assert_eq!(events, [(&b"<13>one"[..], Some(13), origin), (b"<14>two", Some(14), origin)]);
        assert_eq!(page.contiguous(), Some(&b"<13>one\n<14>two\n"[..]));
        assert_eq!(carries.lent_bytes(), 0);
    }

    #[test]
    fn an_evicted_carry_is_a_piece_and_its_memory_free() {
        let mut carries = Carries::new(RULES.event_bytes_max, 0);
        let mut page = Page::new(PAGE_BYTES);
        let mut stream = Stream::default();
        let mut desk = Desk {
            page: &mut page,
            carries: &mut carries,
            rules: &RULES,
            at: Wall(1),
            names: Names::NONE,
            labels: &HeaderMap::NONE,
            counter: None,
        };
        let mut peer = Peer([b"first ha".to_vec(), b"lf\nsecond\n".to_vec()].into());
        stream.visit(&mut desk, Origin::LOCAL, 9999, |into| peer.read(into));
        assert!(stream.flush(&mut desk, Origin::LOCAL, Cut::Evicted));
        assert_eq!(desk.carries.lent_bytes(), 0);
        stream.visit(&mut desk, Origin::LOCAL, 9999, |into| peer.read(into));
        let texts: Vec<_> = page.events().map(|event| (event.bytes, event.marks)).collect();
        let split = Marks::SPLIT;
        let expected = [(&b"first ha"[..], split), (b"lf", split), (b"second", Marks::NONE)];
        assert_eq!(texts, expected);
    }

    proptest! {
        #[test]
        fn writes_reads_and_pages_do_not_show(
            parts in prop::collection::vec((prop::sample::select(vec![
                "<1>abc\n", "9 <2>countd", "0", "\n", "12 <3>counted\n\n", "x", "\r\n", "7 ", "\0",
                "a rather long line that goes on for a while",
            ]), 1_usize..40), 0..60),
            bound in 1_usize..3000,
        ) {
            let rules = Rules { event_bytes_max: 100, ..RULES };
            let parts: Vec<Vec<u8>> =
                parts.into_iter().map(|(text, times)| text.repeat(times).into_bytes()).collect();
            let whole = read_all(&mut Peer([parts.concat()].into()), &rules, usize::MAX);
            prop_assert_eq!(read_all(&mut Peer(parts.into()), &rules, bound), whole);
        }
    }
}
