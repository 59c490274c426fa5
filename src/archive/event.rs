//! One event as read back: the stored line, and on request what it says.

use std::borrow::Cow;
use std::net::SocketAddr;

use super::base64::decode;
use crate::codec::Encoding;
use crate::codec::avro::{EventHeaders, EventRecord};
use crate::codec::datagram::Record;
use crate::storage::meta::Received;
use crate::time::Wall;

/// A stored event. Looking at the line costs nothing; fields are parsed when asked for.
#[derive(Clone, Copy, Debug)]
pub struct EventView<'a> {
    /// As stored, without its LF.
    pub line: &'a [u8],
    /// None: the file does not say, so the line is the text.
    pub encoding: Option<Encoding>,
    /// First and last receive time of its block; None in plain text and files of others.
    pub block_times: Option<(Wall, Wall)>,
    /// Of a datagram that was kept as it came.
    pub own: Option<Own>,
    /// When it was received and from whom, if its block keeps that (`keep_meta`).
    pub received: Option<Received>,
    /// Of an event in a container file of Avro's.
    pub headers: Option<EventHeaders<'a>>,
}

/// What a file keeps of an event beside its text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Own {
    /// When it was received.
    pub at: Wall,
    /// Who sent it, and whereto.
    pub peer: Option<SocketAddr>,
    pub local: Option<SocketAddr>,
    /// Only the front of it is here.
    pub truncated: bool,
}

/// What the `json` encoder kept of an event besides its text.
#[derive(Debug, Default, serde::Deserialize)]
pub struct Fields<'a> {
    /// RFC 3339, when it was received.
    #[serde(borrow, default, rename = "event.created", alias = "time")]
    pub time: Option<Cow<'a, str>>,
    #[serde(borrow, default, rename = "log.source.address", alias = "peer")]
    pub peer: Option<Cow<'a, str>>,
    #[serde(borrow, default, rename = "host.name")]
    pub host: Option<Cow<'a, str>>,
    #[serde(default, rename = "log.syslog.severity.code")]
    pub severity: Option<u8>,
    #[serde(borrow, default)]
    message: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    message_base64: Option<Cow<'a, str>>,
}

impl<'a> EventView<'a> {
    /// A line that says nothing but its text.
    pub fn of_line(
        line: &'a [u8],
        encoding: Option<Encoding>,
        block_times: Option<(Wall, Wall)>,
    ) -> Self {
        Self { line, encoding, block_times, own: None, received: None, headers: None }
    }

    pub fn of_record(record: Record<'a>, block_times: Option<(Wall, Wall)>) -> Self {
        let Record { at, peer, local, truncated, bytes } = record;
        let own = Some(Own { at, peer, local, truncated });
        Self { own, ..Self::of_line(bytes, Some(Encoding::Datagram), block_times) }
    }

    /// The record in front of these bytes, and its length.
    pub fn read(
        bytes: &'a [u8],
        encoding: Option<Encoding>,
        block_times: Option<(Wall, Wall)>,
    ) -> Option<(Self, usize)> {
        if encoding == Some(Encoding::Avro) {
            let (EventRecord { headers, body }, length) = EventRecord::read(bytes)?;
            let headers = Some(headers);
            let event = Self { headers, ..Self::of_line(body, encoding, block_times) };
            return Some((event, length));
        }
        let (record, length) = Record::read(bytes)?;
        Some((Self::of_record(record, block_times), length))
    }

    /// The event's text. A JSON line without a message, or that is no JSON, is its own text.
    pub fn text(&self) -> Cow<'a, [u8]> {
        self.fields().1
    }

    /// Fields and text, parsed once for both.
    pub fn fields(&self) -> (Fields<'a>, Cow<'a, [u8]>) {
        if self.encoding != Some(Encoding::Json) {
            return (Fields::default(), Cow::Borrowed(self.line));
        }
        let Ok(mut fields) = serde_json::from_slice::<Fields<'a>>(self.line) else {
            return (Fields::default(), Cow::Borrowed(self.line));
        };
        let bytes = fields.message_base64.take().and_then(|text| decode(&text));
        let text = match (fields.message.take(), bytes) {
            (Some(Cow::Borrowed(text)), _) => Cow::Borrowed(text.as_bytes()),
            (Some(Cow::Owned(text)), _) => Cow::Owned(text.into_bytes()),
            (None, Some(bytes)) => Cow::Owned(bytes),
            (None, None) => Cow::Borrowed(self.line),
        };
        (fields, text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn json(line: &[u8]) -> EventView<'_> {
        EventView::of_line(line, Some(Encoding::Json), None)
    }

    #[test]
    fn the_text_of_a_json_event_is_its_message() {
        let line = br#"{"time":"2003-10-11T22:14:15Z","peer":"h:1","pri":3,"message":"a\"b"}"#;
        let view = json(line);
        let (fields, text) = view.fields();
        assert_eq!(
            (fields.time.as_deref(), fields.peer.as_deref()),
            (Some("2003-10-11T22:14:15Z"), Some("h:1"))
        );
        assert_eq!(&*text, b"a\"b");
        let newer =
            br#"{"@timestamp":"x","event.created":"y","log.source.address":"z","message":""}"#;
        let (fields, text) = json(newer).fields();
        assert_eq!((fields.time.as_deref(), fields.peer.as_deref()), (Some("y"), Some("z")));
        assert_eq!(&*text, b"");
        assert_eq!(&*json(br#"{"message_base64":"/w=="}"#).text(), b"\xff");
        for other in [&b"no json"[..], b"{\"x\":1}", b"[1]"] {
            assert_eq!(&*json(other).text(), other);
        }
        let raw = EventView { encoding: Some(Encoding::Raw), ..view };
        assert_eq!(&*raw.text(), line);
    }
}
