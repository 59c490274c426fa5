//! Where events come from, and what that is called: slots that many events share.

use std::net::SocketAddr;

use super::{Full, Page, SLOT_BYTES};
use crate::event::headers::HeaderMap;
use crate::event::slot::{
    Behind, KIND_ORIGIN, NAME_BYTES_MAX, Origin, OriginIndex, PART_BYTES, Slot,
};

/// Bytes of a page that an origin with the longest names and an own address takes.
pub const ORIGIN_BYTES_MAX: usize = (4 + 2 * NAME_BYTES_MAX.div_ceil(PART_BYTES)) * SLOT_BYTES;

/// What a sender is called. What is longer than `NAME_BYTES_MAX` ends there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Names<'a> {
    /// By its certificate.
    pub certificate: &'a str,
    /// By whoever knows names of addresses.
    pub host: &'a str,
}

impl Names<'_> {
    pub const NONE: Self = Self { certificate: "", host: "" };
}

impl Page {
    /// An origin for the events to come.
    pub fn push_origin(&mut self, origin: Origin) -> Result<OriginIndex, Full> {
        self.push_named_origin(origin, Names::NONE)
    }

    /// The same with the names of its sender.
    pub fn push_named_origin(
        &mut self,
        origin: Origin,
        names: Names<'_>,
    ) -> Result<OriginIndex, Full> {
        self.push_whole_origin(origin, names, None)
    }

    /// The same with the address of ours that its datagrams were sent to.
    pub fn push_whole_origin(
        &mut self,
        origin: Origin,
        names: Names<'_>,
        local: Option<SocketAddr>,
    ) -> Result<OriginIndex, Full> {
        self.push_origin_slots(origin, names, local, None)
    }

    pub(super) fn push_origin_slots(
        &mut self,
        origin: Origin,
        names: Names<'_>,
        local: Option<SocketAddr>,
        labels: Option<u32>,
    ) -> Result<OriginIndex, Full> {
        let bytes = |name: &str| name.floor_char_boundary(NAME_BYTES_MAX);
        let name = &names.certificate.as_bytes()[..bytes(names.certificate)];
        let host = &names.host.as_bytes()[..bytes(names.host)];
        let parts = |name: &[u8]| name.len().div_ceil(PART_BYTES);
        let local_slots = local.map(|local| Origin::new(Some(local), 0).to_slots(Behind::NONE));
        let behind = Behind {
            name_bytes: name.len() as u8,
            local: local.is_some(),
            host_slots: parts(host) as u8,
            labels,
        };
        if self.free_bytes() < (2 + behind.slots()) * SLOT_BYTES {
            return Err(Full);
        }
        let index = u16::try_from(self.slots).map_err(|_| Full)?;
        let own = origin.to_slots(behind).into_iter();
        let named = own.chain(name.chunks(PART_BYTES).map(Slot::of_origin));
        let told = named.chain(local_slots.into_iter().flatten());
        for slot in told.chain(host.chunks(PART_BYTES).map(Slot::of_origin)) {
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
        names: Names<'_>,
    ) -> Result<OriginIndex, Full> {
        self.find_labelled(page, origin, names, &HeaderMap::NONE)
    }

    /// The same of one whose events share these headers.
    #[inline]
    pub fn find_labelled(
        &mut self,
        page: &mut Page,
        origin: Origin,
        names: Names<'_>,
        labels: &HeaderMap,
    ) -> Result<OriginIndex, Full> {
        match self.place {
            Some((serial, index)) if serial == page.serial() => Ok(index),
            _ => {
                let index = page.push_labelled_origin(origin, names, labels)?;
                self.place = Some((page.serial(), index));
                Ok(index)
            }
        }
    }
}

/// What stands behind an event's origin, read when it is asked for: its names, and the address that
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
        self.behind()?.1.labels
    }

    /// A number that tells origins of one page apart.
    pub(in crate::event) fn origin_number(&self) -> u16 {
        self.origin
    }

    /// Where it was sent to; none when nobody noted that.
    pub fn local(&self) -> Option<SocketAddr> {
        let (back, behind) = self.behind()?;
        if !behind.local {
            return None;
        }
        let own_back = back.checked_sub(behind.name_slots() + 2)?;
        let (own_front, own_back) = (self.slots[own_back + 1], self.slots[own_back]);
        let whole = own_front.kind() == KIND_ORIGIN && own_back.kind() == KIND_ORIGIN;
        if whole { Origin::from_slots(own_front, own_back).peer } else { None }
    }

    /// Appends the certificate's; false when there is none.
    pub fn append(&self, out: &mut Vec<u8>) -> bool {
        let Some((back, behind)) = self.behind() else { return false };
        let mut left = usize::from(behind.name_bytes);
        for part in self.parts_below(back).take(behind.name_slots()) {
            let part = &part[..left.min(PART_BYTES)];
            out.extend_from_slice(part);
            left -= part.len();
        }
        behind.name_bytes > 0
    }

    /// Appends the host's; false when there is none.
    #[inline]
    pub fn append_host(&self, out: &mut Vec<u8>) -> bool {
        let before = out.len();
        self.host_parts().for_each(|part| out.extend_from_slice(part));
        out.len() > before
    }

    /// The host's name, in pieces; nothing when there is none.
    #[inline]
    pub fn host_parts(&self) -> impl Iterator<Item = &'page [u8]> + use<'page> {
        let name = *self;
        let found = self.behind().filter(|(_, behind)| behind.host_slots > 0);
        found.into_iter().flat_map(move |(back, behind)| {
            let parts = name.parts_below(back).skip(behind.front_slots());
            parts.take(usize::from(behind.host_slots)).map(|part| {
                let end = part.iter().position(|byte| *byte == 0).unwrap_or(part.len());
                &part[..end]
            })
        })
    }

    /// Where its back slot stands, and what that says.
    #[inline]
    fn behind(&self) -> Option<(usize, Behind)> {
        let back = self.slots.len().checked_sub(usize::from(self.origin) + 2)?;
        Some((back, Behind::of(&self.slots[back])))
    }

    /// The front slot is followed downwards by the back one, and that by others.
    fn parts_below(&self, back: usize) -> impl Iterator<Item = &'page [u8]> + use<'page> {
        self.slots[..back].iter().rev().map(Slot::origin_bytes)
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

    fn text(append: impl Fn(&mut Vec<u8>) -> bool) -> Option<String> {
        let mut out = Vec::new();
        append(&mut out).then(|| String::from_utf8(out).expect("it was a str"))
    }

    fn names(page: &Page) -> Vec<Option<String>> {
        page.events().map(|event| text(|out| event.name().append(out))).collect()
    }

    fn hosts(page: &Page) -> Vec<Option<String>> {
        page.events().map(|event| text(|out| event.name().append_host(out))).collect()
    }

    fn certificate(certificate: &str) -> Names<'_> {
        Names { certificate, host: "" }
    }

    #[test]
    fn names_of_any_length_stand_beside_their_events() {
        let longest = "n".repeat(NAME_BYTES_MAX);
        let all = ["", "a", "exactly-15-byte", "one.example.com", "x.y-sixteen.long", &longest];
        for shape in [Shape::Bare, Shape::Front, Shape::Whole] {
            let mut page = Page::new(limits::BATCH_BYTES_MIN);
            page.keep_fields(shape);
            for (name, host) in all.into_iter().zip(all.into_iter().rev()) {
                let before = page.free_bytes();
                let names = Names { certificate: name, host };
                let origin = page.push_named_origin(Origin::new(None, 7), names).expect("room");
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
            let mut others = all.map(said);
            others.reverse();
            assert_eq!(hosts(&page), others);
        }
    }

    #[test]
    fn the_address_it_was_sent_to_stands_behind_an_origin_and_its_name() {
        let mut page = Page::new(limits::BATCH_BYTES_MIN);
        let to = ["10.0.0.1:2055", "[fe80::2%3]:6343"].map(|to| to.parse().expect("address"));
        let both = |name| Names { certificate: name, host: "of-a-host.example" };
        for (name, local) in
            [("", Some(to[0])), ("n", None), ("a longer name than one", Some(to[1]))]
        {
            let from = Origin::new(Some("10.0.0.9:9".parse().expect("address")), 1);
            let origin = page.push_whole_origin(from, both(name), local).expect("room");
            let head = EventHead { at: Wall(1), origin, pri: None, marks: Marks::NONE };
            page.append_event(b"x", head).expect("room");
        }
        let locals =
            |page: &Page| page.events().map(|event| event.name().local()).collect::<Vec<_>>();
        assert_eq!(locals(&page), [Some(to[0]), None, Some(to[1])]);
        assert_eq!(names(&page)[2].as_deref(), Some("a longer name than one"));
        assert!(hosts(&page).iter().all(|host| host.as_deref() == Some("of-a-host.example")));
        // What a filter leaves keeps it.
        page.retain(&Since::START, |event| event.name().local() != Some(to[0]));
        assert_eq!(locals(&page), [None, Some(to[1])]);
        assert_eq!(Name::NONE.local(), None);
        page.advance(page.free_bytes() - 3 * SLOT_BYTES);
        assert_eq!(page.push_whole_origin(Origin::LOCAL, Names::NONE, Some(to[0])), Err(Full));
    }

    #[test]
    fn a_name_without_room_is_not_begun_and_a_longer_one_ends() {
        let mut page = Page::new(limits::BATCH_BYTES_MIN);
        let long = "\u{fc}".repeat(200);
        let origin = page.push_named_origin(Origin::LOCAL, certificate(&long)).expect("room");
        let head = EventHead { at: Wall(1), origin, pri: None, marks: Marks::NONE };
        page.append_event(b"x", head).expect("room");
        assert_eq!(names(&page), [Some("\u{fc}".repeat(127))]);
        page.advance(page.free_bytes() - 2 * SLOT_BYTES);
        assert_eq!(page.push_named_origin(Origin::LOCAL, certificate("a")), Err(Full));
        assert!(page.push_origin(Origin::LOCAL).is_ok());
    }

    #[test]
    fn a_page_is_told_an_origin_once() {
        let mut page = Page::new(limits::BATCH_BYTES_MIN);
        let mut place = OriginPlace::default();
        let first = place.find(&mut page, Origin::LOCAL, certificate("a")).expect("room");
        let free = page.free_bytes();
        assert_eq!(place.find(&mut page, Origin::LOCAL, certificate("a")), Ok(first));
        assert_eq!(page.free_bytes(), free);
        page.clear(2);
        place.find(&mut page, Origin::LOCAL, certificate("a")).expect("room");
        assert_eq!(page.free_bytes(), free);
    }
}
