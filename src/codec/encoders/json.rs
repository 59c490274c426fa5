//! `json`: one flat object a line, in the names of the Elastic Common Schema.
//!
//! ```text
//! {"@timestamp":"2003-10-11T22:14:15.003000000Z","ecs.version":"8.11.0",
//!  "event.created":"…","log.source.address":"10.0.0.7:514",
//!  "client.domain":"web01.example","host.name":"web01",
//!  "log.syslog.priority":165,"log.syslog.facility.code":20,"log.syslog.facility.name":"local4",
//!  "log.syslog.severity.code":5,"log.syslog.severity.name":"notice",
//!  "log.syslog.appname":"su","log.syslog.procid":"7","log.syslog.msgid":"ID47",
//!  "log.syslog.structured_data":{"a@1":{"b":"c"}},"labels":{"site":"b"},"tags":["split"],
//!  "message":"text"}
//! ```
//! `@timestamp` is the header `timestamp`, else the message's own time, else the time it was
//! received, which is always `event.created`. `labels` are the headers that were set. Absent fields
//! are left out. What could not be parsed, or was not, is whole in `message`. A value that is not
//! UTF-8 stands under its name with `_base64` behind it, so every byte survives; of structured data
//! that is all of it, as sent. As in `flumen parse`, a repeated parameter is an array and elements
//! of one id are one object. Very much structured data stands, as sent, in
//! `log.syslog.structured_data_text`. `client.domain` is whom a TLS sender's certificate names.

use std::io::Write;

use super::Encoder;
use super::text::{base64, escape, time};
use crate::codec::Encoding;
use crate::event::{Event, Form, HeaderNames};
use crate::syslog::names;
use crate::syslog::parse::{Data, Element, Fields, Value};

#[derive(Clone, Copy, Debug, Default)]
pub struct Json;

/// Punctuation, names, times, the longest peer with its names, and all marks.
const FRAME_BYTES_MAX: usize = 1024 + 3 * 255;

/// Elements and parameters that are compared each with each, to find those of one name.
const PARAMS_MAX: usize = 64;

impl Encoder for Json {
    fn encoding(&self) -> Encoding {
        Encoding::Json
    }

    fn wanted(&self) -> Fields {
        Fields::ALL
    }

    fn headers(&self) -> HeaderNames {
        HeaderNames::ALL
    }

    fn bound(&self, event_bytes: usize) -> usize {
        FRAME_BYTES_MAX + 6 * event_bytes
    }

    fn bound_event(&self, event: &Event<'_>) -> usize {
        let bytes = event.bytes;
        let controls = bytes.iter().filter(|byte| **byte < 0x20).count();
        let quotes = bytes.iter().filter(|byte| matches!(byte, b'"' | b'\\')).count();
        let base64 = bytes.len() / 3;
        // `[x]` becomes `"x":{},`, and ` a=""` becomes `"a":"",`.
        let data = 3 * event.parsed().data().len() + 6 * event.headers().bytes();
        FRAME_BYTES_MAX + bytes.len() + 5 * controls + quotes + base64 + data
    }

    fn encode_event(&self, event: &Event<'_>, out: &mut Vec<u8>) {
        let parsed = &event.parsed();
        out.extend_from_slice(b"{\"@timestamp\":\"");
        time(event.time().0, out);
        out.extend_from_slice(b"\",\"ecs.version\":\"8.11.0\",\"event.created\":\"");
        time(event.at.0, out);
        out.push(b'"');
        if let Some(peer) = event.origin.peer {
            let _ = write!(out, ",\"log.source.address\":\"{peer}\"");
        }
        client(event, out);
        source(event, out);
        string("host.name", parsed.host(), out);
        if let Some(pri) = event.pri {
            let (facility, severity) = (names::facility(pri), names::severity(pri));
            let _ = write!(
                out,
                ",\"log.syslog.priority\":{pri},\"log.syslog.facility.code\":{},\
                 \"log.syslog.facility.name\":\"{facility}\",\"log.syslog.severity.code\":{},\
                 \"log.syslog.severity.name\":\"{severity}\"",
                pri >> 3,
                pri & 7
            );
        }
        string("log.syslog.appname", parsed.app(), out);
        string("log.syslog.procid", parsed.proc_id(), out);
        string("log.syslog.msgid", parsed.msg_id(), out);
        structured_data(Data::checked(parsed.data(), parsed.data_name()), out);
        labels(event, out);
        tags(event, out);
        match parsed.form() {
            Form::Rfc3164 | Form::Rfc5424 => {
                string("message", Some(parsed.message().unwrap_or_default()), out);
            }
            Form::Unparsed | Form::Unknown => string("message", Some(event.bytes), out),
        }
        out.extend_from_slice(b"}\n");
    }
}

/// Whom the sender's certificate names. `client.domain` is ECS's word for any name of that end.
fn client(event: &Event<'_>, out: &mut Vec<u8>) {
    let (start, key) = (out.len(), b",\"client.domain\":\"");
    out.extend_from_slice(key);
    let from = out.len();
    if !event.name().append(out) {
        return out.truncate(start);
    }
    // Printable, as the certificate's reader keeps nothing else, but for the two.
    let quoted = |byte: &u8| matches!(byte, b'"' | b'\\');
    for at in (from..out.len()).rev() {
        if quoted(&out[at]) {
            out.insert(at, b'\\');
        }
    }
    out.push(b'"');
}

/// What its sender's address is called: letters, digits, hyphens, underscores and dots.
fn source(event: &Event<'_>, out: &mut Vec<u8>) {
    let start = out.len();
    out.extend_from_slice(b",\"source.domain\":\"");
    if event.name().append_host(out) { out.push(b'"') } else { out.truncate(start) }
}

/// `,"name":"value"`, or `,"name_base64":"…"`; nothing for nothing.
pub(super) fn string(name: &str, value: Option<&[u8]>, out: &mut Vec<u8>) {
    let Some(value) = value else { return };
    out.extend_from_slice(b",\"");
    out.extend_from_slice(name.as_bytes());
    if std::str::from_utf8(value).is_ok() {
        out.extend_from_slice(b"\":\"");
        escape(value, out);
    } else {
        out.extend_from_slice(b"_base64\":\"");
        base64(value, out);
    }
    out.push(b'"');
}

/// Headers that were set, in the object that the schema has for what has no other place.
pub(super) fn labels(event: &Event<'_>, out: &mut Vec<u8>) {
    if !event.has_headers() {
        return;
    }
    let from = out.len();
    for (name, value) in event.headers().iter() {
        let first = out.len() == from;
        out.extend_from_slice(if first { b",\"labels\":{\"" } else { b",\"" });
        // A name is text in all but the oddest cases, and then it is shown as far as it is.
        name.utf8_chunks().for_each(|chunk| escape(chunk.valid().as_bytes(), out));
        if std::str::from_utf8(value).is_ok() {
            out.extend_from_slice(b"\":\"");
            escape(value, out);
        } else {
            out.extend_from_slice(b"_base64\":\"");
            base64(value, out);
        }
        out.push(b'"');
    }
    if out.len() > from {
        out.push(b'}');
    }
}

pub(super) fn tags(event: &Event<'_>, out: &mut Vec<u8>) {
    let mut marks = event.marks.counted();
    if let Some(first) = marks.next() {
        let _ = write!(out, ",\"tags\":[\"{}\"", first.name());
        for mark in marks {
            let _ = write!(out, ",\"{}\"", mark.name());
        }
        out.push(b']');
    }
}

fn structured_data(data: Data<'_>, out: &mut Vec<u8>) {
    const NAME: &str = "log.syslog.structured_data";
    let named = data.elements().flat_map(|element| element.params().chain([(element.id, NOTHING)]));
    if data.is_empty() {
        return;
    }
    if std::str::from_utf8(data.raw).is_err() {
        return string(NAME, Some(data.raw), out);
    }
    if named.take(PARAMS_MAX + 1).count() > PARAMS_MAX {
        return string("log.syslog.structured_data_text", Some(data.raw), out);
    }
    let _ = write!(out, ",\"{NAME}\":{{");
    for (index, element) in data.elements().enumerate() {
        let same = |other: &Element<'_>| other.id == element.id;
        if data.elements().take(index).any(|before| same(&before)) {
            continue;
        }
        key(element.id, index == 0, out);
        out.push(b'{');
        let params = || data.elements().filter(same).flat_map(|element| element.params());
        for (index, (name, _)) in params().enumerate() {
            if params().take(index).any(|(before, _)| before == name) {
                continue;
            }
            key(name, index == 0, out);
            values(params().filter(|(other, _)| *other == name).map(|(_, value)| value), out);
        }
        out.push(b'}');
    }
    out.push(b'}');
}

/// Stands for an element among the parameters when they are counted.
const NOTHING: Value<'static> = Value { raw: b"" };

/// `"name":`, with a comma in front unless it is the first.
fn key(name: &[u8], first: bool, out: &mut Vec<u8>) {
    out.extend_from_slice(if first { b"\"" } else { b",\"" });
    escape(name, out);
    out.extend_from_slice(b"\":");
}

/// One value, or an array of several.
fn values<'a>(mut values: impl Iterator<Item = Value<'a>>, out: &mut Vec<u8>) {
    let from = out.len();
    let mut several = false;
    if let Some(first) = values.next() {
        value(first, out);
    }
    for next in values {
        if !std::mem::replace(&mut several, true) {
            out.insert(from, b'[');
        }
        out.push(b',');
        value(next, out);
    }
    if several {
        out.push(b']');
    }
}

fn value(value: Value<'_>, out: &mut Vec<u8>) {
    out.push(b'"');
    // Byte by byte, as its own escapes are taken off; UTF-8 stays whole.
    value.bytes().for_each(|byte| escape(&[byte], out));
    out.push(b'"');
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::encoders::tests::{event, with_event};
    use crate::event::{EventHead, HeaderMap, Marks, Names, Origin};
    use crate::time::Wall;
    use proptest::prelude::*;

    fn encode(event: &Event<'_>) -> serde_json::Value {
        let mut out = Vec::new();
        Json.encode_event(event, &mut out);
        assert!(out.len() <= Json.bound(event.bytes.len()), "{}", out.len());
        assert!(out.len() <= Json.bound_event(event), "{}", out.len());
        assert_eq!(out.pop(), Some(b'\n'));
        assert!(!out.contains(&b'\n'));
        serde_json::from_slice(&out).expect("JSON")
    }

    #[test]
    fn headers_that_were_set_are_labels() {
        let mut page = crate::event::Page::new(crate::limits::BATCH_BYTES_MIN);
        let mut headers = HeaderMap::default();
        let values: [(&[u8], &[u8]); 4] =
            [(b"si\"te", b"b\n"), (b"n", b""), (b"odd", b"\xff"), (b"timestamp", b"2")];
        for (name, value) in values {
            headers.set(name, value).unwrap();
        }
        let origin = page.push_labelled_origin(Origin::LOCAL, Names::NONE, &headers).unwrap();
        let head = EventHead { at: Wall(1), origin, pri: None, marks: Marks::NONE };
        page.append_event(b"x", head).unwrap();
        headers.retain(|name, _| name == b"n");
        page.append_headed(b"y", &headers, head).unwrap();
        for event in page.events() {
            let bound = Json.bound_page(&page);
            let mut out = Vec::new();
            Json.encode_event(&event, &mut out);
            assert!(out.len() <= Json.bound_event(&event) && 2 * out.len() <= bound);
            let found: serde_json::Value = serde_json::from_slice(&out).unwrap();
            assert_eq!(found["@timestamp"], "1970-01-01T00:00:00.002000000Z");
            let labels = serde_json::json!(
                { "si\"te": "b\n", "n": "", "odd_base64": "/w==", "timestamp": "2" }
            );
            assert_eq!(found["labels"], labels);
        }
    }

    #[test]
    fn every_field_stands_under_its_name() {
        let text = "<165>1 2003-10-11T22:14:15.003Z web01 su 7 ID47 [a@1 b=\"c\\\"\" b=\"d\"]\
                    [e@1][a@1 f=\"g\"] grüß \"x\"";
        let found = with_event(text.as_bytes(), Marks::SPLIT, encode);
        let expected = serde_json::json!({
            "@timestamp": "2003-10-11T22:14:15.003000000Z",
            "ecs.version": "8.11.0",
            "event.created": "1970-01-01T00:00:00.000000001Z",
            "log.source.address": "[fe80::1%4294967295]:65535",
            "host.name": "web01",
            "log.syslog.priority": 165,
            "log.syslog.facility.code": 20,
            "log.syslog.facility.name": "local4",
            "log.syslog.severity.code": 5,
            "log.syslog.severity.name": "notice",
            "log.syslog.appname": "su",
            "log.syslog.procid": "7",
            "log.syslog.msgid": "ID47",
            "log.syslog.structured_data": {
                "a@1": { "b": ["c\"", "d"], "f": "g" },
                "e@1": {},
            },
            "tags": ["split"],
            "message": "grüß \"x\"",
        });
        assert_eq!(found, expected);
    }

    #[test]
    fn what_was_not_parsed_is_whole() {
        let marks = Marks::TRUNCATED.with(Marks::SPLIT).with(Marks::UNPARSED);
        let found = encode(&Event { at: Wall(0), ..event(b"<13>odd\x01", marks) });
        assert_eq!(found["message"], "<13>odd\u{1}");
        assert_eq!(found["tags"], serde_json::json!(["truncated", "split", "unparsed"]));
        assert_eq!(found["@timestamp"], found["event.created"]);
        assert!(found.get("host.name").is_none());
    }

    #[test]
    fn what_is_not_utf8_survives() {
        let header = b"<13>1 2003-10-11T22:14:15Z h\xff su - - [a b=\"\xff\"] t\xff";
        let found = with_event(header, Marks::NONE, encode);
        assert_eq!(found["host.name_base64"], "aP8=");
        assert_eq!(found["log.syslog.structured_data_base64"], "W2EgYj0i/yJd");
        assert_eq!(
            (&found["message_base64"], &found["log.syslog.appname"]),
            (&"dP8=".into(), &"su".into())
        );
        let found = encode(&event(b"\xff\xfe", Marks::NONE));
        assert_eq!(found["message_base64"], "//4=");
        assert!(found.get("message").is_none());
    }

    #[test]
    fn very_much_structured_data_stays_text() {
        let many: String = (0..=PARAMS_MAX).map(|n| format!("[x{n}]")).collect();
        let text = format!("<13>1 2003-10-11T22:14:15Z h su - - {many} t");
        let found = with_event(text.as_bytes(), Marks::NONE, encode);
        assert_eq!(found["log.syslog.structured_data_text"], many);
        assert!(found.get("log.syslog.structured_data").is_none());
    }

    proptest! {
        /// Any bytes behind a header make one object, within its bounds.
        #[test]
        fn any_message_is_an_object(
            data in prop::collection::vec(prop::sample::select(&b"[] ab=\"\\\x01]\xff"[..]), 0..60),
            text in prop::collection::vec(any::<u8>(), 0..60),
        ) {
            let header = b"<13>1 2003-10-11T22:14:15Z h su - - ".to_vec();
            let bytes = [header, data, b" ".to_vec(), text].concat();
            with_event(&bytes, Marks::NONE, encode);
        }
    }
}
