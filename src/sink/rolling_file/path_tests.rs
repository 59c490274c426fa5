//! Paths, and who may write what into them.

use proptest::prelude::*;

use super::*;
use crate::event::{
    EventHead, Form, Found, HeaderMap, HeaderNames, Marks, Origin, Page, Reading, Shape, Span,
};

fn template(text: &str) -> Template {
    Template::parse(text, TimeZone::UTC, Clock::Received).expect(text)
}

/// The path of an event with this host and app, from this peer.
fn path(template: &Template, at: Wall, peer: Option<&str>, host: &[u8], app: &[u8]) -> PathBuf {
    let mut page = Page::new(crate::limits::BATCH_BYTES_MIN);
    page.keep_fields(Shape::Whole);
    let peer = peer.map(|peer| std::net::SocketAddr::new(peer.parse().expect("address"), 514));
    let origin = page.push_origin(Origin::new(peer, 0)).expect("room");
    let head = EventHead { at, origin, pri: None, marks: Marks::NONE };
    page.append_event(&[host, app].concat(), head).expect("room");
    let span = |start: usize, length: usize| Span { start: start as u16, length: length as u8 };
    let found = Found {
        host: span(0, host.len()),
        app: span(host.len(), app.len()),
        ..Found::only(Form::Rfc5424)
    };
    page.read_fresh(|_| Reading { found, pri: Some(165), unparsed: false });
    let event = page.events().next().expect("one");
    template.path_of(&event)
}

#[test]
fn every_escape_of_flume() {
    // Saturday, 2003-10-11 22:14:15 UTC
    let at = Wall(1_065_910_455_003_000_000);
    for (text, path) in [
        ("%Y-%m-%d/%H:%M:%S", "2003-10-11/22:14:15"),
        ("%y %j %e %n %k %l %I %p", "03 284 11 10 22 10 10 PM"),
        ("%a %A %b %B", "Sat Saturday Oct October"),
        ("%D", "10/11/03"),
        ("%c", "Sat Oct 11 22:14:15 2003"),
        ("%s %z 100%%", "1065910455 +0000 100%"),
    ] {
        assert_eq!(template(text).render(at, b"").to_str(), Some(path), "{text}");
    }
}

#[test]
fn the_zone_and_the_fields() {
    let zone = TimeZone::get("Europe/Berlin").expect("bundled");
    let at = Wall(1_065_910_455_000_000_000);
    for (text, peer, host, rendered) in [
        ("/l/%{peer}/%H", Some("::ffff:10.0.0.1"), "", "/l/10.0.0.1/00"),
        ("/l/%{peer}/%H", Some("fe80::1"), "", "/l/fe80::1/00"),
        ("/l/%{peer}/%H", None, "", "/l/unknown/00"),
        ("/l/%{host}/%{app}.log", Some("10.0.0.1"), "web", "/l/web/su.log"),
        ("/l/%{host}/%{app}.log", Some("10.0.0.1"), "", "/l/10.0.0.1/su.log"),
        ("/l/%{host}/%{app}.log", None, "", "/l/unknown/su.log"),
        ("%{facility}.%{severity}", None, "", "local4.notice"),
        ("%{sd:a@1:b}", None, "web", "unknown"),
    ] {
        let template = Template::parse(text, zone.clone(), Clock::Received).expect(text);
        let found = path(&template, at, peer, host.as_bytes(), b"su");
        assert_eq!(found, Path::new(rendered), "{text}");
        assert!(template.keyed());
    }
    let peer = template("/l/%{peer}/%H");
    assert_eq!(peer.slice(), Some(Duration::from_secs(3600)));
    assert_eq!((peer.root(), peer.wanted()), (PathBuf::from("/l"), Fields::NONE));
    assert!(!peer.names_fields() && template("/l/%{app}").names_fields());
    assert_eq!(template("%{host}").wanted(), Fields::HOSTNAME);
    assert_eq!(template("%{severity}").wanted(), Fields::PRI);
}

#[test]
fn by_the_time_of_the_message() {
    let by = |text: &str, by| Template::parse(text, TimeZone::UTC, by).expect(text);
    let message = by("/l/%Y", Clock::Message);
    assert!(message.keyed() && message.wanted() == Fields::TIME && !message.follows_the_clock());
    assert!(!by("/l/all.log", Clock::Message).keyed(), "no time in the path");
    assert!(!by("/l/%Y", Clock::Received).keyed());
}

#[test]
fn what_is_wrong_is_said() {
    let many = "%{app}".repeat(8);
    for (text, what) in [
        ("", "an empty path"),
        ("/var/log/", "a directory, not a file"),
        ("/l/%{h/s}", "`%{h/s}` is no field of a path"),
        ("/l/%{message}", "`%{message}` is no field of a path"),
        ("/l/%{sd:x}", "`%{sd:x}` is no field of a path"),
        ("/l/%q", "`%q` is no path escape"),
        ("/l/%", "`%` is no path escape"),
        ("/l/%{peer", "`%{` without `}`"),
        ("/l/%[x]", "`%[x]` is no path escape"),
        ("/l/%t", "`%t`, a new file every millisecond"),
        ("/l/.x", "a hidden file or directory"),
        (&many, "too much in one file or directory name"),
    ] {
        let error = Template::parse(text, TimeZone::UTC, Clock::Received).expect_err(text);
        assert_eq!(error.what, what);
    }
    let error = Template::parse("%{message}", TimeZone::UTC, Clock::Received).expect_err("a typo");
    assert!(error.remedy.starts_with("there is `host`"), "{}", error.remedy);
    let free = template("/l/%{datacenter}/%{host}");
    assert_eq!(free.headers(), HeaderNames::of(["datacenter", "host"]));
}

#[test]
fn owns_its_own_files_only() {
    let own = template("/l/%{host}/%Y-%m.log");
    for (file, owned) in [
        ("/l/10.0.0.1/2003-10.log.zst", true),
        ("/l/web/2003-10.log.3.zst.open", true),
        ("/l/10.0.0.1/2003-10.log.gz", false),
        ("/l/10.0.0.1/x/2003-10.log.zst", false),
        ("/l/10.0.0.1/2003-10.txt.zst", false),
        ("/l//2003-10.log.zst", false),
    ] {
        assert_eq!(own.owns(Path::new(file), Container::Zstd), owned, "{file}");
    }
    let plain = template("/l/all.log");
    assert!(plain.owns(Path::new("/l/all.log.7"), Container::Plain));
    assert!(plain.owns(Path::new("/l/all.log"), Container::Plain));
    assert!(!plain.owns(Path::new("/l/all.log.old"), Container::Plain));
}

proptest! {
    /// Whoever sends whatever: the file lies in its tree, as deep as the path says, has a name
    /// that a file system takes, and is known as ours after a crash.
    #[test]
    fn nobody_writes_outside_of_the_tree(
        host in prop::collection::vec(any::<u8>(), 0..256),
        app in prop::collection::vec(prop::sample::select(&b"./.\\-\0a\n.."[..]), 0..200),
        depth in 0..3_usize,
    ) {
        let text = ["/l/%{host}/%{app}.log", "/l/%{host}%{app}", "/l/%Y/x-%{app}-%{host}"][depth];
        let template = template(text);
        let path = path(&template, Wall(0), None, &host, &app);
        let names: Vec<_> = path.components().collect();
        prop_assert_eq!(names.len(), 1 + text.matches('/').count(), "{:?}", path);
        prop_assert!(path.starts_with("/l"));
        for name in names.iter().skip(1) {
            prop_assert!(matches!(name, std::path::Component::Normal(_)), "{:?}", path);
            prop_assert!(name.as_os_str().len() <= NAME_BYTES_MAX);
            prop_assert!(!name.as_os_str().as_bytes().starts_with(b"."));
        }
        for state in ["", ".open"] {
            let file = format!("{}.12.zst{state}", path.display());
            prop_assert!(template.owns(Path::new(&file), Container::Zstd), "{}", file);
        }
    }
}

#[test]
fn files_that_are_named_when_they_are_opened_are_owned() {
    let template = template("/l/a%[started]-%[number].log");
    assert_eq!(template.render(Wall(0), b""), Path::new("/l/a\u{1}-\u{3}.log"));
    assert!(template.slice().is_none() && !template.keyed());
    for (file, owned) in [
        ("/l/a1065910455003-12.log", true),
        ("/l/a1065910455003-12.log.open", true),
        ("/l/a1065910455003-12.txt", false),
        ("/l/a1/2-3.log", false),
        ("/l/b1-2.log", false),
    ] {
        assert_eq!(template.owns(Path::new(file), Container::Plain), owned, "{file}");
    }
}

#[test]
fn headers_stand_in_paths_and_their_time_counts() {
    let mut page = Page::new(crate::limits::BATCH_BYTES_MIN);
    let origin = page.push_origin(Origin::LOCAL).expect("room");
    let head = EventHead { at: Wall(0), origin, pri: None, marks: Marks::NONE };
    let mut headers = HeaderMap::default();
    for (name, value) in [("site", "b/../c"), ("host", "web"), ("timestamp", "86400000")] {
        headers.set(name.as_bytes(), value.as_bytes()).expect("short");
    }
    page.append_headed(b"one", &headers, head).expect("room");
    page.append_event(b"two", head).expect("room");
    let text = "/l/%{site}/%{host}-%d.log";
    let paths = |by| {
        let template = Template::parse(text, TimeZone::UTC, by).expect("a path");
        let path = |event: Event<'_>| {
            let mut key = Vec::new();
            template.key_of(&event, &mut key);
            template.render(template.time_of(&event), &key).display().to_string()
        };
        page.events().map(path).collect::<Vec<_>>()
    };
    assert_eq!(paths(Clock::Message), ["/l/b_.._c/web-02.log", "/l/unknown/unknown-01.log"]);
    assert_eq!(paths(Clock::Received)[0], "/l/b_.._c/web-01.log");
}
