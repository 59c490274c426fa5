//! Senders behind a proxy that says who they are: headers by hand, and HAProxy's.

use crate::harness::{Agent, SYSLOG_TO_FILE, sum};
use crate::peers::{Running, haproxy};
use std::io::Write;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::process::Command;

/// A plain file by sender; its only stream listener takes PROXY headers.
fn start() -> Agent {
    let text = SYSLOG_TO_FILE
        .replace("{dir}/out.log", "{dir}/%{peer}.log")
        .replace(r#""zstd""#, r#""none""#)
        .replace("listen  =", "proxy_protocol = \"on\"\nlisten  =");
    Agent::start(&text)
}

const TEXT: &[u8] = b"<13>Oct 11 22:14:15 web su: text\n";

#[test]
fn files_are_by_whom_the_headers_name() {
    let agent = start();
    let line = b"PROXY TCP4 192.0.2.7 198.51.100.1 51234 6514\r\n";
    let mut binary = b"\r\n\r\n\0\r\nQUIT\n\x21\x21\x00\x28".to_vec();
    let address: std::net::Ipv6Addr = "2001:db8::8".parse().unwrap();
    binary.extend_from_slice(&address.octets());
    binary.extend_from_slice(&[0; 16]);
    binary.extend_from_slice(&[1, 2, 3, 4]);
    // A TLV without contents, and one that ends with the header.
    binary.extend_from_slice(&[4, 0, 1, 0]);
    let local = b"\r\n\r\n\0\r\nQUIT\n\x20\x00\x00\x00";
    let none = b"<13>Oct 11 22:14:15 web su: not behind a proxy\n";
    for header in [&line[..], &binary, local, none] {
        let mut stream = TcpStream::connect(agent.tcp("net")).unwrap();
        stream.write_all(&[header, TEXT].concat()).unwrap();
    }
    agent.wait_for(3);
    agent.wait("a refused connection", |ledger| {
        sum(&ledger["sources"], "refused_connections") == 1
            && sum(&ledger["sources"], "errors") == 1
    });
    agent.wait_told("it sends no PROXY header");
    agent.wait_told("not behind a");
    let ended = agent.stop().well();
    for name in ["192.0.2.7", "2001:db8::8", "127.0.0.1"] {
        let found = std::fs::read(ended.dir.path().join(format!("{name}.log")));
        assert_eq!(found.unwrap_or_else(|error| panic!("{name}: {error}")), TEXT, "{name}");
    }
}

/// A client of another address of this machine.
fn connect_from(own: &str, to: SocketAddr) -> TcpStream {
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    socket.bind(&SocketAddr::new(own.parse().unwrap(), 0).into()).unwrap();
    socket.connect(&to.into()).unwrap();
    socket.into()
}

#[test]
fn haproxy_names_its_clients() {
    let Some(program) = haproxy() else { return };
    for (option, own) in [("send-proxy", "127.0.0.5"), ("send-proxy-v2", "127.0.0.6")] {
        let agent = start();
        let file = agent.dir.path().join("haproxy.cfg");
        let to = agent.tcp("net");
        // Its port is one that the kernel has picked: it inherits the socket as its output.
        let text = format!(
            "defaults\n  mode tcp\n  timeout connect 30s\n  timeout client 60s\n  \
             timeout server 60s\nlisten in\n  bind fd@1\n  server flumen {to} {option}\n"
        );
        std::fs::write(&file, text).unwrap();
        let socket = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = socket.local_addr().unwrap();
        let mut command = Command::new(&program);
        command.arg("-db").arg("-f").arg(&file).stdout(OwnedFd::from(socket));
        let running = Running::start(&mut command);
        let mut stream = connect_from(own, address);
        stream.write_all(TEXT).unwrap();
        drop(stream);
        agent.wait_for(1);
        drop(running);
        let ended = agent.stop().well();
        let found = std::fs::read(ended.dir.path().join(format!("{own}.log")));
        assert_eq!(found.unwrap_or_else(|error| panic!("{own}: {error}")), TEXT, "{option}");
    }
}
