//! What arrives when a recording is played.

use super::*;
use crate::archive::query::TimeRange;
use crate::wire::capture::Writer;
use std::io::Read;
use std::net::{TcpListener, UdpSocket};
use tempfile::TempDir;

/// A capture of numbered datagrams, `step_ns` apart; every tenth is empty.
fn capture(dir: &TempDir, count: usize, step_ns: i64) -> PathBuf {
    let (mut writer, mut out) = (Writer::default(), Vec::new());
    writer.begin(&mut out);
    for number in 0..count {
        let at = 1_700_000_000_000_000_000 + number as i64 * step_ns;
        writer.datagram(at, None, None, &text(number), None, &mut out).unwrap();
    }
    let path = dir.path().join("taken.pcapng");
    std::fs::write(&path, out).unwrap();
    path
}

fn text(number: usize) -> Vec<u8> {
    if number % 10 == 9 { Vec::new() } else { format!("number {number}").into_bytes() }
}

fn plan(path: PathBuf, to: &str, speed: Speed) -> Plan {
    Plan {
        paths: vec![path],
        choice: Choice { range: TimeRange::ALL, port: None },
        target: Target::parse(to).unwrap(),
        speed,
        passes: Some(1),
        framing: Framing::Newline,
    }
}

fn play(plan: &Plan) -> Outcome {
    run(plan, &Arc::default(), &mut |_| {}).unwrap()
}

fn receiver() -> (UdpSocket, String) {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    let to = format!("udp://{}", socket.local_addr().unwrap());
    (socket, to)
}

fn receive(socket: &UdpSocket, count: usize) -> Vec<Vec<u8>> {
    let mut into = [0; 2048];
    let mut one = |_| {
        let length = socket.recv(&mut into).expect("in time");
        into[..length].to_vec()
    };
    (0..count).map(&mut one).collect()
}

#[test]
fn every_datagram_comes_in_order_and_none_before_it_is_due() {
    let dir = tempfile::tempdir().unwrap();
    let (socket, to) = receiver();
    let path = capture(&dir, 100, 1_000_000);
    let texts: Vec<_> = (0..100).map(text).collect();
    for (speed, at_least_ms) in [(Speed::Times(1.0), 99), (Speed::Times(10.0), 9), (Speed::Max, 0)]
    {
        let outcome = play(&plan(path.clone(), &to, speed));
        assert_eq!(receive(&socket, 100), texts);
        assert_eq!((outcome.events, outcome.failure.as_deref()), (100, None));
        assert_eq!(outcome.bytes, texts.iter().map(|text| text.len() as u64).sum::<u64>());
        assert!(outcome.passed >= Duration::from_millis(at_least_ms), "{speed:?}");
        let told = outcome.errors.map(|errors| errors.len());
        assert_eq!(told, (speed != Speed::Max).then_some(100));
    }
}

#[test]
fn who_is_late_says_by_how_much_and_catches_up() {
    let dir = tempfile::tempdir().unwrap();
    let (socket, to) = receiver();
    let plan = plan(capture(&dir, 100, 1_000_000), &to, Speed::Times(1.0));
    let mut slept = false;
    let outcome = run(&plan, &Arc::default(), &mut |progress| {
        if progress.events >= 20 && !std::mem::replace(&mut slept, true) {
            std::thread::sleep(Duration::from_millis(60));
        }
    });
    let errors = outcome.unwrap().errors.unwrap();
    assert!(errors.max() >= 50_000_000, "{}", errors.max());
    assert!(errors.min() < errors.max() && errors.len() == 100);
    assert_eq!(receive(&socket, 100).len(), 100);
}

#[test]
fn a_stream_gets_frames_and_may_take_its_time() {
    let dir = tempfile::tempdir().unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let to = format!("tcp://{}", listener.local_addr().unwrap());
    for framing in [Framing::Newline, Framing::Octet] {
        let mut plan = plan(capture(&dir, 3000, 10), &to, Speed::Max);
        plan.framing = framing;
        let (read, played) = bounded(1);
        let accepting = listener.try_clone().unwrap();
        spawn("test.receiver", move || {
            let mut all = Vec::new();
            accepting.accept().unwrap().0.read_to_end(&mut all).unwrap();
            read.send(all).unwrap();
        })
        .unwrap();
        let outcome = play(&plan);
        let frame = |text: Vec<u8>| match framing {
            Framing::Newline => [&text[..], b"\n"].concat(),
            Framing::Octet => [format!("{} ", text.len()).as_bytes(), &text].concat(),
        };
        let expected: Vec<u8> = (0..3000).flat_map(|number| frame(text(number))).collect();
        assert!(played.recv_timeout(Duration::from_secs(20)).unwrap() == expected);
        assert_eq!((outcome.events, outcome.torn, outcome.failure), (3000, 0, None));
    }
}

#[test]
fn it_is_played_as_often_as_asked_and_stops_when_asked() {
    let dir = tempfile::tempdir().unwrap();
    let (socket, to) = receiver();
    let path = capture(&dir, 10, 1_000);
    let outcome = play(&Plan { passes: Some(3), ..plan(path.clone(), &to, Speed::Times(1.0)) });
    let thrice: Vec<_> = (0..30).map(|number| text(number % 10)).collect();
    assert_eq!((receive(&socket, 30), outcome.events), (thrice, 30));
    let stop = Arc::new(AtomicBool::new(false));
    let endless = Plan { passes: None, ..plan(path, &to, Speed::Times(1.0)) };
    let outcome = run(&endless, &stop, &mut |progress| {
        stop.store(progress.events >= 50, Ordering::Relaxed);
    });
    let outcome = outcome.unwrap();
    assert!(outcome.stopped && outcome.failure.is_none() && outcome.events >= 50);
    // An hour's gap is not waited for.
    let path = capture(&dir, 2, 3_600_000_000_000);
    let stop = Arc::new(AtomicBool::new(false));
    let gap = plan(path, &to, Speed::Times(1.0));
    let outcome = run(&gap, &stop, &mut |progress| {
        stop.store(progress.events == 1, Ordering::Relaxed);
    });
    assert_eq!(outcome.unwrap().events, 1);
}

#[test]
fn who_does_not_listen_or_hangs_up_is_told() {
    let dir = tempfile::tempdir().unwrap();
    let path = capture(&dir, 400, 100_000);
    let (socket, to) = receiver();
    drop(socket);
    let outcome = play(&plan(path.clone(), &to, Speed::Times(1.0)));
    assert!(outcome.refused > 0 && outcome.events == 400, "{outcome:?}");
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let to = format!("tcp://{}", listener.local_addr().unwrap());
    let endless = Plan { passes: None, ..plan(path.clone(), &to, Speed::Max) };
    spawn("test.receiver", move || drop(listener.accept().unwrap())).unwrap();
    let outcome = play(&endless);
    assert!(outcome.failure.is_some(), "{outcome:?}");
    let refused = run(&plan(path.clone(), &to, Speed::Max), &Arc::default(), &mut |_| {});
    assert!(matches!(refused, Err(ReplayError::Target { .. })));
    let secure = run(&plan(path, "tls://127.0.0.1:1", Speed::Max), &Arc::default(), &mut |_| {});
    assert!(secure.unwrap_err().to_string().contains("a replay goes to udp"));
    let missing = plan("/no/such/file".into(), "udp://127.0.0.1:1", Speed::Max);
    let missing = run(&missing, &Arc::default(), &mut |_| {});
    assert!(matches!(missing, Err(ReplayError::Recording(_))));
}
