//! The log: lines to stderr, as text or JSON, filtered by `FLUMEN_LOG`.
//!
//! The pipeline logs nothing per event and nothing per batch; faults go through
//! [`incident`](super::incident), which logs once when they begin and once when they end.

use std::io::{self, IsTerminal};

use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::format::FmtSpan;
use tracing_subscriber::util::SubscriberInitExt;

/// Directives such as `debug`, or `warn,flumen::source=trace`. Unset: `info`.
pub const FILTER_VARIABLE: &str = "FLUMEN_LOG";

/// How a line looks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LogFormat {
    #[default]
    Text,
    Json,
}

/// Why the log could not be set up: a mistake in the environment, exit code 2.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    #[error(
        "{FILTER_VARIABLE}={value}: {reason}; write a level (error, warn, info, debug, trace, off) \
         or module=level pairs separated by commas"
    )]
    Filter { value: String, reason: String },
    #[error("the log is already set up")]
    Twice,
}

/// Sets the process up to log. Called once, by the command line, before anything is started.
pub fn start(format: LogFormat) -> Result<(), LogError> {
    let value = std::env::var_os(FILTER_VARIABLE).unwrap_or_default();
    let filter = filter(&value.to_string_lossy())?;
    // No colour codes in files, pipes and journals, nor where people asked for none.
    let colour = io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none();
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(io::stderr)
        .with_span_events(FmtSpan::NONE)
        .with_ansi(colour)
        .with_target(false)
        // A closed stderr must not take the agent down.
        .log_internal_errors(false);
    let started = match format {
        LogFormat::Text => builder.finish().try_init(),
        LogFormat::Json => builder.json().flatten_event(true).finish().try_init(),
    };
    started.map_err(|_| LogError::Twice)
}

fn filter(value: &str) -> Result<EnvFilter, LogError> {
    let directives = if value.trim().is_empty() { "info" } else { value };
    EnvFilter::builder()
        .parse(directives)
        .map_err(|error| LogError::Filter { value: value.to_owned(), reason: error.to_string() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_filter_defaults_to_info() {
        assert_eq!(filter(" ").expect("valid").to_string(), "info");
        assert_eq!(filter("warn,flumen=debug").expect("valid").to_string(), "flumen=debug,warn");
    }

    #[test]
    fn a_wrong_filter_says_what_would_be_right() {
        let error = filter("flumen=loud").expect_err("no such level").to_string();
        assert!(error.starts_with("FLUMEN_LOG=flumen=loud: "), "{error}");
        assert!(error.contains("error, warn, info, debug, trace, off"), "{error}");
    }
}
