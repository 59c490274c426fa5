//! Peers that are set up for something else: each time is counted, and the peer named once a
//! minute.

use std::net::{IpAddr, Ipv4Addr};

use super::http::Refused;
use super::protocol::Protocol;
use super::remarks::Remarks;
use crate::event::Origin;
use crate::telemetry::SourceCounters;
use crate::time::Now;
use crate::wire::memcached::Reply;
use crate::wire::relp::RelpError;

/// What was wrong with what came over a connection.
#[derive(Debug)]
pub enum Fault {
    Relp(RelpError),
    /// So many of memcached's commands were refused, the last one so.
    Refused(Reply, u32),
    /// memcached's binary protocol.
    Binary,
}

impl Fault {
    /// Notes an answer, if it tells of something wrong.
    pub fn note(fault: &mut Option<Self>, reply: Reply) {
        if reply.is_fault() {
            let before = if let Some(Self::Refused(_, times)) = fault { *times } else { 0 };
            *fault = Some(Self::Refused(reply, before + 1));
        }
    }
}

#[derive(Default)]
pub struct Miscounts {
    counts: Remarks,
    relp: Remarks,
    refused: Remarks,
    binary: Remarks,
    tls: Remarks,
    requests: Remarks,
}

impl Miscounts {
    /// What was wrong with what a connection brought.
    pub fn ask(
        &mut self,
        protocol: &mut Protocol,
        origin: Origin,
        counters: &SourceCounters,
        now: Now,
    ) {
        self.tell(protocol.take_astray(), origin, counters, now);
        if let Some(refused) = protocol.take_refused() {
            self.tell_refused(&refused, origin, counters, now);
        }
    }

    /// So many texts of this peer had lost their octet count.
    fn tell(&mut self, texts: u32, origin: Origin, counters: &SourceCounters, now: Now) {
        if texts == 0 {
            return;
        }
        counters.errors.add(u64::from(texts));
        if let Some(times) = self.counts.note(address(origin), u64::from(texts), now) {
            tracing::warn!(
                "{}: octet counts that do not match its messages (RFC 6587 3.4.1): {times}; the \
                 text between two frames is kept and marked split; let it count the message's \
                 bytes, or end messages with LF",
                who(origin)
            );
        }
    }

    pub fn tell_fault(
        &mut self,
        fault: &Fault,
        origin: Origin,
        counters: &SourceCounters,
        now: Now,
    ) {
        let (remarks, count) = match fault {
            Fault::Relp(_) => (&mut self.relp, 1),
            Fault::Refused(_, count) => (&mut self.refused, u64::from(*count)),
            Fault::Binary => (&mut self.binary, 1),
        };
        counters.errors.add(count);
        let Some(times) = remarks.note(address(origin), count, now) else { return };
        let who = who(origin);
        match fault {
            Fault::Relp(error) => tracing::warn!(
                "{who}: RELP: {error}; the connection is closed, and what was not acknowledged may \
                 come again: {times}"
            ),
            Fault::Refused(reply, _) => tracing::warn!(
                "{who}: commands of memcached that were refused, the last one with \"{}\": {times}",
                reply.text().trim_end()
            ),
            Fault::Binary => tracing::warn!(
                "{who}: it speaks memcached's binary protocol, and this source its text protocol: \
                 {times}; the connection is closed; have the client speak text"
            ),
        }
    }

    /// Its requests were refused: it knows that, and why.
    fn tell_refused(
        &mut self,
        refused: &Refused,
        origin: Origin,
        counters: &SourceCounters,
        now: Now,
    ) {
        let Refused { status, why, times, .. } = refused;
        counters.errors.add(*times);
        if let Some(times) = self.requests.note(address(origin), *times, now) {
            tracing::warn!(
                "{}: requests were refused: {times}; the last with {status}: {why}",
                who(origin)
            );
        }
    }

    /// It begins with TLS where there is none: what comes is kept as lines, which nobody can read.
    pub fn tell_tls(&mut self, origin: Origin, counters: &SourceCounters, now: Now) {
        counters.errors.add(1);
        if let Some(times) = self.tls.note(address(origin), 1, now) {
            tracing::warn!(
                "{}: it speaks TLS, and this listener does not: {times}; send in plain, or listen \
                 with TLS (tls://, relps://)",
                who(origin)
            );
        }
    }
}

/// Local peers are one.
fn address(origin: Origin) -> IpAddr {
    origin.peer.map_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED), |peer| peer.ip())
}

fn who(origin: Origin) -> String {
    origin.peer.map_or_else(|| "a local sender".to_owned(), |peer| peer.to_string())
}
