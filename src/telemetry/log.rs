//! The log: lines to stderr, as text or JSON (`FLUMEN_LOG_FORMAT`), filtered by `FLUMEN_LOG`. That
//! it is ready, and the ledger that closes a run, is said whatever the filter: scripts wait for the
//! one and read the other.
//!
//! The pipeline logs nothing per event and nothing per batch; faults go through
//! [`incident`](super::incident), which logs once when they begin and once when they end.

use std::io::{self, IsTerminal};

use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::format::FmtSpan;
use tracing_subscriber::util::SubscriberInitExt;

/// Directives such as `debug`, or `warn,flumen::source=trace`. Unset: `info`.
pub const FILTER_VARIABLE: &str = "FLUMEN_LOG";

/// Target of the lines that scripts wait for: they are said at every level but `off`.
pub const ALWAYS: &str = "flumen_always";

/// `text`, the default, or `json`: one object a line.
pub const FORMAT_VARIABLE: &str = "FLUMEN_LOG_FORMAT";

/// Why the log could not be set up: a mistake in the environment, exit code 2.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    #[error(
        "{FILTER_VARIABLE}={value}: {reason}; write a level (error, warn, info, debug, trace, off) \
         or module=level pairs separated by commas"
    )]
    Filter { value: String, reason: String },
    #[error("{FORMAT_VARIABLE}={0}: there is no such format; write text or json")]
    Format(String),
    #[error("the log is already set up")]
    Twice,
}

/// Sets the process up to log. Called once, by the command line, before anything is started.
pub fn start() -> Result<(), LogError> {
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
    let format = std::env::var_os(FORMAT_VARIABLE).unwrap_or_default();
    let started = match format.to_string_lossy().as_ref() {
        "" | "text" => builder.finish().try_init(),
        "json" => builder.json().flatten_event(true).finish().try_init(),
        other => return Err(LogError::Format(other.to_owned())),
    };
    started.map_err(|_| LogError::Twice)
}

fn filter(value: &str) -> Result<EnvFilter, LogError> {
    let directives = if value.trim().is_empty() { "info" } else { value };
    let wrong = |reason: String| LogError::Filter { value: value.to_owned(), reason };
    let filter = EnvFilter::builder().parse(directives).map_err(|e| wrong(e.to_string()))?;
    if directives.trim().eq_ignore_ascii_case("off") {
        return Ok(filter);
    }
    let always = format!("{ALWAYS}=info").parse().map_err(|error| wrong(format!("{error}")))?;
    Ok(filter.add_directive(always))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_filter_defaults_to_info() {
        let shown = |value| filter(value).expect("valid").to_string();
        assert_eq!(shown(" "), "flumen_always=info,info");
        assert_eq!(shown("warn,flumen=debug"), "flumen_always=info,flumen=debug,warn");
        assert_eq!(shown("OFF"), "off");
    }

    #[test]
    fn a_wrong_filter_says_what_would_be_right() {
        let error = filter("flumen=loud").expect_err("no such level").to_string();
        assert!(error.starts_with("FLUMEN_LOG=flumen=loud: "), "{error}");
        assert!(error.contains("error, warn, info, debug, trace, off"), "{error}");
    }
}
