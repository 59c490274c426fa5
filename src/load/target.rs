//! Where to send: `udp://host:port` and the same with `tcp`, `tls`, `relp`, `relps`; or a socket of
//! this machine, `unix:///path` (a stream) and `unixgram:///path`.

use std::net::{SocketAddr, ToSocketAddrs};
use std::path::PathBuf;

#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Transport {
    Udp,
    Tcp,
    Tls,
    Relp,
    /// RELP over TLS.
    Relps,
    /// A stream.
    Unix,
    /// Datagrams, as to `/dev/log`.
    Unixgram,
}

const TRANSPORTS: [(&str, Transport); 7] = [
    ("udp", Transport::Udp),
    ("tcp", Transport::Tcp),
    ("tls", Transport::Tls),
    ("relp", Transport::Relp),
    ("relps", Transport::Relps),
    ("unix", Transport::Unix),
    ("unixgram", Transport::Unixgram),
];

impl Transport {
    /// A connection: what it takes arrives whole and in order.
    pub fn is_stream(self) -> bool {
        !matches!(self, Self::Udp | Self::Unixgram)
    }

    pub fn is_secure(self) -> bool {
        matches!(self, Self::Tls | Self::Relps)
    }

    fn is_local(self) -> bool {
        matches!(self, Self::Unix | Self::Unixgram)
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    Address(SocketAddr),
    /// A socket's file.
    Path(PathBuf),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    pub transport: Transport,
    pub place: Place,
    /// The host as it was given: what a server's certificate must be for.
    pub host: String,
    /// As it was given.
    pub text: String,
}

#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum TargetError {
    #[error(
        "{0}: a target is udp://host:port, or the same with tcp, tls, relp or relps, or \
         unix:///path or unixgram:///path"
    )]
    Malformed(String),
    #[error(
        "{text}: {scheme}:// comes later; there are udp, tcp, tls, relp, relps, unix and unixgram"
    )]
    Later { text: String, scheme: String },
    #[error("{text}: {why}")]
    Unresolved { text: String, why: String },
}

/// Schemes that are planned: refused by name, so that nobody looks for a typing error.
const LATER: [&str; 6] = ["dtls", "avro", "thrift", "http", "https", "memcached"];

impl Target {
    /// Host names are looked up here, once.
    pub fn parse(text: &str) -> Result<Self, TargetError> {
        let owned = || text.to_owned();
        let (scheme, place) =
            text.split_once("://").ok_or_else(|| TargetError::Malformed(owned()))?;
        let known = TRANSPORTS.iter().find(|(name, _)| *name == scheme);
        let Some((_, transport)) = known.copied() else {
            return Err(match LATER.contains(&scheme) {
                true => TargetError::Later { text: owned(), scheme: scheme.to_owned() },
                false => TargetError::Malformed(owned()),
            });
        };
        if transport.is_local() {
            if place.is_empty() {
                return Err(TargetError::Malformed(owned()));
            }
            let (host, place) = (String::new(), Place::Path(place.into()));
            return Ok(Self { transport, place, host, text: owned() });
        }
        let place = place.strip_suffix('/').unwrap_or(place);
        let port = place.rsplit_once(':').and_then(|(_, port)| port.parse::<u16>().ok());
        if port.is_none_or(|port| port == 0) {
            return Err(TargetError::Malformed(owned()));
        }
        let unresolved = |why: String| TargetError::Unresolved { text: owned(), why };
        let mut found = place.to_socket_addrs().map_err(|error| unresolved(error.to_string()))?;
        let address = found.next().ok_or_else(|| unresolved("no such host".to_owned()))?;
        let host = place.rsplit_once(':').map_or(place, |(host, _)| host).to_owned();
        Ok(Self { transport, place: Place::Address(address), host, text: owned() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets_are_read_and_mistakes_are_named() {
        let target = Target::parse("udp://127.0.0.1:514").unwrap();
        assert_eq!(target.transport, Transport::Udp);
        let address = |text: &str| Place::Address(text.parse().unwrap());
        assert_eq!(target.place, address("127.0.0.1:514"));
        assert_eq!(Target::parse("relps://[::1]:5514/").unwrap().place, address("[::1]:5514"));
        let log = Target::parse("unixgram:///dev/log").unwrap();
        assert_eq!(log.place, Place::Path("/dev/log".into()));
        assert!(!log.transport.is_stream());
        assert!(Target::parse("unix://here/it.is").unwrap().transport.is_stream());
        for bad in [
            "127.0.0.1:514",
            "udp://127.0.0.1",
            "udp://h:0",
            "udp://h:x",
            "sctp://h:1",
            "unix://",
            "",
        ] {
            assert_eq!(Target::parse(bad), Err(TargetError::Malformed(bad.to_owned())), "{bad}");
        }
        let later = Target::parse("dtls://h:6514").unwrap_err().to_string();
        assert!(later.starts_with("dtls://h:6514: dtls:// comes later; there are udp, tcp, tls"));
        let tls = Target::parse("tls://[::1]:6514").unwrap();
        assert_eq!((tls.transport, tls.host.as_str()), (Transport::Tls, "[::1]"));
    }
}
