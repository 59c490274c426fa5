//! Sinks are replaced while the agent runs.
//!
//! ```text
//! shut the taps ─▶ the old sinks finish what they have and end ─▶ build ─▶ open ─▶ the new ones
//!                  meanwhile their channels fill; sources wait, or do what `when_full` says
//! ```
//! All of them or none: when one cannot be built, those that were there are built again. A sink
//! that cannot get rid of what it has in hand is waited for, since nothing may be lost; a stop that
//! comes meanwhile waits for the drain's time and goes on as any other.

use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;

use super::agent::{Agent, Station};
use super::control::Wish;
use super::plan::PlannedSink;
use crate::time::Mono;

/// When it is said that a sink is waited for.
const PATIENCE: Duration = Duration::from_secs(10);

/// Sinks that are to be replaced, by their indices.
pub struct Change {
    sinks: Vec<(usize, PlannedSink)>,
    outcome: Sender<Result<(), String>>,
}

impl Change {
    /// And where its outcome is heard; an agent that ends says nothing.
    pub fn new(sinks: Vec<(usize, PlannedSink)>) -> (Self, Receiver<Result<(), String>>) {
        let (outcome, heard) = channel();
        (Self { sinks, outcome }, heard)
    }
}

impl Agent {
    pub(super) fn take(&mut self, change: Change) {
        let Change { sinks, outcome } = change;
        let replaced = self.replace(sinks);
        // Whoever asked may have gone.
        let _ = outcome.send(replaced);
    }

    fn replace(&mut self, next: Vec<(usize, PlannedSink)>) -> Result<(), String> {
        let indices: Vec<usize> = next.iter().map(|(index, _)| *index).collect();
        if !self.finish(&indices) {
            return Err("the agent stops".to_owned());
        }
        let before = indices.iter().map(|index| (*index, self.sinks[*index].clone())).collect();
        match self.man_sinks(next) {
            Ok(()) => Ok(()),
            Err(error) => {
                if let Err(again) = self.man_sinks(before) {
                    tracing::error!("what was there cannot be built again either: {again}");
                    self.crew.failed = true;
                }
                Err(error)
            }
        }
    }

    /// Waits until these sinks have finished what they have. False when the agent is to stop first.
    fn finish(&mut self, indices: &[usize]) -> bool {
        let is_one = |station: &Station| station.sink().is_some_and(|it| indices.contains(&it));
        indices.iter().for_each(|index| self.outlets[*index].shut());
        for (station, _) in self.crew.sinks.iter_mut().filter(|(station, _)| is_one(station)) {
            station.leave();
        }
        let names: Vec<String> =
            indices.iter().map(|index| format!("sinks.{}", self.sinks[*index].name)).collect();
        let names = names.join(", ");
        let rested = self.await_rest(&names, |agent| {
            agent.crew.sinks.iter().all(|(station, _)| !is_one(station) || station.is_over())
        });
        if !rested {
            // They are the ones that empty the channel now.
            indices.iter().for_each(|index| self.outlets[*index].open());
            return false;
        }
        let helpers = |agent: &Self| {
            agent.crew.helpers.iter().all(|helper| !is_one(helper) || helper.is_over())
        };
        self.crew.helpers.iter().filter(|helper| is_one(helper)).for_each(Station::close);
        if !self.await_rest(&names, helpers) {
            return false;
        }
        self.crew.reap();
        self.crew.sinks.retain(|(station, _)| !is_one(station));
        self.crew.helpers.retain(|helper| !is_one(helper));
        true
    }

    /// True when `done`; false when the agent must stop and its drain's time is over, or at once.
    fn await_rest(&mut self, names: &str, done: impl Fn(&Self) -> bool) -> bool {
        let begun = self.crew.clock.now().mono;
        let mut deadline = Mono::MAX;
        let mut told = begun.after(PATIENCE);
        loop {
            let stopping = self.reason().is_some();
            if done(self) && !self.crew.failed {
                return true;
            }
            let now = self.crew.clock.now().mono;
            if stopping {
                deadline = deadline.min(now.after(self.drain));
            }
            if self.crew.failed || self.control.wish() == Wish::Stop || now >= deadline {
                return false;
            }
            if now >= told {
                told = Mono::MAX;
                tracing::warn!(
                    "{names}: what it took must be delivered before another can take its place; \
                     a stop ends the wait within agent.drain"
                );
            }
            let longest = self.keep_house();
            self.control.pause(longest.min(told.min(deadline).since(now)));
        }
    }

    /// Builds these sinks and starts them, all or none.
    fn man_sinks(&mut self, sinks: Vec<(usize, PlannedSink)>) -> Result<(), String> {
        let now = self.crew.clock.now();
        let mut built = Vec::new();
        for (index, planned) in &sinks {
            // Opened first: whoever comes sits where those before sat.
            self.outlets[*index].open();
            built
                .push(self.outlets[*index].build(planned, now).map_err(|error| error.to_string())?);
        }
        for ((index, planned), built) in sinks.into_iter().zip(built) {
            for note in &built.notes {
                tracing::info!("sinks.{}: {note}", planned.name);
            }
            let started = self.crew.man_sink(index, &planned, built, &self.control);
            if let Err(error) = started {
                self.crew.failed = true;
                return Err(format!("a thread cannot be started: {error}"));
            }
            self.sinks[index] = planned;
        }
        Ok(())
    }
}
