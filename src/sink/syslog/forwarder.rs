//! The worker: batches from the channel to the targets, each target with at most one in hand.
//!
//! With `failover` the first target that works gets everything, and those behind it are not even
//! connected; with `balance` whoever is free takes the next batch. A batch whose target failed goes
//! first to the next that is free. While none is, nothing is polled, and the channel's credit
//! carries the back-pressure to the sources.

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use mio::{Events, Poll, Token, Waker};

use super::frame::Framer;
use super::link::{Answer, Kit, Limits, Link, Question};
use super::load::{Load, Place};
use super::renewal::Current;
use crate::channel::{Channel, Ear};
use crate::ring::{Seat, Wake};
use crate::runtime::helper::Desk;
use crate::runtime::{Progress, Worker};
use crate::sink::CLOSING_LOOK;
use crate::sink::dead_letters::DeadLetters;
use crate::telemetry::SinkCounters;
use crate::time::{Mono, Now};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mode {
    Failover,
    Balance,
}

const BELL: Token = Token(0);
const EVENTS: usize = 64;

pub(super) struct Parts {
    pub(super) name: String,
    /// As the configuration calls it.
    pub(super) sink: String,
    pub(super) dead_letters: Option<Arc<DeadLetters>>,
    /// How often an event is tried that is refused.
    pub(super) attempts: u32,
    pub(super) mode: Mode,
    pub(super) links: Vec<Link>,
    pub(super) framer: Framer,
    pub(super) limits: Limits,
    pub(super) tls: Option<Current>,
    pub(super) channel: Arc<dyn Channel>,
    pub(super) counters: Arc<SinkCounters>,
}

pub(super) struct Forwarder {
    parts: Parts,
    desk: Option<(Desk<Question, Answer>, Seat)>,
    poll: Poll,
    events: Events,
    waker: Arc<Bell>,
    ear: Ear,
    /// The channel was told that nothing can be sent.
    down: bool,
    /// Batches whose target failed.
    orphans: VecDeque<Load>,
    /// Who is asked first.
    next: usize,
    closing: bool,
}

struct Bell(Waker);

impl Wake for Bell {
    fn wake(&self) {
        // It fails only without memory for an eventfd's count, which is one number.
        let _ = self.0.wake();
    }
}

impl Forwarder {
    pub(super) fn new(parts: Parts, desk: Option<Desk<Question, Answer>>) -> io::Result<Self> {
        let poll = Poll::new()?;
        let waker = Arc::new(Bell(Waker::new(poll.registry(), BELL)?));
        let ear = parts.channel.listen(Arc::clone(&waker) as Arc<dyn Wake>);
        let desk = desk.map(|desk| {
            let seat = desk.answers().bell().join(Arc::clone(&waker) as Arc<dyn Wake>);
            (desk, seat)
        });
        let orphans = VecDeque::with_capacity(parts.links.len());
        let events = Events::with_capacity(EVENTS);
        Ok(Self {
            parts,
            desk,
            poll,
            events,
            waker,
            ear,
            down: false,
            orphans,
            next: 0,
            closing: false,
        })
    }

    /// What the kernel has to tell, within `timeout`.
    fn look(&mut self, timeout: Option<Duration>) {
        // It fails when interrupted, and then there is nothing.
        if self.poll.poll(&mut self.events, timeout).is_err() {
            return;
        }
        for event in &self.events {
            if let Some(index) = event.token().0.checked_sub(1) {
                let failed = event.is_error() || event.is_read_closed() || event.is_write_closed();
                let (readable, writable) = (event.is_readable(), event.is_writable());
                self.parts.links[index].ready(readable || failed, writable || failed);
            }
        }
    }

    /// The link that gets everything.
    fn chosen(&self, index: usize) -> bool {
        match self.parts.mode {
            Mode::Balance => true,
            Mode::Failover => !self.parts.links[..index].iter().any(Link::is_up),
        }
    }

    /// Whether the link should be connected.
    fn wanted(&self, index: usize) -> bool {
        self.parts.mode == Mode::Balance || self.parts.links[..index].iter().all(Link::has_failed)
    }

    fn is_free(&self, index: usize) -> bool {
        let link = &self.parts.links[index];
        link.is_up() && !link.is_loaded() && self.chosen(index)
    }

    fn tick(&mut self, now: Now) -> bool {
        let mut changed = false;
        while let Some((index, found)) = self.desk.as_ref().and_then(|it| it.0.poll()) {
            self.with(index, now, |link, kit| link.answer(found, kit));
            changed = true;
        }
        for index in 0..self.parts.links.len() {
            let wanted = self.wanted(index);
            changed |= self.with(index, now, |link, kit| link.tick(wanted, kit));
        }
        changed
    }

    /// Batches to whoever is free. True: somebody got one.
    fn feed(&mut self, now: Now) -> bool {
        let count = self.parts.links.len();
        let mut fed = false;
        for place in 0..count {
            let index = match self.parts.mode {
                Mode::Failover => place,
                Mode::Balance => (self.next + place) % count,
            };
            if !self.is_free(index) {
                continue;
            }
            let load = self.orphans.pop_front().or_else(|| {
                let parcel = self.parts.channel.poll()?;
                Some(Load::new(parcel, now, &self.parts.counters))
            });
            let Some(load) = load else { break };
            self.with(index, now, |link, kit| link.take(load, kit));
            self.next = (index + 1) % count;
            fed = true;
        }
        fed
    }

    fn send(&mut self, now: Now) -> bool {
        let mut sent = false;
        for index in 0..self.parts.links.len() {
            sent |= self.with(index, now, |link, kit| link.send(kit));
        }
        sent
    }

    /// Lets one link do something; what it cannot send comes back.
    fn with<R>(
        &mut self,
        index: usize,
        now: Now,
        act: impl FnOnce(&mut Link, &mut Kit<'_>) -> R,
    ) -> R {
        let parts = &mut self.parts;
        let others = || parts.links.iter().enumerate().filter(|(other, _)| *other != index);
        let covered = others().any(|(_, link)| link.is_up()) || parts.channel.is_covered();
        let link = &mut parts.links[index];
        let mut kit = Kit {
            now,
            framer: &mut parts.framer,
            registry: self.poll.registry(),
            desk: self.desk.as_ref().map(|it| &it.0),
            counters: &parts.counters,
            channel: parts.channel.as_ref(),
            limits: parts.limits,
            tls: parts.tls.as_ref(),
            covered,
            place: Place {
                sink: &parts.sink,
                attempts: parts.attempts,
                letters: parts.dead_letters.as_deref(),
            },
        };
        let done = act(link, &mut kit);
        self.orphans.extend(link.give_up());
        done
    }

    fn look_at(&self) -> Mono {
        let links = self.parts.links.iter();
        let links = links.map(|link| link.look_at(self.parts.limits)).min();
        links.unwrap_or(Mono::MAX).min(self.parts.channel.look_at())
    }

    /// Tells the channel whether anything can be sent at all; if not, and another sink can, it gets
    /// what was on its way.
    fn report(&mut self, now: Now) {
        let links = &self.parts.links;
        let channel = &self.parts.channel;
        let up = links.iter().any(Link::is_up);
        let down = !up && links.iter().all(Link::has_failed);
        if down && !self.down {
            channel.failing(now);
        } else if up && self.down {
            channel.working();
        }
        self.down = if up { false } else { self.down | down };
        let Parts { sink, attempts, dead_letters, .. } = &self.parts;
        let place = Place { sink, attempts: *attempts, letters: dead_letters.as_deref() };
        for _ in 0..self.orphans.len() {
            let goes = self.down && channel.is_covered();
            let Some(load) = goes.then(|| self.orphans.pop_front()).flatten() else { break };
            let kept = load.give_back(&place, channel.as_ref(), &self.parts.counters, now);
            self.orphans.extend(kept);
        }
    }

    /// Nothing is in hand, and nothing will come: goodbyes.
    fn end(&mut self, now: Now) -> Progress {
        for index in 0..self.parts.links.len() {
            if self.parts.links[index].is_up() {
                self.with(index, now, |link, kit| link.leave(kit));
            }
        }
        if self.parts.links.iter().any(Link::is_leaving) {
            return Progress::Idle { until: self.look_at() };
        }
        Progress::Done
    }
}

impl Worker for Forwarder {
    fn name(&self) -> &str {
        &self.parts.name
    }

    fn work(&mut self, now: Now) -> Progress {
        self.parts.channel.tick(now);
        self.look(Some(Duration::ZERO));
        let mut moved = self.tick(now);
        moved |= self.feed(now);
        moved |= self.send(now);
        self.report(now);
        let loaded = self.parts.links.iter().any(Link::is_loaded) || !self.orphans.is_empty();
        if self.closing && !loaded && self.parts.channel.is_drained() {
            return self.end(now);
        }
        match moved {
            true => Progress::Worked,
            false if self.closing && !loaded => {
                Progress::Idle { until: self.look_at().min(now.mono.after(CLOSING_LOOK)) }
            }
            false => Progress::Idle { until: self.look_at() },
        }
    }

    fn wait(&mut self, now: Now, until: Mono) {
        let timeout = until.since(now.mono);
        let timeout = (timeout < Duration::from_secs(3600)).then_some(timeout);
        let hungry = (0..self.parts.links.len()).any(|index| self.is_free(index));
        // A ring wakes one sleeper: not one who could not take the batch it is about.
        let channel = (hungry && self.orphans.is_empty()).then(|| Arc::clone(&self.parts.channel));
        let desk = self.desk.clone();
        channel.iter().for_each(|channel| channel.doze(self.ear));
        desk.iter().for_each(|(desk, seat)| desk.answers().bell().doze(*seat));
        let nothing = channel.as_ref().is_none_or(|channel| channel.is_empty())
            && desk.as_ref().is_none_or(|(desk, _)| desk.answers().is_empty());
        if nothing {
            self.look(timeout);
        }
        channel.iter().for_each(|channel| channel.rise(self.ear));
        desk.iter().for_each(|(desk, seat)| desk.answers().bell().rise(*seat));
    }

    fn close(&mut self, now: Now) {
        self.closing = true;
        self.parts.links.iter_mut().for_each(|link| link.hurry(now));
    }

    fn waker(&self) -> Arc<dyn Wake> {
        Arc::clone(&self.waker) as Arc<dyn Wake>
    }
}
