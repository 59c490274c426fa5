//! The wishes of whoever runs an agent: stop, stop at once, roll, take other
//! sinks. Any thread may utter them, also
//! before the agent has started and after it has ended.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::exchange::Change;
use crate::ring::Wake;

#[derive(Clone, Default)]
pub struct Control {
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    wish: Wish,
    roll: bool,
    change: Option<Change>,
    /// Something happened since the last pause: a wish, or a worker that ended.
    news: bool,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Wish {
    #[default]
    Run,
    Drain,
    Stop,
}

impl Control {
    /// Deliver what was accepted, then end.
    pub fn stop(&self) {
        self.wish_for(Wish::Drain);
    }

    /// End without delivering; what waits is counted as lost.
    pub fn stop_now(&self) {
        self.wish_for(Wish::Stop);
    }

    /// Roll all files.
    pub fn roll(&self) {
        self.tell(|state| state.roll = true);
    }

    /// Take other sinks.
    pub fn change(&self, change: Change) {
        self.tell(|state| state.change = Some(change));
    }

    fn wish_for(&self, wish: Wish) {
        self.tell(|state| state.wish = state.wish.max(wish));
    }

    fn tell(&self, change: impl FnOnce(&mut State)) {
        let mut state = self.state();
        change(&mut state);
        state.news = true;
        self.shared.changed.notify_all();
    }

    pub(super) fn wish(&self) -> Wish {
        self.state().wish
    }

    /// Whether rolling was asked for since the last call.
    pub(super) fn take_roll(&self) -> bool {
        std::mem::take(&mut self.state().roll)
    }

    pub(super) fn take_change(&self) -> Option<Change> {
        self.state().change.take()
    }

    /// Sleeps until there is news, `longest` at most. News that came before ends it at once.
    pub(super) fn pause(&self, longest: Duration) {
        let state = self.state();
        let waited = self.shared.changed.wait_timeout_while(state, longest, |state| !state.news);
        waited.unwrap_or_else(PoisonError::into_inner).0.news = false;
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // A holder of this lock does nothing that can panic; a poisoned one is still right.
        self.shared.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A worker that ended is news.
impl Wake for Control {
    fn wake(&self) {
        self.tell(|_| {});
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wishes_only_grow_and_news_ends_a_pause() {
        let control = Control::default();
        let other = control.clone();
        other.stop_now();
        control.stop();
        assert_eq!(control.wish(), Wish::Stop);
        control.pause(Duration::from_secs(3600));
        assert!(!control.take_roll());
        control.roll();
        assert!(control.take_roll() && !control.take_roll());
        control.wake();
        control.pause(Duration::from_secs(3600));
    }
}
