//! Sinks in a group: one channel, and a say in who takes the next batch.
//!
//! ```text
//!   channel ──▶ group ──▶ member archive      failover: the first that is not resting
//!                 ▲  └──▶ member spare        load_balance: whoever's turn it is and is free
//!                 ├── returned: batches that a member could not deliver
//!                 └── refused: events that a member's next hop will never take
//! ```
//! Each member sees the channel as if it were alone there, and finds it empty while it is another's
//! turn. Promises: a batch that comes back goes to the next member before anything newer; a member
//! that is busy, stuck or gone holds up nobody; nothing is copied.
//!
//! Threading: every thread of every member polls here; one short lock a look.

mod plan;
mod refused;
#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::channel::{Amount, Channel, Ear, Parcel};
use crate::event::Page;
use crate::memory::gate::exempt;
use crate::memory::{Credit, Lease, Pool};
use crate::ring::{Bell, Wake};
use crate::telemetry::{ChannelCounters, SinkCounters};
use crate::time::{Mono, Now};

use self::refused::Settling;

pub use self::refused::{Aside, Refuse};
pub use plan::{GROUP, GroupPlan};

/// Who is asked first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Course {
    /// The first member that is not resting has everything.
    Failover,
    /// They take turns; a busy one is passed over.
    RoundRobin,
    /// Any, and a busy one is passed over.
    Random,
    /// The one with the fewest events that it has not delivered.
    LeastWaiting,
}

/// How long a member rests that failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Penalty {
    pub max: Duration,
    /// Twice as long at each further failure.
    pub grows: bool,
}

/// The first failure's.
const PENALTY: Duration = Duration::from_secs(1);

/// A member that was called, and does not come, is passed over after so long.
const CALLED: Duration = Duration::from_millis(20);

/// And one that should have everything after so long: it neither works nor says that it does not.
const SILENT: Duration = Duration::from_secs(5);

impl Penalty {
    /// After so many failures in a row. Half of it is `random`, so that those who failed together
    /// do not come back together.
    fn after(self, failures: u32, random: u64) -> Duration {
        let doublings = if self.grows { failures.saturating_sub(1).min(16) } else { 0 };
        let half = (PENALTY * (1 << doublings)).min(self.max) / 2;
        let nanos = u64::try_from(half.as_nanos()).unwrap_or(u64::MAX);
        half + Duration::from_nanos(random % nanos.max(1))
    }
}

pub struct Group {
    name: String,
    inner: Arc<dyn Channel>,
    course: Course,
    penalty: Penalty,
    state: Mutex<State>,
    /// Locked before `state`, never after.
    settling: Mutex<Settling>,
    copies: Arc<Pool>,
}

struct State {
    members: Vec<Standing>,
    returned: VecDeque<Parcel>,
    /// For members that have not had them.
    refused: VecDeque<Parcel>,
    /// One of these is being set aside.
    settles: bool,
    /// Not before, for the disk has just failed.
    settle_at: Mono,
    /// Where to begin to look for the next member.
    turn: usize,
    random: u64,
    now: Mono,
    /// Who had the last batch; for the log.
    leader: Option<usize>,
}

/// How one member stands.
struct Standing {
    name: String,
    counters: Vec<Arc<SinkCounters>>,
    /// Rung when it may be its turn.
    bell: Arc<Bell>,
    /// It has said that it can deliver nothing, and not yet that it can.
    down: bool,
    rests_until: Mono,
    /// In a row.
    failures: u32,
    /// Events delivered when it failed last.
    delivered_then: u64,
    /// Events taken, without those given back.
    taken: u64,
    /// It found nothing for itself when it looked last.
    hungry: bool,
    /// Since when the others leave it the next batch.
    called: Option<Mono>,
}

impl Standing {
    fn is_ready(&self, now: Mono) -> bool {
        !self.down && self.rests_until <= now
    }

    /// Events that left it one way or another.
    fn delivered(&self) -> u64 {
        let of = |counters: &Arc<SinkCounters>| {
            let lost: u64 = counters.lost.values().iter().sum();
            let kept = counters.written_events.get() + counters.dead_lettered_events.get();
            kept + counters.filtered_events.get() + lost
        };
        self.counters.iter().map(of).sum()
    }

    fn waiting(&self) -> u64 {
        self.taken.saturating_sub(self.delivered())
    }
}

impl State {
    /// Marsaglia's xorshift64: never nought.
    fn random(&mut self) -> u64 {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        self.random
    }

    fn wake_all(&self) {
        let ready = self.members.iter().filter(|member| member.is_ready(self.now));
        ready.for_each(|member| member.bell.ring());
    }

    /// The member before whom nobody else takes a batch that `index` would like to have.
    fn ahead_of(&mut self, index: usize, course: Course) -> Option<usize> {
        let now = self.now;
        let ready = |member: &Standing| member.is_ready(now);
        if course == Course::Failover {
            let silent =
                |member: &Standing| member.called.is_some_and(|since| now >= since.after(SILENT));
            let mut before = self.members[..index].iter();
            return before.position(|member| ready(member) && !silent(member));
        }
        let count = self.members.len();
        let turn = self.turn;
        let rank = |other: usize, member: &Standing| {
            let waiting = if course == Course::LeastWaiting { member.waiting() } else { 0 };
            (waiting, (other + count - turn) % count)
        };
        let own = rank(index, &self.members[index]);
        let mut first = None;
        for (other, member) in self.members.iter_mut().enumerate() {
            if member.called.is_some_and(|since| now >= since.after(CALLED)) {
                // It was free when it looked last, and is not.
                member.hungry = false;
                member.called = None;
            }
            let free = other != index && member.hungry && member.is_ready(now);
            if free && rank(other, member) < own {
                first.get_or_insert(other);
            }
        }
        first
    }
}

impl Group {
    /// `random` is any number.
    pub fn new(
        name: String,
        inner: Arc<dyn Channel>,
        course: Course,
        penalty: Penalty,
        random: u64,
        refuse: Refuse,
    ) -> Arc<Self> {
        let batches = || VecDeque::with_capacity(inner.credit().total() as usize);
        let state = State {
            members: Vec::new(),
            returned: batches(),
            refused: batches(),
            settles: false,
            settle_at: Mono(0),
            turn: 0,
            random: random.max(1),
            now: Mono(0),
            leader: None,
        };
        let (state, settling) = (Mutex::new(state), Mutex::new(Settling::new(refuse.watch)));
        Arc::new(Self { name, inner, course, penalty, state, settling, copies: refuse.copies })
    }

    /// The channel as the next member sees it: those that come first are preferred by failover.
    pub fn join(
        self: &Arc<Self>,
        name: String,
        counters: Vec<Arc<SinkCounters>>,
        aside: Aside,
    ) -> Arc<Member> {
        self.settling().join(name.clone(), aside);
        let mut state = self.lock();
        let bell = Arc::<Bell>::default();
        state.members.push(Standing {
            name,
            counters,
            bell: Arc::clone(&bell),
            down: false,
            rests_until: Mono(0),
            failures: 0,
            delivered_then: 0,
            taken: 0,
            hungry: false,
            called: None,
        });
        Arc::new(Member { group: Arc::clone(self), index: state.members.len() - 1, bell })
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // A panic in one sink's thread ends the agent; the others go on draining.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One member's view of the channel.
pub struct Member {
    group: Arc<Group>,
    index: usize,
    bell: Arc<Bell>,
}

impl Member {
    /// It will never take anything: it could not even begin. True: nor will any other member.
    pub fn is_out(&self) -> bool {
        let mut state = self.group.lock();
        state.members[self.index].down = true;
        state.members.iter().all(|member| member.down)
    }

    /// Rests it, for it has just failed.
    fn rest(&self, state: &mut State, now: Now) {
        let random = state.random();
        let member = &mut state.members[self.index];
        let delivered = member.delivered();
        member.failures = match delivered > member.delivered_then {
            true => 1,
            false => member.failures.saturating_add(1),
        };
        member.delivered_then = delivered;
        member.hungry = false;
        member.called = None;
        member.rests_until = now.mono.after(self.group.penalty.after(member.failures, random));
    }

    /// Wakes who may take what waits, of which it may not have heard.
    fn hand_on(&self, state: &State) {
        let waits = !state.returned.is_empty() || !self.group.inner.is_empty();
        if !waits && state.refused.is_empty() {
            return;
        }
        let others = state.members.iter().enumerate().filter(|(index, _)| *index != self.index);
        let ready = others.filter(|(_, member)| member.is_ready(state.now));
        ready.for_each(|(_, member)| member.bell.ring());
        if !waits {
            return;
        }
        // And sinks at the channel that are in no group. Those who rest do not listen there.
        self.group.inner.pass_on();
    }

    fn took(&self, state: &mut State, parcel: &Parcel) {
        let count = state.members.len();
        let member = &mut state.members[self.index];
        member.taken += u64::from(parcel.batch.event_count());
        member.hungry = false;
        member.called = None;
        state.turn = match self.group.course {
            Course::Random => usize::try_from(state.random() % count as u64).unwrap_or(0),
            _ => (self.index + 1) % count,
        };
        let before = state.leader.replace(self.index);
        if self.group.course == Course::Failover && before.is_some_and(|it| it != self.index) {
            let (group, name) = (&self.group.name, &state.members[self.index].name);
            exempt(|| tracing::warn!("group {group}: {name} has the events from here on"));
        }
    }
}

impl Channel for Member {
    fn name(&self) -> &str {
        self.group.inner.name()
    }

    fn credit(&self) -> &Arc<Credit> {
        self.group.inner.credit()
    }

    fn counters(&self) -> &ChannelCounters {
        self.group.inner.counters()
    }

    fn offer(&self, parcel: Parcel) {
        self.group.inner.offer(parcel);
    }

    fn leave(&self, all: Amount, passing: Amount) {
        self.group.inner.leave(all, passing);
    }

    fn poll(&self) -> Option<Parcel> {
        let Group { inner, course, .. } = self.group.as_ref();
        let mut state = self.group.lock();
        let now = state.now;
        if !state.members[self.index].is_ready(now) {
            // We may have been woken for what another one could take.
            self.hand_on(&state);
            return None;
        }
        let refused = state.take_refused(self.index, *course);
        if refused.is_some() {
            return refused;
        }
        if let Some(other) = state.ahead_of(self.index, *course) {
            state.members[self.index].hungry = true;
            let waits = !state.returned.is_empty() || !inner.is_empty();
            if waits {
                state.members[other].called.get_or_insert(now);
                state.members[other].bell.ring();
            }
            return None;
        }
        let parcel = state.returned.pop_front().or_else(|| inner.poll());
        match &parcel {
            Some(parcel) => self.took(&mut state, parcel),
            None => {
                let member = &mut state.members[self.index];
                (member.hungry, member.called) = (true, None);
            }
        }
        parcel
    }

    fn is_empty(&self) -> bool {
        let mut state = self.group.lock();
        let now = state.now;
        let ready = state.members[self.index].is_ready(now);
        if ready && state.has_refused_for(self.index, self.group.course) {
            return false;
        }
        let ours = ready && state.ahead_of(self.index, self.group.course).is_none();
        !ours || state.returned.is_empty() && self.group.inner.is_empty()
    }

    /// While another member has something in hand it may come back, or be refused.
    fn is_drained(&self) -> bool {
        let state = self.group.lock();
        let others = state.members.iter().enumerate().filter(|(index, _)| *index != self.index);
        let busy = others.map(|(_, member)| member.waiting()).sum::<u64>() > 0;
        let waits = state.settles || !state.refused.is_empty() || !state.returned.is_empty();
        !busy && !waits && self.group.inner.is_drained()
    }

    fn discard(&self) {
        let mut state = self.group.lock();
        state.returned.clear();
        state.refused.clear();
        drop(state);
        self.group.inner.discard();
    }

    fn unkept(&self) -> (u64, u64) {
        self.group.inner.unkept()
    }

    fn keeps_frames(&self) -> bool {
        self.group.inner.keeps_frames()
    }

    fn bell(&self) -> &Bell {
        self.group.inner.bell()
    }

    fn listen(&self, waker: Arc<dyn Wake>) -> Ear {
        let mut ear = self.group.inner.listen(Arc::clone(&waker));
        ear.group = Some(self.bell.join(waker));
        ear
    }

    fn doze(&self, ear: Ear) {
        // First where turns change, then where batches come: whose turn it is by then dozes there.
        ear.group.into_iter().for_each(|seat| self.bell.doze(seat));
        let resting = {
            let state = self.group.lock();
            !state.members[self.index].is_ready(state.now)
        };
        if !resting {
            self.group.inner.doze(ear);
        }
    }

    fn rise(&self, ear: Ear) {
        self.group.inner.rise(ear);
        ear.group.into_iter().for_each(|seat| self.bell.rise(seat));
    }

    fn pass_on(&self) {
        self.hand_on(&self.group.lock());
    }

    fn tick(&self, now: Now) {
        let mut state = self.group.lock();
        state.now = state.now.max(now.mono);
        self.settle(state, now);
    }

    fn look_at(&self) -> Mono {
        let state = self.group.lock();
        let member = &state.members[self.index];
        let settles = !state.refused.is_empty() && state.settle_at > state.now;
        let settle_at = if settles { state.settle_at } else { Mono::MAX };
        if !member.is_ready(state.now) {
            return settle_at.min(if member.down { Mono::MAX } else { member.rests_until });
        }
        let patience = if self.group.course == Course::Failover { SILENT } else { CALLED };
        let called = state.members.iter().filter_map(|member| member.called);
        let due = called.map(|since| since.after(patience)).filter(|due| *due > state.now);
        due.min().unwrap_or(Mono::MAX).min(settle_at)
    }

    fn give_back(&self, parcel: Parcel, now: Now) -> Option<Parcel> {
        let mut state = self.group.lock();
        let events = u64::from(parcel.batch.event_count());
        let member = &mut state.members[self.index];
        member.taken = member.taken.saturating_sub(events);
        if !state.members[self.index].down {
            self.rest(&mut state, now);
        }
        match parcel.refusals.is_some() {
            true => self.put_refused(&mut state, parcel),
            false => state.returned.push_back(parcel),
        }
        self.hand_on(&state);
        self.settle(state, now);
        None
    }

    fn asks(&self, parcel: &Parcel) -> bool {
        self.has_others_for(parcel)
    }

    fn refuse(&self, parcel: Parcel, now: Now) -> Option<Parcel> {
        self.refuse_all(parcel, now);
        None
    }

    fn copy(&self, page: &Page) -> Option<Lease> {
        self.copy_of(page)
    }

    fn failing(&self, now: Now) {
        let mut state = self.group.lock();
        if !std::mem::replace(&mut state.members[self.index].down, true) {
            self.rest(&mut state, now);
            self.hand_on(&state);
            self.settle(state, now);
        }
    }

    fn working(&self) {
        self.group.lock().members[self.index].down = false;
    }

    fn is_covered(&self) -> bool {
        let state = self.group.lock();
        let others = state.members.iter().enumerate().filter(|(index, _)| *index != self.index);
        others.into_iter().any(|(_, member)| member.is_ready(state.now))
    }
}
