//! A program whose output is read. It has a process group of its own, so that what stops us does
//! not stop it first; it ends when we say so, or when it writes to a pipe that nobody reads.

use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::process::CommandExt;
use std::process::{Command, ExitStatus, Stdio};

use rustix::process::{Pid, Signal, kill_process_group};

use super::input;

/// What is remembered of its complaints.
const COMPLAINT_BYTES: usize = 1024;

#[derive(Debug)]
pub struct Child {
    process: std::process::Child,
    /// None: it has closed it.
    errors: Option<OwnedFd>,
    complaint: Vec<u8>,
    /// Bytes of the complaint that were told line by line.
    told: usize,
    /// Its end was waited for, so its number may be somebody else's.
    waited: bool,
}

/// Starts it; the descriptor is its standard output.
pub fn start(program: &str, arguments: &[String]) -> io::Result<(Child, OwnedFd)> {
    let mut command = Command::new(program);
    command.args(arguments).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut process = command.process_group(0).spawn()?;
    let output = OwnedFd::from(process.stdout.take().expect("it was piped"));
    let errors = Some(OwnedFd::from(process.stderr.take().expect("it was piped")));
    Ok((Child { process, errors, complaint: Vec::new(), told: 0, waited: false }, output))
}

impl Child {
    /// Reads what it complains about, so that it never waits for that to be read. Never blocks.
    pub fn listen(&mut self) {
        self.overhear(|_| {});
    }

    /// The same, and tells each whole line as it comes.
    pub fn overhear(&mut self, mut tell: impl FnMut(&[u8])) {
        let mut part = [0; 1024];
        while let Some(errors) = &self.errors
            && input::is_ready(errors).unwrap_or(false)
        {
            match rustix::io::read(errors, &mut part) {
                Ok(count) if count > 0 => self.complaint.extend_from_slice(&part[..count]),
                // Nobody will write there any more: polled on, it would be ready for ever.
                _ => self.errors = None,
            }
            while let Some(end) = memchr::memchr(b'\n', &self.complaint[self.told..]) {
                tell(&self.complaint[self.told..self.told + end]);
                self.told += end + 1;
            }
            let more = self.complaint.len().saturating_sub(COMPLAINT_BYTES);
            self.complaint.drain(..more);
            self.told = self.told.saturating_sub(more);
        }
    }

    /// Where it complains, as long as it may.
    pub fn errors(&self) -> Option<&OwnedFd> {
        self.errors.as_ref()
    }

    /// How it ended, if it has; it is not forgotten by that, and `end` is still to be called.
    pub fn has_ended(&self) -> bool {
        use rustix::process::{WaitId, WaitIdOptions, waitid};
        let look = WaitIdOptions::EXITED | WaitIdOptions::NOWAIT | WaitIdOptions::NOHANG;
        let id = Pid::from_child(&self.process);
        !matches!(waitid(WaitId::Pid(id), look), Ok(None))
    }

    /// Asks it, and everybody it has started in its group, to end.
    pub fn ask_to_end(&self) {
        let _ = kill_process_group(Pid::from_child(&self.process), Signal::TERM);
    }

    /// How it ended, in words, and whether well; ends it if it has not, and whoever is left of its
    /// group. Its output has ended before.
    pub fn end(&mut self) -> (String, bool) {
        self.listen();
        let by_itself = self.has_ended();
        let ended = self.kill();
        let (how, well) = match ended {
            Ok(status) if by_itself => (status.to_string(), status.success()),
            Ok(_) => ("it closed its output".to_owned(), false),
            Err(error) => (error.to_string(), false),
        };
        let complaint = String::from_utf8_lossy(&self.complaint);
        match complaint.lines().rfind(|line| !line.trim().is_empty()) {
            Some(line) => (format!("{how}: {}", line.trim().escape_debug()), well),
            None => (how, well),
        }
    }

    /// As long as it was not waited for, its number is its group's and nobody else's.
    fn kill(&mut self) -> io::Result<ExitStatus> {
        if !self.waited {
            let _ = kill_process_group(Pid::from_child(&self.process), Signal::KILL);
            self.waited = true;
        }
        self.process.wait()
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        let _ = self.kill();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str) -> (Child, OwnedFd) {
        start("sh", &["-c".to_owned(), script.to_owned()]).unwrap()
    }

    fn shell_ended(script: &str) -> (String, bool) {
        let (mut child, _output) = shell(script);
        until(|| child.has_ended());
        child.end()
    }

    fn until(done: impl Fn() -> bool) {
        let began = std::time::Instant::now();
        while !done() {
            assert!(began.elapsed() < std::time::Duration::from_secs(20));
            std::thread::yield_now();
        }
    }

    #[test]
    fn whoever_it_started_ends_with_it() {
        let (mut child, output) = shell("sleep 1000 & echo $!; exit 0");
        let mut number = [0; 20];
        let count = rustix::io::read(&output, &mut number).unwrap();
        let number = std::str::from_utf8(&number[..count]).unwrap().trim().to_owned();
        let lives = || match std::fs::read_to_string(format!("/proc/{number}/stat")) {
            // A zombie has ended; somebody else will take note of that.
            Ok(stat) => !stat.contains(") Z "),
            Err(_) => false,
        };
        until(|| child.has_ended());
        assert!(lives());
        assert_eq!(child.end(), ("exit status: 0".to_owned(), true));
        until(|| !lives());
    }

    fn read_to_end(output: &OwnedFd) -> Vec<u8> {
        let (mut all, mut part) = (Vec::new(), [0; 100]);
        loop {
            match rustix::io::read(output, &mut part).unwrap() {
                0 => return all,
                count => all.extend_from_slice(&part[..count]),
            }
        }
    }

    #[test]
    fn its_output_is_read_and_its_end_told_with_its_last_complaint() {
        let (mut child, output) = shell("echo out; echo one >&2; echo two >&2; exit 3");
        assert_eq!(read_to_end(&output), b"out\n");
        // The output ends a moment before the process does.
        until(|| child.has_ended());
        let mut lines = Vec::new();
        child.overhear(|line| lines.push(String::from_utf8_lossy(line).into_owned()));
        assert_eq!(lines, ["one", "two"]);
        assert!(child.errors().is_none(), "it would be ready for ever");
        assert_eq!(child.end(), ("exit status: 3: two".to_owned(), false));
        assert_eq!(shell_ended("exit 0"), ("exit status: 0".to_owned(), true));
        assert!(start("no-such-program", &[]).is_err());
    }

    #[test]
    fn a_child_that_goes_on_is_ended() {
        let (mut child, output) = shell("exec >&-; exec sleep 1000");
        assert_eq!(read_to_end(&output), b"");
        assert_eq!(child.end(), ("it closed its output".to_owned(), false));
    }
}
