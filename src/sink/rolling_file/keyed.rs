//! The keyed sink: a file for each host, peer or whatever the path names, each owned by one thread.
//!
//! Whoever polls a batch deals it to every thread; a thread takes the events whose key is its own
//! into that key's open block. Blocks are small, flushed by bytes, age, or when the open blocks
//! together reach their budget, the largest first (`open_blocks`). Sequence and order are per file.
//!
//! A batch that somebody waits for spreads over many blocks: each carries a part of its slip, and
//! when the last of them is down the slip is confirmed. Such blocks go with the next commit.
//!
//! Threading: a thread owns its writer and its open blocks. Deals go through one small ring a
//! thread; a batch is dealt only when every ring has room, so few pages are beyond their credit.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::ahead::AHEAD;
use super::block::Blank;
use super::block::Press;
use super::open_blocks::{Deal, OpenBlocks, Put};
use super::tempo::Tempo;
use super::writer::Writer;
use crate::channel::{Channel, Ear, Parcel};
use crate::codec::encoders::Encoder;
use crate::event::Event;
use crate::limits::usize_of;
use crate::memory::receipt::Reached;
use crate::memory::{ReceiptSlip, Shared as Batch};
use crate::ring::{Ring, Seat, Wake};
use crate::runtime::parker::Parker;
use crate::runtime::{Progress, Worker};
use crate::sink::CLOSING_LOOK;
use crate::telemetry::SinkCounters;
use crate::time::{Mono, Now};

/// Batches dealt to a thread and not yet taken.
pub(super) const DEALT_MAX: usize = 2;

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
    /// Of what in it is this thread's.
    slip: Option<ReceiptSlip>,
    first_at: Mono,
    passes: bool,
}

pub(super) struct Keyed {
    pub(super) name: String,
    pub(super) thread: usize,
    pub(super) dealer: Arc<Dealer>,
    pub(super) encoder: Arc<dyn Encoder + Sync>,
    pub(super) press: Press,
    pub(super) writer: Writer,
    pub(super) buffers: Arc<Ring<Blank>>,
    /// When blocks go that somebody waits for.
    pub(super) tempo: Arc<Tempo>,
    pub(super) counters: Arc<SinkCounters>,
    pub(super) parker: Parker,
    pub(super) seats: Seats,
    pub(super) open: OpenBlocks,
    /// A block's bytes on their way to the press.
    pub(super) raw: Vec<u8>,
    pub(super) current: Option<(Dealt, u32)>,
    /// Counts what was dealt to this thread.
    pub(super) deals: u64,
    /// An event may wait so long in its block.
    pub(super) patience: Duration,
    pub(super) closing: bool,
}

pub(super) struct Seats {
    pub(super) channel: Ear,
    pub(super) hand: Seat,
    pub(super) buffers: Seat,
    pub(super) clerk: Seat,
}

impl Dealer {
    /// All hands have room.
    fn may_deal(&self) -> bool {
        self.hands.iter().all(|hand| hand.len() < DEALT_MAX)
    }

    /// Deals one batch to all hands, if there is one and all have room.
    fn deal(&self, counters: &SinkCounters, now: Now) -> bool {
        let Ok(_turn) = self.lock.try_lock() else { return false };
        if !self.may_deal() {
            return false;
        }
        let Some(mut parcel) = self.channel.poll() else { return false };
        counters.channel_wait.record(now.mono.since(parcel.offered_at));
        let (batch, first_at, passes) = (parcel.batch.clone(), parcel.first_at, parcel.passes());
        let mut slip = parcel.slip.take();
        let mut parcel = Some(parcel);
        let last = self.hands.len() - 1;
        for (thread, hand) in self.hands.iter().enumerate() {
            let part = slip.as_ref().filter(|_| thread < last).map(ReceiptSlip::part);
            let (slip, parcel) = (part.or_else(|| slip.take()), parcel.take());
            let batch = batch.clone();
            hand.offer(Dealt { batch, _parcel: parcel, slip, first_at, passes });
        }
        true
    }
}

impl Keyed {
    /// Takes events of the current batch into open blocks until it is through or blocks must go
    /// and no buffer is free.
    fn take_events(&mut self, dealt: Dealt, from: u32, now: Now) -> Progress {
        let Dealt { batch, first_at, slip, passes, .. } = &dealt;
        self.deals += u64::from(from == 0);
        let slip = slip.as_ref().filter(|slip| slip.wanted() > Reached::Received);
        let since = self.since(*first_at, now);
        let deal = Deal { number: self.deals, since, slip, passes: *passes };
        let stuck = self.take_from(batch, &deal, from, now);
        if let Some(index) = stuck {
            self.current = Some((dealt, index));
            return Progress::Idle { until: self.writer.deadline() };
        }
        // What is still to come of it, the blocks have parts of.
        dealt.slip.into_iter().for_each(ReceiptSlip::confirm);
        Progress::Worked
    }

    /// Says which event has to wait for a buffer, if one has.
    fn take_from(&mut self, batch: &Batch, deal: &Deal<'_>, from: u32, now: Now) -> Option<u32> {
        let mut index = from;
        let mut events = batch.events().skip(usize_of(from));
        let (thread, threads) = (self.thread, self.dealer.hands.len());
        let ours = |share: usize| share % threads == thread;
        loop {
            let few: [Option<Event<'_>>; AHEAD] = std::array::from_fn(|_| events.next());
            let few = || few.iter().flatten();
            self.open.look_ahead(few(), ours);
            for (turn, event) in few().enumerate() {
                if ours(self.open.turn_to(turn)) && !self.put(event, deal, now) {
                    return Some(index);
                }
                index += 1;
            }
            if few().count() < AHEAD {
                return None;
            }
        }
    }

    /// Takes the event turned to; false when blocks must go first and no buffer is free.
    #[inline]
    fn put(&mut self, event: &Event<'_>, deal: &Deal<'_>, now: Now) -> bool {
        loop {
            match self.open.put(event, deal, self.encoder.as_ref()) {
                Put::Done => return true,
                Put::After(block) if self.flush(block, now) => {}
                Put::After(_) => return false,
            }
        }
    }

    /// Since when events of a batch wait for their block to go. A batch that was long on its way,
    /// with others behind it, says that the sink does not keep up: were its blocks due at once,
    /// they would hold an event or two, and the sink keep up even less.
    fn since(&self, first_at: Mono, now: Now) -> Mono {
        let late = self.has_more() && now.mono.since(first_at) > self.patience / 4;
        if late { now.mono } else { first_at }
    }

    /// Makes a block of what is open there; false when no buffer is free for it.
    fn flush(&mut self, open: u32, now: Now) -> bool {
        let Some(Blank { bytes, slips }) = self.buffers.poll() else { return false };
        self.raw.clear();
        let contents = self.open.take(open, &mut self.raw, &mut self.press.fields, slips);
        let block = self.press.press(&self.raw, bytes, contents);
        self.writer.add(block, now);
        true
    }

    /// Flushes what is due, or all when no more will come; says whether everything due is gone.
    fn flush_due(&mut self, now: Now) -> bool {
        if now.mono >= self.tempo.next() {
            while let Some(open) = self.open.first_awaited() {
                if !self.flush(open, now) {
                    return false;
                }
            }
        }
        // While a backlog is drained blocks fill as ever: all of them after each batch would be a
        // block an event.
        let all = self.current.is_none() && self.is_through();
        if !all && now.mono < self.open.due() {
            return true;
        }
        while let Some(open) = self.open.first_due(now, all) {
            if !self.flush(open, now) {
                return false;
            }
        }
        true
    }

    /// When a block goes by itself.
    fn due(&self) -> Mono {
        let due = self.open.due();
        if self.open.is_awaited() { due.min(self.tempo.next()) } else { due }
    }

    /// Further batches wait.
    fn has_more(&self) -> bool {
        !self.hand().is_empty() || !self.dealer.channel.is_empty()
    }

    /// No further batches will come.
    fn is_through(&self) -> bool {
        // Whoever holds the lock may have polled a batch that is in no hand yet.
        let nobody_deals = || self.dealer.lock.try_lock().is_ok();
        let drained = || self.dealer.channel.is_drained();
        self.closing && drained() && nobody_deals() && self.hand().is_empty()
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
        self.dealer.channel.tick(now);
        let mut worked = self.writer.tend(now);
        let flushed = self.flush_due(now);
        worked |= self.dealer.deal(&self.counters, now);
        let current = self.current.take().or_else(|| self.hand().poll().map(|dealt| (dealt, 0)));
        if let Some((dealt, from)) = current {
            let progress = self.take_events(dealt, from, now);
            return if worked { Progress::Worked } else { progress };
        }
        if self.is_through() && flushed && self.open.is_empty() {
            self.writer.close(now);
            self.writer.tend(now);
            if self.writer.is_closed() {
                return Progress::Done;
            }
            return Progress::Idle { until: now.mono.after(CLOSING_LOOK) };
        }
        match worked {
            true => Progress::Worked,
            false if self.closing => Progress::Idle { until: now.mono.after(CLOSING_LOOK) },
            // Without a buffer nothing can go: whoever brings one home rings.
            false if !flushed => Progress::Idle { until: self.writer.deadline() },
            false => {
                let until = self.due().min(self.dealer.channel.look_at());
                Progress::Idle { until: until.min(self.writer.deadline()) }
            }
        }
    }

    fn wait(&mut self, now: Now, until: Mono) {
        let channel = &self.dealer.channel;
        let (hand, buffers) = (self.hand().bell(), self.buffers.bell());
        let clerk = self.writer.desk().answers();
        if self.dealer.may_deal() {
            channel.doze(self.seats.channel);
        } else if !self.dealer.channel.is_empty() {
            // Whose hand is full will deal as soon as it is not. Perhaps we were rung for a batch
            // that another sink at this channel could take: it is rung on.
            channel.pass_on();
        }
        hand.doze(self.seats.hand);
        buffers.doze(self.seats.buffers);
        clerk.bell().doze(self.seats.clerk);
        let overdue = self.due() <= now.mono;
        let work = match self.current {
            Some(_) => !self.buffers.is_empty(),
            None if overdue && !self.buffers.is_empty() => true,
            None => !self.hand().is_empty(),
        };
        let deal = !self.dealer.channel.is_empty() && self.dealer.may_deal();
        if !work && !deal && clerk.is_empty() {
            self.parker.sleep(now, until);
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
