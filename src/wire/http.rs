//! HTTP/1.1, the server's side, sans-I/O: bytes become a request head, an answer becomes bytes.
//!
//! ureq-proto parses; this file is the guard in front of it (RFC 9112), because its server is lax:
//! it takes a POST without a length for chunked, accepts Content-Length beside Transfer-Encoding
//! (request smuggling), any Transfer-Encoding that contains "chunked", a 1.1 request without Host,
//! and a body on GET. Here a request has exactly one of: no body, one Content-Length,
//! `Transfer-Encoding: chunked`; everything else is refused with a status that says why.
//!
//! Promises: bounded work and memory for a head of at most [`HTTP_HEAD_BYTES_MAX`].
//! Refuses: upgrades.

use std::io::Write;

use http::{HeaderMap, Method, Request, Version, header};
use ureq_proto::server::Reply;

use crate::limits::HTTP_HEAD_BYTES_MAX;

/// What the bytes so far amount to.
#[derive(Debug)]
pub enum Head {
    /// Read on.
    Partial,
    /// A request, and how many bytes its head took. A body follows it when `body` says so.
    Whole { request: Box<Request<()>>, body: Body, used: usize },
    /// Answer this and close: what follows in the stream cannot be trusted.
    Refused(Refusal),
}

/// How much body follows a head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Body {
    None,
    Length(u64),
    Chunked,
}

/// Why a request is not one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refusal {
    pub status: u16,
    pub reason: &'static str,
}

const fn refusal(status: u16, reason: &'static str) -> Refusal {
    Refusal { status, reason }
}

/// Reads one request head from the front of `input`.
pub fn read_head(input: &[u8]) -> Head {
    let too_long = refusal(431, "the request head is longer than 16 KiB or has over 128 fields");
    let mut reply = Reply::new().expect("a new reply allocates nothing that can fail");
    match reply.try_request(&input[..input.len().min(HTTP_HEAD_BYTES_MAX)]) {
        Ok((used, Some(request))) => match guard(&request) {
            Ok(body) => Head::Whole { request: Box::new(request), body, used },
            Err(refusal) => Head::Refused(refusal),
        },
        Ok((_, None)) if input.len() >= HTTP_HEAD_BYTES_MAX => Head::Refused(too_long),
        Ok((_, None)) => Head::Partial,
        Err(ureq_proto::Error::HttpParseTooManyHeaders) => Head::Refused(too_long),
        Err(ureq_proto::Error::TooManyContentLengthHeaders) => {
            Head::Refused(refusal(400, "more than one Content-Length"))
        }
        Err(ureq_proto::Error::BadContentLengthHeader) => {
            Head::Refused(refusal(400, "Content-Length is not a number"))
        }
        Err(_) => Head::Refused(refusal(400, "this is not HTTP/1.1")),
    }
}

/// What ureq-proto lets through and RFC 9112 does not (sections 3.2, 6.1 and 6.3).
fn guard(request: &Request<()>) -> Result<Body, Refusal> {
    let headers = request.headers();
    match headers.get_all(header::HOST).iter().count() {
        0 if request.version() == Version::HTTP_11 => return Err(refusal(400, "no Host")),
        0 | 1 => {}
        _ => return Err(refusal(400, "more than one Host")),
    }
    let body = body_of(request)?;
    let bodiless = [Method::GET, Method::HEAD, Method::TRACE, Method::CONNECT];
    if bodiless.contains(request.method()) && !matches!(body, Body::None | Body::Length(0)) {
        return Err(refusal(400, "this method takes no body"));
    }
    Ok(body)
}

fn body_of(request: &Request<()>) -> Result<Body, Refusal> {
    let headers = request.headers();
    let mut encodings = headers.get_all(header::TRANSFER_ENCODING).iter();
    let mut lengths = headers.get_all(header::CONTENT_LENGTH).iter();
    match (encodings.next(), lengths.next()) {
        (Some(_), Some(_)) => {
            Err(refusal(400, "Content-Length and Transfer-Encoding exclude each other"))
        }
        (Some(_), None) if request.version() != Version::HTTP_11 => {
            Err(refusal(400, "Transfer-Encoding needs HTTP/1.1"))
        }
        (Some(encoding), None) if encodings.next().is_none() => {
            if encoding.as_bytes().eq_ignore_ascii_case(b"chunked") {
                Ok(Body::Chunked)
            } else {
                Err(refusal(501, "the only Transfer-Encoding taken is chunked"))
            }
        }
        (Some(_), None) => Err(refusal(400, "more than one Transfer-Encoding")),
        (None, Some(length)) if lengths.next().is_none() => {
            // Digits only: parse() alone would take a sign.
            let digits =
                length.to_str().ok().filter(|text| text.bytes().all(|b| b.is_ascii_digit()));
            let length = digits.and_then(|text| text.parse().ok());
            length.map(Body::Length).ok_or(refusal(400, "Content-Length is not a number"))
        }
        (None, Some(_)) => Err(refusal(400, "more than one Content-Length")),
        (None, None) if [Method::POST, Method::PUT, Method::PATCH].contains(request.method()) => {
            Err(refusal(411, "a request with a body needs Content-Length or chunked"))
        }
        (None, None) => Ok(Body::None),
    }
}

/// Whether the connection may carry another request after this one.
pub fn keeps_open(request: &Request<()>) -> bool {
    let says = |word: &str| has_token(request.headers(), word);
    match request.version() {
        Version::HTTP_11 => !says("close"),
        _ => says("keep-alive") && !says("close"),
    }
}

fn has_token(headers: &HeaderMap, word: &str) -> bool {
    let values = headers.get_all(header::CONNECTION).iter();
    let mut tokens =
        values.filter_map(|value| value.to_str().ok()).flat_map(|text| text.split(','));
    tokens.any(|token| token.trim().eq_ignore_ascii_case(word))
}

/// A complete answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    pub status: u16,
    pub content_type: &'static str,
    pub body: Vec<u8>,
    /// For 405: what would have been right.
    pub allow: Option<&'static str>,
    /// When to try again, in seconds.
    pub retry_after: Option<u64>,
}

impl Answer {
    pub fn new(status: u16, content_type: &'static str, body: impl Into<Vec<u8>>) -> Self {
        Self { status, content_type, body: body.into(), allow: None, retry_after: None }
    }

    pub fn text(status: u16, body: impl Into<Vec<u8>>) -> Self {
        Self::new(status, "text/plain; charset=utf-8", body)
    }
}

impl From<Refusal> for Answer {
    fn from(refusal: Refusal) -> Self {
        Self::text(refusal.status, format!("{}\n", refusal.reason))
    }
}

/// How an answer is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Manner {
    /// The request was HEAD: say how long the body is, but do not send it.
    pub head_only: bool,
    /// More requests may follow on this connection.
    pub keep_open: bool,
}

/// Appends the answer's bytes to `out`.
pub fn write_answer(answer: &Answer, manner: Manner, out: &mut Vec<u8>) {
    let status = answer.status;
    let reason = http::StatusCode::from_u16(status).ok().and_then(|code| code.canonical_reason());
    let connection = if manner.keep_open { "keep-alive" } else { "close" };
    write!(
        out,
        "HTTP/1.1 {status} {}\r\nContent-Type: {}\r\nContent-Length: {}\r\n\
         Connection: {connection}\r\nCache-Control: no-store\r\n\
         X-Content-Type-Options: nosniff\r\n",
        reason.unwrap_or(""),
        answer.content_type,
        answer.body.len(),
    )
    .expect("a Vec takes everything");
    if let Some(allow) = answer.allow {
        write!(out, "Allow: {allow}\r\n").expect("a Vec takes everything");
    }
    if let Some(seconds) = answer.retry_after {
        write!(out, "Retry-After: {seconds}\r\n").expect("a Vec takes everything");
    }
    out.extend_from_slice(b"\r\n");
    if !manner.head_only {
        out.extend_from_slice(&answer.body);
    }
}

/// The weight, 0 to 1000, that an Accept header gives to `media` (`type/subtype`), by the most
/// specific range that covers it; 0 when none does (RFC 9110, section 12.5.1).
pub fn accept_weight(headers: &HeaderMap, media: &str) -> u32 {
    let values = headers.get_all(header::ACCEPT).iter().filter_map(|value| value.to_str().ok());
    let kind = media.split('/').next().unwrap_or(media);
    let ranges = values.flat_map(|text| text.split(',')).filter_map(|range| {
        let mut parts = range.split(';').map(str::trim);
        let specific = match parts.next()? {
            name if name.eq_ignore_ascii_case(media) => 2,
            "*/*" => 0,
            name => match name.split_once('/') {
                Some((left, "*")) if left.eq_ignore_ascii_case(kind) => 1,
                _ => return None,
            },
        };
        let weight = parts.find_map(|part| part.strip_prefix(['q', 'Q'])?.strip_prefix('='));
        Some((specific, weight.map_or(1000, thousandths)))
    });
    // Of equally specific ranges (versions of one type) the heaviest counts.
    ranges.max().map_or(0, |(_, weight)| weight)
}

/// `0.75` → 750; nonsense → 0.
fn thousandths(text: &str) -> u32 {
    let value = text.trim().parse::<f64>().unwrap_or(0.0);
    // The clamp keeps the cast exact; NaN becomes 0.
    (value.clamp(0.0, 1.0) * 1000.0) as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(input: &str) -> u16 {
        match read_head(input.as_bytes()) {
            Head::Refused(refusal) => refusal.status,
            other => panic!("{input:?} gave {other:?}"),
        }
    }

    fn whole(input: &str) -> (Request<()>, Body, usize) {
        match read_head(input.as_bytes()) {
            Head::Whole { request, body, used } => (*request, body, used),
            other => panic!("{input:?} gave {other:?}"),
        }
    }

    #[test]
    fn a_head_is_partial_until_its_last_byte() {
        let input = "GET /metrics HTTP/1.1\r\nHost: a\r\n\r\n";
        for end in 0..input.len() {
            assert!(matches!(read_head(&input.as_bytes()[..end]), Head::Partial), "{end}");
        }
        let (request, body, used) = whole(&format!("{input}GET /next"));
        assert_eq!((request.uri().path(), body, used), ("/metrics", Body::None, input.len()));
    }

    #[test]
    fn the_guard_refuses_what_could_be_read_two_ways() {
        let post = "POST / HTTP/1.1\r\nHost: a\r\n";
        for (headers, status) in [
            ("", 411),
            ("Content-Length: 3\r\nTransfer-Encoding: chunked\r\n", 400),
            ("Content-Length: 3\r\nContent-Length: 4\r\n", 400),
            ("Content-Length: +3\r\n", 400),
            ("Content-Length: 3, 3\r\n", 400),
            ("Content-Length: 99999999999999999999\r\n", 400),
            ("Transfer-Encoding: xchunked\r\n", 501),
            ("Transfer-Encoding: gzip, chunked\r\n", 501),
            ("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n", 400),
            ("Host: b\r\nContent-Length: 3\r\n", 400),
        ] {
            assert_eq!(refused(&format!("{post}{headers}\r\n")), status, "{headers:?}");
        }
        assert_eq!(refused("GET / HTTP/1.1\r\n\r\n"), 400, "no Host");
        assert_eq!(refused("GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\n"), 400);
        assert_eq!(refused("POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n"), 400);
    }

    #[test]
    fn bodies_are_announced_in_one_way() {
        let post = "POST / HTTP/1.1\r\nHost: a\r\n";
        assert_eq!(whole(&format!("{post}Content-Length: 17\r\n\r\n")).1, Body::Length(17));
        assert_eq!(whole(&format!("{post}Transfer-Encoding: Chunked\r\n\r\n")).1, Body::Chunked);
        let get = "GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n";
        assert_eq!(whole(get).1, Body::Length(0));
        assert_eq!(whole("GET / HTTP/1.0\r\n\r\n").1, Body::None);
    }

    #[test]
    fn garbage_and_long_heads_are_refused() {
        assert_eq!(refused("\u{16}\u{3}\u{1}\u{2}\0\u{1}\0\r\n\r\n"), 400, "a TLS client");
        assert_eq!(refused("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"), 400);
        assert_eq!(refused("GET /a b c HTTP/1.1\r\nHost: a\r\n\r\n"), 400);
        let long = format!("GET / HTTP/1.1\r\nHost: a\r\nX: {}", "x".repeat(HTTP_HEAD_BYTES_MAX));
        assert_eq!(refused(&long), 431);
        assert_eq!(refused(&format!("{long}\r\n\r\n")), 431, "whole, but too long");
        let many = "A: b\r\n".repeat(129);
        assert_eq!(refused(&format!("GET / HTTP/1.1\r\nHost: a\r\n{many}\r\n")), 431);
    }

    #[test]
    fn connections_close_as_the_version_says() {
        let keeps = |text: &str| keeps_open(&whole(text).0);
        assert!(keeps("GET / HTTP/1.1\r\nHost: a\r\n\r\n"));
        assert!(!keeps("GET / HTTP/1.1\r\nHost: a\r\nConnection: foo, Close\r\n\r\n"));
        assert!(!keeps("GET / HTTP/1.0\r\n\r\n"));
        assert!(keeps("GET / HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n"));
    }

    #[test]
    fn an_answer_to_head_has_the_length_but_no_body() {
        let answer = Answer { allow: Some("GET"), ..Answer::text(405, "no\n") };
        let mut out = Vec::new();
        write_answer(&answer, Manner { head_only: true, keep_open: false }, &mut out);
        let text = String::from_utf8(out).expect("text");
        assert!(text.starts_with("HTTP/1.1 405 Method Not Allowed\r\n"), "{text}");
        assert!(text.contains("Content-Length: 3\r\n") && text.contains("Connection: close\r\n"));
        assert!(text.ends_with("Allow: GET\r\n\r\n"), "{text}");
    }

    #[test]
    fn accept_is_weighed() {
        let weight = |accept: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(header::ACCEPT, accept.parse().expect("valid"));
            let open = accept_weight(&headers, "application/openmetrics-text");
            (open, accept_weight(&headers, "text/plain"))
        };
        let prometheus = "application/openmetrics-text;version=1.0.0;q=0.6,\
             application/openmetrics-text;version=0.0.1;q=0.75,\
             text/plain;version=0.0.4;q=0.5,*/*;q=0.1";
        assert_eq!(weight(prometheus), (750, 500));
        assert_eq!(weight("*/*"), (1000, 1000));
        assert_eq!(weight("text/*;q=0.3"), (0, 300));
        assert_eq!(weight("*/*, application/openmetrics-text;q=0"), (0, 1000));
        assert_eq!(weight("application/openmetrics-text;q=x"), (0, 0));
    }
}
