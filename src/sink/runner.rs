//! The worker of simple sinks: poll a batch, write it, count it, give it back.
//!
//! A batch that could not be written is kept and tried again, so nothing is lost while a pipe's
//! reader or a disk is away.

use std::sync::Arc;
use std::time::Duration;

use super::SinkContext;
use crate::channel::{Channel, Parcel};
use crate::event::Page;
use crate::memory::ReceiptSlip;
use crate::memory::receipt::Reached;
use crate::ring::{Seat, Wake};
use crate::runtime::parker::Parker;
use crate::runtime::{Progress, Worker};
use crate::telemetry::{SinkCounters, Watch};
use crate::time::{Mono, Now};

/// How long a failed batch waits before it is tried again.
const RETRY: Duration = Duration::from_millis(200);

/// A sink that takes whole batches and has no state between them.
pub trait BatchSink: Send {
    /// Writes what is left of the batch. After an error the same batch comes again, and what was
    /// already written must not be written twice.
    fn write(&mut self, page: &Page) -> std::io::Result<u64>;
}

pub struct SinkRunner<S> {
    name: String,
    sink: S,
    channel: Arc<dyn Channel>,
    counters: Arc<SinkCounters>,
    watch: Watch,
    parker: Parker,
    seat: Seat,
    held: Option<Parcel>,
    retry_at: Option<Mono>,
    closing: bool,
}

impl<S: BatchSink> SinkRunner<S> {
    pub fn new(context: &SinkContext, thread: usize, sink: S) -> Self {
        let parker = Parker::default();
        let seat = context.channel.bell().join(parker.waker());
        Self {
            name: format!("sink.{}.{thread}", context.name),
            sink,
            channel: Arc::clone(&context.channel),
            counters: Arc::clone(&context.counters[thread]),
            watch: context.incidents.watch(&format!("sink {}", context.name)),
            parker,
            seat,
            held: None,
            retry_at: None,
            closing: false,
        }
    }

    fn write(&mut self, parcel: Parcel, now: Now) -> Progress {
        match self.sink.write(&parcel.batch) {
            Ok(stored_bytes) => {
                let (events, bytes) =
                    (u64::from(parcel.batch.event_count()), parcel.batch.event_bytes());
                self.counters.channel_wait.record(now.mono.since(parcel.offered_at));
                self.counters.written_events.add(events);
                self.counters.written_bytes.add(bytes);
                self.counters.written_batches.add(1);
                self.counters.stored_bytes.add(stored_bytes);
                self.channel.counters().gauge.leave(events, bytes);
                let mut parcel = parcel;
                parcel
                    .slip
                    .take()
                    .filter(reached_written)
                    .into_iter()
                    .for_each(ReceiptSlip::confirm);
                self.watch.recovered(now);
                self.retry_at = None;
                Progress::Worked
            }
            Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => {
                // The reader is gone for good; the agent sees a sink that ended and stops.
                self.held = Some(parcel);
                Progress::Done
            }
            Err(error) => {
                self.counters.errors.add(1);
                self.counters.retries.add(1);
                self.watch.blocked(now, &error.to_string());
                self.held = Some(parcel);
                let until = now.mono.after(RETRY);
                self.retry_at = Some(until);
                Progress::Idle { until }
            }
        }
    }
}

fn reached_written(slip: &ReceiptSlip) -> bool {
    slip.wanted() <= Reached::Written
}

impl<S: BatchSink> Worker for SinkRunner<S> {
    fn name(&self) -> &str {
        &self.name
    }

    fn work(&mut self, now: Now) -> Progress {
        match self.retry_at {
            Some(until) if until > now.mono => return Progress::Idle { until },
            _ => {}
        }
        match self.held.take().or_else(|| self.channel.poll()) {
            Some(parcel) => self.write(parcel, now),
            None if self.closing => Progress::Done,
            None => Progress::IDLE,
        }
    }

    fn wait(&mut self, now: Now, until: Mono) {
        let bell = self.channel.bell();
        bell.doze(self.seat);
        if self.held.is_some() || self.channel.is_empty() {
            self.parker.sleep(now, until);
        }
        bell.rise(self.seat);
    }

    fn close(&mut self, _now: Now) {
        self.closing = true;
    }

    fn waker(&self) -> Arc<dyn Wake> {
        self.parker.waker()
    }
}
