//! What stands beside an event's text in its page, read when somebody asks for it: most readers
//! want nothing of it, and pay for carrying it only.

use super::Event;
use super::origins::Name;
use crate::event::headers::Headers;
use crate::event::parsed::Parsed;
use crate::event::slot::{HEADED, Slot};

/// An event's place among its page's slots.
#[derive(Clone, Copy)]
pub struct Beside<'page> {
    /// The page's bytes in use; empty when none of its events has headers.
    store: &'page [u8],
    /// All slots in use, the newest first.
    slots: &'page [Slot],
    /// The event's own.
    top: usize,
    /// Slots of an event, those of its fields in front of it among them.
    stride: usize,
}

impl<'page> Beside<'page> {
    /// An event that stands in no page.
    pub const NONE: Self = Self { store: &[], slots: &[], top: 0, stride: 1 };

    #[inline(always)]
    pub(super) fn new(store: &'page [u8], slots: &'page [Slot], top: usize, stride: usize) -> Self {
        Self { store, slots, top, stride }
    }

    /// The same as if its page had no headers.
    pub fn without_headers(self) -> Self {
        Self { store: &[], ..self }
    }
}

impl<'page> Event<'page> {
    /// Whom the sender's certificate names, and where its datagrams were sent to.
    #[inline]
    pub fn name(&self) -> Name<'page> {
        let Beside { slots, top, .. } = self.beside;
        slots.get(top).map_or(Name::NONE, |slot| Name::of(slots, slot.origin))
    }

    /// What its message says, when somebody asked for that.
    #[inline]
    pub fn parsed(&self) -> Parsed<'page> {
        let Beside { slots, top, stride, .. } = self.beside;
        Parsed::new(self.bytes, slots.get(top + 1 - stride..top).unwrap_or_default())
    }

    #[inline]
    pub fn headers(&self) -> Headers<'page> {
        let Beside { store, slots, top, .. } = self.beside;
        let Some(slot) = slots.get(top) else { return Headers::NONE };
        let block = slot.offset.wrapping_add(slot.length).wrapping_add(1);
        Headers::new(store, block, slot.tag & HEADED != 0, self.name())
    }

    /// Whether there may be headers: when not, nobody need ask for one.
    #[inline]
    pub fn has_headers(&self) -> bool {
        !self.beside.store.is_empty()
    }
}

impl std::fmt::Debug for Event<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut event = f.debug_struct("Event");
        event.field("bytes", &self.bytes.escape_ascii()).field("at", &self.at);
        event.field("origin", &self.origin).field("name", &self.name());
        event.field("pri", &self.pri).field("marks", &self.marks);
        event.field("parsed", &self.parsed()).field("headers", &self.headers()).finish()
    }
}
