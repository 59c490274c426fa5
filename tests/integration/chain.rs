//! `chain` and `seal_key`: an agent's files with keys that openssl made, read by stock tools and by
//! `flumen verify`; altered and cut off by somebody who mends every checksum; left by a killed
//! agent.

use crate::commands::{Said, flumen, said};
use crate::harness::{Agent, SYSLOG_TO_FILE, paths, until, write_configuration};
use crate::peers::{peer, run};
use flumen::codec::Codec;
use flumen::storage::Container;
use flumen::storage::block::{BlockFacts, decode_whole, seal_block_with, stamp};
use flumen::storage::index::index_frames;
use flumen::storage::segment::{BlockEntry, Check, End, scan};
use rustix::process::Signal;
use std::io::Write;
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use tempfile::TempDir;

/// A key pair in the folder, as the manual says to make one.
fn keys(openssl: &Path, dir: &Path) -> [PathBuf; 2] {
    let [private, public] = ["seal.pem", "seal.pub"].map(|name| dir.join(name));
    run(Command::new(openssl).args(["genpkey", "-algorithm", "ed25519", "-out"]).arg(&private));
    std::fs::set_permissions(&private, std::fs::Permissions::from_mode(0o600)).unwrap();
    run(Command::new(openssl)
        .arg("pkey")
        .arg("-in")
        .arg(&private)
        .arg("-pubout")
        .arg("-out")
        .arg(&public));
    [private, public]
}

/// What `openssl pkey -pubin -outform der | sha256sum` prints, as seals name it.
fn fingerprint(openssl: &Path, public: &Path) -> String {
    let mut der = Command::new(openssl);
    der.args(["pkey", "-pubin", "-outform", "der", "-in"]).arg(public);
    let der = der.output().unwrap().stdout;
    let digest = ring::digest::digest(&ring::digest::SHA256, &der);
    let digits: String = digest.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
    format!("sha256:{digits}")
}

fn config(codec: &str, path: &str, more: &str) -> String {
    let small = "block = { bytes = \"8KiB\", age = \"50ms\" }\nthreads = 2\nchain = true\n\
                 seal_key = \"{dir}/seal.pem\"\n";
    SYSLOG_TO_FILE
        .replace(r#"block   = { age = "50ms" }"#, &[small, more].concat())
        .replace(r#""zstd""#, &format!("{codec:?}"))
        .replace("{dir}/out.log", &format!("{{dir}}/logs/{path}"))
}

fn lines(round: usize) -> Vec<String> {
    let line = |n| format!("<34>Oct 11 22:14:15 web{} su: {round} number {n} of many", n % 2);
    (0..800).map(line).collect()
}

/// Two rounds of lines, and a roll between them; a file of each.
fn fill(agent: &Agent, logs: &Path, files: usize) -> Vec<String> {
    let mut stream = TcpStream::connect(agent.tcp("net")).unwrap();
    let mut sent = Vec::new();
    for round in 0..2 {
        // Written before the next are sent: they are in blocks of their own.
        for fresh in lines(round).chunks(200) {
            stream.write_all((fresh.join("\n") + "\n").as_bytes()).unwrap();
            sent.extend_from_slice(fresh);
            agent.wait_for(sent.len() as u64);
        }
        if round == 0 {
            agent.signal(Signal::USR1);
            let finished = || paths(logs, "").iter().filter(|it| !is_open(it)).count();
            assert!(until(|| finished() == files), "{:?}\n{}", paths(logs, ""), agent.log());
        }
    }
    sent
}

fn is_open(path: &Path) -> bool {
    path.to_str().unwrap().ends_with(".open")
}

fn verify(logs: &Path, key: Option<&Path>) -> Said {
    let mut command = flumen("verify");
    command.arg(logs);
    key.map(|key| command.arg("--key").arg(key));
    said(&mut command)
}

#[test]
fn an_agents_files_are_chained_and_signed() {
    let Some(openssl) = peer("openssl") else { return };
    let cases = [
        ("zstd", "out.log", 1, ""),
        ("gzip", "out.log", 1, "keep_meta = true\ntokens = true\n"),
        ("lz4", "%{host}.log", 2, "keep_meta = true\nsync = \"block\"\n"),
    ];
    for (codec, path, files, more) in cases {
        let dir = TempDir::new().unwrap();
        let [_, public] = keys(&openssl, dir.path());
        let agent = Agent::start_in(dir, &config(codec, path, more));
        let logs = agent.dir.path().join("logs");
        let sent = fill(&agent, &logs, files);
        let dir = agent.stop().well().dir;
        let sound = verify(&logs, Some(&public));
        let chained = format!("chained: {0} files, {0} sealed ({0} of them signed", 2 * files);
        assert!(sound.out.contains(&chained), "{codec}: {}", sound.out);
        assert_eq!((sound.code, sound.err.as_str()), (Some(0), ""), "{}", sound.out);
        assert!(sound.out.contains(" 1600 events, "), "{}", sound.out);
        let named = fingerprint(&openssl, &public);
        // Whoever knows nothing of it reads what was sent.
        let mut texts = Vec::new();
        for file in paths(&logs, "") {
            let Some(tool) = peer(codec) else { continue };
            let output = Command::new(tool).arg("-dc").arg(&file).output().unwrap();
            assert!(output.status.success(), "{codec}: {output:?}");
            let cat = said(flumen("cat").arg(&file)).out;
            assert_eq!(String::from_utf8(output.stdout).unwrap(), cat);
            texts.extend(cat.lines().map(str::to_owned));
            let inspect = said(flumen("inspect").arg(&file));
            assert_eq!(inspect.code, Some(0), "{}", inspect.out);
            let seal = inspect.out.lines().last().unwrap();
            assert!(seal.starts_with("seal: ") && seal.contains(&named), "{seal} {named}");
        }
        texts.sort_unstable();
        let mut sent = sent;
        sent.sort_unstable();
        assert!(texts.is_empty() || texts == sent, "{codec}: {} lines", texts.len());
        for file in paths(&logs, "") {
            check_forgeries(&file, codec, &public);
        }
        drop(dir);
    }
}

/// Blocks of a file, in bytes.
struct Pieces {
    container: Container,
    id: u64,
    blocks: Vec<Vec<u8>>,
}

impl Pieces {
    fn of(path: &Path) -> Self {
        let file = std::fs::read(path).unwrap();
        let found = scan(&&file[..], Check::Stored).unwrap();
        assert_eq!(found.end, End::Sealed);
        let bytes =
            |block: &BlockEntry| file[block.offset as usize..block.end_offset() as usize].to_vec();
        let blocks = found.blocks.iter().map(bytes).collect();
        Self { container: found.container.unwrap(), id: found.segment_id, blocks }
    }

    fn offset(&self, block: usize) -> usize {
        self.blocks[..block].iter().map(Vec::len).sum()
    }

    /// All numbers and checksums mended, and a new index behind them.
    fn put(mut self, path: &Path) {
        let (mut file, mut entries) = (Vec::new(), Vec::new());
        for (number, block) in self.blocks.iter_mut().enumerate() {
            stamp(self.container, block, self.id, number as u64);
            entries.push(BlockEntry::of_block(file.len() as u64, block).unwrap());
            file.extend_from_slice(block);
        }
        index_frames(self.container, self.id, &entries, &mut file);
        std::fs::write(path, file).unwrap();
    }

    /// Another word in a block, and what else its header says as before.
    fn alter(&mut self, number: usize) {
        let block = &self.blocks[number];
        let (header, fields) = decode_whole(block).unwrap();
        let at = block.len() - header.stored_bytes as usize;
        let codec = Codec::from_wire_id(self.container.wire_id()).unwrap();
        let mut raw = Vec::new();
        let raw_bytes = header.raw_bytes as usize;
        codec.decompressor().decompress(&block[at..], raw_bytes, &mut raw).unwrap();
        let text = String::from_utf8(raw).unwrap().replacen(" of many", " of none", 1);
        let facts = BlockFacts {
            container: self.container,
            encoder: header.encoder,
            event_count: header.event_count,
            time_min: header.time_min,
            time_max: header.time_max,
        };
        let (mut other, mut compressor) = (Vec::new(), codec.compressor(1));
        let compress = |raw: &[u8], out: &mut Vec<u8>| compressor.compress(raw, out);
        seal_block_with(&mut other, &facts, fields, text.as_bytes(), compress).unwrap();
        self.blocks[number] = other;
    }
}

/// What somebody may do to a file who knows its format: each is named, and where.
fn check_forgeries(path: &Path, codec: &str, public: &Path) {
    let whole = std::fs::read(path).unwrap();
    let count = Pieces::of(path).blocks.len();
    assert!(count >= 5, "{codec}: {count} blocks");
    let forge = |change: &dyn Fn(&mut Pieces)| {
        let mut pieces = Pieces::of(path);
        change(&mut pieces);
        pieces.put(path);
        let said = [None, Some(public)].map(|key| verify(path, key));
        std::fs::write(path, &whole).unwrap();
        said
    };
    for number in 0..count - 1 {
        let at = Pieces::of(path).offset(number);
        for said in forge(&|pieces| pieces.alter(number)) {
            let named = format!("{}: block {number} at byte {at}: it was altered", path.display());
            assert!(said.out.starts_with(&named), "{codec}: {}", said.out);
            assert_eq!(said.code, Some(1));
        }
        for said in forge(&|pieces| drop(pieces.blocks.remove(number))) {
            let named = format!("{}: block {number} at byte {at}: it ", path.display());
            assert!(said.out.starts_with(&named), "{codec}: {}", said.out);
            assert_eq!(said.code, Some(1));
        }
    }
    for said in forge(&|pieces| pieces.blocks.swap(1, 2)) {
        let named = format!("{}: block 1 at byte ", path.display());
        assert!(said.out.starts_with(&named) && said.code == Some(1), "{codec}: {}", said.out);
    }
    for kept in [count - 1, 1] {
        let [bare, keyed] = forge(&|pieces| pieces.blocks.truncate(kept));
        let unsealed = format!("{}: not sealed: the agent did not finish it", path.display());
        assert!(bare.out.starts_with(&unsealed), "{codec}: {}", bare.out);
        assert!(keyed.out.starts_with(&unsealed), "{codec}: {}", keyed.out);
        assert_eq!((bare.code, keyed.code), (Some(0), Some(1)));
    }
    assert_eq!(verify(path, Some(public)).code, Some(0), "it is whole again");
}

#[test]
fn what_a_killed_agent_leaves_is_chained_and_not_sealed() {
    let Some(openssl) = peer("openssl") else { return };
    let dir = TempDir::new().unwrap();
    let [_, public] = keys(&openssl, dir.path());
    let agent = Agent::start_in(dir, &config("zstd", "out.log", ""));
    let logs = agent.dir.path().join("logs");
    fill(&agent, &logs, 1);
    let dir = agent.kill();
    let killed = verify(&logs, Some(&public));
    assert_eq!(killed.code, Some(0), "{}", killed.out);
    let told = "chained: 2 files, 1 sealed (1 of them signed with the key), 0 not sealed, \
                1 in progress";
    assert!(killed.out.starts_with(told), "{}", killed.out);
    assert_eq!(said(flumen("repair").arg(&logs)).code, Some(0));
    let repaired = verify(&logs, None);
    assert!(repaired.out.contains("out.log.1.zst: not sealed: the agent did not finish it\n"));
    assert_eq!(repaired.code, Some(0), "{}", repaired.out);
    let keyed = verify(&logs, Some(&public));
    assert_eq!(keyed.code, Some(1), "{}", keyed.out);
    // The next agent goes on in a file of its own.
    let agent = Agent::start_in(dir, &config("zstd", "out.log", ""));
    fill(&agent, &logs, 3);
    let dir = agent.stop().well().dir;
    let all = said(flumen("verify --json").arg(&logs).arg("--key").arg(&public));
    let value: serde_json::Value = serde_json::from_str(&all.out).unwrap();
    let chained = &value["chained"];
    assert_eq!((&chained["files"], &chained["signed"]), (&4.into(), &3.into()), "{value}");
    assert_eq!(value["bad"].as_array().unwrap().len(), 1, "{value}");
    assert!(chained["unsealed"][0].as_str().unwrap().ends_with("out.log.1.zst"));
    drop(dir);
}

#[test]
fn keys_that_are_none_are_told_by_check_and_by_verify() {
    let Some(openssl) = peer("openssl") else { return };
    let dir = TempDir::new().unwrap();
    let [private, public] = keys(&openssl, dir.path());
    let file = write_configuration(&dir, &config("zstd", "out.log", ""));
    let check = || said(flumen("check").arg(&file));
    let well = check();
    assert_eq!((well.code, well.err.as_str()), (Some(0), ""));
    assert!(!dir.path().join("logs").exists(), "it creates nothing");
    let refused = |what: &str| {
        let told = check();
        assert!(told.code == Some(2) && told.err.contains(what), "{what}: {}", told.err);
    };
    std::fs::set_permissions(&private, std::fs::Permissions::from_mode(0o644)).unwrap();
    refused("may be used by anybody (mode 0644)");
    std::fs::set_permissions(&private, std::fs::Permissions::from_mode(0o600)).unwrap();
    let whole = std::fs::read(&private).unwrap();
    let curve = ["genpkey", "-algorithm", "X25519", "-out"];
    run(Command::new(&openssl).args(curve).arg(&private));
    refused("holds a key of another kind than Ed25519");
    std::fs::copy(&public, &private).unwrap();
    refused("holds a public key");
    std::fs::remove_file(&private).unwrap();
    refused("cannot be read: No such file or directory");
    std::fs::write(&private, whole).unwrap();

    for (key, what) in [(&private, "holds a private key"), (&file, "holds no public key in PEM")] {
        let told = verify(dir.path(), Some(key));
        assert!(told.code == Some(2) && told.err.contains(what), "{}", told.err);
        assert!(told.err.contains("openssl pkey -in seal.pem -pubout"), "{}", told.err);
    }
    let told = verify(dir.path(), Some(&dir.path().join("none")));
    assert!(told.code == Some(2) && told.err.contains("cannot be read"), "{}", told.err);
    let none = write_configuration(&dir, &config("none", "out.log", ""));
    let told = said(flumen("check").arg(none));
    assert!(told.code == Some(2) && told.err.contains("plain text has no headers to keep hashes"));
}
