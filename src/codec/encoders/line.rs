//! `line`: the traditional line without `<PRI>`: `TIME HOST APP[PROC]: text`.
//!
//! What came so is kept as it came. RFC 5424 is written so: its time as sent, `-` for an absent
//! host, structured data in front of the text, and of the header all but version and MSGID.

use super::Encoder;
use super::raw::escape_control;
use crate::codec::Encoding;
use crate::event::{Event, Form, Marks};
use crate::syslog::parse::Fields;

#[derive(Clone, Copy, Debug, Default)]
pub struct Line {
    pub keep_control: bool,
}

impl Encoder for Line {
    fn encoding(&self) -> Encoding {
        Encoding::Line
    }

    fn wanted(&self) -> Fields {
        let names = Fields::HOSTNAME.union(Fields::APP_NAME).union(Fields::PROC_ID);
        names.union(Fields::DATA).union(Fields::MESSAGE)
    }

    fn bound(&self, event_bytes: usize) -> usize {
        if self.keep_control { event_bytes + 1 } else { 4 * event_bytes + 1 }
    }

    fn bound_plain(&self, event_bytes: usize) -> usize {
        event_bytes + 1
    }

    fn encode_event(&self, event: &Event<'_>, out: &mut Vec<u8>) {
        let from = out.len();
        if event.parsed().form() == Form::Rfc5424 {
            traditional(event, out);
        } else {
            out.extend_from_slice(after_pri(event.bytes));
        }
        if event.marks.contains(Marks::CONTROL) && !self.keep_control {
            escape_control(out, from);
        }
        out.push(b'\n');
    }
}

/// Never longer than the event: what is added (`[]:`) is less than what goes (`<0>1`, ` - -`).
fn traditional(event: &Event<'_>, out: &mut Vec<u8>) {
    let parsed = &event.parsed();
    out.extend_from_slice(time(event.bytes));
    out.push(b' ');
    out.extend_from_slice(parsed.host().unwrap_or(b"-"));
    if let Some(app) = parsed.app() {
        out.push(b' ');
        out.extend_from_slice(app);
        if let Some(proc_id) = parsed.proc_id() {
            out.push(b'[');
            out.extend_from_slice(proc_id);
            out.push(b']');
        }
        out.push(b':');
    }
    let texts = [parsed.data(), parsed.message().unwrap_or_default()];
    for text in texts.into_iter().filter(|text| !text.is_empty()) {
        out.push(b' ');
        out.extend_from_slice(text);
    }
}

/// The word behind PRI and version.
fn time(bytes: &[u8]) -> &[u8] {
    let mut words = after_pri(bytes).split(|byte| *byte == b' ').filter(|word| !word.is_empty());
    words.nth(1).unwrap_or(b"-")
}

/// The text behind a valid `<PRI>`, or all of it.
fn after_pri(bytes: &[u8]) -> &[u8] {
    match bytes {
        [b'<', b'0'..=b'9', b'>', rest @ ..] => rest,
        [b'<', b'1'..=b'9', b'0'..=b'9', b'>', rest @ ..] => rest,
        [b'<', b'1', b'0'..=b'8', b'0'..=b'9', b'>', rest @ ..] => rest,
        [b'<', b'1', b'9', b'0' | b'1', b'>', rest @ ..] => rest,
        _ => bytes,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::encoders::tests::{event, with_event};
    use proptest::prelude::*;

    fn encode(event: &Event<'_>) -> String {
        let mut out = Vec::new();
        let line = Line::default();
        line.encode_event(event, &mut out);
        assert!(out.len() <= line.bound(event.bytes.len()) && out.len() <= line.bound_event(event));
        assert_eq!(out.pop(), Some(b'\n'));
        String::from_utf8_lossy(&out).into_owned()
    }

    #[test]
    fn only_a_valid_pri_is_taken_off() {
        for (text, rest) in [
            ("<0>x", "x"),
            ("<13>x", "x"),
            ("<191>x", "x"),
            ("<192>x", "<192>x"),
            ("<013>x", "<013>x"),
            ("<>x", "<>x"),
            ("<1", "<1"),
            ("", ""),
        ] {
            assert_eq!(encode(&event(text.as_bytes(), Marks::NONE)), rest, "{text}");
        }
    }

    #[test]
    fn both_formats_make_one_kind_of_line() {
        for (text, line) in [
            ("<13>Oct 11 22:14:15 web su[7]: hi", "Oct 11 22:14:15 web su[7]: hi"),
            (
                "<165>1 2003-10-11T22:14:15.003+02:00 web su 7 ID47 [a@1 b=\"c\"] hi",
                "2003-10-11T22:14:15.003+02:00 web su[7]: [a@1 b=\"c\"] hi",
            ),
            ("<165>1 - - - - - -", "- -"),
            ("<0>1 2003-10-11T22:14:15Z web - 7 - - hi", "2003-10-11T22:14:15Z web hi"),
            ("<0>1 2003-10-11T22:14:15Z w s 7 - - h", "2003-10-11T22:14:15Z w s[7]: h"),
        ] {
            with_event(text.as_bytes(), Marks::NONE, |event| assert_eq!(encode(event), line));
        }
    }

    proptest! {
        #[test]
        fn no_line_is_longer_than_its_bounds(
            words in prop::collection::vec("-|[a-z]{1,3}|\\[a b=\"c\"\\]| ", 0..9),
            front in prop::sample::select(&["<0>1 ", "<191>1 - ", " <1>1 2003-10-11T2:4:15Z "][..]),
        ) {
            let text = format!("{front}{}", words.join(" "));
            with_event(text.as_bytes(), Marks::NONE, |event| drop(encode(event)));
        }
    }
}
