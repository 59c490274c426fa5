//! Compressed streams over real connections: what came is kept, however a stream ends.

use super::*;
use crate::event::{Event, Mark};
use flate2::Compression;
use flate2::write::ZlibEncoder;

const COMPRESSED: &str = "listen = 'tcp://127.0.0.1:0'\ncompression = { mode = 'stream:always' }";

fn lines(count: usize) -> String {
    (0..count).map(|n| format!("<13>line {n} of many\n")).collect()
}

#[test]
fn streams_are_expanded_and_those_that_break_are_told() {
    let mut rig = rig("syslog", COMPRESSED);
    let mut packed = ZlibEncoder::new(rig.connect(), Compression::default());
    packed.write_all(b"<13>one\n7 <13>two<13>thr").unwrap();
    packed.flush().unwrap();
    rig.until(|rig| rig.count() == 2);
    packed.write_all(b"ee\n").unwrap();
    drop(packed.finish().unwrap());
    rig.until(|rig| rig.count() == 3 && rig.open() == 0);
    assert_eq!(rig.counters[0].errors.get(), 0);

    let mut cut = ZlibEncoder::new(rig.connect(), Compression::default());
    cut.write_all(b"<13>four\n<13>fi").unwrap();
    cut.flush().unwrap();
    cut.get_ref().shutdown(std::net::Shutdown::Write).unwrap();
    rig.until(|rig| rig.count() == 5 && rig.open() == 0);
    let mut broken = ZlibEncoder::new(rig.connect(), Compression::default());
    broken.write_all(b"<13>six\n").unwrap();
    broken.flush().unwrap();
    broken.get_ref().write_all(b"\xff\xff\xff\xff<13>seven\n").unwrap();
    rig.until(|rig| rig.count() == 6 && rig.open() == 0);
    let mut plain = rig.connect();
    plain.write_all(b"<13>eight\n").unwrap();
    rig.until(|rig| rig.counters[0].errors.get() == 3 && rig.open() == 0);
    let texts = ["<13>fi", "<13>four", "<13>one", "<13>six", "<13>three", "<13>two"];
    assert_eq!(rig.texts(), texts);
    let told: Vec<String> = rig.incidents.list().into_iter().map(|it| it.what).collect();
    assert!(told.len() == 1 && told[0].contains("ends in the middle"), "{told:?}");
    rig.ahead += Duration::from_secs(61);
    rig.until(|rig| rig.incidents.list().len() == 2);
    let told = rig.incidents.list().pop().unwrap().what;
    assert!(told.contains("2 more like this") && told.contains("not compressed"), "{told}");
}

#[test]
fn a_stop_reads_what_has_come_however_far_it_expands() {
    let mut rig = rig("tcp", COMPRESSED);
    let mut packed = ZlibEncoder::new(rig.connect(), Compression::best());
    packed.write_all(lines(20_000).as_bytes()).unwrap();
    packed.flush().unwrap();
    rig.until(|rig| rig.count() > 0);
    rig.stop();
    assert_eq!(rig.count(), 20_000);
}

fn single(text: &[u8]) -> Vec<u8> {
    let mut encoder = ZlibEncoder::new(vec![b'z'], Compression::best());
    encoder.write_all(text).unwrap();
    encoder.finish().unwrap()
}

#[test]
fn single_messages_are_expanded_and_what_is_none_is_kept_and_told() {
    let body = "listen = ['tcp://127.0.0.1:0', 'udp://127.0.0.1:0']\nevent_max = '4KiB'\n\
                compression = { mode = 'single' }";
    let mut rig = rig("syslog", body);
    let mut stream = rig.connect();
    let framed = |text: &[u8]| [text.len().to_string().as_bytes(), b" ", text].concat();
    let bomb = single(&[b'<'; 4097]);
    for text in [&single(b"<13>one")[..], b"<13>two", &single(b"<13>thr\xff\n"), &bomb] {
        stream.write_all(&framed(text)).unwrap();
    }
    stream.write_all(b"<13>four\n").unwrap();
    rig.until(|rig| rig.count() == 5);
    // A frame that never becomes whole is kept, too.
    stream.write_all(&framed(&single(b"<13>five"))[..10]).unwrap();
    drop(stream);
    rig.until(|rig| rig.count() == 6 && rig.open() == 0);
    let socket = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    for text in [&single(b"<13>six")[..], b"<13>seven", b"zebra"] {
        socket.send_to(text, rig.addresses[1]).unwrap();
    }
    rig.until(|rig| rig.count() == 9);
    let marks = |event: &Event<'_>| event.marks.counted().map(Mark::name).collect::<Vec<_>>();
    let events: Vec<(Vec<u8>, Vec<&str>)> =
        rig.pages[0].events().map(|event| (event.bytes.to_vec(), marks(&event))).collect();
    let cut = single(b"<13>five")[..7].to_vec();
    let all = [
        (b"<13>one".to_vec(), vec![]),
        (b"<13>two".to_vec(), vec![]),
        (b"<13>thr\xff".to_vec(), vec![]),
        (bomb, vec!["unparsed"]),
        (b"<13>four".to_vec(), vec![]),
        (cut, vec!["truncated", "unparsed"]),
        (b"<13>six".to_vec(), vec![]),
        (b"<13>seven".to_vec(), vec![]),
        (b"zebra".to_vec(), vec!["unparsed"]),
    ];
    assert_eq!(events, all);
    assert_eq!(rig.counters[0].errors.get(), 2);
    let told: Vec<String> = rig.incidents.list().into_iter().map(|it| it.what).collect();
    assert!(told.len() == 1 && told[0].contains("raise `event_max`"), "{told:?}");
    rig.ahead += Duration::from_secs(61);
    rig.until(|rig| rig.incidents.list().len() == 2);
    assert!(rig.incidents.list()[1].what.contains("is not compressed (zlib)"));
}
