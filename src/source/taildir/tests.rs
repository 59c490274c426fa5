//! Real files, a clock that the test pushes on, and slips that it answers.

use super::*;
use crate::source::stepped::files::{FileRig, Reads};
use std::io::Write;
use std::path::Path;

struct Tail;

impl Reads for Tail {
    const TYPE: &'static str = "taildir";
    const SAVED: &'static str = "positions";

    fn section(dir: &Path) -> String {
        let dir = dir.display();
        format!("filegroups = {{ app = '{dir}/app\\.log.*' }}\nposition_file = '{dir}/positions'")
    }
}

type Rig = FileRig<Tail>;

fn plan(body: &str) -> (Plan, Vec<String>) {
    let section = Section::parse(body, OPTIONS);
    let plan = Plan::read(&section);
    section.finish();
    (plan, section.diagnostics().lines())
}

impl Rig {
    /// Time passes, and all that is there is read.
    fn pass(&mut self, ms: u64) {
        self.at += ms;
        let through = (0..100).any(|_| !self.turn(true).more);
        assert!(through, "there is always more");
    }

    fn append(&self, name: &str, text: &str) {
        let file = std::fs::File::options().create(true).append(true).open(self.path(name));
        file.unwrap().write_all(text.as_bytes()).unwrap();
    }

    fn rename(&self, from: &str, to: &str) {
        std::fs::rename(self.path(from), self.path(to)).unwrap();
    }

    #[track_caller]
    fn read(&mut self, expected: &[&str]) {
        self.pass(1001);
        assert_eq!(std::mem::take(&mut self.texts), expected);
    }

    fn stop(&mut self) {
        let now = self.now();
        let source = self.source.as_mut().unwrap();
        source.stop(now);
        assert!(source.receive(&mut self.page, now).finished);
        self.source = None;
    }

    fn restart(&mut self) {
        self.stop();
        self.start();
    }
}

#[test]
fn lines_come_as_they_are_written_and_a_stop_knows_where_it_was() {
    let mut rig = Rig::new("");
    rig.append("app.log", "one\ntw");
    rig.append("other.log", "not this\n");
    rig.read(&["one"]);
    rig.append("app.log", "o\r\nthree\n");
    rig.append("app.log2", "of another\n");
    rig.read(&["two", "three", "of another"]);
    rig.restart();
    rig.append("app.log", "four\n");
    rig.read(&["four"]);
}

#[test]
fn what_was_under_way_comes_again_after_a_kill_and_nothing_else() {
    let mut rig = Rig::new("write_pos_interval = '1ms'");
    rig.append("app.log", "one\n");
    rig.read(&["one"]);
    rig.confirms = false;
    rig.append("app.log", "two\n");
    rig.read(&["two"]);
    rig.read(&[]);
    rig.kill();
    rig.confirms = true;
    rig.read(&["two"]);
    rig.pass(10);
    rig.kill();
    rig.read(&[]);
}

#[test]
fn what_a_batch_lost_is_read_again() {
    let mut rig = Rig::new("");
    rig.append("app.log", "one\n");
    rig.read(&["one"]);
    rig.confirms = false;
    rig.append("app.log", "two\n");
    rig.read(&["two"]);
    rig.append("app.log", "three\n");
    rig.read(&["three"]);
    // The first is lost; that the second came through does not make up for it.
    drop(rig.slips.remove(0));
    rig.slips.drain(..).for_each(ReceiptSlip::confirm);
    rig.confirms = true;
    rig.pass(10);
    rig.read(&["two", "three"]);
    rig.restart();
    rig.read(&[]);
}

#[test]
fn headers_say_the_group_the_file_and_the_place_in_it() {
    let asked = "headers = { app = { site = 'b', file = 'set over' } }\nfile_header = true\n\
                 byte_offset_header = true";
    let mut rig = Rig::new(asked);
    let dir = rig.dir.path().display().to_string();
    rig.append("app.log", "one\r\n\ntwo\n");
    rig.append("app.log2", "other\n");
    rig.read(&["one", "two", "other"]);
    let expected =
        |place: usize, name: &str| format!("byteoffset={place} site=b file={dir}/{name}");
    let headers = std::mem::take(&mut rig.headers);
    assert_eq!(headers, [expected(0, "app.log"), expected(6, "app.log"), expected(0, "app.log2")]);
    // Under its new name; after a restart the place goes on.
    rig.rename("app.log", "app.log.1");
    rig.append("app.log.1", "three");
    rig.restart();
    rig.append("app.log.1", "\nfour\n");
    rig.read(&["three", "four"]);
    assert_eq!(rig.headers, [expected(10, "app.log.1"), expected(16, "app.log.1")]);
    let mut rig = Rig::new("");
    rig.append("app.log", "one\n");
    rig.read(&["one"]);
    assert_eq!(rig.headers, [""]);
}

#[test]
fn headers_of_no_group_and_without_names_are_told() {
    let with = |more: &str| {
        let files = "filegroups = { app = '/var/log/app\\.log' }\nposition_file = '/tmp/p'\n";
        plan(&format!("{files}{more}")).1.join("\n")
    };
    let told = with("headers = { apq = { site = 'b' } }");
    assert!(told.contains("there is no group `apq`") && told.contains("`app`?"), "{told}");
    let told = with("headers = { app = { '' = 'b' } }");
    assert!(told.contains("is no name for a header"), "{told}");
    let told = with("headers = { app = 'b' }");
    assert!(told.contains("expected a table"), "{told}");
    let told = with(&format!("headers = {{ app = {{ a = '{}' }} }}", "x".repeat(20_000)));
    assert!(told.contains("16 KiB"), "{told}");
    let told = with("file_header_key = 'path'");
    assert!(told.contains("there is no such header without `file_header`"), "{told}");
}

#[test]
fn a_rotation_by_renaming_is_followed_under_the_new_name() {
    let mut rig = Rig::new("");
    rig.append("app.log", "one\n");
    rig.read(&["one"]);
    rig.append("app.log", "two\n");
    rig.rename("app.log", "app.log.1");
    rig.append("app.log.1", "three\n");
    rig.append("app.log", "four\n");
    rig.read(&["two", "three", "four"]);
    rig.append("app.log.1", "late\n");
    rig.read(&["late"]);
    // To a name that nobody asked for, and then away.
    rig.append("app.log", "five\n");
    rig.rename("app.log", "old");
    rig.append("old", "six\n");
    rig.read(&["five", "six"]);
    rig.append("old", "seven\n");
    std::fs::remove_file(rig.path("old")).unwrap();
    rig.read(&["seven"]);
}

#[test]
fn a_rotation_by_copy_and_truncation_is_read_once() {
    let mut rig = Rig::new("");
    rig.append("app.log", "one\ntwo\n");
    rig.read(&["one", "two"]);
    rig.append("app.log", "three\n");
    std::fs::copy(rig.path("app.log"), rig.path("app.log.1")).unwrap();
    std::fs::write(rig.path("app.log"), "").unwrap();
    rig.append("app.log", "four\n");
    // The third line stands in the copy only.
    rig.pass(1001);
    rig.texts.sort();
    assert_eq!(std::mem::take(&mut rig.texts), ["four", "three"]);
    rig.read(&[]);
    // The copy is there for a while before the truncation.
    std::fs::copy(rig.path("app.log"), rig.path("app.log.2")).unwrap();
    rig.read(&[]);
    rig.append("app.log", "five\n");
    rig.append("app.log.2", "five\n");
    rig.read(&["five"]);
    std::fs::write(rig.path("app.log"), "").unwrap();
    rig.read(&[]);
    rig.restart();
    rig.read(&[]);
    // Truncated, and longer than before when it is looked at again.
    std::fs::write(rig.path("app.log"), "six is a longer line\nseven\n").unwrap();
    rig.read(&["six is a longer line", "seven"]);
    std::fs::write(rig.path("app.log"), "eight is an even longer line\nnine is long too\n")
        .unwrap();
    rig.read(&["eight is an even longer line", "nine is long too"]);
}

#[test]
fn a_file_that_stays_like_another_one_is_a_file_of_its_own() {
    let mut rig = Rig::new("");
    rig.append("app.log", "same\n");
    rig.read(&["same"]);
    rig.append("app.log2", "same\n");
    rig.read(&[]);
    rig.append("app.log3", "same\nbut not for long\n");
    rig.read(&[]);
    rig.append("app.log", "and another end\n");
    rig.read(&["and another end", "same", "but not for long"]);
    rig.pass(10_000);
    rig.read(&["same"]);
}

#[test]
fn compressed_files_are_read_and_one_that_was_followed_goes_on_there() {
    let gzip = |text: &str| {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(text.as_bytes()).unwrap();
        encoder.finish().unwrap()
    };
    let mut rig = Rig::new("");
    std::fs::write(rig.path("app.log.7.gz"), gzip("old\nolder")).unwrap();
    let zstd = zstd::stream::encode_all(&b"oldest\n"[..], 1).unwrap();
    std::fs::write(rig.path("app.log.8.zst"), zstd).unwrap();
    rig.append("app.log", "one\n");
    rig.pass(1001);
    rig.pass(1001);
    rig.texts.sort();
    assert_eq!(std::mem::take(&mut rig.texts), ["old", "older", "oldest", "one"]);
    rig.append("app.log", "two\n");
    rig.rename("app.log", "app.log.1");
    rig.read(&["two"]);
    // Compressed while we watch: both stand there for a while.
    std::fs::write(rig.path("app.log.1.gz"), gzip("one\ntwo\n")).unwrap();
    rig.read(&[]);
    std::fs::remove_file(rig.path("app.log.1")).unwrap();
    rig.read(&[]);
    // And while nobody looks, with lines that nobody has read.
    rig.append("app.log", "three\n");
    rig.read(&["three"]);
    rig.stop();
    std::fs::remove_file(rig.path("app.log")).unwrap();
    std::fs::write(rig.path("app.log.2.gz"), gzip("three\nfour\n")).unwrap();
    rig.append("app.log", "five\n");
    rig.start();
    rig.pass(1001);
    rig.texts.sort();
    assert_eq!(std::mem::take(&mut rig.texts), ["five", "four"]);
    rig.pass(20_000);
    rig.read(&[]);
}

#[test]
fn a_rotation_while_nobody_looks_loses_nothing() {
    let mut rig = Rig::new("");
    rig.append("app.log", "one\n");
    rig.read(&["one"]);
    rig.stop();
    rig.append("app.log", "two\n");
    rig.rename("app.log", "renamed");
    rig.append("app.log", "three\n");
    rig.start();
    rig.pass(1001);
    rig.texts.sort();
    assert_eq!(std::mem::take(&mut rig.texts), ["three", "two"]);
    // Deleted, and the inode with another file: what it holds is new.
    rig.stop();
    std::fs::write(rig.path("app.log"), "a new file in the place of the old one\n").unwrap();
    rig.start();
    rig.read(&["a new file in the place of the old one"]);
}

#[test]
fn links_and_second_names_are_one_file() {
    let mut rig = Rig::new("");
    rig.append("real", "one\n");
    std::os::unix::fs::symlink(rig.path("real"), rig.path("app.log")).unwrap();
    std::os::unix::fs::symlink(rig.path("real"), rig.path("app.log.link")).unwrap();
    rig.read(&["one"]);
    rig.append("real", "two\n");
    rig.read(&["two"]);
    // The link leads elsewhere: the file of before is read to its end.
    rig.append("real", "three\n");
    rig.append("next", "four\n");
    std::fs::remove_file(rig.path("app.log.link")).unwrap();
    std::fs::remove_file(rig.path("app.log")).unwrap();
    std::os::unix::fs::symlink(rig.path("next"), rig.path("app.log")).unwrap();
    rig.read(&["three", "four"]);
}

#[test]
fn an_unfinished_line_is_an_event_when_its_file_is_silent_for_long() {
    let mut rig = Rig::new("idle_timeout = '5s'");
    rig.append("app.log", "one\nhalf");
    rig.read(&["one"]);
    rig.pass(3000);
    rig.read(&[]);
    rig.pass(5000);
    rig.read(&["half"]);
    rig.append("app.log", " and half\nnext\n");
    rig.read(&[" and half", "next"]);
    rig.restart();
    rig.read(&[]);
}

#[test]
fn flumes_positions_are_gone_on_from() {
    let mut rig = Rig::new("");
    rig.stop();
    rig.append("app.log", "one\ntwo\nthree\n");
    rig.append("app.log2", "other\n");
    let inodes = ["app.log", "app.log2"]
        .map(|name| std::os::unix::fs::MetadataExt::ino(&rig.path(name).metadata().unwrap()));
    let path = rig.path("app.log");
    let row = |inode, pos, file: &Path| {
        format!(r#"{{"inode":{inode},"pos":{pos},"file":"{}"}}"#, file.display())
    };
    // The second entry's inode is right, and its name another's: as Flume we take it for new.
    let rows = [row(inodes[0], 8, &path), row(inodes[1], 3, Path::new("/elsewhere"))];
    std::fs::write(rig.path("positions"), format!("[{}]", rows.join(","))).unwrap();
    rig.start();
    rig.read(&["three", "other"]);
    rig.stop();
    let written = std::fs::read_to_string(rig.path("positions")).unwrap();
    let document: serde_json::Value = serde_json::from_str(&written).unwrap();
    let ours = serde_json::json!({"inode": inodes[0], "pos": 14, "file": path});
    assert!(document.as_array().unwrap().contains(&ours), "{written}");
}

#[test]
fn bytes_of_any_value_are_read_once() {
    let mut rig = Rig::new("");
    rig.append("app.log", "one\0two\0\0\0three\n");
    rig.read(&["one", "two", "three"]);
    // As a writer leaves it that does not know of the truncation: a hole in front.
    rig.append("app.log", "\0\0\0\0four\n\x01\u{7f}\n");
    rig.read(&["four", "\u{1}\u{7f}"]);
    rig.restart();
    rig.append("app.log", "\0");
    rig.read(&[]);
}

#[test]
fn what_stands_there_at_the_first_start_may_be_skipped() {
    let mut rig = Rig::new("skip_to_end = true");
    rig.stop();
    rig.append("app.log", "old\n");
    std::fs::remove_file(rig.path("positions")).unwrap();
    rig.start();
    rig.read(&[]);
    rig.append("app.log", "new\n");
    rig.append("app.log2", "of a new file\n");
    rig.read(&["new", "of a new file"]);
}

#[test]
fn what_cannot_be_read_is_told_and_hinders_nobody() {
    let mut rig = Rig::new("");
    std::fs::write(rig.path("app.log.gz"), "this is no gzip file, whatever its name\n").unwrap();
    rig.append("app.log", "one\n");
    rig.read(&["one"]);
    let told = format!("{:?}", rig.incidents.list());
    assert!(told.contains("app.log.gz"), "{told}");
    std::fs::remove_file(rig.path("app.log.gz")).unwrap();
    rig.append("app.log", "two\n");
    rig.read(&["two"]);
}

#[test]
fn many_lines_of_many_files_fill_page_after_page() {
    let mut rig = Rig::new("");
    let text = |file: u32| -> String {
        (0..20_000).map(|n| format!("file {file} has line {n} of many\n")).collect()
    };
    for file in 0..5 {
        rig.append(&format!("app.log.{file}"), &text(file));
    }
    rig.pass(1001);
    for file in 0..5 {
        let front = format!("file {file} ");
        let of_it = rig.texts.iter().filter(|text| text.starts_with(&front));
        let lines: String = of_it.map(|text| format!("{text}\n")).collect();
        assert!(lines == text(file), "{file}");
    }
    assert_eq!(rig.texts.len(), 100_000);
}

#[test]
fn mistakes_are_told_with_a_remedy() {
    let told =
        |groups: &str| plan(&format!("position_file = '/p'\nfilegroups = {groups}")).1.join("\n");
    assert_eq!(told("{ a = '/var/log/.*' }"), "");
    assert!(told("{ a = 'var/log/x' }").contains("no path from the root"));
    assert!(told("{ a = '/var/log/' }").contains("no path from the root"));
    assert!(told("{ a = '/var/log/*.log' }").contains("no expression for file names"));
    assert!(told("{}").contains("nothing to follow"));
    assert!(plan("").1.join("\n").contains("filegroups"));
}

#[test]
fn the_rows_are_what_is_asked_for() {
    let body = "position_file = '/p'\nfilegroups = { a = '/x/y' }";
    crate::config::check_docs(OPTIONS, body, |section| {
        (KIND.plan)(section);
    });
}
