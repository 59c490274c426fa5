//! The one sender of all cases: composed text over connections, or as datagrams at a rate.

use crate::text::Text;
use flumen::sys::udp_send;
use flumen::wire::tls::client::{Options, Setup, Trust};
use flumen::wire::tls::session::{SCRATCH_BYTES, Session};
use std::io::{self, ErrorKind, Write};
use std::net::{Ipv4Addr, TcpStream, UdpSocket};
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

/// How the lines are dealt to connections.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Stream {
    pub(crate) connections: usize,
    /// Whole lines up to so many bytes go into one write; less than a line: one line a write.
    pub(crate) write_bytes: usize,
    /// Lines a second; `None`: as fast as they are taken.
    pub(crate) rate: Option<u32>,
}

/// Open connections to one receiver.
pub(crate) struct Connections<'a> {
    text: &'a Text,
    streams: Vec<TcpStream>,
    /// Of each stream, when they speak TLS.
    sessions: Vec<Session>,
    write_bytes: usize,
    rate: Option<u32>,
    /// The next message of the text, and the next connection.
    message: usize,
    turn: usize,
}

impl<'a> Connections<'a> {
    pub(crate) fn open(text: &'a Text, port: u16, shape: Stream) -> io::Result<Self> {
        let connect = |_| {
            let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port))?;
            stream.set_nodelay(true)?;
            Ok(stream)
        };
        let streams = (0..shape.connections).map(connect).collect::<io::Result<_>>()?;
        let (sessions, Stream { write_bytes, rate, .. }) = (Vec::new(), shape);
        Ok(Self { text, streams, sessions, write_bytes, rate, message: 0, turn: 0 })
    }

    /// Agrees on TLS with the receiver, whoever that is.
    pub(crate) fn secure(&mut self) -> io::Result<()> {
        let setup = Setup::new(Options { trust: Trust::Anybody, ..Options::default() });
        let setup = setup.map_err(io::Error::other)?;
        let mut scratch = vec![0; SCRATCH_BYTES];
        for stream in &mut self.streams {
            let mut session = setup.session("localhost").map_err(io::Error::other)?;
            while !session.advance(stream, &mut scratch)? {}
            self.sessions.push(session);
        }
        Ok(())
    }

    /// Writes so many lines at the shape's rate, a hundredth of a second's at a time.
    pub(crate) fn send(&mut self, events: u64) -> io::Result<()> {
        let Some(rate) = self.rate.map(u64::from) else { return self.send_now(events) };
        let (began, mut sent) = (Instant::now(), 0);
        while sent < events {
            let portion = (rate / 100).max(1).min(events - sent);
            self.send_now(portion)?;
            sent += portion;
            let due = Duration::from_secs_f64(sent as f64 / rate as f64);
            std::thread::sleep(due.saturating_sub(began.elapsed()));
        }
        Ok(())
    }

    /// Writes so many lines, one connection after the other; waits where a receiver makes it wait.
    fn send_now(&mut self, events: u64) -> io::Result<()> {
        let ends = self.text.ends();
        let mut left = events;
        while left > 0 {
            let start = self.text.start(self.message);
            let last = usize::try_from(left).unwrap_or(usize::MAX).min(ends.len() - self.message);
            let room = ends[self.message..self.message + last]
                .partition_point(|end| end - start <= self.write_bytes);
            let count = room.max(1);
            let end = ends[self.message + count - 1];
            let (stream, bytes) = (&mut self.streams[self.turn], &self.text.bytes()[start..end]);
            match self.sessions.get_mut(self.turn) {
                None => stream.write_all(bytes)?,
                Some(session) => {
                    let mut taken = 0;
                    while taken < bytes.len() {
                        taken += session.write(stream, &bytes[taken..])?;
                    }
                }
            }
            self.turn = (self.turn + 1) % self.streams.len();
            self.message = (self.message + count) % ends.len();
            left -= count as u64;
        }
        Ok(())
    }
}

impl Drop for Connections<'_> {
    fn drop(&mut self) {
        for (session, stream) in self.sessions.iter_mut().zip(&mut self.streams) {
            session.close(stream);
        }
    }
}

/// A socket that sends datagrams to one receiver.
pub(crate) struct Datagrams<'a> {
    text: &'a Text,
    socket: UdpSocket,
    /// So many go to the kernel as one buffer that it cuts itself.
    group: usize,
    message: usize,
}

const SEND_BUFFER_BYTES: usize = 4 << 20;
/// How long the sender sleeps when nothing is due.
const NAP: Duration = Duration::from_micros(100);

impl<'a> Datagrams<'a> {
    /// `segments`: all messages of the text are of one length, and the kernel shall cut them.
    pub(crate) fn open(text: &'a Text, port: u16, segments: bool) -> io::Result<Self> {
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
        socket.connect((Ipv4Addr::LOCALHOST, port))?;
        socket2::SockRef::from(&socket).set_send_buffer_size(SEND_BUFFER_BYTES)?;
        let mut group = 1;
        if segments {
            let length = text.ends()[0];
            let bytes = u16::try_from(length).expect("messages are shorter than 64 KiB");
            udp_send::set_segment_bytes(socket.as_fd(), bytes)?;
            group = (udp_send::MESSAGE_BYTES_MAX / length).min(udp_send::SEGMENTS_MAX);
        }
        Ok(Self { text, socket, group, message: 0 })
    }

    /// Sends `events` datagrams, at most `rate` a second (`None`: as fast as the kernel takes
    /// them). Returns how many that were, which may be a few more with segments.
    pub(crate) fn send(&mut self, events: u64, rate: Option<f64>) -> io::Result<u64> {
        let began = Instant::now();
        let mut sent = 0;
        while sent < events {
            let due = match rate {
                None => events,
                Some(rate) => ((began.elapsed().as_secs_f64() * rate) as u64).min(events),
            };
            if due <= sent {
                std::thread::sleep(NAP);
                continue;
            }
            sent += self.batch(due - sent)?;
        }
        Ok(sent)
    }

    /// One call: as many of `due` as it carries.
    fn batch(&mut self, due: u64) -> io::Result<u64> {
        let ends = &self.text.ends()[self.message..];
        let start = self.text.start(self.message);
        let groups = (due as usize).div_ceil(self.group).min(udp_send::MESSAGES_MAX);
        let count = (groups * self.group).min(ends.len());
        let cuts = ends[..count].chunks(self.group).map(|group| group[group.len() - 1] - start);
        match udp_send::send(self.socket.as_fd(), &self.text.bytes()[start..], cuts) {
            Ok(taken) => {
                let messages = (taken * self.group).min(count);
                self.message = (self.message + messages) % self.text.ends().len();
                Ok(messages as u64)
            }
            // The queue is full, or an earlier datagram found nobody: the same ones once more.
            Err(error)
                if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::ConnectionRefused)
                    || error.raw_os_error() == Some(libc::ENOBUFS) =>
            {
                std::thread::yield_now();
                Ok(0)
            }
            Err(error) => Err(error),
        }
    }
}
