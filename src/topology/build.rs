//! From a plan to workers: the last place that may allocate for the data path.
//!
//! In this order: counters, pool, credits, channels; sinks, whose recovery runs here; the admin
//! endpoint; sources last, so that nobody can send before all is there. What fails is told with all
//! its fellows of the same step, and everything built so far is dropped.

use std::net::SocketAddr;
use std::sync::Arc;

use super::groups;
use super::outlet::Outlet;
use super::plan::{Admin, Plan, PlannedGroup, PlannedSink, PlannedSource};
use crate::channel::selector::Mapping;
use crate::channel::{self, Channel, ChannelContext, Inlet, Selector, Valve, WhenFull};
use crate::interceptor::Tools;
use crate::memory::{Credit, Pool};
use crate::runtime::Worker;
use crate::runtime::clock::Clock;
use crate::sink::dead_letters::DeadLetters;
use crate::sink::group::{Aside, Group, GroupPlan, Member, Refuse};
use crate::sink::{self, Orders, SinkContext};
use crate::source::intercepting::{Intercepting, Staging};
use crate::source::parsing::Parser;
use crate::source::routing::{Route, RoutingRunner};
use crate::source::runner::SourceRunner;
use crate::source::{self, Bound, SourceContext};
use crate::storage::Disk;
use crate::syslog::parse::Fields;
use crate::telemetry::{
    ChannelCounters, Incidents, InletCounters, Ledger, Readiness, SinkCounters, SourceCounters,
};
use crate::time::Now;

/// What an agent stands on: a real disk and clock, or a test's.
#[derive(Clone)]
pub struct Ground {
    pub disk: Arc<dyn Disk>,
    pub clock: Arc<dyn Clock>,
}

/// What the admin endpoint looks at.
#[derive(Clone)]
pub struct Handles {
    pub ledger: Arc<Ledger>,
    pub incidents: Arc<Incidents>,
    pub readiness: Arc<Readiness>,
}

/// A bound endpoint and the worker that serves it.
pub struct Endpoint {
    pub address: SocketAddr,
    pub worker: Box<dyn Worker>,
}

/// Binds the admin endpoint at `agent.admin`. The room that serves it stands above this one.
pub type OpenEndpoint = fn(&Admin, Handles) -> Result<Option<Endpoint>, StartError>;

/// No endpoint, whatever the configuration says.
pub fn no_endpoint(_admin: &Admin, _handles: Handles) -> Result<Option<Endpoint>, StartError> {
    Ok(None)
}

/// Why an agent could not start, in one line: what and what to do.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct StartError(pub String);

impl From<source::BuildError> for StartError {
    fn from(error: source::BuildError) -> Self {
        Self(error.to_string())
    }
}

impl From<channel::BuildError> for StartError {
    fn from(error: channel::BuildError) -> Self {
        Self(error.to_string())
    }
}

impl From<sink::BuildError> for StartError {
    fn from(error: sink::BuildError) -> Self {
        Self(error.to_string())
    }
}

/// Everything built and nothing running.
pub struct Assembly {
    pub handles: Handles,
    pub orders: Arc<Orders>,
    pub pool: Arc<Pool>,
    pub channels: Vec<Arc<dyn Channel>>,
    pub sources: Vec<SourceWorker>,
    pub sinks: Vec<SinkWorker>,
    /// Workers of channels.
    pub keepers: Vec<Box<dyn Worker>>,
    pub helpers: Vec<Box<dyn Worker>>,
    /// For each helper the index of its sink, if it is one's.
    pub helper_of: Vec<Option<usize>>,
    /// The places of the sinks.
    pub outlets: Vec<Outlet>,
    pub endpoint: Option<Endpoint>,
    /// Each listener with the name of its source.
    pub bound: Vec<(String, Bound)>,
    /// What start-up recovery did.
    pub notes: Vec<String>,
}

pub struct SourceWorker {
    pub worker: Box<dyn Worker>,
    pub core: Option<usize>,
    pub counters: Arc<SourceCounters>,
}

pub struct SinkWorker {
    pub worker: Box<dyn Worker>,
    pub core: Option<usize>,
    pub sink: usize,
    /// Index of the channel it reads.
    pub channel: usize,
}

/// Every counter, by part and thread.
struct Counters {
    ledger: Arc<Ledger>,
    sources: Vec<Vec<Arc<SourceCounters>>>,
    /// For each source and each of its threads, one for each of its channels.
    inlets: Vec<Vec<Vec<Arc<InletCounters>>>>,
    channels: Vec<Arc<ChannelCounters>>,
    sinks: Vec<Vec<Arc<SinkCounters>>>,
    /// For each group, and each of its sinks.
    groups: Vec<Vec<Arc<SinkCounters>>>,
}

/// A sink's place in its group: its view of the channel, and where it sets aside.
type Seat = (Arc<Member>, Option<Arc<DeadLetters>>);

pub fn build(
    plan: &Plan,
    ground: &Ground,
    open_endpoint: OpenEndpoint,
) -> Result<Assembly, Vec<StartError>> {
    let pages = usize::try_from(plan.budget.pages).expect("the sum bounds it");
    let pool = Pool::new(pages, plan.budget.page_bytes);
    let counters = count(plan, &pool, ground.clock.now());
    let incidents = Incidents::new();
    let readiness = Arc::new(Readiness::new(Arc::clone(&incidents)));
    let handles = Handles { ledger: Arc::clone(&counters.ledger), incidents, readiness };
    let mut assembly = Assembly {
        handles,
        orders: Arc::default(),
        pool,
        channels: Vec::new(),
        sources: Vec::new(),
        sinks: Vec::new(),
        keepers: Vec::new(),
        helpers: Vec::new(),
        helper_of: Vec::new(),
        outlets: Vec::new(),
        endpoint: None,
        bound: Vec::new(),
        notes: Vec::new(),
    };
    let mut errors = Vec::new();
    assembly.add_channels(plan, ground, &counters, &mut errors);
    if !errors.is_empty() {
        return Err(errors);
    }
    assembly.add_sinks(plan, ground, &counters, &mut errors);
    if !errors.is_empty() {
        return Err(errors);
    }
    match open_endpoint(&plan.admin, assembly.handles.clone()) {
        Ok(endpoint) => assembly.endpoint = endpoint,
        Err(error) => errors.push(error),
    }
    assembly.add_sources(plan, &counters, &mut errors);
    if errors.is_empty() { Ok(assembly) } else { Err(errors) }
}

fn count(plan: &Plan, pool: &Arc<Pool>, now: Now) -> Counters {
    let mut builder = Ledger::builder(&plan.name);
    builder.started(now.wall);
    let mut sources = Vec::new();
    let mut inlets = Vec::new();
    for source in &plan.sources {
        let threads = 0..source.plan.threads();
        sources.push(threads.clone().map(|_| builder.source(&source.name).worker()).collect());
        let inlet_of = |channel: &usize| {
            let name = &plan.channels[*channel].name;
            builder.channel(name).inlet()
        };
        let mut inlet_of = inlet_of;
        inlets.push(threads.map(|_| source.channels.iter().map(&mut inlet_of).collect()).collect());
    }
    let channels = plan.channels.iter().map(|channel| builder.channel(&channel.name).counters());
    let channels = channels.collect();
    let sinks = plan.sinks.iter().map(|sink| {
        let channel = &plan.channels[sink.channel].name;
        let worker = |_| builder.sink(&sink.name, channel).worker();
        // The sieve before a sink counts for itself.
        (0..sink.plan.threads() + usize::from(!sink.filters.is_empty())).map(worker).collect()
    });
    let sinks = sinks.collect();
    let groups = plan.groups.iter().map(|group| {
        let sinks = group.sinks.iter().map(|index| &plan.sinks[*index]);
        let channel = |sink: &PlannedSink| plan.channels[sink.channel].name.clone();
        sinks.map(|sink| builder.sink(&sink.name, &channel(sink)).worker()).collect()
    });
    let groups = groups.collect();
    let of_pool = Arc::clone(pool);
    builder.pool(u64::from(pool.pages()), move || u64::from(of_pool.free()));
    Counters { ledger: builder.build(), sources, inlets, channels, sinks, groups }
}

/// What is read of a message for anybody's sake.
fn wants(planned: &PlannedSource) -> Fields {
    planned.wanted.union(planned.chain.wanted()).union(planned.chosen_by)
}

/// Reads what messages say, when they are some and somebody wants to know.
fn parser(planned: &PlannedSource, wanted: Fields) -> Option<Parser> {
    planned.plan.zones().and_then(|zones| Parser::new(wanted, zones))
}

/// What interceptors want to know of this machine.
fn tools() -> Tools {
    let name = rustix::system::uname().nodename().to_string_lossy().into_owned();
    let address = crate::sys::address::of_this_machine();
    Tools {
        host_address: address.map_or_else(|| "127.0.0.1".to_owned(), |it| it.to_string()),
        host_name: if name.is_empty() { "localhost".to_owned() } else { name },
    }
}

/// Where each sink of a group sets aside: in the group's file, else in its own, else in the first
/// that any of them has. An own one that cannot be written is that sink's to tell.
fn letters(
    plan: &Plan,
    group: &PlannedGroup,
    disk: &Arc<dyn Disk>,
) -> Result<Vec<Option<Arc<DeadLetters>>>, StartError> {
    if let Some(path) = &group.plan.dead_letters {
        let common = DeadLetters::open(path, disk, &format!("groups.{}", group.name))?;
        return Ok(group.sinks.iter().map(|_| Some(Arc::clone(&common))).collect());
    }
    let sinks = || group.sinks.iter().map(|sink| &plan.sinks[*sink]);
    let open = |sink: &PlannedSink| {
        let path = sink.plan.dead_letters()?;
        DeadLetters::open(path, disk, &format!("sinks.{}", sink.name)).ok()
    };
    let mut letters: Vec<_> = sinks().map(open).collect();
    let first = letters.iter().flatten().next().cloned();
    for (sink, own) in sinks().zip(&mut letters) {
        if sink.plan.dead_letters().is_none() {
            own.clone_from(&first);
        }
    }
    Ok(letters)
}

/// A number that nobody outside can guess.
fn random() -> u64 {
    let mut bytes = [0; 8];
    let got = rustix::rand::getrandom(&mut bytes, rustix::rand::GetRandomFlags::empty());
    got.expect("the kernel has random numbers");
    u64::from_le_bytes(bytes)
}

impl Assembly {
    /// Recovery of durable channels runs here.
    fn add_channels(
        &mut self,
        plan: &Plan,
        ground: &Ground,
        counters: &Counters,
        errors: &mut Vec<StartError>,
    ) {
        for (planned, counters) in plan.channels.iter().zip(&counters.channels) {
            let memory = u64::from(planned.credit) * plan.budget.page_bytes as u64;
            counters.capacity_bytes.set(planned.plan.capacity_bytes().unwrap_or(memory));
            let context = ChannelContext {
                name: planned.name.clone(),
                credit: Arc::new(Credit::new(planned.credit)),
                counters: Arc::clone(counters),
                incidents: Arc::clone(&self.handles.incidents),
                disk: Arc::clone(&ground.disk),
                sink_threads: planned.sink_threads,
                confirmed: planned.confirmed,
                random: random(),
            };
            match planned.plan.build(context) {
                Ok(built) => {
                    self.channels.push(built.channel);
                    self.keepers.extend(built.keepers);
                    self.helpers.extend(built.helpers);
                    self.helper_of.resize(self.helpers.len(), None);
                    let note = |note| format!("channels.{}: {note}", planned.name);
                    self.notes.extend(built.notes.into_iter().map(note));
                }
                Err(error) => errors.push(error.into()),
            }
        }
    }

    /// The channel as each sink that is in a group sees it.
    fn members(
        &self,
        plan: &Plan,
        ground: &Ground,
        counters: &Counters,
    ) -> Result<Vec<Option<Seat>>, StartError> {
        let mut members: Vec<Option<Seat>> = plan.sinks.iter().map(|_| None).collect();
        for (planned, asides) in plan.groups.iter().zip(&counters.groups) {
            let Some(first) = planned.sinks.first() else { continue };
            let channel = Arc::clone(&self.channels[plan.sinks[*first].channel]);
            let GroupPlan { course, penalty, .. } = planned.plan;
            let plans = planned.sinks.iter().map(|sink| plan.sinks[*sink].plan.as_ref());
            let watch = self.handles.incidents.watch(&format!("group {}", planned.name));
            let copies = Pool::new(groups::copies(plans), plan.budget.page_bytes);
            let refuse = Refuse { copies, watch };
            let name = planned.name.clone();
            let group = Group::new(name, channel, course, penalty, random(), refuse);
            let letters = letters(plan, planned, &ground.disk)?;
            for ((sink, aside), letters) in planned.sinks.iter().zip(asides).zip(letters) {
                let own = counters.sinks[*sink].clone();
                let aside = Aside { letters: letters.clone(), counters: Arc::clone(aside) };
                let member = group.join(plan.sinks[*sink].name.clone(), own, aside);
                members[*sink] = Some((member, letters));
            }
        }
        Ok(members)
    }

    fn add_sinks(
        &mut self,
        plan: &Plan,
        ground: &Ground,
        counters: &Counters,
        errors: &mut Vec<StartError>,
    ) {
        let members = match self.members(plan, ground, counters) {
            Ok(members) => members,
            Err(error) => return errors.push(error),
        };
        for (index, (planned, counters)) in plan.sinks.iter().zip(&counters.sinks).enumerate() {
            let context = SinkContext {
                name: planned.name.clone(),
                channel: Arc::clone(&self.channels[planned.channel]),
                counters: Vec::new(),
                incidents: Arc::clone(&self.handles.incidents),
                disk: Arc::clone(&ground.disk),
                dead_letters: members[index].as_ref().and_then(|(_, letters)| letters.clone()),
                clock: Arc::clone(&ground.clock),
                orders: Arc::clone(&self.orders),
                page_bytes: plan.budget.page_bytes,
                event_bytes_max: planned.event_bytes_max,
                now: ground.clock.now(),
            };
            let member = members[index].as_ref().map(|(member, _)| Arc::clone(member));
            let outlet = Outlet::new(context, member, counters.clone());
            let built = outlet.build(planned, ground.clock.now());
            self.outlets.push(outlet);
            match built {
                Ok(built) => {
                    let cores = planned.cores.iter().copied().chain(std::iter::repeat(None));
                    let workers = built.workers.into_iter().zip(cores);
                    let channel = planned.channel;
                    self.sinks.extend(workers.map(|(worker, core)| SinkWorker {
                        worker,
                        core,
                        sink: index,
                        channel,
                    }));
                    self.helpers.extend(built.helpers);
                    self.helper_of.resize(self.helpers.len(), Some(index));
                    let note = |note| format!("sinks.{}: {note}", planned.name);
                    self.notes.extend(built.notes.into_iter().map(note));
                }
                Err(error) => match &members[index] {
                    Some((member, _)) if !member.is_out() => {
                        self.notes.push(format!("{error}; its group goes on without it"));
                    }
                    _ => errors.push(error.into()),
                },
            }
        }
    }

    fn add_sources(&mut self, plan: &Plan, counters: &Counters, errors: &mut Vec<StartError>) {
        for (index, planned) in plan.sources.iter().enumerate() {
            let context = SourceContext {
                name: planned.name.clone(),
                exact: planned.exact,
                want_pri: wants(planned) != Fields::NONE,
                want_headers: planned.want_headers,
                want_host: wants(planned).contains(Fields::HOSTNAME),
                page_bytes: plan.budget.page_bytes,
                channels: planned.selector.required(planned.channels.len()),
                furthest: plan.furthest(planned),
                counters: counters.sources[index].clone(),
                incidents: Arc::clone(&self.handles.incidents),
            };
            match planned.plan.build(&context) {
                Ok(built) => {
                    let name = |bound| (planned.name.clone(), bound);
                    self.bound.extend(built.bound.into_iter().map(name));
                    assert_eq!(built.sources.len(), planned.cores.len(), "one a thread");
                    for (thread, source) in built.sources.into_iter().enumerate() {
                        let inlets = &counters.inlets[index][thread];
                        let own = &counters.sources[index][thread];
                        let worker = self.source_worker(plan, planned, thread, source, inlets, own);
                        self.sources.push(worker);
                    }
                }
                Err(error) => errors.push(error.into()),
            }
        }
    }

    fn source_worker(
        &self,
        plan: &Plan,
        planned: &PlannedSource,
        thread: usize,
        source: Box<dyn source::Source>,
        inlets: &[Arc<InletCounters>],
        counters: &Arc<SourceCounters>,
    ) -> SourceWorker {
        let inlet = |(bit, (channel, counters)): (usize, (&usize, &Arc<InletCounters>))| Inlet {
            channel: Arc::clone(&self.channels[*channel]),
            when_full: match planned.selector.is_optional(bit) {
                true => WhenFull::Optional,
                false => plan.channels[*channel].plan.when_full(),
            },
            counters: Arc::clone(counters),
        };
        let inlets = planned.channels.iter().zip(inlets).enumerate().map(inlet).collect();
        let name = format!("source.{}.{thread}", planned.name);
        let own = Arc::clone(counters);
        let worker = match &planned.selector {
            Selector::Multiplexing(mapping) => {
                self.routing(planned, name, source, inlets, mapping.clone(), own)
            }
            _ => self.running(planned, name, source, inlets, own),
        };
        SourceWorker { worker, core: planned.cores[thread], counters: Arc::clone(counters) }
    }

    /// The worker of a source whose batches go to all of its channels, or to one of them.
    fn running(
        &self,
        planned: &PlannedSource,
        name: String,
        source: Box<dyn source::Source>,
        inlets: Vec<Inlet>,
        counters: Arc<SourceCounters>,
    ) -> Box<dyn Worker> {
        let valve = Valve::new(Arc::clone(&self.pool), inlets, &source.waker());
        let valve = match planned.selector {
            Selector::Balancing { random: chance } => valve.balanced(chance.then(random)),
            _ => valve,
        };
        let refuses = planned.chain.only_refuses();
        let in_chain = if refuses { planned.chain.wanted() } else { Fields::NONE };
        let runner = SourceRunner::new(name, source, valve, counters, planned.pace)
            .with_parser(parser(planned, planned.wanted.union(in_chain)))
            .with_filters(planned.filters.clone());
        Box::new(match (planned.chain.is_empty(), refuses) {
            (true, _) => runner,
            (false, true) => runner.with_refusing(Some(planned.chain.build(&tools()))),
            (false, false) => {
                let staging = self.staging(planned, planned.chain.wanted());
                let own = Intercepting::new(staging, planned.keeps_headers);
                runner.with_intercepting(Some(own))
            }
        })
    }

    /// The worker of a source that chooses channels event by event.
    fn routing(
        &self,
        planned: &PlannedSource,
        name: String,
        source: Box<dyn source::Source>,
        inlets: Vec<Inlet>,
        mapping: Mapping,
        counters: Arc<SourceCounters>,
    ) -> Box<dyn Worker> {
        let staging = self.staging(planned, planned.chain.wanted().union(planned.chosen_by));
        let parsers = inlets.iter().map(|_| parser(planned, planned.wanted)).collect();
        let pool = Arc::clone(&self.pool);
        let keeps_headers = planned.keeps_headers;
        let route = Route { mapping, inlets, pool, parsers, keeps_headers };
        let runner = RoutingRunner::new(name, source, staging, route, counters, planned.pace);
        Box::new(runner.with_filters(planned.filters.clone()))
    }

    /// What a source reads into whose events are changed or dealt out.
    fn staging(&self, planned: &PlannedSource, wanted: Fields) -> Staging {
        let page = self.pool.take().expect("the sum has a page for each of these threads");
        let chain = planned.chain.build(&tools());
        let staging = Staging::new(page, chain, planned.plan.event_bytes_max());
        staging.with_parser(parser(planned, wanted))
    }
}
