//! The keys that a log is encrypted with, each under a number.
//!
//! ```text
//!   # number, and 32 bytes in hexadecimal digits: openssl rand -hex 32
//!   1  5f0c…e1
//!   2  a97b…04       the last one is written with, the others are only read with
//! ```
//! Changing keys is adding a line and starting again. A line may go when no segment written with
//! its key is left.

use std::path::Path;

use ring::aead::{AES_256_GCM, Aad, CHACHA20_POLY1305, LessSafeKey, Nonce, UnboundKey};

use super::record::{Cipher, Head, NONCE_BYTES, TAG_BYTES};
use crate::config::hex;
use crate::storage::{Disk, read_file};

const KEY_BYTES: usize = 32;
/// No key file is longer.
const FILE_BYTES_MAX: usize = 1 << 20;

/// Everything a key file has.
pub struct Keys {
    /// What is said of a key that is not there.
    missing: String,
    keys: Vec<Key>,
}

struct Key {
    number: u32,
    aes: LessSafeKey,
    chacha: LessSafeKey,
}

/// Why nothing can be read with a key.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Locked {
    #[error("it is encrypted with key {number}, {missing}")]
    NoKey { number: u32, missing: String },
    /// Altered, or another key of that number.
    #[error("it cannot be decrypted with key {0}")]
    Refused(u32),
}

impl Keys {
    /// Without any key.
    pub fn none() -> Self {
        Self { missing: "and no key file is given".to_owned(), keys: Vec::new() }
    }

    /// Reads the key file; the error says what is wrong with it, and where.
    pub fn read(disk: &dyn Disk, path: &Path) -> Result<Self, String> {
        let name = path.display().to_string();
        let bytes = read_file(disk, path, FILE_BYTES_MAX)
            .map_err(|error| format!("{name} cannot be read: {error}"))?;
        let text = String::from_utf8(bytes).map_err(|_| format!("{name} is no text"))?;
        Self::parse(&name, &text)
    }

    /// Takes the text of a key file; the error says which line is wrong, and how.
    pub fn parse(name: &str, text: &str) -> Result<Self, String> {
        let mut keys: Vec<Key> = Vec::new();
        for (line, text) in (1..).zip(text.lines()) {
            let text = text.split('#').next().unwrap_or_default();
            let mut words = text.split_whitespace();
            let Some(number) = words.next() else { continue };
            let number = number.parse().ok().filter(|number| *number > 0);
            let number: u32 = number.ok_or_else(|| {
                format!("{name}, line {line}: a key's number is 1 to {}", u32::MAX)
            })?;
            if keys.iter().any(|key| key.number == number) {
                return Err(format!("{name}, line {line}: there is a key {number} already"));
            }
            let digits = words.next().unwrap_or_default();
            let bytes = hex(digits).ok_or_else(|| {
                let count = digits.len();
                format!("{name}, line {line}: a key is 64 hexadecimal digits, not these {count}")
            })?;
            if words.next().is_some() {
                return Err(format!("{name}, line {line}: there is something behind the key"));
            }
            keys.push(Key::new(number, &bytes));
        }
        if keys.is_empty() {
            return Err(format!("{name} has no key"));
        }
        Ok(Self { missing: format!("which {name} does not have"), keys })
    }

    /// Encrypts in place with the newest key, and completes the head: cipher, key, nonce, tag.
    pub(super) fn seal(&self, cipher: Cipher, head: &mut Head, payload: &mut [u8]) {
        let key = self.keys.last().expect("who encrypts has a key");
        (head.cipher, head.key) = (cipher, key.number);
        let random =
            rustix::rand::getrandom(&mut head.nonce, rustix::rand::GetRandomFlags::empty());
        assert_eq!(random, Ok(NONCE_BYTES), "the kernel has random numbers");
        let aead = key.aead(cipher).expect("a cipher");
        let nonce = Nonce::assume_unique_for_key(head.nonce);
        let tag = aead.seal_in_place_separate_tag(nonce, Aad::from(head.bound()), payload);
        let tag = tag.expect("a batch is shorter than what a nonce is good for");
        head.tag.copy_from_slice(tag.as_ref());
    }

    /// Decrypts in place.
    pub(super) fn open(&self, head: &Head, payload: &mut [u8]) -> Result<(), Locked> {
        let number = head.key;
        let key = self.keys.iter().find(|key| key.number == number);
        let key = key.ok_or_else(|| Locked::NoKey { number, missing: self.missing.clone() })?;
        let Some(aead) = key.aead(head.cipher) else { return Ok(()) };
        let nonce = Nonce::assume_unique_for_key(head.nonce);
        let (bound, tag) = (Aad::from(head.bound()), head.tag.into());
        let opened = aead.open_in_place_separate_tag(nonce, bound, tag, payload, 0..);
        opened.map(|_| ()).map_err(|_| Locked::Refused(number))
    }
}

impl Key {
    fn new(number: u32, bytes: &[u8; KEY_BYTES]) -> Self {
        let key = |algorithm| {
            let key = UnboundKey::new(algorithm, bytes);
            LessSafeKey::new(key.expect("both take 32 bytes"))
        };
        Self { number, aes: key(&AES_256_GCM), chacha: key(&CHACHA20_POLY1305) }
    }

    fn aead(&self, cipher: Cipher) -> Option<&LessSafeKey> {
        match cipher {
            Cipher::None => None,
            Cipher::Aes256Gcm => Some(&self.aes),
            Cipher::ChaCha20Poly1305 => Some(&self.chacha),
        }
    }
}

const _: () = assert!(TAG_BYTES == ring::aead::MAX_TAG_LEN && NONCE_BYTES == ring::aead::NONCE_LEN);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::Outline;

    fn line(number: u32, byte: u8) -> String {
        format!("{number} {}\n", format!("{byte:02x}").repeat(KEY_BYTES))
    }

    fn error(text: &str) -> String {
        Keys::parse("keys", text).map(|_| ()).expect_err("wrong")
    }

    #[test]
    fn what_is_wrong_with_a_key_file_is_told_by_line() {
        let good = line(1, 0xAB);
        assert_eq!(error(""), "keys has no key");
        assert_eq!(error("# 1 aa\n"), "keys has no key");
        assert!(error(&format!("{good}\n0 aa")).starts_with("keys, line 3: a key's number"));
        assert!(error("1 abcd\n").contains("line 1: a key is 64 hexadecimal digits, not these 4"));
        assert!(error(&good.replace("ab", "zz")).contains("64 hexadecimal digits"));
        assert!(error(&format!("{good}{good}")).contains("line 2: there is a key 1 already"));
        assert!(error(&good.replace('\n', " more")).contains("something behind the key"));
    }

    #[test]
    fn what_one_key_sealed_only_that_key_opens() {
        let old = Keys::parse("keys", &line(1, 1)).expect("a key");
        let both = Keys::parse("keys", &(line(1, 1) + "# since May\n" + &line(7, 2))).expect("two");
        let other = Keys::parse("keys", &line(1, 3)).expect("a key");
        for cipher in [Cipher::Aes256Gcm, Cipher::ChaCha20Poly1305] {
            let mut head = Head::spread(Outline::default(), (0, 0));
            let mut payload = *b"secret";
            old.seal(cipher, &mut head, &mut payload);
            assert_ne!(&payload, b"secret");
            let open = |keys: &Keys, head: &Head| {
                let mut copy = payload;
                keys.open(head, &mut copy).map(|()| copy)
            };
            assert_eq!(open(&both, &head), Ok(*b"secret"));
            assert_eq!(open(&other, &head), Err(Locked::Refused(1)));
            let altered = Head { seq: 1, ..head };
            assert_eq!(open(&both, &altered), Err(Locked::Refused(1)));
            assert!(matches!(open(&Keys::none(), &head), Err(Locked::NoKey { number: 1, .. })));
            let mut newest = head;
            both.seal(cipher, &mut newest, &mut []);
            assert_eq!(newest.key, 7);
            // The same once more is written under another nonce.
            let (first, mut again) = (head.nonce, *b"secret");
            old.seal(cipher, &mut head, &mut again);
            assert!(head.nonce != first && again != payload);
        }
    }
}
