//! Programs that are not ours: found, or the test says what it needs.

use crate::harness::wait_child;
use std::fs::File;
use std::io::{Read, Seek};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

/// A program of the search path. Missing: says so and gives nothing; under `CI=true`, fails.
#[track_caller]
pub(crate) fn peer(name: &str) -> Option<PathBuf> {
    let folders = std::env::var_os("PATH").unwrap_or_default();
    let found = std::env::split_paths(&folders).map(|folder| folder.join(name));
    found.into_iter().find(|path| path.is_file()).or_else(|| missing(name))
}

/// rsyslogd: where `scripts/peers` put it, or installed.
#[track_caller]
pub(crate) fn rsyslogd() -> Option<PathBuf> {
    let named = std::env::var_os("FLUMEN_RSYSLOGD").map(PathBuf::from);
    let path = named.unwrap_or_else(|| PathBuf::from("/usr/sbin/rsyslogd"));
    if path.is_file() { Some(path) } else { missing("rsyslogd") }
}

/// systemd-journal-remote, which writes journal files: where `scripts/peers` put it, or installed.
#[track_caller]
pub(crate) fn journal_remote() -> Option<PathBuf> {
    let named = std::env::var_os("FLUMEN_JOURNAL_REMOTE").map(PathBuf::from);
    let path = named.unwrap_or_else(|| "/lib/systemd/systemd-journal-remote".into());
    if path.is_file() { Some(path) } else { missing("systemd-journal-remote") }
}

/// haproxy: where `scripts/peers` put it, or installed.
#[track_caller]
pub(crate) fn haproxy() -> Option<PathBuf> {
    let named = std::env::var_os("FLUMEN_HAPROXY").map(PathBuf::from);
    let path = named.unwrap_or_else(|| PathBuf::from("/usr/sbin/haproxy"));
    if path.is_file() { Some(path) } else { missing("haproxy") }
}

/// tshark, which reads captures: where `scripts/peers` put it, or installed.
#[track_caller]
pub(crate) fn tshark() -> Option<PathBuf> {
    let named = std::env::var_os("FLUMEN_TSHARK").map(PathBuf::from);
    named.filter(|path| path.is_file()).or_else(|| peer("tshark"))
}

/// logrotate: where `scripts/peers` put it, or installed.
#[track_caller]
pub(crate) fn logrotate() -> Option<PathBuf> {
    let named = std::env::var_os("FLUMEN_LOGROTATE").map(PathBuf::from);
    let path = named.unwrap_or_else(|| PathBuf::from("/usr/sbin/logrotate"));
    if path.is_file() { Some(path) } else { missing("logrotate") }
}

/// Debian's Python, with Avro's own library and zstd's.
#[track_caller]
pub(crate) fn avro() -> Option<PathBuf> {
    let python = PathBuf::from("/usr/bin/python3");
    let trial = Command::new(&python).args(["-c", "import avro, zstandard"]).output();
    if trial.is_ok_and(|output| output.status.success()) {
        Some(python)
    } else {
        missing("python3-avro and python3-zstandard")
    }
}

/// Debian's Python, with its client of memcached.
#[track_caller]
pub(crate) fn pymemcache() -> Option<PathBuf> {
    let python = PathBuf::from("/usr/bin/python3");
    let trial = Command::new(&python).args(["-c", "import pymemcache"]).output();
    if trial.is_ok_and(|output| output.status.success()) {
        Some(python)
    } else {
        missing("python3-pymemcache")
    }
}

/// A program that must also be allowed to do its work here; the command, ready for more arguments.
#[track_caller]
pub(crate) fn able(name: &str, flags: &[&str]) -> Option<Command> {
    let path = peer(name)?;
    let trial = Command::new(&path).args(flags).arg("true").output();
    if !trial.is_ok_and(|output| output.status.success()) {
        missing(&format!("{name} {}", flags.join(" ")))?;
        return None;
    }
    let mut command = Command::new(path);
    command.args(flags);
    Some(command)
}

/// Whether we are in namespaces of our own (`--net`). If not, `test` is run again in them, and has
/// to succeed there.
pub(crate) fn alone(test: &str, namespaces: &[&str]) -> bool {
    /// Set where this program runs again, alone.
    const ALONE: &str = "FLUMEN_ALONE";
    if peer("ip").is_none() {
        return false;
    }
    if std::env::var_os(ALONE).is_some() {
        return true;
    }
    let root = rustix::process::geteuid().is_root();
    let user: &[&str] = if root { &[] } else { &["--map-root-user"] };
    let Some(mut command) = able("unshare", &[user, namespaces].concat()) else {
        return false;
    };
    let program = std::env::current_exe().expect("this one");
    command.arg(program).args([test, "--exact", "--nocapture"]).env(ALONE, "yes");
    let output = command.output().expect("it was tried");
    let said = String::from_utf8_lossy(&output.stdout);
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && said.contains("1 passed"), "{said}{told}");
    false
}

#[track_caller]
pub(crate) fn missing(name: &str) -> Option<PathBuf> {
    assert!(std::env::var_os("CI").is_none_or(|ci| ci != "true"), "CI needs {name}");
    println!("skipped: needs {name}");
    None
}

/// Runs a peer to its end; it must succeed.
#[track_caller]
pub(crate) fn run(command: &mut Command) -> String {
    let output =
        command.stdin(Stdio::null()).output().unwrap_or_else(|e| panic!("{command:?} {e}"));
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {}\n{errors}", output.status);
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// A peer that runs until it is dropped. What it complains of is told where the test fails.
pub(crate) struct Running {
    child: Child,
    complaints: File,
}

impl Running {
    #[track_caller]
    pub(crate) fn start(command: &mut Command) -> Self {
        let complaints = tempfile::tempfile().expect("a file");
        command.stdin(Stdio::null()).stderr(complaints.try_clone().expect("a descriptor"));
        let child = command.spawn().unwrap_or_else(|error| panic!("{command:?}: {error}"));
        Self { child, complaints }
    }

    /// Asks it to end, and waits until it has: what it still held is sent.
    #[track_caller]
    pub(crate) fn finish(mut self) {
        let id = i32::try_from(self.child.id()).expect("a process id");
        let process = rustix::process::Pid::from_raw(id).expect("not zero");
        rustix::process::kill_process(process, rustix::process::Signal::TERM).expect("it runs");
        wait_child(&mut self.child).expect("it ends when asked");
    }

    /// SIGSTOP: it is there, and does nothing.
    pub(crate) fn pause(&self) {
        let id = i32::try_from(self.child.id()).expect("a process id");
        let process = rustix::process::Pid::from_raw(id).expect("not zero");
        rustix::process::kill_process(process, rustix::process::Signal::STOP).expect("it runs");
    }

    /// SIGKILL, in the middle of whatever it does.
    pub(crate) fn kill(mut self) {
        self.child.kill().expect("it runs");
        self.child.wait().expect("our own child");
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            let mut text = Vec::new();
            let _ = self.complaints.rewind();
            let _ = self.complaints.read_to_end(&mut text);
            eprintln!("the peer complained of:\n{}", String::from_utf8_lossy(&text));
        }
    }
}

/// `count` numbered texts: long enough to look like logs, each different.
pub(crate) fn texts(count: usize) -> Vec<String> {
    (0..count).map(|n| format!("request {n:05} served in {} ms", n * 7919 % 997)).collect()
}

/// A file with one text a line.
pub(crate) fn write_lines(path: &Path, texts: &[String]) {
    std::fs::write(path, texts.join("\n") + "\n").expect("written");
}

/// The events end with the texts, in order, and nothing else came.
#[track_caller]
pub(crate) fn assert_texts(events: &[String], texts: &[String]) {
    for (index, (event, text)) in events.iter().zip(texts).enumerate() {
        assert!(event.ends_with(text), "event {index} is {event:?}, expected …{text:?}");
    }
    assert_eq!(events.len(), texts.len(), "events in the file");
}
