//! The sending side of a session: window, replies, and what must be sent again.
//!
//! `Client` counts only: whoever still holds its messages (a sink its batch) resends from there.
//! `Outbox` keeps copies, for whoever does not.
//!
//! ```text
//!   connect → client.open(&mut out) → write out
//!   read → client.hear(bytes, |answer| …)      once for each message, in the order of sending
//!   while client.room() > 0 → client.send(message, &mut out) → write out
//!   broken → the last client.waiting() messages have no answer: open() again, send() them again
//! ```

use std::collections::VecDeque;

use super::RelpError;
use super::frame::{Frame, Item, Reader, Txnr, write};
use super::offers::{Offers, VERSION_MAX};

/// librelp's, too.
pub const WINDOW_DEFAULT: u32 = 128;

/// What became of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// The peer has it.
    Accepted,
    /// The peer has it not. With the code that it said, which does not tell whether it would take
    /// it later.
    Refused(u16),
}

#[derive(Debug)]
pub struct Client {
    window: u32,
    state: State,
    next: Txnr,
    /// Messages sent in this session and not told of, oldest first, the first being `oldest`.
    waiting: VecDeque<Option<Answer>>,
    oldest: Txnr,
    /// The front of a reply that has not come whole.
    held: Vec<u8>,
    reader: Reader,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// No session, or one that has ended.
    Away,
    Opening,
    Open,
    Closing(Txnr),
}

impl Client {
    pub fn new(window: u32) -> Self {
        Self {
            window: window.max(1),
            state: State::Away,
            next: Txnr::FIRST,
            waiting: VecDeque::with_capacity(window as usize),
            oldest: Txnr::FIRST,
            held: Vec::new(),
            reader: Reader::new(1),
        }
    }

    /// Begins a session on a new connection. What was `waiting` is forgotten: it is to be sent
    /// again.
    pub fn open(&mut self, out: &mut Vec<u8>) {
        write(Txnr::FIRST, b"open", Offers::ours(0).as_bytes(), out);
        self.state = State::Opening;
        self.next = Txnr::FIRST.next();
        self.oldest = self.next;
        self.waiting.clear();
        self.held.clear();
        self.reader = Reader::new(1);
    }

    /// The peer agreed to the session, and it has not ended.
    pub fn is_open(&self) -> bool {
        self.state == State::Open
    }

    /// The session has ended: connect anew.
    pub fn is_away(&self) -> bool {
        self.state == State::Away
    }

    /// Messages that may be sent now.
    pub fn room(&self) -> u32 {
        if self.state == State::Open { self.window - self.waiting() } else { 0 }
    }

    /// Messages that were sent in this session and have not been told of.
    pub fn waiting(&self) -> u32 {
        self.waiting.len() as u32
    }

    /// Sends a message; there must be room.
    pub fn send(&mut self, message: &[u8], out: &mut Vec<u8>) {
        assert!(self.room() > 0, "the window is full, or the session is not open");
        write(self.next, b"syslog", message, out);
        self.next = self.next.next();
        self.waiting.push_back(None);
    }

    /// Says that no more comes. The session ends when the peer has replied, which it does when
    /// every message has its answer.
    pub fn close(&mut self, out: &mut Vec<u8>) {
        if self.state == State::Open {
            write(self.next, b"close", b"", out);
            self.state = State::Closing(self.next);
        }
    }

    /// What the peer said. `told` learns of every message in the order of sending.
    pub fn hear(&mut self, bytes: &[u8], mut told: impl FnMut(Answer)) -> Result<(), RelpError> {
        // Most often nothing is held, and nothing stays.
        let mut held = std::mem::take(&mut self.held);
        let bytes = match held.is_empty() {
            true => bytes,
            false => {
                held.extend_from_slice(bytes);
                &held
            }
        };
        let mut at = 0;
        let outcome = loop {
            let (count, frame) = match self.reader.next(&bytes[at..]) {
                Ok((count, Item::Whole(frame))) => (count, frame),
                Ok((_, Item::More)) => break Ok(()),
                Ok((_, Item::Piece { .. })) => break Err(RelpError::Unknown("syslog".to_owned())),
                Err(error) => break Err(error),
            };
            at += count;
            if let Err(error) = self.frame(frame) {
                break Err(error);
            }
        };
        while let Some(Some(answer)) = self.waiting.front() {
            told(*answer);
            self.waiting.pop_front();
            self.oldest = self.oldest.next();
        }
        self.held = bytes[at..].to_vec();
        if outcome.is_err() {
            self.state = State::Away;
        }
        outcome
    }

    fn frame(&mut self, frame: Frame<'_>) -> Result<(), RelpError> {
        match frame.command {
            b"serverclose" if frame.txnr == Txnr::HINT => {
                self.state = State::Away;
                Ok(())
            }
            _ if frame.txnr == Txnr::HINT => Ok(()),
            b"rsp" => self.reply(frame.txnr, frame.data),
            other => Err(RelpError::Unknown(String::from_utf8_lossy(other).into_owned())),
        }
    }

    fn reply(&mut self, txnr: Txnr, data: &[u8]) -> Result<(), RelpError> {
        match self.state {
            // The reply to a close may be empty.
            State::Closing(closed) if closed == txnr => {
                self.state = State::Away;
                return Ok(());
            }
            State::Opening if txnr == Txnr::FIRST => {
                let (code, text) = status(data)?;
                if code != 200 {
                    return Err(RelpError::Refused(String::from_utf8_lossy(text).into_owned()));
                }
                let offers = data.iter().position(|byte| *byte == b'\n');
                let version = Offers::read(&data[offers.map_or(data.len(), |at| at + 1)..]);
                if version.agreed()? > VERSION_MAX {
                    return Err(RelpError::Offer("relp_version"));
                }
                self.state = State::Open;
                return Ok(());
            }
            _ => {}
        }
        let (code, _) = status(data)?;
        let answer = if code == 200 { Answer::Accepted } else { Answer::Refused(code) };
        let index = txnr.since(self.oldest) as usize;
        match self.waiting.get_mut(index) {
            Some(waits @ None) => {
                *waits = Some(answer);
                Ok(())
            }
            _ => Err(RelpError::NoSuchReply(txnr)),
        }
    }
}

/// The code of a reply, and its words.
fn status(data: &[u8]) -> Result<(u16, &[u8]), RelpError> {
    let (code, rest) = data.split_at_checked(3).ok_or(RelpError::ReplyCode)?;
    if !code.iter().all(u8::is_ascii_digit) {
        return Err(RelpError::ReplyCode);
    }
    let code = code.iter().fold(0, |sum, digit| sum * 10 + u16::from(digit - b'0'));
    let line = rest.split(|byte| *byte == b'\n').next().unwrap_or_default();
    Ok((code, line.trim_ascii()))
}

/// A client that keeps its messages until they are answered, and sends them again.
#[derive(Debug)]
pub struct Outbox {
    client: Client,
    /// Oldest first; the first `client.waiting()` of them are sent in this session.
    kept: VecDeque<Vec<u8>>,
    /// Buffers of messages that are gone.
    spare: Vec<Vec<u8>>,
}

impl Outbox {
    pub fn new(window: u32) -> Self {
        Self { client: Client::new(window), kept: VecDeque::new(), spare: Vec::new() }
    }

    pub fn client(&self) -> &Client {
        &self.client
    }

    /// Messages without an answer, sent or not.
    pub fn kept(&self) -> usize {
        self.kept.len()
    }

    /// Whether one more would go out at once, or with the replies that come next.
    pub fn wants_more(&self) -> bool {
        self.kept.len() < self.client.window as usize
    }

    pub fn put(&mut self, message: &[u8]) {
        let mut buffer = self.spare.pop().unwrap_or_default();
        buffer.extend_from_slice(message);
        self.kept.push_back(buffer);
    }

    /// Begins a session on a new connection; `pump` then sends what has no answer again.
    pub fn open(&mut self, out: &mut Vec<u8>) {
        self.client.open(out);
    }

    /// Sends what the window has room for.
    pub fn pump(&mut self, out: &mut Vec<u8>) {
        let sent = self.client.waiting() as usize;
        let room = self.client.room() as usize;
        for message in self.kept.iter().skip(sent).take(room) {
            self.client.send(message, out);
        }
    }

    pub fn hear(&mut self, bytes: &[u8], mut told: impl FnMut(Answer)) -> Result<(), RelpError> {
        let (kept, spare) = (&mut self.kept, &mut self.spare);
        self.client.hear(bytes, |answer| {
            let mut buffer = kept.pop_front().expect("what is answered was sent, and is kept");
            buffer.clear();
            spare.push(buffer);
            told(answer);
        })
    }

    pub fn close(&mut self, out: &mut Vec<u8>) {
        self.client.close(out);
    }
}

#[cfg(test)]
mod tests {
    use super::super::server::{Heard, Session, acknowledge};
    use super::*;
    use proptest::prelude::*;

    const OPENED: &[u8] = b"1 rsp 37 200 OK\nrelp_version=0\ncommands=syslog\n";

    fn opened(window: u32) -> (Client, Vec<u8>) {
        let mut client = Client::new(window);
        let mut out = Vec::new();
        client.open(&mut out);
        assert_eq!(client.room(), 0);
        client.hear(OPENED, |_| {}).unwrap();
        assert!(client.is_open());
        out.clear();
        (client, out)
    }

    #[test]
    fn the_window_opens_as_replies_come_in_any_order() {
        let (mut client, mut out) = opened(3);
        for text in ["a", "bb", "ccc"] {
            client.send(text.as_bytes(), &mut out);
        }
        assert_eq!(out, b"2 syslog 1 a\n3 syslog 2 bb\n4 syslog 3 ccc\n");
        assert_eq!((client.room(), client.waiting()), (0, 3));
        let mut told = Vec::new();
        client.hear(b"4 rsp 6 200 OK\n3 rsp 6 500 ", |it| told.push(it)).unwrap();
        assert_eq!((told.len(), client.room()), (0, 0));
        client.hear(b"no\n2 rsp 3 200\n", |it| told.push(it)).unwrap();
        assert_eq!(told, [Answer::Accepted, Answer::Refused(500), Answer::Accepted]);
        assert_eq!((client.room(), client.waiting()), (3, 0));
    }

    #[test]
    fn replies_that_nobody_waits_for_end_the_session() {
        let none = |txnr| Err(RelpError::NoSuchReply(Txnr(txnr)));
        for (bytes, outcome) in [
            (&b"3 rsp 6 200 OK\n"[..], none(3)),
            (b"2 rsp 6 200 OK\n2 rsp 6 200 OK\n", none(2)),
            (b"2 rsp 2 OK\n", Err(RelpError::ReplyCode)),
            (b"2 rsp 6 2x0 OK\n", Err(RelpError::ReplyCode)),
            (b"2 open 6 200 OK\n", Err(RelpError::Unknown("open".into()))),
            (b"0 whatever 0\n", Ok(())),
        ] {
            let (mut client, mut out) = opened(3);
            client.send(b"x", &mut out);
            assert_eq!(client.hear(bytes, |_| {}), outcome);
            assert_eq!(client.is_away(), outcome.is_err());
        }
        let mut client = Client::new(1);
        client.open(&mut Vec::new());
        let refused = client.hear(b"1 rsp 13 500 not today\n", |_| {});
        assert_eq!(refused, Err(RelpError::Refused("not today".into())));
    }

    #[test]
    fn a_close_is_answered_and_a_serverclose_ends_it_too() {
        let (mut client, mut out) = opened(3);
        client.send(b"x", &mut out);
        client.close(&mut out);
        assert!(out.ends_with(b"3 close 0\n") && client.room() == 0);
        let mut told = 0;
        client.hear(b"2 rsp 6 200 OK\n3 rsp 0\n0 serverclose 0\n", |_| told += 1).unwrap();
        assert!(told == 1 && client.is_away());
        let (mut client, mut out) = opened(3);
        client.send(b"x", &mut out);
        client.hear(b"2 rsp 6 200 OK\n0 serverclose 0\n", |_| told += 1).unwrap();
        assert!(told == 2 && client.is_away());
    }

    proptest! {
        /// Connections break at any byte, in either direction, and at any time. Whatever the
        /// server took is there at least once, in order, and what was answered is never resent.
        #[test]
        fn every_message_arrives_and_what_was_answered_only_once(
            window in 1_u32..6,
            count in 0_usize..30,
            breaks in prop::collection::vec((0_usize..400, 0_usize..400), 0..6),
        ) {
            let mut outbox = Outbox::new(window);
            let (mut put, mut answered) = (0, 0);
            let mut arrived: Vec<usize> = Vec::new();
            let breaks = breaks.into_iter().map(Some).chain(std::iter::repeat(None));
            for limits in breaks.take(20) {
                let (mut forth, mut back) = limits.unwrap_or((usize::MAX, usize::MAX));
                let mut session = Session::new(100);
                let (mut sent, mut inbound, mut replies) = (Vec::new(), Vec::new(), Vec::new());
                outbox.open(&mut sent);
                loop {
                    while outbox.wants_more() && put < count {
                        outbox.put(put.to_string().as_bytes());
                        put += 1;
                    }
                    outbox.pump(&mut sent);
                    let before = (forth, back);
                    let part = sent.len().min(forth).min(7);
                    forth -= part;
                    inbound.extend(sent.drain(..part));
                    while let Ok((taken, heard)) = session.hear(&inbound, &mut replies) {
                        match heard {
                            Heard::More => break,
                            Heard::Message { txnr, text } => {
                                let text = std::str::from_utf8(text).unwrap();
                                let number = text.parse().unwrap();
                                prop_assert!(number >= answered, "{} was answered", number);
                                arrived.push(number);
                                acknowledge(txnr, 1, &mut replies);
                            }
                            _ => {}
                        }
                        inbound.drain(..taken);
                    }
                    let part = replies.len().min(back).min(5);
                    back -= part;
                    let part: Vec<u8> = replies.drain(..part).collect();
                    outbox.hear(&part, |_| answered += 1).unwrap();
                    if part.is_empty() && before == (forth, back) {
                        break;
                    }
                }
            }
            prop_assert_eq!((put, answered, outbox.kept()), (count, count, 0));
            let mut first = 0;
            arrived.iter().for_each(|number| first += usize::from(*number == first));
            prop_assert_eq!(first, count, "first arrivals are in order: {:?}", arrived);
        }
    }
}
