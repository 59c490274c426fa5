//! Who may send and how much, over real sockets.

use super::tests::{Rig, rig};
use crate::telemetry::LostReason;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream, UdpSocket};
use std::time::Duration;

/// A client of another address of this machine.
fn connect_from(own: &str, to: SocketAddr) -> TcpStream {
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    socket.bind(&SocketAddr::new(own.parse().unwrap(), 0).into()).unwrap();
    socket.connect(&to.into()).unwrap();
    socket.into()
}

#[test]
fn who_may_not_send_is_turned_away_and_counted() {
    let body = "listen = ['tcp://127.0.0.1:0', 'udp://127.0.0.1:0']\ndeny = '127.0.0.0/30'\n\
                allow = ['127.0.0.2', '127.0.0.8']";
    let mut rig = rig("syslog", body);
    let mut refused = connect_from("127.0.0.1", rig.addresses[0]);
    rig.until(|rig| rig.counters[0].refused_connections.get() == 1);
    assert!(matches!(refused.read(&mut [0; 8]), Ok(0) | Err(_)), "it is closed");
    let mut taken = connect_from("127.0.0.2", rig.addresses[0]);
    taken.write_all(b"<13>by stream\n").unwrap();
    for (own, text) in [("127.0.0.3", "lost"), ("127.0.0.8", "taken"), ("127.0.0.9", "lost")] {
        let sender = UdpSocket::bind((own, 0)).unwrap();
        sender.send_to(text.as_bytes(), rig.addresses[1]).unwrap();
    }
    rig.until(|rig| rig.count() == 2 && rig.counters[0].lost[LostReason::Refused].get() == 2);
    // What a page holds is counted when it is offered; what none holds, at once.
    assert_eq!(rig.counters[0].received_events.get(), 2);
    assert_eq!(rig.open(), 1);
}

#[test]
fn one_listener_takes_both_families_and_knows_a_mapped_address() {
    let body = "listen = ['udp://[::]:0', 'tcp://[::]:0']\ndeny = '127.0.0.7'";
    let mut rig = rig("syslog", body);
    let ports: Vec<u16> = rig.addresses.iter().map(SocketAddr::port).collect();
    let to = |ip: &str, index: usize| SocketAddr::new(ip.parse().unwrap(), ports[index]);
    for (own, peer) in [("127.0.0.1", "127.0.0.1"), ("::1", "::1"), ("127.0.0.7", "127.0.0.1")] {
        let sender = UdpSocket::bind((own, 0)).unwrap();
        sender.send_to(b"<13>datagram", to(peer, 0)).unwrap();
    }
    for ip in ["127.0.0.1", "::1"] {
        TcpStream::connect(to(ip, 1)).unwrap().write_all(b"<13>line\n").unwrap();
    }
    rig.until(|rig| rig.count() == 4 && rig.counters[0].lost[LostReason::Refused].get() == 1);
    let peer = |event: crate::event::Event<'_>| event.origin.peer.unwrap().ip().to_string();
    let mut peers: Vec<String> = rig.pages[0].events().map(peer).collect();
    peers.sort();
    assert_eq!(peers, ["127.0.0.1", "127.0.0.1", "::1", "::1"]);
}

#[test]
fn datagrams_over_the_limit_are_lost_and_those_of_others_are_not() {
    let body = "listen = 'udp://127.0.0.1:0'\nrate_limit = 1\nrate_burst = 20";
    let mut rig = rig("udp", body);
    let sender = |own: &str| UdpSocket::bind((own, 0)).unwrap();
    let (loud, quiet) = (sender("127.0.0.1"), sender("127.0.0.2"));
    for _ in 0..100 {
        loud.send_to(b"again", rig.addresses[0]).unwrap();
    }
    quiet.send_to(b"once", rig.addresses[0]).unwrap();
    let lost = |rig: &Rig| rig.counters[0].lost[LostReason::RateLimited].get();
    rig.until(|rig| u64::from(rig.count()) + lost(rig) == 101);
    // A second for each more may have passed.
    assert!((21..=60).contains(&rig.count()), "{}", rig.count());
    assert!(rig.texts().contains(&"once".to_owned()));
}

#[test]
fn a_connection_over_the_limit_waits_and_loses_nothing_and_others_do_not_wait() {
    let body = "listen = 'tcp://127.0.0.1:0'\nrate_limit = 10\nrate_burst = 10";
    let mut rig = rig("tcp", body);
    let mut loud = connect_from("127.0.0.1", rig.addresses[0]);
    let lines: String = (0..1000).map(|number| format!("{number:059}\n")).collect();
    loud.write_all(lines.as_bytes()).unwrap();
    rig.until(|rig| rig.count() > 0);
    let first = rig.count();
    assert!(first <= 300, "a visit of 16 KiB: {first}");
    let mut quiet = connect_from("127.0.0.2", rig.addresses[0]);
    quiet.write_all(b"once\n").unwrap();
    rig.until(|rig| rig.texts().contains(&"once".to_owned()));
    assert_eq!(rig.count(), first + 1);
    // A hundred seconds pay for a thousand.
    for step in 1..=4 {
        rig.ahead = Duration::from_secs(40 * step);
        let before = rig.count();
        rig.until(|rig| rig.count() > before || rig.count() == 1001);
    }
    rig.until(|rig| rig.count() == 1001);
}
