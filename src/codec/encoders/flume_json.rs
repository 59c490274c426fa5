//! An event as Flume's `JSONHandler` takes it: an element of the array that its HTTP source reads.
//!
//! ```text
//! {"headers":{"host":"web01","Severity":"5"},"body":"text"}
//! ```
//! JSON is text: bytes that are not UTF-8 become U+FFFD.

use super::text::escape;
use crate::event::Event;

/// Appends the event with this body, which is what its encoder made of it.
pub fn flume_json(event: &Event<'_>, body: &[u8], scratch: &mut Vec<u8>, out: &mut Vec<u8>) {
    out.extend_from_slice(b"{\"headers\":{");
    let first = out.len();
    event.each_header(scratch, |name, value| {
        if out.len() > first {
            out.push(b',');
        }
        quoted(name, out);
        out.push(b':');
        quoted(value, out);
    });
    out.extend_from_slice(b"},\"body\":");
    quoted(body, out);
    out.push(b'}');
}

fn quoted(bytes: &[u8], out: &mut Vec<u8>) {
    out.push(b'"');
    for chunk in bytes.utf8_chunks() {
        escape(chunk.valid().as_bytes(), out);
        if !chunk.invalid().is_empty() {
            out.extend_from_slice("\u{fffd}".as_bytes());
        }
    }
    out.push(b'"');
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::encoders::tests::{event, with_event};
    use crate::event::Marks;

    fn json(event: &Event<'_>, body: &[u8]) -> serde_json::Value {
        let (mut scratch, mut out) = (Vec::new(), Vec::new());
        flume_json(event, body, &mut scratch, &mut out);
        serde_json::from_slice(&out).expect("JSON")
    }

    #[test]
    fn headers_and_body_stand_under_flumes_names() {
        let text = b"<165>1 2003-10-11T22:14:15.003Z web\"01 su - - - x";
        let found = with_event(text, Marks::NONE, |event| json(event, b"a\xff\"b\n"));
        assert_eq!(found["body"], "a\u{fffd}\"b\n");
        assert_eq!(found["headers"]["host"], "web\"01");
        assert_eq!(found["headers"]["Severity"], "5");
        assert_eq!(found["headers"]["timestamp"], "1065910455003");
        assert_eq!(json(&event(b"x", Marks::NONE), b"")["body"], "");
    }
}
