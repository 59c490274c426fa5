//! What the text of a message holds by conventions of its own: CEF and LEEF headers, Cisco's
//! mnemonic, JSON behind its cookie, how often the last message came, Solaris's message id.
//!
//! `flumen parse` shows texts as they are; this is for whoever wants the parts.

use super::Message;

/// What a text is, by how it begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Body<'a> {
    Text,
    Cef(Cef<'a>),
    Leef(Leef<'a>),
    /// `{…}`, with `@cee:` before it or not.
    Json(&'a [u8]),
    /// `last message repeated 3 times`.
    Repeated(u32),
    /// `[ID 800047 auth.info] …`
    Solaris {
        id: u32,
        level: &'a [u8],
        text: &'a [u8],
    },
}

/// `CEF:version|vendor|product|device version|class|name|severity|extension`. Fields are as sent:
/// `\|` and `\\` stand for one character.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cef<'a> {
    pub version: &'a [u8],
    pub vendor: &'a [u8],
    pub product: &'a [u8],
    pub device_version: &'a [u8],
    pub class: &'a [u8],
    pub name: &'a [u8],
    pub severity: &'a [u8],
    /// `key=value` pairs.
    pub extension: &'a [u8],
}

/// `LEEF:1.0|vendor|product|version|event|attributes`; 2.0 names the delimiter before them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Leef<'a> {
    pub version: &'a [u8],
    pub vendor: &'a [u8],
    pub product: &'a [u8],
    pub product_version: &'a [u8],
    pub event: &'a [u8],
    /// What stands between attributes: a tab where nothing else is said.
    pub delimiter: u8,
    pub attributes: &'a [u8],
}

/// `%FACILITY-SEVERITY-MNEMONIC`, which a parsed message has for its application's name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mnemonic<'a> {
    /// With its subfacility: `SYSMGR-STANDBY`.
    pub facility: &'a [u8],
    pub severity: u8,
    pub name: &'a [u8],
}

impl<'a> Message<'a> {
    pub fn body(&self) -> Body<'a> {
        self.message.map_or(Body::Text, read)
    }

    pub fn mnemonic(&self) -> Option<Mnemonic<'a>> {
        self.app_name.and_then(mnemonic)
    }
}

/// What `text` is.
pub fn read(text: &[u8]) -> Body<'_> {
    let found = match text {
        [b'C', b'E', b'F', b':', rest @ ..] => cef(rest).map(Body::Cef),
        [b'L', b'E', b'E', b'F', b':', rest @ ..] => leef(rest).map(Body::Leef),
        [b'{', ..] => Some(Body::Json(text)),
        [b'@', b'c', b'e', b'e', b':', rest @ ..] => {
            let json = rest.trim_ascii_start();
            json.starts_with(b"{").then_some(Body::Json(json))
        }
        [b'[', b'I', b'D', b' ', rest @ ..] => solaris(rest),
        [b'l', b'a', b's', b't', b' ', ..] => repeated(text),
        _ => None,
    };
    found.unwrap_or(Body::Text)
}

/// The fields between unescaped bars, and what is behind the last bar.
fn bars<const COUNT: usize>(text: &[u8]) -> Option<([&[u8]; COUNT], &[u8])> {
    let mut fields = [&text[..0]; COUNT];
    let mut rest = text;
    for field in &mut fields {
        let mut at = 0;
        loop {
            match rest.get(at)? {
                b'|' => break,
                b'\\' => at += 2,
                _ => at += 1,
            }
        }
        (*field, rest) = (&rest[..at], &rest[at + 1..]);
    }
    Some((fields, rest))
}

fn cef(text: &[u8]) -> Option<Cef<'_>> {
    let (fields, extension) = bars::<7>(text)?;
    let [version, vendor, product, device_version, class, name, severity] = fields;
    Some(Cef { version, vendor, product, device_version, class, name, severity, extension })
}

fn leef(text: &[u8]) -> Option<Leef<'_>> {
    let (fields, rest) = bars::<5>(text)?;
    let [version, vendor, product, product_version, event] = fields;
    let (delimiter, attributes) = match version.starts_with(b"2") {
        true => {
            let ([delimiter], attributes) = bars::<1>(rest)?;
            (named_delimiter(delimiter)?, attributes)
        }
        false => (b'\t', rest),
    };
    Some(Leef { version, vendor, product, product_version, event, delimiter, attributes })
}

/// A character, its number as `x5E` or `0x5E`, or nothing: a tab.
fn named_delimiter(name: &[u8]) -> Option<u8> {
    match name {
        [] => Some(b'\t'),
        [one] => Some(*one),
        [b'x', digits @ ..] | [b'0', b'x', digits @ ..] => {
            u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()
        }
        _ => None,
    }
}

fn solaris(text: &[u8]) -> Option<Body<'_>> {
    let (id, rest) = number(text)?;
    let rest = rest.strip_prefix(b" ")?;
    let close = rest.iter().position(|byte| *byte == b']' || *byte == b' ')?;
    let text = rest[close..].strip_prefix(b"]")?;
    let text = text.strip_prefix(b" ").unwrap_or(text);
    let level = &rest[..close];
    level.contains(&b'.').then_some(Body::Solaris { id, level, text })
}

fn repeated(text: &[u8]) -> Option<Body<'_>> {
    let (times, rest) = number(text.strip_prefix(b"last message repeated ")?)?;
    matches!(rest, b" times" | b" time").then_some(Body::Repeated(times))
}

fn number(text: &[u8]) -> Option<(u32, &[u8])> {
    let digits = text.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let number = std::str::from_utf8(&text[..digits]).ok()?.parse().ok()?;
    Some((number, &text[digits..]))
}

/// Takes `%SYS-5-CONFIG_I` apart.
pub fn mnemonic(word: &[u8]) -> Option<Mnemonic<'_>> {
    let word = word.strip_prefix(b"%")?;
    let at = word
        .windows(3)
        .position(|w| w[0] == b'-' && w[2] == b'-' && (b'0'..b'8').contains(&w[1]))?;
    let (facility, name) = (&word[..at], &word[at + 3..]);
    let severity = word[at + 1] - b'0';
    (!facility.is_empty() && !name.is_empty()).then_some(Mnemonic { facility, severity, name })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::syslog::parse::{Expect, Fields, parse};

    fn parsed(text: &str) -> Message<'_> {
        parse(text.as_bytes(), Expect::Auto, Fields::ALL)
    }

    #[test]
    fn cef_headers() {
        let text = r"<134>Oct 11 22:14:15 h CEF:0|Ven\|dor|Product|1.0|100|a name|10|src=192.0.2.1";
        let Body::Cef(cef) = parsed(text).body() else { panic!("no CEF") };
        assert_eq!((cef.version, cef.vendor), (&b"0"[..], &br"Ven\|dor"[..]));
        assert_eq!((cef.class, cef.name, cef.severity), (&b"100"[..], &b"a name"[..], &b"10"[..]));
        assert_eq!(cef.extension, b"src=192.0.2.1");
        assert_eq!(read(b"CEF:0|a|b"), Body::Text);
        assert_eq!(read(b"CEF:0|a|b|c|d|e|f\\|"), Body::Text);
    }

    #[test]
    fn leef_headers() {
        let Body::Leef(one) = read(b"LEEF:1.0|V|P|1|logon|a=1\tb=2") else { panic!("no LEEF") };
        assert_eq!(
            (one.event, one.delimiter, one.attributes),
            (&b"logon"[..], b'\t', &b"a=1\tb=2"[..])
        );
        for (name, delimiter) in [("^", b'^'), ("x5E", b'^'), ("0x7c", b'|'), ("", b'\t')] {
            let text = format!("LEEF:2.0|V|P|1|logon|{name}|a=1");
            let Body::Leef(two) = read(text.as_bytes()) else { panic!("no LEEF: {name}") };
            assert_eq!((two.delimiter, two.attributes), (delimiter, &b"a=1"[..]), "{name}");
        }
        assert_eq!(read(b"LEEF:2.0|V|P|1|logon|abc|a=1"), Body::Text);
    }

    #[test]
    fn other_bodies() {
        assert_eq!(read(b"@cee: {\"a\":1}"), Body::Json(b"{\"a\":1}"));
        assert_eq!(parsed("<14>{}").body(), Body::Json(b"{}"));
        assert_eq!(read(b"@cee: no"), Body::Text);
        assert_eq!(read(b"last message repeated 12 times"), Body::Repeated(12));
        assert_eq!(read(b"last message repeated 99999999999 times"), Body::Text);
        assert_eq!(read(b"last message repeated 5 times -- more"), Body::Text);
        let (id, level) = (800_047, &b"auth.info"[..]);
        assert_eq!(read(b"[ID 800047 auth.info] x"), Body::Solaris { id, level, text: b"x" });
        assert_eq!(read(b"[ID x auth.info] x"), Body::Text);
        assert_eq!(read(b""), Body::Text);
    }

    #[test]
    fn mnemonics() {
        let of = |text: &'static str| parsed(text).mnemonic().unwrap();
        let sys = of("<189>29: *Apr 29 13:58:40.411: %SYS-5-CONFIG_I: x");
        assert_eq!((sys.facility, sys.severity, sys.name), (&b"SYS"[..], 5, &b"CONFIG_I"[..]));
        let standby = of("<189>%SYSMGR-STANDBY-3-SHUTDOWN_START: x");
        assert_eq!((standby.facility, standby.severity), (&b"SYSMGR-STANDBY"[..], 3));
        assert_eq!(mnemonic(b"%ASA-9-1"), None);
        assert_eq!(mnemonic(b"su"), None);
    }
}
