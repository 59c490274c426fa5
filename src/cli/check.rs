//! `flumen check`: what a configuration means, or everything that is wrong with it.

use std::path::PathBuf;
use std::process::ExitCode;

use super::{Failure, output};
use crate::config::Config;
use crate::topology::{Machine, Parts, plan, report};

/// Shows what a configuration means: threads, memory, listeners, and every key in effect
#[derive(Debug, clap::Args)]
#[command(after_help = "Example: flumen check /etc/flumen/flumen.toml\n\n\
    Binds nothing and creates nothing. Exits 2 when the configuration has errors, and tells\n\
    all of them.")]
pub(super) struct CheckArgs {
    /// The configuration, a TOML file
    config: PathBuf,
}

pub(super) fn run(args: &CheckArgs) -> ExitCode {
    let config = match Config::load(&args.config) {
        Ok(config) => config,
        Err(diagnostics) => {
            output::diagnose(&diagnostics);
            return Failure::Usage.into();
        }
    };
    let names = config.agent_names();
    let agents: Vec<_> = match names.len() {
        0 => vec![config.agent(None)],
        _ => names.iter().map(|name| config.agent(Some(name))).collect(),
    };
    let machine = Machine::here();
    let plans = agents.iter().flatten();
    let plans = plans.map(|agent| plan(agent, &Parts::default(), &machine));
    let reports: Vec<String> = plans.flatten().map(|plan| report::text(&plan)).collect();
    output::diagnose(config.diagnostics());
    if config.diagnostics().has_errors() {
        return Failure::Usage.into();
    }
    output::print("check", &reports.join("\n"))
}
