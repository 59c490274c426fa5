//! `proxy_protocol`: whom connections are for, over real sockets.

use super::*;
use crate::event::Event;
use std::io::Read;

const ON: &str = "listen = 'tcp://127.0.0.1:0'\nproxy_protocol = 'on'";
const LINE: &[u8] = b"PROXY TCP4 192.0.2.7 198.51.100.1 51234 6514\r\n";

/// Version 2: `192.0.2.8:258` over TCP, and a TLV of three bytes.
const BINARY: &[u8] = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\x00\x12\xc0\x00\x02\x08\x7f\x00\x00\x01\
                        \x01\x02\x00\x50\x04\x00\x03abc";
const LOCAL: &[u8] = b"\r\n\r\n\0\r\nQUIT\n\x20\x00\x00\x00";

/// Texts and peers, sorted.
fn peers(rig: &Rig) -> Vec<(String, SocketAddr)> {
    let peer = |event: Event<'_>| {
        (String::from_utf8_lossy(event.bytes).into_owned(), event.origin.peer.unwrap())
    };
    let mut peers: Vec<_> = rig.pages[0].events().map(peer).collect();
    peers.sort();
    peers
}

fn told(rig: &Rig) -> Vec<String> {
    rig.incidents.list().into_iter().map(|incident| incident.what).collect()
}

/// Errors, and refused connections.
fn counted(rig: &Rig) -> (u64, u64) {
    let counters = &rig.counters[0];
    (counters.errors.get(), counters.refused_connections.get())
}

fn step(rig: &mut Rig) {
    let now = rig.now();
    rig.sources[0].receive(&mut rig.pages[0], now);
    rig.sources[0].wait(now, now.mono.after(Duration::from_millis(1)), true);
}

#[test]
fn the_peer_is_whom_the_header_names() {
    let mut rig = rig("syslog", ON);
    let mut own = Vec::new();
    for (header, text) in [
        (LINE, &b"a\n"[..]),
        (BINARY, b"7 <13>bcd"),
        (LOCAL, b"e\n"),
        (b"PROXY UNKNOWN\r\n", b"f\n"),
        (b"PROXY TCP6 2001:db8::7 ::1 1 2\r\n", b"g\nh\n"),
    ] {
        let mut sender = rig.connect();
        sender.write_all(&[header, text].concat()).unwrap();
        own.push(sender);
    }
    rig.until(|rig| rig.count() == 6);
    let local = |index: usize| own[index].local_addr().unwrap();
    let expected = [
        ("<13>bcd", "192.0.2.8:258".parse().unwrap()),
        ("a", "192.0.2.7:51234".parse().unwrap()),
        ("e", local(2)),
        ("f", local(3)),
        ("g", "[2001:db8::7]:1".parse().unwrap()),
        ("h", "[2001:db8::7]:1".parse().unwrap()),
    ];
    assert_eq!(peers(&rig), expected.map(|(text, peer)| (text.to_owned(), peer)));
    assert_eq!((counted(&rig), told(&rig)), ((0, 0), Vec::new()));
}

/// Each byte alone, of the header and of the line behind it.
#[test]
fn a_header_may_come_in_any_pieces() {
    let mut rig = rig("tcp", ON);
    let (mut first, mut second) = (rig.connect(), rig.connect());
    first.set_nodelay(true).unwrap();
    second.set_nodelay(true).unwrap();
    for byte in [LINE, b"one\n"].concat() {
        first.write_all(&[byte]).unwrap();
        step(&mut rig);
    }
    for byte in [BINARY, b"two\n"].concat() {
        second.write_all(&[byte]).unwrap();
        step(&mut rig);
    }
    rig.until(|rig| rig.count() == 2);
    let expected = [("one", "192.0.2.7:51234"), ("two", "192.0.2.8:258")];
    let expected = expected.map(|(text, peer)| (text.to_owned(), peer.parse().unwrap()));
    assert_eq!(peers(&rig), expected);
}

#[test]
fn silence_begins_behind_the_header() {
    let mut rig = rig("tcp", &format!("{ON}\nidle_timeout = '10s'"));
    let mut sender = rig.connect();
    sender.write_all(&LINE[..20]).unwrap();
    rig.until(|rig| rig.open() == 1);
    rig.ahead = Duration::from_secs(8);
    (0..3).for_each(|_| step(&mut rig));
    sender.write_all(&LINE[20..]).unwrap();
    (0..3).for_each(|_| step(&mut rig));
    rig.ahead = Duration::from_secs(15);
    (0..3).for_each(|_| step(&mut rig));
    assert_eq!(rig.open(), 1, "it was silent for seven seconds");
    rig.ahead = Duration::from_secs(30);
    rig.until(|rig| rig.open() == 0);
    assert_eq!(counted(&rig), (0, 0));
}

#[test]
fn who_has_no_good_header_is_closed_told_and_counted() {
    let mut rig = rig("tcp", &format!("{ON}\nproxy_timeout = '20s'"));
    let own = |sender: &TcpStream| sender.local_addr().unwrap().to_string();
    let mut plain = rig.connect();
    plain.write_all(b"<13>hello\nPROXY UNKNOWN\r\n<13>again\n").unwrap();
    rig.until(|rig| counted(rig) == (1, 1) && rig.open() == 0);
    assert!(matches!(plain.read(&mut [0; 8]), Ok(0) | Err(_)), "it is closed");
    let what = told(&rig).pop().unwrap();
    let begin = format!("{} is refused: it sends no PROXY header (\"<13>hello", own(&plain));
    assert!(what.contains(&begin) && what.contains("send-proxy-v2"), "{what}");
    let mut long = rig.connect();
    long.write_all(&[&b"PROXY UNKNOWN "[..], &[b'x'; 100]].concat()).unwrap();
    rig.until(|rig| counted(rig) == (2, 2));
    // Within the first one's minute.
    assert_eq!(told(&rig).len(), 1);
    let mut cut = rig.connect();
    cut.write_all(&BINARY[..20]).unwrap();
    drop(cut);
    rig.until(|rig| counted(rig) == (3, 3));
    let mut late = rig.connect();
    late.write_all(&LINE[..20]).unwrap();
    rig.until(|rig| rig.open() == 1);
    rig.ahead = Duration::from_secs(11);
    (0..3).for_each(|_| step(&mut rig));
    assert_eq!(rig.open(), 1);
    rig.ahead = Duration::from_secs(21);
    rig.until(|rig| counted(rig) == (4, 4) && rig.open() == 0);
    let all = told(&rig);
    assert_eq!(all.len(), 3, "{all:#?}");
    assert!(all[1].contains("cut off: it closed the connection"), "{all:#?}");
    assert!(
        all[2].contains(&own(&late)) && all[2].contains("within 20s (proxy_timeout)"),
        "{all:#?}"
    );
    rig.ahead = Duration::from_secs(80);
    rig.until(|rig| told(rig).len() == 4);
    assert!(told(&rig)[3].contains("longer than 107 bytes"), "{:#?}", told(&rig));
    assert_eq!(rig.count(), 0);
}

/// A header that came in time is none too late, though nobody looked at it until now.
#[test]
fn a_header_that_had_to_wait_for_us_is_taken() {
    let mut rig = rig("tcp", ON);
    let mut sender = rig.connect();
    sender.write_all(&LINE[..9]).unwrap();
    rig.until(|rig| rig.open() == 1);
    sender.write_all(&[&LINE[9..], b"line\n"].concat()).unwrap();
    rig.ahead = Duration::from_secs(30);
    rig.until(|rig| rig.count() == 1);
    assert_eq!(counted(&rig), (0, 0));
}

#[test]
fn connections_that_were_only_tried_are_no_fault() {
    let mut rig = rig("tcp", ON);
    drop(rig.connect());
    let abrupt = rig.connect();
    socket2::SockRef::from(&abrupt).set_linger(Some(Duration::ZERO)).unwrap();
    drop(abrupt);
    let mut local = rig.connect();
    local.write_all(LOCAL).unwrap();
    drop(local);
    let mut sender = rig.connect();
    sender.write_all(&[LINE, b"line"].concat()).unwrap();
    drop(sender);
    rig.until(|rig| rig.count() == 1 && rig.open() == 0);
    assert_eq!((counted(&rig), told(&rig)), ((0, 0), Vec::new()));
}

#[test]
fn allow_judges_the_proxy_and_the_rate_limit_whom_it_speaks_for() {
    let more = "allow = '127.0.0.1'\nrate_limit = 1\nrate_burst = 2";
    let mut rig = rig("tcp", &format!("{ON}\n{more}"));
    let mut loud = rig.connect();
    loud.write_all(&[LINE, &b"x\n".repeat(500)].concat()).unwrap();
    rig.until(|rig| rig.count() == 500);
    let mut same = rig.connect();
    same.write_all(&[LINE, b"held\n"].concat()).unwrap();
    let mut other = rig.connect();
    other.write_all(&[BINARY, b"other\n"].concat()).unwrap();
    rig.until(|rig| rig.count() == 501 && rig.open() == 3);
    assert!(rig.texts().contains(&"other".to_owned()));
    // 500 seconds pay for 500.
    rig.ahead = Duration::from_secs(600);
    rig.until(|rig| rig.count() == 502);
}

#[test]
fn stopping_reads_behind_a_header_and_waits_for_none() {
    let mut rig = rig("tcp", ON);
    let mut sender = rig.connect();
    sender.write_all(&[BINARY, b"one\nhalf"].concat()).unwrap();
    let mut cut = rig.connect();
    cut.write_all(&LINE[..30]).unwrap();
    let silent = rig.connect();
    rig.stop();
    assert_eq!(rig.texts(), ["half", "one"]);
    assert_eq!(peers(&rig)[0].1, "192.0.2.8:258".parse().unwrap());
    drop((cut, silent));
}
