//! The worker of a source that chooses channels event by event.
//!
//! It reads into a page of its own, and each event is copied to the open page of every channel that
//! is its own: accepted by all of the required ones or by none. When one of them has no room the
//! rest waits, and the source is not read; an optional one without room loses the event.

use std::sync::Arc;

use super::Source;
use super::intercepting::{Put, Staging, copy};
use super::parsing::Parser;
use super::runner::{Pace, mark_key};
use crate::channel::selector::Mapping;
use crate::channel::{Inlet, Valve};
use crate::codec::field::Field;
use crate::event::{Copying, Event, Mark, Marks, Removed};
use crate::interceptor::{Draft, Filters};
use crate::memory::receipt::Reached;
use crate::memory::{Lease, Pool, ReceiptSlip};
use crate::ring::Wake;
use crate::runtime::{Progress, Worker};
use crate::telemetry::{InletCounters, LostReason, SourceCounters};
use crate::time::{Mono, Now};

pub struct RoutingRunner {
    name: String,
    source: Box<dyn Source>,
    filters: Filters,
    staging: Staging,
    mapping: Mapping,
    /// What goes by the mapping's name where no such header is set.
    field: Option<Field>,
    keeps_headers: bool,
    pace: Pace,
    lanes: Vec<Lane>,
    counters: Arc<SourceCounters>,
    /// Of what was read last; each page that it went to has a part.
    slip: Option<ReceiptSlip>,
    /// Something of it is lost: its sender is not told otherwise.
    spoiled: bool,
    value: Vec<u8>,
    /// The lane that had no room.
    blocked: Option<usize>,
    finished: bool,
}

/// One channel's open page.
struct Lane {
    valve: Valve,
    inlet: Arc<InletCounters>,
    parser: Option<Parser>,
    copying: Copying,
    page: Option<Lease>,
    first_at: Mono,
    /// Of the page, the events that are counted with it: an event of several channels is received
    /// once.
    own: Removed,
    own_marks: [u64; Mark::COUNT],
    /// Some event of the page requires the channel: a receipt waits for it.
    awaited: bool,
}

/// What joins a source to its channels.
pub struct Route {
    pub mapping: Mapping,
    pub inlets: Vec<Inlet>,
    pub pool: Arc<Pool>,
    /// One for each channel, if messages are read.
    pub parsers: Vec<Option<Parser>>,
    pub keeps_headers: bool,
}

/// Room that an event takes beside its text and twice its headers: slots, lengths, an origin.
const FRAME_BYTES: usize = crate::event::ORIGIN_BYTES_MAX + 128;

impl RoutingRunner {
    pub fn new(
        name: String,
        source: Box<dyn Source>,
        staging: Staging,
        route: Route,
        counters: Arc<SourceCounters>,
        pace: Pace,
    ) -> Self {
        let waker = source.waker();
        let lane = |(inlet, parser): (Inlet, Option<Parser>)| Lane {
            inlet: Arc::clone(&inlet.counters),
            valve: Valve::new(Arc::clone(&route.pool), vec![inlet], &waker),
            parser,
            copying: Copying::default(),
            page: None,
            first_at: Mono::MAX,
            own: Removed::default(),
            own_marks: [0; Mark::COUNT],
            awaited: false,
        };
        Self {
            name,
            source,
            filters: Filters::default(),
            staging,
            field: Field::named(&route.mapping.header),
            mapping: route.mapping,
            keeps_headers: route.keeps_headers,
            pace,
            lanes: route.inlets.into_iter().zip(route.parsers).map(lane).collect(),
            counters,
            slip: None,
            spoiled: false,
            value: Vec::new(),
            blocked: None,
            finished: false,
        }
    }

    pub fn with_filters(self, filters: Filters) -> Self {
        Self { filters, ..self }
    }

    /// Reads, and puts what was read; counts what is put nowhere.
    fn receive(&mut self, now: Now) -> super::Received {
        if self.staging.waiting() == 0 {
            self.staging.fill(&mut *self.source, now);
            self.lanes.iter_mut().for_each(|lane| lane.copying.turn());
            self.slip = self.source.slip();
            self.spoiled = false;
        }
        self.blocked = None;
        let Self { staging, lanes, mapping, field, value, counters, slip, pace, .. } = self;
        let (keeps_headers, blocked) = (self.keeps_headers, &mut self.blocked);
        let passage = staging.pass(&self.filters, |event, draft| {
            value.clear();
            let set = draft.append_header(&mapping.header, value);
            if let (false, Some(field)) = (set, &*field) {
                field.append(event, value);
            }
            let own = mapping.lanes(value);
            let mut outlet = Outlet { lanes, counters, slip, pace, keeps_headers, now };
            let put = outlet.put(event, draft, own.required, own.optional);
            put.unwrap_or_else(|lane| {
                *blocked = Some(lane);
                Put::NoRoom
            })
        });
        for lane in &mut self.lanes {
            lane.read();
        }
        let (filtered, refused) = (passage.filtered, passage.refused);
        let all = [filtered, refused, passage.unrouted];
        self.counters.received_events.add(all.iter().map(|it| it.events).sum());
        self.counters.received_bytes.add(all.iter().map(|it| it.bytes).sum());
        self.counters.filtered_events.add(filtered.events);
        self.counters.lost.add(LostReason::Refused, refused.events);
        self.counters.lost.add(LostReason::Unrouted, passage.unrouted.events);
        // What the configuration sends nowhere is dealt with: its sender would else send it, and
        // nothing behind it, for ever.
        self.spoiled |= refused.events > 0;
        passage.received
    }

    /// Who waits for an answer waits for all that was read with it: those pages go at once, where
    /// anything moves.
    fn answer(&mut self, now: Now) {
        let Some(slip) = self.slip.take() else { return };
        for lane in &mut self.lanes {
            if lane.keeps(&slip) {
                lane.awaited = false;
            } else {
                lane.offer(&self.counters, Some(&slip), now);
            }
        }
        if self.spoiled { slip.refuse() } else { slip.confirm() }
    }

    /// Offers pages that are due; all of them, in the end.
    fn offer_due(&mut self, now: Now, all: bool) {
        let Self { lanes, counters, slip, pace, source, .. } = self;
        let wanted = source.wanted().is_some();
        for lane in lanes.iter_mut() {
            let due = |page: &Lease| {
                pace.turned(page, now.wall) || pace.due(&lane.valve, lane.first_at, wanted, now)
            };
            if all || lane.page.as_ref().is_some_and(due) {
                lane.offer(counters, slip.as_ref(), now);
            }
        }
    }

    fn held(&self) -> u64 {
        let owned: u64 = self.lanes.iter().map(|lane| lane.own.events).sum();
        owned + u64::from(self.staging.waiting())
    }

    /// When to look at the open pages again.
    fn look_again(&self, now: Now) -> Mono {
        let wanted = self.source.wanted().is_some();
        let look = |lane: &Lane| self.pace.look_again(lane.first_at, wanted, now);
        self.lanes.iter().map(look).min().unwrap_or(Mono::MAX)
    }
}

/// What putting an event needs.
struct Outlet<'a> {
    lanes: &'a mut [Lane],
    counters: &'a SourceCounters,
    slip: &'a Option<ReceiptSlip>,
    pace: &'a Pace,
    keeps_headers: bool,
    now: Now,
}

impl Outlet<'_> {
    /// Puts an event on all of its lanes, or says which required one has no room.
    fn put(
        &mut self,
        event: &Event<'_>,
        draft: &Draft<'_>,
        required: u64,
        optional: u64,
    ) -> Result<Put, usize> {
        if required | optional == 0 {
            return Ok(Put::Unrouted);
        }
        let room = draft.text().len() + 2 * draft.header_bytes() + FRAME_BYTES;
        // Looked at before anything is taken, as at the valve: threads that hold a page each and
        // want the other's channel would wait for ever.
        for index in bits(required) {
            if !self.has_room(index, room, event) {
                return Err(index);
            }
        }
        for index in bits(required) {
            if !self.lanes[index].open() {
                self.lanes.iter_mut().for_each(Lane::close_empty);
                return Err(index);
            }
        }
        let mut first = true;
        for index in bits(required) {
            self.copy(index, event, draft, std::mem::take(&mut first));
            self.lanes[index].awaited = true;
        }
        for index in bits(optional) {
            if self.has_room(index, room, event) && self.lanes[index].open() {
                self.copy(index, event, draft, std::mem::take(&mut first));
            } else {
                self.lose(index, event, std::mem::take(&mut first));
            }
        }
        Ok(Put::Done)
    }

    /// Whether there is an open page with room for the event, or may be one.
    fn has_room(&mut self, index: usize, room: usize, event: &Event<'_>) -> bool {
        let lane = &mut self.lanes[index];
        let fits = |page: &Lease| {
            let turned = self.pace.turned(page, event.at);
            page.is_empty() || page.free_bytes() >= room && page.accepts_time(event.at) && !turned
        };
        if lane.page.as_ref().is_some_and(|page| !fits(page)) {
            lane.offer(self.counters, self.slip.as_ref(), self.now);
        }
        lane.page.is_some() || lane.valve.may_open()
    }

    fn copy(&mut self, index: usize, event: &Event<'_>, draft: &Draft<'_>, first: bool) {
        let lane = &mut self.lanes[index];
        let page = lane.page.as_mut().expect("room was made");
        let copied = copy(&mut lane.copying, event, draft, self.keeps_headers, page);
        copied.expect("every plan has pages for the longest event");
        if lane.first_at == Mono::MAX {
            lane.first_at = self.now.mono;
        }
        if first {
            lane.own.events += 1;
            lane.own.bytes += draft.text().len() as u64;
            let marks = event.marks.without(Marks::UNPARSED);
            marks.counted().for_each(|mark| lane.own_marks[mark as usize] += 1);
        }
    }

    /// An optional channel has no room: it is counted there, as a batch would be.
    fn lose(&self, index: usize, event: &Event<'_>, first: bool) {
        let bytes = event.bytes.len() as u64;
        let inlet = &self.lanes[index].inlet;
        inlet.lost.add(LostReason::ChannelFull, 1);
        inlet.put_events.add(1);
        inlet.put_bytes.add(bytes);
        if first {
            self.counters.received_events.add(1);
            self.counters.received_bytes.add(bytes);
            self.counters.routed_events.add(1);
        }
    }
}

/// The numbers of the bits that are set.
fn bits(set: u64) -> impl Iterator<Item = usize> {
    let mut left = set;
    std::iter::from_fn(move || {
        let lowest = left.trailing_zeros();
        left &= left.wrapping_sub(1);
        (lowest < u64::BITS).then_some(lowest as usize)
    })
}

impl Lane {
    fn open(&mut self) -> bool {
        if self.page.is_none() {
            self.page = self.valve.open();
            if let (Some(page), Some(parser)) = (&mut self.page, &self.parser) {
                page.keep_fields(parser.shape());
            }
        }
        self.page.is_some()
    }

    /// Gives a page back in which nothing is.
    fn close_empty(&mut self) {
        if let Some(page) = self.page.take_if(|page| page.is_empty()) {
            self.valve.give_back(page);
        }
    }

    /// Reads what came to the page.
    fn read(&mut self) {
        if let (Some(page), Some(parser)) = (&mut self.page, &mut self.parser) {
            parser.read(page);
        }
    }

    fn offer(&mut self, counters: &SourceCounters, slip: Option<&ReceiptSlip>, now: Now) {
        self.read();
        let Some(page) = self.page.take() else { return };
        if page.is_empty() {
            return self.valve.give_back(page);
        }
        let Removed { events, bytes } = std::mem::take(&mut self.own);
        counters.received_events.add(events);
        counters.received_bytes.add(bytes);
        counters.routed_events.add(events);
        counters.routed_batches.add(1);
        let mut marks = std::mem::take(&mut self.own_marks);
        let all = events == u64::from(page.event_count());
        // What could not be read is known of the page as a whole; of one whose events are mostly
        // counted with other channels' it is left out.
        if all {
            marks[Mark::Unparsed as usize] = u64::from(page.mark_counts()[Mark::Unparsed as usize]);
        }
        for (mark, count) in Mark::ALL.into_iter().zip(marks).filter(|(_, count)| *count > 0) {
            counters.marked.add(mark_key(mark), count);
        }
        if let Some(parser) = &mut self.parser {
            if all { parser.count(counters) } else { parser.forget() }
        }
        let slip = slip.filter(|_| self.awaited).map(|slip| self.valve.part_of(slip));
        self.awaited = false;
        self.valve.offer(page, slip, self.first_at, now);
        self.first_at = Mono::MAX;
    }

    /// The page may wait for company though somebody waits for its events: for no more than that
    /// the channel has room for them, and it stands still.
    fn keeps(&self, slip: &ReceiptSlip) -> bool {
        slip.wanted() == Reached::Received && self.valve.vouches() && !self.valve.moves()
    }
}

impl Worker for RoutingRunner {
    fn name(&self) -> &str {
        &self.name
    }

    fn work(&mut self, now: Now) -> Progress {
        if self.finished {
            return Progress::Done;
        }
        self.source.settle(now);
        let received = self.receive(now);
        if self.staging.waiting() == 0 {
            self.answer(now);
        }
        self.finished = received.finished;
        self.offer_due(now, self.finished);
        self.counters.held_events.set(self.held());
        match self.blocked {
            _ if self.finished => Progress::Done,
            Some(_) => Progress::Idle { until: self.look_again(now) },
            None if received.more => Progress::Worked,
            None => Progress::Idle { until: self.look_again(now) },
        }
    }

    fn wait(&mut self, now: Now, until: Mono) {
        let Some(index) = self.blocked else {
            return self.source.wait(now, until, true);
        };
        let valve = &self.lanes[index].valve;
        valve.doze();
        if !valve.may_open() {
            self.source.wait(now, until, false);
        }
        valve.rise();
    }

    fn close(&mut self, now: Now) {
        self.source.stop(now);
    }

    fn waker(&self) -> Arc<dyn Wake> {
        self.source.waker()
    }
}

#[cfg(test)]
mod tests;
