//! Connections that say first whom they are for.

use std::io;
use std::sync::Arc;

use super::super::preamble::Heard;
use super::{After, Connection, Now, Reactor, VISIT_BYTES, list};
use crate::event::Names;

impl Reactor {
    /// Takes a header that is due. `None`: the connection's peer is known, and it may be read.
    pub(super) fn introduce(&mut self, index: usize, now: Now) -> Option<After> {
        let heard = self.attention.at(now);
        let connection = self.connections[index].as_mut()?;
        let (preamble, socket) = (connection.preamble.as_mut()?, connection.link.tcp()?);
        match preamble.hear(socket) {
            Heard::Peer(peer) => {
                connection.origin.peer = peer.or(connection.origin.peer);
                connection.preamble = None;
                connection.heard = heard;
                return None;
            }
            Heard::More if !self.stopping => {}
            // Nothing of it can be an event.
            Heard::More | Heard::Nothing => self.close(index),
            Heard::Fault(kind, what) => {
                let origin = connection.origin;
                self.preambles.refuse(kind, origin, &what, &self.counters, now);
                self.close(index);
            }
        }
        Some(After::Rest)
    }

    /// What can be said of a connection besides what it says: what its peer is called, and whether
    /// it speaks what is heard here.
    pub(super) fn greet(&mut self, index: usize, now: Now) {
        let Some(connection) = self.connections[index].as_mut() else { return };
        if let Some(reverse) = &self.reverse {
            connection.host = reverse.of(connection.origin.peer, now.mono);
        }
        if let Some(teller) = &self.teller {
            teller.tell(connection.origin, connection.host.as_deref(), &mut connection.labels);
        }
        if connection.begun {
            return;
        }
        if let Some(tls) = connection.link.begins_tls() {
            connection.begun = true;
            if tls {
                self.miscounts.tell_tls(connection.origin, &self.counters, now);
            }
        }
    }

    /// Whether a header is still to come; one that is late is waited for no longer.
    pub(super) fn awaits_header(&mut self, index: usize, now: Now) -> bool {
        let Some(connection) = &self.connections[index] else { return false };
        if connection.preamble.is_none() {
            return false;
        }
        let timeout = self.preambles.timeout();
        if timeout.is_none_or(|timeout| self.attention.at(now).since(connection.heard) < timeout) {
            return true;
        }
        // It may have come in time, and waited for us while nothing could be read.
        if self.introduce(index, now).is_none() {
            let token = self.base() + index;
            list(&mut self.ready, &mut self.listed, token);
        } else if let Some(connection) = &self.connections[index] {
            self.preambles.late(connection.origin, &self.counters, now);
            self.close(index);
        }
        true
    }
}

impl Connection {
    /// Goes on with what must be agreed on before text comes; the peer has its name with the first.
    pub(super) fn agree(&mut self) -> io::Result<()> {
        if !self.link.is_settled() {
            self.link.agree()?;
            if self.link.is_settled() {
                self.name = self.link.name();
            }
        }
        Ok(())
    }

    /// Bytes a visit may take. While stopping: what has arrived by now, and no more, or a sender
    /// at full rate would keep us for ever.
    pub(super) fn bound(&mut self, stopping: bool) -> usize {
        if !stopping {
            return VISIT_BYTES;
        }
        let there = || self.link.waiting_bytes().saturating_add(self.protocol.untold_bytes());
        // At least one read, which may find that the peer has closed.
        let allowance = self.allowance.get_or_insert_with(|| there().max(1));
        VISIT_BYTES.min(*allowance)
    }
}

pub(super) fn names<'a>(certificate: &'a str, host: &'a Option<Arc<str>>) -> Names<'a> {
    Names { certificate, host: host.as_deref().unwrap_or_default() }
}
