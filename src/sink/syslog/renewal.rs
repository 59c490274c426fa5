//! Looks after the files of the `tls` table once a second; new ones are shown to whoever is
//! connected to next, and connections go on with what they began with. A helper worker, for reading
//! blocks.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::memory::gate::exempt;
use crate::ring::Wake;
use crate::runtime::parker::Parker;
use crate::runtime::{Progress, Worker};
use crate::telemetry::Watch;
use crate::time::{Mono, Now};
use crate::wire::tls::client::Setup;
use crate::wire::tls::keeper::{Keeper, Look};

/// Between two looks at the files.
const LOOK: Duration = Duration::from_secs(1);

/// What the next connection begins with.
#[derive(Clone)]
pub(super) struct Current(Arc<Mutex<Setup>>);

impl Current {
    pub(super) fn new(setup: Setup) -> Self {
        Self(Arc::new(Mutex::new(setup)))
    }

    pub(super) fn setup(&self) -> Setup {
        self.locked().clone()
    }

    fn locked(&self) -> MutexGuard<'_, Setup> {
        // Holders only move values in and out; a poisoned one is still right.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

pub(super) struct Renewal {
    name: String,
    keeper: Keeper<Setup>,
    current: Current,
    watch: Watch,
    due: Mono,
    parker: Parker,
    closing: bool,
}

impl Renewal {
    pub(super) fn new(name: String, keeper: Keeper<Setup>, current: Current, watch: Watch) -> Self {
        let (due, parker) = (Mono(0), Parker::default());
        Self { name, keeper, current, watch, due, parker, closing: false }
    }

    fn look(&mut self, now: Now) {
        match self.keeper.look() {
            Look::Other => {}
            Look::Same => self.watch.recovered(now),
            Look::Fresh(setup) => {
                *self.current.locked() = setup;
                self.watch.recovered(now);
                let who = self.keeper.who().map(|who| format!(": certificate of {who}"));
                let who = who.unwrap_or_default();
                tracing::info!("{}: new files are in effect{who}", self.name);
            }
            Look::Bad(error) => {
                self.watch.fault(now, &format!("tls: the old files stay in effect: {error}"));
            }
        }
    }
}

impl Worker for Renewal {
    fn name(&self) -> &str {
        &self.name
    }

    fn work(&mut self, now: Now) -> Progress {
        if self.closing {
            return Progress::Done;
        }
        if now.mono >= self.due {
            exempt(|| self.look(now));
            self.due = now.mono.after(LOOK);
        }
        Progress::Idle { until: self.due }
    }

    fn wait(&mut self, now: Now, until: Mono) {
        self.parker.sleep(now, until);
    }

    fn close(&mut self, _now: Now) {
        self.closing = true;
    }

    fn waker(&self) -> Arc<dyn Wake> {
        self.parker.waker()
    }
}
