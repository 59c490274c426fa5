//! `avro_event`: an event as a record of Avro's, as Flume's serializer of that name writes it.
//!
//! ```text
//!  headers   count │ { length name │ length value }* │ 0          left out: count and pairs
//!  body      length │ bytes
//! ```
//! Numbers are Avro's longs. A string of Avro's is UTF-8: what is none in a header is replaced, in
//! the body every byte is kept. Records stand in blocks, which the sink puts together.

use super::Encoder;
use super::body::Body;
use crate::codec::Encoding;
use crate::event::headers::TOLD;
use crate::event::{Event, HeaderNames};
use crate::syslog::parse::Fields;

/// What a message says under Flume's names takes no more, but for its host.
const TOLD_BYTES_MAX: usize = 192;
/// A replacement is three bytes for one.
const REPLACED: usize = 3;
/// Of a long, whatever it is.
const LONG_BYTES_MAX: usize = 10;

#[derive(Clone, Debug)]
pub struct AvroEvent {
    /// What is written of the text, without its newline.
    pub body: Body,
}

impl Encoder for AvroEvent {
    fn encoding(&self) -> Encoding {
        Encoding::Avro
    }

    fn wanted(&self) -> Fields {
        self.body.wanted().union(Fields::TIME)
    }

    fn headers(&self) -> HeaderNames {
        HeaderNames::ALL
    }

    fn bound(&self, event_bytes: usize) -> usize {
        // The lengths of a pair are no longer than the head of the entry that it stands for; the
        // host is a part of the text.
        REPLACED * (TOLD_BYTES_MAX + event_bytes)
            + self.body.bound(event_bytes)
            + 3 * LONG_BYTES_MAX
    }

    fn encode_event(&self, event: &Event<'_>, out: &mut Vec<u8>) {
        write_headers(event, out);
        measured(out, |out| {
            self.body.encode_event(event, out);
            out.pop();
        });
    }
}

fn write_headers(event: &Event<'_>, out: &mut Vec<u8>) {
    let headers = event.headers();
    let told = || TOLD.iter().filter(|name| headers.get(name).is_none());
    let first = out.len();
    let mut count = headers.iter().count();
    for name in told() {
        count += usize::from(event.append_told(name, out));
        out.truncate(first);
    }
    if count > 0 {
        put_long(count, out);
        for (name, value) in headers.iter() {
            measured(out, |out| put_text(name, out));
            measured(out, |out| put_text(value, out));
        }
        for name in told() {
            let before = out.len();
            measured(out, |out| out.extend_from_slice(name.as_bytes()));
            let mut said = false;
            measured(out, |out| {
                let from = out.len();
                said = event.append_told(name, out);
                if std::str::from_utf8(&out[from..]).is_err() {
                    let text = String::from_utf8_lossy(&out[from..]).into_owned();
                    out.truncate(from);
                    out.extend_from_slice(text.as_bytes());
                }
            });
            if !said {
                out.truncate(before);
            }
        }
    }
    put_long(0, out);
}

/// What is no UTF-8 is replaced.
fn put_text(bytes: &[u8], out: &mut Vec<u8>) {
    for chunk in bytes.utf8_chunks() {
        out.extend_from_slice(chunk.valid().as_bytes());
        if !chunk.invalid().is_empty() {
            out.extend_from_slice("\u{FFFD}".as_bytes());
        }
    }
}

/// What is put, with its length in front.
fn measured(out: &mut Vec<u8>, put: impl FnOnce(&mut Vec<u8>)) {
    let from = out.len();
    put(out);
    let end = out.len();
    put_long(end - from, out);
    let digits = out.len() - end;
    out[from..].rotate_right(digits);
}

/// A long of Avro's that is not negative: zigzag, seven bits a byte, the lowest first.
fn put_long(number: usize, out: &mut Vec<u8>) {
    let mut rest = (number as u64) << 1;
    while rest > 0x7F {
        out.push(rest as u8 | 0x80);
        rest >>= 7;
    }
    out.push(rest as u8);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::encoders::tests::{event, with_event};
    use crate::event::{EventHead, HeaderMap, Marks, Origin, Page};
    use crate::time::Wall;

    fn encoder() -> AvroEvent {
        AvroEvent { body: Body { kept: Vec::new(), keep_control: true } }
    }

    fn encoded(event: &Event<'_>) -> Vec<u8> {
        let mut out = b"before".to_vec();
        encoder().encode_event(event, &mut out);
        assert!(out.len() - 6 <= encoder().bound(event.bytes_with_headers()), "{out:?}");
        out.split_off(6)
    }

    #[test]
    fn a_record_is_its_headers_and_its_body() {
        assert_eq!(encoded(&event(b"hi\n\xff", Marks::NONE)), b"\x00\x08hi\n\xff");
        assert_eq!(encoded(&event(b"", Marks::NONE)), b"\x00\x00");
        let long = encoded(&event(&[b'x'; 300], Marks::NONE));
        assert_eq!((&long[..3], long.len()), (&b"\x00\xd8\x04"[..], 303));
    }

    #[test]
    fn headers_are_text_and_what_a_message_says_is_among_them() {
        let mut map = HeaderMap::default();
        map.set(b"site", b"Berlin").unwrap();
        map.set(b"b\xff", b"\xfe\xfe").unwrap();
        let mut page = Page::new(crate::limits::BATCH_BYTES_MIN);
        let origin = page.push_origin(Origin::LOCAL).unwrap();
        let head = EventHead { at: Wall(1), origin, pri: None, marks: Marks::NONE };
        page.append_headed(b"text", &map, head).unwrap();
        let record = encoded(&page.events().next().unwrap());
        assert_eq!(
            record,
            b"\x04\x08site\x0cBerlin\x08b\xef\xbf\xbd\x0c\xef\xbf\xbd\xef\xbf\xbd\x00\x08text"
        );
        let message = b"<34>1 2003-10-11T22:14:15.003Z h su - ID47 - said";
        let record = with_event(message, Marks::NONE, encoded);
        let expected = [
            &b"\x0c\x12timestamp\x1a1065910455003\x08host\x02h\x10Facility\x024"[..],
            b"\x10Severity\x022\x10priority\x0434\x0eversion\x021\x00\x20su - ID47 - said",
        ];
        assert_eq!(record, expected.concat(), "{}", String::from_utf8_lossy(&record));
    }

    #[test]
    fn the_worst_headers_fit_the_bound() {
        let mut map = HeaderMap::default();
        for name in 0..200_u8 {
            map.set(&[0x80 | name, name, 0xff], &[0xff; 40]).unwrap();
        }
        let mut page = Page::new(crate::limits::BATCH_BYTES_MIN);
        let origin = page.push_origin(Origin::LOCAL).unwrap();
        let head = EventHead { at: Wall(1), origin, pri: None, marks: Marks::CONTROL };
        page.append_headed(&[0; 500], &map, head).unwrap();
        encoded(&page.events().next().unwrap());
    }
}
