//! A page as bytes, and back: for channels that keep batches outside memory.
//!
//! What is kept is the bytes up to the tail, the slots in use, and an [`Outline`] of everything
//! else. A page of another size takes it as well, as long as it has room: slots count from the end.
//! Whoever brings the bytes back vouches for them by a checksum; `adopt` still refuses slots that
//! would lead outside them, so that a forged image cannot make a reader fail.

use super::{Mark, Page, SLOT_BYTES, Slot};
use crate::event::slot::{KIND_EVENT, KIND_FIELDS, KIND_ORIGIN, NAME_BYTES_AT, PART_BYTES};
use crate::event::{Marks, Parsed};
use crate::limits::{self, PAGE_HEADER_BYTES, usize_of};
use crate::time::Wall;

/// Slots are kept as they stand in memory, and every format of ours is little-endian.
const _: () = assert!(cfg!(target_endian = "little"), "slots are written as they stand");

/// A page without its bytes and slots.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Outline {
    /// Bytes in use, whose image comes first.
    pub tail: u32,
    /// Slots in use.
    pub slots: u32,
    /// Slots of an event, 1 to 3.
    pub stride: u8,
    /// The bytes are the events in order, each with its LF.
    pub contiguous: bool,
    pub events: u32,
    pub event_bytes: u64,
    pub base: Wall,
    pub time_min: Wall,
    pub time_max: Wall,
    /// In the order of `Mark::ALL`.
    pub marks: [u32; Mark::COUNT],
}

/// The image contradicts its outline.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Misfit;

impl Outline {
    /// Bytes of the slots in use.
    pub fn slot_bytes(&self) -> usize {
        usize_of(self.slots) * SLOT_BYTES
    }

    /// The body that a page needs to take it.
    pub fn body_bytes(&self) -> usize {
        usize_of(self.tail) + self.slot_bytes()
    }
}

impl Page {
    pub fn outline(&self) -> Outline {
        Outline {
            tail: self.tail(),
            slots: limits::u32_of(self.slots),
            stride: u8::try_from(self.stride).expect("1 to 3"),
            contiguous: self.contiguous,
            events: self.events,
            event_bytes: self.event_bytes,
            base: self.base,
            time_min: self.time_min,
            time_max: self.time_max,
            marks: self.marks,
        }
    }

    /// The slots in use as bytes, the newest first: the end of the body.
    pub fn slot_image(&self) -> &[u8] {
        let body = self.body();
        &body[body.len() - self.slots * SLOT_BYTES..]
    }

    /// The bytes and the slots in whole 4 KiB frames, for writing past the page cache: the front of
    /// the body, and its end. When they share a frame the front is all of it, and the end empty.
    pub fn frames(&self) -> (&[u8], &[u8]) {
        let body = self.body();
        let (front, back) = self.edges();
        if front > back { (body, &[]) } else { (&body[..front], &body[back..]) }
    }

    /// Wipes what earlier fillings left inside the frames.
    pub fn wipe_edges(&mut self) {
        let (front, back) = self.edges();
        let (tail, slots) = (self.tail, self.body().len() - self.slots * SLOT_BYTES);
        let body = self.body_mut();
        if front > back {
            body[tail..slots].fill(0);
        } else {
            body[tail..front].fill(0);
            body[back..slots].fill(0);
        }
    }

    /// Where the first frame behind the bytes begins, and the frame in which the slots begin.
    fn edges(&self) -> (usize, usize) {
        let slots = self.body().len() - self.slots * SLOT_BYTES;
        (
            self.tail.next_multiple_of(PAGE_HEADER_BYTES),
            slots / PAGE_HEADER_BYTES * PAGE_HEADER_BYTES,
        )
    }

    /// Room for an image: for its bytes, and for its slots. None when the page is too small.
    pub fn image_mut(&mut self, outline: &Outline) -> Option<(&mut [u8], &mut [u8])> {
        let body = self.body_mut();
        if outline.body_bytes() > body.len() {
            return None;
        }
        let (front, slots) = body.split_at_mut(body.len() - outline.slot_bytes());
        Some((&mut front[..usize_of(outline.tail)], slots))
    }

    /// Becomes the page whose image was put into it. A misfit leaves it empty.
    pub fn adopt(&mut self, outline: &Outline) -> Result<(), Misfit> {
        let serial = self.serial;
        self.clear(serial);
        if outline.body_bytes() > self.body().len() || !(1..=3).contains(&outline.stride) {
            return Err(Misfit);
        }
        self.tail = usize_of(outline.tail);
        self.slots = usize_of(outline.slots);
        self.stride = usize::from(outline.stride);
        self.read = self.slots;
        self.base = outline.base;
        self.events = outline.events;
        self.event_bytes = outline.event_bytes;
        self.time_min = outline.time_min;
        self.time_max = outline.time_max;
        self.marks = outline.marks;
        self.contiguous = outline.contiguous;
        if self.fits() {
            return Ok(());
        }
        self.clear(serial);
        Err(Misfit)
    }

    /// Every slot is of a kind we know, leads to bytes and an origin that are there, and the sums
    /// are right.
    fn fits(&self) -> bool {
        let slots = self.slot_slice();
        let (mut end, mut events, mut bytes) = (slots.len(), 0u32, 0u64);
        let mut marks = [0u32; Mark::COUNT];
        let mut front = 0usize;
        while end > 0 {
            let slot = &slots[end - 1];
            match slot.kind() {
                KIND_ORIGIN => end -= 1,
                KIND_EVENT => {
                    let Some(fields) = end.checked_sub(self.stride) else { return false };
                    let reach = u64::from(slot.offset) + u64::from(slot.length);
                    let own = &slots[fields..end - 1];
                    if reach > self.tail as u64
                        || !is_origin(slots, slot.origin)
                        || own.iter().any(|field| field.kind() != KIND_FIELDS)
                        || !Parsed::fits(own, usize_of(slot.length))
                    {
                        return false;
                    }
                    // As `raw` takes them when contiguous: one behind the other, with their LFs.
                    let in_order = usize_of(slot.offset) == front;
                    front = reach as usize + 1;
                    let ended = self.body().get(reach as usize) == Some(&b'\n');
                    if self.contiguous && !(in_order && ended && front <= self.tail) {
                        return false;
                    }
                    events += 1;
                    bytes += u64::from(slot.length);
                    let own = Marks::from_bits(slot.tag);
                    own.counted().for_each(|mark| marks[mark as usize] += 1);
                    end = fields;
                }
                _ => return false,
            }
        }
        let whole = !self.contiguous || front == self.tail;
        whole && (events, bytes, marks) == (self.events, self.event_bytes, self.marks)
    }
}

/// Whether an event may name this slot as its origin: its two slots, and those of its name.
fn is_origin(slots: &[Slot], index: u16) -> bool {
    let Some(back) = slots.len().checked_sub(usize::from(index) + 2) else { return false };
    let name = usize::from(slots[back].origin_bytes()[NAME_BYTES_AT - PART_BYTES]);
    let first = back.checked_sub(name.div_ceil(PART_BYTES));
    first.is_some_and(|first| slots[first..back + 2].iter().all(|slot| slot.kind() == KIND_ORIGIN))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::{Event, EventHead, Form, Found, Origin, Reading, Shape, Span};
    use proptest::prelude::*;

    /// Some origins, marks and fields; contiguous or not.
    fn page(bytes: usize, events: &[(Vec<u8>, u16, bool)], shape: Shape) -> Page {
        let mut page = Page::new(bytes);
        page.keep_fields(shape);
        for (index, (text, listener, split)) in events.iter().enumerate() {
            let origin = page.push_origin(Origin::new(None, *listener)).expect("room");
            let marks = if *split { Marks::SPLIT } else { Marks::NONE };
            let head = EventHead { at: Wall(1000 + index as i64), origin, pri: Some(3), marks };
            page.append_event(text, head).expect("room");
        }
        if shape != Shape::Bare {
            page.read_fresh(|event| {
                let host = Span { start: 0, length: event.bytes.len().min(255) as u8 };
                let found = Found { host, message: Some(0), ..Found::only(Form::Rfc3164) };
                Reading { found, pri: Some(4), unparsed: false }
            });
        }
        page
    }

    fn put(from: &Page, to: &mut Page) -> Result<(), Misfit> {
        let outline = from.outline();
        let (bytes, slots) = to.image_mut(&outline).expect("room");
        bytes.copy_from_slice(from.used());
        slots.copy_from_slice(from.slot_image());
        to.adopt(&outline)
    }

    fn seen(page: &Page) -> Vec<String> {
        page.events().map(|event| format!("{event:?} {:?}", event.parsed.host())).collect()
    }

    proptest! {
        #[test]
        fn an_image_comes_back_as_it_was_in_a_page_of_any_size(
            events in prop::collection::vec(
                (prop::collection::vec(any::<u8>(), 0..300), 0u16..4, any::<bool>()), 0..60),
            shape in prop::sample::select(vec![Shape::Bare, Shape::Front, Shape::Whole]),
        ) {
            let first = page(limits::BATCH_BYTES_MIN, &events, shape);
            for size in [limits::BATCH_BYTES_MIN, limits::BATCH_BYTES_MAX] {
                let mut second = page(size, &[(vec![7; 99], 9, true)], Shape::Bare);
                prop_assert_eq!(put(&first, &mut second), Ok(()));
                prop_assert_eq!(seen(&second), seen(&first));
                prop_assert_eq!(second.contiguous(), first.contiguous());
                prop_assert_eq!(second.outline(), first.outline());
            }
        }

        /// Whatever a forged image says, it is refused or can be read.
        #[test]
        fn a_forged_image_is_refused_or_can_be_read(
            strikes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..5),
            shape in prop::sample::select(vec![Shape::Bare, Shape::Whole]),
        ) {
            let events = [(b"one".to_vec(), 1, false), (b"two".to_vec(), 2, true)];
            let honest = page(limits::BATCH_BYTES_MIN, &events, shape);
            let mut forged = Page::new(limits::BATCH_BYTES_MIN);
            let outline = honest.outline();
            let (bytes, slots) = forged.image_mut(&outline).expect("room");
            bytes.copy_from_slice(honest.used());
            slots.copy_from_slice(honest.slot_image());
            for (at, value) in strikes {
                slots[at.index(slots.len())] = value;
            }
            if forged.adopt(&outline).is_ok() {
                let read = |event: Event<'_>| {
                    let parsed = event.parsed;
                    (parsed.host(), parsed.app(), parsed.data().len(), parsed.message()).0.is_some()
                };
                prop_assert_eq!(forged.events().map(read).count(), 2);
            }
        }
    }

    #[test]
    fn frames_hold_the_image_and_nothing_of_earlier_fillings() {
        for count in [1, 600] {
            let mut old = page(limits::BATCH_BYTES_MIN, &[], Shape::Bare);
            old.spare_mut().fill(0xEE);
            old.clear(2);
            let origin = old.push_origin(Origin::LOCAL).expect("room");
            for at in 0..count {
                let head = EventHead { at: Wall(at), origin, pri: None, marks: Marks::NONE };
                old.append_event(&[b'x'; 80], head).expect("room");
            }
            old.wipe_edges();
            let (front, back) = old.frames();
            assert_eq!((front.len() % 4096, back.len() % 4096), (0, 0));
            assert!(front.starts_with(old.used()));
            let end = if back.is_empty() { front } else { back };
            assert!(end.ends_with(old.slot_image()));
            let own = old.slot_image().len();
            let gap = &back[..back.len().saturating_sub(own)];
            let wiped = front[old.used().len()..].iter().chain(gap).all(|byte| *byte == 0);
            assert!(wiped, "{count}");
        }
    }
}
