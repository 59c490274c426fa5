//! Peers that are set up for something else: each time is counted, and the peer named once a
//! minute.

use std::net::{IpAddr, Ipv4Addr};

use super::remarks::Remarks;
use crate::event::Origin;
use crate::telemetry::SourceCounters;
use crate::time::Now;
use crate::wire::relp::RelpError;

#[derive(Default)]
pub struct Miscounts {
    counts: Remarks,
    relp: Remarks,
    tls: Remarks,
}

impl Miscounts {
    /// So many texts of this peer had lost their octet count.
    pub fn tell(&mut self, texts: u32, origin: Origin, counters: &SourceCounters, now: Now) {
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

    /// Its connection is closed for what came over it.
    pub fn tell_relp(
        &mut self,
        fault: &RelpError,
        origin: Origin,
        counters: &SourceCounters,
        now: Now,
    ) {
        counters.errors.add(1);
        if let Some(times) = self.relp.note(address(origin), 1, now) {
            tracing::warn!(
                "{}: RELP: {fault}; the connection is closed, and what was not acknowledged may \
                 come again: {times}",
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
