//! Faults, each from its detection to its recovery: one log line at each end, counted in between.
//!
//! A part asks for a [`Watch`] for each thing that can go wrong with it, and tells it at every
//! attempt how that went: [`Watch::fault`] or [`Watch::blocked`] when it failed,
//! [`Watch::recovered`] when it worked. The first failure is logged and listed, the following ones
//! are counted. A `blocked` fault makes `/readyz` answer 503 with its text until it works again.
//!
//! ```text
//!   blocked ──▶ works ──▶ blocked ──▶ works ──── 10 s ────▶ over
//!    │ ERROR      │ ready     │ not ready  │ ready            │ "recovered"
//! ```
//! What works again may fail again at once: a disk at its edge has room for one file and none for
//! the next. Readiness follows every turn; the log is told of the end when nothing has failed for
//! some seconds, and of nothing in between. Who looks after that is told when: [`Incidents::look`].
//!
//! Threading: a watch belongs to one worker. `recovered` with nothing open costs one comparison and
//! a repeated fault one atomic add; the list's lock is taken only when an incident begins or is
//! over, its own when it turns or changes its text, and both by the admin endpoint.

use std::collections::VecDeque;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use crate::time::{Mono, Now, Wall};

/// So many incidents are remembered: a day of a bad disk, and small enough for one HTTP answer.
const REMEMBERED_MAX: usize = 256;
/// An incident is over when nothing has failed for so long.
const CALM: Duration = Duration::from_secs(10);

/// The incidents of one agent, newest last.
#[derive(Debug, Default)]
pub struct Incidents {
    list: Mutex<VecDeque<Arc<Record>>>,
    begun: AtomicU64,
    calmed: OnceLock<Calmed>,
}

/// Whoever looks after those that are calm, and is to look anew.
struct Calmed(Box<dyn Fn() + Send + Sync>);

#[derive(Debug)]
struct Record {
    number: u64,
    component: String,
    /// It blocked, at one time at least.
    blocks: bool,
    began: Now,
    times: AtomicU64,
    story: Mutex<Story>,
}

/// What changes while an incident lasts.
#[derive(Clone, Debug)]
struct Story {
    what: String,
    stage: Stage,
}

/// Its watch turns it to and fro; from `Calm` to `Over` anybody may, under its lock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// Nothing moves through this part.
    Blocks,
    Hinders,
    /// It has worked since then.
    Calm(Now),
    Over(Now),
}

/// One incident as `/incidents` shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Incident {
    /// Counted from 1 since the start.
    pub number: u64,
    pub component: String,
    pub what: String,
    /// Data could not move through this part while it lasted.
    pub blocks: bool,
    pub began: Wall,
    /// Since when it has worked again, and how long it had lasted by the monotonic clock; `None`
    /// while it lasts.
    pub ended: Option<(Wall, Duration)>,
    /// How often it was met, the first time included.
    pub times: u64,
}

/// One part's eye on one kind of fault.
#[derive(Debug)]
pub struct Watch {
    incidents: Arc<Incidents>,
    component: String,
    open: Option<Open>,
}

#[derive(Debug)]
struct Open {
    record: Arc<Record>,
    /// As in `record`, but that it may be over there when it is calm here.
    stage: Stage,
    /// The text in `record`, at hand for comparison without its lock.
    what: String,
}

impl Watch {
    /// Something failed that hinders but does not stop the flow. True when this began an incident.
    pub fn fault(&mut self, now: Now, what: &str) -> bool {
        self.met(now, what, false)
    }

    /// Something failed and nothing moves through this part until [`Self::recovered`]. True when
    /// this began an incident.
    pub fn blocked(&mut self, now: Now, what: &str) -> bool {
        self.met(now, what, true)
    }

    /// It works again. Costs nothing when nothing was wrong.
    pub fn recovered(&mut self, now: Now) {
        let Some(open) = &mut self.open else { return };
        if open.lasts() {
            open.stage = Stage::Calm(now);
            locked(&open.record.story).stage = open.stage;
            self.incidents.calmed.get().into_iter().for_each(|told| told.0());
        }
    }

    /// A fault that is over as soon as it is noticed, such as a torn tail that was cut.
    pub fn once(&mut self, now: Now, what: &str) {
        tracing::warn!("{}: {what}", self.component);
        self.incidents.begin(&self.component, what, now, false, Stage::Over(now));
    }

    /// Something is wrong now.
    pub fn is_open(&self) -> bool {
        self.open.as_ref().is_some_and(Open::lasts)
    }

    fn met(&mut self, now: Now, what: &str, blocks: bool) -> bool {
        if self.open.as_mut().is_some_and(|open| open.goes_on(now, what, blocks)) {
            return false;
        }
        if blocks {
            tracing::error!("{}: {what}", self.component);
        } else {
            tracing::warn!("{}: {what}", self.component);
        }
        let stage = if blocks { Stage::Blocks } else { Stage::Hinders };
        let record = self.incidents.begin(&self.component, what, now, blocks, stage);
        self.open = Some(Open { record, stage, what: what.to_owned() });
        true
    }
}

impl Open {
    fn lasts(&self) -> bool {
        matches!(self.stage, Stage::Blocks | Stage::Hinders)
    }

    /// It is met once more. False when it was over, or is from now on: what comes is another one.
    fn goes_on(&mut self, now: Now, what: &str, blocks: bool) -> bool {
        let turned = match self.stage {
            // It became worse: that is another incident.
            _ if blocks && !self.record.blocks => {
                self.record.become_worse(now);
                return false;
            }
            // A lesser fault beside a blocking one does not end it: only `recovered` does.
            Stage::Blocks => Stage::Blocks,
            _ if blocks => Stage::Blocks,
            _ => Stage::Hinders,
        };
        let lesser = turned == Stage::Blocks && !blocks;
        let told_so = lesser || self.what == what;
        if turned != self.stage || !told_so {
            let mut story = locked(&self.record.story);
            if matches!(story.stage, Stage::Over(_)) {
                return false;
            }
            story.stage = turned;
            self.stage = turned;
            if !told_so {
                what.clone_into(&mut self.what);
                what.clone_into(&mut story.what);
            }
        }
        // Relaxed: a count for people; nothing else hangs on it.
        self.record.times.fetch_add(1, Ordering::Relaxed);
        true
    }
}

impl Incidents {
    pub fn new() -> Arc<Self> {
        Arc::default()
    }

    /// A watch for `component`, written as people say it: `sink archive`.
    pub fn watch(self: &Arc<Self>, component: &str) -> Watch {
        Watch { incidents: self.clone(), component: component.to_owned(), open: None }
    }

    /// All that are remembered, oldest first.
    pub fn list(&self) -> Vec<Incident> {
        let list = locked(&self.list);
        list.iter().map(|record| record.incident()).collect()
    }

    /// What keeps data from moving now, as `component: what`.
    pub fn blocking(&self) -> Vec<String> {
        let list = locked(&self.list);
        let blocking = |record: &Arc<Record>| {
            let story = locked(&record.story);
            (story.stage == Stage::Blocks).then(|| format!("{}: {}", record.component, story.what))
        };
        list.iter().filter_map(blocking).collect()
    }

    /// Who calls [`Self::look`] is told here, on a part's thread, that there is a new time for it.
    pub fn when_calm(&self, tell: impl Fn() + Send + Sync + 'static) {
        // There is one who looks, from the start to the end.
        let _ = self.calmed.set(Calmed(Box::new(tell)));
    }

    /// Tells which incidents are over by now; when to look for the next one.
    pub fn look(&self, now: Now) -> Mono {
        let mut next = Mono::MAX;
        for record in &*locked(&self.list) {
            next = next.min(record.end_if_calm(|since| since.mono.after(CALM), now.mono));
        }
        next
    }

    /// Nothing will happen any more: what works now is over.
    pub fn close(&self) {
        for record in &*locked(&self.list) {
            record.end_if_calm(|_| Mono::default(), Mono::MAX);
        }
    }

    fn begin(
        &self,
        component: &str,
        what: &str,
        now: Now,
        blocks: bool,
        stage: Stage,
    ) -> Arc<Record> {
        let record = Arc::new(Record {
            number: self.begun.fetch_add(1, Ordering::Relaxed) + 1,
            component: component.to_owned(),
            blocks,
            began: now,
            times: AtomicU64::new(1),
            story: Mutex::new(Story { what: what.to_owned(), stage }),
        });
        let mut list = locked(&self.list);
        if list.len() == REMEMBERED_MAX {
            // Those that last are worth more than those that are over.
            let is = |wanted: fn(Stage) -> bool| {
                list.iter().position(|record| wanted(locked(&record.story).stage))
            };
            let over = is(|stage| matches!(stage, Stage::Over(_)));
            let at = over.or_else(|| is(|stage| matches!(stage, Stage::Calm(_))));
            let forgotten = list.remove(at.unwrap_or(0)).expect("there are as many");
            // Its watch begins another when it fails again.
            forgotten.end_if_calm(|_| Mono::default(), Mono::MAX);
        }
        list.push_back(record.clone());
        record
    }
}

impl Record {
    /// Ends and tells it if it is calm, and the time for that has come; that time, if it is later.
    fn end_if_calm(&self, due: impl Fn(Now) -> Mono, now: Mono) -> Mono {
        let mut story = locked(&self.story);
        let Stage::Calm(since) = story.stage else { return Mono::MAX };
        if due(since) > now {
            return due(since);
        }
        story.stage = Stage::Over(since);
        let (lasted, times) = (since.mono.since(self.began.mono), self.times());
        let (component, what, lasted) = (&self.component, &story.what, human(lasted));
        tracing::info!("{component}: recovered after {lasted} ({times} times): {what}");
        Mono::MAX
    }

    /// What comes now is another incident, and tells of itself.
    fn become_worse(&self, now: Now) {
        self.end_if_calm(|_| Mono::default(), Mono::MAX);
        let mut story = locked(&self.story);
        if !matches!(story.stage, Stage::Over(_)) {
            story.stage = Stage::Over(now);
        }
    }

    /// How often it was met.
    fn times(&self) -> u64 {
        self.times.load(Ordering::Relaxed)
    }

    fn incident(&self) -> Incident {
        let Story { what, stage } = locked(&self.story).clone();
        let ended = match stage {
            Stage::Blocks | Stage::Hinders => None,
            Stage::Calm(at) | Stage::Over(at) => Some((at.wall, at.mono.since(self.began.mono))),
        };
        Incident {
            number: self.number,
            component: self.component.clone(),
            what,
            blocks: self.blocks,
            began: self.began.wall,
            ended,
            times: self.times(),
        }
    }
}

impl fmt::Debug for Calmed {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("Calmed")
    }
}

/// A panic elsewhere leaves these values whole: every change is one assignment.
fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// `850 ms`, `12.3 s`, `4 min 10 s`, `2 h 5 min`.
pub fn human(duration: Duration) -> String {
    let seconds = duration.as_secs();
    match seconds {
        0 => format!("{} ms", duration.as_millis()),
        1..60 => format!("{}.{} s", seconds, duration.subsec_millis() / 100),
        60..3600 => format!("{} min {} s", seconds / 60, seconds % 60),
        _ => format!("{} h {} min", seconds / 3600, seconds / 60 % 60),
    }
}

#[cfg(test)]
mod tests;
