//! Arguments → command; one file a command.
//!
//! Exit codes: 0 done · 1 it ran and failed, or found a difference · 2 usage or configuration. A
//! closed pipe ends a command quietly. No colour and no progress where there is no terminal.

pub mod audit;
pub mod blast;
pub mod cat;
pub mod channel;
mod check;
mod configuration;
mod demo;
mod event_json;
mod follow;
mod form;
mod gather;
pub mod grep;
mod hangup;
pub mod inspect;
mod instant;
mod interrupt;
mod output;
pub mod parse;
mod pipe;
pub mod repair;
pub mod replay;
mod run;
pub mod stats;
pub mod tail;
pub mod verify;

use std::io::{self, Write};
use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Logs and traffic in, compressed rolling files out, every event accounted for
#[derive(Parser)]
#[command(name = "flumen", version, propagate_version = true, arg_required_else_help = true)]
#[command(after_help = "Example: flumen run /etc/flumen/flumen.toml")]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    Run(run::RunArgs),
    Check(check::CheckArgs),
    Demo(demo::DemoArgs),
    Blast(blast::BlastArgs),
    Audit(audit::AuditArgs),
    Cat(cat::CatArgs),
    Channel(channel::ChannelArgs),
    Grep(grep::GrepArgs),
    Inspect(inspect::InspectArgs),
    Parse(parse::ParseArgs),
    Repair(repair::RepairArgs),
    Replay(replay::ReplayArgs),
    Stats(stats::StatsArgs),
    Tail(tail::TailArgs),
    Verify(verify::VerifyArgs),
}

/// Why a command ends without having done its work; the text has been printed.
pub(crate) enum Failure {
    /// It ran and failed.
    Failed,
    /// Usage or configuration.
    Usage,
}

impl From<Failure> for ExitCode {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Failed => Self::from(1),
            Failure::Usage => Self::from(2),
        }
    }
}

/// Mistakes go to standard error; help and version come this way too, to standard output.
fn say(error: &clap::Error) -> ExitCode {
    let code = ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(2));
    let said = error.print().and_then(|()| io::stdout().flush());
    if error.use_stderr() { code } else { output::finish("help", said.map(|()| code)) }
}

/// The whole program.
pub fn main() -> ExitCode {
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) => return say(&error),
    };
    match &arguments.command {
        Command::Run(args) => run::run(args),
        Command::Check(args) => check::run(args),
        Command::Demo(args) => demo::run(args),
        Command::Blast(args) => blast::run(args),
        Command::Audit(args) => audit::run(args),
        Command::Cat(args) => cat::run(args),
        Command::Channel(args) => channel::run(args),
        Command::Grep(args) => grep::run(args),
        Command::Inspect(args) => inspect::run(args),
        Command::Parse(args) => parse::run(args),
        Command::Repair(args) => repair::run(args),
        Command::Replay(args) => replay::run(args),
        Command::Stats(args) => stats::run(args),
        Command::Tail(args) => tail::run(args),
        Command::Verify(args) => verify::run(args),
    }
}
