//! Where to send: `udp://host:port`, `tcp://host:port`, `tls://host:port`.

use std::net::{SocketAddr, ToSocketAddrs};

#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Transport {
    Udp,
    Tcp,
    Tls,
}

impl Transport {
    /// A connection: what it takes arrives whole and in order.
    pub fn is_stream(self) -> bool {
        self != Self::Udp
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    pub transport: Transport,
    pub address: SocketAddr,
    /// The host as it was given: what a server's certificate must be for.
    pub host: String,
    /// As it was given.
    pub text: String,
}

#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum TargetError {
    #[error("{0}: a target is udp://host:port, tcp://host:port or tls://host:port")]
    Malformed(String),
    #[error("{text}: {scheme}:// comes later; there are udp://, tcp:// and tls://")]
    Later { text: String, scheme: String },
    #[error("{text}: {why}")]
    Unresolved { text: String, why: String },
}

/// Schemes that are planned: refused by name, so that nobody looks for a typing error.
const LATER: [&str; 7] = ["relp", "avro", "thrift", "http", "https", "unix", "memcached"];

impl Target {
    /// Host names are looked up here, once.
    pub fn parse(text: &str) -> Result<Self, TargetError> {
        let owned = || text.to_owned();
        let (scheme, place) =
            text.split_once("://").ok_or_else(|| TargetError::Malformed(owned()))?;
        let transport = match scheme {
            "udp" => Transport::Udp,
            "tcp" => Transport::Tcp,
            "tls" => Transport::Tls,
            later if LATER.contains(&later) => {
                return Err(TargetError::Later { text: owned(), scheme: later.to_owned() });
            }
            _ => return Err(TargetError::Malformed(owned())),
        };
        let place = place.strip_suffix('/').unwrap_or(place);
        let port = place.rsplit_once(':').and_then(|(_, port)| port.parse::<u16>().ok());
        if port.is_none_or(|port| port == 0) {
            return Err(TargetError::Malformed(owned()));
        }
        let unresolved = |why: String| TargetError::Unresolved { text: owned(), why };
        let mut found = place.to_socket_addrs().map_err(|error| unresolved(error.to_string()))?;
        let address = found.next().ok_or_else(|| unresolved("no such host".to_owned()))?;
        let host = place.rsplit_once(':').map_or(place, |(host, _)| host).to_owned();
        Ok(Self { transport, address, host, text: owned() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets_are_read_and_mistakes_are_named() {
        let target = Target::parse("udp://127.0.0.1:514").unwrap();
        assert_eq!(target.transport, Transport::Udp);
        assert_eq!(target.address.to_string(), "127.0.0.1:514");
        assert_eq!(Target::parse("tcp://[::1]:5514/").unwrap().address.to_string(), "[::1]:5514");
        for bad in ["127.0.0.1:514", "udp://127.0.0.1", "udp://h:0", "udp://h:x", "sctp://h:1", ""]
        {
            assert_eq!(Target::parse(bad), Err(TargetError::Malformed(bad.to_owned())), "{bad}");
        }
        let later = Target::parse("relp://h:6514").unwrap_err().to_string();
        assert_eq!(
            later,
            "relp://h:6514: relp:// comes later; there are udp://, tcp:// and tls://"
        );
        let tls = Target::parse("tls://[::1]:6514").unwrap();
        assert_eq!((tls.transport, tls.host.as_str()), (Transport::Tls, "[::1]"));
    }
}
