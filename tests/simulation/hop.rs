//! A next hop that takes events one by one and refuses some of them for ever: a sink without files
//! in a group with some. What nobody takes goes to the group's file of dead letters.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use flumen::channel::{Amount, Channel, Parcel, Refusal};
use flumen::ring::Wake;
use flumen::runtime::{Progress, Worker};
use flumen::sink::dead_letters::DeadLetters;
use flumen::sink::leaving::{self, Fate, Rest};
use flumen::telemetry::{SinkCounters, Watch};
use flumen::time::{Mono, Now};

use crate::event::Id;
use crate::probe::Accepted;
use crate::source::Nobody;

const RETRY: Duration = Duration::from_millis(200);
/// Where dead letters go, a file a group.
pub(crate) const LETTERS: &str = "/letters/dead";

pub(crate) fn letters_of(channel: usize) -> PathBuf {
    PathBuf::from(format!("{LETTERS}/c{channel}.ndjson"))
}

/// The events of whole lines. What a crash tore is no letter.
pub(crate) fn read_letters(bytes: &[u8]) -> Vec<Id> {
    let lines = bytes.split_inclusive(|byte| *byte == b'\n');
    let event = |line: &[u8]| {
        let letter: serde_json::Value = serde_json::from_slice(line).ok()?;
        Id::in_line(letter["event.original"].as_str()?.as_bytes(), false)
    };
    lines.filter(|line| line.ends_with(b"\n")).filter_map(event).collect()
}

pub(crate) struct Hop {
    pub(crate) name: String,
    pub(crate) channel: Arc<dyn Channel>,
    pub(crate) counters: Arc<SinkCounters>,
    pub(crate) letters: Arc<DeadLetters>,
    pub(crate) watch: Watch,
    /// What it took, over all lives.
    pub(crate) taken: Accepted,
    pub(crate) held: Option<Parcel>,
    pub(crate) retry_at: Mono,
    pub(crate) closing: bool,
}

/// It refuses these whenever they come.
fn is_refused(id: Id) -> bool {
    id.number() % 5 == 2
}

impl Hop {
    fn take(&mut self, parcel: Parcel, now: Now) -> Progress {
        let ids = parcel.batch.events().map(|event| Id::in_line(event.bytes, false));
        let ids: Vec<Id> = ids.map(|id| id.expect("a source sends our events")).collect();
        let (mut refused, mut amount) = (Vec::new(), Amount::default());
        let refusal = || Refusal { sink: self.name.clone(), attempts: 1, reason: "no".to_owned() };
        for ((index, event), id) in (0..).zip(parcel.batch.events()).zip(&ids) {
            if is_refused(*id) {
                refused.push((index, refusal()));
                amount.events += 1;
                amount.bytes += event.bytes.len() as u64;
            }
        }
        if !refused.is_empty() && self.channel.asks(&parcel) {
            let left = refused.into_iter().map(|(index, said)| (index, Some(said))).collect();
            let rest = Rest { settled: ids.len() as u32, left, ..Rest::default() };
            let handed =
                leaving::hand_on(parcel, &rest, &self.counters, self.channel.as_ref(), now);
            if let Err(parcel) = handed {
                return self.hold(parcel, now);
            }
            self.note(&ids, now);
            return Progress::Worked;
        }
        if !refused.is_empty() {
            let refused = refused.into_iter();
            if let Err(error) = leaving::set_aside(&self.letters, &parcel.batch, refused, now) {
                self.watch.blocked(now, &error.to_string());
                return self.hold(parcel, now);
            }
        }
        self.note(&ids, now);
        let fate = Fate { refused: amount, set_aside: true, ..Fate::default() };
        leaving::finish(parcel, fate, now, &self.counters, self.channel.as_ref(), now);
        Progress::Worked
    }

    fn note(&mut self, ids: &[Id], now: Now) {
        self.watch.recovered(now);
        let mut taken = self.taken.lock().expect("one thread");
        for id in ids.iter().filter(|id| !is_refused(**id)) {
            assert!(taken.insert(*id), "{id:?} came to the next hop twice");
        }
    }

    fn hold(&mut self, parcel: Parcel, now: Now) -> Progress {
        (self.held, self.retry_at) = (Some(parcel), now.mono.after(RETRY));
        Progress::Idle { until: self.retry_at }
    }
}

impl Worker for Hop {
    fn name(&self) -> &str {
        &self.name
    }

    fn work(&mut self, now: Now) -> Progress {
        self.channel.tick(now);
        if self.held.is_some() && now.mono < self.retry_at {
            return Progress::Idle { until: self.retry_at };
        }
        match self.held.take().or_else(|| self.channel.poll()) {
            Some(parcel) => self.take(parcel, now),
            None if self.closing && self.channel.is_drained() => Progress::Done,
            None => Progress::Idle { until: self.channel.look_at() },
        }
    }

    fn wait(&mut self, _now: Now, _until: Mono) {}

    fn close(&mut self, _now: Now) {
        self.closing = true;
    }

    fn waker(&self) -> Arc<dyn Wake> {
        Arc::new(Nobody)
    }
}
