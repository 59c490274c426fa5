//! What a certificate says about its holder: names and fingerprint. No judgement: that a
//! certificate is genuine, in force and by somebody trusted is webpki's to say.
//!
//! ```text
//!   Certificate ─ tbs ─ [0] version, serial, algorithm, issuer, validity, SUBJECT, key,
//!                       [3] extensions ─ { oid, critical?, octets ─ SUBJECT ALT NAME }
//! ```
//! Names are kept only when they are printable: they become headers and stand in log lines.

use std::fmt::Write as _;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use rustls::crypto::ring::cipher_suite::TLS13_AES_128_GCM_SHA256;

/// Longest name that is kept; DNS allows 253 bytes, X.520 common names 64 characters.
pub const NAME_BYTES_MAX: usize = 255;

const SEQUENCE: u8 = 0x30;
const SET: u8 = 0x31;
const OBJECT_ID: u8 = 0x06;
const OCTETS: u8 = 0x04;
const VERSION: u8 = 0xa0;
const EXTENSIONS: u8 = 0xa3;
const ALTERNATIVE_DNS: u8 = 0x82;
const ALTERNATIVE_IP: u8 = 0x87;
const UTF8: u8 = 0x0c;
const PRINTABLE: u8 = 0x13;
const TELETEX: u8 = 0x14;
const IA5: u8 = 0x16;

/// 2.5.4.3 and 2.5.29.17.
const COMMON_NAME: &[u8] = &[0x55, 0x04, 0x03];
const SUBJECT_ALTERNATIVE_NAME: &[u8] = &[0x55, 0x1d, 0x11];

/// The SHA-256 of a whole certificate.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Fingerprint(pub [u8; 32]);

impl Fingerprint {
    pub fn of(certificate: &[u8]) -> Self {
        let suite = TLS13_AES_128_GCM_SHA256.tls13().expect("a suite of TLS 1.3");
        let hash = suite.common.hash_provider.hash(certificate);
        Self(hash.as_ref().try_into().expect("SHA-256 has 32 bytes"))
    }

    /// Reads `sha256:AB:CD…` or `sha-256:abcd…` (RFC 5425 4.2.2); the error is what is wrong.
    /// `None`: it is no fingerprint at all.
    pub fn parse(text: &str) -> Option<Result<Self, String>> {
        let (algorithm, digits) = text.split_once(':')?;
        let algorithm = algorithm.to_ascii_lowercase();
        match algorithm.as_str() {
            "sha256" | "sha-256" => {}
            "sha1" | "sha-1" | "md5" | "sha512" | "sha-512" | "sha384" | "sha-384" => {
                return Some(Err(format!("{algorithm} fingerprints are not taken, sha256 are")));
            }
            _ => return None,
        }
        let digits: String = digits.chars().filter(|digit| *digit != ':').collect();
        let mut bytes = [0; 32];
        if digits.len() != 64 || !digits.bytes().all(|digit| digit.is_ascii_hexdigit()) {
            return Some(Err("a sha256 fingerprint has 64 hexadecimal digits".to_owned()));
        }
        for (byte, pair) in bytes.iter_mut().zip(digits.as_bytes().chunks_exact(2)) {
            let pair = std::str::from_utf8(pair).expect("hexadecimal digits are ASCII");
            *byte = u8::from_str_radix(pair, 16).expect("two hexadecimal digits");
        }
        Some(Ok(Self(bytes)))
    }
}

impl std::fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("sha256")?;
        self.0.iter().try_for_each(|byte| write!(f, ":{byte:02X}"))
    }
}

impl std::fmt::Debug for Fingerprint {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{self}")
    }
}

/// The names in a certificate.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Names {
    /// dNSName entries of the subject alternative name.
    pub dns: Vec<String>,
    /// iPAddress entries.
    pub addresses: Vec<IpAddr>,
    /// The last common name of the subject.
    pub common: Option<String>,
}

impl Names {
    /// Whatever a certificate holds: what cannot be read is left out.
    pub fn of(certificate: &[u8]) -> Self {
        let mut names = Self::default();
        // Read as far as it goes; what was found stays.
        let _ = names.read(certificate);
        names
    }

    /// What to call the holder: the first DNS name, the common name, the first address.
    pub fn best(&self) -> Option<String> {
        let dns = self.dns.first().cloned();
        dns.or_else(|| self.common.clone())
            .or_else(|| self.addresses.first().map(IpAddr::to_string))
    }

    fn read(&mut self, certificate: &[u8]) -> Option<()> {
        let mut whole = Reader(certificate);
        let mut tbs = Reader(Reader(whole.open(SEQUENCE)?).open(SEQUENCE)?);
        tbs.skip_if(VERSION);
        // Serial, algorithm, issuer, validity.
        for _ in 0..4 {
            tbs.next()?;
        }
        self.read_subject(tbs.open(SEQUENCE)?);
        tbs.next()?;
        for (tag, content) in tbs {
            if tag == EXTENSIONS {
                self.read_extensions(Reader(content).open(SEQUENCE)?);
            }
        }
        Some(())
    }

    fn read_subject(&mut self, subject: &[u8]) {
        for (_, set) in Reader(subject).filter(|(tag, _)| *tag == SET) {
            for (_, pair) in Reader(set).filter(|(tag, _)| *tag == SEQUENCE) {
                let mut pair = Reader(pair);
                if pair.open(OBJECT_ID) != Some(COMMON_NAME) {
                    continue;
                }
                if let Some((UTF8 | PRINTABLE | TELETEX | IA5, text)) = pair.next() {
                    self.common = name(text).or_else(|| self.common.take());
                }
            }
        }
    }

    fn read_extensions(&mut self, extensions: &[u8]) {
        for (_, extension) in Reader(extensions).filter(|(tag, _)| *tag == SEQUENCE) {
            let mut extension = Reader(extension);
            if extension.open(OBJECT_ID) != Some(SUBJECT_ALTERNATIVE_NAME) {
                continue;
            }
            let Some((_, octets)) = extension.find(|(tag, _)| *tag == OCTETS) else { continue };
            let Some(entries) = Reader(octets).open(SEQUENCE) else { continue };
            for (tag, content) in Reader(entries) {
                match tag {
                    ALTERNATIVE_DNS => self.dns.extend(name(content)),
                    ALTERNATIVE_IP => self.addresses.extend(address(content)),
                    _ => {}
                }
            }
        }
    }
}

fn name(text: &[u8]) -> Option<String> {
    let text = std::str::from_utf8(text).ok()?;
    let fits = (1..=NAME_BYTES_MAX).contains(&text.len());
    (fits && !text.chars().any(char::is_control)).then(|| text.to_owned())
}

fn address(bytes: &[u8]) -> Option<IpAddr> {
    let four = <[u8; 4]>::try_from(bytes).map(|bytes| IpAddr::V4(Ipv4Addr::from(bytes)));
    let six = || <[u8; 16]>::try_from(bytes).map(|bytes| IpAddr::V6(Ipv6Addr::from(bytes)));
    four.or_else(|_| six()).ok()
}

/// Elements of DER, one after the other: tag, length, content. Ends at what is none.
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    /// The next element's content, when it has this tag.
    fn open(&mut self, tag: u8) -> Option<&'a [u8]> {
        self.next().and_then(|(found, content)| (found == tag).then_some(content))
    }

    fn skip_if(&mut self, tag: u8) {
        if self.0.first() == Some(&tag) {
            self.next();
        }
    }
}

impl<'a> Iterator for Reader<'a> {
    type Item = (u8, &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        let [tag, first, rest @ ..] = self.0 else { return None };
        let (length, rest) = match *first {
            short @ 0..=0x7f => (usize::from(short), rest),
            long @ 0x81..=0x84 => {
                let (digits, rest) = rest.split_at_checked(usize::from(long & 0x7f))?;
                let sum = digits.iter().fold(0, |sum, digit| sum << 8 | usize::from(*digit));
                (sum, rest)
            }
            _ => return None,
        };
        let (content, rest) = rest.split_at_checked(length)?;
        self.0 = rest;
        Some((*tag, content))
    }
}

/// Printable, for a message: the holder's name, or else the fingerprint.
pub fn describe(certificate: &[u8]) -> String {
    let mut text = String::new();
    match Names::of(certificate).best() {
        Some(name) => write!(text, "`{name}`"),
        None => write!(text, "{}", Fingerprint::of(certificate)),
    }
    .expect("writing to a string");
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use rcgen::{CertificateParams, DnType, KeyPair, SanType};

    fn certificate(common: Option<&str>, others: Vec<SanType>) -> Vec<u8> {
        let mut params = CertificateParams::default();
        params.distinguished_name = rcgen::DistinguishedName::new();
        params.distinguished_name.push(DnType::OrganizationName, "Org");
        if let Some(common) = common {
            params.distinguished_name.push(DnType::CommonName, common);
        }
        params.subject_alt_names = others;
        let key = KeyPair::generate().unwrap();
        params.self_signed(&key).unwrap().der().to_vec()
    }

    fn dns(name: &str) -> SanType {
        SanType::DnsName(name.try_into().unwrap())
    }

    #[test]
    fn all_names_are_found_and_the_best_is_chosen() {
        let address = SanType::IpAddress("2001:db8::1".parse().unwrap());
        let four = SanType::IpAddress("192.0.2.1".parse().unwrap());
        let mail = SanType::Rfc822Name("a@b".try_into().unwrap());
        let all = vec![mail, address, dns("one.example"), dns("*.two.example"), four];
        let names = Names::of(&certificate(Some("common"), all.clone()));
        assert_eq!(names.dns, ["one.example", "*.two.example"]);
        let addresses: [IpAddr; 2] = ["2001:db8::1".parse().unwrap(), "192.0.2.1".parse().unwrap()];
        assert_eq!(names.addresses, addresses);
        assert_eq!(names.common.as_deref(), Some("common"));
        assert_eq!(names.best().as_deref(), Some("one.example"));
        assert_eq!(Names::of(&certificate(None, vec![])), Names::default());
        let common = Names::of(&certificate(Some("Gerät 7"), vec![all[1].clone()]));
        assert_eq!(common.best().as_deref(), Some("Gerät 7"));
        // Nothing that could forge a log line becomes a name.
        for bad in ["a\nb", "a\0b", "a\u{1b}[0m"] {
            assert_eq!(Names::of(&certificate(Some(bad), vec![])).best(), None, "{bad:?}");
        }
        assert!(describe(&certificate(None, vec![])).starts_with("sha256:"));
    }

    #[test]
    fn fingerprints_are_read_as_they_are_printed() {
        let print = Fingerprint::of(b"abc");
        let text = print.to_string();
        assert!(text.starts_with("sha256:BA:78:16:BF:8F:01:CF:EA"), "{text}");
        for same in [text.clone(), text.replace("sha256", "SHA-256"), text.to_ascii_lowercase()] {
            assert_eq!(Fingerprint::parse(&same), Some(Ok(print)), "{same}");
        }
        let plain = format!("sha256:{}", text.replace("sha256", "").replace(':', ""));
        assert_eq!(Fingerprint::parse(&plain), Some(Ok(print)));
        for bad in ["sha1:AB", "sha256:AB", "sha-512:00", &text.replace("BA", "G0")] {
            assert!(Fingerprint::parse(bad).unwrap().is_err(), "{bad}");
        }
        for other in ["a.example", "2001:db8::1", "*"] {
            assert_eq!(Fingerprint::parse(other), None, "{other}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_without_a_panic(
            bytes in prop::collection::vec(any::<u8>(), 0..300),
            at in any::<prop::sample::Index>(),
            value in any::<u8>(),
        ) {
            let _ = Names::of(&bytes);
            let mut near = certificate(Some("x"), vec![dns("a.example")]);
            let at = at.index(near.len());
            near[at] = value;
            let _ = Names::of(&near);
            let _ = Names::of(&near[..at]);
        }
    }
}
