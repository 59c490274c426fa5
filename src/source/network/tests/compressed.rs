//! Compressed streams over real connections: what came is kept, however a stream ends.

use super::*;
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
