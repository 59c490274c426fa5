//! `body`: a syslog message without its header, or with some fields of it, as Flume's syslog
//! sources leave it.
//!
//! ```text
//! <34>1 2003-10-11T22:14:15.003Z mymachine su - ID47 - 'su root' failed
//!  pri v time                     hostname  └ the body: all that stands behind the host name
//! ```
//! Fields that are kept stand in front of it in this order, as they were sent. What is no syslog
//! message is its own body.

use super::Encoder;
use super::raw::escape_control;
use crate::codec::Encoding;
use crate::event::parsed::start_of;
use crate::event::{Event, Form, Marks};
use crate::syslog::parse::Fields;

/// What may stand in front of the body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeptField {
    Priority,
    Version,
    Timestamp,
    Hostname,
}

impl KeptField {
    /// In the order in which they are written.
    pub const ALL: [(&'static str, Self); 4] = [
        ("priority", Self::Priority),
        ("version", Self::Version),
        ("timestamp", Self::Timestamp),
        ("hostname", Self::Hostname),
    ];
}

#[derive(Clone, Debug)]
pub struct Body {
    pub kept: Vec<KeptField>,
    pub keep_control: bool,
}

/// What stands in front of a message's body; a field that it does not have is empty.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Pieces<'e> {
    priority: &'e [u8],
    version: &'e [u8],
    timestamp: &'e [u8],
    hostname: &'e [u8],
}

impl Encoder for Body {
    fn encoding(&self) -> Encoding {
        Encoding::Template
    }

    fn wanted(&self) -> Fields {
        Fields::PRI.union(Fields::HOSTNAME).union(Fields::APP_NAME)
    }

    fn bound(&self, event_bytes: usize) -> usize {
        // The pieces are parts of the event; a blank stood behind each of them there, too.
        (event_bytes + 4) * if self.keep_control { 1 } else { 4 } + 1
    }

    fn bound_plain(&self, event_bytes: usize) -> usize {
        event_bytes + 5
    }

    fn encode_event(&self, event: &Event<'_>, out: &mut Vec<u8>) {
        let from = out.len();
        if !self.kept.is_empty() {
            self.put_kept(event, out);
        }
        out.extend_from_slice(event.bytes.get(event.parsed().body_at()..).unwrap_or_default());
        if event.marks.contains(Marks::CONTROL) && !self.keep_control {
            escape_control(out, from);
        }
        out.push(b'\n');
    }
}

impl Body {
    fn put_kept(&self, event: &Event<'_>, out: &mut Vec<u8>) {
        let pieces = take_apart(event);
        for (_, field) in KeptField::ALL.iter().filter(|(_, field)| self.kept.contains(field)) {
            let (text, behind) = match field {
                KeptField::Priority => (pieces.priority, None),
                KeptField::Version => (pieces.version, Some(b' ')),
                KeptField::Timestamp => (pieces.timestamp, Some(b' ')),
                KeptField::Hostname => (pieces.hostname, Some(b' ')),
            };
            if !text.is_empty() {
                out.extend_from_slice(text);
                out.extend(behind);
            }
        }
    }
}

fn take_apart<'e>(event: &Event<'e>) -> Pieces<'e> {
    let bytes = event.bytes;
    let form = event.parsed().form();
    if !matches!(form, Form::Rfc3164 | Form::Rfc5424) {
        return Pieces::default();
    }
    let pri_end = match bytes.first() {
        Some(b'<') => memchr::memchr(b'>', bytes).map_or(0, |at| at + 1),
        _ => 0,
    };
    let (priority, rest) = bytes.split_at(pri_end);
    if form == Form::Rfc5424 {
        let mut words = rest.splitn(4, |byte| *byte == b' ');
        let mut word = || words.next().unwrap_or_default();
        let (version, timestamp, hostname) = (word(), word(), word());
        return Pieces { priority, version, timestamp, hostname };
    }
    // What stands in front of the host name, or of the tag without one, is the time.
    let (end, hostname) = match (event.parsed().host(), event.parsed().app()) {
        (Some(host), _) => (start_of(host, bytes), host),
        (None, Some(app)) => (start_of(app, bytes), &bytes[..0]),
        (None, None) => return Pieces::default(),
    };
    let timestamp = bytes.get(pri_end..end).unwrap_or_default().trim_ascii();
    Pieces { priority, version: b"", timestamp, hostname }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::encoders::tests::{event, with_event};

    const OLD: &[u8] = b"<34>Oct 11 22:14:15 mymachine su[7]: 'su root' failed";
    const NEW: &[u8] = b"<34>1 2003-10-11T22:14:15.003Z mymachine su - ID47 - 'su root' failed";

    fn written(kept: &[KeptField], bytes: &[u8]) -> String {
        let body = Body { kept: kept.to_vec(), keep_control: false };
        with_event(bytes, Marks::NONE, |event| {
            let mut out = Vec::new();
            body.encode_event(event, &mut out);
            assert!(out.len() <= body.bound(event.bytes.len()));
            String::from_utf8(out).expect("UTF-8")
        })
    }

    #[test]
    fn the_body_stands_behind_the_host_name() {
        assert_eq!(written(&[], OLD), "su[7]: 'su root' failed\n");
        assert_eq!(written(&[], NEW), "su - ID47 - 'su root' failed\n");
        assert_eq!(written(&[], b"<13>1 - - - - - -"), "- - - -\n");
        assert_eq!(written(&[], b"no syslog at all"), "no syslog at all\n");
        assert_eq!(written(&[KeptField::Priority], b"<999>x"), "<999>x\n");
    }

    #[test]
    fn kept_fields_stand_in_front_as_they_were_sent() {
        use KeptField::{Hostname, Priority, Timestamp, Version};
        let all = [Hostname, Timestamp, Version, Priority];
        assert_eq!(written(&all, NEW), String::from_utf8_lossy(NEW).into_owned() + "\n");
        assert_eq!(written(&all, OLD), String::from_utf8_lossy(OLD).into_owned() + "\n");
        assert_eq!(written(&[Priority], OLD), "<34>su[7]: 'su root' failed\n");
        let line = "Oct 11 22:14:15 su[7]: 'su root' failed\n";
        assert_eq!(written(&[Timestamp], OLD), line);
        assert_eq!(written(&[Version], OLD), "su[7]: 'su root' failed\n");
        assert_eq!(
            written(&[Version, Hostname], NEW),
            "1 mymachine su - ID47 - 'su root' failed\n"
        );
    }

    #[test]
    fn control_bytes_of_frames_are_written_as_octal() {
        let body = Body { kept: Vec::new(), keep_control: false };
        let mut out = Vec::new();
        body.encode_event(&event(b"a\nb", Marks::CONTROL), &mut out);
        assert_eq!(out, b"a#012b\n");
        out.clear();
        Body { keep_control: true, ..body }.encode_event(&event(b"a\nb", Marks::CONTROL), &mut out);
        assert_eq!(out, b"a\nb\n");
    }
}
