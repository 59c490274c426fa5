//! `raw` and `line`: text as it came.

use super::Encoder;
use crate::codec::Encoding;
use crate::event::{Event, Marks, Page};

/// Bytes as they came.
#[derive(Clone, Copy, Debug, Default)]
pub struct Raw {
    /// `control = "keep"`: control bytes are not rewritten.
    pub keep_control: bool,
}

/// Bytes without the `<PRI>`.
#[derive(Clone, Copy, Debug, Default)]
pub struct Line {
    pub keep_control: bool,
}

impl Encoder for Raw {
    fn encoding(&self) -> Encoding {
        Encoding::Raw
    }

    fn bound(&self, event_bytes: usize) -> usize {
        if self.keep_control { event_bytes + 1 } else { 4 * event_bytes + 1 }
    }

    fn bound_event(&self, event: &Event<'_>) -> usize {
        bound_text(event, self.keep_control)
    }

    fn as_is<'page>(&self, page: &'page Page) -> Option<&'page [u8]> {
        page.contiguous()
    }

    fn encode_event(&self, event: &Event<'_>, out: &mut Vec<u8>) {
        text(event.bytes, event.marks, self.keep_control, out);
    }
}

impl Encoder for Line {
    fn encoding(&self) -> Encoding {
        Encoding::Line
    }

    fn bound(&self, event_bytes: usize) -> usize {
        if self.keep_control { event_bytes + 1 } else { 4 * event_bytes + 1 }
    }

    fn bound_event(&self, event: &Event<'_>) -> usize {
        bound_text(event, self.keep_control)
    }

    fn encode_event(&self, event: &Event<'_>, out: &mut Vec<u8>) {
        text(after_pri(event.bytes), event.marks, self.keep_control, out);
    }
}

/// Only marked events can grow.
fn bound_text(event: &Event<'_>, keep_control: bool) -> usize {
    let grows = event.marks.contains(Marks::CONTROL) && !keep_control;
    event.bytes.len() * if grows { 4 } else { 1 } + 1
}

fn text(bytes: &[u8], marks: Marks, keep_control: bool, out: &mut Vec<u8>) {
    if marks.contains(Marks::CONTROL) && !keep_control {
        escape_control(bytes, out);
    } else {
        out.extend_from_slice(bytes);
    }
    out.push(b'\n');
}

/// Control bytes but TAB as `#ooo`.
fn escape_control(bytes: &[u8], out: &mut Vec<u8>) {
    for &byte in bytes {
        match byte {
            b'\t' => out.push(byte),
            0..0x20 | 0x7f => {
                let digit = |shift: u8| b'0' + ((byte >> shift) & 7);
                out.extend_from_slice(&[b'#', digit(6), digit(3), digit(0)]);
            }
            _ => out.push(byte),
        }
    }
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
    use crate::event::{Origin, Parsed};
    use crate::time::Wall;

    fn encode(encoder: &dyn Encoder, bytes: &[u8], marks: Marks) -> Vec<u8> {
        let event = Event {
            bytes,
            at: Wall(0),
            origin: Origin::LOCAL,
            pri: None,
            marks,
            parsed: Parsed::NONE,
        };
        let mut out = Vec::new();
        encoder.encode_event(&event, &mut out);
        assert!(out.len() <= encoder.bound(bytes.len()));
        out
    }

    #[test]
    fn control_bytes_of_framed_events_become_octal() {
        let marks = Marks::CONTROL;
        let out = encode(&Raw::default(), b"a\nb\tc\x7f\x00\xff", marks);
        assert_eq!(out, b"a#012b\tc#177#000\xff\n");
        assert_eq!(encode(&Raw { keep_control: true }, b"a\nb", marks), b"a\nb\n");
        assert_eq!(encode(&Raw::default(), b"a\x1bb", Marks::NONE), b"a\x1bb\n");
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
            let out = encode(&Line::default(), text.as_bytes(), Marks::NONE);
            assert_eq!(out, [rest.as_bytes(), b"\n"].concat(), "{text}");
        }
    }
}
