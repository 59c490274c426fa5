//! What the sinks of a group have said of events that they refuse: it goes with these events from
//! one sink to the next.

use crate::limits;

/// Members of a group read one channel, each with a thread at least.
const _: () = assert!(limits::SLEEPERS_MAX <= u64::BITS as usize);

/// Of one batch.
#[derive(Clone, Debug, Default)]
pub struct Refusals {
    /// Bits of the members that are not asked again: they refused, or were away when asked.
    asked: u64,
    /// For each event of the batch, in its order; None: nobody has refused it.
    pub said: Vec<Option<Refusal>>,
}

/// Of one event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// Who refused it last.
    pub sink: String,
    /// How often it was tried, by all of them together.
    pub attempts: u32,
    /// Why, in the words of each.
    pub reason: String,
}

impl Refusals {
    /// That member has had it.
    pub fn ask(&mut self, member: usize) {
        self.asked |= 1 << member;
    }

    pub fn has_asked(&self, member: usize) -> bool {
        self.asked >> member & 1 == 1
    }
}

impl Refusal {
    /// Of an event that another sink had refused `earlier`.
    pub fn after(self, earlier: Option<&Self>) -> Self {
        let Some(earlier) = earlier else { return self };
        let reason = format!("{}: {}; {}", earlier.sink, earlier.reason, self.reason);
        Self { attempts: earlier.attempts + self.attempts, reason, ..self }
    }
}
