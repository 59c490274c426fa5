//! A dead letter: one line of JSON about an event that nobody takes, with all of its bytes.
//!
//! ```text
//! {"@timestamp":"set aside then","event.created":"received then",
//!  "log.source.address":"10.0.0.7:514","dead_letter.sink":"next","dead_letter.attempts":3,
//!  "error.message":"answered 400 Bad Request","labels":{"site":"b"},"tags":["split"],
//!  "event.original":"<13>text"}
//! ```
//! Names are those of the Elastic Common Schema where it has one. Bytes that are not UTF-8 stand in
//! `event.original_base64`: whatever the letter says, the event can be had back from it.

use std::io::Write;

use super::json::{labels, string, tags};
use super::text::time;
use crate::event::Event;
use crate::time::Wall;

/// What is said of an event beside itself.
#[derive(Clone, Copy, Debug)]
pub struct DeadLetter<'a> {
    /// Which sink could not deliver it.
    pub sink: &'a str,
    /// Why not, in the words of who refused it if there are any.
    pub reason: &'a str,
    /// How often it was tried.
    pub attempts: u32,
    /// When it was set aside.
    pub at: Wall,
}

impl DeadLetter<'_> {
    /// Appends the line.
    pub fn write(&self, event: &Event<'_>, out: &mut Vec<u8>) {
        out.extend_from_slice(b"{\"@timestamp\":\"");
        time(self.at.0, out);
        out.extend_from_slice(b"\",\"event.created\":\"");
        time(event.at.0, out);
        out.push(b'"');
        if let Some(peer) = event.origin.peer {
            let _ = write!(out, ",\"log.source.address\":\"{peer}\"");
        }
        string("dead_letter.sink", Some(self.sink.as_bytes()), out);
        let _ = write!(out, ",\"dead_letter.attempts\":{}", self.attempts);
        string("error.message", Some(self.reason.as_bytes()), out);
        labels(event, out);
        tags(event, out);
        string("event.original", Some(event.bytes), out);
        out.extend_from_slice(b"}\n");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::encoders::tests::event;
    use crate::event::Marks;

    fn line(bytes: &[u8]) -> serde_json::Value {
        let (reason, at) = ("answered \"no\"\n", Wall(1_500_000_000));
        let mut out = Vec::new();
        let letter = DeadLetter { sink: "next", reason, attempts: 3, at };
        letter.write(&event(bytes, Marks::SPLIT), &mut out);
        assert_eq!(out.pop(), Some(b'\n'));
        assert!(!out.contains(&b'\n'), "one line");
        serde_json::from_slice(&out).expect("JSON")
    }

    #[test]
    fn every_byte_can_be_had_back() {
        let expected = serde_json::json!({
            "@timestamp": "1970-01-01T00:00:01.500000000Z",
            "event.created": "1970-01-01T00:00:00.000000001Z",
            "log.source.address": "[fe80::1%4294967295]:65535",
            "dead_letter.sink": "next",
            "dead_letter.attempts": 3,
            "error.message": "answered \"no\"\n",
            "tags": ["split"],
            "event.original": "<13>a\tb\n\u{0}\"c\"",
        });
        assert_eq!(line(b"<13>a\tb\n\0\"c\""), expected);
        assert_eq!(line(b"\xff\xfe")["event.original_base64"], "//4=");
        assert_eq!(line(b"")["event.original"], "");
    }
}
