//! An agent under test: started on free ports, asked through `/ledger`, stopped or killed.

mod pieces;
mod places;

pub(crate) use pieces::{
    LINES, RELP_SYNCED, SYSLOG_TO_FILE, TO_PIPE, agent, lines_in, plain_sink, to_plain_file,
};
pub(crate) use places::{Down, nobody, place};

use serde_json::Value;
use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex, mpsc};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// The longest any condition is waited for. Generous: it is only spent when something is wrong.
pub(crate) const DEADLINE: Duration = Duration::from_secs(30);
const POLL: Duration = Duration::from_millis(5);
/// So many looks in a row must find nothing that moves: some 200 ms, and more on a busy machine.
const STILL: usize = 40;

/// A running `flumen run`; killed when dropped.
pub(crate) struct Agent {
    child: Child,
    log: Arc<Mutex<String>>,
    follower: Option<JoinHandle<()>>,
    addresses: BTreeMap<String, SocketAddr>,
    admin: SocketAddr,
    pub(crate) dir: TempDir,
}

/// What is left of an agent that ended.
pub(crate) struct Ended {
    pub(crate) status: ExitStatus,
    pub(crate) log: String,
    pub(crate) dir: TempDir,
}

impl Agent {
    /// Starts an agent with this configuration, `{dir}` being a fresh folder, and waits until it
    /// says it is ready.
    pub(crate) fn start(configuration: &str) -> Self {
        Self::start_in(TempDir::new().expect("a folder"), configuration)
    }

    /// The same in a folder that has seen an agent before.
    pub(crate) fn start_in(dir: TempDir, configuration: &str) -> Self {
        let mut program = flumen();
        program.stdin(Stdio::null()).stdout(Stdio::null());
        Self::start_as(program, dir, configuration).0
    }

    /// The same through a program that ends in executing its arguments, such as `setpriv`.
    pub(crate) fn start_through(mut around: Command, dir: TempDir, configuration: &str) -> Self {
        around.arg(env!("CARGO_BIN_EXE_flumen")).stdin(Stdio::null()).stdout(Stdio::null());
        Self::start_as(around, dir, configuration).0
    }

    /// The same with the agent's standard output, which nobody reads but the caller.
    pub(crate) fn start_piped(configuration: &str) -> (Self, ChildStdout) {
        let dir = TempDir::new().expect("a folder");
        let mut program = flumen();
        program.stdin(Stdio::null()).stdout(Stdio::piped());
        let (agent, stdout) = Self::start_as(program, dir, configuration);
        (agent, stdout.expect("piped"))
    }

    /// The same by a command that is `flumen`, with an input and output of the caller's choice.
    pub(crate) fn start_as(
        mut command: Command,
        dir: TempDir,
        configuration: &str,
    ) -> (Self, Option<ChildStdout>) {
        let file = write_configuration(&dir, configuration);
        command.arg("run").arg(&file).stderr(Stdio::piped());
        let mut child = command.spawn().expect("the binary starts");
        let log = Arc::new(Mutex::new(String::new()));
        let (ready, follower) = follow(child.stderr.take().expect("piped"), log.clone());
        let Ok(line) = ready.recv_timeout(DEADLINE) else {
            let _ = child.kill();
            panic!("the agent did not become ready:\n{}", log.lock().unwrap());
        };
        let mut addresses = listening(&line);
        let admin = addresses.remove("admin=http").unwrap_or_else(|| panic!("no admin in {line}"));
        let stdout = child.stdout.take();
        let follower = Some(follower);
        (Self { child, log, follower, addresses, admin, dir }, stdout)
    }

    /// Status and text of a page of the admin endpoint.
    pub(crate) fn page(&self, path: &str) -> (u16, String) {
        get(self.admin, path)
    }

    /// Waits until `/readyz` answers so; what it says.
    #[track_caller]
    pub(crate) fn wait_ready(&self, status: u16) -> String {
        let mut said = String::new();
        self.wait(&format!("/readyz {status}"), |_| {
            let (now, text) = self.page("/readyz");
            said.replace_range(.., &text);
            now == status
        });
        said
    }

    /// What was logged until now.
    pub(crate) fn log(&self) -> String {
        self.log.lock().unwrap().clone()
    }

    /// Waits until this was logged, which may come a little after what it tells of; the log.
    #[track_caller]
    pub(crate) fn wait_told(&self, text: &str) -> String {
        let told = until(|| self.log().contains(text));
        assert!(told, "never told {text:?}:\n{}", self.log());
        self.log()
    }

    /// What the process holds in memory now.
    pub(crate) fn resident_bytes(&self) -> u64 {
        let status = self.proc("status");
        let line = status.lines().find(|line| line.starts_with("VmRSS:")).expect("VmRSS");
        let kib = line.split_whitespace().nth(1).and_then(|kib| kib.parse::<u64>().ok());
        kib.expect("a number") * 1024
    }

    /// Processor time that the process has used, in hundredths of a second.
    pub(crate) fn processor_ticks(&self) -> u64 {
        let stat = self.proc("stat");
        let (_, behind_name) = stat.rsplit_once(") ").expect("a name in brackets");
        let mut fields = behind_name.split(' ').skip(11);
        let mut next = || fields.next().and_then(|field| field.parse::<u64>().ok());
        next().expect("user time") + next().expect("system time")
    }

    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    fn proc(&self, name: &str) -> String {
        std::fs::read_to_string(format!("/proc/{}/{name}", self.id())).expect("the agent runs")
    }

    /// SIGKILL, in the middle of whatever it does; its folder stays.
    pub(crate) fn kill(mut self) -> TempDir {
        self.child.kill().expect("the agent runs");
        self.child.wait().expect("our own child");
        std::mem::replace(&mut self.dir, TempDir::new().expect("a folder"))
    }

    pub(crate) fn udp(&self, source: &str) -> SocketAddr {
        self.address(&format!("{source}=udp"))
    }

    pub(crate) fn relp(&self, source: &str) -> SocketAddr {
        self.address(&format!("{source}=relp"))
    }

    pub(crate) fn relps(&self, source: &str) -> SocketAddr {
        self.address(&format!("{source}=relps"))
    }

    pub(crate) fn tcp(&self, source: &str) -> SocketAddr {
        self.address(&format!("{source}=tcp"))
    }

    pub(crate) fn tls(&self, source: &str) -> SocketAddr {
        self.address(&format!("{source}=tls"))
    }

    pub(crate) fn http(&self, source: &str) -> SocketAddr {
        self.address(&format!("{source}=http"))
    }

    pub(crate) fn https(&self, source: &str) -> SocketAddr {
        self.address(&format!("{source}=https"))
    }

    fn address(&self, listener: &str) -> SocketAddr {
        let found = self.addresses.get(listener);
        *found.unwrap_or_else(|| panic!("no {listener} among {:?}", self.addresses))
    }

    pub(crate) fn ledger(&self) -> Value {
        let (status, body) = self.page("/ledger");
        assert_eq!(status, 200, "{body}");
        serde_json::from_str(&body).unwrap_or_else(|error| panic!("{error}: {body}"))
    }

    /// Waits until the ledger says so.
    #[track_caller]
    pub(crate) fn wait(&self, what: &str, mut condition: impl FnMut(&Value) -> bool) -> Value {
        self.wait_nearer(what, |ledger| (condition(ledger), 0))
    }

    /// Waits until `count` events are written or lost, and returns the ledger of that moment. On a
    /// busy machine many take their time: the deadline is for the next of them.
    #[track_caller]
    pub(crate) fn wait_for(&self, count: u64) -> Value {
        self.wait_nearer(&format!("{count} events accounted for"), |ledger| {
            let now = written(ledger) + ledger["lost_events"].as_u64().expect("a count");
            (now >= count, now)
        })
    }

    #[track_caller]
    fn wait_nearer(&self, what: &str, mut look: impl FnMut(&Value) -> (bool, u64)) -> Value {
        let mut ledger = Value::Null;
        let accepted = until_nearer(|| {
            ledger = self.ledger();
            look(&ledger)
        });
        assert!(accepted, "never {what}:\n{ledger:#}\n{}", self.log());
        ledger
    }

    /// Waits until this count stands still, above zero, because the agent waits for somebody else;
    /// what it is then. Where it only waits for its turn on a busy machine it counts as moving.
    #[track_caller]
    pub(crate) fn wait_still(&self, what: &str, count: impl Fn(&Value) -> u64) -> u64 {
        let (mut before, mut looks) = (0, 0);
        self.wait(&format!("{what} stand still"), |ledger| {
            let now = count(ledger);
            let still = now > 0 && now == before && !self.is_busy();
            looks = if still { looks + 1 } else { 0 };
            before = now;
            looks == STILL
        });
        before
    }

    /// Whether a thread of it works, or wants to: is on a processor, or waits for one or for a
    /// disk. But for the one that answers us.
    fn is_busy(&self) -> bool {
        let threads = std::fs::read_dir(format!("/proc/{}/task", self.id()));
        threads.expect("the agent runs").flatten().any(|thread| {
            // It may have ended meanwhile.
            let stat = std::fs::read_to_string(thread.path().join("stat")).unwrap_or_default();
            let Some((name, state)) = stat.rsplit_once(") ") else { return false };
            !name.ends_with("(admin") && state.starts_with(['R', 'D'])
        })
    }

    /// Connections to its endpoint that it has not closed yet.
    pub(crate) fn open_requests(&self) -> usize {
        let local = format!(":{:04X}", self.admin.port());
        let table = std::fs::read_to_string("/proc/net/tcp").expect("Linux");
        let ours = table.lines().filter(|row| {
            let mut words = row.split_whitespace().skip(1);
            let at_it = words.next().is_some_and(|own| own.ends_with(&local));
            let state = words.nth(1);
            // Without an inode nobody has it any more.
            at_it && state != Some("0A") && words.nth(5) != Some("0")
        });
        ours.count()
    }

    pub(crate) fn signal(&self, signal: rustix::process::Signal) {
        let id = i32::try_from(self.child.id()).expect("a process id");
        let process = rustix::process::Pid::from_raw(id).expect("not zero");
        rustix::process::kill_process(process, signal).expect("the agent runs");
    }

    /// SIGTERM, and what comes of it.
    #[track_caller]
    pub(crate) fn stop(self) -> Ended {
        self.signal(rustix::process::Signal::TERM);
        self.ended()
    }

    /// Waits for the process to end by itself.
    #[track_caller]
    pub(crate) fn ended(mut self) -> Ended {
        let status = wait_child(&mut self.child).unwrap_or_else(|| {
            panic!("the agent does not end:\n{}", self.log.lock().unwrap());
        });
        // Its last words may still be in the pipe.
        self.follower.take().expect("joined once").join().expect("it does not panic");
        let log = self.log.lock().unwrap().clone();
        let dir = std::mem::replace(&mut self.dir, TempDir::new().expect("a folder"));
        Ended { status, log, dir }
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Ended {
    /// Drained, synced, sealed, and the ledger adds up.
    #[track_caller]
    pub(crate) fn well(self) -> Self {
        assert!(self.status.success(), "{}:\n{}", self.status, self.log);
        assert!(self.log.contains("adds up"), "no closing ledger in the log:\n{}", self.log);
        let left = paths(self.dir.path(), ".open");
        assert!(left.is_empty(), "left open: {left:?}\n{}", self.log);
        self
    }

    /// What its closing ledger says that it received there.
    #[track_caller]
    pub(crate) fn received(&self, source: &str) -> usize {
        self.closing(&format!("source {source}: received ")).expect("every source has its line")
    }

    /// How many were lost, as its closing ledger says it: component and reason.
    #[track_caller]
    pub(crate) fn lost(&self, what: &str) -> usize {
        self.closing(&format!("{what} ")).unwrap_or(0)
    }

    /// The number behind this text in the closing ledger.
    #[track_caller]
    fn closing(&self, text: &str) -> Option<usize> {
        let line = self.log.lines().rfind(|line| line.contains("ledger of "));
        let (_, behind) = line.expect("a closing ledger").split_once(text)?;
        let digits = behind.split(|it: char| !it.is_ascii_digit()).next();
        Some(digits.and_then(|digits| digits.parse().ok()).expect("a number"))
    }

    /// The lines of a file in the agent's folder, decoded by the stock tool of its suffix.
    #[track_caller]
    pub(crate) fn lines(&self, name: &str) -> Vec<String> {
        lines_of(&self.dir.path().join(name))
    }
}

pub(crate) fn flumen() -> Command {
    Command::new(env!("CARGO_BIN_EXE_flumen"))
}

pub(crate) fn written(ledger: &Value) -> u64 {
    sum(&ledger["sinks"], "written_events")
}

/// One series over all components of a kind.
pub(crate) fn sum(components: &Value, series: &str) -> u64 {
    let all = components.as_array().expect("a list of components");
    all.iter().map(|one| one[series].as_u64().expect("a count")).sum()
}

/// Files below `folder` whose names end so, sorted.
pub(crate) fn paths(folder: &Path, suffix: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            found.extend(paths(&path, suffix));
        } else if path.to_string_lossy().ends_with(suffix) {
            found.push(path);
        }
    }
    found.sort();
    found
}

/// Decodes a finished file whole with `zstd`, `gzip`, `lz4` or `lzop`; plain text is just read.
#[track_caller]
pub(crate) fn lines_of(path: &Path) -> Vec<String> {
    let tool = match path.extension().and_then(|suffix| suffix.to_str()) {
        Some("zst") => "zstd",
        Some("gz") => "gzip",
        Some("lz4") => "lz4",
        Some("lzo") => "lzop",
        _ => "cat",
    };
    let mut command = Command::new(tool);
    if tool != "cat" {
        command.arg("-dc");
    }
    let input = std::fs::File::open(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    let output = command.stdin(input).output().unwrap_or_else(|error| panic!("{tool}: {error}"));
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{tool} {}: {errors}", path.display());
    let text = String::from_utf8(output.stdout)
        .unwrap_or_else(|error| panic!("{}: {}", path.display(), error.utf8_error()));
    assert!(text.is_empty() || text.ends_with('\n'), "the last event has its newline");
    text.lines().map(str::to_owned).collect()
}

/// One HTTP GET; the status and the body.
pub(crate) fn get(address: SocketAddr, path: &str) -> (u16, String) {
    let mut stream = TcpStream::connect(address).expect("the admin endpoint listens");
    stream.set_read_timeout(Some(DEADLINE)).expect("a timeout");
    let request = format!("GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).expect("sent");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("an answer");
    let (head, body) = answer.split_once("\r\n\r\n").expect("a head and a body");
    assert!(!head.to_ascii_lowercase().contains("transfer-encoding"), "a length was expected");
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok());
    (status.expect("a status"), body.to_owned())
}

/// A number of the environment: how long or how often a script wants a test to go on.
pub(crate) fn from_environment(name: &str, default: u64) -> u64 {
    match std::env::var(name) {
        Ok(value) => value.parse().unwrap_or_else(|_| panic!("{name}={value} is no number")),
        Err(_) => default,
    }
}

/// Waits for a child within the deadline.
pub(crate) fn wait_child(child: &mut Child) -> Option<ExitStatus> {
    let mut status = None;
    let ended = until(|| {
        status = child.try_wait().expect("our own child");
        status.is_some()
    });
    status.filter(|_| ended)
}

/// Polls until the condition holds; false when it did not within the deadline.
#[must_use]
pub(crate) fn until(mut condition: impl FnMut() -> bool) -> bool {
    until_nearer(|| (condition(), 0))
}

/// The same with a count that tells how near it is: the deadline begins anew when that changes.
#[must_use]
pub(crate) fn until_nearer(mut look: impl FnMut() -> (bool, u64)) -> bool {
    let (mut started, mut before) = (Instant::now(), 0);
    loop {
        let (holds, now) = look();
        if holds {
            return true;
        }
        if std::mem::replace(&mut before, now) != now {
            started = Instant::now();
        }
        if started.elapsed() > DEADLINE {
            return false;
        }
        std::thread::sleep(POLL);
    }
}

/// An agent that does not get as far as being ready: its exit status and what it says.
pub(crate) fn refused(dir: &TempDir, configuration: &str) -> (Option<i32>, String) {
    let file = write_configuration(dir, configuration);
    let mut command = flumen();
    command.arg("run").arg(file).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("the binary starts");
    let status = wait_child(&mut child);
    let _ = child.kill();
    let mut text = String::new();
    child.stderr.take().expect("piped").read_to_string(&mut text).expect("UTF-8");
    (status.and_then(|status| status.code()), text)
}

/// `flumen.toml` in the folder, which `{dir}` in it stands for.
pub(crate) fn write_configuration(dir: &TempDir, configuration: &str) -> PathBuf {
    let file = dir.path().join("flumen.toml");
    let folder = dir.path().to_str().expect("UTF-8");
    let head = if configuration.contains("[agent]") { "".to_owned() } else { agent("64MiB", "") };
    let text = head + &configuration.replace("{dir}", folder);
    std::fs::write(&file, text).expect("written");
    file
}

/// Collects the agent's log; the line that says it is ready is sent on.
fn follow(
    stderr: impl Read + Send + 'static,
    log: Arc<Mutex<String>>,
) -> (mpsc::Receiver<String>, JoinHandle<()>) {
    let (sender, receiver) = mpsc::channel();
    let follower = std::thread::spawn(move || {
        for line in BufReader::new(stderr).lines() {
            let Ok(line) = line else { return };
            if line.contains("ready") && line.contains("://") {
                let _ = sender.send(line.clone());
            }
            let mut log = log.lock().unwrap();
            log.push_str(&line);
            log.push('\n');
        }
    });
    (receiver, follower)
}

/// `NAME=udp://127.0.0.1:1234` → (`NAME=udp`, address), for every such word of a line.
fn listening(line: &str) -> BTreeMap<String, SocketAddr> {
    let words = line.split([' ', ',', '"']);
    words
        .filter_map(|word| {
            let (listener, address) = word.split_once("://")?;
            Some((listener.to_owned(), address.trim_end_matches('/').parse().ok()?))
        })
        .collect()
}
