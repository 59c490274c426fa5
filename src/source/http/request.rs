//! What a request's head asks for, and why it is refused.

use std::time::Duration;

use ::http::{HeaderMap as Fields, Method, Request, Version, header};

use super::bodies::Shape;
use super::query;
use super::{Refused, Rules};
use crate::event::HeaderMap;
use crate::wire::http::Refusal;

pub(super) const CONTINUE: &[u8] = b"HTTP/1.1 100 Continue\r\n\r\n";
pub(super) const ALLOWED: &str = "POST, PUT";
pub(super) const NO_MEMORY: Refusal =
    Refusal { status: 503, reason: "there is no memory for more requests (`bodies_max`)" };

/// A request that may go on.
#[derive(Debug)]
pub(super) struct Asked {
    pub(super) gzip: bool,
    /// It waits to be told that it may send its body.
    pub(super) expects: bool,
    /// What its target says of a blob.
    pub(super) headers: HeaderMap,
}

impl Asked {
    pub(super) fn read(
        request: &Request<()>,
        rules: &Rules,
        limited: Option<Duration>,
    ) -> Result<Self, Refused> {
        if ![Method::POST, Method::PUT].contains(request.method()) {
            return Err(Refused::new(405, usage(rules.shape)));
        }
        let path = request.uri().path();
        if rules.path.as_deref().is_some_and(|own| own != path) {
            return Err(Refused::new(404, "events are taken at another path (`path`)"));
        }
        if let Some(wait) = limited {
            let refused = Refused::new(429, "more events than `rate_limit` allows");
            return Err(refused.again(wait.as_secs() + u64::from(wait.subsec_nanos() > 0)));
        }
        let expects = expects(request)?;
        let gzip = gzip(request.headers())?;
        match rules.shape {
            Shape::Json => charset(request.headers())?,
            Shape::Lines => no_form(request.headers())?,
            Shape::Blob => {}
        }
        let headers = match rules.shape {
            Shape::Blob => parameters(request.uri().query().unwrap_or(""), &rules.mandatory)?,
            Shape::Json | Shape::Lines => HeaderMap::NONE,
        };
        Ok(Self { gzip, expects, headers })
    }
}

/// For whoever looks at the port with a browser.
fn usage(shape: Shape) -> &'static str {
    match shape {
        Shape::Json => {
            "events come by POST or PUT: \
             curl --data-binary '[{\"headers\":{},\"body\":\"text\"}]' URL"
        }
        Shape::Lines => "events come by POST or PUT, one a line: curl --data-binary @FILE URL",
        Shape::Blob => "events come by POST or PUT, one in each: curl --data-binary @FILE URL",
    }
}

fn expects(request: &Request<()>) -> Result<bool, Refused> {
    let mut all = request.headers().get_all(header::EXPECT).iter();
    match all.next() {
        // RFC 9110 10.1.1: who speaks 1.0 cannot mean it.
        None => Ok(false),
        Some(_) if request.version() == Version::HTTP_10 => Ok(false),
        Some(expect) if expect.as_bytes().eq_ignore_ascii_case(b"100-continue") => Ok(true),
        Some(_) => Err(Refused::new(417, "the only Expect that is met is 100-continue")),
    }
}

fn gzip(fields: &Fields) -> Result<bool, Refused> {
    let mut all = fields.get_all(header::CONTENT_ENCODING).iter();
    let first = all.next().map(|value| value.as_bytes().to_ascii_lowercase());
    match (first.as_deref(), all.next()) {
        (None | Some(b"identity" | b""), None) => Ok(false),
        (Some(b"gzip" | b"x-gzip"), None) => Ok(true),
        _ => Err(Refused::new(415, "the only Content-Encoding taken is gzip")),
    }
}

/// JSON is UTF-8 (RFC 8259 8.1), whatever else Java knows.
fn charset(fields: &Fields) -> Result<(), Refused> {
    let value = fields.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let mut parameters = value.unwrap_or("").split(';').skip(1);
    let charset = parameters.find_map(|parameter| {
        let (name, charset) = parameter.split_once('=')?;
        let charset = charset.trim().trim_matches('"');
        name.trim().eq_ignore_ascii_case("charset").then(|| charset.to_ascii_lowercase())
    });
    match charset.as_deref() {
        None | Some("utf-8" | "utf8" | "us-ascii") => Ok(()),
        Some(_) => Err(Refused::new(415, "JSON is taken in UTF-8")),
    }
}

/// Its boundaries and fields would be events, as of `curl --form`.
fn no_form(fields: &Fields) -> Result<(), Refused> {
    let value = fields.get(header::CONTENT_TYPE).map_or(&b""[..], |value| value.as_bytes());
    let begin = value.get(..b"multipart/".len()).unwrap_or_default();
    if begin.eq_ignore_ascii_case(b"multipart/") {
        let why = "a form is no lines: send the file itself, curl --data-binary @FILE URL";
        return Err(Refused::new(415, why));
    }
    Ok(())
}

fn parameters(query: &str, mandatory: &[String]) -> Result<HeaderMap, Refused> {
    let headers = query::headers(query)
        .map_err(|_| Refused::new(400, "parameters have names, and 16 KiB together at most"))?;
    match mandatory.iter().find(|name| headers.get(name.as_bytes()).is_none()) {
        Some(name) => Err(Refused::new(400, format!("the parameter `{name}` is mandatory"))),
        None => Ok(headers),
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::rules;
    use super::*;

    fn ask(more: &str, target: &str, fields: &[(&str, &str)]) -> Result<Asked, u16> {
        let mut request = Request::builder().method("POST").uri(target);
        for (name, value) in fields {
            request = request.header(*name, *value);
        }
        let request = request.body(()).unwrap();
        Asked::read(&request, &rules(more), None).map_err(|refused| refused.status)
    }

    #[test]
    fn a_head_asks_for_what_is_there() {
        let asked = ask("", "/any?x=1", &[("Expect", "100-Continue")]).unwrap();
        assert!(asked.expects && !asked.gzip && asked.headers.is_empty());
        for (name, value, expected) in [
            ("Content-Encoding", "gzip", Ok(true)),
            ("Content-Encoding", "X-GZIP", Ok(true)),
            ("Content-Encoding", "identity", Ok(false)),
            ("Content-Encoding", "br", Err(415)),
            ("Content-Encoding", "gzip, gzip", Err(415)),
            ("Expect", "a-pony", Err(417)),
            ("Content-Type", "application/json; charset=UTF-8", Ok(false)),
            ("Content-Type", "text/json;charset=\"utf-8\"", Ok(false)),
            ("Content-Type", "application/json; charset=UTF-16", Err(415)),
        ] {
            let found = ask("", "/", &[(name, value)]).map(|asked| asked.gzip);
            assert_eq!(found, expected, "{name}: {value}");
        }
        let lines =
            ask("handler = 'lines'", "/", &[("Content-Type", "text/plain; charset=utf-16")]);
        assert!(lines.is_ok(), "bytes are kept");
        let form = [("Content-Type", "Multipart/Form-Data; boundary=x")];
        assert_eq!(ask("handler = 'lines'", "/", &form).err(), Some(415));
        assert!(ask("handler = 'blob'", "/", &form).is_ok(), "a blob is anything");
    }

    #[test]
    fn paths_and_parameters_are_looked_at() {
        assert_eq!(ask("path = '/in'", "/in?x", &[]).err(), None);
        assert_eq!(ask("path = '/in'", "/in/", &[]).err(), Some(404));
        let blob = "handler = 'blob'\nmandatory_parameters = ['name', 'day']";
        let asked = ask(blob, "/?day=1&name=a%2Fb", &[]).unwrap();
        assert_eq!(asked.headers.get(b"name"), Some(&b"a/b"[..]));
        assert_eq!(ask(blob, "/?day=1", &[]).err(), Some(400));
    }

    #[test]
    fn who_sends_too_much_is_told_when_to_come_again() {
        let request = Request::builder().method("PUT").uri("/").body(()).unwrap();
        for (wait, seconds) in [(Duration::from_millis(1), 1), (Duration::from_secs(2), 2)] {
            let refused = Asked::read(&request, &rules(""), Some(wait)).unwrap_err();
            assert_eq!((refused.status, refused.retry_after), (429, Some(seconds)));
        }
        let request = Request::builder().method("GET").uri("/").body(()).unwrap();
        assert_eq!(Asked::read(&request, &rules(""), None).unwrap_err().status, 405);
    }
}
