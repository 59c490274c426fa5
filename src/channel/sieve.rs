//! A channel as a sink with filters sees it: batches come without the events that it refuses.
//!
//! A batch that nobody else reads is sifted where it lies. One that other channels read too is
//! copied first, to one of the few pages kept for that; when all of those are out the batch waits
//! here, and the sink's own progress brings one home.
//!
//! Threading: every thread of the sink polls here; one lock a batch is held while it is sifted.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::{Amount, Channel, Ear, Parcel};
use crate::event::{Event, Removed, Since};
use crate::memory::{Credit, Pool, ReceiptSlip, Shared};
use crate::ring::{Bell, Wake};
use crate::telemetry::{ChannelCounters, SinkCounters};

/// Whether an event is for this sink, asked of each; so it is called without a detour, and the one
/// virtual call is that of `poll`, for a batch.
pub struct Sieve<Keep> {
    inner: Arc<dyn Channel>,
    keep: Keep,
    copies: Arc<Pool>,
    /// Written under the lock, so it has one writer at a time.
    counters: Mutex<Counting>,
}

struct Counting {
    counters: Arc<SinkCounters>,
    /// Polled, and there was no page for a copy.
    waiting: Option<Parcel>,
}

/// Pages for copies: one in each thread's hands, one being filled, and those that stay in hand.
pub const fn copies_for(threads: usize, in_hand: usize) -> usize {
    2 * threads + in_hand + 2
}

impl<Keep: Fn(&Event<'_>) -> bool + Send + Sync> Sieve<Keep> {
    /// `counters` are the sieve's own: a set of the sink that none of its threads writes.
    pub fn new(
        inner: Arc<dyn Channel>,
        keep: Keep,
        copies: Arc<Pool>,
        counters: Arc<SinkCounters>,
    ) -> Self {
        Self { inner, keep, copies, counters: Mutex::new(Counting { counters, waiting: None }) }
    }

    /// The batch without what is refused; back as it is when there was no page for a copy.
    fn sift(&self, parcel: Parcel, counters: &SinkCounters) -> Result<Option<Parcel>, Parcel> {
        let events = parcel.batch.event_count();
        let kept = parcel.batch.events().filter(|event| (self.keep)(event)).count();
        if kept == events as usize {
            return Ok(Some(parcel));
        }
        if kept == 0 {
            let bytes = parcel.batch.event_bytes();
            let removed = Removed { events: u64::from(events), bytes };
            self.count(removed, parcel.passes(), counters);
            // What a filter refuses is where it was to be: nowhere.
            parcel.slip.into_iter().for_each(ReceiptSlip::confirm);
            return Ok(None);
        }
        let passes = parcel.passes();
        let batch = parcel.batch;
        let mut page = match batch.unseal() {
            Ok(lease) => lease,
            Err(shared) => match self.copies.take() {
                Some(mut copy) => {
                    copy.copy_from(&shared);
                    copy
                }
                None => {
                    return Err(Parcel { batch: shared, ..parcel });
                }
            },
        };
        let removed = page.retain(&Since::START, |event| (self.keep)(event));
        self.count(removed, passes, counters);
        let batch: Shared = page.seal();
        Ok(Some(Parcel { batch, ..parcel }))
    }

    fn lock(&self) -> MutexGuard<'_, Counting> {
        self.counters.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn count(&self, removed: Removed, passes: bool, counters: &SinkCounters) {
        counters.filtered_events.add(removed.events);
        let Removed { events, bytes } = removed;
        let all = Amount { events, bytes };
        self.inner.leave(all, all.when(passes));
    }
}

impl<Keep: Fn(&Event<'_>) -> bool + Send + Sync> Channel for Sieve<Keep> {
    fn name(&self) -> &str {
        self.inner.name()
    }

    fn credit(&self) -> &Arc<Credit> {
        self.inner.credit()
    }

    fn counters(&self) -> &ChannelCounters {
        self.inner.counters()
    }

    fn offer(&self, parcel: Parcel) {
        self.inner.offer(parcel);
    }

    fn leave(&self, all: Amount, passing: Amount) {
        self.inner.leave(all, passing);
    }

    fn poll(&self) -> Option<Parcel> {
        let mut state = self.lock();
        loop {
            let parcel = state.waiting.take().or_else(|| self.inner.poll())?;
            match self.sift(parcel, &state.counters) {
                Ok(None) => {}
                Ok(sifted) => return sifted,
                Err(parcel) => {
                    state.waiting = Some(parcel);
                    return None;
                }
            }
        }
    }

    fn is_empty(&self) -> bool {
        let state = self.lock();
        state.waiting.is_none() && self.inner.is_empty()
    }

    fn is_drained(&self) -> bool {
        self.lock().waiting.is_none() && self.inner.is_drained()
    }

    fn discard(&self) {
        drop(self.lock().waiting.take());
        self.inner.discard();
    }

    fn unkept(&self) -> (u64, u64) {
        self.inner.unkept()
    }

    fn keeps_frames(&self) -> bool {
        self.inner.keeps_frames()
    }

    fn bell(&self) -> &Bell {
        self.inner.bell()
    }

    fn listen(&self, waker: Arc<dyn Wake>) -> Ear {
        self.inner.listen(waker)
    }

    fn doze(&self, ear: Ear) {
        self.inner.doze(ear);
    }

    fn rise(&self, ear: Ear) {
        self.inner.rise(ear);
    }

    // A sink with filters is in no group: what is for groups stays as it is by itself.
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::super::memory::MemoryChannel;
    use super::super::{Inlet, Valve, WhenFull};
    use super::*;
    use crate::event::{EventHead, Marks, Origin};
    use crate::ring::Wake;
    use crate::telemetry::Ledger;
    use crate::time::{Mono, Now, Wall};

    struct Nobody;

    impl Wake for Nobody {
        fn wake(&self) {}
    }

    const PAGE_BYTES: usize = 64 << 10;

    /// A source into two channels, and a sieve before a sink of the first.
    #[test]
    fn shared_or_not_only_what_passes_comes_out_and_all_is_counted() {
        for channels in [1, 2] {
            let mut builder = Ledger::builder("test");
            let all: Vec<Arc<dyn Channel>> = ["one", "two"][..channels]
                .iter()
                .map(|name| {
                    let counters = builder.channel(name).counters();
                    let credit = Arc::new(Credit::new(8));
                    Arc::new(MemoryChannel::new((*name).to_owned(), credit, counters)) as _
                })
                .collect();
            let inlets = all.iter().map(|channel| Inlet {
                channel: Arc::clone(channel),
                when_full: WhenFull::Wait,
                counters: builder.channel(channel.name()).inlet(),
            });
            let inlets = inlets.collect();
            let (own, sifted) =
                (builder.sink("out", "one").worker(), builder.sink("out", "one").worker());
            let ledger = builder.build();
            let waker: Arc<dyn Wake> = Arc::new(Nobody);
            let valve = Valve::new(Pool::new(8, PAGE_BYTES), inlets, &waker);
            let copies = Pool::new(1, PAGE_BYTES);
            let keep = |event: &Event<'_>| event.bytes.starts_with(b"a");
            let sieve = Sieve::new(Arc::clone(&all[0]), keep, Arc::clone(&copies), sifted);
            for texts in [["ab", "b"], ["b", "bb"], ["aa", "a"], ["b", "ac"]] {
                let mut page = valve.open().expect("a batch is free");
                let origin = page.push_origin(Origin::LOCAL).expect("room");
                for text in texts {
                    let head = EventHead { at: Wall(1), origin, pri: None, marks: Marks::NONE };
                    page.append_event(text.as_bytes(), head).expect("room");
                }
                valve.offer(page, None, Mono(0), Now::default());
            }
            let mut held = Vec::new();
            let poll = |held: &mut Vec<Parcel>| {
                let parcel = sieve.poll();
                held.extend(parcel);
                held.last()
                    .map(|it| it.batch.events().map(|e| e.bytes.to_vec()).collect::<Vec<_>>())
            };
            assert_eq!(poll(&mut held), Some(vec![b"ab".to_vec()]));
            assert_eq!(poll(&mut held), Some(vec![b"aa".to_vec(), b"a".to_vec()]));
            assert_eq!(held.len(), 2);
            if channels == 2 {
                // The one page for copies is in hand: the last batch waits for it.
                poll(&mut held);
                assert!(held.len() == 2 && !sieve.is_empty());
            }
            let written: u64 = held.drain(..).map(|it| u64::from(it.batch.event_count())).sum();
            assert_eq!(poll(&mut held), Some(vec![b"ac".to_vec()]));
            assert!(sieve.is_empty());
            own.written_events.add(written + 1);
            all[0].counters().gauge.leave(written + 1, 7);
            let snapshot = ledger.snapshot();
            assert_eq!(snapshot.sinks[0].filtered_events, 4);
            assert_eq!(
                (snapshot.channels[0].waiting_events, snapshot.channels[0].waiting_bytes),
                (0, 0)
            );
            if let [_, second] = &all[..] {
                let untouched: Vec<u32> = std::iter::from_fn(|| second.poll())
                    .map(|parcel| parcel.batch.event_count())
                    .collect();
                assert_eq!(untouched, [2; 4], "the other channel has all of it");
            }
        }
    }
}
