//! Which peers are welcome: names and fingerprints, matched as RFC 5425 5.1 and 5.2 say.
//!
//! - A fingerprint admits exactly one certificate, whoever signed it: no trust anchor is needed.
//! - A name admits certificates that a trust anchor vouches for and that carry it: as a dNSName,
//!   an iPAddress, or, where there is no dNSName at all, as the common name.
//! - `*` as the whole leftmost label matches any one label, in our list and in certificates.

use std::net::IpAddr;

use rustls::pki_types::CertificateDer;

use super::certificate::{Fingerprint, Names};

/// How a list of peers is written.
pub const PEERS_REMEDY: &str =
    "write \"host.example.com\", \"*.example.com\", an address, or \"sha256:AB:CD:…\"";

/// One entry of a list of peers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Peer {
    /// Lower case; may begin with `*.`.
    Name(String),
    Address(IpAddr),
    Fingerprint(Fingerprint),
}

impl Peer {
    /// An entry of a list in a configuration; the error goes on behind the entry.
    pub fn listed(text: &str) -> Result<Self, String> {
        Self::parse(text).map_err(|why| format!("names no peer: {why}"))
    }

    /// Reads an entry; the error is what is wrong with it.
    pub fn parse(text: &str) -> Result<Self, String> {
        if let Some(fingerprint) = Fingerprint::parse(text) {
            return fingerprint.map(Self::Fingerprint);
        }
        let plain = text.strip_prefix('[').and_then(|text| text.strip_suffix(']'));
        if let Ok(address) = plain.unwrap_or(text).parse::<IpAddr>() {
            return Ok(Self::Address(address.to_canonical()));
        }
        let name = text.trim_end_matches('.');
        if name.is_empty() || name.chars().any(|c| c.is_control()) {
            return Err("it is empty, or holds control bytes".to_owned());
        }
        if name.strip_prefix("*.").unwrap_or(name).contains('*') || name == "*." {
            return Err("`*` may only stand for the whole first label: *.example.com".to_owned());
        }
        Ok(Self::Name(name.to_lowercase()))
    }
}

/// A list of them; without any, whoever is genuine is welcome.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Peers(Vec<Peer>);

impl Peers {
    pub fn new(peers: Vec<Peer>) -> Self {
        Self(peers)
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub fn has_fingerprints(&self) -> bool {
        self.0.iter().any(|peer| matches!(peer, Peer::Fingerprint(_)))
    }

    pub fn has_names(&self) -> bool {
        self.0.iter().any(|peer| !matches!(peer, Peer::Fingerprint(_)))
    }

    /// Whether exactly this certificate is listed.
    pub(super) fn lists(&self, certificate: &CertificateDer<'_>) -> bool {
        if !self.has_fingerprints() {
            return false;
        }
        let print = Fingerprint::of(certificate);
        self.0.iter().any(|peer| matches!(peer, Peer::Fingerprint(listed) if *listed == print))
    }

    /// Whether a genuine certificate is welcome: one of its names is listed, or no name is.
    pub(super) fn names(&self, certificate: &CertificateDer<'_>) -> bool {
        self.is_empty() || self.listed_name(certificate).is_some()
    }

    /// The first of a certificate's names that is listed, as it stands there.
    pub(super) fn listed_name(&self, certificate: &[u8]) -> Option<String> {
        let names = Names::of(certificate);
        let common = names.common.as_ref().filter(|_| names.dns.is_empty());
        let carried = || names.dns.iter().chain(common);
        self.0.iter().find_map(|peer| match peer {
            Peer::Name(listed) => {
                carried().find(|name| agree(listed, &name.to_lowercase())).cloned()
            }
            Peer::Address(listed) => {
                let text = listed.to_string();
                let as_address = |address: &&IpAddr| address.to_canonical() == *listed;
                let found = names.addresses.iter().find(as_address).map(IpAddr::to_string);
                found.or_else(|| carried().find(|name| name.to_lowercase() == text).cloned())
            }
            Peer::Fingerprint(_) => None,
        })
    }
}

/// Equal, or equal behind the first label of whichever has `*` there.
fn agree(listed: &str, name: &str) -> bool {
    let name = name.trim_end_matches('.');
    let covers = |pattern: &str, name: &str| {
        let behind = pattern.strip_prefix("*.");
        let label = |rest| {
            name.split_once('.').is_some_and(|(first, all)| !first.is_empty() && all == rest)
        };
        behind.is_some_and(label)
    };
    listed == name || covers(listed, name) || covers(name, listed)
}

#[cfg(test)]
mod tests {
    use super::*;
    use rcgen::{CertificateParams, DnType, KeyPair, SanType};

    fn certificate(common: &str, dns: &[&str], address: Option<&str>) -> CertificateDer<'static> {
        let names: Vec<String> = dns.iter().map(|name| (*name).to_owned()).collect();
        let mut params = CertificateParams::new(names).unwrap();
        params.distinguished_name.push(DnType::CommonName, common);
        let address = address.map(|address| SanType::IpAddress(address.parse().unwrap()));
        params.subject_alt_names.extend(address);
        params.self_signed(&KeyPair::generate().unwrap()).unwrap().der().clone()
    }

    fn peers(texts: &[&str]) -> Peers {
        Peers::new(texts.iter().map(|text| Peer::parse(text).unwrap()).collect())
    }

    #[test]
    fn names_match_as_rfc_5425_says() {
        let cases: [(&[&str], &str, &[&str], bool); 14] = [
            (&[], "x", &[], true),
            (&["a.example"], "x", &["a.example"], true),
            (&["A.Example."], "x", &["a.eXample"], true),
            (&["b.example"], "x", &["a.example"], false),
            (&["b.example", "a.example"], "x", &["z.example", "a.example"], true),
            (&["*.example"], "x", &["a.example"], true),
            (&["*.example"], "x", &["a.b.example"], false),
            (&["*.example"], "x", &["example"], false),
            (&["a.example"], "x", &["*.example"], true),
            (&["a.b.example"], "x", &["*.example"], false),
            // The common name counts only where no DNS name stands.
            (&["host7"], "host7", &[], true),
            (&["host7"], "host7", &["other"], false),
            (&["192.0.2.9"], "192.0.2.9", &[], true),
            (&["*.example"], "x", &[".example"], false),
        ];
        for (listed, common, dns, expected) in cases {
            let dns: Vec<&str> = dns.to_vec();
            let certificate = certificate(common, &dns, None);
            assert_eq!(peers(listed).names(&certificate), expected, "{listed:?} {common} {dns:?}");
        }
        let many = certificate("x", &["z.other", "B.Example", "a.example"], None);
        assert_eq!(peers(&["a.example"]).listed_name(&many).as_deref(), Some("a.example"));
        assert_eq!(peers(&["*.example"]).listed_name(&many).as_deref(), Some("B.Example"));
        assert_eq!(peers(&["c.example"]).listed_name(&many), None);
        let address = certificate("x", &[], Some("2001:db8::1"));
        assert_eq!(peers(&["2001:DB8:0::1"]).listed_name(&address).as_deref(), Some("2001:db8::1"));
        assert!(peers(&["[2001:DB8:0::1]"]).names(&address));
        assert!(!peers(&["2001:db8::2"]).names(&address));
    }

    #[test]
    fn a_fingerprint_admits_one_certificate() {
        let (one, other) = (certificate("x", &["a"], None), certificate("x", &["a"], None));
        let listed = peers(&[&Fingerprint::of(&one).to_string()]);
        assert!(listed.lists(&one) && !listed.lists(&other));
        assert!(listed.has_fingerprints() && !listed.has_names());
        // A list of fingerprints admits nobody by name.
        assert!(!listed.names(&one) && !peers(&["a"]).lists(&one));
    }

    #[test]
    fn entries_that_mean_nothing_are_refused() {
        for bad in ["", ".", "a.*.example", "w*.example", "*", "**.a", "sha1:00", "a\nb"] {
            assert!(Peer::parse(bad).is_err(), "{bad:?}");
        }
    }
}
