//! One TLS connection: what a socket brings becomes text, and text what a socket takes.
//!
//! ```text
//!   socket ──▶ scratch (shared by all sessions of a worker) ──records──▶ text in the caller's room
//!                 │ what makes no whole record
//!                 ▼
//!               rest (of this session; no memory between records)
//! ```
//! The socket is whatever reads and writes without blocking; a session never waits. What it has to
//! say itself goes out in `push`, which everything else calls too. Memory: beside rustls' state at
//! most `SESSION_BYTES_MAX`, whatever the peer does; an idle session keeps no buffer.
//!
//! rustls is used without its own buffers: those take 4 KiB a call, and clear and copy it twice.

use std::io::{self, ErrorKind, Read, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use rustls::client::UnbufferedClientConnection;
use rustls::pki_types::ServerName;
use rustls::server::UnbufferedServerConnection;
use rustls::unbuffered::{ConnectionState, EncodeError, EncryptError, UnbufferedStatus};
use rustls::{ClientConfig, CommonState, Error, ServerConfig};

use super::fault::{Fault, Kind};

/// What `scratch` must have: the longest rest, and a read that is worth its system call.
pub const SCRATCH_BYTES: usize = REST_BYTES_MAX + (96 << 10);

/// Longest unfinished record or, before it is open, handshake message: certificate chains of
/// clients have a few KiB.
const REST_BYTES_MAX: usize = 32 << 10;

/// Text of a record: 2^14, RFC 8446 5.1.
const RECORD_BYTES_MAX: usize = 16 << 10;

/// What waits to be sent at most, until `write` takes no more.
const OUTGOING_BYTES_MAX: usize = 32 << 10;

/// A session's buffers and rustls' state at worst: either the rest of a handshake and our part of
/// it, or once open a record, one without room, and what is read behind them; some KiB of rustls.
pub const SESSION_BYTES_MAX: usize = REST_BYTES_MAX + (16 << 10);

const _: () = assert!(2 * RECORD_BYTES_MAX + READ_BYTES_MIN + (8 << 10) <= SESSION_BYTES_MAX);

/// Reads of less are not worth a system call.
const READ_BYTES_MIN: usize = 4 << 10;

/// Where a session stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Phase {
    /// A server that has heard nothing.
    Silent,
    Handshake,
    Open,
    /// The peer has said that no more comes.
    Closed,
    /// The socket ended, or nothing more can be made of it.
    Over,
}

pub struct Session {
    side: Side,
    phase: Phase,
    /// The handshake was done once.
    opened: bool,
    /// A client was asked for its certificate.
    asked: Option<Arc<AtomicBool>>,
    /// Read from the socket: no whole record, or no room for its text.
    rest: Vec<u8>,
    /// There may be whole records in `rest` or rustls.
    unfinished: bool,
    /// Text that had no room, from `taken` on.
    text: Vec<u8>,
    taken: usize,
    /// To be sent, from `sent` on.
    outgoing: Vec<u8>,
    sent: usize,
    /// Since this call began the socket was read, and that took all there was.
    emptied: bool,
    /// The socket ended without the peer's goodbye.
    truncated: bool,
    /// Told when all text before it has been given out.
    failed: Option<io::Error>,
}

/// rustls has two types for the two ends, without anything in common that reads records.
enum Side {
    Server(Box<UnbufferedServerConnection>),
    Client(Box<UnbufferedClientConnection>),
}

impl Session {
    pub(super) fn server(config: Arc<ServerConfig>) -> Self {
        let connection = UnbufferedServerConnection::new(config)
            .expect("a server's configuration was checked when it was made");
        Self::new(Side::Server(Box::new(connection)), Phase::Silent)
    }

    pub(super) fn client(
        config: Arc<ClientConfig>,
        name: ServerName<'static>,
        asked: Arc<AtomicBool>,
    ) -> Result<Self, Error> {
        let connection = UnbufferedClientConnection::new(config, name)?;
        let mut session = Self::new(Side::Client(Box::new(connection)), Phase::Handshake);
        session.asked = Some(asked);
        // Our hello is ready to be pushed.
        session.digest(&mut [], &mut [], &mut 0);
        Ok(session)
    }

    fn new(side: Side, phase: Phase) -> Self {
        Self {
            side,
            phase,
            opened: false,
            asked: None,
            rest: Vec::new(),
            unfinished: false,
            text: Vec::new(),
            taken: 0,
            outgoing: Vec::new(),
            sent: 0,
            emptied: false,
            truncated: false,
            failed: None,
        }
    }

    // ── reading ──

    /// Text into `into`: what has come, until there is no more or no room. `WouldBlock` when there
    /// is nothing, 0 at the end, also at one that the peer did not announce (`is_truncated`).
    /// `scratch` has `SCRATCH_BYTES` and no meaning between calls.
    pub fn read(
        &mut self,
        socket: &mut (impl Read + Write),
        scratch: &mut [u8],
        into: &mut [u8],
    ) -> io::Result<usize> {
        let mut filled = 0;
        // What was so at the last call need not be so now.
        self.emptied = false;
        self.hand_out(into, &mut filled);
        while filled < into.len() || (into.is_empty() && !self.is_open()) {
            if !self.unfinished {
                if let Some(end) = self.end(filled) {
                    return end;
                }
                if filled > 0 && self.emptied {
                    break;
                }
            }
            let room = (into.len() - filled).max(READ_BYTES_MIN);
            let end = match self.fill(socket, scratch, room) {
                Ok(end) => end,
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    self.emptied = true;
                    return if filled > 0 { Ok(filled) } else { Err(error) };
                }
                Err(error) => {
                    self.fail(error);
                    continue;
                }
            };
            let used = self.digest(&mut scratch[..end], into, &mut filled);
            self.keep(&scratch[used..end]);
            self.push(socket);
            if self.unfinished {
                // The next record has no room in what is left.
                break;
            }
        }
        Ok(filled)
    }

    /// Goes on with a handshake; true once the session is open.
    pub fn advance(
        &mut self,
        socket: &mut (impl Read + Write),
        scratch: &mut [u8],
    ) -> io::Result<bool> {
        self.push(socket);
        if !self.is_open() {
            match self.read(socket, scratch, &mut []) {
                Ok(_) if !self.is_open() => return Err(ErrorKind::UnexpectedEof.into()),
                Err(error) if error.kind() != ErrorKind::WouldBlock => return Err(error),
                _ => {}
            }
        }
        Ok(self.is_open())
    }

    /// Whether everything that the socket had has been given out.
    pub fn is_emptied(&self) -> bool {
        self.emptied && !self.has_more()
    }

    /// Bytes that were read from the socket and not yet given out.
    pub fn waiting_bytes(&self) -> usize {
        let hidden = if self.unfinished { RECORD_BYTES_MAX } else { 0 };
        self.rest.len() + self.text.len() - self.taken + hidden
    }

    fn has_more(&self) -> bool {
        self.unfinished || self.taken < self.text.len()
    }

    /// Text that had no room before.
    fn hand_out(&mut self, into: &mut [u8], filled: &mut usize) {
        let text = &self.text[self.taken..];
        let count = text.len().min(into.len());
        into[..count].copy_from_slice(&text[..count]);
        *filled += count;
        self.taken += count;
        if self.taken == self.text.len() && self.taken > 0 {
            (self.text, self.taken) = (Vec::new(), 0);
        }
    }

    /// What a read says when nothing more will be read from the socket.
    fn end(&mut self, filled: usize) -> Option<io::Result<usize>> {
        if filled > 0 && (self.failed.is_some() || self.phase >= Phase::Closed) {
            return Some(Ok(filled));
        }
        if let Some(error) = self.failed.take() {
            return Some(Err(error));
        }
        (self.phase >= Phase::Closed).then_some(Ok(0))
    }

    /// The rest and, unless that holds whole records, fresh bytes behind it: how many there are.
    fn fill(
        &mut self,
        socket: &mut impl Read,
        scratch: &mut [u8],
        room: usize,
    ) -> io::Result<usize> {
        let held = self.rest.len();
        let mut end = held;
        if !self.unfinished {
            let want = room.min(scratch.len() - held);
            let count = socket.read(&mut scratch[held..held + want])?;
            self.emptied = count < want;
            end += count;
            if count == 0 {
                self.ended();
            } else if self.phase == Phase::Silent {
                self.phase = Phase::Handshake;
                // Every TLS connection begins with a record of type 22, "handshake".
                if scratch[0] != 22 {
                    self.fail(Fault::plain_text(&scratch[..count]).into());
                    end = 0;
                }
            }
        }
        scratch[..held].copy_from_slice(&self.rest);
        self.unfinished = false;
        Ok(end)
    }

    /// The socket has ended.
    fn ended(&mut self) {
        match self.phase {
            // Somebody looked whether the port is open.
            Phase::Silent | Phase::Closed => {}
            Phase::Handshake => {
                let what = "it hung up during the handshake; its own log may say why";
                self.fail(Fault::new(Kind::Handshake, what).into());
            }
            Phase::Open | Phase::Over => self.truncated = true,
        }
        self.phase = Phase::Over;
    }

    fn keep(&mut self, bytes: &[u8]) {
        if bytes.is_empty() || self.phase >= Phase::Closed {
            self.rest = Vec::new();
            self.unfinished &= self.phase < Phase::Over;
        } else if bytes.len() > REST_BYTES_MAX && !self.unfinished {
            self.fail(Fault::new(Kind::Handshake, "its handshake is longer than any is").into());
            self.rest = Vec::new();
        } else {
            self.rest.clear();
            self.rest.extend_from_slice(bytes);
        }
    }

    fn fail(&mut self, error: io::Error) {
        if self.failed.is_none() {
            self.failed = Some(error);
        }
        self.phase = Phase::Over;
    }

    // ── records ──

    /// Takes records off the front of `bytes` while their text has room; how many bytes they had.
    fn digest(&mut self, bytes: &mut [u8], into: &mut [u8], filled: &mut usize) -> usize {
        let mut used = 0;
        loop {
            let mut room =
                Room { into, filled, text: &mut self.text, outgoing: &mut self.outgoing };
            let rest = &mut bytes[used..];
            let (discard, step) = match &mut self.side {
                Side::Server(connection) => {
                    let UnbufferedStatus { discard, state, .. } =
                        connection.process_tls_records(rest);
                    (discard, take(state, &mut room))
                }
                Side::Client(connection) => {
                    let UnbufferedStatus { discard, state, .. } =
                        connection.process_tls_records(rest);
                    (discard, take(state, &mut room))
                }
            };
            used += discard;
            if self.phase == Phase::Handshake && !self.common().is_handshaking() {
                (self.phase, self.opened) = (Phase::Open, true);
            }
            match step {
                Step::More => {}
                Step::Full => {
                    self.unfinished = true;
                    return used;
                }
                Step::Hungry => return used,
                Step::Closed => {
                    self.phase = Phase::Closed;
                    return bytes.len();
                }
                Step::Failed(error) => {
                    self.fail(Fault::of(&error, self.opened).into());
                    self.collect_alert(&mut bytes[used..]);
                    return bytes.len();
                }
            }
        }
    }

    /// What rustls wants to tell the peer about its failure: one message, which comes before it
    /// looks at `rest` again.
    fn collect_alert(&mut self, rest: &mut [u8]) {
        let (into, filled) = (&mut [][..], &mut 0);
        let mut room = Room { into, filled, text: &mut self.text, outgoing: &mut self.outgoing };
        match &mut self.side {
            Side::Server(one) => take(one.process_tls_records(rest).state, &mut room),
            Side::Client(one) => take(one.process_tls_records(rest).state, &mut room),
        };
    }

    // ── writing ──

    /// Text to the peer: how much was taken, `WouldBlock` when nothing can be. What was taken has
    /// left once `is_pushed`.
    pub fn write(&mut self, socket: &mut impl Write, text: &[u8]) -> io::Result<usize> {
        self.push(socket);
        if let Some(error) = self.failed.take() {
            return Err(error);
        }
        match self.phase {
            Phase::Silent | Phase::Handshake => return Err(ErrorKind::WouldBlock.into()),
            Phase::Over => return Err(ErrorKind::BrokenPipe.into()),
            Phase::Open | Phase::Closed => {}
        }
        let mut taken = 0;
        while taken < text.len() && self.outgoing.len() - self.sent < OUTGOING_BYTES_MAX {
            let record = &text[taken..text.len().min(taken + RECORD_BYTES_MAX)];
            self.encrypt(record)?;
            taken += record.len();
            self.push(socket);
        }
        if taken == 0 && !text.is_empty() { Err(ErrorKind::WouldBlock.into()) } else { Ok(taken) }
    }

    /// Sends what waits as far as the socket takes it. A socket that is gone shows in reads, behind
    /// what had come before.
    pub fn push(&mut self, socket: &mut impl Write) {
        while self.sent < self.outgoing.len() {
            match socket.write(&self.outgoing[self.sent..]) {
                Ok(count) if count > 0 => self.sent += count,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => return,
                _ => self.sent = self.outgoing.len(),
            }
        }
        if self.sent > 0 {
            self.sent = 0;
            self.outgoing.clear();
            if !self.is_client() {
                self.outgoing = Vec::new();
            }
        }
    }

    /// Whether all that was written has left.
    pub fn is_pushed(&self) -> bool {
        self.sent == self.outgoing.len()
    }

    /// Says goodbye, so that the peer knows that nothing is missing. The socket may be closed, or
    /// its writing end shut, once `is_pushed`.
    pub fn close(&mut self, socket: &mut impl Write) {
        if matches!(self.phase, Phase::Open | Phase::Closed) {
            let (mut alert, rest) = ([0; 64], &mut self.rest[..]);
            let count = match &mut self.side {
                Side::Server(one) => goodbye(one.process_tls_records(rest).state, &mut alert),
                Side::Client(one) => goodbye(one.process_tls_records(rest).state, &mut alert),
            };
            self.outgoing.extend_from_slice(&alert[..count]);
        }
        self.push(socket);
    }

    fn encrypt(&mut self, record: &[u8]) -> io::Result<()> {
        let mut more = record.len() + 64;
        let start = self.outgoing.len();
        for _ in 0..2 {
            self.outgoing.resize(start + more, 0);
            let out = &mut self.outgoing[start..];
            let rest = &mut self.rest[..];
            let written = match &mut self.side {
                Side::Server(one) => seal(one.process_tls_records(rest).state, record, out),
                Side::Client(one) => seal(one.process_tls_records(rest).state, record, out),
            };
            match written {
                Ok(count) => {
                    self.outgoing.truncate(start + count);
                    return Ok(());
                }
                Err(EncryptError::InsufficientSize(size)) => more = size.required_size,
                Err(EncryptError::EncryptExhausted) => break,
            }
        }
        self.outgoing.truncate(start);
        Err(Fault::new(Kind::Broken, "this session can encrypt no more").into())
    }

    // ── what there is to know ──

    /// The handshake is done.
    pub fn is_open(&self) -> bool {
        self.opened
    }

    /// The server has asked who we are. It may look at our answer when the session is open already
    /// (with TLS 1.3 always), and say only then that it does not want us.
    pub fn may_be_refused(&self) -> bool {
        self.asked.as_ref().is_some_and(|asked| asked.load(Ordering::Relaxed))
    }

    /// The stream ended without a goodbye: by an accident, or by somebody in between.
    pub fn is_truncated(&self) -> bool {
        self.truncated
    }

    /// The peer's certificate, once open.
    pub fn peer_certificate(&self) -> Option<&[u8]> {
        self.common().peer_certificates().and_then(|chain| chain.first()).map(|first| &first[..])
    }

    /// `TLS 1.3` or `TLS 1.2`, once agreed.
    pub fn version(&self) -> Option<&'static str> {
        self.common().protocol_version().map(|version| match version {
            rustls::ProtocolVersion::TLSv1_2 => "TLS 1.2",
            _ => "TLS 1.3",
        })
    }

    fn is_client(&self) -> bool {
        matches!(self.side, Side::Client(_))
    }

    fn common(&self) -> &CommonState {
        match &self.side {
            Side::Server(connection) => connection,
            Side::Client(connection) => connection,
        }
    }
}

/// Where a step's text and messages go.
struct Room<'a> {
    into: &'a mut [u8],
    filled: &'a mut usize,
    /// What a record holds beyond `into`.
    text: &'a mut Vec<u8>,
    outgoing: &'a mut Vec<u8>,
}

/// What one step of rustls came to.
enum Step {
    More,
    /// There is text, and no room for it.
    Full,
    /// It needs more bytes.
    Hungry,
    /// The peer said goodbye.
    Closed,
    Failed(Error),
}

type State<'c, 'i, Data> = Result<ConnectionState<'c, 'i, Data>, Error>;

fn take<Data>(state: State<'_, '_, Data>, room: &mut Room<'_>) -> Step {
    match state {
        Ok(ConnectionState::ReadTraffic(mut traffic)) => {
            let (bytes, left) = (traffic.peek_len(), room.into.len() - *room.filled);
            let fits = bytes.is_none_or(|bytes| bytes.get() <= left);
            // A record larger than all the room there ever is must be taken in parts.
            if !fits && (*room.filled > 0 || left == 0) {
                return Step::Full;
            }
            let Some(Ok(record)) = traffic.next_record() else { return Step::More };
            let (front, behind) = record.payload.split_at(record.payload.len().min(left));
            room.into[*room.filled..*room.filled + front.len()].copy_from_slice(front);
            *room.filled += front.len();
            room.text.extend_from_slice(behind);
            if behind.is_empty() { Step::More } else { Step::Full }
        }
        Ok(ConnectionState::EncodeTlsData(mut message)) => {
            let start = room.outgoing.len();
            if let Err(EncodeError::InsufficientSize(size)) = message.encode(&mut []) {
                room.outgoing.resize(start + size.required_size, 0);
                message.encode(&mut room.outgoing[start..]).expect("it has the room it asked for");
            }
            Step::More
        }
        // What was encoded lies in `outgoing`, and is sent once.
        Ok(ConnectionState::TransmitTlsData(message)) => {
            message.done();
            Step::More
        }
        Ok(ConnectionState::PeerClosed) => Step::Closed,
        // Text before the handshake is done is never allowed by our servers.
        Ok(_) => Step::Hungry,
        Err(error) => Step::Failed(error),
    }
}

fn seal<Data>(
    state: State<'_, '_, Data>,
    record: &[u8],
    out: &mut [u8],
) -> Result<usize, EncryptError> {
    match state {
        Ok(ConnectionState::WriteTraffic(mut traffic)) => traffic.encrypt(record, out),
        _ => Err(EncryptError::EncryptExhausted),
    }
}

fn goodbye<Data>(state: State<'_, '_, Data>, out: &mut [u8]) -> usize {
    match state {
        Ok(ConnectionState::WriteTraffic(mut traffic)) => {
            traffic.queue_close_notify(out).unwrap_or(0)
        }
        _ => 0,
    }
}
