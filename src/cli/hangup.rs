//! SIGHUP: all files are rolled, and the configuration is read again to say what a restart would
//! bring. It is not taken: certificates and keys are, a second after they have changed, without a
//! signal.
//!
//! A thread of its own, because a configuration may ask commands, which take their time, and a stop
//! must not wait for them.

use std::collections::{BTreeMap, BTreeSet};
use std::io;

use crossbeam::channel::{Sender, TrySendError, bounded};

use super::configuration::{self, ConfigArgs};
use super::output;
use crate::runtime::thread::spawn;
use crate::topology::{Machine, Parts, Plan, plan, report};

/// Settings that have changed and are named.
const SHOWN_MAX: usize = 8;

type Values = BTreeMap<String, Option<String>>;

/// Asks for another look at the configuration.
pub(super) struct Hangups(Sender<()>);

impl Hangups {
    /// Looks after the configuration that became this plan.
    pub(super) fn follow(args: &ConfigArgs, plan: &Plan) -> io::Result<Self> {
        let (ask, asked) = bounded(1);
        let (args, running) = (args.clone(), report::values(plan));
        spawn("hangup", move || {
            for () in asked {
                tell(&running, read(&args).map(|plan| report::values(&plan)).as_ref());
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

fn tell(running: &Values, now: Option<&Values>) {
    let Some(now) = now else {
        tracing::error!(
            "SIGHUP: all files are rolled; the configuration has errors now, told above: the agent \
             goes on as it is, and a restart would fail"
        );
        return;
    };
    let differing = difference(running, now);
    if differing.is_empty() {
        tracing::info!("SIGHUP: all files are rolled; the configuration is as it was");
    } else {
        tracing::warn!(
            "SIGHUP: all files are rolled; what has changed in the configuration takes effect at a \
             restart: {differing}"
        );
    }
}

/// Names of settings that are others now, or gone, or new. Not what they are: a log is read by more
/// people than a configuration.
fn difference(running: &Values, now: &Values) -> String {
    let names: BTreeSet<&String> = running.keys().chain(now.keys()).collect();
    let differs = |name: &&&String| running.get(**name) != now.get(**name);
    let names: Vec<&str> = names.iter().filter(differs).map(|name| name.as_str()).collect();
    let shown = names[..names.len().min(SHOWN_MAX)].join(", ");
    let more = names.len().saturating_sub(SHOWN_MAX);
    if more > 0 { format!("{shown} and {more} more") } else { shown }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn values(pairs: &[(&str, &str)]) -> Values {
        let pair = |(name, value): &(&str, &str)| ((*name).to_owned(), Some((*value).to_owned()));
        pairs.iter().map(pair).collect()
    }

    #[test]
    fn what_differs_is_named_and_no_more_than_fits() {
        let running = values(&[("a.x", "1"), ("a.y", "2")]);
        assert_eq!(difference(&running, &running), "");
        assert_eq!(difference(&running, &values(&[("a.x", "1"), ("a.y", "3")])), "a.y");
        assert_eq!(difference(&running, &values(&[("a.x", "1"), ("b.y", "2")])), "a.y, b.y");
        let names: Vec<String> = (0..12).map(|number| number.to_string()).collect();
        let many: Vec<_> = names.iter().map(|name| (name.as_str(), "")).collect();
        assert_eq!(
            difference(&Values::new(), &values(&many)),
            "0, 1, 10, 11, 2, 3, 4, 5 and 4 more"
        );
    }
}
