//! The worker of simple sinks: poll a batch, write it, count it, give it back.
//!
//! A batch that could not be written is kept and tried again, so nothing is lost while a pipe's
//! reader or a disk is away.

use std::sync::Arc;
use std::time::Duration;

use super::{CLOSING_LOOK, SinkContext};
use crate::channel::{Amount, Channel, Ear, Parcel};
use crate::event::Page;
use crate::memory::ReceiptSlip;
use crate::memory::receipt::Reached;
use crate::ring::Wake;
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

    /// What was written of a batch is of no use any more: another sink has it.
    fn forget(&mut self) {}
}

pub struct SinkRunner<S> {
    name: String,
    sink: S,
    channel: Arc<dyn Channel>,
    counters: Arc<SinkCounters>,
    watch: Watch,
    parker: Parker,
    ear: Ear,
    held: Option<Parcel>,
    retry_at: Option<Mono>,
    closing: bool,
}

impl<S: BatchSink> SinkRunner<S> {
    pub fn new(context: &SinkContext, thread: usize, sink: S) -> Self {
        let parker = Parker::default();
        let ear = context.channel.listen(parker.waker());
        Self {
            name: format!("sink.{}.{thread}", context.name),
            sink,
            channel: Arc::clone(&context.channel),
            counters: Arc::clone(&context.counters[thread]),
            watch: context.incidents.watch(&format!("sink {}", context.name)),
            parker,
            ear,
            held: None,
            retry_at: None,
            closing: false,
        }
    }

    fn write(&mut self, parcel: Parcel, now: Now) -> Progress {
        match self.sink.write(&parcel.batch) {
            Ok(stored_bytes) => {
                let all = Amount::of(&parcel.batch);
                let Amount { events, bytes } = all;
                self.counters.channel_wait.record(now.mono.since(parcel.offered_at));
                self.counters.written_events.add(events);
                self.counters.written_bytes.add(bytes);
                self.counters.written_batches.add(1);
                self.counters.stored_bytes.add(stored_bytes);
                self.channel.leave(all, all.when(parcel.passes()));
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
                match self.channel.is_covered() {
                    true => self.watch.fault(now, &error.to_string()),
                    false => self.watch.blocked(now, &error.to_string()),
                };
                let Some(parcel) = self.channel.give_back(parcel, now) else {
                    self.sink.forget();
                    return Progress::Idle { until: self.channel.look_at() };
                };
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
        self.channel.tick(now);
        match self.retry_at {
            Some(until) if until > now.mono => return Progress::Idle { until },
            _ => {}
        }
        match self.held.take().or_else(|| self.channel.poll()) {
            Some(parcel) => self.write(parcel, now),
            None if self.closing && self.channel.is_drained() => Progress::Done,
            None if self.closing => Progress::Idle { until: now.mono.after(CLOSING_LOOK) },
            None => Progress::Idle { until: self.channel.look_at() },
        }
    }

    fn wait(&mut self, now: Now, until: Mono) {
        if self.held.is_some() {
            // A ring wakes one sleeper, and this one could not take the batch it is about.
            self.parker.sleep(now, until);
            return;
        }
        self.channel.doze(self.ear);
        if self.channel.is_empty() {
            self.parker.sleep(now, until);
        }
        self.channel.rise(self.ear);
    }

    fn close(&mut self, _now: Now) {
        self.closing = true;
    }

    fn waker(&self) -> Arc<dyn Wake> {
        self.parker.waker()
    }
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::sync::mpsc::{Receiver, Sender, channel};
    use std::time::Instant;

    use super::*;
    use crate::channel::memory::MemoryChannel;
    use crate::channel::{Inlet, Valve, WhenFull};
    use crate::event::{EventHead, Marks, Origin};
    use crate::memory::{Credit, Pool};
    use crate::runtime::clock::{Clock, SystemClock};
    use crate::runtime::thread::Post;
    use crate::sink::Orders;
    use crate::storage::OsDisk;
    use crate::telemetry::{Incidents, Ledger};

    const SOON: Duration = Duration::from_secs(20);

    /// Tells that it was asked to write; can, or cannot.
    struct Teller {
        told: Sender<()>,
        stuck: bool,
    }

    impl BatchSink for Teller {
        fn write(&mut self, _page: &Page) -> io::Result<u64> {
            self.told.send(()).expect("the test listens");
            if self.stuck { Err(io::ErrorKind::TimedOut.into()) } else { Ok(0) }
        }
    }

    fn start(context: &SinkContext, stuck: bool) -> (Post, Receiver<()>) {
        let (told, listener) = channel();
        let worker = Box::new(SinkRunner::new(context, 0, Teller { told, stuck }));
        (Post::start(worker, None, Arc::clone(&context.clock)).expect("a thread"), listener)
    }

    #[test]
    fn a_stuck_sink_does_not_answer_for_the_other_at_its_channel() {
        let mut builder = Ledger::builder("test");
        let credit = Arc::new(Credit::new(8));
        let counters = builder.channel("main").counters();
        let channel: Arc<dyn Channel> =
            Arc::new(MemoryChannel::new("main".into(), credit, counters));
        let clock: Arc<dyn Clock> = Arc::new(SystemClock::default());
        let context = SinkContext {
            name: "out".to_owned(),
            channel: Arc::clone(&channel),
            counters: vec![builder.sink("out", "main").worker()],
            dead_letters: None,
            incidents: Incidents::new(),
            disk: Arc::new(OsDisk),
            clock: Arc::clone(&clock),
            orders: Arc::new(Orders::default()),
            page_bytes: 64 << 10,
            event_bytes_max: 4 << 10,
            now: clock.now(),
        };
        let inlet = builder.channel("main").inlet();
        let inlet =
            Inlet { channel: Arc::clone(&channel), when_full: WhenFull::Wait, counters: inlet };
        let waker: Arc<dyn Wake> = Parker::default().waker();
        let valve = Valve::new(Pool::new(8, 64 << 10), vec![inlet], &waker);
        let offer = || {
            let mut page = valve.open().expect("free");
            let now = clock.now();
            let origin = page.push_origin(Origin::LOCAL).expect("room");
            let head = EventHead { at: now.wall, origin, pri: None, marks: Marks::NONE };
            page.append_event(b"one", head).expect("room");
            valve.offer(page, None, now.mono, now);
        };
        // It sits in the first seat, and has its hands full.
        let (stuck, asked) = start(&context, true);
        offer();
        asked.recv_timeout(SOON).expect("it takes the first");
        let (healthy, written) = start(&context, false);
        for _ in 0..50 {
            let began = Instant::now();
            while !channel.bell().has_sleepers() {
                assert!(began.elapsed() < SOON, "nobody sleeps, though nothing waits");
                std::thread::yield_now();
            }
            offer();
            written.recv_timeout(SOON).expect("the other is awake for it");
        }
        for post in [stuck, healthy] {
            post.abandon();
            post.join().expect("no panic");
        }
    }
}
