//! A lane's RELP session: an event counts as sent when the receiver has acknowledged it.

use std::collections::VecDeque;
use std::io::{self, ErrorKind};
use std::time::Duration;

use super::chunk::{Chunk, Taken};
use super::link::Link;
use crate::time::Mono;
use crate::wire::relp::{Answer, Client};

/// Read with one call; a reply has about 15 bytes.
const READ_BYTES: usize = 4 << 10;

/// Framed and not yet with the kernel.
const OUT_BYTES_MAX: usize = 64 << 10;

/// How often, and how many times, the answer to `open` is looked for: 5 s.
const OPEN_NAP: Duration = Duration::from_millis(1);
const OPEN_NAPS: usize = 5000;

pub(super) struct Relp {
    pub(super) link: Link,
    client: Client,
    out: Vec<u8>,
    /// Bytes of `out` that are with the kernel.
    written: usize,
    /// Of each event that waits for its answer, oldest first: its frame's bytes, when it was due.
    waiting: VecDeque<(u32, Mono)>,
}

/// What was acknowledged.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Heard {
    pub(super) bytes: usize,
    pub(super) taken: Taken,
}

impl Relp {
    /// Opens a session over a connection.
    pub(super) fn open(link: Link, window: u32) -> io::Result<Self> {
        let (client, waiting) = (Client::new(window), VecDeque::with_capacity(window as usize));
        let mut relp = Self { link, client, out: Vec::new(), written: 0, waiting };
        relp.client.open(&mut relp.out);
        for _ in 0..OPEN_NAPS {
            relp.push()?;
            relp.hear(&mut Heard::default())?;
            if relp.client.is_open() {
                return Ok(relp);
            }
            std::thread::sleep(OPEN_NAP);
        }
        let what = "it does not answer as RELP does: is it a RELP port?";
        Err(io::Error::new(ErrorKind::TimedOut, what))
    }

    /// Sends of the chunk what the window takes, and hears what there is. What was acknowledged
    /// before an error is in `heard`.
    pub(super) fn exchange(&mut self, chunk: &mut Chunk, heard: &mut Heard) -> io::Result<()> {
        loop {
            self.hear(heard)?;
            let filled = self.fill(chunk);
            if !self.push()? && !filled {
                return Ok(());
            }
        }
    }

    /// Events that were sent and have no answer.
    pub(super) fn unanswered(&self) -> u64 {
        self.waiting.len() as u64
    }

    pub(super) fn is_pushed(&mut self) -> bool {
        self.written == self.out.len() && self.link.is_pushed()
    }

    /// Says goodbye.
    pub(super) fn finish(&mut self) -> io::Result<()> {
        self.client.close(&mut self.out);
        self.push().map(|_| ())
    }

    /// The receiver has said goodbye, too, or is gone. What it acknowledges meanwhile counts no
    /// more.
    pub(super) fn is_over(&mut self) -> bool {
        let said = self.push().and_then(|_| self.hear(&mut Heard::default()));
        said.is_err() || self.client.is_away()
    }

    /// True: there was something to frame, and room for it.
    fn fill(&mut self, chunk: &mut Chunk) -> bool {
        let before = self.out.len();
        while self.client.room() > 0 && self.out.len() - self.written < OUT_BYTES_MAX {
            let Some(end) = chunk.ends(1).next() else { break };
            let start = self.out.len();
            self.client.send(&chunk.rest()[..end], &mut self.out);
            let due = chunk.take_events(1).first_due;
            self.waiting.push_back(((self.out.len() - start) as u32, due));
        }
        self.out.len() > before
    }

    /// Writes what waits; true when some of it was taken.
    fn push(&mut self) -> io::Result<bool> {
        let before = self.written;
        while self.written < self.out.len() {
            match self.link.write(&self.out[self.written..]) {
                Ok(count) => self.written += count,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) => return Err(error),
            }
        }
        let moved = self.written > before;
        if self.written == self.out.len() || self.written > OUT_BYTES_MAX {
            self.out.drain(..self.written);
            self.written = 0;
        }
        // What TLS keeps back goes, too.
        self.link.is_pushed();
        Ok(moved)
    }

    fn hear(&mut self, heard: &mut Heard) -> io::Result<()> {
        let mut bytes = [0; READ_BYTES];
        loop {
            let count = match self.link.read(&mut bytes) {
                Ok(0) => return Err(io::Error::other("it has closed the connection")),
                Ok(count) => count,
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error),
            };
            let (mut refused, waiting) = (false, &mut self.waiting);
            let told = |answer| {
                refused |= answer != Answer::Accepted;
                // Numbers that were sent have no gap: behind a refusal nothing counts.
                if let Some((bytes, due)) = waiting.front().filter(|_| !refused) {
                    heard.add(*bytes, *due);
                    waiting.pop_front();
                }
            };
            self.client.hear(&bytes[..count], told).map_err(io::Error::other)?;
            if refused {
                return Err(io::Error::other("the receiver refuses a message"));
            }
            if self.client.is_away() && !self.waiting.is_empty() {
                return Err(io::Error::other("it has ended the session"));
            }
        }
    }
}

impl Heard {
    fn add(&mut self, bytes: u32, due: Mono) {
        self.bytes += bytes as usize;
        if self.taken.events == 0 {
            self.taken.first_due = due;
        }
        self.taken.events += 1;
        self.taken.last_due = due;
    }
}
