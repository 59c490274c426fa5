//! Where a datum ends: it is passed over along its schema, and nothing is decoded. What is wrong in
//! it is found, however it was made: every number is checked before anything is done by it.

use super::schema::{Node, Schema};

/// Of data in data: a list of so many links is nobody's event.
const DEPTH_MAX: u32 = 500;
/// Data of nothing take no place in a block: more than so many in one are a mistake.
const NOTHINGS_MAX: u64 = 1 << 20;
/// Of any long.
const LONG_BYTES_MAX: usize = 10;

/// Why bytes are no datum of a schema.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    #[error("it ends in the middle of a datum")]
    Cut,
    #[error("a length in it is negative or too large")]
    Length,
    #[error("a choice in it is none that the schema has")]
    Choice,
    #[error("it is more than {DEPTH_MAX} data deep")]
    Deep,
}

impl Schema {
    /// Where the datum ends that begins at `at`.
    pub fn end_of(&self, bytes: &[u8], at: usize) -> Result<usize, Fault> {
        let mut rest = &bytes[at..];
        self.pass(self.root, &mut rest, 0)?;
        Ok(bytes.len() - rest.len())
    }

    /// Checks all data of a block, and finds where the one of this number begins, or the end.
    pub fn check(&self, data: &[u8], count: u64, wanted: u64) -> Result<usize, String> {
        if self.is_empty(self.root) && count > NOTHINGS_MAX {
            return Err(format!("it has {count} data of no bytes"));
        }
        if wanted > count {
            return Err(format!("{wanted} of its data were read, and it has {count}"));
        }
        let (mut at, mut found) = (0, 0);
        for number in 0..count {
            if number == wanted {
                found = at;
            }
            let end = self.end_of(data, at);
            at = end.map_err(|why| format!("datum {} of {count}: {why}", number + 1))?;
        }
        if at < data.len() {
            let more = data.len() - at;
            return Err(format!("behind its {count} data are {more} bytes more"));
        }
        Ok(if wanted == count { at } else { found })
    }

    /// Data of one are data of the other, whatever they are called.
    pub fn is_like(&self, other: &Self) -> bool {
        (&self.nodes, self.root) == (&other.nodes, other.root)
    }

    fn pass(&self, node: usize, rest: &mut &[u8], depth: u32) -> Result<(), Fault> {
        if depth > DEPTH_MAX {
            return Err(Fault::Deep);
        }
        match &self.nodes[node] {
            Node::Fixed(bytes) => skip(rest, *bytes),
            Node::Number => take_long(rest).map(drop),
            Node::Bytes => take_bytes(rest).map(drop),
            Node::Enum(symbols) => match u64::try_from(take_long(rest)?) {
                Ok(symbol) if symbol < *symbols => Ok(()),
                _ => Err(Fault::Choice),
            },
            Node::Union(branches) => {
                let branch = usize::try_from(take_long(rest)?).map_err(|_| Fault::Choice)?;
                self.pass(*branches.get(branch).ok_or(Fault::Choice)?, rest, depth + 1)
            }
            Node::Record(fields) => {
                fields.iter().try_for_each(|field| self.pass(*field, rest, depth + 1))
            }
            Node::Array(items) if self.is_empty(*items) => each_part(rest, |_, _| Ok(())),
            Node::Array(items) => each_part(rest, |rest, count| {
                (0..count).try_for_each(|_| self.pass(*items, rest, depth + 1))
            }),
            Node::Map(values) => each_part(rest, |rest, count| {
                (0..count).try_for_each(|_| {
                    take_bytes(rest)?;
                    self.pass(*values, rest, depth + 1)
                })
            }),
        }
    }
}

/// The parts of an array or a map, each with its count.
fn each_part(
    rest: &mut &[u8],
    mut pass: impl FnMut(&mut &[u8], u64) -> Result<(), Fault>,
) -> Result<(), Fault> {
    loop {
        match take_long(rest)? {
            0 => return Ok(()),
            count => {
                if count < 0 {
                    // With its size behind the count, which nobody needs.
                    take_long(rest)?;
                }
                pass(rest, count.unsigned_abs())?;
            }
        }
    }
}

/// A record of Flume's: headers and body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EventRecord<'a> {
    pub headers: EventHeaders<'a>,
    pub body: &'a [u8],
}

/// Names and values, as they stand in the record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EventHeaders<'a> {
    map: &'a [u8],
}

impl<'a> EventRecord<'a> {
    /// The record in front of these bytes, and its length. None: it is cut, or none.
    pub fn read(bytes: &'a [u8]) -> Option<(Self, usize)> {
        let mut rest = bytes;
        each_part(&mut rest, |rest, count| {
            (0..2 * u128::from(count)).try_for_each(|_| take_bytes(rest).map(drop))
        })
        .ok()?;
        let map = &bytes[..bytes.len() - rest.len()];
        let body = take_bytes(&mut rest).ok()?;
        Some((Self { headers: EventHeaders { map }, body }, bytes.len() - rest.len()))
    }
}

impl<'a> EventHeaders<'a> {
    pub fn get(&self, name: &str) -> Option<&'a [u8]> {
        self.iter().find(|(own, _)| *own == name.as_bytes()).map(|(_, value)| value)
    }

    pub fn iter(&self) -> impl Iterator<Item = (&'a [u8], &'a [u8])> + use<'a> {
        let (mut rest, mut left) = (self.map, 0);
        std::iter::from_fn(move || {
            while left == 0 {
                let count = take_long(&mut rest).ok().filter(|count| *count != 0)?;
                if count < 0 {
                    take_long(&mut rest).ok()?;
                }
                left = count.unsigned_abs();
            }
            left -= 1;
            Some((take_bytes(&mut rest).ok()?, take_bytes(&mut rest).ok()?))
        })
    }
}

fn skip(rest: &mut &[u8], bytes: usize) -> Result<(), Fault> {
    *rest = rest.get(bytes..).ok_or(Fault::Cut)?;
    Ok(())
}

fn take_bytes<'b>(rest: &mut &'b [u8]) -> Result<&'b [u8], Fault> {
    let length = usize::try_from(take_long(rest)?).map_err(|_| Fault::Length)?;
    let (bytes, behind) = rest.split_at_checked(length).ok_or(Fault::Cut)?;
    *rest = behind;
    Ok(bytes)
}

/// Zigzag, seven bits a byte, the lowest first.
fn take_long(rest: &mut &[u8]) -> Result<i64, Fault> {
    let mut value = 0_u64;
    for (index, byte) in rest.iter().take(LONG_BYTES_MAX).enumerate() {
        value |= u64::from(byte & 0x7F) << (7 * index);
        if byte & 0x80 == 0 {
            *rest = &rest[index + 1..];
            return Ok((value >> 1) as i64 ^ -((value & 1) as i64));
        }
    }
    Err(if rest.len() < LONG_BYTES_MAX { Fault::Cut } else { Fault::Length })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const TREE: &str = r#"{"type":"record","name":"T","fields":[
        {"name":"n","type":"int"},{"name":"next","type":["null","T"]}]}"#;

    fn end(schema: &str, bytes: &[u8]) -> Result<usize, Fault> {
        Schema::parse(schema).unwrap().end_of(bytes, 0)
    }

    #[test]
    fn each_type_ends_where_it_does() {
        let fixed = r#"{"type":"fixed","name":"F","size":3}"#;
        let letters = r#"{"type":"enum","name":"E","symbols":["A","B"]}"#;
        for (schema, bytes, expected) in [
            (r#""null""#, &b"x"[..], Ok(0)),
            (r#""boolean""#, b"\x01x", Ok(1)),
            (r#""long""#, b"\x80\x80\x01x", Ok(3)),
            (r#""long""#, &[0xff; 12], Err(Fault::Length)),
            (r#""int""#, b"\x80", Err(Fault::Cut)),
            (r#""float""#, b"1234x", Ok(4)),
            (r#""double""#, b"1234567", Err(Fault::Cut)),
            (r#""string""#, b"\x04hix", Ok(3)),
            (r#""bytes""#, b"\x04h", Err(Fault::Cut)),
            (r#""bytes""#, b"\x03h", Err(Fault::Length)),
            (fixed, b"1234", Ok(3)),
            (letters, b"\x02x", Ok(1)),
            (letters, b"\x04", Err(Fault::Choice)),
            (letters, b"\x01", Err(Fault::Choice)),
            (r#"["null","string"]"#, b"\x02\x02ax", Ok(3)),
            (r#"["null","string"]"#, b"\x04", Err(Fault::Choice)),
            // A part of two, one of one with its size, and the end.
            (r#"{"type":"array","items":"string"}"#, b"\x04\x02a\x02b\x01\x04\x02c\x00x", Ok(10)),
            (r#"{"type":"map","values":"int"}"#, b"\x02\x02k\x08\x00x", Ok(5)),
            (TREE, b"\x02\x02\x04\x00x", Ok(4)),
        ] {
            assert_eq!(end(schema, bytes), expected, "{schema}");
        }
    }

    #[test]
    fn nothing_makes_it_walk_or_climb_for_ever() {
        let nulls = r#"{"type":"array","items":"null"}"#;
        let most = [&[0xfe; 1][..], &[0xff; 8], b"\x01", b"\x00"].concat();
        assert_eq!(end(nulls, &most), Ok(most.len()));
        let strings = r#"{"type":"array","items":"string"}"#;
        assert_eq!(end(strings, &most), Err(Fault::Cut));
        assert_eq!(end(TREE, &b"\x02\x02".repeat(100_000)), Err(Fault::Deep));
        let selfish = r#"{"type":"record","name":"R","fields":[{"name":"r","type":"R"}]}"#;
        assert_eq!(end(selfish, b""), Err(Fault::Deep));
        // Each level twice the one below, and nothing in them.
        let mut levels = r#"{"type":"record","name":"L0","fields":[]}"#.to_owned();
        for level in 1..60 {
            levels = format!(
                r#"{{"type":"record","name":"L{level}","fields":[{{"name":"a","type":{levels}}},
                {{"name":"b","type":"L{}"}}]}}"#,
                level - 1
            );
        }
        // JSON is refused that deep; so it is built in a list.
        assert!(Schema::parse(&levels).is_err());
        let mut list = vec![r#"{"type":"record","name":"L0","fields":[]}"#.to_owned()];
        list.extend((1..60).map(|level| {
            let below = level - 1;
            format!(
                r#"{{"type":"record","name":"L{level}","fields":[{{"name":"a","type":"L{below}"}},
                {{"name":"b","type":"L{below}"}}]}}"#
            )
        }));
        let schema = format!("[{}]", list.join(","));
        assert_eq!(end(&schema, b"\x76"), Ok(1));
    }

    #[test]
    fn an_event_is_its_headers_and_its_body() {
        // The second part of the map with its size.
        let bytes = b"\x02\x02k\x02v\x01\x0e\x06two\x04vv\x00\x08bodyrest";
        let (record, length) = EventRecord::read(bytes).unwrap();
        assert_eq!((record.body, &bytes[length..]), (&b"body"[..], &b"rest"[..]));
        let headers: Vec<_> = record.headers.iter().collect();
        assert_eq!(headers, [(&b"k"[..], &b"v"[..]), (b"two", b"vv")]);
        assert_eq!(record.headers.get("two"), Some(&b"vv"[..]));
        assert_eq!(record.headers.get("tw"), None);
        let (empty, length) = EventRecord::read(b"\x00\x00").unwrap();
        assert_eq!((empty.body, length, empty.headers.iter().count()), (&b""[..], 2, 0));
        for cut in 0..bytes.len() - 4 {
            assert_eq!(EventRecord::read(&bytes[..cut]), None, "{cut}");
        }
        let most = [&[0xfe; 1][..], &[0xff; 8], b"\x01"].concat();
        assert_eq!(EventRecord::read(&most), None);
    }

    proptest! {
        #[test]
        fn any_bytes_end_or_are_told(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let text = format!(r#"{{"type":"record","name":"R","fields":[
                {{"name":"a","type":{{"type":"map","values":["null","long","R"]}}}},
                {{"name":"b","type":{{"type":"array","items":{TREE}}}}}]}}"#);
            if let Ok(end) = end(&text, &bytes) {
                prop_assert!(end <= bytes.len());
            }
        }
    }
}
