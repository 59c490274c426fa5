//! When the reactor has nothing to do, or no room to do it in.

use super::{Connection, Cut, Desk, Mono, Now, Page, Reactor, names, timeout};

impl Reactor {
    pub(super) fn sleep(&mut self, now: Now, until: Mono, open: bool) {
        if open {
            let until = until.min(self.due());
            if let Some(nap) = self.naps.before_wait(now) {
                std::thread::sleep(nap);
            }
            self.look(timeout(now, until));
            self.rung = false;
            self.polled = true;
            return;
        }
        // Nobody reads now, so the kernel may be dropping: that must show while it happens.
        self.datagrams.watch_drops();
        self.datagrams.count_drops(now);
        let until = until.min(self.datagrams.drops_due());
        self.answer(timeout(now, until));
    }

    /// Makes room for carries: the longest becomes an event. False: the page has no room.
    pub(super) fn evict(&mut self, page: &mut Page, now: Now) -> bool {
        while self.carries.is_tight() {
            let longest = self.connections.iter_mut().flatten();
            let longest = longest.max_by_key(|connection| connection.protocol.carried());
            let Some(Connection { protocol, origin, name, host, labels, .. }) = longest else {
                return true;
            };
            let (rules, carries) = (&self.rules, &mut self.carries);
            let names = names(name, host);
            let at = now.wall;
            let mut desk = Desk { page, carries, rules, at, names, labels, counter: None };
            if !protocol.flush(&mut desk, *origin, Cut::Evicted) {
                return false;
            }
        }
        true
    }
}
