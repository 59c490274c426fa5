//! A program whose output is read. It has a process group of its own, so that what stops us does
//! not stop it first; it ends when we say so, or when it writes to a pipe that nobody reads.

use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};

use super::input;

/// What is remembered of its complaints.
const COMPLAINT_BYTES: usize = 1024;

#[derive(Debug)]
pub struct Child {
    process: std::process::Child,
    errors: OwnedFd,
    complaint: Vec<u8>,
}

/// Starts it; the descriptor is its standard output.
pub fn start(program: &str, arguments: &[String]) -> io::Result<(Child, OwnedFd)> {
    let mut command = Command::new(program);
    command.args(arguments).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut process = command.process_group(0).spawn()?;
    let output = OwnedFd::from(process.stdout.take().expect("it was piped"));
    let errors = OwnedFd::from(process.stderr.take().expect("it was piped"));
    Ok((Child { process, errors, complaint: Vec::new() }, output))
}

impl Child {
    /// Reads what it complains about, so that it never waits for that to be read. Never blocks.
    pub fn listen(&mut self) {
        let mut part = [0; 1024];
        while input::is_ready(&self.errors).unwrap_or(false) {
            match rustix::io::read(&self.errors, &mut part) {
                Ok(count) if count > 0 => self.complaint.extend_from_slice(&part[..count]),
                _ => break,
            }
            let more = self.complaint.len().saturating_sub(COMPLAINT_BYTES);
            self.complaint.drain(..more);
        }
    }

    /// How it ended, in words; ends it if it has not. Its output has ended before.
    pub fn end(&mut self) -> String {
        self.listen();
        let by_itself = self.process.try_wait();
        let how = match by_itself {
            Ok(Some(status)) => status.to_string(),
            _ => match self.process.kill().and_then(|()| self.process.wait()) {
                Ok(_) => "it closed its output".to_owned(),
                Err(error) => error.to_string(),
            },
        };
        let complaint = String::from_utf8_lossy(&self.complaint);
        match complaint.lines().rfind(|line| !line.trim().is_empty()) {
            Some(line) => format!("{how}: {}", line.trim().escape_debug()),
            None => how,
        }
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str) -> (Child, OwnedFd) {
        start("sh", &["-c".to_owned(), script.to_owned()]).unwrap()
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
        let _ = child.process.wait();
        assert_eq!(child.end(), "exit status: 3: two");
        assert!(start("no-such-program", &[]).is_err());
    }

    #[test]
    fn a_child_that_goes_on_is_ended() {
        let (mut child, output) = shell("exec >&-; exec sleep 1000");
        assert_eq!(read_to_end(&output), b"");
        assert_eq!(child.end(), "it closed its output");
    }
}
