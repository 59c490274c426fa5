//! Encoders: events to the bytes of a block. Dispatched once a batch, looping inside.
//!
//! - `raw`: an event's bytes as they came and one newline. Control bytes of datagrams and counted
//!   frames are written as `#012`-style octal (rsyslog's convention), so that one line is one event
//!   and nobody can forge one.
//! - `line`: the traditional line without `<PRI>`, also of RFC 5424.
//! - `json`: one flat object a line, in the names of the Elastic Common Schema.
//! - `body`: the text behind the host name, as Flume's syslog sources leave it.
//! - `header_and_text`: the same behind its headers, `{name=value} text`.
//! - `template`: whatever is asked for, one line an event.
//! - `dead_letter`: no encoder of a sink's choice; what is said of an event that nobody takes.
//! - `avro_event`: binary records of headers and body, for Avro's container files.
//! - `datagram`: binary records that keep datagrams as they came, with times and addresses.

mod avro_event;
mod body;
mod datagram;
mod dead_letter;
mod flume_json;
mod header_and_text;
mod json;
mod line;
mod raw;
mod template;
mod text;

use std::ops::Range;

use super::Encoding;
use crate::event::{Event, HeaderNames, Marks, Page};
use crate::limits::usize_of;
use crate::syslog::parse::Fields;

pub use avro_event::AvroEvent;
pub use body::{Body, KeptField};
pub use datagram::Datagram;
pub use dead_letter::DeadLetter;
pub use flume_json::flume_json;
pub use header_and_text::HeaderAndText;
pub use json::Json;
pub use line::Line;
pub use raw::Raw;
pub use template::{Template, TemplateError};
pub(super) use text::time;

pub trait Encoder: Send {
    /// The number in block headers.
    fn encoding(&self) -> Encoding;

    /// What it wants to know of each message.
    fn wanted(&self) -> Fields {
        Fields::NONE
    }

    /// Which headers it writes.
    fn headers(&self) -> HeaderNames {
        HeaderNames::default()
    }

    /// Whether it was told to write fields that only a parsed message has.
    fn names_fields(&self) -> bool {
        false
    }

    /// The most bytes one event of `event_bytes`, its headers among them, can become.
    fn bound(&self, event_bytes: usize) -> usize;

    /// The same of an event without control bytes that would be escaped.
    fn bound_plain(&self, event_bytes: usize) -> usize {
        self.bound(event_bytes)
    }

    /// The most bytes this event can become: tighter than `bound`.
    fn bound_event(&self, event: &Event<'_>) -> usize {
        let bytes = event.bytes_with_headers();
        match event.marks.contains(Marks::CONTROL) {
            true => self.bound(bytes),
            false => self.bound_plain(bytes),
        }
    }

    /// The most bytes the page's events can become; cheap and not tight.
    fn bound_page(&self, page: &Page) -> usize {
        let (bytes, events) = (page.bytes_with_headers(), usize_of(page.event_count()));
        match page.contiguous() {
            Some(_) => self.bound_plain(bytes) + events * self.bound_plain(0),
            None => self.bound(bytes) + events * self.bound(0),
        }
    }

    /// Appends one event.
    fn encode_event(&self, event: &Event<'_>, out: &mut Vec<u8>);

    /// The page's bytes, when they are the block already and nothing needs rewriting.
    fn as_is<'page>(&self, _page: &'page Page) -> Option<&'page [u8]> {
        None
    }

    /// Appends the page's events of these indices.
    fn encode_events(&self, page: &Page, indices: Range<u32>, out: &mut Vec<u8>) {
        let (from, count) = (usize_of(indices.start), indices.len());
        page.events().skip(from).take(count).for_each(|event| self.encode_event(&event, out));
    }

    /// Appends the page's events from index `from` on until `out` holds `full_bytes`; returns the
    /// index of the first event that was not taken. At least one is taken.
    fn encode_until(&self, page: &Page, from: u32, out: &mut Vec<u8>, full_bytes: usize) -> u32 {
        let mut index = from;
        for event in page.events().skip(usize_of(from)) {
            if index > from && out.len() >= full_bytes {
                break;
            }
            self.encode_event(&event, out);
            index += 1;
        }
        index
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::parsed::start_of;
    use crate::event::{Beside, EventHead, Form, Found, Origin, Reading, Shape, Span};
    use crate::syslog::parse::{Arrival, Expect, Format, Zone, parse};
    use crate::time::Wall;

    const AT: Wall = Wall(1);

    fn origin() -> Origin {
        let peer = Some("[fe80::1%4294967295]:65535".parse().expect("address"));
        Origin::new(peer, 0)
    }

    /// An event that nobody has parsed.
    pub(super) fn event(bytes: &[u8], marks: Marks) -> Event<'_> {
        Event { bytes, at: AT, origin: origin(), pri: None, marks, beside: Beside::NONE }
    }

    /// An event as a source leaves it that was asked for everything.
    pub(super) fn with_event<T>(bytes: &[u8], marks: Marks, read: impl Fn(&Event<'_>) -> T) -> T {
        let message = parse(bytes, Expect::Auto, Fields::ALL);
        let span = |field| Span::of(field, bytes).expect("short");
        let mut arrival = Arrival::new(AT, Zone::utc());
        let data = message.data.raw;
        let found = Found {
            form: match message.format {
                Format::Rfc3164 => Form::Rfc3164,
                Format::Rfc5424 => Form::Rfc5424,
                Format::Unparsed => Form::Unparsed,
            },
            nameless: message.data.is_nameless(),
            time: message.time.map(|time| arrival.resolve(&time).wall()),
            host: span(message.hostname),
            app: span(message.app_name),
            proc_id: span(message.proc_id),
            msg_id: span(message.msg_id),
            data: match data {
                [] => (0, 0),
                _ => (start_of(data, bytes) as u16, data.len() as u16),
            },
            message: message.message.map(|text| start_of(text, bytes) as u32),
        };
        let mut page = Page::new(crate::limits::BATCH_BYTES_MIN);
        page.keep_fields(Shape::Whole);
        let origin = page.push_origin(origin()).expect("room");
        page.append_event(bytes, EventHead { at: AT, origin, pri: None, marks }).expect("room");
        let unparsed = message.reason.is_some();
        page.read_fresh(|_| Reading { found, pri: message.pri, unparsed });
        read(&page.events().next().expect("one"))
    }
}
