//! SIGHUP: all files are rolled, and the configuration is read again. What has errors changes
//! nothing; what only sinks are to do otherwise is taken while the agent runs; what else has
//! changed is named, with why it takes a restart. Certificates and keys are taken a second after
//! they have changed, without a signal.
//!
//! A thread of its own, because a configuration may ask commands, which take their time, and a stop
//! must not wait for them.

use std::collections::BTreeSet;
use std::io;

use crossbeam::channel::{Sender, TrySendError, bounded};

use super::configuration::{self, ConfigArgs};
use super::output;
use crate::runtime::thread::spawn;
use crate::topology::{Change, Control, Machine, Parts, Plan, Shape, Step, plan};

/// Settings that have changed and are named.
const SHOWN_MAX: usize = 8;

/// Asks for another look at the configuration.
pub(super) struct Hangups(Sender<()>);

impl Hangups {
    /// Looks after the configuration that became this plan.
    pub(super) fn follow(args: &ConfigArgs, plan: &Plan, control: Control) -> io::Result<Self> {
        let (ask, asked) = bounded(1);
        let (args, mut running) = (args.clone(), Shape::of(plan));
        spawn("hangup", move || {
            for () in asked {
                look(&args, &mut running, &control);
            }
        })?;
        Ok(Self(ask))
    }

    /// A look; another one that waits has this one's eyes.
    pub(super) fn look(&self) {
        if let Err(TrySendError::Disconnected(())) = self.0.try_send(()) {
            tracing::warn!("SIGHUP: the configuration cannot be read again");
        }
    }
}

/// The plan, or nothing: then what is wrong was told.
pub(super) fn read(args: &ConfigArgs) -> Option<Plan> {
    let config = configuration::load("run", args)?;
    let agent = config.agent(args.agent.as_deref());
    let plan = agent.and_then(|agent| plan(&agent, &Parts::default(), &Machine::here()));
    config.diagnostics().leave_out_notes();
    output::diagnose(config.diagnostics());
    plan
}

/// Reads the configuration and takes what can be taken of it.
fn look(args: &ConfigArgs, running: &mut Shape, control: &Control) {
    let Some(plan) = read(args) else {
        tracing::error!(
            "SIGHUP: all files are rolled; the configuration has errors now, told above: the agent \
             goes on as it is, and a restart would fail"
        );
        return;
    };
    match running.step(plan) {
        Step::None => {
            tracing::info!("SIGHUP: all files are rolled; the configuration is as it was");
        }
        Step::Restart { settings, reasons } => tracing::warn!(
            "SIGHUP: all files are rolled; what has changed in the configuration takes effect at a \
             restart: {} ({})",
            shown(&settings, ", "),
            shown(&reasons, "; ")
        ),
        Step::Sinks { sinks, settings, shape } => {
            let names: BTreeSet<String> =
                sinks.iter().map(|(_, sink)| format!("sinks.{}", sink.name)).collect();
            let names = names.into_iter().collect::<Vec<_>>().join(", ");
            let (change, outcome) = Change::new(sinks);
            control.change(change);
            match outcome.recv() {
                Ok(Ok(())) => {
                    *running = shape;
                    let settings = shown(&settings, ", ");
                    tracing::info!(
                        "SIGHUP: all files are rolled; {names} replaced, these are in effect: \
                         {settings}"
                    );
                }
                Ok(Err(error)) => tracing::error!(
                    "SIGHUP: {names} cannot be replaced, and the agent goes on as it is: {error}"
                ),
                // It has ended.
                Err(_) => {}
            }
        }
    }
}

/// Names of settings, not what they are: a log is read by more people than a configuration.
fn shown(names: &[String], between: &str) -> String {
    let first = names[..names.len().min(SHOWN_MAX)].join(between);
    match names.len().saturating_sub(SHOWN_MAX) {
        0 => first,
        more => format!("{first} and {more} more"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_more_is_shown_than_fits() {
        let names: Vec<String> = (0..12).map(|number| number.to_string()).collect();
        assert_eq!(shown(&names[..2], ", "), "0, 1");
        assert_eq!(shown(&names[..8], "; "), "0; 1; 2; 3; 4; 5; 6; 7");
        assert_eq!(shown(&names, ", "), "0, 1, 2, 3, 4, 5, 6, 7 and 4 more");
    }
}
