//! `compression`: what it may be, and streams that come compressed, as rsyslog sends them.
//! Messages that do one by one are in `single`.
//!
//! ```text
//!   link ──▶ input, 8 KiB ──inflate──▶ page         a read brings no more than it has room for
//! ```
//! With `stream:always` the bytes of a connection, frames and lines alike, are one zlib stream (RFC
//! 1950), flushed after each batch of the sender's. However much a few bytes expand to, a read
//! brings what fits, and the reactor bounds a visit by what came of it: a bomb is a fast sender,
//! and waits its turn as such. What was expanded before a stream broke is kept.

use std::io;

use flate2::{Decompress, FlushDecompress, Status};

use super::complaints::Complaints;
use super::link::Link;
use super::listen::Listen;
use super::protocol::Speech;
use super::single::{self, Expander};
use crate::config::{OptionDoc, Section};
use crate::event::Origin;
use crate::telemetry::SourceCounters;
use crate::telemetry::incident::Watch;
use crate::time::Now;

pub const COMPRESSION: OptionDoc = OptionDoc {
    name: "compression",
    default: Some(""),
    doc: "senders compress, as rsyslog does, their streams or some of their messages: \
          { mode = \"stream:always\" } or \"single\"",
};

const DOCS: &[OptionDoc] = &[
    OptionDoc {
        name: "mode",
        default: Some("none"),
        doc: "rsyslog's compression.mode: none, single, stream:always",
    },
    OptionDoc {
        name: "connections_max",
        default: Some("1000"),
        doc: "open connections that are compressed; each has 64 KiB in the memory sum, with \
              `single` 8 KiB and the longest event",
    },
];

const INPUT_BYTES: usize = 8 << 10;

/// Of a compressed connection: its input, the window of 32 KiB and the tables of inflate.
pub const INFLATE_BYTES: usize = 64 << 10;

/// What is compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Whole streams of lines and frames.
    Streams,
    /// Messages, one by one.
    Single,
}

/// Valid once built.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Compression {
    pub mode: Mode,
    pub connections_max: usize,
}

/// Reads the table; none where nobody compresses. `counted`: streams may have counted frames.
pub fn plan(section: &Section, listens: &[Listen], counted: bool) -> Option<Compression> {
    let table = section.subsection(COMPRESSION.name, DOCS);
    if !section.explicit(COMPRESSION.name) {
        return None;
    }
    let modes =
        [("none", None), ("single", Some(Mode::Single)), ("stream:always", Some(Mode::Streams))];
    let mode = table.choice("mode", &modes);
    let connections_max = table.integer("connections_max", 1..=1_000_000) as usize;
    if !table.explicit("mode") && !section.diagnostics().has_errors() {
        let what = format!("{} says nothing to expand", table.title());
        table.fail_here(what, "write `mode = \"stream:always\"` or `mode = \"single\"`");
    }
    let lines = |listen: &Listen| {
        listen.transport.has_streams() && listen.transport.speech() == Speech::Lines
    };
    let takes = |listen: &Listen| match mode {
        None => true,
        Some(Mode::Streams) => lines(listen),
        Some(Mode::Single) => lines(listen) || listen.transport.has_datagrams(),
    };
    if !listens.is_empty() && !listens.iter().any(takes) {
        let what = "nothing listens for streams that are compressed";
        section.warn("compression", what, "add \"tcp://0.0.0.0:5514\" to `listen`");
    }
    if mode == Some(Mode::Single) && !counted && listens.iter().any(lines) {
        let what = "messages that are compressed one by one come in counted frames, and this \
                    source takes lines alone";
        let remedy = "write `type = \"syslog\"` and no `multiline`, or `mode = \"stream:always\"`";
        section.fail("compression", what, remedy);
    }
    mode.map(|mode| Compression { mode, connections_max })
}

/// What is wrong with a compressed stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    #[error("its stream is not compressed (zlib), or is damaged")]
    Broken,
    #[error("its compressed stream ends in the middle")]
    Cut,
}

impl From<Fault> for io::Error {
    fn from(fault: Fault) -> Self {
        Self::new(io::ErrorKind::InvalidData, fault)
    }
}

/// One connection's.
#[derive(Debug)]
pub struct Inflate {
    inflate: Decompress,
    input: Box<[u8]>,
    /// What of the input is still to be expanded.
    from: usize,
    to: usize,
    /// The last read was filled: there may be more without any input.
    filled: bool,
    /// In the middle of a stream.
    open: bool,
    failed: Option<Fault>,
    /// Bytes that came, of which nobody was told.
    untold: usize,
}

impl Default for Inflate {
    fn default() -> Self {
        Self {
            inflate: Decompress::new(true),
            input: vec![0; INPUT_BYTES].into(),
            from: 0,
            to: 0,
            filled: false,
            open: false,
            failed: None,
            untold: 0,
        }
    }
}

impl Inflate {
    /// Reads what there is room for; `WouldBlock` when nothing is there, 0 at the peer's end.
    pub fn read(&mut self, link: &mut Link, into: &mut [u8]) -> io::Result<usize> {
        self.read_by(into, |input| link.read(input))
    }

    fn read_by(
        &mut self,
        into: &mut [u8],
        mut more: impl FnMut(&mut [u8]) -> io::Result<usize>,
    ) -> io::Result<usize> {
        loop {
            if let Some(fault) = self.failed {
                return Err(fault.into());
            }
            if self.is_pending() {
                let count = self.expand(into);
                if count > 0 {
                    return Ok(count);
                }
                continue;
            }
            let count = more(&mut self.input)?;
            if count == 0 {
                return if self.open { Err(Fault::Cut.into()) } else { Ok(0) };
            }
            (self.from, self.to, self.open) = (0, count, true);
            self.untold += count;
        }
    }

    fn expand(&mut self, into: &mut [u8]) -> usize {
        let before = (self.inflate.total_in(), self.inflate.total_out());
        let input = &self.input[self.from..self.to];
        let status = self.inflate.decompress(input, into, FlushDecompress::None);
        let taken = (self.inflate.total_in() - before.0) as usize;
        let count = (self.inflate.total_out() - before.1) as usize;
        self.from += taken;
        self.filled = count == into.len();
        match status {
            Ok(Status::StreamEnd) => {
                // Another one may follow.
                self.inflate.reset(true);
                (self.filled, self.open) = (false, self.from < self.to);
            }
            Ok(_) if taken > 0 || count > 0 || self.from == self.to => {}
            // Neither took anything nor gave anything.
            Ok(_) | Err(_) => self.failed = Some(Fault::Broken),
        }
        count
    }

    /// Whether there may be more without any input.
    fn is_pending(&self) -> bool {
        self.from < self.to || self.filled
    }

    pub fn untold_bytes(&self) -> usize {
        self.untold
    }

    /// Bytes that came since this was asked last, as they came. The last one is told when nothing
    /// of them is left to expand.
    pub fn take_told(&mut self) -> usize {
        let kept = usize::from(self.is_pending()).min(self.untold);
        std::mem::replace(&mut self.untold, kept) - kept
    }
}

/// One worker's: each broken stream and message is told.
pub struct Inflations {
    /// Streams, and messages.
    complaints: Complaints<2>,
    expander: Option<Expander>,
}

impl Inflations {
    /// `expander`: none where no message is compressed by itself.
    pub fn new(expander: Option<Expander>, watch: Watch) -> Self {
        Self { complaints: Complaints::new(watch), expander }
    }

    pub fn expander(&self) -> Option<&Expander> {
        self.expander.as_ref()
    }

    /// Messages were kept as they came: this connection's, or datagrams.
    pub fn kept(&mut self, origin: Option<Origin>, counters: &SourceCounters, now: Now) {
        let faults = self.expander.as_ref().and_then(Expander::take_faults);
        let Some((count, fault, peer)) = faults else { return };
        counters.errors.add(count);
        let peer = origin.map_or(peer, |origin| origin.peer);
        let who = peer.map_or_else(|| "a sender".to_owned(), |peer| peer.to_string());
        let remedy = match fault {
            single::Fault::Broken => "have it send with compression.mode=\"single\" (rsyslog)",
            single::Fault::Long => "raise `event_max`",
        };
        let what = format!("{who}: {fault}: it is kept as it came, and marked unparsed; {remedy}");
        self.complaints.tell(1, now, what);
    }

    /// A connection failed: perhaps by this.
    pub fn failed(&mut self, origin: Origin, error: &io::Error, now: Now) {
        let fault = error.get_ref().and_then(|inner| inner.downcast_ref::<Fault>());
        let Some(fault) = fault else { return };
        let who = origin.peer.map_or_else(|| "a sender".to_owned(), |peer| peer.to_string());
        let remedy = "what came before is kept, and the connection closed; have it send with \
                      compression.mode=\"stream:always\" (rsyslog), or to a source without \
                      `compression`";
        self.complaints.tell(0, now, format!("{who}: {fault}: {remedy}"));
    }

    pub fn tick(&mut self, now: Now) {
        self.complaints.tick(now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use flate2::Compression;
    use flate2::write::ZlibEncoder;
    use proptest::prelude::*;
    use std::io::{Read, Write};

    fn pack(text: &[u8]) -> Vec<u8> {
        let mut encoder = ZlibEncoder::new(Vec::new(), Compression::default());
        encoder.write_all(text).unwrap();
        encoder.finish().unwrap()
    }

    /// All that comes of these bytes in pieces of `part`, by reads of `room`; and how it ended.
    fn unpack(bytes: &[u8], part: usize, room: usize) -> (Vec<u8>, Option<Fault>) {
        let (mut inflate, mut left) = (Inflate::default(), bytes);
        let (mut out, mut into, mut told) = (Vec::new(), vec![0; room], 0);
        let end = loop {
            let read =
                inflate.read_by(&mut into, |input| left.by_ref().take(part as u64).read(input));
            told += inflate.take_told();
            assert!(told < bytes.len() || !inflate.is_pending(), "told before it was given");
            match read {
                Ok(0) => break None,
                Ok(count) => out.extend_from_slice(&into[..count]),
                Err(error) => {
                    let fault = error.get_ref().and_then(|it| it.downcast_ref()).copied();
                    break Some(fault.expect("nothing else fails here"));
                }
            }
        };
        (out, end)
    }

    proptest! {
        #[test]
        fn what_comes_is_what_was_packed(
            texts in prop::collection::vec("[a-c\n]{0,300}", 1..5),
            part in 1..300_usize,
            room in 1..500_usize,
            cut in 0.0..1.0,
            wrong in 0.0..1.0,
        ) {
            // Several streams, one behind the other.
            let packed: Vec<u8> = texts.iter().flat_map(|text| pack(text.as_bytes())).collect();
            let whole = texts.concat().into_bytes();
            prop_assert_eq!(unpack(&packed, part, room), (whole.clone(), None));
            let place = |share: f64| (share * packed.len() as f64) as usize;
            // What came before the end is kept, and what is missing told.
            let (front, end) = unpack(&packed[..place(cut)], part, room);
            prop_assert!(whole.starts_with(&front), "{:?}", front);
            let mut ends = texts.iter().scan(0, |end, text| {
                *end += pack(text.as_bytes()).len();
                Some(*end)
            });
            let between = place(cut) == 0 || ends.any(|end| end == place(cut));
            prop_assert_eq!(end, (!between).then_some(Fault::Cut));
            // Anything may come of damage, but no more than there is room for; and what it says of
            // its own sum is checked.
            let mut damaged = packed.clone();
            damaged[place(wrong)] ^= 0x55;
            unpack(&damaged, part, room);
            let mut damaged = packed.clone();
            damaged[packed.len() - 1 - place(wrong) % 4] ^= 0x55;
            let (found, end) = unpack(&damaged, part, room);
            prop_assert!(end.is_some(), "it is checked: {:?}", found);
        }
    }

    #[test]
    fn a_bomb_gives_what_there_is_room_for() {
        let packed = pack(&vec![b'\n'; 50 << 20]);
        assert!(packed.len() < 64 << 10);
        let (mut inflate, mut left, mut all) = (Inflate::default(), &packed[..], 0);
        let mut into = vec![0; 4096];
        loop {
            let read = inflate.read_by(&mut into, |input| left.read(input));
            match read.unwrap() {
                0 => break,
                count => all += count,
            }
        }
        assert_eq!(all, 50 << 20);
    }

    #[test]
    fn plain_text_is_told_from_a_stream() {
        assert_eq!(unpack(b"<13>hello\n", 99, 99), (Vec::new(), Some(Fault::Broken)));
        assert_eq!(unpack(b"", 9, 9), (Vec::new(), None));
    }

    #[test]
    fn the_row_is_read() {
        use crate::source::SOURCES;
        for (listen, row, told) in [
            ("tcp://[::]:0", "{ mode = 'stream:always' }", None),
            ("tcp://[::]:0", "{ mode = 'none', connections_max = 5 }", None),
            ("udp://[::]:0", "{ mode = 'stream:always' }", Some("nothing listens for streams")),
            ("udp://[::]:0", "{ mode = 'single' }", None),
            ("relp://[::]:0", "{ mode = 'single' }", Some("nothing listens for streams")),
            (
                "tcp://[::]:0'\nmultiline = { start = 'x' }\nzone = 'UTC",
                "{ mode = 'single' }",
                Some("takes lines alone"),
            ),
            ("tcp://[::]:0", "{}", Some("says nothing to expand")),
            ("tcp://[::]:0", "{ mode = 'gzip' }", Some("gzip")),
            (
                "tcp://[::]:0",
                "{ mode = 'stream:always', connections_max = 0 }",
                Some("0 is below 1"),
            ),
            ("tcp://[::]:0", "'stream:always'", Some("expected a table")),
        ] {
            let kind = SOURCES.iter().find(|it| it.name == "syslog").unwrap();
            let text = format!("listen = '{listen}'\ncompression = {row}");
            let section = Section::parse(&text, kind.options);
            (kind.plan)(&section);
            section.finish();
            let lines = section.diagnostics().lines();
            match told {
                None => assert_eq!(lines, Vec::<String>::new(), "{row}"),
                Some(told) => {
                    assert!(lines.len() == 1 && lines[0].contains(told), "{row}: {lines:?}");
                }
            }
        }
    }
}
