//! Sources with real sockets, stepped by hand.

#[cfg(test)]
mod compressed;
#[cfg(test)]
mod headers;
#[cfg(test)]
mod multiline;
#[cfg(test)]
mod proxy;
#[cfg(test)]
mod tls;

use super::*;
use crate::event::Page;
use crate::source::{SOURCES, Source};
use crate::telemetry::{Incidents, LostReason, SourceCounters};
use crate::time::{Mono, Now, Wall};
use std::io::Write;
use std::net::{SocketAddr, TcpStream};
use std::time::Instant;

#[test]
fn connections_leave_descriptors_to_others() {
    let places = [10, 64, 256, 1024, 20_000].map(places_with);
    assert_eq!(places, [8, 16, 192, 768, 15_000]);
}

/// A source of one or more threads, its pages, and a clock that a test may push on.
pub(super) struct Rig {
    pub(super) sources: Vec<Box<dyn Source>>,
    pub(super) pages: Vec<Page>,
    pub(super) addresses: Vec<SocketAddr>,
    pub(super) counters: Vec<Arc<SourceCounters>>,
    pub(super) incidents: Arc<Incidents>,
    pub(super) start: Instant,
    pub(super) ahead: Duration,
}

/// What a source in a test is built with.
pub(in crate::source) fn context(
    counters: Vec<Arc<SourceCounters>>,
    incidents: Arc<Incidents>,
) -> SourceContext {
    SourceContext {
        name: "net".to_owned(),
        want_pri: false,
        exact: false,
        want_headers: false,
        want_host: false,
        page_bytes: 1 << 20,
        channels: 1,
        furthest: crate::memory::receipt::Reached::Synced,
        counters,
        incidents,
    }
}

pub(super) fn rig(kind: &str, body: &str) -> Rig {
    rig_with(kind, body, false)
}

/// The same when somebody may ask for headers.
pub(super) fn rig_with(kind: &str, body: &str, want_headers: bool) -> Rig {
    let kind = SOURCES.iter().find(|row| row.name == kind).unwrap();
    let section = Section::parse(body, kind.options);
    let plan = (kind.plan)(&section);
    section.finish();
    assert!(!section.diagnostics().has_errors(), "{:?}", section.diagnostics().lines());
    let counters: Vec<Arc<SourceCounters>> = (0..plan.threads()).map(|_| Arc::default()).collect();
    let incidents = Incidents::new();
    let context = SourceContext { want_headers, ..context(counters.clone(), incidents.clone()) };
    let built = plan.build(&context).unwrap();
    assert_eq!(built.bound.len(), plan.listeners().len());
    Rig {
        pages: built.sources.iter().map(|_| Page::new(1 << 20)).collect(),
        sources: built.sources,
        addresses: built
            .bound
            .iter()
            .map(|bound| bound.place.internet())
            .map(Option::unwrap)
            .collect(),
        counters,
        incidents,
        start: Instant::now(),
        ahead: Duration::ZERO,
    }
}

impl Rig {
    fn now(&self) -> Now {
        // Only the monotonic clock is pushed on: a page's own times span four seconds.
        let elapsed = self.start.elapsed();
        let mono = (elapsed + self.ahead).as_nanos();
        Now { mono: Mono(mono as u64), wall: Wall(elapsed.as_nanos() as i64) }
    }

    /// Receives and waits until `done` says so.
    pub(super) fn until(&mut self, done: impl Fn(&Self) -> bool) {
        let began = Instant::now();
        while !done(self) {
            assert!(began.elapsed() < Duration::from_secs(20), "{:?}", self.pages);
            for index in 0..self.sources.len() {
                let now = self.now();
                let until = now.mono.after(Duration::from_millis(20));
                let received = self.sources[index].receive(&mut self.pages[index], now);
                assert!(!received.full, "{:?}", self.texts());
                self.sources[index].wait(now, until, true);
            }
        }
    }

    pub(super) fn count(&self) -> u32 {
        self.pages.iter().map(Page::event_count).sum()
    }

    pub(super) fn open(&self) -> u64 {
        self.counters.iter().map(|counters| counters.open_connections.get()).sum()
    }

    fn connect(&self) -> TcpStream {
        TcpStream::connect(self.addresses[0]).unwrap()
    }

    /// Stops, and receives until finished.
    fn stop(&mut self) {
        for index in 0..self.sources.len() {
            let now = self.now();
            self.sources[index].stop(now);
            let began = Instant::now();
            loop {
                let now = self.now();
                if self.sources[index].receive(&mut self.pages[index], now).finished {
                    break;
                }
                assert!(began.elapsed() < Duration::from_secs(20), "it never finished");
                self.sources[index].wait(now, Mono::MAX, true);
            }
        }
    }

    pub(super) fn texts(&self) -> Vec<String> {
        let events = self.pages.iter().flat_map(Page::events);
        let mut texts: Vec<String> =
            events.map(|event| String::from_utf8_lossy(event.bytes).into_owned()).collect();
        texts.sort();
        texts
    }
}

#[test]
fn both_framings_and_both_transports_arrive_with_their_origin() {
    let listen = "listen = ['tcp://127.0.0.1:0', 'udp://127.0.0.1:0', 'tcp://[::1]:0']";
    let mut rig = rig("syslog", listen);
    let mut first = rig.connect();
    let mut second = TcpStream::connect(rig.addresses[2]).unwrap();
    let udp = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    first.write_all(b"<13>a\n7 <13>bcdlast").unwrap();
    second.write_all(b"<14>e\r\n").unwrap();
    udp.send_to(b"<15>f\n", rig.addresses[1]).unwrap();
    rig.until(|rig| rig.count() == 4);
    drop(first);
    rig.until(|rig| rig.count() == 5 && rig.open() == 1);
    assert_eq!(rig.texts(), ["<13>a", "<13>bcd", "<14>e", "<15>f", "last"]);
    let second = second.local_addr().unwrap();
    for event in rig.pages[0].events() {
        let listener = match event.bytes {
            b"<14>e" => 2,
            b"<15>f" => 1,
            _ => 0,
        };
        assert_eq!(event.origin.listener, listener);
        assert_eq!(event.origin.peer == Some(second), listener == 2);
    }
}

#[test]
fn a_wrong_count_is_an_error_of_its_peer_and_the_next_frame_is_read() {
    let mut rig = rig("syslog", "listen = 'tcp://127.0.0.1:0'");
    let mut sender = rig.connect();
    sender.write_all(b"7 <13>bcd7 <13>short8 <13>last9 <13>en").unwrap();
    rig.until(|rig| rig.count() == 4);
    assert_eq!(rig.texts(), ["<13>bcd", "<13>last", "<13>sho", "rt"]);
    assert_eq!(rig.counters[0].errors.get(), 1);
    drop(sender);
    // What its sender never ended is no error of counting.
    rig.until(|rig| rig.open() == 0);
    assert_eq!((rig.count(), rig.counters[0].errors.get()), (5, 1));
    // And a text that only the end of its stream ends.
    rig.connect().write_all(b"7 <13>bcdlast").unwrap();
    rig.until(|rig| rig.count() == 7 && rig.open() == 0);
    assert_eq!(rig.counters[0].errors.get(), 2);
}

#[test]
fn a_sender_at_full_rate_starves_nobody() {
    let mut rig = rig("tcp", "listen = 'tcp://127.0.0.1:0'");
    let mut greedy = rig.connect();
    greedy.set_nonblocking(true).unwrap();
    let others: Vec<TcpStream> = (0..50).map(|_| rig.connect()).collect();
    rig.until(|rig| rig.open() == 51);
    let line = [b'x'; 999];
    let lines = [&line[..], b"\n"].concat().repeat(4000);
    // As much as the kernel takes: more than one visit may read.
    let mut sent = 0;
    while let Ok(count) = greedy.write(&lines[sent % 1000..]) {
        sent += count;
    }
    assert!(sent > 512 << 10, "{sent}");
    others.iter().for_each(|mut other| other.write_all(b"mine\n").unwrap());
    let now = rig.now();
    let mut page = Page::new(1 << 20);
    rig.sources[0].receive(&mut page, now);
    let mine = page.events().filter(|event| event.bytes == b"mine").count();
    assert_eq!(mine, 50);
    assert!(page.event_bytes() < 400 << 10, "{}", page.event_bytes());
    // And the greedy one is read to its end, visit by visit.
    let (mut count, mut serial) = (page.event_count(), 1);
    while count < sent as u32 / 1000 + 50 {
        serial += 1;
        page.clear(serial);
        let now = rig.now();
        rig.sources[0].receive(&mut page, now);
        count += page.event_count();
    }
}

#[test]
fn no_more_connections_than_the_maximum_and_the_others_wait() {
    let mut rig = rig("tcp", "listen = 'tcp://127.0.0.1:0'\nconnections_max = 2");
    let mut three: Vec<TcpStream> = (0..3).map(|_| rig.connect()).collect();
    for (index, connection) in three.iter_mut().enumerate() {
        connection.write_all(format!("from {index}\n").as_bytes()).unwrap();
    }
    rig.until(|rig| rig.count() == 2 && !rig.incidents.list().is_empty());
    assert_eq!((rig.open(), rig.texts().len()), (2, 2));
    three.remove(0);
    rig.until(|rig| rig.count() == 3 && rig.incidents.list()[0].ended.is_some());
    assert_eq!(rig.texts(), ["from 0", "from 1", "from 2"]);
    let incidents = rig.incidents.list();
    assert!(incidents.len() == 1 && incidents[0].ended.is_some(), "{incidents:?}");
}

#[test]
fn stopping_reads_what_has_come_also_from_those_not_yet_accepted() {
    let mut rig = rig("tcp", "listen = 'tcp://127.0.0.1:0'");
    let mut known = rig.connect();
    rig.until(|rig| rig.open() == 1);
    let mut unknown = rig.connect();
    known.write_all(b"known\nhalf").unwrap();
    unknown.write_all(b"unknown\n").unwrap();
    rig.stop();
    assert_eq!(rig.texts(), ["half", "known", "unknown"]);
    assert_eq!(rig.open(), 0);
    assert!(TcpStream::connect(rig.addresses[0]).is_err());
}

#[test]
fn threads_share_the_datagrams_and_every_one_is_accounted_for() {
    let mut rig = rig("udp", "listen = 'udp://127.0.0.1:0'\nthreads = 2");
    let senders: Vec<_> =
        (0..32).map(|_| std::net::UdpSocket::bind("127.0.0.1:0").unwrap()).collect();
    for round in 0..10 {
        for sender in &senders {
            sender.send_to(format!("{round}").as_bytes(), rig.addresses[0]).unwrap();
        }
    }
    rig.until(|rig| rig.count() == 320);
    assert!(rig.pages.iter().all(|page| page.event_count() > 0), "one socket gets nothing");
    rig.stop();
    let lost: u64 = rig.counters.iter().map(|c| c.lost[LostReason::Kernel].get()).sum();
    assert_eq!((rig.count(), lost), (320, 0));
}

#[test]
fn silent_connections_are_closed_when_asked_for() {
    let mut rig = rig("tcp", "listen = 'tcp://127.0.0.1:0'\nidle_timeout = '1h'");
    let mut silent = rig.connect();
    silent.write_all(b"whole\nunfinished").unwrap();
    rig.until(|rig| rig.count() == 1);
    rig.ahead = Duration::from_secs(3599);
    let mut busy = rig.connect();
    busy.write_all(b"busy\n").unwrap();
    rig.until(|rig| rig.count() == 2 && rig.open() == 2);
    rig.ahead = Duration::from_secs(3602);
    rig.until(|rig| rig.open() == 1);
    assert_eq!(rig.texts(), ["busy", "unfinished", "whole"]);
}

#[test]
fn a_ring_ends_any_wait_and_data_only_an_open_one() {
    let mut rig = rig("tcp", "listen = 'tcp://127.0.0.1:0'");
    let mut connection = rig.connect();
    rig.until(|rig| rig.open() == 1);
    let waker = rig.sources[0].waker();
    for open in [true, false] {
        let now = rig.now();
        rig.sources[0].receive(&mut rig.pages[0], now);
        waker.wake();
        rig.sources[0].wait(now, Mono::MAX, open);
    }
    // A ring that was heard while looking for readiness is not forgotten.
    waker.wake();
    let now = rig.now();
    rig.sources[0].receive(&mut rig.pages[0], now);
    rig.sources[0].wait(now, Mono::MAX, false);

    connection.write_all(b"data\n").unwrap();
    let (began, now) = (Instant::now(), rig.now());
    rig.sources[0].wait(now, now.mono.after(Duration::from_millis(30)), false);
    assert!(began.elapsed() >= Duration::from_millis(29));
    rig.sources[0].wait(now, Mono::MAX, true);
    rig.until(|rig| rig.count() == 1);
}

#[test]
fn more_unfinished_lines_than_memory_are_split_and_nothing_of_them_lost() {
    let body = "listen = 'tcp://127.0.0.1:0'\nevent_max = '256KiB'";
    let mut rig = rig("tcp", body);
    // 60 lines of 100,000 bytes are more than the budget of some 4.4 MiB.
    let mut senders: Vec<TcpStream> = (0..60).map(|_| rig.connect()).collect();
    let (mut bytes, mut split) = (0, 0);
    let mut step = |rig: &mut Rig| {
        let now = rig.now();
        let mut page = Page::new(1 << 20);
        rig.sources[0].receive(&mut page, now);
        bytes += page.event_bytes();
        split += page.mark_counts()[crate::event::Mark::Split as usize];
    };
    for sender in &mut senders {
        sender.set_nonblocking(true).unwrap();
        let text = vec![b'y'; 100_000];
        let mut sent = 0;
        while sent < text.len() {
            match sender.write(&text[sent..]) {
                Ok(count) => sent += count,
                Err(_) => step(&mut rig),
            }
        }
        step(&mut rig);
    }
    drop(senders);
    let began = Instant::now();
    while rig.open() > 0 {
        assert!(began.elapsed() < Duration::from_secs(20));
        step(&mut rig);
    }
    assert_eq!(bytes, 6_000_000);
    assert!((1..=240).contains(&split), "{split}");
}
