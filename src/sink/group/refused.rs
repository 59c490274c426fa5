//! Events that one member refuses: the others are asked, and who is away is not waited for.
//!
//! ```text
//!   member ──refuse──▶ refused ──poll──▶ a member that has not had them ──▶ delivered, or refused
//!                         └── none is left that could take them ──▶ settle: dead letters, lost
//! ```
//! Promises: each member has an event once, so none goes round for ever; an event is counted once,
//! by who delivers it, by the last who refuses it, or here; what waits here is still the channel's,
//! so that a durable one keeps it until it is delivered or its letter is synced.
//!
//! A batch settles here in the thread that finds nobody for it, which waits for the disk: letters
//! are rare. It does so without the group's lock, so the others go on.

use std::io;
use std::sync::{Arc, MutexGuard, PoisonError};
use std::time::Duration;

use super::{Course, Group, Member, State};
use crate::channel::{Amount, Channel, Parcel, Refusal};
use crate::event::{Page, Since};
use crate::memory::gate::exempt;
use crate::memory::{Lease, Pool};
use crate::sink::dead_letters::DeadLetters;
use crate::sink::leaving::{self, Fate};
use crate::telemetry::{LostReason, SinkCounters, Watch};
use crate::time::{Mono, Now};

/// After dead letters could not be written.
const RETRY: Duration = Duration::from_millis(200);

/// What is refused is told so often; all of it is counted.
const QUIET: Duration = Duration::from_secs(60);

/// What a group needs beside its channel for what is refused.
pub struct Refuse {
    /// Pages for what other channels read, too.
    pub copies: Arc<Pool>,
    pub watch: Watch,
}

/// What a member has for that.
#[derive(Clone)]
pub struct Aside {
    /// Where its events go that nobody takes.
    pub letters: Option<Arc<DeadLetters>>,
    /// A set of its sink's that none of its threads writes.
    pub counters: Arc<SinkCounters>,
}

/// Who settles; its lock is held while the disk is written.
pub(super) struct Settling {
    watch: Watch,
    /// Of each member, with its name.
    members: Vec<(String, Aside)>,
    quiet_until: Mono,
}

impl Settling {
    pub(super) fn new(watch: Watch) -> Self {
        Self { watch, members: Vec::new(), quiet_until: Mono(0) }
    }

    pub(super) fn join(&mut self, name: String, aside: Aside) {
        self.members.push((name, aside));
    }

    /// The one who refused an event last.
    fn whose(&self, refusal: &Refusal) -> &Aside {
        let found = self.members.iter().find(|(name, _)| *name == refusal.sink);
        &found.expect("only members refuse").1
    }

    /// Counts and lets go what nobody takes; what nobody was asked for comes back.
    fn finish(&mut self, mut parcel: Parcel, channel: &dyn Channel, now: Now) -> Option<Parcel> {
        let refusals = parcel.refusals.take().expect("somebody refused some of it");
        let said = || refusals.said.iter();
        let first = said().flatten().next().expect("somebody refused some of it");
        let aside = self.whose(first).clone();
        let set_aside = aside.letters.is_some();
        if now.mono >= self.quiet_until {
            self.quiet_until = now.mono.after(QUIET);
            let became = if set_aside { "set aside" } else { "lost{refused}" };
            let (count, Refusal { sink, reason, .. }) = (said().flatten().count(), first);
            let what = format!("{count} events refused and {became}: {sink}: {reason}");
            self.watch.once(now, &what);
        }
        self.watch.recovered(now);
        let is_refused = |index: usize| refusals.said[index].is_some();
        if said().all(Option::is_some) {
            let fate = Fate { refused: Amount::of(&parcel.batch), set_aside, ..Fate::default() };
            leaving::finish(parcel, fate, now, &aside.counters, channel, now);
            return None;
        }
        let passes = parcel.passes();
        let Ok(mut page) = parcel.batch.unseal() else {
            unreachable!("it was made ours when it was handed on");
        };
        let mut index = 0;
        let gone = page.retain(&Since::START, |_| {
            index += 1;
            !is_refused(index - 1)
        });
        parcel.batch = page.seal();
        match set_aside {
            true => aside.counters.dead_lettered_events.add(gone.events),
            false => {
                aside.counters.lost.add(LostReason::Refused, gone.events);
                parcel.slip.iter().for_each(|slip| slip.part().refuse());
            }
        }
        let gone = Amount { events: gone.events, bytes: gone.bytes };
        channel.leave(gone, gone.when(passes));
        Some(parcel)
    }
}

impl State {
    /// Members that are there and have not had it.
    fn to_ask<'a>(&'a self, parcel: &'a Parcel) -> impl Iterator<Item = usize> + 'a {
        let asked = |index| parcel.refusals.as_ref().is_some_and(|it| it.has_asked(index));
        let members = self.members.iter().enumerate();
        let free = members.filter(move |(index, it)| it.is_ready(self.now) && !asked(*index));
        free.map(|(index, _)| index)
    }

    /// Whether a member has something to take that another one refused.
    pub(super) fn has_refused_for(&self, index: usize, course: Course) -> bool {
        self.refused_for(index, course).is_some()
    }

    fn refused_for(&self, index: usize, course: Course) -> Option<usize> {
        self.refused.iter().position(|parcel| match course {
            Course::Failover => self.to_ask(parcel).next() == Some(index),
            _ => self.to_ask(parcel).any(|other| other == index),
        })
    }

    pub(super) fn take_refused(&mut self, index: usize, course: Course) -> Option<Parcel> {
        let parcel = self.refused.remove(self.refused_for(index, course)?)?;
        let member = &mut self.members[index];
        member.taken += u64::from(parcel.batch.event_count());
        (member.hungry, member.called) = (false, None);
        Some(parcel)
    }

    /// What nobody is left for.
    fn abandoned(&self) -> Option<usize> {
        self.refused.iter().position(|parcel| self.to_ask(parcel).next().is_none())
    }

    pub(super) fn must_settle(&self) -> bool {
        self.settle_at <= self.now && self.abandoned().is_some()
    }

    /// What could not be set aside is another member's by now.
    fn was_taken(&self) -> bool {
        self.settle_at > Mono(0) && !self.settles && self.abandoned().is_none()
    }
}

impl Group {
    pub(super) fn settling(&self) -> MutexGuard<'_, Settling> {
        self.settling.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sets aside, or gives up, what no member is left for.
    pub(super) fn settle(&self, now: Now) {
        exempt(|| {
            let mut settling = self.settling();
            while let Some(parcel) = self.take_abandoned() {
                let written = set_aside(&settling, &parcel, now);
                let outcome = match &written {
                    Ok(()) => Ok(settling.finish(parcel, self.inner.as_ref(), now)),
                    Err(_) => Err(parcel),
                };
                let mut state = self.lock();
                state.settles = false;
                match outcome {
                    Ok(untried) => {
                        state.settle_at = Mono(0);
                        state.returned.extend(untried);
                        state.wake_all();
                        self.inner.pass_on();
                    }
                    Err(parcel) => {
                        state.refused.push_front(parcel);
                        state.settle_at = now.mono.after(RETRY);
                    }
                }
                drop(state);
                if let Err(error) = written {
                    settling.watch.blocked(now, &error.to_string());
                }
            }
        });
    }

    /// Nothing waits any more to be set aside, though it could not be.
    fn calm(&self, now: Now) {
        let mut settling = self.settling();
        let mut state = self.lock();
        if state.was_taken() {
            state.settle_at = Mono(0);
            drop(state);
            settling.watch.recovered(now);
        }
    }

    fn take_abandoned(&self) -> Option<Parcel> {
        let mut state = self.lock();
        let abandoned = state.must_settle().then(|| state.abandoned()).flatten()?;
        state.settles = true;
        state.refused.remove(abandoned)
    }
}

fn set_aside(settling: &Settling, parcel: &Parcel, now: Now) -> io::Result<()> {
    let refusals = parcel.refusals.as_ref().expect("somebody refused some of it");
    let said =
        || (0..).zip(&refusals.said).filter_map(|(index, said)| Some((index, said.as_ref()?)));
    // All of a batch goes to one file: a second one might fail when the first is written.
    let letters = said().next().and_then(|(_, first)| settling.whose(first).letters.as_ref());
    let Some(letters) = letters else { return Ok(()) };
    let refused = said().map(|(index, refusal)| (index, refusal.clone()));
    leaving::set_aside(letters, &parcel.batch, refused, now)
}

impl Member {
    /// Another member is there that has not had it.
    pub(super) fn has_others_for(&self, parcel: &Parcel) -> bool {
        let state = self.group.lock();
        state.to_ask(parcel).any(|other| other != self.index)
    }

    /// A batch that it took, or what of it is left, goes to those that have not had it.
    pub(super) fn put_refused(&self, state: &mut State, mut parcel: Parcel) {
        if let Some(refusals) = &mut parcel.refusals {
            refusals.ask(self.index);
        }
        exempt(|| state.refused.push_back(parcel));
    }

    /// Who was to take something may be gone by now.
    pub(super) fn settle(&self, state: MutexGuard<'_, State>, now: Now) {
        let (must, taken) = (state.must_settle(), state.was_taken());
        drop(state);
        if must {
            self.group.settle(now);
        } else if taken {
            self.group.calm(now);
        }
    }

    pub(super) fn copy_of(&self, page: &Page) -> Option<Lease> {
        let mut copy = self.group.copies.take()?;
        copy.copy_from(page);
        Some(copy)
    }

    pub(super) fn refuse_all(&self, parcel: Parcel, now: Now) {
        let mut state = self.group.lock();
        let events = u64::from(parcel.batch.event_count());
        let member = &mut state.members[self.index];
        member.taken = member.taken.saturating_sub(events);
        self.put_refused(&mut state, parcel);
        state.wake_all();
        self.settle(state, now);
    }
}
