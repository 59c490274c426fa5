//! Lines that wait to be joined, and how long.

use std::time::Duration;

use super::{Connection, Desk, Mono, Now, Page, Reactor, names};

/// All connections are looked at so often at most, in parts of the time that a group may wait.
const LOOKS_PER_AGE: u32 = 8;

impl Reactor {
    /// Groups behind which nothing came for long enough are events. False: the page has no room.
    pub(super) fn end_groups(&mut self, page: &mut Page, now: Now) -> bool {
        if now.mono < self.ripe {
            return true;
        }
        let (mut ripe, mut look) = (Mono::MAX, Duration::ZERO);
        let time = self.attention.at(now);
        for connection in self.connections.iter_mut().flatten() {
            let Connection { link, protocol, origin, name, host, labels, heard, .. } = connection;
            let Some(age) = protocol.patience() else { continue };
            look = age / LOOKS_PER_AGE;
            // More may have come in time, and wait for us while nothing could be read.
            let silent = time.since(*heard);
            if silent < age || link.waiting_bytes() > 0 {
                ripe = ripe.min(now.mono.after(age.saturating_sub(silent)));
                continue;
            }
            let (rules, carries) = (&self.rules, &mut self.carries);
            let names = names(name, host);
            let at = now.wall;
            let mut desk = Desk { page, carries, rules, at, names, labels, counter: None };
            if !protocol.end_group(&mut desk, *origin) {
                return false;
            }
        }
        self.ripe = if ripe == Mono::MAX { ripe } else { ripe.max(now.mono.after(look)) };
        true
    }
}
