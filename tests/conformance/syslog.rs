//! What syslog messages say: every line of `syslog/*.tsv` is a message and the exact object that
//! `flumen parse` must print for it, with the section, the document or the bug it stands for.
//!
//! Four columns, apart by tabs: the citation; the options (`auto`, `rfc3164` or `rfc5424`, then
//! `now=` and `zone=`); the message, with `\t`, `\\` and `\xHH` for what a line cannot hold; the
//! object. Without `now` a message is received at 2026-06-15T12:00:00Z, without `zone` in UTC.

use std::path::{Path, PathBuf};

use flumen::cli::parse::json::write_object;
use flumen::syslog::parse::{Arrival, Expect, Fields, Zone, parse};
use flumen::time::Wall;

/// Fewer would mean that files are not seen.
const CASES_MIN: usize = 900;

pub(crate) struct Case {
    place: String,
    options: String,
    pub(crate) message: Vec<u8>,
    wanted: String,
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/conformance/syslog")
}

pub(crate) fn cases() -> Vec<Case> {
    let entries = std::fs::read_dir(folder()).expect("the folder is there");
    let mut files: Vec<PathBuf> = entries.map(|entry| entry.expect("readable").path()).collect();
    files.sort();
    files.iter().flat_map(|file| read(file)).collect()
}

fn read(file: &Path) -> Vec<Case> {
    let name = file.file_name().expect("a file").to_string_lossy().into_owned();
    let text = std::fs::read_to_string(file).expect("UTF-8");
    let lines = text.lines().enumerate().filter(|(_, line)| !line.starts_with('#'));
    let case = |(index, line): (usize, &str)| {
        let place = format!("{name}:{}", index + 1);
        let columns: Vec<&str> = line.split('\t').collect();
        let [citation, options, message, wanted] = columns[..] else {
            panic!("{place}: {} columns", columns.len());
        };
        assert!(citation.len() >= 4, "{place}: cites nothing");
        let message = unescape(message).unwrap_or_else(|| panic!("{place}: a wrong escape"));
        let (options, wanted) = (options.to_owned(), wanted.to_owned());
        Case { place: format!("{place} ({citation})"), options, message, wanted }
    };
    lines.map(case).collect()
}

fn unescape(text: &str) -> Option<Vec<u8>> {
    let mut bytes = Vec::new();
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        match (byte, byte == b'\\') {
            (byte, false) => bytes.push(byte),
            _ => match rest.next()? {
                b't' => bytes.push(b'\t'),
                b'\\' => bytes.push(b'\\'),
                b'x' => {
                    let digits = [rest.next()?, rest.next()?];
                    let digits = std::str::from_utf8(&digits).ok()?;
                    bytes.push(u8::from_str_radix(digits, 16).ok()?);
                }
                _ => return None,
            },
        }
    }
    Some(bytes)
}

fn found(case: &Case) -> String {
    let mut options = case.options.split(' ');
    let expect = match options.next() {
        Some("auto") => Expect::Auto,
        Some("rfc3164") => Expect::Rfc3164,
        Some("rfc5424") => Expect::Rfc5424,
        other => panic!("{}: no format: {other:?}", case.place),
    };
    let (mut now, mut zone) = ("2026-06-15T12:00:00Z", "UTC");
    for option in options {
        match option.split_once('=') {
            Some(("now", value)) => now = value,
            Some(("zone", value)) => zone = value,
            _ => panic!("{}: no option: {option}", case.place),
        }
    }
    let now: jiff::Timestamp = now.parse().expect("a time");
    let zone = Zone::named(zone).expect("a zone");
    let mut arrival = Arrival::new(Wall(now.as_second() * 1_000_000_000), zone);
    let mut out = Vec::new();
    let message = parse(&case.message, expect, Fields::ALL);
    write_object(&message, &case.message, &mut arrival, &mut out).expect("memory takes it");
    String::from_utf8(out).expect("JSON is UTF-8").trim_end().to_owned()
}

#[test]
fn every_message_says_what_it_should() {
    let cases = cases();
    assert!(cases.len() >= CASES_MIN, "{} cases found", cases.len());
    let wrong: Vec<String> = cases
        .iter()
        .map(|case| (case, found(case)))
        .filter(|(case, found)| *found != case.wanted)
        .map(|(case, found)| format!("{}\nwanted {}\nfound  {found}", case.place, case.wanted))
        .collect();
    let count = cases.len();
    assert!(wrong.is_empty(), "{} of {count} differ\n\n{}", wrong.len(), wrong.join("\n\n"));
}

/// What somebody wrote twice was meant to be something else.
#[test]
fn no_case_comes_twice() {
    let cases = cases();
    let mut seen = std::collections::HashMap::new();
    for case in &cases {
        let twin = seen.insert((&case.message, &case.options), &case.place);
        assert!(twin.is_none(), "{} and {}", twin.expect("it is some"), case.place);
    }
}
