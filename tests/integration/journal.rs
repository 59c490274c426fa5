//! The journal through systemd's own tools: systemd-journal-remote writes a journal file, and
//! journalctl reads it for us; and the kernel's log through its device.

use crate::harness::{Agent, SYSLOG_TO_FILE, lines_of, paths};
use crate::peers::{journal_remote, missing, peer};
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

/// The usual agent with another source.
fn configuration(source: &str) -> String {
    let (before, rest) = SYSLOG_TO_FILE.split_once("[sources.net]").expect("a source");
    let (_, after) = rest.split_once("[channels.main]").expect("a channel");
    format!("{before}[sources.local]\n{source}\nchannel = \"main\"\n\n[channels.main]{after}")
}

/// Adds entries to a journal file.
fn write_journal(remote: &Path, journal: &Path, numbers: std::ops::Range<u64>) {
    let mut command = Command::new(remote);
    command.arg("-o").arg(journal).arg("-").stdin(Stdio::piped()).stderr(Stdio::null());
    let mut child = command.spawn().expect("it starts");
    let mut input = child.stdin.take().expect("piped");
    for number in numbers {
        let text = format!("entry {number}\nand a second line");
        let fields = "_BOOT_ID=0123456789abcdef0123456789abcdef\n_UID=33\n_PID=71\nPRIORITY=3\n\
            SYSLOG_FACILITY=10\nSYSLOG_IDENTIFIER=sshd\n_HOSTNAME=web1\nMESSAGE\n";
        let head = format!(
            "__REALTIME_TIMESTAMP={}\n__MONOTONIC_TIMESTAMP={}\n{fields}",
            1_763_717_885_000_000 + number,
            1_000_000 + number
        );
        input.write_all(head.as_bytes()).expect("it reads");
        input.write_all(&(text.len() as u64).to_le_bytes()).expect("it reads");
        write!(input, "{text}\n\n").expect("it reads");
    }
    drop(input);
    assert!(child.wait().expect("our child").success());
}

#[test]
fn journalctl_is_followed_and_a_restart_goes_on() {
    let (Some(remote), Some(_)) = (journal_remote(), peer("journalctl")) else { return };
    let dir = tempfile::TempDir::new().expect("a folder");
    let journal = dir.path().join("remote.journal");
    let source = format!(
        "type = \"journal\"\nfrom = \"all\"\nposition = \"{{dir}}/position\"\n\
         fields = [\"_UID\"]\narguments = \"--file={}\"",
        journal.display()
    );
    let configuration = configuration(&source);
    write_journal(&remote, &journal, 0..3);
    let agent = Agent::start(&configuration);
    agent.wait_for(3);
    write_journal(&remote, &journal, 3..5);
    agent.wait_for(5);
    let ended = agent.stop().well();
    write_journal(&remote, &journal, 5..8);
    let agent = Agent::start_in(ended.dir, &configuration);
    agent.wait_for(3);
    let ended = agent.stop().well();
    let files = paths(ended.dir.path(), ".zst");
    let mut events: Vec<String> = files.iter().flat_map(|file| lines_of(file)).collect();
    let expected = |number| {
        format!(
            "<83>1 2025-11-21T09:38:05.{number:06}Z web1 sshd 71 - [journal@32473 _UID=\"33\"] \
             entry {number}#012and a second line"
        )
    };
    let mut expected: Vec<String> = (0..8).map(expected).collect();
    // Two files, whose names do not sort as they were written.
    events.sort();
    expected.sort();
    assert_eq!(events, expected);
}

#[test]
fn the_kernels_log_is_read_from_its_device() {
    let device = std::fs::OpenOptions::new().read(true).append(true).open("/dev/kmsg");
    let Ok(mut device) = device else {
        missing("/dev/kmsg, to read and write");
        return;
    };
    let agent = Agent::start(&configuration("type = \"kmsg\""));
    let text = format!("flumen test {} a\\b", std::process::id());
    // One write, one record.
    device.write_all(format!("<165>{text}\n").as_bytes()).expect("written");
    // The kernel may have something to say of its own.
    agent.wait_for(1);
    let events = agent.stop().well().lines("out.log.zst");
    let ours: Vec<&String> = events.iter().filter(|event| event.ends_with(&text)).collect();
    assert_eq!(ours.len(), 1, "{events:?}");
    assert!(ours[0].starts_with("<165>1 2") && ours[0].contains(" kernel - - [kernel@32473 "));
}
