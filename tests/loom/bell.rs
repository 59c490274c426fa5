//! Nobody sleeps through a ring: the bell alone, under a ring of items, and under credit.

use std::sync::Arc;

use flumen::memory::Credit;
use flumen::ring::{Bell, Ring};
use loom::sync::atomic::{AtomicU32, Ordering};
use loom::thread;

use crate::model;
use crate::sleeper::Sleeper;

/// Work is a number here, not a ring: loom's stand-in for the queue is a lock, and its order would
/// hide a missing fence.
#[test]
fn two_ring_and_one_sleeps() {
    for ring_one in [true, false] {
        model(move || {
            let bell = Arc::new(Bell::default());
            let work = Arc::new(AtomicU32::new(0));
            let sleeper = Sleeper::new();
            let seat = bell.join(sleeper.clone());
            let producers = [0, 1].map(|_| {
                let (bell, work) = (bell.clone(), work.clone());
                thread::spawn(move || {
                    work.fetch_add(1, Ordering::Release);
                    if ring_one { bell.ring_one() } else { bell.ring() }
                })
            });
            while work.load(Ordering::Acquire) < 2 {
                bell.doze(seat);
                if work.load(Ordering::Acquire) < 2 {
                    sleeper.sleep();
                }
                bell.rise(seat);
            }
            producers.into_iter().for_each(|producer| producer.join().unwrap());
        });
    }
}

#[test]
fn one_rings_and_two_sleep() {
    model(|| {
        let bell = Arc::new(Bell::default());
        let work = Arc::new(AtomicU32::new(0));
        let consumers = [0, 1].map(|_| {
            let sleeper = Sleeper::new();
            let seat = bell.join(sleeper.clone());
            let (bell, work) = (bell.clone(), work.clone());
            thread::spawn(move || {
                while work.load(Ordering::Acquire) == 0 {
                    bell.doze(seat);
                    if work.load(Ordering::Acquire) == 0 {
                        sleeper.sleep();
                    }
                    bell.rise(seat);
                }
            })
        });
        work.store(1, Ordering::Release);
        bell.ring();
        consumers.into_iter().for_each(|consumer| consumer.join().unwrap());
    });
}

/// Two items, two consumers: whoever takes the last one rings the other out of bed.
#[test]
fn every_item_of_a_ring_is_taken() {
    model(|| {
        let ring = Arc::new(Ring::new(2));
        let taken = Arc::new(AtomicU32::new(0));
        let consumers = [0, 1].map(|_| {
            let sleeper = Sleeper::new();
            let seat = ring.bell().join(sleeper.clone());
            let (ring, taken) = (ring.clone(), taken.clone());
            thread::spawn(move || {
                loop {
                    if ring.poll().is_some() && taken.fetch_add(1, Ordering::AcqRel) == 1 {
                        ring.bell().ring();
                    }
                    if taken.load(Ordering::Acquire) == 2 {
                        return;
                    }
                    ring.bell().doze(seat);
                    if ring.is_empty() && taken.load(Ordering::Acquire) < 2 {
                        sleeper.sleep();
                    }
                    ring.bell().rise(seat);
                }
            })
        });
        ring.offer(1);
        ring.offer(2);
        consumers.into_iter().for_each(|consumer| consumer.join().unwrap());
    });
}

/// A source that found no credit wakes when a sink gives it back.
#[test]
fn credit_given_wakes_who_waits() {
    model(|| {
        let credit = Arc::new(Credit::new(1));
        let sleepers = [Sleeper::new(), Sleeper::new()];
        let seats = sleepers.clone().map(|sleeper| credit.bell().join(sleeper));
        let sources = [0, 1].map(|which| {
            let (credit, sleeper, seat) = (credit.clone(), sleepers[which].clone(), seats[which]);
            thread::spawn(move || {
                while !credit.take() {
                    credit.bell().doze(seat);
                    if credit.free() == 0 {
                        sleeper.sleep();
                    }
                    credit.bell().rise(seat);
                }
                credit.give();
            })
        });
        sources.into_iter().for_each(|source| source.join().unwrap());
        assert_eq!(credit.free(), credit.total());
    });
}

/// Credit given by two at once is not lost.
#[test]
fn credit_given_by_two_is_whole() {
    model(|| {
        let credit = Arc::new(Credit::new(2));
        let other = {
            let credit = credit.clone();
            thread::spawn(move || {
                assert!(credit.take());
                credit.give();
            })
        };
        assert!(credit.take());
        credit.give();
        other.join().unwrap();
        assert_eq!(credit.free(), credit.total());
    });
}
