//! One POST and its answer.
//!
//! What this client does not do on its own: follow redirects, take a proxy from the environment,
//! or wait for ever.

use std::time::Duration;

use jiff::fmt::rfc2822;
use ureq::Agent;
use ureq::http::{HeaderMap, HeaderName, HeaderValue, Response, Uri, header};
use ureq::tls::TlsConfig;

use crate::time::Wall;

/// Of an answer's text so much is looked at, and so much told.
const ANSWER_BYTES_MAX: u64 = 64 << 10;
const TOLD_CHARS_MAX: usize = 200;

#[derive(Clone)]
pub(super) struct Request {
    pub(super) endpoint: Uri,
    pub(super) headers: Vec<(HeaderName, HeaderValue)>,
    pub(super) connect_timeout: Duration,
    pub(super) request_timeout: Duration,
}

pub(super) struct Client {
    agent: Agent,
    request: Request,
}

pub(super) struct Answer {
    pub(super) status: u16,
    /// `answered 400 Bad Request: no such field`.
    pub(super) told: String,
    /// How long it asks to be left alone.
    pub(super) patience: Option<Duration>,
}

impl Client {
    pub(super) fn new(request: Request, tls: Option<TlsConfig>) -> Self {
        let Request { connect_timeout, request_timeout, .. } = request;
        let builder = Agent::config_builder()
            .http_status_as_error(false)
            .max_redirects(0)
            .max_redirects_will_error(false)
            .proxy(None)
            .user_agent(concat!("flumen/", env!("CARGO_PKG_VERSION")))
            .accept_encoding("identity")
            .max_idle_connections_per_host(1)
            .timeout_connect(Some(connect_timeout))
            // From the first byte that is sent to the last that is read.
            .timeout_global(Some(connect_timeout + request_timeout))
            .timeout_recv_response(Some(request_timeout));
        let config = match tls {
            Some(tls) => builder.tls_config(tls).build(),
            None => builder.build(),
        };
        Self { agent: config.new_agent(), request }
    }

    /// The answer, whatever it is; an error: there was none.
    pub(super) fn post(&self, body: &[u8], now: Wall) -> Result<Answer, String> {
        let endpoint = &self.request.endpoint;
        let mut request = self.agent.post(endpoint);
        for (name, value) in &self.request.headers {
            request = request.header(name, value);
        }
        let mut response = request.send(body).map_err(|error| match error {
            // The system's words need no other in front.
            ureq::Error::Io(error) => format!("{endpoint}: {error}"),
            error => format!("{endpoint}: {error}"),
        })?;
        let status = response.status();
        let text = response.body_mut().with_config().limit(ANSWER_BYTES_MAX).read_to_vec();
        let told = told(&response, &text.unwrap_or_default());
        let patience = patience(response.headers(), now);
        Ok(Answer { status: status.as_u16(), told: format!("{endpoint} {told}"), patience })
    }
}

fn told<T>(response: &Response<T>, text: &[u8]) -> String {
    let status = response.status();
    let mut told = format!("answered {status}");
    if status.is_redirection()
        && let Some(place) = response.headers().get(header::LOCATION)
    {
        let place = String::from_utf8_lossy(place.as_bytes());
        told.push_str(&format!(", which leads to {place}: redirects are not followed"));
        return told;
    }
    let text = String::from_utf8_lossy(text);
    let words: String = text.split_whitespace().collect::<Vec<_>>().join(" ");
    if !status.is_success() && !words.is_empty() {
        told.push_str(": ");
        told.extend(words.chars().take(TOLD_CHARS_MAX));
    }
    told
}

/// `Retry-After`: seconds, or a date (RFC 9110, 10.2.3).
fn patience(headers: &HeaderMap, now: Wall) -> Option<Duration> {
    let value = headers.get(header::RETRY_AFTER)?.to_str().ok()?.trim();
    if let Ok(seconds) = value.parse() {
        return Some(Duration::from_secs(seconds));
    }
    let date = rfc2822::DateTimeParser::new().parse_timestamp(value).ok()?;
    let nanos = i64::try_from(date.as_nanosecond()).ok()?.saturating_sub(now.0);
    Some(Duration::from_nanos(u64::try_from(nanos).unwrap_or(0)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn retry_after_is_seconds_or_a_date() {
        let at = |value: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(header::RETRY_AFTER, value.parse().expect("a value"));
            // 21 Oct 2015 07:28:00 UTC.
            patience(&headers, Wall(1_445_412_480_000_000_000))
        };
        assert_eq!(at("120"), Some(Duration::from_secs(120)));
        assert_eq!(at("Wed, 21 Oct 2015 07:28:30 GMT"), Some(Duration::from_secs(30)));
        assert_eq!(at("Wed, 21 Oct 2015 07:00:00 GMT"), Some(Duration::ZERO));
        assert_eq!(at("soon"), None);
        assert_eq!(patience(&HeaderMap::new(), Wall(0)), None);
    }

    #[test]
    fn an_answer_is_told_in_a_line() {
        let answer = |status: u16, place: Option<&str>| {
            let mut response = Response::builder().status(status);
            if let Some(place) = place {
                response = response.header(header::LOCATION, place);
            }
            response.body(()).expect("an answer")
        };
        let long = "no\n such  field ".repeat(100);
        let text = told(&answer(400, None), long.as_bytes());
        assert!(text.starts_with("answered 400 Bad Request: no such field no such"), "{text}");
        assert_eq!(text.chars().count(), "answered 400 Bad Request: ".len() + TOLD_CHARS_MAX);
        assert_eq!(told(&answer(500, None), b""), "answered 500 Internal Server Error");
        let leads = "answered 302 Found, which leads to /login: redirects are not followed";
        assert_eq!(told(&answer(302, Some("/login")), b"<html>"), leads);
    }
}
