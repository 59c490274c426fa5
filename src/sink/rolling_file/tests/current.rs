//! Links to the newest file of each path.

use super::*;

const HOURS: &str = "path = 'DIR/%{peer}/%H.log'\nzone = 'UTC'\ncurrent = 'DIR/%{peer}/now'\n\
                     block = { age = '100ms' }";

fn leads_to(stand: &Stand, peer: &str) -> String {
    let link = stand.dir.path().join(peer).join("now");
    let target = OsDisk.points_at(&link).expect("looked").expect("a link");
    target.to_str().expect("UTF-8").to_owned()
}

#[test]
fn a_link_leads_to_the_newest_file_open_or_finished() {
    let mut stand = Stand::new(HOURS);
    stand.put(&[("10.0.0.1", "one"), ("10.0.0.2", "two")]);
    stand.pass(Duration::from_millis(200));
    assert_eq!(leads_to(&stand, "10.0.0.1"), "22.log.zst.open");
    assert_eq!(leads_to(&stand, "10.0.0.2"), "22.log.zst.open");
    stand.orders.roll_all();
    stand.pass(Duration::from_millis(200));
    assert_eq!(leads_to(&stand, "10.0.0.2"), "22.log.zst");
    stand.put(&[("10.0.0.1", "three")]);
    stand.pass(Duration::from_millis(200));
    assert_eq!(leads_to(&stand, "10.0.0.1"), "22.log.1.zst.open");
    assert_eq!(leads_to(&stand, "10.0.0.2"), "22.log.zst");
    assert_eq!(stand.read("10.0.0.1/now"), "three\n");
    // The next hour begins while the last one's file is still open, and is finished later.
    stand.clock.advance(Duration::from_secs(3600 - 900));
    stand.put(&[("10.0.0.1", "four")]);
    stand.pass(Duration::from_millis(200));
    stand.pass(Duration::from_secs(2000));
    stand.put(&[("10.0.0.1", "five")]);
    stand.pass(Duration::from_millis(200));
    assert_eq!(leads_to(&stand, "10.0.0.1"), "23.log.zst.open");
    stand.pass(Duration::from_millis(200));
    stand.close();
    assert_eq!(leads_to(&stand, "10.0.0.1"), "23.log.zst");
    assert_eq!(leads_to(&stand, "10.0.0.2"), "22.log.zst");
    stand.adds_up();
}

#[test]
fn a_name_that_is_taken_stays_and_the_events_are_written() {
    let dir = tempfile::tempdir().expect("a directory");
    OsDisk.create_dir_all(&dir.path().join("10.0.0.1")).expect("made");
    let taken = dir.path().join("10.0.0.1/now");
    let held = OsDisk.create_new(&taken).expect("created");
    let mut stand = Stand::over(dir, HOURS);
    stand.put(&[("10.0.0.1", "one")]);
    stand.close();
    assert!(held.linked(&taken).expect("looked"));
    assert_eq!(stand.files(), ["10.0.0.1/22.log.zst", "10.0.0.1/now"]);
    assert_eq!(stand.read("10.0.0.1/22.log.zst"), "one\n");
    stand.adds_up();
}
