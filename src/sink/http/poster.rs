//! The worker: a batch from the channel, POST by POST, until each of its events is delivered or
//! refused for ever.
//!
//! ```text
//!   1000 events ──▶ 400 ──▶ 500 ──▶ 200, 500 ──▶ 400 ──▶ 250 … 1 ──▶ 400, 400, 400 ──▶ dead letter
//! ```
//! A POST of several events that is refused is sent in halves, until the one that it is about
//! stands alone; that one is tried `attempts` times. A POST without an answer, or with one that is
//! about anything else, is sent again, unchanged, for as long as it takes.
//!
//! Threading: one thread a worker, which waits for its answers. A stop waits for the answer that is
//! under way, within `agent.drain`.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use super::body::Composer;
use super::client::{Answer, Client};
use super::meaning::{Meaning, Meanings};
use crate::channel::{Amount, Channel, Ear, Parcel, Refusal};
use crate::memory::gate::exempt;
use crate::ring::Wake;
use crate::runtime::clock::Clock;
use crate::runtime::parker::Parker;
use crate::runtime::{Progress, Worker};
use crate::sink::CLOSING_LOOK;
use crate::sink::backoff::Backoff;
use crate::sink::dead_letters::DeadLetters;
use crate::sink::leaving::{self, Fate, Rest};
use crate::telemetry::{SinkCounters, Watch};
use crate::time::{Mono, Now};

/// After dead letters could not be written.
const RETRY: Duration = Duration::from_millis(200);

/// What is refused is told so often; all of it is counted.
const QUIET: Duration = Duration::from_secs(60);

/// While stopping nobody is stayed away from for longer.
const HURRY: Duration = Duration::from_millis(500);

/// A peer that asks for more patience is asked again sooner.
const PATIENCE_MAX: Duration = Duration::from_secs(3600);

pub(super) struct Parts {
    pub(super) name: String,
    /// As the configuration calls it.
    pub(super) sink: String,
    pub(super) client: Client,
    pub(super) composer: Composer,
    pub(super) meanings: Meanings,
    /// Events a POST.
    pub(super) events_max: u32,
    /// How often an event is tried alone that is refused.
    pub(super) attempts: u32,
    pub(super) dead_letters: Option<Arc<DeadLetters>>,
    pub(super) channel: Arc<dyn Channel>,
    pub(super) counters: Arc<SinkCounters>,
    pub(super) watch: Watch,
    pub(super) backoff: Backoff,
    pub(super) clock: Arc<dyn Clock>,
}

pub(super) struct Poster {
    parts: Parts,
    parker: Parker,
    ear: Ear,
    job: Option<Job>,
    retry_at: Option<Mono>,
    /// Until then nothing more is said of what is refused.
    quiet_until: Mono,
    closing: bool,
}

/// A batch under way.
struct Job {
    parcel: Parcel,
    began: Now,
    /// The first event that is neither delivered nor refused for ever.
    next: u32,
    /// Events of the next POST, at most.
    most: u32,
    /// How often the next event was refused when it was alone.
    attempts: u32,
    refused: Vec<Refused>,
    sent_bytes: u64,
}

struct Refused {
    index: u32,
    bytes: u64,
    attempts: u32,
    reason: String,
}

impl Poster {
    pub(super) fn new(parts: Parts) -> Self {
        let parker = Parker::default();
        let ear = parts.channel.listen(parker.waker());
        let (retry_at, quiet_until) = (None, Mono(0));
        Self { parts, parker, ear, job: None, retry_at, quiet_until, closing: false }
    }

    /// One POST, or what stands behind the last of them.
    fn go_on(&mut self, mut job: Job, now: Now) -> Progress {
        if job.next == job.parcel.batch.event_count() {
            return self.finish(job, now);
        }
        let parts = &mut self.parts;
        let end = parts.composer.compose(&job.parcel.batch, job.next, job.most);
        let body = parts.composer.body();
        let answer = parts.client.post(body, now.wall);
        // Much time may have gone by.
        let now = parts.clock.now();
        let count = end - job.next;
        let meaning = match &answer {
            Ok(answer) => parts.meanings.of(answer.status),
            Err(_) => Meaning::Retry,
        };
        if meaning == Meaning::Delivered {
            job.sent_bytes += body.len() as u64;
            (job.next, job.attempts) = (end, 0);
            job.most = (job.most * 2).min(parts.events_max);
            parts.backoff.worked_for(Duration::MAX);
            parts.watch.recovered(now);
            self.job = Some(job);
            return Progress::Worked;
        }
        parts.counters.errors.add(1);
        let (reason, patience) = match answer {
            Ok(Answer { told, patience, .. }) => (told, patience),
            Err(error) => (error, None),
        };
        if meaning == Meaning::Refused && count > 1 {
            job.most = count / 2;
            self.job = Some(job);
            return Progress::Worked;
        }
        let away = meaning != Meaning::Refused;
        if !away {
            job.attempts += 1;
            if job.attempts >= parts.attempts {
                job.refuse(reason);
                self.job = Some(job);
                return Progress::Worked;
            }
        }
        if away && parts.channel.is_covered() {
            job = match self.give_back(job, &reason, now) {
                None => return Progress::Idle { until: self.parts.channel.look_at() },
                Some(kept) => kept,
            };
        }
        self.later(job, &reason, patience, now)
    }

    /// Leaves to another sink what this one's peer has not taken; back when it cannot.
    fn give_back(&mut self, mut job: Job, reason: &str, now: Now) -> Option<Job> {
        let parts = &mut self.parts;
        let (counters, channel) = (&parts.counters, parts.channel.as_ref());
        if job.refused.is_empty() {
            leaving::give_back(job.parcel, job.next, counters, channel, now);
        } else {
            let rest = Rest { failed: true, ..job.rest(&parts.sink) };
            if let Err(parcel) = leaving::hand_on(job.parcel, &rest, counters, channel, now) {
                job.parcel = parcel;
                return Some(job);
            }
        }
        parts.counters.retries.add(1);
        parts.watch.fault(now, reason);
        None
    }

    /// Tries again when the peer may have come to its senses.
    fn later(&mut self, job: Job, reason: &str, patience: Option<Duration>, now: Now) -> Progress {
        let parts = &mut self.parts;
        parts.counters.retries.add(1);
        // An event that is refused holds the others up for a moment only.
        let one = job.attempts > 0;
        if one {
            parts.watch.fault(now, reason)
        } else {
            parts.watch.blocked(now, reason)
        };
        let asked = now.mono.after(patience.unwrap_or_default().min(PATIENCE_MAX));
        let until = parts.backoff.until(now).max(asked);
        let until = if self.closing { until.min(now.mono.after(HURRY)) } else { until };
        (self.job, self.retry_at) = (Some(job), Some(until));
        Progress::Idle { until }
    }

    /// Every event has its fate here: what was refused is for another sink of the group, or set
    /// aside; all is counted.
    fn finish(&mut self, job: Job, now: Now) -> Progress {
        if !job.refused.is_empty() && self.parts.channel.asks(&job.parcel) {
            return self.hand_on(job, now);
        }
        let parts = &mut self.parts;
        let refused = job.refused.first();
        let letters = parts.dead_letters.as_ref().filter(|_| refused.is_some());
        let set_aside = letters.map(|letters| job.set_aside(letters, &parts.sink, now));
        if let Some(Err(error)) = &set_aside {
            parts.counters.errors.add(1);
            parts.watch.blocked(now, &error.to_string());
            let until = now.mono.after(RETRY);
            (self.job, self.retry_at) = (Some(job), Some(until));
            return Progress::Idle { until };
        }
        if let Some(first) = refused
            && now.mono >= self.quiet_until
        {
            self.quiet_until = now.mono.after(QUIET);
            let became = if set_aside.is_some() { "set aside" } else { "lost{refused}" };
            parts.watch.once(now, &job.told(first, became));
        }
        parts.watch.recovered(now);
        let bytes = job.refused.iter().map(|refused| refused.bytes).sum();
        let fate = Fate {
            refused: Amount { events: job.refused.len() as u64, bytes },
            set_aside: set_aside.is_some(),
            truncated_events: 0,
            sent_bytes: job.sent_bytes,
        };
        let channel = parts.channel.as_ref();
        leaving::finish(job.parcel, fate, job.began, &parts.counters, channel, now);
        Progress::Worked
    }

    /// What was refused is another sink's to try.
    fn hand_on(&mut self, mut job: Job, now: Now) -> Progress {
        let parts = &mut self.parts;
        let (rest, channel) = (job.rest(&parts.sink), parts.channel.as_ref());
        let told = job.refused.first().map(|first| job.told(first, "left to the group"));
        match leaving::hand_on(job.parcel, &rest, &parts.counters, channel, now) {
            Err(parcel) => {
                // The others work, and bring a page home.
                job.parcel = parcel;
                let until = now.mono.after(RETRY);
                (self.job, self.retry_at) = (Some(job), Some(until));
                return Progress::Idle { until };
            }
            Ok(()) if now.mono >= self.quiet_until => {
                self.quiet_until = now.mono.after(QUIET);
                told.iter().for_each(|told| parts.watch.once(now, told));
            }
            Ok(()) => {}
        }
        parts.watch.recovered(now);
        Progress::Worked
    }
}

impl Job {
    fn new(parcel: Parcel, most: u32, now: Now) -> Self {
        let (next, attempts, sent_bytes) = (0, 0, 0);
        Self { parcel, began: now, next, most, attempts, refused: Vec::new(), sent_bytes }
    }

    /// The next event will never be taken.
    fn refuse(&mut self, reason: String) {
        let event = self.parcel.batch.events().nth(self.next as usize);
        let bytes = event.map_or(0, |event| event.bytes.len() as u64);
        let (index, attempts) = (self.next, std::mem::take(&mut self.attempts));
        self.refused.push(Refused { index, bytes, attempts, reason });
        self.next += 1;
    }

    /// `3 events refused and set aside: answered 400 Bad Request`.
    fn told(&self, first: &Refused, became: &str) -> String {
        let (count, reason) = (self.refused.len(), &first.reason);
        format!("{count} events refused and {became}: {reason}")
    }

    /// What it leaves to others as it stands now.
    fn rest(&self, sink: &str) -> Rest {
        let refusal = |refused: &Refused| (refused.index, Some(refused.refusal(sink)));
        let left = self.refused.iter().map(refusal).collect();
        Rest { settled: self.next, left, sent_bytes: self.sent_bytes, ..Rest::default() }
    }

    fn set_aside(&self, letters: &DeadLetters, sink: &str, now: Now) -> io::Result<()> {
        let refusal = |refused: &Refused| {
            let earlier = self.parcel.refusal(refused.index);
            (refused.index, refused.refusal(sink).after(earlier))
        };
        let refused = self.refused.iter().map(refusal);
        leaving::set_aside(letters, &self.parcel.batch, refused, now)
    }
}

impl Refused {
    fn refusal(&self, sink: &str) -> Refusal {
        let (sink, reason) = (sink.to_owned(), self.reason.clone());
        Refusal { sink, attempts: self.attempts, reason }
    }
}

impl Worker for Poster {
    fn name(&self) -> &str {
        &self.parts.name
    }

    fn work(&mut self, now: Now) -> Progress {
        let channel = &self.parts.channel;
        channel.tick(now);
        match self.retry_at {
            Some(until) if until > now.mono => return Progress::Idle { until },
            _ => self.retry_at = None,
        }
        let most = self.parts.events_max;
        let job = self.job.take().or_else(|| {
            let parcel = channel.poll()?;
            self.parts.counters.channel_wait.record(now.mono.since(parcel.offered_at));
            Some(Job::new(parcel, most, now))
        });
        match job {
            // A request is made of many small pieces; their cost is nothing beside its own.
            Some(job) => exempt(|| self.go_on(job, now)),
            None if self.closing && channel.is_drained() => Progress::Done,
            None if self.closing => Progress::Idle { until: now.mono.after(CLOSING_LOOK) },
            None => Progress::Idle { until: channel.look_at() },
        }
    }

    fn wait(&mut self, now: Now, until: Mono) {
        if self.job.is_some() {
            // A ring wakes one sleeper, and this one could not take the batch it is about.
            self.parker.sleep(now, until);
            return;
        }
        let channel = &self.parts.channel;
        channel.doze(self.ear);
        if channel.is_empty() {
            self.parker.sleep(now, until);
        }
        channel.rise(self.ear);
    }

    fn close(&mut self, now: Now) {
        self.closing = true;
        self.parts.backoff.hurry(HURRY);
        self.retry_at = self.retry_at.map(|until| until.min(now.mono.after(HURRY)));
    }

    fn waker(&self) -> Arc<dyn Wake> {
        self.parker.waker()
    }
}
