//! Events copied from page to page, with their origins, headers and fields.
//!
//! Origins are pushed once for events in a row that share one. Headers that several events in a row
//! have alike become labels of an origin, whatever put them there: most headers are the same for
//! all events of a read.

use super::{Event, EventHead, Full, HeaderMap, Names, OriginIndex, Page};

/// Copies events, one after the other.
#[derive(Debug, Default)]
pub struct Copying {
    place: Option<Place>,
    /// Labels of the origin at hand.
    labels: HeaderMap,
    /// Headers of the event before, which were not its labels.
    candidate: HeaderMap,
    own: HeaderMap,
    certificate: Vec<u8>,
    host: Vec<u8>,
}

/// The origin pushed last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Place {
    /// Its number in the page that events come from.
    number: u16,
    /// Serial of the page that they go to.
    serial: u64,
    index: OriginIndex,
}

impl Copying {
    /// The events to come are of another page.
    pub fn turn(&mut self) {
        self.place = None;
    }

    /// Copies an event as it is, with what was read of it when the page keeps as many fields.
    pub fn copy(&mut self, event: &Event<'_>, to: &mut Page) -> Result<(), Full> {
        let slot = self.append(event, event.bytes, to)?;
        to.take_fields(slot, &event.parsed());
        Ok(())
    }

    /// Copies an event with this text in place of its own, and with its headers.
    pub fn rewrite(&mut self, event: &Event<'_>, text: &[u8], to: &mut Page) -> Result<(), Full> {
        self.append(event, text, to).map(|_| ())
    }

    /// Says the number of the event's slot.
    fn append(&mut self, event: &Event<'_>, text: &[u8], to: &mut Page) -> Result<usize, Full> {
        let index = match self.place_of(event, to) {
            Some(index) if self.labels.entries() == event.headers().labels() => index,
            _ => {
                self.labels.load(event.headers().labels());
                self.push(event, to)?
            }
        };
        self.own.load(event.headers().own());
        let slot = to.slots_in_use();
        to.append_headed(text, &self.own, head(event, index))?;
        Ok(slot)
    }

    /// Copies an event with this text and these headers in place of its own. As with `rewrite`,
    /// what was read of the old text is not copied.
    pub fn write(
        &mut self,
        event: &Event<'_>,
        text: &[u8],
        headers: &HeaderMap,
        to: &mut Page,
    ) -> Result<(), Full> {
        let index = self.place_of(event, to);
        let fold = index.is_none()
            || *headers == self.candidate
            || self.labels.iter().any(|(name, _)| headers.get(name).is_none());
        let index = match index {
            Some(index) if *headers == self.labels => index,
            Some(index) if !fold => {
                self.candidate.clone_from(headers);
                return to.append_headed(text, headers, head(event, index));
            }
            _ => {
                self.labels.clone_from(headers);
                self.push(event, to)?
            }
        };
        to.append_event(text, head(event, index))
    }

    fn place_of(&self, event: &Event<'_>, to: &Page) -> Option<OriginIndex> {
        let same = |place: &Place| {
            place.number == event.name().origin_number() && place.serial == to.serial()
        };
        self.place.filter(same).map(|place| place.index)
    }

    /// Pushes the event's origin with the labels at hand.
    fn push(&mut self, event: &Event<'_>, to: &mut Page) -> Result<OriginIndex, Full> {
        self.place = None;
        self.certificate.clear();
        self.host.clear();
        event.name().append(&mut self.certificate);
        event.name().append_host(&mut self.host);
        // Names came as text; what a forged image made of one is as good as none.
        let text = |name| std::str::from_utf8(name).unwrap_or_default();
        let names = Names { certificate: text(&self.certificate), host: text(&self.host) };
        let index = to.push_full_origin(event.origin, names, event.name().local(), &self.labels)?;
        let (number, serial) = (event.name().origin_number(), to.serial());
        self.place = Some(Place { number, serial, index });
        Ok(index)
    }
}

fn head(event: &Event<'_>, origin: OriginIndex) -> EventHead {
    EventHead { at: event.at, origin, pri: event.pri, marks: event.marks }
}
