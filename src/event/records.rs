//! Many events at once, framed where they stand: a page lent out as its bytes and its free slots.
//!
//! `Page::push_event` checks room, time and counts for each event. Framing a stream knows all of
//! that once for a whole read, so it writes bare slots here and the page takes over the sums at
//! the end (`Page::settle`): one 16-byte store an event.

use super::mark::{Mark, Marks};
use super::slot::{KIND_EVENT, PRI_NONE, Slot};

/// The free slots of a page, for events of one receive time and one origin.
pub struct Records<'page> {
    pub(super) slots: &'page mut [Slot],
    /// Where the next record goes: slots grow down from the end of the page.
    pub(super) next: usize,
    /// Slots an event takes, those of its fields among them.
    pub(super) stride: usize,
    /// Slots set apart: it is full before they are taken.
    pub(super) kept: usize,
    pub(super) template: Slot,
    pub(super) sums: Sums,
}

/// What a run of records adds to the page; give it to `Page::settle`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[must_use = "events that are not settled are lost"]
pub struct Sums {
    pub(super) events: u32,
    pub(super) event_bytes: u64,
    pub(super) marks: [u32; Mark::COUNT],
    pub(super) scattered: bool,
}

impl Records<'_> {
    /// An event at `offset` of the page, without marks.
    #[inline]
    pub fn push(&mut self, offset: u32, length: u32, pri: Option<u8>) {
        let pri = pri.unwrap_or(PRI_NONE);
        self.slots[self.next] = Slot { offset, length, pri, ..self.template };
        // Below nought only behind the very last one, and then the page is full.
        self.next = self.next.wrapping_sub(self.stride);
        self.sums.events += 1;
        self.sums.event_bytes += u64::from(length);
    }

    /// Sets slots for so many events apart: it is full before they are taken, and whoever asks
    /// after each frame has them for the pieces of one long line.
    pub fn keep(&mut self, events: usize) {
        self.kept = (events * self.stride).max(self.stride);
    }

    #[inline]
    pub fn is_full(&self) -> bool {
        self.next.wrapping_add(1) < self.kept
    }

    pub fn push_marked(&mut self, offset: u32, length: u32, pri: Option<u8>, marks: Marks) {
        self.push(offset, length, pri);
        let index = self.next.wrapping_add(self.stride);
        self.slots[index].tag = KIND_EVENT | marks.bits();
        self.sums.scattered |= marks.contains(Marks::CONTROL);
        marks.counted().for_each(|mark| self.sums.marks[mark as usize] += 1);
    }

    /// The bytes are not events + LF in order.
    pub fn set_scattered(&mut self) {
        self.sums.scattered = true;
    }

    pub fn finish(self) -> Sums {
        self.sums
    }
}
