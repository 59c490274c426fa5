//! A server's set-up: who we are, and which clients are welcome.

use std::sync::Arc;

use rustls::crypto::WebPkiSupportedAlgorithms;
use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{CertificateError, DistinguishedName, Error, OtherError, RootCertStore, ServerConfig};

use super::certificate::{Fingerprint, Names};
use super::peers::Peers;
use super::session::Session;
use super::{
    About, Identity, SetupError, Versions, certificate, checks_signatures, provider, unusable,
};

/// Whether clients show certificates.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Clients {
    /// They are not asked.
    None,
    /// They are asked; who shows one must be welcome.
    Optional,
    /// Who shows none, or is not welcome, is refused.
    Required,
}

/// What a server is made of.
pub struct Options {
    pub identity: Identity,
    pub clients: Clients,
    /// Who may vouch for clients; only fingerprints need nobody.
    pub anchors: Option<RootCertStore>,
    pub peers: Peers,
    pub versions: Versions,
}

/// Ready to take connections; cheap to clone.
#[derive(Clone, Debug)]
pub struct Setup {
    config: Arc<ServerConfig>,
    peers: Arc<Peers>,
}

impl Setup {
    pub fn new(options: Options) -> Result<Self, SetupError> {
        let provider = provider();
        let algorithms = provider.signature_verification_algorithms;
        let builder = ServerConfig::builder_with_provider(provider.clone())
            .with_protocol_versions(options.versions.list())
            .map_err(|error| {
                SetupError::new(About::Whole, error.to_string(), "take other versions")
            })?;
        let peers = Arc::new(options.peers);
        let builder = if options.clients == Clients::None {
            builder.with_no_client_auth()
        } else {
            let anchors = options.anchors.map(|anchors| {
                WebPkiClientVerifier::builder_with_provider(Arc::new(anchors), provider).build()
            });
            let webpki = anchors.transpose().map_err(|error| {
                SetupError::new(
                    About::Anchors,
                    error.to_string(),
                    "give certificates of authorities",
                )
            })?;
            let mandatory = options.clients == Clients::Required;
            let guard = Guard { webpki, peers: Arc::clone(&peers), mandatory, algorithms };
            builder.with_client_cert_verifier(Arc::new(guard))
        };
        let identity = options.identity;
        let mut config = builder
            .with_single_cert(identity.chain, identity.key)
            .map_err(|error| unusable(&error))?;
        // Senders stay connected for days: resumption would buy nothing. And a ticket written to a
        // sender that only sends and closes is answered by a reset, which may lose its last lines.
        config.send_tls13_tickets = 0;
        config.session_storage = Arc::new(rustls::server::NoServerSessionStorage {});
        Ok(Self { config: Arc::new(config), peers })
    }

    /// What to call the holder of a welcome certificate: by the name that is listed, else by the
    /// best it has, else by its fingerprint.
    pub fn name_of(&self, certificate: &[u8]) -> String {
        let listed = self.peers.listed_name(certificate);
        listed
            .or_else(|| Names::of(certificate).best())
            .unwrap_or_else(|| Fingerprint::of(certificate).to_string())
    }

    pub fn session(&self) -> Session {
        Session::server(Arc::clone(&self.config))
    }
}

/// Decides about clients' certificates.
#[derive(Debug)]
struct Guard {
    webpki: Option<Arc<dyn ClientCertVerifier>>,
    peers: Arc<Peers>,
    mandatory: bool,
    algorithms: WebPkiSupportedAlgorithms,
}

/// A genuine certificate of somebody who is not on the list.
#[derive(Debug, thiserror::Error)]
#[error("its certificate is of {0}, whom `peers` does not list")]
pub(super) struct Unlisted(pub(super) String);

pub(super) fn unlisted(certificate: &CertificateDer<'_>) -> Error {
    let who = certificate::describe(certificate);
    let error = OtherError(Arc::new(Unlisted(who)));
    Error::InvalidCertificate(CertificateError::Other(error))
}

impl ClientCertVerifier for Guard {
    fn client_auth_mandatory(&self) -> bool {
        self.mandatory
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        // GnuTLS sends nothing when no hint fits, and who is listed by fingerprint fits none.
        let hints = self.webpki.as_ref().filter(|_| !self.peers.has_fingerprints());
        hints.map_or(&[], |webpki| webpki.root_hint_subjects())
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        if self.peers.lists(end_entity) {
            return Ok(ClientCertVerified::assertion());
        }
        let Some(webpki) = &self.webpki else { return Err(unlisted(end_entity)) };
        let verified = webpki.verify_client_cert(end_entity, intermediates, now)?;
        if self.peers.names(end_entity) { Ok(verified) } else { Err(unlisted(end_entity)) }
    }

    checks_signatures!(verify_tls12_signature, verify_tls13_signature);
}
