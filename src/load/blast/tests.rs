//! Whole runs, against receivers on sockets of this machine.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::os::unix::net::{UnixDatagram, UnixListener};
use std::thread::JoinHandle;

use super::*;
use crate::load::audit::Auditor;
use crate::load::{StreamRecord, Verdict};
use crate::syslog::stamp::{self, Reading};
use crate::wire::relp::{Heard, Session, WINDOW_DEFAULT};

fn plan(targets: &[String], extent: Extent) -> Plan {
    Plan {
        targets: targets.iter().map(|text| Target::parse(text).unwrap()).collect(),
        connections: 1,
        rate: Rate::Max,
        extent,
        shape: Shape::default(),
        framing: Framing::Newline,
        gso: false,
        run: 9,
        tls: None,
        window: WINDOW_DEFAULT,
    }
}

fn go(plan: &Plan) -> Outcome {
    run(plan, &Arc::default(), &mut |_| ()).unwrap()
}

/// Takes `count` connections and reads each to its end.
fn receiver(count: usize) -> (String, JoinHandle<Vec<Vec<u8>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let target = format!("tcp://{}", listener.local_addr().unwrap());
    let thread = std::thread::spawn(move || {
        let accepted: Vec<_> = (0..count).map(|_| listener.accept().unwrap().0).collect();
        let readers = accepted.into_iter().map(|socket| std::thread::spawn(|| read(socket)));
        readers.collect::<Vec<_>>().into_iter().map(|one| one.join().unwrap()).collect()
    });
    (target, thread)
}

fn read(mut socket: TcpStream) -> Vec<u8> {
    let mut bytes = Vec::new();
    socket.read_to_end(&mut bytes).unwrap();
    bytes
}

fn frames(framing: Framing, bytes: &[u8]) -> Vec<&[u8]> {
    let mut rest = bytes;
    let mut frames = Vec::new();
    while !rest.is_empty() {
        let (start, end, next) = match framing {
            Framing::Newline => {
                let end = rest.iter().position(|byte| *byte == b'\n').unwrap();
                (0, end, end + 1)
            }
            Framing::Octet => {
                let blank = rest.iter().position(|byte| *byte == b' ').unwrap();
                let count = std::str::from_utf8(&rest[..blank]).unwrap();
                let end = blank + 1 + count.parse::<usize>().unwrap();
                (blank + 1, end, end)
            }
        };
        frames.push(&rest[start..end]);
        rest = &rest[next..];
    }
    frames
}

fn verdict<'a>(outcome: &Outcome, events: impl Iterator<Item = &'a [u8]>) -> Verdict {
    let mut auditor = Auditor::new(&outcome.manifest);
    events.for_each(|event| auditor.event(event, None));
    auditor.conclude()
}

#[test]
fn tcp_receivers_get_exactly_what_the_manifest_says() {
    for framing in [Framing::Newline, Framing::Octet] {
        let (one, first) = receiver(3);
        let (two, second) = receiver(3);
        let plan = Plan { connections: 3, framing, ..plan(&[one, two], Extent::Count(20_003)) };
        let outcome = go(&plan);
        assert_eq!((outcome.manifest.sent(), outcome.failures()), (20_003, 0));
        let received = [first.join().unwrap(), second.join().unwrap()].concat();
        let bytes: usize = received.iter().map(Vec::len).sum();
        assert_eq!(outcome.manifest.bytes(), bytes as u64);
        let shares: Vec<u64> = outcome.manifest.streams.iter().map(|one| one.sent).collect();
        assert_eq!(shares, [3334, 3334, 3334, 3334, 3334, 3333]);
        let events = received.iter().flat_map(|bytes| frames(framing, bytes));
        let verdict = verdict(&outcome, events);
        assert!(verdict.passes(0) && verdict.foreign == 0, "{verdict:?}");
        assert_eq!(verdict.reordered, 0);
    }
}

/// So few that a socket's default queue holds them all.
const DATAGRAMS: u64 = 100;

fn datagrams(socket: &UdpSocket) -> Vec<Vec<u8>> {
    socket.set_nonblocking(true).unwrap();
    let mut datagram = [0; 2000];
    let receive = || socket.recv(&mut datagram).ok().map(|length| datagram[..length].to_vec());
    std::iter::from_fn(receive).collect()
}

fn udp() -> (UdpSocket, String) {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let target = format!("udp://{}", socket.local_addr().unwrap());
    (socket, target)
}

#[test]
fn udp_receivers_get_exactly_what_the_manifest_says() {
    for gso in [false, true] {
        let (socket, target) = udp();
        let shape = Shape { equal: gso, ..Shape::default() };
        let plan = Plan { connections: 3, gso, shape, ..plan(&[target], Extent::Count(DATAGRAMS)) };
        let outcome = go(&plan);
        assert_eq!((outcome.manifest.sent(), outcome.failures()), (DATAGRAMS, 0));
        let received = datagrams(&socket);
        let bytes: usize = received.iter().map(Vec::len).sum();
        assert_eq!((outcome.manifest.bytes(), outcome.refused), (bytes as u64, 0));
        assert!(!gso || received.iter().all(|one| one.len() == 190));
        let verdict = verdict(&outcome, received.iter().map(Vec::as_slice));
        assert!(verdict.passes(0) && verdict.foreign == 0, "{verdict:?}");
    }
}

#[test]
fn stamps_are_the_times_at_which_events_were_due() {
    let (socket, target) = udp();
    let rate = Rate::PerSecond(1000.0);
    let outcome = go(&Plan { connections: 2, rate, ..plan(&[target], Extent::Count(DATAGRAMS)) });
    assert!(outcome.passed >= Duration::from_millis(DATAGRAMS - 1), "{:?}", outcome.passed);
    let stamps = datagrams(&socket).into_iter().map(|one| match stamp::read(&one) {
        Reading::Whole(stamp) => (stamp.sequence * 2 + u64::from(stamp.stream), stamp.at.0),
        other => panic!("{other:?}"),
    });
    let mut stamps: Vec<_> = stamps.collect();
    stamps.sort_unstable();
    let start = stamps[0].1;
    for (number, at) in stamps {
        // The wall clock may be slewed meanwhile, by half a millisecond a second at most.
        let wrong = (at - start - number as i64 * 1_000_000).abs();
        assert!(wrong < 1_000_000, "event {number} is {wrong} ns off its time");
    }
    let first = outcome.manifest.streams.iter().filter_map(|stream| stream.first).min();
    assert_eq!(first, Some(start));
}

#[test]
fn nobody_listening_is_told() {
    let (socket, target) = udp();
    drop(socket);
    let outcome = go(&plan(&[target], Extent::Count(1000)));
    assert_eq!(outcome.manifest.sent(), 1000, "the kernel took them all");
    assert!(outcome.refused > 0 && outcome.manifest.refused() > outcome.refused);
    assert_eq!(outcome.failures(), 1, "the last one came to nobody, either");
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let target = format!("tcp://{}", listener.local_addr().unwrap());
    drop(listener);
    let error = run(&plan(&[target], Extent::Count(1)), &Arc::default(), &mut |_| ());
    assert!(matches!(error, Err(BlastError::Connect { .. })));
}

#[test]
fn a_stuck_receiver_neither_holds_up_the_stop_nor_blurs_the_count() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let target = format!("tcp://{}", listener.local_addr().unwrap());
    let plan = plan(&[target], Extent::Endless);
    let stop = Arc::new(AtomicBool::new(false));
    let (mut before, mut still) = (0, 0);
    let outcome = run(&plan, &stop, &mut |now| {
        still = if now.events > 0 && now.events == before { still + 1 } else { 0 };
        before = now.events;
        stop.store(still >= 3, Ordering::Relaxed);
    });
    let outcome = outcome.unwrap();
    let record: &StreamRecord = &outcome.manifest.streams[0];
    assert!(outcome.stopped && record.sent > 0 && record.error.is_none());
    let bytes = read(listener.accept().unwrap().0);
    assert_eq!(bytes.len() as u64, record.bytes);
    let whole = bytes.iter().filter(|byte| **byte == b'\n').count() as u64;
    assert_eq!(whole, record.sent);
    assert_eq!(record.cut, bytes.last() != Some(&b'\n'));
}

#[test]
fn a_reset_ends_its_stream_only_and_is_told() {
    let (healthy, thread) = receiver(1);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let target = format!("tcp://{}", listener.local_addr().unwrap());
    let reset = std::thread::spawn(move || {
        let (mut socket, _) = listener.accept().unwrap();
        socket.read_exact(&mut [0; 1000]).unwrap();
        // Closing with unread bytes resets the connection.
    });
    let outcome = go(&plan(&[healthy, target], Extent::Count(200_000)));
    reset.join().unwrap();
    assert_eq!(outcome.failures(), 1);
    let streams = &outcome.manifest.streams;
    assert!(streams[1].error.is_some() && streams[1].sent <= 100_000);
    assert_eq!((streams[0].sent, &streams[0].error), (100_000, &None));
    let received = thread.join().unwrap();
    assert_eq!(frames(Framing::Newline, &received[0]).len(), 100_000);
}

#[test]
fn many_connections_get_their_fair_share() {
    let (target, thread) = receiver(200);
    let time = Extent::Time(Duration::from_millis(200));
    let rate = Rate::PerSecond(50_000.0);
    let outcome = go(&Plan { connections: 200, rate, ..plan(&[target], time) });
    assert!(outcome.manifest.streams.iter().all(|stream| stream.sent == 50));
    assert_eq!((outcome.manifest.sent(), outcome.behind), (10_000, 0));
    let received = thread.join().unwrap();
    let events = received.iter().flat_map(|bytes| frames(Framing::Newline, bytes));
    assert!(verdict(&outcome, events).passes(0));
}

#[test]
fn what_cannot_be_done_is_refused() {
    let udp = "udp://127.0.0.1:9".to_owned();
    let tcp = "tcp://127.0.0.1:9".to_owned();
    let base = plan(&[udp, tcp.clone()], Extent::Endless);
    let refused = |plan: Plan| check(&plan).unwrap_err().to_string();
    assert!(refused(Plan { gso: true, ..base.clone() }).ends_with(&format!("{tcp} is none")));
    assert!(refused(Plan { connections: STREAMS_MAX, ..base.clone() }).contains("streams"));
    let many = Extent::Count(u64::MAX);
    assert!(refused(Plan { extent: many, ..base }).contains("events a stream"));
}

#[test]
fn unix_sockets_of_both_kinds() {
    let dir = tempfile::tempdir().unwrap();
    let (stream, log) = (dir.path().join("stream"), dir.path().join("log"));
    let listener = UnixListener::bind(&stream).unwrap();
    let socket = UnixDatagram::bind(&log).unwrap();
    let reader = std::thread::spawn(move || {
        let mut bytes = Vec::new();
        listener.accept().unwrap().0.read_to_end(&mut bytes).unwrap();
        bytes
    });
    // More than its queue holds: whoever is slow is waited for.
    let counter = std::thread::spawn(move || {
        let mut message = [0; 4096];
        let mut read = || socket.recv(&mut message).map(|length| message[..length].to_vec());
        (0..5000).map(|_| read().unwrap()).collect::<Vec<_>>()
    });
    let targets = [format!("unix://{}", stream.display()), format!("unixgram://{}", log.display())];
    let outcome = go(&plan(&targets, Extent::Count(10_000)));
    assert_eq!((outcome.manifest.sent(), outcome.failures()), (10_000, 0));
    let (bytes, messages) = (reader.join().unwrap(), counter.join().unwrap());
    let events = frames(Framing::Newline, &bytes).into_iter();
    let verdict = verdict(&outcome, events.chain(messages.iter().map(Vec::as_slice)));
    assert!(verdict.passes(0) && verdict.foreign == 0, "{verdict:?}");
    // Nobody is there any more.
    let error = run(&plan(&targets[1..], Extent::Count(10)), &Arc::default(), &mut |_| ());
    assert!(matches!(error, Err(BlastError::Connect { .. })), "{error:?}");
}

// ── RELP ──

/// A receiver of one connection: what it got. It acknowledges each message, but `refuses` the one
/// of that number, and says nothing behind the first `most`.
fn acknowledging(refuses: usize, most: usize) -> (String, JoinHandle<Vec<Vec<u8>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let target = format!("relp://{}", listener.local_addr().unwrap());
    let thread = std::thread::spawn(move || {
        let mut socket = listener.accept().unwrap().0;
        let mut session = Session::new(64 << 10);
        let (mut bytes, mut got) = (Vec::new(), Vec::new());
        let mut chunk = [0; 5000];
        loop {
            let (mut at, mut out, mut closed) = (0, Vec::new(), false);
            loop {
                let (count, heard) = session.hear(&bytes[at..], &mut out).unwrap();
                at += count;
                match heard {
                    Heard::More => break,
                    Heard::Message { txnr, text } => {
                        let said = if got.len() == refuses { "9 500 never" } else { "6 200 OK" };
                        if got.len() < most {
                            out.extend_from_slice(format!("{txnr} rsp {said}\n").as_bytes());
                        }
                        got.push(text.to_vec());
                    }
                    Heard::Close { txnr } => {
                        let goodbye = format!("{txnr} rsp 0\n0 serverclose 0\n");
                        out.extend_from_slice(goodbye.as_bytes());
                        closed = true;
                        break;
                    }
                    _ => {}
                }
            }
            bytes.drain(..at);
            if socket.write_all(&out).is_err() || closed {
                return got;
            }
            match socket.read(&mut chunk) {
                Ok(count) if count > 0 => bytes.extend_from_slice(&chunk[..count]),
                _ => return got,
            }
        }
    });
    (target, thread)
}

#[test]
fn over_relp_only_what_was_acknowledged_counts() {
    for window in [1, 7, 128, 5000] {
        let (target, thread) = acknowledging(usize::MAX, usize::MAX);
        let outcome = go(&Plan { window, ..plan(&[target], Extent::Count(3000)) });
        assert_eq!((outcome.manifest.sent(), outcome.failures()), (3000, 0), "{window}");
        assert_eq!(outcome.manifest.unanswered(), 0);
        let got = thread.join().unwrap();
        let verdict = verdict(&outcome, got.iter().map(Vec::as_slice));
        assert!(verdict.passes(0) && verdict.foreign == 0, "{verdict:?}");
    }
}

#[test]
fn over_relp_what_has_no_answer_is_told_apart() {
    let (target, thread) = acknowledging(usize::MAX, 100);
    let stop = Arc::new(AtomicBool::new(false));
    let (mut before, mut still) = (0, 0);
    let outcome = run(&plan(&[target], Extent::Endless), &stop, &mut |now| {
        still = if now.events == 100 && now.events == before { still + 1 } else { 0 };
        before = now.events;
        stop.store(still >= 3, Ordering::Relaxed);
    });
    let outcome = outcome.unwrap();
    let sent = (outcome.manifest.sent(), outcome.manifest.unanswered());
    assert_eq!(sent, (100, u64::from(WINDOW_DEFAULT)));
    let got = thread.join().unwrap();
    assert_eq!(got.len() as u64, 100 + u64::from(WINDOW_DEFAULT));
    let verdict = verdict(&outcome, got.iter().map(Vec::as_slice));
    assert!(verdict.passes(0), "{verdict:?}");
    assert_eq!((verdict.found, verdict.unanswered), (100, u64::from(WINDOW_DEFAULT)));
}

#[test]
fn a_refused_message_ends_its_stream() {
    let (target, thread) = acknowledging(50, usize::MAX);
    let outcome = go(&plan(&[target], Extent::Count(1000)));
    thread.join().unwrap();
    assert_eq!((outcome.manifest.sent(), outcome.failures()), (50, 1));
    let error = outcome.manifest.streams[0].error.as_deref().unwrap();
    assert!(error.contains("refuses a message"), "{error}");
    assert!(outcome.manifest.unanswered() > 0);
}

#[test]
fn who_speaks_no_relp_is_told() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let target = format!("relp://{}", listener.local_addr().unwrap());
    let thread = std::thread::spawn(move || {
        let mut socket = listener.accept().unwrap().0;
        socket.read_exact(&mut [0; 10]).unwrap();
        socket.write_all(b"220 mail.example ESMTP\r\n").unwrap();
    });
    let error = run(&plan(&[target], Extent::Count(1)), &Arc::default(), &mut |_| ());
    assert!(matches!(error, Err(BlastError::Connect { .. })), "{error:?}");
    thread.join().unwrap();
}
