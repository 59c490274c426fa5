//! Unix sockets with the clients that machines have, sockets that were passed on, and the service
//! manager.

use crate::harness::{Agent, SYSLOG_TO_FILE, flumen, until};
use crate::peers::{assert_texts, peer, run, texts, write_lines};
use std::io::Write;
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::os::fd::OwnedFd;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixDatagram, UnixStream};
use std::path::Path;
use std::process::{Command, Stdio};

const COUNT: usize = 50;
const SOCKETS: &str = r#"["unixgram://{dir}/datagrams", "unix://{dir}/stream"]"#;

/// The usual agent on other listeners, and with more keys.
fn configuration(listen: &str, more: &str) -> String {
    let both = r#"["udp://127.0.0.1:0", "tcp://127.0.0.1:0"]"#;
    assert!(SYSLOG_TO_FILE.contains(both));
    SYSLOG_TO_FILE.replace(both, &format!("{listen}\n{more}"))
}

/// Sends texts with `logger` to the socket of this name; the events of the archive.
fn through_logger(socket: &str, flag: &str) {
    let (Some(logger), Some(_)) = (peer("logger"), peer("zstd")) else { return };
    let by_user = configuration(SOCKETS, "").replace("out.log", "out-%{uid}.log");
    let agent = Agent::start(&by_user);
    let path = agent.dir.path().join(socket);
    let mode = std::fs::metadata(&path).expect("it is there").permissions().mode();
    assert_eq!(mode & 0o777, 0o666);
    let texts = texts(COUNT);
    let file = agent.dir.path().join("texts");
    write_lines(&file, &texts);
    let mut command = Command::new(logger);
    command.arg("--socket").arg(&path).args([flag, "--tag", "flumen-test", "--socket-errors=on"]);
    run(command.args(["--priority", "local4.info", "--file"]).arg(&file));
    agent.wait_for(COUNT as u64);
    let ended = agent.stop().well();
    assert!(!path.exists(), "its file is gone");
    // The kernel's word about who sent.
    let user = rustix::process::getuid().as_raw();
    let events = ended.lines(&format!("out-{user}.log.zst"));
    assert_texts(&events, &texts);
    assert!(events.iter().all(|event| event.starts_with("<166>")), "{:?}", events[0]);
}

#[test]
fn logger_to_a_datagram_socket() {
    through_logger("datagrams", "--udp");
}

#[test]
fn logger_to_a_stream_socket() {
    through_logger("stream", "--tcp");
}

/// Python's SysLogHandler tries datagrams first, and a stream when the socket is one.
const PROGRAM: &str = r#"
import logging, logging.handlers, sys
handler = logging.handlers.SysLogHandler(sys.argv[1], "local4")
handler.ident = "app: "
log = logging.getLogger("flumen")
log.addHandler(handler)
log.warning("first")
log.error("second")
handler.close()
"#;

#[test]
fn python_to_both_kinds() {
    let (Some(python), Some(_)) = (peer("python3"), peer("zstd")) else { return };
    for socket in ["datagrams", "stream"] {
        let agent = Agent::start(&configuration(SOCKETS, "socket_mode = \"0600\""));
        let path = agent.dir.path().join(socket);
        run(Command::new(&python).args(["-c", PROGRAM]).arg(&path));
        agent.wait_for(2);
        let events = agent.stop().well().lines("out.log.zst");
        assert_eq!(events, ["<164>app: first", "<163>app: second"], "{socket}");
    }
}

/// After kill -9 the file is left; the next start takes it away. A second agent does not get it.
#[test]
fn a_file_that_was_left_does_not_hinder_a_start() {
    let configuration = configuration(SOCKETS, "");
    let dir = Agent::start(&configuration).kill();
    assert!(dir.path().join("stream").exists() && dir.path().join("datagrams").exists());
    let agent = Agent::start_in(dir, &configuration);
    let path = agent.dir.path().join("stream");
    let second = configuration.replace("{dir}", path.parent().and_then(Path::to_str).unwrap());
    let file = agent.dir.path().join("second.toml");
    std::fs::write(&file, second).expect("written");
    let program = env!("CARGO_BIN_EXE_flumen");
    let output = Command::new(program).arg("run").arg(&file).output().expect("it starts");
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{said}");
    assert!(said.contains("fd://NAME"), "{said}");
    let mut client = UnixStream::connect(&path).expect("the first one still listens");
    client.write_all(b"<13>still here\n").expect("sent");
    agent.wait_for(1);
    agent.stop().well();
}

/// Starts an agent with two sockets as systemd passes them: descriptors 3 and 4.
fn activated(dir: tempfile::TempDir, sockets: [OwnedFd; 2], notify: &Path) -> Agent {
    let script = r#"exec 3<&0 4<&1 </dev/null >/dev/null
        export LISTEN_PID=$$ LISTEN_FDS=2 LISTEN_FDNAMES=other:syslog WATCHDOG_PID=$$
        exec "$@""#;
    let [first, second] = sockets;
    let mut command = Command::new("sh");
    command.args(["-c", script, "sh", env!("CARGO_BIN_EXE_flumen")]);
    command.stdin(Stdio::from(first)).stdout(Stdio::from(second));
    command.env("NOTIFY_SOCKET", notify).env("WATCHDOG_USEC", "200000");
    let listen = r#"["fd://syslog", "fd://other"]"#;
    Agent::start_as(command, dir, &configuration(listen, "")).0
}

fn told(manager: &UnixDatagram) -> String {
    let mut said = [0; 200];
    let count = manager.recv(&mut said).expect("it is told something in time");
    String::from_utf8_lossy(&said[..count]).into_owned()
}

#[test]
fn sockets_that_were_passed_on_outlive_us_and_the_manager_is_told() {
    let dir = tempfile::TempDir::new().expect("a folder");
    let notify = dir.path().join("notify");
    let manager = UnixDatagram::bind(&notify).expect("bound");
    manager.set_read_timeout(Some(crate::harness::DEADLINE)).expect("a timeout");
    let udp = UdpSocket::bind("127.0.0.1:0").expect("a port");
    let tcp = TcpListener::bind("127.0.0.1:0").expect("a port");
    let sender = UdpSocket::bind("127.0.0.1:0").expect("a port");
    sender.connect(udp.local_addr().unwrap()).expect("connected");
    let sockets = || [tcp.try_clone().unwrap().into(), udp.try_clone().unwrap().into()];
    let folder = tempfile::TempDir::new().expect("a folder");
    let agent = activated(folder, sockets(), &notify);
    assert_eq!(told(&manager), "READY=1");
    assert_eq!(told(&manager), "WATCHDOG=1");
    sender.send(b"<13>one").expect("sent");
    agent.wait_for(1);
    let mut client = TcpStream::connect(tcp.local_addr().unwrap()).expect("it listens");
    client.write_all(b"<13>two\n").expect("sent");
    agent.wait_for(2);
    agent.wait_told(&format!("net=tcp://{}", tcp.local_addr().unwrap()));
    let ended = agent.stop().well();
    assert!(until(|| told(&manager).starts_with("STOPPING=1\nWATCHDOG_USEC=")));
    // Nobody is there: the sockets are, and hold what comes.
    sender.send(b"<13>three").expect("sent");
    let mut client = TcpStream::connect(tcp.local_addr().unwrap()).expect("it is open");
    client.write_all(b"<13>four\n").expect("sent");
    let agent = activated(ended.dir, sockets(), &notify);
    agent.wait_for(2);
    let ended = agent.stop().well();
    let mut events = Vec::new();
    for file in crate::harness::paths(ended.dir.path(), ".zst") {
        events.extend(crate::harness::lines_of(&file));
    }
    events.sort();
    assert_eq!(events, ["<13>four", "<13>one", "<13>three", "<13>two"]);
}

#[test]
fn blast_to_both_kinds() {
    let agent = Agent::start(&configuration(SOCKETS, ""));
    let here = |name: &str| agent.dir.path().join(name);
    let mut blast = flumen();
    blast.arg("blast").arg(format!("unixgram://{}", here("datagrams").display()));
    blast.arg(format!("unix://{}", here("stream").display())).args(["--count", "20k"]);
    run(blast.arg("--manifest").arg(here("sent.json")));
    agent.wait_for(20_000);
    let manifest = here("sent.json");
    let ended = agent.stop().well();
    run(flumen().args(["audit", "--manifest"]).arg(&manifest).arg(ended.dir.path()));
}

#[test]
fn without_activation_the_remedy_says_how() {
    let dir = tempfile::TempDir::new().expect("a folder");
    let file = dir.path().join("flumen.toml");
    let text = configuration(r#""fd://syslog""#, "");
    std::fs::write(&file, text.replace("{dir}", dir.path().to_str().unwrap())).expect("written");
    let program = env!("CARGO_BIN_EXE_flumen");
    let output = Command::new(program).arg("run").arg(&file).output().expect("it starts");
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{said}");
    assert!(said.contains("FileDescriptorName=syslog"), "{said}");
}
