//! Peers whose octet counts do not match their messages: each text is counted, the peer named.

use std::net::{IpAddr, Ipv4Addr};

use super::remarks::Remarks;
use crate::event::Origin;
use crate::telemetry::SourceCounters;
use crate::time::Now;

#[derive(Default)]
pub struct Miscounts {
    remarks: Remarks,
}

impl Miscounts {
    /// So many texts of this peer had lost their count. Local peers are one.
    pub fn tell(&mut self, texts: u32, origin: Origin, counters: &SourceCounters, now: Now) {
        if texts == 0 {
            return;
        }
        counters.errors.add(u64::from(texts));
        let address = origin.peer.map_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED), |peer| peer.ip());
        if let Some(times) = self.remarks.note(address, u64::from(texts), now) {
            let who = origin.peer.map_or_else(|| "a local sender".into(), |peer| peer.to_string());
            tracing::warn!(
                "{who}: octet counts that do not match its messages (RFC 6587 3.4.1): {times}; the \
                 text between two frames is kept and marked split; let it count the message's \
                 bytes, or end messages with LF"
            );
        }
    }
}
