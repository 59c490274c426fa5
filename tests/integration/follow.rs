//! `flumen cat --follow` while an agent writes, rolls and finishes what is being followed.

use crate::commands::flumen;
use crate::harness::{Agent, SYSLOG_TO_FILE, paths, until, wait_child};
use crate::numbered::{assert_ordered, line};
use flumen::codec::COMPRESSORS;
use rustix::process::Signal;
use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Stdio};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

/// A follower, and what it has said so far.
struct Follower {
    child: Child,
    lines: Arc<Mutex<Vec<String>>>,
    reader: Option<JoinHandle<()>>,
}

impl Follower {
    fn of(path: &Path) -> Self {
        let mut command = flumen("cat --follow");
        command.arg(path).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let lines = Arc::new(Mutex::new(Vec::new()));
        let (stdout, said) = (BufReader::new(child.stdout.take().unwrap()), lines.clone());
        let reader = std::thread::spawn(move || {
            for line in stdout.lines() {
                said.lock().unwrap().push(line.unwrap());
            }
        });
        Self { child, lines, reader: Some(reader) }
    }

    /// Waits until it has said so many lines.
    #[track_caller]
    fn wait(&self, count: usize) {
        let lines = || self.lines.lock().unwrap().len();
        assert!(until(|| lines() >= count), "{} of {count} lines", lines());
    }

    /// Waits for its end; its exit code, its complaints and all its lines.
    #[track_caller]
    fn ended(mut self) -> (Option<i32>, String, Vec<String>) {
        let status = wait_child(&mut self.child).expect("it ends");
        self.reader.take().unwrap().join().unwrap();
        let mut err = String::new();
        let mut stderr = self.child.stderr.take().unwrap();
        std::io::Read::read_to_string(&mut stderr, &mut err).unwrap();
        (status.code(), err, std::mem::take(&mut self.lines.lock().unwrap()))
    }
}

impl Drop for Follower {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn send(agent: &Agent, numbers: std::ops::Range<u64>) {
    let lines: String = numbers.map(|number| line(0, number) + "\n").collect();
    TcpStream::connect(agent.tcp("net")).unwrap().write_all(lines.as_bytes()).unwrap();
}

fn agent(codec: &str) -> Agent {
    let configuration = SYSLOG_TO_FILE.replace(r#""zstd""#, &format!("{codec:?}"));
    Agent::start(&configuration.replace("{dir}/out.log", "{dir}/logs/out.log"))
}

/// Every line once and in order, over files that are there already, grow, are rolled and sealed.
#[test]
fn a_directory_is_followed_through_every_roll() {
    for codec in COMPRESSORS.iter().map(|kind| kind.name) {
        let agent = agent(codec);
        let logs = agent.dir.path().join("logs");
        let roll = |files: usize| {
            agent.signal(Signal::USR1);
            let finished = || paths(&logs, ".open").is_empty() && paths(&logs, "").len() == files;
            assert!(until(finished), "{:?}", paths(&logs, ""));
        };
        let mut sent = 0;
        let mut more = |agent: &Agent| {
            send(agent, sent..sent + 500);
            sent += 500;
            agent.wait_for(sent);
            sent as usize
        };
        // Eleven files: number 10 comes behind number 9, and that without a number first.
        for files in 1..=11 {
            more(&agent);
            roll(files);
        }
        let follower = Follower::of(&logs);
        follower.wait(11 * 500);
        for files in 12..=14 {
            let count = more(&agent);
            follower.wait(count);
            let count = more(&agent);
            roll(files);
            follower.wait(count);
        }
        let count = more(&agent);
        let ended = agent.stop().well();
        follower.wait(count);
        let lines = follower.lines.lock().unwrap().clone();
        assert_eq!(assert_ordered(&lines, 1), [count as u64], "{codec}");
        drop(ended);
    }
}

/// A file by its name ends the command when it is finished, under whatever name it has then.
#[test]
fn a_file_is_followed_to_its_seal() {
    for (codec, name) in [("zstd", "out.log.zst.open"), ("none", "out.log.open")] {
        let agent = agent(codec);
        send(&agent, 0..500);
        agent.wait_for(500);
        let follower = Follower::of(&agent.dir.path().join("logs").join(name));
        follower.wait(500);
        send(&agent, 500..700);
        agent.wait_for(700);
        let ended = agent.stop().well();
        let (code, err, lines) = follower.ended();
        assert_eq!((code, err.as_str()), (Some(0), ""), "{codec}");
        assert_eq!(assert_ordered(&lines, 1), [700], "{codec}");
        drop(ended);
    }
}

/// Nothing more is written, so no write fails: it is seen all the same that nobody reads.
#[test]
fn a_follower_ends_when_its_reader_goes() {
    let agent = agent("zstd");
    send(&agent, 0..10);
    agent.wait_for(10);
    let mut command = flumen("cat --follow");
    command.arg(agent.dir.path()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let mut stdout = BufReader::new(child.stdout.take().unwrap());
    let mut first = String::new();
    stdout.read_line(&mut first).unwrap();
    drop(stdout);
    let status = wait_child(&mut child);
    let _ = child.kill();
    let output = child.wait_with_output().unwrap();
    assert_eq!(status.and_then(|status| status.code()), Some(0), "it goes on");
    assert_eq!(String::from_utf8(output.stderr).unwrap(), "");
}
