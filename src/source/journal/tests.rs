//! The journal source against a stand-in for journalctl, and against files.

use super::*;
use crate::telemetry::Incidents;
use crate::time::Wall;
use std::io::Write;

const JOURNALCTL: &str =
    concat!(env!("CARGO_MANIFEST_DIR"), "/tests/integration/stand_ins/journalctl");

fn build(body: &str) -> Result<Box<dyn Source>, BuildError> {
    let section = Section::parse(body, OPTIONS);
    let plan = (KIND.plan)(&section);
    assert!(!section.diagnostics().has_errors(), "{:?}", section.diagnostics().lines());
    let context = SourceContext {
        name: "journal".to_owned(),
        want_pri: true,
        exact: false,
        want_headers: false,
        want_host: false,
        page_bytes: 1 << 20,
        channels: 1,
        furthest: crate::memory::receipt::Reached::Synced,
        counters: vec![Arc::default()],
        incidents: Incidents::new(),
    };
    plan.build(&context).map(|mut built| built.sources.remove(0))
}

fn at(seconds: u64) -> Now {
    Now { mono: Mono(seconds * 1_000_000_000), wall: Wall(0) }
}

fn texts(page: &Page) -> Vec<String> {
    page.events().map(|event| String::from_utf8(event.bytes.to_vec()).unwrap()).collect()
}

fn entry(number: usize) -> String {
    let head = "<12>1 2025-11-21T09:38:05.123456Z web1 app 7 - [journal@32473 _UID=\"0\"]";
    format!("{head} entry {number}")
}

/// Reads, stepping the clock, until so many events have come.
fn read_until(source: &mut dyn Source, page: &mut Page, events: u32) {
    let mut seconds = 0;
    while page.event_count() < events {
        assert!(seconds < 1000, "only {} of {events} events", page.event_count());
        seconds += 1;
        // What a process writes takes its time; so long only when something is wrong.
        source.wait(at(0), Mono(20_000_000), true);
        source.receive(page, at(seconds));
    }
}

fn journalctl(count: usize, more: &str) -> String {
    format!("command = '{JOURNALCTL}'\narguments = '--count={count}'\n{more}")
}

#[test]
fn journalctl_that_ends_is_started_again_behind_the_last_entry() {
    let mut source = build(&journalctl(10, "from = 'all'")).unwrap();
    let mut page = Page::new(1 << 20);
    read_until(&mut *source, &mut page, 10);
    let expected: Vec<String> = (1..=10).map(entry).collect();
    assert_eq!(texts(&page), expected);
    assert!(page.events().all(|event| event.pri == Some(12)));
    source.stop(at(2000));
    assert!(source.receive(&mut page, at(2000)).finished);
    assert_eq!(page.event_count(), 10);
}

#[test]
fn a_restart_goes_on_where_the_last_one_stopped() {
    let dir = tempfile::tempdir().unwrap();
    let position = format!("position = '{}'", dir.path().join("position").display());
    let mut page = Page::new(1 << 20);
    let mut first = build(&journalctl(3, &format!("from = 'all'\n{position}"))).unwrap();
    read_until(&mut *first, &mut page, 3);
    first.stop(at(2000));
    assert!(first.receive(&mut page, at(2000)).finished);
    drop(first);
    let mut second = build(&journalctl(5, &position)).unwrap();
    read_until(&mut *second, &mut page, 5);
    assert_eq!(texts(&page), (1..=5).map(entry).collect::<Vec<_>>());
    assert!(build(&journalctl(5, &position)).is_err(), "two sources, one position");
}

#[test]
fn a_file_is_read_to_its_end_over_as_many_pages_as_it_takes() {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    let count = 5000;
    for number in 0..count {
        write!(file, "_UID=5\nMESSAGE\n").unwrap();
        let text = format!("line {number}\nsecond");
        file.write_all(&(text.len() as u64).to_le_bytes()).unwrap();
        write!(file, "{text}\n\n").unwrap();
    }
    write!(file, "MESSAGE=without an empty line").unwrap();
    file.flush().unwrap();
    let body = format!("path = '{}'\nfields = []", file.path().display());
    let mut source = build(&body).unwrap();
    let mut read = Vec::new();
    for serial in 1.. {
        let mut page = Page::new(64 << 10);
        page.clear(serial);
        let received = loop {
            let received = source.receive(&mut page, at(0));
            if received.full || received.finished {
                break received;
            }
            assert!(received.more);
        };
        let marks = |event: crate::event::Event<'_>| (event.bytes.to_vec(), event.marks);
        read.extend(page.events().map(marks));
        if received.finished {
            break;
        }
    }
    let (last, whole) = read.split_last().unwrap();
    assert_eq!(*last, (b"<14>1 - - - - - - without an empty line".to_vec(), Marks::UNPARSED));
    assert_eq!(whole.len(), count);
    for (number, (text, marks)) in whole.iter().enumerate() {
        let expected = format!("<14>1 - - - - - - line {number}\nsecond");
        assert_eq!(text, expected.as_bytes());
        assert_eq!(*marks, Marks::CONTROL, "the newline inside is written as #012");
    }
}

#[test]
fn what_cannot_be_started_is_told_with_a_remedy() {
    for (body, said) in [
        ("command = 'no-such-journalctl'", "cannot run no-such-journalctl"),
        ("path = '/no/such/file'", "cannot read /no/such/file"),
        ("position = '/dev/full/x'", "cannot keep its position in /dev/full/x"),
    ] {
        let Err(error) = build(body) else { panic!("{body} was built") };
        assert!(error.what.contains(said) && !error.remedy.is_empty(), "{error}");
    }
}

#[test]
fn what_does_not_go_together_is_told() {
    let long = format!("fields = ['_UID', '{}', 'a b']", "X".repeat(33));
    for (body, mistakes) in
        [("path = '/x'\nfrom = 'all'\ncommand = 'x'", 2), (&long, 2), ("from = 'later'", 1)]
    {
        let section = Section::parse(body, OPTIONS);
        (KIND.plan)(&section);
        assert_eq!(section.diagnostics().lines().len(), mistakes, "{body}");
    }
}

#[test]
fn the_rows_are_what_is_asked_for() {
    crate::config::check_docs(OPTIONS, "", |section| {
        (KIND.plan)(section);
    });
}
