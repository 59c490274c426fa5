//! Ed25519 keys as `openssl` writes them, for signing seals and for checking signatures.
//!
//! ```sh
//! openssl genpkey -algorithm ed25519 -out seal.pem      # BEGIN PRIVATE KEY: PKCS#8
//! openssl pkey -in seal.pem -pubout -out seal.pub       # BEGIN PUBLIC KEY: SubjectPublicKeyInfo
//! openssl pkey -in seal.pub -pubin -outform der | sha256sum            # its fingerprint
//! ```

use std::fmt;

use ring::digest::{SHA256, digest};
use ring::signature::{ED25519, Ed25519KeyPair, KeyPair, UnparsedPublicKey};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{PrivateKeyDer, SubjectPublicKeyInfoDer};

pub const SIGNATURE_BYTES: usize = 64;
const PUBLIC_BYTES: usize = 32;
/// What stands before the 32 bytes of a public Ed25519 key (RFC 8410).
const PUBLIC_PREFIX: [u8; 12] = [0x30, 0x2a, 0x30, 5, 6, 3, 0x2b, 0x65, 0x70, 3, 0x21, 0];
/// No key file is longer.
pub const FILE_BYTES_MAX: usize = 64 << 10;

pub const MAKE: &str = "make one with `openssl genpkey -algorithm ed25519 -out seal.pem`";
const PUBLISH: &str = "make it with `openssl pkey -in seal.pem -pubout -out seal.pub`";

/// Names a public key: the SHA-256 of its SubjectPublicKeyInfo.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fingerprint(pub [u8; 32]);

/// Signs seals.
pub struct SigningKey(Ed25519KeyPair);

/// Checks signatures.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VerifyingKey([u8; PUBLIC_BYTES]);

/// What is wrong with a key, and what to do about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{what}")]
pub struct KeyError {
    pub what: &'static str,
    pub remedy: &'static str,
}

impl SigningKey {
    pub fn from_pem(pem: &[u8]) -> Result<Self, KeyError> {
        let error = |what, remedy| KeyError { what, remedy };
        let key = PrivateKeyDer::from_pem_slice(pem).map_err(|_| {
            if memchr::memmem::find(pem, b"ENCRYPTED").is_some() {
                let remedy = "take its pass phrase off: `openssl pkey -in OLD -out NEW`";
                return error("is encrypted", remedy);
            }
            let public = memchr::memmem::find(pem, b"BEGIN PUBLIC KEY").is_some();
            let what = if public { "holds a public key" } else { "holds no private key in PEM" };
            error(what, if public { "give the private one, which signs" } else { MAKE })
        })?;
        let other = error("holds a key of another kind than Ed25519", MAKE);
        let PrivateKeyDer::Pkcs8(key) = key else { return Err(other) };
        // Unchecked is that the file tells the public key, too: openssl's does not.
        let pair = Ed25519KeyPair::from_pkcs8_maybe_unchecked(key.secret_pkcs8_der());
        pair.map(Self).map_err(|_| other)
    }

    pub fn sign(&self, message: &[u8]) -> [u8; SIGNATURE_BYTES] {
        let signature = self.0.sign(message);
        signature.as_ref().try_into().expect("a signature has 64 bytes")
    }

    pub fn fingerprint(&self) -> Fingerprint {
        self.public().fingerprint()
    }

    pub fn public(&self) -> VerifyingKey {
        let bytes = self.0.public_key().as_ref();
        VerifyingKey(bytes.try_into().expect("a public key has 32 bytes"))
    }
}

impl VerifyingKey {
    pub fn from_pem(pem: &[u8]) -> Result<Self, KeyError> {
        let error = |what, remedy| KeyError { what, remedy };
        let key = SubjectPublicKeyInfoDer::from_pem_slice(pem).map_err(|_| {
            let private = memchr::memmem::find(pem, b"PRIVATE KEY").is_some();
            let what = if private { "holds a private key" } else { "holds no public key in PEM" };
            error(what, PUBLISH)
        })?;
        let bytes = key.as_ref().strip_prefix(&PUBLIC_PREFIX).and_then(|it| it.try_into().ok());
        bytes.map(Self).ok_or_else(|| error("holds a key of another kind than Ed25519", PUBLISH))
    }

    pub fn verify(&self, message: &[u8], signature: &[u8; SIGNATURE_BYTES]) -> bool {
        UnparsedPublicKey::new(&ED25519, self.0).verify(message, signature).is_ok()
    }

    pub fn fingerprint(&self) -> Fingerprint {
        let whole = [&PUBLIC_PREFIX[..], &self.0].concat();
        let digest = digest(&SHA256, &whole);
        Fingerprint(digest.as_ref().try_into().expect("SHA-256 has 32 bytes"))
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SigningKey({})", self.fingerprint())
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("sha256:")?;
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    pub(crate) const PRIVATE: &str = "-----BEGIN PRIVATE KEY-----\n\
        MC4CAQAwBQYDK2VwBCIEIOsFhelLH7udTbW9egFL7uk35mFPX6nrgwbQxo6/PFum\n\
        -----END PRIVATE KEY-----\n";
    pub(crate) const PUBLIC: &str = "-----BEGIN PUBLIC KEY-----\n\
        MCowBQYDK2VwAyEATFU59s1CjAzhL4u4/W0NgeagdK58it39Z7vfRelbmZI=\n\
        -----END PUBLIC KEY-----\n";
    pub(crate) const OTHER: &str = "-----BEGIN PUBLIC KEY-----\n\
        MCowBQYDK2VwAyEAOqbUjYauB3JJwD5/e30porS5SbgbGVEOIJK2n0TCFBM=\n\
        -----END PUBLIC KEY-----\n";
    const P256: &str = "-----BEGIN PRIVATE KEY-----\n\
        MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgqYATcNuS9OpLsOlh\n\
        Qlu8pyv2jozXaUVLW/Fe1/rfGBKhRANCAATjDZhHUqad9J9fGfROj8bF8nrfgbdO\n\
        16LzvRx0GlPpRhKfENLQ81Tm+2MBc3iV4eBS1B67vLh4c42mDixqmhUO\n\
        -----END PRIVATE KEY-----\n";
    const P256_PUBLIC: &str = "-----BEGIN PUBLIC KEY-----\n\
        MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAE4w2YR1KmnfSfXxn0To/GxfJ634G3\n\
        Ttei870cdBpT6UYSnxDS0PNU5vtjAXN4leHgUtQeu7y4eHONpg4sapoVDg==\n\
        -----END PUBLIC KEY-----\n";
    const FINGERPRINT: &str =
        "sha256:0ac00f2c60bf17297cb275600a43d14463da05ec4ec97f402b96041461a5fe3f";

    #[test]
    fn keys_of_openssl_sign_and_verify() {
        let private = SigningKey::from_pem(PRIVATE.as_bytes()).unwrap();
        let public = VerifyingKey::from_pem(PUBLIC.as_bytes()).unwrap();
        assert_eq!(private.public(), public);
        // What `openssl pkey -pubin -outform der | sha256sum` prints.
        assert_eq!(public.fingerprint().to_string(), FINGERPRINT);
        assert_eq!(format!("{private:?}"), format!("SigningKey({FINGERPRINT})"));
        let mut signature = private.sign(b"message");
        assert!(public.verify(b"message", &signature) && !public.verify(b"massage", &signature));
        signature[0] ^= 1;
        assert!(!public.verify(b"message", &signature));
        assert!(VerifyingKey::from_pem(OTHER.as_bytes()).unwrap() != public);
    }

    #[test]
    fn what_is_no_key_of_the_kind_is_told() {
        let signing = |pem: &str| SigningKey::from_pem(pem.as_bytes()).unwrap_err().what;
        let verifying = |pem: &str| VerifyingKey::from_pem(pem.as_bytes()).unwrap_err().what;
        assert_eq!(
            (signing(""), verifying("")),
            ("holds no private key in PEM", "holds no public key in PEM")
        );
        assert_eq!(
            (signing(PUBLIC), verifying(PRIVATE)),
            ("holds a public key", "holds a private key")
        );
        let kind = "holds a key of another kind than Ed25519";
        assert_eq!((signing(P256), verifying(P256_PUBLIC)), (kind, kind));
        let encrypted = PRIVATE.replace("PRIVATE", "ENCRYPTED PRIVATE");
        assert_eq!(signing(&encrypted), "is encrypted");
        let cut = PRIVATE.replace("MC4CAQAw", "MC4CAQA");
        SigningKey::from_pem(cut.as_bytes()).unwrap_err();
    }
}
