//! The batch's body: a slotted page, bytes growing up, slots growing down, full when they meet.
//!
//! ```text
//! │ 4 KiB header room │ bytes ──▶            gap            ◀── slots │
//! ^ 4 KiB-aligned     ^ offset 0             ^ tail
//! ```
//! A line-framed stream is read straight into the gap; an event is an (offset, length) and its
//! newline stays where it is. While `contiguous` holds, bytes = events + LF in order, and the
//! `raw` encoder copies nothing. One owner fills a page; after `seal` it is read only.

mod beside;
mod events;
mod fresh;
mod headers;
mod image;
mod origins;
mod select;

pub use beside::Beside;
pub use events::Events;
pub use image::{Misfit, Outline};
pub use origins::{Name, Names, ORIGIN_BYTES_MAX, OriginPlace};
pub use select::{Removed, Since};

use self::origins::Origins;
use super::mark::{Mark, Marks};
use super::parsed::{Found, Shape};
use super::records::{Records, Sums};
use super::slot::{KIND_EVENT, KIND_ORIGIN, Origin, OriginIndex, PRI_NONE, Slot};
use crate::limits::{self, usize_of};
use crate::sys::mapping::Mapping;
use crate::time::Wall;

const SLOT_BYTES: usize = size_of::<Slot>();

pub struct Page {
    /// Header room and body; what was never touched costs no memory.
    memory: Mapping,
    /// Bytes in use from the front of the body.
    tail: usize,
    slots: usize,
    /// Slots of an event, those of its fields among them.
    stride: usize,
    /// Slots of which the events have been read.
    read: usize,
    serial: u64,
    base: Wall,
    /// How far times may go back behind the first event's.
    lead_ns: i64,
    time_min: Wall,
    time_max: Wall,
    events: u32,
    event_bytes: u64,
    marks: [u32; Mark::COUNT],
    contiguous: bool,
    /// The most bytes of headers that an event has of its own, and of its origin's labels.
    own_max: u32,
    labels_max: u32,
    /// Bytes of labels end here.
    labels_end: usize,
}

/// The page has no room, or its times would no longer fit: offer it and begin another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Full;

/// What stands in an event's slot beside its bytes.
#[derive(Clone, Copy, Debug)]
pub struct EventHead {
    /// Receive time.
    pub at: Wall,
    pub origin: OriginIndex,
    /// Syslog PRI, 0 to 191, when somebody asked for it and the message has one.
    pub pri: Option<u8>,
    pub marks: Marks,
}

/// One event as a reader of a sealed page sees it.
#[derive(Clone, Copy)]
pub struct Event<'page> {
    pub bytes: &'page [u8],
    pub at: Wall,
    pub origin: Origin,
    pub pri: Option<u8>,
    pub marks: Marks,
    /// Its name, its fields and its headers.
    pub beside: Beside<'page>,
}

/// What reading an event brought.
#[derive(Clone, Copy, Debug)]
pub struct Reading {
    pub found: Found,
    pub pri: Option<u8>,
    /// It could not be parsed, and is marked so.
    pub unparsed: bool,
}

/// An event that is still to be read, with what is known of it.
#[derive(Clone, Copy, Debug)]
pub struct Fresh<'page> {
    pub bytes: &'page [u8],
    pub at: Wall,
    pub origin: Origin,
    pub pri: Option<u8>,
    pub marks: Marks,
}

impl Page {
    /// A page with `bytes` of body, a multiple of 4 KiB.
    pub fn new(bytes: usize) -> Self {
        assert!(bytes.is_multiple_of(limits::PAGE_HEADER_BYTES), "a page is whole 4 KiB frames");
        assert!((limits::BATCH_BYTES_MIN..=limits::BATCH_BYTES_MAX).contains(&bytes));
        let memory = Mapping::new(limits::PAGE_HEADER_BYTES + bytes)
            .unwrap_or_else(|error| panic!("no memory for a page of {bytes} bytes: {error}"));
        Self {
            memory,
            tail: 0,
            slots: 0,
            stride: Shape::Bare.stride(),
            read: 0,
            serial: 0,
            base: Wall::default(),
            lead_ns: 0,
            time_min: Wall::MAX,
            time_max: Wall::MIN,
            events: 0,
            event_bytes: 0,
            marks: [0; Mark::COUNT],
            contiguous: true,
            own_max: 0,
            labels_max: 0,
            labels_end: 0,
        }
    }

    /// Empties the page for another filling; `serial` makes cached origin indices invalid.
    pub fn clear(&mut self, serial: u64) {
        self.tail = 0;
        self.slots = 0;
        self.stride = Shape::Bare.stride();
        self.read = 0;
        self.serial = serial;
        self.lead_ns = 0;
        self.time_min = Wall::MAX;
        self.time_max = Wall::MIN;
        self.events = 0;
        self.event_bytes = 0;
        self.marks = [0; Mark::COUNT];
        self.contiguous = true;
        (self.own_max, self.labels_max, self.labels_end) = (0, 0, 0);
    }

    // ── filling ──

    /// Bytes between the tail and the slots.
    pub fn free_bytes(&self) -> usize {
        self.body().len() - self.tail - self.slots * SLOT_BYTES
    }

    /// Offset of the first unused byte.
    pub fn tail(&self) -> u32 {
        limits::u32_of(self.tail)
    }

    /// The gap: write at its front, then `advance`.
    pub fn spare_mut(&mut self) -> &mut [u8] {
        let end = self.body().len() - self.slots * SLOT_BYTES;
        let tail = self.tail;
        &mut self.body_mut()[tail..end]
    }

    /// `count` bytes at the front of the gap are in use from now on.
    pub fn advance(&mut self, count: usize) {
        assert!(count <= self.free_bytes(), "advance over the slots");
        self.tail += count;
    }

    /// Bytes in use, for framing in place.
    pub fn used_mut(&mut self) -> &mut [u8] {
        let tail = self.tail;
        &mut self.body_mut()[..tail]
    }

    pub fn used(&self) -> &[u8] {
        &self.body()[..self.tail]
    }

    /// Takes back bytes from `offset` on that no event refers to (a partial line going to carry).
    pub fn retract(&mut self, offset: u32) {
        assert!(usize_of(offset) <= self.tail, "retract goes back only");
        self.tail = usize_of(offset);
    }

    /// Whether an event received at `at` still fits the page's times.
    pub fn accepts_time(&self, at: Wall) -> bool {
        self.events == 0 || u32::try_from(at.0.wrapping_sub(self.base.0)).is_ok()
    }

    /// Times that others have taken come in no order: they may lie so far before the first event's.
    pub fn allow_earlier(&mut self, by_ns: i64) {
        self.lead_ns = by_ns;
    }

    /// The empty page keeps room for what each event says, which `read_fresh` fills in.
    pub fn keep_fields(&mut self, shape: Shape) {
        assert!(self.events == 0, "a page has fields for all of its events or for none");
        self.stride = shape.stride();
    }

    /// Bytes of the slots of one event.
    pub fn slot_bytes(&self) -> usize {
        self.stride * SLOT_BYTES
    }

    /// An event of `length` bytes at `offset`, which stand in the page already.
    #[inline]
    pub fn push_event(&mut self, offset: u32, length: u32, head: EventHead) -> Result<(), Full> {
        debug_assert!(usize_of(offset) + usize_of(length) <= self.tail);
        if self.events == 0 {
            self.base = Wall(head.at.0.saturating_sub(self.lead_ns));
        }
        let Ok(delta) = u32::try_from(head.at.0.wrapping_sub(self.base.0)) else {
            return Err(Full);
        };
        if self.free_bytes() < self.slot_bytes() {
            return Err(Full);
        }
        let slot = Slot {
            offset,
            length,
            delta,
            origin: head.origin.0,
            pri: head.pri.unwrap_or(PRI_NONE),
            tag: KIND_EVENT | head.marks.bits(),
        };
        *self.slot_mut(self.slots) = slot;
        self.slots += self.stride;
        self.events += 1;
        self.event_bytes += u64::from(length);
        // Whoever writes its bytes has to look at them.
        self.contiguous &= !head.marks.contains(Marks::CONTROL);
        self.time_min = self.time_min.min(head.at);
        self.time_max = self.time_max.max(head.at);
        if head.marks.any_counted() {
            head.marks.counted().for_each(|mark| self.marks[mark as usize] += 1);
        }
        Ok(())
    }

    /// Copies an event and its LF behind the tail. Control bytes end `contiguous`.
    pub fn append_event(&mut self, bytes: &[u8], head: EventHead) -> Result<(), Full> {
        if self.free_bytes() < bytes.len() + 1 + self.slot_bytes() || !self.accepts_time(head.at) {
            return Err(Full);
        }
        let offset = self.tail();
        let spare = self.spare_mut();
        spare[..bytes.len()].copy_from_slice(bytes);
        spare[bytes.len()] = b'\n';
        self.tail += bytes.len() + 1;
        self.push_event(offset, limits::u32_of(bytes.len()), head)
    }

    /// The bytes up to `end`, which may reach into the gap, and the slots still free behind them:
    /// for framing many events of one time and origin where they stand. What was framed counts
    /// once it is settled. The caller has asked `accepts_time`.
    pub fn frame(&mut self, end: u32, at: Wall, origin: OriginIndex) -> (&mut [u8], Records<'_>) {
        let base = if self.events == 0 { at } else { self.base };
        let delta = u32::try_from(at.0.wrapping_sub(base.0)).expect("accepts_time was asked");
        let (end, slots, stride) = (usize_of(end), self.slots * SLOT_BYTES, self.stride);
        let body = self.body_mut();
        let (bytes, gap) = body.split_at_mut(end.next_multiple_of(SLOT_BYTES));
        let free = gap.len() - slots;
        let template =
            Slot { offset: 0, length: 0, delta, origin: origin.0, pri: PRI_NONE, tag: KIND_EVENT };
        let slots: &mut [Slot] = bytemuck::cast_slice_mut(&mut gap[..free]);
        let next = slots.len().wrapping_sub(1);
        let sums = Sums::default();
        (&mut bytes[..end], Records { slots, next, stride, kept: 0, template, sums })
    }

    /// Takes over what was framed at `at`; the bytes up to `tail` are in use from now on.
    pub fn settle(&mut self, sums: Sums, at: Wall, tail: u32) {
        assert!(usize_of(tail) >= self.tail, "framing goes forward");
        if sums.events > 0 {
            if self.events == 0 {
                self.base = at;
            }
            self.time_min = self.time_min.min(at);
            self.time_max = self.time_max.max(at);
        }
        self.slots += usize_of(sums.events) * self.stride;
        self.events += sums.events;
        self.event_bytes += sums.event_bytes;
        self.marks.iter_mut().zip(sums.marks).for_each(|(mark, more)| *mark += more);
        self.contiguous &= !sums.scattered;
        self.tail = usize_of(tail);
        assert!(self.tail + self.slots * SLOT_BYTES <= self.body().len(), "bytes meet slots");
    }

    /// From now on the bytes are more or other than events + LF in order.
    pub fn set_scattered(&mut self) {
        self.contiguous = false;
    }

    // ── reading ──

    /// All bytes, when they are exactly the events in order, each with its LF, and no event is
    /// marked CONTROL.
    pub fn contiguous(&self) -> Option<&[u8]> {
        self.contiguous.then(|| &self.body()[..self.tail])
    }

    pub fn event_count(&self) -> u32 {
        self.events
    }

    pub fn is_empty(&self) -> bool {
        self.events == 0
    }

    /// The sum of the events' lengths, newlines not counted.
    pub fn event_bytes(&self) -> u64 {
        self.event_bytes
    }

    /// Events by mark, in the order of `Mark::ALL`.
    pub fn mark_counts(&self) -> [u32; Mark::COUNT] {
        self.marks
    }

    /// Smallest receive time; `Wall::MAX` while empty.
    pub fn time_min(&self) -> Wall {
        self.time_min
    }

    /// Largest receive time; `Wall::MIN` while empty.
    pub fn time_max(&self) -> Wall {
        self.time_max
    }

    /// Which filling this is: an `OriginIndex` is good for one serial.
    pub fn serial(&self) -> u64 {
        self.serial
    }

    /// Size of the body in bytes.
    pub fn capacity(&self) -> usize {
        self.body().len()
    }

    fn body(&self) -> &[u8] {
        &self.memory[limits::PAGE_HEADER_BYTES..]
    }

    fn body_mut(&mut self) -> &mut [u8] {
        &mut self.memory[limits::PAGE_HEADER_BYTES..]
    }

    /// The slots in use, the newest first.
    fn slot_slice(&self) -> &[Slot] {
        let body = self.body();
        bytemuck::cast_slice(&body[body.len() - self.slots * SLOT_BYTES..])
    }

    fn slot_mut(&mut self, index: usize) -> &mut Slot {
        let body = self.body_mut();
        let start = body.len() - (index + 1) * SLOT_BYTES;
        bytemuck::from_bytes_mut(&mut body[start..start + SLOT_BYTES])
    }
}

impl std::fmt::Debug for Page {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut debug = f.debug_struct("Page");
        debug.field("serial", &self.serial).field("events", &self.events);
        debug.field("tail", &self.tail).field("contiguous", &self.contiguous).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::Form;
    use proptest::prelude::*;

    fn head(at: i64, origin: OriginIndex) -> EventHead {
        EventHead { at: Wall(at), origin, pri: None, marks: Marks::NONE }
    }

    #[test]
    fn bytes_and_slots_meet_and_never_cross() {
        let mut page = Page::new(limits::BATCH_BYTES_MIN);
        let origin = page.push_origin(Origin::LOCAL).expect("an empty page has room");
        let mut count = 0;
        while page.append_event(b"x", head(count, origin)).is_ok() {
            count += 1;
        }
        // 64 KiB = 32 bytes of origin + n × (2 bytes + 16 bytes of slot)
        assert_eq!(count, ((limits::BATCH_BYTES_MIN - 32) / 18) as i64);
        assert_eq!(page.events().count() as i64, count);
        assert!(page.events().all(|event| event.bytes == b"x"));
        assert_eq!(page.contiguous().map(<[u8]>::len), Some(2 * count as usize));
    }

    #[test]
    fn times_of_others_may_come_in_any_order_within_bounds() {
        let mut page = Page::new(limits::BATCH_BYTES_MIN);
        page.allow_earlier(100);
        let origin = page.push_origin(Origin::LOCAL).expect("room");
        for (at, fits) in [(1000, true), (900, true), (899, false), (2000, true), (901, true)] {
            assert_eq!(page.accepts_time(Wall(at)), fits, "{at}");
            assert_eq!(page.append_event(b"x", head(at, origin)).is_ok(), fits, "{at}");
        }
        let times: Vec<_> = page.events().map(|event| event.at.0).collect();
        assert_eq!(times, [1000, 900, 2000, 901]);
        assert_eq!((page.time_min(), page.time_max()), (Wall(900), Wall(2000)));
        page.clear(1);
        assert!(page.append_event(b"x", head(5, OriginIndex(0))).is_ok());
        assert!(!page.accepts_time(Wall(4)));
    }

    #[test]
    fn a_clock_that_steps_back_closes_the_page() {
        let mut page = Page::new(limits::BATCH_BYTES_MIN);
        let origin = page.push_origin(Origin::LOCAL).expect("room");
        page.append_event(b"a", head(1_000, origin)).expect("room");
        assert_eq!(page.append_event(b"b", head(999, origin)), Err(Full));
        assert_eq!(page.append_event(b"c", head(1_000 + (1 << 32), origin)), Err(Full));
        assert_eq!(page.append_event(b"d", head(1_000 + (1 << 32) - 1, origin)), Ok(()));
        assert_eq!(page.event_count(), 2);
        assert_eq!(page.contiguous(), Some(&b"a\nd\n"[..]));
    }

    #[test]
    fn framed_in_place_is_the_same_as_pushed_one_by_one() {
        let mut pushed = Page::new(limits::BATCH_BYTES_MIN);
        let mut framed = Page::new(limits::BATCH_BYTES_MIN);
        for page in [&mut pushed, &mut framed] {
            let origin = page.push_origin(Origin::LOCAL).expect("room");
            page.append_event(b"first", head(10, origin)).expect("room");
            page.spare_mut()[..8].copy_from_slice(b"ab\ncd\nef");
        }
        let (at, origin, split) = (Wall(12), OriginIndex(0), Marks::SPLIT);
        let (bytes, mut records) = framed.frame(6 + 8, at, origin);
        assert_eq!(&bytes[6..], b"ab\ncd\nef");
        records.push(6, 2, Some(13));
        records.push_marked(9, 2, None, split);
        let sums = records.finish();
        framed.settle(sums, at, 12);
        pushed.advance(6);
        let head = EventHead { pri: Some(13), ..head(12, origin) };
        pushed.push_event(6, 2, head).expect("room");
        pushed.push_event(9, 2, EventHead { pri: None, marks: split, ..head }).expect("room");
        assert_eq!(framed.contiguous(), Some(&b"first\nab\ncd\n"[..]));
        assert_eq!(
            format!("{:?}", framed.events().collect::<Vec<_>>()),
            format!("{:?}", pushed.events().collect::<Vec<_>>())
        );
        assert_eq!(format!("{framed:?}"), format!("{pushed:?}"));
        assert_eq!(framed.mark_counts(), pushed.mark_counts());
        assert_eq!(framed.event_bytes(), 9);
    }

    /// Whatever the slots, bytes and slots meet and every event has its own fields.
    #[test]
    fn fields_stand_beside_their_events_and_take_their_room() {
        for (shape, slots) in [(Shape::Front, 2), (Shape::Whole, 3)] {
            let mut page = Page::new(limits::BATCH_BYTES_MIN);
            page.keep_fields(shape);
            let mut count = 0;
            let read = |page: &mut Page| {
                page.read_fresh(|event| {
                    let found = Found { time: Some(event.at), ..Found::only(Form::Rfc3164) };
                    Reading { found, pri: Some(7), unparsed: event.bytes == b"1" }
                });
            };
            loop {
                let listener = (count % 3) as u16;
                let Ok(origin) = page.push_origin(Origin::new(None, listener)) else { break };
                let text = [b'0' + (count % 10) as u8];
                if page.append_event(&text, head(count, origin)).is_err() {
                    break;
                }
                count += 1;
                if count % 7 == 0 {
                    read(&mut page);
                }
            }
            read(&mut page);
            // n × (2 bytes + the origin's slots + the event's)
            assert_eq!(count as usize, limits::BATCH_BYTES_MIN / (2 + 32 + 16 * slots));
            assert_eq!(page.mark_counts()[Mark::Unparsed as usize] as i64, (count + 8) / 10);
            for (index, event) in (0..).zip(page.events()) {
                assert_eq!(event.bytes, [b'0' + (index % 10) as u8]);
                assert_eq!((event.parsed().time(), event.pri), (Some(Wall(index)), Some(7)));
                assert_eq!(i64::from(event.origin.listener), index % 3);
                assert_eq!(event.marks == Marks::UNPARSED, index % 10 == 1);
            }
            assert_eq!(page.events().count() as i64, count);
            page.clear(2);
            assert_eq!(page.slot_bytes(), SLOT_BYTES, "the next one may want nothing");
        }
    }

    #[test]
    fn clear_leaves_nothing_behind() {
        let mut page = Page::new(limits::BATCH_BYTES_MIN);
        let origin = page.push_origin(Origin::LOCAL).expect("room");
        let marks = Marks::SPLIT.with(Marks::CONTROL);
        page.append_event(b"a\x01", EventHead { marks, ..head(5, origin) }).expect("room");
        assert_eq!(page.contiguous(), None);
        assert_eq!(page.mark_counts(), [0, 1, 0, 0]);
        page.clear(7);
        assert_eq!((page.serial(), page.event_count(), page.event_bytes()), (7, 0, 0));
        assert_eq!(page.mark_counts(), [0; 4]);
        assert_eq!(page.contiguous(), Some(&b""[..]));
        assert_eq!(page.free_bytes(), page.capacity());
    }

    proptest! {
        #[test]
        fn what_goes_in_comes_out(
            events in prop::collection::vec(
                (prop::collection::vec(any::<u8>(), 0..200), 0u16..5), 0..200)
        ) {
            let mut page = Page::new(limits::BATCH_BYTES_MAX);
            for (index, (bytes, listener)) in events.iter().enumerate() {
                let origin = page
                    .push_origin(Origin::new(None, *listener))
                    .expect("1 MiB holds 200 events of 200 bytes");
                page.append_event(bytes, head(index as i64, origin)).expect("room");
            }
            let out: Vec<_> =
                page.events().map(|event| (event.bytes.to_vec(), event.origin.listener)).collect();
            prop_assert_eq!(out, events);
        }
    }
}
