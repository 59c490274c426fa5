//! What the reactor does because time has passed.

use std::time::Duration;

use super::{Connection, Cut, Desk, GATES, Mono, Now, Page, Reactor, SWEEP, list, names};
use crate::time::duration_ns;

/// Time as it passes for senders: it stands still while the valve is closed, when they may have
/// spoken and nobody has heard it. Closing and opening cost nothing for each connection.
#[derive(Default)]
pub(super) struct Attention {
    left: Option<Mono>,
    away: Duration,
}

impl Attention {
    pub(super) fn leaves(&mut self, now: Now) {
        self.left.get_or_insert(now.mono);
    }

    pub(super) fn returns(&mut self, now: Now) {
        if let Some(left) = self.left.take() {
            self.away += now.mono.since(left);
        }
    }

    pub(super) fn at(&self, now: Now) -> Mono {
        Mono(now.mono.0.saturating_sub(duration_ns(self.away)))
    }
}

impl Reactor {
    pub(super) fn tick(&mut self, now: Now) {
        self.datagrams.count_drops(now);
        self.inflations.tick(now);
        if now.mono >= self.alarm {
            self.ring_alarms(now);
        }
        if now.mono >= self.resume {
            self.read_again(now);
        }
        if now.mono >= self.retry {
            self.retry = Mono::MAX;
            for token in GATES..GATES + self.gates.len() {
                list(&mut self.ready, &mut self.listed, token);
            }
        }
    }

    /// Those that were paused for long enough are read again.
    fn read_again(&mut self, now: Now) {
        self.resume = Mono::MAX;
        let (base, heard) = (self.base(), self.attention.at(now));
        for (index, connection) in self.connections.iter_mut().enumerate() {
            let Some(connection) = connection.as_mut().filter(|one| one.paused > Mono(0)) else {
                continue;
            };
            if connection.paused > now.mono {
                self.resume = self.resume.min(connection.paused);
            } else {
                connection.paused = Mono(0);
                // What was left unread is no silence.
                if connection.link.is_settled() {
                    connection.heard = heard;
                }
                list(&mut self.ready, &mut self.listed, base + index);
            }
        }
    }

    /// The shortest time that somebody may be silent.
    pub(super) fn patience(&self) -> Option<Duration> {
        let agreed = [self.preambles.timeout(), self.handshakes.timeout()];
        self.idle_timeout.into_iter().chain(agreed.into_iter().flatten()).min()
    }

    /// Closes connections that were silent, or did not agree, for too long. False: the page has no
    /// room.
    pub(super) fn sweep(&mut self, page: &mut Page, now: Now) -> bool {
        let Some(patience) = self.patience().filter(|_| now.mono >= self.sweep) else {
            return true;
        };
        self.handshakes.tick(now);
        self.preambles.tick(now);
        for index in 0..self.connections.len() {
            if self.awaits_header(index, now) {
                continue;
            }
            let listed = self.listed[self.base() + index];
            let Some(connection) = &mut self.connections[index] else { continue };
            let silent = self.attention.at(now).since(connection.heard);
            let settled = connection.link.is_settled();
            let timeout = if settled { self.idle_timeout } else { self.handshakes.timeout() };
            // Whoever dribbles has no more time to agree than whoever is silent.
            let owed = connection.protocol.is_owed();
            let waits = settled && (listed || owed || connection.paused > Mono(0));
            if waits || timeout.is_none_or(|timeout| silent < timeout) {
                continue;
            }
            if !settled {
                self.handshakes.late(connection.origin, &self.counters, now);
            }
            let (rules, carries) = (&self.rules, &mut self.carries);
            let names = names(&connection.name, &connection.host);
            let (at, labels) = (now.wall, &connection.labels);
            let mut desk = Desk { page, carries, rules, at, names, labels, counter: None };
            if !connection.protocol.flush(&mut desk, connection.origin, Cut::End) {
                return false;
            }
            let Connection { protocol, origin, .. } = connection;
            self.miscounts.ask(protocol, *origin, &self.counters, now);
            self.part(index);
        }
        self.sweep = now.mono.after(SWEEP.min(patience));
        true
    }
}
