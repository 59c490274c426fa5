//! Where a replay goes: datagrams one by one, or a stream of frames.

use std::io::{self, ErrorKind, Write};
use std::os::fd::AsFd;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crate::archive::tape::Reel;
use crate::load::link::{Link, Ways};
use crate::load::{Framing, Target};
use crate::sys::udp_send::{self, MESSAGES_MAX};

/// Between two attempts while the kernel or the receiver has no room.
const PAUSE: Duration = Duration::from_micros(200);
/// How long the receiver may take for the rest after a stop, and to close after the end.
const GOODBYE: Duration = Duration::from_secs(2);
/// Frames that are written at once.
const FRAMES_BYTES: usize = 64 << 10;

pub(super) struct Outlet {
    link: Link,
    framing: Framing,
    /// Frames on their way into a stream.
    frames: Vec<u8>,
    pub(super) refused: u64,
    pub(super) too_long: u64,
    pub(super) torn: u64,
}

/// What became of some events.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Sent {
    /// From the first on: dealt with.
    pub(super) taken: usize,
    /// Of those, left out.
    pub(super) left_out: usize,
}

impl Outlet {
    pub(super) fn open(target: &Target, framing: Framing) -> io::Result<Self> {
        let link = Link::connect(target, &Ways { gso: None, tls: None, window: 0 })?;
        let frames = Vec::new();
        Ok(Self { link, framing, frames, refused: 0, too_long: 0, torn: 0 })
    }

    /// Sends events from `from` on, up to `to`, as many as go at once. None of them: try again.
    pub(super) fn send(
        &mut self,
        reel: &Reel,
        from: usize,
        to: usize,
        stop: &AtomicBool,
    ) -> io::Result<Sent> {
        if let Link::Datagrams { socket, .. } = &self.link {
            let to = to.min(from + MESSAGES_MAX);
            let texts = (from..to).map(|index| reel.text(index));
            return match udp_send::send_pieces(socket.as_fd(), texts) {
                Ok(taken) => Ok(Sent { taken, left_out: 0 }),
                Err(error) if error.raw_os_error() == Some(libc::EMSGSIZE) => {
                    self.too_long += 1;
                    Ok(Sent { taken: 1, left_out: 1 })
                }
                // The answer to an earlier one, which nobody wanted; this one was not sent.
                Err(error) if error.kind() == ErrorKind::ConnectionRefused => {
                    self.refused += 1;
                    Ok(Sent::default())
                }
                Err(error) if waits(&error) => {
                    std::thread::sleep(PAUSE);
                    Ok(Sent::default())
                }
                Err(error) => Err(error),
            };
        }
        let taken = self.frame(reel, from, to);
        self.push(stop)?;
        Ok(Sent { taken, left_out: 0 })
    }

    /// Puts events into frames; says how many.
    fn frame(&mut self, reel: &Reel, from: usize, to: usize) -> usize {
        self.frames.clear();
        for index in from..to {
            if index > from && self.frames.len() >= FRAMES_BYTES {
                return index - from;
            }
            let text = reel.text(index);
            match self.framing {
                Framing::Newline => {
                    self.torn += u64::from(memchr::memchr(b'\n', text).is_some());
                    self.frames.extend_from_slice(text);
                    self.frames.push(b'\n');
                }
                Framing::Octet => {
                    write!(self.frames, "{} ", text.len()).expect("a vector takes everything");
                    self.frames.extend_from_slice(text);
                }
            }
        }
        to - from
    }

    /// Writes all frames, for as long as the receiver takes.
    fn push(&mut self, stop: &AtomicBool) -> io::Result<()> {
        let (mut at, mut pauses) = (0, 0);
        while at < self.frames.len() {
            match self.link.write(&self.frames[at..]) {
                Ok(0) => return Err(ErrorKind::WriteZero.into()),
                Ok(written) => at += written,
                Err(error) if waits(&error) => {
                    pauses += u32::from(stop.load(Ordering::Relaxed));
                    if PAUSE * pauses >= GOODBYE {
                        return Err(io::Error::other("the receiver takes nothing"));
                    }
                    std::thread::sleep(PAUSE);
                }
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Says that nothing more comes, and waits until the receiver has read the rest and closed.
    pub(super) fn finish(&mut self) -> io::Result<()> {
        let finished = match self.link.finish() {
            Err(error) if error.kind() == ErrorKind::ConnectionRefused => {
                self.refused += 1;
                Ok(false)
            }
            other => other,
        };
        let mut pauses = 0;
        while finished.as_ref().is_ok_and(|wait| *wait) && PAUSE * pauses < GOODBYE {
            if self.link.is_closed()? {
                break;
            }
            std::thread::sleep(PAUSE);
            pauses += 1;
        }
        finished.map(drop)
    }
}

fn waits(error: &io::Error) -> bool {
    // ENOBUFS: a queue below the socket is full.
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted)
        || error.raw_os_error() == Some(libc::ENOBUFS)
}
