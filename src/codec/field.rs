//! What can be said of an event by name: `%{host}` in paths and in templates.
//!
//! | name | what |
//! |---|---|
//! | `host` | the message's, else what DNS calls the sender (`reverse_dns`), else its address |
//! | `app` `proc_id` `msg_id` | the message's |
//! | `facility` `severity` `pri` | words, and the number |
//! | `sd:id:key` | the first value of a parameter of structured data |
//! | `peer` | the sender's address |
//! | `tls_name` | whom the sender's certificate names, as it was checked |
//! | `uid` `gid` `pid` | the sending process, in the kernel's word: of Unix sockets |
//! | `message` `raw` | the text behind the header, else all of it; the whole event |
//! | `structured_data` | as sent |
//! | `time` `received` | the message's, else when it was received; when it was received |
//! | any other | the header of that name: see [`crate::event::headers`] |
//!
//! A header called `host`, `app`, `proc_id`, `msg_id`, `facility` or `severity` goes before what
//! the message says, and `timestamp` before its time.

use std::io::Write;
use std::net::IpAddr;

use crate::event::headers::TIMESTAMP;
use crate::event::{Event, Form, HeaderNames};
use crate::syslog::names;
use crate::syslog::parse::{Data, Fields};

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Field {
    Host,
    App,
    ProcId,
    MsgId,
    Facility,
    Severity,
    Pri,
    /// `sd:id:key`.
    Param {
        id: String,
        key: String,
    },
    Peer,
    TlsName,
    Uid,
    Gid,
    Pid,
    Message,
    Raw,
    StructuredData,
    Time,
    Received,
    /// An event's header, or what a message says under Flume's name for it.
    Header(String),
}

/// Those without a text of their own behind the name.
const NAMES: [(&str, Field); 17] = [
    ("app", Field::App),
    ("facility", Field::Facility),
    ("gid", Field::Gid),
    ("host", Field::Host),
    ("message", Field::Message),
    ("msg_id", Field::MsgId),
    ("peer", Field::Peer),
    ("pid", Field::Pid),
    ("pri", Field::Pri),
    ("proc_id", Field::ProcId),
    ("raw", Field::Raw),
    ("received", Field::Received),
    ("severity", Field::Severity),
    ("structured_data", Field::StructuredData),
    ("time", Field::Time),
    ("tls_name", Field::TlsName),
    ("uid", Field::Uid),
];

impl Field {
    /// Reads `host`, `sd:id:key`. The id may hold colons, the key holds none.
    pub fn named(name: &str) -> Option<Self> {
        if let Some(path) = name.strip_prefix("sd:") {
            let (id, key) = path.rsplit_once(':')?;
            let whole = !id.is_empty() && !key.is_empty();
            return whole.then(|| Self::Param { id: id.to_owned(), key: key.to_owned() });
        }
        NAMES.iter().find(|(known, _)| *known == name).map(|(_, field)| field.clone())
    }

    /// The same, and for any other name the header that is called so. None: nothing is.
    pub fn read(name: &str) -> Option<Self> {
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte);
        let header = || !name.is_empty() && name.bytes().all(plain);
        Self::named(name).or_else(|| header().then(|| Self::Header(name.to_owned())))
    }

    /// The header that goes before what the message says.
    #[inline]
    fn header(&self) -> Option<&str> {
        match self {
            Self::Host => Some("host"),
            Self::App => Some("app"),
            Self::ProcId => Some("proc_id"),
            Self::MsgId => Some("msg_id"),
            Self::Facility => Some("facility"),
            Self::Severity => Some("severity"),
            Self::Header(name) => Some(name),
            _ => None,
        }
    }

    /// The headers that it looks for.
    pub fn headers(&self) -> HeaderNames {
        let time = (*self == Self::Time).then_some(TIMESTAMP);
        HeaderNames::of(self.header().or(time))
    }

    /// Every name, for remedies.
    pub fn names() -> impl Iterator<Item = &'static str> {
        NAMES.iter().map(|(name, _)| *name).chain(["sd:ID:KEY"])
    }

    /// What must be parsed for it.
    pub fn wanted(&self) -> Fields {
        match self {
            Self::Host => Fields::HOSTNAME,
            Self::App => Fields::APP_NAME,
            Self::ProcId => Fields::PROC_ID,
            Self::MsgId => Fields::MSG_ID,
            Self::Facility | Self::Severity | Self::Pri => Fields::PRI,
            // Elements without an id go by the app's name.
            Self::Param { .. } => Fields::DATA.union(Fields::APP_NAME),
            Self::StructuredData => Fields::DATA,
            Self::Message => Fields::MESSAGE,
            Self::Time => Fields::TIME,
            Self::Peer | Self::TlsName | Self::Uid | Self::Gid | Self::Pid => Fields::NONE,
            Self::Raw | Self::Received => Fields::NONE,
            Self::Header(name) => match name.as_str() {
                // What the version is shows in the header's form, whatever of it is read.
                TIMESTAMP | "version" | "Version" => Fields::TIME,
                "Facility" | "Severity" | "priority" | "Priority" => Fields::PRI,
                _ => Fields::NONE,
            },
        }
    }

    /// Whether only a parsed message has it.
    pub fn is_parsed(&self) -> bool {
        !matches!(self, Self::Header(_)) && !matches!(self.wanted(), Fields::NONE | Fields::PRI)
    }

    /// Appends what the event has of it, byte by byte as it came; false when it has nothing.
    #[inline]
    pub fn append(&self, event: &Event<'_>, out: &mut Vec<u8>) -> bool {
        if event.has_headers()
            && let Some(value) = self.header().and_then(|name| event.headers().get(name))
        {
            out.extend_from_slice(value);
            return true;
        }
        let parsed = &event.parsed();
        let bytes = match self {
            Self::Host => match parsed.host() {
                Some(host) => Some(host),
                None => return event.name().append_host(out) || append_peer(event, out),
            },
            Self::App => parsed.app(),
            Self::ProcId => parsed.proc_id(),
            Self::MsgId => parsed.msg_id(),
            Self::Facility => event.pri.map(|pri| names::facility(pri).as_bytes()),
            Self::Severity => event.pri.map(|pri| names::severity(pri).as_bytes()),
            Self::Peer => return append_peer(event, out),
            Self::TlsName => return event.name().append(out),
            Self::Message => match parsed.form() {
                Form::Rfc3164 | Form::Rfc5424 => parsed.message(),
                Form::Unparsed | Form::Unknown => Some(event.bytes),
            },
            Self::Raw => Some(event.bytes),
            Self::StructuredData => Some(parsed.data()).filter(|data| !data.is_empty()),
            Self::Param { id, key } => {
                let data = Data::checked(parsed.data(), parsed.data_name());
                let value = data.value(id.as_bytes(), key.as_bytes());
                out.extend(value.iter().flat_map(|value| value.bytes()));
                return value.is_some();
            }
            Self::Uid | Self::Gid | Self::Pid => {
                let Some(process) = event.origin.credentials else { return false };
                let id = match self {
                    Self::Uid => process.uid,
                    Self::Gid => process.gid,
                    _ => process.pid,
                };
                return write!(out, "{id}").is_ok();
            }
            Self::Pri => {
                let Some(pri) = event.pri else { return false };
                return write!(out, "{pri}").is_ok();
            }
            Self::Header(name) => return event.append_header(name, out),
            Self::Time => {
                super::encoders::time(event.time().0, out);
                return true;
            }
            Self::Received => {
                super::encoders::time(event.at.0, out);
                return true;
            }
        };
        out.extend_from_slice(bytes.unwrap_or_default());
        bytes.is_some()
    }

    /// The most bytes it can have of an event of so many, its headers among them.
    pub fn bound(&self, event_bytes: usize) -> usize {
        match self {
            Self::Host => event_bytes.max(255),
            // An IPv6 address and its zone, a time.
            Self::Facility | Self::Severity => event_bytes.max(64),
            Self::Header(_) => event_bytes.max(64),
            Self::Peer | Self::Pri => 64,
            Self::Time | Self::Received | Self::Uid | Self::Gid | Self::Pid => 64,
            Self::TlsName => 255,
            _ => event_bytes,
        }
    }
}

fn append_peer(event: &Event<'_>, out: &mut Vec<u8>) -> bool {
    let Some(peer) = event.origin.peer else { return false };
    append_address(peer.ip().to_canonical(), out);
    true
}

/// As `Display` writes it; IPv4 without its detours, for it is written for every event.
fn append_address(address: IpAddr, out: &mut Vec<u8>) {
    let IpAddr::V4(v4) = address else {
        let _ = write!(out, "{address}");
        return;
    };
    for (index, octet) in v4.octets().into_iter().enumerate() {
        if index > 0 {
            out.push(b'.');
        }
        if octet >= 100 {
            out.push(b'0' + octet / 100);
        }
        if octet >= 10 {
            out.push(b'0' + octet / 10 % 10);
        }
        out.push(b'0' + octet % 10);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::{
        Credentials, EventHead, Found, HeaderMap, Marks, Names, Origin, Page, Reading, Shape, Span,
    };
    use crate::time::Wall;
    use proptest::prelude::*;

    /// What the fields of one event are, `-` where it has none.
    fn said(fields: &str, text: &str, found: Option<Found>) -> String {
        said_of("", fields, text, found)
    }

    /// The same where DNS has this name of its sender.
    fn said_of(host: &str, fields: &str, text: &str, found: Option<Found>) -> String {
        let names = Names { certificate: "one.example", host };
        let mut page = Page::new(crate::limits::BATCH_BYTES_MIN);
        page.keep_fields(Shape::Whole);
        let peer = Some("[::ffff:10.0.0.7]:514".parse().unwrap());
        let origin = page.push_named_origin(Origin::new(peer, 0), names).unwrap();
        let head = EventHead { at: Wall(0), origin, pri: None, marks: Marks::NONE };
        page.append_event(text.as_bytes(), head).unwrap();
        page.read_fresh(|_| Reading {
            pri: found.map(|_| 165),
            found: found.unwrap_or(Found::only(Form::Unparsed)),
            unparsed: found.is_none(),
        });
        let event = page.events().next().unwrap();
        let mut out = Vec::new();
        for name in fields.split(' ') {
            let field = Field::named(name).unwrap_or_else(|| panic!("{name} is a name"));
            let before = out.len();
            if !field.append(&event, &mut out) {
                out.push(b'-');
            }
            assert!(out.len() - before <= field.bound(text.len()), "{name}");
            out.push(b'|');
        }
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn every_name_says_its_part() {
        let text = "web su 7 ID [a:b@1 k=\"v\\\"\" k=\"w\"] hello";
        let span = |start, length| Span { start, length };
        let found = Found {
            time: Some(Wall(1_000_000_000)),
            host: span(0, 3),
            app: span(4, 2),
            proc_id: span(7, 1),
            msg_id: span(9, 2),
            data: (12, 21),
            message: Some(34),
            ..Found::only(Form::Rfc5424)
        };
        let all = "host app proc_id msg_id facility severity pri sd:a:b@1:k sd:a:b@1:x sd:x:k peer \
                   tls_name message time received";
        assert_eq!(
            said(all, text, Some(found)),
            "web|su|7|ID|local4|notice|165|v\"|-|-|10.0.0.7|one.example|hello|\
             1970-01-01T00:00:01.000000000Z|1970-01-01T00:00:00.000000000Z|"
        );
        assert_eq!(said("structured_data raw", "x", None), "-|x|");
        assert_eq!(
            said("host app facility message time", "odd", None),
            "10.0.0.7|-|-|odd|1970-01-01T00:00:00.000000000Z|"
        );
        let long = "h".repeat(255);
        assert_eq!(said_of("dns.example", "host peer", "x", None), "dns.example|10.0.0.7|");
        assert_eq!(said_of(&long, "host", "x", None), format!("{long}|"));
        assert_eq!(said_of("dns.example", "host", text, Some(found)), "web|");
    }

    #[test]
    fn a_process_has_the_numbers_that_the_kernel_gave() {
        let mut page = Page::new(crate::limits::BATCH_BYTES_MIN);
        let credentials = Some(Credentials { pid: 71, uid: 33, gid: u32::MAX });
        let origin = page.push_origin(Origin { credentials, ..Origin::LOCAL }).unwrap();
        let head = EventHead { at: Wall(0), origin, pri: None, marks: Marks::NONE };
        page.append_event(b"text", head).unwrap();
        let event = page.events().next().unwrap();
        for (name, number) in [("pid", "71"), ("uid", "33"), ("gid", "4294967295")] {
            let mut out = Vec::new();
            assert!(Field::named(name).unwrap().append(&event, &mut out));
            assert_eq!(out, number.as_bytes());
        }
        assert_eq!(said("uid gid pid", "x", None), "-|-|-|");
        assert!(!Field::TlsName.append(&event, &mut Vec::new()), "without a certificate");
    }

    #[test]
    fn what_is_no_name() {
        for name in ["hostname", "sd:", "sd:a", "sd::k", "sd:a:", "", "Host"] {
            assert_eq!(Field::named(name), None, "{name}");
            let legal = ["hostname", "Host"].contains(&name);
            assert_eq!(Field::read(name).is_some(), legal, "{name}");
        }
    }

    /// Headers go before what the message says, and its parts have Flume's names as well.
    #[test]
    fn headers_have_names_too() {
        let mut page = Page::new(crate::limits::BATCH_BYTES_MIN);
        page.keep_fields(Shape::Whole);
        let mut headers = HeaderMap::default();
        for (name, value) in [("app", "a"), ("site", "b"), ("timestamp", "1001"), ("peer", "p")] {
            headers.set(name.as_bytes(), value.as_bytes()).unwrap();
        }
        let origin = page.push_origin(Origin::LOCAL).unwrap();
        let head = EventHead { at: Wall(0), origin, pri: None, marks: Marks::NONE };
        page.append_headed(b"web su", &headers, head).unwrap();
        page.append_event(b"web su", head).unwrap();
        page.read_fresh(|_| Reading {
            pri: Some(165),
            found: Found {
                time: Some(Wall(5_999_999)),
                host: Span { start: 0, length: 3 },
                app: Span { start: 4, length: 2 },
                ..Found::only(Form::Rfc5424)
            },
            unparsed: false,
        });
        let names =
            "app site host peer timestamp Facility Severity priority version Version time x";
        let said: Vec<String> = page
            .events()
            .map(|event| {
                let values = names.split(' ').map(|name| {
                    let mut out = Vec::new();
                    let field = Field::read(name).unwrap();
                    let had = field.append(&event, &mut out);
                    assert!(out.len() <= field.bound(event.bytes_with_headers()), "{name}");
                    if had { String::from_utf8(out).unwrap() } else { "-".to_owned() }
                });
                values.collect::<Vec<_>>().join(" ")
            })
            .collect();
        assert_eq!(said[0], "a b web - 1001 20 5 165 1 1 1970-01-01T00:00:01.001000000Z -");
        assert_eq!(said[1], "su - web - 5 20 5 165 1 1 1970-01-01T00:00:00.005999999Z -");
    }

    proptest! {
        #[test]
        fn addresses_are_written_as_everywhere(address in any::<IpAddr>()) {
            let mut out = Vec::new();
            append_address(address, &mut out);
            prop_assert_eq!(String::from_utf8(out).unwrap(), address.to_string());
        }
    }
}
