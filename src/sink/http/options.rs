//! The keys of an `http` sink, and what they mean.

use std::path::{Path, PathBuf};
use std::time::Duration;

use ureq::http::{HeaderName, HeaderValue, Uri, header};
use ureq::tls::TlsConfig;

use super::body::{Recipe, Shape};
use super::client::Request;
use super::meaning::{ANSWERS, Meanings};
use crate::config::{OptionDoc, Section};
use crate::limits;
use crate::sink::dead_letters::{self, DEAD_LETTERS};
use crate::sink::{BuildError, SinkContext, encoding};
use crate::storage::read_file;
use crate::syslog::parse::Fields;
use crate::wire::tls::FILE_BYTES_MAX;
use crate::wire::tls::requests::of_requests;

const fn row(name: &'static str, default: &'static str, doc: &'static str) -> OptionDoc {
    OptionDoc { name, default: Some(default), doc }
}

pub(super) const OPTIONS: &[OptionDoc] = &[
    OptionDoc { name: "endpoint", default: None, doc: "where to: https://host/path" },
    row(
        "format",
        "lines",
        "lines: a line an event; flume: the array that Flume's http source takes; single: one \
         event a POST",
    ),
    encoding::ENCODER,
    encoding::CONTROL,
    row("events_max", "1000", "events in a POST"),
    row("body_max", "1MiB", "bytes of a POST before compression; a longer event goes alone"),
    row("compression", "none", "none, or gzip for endpoints that take it"),
    row("content_type", "", "the header Content-Type; by default what format and encoder make it"),
    row("accept", "*/*", "the header Accept"),
    row("headers", "", "more headers, { \"Authorization\" = \"Bearer ${TOKEN}\" }"),
    ANSWERS,
    row(
        "attempts",
        "3",
        "how often an event that is refused is tried, alone, before it is set aside",
    ),
    DEAD_LETTERS,
    row("tls", "", "whom an https:// endpoint is believed by, and our own certificate"),
    row("connect_timeout", "5s", "how long connecting may take"),
    row("request_timeout", "5s", "how long an answer may take"),
    row(
        "backoff_max",
        "30s",
        "the longest time between two tries, if the endpoint asks for no more",
    ),
    row("threads", "1", "worker threads, each with its own connection; order holds in each"),
];

const TLS: &[OptionDoc] = &[
    row(
        "ca",
        "",
        "PEM file: the authorities that vouch for the endpoint; this machine's by default",
    ),
    row("certificate", "", "PEM file: our certificate, for endpoints that ask"),
    row("key", "", "PEM file: its private key"),
];

/// Headers that another key is for, or that the client sets.
const TAKEN: [(HeaderName, &str); 6] = [
    (header::CONTENT_TYPE, "write `content_type`"),
    (header::ACCEPT, "write `accept`"),
    (header::CONTENT_ENCODING, "write `compression`"),
    (header::CONTENT_LENGTH, "leave it out: it is the body's length"),
    (header::TRANSFER_ENCODING, "leave it out: the body's length is known"),
    (header::HOST, "leave it out: it is the endpoint's"),
];

#[derive(Clone)]
pub(super) struct Options {
    endpoint: Option<Uri>,
    headers: Vec<(HeaderName, HeaderValue)>,
    pub(super) recipe: Recipe,
    pub(super) events_max: u32,
    pub(super) meanings: Meanings,
    pub(super) attempts: u32,
    pub(super) dead_letters: Option<PathBuf>,
    tls: Option<TlsFiles>,
    connect_timeout: Duration,
    request_timeout: Duration,
    pub(super) backoff_max: Duration,
    pub(super) threads: usize,
}

#[derive(Clone)]
struct TlsFiles {
    ca: Option<String>,
    identity: Option<(String, String)>,
}

/// What the HTTP client keeps for a connection, and TLS for its own.
const CONNECTION_BYTES: usize = 512 << 10;

impl Options {
    pub(super) fn plan(section: &Section) -> Self {
        let endpoint = endpoint(section);
        let shapes = [("lines", Shape::Lines), ("flume", Shape::Flume), ("single", Shape::Single)];
        let shape = section.choice("format", &shapes);
        let encoder = encoding::plan(section);
        let most = section.integer("events_max", 1..=1_000_000);
        let most = if shape == Shape::Single { 1 } else { most };
        if shape == Shape::Single && section.explicit("events_max") {
            let remedy = "leave it out, or write `format = \"lines\"`";
            section.warn("events_max", "`single` sends one event a POST", remedy);
        }
        let bytes_max = section.size_in("body_max", 1 << 10..=64 << 20);
        let gzip = section.choice("compression", &[("none", false), ("gzip", true)]);
        let headers = headers(section, shape.content_type(encoder.encoding()), gzip);
        let secure = endpoint.as_ref().is_some_and(|it| it.scheme_str() == Some("https"));
        let longest = Duration::from_secs(3600);
        let times = Duration::from_millis(10)..=longest;
        let attempts = section.integer("attempts", 1..=1000);
        let threads = section.integer("threads", 1..=limits::THREADS_MAX as i64);
        let bytes_max = usize::try_from(bytes_max).unwrap_or(1 << 20);
        Self {
            headers,
            recipe: Recipe { shape, encoder, bytes_max, gzip },
            events_max: u32::try_from(most).unwrap_or(1),
            meanings: Meanings::plan(section),
            attempts: u32::try_from(attempts).unwrap_or(1),
            dead_letters: dead_letters::plan(section),
            tls: tls(section, secure, endpoint.is_some()),
            connect_timeout: section.duration_in("connect_timeout", times.clone()),
            request_timeout: section.duration_in("request_timeout", times.clone()),
            backoff_max: section.duration_in("backoff_max", times),
            threads: usize::try_from(threads).unwrap_or(1),
            endpoint,
        }
    }

    pub(super) fn request(&self) -> Request {
        Request {
            endpoint: self.endpoint.clone().expect("a plan with errors is not built"),
            headers: self.headers.clone(),
            connect_timeout: self.connect_timeout,
            request_timeout: self.request_timeout,
        }
    }

    /// Whether events go with their headers.
    pub(super) fn sends_headers(&self) -> bool {
        self.recipe.shape == Shape::Flume
    }

    pub(super) fn fields(&self) -> Fields {
        let own = self.recipe.encoder.wanted();
        if self.sends_headers() {
            own.union(Fields::PRI).union(Fields::TIME).union(Fields::HOSTNAME)
        } else {
            own
        }
    }

    /// What one thread holds of a POST: its body, packed too, and the longest event beside it.
    pub(super) fn post_bytes(&self, event_bytes_max: usize) -> usize {
        // JSON writes a control byte as six.
        let event = 6 * self.recipe.encoder.bound(event_bytes_max);
        let body = self.recipe.bytes_max + event;
        let packed = if self.recipe.gzip { body + body / 8 } else { 0 };
        body + packed + CONNECTION_BYTES
    }

    pub(super) fn secure(&self, context: &SinkContext) -> Result<Option<TlsConfig>, BuildError> {
        let Some(files) = &self.tls else { return Ok(None) };
        let fail = |what: String, remedy: String| BuildError {
            what: format!("sinks.{} cannot speak TLS: {what}", context.name),
            remedy,
        };
        let read = |path: &String| {
            let found = read_file(context.disk.as_ref(), Path::new(path), FILE_BYTES_MAX);
            found.map_err(|error| fail(format!("{path}: {error}"), "name a PEM file".to_owned()))
        };
        let ca = files.ca.as_ref().map(read).transpose()?;
        let own = files.identity.as_ref();
        let own = own.map(|(chain, key)| Ok((read(chain)?, read(key)?))).transpose()?;
        let own = own.as_ref().map(|(chain, key)| (&chain[..], &key[..]));
        let made = of_requests(ca.as_deref(), own);
        made.map(Some).map_err(|error| fail(error.what, error.remedy))
    }
}

fn endpoint(section: &Section) -> Option<Uri> {
    let text = section.optional_text("endpoint")?;
    let example = "write \"https://logs.example.net/events\"";
    let fail = |what: String, remedy: &str| {
        section.fail("endpoint", what, remedy);
        None
    };
    let Ok(uri) = text.parse::<Uri>() else {
        return fail(format!("\"{text}\" is no address of the web"), example);
    };
    let (Some("http" | "https"), Some(authority)) = (uri.scheme_str(), uri.authority()) else {
        return fail(format!("\"{text}\" does not begin with http:// or https://"), example);
    };
    if authority.as_str().contains('@') {
        let remedy =
            "write `headers = { \"Authorization\" = \"Basic …\" }`, base64 of user:password";
        return fail("a name and password in the endpoint would be logged".to_owned(), remedy);
    }
    if authority.host().is_empty() || uri.port_u16() == Some(0) {
        return fail(format!("\"{text}\" has no host, or no port from 1 to 65535"), example);
    }
    Some(uri)
}

fn headers(section: &Section, made: &str, gzip: bool) -> Vec<(HeaderName, HeaderValue)> {
    let mut headers = Vec::new();
    let own = |key: &'static str| {
        let text = section.optional_text(key).filter(|text| !text.is_empty())?;
        let value = HeaderValue::from_str(&text);
        let what = format!("`{key}`: \"{}\" is no value of a header", text.escape_debug());
        value.map_err(|_| section.fail(key, what, "write printable characters only")).ok()
    };
    let made = HeaderValue::from_str(made).ok();
    headers.extend(own("content_type").or(made).map(|value| (header::CONTENT_TYPE, value)));
    headers.extend(own("accept").map(|value| (header::ACCEPT, value)));
    if gzip {
        headers.push((header::CONTENT_ENCODING, HeaderValue::from_static("gzip")));
    }
    for (name, value) in section.table_of_secrets("headers") {
        let Ok(known) = name.parse::<HeaderName>() else {
            let what = format!("\"{}\" is no name of a header", name.escape_debug());
            section.fail_at(&name.span, what, "letters, digits and hyphens");
            continue;
        };
        if let Some((_, remedy)) = TAKEN.iter().find(|(taken, _)| *taken == known) {
            section.fail_at(&name.span, format!("the header {name} is not set here"), *remedy);
            continue;
        }
        match HeaderValue::from_str(&value) {
            Ok(value) => headers.push((known, value)),
            Err(_) => {
                let what = format!("the header {name} cannot have this value");
                section.fail_at(&value.span, what, "write printable characters only");
            }
        }
    }
    headers
}

/// Files are read when it is built.
fn tls(section: &Section, secure: bool, known: bool) -> Option<TlsFiles> {
    let tls = section.subsection("tls", TLS);
    let ca = tls.optional_text("ca");
    let identity = (tls.optional_text("certificate"), tls.optional_text("key"));
    if identity.0.is_some() != identity.1.is_some() {
        let missing = if identity.0.is_some() { "key" } else { "certificate" };
        let what = "a certificate and its key belong together";
        tls.fail_here(what, format!("add `{missing} = \"….pem\"`"));
    }
    if known && !secure && section.explicit("tls") {
        let remedy = "write \"https://…\" in `endpoint`, or leave it out";
        section.warn("tls", "`tls` has no effect: the endpoint does not speak TLS", remedy);
    }
    secure.then(|| TlsFiles { ca, identity: identity.0.zip(identity.1) })
}
