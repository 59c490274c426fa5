//! Real folders, a clock that the test pushes on, and slips that it answers.

use super::*;
use crate::source::network;
use crate::source::stepped::files::{FileRig, Reads};
use crate::telemetry::Incidents;
use std::io::Write;
use std::path::Path;

#[cfg(test)]
mod avro;

struct Spool;

impl Reads for Spool {
    const TYPE: &'static str = "spooldir";
    const SAVED: &'static str = ".flumespool/flumen_position.json";

    fn section(dir: &Path) -> String {
        format!("spool_dir = '{}'", dir.display())
    }
}

type Rig = FileRig<Spool>;

fn plan(body: &str) -> (Plan, Vec<String>) {
    let section = Section::parse(body, OPTIONS);
    let plan = Plan::read(&section);
    section.finish();
    (plan, section.diagnostics().lines())
}

impl Rig {
    /// Files that are there now are older than those to come.
    fn put(&self, name: &str, text: impl AsRef<[u8]>) {
        let path = self.dir.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, text).unwrap();
        let count = u64::from(std::fs::read_dir(self.dir.path()).unwrap().count() as u32);
        let at = std::time::UNIX_EPOCH + Duration::from_secs(1_000_000 + count);
        std::fs::File::options().append(true).open(&path).unwrap().set_modified(at).unwrap();
    }

    fn step(&mut self) -> bool {
        self.turn(false).more
    }

    /// Time passes, and all that is there is read.
    #[track_caller]
    fn read(&mut self, expected: &[&str]) {
        for _ in 0..3 {
            self.at += 1000;
            while self.step() {}
        }
        assert_eq!(std::mem::take(&mut self.texts), expected);
    }

    #[track_caller]
    fn lie(&self, expected: &[&str]) {
        let entries = std::fs::read_dir(self.dir.path()).unwrap();
        let names = entries.map(|it| it.unwrap().file_name().into_string().unwrap());
        let mut names: Vec<String> = names.filter(|name| name != ".flumespool").collect();
        names.sort();
        assert_eq!(names, expected);
    }
}

#[test]
fn files_are_read_in_order_and_put_away_when_they_are_through() {
    let mut rig = Rig::new("");
    rig.put("a", "one\ntwo");
    rig.put("b", "three\n\n");
    rig.put("c", "");
    rig.put(".hidden", "no\n");
    rig.put("folder/d", "not asked for\n");
    rig.confirms = false;
    rig.read(&["one", "two", "three"]);
    rig.lie(&[".hidden", "a", "b", "c.COMPLETED", "folder"]);
    rig.confirms = true;
    rig.read(&[]);
    rig.lie(&[".hidden", "a.COMPLETED", "b.COMPLETED", "c.COMPLETED", "folder"]);
    rig.put("d", "four\n");
    rig.read(&["four"]);
    rig.lie(&[".hidden", "a.COMPLETED", "b.COMPLETED", "c.COMPLETED", "d.COMPLETED", "folder"]);
}

#[test]
fn a_kill_in_the_middle_of_a_file_goes_on_there() {
    let text: String = (0..100_000).map(|n| format!("line {n} of many\n")).collect();
    let mut rig = Rig::new("");
    rig.put("a", &text);
    for _ in 0..3 {
        rig.at += 1500;
        rig.step();
    }
    // Two pages or so have come through; that is saved with the next turn.
    while rig.texts.is_empty() {
        rig.step();
    }
    rig.at += 1500;
    rig.step();
    let before = std::mem::take(&mut rig.texts);
    rig.kill();
    rig.at += 1000;
    while rig.step() {}
    let again = rig.texts.first().unwrap().clone();
    assert!(again != "line 0 of many", "it began anew");
    let number = |text: &str| text.split(' ').nth(1).unwrap().parse::<usize>().unwrap();
    assert!(number(&again) <= before.len(), "{again} behind {}", before.len());
    assert_eq!(rig.texts.len(), 100_000 - number(&again));
    rig.texts.clear();
    rig.read(&[]);
    rig.lie(&["a.COMPLETED"]);
}

#[test]
fn what_was_lost_is_read_again() {
    let mut rig = Rig::new("");
    rig.put("a", "one\ntwo\n");
    rig.confirms = false;
    rig.read(&["one", "two"]);
    rig.slips.clear();
    rig.confirms = true;
    rig.read(&["one", "two"]);
    rig.lie(&["a.COMPLETED"]);
}

#[test]
fn a_file_that_changes_and_a_name_used_twice_stop_nobody() {
    let mut rig = Rig::new("");
    rig.put("a", "one\n");
    rig.confirms = false;
    rig.read(&["one"]);
    let path = rig.dir.path().join("a");
    std::fs::File::options().append(true).open(&path).unwrap().write_all(b"late\n").unwrap();
    rig.put("b", "other\n");
    rig.confirms = true;
    rig.read(&["other", "late"]);
    rig.lie(&["a.COMPLETED", "b.COMPLETED"]);
    assert!(rig.told().contains("changed while it was read"), "{}", rig.told());
    let count = |rig: &Rig| rig.counters.errors.get();
    assert_eq!(count(&rig), 1);
    for (text, errors) in [("two", 2), ("three", 3)] {
        rig.put("a", format!("{text}\n"));
        rig.read(&[text]);
        assert_eq!(count(&rig), errors);
    }
    rig.lie(&["a.1.COMPLETED", "a.2.COMPLETED", "a.COMPLETED", "b.COMPLETED"]);
    assert!(rig.told().contains("the name of a file that was read before"), "{}", rig.told());
}

#[test]
fn one_that_was_written_over_is_read_anew() {
    let mut rig = Rig::new("");
    rig.put("a", "one\n");
    rig.confirms = false;
    rig.read(&["one"]);
    std::fs::write(rig.dir.path().join("a"), "something else\n").unwrap();
    rig.confirms = true;
    rig.read(&["something else"]);
    rig.lie(&["a.COMPLETED"]);
}

#[test]
fn events_say_which_file_they_are_from() {
    let mut rig = Rig::new("file_header = true\nbasename_header = true\nbasename_header_key = 'n'");
    rig.put("a", "one\n");
    rig.put("b", "two\n");
    rig.read(&["one", "two"]);
    let of = |name: &str| format!("file={}/{name} n={name}", rig.dir.path().display());
    assert_eq!(rig.headers, [of("a"), of("b")]);
}

#[test]
fn what_cannot_be_read_is_told_and_others_have_their_turn() {
    let mut rig = Rig::new("");
    rig.put("a.gz", "no gzip at all, whatever its name\n");
    rig.put("b", "two\n");
    rig.read(&["two"]);
    rig.lie(&["a.gz", "b.COMPLETED"]);
    assert!(rig.told().contains("a.gz"), "{}", rig.told());
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(b"one\nand more\n").unwrap();
    let whole = encoder.finish().unwrap();
    rig.put("c.gz", &whole[..whole.len() - 4]);
    rig.at += 20_000;
    rig.read(&["one", "and more"]);
    std::fs::write(rig.dir.path().join("c.gz"), &whole).unwrap();
    rig.at += 20_000;
    rig.read(&[]);
    rig.lie(&["a.gz", "b.COMPLETED", "c.gz.COMPLETED"]);
}

/// Further in than one call decodes: where it goes on is found over several visits.
#[test]
fn a_long_way_into_a_compressed_file_is_gone_on_from() {
    let gzip = |text: &[u8]| {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(text).unwrap();
        encoder.finish().unwrap()
    };
    let text = [&[b'x'; 1999][..], b"\n"].concat().repeat(6000);
    let (first, second) = (gzip(&text), gzip(b"and the rest\n"));
    let mut rig = Rig::new("");
    rig.put("a.gz", [&first[..], &second[..8]].concat());
    rig.read(&vec!["x".repeat(1999); 6000].iter().map(String::as_str).collect::<Vec<_>>());
    rig.kill();
    rig.put("a.gz", [&first[..], &second].concat());
    rig.read(&["and the rest"]);
    rig.lie(&["a.gz.COMPLETED"]);
}

#[test]
fn policies_and_orders_are_as_asked() {
    let mut rig = Rig::new(
        "delete_policy = 'immediate'\nconsume_order = 'youngest'\n\
         recursive_directory_search = true\nignore_pattern = '.*\\.tmp'\n\
         include_pattern = '[a-c].*'",
    );
    for (name, text) in [("a", "1"), ("b", "2"), ("b.tmp", "3"), ("d", "4")] {
        rig.put(name, text);
    }
    rig.at += 1000;
    while rig.step() {}
    rig.put("deep/er/c", "5");
    assert_eq!(std::mem::take(&mut rig.texts), ["2", "1"], "the younger one first");
    rig.read(&["5"]);
    rig.lie(&["b.tmp", "d", "deep"]);
    let mut tracked = Rig::new("tracking_policy = 'tracker_dir'\nconsume_order = 'random'");
    tracked.put("a", "1");
    tracked.read(&["1"]);
    tracked.kill();
    tracked.put("b", "2");
    tracked.read(&["2"]);
    tracked.lie(&["a", "b"]);
    assert!(tracked.dir.path().join(".flumespool/a.COMPLETED").exists());
    // Another one of that name is read, and an empty note of Flume's is heeded.
    tracked.put("a", "3");
    std::fs::write(tracked.dir.path().join(".flumespool/c.COMPLETED"), "").unwrap();
    tracked.put("c", "4");
    tracked.read(&["3"]);
    tracked.kill();
    tracked.read(&[]);
}

#[test]
fn long_lines_and_blobs_come_in_pieces() {
    let mut rig = Rig::new("max_line_length = 100");
    rig.put("a", [&[b'x'; 250][..], b"\nshort\n"].concat());
    rig.put("b", [b'y'; 150]);
    let (x, y) = (|n| "x".repeat(n), |n| "y".repeat(n));
    rig.read(&[&x(100), &x(100), &x(50), "short", &y(100), &y(50)]);
    let mut blobs = Rig::new("deserializer = 'blob'\nmax_blob_length = 100");
    blobs.put("a", "one\ntwo\n");
    blobs.put("b", [b'y'; 250]);
    blobs.put("c", [b'z'; 100]);
    blobs.read(&["one\ntwo\n", &y(100), &y(100), &y(50), &"z".repeat(100)]);
    blobs.lie(&["a.COMPLETED", "b.COMPLETED", "c.COMPLETED"]);
}

#[test]
fn mistakes_are_told_with_a_remedy() {
    let told = |body: &str| plan(body).1.join("\n");
    assert_eq!(told("spool_dir = '/x'"), "");
    assert!(told("").contains("spool_dir"));
    assert!(told("spool_dir = 'x'").contains("begin at the root"));
    assert!(told("spool_dir = '/x'\nfile_suffix = ''").contains(".COMPLETED"));
    assert!(told("spool_dir = '/x'\ninclude_pattern = '*.log'").contains("no expression"));
    assert!(told("spool_dir = '/x'\ndeserializer = 'json'").contains("avro"));
    assert_eq!(told("spool_dir = '/x'\ndeserializer = 'avro'\nschema_type = 'literal'"), "");
    assert!(told("spool_dir = '/x'\nschema_type = 'literal'").contains("not read"));
    assert!(told("spool_dir = '/x'\nmax_block_length = '1MiB'").contains("not read"));
    assert!(told("spool_dir = '/x'\nfile_header_key = 'f'").contains("file_header = true"));
    assert!(told("spool_dir = '/x'\nbasename_header_key = ''").contains("no name for a header"));
    let both = "spool_dir = '/x'\ndelete_policy = 'immediate'\ntracking_policy = 'tracker_dir'";
    assert!(told(both).contains("needs no note"));
    let context = network::tests::context(vec![Arc::default()], Incidents::new());
    let refused = plan("spool_dir = '/no/such/folder'").0.build(&context);
    let refused = refused.err().expect("it is not there").to_string();
    assert!(refused.contains("/no/such/folder") && refused.contains("name a folder"), "{refused}");
}

#[test]
fn the_rows_are_what_is_asked_for() {
    crate::config::check_docs(OPTIONS, "spool_dir = '/x'", |section| {
        (KIND.plan)(section);
    });
}
