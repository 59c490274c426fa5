//! Taking events out again: what a filter refuses leaves no trace but its count.
//!
//! Slots of kept events move up into the place of refused ones. Slots of origins stay where they
//! are, for events and connections know them by their number; what is left empty before one becomes
//! the slot of an origin that nobody names.

use super::{Beside, Event, Mark, Marks, Origins, PRI_NONE, Page, SLOT_BYTES, Slot};
use crate::event::slot::KIND_ORIGIN;
use crate::limits::usize_of;
use crate::time::Wall;

/// How a page stood before events came to it.
#[derive(Clone, Copy, Debug)]
pub struct Since {
    tail: usize,
    slots: usize,
    events: u32,
    time_min: Wall,
    time_max: Wall,
    contiguous: bool,
}

/// What was taken out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Removed {
    pub events: u64,
    pub bytes: u64,
}

impl Since {
    /// Before all events.
    pub const START: Self = Self {
        tail: 0,
        slots: 0,
        events: 0,
        time_min: Wall::MAX,
        time_max: Wall::MIN,
        contiguous: true,
    };
}

impl Page {
    /// How it stands now.
    pub fn since(&self) -> Since {
        Since {
            tail: self.tail,
            slots: self.slots,
            events: self.events,
            time_min: self.time_min,
            time_max: self.time_max,
            contiguous: self.contiguous,
        }
    }

    /// Takes out the events since then that are not to be kept. When none is left, their bytes are
    /// free again.
    pub fn retain(&mut self, since: &Since, mut keep: impl FnMut(&Event<'_>) -> bool) -> Removed {
        let (stride, count) = (self.stride, self.slots);
        let headed = self.header_bytes_max() > 0;
        let view = View { base: self.base, stride, tail: self.tail, headed };
        let mut marks = self.marks;
        let body = self.body_mut();
        let (bytes, slots) = body.split_at_mut(body.len() - count * SLOT_BYTES);
        let slots = bytemuck::cast_slice_mut::<u8, Slot>(slots);
        let mut origins = Origins::default();
        // What is kept in front of all that is refused costs no more than to be asked for.
        let mut read = view.skip(bytes, slots, since.slots, &mut origins, &mut keep);
        let (mut write, mut refused) = (read, true);
        let mut removed = Removed::default();
        while read < count {
            let top = count - 1 - read;
            if slots[top].kind() == KIND_ORIGIN {
                (write..read).for_each(|gap| slots[count - 1 - gap].tag = KIND_ORIGIN);
                read += 1;
                write = read;
                continue;
            }
            let event = view.event(bytes, slots, top, &mut origins);
            if !std::mem::take(&mut refused) && keep(&event) {
                slots.copy_within(top + 1 - stride..=top, count - write - stride);
                write += stride;
            } else {
                event.marks.counted().for_each(|mark: Mark| marks[mark as usize] -= 1);
                removed.events += 1;
                removed.bytes += event.bytes.len() as u64;
            }
            read += stride;
        }
        if removed.events > 0 {
            let (mut time_min, mut time_max) = (since.time_min, since.time_max);
            view.times(&slots[count - write..count - since.slots], |at| {
                (time_min, time_max) = (time_min.min(at), time_max.max(at));
            });
            self.cut(since, write, removed);
            (self.time_min, self.time_max, self.marks) = (time_min, time_max, marks);
        }
        removed
    }

    fn cut(&mut self, since: &Since, slots: usize, removed: Removed) {
        self.slots = slots;
        self.read = self.read.min(slots);
        self.events -= u32::try_from(removed.events).expect("a page counts its events in 32 bits");
        self.event_bytes -= removed.bytes;
        self.contiguous = false;
        if self.events == since.events {
            // Labels stay, for so does their origin.
            self.tail = since.tail.max(self.labels_end);
            self.contiguous = since.contiguous && self.tail == since.tail;
        }
    }

    /// Becomes the same as another of its size, for a reader that takes events out of it.
    pub fn copy_from(&mut self, other: &Self) {
        assert_eq!(self.capacity(), other.capacity(), "all pages of an agent have one size");
        let slots = other.capacity() - other.slots * SLOT_BYTES;
        let (tail, body) = (other.tail, self.body_mut());
        body[..tail].copy_from_slice(&other.body()[..tail]);
        body[slots..].copy_from_slice(&other.body()[slots..]);
        (self.tail, self.slots, self.stride) = (tail, other.slots, other.stride);
        (self.read, self.base, self.events) = (other.read, other.base, other.events);
        (self.time_min, self.time_max) = (other.time_min, other.time_max);
        (self.event_bytes, self.marks) = (other.event_bytes, other.marks);
        self.contiguous = other.contiguous;
        (self.own_max, self.labels_max) = (other.own_max, other.labels_max);
        self.labels_end = other.labels_end;
    }
}

/// What turns slots into events.
#[derive(Clone, Copy)]
struct View {
    base: Wall,
    stride: usize,
    tail: usize,
    /// Some event of the page has headers.
    headed: bool,
}

impl View {
    #[inline(always)]
    fn event<'page>(
        self,
        bytes: &'page [u8],
        slots: &'page [Slot],
        top: usize,
        origins: &mut Origins,
    ) -> Event<'page> {
        let slot = slots[top];
        let start = usize_of(slot.offset);
        let used = &bytes[..self.tail];
        let store = if self.headed { used } else { &[] };
        Event {
            bytes: &used[start..start + usize_of(slot.length)],
            at: self.at(slot),
            origin: origins.find(slots, slot.origin),
            pri: (slot.pri != PRI_NONE).then_some(slot.pri),
            marks: Marks::from_bits(slot.tag),
            beside: Beside::new(store, slots, top, self.stride),
        }
    }

    fn at(self, slot: Slot) -> Wall {
        Wall(self.base.0 + i64::from(slot.delta))
    }

    /// The number of the first slot from `read` on whose event is refused.
    #[inline]
    fn skip(
        self,
        bytes: &[u8],
        slots: &[Slot],
        mut read: usize,
        origins: &mut Origins,
        keep: &mut impl FnMut(&Event<'_>) -> bool,
    ) -> usize {
        while read < slots.len() {
            let top = slots.len() - 1 - read;
            if slots[top].kind() == KIND_ORIGIN {
                read += 1;
            } else if keep(&self.event(bytes, slots, top, origins)) {
                read += self.stride;
            } else {
                break;
            }
        }
        read
    }

    /// Tells the times of all events among these slots.
    fn times(self, slots: &[Slot], mut tell: impl FnMut(Wall)) {
        let mut left = slots.len();
        while left > 0 {
            let slot = slots[left - 1];
            let origin = slot.kind() == KIND_ORIGIN;
            if !origin {
                tell(self.at(slot));
            }
            left -= if origin { 1 } else { self.stride };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::{EventHead, Origin};
    use crate::limits;
    use proptest::prelude::*;

    /// What a reader sees.
    fn seen(page: &Page) -> Vec<(Vec<u8>, Wall, u16, Marks)> {
        let events = page.events();
        events.map(|it| (it.bytes.to_vec(), it.at, it.origin.listener, it.marks)).collect()
    }

    proptest! {
        /// Against a plain list: any events from any origins, in several runs, any of them refused.
        #[test]
        fn what_is_kept_is_as_it_was(
            runs in prop::collection::vec(
                prop::collection::vec((any::<bool>(), 0u16..3, 0usize..40, any::<bool>()), 0..20),
                1..6),
        ) {
            let mut page = Page::new(limits::BATCH_BYTES_MIN);
            let (mut expected, mut number, mut refused) = (Vec::new(), 0u64, 0u64);
            let mut origins = [None; 3];
            for run in runs {
                let since = page.since();
                let (mut keeps, tail) = (Vec::new(), page.tail());
                for (keep, listener, length, split) in run {
                    let origin = *origins[usize::from(listener)].get_or_insert_with(|| {
                        page.push_origin(Origin { listener, ..Origin::LOCAL }).expect("room")
                    });
                    number += 1;
                    let at = Wall(1000 + number as i64);
                    let marks = if split { Marks::SPLIT } else { Marks::NONE };
                    let text = vec![b'a' + (number % 26) as u8; length];
                    let head = EventHead { at, origin, pri: None, marks };
                    page.append_event(&text, head).expect("room");
                    keeps.push(keep);
                    refused += u64::from(!keep);
                    if keep {
                        expected.push((text, at, listener, marks));
                    }
                }
                let mut next = keeps.iter();
                let removed = page.retain(&since, |_| *next.next().expect("each is asked once"));
                let dropped = keeps.iter().filter(|keep| !**keep).count() as u64;
                prop_assert_eq!(removed.events, dropped);
                if dropped as usize == keeps.len() {
                    prop_assert_eq!(page.tail(), tail, "their bytes are free again");
                }
            }
            prop_assert_eq!(seen(&page), expected.clone());
            prop_assert_eq!(page.event_count() as usize, expected.len());
            let bytes: usize = expected.iter().map(|event| event.0.len()).sum();
            prop_assert_eq!(page.event_bytes(), bytes as u64);
            let split = expected.iter().filter(|event| event.3 == Marks::SPLIT).count();
            prop_assert_eq!(page.mark_counts()[Mark::Split as usize] as usize, split);
            let times = (page.time_min(), page.time_max());
            let all = expected.iter().map(|event| event.1);
            let wanted = (all.clone().min(), all.max());
            prop_assert_eq!(times, (wanted.0.unwrap_or(Wall::MAX), wanted.1.unwrap_or(Wall::MIN)));
            prop_assert!(refused > 0 || page.contiguous().is_some());
            let mut copy = Page::new(limits::BATCH_BYTES_MIN);
            copy.copy_from(&page);
            prop_assert_eq!(seen(&copy), expected);
        }
    }
}
