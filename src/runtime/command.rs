//! Somebody else's program, run for us: its arguments, its time, and how it ended.
//!
//! For helper workers and before the start only: it blocks until the program ends or its time is
//! over. Standard input is empty, standard output goes nowhere or is the answer, what it complains
//! of goes where our log goes.

use std::ffi::OsStr;
use std::io::{self, Read};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process_group};

/// Until it has ended it is looked at so often.
const LOOK: Duration = Duration::from_millis(10);

/// Runs `program` with these arguments and one more. An error says why it did not end well.
pub fn run(
    program: &str,
    arguments: &[String],
    last: &OsStr,
    at_most: Duration,
) -> Result<(), String> {
    let mut command = Command::new(program);
    command.args(arguments).arg(last).stdin(Stdio::null()).stdout(Stdio::null());
    command.process_group(0);
    let mut child = command.spawn().map_err(|error| format!("{program}: {error}"))?;
    well_ended(program, &mut child, at_most)
}

/// Waits until it has ended, well, or its time is over.
fn well_ended(program: &str, child: &mut Child, at_most: Duration) -> Result<(), String> {
    match ended(child, at_most) {
        Ok(Some(status)) if status.success() => Ok(()),
        Ok(Some(status)) => Err(format!("{program}: {status}")),
        Ok(None) => {
            end(child);
            Err(format!("{program}: killed, it took more than {} s", at_most.as_secs()))
        }
        Err(error) => Err(format!("{program}: {error}")),
    }
}

/// Kills it and whatever it has started. It may end just now: then there is nobody to kill.
fn end(child: &mut Child) {
    let group = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
    let _ = group.map(|group| kill_process_group(group, Signal::KILL));
    let _ = child.wait();
}

/// Runs `program`, and gives the first line that it writes: what it writes fits a pipe.
pub fn ask(program: &str, arguments: &[&str], at_most: Duration) -> Result<String, String> {
    let mut command = Command::new(program);
    command.args(arguments).stdin(Stdio::null()).stdout(Stdio::piped());
    command.process_group(0);
    let mut child = command.spawn().map_err(|error| format!("{program}: {error}"))?;
    well_ended(program, &mut child, at_most)?;
    let mut text = String::new();
    if let Some(mut stdout) = child.stdout.take() {
        let read = stdout.read_to_string(&mut text);
        read.map_err(|error| format!("{program}: {error}"))?;
    }
    match text.lines().next().map(str::trim) {
        Some(line) if !line.is_empty() => Ok(line.to_owned()),
        _ => Err(format!("{program} wrote nothing")),
    }
}

fn ended(child: &mut Child, at_most: Duration) -> io::Result<Option<std::process::ExitStatus>> {
    let looks = at_most.as_nanos() / LOOK.as_nanos();
    for _ in 0..looks {
        if let Some(status) = child.try_wait()? {
            return Ok(Some(status));
        }
        std::thread::sleep(LOOK);
    }
    child.try_wait()
}

#[cfg(test)]
mod tests {
    use super::*;

    const SOON: Duration = Duration::from_secs(20);

    fn shell(script: &str, last: &str, at_most: Duration) -> Result<(), String> {
        run("/bin/sh", &["-c".to_owned(), script.to_owned()], OsStr::new(last), at_most)
    }

    #[test]
    fn how_it_ends_is_said() {
        assert_eq!(shell("[ \"$0\" = 'a b' ]", "a b", SOON), Ok(()));
        let failed = shell("exit 3", "x", SOON).unwrap_err();
        assert!(failed.contains("/bin/sh") && failed.contains('3'), "{failed}");
        let missing = run("/no/such/program", &[], OsStr::new("x"), SOON).unwrap_err();
        assert!(missing.contains("/no/such/program"), "{missing}");
    }

    #[test]
    fn what_takes_too_long_is_killed_with_all_it_started() {
        let (reading, writing) = io::pipe().expect("a pipe");
        let mut command = Command::new("/bin/sh");
        let script = "sleep 600 & sleep 600; exit 0";
        command.args(["-c", script]).stdout(writing).process_group(0);
        let mut child = command.spawn().expect("a shell");
        drop(command);
        let killed = well_ended("sh", &mut child, Duration::from_millis(100)).unwrap_err();
        assert!(killed.contains("killed"), "{killed}");
        // The pipe ends when the last who holds it has ended.
        assert_eq!(io::read_to_string(reading).expect("a pipe"), "");
    }

    #[test]
    fn the_first_line_is_the_answer() {
        assert_eq!(ask("echo", &["a b", "key"], SOON), Ok("a b key".to_owned()));
        assert!(ask("false", &[], SOON).unwrap_err().contains("false: "));
        assert!(ask("true", &[], SOON).unwrap_err().contains("wrote nothing"));
    }
}
