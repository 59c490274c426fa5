//! Where a source listens: an address, a path, or a socket that was passed on to us.

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    Internet(SocketAddr),
    /// The file of a Unix socket.
    Path(PathBuf),
    /// Sockets that systemd has opened under this name.
    Passed(String),
}

impl Place {
    pub fn internet(&self) -> Option<SocketAddr> {
        match self {
            Self::Internet(address) => Some(*address),
            _ => None,
        }
    }

    /// Nobody else can have it: it may not stand twice.
    pub fn is_fixed(&self) -> bool {
        self.internet().is_none_or(|address| address.port() != 0)
    }
}

impl From<SocketAddr> for Place {
    fn from(address: SocketAddr) -> Self {
        Self::Internet(address)
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Internet(address) => address.fmt(f),
            Self::Path(path) => path.display().fmt(f),
            Self::Passed(name) => name.fmt(f),
        }
    }
}
