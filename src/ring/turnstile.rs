//! A turnstile: what was finished in any order passes in the order of its tickets, one at a time.
//!
//! A ticket is given with each piece of work; the piece is parked here when it is finished. Whoever
//! finds the next one in order here and the gate free lets through all that are due. Nobody waits
//! for a turn.
//!
//! Whoever finds the gate taken goes away, and may leave his piece behind. So whoever held it, for
//! whatever purpose, looks at the window once more after he has let go: every way to the gate is in
//! this file, and ends with that look. Model-checked by `tests/loom`.
//!
//! Threading: two locks, never waited for while the other is held. The window's is held for a few
//! instructions; the gate's for as long as passing takes, and is only ever tried.

use crate::sync::{Gate, Mutex, MutexGuard};

pub struct Turnstile<T, G> {
    window: Mutex<Window<T>>,
    gate: Gate<G>,
}

/// Finished pieces that wait for those before them, from the one that is due on.
struct Window<T> {
    places: Box<[Option<T>]>,
    due: u64,
}

impl<T, G> Turnstile<T, G> {
    /// For at most `places` tickets out at once; `gate` is what they pass through.
    pub fn new(places: usize, gate: G) -> Self {
        let places = (0..places).map(|_| None).collect();
        Self { window: Mutex::new(Window { places, due: 0 }), gate: Gate::new(gate) }
    }

    /// A finished piece, with its ticket; then everything due passes.
    pub fn park(&self, ticket: u64, item: T, pass: impl FnMut(&mut G, T)) {
        lock(&self.window).park(ticket, item);
        self.pass(pass);
    }

    /// Everything due passes, unless somebody is at it, who then sees what we saw.
    pub fn pass(&self, mut pass: impl FnMut(&mut G, T)) {
        loop {
            let Some(mut gate) = self.gate.try_enter() else { return };
            while let Some(item) = self.take_due() {
                pass(&mut gate, item);
            }
            drop(gate);
            if !lock(&self.window).has_due() {
                return;
            }
        }
    }

    /// Uses the gate for something else, unless somebody is at it; then everything due passes.
    pub fn use_gate<R>(
        &self,
        work: impl FnOnce(&mut G) -> R,
        pass: impl FnMut(&mut G, T),
    ) -> Option<R> {
        let done = self.gate.try_enter().map(|mut gate| work(&mut gate));
        self.pass(pass);
        done
    }

    /// The ticket that is waited for: all before it have passed, or are passing now.
    pub fn due(&self) -> u64 {
        lock(&self.window).due
    }

    // Apart from `pass`, so that the window is not held meanwhile.
    fn take_due(&self) -> Option<T> {
        lock(&self.window).take_due()
    }
}

impl<T> Window<T> {
    fn park(&mut self, ticket: u64, item: T) {
        let ahead = ticket.checked_sub(self.due).expect("a ticket is parked once");
        assert!(ahead < self.places.len() as u64, "more tickets out than places");
        let place = self.place(ticket);
        assert!(self.places[place].is_none(), "a ticket is parked once");
        self.places[place] = Some(item);
    }

    fn take_due(&mut self) -> Option<T> {
        let item = self.places[self.place(self.due)].take()?;
        self.due += 1;
        Some(item)
    }

    fn has_due(&self) -> bool {
        self.places[self.place(self.due)].is_some()
    }

    fn place(&self, ticket: u64) -> usize {
        usize::try_from(ticket % self.places.len() as u64).expect("an index of the window")
    }
}

/// A panic in one thread ends the agent; the others go on draining with what stands.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn whatever_comes_first_passes_in_order(
            order in Just((0..8u64).collect::<Vec<_>>()).prop_shuffle()
        ) {
            let turnstile = Turnstile::new(8, Vec::new());
            for ticket in order {
                turnstile.park(ticket, ticket, Vec::push);
            }
            let out = turnstile.use_gate(std::mem::take, Vec::push);
            prop_assert_eq!(out, Some((0..8).collect::<Vec<_>>()));
        }
    }

    #[test]
    fn what_is_parked_while_the_gate_is_used_passes_afterwards() {
        let turnstile = Turnstile::new(2, Vec::new());
        let parked = turnstile.use_gate(
            |out| {
                turnstile.park(0, 'a', Vec::push);
                out.len()
            },
            Vec::push,
        );
        assert_eq!(parked, Some(0));
        assert_eq!(turnstile.use_gate(|out| out.clone(), Vec::push), Some(vec!['a']));
    }

    #[test]
    #[should_panic(expected = "more tickets out than places")]
    fn more_tickets_than_places_is_a_bug() {
        Turnstile::new(2, Vec::new()).park(2, 'c', Vec::push);
    }
}
