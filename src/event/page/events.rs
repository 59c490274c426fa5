//! The events of a page, read in order.

use super::origins::Origins;
use super::{Beside, Event, KIND_ORIGIN, Marks, PRI_NONE, Page, Slot};
use crate::limits::usize_of;
use crate::time::Wall;

impl Page {
    #[inline]
    pub fn events(&self) -> Events<'_> {
        let slots = self.slot_slice();
        Events {
            body: self.body(),
            store: self.header_store(),
            slots,
            end: slots.len(),
            stride: self.stride,
            base: self.base,
            origins: Origins::default(),
        }
    }
}

/// The events of a page in order.
pub struct Events<'page> {
    body: &'page [u8],
    store: &'page [u8],
    slots: &'page [Slot],
    /// Slots that are still to come: the oldest stand at the end.
    end: usize,
    stride: usize,
    base: Wall,
    origins: Origins,
}

impl<'page> Iterator for Events<'page> {
    type Item = Event<'page>;

    // In a loop of its own an event is not put together but where somebody looks.
    #[inline(always)]
    fn next(&mut self) -> Option<Event<'page>> {
        let Self { slots, stride, .. } = *self;
        while self.end > 0 && slots[self.end - 1].kind() == KIND_ORIGIN {
            self.end -= 1;
        }
        let below = self.end.checked_sub(stride)?;
        let top = self.end - 1;
        let slot = &slots[top];
        self.end = below;
        let start = usize_of(slot.offset);
        Some(Event {
            bytes: &self.body[start..start + usize_of(slot.length)],
            at: Wall(self.base.0 + i64::from(slot.delta)),
            origin: self.origins.find(slots, slot.origin),
            pri: (slot.pri != PRI_NONE).then_some(slot.pri),
            marks: Marks::from_bits(slot.tag),
            beside: Beside::new(self.store, slots, top, stride),
        })
    }
}
