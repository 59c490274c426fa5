//! A parsed message as one JSON object: the keys and their order are the outside contract.

use std::collections::HashMap;
use std::io::{self, Write};

use crate::archive::base64_encode;
use crate::syslog::parse::{Arrival, Data, Format, Message};

/// Why a parsed message is shown unparsed: JSON can hold no other text than UTF-8.
const NOT_UTF8: &str = "not_utf8";

/// Writes the object of `message`, which was parsed from `bytes`, and a newline.
pub fn write_object(
    message: &Message<'_>,
    bytes: &[u8],
    arrival: &mut Arrival,
    out: &mut impl Write,
) -> io::Result<()> {
    match Header::of(message) {
        Some(header) => write(message, &header, message.message, arrival, out),
        // The text alone may be any bytes; a header that is no text is kept with the whole.
        None => {
            let whole = Message { format: Format::Unparsed, time: None, ..*message };
            let header = Header { reason: Some(NOT_UTF8), version: None, ..Header::default() };
            write(&whole, &header, Some(bytes), arrival, out)
        }
    }
}

/// What must be UTF-8 and is.
#[derive(Default)]
struct Header<'a> {
    version: Option<u16>,
    hostname: Option<&'a str>,
    app_name: Option<&'a str>,
    proc_id: Option<&'a str>,
    msg_id: Option<&'a str>,
    elements: Vec<Element<'a>>,
    reason: Option<&'static str>,
}

/// The parameters of all elements of one id, in the order they first came.
struct Element<'a> {
    id: &'a str,
    params: Vec<(&'a str, Vec<String>)>,
}

impl<'a> Header<'a> {
    fn of(message: &Message<'a>) -> Option<Self> {
        let text = |field: Option<&'a [u8]>| field.map(std::str::from_utf8).transpose().ok();
        Some(Self {
            version: message.version,
            hostname: text(message.hostname)?,
            app_name: text(message.app_name)?,
            proc_id: text(message.proc_id)?,
            msg_id: text(message.msg_id)?,
            elements: elements(message.data)?,
            reason: message.reason.map(|reason| reason.name()),
        })
    }
}

/// Elements by id; a repeated id goes on with the first, a repeated parameter has several values.
fn elements(data: Data<'_>) -> Option<Vec<Element<'_>>> {
    let mut elements: Vec<Element<'_>> = Vec::new();
    let mut places = HashMap::new();
    let mut values = HashMap::new();
    for element in data.elements() {
        let id = std::str::from_utf8(element.id).ok()?;
        let place = *places.entry(id).or_insert_with(|| {
            elements.push(Element { id, params: Vec::new() });
            elements.len() - 1
        });
        for (name, value) in element.params() {
            let name = std::str::from_utf8(name).ok()?;
            let value = String::from_utf8(value.bytes().collect()).ok()?;
            let params = &mut elements[place].params;
            let which = *values.entry((place, name)).or_insert_with(|| {
                params.push((name, Vec::new()));
                params.len() - 1
            });
            params[which].1.push(value);
        }
    }
    Some(elements)
}

fn write(
    message: &Message<'_>,
    header: &Header<'_>,
    text: Option<&[u8]>,
    arrival: &mut Arrival,
    out: &mut impl Write,
) -> io::Result<()> {
    write!(out, "{{\"format\":\"{}\"", message.format.name())?;
    if let (Some(facility), Some(severity)) = (message.facility(), message.severity()) {
        write!(out, ",\"facility\":{facility},\"severity\":{severity}")?;
    }
    if let Some(version) = header.version {
        write!(out, ",\"version\":{version}")?;
    }
    if let Some(time) = &message.time {
        write!(out, ",\"timestamp\":\"{}\"", arrival.resolve(time))?;
    }
    let fields = [
        ("hostname", header.hostname),
        ("app_name", header.app_name),
        ("proc_id", header.proc_id),
        ("msg_id", header.msg_id),
    ];
    for (key, field) in fields {
        if let Some(field) = field {
            write!(out, ",\"{key}\":")?;
            string(field, out)?;
        }
    }
    if !header.elements.is_empty() {
        structured_data(&header.elements, out)?;
    }
    match text.map(std::str::from_utf8) {
        Some(Ok(text)) => {
            out.write_all(b",\"message\":")?;
            string(text, out)?;
        }
        Some(Err(_)) => {
            let encoded = base64_encode(text.unwrap_or_default());
            write!(out, ",\"message_base64\":\"{encoded}\"")?;
        }
        None => {}
    }
    if let Some(reason) = header.reason {
        write!(out, ",\"reason\":\"{reason}\"")?;
    }
    out.write_all(b"}\n")
}

fn structured_data(elements: &[Element<'_>], out: &mut impl Write) -> io::Result<()> {
    out.write_all(b",\"structured_data\":")?;
    let mut comma = "{";
    for element in elements {
        out.write_all(comma.as_bytes())?;
        string(element.id, out)?;
        out.write_all(b":")?;
        let mut inner = "{";
        for (name, values) in &element.params {
            out.write_all(inner.as_bytes())?;
            string(name, out)?;
            out.write_all(b":")?;
            match &values[..] {
                [value] => string(value, out)?,
                values => serde_json::to_writer(&mut *out, values)?,
            }
            inner = ",";
        }
        out.write_all(if element.params.is_empty() { b"{}" } else { b"}" })?;
        comma = ",";
    }
    out.write_all(b"}")
}

fn string(text: &str, out: &mut impl Write) -> io::Result<()> {
    Ok(serde_json::to_writer(out, text)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::syslog::parse::{Expect, Fields, Zone, parse};
    use crate::time::Wall;

    fn object(bytes: &[u8]) -> String {
        let mut arrival = Arrival::new(Wall(1_781_524_800_000_000_000), Zone::utc());
        let mut out = Vec::new();
        let message = parse(bytes, Expect::Auto, Fields::ALL);
        write_object(&message, bytes, &mut arrival, &mut out).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn all_keys_in_their_order() {
        let text = "<166>1 2003-10-11T22:14:15.003Z h a 1 ID47 [x@1 b=\"3\"] text";
        let wanted = "{\"format\":\"rfc5424\",\"facility\":20,\"severity\":6,\"version\":1,\
            \"timestamp\":\"2003-10-11T22:14:15.003Z\",\"hostname\":\"h\",\"app_name\":\"a\",\
            \"proc_id\":\"1\",\"msg_id\":\"ID47\",\"structured_data\":{\"x@1\":{\"b\":\"3\"}},\
            \"message\":\"text\"}\n";
        assert_eq!(object(text.as_bytes()), wanted);
        let wanted = "{\"format\":\"unparsed\",\"facility\":1,\"severity\":5,\
            \"message\":\"<13>what?\",\"reason\":\"no_header\"}\n";
        assert_eq!(object(b"<13>what?"), wanted);
    }

    #[test]
    fn repeated_ids_and_parameters() {
        let text =
            r#"<13>1 - - - - - [a x="1" x="2"][b][a y="]" x="3"]"#.replace("\"]\" x", "\"\\]\" x");
        let object = object(text.as_bytes());
        assert!(object.contains(r#"{"a":{"x":["1","2","3"],"y":"]"},"b":{}}"#), "{object}");
        assert!(!object.contains("message"), "{object}");
    }

    #[test]
    fn bytes_that_are_no_text() {
        let text = object(b"<13>Oct 11 22:14:15 h a: \xff\x00");
        assert!(text.contains("\"app_name\":\"a\",\"message_base64\":\"/wA=\""), "{text}");
        let host = object(b"<13>Oct 11 22:14:15 h\xff a: b");
        assert!(host.starts_with("{\"format\":\"unparsed\",\"facility\":1"), "{host}");
        assert!(host.contains("\"message_base64\":\"PDEz"), "{host}");
        assert!(host.ends_with("\"reason\":\"not_utf8\"}\n"), "{host}");
    }
}
