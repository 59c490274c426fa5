//! A batch in datagrams, one an event, up to 64 with a system call, from where they stand.
//!
//! UDP has no answers, but a machine without a listener says so (ICMP port unreachable), and the
//! kernel tells it with a later call: the datagram before was refused. So a refusal steps back by
//! what it may be about, and after one the first datagram is a trial: until it has gone a while
//! without a refusal nothing follows it. On the way of `sendmmsg` a refusal in the middle is only
//! seen as a short count; then the next datagram goes alone.

use std::io::{self, ErrorKind};
use std::os::fd::AsFd;
use std::time::Duration;

use mio::net::UdpSocket;

use super::frame::Framer;
use super::load::{Load, Why};
use crate::sys::udp_send::{MESSAGES_MAX, send_pieces};
use crate::time::{Mono, Now};

/// How long a refusal may be on its way.
const TRIAL: Duration = Duration::from_millis(50);

/// When the kernel has no buffer: it does not say when it has one again.
const PAUSE: Duration = Duration::from_millis(1);

pub(super) struct DatagramWriter {
    /// Longer messages lose their end.
    bytes_max: usize,
    /// Messages written anew, one after the other.
    text: Vec<u8>,
    ends: Vec<usize>,
    /// One datagram a call.
    alone: bool,
    /// Events, the last ones taken, that a refusal now would be about.
    doubtful: u32,
    /// The last one taken is a trial until then.
    trial: Option<Mono>,
    /// The next one will be.
    suspicious: bool,
}

/// How far a turn came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sent {
    /// The kernel has all of it.
    All,
    /// It takes no more now, and will tell.
    Blocked,
    /// It takes no more now, and will not tell.
    Later(Mono),
}

/// One datagram of a call.
#[derive(Clone, Copy, Default)]
struct Piece<'a> {
    bytes: &'a [u8],
    cut: bool,
}

impl DatagramWriter {
    pub(super) fn new(bytes_max: usize, text_bytes: usize) -> Self {
        Self {
            bytes_max,
            text: Vec::with_capacity(text_bytes),
            ends: Vec::with_capacity(MESSAGES_MAX),
            alone: true,
            doubtful: 0,
            trial: None,
            suspicious: false,
        }
    }

    /// Before a socket is used; `refused`: the one before it failed.
    pub(super) fn connected(&mut self, refused: bool) {
        (self.alone, self.doubtful, self.trial) = (true, 0, None);
        self.suspicious = refused;
    }

    /// Whether the last datagram may yet turn out to be refused.
    pub(super) fn is_on_trial(&self) -> bool {
        self.suspicious || self.trial.is_some()
    }

    /// Sends what the kernel takes. After an error `load` stands before what was refused.
    pub(super) fn write(
        &mut self,
        load: &mut Load,
        framer: &mut Framer,
        socket: &UdpSocket,
        now: Now,
    ) -> io::Result<Sent> {
        framer.turn_to(load.page());
        loop {
            if let Some(until) = self.trial {
                self.check(load, socket)?;
                if now.mono < until {
                    return Ok(Sent::Later(until));
                }
                (self.trial, self.doubtful) = (None, 0);
            }
            if load.taken == load.count() {
                // The last one, too, while its event is still here to be sent again.
                self.doubtful = self.doubtful.max(1);
                self.check(load, socket)?;
                self.doubtful = 0;
                return Ok(Sent::All);
            }
            match self.call(load, framer, socket) {
                Ok(true) if self.suspicious => {
                    (self.suspicious, self.trial) = (false, Some(now.mono.after(TRIAL)));
                }
                Ok(true) if self.alone => {
                    self.check(load, socket)?;
                    (self.alone, self.doubtful) = (false, 0);
                }
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    self.doubtful = 0;
                    return Ok(Sent::Blocked);
                }
                Err(error) if error.raw_os_error() == Some(libc::ENOBUFS) => {
                    self.doubtful = 0;
                    return Ok(Sent::Later(now.mono.after(PAUSE)));
                }
                Err(error) if error.raw_os_error() == Some(libc::EMSGSIZE) => {
                    // What is in doubt ends with the last one taken, and now that is this one.
                    self.doubtful += u32::from(self.doubtful > 0);
                    refuse(load);
                }
                Err(error) => {
                    self.doubtful = self.doubtful.max(1);
                    self.step_back(load);
                    return Err(error);
                }
            }
        }
    }

    /// One system call; false when it took fewer than it was given.
    fn call(
        &mut self,
        load: &mut Load,
        framer: &mut Framer,
        socket: &UdpSocket,
    ) -> io::Result<bool> {
        let most = if self.alone { 1 } else { MESSAGES_MAX };
        let mut pieces = [Piece::default(); MESSAGES_MAX];
        let events = load.events(load.taken).take(most);
        let mut count = 0;
        self.text.clear();
        self.ends.clear();
        for (event, _) in events {
            match framer.datagram(&event, &mut self.text) {
                Some(bytes) => pieces[count].bytes = bytes,
                None => self.ends.push(self.text.len()),
            }
            count += 1;
        }
        let mut start = 0;
        for (piece, end) in pieces.iter_mut().zip(&self.ends) {
            piece.bytes = &self.text[start..*end];
            start = *end;
        }
        for piece in &mut pieces[..count] {
            piece.cut = piece.bytes.len() > self.bytes_max;
            piece.bytes = &piece.bytes[..piece.bytes.len().min(self.bytes_max)];
        }
        let texts = pieces[..count].iter().map(|piece| piece.bytes);
        let sent = send_pieces(socket.as_fd(), texts)?;
        let done = &pieces[..sent];
        let bytes: usize = done.iter().map(|piece| piece.bytes.len()).sum();
        let cut = done.iter().filter(|piece| piece.cut).count();
        load.tally.sent_bytes += bytes as u64;
        load.tally.truncated_events += cut as u64;
        load.taken += sent as u32;
        if sent < count {
            // The next one met an error that the call does not tell: it is about the last one.
            (self.alone, self.doubtful) = (true, 1);
        } else {
            self.doubtful += u32::from(self.alone);
        }
        Ok(sent == count)
    }

    /// Asks whether a datagram was refused meanwhile.
    fn check(&mut self, load: &mut Load, socket: &UdpSocket) -> io::Result<()> {
        match socket.take_error()? {
            None => Ok(()),
            Some(error) => {
                self.step_back(load);
                Err(error)
            }
        }
    }

    fn step_back(&mut self, load: &mut Load) {
        load.step_back(load.taken.saturating_sub(self.doubtful));
        self.doubtful = 0;
    }
}

/// It is longer than this socket or route takes, and will not become shorter.
fn refuse(load: &mut Load) {
    load.tally.refuse(load.index(load.taken), Why::TooLong);
    load.taken += 1;
}
