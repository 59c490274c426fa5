//! TLS for byte streams (RFC 5425, RFC 9662): set-up of servers and clients, and a session that
//! turns what a socket brings into text and back. rustls with the ring provider, always given by
//! hand, so that no second provider in the program can make it panic.
//!
//! ```text
//!   Identity (certificate, key) ─┐
//!   Anchors (who is trusted)    ─┼─▶ server::Setup ──▶ Session ──read──▶ text
//!   Peers (who is welcome)      ─┘   client::Setup ──▶ Session ◀─write── text
//! ```
//! Files are read by whoever calls: here come their bytes.

pub mod certificate;
pub mod client;
pub mod fault;
pub mod keeper;
pub mod peers;
pub mod requests;
pub mod server;
pub mod session;

use std::sync::Arc;

use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{RootCertStore, SupportedProtocolVersion, version};

/// Why a set-up cannot be made: what is wrong, and what to do.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{what}: {remedy}")]
pub struct SetupError {
    /// `holds no certificate`: the caller puts the file's name in front.
    pub what: String,
    pub remedy: String,
    /// What it is about.
    pub about: About,
}

/// Which of the things given is wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum About {
    Certificate,
    Key,
    Anchors,
    Whole,
}

impl SetupError {
    fn new(about: About, what: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { what: what.into(), remedy: remedy.into(), about }
    }
}

/// No file of certificates is longer: all of a distribution's authorities have 220 KiB.
pub const FILE_BYTES_MAX: usize = 4 << 20;

/// How a list of versions is written.
pub const VERSIONS_REMEDY: &str = "write \"1.2\", \"1.3\" or both";

/// Versions that may be spoken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Versions {
    Both,
    Only12,
    Only13,
}

impl Versions {
    /// Reads `1.2` or `1.3`.
    pub fn parse(text: &str) -> Result<Self, String> {
        match text {
            "1.2" => Ok(Self::Only12),
            "1.3" => Ok(Self::Only13),
            _ => Err("is no version of TLS that is spoken".to_owned()),
        }
    }

    fn list(self) -> &'static [&'static SupportedProtocolVersion] {
        static ONLY_12: &[&SupportedProtocolVersion] = &[&version::TLS12];
        static ONLY_13: &[&SupportedProtocolVersion] = &[&version::TLS13];
        match self {
            Self::Both => rustls::ALL_VERSIONS,
            Self::Only12 => ONLY_12,
            Self::Only13 => ONLY_13,
        }
    }
}

/// All that are named; both when none is.
impl FromIterator<Self> for Versions {
    fn from_iter<I: IntoIterator<Item = Self>>(named: I) -> Self {
        let join = |all, one| if all == one { all } else { Self::Both };
        named.into_iter().reduce(join).unwrap_or(Self::Both)
    }
}

/// Who we are: a certificate with those between it and the anchor, and its key.
#[derive(Debug)]
pub struct Identity {
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
}

impl Identity {
    /// From PEM files: the certificate first, then those that signed it.
    pub fn from_pem(certificate: &[u8], key: &[u8]) -> Result<Self, SetupError> {
        let chain = certificates(certificate, About::Certificate)?;
        let key = PrivateKeyDer::from_pem_slice(key).map_err(|error| {
            let encrypted = memchr::memmem::find(key, b"ENCRYPTED").is_some();
            let (what, remedy) = if encrypted {
                ("is encrypted", "take its pass phrase off: `openssl pkey -in OLD -out NEW`")
            } else if matches!(error, pem::Error::NoItemsFound) {
                ("holds no private key", "give a PEM file with BEGIN PRIVATE KEY")
            } else {
                ("is no PEM file", "give a PEM file with BEGIN PRIVATE KEY")
            };
            SetupError::new(About::Key, what, remedy)
        })?;
        Ok(Self { chain, key })
    }

    pub fn certificate(&self) -> &[u8] {
        &self.chain[0]
    }
}

/// Whom we trust to say who somebody is.
pub fn anchors(pem: &[u8]) -> Result<RootCertStore, SetupError> {
    let mut store = RootCertStore::empty();
    for certificate in certificates(pem, About::Anchors)? {
        store.add(certificate).map_err(|error| {
            let what = format!("holds a certificate that cannot be an anchor: {error}");
            SetupError::new(About::Anchors, what, "give certificates of authorities, X.509 v3")
        })?;
    }
    Ok(store)
}

/// The anchors of this machine, as its distribution keeps them.
pub fn system_anchors() -> Result<RootCertStore, SetupError> {
    let found = rustls_native_certs::load_native_certs();
    let mut store = RootCertStore::empty();
    store.add_parsable_certificates(found.certs);
    if store.is_empty() {
        let why = found.errors.first().map(|error| format!(" ({error})")).unwrap_or_default();
        let what = format!("this machine has no trust anchors{why}");
        let remedy = "install ca-certificates, or name a file of anchors";
        return Err(SetupError::new(About::Anchors, what, remedy));
    }
    Ok(store)
}

fn certificates(pem: &[u8], about: About) -> Result<Vec<CertificateDer<'static>>, SetupError> {
    let remedy = "give a PEM file with BEGIN CERTIFICATE";
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    match found {
        Ok(found) if found.is_empty() => {
            Err(SetupError::new(about, "holds no certificate", remedy))
        }
        Ok(found) => Ok(found),
        Err(error) => {
            Err(SetupError::new(about, format!("is no good PEM file: {error:?}"), remedy))
        }
    }
}

/// The part of both guards that looks at no certificate: whether the handshake is signed with its
/// key, by rustls' functions of the same names. For types with a field `algorithms`.
macro_rules! checks_signatures {
    ($($verify:ident),*) => {
        $(fn $verify(
            &self,
            message: &[u8],
            certificate: &rustls::pki_types::CertificateDer<'_>,
            signature: &rustls::DigitallySignedStruct,
        ) -> Result<rustls::client::danger::HandshakeSignatureValid, rustls::Error> {
            rustls::crypto::$verify(message, certificate, signature, &self.algorithms)
        })*

        fn supported_verify_schemes(&self) -> Vec<rustls::SignatureScheme> {
            self.algorithms.supported_schemes()
        }
    };
}
use checks_signatures;

fn provider() -> Arc<CryptoProvider> {
    Arc::new(ring::default_provider())
}

/// How rustls words what is wrong with a certificate and its key.
fn unusable(error: &rustls::Error) -> SetupError {
    match error {
        rustls::Error::InconsistentKeys(_) => SetupError::new(
            About::Key,
            "is not the key of the certificate",
            "give the two that were made together",
        ),
        rustls::Error::InvalidCertificate(error) => SetupError::new(
            About::Certificate,
            format!("holds a certificate that cannot be used: {error}"),
            "X.509 v3 certificates can",
        ),
        error => SetupError::new(
            About::Key,
            format!("cannot be used: {error}"),
            "RSA from 2048 bits, ECDSA P-256 and P-384, and Ed25519 keys can",
        ),
    }
}

#[cfg(test)]
mod tests;
