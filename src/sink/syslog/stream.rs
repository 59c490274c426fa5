//! A batch over a byte stream: frames into a bounded buffer, and from it what the peer takes now.
//!
//! ```text
//!   page ──frames──▶ text (64 KiB) ──write──▶ kernel
//! ```
//! Where a batch is lines already, and lines are asked for, it is written from where it stands. A
//! batch is sent when the kernel has its last byte. When the connection breaks before that, the
//! next one begins with the batch's first event: no event is ever sent in halves, and what had
//! arrived comes twice.

use std::io::{self, ErrorKind, Read, Write};
use std::net::Shutdown;

use mio::net::TcpStream;

use super::frame::Framer;
use super::load::Load;

/// Framed at a time.
pub(super) const TEXT_BYTES: usize = 64 << 10;

/// Bytes to and from a peer, never blocking.
pub(super) trait Conduit: Send {
    /// Goes on agreeing with the peer on how to talk; true once that is done.
    fn advance(&mut self) -> io::Result<bool> {
        Ok(true)
    }

    /// Agreed as it is, the peer may still say that it does not want us.
    fn may_be_refused(&self) -> bool {
        false
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<usize>;

    /// What was written is with the kernel.
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }

    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize>;

    /// Nothing more will be written.
    fn finish(&mut self) -> io::Result<()>;
}

impl Conduit for TcpStream {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        Write::write(self, bytes)
    }

    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        Read::read(self, bytes)
    }

    fn finish(&mut self) -> io::Result<()> {
        self.shutdown(Shutdown::Write)
    }
}

/// Where a stream stands in a batch.
#[derive(Default)]
pub(super) struct StreamWriter {
    text: Vec<u8>,
    /// Bytes of `text`, or of the page when it goes as it is, that are out.
    written: usize,
    as_is: bool,
}

/// How far a turn came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sent {
    /// The kernel has all of it.
    All,
    /// It takes no more now, and will tell.
    Blocked,
}

impl StreamWriter {
    pub(super) fn new(text_bytes: usize) -> Self {
        Self { text: Vec::with_capacity(text_bytes), ..Self::default() }
    }

    /// The next batch, or the same on another connection.
    pub(super) fn start(&mut self, load: &Load, framer: &mut Framer) {
        self.text.clear();
        self.written = 0;
        self.as_is = load.taken == 0 && load.is_whole() && framer.as_is(load.page()).is_some();
        framer.turn_to(load.page());
    }

    pub(super) fn write(
        &mut self,
        load: &mut Load,
        framer: &mut Framer,
        conduit: &mut dyn Conduit,
    ) -> io::Result<Sent> {
        let events = load.count();
        loop {
            let text = match load.page().contiguous() {
                Some(bytes) if self.as_is && load.taken < events => bytes,
                _ => &self.text[..],
            };
            while self.written < text.len() {
                match conduit.write(&text[self.written..]) {
                    Ok(0) => return Err(ErrorKind::WriteZero.into()),
                    Ok(count) => self.written += count,
                    Err(error) if error.kind() == ErrorKind::Interrupted => {}
                    Err(error) if error.kind() == ErrorKind::WouldBlock => {
                        return Ok(Sent::Blocked);
                    }
                    Err(error) => return Err(error),
                }
            }
            load.tally.sent_bytes += std::mem::take(&mut self.written) as u64;
            self.text.clear();
            if self.as_is {
                load.taken = events;
            }
            if load.taken == events {
                break;
            }
            let mut tally = std::mem::take(&mut load.tally);
            let left = load.events(load.taken);
            let taken = framer.fill(left, &mut tally, TEXT_BYTES, &mut self.text);
            (load.taken, load.tally) = (load.taken + taken, tally);
        }
        match conduit.flush() {
            Ok(()) => Ok(Sent::All),
            Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(Sent::Blocked),
            Err(error) => Err(error),
        }
    }
}
