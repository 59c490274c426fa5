//! Structured data (RFC 5424, 6.3): `[id name="value" …][…]`. Checked once when a message is
//! parsed; walked, without looking for errors again, by whoever wants the fields.
//!
//! Two dialects besides the RFC's are met: values without quotes (VMware), and Check Point's
//! `[name:"value"; …]`, which has no id: its parameters stand under the APP-NAME.

use super::scan;
use super::time::Rigour;

/// The structured data of a message: nothing, or elements as sent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Data<'a> {
    /// As sent, brackets and escapes included; empty when there is none.
    pub raw: &'a [u8],
    /// Where the elements have no id of their own: the name they go by.
    nameless: Option<&'a [u8]>,
}

/// SD-NAME: 1 to 32 characters.
const NAME_BYTES_MAX: usize = 32;

impl<'a> Data<'a> {
    /// The structured data that begins at `from`, where a `[` stands, and where it ends.
    #[inline]
    pub(super) fn read(bytes: &'a [u8], from: usize, rigour: Rigour) -> Option<(Self, usize)> {
        let mut at = from;
        while bytes.get(at) == Some(&b'[') {
            at = element_end(bytes, at, rigour)?;
        }
        (at > from).then(|| (Self { raw: &bytes[from..at], nameless: None }, at))
    }

    /// `[name:"value"; name:"value"]`, to go by `name`.
    pub(super) fn read_nameless(
        bytes: &'a [u8],
        from: usize,
        name: &'a [u8],
    ) -> Option<(Self, usize)> {
        let mut at = from + 1;
        while bytes.get(at)? != &b']' {
            (_, _, at) = nameless_param(bytes, at)?;
        }
        (at > from + 1).then(|| (Self { raw: &bytes[from..=at], nameless: Some(name) }, at + 1))
    }

    /// What was checked when the message was parsed, `raw` of then; `nameless`: the name that its
    /// elements go by, if they have none of their own.
    pub fn checked(raw: &'a [u8], nameless: Option<&'a [u8]>) -> Self {
        Self { raw, nameless }
    }

    pub fn is_empty(&self) -> bool {
        self.raw.is_empty()
    }

    /// Whether its elements go by the APP-NAME.
    pub fn is_nameless(&self) -> bool {
        self.nameless.is_some()
    }

    /// The elements in the order sent; an id may come more than once.
    pub fn elements(&self) -> Elements<'a> {
        Elements { data: *self, at: 0 }
    }

    /// The first value of a parameter, as `%{sd:id:key}` wants it.
    pub fn value(&self, id: &[u8], name: &[u8]) -> Option<Value<'a>> {
        let mut params = self.elements().filter(|e| e.id == id).flat_map(|e| e.params());
        params.find(|(found, _)| *found == name).map(|(_, value)| value)
    }
}

/// Where the element that begins at `from` ends.
#[inline(always)]
fn element_end(bytes: &[u8], from: usize, rigour: Rigour) -> Option<usize> {
    let mut at = scan::name_end(bytes, from + 1);
    if !is_name(&bytes[from + 1..at], rigour) {
        return None;
    }
    loop {
        match *bytes.get(at)? {
            b']' => return Some(at + 1),
            b' ' => {
                at += 1;
                if rigour == Rigour::Loose {
                    at = scan::skip_blanks(bytes, at);
                    if bytes.get(at) == Some(&b']') {
                        continue;
                    }
                }
                let param = param(bytes, at, rigour)?;
                at = param.end;
            }
            _ => return None,
        }
    }
}

#[inline(always)]
fn is_name(name: &[u8], rigour: Rigour) -> bool {
    match rigour {
        Rigour::Loose => !name.is_empty(),
        Rigour::Exact => {
            (1..=NAME_BYTES_MAX).contains(&name.len()) && name.iter().all(u8::is_ascii_graphic)
        }
    }
}

struct Param<'a> {
    name: &'a [u8],
    value: Value<'a>,
    end: usize,
}

/// `name="value"` at `from`.
#[inline(always)]
fn param(bytes: &[u8], from: usize, rigour: Rigour) -> Option<Param<'_>> {
    let equals = scan::name_end(bytes, from);
    if bytes.get(equals) != Some(&b'=') || !is_name(&bytes[from..equals], rigour) {
        return None;
    }
    let name = &bytes[from..equals];
    // The drafts of RFC 5424 print `eventSource= "Application"`, and so do senders built on them.
    let open = if bytes.get(equals + 1) == Some(&b' ') {
        scan::skip_blanks(bytes, equals + 1)
    } else {
        equals + 1
    };
    if bytes.get(open) != Some(&b'"') {
        return (rigour == Rigour::Loose && open == equals + 1)
            .then(|| bare_param(bytes, name, open))?;
    }
    let close = value_close(bytes, open + 1)?;
    Some(Param { name, value: Value { raw: &bytes[open + 1..close] }, end: close + 1 })
}

/// The quote that closes the value which begins at `from`. An unescaped `]` is an error (6.3.3).
#[inline(always)]
fn value_close(bytes: &[u8], from: usize) -> Option<usize> {
    let mut at = from;
    loop {
        at = scan::value_end(bytes, at);
        match *bytes.get(at)? {
            b'"' => return Some(at),
            b'\\' => at += if is_escaped(bytes.get(at + 1)) { 2 } else { 1 },
            _ => return None,
        }
    }
}

#[inline(always)]
fn is_escaped(byte: Option<&u8>) -> bool {
    matches!(byte, Some(b'"' | b'\\' | b']'))
}

/// `name=value`: up to a blank or the bracket.
#[cold]
fn bare_param<'a>(bytes: &'a [u8], name: &'a [u8], from: usize) -> Option<Param<'a>> {
    let rest = &bytes[from..];
    let length = rest.iter().position(|byte| *byte <= b' ' || b"]\"".contains(byte))?;
    let end = from + length;
    (bytes[end] != b'"' && length > 0).then(|| Param {
        name,
        value: Value { raw: &bytes[from..end] },
        end,
    })
}

/// `name:"value"` at `from`, then `;` or nothing, then blanks.
#[cold]
fn nameless_param(bytes: &[u8], from: usize) -> Option<(&[u8], Value<'_>, usize)> {
    let is_part = |byte: &u8| byte.is_ascii_alphanumeric() || b"_-.".contains(byte);
    let name = bytes[from..].iter().position(|byte| !is_part(byte))?;
    let open = from + name + 1;
    if name == 0 || bytes[from + name] != b':' || bytes.get(open) != Some(&b'"') {
        return None;
    }
    let mut close = open + 1;
    loop {
        match *bytes.get(close)? {
            b'"' => break,
            b'\\' if is_escaped(bytes.get(close + 1)) => close += 2,
            _ => close += 1,
        }
    }
    let semicolon = usize::from(bytes.get(close + 1) == Some(&b';'));
    let end = scan::skip_blanks(bytes, close + 1 + semicolon);
    Some((&bytes[from..from + name], Value { raw: &bytes[open + 1..close] }, end))
}

/// Walks over elements that were checked when the message was parsed.
#[derive(Clone, Debug)]
pub struct Elements<'a> {
    data: Data<'a>,
    at: usize,
}

#[derive(Clone, Copy, Debug)]
pub struct Element<'a> {
    pub id: &'a [u8],
    bytes: &'a [u8],
    at: usize,
    nameless: bool,
}

impl<'a> Iterator for Elements<'a> {
    type Item = Element<'a>;

    fn next(&mut self) -> Option<Element<'a>> {
        let bytes = self.data.raw;
        let from = self.at;
        if let Some(id) = self.data.nameless {
            self.at = bytes.len();
            return (from == 0).then_some(Element { id, bytes, at: 1, nameless: true });
        }
        if from >= bytes.len() {
            return None;
        }
        self.at = element_end(bytes, from, Rigour::Loose)?;
        let id_end = scan::name_end(bytes, from + 1);
        Some(Element { id: &bytes[from + 1..id_end], bytes, at: id_end, nameless: false })
    }
}

impl<'a> Element<'a> {
    pub fn params(&self) -> Params<'a> {
        Params { bytes: self.bytes, at: self.at, nameless: self.nameless }
    }
}

#[derive(Clone, Debug)]
pub struct Params<'a> {
    bytes: &'a [u8],
    at: usize,
    nameless: bool,
}

impl<'a> Iterator for Params<'a> {
    type Item = (&'a [u8], Value<'a>);

    fn next(&mut self) -> Option<Self::Item> {
        if self.nameless {
            let (name, value, end) = nameless_param(self.bytes, self.at)?;
            self.at = end;
            return Some((name, value));
        }
        let at = scan::skip_blanks(self.bytes, self.at);
        let param = param(self.bytes, at, Rigour::Loose)?;
        self.at = param.end;
        Some((param.name, param.value))
    }
}

/// A parameter's value, escaped as sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Value<'a> {
    pub raw: &'a [u8],
}

impl<'a> Value<'a> {
    /// The value itself: `\"`, `\\` and `\]` stand for one character, any other `\` for itself.
    pub fn bytes(&self) -> impl Iterator<Item = u8> + 'a {
        let raw = self.raw;
        let mut at = 0;
        std::iter::from_fn(move || {
            let escape = raw.get(at) == Some(&b'\\') && is_escaped(raw.get(at + 1));
            at += usize::from(escape);
            let byte = raw.get(at).copied();
            at += 1;
            byte
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(data: Data<'_>) -> String {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let element = |element: Element<'_>| {
            let params = element.params().map(|(name, value)| {
                format!("{}={}", text(name), text(&value.bytes().collect::<Vec<_>>()))
            });
            format!("{}({})", text(element.id), params.collect::<Vec<_>>().join("|"))
        };
        data.elements().map(element).collect::<Vec<_>>().join(" ")
    }

    fn read(text: &str, rigour: Rigour) -> Option<String> {
        Data::read(text.as_bytes(), 0, rigour)
            .map(|(data, end)| format!("{} {}", shown(data), text.len() - end))
    }

    #[test]
    fn elements_and_escapes() {
        for rigour in [Rigour::Exact, Rigour::Loose] {
            let is = |text: &str, wanted: &str| {
                assert_eq!(read(text, rigour).as_deref(), Some(wanted), "{text}");
            };
            is("[a]", "a() 0");
            is("[a b=\"c\"][d e=\"\" f=\"g h\"] x", "a(b=c) d(e=|f=g h) 2");
            is(r#"[a b="\"\\\]" c="\n"]"#, r#"a(b="\]|c=\n) 0"#);
        }
    }

    #[test]
    fn broken_elements() {
        for rigour in [Rigour::Exact, Rigour::Loose] {
            for text in [
                "[",
                "[]",
                "[a",
                "[ a]",
                "[a b]",
                "[a b=]",
                "[a b=\"]",
                "[a b=\"]\"]",
                "[=]",
                "[a\"]",
                "[a b=\"c\"d=\"e\"]",
                "[a =\"c\"]",
                "[a][",
                "[a b\"=\"c\"]",
                "[a\tb=\"c\"]",
                "[a b=\"c\\\"]",
            ] {
                assert_eq!(read(text, rigour), None, "{text}");
            }
        }
    }

    #[test]
    fn only_loosely() {
        let long = format!("[{}]", "a".repeat(33));
        for (text, wanted) in [
            ("[a b=c d=\"e\"]", "a(b=c|d=e) 0"),
            ("[a  b=\"c\" ]", "a(b=c) 0"),
            (&long[..], &format!("{}() 0", "a".repeat(33))[..]),
            ("[ä b=\"c\"]", "ä(b=c) 0"),
        ] {
            assert_eq!(read(text, Rigour::Loose).as_deref(), Some(wanted), "{text}");
            assert_eq!(read(text, Rigour::Exact), None, "{text}");
        }
    }

    #[test]
    fn without_an_id() {
        let text = br#"[action:"Accept"; rule:"a[b]\"c";] x"#;
        let (data, end) = Data::read_nameless(text, 0, b"CheckPoint").unwrap();
        assert_eq!(shown(data), r#"CheckPoint(action=Accept|rule=a[b]"c)"#);
        assert_eq!(end, text.len() - 2);
        for broken in [&b"[]"[..], b"[a:\"b\"", b"[a:b]", b"[:\"b\"]", b"[a"] {
            assert_eq!(Data::read_nameless(broken, 0, b"x"), None, "{broken:?}");
        }
    }

    #[test]
    fn one_value() {
        let (data, _) = Data::read(b"[a b=\"1\"][c b=\"2\"][a d=\"3\"]", 0, Rigour::Exact).unwrap();
        assert_eq!(data.value(b"a", b"d").unwrap().raw, b"3");
        assert_eq!(data.value(b"c", b"b").unwrap().raw, b"2");
        assert_eq!(data.value(b"c", b"d"), None);
    }
}
