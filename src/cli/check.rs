//! `flumen check`: what a configuration means, or everything that is wrong with it.

use std::process::ExitCode;

use super::configuration::{self, ConfigArgs};
use super::{Failure, output};
use crate::config::Config;
use crate::topology::{Machine, Parts, plan, report};

/// Shows what a configuration means: threads, memory, listeners, and every key in effect
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples: flumen check /etc/flumen/flumen.toml\n\
    \x20         flumen check /etc/flumen.d\n\
    \x20         flumen check flume.conf --to-toml > flumen.toml\n\n\
    Of a directory every *.toml is read, by name. Binds nothing and creates nothing. Exits\n\
    2 when the configuration has errors, and tells all of them.")]
pub(super) struct CheckArgs {
    #[command(flatten)]
    config: ConfigArgs,
    /// Print the TOML that means the same, instead of the plan
    #[arg(long)]
    to_toml: bool,
}

pub(super) fn run(args: &CheckArgs) -> ExitCode {
    let Some(config) = configuration::load("check", &args.config) else {
        return Failure::Usage.into();
    };
    let names = config.agent_names();
    let agents: Vec<_> = match (&args.config.agent, names.len()) {
        (Some(name), _) => vec![config.agent(Some(name))],
        (None, 0) => vec![config.agent(None)],
        _ => names.iter().map(|name| config.agent(Some(name))).collect(),
    };
    let machine = Machine::here();
    let plans = agents.iter().flatten();
    let plans = plans.map(|agent| plan(agent, &Parts::default(), &machine));
    let mut reports: Vec<String> = plans.flatten().map(|plan| report::text(&plan)).collect();
    output::diagnose(config.diagnostics());
    if config.diagnostics().has_errors() {
        return Failure::Usage.into();
    }
    if args.to_toml {
        return output::print("check", &config.to_toml());
    }
    if let Some(files) = several(&config, &args.config) {
        reports.insert(0, files);
    }
    output::print("check", &reports.join("\n"))
}

/// Which files were read, when that is not plain from the command.
fn several(config: &Config, args: &ConfigArgs) -> Option<String> {
    let files = config.diagnostics().files();
    let plain = files.len() == 1 && !args.is_directory();
    (!plain).then(|| format!("read, in this order\n  {}\n", files.join("\n  ")))
}
