//! The ordered sink: several threads compress, one file at a time is appended in channel order.
//!
//! Taking a batch and its ticket happen together, under the assembler's short lock. A finished
//! block is parked at the turnstile and passes in its turn to the writer, which appends it. Nobody
//! waits for a turn inside `work`. Taking and making are two turns of work, so that a thread that
//! is slow in between is something the simulation has, too.
//!
//! Threading: the assembler's lock and the turnstile's, never nested. Every ticket out holds one
//! block buffer, so buffers bound everything. A thread dozes only where it could take something:
//! rings wake one sleeper, and one that has to leave the thing would keep it from the others.

use std::sync::{Arc, Mutex, MutexGuard};

use super::assembler::{Assembler, Body, Job, Vessel};
use super::block::{Blank, Block, Press};
use super::clerk::{Answer, Question};
use super::writer::Writer;
use crate::channel::{Channel, Ear};
use crate::codec::encoders::Encoder;
use crate::ring::{Ring, Seat, Turnstile, Wake};
use crate::runtime::helper::Desk;
use crate::runtime::parker::Parker;
use crate::runtime::{Progress, Worker};
use crate::sink::CLOSING_LOOK;
use crate::time::{Mono, Now};

/// What the threads of one sink share.
pub(super) struct Shared {
    pub(super) assembler: Mutex<Assembler>,
    pub(super) turnstile: Turnstile<Block, Writer>,
    pub(super) buffers: Arc<Ring<Blank>>,
    pub(super) channel: Arc<dyn Channel>,
}

pub(super) struct Ordered {
    name: String,
    shared: Arc<Shared>,
    encoder: Arc<dyn Encoder + Sync>,
    press: Press,
    raw: Vec<u8>,
    /// The buffer for the next block; without one no ticket is taken.
    buffer: Option<Blank>,
    /// A block to be made, and its buffer.
    job: Option<(Job, Vec<u8>)>,
    parker: Parker,
    ear: Ear,
    buffer_seat: Seat,
    /// The first thread also answers for the writer's clerk and clock.
    clerk: Option<(Desk<Question, Answer>, Seat)>,
    closing: bool,
}

impl Ordered {
    pub(super) fn new(
        name: String,
        shared: Arc<Shared>,
        encoder: Arc<dyn Encoder + Sync>,
        press: Press,
        raw_bytes: usize,
        lead: Option<Desk<Question, Answer>>,
    ) -> Self {
        let parker = Parker::default();
        let ear = shared.channel.listen(parker.waker());
        let buffer_seat = shared.buffers.bell().join(parker.waker());
        let clerk = lead.map(|desk| {
            let seat = desk.answers().bell().join(parker.waker());
            (desk, seat)
        });
        let raw = Vec::with_capacity(raw_bytes);
        Self {
            name,
            shared,
            encoder,
            press,
            raw,
            buffer: None,
            job: None,
            parker,
            ear,
            buffer_seat,
            clerk,
            closing: false,
        }
    }

    fn leads(&self) -> bool {
        self.clerk.is_some()
    }

    fn make(&mut self, job: Job, buffer: Vec<u8>) -> (u64, Block) {
        let Job { ticket, body, contents } = job;
        let block = match body {
            Body::Whole(parcel) => {
                self.press.press_batch(parcel, self.encoder.as_ref(), buffer, contents)
            }
            Body::Part { batch, from, to } => {
                self.encoder.encode_events(&batch, from..to, &mut self.raw);
                self.press.press(&self.raw, buffer, contents)
            }
            Body::Gathered => self.press.press(&self.raw, buffer, contents),
        };
        self.raw.clear();
        (ticket, block)
    }

    /// The lead's duty: the clerk's answers and the writer's clock. Whoever else is at the writer
    /// is through with it soon.
    fn lead(&self, now: Now) -> bool {
        self.with_writer(now, |writer| writer.tend(now)).unwrap_or(false)
    }

    /// Nothing more comes: whether every ticket is in the file and the files are finished.
    fn finished(&self, now: Now) -> bool {
        let out = lock(&self.shared.assembler).next_ticket();
        if self.shared.turnstile.due() != out {
            return false;
        }
        let closed = self.with_writer(now, |writer| {
            writer.close(now);
            writer.tend(now);
            writer.is_closed()
        });
        closed.unwrap_or(false)
    }

    fn until(&self, now: Now) -> Mono {
        let due = lock(&self.shared.assembler).due();
        let due = due.min(self.shared.channel.look_at());
        let due = if self.buffer.is_some() { due } else { Mono::MAX };
        if !self.leads() {
            return due;
        }
        let deadline = self.with_writer(now, |writer| writer.deadline());
        due.min(deadline.unwrap_or_else(|| now.mono.after(CLOSING_LOOK)))
    }

    fn with_writer<R>(&self, now: Now, work: impl FnOnce(&mut Writer) -> R) -> Option<R> {
        let turnstile = &self.shared.turnstile;
        turnstile.use_gate(work, |writer, block| writer.accept(block, now))
    }
}

impl Worker for Ordered {
    fn name(&self) -> &str {
        &self.name
    }

    fn work(&mut self, now: Now) -> Progress {
        self.shared.channel.tick(now);
        let worked = self.leads() && self.lead(now);
        if let Some((job, buffer)) = self.job.take() {
            let (ticket, block) = self.make(job, buffer);
            let turnstile = &self.shared.turnstile;
            turnstile.park(ticket, block, |writer, block| writer.accept(block, now));
            return Progress::Worked;
        }
        if self.buffer.is_none() {
            self.buffer = self.shared.buffers.poll();
        }
        if let Some(mut buffer) = self.buffer.take() {
            let vessel = Vessel {
                raw: &mut self.raw,
                fields: &mut self.press.fields,
                slips: &mut buffer.slips,
            };
            let job = lock(&self.shared.assembler).take(now, self.closing, vessel);
            match job {
                Some(job) => {
                    self.job = Some((job, buffer.bytes));
                    return Progress::Worked;
                }
                None => self.buffer = Some(buffer),
            }
        }
        if self.closing && self.buffer.is_some() {
            let drained =
                self.shared.channel.is_drained() && lock(&self.shared.assembler).is_empty();
            if drained && (!self.leads() || self.finished(now)) {
                // The buffer goes home, for the lead may still need it.
                self.buffer.take().into_iter().for_each(|buffer| self.shared.buffers.offer(buffer));
                return Progress::Done;
            }
        }
        match worked {
            true => Progress::Worked,
            false if self.closing => Progress::Idle { until: now.mono.after(CLOSING_LOOK) },
            false => Progress::Idle { until: self.until(now) },
        }
    }

    fn wait(&mut self, now: Now, until: Mono) {
        let shared = &self.shared;
        let clerk = || self.clerk.iter().map(|(desk, seat)| (desk.answers(), *seat));
        clerk().for_each(|(answers, seat)| answers.bell().doze(seat));
        let work = match self.buffer {
            Some(_) => {
                shared.channel.doze(self.ear);
                !shared.channel.is_empty()
            }
            None => {
                shared.buffers.bell().doze(self.buffer_seat);
                !shared.buffers.is_empty()
            }
        };
        if !work && clerk().all(|(answers, _)| answers.is_empty()) {
            self.parker.sleep(now, until);
        }
        shared.buffers.bell().rise(self.buffer_seat);
        shared.channel.rise(self.ear);
        clerk().for_each(|(answers, seat)| answers.bell().rise(seat));
    }

    fn close(&mut self, _now: Now) {
        self.closing = true;
    }

    fn waker(&self) -> Arc<dyn Wake> {
        self.parker.waker()
    }
}

/// A panic in one thread ends the agent; the others go on draining with what stands.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}
