//! `raw`: text as it came.

use super::Encoder;
use crate::codec::Encoding;
use crate::event::{Event, Marks, Page};

/// Bytes as they came.
#[derive(Clone, Copy, Debug, Default)]
pub struct Raw {
    /// `control = "keep"`: control bytes are not rewritten.
    pub keep_control: bool,
}

impl Encoder for Raw {
    fn encoding(&self) -> Encoding {
        Encoding::Raw
    }

    fn bound(&self, event_bytes: usize) -> usize {
        if self.keep_control { event_bytes + 1 } else { 4 * event_bytes + 1 }
    }

    fn bound_plain(&self, event_bytes: usize) -> usize {
        event_bytes + 1
    }

    fn as_is<'page>(&self, page: &'page Page) -> Option<&'page [u8]> {
        page.contiguous()
    }

    fn encode_event(&self, event: &Event<'_>, out: &mut Vec<u8>) {
        let from = out.len();
        out.extend_from_slice(event.bytes);
        if event.marks.contains(Marks::CONTROL) && !self.keep_control {
            escape_control(out, from);
        }
        out.push(b'\n');
    }
}

/// Writes the control bytes of `out[from..]` but TAB as `#ooo`, in place.
pub(super) fn escape_control(out: &mut Vec<u8>, from: usize) {
    let is_control = |byte: u8| (byte < 0x20 && byte != b'\t') || byte == 0x7f;
    let count = out[from..].iter().filter(|byte| is_control(**byte)).count();
    if count == 0 {
        return;
    }
    let mut read = out.len();
    out.resize(read + 3 * count, 0);
    let mut write = out.len();
    // From the end, so that nothing is overwritten that was not read.
    while read < write {
        read -= 1;
        let byte = out[read];
        if is_control(byte) {
            let digit = |shift: u8| b'0' + ((byte >> shift) & 7);
            write -= 4;
            out[write..write + 4].copy_from_slice(&[b'#', digit(6), digit(3), digit(0)]);
        } else {
            write -= 1;
            out[write] = byte;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::encoders::tests::event;

    fn encode(encoder: &dyn Encoder, bytes: &[u8], marks: Marks) -> Vec<u8> {
        let event = event(bytes, marks);
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
}
