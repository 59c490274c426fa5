//! What must hold for any bytes that are taken for a message.

use flumen::cli::parse::json::write_object;
use flumen::syslog::parse::{Arrival, Expect, Fields, Format, Message, Zone, parse};
use flumen::time::Wall;

const FORMATS: [Expect; 3] = [Expect::Auto, Expect::Rfc3164, Expect::Rfc5424];
const SINGLE: [Fields; 8] = [
    Fields::PRI,
    Fields::TIME,
    Fields::HOSTNAME,
    Fields::APP_NAME,
    Fields::PROC_ID,
    Fields::MSG_ID,
    Fields::DATA,
    Fields::MESSAGE,
];

/// Panics when a promise is broken.
pub(crate) fn message(bytes: &[u8]) {
    let [auto, _, exact] = FORMATS.map(|expect| {
        let message = parse(bytes, expect, Fields::ALL);
        holds_together(&message, bytes);
        shows_everything(&message, bytes);
        for wanted in SINGLE {
            let part = parse(bytes, expect, wanted);
            let whole = message.format != Format::Unparsed;
            assert!(!whole || same(&part, &message, wanted), "{part:?} is no part of {message:?}");
        }
        message
    });
    // The letter of the RFC is part of what is taken loosely.
    assert!(exact.format == Format::Unparsed || exact == auto, "{exact:?} and {auto:?}");
}

/// Fields are slices of the message; what is unparsed is whole.
fn holds_together(message: &Message<'_>, bytes: &[u8]) {
    let range = bytes.as_ptr_range();
    let inside = |field: &[u8]| {
        let field = field.as_ptr_range();
        range.start <= field.start && field.end <= range.end
    };
    let names = [message.hostname, message.app_name, message.proc_id, message.msg_id];
    assert!(names.iter().flatten().all(|name| !name.is_empty() && inside(name)), "{message:?}");
    assert!(names.iter().flatten().all(|name| *name != b"-" || message.version.is_none()));
    assert!(message.message.is_none_or(inside));
    assert_eq!(message.format == Format::Unparsed, message.reason.is_some());
    assert!(message.reason.is_none() || message.message == Some(bytes));
    assert!(message.pri.is_none_or(|pri| pri <= 191));
    assert!(message.version.is_none_or(|version| (1..1000).contains(&version)));
    for element in message.data.elements() {
        assert!(inside(element.id) && !element.id.is_empty());
        assert!(element.params().all(|(name, value)| inside(name) && inside(value.raw)));
    }
    assert_eq!(message.data.elements().next().is_none(), message.data.is_empty());
}

/// One line of JSON, with the text of the message in it, whatever its bytes.
fn shows_everything(message: &Message<'_>, bytes: &[u8]) {
    let mut arrival = Arrival::new(Wall(1_781_524_800_000_000_000), Zone::utc());
    let mut out = Vec::new();
    write_object(message, bytes, &mut arrival, &mut out).expect("memory takes it");
    let line = out.strip_suffix(b"\n").expect("a line");
    assert!(!line.contains(&b'\n'));
    let object: serde_json::Value = serde_json::from_slice(line).expect("JSON");
    match object.get("message") {
        Some(text) if object.get("reason").is_some_and(|reason| reason == "not_utf8") => {
            panic!("not UTF-8, and shown as text: {text}")
        }
        Some(text) => {
            assert_eq!(text.as_str().map(str::as_bytes), message.message);
        }
        None => {
            let bare = message.message.is_none();
            assert!(bare || object.get("message_base64").is_some(), "{object}");
        }
    }
    if let Some(time) = object.get("timestamp") {
        let time = time.as_str().expect("text");
        assert!(time.len() >= 20 && time.as_bytes()[10] == b'T', "{time}");
    }
}

fn same(part: &Message<'_>, whole: &Message<'_>, wanted: Fields) -> bool {
    match wanted {
        Fields::PRI => part.pri == whole.pri,
        Fields::TIME => part.time == whole.time,
        Fields::HOSTNAME => part.hostname == whole.hostname,
        Fields::APP_NAME => part.app_name == whole.app_name,
        Fields::PROC_ID => part.proc_id == whole.proc_id,
        Fields::MSG_ID => part.msg_id == whole.msg_id,
        Fields::DATA => part.data == whole.data,
        _ => part.message == whole.message,
    }
}
