//! The receiving side of a session: what a frame means, and the replies.
//!
//! The session knows order and state; which messages may be acknowledged, and when, its owner
//! knows. It says so by ranges, for transactions follow each other without a gap.

use super::RelpError;
use super::frame::{Frame, Item, Reader, Txnr, write};
use super::offers::Offers;

/// What the peer said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Heard<'a> {
    /// Nothing whole: more bytes are needed.
    More,
    /// The session is open; its reply stands in `out`.
    Opened,
    /// A message, to be acknowledged as `txnr`.
    Message { txnr: Txnr, text: &'a [u8] },
    /// A part of a long message; the whole is acknowledged when `last` was said.
    Piece { txnr: Txnr, text: &'a [u8], first: bool, last: bool },
    /// No more messages come; to be replied to as `txnr`, behind all messages.
    Close { txnr: Txnr },
    /// A hint that needs nothing.
    Hint,
}

#[derive(Debug)]
pub struct Session {
    reader: Reader,
    state: State,
    due: Txnr,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Fresh,
    Open,
    Closed,
}

impl Session {
    /// Messages longer than `message_max` come in pieces.
    pub fn new(message_max: usize) -> Self {
        Self { reader: Reader::new(message_max), state: State::Fresh, due: Txnr::FIRST }
    }

    /// The most bytes that can stand in front without being something whole.
    pub fn held_max(&self) -> usize {
        self.reader.held_max()
    }

    /// Whether the peer has opened and not closed.
    pub fn is_open(&self) -> bool {
        self.state == State::Open
    }

    /// What stands in front of `bytes`, and how many of them it takes. What is to be said at once
    /// goes to `out`. After an error, and after a `Close`, nothing more is heard.
    #[inline]
    pub fn hear<'a>(
        &mut self,
        bytes: &'a [u8],
        out: &mut Vec<u8>,
    ) -> Result<(usize, Heard<'a>), RelpError> {
        if self.state == State::Closed {
            return Ok((0, Heard::More));
        }
        let (count, item) = self.reader.next(bytes)?;
        let heard = match item {
            Item::More => Heard::More,
            Item::Whole(frame) if frame.command == b"syslog" && self.state == State::Open => {
                self.count(frame.txnr)?;
                Heard::Message { txnr: frame.txnr, text: frame.data }
            }
            Item::Whole(frame) => self.command(frame, out)?,
            Item::Piece { .. } if self.state == State::Fresh => {
                return Err(RelpError::NotOpen("syslog".to_owned()));
            }
            Item::Piece { txnr, data, first, last } => {
                match last {
                    true => self.count(txnr)?,
                    false if txnr == self.due => {}
                    false => return Err(RelpError::Sequence { expected: self.due, got: txnr }),
                }
                Heard::Piece { txnr, text: data, first, last }
            }
        };
        Ok((count, heard))
    }

    fn command<'a>(&mut self, frame: Frame<'a>, out: &mut Vec<u8>) -> Result<Heard<'a>, RelpError> {
        let name = || String::from_utf8_lossy(frame.command).into_owned();
        if frame.txnr == Txnr::HINT && frame.command != b"syslog" {
            return Ok(Heard::Hint);
        }
        self.count(frame.txnr)?;
        match (frame.command, self.state) {
            (b"open", State::Fresh) => {
                let version = Offers::read(frame.data).agreed().inspect_err(|error| {
                    write(frame.txnr, b"rsp", format!("500 {error}").as_bytes(), out);
                })?;
                let reply = format!("200 OK\n{}", Offers::ours(version));
                write(frame.txnr, b"rsp", reply.as_bytes(), out);
                self.state = State::Open;
                Ok(Heard::Opened)
            }
            (b"open", _) => {
                write(frame.txnr, b"rsp", b"500 the session is open already", out);
                Err(RelpError::OpenTwice)
            }
            (b"close", _) => {
                self.state = State::Closed;
                Ok(Heard::Close { txnr: frame.txnr })
            }
            (b"syslog", _) => Err(RelpError::NotOpen(name())),
            _ => {
                write(frame.txnr, b"rsp", b"500 unknown command", out);
                Err(RelpError::Unknown(name()))
            }
        }
    }

    fn count(&mut self, txnr: Txnr) -> Result<(), RelpError> {
        if txnr != self.due {
            return Err(RelpError::Sequence { expected: self.due, got: txnr });
        }
        self.due = self.due.next();
        Ok(())
    }

    /// The reply to a `close`, and a word that the connection ends.
    pub fn part(txnr: Txnr, out: &mut Vec<u8>) {
        write(txnr, b"rsp", b"", out);
        Self::dismiss(out);
    }

    /// Says that we close the connection.
    pub fn dismiss(out: &mut Vec<u8>) {
        write(Txnr::HINT, b"serverclose", b"", out);
    }
}

/// Acknowledges `count` messages from `first` on.
pub fn acknowledge(first: Txnr, count: u32, out: &mut Vec<u8>) {
    let mut txnr = first;
    for _ in 0..count {
        write(txnr, b"rsp", b"200 OK", out);
        txnr = txnr.next();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OPEN: &[u8] = b"1 open 30 relp_version=0\ncommands=syslog\n";

    /// Everything a client's bytes say, our words, and the error that ended it.
    fn hear(bytes: &[u8]) -> (Vec<String>, String, Option<RelpError>) {
        let mut session = Session::new(64);
        let (mut told, mut out, mut at) = (Vec::new(), Vec::new(), 0);
        let error = loop {
            match session.hear(&bytes[at..], &mut out) {
                Ok((_, Heard::More)) => break None,
                Ok((count, heard)) => {
                    told.push(match heard {
                        Heard::Message { txnr, text } => {
                            format!("{txnr} {}", String::from_utf8_lossy(text))
                        }
                        Heard::Piece { txnr, text, last, .. } => {
                            format!("{txnr} {} {last}", text.len())
                        }
                        other => format!("{other:?}"),
                    });
                    at += count;
                }
                Err(error) => break Some(error),
            }
        };
        (told, String::from_utf8(out).unwrap(), error)
    }

    #[test]
    fn a_session_as_omrelp_has_it() {
        let rest = b"2 syslog 5 <13>a\n3 syslog 0\n4 syslog 7 <13>b\nc\n5 close 0\n";
        let (told, out, error) = hear(&[OPEN, rest].concat());
        assert_eq!(told, ["Opened", "2 <13>a", "3 ", "4 <13>b\nc", "Close { txnr: Txnr(5) }"]);
        let version = env!("CARGO_PKG_VERSION");
        let ours = format!("relp_version=0\nrelp_software=flumen,{version}\ncommands=syslog");
        assert_eq!(out, format!("1 rsp {} 200 OK\n{ours}\n", ours.len() + 7));
        assert_eq!(error, None);
        let mut out = Vec::new();
        acknowledge(Txnr(2), 2, &mut out);
        acknowledge(Txnr(super::super::TXNR_MAX), 2, &mut out);
        Session::part(Txnr(5), &mut out);
        let expected = "2 rsp 6 200 OK\n3 rsp 6 200 OK\n999999999 rsp 6 200 OK\n1 rsp 6 200 OK\n\
                        5 rsp 0\n0 serverclose 0\n";
        assert_eq!(String::from_utf8(out).unwrap(), expected);
    }

    #[test]
    fn a_long_message_is_one_transaction() {
        let long = [b"2 syslog 70 ", &[b'x'; 70][..], b"\n3 syslog 1 a\n"].concat();
        let (told, _, error) = hear(&[OPEN, &long].concat());
        assert_eq!(told, ["Opened", "2 64 false", "2 6 true", "3 a"]);
        assert_eq!(error, None);
    }

    #[test]
    fn who_does_not_keep_to_it_is_told_why() {
        let sequence =
            |expected, got| RelpError::Sequence { expected: Txnr(expected), got: Txnr(got) };
        let long = [b"3 syslog 70 ", &[b'x'; 70][..], b"\n"].concat();
        for (rest, error) in [
            (&b"2 syslog 1 a\n2 syslog 1 b\n"[..], sequence(3, 2)),
            (b"3 syslog 1 a\n", sequence(2, 3)),
            (b"0 syslog 1 a\n", sequence(2, 0)),
            (&long, sequence(2, 3)),
            (b"2 open 30 relp_version=0\ncommands=syslog\n", RelpError::OpenTwice),
            (b"2 starttls 0\n", RelpError::Unknown("starttls".into())),
            (b"2 rsp 6 200 OK\n", RelpError::Unknown("rsp".into())),
        ] {
            assert_eq!(hear(&[OPEN, rest].concat()).2, Some(error));
        }
        let not_open = RelpError::NotOpen("syslog".into());
        assert_eq!(hear(b"1 syslog 1 a\n").2, Some(not_open.clone()));
        assert_eq!(hear(&[b"1", &long[1..]].concat()).2, Some(not_open));
        let (_, out, error) = hear(b"1 open 14 relp_version=0\n");
        assert_eq!(out, "1 rsp 31 500 the offer has no `commands`\n");
        assert_eq!(error, Some(RelpError::Offer("commands")));
    }

    #[test]
    fn hints_and_what_comes_behind_a_close_need_nothing() {
        let (told, _, error) = hear(&[OPEN, b"0 whatever 2 ab\n2 close 0\n3 rubbish"].concat());
        assert_eq!(told, ["Opened", "Hint", "Close { txnr: Txnr(2) }"]);
        assert_eq!(error, None);
    }
}
