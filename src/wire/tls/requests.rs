//! A client's set-up for HTTPS requests: whom it believes, and who it is, as the HTTP client wants
//! to be told.

use ureq::tls::{Certificate, ClientCert, PrivateKey, RootCerts, TlsConfig};

use super::client::{Options, Setup, Trust};
use super::{About, Identity, SetupError, anchors, certificates, provider};

/// The authorities of `ca`, or those of this machine; our certificate and its key, if there are.
pub fn of_requests(
    ca: Option<&[u8]>,
    identity: Option<(&[u8], &[u8])>,
) -> Result<TlsConfig, SetupError> {
    let certificate = |der: &[u8]| Certificate::from_der(der).to_owned();
    let (roots, trust): (Vec<Certificate<'static>>, Trust) = match ca {
        Some(pem) => {
            let found = certificates(pem, About::Anchors)?;
            (found.iter().map(|one| certificate(one)).collect(), Trust::Anchors(anchors(pem)?))
        }
        None => {
            let found = rustls_native_certs::load_native_certs();
            let roots = found.certs.iter().map(|one| certificate(one)).collect();
            (roots, Trust::Anchors(super::system_anchors()?))
        }
    };
    let mut client = None;
    if let Some((chain, key)) = identity {
        let own = Identity::from_pem(chain, key)?;
        let certificates: Vec<_> = own.chain.iter().map(|one| certificate(one)).collect();
        let key = PrivateKey::from_pem(key).map_err(|error| {
            let remedy = "give a PEM file with BEGIN PRIVATE KEY";
            SetupError::new(About::Key, format!("is no private key: {error}"), remedy)
        })?;
        client = Some(ClientCert::new_with_certs(&certificates, key));
        // The HTTP client would find out only when it connects, and panic: a pair that does not
        // belong together is told here.
        Setup::new(Options { trust, identity: Some(own), ..Options::default() })?;
    }
    Ok(TlsConfig::builder()
        .root_certs(RootCerts::from(roots))
        .client_cert(client)
        .unversioned_rustls_crypto_provider(provider())
        .build())
}
