//! No source sleeps while its valve may open, whatever another source takes for nothing.

use std::sync::Arc;

use flumen::channel::memory::MemoryChannel;
use flumen::channel::{Channel, Inlet, Valve, WhenFull};
use flumen::limits::BATCH_BYTES_MIN;
use flumen::memory::{Credit, Pool};
use flumen::ring::Wake;
use flumen::telemetry::{ChannelCounters, InletCounters};
use loom::thread;

use crate::model;
use crate::sleeper::Sleeper;

fn channel(credit: u32) -> Arc<dyn Channel> {
    let credit = Arc::new(Credit::new(credit));
    Arc::new(MemoryChannel::new(String::new(), credit, Arc::<ChannelCounters>::default()))
}

fn valve(pool: &Arc<Pool>, channels: &[&Arc<dyn Channel>], sleeper: &Arc<Sleeper>) -> Valve {
    let inlet = |channel: &&Arc<dyn Channel>| Inlet {
        channel: Arc::clone(channel),
        when_full: WhenFull::Wait,
        counters: Arc::<InletCounters>::default(),
    };
    let waker: Arc<dyn Wake> = sleeper.clone();
    Valve::new(pool.clone(), channels.iter().map(inlet).collect(), &waker)
}

/// As a source's runner does it: open, or doze, look once more, sleep, rise.
fn wait_for_a_page(valve: &Valve, sleeper: &Sleeper) {
    let page = loop {
        if let Some(page) = valve.open() {
            break page;
        }
        valve.doze();
        if valve.may_open() {
            // Counted, and not there yet or no more: its owner has to go on.
            thread::yield_now();
        } else {
            sleeper.sleep();
        }
        valve.rise();
    };
    valve.give_back(page);
}

/// One source needs both channels, of which one is stuck: it takes the other's credit for nothing.
/// A second source, which needs only that other channel, must not sleep for it.
#[test]
fn a_stuck_channel_stops_its_own_sources_only() {
    model(|| {
        let pool = Pool::new(2, BATCH_BYTES_MIN);
        let (free, stuck) = (channel(1), channel(1));
        let sleepers = [Sleeper::new(), Sleeper::new()];
        let both = valve(&pool, &[&free, &stuck], &sleepers[0]);
        let one = valve(&pool, &[&free], &sleepers[1]);
        let sleeper = sleepers[1].clone();
        let other = thread::spawn(move || wait_for_a_page(&one, &sleeper));
        // The stuck channel's credit goes as the first source tries.
        let taker = {
            let stuck = stuck.clone();
            thread::spawn(move || stuck.credit().take())
        };
        both.open().into_iter().for_each(|page| both.give_back(page));
        other.join().unwrap();
        taker.join().unwrap();
        assert_eq!((free.credit().free(), pool.free()), (1, 2));
    });
}

/// A page that another source's channel had last comes home without credit for this one.
#[test]
fn a_page_that_comes_home_alone_opens_the_valve() {
    model(|| {
        let pool = Pool::new(1, BATCH_BYTES_MIN);
        let channel = channel(1);
        let sleeper = Sleeper::new();
        let valve = valve(&pool, &[&channel], &sleeper);
        let page = pool.take();
        let source = thread::spawn(move || wait_for_a_page(&valve, &sleeper));
        drop(page);
        source.join().unwrap();
        assert_eq!((channel.credit().free(), pool.free()), (1, 1));
    });
}

/// Two sources, one page: whoever found none gets it when the other gives it back.
#[test]
fn a_page_that_comes_home_opens_the_valve() {
    model(|| {
        let pool = Pool::new(1, BATCH_BYTES_MIN);
        let channel = channel(2);
        let sleepers = [Sleeper::new(), Sleeper::new()];
        let sources = sleepers.map(|sleeper| {
            let valve = valve(&pool, &[&channel], &sleeper);
            thread::spawn(move || wait_for_a_page(&valve, &sleeper))
        });
        sources.into_iter().for_each(|source| source.join().unwrap());
        assert_eq!((channel.credit().free(), pool.free()), (2, 1));
    });
}
