//! Certificates for the tests that speak TLS, made anew for each.

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use std::path::PathBuf;
use tempfile::TempDir;

/// A folder with `ca.pem`, and `server`, `sender` and `stranger` as `.pem` and `.key`; the last is
/// vouched for by somebody else.
pub(crate) struct Papers {
    pub(crate) dir: TempDir,
    pub(crate) authority: CertifiedIssuer<'static, KeyPair>,
}

pub(crate) fn authority() -> CertifiedIssuer<'static, KeyPair> {
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.distinguished_name.push(DnType::CommonName, "an authority");
    CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap()
}

impl Papers {
    pub(crate) fn new() -> Self {
        let papers = Self { dir: TempDir::new().unwrap(), authority: authority() };
        std::fs::write(papers.path("ca.pem"), papers.authority.pem()).unwrap();
        papers.issue(&papers.authority, "server", &["localhost", "127.0.0.1"]);
        papers.issue(&papers.authority, "sender", &["one.example"]);
        papers.issue(&authority(), "stranger", &["one.example"]);
        papers
    }

    pub(crate) fn issue(&self, by: &CertifiedIssuer<'static, KeyPair>, file: &str, names: &[&str]) {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let (key, params) = (KeyPair::generate().unwrap(), CertificateParams::new(names).unwrap());
        let certificate = params.signed_by(&key, by).unwrap();
        std::fs::write(self.path(&format!("{file}.pem")), certificate.pem()).unwrap();
        std::fs::write(self.path(&format!("{file}.key")), key.serialize_pem()).unwrap();
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }
}
