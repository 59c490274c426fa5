//! Recorded datagrams as a capture that others read, and both kinds of recording played again.

use crate::datagrams::{CONFIGURATION, stdout, texts};
use crate::harness::{Agent, Ended, flumen};
use crate::peers::{run, tshark};
use rustix::process::{Pid, Signal, kill_process};
use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

/// An archive of all texts, sent by both families; each sender and where it sent to.
fn record() -> (Ended, PathBuf, Vec<(SocketAddr, SocketAddr)>) {
    let rows = "listen = ['udp://127.0.0.1:0', 'udp://[::1]:0']";
    let agent = Agent::start(&CONFIGURATION.replace("{rows}", rows).replace("{codec}", "zstd"));
    // What it said when it was ready may still be on its way to us.
    agent.wait_told("udp://[::1]:");
    let log = agent.log();
    let (texts, mut ways) = (texts(), Vec::new());
    for (from, start) in [("127.0.0.1:0", "udp://127.0.0.1:"), ("[::1]:0", "udp://[::1]:")] {
        let to = log.split(start).nth(1).unwrap_or_else(|| panic!("no {start} in {log}"));
        let port: String = to.chars().take_while(char::is_ascii_digit).collect();
        let to: SocketAddr = format!("{}{port}", &start[6..]).parse().expect("an address");
        let socket = UdpSocket::bind(from).expect("a port");
        texts
            .iter()
            .for_each(|text| assert_eq!(socket.send_to(text, to).expect("sent"), text.len()));
        ways.push((socket.local_addr().expect("bound"), to));
    }
    agent.wait_for(2 * texts.len() as u64);
    let ended = agent.stop().well();
    let file = ended.dir.path().join("traffic.rec.zst");
    (ended, file, ways)
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Times as seconds with nine digits, as tshark prints them.
fn times(file: &Path) -> Vec<String> {
    let lines = stdout(&["cat", "--json"], file);
    let lines = lines.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
    let time = |line: &[u8]| {
        let value: serde_json::Value = serde_json::from_slice(line).expect("JSON");
        let at: jiff::Timestamp = value["time"].as_str().expect("a time").parse().expect("RFC");
        format!("{}.{:09}", at.as_second(), at.subsec_nanosecond())
    };
    lines.map(time).collect()
}

#[test]
fn tshark_reads_every_datagram_with_its_time_addresses_and_right_checksums() {
    let Some(tshark) = tshark() else { return };
    let (ended, file, ways) = record();
    let capture = ended.dir.path().join("traffic.pcapng");
    std::fs::write(&capture, stdout(&["cat", "--pcap"], &file)).expect("written");
    let mut command = Command::new(tshark);
    command.arg("-r").arg(&capture).args(["-o", "udp.check_checksum:TRUE"]);
    command.args(["-o", "ip.check_checksum:TRUE", "-T", "fields", "-E", "separator=;"]);
    let fields = "frame.time_epoch ip.src ip.dst ipv6.src ipv6.dst udp.srcport udp.dstport \
                  udp.checksum.status ip.checksum.status udp.payload";
    for field in fields.split_whitespace() {
        command.args(["-e", field]);
    }
    let shown = run(&mut command);
    let texts = texts();
    let mut expected = Vec::new();
    for (from, to) in ways {
        let (four, status) = match from.is_ipv4() {
            true => (format!("{};{};;", from.ip(), to.ip()), "1"),
            false => (format!(";;{};{}", from.ip(), to.ip()), ""),
        };
        let (source, destination) = (from.port(), to.port());
        let row =
            |text: &Vec<u8>| format!("{four};{source};{destination};1;{status};{}", hex(text));
        expected.extend(texts.iter().map(row));
    }
    let times = times(&file);
    let expected: Vec<_> =
        times.iter().zip(&expected).map(|(at, row)| format!("{at};{row}")).collect();
    let lines: Vec<&str> = shown.lines().collect();
    assert_eq!(lines.len(), 2 * texts.len());
    for (line, expected) in lines.iter().zip(&expected) {
        assert_eq!(line, expected);
    }
}

#[test]
fn a_capture_of_lines_and_a_terminal_are_refused() {
    let dir = tempfile::tempdir().expect("a folder");
    let lines = dir.path().join("a.log");
    std::fs::write(&lines, "one\ntwo\n").expect("written");
    let output = flumen().args(["cat", "--pcap"]).arg(&lines).output().expect("it runs");
    let told = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{told}");
    assert!(told.contains("2 events are left out: a capture holds datagrams"), "{told}");
    let both = flumen().args(["cat", "--pcap", "--json"]).arg(&lines).output().expect("it runs");
    assert_eq!(both.status.code(), Some(2));
}

/// What a collector gets of a recording; over TCP, for a burst may be more than a socket holds.
fn replay(args: &[&str], path: &Path) -> (Output, Vec<u8>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let to = format!("tcp://{}", listener.local_addr().expect("bound"));
    let reading = std::thread::spawn(move || {
        let mut all = Vec::new();
        let mut connection = listener.accept().expect("it connects").0;
        std::io::Read::read_to_end(&mut connection, &mut all).expect("until it closes");
        all
    });
    let mut command = flumen();
    command.arg("replay").arg(path).args(["--to", &to, "--framing", "octet"]).args(args);
    let output = command.output().expect("it runs");
    (output, reading.join().expect("it reads"))
}

#[test]
fn an_archive_and_its_capture_play_the_same() {
    let (ended, file, ways) = record();
    let capture = ended.dir.path().join("traffic.pcapng");
    std::fs::write(&capture, stdout(&["cat", "--pcap"], &file)).expect("written");
    let port = ways[1].1.port().to_string();
    let all = [texts(), texts()].concat();
    for (path, args, expected) in [
        (&file, &["--speed", "1x"][..], &all),
        (&capture, &["--speed", "10x"], &all),
        (&file, &["--speed", "10x", "--port", &port], &texts()),
        (&capture, &["--speed", "max", "--port", &port], &texts()),
    ] {
        let (output, received) = replay(args, path);
        let said = String::from_utf8_lossy(&output.stdout);
        let told = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success() && told.is_empty(), "{path:?} {args:?}: {said}{told}");
        assert!(said.starts_with(&format!("sent {} events", expected.len())), "{said}");
        assert_eq!(said.contains("late p50 "), !args.contains(&"max"), "{said}");
        let frame = |text: &Vec<u8>| [format!("{} ", text.len()).as_bytes(), text].concat();
        let frames: Vec<u8> = expected.iter().flat_map(frame).collect();
        assert!(received == frames, "{path:?} {args:?}");
    }
}

#[test]
fn what_cannot_be_played_is_told_with_a_remedy() {
    let dir = tempfile::tempdir().expect("a folder");
    let lines = dir.path().join("a.log");
    std::fs::write(&lines, "one\ntwo\n").expect("written");
    std::fs::create_dir(dir.path().join("empty")).expect("a folder");
    let to = ["--to", "udp://127.0.0.1:9"];
    for (args, code, told) in [
        (&["a.log"][..], 2, "--to"),
        (&["a.log", "--to", "ftp://h:1"], 2, "a target is udp://"),
        (&["a.log", to[0], to[1], "--speed", "fast"], 2, "write 1x, 10x, 0.5x or max"),
        (&["missing", to[0], to[1]], 2, "missing"),
        (&["-", to[0], to[1]], 2, "can be read only once"),
        (&["a.log", to[0], to[1], "--since", "soon"], 2, "is no moment"),
        (&["empty", to[0], to[1]], 1, "nothing was sent"),
        (&["a.log", to[0], to[1]], 1, "2 events of files that keep no times are left out"),
        (&["a.log", "--to", "relp://127.0.0.1:1"], 1, "a replay goes to udp"),
    ] {
        let output = flumen().current_dir(dir.path()).arg("replay").args(args).output();
        let output = output.expect("it runs");
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.code() == Some(code) && said.contains(told), "{args:?}: {said}");
    }
}

#[test]
fn an_interrupt_ends_it_and_it_still_says_what_was_sent() {
    let (_ended, file, _) = record();
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let to = format!("tcp://{}", listener.local_addr().expect("bound"));
    let mut command = flumen();
    command.arg("replay").arg(&file).args(["--to", &to, "--loop", "0", "--json"]);
    let child = command.stdout(Stdio::piped()).spawn().expect("it starts");
    let mut receiver = listener.accept().expect("it connects").0;
    let reading = std::thread::spawn(move || {
        let mut all = Vec::new();
        std::io::Read::read_to_end(&mut receiver, &mut all).expect("until it closes");
        all.len()
    });
    let id = i32::try_from(child.id()).expect("a process id");
    kill_process(Pid::from_raw(id).expect("not zero"), Signal::INT).expect("it runs");
    let output = child.wait_with_output().expect("it ends");
    assert!(output.status.success());
    let said: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!(said["stopped"], true);
    let (events, bytes) = (said["events"].as_u64(), said["bytes"].as_u64());
    let read = reading.join().expect("it reads") as u64;
    assert_eq!(events.and_then(|events| Some(events + bytes?)), Some(read), "an LF for each");
}
