//! Somebody else's program, run for us: its arguments, its time, and how it ended.
//!
//! For helper workers only: it blocks until the program ends or its time is over. Standard input is
//! empty, standard output goes nowhere, what it complains of goes where our log goes.

use std::ffi::OsStr;
use std::io;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

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
    let mut child = command.spawn().map_err(|error| format!("{program}: {error}"))?;
    match ended(&mut child, at_most) {
        Ok(Some(status)) if status.success() => Ok(()),
        Ok(Some(status)) => Err(format!("{program}: {status}")),
        Ok(None) => {
            // It may end just now: then there is nobody to kill, and that is fine.
            let _ = child.kill();
            let _ = child.wait();
            Err(format!("{program}: killed, it took more than {} s", at_most.as_secs()))
        }
        Err(error) => Err(format!("{program}: {error}")),
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
        let killed = shell("sleep 600", "x", Duration::from_millis(30)).unwrap_err();
        assert!(killed.contains("killed"), "{killed}");
        let missing = run("/no/such/program", &[], OsStr::new("x"), SOON).unwrap_err();
        assert!(missing.contains("/no/such/program"), "{missing}");
    }
}
