//! The kernel log source against pipes and files in the format of the device.

use super::*;
use crate::config::Section;
use crate::event::Event;
use crate::time::Wall;
use std::os::fd::OwnedFd;

const NOW: Now = Now { mono: Mono(0), wall: Wall(0) };
const RULES: Rules = Rules { counted: true, zipped: false, event_bytes_max: 4096, want_pri: true };

fn pipe(is_device: bool) -> (std::io::PipeWriter, Kmsg, Arc<SourceCounters>) {
    let (reader, writer) = std::io::pipe().unwrap();
    let (kmsg, counters) = reading(reader.into(), is_device);
    (writer, kmsg, counters)
}

fn reading(descriptor: OwnedFd, is_device: bool) -> (Kmsg, Arc<SourceCounters>) {
    let hostname = b"box".to_vec();
    let boot_id = "b1".to_owned();
    let desk = Desk { hostname, boot_id, is_device, behind: None, position: None };
    let counters = Arc::<SourceCounters>::default();
    (Kmsg::new(Input::new(descriptor).unwrap(), desk, RULES, counters.clone()), counters)
}

fn texts(page: &Page) -> Vec<String> {
    let text = |event: Event<'_>| event.bytes.escape_ascii().to_string().replace("\\\"", "\"");
    page.events().map(text).collect()
}

fn line(pri: u8, sequence: u64, text: &str) -> String {
    format!("<{pri}>1 - box kernel - - [kernel@32473 sequence=\"{sequence}\" micros=\"9\"] {text}")
}

#[test]
fn records_with_their_dictionary_are_messages_and_gaps_are_lost() {
    let (mut writer, mut kmsg, counters) = pipe(false);
    let mut page = Page::new(1 << 20);
    let stream = "6,100,9,-;one\n SUBSYSTEM=pci\n DEVICE=+pci:\\x22\n30,101,9,-;two\\x0alines\n\
                  no record\n4,105,9,-;after a gap\n4,3,9,-;another start\n";
    writer.write_all(stream.as_bytes()).unwrap();
    drop(writer);
    assert!(kmsg.receive(&mut page, NOW).finished);
    let dictionary = "micros=\"9\" SUBSYSTEM=\"pci\" DEVICE=\"+pci:\\\\\"\"]";
    let expected = [
        line(6, 100, "one").replace("micros=\"9\"]", dictionary),
        line(30, 101, "two\\nlines"),
        "no record".to_owned(),
        line(4, 105, "after a gap"),
        line(4, 3, "another start"),
    ];
    assert_eq!(texts(&page), expected);
    assert_eq!(counters.lost[LostReason::Kernel].get(), 3);
    let marks: Vec<Marks> = page.events().map(|event| event.marks).collect();
    let none = Marks::NONE;
    assert_eq!(marks, [none, Marks::CONTROL, Marks::UNPARSED, none, none]);
}

#[test]
fn pieces_of_a_line_are_joined_while_they_come_in_one_go() {
    let (mut writer, mut kmsg, counters) = pipe(false);
    let mut page = Page::new(1 << 20);
    let stream = "6,1,9,c;a\n6,2,9,+;b\n6,3,9,+;c\n6,4,9,-;whole\n6,5,9,c;x\n6,6,9,c;y\n\
                  6,7,9,+;z\n6,8,9,-;end\n6,9,9,+;alone\n6,10,9,-;end\n";
    writer.write_all(stream.as_bytes()).unwrap();
    assert!(!kmsg.receive(&mut page, NOW).finished);
    // Behind the last line more of its dictionary might come.
    assert_eq!(page.event_count(), 6);
    kmsg.stop(NOW);
    assert!(kmsg.receive(&mut page, NOW).finished);
    let expected = [
        line(6, 1, "abc"),
        line(6, 4, "whole"),
        line(6, 5, "x"),
        line(6, 6, "yz"),
        line(6, 8, "end"),
        line(6, 9, "alone"),
        line(6, 10, "end"),
    ];
    assert_eq!(texts(&page), expected);
    assert_eq!(counters.lost[LostReason::Kernel].get(), 0);
}

#[test]
fn a_device_gives_whole_records_and_times() {
    let (mut writer, mut kmsg, _) = pipe(true);
    let mut page = Page::new(1 << 20);
    writer.write_all(b"6,1,1000000,-;one\n A=1\n").unwrap();
    // The wall clock stands one second behind where the machine's start has put it.
    let uptime = i64::try_from(clock::uptime().as_nanos()).unwrap();
    let wall = Wall(1_763_717_885_000_000_000 + uptime);
    kmsg.receive(&mut page, Now { wall, ..NOW });
    let text = texts(&page).remove(0);
    let time = text.split(' ').nth(1).unwrap().to_owned();
    let time: jiff::Timestamp = time.parse().unwrap();
    let off = time.as_microsecond() - 1_763_717_886_000_000;
    assert!((-60_000_000..=0).contains(&off), "{text}: between the two readings of the clock");
    assert!(text.ends_with("A=\"1\"] one"), "{text}");
}

#[test]
fn many_records_fill_page_after_page() {
    let mut file = tempfile::tempfile().unwrap();
    for number in 0..20_000 {
        writeln!(file, "6,{number},9,-;record {number}").unwrap();
    }
    std::io::Seek::rewind(&mut file).unwrap();
    let (mut kmsg, counters) = reading(file.into(), false);
    let mut count = 0;
    for serial in 1.. {
        let mut page = Page::new(64 << 10);
        page.clear(serial);
        let received = loop {
            let received = kmsg.receive(&mut page, NOW);
            if received.full || received.finished {
                break received;
            }
            assert!(received.more, "it waits for more in the middle of a file");
        };
        for text in texts(&page) {
            assert_eq!(text, line(6, count, &format!("record {count}")));
            count += 1;
        }
        if received.finished {
            break;
        }
    }
    assert_eq!((count, counters.lost[LostReason::Kernel].get()), (20_000, 0));
}

#[test]
fn a_position_of_this_start_is_gone_on_from_and_the_gap_counted() {
    assert_eq!(behind_in(b"b1 41", "b1"), Some(42));
    assert_eq!(behind_in(b"b0 41", "b1"), None);
    assert_eq!(behind_in(b"41", "b1"), None);
    let (mut writer, mut kmsg, counters) = pipe(true);
    (kmsg.desk.behind, kmsg.expected) = (Some(42), Some(42));
    let mut page = Page::new(1 << 20);
    for record in ["6,40,9,-;old", "6,41,9,-;old", "6,45,9,-;new"] {
        // A device gives one record a read.
        writer.write_all(record.as_bytes()).unwrap();
        kmsg.receive(&mut page, NOW);
    }
    assert_eq!(page.event_count(), 1);
    assert_eq!(counters.lost[LostReason::Kernel].get(), 3);
}

#[test]
fn the_rows_are_what_is_asked_for() {
    crate::config::check_docs(OPTIONS, "", |section: &Section| {
        (KIND.plan)(section);
    });
}
