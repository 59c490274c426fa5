//! The optional header field `meta`: when each event of a block was received, and from whom.
//!
//! ```text
//!    0  version              1   1
//!    1  first time           8   ns since 1970, of the first event
//!    9  events               varint
//!       peers                varint, then each: family 1 (0 none, 4, 6, 7: 6 with a scope),
//!                            address 4 or 16, scope 4 (of family 7), port 2
//!       tokens               varints, the lowest two bits of each say what it is:
//!          …00  so many events and one more, at the same time and of the same peer as the last
//!          …01  an event of the same peer, so much later: ns, zigzag
//!          …10  an event so much later, of the peer whose number follows as a varint
//!          …11  an event at a time that follows as 8 bytes, of the peer that follows as above
//! ```
//! Before the first event stand its time and peer 0. A varint is little-endian, seven bits a byte.
//! Events read at once are of one time, and those of one connection of one peer: a busy stream
//! costs next to nothing, datagrams of many senders two bytes each.
//!
//! Bounded: never longer than [`META_BYTES_MAX`]; whoever writes blocks ends one that would be.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6};

use super::fields::{META, put_field};
use crate::limits::{META_BYTES_MAX, META_PEERS_MAX};
use crate::time::Wall;

const VERSION: u8 = 1;
/// Version, first time, and the counts of events and peers.
const FRONT_BYTES: usize = 1 + 8 + 5 + 3;
/// The longest run that waits, and the longest token of an event.
const TOKENS_BYTES: usize = 5 + 13;
const PEER_BYTES: usize = 1 + 16 + 4 + 2;
/// Times that are nearer have a delta that is, zigzag and with two more bits, of 64 bits.
const NEAR_NS: u64 = 1 << 60;
/// Of the field's head, and the most of what stands in it.
pub const META_FIELD_BYTES_MAX: usize = 4 + META_BYTES_MAX;
/// What a coder takes, filled: tokens, peers, and the table that knows them.
pub const META_CODER_BYTES: usize = META_BYTES_MAX + META_PEERS_MAX * (32 + 2 * 40);

/// What is known of one event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Received {
    pub at: Wall,
    pub peer: Option<SocketAddr>,
}

/// What a block says of its events.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Meta {
    peers: Vec<Option<SocketAddr>>,
    /// Each from an event's number on, up to the next one.
    runs: Vec<Run>,
    events: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Run {
    from: u32,
    peer: u32,
    at: Wall,
}

/// Gathers what is to be said of a block's events. Used again, it allocates nothing.
pub struct MetaCoder {
    tokens: Vec<u8>,
    peers: Vec<Option<SocketAddr>>,
    peer_bytes: usize,
    known: HashMap<Option<SocketAddr>, u32>,
    events: u32,
    /// Events like the last one that no token tells of yet.
    run: u32,
    first: Wall,
    last: Received,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MetaError {
    #[error("times and peers of version {0}; this program reads version {VERSION}")]
    Version(u8),
    #[error("times and peers contradict themselves")]
    Contradiction,
}

impl Default for MetaCoder {
    fn default() -> Self {
        Self {
            tokens: Vec::with_capacity(META_BYTES_MAX),
            peers: Vec::with_capacity(META_PEERS_MAX),
            peer_bytes: 0,
            known: HashMap::with_capacity(META_PEERS_MAX),
            events: 0,
            run: 0,
            first: Wall(0),
            last: Received { at: Wall(0), peer: None },
        }
    }
}

impl MetaCoder {
    /// Takes the next event of the block; false, and nothing has changed, when there is no room.
    #[inline]
    pub fn push(&mut self, at: Wall, peer: Option<SocketAddr>) -> bool {
        if self.events > 0 && at == self.last.at && peer == self.last.peer {
            self.run += 1;
            self.events += 1;
            return true;
        }
        self.push_other(Received { at, peer })
    }

    /// Takes all of these events, or none of them when there is no room for all.
    pub fn push_all(&mut self, events: impl Iterator<Item = Received>) -> bool {
        let (tokens, peers, peer_bytes) = (self.tokens.len(), self.peers.len(), self.peer_bytes);
        let (count, run, first, last) = (self.events, self.run, self.first, self.last);
        for event in events {
            if self.push(event.at, event.peer) {
                continue;
            }
            // A run that waited has become a token; both go back to what they were.
            self.tokens.truncate(tokens);
            self.peers.drain(peers..).for_each(|peer| {
                self.known.remove(&peer);
            });
            self.peer_bytes = peer_bytes;
            (self.events, self.run, self.first, self.last) = (count, run, first, last);
            return false;
        }
        true
    }

    pub fn is_empty(&self) -> bool {
        self.events == 0
    }

    /// Appends the field of the events taken, if there are any, and begins anew.
    pub fn finish(&mut self, out: &mut Vec<u8>) {
        if self.events > 0 {
            self.end_run();
            put_field(out, META, |out| {
                out.push(VERSION);
                out.extend_from_slice(&self.first.0.to_le_bytes());
                put_varint(out, u64::from(self.events));
                put_varint(out, self.peers.len() as u64);
                self.peers.iter().for_each(|peer| put_peer(out, *peer));
                out.extend_from_slice(&self.tokens);
            });
        }
        self.clear();
    }

    /// Forgets the events taken.
    pub fn clear(&mut self) {
        self.tokens.clear();
        self.peers.clear();
        self.known.clear();
        (self.events, self.run, self.peer_bytes) = (0, 0, 0);
    }

    fn push_other(&mut self, event: Received) -> bool {
        let taken = FRONT_BYTES + self.tokens.len() + self.peer_bytes;
        if taken + TOKENS_BYTES + PEER_BYTES > META_BYTES_MAX || self.peers.len() == META_PEERS_MAX
        {
            return false;
        }
        self.events += 1;
        if self.events == 1 {
            self.number(event.peer);
            (self.first, self.last, self.run) = (event.at, event, 1);
            return true;
        }
        self.end_run();
        let delta = event.at.0.wrapping_sub(self.last.at.0);
        let near = event.at.0.abs_diff(self.last.at.0) < NEAR_NS;
        let same = event.peer == self.last.peer;
        match (near, same) {
            (true, true) => put_varint(&mut self.tokens, zigzag(delta) << 2 | 1),
            (true, false) => put_varint(&mut self.tokens, zigzag(delta) << 2 | 2),
            (false, _) => {
                self.tokens.push(3);
                self.tokens.extend_from_slice(&event.at.0.to_le_bytes());
            }
        }
        if !(near && same) {
            let number = self.number(event.peer);
            put_varint(&mut self.tokens, u64::from(number));
        }
        self.last = event;
        true
    }

    fn number(&mut self, peer: Option<SocketAddr>) -> u32 {
        let next = self.peers.len() as u32;
        let number = *self.known.entry(peer).or_insert(next);
        if number == next {
            self.peers.push(peer);
            self.peer_bytes += match peer {
                None => 1,
                Some(SocketAddr::V4(_)) => 7,
                Some(SocketAddr::V6(_)) => PEER_BYTES,
            };
        }
        number
    }

    fn end_run(&mut self) {
        if self.run > 0 {
            put_varint(&mut self.tokens, u64::from(self.run - 1) << 2);
            self.run = 0;
        }
    }
}

impl Meta {
    /// Reads a field of a block of so many events.
    pub fn decode(field: &[u8], events: u32) -> Result<Self, MetaError> {
        match field.first() {
            Some(&VERSION) => {}
            Some(&version) => return Err(MetaError::Version(version)),
            None => return Err(MetaError::Contradiction),
        }
        let meta = Self::read(&mut Cursor(&field[1..])).filter(|meta| meta.events == events);
        meta.ok_or(MetaError::Contradiction)
    }

    fn read(rest: &mut Cursor<'_>) -> Option<Self> {
        let mut at = Wall(i64::from_le_bytes(rest.bytes()?));
        let events = u32::try_from(rest.varint()?).ok()?;
        let count = rest.varint()?;
        // Each takes bytes of what is here: a length that lies makes no room.
        let peers = (0..count).map(|_| rest.peer()).collect::<Option<Vec<_>>>()?;
        let (mut runs, mut next, mut peer) = (vec![Run { from: 0, peer: 0, at }], 0_u32, 0);
        while !rest.0.is_empty() {
            let token = rest.varint()?;
            if token & 3 == 0 {
                next = u32::try_from((token >> 2).checked_add(1 + u64::from(next))?).ok()?;
                continue;
            }
            at = match token & 3 {
                3 => Wall(i64::from_le_bytes(rest.bytes()?)),
                _ => Wall(at.0.wrapping_add(unzigzag(token >> 2))),
            };
            if token & 3 != 1 {
                peer = u32::try_from(rest.varint()?).ok()?;
            }
            runs.push(Run { from: next, peer, at });
            next = next.checked_add(1)?;
        }
        let known = runs.iter().all(|run| u64::from(run.peer) < count);
        (next == events && known).then_some(Self { peers, runs, events })
    }

    pub fn events(&self) -> u32 {
        self.events
    }

    /// Of an event by its number in the block.
    pub fn of(&self, event: u32) -> Option<Received> {
        let behind = self.runs.partition_point(|run| run.from <= event);
        let run = self.runs[..behind].last().filter(|_| event < self.events)?;
        let peer = self.peers.get(run.peer as usize).copied().flatten();
        Some(Received { at: run.at, peer })
    }
}

/// Appends a peer: family, address, scope and port, as a field has it.
pub fn put_peer(out: &mut Vec<u8>, peer: Option<SocketAddr>) {
    match peer {
        None => return out.push(0),
        Some(SocketAddr::V4(v4)) => {
            out.push(4);
            out.extend_from_slice(&v4.ip().octets());
        }
        Some(SocketAddr::V6(v6)) => {
            let scoped = v6.scope_id() != 0;
            out.push(if scoped { 7 } else { 6 });
            out.extend_from_slice(&v6.ip().octets());
            if scoped {
                out.extend_from_slice(&v6.scope_id().to_le_bytes());
            }
        }
    }
    out.extend_from_slice(&peer.map_or(0, |peer| peer.port()).to_le_bytes());
}

fn put_varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

fn zigzag(delta: i64) -> u64 {
    (delta << 1 ^ delta >> 63) as u64
}

fn unzigzag(value: u64) -> i64 {
    (value >> 1) as i64 ^ -((value & 1) as i64)
}

/// A peer at the start of `bytes`, and what is behind it.
pub fn take_peer(bytes: &[u8]) -> Option<(Option<SocketAddr>, &[u8])> {
    let mut rest = Cursor(bytes);
    Some((rest.peer()?, rest.0))
}

/// What is still to be read.
struct Cursor<'a>(&'a [u8]);

impl Cursor<'_> {
    fn bytes<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (bytes, rest) = self.0.split_first_chunk::<N>()?;
        self.0 = rest;
        Some(*bytes)
    }

    fn varint(&mut self) -> Option<u64> {
        let mut value = 0;
        for shift in (0..64).step_by(7) {
            let [byte] = self.bytes()?;
            let bits = u64::from(byte & 0x7F);
            if bits << shift >> shift != bits {
                return None;
            }
            value |= bits << shift;
            if byte < 0x80 {
                return Some(value);
            }
        }
        None
    }

    /// The outer None: cut, or no family that there is.
    fn peer(&mut self) -> Option<Option<SocketAddr>> {
        let [family] = self.bytes()?;
        let (ip, scope) = match family {
            0 => return Some(None),
            4 => (IpAddr::V4(Ipv4Addr::from(self.bytes::<4>()?)), 0),
            6 => (IpAddr::V6(Ipv6Addr::from(self.bytes::<16>()?)), 0),
            7 => {
                let ip = IpAddr::V6(Ipv6Addr::from(self.bytes::<16>()?));
                (ip, u32::from_le_bytes(self.bytes()?))
            }
            _ => return None,
        };
        let port = u16::from_le_bytes(self.bytes()?);
        Some(Some(match ip {
            IpAddr::V4(_) => SocketAddr::new(ip, port),
            IpAddr::V6(ip) => SocketAddr::V6(SocketAddrV6::new(ip, port, 0, scope)),
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::super::fields::find;
    use super::*;
    use proptest::prelude::*;

    fn coded(coder: &mut MetaCoder) -> Vec<u8> {
        let mut fields = Vec::new();
        coder.finish(&mut fields);
        assert!(coder.is_empty());
        find(&fields, META).unwrap_or(&[]).to_vec()
    }

    fn peer(text: &str) -> Option<SocketAddr> {
        Some(text.parse().unwrap())
    }

    #[test]
    fn a_stream_costs_little_and_many_senders_a_few_bytes_each() {
        let mut coder = MetaCoder::default();
        let one = peer("10.0.0.7:40000");
        (0..5000).for_each(|event| assert!(coder.push(Wall(1_000_000 * (event / 1000)), one)));
        assert_eq!(coded(&mut coder).len(), 45);
        // 64 datagrams a call, of 50 senders.
        let sender = |event| peer(&format!("10.0.0.{}:514", event % 50));
        (0..5000).for_each(|event| assert!(coder.push(Wall(50_000 * (event / 64)), sender(event))));
        let bytes = coded(&mut coder).len();
        assert!((10_000..11_000).contains(&bytes), "{bytes}");
    }

    #[test]
    fn a_coder_without_room_says_so_and_keeps_what_it_has() {
        let mut coder = MetaCoder::default();
        let far = |event: u32| Wall(if event.is_multiple_of(2) { i64::MIN } else { i64::MAX });
        let mut events = 0;
        while coder.push(far(events), peer(&format!("[fe80::{events:x}%3]:1"))) {
            events += 1;
        }
        assert!(!coder.push(far(events), None));
        assert!(coder.push(far(events - 1), peer(&format!("[fe80::{:x}%3]:1", events - 1))));
        let field = coded(&mut coder);
        assert!(field.len() <= META_BYTES_MAX && events > 1000, "{} {events}", field.len());
        let meta = Meta::decode(&field, events + 1).unwrap();
        assert_eq!(meta.of(0).unwrap().peer, peer("[fe80::0%3]:1"));
        assert_eq!(meta.of(events).unwrap(), meta.of(events - 1).unwrap());
        let mut peers = 0;
        while coder.push(Wall(0), peer(&format!("10.0.{}.{}:1", peers / 256, peers % 256))) {
            peers += 1;
        }
        assert!(peers <= META_PEERS_MAX);
        assert!(coded(&mut coder).len() <= META_BYTES_MAX);
    }

    #[test]
    fn all_are_taken_or_none() {
        let at = |time, port| Received { at: Wall(time), peer: peer(&format!("10.0.0.7:{port}")) };
        let few = [at(1, 1), at(1, 1), at(2, 2), at(2, 2)];
        let many = || (0..).map(|n| at(if n < 3 { 2 } else { 9 - n }, 2 + (n / 5) as u16));
        let mut coder = MetaCoder::default();
        assert!(!coder.push_all(many()) && coder.is_empty());
        assert!(coder.push_all(few.into_iter()) && !coder.push_all(many()));
        assert!(coder.push_all([at(2, 2), at(3, 3)].into_iter()));
        let mut plain = MetaCoder::default();
        assert!(plain.push_all(few.into_iter().chain([at(2, 2), at(3, 3)])));
        assert_eq!(coded(&mut coder), coded(&mut plain));
    }

    #[test]
    fn what_is_cut_newer_or_of_another_count_is_refused() {
        let mut coder = MetaCoder::default();
        let events = [(5, "1.2.3.4:5"), (9, "[::1]:6"), (9, "[::1]:6"), (i64::MAX, "1.2.3.4:5")];
        events.iter().for_each(|(at, from)| assert!(coder.push(Wall(*at), peer(from))));
        let field = coded(&mut coder);
        let meta = Meta::decode(&field, 4).unwrap();
        let found: Vec<_> = (0..4).map(|event| meta.of(event).unwrap()).collect();
        let expected = events.map(|(at, from)| Received { at: Wall(at), peer: peer(from) });
        assert_eq!((found, meta.of(4)), (expected.to_vec(), None));
        assert_eq!(Meta::decode(&field, 5), Err(MetaError::Contradiction));
        for cut in 0..field.len() {
            assert_eq!(Meta::decode(&field[..cut], 4), Err(MetaError::Contradiction), "{cut}");
        }
        let newer = [&[2], &field[1..]].concat();
        assert_eq!(Meta::decode(&newer, 4), Err(MetaError::Version(2)));
    }

    proptest! {
        #[test]
        fn any_events_come_back(
            events in prop::collection::vec(
                (any::<i64>(), 0_u8..6, 0_usize..4, any::<u16>()), 1..300),
        ) {
            let mut coder = MetaCoder::default();
            let mut at = 0_i64;
            let kept: Vec<Received> = events.iter().map(|(number, how, from, port)| {
                at = match how {
                    0 => *number,
                    1 => at.wrapping_add(number >> 40),
                    2 => at.wrapping_add(number >> 3),
                    _ => at,
                };
                let peers = [None, peer("9.8.7.6:5"), peer("[fe80::1%9]:7"),
                    Some(SocketAddr::from(([10, 0, 0, 1], *port)))];
                Received { at: Wall(at), peer: peers[*from] }
            }).collect();
            for event in &kept {
                prop_assert!(coder.push(event.at, event.peer));
            }
            let meta = Meta::decode(&coded(&mut coder), kept.len() as u32).unwrap();
            for (number, event) in (0..).zip(&kept) {
                prop_assert_eq!(meta.of(number), Some(*event));
            }
        }

        #[test]
        fn any_bytes_are_read_or_refused(
            mut field in prop::collection::vec(any::<u8>(), 0..80), events in 0_u32..50,
        ) {
            field.insert(0, 1);
            if let Ok(meta) = Meta::decode(&field, events) {
                (0..events).for_each(|event| assert!(meta.of(event).is_some()));
            }
        }
    }
}
