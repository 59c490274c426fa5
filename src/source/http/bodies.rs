//! Events of an HTTP request's body, staged until all of it is known to be good: a request is taken
//! whole or not at all.
//!
//! ```text
//! json    [{"headers":{"k":"v"},"body":"text"}, …]     Flume's JSONHandler
//! lines   text LF {"any":"json"} LF …                  each line an event, as it is
//! blob    …                                            one event, Flume's BLOBHandler
//! ```
//! Lines and a blob are staged as they came. Of JSON what it says is packed, each event as
//! `headers' bytes · body's bytes · headers · body`, so that many small events take no more room
//! than their JSON did. Bytes in, bytes out; no sockets.

use std::fmt;
use std::io::Write;

use memchr::memchr;
use serde::Deserializer;
use serde::de::{self, DeserializeSeed, IgnoredAny, MapAccess, SeqAccess, Visitor};

use crate::event::HeaderMap;

/// Of one event. Each is looked for among those before it.
const HEADERS_MAX: usize = 256;

/// What a body is taken for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    Json,
    Lines,
    Blob,
}

/// Events that wait for room in pages.
#[derive(Debug)]
pub struct Staged {
    shape: Shape,
    bytes: Vec<u8>,
    /// Where the next event begins.
    next: usize,
    open: Option<Open>,
    /// Of the event that is open.
    headers: HeaderMap,
}

/// An event of which something is still to be taken.
#[derive(Clone, Copy, Debug)]
struct Open {
    from: usize,
    /// Of the piece that was shown last.
    shown: usize,
    to: usize,
    /// A piece of it has been taken.
    begun: bool,
}

/// What goes into a page at once: an event, or a piece of a long one.
#[derive(Clone, Copy, Debug)]
pub struct Piece<'s> {
    pub text: &'s [u8],
    pub headers: &'s HeaderMap,
    pub split: bool,
}

impl Staged {
    /// What it takes to read a body of so many bytes as this, beside the body itself: the packed
    /// events, and texts that are unescaped.
    pub fn reading_bytes(shape: Shape, body: usize) -> usize {
        if shape == Shape::Json { 3 * body } else { 0 }
    }

    /// Takes a body apart; a blob has these headers. Else what is wrong with it, and where.
    pub fn read(body: Vec<u8>, shape: Shape, headers: HeaderMap) -> Result<Self, String> {
        let bytes = if shape == Shape::Json { pack(&body)? } else { body };
        Ok(Self { shape, bytes, next: 0, open: None, headers })
    }

    pub fn held_bytes(&self) -> usize {
        self.bytes.capacity()
    }

    /// About how much of a page its events take; nothing of it was taken yet.
    pub fn page_bytes(&self) -> usize {
        // With slots for events of 64 bytes on average.
        self.bytes.len() + self.bytes.len() / 4
    }

    /// The next piece, of so many bytes at most; `took` moves on when it has found room.
    pub fn show(&mut self, most: usize) -> Option<Piece<'_>> {
        if self.open.is_none() {
            self.open = self.find();
        }
        let open = self.open.as_mut()?;
        open.shown = open.to.min(open.from + most);
        let split = open.begun || open.shown < open.to;
        let text = &self.bytes[open.from..open.shown];
        Some(Piece { text, headers: &self.headers, split })
    }

    pub fn took(&mut self) {
        let Some(open) = &mut self.open else { return };
        (open.from, open.begun) = (open.shown, true);
        if open.from == open.to {
            self.open = None;
        }
    }

    fn find(&mut self) -> Option<Open> {
        let (from, to) = match self.shape {
            Shape::Lines => self.line()?,
            // One event, an empty one too: then nothing is left but to have been here.
            Shape::Blob if self.next > self.bytes.len() => return None,
            Shape::Blob => {
                self.next = self.bytes.len() + 1;
                (0, self.bytes.len())
            }
            Shape::Json => {
                let headers = self.number()?;
                let body = self.number()?;
                let from = self.next + headers;
                self.headers.load(&self.bytes[self.next..from]);
                self.next = from + body;
                (from, self.next)
            }
        };
        Some(Open { from, shown: from, to, begun: false })
    }

    /// The next line that is not empty.
    fn line(&mut self) -> Option<(usize, usize)> {
        while self.next < self.bytes.len() {
            let (from, rest) = (self.next, &self.bytes[self.next..]);
            let end = memchr(b'\n', rest).unwrap_or(rest.len());
            self.next = from + end + 1;
            let line = rest[..end].strip_suffix(b"\r").unwrap_or(&rest[..end]);
            if !line.is_empty() {
                return Some((from, from + line.len()));
            }
        }
        None
    }

    fn number(&mut self) -> Option<usize> {
        let (mut number, mut shift) = (0, 0);
        loop {
            let byte = *self.bytes.get(self.next)?;
            self.next += 1;
            number |= usize::from(byte & 0x7F) << shift;
            shift += 7;
            if byte < 0x80 {
                return Some(number);
            }
        }
    }
}

fn push_number(mut number: usize, out: &mut Vec<u8>) {
    while number >= 0x80 {
        out.push(number as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}

// ── JSON ──

fn pack(body: &[u8]) -> Result<Vec<u8>, String> {
    if let Some(other) = body.trim_ascii_start().first().filter(|first| **first != b'[') {
        return Err(format!(
            "the body begins with `{}` and is no list of events, \
             [{{\"headers\":{{}},\"body\":\"text\"}}]; the source takes a line an event with \
             `handler = \"lines\"`",
            other.escape_ascii()
        ));
    }
    // Packed, events take no more room than their JSON does.
    let mut packer = Packer { out: Vec::with_capacity(body.len()), ..Packer::default() };
    let mut reader = serde_json::Deserializer::from_slice(body);
    let read = reader.deserialize_seq(&mut packer).and_then(|()| reader.end());
    read.map(|()| packer.out).map_err(|error| error.to_string())
}

/// The list of events. What is read of one is kept here until it is whole.
#[derive(Default)]
struct Packer {
    out: Vec<u8>,
    headers: HeaderMap,
    count: usize,
    body: Vec<u8>,
    name: Vec<u8>,
    value: Vec<u8>,
}

impl<'de> Visitor<'de> for &mut Packer {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of events, [{\"headers\":{},\"body\":\"text\"}]")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut events: A) -> Result<(), A::Error> {
        while events.next_element_seed(One(self))?.is_some() {
            let entries = self.headers.entries();
            push_number(entries.len(), &mut self.out);
            push_number(self.body.len(), &mut self.out);
            self.out.extend_from_slice(entries);
            self.out.extend_from_slice(&self.body);
        }
        Ok(())
    }
}

struct One<'p>(&'p mut Packer);

impl<'de> DeserializeSeed<'de> for One<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, reader: D) -> Result<(), D::Error> {
        reader.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for One<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an event, {\"headers\":{},\"body\":\"text\"}")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut fields: A) -> Result<(), A::Error> {
        let packer = self.0;
        packer.headers.clear();
        packer.body.clear();
        while fields.next_key_seed(Text(&mut packer.name))?.is_some() {
            match packer.name.as_slice() {
                b"headers" => fields.next_value_seed(Headers(packer))?,
                b"body" => drop(fields.next_value_seed(Text(&mut packer.body))?),
                // Gson passes over what it does not know.
                _ => drop(fields.next_value::<IgnoredAny>()?),
            }
        }
        Ok(())
    }
}

struct Headers<'p>(&'p mut Packer);

impl<'de> DeserializeSeed<'de> for Headers<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, reader: D) -> Result<(), D::Error> {
        reader.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Headers<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("headers, {\"name\":\"value\"}")
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        self.0.headers.clear();
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut pairs: A) -> Result<(), A::Error> {
        let Packer { headers, count, name, value, .. } = self.0;
        headers.clear();
        *count = 0;
        while pairs.next_key_seed(Text(name))?.is_some() {
            if !pairs.next_value_seed(Text(value))? {
                let told = format!("the header `{}` is no text", name.escape_ascii());
                return Err(de::Error::custom(told));
            }
            *count += 1;
            if *count > HEADERS_MAX || headers.set(name, value).is_err() {
                let told = format!(
                    "an event has {HEADERS_MAX} headers at most, each with a name, and of 16 KiB \
                     together"
                );
                return Err(de::Error::custom(told));
            }
        }
        Ok(())
    }
}

/// A text, or what Gson reads as one. Result: there is something, and no `null`.
struct Text<'b>(&'b mut Vec<u8>);

impl Text<'_> {
    fn is(self, text: fmt::Arguments<'_>) -> bool {
        self.0.clear();
        self.0.write_fmt(text).expect("a Vec takes everything");
        true
    }
}

impl<'de> DeserializeSeed<'de> for Text<'_> {
    type Value = bool;

    fn deserialize<D: Deserializer<'de>>(self, reader: D) -> Result<bool, D::Error> {
        reader.deserialize_any(self)
    }
}

impl Visitor<'_> for Text<'_> {
    type Value = bool;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a text")
    }

    fn visit_str<E>(self, text: &str) -> Result<bool, E> {
        self.0.clear();
        self.0.extend_from_slice(text.as_bytes());
        Ok(true)
    }

    fn visit_bool<E>(self, flag: bool) -> Result<bool, E> {
        Ok(self.is(format_args!("{flag}")))
    }

    fn visit_u64<E>(self, number: u64) -> Result<bool, E> {
        Ok(self.is(format_args!("{number}")))
    }

    fn visit_i64<E>(self, number: i64) -> Result<bool, E> {
        Ok(self.is(format_args!("{number}")))
    }

    fn visit_f64<E>(self, number: f64) -> Result<bool, E> {
        Ok(self.is(format_args!("{number:?}")))
    }

    fn visit_unit<E>(self) -> Result<bool, E> {
        self.0.clear();
        Ok(false)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(body: &str, shape: Shape, most: usize) -> Result<Vec<String>, String> {
        let mut headers = HeaderMap::default();
        if shape == Shape::Blob {
            headers.set(b"q", b"1").unwrap();
        }
        let mut staged = Staged::read(body.into(), shape, headers)?;
        let mut all = Vec::new();
        while let Some(Piece { text, headers, split }) = staged.show(most) {
            let lossy = String::from_utf8_lossy;
            let pair = |(name, value)| format!("{}={} ", lossy(name), lossy(value));
            let headers: String = headers.iter().map(pair).collect();
            let mark = if split { "…" } else { "" };
            all.push(format!("{headers}{}{mark}", lossy(text)));
            // Shown again until it is taken.
            assert_eq!(staged.show(most).map(|piece| piece.split), Some(split));
            staged.took();
        }
        Ok(all)
    }

    #[test]
    fn flumes_json_is_a_list_of_events() {
        let ok = |body| read(body, Shape::Json, 100).unwrap();
        let three = r#"[{"headers":{"a":"1","b":2},"body":"é"},{"body":null},{}]"#;
        assert_eq!(ok(three), ["a=1 b=2 é", "", ""]);
        assert_eq!(ok(r#" [ ] "#), [""; 0]);
        assert_eq!(ok(r#"[{"body":"x\n\u00e9","other":[1,{}],"headers":null}]"#), ["x\né"]);
        assert_eq!(ok(r#"[{"body":-1.5,"headers":{"t":true,"t":false}}]"#), ["t=false -1.5"]);
        assert_eq!(ok(r#"[{"headers":{"a":"1"}},{"body":"after"}]"#), ["a=1 ", "after"]);
    }

    #[test]
    fn what_is_no_list_of_events_is_told_with_its_place() {
        for (wrong, place) in [
            ("", "line 1 column 0"),
            ("{}", "begins with `{` and is no list of events"),
            ("{\"a\":1}\n{\"a\":2}\n", "`handler = \"lines\"`"),
            ("\u{FEFF}[]", "begins with `\\xef`"),
            ("[1]", "line 1 column 2"),
            ("[{},\n x]", "line 2 column 2"),
            ("[{}", "line 1 column 3"),
            ("[{}] x", "line 1 column 6"),
            (r#"[{"body":[]}]"#, "expected a text"),
            (r#"[{"headers":{"a":null}}]"#, "the header `a` is no text at line 1"),
            (r#"[{"headers":{"":"x"}}]"#, "each with a name"),
            ("[{\"body\":\"\u{1}\"}]", "control character"),
        ] {
            let told = read(wrong, Shape::Json, 100).unwrap_err();
            assert!(told.contains(place), "{wrong}: {told}");
        }
        let many: Vec<String> = (0..=HEADERS_MAX).map(|n| format!("\"{n}\":1")).collect();
        let many = format!("[{{\"headers\":{{{}}}}}]", many.join(","));
        assert!(read(&many, Shape::Json, 100).unwrap_err().contains("256 headers"));
        assert!(pack(b"[{\"body\":\"\xFF\"}]").is_err(), "no UTF-8");
        assert!(read(&"[".repeat(100_000), Shape::Json, 100).is_err());
    }

    #[test]
    fn lines_and_blobs() {
        let lines = read("one\r\n\ntwo\n{\"a\":1}", Shape::Lines, 100).unwrap();
        assert_eq!(lines, ["one", "two", "{\"a\":1}"]);
        assert_eq!(read("\n\r\n", Shape::Lines, 100).unwrap(), [""; 0]);
        assert_eq!(read("one\ntwo\n", Shape::Blob, 100).unwrap(), ["q=1 one\ntwo\n"]);
        assert_eq!(read("", Shape::Blob, 100).unwrap(), ["q=1 "]);
    }

    #[test]
    fn a_long_event_comes_in_pieces() {
        assert_eq!(read("abcde\nxy", Shape::Lines, 2).unwrap(), ["ab…", "cd…", "e…", "xy"]);
        let json = r#"[{"headers":{"a":"1"},"body":"abc"},{"body":"d"}]"#;
        assert_eq!(read(json, Shape::Json, 2).unwrap(), ["a=1 ab…", "a=1 c…", "d"]);
        assert_eq!(read("abcd", Shape::Blob, 2).unwrap(), ["q=1 ab…", "q=1 cd…"]);
    }

    #[test]
    fn small_events_take_no_more_than_their_json() {
        for json in [format!("[{}{{}}]", "{},".repeat(10_000)), {
            let event = format!("{{\"body\":\"{}\"}}", "x".repeat(300));
            format!("[{event},{event}]")
        }] {
            assert!(pack(json.as_bytes()).unwrap().len() <= json.len());
        }
    }
}
