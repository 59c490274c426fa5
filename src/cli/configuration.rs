//! What `run` and `check` have in common: which file, which agent, and `-Dkey=value`.

use std::path::PathBuf;
use std::time::Duration;

use super::output;
use crate::config::{Around, Config, definition};
use crate::runtime::clock::{Clock, SystemClock};
use crate::runtime::command;

/// So long may the command of a config filter take.
const COMMAND_MAX: Duration = Duration::from_secs(30);

/// The arguments that say which configuration is meant.
#[derive(Clone, Debug, clap::Args)]
pub(super) struct ConfigArgs {
    /// The configuration: a TOML file, a directory of them, or a properties file of Apache Flume's
    config: PathBuf,
    /// Which agent, when the file describes several
    #[arg(long, short = 'n', visible_alias = "name", value_name = "NAME")]
    pub(super) agent: Option<String>,
    /// For Flume's files: `${sys:KEY}`, and flume.monitoring.type and .port
    #[arg(short = 'D', value_name = "KEY=VALUE", value_parser = definition)]
    definitions: Vec<(String, String)>,
}

impl ConfigArgs {
    pub(super) fn is_directory(&self) -> bool {
        self.config.is_dir()
    }
}

/// This process's surroundings.
pub(super) fn around(definitions: Vec<(String, String)>) -> Around {
    Around::here(definitions, ask, SystemClock::default().now().wall)
}

/// No shell: words are divided at blanks, as Flume does it.
fn ask(line: &str, key: &str) -> Result<String, String> {
    let words: Vec<&str> = line.split_whitespace().chain([key]).collect();
    match words.split_first() {
        Some((program, arguments)) if !arguments.is_empty() => {
            command::ask(program, arguments, COMMAND_MAX)
        }
        _ => Err("its command is empty".to_owned()),
    }
}

/// The configuration, when there is something to plan; what is wrong with it otherwise was told.
pub(super) fn load(command: &str, args: &ConfigArgs) -> Option<Config> {
    let around = around(args.definitions.clone());
    let config = match Config::load(&args.config, &around) {
        Ok(config) => config,
        Err(diagnostics) => {
            output::diagnose(&diagnostics);
            return None;
        }
    };
    if let (false, Some((key, _))) = (config.is_flume(), args.definitions.first()) {
        let what = format!(
            "-D{key} has no effect: it is for Flume's properties files; in TOML write ${{NAME}} \
             and set the variable NAME"
        );
        output::tell(command, what);
    }
    Some(config)
}
