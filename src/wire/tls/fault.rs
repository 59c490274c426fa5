//! What went wrong with a session, in words for whoever runs the receiver or the sender.

use std::io;

use rustls::{CertificateError, Error, PeerIncompatible};

/// Which kind: each is told once in a while, however often it happens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The first bytes were no TLS.
    PlainText,
    /// The peer's certificate is missing or not welcome.
    Peer,
    /// The peer did not like ours, or us.
    RefusedByPeer,
    /// No agreement, or not in time.
    Handshake,
    /// Bytes that are not what was sent.
    Broken,
}

impl Kind {
    pub const COUNT: usize = 5;
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{what}")]
pub struct Fault {
    pub kind: Kind,
    pub what: String,
}

impl Fault {
    pub fn new(kind: Kind, what: impl Into<String>) -> Self {
        Self { kind, what: what.into() }
    }

    /// Somebody spoke plain text; shows how it began.
    pub(super) fn plain_text(start: &[u8]) -> Self {
        let shown = start.iter().take(40).copied().collect::<Vec<u8>>().escape_ascii().to_string();
        let what = format!("it sends plain text, not TLS (\"{shown}\"): set up the sender for TLS");
        Self::new(Kind::PlainText, what)
    }

    /// What rustls says, in other words where ours are clearer.
    pub(super) fn of(error: &Error, open: bool) -> Self {
        let kind = match error {
            Error::NoCertificatesPresented | Error::InvalidCertificate(_) => Kind::Peer,
            Error::AlertReceived(_) => Kind::RefusedByPeer,
            _ if open => Kind::Broken,
            _ => Kind::Handshake,
        };
        let what = match error {
            Error::NoCertificatesPresented => {
                "it shows no certificate, which is required".to_owned()
            }
            Error::InvalidCertificate(error) => certificate(error),
            Error::AlertReceived(alert) => {
                let hint = match format!("{alert:?}").as_str() {
                    "UnknownCA" => ": its list of trusted authorities lacks ours",
                    "CertificateExpired" => ": our certificate has expired",
                    "CertificateRequired" => ": it wants a certificate of ours",
                    "HandshakeFailure" | "ProtocolVersion" => ": no version or cipher is in common",
                    "BadCertificate" | "CertificateUnknown" | "AccessDenied" => {
                        ": our certificate is not welcome there"
                    }
                    _ => "",
                };
                format!("the peer refuses with {alert:?}{hint}")
            }
            Error::PeerIncompatible(PeerIncompatible::Tls12NotOffered) => {
                "it does not offer TLS 1.2, nor may it have 1.3".to_owned()
            }
            Error::PeerIncompatible(
                PeerIncompatible::SupportedVersionsExtensionRequired
                | PeerIncompatible::Tls12NotOfferedOrEnabled
                | PeerIncompatible::Tls13RequiredForQuic,
            ) => "no TLS version is in common: we take 1.2 and 1.3 as `versions` says".to_owned(),
            Error::PeerIncompatible(why) => format!("nothing is in common: {why:?}"),
            Error::DecryptError => "its bytes were changed on the way, or are no TLS".to_owned(),
            error => error.to_string(),
        };
        Self::new(kind, what)
    }
}

fn certificate(error: &CertificateError) -> String {
    match error {
        CertificateError::UnknownIssuer => {
            "its certificate is by no authority that is trusted here".to_owned()
        }
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
            "its certificate has expired".to_owned()
        }
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
            "its certificate is not valid yet: look at both clocks".to_owned()
        }
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
            format!("its certificate is for other names: {error}")
        }
        // An authority that was made anew under its old name.
        CertificateError::BadSignature => {
            "its certificate is by no authority that is trusted here, but by one of the same name"
                .to_owned()
        }
        // Ours say themselves what they are about.
        CertificateError::Other(other) => other.to_string(),
        error => format!("its certificate is no good: {error}"),
    }
}

impl From<Fault> for io::Error {
    fn from(fault: Fault) -> Self {
        Self::new(io::ErrorKind::InvalidData, fault)
    }
}

/// The fault behind an error of a session; none for the socket's own.
pub fn fault_of(error: &io::Error) -> Option<&Fault> {
    error.get_ref().and_then(|inner| inner.downcast_ref())
}
