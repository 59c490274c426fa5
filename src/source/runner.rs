//! The source's worker: page, valve, counting, and when a partial batch is offered.
//!
//! A page is offered when it is full or when its deadline comes; partly filled only to an eager
//! sink, and when the channels are empty and it is waiting. Otherwise it keeps filling, so that a
//! trickle does not spread over the whole pool: past its deadline, too, while nothing leaves the
//! channels. Who waits for those alone to have its events is told meanwhile: their room is taken.

use std::sync::Arc;
use std::time::Duration;

use super::intercepting::{Intercepting, Passage};
use super::parsing::Parser;
use super::restraint::{Backlog, Restraint};
use super::{Received, Source};
use crate::channel::Valve;
use crate::event::{Mark, Page};
use crate::interceptor::{Bench, Chain, Filters};
use crate::limits;
use crate::memory::receipt::Reached;
use crate::memory::{Lease, ReceiptSlip};
use crate::ring::Wake;
use crate::runtime::{Progress, Worker};
use crate::telemetry::{LostReason, SourceCounters, Unparsed};
use crate::time::{Mono, Now, Wall};

pub struct SourceRunner {
    name: String,
    source: Box<dyn Source>,
    valve: Valve,
    counters: Arc<SourceCounters>,
    pace: Pace,
    /// Reads what messages say, if anybody wants to know.
    parser: Option<Parser>,
    filters: Filters,
    /// Interceptors that refuse events and change none: they look at them where they lie.
    refusing: Option<(Chain, Bench)>,
    /// Interceptors that change events.
    intercepting: Option<Intercepting>,
    /// For the rest of what was read, of which a part was offered: it is answered with the last.
    slip: Option<ReceiptSlip>,
    page: Option<Lease>,
    /// When the page's first event came.
    first_at: Mono,
    restraint: Restraint,
    /// The valve was closed when we last looked.
    shut: bool,
    /// It was open, but we hold back for a while.
    held: bool,
    finished: bool,
}

/// When a page is offered though it is not full.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    /// A partial batch waits so long at most: the smallest `batch_age` of the sinks behind.
    pub age: Duration,
    /// Some sink behind wants partial batches as soon as it has nothing to do.
    pub eager: bool,
    /// When the source holds back while the sink moves; never without.
    pub backlog: Option<Backlog>,
    /// Wall-clock slice in ns that a batch may not straddle, because a path below changes with it.
    pub slice_ns: Option<i64>,
}

impl Pace {
    /// The page's events belong to another slice of time than this.
    pub(super) fn turned(&self, page: &Page, wall: Wall) -> bool {
        let slice = |wall: Wall, ns: i64| wall.0.div_euclid(ns);
        let turned = |ns| slice(page.time_min(), ns) != slice(wall, ns);
        !page.is_empty() && self.slice_ns.is_some_and(turned)
    }

    /// Whether a partial page goes now, whose first event came then. `wanted`: somebody waits for
    /// it to go.
    pub(super) fn due(&self, valve: &Valve, first_at: Mono, wanted: bool, now: Now) -> bool {
        let age = now.mono.since(first_at);
        let taken = || age >= Duration::from_nanos(limits::LINGER_NS) || valve.awaited();
        // Whoever waits for an answer may send nothing more before it.
        let goes = || wanted || self.eager && taken();
        age >= self.age && valve.moves() || valve.drained() && goes()
    }

    /// When to look at it again. Without a page there is nothing to look at.
    pub(super) fn look_again(&self, first_at: Mono, wanted: bool, now: Now) -> Mono {
        let due = first_at.after(self.age);
        match first_at {
            Mono::MAX => Mono::MAX,
            _ if now.mono >= due => now.mono.after(STILL),
            _ if self.eager || wanted => {
                first_at.after(Duration::from_nanos(limits::LINGER_NS)).max(now.mono.after(TICK))
            }
            _ => due,
        }
    }
}

impl SourceRunner {
    pub fn new(
        name: String,
        source: Box<dyn Source>,
        valve: Valve,
        counters: Arc<SourceCounters>,
        pace: Pace,
    ) -> Self {
        let first_at = Mono::MAX;
        Self {
            name,
            source,
            valve,
            counters,
            pace,
            parser: None,
            filters: Filters::default(),
            refusing: None,
            intercepting: None,
            slip: None,
            page: None,
            first_at,
            restraint: Restraint::new(pace.backlog),
            shut: false,
            held: false,
            finished: false,
        }
    }

    pub fn with_parser(self, parser: Option<Parser>) -> Self {
        Self { parser, ..self }
    }

    pub fn with_filters(self, filters: Filters) -> Self {
        Self { filters, ..self }
    }

    pub fn with_refusing(self, chain: Option<Chain>) -> Self {
        Self { refusing: chain.map(|chain| (chain, Bench::default())), ..self }
    }

    pub fn with_intercepting(self, intercepting: Option<Intercepting>) -> Self {
        Self { intercepting, ..self }
    }

    /// A page to fill, or until when to wait for one if nobody rings.
    fn open(&mut self, now: Now) -> Result<(), Mono> {
        if self.page.is_some() {
            return Ok(());
        }
        let flow = self.valve.flow();
        if let Some(until) = self.restraint.holds(now, flow) {
            self.held = true;
            return Err(until);
        }
        self.held = false;
        self.page = self.valve.open();
        if let (Some(page), Some(parser)) = (&mut self.page, &self.parser) {
            page.keep_fields(parser.shape());
        }
        if self.page.is_some() { Ok(()) } else { Err(Mono::MAX) }
    }

    fn offer(&mut self, now: Now) {
        let Some(page) = self.page.take() else { return };
        let slip = self.take_slip();
        if page.is_empty() {
            // What was not worth an event is dealt with.
            slip.into_iter().for_each(|slip| self.valve.confirm(slip));
            self.valve.give_back(page);
            return;
        }
        count(&page, &self.counters);
        match &mut self.parser {
            Some(parser) => parser.count(&self.counters),
            None => {
                let compressed = page.mark_counts()[Mark::Unparsed as usize];
                self.counters.unparsed.add(Unparsed::Compressed, u64::from(compressed));
            }
        }
        self.valve.offer(page, slip, self.first_at, now);
        self.first_at = Mono::MAX;
    }

    /// What is hung on the page that is offered; a part of it when not all that was read is in it.
    fn take_slip(&mut self) -> Option<ReceiptSlip> {
        let slip = self.slip.take().or_else(|| self.source.slip());
        if self.waiting() == 0 {
            return slip;
        }
        let part = slip.as_ref().map(|slip| self.valve.part_of(slip));
        self.slip = slip;
        part
    }

    /// Events that were read and wait for room behind the interceptors.
    fn waiting(&self) -> u32 {
        self.intercepting.as_ref().map_or(0, Intercepting::waiting)
    }

    /// Reads into the page, through the interceptors; counts what they refuse.
    fn receive(&mut self, now: Now) -> Received {
        let page = self.page.as_mut().expect("it was opened");
        if let Some(intercepting) = &mut self.intercepting {
            let passage = intercepting.receive(&mut *self.source, &self.filters, page, now);
            let Passage { received, filtered, refused, .. } = passage;
            if let Some(parser) = &mut self.parser {
                parser.read(page);
            }
            self.counters.received_events.add(filtered.events + refused.events);
            self.counters.received_bytes.add(filtered.bytes + refused.bytes);
            self.counters.filtered_events.add(filtered.events);
            self.counters.lost.add(LostReason::Refused, refused.events);
            return received;
        }
        let (before, events_before) = (page.since(), page.event_count());
        let received = self.source.receive(page, now);
        if page.event_count() == events_before {
            return received;
        }
        if let Some(parser) = &mut self.parser {
            parser.read(page);
        }
        if !self.filters.is_empty() || self.refusing.is_some() {
            let (filters, mut refusing) = (&self.filters, self.refusing.as_mut());
            let removed = page.retain(&before, |event| {
                filters.pass(event)
                    && refusing.as_mut().is_none_or(|(chain, bench)| chain.keeps(event, bench))
            });
            self.counters.received_events.add(removed.events);
            self.counters.received_bytes.add(removed.bytes);
            self.counters.filtered_events.add(removed.events);
        }
        received
    }

    /// Tells whoever only waits for the channels to have what is in the page: they have room for
    /// it, and nothing moves that would take it.
    fn vouch(&mut self) {
        let settled = self.slip.is_none() && self.waiting() == 0;
        if settled && self.valve.vouches() {
            self.source.slip().into_iter().for_each(|slip| self.valve.confirm(slip));
        }
    }

    /// The page's events so far belong to another slice of time, or `now` no longer fits them.
    fn turned(&self, page: &Page, now: Now) -> bool {
        self.pace.turned(page, now.wall) || !page.is_empty() && !page.accepts_time(now.wall)
    }
}

impl Worker for SourceRunner {
    fn name(&self) -> &str {
        &self.name
    }

    fn work(&mut self, now: Now) -> Progress {
        if self.finished {
            return Progress::Done;
        }
        self.source.settle(now);
        if self.page.as_ref().is_some_and(|page| self.turned(page, now)) {
            self.offer(now);
        }
        if let Err(until) = self.open(now) {
            self.shut = true;
            return Progress::Idle { until };
        }
        self.shut = false;
        let events = |page: &Option<Lease>| page.as_ref().map_or(0, |page| page.event_count());
        let before = events(&self.page);
        let received = self.receive(now);
        let held = events(&self.page);
        let fresh = held > before;
        self.counters.held_events.set(u64::from(held + self.waiting()));
        // With a slip of its own the rest of a reading is not mixed with what is read next.
        let rest = self.slip.is_some() && self.waiting() == 0;
        let wanted = self.source.wanted();
        if (fresh || wanted.is_some()) && self.first_at == Mono::MAX {
            self.first_at = now.mono;
        }
        let partial = (held > 0 || wanted.is_some()) && !received.more;
        self.finished = received.finished;
        let due = || self.pace.due(&self.valve, self.first_at, wanted.is_some(), now);
        if received.full || received.finished || rest || partial && due() {
            self.offer(now);
        } else if partial && wanted == Some(Reached::Received) {
            self.vouch();
        }
        match received {
            _ if self.finished => Progress::Done,
            _ if received.full || received.more => Progress::Worked,
            _ => {
                let wanted = self.source.wanted().is_some();
                Progress::Idle { until: self.pace.look_again(self.first_at, wanted, now) }
            }
        }
    }

    fn wait(&mut self, now: Now, until: Mono) {
        if !self.shut {
            self.source.wait(now, until, true);
            return;
        }
        if self.held {
            // By the clock: whatever leaves a channel would wake us for nothing.
            return self.source.wait(now, until, false);
        }
        self.valve.doze();
        if !self.valve.may_open() {
            self.source.wait(now, until, false);
        }
        self.valve.rise();
    }

    fn close(&mut self, now: Now) {
        self.source.stop(now);
    }

    fn waker(&self) -> Arc<dyn Wake> {
        self.source.waker()
    }
}

/// A worker with a partial page looks at its rings again after so long at the least.
const TICK: Duration = Duration::from_millis(1);
/// And with one that would have gone, if anything moved.
const STILL: Duration = Duration::from_millis(10);

/// Counts a page that is about to be offered. Received and routed are counted together, so that
/// the source's equation holds at every moment; what is still in hand is `held_events`.
fn count(page: &Page, counters: &SourceCounters) {
    let events = u64::from(page.event_count());
    counters.received_events.add(events);
    counters.received_bytes.add(page.event_bytes());
    counters.routed_events.add(events);
    counters.routed_batches.add(1);
    counters.held_events.set(0);
    for (mark, count) in Mark::ALL.into_iter().zip(page.mark_counts()) {
        if count > 0 {
            counters.marked.add(mark_key(mark), u64::from(count));
        }
    }
}

/// Telemetry knows nothing of events, so it has names of its own for the same marks.
pub(super) fn mark_key(mark: Mark) -> crate::telemetry::Mark {
    match mark {
        Mark::Truncated => crate::telemetry::Mark::Truncated,
        Mark::Split => crate::telemetry::Mark::Split,
        Mark::Unparsed => crate::telemetry::Mark::Unparsed,
        Mark::Redelivered => crate::telemetry::Mark::Redelivered,
    }
}

#[cfg(test)]
mod tests;
