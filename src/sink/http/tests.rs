//! What can be told without a server; those that answer stand in `tests/integration`.

use super::options::{OPTIONS, Options};
use crate::config::Section;

#[test]
fn rows_hold() {
    crate::config::check_docs(OPTIONS, "endpoint = 'http://127.0.0.1/'", |section| {
        Options::plan(section);
    });
}

#[test]
fn nobody_is_shown_a_secret() {
    let row = |secret: &str| {
        let header = format!("headers = {{ Authorization = 'Bearer {secret}' }}");
        let section = Section::parse(&format!("endpoint = 'http://h/'\n{header}"), OPTIONS);
        Options::plan(&section);
        section.settings().into_iter().find(|it| it.key == "headers").expect("a row")
    };
    let (one, other) = (row("topsecret"), row("another"));
    let shown = format!("{one:?}");
    assert!(shown.contains("Authorization") && !shown.contains("topsecret"), "{shown}");
    assert!(one.value == other.value && one.secret != other.secret, "a change is a change");
}

#[test]
fn mistakes_are_told() {
    for (body, what) in [
        ("endpoint = 'logs.example.net'", "does not begin with http:// or https://"),
        ("endpoint = 'ftp://h/'", "does not begin with http:// or https://"),
        ("endpoint = 'http://a b/'", "is no address of the web"),
        ("endpoint = 'http://me:secret@h/'", "would be logged"),
        ("endpoint = 'http://h:0/'", "no port from 1 to 65535"),
        ("format = 'xml'", "`format`"),
        ("format = 'single'\nevents_max = 5", "one event a POST"),
        ("events_max = 0", "below 1"),
        ("body_max = '1'", "below 1KiB"),
        ("compression = 'zstd'", "gzip"),
        ("content_type = \"text\\nplain\"", "is no value of a header"),
        ("headers = { 'a b' = 'c' }", "is no name of a header"),
        ("headers = { Host = 'x' }", "it is the endpoint's"),
        ("headers = { accept = 'x' }", "write `accept`"),
        ("headers = { x = \"a\\nb\" }", "cannot have this value"),
        ("answers = { '999' = 'retry' }", "no answer that ends a POST"),
        ("attempts = 0", "below 1"),
        ("request_timeout = '0s'", "below 10ms"),
        ("tls = { ca = 'x.pem' }", "the endpoint does not speak TLS"),
        ("endpoint = 'https://h/'\ntls = { key = 'x.key' }", "belong together"),
        ("dead_letters = 'dead/'", "is no name of a file"),
    ] {
        let endpoint = if body.starts_with("endpoint") { "" } else { "endpoint = 'http://h/'\n" };
        let section = Section::parse(&format!("{endpoint}{body}"), OPTIONS);
        Options::plan(&section);
        let told = section.diagnostics().lines().join("\n");
        assert!(told.contains(what), "{body}: {told}");
    }
}
