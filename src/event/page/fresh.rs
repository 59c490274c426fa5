//! Events that came, read where they stand.

use super::origins::Origins;
use super::{Fresh, KIND_ORIGIN, Mark, Marks, PRI_NONE, Page, Reading, SLOT_BYTES, Slot};
use crate::limits::usize_of;
use crate::time::Wall;

impl Page {
    /// Reads every event that has not been read: what it says stands beside it from now on.
    pub fn read_fresh(&mut self, mut read: impl FnMut(Fresh<'_>) -> Reading) {
        let (stride, base, tail, count) = (self.stride, self.base, self.tail, self.slots);
        debug_assert!(stride > 1, "there is no room for what is read");
        let mut left = count - std::mem::replace(&mut self.read, count);
        let mut unparsed = 0;
        let body = self.body_mut();
        let (bytes, slots) = body.split_at_mut(body.len() - count * SLOT_BYTES);
        let (bytes, slots) = (&bytes[..tail], bytemuck::cast_slice_mut::<u8, Slot>(slots));
        let mut origins = Origins::default();
        while left > 0 {
            let slot = slots[left - 1];
            if slot.kind() == KIND_ORIGIN {
                left -= 1;
                continue;
            }
            let start = usize_of(slot.offset);
            let reading = read(Fresh {
                bytes: &bytes[start..start + usize_of(slot.length)],
                at: Wall(base.0 + i64::from(slot.delta)),
                origin: origins.find(slots, slot.origin),
                pri: (slot.pri != PRI_NONE).then_some(slot.pri),
                marks: Marks::from_bits(slot.tag),
            });
            let own = &mut slots[left - 1];
            own.pri = reading.pri.unwrap_or(PRI_NONE);
            if reading.unparsed {
                own.tag |= Marks::UNPARSED.bits();
                unparsed += 1;
            }
            slots[left - 2] = reading.found.front();
            if stride > 2 {
                slots[left - 3] = reading.found.back();
            }
            left -= stride;
        }
        self.marks[Mark::Unparsed as usize] += unparsed;
    }
}
