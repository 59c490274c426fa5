//! What commands share: standard output that may be closed, complaints, diagnostics, times as text.

use std::fmt::Display;
use std::io::{self, ErrorKind, IsTerminal, Write};
use std::process::ExitCode;

use super::Failure;
use crate::config::Diagnostics;
use crate::time::Wall;

/// Ends a command; its error is that of standard output. A closed pipe ends quietly: the reader has
/// what it wanted.
pub(super) fn finish(command: &str, outcome: io::Result<ExitCode>) -> ExitCode {
    match outcome {
        Ok(code) => code,
        Err(error) if error.kind() == ErrorKind::BrokenPipe => ExitCode::SUCCESS,
        Err(error) => {
            tell(command, format_args!("standard output: {error}"));
            Failure::Failed.into()
        }
    }
}

/// Prints to standard output, and ends the command so.
pub(super) fn print(command: &str, text: &str) -> ExitCode {
    let mut out = io::stdout().lock();
    let outcome = out.write_all(text.as_bytes()).and_then(|()| out.flush());
    finish(command, outcome.map(|()| ExitCode::SUCCESS))
}

/// One line on standard error, `flumen COMMAND: WHAT`.
pub(super) fn tell(command: &str, what: impl Display) {
    complain(&format!("flumen {command}: {what}\n"));
}

/// Prints to standard error; when that fails too there is nobody left to tell.
pub(super) fn complain(text: &str) {
    let _ = io::stderr().lock().write_all(text.as_bytes());
}

/// Everything that is wrong with a configuration, and warnings.
pub(super) fn diagnose(diagnostics: &Diagnostics) {
    complain(&diagnostics.render(io::stderr().is_terminal()));
}

/// RFC 3339 in UTC. Times out of the calendar's range are shown as nanoseconds.
pub(super) fn time_text(time: Wall) -> String {
    jiff::Timestamp::from_nanosecond(i128::from(time.0))
        .map_or_else(|_| format!("{} ns", time.0), |time| time.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_rfc_3339_in_utc() {
        assert_eq!(time_text(Wall(1_065_910_455_003_000_000)), "2003-10-11T22:14:15.003Z");
    }
}
