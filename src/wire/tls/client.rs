//! A client's set-up: whom we trust as a server, and who we are.
//!
//! ```no_run
//! # use flumen::wire::tls::{self, client::{Options, Setup, Trust}, peers::Peers, Versions};
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let trust = Trust::Anchors(tls::anchors(b"-----BEGIN CERTIFICATE-----")?);
//! let setup = Setup::new(Options { trust, ..Options::default() })?;
//! let mut session = setup.session("logs.example.com")?;
//! // Then, whenever the socket may be read or written: session.advance(&mut socket, …) until it
//! // is open, and session.write(&mut socket, text) as one would write to the socket.
//! # Ok(()) }
//! ```

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use rustls::client::danger::{ServerCertVerified, ServerCertVerifier};
use rustls::client::{ResolvesClientCert, WebPkiServerVerifier};
use rustls::crypto::WebPkiSupportedAlgorithms;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::sign::CertifiedKey;
use rustls::{ClientConfig, Error, RootCertStore, SignatureScheme};

use super::peers::Peers;
use super::server::unlisted;
use super::session::Session;
use super::{About, Identity, SetupError, Versions, checks_signatures, provider, unusable};

/// Whom to believe.
#[derive(Debug)]
pub enum Trust {
    /// Whom these vouch for.
    Anchors(RootCertStore),
    /// Nobody, but for the fingerprints in `peers`.
    Listed,
    /// Anybody: no protection against somebody in between. For tests.
    Anybody,
}

/// What a client is made of.
#[derive(Debug)]
pub struct Options {
    pub trust: Trust,
    /// What the server's certificate must say instead of the host's name. Fingerprints admit their
    /// certificates whoever signed them.
    pub peers: Peers,
    /// Who we are, for servers that ask.
    pub identity: Option<Identity>,
    pub versions: Versions,
}

impl Default for Options {
    fn default() -> Self {
        let (trust, peers) = (Trust::Listed, Peers::default());
        Self { trust, peers, identity: None, versions: Versions::Both }
    }
}

/// Ready to connect; cheap to clone.
#[derive(Clone, Debug)]
pub struct Setup {
    config: Arc<ClientConfig>,
}

impl Setup {
    pub fn new(options: Options) -> Result<Self, SetupError> {
        let provider = provider();
        let algorithms = provider.signature_verification_algorithms;
        let builder = ClientConfig::builder_with_provider(provider.clone())
            .with_protocol_versions(options.versions.list())
            .map_err(|error| {
                SetupError::new(About::Whole, error.to_string(), "take other versions")
            })?;
        let (anchors, anybody) = match options.trust {
            Trust::Anchors(anchors) => (Some(anchors), false),
            Trust::Listed => (None, false),
            Trust::Anybody => (None, true),
        };
        let webpki = anchors.map(|anchors| {
            WebPkiServerVerifier::builder_with_provider(Arc::new(anchors), provider).build()
        });
        let webpki = webpki.transpose().map_err(|error| {
            SetupError::new(About::Anchors, error.to_string(), "give certificates of authorities")
        })?;
        let guard = Guard { webpki, anybody, peers: options.peers, algorithms };
        let builder = builder.dangerous().with_custom_certificate_verifier(Arc::new(guard));
        let mut config = match options.identity {
            None => builder.with_no_client_auth(),
            Some(identity) => builder
                .with_client_auth_cert(identity.chain, identity.key)
                .map_err(|error| unusable(&error))?,
        };
        config.resumption = rustls::client::Resumption::disabled();
        Ok(Self { config: Arc::new(config) })
    }

    /// A session with `host`, a name or an address, without a port.
    pub fn session(&self, host: &str) -> Result<Session, SetupError> {
        let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
        let name = ServerName::try_from(bare.to_owned()).map_err(|_| {
            let what = format!("\"{host}\" is no name that a certificate could have");
            SetupError::new(About::Whole, what, "connect by a DNS name or an IP address")
        })?;
        let asked = Arc::new(AtomicBool::new(false));
        let mut config = ClientConfig::clone(&self.config);
        let (resolver, told) = (config.client_auth_cert_resolver, Arc::clone(&asked));
        config.client_auth_cert_resolver = Arc::new(Answer { resolver, asked: told });
        Session::client(Arc::new(config), name, asked)
            .map_err(|error| SetupError::new(About::Whole, error.to_string(), "see above"))
    }
}

/// Says who we are, and notes that somebody wanted to know.
#[derive(Debug)]
struct Answer {
    resolver: Arc<dyn ResolvesClientCert>,
    asked: Arc<AtomicBool>,
}

impl ResolvesClientCert for Answer {
    fn resolve(&self, hints: &[&[u8]], schemes: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        // Relaxed: the session that asks is the one that reads it.
        self.asked.store(true, Ordering::Relaxed);
        self.resolver.resolve(hints, schemes)
    }

    fn only_raw_public_keys(&self) -> bool {
        self.resolver.only_raw_public_keys()
    }

    fn has_certs(&self) -> bool {
        self.resolver.has_certs()
    }
}

/// Decides about servers' certificates.
#[derive(Debug)]
struct Guard {
    webpki: Option<Arc<WebPkiServerVerifier>>,
    anybody: bool,
    peers: Peers,
    algorithms: WebPkiSupportedAlgorithms,
}

impl ServerCertVerifier for Guard {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        if self.anybody || self.peers.lists(end_entity) {
            return Ok(ServerCertVerified::assertion());
        }
        let Some(webpki) = &self.webpki else { return Err(unlisted(end_entity)) };
        let verified =
            webpki.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now);
        if self.peers.is_empty() {
            return verified;
        }
        // The host's name need not match then, and everything else must: webpki looks at names
        // last.
        let other = |error: &Error| {
            use rustls::CertificateError::{NotValidForName, NotValidForNameContext};
            let name = |error: &_| matches!(error, NotValidForName | NotValidForNameContext { .. });
            !matches!(error, Error::InvalidCertificate(error) if name(error))
        };
        match verified {
            Err(error) if other(&error) => Err(error),
            _ if self.peers.names(end_entity) => Ok(ServerCertVerified::assertion()),
            _ => Err(unlisted(end_entity)),
        }
    }

    checks_signatures!(verify_tls12_signature, verify_tls13_signature);
}
