//! A page as bytes, and back: for channels that keep batches outside memory.
//!
//! What is kept is the bytes up to the tail, the slots in use, and an [`Outline`] of everything
//! else. A page of another size takes it as well, as long as it has room: slots count from the end.
//! Whoever brings the bytes back vouches for them by a checksum; `adopt` still refuses slots that
//! would lead outside them, so that a forged image cannot make a reader fail.

use super::{Mark, Name, Page, SLOT_BYTES, Slot};
use crate::event::headers::block;
use crate::event::slot::{Behind, HEADED, KIND_EVENT, KIND_FIELDS, KIND_ORIGIN};
use crate::event::{Form, Found, Marks, Parsed};
use crate::limits::{self, HEADERS_BYTES_MAX, PAGE_HEADER_BYTES, usize_of};
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
        let Some((own_max, labels_max)) = self.fits() else {
            self.clear(serial);
            return Err(Misfit);
        };
        (self.own_max, self.labels_max, self.labels_end) = (own_max, labels_max, self.tail);
        Ok(())
    }

    /// Every slot is of a kind we know, leads to bytes and an origin that are there, and the sums
    /// are right: then the most bytes of headers that events and origins have.
    fn fits(&self) -> Option<(u32, u32)> {
        let slots = self.slot_slice();
        let (mut end, mut events, mut bytes) = (slots.len(), 0u32, 0u64);
        let mut marks = [0u32; Mark::COUNT];
        let mut front = 0usize;
        let mut headers = HeaderSizes { page: self.used(), own: 0, labels: 0, labels_of: None };
        while end > 0 {
            let slot = &slots[end - 1];
            match slot.kind() {
                KIND_ORIGIN => end -= 1,
                KIND_EVENT => {
                    let fields = end.checked_sub(self.stride)?;
                    let reach = u64::from(slot.offset) + u64::from(slot.length);
                    let own = &slots[fields..end - 1];
                    if reach > self.tail as u64
                        || !is_origin(slots, slot.origin)
                        || own.iter().any(|field| field.kind() != KIND_FIELDS)
                        || !Parsed::fits(own, usize_of(slot.length))
                    {
                        return None;
                    }
                    // As `raw` takes them when contiguous: one behind the other, with their LFs.
                    let in_order = usize_of(slot.offset) == front;
                    front = reach as usize + 1;
                    let ended = self.body().get(reach as usize) == Some(&b'\n');
                    if self.contiguous && !(in_order && ended && front <= self.tail) {
                        return None;
                    }
                    events += 1;
                    bytes += u64::from(slot.length);
                    headers.meet(slot, reach, slots)?;
                    let own = Marks::from_bits(slot.tag);
                    own.counted().for_each(|mark| marks[mark as usize] += 1);
                    end = fields;
                }
                _ => return None,
            }
        }
        let whole = !self.contiguous || front == self.tail;
        let right = (events, bytes, marks) == (self.events, self.event_bytes, self.marks);
        (whole && right).then_some((headers.own, headers.labels))
    }

    /// Number of the next slot.
    pub(in crate::event) fn slots_in_use(&self) -> usize {
        self.slots
    }

    /// The event whose first slot has this number is as another of the same text was read.
    pub(in crate::event) fn take_fields(&mut self, slot: usize, parsed: &Parsed<'_>) {
        let nothing = Found::only(Form::Unknown);
        let fields = match (self.stride == parsed.slots().len() + 1, parsed.slots()) {
            (true, [back, front]) => [*front, *back],
            (true, [front]) => [*front, nothing.back()],
            _ => [nothing.front(), nothing.back()],
        };
        for (number, field) in fields.into_iter().take(self.stride - 1).enumerate() {
            *self.slot_mut(slot + 1 + number) = field;
        }
        if self.read == slot {
            self.read = self.slots;
        }
    }
}

/// Looks at the headers of one event after the other.
struct HeaderSizes<'page> {
    page: &'page [u8],
    own: u32,
    labels: u32,
    labels_of: Option<u16>,
}

impl HeaderSizes<'_> {
    /// None when they lead outside the page, or are larger than any may be.
    fn meet(&mut self, slot: &Slot, reach: u64, slots: &[Slot]) -> Option<()> {
        let bytes = |at: u32| {
            let bytes = block(self.page, at)?.len();
            (bytes <= HEADERS_BYTES_MAX).then(|| limits::u32_of(bytes))
        };
        if slot.tag & HEADED != 0 {
            self.own = self.own.max(bytes(u32::try_from(reach + 1).ok()?)?);
        }
        if self.labels_of != Some(slot.origin) {
            if let Some(at) = Name::of(slots, slot.origin).labels_at() {
                self.labels = self.labels.max(bytes(at)?);
            }
            self.labels_of = Some(slot.origin);
        }
        Some(())
    }
}

/// Whether an event may name this slot as its origin: its two slots, and those behind it.
fn is_origin(slots: &[Slot], index: u16) -> bool {
    let Some(back) = slots.len().checked_sub(usize::from(index) + 2) else { return false };
    let first = back.checked_sub(Behind::of(&slots[back]).slots());
    first.is_some_and(|first| slots[first..back + 2].iter().all(|slot| slot.kind() == KIND_ORIGIN))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::{Copying, Event, EventHead, HeaderMap, Names, Origin, Reading, Shape, Span};
    use proptest::prelude::*;

    /// Some origins, marks and fields; contiguous or not.
    fn page(bytes: usize, events: &[(Vec<u8>, u16, bool)], shape: Shape) -> Page {
        with_headers(bytes, events, shape, false)
    }

    fn with_headers(
        bytes: usize,
        events: &[(Vec<u8>, u16, bool)],
        shape: Shape,
        headed: bool,
    ) -> Page {
        let mut page = Page::new(bytes);
        page.keep_fields(shape);
        for (index, (text, listener, split)) in events.iter().enumerate() {
            let (mut labels, mut own) = (HeaderMap::default(), HeaderMap::default());
            if headed {
                labels.set(b"file", listener.to_string().as_bytes()).expect("short");
                own.set(b"length", text.len().to_string().as_bytes()).expect("short");
                own.retain(|_, _| *split);
            }
            let origin = Origin::new(None, *listener);
            // Two slots of it.
            let host = if *listener % 2 > 0 { "a-longer.host.example" } else { "" };
            let names = Names { certificate: "", host };
            let origin = page.push_labelled_origin(origin, names, &labels).expect("room");
            let marks = if *split { Marks::SPLIT } else { Marks::NONE };
            let head = EventHead { at: Wall(1000 + index as i64), origin, pri: Some(3), marks };
            page.append_headed(text, &own, head).expect("room");
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
        page.events().map(|event| format!("{event:?} {:?}", event.parsed().host())).collect()
    }

    proptest! {
        #[test]
        fn an_image_comes_back_as_it_was_in_a_page_of_any_size(
            events in prop::collection::vec(
                (prop::collection::vec(any::<u8>(), 0..300), 0u16..4, any::<bool>()), 0..60),
            shape in prop::sample::select(vec![Shape::Bare, Shape::Front, Shape::Whole]),
            headed: bool,
        ) {
            let first = with_headers(limits::BATCH_BYTES_MIN, &events, shape, headed);
            for size in [limits::BATCH_BYTES_MIN, limits::BATCH_BYTES_MAX] {
                let mut second = page(size, &[(vec![7; 99], 9, true)], Shape::Bare);
                prop_assert_eq!(put(&first, &mut second), Ok(()));
                prop_assert_eq!(seen(&second), seen(&first));
                prop_assert_eq!(second.contiguous(), first.contiguous());
                prop_assert_eq!(second.outline(), first.outline());
                prop_assert_eq!(second.header_bytes_max(), first.header_bytes_max());
                prop_assert_eq!(headed && !events.is_empty(), first.header_bytes_max() > 0);
            }
        }

        /// Whatever a forged image says, it is refused or can be read.
        #[test]
        fn a_forged_image_is_refused_or_can_be_read(
            strikes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..5),
            shape in prop::sample::select(vec![Shape::Bare, Shape::Whole]),
            headed: bool,
        ) {
            let events = [(b"one".to_vec(), 1, false), (b"two".to_vec(), 2, true)];
            let honest = with_headers(limits::BATCH_BYTES_MIN, &events, shape, headed);
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
                    let parsed = event.parsed();
                    let headers = event.headers().iter().count();
                    (headers, parsed.app(), parsed.data().len(), parsed.message()).1.is_some()
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

    #[test]
    fn events_are_copied_with_all_that_stands_beside_them() {
        let events: Vec<_> =
            (0..900).map(|n: u16| (vec![n as u8; 100], n % 3, n.is_multiple_of(2))).collect();
        for (shape, headed) in [(Shape::Bare, false), (Shape::Whole, true)] {
            let large = with_headers(limits::BATCH_BYTES_MAX, &events, shape, headed);
            let (mut small, mut copying) = (Page::new(limits::BATCH_BYTES_MIN), Copying::default());
            let mut all = Vec::new();
            small.keep_fields(shape);
            for event in large.events() {
                if copying.copy(&event, &mut small).is_err() {
                    all.extend(seen(&small));
                    small.clear(1 + all.len() as u64);
                    small.keep_fields(shape);
                    copying.copy(&event, &mut small).expect("an empty page has room");
                }
            }
            all.extend(seen(&small));
            assert_eq!(all, seen(&large));
        }
    }
}
