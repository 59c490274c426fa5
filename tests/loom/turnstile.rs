//! Whatever is parked passes, in order, though nobody waits for the gate.

use std::sync::Arc;

use flumen::ring::Turnstile;
use loom::sync::atomic::{AtomicU64, Ordering};
use loom::thread;

use crate::model;

/// What passed, once everybody is through: looked at without letting anything more pass.
fn passed(turnstile: &Turnstile<u64, Vec<u64>>) -> Vec<u64> {
    let late = |_: &mut Vec<u64>, ticket| panic!("{ticket} was left behind");
    turnstile.use_gate(|out| out.clone(), late).expect("nobody is at the gate")
}

/// Two threads finish a piece each, in any order, while a third uses the gate.
#[test]
fn nothing_is_left_behind() {
    model(|| {
        let turnstile = Arc::new(Turnstile::new(2, Vec::new()));
        let workers = [0, 1].map(|ticket| {
            let turnstile = turnstile.clone();
            thread::spawn(move || turnstile.park(ticket, ticket, Vec::push))
        });
        turnstile.use_gate(|out| out.len(), Vec::push);
        workers.into_iter().for_each(|worker| worker.join().unwrap());
        assert_eq!(passed(&turnstile), [0, 1]);
    });
}

/// Tickets are taken as they come; a place is used again as soon as its piece has passed.
#[test]
fn two_threads_take_turns_at_two_places() {
    model(|| {
        let turnstile = Arc::new(Turnstile::new(2, Vec::new()));
        let tickets = Arc::new(AtomicU64::new(0));
        let work = |turnstile: Arc<Turnstile<u64, Vec<u64>>>, tickets: Arc<AtomicU64>| {
            let ticket = tickets.fetch_add(1, Ordering::Relaxed);
            turnstile.park(ticket, ticket, Vec::push);
        };
        let other = {
            let (turnstile, tickets) = (turnstile.clone(), tickets.clone());
            thread::spawn(move || work(turnstile, tickets))
        };
        work(turnstile.clone(), tickets.clone());
        other.join().unwrap();
        work(turnstile.clone(), tickets.clone());
        assert_eq!(passed(&turnstile), [0, 1, 2]);
    });
}
