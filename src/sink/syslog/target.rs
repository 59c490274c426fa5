//! Where to send: `tcp://host:port`, and the same with `udp`, `tls`, `relp` and `relps`.
//!
//! An address is used as it is; a name is looked up before each connection, by a helper, so that
//! a peer that moves is found again.

use std::fmt;
use std::net::SocketAddr;

use crate::config::{Section, Spanned};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Transport {
    Tcp,
    Udp,
    Tls,
    Relp,
    /// RELP over TLS.
    Relps,
}

const TRANSPORTS: &[(&str, Transport)] = &[
    ("tcp", Transport::Tcp),
    ("udp", Transport::Udp),
    ("tls", Transport::Tls),
    ("relp", Transport::Relp),
    ("relps", Transport::Relps),
];

/// Schemes that are planned: refused by name, so that nobody looks for a typing error.
const LATER: &[&str] = &["dtls", "unix", "unixgram"];

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Target {
    pub(super) transport: Transport,
    pub(super) place: Place,
    /// As it was given.
    pub(super) text: String,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Place {
    Address(SocketAddr),
    /// `host:port`.
    Name(String),
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl Target {
    pub(super) fn is_datagram(&self) -> bool {
        self.transport == Transport::Udp
    }

    pub(super) fn is_relp(&self) -> bool {
        matches!(self.transport, Transport::Relp | Transport::Relps)
    }

    pub(super) fn is_secure(&self) -> bool {
        matches!(self.transport, Transport::Tls | Transport::Relps)
    }

    /// The host as a certificate names it.
    pub(super) fn host(&self) -> String {
        match &self.place {
            Place::Address(address) => address.ip().to_string(),
            Place::Name(name) => {
                name.rsplit_once(':').map_or(name.as_str(), |(host, _)| host).to_owned()
            }
        }
    }
}

/// Reads `targets`; what is wrong is told at its place.
pub(super) fn plan(section: &Section) -> Vec<Target> {
    let mut targets: Vec<Target> = Vec::new();
    for text in section.texts("targets") {
        let Some(target) = read(section, &text) else { continue };
        if targets.contains(&target) {
            section.fail_at(&text.span, format!("{target} stands here twice"), "leave one out");
        } else {
            targets.push(target);
        }
    }
    if targets.is_empty() && section.explicit("targets") && !section.diagnostics().has_errors() {
        let example = "write `targets = [\"tcp://192.0.2.1:514\"]`";
        section.fail("targets", "there is nowhere to send to", example);
    }
    targets
}

fn read(section: &Section, text: &Spanned<String>) -> Option<Target> {
    let example = "write \"tcp://192.0.2.1:514\"";
    let fail = |what: String, remedy: String| {
        section.fail_at(&text.span, what, remedy);
        None
    };
    let known = || {
        let schemes = TRANSPORTS.iter().map(|(name, _)| format!("{name}://"));
        schemes.collect::<Vec<_>>().join(", ")
    };
    let Some((scheme, place)) = text.split_once("://") else {
        let what = format!("\"{}\" does not say how to send there", text.value);
        return fail(what, format!("{example}; it takes {}", known()));
    };
    let Some((_, transport)) = TRANSPORTS.iter().find(|(name, _)| *name == scheme) else {
        let later = if LATER.contains(&scheme) { "not built yet" } else { "not known here" };
        return fail(format!("\"{scheme}://\" is {later}"), format!("it takes {}", known()));
    };
    let place = place.strip_suffix('/').unwrap_or(place);
    let port = place.rsplit_once(':').and_then(|(_, port)| port.parse::<u16>().ok());
    if port.is_none_or(|port| port == 0) {
        let what = format!("\"{}\" has no port from 1 to 65535", text.value);
        return fail(what, example.to_owned());
    }
    let place = match place.parse::<SocketAddr>() {
        Ok(address) => Place::Address(address),
        Err(_) if is_name(place) => Place::Name(place.to_owned()),
        Err(_) => {
            let what = format!("\"{}\" has no host that could be looked up", text.value);
            return fail(
                what,
                "an IPv6 address stands in brackets: \"tcp://[::1]:514\"".to_owned(),
            );
        }
    };
    Some(Target { transport: *transport, place, text: text.value.clone() })
}

/// `host:port` with a host of letters, digits, dots, dashes and underscores.
fn is_name(place: &str) -> bool {
    let host = place.rsplit_once(':').map_or("", |(host, _)| host);
    let part = |byte: u8| byte.is_ascii_alphanumeric() || b".-_".contains(&byte);
    !host.is_empty() && host.bytes().all(part)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::OptionDoc;

    const DOCS: &[OptionDoc] = &[OptionDoc { name: "targets", default: None, doc: "where to" }];

    fn read(body: &str) -> Result<Vec<Target>, Vec<String>> {
        let section = Section::parse(body, DOCS);
        let targets = plan(&section);
        section.finish();
        let lines = section.diagnostics().lines();
        if lines.is_empty() { Ok(targets) } else { Err(lines) }
    }

    #[test]
    fn targets_are_read() {
        let targets =
            read("targets = ['tcp://127.0.0.1:514', 'udp://[::1]:5514/', 'tcp://log.example:601']")
                .expect("all good");
        let places: Vec<&Place> = targets.iter().map(|target| &target.place).collect();
        let address = |text: &str| Place::Address(text.parse().expect("an address"));
        let expected = [
            &address("127.0.0.1:514"),
            &address("[::1]:5514"),
            &Place::Name("log.example:601".to_owned()),
        ];
        assert_eq!(places, expected);
        assert!(targets[1].is_datagram() && !targets[0].is_datagram());
        assert_eq!(read("targets = 'udp://h:1'").expect("one alone").len(), 1);
    }

    #[test]
    fn mistakes_are_told_with_a_remedy() {
        for (text, what) in [
            ("'127.0.0.1:514'", "does not say how to send there"),
            (
                "'http://h:1'",
                "is not known here (it takes tcp://, udp://, tls://, relp://, relps://)",
            ),
            (
                "'dtls://h:1'",
                "\"dtls://\" is not built yet (it takes tcp://, udp://, tls://, relp://, relps://)",
            ),
            ("'tcp://h'", "has no port from 1 to 65535 (write \"tcp://192.0.2.1:514\")"),
            ("'tcp://h:0'", "has no port"),
            ("'tcp://h:70000'", "has no port"),
            ("'tcp://::1:514'", "in brackets"),
            ("'tcp://a b:514'", "could be looked up"),
            ("'tcp://:514'", "could be looked up"),
            ("['tcp://h:1', 'tcp://h:1']", "tcp://h:1 stands here twice (leave one out)"),
            ("[]", "there is nowhere to send to"),
            ("5", "expected a list of strings"),
        ] {
            let told = read(&format!("targets = {text}")).expect_err(text).join("\n");
            assert!(told.contains(what), "{text}: {told}");
        }
    }
}
