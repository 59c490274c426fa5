//! When the reactor has nothing to do, or no room to do it in, and where bytes wait meanwhile.

use super::{Connection, Cut, Desk, Link, Mono, Now, Page, Reactor, VISIT_BYTES, names, timeout};
use crate::limits;

/// What leaves a channel while its source rests: as much may come meanwhile.
const MEANWHILE_BYTES: usize = limits::BACKLOG_BYTES / 2;

/// A stream of which a visit `took` all that it may will send more while we rest. What then finds
/// no room its sender keeps, and all that a sender keeps is sent at our cost, for the most part: as
/// we read, by the acknowledgement that there is room again. So it gets room, and shares with the
/// others of its kind, of which there are `fast`, unless they are too many for that; when some have
/// gone, its share is larger. `room` is what it has got, in bytes.
pub(super) fn widen(link: &Link, room: &mut usize, took: usize, fast: &mut usize) {
    if took < VISIT_BYTES {
        return;
    }
    let streams = *fast + usize::from(*room == 0);
    let share = MEANWHILE_BYTES / streams;
    if share >= VISIT_BYTES.max(*room + 1) {
        (*fast, *room) = (streams, share);
        link.widen(share);
    }
}

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

#[cfg(test)]
mod tests {
    use mio::net::TcpStream;
    use socket2::SockRef;

    use super::*;

    #[test]
    fn a_fast_stream_is_widened_and_shares_with_others_of_its_kind() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let socket = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let room = |link: &Link| match link {
            Link::Tcp(socket) => SockRef::from(socket).recv_buffer_size().unwrap(),
            Link::Unix(_) | Link::Tls(_) => unreachable!(),
        };
        let link = Link::Tcp(socket);
        let before = room(&link);
        let (mut has, mut fast, many) = (0, 0, MEANWHILE_BYTES / VISIT_BYTES);
        widen(&link, &mut has, VISIT_BYTES - 1, &mut fast);
        assert_eq!((room(&link), has, fast), (before, 0, 0), "too slow");
        fast = many;
        widen(&link, &mut has, VISIT_BYTES, &mut fast);
        assert_eq!((room(&link), has, fast), (before, 0, many), "too many");
        fast = 3;
        widen(&link, &mut has, VISIT_BYTES, &mut fast);
        let quarter = room(&link);
        assert!(before < quarter, "{before}, {quarter}");
        assert_eq!((has, fast), (MEANWHILE_BYTES / 4, 4));
        fast = many;
        widen(&link, &mut has, VISIT_BYTES, &mut fast);
        assert_eq!((room(&link), has), (quarter, MEANWHILE_BYTES / 4), "others came");
        fast = 1;
        widen(&link, &mut has, VISIT_BYTES, &mut fast);
        assert_eq!((has, fast), (MEANWHILE_BYTES, 1), "it is alone");
        assert!(quarter <= room(&link), "{quarter}, {}", room(&link));
    }
}
