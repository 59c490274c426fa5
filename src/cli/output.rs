//! What the reading commands share: standard output that may be closed, times as text.

use std::io;
use std::process::ExitCode;

use crate::time::Wall;

/// Ends a command. A closed pipe ends quietly: the reader has what it wanted.
pub(super) fn finish(command: &str, outcome: io::Result<ExitCode>) -> ExitCode {
    match outcome {
        Ok(code) => code,
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("flumen {command}: {error}");
            ExitCode::FAILURE
        }
    }
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
