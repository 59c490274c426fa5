//! Datagrams over the loopback, read by hand.

use super::*;
use crate::sys::udp_receive;
use crate::time::Wall;
use mio::net::UdpSocket;

const RULES: Rules =
    Rules { counted: false, zipped: false, event_bytes_max: 64 << 10, want_pri: true };

fn open() -> Warden {
    Warden::new(super::super::warden::Rules::default())
}

struct Bench {
    sender: std::net::UdpSocket,
    datagrams: Datagrams,
    counters: Arc<SourceCounters>,
}

impl Bench {
    fn flood(&self, count: usize, text: &[u8]) {
        for _ in 0..count {
            self.sender.send(text).unwrap();
        }
    }
}

fn bench(slots: usize, slot_bytes: usize) -> Bench {
    let receiver = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    receiver.set_nonblocking(true).unwrap();
    let sender = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    sender.connect(receiver.local_addr().unwrap()).unwrap();
    let counters = Arc::<SourceCounters>::default();
    let receiver = Receiver::new(Port::udp(UdpSocket::from_std(receiver), false), 2);
    let ring = ReceiveRing::new(slots, slot_bytes);
    let datagrams = Datagrams::with_ring(vec![receiver], ring, counters.clone());
    Bench { sender, datagrams, counters }
}

fn at(ms: u64) -> Now {
    Now { mono: Mono(ms * 1_000_000), wall: Wall(ms as i64) }
}

fn page(serial: u64) -> Page {
    let mut page = Page::new(64 << 10);
    page.clear(serial);
    page
}

fn texts(page: &Page) -> Vec<&[u8]> {
    page.events().map(|event| event.bytes).collect()
}

#[test]
fn a_datagram_is_an_event_without_one_trailing_delimiter() {
    let mut bench = bench(4, SLOT_BYTES);
    for text in ["<13>a\n", "b\r\n", "", "c\0", "d\n\n", "<191>\te"] {
        bench.sender.send(text.as_bytes()).unwrap();
    }
    let mut page = page(1);
    assert_eq!(
        bench.datagrams.visit(0, &mut page, at(1), &RULES, &mut open(), Aids::default()),
        Visit::Drained
    );
    assert_eq!(texts(&page), [&b"<13>a"[..], b"b", b"", b"c", b"d\n", b"<191>\te"]);
    let peer = bench.sender.local_addr().unwrap();
    for event in page.events() {
        assert_eq!(event.origin, Origin::new(Some(peer), 2));
        assert_eq!(event.marks.contains(Marks::CONTROL), event.bytes == b"d\n");
    }
    assert_eq!(page.events().map(|event| event.pri).nth(5), Some(Some(191)));
    assert_eq!(page.contiguous(), None);
}

#[test]
fn an_exact_datagram_keeps_every_byte_its_time_and_where_it_went() {
    let mut bench = bench(4, SLOT_BYTES);
    let socket = bench.datagrams.sockets[0].socket.as_fd();
    udp_receive::set_exact(socket, false).unwrap();
    bench.datagrams.exact = true;
    let sent: [&[u8]; 5] = [b"a\n", b"", b"\0\x05\0", &[b'x'; 60_000], b"b\r\n"];
    for bytes in sent {
        bench.sender.send(bytes).unwrap();
    }
    let mut page = Page::new(128 << 10);
    page.clear(1);
    let later = Now { mono: Mono(1), wall: Wall(i64::MAX) };
    let visit = bench.datagrams.visit(0, &mut page, later, &RULES, &mut open(), Aids::default());
    assert_eq!(visit, Visit::Drained);
    assert!(texts(&page) == sent);
    let to = bench.sender.peer_addr().ok();
    assert!(page.events().all(|event| event.name().local() == to && event.at < Wall(i64::MAX)));
    assert!(page.events().map(|event| event.at).is_sorted());
}

#[test]
fn a_full_page_leaves_the_rest_in_the_slots() {
    let mut bench = bench(8, SLOT_BYTES);
    let text = |n: u8| vec![b'a' + n; 20_000];
    (0..10).for_each(|n| assert_eq!(bench.sender.send(&text(n)).unwrap(), 20_000));
    let mut seen = Vec::new();
    for serial in 1..=4 {
        let mut page = page(serial);
        let visit =
            bench.datagrams.visit(0, &mut page, at(serial), &RULES, &mut open(), Aids::default());
        assert_eq!(visit, if serial < 4 { Visit::Full } else { Visit::Drained });
        assert!(page.contiguous().is_some());
        seen.extend(texts(&page).into_iter().map(<[u8]>::to_vec));
    }
    assert!(seen == (0..10).map(text).collect::<Vec<_>>());
    assert!(!bench.datagrams.is_waiting());
}

#[test]
fn long_ones_are_split_and_cut_ones_marked() {
    let mut cut = bench(4, 100);
    cut.sender.send(&[b'x'; 150]).unwrap();
    let mut page_1 = page(1);
    cut.datagrams.visit(0, &mut page_1, at(1), &RULES, &mut open(), Aids::default());
    assert_eq!(page_1.events().map(|event| event.marks).collect::<Vec<_>>(), [Marks::TRUNCATED]);
    let mut long = bench(4, SLOT_BYTES);
    long.sender.send(&[b'y'; 250]).unwrap();
    let mut page_2 = page(2);
    long.datagrams.visit(
        0,
        &mut page_2,
        at(1),
        &Rules { event_bytes_max: 100, ..RULES },
        &mut open(),
        Aids::default(),
    );
    let lengths: Vec<_> = page_2.events().map(|event| (event.bytes.len(), event.marks)).collect();
    assert_eq!(lengths, [(100, Marks::SPLIT), (100, Marks::SPLIT), (50, Marks::SPLIT)]);
}

#[test]
fn the_smallest_page_takes_the_longest_datagram() {
    let text = vec![b'x'; 65_507];
    for event_bytes_max in [64, 100, 1 << 10, 16 << 10, 64 << 10] {
        let mut bench = bench(2, SLOT_BYTES);
        assert_eq!(bench.sender.send(&text).unwrap(), text.len());
        let bytes = page_bytes_min(event_bytes_max);
        let mut page = Page::new(bytes.next_multiple_of(limits::PAGE_HEADER_BYTES));
        let rules = Rules { event_bytes_max, ..RULES };
        let visit =
            bench.datagrams.visit(0, &mut page, at(1), &rules, &mut open(), Aids::default());
        assert_eq!(visit, Visit::Drained, "event_max {event_bytes_max}");
        assert_eq!(texts(&page).concat(), text);
    }
}

#[test]
fn what_the_kernel_drops_is_counted_a_few_times_a_second() {
    let mut bench = bench(8, SLOT_BYTES);
    udp_receive::set_receive_buffer(bench.datagrams.sockets[0].socket.as_fd(), 4096).unwrap();
    let mut received = 0;
    for round in 0..3 {
        bench.flood(100, &[b'x'; 500]);
        let mut page = page(round + 1);
        bench.datagrams.visit(
            0,
            &mut page,
            at(200 * (round + 1)),
            &RULES,
            &mut open(),
            Aids::default(),
        );
        received += u64::from(page.event_count());
        let due = bench.datagrams.drops_due();
        assert!(due <= at(200 * (round + 1)).mono.after(DROPS_EVERY));
        bench.datagrams.count_drops(at(200 * (round + 1) + 100));
        assert_eq!(bench.datagrams.drops_due(), Mono::MAX);
        let lost = bench.counters.lost[LostReason::Kernel].get();
        assert!(lost > 0);
        assert_eq!(received + lost, 100 * (round + 1));
    }
}

#[test]
fn stopped_in_a_flood_everything_sent_is_received_or_counted() {
    let mut bench = bench(64, SLOT_BYTES);
    let text = [b'x'; 200];
    bench.flood(50, &text);
    bench.datagrams.stop(at(10));
    bench.flood(70, &text);
    let mut page = page(1);
    assert_eq!(
        bench.datagrams.visit(0, &mut page, at(11), &RULES, &mut open(), Aids::default()),
        Visit::Drained
    );
    assert!(!bench.datagrams.finish(), "a racing packet may still come");
    assert_eq!(bench.datagrams.quiet_at(), at(15).mono);
    bench.flood(30, &text);
    assert_eq!(
        bench.datagrams.visit(0, &mut page, at(15), &RULES, &mut open(), Aids::default()),
        Visit::Drained
    );
    assert!(!bench.datagrams.finish(), "deaf from now on, but one may be under way");
    assert_eq!(bench.datagrams.quiet_at(), at(20).mono);
    bench.sender.send(&text).unwrap();
    let refused = bench.sender.send(&text).unwrap_err();
    assert_eq!(refused.kind(), io::ErrorKind::ConnectionRefused);
    assert_eq!(
        bench.datagrams.visit(0, &mut page, at(20), &RULES, &mut open(), Aids::default()),
        Visit::Drained
    );
    assert!(bench.datagrams.finish() && bench.datagrams.finish());
    assert_eq!(page.event_count(), 50);
    assert_eq!(bench.counters.lost[LostReason::Kernel].get(), 100);
}
