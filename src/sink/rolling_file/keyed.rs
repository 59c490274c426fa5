//! The keyed sink: a file for each peer (and later host), each owned by one thread.
//!
//! Whoever polls a batch deals it to every thread; a thread takes the events whose key is its own
//! into that key's open block. Blocks are small, flushed by bytes, age, or when the open blocks
//! together reach their budget, the largest first. Sequence and order are per file.
//!
//! Threading: a thread owns its writer and its open blocks. Deals go through one small ring a
//! thread; a batch is dealt only when every ring has room, so few pages are beyond their credit.

use std::collections::HashMap;
use std::collections::hash_map::DefaultHasher;
use std::hash::BuildHasherDefault;
use std::net::IpAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::block::{Contents, Place, Press};
use super::path::Template;
use super::writer::Writer;
use crate::channel::{Channel, Parcel};
use crate::codec::encoders::Encoder;
use crate::event::Event;
use crate::limits::usize_of;
use crate::memory::gate::exempt;
use crate::memory::{ReceiptSlip, Shared as Batch};
use crate::ring::{Ring, Seat, Wake};
use crate::runtime::parker::Parker;
use crate::runtime::{Progress, Worker};
use crate::telemetry::SinkCounters;
use crate::time::{Mono, Now, Wall};

/// Batches dealt to a thread and not yet taken.
pub(super) const DEALT_MAX: usize = 2;

/// Empty raw buffers kept for the next key.
const SPARE_MAX: usize = 64;

/// What the threads of one sink share: the channel, dealt out under one short lock.
pub(super) struct Dealer {
    pub(super) channel: Arc<dyn Channel>,
    pub(super) hands: Vec<Ring<Dealt>>,
    pub(super) lock: Mutex<()>,
}

/// A batch in one thread's hand.
pub(super) struct Dealt {
    batch: Batch,
    /// The first thread's copy carries the credit; the others' are `pages_in_hand`.
    _parcel: Option<Parcel>,
    slip: Option<ReceiptSlip>,
    first_at: Mono,
}

pub(super) struct Keyed {
    pub(super) name: String,
    pub(super) thread: usize,
    pub(super) dealer: Arc<Dealer>,
    pub(super) template: Arc<Template>,
    pub(super) encoder: Arc<dyn Encoder + Sync>,
    pub(super) press: Press,
    pub(super) writer: Writer,
    pub(super) buffers: Arc<Ring<Vec<u8>>>,
    pub(super) counters: Arc<SinkCounters>,
    pub(super) parker: Parker,
    pub(super) seats: Seats,
    pub(super) open: OpenBlocks,
    pub(super) current: Option<(Dealt, u32)>,
    pub(super) closing: bool,
}

pub(super) struct Seats {
    pub(super) channel: Seat,
    pub(super) hand: Seat,
    pub(super) buffers: Seat,
    pub(super) clerk: Seat,
}

/// No random seed: in simulation a run repeats byte for byte.
type FixedState = BuildHasherDefault<DefaultHasher>;

/// The open blocks of one thread, by key.
pub(super) struct OpenBlocks {
    pub(super) slice_ns: Option<i64>,
    pub(super) by_key: HashMap<Key, OpenBlock, FixedState>,
    /// Empty raw buffers for keys to come.
    pub(super) spare: Vec<Vec<u8>>,
    /// Bytes in all open blocks, and how many they may be.
    pub(super) bytes: usize,
    pub(super) budget_bytes: usize,
    pub(super) block_bytes: usize,
    pub(super) patience: Duration,
    /// When the oldest open block is due.
    pub(super) due: Mono,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Key {
    slice: i64,
    peer: Option<IpAddr>,
}

pub(super) struct OpenBlock {
    raw: Vec<u8>,
    contents: Contents,
    first_at: Mono,
}

impl Dealer {
    /// Deals one batch to all hands, if there is one and all have room.
    fn deal(&self, counters: &SinkCounters, now: Now) -> bool {
        let Ok(_turn) = self.lock.try_lock() else { return false };
        if self.hands.iter().any(|hand| hand.len() == DEALT_MAX) {
            return false;
        }
        let Some(mut parcel) = self.channel.poll() else { return false };
        counters.channel_wait.record(now.mono.since(parcel.offered_at));
        let (batch, first_at) = (parcel.batch.clone(), parcel.first_at);
        // Order within a key is kept, but a batch spreads over many files and syncs: no slip can
        // tell when all of it is down. `can_sync` is false, and the plan refuses such an `ack`.
        let mut slip = parcel.slip.take();
        let mut parcel = Some(parcel);
        for hand in &self.hands {
            let (slip, parcel) = (slip.take(), parcel.take());
            hand.offer(Dealt { batch: batch.clone(), _parcel: parcel, slip, first_at });
        }
        true
    }
}

impl Keyed {
    fn mine(&self, peer: Option<IpAddr>) -> bool {
        let mixed = match peer {
            None => 0,
            Some(IpAddr::V4(v4)) => u64::from(u32::from(v4)),
            Some(IpAddr::V6(v6)) => (u128::from(v6) ^ (u128::from(v6) >> 64)) as u64,
        };
        let mixed = (mixed ^ (mixed >> 15)).wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 32;
        mixed as usize % self.dealer.hands.len() == self.thread
    }

    /// Takes events of the current batch into open blocks until it is through or blocks must go
    /// and no buffer is free.
    fn take_events(&mut self, dealt: Dealt, from: u32, now: Now) -> Progress {
        let Dealt { batch, first_at, .. } = &dealt;
        let mut index = from;
        let mut stuck = false;
        for event in batch.events().skip(usize_of(from)) {
            let peer = event.origin.peer.map(|peer| peer.ip().to_canonical());
            if self.mine(peer) {
                let key = Key { slice: self.open.slice(event.at), peer };
                if !self.make_room(key, &event, now) {
                    stuck = true;
                    break;
                }
                self.open.put(key, &event, *first_at, &self.template, self.encoder.as_ref());
            }
            index += 1;
        }
        if stuck {
            self.current = Some((dealt, index));
            return Progress::Idle { until: self.writer.deadline() };
        }
        dealt.slip.into_iter().for_each(|slip| {
            if slip.wanted() <= crate::memory::receipt::Reached::Received {
                slip.confirm();
            }
        });
        Progress::Worked
    }

    /// Room for the event in its key's block: a full block goes; when all together have reached
    /// their budget the largest goes. False when nothing can go now.
    fn make_room(&mut self, key: Key, event: &Event<'_>, now: Now) -> bool {
        let most = self.encoder.bound_event(event);
        let full = |open: &OpenBlock| open.raw.len() + most > self.open.block_bytes;
        if self.open.by_key.get(&key).is_some_and(full) && !self.flush(key, now) {
            return false;
        }
        while self.open.bytes + most > self.open.budget_bytes {
            let Some(largest) = self.open.largest() else { return true };
            if !self.flush(largest, now) {
                return false;
            }
        }
        true
    }

    fn flush(&mut self, key: Key, now: Now) -> bool {
        let Some(buffer) = self.buffers.poll() else { return false };
        let Some(mut open) = self.open.by_key.remove(&key) else { return true };
        let block = self.press.press(&open.raw, buffer, open.contents);
        self.open.bytes -= open.raw.len();
        open.raw.clear();
        if self.open.spare.len() < SPARE_MAX {
            self.open.spare.push(open.raw);
        }
        self.writer.accept(block, now);
        true
    }

    /// Flushes what is due, or all when closing; says whether everything due is gone.
    fn flush_due(&mut self, now: Now) -> bool {
        if !self.closing && now.mono < self.open.due {
            return true;
        }
        let all = self.closing && self.current.is_none();
        let patience = self.open.patience;
        while let Some(key) = self.open.first_due(now, patience, all) {
            if !self.flush(key, now) {
                return false;
            }
        }
        let oldest = self.open.by_key.values().map(|open| open.first_at).min();
        self.open.due = oldest.map_or(Mono::MAX, |first_at| first_at.after(patience));
        true
    }

    fn hand(&self) -> &Ring<Dealt> {
        &self.dealer.hands[self.thread]
    }
}

impl Worker for Keyed {
    fn name(&self) -> &str {
        &self.name
    }

    fn work(&mut self, now: Now) -> Progress {
        let mut worked = self.writer.tend(now);
        let flushed = self.flush_due(now);
        worked |= self.dealer.deal(&self.counters, now);
        let current = self.current.take().or_else(|| self.hand().poll().map(|dealt| (dealt, 0)));
        if let Some((dealt, from)) = current {
            let progress = self.take_events(dealt, from, now);
            return if worked { Progress::Worked } else { progress };
        }
        let through = self.closing && self.dealer.channel.is_empty() && self.hand().is_empty();
        if through && flushed && self.open.by_key.is_empty() {
            self.writer.close(now);
            self.writer.tend(now);
            if self.writer.is_closed() {
                return Progress::Done;
            }
            return Progress::Idle { until: now.mono.after(super::CLOSING_LOOK) };
        }
        match worked {
            true => Progress::Worked,
            false if self.closing => Progress::Idle { until: now.mono.after(super::CLOSING_LOOK) },
            false => Progress::Idle { until: self.open.due.min(self.writer.deadline()) },
        }
    }

    fn wait(&mut self, now: Now, until: Mono) {
        let channel = self.dealer.channel.bell();
        let (hand, buffers) = (self.hand().bell(), self.buffers.bell());
        let clerk = self.writer.desk().answers();
        channel.doze(self.seats.channel);
        hand.doze(self.seats.hand);
        buffers.doze(self.seats.buffers);
        clerk.bell().doze(self.seats.clerk);
        let work = match self.current {
            Some(_) => !self.buffers.is_empty(),
            None => !self.hand().is_empty() || !self.dealer.channel.is_empty(),
        };
        if !work && clerk.is_empty() {
            self.parker.sleep(now, until);
        } else if work {
            // Another thread's hand may be full: give it the core instead of spinning.
            self.parker.sleep(now, now.mono.after(Duration::from_micros(100)));
        }
        clerk.bell().rise(self.seats.clerk);
        buffers.rise(self.seats.buffers);
        hand.rise(self.seats.hand);
        channel.rise(self.seats.channel);
    }

    fn close(&mut self, _now: Now) {
        self.closing = true;
    }

    fn waker(&self) -> Arc<dyn Wake> {
        self.parker.waker()
    }
}

impl OpenBlocks {
    fn slice(&self, at: Wall) -> i64 {
        self.slice_ns.map_or(0, |ns| at.0.div_euclid(ns))
    }

    fn put(
        &mut self,
        key: Key,
        event: &Event<'_>,
        first_at: Mono,
        template: &Template,
        encoder: &dyn Encoder,
    ) {
        let (spare, slice_ns, block_bytes) = (&mut self.spare, self.slice_ns, self.block_bytes);
        let open = self.by_key.entry(key).or_insert_with(|| {
            exempt(|| {
                let place = Place {
                    stem: Arc::from(template.render(event.at, key.peer)),
                    until: slice_ns.map(|ns| Wall((key.slice + 1).saturating_mul(ns))),
                };
                let raw = spare.pop().unwrap_or_else(|| Vec::with_capacity(block_bytes));
                OpenBlock { raw, contents: Contents::none(place), first_at }
            })
        });
        let before = open.raw.len();
        encoder.encode_event(event, &mut open.raw);
        self.bytes += open.raw.len() - before;
        let contents = &mut open.contents;
        contents.events += 1;
        contents.event_bytes += event.bytes.len() as u64;
        contents.time_min = contents.time_min.min(event.at);
        contents.time_max = contents.time_max.max(event.at);
        self.due = self.due.min(open.first_at.after(self.patience));
    }

    fn largest(&self) -> Option<Key> {
        self.by_key.iter().max_by_key(|(_, open)| open.raw.len()).map(|(key, _)| *key)
    }

    fn first_due(&self, now: Now, patience: Duration, all: bool) -> Option<Key> {
        let due = |open: &OpenBlock| all || open.first_at.after(patience) <= now.mono;
        self.by_key.iter().find(|(_, open)| due(open)).map(|(key, _)| *key)
    }
}
