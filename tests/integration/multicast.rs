//! Multicast groups and interfaces, in a network namespace of the test's own: two interfaces, each
//! one end of a cable, and routes that say what goes where.

use crate::harness::{Agent, sum, to_plain_file, written};
use crate::peers::{Running, alone, peer, rsyslogd, run};
use std::net::{SocketAddrV6, TcpStream, UdpSocket};
use std::process::Command;

/// Whether we are in a namespace of our own, with interfaces `if1` and `if2`.
fn wired(test: &str) -> bool {
    if !alone(test, &["--net"]) {
        return false;
    }
    let Some(ip) = peer("ip") else { return false };
    let configure = |words: &str| run(Command::new(&ip).args(words.split(' ')));
    configure("link set lo up");
    for n in [1, 2] {
        configure(&format!("link add if{n} type veth peer name far{n}"));
        configure(&format!("link set far{n} up"));
        configure(&format!("link set if{n} up"));
        configure(&format!("address add 10.9.{n}.1/24 dev if{n}"));
        configure(&format!("-6 address add fd00:9:{n}::1/64 dev if{n} nodad"));
    }
    configure("route add 239.1.0.0/16 dev if1");
    true
}

const SOURCES: &str = r#"
[sources.net]
type    = "syslog"
channel = "main"
{rows}
"#;

fn send(from: &str, to: (&str, u32), texts: &str) {
    let socket = UdpSocket::bind(from).expect("an address of ours");
    let (address, scope) = to;
    for number in 0..100 {
        let text = format!("{texts} {number}");
        let sent = match address.parse() {
            Ok(six) => socket.send_to(text.as_bytes(), SocketAddrV6::new(six, 5514, 0, scope)),
            Err(_) => socket.send_to(text.as_bytes(), (address, 5514)),
        };
        assert_eq!(sent.expect("it is sent"), text.len(), "{address}");
    }
}

fn index_of(interface: &str) -> u32 {
    let socket = UdpSocket::bind("0.0.0.0:0").expect("any port");
    rustix::net::netdevice::name_to_index(socket, interface).expect("it is there")
}

#[test]
fn groups_are_heard_once_and_by_the_interface_that_is_named() {
    if !wired("multicast::groups_are_heard_once_and_by_the_interface_that_is_named") {
        return;
    }
    let rows = r#"
listen = ["udp://239.1.2.3:5514", "udp://[ff02::1234]:5514", "tcp://0.0.0.0:5514"]
interface = "if1"
threads = 3"#;
    let agent = Agent::start(&to_plain_file(&SOURCES.replace("{rows}", rows)));
    for n in [2, 1] {
        let scope = index_of(&format!("if{n}"));
        send(&format!("10.9.{n}.1:0"), ("239.1.2.3", 0), &format!("four by {n}"));
        send(&format!("[fd00:9:{n}::1]:0"), ("ff02::1234", scope), &format!("six by {n}"));
        send(&format!("10.9.{n}.1:0"), ("239.1.2.4", 0), "another group");
    }
    let ledger = agent.wait("both groups are heard", |ledger| written(ledger) >= 200);
    assert_eq!(sum(&ledger["sources"], "received_events"), 200);
    assert!(TcpStream::connect("127.0.0.1:5514").is_err(), "that comes by lo");
    let ended = agent.stop().well();
    let mut lines = ended.lines("all.log");
    lines.sort();
    let all = ["four by 1", "six by 1"];
    let mut expected: Vec<String> =
        all.iter().flat_map(|text| (0..100).map(move |n| format!("{text} {n}"))).collect();
    expected.sort();
    assert_eq!(lines, expected);
}

#[test]
fn a_group_stands_beside_all_addresses_at_one_port_and_omfwd_sends_to_it() {
    if !wired("multicast::a_group_stands_beside_all_addresses_at_one_port_and_omfwd_sends_to_it") {
        return;
    }
    for all in ["0.0.0.0", "[::]"] {
        beside(all);
    }
}

/// A group and all addresses, by the route, at a port that threads share.
fn beside(all: &str) {
    let rows = format!("listen = [\"udp://239.1.2.3:5514\", \"udp://{all}:5514\"]\nthreads = 2");
    let agent = Agent::start(&to_plain_file(&SOURCES.replace("{rows}", &rows)));
    // Others on this machine have joined other groups, and that is none of ours.
    let other = UdpSocket::bind("0.0.0.0:0").expect("any port");
    other.join_multicast_v4(&[239, 1, 9, 9].into(), &[10, 9, 1, 1].into()).expect("joined");
    send("10.9.1.1:0", ("239.1.9.9", 0), "for others");
    send("10.9.1.1:0", ("239.1.2.3", 0), "for the group");
    send("127.0.0.1:0", ("127.0.0.1", 0), "for us alone");
    assert!(UdpSocket::bind("0.0.0.0:5514").is_err(), "nobody else gets the port");
    let mut expected = 200;
    if let Some(rsyslogd) = rsyslogd() {
        let folder = agent.dir.path().join("rsyslog");
        std::fs::create_dir(&folder).expect("a folder");
        let texts: String = (0..100).map(|n| format!("by omfwd {n}\n")).collect();
        std::fs::write(folder.join("texts"), texts).expect("written");
        let rules = format!(
            "global(workDirectory=\"{0}\" net.enableDNS=\"off\")\nmodule(load=\"imfile\")\n\
             input(type=\"imfile\" File=\"{0}/texts\" Tag=\"t:\")\n\
             action(type=\"omfwd\" target=\"239.1.2.3\" port=\"5514\" protocol=\"udp\")\n",
            folder.to_str().expect("UTF-8")
        );
        let file = folder.join("rsyslog.conf");
        std::fs::write(&file, rules).expect("written");
        let sender = Running::start(Command::new(rsyslogd).args(["-n", "-iNONE", "-f"]).arg(&file));
        agent.wait("omfwd's are heard", |ledger| written(ledger) >= 300);
        sender.finish();
        expected = 300;
    }
    let ledger = agent.wait("all are heard", |ledger| written(ledger) >= expected);
    assert_eq!(sum(&ledger["sources"], "received_events"), expected);
    let ended = agent.stop().well();
    let lines = ended.lines("all.log");
    let count = |text: &str| lines.iter().filter(|line| line.contains(text)).count();
    assert_eq!((count("for the group"), count("for us alone"), count("for others")), (100, 100, 0));
    assert_eq!(lines.len() as u64, expected);
}
