//! A message written anew, for a next hop that wants one format from everybody.
//!
//! ```text
//!   rfc5424   <PRI>1 TIME HOST APP PROCID MSGID [sd …][origin ip="192.0.2.7"] text
//!   rfc3164   <PRI>Oct 11 22:14:15 HOST APP[PROCID]: [sd …] text
//! ```
//! What the message says is kept: its time with the offset and the fraction sent, host, app, ids,
//! structured data, text. What it does not say is filled in as RFC 3164 4.3 tells a relay: PRI 13,
//! the receive time, the sender's address as host. The sender's address also goes into the
//! structured data (RFC 5424, 7.2), unless an earlier hop has put one there. What cannot be parsed
//! is the text, whole.

use std::fmt::Write as _;
use std::net::IpAddr;

use jiff::tz::TimeZone;

use crate::event::Event;
use crate::syslog::parse::{Arrival, Expect, Fields, Format, Message, Moment, Zone, parse};
use crate::time::Wall;

/// The longest header, and what else may be added to a message: names, time, origin, brackets.
const HEADER_BYTES_MAX: usize = 1024;

const HOST_BYTES_MAX: usize = 255;
const APP_BYTES_MAX: usize = 48;
const PROC_ID_BYTES_MAX: usize = 128;
const MSG_ID_BYTES_MAX: usize = 32;

/// RFC 3164, 4.3.3: what a relay writes where there was none.
const PRI_MISSING: u8 = 13;
const BOM: &[u8] = b"\xEF\xBB\xBF";
const MONTHS: [&str; 12] =
    ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    Rfc5424,
    Rfc3164,
}

#[derive(Clone)]
pub(super) struct Rewriter {
    form: Form,
    arrival: Arrival,
    /// The same zone, for times that are shown in it.
    zone: TimeZone,
}

/// The longest text that a message of so many bytes can become: every byte may be a parameter
/// without quotes that gets them.
pub(super) fn bound(event_bytes: usize) -> usize {
    2 * event_bytes + HEADER_BYTES_MAX
}

impl Rewriter {
    pub(super) fn new(form: Form, zone: Zone, same: TimeZone) -> Self {
        Self { form, arrival: Arrival::new(Wall(0), zone), zone: same }
    }

    /// The messages to come were received around then: it gives the year that was not sent.
    pub(super) fn turn_to(&mut self, received: Wall) {
        self.arrival.turn_to(received);
    }

    /// Writes the message to the end of `out`.
    pub(super) fn write(&mut self, event: &Event<'_>, out: &mut Vec<u8>) {
        let message = parse(event.bytes, Expect::Auto, Fields::ALL);
        let peer = event.origin.peer.map(|peer| peer.ip().to_canonical());
        let mut pen = Pen { out };
        pen.text(b"<");
        pen.number(message.pri.unwrap_or(PRI_MISSING));
        pen.text(b">");
        match self.form {
            Form::Rfc5424 => self.write_5424(event, &message, peer, &mut pen),
            Form::Rfc3164 => self.write_3164(event, &message, peer, &mut pen),
        }
    }

    fn write_5424(
        &mut self,
        event: &Event<'_>,
        message: &Message<'_>,
        peer: Option<IpAddr>,
        pen: &mut Pen<'_>,
    ) {
        // What says NIL by the letter of the RFC is left NIL.
        let exact = message.format == Format::Rfc5424;
        pen.text(b"1 ");
        match message.time {
            Some(time) => pen.show(format_args!("{}", self.arrival.resolve(&time))),
            None if exact => pen.text(b"-"),
            None => pen.received(event.at),
        }
        pen.text(b" ");
        match (message.hostname, peer) {
            (None, Some(peer)) if !exact => pen.show(format_args!("{peer}")),
            (name, _) => pen.name(name, HOST_BYTES_MAX),
        }
        let names = [
            (message.app_name, APP_BYTES_MAX),
            (message.proc_id, PROC_ID_BYTES_MAX),
            (message.msg_id, MSG_ID_BYTES_MAX),
        ];
        for (name, longest) in names {
            pen.text(b" ");
            pen.name(name, longest);
        }
        pen.text(b" ");
        let before = pen.out.len();
        pen.data(message, peer);
        if pen.out.len() == before {
            pen.text(b"-");
        }
        if let Some(text) = text(event.bytes, message) {
            pen.text(b" ");
            pen.text(text);
        }
    }

    fn write_3164(
        &mut self,
        event: &Event<'_>,
        message: &Message<'_>,
        peer: Option<IpAddr>,
        pen: &mut Pen<'_>,
    ) {
        let moment = message.time.map(|time| self.arrival.resolve(&time));
        self.civil(moment.as_ref().map_or(event.at, Moment::wall), pen);
        pen.text(b" ");
        match (message.hostname, peer) {
            (None, Some(peer)) => pen.show(format_args!("{peer}")),
            (name, _) => pen.name(name, HOST_BYTES_MAX),
        }
        pen.text(b" ");
        if let Some(app) = message.app_name {
            pen.name(Some(app), APP_BYTES_MAX);
            if let Some(proc_id) = message.proc_id {
                pen.text(b"[");
                pen.name(Some(proc_id), PROC_ID_BYTES_MAX);
                pen.text(b"]");
            }
            pen.text(b": ");
        }
        // There is no other place for it, and it is not ours to drop.
        if !message.data.is_empty() {
            pen.data(message, None);
            pen.text(b" ");
        }
        pen.text(text(event.bytes, message).unwrap_or_default());
    }

    /// `Oct  1 22:14:15` in our zone.
    fn civil(&self, at: Wall, pen: &mut Pen<'_>) {
        let instant = jiff::Timestamp::from_second(at.seconds());
        let time = self.zone.to_datetime(instant.unwrap_or(jiff::Timestamp::UNIX_EPOCH));
        let month = MONTHS[usize::from(time.month().unsigned_abs()) - 1];
        let (hour, minute, second) = (time.hour(), time.minute(), time.second());
        pen.show(format_args!("{month} {:>2} {hour:02}:{minute:02}:{second:02}", time.day()));
    }
}

/// The message's text, with the BOM that it came with; what is unparsed is text behind its PRI.
fn text<'a>(bytes: &'a [u8], message: &Message<'a>) -> Option<&'a [u8]> {
    let text = message.message?;
    if message.format == Format::Unparsed {
        let close = bytes.iter().position(|byte| *byte == b'>');
        return Some(match (message.pri, close) {
            (Some(_), Some(close)) => &bytes[close + 1..],
            _ => bytes,
        });
    }
    let before = bytes.strip_suffix(text).filter(|before| before.ends_with(BOM));
    Some(before.map_or(text, |before| &bytes[before.len() - BOM.len()..]))
}

struct Pen<'a> {
    out: &'a mut Vec<u8>,
}

impl Pen<'_> {
    fn text(&mut self, text: &[u8]) {
        self.out.extend_from_slice(text);
    }

    fn number(&mut self, number: u8) {
        self.show(format_args!("{number}"));
    }

    fn show(&mut self, what: std::fmt::Arguments<'_>) {
        self.write_fmt(what).expect("a Vec takes every write");
    }

    /// One of the header's fields: `-` when there is none, and never a byte that would end it.
    fn name(&mut self, name: Option<&[u8]>, longest: usize) {
        let name = name.unwrap_or_default();
        let name = &name[..name.len().min(longest)];
        let plain = |byte: &u8| if byte.is_ascii_graphic() { *byte } else { b'?' };
        self.out.extend(name.iter().map(plain));
        if name.is_empty() {
            self.text(b"-");
        }
    }

    /// When it was received: UTC, in microseconds.
    fn received(&mut self, at: Wall) {
        let instant = jiff::Timestamp::from_nanosecond(i128::from(at.0));
        self.show(format_args!("{:.6}", instant.unwrap_or(jiff::Timestamp::UNIX_EPOCH)));
    }

    /// The elements, and the sender's address when nobody has said one.
    fn data(&mut self, message: &Message<'_>, peer: Option<IpAddr>) {
        let mut peer = peer;
        for element in message.data.elements() {
            let is_origin = element.id == b"origin";
            self.text(b"[");
            self.text(element.id);
            for (name, value) in element.params() {
                if is_origin && name == b"ip" {
                    peer = None;
                }
                self.text(b" ");
                self.text(name);
                self.text(b"=\"");
                self.text(value.raw);
                self.text(b"\"");
            }
            if is_origin && let Some(ip) = peer.take() {
                self.show(format_args!(" ip=\"{ip}\""));
            }
            self.text(b"]");
        }
        if let Some(ip) = peer {
            self.show(format_args!("[origin ip=\"{ip}\"]"));
        }
    }
}

impl std::fmt::Write for Pen<'_> {
    fn write_str(&mut self, text: &str) -> std::fmt::Result {
        self.text(text.as_bytes());
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::{Beside, Marks, Origin};
    use proptest::prelude::*;

    /// 2026-11-21T10:00:00.5Z.
    const AT: Wall = Wall(1_795_255_200_500_000_000);

    fn rewriter(form: Form) -> Rewriter {
        let zone = TimeZone::get("Europe/Berlin").expect("bundled");
        let mut rewriter =
            Rewriter::new(form, Zone::named("Europe/Berlin").expect("bundled"), zone);
        rewriter.turn_to(AT);
        rewriter
    }

    fn write(form: Form, peer: Option<&str>, bytes: &[u8]) -> Vec<u8> {
        let peer = peer.map(|peer| peer.parse().expect("an address"));
        let origin = Origin::new(peer, 0);
        let (marks, beside) = (Marks::NONE, Beside::NONE);
        let event = Event { bytes, at: AT, origin, pri: None, marks, beside };
        let mut out = b"before".to_vec();
        rewriter(form).write(&event, &mut out);
        assert!(out.len() - 6 <= bound(bytes.len()), "{}", String::from_utf8_lossy(&out));
        out.split_off(6)
    }

    #[track_caller]
    fn is(form: Form, text: &str, wanted: &str) {
        let out = write(form, Some("192.0.2.7:999"), text.as_bytes());
        assert_eq!(String::from_utf8_lossy(&out), wanted);
    }

    #[test]
    fn rfc5424_keeps_what_was_said_and_adds_the_sender() {
        for (text, wanted) in [
            (
                r#"<165>1 2003-08-24T05:14:15.000003-07:00 192.0.2.1 myproc 8710 - - %% It's time"#,
                "<165>1 2003-08-24T05:14:15.000003-07:00 192.0.2.1 myproc 8710 - \
                 [origin ip=\"192.0.2.7\"] %% It's time",
            ),
            (
                "<34>1 - - - - - [a@1 b=\"\\\"c\\]\"][d@1] \u{feff}text\nmore",
                "<34>1 - - - - - [a@1 b=\"\\\"c\\]\"][d@1][origin ip=\"192.0.2.7\"] \
                 \u{feff}text\nmore",
            ),
            (
                r#"<34>1 - h a - - [origin software="x"][e@1 f=""]"#,
                r#"<34>1 - h a - - [origin software="x" ip="192.0.2.7"][e@1 f=""]"#,
            ),
            (
                r#"<34>1 - h a - - [origin ip="10.0.0.1"] from an earlier hop"#,
                r#"<34>1 - h a - - [origin ip="10.0.0.1"] from an earlier hop"#,
            ),
            (
                "<38>Oct 11 22:14:15 mymachine su[230]: 'su root' failed",
                "<38>1 2026-10-11T22:14:15+02:00 mymachine su 230 - \
                 [origin ip=\"192.0.2.7\"] 'su root' failed",
            ),
            (
                "no header at all",
                "<13>1 2026-11-21T10:00:00.500000Z 192.0.2.7 - - - \
                 [origin ip=\"192.0.2.7\"] no header at all",
            ),
            (
                "<190>",
                "<190>1 2026-11-21T10:00:00.500000Z 192.0.2.7 - - - [origin ip=\"192.0.2.7\"] ",
            ),
        ] {
            is(Form::Rfc5424, text, wanted);
        }
        let local = write(Form::Rfc5424, None, b"<34>1 - h a - - - x");
        assert_eq!(local, b"<34>1 - h a - - - x", "nobody sent it");
        let mapped = write(Form::Rfc5424, Some("[::ffff:192.0.2.7]:1"), b"<34>1 - h a - - - x");
        assert_eq!(mapped, b"<34>1 - h a - - [origin ip=\"192.0.2.7\"] x");
    }

    #[test]
    fn rfc3164_shows_times_in_its_zone() {
        for (text, wanted) in [
            (
                "<165>1 2003-08-24T05:14:15.000003-07:00 192.0.2.1 myproc 8710 ID47 \
                 [a@1 b=\"c\"] text",
                "<165>Aug 24 14:14:15 192.0.2.1 myproc[8710]: [a@1 b=\"c\"] text",
            ),
            ("<38>Oct  1 22:14:15 host su: failed", "<38>Oct  1 22:14:15 host su: failed"),
            ("what is this", "<13>Nov 21 11:00:00 192.0.2.7 what is this"),
        ] {
            is(Form::Rfc3164, text, wanted);
        }
    }

    #[test]
    fn names_that_would_break_the_header_are_made_to_fit() {
        let long = "h".repeat(300);
        let out = write(
            Form::Rfc5424,
            None,
            format!("<13>1 2026-01-01T00:00:00Z {long} p\u{e9}p - - - x").as_bytes(),
        );
        let message = parse(&out, Expect::Rfc5424, Fields::ALL);
        assert_eq!(message.reason, None, "{}", String::from_utf8_lossy(&out));
    }

    proptest! {
        /// Whatever comes, what goes out is RFC 5424 to the letter, and no text is lost.
        #[test]
        fn what_goes_out_is_rfc5424(
            head in prop::sample::select(vec![
                "", "<13>", "<999>", "<13>1 ", "<13>1 - h a - - ", "<13>Oct 11 22:14:15 ",
                "<13>Oct 11 22:14:15 h a[1]: ", "<13>1 2026-01-01T00:00:00Z h a - - [x@1 y=z] ",
            ]),
            tail in prop::collection::vec(any::<u8>(), 0..200),
        ) {
            let bytes = [head.as_bytes(), &tail].concat();
            let out = write(Form::Rfc5424, Some("[2001:db8::1]:5"), &bytes);
            let message = parse(&out, Expect::Rfc5424, Fields::ALL);
            prop_assert_eq!(message.reason, None, "{}", String::from_utf8_lossy(&out));
            prop_assert!(message.data.value(b"origin", b"ip").is_some());
            prop_assert!(write(Form::Rfc3164, None, &bytes).starts_with(b"<"));
        }
    }
}
