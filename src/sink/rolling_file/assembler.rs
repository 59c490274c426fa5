//! What the next block is: taken from the channel together with its place in the order.
//!
//! A full batch whose bytes are the block already is handed out as it is. A larger one, or one that
//! must be rewritten, is handed out in parts, one block each. Small batches are gathered into an
//! open block, so that a trickle neither makes tiny blocks nor pins pages; the open block goes when
//! it is full or its deadline comes.
//!
//! Threading: used under one short lock; encoding and compressing a part happen outside of it.

use std::sync::Arc;
use std::time::Duration;

use super::block::{Contents, Place};
use super::path::Template;
use super::tempo::Tempo;
use crate::channel::{Amount, Channel, Parcel};
use crate::codec::encoders::Encoder;
use crate::event::Event;
use crate::limits;
use crate::memory::ReceiptSlip;
use crate::memory::Shared;
use crate::memory::gate::exempt;
use crate::storage::meta::{MetaCoder, Received};
use crate::telemetry::SinkCounters;
use crate::time::{Mono, Now, Wall};

/// Sizes that the encoder, the press and the buffers agree on.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sizes {
    /// A block is full with so many bytes before compression.
    pub(super) block: usize,
    /// A raw buffer has so much room.
    pub(super) raw: usize,
}

/// One block to be made.
pub(super) struct Job {
    pub(super) ticket: u64,
    pub(super) body: Body,
    pub(super) contents: Contents,
}

pub(super) enum Body {
    /// The batch's own bytes.
    Whole(Parcel),
    /// Events `from..to` of a batch, to be encoded.
    Part { batch: Shared, from: u32, to: u32 },
    /// Gathered and encoded already: in the caller's raw buffer.
    Gathered,
}

/// What a job is put in, all empty.
pub(super) struct Vessel<'a> {
    /// What was gathered.
    pub(super) raw: &'a mut Vec<u8>,
    /// Optional fields of the block's header.
    pub(super) fields: &'a mut Vec<u8>,
    /// Go with the job if there is one.
    pub(super) slips: &'a mut Vec<ReceiptSlip>,
}

pub(super) struct Assembler {
    channel: Arc<dyn Channel>,
    encoder: Arc<dyn Encoder + Sync>,
    places: PlaceCache,
    sizes: Sizes,
    /// How long an event may wait in the open block.
    patience: Duration,
    /// When a block goes that somebody waits for.
    tempo: Arc<Tempo>,
    open: OpenBlock,
    /// A batch handed out in parts, and where its next part begins.
    current: Option<(Parcel, u32)>,
    next_ticket: u64,
    counters: Arc<SinkCounters>,
    /// Times and peers of the events of the open block, or of the block that is being handed out,
    /// if they are kept.
    meta: Option<MetaCoder>,
}

/// The place of a batch, remembered for as long as its time unit lasts.
struct PlaceCache {
    template: Arc<Template>,
    slice_ns: Option<i64>,
    last: Option<(i64, Place)>,
}

struct OpenBlock {
    raw: Vec<u8>,
    contents: Option<Contents>,
    /// Who waits for it.
    slips: Vec<ReceiptSlip>,
    first_at: Mono,
}

impl Assembler {
    pub(super) fn new(
        channel: Arc<dyn Channel>,
        encoder: Arc<dyn Encoder + Sync>,
        template: Arc<Template>,
        sizes: Sizes,
        patience: Duration,
        tempo: Arc<Tempo>,
        counters: Arc<SinkCounters>,
    ) -> Self {
        let slice = template.slice().map(|slice| slice.min(Duration::from_secs(900)));
        let slice_ns = slice.and_then(|slice| i64::try_from(slice.as_nanos()).ok());
        let raw = Vec::with_capacity(sizes.raw);
        Self {
            channel,
            encoder,
            places: PlaceCache { template, slice_ns, last: None },
            sizes,
            patience,
            tempo,
            open: OpenBlock { raw, contents: None, slips: Vec::new(), first_at: Mono::MAX },
            current: None,
            next_ticket: 0,
            counters,
            meta: None,
        }
    }

    pub(super) fn keeping(self, meta: Option<MetaCoder>) -> Self {
        Self { meta, ..self }
    }

    /// The next block to make, if there is one now. With `hurry` an open block goes though it is
    /// neither full nor due.
    pub(super) fn take(&mut self, now: Now, hurry: bool, vessel: Vessel<'_>) -> Option<Job> {
        loop {
            if self.current.is_some() {
                return Some(self.take_part(vessel));
            }
            if self.open.contents.is_some() && now.mono >= self.due() {
                if self.has_enough() {
                    self.tempo.hasten(now.mono);
                }
                return Some(self.take_open(vessel));
            }
            let Some(parcel) = self.channel.poll() else {
                let leftover = hurry && self.open.contents.is_some();
                return leftover.then(|| self.take_open(vessel));
            };
            self.counters.channel_wait.record(now.mono.since(parcel.offered_at));
            let place = self.places.of(parcel.batch.time_min());
            let room = self.room_for(&parcel, &place);
            match room {
                Room::Gather => self.gather(parcel, place),
                Room::AfterOpen => {
                    let job = self.take_open(vessel);
                    self.current = Some((parcel, 0));
                    return Some(job);
                }
                Room::Alone => self.current = Some((parcel, 0)),
            }
            if self.open.raw.len() >= self.sizes.block {
                return Some(self.take_open(vessel));
            }
        }
    }

    /// When the open block goes.
    pub(super) fn due(&self) -> Mono {
        let due = self.open.first_at.after(self.patience);
        match () {
            () if self.has_enough() => Mono(0),
            () if self.is_awaited() => due.min(self.tempo.next()),
            () => due,
        }
    }

    /// Somebody waits for the open block.
    fn is_awaited(&self) -> bool {
        self.open.slips.iter().any(ReceiptSlip::hurries)
    }

    /// And nothing more is to be expected before it is there.
    fn has_enough(&self) -> bool {
        let open = self.open.contents.as_ref();
        open.is_some_and(|open| self.tempo.is_enough(open.events)) && self.is_awaited()
    }

    /// Nothing is left that was polled and not handed out.
    pub(super) fn is_empty(&self) -> bool {
        self.open.contents.is_none() && self.current.is_none()
    }

    pub(super) fn next_ticket(&self) -> u64 {
        self.next_ticket
    }

    /// For [`Room::Gather`] the times and peers have been taken.
    fn room_for(&mut self, parcel: &Parcel, place: &Place) -> Room {
        let batch = &parcel.batch;
        let most = match self.encoder.as_is(batch) {
            Some(bytes) => bytes.len(),
            None => self.encoder.bound_page(batch),
        };
        let open = self.open.contents.as_ref();
        let fits = self.open.raw.len() + most <= self.sizes.raw;
        let joins = open.is_none_or(|open| {
            open.place == *place && self.open.slips.len() < limits::BLOCK_RECEIPTS_MAX
        });
        let is_open = open.is_some();
        let small = most <= self.sizes.block / 4;
        let gather = small && (!is_open || fits && joins);
        match () {
            () if gather && self.take_meta(parcel) => Room::Gather,
            () if is_open => Room::AfterOpen,
            () => Room::Alone,
        }
    }

    /// Takes times and peers of a whole batch, or says that there is no room for them.
    fn take_meta(&mut self, parcel: &Parcel) -> bool {
        let received = |event: Event<'_>| Received { at: event.at, peer: event.origin.peer };
        match &mut self.meta {
            Some(meta) => meta.push_all(parcel.batch.events().map(received)),
            None => true,
        }
    }

    fn gather(&mut self, mut parcel: Parcel, place: Place) {
        let batch = &parcel.batch;
        match self.encoder.as_is(batch) {
            Some(bytes) => self.open.raw.extend_from_slice(bytes),
            None => {
                self.encoder.encode_events(batch, 0..batch.event_count(), &mut self.open.raw);
            }
        }
        let contents = self.open.contents.get_or_insert_with(|| Contents::none(place));
        contents.events += batch.event_count();
        contents.event_bytes += batch.event_bytes();
        contents.passing.add(Amount::of(batch).when(parcel.passes()));
        contents.time_min = contents.time_min.min(batch.time_min());
        contents.time_max = contents.time_max.max(batch.time_max());
        add(&mut self.open.slips, parcel.slip.take());
        self.open.first_at = self.open.first_at.min(parcel.first_at);
        self.tempo.wait(contents.events);
    }

    fn take_open(&mut self, vessel: Vessel<'_>) -> Job {
        let Vessel { raw, fields, slips } = vessel;
        debug_assert!(raw.is_empty() && fields.is_empty());
        std::mem::swap(raw, &mut self.open.raw);
        self.meta.iter_mut().for_each(|meta| meta.finish(fields));
        self.open.first_at = Mono::MAX;
        self.tempo.wait(0);
        let mut contents = self.open.contents.take().expect("the caller saw an open block");
        contents.slips = std::mem::replace(&mut self.open.slips, std::mem::take(slips));
        self.job(Body::Gathered, contents)
    }

    /// The whole current batch, as it is or to be rewritten, or its next part.
    fn take_part(&mut self, vessel: Vessel<'_>) -> Job {
        let Vessel { fields, slips, .. } = vessel;
        let (mut parcel, from) = self.current.take().expect("the caller saw a current batch");
        let place = self.places.of(parcel.batch.time_min());
        let batch = &parcel.batch;
        let (events, event_bytes) = (batch.event_count(), batch.event_bytes());
        let as_is = self.encoder.as_is(batch).map(<[u8]>::len);
        let whole = match as_is {
            Some(bytes) => bytes <= self.sizes.block.max(self.sizes.raw),
            None => {
                event_bytes + u64::from(events) <= self.sizes.block as u64
                    && self.encoder.bound_page(batch) <= self.sizes.raw
            }
        };
        if from == 0 && whole && self.take_meta(&parcel) {
            self.meta.iter_mut().for_each(|meta| meta.finish(fields));
            let contents = Contents {
                place,
                events,
                event_bytes,
                passing: Amount::of(batch).when(parcel.passes()),
                time_min: batch.time_min(),
                time_max: batch.time_max(),
                slips: with(slips, parcel.slip.take()),
            };
            let body = match as_is {
                Some(_) => Body::Whole(parcel),
                None => Body::Part { batch: parcel.batch.clone(), from: 0, to: events },
            };
            return self.job(body, contents);
        }
        let mut contents = Contents::none(place);
        let (mut most, mut length, mut to) = (0, 0, from);
        for event in batch.events().skip(limits::usize_of(from)) {
            most += self.encoder.bound_event(&event);
            let full = to > from && (most > self.sizes.raw || length >= self.sizes.block);
            let meta = self.meta.as_mut();
            if full || !meta.is_none_or(|meta| meta.push(event.at, event.origin.peer)) {
                break;
            }
            length += event.bytes.len() + 1;
            contents.event_bytes += event.bytes.len() as u64;
            contents.time_min = contents.time_min.min(event.at);
            contents.time_max = contents.time_max.max(event.at);
            to += 1;
        }
        contents.events = to - from;
        self.meta.iter_mut().for_each(|meta| meta.finish(fields));
        let all = Amount { events: u64::from(contents.events), bytes: contents.event_bytes };
        contents.passing = all.when(parcel.passes());
        let batch = batch.clone();
        if to < batch.event_count() {
            contents.slips = with(slips, parcel.slip.as_ref().map(ReceiptSlip::part));
            self.current = Some((parcel, to));
        } else {
            contents.slips = with(slips, parcel.slip.take());
        }
        self.job(Body::Part { batch, from, to }, contents)
    }

    fn job(&mut self, body: Body, contents: Contents) -> Job {
        let ticket = self.next_ticket;
        self.next_ticket += 1;
        Job { ticket, body, contents }
    }
}

/// The empty list, with one more.
fn with(slips: &mut Vec<ReceiptSlip>, slip: Option<ReceiptSlip>) -> Vec<ReceiptSlip> {
    let mut slips = std::mem::take(slips);
    add(&mut slips, slip);
    slips
}

fn add(slips: &mut Vec<ReceiptSlip>, slip: Option<ReceiptSlip>) {
    if slip.is_some() && slips.len() == slips.capacity() {
        // It comes home with its block's buffer: each list grows a few times in its life.
        exempt(|| slips.reserve(1));
    }
    slips.extend(slip);
}

enum Room {
    /// Copied into the open block.
    Gather,
    /// The open block goes first.
    AfterOpen,
    /// It makes blocks of its own.
    Alone,
}

impl Contents {
    pub(super) fn none(place: Place) -> Self {
        Self {
            place,
            events: 0,
            event_bytes: 0,
            passing: Amount::default(),
            time_min: Wall::MAX,
            time_max: Wall::MIN,
            slips: Vec::<ReceiptSlip>::new(),
        }
    }
}

impl PlaceCache {
    fn of(&mut self, at: Wall) -> Place {
        let slice = self.slice_ns.map_or(0, |ns| at.0.div_euclid(ns));
        match &self.last {
            Some((last, place)) if *last == slice => place.clone(),
            _ => exempt(|| {
                let place = Place {
                    stem: Arc::from(self.template.render(at, &[])),
                    link: self.template.link(&[]),
                    until: self.slice_ns.map(|ns| Wall((slice + 1).saturating_mul(ns))),
                };
                self.last = Some((slice, place.clone()));
                place
            }),
        }
    }
}
