//! Logs of durable channels written by earlier versions: read for ever, by whoever looks and by
//! an agent that delivers them.
//!
//! Each folder of `logs/` is a channel's directory as an agent left it that was killed; the file
//! `events` holds what waited in each of them, a line each. They are never written anew: a new
//! format version, or a new way to store a batch, adds a folder. Encrypted ones have the key below.

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

fn folder(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/compat/logs").join(name)
}

fn flumen(arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_flumen"));
    command.args(arguments).stdin(Stdio::null()).output().expect("it runs")
}

fn said(output: &Output) -> String {
    let [out, errors] = [&output.stdout, &output.stderr].map(|it| String::from_utf8_lossy(it));
    format!("{}\n{out}\n{errors}", output.status)
}

/// An agent that delivers what waits, and ends: its only source has nothing.
const AGENT: &str = r#"
[agent]
admin  = "off"
cores  = "none"
memory = "32MiB"

[sources.in]
type = "stdin"

[channels.main]
type     = "file"
path     = "{dir}/log"
capacity = "24MiB"
segment  = "2MiB"
reserve  = "0"
{more}

[sinks.out]
type  = "file"
path  = "{dir}/out.log"
codec = "none"
"#;

const KEYS: &str = "1 000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f\n";

fn check(name: &str, encrypted: bool) {
    let expected = std::fs::read(folder("events")).expect("kept for ever");
    assert_eq!(expected.split(|byte| *byte == b'\n').count(), 164 + 1);
    let dir = tempfile::tempdir().expect("a folder");
    let log = dir.path().join("log");
    std::fs::create_dir(&log).expect("a folder");
    let mut segments = 0;
    for entry in std::fs::read_dir(folder(name)).expect("kept for ever") {
        let entry = entry.expect("an entry");
        if entry.file_name().to_string_lossy().starts_with("segment.") {
            std::fs::copy(entry.path(), log.join(entry.file_name())).expect("copied");
            segments += 1;
        }
    }
    assert!(segments > 0, "{name}");

    let keys = dir.path().join("keys");
    std::fs::write(&keys, KEYS).expect("written");
    std::fs::set_permissions(&keys, Permissions::from_mode(0o600)).expect("it is ours");
    let path = log.to_str().expect("UTF-8");
    let verified = flumen(&["channel", "verify", path]);
    assert!(verified.status.success(), "{name}: {}", said(&verified));
    let mut export = vec!["channel", "export", path];
    if encrypted {
        assert!(!flumen(&export).status.success(), "{name}: without its key");
        export.extend(["--keys", keys.to_str().expect("UTF-8")]);
    }
    let exported = flumen(&export);
    assert!(exported.status.success(), "{name}: {}", said(&exported));
    assert!(exported.stdout == expected, "{name}: export gives {}", said(&exported));

    let configuration = dir.path().join("flumen.toml");
    let place = dir.path().to_str().expect("UTF-8");
    let more = if encrypted { "encryption = { keys = '{dir}/keys' }" } else { "" };
    let text = AGENT.replace("{more}", more).replace("{dir}", place);
    std::fs::write(&configuration, text).expect("written");
    let ran = flumen(&["run", configuration.to_str().expect("UTF-8")]);
    assert!(ran.status.success(), "{name}: {}", said(&ran));
    let delivered = std::fs::read(dir.path().join("out.log")).expect("something came");
    assert!(delivered == expected, "{name}: the agent delivers other bytes: {}", said(&ran));
    let left = flumen(&["channel", "stats", "--json", path]);
    assert!(said(&left).contains("\"waiting_events\":0"), "{name}: {}", said(&left));
}

/// Small batches, one that is larger than 32 KiB and stands in frames of its own, and one that was
/// delivered before the kill.
#[test]
fn a_log_of_version_1_is_read() {
    check("v1", false);
}

#[test]
fn a_compressed_log_of_version_1_is_read() {
    check("v1-lz4", false);
}

#[test]
fn an_encrypted_log_of_version_1_is_read() {
    check("v1-aes-256-gcm", true);
    check("v1-lz4-chacha20", true);
}
