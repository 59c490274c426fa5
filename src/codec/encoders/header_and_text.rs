//! `header_and_text`: an event's headers and its text, as Flume's serializer of that name writes
//! them.
//!
//! ```text
//! {Severity=2, Facility=4, timestamp=1065910455003, host=mymachine} su - ID47 - 'su root' failed
//! ```
//! The headers stand in the order in which a Java map gives them, which depends on their names
//! alone as long as no two of them fall into one of its buckets.

use super::Encoder;
use super::body::Body;
use super::raw::escape_control;
use crate::codec::Encoding;
use crate::event::headers::TOLD;
use crate::event::{Event, HeaderNames};
use crate::syslog::parse::Fields;

/// Headers that stand in Java's order; any more stand behind them as they are.
const ORDERED_MAX: usize = 64;
/// What a message says under Flume's names takes no more, but for its host.
const TOLD_BYTES_MAX: usize = 128;

#[derive(Clone, Debug)]
pub struct HeaderAndText {
    /// What is written of the text.
    pub body: Body,
}

impl Encoder for HeaderAndText {
    fn encoding(&self) -> Encoding {
        Encoding::Template
    }

    fn wanted(&self) -> Fields {
        self.body.wanted().union(Fields::TIME)
    }

    fn headers(&self) -> HeaderNames {
        HeaderNames::ALL
    }

    fn bound(&self, event_bytes: usize) -> usize {
        // `name=value, ` is no longer than the entry that it stands for; the host is a part of the
        // text.
        let headers = TOLD_BYTES_MAX + event_bytes;
        headers * if self.body.keep_control { 1 } else { 4 } + self.body.bound(event_bytes)
    }

    fn encode_event(&self, event: &Event<'_>, out: &mut Vec<u8>) {
        let from = out.len();
        out.push(b'{');
        write_headers(event, out);
        out.extend_from_slice(b"} ");
        if !self.body.keep_control {
            escape_control(out, from);
        }
        self.body.encode_event(event, out);
    }
}

fn write_headers(event: &Event<'_>, out: &mut Vec<u8>) {
    let headers = event.headers();
    let own = || headers.iter();
    let told = || TOLD.iter().filter(|name| headers.get(name).is_none());
    let mut slots = [0_u8; ORDERED_MAX];
    let first = out.len();
    let mut count = own().count();
    for name in told() {
        count += usize::from(event.append_told(name, out));
        out.truncate(first);
    }
    let buckets = buckets(count);
    let names = own().map(|(name, _)| name).chain(told().map(|name| name.as_bytes()));
    for (slot, name) in slots.iter_mut().zip(names) {
        *slot = (spread(name) & (buckets - 1)) as u8;
    }
    for bucket in 0..buckets {
        for ((name, value), slot) in own().zip(&slots) {
            if u32::from(*slot) == bucket {
                separate(first, out);
                pair(name, value, out);
            }
        }
        for (name, slot) in told().zip(&slots[own().count().min(ORDERED_MAX)..]) {
            if u32::from(*slot) == bucket {
                tell(event, name, first, out);
            }
        }
    }
    for (name, value) in own().skip(ORDERED_MAX) {
        separate(first, out);
        pair(name, value, out);
    }
    for name in told().skip(ORDERED_MAX.saturating_sub(own().count())) {
        tell(event, name, first, out);
    }
}

fn separate(first: usize, out: &mut Vec<u8>) {
    if out.len() > first {
        out.extend_from_slice(b", ");
    }
}

fn pair(name: &[u8], value: &[u8], out: &mut Vec<u8>) {
    out.extend_from_slice(name);
    out.push(b'=');
    out.extend_from_slice(value);
}

/// A header that the message stands for, if it says so.
fn tell(event: &Event<'_>, name: &str, first: usize, out: &mut Vec<u8>) {
    let before = out.len();
    separate(first, out);
    pair(name.as_bytes(), b"", out);
    if !event.append_told(name, out) {
        out.truncate(before);
    }
}

/// How many buckets a Java map has that so many were put into: a power of two, three quarters full.
fn buckets(count: usize) -> u32 {
    let mut buckets = 16;
    while count * 4 > buckets * 3 && buckets < 128 {
        buckets *= 2;
    }
    buckets as u32
}

/// Java's hash of a text, as its maps mix it.
fn spread(name: &[u8]) -> u32 {
    let step = |hash: u32, unit: u32| hash.wrapping_mul(31).wrapping_add(unit);
    let hash = match std::str::from_utf8(name) {
        Ok(text) => text.encode_utf16().map(u32::from).fold(0, step),
        Err(_) => name.iter().copied().map(u32::from).fold(0, step),
    };
    hash ^ (hash >> 16)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::encoders::tests::{event, with_event};
    use crate::event::{EventHead, HeaderMap, Marks, Origin, Page};
    use crate::time::Wall;

    fn encoder(keep_control: bool) -> HeaderAndText {
        HeaderAndText { body: Body { kept: Vec::new(), keep_control } }
    }

    fn headed(bytes: &[u8], pairs: &[(&str, &str)], keep_control: bool) -> String {
        let mut map = HeaderMap::default();
        pairs.iter().for_each(|(name, value)| {
            map.set(name.as_bytes(), value.as_bytes()).expect("short");
        });
        let mut page = Page::new(crate::limits::BATCH_BYTES_MIN);
        let origin = page.push_origin(Origin::LOCAL).expect("room");
        let head = EventHead { at: Wall(1), origin, pri: None, marks: Marks::NONE };
        page.append_headed(bytes, &map, head).expect("room");
        let event = page.events().next().expect("one");
        let (encoder, mut out) = (encoder(keep_control), Vec::new());
        encoder.encode_event(&event, &mut out);
        assert!(out.len() <= encoder.bound(event.bytes_with_headers()));
        String::from_utf8(out).expect("UTF-8")
    }

    #[test]
    fn headers_stand_as_java_gives_them() {
        let mut out = Vec::new();
        encoder(true).encode_event(&event(b"text", Marks::NONE), &mut out);
        assert_eq!(out, b"{} text\n");
        // The first two share a bucket, and stand there as they came.
        let pairs = [("file", "/x"), ("basename", "x"), ("host", "h"), ("timestamp", "1")];
        assert_eq!(
            headed(b"text", &pairs, true),
            "{file=/x, basename=x, host=h, timestamp=1} text\n"
        );
    }

    #[test]
    fn what_a_syslog_message_says_are_headers() {
        let text = b"<34>1 2003-10-11T22:14:15.003Z mymachine su - ID47 - failed";
        with_event(text, Marks::NONE, |event| {
            let mut out = Vec::new();
            let encoder = encoder(true);
            encoder.encode_event(event, &mut out);
            assert!(out.len() <= encoder.bound(event.bytes_with_headers()));
            let written = String::from_utf8(out).expect("UTF-8");
            for part in ["Facility=4", "Severity=2", "timestamp=1065910455003", "host=mymachine"] {
                assert!(written.contains(part), "{written}");
            }
            assert!(written.ends_with("} su - ID47 - failed\n"), "{written}");
        });
    }

    #[test]
    fn nobody_forges_a_line_by_a_header() {
        let pairs = [("a", "x\ny")];
        assert_eq!(headed(b"text", &pairs, false), "{a=x#012y} text\n");
        assert_eq!(headed(b"text", &pairs, true), "{a=x\ny} text\n");
    }

    #[test]
    fn any_number_of_headers_is_written() {
        let names: Vec<String> = (0..100).map(|number| format!("n{number}")).collect();
        let pairs: Vec<(&str, &str)> = names.iter().map(|name| (name.as_str(), "v")).collect();
        let written = headed(b"text", &pairs, true);
        names.iter().for_each(|name| {
            let found = written.matches(&format!("{name}=v")).count();
            assert_eq!(found, 1, "{name} in {written}");
        });
    }
}
