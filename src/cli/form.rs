//! How `cat` and `tail` write events: as they are stored, as JSON, or as a capture.

use std::io::{self, Write};
use std::path::Path;

use super::event_json::json_lines;
use crate::archive::BlockView;
use crate::wire::capture::Writer;

pub(super) enum Form {
    Stored,
    Json,
    Capture(Box<Capture>),
}

/// Datagrams as pcapng.
#[derive(Default)]
pub(super) struct Capture {
    writer: Writer,
    out: Vec<u8>,
    begun: bool,
    /// Events that are no datagrams, and datagrams that no IP packet holds.
    left_out: u64,
}

/// A datagram of which the kernel gave only the front.
const TRUNCATED: &str = "truncated by the receiver";

impl Form {
    pub(super) fn new(json: bool) -> Self {
        if json { Self::Json } else { Self::Stored }
    }

    /// What stands before all events.
    pub(super) fn begin(&mut self, out: &mut impl Write) -> io::Result<()> {
        let Self::Capture(capture) = self else { return Ok(()) };
        if !std::mem::replace(&mut capture.begun, true) {
            capture.writer.begin(&mut capture.out);
        }
        capture.flush(out)
    }

    pub(super) fn write(
        &mut self,
        path: &Path,
        block: &BlockView<'_>,
        out: &mut impl Write,
    ) -> io::Result<()> {
        match self {
            Self::Stored => block.write_events(out),
            Self::Json => json_lines(path, block, out),
            Self::Capture(capture) => capture.write(block, out),
        }
    }

    /// Events that this form cannot hold.
    pub(super) fn left_out(&self) -> u64 {
        if let Self::Capture(capture) = self { capture.left_out } else { 0 }
    }
}

impl Capture {
    fn write(&mut self, block: &BlockView<'_>, out: &mut impl Write) -> io::Result<()> {
        for event in block.events() {
            let Some(own) = event.own else {
                self.left_out += 1;
                continue;
            };
            let comment = own.truncated.then_some(TRUNCATED);
            let written = self.writer.datagram(
                own.at.0,
                own.peer,
                own.local,
                event.line,
                comment,
                &mut self.out,
            );
            self.left_out += u64::from(written.is_err());
        }
        self.flush(out)
    }

    fn flush(&mut self, out: &mut impl Write) -> io::Result<()> {
        out.write_all(&self.out)?;
        self.out.clear();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::Encoding;
    use crate::codec::datagram::Record;
    use crate::time::Wall;
    use crate::wire::capture::Reader;

    #[test]
    fn a_capture_holds_datagrams_and_nothing_else() {
        let mut block = Vec::new();
        for (at, truncated) in [(1, false), (2, true)] {
            let peer = Some("192.0.2.1:9".parse().unwrap());
            let record = Record { at: Wall(at), peer, local: peer, truncated, bytes: b"x" };
            record.write(&mut block);
        }
        let mut form = Form::Capture(Box::default());
        let mut out = Vec::new();
        let view = BlockView::whole(&block, Some(Encoding::Datagram), None);
        form.begin(&mut out).unwrap();
        form.begin(&mut out).unwrap();
        form.write(Path::new("a"), &view, &mut out).unwrap();
        let lines = BlockView::whole(b"a\nb\n", Some(Encoding::Raw), None);
        form.write(Path::new("b"), &lines, &mut out).unwrap();
        assert_eq!(form.left_out(), 2);
        let mut reader = Reader::new(&out[..]).unwrap();
        let mut times = Vec::new();
        while let Some(packet) = reader.next_packet().unwrap() {
            times.push(packet.at_ns);
        }
        assert_eq!(times, [Some(1), Some(2)]);
        assert!(out.windows(TRUNCATED.len()).any(|text| text == TRUNCATED.as_bytes()));
    }
}
