//! Requests of many events each, composed once and sent round and round over a few connections:
//! one is under way on each of them, and every answer is looked at.

use crate::text::Text;
use flumen::wire::http::Body;
use flumen::wire::http_body::Incoming;
use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, TcpStream};

/// How events are asked to be taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Dialect {
    /// HTTP, a body of lines.
    Lines,
    /// HTTP, Flume's lists of JSON.
    Lists,
    /// memcached's `set`, many in one write, each answered.
    Stores,
}

/// In a request.
pub(crate) const EVENTS: usize = 512;
/// Enough that a receiver always finds the next request there.
const CONNECTIONS: usize = 8;
const STORED: &[u8] = b"STORED\r\n";
/// Of an answer; nobody has more to say.
const ANSWER_BYTES_MAX: usize = 64 << 10;

pub(crate) struct Requests {
    dialect: Dialect,
    requests: Vec<Vec<u8>>,
    peers: Vec<Peer>,
    next: usize,
}

struct Peer {
    stream: TcpStream,
    /// The request that is under way.
    owed: Option<usize>,
}

impl Requests {
    pub(crate) fn open(text: &Text, port: u16, dialect: Dialect) -> io::Result<Self> {
        let peer = |_| {
            let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port))?;
            stream.set_nodelay(true)?;
            Ok(Peer { stream, owed: None })
        };
        let peers = (0..CONNECTIONS).map(peer).collect::<io::Result<_>>()?;
        Ok(Self { dialect, requests: requests(text, dialect), peers, next: 0 })
    }

    /// Sends whole requests until `events` have been taken, which may be a few more; how many.
    pub(crate) fn send(&mut self, events: u64) -> io::Result<u64> {
        let mut sent = 0;
        while sent < events {
            let (index, turn) = (self.next % self.requests.len(), self.next % CONNECTIONS);
            self.hear(turn)?;
            let peer = &mut self.peers[turn];
            peer.stream.write_all(&self.requests[index])?;
            peer.owed = Some(index);
            self.next += 1;
            sent += EVENTS as u64;
        }
        (0..CONNECTIONS).try_for_each(|turn| self.hear(turn))?;
        Ok(sent)
    }

    /// Waits until the request there has been taken. One that is to be tried again is.
    fn hear(&mut self, turn: usize) -> io::Result<()> {
        let Peer { stream, owed } = &mut self.peers[turn];
        let Some(index) = owed.take() else { return Ok(()) };
        if self.dialect == Dialect::Stores {
            return stored(stream);
        }
        loop {
            match status(stream)? {
                200 => return Ok(()),
                503 => stream.write_all(&self.requests[index])?,
                other => return Err(io::Error::other(format!("a request is answered {other}"))),
            }
        }
    }
}

fn requests(text: &Text, dialect: Dialect) -> Vec<Vec<u8>> {
    let count = text.ends().len();
    let starts = (0..count).step_by(EVENTS).filter(|from| from + EVENTS <= count);
    let request = |from| {
        let range = |index: usize| text.start(index)..text.start(index + 1) - 1;
        let lines = (from..from + EVENTS).map(|index| &text.bytes()[range(index)]);
        match dialect {
            Dialect::Lines => {
                post("text/plain", &[&lines.collect::<Vec<_>>().join(&b'\n'), &b"\n"[..]].concat())
            }
            Dialect::Lists => {
                let event = |line| {
                    let body = serde_json::to_string(&String::from_utf8_lossy(line));
                    let body = body.expect("a text is JSON");
                    format!("{{\"headers\":{{\"host\":\"web01\"}},\"body\":{body}}}")
                };
                let list = format!("[{}]", lines.map(event).collect::<Vec<_>>().join(","));
                post("application/json", list.as_bytes())
            }
            Dialect::Stores => {
                let store = |(index, line): (usize, &[u8])| {
                    let head = format!("set line-{index} 0 0 {}\r\n", line.len());
                    [head.as_bytes(), line, b"\r\n"].concat()
                };
                lines.enumerate().flat_map(store).collect()
            }
        }
    };
    starts.map(request).collect()
}

fn post(kind: &str, body: &[u8]) -> Vec<u8> {
    let head = format!(
        "POST / HTTP/1.1\r\nHost: localhost\r\nContent-Type: {kind}\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    [head.as_bytes(), body].concat()
}

fn stored(stream: &mut TcpStream) -> io::Result<()> {
    let mut answers = [0; STORED.len() * EVENTS];
    stream.read_exact(&mut answers)?;
    match answers.chunks_exact(STORED.len()).find(|answer| *answer != STORED) {
        None => Ok(()),
        Some(other) => Err(io::Error::other(format!("an answer is {}", other.escape_ascii()))),
    }
}

/// The status of one answer, read with its body.
fn status(stream: &mut TcpStream) -> io::Result<u16> {
    let mut held = Vec::new();
    let end = loop {
        if let Some(at) = memchr::memmem::find(&held, b"\r\n\r\n") {
            break at + 4;
        }
        more(stream, &mut held)?;
    };
    let head = String::from_utf8_lossy(&held[..end]).to_ascii_lowercase();
    held.drain(..end);
    let field = |name: &str| head.lines().find_map(|line| line.strip_prefix(name));
    let length = field("content-length: ").and_then(|length| length.parse().ok());
    let chunked = field("transfer-encoding: ").map(|_| Body::Chunked);
    let body = chunked.or_else(|| length.map(Body::Length)).unwrap_or(Body::None);
    let wrong = |refusal: flumen::wire::http::Refusal| io::Error::other(refusal.reason);
    let mut incoming = Incoming::new(body, ANSWER_BYTES_MAX).map_err(wrong)?;
    loop {
        let used = incoming.hear(&held).map_err(wrong)?;
        held.drain(..used);
        if incoming.is_whole() {
            break;
        }
        more(stream, &mut held)?;
    }
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok());
    status.filter(|_| held.is_empty()).ok_or_else(|| io::Error::other(format!("no answer: {head}")))
}

fn more(stream: &mut TcpStream, held: &mut Vec<u8>) -> io::Result<()> {
    let mut part = [0; 4096];
    match stream.read(&mut part)? {
        0 => Err(io::Error::other("the connection was closed instead of an answer")),
        count => {
            held.extend_from_slice(&part[..count]);
            Ok(())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use flumen::wire::http::{Head, read_head};
    use flumen::wire::memcached::{Heard, Session};

    /// All messages of the text, each once, whatever they are wrapped in.
    #[test]
    fn requests_hold_the_lines_of_the_text() {
        let text = Text::lines();
        let body = |request: &[u8]| {
            let Head::Whole { body: Body::Length(length), used, .. } = read_head(request) else {
                panic!("a head")
            };
            assert_eq!(used + length as usize, request.len());
            request[used..].to_vec()
        };
        let lines: Vec<u8> =
            requests(&text, Dialect::Lines).iter().flat_map(|request| body(request)).collect();
        assert!(lines == text.bytes());
        let mut lists = Vec::new();
        for request in requests(&text, Dialect::Lists) {
            let list: Vec<serde_json::Value> = serde_json::from_slice(&body(&request)).unwrap();
            assert_eq!(list.len(), EVENTS);
            lists
                .extend(list.iter().map(|event| event["body"].as_str().unwrap().to_owned() + "\n"));
        }
        assert!(lists.concat().as_bytes() == text.bytes());
        let mut stores = Vec::new();
        for request in requests(&text, Dialect::Stores) {
            let (mut session, mut rest) = (Session::new(64 << 10), &request[..]);
            while !rest.is_empty() {
                let (used, Heard::Store(store)) = session.hear(rest) else { panic!("a store") };
                stores.extend([store.value, b"\n"].concat());
                rest = &rest[used..];
            }
        }
        assert!(stores == text.bytes());
    }
}
