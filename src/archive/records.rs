//! Blocks of datagrams, and of Avro's: records instead of lines. What a reader does with a block's
//! events whatever they are stands here.

use std::io::{self, Write};

use super::query::{Numbers, Span};
use super::{BlockView, EventView};
use crate::codec::Encoding;

impl<'a> BlockView<'a> {
    /// It holds records, of datagrams or of Avro's.
    pub fn has_records(&self) -> bool {
        matches!(self.encoding, Some(Encoding::Datagram | Encoding::Avro))
    }

    /// Events that are whole.
    pub fn event_count(&self) -> u64 {
        self.events().count() as u64
    }

    /// The records, each with where its text stands, at its end. Of lines there are none.
    pub fn record_spans(&self) -> impl Iterator<Item = (Span, EventView<'a>)> + use<'a> {
        let (times, encoding) = (self.times, self.encoding);
        let bytes = if self.has_records() { self.bytes } else { &[] };
        let mut at = 0;
        std::iter::from_fn(move || {
            let (event, length) = EventView::read(&bytes[at..], encoding, times)?;
            at += length;
            Some((Span { start: at - event.line.len(), end: at }, event))
        })
    }

    /// The events at these places, which are in order.
    pub fn picked(&self, spans: &[Span]) -> impl Iterator<Item = EventView<'a>> {
        let view = *self;
        let mut wanted = spans.iter().peekable();
        let found = self.record_spans().filter(move |(span, _)| {
            // An empty datagram begins where the head of the next one does: both ends count.
            wanted.next_if(|next| **next == *span).is_some()
        });
        let lines = if self.has_records() { &[] } else { spans };
        let mut numbers = Numbers::default();
        let lines = lines.iter().map(move |span| {
            let line = &view.bytes[span.start..span.end];
            // Where nothing is known of events, nobody counts lines.
            let received =
                view.meta.and_then(|_| view.received(numbers.of(view.bytes, span.start)));
            EventView { received, ..EventView::of_line(line, view.encoding, view.times) }
        });
        lines.chain(found.map(|(_, event)| event))
    }

    /// The block without its first `count` events.
    pub fn skip_events(mut self, count: u64) -> Self {
        for _ in 0..count {
            let end = match memchr::memchr(b'\n', self.bytes) {
                _ if self.has_records() => {
                    let read = EventView::read(self.bytes, self.encoding, None);
                    read.map(|(_, length)| length)
                }
                end => end.map(|at| at + 1),
            };
            self.bytes = &self.bytes[end.unwrap_or(self.bytes.len())..];
            self.from = self.from.saturating_add(1);
        }
        self
    }

    /// Writes the events as they are stored, each with LF behind it.
    pub fn write_events(&self, out: &mut impl Write) -> io::Result<()> {
        if !self.has_records() {
            return out.write_all(self.bytes);
        }
        for event in self.events() {
            out.write_all(event.line)?;
            out.write_all(b"\n")?;
        }
        Ok(())
    }

    /// What is wrong with a block that should hold `events` of them.
    pub fn miscount(&self, events: u64) -> Option<String> {
        if self.has_records() {
            let whole = self.record_spans().last().map_or(0, |(span, _)| span.end);
            let count = self.event_count();
            return if count != events {
                Some(format!("it holds {count} records instead of {events}"))
            } else if whole != self.bytes.len() {
                Some(format!("behind its records are {} bytes more", self.bytes.len() - whole))
            } else {
                None
            };
        }
        let lines = memchr::memchr_iter(b'\n', self.bytes).count() as u64;
        // An event that keeps its control characters may hold LF of its own.
        (lines < events).then(|| format!("it holds {lines} events instead of {events}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::datagram::Record;
    use crate::time::Wall;

    fn block(texts: &[&[u8]]) -> Vec<u8> {
        let mut out = Vec::new();
        for (index, bytes) in texts.iter().enumerate() {
            let peer = Some("192.0.2.1:9".parse().unwrap());
            let at = Wall(index as i64);
            Record { at, peer, local: None, truncated: false, bytes }.write(&mut out);
        }
        out
    }

    #[test]
    fn records_are_events_whatever_bytes_they_hold() {
        let texts: [&[u8]; 5] = [b"a\nb", b"", b"\n", b"", b"\0\xff"];
        let bytes = block(&texts);
        let view = BlockView::whole(&bytes, Some(Encoding::Datagram), None);
        assert_eq!(view.events().map(|event| event.line).collect::<Vec<_>>(), texts);
        assert_eq!(view.event_count(), 5);
        let at = |event: EventView<'_>| event.own.map(|own| own.at.0);
        assert_eq!(view.skip_events(3).events().map(at).collect::<Vec<_>>(), [Some(3), Some(4)]);
        assert_eq!(view.skip_events(9).event_count(), 0);
        let mut out = Vec::new();
        view.write_events(&mut out).unwrap();
        assert_eq!(out, b"a\nb\n\n\n\n\n\0\xff\n");
        let spans: Vec<_> = view.record_spans().map(|(span, _)| span).collect();
        assert_eq!(&bytes[spans[4].start..spans[4].end], b"\0\xff");
        assert_eq!(view.picked(&spans[1..4]).map(at).collect::<Vec<_>>(), [1, 2, 3].map(Some));
        let lines = BlockView::whole(b"a\nb\n", None, None);
        let first = [Span { start: 0, end: 1 }, Span { start: 2, end: 3 }];
        let text = |event: EventView<'_>| event.line.to_vec();
        assert_eq!(lines.picked(&first).map(text).collect::<Vec<_>>(), [b"a", b"b"]);
        assert_eq!(lines.skip_events(1).bytes, b"b\n");
    }

    #[test]
    fn a_wrong_number_of_records_is_told() {
        let bytes = block(&[b"a\nb", b"c"]);
        let view = |bytes| BlockView::whole(bytes, Some(Encoding::Datagram), None);
        assert_eq!(view(&bytes).miscount(2), None);
        for (bytes, events, told) in [
            (&bytes[..], 3, "it holds 2 records instead of 3"),
            (&bytes[..bytes.len() - 1], 2, "it holds 1 records instead of 2"),
            (&bytes[..bytes.len() - 1], 1, "behind its records are 28 bytes more"),
        ] {
            assert_eq!(view(bytes).miscount(events).as_deref(), Some(told));
        }
        let lines = BlockView::whole(b"a\nb\n", None, None);
        assert_eq!((lines.miscount(1), lines.miscount(2)), (None, None));
        assert_eq!(lines.miscount(3).as_deref(), Some("it holds 2 events instead of 3"));
    }
}
