//! One life of an agent, from build to crash or close: every worker stepped by hand.

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use flumen::channel::memory::MemoryChannel;
use flumen::channel::{Channel, Inlet, Valve, WhenFull};
use flumen::config::Section;
use flumen::interceptor::Chain;
use flumen::memory::{Credit, Lease, Pool};
use flumen::ring::Wake;
use flumen::runtime::clock::{Clock, ManualClock};
use flumen::runtime::{Progress, Worker};
use flumen::sink::dead_letters::DeadLetters;
use flumen::sink::group::{Aside, Group, Refuse};
use flumen::sink::{BuildError, Orders, SinkContext, SinkPlan};
use flumen::source::Source;
use flumen::source::intercepting::Staging;
use flumen::source::restraint::Backlog;
use flumen::source::routing::{Route, RoutingRunner};
use flumen::source::runner::{Pace, SourceRunner};
use flumen::storage::Disk;
use flumen::telemetry::{
    Incidents, InletCounters, Ledger, LedgerBuilder, Snapshot, SourceCounters,
};
use flumen::time::Mono;

use crate::dealing::Way;
use crate::disk::SimDisk;
use crate::event::Id;
use crate::hop::{Hop, letters_of, read_letters};
use crate::plan::{Plan, SinkShape, SourceShape};
use crate::probe::{Accepted, Probe};
use crate::random::Random;
use crate::source::{Acknowledging, AnsweredSource, Feed, Nobody, SimSource, Told};
use crate::trace::Trace;

const PAGE_BYTES: usize = 64 << 10;
const EVENT_BYTES: usize = 4 << 10;

/// What outlives a life.
pub(crate) struct World {
    pub(crate) plan: Plan,
    pub(crate) clock: Arc<ManualClock>,
    pub(crate) disk: SimDisk,
    pub(crate) trace: Trace,
    pub(crate) feeds: Vec<Arc<Mutex<Feed>>>,
    pub(crate) accepted: Vec<Accepted>,
    pub(crate) evicted: Vec<Accepted>,
    /// What the next hop of each channel's group took.
    pub(crate) taken: Vec<Accepted>,
}

pub(crate) struct Life {
    pub(crate) pool: Arc<Pool>,
    pub(crate) probes: Vec<Arc<Probe>>,
    pub(crate) inlets: Vec<Arc<InletCounters>>,
    pub(crate) sources: Vec<Arc<SourceCounters>>,
    /// Of each source: its first inlet, and what its connections sent in earlier lives.
    begins: Vec<(usize, Vec<u32>)>,
    /// Pages that sources read into.
    pub(crate) staged: u32,
    groups: Vec<Arc<Group>>,
    /// Of each group, where it sets aside what nobody takes.
    letters: Vec<Option<Arc<DeadLetters>>>,
    pub(crate) ledger: Arc<Ledger>,
    pub(crate) incidents: Arc<Incidents>,
    pub(crate) orders: Arc<Orders>,
    pub(crate) quiet: Arc<AtomicBool>,
    pub(crate) told: Vec<Option<Arc<Mutex<Told>>>>,
    pub(crate) notes: Vec<String>,
    /// Mutation: a page that somebody keeps.
    pub(crate) kept: Option<Lease>,
    actors: Vec<Actor>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role {
    Source,
    Sink,
    Helper,
}

struct Actor {
    worker: Box<dyn Worker>,
    role: Role,
    done: bool,
    /// How often it gets a turn in the present stretch of time.
    eagerness: u64,
}

struct Parts {
    builder: LedgerBuilder,
    plans: Vec<Box<dyn SinkPlan>>,
    pool: Arc<Pool>,
}

pub(crate) fn sink_plan(shape: &SinkShape) -> Box<dyn SinkPlan> {
    let kind = &flumen::sink::rolling_file::KIND;
    let section = Section::parse(&shape.options, kind.options);
    let plan = (kind.plan)(&section);
    assert_eq!(section.diagnostics().lines(), [""; 0], "{}", shape.options);
    plan
}

impl Life {
    pub(crate) fn start(world: &World) -> Result<Self, BuildError> {
        let plan = &world.plan;
        let plans: Vec<_> = plan.sinks.iter().map(sink_plan).collect();
        let in_hand: usize = plans.iter().map(|plan| plan.pages_in_hand()).sum();
        let credit: usize = plan.channels.iter().map(|channel| channel.credit as usize).sum();
        // What is dealt out has a page open for each channel, and one that is read into.
        let open = |source: &SourceShape| match source.way {
            Way::Mapped(_) => 1 + source.channels.len(),
            _ => 1,
        };
        let open: usize = plan.sources.iter().map(open).sum();
        let pages = (credit + in_hand + open).saturating_sub(plan.fewer_pages);
        let pool = Pool::new(pages, PAGE_BYTES);
        let mut parts = Parts { builder: Ledger::builder("simulated"), plans, pool };
        let probes = parts.channels(world);
        let orders = Arc::new(Orders::default());
        let incidents = Incidents::new();
        let mut life = Self {
            pool: Arc::clone(&parts.pool),
            probes,
            inlets: Vec::new(),
            sources: Vec::new(),
            begins: Vec::new(),
            staged: 0,
            groups: Vec::new(),
            letters: Vec::new(),
            ledger: Ledger::builder("none").build(),
            incidents,
            orders,
            quiet: Arc::default(),
            told: Vec::new(),
            notes: Vec::new(),
            kept: None,
            actors: Vec::new(),
        };
        life.add_groups(world)?;
        for index in 0..plan.sinks.len() {
            life.add_sink(world, &mut parts, index)?;
        }
        for index in 0..plan.groups.len() {
            life.add_hop(world, &mut parts, index);
        }
        for index in 0..plan.sources.len() {
            life.add_source(world, &mut parts, index);
        }
        life.ledger = parts.builder.build();
        Ok(life)
    }

    fn add_groups(&mut self, world: &World) -> Result<(), BuildError> {
        let disk: Arc<dyn Disk> = Arc::new(world.disk.clone());
        for shape in &world.plan.groups {
            let channel = Arc::clone(&self.probes[shape.channel]) as Arc<dyn Channel>;
            let name = format!("g{}", shape.channel);
            let letters = shape.hop.then(|| {
                DeadLetters::open(&letters_of(shape.channel), &disk, &format!("groups.{name}"))
            });
            self.letters.push(letters.transpose()?);
            // Files refuse nothing.
            let watch = self.incidents.watch(&format!("group {name}"));
            let refuse = Refuse { copies: Pool::new(usize::from(shape.hop), PAGE_BYTES), watch };
            let group = Group::new(name, channel, shape.course, shape.penalty, 7, refuse);
            self.groups.push(group);
        }
        Ok(())
    }

    fn add_hop(&mut self, world: &World, parts: &mut Parts, index: usize) {
        let shape = &world.plan.groups[index];
        let Some(letters) = self.letters[index].clone() else { return };
        let name = format!("hop{}", shape.channel);
        let entry = parts.builder.sink(&name, &format!("c{}", shape.channel));
        let (counters, own) = (entry.worker(), entry.worker());
        let aside = Aside { letters: Some(Arc::clone(&letters)), counters: own };
        let channel =
            self.groups[index].join(name.clone(), vec![Arc::clone(&counters)], aside) as _;
        let watch = self.incidents.watch(&format!("sink {name}"));
        let taken = Arc::clone(&world.taken[shape.channel]);
        let (held, retry_at, closing) = (None, Mono(0), false);
        let hop = Hop { name, channel, counters, letters, watch, taken, held, retry_at, closing };
        self.add(Box::new(hop), Role::Sink);
    }

    fn add_sink(
        &mut self,
        world: &World,
        parts: &mut Parts,
        index: usize,
    ) -> Result<(), BuildError> {
        let (shape, plan) = (&world.plan.sinks[index], &parts.plans[index]);
        let name = format!("out{index}");
        let entry = parts.builder.sink(&name, &format!("c{}", shape.channel));
        let counters: Vec<_> = (0..plan.threads()).map(|_| entry.worker()).collect();
        let channel = match world.plan.group_of(shape) {
            Some(group) => {
                let letters = self.letters[group].clone();
                let aside = Aside { letters, counters: entry.worker() };
                self.groups[group].join(name.clone(), counters.clone(), aside) as _
            }
            None => Arc::clone(&self.probes[shape.channel]) as Arc<dyn Channel>,
        };
        let context = SinkContext {
            name,
            channel,
            counters,
            dead_letters: None,
            incidents: Arc::clone(&self.incidents),
            disk: Arc::new(world.disk.clone()),
            clock: Arc::clone(&world.clock) as Arc<dyn Clock>,
            orders: Arc::clone(&self.orders),
            page_bytes: PAGE_BYTES,
            event_bytes_max: EVENT_BYTES,
            now: world.clock.now(),
        };
        let built = plan.build(&context)?;
        self.notes.extend(built.notes);
        built.workers.into_iter().for_each(|worker| self.add(worker, Role::Sink));
        built.helpers.into_iter().for_each(|worker| self.add(worker, Role::Helper));
        Ok(())
    }

    fn add_source(&mut self, world: &World, parts: &mut Parts, index: usize) {
        let shape = &world.plan.sources[index];
        let counters = parts.builder.source(&format!("in{index}")).worker();
        self.sources.push(Arc::clone(&counters));
        let sent = world.feeds[index].lock().expect("one thread").next.clone();
        self.begins.push((self.inlets.len(), sent));
        let mut inlets = Vec::new();
        for (place, &channel) in shape.channels.iter().enumerate() {
            let counters = parts.builder.channel(&format!("c{channel}")).inlet();
            self.inlets.push(Arc::clone(&counters));
            let when_full = match shape.way.is_optional(place) {
                true => WhenFull::Optional,
                false => world.plan.channels[channel].when_full,
            };
            let channel = Arc::clone(&self.probes[channel]) as Arc<dyn Channel>;
            inlets.push(Inlet { channel, when_full, counters });
        }
        let waker: Arc<dyn Wake> = Arc::new(Nobody);
        let (feed, quiet) = (Arc::clone(&world.feeds[index]), Arc::clone(&self.quiet));
        let told = shape.wants.map(|wanted| Arc::new(Mutex::new(Told::new(wanted))));
        self.told.push(told.clone());
        let name = format!("source.{index}");
        let worker: Box<dyn Worker> = match (shape.way.mapping(inlets.len()), told) {
            (None, Some(told)) => {
                let channels = shape.way.required(inlets.len()) as u32;
                let valve = valve(parts, shape, inlets, &waker);
                let closing = false;
                Box::new(Acknowledging { feed, quiet, valve, channels, told, counters, closing })
            }
            (None, None) => {
                let source = Box::new(SimSource { feed, quiet, stopping: false });
                let valve = valve(parts, shape, inlets, &waker);
                Box::new(SourceRunner::new(name, source, valve, counters, pace(world, shape)))
            }
            (Some(mapping), told) => {
                let source = SimSource { feed, quiet, stopping: false };
                let source: Box<dyn Source> = match told {
                    Some(told) => Box::new(AnsweredSource { source, told, slip: None }),
                    None => Box::new(source),
                };
                self.staged += 1;
                let page = parts.pool.take().expect("a page of its own");
                let staging = Staging::new(page, Chain::default(), EVENT_BYTES);
                let parsers = inlets.iter().map(|_| None).collect();
                let (pool, pace) = (Arc::clone(&parts.pool), pace(world, shape));
                let route = Route { mapping, inlets, pool, parsers, keeps_headers: pace.eager };
                Box::new(RoutingRunner::new(name, source, staging, route, counters, pace))
            }
        };
        self.add(worker, Role::Source);
    }

    /// What a source sent in this life.
    pub(crate) fn sent(&self, world: &World, source: usize) -> Vec<Id> {
        let next = world.feeds[source].lock().expect("one thread").next.clone();
        let spans = self.begins[source].1.iter().zip(next).enumerate();
        spans
            .flat_map(|(connection, (&from, to))| {
                (from..to).map(move |number| Id::new(source, connection, number))
            })
            .collect()
    }

    pub(crate) fn is_of_this(&self, id: Id) -> bool {
        let (source, connection) = (id.stream() >> 16, id.stream() & 0xffff);
        id.number() >= self.begins[source as usize].1[connection as usize]
    }

    /// What a source put to each of its channels.
    pub(crate) fn puts(&self, source: usize) -> Vec<u64> {
        let end = self.begins.get(source + 1).map_or(self.inlets.len(), |next| next.0);
        self.inlets[self.begins[source].0..end].iter().map(|it| it.put_events.get()).collect()
    }

    fn add(&mut self, worker: Box<dyn Worker>, role: Role) {
        self.actors.push(Actor { worker, role, done: false, eagerness: 1 });
    }

    /// One turn of one worker.
    pub(crate) fn step(&mut self, world: &World, random: &mut Random) {
        let total: u64 = self.actors.iter().map(|actor| actor.eagerness).sum();
        let mut at = random.below(total);
        let chosen = self.actors.iter().position(|actor| {
            let here = at < actor.eagerness;
            at = at.wrapping_sub(actor.eagerness);
            here
        });
        if let Some(index) = chosen {
            self.turn(world, index);
        }
    }

    /// For a while some get more turns and some none.
    pub(crate) fn stir(&mut self, random: &mut Random) {
        for actor in &mut self.actors {
            actor.eagerness = *random.pick(&[0, 1, 1, 2, 5]);
        }
        self.actors[0].eagerness += 1;
    }

    fn turn(&mut self, world: &World, index: usize) -> Progress {
        let actor = &mut self.actors[index];
        if actor.done {
            return Progress::Done;
        }
        let progress = actor.worker.work(world.clock.now());
        actor.done = progress == Progress::Done;
        if progress == Progress::Worked || actor.done {
            world.trace.say(format!("{} {progress:?}", actor.worker.name()));
        }
        progress
    }

    /// Everybody in turn, until nobody does anything; then the clock goes to the next deadline.
    /// Says whether `enough` was reached within `limit`.
    pub(crate) fn until(
        &mut self,
        world: &World,
        limit: Duration,
        enough: impl Fn(&Self) -> bool,
    ) -> bool {
        let end = world.clock.now().mono.after(limit);
        loop {
            let now = world.clock.now();
            if now.mono >= end {
                return false;
            }
            let (mut worked, mut next) = (false, now.mono.after(Duration::from_millis(500)));
            for index in 0..self.actors.len() {
                match self.turn(world, index) {
                    Progress::Worked => worked = true,
                    Progress::Idle { until } => next = next.min(until),
                    Progress::Done => {}
                }
            }
            if !worked {
                if enough(self) {
                    return true;
                }
                let least = Duration::from_millis(1);
                world.clock.advance(next.since(now.mono).max(least));
            }
        }
    }

    pub(crate) fn done(&self, role: Role) -> bool {
        self.actors.iter().all(|actor| actor.role != role || actor.done)
    }

    fn close(&mut self, world: &World, role: Role) {
        let now = world.clock.now();
        let actors = self.actors.iter_mut().filter(|actor| actor.role == role);
        actors.for_each(|actor| actor.worker.close(now));
    }

    /// As the agent does it: sources, then sinks, then helpers. Says who never ended.
    pub(crate) fn end(&mut self, world: &World) -> Result<(), String> {
        let minute = Duration::from_secs(60);
        for (role, name) in
            [(Role::Source, "sources"), (Role::Sink, "sinks"), (Role::Helper, "helpers")]
        {
            self.close(world, role);
            if !self.until(world, minute, |life| life.done(role)) {
                return Err(format!("the {name} never ended: {:?}", self.incidents.blocking()));
            }
        }
        Ok(())
    }

    pub(crate) fn be_quiet(&self, quiet: bool) {
        self.quiet.store(quiet, Ordering::Relaxed);
    }

    pub(crate) fn snapshot(&self) -> Snapshot {
        self.ledger.snapshot()
    }

    /// Nothing is under way: gauges are at zero.
    pub(crate) fn at_rest(&self) -> bool {
        let empty = |probe: &Arc<Probe>| probe.counters().gauge.events() == 0;
        self.probes.iter().all(empty)
    }
}

/// What the sinks behind a source ask of it.
fn pace(world: &World, shape: &SourceShape) -> Pace {
    let below = |sink: &&SinkShape| shape.channels.contains(&sink.channel);
    let plans: Vec<_> = world.plan.sinks.iter().filter(below).map(sink_plan).collect();
    let age = plans.iter().map(|plan| plan.batch_age()).min().expect("a channel is read");
    let slice = plans.iter().filter_map(|plan| plan.path_slice()).min();
    let slice_ns = slice.map(|slice| i64::try_from(slice.as_nanos()).expect("short"));
    let backlog = shape.connections.is_multiple_of(3);
    let backlog = backlog.then_some(Backlog { batches: 2, threads: 1 });
    Pace { age, slice_ns, eager: shape.connections.is_multiple_of(2), backlog }
}

fn valve(parts: &Parts, shape: &SourceShape, inlets: Vec<Inlet>, waker: &Arc<dyn Wake>) -> Valve {
    let valve = Valve::new(Arc::clone(&parts.pool), inlets, waker);
    match shape.way {
        Way::Balanced { random } => valve.balanced(random.then_some(7)),
        _ => valve,
    }
}

impl Parts {
    fn channels(&mut self, world: &World) -> Vec<Arc<Probe>> {
        let shapes = world.plan.channels.iter().zip(&world.accepted).enumerate();
        let probe =
            |(index, (shape, accepted)): (usize, (&crate::plan::ChannelShape, &Accepted))| {
                let name = format!("c{index}");
                let counters = self.builder.channel(&name).counters();
                let cooked = self.builder.sink(&format!("cooked{index}"), &name).worker();
                let credit = Arc::new(Credit::new(shape.credit));
                let inner = MemoryChannel::new(name, credit, counters);
                let accepted = Arc::clone(accepted);
                let evicted = Arc::clone(&world.evicted[index]);
                Arc::new(Probe {
                    inner,
                    accepted,
                    evicted,
                    swallow: AtomicBool::new(false),
                    cooked,
                })
            };
        shapes.map(probe).collect()
    }
}

impl World {
    /// What nobody took of a channel's events.
    pub(crate) fn letters(&self, channel: usize) -> Vec<Id> {
        let own = letters_of(channel);
        let files = self.disk.files().into_iter();
        files.filter(|(path, _)| *path == own).flat_map(|(_, it)| read_letters(&it)).collect()
    }

    pub(crate) fn roots(&self) -> Vec<PathBuf> {
        self.plan.sinks.iter().map(|sink| PathBuf::from(&sink.root)).collect()
    }

    pub(crate) fn drops(&self, channel: usize) -> bool {
        let shape = &self.plan.channels[channel];
        let drops = |source: &SourceShape| {
            let mut places = source.channels.iter().enumerate();
            places.any(|(place, own)| *own == channel && shape.drops_for(source, place))
        };
        shape.when_full != WhenFull::Wait || self.plan.sources.iter().any(drops)
    }
}
