//! A running agent: its threads, whoever watches over them, and how it ends.
//!
//! Threads start from the far end (helpers, sinks, endpoint, sources), so that what arrives finds
//! everybody at their posts. Then the thread that calls `join` watches: it sleeps until a wish is
//! uttered or a worker has ended, and drains when there is a reason to.

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use super::account::{self, Ending};
use super::build::{self, Assembly, Ground, Handles, OpenEndpoint, StartError};
use super::control::{Control, Wish};
use super::drain::Drain;
use super::outlet::Outlet;
use super::plan::{Plan, PlannedSink};
use crate::channel::Channel;
use crate::ring::Wake;
use crate::runtime::clock::{Clock, SystemClock};
use crate::runtime::thread::Post;
use crate::runtime::{Progress, Worker};
use crate::sink::{self, Orders};
use crate::source::Bound;
use crate::storage::OsDisk;
use crate::sys::notify::Manager;
use crate::telemetry::{Ledger, Phase, Snapshot, SourceCounters};
use crate::time::{Mono, Now};

pub struct Agent {
    ready: Ready,
    pub(super) control: Control,
    pub(super) crew: Crew,
    pub(super) drain: Duration,
    manager: Option<Manager>,
    /// As they are now.
    pub(super) sinks: Vec<PlannedSink>,
    pub(super) outlets: Vec<Outlet>,
}

/// Everybody who works, and what they work with.
pub(super) struct Crew {
    pub(super) clock: Arc<dyn Clock>,
    pub(super) handles: Handles,
    pub(super) orders: Arc<Orders>,
    pub(super) channels: Vec<Arc<dyn Channel>>,
    pub(super) sources: Vec<(Station, Arc<SourceCounters>)>,
    /// Each with the index of its channel.
    pub(super) sinks: Vec<(Station, usize)>,
    /// Of channels: closed after the sinks, before the helpers.
    pub(super) keepers: Vec<Station>,
    pub(super) helpers: Vec<Station>,
    pub(super) endpoint: Option<Station>,
    /// A worker panicked.
    pub(super) failed: bool,
}

/// One thread as its watcher sees it.
pub(super) struct Station {
    name: String,
    post: Option<Post>,
    over: Arc<AtomicBool>,
    /// The index of the sink that it works for.
    sink: Option<usize>,
    /// It ends because another one comes.
    leaving: bool,
}

/// What is listening where.
#[derive(Clone, Debug)]
pub struct Ready {
    pub agent: String,
    /// Each listener with the name of its source.
    pub listeners: Vec<(String, Bound)>,
    pub admin: Option<SocketAddr>,
}

/// How an agent ended.
#[derive(Debug)]
pub struct Outcome {
    /// 0: all that was accepted was delivered, and the ledger adds up.
    pub code: u8,
    pub snapshot: Snapshot,
    /// A thread hangs in the kernel: leave by `_exit`.
    pub hung: bool,
}

/// Why an agent begins to drain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reason {
    Asked,
    SourcesEnded,
    SinkEnded,
    Failed,
}

impl Agent {
    /// Builds and starts everything. An agent that cannot start leaves nothing behind.
    pub fn start(
        plan: &Plan,
        control: &Control,
        open_endpoint: OpenEndpoint,
    ) -> Result<Self, Vec<StartError>> {
        raise_file_limit();
        let clock: Arc<dyn Clock> = Arc::new(SystemClock::default());
        let ground = Ground { disk: Arc::new(OsDisk), clock };
        let assembly = build::build(plan, &ground, open_endpoint)?;
        Self::man(plan, control, ground.clock, assembly).map_err(|error| vec![error])
    }

    /// Puts every worker on its thread.
    fn man(
        plan: &Plan,
        control: &Control,
        clock: Arc<dyn Clock>,
        assembly: Assembly,
    ) -> Result<Self, StartError> {
        assembly.notes.iter().for_each(|note| tracing::info!("{note}"));
        let ready = Ready {
            agent: plan.name.clone(),
            listeners: assembly.bound,
            admin: assembly.endpoint.as_ref().map(|endpoint| endpoint.address),
        };
        let (outlets, sinks) = (assembly.outlets, plan.sinks.clone());
        let mut crew = Crew {
            clock,
            handles: assembly.handles,
            orders: assembly.orders,
            channels: assembly.channels,
            sources: Vec::new(),
            sinks: Vec::new(),
            keepers: Vec::new(),
            helpers: Vec::new(),
            endpoint: None,
            failed: false,
        };
        let drain = plan.drain;
        let started = crew.man(
            assembly.helpers.into_iter().zip(assembly.helper_of).collect(),
            assembly.keepers,
            assembly.sinks,
            assembly.endpoint.map(|endpoint| endpoint.worker),
            assembly.sources,
            control,
        );
        let agent =
            Self { ready, control: control.clone(), crew, drain, manager: None, sinks, outlets };
        if let Err(error) = started {
            // Some threads run already: they are dropped before the error is told.
            agent.control.stop_now();
            agent.join();
            let what = format!("a thread cannot be started: {error}");
            return Err(StartError(format!("{what}; raise the limit of threads (ulimit -u)")));
        }
        let waker = agent.control.clone();
        agent.crew.handles.incidents.when_calm(move || waker.wake());
        agent.crew.handles.readiness.enter(Phase::Running);
        Ok(agent)
    }

    pub fn ready(&self) -> &Ready {
        &self.ready
    }

    pub fn control(&self) -> &Control {
        &self.control
    }

    pub fn ledger(&self) -> &Arc<Ledger> {
        &self.crew.handles.ledger
    }

    pub fn handles(&self) -> &Handles {
        &self.crew.handles
    }

    /// Asks the agent to deliver what it accepted and end.
    pub fn stop(&self) {
        self.control.stop();
    }

    /// Tells the service manager, if there is one, that the agent is ready, from time to time that
    /// it lives, and when it stops.
    pub fn report_to(&mut self, manager: Option<Manager>) {
        self.manager = manager;
        if let Some(manager) = &self.manager {
            manager.tell("READY=1");
        }
    }

    /// Watches over the agent until it has ended.
    pub fn join(mut self) -> Outcome {
        let reason = self.watch();
        if let Some(manager) = &self.manager {
            // Nobody gives signs of life while it drains; the manager is told how long that may be.
            let longest = self.drain.saturating_add(DRAIN_MARGIN).as_micros();
            manager.tell(&format!("STOPPING=1\nWATCHDOG_USEC={longest}\nWATCHDOG=1"));
        }
        match reason {
            Reason::Asked => tracing::info!("stopping: delivering what was accepted"),
            Reason::SourcesEnded => tracing::info!("every source has ended: stopping"),
            Reason::SinkEnded => tracing::info!("a sink's reader has gone: stopping"),
            Reason::Failed => tracing::error!("a part has failed: stopping"),
        }
        let drained = Drain::new(&mut self.crew, &self.control, self.drain).run();
        let ending = Ending { drained, quiet: reason == Reason::SinkEnded };
        account::close(&mut self.crew, ending)
    }

    /// Returns when there is a reason to stop.
    fn watch(&mut self) -> Reason {
        loop {
            if let Some(reason) = self.reason() {
                return reason;
            }
            if let Some(change) = self.control.take_change() {
                self.take(change);
                continue;
            }
            let longest = self.keep_house();
            self.control.pause(longest);
        }
    }

    /// Why it should stop now.
    pub(super) fn reason(&mut self) -> Option<Reason> {
        self.crew.reap();
        if self.crew.failed {
            return Some(Reason::Failed);
        }
        if self.control.wish() != Wish::Run {
            return Some(Reason::Asked);
        }
        if self.crew.sinks.iter().any(|(station, _)| station.is_over() && !station.leaving) {
            return Some(Reason::SinkEnded);
        }
        let over = self.crew.sources.iter().all(|(station, _)| station.is_over());
        over.then_some(Reason::SourcesEnded)
    }

    /// What is due beside the threads' own work; says how long nothing more is.
    pub(super) fn keep_house(&self) -> Duration {
        if self.control.take_roll() {
            tracing::info!("rolling all files");
            self.crew.orders.roll_all();
            self.crew.sinks.iter().for_each(|(station, _)| station.wake());
        }
        let watchdog = self.manager.as_ref().and_then(Manager::watchdog);
        if let (Some(manager), Some(_)) = (&self.manager, watchdog) {
            manager.tell("WATCHDOG=1");
        }
        let now = self.crew.clock.now();
        let incidents = self.crew.handles.incidents.look(now).since(now.mono);
        watchdog.unwrap_or(LOOK).min(LOOK).min(incidents)
    }
}

/// Everything that matters is news and ends the pause; this is for what nobody thought of.
const LOOK: Duration = Duration::from_secs(60);

/// What closing takes beside the drain.
const DRAIN_MARGIN: Duration = Duration::from_secs(60);

impl Crew {
    fn man(
        &mut self,
        helpers: Vec<(Box<dyn Worker>, Option<usize>)>,
        keepers: Vec<Box<dyn Worker>>,
        sinks: Vec<build::SinkWorker>,
        endpoint: Option<Box<dyn Worker>>,
        sources: Vec<build::SourceWorker>,
        control: &Control,
    ) -> std::io::Result<()> {
        let clock = Arc::clone(&self.clock);
        let start = |worker, core| Station::start(worker, core, Arc::clone(&clock), control);
        for (helper, sink) in helpers {
            self.helpers.push(start(helper, None)?.of(sink));
        }
        for keeper in keepers {
            self.keepers.push(start(keeper, None)?);
        }
        for sink in sinks {
            let station = start(sink.worker, sink.core)?.of(Some(sink.sink));
            self.sinks.push((station, sink.channel));
        }
        if let Some(endpoint) = endpoint {
            self.endpoint = Some(start(endpoint, None)?);
        }
        for source in sources {
            self.sources.push((start(source.worker, source.core)?, source.counters));
        }
        Ok(())
    }

    /// Starts a sink in the place of another one.
    pub(super) fn man_sink(
        &mut self,
        index: usize,
        planned: &PlannedSink,
        built: sink::Built,
        control: &Control,
    ) -> std::io::Result<()> {
        let clock = Arc::clone(&self.clock);
        let start = |worker, core| Station::start(worker, core, Arc::clone(&clock), control);
        for helper in built.helpers {
            self.helpers.push(start(helper, None)?.of(Some(index)));
        }
        let cores = planned.cores.iter().copied().chain(std::iter::repeat(None));
        for (worker, core) in built.workers.into_iter().zip(cores) {
            self.sinks.push((start(worker, core)?.of(Some(index)), planned.channel));
        }
        Ok(())
    }

    /// Joins threads that have ended; a panic becomes an incident.
    pub(super) fn reap(&mut self) {
        let now = self.clock.now();
        let sources = self.sources.iter_mut().map(|(station, _)| station);
        let sinks = self.sinks.iter_mut().map(|(station, _)| station);
        let mut panics = Vec::new();
        for station in sources.chain(sinks).chain(&mut self.keepers).chain(&mut self.helpers) {
            panics.extend(station.reap().map(|panic| (station.name.clone(), panic)));
        }
        self.failed |= !panics.is_empty();
        // Data does not flow through the endpoint: without it the agent goes on.
        let endpoint = self.endpoint.iter_mut();
        panics.extend(endpoint.filter_map(|it| it.reap().map(|panic| (it.name.clone(), panic))));
        for (name, panic) in panics {
            let mut watch = self.handles.incidents.watch(&name);
            watch.blocked(now, &format!("panicked: {panic}"));
        }
    }
}

impl Station {
    fn start(
        worker: Box<dyn Worker>,
        core: Option<usize>,
        clock: Arc<dyn Clock>,
        control: &Control,
    ) -> std::io::Result<Self> {
        let name = worker.name().to_owned();
        let over = Arc::new(AtomicBool::new(false));
        let watched =
            Watched { worker: Some(worker), over: Arc::clone(&over), control: control.clone() };
        let post = Some(Post::start(Box::new(watched), core, clock)?);
        Ok(Self { name, post, over, sink: None, leaving: false })
    }

    fn of(self, sink: Option<usize>) -> Self {
        Self { sink, ..self }
    }

    pub(super) fn sink(&self) -> Option<usize> {
        self.sink
    }

    /// Asks it to end, for another one comes.
    pub(super) fn leave(&mut self) {
        self.leaving = true;
        self.close();
    }

    pub(super) fn is_over(&self) -> bool {
        // Acquire: pairs with the Release in `Watched::drop`; its counters are final.
        self.over.load(Ordering::Acquire)
    }

    pub(super) fn close(&self) {
        self.post.iter().for_each(Post::close);
    }

    pub(super) fn abandon(&self) {
        self.post.iter().for_each(Post::abandon);
    }

    fn wake(&self) {
        self.post.iter().for_each(Post::wake);
    }

    /// The text of its panic, once.
    fn reap(&mut self) -> Option<String> {
        if !self.is_over() {
            return None;
        }
        self.post.take()?.join().err()
    }
}

/// A worker whose end is news: when `over` is seen, everything it held has been given back.
struct Watched {
    worker: Option<Box<dyn Worker>>,
    over: Arc<AtomicBool>,
    control: Control,
}

impl Watched {
    fn worker(&mut self) -> &mut dyn Worker {
        self.worker.as_deref_mut().expect("it is there until the drop")
    }
}

impl Worker for Watched {
    fn name(&self) -> &str {
        self.worker.as_ref().map_or("", |worker| worker.name())
    }

    fn work(&mut self, now: Now) -> Progress {
        self.worker().work(now)
    }

    fn wait(&mut self, now: Now, until: Mono) {
        self.worker().wait(now, until);
    }

    fn close(&mut self, now: Now) {
        self.worker().close(now);
    }

    fn waker(&self) -> Arc<dyn Wake> {
        self.worker.as_ref().expect("it is there until the drop").waker()
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        drop(self.worker.take());
        self.over.store(true, Ordering::Release);
        self.control.wake();
    }
}

impl fmt::Display for Ready {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "agent {} is ready", self.agent)?;
        for (name, bound) in &self.listeners {
            write!(out, " {name}={}://{}", bound.transport, bound.place)?;
        }
        match self.admin {
            Some(address) => write!(out, " admin=http://{address}"),
            None => Ok(()),
        }
    }
}

/// Thousands of connections and files need descriptors; the soft limit is often 1024.
fn raise_file_limit() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    if limit.current != limit.maximum {
        let raised = Rlimit { current: limit.maximum, maximum: limit.maximum };
        if let Err(error) = setrlimit(Resource::Nofile, raised) {
            tracing::warn!("the limit of open files stays at {:?}: {error}", limit.current);
        }
    }
}
