//! Print, parse, and find the same: for any fields that a format can carry, and for the messages
//! that our own generator composes.

use flumen::syslog::compose::{Composer, Format as Composed, Shape};
use flumen::syslog::parse::{Arrival, Expect, Fields, Format, Message, Offset, Time, Zone, parse};
use flumen::syslog::stamp::Stamp;
use flumen::time::Wall;
use proptest::prelude::*;

/// The fields of an RFC 5424 message as text; empty is nil.
#[derive(Clone, Debug)]
struct Printed {
    pri: u8,
    version: u16,
    time: String,
    names: [String; 4],
    elements: Vec<(String, Vec<(String, String)>)>,
    text: Option<Vec<u8>>,
}

fn name(characters: usize) -> impl Strategy<Value = String> {
    let any = proptest::string::string_regex(&format!("[!-~]{{0,{characters}}}"));
    any.expect("a regex").prop_map(|name| if name == "-" { String::new() } else { name })
}

fn sd_name() -> impl Strategy<Value = String> {
    proptest::string::string_regex("[!#-<>-\\\\^-~]{1,32}").expect("a regex")
}

fn time() -> impl Strategy<Value = String> {
    let date = (0u16..10_000, 1u8..13, 1u8..29, 0u8..24, 0u8..60, 0u8..60);
    let rest = ("(\\.[0-9]{1,9})?", "(Z|[+-]([01][0-9]|2[0-3]):[0-5][0-9])");
    (date, rest).prop_map(|((year, month, day, hour, minute, second), (fraction, offset))| {
        format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}{fraction}{offset}")
    })
}

fn printed() -> impl Strategy<Value = Printed> {
    let names = (name(255), name(48), name(128), name(32));
    let value = proptest::collection::vec(any::<char>(), 0..12);
    let params = proptest::collection::vec((sd_name(), value), 0..4);
    let elements = proptest::collection::vec((sd_name(), params), 0..4);
    let text = proptest::option::of(proptest::collection::vec(any::<u8>(), 0..40));
    (0u8..192, 1u16..1000, proptest::option::of(time()), names, elements, text).prop_map(
        |(pri, version, time, names, elements, text)| {
            let string = |value: Vec<char>| value.into_iter().collect::<String>();
            let own = |params: Vec<(String, Vec<char>)>| {
                params.into_iter().map(|(name, value)| (name, string(value))).collect()
            };
            Printed {
                pri,
                version,
                time: time.unwrap_or_default(),
                names: [names.0, names.1, names.2, names.3],
                elements: elements.into_iter().map(|(id, params)| (id, own(params))).collect(),
                text,
            }
        },
    )
}

impl Printed {
    fn print(&self) -> Vec<u8> {
        let or_nil = |field: &str| if field.is_empty() { "-".to_owned() } else { field.to_owned() };
        let mut out = format!("<{}>{} {}", self.pri, self.version, or_nil(&self.time));
        for name in &self.names {
            out += &format!(" {}", or_nil(name));
        }
        out += " ";
        for (id, params) in &self.elements {
            out += &format!("[{id}");
            for (name, value) in params {
                let escaped = value.replace('\\', "\\\\").replace('"', "\\\"").replace(']', "\\]");
                out += &format!(" {name}=\"{escaped}\"");
            }
            out += "]";
        }
        if self.elements.is_empty() {
            out += "-";
        }
        let mut out = out.into_bytes();
        if let Some(text) = &self.text {
            out.push(b' ');
            out.extend_from_slice(text);
        }
        out
    }
}

fn arrival() -> Arrival {
    Arrival::new(Wall(1_781_524_800_000_000_000), Zone::utc())
}

fn text(field: Option<&[u8]>) -> String {
    String::from_utf8(field.unwrap_or_default().to_vec()).expect("printed as text")
}

fn elements(message: &Message<'_>) -> Vec<(String, Vec<(String, String)>)> {
    let elements = message.data.elements().map(|element| {
        let params = element.params().map(|(name, value)| {
            (text(Some(name)), String::from_utf8(value.bytes().collect()).expect("as printed"))
        });
        (text(Some(element.id)), params.collect())
    });
    elements.collect()
}

proptest! {
    #[test]
    fn rfc_5424_reads_as_printed(printed in printed()) {
        let bytes = printed.print();
        for expect in [Expect::Auto, Expect::Rfc5424] {
            let message = parse(&bytes, expect, Fields::ALL);
            prop_assert_eq!(message.format, Format::Rfc5424, "{:?}", message.reason);
            prop_assert_eq!(message.pri, Some(printed.pri));
            prop_assert_eq!(message.version, Some(printed.version));
            let time = message.time.map(|time| arrival().resolve(&time).to_string());
            prop_assert_eq!(time.unwrap_or_default(), printed.time.clone());
            let names = [message.hostname, message.app_name, message.proc_id, message.msg_id];
            prop_assert_eq!(names.map(text), printed.names.clone());
            prop_assert_eq!(elements(&message), printed.elements.clone());
            let sent = printed.text.as_deref();
            let sent = sent.map(|text| text.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(text));
            prop_assert_eq!(message.message, sent);
        }
    }

    #[test]
    fn rfc_3164_reads_as_printed(
        pri in proptest::option::of(0u8..192),
        (month, day) in (0usize..12, 1u8..29),
        (hour, minute, second) in (0u8..24, 0u8..60, 0u8..60),
        host in "[a-z][a-z0-9.-]{0,40}",
        tag in "[a-z_][a-z0-9_./-]{0,40}",
        pid in proptest::option::of("[0-9]{1,10}"),
        sent in "[a-z ]{0,40}",
    ) {
        prop_assume!(host != "last" && host != "message");
        let months =
            ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
        let lead = pri.map(|pri| format!("<{pri}>")).unwrap_or_default();
        let ids = pid.as_ref().map(|pid| format!("[{pid}]")).unwrap_or_default();
        let bytes = format!(
            "{lead}{} {day:>2} {hour:02}:{minute:02}:{second:02} {host} {tag}{ids}: {sent}",
            months[month]
        );
        let message = parse(bytes.as_bytes(), Expect::Auto, Fields::ALL);
        prop_assert_eq!(message.format, Format::Rfc3164);
        prop_assert_eq!(message.pri, pri);
        let (fraction, offset) = (&[][..], Offset::Unsent);
        let month = month as u8 + 1;
        let time = Time { year: None, month, day, hour, minute, second, fraction, offset };
        prop_assert_eq!(message.time, Some(time));
        prop_assert_eq!(text(message.hostname), host);
        prop_assert_eq!(text(message.app_name), tag);
        prop_assert_eq!(message.proc_id, pid.as_deref().map(str::as_bytes));
        prop_assert_eq!(text(message.message), sent);
    }
}

#[test]
fn composed_messages_have_every_field() {
    let formats = [(Composed::Rfc3164, Format::Rfc3164), (Composed::Rfc5424, Format::Rfc5424)];
    for (composed, format) in formats {
        let mut composer = Composer::new(Shape { format: composed, ..Shape::default() });
        let mut out = vec![0; composer.room_bytes()];
        let at = Wall(1_795_231_188_123_456_000);
        for sequence in 0..5000 {
            let length = composer.compose(Stamp { run: 7, stream: 3, sequence, at }, &mut out);
            let message = parse(&out[..length], Expect::Auto, Fields::ALL);
            let shown = String::from_utf8_lossy(&out[..length]);
            assert_eq!(message.format, format, "{shown}");
            assert!(message.pri.is_some() && message.hostname.is_some(), "{shown}");
            assert!(message.app_name.is_some(), "{shown}");
            let time = message.time.expect("it has one");
            let seconds = Arrival::new(at, Zone::utc()).resolve(&time).wall().seconds();
            assert_eq!(seconds, at.seconds(), "{shown}");
            assert!(message.message.is_some_and(|text| text.ends_with(b"]")), "{shown}");
        }
    }
}
