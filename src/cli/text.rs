//! Text to people: standard output that may be closed, and diagnostics.

use std::io::{self, ErrorKind, IsTerminal, Write};
use std::process::ExitCode;

use super::Failure;
use crate::config::Diagnostics;

/// Prints to standard output. A closed pipe ends quietly: the reader has what it wanted.
pub(super) fn print(text: &str) -> ExitCode {
    let mut out = io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) if error.kind() == ErrorKind::BrokenPipe => ExitCode::SUCCESS,
        Err(error) => {
            complain(&format!("flumen: standard output: {error}\n"));
            Failure::Failed.into()
        }
    }
}

/// Prints to standard error; when that fails too there is nobody left to tell.
pub(super) fn complain(text: &str) {
    let _ = io::stderr().lock().write_all(text.as_bytes());
}

/// Everything that is wrong with a configuration, and warnings.
pub(super) fn diagnose(diagnostics: &Diagnostics) {
    complain(&diagnostics.render(io::stderr().is_terminal()));
}
