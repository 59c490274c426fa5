//! `flumen run`: the agent, from its configuration to its closing ledger.

use std::io;
use std::process::ExitCode;

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM, SIGUSR1, SIGXFSZ};
use signal_hook::iterator::Signals;

use super::configuration::ConfigArgs;
use super::hangup::{self, Hangups};
use super::{Failure, output};
use crate::admin;
use crate::runtime::thread::spawn;
use crate::sys::notify::Manager;
use crate::telemetry::{log, report};
use crate::topology::{Agent, Control, Outcome};

/// Runs the agent that a configuration describes, until it is told to stop
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples: flumen run /etc/flumen/flumen.toml\n\
    \x20         flumen run flume.conf -n a1 -Dflume.monitoring.type=http\n\n\
    Logs to standard error. FLUMEN_LOG=debug says more, FLUMEN_LOG=warn less, but always when it\n\
    is ready and, as the last line, the ledger; FLUMEN_LOG=off says nothing.\n\
    FLUMEN_LOG_FORMAT=json makes each line an object.\n\n\
    SIGTERM and SIGINT deliver what was accepted and end with 0; a second one stops at once.\n\
    SIGUSR1 rolls all files; SIGHUP does, and reads the configuration again: what sinks are to do\n\
    otherwise is taken at once, what else has changed is named and waits for a restart.")]
pub(super) struct RunArgs {
    #[command(flatten)]
    config: ConfigArgs,
}

pub(super) fn run(args: &RunArgs) -> ExitCode {
    if let Err(error) = log::start() {
        output::complain(&format!("flumen run: {error}\n"));
        return Failure::Usage.into();
    }
    let Some(plan) = hangup::read(&args.config) else { return Failure::Usage.into() };
    // Before anything starts: a stop asked for during the start is a stop.
    let control = Control::default();
    let hangups = Hangups::follow(&args.config, &plan, control.clone());
    if let Err(error) = hangups.and_then(|hangups| follow_signals(control.clone(), hangups)) {
        output::complain(&format!("flumen run: signals cannot be followed: {error}\n"));
        return Failure::Failed.into();
    }
    let mut agent = match Agent::start(&plan, &control, admin::endpoint::open) {
        Ok(agent) => agent,
        Err(errors) => {
            errors.iter().for_each(|error| output::complain(&format!("flumen run: {error}\n")));
            return Failure::Usage.into();
        }
    };
    tracing::info!(target: log::ALWAYS, "{}", agent.ready());
    agent.report_to(Manager::here());
    end(&agent.join())
}

/// The closing ledger is the last line.
fn end(outcome: &Outcome) -> ExitCode {
    let line = report::line(&outcome.snapshot);
    if outcome.snapshot.adds_up() {
        tracing::info!(target: log::ALWAYS, "{line}");
    } else {
        tracing::error!("{line}");
    }
    if outcome.hung {
        // A thread that hangs in the kernel would hang the ordinary way out.
        signal_hook::low_level::exit(i32::from(outcome.code));
    }
    ExitCode::from(outcome.code)
}

/// A thread that turns signals into wishes, for as long as the process lives.
fn follow_signals(control: Control, hangups: Hangups) -> io::Result<()> {
    let mut signals = Signals::new([SIGTERM, SIGINT, SIGHUP, SIGUSR1, SIGXFSZ])?;
    let follow = move || {
        let mut stopping = false;
        for signal in &mut signals {
            match signal {
                SIGHUP => {
                    control.roll();
                    hangups.look();
                }
                SIGUSR1 => control.roll(),
                // A limit of file sizes (`ulimit -f`) would kill us; asked for, the signal does
                // nothing and the write fails with EFBIG, which the sink waits out.
                SIGXFSZ => {}
                _ if stopping => control.stop_now(),
                _ => {
                    stopping = true;
                    control.stop();
                }
            }
        }
    };
    spawn("signals", follow).map(drop)
}
