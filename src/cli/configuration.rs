//! What `run` and `check` have in common: which file, which agent, and `-Dkey=value`.

use std::path::PathBuf;

use super::output;
use crate::config::{Around, Config, definition};

/// The arguments that say which configuration is meant.
#[derive(Debug, clap::Args)]
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

/// The configuration, when there is something to plan; what is wrong with it otherwise was told.
pub(super) fn load(command: &str, args: &ConfigArgs) -> Option<Config> {
    let around = Around::here(args.definitions.clone());
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
