//! A channel as one sink sees it, with a tap: shut, nothing comes out of it, the sink finishes what
//! it has in hand and ends, and another one takes its place.
//!
//! What waits stays in the channel meanwhile. Other sinks of the channel go on.
//!
//! Threading: any thread shuts and opens; the sink's threads poll. A ring at the channel's bell
//! wakes one sleeper, and one behind a shut tap could not take the batch it is about: it does not
//! doze any more, and when it rises it rings on.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::{Amount, Channel, Ear, Parcel};
use crate::memory::Credit;
use crate::ring::{Bell, Wake};
use crate::telemetry::ChannelCounters;
use crate::time::{Mono, Now};

pub struct Tap {
    inner: Arc<dyn Channel>,
    shut: AtomicBool,
    /// Places at the channel's bell, which has none to give away: the next sink's threads take
    /// those of the one before.
    places: Mutex<Vec<(Ear, Arc<Relay>)>>,
    taken: AtomicUsize,
}

/// Wakes whoever sits there now.
struct Relay {
    to: Mutex<Arc<dyn Wake>>,
}

impl Wake for Relay {
    fn wake(&self) {
        lock(&self.to).wake();
    }
}

impl Tap {
    pub fn new(inner: Arc<dyn Channel>) -> Self {
        Self {
            inner,
            shut: AtomicBool::new(false),
            places: Mutex::new(Vec::new()),
            taken: AtomicUsize::new(0),
        }
    }

    /// Nothing more comes out; the threads must be woken after this.
    pub fn shut(&self) {
        // SeqCst: before the wake that follows; whoever polls afterwards sees it.
        self.shut.store(true, Ordering::SeqCst);
    }

    /// For the next sink, when every thread of the one before has ended.
    pub fn open(&self) {
        self.taken.store(0, Ordering::Relaxed);
        self.shut.store(false, Ordering::SeqCst);
    }

    fn is_shut(&self) -> bool {
        // Acquire: pairs with the stores above; a late look costs one batch more.
        self.shut.load(Ordering::Acquire)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Channel for Tap {
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

    fn poll(&self) -> Option<Parcel> {
        if self.is_shut() { None } else { self.inner.poll() }
    }

    fn is_empty(&self) -> bool {
        self.is_shut() || self.inner.is_empty()
    }

    fn is_drained(&self) -> bool {
        self.is_shut() || self.inner.is_drained()
    }

    fn evict(&self) -> Option<Parcel> {
        self.inner.evict()
    }

    fn leave(&self, all: Amount, passing: Amount) {
        self.inner.leave(all, passing);
    }

    fn discard(&self) {
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
        let mut places = lock(&self.places);
        let index = self.taken.fetch_add(1, Ordering::Relaxed);
        if let Some((ear, relay)) = places.get(index) {
            *lock(&relay.to) = waker;
            return *ear;
        }
        let relay = Arc::new(Relay { to: Mutex::new(waker) });
        let ear = self.inner.listen(Arc::clone(&relay) as Arc<dyn Wake>);
        places.push((ear, relay));
        ear
    }

    fn doze(&self, ear: Ear) {
        if !self.is_shut() {
            self.inner.doze(ear);
        }
    }

    fn rise(&self, ear: Ear) {
        self.inner.rise(ear);
        if self.is_shut() {
            self.inner.pass_on();
        }
    }

    fn pass_on(&self) {
        self.inner.pass_on();
    }

    fn tick(&self, now: Now) {
        self.inner.tick(now);
    }

    fn look_at(&self) -> Mono {
        self.inner.look_at()
    }

    fn give_back(&self, parcel: Parcel, now: Now) -> Option<Parcel> {
        self.inner.give_back(parcel, now)
    }

    fn failing(&self, now: Now) {
        self.inner.failing(now);
    }

    fn working(&self) {
        self.inner.working();
    }

    fn is_covered(&self) -> bool {
        self.inner.is_covered()
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::super::memory::MemoryChannel;
    use super::*;
    use crate::telemetry::Ledger;

    #[derive(Default)]
    struct Count(AtomicUsize);

    impl Wake for Count {
        fn wake(&self) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn channel() -> Arc<dyn Channel> {
        let counters = Ledger::builder("test").channel("main").counters();
        Arc::new(MemoryChannel::new("main".to_owned(), Arc::new(Credit::new(4)), counters))
    }

    /// More sinks one after the other than a bell has places, and each hears its own rings.
    #[test]
    fn the_next_sink_sits_where_the_one_before_sat() {
        let inner = channel();
        let tap = Tap::new(Arc::clone(&inner));
        for _ in 0..2 * crate::limits::SLEEPERS_MAX {
            let wakers: Vec<Arc<Count>> = (0..2).map(|_| Arc::default()).collect();
            let listen = |waker: &Arc<Count>| tap.listen(Arc::clone(waker) as Arc<dyn Wake>);
            let ears: Vec<Ear> = wakers.iter().map(listen).collect();
            tap.doze(ears[1]);
            inner.bell().ring();
            tap.rise(ears[1]);
            let woken = wakers.iter().map(|waker| waker.0.load(Ordering::Relaxed));
            assert_eq!(woken.collect::<Vec<_>>(), [0, 1]);
            tap.shut();
            tap.open();
        }
    }

    #[test]
    fn behind_a_shut_tap_nobody_keeps_a_ring_from_the_others() {
        let inner = channel();
        let tap = Tap::new(Arc::clone(&inner));
        let (own, other) = (Arc::<Count>::default(), Arc::<Count>::default());
        let ear = tap.listen(own as Arc<dyn Wake>);
        let seat = inner.listen(Arc::clone(&other) as Arc<dyn Wake>);
        // It slept when the tap was shut, and is the one that is rung for a batch.
        tap.doze(ear);
        inner.doze(seat);
        tap.shut();
        inner.bell().ring_one();
        assert_eq!(other.0.load(Ordering::Relaxed), 0);
        tap.rise(ear);
        assert_eq!(other.0.load(Ordering::Relaxed), 1, "it rings on");
        // It does not lie down again.
        tap.doze(ear);
        assert!(!inner.bell().has_sleepers());
        assert!(tap.is_empty() && tap.is_drained() && tap.poll().is_none());
    }
}
