//! Any names may come in a message and in a certificate, and become names of files. As a test,
//! hostile ones and mutations of them are replayed, the same ones each time; as a target of
//! libFuzzer, it chooses: `RUSTC_BOOTSTRAP=1 cargo fuzz run paths --fuzz-dir tests/fuzz`.

#![cfg_attr(fuzzing, no_main)]

use flumen::event::{EventHead, Marks, Names, Origin, Page};
use flumen::sink::rolling_file::{Clock, Template};
use flumen::source::parsing::{Parser, shape};
use flumen::source::zones::Zones;
use flumen::storage::Container;
use flumen::syslog::parse::Fields;
use flumen::time::Wall;
use std::path::{Component, Path, PathBuf};

#[cfg(fuzzing)]
libfuzzer_sys::fuzz_target!(|bytes: &[u8]| check(bytes));

/// Each field that may stand in a path, alone in a name and beside others.
const TEMPLATES: [&str; 6] = [
    "/logs/%{host}.log",
    "/logs/%{host}",
    "/logs/%{host}/%Y-%m-%d/%{app}",
    "/logs/%{facility}.%{severity}/%{peer}/%{proc_id}-%{msg_id}.log",
    "/logs/%{sd:a@1:b}/x%{sd:c:d}y/%{tls_name}",
    "/logs/%{host}%{app}%{proc_id}%{msg_id}/%Y/all.log",
];

/// What stands in front of codec suffix, number and state in a name of 255 bytes.
const NAME_BYTES_MAX: usize = 230;

/// Panics when a promise is broken. What follows the last LF is the name in a certificate.
fn check(bytes: &[u8]) {
    for text in TEMPLATES {
        for clock in [Clock::Received, Clock::Message] {
            let template = Template::parse(text, jiff::tz::TimeZone::UTC, clock).expect(text);
            keep(text, &template, &path_of(&template, bytes));
        }
    }
}

fn path_of(template: &Template, bytes: &[u8]) -> PathBuf {
    let end = bytes.iter().rposition(|byte| *byte == b'\n').unwrap_or(bytes.len());
    let name = String::from_utf8_lossy(bytes.get(end + 1..).unwrap_or_default());
    let mut parser = Parser::new(Fields::ALL, &Zones::utc()).expect("all fields are wanted");
    let mut page = Page::new(1 << 20);
    page.keep_fields(shape(Fields::ALL));
    let names = Names { certificate: &name, host: "" };
    let origin = page.push_named_origin(Origin::LOCAL, names).expect("room");
    let head = EventHead { at: Wall(1_000_000_000), origin, pri: None, marks: Marks::NONE };
    // Longer than an event can be.
    let message = &bytes[..end.min(256 << 10)];
    page.append_event(message, head).expect("room");
    parser.read(&mut page);
    template.path_of(&page.events().next().expect("it was appended"))
}

/// It lies below the template's root, as deep as the template says, under names that every file
/// system takes and recovery knows again.
fn keep(text: &str, template: &Template, path: &Path) {
    let shown = format!("{text}: {path:?}");
    let utf8 = path.to_str().unwrap_or_else(|| panic!("{shown} is not UTF-8"));
    assert!(utf8.starts_with("/logs/") && !utf8.ends_with('/'), "{shown}");
    assert_eq!(utf8.matches('/').count(), text.matches('/').count(), "{shown}");
    for component in path.components().skip(1) {
        let Component::Normal(name) = component else { panic!("{shown} leads elsewhere") };
        let name = name.to_str().expect("a part of what is UTF-8");
        assert!((1..=NAME_BYTES_MAX).contains(&name.len()), "{shown}");
        assert!(!name.starts_with(['.', '-']), "{shown}");
        assert!(!name.chars().any(|it| it.is_control() || it.is_whitespace()), "{shown}");
        assert!(!name.ends_with(".open") && !name.ends_with(".bad"), "{shown}");
    }
    assert_eq!(path.components().count(), 1 + utf8.matches('/').count(), "{shown}");
    for suffix in [".zst", ".zst.open", ".7.zst", ".7.zst.bad"] {
        let file = PathBuf::from(format!("{utf8}{suffix}"));
        assert!(template.owns(&file, Container::Zstd), "{shown}{suffix} is nobody's");
    }
}

#[cfg(not(fuzzing))]
mod replay {
    use super::check;
    use crate::replay::{corpus, mutations};

    const PIECES: [&[u8]; 18] = [
        b"/",
        b"..",
        b"../",
        b".",
        b"-",
        b"\\",
        b"\0",
        b"\n",
        b"\xff",
        b"\xc3\xbc",
        b"\xe2\x80\xa8",
        b".open",
        b".bad",
        b".zst",
        b"~",
        b"%{host}",
        b"[a@1 b=\"../x\"]",
        b" ",
    ];

    fn names() -> Vec<Vec<u8>> {
        corpus("tests/fuzz/names", 10)
    }

    #[test]
    fn hostile_names_keep_every_promise() {
        names().iter().for_each(|name| check(name));
    }

    #[test]
    fn mutated_names_keep_every_promise() {
        mutations(&names(), &PIECES, 0xA076_1D64_78BD_642F, 4000, check);
    }
}
