//! The ordered sink: several threads compress, one file at a time is appended in channel order.
//!
//! Taking a batch and its ticket happen together, under the assembler's short lock. A finished
//! block is parked in the window; whoever finds the due one there and the writer free appends all
//! that are ready. Nobody waits for a turn inside `work`.
//!
//! Threading: three locks, never nested: assembler (take), window (park, take due), writer (append;
//! only ever tried). Every ticket out holds one block buffer, so buffers bound everything.

use std::sync::{Arc, Mutex, MutexGuard};

use super::assembler::{Assembler, Body, Job};
use super::block::{Block, Press};
use super::window::Window;
use super::writer::Writer;
use crate::channel::Channel;
use crate::codec::encoders::Encoder;
use crate::ring::{Ring, Seat, Wake};
use crate::runtime::parker::Parker;
use crate::runtime::{Progress, Worker};
use crate::time::{Mono, Now};

/// What the threads of one sink share.
pub(super) struct Shared {
    pub(super) assembler: Mutex<Assembler>,
    pub(super) window: Mutex<Window<Block>>,
    pub(super) writer: Mutex<Writer>,
    pub(super) buffers: Arc<Ring<Vec<u8>>>,
    pub(super) channel: Arc<dyn Channel>,
}

pub(super) struct Ordered {
    name: String,
    shared: Arc<Shared>,
    encoder: Arc<dyn Encoder + Sync>,
    press: Press,
    raw: Vec<u8>,
    /// The buffer for the next block; without one no ticket is taken.
    buffer: Option<Vec<u8>>,
    parker: Parker,
    channel_seat: Seat,
    buffer_seat: Seat,
    /// The first thread also answers for the writer's clerk and clock.
    clerk_seat: Option<Seat>,
    closing: bool,
}

impl Ordered {
    pub(super) fn new(
        name: String,
        shared: Arc<Shared>,
        encoder: Arc<dyn Encoder + Sync>,
        press: Press,
        raw_bytes: usize,
        leads: bool,
    ) -> Self {
        let parker = Parker::default();
        let channel_seat = shared.channel.bell().join(parker.waker());
        let buffer_seat = shared.buffers.bell().join(parker.waker());
        let clerk_seat = leads.then(|| {
            let writer = lock(&shared.writer);
            writer.desk().answers().bell().join(parker.waker())
        });
        let raw = Vec::with_capacity(raw_bytes);
        Self {
            name,
            shared,
            encoder,
            press,
            raw,
            buffer: None,
            parker,
            channel_seat,
            buffer_seat,
            clerk_seat,
            closing: false,
        }
    }

    fn leads(&self) -> bool {
        self.clerk_seat.is_some()
    }

    fn make(&mut self, job: Job, buffer: Vec<u8>) -> (u64, Block) {
        let Job { ticket, body, contents } = job;
        let block = match &body {
            Body::Whole(parcel) => {
                let bytes = self.encoder.as_is(&parcel.batch);
                let bytes = bytes.expect("the assembler asked the same of the same batch");
                self.press.press(bytes, buffer, contents)
            }
            Body::Part { batch, from, to } => {
                let part = (*to - *from) as usize;
                for event in batch.events().skip(*from as usize).take(part) {
                    self.encoder.encode_event(&event, &mut self.raw);
                }
                self.press.press(&self.raw, buffer, contents)
            }
            Body::Gathered => self.press.press(&self.raw, buffer, contents),
        };
        self.raw.clear();
        (ticket, block)
    }

    /// Appends what is due, unless another thread is at it, which then sees ours.
    fn append_due(&self, now: Now) {
        loop {
            // try_lock fails only while another thread appends; it looks at the window once more
            // after it has let go, so a block parked before our try is never left behind.
            let Ok(mut writer) = self.shared.writer.try_lock() else { return };
            while let Some(block) = lock(&self.shared.window).take_due() {
                writer.accept(block, now);
            }
            drop(writer);
            if !lock(&self.shared.window).has_due() {
                return;
            }
        }
    }

    /// The lead's duty: the clerk's answers, the writer's clock, and the end.
    fn lead(&self, now: Now) -> bool {
        let worked = self.shared.writer.try_lock().is_ok_and(|mut writer| writer.tend(now));
        self.append_due(now);
        worked
    }

    /// Nothing more comes: whether every ticket is in the file and the files are finished.
    fn finished(&self, now: Now) -> bool {
        let out = lock(&self.shared.assembler).next_ticket();
        if lock(&self.shared.window).due() != out {
            return false;
        }
        let Ok(mut writer) = self.shared.writer.try_lock() else { return false };
        writer.close(now);
        writer.tend(now);
        writer.is_closed()
    }

    fn until(&self) -> Mono {
        let due = lock(&self.shared.assembler).due();
        let due = if self.buffer.is_some() { due } else { Mono::MAX };
        if self.leads() { due.min(lock(&self.shared.writer).deadline()) } else { due }
    }
}

impl Worker for Ordered {
    fn name(&self) -> &str {
        &self.name
    }

    fn work(&mut self, now: Now) -> Progress {
        let worked = self.leads() && self.lead(now);
        if self.buffer.is_none() {
            self.buffer = self.shared.buffers.poll();
        }
        if let Some(buffer) = self.buffer.take() {
            let job = lock(&self.shared.assembler).take(now, self.closing, &mut self.raw);
            match job {
                Some(job) => {
                    let (ticket, block) = self.make(job, buffer);
                    lock(&self.shared.window).park(ticket, block);
                    self.append_due(now);
                    return Progress::Worked;
                }
                None => self.buffer = Some(buffer),
            }
        }
        if self.closing && self.buffer.is_some() {
            let drained = self.shared.channel.is_empty() && lock(&self.shared.assembler).is_empty();
            if drained && (!self.leads() || self.finished(now)) {
                // The buffer goes home, for the lead may still need it.
                self.buffer.take().into_iter().for_each(|buffer| self.shared.buffers.offer(buffer));
                return Progress::Done;
            }
        }
        match worked {
            true => Progress::Worked,
            false if self.closing && self.leads() => {
                Progress::Idle { until: now.mono.after(super::CLOSING_LOOK) }
            }
            false => Progress::Idle { until: self.until() },
        }
    }

    fn wait(&mut self, now: Now, until: Mono) {
        let shared = &self.shared;
        let clerk = self.clerk_seat.map(|seat| {
            let desk = lock(&shared.writer).desk().clone();
            (desk, seat)
        });
        shared.channel.bell().doze(self.channel_seat);
        shared.buffers.bell().doze(self.buffer_seat);
        clerk.iter().for_each(|(desk, seat)| desk.answers().bell().doze(*seat));
        let work = match self.buffer {
            Some(_) => !shared.channel.is_empty(),
            None => !shared.buffers.is_empty(),
        };
        let answers = clerk.as_ref().is_some_and(|(desk, _)| !desk.answers().is_empty());
        if !work && !answers {
            self.parker.sleep(now, until);
        }
        clerk.iter().for_each(|(desk, seat)| desk.answers().bell().rise(*seat));
        shared.buffers.bell().rise(self.buffer_seat);
        shared.channel.bell().rise(self.channel_seat);
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
