//! Coming to rest: sources, then sinks, then helpers, each when those before have ended.
//!
//! At the deadline, or when it must be at once, the sinks are dropped as they stand, and the
//! channels emptied here, so that sources blocked by a full channel can read what has arrived and
//! end: what they still take in is counted before it is thrown away. A thread that hangs in the
//! kernel cannot be ended; the process is then left by `_exit`.

use std::time::Duration;

use super::agent::{Crew, Station};
use super::control::{Control, Wish};
use crate::telemetry::Phase;
use crate::time::Mono;

/// How long threads may take to notice that they are dropped, and sources to read the last.
const NOTICE: Duration = Duration::from_millis(250);
const LAST_READ: Duration = Duration::from_secs(1);
/// How often channels nobody reads any more are emptied.
const EMPTYING: Duration = Duration::from_millis(1);

pub(super) struct Drain<'a> {
    crew: &'a mut Crew,
    control: &'a Control,
    deadline: Mono,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Drained {
    /// Everybody came to rest in time.
    InTime,
    /// Something had to be dropped.
    Forced,
}

impl<'a> Drain<'a> {
    pub(super) fn new(crew: &'a mut Crew, control: &'a Control, limit: Duration) -> Self {
        let deadline = crew.clock.now().mono.after(limit);
        Self { crew, control, deadline }
    }

    pub(super) fn run(mut self) -> Drained {
        self.crew.handles.readiness.enter(Phase::Draining);
        let drained = if self.in_order() { Drained::InTime } else { self.force() };
        self.crew.helpers.iter().for_each(Station::close);
        self.crew.endpoint.iter().for_each(Station::close);
        self.wait_for(NOTICE, is_deserted, |crew| {
            crew.helpers.iter().chain(&crew.endpoint).all(Station::is_over)
        });
        self.empty(|_, _| true);
        self.crew.handles.readiness.enter(Phase::Stopped);
        drained
    }

    /// False when the time is over, or the wish is to stop at once.
    fn in_order(&mut self) -> bool {
        self.crew.sources.iter().for_each(|(station, _)| station.close());
        if !self.rest(|crew| crew.sources.iter().all(|(station, _)| station.is_over())) {
            return false;
        }
        self.crew.sinks.iter().for_each(|(station, _)| station.close());
        if !self.rest(|crew| crew.sinks.iter().all(|(station, _)| station.is_over())) {
            return false;
        }
        self.crew.keepers.iter().for_each(Station::close);
        if !self.rest(|crew| crew.keepers.iter().all(Station::is_over)) {
            return false;
        }
        self.crew.helpers.iter().for_each(Station::close);
        self.rest(|crew| crew.helpers.iter().all(Station::is_over))
    }

    /// Waits until `done`; meanwhile nobody is blocked by a channel that has no reader left.
    fn rest(&mut self, done: impl Fn(&Crew) -> bool) -> bool {
        loop {
            self.crew.reap();
            let deserted = self.empty(is_deserted);
            if done(self.crew) {
                return true;
            }
            let now = self.crew.clock.now().mono;
            if self.control.wish() == Wish::Stop || now >= self.deadline {
                return false;
            }
            let longest = if deserted { EMPTYING } else { Duration::MAX };
            self.control.pause(self.deadline.since(now).min(longest));
        }
    }

    fn force(&mut self) -> Drained {
        match self.control.wish() {
            Wish::Stop => tracing::warn!("stopping at once: what only memory holds is lost"),
            _ => tracing::warn!("the drain's time is over: what only memory holds is lost"),
        }
        self.crew.sinks.iter().for_each(|(station, _)| station.abandon());
        self.wait_for(NOTICE, is_deserted, |crew| {
            crew.sinks.iter().all(|(station, _)| station.is_over())
        });
        // From here on nobody reads any channel: a sink that still hangs will never poll again.
        let sources_over = |crew: &Crew| crew.sources.iter().all(|(station, _)| station.is_over());
        self.crew.sources.iter().for_each(|(station, _)| station.close());
        self.wait_for(LAST_READ, |_, _| true, sources_over);
        self.crew.sources.iter().for_each(|(station, _)| station.abandon());
        self.wait_for(NOTICE, |_, _| true, sources_over);
        // What is in a log stays there: its keeper has a moment to take in the last.
        let keepers_over = |crew: &Crew| crew.keepers.iter().all(Station::is_over);
        self.crew.keepers.iter().for_each(Station::close);
        self.wait_for(LAST_READ, |_, _| true, keepers_over);
        self.crew.keepers.iter().chain(&self.crew.helpers).for_each(Station::abandon);
        self.wait_for(
            NOTICE,
            |_, _| true,
            |crew| keepers_over(crew) && crew.helpers.iter().all(Station::is_over),
        );
        Drained::Forced
    }

    /// Waits until `done`, `longest` at most, throwing away what the `unread` channels hold.
    fn wait_for(
        &mut self,
        longest: Duration,
        unread: impl Fn(&Crew, usize) -> bool,
        done: impl Fn(&Crew) -> bool,
    ) {
        let until = self.crew.clock.now().mono.after(longest);
        loop {
            self.crew.reap();
            self.empty(&unread);
            let now = self.crew.clock.now().mono;
            if done(self.crew) || now >= until {
                return;
            }
            self.control.pause(until.since(now).min(EMPTYING));
        }
    }

    /// Throws away what these channels hold; what that was is in their gauges. Says whether there
    /// is any such channel.
    fn empty(&self, which: impl Fn(&Crew, usize) -> bool) -> bool {
        let mut any = false;
        for (index, channel) in self.crew.channels.iter().enumerate() {
            if which(self.crew, index) {
                any = true;
                channel.discard();
            }
        }
        any
    }
}

/// Everybody who read this channel has ended.
fn is_deserted(crew: &Crew, channel: usize) -> bool {
    let mut readers = crew.sinks.iter().filter(|(_, of)| *of == channel);
    readers.all(|(station, _)| station.is_over())
}
