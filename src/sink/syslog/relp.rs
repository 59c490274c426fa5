//! A batch over RELP: an event is written when the peer has acknowledged it, and what has no answer
//! when the connection breaks is sent again on the next one. So none is lost, and some may come
//! twice: the peer may have taken what it could no longer answer. What it refuses is no business of
//! this file: the load says what is to be sent.

use std::io::{self, ErrorKind};

use super::frame::Framer;
use super::load::{Load, Why};
use super::stream::{Conduit, Sent, TEXT_BYTES};
use crate::event::Event;
use crate::wire::relp::{Answer, Client};

/// Read with one call; a reply has about 15 bytes.
const READ_BYTES: usize = 4 << 10;

pub(super) struct RelpWriter {
    client: Client,
    out: Vec<u8>,
    /// Bytes of `out` that are with the kernel.
    written: usize,
    /// A message written anew.
    scratch: Vec<u8>,
    opened: bool,
}

impl RelpWriter {
    pub(super) fn new(window: u32, text_bytes: usize) -> Self {
        Self {
            client: Client::new(window),
            out: Vec::with_capacity(text_bytes),
            written: 0,
            scratch: Vec::new(),
            opened: false,
        }
    }

    /// Before a new connection is used.
    pub(super) fn connected(&mut self) {
        self.out.clear();
        (self.written, self.opened) = (0, false);
    }

    /// Opens the session; true once the peer has agreed.
    pub(super) fn advance(&mut self, conduit: &mut dyn Conduit) -> io::Result<bool> {
        if !std::mem::replace(&mut self.opened, true) {
            self.client.open(&mut self.out);
        }
        self.push(conduit)?;
        self.hear(conduit, None)?;
        Ok(self.client.is_open())
    }

    /// Hears while there is nothing to send.
    pub(super) fn rest(&mut self, conduit: &mut dyn Conduit) -> io::Result<()> {
        self.hear(conduit, None)
    }

    /// Says goodbye.
    pub(super) fn close(&mut self, conduit: &mut dyn Conduit) -> io::Result<()> {
        self.client.close(&mut self.out);
        self.push(conduit).map(|_| ())
    }

    /// The peer has said goodbye, too, or is gone.
    pub(super) fn is_over(&mut self, conduit: &mut dyn Conduit) -> bool {
        self.hear(conduit, None).is_err() || self.client.is_away()
    }

    pub(super) fn write(
        &mut self,
        load: &mut Load,
        framer: &mut Framer,
        conduit: &mut dyn Conduit,
    ) -> io::Result<Sent> {
        framer.turn_to(load.page());
        loop {
            self.hear(conduit, Some(load))?;
            if load.settled() == load.count() {
                load.conclude();
                return Ok(Sent::All);
            }
            let before = self.out.len();
            self.fill(load, framer);
            let filled = self.out.len() > before;
            let sent = self.push(conduit)?;
            load.tally.sent_bytes += sent as u64;
            if !filled && sent == 0 {
                return Ok(Sent::Blocked);
            }
        }
    }

    /// Frames as many events as the window and the buffer take.
    fn fill(&mut self, load: &mut Load, framer: &mut Framer) {
        let mut taken = load.taken;
        for (event, _) in load.events(taken) {
            if self.client.room() == 0 || self.out.len() >= TEXT_BYTES {
                break;
            }
            self.send(&event, framer);
            taken += 1;
        }
        load.taken = taken;
    }

    fn send(&mut self, event: &Event<'_>, framer: &mut Framer) {
        self.scratch.clear();
        let message = framer.datagram(event, &mut self.scratch).unwrap_or(&self.scratch);
        self.client.send(message, &mut self.out);
    }

    /// Writes what waits; how many bytes were taken.
    fn push(&mut self, conduit: &mut dyn Conduit) -> io::Result<usize> {
        let before = self.written;
        while self.written < self.out.len() {
            match conduit.write(&self.out[self.written..]) {
                Ok(0) => return Err(ErrorKind::WriteZero.into()),
                Ok(count) => self.written += count,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) => return Err(error),
            }
        }
        match conduit.flush() {
            Err(error) if error.kind() != ErrorKind::WouldBlock => return Err(error),
            _ => {}
        }
        let sent = self.written - before;
        if self.written == self.out.len() {
            self.out.clear();
            self.written = 0;
        }
        Ok(sent)
    }

    /// Reads all there is; answers settle events of the load.
    fn hear(&mut self, conduit: &mut dyn Conduit, mut load: Option<&mut Load>) -> io::Result<()> {
        let mut bytes = [0; READ_BYTES];
        loop {
            let count = match conduit.read(&mut bytes) {
                Ok(0) => return Err(io::Error::other("it has closed the connection")),
                Ok(count) => count,
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error),
            };
            let told = |answer| {
                if let Some(load) = &mut load {
                    load.settle(match answer {
                        Answer::Accepted => None,
                        Answer::Refused(code) => Some(Why::Answer(code)),
                    });
                }
            };
            self.client.hear(&bytes[..count], told).map_err(io::Error::other)?;
            if self.client.is_away() && load.is_some() {
                return Err(io::Error::other("it has ended the session"));
            }
        }
    }
}
