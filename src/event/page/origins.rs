//! Where events come from, and whom a certificate says that is: slots that many events share.

use std::net::SocketAddr;

use super::{Full, Page, SLOT_BYTES};
use crate::event::slot::{
    KIND_ORIGIN, LABELS_AT, LOCAL_AT, NAME_BYTES_AT, Origin, OriginIndex, PART_BYTES, Slot,
};

/// Of a name, what an origin's slots hold.
const NAME_BYTES_MAX: usize = u8::MAX as usize;

/// Bytes of a page that an origin with the longest name takes.
pub const ORIGIN_BYTES_MAX: usize = (2 + NAME_BYTES_MAX.div_ceil(PART_BYTES)) * SLOT_BYTES;

impl Page {
    /// An origin for the events to come.
    pub fn push_origin(&mut self, origin: Origin) -> Result<OriginIndex, Full> {
        self.push_named_origin(origin, "")
    }

    /// The same with the name that its sender's certificate gives it. What is longer than
    /// `NAME_BYTES_MAX` ends there.
    pub fn push_named_origin(&mut self, origin: Origin, name: &str) -> Result<OriginIndex, Full> {
        self.push_whole_origin(origin, name, None)
    }

    /// The same with the address of ours that its datagrams were sent to.
    pub fn push_whole_origin(
        &mut self,
        origin: Origin,
        name: &str,
        local: Option<SocketAddr>,
    ) -> Result<OriginIndex, Full> {
        self.push_origin_slots(origin, name, local, None)
    }

    pub(super) fn push_origin_slots(
        &mut self,
        origin: Origin,
        name: &str,
        local: Option<SocketAddr>,
        labels: Option<u32>,
    ) -> Result<OriginIndex, Full> {
        let name = &name.as_bytes()[..name.floor_char_boundary(NAME_BYTES_MAX)];
        let parts = name.chunks(PART_BYTES);
        let local_slots = local.map(|local| Origin::new(Some(local), 0).to_slots(0, false, None));
        if self.free_bytes() < (2 + parts.len() + 2 * local_slots.iter().len()) * SLOT_BYTES {
            return Err(Full);
        }
        let index = u16::try_from(self.slots).map_err(|_| Full)?;
        let slots = origin.to_slots(name.len() as u8, local.is_some(), labels);
        let slots = slots.into_iter().chain(parts.map(Slot::of_origin));
        for slot in slots.chain(local_slots.into_iter().flatten()) {
            *self.slot_mut(self.slots) = slot;
            self.slots += 1;
        }
        Ok(OriginIndex(index))
    }
}

/// A sender's origin in the page that is being filled; a new page gets it again.
#[derive(Clone, Copy, Debug, Default)]
pub struct OriginPlace {
    /// Serial of the page that the index is good for.
    place: Option<(u64, OriginIndex)>,
}

impl OriginPlace {
    #[inline]
    pub fn find(
        &mut self,
        page: &mut Page,
        origin: Origin,
        name: &str,
    ) -> Result<OriginIndex, Full> {
        match self.place {
            Some((serial, index)) if serial == page.serial() => Ok(index),
            _ => {
                let index = page.push_named_origin(origin, name)?;
                self.place = Some((page.serial(), index));
                Ok(index)
            }
        }
    }
}

/// What stands behind an event's origin, read when it is asked for: its name, and the address that
/// its datagrams were sent to.
#[derive(Clone, Copy)]
pub struct Name<'page> {
    slots: &'page [Slot],
    origin: u16,
}

impl<'page> Name<'page> {
    pub const NONE: Self = Self { slots: &[], origin: 0 };

    #[inline]
    pub(super) fn of(slots: &'page [Slot], origin: u16) -> Self {
        Self { slots, origin }
    }

    /// Where the labels of the origin begin.
    #[inline]
    pub(in crate::event) fn labels_at(&self) -> Option<u32> {
        let below = self.slots.len().checked_sub(usize::from(self.origin) + 2)?;
        let raw = &self.slots[below].origin_bytes()[LABELS_AT - PART_BYTES..];
        let at = [raw[0], raw[1], raw[2], 0];
        u32::from_le_bytes(at).checked_sub(1)
    }

    /// A number that tells origins of one page apart.
    pub(in crate::event) fn origin_number(&self) -> u16 {
        self.origin
    }

    /// Where it was sent to; none when nobody noted that.
    pub fn local(&self) -> Option<SocketAddr> {
        let back = self.slots.len().checked_sub(usize::from(self.origin) + 2)?;
        let bytes = self.slots[back].origin_bytes();
        if bytes[LOCAL_AT - PART_BYTES] == 0 {
            return None;
        }
        let named = usize::from(bytes[NAME_BYTES_AT - PART_BYTES]).div_ceil(PART_BYTES);
        let own_back = back.checked_sub(named + 2)?;
        let (own_front, own_back) = (self.slots[own_back + 1], self.slots[own_back]);
        let whole = own_front.kind() == KIND_ORIGIN && own_back.kind() == KIND_ORIGIN;
        if whole { Origin::from_slots(own_front, own_back).peer } else { None }
    }

    /// Appends it; false when there is none.
    pub fn append(&self, out: &mut Vec<u8>) -> bool {
        // The front slot is followed downwards by the back one and those of the name.
        let below = self.slots.len().saturating_sub(usize::from(self.origin) + 1);
        let Some(back) = below.checked_sub(1).and_then(|at| self.slots.get(at)) else {
            return false;
        };
        let mut left = usize::from(back.origin_bytes()[NAME_BYTES_AT - PART_BYTES]);
        let named = left > 0;
        for slot in self.slots[..below - 1].iter().rev() {
            let part = &slot.origin_bytes()[..left.min(PART_BYTES)];
            out.extend_from_slice(part);
            left -= part.len();
            if left == 0 {
                break;
            }
        }
        named
    }
}

impl std::fmt::Debug for Name<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut name = Vec::new();
        self.append(&mut name);
        std::fmt::Debug::fmt(&String::from_utf8_lossy(&name), f)
    }
}

/// The origin asked for last: many events in a row have the same.
#[derive(Default)]
pub(super) struct Origins {
    last: Option<(u16, Origin)>,
}

impl Origins {
    #[inline]
    pub(super) fn find(&mut self, slots: &[Slot], index: u16) -> Origin {
        if let Some((last, origin)) = self.last
            && last == index
        {
            return origin;
        }
        let front = slots.len() - 1 - usize::from(index);
        let origin = Origin::from_slots(slots[front], slots[front - 1]);
        self.last = Some((index, origin));
        origin
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::{EventHead, Marks, Shape, Since};
    use crate::limits;
    use crate::time::Wall;

    fn names(page: &Page) -> Vec<Option<String>> {
        let name = |name: Name<'_>| {
            let mut out = Vec::new();
            name.append(&mut out).then(|| String::from_utf8(out).expect("it was a str"))
        };
        page.events().map(|event| name(event.name())).collect()
    }

    #[test]
    fn names_of_any_length_stand_beside_their_events() {
        let longest = "n".repeat(NAME_BYTES_MAX);
        let all = ["", "a", "exactly-15-byte", "one.example.com", "x.y-sixteen.long", &longest];
        for shape in [Shape::Bare, Shape::Front, Shape::Whole] {
            let mut page = Page::new(limits::BATCH_BYTES_MIN);
            page.keep_fields(shape);
            for name in all {
                let before = page.free_bytes();
                let origin = page.push_named_origin(Origin::new(None, 7), name).expect("room");
                assert!(before - page.free_bytes() <= ORIGIN_BYTES_MAX);
                for text in ["1", "2"] {
                    let head = EventHead { at: Wall(1), origin, pri: None, marks: Marks::NONE };
                    page.append_event(text.as_bytes(), head).expect("room");
                }
            }
            let said = |name: &str| Some(name.to_owned()).filter(|name| !name.is_empty());
            let twice: Vec<_> = all.iter().flat_map(|name| [said(name), said(name)]).collect();
            assert_eq!(names(&page), twice);
            assert!(page.events().all(|event| event.origin.listener == 7));
            // What a filter leaves keeps its name.
            page.retain(&Since::START, |event| event.bytes == b"2");
            assert_eq!(names(&page), all.map(said));
        }
    }

    #[test]
    fn the_address_it_was_sent_to_stands_behind_an_origin_and_its_name() {
        let mut page = Page::new(limits::BATCH_BYTES_MIN);
        let to = ["10.0.0.1:2055", "[fe80::2%3]:6343"].map(|to| to.parse().expect("address"));
        for (name, local) in
            [("", Some(to[0])), ("n", None), ("a longer name than one", Some(to[1]))]
        {
            let from = Origin::new(Some("10.0.0.9:9".parse().expect("address")), 1);
            let origin = page.push_whole_origin(from, name, local).expect("room");
            let head = EventHead { at: Wall(1), origin, pri: None, marks: Marks::NONE };
            page.append_event(b"x", head).expect("room");
        }
        let locals =
            |page: &Page| page.events().map(|event| event.name().local()).collect::<Vec<_>>();
        assert_eq!(locals(&page), [Some(to[0]), None, Some(to[1])]);
        assert_eq!(names(&page)[2].as_deref(), Some("a longer name than one"));
        // What a filter leaves keeps it.
        page.retain(&Since::START, |event| event.name().local() != Some(to[0]));
        assert_eq!(locals(&page), [None, Some(to[1])]);
        assert_eq!(Name::NONE.local(), None);
        page.advance(page.free_bytes() - 3 * SLOT_BYTES);
        assert_eq!(page.push_whole_origin(Origin::LOCAL, "", Some(to[0])), Err(Full));
    }

    #[test]
    fn a_name_without_room_is_not_begun_and_a_longer_one_ends() {
        let mut page = Page::new(limits::BATCH_BYTES_MIN);
        let long = "\u{fc}".repeat(200);
        let origin = page.push_named_origin(Origin::LOCAL, &long).expect("room");
        let head = EventHead { at: Wall(1), origin, pri: None, marks: Marks::NONE };
        page.append_event(b"x", head).expect("room");
        assert_eq!(names(&page), [Some("\u{fc}".repeat(127))]);
        page.advance(page.free_bytes() - 2 * SLOT_BYTES);
        assert_eq!(page.push_named_origin(Origin::LOCAL, "a"), Err(Full));
        assert!(page.push_origin(Origin::LOCAL).is_ok());
    }

    #[test]
    fn a_page_is_told_an_origin_once() {
        let mut page = Page::new(limits::BATCH_BYTES_MIN);
        let mut place = OriginPlace::default();
        let first = place.find(&mut page, Origin::LOCAL, "a").expect("room");
        let free = page.free_bytes();
        assert_eq!(place.find(&mut page, Origin::LOCAL, "a"), Ok(first));
        assert_eq!(page.free_bytes(), free);
        page.clear(2);
        place.find(&mut page, Origin::LOCAL, "a").expect("room");
        assert_eq!(page.free_bytes(), free);
    }
}
