//! Options `chain` and `seal_key`: whether blocks are chained, and who signs what ends a chain.
//!
//! The key is read when the configuration is: what is wrong with it is told by `flumen check`.

use std::path::Path;
use std::sync::Arc;

use super::block::container_of;
use super::options::check_headers;
use crate::codec::Codec;
use crate::config::{OptionDoc, Section};
use crate::storage::seal::Sealer;
use crate::storage::seal_key::{FILE_BYTES_MAX, MAKE, SigningKey};
use crate::storage::{Container, OsDisk, read_file};
use crate::sys::permissions;

pub(super) const CHAIN: OptionDoc = OptionDoc {
    name: "chain",
    default: Some("false"),
    doc: "hashes in headers of blocks, each over all before it: flumen verify names alterations",
};

pub(super) const SEAL_KEY: OptionDoc = OptionDoc {
    name: "seal_key",
    default: Some(""),
    doc: "PEM file: the Ed25519 key that signs the chain of each finished file",
};

/// Others may not even read it, and its group may not write it.
const MODE_REFUSED: u32 = 0o027;

#[derive(Clone)]
pub(super) struct Chain {
    key: Option<Arc<SigningKey>>,
}

impl Chain {
    pub(super) fn plan(section: &Section, container: Container) -> Option<Self> {
        let asked = section.flag(CHAIN.name);
        let path = section.optional_text(SEAL_KEY.name);
        if asked {
            check_headers(section, CHAIN.name, "hashes", container);
        }
        if !asked && path.is_some() {
            let what = "`seal_key` signs chains, and there are none";
            section.fail(SEAL_KEY.name, what, "write `chain = true` beside it");
        }
        let key = path.and_then(|path| signing_key(section, Path::new(&path)));
        asked.then(|| Self { key: key.map(Arc::new) })
    }

    pub(super) fn sealer(&self, codec: Codec, level: i32) -> Arc<Sealer> {
        let mut empty = Vec::new();
        codec
            .compressor(level)
            .compress(b"", &mut empty)
            .unwrap_or_else(|error| panic!("nothing could not be compressed: {error}"));
        let key = self.key.clone();
        Arc::new(Sealer { container: container_of(codec), empty, key })
    }
}

fn signing_key(section: &Section, path: &Path) -> Option<SigningKey> {
    let name = path.display();
    let refuse = |what: String, remedy: &str| section.fail(SEAL_KEY.name, what, remedy);
    let mode = match permissions::mode(path) {
        Ok(mode) => mode,
        Err(error) => {
            refuse(format!("`{name}` cannot be read: {error}"), MAKE);
            return None;
        }
    };
    if mode & MODE_REFUSED != 0 {
        let whose = if mode & 0o007 == 0 { "written by its group" } else { "used by anybody" };
        refuse(format!("`{name}` may be {whose} (mode {mode:04o})"), &format!("chmod 600 {name}"));
    }
    let pem = match read_file(&OsDisk, path, FILE_BYTES_MAX) {
        Ok(pem) => pem,
        Err(error) => {
            let remedy = "let the user that the agent runs as read it, and nobody else";
            refuse(format!("`{name}` cannot be read: {error}"), remedy);
            return None;
        }
    };
    let key = SigningKey::from_pem(&pem);
    key.inspect_err(|error| refuse(format!("`{name}` {error}"), error.remedy)).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storage::seal_key::tests::{PRIVATE, PUBLIC};
    use std::os::unix::fs::PermissionsExt;

    const OPTIONS: &[OptionDoc] = &[CHAIN, SEAL_KEY];

    fn told(text: &str) -> Vec<String> {
        let section = Section::parse(text, OPTIONS);
        Chain::plan(&section, Container::Zstd);
        section.diagnostics().lines()
    }

    #[test]
    fn what_is_wrong_with_a_key_is_told() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("seal.pem");
        let text = format!("chain = true\nseal_key = '{}'", path.display());
        let put = |contents: &str, mode: u32| {
            std::fs::write(&path, contents).unwrap();
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
        };
        let one = |said: Vec<String>, what: &str| {
            assert!(said.len() == 1 && said[0].contains(what), "{what}: {said:?}");
        };
        one(told(&text), "cannot be read: No such file or directory");
        put(PRIVATE, 0o600);
        assert_eq!(told(&text), [""; 0]);
        one(told(&text.replace("chain = true", "")), "there are none (write `chain = true`");
        put(PRIVATE, 0o640);
        assert_eq!(told(&text), [""; 0], "a group may read it");
        put(PRIVATE, 0o644);
        one(told(&text), "may be used by anybody (mode 0644) (chmod 600 ");
        put(PRIVATE, 0o620);
        one(told(&text), "may be written by its group (mode 0620)");
        put(PUBLIC, 0o600);
        one(told(&text), "holds a public key (give the private one");
        put("", 0o600);
        one(told(&text), "holds no private key in PEM (make one with `openssl genpkey");
        let folder = format!("chain = true\nseal_key = '{}'", dir.path().display());
        assert!(!told(&folder).is_empty());
    }

    #[test]
    fn the_shortest_frames_are_nothing() {
        let section = Section::parse("chain = true", OPTIONS);
        let chain = Chain::plan(&section, Container::Zstd).expect("asked for");
        for codec in [Codec::Zstd, Codec::Gzip, Codec::Lz4] {
            let sealer = chain.sealer(codec, 1);
            let mut raw = Vec::new();
            codec.decompressor().decompress(&sealer.empty, 0, &mut raw).unwrap();
            assert!(raw.is_empty() && sealer.key.is_none(), "{codec}");
        }
    }
}
