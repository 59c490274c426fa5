//! What becomes of connections that must agree on something first: each failure told and counted.

use std::io;
use std::time::Duration;

use super::complaints::Complaints;
use crate::event::Origin;
use crate::telemetry::SourceCounters;
use crate::telemetry::incident::Watch;
use crate::time::Now;
use crate::wire::tls::fault::{Kind, fault_of};

pub struct Handshakes {
    timeout: Option<Duration>,
    complaints: Complaints<{ Kind::COUNT }>,
}

impl Handshakes {
    /// `timeout`: none where nobody has to agree on anything.
    pub fn new(timeout: Option<Duration>, watch: Watch) -> Self {
        Self { timeout, complaints: Complaints::new(watch) }
    }

    pub fn timeout(&self) -> Option<Duration> {
        self.timeout
    }

    /// A connection failed: by its protocol, or just so, which senders see themselves.
    pub fn failed(
        &mut self,
        origin: Origin,
        error: &io::Error,
        counters: &SourceCounters,
        now: Now,
    ) {
        let Some(fault) = fault_of(error) else { return };
        if fault.kind == Kind::Broken {
            self.tell(Kind::Broken, origin, &fault.what, now);
            return;
        }
        counters.refused_connections.add(1);
        self.tell(fault.kind, origin, &fault.what, now);
    }

    /// A connection has not agreed in time.
    pub fn late(&mut self, origin: Origin, counters: &SourceCounters, now: Now) {
        counters.refused_connections.add(1);
        let what = "it did not finish its handshake in time (tls.handshake_timeout)";
        self.tell(Kind::Handshake, origin, what, now);
    }

    pub fn tick(&mut self, now: Now) {
        self.complaints.tick(now);
    }

    fn tell(&mut self, kind: Kind, origin: Origin, what: &str, now: Now) {
        let who = origin.peer.map_or_else(|| "a sender".to_owned(), |peer| peer.to_string());
        self.complaints.tell(kind as usize, now, format!("TLS with {who}: {what}"));
    }
}
