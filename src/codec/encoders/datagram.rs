//! `datagram`: every byte, the time and both addresses, as records of `codec::datagram`.

use super::Encoder;
use crate::codec::Encoding;
use crate::codec::datagram::{HEAD_BYTES_MAX, Record};
use crate::event::{Event, Marks};

#[derive(Clone, Copy, Debug, Default)]
pub struct Datagram;

impl Encoder for Datagram {
    fn encoding(&self) -> Encoding {
        Encoding::Datagram
    }

    fn bound(&self, event_bytes: usize) -> usize {
        HEAD_BYTES_MAX + event_bytes
    }

    fn encode_event(&self, event: &Event<'_>, out: &mut Vec<u8>) {
        let record = Record {
            at: event.at,
            peer: event.origin.peer,
            local: event.name().local(),
            truncated: event.marks.contains(Marks::TRUNCATED),
            bytes: event.bytes,
        };
        record.write(out);
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::event;
    use super::*;
    use crate::codec::datagram::records;

    #[test]
    fn nothing_is_rewritten_and_nothing_is_longer_than_said() {
        let mut out = Vec::new();
        let texts: [&[u8]; 4] = [b"", b"a\n\0\x1b", &[0xff; 3000], b"\n"];
        for text in texts {
            let before = out.len();
            Datagram.encode_event(&event(text, Marks::CONTROL), &mut out);
            assert!(out.len() - before <= Datagram.bound(text.len()));
        }
        let read: Vec<_> = records(&out).map(|(_, record)| record).collect();
        assert_eq!(read.iter().map(|record| record.bytes).collect::<Vec<_>>(), texts);
        let peer = event(b"", Marks::NONE).origin.peer;
        assert!(read.iter().all(|record| record.peer == peer && !record.truncated));
    }
}
