//! Threads with time compress better.

use super::Stand;
use std::time::Duration;

/// The file after some blocks, one every two seconds.
fn written(options: &str, name: &str) -> (Vec<u8>, String) {
    let mut stand = Stand::new(&format!("{options}\nblock = {{ age = '1s' }}"));
    for block in 0..24 {
        let text = |n: usize| format!("session {} of user {} opened for {n}", n * n, n % 7 + block);
        let texts: Vec<String> = (0..400).map(text).collect();
        let events: Vec<_> = texts.iter().map(|text| ("10.0.0.1", text.as_str())).collect();
        stand.put(&events);
        stand.pass(Duration::from_secs(2));
    }
    stand.close();
    stand.adds_up();
    (stand.bytes(name), stand.read(name))
}

fn adapts(path: &str, name: &str) {
    let level = |level: &str| written(&format!("path = '{path}'\nlevel = {level}"), name);
    let ((fast, text), (better, best)) = (level("1"), (level("'adapt'"), level("6")));
    assert_eq!(better.1, text, "the same events");
    let bytes = [fast.len(), better.0.len(), best.0.len()];
    assert!(
        bytes.is_sorted_by(|one, next| one > next),
        "1, adapted, and 6 from the start: {bytes:?}"
    );
}

#[test]
fn one_file_has_blocks_of_several_levels() {
    adapts("DIR/all.log", "all.log.zst");
}

#[test]
fn so_has_each_file_of_many() {
    adapts("DIR/%{host}.log", "10.0.0.1.log.zst");
}
