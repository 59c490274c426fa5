//! What stands behind the `?` of a request's target, as headers of its event.

use crate::event::HeaderMap;
use crate::event::headers::Oversized;

/// `a=1&b=two%20words` as headers; of a name that stands twice the first counts, as in Flume.
pub(super) fn headers(query: &str) -> Result<HeaderMap, Oversized> {
    let mut headers = HeaderMap::default();
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        let (name, value) = (decoded(name), decoded(value));
        if headers.get(&name).is_none() {
            headers.set(&name, &value)?;
        }
    }
    Ok(headers)
}

/// `%20` and `+` are blanks; a `%` without two digits stands for itself.
fn decoded(text: &str) -> Vec<u8> {
    let (mut out, bytes) = (Vec::with_capacity(text.len()), text.as_bytes());
    let digit = |at: usize| bytes.get(at).and_then(|byte| char::from(*byte).to_digit(16));
    let mut at = 0;
    while at < bytes.len() {
        let byte = match (bytes[at], digit(at + 1), digit(at + 2)) {
            (b'%', Some(high), Some(low)) => {
                at += 2;
                (high * 16 + low) as u8
            }
            (b'+', ..) => b' ',
            (byte, ..) => byte,
        };
        out.push(byte);
        at += 1;
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_become_headers() {
        let read = |query: &str| -> Vec<String> {
            let lossy = String::from_utf8_lossy;
            let headers = headers(query).unwrap();
            headers
                .iter()
                .map(|(name, value)| format!("{}={}", lossy(name), lossy(value)))
                .collect()
        };
        assert_eq!(read("a=1&b=two%20words+x&a=2&&c"), ["a=1", "b=two words x", "c="]);
        assert_eq!(read("%C3%A9=%zz%4&x=%"), ["é=%zz%4", "x=%"]);
        assert_eq!(read(""), [""; 0]);
        assert!(headers("=1").is_err() && headers(&format!("a={}", "x".repeat(20_000))).is_err());
    }
}
