//! Faults, each from its detection to its recovery: one log line at each end, counted in between.
//!
//! A part asks for a [`Watch`] for each thing that can go wrong with it, and tells it at every
//! attempt how that went: [`Watch::fault`] or [`Watch::blocked`] when it failed,
//! [`Watch::recovered`] when it worked. The first failure is logged and listed, the following ones
//! are counted, the first success logs how long it took. A `blocked` fault also makes `/readyz`
//! answer 503 with its text until it is over.
//!
//! Threading: a watch belongs to one worker. `recovered` with nothing open costs one comparison and
//! a repeated fault one atomic add; the list's lock is taken only when an incident begins, ends
//! or changes its text, and by the admin endpoint.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::time::{Mono, Now, Wall};

/// So many incidents are remembered: a day of a bad disk, and small enough for one HTTP answer.
const REMEMBERED_MAX: usize = 256;

/// The incidents of one agent, newest last.
#[derive(Debug, Default)]
pub struct Incidents {
    list: Mutex<VecDeque<Arc<Record>>>,
    begun: AtomicU64,
}

#[derive(Debug)]
struct Record {
    number: u64,
    component: String,
    blocks: bool,
    began: Wall,
    times: AtomicU64,
    story: Mutex<Story>,
}

/// What changes while an incident lasts.
#[derive(Clone, Debug)]
struct Story {
    what: String,
    ended: Option<(Wall, Duration)>,
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
    /// When it was over and how long it had lasted by the monotonic clock; `None` while it lasts.
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
    since: Mono,
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
        let Some(open) = self.open.take() else { return };
        let lasted = now.mono.since(open.since);
        let times = open.record.end(now.wall, lasted);
        let (component, what, lasted) = (&self.component, &open.what, human(lasted));
        tracing::info!("{component}: recovered after {lasted} ({times} times): {what}");
    }

    /// A fault that is over as soon as it is noticed, such as a torn tail that was cut.
    pub fn once(&mut self, now: Now, what: &str) {
        tracing::warn!("{}: {what}", self.component);
        let record = self.incidents.begin(&self.component, what, now.wall, false);
        record.end(now.wall, Duration::ZERO);
    }

    pub fn is_open(&self) -> bool {
        self.open.is_some()
    }

    fn met(&mut self, now: Now, what: &str, blocks: bool) -> bool {
        match &mut self.open {
            // A lesser fault beside a blocking one does not end it: only `recovered` does.
            Some(open) if open.record.blocks || !blocks => {
                // Relaxed: a count for people; nothing else hangs on it.
                open.record.times.fetch_add(1, Ordering::Relaxed);
                if open.record.blocks == blocks && open.what != what {
                    what.clone_into(&mut open.what);
                    what.clone_into(&mut locked(&open.record.story).what);
                }
                return false;
            }
            // It became worse: that is another incident.
            Some(_) => self.recovered(now),
            None => {}
        }
        if blocks {
            tracing::error!("{}: {what}", self.component);
        } else {
            tracing::warn!("{}: {what}", self.component);
        }
        let record = self.incidents.begin(&self.component, what, now.wall, blocks);
        self.open = Some(Open { record, since: now.mono, what: what.to_owned() });
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
        let incidents = self.list().into_iter();
        incidents
            .filter(|incident| incident.blocks && incident.ended.is_none())
            .map(|incident| format!("{}: {}", incident.component, incident.what))
            .collect()
    }

    fn begin(&self, component: &str, what: &str, wall: Wall, blocks: bool) -> Arc<Record> {
        let record = Arc::new(Record {
            number: self.begun.fetch_add(1, Ordering::Relaxed) + 1,
            component: component.to_owned(),
            blocks,
            began: wall,
            times: AtomicU64::new(1),
            story: Mutex::new(Story { what: what.to_owned(), ended: None }),
        });
        let mut list = locked(&self.list);
        if list.len() == REMEMBERED_MAX {
            // Those that last are worth more than those that are over.
            let over = list.iter().position(|record| locked(&record.story).ended.is_some());
            list.remove(over.unwrap_or(0));
        }
        list.push_back(record.clone());
        record
    }
}

impl Record {
    /// How often it was met.
    fn end(&self, wall: Wall, lasted: Duration) -> u64 {
        locked(&self.story).ended = Some((wall, lasted));
        self.times.load(Ordering::Relaxed)
    }

    fn incident(&self) -> Incident {
        let story = locked(&self.story).clone();
        Incident {
            number: self.number,
            component: self.component.clone(),
            what: story.what,
            blocks: self.blocks,
            began: self.began,
            ended: story.ended,
            times: self.times.load(Ordering::Relaxed),
        }
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
mod tests {
    use super::*;

    fn at(seconds: u64) -> Now {
        let ns = seconds * 1_000_000_000;
        Now { mono: Mono(ns), wall: Wall(i64::try_from(ns).expect("small") + 7) }
    }

    #[test]
    fn a_fault_lasts_from_detection_to_recovery() {
        let incidents = Incidents::new();
        let mut watch = incidents.watch("sink archive");
        watch.recovered(at(0));
        assert!(watch.blocked(at(1), "No space left on device"));
        assert!(!watch.blocked(at(2), "No space left on device"));
        assert!(!watch.blocked(at(3), "Input/output error"));
        assert_eq!(incidents.blocking(), ["sink archive: Input/output error"]);
        assert!(watch.is_open());
        watch.recovered(at(5));
        assert_eq!(incidents.blocking(), Vec::<String>::new());
        let expected = Incident {
            number: 1,
            component: "sink archive".to_owned(),
            what: "Input/output error".to_owned(),
            blocks: true,
            began: at(1).wall,
            ended: Some((at(5).wall, Duration::from_secs(4))),
            times: 3,
        };
        assert_eq!(incidents.list(), [expected]);
        assert!(watch.fault(at(6), "again"), "a new incident after recovery");
    }

    #[test]
    fn a_hindrance_does_not_block_until_it_becomes_worse() {
        let incidents = Incidents::new();
        let mut watch = incidents.watch("source net");
        watch.fault(at(1), "out of descriptors");
        assert!(incidents.blocking().is_empty());
        watch.blocked(at(2), "cannot listen");
        assert_eq!(incidents.blocking(), ["source net: cannot listen"]);
        let list = incidents.list();
        assert_eq!(list.len(), 2);
        assert!(list[0].ended.is_some() && list[1].ended.is_none());
        // A file of the same part that is well again does not make the whole part well.
        watch.fault(at(3), "a sync failed");
        assert_eq!(incidents.blocking(), ["source net: cannot listen"]);
        watch.recovered(at(4));
        assert!(incidents.blocking().is_empty());
    }

    #[test]
    fn what_is_over_is_forgotten_first() {
        let incidents = Incidents::new();
        let mut lasting = incidents.watch("sink a");
        lasting.blocked(at(1), "stuck");
        let mut brief = incidents.watch("storage");
        for second in 0..1000 {
            brief.once(at(second), "cut");
        }
        let list = incidents.list();
        assert_eq!(list.len(), REMEMBERED_MAX);
        assert_eq!((list[0].number, list[0].what.as_str()), (1, "stuck"));
        assert_eq!(list[1].number, 1001 - 254);
        assert_eq!(list[255].number, 1001);
        assert_eq!(incidents.blocking(), ["sink a: stuck"]);
    }

    #[test]
    fn durations_read_well() {
        let texts = [850, 12_345, 250_000, 7_500_000].map(|ms| human(Duration::from_millis(ms)));
        assert_eq!(texts, ["850 ms", "12.3 s", "4 min 10 s", "2 h 5 min"]);
    }
}
