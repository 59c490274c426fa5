//! Headers that say who sent an event, over every way in.

use super::*;
use std::net::UdpSocket;

const ASKED: &str = "remote_address_header = 'from'\nclient_ip_header = 'ip'\n\
                     client_hostname_header = 'name'\nport_header = 'port'";

/// Each event with its headers, in order of the texts.
fn told(rig: &Rig) -> Vec<String> {
    let text = String::from_utf8_lossy;
    let events = rig.pages.iter().flat_map(Page::events);
    let mut told: Vec<String> = events
        .map(|event| {
            let pairs = event.headers().iter();
            let pairs = pairs.map(|(name, value)| format!(" {}={}", text(name), text(value)));
            format!("{}{}", text(event.bytes), pairs.collect::<String>())
        })
        .collect();
    told.sort();
    told
}

/// DNS, which may have a name for this address or none, is not asked here.
fn without_name(told: Vec<String>) -> Vec<String> {
    let word = |word: &&str| !word.starts_with("name=");
    let lines = told.iter().map(|line| line.split(' ').filter(word).collect::<Vec<_>>().join(" "));
    let mut lines: Vec<String> = lines.collect();
    lines.sort();
    lines
}

#[test]
fn connections_and_datagrams_say_who_and_where() {
    let body = format!("listen = ['udp://127.0.0.1:0', 'tcp://127.0.0.1:0']\n{ASKED}");
    let mut rig = rig_with("syslog", &body, true);
    let (udp, tcp) = (rig.addresses[0], rig.addresses[1]);
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.send_to(b"by datagram", udp).unwrap();
    socket.send_to(b"by datagram again", udp).unwrap();
    let mut stream = TcpStream::connect(tcp).unwrap();
    stream.write_all(b"by stream\nand its rest").unwrap();
    rig.until(|rig| rig.count() == 3);
    drop(stream.shutdown(std::net::Shutdown::Write));
    rig.until(|rig| rig.count() == 4);
    let who =
        |from: SocketAddr, to: SocketAddr| format!("from={from} ip=127.0.0.1 port={}", to.port());
    let (sent, streamed) = (socket.local_addr().unwrap(), stream.local_addr().unwrap());
    let all = told(&rig);
    assert!(all.iter().all(|line| line.contains(" name=")), "{all:?}");
    assert_eq!(
        without_name(all),
        [
            format!("and its rest {}", who(streamed, tcp)),
            format!("by datagram again {}", who(sent, udp)),
            format!("by datagram {}", who(sent, udp)),
            format!("by stream {}", who(streamed, tcp)),
        ]
    );
}

#[test]
fn answered_lines_have_them_too_and_a_proxy_says_whose_they_are() {
    let body = "listen = ['tcp://127.0.0.1:0']\nclient_ip_header = 'ip'\nproxy_protocol = 'on'";
    let mut rig = rig_with("netcat", body, true);
    let mut stream = rig.connect();
    stream.write_all(b"PROXY TCP4 192.0.2.7 192.0.2.1 4711 514\r\none\n").unwrap();
    rig.until(|rig| rig.count() == 1);
    assert_eq!(told(&rig), ["one ip=192.0.2.7"]);
}

#[test]
fn nothing_is_stored_for_nobody() {
    let body = format!("listen = ['udp://127.0.0.1:0']\n{ASKED}");
    let mut rig = rig_with("udp", &body, false);
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.send_to(b"x", rig.addresses[0]).unwrap();
    rig.until(|rig| rig.count() == 1);
    assert_eq!(told(&rig), ["x"]);
    assert_eq!(rig.pages[0].header_bytes_max(), 0);
}
