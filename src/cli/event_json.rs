//! An event as one JSON object a line: `cat --json`, `grep --json`.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::io::{self, Write};
use std::path::Path;

use super::output::time_text;
use crate::archive::{BlockView, EventView, base64_encode};
use crate::codec::avro::EventHeaders;
use crate::storage::meta::Received;

#[derive(serde::Serialize)]
struct Line<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    time: Option<Cow<'a, str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    time_of: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    peer: Option<Cow<'a, str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    local: Option<String>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    truncated: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    message: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    message_base64: Option<String>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    headers: BTreeMap<Cow<'a, str>, Cow<'a, str>>,
    file: &'a str,
}

pub(super) fn json_lines(
    path: &Path,
    block: &BlockView<'_>,
    out: &mut impl Write,
) -> io::Result<()> {
    let file = path.to_string_lossy();
    let block_time = block.times.map(|(_, last)| time_text(last));
    for event in block.events() {
        json_line(&file, block_time.as_deref(), &event, out)?;
    }
    Ok(())
}

/// One event; `block_time` is its time when it has none of its own.
pub(super) fn json_line(
    file: &str,
    block_time: Option<&str>,
    event: &EventView<'_>,
    out: &mut impl Write,
) -> io::Result<()> {
    let (mut fields, text) = event.fields();
    let datagram = event.own.as_ref();
    if let Some(own) = datagram {
        fields.time = Some(time_text(own.at).into());
        fields.peer = own.peer.map(|peer| peer.to_string().into());
    } else if let Some(Received { at, peer }) = event.received {
        fields.time.get_or_insert_with(|| time_text(at).into());
        fields.peer = fields.peer.or_else(|| Some(peer?.to_string().into()));
    }
    let own = fields.time.is_some();
    let time = fields.time.or_else(|| block_time.map(Cow::Borrowed));
    // A datagram that happens to be text is one all the same: whoever takes its bytes finds them
    // in one place.
    let plain = |text: &&str| datagram.is_none() || !text.contains(|c: char| c.is_control());
    let message = std::str::from_utf8(&text).ok().filter(plain);
    let text_of = |(name, value)| (String::from_utf8_lossy(name), String::from_utf8_lossy(value));
    let headers = event.headers.iter().flat_map(EventHeaders::iter).map(text_of).collect();
    let line = Line {
        headers,
        time_of: time.is_some().then_some(if own { "event" } else { "block" }),
        time,
        peer: fields.peer,
        local: datagram.and_then(|own| own.local).map(|local| local.to_string()),
        truncated: datagram.is_some_and(|own| own.truncated),
        message,
        message_base64: (message.is_none() || datagram.is_some()).then(|| base64_encode(&text)),
        file,
    };
    serde_json::to_writer(&mut *out, &line)?;
    out.write_all(b"\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::Encoding;
    use crate::codec::datagram::Record;
    use crate::time::Wall;

    fn line(text: &[u8], encoding: Encoding) -> String {
        let event = EventView::of_line(text, Some(encoding), None);
        let mut out = Vec::new();
        json_line("a.zst", Some("2003-10-11T22:14:15Z"), &event, &mut out).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn json_says_whose_time_it_is_and_keeps_every_byte() {
        assert_eq!(
            line(b"a \"b\"", Encoding::Raw),
            concat!(
                r#"{"time":"2003-10-11T22:14:15Z","time_of":"block","message":"a \"b\"","#,
                "\"file\":\"a.zst\"}\n"
            )
        );
        assert_eq!(
            line(br#"{"time":"2001-01-01T00:00:00Z","peer":"h:1","message":"x"}"#, Encoding::Json),
            concat!(
                r#"{"time":"2001-01-01T00:00:00Z","time_of":"event","peer":"h:1","#,
                "\"message\":\"x\",\"file\":\"a.zst\"}\n"
            )
        );
        assert!(line(b"\xff", Encoding::Raw).contains(r#""message_base64":"/w==""#));
    }

    #[test]
    fn of_a_datagram_the_bytes_always_stand_in_one_place() {
        let line = |bytes: &[u8], truncated| {
            let peer = Some("192.0.2.1:40000".parse().unwrap());
            let local = Some("[2001:db8::1]:2055".parse().unwrap());
            let at = Wall(1_065_910_455_003_000_001);
            let record = Record { at, peer, local, truncated, bytes };
            let mut out = Vec::new();
            json_line("a.zst", None, &EventView::of_record(record, None), &mut out).unwrap();
            String::from_utf8(out).unwrap()
        };
        let head = concat!(
            r#"{"time":"2003-10-11T22:14:15.003000001Z","time_of":"event","#,
            r#""peer":"192.0.2.1:40000","local":"[2001:db8::1]:2055","#
        );
        let rest = "\"message_base64\":\"/w==\",\"file\":\"a.zst\"}\n";
        assert_eq!(line(b"\xff", false), format!("{head}{rest}"));
        assert_eq!(line(b"\xff", true), format!("{head}\"truncated\":true,{rest}"));
        let rest = r#""message":"hi","message_base64":"aGk=","#;
        assert!(line(b"hi", false).contains(rest));
        assert!(!line(b"hi\n", false).contains("\"message\""));
    }
}
