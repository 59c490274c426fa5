//! Where the endpoint listens. Binding is apart from serving, so that a start fails early (exit 2).

use std::io;
use std::net::{SocketAddr, ToSocketAddrs};

use mio::net::TcpListener;

/// A listening socket nobody accepts from yet.
#[derive(Debug)]
pub struct Bound {
    pub(super) listener: TcpListener,
    address: SocketAddr,
}

impl Bound {
    /// The address listened on, with the port the system chose when 0 was asked for.
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

/// Why the endpoint cannot listen.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    #[error(
        "admin = \"{text}\" is no address; write \"HOST:PORT\" such as 127.0.0.1:41414, or \"off\""
    )]
    Address { text: String },
    #[error("admin = \"{text}\" cannot be resolved: {error}")]
    Resolve { text: String, error: io::Error },
    #[error("admin cannot listen on {text}: {error}; {}", remedy(.error))]
    Listen { text: String, error: io::Error },
}

fn remedy(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::AddrInUse => {
            "stop what listens there, choose another port, or write \"off\""
        }
        io::ErrorKind::AddrNotAvailable => "use an address of this machine, or 127.0.0.1",
        io::ErrorKind::PermissionDenied => "use a port above 1023, or write \"off\"",
        _ => "choose another address, or write \"off\"",
    }
}

/// Listens where `agent.admin` says; `None` for `off`.
pub fn bind(text: &str) -> Result<Option<Bound>, BindError> {
    if text == "off" {
        return Ok(None);
    }
    let owned = || text.to_owned();
    // A `/` is of a URL, and no resolver would say so.
    if text.rsplit_once(':').is_none_or(|(host, port)| {
        host.is_empty() || host.contains('/') || port.parse::<u16>().is_err()
    }) {
        return Err(BindError::Address { text: owned() });
    }
    let addresses = text.to_socket_addrs();
    let addresses = addresses.map_err(|error| BindError::Resolve { text: owned(), error })?;
    let mut last = io::Error::from(io::ErrorKind::AddrNotAvailable);
    for address in addresses {
        match TcpListener::bind(address).and_then(|it| it.local_addr().map(|at| (it, at))) {
            Ok((listener, address)) => return Ok(Some(Bound { listener, address })),
            Err(error) => last = error,
        }
    }
    Err(BindError::Listen { text: owned(), error: last })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(text: &str) -> String {
        bind(text).expect_err("must fail").to_string()
    }

    #[test]
    fn the_system_chooses_a_port() {
        let bound = bind("127.0.0.1:0").expect("free").expect("on");
        assert_ne!(bound.address().port(), 0);
        assert!(bind("off").expect("valid").is_none());
    }

    #[test]
    fn an_address_in_use_says_what_to_do() {
        let bound = bind("127.0.0.1:0").expect("free").expect("on");
        let text = bound.address().to_string();
        assert_eq!(
            error(&text),
            format!(
                "admin cannot listen on {text}: Address already in use (os error 98); \
                 stop what listens there, choose another port, or write \"off\""
            )
        );
    }

    #[test]
    fn nonsense_says_what_would_be_right() {
        for text in
            ["", "41414", "127.0.0.1", ":41414", "127.0.0.1:70000", "on", "a:b", "tcp://a:1"]
        {
            assert!(error(text).ends_with("such as 127.0.0.1:41414, or \"off\""), "{text}");
        }
        assert!(error("192.0.2.1:0").contains("use an address of this machine"));
    }
}
