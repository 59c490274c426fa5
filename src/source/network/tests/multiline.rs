//! Joined lines over real connections: whose they are, and when they end.

use super::*;

const MULTILINE: &str = "listen = 'tcp://127.0.0.1:0'\nmultiline = { start = '^>', age = '600s' }";

fn texts(rig: &Rig) -> Vec<String> {
    let events = rig.pages.iter().flat_map(|page| page.events());
    events.map(|event| String::from_utf8(event.bytes.to_vec()).unwrap()).collect()
}

#[test]
fn each_connection_joins_its_own_lines() {
    let mut rig = rig("tcp", MULTILINE);
    let mut peers = [rig.connect(), rig.connect()];
    for line in ["> one\n", "two\nthr", "ee\n"] {
        for peer in &mut peers {
            peer.write_all(line.as_bytes()).unwrap();
        }
    }
    let [first, second] = peers;
    drop(first);
    rig.until(|rig| rig.count() == 1);
    drop(second);
    rig.until(|rig| rig.count() == 2 && rig.open() == 0);
    assert_eq!(texts(&rig), ["> one\ntwo\nthree"; 2]);
}

#[test]
fn a_group_ends_by_age_unless_more_has_come_that_could_not_be_read() {
    let mut rig = rig("tcp", MULTILINE);
    let mut peer = rig.connect();
    peer.write_all(b"> zero\n> one\n").unwrap();
    // The next start has been read when the one before is there.
    rig.until(|rig| rig.count() == 1);
    peer.write_all(b"two\nha").unwrap();
    // For long the valve was closed, and the rest waits in the socket.
    rig.ahead += Duration::from_secs(3600);
    let arrived = |rig: &mut Rig| {
        let now = rig.now();
        rig.sources[0].receive(&mut rig.pages[0], now);
        rig.sources[0].wait(now, now.mono.after(Duration::from_millis(100)), true);
    };
    for _ in 0..3 {
        arrived(&mut rig);
    }
    assert_eq!(rig.count(), 1);
    rig.ahead += Duration::from_secs(599);
    arrived(&mut rig);
    assert_eq!(rig.count(), 1);
    rig.ahead += Duration::from_secs(100);
    rig.until(|rig| rig.count() == 2);
    // What has no end yet is none of that group, and still comes whole.
    peer.write_all(b"lf\n").unwrap();
    drop(peer);
    rig.until(|rig| rig.count() == 3 && rig.open() == 0);
    assert_eq!(texts(&rig), ["> zero", "> one\ntwo", "half"]);
}

#[test]
fn a_stop_makes_events_of_what_is_open() {
    let mut rig = rig("tcp", MULTILINE);
    let mut peer = rig.connect();
    peer.write_all(b"> zero\n> one\ntwo\n").unwrap();
    rig.until(|rig| rig.count() == 1);
    rig.stop();
    assert_eq!(texts(&rig), ["> zero", "> one\ntwo"]);
}

#[test]
fn counted_frames_are_lines_where_lines_are_joined() {
    let body = "listen = 'tcp://127.0.0.1:0'\nmultiline = { start = '^<\\d+>' }";
    let mut rig = rig("syslog", body);
    let mut peer = rig.connect();
    peer.write_all(b"<13>one\n5 <1>x\n<13>two\n").unwrap();
    drop(peer);
    rig.until(|rig| rig.count() == 2 && rig.open() == 0);
    assert_eq!(texts(&rig), ["<13>one\n5 <1>x", "<13>two"]);
}
